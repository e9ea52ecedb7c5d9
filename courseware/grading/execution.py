"""Run a restored notebook until every cell and every question had its turn, or its reason why it had none.

What went wrong is the student's only if the grader ended it, if time ran out, or if it happened twice. All else may be the
machine's: memory that was short, a box that could not be made, a process that somebody killed. It is tried again, and where
that does not help, `Trouble` leaves the submission without a grade and with the reason.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

from ..chapters import tags
from . import restore, verdict
from .box import Limits, why_not
from .session import CellRun, Dead, NotStarted, Session

_STARTS = 12  # boxes for one submission: each cell that ends one is left out of the next
_STRAY = 4  # deaths, each at another place, after which it is no use to go on
_MOMENT = 2.0  # seconds that every cell may take, however little is left
_PAUSES = (1, 5)  # seconds before a box is tried again that could not be made
_MISSING = re.compile(r"(ModuleNotFoundError|ImportError|UsageError)\b")  # a line needs what the box has not
# what else a cell of the lab, changed by a student, fails for where no exercise is at fault
_ELSEWHERE = re.compile(r"(FileNotFound|NotADirectory|Permission|Connection|URL|HTTP)Error\b")
_NO_TIME = "there was no time left for it"
_SHORT = re.compile(r"MemoryError|RuntimeError: can't start new|BlockingIOError|OSError: \[Errno (5|11|12|23|24|28)\]")

Place = str | tuple[str, str]  # a cell, by id, or a question: exercise and function


class Trouble(Exception):
    """The machine's: this submission has no grade yet. The message says what it was."""


