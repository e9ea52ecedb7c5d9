"""Lay what a student handed in over the lab that was given out.

A submission may be damaged in every way that a file, a browser, Colab or a hurried hand can damage it. What counts is found
again by id, then by content: the student's answers and own cells are kept, locked cells come from the lab, and what cannot
be found is reported with its reason. Nothing here raises for what a student did, but `Unreadable`.

If a notebook passes its visible tests from top to bottom, so does what is restored from it: no code that a student wrote is
left out. A copy of a cell that has become something else, a helper in a copied answer or test cell, is a cell of the
student's own and stays where it was. Where a second answer could be meant, it is kept to be tried (`alternatives`). And
where all this puts another order or another choice of code in place of the student's, theirs is kept too (`as_it_was`), to
be run for the exercises whose tests fail.
"""

from __future__ import annotations

import ast
import copy
import difflib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import nbformat
from nbformat import NotebookNode

from .markdown import picture

_SIMILAR = 0.6  # of the characters, for a cell that has lost its id and its function's name
_CELLS = 2_000  # more cells than this is no notebook that a person wrote
_ATTACHMENTS = 20  # pictures of one cell that are kept
_VALUES = 20_000_000  # of its JSON, each of which costs fifty bytes or more once it is read
_LONG = 100_000  # characters of a cell that is read as Python
_CODE = 10_000_000  # characters of all code cells
_ESCAPED = re.compile(
    r"^([ \t]*)(?:([\w, ]+= *)?([%!])|(?:\?|[\w.]+\?))(.*)$", re.MULTILINE
)  # %magic, x = !ls, ?name, name?


class Unreadable(Exception):
    """The file is not a notebook; the message is the reason, for the student."""


@dataclass
class Restored:
    """The lab with the student's answers in it."""

    notebook: NotebookNode
    answered: set[str] = field(default_factory=set)  # exercises with something in them
    reasons: dict[str, str] = field(default_factory=dict)  # exercise → why it has no answer, or what was mended
    notes: list[str] = field(default_factory=list)  # about the notebook as a whole
    alternatives: dict[str, list[str]] = field(default_factory=dict)  # exercise → other answers, for when its tests fail
    names: dict[str, set[str]] = field(default_factory=dict)  # exercise → what it is to define
    changed: dict[str, str] = field(default_factory=dict)  # id of a lab's cell that the student changed → as it was given
    as_it_was: NotebookNode | None = None  # the student's code in its own order, where that is another one


@dataclass
class _Cell:
    kind: str
    source: str
    ids: tuple[str, ...]
    grade_id: str
    attachments: dict[str, dict[str, str]] = field(default_factory=dict)  # pictures pasted into it
    place: str | None = None  # id of the lab's cell that this one is
    named: str | None = None  # id of the lab's cell whose label it has
    answers: tuple[str, ...] = ()  # ids of the lab's exercises that it may be an answer to, by what it defines

    @property
    def written(self) -> bool:
        return bool(self.source.strip())


