"""Trains the small models of chapter 8 and writes course_utils/csv/chain_steps.csv: about five minutes on one core.

    python chapters/08_chain_of_thought/steps.py            every run that the table does not have yet
    python chapters/08_chain_of_thought/steps.py --again    all of them

The training itself is in the lab, which is run here without its experiments, so that table and lab cannot disagree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from courseware import resumable_table
from courseware.chapters import ROOT, read
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/08_chain_of_thought/steps.py"
TABLE = ROOT / "course_utils" / "csv" / "chain_steps.csv"
FLOPS = 300_000_000_000
RUNS = [(style, seed) for seed in range(5) for style in ("direct", "dots", "chain")]


def lab() -> dict[str, Any]:
    """The names of the solved lab."""
    return solved_namespace(read(Path(__file__).with_name("lab.py")))


def rows(names: dict[str, Any], style: str, seed: int) -> list[dict[str, Any]]:
    """One model: its share of right answers for each number of steps."""
    model, seen = names["train"](style, seed, FLOPS)
    return [
        dict(
            style=style, seed=seed, steps=steps, parameters=model.num_parameters(), training_flops=FLOPS,
            problems_seen=seen, answers_right=round(names["accuracy"](model, style, steps), 4), source=SOURCE,
        )
        for steps in range(1, 8)
    ]  # fmt: skip


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, ("style", "seed"), RUNS, lambda *run: rows(names, *run), again)


if __name__ == "__main__":
    main()
