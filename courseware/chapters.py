"""A chapter's sources and what an author marks in them.

Sources are jupytext py:percent files. A cell's tags say what it is:

    exercise:NAME       the solution, between ### BEGIN SOLUTION and ### END SOLUTION
    tests:NAME:POINTS   visible tests of it
    hidden:NAME:POINTS  hidden tests of it: the functions probe(), visible() and check(got, want); see grading/verdict.py.
                        `# because: …` beside a case says what kind of input it is; see grading/failing_cases.py
    mutant:NAME         (in mutants.py) a wrong solution that the tests must reject
    experiment          a slow cell that no graded cell needs
    ladder              a cell that the chapter's own command runs too, to make tables (resumable_table.py)
    hide-input          code that is folded: the reader runs it, and opens it to read it

In a lecture: slide, subslide, fragment, notes, skip override where a cell stands on the slides.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from course_utils.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent
ROLES = ("exercise", "tests", "hidden", "mutant")
SLIDE_TAGS = ("slide", "subslide", "fragment", "notes", "skip")
NBVAL_TAGS = ("nbval-check-output", "nbval-ignore-output", "nbval-skip")
ENGLISH = "en"
FOLDERS = {"zh_CN": "zh"}  # the other languages, and the folders of their notebooks
PLAIN_TAGS = ("experiment", "ladder", "raises-exception", "hide-input", *SLIDE_TAGS, *NBVAL_TAGS)


def N_(message: str) -> str:
    """Marks a message that `course translate` extracts; what shows it looks the translation up."""
    return message


def words(language: str) -> Callable[..., str]:
    """What says the course's own messages, which stand in `N_`, in a language, with values in their fields."""
    if language == ENGLISH:
        return lambda message, **values: message.format(**values) if values else message
    from .translation import catalogue  # which knows chapters

    known = catalogue.load(catalogue.path_of(language, "courseware"))
    return lambda message, **values: known.say(message).format(**values) if values else known.say(message)


class ChapterError(CourseError):
    """A source that cannot be built; the message names the file, the cell and what to do."""


@dataclass(frozen=True)
class Chapter:
    """One folder of `chapters/`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def root(self) -> Path:
        """The course that it is part of: sources in `chapters/`, what is built from them beside that."""
        return self.folder.parents[1]

    @property
    def lecture_source(self) -> Path:
        return self.folder / "lecture.py"

    @property
    def lab_source(self) -> Path:
        return self.folder / "lab.py"

    @property
    def lecture(self) -> Path:
        """The lecture, executed."""
        return self.root / "lectures" / f"{self.name}.ipynb"

    @property
    def lab(self) -> Path:
        """The student's notebook."""
        return self.root / "labs" / f"{self.name}.ipynb"

    def catalogue(self, language: str) -> Path:
        """The chapter's translations; there may be none yet."""
        return self.root / "locale" / language / f"{self.name}.po"

    def catalogues(self) -> list[Path]:
        """Those that there are, of all languages."""
        return [path for language in FOLDERS if (path := self.catalogue(language)).exists()]

    @property
    def solution(self) -> Path:
        """The solved lab, executed: the instructor's key."""
        return self.folder / "solution.ipynb"


def all_chapters(root: Path = ROOT) -> list[Chapter]:
    """Every chapter, in order.

    Raises:
        ChapterError: a folder has no lab, or no chapter's name.
    """
    folders = [folder for folder in sorted((root / "chapters").iterdir()) if folder.is_dir() and any(folder.glob("*.py"))]
    for folder in folders:
        if not re.fullmatch(r"\d\d_[a-z0-9_]+", folder.name):
            raise ChapterError(
                f"chapters/{folder.name}: a chapter's folder is named like 10_quantization; rename or move it."
            )
        if not (folder / "lab.py").exists():
            raise _lacks(folder / "lab.py")
    return [Chapter(folder) for folder in folders]


def _lacks(source: Path) -> ChapterError:
    return ChapterError(
        f"chapters/{source.parent.name} has no {source.name}: a chapter is a lecture.py, a lab.py and a mutants.py."
    )


