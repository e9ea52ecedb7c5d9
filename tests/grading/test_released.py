"""The whole way: released, opened in Colab, solved, downloaded, graded."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nbformat
from tiny_class import needs_box

from courseware import build, release
from courseware.chapters import chapter
from courseware.cli import main
from courseware.grading import demo

pytestmark = needs_box


def test_a_released_lab_back_from_colab_gets_full_marks(tmp_path: Path) -> None:
    part = chapter("10")
    release.release(tmp_path / "students", "a-university/llm-course", [part])
    given = nbformat.read(tmp_path / "students" / "labs" / f"{part.name}.ipynb", as_version=4)
    solved = {cell.id: cell.source for cell in build.solution(part).cells}
    for cell in given.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = solved[cell.id]
    submitted = tmp_path / "submitted"
    submitted.mkdir()
    back = demo.colab(json.loads(nbformat.writes(given)))
    (submitted / "ada.ipynb").write_text(json.dumps(back), encoding="utf-8")
    assert main(["grade", part.name, str(submitted), "--out", str(tmp_path / "graded")]) == 0
    (row,) = csv.DictReader((tmp_path / "graded" / "grades.csv").open(encoding="utf-8"))
    assert row["student"] == "ada" and float(row["score"]) == float(row["max_score"]) > 0, row
