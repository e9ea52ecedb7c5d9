"""A lecture as slides: one HTML file with reveal.js inside, which needs no network and no kernel."""

from __future__ import annotations

import base64
import copy
import re
from importlib.resources import files
from pathlib import Path

from nbconvert.exporters import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_output
from traitlets.config import Config

from .chapters import Chapter, built
from .files import output, whole
from .mathml import font, in_markdown

TEMPLATES = Path(__file__).with_name("templates")
WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = '<p class="live">Live: in JupyterLab or Colab this slide has controls. Run the notebook and move them.</p>'


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


def html(chapter: Chapter) -> str:
    """The slides of a chapter's built lecture.

    Raises:
        UnreadableError: it is not built, or what stands there is no notebook.
    """
    notebook = built(chapter.lecture)
    reveal = files("sphinx_revealjs") / "_static" / "revealjs"
    own = TEMPLATES / "slides"
    parts = {
        "title": title(notebook),
        "reveal_css": (reveal / "dist" / "reveal.css").read_text(encoding="utf-8"),
        "reveal_js": (reveal / "dist" / "reveal.js").read_text(encoding="utf-8"),
        "notes_js": (reveal / "plugin" / "notes" / "notes.js").read_text(encoding="utf-8"),
        "slides_css": (own / "slides.css").read_text(encoding="utf-8"),
        "slides_js": (own / "slides.js").read_text(encoding="utf-8"),
    }
    for name in ("reveal_js", "notes_js"):  # an end tag in a string would end the page's script
        parts[name] = parts[name].replace("</script", "<\\/script")
    exporter = SlidesExporter(
        template_name="slides",
        config=Config({"SlidesExporter": {"extra_template_basedirs": [str(TEMPLATES)]}}),
    )
    notebook = without_widgets(notebook)
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in prose:
        cell.source = in_markdown(cell.source)
    parts["math_font"] = base64.b64encode(font("".join(cell.source for cell in prose))).decode()
    made, _ = exporter.from_notebook_node(notebook, resources={"course": parts})
    return str(made)


def write(chapter: Chapter, folder: Path) -> Path:
    """Write `<chapter>.html` into a folder; return its path.

    Raises:
        ChapterError: the lecture is not built.
        CourseError: the folder is not one to write slides to.
    """
    path = output(folder, "slides", [f"{chapter.name}.html"]) / f"{chapter.name}.html"
    with whole(path) as scratch:
        scratch.write_text(html(chapter), encoding="utf-8")
    return path
