"""Perplexity against transformers' own loss, the bootstrap against theory, the data and the tables as they are."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from course_utils import data, generate, load_model, scoring, tables
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


@pytest.mark.parametrize(("precision", "rel"), [("fp16", 2e-3), ("bf16", 2e-2)])
def test_sixteen_bits_score_as_thirty_two_do(precision: str, rel: float) -> None:
    """A T4's precision and an A100's: only the model computes in it, what is added up is float32."""
    texts = data.movie_sentences()["text"][:6]
    prompts, words = [f"Review: {text}\nSentiment:" for text in texts], [" positive", " negative"]
    wide, tokenizer = load_model(precision="fp32", device="cpu")
    want = scoring.nll(wide, tokenizer, texts, progress=False)
    options = scoring.loglikelihood(wide, tokenizer, prompts, words, progress=False)
    narrow, tokenizer = load_model(precision=precision, device="cpu")
    got = scoring.nll(narrow, tokenizer, texts, progress=False)
    assert got.nll.dtype == np.float64 and scoring.perplexity(got) == pytest.approx(scoring.perplexity(want), rel=rel)
    frame = scoring.loglikelihood(narrow, tokenizer, prompts, words, progress=False)
    np.testing.assert_allclose(frame.loglikelihood, options.loglikelihood, atol=50 * rel)
    assert "Paris" in generate(narrow, tokenizer, "What is the capital of France?", max_new_tokens=8)


PROMPTS = ["Q: The capital of France?\nA:", "Q: The capital of France, once more, with feeling?\nA: ", "Q:", ""]
OPTIONS = [[" Paris", " Lyon and then Nice"], ["Rome", "Paris, of course", "x"], [" why not"], ["Once upon"]]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_loglikelihood_is_that_of_one_text_at_a_time(batch_size: int) -> None:
    model, tokenizer = load_model(precision="fp32")
    frame = scoring.loglikelihood(model, tokenizer, PROMPTS, OPTIONS, batch_size=batch_size, progress=False)
    places = [(i, j) for i, options in enumerate(OPTIONS) for j in range(len(options))]
    assert list(zip(frame.context, frame.continuation, strict=True)) == places
    for row in frame.itertuples():
        bare = PROMPTS[row.context].rstrip()
        context = tokenizer(bare)["input_ids"]
        ids = tokenizer(PROMPTS[row.context] + OPTIONS[row.context][row.continuation])["input_ids"]
        assert ids[: len(context)] == context and row.tokens == len(ids) - len(context)
        if not context:
            context, ids = [tokenizer.bos_token_id], [tokenizer.bos_token_id, *ids]
        with torch.inference_mode():
            logs = model(input_ids=torch.tensor([ids])).logits[0, len(context) - 1 : -1].log_softmax(-1)
        answer = torch.tensor(ids[len(context) :])
        assert row.loglikelihood == pytest.approx(float(logs.gather(1, answer[:, None]).sum()), abs=1e-4)
        assert row.is_greedy == bool((logs.argmax(1) == answer).all())


def test_loglikelihood_takes_one_list_of_options_for_all() -> None:
    model, tokenizer = load_model(precision="fp32")
    texts = data.movie_sentences()["text"][:5]
    head = "".join(f"Review: {text}\nSentiment: fine\n\n" for text in texts[:3])
    prompts, words = [f"{head}Review: {text}\nSentiment:" for text in texts], [" positive", " negative"]
    once = scoring.loglikelihood(model, tokenizer, prompts, words, progress=False)
    alone = [scoring.loglikelihood(model, tokenizer, [prompt], words, progress=False) for prompt in prompts]
    np.testing.assert_allclose(once.loglikelihood, pd.concat(alone).loglikelihood, atol=1e-4)


@pytest.mark.parametrize(
    ("prompts", "options", "match"),
    [
        ([], ["a"], "continuations"),
        (["a"], [], "continuations"),
        (["a"], [[""]], "no token"),
        (["a " * 9000], ["b"], "window holds 8192"),
    ],
)
def test_loglikelihood_refuses_what_cannot_be_scored(prompts: list[str], options: list[str], match: str) -> None:
    model, tokenizer = load_model(precision="fp32")
    with pytest.raises(ValueError, match=match):
        scoring.loglikelihood(model, tokenizer, prompts, options)


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


def test_bootstrap_of_few_rows_warns_by_how_much_it_is_too_narrow() -> None:
    frame, rng = pd.DataFrame({"x": np.arange(20.0)}), np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scoring.bootstrap(frame, lambda f: f["x"].mean(), n=20)
    with pytest.warns(UserWarning, match=r"given 1 row\. .* no spread"):
        scoring.bootstrap(frame[:1], lambda f: f["x"].mean(), n=20)
    held = 0
    for seed in range(150):
        five = pd.DataFrame({"x": rng.normal(3, 2, 5)})
        with pytest.warns(UserWarning, match="given 5 rows.* holds a mean about 85% of the time.*scoring.mean") as caught:
            _, low, high = scoring.bootstrap(five, lambda f: f["x"].to_numpy().mean(), n=100, seed=seed)
        held += low < 3 < high
    assert caught[0].filename == __file__ and 0.73 < held / 150 < 0.94  # three to four standard errors


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


def test_movie_ratings() -> None:
    """Each sentence's single scores, whose mean is its score; and the order of the reviews that the docstring tells of."""
    ratings, scores = data.movie_ratings(), np.array(data.movie_sentences()["score"])
    assert np.allclose([np.mean(one) for one in ratings], scores)
    assert {len(one) for one in ratings} <= set(range(15, 30))
    assert (scores[5100:5152] > 0).mean() > 0.9 > 0.1 > (scores[5152:5204] > 0).mean()


