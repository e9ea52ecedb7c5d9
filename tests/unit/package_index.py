"""A package index on the loopback for tests: pip talks to it as to any other, and it can fail in chosen ways."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from loopback import Quiet, running

from course_utils.weights import PinnedFile


def wheel(payload: bytes, name: str = "tinything", version: str = "1.0") -> tuple[PinnedFile, bytes]:
    """A real wheel that holds `payload`, and its pin."""
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}/payload.bin": payload,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in content.items()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in {**content, f"{info}/RECORD": (record + f"{info}/RECORD,,\n").encode()}.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    body = buffer.getvalue()
    filename = f"{name}-{version}-py3-none-any.whl"
    return PinnedFile(f"{name}=={version}", filename, hashlib.sha256(body).hexdigest(), len(body)), body


@contextmanager
def serve(files: dict[str, bytes], cut_after: int | None = None, cuts: int = 1_000) -> Iterator[tuple[str, list[str]]]:
    """Serve `files` as an index; yield its address and the list of file requests as they come.

    Args:
        cut_after: close the connection after so many bytes of a file.
        cuts: how many times to do so.
    """
    requests: list[str] = []
    left = [cuts]

    class Handler(Quiet):
        def do_GET(self) -> None:
            name = self.path.rstrip("/").rsplit("/", 1)[-1]
            if name in files:
                requests.append(self.headers.get("Range", "whole"))
                self._send_file(files[name])
                return
            links = [f'<a href="/files/{f}">{f}</a>' for f in files if f.startswith(name.replace("-", "_") + "-")]
            self._send(200 if links else 404, ("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>").encode())

        def _send_file(self, body: bytes) -> None:
            start = 0
            if (asked := self.headers.get("Range")) and asked.startswith("bytes="):
                start = int(asked[6:].split("-")[0])
            part = body[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"fixed"')
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            if cut_after is not None and left[0] > 0:
                left[0] -= 1
                self.wfile.write(part[:cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(part)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the connection that the test cut
                self.close_connection = True

        def finish(self) -> None:
            if not self.wfile.closed and self.connection.fileno() != -1:
                super().finish()

    with running(Handler) as address:
        yield f"{address}/simple", requests
