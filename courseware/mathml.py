"""LaTeX in prose → MathML, which browsers draw themselves: pages with formulas need no script and no network."""

from __future__ import annotations

import html
import io
import re
from importlib.resources import files

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert

_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
# as Pandoc and MyST have it: no blank inside the dollars, no digit right behind them
_MATH = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?! )(?P<inline>[^$]+?)(?<![ \\])\$(?![\d\w])", re.DOTALL)
_FORMULA = re.compile(r"<math.*?</math>", re.DOTALL)
# a letter alone is drawn as a mathematical italic, Latin or Greek, without standing in the text as one
_ITALICS = {*range(0x1D434, 0x1D468), 0x210E, *range(0x1D6E2, 0x1D71C)}


def font(page: str) -> bytes:
    """What the formulas of a page need of STIX Two Math (SIL Open Font License 1.1), as WOFF2.

    Browsers place exponents and bars by the tables of a mathematical font, and many a Linux has none.
    """
    face = TTFont(io.BytesIO((files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf").read_bytes()))
    chosen = Subsetter(Options(layout_features=["*"]))
    chosen.populate(unicodes=_ITALICS, text=html.unescape(re.sub(r"<[^>]*>", "", "".join(_FORMULA.findall(page)))))
    chosen.subset(face)
    face.flavor = "woff2"
    made = io.BytesIO()
    face.save(made)
    return made.getvalue()


def mathml(latex: str, display: bool = False) -> str:
    """One formula as a `<math>` element."""
    made = str(convert(latex.strip(), display="block" if display else "inline"))
    return made.replace("\\_", "_")  # the converter keeps the backslash in \text{a\_b}


def in_markdown(source: str) -> str:
    """Markdown with its formulas ($…$, $$…$$) as inline HTML; code is left alone."""

    def formula(match: re.Match[str]) -> str:
        display = match["display"] is not None
        made = mathml(match["display"] or match["inline"], display)
        return made.replace("*", "&#42;").replace("_", "&#95;")  # else Markdown takes them for emphasis

    parts = _CODE.split(source)
    return "".join(part if i % 2 else _MATH.sub(formula, part) for i, part in enumerate(parts))
