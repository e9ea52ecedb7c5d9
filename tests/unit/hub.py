"""A model hub on the loopback that serves checkpoints from folders, by the routes the hub client uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopback import Quiet, running


@contextmanager
def serve(models: dict[tuple[str, str], Path], gated: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Serve {(hub id, revision): folder}; yield the address for HF_ENDPOINT and the list of paths asked for."""
    asked: list[str] = []

    class Handler(Quiet):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            asked.append(f"{self.command} {path}")
            for (hub_id, revision), folder in models.items():
                if path.startswith((f"/api/models/{hub_id}", f"/{hub_id}/resolve/")) and hub_id in gated:
                    return self.send(
                        403, b"{}", body, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
                    )
                if path == f"/api/models/{hub_id}/revision/{revision}" or (path, revision) == (
                    f"/api/models/{hub_id}",
                    "main",
                ):
                    files = [{"rfilename": file.name} for file in folder.iterdir()]
                    info = {
                        "id": hub_id,
                        "modelId": hub_id,
                        "sha": revision,
                        "siblings": files,
                        "tags": [],
                        "private": False,
                    }
                    return self.send(200, json.dumps(info).encode(), body, {"Content-Type": "application/json"})
                if path.startswith(f"/api/models/{hub_id}/tree/{revision}/"):  # a folder that these models do not have
                    return self.send(404, b"{}", body, {"X-Error-Code": "EntryNotFound"})
                if path == f"/{hub_id}/resolve/main/adapter_config.json":  # transformers 5.15 asks main, whatever was pinned
                    return self.send(404, b"", body, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
                if path.startswith(f"/{hub_id}/resolve/{revision}/"):
                    file = folder / path.rsplit("/", 1)[1]
                    headers = {"X-Repo-Commit": revision}
                    if not file.is_file():
                        return self.send(404, b"", body, {**headers, "X-Error-Code": "EntryNotFound"})
                    data = file.read_bytes()
                    headers["ETag"] = f'"{hashlib.sha256(data).hexdigest()}"'
                    return self.send(200, data, body, headers)
            return self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

        def send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    with running(Handler) as address:
        yield address, asked
