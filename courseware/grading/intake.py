"""What was handed in: a folder of files, nbgrader's folders, or the zip that a learning platform exports.

Every entry becomes a submission: one that cannot be read gets its reason, and none stops the run. Links are not followed,
and names in a zip are names, never paths.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from course_utils.errors import CourseError

_JUNK = re.compile(r"^(\.|__MACOSX|Thumbs\.db$|desktop\.ini$|timestamp\.txt$)")
_MOODLE = re.compile(r"^(?P<who>.+?_\d+)_assignsubmission_")
_CANVAS = re.compile(r"^(?P<who>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)$")


@dataclass
class Submission:
    """One student's file, not read yet."""

    student: str
    file: str  # as a person would name it
    timestamp: str
    size: int
    read: Callable[[], bytes]
    problem: str = ""  # why there is nothing to read

    def about(self) -> dict[str, str]:
        """All but the grade that a table of the class says of the student."""
        return {"file": self.file}


def find(submitted: Path, lab: str, largest: int) -> list[Submission]:
    """All submissions of a class, one for each student, in the order of their names.

    Raises:
        CourseError: `submitted` is not there, is no folder or zip, or is empty.
    """
    if not submitted.exists():
        raise CourseError(f"There is no {submitted}.")
    if submitted.is_dir():
        found = [s for entry in sorted(submitted.iterdir()) if not _JUNK.match(entry.name) for s in _entry(entry, lab)]
    elif zipfile.is_zipfile(submitted):
        found = list(_zip(submitted))
    else:
        raise CourseError(f"{submitted} is neither a folder nor a zip file.")
    if not found:
        raise CourseError(f"There is nothing to grade in {submitted}.")
    by_student: dict[str, list[Submission]] = {}
    for submission in found:
        submission.student = _safe(submission.student)
        if submission.size > largest and not submission.problem:
            submission.problem = f"the file has {submission.size / 1e6:.0f} MB; at most {largest / 1e6:.0f} MB can be graded"
        by_student.setdefault(submission.student, []).append(submission)
    return [_choose(several, lab) for _, several in sorted(by_student.items())]


def _choose(several: list[Submission], lab: str) -> Submission:
    """A student's several files: the lab's own name first, then notebooks, then the newest."""

    def rank(s: Submission) -> tuple[bool, bool, bool, str]:
        name = PurePosixPath(s.file).name
        return (not s.problem, PurePosixPath(name).stem == lab or lab in name, name.endswith(".ipynb"), s.timestamp)

    return max(several, key=rank)


def _entry(path: Path, lab: str) -> Iterator[Submission]:
    """One entry of the folder: a student's file, zip, or folder as nbgrader lays it out."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        yield _unread(path.stem, path.name, "it is a link or a device, not a file")
    elif path.is_file():
        if path.suffix == ".zip" and zipfile.is_zipfile(path):
            yield from _zip(path, student=path.stem)
        else:
            yield _file(path.stem, path, path.name)
    else:
        inner = path / lab if (path / lab).is_dir() and not (path / lab).is_symlink() else path
        files = [p for p in sorted(inner.rglob("*")) if not _JUNK.match(p.name) and not p.is_dir()]
        notebooks = [p for p in files if p.suffix == ".ipynb" and ".ipynb_checkpoints" not in p.parts]
        for found in notebooks or files[:1]:
            name = str(found.relative_to(path))
            inside = any(parent.is_symlink() for parent in [found, *found.parents] if parent.is_relative_to(path))
            yield _unread(path.name, name, "it is a link, not a file") if inside else _file(path.name, found, name)
        if not files:
            yield _unread(path.name, path.name, "the folder is empty: nothing was handed in")


def _file(student: str, path: Path, name: str) -> Submission:
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        return _unread(student, name, "it is not an ordinary file")
    return Submission(student, name, _time(about.st_mtime), about.st_size, path.read_bytes)


def _zip(path: Path, student: str | None = None) -> Iterator[Submission]:
    """The members of an LMS's zip (Moodle, Canvas, or plain), or of the zip that one student handed in."""
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
    for member in members:
        parts = [p for p in re.split(r"[/\\]", member.filename) if p]
        if not parts or any(_JUNK.match(p) for p in parts if p not in (".", "..")):
            continue
        who = student or _who(parts)
        escapes = member.filename.startswith(("/", "\\")) or ".." in parts or re.match(r"^[A-Za-z]:", member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if escapes:
            yield _unread(who, parts[-1], "its name in the zip leads out of the zip")
        elif kind not in (0, stat.S_IFREG):
            yield _unread(who, parts[-1], "it is a link or a device, not a file")
        elif member.flag_bits & 1:
            yield _unread(who, parts[-1], "it is encrypted")
        elif student is None or parts[-1].endswith(".ipynb"):
            when = datetime(*member.date_time, tzinfo=UTC).timestamp() if member.date_time[0] >= 1980 else 0
            yield Submission(who, "/".join(parts), _time(when), member.file_size, _member(path, member))
    if student and not any(m.filename.endswith(".ipynb") for m in members):
        yield _unread(student, path.name, "there is no notebook in the zip")


def _member(path: Path, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return file.read(member.file_size + 1)  # not more than it says, whatever it unpacks to

    return read


def _who(parts: list[str]) -> str:
    for part in parts:
        if match := _MOODLE.match(part):
            return match["who"]
    if len(parts) > 1:
        return parts[-3] if len(parts) > 2 and parts[0] == "submitted" else parts[0]
    if match := _CANVAS.match(parts[0]):
        return f"{match['who']}_{match['id']}"
    return PurePosixPath(parts[0]).stem


def _unread(student: str, file: str, problem: str) -> Submission:
    return Submission(student, file, _time(0), 0, lambda: b"", problem)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def _safe(name: str) -> str:
    """A student's name as a file name that stays where it is put."""
    kept = re.sub(r"[^\w@+=. ,()-]", "_", name).strip(" .")
    return (kept or "unnamed")[:100]
