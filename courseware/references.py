"""The works that the chapters cite, from one file (`chapters/references.bib`), and the terms that they introduce.

A source names a work by its key in that file, and the build writes what a reader sees:

    - [@hu2022lora]: why read it       an item under "Further reading": authors, title, venue, year, link
    [@hu2022lora, table 6; @li2021…]   (Hu et al., 2022, table 6; Li and Liang, 2021), each with its link
    @hu2022lora                        Hu et al. (2022)
    @hu2022lora [table 6]              Hu et al. (2022, table 6)
    (低秩; @hu2022lora)                (低秩; Hu et al., 2022)

Code is not rewritten, so comments and figures cite by hand. A term is written `*term* (中文)` at its first use.
"""

from __future__ import annotations

import calendar
import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from nbformat import NotebookNode
from pybtex.backends.markdown import Backend
from pybtex.database import Entry, Person, parse_string
from pybtex.exceptions import PybtexError
from pybtex.richtext import HRef, Tag, Text
from pybtex.style import FormattedEntry
from pybtex.style.formatting import BaseStyle
from pybtex.style.labels.number import LabelStyle
from pybtex.style.names.plain import NameStyle
from pybtex.style.sorting.none import SortingStyle

from .chapters import Chapter, ChapterError, read

FILE = "references.bib"
NAMES = 4  # an item names so many authors, or the first of them "et al."
_KEY = r"(?<![\w`])@([a-z]+\d{4}[a-z0-9]*)"
_CITED = re.compile(
    rf"^- \[{_KEY}\](?=[:\uff1a]|$)|\[([^\[\]]*{_KEY}[^\[\]]*)\]|(\([^()]*{_KEY}[^()]*\))|{_KEY}(?:\s\[([^\[\]]+)\](?!\())?",
    re.MULTILINE,
)
_ITEM = re.compile(rf"^- \[{_KEY}\](?=:|$)", re.MULTILINE)
# what a citation by hand looks like: "et al.", or a name and a year ("Fleiss' (1971)", "(Kudo 2018)")
_YEAR = r"(?:['’]s?)?,? \(?(?:19|20)\d\d"
_BY_HAND = re.compile(rf"\S+ et al\.(?:{_YEAR})?|\b([A-ZÀ-Ž][^\W\d_]*[a-z]\w*){_YEAR}")
_NO_NAMES = {*calendar.month_name, "In", "From", "Since", "Until", "By", "Before", "After", "It"}
_TERM = re.compile(r"\*{1,2}([^*\n]{2,60}?)\*{1,2} \(([^()*]*?[\u4e00-\u9fff][^()*]*?)\)")


@dataclass(frozen=True)
class Work:
    """An entry of the file, as it is printed."""

    entry: Entry

    @property
    def people(self) -> list[Person]:
        return list(self.entry.persons.get("author", []))

    @property
    def year(self) -> str:
        return str(self.entry.fields.get("year", ""))

    @cached_property  # LaTeX is slow to read
    def names(self) -> str:
        """How a text calls it: "Hu et al.", "Pang and Lee"."""
        last = [_last_name(person) for person in self.people]
        return f"{last[0]} et al." if len(last) > 2 or self.others else " and ".join(last)

    @cached_property
    def others(self) -> bool:
        """Does its entry name only the first authors, "and others"?"""
        return bool(self.people) and _last_name(self.people[-1]) == "others"

    @cached_property
    def title(self) -> str:
        return str(Text.from_latex(self.entry.fields.get("title", "")))

    @property
    def link(self) -> str:
        """Where it can be read; empty if its entry names no place."""
        fields = self.entry.fields
        if "eprint" in fields:
            return f"https://arxiv.org/abs/{fields['eprint']}"
        return f"https://doi.org/{fields['doi']}" if "doi" in fields else str(fields.get("url", ""))

    @property
    def place(self) -> str:
        """That link's name in print."""
        fields = self.entry.fields
        if "eprint" in fields:
            return f"arXiv:{fields['eprint']}"
        return f"doi:{fields['doi']}" if "doi" in fields else urlsplit(self.link).netloc.removeprefix("www.")

    @property
    def venue(self) -> str:
        fields = self.entry.fields
        name = next((fields[field] for field in ("booktitle", "journal", "publisher") if field in fields), "")
        return " ".join(str(Text.from_latex(part)) for part in (name, fields.get("volume", "")) if part)


def _last_name(person: Person) -> str:
    parts = [*person.rich_prelast_names, *person.rich_last_names]
    return " ".join(map(str, parts))


