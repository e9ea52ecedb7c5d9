"""`MODEL = "…"` is one line: every lab that has it runs to its end with a model of other shapes, beside an Apple GPU."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import other_models
import pretend
import pytest

from courseware.chapters import Chapter, all_chapters
from courseware.kernels import Client

LINE = re.compile(r'^MODEL = "course".*$', re.MULTILINE)
LABS = [chapter for chapter in all_chapters() if LINE.search(chapter.lab_source.read_text(encoding="utf-8"))]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: other_models.make(name, tmp_path_factory.mktemp(name)) for name in other_models.SHAPES}


def test_labs_that_load_a_model_let_one_choose_it() -> None:
    """Chapters 1, 4 and 13 train their own; every other lab has the line."""
    assert [chapter.name[:2] for chapter in LABS] == ["02", "03", "05", "06", "07", "08", "09", "10", "11", "12"]


# one shape for each lab, in turn; `make test-full` tries all of them
EVERY = os.environ.get("COURSE_BUDGET") == "full"
PAIRS = [(c, name) for i, c in enumerate(LABS) for j, name in enumerate(other_models.SHAPES) if EVERY or i % 2 == j]


@pytest.fixture(scope="session")
def mac_kernel(preloaded: Callable[..., str]) -> str:
    return preloaded("mac", begin=pretend.beginning("mps"))


@pytest.mark.second_look
@pytest.mark.parametrize(("chapter", "name"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_lab_runs_with(chapter: Chapter, name: str, checkpoints: dict[str, Path], mac_kernel: str, tmp_path: Path) -> None:
    notebook = nbformat.read(chapter.solution, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = LINE.sub(f"MODEL = {str(checkpoints[name])!r}", cell.source)
    client = Client(notebook, timeout=900, kernel_name=mac_kernel, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "COURSE_BUDGET": "quick"})
