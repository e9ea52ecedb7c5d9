# %% [markdown]
# # Lab 13 · Can a model teach itself, if a program checks its answers?
#
# **A small model gets about a quarter of its problems right. Nobody shows it one more solution: it writes, a program says
# "right" or "wrong", and that is all.** How much better can it become? What exactly is learnt? And what happens if the
# program can be fooled?
#
# You will
#
# 1. write the program that checks: a *verifiable reward* (可验证奖励),
# 2. draw many texts for each question and read each question only once,
# 3. measure one try and many tries: *pass@k*, with an unbiased estimator,
# 4. let the model imitate its own right answers: *rejection sampling* (拒绝采样) and STaR,
# 5. compute *advantages* (优势) and the loss of *GRPO* (组相对策略优化), and check it against the library TRL,
# 6. compare nine methods at equal sampled tokens, over five seeds, and see a reward being gamed,
# 7. (challenge) get the most out of 30,000 sampled tokens.
#
# The exercises, from easy (★) to hard (★★★): `verify` ★, `pass_at_k` ★, `advantages` ★, `kept` ★★, `log_probs` ★★,
# `sample_group` ★★★, `policy_loss` ★★★, and the challenge `improve` ★★★.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions. Where a prediction is asked for, commit to
# one before you run on.

# %% tags=["hide-input"]
import copy
import importlib.util
import math
import re
import tempfile
import time

import datasets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data, hardware, lab, load_model, plots, scoring, tables, widgets
from course_utils.errors import CourseError

lab.start(
    "13_reasoning_rl",
    exercises=[
        "verify",
        "sample_group",
        "pass_at_k",
        "kept",
        "advantages",
        "log_probs",
        "policy_loss",
        "improve",
    ],
)
plots.style()
if lab.budget(full=False, quick=True):
    print("COURSE_BUDGET is quick: experiments are small. Do not read conclusions from them.")

# %% [markdown]
# ## 1 · Problems that a program can check
#
# Chained arithmetic as in chapter 8, from left to right, but of each result the last *two* digits are kept (modulo 100: 5 − 9
# gives 96): a guess is right with chance 0.01 only. A model may answer at once, or write its steps first:
#
# | style | text |
# |---|---|
# | direct | `34+8*7?` `!94.` |
# | chain | `34+8*7?` `+8=42` `*7=94` `!94.` |
#
# Each step of a chain repeats an operation and writes its result: 34 + 8 = 42, then 42 · 7 = 294, of which 94 is kept. "!"
# announces the answer and "." ends the text. The next cell is folded: it makes problems and texts and loads the *base model*,
# a Llama of two layers and 100,000 parameters. It was trained for 2,500 steps on as many direct answers as chains, of one to
# six steps, and then stopped *early*: it can do some of this, not all (`rewards.py` beside this lab made it).

# %% tags=["ladder", "hide-input"]
TOKENS = "0123456789+-*=?!."
PLUS, EQUALS, ASK, ANSWER, END = (TOKENS.index(sign) for sign in "+=?!.")


def show(ids):
    return "".join(TOKENS[i] for i in ids)


def draw(count, steps, generator):
    """start (count,), operations (count, steps) with 0 +, 1 -, 2 *, and numbers (count, steps); int64."""
    start = torch.randint(0, 100, (count,), generator=generator)
    operations = torch.randint(0, 3, (count, steps), generator=generator)
    numbers = torch.randint(1, 10, (count, steps), generator=generator)
    factors = torch.tensor([3, 7, 9])[torch.randint(0, 3, (count, steps), generator=generator)]
    return start, operations, torch.where(operations == 2, factors, numbers)


def apply(before, operation, number):
    """One step, last two digits only."""
    return torch.where(operation == 0, before + number, torch.where(operation == 1, before - number, before * number)) % 100


def running(start, operations, numbers):
    """Result after each step, int64 (n, steps)."""
    results = []
    for j in range(operations.shape[1]):
        results.append(apply(results[-1] if results else start, operations[:, j], numbers[:, j]))
    return torch.stack(results, 1)


