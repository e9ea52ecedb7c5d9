"""Training tokens a second and peak memory of lab 12's loop against transformers.Trainer + PEFT, in one run.

    course bench finetune

Same model (the course model, fp32, CPU), same LoRA places and first weights, same sentences in the same batches of 8 without
dropout, same optimizer, learning rates and clipping, the same loss: that of the label word. Each run is a process of its own
and says its own peak; the two take turns. The lab's functions are read from the lab itself.

The lab's loop may do less work for the same result: logits at one place of a text instead of at all, and the frozen layers
once instead of in every epoch. Its clock includes computing what it keeps of them. The first line of the table is its loop
without that cache. The losses must agree to 1 % at every step.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

REPEATS, EPOCHS, BATCHES, SIZE, RATE = 3, 2, 6, 8, 2e-3
SIDES = ("fit", "fit, cached", "Trainer")


def work() -> dict[str, Any]:
    """The lab's names, the model with its adapter, tokens and label words of the sentences."""
    import torch
    from peft import LoraConfig, get_peft_model

    from course_utils import data, load_model
    from courseware.chapters import chapter, read
    from courseware.verify import solved_namespace

    lab = solved_namespace(read(chapter("12").lab_source))
    model, tokenizer = load_model(precision="fp32", device="cpu")
    layers = model.config.num_hidden_layers
    torch.manual_seed(0)
    places = list(range(layers * 9 // 10, layers))
    tuned = get_peft_model(model, LoraConfig(**lab["LORA"], layers_to_transform=places))
    rows, words, ids = [], [], lab["label_ids"](tokenizer, lab["ENGLISH"])
    for sentence in data.movie_sentences().shuffle(seed=0):
        if len(tokenizer(sentence["text"])["input_ids"]) <= 32 and sentence["score"]:
            rows.append(lab["encode"](tokenizer, sentence["text"], lab["ENGLISH"])[0])
            words.append(ids[sentence["score"] > 0])
    count = BATCHES * SIZE
    return {"lab": lab, "model": model, "tuned": tuned, "rows": rows[:count], "words": words[:count], "frozen": places[0]}


def ours(made: dict[str, Any], cached: bool) -> list[float]:
    """Losses of the lab's loop."""
    import torch
    from torch.nn.functional import cross_entropy

    lab, model, rows = made["lab"], made["model"], made["rows"]
    targets = torch.tensor(made["words"])
    lower, upper = lab["piece"](model, slice(made["frozen"])), lab["piece"](model, slice(made["frozen"], None), last=True)
    states = lab["hidden_states"](lower, rows) if cached else None

    def loss_of(chosen: range) -> Any:
        mine = [states[i] for i in chosen] if states else lab["hidden_states"](lower, [rows[i] for i in chosen])
        return cross_entropy(lab["next_logits"](upper, model.lm_head, mine), targets[list(chosen)])

    batches = [range(i, i + SIZE) for _ in range(EPOCHS) for i in range(0, len(rows), SIZE)]
    learning = [p for p in made["tuned"].parameters() if p.requires_grad]
    return lab["fit"](learning, batches, loss_of, RATE)  # type: ignore[no-any-return]


def theirs(made: dict[str, Any]) -> list[float]:
    """Losses of Trainer."""
    import tempfile

    import torch
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    losses: list[float] = []

    def batch(chosen: list[int]) -> dict[str, torch.Tensor]:
        ids, mask = made["lab"]["pad"]([torch.tensor([*made["rows"][i], made["words"][i]]) for i in chosen])
        last = torch.arange(ids.shape[1]) == mask.sum(1, keepdim=True) - 1
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(last, ids, -100)}

    class InOrder(Trainer):  # type: ignore[misc]
        """Trainer with our order of sentences; it keeps its losses unrounded."""

        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(range(len(made["rows"])), batch_size=SIZE, collate_fn=batch)  # type: ignore[arg-type]

        def compute_loss(self, *given: Any, **options: Any) -> Any:
            out = super().compute_loss(*given, **options)
            losses.append(float(out[0] if isinstance(out, tuple) else out))
            return out

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=SIZE,
            learning_rate=RATE,
            lr_scheduler_type="linear",
            weight_decay=0.0,
            max_grad_norm=1.0,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = InOrder(made["tuned"], settings, train_dataset=made["rows"])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return losses


def measure(side: str) -> None:
    """One run in this process; prints what it found as the last line."""
    import time

    from courseware.measure import peak

    made = work()
    made["tuned"].train()
    before = peak()
    started = time.perf_counter()
    losses = theirs(made) if side == "Trainer" else ours(made, side == "fit, cached")
    seconds = time.perf_counter() - started
    tokens = EPOCHS * sum(map(len, made["rows"]))
    found = {"losses": losses, "speed": tokens / seconds, "peak": peak(), "grown": peak() - before}
    print(json.dumps(found))


def main() -> None:
    """Print speed, memory, their ratios and how far the losses are apart."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(REPEATS):  # in turn, so that all meet the same machine
        for side in SIDES:
            done = subprocess.run([sys.executable, __file__, side], capture_output=True, text=True, encoding="utf-8")
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"medians of {REPEATS} processes each: {EPOCHS} epochs of {BATCHES} batches of {SIZE} sentences")
    print(f"{'':<14}{'tokens/s':>10}{'peak, GB':>10}{'of which training':>20}")
    middle = {s: {k: statistics.median(r[k] for r in runs[s]) for k in ("speed", "peak", "grown")} for s in SIDES}
    for side, found in middle.items():
        print(f"{side:<14}{found['speed']:>10.1f}{found['peak'] / 1e9:>10.2f}{found['grown'] / 1e9:>20.2f}")
    for side in SIDES[:-1]:
        pairs = zip(runs[side][0]["losses"], runs["Trainer"][0]["losses"], strict=True)
        apart = max(abs(a - b) / b for a, b in pairs)
        assert apart < 0.01, f"the losses of {side} and Trainer differ by {apart:.1%}"
        speed, peak = (middle[side][k] / middle["Trainer"][k] for k in ("speed", "peak"))
        print(
            f"{side} / Trainer: speed {speed:.2f} (wanted: 1 or more), peak memory {peak:.2f}; losses differ by {apart:.3%}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()
