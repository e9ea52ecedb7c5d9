"""What there is to translate: the messages of a chapter's notebooks, of the helper package and of the course's own pages."""

from __future__ import annotations

import ast
import csv
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from ..chapters import ROOT, Chapter, cells_of
from . import code_text, markdown_blocks

PROSE = "prose"
_WORD = re.compile(r"\b[a-z]{2,}\b|\b[A-Z][a-z]{3,}\b(?! \d)")  # numbers and short names are none
_WRITTEN = re.compile(r"(<!-- chapters, written by).*?(<!-- end of chapters)", re.DOTALL)


@dataclass(frozen=True)
class Message:
    """A text of a source.

    where: the file and the cell or line's function, without numbers that an edit elsewhere changes.
    kind: "prose", or one of code_text's kinds.
    """

    text: str
    where: str
    kind: str


def of_chapter(chapter: Chapter) -> list[Message]:
    """The messages of a chapter's lecture and of its lab as a student gets it, in order.

    Raises:
        ChapterError: a source cannot be built.
    """
    from .. import build  # which makes notebooks in other languages, too

    in_lecture = [*of_notebook(build.plain_lecture(chapter), "lecture")] if chapter.lecture_source.exists() else []
    return in_lecture + list(of_notebook(build.plain_lab(chapter), "lab", build.unseen(chapter)))


def of_notebook(notebook: NotebookNode, name: str, unseen: Iterable[str] = ()) -> Iterator[Message]:
    """The messages of a notebook as its sources have it; `unseen` as in `code_text.spans`."""
    code = code_cells(notebook)
    spans = dict(zip((cell.id for cell in code), code_text.spans(code, unseen), strict=True))
    for cell in notebook.cells:
        where = f"{name}:{cell.id}"
        if cell.cell_type == "markdown":
            yield from (Message(text, where, PROSE) for text in markdown_blocks.messages(cell.source))
        for span in spans.get(cell.id, []):
            yield from (Message(text, where, span.kind) for text in span.messages)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that hold an author's code: what the build writes is translated by itself."""
    made = {cell.id for cell in cells_of(notebook, "hidden")} | {"colab-setup"}
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.id not in made]


def marked(folder: Path, *names: str) -> list[Message]:
    """The messages of Python files: constants that stand in a call of a name, such as `t("not written yet")`, and the table
    `WORDS`."""
    placed = []
    for path in sorted(folder.rglob("*.py")):
        for text in _marked(ast.parse(path.read_text(encoding="utf-8")), names):
            message = Message(str(text.value), path.relative_to(ROOT).as_posix(), code_text.SHOWN)
            placed.append((message.where, text.lineno, text.col_offset, message))
    return [message for *_, message in sorted(placed, key=lambda row: row[:3])]


def of_controls(chapter: Chapter) -> list[Message]:
    """The names of its explorers' controls, which the helper shows as words."""
    return [
        Message(keyword.arg.replace("_", " "), f"{chapter.name}/{source.name}", code_text.SHOWN)
        for source in (chapter.lecture_source, chapter.lab_source)
        if source.exists()
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "widgets.explorer"
        for keyword in call.keywords
        if keyword.arg and keyword.arg not in ("start", "grid")
    ]


def of_tables(path: Path) -> dict[str, list[Message]]:
    """The words of tables and menus (docs/tables.toml): "headings", "labels", "choices", and "cells", which tables have."""
    listed, where = tomllib.loads(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix()
    cells = []
    for name, columns in listed["cells"].items():
        with (ROOT / "course_utils" / "csv" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        cells += [
            Message(row[column].strip(), f"csv/{name}.csv:{column}", code_text.SHOWN) for column in columns for row in rows
        ]
    words = ("headings", "labels", "choices")
    return {
        **{part: [Message(text, where, code_text.SHOWN) for text in listed[part]] for part in words},
        "cells": [cell for cell in cells if _WORD.search(cell.text)],
    }


def _marked(tree: ast.Module, names: Collection[str]) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            texts = node.args[:1]
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == "WORDS":
            texts = node.value.values
        yield from (text for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str))


def of_templates(folder: Path) -> list[Message]:
    """The messages of the site's templates: what stands in `t("…")`."""
    return [
        Message(double or single, path.relative_to(ROOT).as_posix(), code_text.SHOWN)
        for path in sorted(folder.rglob("*.html"))
        for double, single in re.findall(r"\bt\((?:\"([^\"]+)\"|'([^']+)')", path.read_text(encoding="utf-8"))
    ]


def of_markdown(path: Path) -> list[Message]:
    """The messages of a page such as the README, without the part that the build writes into it in each language."""
    where = path.relative_to(ROOT).as_posix()
    source = _WRITTEN.sub("", path.read_text(encoding="utf-8"))
    return [Message(text, where, PROSE) for text in markdown_blocks.messages(source)]
