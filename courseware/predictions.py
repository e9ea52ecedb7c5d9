"""A lab's predictions for a page: what its solution showed, also in another language, in which nobody ran the solution.

There the answers are those of the English run, in the words of the translated lab: each text that was shown is found among
the strings of the English cells, and the translated cell has its twin in the same place of the same program.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from html import unescape
from typing import Any
from unittest.mock import patch

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.questions import Question

from .chapters import html_of, role
from .pages import is_question

_MARKS = {"code": "`", "strong": "**", "em": "*"}  # `questions.inline`, the other way
_TEXT = re.compile(r"<legend>(?:<strong>[^<]*</strong> )?(.*?)</legend>", re.DOTALL)
_OPTION = re.compile(r'<label class="course-option">.*?<span>(.*?)</span></label>', re.DOTALL)
_UNIT = re.compile(r'autocomplete="off">([^<]*)</label>')
_WHY = re.compile(r"</summary>\n<p><strong>.*?</strong></p>\n<p>(.*?)</p>\n</details>", re.DOTALL)
_KEY = re.compile(r'data-answer="([^"]+)"')
_TOLERANCE = re.compile(r'data-tolerance="([^"]+)"')
_OF = re.compile(r'class="course-reveal course-box" data-of="([^"]+)"')
_DEPTH = 3  # of strings in the fields of strings


def shown(solved: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The id of each given code cell of a solved lab, and what it showed."""
    return {cell.id: cell.get("outputs", []) for cell in solved.cells if cell.cell_type == "code" and role(cell) is None}


def translated(
    outputs: dict[str, list[NotebookNode]], english: NotebookNode, other: NotebookNode, language: str
) -> dict[str, list[NotebookNode]]:
    """The same with each prediction and answer in the words of the lab in another language; what else was shown stays."""
    twins = {cell.id: cell.source for cell in other.cells if cell.cell_type == "code"}
    pairs = {cell.id: list(_pairs(cell.source, twins[cell.id])) for cell in english.cells if cell.id in twins}
    everywhere = [pair for own in pairs.values() for pair in own]
    asked: dict[str, tuple[Question, Question]] = {}  # by the English name
    made = {}
    with patch.dict(os.environ, COURSE_LANG=language):
        for cell, before in outputs.items():
            if any(map(is_question, before)):
                say = _Words([*pairs.get(cell, []), *everywhere])
                before = [_translated(output, say, asked) if is_question(output) else output for output in before]
            made[cell] = before
    return made


def _translated(output: NotebookNode, say: _Words, asked: dict[str, tuple[Question, Question]]) -> NotebookNode:
    html = html_of(output)
    key, why = _KEY.search(html), _WHY.search(html)
    answer: dict[str, Any] = {}
    if key:
        answer = {"answer": ast.literal_eval(key[1]), "why": _plain(why[1]) if why else "", "tolerance": _tolerance(html)}
    if of := _OF.search(html):
        there = replace(asked[of[1]][1], **answer)
        text = replace(there, why=say(there.why)).revealed()
    else:
        english = _question(html)
        there = replace(
            english, text=say(english.text), options=tuple(map(say, english.options)), unit=say(english.unit), **answer
        )
        asked[english.name] = english, there
        text = replace(there, why=say(there.why)).html()
    return new_output("display_data", data={"text/html": text})


def _question(html: str) -> Question:
    """The question of a block, without its answer."""
    text, unit = _TEXT.search(html), _UNIT.search(html)
    assert text
    options = tuple(map(_plain, _OPTION.findall(html)))
    return Question(_plain(text[1]), options, unescape(unit[1]).strip() if unit else "", _tolerance(html))


def _tolerance(html: str) -> float:
    match = _TOLERANCE.search(html)
    return float(match[1]) if match else Question.tolerance


def _plain(html: str) -> str:
    """The text of which `questions.inline` made this."""
    return unescape(re.sub(r"</?(code|strong|em)>", lambda tag: _MARKS[tag[1]], html))


