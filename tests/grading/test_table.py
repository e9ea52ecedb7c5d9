"""What a class's table says from one run to the next, whatever happens to its files. No code is run: each gets 1 point."""

from __future__ import annotations

import csv
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook, get_alembic_version
from sqlalchemy import text
from tiny_class import QUICK, RIGHT, TINY, handed_in

from course_utils.errors import CourseError
from courseware.grading import autograde, box, scheduler, verdict

Rows = dict[str, dict[str, str]]
Grade = Callable[..., Rows]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> verdict.Lab:
    return verdict.prepare(TINY, tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def grade(tmp_path: Path, lab: verdict.Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grade]:
    """Grade a folder; the table by id. `grade.ran` lists who was graded anew."""
    ran: list[str] = []

    def instead(job: autograde.Job, text: str, _: verdict.Lab) -> autograde.Result:
        if job.trouble:
            return scheduler.given_up(job, lab, job.trouble)
        result = autograde.nothing_yet(job, lab)
        result.notebook, result.note = lab.release, job.problem
        if not job.problem:
            ran.append(job.student)
            nbformat.reads(job.data.decode(), as_version=4)
            result.scores["total-tests"] = 1.0
        return result

    def graded(submitted: Path, out: Path | None = None, **options: Any) -> Rows:
        ran.clear()
        out = out or tmp_path / "graded"
        scheduler.grade_class(TINY, submitted, out, scheduler.Options(workers=1, limits=QUICK, canary=False, **options))
        with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: row for row in rows}

    monkeypatch.setattr(scheduler._Worker, "grade", lambda _, *arguments: instead(*arguments))
    monkeypatch.setattr(verdict, "prepare", lambda *_: lab)
    monkeypatch.setattr(box, "check", lambda: None)
    graded.ran = ran  # type: ignore[attr-defined]
    yield graded


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    folder = tmp_path / "submitted"
    folder.mkdir()
    return folder


def hand_in(folder: Path, name: str, who: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(handed_in(RIGHT, before=f"# {who or name}")), encoding="utf-8")
    return path


def test_columns(grade: Grade, submitted: Path) -> None:
    for name in (
        "leeann_101_9001_a.ipynb",
        "leeann_101_9002_a-1.ipynb",
        "raybob_LATE_102_9003_a.ipynb",
        "hocy_103_text.html",
    ):
        hand_in(submitted, name)
    rows = grade(submitted)
    ann, bob, cy = rows["101"], rows["102"], rows["103"]
    assert (ann["student"], ann["file"], ann["attempt"]) == ("leeann", "leeann_101_9002_a-1.ipynb", "2")
    assert ann["other_files"] == "leeann_101_9001_a.ipynb" and (ann["late"], bob["late"]) == ("", "late")
    assert (ann["score"], ann["max_score"], ann["lab"], ann["double"], ann["total"]) == (
        "1.0",
        "6.0",
        "90_tiny",
        "0.0",
        "1.0",
    )
    assert (cy["score"], "no notebook" in cy["note"]) == ("0.0", True)


