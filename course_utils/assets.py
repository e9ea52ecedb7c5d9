"""Style and script that an output carries, so that a saved notebook moves by itself.

They may be there any number of times. The site and the slides take them out of the outputs and have each once (`lifted`); a
notebook that was built with an older script gets today's without being run (`refreshed`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape
from pathlib import Path

STATIC = Path(__file__).with_name("static")
_ASSET = re.compile(r'<(script|style) data-course="([\w.-]+)">(.*?)</\1>\n?', re.DOTALL)


@lru_cache
def _text(name: str) -> str:
    text = (STATIC / name).read_text(encoding="utf-8").strip()
    return text.replace("</script", "<\\/script")  # an end tag in a string would end the element


def assets(*names: str) -> str:
    """Files of `static/` as elements, to stand at the end of an output; by default those of explorers and questions."""
    elements = {".js": "script", ".css": "style"}
    return "".join(
        f'<{elements[Path(name).suffix]} data-course="{name}">\n{_text(name)}\n</{elements[Path(name).suffix]}>\n'
        for name in names or ("interactive.css", "interactive.js")
    )


def lifted(html: str) -> tuple[str, list[str]]:
    """An output without the styles and scripts in it, and their names: for a page that has them once."""
    return _ASSET.sub("", html), [match[2] for match in _ASSET.finditer(html)]


def refreshed(html: str) -> str:
    """An output with today's styles and scripts in place of older ones; the same where they are today's."""

    def today(match: re.Match[str]) -> str:
        same = not (STATIC / match[2]).exists() or match[3].strip() == _text(match[2])
        return match[0] if same else assets(match[2])

    return _ASSET.sub(today, html)


def plain(html: str) -> str:
    """What a reader of text alone gets of an output: its words, without data, styles and scripts."""
    html = re.sub(r"<(script|style)\b.*?</\1>|<button\b.*?</button>|<details\b.*?</details>", "", html, flags=re.DOTALL)
    lines = (re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", line))).strip() for line in html.splitlines())
    return "\n".join(line for line in lines if line)
