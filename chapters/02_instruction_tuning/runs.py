"""Trains what chapter 2 shows and has no time for, and writes course_utils/csv/base_to_assistant{,_loss}.csv.

    python chapters/02_instruction_tuning/runs.py            every run that the tables do not have yet
    python chapters/02_instruction_tuning/runs.py --again    all of them

About 20 minutes on one core that multiplies in bf16 (AMX), longer elsewhere. Training, measuring and the rubric are the lab's: its
functions are called here, so that tables and lab cannot disagree. A command that was cut goes on where it stopped; until it is
through, the base model is kept beside the course's files.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import data, load_model
from course_utils.weights import cache_dir
from courseware import resumable_table
from courseware.chapters import ROOT, read
from courseware.files import whole
from courseware.verify import solved_namespace

SOURCE = "this course: chapters/02_instruction_tuning/runs.py"
CSV = ROOT / "course_utils" / "csv"
Rows = list[dict[str, Any]]

# A base model becomes an assistant
ITEMS, TRAINED, FORGET = 20, 160, 60
KINDS = {
    "question": ("linguistic_mappings/question_formation_json", "Turn this statement into a question: {}"),
    "past": ("linguistic_mappings/past_tense_json", 'What is the past tense of the verb "{}"?'),
    "fact": ("natural_instructions/subtask041_qasc_answer_generation", "{}\nAnswer with words of the fact."),
    "ask": ("natural_instructions/subtask040_qasc_question_generation", "{}\nWrite a question that this fact answers."),
    "quiz": ("general_knowledge", "{}"),  # kept back: never trained
}
ASSISTANT_RUNS = [("as shipped", 0), ("base", 0), *(("tuned", seed) for seed in range(3))]
RATES = {"forget": 3e-4, "assistant": 1e-4}


def lab() -> dict[str, Any]:
    """What the solved lab defines, and its model."""
    names = solved_namespace(read(Path(__file__).with_name("lab.py")))
    fresh_model(names)
    return names


def fresh_model(names: dict[str, Any]) -> Any:
    """The course model as it is shipped, which the lab's functions use from now on."""
    names["model"], _ = load_model(device="cpu", precision="fp32")
    names["model"].generation_config.eos_token_id = names["STOP"]
    return names["model"]


def in_bf16() -> Any:
    """Multiply in bf16. Without the cache: it would keep the parameters as they were at the first step, for as long as it lasts."""
    return torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False)


def half(network: Any) -> Any:
    """A copy for measuring, in bf16."""
    return copy.deepcopy(network).to(torch.bfloat16).eval()


def questions(kind: str) -> list[dict[str, Any]]:
    """Prompts of one kind with every right answer; the first `ITEMS` are kept back."""
    task, text = KINDS[kind]
    made = []
    for row in data.bigbench(task).shuffle(seed=0):
        targets = [target.strip().rstrip(".") for target in row["targets"]]
        answer = f"{targets[0][0].upper()}{targets[0][1:]}?" if kind == "question" else targets[0]
        made.append({"prompt": text.format(row["input"].replace(" \n", "\n")), "answer": answer, "targets": targets})
    return [row for row in made if len(row["prompt"]) < 160]


def plain_text(names: dict[str, Any], length: int = 64) -> torch.Tensor:
    """Blocks of tokens from Wikipedia's and the critics' sentences: text that nobody says to anybody."""
    wiki = [names["example_of"](row)["premise"] for row in data.bigbench("vitaminc_fact_verification").select(range(6000))]
    texts = list(dict.fromkeys(wiki)) + [row["text"] for row in data.movie_sentences().select(range(1500))]
    g = np.random.default_rng(0)
    ids = [i for t in g.permutation(len(texts)) for i in names["tokenizer"](texts[t] + "\n")["input_ids"]]
    return torch.tensor(ids[: len(ids) // length * length]).view(-1, length)


def forget(names: dict[str, Any], steps: int) -> tuple[Any, list[float]]:
    """The course model without its instruction tuning, as far as we can take it away: the two marks of the template become
    noise, and every parameter is trained on plain text."""
    model, tokenizer = fresh_model(names), names["tokenizer"]
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        g = torch.Generator().manual_seed(0)
        for mark in names["MARKS"]:
            noise = torch.randn(table.shape[1], generator=g) * table.std(0)
            table[tokenizer.convert_tokens_to_ids(mark)] = table.mean(0) + noise
    blocks, losses = plain_text(names), []
    order = np.random.default_rng(1).permutation(len(blocks))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES["forget"], weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATES["forget"], total_steps=FORGET, pct_start=0.1)
    model.train()
    for step in range(steps):
        ids = blocks[order[16 * step : 16 * step + 16]]
        with in_bf16():
            logits = model(input_ids=ids).logits.float()
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), losses