def digits(values):
    return torch.stack([values // 10, values % 10], -1)


def questions(start, operations, numbers):
    """What a model is asked, "34+8*7?": int64 (n, 2 steps + 3)."""
    steps = torch.stack([PLUS + operations, numbers], 2).flatten(1)
    return torch.cat([digits(start), steps, start.new_full((len(start), 1), ASK)], 1)


def demonstrations(problem, style):
    """What a model is shown: "34+8*7?!94." (style "direct") or "34+8*7?+8=42*7=94!94." (style "chain")."""
    start, operations, numbers = problem
    after, asked = running(*problem), questions(*problem)
    signs, equals = PLUS + operations, torch.full_like(numbers, EQUALS)
    steps = torch.cat([torch.stack([signs, numbers, equals], 2), digits(after)], 2).flatten(1)
    ends = [start.new_full((len(start), 1), token) for token in (ANSWER, END)]
    middle = {"chain": [steps], "direct": []}[style]
    return torch.cat([asked, *middle, ends[0], digits(after[:, -1]), ends[1]], 1)


def room(steps, spare=4):
    """How many tokens a model may write about a problem of so many steps: what a chain needs, and some to spare."""
    return 5 * steps + 4 + spare


def written(new):
    """1.0 for each token up to the first END and with it, 0.0 behind it."""
    ends = (new == END).int()
    return (ends.cumsum(1) - ends == 0).float()


def texts_of(new):
    """What was written, as str, up to the first END and with it."""
    lengths = written(new).sum(1).int().tolist()
    return [show(row[:length]) for row, length in zip(new.tolist(), lengths, strict=True)]


def decoder():
    """A Llama of two layers and about 100,000 parameters, random."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENS), hidden_size=64, intermediate_size=170, num_hidden_layers=2, num_attention_heads=4,
            tie_word_embeddings=True, initializer_range=1 / 8, max_position_embeddings=128, use_cache=False,
        )
    )  # fmt: skip


def base_model():
    """The decoder that all methods begin with."""
    model = decoder()
    model.load_state_dict({name: tensor.float() for name, tensor in data.checkpoint("reasoning_base").items()}, strict=False)
    model.tie_weights()
    return model

# %%
base = base_model()
some = draw(3, 3, torch.Generator().manual_seed(13))
for asked, right in zip(questions(*some).tolist(), running(*some)[:, -1].tolist(), strict=True):
    print(f"{show(asked)} right: {right:02d}")
print(f"{base.num_parameters():,} parameters")

# %% [markdown]
# ### The verifier
#
# A *verifiable reward* (可验证奖励) is computed by a program, without a reward model and without people. It decides what is
# learnt, so its rules must be exact. What about a text that gives two answers? Or none? Or the right number in the middle of
# its chain? The training will find every answer that your rule accepts by mistake (section 10).
#
# <details><summary>Hint 1</summary>Cut the text at its first "!". What must the rest be, exactly?</details>
# <details><summary>Hint 2</summary><code>text.partition("!")</code> gives three parts; <code>f"{answer:02d}"</code> is "05" for 5.</details>
# <details><summary>Hint 3</summary>If the rest is exactly the two digits and ".", a second "!" cannot be in it.</details>

# %% tags=["exercise:verify"]
def verify(text, answer):
    """The reward of one text: 1.0 if its answer is right, else 0.0.

    text: str, what the model wrote after the question, such as "+8=42*7=94!94.". answer: int, 0 to 99.
    Right is: the text has exactly one "!"; behind it stand the two digits of the answer ("05" for 5) and one ".", and nothing
    more. What stands before the "!" does not matter: a chain, a wrong chain, or nothing. Returns float.

    Example: verify("+8=42*7=94!94.", 94) is 1.0, verify("!94.", 94) is 1.0, verify("+8=42*7=94!95.", 94) is 0.0.
    """
    ### BEGIN SOLUTION
    said, sign, after = text.partition("!")
    return float(sign == "!" and after == f"{answer:02d}.")
    ### END SOLUTION

# %% tags=["tests:verify:1"]
with lab.test("verify"):
    for text, answer, want, why in (
        ("+8=42*7=94!94.", 94, 1.0, "a chain and its right answer"),
        ("!94.", 94, 1.0, "an answer without a chain"),
        ("+8=42*7=94!95.", 94, 0.0, "the answer is 95; 94 stands in the chain only"),
        ("+8=42*7=90!94.", 94, 1.0, "a wrong chain, but the right answer: only the answer counts"),
        ("!05.", 5, 1.0, "two digits: 5 is written 05"),
        ("!5.", 5, 0.0, "one digit where two are asked for"),
        ("!94", 94, 0.0, "no end: the text was cut"),
        ("!95.!94.", 94, 0.0, "two answers"),
        ("!94!94.", 94, 0.0, "two answers, even if both are right"),
        ("+8=42*7=94.", 94, 0.0, "no answer: nothing is announced by !"),
        ("!942.", 42, 0.0, "three digits"),
        ("!94.94.", 94, 0.0, "something stands behind the end"),
        ("", 0, 0.0, "an empty text"),
    ):
        got = verify(text, answer)
        assert got == want, f"verify({text!r}, {answer}) should be {want} ({why}), but it is {got}"
        assert isinstance(got, float), f"return a float, not {type(got).__name__}"

# %% tags=["hidden:verify:2"]
def probe():
    texts = ["!07.", "!7.", "+1=07!07.", "!70.", "!07.07.", "!07", "07.", "!!07.", "!07!07.", "=07", "!+7.", "!007.", "!0 7.", "."]
    return {
        "small": [verify(text, 7) for text in texts],  # because: an answer below 10
        "zero": [verify(text, 0) for text in ("!00.", "!0.", "!.", "", "!000.")],  # because: the answer 0
        "large": [verify(text, 89) for text in ("!89.", "+2=89!88.", "!8989.", "!89.!89.", "*3=89!89.")],  # because: two digits
        "type": type(verify("!07.", 7)).__name__,  # because: the type of the reward
    }


def visible():
    return [
        verify("+8=42*7=94!94.", 94), verify("!5.", 5), verify("!05.", 5), verify("!95.!94.", 94), verify("!94", 94),
        verify("+8=42*7=94.", 94), verify("!942.", 42), verify("!94.94.", 94),
    ]  # fmt: skip

# %% [markdown]
# ## 2 · Many texts, one reading
#
# All that follows draws many texts (*rollouts*, 采样轨迹) for each question: eight here, often 16 to 64 for a large model. The
# question is the same for all of a group. So its keys and values (the *cache*, 缓存; chapter 9) are computed once and then shared.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Groups of 8, questions of 11 tokens, and texts that are computed until the longest of the batch ends, at about 27: "
    "which share of the tokens that go through the model is saved?",
    unit="%",
    tolerance=0.2,
)

# %% [markdown]
# Hints for `sample_group`:
#
# <details><summary>Hint 1</summary>One pass over the prompts with <code>use_cache=True</code>. Then repeat the cache and the last
# logits, and draw token by token, giving the model only the newest token.</details>
# <details><summary>Hint 2</summary><code>out.past_key_values.batch_repeat_interleave(group)</code> repeats each row of the cache in its
# place; <code>logits.repeat_interleave(group, 0)</code> does the same to a tensor.</details>
# <details><summary>Hint 3</summary><code>torch.multinomial(probabilities.cpu(), 1, generator=generator)</code> draws; a row that is done gets
# END whatever was drawn. Keep a tensor <code>done</code> of bools.</details>

# %% tags=["exercise:sample_group"]
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    """`group` texts for each of some prompts of equal length; the prompts are computed once, not `group` times.

    prompts: int64 (n, m). length: int, at most so many new tokens. generator: a torch.Generator of the CPU: the only source
    of chance. temperature: float, above 0; logits are divided by it.
    Returns (new, logs), both (n · group, at most length), on the device of prompts: rows 0 … group-1 belong to prompt 0, the
    next `group` rows to prompt 1, and so on. new: int64; behind the first END of a row stand only ENDs. logs: the
    log-probability with which each token was drawn (with the temperature); behind the first END it may be anything.
    Stop early when every row has its END. The model gets each prompt once; after that only the newest token of each row.

    Example: 3 prompts, group 2: rows 0 and 1 continue prompt 0, rows 2 and 3 prompt 1, rows 4 and 5 prompt 2.
    """
    ### BEGIN SOLUTION
    out = model(prompts, use_cache=True)
    cache = out.past_key_values
    cache.batch_repeat_interleave(group)
    logits = out.logits[:, -1].repeat_interleave(group, 0)
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool, device=prompts.device), [], []
    for _ in range(length):
        chances = (logits / temperature).log_softmax(-1)
        ids = torch.multinomial(chances.exp().cpu(), 1, generator=generator).to(prompts.device)
        ids[done] = END
        new.append(ids)
        logs.append(chances.gather(1, ids))
        done |= ids[:, 0] == END
        if done.all() or len(new) == length:
            break
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1), torch.cat(logs, 1)
    ### END SOLUTION

# %%
class Watched:
    """A model that notes how many rows and columns of tokens it is given at each call."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def __call__(self, input_ids=None, **options):
        self.calls.append(tuple(input_ids.shape))
        return self.model(input_ids, **options)

    def __getattr__(self, name):
        return getattr(self.model, name)


@torch.no_grad()
def read_again(model, prompts, new, temperature=1.0):
    """Log-probabilities of all drawn tokens, computed without a cache: a pass over the whole text for each token."""
    ids, logs, rows = torch.cat([prompts.repeat_interleave(len(new) // len(prompts), 0), new], 1), [], torch.arange(len(new))
    for j in range(new.shape[1]):
        chances = (model(ids[:, : prompts.shape[1] + j]).logits[:, -1] / temperature).softmax(-1)
        logs.append(chances[rows, new[:, j]].log())
    return torch.stack(logs, 1)


def ends_well(new):
    """Does only END stand behind the first END of each row?"""
    return bool((new[written(new) == 0] == END).all())

# %% tags=["tests:sample_group:2"]
with lab.test("sample_group"):
    asked, watched = questions(*draw(3, 3, torch.Generator().manual_seed(1))), Watched(base_model())
    new, logs = sample_group(watched, asked, 4, 40, torch.Generator().manual_seed(0))
    new, logs = new.clone(), logs.clone()
    assert new.shape == logs.shape and len(new) == 12, f"3 prompts, 4 texts each: 12 rows, but new has {tuple(new.shape)}"
    assert new.dtype == torch.int64, f"new should be int64, but it is {new.dtype}"
    assert new.shape[1] < 40, "all texts ended long before 40 tokens: stop when each row has its END"
    assert ends_well(new), "behind the first END of a row only ENDs may stand"
    used, counts = sum(rows * columns for rows, columns in watched.calls), written(new) > 0
    assert used <= 3 * asked.shape[1] + 12 * new.shape[1], (
        f"the model was given {used} tokens; with each prompt read once, {3 * asked.shape[1] + 12 * new.shape[1]} are enough"
    )
    lab.expect_close(logs[counts], read_again(base_model(), asked, new)[counts], "logs (computed again without a cache)", 1e-3, 1e-4)
    torch.manual_seed(5)
    again, _ = sample_group(base_model(), asked, 4, 40, torch.Generator().manual_seed(0))
    assert torch.equal(again, new), "the same generator should give the same texts: draw with `generator` only"
    other, _ = sample_group(base_model(), asked, 4, 40, torch.Generator().manual_seed(1))
    assert other.shape != new.shape or not torch.equal(other, new), "another generator should give other texts"
    assert (new.view(3, 4, -1) != new.view(3, 4, -1)[:, :1]).any(), "the texts of a group are all the same: draw anew for each row"
    cold, _ = sample_group(base_model(), asked, 4, 40, torch.Generator().manual_seed(0), temperature=1e-4)
    assert (cold.view(3, 4, -1) == cold.view(3, 4, -1)[:, :1]).all(), "at temperature 0.0001 the texts of a group are all the same"
    new, logs = (x.clone() for x in sample_group(base_model(), asked, 4, 3, torch.Generator().manual_seed(0), temperature=2.0))
    assert new.shape[1] <= 3, f"at most `length` = 3 tokens, but there are {new.shape[1]}"
    lab.expect_close(logs, read_again(base_model(), asked, new, 2.0), "logs at temperature 2, with which the tokens were drawn", 1e-3, 1e-4)

# %% tags=["hidden:sample_group:4"]
def outcome(count, group, length, temperature):
    asked, model = questions(*draw(count, 2, torch.Generator().manual_seed(9))), Watched(base_model())
    new, logs = (x.clone() for x in sample_group(model, asked, group, length, torch.Generator().manual_seed(3), temperature))
    again = read_again(base_model(), asked, new, temperature)
    mask = written(new) > 0
    off = (logs - again)[mask].abs().max()
    used = sum(rows * columns for rows, columns in model.calls)
    return {
        "rows": len(new), "at most": new.shape[1] <= length, "ends": ends_well(new), "logs": bool(off < 1e-3),
        "read once": used <= count * asked.shape[1] + count * group * new.shape[1],
        "early": new.shape[1] < 60, "differ": group == 1 or length < 5 or len({tuple(row) for row in new.tolist()}) > count,
    }  # fmt: skip


def probe():
    return {
        "usual": outcome(5, 3, 30, 1.0),  # because: several prompts with a group each
        "one prompt": outcome(1, 6, 30, 1.0),  # because: one prompt
        "group of one": outcome(4, 1, 30, 1.0),  # because: a group of one text
        "warm": outcome(4, 3, 30, 1.5),  # because: a temperature above 1
        "cold": outcome(4, 3, 30, 0.5),  # because: a temperature below 1
        "short": outcome(4, 3, 1, 1.0),  # because: one token only
        "long": outcome(2, 2, 60, 0.2),  # because: much room that no text needs
    }


def visible():
    return outcome(3, 4, 40, 1.0)

# %% [markdown]
# What does sharing save? Both ways draw the same texts.

# %% tags=["experiment"]
lab.needs("sample_group")
asked = questions(*draw(lab.budget(full=32, quick=4), 4, torch.Generator().manual_seed(2)))
used = []
for name, prompts, group in (("each question read once", asked, 8), ("read for each text", asked.repeat_interleave(8, 0), 1)):
    watched, begin = Watched(base), time.perf_counter()
    sample_group(watched, prompts, group, room(4), torch.Generator().manual_seed(0))
    used.append(sum(rows * columns for rows, columns in watched.calls))
    print(f"{name:<24}{used[-1]:>7,} tokens through the model, {time.perf_counter() - begin:.2f} s")
guess.reveal(100 * (1 - used[0] / used[1]), why=f"Seven of eight readings of a question are saved, {questions(*draw(1, 4, torch.Generator())).shape[1]} tokens each; each new token is read in both ways.")

# %% [markdown]
# Here questions are short (and rows that are done are computed until the longest text ends). A large model reads a question of hundreds of tokens, in a pass
# that the whole group shares; what remains are the new tokens, one pass each.
#
# Now look at what the base model writes.

# %% tags=["experiment"]
lab.needs("sample_group", "verify")
asked = draw(4, 3, torch.Generator().manual_seed(4))
new, _ = sample_group(base, questions(*asked), 6, room(3), torch.Generator().manual_seed(0))
texts, truth = texts_of(new), running(*asked)[:, -1].tolist()
for i, question in enumerate(questions(*asked).tolist()):
    marks = [f"{text} {'✓' if verify(text, truth[i]) else '✗'}" for text in texts[6 * i : 6 * i + 6]]
    print(f"{show(question)} ({truth[i]:02d})  " + "   ".join(marks))

# %% [markdown]
# About half of the texts answer at once, and are nearly always wrong. The chains are right more often, and where they fail,
# it is mostly in a tens digit of a later step.
#
# ## 3 · One try or many
#
# *Pass@k* (k次通过率): the chance that at least one of $k$ texts is right. Drawing exactly $k$ texts and looking gives a noisy
# estimate. @chen2021evaluating draw $n > k$ texts once, count the right ones, $c$, and ask: if $k$ of these $n$ are drawn,
# without putting one back, how often is a right one among them? Of all $\binom{n}{k}$ choices, $\binom{n-c}{k}$ have none:
#
# $$\widehat{\text{pass@}k} = 1 - \binom{n-c}{k} \Big/ \binom{n}{k}$$
#
# <details><summary>Hint 1</summary>Fewer than k wrong texts: then every choice has a right one.</details>
# <details><summary>Hint 2</summary><code>math.comb(n, k)</code> is exact for whole numbers of any size.</details>
# <details><summary>Hint 3</summary>Or a product: the first is wrong with chance (n-c)/n, the second with (n-c-1)/(n-1), …</details>

# %% tags=["exercise:pass_at_k"]
def pass_at_k(n, right, k):
    """The chance that at least one of k texts is right, estimated from n texts of which `right` were right.

    n, right, k: int, 0 ≤ right ≤ n, 1 ≤ k ≤ n. The k are drawn from the n without putting one back. Returns float.

    Example: pass_at_k(4, 1, 2) is 0.5: of the six pairs out of four texts, three have the right one.
    """
    ### BEGIN SOLUTION
    if n - right < k:
        return 1.0
    return 1.0 - math.prod((n - right - i) / (n - i) for i in range(k))
    ### END SOLUTION

# %% tags=["tests:pass_at_k:1"]
with lab.test("pass_at_k"):
    for n, right, k, want in ((4, 1, 2, 0.5), (10, 3, 1, 0.3), (5, 0, 3, 0.0), (5, 5, 5, 1.0), (6, 4, 3, 1.0), (64, 1, 64, 1.0)):
        lab.expect_close(pass_at_k(n, right, k), want, f"pass_at_k({n}, {right}, {k})")
    lab.expect_close(pass_at_k(2000, 10, 100), 1 - 0.5979, "pass_at_k(2000, 10, 100)", 1e-3)
    assert isinstance(pass_at_k(4, 1, 2), float), "return a float"

# %% tags=["hidden:pass_at_k:2"]
def probe():
    return {
        "usual": [pass_at_k(16, c, k) for c in (1, 3, 9) for k in (2, 4, 8)],  # because: some right, some wrong
        "one": [pass_at_k(16, c, 1) for c in (0, 5, 16)],  # because: k of one
        "all": [pass_at_k(12, c, 12) for c in (0, 1, 12)],  # because: all texts are taken
        "few wrong": [pass_at_k(12, 10, k) for k in (2, 3)],  # because: fewer wrong texts than k
        "large": [pass_at_k(3000, 7, 400)],  # because: thousands of texts
    }


def visible():
    return [pass_at_k(4, 1, 2), pass_at_k(10, 3, 1), pass_at_k(5, 0, 3), pass_at_k(6, 4, 3), pass_at_k(2000, 10, 100)]

# %% [markdown]
# A tempting shortcut is $1 - (1 - c/n)^k$. Suppose every text is right with chance 0.1; then pass@8 is $1 - 0.9^8$. Draw 16 texts,
# estimate in both ways, 20,000 times.

# %% tags=["hide-input"]
guess = widgets.predict("What is the shortcut on average?", options=["too high", "too low", "right"])

# %% tags=["experiment"]
lab.needs("pass_at_k")
found = np.random.default_rng(0).binomial(16, 0.1, 20_000)
unbiased, shortcut = (np.array([f(c) for c in range(17)])[found] for f in (lambda c: pass_at_k(16, c, 8), lambda c: 1 - (1 - c / 16) ** 8))
for name, values in (("unbiased", unbiased), ("shortcut", shortcut)):
    print("{:<9} mean {:.3f} [{:.3f}, {:.3f}]".format(name, *scoring.mean(values)), f"(right: {1 - 0.9**8:.3f})")
value, low, high = scoring.mean(shortcut)
guess.reveal("too high" if low > 1 - 0.9**8 else "too low" if high < 1 - 0.9**8 else "right", why=f"{value:.3f}, and right is {1 - 0.9**8:.3f}.")

# %% [markdown]
# With $c$ random, $(1 - c/n)^k$ is on average larger than $(1 - p)^k$, because the power is a convex
# function (Jensen's inequality). The other estimator is right on average for every $p$.
#
# ## 4 · Learn from your own right answers
#
# The simplest method: draw texts, keep the right ones, train on them as if a teacher had written them. This is *rejection
# sampling* (拒绝采样); repeated in rounds, each with the model of the last one, it is STaR [@zelikman2022star]. Two details
# decide how well it works [@yuan2023scaling]: repeated texts teach nothing new, and easy problems would crowd out the hard ones.
#
# <details><summary>Hint 1</summary>Go through the groups one after another; for each remember which texts you have kept.</details>
# <details><summary>Hint 2</summary>A <code>set</code> of this group's kept texts says what repeats, and its size how many there are.</details>

# %% tags=["exercise:kept"]
def kept(texts, rewards, group, most):
    """Which texts to imitate (rejection sampling): places of right ones, different ones, and not too many per problem.

    texts: list of str; the first `group` belong to problem 0, the next `group` to problem 1, and so on. rewards: list of
    float, one for each text. most: int, at most so many texts of one problem.
    Of each problem: the texts with reward 1, without those that repeat an earlier text *of the same problem*; of these the
    first `most`. Returns a list of int, rising.

    Example: kept(["a", "b", "a", "c", "b", "d"], [1, 1, 1, 0, 1, 1], 3, 2) is [0, 1, 4, 5]: text 2 repeats text 0, text 3 is
    wrong; text 4 repeats text 1, but of another problem.
    """
    ### BEGIN SOLUTION
    places = []
    for first in range(0, len(texts), group):
        seen = set()
        for i in range(first, first + group):
            if rewards[i] == 1 and texts[i] not in seen and len(seen) < most:
                seen.add(texts[i])
                places.append(i)
    return places
    ### END SOLUTION

# %% tags=["tests:kept:1"]
with lab.test("kept"):
    got = kept(["a", "b", "a", "c", "b", "d"], [1, 1, 1, 0, 1, 1], 3, 2)
    assert list(got) == [0, 1, 4, 5], f"the example should give [0, 1, 4, 5], but it gives {got}"
    got = kept(["a", "a", "b", "c"], [1.0, 1.0, 1.0, 1.0], 4, 2)
    assert list(got) == [0, 2], f"first leave out what repeats, then count to `most`: [0, 2], not {got}"
    got = kept(["a", "a"], [0.0, 1.0], 2, 1)
    assert list(got) == [1], f"a wrong text does not count as an earlier one: [1], not {got}"
    assert list(kept(["a", "b"], [0.0, 0.0], 2, 4)) == [], "nothing right: nothing kept"

# %% tags=["hidden:kept:2"]
def probe():
    words = list("abacabadabacabae")
    return {
        "usual": kept(words, [1, 0, 1, 1, 1, 1, 0, 1] * 2, 4, 2),  # because: four problems, some texts wrong, some repeated
        "many": kept(words, [1] * 16, 8, 8),  # because: room for all that differ
        "one": kept(words, [0, 1] * 8, 4, 1),  # because: one text per problem
        "same text": kept(["x"] * 6, [1] * 6, 2, 2),  # because: one text for all problems
        "wrong first": kept(list("xxyxzxyz"), [0, 1, 1, 1, 0, 0, 1, 1], 4, 3),  # because: the same text, once not rewarded
        "none": kept(words, [0] * 16, 4, 2),  # because: nothing is right
    }


def visible():
    return [kept(["a", "b", "a", "c", "b", "d"], [1, 1, 1, 0, 1, 1], 3, 2), kept(["a", "a", "b", "c"], [1.0] * 4, 4, 2)]

# %% [markdown]
# ## 5 · Better than expected
#
# Rejection sampling learns from right texts only. *REINFORCE* (策略梯度) [@williams1992simple] with a baseline also learns from
# wrong ones: it raises the log-probability of each text in proportion to its *advantage* (优势), the reward minus what was
# expected (the lecture derives it). What to expect is what methods differ in. GRPO [@shao2024deepseekmath] takes the mean of the
# group, so that a problem's own difficulty drops out, and then divides by the standard deviation of the group.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Three groups of four texts, with the rewards 1, 1, 1, 1; 1, 1, 0, 0; and 1, 0, 0, 0. Which right text gets the largest advantage by GRPO?",
    options=["one of the four", "one of the two", "the only one", "all right texts get the same"],
)
guess_2 = widgets.predict("And which one gets the largest without the division?", options=["one of the four", "one of the two", "the only one", "all right texts get the same"])

# %% [markdown]
# <details><summary>Hint 1</summary>Which dimension is the group? Keep it while you take the mean, so that the shapes fit.</details>
# <details><summary>Hint 2</summary><code>rewards.mean(1, keepdim=True)</code>, <code>rewards.std(1, keepdim=True)</code>.</details>

# %% tags=["exercise:advantages"]
def advantages(rewards, kind):
    """How much better than expected was each text?

    rewards: float32 (problems, group). kind:
    - "reward": the reward itself,
    - "batch": reward minus the mean of the whole batch,
    - "group": reward minus the mean of its own problem's group,
    - "group, std": that, divided by the standard deviation of its group (torch's default, with n - 1) plus 1e-4.
    Returns a new float32 (problems, group), on the device of rewards.

    Example: advantages(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "group") is [[0.5, -0.5], [0, 0]].
    """
    ### BEGIN SOLUTION
    if kind == "reward":
        return rewards.clone()
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + 1e-4) if kind == "group, std" else centred
    ### END SOLUTION

# %% tags=["tests:advantages:1"]
with lab.test("advantages"):
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    before = rewards.clone()
    for kind, want in (
        ("reward", rewards),
        ("batch", rewards - 7 / 12),
        ("group", torch.tensor([[0.75, -0.25, -0.25, -0.25], [0.0] * 4, [0.5, 0.5, -0.5, -0.5]])),
        ("group, std", torch.tensor([[1.4997, -0.4999, -0.4999, -0.4999], [0.0] * 4, [0.8659, 0.8659, -0.8659, -0.8659]])),
    ):
        lab.expect_close(advantages(rewards, kind), want, f'advantages of kind "{kind}"', 1e-3, 1e-4)
    got = advantages(rewards, "reward")
    got += 1
    assert torch.equal(rewards, before), "the rewards that you were given must stay as they are: return a new tensor"

# %% tags=["hidden:advantages:2"]
def untouched():
    given = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    for kind in ("reward", "batch", "group", "group, std"):
        got = advantages(given, kind)
        got += 1
    return given


def probe():
    g = torch.Generator().manual_seed(2)
    shares, coins = torch.rand(4, 6, generator=g), (torch.rand(5, 3, generator=g) < 0.4).float()
    kinds = ("reward", "batch", "group", "group, std")
    return {
        "shares": [advantages(shares, kind) for kind in kinds],  # because: rewards between 0 and 1
        "coins": [advantages(coins, kind) for kind in kinds],  # because: rewards of 0 and 1, not as many texts as problems
        "equal": [advantages(torch.ones(2, 4), kind) for kind in kinds],  # because: equal rewards everywhere
        "one problem": [advantages(shares[:1], kind) for kind in kinds],  # because: one problem
        "given": untouched(),  # because: the tensor you were given, which must stay as it was
    }


def visible():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    return [advantages(rewards, kind) for kind in ("reward", "batch", "group", "group, std")]

# %% tags=["experiment", "hide-input"]
lab.needs("advantages")
rewards = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
divided, plain = (advantages(rewards, kind)[:, 0] for kind in ("group, std", "group"))
for name, gains in (("with the standard deviation", divided), ("without", plain)):
    print(f"advantage of a right text in each of the three groups, {name}:", [round(float(gain), 2) for gain in gains])
guess.reveal(
    "all right texts get the same" if divided.min() == divided.max() else ("one of the four", "one of the two", "the only one")[int(divided.argmax())],
    why="What is rare in its group is far from the mean.",
)
guess_2.reveal(
    "all right texts get the same" if plain.min() == plain.max() else ("one of the four", "one of the two", "the only one")[int(plain.argmax())],
    why="The same order; but the division raises the rare one most.",
)

# %% [markdown]
# A group whose texts are all right, or all wrong, teaches nothing: the advantages are 0. With the division both other groups gain,
# and the one with the rare right text most. That is the *difficulty bias* (难度偏差) which @liu2025understanding describe.
#
# ## 6 · The loss
#
# First the log-probabilities of what was written, this time with gradient.
#
# <details><summary>Hint 1</summary>The logits at a position are about the <i>next</i> token.</details>
# <details><summary>Hint 2</summary>With m prompt tokens, the first new token is predicted at position m - 1.</details>
# <details><summary>Hint 3</summary><code>logits.log_softmax(-1).gather(2, new[..., None])[..., 0]</code></details>

# %% tags=["exercise:log_probs"]
def log_probs(model, prompts, new):
    """Log-probabilities of tokens behind prompts, with gradient.

    prompts: int64 (n, m). new: int64 (n, k), what was written behind them. Returns float32 (n, k): the natural logarithm of
    the probability of new[i, j], given prompts[i] and new[i, :j]. One pass of the model.

    Example: exp(log_probs(model, prompts, new))[:, 0] is the probability of each first new token.
    """
    ### BEGIN SOLUTION
    ids = torch.cat([prompts, new], 1)
    logits = model(ids[:, :-1]).logits[:, prompts.shape[1] - 1 :].float()
    return logits.log_softmax(-1).gather(2, new[..., None])[..., 0]
    ### END SOLUTION

# %% tags=["tests:log_probs:1"]
with lab.test("log_probs"):
    asked, model = questions(*draw(2, 2, torch.Generator().manual_seed(1))), base_model()
    new = demonstrations(draw(2, 2, torch.Generator().manual_seed(1)), "chain")[:, asked.shape[1] :]
    got = log_probs(model, asked, new)
    assert got.shape == new.shape, f"one number for each new token: {tuple(new.shape)}, not {tuple(got.shape)}"
    assert got.requires_grad, "the loss needs a gradient: no torch.no_grad() and no detach()"
    lab.expect_close(got.detach(), read_again(model, asked, new), "log_probs, against one pass for each token", 1e-4, 1e-4)
    watched = Watched(model)
    log_probs(watched, asked, new)
    assert len(watched.calls) == 1, f"one pass of the model is enough, but there were {len(watched.calls)}"

# %% tags=["hidden:log_probs:2"]
def probe():
    torch.manual_seed(3)
    g, model = torch.Generator().manual_seed(4), decoder()

    def some(rows, before, behind):
        return [torch.randint(0, len(TOKENS), (rows, n), generator=g) for n in (before, behind)]

    cases = {
        "usual": log_probs(model, *some(3, 7, 9)),  # because: several rows
        "one token": log_probs(model, *some(3, 7, 1)),  # because: one new token
        "one row": log_probs(model, *some(1, 1, 5)),  # because: a prompt of one token
    }
    watched = Watched(model)
    log_probs(watched, *some(2, 3, 4))
    return {name: got.detach() for name, got in cases.items()} | {
        "gradient": cases["usual"].requires_grad,  # because: gradient
        "passes": len(watched.calls),  # because: how often the model is asked
    }


def visible():
    asked = questions(*draw(2, 2, torch.Generator().manual_seed(1)))
    new = demonstrations(draw(2, 2, torch.Generator().manual_seed(1)), "chain")[:, asked.shape[1] :]
    return log_probs(base_model(), asked, new).detach()


def check(got, want):
    assert got["gradient"] is True and got["passes"] == 1
    for name in ("usual", "one token", "one row"):
        assert got[name].shape == want[name].shape and np.abs(got[name] - want[name]).max() < 1e-3


def check_visible(got, want):
    assert got.shape == want.shape and np.abs(got - want).max() < 1e-3

# %% [markdown]
# Now the loss. A batch of texts is used for several updates, so the model that is trained has moved away from the one that
# wrote them: the *ratio* corrects for that, and the *clipping* (裁剪; PPO, chapter 3) takes the gradient of a token away when
# its ratio has gone far enough in the direction that its advantage asks for. (That is no limit: other tokens may move it on.) The KL penalty (KL 惩罚) pulls back to the base
# model, by the estimator of @schulman2020approximating that is never negative.
#
# Note what is divided by what. GRPO divides each text's sum by the text's *own length*: a token of a short text weighs more
# than one of a long text. Dr. GRPO [@liu2025understanding] divides by a constant.
#
# <details><summary>Hint 1</summary>Everything up to the sum is (texts, tokens); make the advantage a column first.</details>
# <details><summary>Hint 2</summary>The minimum is taken of the two <i>products</i>, not of the ratios: for a negative advantage the
# other one is smaller.</details>
# <details><summary>Hint 3</summary><code>torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)</code></details>

# %% tags=["exercise:policy_loss"]
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    """The loss of GRPO and its relatives; its gradient raises what was better than expected.

    new, old: float32 (texts, tokens), *log-probabilities* (of log_probs) of the tokens by the model now, with gradient, and by
    the model that wrote them. advantage: float32 (texts,). mask: float32 (texts, tokens), 1 for a token that counts.
    Each token's loss: -min(ratio · A, c · A), with ratio = exp(new - old), A the text's advantage, and c the ratio limited to
    1 - clip[0] … 1 + clip[1]; plus beta · (exp(d) - d - 1) with d = reference - new, if beta is not 0 (reference:
    log-probabilities by the base model).
    Each text's loss: the sum over its tokens that count, divided by their number (length None), or by the number `length`.
    Returns the mean over texts, a scalar.

    Example: new = old, advantage [1, -1], two tokens each, all count: the ratio is 1 everywhere, the loss is -1/2 + 1/2 = 0.
    """
    ### BEGIN SOLUTION
    ratio = (new - old).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    loss = -torch.minimum(ratio * advantage[:, None], clipped * advantage[:, None])
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    each = (loss * mask).sum(1)
    return (each / (mask.sum(1) if length is None else length)).mean()
    ### END SOLUTION

# %% tags=["tests:policy_loss:2"]
with lab.test("policy_loss"):
    new = torch.tensor([[-1.0, -0.5], [-2.0, -1.0]])
    gain, all_count = torch.tensor([1.0, -1.0]), torch.ones(2, 2)
    lab.expect_close(policy_loss(new, new, gain, all_count), torch.tensor(0.0), "new = old, advantages 1 and -1")
    up = new + torch.tensor([[0.5, 0.0], [0.0, 0.0]])
    got = policy_loss(up, new, torch.tensor([1.0, 0.0]), all_count)
    lab.expect_close(got, torch.tensor(-(1.2 + 1.0) / 4), "a ratio of 1.65 with advantage 1 counts as 1.2")
    got = policy_loss(up, new, torch.tensor([-1.0, 0.0]), all_count)
    lab.expect_close(got, torch.tensor((1.64872 + 1.0) / 4), "a ratio of 1.65 with advantage -1 counts in full")
    got = policy_loss(new - 0.5, new, torch.tensor([-1.0, -1.0]), all_count)
    lab.expect_close(got, torch.tensor(0.8), "a ratio of 0.61 with advantage -1 counts as 0.8")
    got = policy_loss(up, new, torch.tensor([1.0, 0.0]), all_count, clip=(0.2, 0.4))
    lab.expect_close(got, torch.tensor(-(1.4 + 1.0) / 4), "clip (0.2, 0.4): up to 1.4, down to 0.8")
    half = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    got = policy_loss(new, new, torch.tensor([1.0, 3.0]), half)
    lab.expect_close(got, torch.tensor(-2.0), "texts of one and two tokens: each divided by its own length, then the mean")
    got = policy_loss(new, new, torch.tensor([1.0, 3.0]), half, length=4)
    lab.expect_close(got, torch.tensor(-(1 / 4 + 6 / 4) / 2), "length=4: each text's sum divided by 4")
    got = policy_loss(new, new, torch.zeros(2), all_count, reference=new + 0.5, beta=2.0)
    lab.expect_close(got, torch.tensor(2 * (math.exp(0.5) - 1.5)), "the KL term where the reference gives 0.5 nats more")
    far = new + torch.tensor([[0.5, 3.0], [0.5, 0.5]])
    got = policy_loss(new, new, torch.zeros(2), half, reference=far, beta=2.0)
    lab.expect_close(got, torch.tensor(2 * (math.exp(0.5) - 1.5)), "the KL term of a token that does not count")
    moving = new.clone().requires_grad_()
    policy_loss(moving, new - 0.5, torch.tensor([1.0, -1.0]), all_count).backward()
    assert moving.grad[0].abs().sum() == 0, "beyond the clip, in the direction that the advantage asks for: no gradient"
    assert (moving.grad[1] > 0).all(), "a text with a negative advantage becomes less probable: its gradient is positive"

# %% tags=["hidden:policy_loss:4"]
def probe():
    g = torch.Generator().manual_seed(6)
    new, old, anchor = (-3 * torch.rand(5, 7, generator=g) for _ in range(3))
    gain, mask = torch.randn(5, generator=g), (torch.arange(7) < torch.tensor([[7], [3], [1], [5], [6]])).float()

    def slope(**more):
        moving = new.clone().requires_grad_()
        policy_loss(moving, old, gain, mask, **more).backward()
        return moving.grad

    return {
        "grpo": [policy_loss(new, old, gain, mask), slope()],  # because: texts of different lengths
        "constant": [policy_loss(new, old, gain, mask, length=9)],  # because: a constant length
        "wide": [policy_loss(new, old, gain, mask, clip=(0.1, 0.6))],  # because: two different limits
        "penalty": [policy_loss(new, old, gain, mask, reference=anchor, beta=0.3), slope(reference=anchor, beta=0.3)],  # because: a KL penalty
        "both": [policy_loss(new, old, gain, mask, length=9, clip=(0.3, 0.1), reference=anchor, beta=1.5)],  # because: all together
    }


def visible():
    new = torch.tensor([[-1.0, -0.5], [-2.0, -1.0]])
    up, half = new + torch.tensor([[0.5, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    return [
        policy_loss(up, new, torch.tensor([1.0, 0.0]), torch.ones(2, 2)), policy_loss(up, new, torch.tensor([-1.0, 0.0]), torch.ones(2, 2)),
        policy_loss(new, new, torch.tensor([1.0, 3.0]), half), policy_loss(new, new, torch.tensor([1.0, 3.0]), half, length=4),
        policy_loss(new, new, torch.zeros(2), torch.ones(2, 2), reference=new + 0.5, beta=2.0),
    ]  # fmt: skip

# %% [markdown]
# ### The same loss from TRL
#
# TRL's trainer, a model that has moved a little, one batch of texts: its loss and yours, for GRPO and for Dr. GRPO, with two
# limits of the clip and with the KL penalty.

# %% tags=["experiment", "hide-input"]
def letters():
    """Our signs as a tokenizer, which the trainer asks for."""
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({sign: i for i, sign in enumerate(TOKENS)}, unk_token="."))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=".", pad_token=".")


def by_trl(model, batch, kind, folder):
    """TRL's loss of a batch, and the model that it made it with."""
    settings = dict(loss_type=kind, beta=0.0, use_bias_correction_kl=False, epsilon=0.2, epsilon_high=0.28, max_completion_length=room(3), num_generations=4)
    quiet = dict(per_device_train_batch_size=16, report_to="none", use_cpu=True, bf16=False,
                 activation_checkpointing=False, dataloader_pin_memory=False)  # fmt: skip
    trainer = GRPOTrainer(
        model, lambda completions, **more: [0.0] * len(completions), args=GRPOConfig(folder, **settings, **quiet),
        train_dataset=datasets.Dataset.from_list([{"prompt": "34+8*7?"}] * 16), processing_class=letters(),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps, trainer.beta = 1, 0.04  # set here: else it looks for the reference on a hub
    return trainer._compute_loss(trainer.model, batch).item(), trainer.model

# %% tags=["hide-input", "experiment"]
lab.needs("sample_group", "advantages", "log_probs", "policy_loss")
if importlib.util.find_spec("trl"):
    import tokenizers
    from trl import GRPOConfig, GRPOTrainer

    datasets.disable_progress_bars()
    asked = questions(*draw(4, 3, torch.Generator().manual_seed(0)))
    new, old = (x.clone() for x in sample_group(base, asked, 4, room(3), torch.Generator().manual_seed(0)))
    asked, mask = asked.repeat_interleave(4, 0), written(new)
    gain = advantages(torch.rand(4, 4, generator=torch.Generator().manual_seed(1)), "group, std").flatten()
    anchor = log_probs(base, asked, new).detach()
    batch = dict(
        prompt_ids=asked, prompt_mask=torch.ones_like(asked), completion_ids=new, completion_mask=mask.long(), advantages=gain,
        old_per_token_logps=old, ref_per_token_logps=anchor, num_items_in_batch=mask.sum(),
    )  # fmt: skip
    for kind, length in (("grpo", None), ("dr_grpo", room(3))):
        moved = base_model()
        with torch.no_grad():
            _ = [weights.mul_(1.02) for weights in moved.parameters()]
        with tempfile.TemporaryDirectory() as folder:
            theirs, moved = by_trl(moved, batch, kind, folder)
        with torch.no_grad():
            yours = float(policy_loss(log_probs(moved, asked, new), old, gain, mask, length, (0.2, 0.28), anchor, 0.04))
        print(f"{kind:<8} yours {yours:+.7f}, TRL {theirs:+.7f}")
        assert abs(yours - theirs) < 1e-5
else:
    print("TRL is not installed here: nothing to compare with.")

# %% [markdown]
# Equal to the last digits of 32-bit numbers. (The cell sets `use_bias_correction_kl=False`: by default TRL multiplies the KL
# term by the ratio, as DeepSeek-V3.2 does, so that its gradient is that of the KL divergence itself; our loss is the older,
# plain form.)
#
# ## 7 · Nine methods, one loop
#
# Everything is there. The next two cells are folded. In the first, `METHODS` says how nine methods differ, and `train`, in the second, is one loop for all:
# draw 256 texts about 32 problems of two, three or four steps, reward them, and update four times on a quarter of them each.
#
# | method | texts by | weight of a text | divided by |
# |---|---|---|---|
# | rejection sampling | the base model (*off-policy*, 异策略) | 1 if kept | a constant |
# | STaR, 4 rounds | the last round's model | 1 if kept | a constant |
# | REINFORCE, no baseline | the model that is trained (*on-policy*, 同策略) | reward | a constant |
# | REINFORCE, batch baseline | the same | reward − mean of the batch | a constant |
# | Dr. GRPO | the same | reward − mean of the group | a constant |
# | GRPO, no std | the same | reward − mean of the group | own length |
# | GRPO | the same | (reward − mean of the group) / std | own length |
#
# and GRPO with a KL penalty, or without clipping. (Our STaR goes on with one model and gives no hints; the paper's begins each round
# with the base model again, and lets it try once more with the answer as a hint. The two methods in which repeated texts are
# kept are controls for section 8.)

# %% tags=["ladder", "hide-input"]
def only_right(text, answer):
    """The reward of this chapter: 1 for a right answer, else 0."""
    return verify(text, answer)


def pays_for_steps(text, answer):
    """A reward that can be gamed: half of it for the answer, the other half for up to ten equations, right or wrong."""
    return 0.5 * verify(text, answer) + 0.05 * min(10, text.count("="))


METHODS = {  # kind of advantage; and what differs from: the model itself writes, constant length, no KL penalty
    "rejection sampling": dict(kind="kept", sampler="base"),
    "STaR": dict(kind="kept", sampler="rounds"),
    "REINFORCE, no baseline": dict(kind="reward"),
    "REINFORCE, batch baseline": dict(kind="batch"),
    "GRPO": dict(kind="group, std", own_length=True),
    "GRPO, no std": dict(kind="group", own_length=True),
    "Dr. GRPO": dict(kind="group"),
    "GRPO, KL": dict(kind="group, std", own_length=True, beta=0.04),
    "GRPO, no clipping": dict(kind="group, std", own_length=True, clip=(1.0, 1e9)),
    "rejection sampling, repeats kept": dict(kind="reward", sampler="base"),
    "STaR, repeats kept": dict(kind="reward", sampler="rounds"),
}
TRAINED = (2, 3, 4)  # steps of the problems that methods are trained on, in turn
PROBLEMS, GROUP, ROUNDS, MOST = 32, 8, 4, 4

# %% tags=["ladder", "hide-input"]
def train(method, rate, seed, budget, watch=lambda *state: None, reward=only_right, spare=4, writer=None, **changes):
    """The base model, trained with a method until `budget` tokens have been sampled, PROBLEMS · GROUP texts at a time.

    `writer`: another model that writes in place of the base model, for methods that do not write themselves.
    `watch(tokens, model, log)` is called before the first batch and after each one; `log` has the batch's texts, rewards, and
    which share of its tokens had a ratio beyond 0.8 … 1.2 when it was used.
    """
    plan = dict(own_length=False, beta=0.0, sampler="policy", clip=(0.2, 0.2), updates=4) | METHODS[method] | changes
    model, generator, tokens, batch, rounds = base_model(), torch.Generator().manual_seed(seed), 0, 0, 0
    reference, sampler = base_model(), model if plan["sampler"] == "policy" else writer or base_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    watch(0, model, {})
    while tokens < budget:
        if plan["sampler"] == "rounds" and tokens * ROUNDS // budget > rounds:
            rounds, sampler = rounds + 1, copy.deepcopy(model)
        count = TRAINED[batch % len(TRAINED)]
        problem = draw(PROBLEMS, count, generator)
        prompts, truth = questions(*problem), running(*problem)[:, -1].repeat_interleave(GROUP).tolist()
        new, old = (x.clone() for x in sample_group(sampler, prompts, GROUP, room(count, spare), generator))  # no inference tensors
        texts, mask = texts_of(new), written(new)
        rewards = torch.tensor([reward(text, answer) for text, answer in zip(texts, truth, strict=True)])
        if plan["kind"] == "kept":
            gain = torch.zeros(len(texts))
            gain[kept(texts, rewards.tolist(), GROUP, MOST)] = 1.0
        else:
            gain = advantages(rewards.view(PROBLEMS, GROUP), plan["kind"]).flatten()
        prompts, batch, tokens, beyond = prompts.repeat_interleave(GROUP, 0), batch + 1, tokens + int(mask.sum()), []
        order = torch.randperm(PROBLEMS * GROUP, generator=generator)
        used = order if plan["beta"] else order[gain[order] != 0]  # a KL penalty concerns all texts
        for part in used.tensor_split(plan["updates"]):
            if len(part) == 0:
                continue
            logs = log_probs(model, prompts[part], new[part])
            before = old[part] if plan["sampler"] == "policy" else logs.detach()  # imitation: ratio 1, whoever wrote it
            with torch.no_grad():
                anchor = log_probs(reference, prompts[part], new[part]) if plan["beta"] else None
            length = None if plan["own_length"] else room(count, spare)
            loss = policy_loss(logs, before, gain[part], mask[part], length, plan["clip"], anchor, plan["beta"])
            loss = loss * len(part) * plan["updates"] / len(order)  # texts without an advantage were left out, but count
            beyond.append(((logs - before).detach().exp() - 1).abs()[mask[part] > 0].gt(0.2).float().mean().item())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        watch(tokens, model, {"texts": texts, "rewards": rewards, "beyond": np.mean(beyond or [0.0])})
    return model

# %% [markdown]
# ### Live: what do the first 60,000 tokens change?
#
# Three methods, one seed, about a quarter of a minute each.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which share grows more in these tokens of GRPO: that of texts with steps, or that of right answers among the texts with steps?",
    options=["right answers among the texts with steps", "texts with steps", "both by about as much (less than 0.05 apart)"],
)

# %% tags=["hide-input", "experiment"]
lab.needs("verify", "sample_group", "kept", "advantages", "log_probs", "policy_loss")
rows = []
for method in ("rejection sampling", "REINFORCE, no baseline", "GRPO"):

    def note(tokens, model, log, method=method):
        if log:
            chains = [text for text in log["texts"] if "=" in text]
            right = [r for r, text in zip(log["rewards"].tolist(), log["texts"], strict=True) if "=" in text]
            rows.append((method, tokens, len(chains) / len(log["texts"]), sum(right) / max(1, len(right)), float(log["rewards"].mean())))

    train(method, 3e-4, 0, lab.budget(full=60_000, quick=6_000), note)
live = pd.DataFrame(rows, columns=["method", "sampled tokens", "with steps", "right, of those with steps", "right"])
fig, axes = plt.subplots(1, 3, figsize=(13, 3.8), sharey=True)
for ax, (what, title) in zip(axes, (("with steps", "texts with steps"), ("right, of those with steps", "right answers among them"),
                                    ("right", "right answers among all texts")), strict=True):  # fmt: skip
    for i, (method, part) in enumerate(live.groupby("method", sort=False)):
        ax.plot(part["sampled tokens"], part[what].rolling(3).mean(), label=method, color=plots.COLORS[i],
                linestyle=plots.LINES[i], marker=plots.MARKERS[i])  # fmt: skip
    ax.set(title=title, xlabel="sampled tokens", ylim=(0, 1.02))
axes[0].set_ylabel("share (mean of three batches)")
axes[0].legend(fontsize=10)
plt.show()
for method, part in live.groupby("method", sort=False):
    begin, end = (part.iloc[some][["with steps", "right, of those with steps"]].mean() for some in (slice(3), slice(-3, None)))
    print(f"{method:<23} with steps {begin.iloc[0]:.2f} → {end.iloc[0]:.2f}; right, of those {begin.iloc[1]:.2f} → {end.iloc[1]:.2f}")
more, better = (end - begin).tolist()  # of GRPO, the last of the three
guess.reveal(
    "both by about as much (less than 0.05 apart)" if abs(more - better) < 0.05
    else "texts with steps" if more > better
    else "right answers among the texts with steps",
    why=f"{more:+.2f} for texts with steps, {better:+.2f} for right answers among them (the last three batches against the first three).",
)

# %% [markdown]
# Each point is the mean of three batches, of problems of two, three and four steps. At full budget the left picture moves far more than
# the middle one: the models learn to *begin with a step* before they learn anything that one could see about steps.

# %% [markdown]
# ## 8 · What five seeds say
#
# One seed and 60,000 tokens are an anecdote. `rewards.py` beside this lab ran the same loop for 320,000 sampled tokens, with
# five seeds for each method. Each method's learning rate was searched first, with a seed of its own and on problems that are
# used for nothing else. Two supervised runs see as many tokens of *demonstrations*, which no other method sees: chains by the
# program, or the base model's own mixture of direct answers and chains. All are tested on the same 96 problems of three
# and four steps, with 16 texts each.
#
# In the table: *supervised fine-tuning* (SFT, 有监督微调) on chains or on the base model's mixture; *base*, untrained; *chain begun*, its first sign
# given with the question.

# %% tags=["hide-input"]
guess = widgets.predict(
    "By pass@1, REINFORCE without a baseline is ahead of rejection sampling. And by *pass@16*, a right one among 16 texts: where is it then?",
    options=["ahead, too", "behind", "no difference that can be seen"],
)
guess_2 = widgets.predict(
    "Which of two models falls *below* the base model (at temperature 1) on problems of five and six steps?",
    options=["that of GRPO", "that of the program's chains", "both", "neither"],
)

# %% tags=["experiment"]
runs = tables.load("reasoning_runs")
untrained = runs["method"].str.startswith("base")
trained, raw = runs[~untrained], runs[untrained]  # of the base model the column "rate" has the temperature
main = list(trained["method"].unique())
controls = tables.load("reasoning_controls").drop(columns="method").rename(columns={"control": "method"})
trained = pd.concat([trained, controls])
last = trained[trained["tokens"] == trained.groupby(["method", "seed"])["tokens"].transform("max")]
rows = {}
for method, part in last[last["method"].isin(main)].groupby("method", sort=False):
    rows[method] = {"rate": f"{part['rate'].iloc[0]:g}", "seeds": len(part)}
    for what in ("pass_1", "pass_16", "longer", "length", "entropy"):
        digits_ = 1 if what == "length" else 2
        rows[method][what] = "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*scoring.mean(part[what]), d=digits_)
for (method, temperature), part in raw.groupby(["method", "rate"]):
    one = part.iloc[0]
    rows[f"{method}, temperature {temperature:g}"] = {"rate": "", "seeds": ""} | {
        what: f"{one[what]:.{1 if what == 'length' else 2}f}" for what in ("pass_1", "pass_16", "longer", "length", "entropy")
    }
pd.DataFrame(rows).T.sort_values("pass_1", ascending=False)

# %% [markdown]
# *pass_1* and *pass_16* are about problems of three and four steps; *longer* is pass@1 on problems of five and six steps, which
# the methods' training does not contain (the base model's did); *length* is in tokens per text, *entropy* in nats per token.
# Brackets: 95 % t intervals over seeds. They say how much a *run* varies; the 96 problems are the same for all.

# %% tags=["hide-input", "experiment"]
fig, axes = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
groups = (
    ["rejection sampling", "STaR", "REINFORCE, no baseline", "REINFORCE, batch baseline", "GRPO"],
    ["SFT, chains", "SFT, as the base", "GRPO", "Dr. GRPO", "GRPO, KL"],
)
for ax, names in zip(axes, groups, strict=True):
    for i, name in enumerate(names):
        part = trained[trained["method"] == name].copy()
        part["place"] = part.groupby("seed").cumcount()
        means = part.groupby("place")[["tokens", "pass_1"]].mean()
        ax.plot(means["tokens"] / 1000, means["pass_1"], color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i], label=name)
        ax.plot(part["tokens"] / 1000, part["pass_1"], color=plots.COLORS[i], linestyle="", marker=".", alpha=0.4)
    for name, temperature, x, side in (("base", 0.1, 322, "right"), ("base, chain begun", 1.0, 5, "left")):
        level = raw[(raw["method"] == name) & (raw["rate"] == temperature)]["pass_1"].iloc[0]
        ax.axhline(level, color="grey", linestyle=":", marker="")
        ax.text(x, level + 0.004, f"{name}, temperature {temperature:g}", ha=side, fontsize=10,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
    ax.set(title="pass@1 at equal tokens (points: seeds)", xlabel="sampled tokens (thousand)")
    ax.legend(fontsize=10)
axes[0].set_ylabel("pass@1, three and four steps")
plt.show()

# %% tags=["hide-input", "experiment"]
def against(first, second):
    """Paired difference over seeds of two methods, on the test's 96 problems and on the 192 of the validation."""
    says = []
    for what in ("pass_1", "validation"):
        a, b = (last[last["method"] == name].set_index("seed")[what].sort_index() for name in (first, second))
        both = a.index.intersection(b.index)
        gain, low, high = scoring.paired(a[both], b[both])
        says.append(f"{gain:+.3f} [{low:+.3f}, {high:+.3f}] {'first' if low > 0 else 'second' if high < 0 else 'cannot tell'}")
    return first, second, *says


PAIRS = (
    ("STaR", "rejection sampling"), ("rejection sampling, repeats kept", "rejection sampling"),
    ("STaR, repeats kept", "rejection sampling, repeats kept"), ("GRPO", "STaR"), ("GRPO", "STaR, rate 0.0001"),
    ("GRPO", "STaR, repeats kept"), ("GRPO", "REINFORCE, no baseline"), ("GRPO", "REINFORCE, batch baseline"),
    ("GRPO", "GRPO, no std"), ("GRPO, no std", "Dr. GRPO"), ("GRPO", "GRPO, KL"), ("GRPO", "GRPO, no clipping"),
    ("GRPO, 16 updates", "GRPO, 16 updates, no clipping"), ("GRPO", "paid for a step"), ("GRPO", "SFT, as the base"),
    ("SFT, chains", "GRPO"),
)  # fmt: skip
def clearly(method, what, level):
    """1 or -1 if the interval of a method's mean over the seeds lies above or below a level, else 0."""
    _, low, high = scoring.mean(last[last["method"] == method][what] - level)
    return 1 if low > 0 else -1 if high < 0 else 0


by_seed = {name: part.set_index("seed")["pass_16"] for name, part in last.groupby("method")}
change, low, high = scoring.paired(by_seed["REINFORCE, no baseline"], by_seed["rejection sampling"].loc[by_seed["REINFORCE, no baseline"].index])
guess.reveal(
    "ahead, too" if low > 0 else "behind" if high < 0 else "no difference that can be seen",
    why=f"The difference of pass@16 is {change:+.3f} [{low:+.3f}, {high:+.3f}], over the seeds: what is right becomes frequent, and the texts more alike. Section 9 has the whole curves.",
)
untrained_longer = raw[(raw["method"] == "base") & (raw["rate"] == 1)]["longer"].iloc[0]
by_grpo, by_chains = (clearly(method, "longer", untrained_longer) < 0 for method in ("GRPO", "SFT, chains"))
longer = last.groupby("method")["longer"].mean()
guess_2.reveal(
    "both" if by_grpo and by_chains else "that of GRPO" if by_grpo else "that of the program's chains" if by_chains else "neither",
    why=f"The base model has {untrained_longer:.3f}, GRPO {longer['GRPO']:.3f}, the program's chains {longer['SFT, chains']:.3f}.",
)
pd.DataFrame([against(*pair) for pair in PAIRS], columns=["first method", "second method", "first − second: the test's problems", "the 192 problems of the validation"])

# %% [markdown]
# First the figure, then the table of differences. Where an interval contains 0, we cannot tell; of sixteen comparisons, one that excludes 0 on
# one set of problems only is to be expected.
#
# - **It is not simply more training.** As many tokens of the base model's own kind of demonstrations help far less than
#   GRPO. (Its best learning rate was the largest one tried. With it, pass@1 falls at first and is still rising at the end.)
# - **What you throw away matters.** `kept` leaves repeated texts out, and that looked sensible. But a right chain is nearly always the *same*
#   text, and right answers by luck are not: so chains get thinned out. With repeats kept, rejection sampling gains five points,
#   and STaR reaches GRPO. (STaR's learning rate was a close choice; the control at the lower rate does not change the picture.)
# - **Who writes matters.** With the newest model's texts (rounds, on-policy) the result is above that with the base model's.
# - **Which policy gradient, we cannot tell.** Baseline or none, standard deviation or none, own length or a constant, KL penalty or none:
#   on the larger set of problems all intervals contain 0, and they are narrow: a difference of five points would have been seen. Clipping
#   has little to do where each text is used once: even with sixteen updates a batch only 1 to 2 % of the tokens leave 0.8 … 1.2.
# - **Paid for a step alone**, right or wrong, nearly all texts have steps, and pass@1 hardly rises. So GRPO did not only learn to begin.
# - **A demonstration carries more information than a reward of 0 or 1.** The program's chains teach most by far. But look at *longer*: on
#   five and six steps, of which these demonstrations show none, that model falls *below* the base model, while GRPO's rises above it (at
#   temperature 1; at 0.1 the base model does as well). (The two
#   also differ in learning rate, tenfold; with the smallest rate of the search, in the table `reasoning_search`, it does not
#   fall. So the large rate is at least a part of the cause, and imitation as such need not be one.)
# - **The cheapest baseline nearly suffices.** *Chain begun*: the untrained base model, to which the first sign of the chain is
#   given with the question, so that it cannot answer at once. At temperature 1 it is a little below GRPO.
#
# So most of what the rewards bought is *which of two habits to follow*: begin with a step. That is a prompt turned into
# parameters.
#
# ### What changes inside?

# %% tags=["experiment"]
fig, axes = plt.subplots(1, 3, figsize=(13.5, 4))
for ax, (what, title, unit) in zip(axes, (("chains", "texts with steps", "share of texts"), ("length", "length", "tokens per text"),
                                          ("entropy", "entropy", "nats per token")), strict=True):  # fmt: skip
    for i, name in enumerate(("GRPO", "Dr. GRPO", "GRPO, KL", "STaR", "SFT, as the base")):
        part = trained[trained["method"] == name].copy()
        part["place"] = part.groupby("seed").cumcount()
        means = part.groupby("place")[["tokens", what]].mean()
        ax.plot(means["tokens"] / 1000, means[what], color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i], label=name)
    ax.set(title=f"{title}, mean of the seeds", xlabel="sampled tokens (thousand)", ylabel=unit)
begun = raw[(raw["method"] == "base, chain begun") & (raw["rate"] == 1)]["entropy"].iloc[0]
axes[2].axhline(begun, color="grey", linestyle=":", marker="", label="base, chain begun")
axes[2].set_ylim(0.08, 0.6)
axes[2].legend(fontsize=9, loc="upper right")
plt.show()

# %% [markdown]
# Within about 200,000 tokens nearly all texts of the reinforcement methods have steps, and the length follows: it grows because
# the model decides to write steps, and then stays, as each problem has so many steps and no more. The *entropy* (how unsure the model is of the
# next token) falls to less than half. Most of that is the habit, too: the untrained base model with its chain begun is at the dotted line.
# Only what lies below it can be tokens that became surer.
#
# ### A control: a coin's rewards
#
# @shao2025spurious found that *random* rewards, a coin for each text, raised the accuracy of one family of models nearly as much
# as right ones.

# %% tags=["hide-input"]
guess = widgets.predict(
    "GRPO with a coin's rewards, 100,000 sampled tokens, five seeds. With right rewards the entropy falls by more than half. What does it do here?",
    options=["no change that can be seen", "it falls", "it rises"],
)
guess_2 = widgets.predict("And the share of texts with steps?", options=["no change that can be seen", "it falls", "it rises"])

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(8, 4))
for i, name in enumerate(("GRPO", "random rewards")):
    part = trained[(trained["method"] == name) & (trained["tokens"] < 120_000)]
    means = part.assign(place=part.groupby("seed").cumcount()).groupby("place")[["tokens", "pass_1"]].mean()
    label = f"{name} ({part['seed'].nunique()} seeds)"
    ax.plot(means["tokens"] / 1000, means["pass_1"], color=plots.COLORS[i], linestyle=plots.LINES[i], marker="", label=label)
    ax.plot(part["tokens"] / 1000, part["pass_1"], color=plots.COLORS[i], linestyle="", marker=plots.MARKERS[i], alpha=0.6)
ax.set(title="pass@1, three and four steps (points: seeds)", xlabel="sampled tokens (thousand)", ylabel="share of right texts", ylim=(0, 0.6))
ax.legend(fontsize=10)
plt.show()
coin = trained[trained["method"] == "random rewards"].groupby("seed")
change, low, high = scoring.paired(coin["pass_1"].last(), coin["pass_1"].first())
print(f"pass@1 with a coin's rewards: {change:+.3f} [{low:+.3f}, {high:+.3f}], over the seeds")
change, low, high = scoring.paired(coin["entropy"].last(), coin["entropy"].first())
guess.reveal("it rises" if low > 0 else "it falls" if high < 0 else "no change that can be seen", why=f"{change:+.3f} [{low:+.3f}, {high:+.3f}], over the seeds.")
change, low, high = scoring.paired(coin["chains"].last(), coin["chains"].first())
guess_2.reveal("it rises" if low > 0 else "it falls" if high < 0 else "no change that can be seen", why=f"{change:+.3f} [{low:+.3f}, {high:+.3f}], over the seeds.")

# %% [markdown]
# Pass@1 falls a little, with all five seeds, and of the habit that right rewards teach, steps and surer tokens, nothing can be seen. So here
# it is the content of the reward that teaches. @shao2025spurious explain their gain by the clipping term, which hardly acts where each text is used once: our run does not contradict them. And their coin worked with
# Qwen2.5-Math, but often not with other families: another reason to try more than one base model.
#
# ## 9 · Sharper, or able to do more?
#
# A large model after reinforcement learning beats its base model at pass@1; at pass@k with a large $k$ the base model often
# catches up or wins [@yue2025does]. Is that so here? 96 other problems, 64 texts for each.

# %% tags=["hide-input"]
guess = widgets.predict(
    "At temperature 1, 64 texts for each of 96 problems: how many problems does GRPO's model solve at least once, and the base model never (mean of the seeds)?",
    options=["20 or more", "8 to 20", "3 to 8", "below 3"],
)
guess_2 = widgets.predict(
    "The base model is sampled at temperature 0.1 in place of 1. What happens to its pass@1 and its pass@64?",
    options=["both rise", "both fall", "pass@1 rises, pass@64 falls", "pass@1 falls, pass@64 rises"],
)

# %% tags=["hide-input", "experiment"]
lab.needs("pass_at_k")
problems = tables.load("reasoning_problems")
SIZES = [1, 2, 4, 8, 16, 32, 64]
curves = {
    key: np.array([[pass_at_k(64, c, k) for k in SIZES] for c in part["right"]])
    for key, part in problems.groupby(["method", "temperature", "seed"], sort=False)
}


def curves_of(method, temperature):
    """pass@k, array (seeds, problems, sizes)."""
    return np.array([curve for key, curve in curves.items() if key[:2] == (method, temperature)])


fig, axes = plt.subplots(1, 2, figsize=(13, 4.4), sharey=True)
groups = (
    [("base", 1), ("base, chain begun", 1), ("GRPO", 1), ("STaR", 1), ("SFT, chains", 1)],
    [("base", 1), ("base", 0.5), ("base", 0.1), ("GRPO", 1), ("GRPO", 0.1)],
)
for ax, names in zip(axes, groups, strict=True):
    for i, key in enumerate(names):
        seeds = curves_of(*key).mean(1)
        look = dict(color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i])
        ax.plot(SIZES, seeds.mean(0), **look, label="{}, temperature {}".format(*key))
        ax.plot(SIZES, seeds.T, color=plots.COLORS[i], linestyle="", marker=".", alpha=0.5)
    ax.set(title="pass@k of 96 problems (points: seeds)", xlabel="k", xscale="log")
    ax.set_xticks(SIZES, [str(k) for k in SIZES])
    ax.minorticks_off()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=10)
