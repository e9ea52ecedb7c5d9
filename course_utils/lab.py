"""What a lab's own cells use: a reproducible start, the budget, visible tests that help, and the summary of what passes."""

from __future__ import annotations

import json
import os
import platform
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from . import tables, tracebacks
from .console import print_anything
from .errors import CourseError, UnknownNameError
from .language import ENGLISH, N_, language, t
from .words import SUMMARY

T = TypeVar("T")
_UNWRITTEN = N_("not written yet")


class Unsolved(CourseError, NotImplementedError):
    """The exercise still raises NotImplementedError, or its visible tests do not pass."""

    because = N_("which is not written yet")


@dataclass
class _State:
    chapter: str = ""
    exercises: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)  # exercise → its tests' error, "" where they pass


_state = _State()


def start(chapter: str, exercises: Sequence[str] = (), seed: int = 0) -> None:
    """Begin a notebook: seed Python, NumPy and PyTorch, quiet what helps nobody, and print what it runs on.

    Args:
        chapter: for example "10_quantization".
        exercises: names of the lab's exercises, in order; `summary` lists them.
        seed: any integer.

    Raises:
        CourseError: `COURSE_BUDGET` is neither "full" nor "quick".
    """
    global _state
    import transformers
    from IPython import get_ipython

    from . import hardware, plots

    print_anything()
    tracebacks.install(get_ipython())
    tables.speak(get_ipython())
    _state = _State(chapter, list(exercises))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    plots.style()
    if language() != ENGLISH:
        import pandas as pd

        pd.set_option("display.unicode.east_asian_width", True)  # a Chinese character is two columns wide
    gpu = hardware.detect().gpu or t("no GPU")
    print(
        f"{chapter} · Python {platform.python_version()} · torch {torch.__version__} · "
        f"transformers {transformers.__version__} · {gpu} · {t('budget {name}', name=_budget())}"
    )


def _budget() -> str:
    name = os.environ.get("COURSE_BUDGET", "full")
    if name not in ("full", "quick"):
        raise CourseError(t('COURSE_BUDGET is {name!r}; it can be "full" (the default) or "quick".', name=name))
    return name


def budget(full: T, quick: T) -> T:
    """The size of an experiment: `full` for a reader, `quick` for tests and graded runs (`COURSE_BUDGET=quick`).

    >>> n_sentences = lab.budget(full=200, quick=20)
    """
    return full if _budget() == "full" else quick


@contextmanager
def test(name: str) -> Iterator[None]:
    """Run the visible tests of exercise `name`: plain asserts in the body.

    Prints a line when all hold. Otherwise the summary remembers what was said and the error goes on, so that the cell is
    marked as failed for nbgrader and nbval too.

    Raises:
        Unsolved: the body called something that is not written yet.
        AssertionError: from the body.
        UnknownNameError: `name` is not an exercise of this lab.
    """
    if name not in _state.exercises:
        known = _state.exercises or [t("(none: run the cell with lab.start first)")]
        raise UnknownNameError.of(t("exercise"), name, known)
    try:
        yield
    except NotImplementedError as error:
        _state.errors[name] = _UNWRITTEN
        stub = f"exercise {name}: write this function"  # what stands in place of a solution, in every language
        what = t("exercise {name}: write this function", name=name) if str(error) == stub else error
        message = t("{error}. Write the cell above, run it, then run this one again.", error=what or t(_UNWRITTEN))
        raise _of(name, Unsolved(message)) from None
    except Exception as error:
        message = " ".join(str(error).split())
        _state.errors[name] = f"{type(error).__name__}: {message}" if message else type(error).__name__
        _of(name, error)
        raise
    _state.errors[name] = ""
    print(t("✓ {name}: all visible tests pass", name=name))


def needs(*exercises: str) -> None:
    """First line of a cell that shows a result of the exercises: without right answers it stops here, in one sentence.

    Raises:
        Unsolved: the visible tests of an exercise do not pass, or have not run.
        UnknownNameError: a name is not an exercise of this lab.
    """
    for name in exercises:
        if name not in _state.exercises:
            raise UnknownNameError.of(t("exercise"), name, _state.exercises)
        if reason := _state.errors.get(name, t("its tests have not run")):
            what = t(_UNWRITTEN) if reason == _UNWRITTEN else reason
            error = Unsolved(
                t("exercise {name}: {what}. Make its visible tests pass, then run this cell again.", name=name, what=what)
            )
            if reason != _UNWRITTEN:
                error.because = t("whose visible tests do not pass yet")
            raise _of(name, error)


