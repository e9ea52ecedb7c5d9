"""A small class made from a chapter's own solution and mutants: good ones, wrong ones, damaged ones, a hostile one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from ..build import solution, student_lab
from ..chapters import Chapter, cells_of, exercises, read, role


def make(source: Chapter, folder: Path) -> None:
    """Write the class's notebooks into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = read(source.lab_source)
    ids = [c.id for c in student_lab(source).cells if c.metadata.get("nbgrader", {}).get("solution")]
    answers = [c.source for c in solution(source).cells if c.id in ids]
    solved = dict(zip(exercises(lab), answers, strict=True))
    first = exercises(lab)[0]
    notebooks: dict[str, Any] = {
        "ada-all-right": notebook(source, solved),
        "bo-nothing-yet": notebook(source, {}),
        "cleo-half": notebook(source, dict(list(solved.items())[: len(solved) // 2])),
        "fay-endless-loop": notebook(source, {**solved, first: f"{solved[first]}\n\nwhile True:\n    pass"}),
        "gil-kills-the-kernel": notebook(source, {**solved, first: "import os\nos._exit(1)"}),
        "hal-forges": notebook(source, {first: "import torch\ntorch.allclose = lambda *a: True\nprint('48 of 48 points')"}),
        "ida-colab": colab(notebook(source, solved)),
        "jo-reordered": _reordered(notebook(source, solved)),
    }
    for number, cell in enumerate(list(cells_of(read(source.folder / "mutants.py"), "mutant"))[::9]):
        cell_role = role(cell)
        assert cell_role is not None
        wrong = f"{solved[cell_role.exercise]}\n\n\n{cell.source}"
        notebooks[f"dan-{number}-wrong-{cell_role.exercise}"] = notebook(source, {**solved, cell_role.exercise: wrong})
    for name, made in notebooks.items():
        (folder / f"{name}.ipynb").write_text(json.dumps(made), encoding="utf-8")
    whole = json.dumps(notebooks["ada-all-right"])
    (folder / "kim-cut-off.ipynb").write_text(whole[: len(whole) // 2], encoding="utf-8")
    (folder / "lee-empty.ipynb").write_bytes(b"")
    (folder / "max-essay.docx").write_bytes(b"PK\x03\x04 an essay")


def notebook(source: Chapter, answers: dict[str, str]) -> dict[str, Any]:
    """The student's notebook with answers, as JSON."""
    made = student_lab(source)
    for cell in made.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def colab(notebook: dict[str, Any]) -> dict[str, Any]:
    """What Colab's "Download .ipynb" does."""
    notebook["nbformat_minor"] = 0
    notebook["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"]["id"] = f"Xy{number}"
        del cell["id"]
    return notebook


def _reordered(notebook: dict[str, Any]) -> dict[str, Any]:
    """Metadata lost, order reversed, one cell twice."""
    cells = copy.deepcopy(notebook["cells"][::-1])
    for cell in cells:
        cell["metadata"] = {}
        del cell["id"]
    return {**notebook, "cells": [*cells, cells[3]]}
