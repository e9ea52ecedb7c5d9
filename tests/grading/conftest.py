"""A tiny lab, notebooks for it, and a class graded once for all tests of a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from courseware import build
from courseware.chapters import Chapter
from courseware.grading import run

TINY = Chapter(Path(__file__).parent / "90_tiny")
RIGHT = {"double": "def double(x):\n    return 2 * x", "total": "def total(values):\n    return float(sum(values))"}
WRONG = "def double(x):\n    return x"
QUICK = {"cell": "6 s", "total": "40 s", "memory": "1 GB", "disk": "60 MB", "output": "2 MB", "processes": "64"}


def handed_in(answers: dict[str, str], before: str = "", after: str = "") -> dict[str, Any]:
    """A student's notebook as JSON: the lab with answers, and own cells before and after them."""
    notebook = build.student_lab(TINY)
    cells = []
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id == "double" and before:
            cells.append(nbformat.v4.new_code_cell(before))
        if grade_id in answers:
            cell.source = answers[grade_id]
        cells.append(cell)
    if after:
        cells.append(nbformat.v4.new_code_cell(after))
    notebook.cells = cells
    return json.loads(json.dumps(notebook))


def scores(out: Path, student: str) -> tuple[float, float]:
    """Points of the two exercises."""
    result = json.loads((out / "results" / f"{student}.json").read_text())["scores"]
    return result["double-tests"] + result["double-hidden"], result["total-tests"] + result["total-hidden"]


def result_of(out: Path, student: str) -> dict[str, Any]:
    return json.loads((out / "results" / f"{student}.json").read_text())


@pytest.fixture(scope="session")
def right() -> dict[str, Any]:
    return handed_in(RIGHT)


@pytest.fixture
def grade(tmp_path: Path) -> Callable[..., Path]:
    """Grade a class given as {file name: notebook or bytes}; returns the output folder."""

    def graded(files: dict[str, Any], **options: Any) -> Path:
        folder = tmp_path / "submitted"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            (folder / name).write_bytes(data)
        options.setdefault("limits", QUICK)
        run.grade_class(TINY, folder, tmp_path / "graded", run.Options(**options))
        return tmp_path / "graded"

    return graded


@pytest.fixture
def solved(right: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(right)
