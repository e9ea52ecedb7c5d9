"""Trains the ladders of chapter 4 and writes course_utils/csv/{scaling,emergence}_ladder.csv: about an hour and a half on one core.

    python chapters/04_scaling_emergence/ladder.py            every run that the tables do not have yet
    python chapters/04_scaling_emergence/ladder.py --again    all of them

The training itself stands in the lab: its cells with the tag `ladder` are run here, so that the tables and the lab cannot
disagree. A run that was cut goes on where it stopped.
"""

from __future__ import annotations

import collections
import math
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data
from courseware import resumable_table
from courseware.chapters import ROOT, read, tags

SOURCE = "this course: chapters/04_scaling_emergence/ladder.py"
TABLES = {name: ROOT / "course_utils" / "csv" / f"{name}_ladder.csv" for name in ("scaling", "emergence")}
# Widths at each budget in FLOPs. Left out: fewer than 100 steps, more than four passes over the text.
BUDGETS = {
    1e11: (16, 24, 32, 48, 64, 96),
    3e11: (24, 32, 48, 64, 96, 128),
    1e12: (32, 48, 64, 96, 128, 192),
    3e12: (48, 64, 96, 128, 192),
    1e13: (96, 128, 192, 64),  # the held-out budget
}
SEEDS = {1e11: 3, 3e11: 3, 1e12: 2, 3e12: 2, 1e13: 1}
ADDERS = [(width, 60_000, seed) for seed in range(10) for width in (8, 12, 16, 20, 24, 32, 48, 64)]


def lab() -> dict[str, Any]:
    """The names that the lab's `ladder` cells define."""
    names = dict(
        collections=collections, math=math, np=np, torch=torch, F=F, tqdm=tqdm, tokenizers=tokenizers, data=data,
        LlamaConfig=LlamaConfig, LlamaForCausalLM=LlamaForCausalLM,
    )  # fmt: skip
    for cell in read(Path(__file__).with_name("lab.py")).cells:
        if "ladder" in tags(cell):
            exec(cell.source, names)
    return names


def scaling_row(names: dict[str, Any], width: int, flops: float, seed: int) -> dict[str, Any]:
    """One run on text, as a row of the table."""
    weights, tokens, loss = names["train_on_text"](width, flops, seed)
    layers = names["LAYERS"][width]
    return dict(
        budget_flops=flops, width=width, layers=layers, seed=seed, parameters=weights, tokens=tokens,
        loss_nats=round(loss, 4), source=SOURCE,
    )  # fmt: skip


def emergence_row(names: dict[str, Any], width: int, examples: int, seed: int) -> dict[str, Any]:
    """One run on sums: the loss of a digit, the share of right digits, and of answers right in all four."""
    model = names["train_to_add"](width, examples, seed)
    rows = names["sums"](2000, torch.Generator().manual_seed(10**6))
    with torch.inference_mode():
        logits = model(rows[:, :-1]).logits[:, -4:]
    right = logits.argmax(-1) == rows[:, -4:]
    return dict(
        width=width, layers=2, examples=examples, seed=seed, parameters=model.num_parameters(),
        loss_nats=round(F.cross_entropy(logits.flatten(0, 1), rows[:, -4:].flatten()).item(), 4),
        digits_right=round(right.float().mean().item(), 4), answers_right=round(right.all(1).float().mean().item(), 4),
        source=SOURCE,
    )  # fmt: skip


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    texts = [(width, c, seed) for seed in range(max(SEEDS.values())) for c, widths in BUDGETS.items() for width in widths]
    texts = [run for run in texts if run[2] < SEEDS[run[1]]]
    for table, make, keys, wanted in (
        ("emergence", emergence_row, ("width", "examples", "seed"), ADDERS),
        ("scaling", scaling_row, ("width", "budget_flops", "seed"), texts),
    ):
        resumable_table.fill(TABLES[table], keys, wanted, lambda *run, make=make: [make(names, *run)], again)


if __name__ == "__main__":
    main()
