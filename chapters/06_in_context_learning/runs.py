"""Trains the encoders and continuous prompts of chapter 6 and writes two tables: about an hour on one core.

    python chapters/06_in_context_learning/runs.py            every run that the tables do not have yet
    python chapters/06_in_context_learning/runs.py --again    all of them

The training itself stands in the lab: its functions are called here, so that the tables and the lab cannot disagree. A
row is written as soon as it is there; a command that was cut goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from course_utils import data, load_model, weights
from courseware.chapters import ROOT, read
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/06_in_context_learning/runs.py"
FOLDER = ROOT / "course_utils" / "csv"
SEEDS, STEPS, LEARN = 3, {"encoders": 450, "prompts": 30}, 64
PROMPTS = [
    (method, start, seed)
    for seed in range(SEEDS)
    for method, start in (
        ("by hand, threshold moved", "words"),
        ("prompt tuning", "words"),
        ("prefix tuning", "words"),
        ("prompt tuning", "random"),
        ("prefix tuning", "random"),
    )
]

Rows = Iterator[dict[str, Any]]


def scores(odds: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Of log P(positive) - log P(negative): what is right with the threshold at 0, and what is sorted right without one."""
    pairs = (odds[positive][:, None] > odds[~positive]).mean()
    right, says = ((odds > 0) == positive).mean(), (odds > 0).mean()
    return {"accuracy": round(right, 4), "pairs_in_order": round(pairs, 4), "says_positive": round(says, 4)}


def prompt_row(lab: dict[str, Any], method: str, start: str, seed: int) -> Rows:
    """One continuous prompt, or the threshold of the hand-written one, learnt from other sentences for each seed."""
    test, pool = lab["clear_sentences"](200, 400)
    positive = np.array([label == 1 for _, label in test])
    g = np.random.default_rng(seed)
    learn = [pool[i] for side in (0, 1) for i in 2 * g.permutation(len(pool) // 2)[: LEARN // 2] + side]
    steps, trained, losses = 0, 0, []
    if method.startswith("by hand"):
        by_hand = lab["beginning"]("prompt tuning")
        found = lab["odds"]("prompt tuning", by_hand, test)
        plain = {"method": "by hand", "start": start, "seed": seed, "steps": 0, "sentences_learnt": 0, "numbers_trained": 0}
        if seed == 0:
            yield plain | scores(found, positive)
        found -= np.median(lab["odds"]("prompt tuning", by_hand, learn))
    else:
        steps = STEPS["prompts"]
        numbers, losses = lab["tune"](method, learn, steps, seed, words=start == "words")
        found, trained = lab["odds"](method, numbers, test), numbers.numel()
    row = {"method": method, "start": start, "seed": seed, "steps": steps}
    row |= {"sentences_learnt": LEARN, "numbers_trained": trained}
    loss = {"last_losses_nats": round(float(np.mean(losses[-5:])), 4)} if losses else {}
    yield row | scores(found, positive) | loss


def encoder_rows(lab: dict[str, Any], seed: int) -> Rows:
    """A masked model and a discriminator taught by it: a row for each template."""
    test, pool = lab["clear_sentences"](200, 400)
    used = {text for text, _ in test + pool}
    texts = [text for text in data.movie_sentences()["text"] if text not in used]
    positive = np.array([label == 1 for _, label in test])
    mlm, losses = lab["train_masked_lm"](texts, STEPS["encoders"], seed)
    discriminator, counts = lab["train_discriminator"](mlm, texts, STEPS["encoders"], seed)
    hits, flagged, replaced = counts[-30:].sum(0)
    for template in lab["TEMPLATES"]:
        found = {f"masked model, {n}": lab["cloze"](lab["fill_in"](mlm, template, test), g) for n, g in lab["WORDS"].items()}
        found["discriminator"] = lab["discriminate"](discriminator, template, test)
        for encoder, (plain, after) in found.items():
            row = {"encoder": encoder, "template": template, "seed": seed, "steps": STEPS["encoders"]}
            row |= scores(plain[:, 1] - plain[:, 0], positive)
            row["calibrated_accuracy"] = scores(after[:, 1] - after[:, 0], positive)["accuracy"]
            if encoder == "discriminator":
                row |= {"replaced_found": round(hits / replaced, 4), "flags_right": round(hits / max(flagged, 1), 4)}
            else:
                row["last_losses_nats"] = round(float(np.mean(losses[-30:])), 4)
            yield row


def fill(name: str, key: list[str], runs: list[tuple[Any, ...]], make: Callable[..., Rows], again: bool) -> None:
    """Add to a table the runs that it does not have yet."""
    path = FOLDER / f"{name}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() and not again else []
    have = {tuple(row[k] for k in key) for row in rows}
    for run in runs:
        if run not in have:
            rows += [row | {"source": SOURCE} for row in make(*run)]
            print(pd.DataFrame(rows).tail(1).to_string(), flush=True)
            table = pd.DataFrame(rows)
            columns = [*(c for c in table if c != "source"), "source"]
            table[columns].to_csv(path, index=False)


def names() -> dict[str, Any]:
    """What the solved lab defines, with the models that its experiments load."""
    lab = solved_namespace(read(Path(__file__).with_name("lab.py")))
    lab["model"], lab["tokenizer"] = load_model(device="cpu", precision="fp32")
    lab["model"].requires_grad_(False)
    lab["encoder"], lab["words"] = load_model(weights.path("minilm"), task="feature-extraction", device="cpu")
    return lab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="forget what the tables hold")
    again = parser.parse_args().again
    torch.set_num_threads(1)
    lab = names()
    fill("continuous_prompts", ["method", "start", "seed"], PROMPTS, lambda *run: prompt_row(lab, *run), again)
    fill("prompted_encoders", ["seed"], [(seed,) for seed in range(SEEDS)], lambda *run: encoder_rows(lab, *run), again)


if __name__ == "__main__":
    main()
