"""What was handed in, opened: a tree of folders and files, archives as folders, each file with the path that it lies at.

Links are not followed, pipes and devices are not opened, and a name in an archive is a name, never a path. What cannot be
read is in the tree, with its reason.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO

from course_utils.errors import CourseError

from ..files import MARKER
from . import archive, student_names

_JUNK = re.compile(  # that systems and programs leave beside people's files
    r"^(__MACOSX|\._.*|\.DS_Store|\.localized|Thumbs\.db|ehthumbs\.db|desktop\.ini|\$RECYCLE\.BIN|System Volume Information"
    r"|\.ipynb_checkpoints|.*-checkpoint\.ipynb|__pycache__|.*\.pyc|\.git|\.venv|venv|node_modules|\.vscode|\.idea"
    r"|~\$.*|\.~lock\..*|.*\.(partial|crdownload|tmp)|timestamp\.txt|\.(?!.*\.ipynb$).+)$",
    re.IGNORECASE,
)
_FOLDERS = 30  # one in another
_NESTED = 4  # archives, one in another
_MEMBERS = 100_000
_NESTED_BYTES = 1_000_000_000
_OURS = "the output of an earlier run"
_NBGRADER = {"source", "release", "autograded", "feedback"}
_NOTEBOOK = re.compile(rb'\s*\{\s*(\}|"(cells|nbformat|nbformat_minor|metadata|worksheets)"\s*:)')
_ENDING = re.compile(r"(\.ipynb)?(\.(tar\.)?[A-Za-z0-9]{1,8})?$", re.IGNORECASE)
_MAYBE = re.compile(r"\.ipynb|\.(json|txt|zip|md|py)$|^[^.]*$", re.IGNORECASE)  # names under which a notebook may hide


@dataclass(eq=False)
class File:
    """One file that was handed in, not read yet."""

    path: tuple[str, ...]  # from the top; an archive counts as a folder
    size: int
    when: float  # seconds since 1970; 0: not known
    read: Callable[[int], bytes]  # its first n bytes; OSError: the machine's trouble; Damaged: the archive's
    problem: str = ""  # why there is nothing to read
    again: bool = False  # the problem is the machine's and may pass
    late: bool = False
    attempt: str = ""  # as the platform counts or dates it
    order: float = 0.0  # of two attempts the higher is the later
    draft: bool = False  # not handed in yet

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def shown(self) -> str:
        return student_names.shown("/".join(self.path))

    @property
    def stem(self) -> str:
        """Its name without what says of which kind it is."""
        return _ENDING.sub("", self.name) or self.name

    @cached_property
    def is_notebook(self) -> bool:
        """By its name; or by its first bytes, where a system or a browser has put another ending to the name."""
        if self.name.lower().endswith(".ipynb"):
            return True
        if self.problem or not _MAYBE.search(self.name):
            return False
        try:
            start, _ = student_names.utf8(self.read(2000))
        except (OSError, archive.Damaged):  # `intake` says so when it reads it whole; until then its name must do
            return ".ipynb" in self.name.lower()
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            start = start.decode("utf-16", "ignore").encode()
        match = _NOTEBOOK.match(start.removeprefix(b"\xef\xbb\xbf"))
        return bool(match and (match[2] or ".ipynb" in self.name.lower()))


@dataclass(eq=False)
class Folder:
    """A folder or an archive."""

    path: tuple[str, ...]
    is_archive: bool = False
    folders: dict[str, Folder] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    claimed: bool = False  # a platform's names stood in it

    @property
    def name(self) -> str:
        """Its own name, an archive's without what says that it is one."""
        return re.sub(r"(?i)\.ipynb$", "", archive.SUFFIX.sub("", self.path[-1])) if self.is_archive else self.path[-1]

    def walk(self) -> Iterator[File]:
        yield from self.files
        for folder in self.folders.values():
            yield from folder.walk()

    def within(self, parts: Iterable[str]) -> Folder:
        """The folder at these parts below this one, made where it is not."""
        here = self
        for part in parts:
            here = here.folders.setdefault(part, Folder((*here.path, part)))
        return here


