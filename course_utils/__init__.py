"""Helper package of the course *Foundations of large language models*.

A notebook imports what it needs from here and nothing else::

    from course_utils import lab, load_model, hardware

Importing the package itself is cheap: a module is imported when its name is first used.
"""

from __future__ import annotations

import logging
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hardware import InsufficientHardwareError as InsufficientHardwareError
    from .models import generate as generate
    from .models import load_model as load_model

__version__ = "0.2.0.dev0"  # between releases ".dev0" after the next one's; a release is the tag "v" + version

_MODULES = (
    "data",
    "errors",
    "hardware",
    "interactives",
    "lab",
    "models",
    "plots",
    "scoring",
    "tables",
    "weights",
    "widgets",
)
_NAMES = {"load_model": "models", "generate": "models", "InsufficientHardwareError": "hardware"}

__all__ = [*_MODULES, *_NAMES]


# bitsandbytes logs at every call that inputs are cast, and at its import that an optional kernel is not installed. Both hold
# for every notebook of the course, and neither is something a student can act on.
for _name in ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
    logging.getLogger(_name).setLevel(logging.ERROR)
# PEFT asks transformers for a property by its old name whenever it wraps a model: nothing a student can act on either.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module 'course_utils' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
