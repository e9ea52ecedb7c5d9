"""What a class handed in: one submission for each student, whatever it came in and however it is laid out.

inbox     everything opened into one tree, archives too
layout    whose is which file
roster    who is in the class, if the instructor has a list
sought    which of a student's notebooks is this lab
names     names as they are, and as file names

Every file is a student's or is listed as ignored, with the reason; every student has a row. One that cannot be read gets its
reason, and none stops the run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from course_utils.errors import CourseError

from . import archive, layout, student_names, uploads
from .lab_match import Sought
from .platforms import Student
from .roster import Person, Roster
from .uploads import File

_KINDS = {  # what is handed in instead of a notebook
    "pdf": "a PDF", "html": "a web page", "htm": "a web page", "py": "a Python script", "docx": "a Word file",
    "doc": "a Word file", "odt": "a text document", "png": "a picture", "jpg": "a picture", "jpeg": "a picture",
    "heic": "a picture", "csv": "a table", "xlsx": "a spreadsheet", "pptx": "slides",
}  # fmt: skip
_OTHERS = 10  # files beside the graded one that the table names
_SHOWN = 5  # ignored files of one reason that are named


@dataclass
class Submission:
    """One student's file, not read yet."""

    student: str  # as a file name, of nobody else in the class
    file: str  # as a person would name it
    timestamp: str
    size: int
    content: File | None
    largest: int  # bytes that can be graded
    problem: str = ""  # why there is nothing to read
    again: bool = False  # the problem is the machine's: no grade follows from it
    id: str = ""  # what the platform, or the list of the class, calls the student
    name: str = ""  # as it came
    mail: str = ""
    layout: str = ""
    others: list[str] = field(default_factory=list)  # files by the student that are not graded
    late: bool = False
    attempt: str = ""
    file_note: str = ""  # about the file, for the student to read
    remark: str = ""  # for the instructor

    def read(self) -> bytes:
        """The file, as UTF-8 wherever it is text.

        Raises:
            OSError: the machine cannot read it now.
            Damaged: nobody can.
        """
        if self.content is None:
            return b""
        data = self.content.read(self.largest + 1)
        if len(data) > self.largest:
            raise archive.Damaged(_too_large(len(data), self.largest))
        if data.lstrip()[:1] == b"{":
            data, self.file_note = student_names.utf8(data)
        return data

    def about(self) -> dict[str, str]:
        """All but the grade that a table of the class says of the student."""
        return {
            "id": self.id, "name": self.name, "mail": self.mail, "layout": self.layout, "file": self.file,
            "other_files": _listed(self.others), "late": "late" if self.late else "", "attempt": self.attempt,
            "file_note": self.file_note, "remark": self.remark,
        }  # fmt: skip


@dataclass
class Intake:
    """A class's submissions, and what was found besides."""

    submissions: list[Submission]
    missing: list[Person]  # on the list of the class, and nothing is theirs
    ignored: dict[str, str]  # file → why
    files: int
    remarks: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Submission]:
        return iter(self.submissions)

    def report(self) -> str:
        """What an instructor should see before anything is graded."""
        layouts = ", ".join(kind for kind, _ in Counter(s.layout for s in self.submissions).most_common())
        lines = [f"{_count(self.files, 'file')} → {_count(len(self.submissions), 'student')} (layout: {layouts})"]
        reasons: dict[str, list[str]] = {}
        for path, why in self.ignored.items():
            reasons.setdefault(why, []).append(path)
        for why, paths in reasons.items():
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            lines.append(f"  ignored: {', '.join(paths[:_SHOWN])}{more} ({why})")
        several = [s for s in self.submissions if any(".ipynb" in name.lower() for name in s.others)]
        for one in several[:_SHOWN]:
            other = next(name for name in one.others if ".ipynb" in name.lower())
            lines.append(f"  {student_names.shown(one.name)}: {one.file} is graded; also handed in: {other}")
        if len(several) > _SHOWN:
            lines.append(f"  {len(several) - _SHOWN} more handed in several notebooks: see other_files in grades.csv")
        lines += [f"  {remark}" for remark in self.remarks]
        if self.missing:
            who = ", ".join(student_names.shown(person.name) for person in self.missing[:10])
            more = " …" if len(self.missing) > 10 else ""
            lines.append(f"  nothing from {_count(len(self.missing), 'student')} of the list: {who}{more}")
        return "\n".join(lines)


