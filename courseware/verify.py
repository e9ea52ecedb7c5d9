"""Do a lab's tests test? The reference solution must pass them all, and every known wrong solution must lose points.

Cells are executed as plain Python in one process: this is the author's own code, on the author's machine. Grading a
stranger's notebook is another matter and another module.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from .chapters import Chapter, ChapterError, cells_of, exercises, read, role, tags
from .grading.comparator import Namespace, defined, error_of, judge, run_cell
from .grading.wire import carried


@dataclass(frozen=True)
class Outcome:
    """What one test cell says of one solution; `error` is empty when it passed."""

    exercise: str
    kind: str  # "tests", "hidden", or "evidence": does visible() return what an honest pass of the visible tests needs?
    points: int
    error: str


@dataclass(frozen=True)
class Mutant:
    """A known wrong solution and what the exercise's tests said of it."""

    exercise: str
    misconception: str  # the first line of its cell
    outcomes: list[Outcome]

    @property
    def caught(self) -> bool:
        return any(outcome.error for outcome in self.outcomes if outcome.kind != "evidence")

    @property
    def broken(self) -> bool:
        """A slip of the pen, not a misconception: every test fails on a name that is nowhere."""
        return all(outcome.error.startswith("NameError") for outcome in self.outcomes if outcome.kind == "tests")


def solved_namespace(lab: NotebookNode) -> Namespace:
    """The names after the solved lab has run, without experiments and without tests.

    Raises:
        ChapterError: a cell of it raises, or is not Python.
    """
    names: Namespace = {"__name__": "__main__"}
    for cell in lab.cells:
        cell_role = role(cell)
        skipped = {"experiment", "raises-exception"} & set(tags(cell)) or (
            cell_role is not None and cell_role.kind != "exercise"
        )
        if cell.cell_type == "code" and not skipped:
            try:
                run_cell(cell.source, names)
            except Exception as error:
                which = (
                    f"the solution of {cell_role.exercise}" if cell_role else f"the cell that begins {cell.source[:60]!r}"
                )
                raise ChapterError(f"the solved lab fails in {which}: {type(error).__name__}: {error}") from error
    return names


class Reference:
    """The solved lab's names, and what its hidden tests give: asked once, however many answers are compared with it."""

    def __init__(self, names: Namespace) -> None:
        self.names = names
        self._given: dict[tuple[str, str], Any] = {}

    def gives(self, source: str, function: str) -> Any:
        """What probe() or visible() of a hidden test returns beside the solution, as plain data of the caller's own."""
        if (source, function) not in self._given:
            self._given[source, function] = carried(defined(source, self.names)[function]())
        return copy.deepcopy(self._given[source, function])


def outcomes(lab: NotebookNode, exercise: str, names: Namespace, reference: Reference) -> list[Outcome]:
    """Run the visible and the hidden tests of an exercise in `names`; hidden ones compare with `reference`.

    Who fails the visible tests needs no evidence, and is not asked for it.
    """
    results = []
    for kind in ("tests", "hidden"):
        for cell in cells_of(lab, kind, exercise):
            cell_role = role(cell)
            assert cell_role is not None
            if kind == "tests":
                results.append(Outcome(exercise, kind, cell_role.points, error_of(run_cell, cell.source, dict(names))))
            else:
                failed = any(outcome.error for outcome in results if outcome.kind == "tests")
                by_probe = error_of(hidden, cell.source, names, reference)
                results.append(Outcome(exercise, kind, cell_role.points, by_probe))
                if not failed:
                    by_visible = error_of(hidden, cell.source, names, reference, "visible")
                    results.append(Outcome(exercise, "evidence", 0, by_visible))
    return results


def hidden(source: str, names: Namespace, reference: Reference, function: str = "probe") -> None:
    """Run one hidden test: probe() or visible() beside the answer, and its check on the plain data that came back.

    The data goes the way that it goes in grading, so that what cannot be carried is noticed by the author.

    Raises: whatever says that the answer is wrong.
    """
    want = reference.gives(source, function)
    assert not yes_or_no(want), (
        f"{function}() returns only True and False, which can be sent without an answer: return the data"
    )
    got = carried(defined(source, names)[function]())
    judge(source, got, want, function)


def yes_or_no(value: Any) -> bool:
    """Is there nothing in plain data but True and False?"""
    if isinstance(value, (list, dict)):
        return all(map(yes_or_no, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool)


def reference(chapter: Chapter) -> tuple[NotebookNode, Reference, list[Outcome]]:
    """The lab, its solution, and what its tests say of the reference solution.

    Raises:
        ChapterError: the solved lab does not run.
    """
    lab = read(chapter.lab_source)
    try:
        solved = Reference(solved_namespace(lab))
    except ChapterError as error:
        raise ChapterError(f"{chapter.name}: {error}") from error
    return lab, solved, [outcome for exercise in exercises(lab) for outcome in outcomes(lab, exercise, solved.names, solved)]


def mutants(chapter: Chapter, lab: NotebookNode, solved: Reference) -> list[Mutant]:
    """Every wrong solution of `mutants.py`, tried."""
    results = []
    for cell in cells_of(read(chapter.folder / "mutants.py"), "mutant"):
        cell_role = role(cell)
        assert cell_role is not None
        wrong = dict(solved.names)
        for exercise in cells_of(lab, "exercise", cell_role.exercise):
            run_cell(exercise.source, wrong)  # so that what the exercise defines beside it calls the wrong one too
        run_cell(cell.source, wrong)
        misconception = cell.source.splitlines()[0].lstrip("# ")
        results.append(Mutant(cell_role.exercise, misconception, outcomes(lab, cell_role.exercise, wrong, solved)))
    return results
