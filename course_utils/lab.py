"""What a lab's own cells use: a reproducible start, the budget, visible tests that help, and the summary of what passes."""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from . import tracebacks
from .console import print_anything
from .errors import CourseError, UnknownNameError

T = TypeVar("T")
_UNWRITTEN = "not written yet"


class Unsolved(CourseError, NotImplementedError):
    """The exercise still raises NotImplementedError, or its visible tests do not pass."""

    because = "which is not written yet"


@dataclass
class _State:
    chapter: str = ""
    exercises: list[str] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)  # exercise → "" or what its tests said


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
    _state = _State(chapter, list(exercises))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    plots.style()
    gpu = hardware.detect().gpu or "no GPU"
    print(
        f"{chapter} · Python {platform.python_version()} · torch {torch.__version__} · "
        f"transformers {transformers.__version__} · {gpu} · budget {_budget()}"
    )


def _budget() -> str:
    name = os.environ.get("COURSE_BUDGET", "full")
    if name not in ("full", "quick"):
        raise CourseError(f'COURSE_BUDGET is {name!r}; it can be "full" (the default) or "quick".')
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
        raise UnknownNameError.of("exercise", name, _state.exercises or ["(none: run the cell with lab.start first)"])
    try:
        yield
    except NotImplementedError as error:
        _state.passed[name] = _UNWRITTEN
        said = f"{error or 'not written yet'}. Write the cell above, run it, then run this one again."
        raise _of(name, Unsolved(said)) from None
    except Exception as error:
        said = " ".join(str(error).split())
        _state.passed[name] = f"{type(error).__name__}: {said}" if said else type(error).__name__
        _of(name, error)
        raise
    _state.passed[name] = ""
    print(f"✓ {name}: all visible tests pass")


def needs(*exercises: str) -> None:
    """First line of a cell that shows a result of the exercises: without right answers it stops here, in one sentence.

    Raises:
        Unsolved: the visible tests of an exercise do not pass, or have not run.
        UnknownNameError: a name is not an exercise of this lab.
    """
    for name in exercises:
        if name not in _state.exercises:
            raise UnknownNameError.of("exercise", name, _state.exercises)
        if said := _state.passed.get(name, "its tests have not run"):
            error = Unsolved(f"exercise {name}: {said}. Make its visible tests pass, then run this cell again.")
            if said != _UNWRITTEN:
                error.because = "whose visible tests do not pass yet"
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
    if not isinstance(want, torch.Tensor):
        assert isinstance(got, (int, float, complex, np.number)) or (isinstance(got, torch.Tensor) and got.numel() == 1), (
            f"{name} should be a number, but it is a {type(got).__name__}"
        )
        number, wanted = (v.item() if isinstance(v, (np.generic, torch.Tensor)) else v for v in (got, want))
        assert _near(number, wanted, rtol, atol), f"{name} should be {want}, but it is {number}"
        return
    assert isinstance(got, torch.Tensor), f"{name} should be a torch.Tensor, but it is a {type(got).__name__}"
    assert got.dtype == want.dtype, f"{name} should have dtype {want.dtype}, but it has {got.dtype}"
    assert got.shape == want.shape, f"{name} should have shape {tuple(want.shape)}, but it has {tuple(got.shape)}"
    wide = torch.complex128 if want.is_complex() else torch.float64 if want.is_floating_point() else want.dtype
    g, w = got.detach().cpu().to(wide), want.detach().cpu().to(wide)  # an Apple GPU has no float64
    exact = wide == want.dtype and not (want.is_floating_point() or want.is_complex())
    wrong = g != w if exact else ~torch.isclose(g, w, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return
    at = tuple(int(i) for i in wrong.nonzero()[0])
    where = f"[{', '.join(map(str, at))}]" if at else ""
    found, wanted = (str(int(v[at])) if exact else f"{v[at].item():.6g}" for v in (g, w))
    raise AssertionError(
        f"{name}: {int(wrong.sum())} of {wrong.numel()} values differ; the first is {name}{where} = {found}, "
        f"which should be {wanted}"
    )


def _near(got: Any, want: Any, rtol: float, atol: float) -> bool:
    """Are two numbers as close as that? Two integers are not rounded first, as a float would be beyond 2**53."""
    if isinstance(got, int) and isinstance(want, int):
        return got == want
    try:
        return bool(abs(complex(got) - complex(want)) <= atol + rtol * abs(want))
    except OverflowError:  # an integer beyond all floats
        return False


def summary() -> Any:
    """Table of the lab's exercises: which visible tests pass; what the others said is printed whole, a table cuts it."""
    import pandas as pd

    rows = []
    for exercise in _state.exercises:
        said = _state.passed.get(exercise)
        mark = "✓" if said == "" else "–" if said in (None, _UNWRITTEN) else "✗"
        rows.append({"exercise": exercise, "passes": mark, "says": "tests not run yet" if said is None else said})
    done = sum(row["passes"] == "✓" for row in rows)
    print(f"{done} of {len(rows)} exercises pass their visible tests. Grading adds hidden tests of the same functions.")
    for row in rows:
        if row["passes"] == "✗":
            print(f"✗ {row['exercise']}: {row['says']}")
    return pd.DataFrame(rows).set_index("exercise") if rows else None
