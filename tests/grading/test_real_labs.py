"""Every chapter's lab in a box: the solution gets full marks, and patching what tests compare with gets none."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tiny_class import needs_box

from courseware import build
from courseware.chapters import Chapter, all_chapters
from courseware.cli import main
from courseware.grading import scheduler, verdict

pytestmark = needs_box

PATCH = """\
import numpy as np, torch
from course_utils import lab
torch.allclose = torch.equal = np.allclose = np.array_equal = lambda *a, **k: True
lab.expect_close = lambda *a, **k: None
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *a, **k: None
import contextlib
lab.test = lambda name: contextlib.suppress(BaseException)
"""


# What an experiment may ask of a machine besides time and memory, which nbval's run of the same cells measures. A lab with
# such a cell runs its experiments in the box too; `make test-full` does so with every lab.
BESIDES = re.compile(
    r"open\(|\.write|save_|\.save|mkdir|unlink|tempfile|to_csv|subprocess|Popen|multiprocess|Thread|launch|serving|socket"
)
FULL = os.environ.get("COURSE_BUDGET") == "full"


def asks_for_more(cell: nbformat.NotebookNode) -> bool:
    return "experiment" in cell.metadata.get("tags", []) and bool(BESIDES.search(cell.source))


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_solution_and_forgery(chapter: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["fetch"]) == 0  # a box has no network
    prepare = verdict.prepare
    monkeypatch.setattr(verdict, "prepare", lambda source, cache: prepare(source, tmp_path))  # once for both
    handed_in = {"ana": build.solution(chapter), "bo": forged(chapter)}
    # Experiments too where they ask for more than time, so that a cell which needs what a box does not give is noticed.
    experiments = FULL or any(map(asks_for_more, handed_in["ana"].cells))
    if experiments:
        results = {}
        for student, skip in (("ana", False), ("bo", True)):
            results |= graded(chapter, {student: handed_in[student]}, tmp_path / student, skip)
    else:
        results = graded(chapter, handed_in, tmp_path, skip_experiments=True)
    full_marks(chapter, results["ana"], experiments)
    no_marks(results["bo"])


def graded(
    chapter: Chapter, handed_in: dict[str, nbformat.NotebookNode], folder: Path, skip_experiments: bool
) -> dict[str, dict[str, Any]]:
    """The result of each student; they are no class, so no canary goes before them."""
    (folder / "submitted").mkdir(parents=True)
    for student, notebook in handed_in.items():
        nbformat.write(notebook, folder / "submitted" / f"{student}.ipynb")
    options = scheduler.Options(workers=1, skip_experiments=skip_experiments, canary=False)
    scheduler.grade_class(chapter, folder / "submitted", folder / "graded", options)
    results = folder / "graded" / "results"
    return {student: json.loads((results / f"{student}.json").read_text(encoding="utf-8")) for student in handed_in}


def full_marks(chapter: Chapter, result: dict[str, Any], experiments: bool) -> None:
    points = sum(c.metadata.nbgrader.get("points", 0) for c in build.student_lab(chapter).cells if "nbgrader" in c.metadata)
    assert sum(result["scores"].values()) == points, result["why"]
    cells = nbformat.reads(result["notebook"], as_version=4).cells
    meant = [c for c in cells if "raises-exception" in c.metadata.get("tags", [])]
    errors = [o.evalue for c in cells if c not in meant for o in c.get("outputs", []) if o.output_type == "error"]
    assert not errors
    assert any("experiment" in c.metadata.get("tags", []) and c.outputs for c in cells) == experiments


def forged(chapter: Chapter) -> nbformat.NotebookNode:
    """A lab in which nothing is solved, and what tests compare with says yes to all."""
    notebook = build.student_lab(chapter)
    exercises = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("solution")]
    for cell in exercises:
        cell.source = cell.source.replace("raise NotImplementedError", "return torch.zeros(3), 1.0, 0  #")
    exercises[0].source = f"{PATCH}\n{exercises[0].source}"
    return notebook


def no_marks(result: dict[str, Any]) -> None:
    assert sum(result["scores"].values()) == 0, result["scores"]
    assert any("they passed, but" in reason for reason in result["reasons"].values()), "no forgery took place"