def _of(exercise: str, error: Exception) -> Exception:
    """The error, which knows now whose test it came from (`tracebacks` shows it)."""
    with suppress(AttributeError):  # an error's class may have no room
        error.exercise = exercise  # type: ignore[attr-defined]
    return error


def expect_close(got: Any, want: Any, name: str, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Compare a tensor or a number with what it should be; say what differs in words.

    Args:
        got: the student's value.
        want: the expected value. A tensor: type, dtype, shape and values are compared, in this order.
        name: what to call it in the message.
        rtol, atol: |got - want| ≤ atol + rtol · |want|; integers are compared exactly, however large.

    Raises:
        AssertionError
    """
    g: Any
    w: Any
    if isinstance(want, torch.Tensor):
        assert isinstance(got, torch.Tensor), t(
            "{name} should be a torch.Tensor, but it is a {kind}", name=name, kind=type(got).__name__
        )
        assert got.dtype == want.dtype, t(
            "{name} should have dtype {want}, but it has {got}", name=name, want=want.dtype, got=got.dtype
        )
        assert got.shape == want.shape, t(
            "{name} should have shape {want}, but it has {got}", name=name, want=tuple(want.shape), got=tuple(got.shape)
        )
        exact = not (want.is_floating_point() or want.is_complex())
        wide = want.dtype if exact else torch.complex128 if want.is_complex() else torch.float64
        g, w = got.detach().cpu().to(wide), want.detach().cpu().to(wide)  # an Apple GPU has no float64
    else:
        assert isinstance(got, (int, float, complex, np.number)) or (isinstance(got, torch.Tensor) and got.numel() == 1), t(
            "{name} should be a number, but it is a {kind}", name=name, kind=type(got).__name__
        )
        g, w = (v.item() if isinstance(v, (np.generic, torch.Tensor)) else v for v in (got, want))
        exact = isinstance(g, int) and isinstance(w, int)
    near: dict[str, Any] = {"rtol": 0.0 if exact else rtol, "atol": 0.0 if exact else atol, "equal_nan": True}
    try:
        torch.testing.assert_close(g, w, check_dtype=False, **near)
    except (AssertionError, RuntimeError):  # the latter for an integer beyond all floats
        raise AssertionError(_difference(g, w, name, near)) from None


def _difference(got: Any, want: Any, name: str, near: dict[str, Any]) -> str:
    """What differs. PyTorch's own message says how many values and by how much, but shows none of them."""
    if not isinstance(want, torch.Tensor):
        return t("{name} should be {want}, but it is {got}", name=name, want=want, got=got)
    wrong = ~torch.isclose(got, want, **near)
    at = tuple(wrong.nonzero()[0].tolist())
    found, wanted = (f"{v:.6g}" if isinstance(v, (float, complex)) else v for v in (got[at].item(), want[at].item()))
    return t(
        "{name}: {wrong} of {all} values differ; the first is {place} = {found}, which should be {wanted}",
        name=name, wrong=int(wrong.sum()), all=wrong.numel(), place=f"{name}{list(at) if at else ''}", found=found,
        wanted=wanted,
    )  # fmt: skip


def summary() -> Any:
    """Table of the lab's exercises: which visible tests pass, and their points. What the others lack is printed whole."""
    import pandas as pd

    points = _points()
    rows = []
    for exercise in _state.exercises:
        error = _state.errors.get(exercise, t("its tests were not run yet"))
        mark = "✓" if not error else "–" if exercise not in _state.errors or error == _UNWRITTEN else "✗"
        rows.append({t("exercise"): exercise, t("passes"): mark})
        if points:
            earned = 0 if error else points[exercise]
            rows[-1][t("points")] = t("{earned} of {most}", earned=earned, most=points[exercise])
        if error:
            print(f"{mark} {exercise}: {t(_UNWRITTEN) if error == _UNWRITTEN else error}")
    done = [row[t("exercise")] for row in rows if row[t("passes")] == "✓"]
    counts: dict[str, Any] = {"done": len(done), "all": len(rows)}
    if points:
        counts |= {"earned": sum(map(points.__getitem__, done)), "most": sum(points.values())}
    print(t(SUMMARY[bool(points)], **counts), end=" ")
    print(t("Grading adds hidden tests of the same functions."))
    return pd.DataFrame(rows).set_index(t("exercise")) if rows else None


def _points() -> dict[str, int]:
    """exercise → points of its visible tests, in order; none for a lab that `course notebooks` has not seen as it is."""
    table = json.loads((Path(__file__).parent / "points.json").read_text(encoding="utf-8"))
    points: dict[str, int] = table.get(_state.chapter, {})
    known = all(exercise in points for exercise in _state.exercises)
    return {exercise: points[exercise] for exercise in _state.exercises} if known else {}
