"""What the notebooks cite, and the terms they introduce: read from their prose, which is the only place where they stand.

A reference is an item under "Further reading": `Authors. *Title.* Venue Year. arXiv:… or doi:… or an address`. A term is
written `*term* (中文)` at its first use.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .chapters import Chapter, read

_ITEM = re.compile(r"^- (.+?)(?=^- |\n\n|\Z)", re.DOTALL | re.MULTILINE)
_PARTS = re.compile(r"(?P<authors>.+?)\.? \*(?P<title>.+?)\.?\*\.? ?(?P<rest>.*)")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})")
_DOI = re.compile(r"\bdoi:(10\.\d{4,}/[^\s)]+[^\s).,])")
_ADDRESS = re.compile(r"https?://[^\s)>]+[^\s)>.,]")
_NAME = r"[A-ZÀ-Ž][\w'’À-ž]+(?:-[A-ZÀ-Ž][\w'’À-ž]+)*"
_NAMES = rf"{_NAME}(?:(?:, {_NAME})*,? (?:&|and) {_NAME}| et al\.)"
_CITED = re.compile(rf"\b({_NAMES})(?:'s?|’s?)? \(?((?:19|20)\d\d)[a-z]?\b")
# one name alone is a citation only where the year stands in brackets: "Fleiss' (1971)", "(as in Kudo 2018)"
_ALONE = re.compile(
    rf"\b({_NAME})(?<!['’])(?:'s?|’s?)? \(((?:19|20)\d\d)[a-z]?\)"
    rf"|[(;] ?(?:[a-z]+,? )*({_NAME}),? ((?:19|20)\d\d)[a-z]?(?=[;),])"
)
_TERM = re.compile(r"\*{1,2}([^*\n]{2,60}?)\*{1,2} \(([^()*]*?[\u4e00-\u9fff][^()*]*?)\)")


@dataclass
class Reference:
    """One work: what is printed of it, and in which chapters it is listed."""

    authors: str
    title: str
    rest: str  # venue, year
    arxiv: str = ""
    doi: str = ""
    address: str = ""
    chapters: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.arxiv or self.doi or self.address or self.title.lower()

    @property
    def link(self) -> str:
        """Where the work can be read; empty if its item names no place."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else self.address


@dataclass(frozen=True)
class Term:
    """A key term, its Chinese and the chapter that introduces it."""

    english: str
    chinese: str
    chapter: str


def prose(chapter: Chapter) -> Iterator[str]:
    """The markdown cells of a chapter's lecture and lab."""
    for path in (chapter.lecture_source, chapter.lab_source):
        if path.exists():
            yield from (cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def listed(chapter: Chapter) -> list[Reference]:
    """The items under "Further reading" of a chapter, each work once."""
    found: dict[str, Reference] = {}
    for source in _reading(chapter):
        for item in _ITEM.findall(source):
            reference = _reference(" ".join(item.split()), chapter.name)
            if reference.key not in found or len(reference.authors) > len(found[reference.key].authors):
                found[reference.key] = reference
    return list(found.values())


def _reading(chapter: Chapter) -> Iterator[str]:
    """The cells under the heading "Further reading", those under its sub-headings too."""
    inside = False
    for source in prose(chapter):
        for level, heading in re.findall(r"^(#+) (.*)$", source, re.MULTILINE):
            inside = heading.startswith("Further reading") or (inside and len(level) > 2)
        if inside:
            yield source


def _reference(text: str, chapter: str) -> Reference:
    parts = _PARTS.fullmatch(text)
    if not parts:
        return Reference("", text, "", chapters=[chapter])
    arxiv, doi, address = (pattern.search(text) for pattern in (_ARXIV, _DOI, _ADDRESS))
    rest = re.sub(r" ?(arXiv:\S+|doi:\S+|https?://\S+|\([^()]*[a-z]{3}[^()]*\))", "", parts["rest"]).strip(" .,")
    return Reference(
        parts["authors"],
        parts["title"],
        rest,
        arxiv[1] if arxiv else "",
        doi[1] if doi else "",
        address[0] if address else "",
        [chapter],
    )


def bibliography(chapters: Iterable[Chapter]) -> list[Reference]:
    """Every work that a chapter lists, in the order of its first author's name."""
    works: dict[str, Reference] = {}
    for chapter in chapters:
        for reference in listed(chapter):
            known = works.setdefault(reference.key, reference)
            if known is not reference:
                chapters_ = [*known.chapters, chapter.name]
                if len(reference.authors) + len(reference.title) > len(known.authors) + len(known.title):
                    works[reference.key] = reference
                works[reference.key].chapters = chapters_
    return sorted(works.values(), key=lambda reference: (surname(reference.authors), reference.rest[-4:], reference.title))


def surname(authors: str) -> str:
    """The first author's last name, for sorting."""
    first = re.split(r", | et al| and ", authors)[0]
    return _plain(first.split(" ")[-1])


def _plain(text: str) -> str:
    """Without accents, in lower case."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()


def cited(chapter: Chapter) -> set[tuple[str, str]]:
    """(names, year) of each citation in a chapter's prose, outside the lists of further reading."""
    found, reading = set(), set(_reading(chapter))
    for source in prose(chapter):
        if source not in reading:
            text = re.sub(r"`[^`]*`|\$[^$]*\$", "", " ".join(source.split()))
            found |= {(names, year) for names, year in _CITED.findall(text)}
            alone = {(first or second, year or later) for first, year, second, later in _ALONE.findall(text)}
            found |= {(name, year) for name, year in alone if name not in calendar.month_name}
    return found


def unresolved(chapter: Chapter) -> list[str]:
    """Citations of a chapter that none of its further reading answers."""
    # a preprint's year is as good as its publication's
    works = [
        (_plain(f"{work.authors} {work.title}"), f"{work.rest} {_preprint_year(work.arxiv)}") for work in listed(chapter)
    ]
    missing = []
    for names, year in sorted(cited(chapter)):
        people = [_plain(name) for name in re.split(r", | & | and | et al\.", names) if name]
        if not any(all(p in work for p in people) and year in rest for work, rest in works):
            missing.append(f"{names} {year}")
    return missing


def _preprint_year(arxiv: str) -> str:
    digits = re.search(r"(\d\d)\d\d", arxiv)
    return f"{19 if digits[1] > '90' else 20}{digits[1]}" if digits else ""


def glossary(chapters: Iterable[Chapter]) -> list[Term]:
    """Key terms in the order of the alphabet, each from the first chapter that introduces it."""
    terms: dict[str, Term] = {}
    for chapter in chapters:
        for source in prose(chapter):
            for english, chinese in _TERM.findall(" ".join(source.split())):
                name = english.strip(" .,:")
                if (
                    not re.search(r"[?!,]", name) and len(name.split()) <= 4
                ):  # titles and labels have Chinese beside them too
                    plural = _plain(name).removesuffix("s")
                    terms.setdefault(plural, Term(name, _chinese(chinese), chapter.name))
    return [terms[key] for key in sorted(terms)]


def _chinese(text: str) -> str:
    """The part of a bracket that is Chinese: "NLI, 自然语言推断" and "直接偏好优化; Rafailov et al. 2023" hold more."""
    return next(part for part in re.split(r"[,;] ", text) if re.search(r"[\u4e00-\u9fff]", part)).strip()