axes[0].set_ylabel("pass@k")
plt.show()
lead = (curves_of("GRPO", 1).mean((0, 1)) - curves_of("base", 1).mean((0, 1))).tolist()
print(f"GRPO's lead over the base model at temperature 1: {lead[0]:+.2f} at k = 1, {lead[4]:+.2f} at 16, {lead[-1]:+.2f} at 64")
solved = {method: curves_of(method, 1)[..., -1] > 0 for method in ("GRPO", "base")}  # seeds, problems: a right one among 64
gained, given_up = (solved["GRPO"] & ~solved["base"]).sum(1).mean(), (~solved["GRPO"] & solved["base"]).sum(1).mean()
guess.reveal(
    "20 or more" if gained >= 20 else "8 to 20" if gained >= 8 else "3 to 8" if gained >= 3 else "below 3",
    why=f"{gained:.1f} problems. The other way round, solved by the base model only, it is {given_up:.1f}.",
)
(cold_1, cold_64), (warm_1, warm_64) = (curves_of("base", temperature).mean((0, 1))[[0, -1]].tolist() for temperature in (0.1, 1))
guess_2.reveal(
    ("both rise" if cold_64 > warm_64 else "pass@1 rises, pass@64 falls") if cold_1 > warm_1
    else "pass@1 falls, pass@64 rises" if cold_64 > warm_64
    else "both fall",
    why=f"pass@1 is {cold_1:.2f} in place of {warm_1:.2f}, pass@64 {cold_64:.2f} in place of {warm_64:.2f}: cold texts are alike.",
)

