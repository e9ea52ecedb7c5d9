"""`python start.py --test` in a student's folder: which labs run, what passes, what fails."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course_utils import rerun

OPENING = 'from course_utils import lab\nlab.start("90_tiny", exercises=["double", "half"])'
GRADED = {"nbgrader": {"grade": True, "grade_id": "double-tests"}}


def write(folder: Path, name: str, *cells: str) -> None:
    code = [new_code_cell(source) for source in (OPENING, *cells, "lab.summary()")]
    for cell in code:
        if "lab.test(" in cell.source:
            cell.metadata = nbformat.from_dict(GRADED)
    (folder / "labs").mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=code), folder / "labs" / f"{name}.ipynb")


@pytest.mark.notebook
def test_what_is_said_of_each_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    solved = "def double(x):\n    return 2 * x"
    tests = 'with lab.test("double"):\n    assert double(2) == 4'
    unsolved = 'def half(x):\n    raise NotImplementedError("exercise half: write this function")'
    write(tmp_path, "90_tiny", solved, tests, unsolved, "four = half(8)", "print(four)")
    write(tmp_path, "91_wrong", solved.replace("2", "3"), tests, unsolved)
    write(tmp_path, "92_broken", "def double(x)\n    return", tests, "print(missing)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_CACHE", "unused")
    assert rerun.main([]) == 1
    tiny, wrong, broken, *failed = capsys.readouterr().out.splitlines()
    assert tiny == "90_tiny: 1 of 2 exercises pass their visible tests"
    assert wrong == "91_wrong: 0 of 2 exercises pass their visible tests"
    assert broken == "92_broken: 0 of 2 exercises pass their visible tests"
    assert failed[0].startswith("  code cell 2: SyntaxError: ")
    assert failed[1:] == ["  code cell 4: NameError: name 'missing' is not defined"]
    assert rerun.main(["90", "labs/91_wrong.ipynb"]) == 0


@pytest.mark.notebook
def test_a_kernel_that_dies(tmp_path: Path) -> None:
    write(tmp_path, "90_tiny", "import os\nos._exit(1)")
    summary, failed = rerun.run(tmp_path / "labs" / "90_tiny.ipynb")
    assert summary == "did not run to its end" and "memory" in failed[0]


def test_no_such_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "10_quantization")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no lab called '10_quantisation'"):
        rerun.main(["10_quantisation"])
