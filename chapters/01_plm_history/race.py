"""Trains the models of lab 01 and writes course_utils/csv/{architecture_race,pretraining_worth}.csv: half an hour on one core.

    python chapters/01_plm_history/race.py            every run that the tables do not have yet
    python chapters/01_plm_history/race.py --again    all of them

The training itself is in the lab: its cells with the tag `ladder` are run here, so that the tables and the lab cannot disagree.
A run that was cut goes on where it stopped.
"""

from __future__ import annotations

import math
import random
import textwrap
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from tqdm.auto import tqdm

from course_utils import data, load_model, weights
from courseware import resumable_table
from courseware.chapters import ROOT

SOURCE = "this course: chapters/01_plm_history/race.py"
RACE, WORTH = (ROOT / "course_utils" / "csv" / f"{name}.csv" for name in ("architecture_race", "pretraining_worth"))
RACE_KEYS = ("model", "steps", "rate", "seed")
KINDS = ("encoder-decoder", "encoder", "decoder")
RATES = (0.006, 0.012)  # the first two; then halved or doubled until that makes it worse
SHORT, LONG, SEEDS = 400, 2000, 3  # steps of the runs that choose a rate, and of those that count
WORTH_KEYS = ("classifier", "labels", "rate", "seed", "part")
STARTS, BASELINES, LABELS = ("fine-tuned", "from scratch"), ("TF-IDF", "linear probe"), (64, 512, 4096, 9000)
WORTH_RATES = (5e-5, 2e-4, 8e-4)
EPOCHS = {64: 12, 128: 8, 512: 6}  # by the number of labels
CHOICE, TEST = range(9000, 9300), range(9300, 9900)  # sentences that choose a rate, and those that count

Run = tuple[Any, ...]


def lab() -> dict[str, Any]:
    """The names that the lab's `ladder` cells define."""
    names = dict(
        math=math, random=random, np=np, torch=torch, nn=nn, F=F, tqdm=tqdm, textwrap=textwrap, data=data, weights=weights,
        load_model=load_model, TfidfVectorizer=TfidfVectorizer, LogisticRegression=LogisticRegression,
        GridSearchCV=GridSearchCV, StandardScaler=StandardScaler, make_pipeline=make_pipeline,
    )  # fmt: skip
    return resumable_table.lab_names(__file__, names)


def race_rows(names: dict[str, Any], model: str, steps: int, rate: float, seed: int) -> list[dict[str, Any]]:
    """One training, a row for each exam; a decoder also takes the exams inside a sentence with the left side only."""
    trained, _, questions = names["pretrain"](model, steps, rate, seed)
    rows = []
    for task in names["TASKS"]:
        for left_only in (False, True) if model == "decoder" and task != "continue by 3" else (False,):
            choice, exam = (names["exam"](trained, names[part], task, left_only) for part in ("choice_rows", "exam_rows"))
            rows.append(
                dict(
                    model=model, steps=steps, rate=rate, seed=seed, questions=questions, task=task, left_only=left_only,
                    choice_nats=round(sum(choice) / len(choice), 4), exam_nats=round(sum(exam) / len(exam), 4),
                    sentences=len(exam), source=SOURCE,
                )
            )  # fmt: skip
    return rows


def by_rate(table: pd.DataFrame, model: str) -> pd.Series:
    """What each rate gives in a short run: mean nats over the three exams, on the sentences kept for that choice."""
    runs = table[(table.model == model) & (table.steps == SHORT) & ~table.left_only]
    return runs.groupby("rate")["choice_nats"].mean()


def next_rate(table: pd.DataFrame, model: str) -> float | None:
    """The rate to be tried next; None when the best one has a worse one on both sides."""
    tried = by_rate(table, model)
    best = float(tried.idxmin())
    return best / 2 if best == tried.index.min() else best * 2 if best == tried.index.max() else None


def frozen_vectors(names: dict[str, Any]) -> dict[int, Any]:
    """MiniLM's vector of every training and test sentence, computed once."""
    if "frozen" not in names:
        everyone = [*range(9000), *TEST]
        vectors = names["by_length"](names["Classifier"](True).eval().vectors, everyone).numpy()
        names["frozen"] = dict(zip(everyone, vectors, strict=True))
    return dict(names["frozen"])


