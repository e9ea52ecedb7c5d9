"""Puts three new facts of chapter 5 into the model in four ways, for course_utils/csv/fact_edits.csv: minutes on one core.

    python chapters/05_hallucination_knowledge/editing.py            every run that the table does not have yet
    python chapters/05_hallucination_knowledge/editing.py --again    all of them

What is run stands in the lab: its exercises' solutions and its cells with the tag `ladder`, so that the table and the lab
cannot disagree. A command that was cut goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

import torch

from course_utils import data, load_model, tables
from courseware import resumable_table
from courseware.chapters import ROOT

SOURCE = "this course: chapters/05_hallucination_knowledge/editing.py"
TABLE = ROOT / "course_utils" / "csv" / "fact_edits.csv"
ITEMS = tables.load("factual_items")
NEW = ITEMS[ITEMS["kind"] == "recent"].reset_index(drop=True)
FACTS, STEPS, SENTENCES, UNRELATED = 3, 40, 8, 12
WAYS = ("context, always", "context, where it fits", "tuning", "constrained tuning")  # the lab's WAYS_IN
RUNS = [(int(number), way) for number in NEW["id"].head(FACTS) for way in WAYS]


@resumable_table.full_size()
def lab() -> dict[str, Any]:
    """The names of the lab, at full size, with the model, and with the questions that it answers rightly before any update."""
    names = resumable_table.lab_names(__file__, {}, resumable_table.imports)
    names["model"], names["tokenizer"] = load_model(device="cpu", precision="fp32")
    ask = names["ask"]
    known = ITEMS[ITEMS["kind"] == "known"].rename(columns={"question": "prompt"}).reset_index(drop=True)
    answers = ask(names["model"], names["tokenizer"], list(known["prompt"]))["answer"]
    right = [names["verdict"](a, b) == "right" for a, b in zip(answers, known["accepted"], strict=True)]
    names["unrelated"] = known[right].head(UNRELATED)
    keep = names["KEEP"]
    names["keep"] = list(zip(keep, ask(names["model"], names["tokenizer"], keep)["answer"], strict=True))
    names["texts"] = data.movie_sentences()[:SENTENCES]["text"]
    return names


@resumable_table.full_size()
def row(names: dict[str, Any], number: int, way: str) -> dict[str, Any]:
    """One fact, one way."""
    fact = NEW[NEW["id"] == number].iloc[0]
    others = list(NEW.loc[NEW["id"] != number, "question"])
    rest = (names[name] for name in ("unrelated", "keep"))
    scores, answers, names["model"] = names["update"](
        names["model"], names["tokenizer"], way, fact, others, *rest, STEPS, names["texts"]
    )
    return dict(id=number, way=way, **{k: round(v, 4) for k, v in scores.items()}, answer=answers[0], source=SOURCE)


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, ("id", "way"), RUNS, lambda *run: [row(names, *run)], again)


if __name__ == "__main__":
    main()
