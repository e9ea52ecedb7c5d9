"""The judgement of an answer costs no more than it may, whatever the answer makes a check() do."""

from __future__ import annotations

import numpy as np
import pytest

from courseware.grading import comparison_process, verdict, wire

ONE = verdict.Exercise(1, 1, "", "", [1.0])


def says(check: str, got: object, want: object = 1) -> str:
    return verdict.says(verdict.Exercise(1, 1, "", check, wire.encode(wire.plain(want))), got)


def test_right_and_wrong() -> None:
    assert verdict.says(ONE, [1.0]) == "" and "should be 1.0" in verdict.says(ONE, [2.0])
    assert "own words" in says("def check(got, want):\n    assert got == want, 'own words'", 2)


def test_a_width_of_gigabytes_is_a_wrong_answer() -> None:
    wide = "def check(got, want):\n    assert got.format(premise='P').strip() == 'P'"
    assert says(wide, "{premise}") == ""
    assert says(wide, "{premise:>1200000000}").startswith("MemoryError")


def test_a_shape_of_gigabytes_is_a_wrong_answer() -> None:
    broadcast = "def check(got, want):\n    assert (got * np.ones((64, 576))).sum() > 0"
    assert says(broadcast, np.ones((1, 1))) == ""
    assert "allocate" in says(broadcast, np.ones((15_000, 1, 1)))


def test_a_check_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_process, "_SECONDS", 1)
    assert says("def check(got, want):\n    while True: pass", 1) == "the comparison took longer than 1 s"
    assert says("def check(got, want):\n    import os; os._exit(1)", 1) == "the comparison ended the process"
    monkeypatch.setattr(comparison_process, "_SECONDS", 20)
    assert says("", 1) == ""


def test_what_a_check_prints_is_not_taken_for_its_answer() -> None:
    assert "wrong" in says("def check(got, want):\n    print('[\"ok\", \"\"]', flush=True)\n    assert False, 'wrong'", 1)