def test_names_reach_the_gradebook(grade: Grade, submitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # alembic is there
    hand_in(submitted, "Ann Lee_101_assignsubmission_file_/a.ipynb")
    hand_in(submitted, "a?b.ipynb")
    assert set(grade(submitted)) == {"101", "a?b"}
    with Gradebook(f"sqlite:///{tmp_path / 'graded' / 'gradebook.db'}") as book:
        assert {(s.id, s.last_name) for s in book.students} == {("Ann Lee_101", "Ann Lee"), ("a%3Fb", "a?b")}
        assert book.db.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [get_alembic_version()]
    assert {path.name for path in (tmp_path / "graded" / "feedback").iterdir()} == {"Ann Lee_101.html", "a%3Fb.html"}


def test_a_file_that_cannot_be_read_now_has_no_grade_and_is_tried_again(grade: Grade, submitted: Path) -> None:
    hand_in(submitted, "ann.ipynb")
    vanishing = hand_in(submitted, "bob.ipynb")
    data = vanishing.read_bytes()
    read = Path.open

    def unreadable(self: Path, *arguments: Any, **more: Any) -> Any:
        if self.name == "bob.ipynb":
            raise OSError(116, "Stale file handle")
        return read(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", unreadable)
        rows = grade(submitted)
    assert rows["ann"]["score"] == "1.0" and (rows["bob"]["score"], rows["bob"]["percent"], rows["bob"]["total"]) == (
        "",
        "",
        "",
    )
    assert "Stale file handle" in rows["bob"]["note"] and vanishing.read_bytes() == data
    rows = grade(submitted)
    assert (rows["bob"]["score"], rows["bob"]["note"], grade.ran) == ("1.0", "", ["bob"])  # type: ignore[attr-defined]


def test_a_file_that_vanishes_while_others_are_graded(
    grade: Grade, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in ("ann", "bob"):
        hand_in(submitted, f"{who}.ipynb")
    away = submitted.parent / "away.ipynb"
    worker = scheduler._Worker.grade

    def first(self: scheduler._Worker, job: autograde.Job, *more: Any) -> autograde.Result:
        if job.student == "ann":
            (submitted / "bob.ipynb").replace(away)
        return worker(self, job, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler._Worker, "grade", first)
        rows = grade(submitted)
    assert rows["ann"]["score"] == "1.0" and rows["bob"]["score"] == "" and "cannot be read just now" in rows["bob"]["note"]
    away.replace(submitted / "bob.ipynb")
    assert grade(submitted)["bob"]["score"] == "1.0" and grade.ran == ["bob"]  # type: ignore[attr-defined]


def test_a_key_is_of_the_bytes_that_were_graded(grade: Grade, submitted: Path) -> None:
    for who in ("ann", "bob"):
        hand_in(submitted, f"{who}.ipynb")
    worker = scheduler._Worker.grade

    def first(self: scheduler._Worker, job: autograde.Job, *more: Any) -> autograde.Result:
        if job.student == "ann":
            hand_in(submitted, "bob.ipynb", "changed while ann was graded")
        return worker(self, job, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler._Worker, "grade", first)
        grade(submitted)
    grade(submitted)
    assert grade.ran == []  # type: ignore[attr-defined]
    hand_in(submitted, "bob.ipynb")
    grade(submitted)
    assert grade.ran == ["bob"]  # type: ignore[attr-defined]


def test_the_output_inside_of_what_was_handed_in(grade: Grade, submitted: Path) -> None:
    hand_in(submitted, "alice.ipynb")
    hand_in(submitted, "bob.ipynb")
    out = submitted / "graded"
    for _ in range(3):
        assert set(grade(submitted, out)) == {"alice", "bob"}
    assert set(grade(submitted, submitted.parent / "elsewhere")) == {"alice", "bob"}
    with pytest.raises(CourseError, match="is the folder that was handed in"):
        grade(submitted, submitted)


def test_a_renamed_file_keeps_its_grade_and_what_a_person_gave(grade: Grade, submitted: Path, tmp_path: Path) -> None:
    path = hand_in(submitted, "alice.ipynb")
    hand_in(submitted, "bob.ipynb")
    out = tmp_path / "graded"
    grade(submitted)
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        book.find_grade("double-hidden", TINY.name, TINY.name, "alice").manual_score = 0.5
        book.db.commit()
    path.rename(submitted / "Alice Smith.ipynb")
    rows = grade(submitted)
    assert set(rows) == {"Alice Smith", "bob"} and rows["Alice Smith"]["score"] == "1.5"
    assert grade.ran == []  # type: ignore[attr-defined]
    left = [str(path) for path in out.rglob("*") if "alice" in path.name]
    assert left == [] and (out / "feedback" / "Alice Smith.html").exists()
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}") as book:
        assert {student.id for student in book.students} == {"Alice Smith", "bob"}


def test_who_is_not_handed_in_again_keeps_the_row(grade: Grade, submitted: Path, tmp_path: Path) -> None:
    hand_in(submitted, "ann.ipynb")
    grade(submitted)
    hand_in(tmp_path / "late", "bob.ipynb")
    rows = grade(tmp_path / "late")
    assert (rows["ann"]["score"], rows["ann"]["note"]) == ("1.0", "graded earlier; not among what was handed in now")
    assert rows["bob"]["note"] == ""


def test_the_list_of_the_class_in_the_table(grade: Grade, submitted: Path, tmp_path: Path) -> None:
    hand_in(submitted, "张伟.ipynb")
    hand_in(submitted, "stranger.ipynb")
    grade(submitted)
    (tmp_path / "list.csv").write_bytes("学号;姓名;邮箱\n2023001;张伟;zw@x.cn\n2023002;王芳;\n".encode("gbk"))
    rows = grade(submitted, students=tmp_path / "list.csv")
    assert set(rows) == {"2023001", "2023002", "stranger"} and grade.ran == []  # type: ignore[attr-defined]
    assert (rows["2023001"]["student"], rows["2023001"]["file"]) == ("张伟", "张伟.ipynb")
    assert (rows["2023002"]["student"], rows["2023002"]["score"]) == ("王芳", "")
    assert rows["2023002"]["note"] == "nothing was handed in" and "not on the list" in rows["stranger"]["note"]


def test_doubts_stop_before_anything_is_written(grade: Grade, submitted: Path, tmp_path: Path) -> None:
    for name in ("A/x.ipynb", "A/y.ipynb", "B/z.ipynb"):
        hand_in(submitted, name)
    with pytest.raises(CourseError, match="--yes"):
        grade(submitted)
    assert not (tmp_path / "graded").exists()
    assert set(grade(submitted, certain=True)) == {"x", "y", "z"}


def test_the_prepared_lab_has_no_student_s_name(grade: Grade, submitted: Path, tmp_path: Path, lab: verdict.Lab) -> None:
    hand_in(submitted, f"{TINY.name}-{lab.key[:16]}.ipynb")
    hand_in(submitted, "ann.ipynb")
    for _ in range(2):
        assert len(grade(submitted)) == 2
    assert not list((tmp_path / "graded" / "results").glob("*.partial"))


def test_an_output_that_is_not_ours(grade: Grade, submitted: Path, tmp_path: Path) -> None:
    hand_in(submitted, "ann.ipynb")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "grades.csv").write_text("last year's", encoding="utf-8")
    with pytest.raises(CourseError, match=r"holds grades.csv, which `course grade` did not write"):
        grade(submitted, tmp_path / "mine")
    assert (tmp_path / "mine" / "grades.csv").read_text(encoding="utf-8") == "last year's"
    (tmp_path / "older").mkdir()
    grade(submitted, tmp_path / "older")
    os.unlink(tmp_path / "older" / ".course-output")  # as an earlier version left it
    assert grade(submitted, tmp_path / "older")


def test_a_whole_class_in_one_zip(grade: Grade, tmp_path: Path) -> None:
    made = tmp_path / "class.zip"
    with zipfile.ZipFile(made, "w") as packed:
        for who in ("alice", "bob", "carol"):
            packed.writestr(f"submissions/{who}.ipynb", json.dumps(handed_in(RIGHT, before=f"# {who}")))
    assert set(grade(made)) == {"alice", "bob", "carol"}
