"""What a fine-tuning has added to a matrix, cut to a low rank: what is kept, and the memory of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..language import t
from .element import Interactive, packed, rounded, words
from .svg import Drawing

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
ROWS, COLUMNS = 16, 28  # of the upper left corner that is drawn


def lora(updates: Mapping[str, torch.Tensor]) -> Interactive:
    """Show changes of matrices and their best approximations of low rank; the reader chooses matrix and rank.

    >>> interactives.lora({"v_proj": new - old, "random": torch.randn(192, 576)})

    Args:
        updates: name → ΔW (outputs, inputs), each at least 16 × 28.

    Raises:
        ValueError: a matrix is too small, or no matrix.
    """
    for name, update in updates.items():
        if update.dim() != 2 or update.shape[0] < ROWS or update.shape[1] < COLUMNS:
            raise ValueError(
                t(
                    "{name} has the shape {shape}; this needs a matrix of at least {rows} × {columns}.",
                    name=name,
                    shape=tuple(update.shape),
                    rows=ROWS,
                    columns=COLUMNS,
                )
            )
    data = {"updates": [{"name": name, **_parts(update)} for name, update in updates.items()], "start": {"rank": 4}}
    return Interactive("lora", data, _still(data))


def _parts(update: torch.Tensor) -> dict[str, Any]:
    """Singular values, and the corner's share in each singular direction as numbers from 0 to 1 (0.5 is zero)."""
    matrix = update.detach().float().cpu()
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    ranks = [rank for rank in RANKS if rank < len(values)]
    most = ranks[-1]
    corner = matrix[:ROWS, :COLUMNS]
    return {
        "shape": list(matrix.shape),
        "values": rounded(values.tolist(), 6),
        "squares": float(matrix.double().square().sum()),
        "ranks": [*ranks, len(values)],
        "left": packed(((u[:ROWS, :most] + 1) / 2).numpy()),
        "right": packed(((v[:most, :COLUMNS] + 1) / 2).numpy()),
        "corner": packed((corner / corner.abs().max() / 2 + 0.5).numpy()),
        "largest": float(corner.abs().max()),
    }


def _still(data: dict[str, Any]) -> Drawing:
    """The singular values of the first update; those that rank 4 keeps are filled."""
    say, first, rank = words("lora"), data["updates"][0], data["start"]["rank"]
    shown = first["values"][:40]
    kept = sum(value**2 for value in first["values"][:rank]) / sum(value**2 for value in first["values"])
    outputs, inputs = first["shape"]
    label = say["keptStatus"].format(
        rank=rank, share=f"{100 * kept:.1f}", error=f"{100 * max(0.0, 1 - kept) ** 0.5:.1f}", all=len(first["values"])
    )
    picture = Drawing(480, 210, label)
    picture.text(0, 16, f"{first['name']} ({outputs} × {inputs}): {say['values']}", kind="fs-text fs-strong")
    for i, value in enumerate(shown):
        height = 150 * value / shown[0]
        picture.bar(12 * i, 180 - height, 9, height, "fs-fill-a" if i < rank else "fs-open")
    picture.line(0, 180, 480, 180, kind="fs-axis")
    picture.text(0, 202, label)
    return picture
