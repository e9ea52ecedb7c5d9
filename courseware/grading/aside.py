"""A process aside, for the judgement of what strangers have sent: with a limit of memory and of time.

check() of a hidden test may format a student's text or compare arrays of a student's shapes, so a few bytes can ask for
gigabytes or hours. Here they cost this one answer, not the grader. One such process serves a grader's process for as long as
it lives; after one that took too long there is another.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

_MEMORY = 1_000_000_000  # bytes of address space; Python with NumPy takes a seventh of it
_SECONDS = 20
_START = 60  # seconds

_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None


class Failed(Exception):
    """There is no result; the message says why."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module makes of plain data, called in the process aside.

    Raises:
        Failed: it took too long, or the process ended.
    """
    global _process
    request = json.dumps([function.__module__, function.__name__, arguments]) + "\n"
    with _lock:
        if _process is None or _process.poll() is not None:
            _process = _started()
        try:
            assert _process.stdin
            _process.stdin.write(request)
            _process.stdin.flush()
            answered = _line(_process, _SECONDS)
        except OSError:
            answered = ""
        if not answered:
            _end(_process)
            _process = None
            late = answered is None
            raise Failed(f"the comparison took longer than {_SECONDS} s" if late else "the comparison ended the process")
        status, value = json.loads(answered)
    if status != "ok":
        raise Failed(value)
    return value


def _started() -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=environment,
    )  # fmt: skip
    if not _line(process, _START):
        _end(process)
        raise OSError("the process that compares answers does not start")
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def _line(process: subprocess.Popen[str], seconds: float) -> str | None:
    """One line of it; "" when it has ended, None when it says nothing in time."""
    assert process.stdout
    return process.stdout.readline() if select.select([process.stdout], [], [], seconds)[0] else None


def main() -> None:
    """Serve until the grader is gone."""
    from . import verdict  # noqa: F401  so that a first answer is not charged for it

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a check prints
    channel.write("ready\n")
    channel.flush()
    for request in sys.stdin:
        module, name, arguments = json.loads(request)
        try:
            answer = ["ok", getattr(import_module(module), name)(*arguments)]
        except Exception as error:
            answer = ["error", f"{type(error).__name__}: {error}"[:1000]]
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