class Style(BaseStyle):  # type: ignore[misc]
    """A work in one line: authors, *title*, venue and year, where it can be read; on the site also who cites it."""

    # Classes, not their names: for each name pybtex reads what every installed package says of itself, a second in all.
    default_name_style = NameStyle
    default_label_style = LabelStyle
    default_sorting_style = SortingStyle

    def __init__(self, **options: Any) -> None:
        super().__init__(abbreviate_names=True, **options)
        self.sort = lambda entries: sorted(entries, key=lambda entry: _order(Work(entry)))

    def format_entry(self, label: str, entry: Entry, bib_data: object = None) -> FormattedEntry:
        return FormattedEntry(entry.key, self.text(Work(entry)), label)

    def text(self, work: Work, letter: str = "") -> Text:
        """A work; the letter tells it from others of the same authors and year."""
        people = [self.format_name(person, True).format() for person in work.people]
        many = len(people) > NAMES or work.others
        names = Text(people[0], " et al.") if many else Text(", ").join(people).add_period()
        title = Tag("em", Text.from_latex(work.entry.fields.get("title", "")).add_period())
        comma = "," if work.venue.endswith((*"0123456789", ")")) else ""
        when = f"{work.venue}{comma} {work.year}{letter}.".lstrip()
        chapters = str(work.entry.fields.get("chapters", "")).split()  # the site's copy of the file has this field
        numbers = Text(", ").join(HRef(f"lectures/{name}.html", name[:2]) for name in chapters)
        return Text(
            names, " ", title, " ", when, " ", HRef(work.link, work.place), *([" (", numbers, ")"] if chapters else [])
        )


class _Markdown(Backend):  # type: ignore[misc]
    """Markdown in which only what has a meaning there is escaped: an item is read in its source, too."""

    symbols = MappingProxyType({**Backend.symbols, "nbsp": " "})

    def format_str(self, text: str) -> str:
        return re.sub(r"([\\`*_\[\]<$])", r"\\\1", text)


@lru_cache(maxsize=8)
def _parsed(text: str, path: str) -> dict[str, Work]:
    try:
        entries = {key: Work(entry) for key, entry in parse_string(text, "bibtex").entries.items()}
        style = Style()
        for work in entries.values():
            style.text(work)  # titles and names are LaTeX
    except (PybtexError, ValueError) as error:
        raise ChapterError(f"{path} cannot be read: {error}. Mend that entry.") from error
    return entries


def works(folder: Path) -> dict[str, Work]:
    """Every work of a folder of chapters, by its key.

    Raises:
        ChapterError: the file is no BibTeX, or has a key twice.
    """
    path = folder / FILE
    return _parsed(path.read_text(encoding="utf-8"), f"{folder.name}/{FILE}") if path.exists() else {}


def prose(chapter: Chapter) -> Iterator[str]:
    """The markdown cells of a chapter's lecture and lab."""
    yield from (cell.source for cell in _cells(chapter) if cell.cell_type == "markdown")


def _cells(chapter: Chapter) -> Iterator[NotebookNode]:
    for path in (chapter.lecture_source, chapter.lab_source):
        if path.exists():
            yield from read(path).cells


def listed(chapter: Chapter) -> list[str]:
    """The keys of the items under "Further reading", each once."""
    return list(dict.fromkeys(key for source in prose(chapter) for key in _ITEM.findall(source)))


def cited(chapter: Chapter) -> set[str]:
    """Every key that a chapter's prose names, those of its items too; also what only stands where a key should."""
    keys = (match for source in prose(chapter) for match in re.findall(rf"{_KEY}|(?<!`)\[@([^\s\],;]+)", source))
    return {key or other for key, other in keys}


def unknown(chapter: Chapter) -> list[str]:
    """One sentence for each cited key that the file does not have."""
    known = works(chapter.folder.parent)
    problems = []
    for key in sorted(cited(chapter) - set(known)):
        near = difflib.get_close_matches(key, known, n=1)
        problems.append(f"there is no @{key} in {FILE}" + (f"; did you mean @{near[0]}?" if near else ""))
    return problems


def unlisted(chapter: Chapter) -> list[str]:
    """One sentence for each citation, by key or by hand, that no item under "Further reading" answers."""
    inside, known = listed(chapter), works(chapter.folder.parent)
    problems = [
        f"the prose cites @{key}, which no item under Further reading names" for key in sorted(cited(chapter) - set(inside))
    ]
    mine = [known[key] for key in inside if key in known]
    by_hand = dict.fromkeys(name for cell in _cells(chapter) for name in _strangers(cell.source, mine))
    return problems + [
        f"{name} is cited by hand, and no item under Further reading is that work: "
        f"write its entry in {FILE}, `- [@key]` there, and [@key] here"
        for name in by_hand
    ]


def _strangers(text: str, mine: list[Work]) -> Iterator[str]:
    """What looks like a citation in a text, once the names and years of these works are taken out."""
    text = " ".join(re.sub(r"`[^`]*`|\$[^$]*\$|^ *#", "", text, flags=re.MULTILINE).replace(" & ", " and ").split())
    for work in mine:
        text = re.sub(rf"{re.escape(work.names)}(?:['’]s?)?,? \(?{work.year}", "", text)
        if work.names.endswith(" et al."):  # without a year it speaks of a work again
            text = re.sub(rf"{re.escape(work.names)}(?!{_YEAR})", "", text)
    yield from (match[0] for match in _BY_HAND.finditer(text) if match[1] not in _NO_NAMES)