@dataclass
class Inbox:
    """All that lies in a folder or archive."""

    top: Folder
    ignored: dict[str, str] = field(default_factory=dict)  # path → why


def opened(submitted: Path, out: Path | None = None) -> Inbox:
    """The tree of a folder or an archive. `out`, and what an earlier run wrote, are not part of it.

    Raises:
        CourseError: there is no such folder or archive, or the archive is damaged.
    """
    if not submitted.exists():
        raise CourseError(f"There is no {submitted}.")
    inbox = Inbox(Folder(()))
    if submitted.is_dir():
        try:
            _from_disk(inbox, inbox.top, submitted, out.resolve() if out else None)
        except OSError as error:
            raise CourseError(f"{submitted} {_now(error)}.") from None
        _leave_out_ours(inbox, inbox.top)
        return inbox
    source = _Disk(submitted)
    with source.stream() as file:
        start = file.read(4)
    if not archive.is_zip(start) and not archive.SUFFIX.search(submitted.name):
        raise CourseError(f"{submitted} is neither a folder nor a zip file.")
    try:
        _from_archive(inbox, inbox.top, source, submitted.stat().st_mtime)
    except archive.Damaged as error:
        raise CourseError(f"{submitted} cannot be read: {error}. Download it again.") from None
    _leave_out_ours(inbox, inbox.top)
    return inbox


def _leave_out_ours(inbox: Inbox, folder: Folder) -> None:
    """What an earlier run wrote into the folder, or nbgrader beside its folder `submitted`, is nobody's submission."""
    if "submitted" in folder.folders:
        for name in _NBGRADER & set(folder.folders):
            inbox.ignored["/".join(folder.folders.pop(name).path)] = "nbgrader's own folder"
    for name, inner in list(folder.folders.items()):
        if "results" in inner.folders and any(file.name == "gradebook.db" for file in inner.files):
            inbox.ignored["/".join(folder.folders.pop(name).path)] = _OURS
        else:
            _leave_out_ours(inbox, inner)


@dataclass(frozen=True)
class _Disk:
    path: Path

    def stream(self) -> AbstractContextManager[BinaryIO]:
        return self.path.open("rb")


@dataclass(frozen=True, eq=False)
class _Inner:
    """An archive inside of another."""

    outer: _Disk | _Inner
    member: archive.Member

    def stream(self) -> AbstractContextManager[BinaryIO]:
        return nullcontext(io.BytesIO(_bytes(self)))


@lru_cache(maxsize=2)  # the members of one inner archive are read one after another
def _bytes(inner: _Inner) -> bytes:
    with inner.outer.stream() as file:
        return inner.member.read(file, inner.member.size + 1)


def _from_disk(inbox: Inbox, folder: Folder, place: Path, out: Path | None) -> None:
    entries = sorted(os.scandir(place), key=lambda entry: os.fsencode(entry.name))
    shown = student_names.decoded([os.fsencode(entry.name) for entry in entries])
    for entry, name in zip(entries, shown, strict=True):
        path, where = (*folder.path, name), Path(entry.path)
        if entry.is_symlink():
            about, problem = None, "it is a link, not a file"
        else:
            try:
                about, problem = entry.stat(follow_symlinks=False), ""
            except OSError as error:
                about, problem = None, _now(error)
        if _JUNK.match(name):
            inbox.ignored["/".join(path)] = "left there by a program, not by a student"
        elif about is None:
            folder.files.append(_unread(path, problem, again=not entry.is_symlink()))
        elif stat.S_ISDIR(about.st_mode):
            if where.resolve() == out or (where / MARKER).is_file():
                inbox.ignored["/".join(path)] = _OURS
            elif len(path) > _FOLDERS:
                folder.files.append(_unread(path, f"it lies more than {_FOLDERS} folders deep"))
            else:
                inner = folder.folders.setdefault(name, Folder(path))
                try:
                    _from_disk(inbox, inner, where, out)
                except OSError as error:
                    inner.files.append(_unread((*path, "?"), f"the folder {_now(error)}", again=True))
        elif not stat.S_ISREG(about.st_mode):
            folder.files.append(_unread(path, "it is a pipe or a device, not a file"))
        else:
            source = _Disk(where)
            *above, _ = parts = [part for part in name.split("\\") if part] or [name]  # unpacked from a zip made on Windows
            path = (*folder.path, *parts)
            file = File(path, about.st_size, about.st_mtime, lambda most, source=source: _start(source, most))  # type: ignore[misc]
            _add(inbox, folder.within(above), file, source, 0)


