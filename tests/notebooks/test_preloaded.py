"""Kernels that have their imports are kernels like any other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from courseware.kernels import Client

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
