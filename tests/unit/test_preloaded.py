"""The process that imports for the tests' kernels."""

from __future__ import annotations

import os
import secrets
import select
import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("only Linux has it", allow_module_level=True)

from courseware.preloaded import Server

BEGIN = f"import __main__; __main__._MODULES = ()  # {secrets.token_hex()}: a process of this test's own"


def ended(process: int, seconds: float) -> bool:
    return bool(select.select([process], [], [], seconds)[0])


def test_one_for_all_workers_and_it_ends_with_the_last(tmp_path: Path) -> None:
    workers = [Server(sys.executable, BEGIN) for _ in range(2)]
    kernels = [worker.kernel(str(tmp_path / "none.json"), dict(os.environ), str(tmp_path)) for worker in workers]
    stats = [Path(f"/proc/{kernel}/stat").read_text(encoding="utf-8") for kernel in kernels]
    for kernel in kernels:
        os.kill(kernel, signal.SIGKILL)
    parents = {int(stat.rpartition(")")[2].split()[1]) for stat in stats}
    assert len(parents) == 1
    process = os.pidfd_open(parents.pop())
    workers[0].control.close()
    assert not ended(process, 0.3)
    workers[1].control.close()
    assert ended(process, 60)
    os.close(process)


def test_a_process_that_cannot_import_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="the process that imports has ended"):
        Server(sys.executable, "raise SystemExit")
