"""What compares a student's answer with the solution's: a hidden cell's own check, or `close`.

The author's tests (courseware/verify.py) and the grader compare by the same functions, on plain data (wire.py). A grader
calls them in a process of their own (comparison_process.py), since the data is a stranger's.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from ..cell_names import python

Namespace = dict[str, Any]


def error_of(test: Callable[..., None], *arguments: Any) -> str:
    """What a test says: "" when it passes, else the exception, whatever it is: on wrong answers anything may be raised."""
    try:
        test(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


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
    """The names after a cell has run on a copy of `names`."""
    copy = dict(names)
    run_cell(source, copy)
    return copy


def run_cell(source: str, names: Namespace) -> None:
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
