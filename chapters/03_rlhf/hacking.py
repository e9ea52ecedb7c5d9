"""Trains the policies of chapter 3 and writes course_utils/csv/reward_hacking.csv: thirteen minutes on one core.

    python chapters/03_rlhf/hacking.py            every run that the table does not have yet
    python chapters/03_rlhf/hacking.py --again    all of them

What is run stands in the lab: its exercises' solutions and its cells with the tag `ladder`, so that the table and the lab
cannot disagree. A command that was cut goes on where it stopped.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from courseware import resumable_table
from courseware.chapters import ROOT, tags

SOURCE = "this course: chapters/03_rlhf/hacking.py"
TABLE = ROOT / "course_utils" / "csv" / "reward_hacking.csv"
KEYS = ("method", "beta", "rate", "seed")
ROUNDS, SFT_STEPS, LABELS = 60, 250, 300
WATCH = (0, 5, 10, 20, 40, 60)
MEASURES = ("reward", "kl", "reviewers", "vectors", "nats", "length")
BETAS, DPO_RATES = (0.0, 0.1, 0.3), (1e-4, 3e-4, 1e-3)
SEEDS = range(3)
RUNS = [
    run
    for seed in SEEDS
    for run in (
        *(("PPO", beta, 1e-3, seed) for beta in BETAS),
        *(("DPO", 0.1, rate, seed) for rate in DPO_RATES),
        ("SFT on the best", 0.0, 1e-3, seed),
        ("best of 4", 0.0, 0.0, seed),
    )
]


@resumable_table.full_size()
def lab() -> dict[str, Any]:
    """The names of the lab, at full size: imports, solutions, `ladder` cells; the SFT policy and the weak reward model."""

    def also(cell: Any) -> bool:
        return any(tag.startswith("exercise:") for tag in tags(cell)) or resumable_table.imports(cell)

    names = resumable_table.lab_names(__file__, {}, also)
    names["sft"] = names["supervised"](SFT_STEPS)
    names["weak"] = names["word_reward"](LABELS)
    return names


@resumable_table.full_size()  # functions of the lab ask for it when they are called
def rows(names: dict[str, Any], method: str, beta: float, rate: float, seed: int) -> list[dict[str, Any]]:
    """One run: a row for each round that is watched."""
    weak, logs = names["weak"], {}
    if method == "PPO":
        _, log, exams = names["ppo"](seed, beta, weak, ROUNDS, WATCH)
    elif method == "DPO":
        policy, log = names["dpo"](seed, weak, ROUNDS, rate, beta)
        exams, last = {ROUNDS: names["examine"](policy, weak)}, log[-10:]
        logs = {f"{side}_nats": round(sum(row[side] for row in last) / len(last), 3) for side in ("chosen", "rejected")}
    elif method == "best of 4":
        exams = {0: names["best_of"](4, weak, seed).assign(kl=math.log(4) - 3 / 4)}  # at most so far from the SFT policy
    else:
        exams = {ROUNDS: names["examine"](names["sft_on_best"](seed, weak, ROUNDS), weak)}
    found = []
    for i, frame in exams.items():
        run = dict(method=method, beta=beta, rate=rate, seed=seed, round=i)
        means = {what: round(float(frame[what].mean()), 3) for what in MEASURES}
        means["variety"] = round(float(names["variety"](frame["text"])), 3)
        texts = {f"text_{n}": frame["text"][n] for n in range(3)}
        found.append(run | means | logs | texts | {"source": SOURCE})
    return found


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, KEYS, RUNS, lambda *run: rows(names, *run), again)


if __name__ == "__main__":
    main()
