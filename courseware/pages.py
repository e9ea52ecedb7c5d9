"""What README, slides, site and the students' folder share: titles, pages without controls; and the files beside the
notebooks that are written from the chapters' sources: the README's table, the points that `lab.summary` shows."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.assets import lifted

from .build import colab_url
from .chapters import ROOT, Chapter, all_chapters, cells_of, exercises, read, role
from .files import whole

WIDGET = "application/vnd.jupyter.widget-view+json"
# for what is alive only: an explorer that someone ran and saved, controls of a chapter's own
LIVE = '<p class="live">Live: in JupyterLab or Colab this slide has controls. Run the notebook and move them.</p>'
_QUESTION = re.compile(r'class="course-(?:question|reveal|quiz)\b')
_BEGIN, _END = "<!-- chapters, written by `course notebooks` -->\n", "<!-- end of chapters -->\n"


def title(notebook: NotebookNode) -> str:
    """The notebook's first heading, without marks."""
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = next((line for line in first.splitlines() if line.startswith("# ")), "")
    return re.sub(r"[*_`]", "", heading).removeprefix("# ")


def without_widgets(notebook: NotebookNode) -> NotebookNode:
    """A copy in which a note stands in place of the live controls of a cell: controls need a kernel."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        live = [i for i, output in enumerate(outputs) if WIDGET in output.get("data", {})]
        if live:
            outputs[live[0]] = new_output("display_data", data={"text/html": LIVE})
            cell.outputs = [output for i, output in enumerate(outputs) if i not in live[1:]]
            cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.metadata.pop("widgets", None)
    return notebook


def without_assets(notebook: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """A copy whose outputs hold no style and script of explorers and questions, and their names: the page has each once."""
    notebook = copy.deepcopy(notebook)
    names: dict[str, None] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if html := output.get("data", {}).get("text/html"):
                output.data["text/html"], found = lifted(html)
                names |= dict.fromkeys(found)
    return notebook, list(names)


def asks(cell: NotebookNode) -> bool:
    """Does a cell do nothing but ask, or answer what was asked? Its code is nothing to read, and holds the key."""
    outputs = cell.get("outputs", [])
    return bool(outputs) and all(_QUESTION.search(output.get("data", {}).get("text/html", "")) for output in outputs)


def chinese(notebook: NotebookNode) -> str:
    """The Chinese of the notebook's title: what stands in brackets in its first cell."""
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    match = re.search(r"\(([^()]*[\u4e00-\u9fff][^()]*)\)", first)
    return match[1] if match else ""


def chapters_table(chapters: Sequence[Chapter]) -> str:
    """The README's table: a row for each chapter."""
    rows = ["| | lecture | lab |", "|---|---|---|"]
    for part in chapters:
        lecture = read(part.lecture_source)
        name = f"{title(lecture).replace(' · ', ' ', 1)} {chinese(lecture)}"
        links = (
            f"[notebook]({folder}/{part.name}.ipynb) · [Colab]({colab_url(part, folder)})" for folder in ("lectures", "labs")
        )
        rows.append(f"| {name} | {' | '.join(links)} |")
    return "\n".join(rows) + "\n"


def readme() -> str:
    """The README with its table as the sources say."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    return before + _BEGIN + chapters_table(all_chapters()) + _END + rest.split(_END)[1]


def points() -> str:
    """The points of all labs' visible tests, as JSON: chapter → exercise → points."""
    table: dict[str, dict[str, int]] = {}
    for part in all_chapters():
        notebook = read(part.lab_source)
        table[part.name] = {
            name: sum(tests.points for cell in cells_of(notebook, "tests", name) if (tests := role(cell)))
            for name in exercises(notebook)
        }
    return json.dumps(table, indent=1) + "\n"


def from_sources() -> dict[Path, str]:
    """What stands in each file that is written from the chapters' sources."""
    return {ROOT / "README.md": readme(), ROOT / "course_utils" / "points.json": points()}


def write_from_sources() -> None:
    """Write those of them that changed."""
    for path, text in from_sources().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with whole(path) as new:
                new.write_text(text, encoding="utf-8")
