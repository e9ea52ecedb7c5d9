"""A class graded: what is written, what is kept, what is graded again, what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from tiny_class import QUICK, RIGHT, TINY, WRONG, handed_in, needs_box, result_of, running, scores, until
from traitlets.config import PyFileConfigLoader

from course_utils.errors import CourseError
from courseware.grading import box, intake, scheduler, verdict

pytestmark = needs_box

Grade = Callable[..., Path]


def files(out: Path) -> dict[str, float]:
    return {str(p): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}


def test_partial_answers_get_their_points(grade: Grade) -> None:
    only_visible = "def double(x):\n    return np.array([2.0, 4.0])"
    changes_input = "def double(x):\n    x *= 2\n    return x"
    crashes_hidden = "def double(x):\n    assert x.ndim == 1\n    return 2 * x"
    wrong = {"only visible": only_visible, "changes input": changes_input, "crashes hidden": crashes_hidden, "wrong": WRONG}
    out = grade({f"{name}.ipynb": handed_in({**RIGHT, "double": code}) for name, code in wrong.items()})
    assert [scores(out, name) for name in wrong] == [(1, 3), (1, 3), (1, 3), (0, 3)]
    assert "AssertionError" in result_of(out, "crashes hidden")["reasons"]["double"]
    assert "input" not in result_of(out, "changes input")["reasons"]["double"]  # it does not say what the hidden test is
    assert "x after" in result_of(out, "changes input")["why"]["double"]


def test_running_twice_changes_nothing_and_a_change_is_graded(grade: Grade, right: dict[str, Any]) -> None:
    out = grade({"a.ipynb": right, "b.ipynb": handed_in({}), "c.ipynb": b"no"})
    before = files(out)
    grade({})
    after = files(out)
    assert {p for p in before if before[p] != after[p]} <= {
        str(out / name) for name in ("grades.csv", "grades-nbgrader.csv", "gradebook.db")
    }
    text = (out / "grades.csv").read_text(encoding="utf-8")
    grade({"b.ipynb": handed_in({"total": RIGHT["total"]})})
    changed = {Path(p).name for p, when in files(out).items() if before.get(p) != when}
    assert scores(out, "b") == (0, 3) and (out / "grades.csv").read_text(encoding="utf-8") != text
    assert not {"a.json", "a.html", "c.json", "c.html"} & changed and {"b.json", "b.html"} <= changed


def test_manual_grades_survive_and_reach_the_feedback(grade: Grade, right: dict[str, Any]) -> None:
    out = grade({"a.ipynb": right})
    lab = TINY.name
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        given = book.find_grade("double-hidden", lab, lab, "a")
        given.manual_score, given.extra_credit = 0.5, 0.25
        book.find_comment("double", lab, lab, "a").manual_comment = "Please name your variables."
        book.db.commit()
    grade({})
    assert "Please name your variables." in (out / "feedback" / "a.html").read_text(encoding="utf-8")
    grade({"a.ipynb": handed_in({**RIGHT, "total": "def total(values):\n    return 0.0"})})
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        given = book.find_grade("double-hidden", lab, lab, "a")
        assert (given.manual_score, given.extra_credit, given.auto_score) == (0.5, 0.25, 2.0)
        assert book.find_comment("double", lab, lab, "a").comment == "Please name your variables."
        assert book.find_submission(lab, "a").score == 1 + 0.75
    assert "a,90_tiny,1.75,6.0" in (out / "grades.csv").read_text(encoding="utf-8")


def test_formgrader_lists_the_class(grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    out = grade({"a.ipynb": right, "b.ipynb": handed_in({}), "c.ipynb": b"no"})
    monkeypatch.chdir(out)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(out)).load_config()
    formgrader = NbGraderAPI(CourseDirectory(config=config), config=config)
    (listed,) = [a for a in formgrader.get_assignments() if a["name"] == TINY.name]
    assert listed["num_submissions"] == 3
    assert {s["student"]: s["score"] for s in formgrader.get_submissions(TINY.name)} == {"a": 6, "b": 0, "c": 0}


def test_experiments_are_skipped_unless_an_answer_needs_them(grade: Grade) -> None:
    leans = handed_in({**RIGHT, "double": "def double(x):\n    return (2 if lab else 0) * x"})
    out = grade(
        {"leans.ipynb": leans}, limits={**QUICK, "cell": "60 s", "total": "120 s", "memory": "3 GB", "processes": "256"}
    )
    assert scores(out, "leans") == (3, 3)


def test_unsafe_marks_every_grade(grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "check", lambda: pytest.fail("no box is asked for"))
    out = grade({"a.ipynb": right}, unsafe=True)
    assert scores(out, "a") == (3, 3) and result_of(out, "a")["box"] == "unsafe"
    assert "WITHOUT a box" in (out / "grades.csv").read_text(encoding="utf-8") and "WITHOUT a box" in (
        out / "feedback" / "a.html"
    ).read_text(encoding="utf-8")


def test_without_bubblewrap_it_refuses(grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    box.check.cache_clear()
    with pytest.raises(box.BoxError, match=r"(?s)apt install bubblewrap.*docker.*--unsafe"):
        grade({"a.ipynb": right})
    box.check.cache_clear()


@pytest.mark.parametrize("where", ["/tmp", "/dev/shm"])  # folders that a box has for itself
def test_a_box_reads_a_course_in_any_folder(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir=where) as mine:
        folder = Path(mine) / "cache" / "deeper"
        folder.mkdir(parents=True)
        (folder / "weights").write_text("read", encoding="utf-8")
        monkeypatch.setenv("COURSE_CACHE", str(folder))
        with box._filter() as rules:
            program = [*box._bwrap(None, {}, rules), "cat", str(folder / "weights")]
            done = subprocess.run(
                program, capture_output=True, text=True, pass_fds=[rules] if rules else [], encoding="utf-8"
            )
    assert (done.stdout, done.stderr) == ("read", "")


def test_a_box_in_which_no_python_starts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    box.check.cache_clear()
    with pytest.raises(box.BoxError, match="bubblewrap does not work here"):
        box.check()
    box.check.cache_clear()


def command(submitted: Path, out: Path, prepared: verdict.Lab | None = None) -> list[str]:
    """A program that grades a class of the tiny lab; on one worker and without a canary where the lab is prepared."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from tiny_class import QUICK, TINY; from courseware.grading import scheduler, verdict\n"
        "options = scheduler.Options(workers=2, limits=QUICK)\n"
        "if len(sys.argv) > 4:\n"
        "    lab = verdict.Lab.loads(Path(sys.argv[4]).read_text(encoding='utf-8'))\n"
        "    verdict.prepare, options.workers, options.canary = lambda source, cache: lab, 1, False\n"
        "if __name__ == '__main__':\n"
        "    scheduler.grade_class(TINY, Path(sys.argv[2]), Path(sys.argv[3]), options)\n"
    )
    script, lab = out.parent / "grade_tiny.py", out.parent / "lab.json"
    script.write_text(code, encoding="utf-8")
    words = [sys.executable, str(script), str(Path(__file__).parent), str(submitted), str(out)]
    if prepared:
        lab.write_text(prepared.dumps(), encoding="utf-8")
        words.append(str(lab))
    return words


