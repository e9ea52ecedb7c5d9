"""The course's tables: CSV files with units in the column names and a source for each row.

A data frame shows its keys, and keys are the same in every language. Where it is shown in another one, names of columns and
words of cells that the course knows (docs/tables.toml) are put in that language (`in_language`).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from html import escape, unescape
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UnknownNameError
from .language import ENGLISH, language, t

if TYPE_CHECKING:
    import pandas as pd

_WORDS = Path(__file__).parent / "locale" / "tables"
_TABLE = re.compile(r'<table (?:border="1" class="dataframe|id="T_).*?</table>', re.DOTALL)  # as pandas writes them
_ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_ENGLISH = re.compile(r"\b[a-z]{2,}\b")  # what has none is a name, in every language
_CELL = re.compile(r"(<t([hd])\b[^>]*>)([^<]*)(?=</t\2>)")


def names() -> list[str]:
    """Names that `load` takes."""
    folder = files(__package__).joinpath("csv")
    return sorted(entry.name.removesuffix(".csv") for entry in folder.iterdir() if entry.name.endswith(".csv"))


def load(name: str) -> pd.DataFrame:
    """Read a table; the column `source` says where each row is from.

    Raises:
        UnknownNameError: there is no such table.
    """
    import pandas as pd

    if name not in names():
        raise UnknownNameError.of(t("table"), name, names())
    with as_file(files(__package__).joinpath("csv", f"{name}.csv")) as path:
        return pd.read_csv(path)


def speak(shell: Any) -> None:
    """Let `shell`, IPython's, show data frames in the reader's language; None, outside of a notebook, shows none."""
    if shell is None or language() == ENGLISH:
        return

    def html(table: Any) -> str | None:
        shown = table._repr_html_()
        return in_language(shown, language()) if shown else None

    import pandas as pd

    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type(pd.DataFrame, html)
    formatter.for_type_by_name("pandas.io.formats.style", "Styler", html)


def in_language(html: str, name: str) -> str:
    """An output with the words of its tables in a language; the same where it has none, and in English.

    A single word of a cell is translated only where all words of its column are known: a token may look like one.
    """
    words = _words(name)
    return _TABLE.sub(lambda table: _translated(table[0], words), html) if words else html


def choice(text: str) -> str:
    """A value of an explorer's menu in the reader's language; the value itself where it is a name, a prompt or not known."""
    return _words(language()).get("choices", {}).get(text, text)


@lru_cache
def _words(name: str) -> dict[str, dict[str, str]]:
    path = _WORDS / f"{name}.json"
    known: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def _translated(table: str, words: dict[str, dict[str, str]]) -> str:
    names = words["headings"] | words["labels"]
    known = {"h": names | words["cells"], "d": words["headings"] | words["cells"]}
    head, start, body = table.partition("<tbody>")
    head = _CELL.sub(lambda cell: _said(cell, names), head)
    columns: dict[int, list[bool]] = {}
    for row in _ROW.findall(body):
        for place, cell in enumerate(_CELL.finditer(row)):
            columns.setdefault(place, []).append(_text(cell) not in known[cell[2]] and bool(_ENGLISH.search(_text(cell))))
    of_words = {place for place, unknown in columns.items() if not any(unknown)}

    def translated(place: int, cell: re.Match[str]) -> str:
        return _said(cell, known[cell[2]]) if place in of_words or re.search(r"[ _]", _text(cell)) else cell[0]

    def translated_row(row: re.Match[str]) -> str:
        places = iter(range(len(row[0])))
        return _CELL.sub(lambda cell: translated(next(places), cell), row[0])

    return head + start + _ROW.sub(translated_row, body)


def _said(cell: re.Match[str], words: dict[str, str]) -> str:
    text = _text(cell)
    return cell[1] + escape(words[text], quote=False) if text in words else cell[0]


def _text(cell: re.Match[str]) -> str:
    return unescape(cell[3]).strip()
