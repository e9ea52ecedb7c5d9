"""What tells a notebook of this lab from all others, whatever it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import nbformat

from .. import build
from ..chapters import Chapter, all_chapters
from . import archive, student_names
from .uploads import File

_LOOK = 16_000_000  # bytes of a notebook that are looked at
_GRADE_ID = re.compile(rb'"grade_id"\s*:\s*"([^"\\]{1,80})"')
_FUNCTION = re.compile(rb'(?:"|\\n)(?:async )?(?:def|class) ([A-Za-z_]\w*)')
_STUB = re.compile(rb'NotImplementedError\(\\"exercise (\w+): write')


@dataclass(frozen=True)
class Sought:
    """A lab, as its notebooks can be known by. Nothing is parsed: what was handed in may be of any size and make."""

    name: str
    ids: frozenset[str] = frozenset()  # nbgrader's
    functions: frozenset[str] = frozenset()  # that its exercises ask for
    exercises: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()  # of which the names of this lab and of the others are made
    seen: dict[File, tuple[bool, bool]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, chapter: Chapter) -> Sought:
        graded = [cell for cell in build.student_lab(chapter).cells if "nbgrader" in cell.metadata]
        answers = [cell for cell in graded if cell.metadata.nbgrader.solution]
        functions = {name for cell in answers for name in _functions(cell)}
        exercises = {cell.metadata.nbgrader.grade_id for cell in answers}
        words = {word for one in [chapter, *all_chapters()] for word in student_names.words(one.name)}
        ids = {cell.metadata.nbgrader.grade_id for cell in graded}
        return cls(chapter.name, frozenset(ids), frozenset(functions), frozenset(exercises), frozenset(words))

    @classmethod
    def named(cls, name: str) -> Sought:
        """A lab of which only the name is known."""
        return cls(name, words=frozenset(student_names.words(name)))

    def is_in(self, file: File) -> bool:
        """Is the file a notebook of this lab: by nbgrader's ids of its cells, or by the functions that it defines?"""
        return self._look(file)[0]

    def is_blank(self, file: File) -> bool:
        """Is it the lab as it was given out, with nothing written into it?"""
        return self._look(file)[1]

    def _look(self, file: File) -> tuple[bool, bool]:
        if file not in self.seen:
            self.seen[file] = self._looked(file)
        return self.seen[file]

    def _looked(self, file: File) -> tuple[bool, bool]:
        if file.problem or not file.is_notebook or not self.ids:
            return False, False
        try:
            data, _ = student_names.utf8(file.read(_LOOK))
        except (OSError, archive.Damaged):  # intake says of this file what is wrong with it
            return False, False
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            data = data.decode("utf-16", "ignore").encode()
        ids = {value.decode("utf-8", "ignore") for value in _GRADE_ID.findall(data)}
        functions = {value.decode("utf-8", "ignore") for value in _FUNCTION.findall(data)} & self.functions
        stubs = {value.decode() for value in _STUB.findall(data)}
        right = 2 * len(ids & self.ids) > len(ids) if ids & self.ids else 2 * len(functions) >= max(1, len(self.functions))
        return right, right and stubs >= self.exercises


def _functions(cell: nbformat.NotebookNode) -> list[str]:
    return re.findall(r"^(?:async +)?(?:def|class) +([A-Za-z_]\w*)", cell.source, re.MULTILINE)