# %% tags=["experiment"]
lab.needs("pass_at_k")
rows = []
for first, second in ((("GRPO", 1), ("base", 1)), (("GRPO", 1), ("base, chain begun", 1)), (("GRPO", 1.5), ("base", 1)),
                      (("GRPO", 0.1), ("base", 0.1)), (("GRPO", 0.1), ("base, chain begun", 0.1))):  # fmt: skip
    row = ["{} ({})".format(*first), "{} ({})".format(*second)]
    for k in (1, 16, 64):
        a, b = (curves_of(*key).mean(0)[:, SIZES.index(k)] for key in (first, second))
        gain, low, high = scoring.paired(a, b)
        row.append(f"{gain:+.3f} [{low:+.3f}, {high:+.3f}] {'first' if low > 0 else 'second' if high < 0 else 'cannot tell'}")
    rows.append(row)
pd.DataFrame(rows, columns=["first (temperature)", "second (temperature)", "first − second, k = 1", "k = 16", "k = 64"])

# %% [markdown]
# At temperature 1 the same picture as in large models: GRPO is far ahead of the base model with one text, the lead shrinks with $k$, and
# with 64 texts the *base model* is ahead; at temperature 0.1 it is so, too. From the base model whose chain is begun we cannot tell GRPO
# apart at $k = 1$, and it is behind at 16 and 64. Among the base model's many and varied texts there is a right one for nearly every problem;
# GRPO's texts have become alike. Sampled warmer, at 1.5, GRPO's model trades a part of its pass@1 for most of that variety. The program's chains
# brought something that the base model's texts do not contain: that model is ahead at every $k$ up to 16 (at 64 all are near 1).
#
# Note the unit of these intervals: problems, 96 of them. And note how @yue2025does must be read: a lower pass@64 does not mean that a
# problem *cannot* be solved any more, but that it is solved less often.
#
# ## 10 · A reward that can be gamed
#
# "Show your work" sounds like a good idea: half of the reward for the right answer, the other half for steps, 0.05 for each
# equation, up to ten. GRPO, the rate of the live run, three seeds, and room for about eight equations.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What is paid rises all the time. After 300,000 tokens: which share of it is paid for steps, and not for right answers?", unit="%", tolerance=0.15
)

