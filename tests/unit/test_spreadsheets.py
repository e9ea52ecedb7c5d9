"""The one reader of CSV files: a class's list and a platform's sheet come in every encoding and with every delimiter."""

from __future__ import annotations

from pathlib import Path

import pytest

from course_utils.errors import CourseError
from courseware.grading.roster import Roster
from courseware.grading.spreadsheets import Table

TEXT = "id,name\n7,Zoë\n8,Bob\n"
CHINESE = "学号,姓名\n7,张伟\n8,李雷\n"


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("cp1252"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
        ("sep=;\n" + TEXT.replace(",", ";")).replace("\n", "\r\n").encode("utf-8-sig"),
        CHINESE.encode("gb18030"),
    ],
    ids=["utf-8", "mark", "utf-16", "windows", "semicolon", "excel's text", "excel's sep", "chinese"],
)
def test_read_and_written_again_it_is_the_same(tmp_path: Path, data: bytes) -> None:
    table = Table.read(written(tmp_path, data), "--into")
    assert [len(row) for row in table.rows] == [2, 2, 2] and [row[0] for row in table.rows[1:]] == ["7", "8"]
    assert table.rows[1][1] in ("Zoë", "张伟")
    table.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == data


@pytest.mark.parametrize(
    "text",
    [
        "id,name\n7,Ann Lee\n",
        "sep=;\nid;name\n7;Ann Lee\n",
        "Course 10, winter\nid;name\n7;Ann Lee\n",  # a title whose comma separates nothing
        'id;name\n7;"Ann Lee"\n\n;\n',
    ],
)
def test_a_list_with_what_stands_around_it(tmp_path: Path, text: str) -> None:
    assert [(p.id, p.name) for p in Roster.read(written(tmp_path, text.encode())).people] == [("7", "Ann Lee")]


def test_a_list_of_one_column(tmp_path: Path) -> None:
    assert [p.id for p in Roster.read(written(tmp_path, b"2023001\n2023002\n")).people] == ["2023001", "2023002"]


@pytest.mark.parametrize("option", ["--students", "--into"])
def test_the_option_that_named_it_is_said(tmp_path: Path, option: str) -> None:
    with pytest.raises(CourseError, match=rf"^{option} .*is a workbook\. Save it as CSV"):
        Table.read(written(tmp_path, b"PK\x03\x04"), option)
    with pytest.raises(CourseError, match=rf"^{option} .*cannot be read: No such file"):
        Table.read(tmp_path / "nowhere.csv", option)
