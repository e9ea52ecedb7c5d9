"""A notebook in another language: its prose, comments, docstrings and what it shows, by a catalogue. Code is the same."""

from __future__ import annotations

from collections.abc import Iterable

from nbformat import NotebookNode

from . import code_text, markdown_blocks
from .catalogue import Catalogue
from .messages import code_cells


def translate(notebook: NotebookNode, catalogue: Catalogue, unseen: Iterable[str] = ()) -> None:
    """Write translations in place of a notebook's messages; `unseen` as in `code_text.spans`."""
    code = code_cells(notebook)
    for cell, spans in zip(code, code_text.spans(code, unseen), strict=True):
        cell.source = code_text.translated(cell.source, spans, catalogue.say)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = markdown_blocks.translated(cell.source, catalogue.say)


def programs(notebook: NotebookNode, unseen: Iterable[str] = ()) -> dict[str, str]:
    """The id of each code cell and its program without prose: equal for a notebook and its translation."""
    code = code_cells(notebook)
    return {
        cell.id: code_text.bare(cell.source, spans)
        for cell, spans in zip(code, code_text.spans(code, unseen, every=True), strict=True)
    }