# %% tags=["experiment"]
hacks = tables.load("reasoning_hacking")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
for ax, (reward, part) in zip(axes, hacks.groupby("reward", sort=False), strict=True):
    part = part.assign(place=part.groupby("seed").cumcount())
    for i, (what, label) in enumerate((("paid", "what pays_for_steps pays"), ("right", "right answers"))):
        means = part.groupby("place")[["tokens", what]].mean()
        ax.plot(means["tokens"] / 1000, means[what], color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i], label=label)
        ax.plot(part["tokens"] / 1000, part[what], color=plots.COLORS[i], linestyle="", marker=".", alpha=0.5)
    ax.set(title=f"trained for {reward}", xlabel="sampled tokens (thousand)")
axes[0].set_ylabel("reward, or share of texts")
axes[0].legend(fontsize=10)
plt.show()
gamed = hacks[hacks["reward"] == "pays_for_steps"]
for tokens, part in gamed[gamed["seed"] == 1].groupby("tokens"):
    print(f"after {tokens:>7,} tokens, {part['equations'].iloc[0]:.1f} equations per text:  {part['text_0'].iloc[0]}")
begin, end = gamed.groupby("seed")[["paid", "right"]].first(), gamed.groupby("seed")[["paid", "right"]].last()
(change, low, high), best = scoring.paired(end["right"], begin["right"]), gamed.groupby("tokens")["right"].mean().max()
print(f"right answers: {change:+.2f} [{low:+.2f}, {high:+.2f}] over three seeds; the base model has {begin['right'].mean():.2f}, the highest point is {best:.2f}")
before, after = (100 * (1 - 0.5 * row["right"] / row["paid"]) for row in (begin.mean(), end.mean()))
guess.reveal(after, why=f"Of what the base model is paid it is {before:.0f} %. The rest is half of the share of right answers.")

