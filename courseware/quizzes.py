"""A lecture's quiz elsewhere than in its notebook: a page of the site, and slides with a question each.

What a reader sees is what the lecture's last run stored; nothing is run again.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from course_utils.assets import lifted
from course_utils.questions import apart

from .chapters import ENGLISH, N_, html_of, words

if TYPE_CHECKING:
    from .cards import Card

_PAGE = """\
---
orphan: true
---
# {heading}

{about}

````{{raw}} html
{html}
````
"""
_HEADING = N_("Quiz {number} · {title}")
_ABOUT = N_(
    "{count} questions on [lecture {number}](../{lecture}.ipynb), each choice with an explanation of its own. "
    "Nothing is graded, sent or stored: load the page again to begin anew."
)


def stored(notebook: NotebookNode) -> str:
    """The quiz of a built lecture as HTML, without style and script; "" if it has none."""
    return "\n".join(lifted(html)[0] for cell in notebook.cells if (html := _html(cell)))


def count(html: str) -> int:
    """The number of its questions."""
    return len(apart(html))


def page(card: Card, html: str, language: str = ENGLISH) -> str:
    """A chapter's quiz as a page for Sphinx. It stands in no table of contents: it comes between its lecture and lab."""
    say = words(language)
    about = {"number": card.number, "title": card.title, "lecture": card.lecture, "count": card.questions}
    return _PAGE.format(heading=say(_HEADING, **about), about=say(_ABOUT, **about), html=html)


def on_slides(notebook: NotebookNode) -> NotebookNode:
    """A copy of a lecture in which a prediction ends its slide, so that what came out stands on the next, and each question
    of a quiz has a slide of its own. A slide that begins so has the heading of the one before.
    """
    notebook = copy.deepcopy(notebook)
    cells: list[NotebookNode] = []
    heading, asked = "", False
    for cell in notebook.cells:
        if asked and not _predicts(cell) and (kind := cell.metadata.slideshow.slide_type) not in ("notes", "skip"):
            asked = False
            if kind not in ("slide", "subslide"):
                cells.append(_titled(heading))
        cells.append(cell)
        asked = asked or _predicts(cell)
        if cell.cell_type == "markdown" and (headings := re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE)):
            heading = headings[-1]
        if html := _html(cell):
            questions = apart(html)
            cell.outputs = [_shown(questions[0])]
            for i, question in enumerate(questions[1:], 2):
                alone = new_code_cell("", outputs=[_shown(question)], metadata={"slideshow": {"slide_type": "-"}})
                cells += [_titled(f"{heading} · {i} / {len(questions)}"), alone]
    notebook.cells = cells
    return notebook


def _titled(heading: str) -> NotebookNode:
    cell = new_markdown_cell(f"### {heading}")
    cell.metadata["slideshow"] = {"slide_type": "subslide"}
    return cell


def _predicts(cell: NotebookNode) -> bool:
    """Does it ask for a prediction? What follows tells the answer, if only by a figure."""
    shown = map(html_of, cell.get("outputs", []))
    return any(re.search(r'class="course-question [^"]*course-predict"', html) for html in shown)


def _html(cell: NotebookNode) -> str:
    """What a cell that asks a quiz shows, or ""."""
    shown = map(html_of, cell.get("outputs", []))
    return next((html for html in shown if 'class="course-quiz"' in html), "")


def _shown(html: str) -> NotebookNode:
    return new_output("display_data", data={"text/html": html})
