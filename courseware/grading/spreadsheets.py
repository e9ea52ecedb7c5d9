"""Tables of other programs: a class's list or a platform's sheet, read; grades as Excel and nbgrader open them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError

from ..files import whole
from . import student_names

# What a spreadsheet takes for a formula: at the start, after blanks, and after whatever it may take for the end of a cell,
# for where a comma is the decimal sign a semicolon separates cells, inside quotes too. Full-width signs count in East Asia.
_FORMULA = re.compile(r"(^|[;\t\r\n|])(?=[\s\"']*[=+\-@＝＋－＠\t\r])")

SCIENTIFIC = re.compile(r"\d[.,]\d+E\+\d+", re.IGNORECASE)  # what Excel makes of a long number

_NBGRADER = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
)  # fmt: skip


@dataclass
class Table:
    """A CSV file, and how it was written."""

    rows: list[list[str]]
    encoding: str
    delimiter: str
    newline: str
    above: str  # "sep=;": Excel's line that names the delimiter

    @classmethod
    def read(cls, path: Path, option: str) -> Table:
        """A file in any encoding and with any delimiter that spreadsheets write; `option` named it.

        Raises:
            CourseError: it cannot be read, or is a workbook.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CourseError(f"{option} {path} cannot be read: {error.strerror}.") from None
        if data.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
            raise CourseError(f"{option} {path} is a workbook. Save it as CSV (in Excel: CSV UTF-8), and give that file.")
        text, encoding = _decoded(data)
        named = re.match(r"sep=(.)\r?\n", text)
        above = named[0] if named else ""
        rows, delimiter = _rows(text.removeprefix(above), named[1] if named else ",;\t")
        return cls(rows, encoding, delimiter, "\r\n" if "\r\n" in text else "\n", above)

    @property
    def comma(self) -> bool:
        """Is the decimal sign a comma?"""
        cells = [cell.strip() for row in self.rows for cell in row]
        return any(re.fullmatch(r"-?\d+,\d+", cell) for cell in cells) and not any(
            re.fullmatch(r"-?\d+\.\d+", cell) for cell in cells
        )

    def number(self, value: float) -> str:
        text = f"{value:.2f}"
        return text.replace(".", ",") if self.comma else text

    def write(self, path: Path) -> None:
        text = io.StringIO(newline="")
        text.write(self.above)
        csv.writer(text, delimiter=self.delimiter, lineterminator=self.newline).writerows(self.rows)
        with whole(path) as scratch:
            scratch.write_bytes(text.getvalue().encode(self.encoding, "replace"))


def _decoded(data: bytes) -> tuple[str, str]:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding
    for encoding in ("utf-8", "gb18030", "cp1252"):
        if encoding != "gb18030" or student_names.looks_chinese(data):
            text = student_names.text_in(data, encoding)
            if text is not None:
                return text, encoding
    return data.decode("latin-1"), "latin-1"


def _rows(text: str, delimiters: str) -> tuple[list[list[str]], str]:
    """The table and its delimiter: the one that makes most rows equally long, of several columns."""
    best: tuple[float, list[list[str]], str] = (-1, [], delimiters[0])
    csv.field_size_limit(10_000_000)
    for delimiter in delimiters:
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
        except csv.Error:
            continue  # no table with this delimiter
        lengths = [len(row) for row in rows]
        usual = max(set(lengths), key=lengths.count, default=0)
        rank = lengths.count(usual) / max(1, len(rows)) + min(usual, 50) / 100 if usual > 1 else 0
        if rank > best[0]:
            best = (rank, rows, delimiter)
    return best[1], best[2]


def inert(value: Any) -> Any:
    """A text with an apostrophe wherever a spreadsheet would begin a formula; anything else as it is."""
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def for_excel(rows: Sequence[dict[str, Any]]) -> str:
    """A table as CSV that opens right: with a byte order mark, for Excel takes UTF-8 for another encoding without one."""
    return "\ufeff" + comma_separated(rows, list(rows[0]) if rows else ["student"])


def as_nbgrader(book: Any, assignment: str) -> str:
    """The table that `nbgrader export` writes (nbgrader/plugins/export.py), of one assignment."""
    about = book.find_assignment(assignment)
    submitted = {submission.student_id: submission for submission in book.assignment_submissions(assignment)}
    rows = []
    for student in book.students:
        handed_in = submitted.get(student.id)
        score = handed_in.score if handed_in else 0.0
        penalty = (handed_in.late_submission_penalty if handed_in else 0.0) or 0.0
        rows.append({
            "assignment": assignment, "duedate": about.duedate or "", "timestamp": handed_in.timestamp if handed_in else "",
            "student_id": student.id, "last_name": student.last_name or "", "first_name": student.first_name or "",
            "email": student.email or "", "raw_score": score, "late_submission_penalty": penalty,
            "score": max(0.0, score - penalty), "max_score": about.max_score,
        })  # fmt: skip
    return comma_separated(rows, _NBGRADER)


def comma_separated(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
