"""One plotting style: large enough for a projector, and readable in black and white."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from cycler import cycler
from matplotlib import font_manager

# Okabe & Ito's colour-blind safe set (2008, "Color Universal Design"), darkest first so that grey prints keep the order.
COLORS = ["#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
LINES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
HATCHES = ["", "//", "..", "xx", "\\\\", "++", "oo"]


# Chinese, where the first font has no sign: a part of Noto Sans CJK SC, written by `course fonts`
CHINESE_FONT = Path(__file__).parent / "fonts" / "NotoSansCJKsc-part.otf"
FONTS = ["DejaVu Sans", "Noto Sans CJK SC part"]


def style() -> None:
    """Set matplotlib's defaults. Lines differ by colour, dash and marker; for bars take `HATCHES`."""
    if not any(font.name == FONTS[1] for font in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(CHINESE_FONT)
    mpl.rcParams.update(
        {
            "figure.figsize": (9, 4),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.family": FONTS,
            "font.size": 13,
            "axes.titlesize": 15,
            "axes.labelsize": 13,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "lines.linewidth": 2,
            "lines.markersize": 6,
            "legend.frameon": False,
            "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=LINES) + cycler(marker=MARKERS),
        }
    )
