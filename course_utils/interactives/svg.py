"""A picture in SVG, as text: what stands in a page until its script has run, and where no script may run."""

from __future__ import annotations

from html import escape


class Drawing:
    """Collects shapes; `str()` gives the picture. Colours are `currentColor` and the classes of `flagship.css`."""

    def __init__(self, width: int, height: int, label: str) -> None:
        """A picture of `width` x `height` units; `label` says to a screen reader what it shows."""
        self.width, self.height, self.label = width, height, label
        self._parts: list[str] = []

    def add(self, tag: str, content: str = "", **attributes: str | float) -> None:
        """Add an element; `_` in a name stands for `-`, and `kind` for `class`."""
        pairs = {("class" if name == "kind" else name.replace("_", "-")): value for name, value in attributes.items()}
        written = "".join(f' {name}="{_number(value)}"' for name, value in pairs.items())
        self._parts.append(f"<{tag}{written}>{escape(content)}</{tag}>")

    def text(self, x: float, y: float, content: str, anchor: str = "start", kind: str = "fs-text", size: int = 13) -> None:
        """Write `content` with its baseline at `y`; `anchor` is "start", "middle" or "end"."""
        self.add("text", content, x=x, y=y, text_anchor=anchor, kind=kind, font_size=size)

    def bar(self, x: float, y: float, width: float, height: float, kind: str = "fs-fill-a") -> None:
        self.add("rect", x=x, y=y, width=max(0.0, width), height=height, kind=kind)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "fs-rule") -> None:
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, kind=kind)

    def __str__(self) -> str:
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
        return f'<svg {size} role="img" aria-label="{escape(self.label)}">' + "".join(self._parts) + "</svg>"


def _number(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.4g}"
