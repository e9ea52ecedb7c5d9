"""A term's table: a row for each student, nobody merged with another, nobody and no point missing without a word."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from course_utils.errors import CourseError
from courseware.grading import gradebook, term
from courseware.grading.autograde import Result

Students = dict[str, tuple[str, str, float | None]]  # name of the result → id, name, # name of the result → id, name, score
Graded = Callable[..., Path]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty gradebook: to make one takes nbgrader seconds, and to copy it none."""
    folder = tmp_path_factory.mktemp("blank")
    with gradebook.opened(folder):
        return folder / "gradebook.db"


@pytest.fixture
def graded(blank: Path) -> Graded:
    def made(folder: Path, lab: str, most: float, students: Students, late: str = "") -> Path:
        (folder / "results").mkdir(parents=True)
        shutil.copy(blank, folder / "gradebook.db")
        return filled(folder, lab, most, students, late)

    return made


def filled(folder: Path, lab: str, most: float, students: Students, late: str) -> Path:
    """What `course grade` leaves, as far as a term needs it."""
    with gradebook.opened(folder) as grades:
        grades.add_assignment(lab)
        grades.add_notebook(lab, lab)
        grades.add_grade_cell("x-tests", lab, lab, max_score=most, cell_type="code")
        for student, (number, name, score) in students.items():
            grades.add_student(student)
            (notebook,) = grades.add_submission(lab, student).notebooks
            notebook.grades[0].auto_score = score or 0.0
            result = Result(student, lab, "" if score is None else "key", f"{student}.ipynb", "", "boxed")
            result.about = {"id": number, "name": name, "late": "late" if student == late else ""}
            (folder / "results" / f"{student}.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
        grades.db.commit()
    return folder


def table(path: Path) -> list[dict[str, str]]:
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def two(tmp_path: Path, graded: Graded) -> list[Path]:
    ann, bob, cy = ("101", "张伟"), ("102", "=Bob"), ("103", "Cy")
    return [
        graded(tmp_path / "10", "10_quantization", 46, {"a": (*ann, 40.5), "b": (*bob, 46.0)}, late="b"),
        graded(tmp_path / "02", "02_tuning", 20, {"x": (*ann, 20.0), "y": (*cy, None)}),
    ]


def test_a_row_for_each_student_and_a_column_for_each_lab(tmp_path: Path, two: list[Path]) -> None:
    said = "\n".join(term.write(two, tmp_path / "term.csv"))
    rows = table(tmp_path / "term.csv")
    assert list(rows[0])[:6] == ["id", "student", "02_tuning", "10_quantization", "total", "max_total"]
    assert [(r["id"], r["student"], r["02_tuning"], r["10_quantization"], r["total"], r["max_total"]) for r in rows] == [
        ("101", "张伟", "20.0", "40.5", "60.5", "66.0"),
        ("102", "'=Bob", "", "46.0", "46.0", "66.0"),
        ("103", "Cy", "", "", "0.0", "66.0"),
    ]
    assert rows[1]["note"] == "nothing handed in: 02_tuning" and rows[1]["late"] == "10_quantization"
    assert "no grade yet: 02_tuning" in rows[2]["note"]
    assert "nothing from: =Bob" in said and "nothing from: Cy" in said and "no grade yet, counted as 0: Cy" in said


def test_points_given_by_hand_count_at_once(tmp_path: Path, two: list[Path]) -> None:
    with gradebook.opened(two[1]) as grades:
        (notebook,) = grades.find_submission("02_tuning", "y").notebooks
        notebook.grades[0].manual_score = 12.0
        grades.db.commit()
    term.write(two, tmp_path / "term.csv")
    assert [(r["02_tuning"], r["total"]) for r in table(tmp_path / "term.csv")][2] == ("12.0", "12.0")


def test_weights(tmp_path: Path, two: list[Path]) -> None:
    said = term.write(two, tmp_path / "term.csv", weights=["10=3"])
    assert (
        "10_quantization: 2 handed in, 46 points, weight 3" in said and "02_tuning: 2 handed in, 20 points, weight 1" in said
    )
    assert [r["total"] for r in table(tmp_path / "term.csv")] == [
        str(round((100 + 3 * 100 * 40.5 / 46) / 4, 2)),
        "75.0",
        "0.0",
    ]


def test_the_list_of_the_class_gives_the_order_and_who_is_who(tmp_path: Path, graded: Graded, two: list[Path]) -> None:
    people = tmp_path / "list.csv"
    people.write_text("id,name,student number\n9,Zoe,77\n102,Bob,88\nS1,张伟,99\n", encoding="utf-8")
    third = graded(tmp_path / "03", "03_rlhf", 10, {"w": ("张伟", "张伟", 7.0), "v": ("55", "Eve", 1.0)})
    said = "\n".join(term.write([*two, third], tmp_path / "term.csv", people))
    rows = table(tmp_path / "term.csv")
    assert [(r["id"], r["total"]) for r in rows] == [
        ("9", "0.0"),
        ("102", "46.0"),
        ("S1", "67.5"),
        ("103", "0.0"),
        ("55", "1.0"),
    ]
    assert "not on the list of the class: Cy, Eve" in said and "one name" not in said
    assert rows[0]["note"] == "nothing handed in: 02_tuning, 03_rlhf, 10_quantization"


def test_nobody_is_merged_with_another_and_doubles_are_named(tmp_path: Path, graded: Graded) -> None:
    folders = [
        graded(tmp_path / "a", "01_x", 10, {"p": ("7", "Ann", 4.0), "q": ("7", "Bob", 5.0), "r": ("8", "Cy", 1.0)}),
        graded(tmp_path / "b", "01_x", 10, {"r2": ("8", "Cy", 3.0), "s": ("cy@x", "Cy", 2.0)}),
    ]
    said = "\n".join(term.write(folders, tmp_path / "term.csv"))
    rows = {(r["id"], r["student"]): r for r in table(tmp_path / "term.csv")}
    assert {who: r["01_x"] for who, r in rows.items()} == {
        ("7", "Ann"): "4.0", ("7", "Bob"): "5.0", ("8", "Cy"): "3.0", ("cy@x", "Cy"): "2.0"
    }  # fmt: skip
    assert rows["8", "Cy"]["note"] == "twice, the better counts: 01_x"
    assert "Cy is there 2 times, the best counts: 1 (r.ipynb), 3 (r2.ipynb)" in said
    assert "one name, several ids: Cy (8, cy@x)" in said and "--students" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"graded": ["nowhere"]}, "nowhere holds no gradebook.db"),
        ({"weights": ["11=1"]}, "no such lab. There are: 02_tuning, 10_quantization"),
        ({"weights": ["10"]}, "write LAB=NUMBER"),
        ({"weights": ["10=0", "02=0"]}, "all labs weigh 0"),
        ({"graded": ["other"]}, "to 40 points, and another folder to 46"),
        ({"out": "mine.csv"}, "did not write it"),
        ({"out": "10"}, "is a folder"),
    ],
)
def test_what_cannot_be_joined_is_said(
    tmp_path: Path, graded: Graded, two: list[Path], change: dict[str, Any], said: str
) -> None:
    graded(tmp_path / "other", "10_quantization", 40, {})
    (tmp_path / "mine.csv").write_text("my,own\n", encoding="utf-8")
    more = [tmp_path / name for name in change.get("graded", [])]
    with pytest.raises(CourseError, match=said):
        term.write([*two, *more], tmp_path / change.get("out", "term.csv"), weights=change.get("weights", []))
    assert (tmp_path / "mine.csv").read_text(encoding="utf-8") == "my,own\n"


def test_it_may_be_written_again(tmp_path: Path, two: list[Path]) -> None:
    for _ in range(2):
        term.write(two, tmp_path / "new" / "term.csv")
    assert len(table(tmp_path / "new" / "term.csv")) == 3
