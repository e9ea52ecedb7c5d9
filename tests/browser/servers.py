"""Servers that a test starts, and that end with it."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def running(command: list[str], ready: str, log: Path, **options: Any) -> Iterator[str]:
    """Run a server until the block ends; gives what group 1 of `ready` matches in its log.

    Raises:
        AssertionError: it ended, or two minutes passed, before it said so.
    """
    with log.open("w") as output:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        begun = time.monotonic()
        while not (found := re.search(ready, log.read_text())):
            assert program.poll() is None and time.monotonic() - begun < 120, f"{command}:\n{log.read_text()[-3000:]}"
            time.sleep(0.2)
        yield found[1]
    finally:
        program.terminate()
        try:
            program.wait(timeout=20)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
