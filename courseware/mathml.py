"""LaTeX in prose → MathML, which browsers draw themselves: pages with formulas need no script, no font and no network."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
# as Pandoc and MyST have it: no blank inside the dollars, no digit right behind them
_MATH = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?! )(?P<inline>[^$]+?)(?<![ \\])\$(?![\d\w])", re.DOTALL)


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
