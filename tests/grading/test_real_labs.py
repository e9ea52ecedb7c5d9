"""Every chapter's lab in a box: the solution gets full marks, and patching what tests compare with gets none."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from tiny_class import needs_box

from courseware import build
from courseware.chapters import Chapter, all_chapters
from courseware.cli import main
from courseware.grading import scheduler

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


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_solution_and_forgery(chapter: Chapter, tmp_path: Path) -> None:
    assert main(["fetch"]) == 0  # a box has no network
    submitted = tmp_path / "submitted"
    submitted.mkdir()
    nbformat.write(build.solution(chapter), submitted / "solved.ipynb")
    forged = build.student_lab(chapter)
    exercises = [c for c in forged.cells if c.metadata.get("nbgrader", {}).get("solution")]
    for cell in exercises:
        cell.source = cell.source.replace("raise NotImplementedError", "return torch.zeros(3), 1.0, 0  #")
    exercises[0].source = f"{PATCH}\n{exercises[0].source}"
    nbformat.write(forged, submitted / "forged.ipynb")
    # Experiments too, so that a cell which needs what a box does not give is noticed.
    scheduler.grade_class(chapter, submitted, tmp_path / "graded", scheduler.Options(workers=2, skip_experiments=False))
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "graded" / "results").glob("*ed.json")
    }
    points = sum(c.metadata.nbgrader.get("points", 0) for c in build.student_lab(chapter).cells if "nbgrader" in c.metadata)
    assert sum(results["solved"]["scores"].values()) == points, results["solved"]["why"]
    cells = nbformat.reads(results["solved"]["notebook"], as_version=4).cells
    meant = [c for c in cells if "raises-exception" in c.metadata.get("tags", [])]
    errors = [o.evalue for c in cells if c not in meant for o in c.get("outputs", []) if o.output_type == "error"]
    assert not errors and any("experiment" in c.metadata.get("tags", []) and c.outputs for c in cells), errors
    assert sum(results["forged"]["scores"].values()) == 0, results["forged"]["scores"]
    assert any("they passed, but" in reason for reason in results["forged"]["reasons"].values()), "no forgery took place"
