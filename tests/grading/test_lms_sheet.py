"""Grades go back into the platform's own sheet, feedback into its importer: nobody's is lost, nothing else is changed."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from importers import Canvas, Moodle, canvas_comments

from course_utils.errors import CourseError
from courseware.grading import lms_sheet, spreadsheets
from courseware.grading.lms_sheet import Graded

LAB, TITLE = "10_quantization", "Lab 10 · Quantization"
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Notes,"Lab 9, Llama (4709)",Lab 10: Quantization (4710),Essay (4711),\
Current Score,Final Score
,,,,,,,Manual Posting,,,
    Points Possible,,,,,,20.00,46.00,10.00,(read only),(read only)
"Lovelace, Ada",12345,s001,ada@uni.example,01,"likes ""quotes"" much",20.00,,9.00,91.20,91.20
"Núñez, José",12346,s002,jose,01,,,,,,
"Zhang, Wei",12347,s003,wei,"02, evening",,,N/A,,,
"Tom, Twice",12350,s004,tom,02,,,12.00,,,
"Missing, Mia",12360,s005,mia,02,,,5.00,,,
"Student, Test",999,,t999,01,,,,,,
"""
SUBMITTED = {
    "lovelaceada_12345_678901_10_quantization.ipynb": ("lovelaceada", 46.0),
    "nunezjose_LATE_12346_678902_10_quantization-1.ipynb": ("nunezjose", 38.5),
    "zhangwei_12347_678903_Copy of 10_quantization.ipynb": ("zhangwei", 20.0),
    "twicetom_LATE_12350_678908_10_quantization-2.ipynb": ("twicetom", 0.0),
}
COURSE = {12345: "Lovelace, Ada", 12346: "Núñez, José", 12347: "Zhang, Wei", 12350: "Tom, Twice", 12360: "Missing, Mia"}
ASSIGNMENTS = {4709: ("Lab 9, Llama", 20.0), 4710: ("Lab 10: Quantization", 46.0), 4711: ("Essay", 10.0)}


def graded(tmp_path: Path, file: str, name: str, score: float | None, most: float = 46, **more: str) -> Graded:
    page = tmp_path / f"{name}.html"
    page.write_text(f"<p>{name}</p>", encoding="utf-8")
    about = {"student": name, "id": "", "name": name, "mail": "", "file": file}
    return Graded(**{**about, **more}, score=score, most=most, page=page)


def of_canvas(tmp_path: Path) -> list[Graded]:
    return [graded(tmp_path, f"class.zip/{file}", name, score) for file, (name, score) in SUBMITTED.items()]


def filled(
    tmp_path: Path, text: str | bytes, people: list[Graded], name: str = "sheet.csv", column: str = ""
) -> lms_sheet.Filled:
    sheet, out = tmp_path / name, tmp_path / "out"
    out.mkdir(exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    sheet.write_bytes(data)
    result = lms_sheet.fill(sheet, people, LAB, TITLE, out, column)
    assert sheet.read_bytes() == data, "the given sheet must stay as it is"
    assert result.sheet != sheet
    return result


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_canvas(tmp_path: Path, mark: str, newline: str) -> None:
    given = mark + CANVAS.replace("\n", newline)
    result = filled(tmp_path, given, of_canvas(tmp_path))
    course = Canvas(COURSE, ASSIGNMENTS)
    course.import_gradebook(result.sheet)
    assert course.new == ["Notes", "Student, Test"]  # as it would be with the given sheet: both are Canvas' own
    assert {who: grade for (who, what), grade in course.grades.items() if what == 4710} == {
        12345: "46.00", 12346: "38.50", 12347: "N/A", 12350: "0.00", 12360: "5.00",
    }  # fmt: skip
    before, after = Canvas(COURSE, ASSIGNMENTS), course
    before.import_gradebook(tmp_path / "sheet.csv")
    others = [{place: grade for place, grade in c.grades.items() if place[1] != 4710} for c in (before, after)]
    assert others[0] == others[1]
    data = result.sheet.read_bytes().decode()
    assert data.startswith(mark) and data.count("\r\n") == (data.count("\n") if newline == "\r\n" else 0)
    text = "\n".join(result.report)
    assert "3 of 6 students" in text and "left as they were: Zhang, Wei (N/A)" in text and "Missing, Mia" in text


def test_canvas_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(CANVAS)))
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([[c.replace(".", ",") if c[:1].isdigit() else c for c in row] for row in rows])
    result = filled(tmp_path, text.getvalue(), of_canvas(tmp_path))
    assert "38,50" in result.sheet.read_text(encoding="utf-8")
    course = Canvas(COURSE, ASSIGNMENTS)
    course.import_gradebook(result.sheet)
    assert course.grades[12346, 4710] == "38.50"


