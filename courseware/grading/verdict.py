"""Points, decided outside the box.

A hidden test is two functions. `probe()` runs beside the student's code and returns raw results; `check(got, want)` runs
here, on the plain data that came back, against what the reference solution gave. Whatever a student's process patches,
prints or sends, all it can do is give an answer.

Visible tests run in the student's process, where they can be fooled, so their points need evidence too: either the hidden
test is passed, or `visible()`, a third function of the same cell, returns for the visible tests' own inputs what the
reference returns.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from .. import plain, verify
from ..chapters import Chapter, ChapterError, cells_of, exercises, read, role, tags
from ..files import whole
from . import cases

_ALWAYS = ("ipykernel.ipkernel", "ipykernel.zmqshell", "numpy")  # what every kernel imports, or this file did already
OUTSIDE = ("check", "check_visible")  # functions of a hidden cell that never enter a box


@dataclass
class Exercise:
    """What grading knows of one exercise."""

    visible_points: int
    hidden_points: int
    inside: str  # source with probe() and visible(), sent into the box after everything else has run
    outside: str  # source with check()
    want: Any  # encoded
    want_visible: Any = None  # encoded; None when there is no visible()
    because: list[tuple[str | int, str]] = field(default_factory=list)  # see cases.py


@dataclass
class Lab:
    """A lab as a grader needs it, plain data throughout."""

    name: str
    key: str  # changes when anything does that could change a grade
    release: str  # the student's notebook, as JSON
    modules: list[str] = field(default_factory=list)  # that its solution imports
    exercises: dict[str, Exercise] = field(default_factory=dict)

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Lab:
        raw = json.loads(text)
        return cls(**{**raw, "exercises": {name: Exercise(**entry) for name, entry in raw["exercises"].items()}})


def lab_key(source: Chapter) -> str:
    """Hash of the lab and of the code that judges it."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    judges = [here / name for name in ("verdict.py", "restore.py", "one.py", "../plain.py", "../verify.py")]
    for path in (source.lab_source, *judges):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def prepare(source: Chapter, cache: Path) -> Lab:
    """The lab with what its reference solution gives; computed in a process of its own, once for each version."""
    path = cache / f"{source.name}-{lab_key(source)[:16]}.json"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "COURSE_BUDGET": "quick", "OMP_NUM_THREADS": "1"}
        with whole(path) as scratch:
            command = [sys.executable, "-m", __name__, str(source.folder), str(scratch)]
            subprocess.run(command, check=True, env=environment)
    return Lab.loads(path.read_text(encoding="utf-8"))


def _solve(source: Chapter) -> Lab:
    from .. import build  # nbgrader and nbclient: a second, and no worker needs them

    notebook = read(source.lab_source)
    release = nbformat.writes(build.student_lab(source))
    before = set(sys.modules)
    names = verify.solved_namespace(notebook)
    imported = [name for name, module in sys.modules.items() if name not in before and getattr(module, "__file__", None)]
    result = Lab(source.name, lab_key(source), release, [*_ALWAYS, *imported])
    for name in exercises(notebook):
        (tests,), (hidden,) = cells_of(notebook, "tests", name), cells_of(notebook, "hidden", name)
        visible, secret = role(tests), role(hidden)
        assert visible and secret
        inside, outside = split(hidden.source)
        wants = {
            function: plain.encode(plain.plain(verify.defined(inside, names)[function]()))
            for function in ("probe", "visible")
            if f"def {function}(" in inside
        }
        words = cases.marks(hidden.source)
        if strangers := cases.unknown(words, plain.decode(wants["probe"])):
            raise ChapterError(f"{source.name}: `because:` of {name} marks {strangers[0]!r}; probe() returns no such case.")
        result.exercises[name] = Exercise(
            visible.points, secret.points, inside, outside, wants["probe"], wants.get("visible"), words
        )
    return result


def split(source: str) -> tuple[str, str]:
    """A hidden cell's source: what runs beside the student's code, and what does not."""
    tree = ast.parse(source)
    outside = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in OUTSIDE]
    inside = [node for node in tree.body if node not in outside]
    return tuple("\n\n".join(ast.unparse(node) for node in part) for part in (inside, outside))  # type: ignore[return-value]


def says(exercise: Exercise, got: Any, function: str = "probe") -> str:
    """ "" when the data is right, else what is wrong; for the instructor, since it may tell what the test is."""
    want = plain.decode(exercise.want if function == "probe" else exercise.want_visible)
    with np.errstate(all="ignore"):
        return verify.said(verify.judge, exercise.outside, got, want, function)[:2000]


def failing(exercise: Exercise, got: Any) -> list[str]:
    """Which kinds of input a wrong answer is wrong for, in its author's words."""
    words = [(key, text) for key, text in exercise.because]
    return cases.failing(words, got, plain.decode(exercise.want), lambda answer: not says(exercise, answer))


def experiment_names(lab: nbformat.NotebookNode) -> set[str]:
    """Names that only the cells which grading skips define."""
    found: set[str] = set()
    for cell in lab.cells:
        if cell.cell_type == "code" and "experiment" in tags(cell):
            try:
                tree = ast.parse(cell.source)
            except SyntaxError:  # IPython's own syntax
                continue
            found |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            found |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
            found |= {(n.asname or n.name).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.alias)}
    return found


if __name__ == "__main__":
    folder, target = map(Path, sys.argv[1:])
    target.write_text(_solve(Chapter(folder)).dumps(), encoding="utf-8")