def test_chinese_reviews() -> None:
    reviews = data.chinese_reviews()
    assert reviews.num_rows == 35_123 and reviews.column_names == ["id", "text", "positive"]
    assert 0.4 < np.mean(reviews["positive"]) < 0.5
    texts = reviews["text"]
    assert all(text == text.strip() != "" for text in texts)
    assert sum(any("\u4e00" <= character <= "\u9fff" for character in text) for text in texts) > 0.99 * len(texts)
    assert len(set(texts)) < 0.6 * len(texts)  # as the docstring says: repeated lines are the reader's business


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
    assert not table.duplicated().any()
    if "name" in table:
        assert table["name"].is_unique


def test_every_model_of_the_tree_has_a_date_and_a_parent() -> None:
    family, others = tables.load("llama_family"), tables.load("llama_successors")
    for table in (family, others):
        assert table[["released", "paper"]].notna().any(axis=1).all()
    assert set(family["after"].dropna()) <= set(family["name"])


def test_unknown_table() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gpus'"):
        tables.load("gpu")


class TestIntervals:
    def test_wilson_at_the_ends_and_in_the_middle(self) -> None:
        assert scoring.proportion(0, 18) == pytest.approx((0.0, 0.0, 0.1759), abs=1e-4)  # 1 / (1 + 18 / 1.96²)
        assert scoring.proportion(18, 18) == pytest.approx((1.0, 0.8241, 1.0), abs=1e-4)
        assert scoring.proportion(15, 50) == pytest.approx((0.3, 0.1910, 0.4375), abs=1e-4)

    def test_no_trial_is_an_error(self) -> None:
        with pytest.raises(ValueError):
            scoring.proportion(0, 0)
        with pytest.raises(ValueError):
            scoring.proportion(3, 2)

    def test_difference_is_newcombes(self) -> None:
        # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/10
        assert scoring.difference(56, 70, 48, 80) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
        assert scoring.difference(9, 10, 3, 10) == pytest.approx((0.6, 0.1705, 0.8090), abs=1e-4)
        assert scoring.difference(10, 10, 0, 10) == pytest.approx((1.0, 0.6075, 1.0), abs=1e-4)
        there, back = scoring.difference(5, 13, 0, 12), scoring.difference(0, 12, 5, 13)
        assert there == pytest.approx((-back[0], -back[2], -back[1]))
        with pytest.raises(ValueError):
            scoring.difference(1, 2, 0, 0)

    def test_t_interval_of_three_seeds(self) -> None:
        assert scoring.mean([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)

    def test_one_seed_tells_nothing_of_the_spread(self) -> None:
        assert scoring.mean([0.7]) == (0.7, float("-inf"), float("inf"))

    def test_t_interval_holds_what_it_promises(self) -> None:
        rng = np.random.default_rng(0)
        held = 0
        for _ in range(1000):
            _, low, high = scoring.mean(rng.normal(5.0, 2.0, size=4).tolist())
            held += low <= 5.0 <= high
        assert 930 <= held <= 970

    def test_a_paired_difference_sees_what_two_means_hide(self) -> None:
        items = np.random.default_rng(0).normal(0, 10, 40)
        first, second = items + 1.0 + np.linspace(-0.1, 0.1, 40), items
        difference, low, high = scoring.paired(first.tolist(), second.tolist())
        assert difference == pytest.approx(1.0) and 0.9 < low < high < 1.1
        assert scoring.mean(first.tolist())[1] < scoring.mean(second.tolist())[2]

    def test_pairs_must_be_pairs(self) -> None:
        with pytest.raises(ValueError):
            scoring.paired([1.0, 2.0], [1.0])
