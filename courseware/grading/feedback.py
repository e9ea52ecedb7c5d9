"""What a feedback page says: from a result, the gradebook and the lab, to plain data that a worker makes a page of."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import nbformat

from .. import mathml
from ..build import COLAB_TAG
from ..chapters import repository, tags
from ..files import whole
from . import feedback_page, markdown
from .autograde import Result
from .verdict import Lab

_TAIL = 4096  # bytes at the end of a file, where its key stands
_MAKERS = ("feedback_page.py", "markdown.py", "messages.py", "feedback.py", "../mathml.py", "../templates/feedback/page.css")
_SAFE = re.compile(r"[^<>&\[\]`$\\*_|~]*")  # what Markdown and HTML read nothing into


class Pages:
    """The pages of one lab."""

    def __init__(self, lab: Lab, cache: Path) -> None:
        self.lab, self.cache = lab, cache
        self.cells = nbformat.reads(lab.release, as_version=4).cells
        in_chinese = nbformat.reads(lab.release, as_version=4).cells
        for cell in in_chinese:
            cell.source = lab.chinese.get(cell.source, cell.source)
        self.title, self.sections = _title(self.cells, lab.name), dict(_sections(self.cells))
        self.headings = {
            "en": (self.title, self.sections),
            "zh": (_title(in_chinese, lab.name), dict(_sections(in_chinese))),
        }
        self.given = {c.metadata.nbgrader.grade_id: c.source for c in self.cells if _is_answer(c)}

    def shared(self) -> feedback_page.Lab:
        """What all pages share; made when the first page is."""
        return self._shared

    @cached_property
    def _shared(self) -> feedback_page.Lab:
        prose = {cell.id: cell.source for cell in self.cells if cell.cell_type == "markdown"}
        hidden = [cell.id for cell in self.cells if COLAB_TAG in tags(cell) or cell.id == "colab-link"]
        made = "".join(markdown.rendered(source) for source in prose.values())
        return feedback_page.Lab(prose, hidden, repository(), self._font(made), self.lab.chinese)

    def _font(self, made: str) -> str:
        """The font of the lab's formulas; choosing its letters takes seconds, so it is kept."""
        if "<math" not in made:
            return ""
        path = self.cache / f"formulas-{hashlib.sha256(made.encode()).hexdigest()[:16]}.woff2"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as scratch:
                scratch.write_bytes(mathml.font(made))
        return base64.b64encode(path.read_bytes()).decode()

    def about(self, result: Result, graded: Any, lang: str) -> feedback_page.About:
        """The facts of one page. `graded` is nbgrader's submission, with what a person changed in it."""
        who = result.about
        (notebook,) = graded.notebooks
        grades = {grade.name: (float(grade.score), float(grade.max_score)) for grade in notebook.grades}
        comments = {comment.name: comment.manual_comment or "" for comment in notebook.comments}
        title, sections = self.headings[lang]
        lines, all_messages = [], messages_of(result, self.lab.exercises)
        for name in self.lab.exercises:
            tests = {f"{name}-{kind}": grades[f"{name}-{kind}"] for kind in ("tests", "hidden")}
            earned, most = (sum(points[i] for points in tests.values()) for i in (0, 1))
            section, comment = sections.get(name, ""), comments.get(name, "")
            lines.append(feedback_page.Line(name, section, earned, most, tests, all_messages[name], comment))
        made = feedback_page.About(
            who.get("id") or result.student, who.get("name", ""), title, score(result, graded), float(graded.max_score),
            lines, notes(result), result.file, bool(who.get("late")), lang,
        )  # fmt: skip
        state = [result.key, made.__dict__ | {"lines": [line.__dict__ for line in lines]}, _makers()]
        made.key = hashlib.sha256(json.dumps(state, default=str).encode("utf-8", "replace")).hexdigest()
        made.notebook = result.notebook
        return made

    def answers(self, notebook: str) -> dict[str, str]:
        """What a student has written, by exercise."""
        sources = {}
        for cell in json.loads(notebook)["cells"] if notebook else []:
            name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
            source = "".join(cell["source"])
            if name in self.given and source.strip() and source != self.given[name]:
                sources[name] = source
        return sources


def messages_of(result: Result, exercises: Iterable[str]) -> dict[str, list[list[str]]]:
    """What is said of each exercise, also of one that was not run."""
    return {
        name: result.messages.get(name) or ([["note", result.reasons[name]]] if name in result.reasons else [])
        for name in exercises
    }


def score(result: Result, graded: Any) -> float | None:
    """The points of nbgrader's submission; None where there is no verdict, and nobody gave any by hand."""
    by_hand = any(grade.manual_score is not None for notebook in graded.notebooks for grade in notebook.grades)
    return float(graded.score) if result.key or by_hand else None


def notes(result: Result) -> list[str]:
    """What there is to say about a submission as a whole."""
    unsafe = "graded WITHOUT a box (--unsafe)" if result.box == "unsafe" else ""
    return list(filter(None, [unsafe, result.about.get("file_note"), result.note]))


def quoted(reason: str) -> str:
    """A reason for nbgrader's own pages, which read Markdown and HTML into comments: what could be either becomes code."""
    if _SAFE.fullmatch(reason):
        return reason
    fence = "`" * (max((len(run) for run in re.findall(r"`+", reason)), default=0) + 3)
    return f"{fence}\n{reason}\n{fence}"


def ends_with(path: Path, key: str) -> bool:
    """Was this file made for this key?"""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            return key.encode() in file.read()
    except OSError:  # no page yet
        return False


def _title(cells: list[Any], otherwise: str) -> str:
    """The lab's first line of prose, without marks."""
    first = next((line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()), otherwise)
    return re.sub(r"[*_`#]", "", first).strip()


def _sections(cells: list[Any]) -> list[tuple[str, str]]:
    """Each exercise and the heading that it stands under."""
    heading, sections = "", []
    for cell in cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{2,4} +(.+)$", cell.source, re.MULTILINE)
            heading = re.sub(r"[*_`$]", "", headings[-1]).strip() if headings else heading
        elif _is_answer(cell):
            sections.append((cell.metadata.nbgrader.grade_id, heading))
    return sections


def _is_answer(cell: Any) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


@lru_cache
def _makers() -> str:
    """Changes when the code that makes pages does."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in _MAKERS)).hexdigest()
