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
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

import course_utils
from course_utils.errors import CourseError
from course_utils.language import CHINESE

from .. import verify
from ..chapters import FOLDERS, ROOT, Chapter, ChapterError, cells_of, exercises, read, role, tags
from ..files import whole
from . import comparison_process, failing_cases, wire
from .comparator import defined, error_of, judge

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
    because: list[tuple[str | int, str]] = field(default_factory=list)  # see failing_cases.py


@dataclass
class Lab:
    """A lab as a grader needs it, plain data throughout."""

    name: str
    key: str  # changes when anything does that could change a grade
    release: str  # the student's notebook, as JSON
    modules: list[str] = field(default_factory=list)  # that its solution imports
    exercises: dict[str, Exercise] = field(default_factory=dict)
    translations: dict[str, str] = field(default_factory=dict)  # a cell in another language, squeezed → in English
    chinese: dict[str, str] = field(default_factory=dict)  # a cell in English → in Chinese, for feedback pages
    failing: list[str] = field(default_factory=list)  # ids of cells that are meant to fail

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Lab:
        raw = json.loads(text)
        return cls(**{**raw, "exercises": {name: Exercise(**entry) for name, entry in raw["exercises"].items()}})


_CARRIERS = {  # files of the grader that only bring submissions in and results out; all others can change a grade
    f"{name}.py"
    for name in (
        "__init__", "archive", "canary", "demo", "feedback", "feedback_page", "gradebook", "gradescope", "intake",
        "lab_match", "layout", "lms_sheet", "markdown", "messages", "overview", "page_workers", "platforms", "roster",
        "scheduler", "similarity", "spreadsheets", "student_names", "term", "uploads", "workers",
    )
}  # fmt: skip


def lab_key(source: Chapter) -> str:
    """Hash of all that can change a grade of this lab, but the submission and the limits."""
    here, helpers = Path(__file__).parent, Path(course_utils.__file__).parent
    judges = [path for path in here.iterdir() if path.suffix in (".py", ".toml") and path.name not in _CARRIERS]
    builders = [here.parent / f"{name}.py" for name in ("build", "cell_names", "chapters", "references", "verify")]
    data = [path for path in helpers.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    translators = [*sorted((here.parent / "translation").glob("*.py")), *source.catalogues()]
    digest = hashlib.sha256(json.dumps([sys.version, _packages()]).encode())
    for path in [source.lab_source, *sorted(judges), *builders, *translators, *sorted(data)]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _packages() -> list[str]:
    """The lock, and what of it is really installed, in which versions: all packages where there is no lock."""
    lock = ROOT / "requirements.lock"
    text = lock.read_text(encoding="utf-8") if lock.exists() else ""
    named = {_plain(match[1]) for match in re.finditer(r"^([\w.-]+)==", text, re.MULTILINE)}
    installed = {_plain(distribution.name): distribution.version for distribution in metadata.distributions()}
    return [text, *sorted(f"{name}=={version}" for name, version in installed.items() if not named or name in named)]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def prepare(source: Chapter, cache: Path) -> Lab:
    """The lab with what its reference solution gives; computed in a process of its own, once for each version.

    Raises:
        CourseError: the solution fails here.
    """
    path = cache / f"{source.name}-{lab_key(source)[:16]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # not there yet, or damaged
        return Lab.loads(path.read_text(encoding="utf-8"))
    cache.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "COURSE_BUDGET": "quick", "OMP_NUM_THREADS": "1"}
    with whole(path) as scratch:
        command = [sys.executable, "-m", __name__, str(source.folder), str(scratch)]
        if subprocess.run(command, env=environment).returncode:
            raise CourseError(
                f"The solution of {source.name} fails on this machine, so nothing can be compared with it; see above."
            )
    return Lab.loads(path.read_text(encoding="utf-8"))


