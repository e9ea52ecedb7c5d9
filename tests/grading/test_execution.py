"""Whose fault a death was, and how much time there is: with a kernel that follows a script instead of a box."""

from __future__ import annotations

import contextlib
import json
import types
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from tiny_class import QUICK, RIGHT, TINY, handed_in

from courseware import build
from courseware.grading import box, execution, restore, verdict
from courseware.grading.session import CellRun, Dead, NotStarted, Session

LAB = nbformat.reads(nbformat.writes(build.student_lab(TINY)), as_version=4)
PREPARED = verdict.Lab(TINY.name, "key", nbformat.writes(LAB))
PREPARED.exercises = {name: verdict.Exercise(1, 2, "", "", None) for name in RIGHT}
OWN = "print('mine')"

Script = Callable[["Kernel", str], CellRun | Exception | None]


class Kernel:
    """A session that answers as its script says; None is all right."""

    script: Script
    made: list[Kernel]

    def __init__(self, *_: Any) -> None:
        self.spent, self.asked, self.ran = 0.0, [], []

    def start(self) -> Kernel:
        self.made.append(self)
        self._follow("start")
        return self

    def _follow(self, what: str) -> CellRun:
        self.ran.append(what)
        answer = type(self).script(self, what)
        if isinstance(answer, Exception):
            raise answer
        return answer or CellRun()

    def run(self, source: str, seconds: float, patient: bool = False) -> CellRun:
        self.seconds = seconds
        return self._follow(source)

    def ask(self, exercise: str, source: str, function: str, seconds: float) -> Any:
        self._follow(f"ask {exercise}")
        return 1

    def settle(self) -> None:
        self._follow("settle")

    def busy(self) -> int:
        return 5 + ("thread" in self.ran[-1])

    def after(self, *_: Any) -> None: ...

    def tidy(self, exercise: str) -> bool:
        return False

    def close(self) -> None: ...


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[..., execution.Tries]:
    monkeypatch.setattr(execution, "Session", Kernel)
    monkeypatch.setattr(execution, "_PAUSES", (0, 0))
    monkeypatch.setattr(execution, "why_not", lambda: "")

    def go(script: Script, own: str = OWN, **limits: str) -> execution.Tries:
        monkeypatch.setattr(Kernel, "script", staticmethod(script), raising=False)
        monkeypatch.setattr(Kernel, "made", [], raising=False)
        handed = restore.restore(restore.read(json.dumps(handed_in(RIGHT, before=own)).encode()), LAB)
        made = execution.Tries(handed, PREPARED, box.Limits.read({**QUICK, **limits}), False, False, frozenset())
        made.go()
        return made

    return go


def died(ours: bool = False, began: bool = True, slow: bool = False) -> Dead:
    death = Dead("ran longer than 6 s" if slow else "the kernel died", CellRun(), ours=ours, began=began)
    death.slow = slow
    return death


def test_a_death_that_does_not_repeat_costs_nothing(tried: Any) -> None:
    done = tried(lambda kernel, what: died() if what == RIGHT["double"] and len(Kernel.made) == 1 else None)
    assert len(Kernel.made) == 2 and not done.left_out and len(done.answers) == 2


def test_a_death_that_repeats_costs_its_cell(tried: Any) -> None:
    done = tried(lambda kernel, what: died() if what == OWN else None)
    assert list(done.left_out.values()) == ["the kernel died"] and len(Kernel.made) == 3 and len(done.answers) == 2


def test_a_death_that_the_grader_caused_is_believed_at_once(tried: Any) -> None:
    done = tried(lambda kernel, what: died(ours=True, slow=True) if what == RIGHT["double"] else None)
    assert list(done.left_out) == ["double"] and len(Kernel.made) == 2


def test_a_death_that_comes_late_is_blamed_on_the_cell_before(tried: Any) -> None:
    """It is noticed at the next cell, and again when the grader waits before that cell."""

    def script(kernel: Kernel, what: str) -> Exception | None:
        mined = OWN in kernel.ran
        return died(began=False) if mined and what in (RIGHT["double"], "settle") else None

    done = tried(script)
    assert [name for name in done.left_out if name.startswith("own")] == list(done.left_out) and len(done.answers) == 2


def test_what_blocks_a_kernel_after_its_end_is_not_the_doing_of_the_cell_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_: Any) -> CellRun:
        raise died(ours=True, began=False, slow=True)

    monkeypatch.setattr(Session, "_request", hangs)
    for ask in (lambda session: session.after("own"), lambda session: session.tidy("double")):
        with pytest.raises(Dead, match="kept the kernel busy for 20 s after its end") as caught:
            ask(Session(box.Limits.read()))
        assert caught.value.began and caught.value.slow


