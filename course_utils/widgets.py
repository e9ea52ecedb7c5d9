"""The explorer: controls over a figure that redraws. Works with ipywidgets 7.7 (Colab) and 8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
from IPython.display import display

from .language import t


def explorer(draw: Callable[..., None], **controls: Any) -> ipw.Widget:
    """Show `draw(**values)` under controls; redraw when one is moved.

    >>> widgets.explorer(draw, bits=(2, 8, 1), scheme=["absmax", "zero point"], outliers=True)

    Args:
        draw: makes a matplotlib figure with the values as keyword arguments; what it prints is shown too. A
            NotImplementedError (an exercise that is not solved yet) is shown as one line.
        controls: name = a list (menu), a tuple (low, high, step) (slider), a bool (tick box), or a widget.

    Returns:
        The widget, already displayed; its `children` are the controls' box and the output.
    """
    made = {name: _control(name, spec) for name, spec in controls.items()}

    def redraw(**values: Any) -> None:
        try:
            draw(**values)
        except NotImplementedError as error:
            print(t("Nothing to show yet: {error}", error=error))
        else:
            plt.show()
        finally:
            plt.close("all")

    output = ipw.interactive_output(redraw, made)
    box = ipw.VBox([ipw.HBox(list(made.values()), layout=ipw.Layout(flex_flow="row wrap")), output])
    display(box)
    return box


def _control(name: str, spec: Any) -> ipw.Widget:
    label = name.replace("_", " ")
    style = {"description_width": "initial"}
    if isinstance(spec, ipw.Widget):
        return spec
    if isinstance(spec, bool):
        return ipw.Checkbox(value=spec, description=label, style=style, indent=False)
    if isinstance(spec, tuple):
        low, high, step = spec
        kind = ipw.IntSlider if all(isinstance(v, int) for v in spec) else ipw.FloatSlider
        # the picture follows the slider when it is let go, not at every pixel: a redraw may take a second
        return kind(value=high, min=low, max=high, step=step, description=label, style=style, continuous_update=False)
    return ipw.Dropdown(options=list(spec), description=label, style=style)