def _solve(source: Chapter) -> Lab:
    from .. import build  # nbgrader and nbclient: a second, and no worker needs them

    notebook = read(source.lab_source)
    release = nbformat.writes(build.student_lab(source))
    before = set(sys.modules)
    names = verify.solved_namespace(notebook)
    imported = [name for name, module in sys.modules.items() if name not in before and getattr(module, "__file__", None)]
    result = Lab(source.name, lab_key(source), release, [*_ALWAYS, *imported])
    result.failing = sorted(build.meant_to_fail(source))
    result.translations, result.chinese = _translations(source), _in_language(source, CHINESE)
    for name in exercises(notebook):
        (tests,), (hidden,) = cells_of(notebook, "tests", name), cells_of(notebook, "hidden", name)
        visible, secret = role(tests), role(hidden)
        assert visible and secret
        inside, outside = split(hidden.source)
        wants = {
            function: wire.encode(wire.carried(defined(inside, names)[function]()))
            for function in ("probe", "visible")
            if f"def {function}(" in inside
        }
        words = failing_cases.marks(hidden.source)
        if strangers := failing_cases.unknown(words, wire.decode(wants["probe"])):
            raise ChapterError(f"{source.name}: `because:` of {name} marks {strangers[0]!r}; probe() returns no such case.")
        result.exercises[name] = Exercise(
            visible.points, secret.points, inside, outside, wants["probe"], wants.get("visible"), words
        )
    return result


def _translations(source: Chapter) -> dict[str, str]:
    """Each cell of the lab in another language as it is in English: a submission in either is the same to the grader."""
    from .restore import squeezed

    return {squeezed(other): english for language in FOLDERS for english, other in _in_language(source, language).items()}


def _in_language(source: Chapter, language: str) -> dict[str, str]:
    """Each cell of the lab that is another in a language: in English → in that one."""
    from .. import build

    english = {cell.id: cell.source for cell in build.student_lab(source).cells}
    cells = build.student_lab(source, language).cells
    return {english[cell.id]: cell.source for cell in cells if cell.source != english[cell.id]}


def split(source: str) -> tuple[str, str]:
    """A hidden cell's source: what runs beside the student's code, and what does not."""
    tree = ast.parse(source)
    outside = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in OUTSIDE]
    inside = [node for node in tree.body if node not in outside]
    return tuple("\n\n".join(ast.unparse(node) for node in part) for part in (inside, outside))  # type: ignore[return-value]


def says(exercise: Exercise, got: Any, function: str = "probe") -> str:
    """ "" when the data is right, else what is wrong; for the instructor, since it may tell what the test is."""
    want = exercise.want if function == "probe" else exercise.want_visible
    try:
        return str(comparison_process.call(compare, exercise.outside, wire.encode(got), want, function))
    except comparison_process.Failed as error:
        return str(error)


def compare(outside: str, got: Any, want: Any, function: str) -> str:
    """What a check says of an answer, both encoded. Meant for the process aside."""
    with np.errstate(all="ignore"):
        return error_of(judge, outside, wire.decode(got), wire.decode(want), function)[:2000]


def failing(exercise: Exercise, got: Any) -> list[str]:
    """Which kinds of input a wrong answer is wrong for, in its author's words."""
    if not exercise.because:
        return []
    try:
        return list(
            comparison_process.call(compare_cases, exercise.outside, exercise.because, wire.encode(got), exercise.want)
        )
    except comparison_process.Failed:  # the verdict stands without its kinds of input
        return []


def compare_cases(outside: str, because: failing_cases.Marks, got: Any, want: Any) -> list[str]:
    """The words of the cases that are wrong in an answer, which is encoded as `want` is. Meant for the process aside."""
    right = wire.decode(want)

    def right_case(answer: Any) -> bool:
        with np.errstate(all="ignore"):
            return not error_of(judge, outside, answer, right)

    return failing_cases.failing([(key, text) for key, text in because], wire.decode(got), right, right_case)


def experiment_names(lab: nbformat.NotebookNode) -> set[str]:
    """Names that only the cells which grading skips define."""
    names: set[str] = set()
    for cell in lab.cells:
        if cell.cell_type == "code" and "experiment" in tags(cell):
            try:
                tree = ast.parse(cell.source)
            except SyntaxError:  # IPython's own syntax
                continue
            names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            names |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
            names |= {(n.asname or n.name).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.alias)}
    return names


if __name__ == "__main__":
    folder, target = map(Path, sys.argv[1:])
    target.write_text(_solve(Chapter(folder)).dumps(), encoding="utf-8")
