"""A machine in trouble: it costs no student a grade, and whoever runs the grader reads one message that says what to do."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_notebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.converters import BaseConverter
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import DatabaseError, OperationalError
from test_class import command, started_with
from tiny_class import QUICK, RIGHT, TINY, Here, handed_in, needs_box, result_of, scores
from traitlets.config import PyFileConfigLoader

from course_utils.errors import CourseError
from courseware.grading import autograde, box, execution, gradebook, scheduler, verdict, watch, workers

Grade = Callable[..., Path]


@needs_box
def test_a_file_that_cannot_be_read_for_a_moment(
    grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone: list[str] = ["b.ipynb"]
    opened = Path.open

    def flaky(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if path.name in gone and mode == "rb":
            raise OSError(errno.EIO, "the network folder does not answer")
        return opened(path, mode, *more, **named)

    monkeypatch.setattr(Path, "open", flaky)
    out = grade({"a.ipynb": right, "b.ipynb": right})
    result = result_of(out, "b")
    assert scores(out, "a") == (3, 3) and not result["key"] and "cannot be read" in result["note"]
    assert "1 could not be graded, through no fault of theirs (b)" in capsys.readouterr().out
    gone.clear()
    grade({})
    assert scores(out, "b") == (3, 3)
    gone.append("b.ipynb")
    grade({})
    assert scores(out, "b") == (3, 3) and result_of(out, "b")["key"]  # what was graded stays


@needs_box
def test_the_key_is_of_the_bytes_that_were_graded(
    grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes between a first look at it and its turn."""
    opened, looks = Path.open, []

    def changing(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if path.name != "a.ipynb" or mode != "rb":
            return opened(path, mode, *more, **named)
        looks.append(path)
        return io.BytesIO(json.dumps(handed_in({}) if len(looks) < 2 else right).encode())

    monkeypatch.setattr(Path, "open", changing)
    out = grade({"a.ipynb": right})
    assert scores(out, "a") == (3, 3)
    before = (out / "results" / "a.json").stat().st_mtime_ns
    assert len(looks) > 1
    monkeypatch.setattr(Path, "open", opened)
    grade({})
    assert (out / "results" / "a.json").stat().st_mtime_ns == before


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Boxes for kernels cannot be made while this file is there; each failure takes a line from it."""
    here = tmp_path / "broken"
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ -s {here} ] && case "$*" in *--bind*/tmp/box-*) sed -i 1d {here}; '
        'echo "bwrap: Can\'t fork: Resource temporarily unavailable" >&2; exit 1;; esac\nexec /usr/bin/bwrap "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return here


@needs_box
@pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="bubblewrap lies elsewhere")
def test_no_box_for_a_while(grade: Grade, right: dict[str, Any], broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_Worker", Here)
    monkeypatch.setattr(execution, "_PAUSES", (0, 0))
    broken.write_text("x\n" * 1000, encoding="utf-8")
    out = grade({"a.ipynb": right}, workers=1)
    assert not result_of(out, "a")["key"] and "could not be graded" in result_of(out, "a")["note"]
    broken.write_text("x\n" * 2, encoding="utf-8")  # well again after two
    grade({}, workers=1)
    assert scores(out, "a") == (3, 3) and result_of(out, "a")["key"]


@needs_box
@pytest.mark.filterwarnings("ignore:no warm start")
@pytest.mark.parametrize("warm", [True, False])
def test_a_kernel_that_the_machine_kills_is_tried_again(prepared: verdict.Lab, warm: bool) -> None:
    slow = handed_in({**RIGHT, "double": "import time\ntime.sleep(3)\n" + RIGHT["double"]})
    limits = vars(box.Limits.read(QUICK))
    job = autograde.Job("ada", "ada.ipynb", "", json.dumps(slow).encode(), "", "key", limits, warm=warm)
    killed: list[int] = []

    def kill_once() -> None:
        end = time.monotonic() + 60
        while not killed and time.monotonic() < end:
            time.sleep(0.2)
            for process in psutil.Process().children(recursive=True):
                if "ipykernel_launcher" in started_with(process) or (warm and "zygote.py" in started_with(process)):
                    inside = watch.namespace(process.pid) not in ("", watch.namespace(os.getpid()))
                    if inside and time.time() - process.create_time() > 1.5:
                        process.send_signal(signal.SIGKILL)
                        killed.append(process.pid)
                        return

    threading.Thread(target=kill_once, daemon=True).start()
    result = autograde.grade(job, prepared.dumps())
    assert killed and sum(result.scores.values()) == 6, result


def test_the_key_covers_all_that_can_change_a_grade(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(verdict.__file__).parent
    read, changed = Path.read_bytes, [Path()]
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b" " if path == changed[0] else b""))
    before = verdict.lab_key(TINY)
    import course_utils

    helpers = Path(course_utils.__file__).parent
    named = [
        "box",
        "seccomp",
        "zygote",
        "session",
        "in_kernel",
        "execution",
        "autograde",
        "restore",
        "verdict",
        "watch",
        "cgroup",
        "comparator",
        "wire",
        "comparison_process",
    ]
    for path in [
        *(package / f"{name}.py" for name in named), package / "limits.toml", TINY.lab_source, helpers / "lab.py",
        helpers / "csv" / "gpus.csv",
        *(package.parent / f"{name}.py" for name in ("verify", "build", "chapters", "cell_names")),
    ]:  # fmt: skip
        changed[0] = path
        assert verdict.lab_key(TINY) != before, path
    changed[0] = package / "gradebook.py"
    assert verdict.lab_key(TINY) == before
    monkeypatch.setattr(verdict, "_packages", lambda: ["another lock"])
    assert verdict.lab_key(TINY) != before


def test_a_new_version_of_a_package_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(name.startswith("numpy==") for name in verdict._packages()[1:])
    assert "# The tested set" in verdict._packages()[0]


def test_a_damaged_copy_of_the_prepared_lab_is_made_again(tmp_path: Path, prepared: verdict.Lab) -> None:
    kept = tmp_path / f"{TINY.name}-{verdict.lab_key(TINY)[:16]}.json"
    kept.write_text(prepared.dumps()[:100], encoding="utf-8")
    assert verdict.prepare(TINY, tmp_path) == prepared


@needs_box
@pytest.mark.parametrize("name", ["percent%20 and quest?ion=1#hash", "带 目录;quote'x\nnext line"])
def test_any_name_for_the_output_folder(
    tmp_path: Path, name: str, prepared: verdict.Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "prepare", lambda source, cache: prepared)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ipynb").write_text("no notebook", encoding="utf-8")
    scheduler.grade_class(TINY, tmp_path / "in", tmp_path / name, scheduler.Options(limits=QUICK, workers=1))
    assert (tmp_path / name / "gradebook.db").stat().st_size > 1000
    assert {path.name for path in tmp_path.iterdir()} == {"in", name}


@needs_box
def test_two_first_runs_at_once(tmp_path: Path, right: dict[str, Any]) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.ipynb").write_text(json.dumps(right), encoding="utf-8")
    both = [
        subprocess.Popen(command(tmp_path / "in", tmp_path / "out"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1].decode() for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes, said
    assert all(code == 0 or "Another run is grading" in text for code, text in zip(codes, said, strict=True)), said
    assert [scores(tmp_path / "out", name) for name in "abc"] == [(3, 3)] * 3


@needs_box
def test_a_gradebook_that_is_damaged_or_locked(grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradebook, "_PATIENCE", 1)
    out = grade({"a.ipynb": right})
    database = out / "gradebook.db"
    whole = database.read_bytes()
    with sqlite3.connect(database) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CourseError, match=r"locked by another program.*kept"):
            grade({"b.ipynb": right})
        other.rollback()
    database.write_bytes(whole[:3000])
    with pytest.raises(CourseError, match=r"gradebook.db is damaged.*made anew from the results"):
        grade({})
    database.write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    with pytest.raises(CourseError, match=r"gradebook.db is damaged"):
        grade({})
    database.unlink()
    grade({})
    assert scores(out, "a") == scores(out, "b") == (3, 3) and "a,90_tiny,6.0" in (out / "grades.csv").read_text(
        encoding="utf-8"
    )


def test_a_result_that_is_damaged_is_no_result(tmp_path: Path) -> None:
    kept = gradebook.Book(tmp_path, verdict.Lab(TINY.name, "key", nbformat.writes(new_notebook())))
    kept.results.mkdir()
    good = vars(autograde.Result("a", TINY.name, "key", "a.ipynb", "", "boxed"))
    for content in (good, {**good, "scores": None}, {**good, "more": 1}, [], 5, "{"):
        (kept.results / "a.json").write_text(content if content == "{" else json.dumps(content), encoding="utf-8")
        assert (kept.known("a") is not None) == (content is good), content
    (kept.results / "a.json").unlink()
    (kept.results / "a.json").mkdir()
    assert kept.known("a") is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"disk of out is full.*kept"),
        (OSError(errno.EROFS, "Read-only file system", "out/results"), "out cannot be written.*another --out"),
        (OSError(errno.EACCES, "Permission denied", "out/.lock"), "out cannot be written"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "too long"),
        (OperationalError("", None, Exception("database or disk is full")), "disk of out is full"),
        (OperationalError("", None, Exception("attempt to write a readonly database")), "cannot be written"),
        (OperationalError("", None, Exception("database is locked")), "locked"),
        (DatabaseError("", None, Exception("database disk image is malformed")), "damaged"),
    ],
)
def test_one_message_for_what_a_disk_says(error: Exception, message: str) -> None:
    with pytest.raises(CourseError, match=message) as caught, scheduler._one_message(Path("out")):
        raise error
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 600


@needs_box
def test_nbgrader_s_own_buttons_are_refused(grade: Grade, right: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    out = grade({"a.ipynb": right})
    before = sorted(path for path in out.rglob("*"))
    monkeypatch.chdir(out)
    monkeypatch.setattr(BaseConverter, "start", BaseConverter.start)  # put back afterwards
    config = PyFileConfigLoader("nbgrader_config.py", path=str(out)).load_config()
    formgrader = NbGraderAPI(CourseDirectory(config=config), config=config)
    for press in (formgrader.autograde, formgrader.generate_feedback):
        said = press(TINY.name, "a")
        assert not said["success"] and "Not done, and nothing was changed" in said["log"], said
    assert sorted(path for path in out.rglob("*")) == before
    assert formgrader.get_submissions(TINY.name)[0]["score"] == 6


def test_a_worker_has_a_limit_of_memory_and_boxes_have_not() -> None:
    code = "from courseware.grading import box, workers\nimport os, resource\nworkers.begin(os.getppid())\n" \
        "print(resource.getrlimit(resource.RLIMIT_AS)[0], box._rlimits(box.Limits.read())['as'])"  # fmt: skip
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8").stdout
    assert said.split() == [str(workers.MEMORY), "-1"]


@needs_box
def test_a_box_that_cannot_be_watched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    box.check.cache_clear()
    monkeypatch.setattr(watch, "_status", lambda pid: {})
    with pytest.raises(box.BoxError, match="cannot be watched"):
        box.check()
    box.check.cache_clear()


def test_trouble_travels_between_processes() -> None:
    import pickle

    assert str(pickle.loads(pickle.dumps(execution.Trouble("why")))) == "why"
