"""What a student sees: tests that say what is wrong, the summary, the budget."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from course_utils import lab
from course_utils.errors import CourseError, UnknownNameError


@pytest.fixture(autouse=True)
def started(capsys: pytest.CaptureFixture[str]) -> None:
    lab.start("10_quantization", exercises=["first", "second", "third"])
    capsys.readouterr()


def test_start_says_what_it_runs_on_and_seeds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_BUDGET", "quick")
    drawn = []
    for _ in range(2):
        lab.start("10_quantization", seed=3)
        drawn.append((random.random(), np.random.rand(), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    said = capsys.readouterr().out
    assert torch.__version__ in said and "budget quick" in said


def test_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_BUDGET", raising=False)
    assert lab.budget(full=200, quick=20) == 200
    monkeypatch.setenv("COURSE_BUDGET", "quick")
    assert lab.budget(full=200, quick=20) == 20
    monkeypatch.setenv("COURSE_BUDGET", "fast")
    with pytest.raises(CourseError, match=r"'fast'.*full.*quick"):
        lab.budget(full=1, quick=1)


def test_summary_tells_the_three_cases_apart(capsys: pytest.CaptureFixture[str]) -> None:
    with lab.test("first"):
        assert 1 + 1 == 2
    with pytest.raises(AssertionError), lab.test("second"):
        raise AssertionError("scale should be 2, but it is 3")
    table = lab.summary()
    assert list(table.passes) == ["✓", "✗", "–"]
    said = capsys.readouterr().out
    assert "✓ first" in said and "1 of 3" in said and "✗ second: AssertionError: scale should be 2, but it is 3\n" in said
    assert "– third: its tests were not run yet\n" in said


def test_summary_counts_the_points_of_visible_tests(capsys: pytest.CaptureFixture[str]) -> None:
    lab.start("10_quantization", exercises=["absmax", "nf4"])
    points = json.loads((Path(lab.__file__).parent / "points.json").read_text(encoding="utf-8"))["10_quantization"]
    with lab.test("nf4"):
        pass
    with pytest.raises(AssertionError), lab.test("absmax"):
        raise AssertionError("a reason " * 40 + "to its end")
    table = lab.summary()
    assert list(table.points) == [f"0 of {points['absmax']}", f"{points['nf4']} of {points['nf4']}"]
    said = capsys.readouterr().out
    assert (
        f"1 of 2 exercises pass their visible tests, {points['nf4']} of their {points['absmax'] + points['nf4']} points"
        in said
    )
    assert "a reason to its end\n" in said


def test_a_lab_of_one_s_own_has_a_summary_without_points(capsys: pytest.CaptureFixture[str]) -> None:
    table = lab.summary()  # 10_quantization, with exercises of other names
    assert list(table.columns) == ["passes"] and "points" not in capsys.readouterr().out


def test_unsolved_exercise_is_named_not_traced(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(lab.Unsolved, match=r"exercise first: write this function. Write the cell above") as caught,
        lab.test("first"),
    ):
        raise NotImplementedError("exercise first: write this function")
    assert isinstance(caught.value, NotImplementedError)
    assert len(caught.value._render_traceback_()) == 1
    lab.summary()
    assert "– first: not written yet\n" in capsys.readouterr().out


def test_passing_after_failing_counts() -> None:
    with pytest.raises(lab.Unsolved), lab.test("first"):
        raise NotImplementedError
    with lab.test("first"):
        pass
    assert lab.summary().passes["first"] == "✓"


def test_unknown_exercise() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'first'"), lab.test("frist"):
        pass


@pytest.mark.parametrize(
    ("got", "want", "says"),
    [
        ([1, 2], torch.tensor([1, 2]), "should be a torch.Tensor, but it is a list"),
        (torch.tensor([1.0]), torch.tensor([1]), "should have dtype torch.int64, but it has torch.float32"),
        (torch.zeros(3, 2), torch.zeros(2, 3), r"should have shape \(2, 3\), but it has \(3, 2\)"),
        (
            torch.tensor([[1, 2], [3, 5]]),
            torch.tensor([[1, 2], [3, 4]]),
            r"1 of 4 values differ; the first is q\[1, 1\] = 5",
        ),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]), r"q\[1\] = nan"),
        ("three", 3, "should be a number, but it is a str"),
        (2.5, 3, "should be 3, but it is 2.5"),
        (torch.tensor(2.5), 3, "should be 3"),
        (1 + 2j, 1 + 3j, r"should be \(1\+3j\), but it is \(1\+2j\)"),
        (1 + 2j, 1.0, "should be 1.0"),
        (2**60 + 1, 2**60, "should be 1152921504606846976, but it is 1152921504606846977"),
        (torch.tensor(2**60 + 1), np.int64(2**60), "1152921504606846977"),
        (10**400, 1.0, "should be 1.0"),
        (torch.tensor([2**60 + 1]), torch.tensor([2**60]), r"q\[0\] = 1152921504606846977"),
        (torch.tensor([1 + 2j]), torch.tensor([1 + 3j]), r"q\[0\] = 1\+2j, which should be 1\+3j"),
        (torch.tensor([True, True]), torch.tensor([True, False]), r"q\[1\] = True, which should be False"),
        (torch.tensor(1.0), torch.tensor(2.0), "1 of 1 values differ; the first is q = 1, which should be 2"),
        (1.0, float("inf"), "should be inf, but it is 1.0"),  # though every number is less than rtol · inf away from it
        (float("nan"), 1.0, "should be 1.0, but it is nan"),
        (10**400 + 1, 10**400, "should be 1"),
    ],
)
def test_expect_close_says_what_differs(got: object, want: object, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        lab.expect_close(got, want, "q")


def test_expect_close_accepts() -> None:
    lab.expect_close(torch.tensor([1.0 + 1e-7]), torch.tensor([1.0]), "q")
    lab.expect_close(np.float32(3), 3, "n")
    lab.expect_close(torch.tensor(3.0), torch.tensor(3.0), "scalar")
    lab.expect_close(torch.tensor([3.3]), torch.tensor([3.0]), "loose", rtol=0.2)
    lab.expect_close(1 + 2j, 1 + 2j, "complex")
    lab.expect_close(torch.tensor([1 + 2j]), torch.tensor([1 + 2.000001j]), "complex")
    lab.expect_close(2**60, np.int64(2**60), "large")
    lab.expect_close(10**400, 10**400, "beyond all floats")
    lab.expect_close(float("-inf"), torch.tensor(float("-inf")).item(), "infinite")
    lab.expect_close(float("nan"), float("nan"), "not a number")
    lab.expect_close(torch.zeros(0), torch.zeros(0), "empty")
