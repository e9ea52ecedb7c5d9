"""Trains the small models of chapter 13 and writes course_utils/csv/reasoning_*.csv: about an hour on one core.

    python chapters/13_reasoning_rl/rewards.py --base          the base model, course_utils/checkpoints/reasoning_base.safetensors
    python chapters/13_reasoning_rl/rewards.py                 every run that the tables do not have yet
    python chapters/13_reasoning_rl/rewards.py --again         all of them

On sixteen cores, in three minutes (parts 0/16 to 15/16 side by side; each has tables of its own in build/rewards):

    python chapters/13_reasoning_rl/rewards.py --part 3/16 --search     first every part of the search for learning rates,
    python chapters/13_reasoning_rl/rewards.py --part 3/16              then, when all are done, every part of the runs,
    python chapters/13_reasoning_rl/rewards.py --merge                  and at last the parts' tables into the course's

What is run stands in the lab: its exercises' solutions and its cells with the tag `ladder`, so that the tables and the lab
cannot disagree. A command that was cut goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from courseware import resumable_table
from courseware.chapters import ROOT, tags

SOURCE = "this course: chapters/13_reasoning_rl/rewards.py"
CSV, PARTS = ROOT / "course_utils" / "csv", ROOT / "build" / "rewards"
BASE = ROOT / "course_utils" / "checkpoints" / "reasoning_base.safetensors"
KEYS, HACK_KEYS, CONTROL_KEYS = ("method", "rate", "seed"), ("reward", "beta", "seed"), ("control", "seed")
PROBLEM_KEYS = ("method", "temperature", "seed")
SHOWN = ("base", "base, chain begun", "GRPO", "STaR", "SFT, chains")  # the methods whose problems are kept
TOKENS = 320_000  # that are sampled (or, by SFT, shown) in each run
WATCH, SEARCH_WATCH = (0, 12_500, 25_000, 50_000, 100_000, 200_000, TOKENS), (TOKENS // 2, TOKENS)
MANY, VOTES = 64, (1, 2, 4, 8, 16, 32, 64)
HACK_WATCH, HACK_RATE, HACK_SPARE = (0, 25_000, 50_000, 100_000, 200_000, 300_000), 3e-4, 24
RATES, IMITATION = (1e-4, 3e-4, 1e-3), (3e-4, 1e-3, 3e-3)  # demonstrations bear larger steps
METHODS = (
    "GRPO", "GRPO, no std", "Dr. GRPO", "GRPO, KL", "REINFORCE, batch baseline", "REINFORCE, no baseline", "STaR",
    "rejection sampling", "SFT, chains", "SFT, as the base",
)  # fmt: skip
SEEDS, SEARCHED = range(5), 100
SEARCH = [
    (method, rate, SEARCHED)
    for method in METHODS
    for rate in (
        IMITATION if method.startswith("SFT") else (*RATES, 3e-3) if method in ("STaR", "rejection sampling") else RATES
    )
]
SEARCH += [
    (method, 3e-5, SEARCHED) for method in ("GRPO", "GRPO, no std")
]  # whose best rate was the lowest; it is not beyond
# Sampled as it is, or with the first sign of a chain given; in place of a learning rate the temperature.
RAW = [
    *(("base", temperature, 0) for temperature in (1.0, 0.5, 0.1)),
    ("base, chain begun", 1.0, 0),
    ("base, chain begun", 0.1, 0),
]
# Controls: a coin's rewards; another rate of STaR; all right texts, repeated ones too; a reward for a step, right or wrong; each
# batch used for sixteen updates in place of four.
CONTROLS: dict[str, dict[str, Any]] = {
    "random rewards": dict(method="GRPO", when=WATCH[:5]),
    "paid for a step": dict(method="GRPO"),
    "STaR, rate 0.0001": dict(method="STaR"),
    "rejection sampling, repeats kept": dict(method="rejection sampling, repeats kept"),
    "STaR, repeats kept": dict(method="STaR, repeats kept"),
    "GRPO, 16 updates": dict(method="GRPO", updates=16),
    "GRPO, 16 updates, no clipping": dict(method="GRPO, no clipping", updates=16),
}
CONTROL_RATE = 1e-4
CONTROL_RUNS = [(name, seed) for name in CONTROLS for seed in SEEDS]
TEMPERATURES = (0.1, 0.5, 1.0, 1.5)  # at which GRPO's models are sampled, and the untrained ones at the first three
HACKS = [(reward, 0.0, seed) for seed in range(3) for reward in ("pays_for_steps", "only_right")]


def lab() -> dict[str, Any]:
    """The names of the lab: imports, solutions, `ladder` cells."""

    def also(cell: Any) -> bool:
        return any(tag.startswith("exercise:") for tag in tags(cell)) or resumable_table.imports(cell)

    return resumable_table.lab_names(__file__, {}, also)


def make_base(names: dict[str, Any], steps: int = 2500, batch: int = 40, most: int = 6, rate: float = 0.006) -> Any:
    """A decoder that has seen as many direct answers as chains, of one to `most` steps, and was stopped early."""
    torch.manual_seed(0)
    model, generator = names["decoder"](), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    for i in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, (i + 1) / 50) * (0.55 + 0.45 * math.cos(math.pi * i / steps))
        count, loss = 1 + i % min(most, 1 + 2 * most * i // steps), torch.zeros(())
        for style in ("direct", "chain"):
            ids = names["demonstrations"](names["draw"](batch, count, generator), style)
            logits, labels = model(ids[:, :-1]).logits, ids[:, 1:].clone()
            labels[:, : 2 * count + 2] = -100
            loss = loss + F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
        optimizer.zero_grad()
        (loss / (batch * 5 * count)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def exam(
    names: dict[str, Any],
    model: Any,
    steps: int,
    count: int,
    group: int,
    seed: int,
    temperature: float = 1.0,
    begun: bool = False,
) -> tuple[torch.Tensor, dict[str, float], list[str]]:
    """Rewards (count, group) for `group` texts about each of `count` problems; lengths, entropy and the like; the answers.

    `begun`: the first sign of the chain, which is the question's first one, is given, so that no text is a direct answer.
    """
    problem = names["draw"](count, steps, torch.Generator().manual_seed(seed + steps))
    prompts, truth = names["questions"](*problem), names["running"](*problem)[:, -1].tolist()
    if begun:
        prompts = torch.cat([prompts, prompts[:, 2:3]], 1)
    found, tokens, nats, chains, answers = [], 0.0, 0.0, 0.0, []
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, count, 16):
        some = prompts[first : first + 16]
        new, logs = names["sample_group"](model, some, group, names["room"](steps), generator, temperature)
        mask, texts = names["written"](new), names["texts_of"](new)
        wanted = [answer for answer in truth[first : first + 16] for _ in range(group)]
        found += [names["verify"](text, answer) for text, answer in zip(texts, wanted, strict=True)]
        answers += [text.partition("!")[2] for text in texts]
        tokens, nats = tokens + float(mask.sum()), nats - float((logs * mask).sum())
        chains += sum("=" in text for text in texts)
    right, total = torch.tensor(found).view(count, group), count * group
    return right, dict(length=tokens / total, entropy=nats / tokens, chains=chains / total), answers


def measured(names: dict[str, Any], model: Any, last: bool, **how: Any) -> dict[str, Any]:
    """What the table says of a model: the test's problems of three and four steps, longer ones; at the end the validation's."""
    shares: dict[str, Any] = {}
    tests = [exam(names, model, steps, 48, 16, 10**6, **how) for steps in (3, 4)]
    right = torch.cat([test[0] for test in tests])
    shares["pass_1"], shares["pass_16"] = float(right.mean()), float(right.amax(1).mean())
    for what in ("length", "entropy", "chains"):
        shares[what] = sum(test[1][what] for test in tests) / len(tests)
    shares["longer"] = float(torch.cat([exam(names, model, steps, 48, 8, 10**6, **how)[0] for steps in (5, 6)]).mean())
    if last:
        shares["validation"] = float(
            torch.cat([exam(names, model, steps, 96, 8, 2 * 10**6, **how)[0] for steps in (3, 4)]).mean()
        )
    return {what: round(share, 4) for what, share in shares.items()}


def supervised(names: dict[str, Any], method: str, rate: float, seed: int, budget: int, watch: Callable[..., None]) -> None:
    """More of the base's own demonstrations, or chains alone, until `budget` tokens have been shown."""
    model, generator, tokens, batch = names["base_model"](), torch.Generator().manual_seed(seed), 0, 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    size = names["PROBLEMS"] * names["GROUP"] // 4  # as many texts in an update as the other methods have
    styles = {"SFT, as the base": ("direct", "chain"), "SFT, chains": ("chain", "chain")}[method]
    watch(0, model, {})
    while tokens < budget:
        count = names["TRAINED"][batch % len(names["TRAINED"])]
        for _ in range(4):
            loss, shown = torch.zeros(()), 0
            for style in styles:
                ids, asked = names["demonstrations"](names["draw"](size // 2, count, generator), style), 2 * count + 3
                loss = loss - names["log_probs"](model, ids[:, :asked], ids[:, asked:]).sum()
                shown += ids[:, asked:].numel()
            optimizer.zero_grad()
            (loss / shown).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            tokens += shown
        batch += 1
        watch(tokens, model, {})


def run(
    names: dict[str, Any], method: str, rate: float, seed: int, when: tuple[int, ...] = WATCH, **how: Any
) -> tuple[list[dict[str, Any]], Any]:
    """One run: a row whenever as many tokens as `when` says have been sampled, and the model."""
    rows: list[dict[str, Any]] = []
    rewards: list[float] = []
    beyond: list[float] = []
    due, final = list(when), {}

    def watch(tokens: int, model: Any, log: dict[str, Any]) -> None:
        if log:
            rewards.append(float(log["rewards"].mean()))
            beyond.append(float(log["beyond"]))
        if due and tokens >= due[0]:
            while due and tokens >= due[0]:
                due.pop(0)
            mean = round(sum(rewards[-9:]) / len(rewards[-9:]), 4) if rewards else None
            shares = measured(names, model, last=not due)
            shares["beyond"] = round(sum(beyond) / len(beyond), 4) if beyond else None
            rows.append(dict(method=method, rate=rate, seed=seed, tokens=tokens, reward=mean) | shares | {"source": SOURCE})
        final["model"] = model

    if method.startswith("SFT"):
        supervised(names, method, rate, seed, when[-1], watch)
    else:
        names["train"](method, rate, seed, when[-1], watch, **how)
    return rows, final["model"]


def untrained(names: dict[str, Any], method: str, temperature: float) -> tuple[list[dict[str, Any]], Any]:
    """The base model, sampled with a temperature, with the first sign of its chain given or not."""
    this, model = dict(method=method, rate=temperature, seed=0), names["base_model"]()
    shares = measured(names, model, last=True, temperature=temperature, begun=method != "base")
    return [this | dict(tokens=0, reward=None) | shares | {"source": SOURCE}], model


def control(names: dict[str, Any], name: str, seed: int) -> list[dict[str, Any]]:
    """One run of CONTROLS."""
    plan, coin = dict(CONTROLS[name]), random.Random(seed)
    if name == "random rewards":
        plan["reward"] = lambda text, answer: float(coin.random() < 0.5)
    elif name == "paid for a step":
        plan["reward"] = lambda text, answer: float("=" in text)
    rows, _ = run(names, plan.pop("method"), CONTROL_RATE, seed, **plan)
    return [{"control": name} | row for row in rows]


def hacked(names: dict[str, Any], reward: str, beta: float, seed: int) -> list[dict[str, Any]]:
    """One run for a reward that can be gamed, or for the honest one: what was paid, what was right, and three texts."""
    rows: list[dict[str, Any]] = []
    due = list(HACK_WATCH)
    problem = names["draw"](64, 3, torch.Generator().manual_seed(4 * 10**6))
    prompts, truth = names["questions"](*problem), names["running"](*problem)[:, -1].tolist()

    def watch(tokens: int, model: Any, log: dict[str, Any]) -> None:
        if not due or tokens < due[0]:
            return
        while due and tokens >= due[0]:
            due.pop(0)
        new, _ = names["sample_group"](model, prompts, 8, names["room"](3, HACK_SPARE), torch.Generator().manual_seed(0))
        texts = names["texts_of"](new)
        pairs = list(zip(texts, (answer for answer in truth for _ in range(8)), strict=True))
        shares = dict(
            paid=sum(names["pays_for_steps"](*pair) for pair in pairs) / len(pairs),
            right=sum(names["verify"](*pair) for pair in pairs) / len(pairs),
            equations=sum(text.count("=") for text in texts) / len(texts),
            length=sum(map(len, texts)) / len(texts),
        )
        shown = {f"text_{i}": names["show"](prompts[i].tolist()) + " " + texts[8 * i] for i in range(3)}
        this = dict(reward=reward, beta=beta, seed=seed, tokens=tokens)
        rows.append(this | {name: round(share, 4) for name, share in shares.items()} | shown | {"source": SOURCE})

    names["train"]("GRPO", HACK_RATE, seed, HACK_WATCH[-1], watch, reward=names[reward], spare=HACK_SPARE, beta=beta)
    return rows


def votes(answers: list[str], size: int, truth: str, draws: int, generator: random.Random) -> float:
    """How often the most frequent of `size` of some answers is right; those without an answer do not vote."""
    won = 0
    for _ in range(draws):
        given = Counter(answer for answer in generator.sample(answers, size) if answer)
        won += bool(given) and given.most_common(1)[0][0] == truth
    return won / draws


def problem_rows(names: dict[str, Any], model: Any, run: dict[str, Any], **how: Any) -> list[dict[str, Any]]:
    """A row for each problem of a test of its own: how many of MANY texts are right, and how often votes are."""
    rows, generator = [], random.Random(0)
    for steps in (3, 4):
        right, about, answers = exam(names, model, steps, 48, MANY, 3 * 10**6, **how)
        problem = names["draw"](48, steps, torch.Generator().manual_seed(3 * 10**6 + steps))
        for i, truth in enumerate(names["running"](*problem)[:, -1].tolist()):
            mine = answers[i * MANY : (i + 1) * MANY]
            shares = {f"vote_{n}": votes(mine, n, f"{truth:02d}.", 30 if n < MANY else 1, generator) for n in VOTES}
            shares = {name: round(share, 3) for name, share in shares.items()}
            about_it = dict(
                steps=steps, problem=i, right=int(right[i].sum()), samples=MANY, tokens=round(about["length"], 2)
            )
            rows.append(run | about_it | shares | {"source": SOURCE})
    return rows


def fill(names: dict[str, Any], part: int, parts: int, search: bool, again: bool) -> None:
    """Every `parts`-th run of the search or of the rest, into tables of this part's own."""
    folder = PARTS / f"{part:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    if again and not search:
        (folder / "problems.csv").unlink(missing_ok=True)  # its rows come with the runs'

    def with_problems(method: str, rate: float, seed: int) -> list[dict[str, Any]]:
        raw = method.startswith("base")
        rows, model = untrained(names, method, rate) if raw else run(names, method, rate, seed)
        if method in SHOWN:
            warmth = (rate,) if raw else TEMPERATURES if method == "GRPO" else (1.0,)

            def problems(method: str, t: float, seed: int) -> list[dict[str, Any]]:
                this, begun = dict(method=method, temperature=t, seed=seed), method == "base, chain begun"
                return problem_rows(names, model, this, temperature=t, begun=begun)

            asked = [(method, t, seed) for t in warmth]
            resumable_table.fill(folder / "problems.csv", PROBLEM_KEYS, asked, problems)
        for row in rows:
            row.pop("beyond", None)  # of interest among the controls only
        return rows

    if search:
        resumable_table.fill(
            folder / "search.csv", KEYS, SEARCH[part::parts], lambda *key: run(names, *key, SEARCH_WATCH)[0], again
        )
        return
    rates = chosen(parts_of("search", KEYS))
    rates["GRPO, no clipping"] = rates["GRPO"]
    work: list[tuple[Any, ...]] = [(method, rates[method], seed) for seed in SEEDS for method in rates]
    mine = (HACKS + RAW + work)[part::parts]
    plain = [key for key in mine if key not in HACKS]
    resumable_table.fill(folder / "runs.csv", KEYS, plain, with_problems, again)
    hacks = [key for key in mine if key in HACKS]
    resumable_table.fill(folder / "hacking.csv", HACK_KEYS, hacks, lambda *key: hacked(names, *key), again)
    resumable_table.fill(
        folder / "controls.csv", CONTROL_KEYS, CONTROL_RUNS[part::parts], lambda *key: control(names, *key), again
    )


def parts_of(name: str, keys: tuple[str, ...]) -> pd.DataFrame:
    """What all parts have of a table; a run that two parts hold, because the list of runs has changed, once."""
    found: list[pd.DataFrame] = []
    have: set[tuple[Any, ...]] = set()
    for path in sorted(PARTS.glob(f"*/{name}.csv")):
        part = pd.read_csv(path)
        runs = list(part[list(keys)].itertuples(index=False, name=None))
        found.append(part[[run not in have for run in runs]])
        have |= set(runs)
    return pd.concat(found).sort_values(list(keys), kind="stable")


def merge() -> None:
    """The parts' tables into the course's."""
    parts_of("search", KEYS).to_csv(CSV / "reasoning_search.csv", index=False)
    parts_of("runs", KEYS).to_csv(CSV / "reasoning_runs.csv", index=False)
    parts_of("controls", CONTROL_KEYS).to_csv(CSV / "reasoning_controls.csv", index=False)
    parts_of("hacking", HACK_KEYS).to_csv(CSV / "reasoning_hacking.csv", index=False)
    parts_of("problems", PROBLEM_KEYS).to_csv(CSV / "reasoning_problems.csv", index=False)


def chosen(runs: pd.DataFrame) -> dict[str, float]:
    """The rate of each method with the best mean on the validation's problems."""
    means = runs.dropna(subset="validation").groupby(["method", "rate"])["validation"].mean()
    return {method: float(part.idxmax()[1]) for method, part in means.groupby("method")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", action="store_true", help="make the base model anew")
    parser.add_argument("--again", action="store_true", help="forget what the tables hold")
    parser.add_argument("--part", default="0/1", help="which of how many parts, 0/16 to 15/16")
    parser.add_argument("--search", action="store_true", help="the search for learning rates only")
    parser.add_argument("--merge", action="store_true", help="only put the parts' tables together")
    options = parser.parse_args()
    torch.set_num_threads(1)
    part, parts = map(int, options.part.split("/"))
    if options.base:
        weights = make_base(lab()).state_dict()
        save_file({name: x.half().contiguous() for name, x in weights.items() if name != "lm_head.weight"}, BASE)
    elif options.merge:
        merge()
    elif parts > 1:
        fill(lab(), part, parts, options.search, options.again)
    else:
        names = lab()
        fill(names, 0, 1, True, options.again)
        fill(names, 0, 1, False, options.again)
        merge()


if __name__ == "__main__":
    main()
