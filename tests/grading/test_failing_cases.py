"""`because:`: a hidden test says which kind of input fails, and gives no case away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from courseware import verify
from courseware.chapters import ChapterError
from courseware.grading import failing_cases
from courseware.grading.comparator import error_of, judge

DICT = """
def probe():
    shared = {
        "zeros": 0,  # because: zeros
        #because:   halves
        "ties": 1,
    }
    answers = {name: {"q": f(x), "x after": x} for name, x in shared.items()}
    answers["outliers"] = f(80)  # because: a few large values
    answers["after"] = {
        "x after": 3,  # because: what you were given
    }
    return answers
"""
LIST = """
def probe():
    return [
        total([]),  # because: an empty list
        total([1]),
        total(
            [2],
        ),  # because: one number
    ]
"""


def test_marks_are_found_beside_their_cases() -> None:
    assert failing_cases.marks(DICT) == [
        ("zeros", "zeros"),
        ("ties", "halves"),
        ("outliers", "a few large values"),
        ("x after", "what you were given"),
    ]
    assert failing_cases.marks(LIST) == [(0, "an empty list"), (2, "one number")]
    assert failing_cases.marks("def probe():\n    return ['# because: not a comment']") == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def probe(:\n    return 1", "no Python, line 1"),
        ("def probe():\n    x = 1  # because: nothing\n    return [x]", "stands beside no case"),
        (f"def probe():\n    return {{'a': 1}}  # because: {'long ' * 40}", "characters"),
    ],
)
def test_a_mark_that_says_nothing_is_refused(source: str, said: str) -> None:
    with pytest.raises(ChapterError, match=said):
        failing_cases.marks(source)


def test_a_mark_of_a_case_that_the_answer_has_not() -> None:
    assert failing_cases.unknown([("a", "x"), ("b", "y"), ("c", "z")], {"a": 1, "d": {"c": 2}}) == ["b"]
    assert failing_cases.unknown([(0, "x"), (5, "y")], [1, 2]) == [5]


def right(check: str, want: Any) -> Any:
    return lambda answer: not error_of(judge, check, answer, want)


def test_the_failing_cases_are_named() -> None:
    given: failing_cases.Marks = [("zeros", "zeros"), ("large", "large values"), ("x after", "the input, afterwards")]
    want = {"zeros": {"q": 0, "x after": 0}, "large": {"q": 9, "x after": 9}, "other": {"q": 1, "x after": 1}}

    def failing(got: Any, check: str = "") -> list[str]:
        return failing_cases.failing(given, got, want, right(check, want))

    assert failing(want) == []
    assert failing({**want, "zeros": {"q": 5, "x after": 0}}) == ["zeros"]
    assert failing({**want, "other": {"q": 5, "x after": 1}}) == []  # nobody said what that is
    changed = {name: {**entry, "x after": -1} for name, entry in want.items()}
    assert failing(changed) == ["the input, afterwards"]
    assert failing({"zeros": want["zeros"]}) == ["large values"]  # and a case that is not there at all
    assert failing("something else") == failing([1]) == []
    own = "def check(got, want):\n    assert abs(got['zeros']['q'] - want['zeros']['q']) < 3"
    assert failing({**want, "zeros": {"q": 2, "x after": 0}}, own) == []
    assert failing({**want, "zeros": {"q": 4, "x after": 0}}, own) == ["zeros"]


def test_a_case_or_only_one_side_of_it() -> None:
    source = """
def probe():
    answers = {}
    for name in ("one", "two"):
        answers[name] = {
            "codes": 1,  # because: the codes
            "x after": 2,  # because: the input, afterwards
        }
    answers["a block of zeros"] = {"codes": 1, "x after": 2}  # because: zeros
    return answers
"""
    given = failing_cases.marks(source)
    assert given == [("codes", "the codes"), ("x after", "the input, afterwards"), ("a block of zeros", "zeros")]
    want = {name: {"codes": 1, "x after": 2} for name in ("one", "two", "a block of zeros")}

    def failing(name: str, **wrong: int) -> list[str]:
        return failing_cases.failing(given, {**want, name: {**want[name], **wrong}}, want, right("", want))

    assert failing("one", codes=0) == ["the codes"]
    assert failing("a block of zeros", **{"codes": 0, "x after": 0}) == ["zeros"]
    assert failing("a block of zeros", **{"x after": 0}) == ["the input, afterwards"]


def test_lists_and_arrays() -> None:
    given: failing_cases.Marks = [(0, "an empty list"), (1, "negative numbers")]
    want = [0.0, np.array([1.0, 2.0])]
    assert failing_cases.failing(given, [0.0, np.array([1.0, 3.0])], want, right("", want)) == ["negative numbers"]
    assert failing_cases.failing(given, [0.0], want, right("", want)) == ["negative numbers"]


def test_judging_ends() -> None:
    asked = []
    want = {str(n): n for n in range(1000)}
    failing_cases.failing([(str(n), "x") for n in range(1000)], {}, want, lambda answer: bool(asked.append(1)))
    assert len(asked) <= failing_cases._TRIES


@pytest.mark.parametrize(("answer", "fine"), [("[True, True]", False), ("{'a': [True, None]}", False), ("[True, 1]", True)])
def test_an_answer_of_yes_and_no_only_is_refused(answer: str, fine: bool) -> None:
    """Whoever forges an answer knows it beforehand."""
    said = error_of(verify.hidden, f"def probe():\n    return {answer}", {}, verify.Reference({}))
    assert (said == "") is fine and (fine or "return the data" in said)


def test_places_within_a_case_are_no_cases() -> None:
    given: failing_cases.Marks = [(0, "an empty list"), (1, "negative numbers")]
    want = [[1.0, 2.0], [3.0, 4.0]]
    assert failing_cases.failing(given, [[1.0, 0.0], [3.0, 4.0]], want, right("", want)) == ["an empty list"]
