"""How the tests are spread over processes, and what is left out where time is short."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from courseware.pytest_plugin import group

TESTS = """
import pytest

@pytest.mark.second_look
def test_again(): ...

def test_first(): ...
"""


@pytest.mark.parametrize(("seconds", "reported"), [(600, "2 passed"), (-1, "1 passed, 1 skipped")])
def test_a_second_look_comes_last_and_may_be_left_out(tmp_path: Path, seconds: int, reported: str) -> None:
    (tmp_path / "test_two.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = second_look\n", encoding="utf-8")
    options = ["-p", "courseware.pytest_plugin", "-p", "no:cacheprovider", f"--until={time.time() + seconds}", "-v", "-rs"]
    command = [sys.executable, "-m", "pytest", *options, "test_two.py"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8").stdout
    assert reported in printed
    assert printed.index("test_first") < printed.index("test_again")
    assert ("a second look, for which there was no time" in printed) == (seconds < 0)


def test_a_second_look_is_known_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS.replace("test_again", "test_twice"), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = second_look\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "courseware.pytest_plugin", "-p", "no:cacheprovider", "test_two.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 4 and "test_two.py::test_twice is a second_look: let its name end in _again" in done.stderr


def test_groups() -> None:
    cells = [group(f"labs/a.ipynb::Cell {i}") for i in range(2)]
    assert cells[0] == cells[1]
    files = [group(f"tests/unit/test_{name}.py::test_it") for name in "ab"]
    assert files[0] != files[1]
    colab = "tests/colab/test_colab.py::test_notebook_runs_in_colab[{}]"
    assert group(colab.format("x")) != group(colab.format("y")), "one process would run them all"
    slides = "tests/browser/test_slides.py::test_no_slide_overflows[10_quantization-{}]"
    assert group(slides.format("en")) != group(slides.format("zh_CN_again")), "a second look would come with the first"
    chapter = "tests/notebooks/test_rules.py::test_{}[03_rlhf]"
    assert group(chapter.format("a")) == group(chapter.format("b"))
