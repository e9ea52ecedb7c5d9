"""The solution goes first: a grading machine at fault grades nobody, and says what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tiny_class import QUICK, TINY, needs_box, scores

from course_utils.errors import CourseError
from courseware import build
from courseware.chapters import Chapter
from courseware.grading import autograde, box, canary, demo, scheduler, verdict

LAB = verdict.Lab(
    "90_tiny", "key", "", [], {name: verdict.Exercise(1, 2, "", "", None) for name in ("double", "total")}
)  # fmt: skip
FULL = {"double-tests": 1.0, "double-hidden": 2.0, "total-tests": 1.0, "total-hidden": 2.0}


def result(scores: dict[str, float], error: str = "", cell: str = "double", **more: Any) -> autograde.Result:
    notebook = build.solution(TINY)
    if error:
        name, _, value = error.partition(": ")
        output = nbformat.v4.new_output("error", ename=name, evalue=value, traceback=[])
        next(c for c in notebook.cells if c.id == cell).outputs = [output]
    return autograde.Result("", "90_tiny", "canary", "", "", "boxed", scores, notebook=nbformat.writes(notebook), **more)


def said(given: autograde.Result) -> str:
    with pytest.raises(CourseError) as caught:
        canary.judge(given, LAB)
    return str(caught.value)


def test_full_marks_let_the_class_in() -> None:
    canary.judge(result(FULL), LAB)


def test_less_names_the_cell_and_the_exception() -> None:
    text = said(result({**FULL, "double-hidden": 0.0}, "NameError: name 'llamas' is not defined"))
    assert "double gets 1 of 3" in text and "cell double: NameError: name 'llamas' is not defined" in text
    assert "total" not in text and "then run the same command again" in text


def test_a_missing_package_is_named() -> None:
    text = said(result({}, "ModuleNotFoundError: No module named 'gguf.reader'"))
    assert "Missing where labs are graded: gguf.reader" in text and "make setup" in text


def test_without_a_failed_cell_the_hidden_test_speaks() -> None:
    text = said(result({**FULL, "total-hidden": 0.0}, why={"total": "visible: passed\nhidden: AssertionError: result[0]"}))
    assert "total: visible: passed; hidden: AssertionError: result[0]" in text
    assert "could not be graded" in said(result({}, note="could not be graded, please look at it: no box"))


@needs_box
def test_a_broken_machine_grades_nobody(tmp_path: Path, right: dict[str, Any]) -> None:
    folder = tmp_path / "91_other"
    shutil.copytree(TINY.folder, folder)
    text = (
        (folder / "lab.py").read_text(encoding="utf-8").replace("import numpy as np\n", "import numpy as np\nimport os\n", 1)
    )
    # what runs outside, when the lab is prepared, and fails in a box
    text = text.replace("    return 2 * x", "    os.stat('/etc/passwd')\n    return 2 * x")
    (folder / "lab.py").write_text(text, encoding="utf-8")
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "ann.ipynb").write_text(
        json.dumps(demo.notebook(Chapter(folder), {"double": "def double(x): 1"})),
        encoding="utf-8",
    )
    with pytest.raises(CourseError, match=r"(?s)does not get full marks.*double gets 0 of 3.*FileNotFoundError"):
        scheduler.grade_class(
            Chapter(folder), tmp_path / "submitted", tmp_path / "out", scheduler.Options(limits=QUICK, warm=False)
        )
    assert not list((tmp_path / "out" / "results").glob("ann*"))


@needs_box
def test_the_class_follows_the_canary(grade: Callable[..., Path], right: dict[str, Any], monkeypatch: Any) -> None:
    seen = []
    judge = canary.judge
    monkeypatch.setattr(canary, "judge", lambda *a: (seen.append(a[0].scores), judge(*a)))
    out = grade({"a.ipynb": right}, canary=True)
    assert seen == [FULL] and scores(out, "a") == (3, 3)
    assert [p.stem for p in (out / "results").glob("*.json")] == ["a"], "the solution is nobody's submission"
    grade({}, canary=True)
    assert len(seen) == 1, "where there is nothing to grade, nothing need be tried"


def test_the_job_is_a_submission_like_any_other() -> None:
    job = canary.job(TINY, box.Limits.read(), False, True)
    assert b"return 2 * x" in job.data and not job.problem and job.skip_experiments
