"""Alternative text for figures, for readers who do not see them: made from a figure's own titles, labels and legends.

The build installs it in the kernel that runs a notebook; each picture in the notebook then says what it shows.
"""

from __future__ import annotations

import os
import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .chapters import ENGLISH, N_, words

NO_TITLE, NO_LABEL = "(no title)", "(no label)"
_DIAGRAM, _DIAGRAM_WITH = N_("{title}: a diagram."), N_("{title}: a diagram with {words}.")
_PLOT, _PLOT_WITH = N_("{title}: {kind}, {y} over {x}."), N_("{title}: {kind}, {y} over {x}; {entries}.")
_HEAT_MAP, _BARS, _LINES, _POINTS, _ANY = (
    N_("a heat map"),
    N_("bars"),
    N_("lines and points"),
    N_("points"),
    N_("a plot"),
)


def describe(figure: Figure) -> str:
    """One sentence for each panel: its title, what is drawn, over which axes, and the legend's entries."""
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    common = figure.get_suptitle()
    sentences = [_panel(ax, panels, common) for ax in panels if ax.has_data() or ax.get_title()]
    text = " ".join([f"{common}:" if common and len(panels) > 1 else "", *sentences]).strip()
    return re.sub(r"\s+", " ", text)


def _panel(ax: Axes, panels: list[Axes], common: str) -> str:
    say = words(os.environ.get("COURSE_LANG") or ENGLISH)  # as the build sets it
    title = ax.get_title() or ax.get_title("left") or common or NO_TITLE
    if not ax.axison:
        inside = dict.fromkeys(text.get_text().strip() for text in ax.texts if text.get_text().strip())
        return str(say(_DIAGRAM_WITH, title=title, words=", ".join(inside)) if inside else say(_DIAGRAM, title=title))
    x = ax.get_xlabel() or _shared(ax, panels, "x")
    y = ax.get_ylabel() or _shared(ax, panels, "y")
    legend = ax.get_legend()
    entries = [text.get_text() for text in legend.get_texts()] if legend else []
    about = {"title": title, "kind": say(_kind(ax)), "x": x, "y": y}
    return str(say(_PLOT_WITH, entries=", ".join(entries), **about) if entries else say(_PLOT, **about))


def _shared(ax: Axes, panels: list[Axes], which: str) -> str:
    """The label of a panel that shares this axis and carries the label for both."""
    group = ax.get_shared_x_axes() if which == "x" else ax.get_shared_y_axes()
    labels = [getattr(other, f"get_{which}label")() for other in panels if group.joined(ax, other)]
    return next(filter(None, labels), NO_LABEL)


def _kind(ax: Axes) -> str:
    for name, artists in (
        (_HEAT_MAP, ax.images),
        (_BARS, ax.patches),
        (_LINES, ax.lines),
        (_POINTS, ax.collections),
    ):
        if len(artists):
            return name
    return _ANY


def install() -> None:
    """Make the inline backend of this kernel put the text beside each picture."""
    from matplotlib_inline import backend_inline

    before = backend_inline._fetch_figure_metadata

    def metadata(figure: Figure) -> dict[str, Any]:
        return {**(before(figure) or {}), "image/png": {"alt": describe(figure)}}

    backend_inline._fetch_figure_metadata = metadata
