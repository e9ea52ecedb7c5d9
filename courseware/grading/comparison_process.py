"""A process aside, for the judgement of what strangers have sent: with a limit of memory and of time.

check() of a hidden test may format a student's text or compare arrays of a student's shapes, so a few bytes can ask for
gigabytes or hours. Here they cost this one answer, not the grader. One such process serves a grader's process for as long as
it lives; after one that took too long there is another.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import psutil

if sys.platform != "win32":
    import resource

_MEMORY = 1_000_000_000  # bytes of address space; Python with NumPy takes a seventh of it
_SECONDS = 20  # of computing
_PATIENCE = 600  # seconds that a busy machine may take for that

_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None


class Failed(Exception):
    """There is no result; the message says why."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module makes of plain data, called in the process aside.

    Raises:
        Failed: it took too long, or the process ended, and again at a second try.
        OSError: no such process can be had.
    """
    request = json.dumps([function.__module__, function.__name__, arguments]) + "\n"
    with _lock:
        answered = _asked(request) or _asked(request)  # the first may have been ended by the machine
    if not answered:
        raise Failed("the comparison ended the process")
    status, value = json.loads(answered)
    if status != "ok":
        raise Failed(value)
    return value


def _asked(request: str) -> str:
    """The answer; "" when the process has ended."""
    global _process
    if _process is None or _process.poll() is not None:
        _process = _started()
    try:
        assert _process.stdin
        _process.stdin.write(request)
        _process.stdin.flush()
        answered = _line(_process, _SECONDS)
    except BrokenPipeError:  # it has ended: the caller asks another
        answered = ""
    except Failed:
        _end(_process)
        _process = None
        raise
    if not answered:  # what is ending is not yet seen to have ended: the next question is not for it
        _end(_process)
        _process = None
    return answered


def _started() -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=environment,
        encoding="utf-8",
    )  # fmt: skip
    if not _line(process, _PATIENCE):
        _end(process)
        raise OSError("the process that compares answers does not start")
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):  # what was not yet written to it is lost with it
                stream.close()


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    """One line of it; "" when it has ended.

    Raises:
        Failed: it computes for too long. What it waits for a busy machine does not count.
        OSError: it says nothing for much longer.
    """
    assert process.stdout
    used, end = _computed(process), time.monotonic() + _PATIENCE
    while not select.select([process.stdout], [], [], 0.5)[0]:
        if _computed(process) - used > seconds:
            raise Failed(f"the comparison took longer than {seconds} s")
        if time.monotonic() > end:
            raise OSError("the process that compares answers says nothing")
    return process.stdout.readline()


def _computed(process: subprocess.Popen[str]) -> float:
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:  # it has ended
        return 0.0
    return float(times.user + times.system)


def main() -> None:
    """Serve until the grader is gone."""
    from . import verdict  # noqa: F401  so that a first answer is not charged for it

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
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
