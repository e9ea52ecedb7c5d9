"""Lay what a student handed in over the lab that was given out.

A submission may be damaged in every way that a file, a browser, Colab or a hurried hand can damage it. What counts is found
again by id, then by content: the student's answers and own cells are kept, locked cells come from the lab, and what cannot
be found is reported with its reason. Nothing here raises for what a student did, but `Unreadable`.
"""

from __future__ import annotations

import ast
import copy
import difflib
import json
import re
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbformat import NotebookNode

from .markdown import picture

_SIMILAR = 0.6  # of the characters, for a cell that has lost its id and its function's name
_CELLS = 2_000  # more cells than this is no notebook that a person wrote
_ATTACHMENTS = 20  # pictures of one cell that are kept


class Unreadable(Exception):
    """The file is not a notebook; the message is the reason, for the student."""


@dataclass
class Restored:
    """The lab with the student's answers in it."""

    notebook: NotebookNode
    answered: set[str] = field(default_factory=set)  # exercises with something in them
    reasons: dict[str, str] = field(default_factory=dict)  # exercise → why it has no answer, or what was mended
    notes: list[str] = field(default_factory=list)  # about the notebook as a whole


@dataclass
class _Cell:
    kind: str
    source: str
    ids: tuple[str, ...]
    grade_id: str
    attachments: dict[str, dict[str, str]] = field(default_factory=dict)  # pictures pasted into it
    place: str | None = None  # id of the lab's cell that this one is


def read(data: bytes) -> list[_Cell]:
    """The cells of a submission, without outputs.

    Raises:
        Unreadable
    """
    if not data.strip():
        raise Unreadable("the file is empty")
    try:
        raw = json.loads(_text(data))
    except RecursionError:
        raise Unreadable("the file is not a notebook: its JSON is nested too deep") from None
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its first bytes"
        raise Unreadable(f"the file is not a notebook: it is not JSON (from {where} on)") from None
    if not isinstance(raw, dict):
        raise Unreadable("the file is JSON, but not a notebook")
    cells = raw.get("cells")
    if cells is None and isinstance(raw.get("worksheets"), list):  # nbformat 3
        cells = [c for sheet in raw["worksheets"] if isinstance(sheet, dict) for c in sheet.get("cells") or []]
    if not isinstance(cells, list):
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    if len(cells) > _CELLS:
        raise Unreadable(f"the notebook has {len(cells)} cells, and a lab has less than {_CELLS}")
    return [_cell(cell) for cell in cells if isinstance(cell, dict)]


