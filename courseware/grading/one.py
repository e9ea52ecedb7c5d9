"""Grade one submission: restore, run in a box, ask for the answers, decide."""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import nbformat
from nbformat import NotebookNode

from ..chapters import tags
from . import restore, verdict, words
from .box import Limits, check
from .session import CellRun, Dead, Session

_STARTS = 10  # boxes for one submission: each cell that ends one is left out of the next


@dataclass
class Result:
    """What grading found out about one submission; plain data, kept as JSON."""

    student: str
    lab: str
    key: str  # of the lab, the submission and the limits: the same key, the same grade; "": no verdict, to be tried again
    file: str
    timestamp: str
    box: str  # "boxed" or "unsafe"
    scores: dict[str, float] = field(default_factory=dict)  # by nbgrader's grade_id
    reasons: dict[str, str] = field(default_factory=dict)  # by exercise: what the student reads
    said: dict[str, list[list[str]]] = field(default_factory=dict)  # by exercise: the same as [key of words.py, text]
    why: dict[str, str] = field(default_factory=dict)  # by exercise: what the instructor reads
    note: str = ""  # about the whole
    seconds: float = 0.0
    notebook: str = ""  # as it ran, as JSON
    about: dict[str, str] = field(default_factory=dict)  # what intake knows of the student and the files


@dataclass
class Job:
    """One submission to grade, complete: it may travel to another machine."""

    student: str
    file: str
    timestamp: str
    data: bytes
    problem: str  # why there is nothing to grade, when there is not
    key: str
    limits: dict[str, Any]
    unsafe: bool = False
    skip_experiments: bool = True
    warm: bool = True


@lru_cache(maxsize=2)
def _lab(text: str) -> tuple[verdict.Lab, NotebookNode, frozenset[str]]:
    lab = verdict.Lab.loads(text)
    release = nbformat.reads(lab.release, as_version=4)
    return lab, release, frozenset(verdict.experiment_names(release))


def nothing_yet(job: Job, lab: verdict.Lab) -> Result:
    """The result before anything was earned."""
    result = Result(job.student, lab.name, job.key, job.file, job.timestamp, "unsafe" if job.unsafe else "boxed")
    result.scores = {f"{name}-{kind}": 0.0 for name in lab.exercises for kind in ("tests", "hidden")}
    return result


def grade(job: Job, lab_text: str) -> Result:
    """Grade one submission. What a student did never raises; what the machine lacks does.

    Raises:
        BoxError: no box can be made here.
    """
    started = time.monotonic()
    lab, release, experiments = _lab(lab_text)
    result = nothing_yet(job, lab)
    if not job.unsafe:
        check()
    try:
        if job.problem:
            raise restore.Unreadable(job.problem)
        restored = restore.restore(restore.read(job.data), release)
    except restore.Unreadable as error:
        result.note = str(error)
        result.reasons = {name: str(error) for name in lab.exercises}
        result.notebook = nbformat.writes(release)
        return result
    result.note = "; ".join(restored.notes)
    result.reasons = dict(restored.reasons)
    if restored.answered:
        run = _Run(job, lab, restored)
        run.go(skip_experiments=job.skip_experiments)
        if job.skip_experiments and run.missed(experiments):
            run = _Run(job, lab, restored)  # an answer leans on a name that a skipped cell defines: run them after all
            run.go(skip_experiments=False)
        run.decide(result)
    result.notebook = nbformat.writes(restored.notebook)
    result.seconds = round(time.monotonic() - started, 1)
    return result