# %% [markdown]
# First both curves rise: steps help. Then the reward goes on rising, and the right answers *fall*. Read the texts: the model found that the program counts the sign "=", not equations, and writes rows of it. Nobody
# intended that, and nobody told it; 0.05 for each "=" was enough. The control, paid for right answers only, stays.
#
# Two lessons. The format reward was right *at first*: a look at the first 50,000 tokens would not have shown the fault. And the
# curve of the reward alone looks like success: plot what you *want* beside what you *pay*.
#
# ## 11 · Challenge: 30,000 tokens
#
# Your budget: 30,000 sampled tokens, about 2,000 short texts. Get the best pass@1 on new problems of three and four steps.
# Anything that learns from *what the model itself wrote* is allowed: which problems are asked, how many texts for each, at which
# temperature, which weights, which learning rate and schedule, how often a batch is used. Not allowed: demonstrations by the program,
# and what raises the number without learning, such as weights that are multiplied by ten (a lower temperature in disguise). So
# both models are measured at temperature 0.1, and `improve` returns the model that it was given.
#
# Your score: by how much pass@1 rises above the base model's on the same problems, computed anew by the grader with another seed and
# other problems. Full points from 0.08; one run of so few tokens depends on chance, so aim higher. Post your score.
#
# <details><summary>Hint 1</summary>The loop of <code>train</code>, with a budget in place of its own sampling, is a beginning.</details>
# <details><summary>Hint 2</summary>Which problems teach most: those that are nearly never right, always right, or between?</details>
# <details><summary>Hint 3</summary>With so few batches use each of them more than once; the clip is there for that.</details>

