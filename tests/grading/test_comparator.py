"""How the answers of a hidden test are compared with the solution's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from courseware.grading.comparator import close

INFINITE, NO_NUMBER = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1.0 + 1e-6, 1.0),
        (1, 1.0),
        (1 + 1e-6j, 1 + 0j),
        (INFINITE, INFINITE),
        (NO_NUMBER, NO_NUMBER),
        ({"a": [1.0, "x"]}, {"a": [1.0, "x"]}),
        (np.array([1.0, INFINITE, NO_NUMBER]), np.array([1.0, INFINITE, NO_NUMBER])),
    ],
)
def test_near(got: Any, want: Any) -> None:
    close(got, want)


@pytest.mark.parametrize(
    ("got", "want", "said"),
    [
        (1.1, 1.0, "result should be 1.0, but is 1.1"),
        (1.0, INFINITE, "should be inf, but is 1.0"),  # though every number is less than rtol · inf away from it
        (-INFINITE, INFINITE, "should be inf"),
        (NO_NUMBER, 1.0, "should be 1.0, but is nan"),
        (10**400, 1.0, "should be 1.0"),
        ("1.0", 1.0, "should be a number"),
        (2**60 + 1, 2**60, "should be 1152921504606846976"),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 3.0]}, r"result\['a'\]\[1\] should be 3.0"),
        (np.array([1.0, 2.0]), np.array([1.0, INFINITE]), "result"),
    ],
)
def test_not_near(got: Any, want: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        close(got, want)
