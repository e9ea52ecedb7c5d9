"""Which kind of input fails a hidden test: an author's `because:`.

A hidden test's probe() returns its cases together, as a dict or a list. A comment on the line of a case says in a student's
words what kind of input it is, without giving the case away:

    def probe():
        return {
            "zeros": scale(np.zeros(3)),  # because: a tensor of zeros
            "x after": x,                 # because: the tensor you were given, which must stay as it was
        }

The case is what stands on the line: an entry of a dict, `answers["zeros"] = …`, or an element of the list that is returned.
A name may also be that of an entry inside several cases. A long mark has a line for itself, above its case. Comments never
enter a box: the probe is sent without them.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..chapters import ChapterError

_MARK = re.compile(r"#\s*because:\s*(.+?)\s*$")
_LENGTH = 120  # of a sentence that a student reads on a phone
_TRIES = 60  # judgements to find out which cases fail
Key = str | int
Marks = list[tuple[Key, str]]


def marks(source: str) -> Marks:
    """The marks of a hidden cell, in its order: name or place of a case, and the author's words.

    Raises:
        ChapterError: a mark stands beside no case, or is too long; the cell cannot be read.
    """
    marked: Marks = []
    try:
        places = list(_places(ast.parse(source)))
    except SyntaxError as error:
        raise ChapterError(f"A hidden test is no Python, line {error.lineno} of its cell: {error.msg}.") from None
    for line, text in _comments(source):
        around = [place for place in places if place.first <= line <= place.last]
        begin = [place for place in around if place.first == line]
        here = [place for place in begin if not any(other.holds(place) for other in begin)]
        here = here or sorted(around, key=lambda place: place.last - place.first)[:1]
        if not here:
            raise ChapterError(
                f"`# because: {text}` stands beside no case. Put it on the line of an entry of a dict in probe(), of "
                '`answers["name"] = …`, or of an element of the list that probe() returns.'
            )
        if len(text) > _LENGTH:
            raise ChapterError(f"`# because: {text[:60]}…` has {len(text)} characters; a student reads at most {_LENGTH}.")
        marked += [(place.key, text) for place in here]
    return marked


def unknown(given: Marks, want: Any) -> list[Key]:
    """Marked cases that the reference's answer has not."""
    have = set(_keys(want))
    return [key for key, _ in given if key not in have]


def failing(given: Marks, got: Any, want: Any, judge: Callable[[Any], bool]) -> list[str]:
    """The words of the marked cases that are wrong in an answer; none if it cannot be said which.

    Args:
        judge: is this answer right? It is asked about the reference's answer with one case of the student's in it.
    """
    words = dict(given)
    descriptions: list[str] = []
    tries = 0

    def wrong(answer: Any) -> bool:
        nonlocal tries
        tries += 1
        return tries <= _TRIES and not judge(answer)

    for key, part, put in _parts(got, want):
        if not wrong(put(part)):
            continue
        # places in a list within a case have no marks of their own, and an entry is only tried where one may be named
        named = isinstance(want[key], dict) and any(name in words for name in want[key])
        pieces = [(name, wrong(put(place(piece)))) for name, piece, place in _parts(part, want[key])] if named else []
        inner = [name for name, is_wrong in pieces if is_wrong]
        aspect = inner and len(inner) < len(pieces) and all(name in words for name in inner)  # not the case as a whole
        if key in words and not aspect:
            descriptions.append(words[key])
        else:
            descriptions += [words[name] for name in inner if name in words]
    return list(dict.fromkeys(descriptions))


def _parts(got: Any, want: Any) -> Iterator[tuple[Any, Any, Callable[[Any], Any]]]:
    """The cases of an answer: key, the student's entry, and what puts an entry into a copy of the reference's answer."""
    if isinstance(want, dict) and isinstance(got, dict):
        for name in want:
            yield name, got.get(name), lambda entry, name=name: {**want, name: entry}  # type: ignore[misc]
    elif isinstance(want, list) and isinstance(got, list):
        for i in range(len(want)):
            entry = got[i] if i < len(got) else None
            yield i, entry, lambda entry, i=i: [*want[:i], entry, *want[i + 1 :]]  # type: ignore[misc]


def _keys(want: Any) -> Iterator[Key]:
    if isinstance(want, dict):
        yield from want
        for entry in want.values():
            yield from entry if isinstance(entry, dict) else ()
    elif isinstance(want, list):
        yield from range(len(want))
        for entry in want:
            yield from entry if isinstance(entry, dict) else ()


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Marks and the lines that they are about: their own, or the next where a mark has a line for itself."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = _MARK.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            alone = token.line.lstrip().startswith("#")
            yield token.start[0] + alone, match[1]


@dataclass(frozen=True)
class _Place:
    """Where a case may stand: from the start of one node to the end of another."""

    key: Key
    start: tuple[int, int]
    end: tuple[int, int]

    @classmethod
    def of(cls, key: Key, begins: ast.expr | ast.stmt, ends: ast.expr | ast.stmt) -> _Place:
        end = (ends.end_lineno or ends.lineno, ends.end_col_offset or 0)
        return cls(key, (begins.lineno, begins.col_offset), end)

    @property
    def first(self) -> int:
        return self.start[0]

    @property
    def last(self) -> int:
        return self.end[0]

    def holds(self, other: _Place) -> bool:
        return self is not other and self.start <= other.start and other.end <= self.end


def _places(tree: ast.Module) -> Iterator[_Place]:
    """Everything in probe() that may be a case."""
    for function in tree.body:
        if not (isinstance(function, ast.FunctionDef) and function.name == "probe"):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                for name, value in zip(node.keys, node.values, strict=True):
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        yield _Place.of(name.value, name, value)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                index = node.targets[0].slice
                if isinstance(index, ast.Constant) and isinstance(index.value, str):
                    yield _Place.of(index.value, node, node)
            elif isinstance(node, ast.Return) and isinstance(node.value, (ast.List, ast.Tuple)):
                for i, element in enumerate(node.value.elts):
                    yield _Place.of(i, element, element)