# %%
ALLOWED = 30_000


class Budget:
    """Draws texts of a model about new problems, rewards them, and counts their tokens."""

    def __init__(self, tokens, seed):
        self._left, self.generator = tokens, torch.Generator().manual_seed(seed)

    @property
    def left(self):
        return self._left

    def ask(self, model, steps, problems, group, temperature=1.0):
        """`group` texts about each of some problems of so many steps, as a dict; None when the budget is spent.

        prompts, new, old, mask: a row for each text (`old`: log-probabilities of what was drawn; `mask`: 1 up to END).
        texts: list of str. rewards: float32 (problems, group). When little is left, there are fewer problems than asked for.
        """
        problems = min(problems, self.left // (group * room(steps)))
        if problems == 0:
            return None
        asked = draw(problems, steps, self.generator)
        drawn = sample_group(model, questions(*asked), group, room(steps), self.generator, temperature)
        new, old = (x.clone() for x in drawn)  # inference tensors cannot take part in a loss
        texts, truth = texts_of(new), running(*asked)[:, -1].repeat_interleave(group).tolist()
        rewards = torch.tensor([verify(text, answer) for text, answer in zip(texts, truth, strict=True)])
        self._left -= int(written(new).sum())
        prompts = questions(*asked).repeat_interleave(group, 0)
        return dict(prompts=prompts, new=new, old=old, mask=written(new), texts=texts, rewards=rewards.view(problems, group))

# %% tags=["exercise:improve"]
def improve(model, budget):
    """Train a model with what it writes itself, until the budget is spent.

    model: the base model. budget: a Budget; `budget.ask(model, steps, problems, group)` gives a batch, or None at the end.
    Draw by chance with `budget.generator` only, so that a run can be repeated. Returns the same model, trained.
    """
    ### BEGIN SOLUTION
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, betas=(0.9, 0.95), weight_decay=0.0)
    whole, turn = budget.left, 0
    while (batch := budget.ask(model, TRAINED[turn % 3], 16, 8)) is not None:
        turn, optimizer.param_groups[0]["lr"] = turn + 1, 4e-4 * max(0.1, budget.left / whole)
        gain = advantages(batch["rewards"], "group, std").flatten()
        order = torch.randperm(len(gain), generator=budget.generator)
        for part in order[gain[order] != 0].tensor_split(4):
            if len(part) > 0:
                logs = log_probs(model, batch["prompts"][part], batch["new"][part])
                loss = policy_loss(logs, batch["old"][part], gain[part], batch["mask"][part])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
    return model
    ### END SOLUTION