def read(data: bytes) -> list[_Cell]:
    """The cells of a submission, without outputs.

    Raises:
        Unreadable
    """
    if not data.strip():
        raise Unreadable("the file is empty")
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > _VALUES:
        raise Unreadable(f"the file has more than {_VALUES // 1_000_000} million values: save it without its outputs")
    try:
        raw = json.loads(_text(data))
    except RecursionError:
        raise Unreadable("the file is not a notebook: its JSON is nested too deep") from None
    except MemoryError:
        raise Unreadable("the file needs more memory than a grader has: save it without its outputs") from None
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its first bytes"
        raise Unreadable(
            f"the file is not a notebook: it is not JSON (from {where} on): download it again, as .ipynb"
        ) from None
    if not isinstance(raw, dict):
        raise Unreadable("the file is JSON, but not a notebook")
    cells = raw.get("cells")
    if cells is None and isinstance(raw.get("worksheets"), list):  # nbformat 3
        cells = [c for sheet in raw["worksheets"] if isinstance(sheet, dict) for c in sheet.get("cells") or []]
    if not isinstance(cells, list):
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    if len(cells) > _CELLS:
        raise Unreadable(f"the notebook has {len(cells)} cells, and a lab has less than {_CELLS}")
    parsed = [_cell(cell) for cell in cells if isinstance(cell, dict)]
    if sum(len(cell.source) for cell in parsed if cell.kind == "code") > _CODE:
        raise Unreadable(f"the notebook has more than {_CODE // 1_000_000} million characters of code")
    return parsed


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
    attachments: dict[str, dict[str, str]] = {}
    for name, kinds in _mapping(given).items():
        for mime, data in _mapping(kinds).items():
            if len(attachments) < _ATTACHMENTS and (made := picture(mime, data)):
                attachments[name.encode("utf-8", "replace").decode()] = {mime: made.partition(",")[2]}
    return attachments


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def restore(cells: list[_Cell], lab: NotebookNode, translations: Mapping[str, str] = MappingProxyType({})) -> Restored:
    """The lab's notebook with the student's answers and own cells.

    Args:
        translations: cells of the lab in another language, their white space squeezed → the same in English.
    """
    for cell in cells:
        cell.source = translations.get(squeezed(cell.source), cell.source)
    result = Restored(copy.deepcopy(lab))
    result.names = {c.metadata.nbgrader.grade_id: _defined(c.source) for c in lab.cells if _is(c, "solution")}
    _recognize(cells, lab)
    exercises = {cell.id: cell for cell in lab.cells if _is(cell, "solution")}
    tests = {cell.metadata.nbgrader.grade_id.removesuffix("-tests"): cell.id for cell in lab.cells if _is(cell, "locked")}
    if not any(cell.answers or cell.named in exercises for cell in cells):
        chapter = lab.metadata.course.chapter
        for cell in exercises.values():
            reason = f"none of the exercises of {chapter} is in this notebook: is it another lab's?"
            result.reasons[cell.metadata.nbgrader.grade_id] = reason
        result.notes.append(f"none of the exercises of {chapter} was found")
        return result

    for given in lab.cells:
        if given.id not in exercises:
            _given(given, [cell for cell in cells if cell.named == given.id and not cell.answers], result)
    answers = {
        given.id: _answer(given, cells, tests.get(given.metadata.nbgrader.grade_id), result) for given in exercises.values()
    }
    sources = {cell.id: cell for cell in result.notebook.cells}
    used: dict[str, str] = {}  # an answer → the exercise whose cell it stands in
    for place, source in answers.items():
        if source is None:
            continue
        name = exercises[place].metadata.nbgrader.grade_id
        result.answered.add(name)
        sources[place].source = f"# answered in the cell of {used[source]}" if source in used else source
        used.setdefault(source, name)

    placed = {cell.place for cell in cells}
    marks = {cell.named: cell for cell in cells if cell.named not in placed}  # where a changed cell of the lab stood
    own: dict[str | None, list[_Cell]] = {}  # own cells, by the lab's cell that they follow
    after: str | None = None
    for cell in cells:
        if cell.place or marks.get(cell.named) is cell:
            after = cell.place or cell.named
        if not cell.place and cell.written and cell.kind in ("code", "markdown", "raw", "heading"):
            own.setdefault(after, []).append(cell)
    ordered, count = [], 0
    for place, given in [(None, None), *((cell.id, cell) for cell in result.notebook.cells)]:
        ordered += [given] if given else []
        ordered += [_own(cell, count + i) for i, cell in enumerate(own.get(place, []))]
        count += len(own.get(place, []))
    result.notebook.cells = ordered
    theirs = _as_it_was(cells, lab)
    if _running(theirs) != _running(result.notebook):
        result.as_it_was = theirs
    return result


def _as_it_was(cells: list[_Cell], lab: NotebookNode) -> NotebookNode:
    """A student's code, cell after cell, with the lab's own tests beside what stands there for them, or else at the end."""
    given = {cell.id: cell for cell in lab.cells if cell.cell_type == "code"}
    tests = {cell.id: cell for cell in given.values() if _is(cell, "locked")}
    answers = {cell.metadata.nbgrader.grade_id: cell.id for cell in lab.cells if _is(cell, "solution")}
    code = [cell for cell in cells if cell.kind == "code" and cell.written]
    where = {place: _place_of_tests(test, code) for place, test in tests.items()}
    judged = {
        answers.get(test.metadata.nbgrader.grade_id.removesuffix("-tests")): where[place] for place, test in tests.items()
    }
    ordered: dict[str, NotebookNode] = {}
    for number, cell in enumerate(code):
        here = cell.place or ""
        if here in given and here not in {*ordered, *tests} and number <= judged.get(here, number):
            ordered[here] = NotebookNode({**given[here], "source": cell.source})
        elif here not in tests:
            made = _own(cell, number)
            ordered[made.id] = made
        ordered |= {place: test for place, test in tests.items() if where[place] == number}
    return NotebookNode(
        {**lab, "cells": [*ordered.values(), *(tests[place] for place in tests if where[place] == len(code))]}
    )


