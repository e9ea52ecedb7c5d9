"""Pictures that a reader moves, computed by a notebook's cell from real objects.

Each function returns an object that a cell shows by naming it in its last line. It works without a kernel: in a saved
notebook, on the site, on slides; by touch and by keyboard; and it stays a picture where scripts are off.
"""

from __future__ import annotations

from .byte_pairs import bpe as bpe
from .cache import kv_cache as kv_cache
from .element import Interactive as Interactive
from .group import grpo_group as grpo_group
from .number_line import quantization as quantization
from .trace import transformer as transformer
from .update import lora as lora

__all__ = ["Interactive", "bpe", "grpo_group", "kv_cache", "lora", "quantization", "transformer"]
