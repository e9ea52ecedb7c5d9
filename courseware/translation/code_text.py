"""What of a code cell is translated: docstrings, comments and what the code shows; and the cell with the translations.

All else stays byte for byte: `bare` shows that two cells are the same program.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from ..cell_names import names_of, python
from ..chapters import role
from . import literals
from .display import Display
from .markdown_blocks import Say, translatable

_NO_PROSE = re.compile(r"###|# (?:fmt|type|noqa|pragma|ruff|mypy|because):|#!|# %%")
_QUOTES = re.compile(r"([rRuU]*)(\"\"\"|'''|\"|')")
SHOWN, FORMATTED, DOCSTRING, COMMENT = "shown", "f-string", "docstring", "comment"


@dataclass(frozen=True)
class Span:
    """A piece of a cell's source, the messages in it, and how it is written with others."""

    start: int
    end: int
    kind: str
    messages: tuple[str, ...]
    written: Callable[[Say], str]


def spans(cells: Sequence[NotebookNode], unseen: Iterable[str] = (), every: bool = False) -> list[list[Span]]:
    """For each of a notebook's code cells its pieces of prose, in order.

    Args:
        every: also strings that are shown and have no English word: names, numbers, another language.
        unseen: code that uses the notebook's names and is not in it: solutions, hidden tests.

    Raises:
        SyntaxError: a cell is not Python.
    """
    trees = [ast.parse(python(cell.source)) for cell in cells]
    opaque = {name for source in unseen for name in _needs(source)}
    closed = [i for i, cell in enumerate(cells) if (part := role(cell)) and part.kind == "exercise"]
    display = Display(trees, opaque, closed)
    spans_of_cells = []
    for number, (cell, tree) in enumerate(zip(cells, trees, strict=True)):
        places = _Places(cell.source)
        of_cell = [*_docstrings(tree, places), *_comments(cell.source, places)]
        if number not in closed:
            of_cell += [span for node in display.strings(tree) if (span := _shown(node, places, every))]
        spans_of_cells.append(sorted(of_cell, key=lambda span: span.start))
    return spans_of_cells


def _needs(source: str) -> frozenset[str]:
    names = names_of(source)
    return names.needs | names.later


def translated(source: str, spans: Iterable[Span], say: Say) -> str:
    """A cell's source with translations in place of its messages."""
    for span in sorted(spans, key=lambda span: span.start, reverse=True):
        if any(say(message) != message for message in span.messages):
            source = source[: span.start] + span.written(say) + source[span.end :]
    return source