def _start(source: _Disk, most: int) -> bytes:
    with source.stream() as file:
        return file.read(most)


def _add(inbox: Inbox, folder: Folder, file: File, source: _Disk | _Inner, depth: int) -> None:
    """A file as it is, or, if it is an archive, what is in it."""
    try:
        packed = not file.problem and (
            bool(archive.SUFFIX.search(file.name)) or (file.name.lower().endswith(".ipynb") and archive.is_zip(file.read(4)))
        )
        if not packed:
            if archive.FOREIGN.search(file.name):
                file.problem = "it is an archive that cannot be opened here: hand in the .ipynb file, or a .zip"
            folder.files.append(file)
            return
        if depth >= _NESTED:
            raise archive.Damaged(f"more than {_NESTED} archives lie one in another")
        inner = Folder(file.path, is_archive=True)
        _from_archive(inbox, inner, source, file.when, depth + 1)
        folder.folders.setdefault(file.name, inner)
    except OSError as error:
        file.problem, file.again = _now(error), True
        folder.files.append(file)
    except archive.Damaged as error:
        is_notebook = file.is_notebook and not file.name.lower().endswith(".ipynb")  # a notebook may be called .zip
        file.problem = "" if is_notebook else str(error)
        folder.files.append(file)


def _from_archive(inbox: Inbox, folder: Folder, source: _Disk | _Inner, when: float, depth: int = 0) -> None:
    """
    Raises:
        Damaged
    """
    if isinstance(source, _Inner) and source.member.size > _NESTED_BYTES:
        raise archive.Damaged(f"an archive of {source.member.size / 1e9:.1f} GB in another")
    with source.stream() as stream:
        members = archive.members(stream)
    if len(members) > _MEMBERS:
        raise archive.Damaged(f"it holds {len(members)} files; at most {_MEMBERS} can be read")
    for member in members:
        parts = [part for part in re.split(r"[/\\]", member.name) if part not in ("", ".")]
        escapes = member.name.startswith(("/", "\\")) or ".." in parts or re.match(r"^[A-Za-z]:[/\\]", member.name)
        parts = [part for part in parts if part != ".." and not re.fullmatch(r"[A-Za-z]:", part)]
        path = (*folder.path, *parts)
        if not parts:
            continue
        if any(_JUNK.match(part) for part in parts):
            if not member.folder:
                inbox.ignored["/".join(path)] = "left there by a program, not by a student"
        elif len(parts) > _FOLDERS:
            folder.files.append(_unread((*folder.path, *parts[:_FOLDERS]), f"it lies more than {_FOLDERS} folders deep"))
        elif member.folder:
            folder.within(parts)
        else:
            file = File(path, member.size, member.when or when, _reader(source, member), member.problem)
            if escapes:
                file.problem = "its name in the zip leads out of the zip"
            _add(inbox, folder.within(parts[:-1]), file, _Inner(source, member), depth)


def _reader(source: _Disk | _Inner, member: archive.Member) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        with source.stream() as file:
            return member.read(file, most)

    return read


def _now(error: OSError) -> str:
    return f"cannot be read now ({error.strerror or type(error).__name__})"


def _unread(path: tuple[str, ...], problem: str, again: bool = False) -> File:
    return File(path, 0, 0.0, lambda most: b"", problem, again)
