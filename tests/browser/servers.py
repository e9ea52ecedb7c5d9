"""Servers that a test starts, and that end with it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATA = ".data"  # in a JupyterLab's folder: where it keeps which notebooks are trusted


@contextmanager
def running(command: list[str], ready: str, log: Path, **options: Any) -> Iterator[str]:
    """Run a server until the block ends; gives what group 1 of `ready` matches in its log.

    Raises:
        AssertionError: it ended, or two minutes passed, before it said so.
    """
    with log.open("w", encoding="utf-8") as output:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        begun = time.monotonic()
        while not (found := re.search(ready, log.read_text(encoding="utf-8"))):
            assert program.poll() is None and time.monotonic() - begun < 120, (
                f"{command}:\n{log.read_text(encoding='utf-8')[-3000:]}"
            )
            time.sleep(0.2)
        yield found[1]
    finally:
        program.terminate()
        try:
            program.wait(timeout=20)
        except subprocess.TimeoutExpired:  # it was asked first
            program.kill()
            program.wait()


@contextmanager
def jupyterlab(folder: Path, settings: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A JupyterLab on a folder, with these settings (extension → values) and nothing of the user's own.

    Gives its address, with {} where the page goes.
    """
    for name, values in settings.items():
        place = folder / ".settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(values), encoding="utf-8")
    own = {
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTER_DATA_DIR": str(folder / DATA),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
        "COURSE_BUDGET": "quick",
    }
    port, token = free_port(), os.urandom(16).hex()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    ready, environment = r"(http://127\.0\.0\.1:\d+)/lab\?token", {**os.environ, **own}
    with running(command, ready, folder / ".log", cwd=folder, env=environment) as address:
        yield f"{address}/{{}}?token={token}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
