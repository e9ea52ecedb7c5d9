"""An explorer that needs no kernel: a picture for each of some values of each control, and native controls that choose one.

The build installs it in the kernel that runs a notebook, so a built notebook, the site and the slides show what moves.
Running the cell puts the live form (course_utils/widgets.py) in its place.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Generic, TypeVar

import matplotlib.pyplot as plt
from IPython.display import display
from IPython.utils.capture import capture_output
from PIL import Image

from course_utils import widgets
from course_utils.assets import assets, plain
from course_utils.controls import Control
from course_utils.words import word

from .alt_text import describe

SAMPLES = 9  # of a slider
PICTURES = 60  # of an explorer
LECTURE_BYTES = 1_500_000  # of all explorers of a notebook
_COLORS = 16  # of a picture, which are four bits per pixel: ink, line colours, paper and the greys between
_LOOKED_AT = 6  # pictures, for their colours
_WIDEST = 1000  # pixels: a page is not wider, and text of 13 points stays legible

T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """What `draw` shows for one choice of values."""

    picture: Image.Image | None
    text: str  # HTML
    alt: str


def install() -> None:
    """Let `widgets.explorer` of this kernel show the form without a kernel."""
    widgets.present = _present


def _present(draw: widgets.Draw, controls: list[Control], grid: widgets.Grid) -> None:
    made = html(draw, controls, grid)
    display({"text/html": made, "text/plain": plain(made)}, raw=True)


def samples(controls: Sequence[Control], grid: Mapping[str, Sequence[Any]]) -> list[list[Any]]:
    """The values of each control for which a picture is stored: the author's, or all of a menu and some of a slider.

    Raises:
        ValueError: the author's are none of the control's; or there are too many pictures, however few of a slider.
    """
    names = [control.name for control in controls]
    if unknown := set(grid) - set(names):
        raise ValueError(f"grid: there is no control {sorted(unknown)[0]!r}; there are {', '.join(names)}")
    most = SAMPLES
    while True:
        chosen = [_values(control, grid.get(control.name), most) for control in controls]
        pictures = math.prod(map(len, chosen))
        if pictures <= PICTURES:
            return chosen
        if most == 2:
            counts = ", ".join(f"{control.name} {len(values)}" for control, values in zip(controls, chosen, strict=True))
            raise ValueError(
                f"an explorer of {pictures} pictures ({counts} values); {PICTURES} can be stored. "
                "Choose some values of a control: grid={name: [values]}"
            )
        most -= 1


def _values(control: Control, asked: Sequence[Any] | None, most: int) -> list[Any]:
    if asked is not None and control.kind != "tick":
        values = list(asked)
        if control.values and (strange := [value for value in values if value not in control.values]):
            raise ValueError(f"grid: {control.name} cannot be {strange[0]!r}")
        if control.start not in values:
            values.insert(sum(value < control.start for value in values) if control.kind == "slider" else 0, control.start)
        return values
    if control.kind == "widget":
        raise ValueError(f"grid: {control.name} can be anything; choose some values: grid={{{control.name!r}: [values]}}")
    if control.kind != "slider" or len(control.values) <= most:
        return control.values
    last = len(control.values) - 1
    places = {round(i * last / (most - 1)) for i in range(most)}
    start = control.values.index(control.start)
    if start not in places:  # it takes the place of the nearest one between the ends
        inner = places - {0, last}
        places = places - {min(inner, key=lambda place: abs(place - start))} if inner else places
    return [control.values[place] for place in sorted(places | {start})]


def frame(draw: Callable[..., None], values: Mapping[str, Any]) -> Frame:
    """Call `draw` and take what it draws, prints and displays."""
    plt.close("all")
    with capture_output() as captured:
        pictures, alts, texts = [], [], []
        try:
            draw(**values)
        except NotImplementedError as error:
            plt.close("all")
            print(widgets.nothing_yet(error))
        for number in plt.get_fignums():
            figure = plt.figure(number)
            data = io.BytesIO()
            figure.savefig(data, format="png", bbox_inches="tight", dpi=min(figure.dpi, _WIDEST / figure.get_figwidth()))
            pictures.append(data.getvalue())
            alts.append(describe(figure))
        plt.close("all")
    for output in captured.outputs or ():
        if "image/png" in output.data:  # draw called plt.show()
            picture = output.data["image/png"]
            pictures.append(base64.b64decode(picture) if isinstance(picture, str) else picture)
            alts.append((output.metadata or {}).get("image/png", {}).get("alt", ""))
        elif "text/html" in output.data:
            texts.append(_bare(output.data["text/html"]))
        elif "text/plain" in output.data:
            texts.append(f"<pre>{escape(output.data['text/plain'])}</pre>")
    if printed := captured.stdout.rstrip():
        texts.insert(0, f"<pre>{escape(printed)}</pre>")
    return Frame(_joined([opened(picture) for picture in pictures]), "".join(texts), " ".join(alts))


def _bare(html: str) -> str:
    """A table without its own looks: they are stored with every frame, and a strict policy forbids them."""
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", lambda tag: re.sub(r' (?:id|class|style|border)="[^"]*"', "", tag[0]), html).strip()


def opened(png: bytes) -> Image.Image:
    """A picture on white paper."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    return paper.convert("RGB")


