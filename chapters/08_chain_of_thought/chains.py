"""Draws the chains of chapter 8's votes and of its challenge, course_utils/csv/chain_samples.csv: six minutes on one core.

    python chapters/08_chain_of_thought/chains.py            every part that the table does not have yet
    python chapters/08_chain_of_thought/chains.py --again    all of them

The course model answers 60 word problems of one and two steps, eight times each, with temperature 0.7. The first 30 are the
lab's; the grader has the others. Problems, prompt and sampling are the lab's own code, so that table and lab cannot disagree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from courseware import resumable_table
from courseware.chapters import ROOT, read
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/08_chain_of_thought/chains.py"
TABLE = ROOT / "course_utils" / "csv" / "chain_samples.csv"
PARTS = [(part,) for part in range(6)]  # of 10 problems
EACH, CHAINS, LENGTH, TEMPERATURE = 10, 8, 60, 0.7


def lab() -> dict[str, Any]:
    """The names of the solved lab before its challenge (which needs this table), with course model, examples and sampling."""
    notebook = read(Path(__file__).with_name("lab.py"))
    notebook.cells = notebook.cells[: next(i for i, cell in enumerate(notebook.cells) if "Challenge: find" in cell.source)]
    names = solved_namespace(notebook)
    for cell in notebook.cells:
        if any(begin in cell.source for begin in ("model, tokenizer = load_model", "def draw_problems", "def continue_all")):
            exec(cell.source.split("FRIENDS =")[0], names)
    return names


def problems(names: dict[str, Any]) -> list[dict[str, Any]]:
    """30 problems of one step and 30 of two, mixed, so that each part has both."""
    one, two = (names["draw_problems"](3 * EACH, steps, seed=800 + steps) for steps in (1, 2))
    return [problem for pair in zip(one, two, strict=True) for problem in pair]


def rows(names: dict[str, Any], part: int) -> list[dict[str, Any]]:
    """The chains of one part's problems."""
    chosen = list(enumerate(problems(names)))[part * EACH : (part + 1) * EACH]
    prompts = [names["build_prompt"](problem["question"], "chain", names["examples"]) for _, problem in chosen]
    texts = names["continue_all"](
        [prompt for prompt in prompts for _ in range(CHAINS)], LENGTH, temperature=TEMPERATURE, seed=part, batch=CHAINS * EACH
    )
    return [
        dict(
            part=part, problem=number, steps=problem["steps"], question=problem["question"], answer=problem["answer"],
            text=texts[i * CHAINS + j].strip(), source=SOURCE,
        )
        for i, (number, problem) in enumerate(chosen)
        for j in range(CHAINS)
    ]  # fmt: skip


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    resumable_table.fill(TABLE, ("part",), PARTS, lambda part: rows(names, part), again)


if __name__ == "__main__":
    main()