def find(
    submitted: Path,
    lab: Sought | str,
    largest: int,
    *,
    out: Path | None = None,
    students: Path | None = None,
    pattern: str = "",
    certain: bool = False,
) -> Intake:
    """All submissions of a class, one for each student, in the order of their names.

    Args:
        lab: the lab, or only its name: then files are chosen by their names.
        largest: bytes of a file that can be graded.
        out: where results go; not part of what was handed in.
        students: a CSV file with the class's ids and names.
        pattern: a regular expression that names a file's student, as nbgrader's zip collector takes it.
        certain: go on with the likeliest where the layout does not say whose a file is.

    Raises:
        CourseError: `submitted` is not there, is no folder or archive, or is empty; the layout leaves open who is a student;
            `students` or `pattern` cannot be read.
    """
    lab = Sought.named(lab) if isinstance(lab, str) else lab
    roster = Roster.read(students) if students else None
    box = uploads.opened(submitted, out)
    if students:
        _set_aside(box, submitted, students)
    count = sum(1 for _ in box.top.walk()) + len(box.ignored)
    laid = layout.read(box, lab, roster, pattern, certain)
    if laid.doubts and not certain:
        raise CourseError(
            "\n".join([f"It is not clear who the students in {submitted} are:", *(f"  {doubt}" for doubt in laid.doubts)])
            + "\nLay it out so that each student has one file or one folder, name the students with --students LIST.csv or "
            "--pattern, or take every one of these notebooks for a student's with --yes."
        )
    if not laid.students:
        ignored = "".join(f"\n  {path}: {why}" for path, why in list(box.ignored.items())[:_SHOWN])
        raise CourseError(f"There is nothing to grade in {submitted}.{ignored}")
    intake = Intake([], [], box.ignored, count)
    people = _matched(laid.students, roster)
    if roster and not certain and not any(who.person or "several" in who.remark for who, _ in people):
        first, theirs = student_names.shown(roster.people[0].name), student_names.shown(laid.students[0].name)
        raise CourseError(
            f"--students {students}: none of its {_count(len(roster.people), 'student')} ({first}, …) is among the "
            f"{len(people)} who handed something in ({theirs}, …). Is it another class's, or without a heading such as "
            "id,name,email? With --yes everybody is graded and marked as not on the list."
        )
    intake.submissions = sorted((_submission(who, files, lab, largest) for who, files in people), key=lambda s: s.student)
    _tell_apart(intake.submissions)
    ids = Counter(submission.id for submission in intake)
    for submission in intake:
        if ids[submission.id] > 1:
            reason = f"the id {submission.id} stands for {ids[submission.id]} students"
            submission.remark = "; ".join(filter(None, [submission.remark, reason]))
    if roster:
        there = {who.person for who, _ in people}
        intake.missing = [person for person in roster.people if person not in there]
    intake.remarks += [f"{student_names.shown(s.name)}: {s.remark}" for s in intake.submissions if s.remark]
    return intake


def _set_aside(box: uploads.Inbox, submitted: Path, students: Path) -> None:
    """The list of the class may lie among what was handed in."""
    for file in [f for f in box.top.files if (submitted / f.name).resolve() == students.resolve()]:
        box.top.files.remove(file)
        box.ignored[file.shown] = "the list of the class"


@dataclass
class _Who:
    """A student as laid out, and as listed."""

    student: Student
    person: Person | None
    remark: str