@torch.inference_mode()
def answers(names: dict[str, Any], network: Any, prompts: list[str], length: int = 24) -> list[tuple[str, bool]]:
    """What a model writes, greedily, and whether it ended its turn."""
    tokenizer = names["tokenizer"]
    tokenizer.padding_side = "left"
    batch = tokenizer([names["in_template"](prompt) for prompt in prompts], return_tensors="pt", padding=True)
    out = network.generate(
        **batch, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.pad_token_id, eos_token_id=names["STOP"]
    )
    new = out[:, batch["input_ids"].shape[1] :]
    return [(tokenizer.decode(row, skip_special_tokens=True), names["STOP"] in row.tolist()) for row in new]


def examined(names: dict[str, Any], network: Any, stage: str, seed: int) -> Iterator[dict[str, Any]]:
    """Every kept-back prompt, answered and judged."""
    twin = half(network)
    for kind in KINDS:
        asked = questions(kind)[:ITEMS]
        for i, (row, (said, ended)) in enumerate(
            zip(asked, answers(names, twin, [row["prompt"] for row in asked]), strict=True)
        ):
            yield dict(
                seed=seed, stage=stage, kind=kind, item=i, prompt=row["prompt"], answer=said, ended=ended,
                right=bool(names["rubric"](kind, said, row["targets"])), targets="|".join(row["targets"]), source=SOURCE,
            )  # fmt: skip


def kept_base() -> Path:
    """Where the base model waits for the trainings that begin with it."""
    return cache_dir() / "chapter-02-base.pt"


def base_model(names: dict[str, Any]) -> tuple[Any, list[float]]:
    """The base model and its training losses, made once."""
    kept = kept_base()
    if not kept.exists():
        model, losses = forget(names, FORGET)
        with whole(kept) as scratch:
            torch.save((model.state_dict(), losses), scratch)
    state, losses = torch.load(kept)
    model = fresh_model(names)
    model.load_state_dict(state)
    return model, losses


def conversations(names: dict[str, Any], seed: int) -> tuple[list[Any], list[Any]]:
    """What is trained, drawn by the seed, and what is kept back: six of each kind."""
    g, learn, kept = np.random.default_rng(seed), [], []
    for kind in KINDS:
        asked = questions(kind)
        back = {row["prompt"] for row in asked[:ITEMS]}
        rest = [row for row in asked[ITEMS:] if row["prompt"] not in back]
        if kind != "quiz":
            learn += [names["conversation"](rest[i]) for i in g.permutation(len(rest))[:TRAINED]]
            kept += [names["conversation"](row) for row in asked[:6]]
    return learn, kept


def assistant_rows(names: dict[str, Any], stage: str, seed: int) -> tuple[Rows, Rows]:
    """The answers at one stage, from the course model to a base model to an assistant, and the losses on the way there."""
    if stage == "as shipped":
        return list(examined(names, fresh_model(names), stage, seed)), []
    model, losses = base_model(names)
    if stage == "base":
        curves = [curve(stage, seed, step, "training", loss) for step, loss in enumerate(losses, 1)]
        return list(examined(names, model, stage, seed)), curves
    learn, kept = conversations(names, seed)
    curves = []

    @torch.inference_mode()
    def held_out(step: int) -> None:
        if step % 5 == 0:
            curves.append(curve(stage, seed, step, "held out", float(names["answers_loss"](model, kept))))

    with in_bf16():
        held_out(0)
        trained = names["fine_tune"](model, learn, RATES["assistant"], seed, each=held_out)
    curves += [curve(stage, seed, step, "training", loss) for step, loss in enumerate(trained, 1)]
    return list(examined(names, model, stage, seed)), curves


def curve(stage: str, seed: int, step: int, part: str, loss: float) -> dict[str, Any]:
    return dict(stage=stage, seed=seed, step=step, part=part, loss_nats=round(loss, 4), source=SOURCE)


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    names = lab()
    keys = ("stage", "seed")

    def answers_and_losses(stage: str, seed: int) -> Rows:
        rows, curves = assistant_rows(names, stage, seed)
        if curves:
            resumable_table.fill(CSV / "base_to_assistant_loss.csv", keys, [(stage, seed)], lambda *_: curves)
        return rows

    if again:
        for old in (kept_base(), CSV / "base_to_assistant_loss.csv"):
            old.unlink(missing_ok=True)
    resumable_table.fill(CSV / "base_to_assistant.csv", keys, ASSISTANT_RUNS, answers_and_losses, again)
    kept_base().unlink(missing_ok=True)


if __name__ == "__main__":
    main()
