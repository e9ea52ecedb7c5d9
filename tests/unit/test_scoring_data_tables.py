"""Perplexity against transformers' own loss, the bootstrap against theory, the data and the tables as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from course_utils import data, load_model, scoring, tables
from course_utils.errors import UnknownNameError


def test_nll_is_transformers_loss_whatever_the_batch() -> None:
    model, tokenizer = load_model(precision="fp32")
    texts = data.movie_sentences()["text"][:7]
    frame = scoring.nll(model, tokenizer, texts, batch_size=3, progress=False)
    assert list(frame.tokens) == [len(tokenizer(text)["input_ids"]) - 1 for text in texts]
    for text, row in zip(texts, frame.itertuples(), strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss
        assert row.nll == pytest.approx(float(loss) * row.tokens, rel=1e-3)
    assert scoring.perplexity(frame) == pytest.approx(np.exp(frame.nll.sum() / frame.tokens.sum()))


@pytest.mark.parametrize("texts", [[], ["A"], ["A fine film", ""]])
def test_nll_refuses_what_cannot_be_scored(texts: list[str]) -> None:
    model, tokenizer = load_model(precision="fp32")
    with pytest.raises(ValueError, match="text"):
        scoring.nll(model, tokenizer, texts)


def test_bootstrap_interval_of_a_mean() -> None:
    """For a mean of n values the interval is about ± 1.96 standard errors, and it covers the truth as often as it says."""
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        frame = pd.DataFrame({"x": rng.normal(3, 2, 50)})
        value, low, high = scoring.bootstrap(frame, lambda f: f["x"].mean(), n=300, seed=trial)
        assert low < value < high
        covered += low < 3 < high
    assert 175 <= covered <= 199
    frame = pd.DataFrame({"x": rng.normal(3, 2, 400)})
    _, low, high = scoring.bootstrap(frame, lambda f: f["x"].mean())
    assert high - low == pytest.approx(2 * 1.96 * frame.x.std() / 20, rel=0.15)
    assert scoring.bootstrap(frame, lambda f: f["x"].mean()) == (frame.x.mean(), low, high)


def test_word_valence() -> None:
    words = data.word_valence()
    assert len(words) > 7000
    assert words["wonderful"] > 2 and words["awful"] < -1.5
    assert all(-4 <= score <= 4 for score in words.values())


def test_movie_sentences() -> None:
    sentences = data.movie_sentences()
    assert sentences.num_rows == 10_605 and sentences.column_names == ["id", "text", "score"]
    scores = np.array(sentences["score"])
    assert scores.min() >= -4 and scores.max() <= 4 and 0.3 < (scores > 0).mean() < 0.7
    assert all(text.strip() for text in sentences["text"])


@pytest.mark.parametrize("task", data.BIGBENCH_TASKS)
def test_bigbench(task: str) -> None:
    examples = data.bigbench(task)
    assert examples.num_rows > 40 and len(examples.info.description) > 20
    for row in examples.select(range(40)):
        assert row["input"] == row["input"].strip() != ""
        assert row["targets"] and all(row["targets"])
        assert not row["choices"] or set(row["targets"]) < set(row["choices"])


def test_unknown_bigbench_task() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'implicatures'"):
        data.bigbench("implicature")


@pytest.mark.parametrize("name", tables.names())
def test_every_row_has_a_source(name: str) -> None:
    table = tables.load(name)
    assert len(table) and table["source"].str.len().min() > 15
    assert table["name"].is_unique


def test_unknown_table() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gpus'"):
        tables.load("gpu")
