"""LaTeX in prose → MathML, which browsers draw themselves: pages with formulas need no script and no network.

nbconvert's own renderer leaves formulas to MathJax, a script on a server elsewhere, and takes "$0.35, not $1.10" for one.
"""

from __future__ import annotations

import html
import io
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert_to_element

logging.getLogger("fontTools").setLevel(logging.WARNING)  # else a line for each glyph
_FONT = Path(__file__).parent / "vendored" / "stix" / "STIXTwoMath-Regular.woff2"
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
# as Pandoc and MyST have it: no blank inside the dollars, no digit right behind them
_MATH = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?! )(?P<inline>[^$]+?)(?<![ \\])\$(?![\d\w])", re.DOTALL)
_FORMULA = re.compile(r"<math.*?</math>", re.DOTALL)
_REFERENCE = re.compile(r"&#x([0-9A-Fa-f]{1,5});")  # how the converter writes a sign
_ATTRIBUTES = {  # of MathML, that the converter uses; never href, style, class, id
    "xmlns", "display", "mathvariant", "mathcolor", "mathbackground", "mathsize", "displaystyle", "scriptlevel", "stretchy",
    "fence", "form", "separator", "accent", "accentunder", "largeop", "movablelimits", "symmetric", "minsize", "maxsize",
    "lspace", "rspace", "width", "height", "depth", "voffset", "linethickness", "linebreak", "notation", "columnalign",
    "rowalign", "columnspacing", "rowspacing", "columnlines", "rowlines", "frame", "equalcolumns", "equalrows", "columnspan",
    "rowspan", "align", "open", "close", "separators", "bevelled",
}  # fmt: skip
# a letter alone is drawn as a mathematical italic, Latin or Greek, without standing in the text as one
_ITALICS = {*range(0x1D434, 0x1D468), 0x210E, *range(0x1D6E2, 0x1D71C)}


def font(page: str) -> bytes:
    """What the formulas of a page need of STIX Two Math (SIL Open Font License 1.1), as WOFF2.

    Browsers place exponents and bars by the tables of a mathematical font, and many a Linux has none.
    """
    return _of_signs(frozenset(html.unescape(re.sub(r"<[^>]*>", "", "".join(_FORMULA.findall(page))))))


@lru_cache  # a lecture has the same formulas in each language, on its page and on its slides
def _of_signs(signs: frozenset[str]) -> bytes:
    face = TTFont(io.BytesIO(_unpacked()))
    chosen = Subsetter(Options(layout_features=["*"]))
    chosen.populate(unicodes={*_ITALICS, *map(ord, signs)})
    chosen.subset(face)
    face.flavor = "woff2"
    made = io.BytesIO()
    face.save(made)
    return made.getvalue()


@lru_cache
def _unpacked() -> bytes:
    """The whole font without compression: unpacking it takes longer than all else."""
    face, made = TTFont(_FONT), io.BytesIO()
    face.flavor = None
    face.save(made)
    return made.getvalue()


def mathml(latex: str, display: bool = False) -> str:
    r"""One formula as a `<math>` element, whoever wrote it: the converter lets \text{<img>} and \href through.

    Raises: whatever the converter makes of what is no LaTeX.
    """
    return _element(convert_to_element(latex.strip(), display="block" if display else "inline"))


def _element(element: Element) -> str:
    """An element as HTML: only MathML's own names, no links, no styles, and text that is only text."""
    tag = str(element.tag).rpartition("}")[2]
    inside = _text(element.text) + "".join(_element(child) + _text(child.tail) for child in element)
    if not re.fullmatch(r"m[a-z]+", tag):
        return inside
    given = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES}
    attributes = "".join(f' {name}="{html.escape(str(value))}"' for name, value in given.items())
    return f"<{tag}{attributes}>{inside}</{tag}>"


def _text(text: str | None) -> str:
    """Letters as they are, signs as numbers: neither HTML nor Markdown reads anything into them."""
    plain = _REFERENCE.sub(lambda match: chr(int(match[1], 16)), text or "")
    plain = plain.replace("\\_", "_")  # the converter keeps the backslash in \text{a\_b}
    return "".join(sign if sign.isalnum() else f"&#x{ord(sign):05X};" for sign in plain)


def in_markdown(source: str) -> str:
    """Markdown with its formulas ($…$, $$…$$) as inline HTML; code is left alone."""

    def formula(match: re.Match[str]) -> str:
        display = match["display"] is not None
        return mathml(match["display"] or match["inline"], display)

    return replaced(source, formula)


def replaced(source: str, formula: Callable[[re.Match[str]], str]) -> str:
    """Markdown in which `formula` has put something in place of each formula; code is left alone."""
    parts = _CODE.split(source)
    return "".join(part if i % 2 else _MATH.sub(formula, part) for i, part in enumerate(parts))
