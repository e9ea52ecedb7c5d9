"""Files that are there whole or not at all, and files that git knows."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


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
    with contextlib.suppress(FileNotFoundError):
        git = subprocess.run(["git", "ls-files", "-z", "--", *names], cwd=root, capture_output=True)
        if git.returncode == 0 and git.stdout:
            found = [root / name for name in git.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
            return [path for path in found if path.is_file()]
    every = (path for name in names for path in [root / name, *(root / name).rglob("*")] if path.is_file())
    return sorted(
        path for path in every if not any(p.startswith((".", "__pycache__")) for p in path.relative_to(root).parts)
    )
