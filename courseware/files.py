"""Files that are there whole or not at all, folders that are ours to empty, and files that git knows."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .chapters import ChapterError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` in one step once the block has ended without an error."""
    scratch = path.with_name(path.name + ".partial")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


MARK = ".made-by-course"


def ours(folder: Path) -> None:
    """See that a folder may be emptied: it is not there, it is empty, or it carries our mark.

    Raises:
        ChapterError: it holds somebody's files.
    """
    if folder.exists() and not (folder / MARK).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ChapterError(f"--out {folder} holds files that `course` did not write; name an empty folder or a new one.")


def replaced(folder: Path, made: Path) -> None:
    """Put what was made into a folder, in place of what was there, and our mark with it.

    Raises:
        ChapterError: it holds somebody's files.
    """
    ours(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    (folder / MARK).write_text("`course` made this folder and empties it when it makes it again.\n", encoding="utf-8")


def tracked(root: Path, *names: str) -> list[Path]:
    """The files of a checkout below some names that git knows, in order: what lies there besides is nobody's to give away.

    In a copy without git: all but hidden files and caches.
    """
    with contextlib.suppress(FileNotFoundError):
        git = subprocess.run(["git", "ls-files", "-z", "--", *names], cwd=root, capture_output=True)
        if git.returncode == 0 and git.stdout:
            found = [root / name for name in git.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
            return [path for path in found if path.is_file()]
    every = (path for name in names for path in [root / name, *(root / name).rglob("*")] if path.is_file())
    return sorted(
        path for path in every if not any(p.startswith((".", "__pycache__")) for p in path.relative_to(root).parts)
    )