class _Clock:
    """What a submission's cells may still use, in seconds.

    The lab's cells and the answers have `total` for one pass, twice that for all. The student's own cells have half of it
    besides, and when that is gone a moment for each of the rest: a training run of one's own is no reason to lose a lab.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.all = 2.0 * limits.total
        self.own, self.moments = limits.total / 2, float(limits.cell)
        self.slow = 0  # cells and questions that have run too long
        self.one_pass = 0.0
        self.begin()

    def begin(self) -> None:
        self.one_pass = float(self.limits.total)

    def room(self, own: bool) -> float:
        """Seconds for the next cell; 0 when there are none left."""
        if own:
            return max(0.0, min(float(self.limits.cell), max(self.own, min(_MOMENT, self.moments))))
        most = self.limits.cell / 2 ** max(0, self.slow - 2)  # who is slow again and again leaves some for the others
        return float(max(0.0, min(max(most, _MOMENT), self.one_pass, self.all)))

    def spend(self, seconds: float, own: bool) -> None:
        if not own:
            self.one_pass, self.all = self.one_pass - seconds, self.all - seconds
        elif self.own > 0:
            self.own -= seconds
        else:
            self.moments -= seconds


class Tries:
    """The runs of one restored notebook, until every cell and every question had its turn or its reason."""

    def __init__(
        self,
        restored: restore.Restored,
        lab: verdict.Lab,
        limits: Limits,
        unsafe: bool,
        warm: bool,
        skipped: frozenset[str] | None,
    ) -> None:
        """`skipped` are names that experiments define, which run only where an answer needs one; None runs them all."""
        self.restored, self.lab, self.limits, self.unsafe = restored, lab, limits, unsafe
        self.modules = lab.modules if warm else []
        experiments = [cell for cell in restored.notebook.cells if "experiment" in tags(cell)]  # perhaps with code of theirs
        self.skip = skipped is not None
        self.skipped = {*(skipped or ())}.union(*(restore.bound(cell.source) for cell in experiments))
        changed = [cell for cell in restored.notebook.cells if cell.id in restored.changed]
        self.dropped = {name for c in changed for name in restore.bound(restored.changed[c.id]) - restore.bound(c.source)}
        self.given_too = False  # run a lab's cell that a student has changed as it was given, before theirs
        self.wanted = set(lab.exercises)  # exercises that questions are asked about
        self.at_once = False  # asked right after an exercise's tests; nothing of such a run may be shown
        self.clock = _Clock(self.limits)
        self.cells: dict[str, CellRun] = {}  # of the first whole pass: what is shown
        self.asked = False  # from now on a kernel may know a hidden test, and nothing that it says is shown
        self.answers: dict[tuple[str, str], Any] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self.hung: set[tuple[str, str]] = set()  # questions that ended a kernel
        self.left_out: dict[str, str] = {}
        self.suspects: set[str] = set()  # own cells that were stopped, or have left something running, in this kernel
        self.accused: tuple[Place, set[str]] = "", set()  # where a kernel died, and the suspects left out for one try
        self.acquitted: set[str] = set()  # it died without them too
        self.deaths: Counter[Place] = Counter()  # that nobody here has caused
        self.again = False  # was short of something the machine may have been short of, and has had its second try
        self.lines: list[str] = []  # notes about lines that could not run here
        self.note = ""
        self.ids = {c.metadata.nbgrader.grade_id: c.id for c in restored.notebook.cells if "nbgrader" in c.metadata}
        self.names = {place: name for name, place in self.ids.items()}
        self.meant = {*lab.failing} - {*self.names}  # to fail, for a lesson
        self.at: Place = ""
        self.before: Place = ""
        self.settling = False

    def go(self) -> None:
        """Run.

        Raises:
            Trouble: the machine does not let it.
        """
        for _ in range(_STARTS):
            self.clock.begin()
            self.suspects.clear()
            self.at = self.before = ""
            self.settling = False
            try:
                with contextlib.closing(self._session()) as session:
                    if self._pass(session):
                        return
            except Dead as death:
                self._blame(death)
            if self.clock.all <= 0:
                self.note = f"the notebook ran longer than {self.limits.total} s"
                return
        self.note = "the kernel died again and again"

    def _session(self) -> Session:
        """A new box with a kernel in it, tried again where it could not be made.

        Raises:
            Trouble: it cannot be.
        """
        reason = ""
        for pause in (0, *_PAUSES):
            time.sleep(pause)
            session = Session(self.limits, self.unsafe, self.modules)
            try:
                return session.start()
            except NotStarted as error:
                reason = str(error)
        raise Trouble((not self.unsafe and why_not()) or reason)

    def _pass(self, session: Session) -> bool:
        """All cells, then all questions; False when it has to begin anew."""
        for cell in self._code():
            self._next(session, cell.id)
            if not self._cell(session, cell):
                break
            if self.at_once:
                self._ask_all(session, self._whose(cell)[1])
        if not self.asked and self._supply({run.error for run in self.cells.values()}):
            return False
        errors = [run.error for place, run in self.cells.items() if place not in self.meant]
        if not self.asked and not self.again and any(map(_SHORT.match, errors)):
            self.again = True
            return False
        self.asked = True
        self._ask_all(session)
        missed = {question for question, error in self.failures.items() if self._lacks(error)}
        short = {question for question, error in self.failures.items() if not self.again and _SHORT.match(error)}
        self._supply({self.failures[question] for question in missed})
        self.again = self.again or bool(short)
        for question in missed | short:
            del self.failures[question]
        return not (missed or short)

    def _ask_all(self, session: Session, exercise: str | None = None) -> None:
        """All questions that are open, or those about an exercise whose tests have passed."""
        for question in list(self._questions()):
            if exercise is None or (question[0] == exercise and self.passed(exercise)):
                self._next(session, question)
                if not self._ask(session, *question):
                    break

    def _next(self, session: Session, place: Place) -> None:
        """Go on to a cell or a question. If a kernel died there, see first whether it dies of what came before."""
        if place in self.deaths:
            self.settling = True
            session.settle()
        self.settling = False
        self.before, self.at = self.at, place

    def _blame(self, death: Dead) -> None:
        """Whose was it? What is left out of the next pass, or has its answer: that it has none."""
        at = self.before if death.ours and not death.began and self.before else self.at
        if death.flooded and not self.asked:
            printed = {place: run.printed for place, run in self.cells.items() if place not in self.left_out}
            most = max(printed, key=lambda place: printed[place], default="")
            at = most if printed.get(most, 0) > death.printed else at
        suspects = self.suspects - self.acquitted - {at}
        if suspects:  # what they have left running may be why there was no time, or no memory
            self.accused = at, suspects
            for place in suspects:
                self.left_out[place] = self.cells[place].stopped or f"left something running ({death})"
                if not self.asked:
                    self.cells[place].stopped = self.left_out[place]
            return
        if self.accused[0] == at:
            self.acquitted |= self.accused[1]
            for place in self.accused[1]:
                del self.left_out[place]
            self.accused = "", set()
        if not death.ours and not self.settling:
            self.deaths[at] += 1
            if self.deaths[at] < 2:
                if len(self.deaths) > _STRAY:
                    raise Trouble(f"its kernel died {len(self.deaths)} times, each time at another place")
                return
        self.clock.slow += death.slow
        if isinstance(at, tuple):
            self.failures[at] = str(death)
            self.hung.add(at)
        elif at:
            self.left_out[at] = str(death)
            if not self.asked:
                self.cells[at] = CellRun(death.outputs, stopped=str(death))
        else:
            raise Trouble(f"its kernel ended before anything ran in it: {death}")

    def _code(self) -> Iterator[NotebookNode]:
        for cell in self.restored.notebook.cells:
            skipped = self.skip and "experiment" in tags(cell)
            if cell.cell_type == "code" and cell.source.strip() and not skipped and cell.id not in self.left_out:
                yield cell

    def _cell(self, session: Session, cell: NotebookNode) -> bool:
        """One cell, and whatever it takes to be fair to it; False when there is no time left for it."""
        kind, exercise = self._whose(cell)
        own = kind == "own"
        if self.clock.room(own) <= 0:
            if own:
                self.left_out[cell.id] = _NO_TIME
                return True
            self.note = f"the notebook ran longer than {self.limits.total} s"
            return False
        before = session.busy() if own else 0
        if self.given_too and cell.id in self.restored.changed:
            self._timed(session, own, self.restored.changed[cell.id])
        run = self._timed(session, own, cell.source)
        # below the first exercise a given cell may fail for what is not solved, and that is no reason to run it anew
        unsolved = kind == "given" and "raises-exception" in tags(cell)
        changed = cell.id in self.restored.changed and (_ELSEWHERE.match(run.error) if unsolved else run.error)
        tidied = False
        if cell.id in self.meant:
            pass
        elif _MISSING.match(run.error) or changed:
            run = self._line_by_line(session, own, cell, run)
        elif run.error and kind in ("given", "tests") and (tidied := session.tidy(exercise)):
            run = self._timed(session, own, cell.source)
        if run.error and kind == "tests":
            run = self._other_answers(session, exercise, cell, run)
        if tidied and run.failed:  # it was not that
            session.untidy()
        names = self.restored.names.get(exercise, set()) if kind == "tests" else self._names(cell.source, exercise)
        session.after(kind, exercise, sorted(names))
        if own and (run.stopped or session.busy() > before):
            self.suspects.add(cell.id)
        if not self.asked:
            self.cells[cell.id] = run
        return True

    def _whose(self, cell: NotebookNode) -> tuple[str, str]:
        """Whose cell, and which exercise's."""
        name = self.names.get(cell.id, "")
        if name in self.lab.exercises:
            return "answer", name
        if name.removesuffix("-tests") in self.lab.exercises:
            return "tests", name.removesuffix("-tests")
        return ("own" if cell.id.startswith("own-") else "given"), ""

    def _timed(self, session: Session, own: bool, source: str) -> CellRun:
        spent, room = session.spent, self.clock.room(own)
        if room <= 0:
            return CellRun(stopped=_NO_TIME)
        try:
            return session.run(source, room, patient=own)
        finally:
            self.clock.spend(session.spent - spent, own)

    def _line_by_line(self, session: Session, own: bool, cell: NotebookNode, whole: CellRun) -> CellRun:
        """A line of it cannot run here, as `from google.colab import drive`: the others can, and then what the lab gave."""
        together = CellRun(error=whole.error)
        sources = [*restore.statements(cell.source), *filter(None, [self.restored.changed.get(cell.id)])]
        for source in sources:
            run = self._timed(session, own, source)
            together.outputs += run.outputs
            together.printed += run.printed
            if run.error and not self.asked:
                self.lines.append(_unrun(source, run.error))
            if run.stopped:
                together.stopped = run.stopped
                break
        return together

    def _other_answers(self, session: Session, exercise: str, tests: NotebookNode, failed: CellRun) -> CellRun:
        """The tests fail: does another answer in the same notebook pass?"""
        for source in self.restored.alternatives.get(exercise, []):
            answer = self._timed(session, False, source)
            session.after("answer", exercise, sorted(self._names(source, exercise)))
            run = self._timed(session, False, tests.source)
            if not run.failed and not self.asked:
                cell = next(c for c in self.restored.notebook.cells if c.id == self.ids[exercise])
                cell.source, self.cells[cell.id] = source, answer
                self.restored.reasons[exercise] = "answered more than once; the one that passes the visible tests counts"
            if not run.failed:
                return run
        return failed

    def _names(self, source: str, exercise: str) -> set[str]:
        """What a cell binds, and what the exercise that it answers is to define."""
        return restore.bound(source) | self.restored.names.get(exercise, set())

    def _questions(self) -> Iterator[tuple[str, str]]:
        for name, exercise in self.lab.exercises.items():
            answered = name in self.wanted and (name in self.restored.answered or self.passed(name))
            for function in ("probe", *(["visible"] if exercise.want_visible is not None else [])):
                hangs = self.ids[f"{name}-tests"] in self.left_out or (name, "probe") in self.hung
                if answered and not hangs and (name, function) not in {*self.answers, *self.failures}:
                    yield name, function

    def _ask(self, session: Session, name: str, function: str) -> bool:
        """One question; False when there is no time left for it."""
        if (room := self.clock.room(own=False)) <= 0:
            self.note = f"the notebook ran longer than {self.limits.total} s"
            return False
        spent = session.spent
        try:
            self.answers[name, function] = session.ask(name, self.lab.exercises[name].inside, function, room)
        except ValueError as error:
            self.failures[name, function] = str(error)
        finally:
            self.clock.spend(session.spent - spent, own=False)
        return True

    def passed(self, exercise: str) -> bool:
        """Have its visible tests run and passed?"""
        tests = self.cells.get(self.ids[f"{exercise}-tests"])
        return tests is not None and not tests.failed

    def _lacks(self, error: str) -> str:
        """The name that something failed for want of, if a skipped cell or the lab's version of a changed one defines it."""
        match = re.match(r"NameError: name '(\w+)'", error)
        known = (self.skipped if self.skip else set()) | (set() if self.given_too else self.dropped)
        return match[1] if match and match[1] in known else ""

    def _supply(self, errors: set[str]) -> bool:
        """From now on, run what defines the names that were missed; was there any?"""
        lacking = {self._lacks(text) for text in errors} - {""}
        self.skip = self.skip and not lacking & self.skipped
        self.given_too = self.given_too or bool(lacking & self.dropped)
        return bool(lacking)


def _unrun(source: str, error: str) -> str:
    """What to say about a line that cannot run here."""
    line = re.sub(r"get_ipython\(\)\.run_line_magic\('(\w+)', '(.*)'\)", r"%\1 \2", source.strip().splitlines()[0][:80])
    module = re.match(r"ModuleNotFoundError: No module named '([\w.]+)'", error)
    if module:
        return f"`{line}` did not run: there is no module {module[1]} here (a file of yours? put its code in the notebook)"
    return f"`{line}` did not run here: {error[:120]}"
