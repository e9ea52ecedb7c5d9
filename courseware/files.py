"""Files that are there whole or not at all, files that git knows, and folders that are emptied only if they are ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from course_utils.errors import CourseError

from .chapters import ROOT

MARKER = ".course-output"
_SOURCES = {"benchmarks", "chapters", "course_utils", "courseware", "docs", "labs", "lectures", "locale", "tests"}
_TEXT = "Written by `course {command}`, which may write this folder anew. Without this file it leaves the folder alone.\n"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` in one step once the block has ended without an error."""
    scratch = path.with_name(path.name + ".partial")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def tracked(root: Path, *names: str) -> list[Path]:
    """The files of a checkout below some names that git knows, in order: what lies there besides is nobody's to give away.

    In a copy without git: all but hidden files and caches.
    """
    with contextlib.suppress(FileNotFoundError):  # no git here: the copy is read instead
        git = subprocess.run(["git", "ls-files", "-z", "--", *names], cwd=root, capture_output=True)
        if git.returncode == 0 and git.stdout:
            paths = [root / name for name in git.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
            return [path for path in paths if path.is_file()]
    every = (path for name in names for path in [root / name, *(root / name).rglob("*")] if path.is_file())
    return sorted(
        path for path in every if not any(p.startswith((".", "__pycache__")) for p in path.relative_to(root).parts)
    )


def output(out: Path, command: str, writes: Iterable[str] = ()) -> Path:
    """The folder to which a command writes, made and marked. Nothing in it is deleted.

    Args:
        writes: names of what the command puts there. In a folder that is not marked none of them may be there yet.

    Raises:
        CourseError: it is a file, a folder of the course itself, one that cannot be written, or holds such a name.
    """
    allowed(out)
    ours = _is_ours(out, command)
    taken = [] if ours else sorted(name for name in writes if os.path.lexists(out / name))
    if taken:
        raise CourseError(f"--out {out} holds {taken[0]}, which `course {command}` did not write. Name a new folder.")
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if not (out / MARKER).is_file():
            (out / MARKER).write_text(_TEXT.format(command=command), encoding="utf-8")
    return out


@contextlib.contextmanager
def anew(out: Path, command: str) -> Iterator[Path]:
    """An empty folder to fill; what is in it takes the place of what is in `out` once the block has ended without an error.

    Only an empty folder, or one that is marked as ours, is ever emptied.

    Raises:
        CourseError: `out` is something else.
    """
    allowed(out)
    if not _is_ours(out, command) and out.is_dir() and any(out.iterdir()):
        raise CourseError(
            f"--out {out} holds files that `course {command}` did not write, and it would have to empty that folder. "
            "Name a new folder, or an empty one."
        )
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)
        with _writing(out):
            out.mkdir(parents=True, exist_ok=True)
            (out / MARKER).write_text(_TEXT.format(command=command), encoding="utf-8")
            for old in out.iterdir():
                if old.is_dir() and not old.is_symlink():
                    shutil.rmtree(old)
                elif old.name != MARKER:
                    old.unlink()
            shutil.copytree(scratch, out, dirs_exist_ok=True)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CourseError(f"--out {out} cannot be written: {error.strerror or error}.") from None


def allowed(out: Path) -> None:
    """May a command write here at all?

    Raises:
        CourseError: it is a file, a folder of the course itself, or one that holds the course or a home.
    """
    place = out.resolve()
    if out.exists() and not out.is_dir():
        raise CourseError(f"--out {out} is a file; name another place.")
    if place in (ROOT, *ROOT.parents, Path.home(), *Path.home().parents) or (place / "courseware" / "cli.py").exists():
        raise CourseError(f"--out {out} holds the course itself, or much else; name another folder.")
    inside = place.relative_to(ROOT).parts[0] if place.is_relative_to(ROOT) else ""
    if inside in _SOURCES or inside.startswith("."):
        raise CourseError(f"--out {out} is a folder of the course itself; name another, for example build/{out.name}.")


def _is_ours(out: Path, command: str) -> bool:
    """Did an earlier run of the command write this folder?"""
    marker = out / MARKER
    text = marker.read_text(encoding="utf-8", errors="replace") if marker.is_file() else ""
    return text == _TEXT.format(command=command) or out.resolve() == ROOT / "build" / command
