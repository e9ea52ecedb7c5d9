"""Explorers in a kernel, and what predictions and quizzes hold: the key is checked when the cell runs."""

from __future__ import annotations

import json
import re
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils import widgets
from course_utils.assets import STATIC, assets, lifted, refreshed
from course_utils.controls import controls
from course_utils.questions import number
from course_utils.words import WORDS


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What cells display."""
    displayed: list[Any] = []
    monkeypatch.setattr(widgets, "display", lambda what, **options: displayed.append(what))
    return displayed


class TestExplorer:
    def test_controls_and_redraw(self, shown: list[Any]) -> None:
        seen: list[dict[str, object]] = []

        def draw(**values: object) -> None:
            seen.append(values)
            plt.subplots()

        widgets.explorer(
            draw, bits=(2, 8, 1), scale=(0.1, 1.0, 0.1), scheme=["absmax", "nf4"], outliers=True, start={"scale": 0.3}
        )
        assert seen == [{"bits": 5, "scale": 0.3, "scheme": "absmax", "outliers": True}]
        made = {control.description: control for control in shown[0].children[0].children}
        made["bits"].value = 4
        made["scheme"].value = "nf4"
        assert seen[-1] == {"bits": 4, "scale": 0.3, "scheme": "nf4", "outliers": True}
        assert plt.get_fignums() == []

    def test_it_is_shown_once(self, shown: list[Any]) -> None:
        """Also as the last line of a cell without a semicolon."""
        assert widgets.explorer(lambda bits: None, bits=(2, 8, 1)) is None  # type: ignore[func-returns-value]
        assert len(shown) == 1

    def test_unsolved_exercise_is_one_line(self, shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
        def draw(bits: int) -> None:
            raise NotImplementedError("exercise absmax: write this function")

        widgets.explorer(draw, bits=(2, 8, 1))
        printed = capsys.readouterr().out  # outside a kernel an output widget leaves it there
        assert "Nothing to show yet: exercise absmax: write this function\n" in printed and "Traceback" not in printed

    @pytest.mark.parametrize(
        ("specs", "start", "first", "text"),
        [
            ({"b": (2, 8, 1)}, {}, 5, "5"),
            ({"b": (1, 20, 1)}, {}, 10, "10"),
            ({"b": (0.0, 0.95, 0.05)}, {}, 0.45, "0.45"),
            ({"b": (-1.3, 1.0, 0.1)}, {"b": -0.3}, -0.3, "-0.3"),
            ({"b": (0, 10, 3)}, {"b": 10}, 9, "9"),
            ({"b": ["x", "y"]}, {}, "x", "x"),
            ({"b": False}, {"b": True}, True, "on"),
        ],
    )
    def test_the_first_value(self, specs: dict[str, Any], start: dict[str, Any], first: object, text: str) -> None:
        (control,) = controls(specs, start)
        assert control.start == first and control.widget().value == first and control.shown(control.start) == text

    @pytest.mark.parametrize(
        ("start", "says"),
        [
            ({"c": 1}, "there is no control 'c'; there are b, m"),
            ({"b": 9}, "b goes from 2 to 8, so it cannot be 9"),
            ({"m": "z"}, "m cannot be 'z'; it can be 'x', 'y'"),
        ],
    )
    def test_a_first_value_that_cannot_be(self, start: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=re.escape(says)):
            controls({"b": (2, 8, 1), "m": ["x", "y"]}, start)

    def test_a_control_of_the_authors(self) -> None:
        (control,) = controls({"question": ipw.Text("Who?", description="ask")}, {"question": "Why?"})
        assert control.label == "ask" and control.widget().value == "Why?"


def html(shown: list[Any]) -> str:
    return str(shown[-1]["text/html"])


class TestPredict:
    def test_the_key_is_in_the_page(self, shown: list[Any]) -> None:
        widgets.predict("How many *values* has an `int4`?", options=[8, 16, 32], answer=2**4, why="Each bit doubles them.")
        assert 'data-answer="1"' in html(shown) and "<em>values</em> has an <code>int4</code>?" in html(shown)
        assert "Each bit doubles them." in html(shown)
        assert shown[-1]["text/plain"] == "Predict: How many values has an int4?\n8\n16\n32"

    def test_after_the_experiment(self, shown: list[Any]) -> None:
        guess = widgets.predict("How many GB?", unit="GB")
        asked = html(shown)
        assert "data-answer" not in asked and "<details" not in asked
        guess.reveal(np.float32(3.34567), why="Half a byte each.")
        assert 'data-tolerance="0.1"' in html(shown) and "3.35 GB (within 10 % counts as right)" in html(shown)
        assert re.search(r'data-name="([^"]+)"', asked)[1] == re.search(r'data-of="([^"]+)"', html(shown))[1]  # type: ignore[index]

    def test_as_the_last_line_of_a_cell_it_is_shown_once(self, shown: list[Any]) -> None:
        widgets.predict("How many?")._ipython_display_()
        assert len(shown) == 1

    @pytest.mark.parametrize(
        ("options", "answer", "says"),
        [
            (["NF4", "int4"], "FP4", "answer 'FP4' is none of the options of 'Which?': 'NF4', 'int4'"),
            (None, "many", "answer 'many' of 'Which?' is no number; for choices give options=[…]"),
            (["one"], "one", "options: two or more, each another: not ['one']"),
            ([1, 1.0], 1, "options: two or more, each another: not ['1', '1']"),
        ],
    )
    def test_a_key_that_cannot_be(self, options: list[object] | None, answer: object, says: str) -> None:
        with pytest.raises(ValueError, match=re.escape(says)):
            widgets.predict("Which?", options=options, answer=answer)

    def test_the_same_question_is_the_same_html(self, shown: list[Any]) -> None:
        for _ in range(2):
            widgets.predict("How many?", answer=3)
        assert shown[0] == shown[1]

    def test_what_is_written_is_text(self, shown: list[Any]) -> None:
        widgets.predict("Is a < b & <script>?", options=["<b>", '"c"'], answer="<b>", why="5 * 3 * 2 and a_b_c")
        assert "Is a &lt; b &amp; &lt;script&gt;?" in html(shown) and "<b>" not in html(shown)
        assert "5 * 3 * 2 and a_b_c" in html(shown)


class TestQuiz:
    QUESTIONS = (
        {"question": "What is lost?", "options": {"range": "Only above 448.", "precision": "Yes."}, "answer": "precision"},
        {"question": "How many bytes?", "answer": 7e9 / 2, "unit": "bytes", "why": "Half a byte each."},
    )

    def test_each_choice_has_its_explanation(self, shown: list[Any]) -> None:
        widgets.quiz(self.QUESTIONS)
        assert html(shown).count('class="course-question') == 2
        assert '<li data-option="0"><strong>range</strong>: Only above 448.</li>' in html(shown)
        assert "3,500,000,000 bytes" in html(shown) and "Half a byte each." in html(shown)

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            ({"question": "Q?", "answer": 1, "reason": ""}, "a question has no 'reason'; it has answer, options"),
            ({"question": "Q?"}, "a question needs 'answer'"),
            ({"question": "Q?", "options": {"a": "", "b": ""}, "answer": "c"}, "answer 'c' is none of the options"),
        ],
    )
    def test_a_question_that_cannot_be(self, entry: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=re.escape(says)):
            widgets.quiz([entry])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (16, "16"),
        (6738415616, "6,738,415,616"),
        (3.34567, "3.35"),
        (0.000012345, "1.23e-05"),
        (1234.5, "1,230"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_have_three_digits_that_matter(value: float, text: str) -> None:
    assert number(value) == text


def test_styles_and_scripts_are_lifted_and_refreshed() -> None:
    own = '<p>a</p>\n<script type="application/json">{"a": 1}</script>\n'
    old = own + '<style data-course="interactive.css">old</style>\n<script data-course="interactive.js">old</script>\n'
    assert lifted(old) == (own, ["interactive.css", "interactive.js"])
    assert refreshed(old) == own + assets()
    assert lifted(own + assets()) == (own, ["interactive.css", "interactive.js"])


def test_the_script_holds_no_words_and_fits_into_a_page() -> None:
    """What a reader sees is in one table; an end tag in the file would end it where it is included."""
    text = (STATIC / "interactive.js").read_text(encoding="utf-8")
    assert "</" not in text and "http" not in text and len(assets()) < 12_000
    assert json.loads(json.dumps(WORDS)) == WORDS
