"""How likely a model finds a text, and how sure a mean is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.inference_mode()
def nll(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    batch_size: int = 8,
    progress: bool = True,
) -> pd.DataFrame:
    """Negative log-likelihood of each text under a causal language model.

    Token t is scored given the tokens before it, -log p(x_t | x_<t); the first token has nothing before it and is not
    scored. Texts of similar length are batched together; padding is not scored.

    Args:
        texts: n strings.

    Returns:
        One row a text, in the order given: `nll` (float, nats, sum over its tokens) and `tokens` (int, how many were
        scored).

    Raises:
        ValueError: no text, or one of fewer than two tokens.
    """
    ids = [tokenizer(text)["input_ids"] for text in texts]
    if not ids:
        raise ValueError("nll() was given no text")
    if short := [text for text, tokens in zip(texts, ids, strict=True) if len(tokens) < 2]:
        raise ValueError(f"a text needs at least two tokens to be scored: {short[0]!r}")
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    sums = np.zeros(len(ids))
    for start in tqdm(range(0, len(ids), batch_size), desc="scoring", leave=False, disable=not progress):
        chosen = order[start : start + batch_size]
        longest = max(len(ids[i]) for i in chosen)
        batch = torch.zeros(len(chosen), longest, dtype=torch.long)
        mask = torch.zeros_like(batch)
        for row, i in enumerate(chosen):
            batch[row, : len(ids[i])] = torch.tensor(ids[i])
            mask[row, : len(ids[i])] = 1
        batch, mask = batch.to(model.device), mask.to(model.device)
        logits = model(input_ids=batch, attention_mask=mask).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
        sums[chosen] = (losses * mask[:, 1:]).sum(dim=1).cpu().double().numpy()
    return pd.DataFrame({"nll": sums, "tokens": [len(tokens) - 1 for tokens in ids]})


@torch.inference_mode()
def loglikelihood(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    options: Sequence[str] | Sequence[Sequence[str]],
    batch_size: int = 16,
    progress: bool = True,
) -> pd.DataFrame:
    """Log-probability of each option as the continuation of its prompt: log p(option | prompt), summed over its tokens.

    What all prompts begin with (the examples of a few-shot prompt, say) is computed once, and each prompt once for all its
    options. The tokens of an option are those that prompt + option has beyond the prompt's own, as in
    lm-evaluation-harness; spaces at the end of a prompt belong to the option.

    Args:
        prompts: n strings.
        options: the same strings for every prompt, or n lists of strings. None is empty; " yes" with its space is usual.
        batch_size: prompts, and then options, that go through the model at once.

    Returns:
        One row an option, in the order given: `prompt` (int), `option` (int, its place among those of its prompt), `logprob`
        (float, nats), `tokens` (int), `greedy` (bool: each of its tokens is the likeliest one).

    Raises:
        ValueError: nothing to score, an empty option, or a text longer than the model's context.
    """
    same = all(isinstance(option, str) for option in options)
    listed: list[Sequence[str]] = [options] * len(prompts) if same else list(options)  # type: ignore[list-item,arg-type]
    if not prompts or len(listed) != len(prompts) or not all(listed):
        raise ValueError(f"loglikelihood() needs options for each prompt; it was given {len(prompts)} and {len(listed)}")
    contexts: list[list[int]] = []
    asked: list[tuple[int, int, list[int]]] = []  # prompt, option, tokens of the option
    place: list[int] = []  # context of each of them; a prompt has several if an option changes how the prompt is cut
    known: dict[tuple[int, ...], int] = {}
    for number, (prompt, choices) in enumerate(zip(prompts, listed, strict=True)):
        for choice, option in enumerate(choices):
            context, continuation = _pair(tokenizer, prompt, option)
            asked.append((number, choice, continuation))
            place.append(known.setdefault(tuple(context), len(known)))
            if place[-1] == len(contexts):
                contexts.append(context)
    longest = max(len(contexts[c]) + len(tokens) for c, (_, _, tokens) in zip(place, asked, strict=True))
    limit = getattr(model.config, "max_position_embeddings", None) or longest
    if longest > limit:
        raise ValueError(f"a prompt with its option has {longest} tokens; the model's context holds {limit}")
    return _score(model, contexts, asked, place, batch_size, progress)


def _pair(tokenizer: PreTrainedTokenizerBase, prompt: str, option: str) -> tuple[list[int], list[int]]:
    """Tokens of the prompt and of the option after it; never empty."""
    bare = prompt.rstrip()
    option = prompt[len(bare) :] + option
    context = tokenizer(bare)["input_ids"] if bare else []
    continuation = tokenizer(bare + option)["input_ids"][len(context) :]
    if not continuation:
        raise ValueError(f"an option adds no token to its prompt: {option!r}")
    if not context:  # nothing to go by but the sign that a text begins
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        context = [start]
    return list(context), list(continuation)


def _score(
    model: PreTrainedModel,
    contexts: list[list[int]],
    asked: list[tuple[int, int, list[int]]],
    place: list[int],
    batch_size: int,
    progress: bool,
) -> pd.DataFrame:
    """`loglikelihood`, after everything has become tokens."""
    device = model.device
    shared = _common(contexts)
    prefix = None
    if shared:
        prefix = model(torch.tensor([contexts[0][:shared]], device=device), use_cache=True, logits_to_keep=1).past_key_values
    users: list[list[int]] = [[] for _ in contexts]
    for row, context in enumerate(place):
        users[context].append(row)
    order = sorted(range(len(contexts)), key=lambda c: -len(contexts[c]))
    found: list[tuple[float, bool]] = [(0.0, False)] * len(asked)
    for start in tqdm(range(0, len(order), batch_size), desc="scoring", leave=False, disable=not progress):
        chosen = order[start : start + batch_size]
        rests = [contexts[c][shared:] for c in chosen]
        width = max(map(len, rests))
        # Padding stands between the shared part and the rest, so that every prompt ends in the last column.
        ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in rests], device=device)
        real = torch.tensor([[1] * shared + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests], device=device)
        rows = [(at, row) for at, context in enumerate(chosen) for row in users[context]]
        several = any(len(asked[row][2]) > 1 for _, row in rows)
        cache = None
        if prefix is not None:
            cache = copy.deepcopy(prefix)
            cache.batch_repeat_interleave(len(chosen))
        positions = (real.cumsum(1) - 1).clamp(min=0)[:, shared:]
        out = model(
            ids, attention_mask=real, position_ids=positions, past_key_values=cache, use_cache=several, logits_to_keep=1
        )
        first = out.logits[:, -1].float().log_softmax(-1)
        rows.sort(key=lambda pair: -len(asked[pair[1]][2]))
        for begin in range(0, len(rows), batch_size):
            part = rows[begin : begin + batch_size]
            at = torch.tensor([place_ for place_, _ in part], device=device)
            words = [asked[row][2] for _, row in part]
            _continue(model, found, part, words, first[at], out.past_key_values, real[at], at)
    numbers, choices, tokens = zip(*((n, c, len(t)) for n, c, t in asked), strict=True)
    logprobs, greedy = zip(*found, strict=True)
    return pd.DataFrame({"prompt": numbers, "option": choices, "logprob": logprobs, "tokens": tokens, "greedy": greedy})


def _continue(
    model: PreTrainedModel,
    found: list[tuple[float, bool]],
    part: list[tuple[int, int]],
    words: list[list[int]],
    first: torch.Tensor,
    cache: Any,
    real: torch.Tensor,
    at: torch.Tensor,
) -> None:
    """Score one batch of options after prompts that the model has read; `first`: log-probabilities of their first token."""
    device, length = first.device, max(map(len, words))
    ids = torch.tensor([word + [0] * (length - len(word)) for word in words], device=device)
    there = torch.tensor([[1] * len(word) + [0] * (length - len(word)) for word in words], device=device)
    logs = first[:, None]
    if length > 1:
        mine = copy.deepcopy(cache)
        mine.batch_select_indices(at)
        out = model(
            ids[:, :-1],
            attention_mask=torch.cat([real, there[:, :-1]], 1),
            position_ids=real.sum(1, keepdim=True) + torch.arange(length - 1, device=device),
            past_key_values=mine,
        )
        logs = torch.cat([logs, out.logits.float().log_softmax(-1)], 1)
    sums = (logs.gather(2, ids[..., None])[..., 0] * there).sum(1).tolist()
    likeliest = ((logs.argmax(2) == ids) | (there == 0)).all(1).tolist()
    for (_, row), value, greedy in zip(part, sums, likeliest, strict=True):
        found[row] = (value, greedy)


def _common(contexts: list[list[int]]) -> int:
    """How many tokens all contexts begin with, at least one of each left over."""
    low, high = min(contexts), max(contexts)
    limit = min(map(len, contexts)) - 1
    return next((i for i in range(limit) if low[i] != high[i]), limit)


def perplexity(frame: pd.DataFrame) -> float:
    """exp(mean negative log-likelihood a token) of `nll`'s table: among how many equally likely tokens the model wavers."""
    return float(np.exp(frame["nll"].sum() / frame["tokens"].sum()))


