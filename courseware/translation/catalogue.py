"""Catalogues: locale/LANG/NAME.po, one entry for each message, merged with what the sources say now.

An entry whose English changed keeps its translation as fuzzy, with the English that it was made for. Fuzzy and missing
entries are shown in English.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import polib

from ..chapters import ROOT, ChapterError
from ..files import whole
from .messages import Message

LOCALE = ROOT / "locale"
_LIKE = 0.6  # of the characters, for a message that takes over the translation of another
_LIKE_ELSEWHERE = 0.85  # in another cell
_HEADER = {
    "Project-Id-Version": "llm-foundations-course",
    "MIME-Version": "1.0",
    "Content-Type": "text/plain; charset=UTF-8",
    "Content-Transfer-Encoding": "8bit",
}


@dataclass
class Catalogue:
    """A file's translations: messages to what is shown for them."""

    known: dict[str, str] = field(default_factory=dict)

    def say(self, message: str) -> str:
        """The translation, or the message itself."""
        return self.known.get(message, message)


def path_of(language: str, name: str) -> Path:
    return LOCALE / language / f"{name}.po"


def read(path: Path) -> polib.POFile:
    """A catalogue; an empty one where there is none yet.

    Raises:
        ChapterError: the file is damaged.
    """
    if not path.exists():
        return polib.POFile(wrapwidth=0)
    try:
        return polib.pofile(path.read_text(encoding="utf-8"), wrapwidth=0, encoding="utf-8")
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ChapterError(f"{path} cannot be read: {error}. Mend it, or take it from git.") from error


def load(path: Path) -> Catalogue:
    """The translations of a file that hold."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return Catalogue(_known(text, str(path)))


@lru_cache(maxsize=64)
def _known(text: str, path: str) -> dict[str, str]:
    entries = read(Path(path)) if text else []
    return {entry.msgid: entry.msgstr for entry in entries if done(entry)}


def done(entry: polib.POEntry) -> bool:
    """Does an entry hold a translation of its English as it is now?"""
    return bool(entry.msgstr) and not entry.fuzzy and not entry.obsolete


def merge(old: polib.POFile, messages: Sequence[Message], language: str) -> polib.POFile:
    """The catalogue of these messages, in their order, with the translations of an older one.

    A message that is new takes over the translation of the one whose place it took, as fuzzy. Translations that no message
    has any more are kept at the end: the message may come back.
    """
    new = polib.POFile(wrapwidth=0)
    new.metadata = {**_HEADER, "Language": language}
    before = {entry.msgid: entry for entry in old if entry.msgid}
    now = _places(messages)
    loose = {text: entry for text, entry in before.items() if text not in now and entry.msgstr}
    for text, (places, kinds) in now.items():
        entry = polib.POEntry(msgid=text, occurrences=[(place, "") for place in places], comment=", ".join(kinds))
        if known := before.get(text):
            entry.msgstr, entry.tcomment = known.msgstr, known.tcomment
            if known.fuzzy:
                entry.flags, entry.previous_msgid = ["fuzzy"], known.previous_msgid
        elif like := _likest(text, places, loose):
            entry.msgstr, entry.tcomment, entry.flags = like.msgstr, like.tcomment, ["fuzzy"]
            entry.previous_msgid = like.previous_msgid if like.fuzzy and like.previous_msgid else like.msgid
            del loose[like.msgid]
        new.append(entry)
    for text in sorted(loose):
        kept = loose[text]
        new.append(polib.POEntry(msgid=text, msgstr=kept.msgstr, obsolete=True))
    return new


def _places(messages: Sequence[Message]) -> dict[str, tuple[list[str], list[str]]]:
    """Each text once, with where it stands and what it is."""
    places_and_kinds: dict[str, tuple[list[str], list[str]]] = {}
    for message in messages:
        places, kinds = places_and_kinds.setdefault(message.text, ([], []))
        if message.where not in places:
            places.append(message.where)
        if message.kind not in kinds:
            kinds.append(message.kind)
    return places_and_kinds


def _likest(text: str, places: list[str], loose: dict[str, polib.POEntry]) -> polib.POEntry | None:
    """The translation whose English was most like this text, in the same cell rather than elsewhere."""
    best, likest = 0.0, None
    for entry in loose.values():
        here = any(place in places for place, _ in entry.occurrences)
        least = _LIKE if here else _LIKE_ELSEWHERE
        matcher = difflib.SequenceMatcher(None, text, entry.msgid, autojunk=False)
        ratio = matcher.ratio() if matcher.quick_ratio() >= least else 0.0
        if ratio >= least and ratio + here > best:
            best, likest = ratio + here, entry
    return likest


def write(path: Path, file: polib.POFile) -> bool:
    """Write a catalogue if it changed; did it?"""
    text = str(file).rstrip("\n") + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")
    return True