def test_canvas_takes_the_feedback(tmp_path: Path) -> None:
    anonymous = graded(tmp_path, "LATE_anon_x9kQ2_9003_10_quantization.ipynb", "anon", 5.0, id="12360")
    result = filled(tmp_path, CANVAS, [*of_canvas(tmp_path), anonymous])
    assert result.feedback and result.feedback.name == "feedback-for-canvas.zip"
    submissions = {12345: {678901}, 12346: {678902}, 12347: {678903}, 12350: {678907, 678908}, 12360: {9003}}
    comments, ignored = canvas_comments(result.feedback, submissions, {"x9kQ2": 12360})
    assert ignored == [] and set(comments) == set(submissions)
    assert comments[12346] == b"<p>nunezjose</p>" and comments[12360] == b"<p>anon</p>"
    assert "nunezjose_LATE_12346_678902_feedback.html" in zipfile.ZipFile(result.feedback).namelist()


def test_canvas_knows_students_by_sis_and_name_too(tmp_path: Path) -> None:
    people = [
        graded(tmp_path, "ada.ipynb", "Ada Lovelace", 46.0),
        graded(tmp_path, "x.ipynb", "x", 38.5, id="S002"),
        graded(tmp_path, "y.ipynb", "y", 1.0, mail="tom@uni.example"),
        graded(tmp_path, "z.ipynb", "nobody", 1.0),
    ]
    result = filled(tmp_path, CANVAS, people)
    course = Canvas(COURSE, ASSIGNMENTS)
    course.import_gradebook(result.sheet)
    assert [course.grades[who, 4710] for who in (12345, 12346, 12350)] == ["46.00", "38.50", "1.00"]
    assert "graded, and not in the sheet: nobody" in "\n".join(result.report)
    assert result.feedback is None and "no longer has the name" in "\n".join(result.report)


def test_canvas_first_and_last_names_apart(tmp_path: Path) -> None:
    text = "LastName,FirstName,ID,SIS Login ID,Section,Lab 10 (7)\n    Points Possible,,,,,46\nLovelace,Ada,5,ada,01,\n"
    result = filled(tmp_path, text, [graded(tmp_path, "q.ipynb", "Ada Lovelace", 40.0)])
    assert "Lovelace,Ada,5,ada,01,40.00" in result.sheet.read_text(encoding="utf-8")


def test_a_sheet_that_counts_otherwise(tmp_path: Path) -> None:
    result = filled(tmp_path, CANVAS.replace("46.00", "100.00"), of_canvas(tmp_path))
    assert "83.70" in result.sheet.read_text(encoding="utf-8") and "counts to 100 and the lab to 46" in "\n".join(
        result.report
    )


@pytest.mark.parametrize(
    ("change", "column", "said"),
    [
        (("Lab 10: Quantization (4710)", "Week five (4710)"), "", r"(?s)not clear which column.*Essay \(4711\)"),
        (("Essay (4711)", "Lab 10 Quantization again (4711)"), "", "not clear which column"),
        (("46.00", "(read only)"), "Lab 10: Quantization (4710)", "is read only"),
        (("Ada", "Ada"), "nothing", "not clear which column"),
    ],
)
def test_a_column_that_is_not_clear(tmp_path: Path, change: tuple[str, str], column: str, said: str) -> None:
    with pytest.raises(CourseError, match=said):
        filled(tmp_path, CANVAS.replace(*change), of_canvas(tmp_path), column=column)


@pytest.mark.parametrize("column", ["4710", "Week five", "Week five (4710)"])
def test_a_column_that_is_named(tmp_path: Path, column: str) -> None:
    text = CANVAS.replace("Lab 10: Quantization (4710)", "Week five (4710)")
    assert "46.00,9.00" in filled(tmp_path, text, of_canvas(tmp_path), column=column).sheet.read_text(encoding="utf-8")


