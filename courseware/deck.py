"""Where each slide of the deck that the course implements is taught, and what was corrected: docs/deck.toml as a page.

Headings of lectures are shown as the lecture has them, in each language, and lead there: in docs/ to the notebook's heading,
by the name that Jupyter gives it; on the site to the page's.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbformat import NotebookNode

from .chapters import ENGLISH, N_, ROOT, Chapter, ChapterError, chapter, read, words

FILE = ROOT / "docs" / "deck.toml"
PAGE = ROOT / "docs" / "deck.md"
_TITLE = N_("The deck, slide by slide")
_ABOUT = N_(
    "For instructors: where the lectures teach each slide of 大语言模型基础 (张倬胜, 上海交通大学), and where the course "
    "shows other figures than the deck, with their sources. The deck's last part is a tutorial of 动手学大模型; "
    "chapter 12 builds it. Chapter 13 goes beyond the deck."
)
_SLIDE, _SECTIONS = N_("slide"), N_("taught in")
_DECK, _COURSE, _SOURCE = N_("the deck has"), N_("the course shows"), N_("source")


def corrections() -> list[str]:
    """What is translated of the file."""
    return [row[key] for part in _parts() for row in part.get("corrections", []) for key in ("deck", "course")]


def chapters() -> set[str]:
    """The names of the chapters that implement a part of the deck."""
    return {part["name"] for part in _parts()}


def page(language: str = ENGLISH, on_site: Mapping[str, Collection[str]] | None = None) -> str:
    """The page as Markdown.

    Args:
        on_site: the headings of each lecture that the site has, by the chapter's name: it leads only to them. None for the
            file in docs/.

    Raises:
        ChapterError: the file names a chapter or a section that is not there.
    """
    say = words(language)
    lines = [line for part in _parts() for line in _lines(part, language, on_site)]
    return "\n".join([f"# {say(_TITLE)}", "", say(_ABOUT), *lines, ""])


def _parts() -> list[dict[str, Any]]:
    try:
        parts: list[dict[str, Any]] = tomllib.loads(FILE.read_text(encoding="utf-8"))["chapter"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ChapterError(f"{FILE.name} cannot be read: {error}.") from error
    return parts


def _lines(part: dict[str, Any], language: str, on_site: Mapping[str, Collection[str]] | None) -> Iterator[str]:
    say, known = words(language), headings(read(chapter(part["name"]).lecture_source))
    in_lecture, in_page = _translations(chapter(part["name"]).catalogue(language), language), _of_pages(language)
    yield from ("", f"## {in_lecture(known[0])}", "", f"| {say(_SLIDE)} | {say(_SECTIONS)} |", "|---|---|")
    for row in part["slides"]:
        if missing := [name for name in row["sections"] if name not in known]:
            raise ChapterError(f"{FILE.name}: lecture {part['name']} has no section {missing[0]!r}.")
        sections = (_linked(chapter(part["name"]), in_lecture(name), language, on_site) for name in row["sections"])
        yield f"| {row['slide']} | {'; '.join(sections)} |"
    if rows := part.get("corrections"):
        yield from ("", f"| {say(_DECK)} | {say(_COURSE)} | {say(_SOURCE)} |", "|---|---|---|")
        yield from (f"| {in_page(row['deck'])} | {in_page(row['course'])} | {row['source']} |" for row in rows)


def _linked(part: Chapter, heading: str, language: str, on_site: Mapping[str, Collection[str]] | None) -> str:
    """A heading of a lecture, in a language, with the way to it."""
    if on_site is None:
        from .build import translated  # which itself asks this module for its chapters

        here, there = translated(PAGE, language).parent, translated(part.lecture, language)
        way, name = Path(os.path.relpath(there, here)).as_posix(), heading.replace(" ", "-")
    elif heading in on_site.get(part.name, ()):
        from .translation.page import slug

        way, name = f"lectures/{part.lecture.name}", slug(heading)
    else:
        return heading
    anchor = re.sub(r"[^\w-]", lambda sign: quote(sign[0]), name)
    return f"[{heading}]({way}#{anchor})"


def headings(lecture: NotebookNode) -> list[str]:
    """The headings of a lecture, its title first."""
    prose = "\n".join(cell.source for cell in lecture.cells if cell.cell_type == "markdown")
    return re.findall(r"^#{1,3} (.+)$", prose, re.MULTILINE)


def _translations(path: Path, language: str) -> Callable[[str], str]:
    if language == ENGLISH:
        return str
    from .translation import catalogue  # which the English page does without

    return catalogue.load(path).say


def _of_pages(language: str) -> Callable[[str], str]:
    from .translation import catalogue
    from .translation import page as other

    return _translations(catalogue.path_of(language, other.PAGES), language)
