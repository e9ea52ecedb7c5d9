"""Trains at several learning rates for course_utils/csv/lora_forgetting.csv: a quarter of an hour on one core.

    python chapters/11_lora/forgetting.py            every run that the table does not have yet
    python chapters/11_lora/forgetting.py --again    all of them

The training itself is in the lab: its functions are called here, so that the table and the lab cannot disagree. A row is
written as soon as it is there; a command that was cut goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from course_utils import load_model
from courseware import resumable_table
from courseware.chapters import ROOT, read
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/11_lora/forgetting.py"
TABLE = ROOT / "course_utils" / "csv" / "lora_forgetting.csv"
KEYS = ("method", "learning_rate", "seed")
SEEDS = range(5)
ADAPTERS = {"LoRA q v": ("q v", 4), "LoRA all": ("all", 8)}  # the lab's choice of matrices, and the rank
RATES = {
    "full": (0.000125, 0.00025, 0.0005, 0.001, 0.002),
    "LoRA q v": (0.0025, 0.005, 0.01, 0.02, 0.04),
    "LoRA all": (0.00125, 0.0025, 0.005, 0.01, 0.02),
}
RUNS = [(method, rate, seed) for seed in SEEDS for method, rates in RATES.items() for rate in rates]


@resumable_table.full_size()
def lab() -> dict[str, Any]:
    """What the solved lab defines, with its model and its two tasks."""
    names = solved_namespace(read(Path(__file__).with_name("lab.py")))
    names["MODEL"] = "course"
    names["base_model"], names["tokenizer"] = load_model("course", device="cpu", precision="fp32")
    names["base_model"].requires_grad_(False)
    resumable_table.lab_names(__file__, names)
    names["before"] = questions(names, names["base_model"].model.layers[-names["TOP"] :])
    return names


@torch.no_grad()
def questions(names: dict[str, Any], layers: Any) -> float:
    """Mean loss of the next tokens of the questions, the old text: nats per token."""
    return float(names["sort"].next_token_losses(layers, names["sort"].test_rows()).mean())


def forgetting_row(names: dict[str, Any], method: str, rate: float, seed: int) -> dict[str, Any]:
    """One run on moods: what it learnt, and what became of the loss on questions."""
    if method in ADAPTERS:
        matrices, rank = ADAPTERS[method]
        layers = names["fit_lora"](names["mood"], names["CHOICES"][matrices], rank, 16, seed, rate)
    else:
        layers = names["fit_full"](names["mood"], seed, rate=rate)
    return dict(
        method=method, learning_rate=rate, seed=seed, accuracy=round(float(names["mood"].right(layers).mean()), 4),
        forgotten_nats=round(questions(names, layers) - names["before"], 4), source=SOURCE,
    )  # fmt: skip


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, KEYS, RUNS, lambda *run: [forgetting_row(names, *run)], again)


if __name__ == "__main__":
    main()
