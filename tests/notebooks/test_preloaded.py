"""Kernels that have their imports are kernels like any other."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from courseware.kernels import Client
from courseware.preloaded import PreloadedProvisioner, Server

OWN = f"import __main__; __main__._MODULES = ()  # {secrets.token_hex()}: it imports nothing, and is these tests' own"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux copies a process safely")


def run(kernel: str, folder: Path, *sources: str) -> list[list[dict[str, object]]]:
    """Each cell's outputs."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = Client(notebook, timeout=60, kernel_name=kernel, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "COURSE_BUDGET": "full"})
    return [cell.outputs for cell in notebook.cells]


def test_it_has_the_imports_and_its_own_environment(kernel: str, tmp_path: Path) -> None:
    source = "import os, sys; print('torch' in sys.modules, os.environ['COURSE_BUDGET'], os.getcwd())"
    ((output,),) = run(kernel, tmp_path, source)
    assert output["text"] == f"True full {tmp_path}\n"


def test_two_share_nothing(kernel: str, tmp_path: Path) -> None:
    run(kernel, tmp_path, "import torch; torch.mine = 1; torch.manual_seed(7)")
    ((output,),) = run(kernel, tmp_path, "import torch; print(hasattr(torch, 'mine'), torch.initial_seed() == 7)")
    assert output["text"] == "False False\n"


def test_figures_and_children(kernel: str, tmp_path: Path) -> None:
    plot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    child = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'exit(3)']).returncode)"
    (figure,), (ended,) = run(kernel, tmp_path, plot, child)
    assert "image/png" in figure["data"] and ended["text"] == "3\n"  # type: ignore[operator]


def test_an_end_is_noticed(kernel: str, tmp_path: Path) -> None:
    with pytest.raises(DeadKernelError):
        run(kernel, tmp_path, "import os; os._exit(1)")


def parent(kernel: int) -> psutil.Process:
    """A kernel's. The kernel is of no use any more."""
    process = psutil.Process(kernel)
    importing = process.parent()
    process.kill()
    assert importing
    return importing


def test_one_process_imports_for_all_workers_and_ends_with_the_last(tmp_path: Path) -> None:
    workers = [Server(sys.executable, f"{OWN}, one") for _ in range(2)]
    kernels = [worker.kernel(str(tmp_path / "none.json"), dict(os.environ), str(tmp_path)) for worker in workers]
    first, second = map(parent, kernels)
    assert first == second
    workers[0].control.close()
    with pytest.raises(psutil.TimeoutExpired):
        first.wait(0.3)
    workers[1].control.close()
    first.wait(60)


def test_another_takes_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    provisioner = PreloadedProvisioner(begin=f"{OWN}, another")

    def importing() -> psutil.Process:
        command = ["python", "-f", str(tmp_path / "none.json")]
        with ThreadPoolExecutor(1) as thread:  # the browser of other tests leaves a loop running in this one
            thread.submit(asyncio.run, provisioner.launch_kernel(command, env=dict(os.environ), cwd=str(tmp_path))).result()
        return parent(provisioner.pid)

    first = importing()
    first.kill()
    first.wait(60)
    assert importing() != first


def test_a_process_that_cannot_import_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="the process that imports has ended"):
        Server(sys.executable, "raise SystemExit")