def _joined(pictures: list[Image.Image]) -> Image.Image | None:
    """One picture of several figures, one below the other."""
    if not pictures:
        return None
    joined = Image.new("RGB", _around(pictures, sum(picture.height for picture in pictures)), "white")
    top = 0
    for picture in pictures:
        joined.paste(picture, (0, top))
        top += picture.height
    return joined


def _around(pictures: Sequence[Image.Image], height: int | None = None) -> tuple[int, int]:
    """The size that holds each of them."""
    return max(picture.width for picture in pictures), height or max(picture.height for picture in pictures)


def colors_of(pictures: Sequence[Image.Image]) -> Image.Image:
    """A picture whose palette serves all of them: a line has the same colour in each."""
    some = list(pictures)[:: max(1, len(pictures) // _LOOKED_AT)]
    joined = _joined(some)
    assert joined is not None
    return joined.quantize(_COLORS, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)


def packed(picture: Image.Image, size: tuple[int, int], colors: Image.Image) -> bytes:
    """A small PNG of few colours, on paper of the size of all pictures of an explorer, so that the page does not jump."""
    paper = Image.new("RGB", size, "white")
    paper.paste(picture, (0, 0))
    data = io.BytesIO()
    paper.quantize(palette=colors, dither=Image.Dither.NONE).save(data, "PNG", optimize=True, bits=4)
    return data.getvalue()


def html(draw: Callable[..., None], controls: Sequence[Control], grid: Mapping[str, Sequence[Any]]) -> str:
    """The explorer as one block of HTML: controls, the first picture, data for the others, style and script."""
    chosen = samples(controls, grid)
    combinations = list(itertools.product(*chosen))
    names = [control.name for control in controls]
    frames = [frame(draw, dict(zip(names, values, strict=True))) for values in combinations]
    drawn = [made.picture for made in frames if made.picture]
    size = _around(drawn) if drawn else (0, 0)
    colors = colors_of(drawn or [Image.new("RGB", (1, 1))])
    pictures, texts, alts = _Once[bytes](), _Once[str](), _Once[str]()
    rows = []
    for made in frames:
        picture = pictures.place(packed(made.picture, size, colors)) if made.picture else -1
        rows.append([picture, texts.place(made.text), alts.place(made.alt)])
    at = combinations.index(tuple(control.start for control in controls))
    coded = [base64.b64encode(picture).decode() for picture in pictures.values]
    first = max(rows[at][0], 0)  # in the page; hidden where the first values draw none, and others do
    shown = [[control.shown(value) for value in values] for control, values in zip(controls, chosen, strict=True)]
    data = {
        "controls": [{"label": c.label, "values": values} for c, values in zip(controls, shown, strict=True)],
        "frames": rows,
        "pictures": ["" if i == first else picture for i, picture in enumerate(coded)],  # "": the one in the page
        "texts": texts.values,
        "alts": alts.values,
    }
    places = [values.index(control.start) for control, values in zip(controls, chosen, strict=True)]
    fields = "".join(map(_field, controls, shown, places))
    now = ", ".join(f"{c.label}: {values[i]}" for c, values, i in zip(controls, shown, places, strict=True))
    image = ""
    if drawn:
        image = f'<img src="data:image/png;base64,{coded[first]}" alt="{escape(frames[at].alt)}"'
        image += f' width="{size[0]}" height="{size[1]}">'
    unseen = "" if rows[at][0] >= 0 else " hidden"
    fields += part_of(controls, chosen)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<div class="course-explorer" data-lm-suppress-shortcuts="true">\n'
        f'<div class="course-controls" role="group" aria-label="{word("controls")}" hidden>\n{fields}</div>\n'
        f'<p class="course-status" role="status">{escape(now)}</p>\n<div class="course-picture"{unseen}>{image}</div>\n'
        f'<div class="course-text">{frames[at].text}</div>\n<p class="course-static">{word("static")}</p>\n'
        f'<script type="application/json" class="course-data">{text}</script>\n</div>\n{assets()}'
    )


def part_of(controls: Sequence[Control], chosen: Sequence[Sequence[Any]]) -> str:
    """A line on which controls have fewer values here than in a running notebook, and how many; "" where none has."""
    parts = []
    for control, values in zip(controls, chosen, strict=True):
        if len(values) != len(control.values):
            kind = "part" if control.values else "examples"
            parts.append(word(kind).format(label=control.label, few=len(values), all=len(control.values)))
    if not parts:
        return ""
    line = escape(word("parts").format(parts=" · ".join(parts)))
    return f'<p class="course-part"><small>{line}</small></p>\n'


def _field(control: Control, shown: Sequence[str], place: int) -> str:
    label = escape(control.label)
    if control.kind == "tick":
        return f'<label><input type="checkbox"{" checked" if place else ""}> {label}</label>\n'
    if control.kind == "slider":
        value = escape(shown[place])
        return (
            f'<label>{label} <input type="range" min="0" max="{len(shown) - 1}" step="1" value="{place}" '
            f'aria-valuetext="{value}"> <span class="course-value" aria-hidden="true">{value}</span></label>\n'
        )
    options = "".join(
        f'<option value="{i}"{" selected" if i == place else ""}>{escape(text)}</option>' for i, text in enumerate(shown)
    )
    return f'<label>{label} <select aria-label="{label}">{options}</select></label>\n'


class _Once(Generic[T]):
    """Values that are stored once each."""

    def __init__(self) -> None:
        self._places: dict[T, int] = {}

    def place(self, value: T) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[T]:
        return list(self._places)
