"""A chapter of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_chapter import LAB, LECTURE, LIGHT, MUTANTS

from courseware.chapters import Chapter


def write(folder: Path, lab: str) -> Chapter:
    folder.mkdir(parents=True)
    for name, text in (("lab.py", lab), ("lecture.py", LECTURE), ("mutants.py", MUTANTS)):
        (folder / name).write_text(text, encoding="utf-8")
    return Chapter(folder)


@pytest.fixture(scope="session")
def kernel(preloaded: Callable[..., str]) -> str:
    return preloaded("notebooks")


@pytest.fixture
def small(tmp_path: Path) -> Chapter:
    return write(tmp_path / "chapters" / "01_small", LAB)


@pytest.fixture
def light(tmp_path: Path) -> Chapter:
    """The same without the helper package, which takes seconds to import."""
    return write(tmp_path / "chapters" / "01_small", LAB.replace("from course_utils import lab", LIGHT))
