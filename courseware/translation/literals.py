"""Python's string literals as messages and back: escapes read, the fields of an f-string kept as they are written.

A message of an f-string holds its fields (`{error:.1%}`) and doubled braces as in the source. Literals side by side are one
message and become one literal.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNS = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_START = re.compile(r"([rRbBfFuU]{0,2})('''|\"\"\"|'|\")")


class LiteralError(ValueError):
    """The text of an f-string has a brace that is not closed."""


@dataclass(frozen=True)
class Literal:
    """A string constant or f-string of a source."""

    message: str
    formatted: bool

    def written(self, message: str, fields: dict[str, str] | None = None) -> str:
        """A literal with another message in it.

        Args:
            fields: what takes the place of a field, where that changes too.

        Raises:
            LiteralError: a brace is not closed.
        """
        if not self.formatted:
            return _quoted([(False, message)], "")
        parts = [(field, (fields or {}).get(part, part) if field else part) for field, part in split(message)]
        return _quoted(parts, "f")


def read(segment: str) -> Literal:
    """The literal, or the literals side by side, of a piece of source.

    Raises:
        LiteralError: it is something else.
    """
    pieces: list[tuple[str, str, str]] = []
    at = 0
    while at < len(segment):
        if blank := re.compile(r"(?:\s|\\\n|#[^\n]*)+").match(segment, at):
            at = blank.end()
            continue
        start = _START.match(segment, at)
        if not start:
            raise LiteralError(f"no string: {segment[at : at + 20]}")
        prefix, quote = start[1].lower(), start[2]
        end = start.end()
        while not segment.startswith(quote, end):
            end += 2 if segment[end] == "\\" else 1
        pieces.append((prefix, quote, segment[start.end() : end]))
        at = end + len(quote)
    formatted = any("f" in prefix for prefix, _, _ in pieces)
    return Literal("".join(_text(*piece, formatted=formatted) for piece in pieces), formatted)


def _text(prefix: str, quote: str, body: str, formatted: bool) -> str:
    if "f" not in prefix:
        value = str(ast.literal_eval(f"{prefix}{quote}{body}{quote}"))
        return value.replace("{", "{{").replace("}", "}}") if formatted else value
    raw = prefix.replace("f", "")
    return "".join(
        part if field else str(ast.literal_eval(f"{raw}{quote}{part}{quote}")) if part else "" for field, part in split(body)
    )


def split(text: str) -> list[tuple[bool, str]]:
    """The text of an f-string in parts: (is it a field, how it is written).

    Raises:
        LiteralError: a brace is not closed.
    """
    parts: list[tuple[bool, str]] = []
    plain, at = "", 0
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            plain += text[at : at + 2]
            at += 2
        elif text[at] == "{":
            end = _closed(text, at)
            parts += [(False, plain), (True, text[at:end])]
            plain, at = "", end
        elif text[at] == "}":
            raise LiteralError(f"a brace is closed that was not opened: …{text[max(0, at - 20) : at + 1]}")
        else:
            plain += text[at]
            at += 1
    return [part for part in [*parts, (False, plain)] if part[1]]


def _closed(text: str, start: int) -> int:
    for at, sign, depth in _outside_strings(text, start):
        if sign in "}])" and depth == 0:
            return at + 1
    raise LiteralError(f"a brace is not closed: {text[start : start + 30]}")


def _outside_strings(text: str, start: int = 0) -> Iterator[tuple[int, str, int]]:
    """The place of each sign that stands in no string, the sign, and how many brackets are open after it."""
    depth, quote = 0, ""
    for at in range(start, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        else:
            depth += (sign in "{[(") - (sign in "}])")
            yield at, sign, depth


def fields(message: str) -> list[str]:
    """The fields of an f-string's message, in order."""
    return [part for field, part in split(message) if field]


def expression(field: str) -> tuple[str, str]:
    """A field's expression, and its conversion and format: `{x:.2f}` → ("x", ":.2f")."""
    inner = field[1:-1]
    for at, sign, depth in _outside_strings(inner):
        if depth == 0 and (sign == ":" or (sign == "!" and inner[at + 1 : at + 2] != "=")):
            return inner[:at], inner[at:]
    return inner, ""


def _quoted(parts: list[tuple[bool, str]], prefix: str) -> str:
    inside = "".join(part for field, part in parts if field)
    quote = next((q for q in ('"', "'", '"""', "'''") if q[0] not in inside or len(q) == 3), '"')
    text = "".join(part if field else _escaped(part, quote) for field, part in parts)
    return f"{prefix}{quote}{text}{quote}"


def _escaped(text: str, quote: str) -> str:
    text = text.replace("\\", "\\\\").replace(quote[0], "\\" + quote[0])
    return "".join(sign if sign.isprintable() else _SIGNS.get(sign) or ascii(sign)[1:-1] for sign in text)
