"""The course's own pages, such as the README, in another language: written from the `pages` catalogue, beside the English.

`README.md` becomes `README.zh-CN.md`, `docs/instructors.md` `docs/zh/instructors.md`. Code blocks stay as they are. A link
leads to the page in that language where there is one, to the heading as it is called there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

from markdown_it import MarkdownIt

from ..chapters import ENGLISH, FOLDERS, ROOT
from . import catalogue, markdown_blocks

PAGES = "pages"  # the catalogue
_LINK = re.compile(r"\]\(([^)\s]*)\)")
_CODE = re.compile(r"^[ ]*```.*?^[ ]*```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_DECK = "docs/deck.md"
_OTHER = "[中文](README.zh-CN.md)", "[English](README.md)"  # each README leads to the other one


def sources() -> list[Path]:
    """The pages that are translated into files of their own; courseware/deck.py writes one more, in each language."""
    docs = [path for path in sorted((ROOT / "docs").glob("*.md")) if path != ROOT / _DECK]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]


def place(path: Path, language: str) -> Path:
    """Where a page stands in another language."""
    if path.name == "README.md":
        return path.with_name(f"README.{language.replace('_', '-')}.md")
    return ROOT / "docs" / FOLDERS[language] / path.name


def markdown(path: Path, language: str, beside: PurePosixPath | None = None) -> str:
    """A page in another language.

    Args:
        beside: the folder that its links start from, relative to the course's; where `place` puts it, if None.
    """
    say = catalogue.load(catalogue.path_of(language, PAGES)).say
    text = markdown_blocks.translated(path.read_text(encoding="utf-8"), say)
    here = PurePosixPath(beside or place(path, language).parent.relative_to(ROOT))

    def link(match: re.Match[str]) -> str:
        address, _, anchor = match[1].partition("#")
        if ":" in address:
            return match[0]
        target = (path.parent / address).resolve() if address else path
        if anchor:
            anchor = f"#{_slugs(target.read_text(encoding='utf-8'), say).get(anchor, anchor)}"
        if not address:
            return f"]({anchor})"
        shown = place(target, language) if target in sources() or target == ROOT / _DECK else target
        return f"]({_way(here, shown)}{anchor})"

    return _outside_code(text, lambda prose: _LINK.sub(link, prose)).replace(*_OTHER)


def in_language(path: Path, language: str) -> str:
    """A page in a language, English too."""
    return path.read_text(encoding="utf-8") if language == ENGLISH else markdown(path, language)


def anchor(path: Path, name: str, language: str) -> str:
    """`#name` of a page's heading, as it is in a language."""
    if language == ENGLISH:
        return f"#{name}"
    say = catalogue.load(catalogue.path_of(language, PAGES)).say
    return f"#{_slugs(path.read_text(encoding='utf-8'), say).get(name, name)}"


def _way(here: PurePosixPath, target: Path) -> str:
    return Path(os.path.relpath(target, ROOT / here)).as_posix()


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts, start = [], 0
    for code in _CODE.finditer(text):
        parts += [change(text[start : code.start()]), code[0]]
        start = code.end()
    return "".join([*parts, change(text[start:])])


def _slugs(text: str, say: markdown_blocks.Say) -> dict[str, str]:
    """The name of each heading in a page's addresses, and its name in the translation."""
    return {slug(heading): slug(say(heading)) for heading in _headings(text)}


@lru_cache(maxsize=32)
def _headings(text: str) -> tuple[str, ...]:
    tokens = MarkdownIt("commonmark").parse(text)
    return tuple(after.content for token, after in pairwise(tokens) if token.type == "heading_open")


def slug(heading: str) -> str:
    """As GitHub and MyST make it."""
    return re.sub(r"[^\w\u4e00-\u9fff\- ]", "", heading.lower()).replace(" ", "-")
