"""What a notebook shows of an error: a student reads one line, not twenty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from course_utils import lab, tracebacks

STUB = 'def absmax(x):\n    raise NotImplementedError("exercise absmax: write this function")\n'


class Shell(InteractiveShell):
    """IPython without a terminal, which keeps what it would show."""

    shown: list[list[str]]

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.shown.append(stb)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setattr(lab, "_state", lab._State("10_quantization", ["absmax", "other"]))
    here = Shell()
    here.shown = []
    tracebacks.install(here)
    here.user_ns["lab"] = lab
    yield here
    here.history_manager.end_session()


def run(shell: Shell, *cells: str) -> list[list[str]]:
    for cell in cells:
        shell.run_cell(cell, store_history=True)
    return shell.shown


def test_an_exercise_that_is_not_written_takes_one_line_in_every_cell_that_needs_it(shell: Shell) -> None:
    test = 'with lab.test("absmax"):\n    absmax(1)'
    shown = run(
        shell, STUB, test, "q, scale = absmax(2)\ndef helper(): pass", "print(q)", "later = scale + 1", "later", "helper()"
    )
    assert [len(lines) for lines in shown] == [1] * 6
    assert {line for lines in shown for line in lines} == {
        "– This cell waits for exercise absmax, which is not written yet."
    }


def test_a_cell_that_needs_a_right_answer_stops_in_one_line_before_it_shows_anything(shell: Shell) -> None:
    wrong, test = "def absmax(x):\n    return 3\n", 'with lab.test("absmax"):\n    assert absmax(1) == 2, "absmax(1) is 2"'
    needs = 'lab.needs("absmax")\nprint("a table")\nresult = absmax(1)'
    shown = run(shell, wrong, needs, test, needs, "result + 1", wrong.replace("3", "2"), test, needs, "result")
    waits = "– This cell waits for exercise absmax, whose visible tests do not pass yet."
    assert [lines for lines in shown if lines[0][0] == "–"] == [[waits]] * 3 and len(shown) == 4
    assert shell.user_ns["result"] == 2


def test_a_cell_needs_only_what_the_lab_has(shell: Shell) -> None:
    with pytest.raises(lab.UnknownNameError):
        lab.needs("absmin")


def test_a_name_that_nothing_would_have_defined_is_an_error_of_its_own(shell: Shell) -> None:
    _, shown = run(shell, STUB, "q = absmax(2)", "print(qq)")
    assert "NameError" in "".join(shown) and "waits" not in "".join(shown)


def test_a_failed_test_says_first_what_is_wrong(shell: Shell) -> None:
    test = 'with lab.test("absmax"):\n    got = absmax(1)\n    assert got == 2, f"absmax(1) is 2, but yours is {got}"'
    [shown] = run(shell, "def absmax(x):\n    return 3\n", test)
    assert shown == [
        "✗ absmax: absmax(1) is 2, but yours is 3",
        '  the test, line 3: assert got == 2, f"absmax(1) is 2, but yours is {got}"',
    ]


def test_an_error_in_the_exercise_names_its_line_too(shell: Shell) -> None:
    [shown] = run(shell, "def absmax(x):\n    return x + None\n", 'with lab.test("absmax"):\n    absmax(1)')
    assert shown[0].startswith("✗ absmax: TypeError: unsupported operand")
    assert shown[1:] == ["  the test, line 2: absmax(1)", "  in absmax, line 2: return x + None"]


def test_other_errors_are_shown_as_ever(shell: Shell) -> None:
    [shown] = run(shell, "1 / 0")
    assert "ZeroDivisionError" in "".join(shown) and "Traceback" in "".join(shown)


def test_outside_of_a_notebook_nothing_is_installed() -> None:
    tracebacks.install(None)