def started_with(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # a kernel that has ended, and is not buried yet
        return ""


@pytest.mark.parametrize("victim", ["run", "worker", "zygote", "kernel"])
def test_a_kill_loses_nothing(tmp_path: Path, victim: str, prepared: verdict.Lab) -> None:
    submitted, out = tmp_path / "submitted", tmp_path / "graded"
    submitted.mkdir()
    for n in range(5):
        slow = handed_in(RIGHT, before=f"import time\ntime.sleep({0 if n < 2 else 1.5})  # {n}")
        (submitted / f"s{n}.ipynb").write_text(json.dumps(slow), encoding="utf-8")
    process = subprocess.Popen(command(submitted, out, prepared), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    kept: dict[str, float] = {}
    end = time.monotonic() + 300
    while len(kept) < 2:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
        kept = {str(p): p.stat().st_mtime_ns for p in out.glob("results/s*.json")}
    if victim == "run":
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not running(str(tmp_path)))
        assert (
            subprocess.run(
                command(submitted, out, prepared), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            ).returncode
            == 0
        )
        assert all(os.stat(p).st_mtime_ns == when for p, when in kept.items()), "a finished grade was made again"
    else:
        sign = "spawn_main" if victim == "worker" else "zygote.py"  # a kernel is a child of the zygote, which is a worker's
        hit: list[psutil.Process] = []
        while not hit:  # between two submissions there is no kernel
            assert time.monotonic() < end and process.poll() is None
            found = [p for p in psutil.Process(process.pid).children(recursive=True) if sign in started_with(p)]
            hit = [p for p in found if (p.parent() in found) == (victim == "kernel")]
        hit[-1].send_signal(signal.SIGKILL)
        assert process.wait(600) == 0
    assert [scores(out, f"s{n}") for n in range(5)] == [(3, 3)] * 5


def test_a_full_disk_keeps_what_was_finished(grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from courseware.grading import gradebook

    write, written = gradebook.write, []

    def nearly_full(path: Path, text: str) -> None:
        if path.suffix == ".json":
            written.append(path)
            if len(written) > 1:
                raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(gradebook, "write", nearly_full)
    with pytest.raises(CourseError, match=r"disk.*full.*kept"):
        grade({"a.ipynb": right, "b.ipynb": right})
    first = written[0].stem
    monkeypatch.setattr(gradebook, "write", write)
    out = grade({})
    assert scores(out, "a") == scores(out, "b") == (3, 3) and written[0].stem == first


def test_two_runs_do_not_share_a_folder(grade: Grade, right: dict[str, Any], tmp_path: Path) -> None:
    from filelock import FileLock

    out = grade({"a.ipynb": right})
    with FileLock(out / ".lock"), pytest.raises(CourseError, match="Another run"):
        grade({})


def test_a_spreadsheet_gets_no_formula(grade: Grade) -> None:
    out = grade({"=1+1.ipynb": b"", "@x.ipynb": b""})
    rows = (out / "grades.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(rows) == 2 and all(row.startswith("'") for row in rows)


def test_layouts(tmp_path: Path) -> None:
    def students(path: Path) -> dict[str, str]:
        return {s.student: s.problem or s.read().decode() for s in intake.find(path, "90_tiny", 1000)}

    folders = tmp_path / "nbgrader"
    for student, name in (("ann", "90_tiny.ipynb"), ("bob", "Copy_of_90_tiny (1).ipynb"), ("cy", "answers.txt")):
        (folders / student / "90_tiny").mkdir(parents=True)
        (folders / student / "90_tiny" / name).write_text(student, encoding="utf-8")
    (folders / "ann" / "90_tiny" / "scratch.ipynb").write_text("not this one", encoding="utf-8")
    (folders / "dee").mkdir()
    (folders / ".DS_Store").write_text("junk", encoding="utf-8")
    found = students(folders)
    assert found.pop("dee").startswith("the folder is empty") and found == {"ann": "ann", "bob": "bob", "cy": "cy"}

    lms = tmp_path / "moodle.zip"
    with zipfile.ZipFile(lms, "w") as archive:
        archive.writestr("Ann Lee_101_assignsubmission_file_/90_tiny.ipynb", "ann")
        archive.writestr("Bob Ray_102_assignsubmission_file_90_tiny.ipynb", "bob")
        archive.writestr("raycy_103_555_90_tiny.ipynb", "cy")
        archive.writestr("deedi_LATE_104_556_90_tiny-1.ipynb", "dee")
        archive.writestr("eve.ipynb", "e" * 2000)
        archive.writestr("__MACOSX/._eve.ipynb", "junk")
    found = students(lms)
    assert "MB" in found.pop("eve")
    assert found == {"Ann Lee_101": "ann", "Bob Ray_102": "bob", "raycy_103": "cy", "deedi_104": "dee"}


def test_zip_slip_and_links_in_a_zip(grade: Grade, tmp_path: Path) -> None:
    lms = tmp_path / "class.zip"
    link = zipfile.ZipInfo("linked.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(lms, "w") as archive:
        archive.writestr("../../escaped.ipynb", "x")
        archive.writestr("/abs.ipynb", "x")
        archive.writestr("..\\windows.ipynb", "x")
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.ipynb", json.dumps(handed_in(RIGHT)))
    out = tmp_path / "graded"
    scheduler.grade_class(TINY, lms, out, scheduler.Options(limits=QUICK))
    assert scores(out, "good") == (3, 3)
    notes = [
        json.loads(p.read_text(encoding="utf-8"))["note"] for p in out.glob("results/*.json") if "90_tiny" not in p.name
    ]
    assert sum("leads out of the zip" in note for note in notes) >= 1 and sum("link" in note for note in notes) == 1
    assert not list(tmp_path.rglob("escaped.ipynb")) and not list(tmp_path.parent.glob("escaped.ipynb"))


def test_a_damaged_zip_member_gets_its_reason(tmp_path: Path) -> None:
    lms = tmp_path / "class.zip"
    with zipfile.ZipFile(lms, "w") as archive:
        archive.writestr("a.ipynb", json.dumps(handed_in(RIGHT)))
    data = bytearray(lms.read_bytes())
    data[60:80] = b"?" * 20
    lms.write_bytes(data)
    scheduler.grade_class(TINY, lms, tmp_path / "graded", scheduler.Options(limits=QUICK))
    assert "cannot be read" in result_of(tmp_path / "graded", "a")["note"]


def test_limits() -> None:
    assert box.Limits.read({"memory": "1.5 GB"}).memory == 1_500_000_000
    for bad in ({"memory": "much"}, {"memory": "-1 GB"}, {"colour": "red"}):
        with pytest.raises(CourseError, match=r"limit"):
            box.Limits.read(bad)  # type: ignore[arg-type]
