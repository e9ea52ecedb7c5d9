"""How likely a model finds a text, and how sure a mean is."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from .language import t

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BOOTSTRAP_ROWS = 20  # at 95 % the interval of a mean holds it 93 % of the time there, 85 % of 5 values, 75 % of 3


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
        One row for each text, in the order given: `nll` (float, nats, sum over its tokens) and `tokens` (int, how many were
        scored).

    Raises:
        ValueError: no text, or one of fewer than two tokens.
    """
    ids = [tokenizer(text)["input_ids"] for text in texts]
    if not ids:
        raise ValueError(t("nll() was given no text"))
    if short := [text for text, tokens in zip(texts, ids, strict=True) if len(tokens) < 2]:
        raise ValueError(t("a text needs at least two tokens to be scored: {text!r}", text=short[0]))
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    sums = np.zeros(len(ids))
    for start in tqdm(range(0, len(ids), batch_size), desc=t("scoring"), leave=False, disable=not progress):
        chosen = order[start : start + batch_size]
        longest = max(len(ids[i]) for i in chosen)
        batch = torch.zeros(len(chosen), longest, dtype=torch.long)  # (texts, tokens)
        mask = torch.zeros_like(batch)
        for row, i in enumerate(chosen):
            batch[row, : len(ids[i])] = torch.tensor(ids[i])
            mask[row, : len(ids[i])] = 1
        batch, mask = batch.to(model.device), mask.to(model.device)
        logits = model(input_ids=batch, attention_mask=mask).logits[:, :-1].float()  # (texts, tokens - 1, vocabulary)
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
        # losses: (texts, tokens - 1)
        sums[chosen] = (losses * mask[:, 1:]).sum(dim=1).cpu().double().numpy()
    return pd.DataFrame({"nll": sums, "tokens": [len(tokens) - 1 for tokens in ids]})


@torch.inference_mode()
def loglikelihood(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[str],
    continuations: Sequence[str] | Sequence[Sequence[str]],
    batch_size: int = 16,
    progress: bool = True,
) -> pd.DataFrame:
    """Log-likelihood of each continuation after its context: log p(continuation | context), summed over its tokens.

    Terms and tokens are those of lm-evaluation-harness: the tokens of a continuation are those that context + continuation
    has beyond the context's own, and spaces at the end of a context belong to the continuation. Its metrics follow from the
    table: `acc` is the share of contexts whose right continuation has the largest `loglikelihood`, and `acc_norm` the same
    for `loglikelihood` divided by the number of the choice's characters, without the space before it.

    What all contexts begin with (the examples of a few-shot prompt, say) is computed once, and each context once for all its
    continuations.

    Args:
        contexts: n strings.
        continuations: the same strings for every context, or n lists of strings. None of them is empty; " yes", with its
            space, is usual.
        batch_size: contexts, and then continuations, that go through the model at once.

    Returns:
        One row for each continuation, in the order given: `context` (int), `continuation` (int, its place among those of its
        context), `loglikelihood` (float, nats), `tokens` (int), `is_greedy` (bool: each of its tokens is the likeliest one).

    Raises:
        ValueError: nothing to score, an empty continuation, or a text longer than the model's context window.
    """
    same = all(isinstance(continuation, str) for continuation in continuations)
    choices: list[Sequence[str]] = [continuations] * len(contexts) if same else list(continuations)  # type: ignore[list-item,arg-type]
    if not contexts or len(choices) != len(contexts) or not all(choices):
        raise ValueError(
            t(
                "loglikelihood() needs continuations for each context; it was given {count} for {all} contexts",
                count=len(choices),
                all=len(contexts),
            )
        )
    requests: list[_Request] = []
    place: dict[
        tuple[int, ...], int
    ] = {}  # tokens of a context → its place; a text has several if a continuation changes them
    for i, (context, listed) in enumerate(zip(contexts, choices, strict=True)):
        for j, continuation in enumerate(listed):
            context_ids, continuation_ids = _encode_pair(tokenizer, context, continuation)
            requests.append(_Request(i, j, place.setdefault(tuple(context_ids), len(place)), continuation_ids))
    all_ids = [list(ids) for ids in place]
    longest = max(len(all_ids[request.place]) + len(request.continuation_ids) for request in requests)
    limit = getattr(model.config, "max_position_embeddings", None) or longest
    if longest > limit:
        raise ValueError(
            t(
                "a context with its continuation has {longest} tokens; the model's window holds {limit}",
                longest=longest,
                limit=limit,
            )
        )
    results = _loglikelihood_tokens(model, all_ids, requests, batch_size, progress)
    return pd.DataFrame(
        {
            "context": [request.context for request in requests],
            "continuation": [request.continuation for request in requests],
            "loglikelihood": [value for value, _ in results],
            "tokens": [len(request.continuation_ids) for request in requests],
            "is_greedy": [is_greedy for _, is_greedy in results],
        }
    )


