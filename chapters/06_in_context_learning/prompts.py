"""Trains the continuous prompts of chapter 6 for course_utils/csv/continuous_prompts.csv: half an hour on one core.

    python chapters/06_in_context_learning/prompts.py            every run that the table does not have yet
    python chapters/06_in_context_learning/prompts.py --again    all of them

The training itself stands in the lab: its functions are called here, so that the table and the lab cannot disagree. A row is
written as soon as it is there; a command that was cut goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from course_utils import load_model
from courseware import resumable_table
from courseware.chapters import ROOT, read
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/06_in_context_learning/prompts.py"
TABLE = ROOT / "course_utils" / "csv" / "continuous_prompts.csv"
SEEDS, STEPS, LEARN = 3, 30, 64
INSTRUCTIONS = [  # 13 to 15 tokens; the first is the lab's
    "Decide if this movie review is positive or negative in tone.",
    "Is the sentiment of this movie review positive or negative?",
    "Classify the movie review below as positive or negative.",
    "Each of these movie reviews is marked negative or positive.",
]
RUNS = [("by hand", text, 0) for text in INSTRUCTIONS]
RUNS += [
    (method, start, seed)
    for seed in range(SEEDS)
    for method, start in (
        ("by hand, threshold moved", INSTRUCTIONS[0]),
        ("prompt tuning", INSTRUCTIONS[0]),
        ("prefix tuning", INSTRUCTIONS[0]),
        ("prompt tuning", "random"),
    )
]


def lab() -> dict[str, Any]:
    """What the solved lab defines, and its model."""
    names = solved_namespace(read(Path(__file__).with_name("lab.py")))
    names["model"], names["tokenizer"] = load_model(device="cpu", precision="fp32")
    names["model"].requires_grad_(False)
    return names


def prompt_row(names: dict[str, Any], method: str, start: str, seed: int) -> dict[str, Any]:
    """One prompt, judged on the lab's 200 sentences; what is learnt is learnt from other sentences for each seed."""
    test, pool = names["clear_sentences"](200, 400)
    positive = np.array([label == 1 for _, label in test])
    sides = [[pair for pair in pool if pair[1] == label] for label in (0, 1)]
    g = np.random.default_rng(seed)
    learn = [side[i] for side in sides for i in g.permutation(len(side))[: LEARN // 2]]
    steps, learnt, trained, loss = 0, 0, 0, float("nan")
    if method.startswith("by hand"):
        numbers = names["beginning"]("prompt tuning", start)
        found = names["odds"]("prompt tuning", numbers, test)
        if method.endswith("threshold moved"):
            learnt = LEARN
            found -= np.median(names["odds"]("prompt tuning", numbers, learn))
    else:
        steps, learnt = STEPS, LEARN
        numbers, losses = names["tune"](method, learn, steps, seed, start)
        found, trained, loss = names["odds"](method, numbers, test), numbers.numel(), float(np.mean(losses[-5:]))
    return dict(
        method=method, start=start, seed=seed, steps=steps, sentences_learnt=learnt, virtual_tokens=len(numbers),
        trainable_parameters=trained, last_losses_nats=round(loss, 4), accuracy=round(float(((found > 0) == positive).mean()), 4),
        roc_auc=round(names["in_order"](found, positive), 4),
        says_positive=round(float((found > 0).mean()), 4), source=SOURCE,
    )  # fmt: skip


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, ("method", "start", "seed"), RUNS, lambda *run: [prompt_row(names, *run)], again)


if __name__ == "__main__":
    main()