def _text(data: bytes) -> str:
    """Text of a file with or without a byte order mark, as UTF-8 or UTF-16."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding)
    return data.decode("utf-8")


def _cell(raw: dict[str, Any]) -> _Cell:
    source = raw.get("source", raw.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = _mapping(raw.get("metadata"))
    grading = _mapping(metadata.get("nbgrader"))
    ids = tuple(str(i) for i in (raw.get("id"), metadata.get("id")) if isinstance(i, str))
    grade_id = grading.get("grade_id")
    source = source if isinstance(source, str) else ""
    source = source.replace("\r\n", "\n").encode("utf-8", "replace").decode("utf-8")
    kind = str(raw.get("cell_type"))
    return _Cell(kind, source, ids, grade_id if isinstance(grade_id, str) else "", _attachments(raw.get("attachments")))


def _attachments(given: Any) -> dict[str, dict[str, str]]:
    """Pasted pictures as nbformat has them, file name → type → base64; what is no picture is left out."""
    found: dict[str, dict[str, str]] = {}
    for name, kinds in _mapping(given).items():
        for mime, data in _mapping(kinds).items():
            if len(found) < _ATTACHMENTS and (made := picture(mime, data)):
                found[name.encode("utf-8", "replace").decode()] = {mime: made.partition(",")[2]}
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def restore(cells: list[_Cell], lab: NotebookNode) -> Restored:
    """The lab's notebook with the student's answers and own cells."""
    by_id = {cell.id: cell for cell in lab.cells}
    _match(cells, lab)
    chapter = lab.metadata.course.chapter
    if not any(cell.place and _is(by_id[cell.place], "solution") for cell in cells):
        empty = Restored(copy.deepcopy(lab))
        for name in _exercises(lab):
            empty.reasons[name] = f"none of the exercises of {chapter} is in this notebook: is it another lab's?"
        empty.notes.append(f"none of the exercises of {chapter} was found")
        return empty

    own: dict[str | None, list[_Cell]] = {}  # own cells, by the lab's cell that they follow
    after: str | None = None
    for cell in cells:
        if cell.place:
            after = cell.place
        elif cell.source.strip() and cell.kind in ("code", "markdown", "raw", "heading"):
            own.setdefault(after, []).append(cell)

    result = Restored(copy.deepcopy(lab))
    result.notebook.cells = [_own(cell, n) for n, cell in enumerate(own.get(None, []))]
    count = len(result.notebook.cells)
    for given in lab.cells:
        theirs = [cell for cell in cells if cell.place == given.id]
        restored = copy.deepcopy(given)
        if _is(given, "solution"):
            _answer(restored, theirs, result)
        elif given.cell_type == "code" and not _is(given, "locked") and theirs:
            changed = [c for c in theirs if c.kind == "code" and c.source.strip() and not _same(c.source, given.source)]
            if changed:
                restored.source = changed[-1].source
        result.notebook.cells.append(restored)
        for cell in own.get(given.id, []):
            result.notebook.cells.append(_own(cell, count))
            count += 1
    return result


def _match(cells: list[_Cell], lab: NotebookNode) -> None:
    """Say of each of the student's cells which of the lab's it is: by nbgrader's id, by the cell's, by content."""
    answers = [cell for cell in lab.cells if _is(cell, "solution")]
    defines = {cell.id: _defined(cell.source) for cell in answers}
    grades = {cell.metadata.nbgrader.grade_id: cell.id for cell in lab.cells if "nbgrader" in cell.metadata}
    ids = {cell.id for cell in lab.cells}
    texts: dict[str, str] = {}
    for cell in lab.cells:
        texts.setdefault(_squeezed(cell.source), cell.id)
    for cell in cells:
        by_content = [i for i, names in defines.items() if names & _defined(cell.source)]
        named = grades.get(cell.grade_id) or next((i for i in cell.ids if i in ids), None)
        same = texts.get(_squeezed(cell.source))
        if same and same not in defines:
            cell.place = same  # one of the lab's own cells, whatever its metadata says now
        elif by_content and named not in by_content:
            cell.place = by_content[0]  # what it defines says more than a label that was lost or copied
        else:
            cell.place = named
    missing = [c for c in answers if c.id not in {cell.place for cell in cells}]
    for answer in missing:
        loose = [c for c in cells if not c.place and c.kind == "code" and len(c.source) > 40]
        ratios = [(difflib.SequenceMatcher(None, answer.source, c.source, autojunk=False).quick_ratio(), c) for c in loose]
        best = max(ratios, key=lambda pair: pair[0], default=None)
        if best and best[0] >= _SIMILAR and best[1].source.lstrip().startswith(("def ", "class ", "import ", "from ", "@")):
            best[1].place = answer.id


def _answer(given: NotebookNode, theirs: list[_Cell], result: Restored) -> None:
    """Put the student's answer into the lab's cell, or say why there is none."""
    name = given.metadata.nbgrader.grade_id
    written = [c for c in theirs if c.source.strip() and not _same(c.source, given.source)]
    if not theirs:
        result.reasons[name] = "no cell with this exercise was found in the notebook"
        return
    if not written:
        result.reasons[name] = "not answered"
        return
    sources = list(dict.fromkeys(c.source for c in written))
    if any(c.kind != "code" for c in written):
        result.reasons[name] = "its cell had another type than code; it was run as code"
    if len(sources) > 1:
        whole = [s for s in sources if _compiles(s) and _defined(s) >= _defined(given.source)]
        joined = "\n".join(sources)
        if not whole or (_compiles(joined) and not all(_compiles(s) for s in sources)):
            result.reasons[name] = "its cell was split; the parts were joined"
            sources = [joined]
        else:
            result.reasons[name] = "answered more than once; the last one counts"
            sources = whole[-1:]
    given.source = sources[0]
    result.answered.add(name)


def _own(cell: _Cell, number: int) -> NotebookNode:
    if cell.kind == "code":
        return nbformat.v4.new_code_cell(cell.source, id=f"own-{number}")
    made = nbformat.v4.new_markdown_cell(cell.source, id=f"own-{number}")
    if cell.attachments:
        made["attachments"] = nbformat.from_dict(cell.attachments)
    return made


def _is(cell: NotebookNode, flag: str) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get(flag, False))


def _exercises(lab: NotebookNode) -> list[str]:
    return [cell.metadata.nbgrader.grade_id for cell in lab.cells if _is(cell, "solution")]


def _squeezed(source: str) -> str:
    return re.sub(r"\s+", " ", source).strip()


def _same(one: str, other: str) -> bool:
    return _squeezed(one) == _squeezed(other)


def _compiles(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _defined(source: str) -> set[str]:
    """Names of the functions and classes that a cell defines, also one with a syntax error."""
    return set(re.findall(r"^(?:async +)?(?:def|class) +([A-Za-z_]\w*)", source, re.MULTILINE))