def chapter(name: str) -> Chapter:
    """A chapter by its name or number: "10_quantization", "10".

    Raises:
        ChapterError: there is none.
    """
    matching = [c for c in all_chapters() if c.name == name or c.name.split("_")[0] == name.zfill(2)]
    if not matching:
        raise ChapterError(f"There is no chapter {name!r}. There are: {', '.join(c.name for c in all_chapters())}.")
    return matching[0]


def read(path: Path) -> NotebookNode:
    """A source file as a notebook.

    Raises:
        ChapterError: there is no such file.
    """
    if not path.exists():
        raise _lacks(path)
    return copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))


@lru_cache(maxsize=64)
def _parsed(text: str) -> NotebookNode:
    import jupytext

    return jupytext.reads(text, fmt="py:percent")


def first_lines(text: str) -> list[int]:
    """The line at which each cell of a source begins, counted from 1."""
    return [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"# %%( |$)", line)]


class UnreadableError(ChapterError):
    """What stands where a built notebook should be is none; `why` is the short form."""

    def __init__(self, path: Path, why: str) -> None:
        name = path.parent.name if path.name == "solution.ipynb" else path.stem
        language = next((f" --lang {other}" for other, folder in FOLDERS.items() if folder == path.parent.name), "")
        place = "/".join(path.parts[-3 if language else -2 :])
        super().__init__(f"{place} {why}: `course notebooks {name}{language}` builds it anew.")
        self.why = why


def built(path: Path) -> NotebookNode:
    """A committed notebook.

    Raises:
        UnreadableError: it is missing or empty, holds the marks of a merge, or is something else.
    """
    if not path.exists():
        raise UnreadableError(path, "is missing")
    text = path.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE):
        raise UnreadableError(path, "holds the marks of a merge")
    faults: dict[str, Exception] = {}
    try:
        notebook = nbformat.reads(text, as_version=4, capture_validation_error=faults)
        if faults:
            _mend(notebook)
            nbformat.validate(notebook)
    except Exception as error:  # whatever nbformat makes of a stranger's JSON
        raise UnreadableError(path, "is no notebook" if text.strip() else "is empty") from error
    return notebook


def _mend(notebook: NotebookNode) -> None:
    """Add what Colab leaves out of outputs, and others ask for."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.setdefault("name", "stdout")
            elif output.output_type != "error":
                output.setdefault("metadata", NotebookNode())
            if output.output_type == "execute_result":
                output.setdefault("execution_count", None)


@dataclass(frozen=True)
class Role:
    """What the tag of a cell makes of it, e.g. `tests:absmax:2`."""

    kind: str
    exercise: str
    points: int

    @property
    def grade_id(self) -> str:
        return self.exercise if self.kind == "exercise" else f"{self.exercise}-{self.kind}"


def html_of(output: NotebookNode) -> str:
    """What an output of a cell shows as HTML, or ""."""
    return str(output.get("data", {}).get("text/html", ""))


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def role(cell: NotebookNode) -> Role | None:
    """The cell's part in an exercise, or None."""
    for tag in tags(cell):
        kind, *rest = tag.split(":")
        if kind in ROLES:
            with_points = kind in ("tests", "hidden")
            number = not with_points or rest[-1].isdecimal()
            if len(rest) != 1 + with_points or not re.fullmatch(r"[a-z][a-z0-9_]*", rest[0]) or not number:
                raise ChapterError(f"Bad tag {tag!r}: write {kind}:name{':points' if with_points else ''}.")
            return Role(kind, rest[0], int(rest[1]) if with_points else 0)
    return None


def cells_of(notebook: NotebookNode, kind: str, exercise: str | None = None) -> Iterator[NotebookNode]:
    """Cells of one kind, of one exercise or of all."""
    for cell in notebook.cells:
        cell_role = role(cell)
        if cell_role and cell_role.kind == kind and exercise in (None, cell_role.exercise):
            yield cell


def exercises(notebook: NotebookNode) -> list[str]:
    """Names of a lab's exercises, in order."""
    names = []
    for cell in cells_of(notebook, "exercise"):
        cell_role = role(cell)
        assert cell_role is not None
        names.append(cell_role.exercise)
    return names


@lru_cache
def project() -> dict[str, Any]:
    """What pyproject.toml says of the course: the only place of the repository's address and of the oldest Python."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def repository() -> str:
    """The repository's address."""
    return str(project()["urls"]["Repository"])
