"""The glossary: what docs/glossary.toml says of the terms that the chapters mark, `*term* (中文)`, or use without a mark."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .chapters import ENGLISH, N_, ROOT, Chapter, ChapterError, chapter, words
from .references import Term, marked_terms, same_term

_TITLE = N_("Glossary 术语表")
_ABOUT = N_("The course's terms, each with the chapter that introduces it.")
_CHAPTER = N_("Chapter {number}")
CATALOGUE = "glossary"  # of the meanings, in other languages
FILE = ROOT / "docs" / "glossary.toml"


@dataclass(frozen=True)
class Entry:
    """A term and its meaning in one line; `also` are other forms. `chapter`: the number of one that uses what none marks."""

    english: str
    chinese: str
    meaning: str
    also: tuple[str, ...] = ()
    chapter: str = ""

    @property
    def keys(self) -> set[str]:
        return {same_term(name) for name in (self.english, *self.also)}


@lru_cache
def _read(path: Path) -> tuple[tuple[Entry, ...], frozenset[str]]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = [
            Entry(term["en"], term["zh"], term["means"], tuple(term.get("also", ())), term.get("chapter", ""))
            for term in data["term"]
        ]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ChapterError(f"{path.name} cannot be read: {error}. A term has en, zh and means.") from error
    return tuple(entries), frozenset(same_term(name) for name in data.get("no_term", ()))


def entries(path: Path = FILE) -> Sequence[Entry]:
    """All entries, as the file has them.

    Raises:
        ChapterError: the file is no TOML, or an entry lacks a part.
    """
    return _read(path)[0]


def missing(chapters: Iterable[Chapter], path: Path = FILE) -> list[str]:
    """One sentence for each term that the chapters mark and the file does not have."""
    return _missing(_by_key(chapters), path)


def _by_key(chapters: Iterable[Chapter]) -> dict[str, Term]:
    return {same_term(term.english): term for term in marked_terms(chapters)}


def _missing(marked: dict[str, Term], path: Path) -> list[str]:
    known, no_term = _read(path)
    covered = no_term.union(*(entry.keys for entry in known))
    return [
        f"{term.chapter} marks *{term.english}* ({term.chinese}): enter it in docs/{path.name}, or list it in no_term"
        for key, term in marked.items()
        if key not in covered
    ]


def problems(chapters: Iterable[Chapter], path: Path = FILE) -> list[str]:
    """One sentence for each difference between the file and what the chapters mark."""
    known, no_term = _read(path)
    marked = _by_key(chapters)
    gone = [
        f"no chapter marks {entry.english!r} any more: take it out"
        for entry in known
        if not entry.chapter and not _marked(entry, marked)
    ]
    gone += [f"{entry.english!r}: {why}" for entry in known if entry.chapter and (why := _misplaced(entry, marked))]
    gone += [f"no_term lists {name!r}, which no chapter marks" for name in sorted(no_term - set(marked))]
    chinese = [
        f"{entry.english!r} is {entry.chinese} here and {' or '.join(sorted(marked_as))} in the chapters"
        for entry in known
        if (marked_as := {term.chinese for term in _marked(entry, marked)}) and entry.chinese not in marked_as
    ]
    return _missing(marked, path) + gone + chinese


def _marked(entry: Entry, marked: dict[str, Term]) -> list[Term]:
    return [marked[key] for key in entry.keys if key in marked]


def _misplaced(entry: Entry, marked: dict[str, Term]) -> str | None:
    """What is wrong with the chapter that an entry names, or None."""
    if terms := _marked(entry, marked):
        return f"{terms[0].chapter} marks it, so take its `chapter` out"
    sources = (chapter(entry.chapter).lecture_source, chapter(entry.chapter).lab_source)
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    names = "|".join(map(re.escape, (entry.english, *entry.also)))
    return None if re.search(rf"(?<!\w)(?:{names})(?!\w)", text, re.I) else f"chapter {entry.chapter} does not use it"


def page(chapters: Sequence[Chapter], language: str = ENGLISH) -> str:
    """The glossary as Markdown for Sphinx: the entries whose terms these chapters mark or use, with the first that does."""
    marked = _by_key(chapters)
    named = {chapter.name[:2]: chapter.name for chapter in chapters}
    say, means = words(language), _meanings(language)
    lines = [f"# {say(_TITLE)}", "", say(_ABOUT), "", "```{glossary}"]
    for entry in sorted(entries(), key=_by_pinyin if language != ENGLISH else lambda entry: same_term(entry.english)):
        chapters_of = [term.chapter for term in _marked(entry, marked)]
        if first := min(chapters_of, default=named.get(entry.chapter, "")):
            names = (entry.english, entry.chinese) if language == ENGLISH else (entry.chinese, entry.english)
            chapter = say(_CHAPTER, number=first[:2])
            lines += [" ".join(names), f"  {means(entry.meaning)} [{chapter}](lectures/{first}.ipynb)", ""]
    return "\n".join([*lines, "```", ""])


def _meanings(language: str) -> Callable[[str], str]:
    if language == ENGLISH:
        return str
    from .translation import catalogue  # which the English page does without

    return catalogue.load(catalogue.path_of(language, CATALOGUE)).say


def _by_pinyin(entry: Entry) -> bytes:
    """GB2312 has its common characters in the order of their pinyin."""
    return entry.chinese.encode("gb18030")
