"""What README, slides, site and the students' folder share: titles, the table of chapters, pages without controls."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

from nbformat import NotebookNode
from nbformat.v4 import new_output

from .build import colab_url
from .chapters import ROOT, Chapter, all_chapters, read
from .files import whole

WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = '<p class="live">Live: in JupyterLab or Colab this slide has controls. Run the notebook and move them.</p>'
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


def write_readme() -> None:
    """Write the table into the README."""
    made = readme()
    if made != (ROOT / "README.md").read_text(encoding="utf-8"):
        with whole(ROOT / "README.md") as path:
            path.write_text(made, encoding="utf-8")
