"""The object that a cell shows: data that the cell computed, a still picture, and the script that makes it move.

The HTML asks for nothing from elsewhere and has no event handler or style in an attribute. Where a page brings
`static/flagship.js` and `static/flagship.css` itself (the site, under a content security policy), the copies marked by
`data-course` can be taken out; the data are not executed.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from .. import language
from .svg import Drawing

LANGUAGES = ("en", "zh")


class Interactive:
    """What `interactives.transformer(…)` and its sisters return; the last expression of a cell shows it."""

    def __init__(self, kind: str, data: dict[str, Any], still: Drawing) -> None:
        """`kind` names the view in flagship.js, `data` is what it draws, `still` its first state."""
        self.kind, self.data, self.still = kind, data, still

    def _repr_html_(self) -> str:
        labels = {name: words(self.kind, name) for name in LANGUAGES}
        # "<" would end the data where a token or a text holds "</script>"
        data = json.dumps({"labels": labels, **self.data}, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        script, own = static("flagship.js").replace("</script", "<\\/script"), reader()
        return (
            f'<div class="course-flagship" data-kind="{self.kind}" lang="{own}">'
            f'<figure class="fs-still">{self.still}<figcaption class="fs-hint">{labels[own]["still"]}</figcaption></figure>'
            f'<script type="application/json" class="fs-data">{data}</script></div>'
            f'<style data-course="flagship.css">{static("flagship.css")}</style>'
            f'<script data-course="flagship.js">{script}</script>'
        )

    def __repr__(self) -> str:
        return f"<{self.kind}: {self.still.label}>"


def reader() -> str:
    """The language of who reads: "en" or "zh"."""
    return "zh" if language.language() == language.CHINESE else "en"


def words(kind: str, name: str = "") -> dict[str, str]:
    """The labels of one interactive in a language, the reader's if none is named: key → text, with `{name}` for a value."""
    table, name = _labels(), name or reader()
    return {key: text[name] for part in ("common", kind) for key, text in table[part].items()}


@cache
def static(name: str) -> str:
    """A file of `course_utils/static`, as text."""
    return files("course_utils").joinpath("static", name).read_text(encoding="utf-8")


@cache
def _labels() -> dict[str, dict[str, dict[str, str]]]:
    table: dict[str, dict[str, dict[str, str]]] = json.loads(static("flagship_labels.json"))
    return table


def packed(numbers: np.ndarray[Any, Any]) -> str:
    """Numbers from 0 to 1 in 16 bits each, little-endian, as base64: an error of at most 8e-6."""
    return base64.b64encode(np.round(np.clip(numbers, 0, 1) * 65535).astype("<u2").tobytes()).decode()


def rounded(numbers: Any, digits: int = 5) -> list[Any]:
    """A (nested) list of numbers with so many significant digits: fewer bytes in the page."""
    if isinstance(numbers, list | tuple):
        return [rounded(number, digits) for number in numbers]
    return float(f"{numbers:.{digits}g}")  # type: ignore[return-value]
