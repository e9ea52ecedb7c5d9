"""Grades as tables that other programs open: Excel, nbgrader, and (see lms_sheet.py) the sheet of a learning platform."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

# What a spreadsheet takes for a formula: at the start, after blanks, and after whatever it may take for the end of a cell,
# for where a comma is the decimal sign a semicolon separates cells, inside quotes too. Full-width signs count in East Asia.
_FORMULA = re.compile(r"(^|[;\t\r\n|])(?=[\s\"']*[=+\-@＝＋－＠\t\r])")

_NBGRADER = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
)  # fmt: skip


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
