"""Writes the free chains of chapter 8, and draws the chains of its votes and its challenge: ten minutes on one core.

    python chapters/08_chain_of_thought/chains.py            every part that the table does not have yet
    python chapters/08_chain_of_thought/chains.py --again    all of them

free_chains.csv: the course model answers the lab's 36 word problems in its two free styles, up to 256 tokens, greedily.
chain_samples.csv: the course model answers 30 word problems of one and two steps, eight times each, with temperature 0.7.
digit_chains.csv: a small model of the lab (style "chain", seed 1) answers 150 problems of four, of five and of six steps, eight
times each, with temperature 1. All are in course_utils/csv. Problems, prompt, training and sampling are the lab's own code, so that tables
and lab cannot disagree.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from courseware import resumable_table
from courseware.chapters import ROOT, read
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/08_chain_of_thought/chains.py"
TABLE = ROOT / "course_utils" / "csv" / "chain_samples.csv"
FREE = ROOT / "course_utils" / "csv" / "free_chains.csv"
DIGITS = ROOT / "course_utils" / "csv" / "digit_chains.csv"
PARTS = [(part,) for part in range(3)]  # of 10 problems
EACH, CHAINS, LENGTH, TEMPERATURE = 10, 8, 60, 0.7
STYLES = [("chain, zero-shot",), ("chat",)]
FREE_EACH, FREE_LENGTH = 12, 256  # problems of one, two and three steps each; tokens
STEPS = [(4,), (5,), (6,)]
SEED, FLOPS = 1, 300_000_000_000  # of the small model: of three seeds the one whose chains have most errors
PROBLEMS = 150  # for each number of steps


def lab(course_model: bool = True) -> dict[str, Any]:
    """The names of the solved lab before its challenge (which needs these tables), with course model, examples and sampling."""
    notebook = read(Path(__file__).with_name("lab.py"))
    notebook.cells = notebook.cells[: next(i for i, cell in enumerate(notebook.cells) if "Challenge: find" in cell.source)]
    names = solved_namespace(notebook)
    for cell in notebook.cells if course_model else []:
        if any(begin in cell.source for begin in ("model, tokenizer = load_model", "def draw_problems", "def continue_all")):
            exec(cell.source.split("FRIENDS =")[0], names)
    return names


def problems(names: dict[str, Any]) -> list[dict[str, Any]]:
    """15 problems of one step and 15 of two, mixed, so that each part has both."""
    one, two = (names["draw_problems"](3 * EACH // 2, steps, seed=800 + steps) for steps in (1, 2))
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
            part=part, problem=number, sample=j, steps=problem["steps"], question=problem["question"],
            answer=problem["answer"], text=texts[i * CHAINS + j].strip(), source=SOURCE,
        )
        for i, (number, problem) in enumerate(chosen)
        for j in range(CHAINS)
    ]  # fmt: skip


def free_rows(names: dict[str, Any], style: str) -> list[dict[str, Any]]:
    """The course model's greedy answers to the lab's problems, in one of the styles whose answers need not end with a line."""
    asked = [problem for steps in (1, 2, 3) for problem in names["draw_problems"](FREE_EACH, steps, seed=steps)]
    prompts = [
        names["as_chat"](problem["question"]) if style == "chat" else names["build_prompt"](problem["question"], "chain")
        for problem in asked
    ]
    texts = names["continue_all"](prompts, FREE_LENGTH, one_line=False)
    return [
        dict(
            style=style, problem=number, steps=problem["steps"], question=problem["question"], answer=problem["answer"],
            text=text.strip(), source=SOURCE,
        )
        for number, (problem, text) in enumerate(zip(asked, texts, strict=True))
    ]  # fmt: skip


def digit_rows(names: dict[str, Any], model: Any, steps: int) -> list[dict[str, Any]]:
    """The small model's chains for problems with so many steps, as text: the question, and what it wrote up to its answer."""
    problem = names["draw"](PROBLEMS, steps, torch.Generator().manual_seed(500 + steps))
    many = [part.repeat_interleave(CHAINS, 0) for part in problem]
    ids, _ = names["training_rows"](*many, "chain")
    given = 2 * steps + 2
    generator = torch.Generator().manual_seed(steps)
    new = names["write"](model, ids[:, :given], ids.shape[1] - given, temperature=1.0, generator=generator)
    answers = names["running"](*problem)[:, -1].tolist()
    return [
        dict(
            steps=steps, problem=steps * 1000 + i // CHAINS, sample=i % CHAINS, question=names["show"](question),
            answer=answers[i // CHAINS], text=re.sub(r"(!.).*", r"\1", names["show"](text)), source=SOURCE,
        )
        for i, (question, text) in enumerate(zip(ids[:, :given].tolist(), new.tolist(), strict=True))
    ]  # fmt: skip


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab(course_model=False)
    if again or not DIGITS.exists():
        model, _ = names["train"]("chain", SEED, FLOPS)
        resumable_table.fill(DIGITS, ("steps",), STEPS, lambda steps: digit_rows(names, model, steps), again)
    names = lab()
    resumable_table.fill(FREE, ("style",), STYLES, lambda style: free_rows(names, style), again)
    resumable_table.fill(TABLE, ("part",), PARTS, lambda part: rows(names, part), again)


if __name__ == "__main__":
    main()