@pytest.mark.parametrize("began", [True, False])
def test_a_request_that_begins_only_when_the_kernel_is_interrupted_has_not_begun(
    began: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cell before had left on the kernel's loop has kept it waiting."""
    said = [("status", {"execution_state": "busy"}, "it", 1)] if began else []

    def interrupt() -> None:
        said.extend([*([] if began else [("status", {"execution_state": "busy"}, "it", 1)]), ("execute_reply", {}, "it", 1)])
        said.append(("status", {"execution_state": "idle"}, "it", 1))

    kernel: Any = Session(box.Limits.read())
    kernel.client = types.SimpleNamespace(session=kernel, shell_channel=kernel)
    kernel.msg, kernel.send = (lambda kind, content: {"header": {"msg_id": "it"}}), (lambda message: None)
    kernel.manager = types.SimpleNamespace(provisioner=kernel, interrupt_kernel=interrupt)
    kernel.meter, kernel.late, kernel.over, kernel.crowded = (lambda: kernel), (lambda: 0.0), (lambda: ""), False
    kernel._must_live, kernel._next = (lambda *_: None), (lambda: said.pop(0) if said else None)
    with contextlib.nullcontext() if began else pytest.raises(Dead) as caught:
        assert kernel.run("", 0.05, patient=True).stopped
    assert began or (caught and caught.value.slow and not caught.value.began)


def test_a_request_that_is_never_taken_up_is_the_doing_of_the_cell_before(tried: Any) -> None:
    def script(kernel: Kernel, what: str) -> Exception | None:
        return died(ours=True, began=False, slow=True) if what == RIGHT["double"] and OWN in kernel.ran else None

    assert [name.partition("-")[0] for name in tried(script).left_out] == ["own"]


def test_deaths_all_over_the_place_are_the_machine_s(tried: Any) -> None:
    def script(kernel: Kernel, what: str) -> Exception | None:
        cells = [source for source in kernel.ran if source not in ("start", "settle")]
        return died() if len(cells) == len(Kernel.made) and what == cells[-1] else None

    with pytest.raises(execution.Trouble, match="died 5 times, each time at another place"):
        tried(script)


def test_a_question_that_kills_twice_has_its_answer(tried: Any) -> None:
    done = tried(lambda kernel, what: died() if what == "ask double" else None)
    assert done.failures == {("double", "probe"): "the kernel died"} and ("total", "probe") in done.answers


def test_no_box_is_the_machine_s_trouble(tried: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(execution.Trouble, match="no room"):
        tried(lambda kernel, what: NotStarted("no room") if what == "start" else None)
    assert len(Kernel.made) == 3
    tried(lambda kernel, what: NotStarted("no room") if what == "start" and len(Kernel.made) < 3 else None)


@pytest.mark.parametrize("error", ["MemoryError", "RuntimeError: can't start new thread", "OSError: [Errno 28] No space"])
def test_what_the_machine_may_have_been_short_of_is_tried_again(tried: Any, error: str) -> None:
    once = tried(lambda kernel, what: CellRun(error=error) if what == RIGHT["double"] and len(Kernel.made) == 1 else None)
    assert not once.cells["double"].error and len(Kernel.made) == 2
    twice = tried(lambda kernel, what: CellRun(error=error) if what == RIGHT["double"] else None)
    assert twice.cells["double"].error == error and len(Kernel.made) == 2


def test_once_a_question_was_asked_nothing_is_shown_any_more(tried: Any) -> None:
    def script(kernel: Kernel, what: str) -> CellRun | Exception | None:
        if what == "ask double":
            return died()
        if what == "start":
            return None
        shown = "def probe" if len(Kernel.made) > 1 else "mine"
        return CellRun(outputs=[nbformat.v4.new_output("stream", text=shown)], error=shown if len(Kernel.made) > 1 else "")

    done = tried(script)
    assert len(Kernel.made) == 3 and done.cells
    assert all("probe" not in str(run.outputs) + run.error for run in done.cells.values()) and not done.lines


def test_own_cells_have_their_own_time(tried: Any) -> None:
    given: list[float] = []

    def script(kernel: Kernel, what: str) -> CellRun | None:
        if what == OWN:
            given.append(kernel.seconds)
            kernel.spent += kernel.seconds
            return CellRun(stopped="ran longer than 6 s")
        return None

    done = tried(script, total="40 s")
    assert given == [6.0] and not done.left_out and done.clock.all == 80 and done.clock.own == 14


def test_a_cell_that_is_run_line_by_line_has_no_more_time_than_others(tried: Any) -> None:
    own = "import nothing\n" + "\n".join(f"slow({i})" for i in range(100))
    spent: list[float] = []

    def script(kernel: Kernel, what: str) -> CellRun | None:
        if "slow(" in what:
            spent.append(kernel.seconds)
            kernel.spent += kernel.seconds
        return CellRun(error="ModuleNotFoundError: No module named 'nothing'") if "nothing" in what else None

    done = tried(script, own=own, total="40 s")
    assert sum(spent) <= 40 / 2 + 6 + 6 and len(done.answers) == 2
    (cell,) = [run for place, run in done.cells.items() if place.startswith("own")]
    assert cell.stopped == "there was no time left for it"


THREAD = "start_a_thread()"


@pytest.mark.parametrize("guilty", [True, False])
def test_what_an_own_cell_has_left_running_is_suspected_first(tried: Any, guilty: bool) -> None:
    """The answer's kernel is ended; without the own cell it is not, or it is all the same."""

    def script(kernel: Kernel, what: str) -> Exception | None:
        dies = what == RIGHT["double"] and (THREAD in kernel.ran or not guilty)
        return died(ours=True, slow=True) if dies else None

    done = tried(script, own=THREAD)
    assert [name.partition("-")[0] for name in done.left_out] == ["own" if guilty else "double"]
    assert len(done.answers) == (2 if guilty else 1) + (not guilty) and len(Kernel.made) == (2 if guilty else 3)


def test_a_clock_leaves_something_for_everybody() -> None:
    clock = execution._Clock(box.Limits.read({**QUICK, "cell": "60 s", "total": "300 s"}))
    given = []
    for _ in range(40):
        given.append(clock.room(own=True))
        clock.spend(given[-1], own=True)
    assert given[:4] == [60, 60, 30, 2] and given[-1] == 0 and sum(given) == 210
    assert clock.room(own=False) == 60
    clock.slow = 4
    assert clock.room(own=False) == 15
    clock.slow = 20
    assert clock.room(own=False) == 2
    clock.spend(599, own=False)
    assert clock.room(own=False) == 0
    clock.begin()
    assert clock.room(own=False) == 1