# %%
def pass_1(model, seed):
    """Share of right texts at temperature 0.1: 64 new problems of three steps and 64 of four, four texts each."""
    rewards = [Budget(10**9, seed + steps).ask(model, steps, 64, 4, 0.1)["rewards"] for steps in (3, 4)]
    return float(torch.stack(rewards).mean())

# %% tags=["tests:improve:1"]
with lab.test("improve"):
    budget, model = Budget(ALLOWED, seed=1), base_model()
    better = improve(model, budget)
    assert better is model, "return the model that you were given, trained"
    assert budget.left < 1_000, f"{budget.left:,} tokens of the budget are left: ask until it gives None"
    mine, before = pass_1(better, 10), pass_1(base_model(), 10)
    print(f"pass@1: yours {mine:.3f}, the base model {before:.3f}: {mine - before:+.3f} (full points from 0.08, on other problems)")
    assert mine - before >= 0.08, f"pass@1 is {mine:.3f}, and the base model has {before:.3f}: it should rise by 0.08 or more"

# %% tags=["hidden:improve:3"]
def rise(seed):
    budget, model = Budget(ALLOWED, seed), base_model()
    better = improve(model, budget)
    gain = pass_1(model, 10 * seed) - pass_1(base_model(), 10 * seed)
    return {"rise": gain, "spent": budget.left < 1_000, "same": better is model}


def probe():
    return {"other problems": rise(2)}  # because: another seed and other problems than in the visible test


def visible():
    return rise(1)


def check(got, want):
    got = got["other problems"]
    assert got["rise"] >= 0.08 and got["spent"] and got["same"]


def check_visible(got, want):
    assert got["rise"] >= 0.08 and got["spent"] and got["same"]

# %% [markdown]
# ## 12 · The same loop on a language model
#
# Nothing in `advantages` and `policy_loss` knows what the texts are about. With a GPU, and a way to the hub, the next cells
# train Qwen3-0.6B with LoRA (chapter 11) on word problems that a program makes and checks. `LARGER = …` is the one line to
# change. Without a GPU the last cell only prints how much memory is needed. (We have run this code with the course model on a
# CPU, for a few texts; not with Qwen3 on a GPU.)

# %% tags=["experiment", "hide-input"]
def story(rng):
    """A word problem of four steps with its answer."""
    have = int(rng.integers(3, 12))
    text = [f"Ana has {have} shells."]
    for _ in range(4):
        n, grows = int(rng.integers(2, 6)), have < 20
        text.append(f"A fairy multiplies them by {n}." if grows and n < 4 else f"Ana finds {n} more." if grows else f"Ana loses {n}.")
        have = have * n if grows and n < 4 else have + n if grows else have - n
    return " ".join(text) + " How many shells does Ana have now? Think step by step; end with 'The answer is' and the number.", have


def number_reward(text, answer):
    """1.0 if the one number behind the one "answer is" is right."""
    found = re.findall(r"answer is\D{0,4}(\d+)", text)
    return float(len(found) == 1 and int(found[0]) == answer)


def one_round(policy, tokenizer, optimizer, rng, problems, group, room_):
    """Draw a group of texts for each of some problems, reward them, update once; the mean reward."""
    asked = [story(rng) for _ in range(problems)]
    chats = [tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True,
                                           enable_thinking=False) for text, _ in asked]  # fmt: skip
    inputs = tokenizer(chats, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(policy.device)
    with torch.no_grad():
        ids = policy.generate(**inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=room_,
                              num_return_sequences=group, pad_token_id=tokenizer.eos_token_id)  # fmt: skip
    before = inputs["input_ids"].shape[1]
    new, ends = ids[:, before:], (ids[:, before:] == tokenizer.eos_token_id).int()
    mask = (ends.cumsum(1) - ends == 0).float()
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    rewards = torch.tensor([number_reward(text, answer) for text, (_, answer) in zip(texts, np.repeat(np.array(asked, object), group, 0), strict=True)])
    gain = advantages(rewards.view(problems, group), "group, std").flatten().to(ids.device)
    seen = torch.cat([inputs["attention_mask"].repeat_interleave(group, 0), mask.long()], 1)
    useful = gain.nonzero()[:, 0]
    for part in useful.split(group) if len(useful) else ():
        logits = policy(ids[part], attention_mask=seen[part], use_cache=False).logits[:, before - 1 : -1].float()
        logs = logits.log_softmax(-1).gather(2, new[part][..., None])[..., 0]
        loss = policy_loss(logs, logs.detach(), gain[part], mask[part]) * len(part) / len(gain)
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(rewards.mean()), texts[0]


def train_larger(larger, tokenizer, rounds, problems, group, room_):
    """GRPO with LoRA."""
    from peft import LoraConfig, get_peft_model

    policy = get_peft_model(larger, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    optimizer = torch.optim.AdamW([x for x in policy.parameters() if x.requires_grad], lr=1e-4, weight_decay=0.0)
    rng = np.random.default_rng(0)
    for i in range(rounds):
        reward, text = one_round(policy, tokenizer, optimizer, rng, problems, group, room_)
        print(f"round {i}: mean reward {reward:.2f} · {text[:90]!r}")

# %% tags=["experiment"]
lab.needs("advantages", "policy_loss")
LARGER = "qwen3-0.6b"
need = hardware.plan(LARGER, "bf16", batch=8, context=400, training="lora", lora_rank=16)
print(f"{LARGER} with LoRA needs {need.total / hardware.GB:.1f} GB of a GPU's memory.")
try:
    larger, tokenizer = load_model(LARGER, device="cuda")
    train_larger(larger, tokenizer, rounds=lab.budget(full=40, quick=2), problems=8, group=8, room_=200)
except CourseError as error:  # no such GPU here, or no way to the hub
    print("Left out:", str(error).splitlines()[0])

# %% [markdown]
# ## 13 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **A better base.** Train it for 3,200 steps in place of 2,500 (`make_base` in `rewards.py`). What is left for the rewards to
#   teach?
# - **Only hard problems.** Set `TRAINED = (5, 6)`. How often is a whole group wrong? What does DAPO's *dynamic sampling*
#   [@yu2025dapo] do about it?
# - **Repair the reward** of section 10, so that it pays for steps and cannot be gamed. Then try to game yours.
# - **A process reward**: check each equation by a program, and give each its own advantage.
# - **Many updates.** Use each batch for 16 updates, with and without clipping. When does it break?
# - **Distillation** (蒸馏). Let a model that GRPO has trained write the texts: `train("rejection sampling", …, writer=teacher)`. How
#   many tokens does the *student* need?
# - **Ten times the tokens.** The curve of GRPO still rises a little at its end. Does the arithmetic inside the chains improve?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@deepseekai2025r1]
# - [@shao2024deepseekmath]: GRPO
# - [@liu2025understanding]: Dr. GRPO
# - [@yu2025dapo]: DAPO
# - [@zelikman2022star]: STaR
# - [@yuan2023scaling]: rejection sampling
# - [@williams1992simple]: REINFORCE
# - [@schulman2020approximating]
# - [@chen2021evaluating]: pass@k
# - [@yue2025does]
