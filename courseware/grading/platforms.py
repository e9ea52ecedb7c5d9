"""The names that learning platforms give to what they hand out: a student's name, id and attempt, wherever they stand."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from datetime import datetime

import yaml

from . import archive, student_names
from .uploads import File, Folder, Inbox

_MOODLE = re.compile(r"^(?P<name>.+?)_?(?:_(?P<id>\d+))?_assignsubmission_[a-z]+(?:_.*)?$", re.DOTALL)
_CANVAS = re.compile(r"^(?P<name>\w+?)(?P<late>_LATE)?_(?P<id>\d+)_(?:(?P<file>\d{3,})_(?P<rest>.+)|(?:text|link)\.html)$")
_CANVAS_ANON = re.compile(r"^(?P<late>LATE_)?anon_(?P<id>[^_\W]+)_(?:(?P<file>\d+)_.+|(?:text|link)\.html)$")
_CANVAS_AGAIN = re.compile(r"-(\d{1,2})(?:\.\w+)*$")
_BLACKBOARD = re.compile(r"^(?P<head>.+)_[^\W\d_]+_(?P<when>\d{4}(?:-\d\d){5})(?P<rest>_.+)?(?(rest)|\.txt)$", re.DOTALL)
_SAID = re.compile(
    r"\s*[^:：\n]*[:：]\s*(?P<name>[^\n]*?)\s*(?:\((?P<login>[^()\n]+)\))?\s*(?:\n|$)"
)  # "Name: Jo Doe (jdoe)"
_BRIGHTSPACE = re.compile(r"^\d+-(?P<id>\d+) - (?P<name>.+?) - (?P<when>[^-]*\b\d{4}\b[^-]*?\b\d{3,4}\b[^-]*?)(?: - .+)?$")
_EXCHANGE = re.compile(r"^(?P<id>[^+]+)\+(?P<lab>[^+]+)\+(?P<when>\d{4}-\d\d-\d\d[^+]*)(?:\+.*)?$")
_GRADESCOPE = re.compile(r"^submission_(\d+)$")
_VERSION = re.compile(
    r"^(?:version|versión|versão|versione|versie|wersja|версия|verze|版本|バージョン|버전|attempt|intento|versuch|tentative"
    r"|submission|第)\s*_?(\d+)\s*(?:次|版)?$",
    re.IGNORECASE,
)


@dataclass(eq=False)
class Student:
    """What one student handed in."""

    id: str  # what the platform calls the student; for files laid out by hand, their name
    name: str  # as it came
    label: str  # tells this student from all others
    layout: str
    files: list[File] = field(default_factory=list)
    remark: str = ""  # for the instructor
    held: str = ""  # why none of the files can be graded yet
    empty: str = ""  # the folder, if there is nothing in it
    by_platform: bool = False  # a platform's id tells the student from others
    place: tuple[str, ...] = ()  # for files laid out by hand: where students lie together


def take(inbox: Inbox, lab: str) -> list[Student]:
    """The students whose files bear a platform's names; those files leave the inbox's tree."""
    claims = _Claims(inbox, lab)
    by_label: dict[tuple[str, str], Student] = {}

    def give(file: File, to: list[Student]) -> None:
        for student in to:
            by_label.setdefault((student.layout, student.label), student).files.append(file)

    def visit(folder: Folder) -> None:
        claimed = {file: claims.of(file) for file in folder.files}
        for file, to in claimed.items():
            give(file, to or [])
        folder.files = [file for file, to in claimed.items() if to is None]
        folder.claimed = any(claimed.values())
        for name, inner in list(folder.folders.items()):
            if inner.folders or inner.files:
                visit(inner)
                folder.claimed = folder.claimed or inner.claimed
                emptied = not (inner.folders or inner.files)
            else:  # a student's, with nothing in it
                owners = claims.of(File((*inner.path, ""), 0, 0.0, lambda most: b"")) or []
                for student in owners:
                    by_label.setdefault((student.layout, student.label), student).empty = inner.name
                emptied = bool(owners)
            if emptied:
                del folder.folders[name]

    visit(inbox.top)
    for submission, student in claims.listed():  # on Gradescope's list, and there is no file of theirs
        by_label.setdefault((student.layout, student.label), student).empty = student.empty or submission
    students = list(by_label.values())
    for student in students:
        student.by_platform = True
    moodle = [student for student in students if student.layout == "Moodle"]
    if len(moodle) > 1 and len({student.name for student in moodle}) == 1:  # marked blind: all are called "Participant"
        for student in moodle:
            student.name = f"{student.name} {student.id}"
    return students


def note_version(file: File, below: tuple[str, ...]) -> None:
    """The attempt, where a folder such as "Version 2" says it."""
    match = next((match for part in below if (match := _VERSION.match(part))), None)
    if match and not file.attempt:
        file.attempt, file.order = match[1], float(match[1])


class _Claims:
    """Whose a file is, by the first of its path's names that only a platform gives."""

    def __init__(self, inbox: Inbox, lab: str) -> None:
        self.inbox, self.lab = inbox, lab
        self.lists: set[File] = set()  # a platform's own files
        self.canvas: set[tuple[str, ...]] = set()  # folders whose names are Canvas's
        self.few: set[tuple[str, ...]] = set()  # folders with one such name at most: an archive's may be chance
        self.members: dict[tuple[str, ...], dict[str, list[Student]]] = {}  # Gradescope: folder → submission → who
        self.heads: dict[str, tuple[str, str]] = {}  # Blackboard: "title_login" → login, name
        self.mangled: dict[tuple[str, ...], str] = {}  # Blackboard: a file that it had to rename → its head
        self._prepare(inbox.top)

    def _prepare(self, folder: Folder) -> None:
        listed = [*(file.name for file in folder.files), *(inner.path[-1] for inner in folder.folders.values())]
        heads = {match["head"] for name in listed if (match := _BLACKBOARD.match(name))}
        if heads:
            self._blackboard(folder, heads)
        matches = [match for name in listed if (match := _CANVAS.match(name)) and self._is_canvas(match)]
        numbers = [match["file"] for match in matches if match["file"]]
        if len(set(numbers)) == len(numbers):  # of an upload, which no two have
            self.canvas.add(folder.path)
        self.few |= {folder.path} if len(matches) + len(heads) < 2 else set()
        if folder.path and re.match(r"assignment_\d+_export", folder.name):
            self.members[folder.path] = {}
        for file in folder.files:
            if file.name == "submission_metadata.yml":
                self.members[folder.path] = _gradescope(file)
                self.lists.add(file)
                self.inbox.ignored[file.shown] = "Gradescope's list"
        for inner in folder.folders.values():
            self._prepare(inner)

    def _blackboard(self, folder: Folder, heads: set[str]) -> None:
        """Which part of "title_login" is the login: the text beside each hand-in says it, or what all have in common."""
        submitters: dict[str, tuple[str, str]] = {}
        others = {file.name for file in folder.files if not _BLACKBOARD.match(file.name)}
        for file in folder.files:
            match = _BLACKBOARD.match(file.name)
            if not match or match["rest"]:
                continue
            text = _text(file)
            if person := _SAID.match(text):
                login = person["login"] if match["head"].endswith(f"_{person['login']}") else ""
                submitters[match["head"]] = login, person["name"]
            for name in others & {line.partition(":")[2].strip() for line in text.splitlines()}:
                self.mangled[(*folder.path, name)] = match["head"]
        known = [head.removesuffix(login) for head, (login, _) in submitters.items() if login]
        title = known[0] if known else _shared(heads)
        for head in heads:
            login, name = submitters.get(head, ("", ""))
            login = login or (head.removeprefix(title) if title and head.startswith(title) else head.rpartition("_")[2])
            self.heads[head] = login, name or login

    def listed(self) -> list[tuple[str, Student]]:
        """All that a platform's own list names: submission and student."""
        submissions = (pair for members in self.members.values() for pair in members.items())
        return [(submission, student) for submission, students in submissions for student in students]

    def of(self, file: File) -> list[Student] | None:
        """The student, or a group's students; nobody for a platform's own file; None if no name tells."""
        if file in self.lists:
            return []
        for place, part in enumerate(file.path):
            last = place == len(file.path) - 1
            packed = bool(archive.SUFFIX.search(part)) and file.path[:place] not in self.few
            claim = self._by_folder(file, place, part) or (self._by_file(file, place, part) if last or packed else None)
            if claim:
                note_version(file, file.path[place + 1 :])
                return claim
        return None

    def _by_folder(self, file: File, place: int, part: str) -> list[Student] | None:
        """By a name that a folder may have, too."""
        if match := _MOODLE.match(part):
            label = f"{match['name']}_{match['id']}" if match["id"] else match["name"]
            return [Student(match["id"] or match["name"], match["name"], student_names.same(label), "Moodle")]
        if match := _BRIGHTSPACE.match(part):
            file.attempt, file.order = match["when"], _english_date(match["when"])
            label = f"{match['name']}_{match['id']}"
            return [Student(match["id"], match["name"], student_names.same(label), "Brightspace")]
        if place == len(file.path) - 1:
            return None
        if (match := _EXCHANGE.match(part)) and match["lab"] == self.lab:
            file.attempt, file.order = match["when"], float(re.sub(r"\D", "", match["when"])[:14])
            return [Student(match["id"], match["id"], student_names.same(match["id"]), "nbgrader's exchange")]
        if (submissions := self.members.get(file.path[:place])) is not None and _GRADESCOPE.match(part):
            return submissions.get(part) or [Student(part, part, part, "Gradescope")]
        return None

    def _by_file(self, file: File, place: int, part: str) -> list[Student] | None:
        """By a name that only a file has."""
        if match := _CANVAS_ANON.match(part):
            file.late, file.order = bool(match["late"]), float(match["file"] or 0)
            return [Student(match["id"], f"anon_{match['id']}", f"anon_{match['id']}", "Canvas")]
        match = _CANVAS.match(part) if file.path[:place] in self.canvas else None
        if match and self._is_canvas(match):
            file.late, file.order = bool(match["late"]), float(match["file"] or 0)
            again = _CANVAS_AGAIN.search(match["rest"] or "")
            file.attempt = str(int(again[1]) + 1) if again else ""
            return [Student(match["id"], match["name"], student_names.same(f"{match['name']}_{match['id']}"), "Canvas")]
        match = _BLACKBOARD.match(part)
        head = match["head"] if match else self.mangled.get(file.path)
        if head is None:
            return None
        if match:
            file.attempt, file.order = match["when"], float(match["when"].replace("-", ""))
            file.draft = not match["rest"]  # what Blackboard says of a hand-in; it may be all there is
        login, name = self.heads[head]
        return [Student(login, name, student_names.same(login), "Blackboard")]

    def _is_canvas(self, match: re.Match[str]) -> bool:
        """Not so `zhang_2023001_10_quantization.ipynb`, where 10 is the lab's own number, and `hw_3_2025_ann.ipynb`."""
        ours = f"{match['file']}_{match['rest']}".casefold().startswith(self.lab.casefold())
        return match["name"] == match["name"].lower() and not ours and bool(student_names.words(match["name"]))


