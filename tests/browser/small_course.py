"""A course of one chapter, whose lecture shows and asks all that a page can: it takes no model, and a second."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils import interactives, plots
from course_utils.controls import controls
from course_utils.questions import Question, quiz
from courseware import explorers
from courseware.chapters import ROOT, Chapter

NAME = "10_quantization"
QUIZ: list[dict[str, Any]] = [
    {"question": "How many codes have 4 bits?", "answer": 2**4, "tolerance": 0, "why": "Each bit doubles them."},
    {
        "question": "What does one outlier do?",
        "options": {"It is cut off.": "Nothing is cut off.", "It stretches the steps.": "For all that share its scale."},
        "answer": "It stretches the steps.",
    },
    {
        "question": "Which levels has `NF4`?",
        "options": {"even ones": "Those are int4's.", "quantiles": "Of the normal distribution."},
        "answer": "quantiles",
    },
]


def draw(bits: int, scheme: str) -> None:
    _, ax = plt.subplots(figsize=(9, 4))
    ax.plot([0, 1], [0, bits])
    ax.set(title=f"{scheme} with {bits} bits", xlabel="value", ylabel="code", ylim=(0, 9))
    print(f"{2**bits} codes")


def lecture() -> NotebookNode:
    """The lecture as the build leaves it: a slide each for a prediction, an explorer, an interactive and the quiz."""
    plots.style()
    number = Question.asked("How many GB?", None, "GB").with_answer(3.6, "Half a byte each, and scales.").html()
    asked = Question.asked("Which has the least noise?", ["NF4", "int4"])
    explorer = explorers.html(draw, controls({"bits": (2, 8, 1), "scheme": ["absmax", "NF4"]}, {"bits": 4}), {})
    row = torch.linspace(-1, 1, 16) ** 3
    shown = {
        "Guess": [number, asked.html(), asked.with_answer("int4", "Look at the table.").revealed()],
        "Explore": [explorer],
        "Drag a weight": [interactives.quantization(row)._repr_html_()],
        "Quiz": [quiz([Question.of(entry) for entry in QUIZ])],
    }
    opening = "# 10 · Quantization\n\n**What is lost?** (量化)\n\nAfter this lecture you can say what a scale is."
    cells = [_slide(opening), _told("60 minutes.")]
    for heading, outputs in shown.items():
        cells.append(_slide(f"## {heading}\n\nOne sentence of prose."))
        cells += [_output(html) for html in outputs]
    metadata = {"kernelspec": {"display_name": "Python 3", "name": "python3"}, "language_info": {"name": "python"}}
    return new_notebook(cells=cells, metadata=metadata)


def _slide(text: str) -> NotebookNode:
    return new_markdown_cell(text, metadata={"slideshow": {"slide_type": "slide"}})


def _told(text: str) -> NotebookNode:
    return new_markdown_cell(text, metadata={"slideshow": {"slide_type": "notes"}, "tags": ["notes"]})


def _output(html: str) -> NotebookNode:
    metadata = {"slideshow": {"slide_type": "-"}, "tags": ["hide-input"], "jupyter": {"source_hidden": True}}
    return new_code_cell("pass", outputs=[new_output("display_data", data={"text/html": html})], metadata=metadata)


def write(root: Path) -> Chapter:
    """Write the course into a folder; its sources and its lab are those of chapter 10."""
    shutil.copytree(ROOT / "chapters" / NAME, root / "chapters" / NAME)
    shutil.copy(ROOT / "chapters" / "references.bib", root / "chapters")
    chapter = Chapter(root / "chapters" / NAME)
    for path in (chapter.lecture, chapter.lab):
        path.parent.mkdir()
    nbformat.write(lecture(), chapter.lecture)
    shutil.copy(ROOT / "labs" / chapter.lab.name, chapter.lab)
    return chapter
