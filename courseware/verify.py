"""Do a lab's tests test? The reference solution must pass them all, and every known wrong solution must lose points.

Cells are executed as plain Python in one process: this is the author's own code, on the author's machine. Grading a
stranger's notebook is another matter and another module.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from nbformat import NotebookNode

from .cell_names import python
from .chapters import Chapter, ChapterError, cells_of, exercises, read, role, tags
from .wire import carried

Namespace = dict[str, Any]


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
                _run(cell.source, names)
            except Exception as error:
                which = (
                    f"the solution of {cell_role.exercise}" if cell_role else f"the cell that begins {cell.source[:60]!r}"
                )
                raise ChapterError(f"the solved lab fails in {which}: {type(error).__name__}: {error}") from error
    return names


def outcomes(lab: NotebookNode, exercise: str, names: Namespace, reference: Namespace) -> list[Outcome]:
    """Run the visible and the hidden tests of an exercise in `names`; hidden ones compare with `reference`."""
    results = []
    for kind in ("tests", "hidden"):
        for cell in cells_of(lab, kind, exercise):
            cell_role = role(cell)
            assert cell_role is not None
            if kind == "tests":
                results.append(Outcome(exercise, kind, cell_role.points, error_of(_run, cell.source, dict(names))))
            else:
                by_probe = error_of(hidden, cell.source, names, reference)
                by_visible = error_of(hidden, cell.source, names, reference, "visible")
                results.append(Outcome(exercise, kind, cell_role.points, by_probe))
                results.append(Outcome(exercise, "evidence", 0, by_visible))
    return results


def error_of(test: Callable[..., None], *arguments: Any) -> str:
    """What a test says: "" when it passes, else the exception, whatever it is: on wrong answers anything may be raised."""
    try:
        test(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def hidden(source: str, names: Namespace, reference: Namespace, function: str = "probe") -> None:
    """Run one hidden test: probe() or visible() beside the answer, and its check on the plain data that came back.

    The data goes the way that it goes in grading, so that what cannot be carried is noticed by the author.

    Raises: whatever says that the answer is wrong.
    """
    want = carried(defined(source, reference)[function]())
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


def judge(source: str, got: Any, want: Any, function: str = "probe") -> None:
    """The check that belongs to probe() or visible(): the cell's own, or `close`.

    Raises: whatever says that the answer is wrong.
    """
    check = defined(source, {"np": np, "close": close}).get("check" if function == "probe" else "check_visible")
    if check:
        check(got, want)
    elif function == "probe":
        close(got, want)
    else:
        close(got, want, rtol=1e-3, atol=1e-4)  # a test that students see is not strict


def defined(source: str, names: Namespace) -> Namespace:
    copy = dict(names)
    _run(source, copy)
    return copy


def _run(source: str, names: Namespace) -> None:
    """Execute a cell; what it prints is of no interest here. Lines for IPython (%pip, %matplotlib) are left out."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(python(source), "<cell>", "exec"), names)


def close(got: Any, want: Any, rtol: float = 1e-5, atol: float = 1e-6, path: str = "result") -> None:
    """Compare two nested structures of plain data; the message names the place that differs.

    Raises:
        AssertionError
    """
    if isinstance(want, dict):
        assert isinstance(got, dict) and set(got) == set(want), f"{path} should have the entries {sorted(want)}"
        for key in want:
            close(got[key], want[key], rtol, atol, f"{path}[{key!r}]")
    elif isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want), f"{path} should be a list of {len(want)}"
        for i, entry in enumerate(want):
            close(got[i], entry, rtol, atol, f"{path}[{i}]")
    elif isinstance(want, np.ndarray):
        assert isinstance(got, np.ndarray), f"{path} should be a tensor"
        assert got.dtype == want.dtype, f"{path} should be {want.dtype}, but is {got.dtype}"
        assert got.shape == want.shape, f"{path} should have shape {want.shape}, but has {got.shape}"
        if np.issubdtype(want.dtype, np.inexact):
            np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=path)
        else:
            np.testing.assert_array_equal(got, want, err_msg=path)
    elif isinstance(want, (float, complex)):
        assert isinstance(got, (int, float, type(want))), f"{path} should be a number"
        assert _near(got, want, rtol, atol), f"{path} should be {want}, but is {got}"
    else:
        assert got == want, f"{path} should be {want!r}, but is {got!r}"


def _near(got: Any, want: Any, rtol: float, atol: float) -> bool:
    try:
        return bool(np.isclose(complex(got), want, rtol=rtol, atol=atol, equal_nan=True))
    except OverflowError:  # an integer beyond all floats
        return False


def reference(chapter: Chapter) -> tuple[NotebookNode, Namespace, list[Outcome]]:
    """The lab, its names when solved, and what its tests say of the reference solution.

    Raises:
        ChapterError: the solved lab does not run.
    """
    lab = read(chapter.lab_source)
    try:
        names = solved_namespace(lab)
    except ChapterError as error:
        raise ChapterError(f"{chapter.name}: {error}") from error
    return lab, names, [outcome for exercise in exercises(lab) for outcome in outcomes(lab, exercise, names, names)]


def mutants(chapter: Chapter, lab: NotebookNode, names: Namespace) -> list[Mutant]:
    """Every wrong solution of `mutants.py`, tried."""
    results = []
    for cell in cells_of(read(chapter.folder / "mutants.py"), "mutant"):
        cell_role = role(cell)
        assert cell_role is not None
        wrong = dict(names)
        for exercise in cells_of(lab, "exercise", cell_role.exercise):
            _run(exercise.source, wrong)  # so that what the exercise defines beside it calls the wrong one too
        _run(cell.source, wrong)
        misconception = cell.source.splitlines()[0].lstrip("# ")
        results.append(Mutant(cell_role.exercise, misconception, outcomes(lab, cell_role.exercise, wrong, names)))
    return results
