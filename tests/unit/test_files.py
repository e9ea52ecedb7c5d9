"""A file is there whole or as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

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
