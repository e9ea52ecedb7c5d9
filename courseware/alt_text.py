"""Alternative text for figures, for readers who do not see them: made from a figure's own titles, labels and legends.

The build installs it in the kernel that runs a notebook; each picture in the notebook then says what it shows.
"""

from __future__ import annotations

import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

NO_TITLE, NO_LABEL = "(no title)", "(no label)"


def describe(figure: Figure) -> str:
    """One sentence for each panel: its title, what is drawn, over which axes, and the legend's entries."""
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    common = figure.get_suptitle()
    sentences = [_panel(ax, panels, common) for ax in panels if ax.has_data() or ax.get_title()]
    text = " ".join([f"{common}:" if common and len(panels) > 1 else "", *sentences]).strip()
    return re.sub(r"\s+", " ", text)


def _panel(ax: Axes, panels: list[Axes], common: str) -> str:
    title = ax.get_title() or ax.get_title("left") or common or NO_TITLE
    if not ax.axison:
        words = dict.fromkeys(text.get_text().strip() for text in ax.texts if text.get_text().strip())
        return f"{title}: a diagram" + (f" with {', '.join(words)}." if words else ".")
    x = ax.get_xlabel() or _shared(ax, panels, "x")
    y = ax.get_ylabel() or _shared(ax, panels, "y")
    legend = ax.get_legend()
    entries = [text.get_text() for text in legend.get_texts()] if legend else []
    return f"{title}: {_kind(ax)}, {y} over {x}" + (f"; {', '.join(entries)}." if entries else ".")


def _shared(ax: Axes, panels: list[Axes], which: str) -> str:
    """The label of a panel that shares this axis and carries the label for both."""
    group = ax.get_shared_x_axes() if which == "x" else ax.get_shared_y_axes()
    labels = [getattr(other, f"get_{which}label")() for other in panels if group.joined(ax, other)]
    return next(filter(None, labels), NO_LABEL)


def _kind(ax: Axes) -> str:
    for name, artists in (
        ("a heat map", ax.images),
        ("bars", ax.patches),
        ("lines and points", ax.lines),
        ("points", ax.collections),
    ):
        if len(artists):
            return name
    return "a plot"


def install() -> None:
    """Make the inline backend of this kernel put the text beside each picture."""
    from matplotlib_inline import backend_inline

    before = backend_inline._fetch_figure_metadata

    def metadata(figure: Figure) -> dict[str, Any]:
        return {**(before(figure) or {}), "image/png": {"alt": describe(figure)}}

    backend_inline._fetch_figure_metadata = metadata
