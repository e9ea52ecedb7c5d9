"""An explorer's controls: what an author writes (`bits=(2, 8, 1)`) as values in order, a first value and a live widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ipywidgets as ipw

from . import tables
from .language import t


@dataclass(frozen=True)
class Control:
    """One control; `values` are all that it can have, in order, and none where that is free text."""

    name: str
    kind: str  # "slider", "menu", "tick" or "widget"
    values: list[Any]
    start: Any
    decimals: int = 0  # of a slider's values
    made: ipw.Widget | None = None  # by the author

    @property
    def label(self) -> str:
        """The name as words, in the reader's language; a widget's own description as its author wrote it."""
        return str(self.made.description) if self.made and self.made.description else t(self.name.replace("_", " "))

    def shown(self, value: Any) -> str:
        """A value as a reader sees it: a slider's with the digits of its step, a menu's in the reader's language."""
        if isinstance(value, bool):
            return t("on") if value else t("off")
        if self.kind == "menu":
            return tables.choice(str(value))
        return f"{value:.{self.decimals}f}" if self.kind == "slider" else str(value)

    def widget(self) -> ipw.Widget:
        """The live control, at its first value."""
        if self.made is not None:
            self.made.value = self.start
            return self.made
        look: dict[str, Any] = {"description": self.label, "style": {"description_width": "initial"}}
        if self.kind == "tick":
            return ipw.Checkbox(value=self.start, indent=False, **look)
        if self.kind == "menu":
            return ipw.Dropdown(options=[(self.shown(value), value) for value in self.values], value=self.start, **look)
        # the picture follows the slider when it is let go, not at every pixel: a redraw may take a second
        look |= {"min": self.values[0], "max": self.values[-1], "value": self.start, "continuous_update": False}
        step = self.values[1] - self.values[0] if len(self.values) > 1 else 1
        if all(isinstance(value, int) for value in self.values):
            return ipw.IntSlider(step=step, **look)
        return ipw.FloatSlider(step=round(step, self.decimals), readout_format=f".{self.decimals}f", **look)


def controls(specs: Mapping[str, Any], start: Mapping[str, Any]) -> list[Control]:
    """The controls of `explorer(draw, start=…, **specs)`.

    Raises:
        ValueError: `start` names no control, or a value that its control cannot have.
    """
    if unknown := set(start) - set(specs):
        raise ValueError(f"start: there is no control {sorted(unknown)[0]!r}; there are {', '.join(specs)}")
    return [_control(name, spec, start) for name, spec in specs.items()]


def _control(name: str, spec: Any, start: Mapping[str, Any]) -> Control:
    if isinstance(spec, ipw.Widget):
        return Control(name, "widget", [], start.get(name, spec.value), made=spec)
    if isinstance(spec, bool):
        return Control(name, "tick", [False, True], _one_of(name, [False, True], start.get(name, spec)))
    if isinstance(spec, tuple):
        low, high, step = spec
        decimals = max(0, *(-int(Decimal(str(part)).as_tuple().exponent) for part in (low, step)))
        count = int((high - low) / step + 1e-9) + 1
        whole = all(isinstance(part, int) for part in spec)
        values: list[Any] = [low + i * step if whole else round(low + i * step, decimals) for i in range(count)]
        if name not in start:
            return Control(name, "slider", values, values[(count - 1) // 2], decimals)
        first = start[name]
        if not low <= first <= high:
            raise ValueError(f"start: {name} goes from {low} to {high}, so it cannot be {first}")
        return Control(name, "slider", values, min(values, key=lambda value: abs(value - first)), decimals)
    values = list(spec)
    return Control(name, "menu", values, _one_of(name, values, start.get(name, values[0])))


def _one_of(name: str, values: Sequence[Any], value: Any) -> Any:
    if value not in values:
        raise ValueError(f"start: {name} cannot be {value!r}; it can be {', '.join(map(repr, values))}")
    return value