class _Places:
    """Offsets in a text of the lines and columns (in bytes) that the syntax tree names."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = source.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def of(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, (ast.expr, ast.stmt)) and node.end_lineno is not None and node.end_col_offset is not None
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)


def _shown(node: ast.expr, places: _Places, every: bool) -> Span | None:
    start, end = places.of(node)
    literal = literals.read(places.source[start:end])
    inner = {f: _inside(f, every) for f in literals.fields(literal.message)} if literal.formatted else {}
    plain = (
        "".join(part for field, part in literals.split(literal.message) if not field)
        if literal.formatted
        else literal.message
    )
    own = (literal.message,) if every or translatable(plain) else ()
    messages = (*own, *(message for parts in inner.values() for _, _, part in parts for message in [part.message]))

    def written(say: Say) -> str:
        changed = {field: _with_inside(field, parts, say) for field, parts in inner.items() if parts}
        return literal.written(say(literal.message) if own else literal.message, changed)

    return Span(start, end, FORMATTED if inner else SHOWN, messages, written) if messages else None


def _inside(field: str, every: bool) -> list[tuple[int, int, literals.Literal]]:
    """The strings that a field of an f-string shows: `{"yes" if x else "no"}`; where they stand in it."""
    text, _ = literals.expression(field)
    try:
        tree = ast.parse(f"({text})", mode="eval").body
    except SyntaxError:  # a field with "="
        return []
    places = _Places(f"({text})")
    inner = []
    for node in _reached(tree):
        start, end = places.of(node)
        literal = literals.read(places.source[start:end])
        if not literal.formatted and (every or translatable(literal.message)):
            inner.append((start, end, literal))  # "(" here, "{" there: the same offsets
    return inner


def _reached(node: ast.expr) -> list[ast.expr]:
    """The constants that an expression may be."""
    match node:
        case ast.Constant(value=str()):
            return [node]
        case ast.IfExp():
            return [*_reached(node.body), *_reached(node.orelse)]
        case ast.BoolOp():
            return [string for value in node.values for string in _reached(value)]
        case ast.BinOp(op=ast.Add()):
            return [*_reached(node.left), *_reached(node.right)]
        case ast.Subscript(value=ast.Dict(values=values)):
            return [string for value in values for string in _reached(value)]
        case ast.Subscript(value=ast.Tuple(elts=values) | ast.List(elts=values)):
            return [string for value in values for string in _reached(value)]
    return []


def _with_inside(field: str, parts: list[tuple[int, int, literals.Literal]], say: Say) -> str:
    for start, end, literal in sorted(parts, key=lambda part: part[0], reverse=True):
        quote = field[start]
        message = say(literal.message)
        if quote in message or "\\" in message or "\n" in message:  # Python 3.11 allows none of these there
            continue
        field = f"{field[:start]}{quote}{message}{quote}{field[end:]}"
    return field


def _docstrings(tree: ast.Module, places: _Places) -> list[Span]:
    spans = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            text = node.body[0]
            assert isinstance(text, ast.Expr)
            if span := _docstring(*places.of(text.value), places.source):
                spans.append(span)
    return spans


def _docstring(start: int, end: int, source: str) -> Span | None:
    """Paragraph by paragraph, as it is written in the source; a paragraph keeps its lines."""
    opening = _QUOTES.match(source, start)
    if not opening or "\\\n" in source[start:end]:  # a line that goes on is none of the text's own
        return None
    quote = opening[2]
    body = source[opening.end() : end - len(quote)]
    indent = " " * (start - source.rfind("\n", 0, start) - 1)
    lines = body.split("\n")
    text = "\n".join([lines[0], *textwrap.dedent("\n".join(lines[1:])).split("\n")]) if lines[1:] else body
    paragraphs = re.split(r"(\n(?:[ \t]*\n)+)", text.rstrip())
    closing = f"\n{indent}" if len(lines) > 1 and not lines[-1].strip() else ""

    def written(say: Say) -> str:
        made = "".join(say(part) if translatable(part) else part for part in paragraphs)
        made = re.sub(r"\n(?=[^\n])", f"\n{indent}", made)
        quotes = quote if len(quote) == 3 or "\n" not in made else quote * 3
        return f"{opening[1]}{quotes}{made}{closing}{quotes}"

    messages = tuple(part for part in paragraphs if translatable(part))
    return Span(start, end, DOCSTRING, messages, written) if messages else None


def _comments(source: str, places: _Places) -> list[Span]:
    """Comments; lines of comment that follow each other are one message."""
    comments: list[tuple[int, int, str]] = []
    tokens = tokenize.generate_tokens(io.StringIO(python(source)).readline)
    for token in tokens:
        if token.type == tokenize.COMMENT and not _NO_PROSE.match(token.string):
            before = token.line[: token.start[1]]
            start = places._starts[token.start[0] - 1] + token.start[1]
            end = start + len(token.string)
            text = token.string.removeprefix("#").strip()
            last = comments[-1] if comments else None
            if last and not before.strip() and source[last[1] : start] == f"\n{before}" and _alone(source, last[0]):
                comments[-1] = (last[0], end, f"{last[2]}\n{text}")
            else:
                comments.append((start, end, text))
    return [_comment(start, end, text, source) for start, end, text in comments if translatable(text)]


def _alone(source: str, start: int) -> bool:
    return not source[source.rfind("\n", 0, start) + 1 : start].strip()


def _comment(start: int, end: int, text: str, source: str) -> Span:
    column = start - source.rfind("\n", 0, start) - 1
    between = "\n" + source[start - column : start] + "# " if _alone(source, start) else " "

    def written(say: Say) -> str:
        return "# " + between.join(say(text).split("\n"))

    return Span(start, end, COMMENT, (text,), written)


def bare(source: str, spans: Iterable[Span]) -> str:
    """The program of a cell: its syntax tree without docstrings and comments, and a mark in place of all it shows.

    Args:
        spans: `spans` of it, with `every`.
    """
    spans_of_cell = [span for span in spans if span.kind in (SHOWN, FORMATTED)]
    for span in sorted(spans_of_cell, key=lambda span: span.start, reverse=True):
        text = source[span.start : span.end]
        literal = literals.read(text)
        fields = sorted(map(_bare_field, literals.fields(literal.message))) if literal.formatted else []
        source = f"{source[: span.start]}_shown_([{', '.join(map(repr, fields))}]){source[span.end :]}"
    tree = ast.parse(python(source))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def _bare_field(field: str) -> str:
    """A field without the strings that it shows."""
    for start, end, _ in sorted(_inside(field, every=True), key=lambda part: part[0], reverse=True):
        field = f"{field[:start]}_shown_{field[end:]}"
    return field
