"""Grade one submission: restore, run in a box, ask for the answers, decide."""

from __future__ import annotations

import builtins
import copy
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import nbformat
from nbformat import NotebookNode

from . import messages, restore, verdict
from .box import Limits, check
from .execution import Tries, Trouble
from .session import CellRun


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
    messages: dict[str, list[list[str]]] = field(default_factory=dict)  # by exercise: the same as [key of messages.py, text]
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
    trouble: str = ""  # why it cannot be graded just now


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
        Trouble: the machine's; to be tried again.
    """
    if job.trouble:
        raise Trouble(job.trouble)
    started = time.monotonic()
    lab, release, experiments = _lab(lab_text)
    result = nothing_yet(job, lab)
    if not job.unsafe:
        check()
    try:
        if job.problem:
            raise restore.Unreadable(job.problem)
        restored = restore.restore(restore.read(job.data), release, lab.translations)
    except restore.Unreadable as error:
        result.note = str(error)
        result.reasons = {name: str(error) for name in lab.exercises}
        result.notebook = nbformat.writes(release)
        return result
    result.note = "; ".join(restored.notes)
    result.reasons = dict(restored.reasons)
    if restored.answered or restored.as_it_was or any(cell.id.startswith("own-") for cell in restored.notebook.cells):
        skipped = experiments if job.skip_experiments else None
        run = _Run(restored, lab, Limits(**job.limits), job.unsafe, job.warm, skipped)
        run.go()
        run.go_as_it_was()
        result.reasons = dict(restored.reasons)
        run.decide(result)
    result.notebook = nbformat.writes(restored.notebook)
    result.seconds = round(time.monotonic() - started, 1)
    return result


class _Run(Tries):
    """The runs of one notebook, and what they are worth."""

    other: _Run | None = None  # of the notebook as it was handed in

    def go_as_it_was(self) -> None:
        """What fails may pass as it was handed in, and right after its tests, before later cells have changed anything.

        Questions were asked by then, so nothing that these runs say is kept, but which cells passed.

        Raises:
            Trouble: as `go`.
        """
        failed = {name for name in self.lab.exercises if not self.passed(name)} if self.restored.as_it_was else set()
        late = {name for name in self.lab.exercises if self.passed(name) and self._own_below(name)}
        late = {name for name in late if (name, "probe") not in self.hung and self._says(name, "probe")}
        if failed | late:
            notebook = copy.deepcopy(self.restored.as_it_was or self.restored.notebook)
            theirs = replace(self.restored, notebook=notebook, answered=set(), reasons={}, alternatives={})
            skipped = frozenset(self.skipped) if self.skip else None
            self.other = _Run(theirs, self.lab, self.limits, self.unsafe, bool(self.modules), skipped)
            self.other.wanted, self.other.at_once = failed | late, True
            self.other.go()
            self.other.cells = {place: CellRun() for place, run in self.other.cells.items() if not run.failed}

    def _own_below(self, name: str) -> bool:
        """Are there cells of the student's own below the tests of an exercise?"""
        places = [cell.id for cell in self.restored.notebook.cells if cell.cell_type == "code"]
        return any(place.startswith("own-") for place in places[places.index(self.ids[f"{name}-tests"]) :])

    def _better(self, name: str) -> _Run | None:
        """The run as it was handed in, where an exercise has passed only there."""
        other = self.other
        if other and name in other.wanted and other.passed(name) and not (self.passed(name) and other._says(name, "probe")):
            return other
        return None

    def decide(self, result: Result) -> None:
        for name, exercise in self.lab.exercises.items():
            passed = self.passed(name)
            if passed and name not in self.restored.answered:
                result.reasons.pop(name, None)  # answered, in a way that was not recognized
            if better := self._better(name):
                result.reasons[name] = "counted as it was handed in, right after its visible tests"
                if not passed:
                    self.cells[self.ids[name]] = self.cells[self.ids[f"{name}-tests"]] = CellRun()
                better._decide(name, exercise, result)
            elif passed or name in self.restored.answered:
                self._decide(name, exercise, result)
        for cell in self.restored.notebook.cells:
            if cell.id in self.cells:
                cell.outputs = self.cells[cell.id].outputs
        stopped = [run.stopped for run in self.cells.values() if run.stopped]
        result.note = "; ".join(dict.fromkeys(filter(None, [result.note, self.note, *stopped, *self.lines[:3]])))

    def _decide(self, name: str, exercise: verdict.Exercise, result: Result) -> None:
        """The points of one exercise, and what is said of it."""
        hidden = self._says(name, "probe")
        tests = self.cells.get(self.ids[f"{name}-tests"], CellRun(error="did not run"))
        evidence = hidden and self._says(name, "visible")
        visible = tests.stopped or tests.error or (evidence and f"no evidence: {evidence}")
        result.scores[f"{name}-hidden"] = 0.0 if hidden else float(exercise.hidden_points)
        result.scores[f"{name}-tests"] = 0.0 if visible else float(exercise.visible_points)
        entries = [["note", result.reasons[name]]] if name in result.reasons else []
        answer = self.cells.get(self.ids.get(name, ""), CellRun())
        if answer.failed:
            entries.append(["cell", answer.stopped or answer.error])
        if tests.stopped or tests.error:
            entries.append(["visible", tests.stopped or tests.error])
        elif (name, "visible") in self.answers and visible:
            entries.append(["evidence", ""])
        elif visible:
            entries.append(["unconfirmed", self._cause(name, "visible")])
        if hidden:
            entries.append(["hidden", self._cause(name, "probe")])
            entries += self._because(name)
        if entries:
            result.messages[name] = entries
            result.reasons[name] = messages.sentence(entries)[:1000]
        if hidden or visible:
            result.why[name] = f"visible: {visible or 'passed'}\nhidden: {hidden or 'passed'}"

    def _says(self, name: str, function: str) -> str:
        if (name, function) in self.answers:
            return verdict.says(self.lab.exercises[name], self.answers[name, function], function)
        return self.failures.get((name, function)) or self.note or "was not asked"

    def _cause(self, name: str, function: str) -> str:
        """Why there is no right answer, as a student may know it.

        Of an error only the kind, if it is one of Python's own: a message could carry the hidden test's text out.
        """
        if (name, function) in self.answers:
            return ""
        failure = self.failures.get((name, function), "")
        if (name, function) in self.hung:
            return f": {failure}"
        if not failure:
            tests = self.left_out.get(self.ids[f"{name}-tests"])
            return f": {self.note or (tests and f'not asked, for the visible tests {tests}') or 'not asked'}"
        kind = failure.partition(":")[0]
        builtin = getattr(builtins, kind, None) if kind.isidentifier() else None
        return f" ({kind})" if isinstance(builtin, type) and issubclass(builtin, BaseException) else ""

    def _because(self, name: str) -> list[list[str]]:
        """Which kind of input fails the hidden test, as far as its author says and the answer shows."""
        exercise = self.lab.exercises[name]
        if (name, "probe") in self.answers:
            return [["because", text] for text in verdict.failing(exercise, self.answers[name, "probe"])]
        kinds = "; ".join(dict.fromkeys(text for _, text in exercise.because))
        return [["because one of", kinds]] if kinds and (name, "probe") in self.failures else []
