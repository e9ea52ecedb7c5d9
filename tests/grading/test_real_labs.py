"""Every chapter's lab in a box: the solution gets full marks, and patching what tests compare with gets none."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tiny_class import Here, chinese, needs_box

from courseware import build, preloaded
from courseware.cell_names import needed_for
from courseware.chapters import Chapter, all_chapters, role, tags
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


# What an experiment may ask of a machine besides time and memory, which nbval's run of the same cells measures. Such a cell
# runs in the box too, with the experiments that make what it needs; `make test-full` runs all experiments there.
BESIDES = re.compile(
    r"open\(|\.write|save_|\.save|mkdir|unlink|tempfile|to_csv|subprocess|Popen|multiprocess|Thread|launch|serving|socket"
)
NAMED = re.compile(r"lab\.needs\(.*?\)")  # an exercise may be called save_adapter
# Where experiments run: as a notebook may take (CONTRIBUTING.md). Grading skips them, and has less.
ROOM: dict[str, str | int] = {"memory": "6 GB", "disk": "1 GB"}
FULL = os.environ.get("COURSE_BUDGET") == "full"
IN_CHINESE = "13_reasoning_rl"  # test_languages.py has a whole class of a smaller one
FIRST = ("02_instruction_tuning", "10_quantization", IN_CHINESE)  # a dataset, 8-bit layers, a model that is trained
LABS = [pytest.param(c, id=c.name, marks=[] if c.name in FIRST else pytest.mark.second_look) for c in all_chapters()]


def for_the_box(lab: nbformat.NotebookNode) -> set[str]:
    """Ids of the experiments that a box may not let run, and of those that make what they need."""
    experiments = [cell for cell in lab.cells if "experiment" in tags(cell)]
    asks = {cell.id for cell in experiments if FULL or BESIDES.search(NAMED.sub("", cell.source))}
    return {cell.id for cell in needed_for(lab.cells, asks) if "experiment" in tags(cell)}


@pytest.fixture(scope="session")
def fetched() -> None:
    """A box has no network."""
    assert main(["fetch"]) == 0


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("chapter", LABS)
def test_solution_and_forgery(chapter: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solved = build.solution(chapter)
    run = for_the_box(solved)
    prepare = verdict.prepare
    # The others are prepared and graded by this process, which has the imports; they share a zygote, which has most of them
    alone = chapter.name in FIRST

    def prepared(source: Chapter, cache: Path) -> verdict.Lab:
        """The lab, in which those cells are no experiments: grading skips these."""
        lab = prepare(source, tmp_path) if alone else verdict.Lab.loads(verdict._solve(source).dumps())
        release = nbformat.reads(lab.release, as_version=4)
        for cell in release.cells:
            if cell.id in run:
                cell.metadata["tags"] = [tag for tag in tags(cell) if tag != "experiment"]
        lab.release = nbformat.writes(release)
        if not alone:
            lab.modules = [*verdict._ALWAYS, *preloaded._MODULES]
        return lab

    monkeypatch.setattr(verdict, "prepare", prepared)
    monkeypatch.setenv("COURSE_BUDGET", "quick")  # as `prepare` has it
    if not alone:
        monkeypatch.setattr(scheduler, "_Worker", Here)
    class_ = {"ana": solved, "bo": forged(chapter)}
    if chapter.name == IN_CHINESE:
        answers = {found.exercise: c.source for c in solved.cells if (found := role(c)) and found.kind == "exercise"}
        class_["张伟"] = chinese(chapter, answers)
    results = graded(chapter, class_, tmp_path, ROOM if run else None)
    full_marks(chapter, results["ana"], run)
    no_marks(results["bo"])
    if chapter.name == IN_CHINESE:
        ours, theirs = results["张伟"], results["ana"]
        assert (ours["scores"], ours["reasons"], ours["note"]) == (theirs["scores"], theirs["reasons"], theirs["note"])
        page = (tmp_path / "graded" / "feedback" / "张伟.html").read_text(encoding="utf-8")
        title, points = class_["张伟"].cells[0].source.splitlines()[0].removeprefix("# "), sum(ours["scores"].values())
        assert title in page and f"{points:g} / {points:g}</" in page


def graded(
    chapter: Chapter, handed_in: dict[str, nbformat.NotebookNode], folder: Path, limits: dict[str, str | int] | None
) -> dict[str, dict[str, Any]]:
    """The result of each student; they are no class, so no canary goes before them."""
    (folder / "submitted").mkdir()
    for student, notebook in handed_in.items():
        nbformat.write(notebook, folder / "submitted" / f"{student}.ipynb")
    options = scheduler.Options(workers=1, canary=False, lang="zh" if chapter.name == IN_CHINESE else "en", limits=limits)
    scheduler.grade_class(chapter, folder / "submitted", folder / "graded", options)
    results = folder / "graded" / "results"
    return {student: json.loads((results / f"{student}.json").read_text(encoding="utf-8")) for student in handed_in}


def full_marks(chapter: Chapter, result: dict[str, Any], run: set[str]) -> None:
    """All points, no error, and outputs of those experiments only that were to run."""
    given = build.student_lab(chapter).cells
    points = sum(c.metadata.nbgrader.get("points", 0) for c in given if "nbgrader" in c.metadata)
    assert sum(result["scores"].values()) == points, result["why"]
    cells = nbformat.reads(result["notebook"], as_version=4).cells
    meant = build.meant_to_fail(chapter)
    errors = [o.evalue for c in cells if c.id not in meant for o in c.get("outputs", []) if o.output_type == "error"]
    assert not errors and not result["note"]
    experiments = {c.id for c in given if "experiment" in tags(c)}
    shown = {c.id for c in cells if c.get("outputs") and c.id in experiments}
    assert shown <= run and bool(shown) == bool(run)


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
