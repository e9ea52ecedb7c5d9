"""Questions that a page asks and answers without a kernel or server: predictions, and the questions of a quiz.

The script (static/interactive.js) holds no word that a reader sees: the blocks carry them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha1
from html import escape
from numbers import Real
from typing import Any

from .assets import assets
from .words import word


def inline(text: str) -> str:
    """One paragraph as HTML: `code`, **strong** and *emphasis* as in Markdown, all else as it is written."""
    parts = re.split(r"`([^`]+)`", text)
    for i, part in enumerate(parts):
        part = escape(part)
        if i % 2:
            parts[i] = f"<code>{part}</code>"
            continue
        part = re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"<strong>\1</strong>", part)
        parts[i] = re.sub(r"(?<![\w*])\*(\S(?:.*?\S)?)\*(?![\w*])", r"<em>\1</em>", part, flags=re.ASCII)
    return "".join(parts)


def number(value: float) -> str:
    """A number with three digits that matter, or all of a whole one."""
    if float(value).is_integer():
        return f"{int(value):,}"
    short = float(f"{value:.3g}")
    return f"{short:,.10g}" if 1e-4 <= abs(short) < 1e9 else f"{short:.3g}"


@dataclass(frozen=True)
class Question:
    """A question with choices (`options`) or for a number; `explanations` are the choices' own."""

    text: str
    options: tuple[str, ...]
    unit: str = ""
    tolerance: float = 0.1
    answer: float | None = None  # the number, or the place among the options
    why: str = ""
    explanations: tuple[str, ...] = ()

    @staticmethod
    def asked(text: str, options: Sequence[object] | None, unit: str = "", tolerance: float = 0.1) -> Question:
        """A question without its answer.

        Raises:
            ValueError: there are fewer than two options, or two that read the same.
        """
        texts = tuple(map(_text, options or ()))
        if options is not None and (len(texts) < 2 or len(set(texts)) < len(texts)):
            raise ValueError(f"options: two or more, each another: not {list(texts)}")
        return Question(text, texts, unit, tolerance)

    @staticmethod
    def of(entry: Mapping[str, Any]) -> Question:
        """A quiz's question, as `widgets.quiz` describes it.

        Raises:
            ValueError: an entry has another name, the answer is missing or none of the options.
        """
        known = {"question", "options", "answer", "unit", "tolerance", "why"}
        if unknown := set(entry) - known:
            raise ValueError(f"a question has no {sorted(unknown)[0]!r}; it has {', '.join(sorted(known))}")
        if missing := {"question", "answer"} - set(entry):
            raise ValueError(f"a question needs {sorted(missing)[0]!r}: {dict(entry)}")
        options: Mapping[object, str] | None = entry.get("options")
        unit, tolerance = entry.get("unit", ""), entry.get("tolerance", 0.1)
        made = Question.asked(entry["question"], list(options) if options else None, unit, tolerance)
        made = made.with_answer(entry["answer"], entry.get("why", ""))
        return replace(made, explanations=tuple(options.values()) if options else ())

    def with_answer(self, answer: object, why: str = "") -> Question:
        """The question with its key.

        Raises:
            ValueError: the answer is none of the options, or no number.
        """
        if self.options:
            if _text(answer) not in self.options:
                listed = ", ".join(repr(option) for option in self.options)
                raise ValueError(f"answer {_text(answer)!r} is none of the options of {self.text!r}: {listed}")
            return replace(self, answer=self.options.index(_text(answer)), why=why)
        try:
            return replace(self, answer=float(answer), why=why)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError(f"answer {answer!r} of {self.text!r} is no number; for choices give options=[…]") from None

    @property
    def name(self) -> str:
        """The same for the same question, so that a notebook that is built again is the same."""
        return "predict-" + sha1(self.text.encode()).hexdigest()[:8]

    def html(self) -> str:
        """The question with its controls and, if it is known, its answer; with style and script."""
        return f"{self._block('predict', 'commit')}{assets()}"

    def revealed(self) -> str:
        """The answer alone, which looks for what was said to the question on the same page, and uses that one's script.

        In Colab each output is a page of its own: there it brings style and script.
        """
        parts = assets() if _in_frames() else assets("wire.js")
        return (
            f'<div class="course-reveal course-box" data-of="{self.name}" {self._key()} {_attributes()}>\n'
            f'<p class="course-verdict" role="status"></p>\n{self._details("measured")}</div>\n{parts}'
        )

    def _block(self, kind: str, button: str) -> str:
        title = f"<strong>{word('predict')}</strong> " if kind == "predict" else ""
        return (
            f'<div class="course-question course-box course-{kind}" data-name="{self.name}" {self._key()} {_attributes()}>\n'
            f"<fieldset><legend>{title}{inline(self.text)}</legend>\n{self._fields()}"
            f'<div class="course-row"><button type="button" class="course-commit" hidden>{word(button)}</button>\n'
            f'<p class="course-verdict" role="status"></p></div></fieldset>\n{self._details("answer")}</div>\n'
        )

    def _fields(self) -> str:
        if not self.options:
            unit = f" {escape(self.unit)}" if self.unit else ""
            return (
                f'<label class="course-number"><span class="course-unseen">{word("your answer")}</span>'
                f'<input type="number" step="any" inputmode="decimal" autocomplete="off">{unit}</label>\n'
            )
        fields = "".join(
            f'<label class="course-option"><input type="radio" name="{self.name}" value="{i}"> '
            f"<span>{inline(option)}</span></label>\n"
            for i, option in enumerate(self.options)
        )
        return f'<div class="course-options{" course-short" if len("".join(self.options)) < 60 else ""}">\n{fields}</div>\n'

    def _key(self) -> str:
        if self.answer is None:
            return ""
        return f'data-answer="{self.answer!r}"' + ("" if self.options else f' data-tolerance="{self.tolerance!r}"')

    def _details(self, title: str) -> str:
        if self.answer is None:
            return ""
        if self.options:
            answer = inline(self.options[int(self.answer)])
        else:
            share = word("within").format(share=f"{self.tolerance:.0%}".replace("%", " %"))
            answer = f"{number(self.answer)} {escape(self.unit)}".strip() + (f" {share}" if self.tolerance else "")
        lines = "".join(
            f'<li data-option="{i}"><strong>{inline(option)}</strong>{_colon(option)}{inline(why)}</li>\n'
            for i, (option, why) in enumerate(zip(self.options, self.explanations, strict=False))
        )
        why = f"<ul>\n{lines}</ul>\n" if lines else (f"<p>{inline(self.why)}</p>\n" if self.why else "")
        return (
            f'<details class="course-answer"><summary>{word(title)}</summary>\n'
            f"<p><strong>{answer}</strong></p>\n{why}</details>\n"
        )


