"""Trains the ladders of chapter 4; writes {emergence,scaling}_ladder.csv and {adder,scaling}_tuning.csv of course_utils/csv.

    python chapters/04_scaling_emergence/ladder.py            every run that the tables do not have yet
    python chapters/04_scaling_emergence/ladder.py --again    all of them: about an hour on one core

The training itself stands in the lab: its cells with the tag `ladder` are run here, so that the tables and the lab cannot
disagree. A run that was cut goes on where it stopped.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data
from courseware import resumable_table
from courseware.chapters import ROOT

SOURCE = "this course: chapters/04_scaling_emergence/ladder.py"
TABLES = {
    name: ROOT / "course_utils" / "csv" / f"{name}.csv"
    for name in ("emergence_ladder", "adder_tuning", "scaling_tuning", "scaling_ladder")
}
# The usual number of heads with ten seeds; the control, the other number of heads, with five.
ADDERS = [
    (width, heads, seed)
    for seed in range(10)
    for width in (8, 12, 16, 20, 24, 32, 48, 64)
    for heads in (1, 2)
    if seed < 5 or heads == max(1, width // 32)
]
# Do the heads decide at other learning rates, too? The rate of ADDERS is 0.05.
ADDERS_TUNED = [(64, heads, rate, seed) for seed in range(5) for rate in (0.025, 0.1) for heads in (1, 2)]
# Widths at each budget in FLOPs, on both sides of the best one. The last budget is held out.
BUDGETS = {
    1.5e10: (8, 12, 16, 20, 24),
    3e10: (8, 12, 16, 20, 24, 32),
    6e10: (12, 16, 20, 24, 32, 40),
    1.2e11: (12, 16, 20, 24, 32, 40),
    3.6e11: (24, 32, 40, 48, 64),
}
SEEDS = 3
# The budget at which each width is tuned: first the rate, at one beta2; then the other beta2, at the best rate.
TUNED_AT = {8: 1.5e10, 12: 1.5e10, 16: 1.5e10, 20: 1.5e10, 24: 3e10, 32: 3e10, 40: 6e10, 48: 6e10, 64: 6e10}
RATES, BETA2, OTHER_BETA2 = (0.025, 0.05, 0.1, 0.2, 0.4), 0.99, (0.9, 0.95, 0.999)


def lab() -> dict[str, Any]:
    """The names that the lab's `ladder` cells define."""
    names = dict(
        collections=collections, math=math, np=np, torch=torch, F=F, tqdm=tqdm, data=data,
        LlamaConfig=LlamaConfig, LlamaForCausalLM=LlamaForCausalLM,
    )  # fmt: skip
    return resumable_table.lab_names(__file__, names)


def tuning_row(names: dict[str, Any], width: int, rate: float, beta2: float) -> dict[str, Any]:
    """One run on text with a seed of its own, so that no run of the ladder is tuned on itself."""
    flops = TUNED_AT[width]
    _, tokens, loss = names["train_on_text"](width, flops, 100, rate, beta2)
    return dict(
        width=width,
        rate=rate,
        beta2=beta2,
        seed=100,
        budget_flops=flops,
        tokens=tokens,
        loss_nats=round(loss, 4),
        source=SOURCE,
    )


def tuned(width: int) -> tuple[float, float]:
    """The rate and the beta2 with the lowest loss so far."""
    table = pd.read_csv(TABLES["scaling_tuning"])
    best = table[table["width"] == width].nsmallest(1, "loss_nats").iloc[0]
    return float(best["rate"]), float(best["beta2"])


def scaling_row(names: dict[str, Any], width: int, flops: float, seed: int) -> dict[str, Any]:
    """One run on text, as a row of the table."""
    rate, beta2 = tuned(width)
    parameters, tokens, loss = names["train_on_text"](width, flops, seed, rate, beta2)
    return dict(
        budget_flops=flops, width=width, seed=seed, rate=rate, beta2=beta2, parameters=parameters, tokens=tokens,
        loss_nats=round(loss, 4), source=SOURCE,
    )  # fmt: skip


def emergence_row(names: dict[str, Any], width: int, heads: int, seed: int, rate: float = 0.05) -> dict[str, Any]:
    """One run on 60,000 sums: the loss of a digit, the share of right digits, and of answers right in all four."""
    model = names["train_to_add"](width, heads, 60_000, seed, rate=rate)
    rows = names["sums"](2000, torch.Generator().manual_seed(10**6))
    with torch.inference_mode():
        logits = model(rows[:, :-1]).logits[:, -4:]
    right = logits.argmax(-1) == rows[:, -4:]
    return dict(
        width=width, heads=heads, layers=2, examples=60_000, seed=seed, parameters=model.num_parameters(),
        loss_nats=round(F.cross_entropy(logits.flatten(0, 1), rows[:, -4:].flatten()).item(), 4),
        digits_right=round(right.float().mean().item(), 4), answers_right=round(right.all(1).float().mean().item(), 4),
        source=SOURCE,
    )  # fmt: skip


def adder_row(names: dict[str, Any], width: int, heads: int, rate: float, seed: int) -> dict[str, Any]:
    """The same at another learning rate."""
    return {"rate": rate, **emergence_row(names, width, heads, seed, rate)}


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()

    def fill(table: str, make: Callable[..., dict[str, Any]], keys: tuple[str, ...], runs: list[Any], again: bool) -> None:
        resumable_table.fill(TABLES[table], keys, runs, lambda *run: [make(names, *run)], again)

    rates = [(width, rate, BETA2) for width in TUNED_AT for rate in RATES]
    fill("scaling_tuning", tuning_row, ("width", "rate", "beta2"), rates, again)
    others = [(width, tuned(width)[0], beta2) for width in TUNED_AT for beta2 in OTHER_BETA2]
    fill("scaling_tuning", tuning_row, ("width", "rate", "beta2"), rates + others, again=False)
    texts = [(width, c, seed) for seed in range(SEEDS) for c, widths in BUDGETS.items() for width in widths]
    fill("scaling_ladder", scaling_row, ("width", "budget_flops", "seed"), texts, again)
    fill("emergence_ladder", emergence_row, ("width", "heads", "seed"), ADDERS, again)
    fill("adder_tuning", adder_row, ("width", "heads", "rate", "seed"), ADDERS_TUNED, again)


if __name__ == "__main__":
    main()
