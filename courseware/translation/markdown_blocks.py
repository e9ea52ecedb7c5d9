"""Markdown block by block: what of a cell is translated, and the cell with the translations in its place.

A block is a paragraph, a heading, a cell of a table, a piece of text between HTML tags or a comment in a fence. Its message
is one line: where a source wraps its lines says nothing, and a translation is not wrapped. What begins a line (`- `, `## `,
`> `) is kept, and so is everything that is no block: formulas, code, rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

Say = Callable[[str], str]
# what of a text is the same in every language
CODE = r"(?<!`)`[^`]+`(?!`)|<code>.*?</code>"
FORMULA = r"\$\$.+?\$\$|(?<![\\$\w])\$(?!\s)[^$\n]+?(?<![\s\\])\$(?!\d)"
CITATION = r"\[@[^\]]*\]|(?<![A-Za-z0-9_`])@[a-z]+\d{4}[a-z0-9]*"
TARGET = r"\]\([^)\s]+\)|<?https?://[^\s)>,;`，。；（）]+>?"
TAG = r"</?[a-zA-Z][^>]*>"
_SAME = re.compile(f"{CODE}|{FORMULA}|{CITATION}|{TARGET}|{TAG}|&[a-z]+;", re.DOTALL)
_COMMENT = re.compile(r"^(.*(?:^|\s)# )(\S.*)$")
# tags between which a text stands for itself; others (<code>, <b>) are part of a sentence
_APART = re.compile(
    r"(\s*</?(?:details|summary|div|p|table|thead|tbody|tr|td|th|ul|ol|li|br|hr|center|figure|figcaption|h\d)\b[^>]*>\s*)"
)


def words(text: str) -> list[str]:
    """The words of a text, without code, formulas, citations, addresses and names such as MiniLM, fp16 or GPTQ."""
    found = re.findall(r"[\w.]+", _SAME.sub(" ", text))
    return [word for word in found if len(word) > 1 and re.fullmatch(r"[A-Za-z]?[a-z]+\.?", word)]


def translatable(text: str) -> bool:
    """Is there a word in it?"""
    return bool(words(text))


@dataclass(frozen=True)
class _Block:
    """Lines [first, last) of a cell, and how they are written anew."""

    first: int
    last: int
    messages: tuple[str, ...]
    written: Callable[[Say], str]


def messages(source: str) -> list[str]:
    """The messages of a Markdown cell, in order."""
    return [message for block in _blocks(source) for message in block.messages if translatable(message)]


def translated(source: str, say: Say) -> str:
    """The cell with `say(message)` in place of each message."""
    lines = source.split("\n")
    for block in reversed(list(_blocks(source))):
        if any(translatable(message) and say(message) != message for message in block.messages):
            made = block.written(lambda message: say(message) if translatable(message) else message)
            lines[block.first : block.last] = made.split("\n")
    return "\n".join(lines)


def structure(source: str) -> list[str]:
    """The kinds of a cell's blocks, in order: the same in every language."""
    return [token.type for token in _parsed(source) if token.type != "inline"]


_PARSER = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)  # to make one takes longer than to use it


def _parsed(source: str) -> list[Token]:
    return _PARSER.parse(source)


def _blocks(source: str) -> Iterator[_Block]:
    lines, tokens = source.split("\n"), _parsed(source)
    for i, token in enumerate(tokens):
        if token.type == "inline" and token.map and tokens[i - 1].type in ("paragraph_open", "heading_open"):
            yield _paragraph(lines, token)
        elif token.type == "tr_open" and token.map:
            yield _row(lines[token.map[0]], token.map[0], _cells(tokens[i + 1 :]))
        elif token.type == "html_block" and token.map and not re.search(r"<(style|script|!--)", token.content):
            yield _html(lines, token.map[0], token.map[1])
        elif token.type == "fence" and token.map:
            yield from _comments(lines, *token.map)


def _paragraph(lines: list[str], token: Token) -> _Block:
    assert token.map
    first, last = token.map
    parts = [part.strip() if part.endswith("\\") else part.lstrip() for part in token.content.split("\n")]
    message = parts[0].rstrip()
    for before, part in pairwise(parts):
        hard = before.endswith(("  ", "\\"))  # a break that is meant
        message += ("\n" if before.endswith("\\") else "  \n" if hard else " ") + part.rstrip()
    start = lines[first].find(parts[0].rstrip())
    prefix, suffix = lines[first][:start], lines[first][start + len(parts[0].rstrip()) :].rstrip()
    suffix = suffix if len(parts) == 1 else ""
    inside = re.sub(r"[^\s>]", " ", prefix)  # further lines stand in the same list or quotation

    def written(say: Say) -> str:
        return prefix + say(message).replace("\n", f"\n{inside}") + suffix

    return _Block(first, last, (message,), written)


def _cells(tokens: list[Token]) -> list[str]:
    """The cells of the row that begins here."""
    end = next(i for i, token in enumerate(tokens) if token.type == "tr_close")
    return [token.content for token in tokens[:end] if token.type == "inline"]


def _row(line: str, number: int, cells: list[str]) -> _Block:
    indent = line[: len(line) - len(line.lstrip())]

    def written(say: Say) -> str:
        return f"{indent}| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", say(cell)) for cell in cells) + " |"

    return _Block(number, number + 1, tuple(cells), written)


def _html(lines: list[str], first: int, last: int) -> _Block:
    raw = "\n".join(lines[first:last])
    pieces = [piece for piece in _APART.split(raw) if piece]
    texts = [piece for piece in pieces if not _APART.fullmatch(piece)]

    def written(say: Say) -> str:
        return "".join(piece if _APART.fullmatch(piece) else _around(piece, say(_one_line(piece))) for piece in pieces)

    return _Block(first, last, tuple(map(_one_line, texts)), written)


def _comments(lines: list[str], first: int, last: int) -> Iterator[_Block]:
    """The comments of a fence, each in its line."""
    for number in range(first + 1, last):
        if match := _COMMENT.match(lines[number]):
            yield _comment(number, *match.groups())


def _comment(number: int, code: str, text: str) -> _Block:
    return _Block(number, number + 1, (text,), lambda say: code + say(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _around(piece: str, text: str) -> str:
    """A text with the white space that stood around it."""
    before = piece[: len(piece) - len(piece.lstrip())]
    return before + text + piece[len(piece.rstrip()) :]
