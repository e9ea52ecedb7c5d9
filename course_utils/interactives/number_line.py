"""Quantization on a number line: one row of weights, its scale, its codes, and what a single weight does to the others."""

from __future__ import annotations

from typing import Any

import torch

from ..language import t
from .element import Interactive, words
from .svg import Drawing

MOST = 128  # weights
BLOCKS = (16, 32, 64, 128)
FORMATS = {"int8": 8, "int4": 4, "int3": 3, "NF4": 4}  # name → bits of a code


def quantization(weights: torch.Tensor) -> Interactive:
    """Show a row of weights as codes; the reader chooses format and block size, and drags a weight.

    >>> interactives.quantization(W[0, :64])

    Integers by absmax: scale = largest magnitude of the block / (2^(bits-1) - 1), code = weight / scale, rounded half to
    even. NF4: the nearest of its sixteen levels times the block's largest magnitude. One float32 scale per block.

    Args:
        weights: up to 128 numbers in one dimension, a multiple of 16; not all zero.

    Raises:
        ValueError: another shape, or nothing but zeros.
    """
    row = weights.detach().float().cpu()
    if row.dim() != 1 or not 0 < len(row) <= MOST or len(row) % BLOCKS[0] or not row.any():
        raise ValueError(
            t(
                "Give one row of at most {most} weights, a multiple of 16, not all zero; this is {shape}.",
                most=MOST,
                shape=tuple(row.shape),
            )
        )
    data: dict[str, Any] = {
        "weights": row.double().tolist(),
        "nf4": nf4_levels().double().tolist(),
        "formats": FORMATS,
        "blocks": [size for size in BLOCKS if len(row) % size == 0],
        "start": {"format": "int4", "block": max(size for size in BLOCKS if len(row) % size == 0), "weight": 0},
    }
    return Interactive("quantization", data, _still(row, data["start"]))


def nf4_levels() -> torch.Tensor:
    """NF4's sixteen levels (Dettmers et al. 2023): quantiles of the normal distribution, scaled to [-1, 1], and zero."""
    offset = 0.9677083
    positive = torch.special.ndtri(torch.linspace(offset, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -torch.special.ndtri(torch.linspace(offset, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat([positive, negative, torch.zeros(1)]).sort().values
    return (levels / levels.max()).float()


def codes(row: torch.Tensor, name: str, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (integers, or numbers of NF4's levels from 0) and dequantized weights, each of the row's shape."""
    blocks = row.reshape(-1, block)
    largest = blocks.abs().amax(1, keepdim=True).clamp(min=1e-12)
    if name == "NF4":
        levels = nf4_levels()
        code = torch.bucketize(blocks / largest, (levels[1:] + levels[:-1]) / 2)
        return code.flatten(), (levels[code] * largest).flatten()
    scale = largest / (2 ** (FORMATS[name] - 1) - 1)
    code = (blocks / scale).round()
    return code.int().flatten(), (code * scale).flatten()


def _still(row: torch.Tensor, start: dict[str, Any]) -> Drawing:
    """The weights above, their levels below, a line from each to its own; the codes under it."""
    say = words("quantization")
    code, back = codes(row, start["format"], start["block"])
    lines = -(-len(row) // 16)
    label = say["stillLabel"].format(number=len(row), format=start["format"], levels=len(set(code.tolist())))
    picture = Drawing(480, 190 + 24 * lines, label)
    largest = float(row.abs().max())

    def x(value: float) -> float:
        return 240 + 225 * value / largest

    picture.text(0, 16, say["line"], kind="fs-text fs-strong")
    for y in (50, 140):
        picture.line(10, y, 470, y, kind="fs-axis")
    for weight, level in zip(row.tolist(), back.tolist(), strict=True):
        picture.line(x(weight), 50, x(level), 140)
        picture.add("circle", cx=x(weight), cy=50, r=3.5, kind="fs-fill-a")
    for number, level in sorted({(int(c), float(b)) for c, b in zip(code, back, strict=True)}):
        picture.line(x(level), 132, x(level), 148, kind="fs-axis")
        picture.text(x(level), 164, str(number), anchor="middle", size=12)
    for i, number in enumerate(code.tolist()):
        picture.text(30 * (i % 16) + 24, 196 + 24 * (i // 16), str(number), anchor="end")
    return picture