def bootstrap(
    frame: pd.DataFrame,
    statistic: Callable[[Any], float],
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A statistic of a table with its percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Rows (texts, items, seeds) are drawn with replacement. For a paired comparison, put both measurements in one table and
    let `statistic` take their difference.

    Args:
        frame: one row an item.
        statistic: table → number.
        n: resamples.
        level: coverage of the interval.

    Returns:
        (statistic of `frame`, low end, high end)
    """
    rng = np.random.default_rng(seed)
    draws = [statistic(frame.iloc[rng.integers(0, len(frame), len(frame))]) for _ in range(n)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(frame)), float(low), float(high)


def proportion(successes: int, trials: int, level: float = 0.95) -> tuple[float, float, float]:
    """A share with its Wilson score interval (Wilson 1927, doi 10.1080/01621459.1927.10502953).

    It holds for small numbers too, and at the ends: 0 of 18 may be as much as 0.18.

    >>> share, low, high = scoring.proportion(successes=0, trials=18)

    Returns:
        (successes / trials, low end, high end)

    Raises:
        ValueError: no trial, or more successes than trials.
    """
    from scipy import stats

    ends = stats.binomtest(int(successes), int(trials)).proportion_ci(level, method="wilson")
    return successes / trials, float(ends.low), float(ends.high)


def mean(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """A mean with its t interval (Student 1908): for a few seeds, of which a bootstrap knows too little.

    Args:
        values: n independent measurements, for example one per seed, of about normal distribution.

    Returns:
        (mean, low end, high end); the ends are infinite for a single value.
    """
    from scipy import stats

    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return float(array.mean()), float("-inf"), float("inf")
    half = float(stats.t.ppf((1 + level) / 2, len(array) - 1)) * array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean()), float(array.mean() - half), float(array.mean() + half)


def paired(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of `first` - `second`, measured on the same items (or seeds), with the t interval of that difference.

    "The first is larger" needs an interval without 0.

    Args:
        first, second: n measurements each; place i of both is the same item.

    Returns:
        (mean difference, low end, high end)

    Raises:
        ValueError: they are not of the same length.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return mean(differences, level)