def _shared(heads: set[str]) -> str:
    """What all begin with, up to a "_"."""
    first, last = min(heads), max(heads)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[: first.rfind("_", 0, length) + 1]


def _gradescope(file: File) -> dict[str, list[Student]]:
    """Submission → its submitters. Of the long file only the lines that name them are parsed."""
    students: dict[str, list[Student]] = {}
    for block in re.split(r"(?m)^(?=submission_\d+:)", _text(file, 200_000_000)):
        submission, _, rest = block.partition(":")
        lines = rest.partition(":submitters:")[2].partition("\n")[2].splitlines()
        indent = re.match(r" *(?=-)", lines[0]) if lines else None
        if not indent or not _GRADESCOPE.match(submission):
            continue
        ends = next((i for i, line in enumerate(lines) if not line.startswith((f"{indent[0]}-", f"{indent[0]} "))), None)
        try:
            people = yaml.safe_load("\n".join(itertools.islice(lines, ends)))
        except yaml.YAMLError:  # this entry is cut or damaged: the others are not
            continue
        for person in people if isinstance(people, list) else []:
            submitter = person if isinstance(person, dict) else {}
            number = submission.removeprefix("submission_")
            mail = str(submitter.get(":email") or "")
            name = str(submitter.get(":name") or mail or submission)
            who = str(submitter.get(":sid") or mail or number)
            students.setdefault(submission, []).append(
                Student(who, name, student_names.same(f"{name}_{number}"), "Gradescope")
            )
    return students


def _text(file: File, most: int = 100_000) -> str:
    try:
        return student_names.utf8(file.read(most))[0].decode("utf-8-sig", "replace").replace("\r\n", "\n")
    except (OSError, archive.Damaged):  # a file beside the notebooks: without it less is known
        return ""


def _english_date(text: str) -> float:
    """ "Nov 2, 2025 233 PM" """
    try:
        return datetime.strptime(re.sub(r"(\d?\d)(\d\d) ([AP]M)$", r"\1:\2 \3", text), "%b %d, %Y %I:%M %p").timestamp()
    except ValueError:  # no date
        return 0.0
