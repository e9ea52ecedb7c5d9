"""A file is there whole or as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from courseware import files
from courseware.chapters import ChapterError
from courseware.files import whole


def test_new_text_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text("old", encoding="utf-8")
    with whole(path) as scratch:
        scratch.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), whole(path) as scratch:
        scratch.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


def test_only_what_is_ours_is_emptied(tmp_path: Path) -> None:
    made, out = tmp_path / "made", tmp_path / "pages"
    for name in ("index.html", "old/a.html"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("a page", encoding="utf-8")
    files.replaced(out, made)
    shutil.rmtree(made / "old")
    files.replaced(out, made)
    assert sorted(path.name for path in out.iterdir()) == [files.MARK, "index.html"]
    (out / files.MARK).unlink()
    with pytest.raises(ChapterError, match="holds files that `course` did not write"):
        files.replaced(out, made)
    assert (out / "index.html").exists()
    for path in (made / "index.html", tmp_path):
        with pytest.raises(ChapterError, match="holds files"):
            files.ours(path)
