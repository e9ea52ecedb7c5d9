"""The course as a static web site: every lecture and every student's lab, a search, a bibliography and a glossary.

Built without a network, and needs none to be read: no script or font from elsewhere, formulas as MathML. Sphinx's settings
are in docs/conf.py.
"""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from pybtex.plugin import register_plugin
from sphinx.application import Sphinx

from .chapters import ROOT, Chapter, built, repository, tags
from .files import anew
from .mathml import font, mathml
from .pages import title, without_assets, without_widgets
from .references import FILE, Style, glossary, readers

_INDEX = """\
# Foundations of large language models

A hands-on course in notebooks: {lectures} lectures with live demos, {labs} labs with exercises that check themselves. All of
it runs on a laptop without a GPU, on a real language model; in Colab on a free T4.

| chapter | lecture | lab |
|---|---|---|
{rows}

**Students**: open a lab, in Colab by the rocket at the top of its page or [at home]({repository}#two-commands).
**Instructors**: [the guide](instructors.md). **Contributors**: [how to add a chapter](CONTRIBUTING.md).

```{{toctree}}
:caption: Lectures
:hidden:
{lecture_pages}
```

```{{toctree}}
:caption: Labs
:hidden:
{lab_pages}
```

```{{toctree}}
:caption: Reference
:hidden:
glossary
bibliography
measurements
instructors
architecture
CONTRIBUTING
```
"""

_BIBLIOGRAPHY = """\
# Bibliography

Each work with the chapters that list it.

```{bibliography}
:all:
:list: bullet
:style: course
```
"""


def build(out: Path, chapters: list[Chapter]) -> list[str]:
    """Build the site into a folder; return Sphinx's warnings (none, if all is well).

    Raises:
        CourseError: the folder is not empty, and no earlier site stands in it.
        ChapterError: a notebook cannot be read.
    """
    with anew(out, "site") as made, tempfile.TemporaryDirectory() as beside:  # Sphinx writes beside what it makes, too
        pages = Path(beside) / "pages"
        warnings = _build(Path(beside) / "source", pages, chapters)
        shutil.copytree(pages, made, dirs_exist_ok=True)
    return warnings


def _build(source: Path, out: Path, chapters: list[Chapter]) -> list[str]:
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # a line for each glyph
    write_source(source, chapters)
    warnings = io.StringIO()
    works = {"bibtex_bibfiles": [str(source / FILE)]}
    app = Sphinx(
        source, ROOT / "docs", out, source / ".doctrees", "html", confoverrides=works, status=None, warning=warnings
    )
    app.build()
    drawn = "".join(page.read_text(encoding="utf-8") for page in out.rglob("*.html"))
    (out / "_static" / "formulas.woff2").write_bytes(font(drawn))
    return [line for line in warnings.getvalue().splitlines() if line.strip()]


def write_source(folder: Path, chapters: list[Chapter]) -> None:
    """What Sphinx reads: the notebooks without live controls, and pages made from them."""
    rows = []
    for part in chapters:
        for path in (part.lecture, part.lab):
            if path.exists():
                target = folder / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                notebook, _ = without_assets(without_widgets(built(path)))  # conf.py adds style and script to the pages
                # the page has a button for Colab, and notes are for who speaks
                notebook.cells = [c for c in notebook.cells if c.get("id") != "colab-link" and "notes" not in tags(c)]
                for cell in notebook.cells:
                    if text := alt_text(cell):
                        cell.metadata["mystnb"] = {"image": {"alt": text}}
                nbformat.write(notebook, target)
        name = title(built(part.lecture if part.lecture.exists() else part.lab))
        rows.append(f"| {name} | [lecture](lectures/{part.name}.ipynb) | [lab](labs/{part.name}.ipynb) |")
    index = _INDEX.format(
        lectures=len(chapters),
        labs=len(chapters),
        rows="\n".join(rows),
        repository=repository(),
        lecture_pages="\n".join(f"lectures/{part.name}" for part in chapters),
        lab_pages="\n".join(f"labs/{part.name}" for part in chapters),
    )
    (folder / "index.md").write_text(index, encoding="utf-8")
    (folder / "bibliography.md").write_text(_BIBLIOGRAPHY, encoding="utf-8")
    (folder / FILE).write_text(_works(chapters), encoding="utf-8")
    (folder / "glossary.md").write_text(_glossary(chapters), encoding="utf-8")
    for page in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"):
        shutil.copy(page, folder / page.name)


def alt_text(cell: NotebookNode) -> str:
    """What a cell's pictures show, as the build wrote it beside them."""
    pictures = [o.metadata.get("image/png", {}) for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    return " ".join(picture.get("alt", "") for picture in pictures).strip()


def _works(chapters: list[Chapter]) -> str:
    """The file of works, in which each entry says by whom it is listed; `references.Style` prints it."""
    text = (chapters[0].folder.parent / FILE).read_text(encoding="utf-8")
    for key, names in readers(chapters).items():
        text = text.replace(f"{{{key},\n", f"{{{key},\n  chapters = {{{' '.join(names)}}},\n", 1)
    return text


def _glossary(chapters: list[Chapter]) -> str:
    lines = ["# Glossary 术语表", "", "| term | 中文 | first in |", "|---|---|---|"]
    for term in glossary(chapters):
        lines.append(f"| {term.english} | {term.chinese} | [{term.chapter[:2]}](lectures/{term.chapter}.ipynb) |")
    return "\n".join(lines) + "\n"


def _inline(writer: Any, node: nodes.Node) -> None:
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _display(writer: Any, node: nodes.Node) -> None:
    writer.body.append(f'<div class="formula">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's hook: formulas as MathML, works as the notebooks print them."""
    register_plugin("pybtex.style.formatting", "course", Style)
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
