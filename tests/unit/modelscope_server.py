"""A ModelScope on the loopback that serves checkpoints from folders, by the routes that its client uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from loopback import Quiet, running


@contextmanager
def serve(models: dict[tuple[str, str], Path], private: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Serve {(model id, revision): folder}; yield the address for MODELSCOPE_ENDPOINT and what was asked for."""
    asked: list[str] = []

    class Handler(Quiet):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            asked.append(" ".join([parts.path, *query.values()]))
            for (name, revision), folder in models.items():
                if not parts.path.startswith(f"/api/v1/models/{name}/repo") or query.get("Revision") != revision:
                    continue
                if name in private:
                    return self.send(403, {"Code": 10010205003, "Message": "no permission", "Success": False})
                if parts.path.endswith("/repo/files"):
                    return self.send(200, {"Code": 200, "Success": True, "Data": {"Files": list(map(entry, files(folder)))}})
                file = folder / query.get("FilePath", "")
                if file.is_file():
                    return self.send(200, file.read_bytes())
            return self.send(404, {"Code": 10010205001, "Message": "record not found", "Success": False})

        def send(self, status: int, content: dict[str, object] | bytes) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if data is content else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with running(Handler) as address:
        yield address, asked


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def entry(file: Path) -> dict[str, object]:
    return {
        "Name": file.name,
        "Path": file.name,
        "Type": "blob",
        "Size": file.stat().st_size,
        "Sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
