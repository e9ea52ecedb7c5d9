"""Items a second of `course_utils.scoring.loglikelihood` against lm-evaluation-harness: same model, prompts, machine.

    .venv/bin/pip install "lm-eval[hf]>=0.4.13"      # the peer; it brings thirty packages, so the course does not
    .venv/bin/course bench scoring

Two kinds of work, both on the course model in fp32, on the CPU, batches of 16:

- few-shot: film sentences behind eight examples that all prompts share; two answers of one token each;
- choices: questions of BIG-bench's general knowledge, each with its own answers of several tokens.

Scores must agree to 1e-4 nats.
"""

from __future__ import annotations

import importlib.util
import logging
import time

from course_utils import data, load_model, scoring

BATCH = 16


def few_shot(items: int = 200) -> list[tuple[str, list[str]]]:
    """(context, continuations) of a sentiment task with eight shared examples."""
    rows = list(data.movie_sentences().shuffle(seed=0).select(range(items + 8)))
    words = [" positive" if row["score"] > 0 else " negative" for row in rows]
    head = "".join(f"Review: {r['text']}\nSentiment:{w}\n\n" for r, w in zip(rows[:8], words, strict=False))
    return [(f"{head}Review: {row['text']}\nSentiment:", [" positive", " negative"]) for row in rows[8:]]


def choices() -> list[tuple[str, list[str]]]:
    """(context, continuations) of questions with answers of several tokens."""
    rows = data.bigbench("general_knowledge")
    return [(f"Question: {row['input']}\nAnswer:", [f" {choice}" for choice in row["choices"]]) for row in rows]


def main() -> None:
    if importlib.util.find_spec("lm_eval") is None:
        print('The peer is not installed. Run: .venv/bin/pip install "lm-eval[hf]>=0.4.13"')
        return
    logging.disable(logging.WARNING)
    import lm_eval
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = load_model(precision="fp32", device="cpu")
    peer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, device="cpu")
    print(f"lm-eval {lm_eval.__version__}, course model, batches of {BATCH}")
    for name, work in (("few-shot", few_shot()), ("choices", choices())):
        contexts, continuations = [context for context, _ in work], [list(listed) for _, listed in work]
        scoring.loglikelihood(
            model, tokenizer, contexts[:2], continuations[:2], progress=False
        )  # warm before the clock runs
        started = time.perf_counter()
        ours = scoring.loglikelihood(model, tokenizer, contexts, continuations, batch_size=BATCH, progress=False)
        middle = time.perf_counter()
        requests = [
            Instance("loglikelihood", {}, (prompt, option), i)
            for i, (prompt, option) in enumerate((p, o) for p, listed in work for o in listed)
        ]
        theirs = peer.loglikelihood(requests, disable_tqdm=True)
        ended = time.perf_counter()
        apart = max(abs(value - score) for value, (score, _) in zip(ours["loglikelihood"], theirs, strict=True))
        greedy = sum(bool(a) != bool(b) for a, (_, b) in zip(ours["is_greedy"], theirs, strict=True))
        assert apart < 1e-4 and not greedy, f"scores differ by {apart} nats, {greedy} greedy flags"
        mine, peers = len(work) / (middle - started), len(work) / (ended - middle)
        print(
            f"{name:<9} {len(work)} prompts, {len(ours)} options: course_utils {mine:.2f} prompts/s, lm-eval {peers:.2f}; "
            f"ratio {mine / peers:.2f}; largest difference {apart:.1e} nats"
        )


if __name__ == "__main__":
    main()