def _matched(students: list[Student], roster: Roster | None) -> list[tuple[_Who, list[File]]]:
    """Students with their files; what several names of one listed student handed in is put together."""
    people: dict[object, tuple[_Who, list[File]]] = {}
    for student in students:
        person = roster.find(student.id, student.name, student.label) if roster else None
        remark = student.remark
        if roster and person is None:
            several = roster.unclear(student.id, student.name, student.label)
            reason = "may be several of the list of the class" if several else "is not on the list of the class"
            remark = "; ".join(filter(None, [remark, reason]))
        elif person in people and _are_two(student, people[person][0].student):
            remark = f"the list of the class has one {student.name}, and there are several"
            person = None
        who, files = people.setdefault(person or student, (_Who(student, person, remark), []))
        if who.student is not student:
            who.remark = "; ".join(filter(None, [who.remark, f"also as {student.label}"]))
        files += student.files
    return list(people.values())


def _are_two(one: Student, other: Student) -> bool:
    """Do a platform's ids, or the folders they lie in, say that they may be two people, whatever they are called?"""
    return one.id != other.id if one.by_platform and other.by_platform else one.place != other.place


def _submission(who: _Who, files: list[File], lab: Sought, largest: int) -> Submission:
    student, person = who.student, who.person
    label = (person.id or person.name) if person else student.label
    chosen, problem, again = _chosen(files, lab, largest, {student_names.same(student.name), student_names.same(label)})
    submission = Submission(
        student_names.as_file(label), chosen.shown if chosen else student.empty, _time(chosen.when if chosen else 0.0),
        chosen.size if chosen else 0, chosen, largest, student.held or problem, again or bool(student.held),
        person.id if person else student.id, person.name if person else student.name, person.mail if person else "",
        student.layout, [file.shown for file in files if file is not chosen], remark=who.remark,
    )  # fmt: skip
    if chosen:
        submission.late, submission.attempt = chosen.late, chosen.attempt
    return submission


def _chosen(files: list[File], lab: Sought, largest: int, called: set[str]) -> tuple[File | None, str, bool]:
    """The file to grade; what is wrong with it, and whether only for now."""
    if not files:
        return None, "the folder is empty: nothing was handed in", False
    chosen = max(files, key=partial(_rank, lab=lab, called=called))
    unread = [file for file in files if file.again]
    if unread and not lab.is_in(chosen):  # it may be the very file that cannot be read now
        return unread[0], f"the file {unread[0].name} {unread[0].problem}", True
    if chosen.problem:
        return chosen, chosen.problem, False
    if chosen.size > largest:
        return chosen, _too_large(chosen.size, largest), False
    kind = _KINDS.get(chosen.name.rpartition(".")[2].lower())
    if not chosen.is_notebook and kind:
        return chosen, f"there is no notebook: {chosen.name} is {kind}; hand in the .ipynb file itself", False
    return chosen, "", False


def _too_large(size: int, largest: int) -> str:
    return f"the file has {size / 1e6:.0f} MB; at most {largest / 1e6:.0f} MB can be graded"


def _rank(file: File, lab: Sought, called: set[str]) -> tuple[object, ...]:
    """This lab's notebook first, whatever it is called, and of those the last that was handed in."""
    name = file.name.casefold()
    copy = re.search(r"(?:\((\d+)\)|[-_ ]v?(\d{1,2}))$", file.stem)
    right = lab.is_in(file)
    return (
        right,
        right and not lab.is_blank(file),
        not file.problem or file.again,
        file.is_notebook,
        not file.draft,
        right or lab.name.casefold() in name,
        file.order,
        file.when,
        student_names.same(file.stem) in called,
        int(copy[1] or copy[2]) if copy else 0,
        file.path,
    )


def _tell_apart(submissions: list[Submission]) -> None:
    """Two students never write the same files, not even where capitals do not count."""
    taken: set[str] = set()
    for submission in submissions:
        key = submission.student
        number = 1
        while submission.student.casefold() in taken:
            number += 1
            submission.student = f"{key} ({number})"
        taken.add(submission.student.casefold())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def _listed(files: list[str]) -> str:
    """Notebooks first; not all of a whole course that a student handed in."""
    first = sorted(files, key=lambda name: ".ipynb" not in name.lower())
    more = f"; and {len(files) - _OTHERS} more" if len(files) > _OTHERS else ""
    return "; ".join(first[:_OTHERS]) + more


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