ENGLISH = {
    "grade": "Grade", "recordid": "Identifier", "lastmodifiedgrade": "Last modified (grade)", "hiddenuser": "Participant ",
    "decsep": ".",
}  # fmt: skip
GERMAN = {
    "grade": "Bewertung", "recordid": "ID", "lastmodifiedgrade": "Zuletzt geändert (Bewertung)",
    "hiddenuser": "Teilnehmer/in", "decsep": ",",
}  # fmt: skip
CHINESE = {
    "grade": "成绩", "recordid": "标识号", "lastmodifiedgrade": "最后修改(成绩)", "hiddenuser": "参与者", "decsep": ".",
}  # fmt: skip
PARTICIPANTS = {101: "Ann Lee", 102: "Bob Ray", 103: "李雷", 104: "Under_score, Una"}
TIMES = {102: "Monday, 3 November 2025, 3:00 PM"}


def worksheet(words: dict[str, str], most: str, blind: bool = False, delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    names = [] if blind else ["Full name", "ID number", "Email address"]
    writer.writerow([
        words["recordid"], *names, "Status", words["grade"], "Max", "Changeable", "Submitted", "Online text",
        words["lastmodifiedgrade"], "Feedback comments",
    ])  # fmt: skip
    for number, name in PARTICIPANTS.items():
        who = [] if blind else [name, f"20250{number}", f"u{number}@uni.example"]
        grade = most[:1] + most[2:] if number == 102 else ""
        online = 'two\nlines, and; a "quote"' if number == 101 else ""
        writer.writerow([
            f"{words['hiddenuser']}{number}", *who, "Submitted for grading - ", grade, most, "Yes", "-", online,
            TIMES.get(number, "-"), "",
        ])  # fmt: skip
    return text.getvalue()


def of_moodle(tmp_path: Path) -> list[Graded]:
    scores = {101: 46.0, 102: 38.5, 103: 0.0}
    return [
        graded(tmp_path, f"{PARTICIPANTS[n]}_{n}_assignsubmission_file_/10_quantization.ipynb", PARTICIPANTS[n], score)
        for n, score in scores.items()
    ]


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize(
    ("words", "most", "delimiter"),
    [(ENGLISH, "46.00", ","), (GERMAN, "46,00", ","), (GERMAN, "46,00", ";"), (CHINESE, "46.00", ","), (ENGLISH, "46", ",")],
)
def test_moodle(tmp_path: Path, words: dict[str, str], most: str, delimiter: str, blind: bool) -> None:
    given = worksheet(words, most, blind, delimiter)
    result = filled(tmp_path, given, of_moodle(tmp_path))
    moodle = Moodle(PARTICIPANTS, 46.0, words, times=dict(TIMES))
    moodle.import_worksheet(result.sheet, delimiter)
    assert moodle.grades == {101: 46.0, 102: 38.5, 103: 0.0} and len(moodle.skipped) == 1
    changed = list(csv.reader(io.StringIO(result.sheet.read_bytes().decode(), newline=""), delimiter=delimiter))
    original = list(csv.reader(io.StringIO(given, newline=""), delimiter=delimiter))
    at = original[0].index(words["grade"])
    assert [row[:at] + row[at + 1 :] for row in changed] == [row[:at] + row[at + 1 :] for row in original]
    assert "3 of 4 students" in result.report[0]


@pytest.mark.parametrize("before_4_1", [False, True])
def test_moodle_takes_the_feedback(tmp_path: Path, before_4_1: bool) -> None:
    una = graded(tmp_path, "una.ipynb", "una", 3.0, mail="u104@uni.example")
    result = filled(tmp_path, worksheet(ENGLISH, "46.00"), [*of_moodle(tmp_path), una])
    assert result.feedback and result.feedback.name == "feedback-for-moodle.zip"
    found, ignored = Moodle(PARTICIPANTS, 46.0, ENGLISH).import_feedback(result.feedback, before_4_1)
    assert ignored == [] and {n: name for n, (name, _) in found.items()} == dict.fromkeys(PARTICIPANTS, "feedback.html")
    assert found[103][1].decode() == "<p>李雷</p>" and found[104][1] == b"<p>una</p>"


def test_moodle_passes_over_what_is_more_than_the_maximum(tmp_path: Path) -> None:
    people = [graded(tmp_path, "Ann Lee_101_assignsubmission_file_/a.ipynb", "Ann Lee", 47.5)]
    result = filled(tmp_path, worksheet(ENGLISH, "46.00"), people)
    moodle = Moodle(PARTICIPANTS, 46.0, ENGLISH, times=dict(TIMES))
    moodle.import_worksheet(result.sheet)
    assert moodle.grades[101] == 46.0 and "more than the sheet's maximum: Ann Lee" in "\n".join(result.report)


def test_no_verdict_is_no_grade(tmp_path: Path) -> None:
    people = of_moodle(tmp_path)
    people[0].score = None
    result = filled(tmp_path, worksheet(ENGLISH, "46.00"), people)
    assert "without a grade yet: Ann Lee" in "\n".join(result.report)
    moodle = Moodle(PARTICIPANTS, 46.0, ENGLISH, times=dict(TIMES))
    moodle.import_worksheet(result.sheet)
    assert 101 not in moodle.grades


CLASS = """\
2025秋 大模型基础 成绩登记表,,,
学号,姓名,班级,备注
2025001,张三,1班,
2025002,李四,1班,=不动
0025003,王五,2班,
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_plain_sheet_by_student_number(tmp_path: Path, encoding: str) -> None:
    people = [
        graded(tmp_path, "1班/2025001-张三.ipynb", "2025001-张三", 46.0),
        graded(tmp_path, "b.ipynb", "b", 12.25, id="2025002"),
        graded(tmp_path, "c.ipynb", "c", 3.0, id="25003"),  # a spreadsheet took the zeros away
    ]
    result = filled(tmp_path, CLASS.encode(encoding), people, "名单.csv")
    assert result.sheet.name == "名单-filled.csv"
    rows = list(csv.reader(io.StringIO(result.sheet.read_bytes().decode(encoding))))
    assert rows[1][-1] == LAB and [row[-1] for row in rows[2:]] == ["46.00", "12.25", "3.00"]
    assert rows[3][:4] == ["2025002", "李四", "1班", "=不动"]


def test_a_plain_sheet_with_a_column_for_grades(tmp_path: Path) -> None:
    text = CLASS.replace("备注", "平时成绩")
    result = filled(tmp_path, text, [graded(tmp_path, "b.ipynb", "b", 12.0, id="2025001")])
    assert "2025001,张三,1班,12.00" in result.sheet.read_text(encoding="utf-8")
    with pytest.raises(CourseError, match="not clear which column"):
        filled(tmp_path, text.replace("班级", "期末成绩"), [graded(tmp_path, "b.ipynb", "b", 12.0, id="2025001")])
    again = filled(
        tmp_path, text.replace("班级", "期末成绩"), [graded(tmp_path, "b.ipynb", "b", 12.0, id="2025001")], column="平时成绩"
    )
    assert "2025001,张三,1班,12.00" in again.sheet.read_text(encoding="utf-8")


def test_by_mail_and_by_name(tmp_path: Path) -> None:
    text = 'Name,Mail\n"Lee, Ann",ann@uni.example\n"Ray, Bob",bob@uni.example\n'
    result = filled(tmp_path, text, [graded(tmp_path, "a.ipynb", "a", 1.0, mail="BOB@uni.example")])
    assert '"Ray, Bob",bob@uni.example,1.00' in result.sheet.read_text(encoding="utf-8")
    result = filled(tmp_path, text, [graded(tmp_path, "a.ipynb", "Ann Lee", 2.0)])
    assert '"Lee, Ann",ann@uni.example,2.00' in result.sheet.read_text(encoding="utf-8")


def test_two_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    text = "id,name\n1000001,Ann Lee\n1000002,Ann Lee\n1000003,Bob Ray\n"
    people = [graded(tmp_path, "a.ipynb", "Ann Lee", 1.0), graded(tmp_path, "b.ipynb", "Bob Ray", 2.0)]
    result = filled(tmp_path, text, people)
    assert "1000003,Bob Ray,2.00" in result.sheet.read_text(encoding="utf-8") and "Ann Lee,1" not in result.sheet.read_text(
        encoding="utf-8"
    )
    assert "more than one may be meant" in "\n".join(result.report)


def test_numbers_and_names_of_one_sheet(tmp_path: Path) -> None:
    text = "学号,姓名,实验10\n2023001,张伟,\n2023002,王芳,\n2023003,李雷,\n"
    people = [
        graded(tmp_path, "2023001-张伟.ipynb", "2023001-张伟", 1.0, id="2023001"),
        graded(tmp_path, "王芳.ipynb", "王芳", 2.0, id="王芳"),
        graded(tmp_path, "2023099-李雷.ipynb", "李雷", 3.0, id="2023099"),
    ]
    result = filled(tmp_path, text, people)
    assert result.sheet.read_text(encoding="utf-8").splitlines()[1:] == [
        "2023001,张伟,1.00",
        "2023002,王芳,2.00",
        "2023003,李雷,",
    ]
    assert "graded, and not in the sheet: 李雷" in "\n".join(result.report)


@pytest.mark.parametrize("heading", ["学号,姓名,实验10", "Nummer der Person,Wer,Lab 10", "名单,,\nx,y,Lab 10"])
def test_others_of_the_class_may_stand_above_the_first_that_was_graded(tmp_path: Path, heading: str) -> None:
    text = f"{heading}\n2023001,张伟,\n2023002,王芳,\n2023003,李雷,\n"
    result = filled(tmp_path, text, [graded(tmp_path, "c.ipynb", "c", 3.0, id="2023003")])
    assert result.sheet.read_text(encoding="utf-8") == text.replace("李雷,", "李雷,3.00")
    assert "nothing of theirs was graded: 2023001, 2023002" in "\n".join(result.report)


def test_another_number_of_the_platform_is_another_student(tmp_path: Path) -> None:
    people = [graded(tmp_path, "zhangwei_99999_678_a.ipynb", "Wei Zhang", 1.0), *of_canvas(tmp_path)[:1]]
    said = "\n".join(filled(tmp_path, CANVAS, people).report)
    assert "1 of 6 students" in said and "graded, and not in the sheet: Wei Zhang" in said


def test_a_column_that_is_read_only_is_not_another_one(tmp_path: Path) -> None:
    closed = CANVAS.replace("20.00,46.00,10.00", "20.00,(read only),10.00").replace("Essay (4711)", "Lab 10 bonus (4711)")
    for column in ("", "4710"):
        with pytest.raises(CourseError, match=r"Lab 10: Quantization \(4710\) is read only"):
            filled(tmp_path, closed, of_canvas(tmp_path), column=column)
    with pytest.raises(CourseError, match="not clear which column"):  # the only one is another lab's
        filled(tmp_path, 'Student,ID,Section,Lab 9 (1)\n"Lovelace, Ada",12345,1,\n', of_canvas(tmp_path))


def test_grades_that_are_replaced_are_said_and_no_verdict_has_no_page(tmp_path: Path) -> None:
    people = [*of_canvas(tmp_path), graded(tmp_path, "missingmia_12360_678999_a.ipynb", "missingmia", None)]
    result = filled(tmp_path, CANVAS, people)
    assert "another grade in the sheet, which is replaced: Tom, Twice (12.00)" in "\n".join(result.report)
    assert result.feedback and not any("mia" in name for name in zipfile.ZipFile(result.feedback).namelist())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04 a workbook", "is a workbook. Save it as CSV"),
        (b"just one column\nof text\n", "no table"),
        (b"", "no table"),
        ("学号,姓名\n2.02501E+06,张三\n2.02501E+06,李四\n".encode(), "2.02E"),
        (b"id,name\n77,Someone\n", "no column holds"),
    ],
)
def test_what_cannot_be_filled_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(CourseError, match=said):
        filled(tmp_path, data, [graded(tmp_path, "b.ipynb", "b", 12.0, id="2025001")])


def test_another_class_s_sheet(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="none of its 6 students"):
        filled(tmp_path, CANVAS, [graded(tmp_path, "b.ipynb", "somebody else", 12.0)])
    with pytest.raises(CourseError, match="No such file"):
        lms_sheet.fill(tmp_path / "nowhere.csv", [], LAB, TITLE, tmp_path)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("=1+1", "'=1+1"),
        (" =1+1", "' =1+1"),
        ("\t@SUM(1)", "'\t'@SUM(1)"),
        ("ok;=HYPERLINK(1)", "ok;'=HYPERLINK(1)"),
        ("ok; +1", "ok;' +1"),
        ("two\n-lines", "two\n'-lines"),
        ("\uff1dcmd", "'\uff1dcmd"),
        ('"=1', "'\"=1"),
        ("李雷_105", "李雷_105"),
        ("a - b; c = d", "a - b; c = d"),
        (3.5, 3.5),
    ],
)
def test_no_formula_reaches_a_spreadsheet(value: object, kept: object) -> None:
    assert spreadsheets.inert(value) == kept


def test_grades_csv_opens_in_excel() -> None:
    text = spreadsheets.for_excel([{"student": "李雷_105", "score": 3.0}])
    assert text.encode().startswith(b"\xef\xbb\xbf") and text.splitlines()[1] == "李雷_105,3.0"