def _pairs(english: str, other: str) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The strings of a program, each with the one in its place in the translated program."""
    try:
        yield from _side_by_side(ast.parse(english), ast.parse(other))
    except SyntaxError:  # %pip and its like
        return


def _side_by_side(one: ast.AST, two: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str)):
        if not isinstance(two, ast.expr):  # the translation is of an older program, and not built yet
            return
        yield one, two
        if isinstance(one, ast.JoinedStr) and isinstance(two, ast.JoinedStr):
            there = {name: field for names, field in _fields(two) for name in names}
            for (exact, blank), field in _fields(one):
                if twin := there.get(exact) or there.get(blank):
                    yield from _side_by_side(field, twin)
        return
    for a, b in zip(ast.iter_child_nodes(one), ast.iter_child_nodes(two), strict=False):
        yield from _side_by_side(a, b)


class _Blank(ast.NodeTransformer):
    """Takes the words out of an expression, so that it is equal to its translation."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node


def _fields(text: ast.JoinedStr) -> Iterator[tuple[tuple[str, str], ast.expr]]:
    """The fields of an f-string, each with its names: what is written in it, and the same without words."""
    for part in text.values:
        if isinstance(part, ast.FormattedValue):
            exact = ast.unparse(part.value)
            yield (exact, ast.unparse(_Blank().visit(ast.parse(exact, mode="eval")))), part.value


class _Words:
    """Says a text that an English cell made as the translated cell would."""

    def __init__(self, pairs: list[tuple[ast.expr, ast.expr]]) -> None:
        self._same: dict[str, str] = {}
        self._made: list[tuple[_Template, _Template]] = []
        for one, two in pairs:
            if isinstance(one, ast.Constant) and isinstance(two, ast.Constant):
                self._same.setdefault(str(one.value), str(two.value))
            template, other = _template(one), _template(two)
            if sum(map(str.isalpha, "".join(template.texts))) > 2:
                self._made.append((template, other))
        # where two could have made a text, it was the one with more of it
        self._made.sort(key=lambda pair: len("".join(pair[0].texts)), reverse=True)

    def __call__(self, text: str, depth: int = _DEPTH) -> str:
        if text in self._same or not depth:
            return self._same.get(text, text)
        for template, other in self._made:
            if match := template.pattern.fullmatch(text):
                values: dict[str, str] = {}
                for (exact, blank), value in zip(template.fields, match.groups(), strict=True):
                    values[exact] = self(value, depth - 1)
                    values.setdefault(blank, values[exact])
                values_there = [values.get(exact) or values.get(blank, "") for exact, blank in other.fields]
                return "".join(part for pair in zip(other.texts, [*values_there, ""], strict=True) for part in pair)
        return text


@dataclass(frozen=True)
class _Template:
    """A text with fields between its parts."""

    texts: list[str]
    fields: list[tuple[str, str]]  # their names
    numbers: list[bool]  # is a field written as a number?

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        fields = [r"([-+]?\d\S*?)" if number else "(.+?)" for number in self.numbers]
        parts = zip(map(re.escape, self.texts), [*fields, ""], strict=True)
        return re.compile("".join(part for pair in parts for part in pair), re.DOTALL)


@cache  # of a node, of which each question asks again
def _template(text: ast.expr) -> _Template:
    """An f-string, or what `format` is asked to fill."""
    if isinstance(text, ast.JoinedStr):
        texts = [""]
        for part in text.values:
            if isinstance(part, ast.Constant):
                texts[-1] += str(part.value)
            else:
                texts.append("")
        numbers = [bool(part.format_spec) for part in text.values if isinstance(part, ast.FormattedValue)]
        return _Template(texts, [key for key, _ in _fields(text)], numbers)
    texts = re.split(r"\{[^{}]*\}", str(text.value)) if isinstance(text, ast.Constant) else [""]
    return _Template(texts, [(str(place), str(place)) for place in range(len(texts) - 1)], [False] * (len(texts) - 1))