class _Run:
    """The runs of one restored notebook, until every cell and every question had its turn or its reason."""

    def __init__(self, job: Job, lab: verdict.Lab, restored: restore.Restored) -> None:
        self.job, self.lab, self.restored = job, lab, restored
        self.limits = Limits(**job.limits)
        self.cells: dict[str, CellRun] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self.hung: set[tuple[str, str]] = set()  # questions that ended a kernel
        self.left_out: dict[str, str] = {}
        self.note = ""
        self.ids = {c.metadata.nbgrader.grade_id: c.id for c in restored.notebook.cells if "nbgrader" in c.metadata}

    def go(self, skip_experiments: bool) -> None:
        deadline = time.monotonic() + self.limits.total
        at: str | tuple[str, str] = ""
        why = ""
        for _ in range(_STARTS):
            at = ""
            try:
                with Session(self.limits, deadline, self.job.unsafe, self.lab.modules if self.job.warm else ()) as session:
                    for cell in self._code(skip_experiments):
                        at = cell.id
                        self.cells[cell.id] = session.run(cell.source)
                    for question in self._questions():
                        at = question
                        self._ask(session, *question)
                return
            except Dead as death:
                why = str(death)
                if time.monotonic() > deadline:
                    self.note = f"the notebook ran longer than {self.limits.total} s"
                    return
                if isinstance(at, tuple):
                    self.failures[at] = str(death)
                    self.hung.add(at)
                elif at:
                    self.left_out[at] = str(death)
                    self.cells[at] = CellRun(death.outputs, stopped=str(death))
        self.note = "the kernel died again and again" if at else why

    def _code(self, skip_experiments: bool) -> Iterator[NotebookNode]:
        for cell in self.restored.notebook.cells:
            skipped = skip_experiments and "experiment" in tags(cell)
            if cell.cell_type == "code" and cell.source.strip() and not skipped and cell.id not in self.left_out:
                yield cell

    def _questions(self) -> Iterator[tuple[str, str]]:
        for name, exercise in self.lab.exercises.items():
            for function in ("probe", *(["visible"] if exercise.want_visible is not None else [])):
                hangs = self.ids[f"{name}-tests"] in self.left_out or (name, "probe") in self.hung
                if name in self.restored.answered and not hangs and (name, function) not in {*self.answers, *self.failures}:
                    yield name, function

    def _ask(self, session: Session, name: str, function: str) -> None:
        try:
            self.answers[name, function] = session.ask(self.lab.exercises[name].inside, function)
        except ValueError as error:
            self.failures[name, function] = str(error)

    def missed(self, experiments: frozenset[str]) -> bool:
        """Did something fail for want of a name that a skipped cell defines?"""
        said = [run.error for run in self.cells.values()] + list(self.failures.values())
        return any(m[1] in experiments for m in (re.match(r"NameError: name '(\w+)'", text) for text in said) if m)

    def decide(self, result: Result) -> None:
        for cell in self.restored.notebook.cells:
            if cell.id in self.cells:
                cell.outputs = self.cells[cell.id].outputs
        for name, exercise in self.lab.exercises.items():
            if name not in self.restored.answered:
                continue
            hidden = self._says(name, "probe")
            tests = self.cells.get(self.ids[f"{name}-tests"], CellRun(error="did not run"))
            evidence = hidden and self._says(name, "visible")
            visible = tests.stopped or tests.error or (evidence and f"no evidence: {evidence}")
            result.scores[f"{name}-hidden"] = 0.0 if hidden else float(exercise.hidden_points)
            result.scores[f"{name}-tests"] = 0.0 if visible else float(exercise.visible_points)
            said = [["note", result.reasons[name]]] if name in result.reasons else []
            answer = self.cells.get(self.ids[name], CellRun())
            if answer.failed:
                said.append(["cell", answer.stopped or answer.error])
            if tests.stopped or tests.error:
                said.append(["visible", tests.stopped or tests.error])
            elif visible:
                said.append(["evidence", ""])
            if hidden:
                said.append(["hidden", self._kind(name)])
                said += self._because(name)
            if said:
                result.said[name] = said
                result.reasons[name] = words.sentence(said)[:1000]
            if hidden or visible:
                result.why[name] = f"visible: {visible or 'passed'}\nhidden: {hidden or 'passed'}"
        stopped = [run.stopped for run in self.cells.values() if run.stopped]
        result.note = "; ".join(dict.fromkeys(filter(None, [result.note, self.note, *stopped])))

    def _says(self, name: str, function: str) -> str:
        if (name, function) in self.answers:
            return verdict.says(self.lab.exercises[name], self.answers[name, function], function)
        return self.failures.get((name, function)) or self.note or "was not asked"

    def _kind(self, name: str) -> str:
        """The kind of error, if it is one of Python's own: a message could carry the hidden test's text out."""
        kind = self.failures.get((name, "probe"), "").partition(":")[0]
        found = getattr(builtins, kind, None) if kind.isidentifier() else None
        return kind if isinstance(found, type) and issubclass(found, BaseException) else ""

    def _because(self, name: str) -> list[list[str]]:
        """Which kind of input fails the hidden test, as far as its author says and the answer shows."""
        exercise = self.lab.exercises[name]
        if (name, "probe") in self.answers:
            return [["because", text] for text in verdict.failing(exercise, self.answers[name, "probe"])]
        kinds = "; ".join(dict.fromkeys(text for _, text in exercise.because))
        return [["because one of", kinds]] if kinds and (name, "probe") in self.failures else []