@dataclass(frozen=True)
class _Request:
    """One continuation to score."""

    context: int  # the text that it continues
    continuation: int  # its place among those of that context
    place: int  # of the context's tokens among all
    continuation_ids: list[int]


def _encode_pair(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of the context and of the continuation after it; never empty."""
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    context_ids = tokenizer(bare)["input_ids"] if bare else []
    continuation_ids = tokenizer(bare + continuation)["input_ids"][len(context_ids) :]
    if not continuation_ids:
        raise ValueError(t("a continuation adds no token to its context: {text!r}", text=continuation))
    if not context_ids:  # nothing to go by but the sign that a text begins
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        context_ids = [start]
    return list(context_ids), list(continuation_ids)


def _loglikelihood_tokens(
    model: PreTrainedModel, contexts: list[list[int]], requests: list[_Request], batch_size: int, progress: bool
) -> list[tuple[float, bool]]:
    """(loglikelihood, is_greedy) of each request, once everything has become tokens.

    In the shapes below B is the number of contexts in a batch, S that of the tokens that all contexts share, L the length of
    the longest rest in the batch, R the number of requests that are scored at once, V the vocabulary.
    """
    device = model.device
    shared = _common(contexts)
    prefix = None
    if shared:
        prefix = model(torch.tensor([contexts[0][:shared]], device=device), use_cache=True, logits_to_keep=1).past_key_values
    requests_of: list[list[int]] = [[] for _ in contexts]
    for number, request in enumerate(requests):
        requests_of[request.place].append(number)
    order = sorted(range(len(contexts)), key=lambda c: -len(contexts[c]))
    results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
    for start in tqdm(range(0, len(order), batch_size), desc=t("scoring"), leave=False, disable=not progress):
        chosen = order[start : start + batch_size]
        rests = [contexts[c][shared:] for c in chosen]
        longest = max(map(len, rests))
        # Padding stands between the shared part and the rest, so that every context ends in the last column.
        padded = [[0] * (longest - len(rest)) + rest for rest in rests]
        real = [[1] * shared + [0] * (longest - len(rest)) + [1] * len(rest) for rest in rests]
        ids = torch.tensor(padded, device=device)  # (B, L)
        mask = torch.tensor(real, device=device)  # (B, S + L)
        waiting = [(row, number) for row, context in enumerate(chosen) for number in requests_of[context]]
        several = any(len(requests[number].continuation_ids) > 1 for _, number in waiting)
        cache = None
        if prefix is not None:
            cache = copy.deepcopy(prefix)
            cache.batch_repeat_interleave(len(chosen))
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]  # (B, L)
        out = model(
            ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=several, logits_to_keep=1
        )
        first = out.logits[:, -1].float().log_softmax(-1)  # (B, V): of a continuation's first token
        waiting.sort(key=lambda pair: -len(requests[pair[1]].continuation_ids))
        for begin in range(0, len(waiting), batch_size):
            part = waiting[begin : begin + batch_size]
            rows = torch.tensor([row for row, _ in part], device=device)  # (R,)
            continuations = [requests[number].continuation_ids for _, number in part]
            scored = _continue(model, continuations, first[rows], out.past_key_values, mask[rows], rows)
            for (_, number), result in zip(part, scored, strict=True):
                results[number] = result
    return results


def _continue(
    model: PreTrainedModel,
    continuations: list[list[int]],
    first: torch.Tensor,
    cache: Any,
    context_mask: torch.Tensor,
    rows: torch.Tensor,
) -> list[tuple[float, bool]]:
    """(loglikelihood, is_greedy) of R continuations after contexts that the model has read.

    Args:
        continuations: R lists of tokens; T is the length of the longest.
        first: (R, V), log-probabilities of their first token.
        cache: keys and values of all contexts of the batch.
        context_mask: (R, S + L), 1 for tokens of the context.
        rows: (R,), each one's context in the cache.
    """
    device, longest = first.device, max(map(len, continuations))
    ids = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in continuations], device=device)  # (R, T)
    mask = torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in continuations], device=device)
    logprobs = first[:, None]  # (R, 1, V)
    if longest > 1:
        own_cache = copy.deepcopy(cache)
        own_cache.batch_select_indices(rows)
        out = model(
            ids[:, :-1],
            attention_mask=torch.cat([context_mask, mask[:, :-1]], 1),
            position_ids=context_mask.sum(1, keepdim=True) + torch.arange(longest - 1, device=device),
            past_key_values=own_cache,
        )
        logprobs = torch.cat([logprobs, out.logits.float().log_softmax(-1)], 1)  # (R, T, V)
    sums = (logprobs.gather(2, ids[..., None])[..., 0] * mask).sum(1).tolist()
    greedy = ((logprobs.argmax(2) == ids) | (mask == 0)).all(1).tolist()
    return list(zip(sums, greedy, strict=True))


def _common(contexts: list[list[int]]) -> int:
    """How many tokens all contexts begin with, at least one of each left over."""
    low, high = min(contexts), max(contexts)
    limit = min(map(len, contexts)) - 1
    return next((i for i in range(limit) if low[i] != high[i]), limit)


def perplexity(frame: pd.DataFrame) -> float:
    """exp(negative log-likelihood per token) of `nll`'s table: the effective number of equally likely tokens."""
    return float(np.exp(frame["nll"].sum() / frame["tokens"].sum()))


def bootstrap(
    frame: pd.DataFrame,
    statistic: Callable[[Any], float],
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A statistic of a table with its percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Rows (texts, items) are drawn with replacement. For a paired comparison, put both measurements in one table and let
    `statistic` take their difference. Of fewer than 20 rows the interval is too narrow, and a warning says by how much:
    there is less spread in a small sample than where it came from, and no t quantile makes up for it (Hesterberg 2015,
    doi 10.1080/00031305.2015.1089789). `mean`, `paired` and `proportion` hold for few.

    Args:
        frame: one row for each item.
        statistic: table → number.
        n: resamples.
        level: coverage of the interval.

    Returns:
        (statistic of `frame`, low end, high end)
    """
    if len(frame) < _BOOTSTRAP_ROWS:
        warnings.warn(
            t(
                "bootstrap() was given {rows}. Of fewer than {most} its interval is too narrow{covers}. Take scoring.mean "
                "or scoring.paired (t intervals), scoring.proportion for a share, or show the values.",
                rows=_rows(len(frame)),
                most=_BOOTSTRAP_ROWS,
                covers=_covers(len(frame), level),
            ),
            stacklevel=2,
        )
    rng = np.random.default_rng(seed)
    draws = [statistic(frame.iloc[rng.integers(0, len(frame), len(frame))]) for _ in range(n)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(frame)), float(low), float(high)


def _rows(n: int) -> str:
    return t("1 row") if n == 1 else t("{count} rows", count=n)


def _covers(n: int, level: float) -> str:
    """How often the interval holds the mean of normal values: it is ± z · s · √((n-1)/n) / √n where t · s / √n is right."""
    from scipy import stats

    if n < 2:
        return t(": one value has no spread")
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((n - 1) / n)
    share = 2 * stats.t.cdf(half, n - 1) - 1
    return t(": at {level:.0%} it holds a mean about {share:.0%} of the time", level=level, share=share)


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


def difference(
    successes: int, trials: int, other_successes: int, other_trials: int, level: float = 0.95
) -> tuple[float, float, float]:
    """Difference of two shares of *different* items, with Newcombe's hybrid score interval.

    It is made of the two Wilson intervals (Newcombe 1998, Statistics in Medicine 17, 873-890, method 10). "The first is
    larger" needs an interval without 0; two single intervals that overlap do not say that it is not. Shares of the same
    items are compared by `paired`.

    >>> gap, low, high = scoring.difference(24, 30, 17, 36)  # 24 of 30 minus 17 of 36

    Returns:
        (first share - other share, low end, high end)

    Raises:
        ValueError: no trial, or more successes than trials.
    """
    p, low, high = proportion(successes, trials, level)
    q, other_low, other_high = proportion(other_successes, other_trials, level)
    return p - q, p - q - float(np.hypot(p - low, other_high - q)), p - q + float(np.hypot(high - p, q - other_low))


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
