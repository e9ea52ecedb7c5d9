"""`course translate`: catalogues brought up to what the sources say, and how much of them is translated."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polib

from .. import deck, glossary
from ..chapters import ROOT, Chapter, all_chapters, chapter
from ..files import whole
from . import catalogue, lint, messages, page, terms

# catalogues that are no chapter's
OTHERS = HELPER, COURSE, PAGES, GLOSSARY, TABLES = "course_utils", "courseware", page.PAGES, glossary.CATALOGUE, "tables"
_TABLES = ROOT / "docs" / "tables.toml"
_TEMPLATES = ROOT / "courseware" / "templates"
_PAGES = (*page.sources(), *sorted(_TEMPLATES.rglob("*.md")))


@dataclass
class Report:
    """A catalogue as it is: how many messages are translated, and what is wrong with which."""

    name: str
    total: int
    done: int
    fuzzy: int
    broken: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def sources(chapters: Sequence[Chapter], others: Collection[str] = OTHERS) -> dict[str, list[messages.Message]]:
    """The name of each catalogue and its messages; `others`: names of those that are no chapter's."""
    by_catalogue = {chapter.name: messages.of_chapter(chapter) for chapter in chapters}
    if HELPER in others:
        by_catalogue[HELPER] = messages.marked(ROOT / "course_utils", "t", "N_")
        by_catalogue[HELPER] += [message for part in all_chapters() for message in messages.of_controls(part)]
    if COURSE in others:
        by_catalogue[COURSE] = messages.marked(ROOT / "courseware", "N_") + messages.of_templates(_TEMPLATES / "site")
    if TABLES in others:
        by_catalogue[TABLES] = [message for part in messages.of_tables(_TABLES).values() for message in part]
    if GLOSSARY in others:
        where = glossary.FILE.relative_to(ROOT).as_posix()
        by_catalogue[GLOSSARY] = [messages.Message(entry.meaning, where, messages.PROSE) for entry in glossary.entries()]
    if PAGES in others:
        by_catalogue[PAGES] = [message for path in _PAGES for message in messages.of_markdown(path)]
        where = deck.FILE.relative_to(ROOT).as_posix()
        by_catalogue[PAGES] += [messages.Message(text, where, messages.PROSE) for text in deck.corrections()]
    return by_catalogue


def update(language: str, sources: Mapping[str, list[messages.Message]]) -> list[Path]:
    """Write the catalogues of what `sources` gave that changed; return their paths."""
    written = []
    for name, messages_of in sources.items():
        path = catalogue.path_of(language, name)
        if catalogue.write(path, catalogue.merge(catalogue.read(path), messages_of, language)):
            written.append(path)
    for name, (path, text) in compiled(language).items():
        if name in sources and not (path.exists() and path.read_text(encoding="utf-8") == text):
            path.parent.mkdir(exist_ok=True)
            with whole(path) as scratch:
                scratch.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written


def compiled(language: str) -> dict[str, tuple[Path, str]]:
    """The helper package's own files of messages and of words of tables, by catalogue, and what is to stand in each."""
    folder = ROOT / "course_utils" / "locale"
    known = catalogue.load(catalogue.path_of(language, HELPER)).known
    say = catalogue.load(catalogue.path_of(language, TABLES)).known
    words = {
        part: {message.text: say[message.text] for message in of_table if message.text in say}
        for part, of_table in messages.of_tables(_TABLES).items()
    }
    return {
        HELPER: (folder / f"{language}.json", _json(known)),
        TABLES: (folder / "tables" / f"{language}.json", _json(words)),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=0, sort_keys=True) + "\n"


def reports(language: str, sources: Mapping[str, list[messages.Message]]) -> list[Report]:
    """Each catalogue against `sources`, what they say now; nothing is written."""
    known = terms.load(language)
    made = []
    for name, messages_of in sources.items():
        file = catalogue.merge(catalogue.read(catalogue.path_of(language, name)), messages_of, language)
        entries = [entry for entry in file if not entry.obsolete]
        done = [entry for entry in entries if catalogue.done(entry)]
        report = Report(name, len(entries), len(done), sum(entry.fuzzy for entry in entries))
        for entry in done:
            broken = lint.broken(entry)
            report.broken += [_said(name, entry, problem) for problem in broken]
            report.faults += [_said(name, entry, problem) for problem in ([] if broken else lint.faults(entry, known))]
        made.append(report)
    return made


def _said(name: str, entry: polib.POEntry, problem: lint.Problem) -> str:
    where = entry.occurrences[0][0] if entry.occurrences else ""
    text = re.sub(r"\s+", " ", entry.msgstr)
    return f"{name} {where}: {problem.rule}: {problem.text} ({text[:60]}{'…' if len(text) > 60 else ''})"


def table(made: Sequence[Report]) -> str:
    """A line for each catalogue, and one for all."""
    total, done = sum(report.total for report in made), sum(report.done for report in made)
    lines = [_line(report.name, report.done, report.total) + _more(report) for report in made]
    return "\n".join([*lines, _line("all", done, total)])


def _line(name: str, done: int, total: int) -> str:
    return f"{name:28} {100 * done / total if total else 100:5.1f} %  {done:5} of {total:5}"


def _more(report: Report) -> str:
    parts = [(report.fuzzy, "fuzzy"), (len(report.broken), "broken"), (len(report.faults), "faults")]
    return "".join(f", {count} {what}" for count, what in parts if count)


def chosen(names: Sequence[str]) -> tuple[list[Chapter], list[str]]:
    """The chapters and the other catalogues that names are of; all, for no names.

    Raises:
        ChapterError: there is no such chapter.
    """
    if not names:
        return all_chapters(), list(OTHERS)
    return [chapter(name) for name in names if name not in OTHERS], [name for name in names if name in OTHERS]
