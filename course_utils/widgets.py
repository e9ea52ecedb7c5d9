"""What moves and asks in a notebook: an explorer (controls over a figure), a prediction, a quiz.

Works with ipywidgets 7.7 (Colab) and 8. Predictions and quizzes need no kernel: they are pages with a small script
(static/interactive.js), the same in Jupyter, in Colab, on the site and on slides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
from IPython.display import display

from . import questions as page
from .assets import plain
from .controls import Control, controls
from .language import t

Draw = Callable[..., None]
Grid = Mapping[str, Sequence[Any]]


def explorer(draw: Draw, start: Mapping[str, Any] | None = None, grid: Grid | None = None, **specs: Any) -> None:
    """Show `draw(**values)` under controls; redraw when one is moved.

    >>> widgets.explorer(draw, bits=(2, 8, 1), scheme=["absmax", "zero point"], outliers=True, start={"bits": 4})

    In a built notebook, on the site and on slides there is no kernel that draws: there a picture is stored for each of some
    values of each control, and the controls choose among these.

    Args:
        draw: makes a matplotlib figure with the values as keyword arguments; what it prints is shown too. A
            NotImplementedError (an exercise that is not solved yet) is shown as one line.
        start: control → its first value. By default the middle of a slider, the first of a menu.
        grid: control → the values for which a picture is stored; for a slow `draw`, or where there are too many.
        specs: name = a list (menu), a tuple (low, high, step) (slider), a bool (tick box), or a widget.

    Raises:
        ValueError: `start` names no control, or a value that its control cannot have.
    """
    present(draw, controls(specs, start or {}), grid or {})


def live(draw: Draw, parts: list[Control], grid: Grid) -> None:
    """The explorer of a kernel: ipywidgets, every value. (`grid` is for the form that has no kernel.)"""
    made = {part.name: part.widget() for part in parts}

    def redraw(**values: Any) -> None:
        try:
            draw(**values)
        except NotImplementedError as error:
            print(nothing_yet(error))
        else:
            plt.show()
        finally:
            plt.close("all")

    output = ipw.interactive_output(redraw, made)
    display(ipw.VBox([ipw.HBox(list(made.values()), layout=ipw.Layout(flex_flow="row wrap")), output]))


present: Callable[[Draw, list[Control], Grid], None] = live  # the build puts its own in this place


def nothing_yet(error: NotImplementedError) -> str:
    """What stands in place of a figure that an unsolved exercise would draw."""
    return t("Nothing to show yet: {error}", error=error)


class Guess:
    """A prediction that has been asked for; `reveal` says what came out."""

    def __init__(self, question: page.Question) -> None:
        self._question = question

    def reveal(self, answer: object, why: str = "") -> None:
        """Show, after the experiment, what was predicted, what was measured, and why.

        Raises:
            ValueError: the answer is none of the options.
        """
        _show(self._question.with_answer(answer, why).revealed())

    def _ipython_display_(self) -> None:
        """Nothing: as the last line of a cell it has been shown already."""


def predict(
    question: str,
    options: Sequence[object] | None = None,
    answer: object = None,
    why: str = "",
    unit: str = "",
    tolerance: float = 0.1,
) -> Guess:
    """Ask for a prediction, which the reader commits to before the answer is shown. Nothing is stored but in the page.

    >>> widgets.predict("How many values has an int4?", options=[8, 16, 32], answer=2**4, why="Each bit doubles them.")
    >>> guess = widgets.predict("How many GB does it need?", unit="GB")  # then the experiment, and then
    >>> guess.reveal(plan.weights / 1e9, why="Four bytes for each parameter.")

    Args:
        question: one or two sentences; `code`, *emphasis* and **strong** as in Markdown.
        options: the choices; without, a number is asked for.
        answer: one of the options, or the number. None: it is known only after an experiment, see `Guess.reveal`.
        why: shown with the answer.
        unit: of the number.
        tolerance: a number is right up to this share of the answer.

    Raises:
        ValueError: the answer is none of the options, or no number.
    """
    asked = page.Question.asked(question, options, unit, tolerance)
    if answer is not None:
        asked = asked.with_answer(answer, why)
    _show(asked.html())
    return Guess(asked)


def quiz(questions: Sequence[Mapping[str, Any]]) -> None:
    """Ask several questions; each choice has its own explanation, and at the end a line says how many are right.

    >>> lost = {"range": "Only above 448.", "precision": "Yes: 3 bits are left."}
    >>> widgets.quiz([
    ...     dict(question="What is lost?", options=lost, answer="precision"),
    ...     dict(question="How many bytes?", answer=7e9 / 2, unit="bytes", why="Half a byte for each parameter."),
    ... ])

    Args:
        questions: each with `question`; either `options` (text → explanation) or nothing (a number, with `unit`, `tolerance`
            and `why`); and `answer`.

    Raises:
        ValueError: an answer is none of its options, or a question has an entry of another name.
    """
    _show(page.quiz([page.Question.of(entry) for entry in questions]))


def _show(html: str) -> None:
    display({"text/html": html, "text/plain": plain(html)}, raw=True)
