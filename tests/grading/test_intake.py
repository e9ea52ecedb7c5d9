"""Whose is which file: exports and folders as platforms, systems and people really make them. No box is needed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import tarfile
import time
import unicodedata
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tiny_class import RIGHT, TINY, handed_in

from course_utils.errors import CourseError
from courseware.grading import archive, demo, intake
from courseware.grading.lab_match import Sought
from courseware.grading.roster import Roster

LAB = TINY.name
SOUGHT = Sought.of(TINY)
LARGEST = 50_000_000
ZIP_DATE = (2025, 11, 20, 10, 0, 0)


def notebook(who: str = "") -> bytes:
    return json.dumps(handed_in(RIGHT, before=f"# {who}" if who else "")).encode()


LECTURE = json.dumps(
    {"cells": [{"cell_type": "code", "source": "print('lecture')"}], "metadata": {"course": {"chapter": LAB}}, "nbformat": 4}
).encode()


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    """Files under a folder; a name that ends with / is an empty folder."""
    for name, data in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def zipped(files: dict[str, bytes], date: tuple[int, ...] = ZIP_DATE) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name, date), data)  # type: ignore[arg-type]
    return made.getvalue()


def raw_zip(files: dict[bytes, bytes], flag: bool = False, system: int = 3) -> bytes:
    """A zip with names as bytes: without the flag for UTF-8, or with it where it is false."""
    stand_ins = {f"{i:02}".ljust(len(raw), "x"): raw for i, raw in enumerate(files)}
    data = zipped({name: files[raw] for name, raw in stand_ins.items()})
    for name, raw in stand_ins.items():
        data = data.replace(name.encode(), raw)
    return _patched(data, flag, system)


def _patched(data: bytes, flag: bool, system: int) -> bytes:
    patched, at = bytearray(data), 0
    while (at := patched.find(b"PK\x01\x02", at)) >= 0:
        patched[at + 5] = system
        if flag:
            struct.pack_into("<H", patched, at + 8, 0x800)
        at += 4
    return bytes(patched)


def taken(path: Path, **options: Any) -> intake.Intake:
    return intake.find(path, SOUGHT, LARGEST, **options)


def students(path: Path, **options: Any) -> dict[str, str]:
    """Name → the file that is graded, or what is wrong with it."""
    found = taken(path, **options)
    assert len({s.student for s in found}) == len(found.submissions) == len({s.id for s in found})
    return {s.name: s.problem or s.file for s in found}


def in_zip(tmp_path: Path, files: dict[str, bytes], name: str = "class.zip") -> Path:
    path = tmp_path / name
    path.write_bytes(zipped(files))
    return path


# -- layouts

NB = notebook()
BLANK = json.dumps(demo.notebook(TINY, {})).encode()
LAYOUTS: dict[str, tuple[dict[str, bytes], set[str]]] = {
    "flat": ({"alice.ipynb": NB, "bob.ipynb": NB, "carol.ipynb": b""}, {"alice", "bob", "carol"}),
    "zip of a folder": ({"submissions/alice.ipynb": NB, "submissions/bob.ipynb": NB}, {"alice", "bob"}),
    "two folders around": ({"a/b/alice.ipynb": NB, "a/b/bob.ipynb": NB}, {"alice", "bob"}),
    "short names": ({"x/li.ipynb": NB, "x/lina.ipynb": NB, "x/an.ipynb": NB}, {"li", "lina", "an"}),
    "a folder each": ({"ann/90_tiny.ipynb": NB, "bob/hw.ipynb": NB, "bob/plot.png": b"x"}, {"ann", "bob"}),
    "a folder each, deeper": ({"top/ann/90_tiny.ipynb": NB, "top/bob/my work/hw.ipynb": NB}, {"ann", "bob"}),
    "own names in folders": ({"ann/first.ipynb": NB, "bob/second.ipynb": NB, "cy/third.ipynb": NB}, {"ann", "bob", "cy"}),
    "backslashes": ({"sub\\alice.ipynb": NB, "sub\\bob.ipynb": NB}, {"alice", "bob"}),
    "nbgrader": ({f"{who}/90_tiny/90_tiny.ipynb": NB for who in ("ann", "bob")}, {"ann", "bob"}),
    "nbgrader's course": (
        {
            "course101/submitted/ann/90_tiny/90_tiny.ipynb": NB,
            "course101/submitted/bob/90_tiny/90_tiny.ipynb": NB,
            "course101/submitted/bob/91_other/91_other.ipynb": NB,
            "course101/release/90_tiny/90_tiny.ipynb": NB,
            "course101/autograded/ann/90_tiny/90_tiny.ipynb": NB,
            "course101/gradebook.db": b"x",
        },
        {"ann", "bob"},
    ),
    "nbgrader's exchange": (
        {
            "inbound/ann+90_tiny+2025-11-02 10:00:00.1 UTC+r4nd/90_tiny.ipynb": NB,
            "inbound/ann+90_tiny+2025-11-03 10:00:00.1 UTC+r4ne/90_tiny.ipynb": NB,
            "inbound/bob+90_tiny+2025-11-02 10:00:00.1 UTC+r4nf/90_tiny.ipynb": NB,
        },
        {"ann", "bob"},
    ),
    "Moodle": (
        {
            "Ann Lee_101_assignsubmission_file_/90_tiny.ipynb": NB,
            "Ann Lee_101_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
            "Bob Ray_102_assignsubmission_file/sub/90_tiny.ipynb": NB,
            "Ann Lee_103_assignsubmission_file_/x.ipynb": NB,
            "李雷_104_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
        },
        {"Ann Lee", "Bob Ray", "李雷"},
    ),
    "Moodle, flat": (
        {"Ann Lee_101_assignsubmission_file_90_tiny.ipynb": NB, "Bob Ray_102_assignsubmission_file_x.ipynb": NB},
        {"Ann Lee", "Bob Ray"},
    ),
    "Moodle, blind, in German": (
        {"Teilnehmerin_7_assignsubmission_file_/a.ipynb": NB, "Teilnehmerin_8_assignsubmission_file_/a.ipynb": NB},
        {"Teilnehmerin 7", "Teilnehmerin 8"},
    ),
    "Moodle, a student's zip": (
        {
            "Ann Lee_101_assignsubmission_file_/ann.zip": zipped({"w/l/90_tiny.ipynb": NB}),
            "Bo_2_assignsubmission_file_/a.ipynb": NB,
        },
        {"Ann Lee", "Bo"},
    ),
    "the platform's zip inside": ({"CS101-Lab 10-4711.zip": zipped({
        "Ann Lee_101_assignsubmission_file_/90_tiny.ipynb": NB, "Bob Ray_102_assignsubmission_file_/90_tiny.ipynb": NB,
    })}, {"Ann Lee", "Bob Ray"}),
    "a zip for each group, and one unpacked": (
        {
            "A.zip": zipped({"A/Ann Lee_101_assignsubmission_file_/90_tiny.ipynb": NB}),
            "B.zip": zipped({"Bob Ray_102_assignsubmission_file_/90_tiny.ipynb": NB}),
            "B/Bob Ray_102_assignsubmission_file_/90_tiny.ipynb": NB,
        },
        {"Ann Lee", "Bob Ray"},
    ),
    "Canvas": (
        {
            "leeann_101_9001_90_tiny.ipynb": NB,
            "leeann_101_9006_report.pdf": b"%PDF",
            "raybob_LATE_102_9002_90_tiny-1.ipynb": NB,
            "LATE_anon_x9kQ2_9003_90_tiny.ipynb": NB,
            "anon_Ab3dE_9004_90_tiny.ipynb": NB,
            "de_la_cruz_104_9005_hw.zip": zipped({"hw.ipynb": NB}),
            "李雷_105_9007_90_tiny-3.ipynb": NB,
            "hocy_103_text.html": b"<p>",
            "2023001_107_9010_lab.ipynb": NB,
        },
        {"leeann", "raybob", "anon_x9kQ2", "anon_Ab3dE", "de_la_cruz", "李雷", "hocy", "2023001"},
    ),
    "Blackboard": (
        {
            "Lab_10_s_jsmith_attempt_2025-11-02-14-33-11.txt": b"Name: John Smith (s_jsmith)\nAssignment: Lab_10\n",
            "Lab_10_s_jsmith_attempt_2025-11-02-14-33-11_90_tiny.ipynb": NB,
            "Lab_10_s_adoe_attempt_2025-11-02-15-00-00.txt": b"Name: A Doe\r\nFiles:\r\n\tFilename: cut-short.ipynb\r\n",
            "cut-short.ipynb": NB,
            "Lab_10_s_cy_attempt_2025-11-02-15-00-00.txt": "姓名：陈宇 (s_cy)\n".encode(),
        },
        {"John Smith", "A Doe", "陈宇"},
    ),
    "Blackboard, in Spanish, without its texts": (
        {
            "Práctica 1_ana_intento_2025-11-02-14-33-11_a.ipynb": NB,
            "Práctica 1_luis_intento_2025-11-02-14-33-11_a.ipynb": NB,
        },
        {"ana", "luis"},
    ),
    "Brightspace": (
        {
            "index.html": b"<p>",
            "36914-312165 - Jo Doe - Oct 16, 2025 1140 AM - 90_tiny.ipynb": NB,
            "36914-312166 - Al-Amin Ray - Oct 17, 2025 140 PM - 90_tiny.ipynb": NB,
        },
        {"Jo Doe", "Al-Amin Ray"},
    ),
    "Gradescope": (
        {
            "assignment_4711_export/submission_metadata.yml": (
                b"---\nsubmission_1:\n  :submitters:\n  - :name: Ann Lee\n    :sid: '007'\n    :email: ann@x.edu\n"
                b"  :created_at: 2025-11-01 10:00:00 Z\n  :history: []\n"
                b"submission_2:\n  :submitters:\n  - :name: Bob Ray\n    :email: bob@x.edu\n"
                b"  - :name: Cy Ho\n    :email: cy@x.edu\n"
            ),
            "assignment_4711_export/submission_1/90_tiny.ipynb": NB,
            "assignment_4711_export/submission_2/90_tiny.ipynb": NB,
            "assignment_4711_export/submission_3/90_tiny.ipynb": NB,
        },
        {"Ann Lee", "Bob Ray", "Cy Ho", "submission_3"},
    ),
    "ILIAS": (
        {
            "Lab 10/Abgaben/Doe_Jane_jdoe_1001/90_tiny.ipynb": NB,
            "Lab 10/Abgaben/Roe_Rick_rroe_1002/Late submission - 90_tiny.ipynb": NB,
            "Lab 10/excel.xls": b"x",
        },
        {"Doe_Jane_jdoe_1001", "Roe_Rick_rroe_1002"},
    ),
    "ILIAS, in teams": (
        {
            "Lab 10/Abgaben/Team 12/Doe_Jane_jdoe_1001/90_tiny.ipynb": NB,
            "Lab 10/Abgaben/Team 13/Roe_Rick_rroe_1002/90_tiny.ipynb": NB,
        },
        {"Doe_Jane_jdoe_1001", "Roe_Rick_rroe_1002"},
    ),
    "Teams": (
        {
            "Submitted files/Ann Lee/Lab 10/Version 9/90_tiny.ipynb": b"old",
            "Submitted files/Ann Lee/Lab 10/Version 10/90_tiny.ipynb": NB,
            "Working files/Ann Lee/Lab 10/90_tiny.ipynb": NB,
            "Submitted files/Bob Ray/Lab 10/90_tiny.ipynb": NB,
        },
        {"Ann Lee", "Bob Ray"},
    ),
    "Teams, in German": (
        {f"Eingereichte Dateien/{who}/Lab 10/Version 1/a.ipynb": NB for who in ("Ann Lee", "Bo")},
        {"Ann Lee", "Bo"},
    ),
    "Teams, in Chinese, one of them not handed in": (
        {
            "已提交的文件/张伟/实验10/版本 2/a.ipynb": NB,
            "工作文件/张伟/实验10/a.ipynb": NB,
            "工作文件/王芳/实验10/a.ipynb": NB,
        },
        {"张伟", "王芳"},
    ),
    "Classroom": (
        {
            "Lab 10/Jane Doe - 90_tiny.ipynb": NB,
            "Lab 10/Jane Doe - my notes on cats.pdf": b"%PDF",
            "Lab 10/Wei Zhang - Copy of 90_tiny.ipynb": NB,
        },
        {"Jane Doe", "Wei Zhang"},
    ),
    "Classroom, names of files by students": (
        {f"Lab 10/{name}.ipynb": NB for name in ("张伟 - 90_tiny", "王芳 - 90_tiny的副本", "Ann Lee - my cats - 2")},
        {"张伟", "王芳", "Ann Lee"},
    ),
    "Google Forms": ({"90_tiny - Jane Doe.ipynb": NB, "90_tiny (1) - Wei Zhang.ipynb": NB}, {"Jane Doe", "Wei Zhang"}),
    "Sakai": (
        {
            f"Lab 10/{who}/{part}": NB
            for who in ("Lee, Ann(alee)", "Ray, Bob(bray)")
            for part in ("Submission attachment(s)/90_tiny.ipynb", "timestamp.txt", "comments.txt")
        },
        {"Lee, Ann(alee)", "Ray, Bob(bray)"},
    ),
    "学习通": (
        {"计科2301班-实验10/2023001-张伟/90_tiny.ipynb": NB, "计科2301班-实验10/2023002-王芳/90_tiny.ipynb": NB},
        {"2023001-张伟", "2023002-王芳"},
    ),
    "学习通, two classes, one of them of one student": (
        {
            "实验10/计科2301班/2023001-张伟/附件/90_tiny.ipynb": NB,
            "实验10/计科2301班/2023002-王芳/附件/90_tiny.ipynb": NB,
            "实验10/计科2301班/2023003-赵六/report.pdf": b"%PDF",
            "实验10/计科2302班/2023101-李雷/附件/90_tiny.ipynb": NB,
        },
        {"2023001-张伟", "2023002-王芳", "2023003-赵六", "2023101-李雷"},
    ),
    "学习通, a course around classes whose names differ in a number": (
        {
            f"大模型/计科{place}班/{who}/量化.ipynb": NB
            for place, who in ((1, "2023001-张伟"), (1, "2023002-王芳"), (2, "2023003-李雷"), (2, "2023004-赵六"))
        },
        {"2023001-张伟", "2023002-王芳", "2023003-李雷", "2023004-赵六"},
    ),
    "学习通, classes of one student": (
        {f"大模型/{place}班/{who}/量化.ipynb": NB for place, who in ((1, "2023001-张伟"), (2, "2023003-李雷"))},
        {"2023001-张伟", "2023003-李雷"},
    ),
    "学习通, one student": ({"大模型/1班/2023001-张伟/90_tiny.ipynb": NB}, {"2023001-张伟"}),
    "numbered classes of files in a folder": (
        {f"x/CS{place}/{who}.ipynb": NB for place, who in ((1, "ann"), (1, "bob"), (2, "cy"), (2, "dee"))},
        {"ann", "bob", "cy", "dee"},
    ),
    "numbered classes of one student": (
        {f"计科{place}班/{who}.ipynb": NB for place, who in ((1, "张伟"), (2, "李雷"))},
        {"张伟", "李雷"},
    ),
    "names that differ in a number": (
        {f"{who}.zip": zipped({f"{who[0]}x.ipynb": NB}) for who in ("li", "li2", "wang")},
        {"li", "li2", "wang"},
    ),
    "a zip that is called a notebook": (
        {"ann.ipynb": zipped({"90_tiny.ipynb": NB}), "bob.ipynb.zip": zipped({"90_tiny.ipynb": NB})},
        {"ann", "bob"},
    ),
    "学习通, zips in a zip": (
        {"班级1.zip": zipped({f"{who}.zip": zipped({"x/作业.ipynb": NB}) for who in ("张伟-2023001", "王芳-2023002")})},
        {"张伟-2023001", "王芳-2023002"},
    ),
    "classes of files": (
        {f"{who}.ipynb": NB for who in ("一班/张伟", "一班/王芳", "二班/李雷", "二班/韩梅")} | {"二班/赵六.pdf": b"%PDF"},
        {"张伟", "王芳", "李雷", "韩梅", "赵六"},
    ),
    "a class of which few handed in notebooks": (
        {"班级1/张伟/a.ipynb": NB, "班级1/王芳/a.ipynb": NB, "班级1/赵/a.ipynb": NB, "班级2/李雷/report.pdf": b"%PDF"},
        {"张伟", "王芳", "赵", "李雷"},
    ),
    "the lab itself in each class": (
        {f"{place}/{who}": data for place in ("CS1", "CS2") for who, data in (
            ("90_tiny.ipynb", BLANK), (f"ann {place}x.ipynb", NB), (f"bob {place}x.ipynb", NB)
        )},
        {"ann CS1x", "bob CS1x", "ann CS2x", "bob CS2x"},
    ),
    "late ones in a folder": (
        {"alice.ipynb": NB, "bob.ipynb": NB, "late/carol.ipynb": NB, "late/dee/90_tiny.ipynb": NB},
        {"alice", "bob", "carol", "dee"},
    ),
    "files, folders and zips": (
        {"alice.ipynb": NB, "bob.zip": zipped({"x/hw.ipynb": NB}), "cy/90_tiny.ipynb": NB, "dee/": b"", "eve.pdf": b"%PDF"},
        {"alice", "bob", "cy", "dee", "eve"},
    ),
    "the course's folder of each": (
        {
            f"{who}/llm-course-main/{part}.ipynb": data
            for who in ("ann", "bob")
            for part, data in (("labs/90_tiny", NB), ("labs/91_x", LECTURE), ("lectures/90_tiny", LECTURE))
        },
        {"ann", "bob"},
    ),
    "all labs of each": (
        {
            f"{who}/{name}.ipynb": NB if name == LAB else LECTURE
            for who in ("ann", "bob")
            for name in ("01_plm_history", "02_instruction_tuning", "03_rlhf", LAB)
        },
        {"ann", "bob"},
    ),
    "a zip with one's own notebook and a stranger's": (
        {"bob.ipynb": NB, "ann.zip": raw_zip({b"ann.ipynb": NB, "王伟.ipynb".encode("gbk"): NB}, flag=True)},
        {"ann", "bob"},
    ),
    "nothing that can be read": (
        {"x/ANN.IPYNB": b"{}", "x/bob.ZIP": zipped({"90_tiny.ipynb": b"{}"}), "x/cy.ipynb": b"", "dee.ipynb": b"{}"},
        {"ANN", "bob", "cy", "dee"},
    ),
    "the lab itself beside": (
        {"90_tiny.ipynb": BLANK, "alice.ipynb": NB, "bob.ipynb": NB, "+1.ipynb": NB},
        {"alice", "bob", "+1"},
    ),
    "own helpers beside": (
        {"ann/90_tiny.ipynb": NB, "ann/helper.py": b"x", "ann/utils.py": b"x", "ann/cats.png": b"x"},
        {"ann"},
    ),
    "what systems leave behind": (
        {
            "__MACOSX/sub/._alice.ipynb": b"x",
            "sub/.DS_Store": b"x",
            "sub/Thumbs.db": b"x",
            "sub/alice.ipynb": NB,
            "sub/.ipynb_checkpoints/alice-checkpoint.ipynb": NB,
            "sub/bob.ipynb": NB,
            "sub/~$bob.docx": b"x",
        },
        {"alice", "bob"},
    ),
    "class, number and lab in a file's name": (
        {"张伟_2023001_90_tiny.ipynb": NB, "王芳_2023002_90_tiny.ipynb": NB},
        {"张伟_2023001_90_tiny", "王芳_2023002_90_tiny"},
    ),
    "numbers that are not Canvas's": (
        {"hw_3_2025_ann.ipynb": NB, "hw_3_2025_bob.ipynb": NB, "x_7_2025_cy.ipynb": NB, "x_7_2025_dee.ipynb": NB},
        {"hw_3_2025_ann", "hw_3_2025_bob", "x_7_2025_cy", "x_7_2025_dee"},
    ),
    "a class's zip with numbers in its name": (
        {"cs_101_2025_export.zip": zipped({"alice.ipynb": NB, "bob.ipynb": NB}), "notes.csv": b"x"},
        {"alice", "bob"},
    ),
    "a term's zip with years in its name": (
        {"2024-2025 - Lab 10 - Fall 2025 hand-ins.zip": zipped({"alice.ipynb": NB, "bob.ipynb": NB})},
        {"alice", "bob"},
    ),
    "a folder called as Teams's": (
        {f"Submitted files/{who}.ipynb": NB for who in ("班级1/张伟", "班级1/王芳", "班级2/李雷")},
        {"张伟", "王芳", "李雷"},
    ),
    "upper case": ({"ANN.IPYNB": NB, "bob.ZIP": zipped({"HW.IPYNB": NB})}, {"ANN", "bob"}),
}  # fmt: skip


@pytest.mark.parametrize("unpacked", [True, False], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_for_each_student(tmp_path: Path, layout: str, unpacked: bool) -> None:
    files, expected = LAYOUTS[layout]
    path = laid(tmp_path / "submitted", files) if unpacked else in_zip(tmp_path, files)
    found = taken(path)
    assert {s.name for s in found} == expected
    assert len({s.student for s in found}) == len(found.submissions) == len({s.id for s in found})
    seen = [s.file for s in found if s.content] + [name for s in found for name in s.others] + list(found.ignored)
    assert found.files <= len(seen), "every file is graded, beside one that is, or ignored with a reason"


def test_what_platforms_say_besides_is_kept(tmp_path: Path) -> None:
    found = {s.name: s for s in taken(in_zip(tmp_path, LAYOUTS["Canvas"][0]))}
    assert [found[who].late for who in ("leeann", "raybob", "anon_x9kQ2", "anon_Ab3dE")] == [False, True, True, False]
    assert found["raybob"].attempt == "2" and found["leeann"].others == ["leeann_101_9006_report.pdf"]
    assert (found["李雷"].student, found["李雷"].id) == ("李雷_105", "105")
    found = {s.name: s for s in taken(in_zip(tmp_path, LAYOUTS["Teams"][0]))}
    assert found["Ann Lee"].attempt == "10" and "Version 10" in found["Ann Lee"].file and len(found["Ann Lee"].others) == 2
    found = {s.name: s for s in taken(in_zip(tmp_path, LAYOUTS["ILIAS"][0]))}
    assert [s.late for s in found.values()] == [False, True]
    found = {s.name: s for s in taken(in_zip(tmp_path, LAYOUTS["late ones in a folder"][0]))}
    assert [found[who].late for who in ("alice", "carol", "dee")] == [False, True, True]
    found = {s.name: s for s in taken(in_zip(tmp_path, LAYOUTS["Gradescope"][0]))}
    assert (found["Ann Lee"].id, found["Bob Ray"].id, found["Bob Ray"].file) == ("007", "bob@x.edu", found["Cy Ho"].file)
    found = {s.name: s for s in taken(in_zip(tmp_path, LAYOUTS["Blackboard"][0]))}
    assert (found["John Smith"].id, found["A Doe"].id, found["A Doe"].file) == ("s_jsmith", "s_adoe", "cut-short.ipynb")


def test_who_is_on_gradescope_s_list_and_has_no_files_has_a_row(tmp_path: Path) -> None:
    people = ("submission_1", "Ann", 7), ("submission_2", "Bo", 8)
    listed = "".join(f"{where}:\n  :submitters:\n  - :name: {name}\n    :sid: {sid}\n" for where, name, sid in people)
    files = {"submission_metadata.yml": listed.encode(), "submission_1/a.ipynb": NB}
    found = {s.name: s for s in taken(in_zip(tmp_path, files))}
    assert set(found) == {"Ann", "Bo"} and found["Bo"].id == "8" and "nothing was handed in" in found["Bo"].problem


def test_one_id_of_two_students_is_said(tmp_path: Path) -> None:
    files = {"x/leeann_101_9001_a.ipynb": NB, "y/Ann Lee_101_assignsubmission_file_/a.ipynb": NB}
    found = taken(laid(tmp_path / "submitted", files))
    assert len(found.submissions) == 2 and found.report().count("the id 101 stands for 2 students") == 2


def test_the_report_says_what_was_found(tmp_path: Path) -> None:
    said = taken(in_zip(tmp_path, LAYOUTS["nbgrader's course"][0])).report()
    assert said.startswith("6 files → 2 students (layout: one folder a student)")
    assert "ignored: course101/" in said and "nbgrader's own folder" in said and "beside the folder 90_tiny" in said
    said = taken(in_zip(tmp_path, LAYOUTS["what systems leave behind"][0])).report()
    assert "7 files → 2 students (layout: one file a student)" in said and "Thumbs.db" in said


@pytest.mark.parametrize(
    "files",
    [
        {"A/x.ipynb": NB, "A/y.ipynb": NB, "B/z.ipynb": NB},
        {"A/x/a.ipynb": NB, "A/y/a.ipynb": NB, "B/z/a.ipynb": NB},
        {"A.zip": zipped({"x.ipynb": NB, "y.ipynb": NB}), "B.zip": zipped({"z.ipynb": NB})},
        {"A/x.ipynb": NB, "A/y.ipynb": NB, "A/w.ipynb": NB, "B/z.ipynb": NB},
    ],
)
def test_students_or_classes_it_stops_and_goes_on_when_told(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = laid(tmp_path / "submitted", files)
    with pytest.raises(CourseError, match=r"(?s)not clear who.*A holds \d notebooks and B one.*--students.*--yes"):
        taken(path)
    assert set(students(path, certain=True)) - {"w"} == {"x", "y", "z"}
    roster = tmp_path / "list.csv"
    roster.write_text("id,name\n1,A\n2,B\n", encoding="utf-8")
    assert set(students(path, students=roster)) == {"A", "B"}
    roster.write_text("id,name\n1,x\n2,y\n3,z\n", encoding="utf-8")
    assert set(students(path, students=roster)) - {"w"} == {"x", "y", "z"}


def test_one_student_s_odd_zip_does_not_stop_the_class(tmp_path: Path) -> None:
    files = {f"{who}.ipynb": NB for who in ("bob", "cy")} | {"ann.zip": zipped({"李雷.ipynb": NB, "韩梅.ipynb": NB})}
    path = laid(tmp_path / "submitted", files)
    found = {s.name: s for s in taken(path)}
    assert set(found) == {"ann", "bob", "cy"} and found["ann"].again and "not clear which" in found["ann"].problem
    assert "李雷.ipynb" in found["ann"].remark and "--yes" in taken(path).report()
    assert students(path, certain=True)["ann"].startswith("ann.zip/")


def test_no_student_makes_a_class_of_strangers(tmp_path: Path) -> None:
    honest = {f"{who}.zip": zipped({"90_tiny.ipynb": NB}) for who in ("ann", "bob", "cy", "dee")}
    forged = {f"{who}.ipynb": NB for who in ("bob", "cy", "dee")}
    path = laid(tmp_path / "submitted", {**honest, "eve.zip": zipped(forged)})
    found = students(path)
    assert set(found) == {"ann", "bob", "cy", "dee", "eve"} and "not clear which" in found["eve"]
    laid(path, {"eve.zip": zipped({f"{who}.ipynb": NB for who in "abcdefghij"})})
    with pytest.raises(CourseError, match="eve holds 10 notebooks"):
        taken(path)


# -- names

GBK = {f"{name}.ipynb".encode("gbk"): NB for name in ("张伟", "王伟", "陈静", "李娜", "朱镕")}


@pytest.mark.parametrize("flag", [False, True], ids=["no flag", "flagged as UTF-8"])
def test_names_in_gbk(tmp_path: Path, flag: bool) -> None:
    (tmp_path / "class.zip").write_bytes(raw_zip(GBK, flag))
    assert set(students(tmp_path / "class.zip")) == {"张伟", "王伟", "陈静", "李娜", "朱镕"}


def test_names_in_gbk_on_a_disk(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "submitted")
    os.mkdir(folder)
    for name in GBK:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(NB)
    assert set(students(tmp_path / "submitted")) == {"张伟", "王伟", "陈静", "李娜", "朱镕"}


@pytest.mark.parametrize(
    ("name", "raw", "system"),
    [
        ("José", unicodedata.normalize("NFD", "José").encode(), 3),  # macOS: UTF-8 without the flag
        ("张伟", "张伟".encode(), 3),
        ("Müller", "Müller".encode("cp437"), 0),  # an old Windows
        ("Zoë", "Zoë".encode("cp1252"), 3),
    ],
)
def test_names_of_other_systems(tmp_path: Path, name: str, raw: bytes, system: int) -> None:
    (tmp_path / "class.zip").write_bytes(raw_zip({raw + b".ipynb": NB, b"bob.ipynb": NB}, system=system))
    assert set(students(tmp_path / "class.zip")) == {name, "bob"}


ODD = [
    "O'Brien", "O’Brien", "a#b", "a?b", "😀", "😎", "Ann", "Ann ", "ann", "कला", "कली", "＝1+1", "=1+1", " =1+1", "%0a=1",
    "a%3Fb", "x;=1+1", "\t=1+1|cmd", "-2", "+1", "CON", "a~b", "..b",
    "數" * 80, "數" * 79 + "学", "e" * 240, "e" * 239 + "f", "a:b", 'a"b', "a<b", "line\nbreak", "dot.", "dot",
]  # fmt: skip


def test_names_of_two_systems_in_one_archive(tmp_path: Path) -> None:
    files = {"王芳.ipynb".encode(): NB, b"ann.ipynb": NB, "㐀伟.ipynb".encode("gb18030"): NB, **GBK}
    (tmp_path / "class.zip").write_bytes(raw_zip(files, system=0))
    assert set(students(tmp_path / "class.zip")) == {"王芳", "ann", "㐀伟", "张伟", "王伟", "陈静", "李娜", "朱镕"}


def test_names_are_never_merged_cut_or_turned_into_underscores(tmp_path: Path) -> None:
    found = taken(laid(tmp_path / "submitted", {f"{name}.ipynb": NB for name in ODD}))
    assert sorted(s.name for s in found) == sorted(ODD)
    assert len({s.student.casefold() for s in found}) == len(ODD)
    for submission in found:
        assert len(f"{submission.student}.json.partial".encode()) < 200 and "/" not in submission.student
        assert not submission.student.startswith((".", " ")) and not submission.student.endswith((".", " "))
        if "~" not in submission.student and submission.student != "ann (2)":
            assert unquote(submission.student) == submission.name
    assert {s.student for s in found} >= {"O'Brien", "😀", "कला", "%43ON", "a%7Eb"}


def test_the_same_name_in_two_classes_is_two_students(tmp_path: Path) -> None:
    files = {f"{place}/{who}.ipynb": NB for place in ("一班", "二班") for who in ("张伟", "李" + place[0], "赵" + place[0])}
    found = taken(laid(tmp_path / "submitted", files))
    assert {s.student for s in found if s.name == "张伟"} == {"张伟 (一班)", "张伟 (二班)"}
    assert len(found.submissions) == 6 and "2 students" in found.report()


def test_a_late_folder_holds_the_same_students(tmp_path: Path) -> None:
    files = {"alice.ipynb": NB, "bob.ipynb": NB, "late/alice.ipynb": notebook("again"), "补交/carol.ipynb": NB}
    path = laid(tmp_path / "submitted", files)
    os.utime(path / "alice.ipynb", (1_000_000_000, 1_000_000_000))
    found = {s.student: s for s in taken(path)}
    assert set(found) == {"alice", "bob", "carol"} and found["carol"].late and found["alice"].late
    assert (found["alice"].file, found["alice"].others) == ("late/alice.ipynb", ["alice.ipynb"])


def test_nobody_is_another_by_a_number_in_a_zip(tmp_path: Path) -> None:
    people = tmp_path / "list.csv"
    people.write_text("id,name\n2023001,张伟\n2023002,王芳\n2023009,eve\n", encoding="utf-8")
    forged = zipped({"2023001.ipynb": notebook("forged"), "2023002.ipynb": notebook("forged")})
    path = laid(tmp_path / "submitted", {"2023001-张伟.ipynb": NB, "2023002-王芳.ipynb": NB, "eve.zip": forged})
    found = {s.student: s.file for s in taken(path, students=people)}
    assert found["2023001"] == "2023001-张伟.ipynb" and found["2023002"] == "2023002-王芳.ipynb"


def test_composed_and_decomposed_accents_are_one_student(tmp_path: Path) -> None:
    files = {f"{unicodedata.normalize(form, 'José')}.ipynb": notebook(form) for form in ("NFC", "NFD")}
    found = taken(in_zip(tmp_path, {**files, "bob.ipynb": NB}))
    assert [(s.name, len(s.others)) for s in found] == [("José", 1), ("bob", 0)]


def test_names_of_which_nothing_is_left_are_not_one_student(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as packed, pytest.warns(UserWarning, match="Duplicate"):
        for who in ("one", "two"):
            packed.writestr("??.ipynb", notebook(who))
    assert set(students(tmp_path / "class.zip")) == {"??", "?? (2)"}


# -- which of a student's files


def chosen(tmp_path: Path, files: dict[str, bytes]) -> str:
    """The file that is graded of what one student, beside another, handed in."""
    path = in_zip(tmp_path, {f"ann/{name}": data for name, data in files.items()} | {"bob/90_tiny.ipynb": NB})
    return next(s for s in taken(path) if s.name == "ann").file.removeprefix("ann/")


UTF16 = json.dumps(handed_in(RIGHT)).encode("utf-16")
LOST = json.dumps(
    {"cells": [{"cell_type": "code", "source": [RIGHT["double"], "\n", RIGHT["total"]]}], "nbformat": 4}
).encode()


@pytest.mark.parametrize(
    ("right", "others"),
    [
        ("homework.ipynb", {"homework.ipynb": NB, "90_tiny.pdf": b"%PDF", "90_tiny.html": b"<html>"}),
        ("homework.ipynb", {"homework.ipynb": NB, "90_tiny.ipynb": LECTURE}),
        ("labs/90_tiny.ipynb", {"labs/90_tiny.ipynb": NB, "lectures/90_tiny.ipynb": LECTURE}),
        ("lab.ipynb.txt", {"lab.ipynb.txt": NB, "a-picture.png": b"x"}),
        ("lab.json", {"lab.json": NB, "data.json": b'{"a": 1}', "other.ipynb": LECTURE}),
        ("90_tiny", {"90_tiny": NB, "notes.md": b"x"}),
        ("hw.zip/hw/90_tiny.ipynb", {"hw.zip": zipped({"hw/90_tiny.ipynb": NB, "hw/.ipynb_checkpoints/x.ipynb": b"{}"})}),
        ("hw.tar.gz/90_tiny.ipynb", {"hw.tar.gz": b""}),
        ("renamed.ipynb/90_tiny.ipynb", {"renamed.ipynb": zipped({"90_tiny.ipynb": NB})}),
        ("really.zip", {"really.zip": NB}),
        ("mine.ipynb", {"mine.ipynb": UTF16, "90_tiny.ipynb": LECTURE}),
        ("mine.ipynb", {"mine.ipynb": LOST, "90_tiny.ipynb": LECTURE}),
        ("mine.ipynb", {"mine.ipynb": NB, "z_90_tiny.ipynb": BLANK}),
        ("90_tiny (1).ipynb", {"90_tiny (1).ipynb": NB, "90_tiny.ipynb": NB}),
        ("Version 2/90_tiny.ipynb", {"Version 2/90_tiny.ipynb": NB, "Version 1/90_tiny.ipynb": NB}),
    ],
)
def test_the_notebook_that_is_the_lab_is_graded(tmp_path: Path, right: str, others: dict[str, bytes]) -> None:
    if "hw.tar.gz" in others:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as packed:
            about = tarfile.TarInfo("90_tiny.ipynb")
            about.size = len(NB)
            packed.addfile(about, io.BytesIO(NB))
        others = {"hw.tar.gz": made.getvalue()}
    assert chosen(tmp_path, others) == right


def test_the_newest_is_graded(tmp_path: Path) -> None:
    path = laid(tmp_path / "submitted", {"ann/90_tiny.ipynb": NB, "ann/homework-2.ipynb": NB, "bob/90_tiny.ipynb": NB})
    os.utime(path / "ann" / "homework-2.ipynb", (1_000_000_000, 1_000_000_000))
    ann = next(s for s in taken(path) if s.name == "ann")
    assert (ann.file, ann.others) == ("ann/90_tiny.ipynb", ["ann/homework-2.ipynb"])
    two = {"twicetom_12350_678907_90_tiny.ipynb": NB, "twicetom_12350_678908_a.ipynb": NB, "x_1_999_a.ipynb": NB}
    assert next(s for s in taken(in_zip(tmp_path, two)) if s.id == "12350").file == "twicetom_12350_678908_a.ipynb"


def test_two_versions_by_one_student_among_many(tmp_path: Path) -> None:
    others = {f"{who}/90_tiny.ipynb": NB for who in ("bob", "cy", "dee", "eve")}
    found = taken(laid(tmp_path / "submitted", {**others, "ann/quant.ipynb": NB, "ann/my own.ipynb": NB}))
    assert {s.name: len(s.others) for s in found} == {"ann": 1, "bob": 0, "cy": 0, "dee": 0, "eve": 0}
    assert "ann: ann/" in found.report() and not any(s.problem for s in found)


def test_what_is_no_notebook_has_its_reason(tmp_path: Path) -> None:
    files = {
        "ann.pdf": b"%PDF",
        "bob.docx": b"PK\x03\x04",
        "cy.rar": b"Rar!\x1a\x07",
        "dee.html": b"<html>",
        "eve.ipynb": NB,
    }
    found = students(laid(tmp_path / "submitted", {**files, "fay/": b""}))
    assert (
        "a PDF; hand in the .ipynb" in found["ann"]
        and "a Word file" in found["bob"]
        and "cannot be opened here" in found["cy"]
    )
    assert "a web page" in found["dee"] and found["eve"] == "eve.ipynb" and "the folder is empty" in found["fay"]


def test_a_notebook_saved_as_gbk_is_read(tmp_path: Path) -> None:
    text = json.dumps(handed_in(RIGHT, before="# 这是我的作业"), ensure_ascii=False)
    western = json.dumps(handed_in(RIGHT, before="# für später"), ensure_ascii=False)
    files = {"a.ipynb": text.encode("gbk"), "b.ipynb": western.encode("cp1252"), "c.ipynb": text.encode()}
    a, b, c = taken(laid(tmp_path / "submitted", files))
    assert json.loads(a.read()) == json.loads(text) == json.loads(c.read()) and json.loads(b.read()) == json.loads(western)
    assert "GBK" in a.file_note and "save it as UTF-8" in a.file_note and "Windows-1252" in b.file_note and c.file_note == ""


# -- what is broken or hostile


def test_damaged_archives_have_a_reason_and_stop_nobody(tmp_path: Path) -> None:
    good = zipped({"90_tiny.ipynb": NB})
    bad_list, bad_sum = bytearray(good), bytearray(good)
    bad_list[good.rfind(b"PK\x01\x02") + 2] = 7
    bad_sum[60:70] = b"?" * 10
    files = {
        "bad_list.zip": bytes(bad_list), "bad_sum.zip": bytes(bad_sum), "cut.zip": good[: len(good) // 2], "none.zip": b"x",
        "empty.zip": zipped({}), "nothing.zip": b"", "no_date.zip": zipped({"90_tiny.ipynb": NB}, (1980, 0, 0, 0, 0, 0)),
        "bob.ipynb": NB, "before.zip": b"#!/bin/sh\n" + good, "gz.tar.gz": b"\x1f\x8b\x08\x00junk",
    }  # fmt: skip
    found = {s.name: s for s in taken(laid(tmp_path / "submitted", files))}
    assert len(found) == len(files)
    for name in ("bad_list", "cut", "none", "nothing", "gz"):
        assert "damaged" in found[name].problem or "no archive" in found[name].problem, name
    assert not found["no_date"].problem and found["no_date"].read() == NB and not found["bob"].problem
    with pytest.raises(archive.Damaged, match="damaged"):
        found["bad_sum"].read()
    assert found["empty"].problem


def test_no_damage_raises_anything_else(tmp_path: Path) -> None:
    draw = random.Random(3)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        packed.addfile(tarfile.TarInfo("x.ipynb"), io.BytesIO())
    whole = [zipped({"a/x.ipynb": b'{"cells": []}' * 50, "李雷.ipynb": b"x" * 1000}), made.getvalue()]
    for number in range(600):
        data = bytearray(whole[number % 2])
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (tmp_path / "x.zip").write_bytes(data[: draw.randrange(len(data))] if number % 3 == 0 else data)
        # no other error, and no endless reading
        with contextlib.suppress(archive.Damaged), (tmp_path / "x.zip").open("rb") as file:
            for member in archive.members(file):
                with contextlib.suppress(archive.Damaged):  # the others are read
                    member.read(file, 10**6)


def test_a_damaged_class_is_one_message(tmp_path: Path) -> None:
    path = in_zip(tmp_path, {"ann.ipynb": NB})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CourseError, match=r"cannot be read: the zip is damaged.*Download it again"):
        taken(path)
    for other in (tmp_path / "missing", laid(tmp_path / "none", {".DS_Store": b"x"})):
        with pytest.raises(CourseError, match=r"There is no"):
            taken(other)


def test_links_pipes_devices_and_what_is_locked_away(tmp_path: Path) -> None:
    path = laid(tmp_path / "submitted", {"bob.ipynb": NB, "locked.ipynb": NB, "shut/90_tiny.ipynb": NB})
    secret = laid(tmp_path, {"secret.ipynb": NB}) / "secret.ipynb"
    (path / "link.ipynb").symlink_to(secret)
    (path / "folder").symlink_to(tmp_path)
    os.mkfifo(path / "pipe.ipynb")
    (path / "ann").mkdir()
    (path / "ann" / "inner.ipynb").symlink_to(secret)
    found = {s.name: s for s in taken(path)}
    assert found["pipe"].problem.startswith("it is a pipe") and not found["pipe"].again
    assert [found[who].problem for who in ("link", "folder", "ann")] == ["it is a link, not a file"] * 3


def test_a_file_that_cannot_be_read_now_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = laid(
        tmp_path / "submitted", {"ann.ipynb": NB, "bob.zip": zipped({"a.ipynb": NB}), "cy/a.ipynb": NB, "cy/b.ipynb": NB}
    )
    opened = Path.open

    def unreadable(self: Path, *arguments: Any, **more: Any) -> Any:
        if self.name in ("bob.zip", "a.ipynb"):
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", unreadable)
    found = {s.name: s for s in taken(path)}
    assert (found["bob"].again, found["bob"].problem) == (True, "the file bob.zip cannot be read now (Permission denied)")
    assert found["cy"].file == "cy/b.ipynb" and not found["cy"].problem


def test_zip_slip_encryption_and_links(tmp_path: Path) -> None:
    data = bytearray(
        zipped(
            {
                "../../up.ipynb": NB,
                "/abs.ipynb": NB,
                "..\\win.ipynb": NB,
                "C:\\c.ipynb": NB,
                "ok.ipynb": NB,
                "secret.ipynb": NB,
            }
        )
    )
    at = data.rfind(b"PK\x01\x02")
    data[at + 8] |= 1  # the last one is flagged as encrypted
    (tmp_path / "class.zip").write_bytes(bytes(data))
    found = students(tmp_path / "class.zip")
    assert set(found) == {"up", "abs", "win", "c", "ok", "secret"} and found["ok"] == "ok.ipynb"
    assert all("leads out of the zip" in found[who] for who in ("up", "abs", "win", "c")) and "encrypted" in found["secret"]


def test_a_notebook_behind_a_password_says_so(tmp_path: Path) -> None:
    data = bytearray(zipped({"90_tiny.ipynb": NB}))
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    data[43:63] = b"\xff" * 20  # what a password makes of it
    path = laid(tmp_path / "submitted", {"ann.zip": bytes(data), "bob.ipynb": NB})
    assert students(path)["ann"] == "it is encrypted: hand it in without a password"


def test_a_colon_in_a_name_is_no_drive(tmp_path: Path) -> None:
    assert set(students(in_zip(tmp_path, {"a:b.ipynb": NB, "a;b.ipynb": NB}))) == {"a:b", "a;b"}


def test_bombs_cost_nothing(tmp_path: Path) -> None:
    zeros = zipped({"90_tiny.ipynb": b"0" * 200_000_000})
    deep = NB
    for number in range(7):
        deep = zipped({"a.zip" if number else "x.ipynb": deep})
    many = zipped({f"{i}.ipynb": b"" for i in range(20_000)})
    lies = bytearray(zeros)
    struct.pack_into("<L", lies, lies.rfind(b"PK\x01\x02") + 24, 1000)  # unpacks to more than it says
    files = {"zeros.zip": zeros, "deep.zip": deep, "many.zip": many, "lies.zip": bytes(lies), "bob.ipynb": NB}
    path = laid(tmp_path / "submitted", files)
    started = time.process_time()  # not the clock: other work may take the processor
    found = {s.name: s for s in taken(path)}
    with pytest.raises(archive.Damaged):
        found["lies"].read()
    assert time.process_time() - started < 20
    assert "200 MB; at most 50 MB" in found["zeros"].problem and "one in another" in found["deep"].problem
    assert not found["bob"].problem and {"zeros", "deep", "lies", "bob"} <= set(found)


# -- the list of the class, and the pattern

HEADINGS = {
    "English": "Student ID,Full name,Email address\n2023001,张伟,zw@x.cn\n2023002,王芳,wf@x.cn\n2023003,李雷,ll@x.cn\n",
    "Chinese, with a title": "计科2301班名单,,\n学号,姓名,邮箱\n2023001,张伟,zw@x.cn\n2023002,王芳,\n2023003,李雷,\n",
    "German, semicolons": "Matrikelnummer;Nachname;Vorname;E-Mail\n2023001;张;伟;a@b\n2023002;王;芳;\n2023003;李;雷;\n",
    "no heading": "2023001,张伟\n2023002,王芳\n2023003,李雷\n",
    "Excel's tabs": "学号\t姓名\n2023001\t张伟\n2023002\t王芳\n2023003\t李雷\n",
    "zeros kept": '学号,姓名\n="2023001",张伟\n="2023002",王芳\n="2023003",李雷\n',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
@pytest.mark.parametrize("heading", HEADINGS)
def test_the_list_of_the_class(tmp_path: Path, heading: str, encoding: str) -> None:
    roster = tmp_path / "list.csv"
    roster.write_bytes(HEADINGS[heading].encode(encoding))
    files = {"2023001.ipynb": NB, "作业-王芳.ipynb": NB, "stranger.ipynb": NB}
    found = taken(laid(tmp_path / "submitted", files), students=roster)
    assert {(s.student, s.id, s.name) for s in found} == {
        ("2023001", "2023001", "张伟"), ("2023002", "2023002", "王芳"), ("stranger", "stranger", "stranger")
    }  # fmt: skip
    assert [(p.id, p.name) for p in found.missing] == [("2023003", "李雷")]
    assert [s.remark for s in found if s.id == "stranger"] == ["is not on the list of the class"]
    assert "李雷" in found.report() and "stranger" in found.report()


def test_what_a_list_puts_together_and_what_it_leaves_apart(tmp_path: Path) -> None:
    people = tmp_path / "list.csv"
    people.write_text(
        'id,name,email\n1001,Ann Lee,alee@x.edu\n1002,"Ray, Bob",bray@x.edu\n1003,王伟,\n1004,王伟明,\n1005,Li,\n',
        encoding="utf-8",
    )
    roster = Roster.read(people)
    meant = {
        "1001": (
            "Ann Lee",
            "Lee, Ann",
            "leeann",
            "LAB_Ann_Lee_final",
            "alee",
            "alee@x.edu",
            "1001",
            "hw-1001",
            "Doe_x_alee_77",
        ),
        "1002": ("raybob", "Bob Ray", "RAY  Bob", "bray-lab"),
        "1003": ("王伟", "王 伟", "作业-王伟"),
        "1004": ("作业-王伟明", "王伟明最终版"),
        "": ("Lina", "Annlee Smith", "1001-Bob Ray", "王伟强", "CS1001 lab", "Oliver", "Ann", "10011", "Ray"),
    }
    for number, texts in meant.items():
        for text in texts:
            found = roster.find(text)
            assert (found.id if found else "") == number, text
    files = {"Ann Lee.ipynb": notebook("1"), "alee.ipynb": notebook("2"), "王伟.ipynb": NB}
    submissions = taken(laid(tmp_path / "submitted", files), students=people).submissions
    assert [(s.id, len(s.others)) for s in submissions] == [("1001", 1), ("1003", 0)]


def test_two_of_a_platform_s_students_are_never_one_by_name(tmp_path: Path) -> None:
    people = tmp_path / "list.csv"
    people.write_text("id,name\n7,王伟\n", encoding="utf-8")
    files = {f"{who}_assignsubmission_file_/a.ipynb": NB for who in ("王伟_101", "王伟_102", "Ann Lee_103")}
    found = taken(in_zip(tmp_path, files), students=people)
    assert sorted((s.id, s.name) for s in found) == [("102", "王伟"), ("103", "Ann Lee"), ("7", "王伟")]
    assert "there are several" in found.report()


def test_a_downloaded_sheet_is_a_list(tmp_path: Path) -> None:
    sheet = tmp_path / "canvas.csv"
    sheet.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Lab 10 (77)\n    Points Possible,,,,,46\n"
        '"Lee, Ann",101,s7,alee,A,\n"Ho, Cy",103,s9,cho,A,\n',
        encoding="utf-8",
    )
    found = taken(in_zip(tmp_path, {"leeann_101_9001_90_tiny.ipynb": NB}), students=sheet)
    assert [(s.id, s.name) for s in found] == [("101", "Lee, Ann")] and [p.id for p in found.missing] == ["103"]
    sheet.write_text(
        "Identifier,Full name,Email address,Status\nParticipant 101,Ann Lee,a@x,\nParticipant 103,Cy Ho,c@x,\n",
        encoding="utf-8",
    )
    found = taken(in_zip(tmp_path, {"Ann Lee_101_assignsubmission_file_/a.ipynb": NB}), students=sheet)
    assert [(s.id, s.mail) for s in found] == [("101", "a@x")] and [p.name for p in found.missing] == ["Cy Ho"]


def test_a_list_with_doubles_and_what_spreadsheets_make_of_numbers(tmp_path: Path) -> None:
    sheet = tmp_path / "list.csv"
    path = laid(tmp_path / "submitted", {"2023001.ipynb": NB, "王芳.ipynb": NB})
    sheet.write_text("学号,姓名\n2023001.0,张伟\n2023001,张伟\n2023002,王芳\n2023003,王芳\n", encoding="utf-8")
    found = taken(path, students=sheet)
    assert [(s.id, s.name, s.remark) for s in found] == [
        ("2023001", "张伟", ""), ("王芳", "王芳", "may be several of the list of the class")
    ]  # fmt: skip
    assert [p.id for p in found.missing] == ["2023002", "2023003"]
    sheet.write_text("学号,姓名\n2.02E+11,张伟\n", encoding="utf-8")
    with pytest.raises(CourseError, match=r"Excel has turned long numbers into such as 2.02E\+11"):
        taken(path, students=sheet)
    sheet.write_text("Kennung,Name\nTeilnehmer/in2023001,张伟\n参与者2023002,王芳\n", encoding="utf-8")
    assert [s.id for s in taken(path, students=sheet)] == ["2023001", "2023002"]


def test_a_list_of_another_class_stops_the_run(tmp_path: Path) -> None:
    sheet = tmp_path / "list.csv"
    sheet.write_text("id,name\n7,Cy\n", encoding="utf-8")
    path = laid(tmp_path / "submitted", {"ann.ipynb": NB, "bob.ipynb": NB})
    with pytest.raises(CourseError, match=r"none of its 1 student \(Cy, …\) is among the 2 who"):
        taken(path, students=sheet)
    assert {s.name for s in taken(path, students=sheet, certain=True)} == {"ann", "bob"}


def test_a_list_that_is_none(tmp_path: Path) -> None:
    path = laid(tmp_path / "submitted", {"ann.ipynb": NB})
    (tmp_path / "list.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "list.csv").write_bytes(b"")
    for name, said in (("gone.csv", "be read"), ("list.xlsx", "Save it as CSV"), ("list.csv", "names no student")):
        with pytest.raises(CourseError, match=said):
            taken(path, students=tmp_path / name)


def test_a_list_among_what_was_handed_in_is_no_student(tmp_path: Path) -> None:
    path = laid(tmp_path / "submitted", {"ann.ipynb": NB, "class.txt": b"id,name\n7,ann\n"})
    found = taken(path, students=path / "class.txt")
    assert [s.id for s in found] == ["7"] and found.ignored["class.txt"] == "the list of the class"


def test_a_pattern_as_nbgrader_takes_it(tmp_path: Path) -> None:
    files = {
        "ps1_bitdiddle_attempt_2016-01-30-15-00-00_problem1.ipynb": NB,
        "ps1_bitdiddle_attempt_2016-01-30-16-00-00_problem1.ipynb": NB,
        "ps1_reasoner_attempt_2016-01-30-15-30-10_problem1.ipynb": NB,
        "README": b"x",
    }
    pattern = r".*_(?P<student_id>\w+)_attempt_(?P<timestamp>[0-9\-]+)_(?P<file_id>\w+)"
    found = taken(laid(tmp_path / "submitted", files), pattern=pattern)
    assert [(s.id, s.attempt) for s in found] == [("bitdiddle", "2016-01-30-16-00-00"), ("reasoner", "2016-01-30-15-30-10")]
    assert found.ignored == {"README": "does not match --pattern"} and "layout: --pattern" in found.report()
    names_too = r"(?P<last_name>[^,]+), (?P<first_name>\w+) \((?P<student_id>\d+)\)/"
    found = taken(in_zip(tmp_path, {"Lee, Ann (7)/x.ipynb": NB, "Ray, Bob (8)/deep/x.ipynb": NB}), pattern=names_too)
    assert [(s.id, s.name) for s in found] == [("7", "Ann Lee"), ("8", "Bob Ray")]
    for bad, said in (("(", "no regular expression"), (r"(?P<who>.*)", "student_id")):
        with pytest.raises(CourseError, match=said):
            taken(tmp_path / "submitted", pattern=bad)


# -- all of them together


def test_the_output_of_an_earlier_run_is_no_submission(tmp_path: Path) -> None:
    path = laid(tmp_path / "submitted", {"alice.ipynb": NB, "bob.ipynb": NB})
    laid(path / "graded", {"gradebook.db": b"x", "results/alice.json": b"{}", "autograded/alice/90_tiny/90_tiny.ipynb": NB})
    laid(path / "again", {".course-output": b"x", "autograded/alice/90_tiny/90_tiny.ipynb": NB})
    laid(path / "now", {"autograded/alice/90_tiny/90_tiny.ipynb": NB})
    found = taken(path, out=path / "now")
    assert {s.name for s in found} == {"alice", "bob"}
    assert set(found.ignored) == {"graded", "again", "now"} and set(found.ignored.values()) == {
        "the output of an earlier run"
    }


def test_a_class_of_three_hundred_takes_seconds(tmp_path: Path) -> None:
    padded = json.dumps({**handed_in(RIGHT), "metadata": {"padding": "x" * 400_000}}).encode()
    kinds = (
        lambda n: {f"M/Stu Dent_{n}_assignsubmission_file_/a.ipynb": padded},
        lambda n: {f"student_{'LATE_' * (n % 2)}{n}_{9000 + n}_a.ipynb": padded},
        lambda n: {f"zip{n}_{n}_{9000 + n}_a.zip": zipped({"d/90_tiny.ipynb": padded, "d/x.pdf": b"%PDF"})},
        lambda n: {f"Lab_login{n}_attempt_2025-11-02-14-33-11_a.ipynb": padded},
        lambda n: {f"班级{n % 3}/20230{n}-姓名/a.ipynb": padded},
    )
    files = {name: data for n in range(300) for name, data in kinds[n % 5](n).items()}
    path = in_zip(tmp_path, files)
    started = time.process_time()  # not the clock: other work may take the processor
    assert len(taken(path).submissions) == 300 and time.process_time() - started < 30
