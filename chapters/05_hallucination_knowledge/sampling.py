"""Asks the questions of chapter 5 eleven times each, for course_utils/csv/sampled_answers.csv: two minutes on one core.

    python chapters/05_hallucination_knowledge/sampling.py            every question that the table does not have yet
    python chapters/05_hallucination_knowledge/sampling.py --again    all of them

What is run stands in the lab, in its cells with the tag `ladder`, so that the table and the lab cannot disagree. A command that
was cut goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

import torch

from course_utils import data, load_model, tables
from courseware import resumable_table
from courseware.chapters import ROOT

SOURCE = "this course: chapters/05_hallucination_knowledge/sampling.py"
TABLE = ROOT / "course_utils" / "csv" / "sampled_answers.csv"
DRAWS, LENGTH, TOGETHER = 10, 10, 12
SEEN = 36  # of BIG-bench's questions; the lab's challenge is judged on the others
NUMBERS = {"none": "0", "one": "1", "two": "2", "three": "3", "four": "4", "six": "6", "eight": "8"}  # as figures too


def questions() -> list[dict[str, Any]]:
    """What is asked: the known and the recent questions of the course, and BIG-bench's general knowledge, not as a choice."""
    items = tables.load("factual_items")
    found = [
        dict(part=row.kind, id=int(row.id), question=row.question, accepted=row.accepted)
        for row in items[items["kind"] != "false premise"].itertuples()
    ]
    for number, row in enumerate(data.bigbench("general_knowledge").select(range(SEEN))):
        accepted = [word for target in row["targets"] for word in (target, NUMBERS.get(target)) if word]
        found.append(dict(part="bigbench", id=number, question=row["input"], accepted="|".join(accepted)))
    return found


QUESTIONS = questions()
RUNS = [(group,) for group in range(-(-len(QUESTIONS) // TOGETHER))]


@resumable_table.full_size()
def lab() -> dict[str, Any]:
    """The names of the lab, at full size, and the model."""
    names = resumable_table.lab_names(__file__, {}, resumable_table.imports)
    names["model"], names["tokenizer"] = load_model(device="cpu", precision="fp32")
    return names


@resumable_table.full_size()
def rows(names: dict[str, Any], group: int) -> list[dict[str, Any]]:
    """Some questions, a greedy answer and ten samples of each."""
    asked = QUESTIONS[TOGETHER * group : TOGETHER * (group + 1)]
    prompts = [row["question"] for row in asked]
    told = {"length": LENGTH, "examples": names["SHORT"], "batch": DRAWS * TOGETHER}
    greedy = names["ask"](names["model"], names["tokenizer"], prompts, **told)
    torch.manual_seed(group)
    drawn = names["ask"](names["model"], names["tokenizer"], prompts, draws=DRAWS, **told)["answer"]
    found = []
    for i, row in enumerate(asked):
        answer = greedy["answer"][i]
        samples = {f"sample_{n}": drawn[DRAWS * i + n] for n in range(DRAWS)}
        right = names["verdict"](answer, row["accepted"]) == "right"
        scores = {name: round(float(greedy[name][i]), 5) for name in ("confidence", "probability")}
        found.append(dict(group=group, **row, answer=answer, right=right, **scores, **samples, source=SOURCE))
    return found


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, ("group",), RUNS, lambda *run: rows(names, *run), again)


if __name__ == "__main__":
    main()
