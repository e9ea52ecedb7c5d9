"""What the learning platforms' importers do with a file: their rules, from their source, written down again.

Canvas: lib/gradebook_importer.rb (delimiter, header, rows that are no students, numbers, read-only columns) and
app/models/abstract_assignment.rb, infer_comment_context_from_filename (names of files that are uploaded again).
Moodle: mod/assign/feedback/offline/importgradeslib.php and locallib.php (the grading worksheet), lib/moodlelib.php,
unformat_float, and mod/assign/feedback/file/importziplib.php (feedback files), before 4.1 and since.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

# ---- Canvas ----

_TOTALS = re.compile("(Current|Final) (Score|Points|Grade)|Override (Score|Grade|Status)")


@dataclass
class Canvas:
    """A Canvas course: who is in it, and which assignments it has (id → title, points)."""

    students: dict[int, str]
    assignments: dict[int, tuple[str, float]]
    logins: dict[str, int] = field(default_factory=dict)
    grades: dict[tuple[int, int], str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)  # students and assignments that it would make anew: something is wrong

    def import_gradebook(self, path: Path) -> None:
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter(text)))
        rows = [[_number(cell) for cell in row] for row in rows if not re.fullmatch(r"[;, ]+", ",".join(row) or ",")]
        header = rows[0]
        assert len(header) > 3 and "Student" in header[0] and "ID" in header[1], "Invalid header row"
        info = 3
        if re.search(r"SIS\s+Login\s+ID", header[2]):
            info = 4
        elif re.search(r"SIS\s+User\s+ID", header[2]) and re.search(r"SIS\s+Login\s+ID", header[3]):
            info = 5 + bool(re.search(r"Integration\s+ID", header[4]))
            info += bool(re.search(r"Root\s+Account", header[info - 1]))
        assert "Section" in header[info - 1], "Invalid header row"
        columns: dict[int, int] = {}
        for at, cell in enumerate(header):
            if at < info or _TOTALS.search(cell):
                continue
            match = re.match(r"\A(.*)\s\((\d+)\)\Z", cell)
            known = int(match[2]) if match else next((i for i, (t, _) in self.assignments.items() if t == cell), None)
            if known in self.assignments:
                columns[known] = at  # type: ignore[index]
            else:
                self.new.append(cell)
        points: list[str] = []
        for row in rows[1:]:
            if "Points Possible" in row[0]:
                points = row
            elif not all(re.match(r"^\s*(Muted|Manual Posting.*)?\s*$", cell, re.IGNORECASE) for cell in row if cell):
                self._student(row, columns, points)

    def _student(self, row: list[str], columns: dict[int, int], points: list[str]) -> None:
        student = int(row[1]) if row[1].isdigit() and int(row[1]) in self.students else None
        if student is None:
            student = next((i for i, name in self.students.items() if name == row[0]), None)
        if student is None:
            self.new.append(row[0])
            return
        for assignment, at in columns.items():
            if not re.search(r"read\s+only", points[at] if points else ""):
                self.grades[student, assignment] = row[at].strip()

    @staticmethod
    def _delimiter(text: str) -> str:
        counts = {}
        lines = text.splitlines()[:3]
        for sign in ";,":
            found = [len(next(csv.reader([line], delimiter=sign), [])) for line in lines]
            counts[sign] = found[0] if len(set(found)) == 1 else 0
        return ";" if counts[";"] > counts[","] else ","


def _number(cell: str) -> str:
    if not re.match(r"^-?[0-9.,]+%?$", cell):
        return cell
    *front, last = re.split("[,.]", cell)
    return f"{''.join(front)}.{last}" if front else last


def canvas_comments(
    archive: Path, submissions: dict[int, set[int]], anonymous: dict[str, int]
) -> tuple[dict[int, bytes], list[str]]:
    """Student → the file that becomes a comment; and the files that are ignored.

    Args:
        submissions: student → attachments of the submission.
        anonymous: anonymous id → student.
    """
    comments, ignored = {}, []
    with zipfile.ZipFile(archive) as opened:
        for path in opened.namelist():
            name = posixpath.basename(path)
            split = [part for part in name.split("_") if part != "LATE"]
            student = attachment = None
            if split[0] == "anon":
                student, attachment = anonymous.get(split[1]), split[2]
            else:
                numbers = [part for part in split if re.fullmatch(r"\d+", part)][:2]
                student = int(numbers[0]) if numbers else None
                attachment = numbers[1] if len(numbers) > 1 else None
            if split[-1].startswith("link") or name.startswith("._"):
                attachment = None
            if attachment and student in submissions and int(attachment) in submissions[student]:
                comments[student] = opened.read(path)
            else:
                ignored.append(path)
    return comments, ignored


# ---- Moodle ----


@dataclass
class Moodle:
    """A Moodle assignment in some language: participants by number, grades, and their times as the worksheet shows them."""

    participants: dict[int, str]
    most: float
    words: dict[str, str]  # grade, recordid, lastmodifiedgrade, hiddenuser, decsep
    grades: dict[int, float] = field(default_factory=dict)
    times: dict[int, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def import_worksheet(self, path: Path, delimiter: str = ",") -> None:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [cell.strip() for cell in header]
        grade, record, modified = (header.index(self.words[word]) for word in ("grade", "recordid", "lastmodifiedgrade"))
        for row in rows:
            assert len(row) == len(header), "csvweirdcolumns"
            number = row[record][len(self.words["hiddenuser"]) :]
            if not number.strip().isdigit() or int(number) not in self.participants:
                continue
            value = self._float(row[grade])
            if value is None or value < 0 or value > self.most or row[modified] != self.times.get(int(number), "-"):
                self.skipped.append(row[record])
            else:
                self.grades[int(number)] = value

    def _float(self, text: str) -> float | None:
        text = text.strip().replace(" ", "").replace(self.words["decsep"], ".")
        match = re.match(r"-?\d+(\.\d+)?", text)  # PHP's (float): what it can read from the start
        return None if not text else float(match[0]) if match else 0.0

    def import_feedback(self, archive: Path, before_4_1: bool = False) -> tuple[dict[int, tuple[str, bytes]], list[str]]:
        """Participant → name and content of the feedback file; and the files that are passed over."""
        found, ignored = {}, []
        with zipfile.ZipFile(archive) as opened:
            for path in opened.namelist():
                match = self._place(f"/import/{path}", 5 if before_4_1 else 4)
                if path.endswith("/") or posixpath.basename(path).startswith((".", "~")) or not match:
                    ignored.append(path)
                else:
                    found[match[0]] = (match[1], opened.read(path))
        return found, ignored

    def _place(self, path: str, least: int) -> tuple[int, str] | None:
        parts = path.split("/")
        while parts:
            info = parts.pop(0).split("_", 4)
            if len(info) < least or not re.fullmatch(r"\d+", info[1]) or int(info[1]) not in self.participants:
                continue
            if (info[2], info[3]) not in {("assignsubmission", "file"), ("assignsubmission", "onlinetext")}:
                continue
            rest = [info[4] if len(info) > 4 else "", *parts]
            return int(info[1]), "/".join(rest).strip("/")
        return None
