"""The course's terms in another language: locale/LANG/terms.toml.

    term = [
        { en = "quantization", zh = ["量化"], never = ["量子化"] },
    ]

`en` is found with its plural and a capital, too. Of `zh` the first is the one to write, the others may stand where grammar
wants them; `strict = false` leaves that to the translator. `never` is what is often written, and not here.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache

from ..chapters import ChapterError
from .catalogue import LOCALE


@dataclass(frozen=True)
class Term:
    english: str
    chinese: tuple[str, ...]
    never: tuple[str, ...] = ()
    strict: bool = True

    @property
    def pattern(self) -> re.Pattern[str]:
        return _pattern(self.english)


@lru_cache(maxsize=1000)
def _pattern(english: str) -> re.Pattern[str]:
    ending = r"(?:es|s)?"
    stem = re.escape(english).replace(r"\ ", r"[\s-]+").replace(r"\-", r"[\s-]?")
    if english.endswith("y"):
        stem, ending = stem[:-1], r"(?:y|ies)"
    return re.compile(rf"(?<![\w-]){stem}{ending}(?!\w)", re.IGNORECASE)


def load(language: str) -> list[Term]:
    """The terms, the longest first: "KV cache" before "cache".

    Raises:
        ChapterError: the file is no TOML, lacks a field, or has a term twice.
    """
    path = LOCALE / language / "terms.toml"
    return list(_parsed(path.read_text(encoding="utf-8"), str(path))) if path.exists() else []


@lru_cache(maxsize=4)
def _parsed(text: str, path: str) -> tuple[Term, ...]:
    try:
        terms = [
            Term(row["en"], tuple(row["zh"]), tuple(row.get("never", ())), row.get("strict", True))
            for row in tomllib.loads(text).get("term", [])
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ChapterError(f"{path} cannot be read: {error}. A term has en and zh.") from error
    names = [term.english.lower() for term in terms]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ChapterError(f"{path} has a term twice: {', '.join(sorted(twice))}.")
    return tuple(sorted(terms, key=lambda term: (-len(term.english), term.english)))