def worth_row(names: dict[str, Any], classifier: str, labels: int, rate: float, seed: int, part: str) -> dict[str, Any]:
    """One classifier of praise, trained on so many labelled sentences; `part`: which sentences it is asked."""
    asked = list(CHOICE if part == "choice" else TEST)
    chosen, epochs, in_training = names["drawn"](labels, seed), EPOCHS.get(labels, 0), None
    if classifier in ("fine-tuned", "from scratch"):
        answers, in_training = names["finetune"](classifier == "fine-tuned", chosen, asked, seed, epochs, rate)
    elif classifier == "linear probe":
        answers = names["linear_probe"](frozen_vectors(names), chosen, asked)
    else:
        answers = names["tfidf"](chosen, asked)
    return dict(
        classifier=classifier, labels=labels, rate=rate, seed=seed, part=part, epochs=epochs if rate else 0,
        right=int((answers == names["labels"][asked]).sum()), sentences=len(asked), right_in_training=in_training,
        source=SOURCE,
    )  # fmt: skip


def short_runs(table: pd.DataFrame | None = None) -> list[Run]:
    """One for each model and rate: they choose the rate."""
    first = [(model, SHORT, rate, 0) for model in KINDS for rate in RATES]
    if table is None:
        return first
    have = table[table.steps == SHORT]
    more = [(model, SHORT, rate, 0) for model in KINDS for rate in sorted(set(have[have.model == model].rate) - {*RATES})]
    return first + more + [(model, SHORT, rate, 0) for model in KINDS if (rate := next_rate(table, model))]


def long_runs(table: pd.DataFrame) -> list[Run]:
    """Three seeds for each model, at the rate that the short runs chose."""
    return [(model, LONG, float(by_rate(table, model).idxmin()), seed) for seed in range(SEEDS) for model in KINDS]


def best_worth_rate(start: str, table: pd.DataFrame | None = None) -> float:
    """The rate with most right answers on the sentences kept for that choice."""
    table = pd.read_csv(WORTH) if table is None else table
    choice = table[(table.part == "choice") & (table.classifier == start)]
    return float(choice.set_index("rate")["right"].idxmax())


def choosing_runs() -> list[Run]:
    """What needs no rate (0), and one run for each network and rate."""
    ready = [(name, labels, 0.0, seed, "test") for name in BASELINES for labels in LABELS for seed in range(SEEDS)]
    return [*ready, *((start, 128, rate, 0, "choice") for start in STARTS for rate in WORTH_RATES)]


def worth_runs(table: pd.DataFrame) -> list[Run]:
    """All of them, the networks at the rates that were chosen."""
    best = {start: best_worth_rate(start, table) for start in STARTS}
    return [
        *choosing_runs(),
        *((start, labels, best[start], seed, "test") for start in STARTS for labels in (64, 512) for seed in range(SEEDS)),
    ]


def fill_race(names: dict[str, Any], again: bool) -> None:
    def make(*run: Any) -> list[dict[str, Any]]:
        return race_rows(names, *run)

    resumable_table.fill(RACE, RACE_KEYS, short_runs(), make, again)
    while any(next_rate(table := pd.read_csv(RACE), model) for model in KINDS):
        resumable_table.fill(RACE, RACE_KEYS, short_runs(table), make)
    resumable_table.fill(RACE, RACE_KEYS, [*short_runs(table), *long_runs(table)], make)


def fill_worth(names: dict[str, Any], again: bool) -> None:
    def make(*run: Any) -> list[dict[str, Any]]:
        return [worth_row(names, *run)]

    resumable_table.fill(WORTH, WORTH_KEYS, choosing_runs(), make, again)
    resumable_table.fill(WORTH, WORTH_KEYS, worth_runs(pd.read_csv(WORTH)), make)


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    fill_race(names, again)
    fill_worth(names, again)


if __name__ == "__main__":
    main()