def _place_of_tests(test: NotebookNode, code: list[_Cell]) -> int:
    """Number of the cell that stands in a student's notebook for a lab's tests; that of the end when there is none."""
    text = squeezed(test.source)
    for stands in (
        lambda cell: cell.place == test.id,
        lambda cell: text in squeezed(cell.source),
        lambda cell: cell.named == test.id,
    ):
        if places := [number for number, cell in enumerate(code) if stands(cell)]:
            return places[-1]
    return len(code)


def _running(notebook: NotebookNode) -> list[str]:
    """The sources of what runs in a notebook."""
    return [
        cell.source for cell in notebook.cells
        if cell.cell_type == "code" and re.search(r"^\s*[^#\s]", cell.source, re.MULTILINE)
    ]  # fmt: skip


def _recognize(cells: list[_Cell], lab: NotebookNode) -> None:
    """Say of each of the student's cells what it may be: by nbgrader's id, by the cell's, by content."""
    exercises = [cell for cell in lab.cells if _is(cell, "solution")]
    wanted = {cell.id: _defined(cell.source) for cell in exercises}
    grades = {cell.metadata.nbgrader.grade_id: cell.id for cell in lab.cells if "nbgrader" in cell.metadata}
    texts: dict[str, str] = {}
    for cell in lab.cells:
        texts.setdefault(squeezed(cell.source), cell.id)
    ids, recognized = {cell.id for cell in lab.cells}, set()
    for cell in cells:
        cell.named = grades.get(cell.grade_id) or next((i for i in cell.ids if i in ids), None)
        mentions = any(name in cell.source for names in wanted.values() for name in names)
        given = _answers(cell.source) if mentions else frozenset()
        cell.answers = tuple(place for place, names in wanted.items() if names & given)
        same = texts.get(squeezed(cell.source)) if cell.written else cell.named
        if same and (
            same in wanted or same not in recognized
        ):  # the lab's own cell, whatever its label says; or the bare stub
            cell.place, cell.named, cell.answers = same, same, ()
            recognized.add(same)
        elif same:  # one more copy, such as the imports again after %reset
            cell.named, cell.answers = None, ()
    known = {place for cell in cells for place in (*cell.answers, cell.named)}
    for exercise in exercises:
        if exercise.id not in known and (likest := _likest(exercise.source, cells)):
            likest.answers = (exercise.id,)


def _likest(source: str, cells: list[_Cell]) -> _Cell | None:
    """The nameless cell that looks like an exercise which has lost its id and its function's name."""
    loose = [c for c in cells if not (c.place or c.named or c.answers) and c.kind == "code" and 40 < len(c.source) < _LONG]
    ratios = [(difflib.SequenceMatcher(None, source, c.source, autojunk=False).quick_ratio(), c) for c in loose[:200]]
    ratio, best = max(ratios, key=lambda pair: pair[0], default=(0.0, None))
    begins = best is not None and best.source.lstrip().startswith(("def ", "class ", "import ", "from ", "@"))
    return best if ratio >= _SIMILAR and begins else None


def _given(given: NotebookNode, theirs: list[_Cell], result: Restored) -> None:
    """One of the lab's own cells: as it was given, or as the student changed it. What is another cell now is their own."""
    if any(cell.place == given.id for cell in theirs):
        return
    if given.cell_type != "code" or _is(given, "locked"):
        for cell in theirs:
            cell.place = given.id if cell.kind != "code" else None
        return
    names = bound(given.source)
    changed = [c for c in theirs if c.kind == "code" and c.written and (not names or names & bound(c.source))]
    if not changed:
        return
    best = max(enumerate(changed), key=lambda pair: (len(names & bound(pair[1].source)), pair[0]))[1]
    best.place = given.id
    result.changed[given.id] = given.source
    next(cell for cell in result.notebook.cells if cell.id == given.id).source = best.source