def expand(notebook: NotebookNode, chapter: Chapter) -> None:
    """Write works in place of keys, in all markdown cells.

    Raises:
        ChapterError: a key that the file does not have.
    """
    if problems := unknown(chapter):
        raise ChapterError(f"{chapter.name}: {'; '.join(problems)}")
    known, letters = works(chapter.folder.parent), _letters(chapter)

    def link(key: str, before: str = ", ", after: str = "") -> str:
        work = known[key]
        return f"[{work.names}{before}{work.year}{letters.get(key, '')}{after}]({work.link})"

    def written(match: re.Match[str]) -> str:
        item, square, _, rounded, _, alone, place = match.groups()
        if item:
            return f"- {Style().text(known[item], letters.get(item, '')).render(_Markdown())}"
        if square:
            return f"({re.sub(_KEY, lambda key: link(key[1]), square)})"
        if rounded:  # part of a sentence there, or beside other things
            text = re.sub(rf"{_KEY}(?=[\s:])", lambda key: link(key[1], " (", ")"), rounded)
            return re.sub(_KEY, lambda key: link(key[1]), text)
        return link(alone, " (", f", {place})" if place else ")")

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _CITED.sub(written, cell.source)


def _letters(chapter: Chapter) -> dict[str, str]:
    """a, b, … for works that a chapter lists and whose authors and year are the same."""
    known = works(chapter.folder.parent)
    names = {key: f"{known[key].names} {known[key].year}" for key in listed(chapter) if key in known}
    count, seen, letters = Counter(names.values()), Counter[str](), {}
    for key, name in names.items():
        if count[name] > 1:
            letters[key] = "abcdefgh"[seen[name]]
            seen[name] += 1
    return letters


def untidy(chapters: Iterable[Chapter]) -> list[str]:
    """What is wrong with the file itself: entries that lack something, that nobody cites, or that are there twice."""
    chapters = list(chapters)
    known = works(chapters[0].folder.parent)
    named = {key for chapter in chapters for key in listed(chapter)}
    problems, seen = [], dict[str, str]()
    for key, work in known.items():
        problems += [f"@{key} has no {part}" for part in ("people", "title", "year", "link") if not getattr(work, part)]
        if not re.fullmatch(r"[a-z]+\d{4}[a-z0-9]+", key) or work.year not in key:
            problems.append(f"@{key} is no key: a name, the year {work.year} and a word of the title, in small letters")
        if key not in named:
            problems.append(f"@{key} is listed by no chapter: take it out, or list it under Further reading")
        for same in {work.link, re.sub(r"\W", "", _plain(work.title))} - {""}:
            if (other := seen.setdefault(same, key)) != key:
                problems.append(f"@{other} and @{key} are the same work")
    return problems


def readers(chapters: Iterable[Chapter]) -> dict[str, list[str]]:
    """Key → the names of the chapters that list the work."""
    chapters_by_key: dict[str, list[str]] = {}
    for chapter in chapters:
        for key in listed(chapter):
            chapters_by_key.setdefault(key, []).append(chapter.name)
    return chapters_by_key


def _order(work: Work) -> tuple[str, str, str]:
    """Where a work stands in a list: by its first author's last name."""
    return _plain(_last_name(work.people[0]) if work.people else ""), work.year, work.title


def _plain(text: str) -> str:
    """Without accents, in lower case."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()


@dataclass(frozen=True)
class Term:
    """A key term, its Chinese and the chapter that introduces it."""

    english: str
    chinese: str
    chapter: str


def marked_terms(chapters: Iterable[Chapter]) -> list[Term]:
    """What chapters mark as terms, in the order of the alphabet, each from the first chapter that does."""
    terms: dict[str, Term] = {}
    for chapter in chapters:
        for source in prose(chapter):
            for english, chinese in _TERM.findall(" ".join(source.split())):
                name = english.strip(" .,:")
                if (
                    not re.search(r"[?!,]", name) and len(name.split()) <= 4
                ):  # titles and labels have Chinese beside them too
                    terms.setdefault(same_term(name), Term(name, _chinese(chinese), chapter.name))
    return [terms[key] for key in sorted(terms)]


def same_term(name: str) -> str:
    """What two ways of writing a term have in common: case, accents and a plural's s do not count."""
    return _plain(name).removesuffix("s")


def _chinese(text: str) -> str:
    """The part of a bracket that is Chinese: "NLI, 自然语言推断" and "直接偏好优化; @rafailov2023direct" hold more."""
    return next(part for part in re.split(r"[,;] ", text) if re.search(r"[\u4e00-\u9fff]", part)).strip()
