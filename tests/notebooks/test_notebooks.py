"""Every chapter: its notebooks are up to date, the student's runs as given, and its tests catch wrong answers.

That every lecture and every solved lab runs is nbval's part: `make test` gives it the notebooks themselves.
"""

from __future__ import annotations

import ast
import copy
import os
import re
import tempfile
from pathlib import Path

import nbformat
import pytest

from courseware import build, verify
from courseware.chapters import Chapter, all_chapters, cells_of, exercises, read, role, tags
from courseware.kernels import Client

CHAPTERS = all_chapters()
EVERY_CHAPTER = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)


def test_there_are_chapters() -> None:
    assert CHAPTERS


@EVERY_CHAPTER
def test_committed_notebooks_are_what_the_sources_say(chapter: Chapter) -> None:
    outdated = build.all_stale([chapter])
    assert not outdated, f"run `course notebooks {chapter.name[:2]}`: {outdated}"
    assert not build.all_small([chapter])


@EVERY_CHAPTER
def test_student_lab_gives_nothing_away(chapter: Chapter) -> None:
    source, student = read(chapter.lab_source), nbformat.read(chapter.lab, as_version=4)
    text = "\n".join(cell.source for cell in student.cells)
    assert "SOLUTION" not in text and "def probe" not in text and "def check(" not in text
    for cell in cells_of(source, "exercise"):
        solution = re.findall(r"### BEGIN SOLUTION\n(.*?) *### END SOLUTION", cell.source, flags=re.DOTALL)
        assert solution and not any(part.strip() in text for part in solution)
    public = {line.strip() for c in source.cells if role_of(c) != "hidden" for line in c.source.splitlines()}
    for cell in cells_of(source, "hidden"):
        assert "def visible(" in cell.source, "the visible tests' points need evidence from outside the student's process"
        kept = [n for n in ast.parse(cell.source).body if not (isinstance(n, ast.FunctionDef) and "visible" in n.name)]
        lines = [line for n in kept for line in (ast.get_source_segment(cell.source, n) or "").splitlines()]
        secret = [line for line in lines if len(line.strip()) > 20 and line.strip() not in public]
        assert secret and not [line for line in secret if line.strip() in text]
    assert all(not cell.outputs for cell in student.cells if cell.cell_type == "code")


@EVERY_CHAPTER
def test_student_lab_is_an_nbgrader_assignment(chapter: Chapter) -> None:
    from nbgrader.nbgraderformat import MetadataValidator
    from nbgrader.utils import is_grade, is_locked, is_solution

    student = nbformat.read(chapter.lab, as_version=4)
    MetadataValidator().validate_nb(student)
    names = exercises(read(chapter.lab_source))
    assert [c.metadata.nbgrader.grade_id for c in student.cells if is_solution(c)] == names
    graded = [c for c in student.cells if is_grade(c)]
    assert all(is_locked(c) and c.metadata.nbgrader.points > 0 for c in graded)
    assert {c.metadata.nbgrader.grade_id for c in graded} == {f"{n}-{kind}" for n in names for kind in ("tests", "hidden")}
    ids = [cell.id for cell in student.cells]
    assert len(set(ids)) == len(ids)


