"""Which kind of input fails a hidden test: an author's `because:`.

A hidden test's probe() returns its cases together, as a dict or a list. A comment on the line of a case says in a student's
words what kind of input it is, without giving the case away:

    def probe():
        return {
            "zeros": scale(np.zeros(3)),  # because: a tensor of zeros
            "x after": x,                 # because: the tensor you were given, which must stay as it was
        }

The case is what stands on the line: an entry of a dict, `answers["zeros"] = …`, or an element of the list that is returned.
A name may also be that of an entry inside several cases. Comments never enter a box: the probe is sent without them.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
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
        ChapterError: a mark stands beside no case, or is too long.
    """
    found: Marks = []
    places = list(_places(ast.parse(source)))
    for line, text in _comments(source):
        around = [place for place in places if place[0] <= line <= place[1]]
        here = [place for place in around if place[0] == line] or sorted(around, key=lambda p: p[1] - p[0])[:1]
        if not here:
            raise ChapterError(
                f"`# because: {text}` stands beside no case. Put it on the line of an entry of a dict in probe(), of "
                '`answers["name"] = …`, or of an element of the list that probe() returns.'
            )
        if len(text) > _LENGTH:
            raise ChapterError(f"`# because: {text[:60]}…` has {len(text)} characters; a student reads at most {_LENGTH}.")
        found += [(key, text) for _, _, key in here]
    return found


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
    said: list[str] = []
    tries = 0

    def wrong(answer: Any) -> bool:
        nonlocal tries
        tries += 1
        return tries <= _TRIES and not judge(answer)

    for key, part, put in _parts(got, want):
        if wrong(put(part)):
            pieces = _parts(part, want[key])
            inner = [words[name] for name, piece, place in pieces if name in words and wrong(put(place(piece)))]
            said += inner or ([words[key]] if key in words else [])
    return list(dict.fromkeys(said))


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
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = _MARK.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            yield token.start[0], match[1]


def _places(tree: ast.Module) -> Iterator[tuple[int, int, Key]]:
    """First line, last line and key of everything in probe() that may be a case."""
    for function in tree.body:
        if not (isinstance(function, ast.FunctionDef) and function.name == "probe"):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                for name, value in zip(node.keys, node.values, strict=True):
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        yield name.lineno, value.end_lineno or value.lineno, name.value
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                index = node.targets[0].slice
                if isinstance(index, ast.Constant) and isinstance(index.value, str):
                    yield node.lineno, node.end_lineno or node.lineno, index.value
            elif isinstance(node, ast.Return) and isinstance(node.value, (ast.List, ast.Tuple)):
                for i, element in enumerate(node.value.elts):
                    yield element.lineno, element.end_lineno or element.lineno, i
