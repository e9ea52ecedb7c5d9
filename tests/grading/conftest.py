"""A tiny lab, notebooks for it, and a class graded once for all tests of a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from courseware.chapters import Chapter
from courseware.grading import box, demo, scheduler, verdict

TINY = Chapter(Path(__file__).parent / "90_tiny")
RIGHT = {"double": "def double(x):\n    return 2 * x", "total": "def total(values):\n    return float(sum(values))"}
WRONG = "def double(x):\n    return x"
QUICK = {"cell": "6 s", "total": "40 s", "memory": "1 GB", "disk": "60 MB", "output": "2 MB", "processes": "64"}


def why_no_box() -> str:
    try:
        box.check()
    except box.BoxError as error:
        return str(error).splitlines()[0]
    return ""


needs_box = pytest.mark.skipif(bool(why_no_box()), reason=why_no_box())


def handed_in(answers: dict[str, str], before: str = "") -> dict[str, Any]:
    """A student's notebook as JSON: the lab with answers, and an own cell before them."""
    made = demo.notebook(TINY, answers)
    if before:
        first = next(i for i, c in enumerate(made["cells"]) if c["metadata"].get("nbgrader", {}).get("grade_id") == "double")
        made["cells"].insert(first, json.loads(json.dumps(nbformat.v4.new_code_cell(before))))
    return made


def result_of(out: Path, student: str) -> dict[str, Any]:
    return json.loads((out / "results" / f"{student}.json").read_text(encoding="utf-8"))


def scores(out: Path, student: str) -> tuple[float, float]:
    """Points of the two exercises."""
    points = result_of(out, student)["scores"]
    return points["double-tests"] + points["double-hidden"], points["total-tests"] + points["total-hidden"]


@pytest.fixture(scope="session")
def right() -> dict[str, Any]:
    return handed_in(RIGHT)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> verdict.Lab:
    """The tiny lab with what its solution gives: the same for every class, and seconds to make."""
    return verdict.prepare(TINY, tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def grade(tmp_path: Path, prepared: verdict.Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Grade a class given as {file name: notebook or bytes}; returns the output folder."""
    monkeypatch.setattr(verdict, "prepare", lambda source, cache: prepared)

    def graded(files: dict[str, Any], **options: Any) -> Path:
        folder = tmp_path / "submitted"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            (folder / name).write_bytes(data)
        options.setdefault("limits", QUICK)
        options.setdefault("warm", False)  # the attacks are warm
        options.setdefault("canary", False)  # it has tests of its own
        scheduler.grade_class(TINY, folder, tmp_path / "graded", scheduler.Options(**options))
        return tmp_path / "graded"

    return graded


@pytest.fixture
def solved(right: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(right)
