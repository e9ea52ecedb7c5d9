"""How likely a model finds a text, and how sure a mean is."""

from __future__ import annotations

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
        sums[chosen] = (losses * mask[:, 1:]).sum(dim=1).double().cpu().numpy()
    return pd.DataFrame({"nll": sums, "tokens": [len(tokens) - 1 for tokens in ids]})


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