@EVERY_CHAPTER
def test_wrong_solutions_lose_points(chapter: Chapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_BUDGET", "quick")
    lab, solved, said = verify.reference(chapter)
    assert not [outcome for outcome in said if outcome.error], "the reference solution fails its own tests"
    tried = verify.mutants(chapter, lab, solved)
    for mutant in tried:  # who passes the visible tests honestly must be able to prove it
        said = {outcome.kind: outcome.error for outcome in mutant.outcomes}
        assert said["tests"] or not said["evidence"], f"{mutant.misconception}: visible() is stricter than its tests: {said}"
    broken = [f"{m.exercise}: {m.misconception}" for m in tried if m.broken]
    assert not broken, f"a name that is nowhere is no misconception: {broken}"
    survivors = [f"{m.exercise}: {m.misconception}" for m in tried if not m.caught]
    by_hidden = sum(any(o.error for o in m.outcomes if o.kind == "hidden") for m in tried)
    print(f"{chapter.name}: {len(tried) - len(survivors)} of {len(tried)} mutants caught, {by_hidden} by hidden tests")
    assert not survivors


@EVERY_CHAPTER
def test_student_lab_runs_as_given(chapter: Chapter, kernel: str) -> None:
    """Only what is not written yet may fail, and it says so: every test cell, cells that call an exercise, and cells that
    need a name which such a cell would have made."""
    notebook = nbformat.read(chapter.lab, as_version=4)
    names = exercises(read(chapter.lab_source))
    meant = build.meant_to_fail(chapter)
    errors = {name: error for name, error in run(notebook, kernel).items() if name not in meant}
    not_made: set[str] = set()
    for cell in notebook.cells:
        if cell.id not in errors:
            continue
        not_made |= {
            node.id
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        lacks = re.fullmatch(r"name '(\w+)' is not defined", errors[cell.id]["evalue"])
        if lacks and lacks[1] in not_made:
            del errors[cell.id]
    assert {error["ename"] for error in errors.values()} <= {"Unsolved", "NotImplementedError"}, errors
    for cell_id, error in errors.items():
        assert any(f"exercise {name}" in error["evalue"] for name in names), (cell_id, error)
    tests = {cell.id for cell in notebook.cells if role_of(cell) == "tests"}
    assert tests <= set(errors)


@EVERY_CHAPTER
def test_one_solved_exercise_passes_alone(chapter: Chapter, kernel: str) -> None:
    """A student who has solved the first exercise sees it pass, and the others unsolved."""
    source = build.solution(chapter)
    solved = {cell.id: cell.source for cell in source.cells}
    notebook = nbformat.read(chapter.lab, as_version=4)
    first = exercises(read(chapter.lab_source))[0]
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == first:
            cell.source = solved[cell.id]
    notebook.cells = [cell for cell in notebook.cells if "experiment" not in tags(cell)]
    errors = run(notebook, kernel)
    assert f"{first}-tests".replace("_", "-") not in errors
    passed = [
        o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs if "✓ " + first in o.get("text", "")
    ]
    assert passed


def role_of(cell: nbformat.NotebookNode) -> str | None:
    found = role(cell)
    return found.kind if found else None


def run(notebook: nbformat.NotebookNode, kernel: str) -> dict[str, nbformat.NotebookNode]:
    """Execute in place, past errors; the error of each cell that had one."""
    with tempfile.TemporaryDirectory() as folder:
        client = Client(notebook, timeout=900, kernel_name=kernel, allow_errors=True)
        client.resources = {"metadata": {"path": folder}}
        client.execute(env={**os.environ, "COURSE_BUDGET": "quick"})
    return {
        cell.id: output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }


class TestStaleness:
    """`stale` itself: what it must notice, on a copy."""

    @pytest.mark.parametrize("change", ["source", "metadata", "extra cell", "output", "not executed"])
    def test_notices(self, change: str, tmp_path: Path) -> None:
        chapter = CHAPTERS[0]
        path, made, executed = next(t for t in build.targets(chapter) if t[2] == (change == "not executed"))
        committed = copy.deepcopy(nbformat.read(path, as_version=4))
        copied = tmp_path / path.name
        nbformat.write(committed, copied)
        assert build.stale(copied, made, executed) is None
        code = next(cell for cell in committed.cells if cell.cell_type == "code" and cell.source.strip())
        if change == "source":
            code.source += "\n# edited by hand"
        elif change == "metadata":
            code.metadata["tags"] = ["other"]
        elif change == "extra cell":
            committed.cells.append(nbformat.v4.new_markdown_cell("more"))
        elif change == "output":
            code.outputs = [nbformat.v4.new_output("stream", name="stdout", text="a result")]
        else:
            code.execution_count = None
        nbformat.write(committed, copied)
        assert build.stale(copied, made, executed)
