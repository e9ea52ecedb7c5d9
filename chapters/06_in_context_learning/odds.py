"""Scores film sentences after 18 few-shot prompts, for course_utils/csv/few_shot_odds.csv: three minutes on one core.

    python chapters/06_in_context_learning/odds.py            every prompt that the table does not have yet
    python chapters/06_in_context_learning/odds.py --again    all of them

What is run stands in the lab, in its cells with the tag `ladder`, so that the table and the lab cannot disagree. A command that
was cut goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

import torch

from course_utils import load_model
from courseware import resumable_table
from courseware.chapters import ROOT

SOURCE = "this course: chapters/06_in_context_learning/odds.py"
TABLE = ROOT / "course_utils" / "csv" / "few_shot_odds.csv"
SHOTS, DRAWS, SENTENCES = (1, 4, 8), range(100, 106), 120
RUNS = [(f"{shots} shots, draw {draw}",) for shots in SHOTS for draw in DRAWS]


@resumable_table.full_size()
def lab() -> dict[str, Any]:
    """The names of the lab, at full size, and the model."""
    names = resumable_table.lab_names(__file__, {}, resumable_table.imports)
    names["model"], names["tokenizer"] = load_model(device="cpu", precision="fp32")
    return names


@resumable_table.full_size()
def rows(names: dict[str, Any], prompt: str) -> list[dict[str, Any]]:
    """One prompt: the log-odds of every sentence after it."""
    shots, draw = (int(part) for part in prompt.replace(" shots, draw", "").split())
    sentences = names["SENTENCES"][:SENTENCES]
    logs = names["classify"](names["pick"](shots, draw), sentences)
    odds = (logs[:, 1] - logs[:, 0]).round(4)
    return [
        dict(prompt=prompt, sentence=i, label=label, odds=float(odds[i]), source=SOURCE)
        for i, (_, label) in enumerate(sentences)
    ]


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, ("prompt",), RUNS, lambda *run: rows(names, *run), again)


if __name__ == "__main__":
    main()