def quiz(questions: Sequence[Question]) -> str:
    """Questions one below the other and a line for the score; with style and script."""
    blocks = "".join(question._block("quizzed", "check") for question in questions)
    score = '<p class="course-score" role="status"></p>'
    return f'<div class="course-quiz" {_attributes()}>\n{blocks}{score}\n</div>\n{assets()}'


def apart(html: str) -> list[str]:
    """A quiz's questions one by one, each as a block of its own, without style and script."""
    return re.findall(r'<div class="course-question .*?</details>\n</div>\n', html, re.DOTALL)


def _colon(text: str) -> str:
    """What stands between an option and its explanation."""
    return "" if text.endswith(("。", "？", "！")) else " " if text.endswith((".", "?", "!")) else f"{word('colon')} "


def _text(option: object) -> str:
    return number(float(option)) if isinstance(option, Real) and not isinstance(option, bool) else str(option)


_SPOKEN = ("right", "wrong", "said", "noted", "choose", "number", "score")  # by the script


def _attributes() -> str:
    # JupyterLab's mark says that keys pressed here are not the notebook's.
    spoken = json.dumps({key: word(key) for key in _SPOKEN}, ensure_ascii=False)
    frames = " data-frames" if _in_frames() else ""
    return f'data-words="{escape(spoken)}" data-lm-suppress-shortcuts="true"{frames}'


def _in_frames() -> bool:
    """Is each output shown as a page of its own, as in Colab?"""
    return "google.colab" in sys.modules