def _answer(given: NotebookNode, cells: list[_Cell], tests: str | None, result: Restored) -> str | None:
    """The student's answer to an exercise; None, with the reason, when there is none."""
    name, wanted = given.metadata.nbgrader.grade_id, _defined(given.source)
    theirs = [cell for cell in cells if given.id in cell.answers or (cell.named == given.id and not cell.answers)]
    written = [cell for cell in theirs if cell.written and cell.place != given.id]
    if not theirs:
        result.reasons[name] = "no cell with this exercise was found in the notebook"
        return None
    if not written:
        result.reasons[name] = "not answered"
        return None
    code = [cell for cell in written if cell.kind == "code"]
    if not code:
        result.reasons[name] = "its cell had another type than code; it was run as code"
    written = code or written
    whole = [cell for cell in written if _compiles(cell.source) and (not wanted or _answers(cell.source) >= wanted)]
    labelled = [cell for cell in whole if cell.named == given.id]
    if not whole:
        mine = [cell for cell in written if cell.named == given.id]
        if wanted and {name for cell in mine for name in _answers(cell.source)} >= wanted:
            written = mine
        parts = list({cell.source: cell for cell in written}.values())
        if len(parts) > 1:
            result.reasons[name] = "its cell was split; the parts were joined"
        for cell in written:
            cell.place = given.id
        return "\n".join(cell.source for cell in parts)
    if labelled:
        chosen = labelled[-1]
    else:  # cells without a label: the one that was in force when the tests ran
        place = next((i for i, cell in enumerate(cells) if tests and cell.named == tests), len(cells))
        chosen = ([cell for cell in whole if cells.index(cell) < place] or whole)[-1]
    for cell in whole:
        if cell.source == chosen.source:
            cell.place = cell.place or given.id
    others = list(dict.fromkeys(cell.source for cell in reversed(whole) if cell.source != chosen.source))
    if others:
        result.alternatives[name] = others
    if len({cell.source for cell in labelled}) > 1:
        result.reasons[name] = "answered more than once; the last one counts"
    return chosen.source


def _own(cell: _Cell, number: int) -> NotebookNode:
    if cell.kind == "code":
        return nbformat.v4.new_code_cell(cell.source, id=f"own-{number}")
    made = nbformat.v4.new_markdown_cell(cell.source, id=f"own-{number}")
    if cell.attachments:
        made["attachments"] = nbformat.from_dict(cell.attachments)
    return made


def _is(cell: NotebookNode, flag: str) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get(flag, False))


def squeezed(source: str) -> str:
    """A cell's source, whatever its white space."""
    return " ".join(source.split())


def _compiles(source: str) -> bool:
    return len(source) > _LONG or _tree(source) is not None


@lru_cache(maxsize=1000)
def _tree(source: str) -> ast.Module | None:
    """A cell as Python; None when it is none."""
    readings: tuple[Callable[[str], str], ...] = (str, _of_ipython)
    for reading in readings:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a student's code
                return ast.parse(reading(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # not in this reading: the next one
            continue
    return None


def _of_ipython(source: str) -> str:
    """A cell with IPython's own lines as Python; what it does itself takes minutes for some hundred such lines."""
    from IPython.core.inputtransformer2 import TransformerManager

    lines = re.sub(r"\A\s*%%(?:time|timeit|capture|prun)\b.*", "", source).splitlines(keepends=True)
    manager = TransformerManager()
    transforms: list[Any] = [*manager.cleanup_transforms, *manager.line_transforms]
    for transform in transforms:
        lines = transform(lines)
    return _ESCAPED.sub(_call, "".join(lines))


def _call(line: re.Match[str]) -> str:
    indent, target, sign, rest = line.groups(default="")
    if not sign:
        return f"{indent}pass"
    if sign == "%":
        name, _, arguments = rest.partition(" ")
        return f"{indent}{target}get_ipython().run_line_magic({name!r}, {arguments!r})"
    return f"{indent}{target}get_ipython().{'getoutput' if target else 'system'}({rest!r})"


def statements(source: str) -> list[str]:
    """A cell's statements, each as a cell of its own; one when it is no Python."""
    tree = _tree(source) if len(source) < _LONG else None
    return [ast.unparse(node) for node in tree.body] if tree else [source]


def _defined(source: str) -> set[str]:
    """Names of the functions and classes that a cell defines, also one with a syntax error."""
    return set(re.findall(r"^(?:async +)?(?:def|class) +([A-Za-z_]\w*)", source, re.MULTILINE))


@lru_cache(maxsize=1000)
def _answers(source: str) -> frozenset[str]:
    """Names that a cell gives something that can be called: a function or class, also in an if, or a lambda with a name."""
    names = _defined(source)
    for node in _nodes(source):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Lambda, ast.Call, ast.Name, ast.Attribute)):
            mentioned = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)} - mentioned
    return frozenset(names)


def bound(source: str) -> set[str]:
    """All names that a cell binds."""
    bound_names = _defined(source)
    for node in _nodes(source):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound_names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound_names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            parts = [node.target, node.iter] if isinstance(node, ast.For) else [node]
            inner = [n for part in parts for n in ast.walk(part) if not isinstance(node, (ast.If, ast.Try, ast.While))]
            bound_names |= {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bound_names


def _nodes(source: str) -> Iterator[ast.stmt]:
    """The statements of a cell that run when it is run, also those in an if, a loop, a try or a with."""
    tree = _tree(source) if len(source) < _LONG else None
    todo: list[ast.AST] = [*tree.body] if tree else []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.ExceptHandler)):
            todo += ast.iter_child_nodes(node)
