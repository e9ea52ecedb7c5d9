# %% [markdown]
# # Lab 01 · Three ways to pre-train
#
# **BERT reads both ways, GPT reads forwards, T5 reads and then writes. Which is good at what?** You will write the two
# things that make the difference, the *attention mask* (注意力掩码) and the *training objective* (训练目标), train an encoder,
# a decoder and an encoder-decoder of one size on the same real text, and ask all three the same questions.
#
# You will
#
# 1. write the three attention masks,
# 2. write the three objectives: masked tokens, next token, missing spans,
# 3. train the three models, and compare them at filling in and at continuing, with tuned learning rates and several seeds,
# 4. write byte-pair encoding, and with it reproduce the course model's own tokenizer exactly,
# 5. measure what pre-training is worth, beside baselines that need no neural network,
# 6. (challenge) build the best classifier of reviews that you can, without a network.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions. Where it says **Predict**,
# commit to an answer before you run on.

# %% tags=["hide-input"]
import collections
import json
import math
import random
import re
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import regex
import tokenizers
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from torch import nn
from tqdm.auto import tqdm

from course_utils import data, lab, load_model, plots, scoring, tables, weights, widgets

lab.start(
    "01_plm_history",
    exercises=[
        "masks", "masked_lm", "causal_lm", "span_denoising", "bpe_train", "bpe_encode", "mean_pool", "praise",
    ],
)

# %% [markdown]
# ## The text
#
# 10,605 sentences of movie reviews. The first 9,000 (after shuffling) are for training; nothing below sees the others
# before it is tested on them.

# %% tags=["nbval-check-output", "ladder"]
reviews = data.movie_sentences().shuffle(seed=0)
texts = [text.lower() for text in reviews["text"]]
train_texts, test_texts = texts[:9000], texts[9000:]
print(f"{len(train_texts)} + {len(test_texts)} sentences, for example: {train_texts[1]!r}")

# %% [markdown]
# A model reads *tokens* (词元): entries of a fixed vocabulary. Large models take pieces of words; in part 4 you will make some. For
# the race in part 3 a token is a single character: how letters follow each other is something that a small model can learn
# within minutes. Sixteen more entries are signs that no text contains: padding, a mask, a begin, an end, and
# *sentinels* (哨兵标记) `<0>`, `<1>` … that stand for a missing stretch of text.

# %% tags=["nbval-check-output", "ladder"]
SIGNS = ["<pad>", "<mask>", "<s>", "</s>", *(f"<{i}>" for i in range(12))]
PAD, MASK, BEGIN, END = range(4)
SENTINELS = list(range(4, 16))
LETTERS = sorted(set("".join(train_texts)))
VOCABULARY = len(SIGNS) + len(LETTERS)
NUMBER = {letter: len(SIGNS) + i for i, letter in enumerate(LETTERS)}


def letters(ids):
    """The text of token ids, signs left out."""
    return "".join(LETTERS[i - len(SIGNS)] for i in ids if i >= len(SIGNS))


print(VOCABULARY, [NUMBER[letter] for letter in "a movie"])

# %% [markdown]
# ## 1 · Who may look at whom: attention masks
#
# A Transformer layer lets each position read from others. The *mask* says from which: a table of True (may look) and False,
# one row for each reader (query), one column for each source (key).
#
# - **Encoder** (编码器; BERT): every token sees every token. Only padding is hidden.
# - **Decoder** (解码器; GPT): a token sees itself and what came before.
# - **Encoder-decoder** (编码器-解码器; T5): the decoder's tokens also see the whole source, through *cross-attention* (交叉注意力).

# %% tags=["hide-input"]
guess = widgets.predict(
    "Five tokens without padding are read by an encoder, by a decoder, and, as the source, by the 4 tokens of a target. How many cells "
    "are True in the encoder's, the decoder's and the cross mask?",
    options=["25, 10 and 20", "25, 15 and 16", "20, 15 and 20", "25, 15 and 20"],
)

# %% [markdown]
# <details><summary>Hint 1</summary>A row of the encoder's mask is the same for every reader: it is <code>real</code> itself.</details>
# <details><summary>Hint 2</summary>Indexing with <code>None</code> adds a dimension; <code>expand</code> repeats along it.</details>
# <details><summary>Hint 3</summary>The decoder's mask is the encoder's, and a lower triangle (<code>torch.tril</code>).</details>

# %% tags=["exercise:masks", "ladder"]
def encoder_mask(real):
    """May position i look at position j, in an encoder?

    real: bool tensor (batch, n), True where there is a token, False where there is padding.
    Returns a bool tensor (batch, n, n): [b, i, j] is True when j is a token. (It does not matter what padding
    looks at.)

    Example: real = [[True, True, False]] gives three rows [True, True, False].
    """
    ### BEGIN SOLUTION
    return real[:, None, :].expand(-1, real.shape[1], -1).clone()
    ### END SOLUTION


def decoder_mask(real):
    """The same for a decoder: j must be a token, and not lie after i. Returns bool (batch, n, n), on the device of real.

    Example: real = [[True, True, False]] gives [[True, False, False], [True, True, False], [True, True, False]].
    """
    ### BEGIN SOLUTION
    n = real.shape[1]
    return encoder_mask(real) & torch.ones(n, n, dtype=torch.bool, device=real.device).tril()
    ### END SOLUTION


def cross_mask(source_real, target_length):
    """May target position i look at source position j? source_real: bool (batch, n). Returns bool (batch, target_length, n)."""
    ### BEGIN SOLUTION
    return source_real[:, None, :].expand(-1, target_length, -1).clone()
    ### END SOLUTION

# %% tags=["tests:masks:2"]
with lab.test("masks"):
    real = torch.tensor([[True, True, True], [True, True, False]])
    t, f = True, False
    lab.expect_close(encoder_mask(real), torch.tensor([[[t, t, t]] * 3, [[t, t, f]] * 3]), "encoder_mask")
    lab.expect_close(
        decoder_mask(real)[0], torch.tensor([[t, f, f], [t, t, f], [t, t, t]]), "decoder_mask of a full row"
    )
    lab.expect_close(
        decoder_mask(real)[1], torch.tensor([[t, f, f], [t, t, f], [t, t, f]]), "decoder_mask with padding"
    )
    lab.expect_close(cross_mask(real, 2), torch.tensor([[[t, t, t]] * 2, [[t, t, f]] * 2]), "cross_mask")
    lab.expect_close(cross_mask(real, 4)[1], torch.tensor([[t, t, f]] * 4), "cross_mask with a target longer than the source")
    left = torch.tensor([[False, True, True]])  # padding may be on the left: count nothing, look at real
    lab.expect_close(encoder_mask(left)[0], torch.tensor([[f, t, t]] * 3), "encoder_mask with padding on the left")
    lab.expect_close(decoder_mask(left)[0, 1:], torch.tensor([[f, t, f], [f, t, t]]), "decoder_mask with padding on the left")
    assert real.tolist() == [[t, t, t], [t, t, f]], "your functions changed `real`, the tensor that they were given"

# %% tags=["hidden:masks:3"]
def probe():
    real = torch.arange(6) < torch.tensor([[6], [1], [4]])
    answers = {
        "encoder": encoder_mask(real),  # because: encoder_mask of rows with different lengths
        "decoder": decoder_mask(real),  # because: decoder_mask of rows with different lengths
        # because: cross_mask with a target of another length than the source
        "cross": [cross_mask(real, 4), cross_mask(real, 9)],
        "real after": real,  # because: the tensor you were given, which must stay as it was
    }
    left = torch.tensor([[False, True, True, True]])  # padding may be on the left
    # because: padding on the left of a row
    answers["left"] = [encoder_mask(left), decoder_mask(left)[:, 1:], cross_mask(left, 1)]
    # because: the dtypes of the three masks
    answers["types"] = [str(m.dtype) for m in (encoder_mask(real), decoder_mask(real), cross_mask(real, 2))]
    return answers


def visible():
    real, left = torch.tensor([[True, True, True], [True, True, False]]), torch.tensor([[False, True, True]])
    asked = [encoder_mask(real), decoder_mask(real), cross_mask(real, 2), cross_mask(real, 4)[1]]
    return [*asked, encoder_mask(left), decoder_mask(left)[:, 1:]]


def check(got, want):
    assert got["types"] == ["torch.bool"] * 3, f"dtypes {got['types']}"
    close(got, want)

# %% [markdown]
# Look at them, for five tokens and two of padding (black: may look).

# %% tags=["experiment"]
lab.needs("masks")
real = torch.tensor([[True] * 5 + [False] * 2])
pictures = {"encoder": encoder_mask(real), "decoder": decoder_mask(real), "cross": cross_mask(real, 4)}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8))
for ax, (name, mask) in zip(axes, pictures.items(), strict=True):
    ax.imshow(mask[0].float(), cmap="Greys", vmin=0, vmax=1.3)
    ax.set(title=f"{name}: {int(mask[0, :5, :5].sum())} True for real tokens")
    ax.set(xlabel="token that is read", ylabel="token that reads")
    ax.grid(False)
plt.show()

# %% tags=["hide-input", "experiment"]
n, m = 5, 4
guess.reveal(
    f"{n * n}, {n * (n + 1) // 2} and {m * n}",
    why="Of n tokens each reads n in the encoder; in a decoder 1 + 2 + … + n, itself and all before it; in the cross mask each of m reads n.",
)

# %% [markdown]
# ## 2 · What to learn: three objectives
#
# ### Masked tokens (BERT)
#
# Choose 15 % of the tokens at random. Of these, 80 % become `<mask>`, 10 % a random token, 10 % stay. The model must say
# what was there. This is *denoising* (去噪自编码). A label of -100 means "no question here": PyTorch's cross-entropy skips it.
#
# <details><summary>Hint 1</summary>First decide which tokens are chosen; everything else follows from that one mask.</details>
# <details><summary>Hint 2</summary><code>torch.where(condition, a, b)</code>, twice inside each other, makes the three kinds.</details>

# %% tags=["exercise:masked_lm", "ladder"]
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    """Make BERT's exercise of a batch. All random numbers come from outside, so that there is one right answer.

    ids: int64 (batch, n), token ids. real: bool (batch, n), False at padding.
    chance: float (batch, n) in [0, 1): a token is chosen when chance < rate. Padding, BEGIN and END never are.
    action: float (batch, n) in [0, 1): a chosen token becomes MASK when action < 0.8, its substitute when 0.8 ≤
        action < 0.9, and stays otherwise.
    substitute: int64 (batch, n), random token ids.
    Returns (inputs, labels), int64 (batch, n): labels are the original ids where a token was chosen, -100
    elsewhere.

    Example: ids [[2, 50, 51, 3]], chance [[0, 0, 0.9, 0]], action [[0.1, 0.1, 0.1, 0.1]]: inputs [[2, 1, 51, 3]],
    labels [[-100, 50, -100, -100]].
    ids itself must not change.
    """
    ### BEGIN SOLUTION
    chosen = (chance < rate) & real & (ids != BEGIN) & (ids != END)
    labels = torch.where(chosen, ids, torch.full_like(ids, -100))
    noisy = torch.where(action < 0.8, torch.full_like(ids, MASK), torch.where(action < 0.9, substitute, ids))
    return torch.where(chosen, noisy, ids), labels
    ### END SOLUTION

# %% tags=["tests:masked_lm:2"]
with lab.test("masked_lm"):
    ids = torch.tensor([[BEGIN, 50, 51, 52, 53, END, PAD]])
    chance = torch.tensor([[0.0, 0.0, 0.1, 0.14, 0.9, 0.0, 0.0]])
    action = torch.tensor([[0.0, 0.1, 0.85, 0.95, 0.0, 0.0, 0.0]])
    given = ids.clone()
    inputs, labels = masked_lm(ids, ids != PAD, chance, action, torch.full_like(ids, 77))
    lab.expect_close(ids, given, "ids, which must stay as they were,")
    lab.expect_close(inputs, torch.tensor([[BEGIN, MASK, 77, 52, 53, END, PAD]]), "inputs")
    lab.expect_close(labels, torch.tensor([[-100, 50, 51, 52, -100, -100, -100]]), "labels")
    inputs, labels = masked_lm(ids, ids != PAD, chance, action, torch.full_like(ids, 77), rate=0.12)
    lab.expect_close(labels, torch.tensor([[-100, 50, 51, -100, -100, -100, -100]]), "labels with rate=0.12")

# %% tags=["hidden:masked_lm:3"]
def probe():
    g = torch.Generator().manual_seed(11)
    ids = torch.randint(16, 400, (4, 40), generator=g)
    ids[:, 0], ids[:, 30], ids[2:, 31:] = BEGIN, END, PAD
    chance, action = torch.rand(4, 40, generator=g), torch.rand(4, 40, generator=g)
    substitute = torch.randint(16, 400, (4, 40), generator=g)
    rates = {
        "0.15": 0.15,  # because: sentences with BEGIN, END and padding, at the usual rate
        "0.5": 0.5,  # because: sentences with BEGIN, END and padding, at another rate
    }
    answers = {
        name: masked_lm(ids, ids != PAD, chance, action, substitute, rate=rate) for name, rate in rates.items()
    }
    return {
        **answers,
        "ids after": ids,  # because: the tensor you were given, which must stay as it was
        "types": [str(t.dtype) for t in answers["0.15"]],  # because: the dtypes of inputs and labels
    }


def visible():
    ids = torch.tensor([[BEGIN, 50, 51, 52, 53, END, PAD]])
    chance = torch.tensor([[0.0, 0.0, 0.1, 0.14, 0.9, 0.0, 0.0]])
    action = torch.tensor([[0.0, 0.1, 0.85, 0.95, 0.0, 0.0, 0.0]])
    asked = ids, ids != PAD, chance, action, torch.full_like(ids, 77)
    return [*masked_lm(*asked), ids, masked_lm(*asked, rate=0.12)[1]]


def check(got, want):
    close(got, want)

# %% [markdown]
# ### The next token (GPT)
#
# The decoder reads a sentence and predicts, at each position, the token that comes next: *autoregressive* (自回归) training.

# %% tags=["hide-input"]
widgets.predict(
    "The encoder is asked about 15 % of the tokens. How many times as many questions does a decoder get from the same batch?",
    unit="times", tolerance=0.15, answer=1 / 0.15, why="The decoder is asked at every token.",
)

# %% [markdown]
# <details><summary>Hint</summary>Slicing makes a <em>view</em>: writing into <code>ids[:, 1:]</code> writes into <code>ids</code>, too.</details>

# %% tags=["exercise:causal_lm", "ladder"]
def causal_lm(ids):
    """Inputs and labels for next-token prediction.

    ids: int64 (batch, n), each row BEGIN … END PAD PAD.
    Returns (inputs, labels), int64 (batch, n - 1): labels[b, i] is the token after inputs[b, i]; -100 where
    that is PAD.

    Example: [[2, 50, 3, 0]] gives inputs [[2, 50, 3]] and labels [[50, 3, -100]]. ids itself must not change.
    """
    ### BEGIN SOLUTION
    labels = ids[:, 1:].clone()
    labels[labels == PAD] = -100
    return ids[:, :-1], labels
    ### END SOLUTION

# %% tags=["tests:causal_lm:1"]
with lab.test("causal_lm"):
    ids = torch.tensor([[BEGIN, 50, END, PAD], [BEGIN, 51, 52, END]])
    given = ids.clone()
    inputs, labels = causal_lm(ids)
    lab.expect_close(labels, torch.tensor([[50, END, -100], [51, 52, END]]), "labels")
    lab.expect_close(inputs, torch.tensor([[BEGIN, 50, END], [BEGIN, 51, 52]]), "inputs")
    lab.expect_close(ids, given, "ids, which must stay as they were (does your -100 land in them?),")

# %% tags=["hidden:causal_lm:2"]
def probe():
    ids = torch.randint(16, 400, (3, 9), generator=torch.Generator().manual_seed(12))
    ids[:, 0], ids[0, 5], ids[0, 6:], ids[1, -1], ids[2, 2], ids[2, 3:] = BEGIN, END, PAD, END, END, PAD
    inputs, labels = causal_lm(ids)
    return {
        "inputs": inputs,  # because: inputs of sentences that end at different places
        "labels": labels,  # because: labels of sentences that end at different places
        "ids after": ids,  # because: the tensor you were given, which must stay as it was
        "types": [str(inputs.dtype), str(labels.dtype)],  # because: the dtypes of inputs and labels
    }


def visible():
    ids = torch.tensor([[BEGIN, 50, END, PAD], [BEGIN, 51, 52, END]])
    return [*causal_lm(ids), ids]


def check(got, want):
    close(got, want)

# %% [markdown]
# So many questions are one reason why decoders learn much from little text.
#
# ### Missing spans (T5)
#
# Cut stretches of text out, put a sentinel where each one was, and have the decoder write what is missing, each stretch
# after its sentinel. T5's own example:
#
# `Thank you for inviting me to your party last week` →
# source `Thank you <0> me to your party <1> week`, target `<0> for inviting <1> last <2>`.
#
# <details><summary>Hint 1</summary>Walk through the spans and remember where the last one ended.</details>
# <details><summary>Hint 2</summary>Two things remain after the loop: the rest of the source, and one more sentinel, which is not always the last of the list.</details>

# %% tags=["exercise:span_denoising", "ladder"]
def span_denoising(ids, spans, sentinels):
    """Cut spans out of a list of token ids.

    ids: list of int. spans: list of (start, length), in order, not touching each other. sentinels: list of int,
    more than spans.
    Returns (source, target), two lists of int: source has sentinels[k] in place of span k; target has
    sentinels[k], then the tokens of span k, for each k, and at the end one more sentinel.

    Example: span_denoising([50, 51, 52, 53, 54], [(1, 2), (4, 1)], [4, 5, 6]) gives
    [50, 4, 53, 5] and [4, 51, 52, 5, 54, 6].
    """
    ### BEGIN SOLUTION
    source, target, position = [], [], 0
    for sentinel, (start, length) in zip(sentinels, spans, strict=False):
        source += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start : start + length]]
        position = start + length
    return source + list(ids[position:]), [*target, sentinels[len(spans)]]
    ### END SOLUTION

# %% tags=["tests:span_denoising:2"]
with lab.test("span_denoising"):
    words, signs = "Thank you for inviting me to your party last week".split(), ["<0>", "<1>", "<2>", "<3>"]
    given = [*words], [*signs]
    # Your function need not know what a token is
    source, target = span_denoising(words, [(2, 2), (8, 1)], signs)
    assert " ".join(source) == "Thank you <0> me to your party <1> week", f"source: {' '.join(source)}"
    assert " ".join(target) == "<0> for inviting <1> last <2>", f"target: {' '.join(target)}"
    assert (words, signs) == given, "your function changed a list that it was given"
    source, target = span_denoising([7, 8, 9], [(0, 1), (2, 1)], [4, 5, 6])
    assert (list(source), list(target)) == ([4, 8, 5], [4, 7, 5, 9, 6]), f"spans at both ends: {source}, {target}"
    source, target = span_denoising([7, 8], [], [4])
    assert (list(source), list(target)) == ([7, 8], [4]), "nothing missing: the source is whole, the target one sentinel"

# %% tags=["hidden:span_denoising:3"]
def probe():
    ids, signs = list(range(100, 120)), list(range(4, 16))
    cases = {
        "start": [(0, 3)],  # because: a span at the start of the text
        "end": [(17, 3)],  # because: a span at the end of the text
        "several": [(0, 1), (5, 4), (12, 2)],  # because: several spans of different lengths
        "all": [(0, 20)],  # because: one span that is the whole text
        "single": [(3, 1), (6, 1), (9, 1), (12, 1)],  # because: many spans of one token each
    }
    return {
        "answers": {
            name: [list(part) for part in span_denoising(ids, spans, signs)] for name, spans in cases.items()
        },
        "ids after": ids,  # because: the list you were given, which must stay as it was
        "sentinels after": signs,  # because: the sentinels you were given, which must stay as they were
    }


def visible():
    words, signs = "Thank you for inviting me to your party last week".split(), ["<0>", "<1>", "<2>", "<3>"]
    asked = [(words, [(2, 2), (8, 1)], signs), ([7, 8, 9], [(0, 1), (2, 1)], [4, 5, 6]), ([7, 8], [], [4])]
    return [*[[list(part) for part in span_denoising(*question)] for question in asked], words, signs]


def check(got, want):
    close(got, want)

# %% [markdown]
# ## 3 · Three models of one size
#
# One Transformer block serves all three: *self-attention* (自注意力) under your mask; in the decoder of an encoder-decoder also
# cross-attention to the source; then a feed-forward layer. (PyTorch's `scaled_dot_product_attention` does the attention
# itself; chapter 9 writes it out.)
#
# Attention alone does not know the order of its tokens. So each token carries its *place* in the sentence, and `Near` adds to the
# attention scores a learned number for each distance between two places, as T5 does (*relative position bias*, 相对位置偏置). A
# missing letter keeps the place where it belongs, wherever a model writes it, and a sentinel has the place just before its
# gap. So all three models are told where a gap is and how long it is: the encoder by the number of its `<mask>`, the others by
# the places. (T5's cross-attention has no places: it must learn to find a gap by its sentinel.)

# %% tags=["hide-input", "ladder"]
WIDTH, HEADS, LENGTH = 64, 4, 48  # a line has at most LENGTH tokens


class Near(nn.Module):
    """What each head adds for each distance, as in T5; initialized as in ALiBi, heads in turn for the left and for the right."""

    def __init__(self):
        super().__init__()
        distance, right = torch.arange(1 - LENGTH, LENGTH)[:, None], torch.arange(HEADS) % 2 == 1
        steeper = torch.where((distance > 0) == right, 1.0, 4.0)
        self.table = nn.Parameter(-(0.5 ** torch.arange(HEADS)) * distance.abs() * steeper)

    def forward(self, mask, readers, read):
        """mask: bool (batch, n, m). readers: int64 (batch, n), read: int64 (batch, m), places. Returns (batch, heads, n, m)."""
        distance = read[:, None, :] - readers[:, :, None]
        bias = F.embedding(distance + LENGTH - 1, self.table).permute(0, 3, 1, 2)
        return torch.where(mask[:, None], bias, -torch.inf)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x, source, allowed):
        def split(t):
            return t.unflatten(-1, (HEADS, -1)).transpose(1, 2)

        heads = F.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(source)), split(self.value(source)), allowed
        )
        return self.out(heads.transpose(1, 2).flatten(2))

# %% tags=["ladder"]
class Block(nn.Module):
    def __init__(self, hidden, cross=False):
        super().__init__()
        self.attention, self.cross = Attention(), Attention() if cross else None
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3 if cross else 2))
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, hidden, bias=False), nn.GELU(), nn.Linear(hidden, WIDTH, bias=False)
        )

    def forward(self, x, allowed, source=None, source_allowed=None):
        y = self.norms[0](x)
        x = x + self.attention(y, y, allowed)
        if self.cross:
            x = x + self.cross(self.norms[2](x), source, source_allowed)
        return x + self.feed(self.norms[1](x))

# %% [markdown]
# The encoder and the decoder have four layers. The encoder-decoder has two and two; its feed-forward layers are narrower, to
# pay for the cross-attention, so that all three have the same number of parameters to within 1 %.

# %% tags=["hide-input", "ladder"]
class Model(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.tokens.weight, std=WIDTH**-0.5)
        two = kind == "encoder-decoder"
        self.blocks = nn.ModuleList(Block(3 * WIDTH if two else 4 * WIDTH) for _ in range(2 if two else 4))
        self.writer = nn.ModuleList(Block(3 * WIDTH, cross=True) for _ in range(2 if two else 0))
        self.near = nn.ModuleList(Near() for _ in range(3 if two else 1))
        self.between, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def hidden(self, source, target=None):
        """Last hidden states of the source, or of the target, if there is one. Each is (ids, places), int64 (batch, n)."""
        ids, places = source
        x, real = WIDTH**0.5 * self.tokens(ids), ids != PAD
        mask = decoder_mask(real) if self.kind == "decoder" else encoder_mask(real)
        allowed = self.near[0](mask, places, places)
        for block in self.blocks:
            x = block(x, allowed)
        if target is not None:
            source, (ids, its) = self.between(x), target
            x = WIDTH**0.5 * self.tokens(ids)
            allowed = self.near[1](decoder_mask(ids != PAD), its, its)
            cross = self.near[2](cross_mask(real, ids.shape[1]), its, places)
            for block in self.writer:
                x = block(x, allowed, source, cross)
        return self.norm(x)

    def logits(self, hidden):
        return hidden @ self.tokens.weight.T  # output weights are the embeddings, as in BERT, GPT-2 and T5

# %% tags=["nbval-check-output"]
KINDS = ["encoder", "decoder", "encoder-decoder"]
for kind in KINDS:
    size = sum(p.numel() for name, p in Model(kind).named_parameters() if "norm" not in name and "tokens" not in name)
    print(f"{kind:<16} {size:,} parameters in its layers")

# %% [markdown]
# ### The same lines, asked in three ways
#
# A comparison is fair only if each model is trained on what it will be asked. We will ask for missing letters *inside* a line of
# text and at its *end*. So in training half of the lines are cut short and lose their last letters, and half stay whole and lose
# some letters inside. `plan` chooses what is missing, about 30 % of the letters, in spans of one to three; all three models get
# the same plans. (BERT and T5 hide 15 %. More missing letters are more questions, but less text to answer them from;
# @wettig2023mask find that *larger* models gain from a higher share. We did not tune it.) Then each model gets the question in
# its own form:
#
# | model | reads | learns to predict |
# |---|---|---|
# | encoder | the line, `<mask>` for each missing letter | the missing letters, all at once |
# | encoder-decoder | the line, one sentinel for each gap | the gaps, letter by letter |
# | decoder, line cut short | the line, up to its end | every next letter |
# | decoder, whole line | the line with its sentinels, then the gaps | every next letter; last the gaps (*fill in the middle*, @bavarian2022efficient) |
#
# With a whole line the decoder reads the same source and writes the same target as the encoder-decoder, in one sequence.

# %% tags=["ladder"]
def rows_of(sentences):
    """The sentences, cut into lines of at most LENGTH tokens: BEGIN, letters, END."""
    lines = [line for text in sentences for line in textwrap.wrap(text, LENGTH - 2)]
    return [[BEGIN, *(NUMBER[letter] for letter in line if letter in NUMBER), END] for line in lines]


def plan(ids, rng):
    """A line, whole or cut short, and its missing spans: (ids, [(start, length), …])."""
    cut = rng.random() < 0.5 and len(ids) > 8
    ids = ids[: rng.randrange(8, len(ids))] if cut else ids
    last = len(ids) if cut else len(ids) - 1  # a whole line keeps its END
    count = 1 if rng.random() < 0.3 else max(1, round(0.15 * len(ids)))
    edges = [1 + (last - 1) * k // count for k in range(count + 1)]
    spans = []
    for low, high in zip(edges, edges[1:], strict=False):
        length = max(1, min(rng.randint(1, 3), high - low - 1))
        at_end = cut and high == last
        spans.append((high - length if at_end else rng.randint(low, max(low, high - length - 1)), length))
    return ids, spans

# %% tags=["hide-input", "ladder"]
def padded(lists):
    return nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in lists], batch_first=True, padding_value=PAD)


def encoder_batch(plans, noise=1.0):
    """Inputs and labels; noise=0 hides every chosen token behind <mask>."""
    ids = padded([ids for ids, _ in plans])
    chance = torch.ones(ids.shape)
    for row, (_, spans) in zip(chance, plans, strict=True):
        for start, length in spans:
            row[start : start + length] = 0
    substitute = torch.randint(len(SIGNS), VOCABULARY, ids.shape)
    inputs, labels = masked_lm(ids, ids != PAD, chance, noise * torch.rand(ids.shape), substitute)
    return (inputs, torch.arange(ids.shape[1]).expand_as(ids)), labels


def causal_batch(texts, places):
    ids, labels = causal_lm(padded(texts))
    return (ids, padded(places)[:, :-1]), labels


def gaps(plans):
    """(source, target) of each plan, and the places of their tokens; a sentinel's is just before its gap."""
    texts = [span_denoising(ids, spans, SENTINELS) for ids, spans in plans]
    marks = [[start - 1 for start, _ in spans] + [0] for _, spans in plans]
    places = [span_denoising(list(range(len(ids))), spans, mark) for (ids, spans), mark in zip(plans, marks, strict=True)]
    return texts, places


def both_batch(plans):
    """Sources, targets and labels."""
    texts, places = gaps(plans)
    target, labels = causal_batch([[BEGIN, *target] for _, target in texts], [[0, *target] for _, target in places])
    return (padded([source for source, _ in texts]), padded([source for source, _ in places])), target, labels


def decoder_batch(plans):
    """Inputs and labels: a whole line has its gaps moved to the end, one that was cut short is read as it is."""
    texts, places = [ids for ids, _ in plans], [list(range(len(ids))) for ids, _ in plans]
    for i, moved in enumerate(zip(*gaps(plans), strict=True)):
        if texts[i][-1] == END:
            texts[i], places[i] = ([*source, *target] for source, target in moved)
    return causal_batch(texts, places)


def training_batch(kind, plans):
    """(inputs, target or None, labels) for one architecture; inputs and target are (ids, places)."""
    if kind == "encoder-decoder":
        return both_batch(plans)
    inputs, labels = encoder_batch(plans) if kind == "encoder" else decoder_batch(plans)
    return inputs, None, labels


def pretrain(kind, steps, rate, seed, batch=16):
    """A trained model, its loss at every step, and how many questions it was asked."""
    torch.manual_seed(seed)
    rng, model, losses, questions = random.Random(seed), Model(kind), [], 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in tqdm(range(steps), desc=f"{kind}, seed {seed}", leave=False):
        plans = [plan(ids, rng) for ids in rng.sample(train_rows, batch)]
        inputs, target, labels = training_batch(kind, plans)
        asked = labels != -100  # only where there is a question are logits worth their time
        loss = F.cross_entropy(model.logits(model.hidden(inputs, target)[asked]), labels[asked])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        questions += int(asked.sum())
    return model.eval(), losses, questions

# %% [markdown]
# ### The exam
#
# Held-out lines; some letters are missing; each model gives the probability of what was there. The encoder sees a `<mask>`
# for each missing letter, the encoder-decoder one sentinel. The decoder takes the first two exams twice: with both sides
# before it, and as plain GPT, with the left side only.

# %% tags=["hide-input", "ladder"]
TASKS = ["fill in 1 letter", "fill in 3 letters", "continue by 3"]


def cut(ids, task):
    """One line (BEGIN, letters, END) and what is missing: (ids, [(start, length)])."""
    length = 1 if task == "fill in 1 letter" else 3
    if task == "continue by 3":
        end = 3 * len(ids) // 4  # far from the end of the line, which must not be a hint
        return ids[:end], [(end - length, length)]
    return ids, [(len(ids) // 2 - length // 2, length)]


def exam_batch(kind, plans, left_only):
    """(inputs, target or None, labels), with labels at the missing letters only."""
    if kind == "encoder":
        inputs, labels = encoder_batch(plans, noise=0.0)
        return inputs, None, labels
    if left_only:
        plans = [(ids[: sum(spans[0])], spans) for ids, spans in plans]
    inputs, target, labels = training_batch(kind, plans)
    labels = torch.where(labels < len(SIGNS), -100, labels)
    after = (labels != -100).flip(1).cumsum(1).flip(1)  # how many letters are asked from here on
    return inputs, target, torch.where(after > plans[0][1][0][1], -100, labels)


@torch.inference_mode()
def exam(model, rows, task, left_only=False):
    """For each line: nats per missing letter, among the letters that occur in text."""
    nats = []
    for start in range(0, len(rows), 100):
        plans = [cut(ids, task) for ids in rows[start : start + 100]]
        inputs, target, labels = exam_batch(model.kind, plans, left_only)
        asked = labels != -100
        logits = model.logits(model.hidden(inputs, target)[asked])[:, len(SIGNS) :]
        losses = F.cross_entropy(logits, labels[asked] - len(SIGNS), reduction="none")
        nats += losses.view(len(plans), -1).mean(1).tolist()
    return nats

# %% tags=["ladder"]
train_rows = rows_of(train_texts)
choice_rows, exam_rows = (
    [ids for ids in rows_of(part) if len(ids) >= 16] for part in (test_texts[:200], test_texts[200:])
)  # the first choose a learning rate, the others are the exam

# %% [markdown]
# ### A short race, here and now
#
# Same lines, same number of steps. The learning rate of each model was chosen beforehand, by short runs, on held-out lines that are
# not in the exam.

# %% tags=["hide-input"]
MODELS = {"encoder-decoder": "the encoder-decoder", "encoder": "the encoder", "decoder": "the decoder"}
guess = widgets.predict("Which model's training loss is lowest at the end, each on its own questions?", options=list(MODELS.values()))

# %% tags=["experiment"]
lab.needs("masks", "masked_lm", "causal_lm", "span_denoising")
runs = tables.load("architecture_race")
STEPS, LONG = lab.budget(full=400, quick=20), int(runs["steps"].max())
BEST = runs[runs["steps"] == LONG].groupby("model")["rate"].first()
trained = {kind: pretrain(kind, STEPS, BEST[kind], seed=0) for kind in KINDS}
fig, ax = plt.subplots()
for i, (kind, (_, losses, questions)) in enumerate(trained.items()):
    curve = pd.Series(losses).rolling(20, min_periods=1).mean()
    ax.plot(curve, label=f"{kind}: {questions:,} questions", linestyle=plots.LINES[i], marker="")
ax.axhline(math.log(VOCABULARY), color="grey", linestyle=":", marker="", label="all letters equally likely")
ax.set(title="Pre-training loss, each on its own objective", xlabel="step (16 lines)", ylabel="loss (nats per question)")
ax.legend()
plt.show()

# %% tags=["hide-input", "experiment"]
final = {kind: np.mean(losses[-20:]) for kind, (_, losses, _) in trained.items()}
listed = ", ".join(f"{kind} {loss:.2f}" for kind, loss in final.items())
guess.reveal(MODELS[min(final, key=final.get)], why=f"Nats per question, mean of the last 20 steps: {listed}.")

# %% [markdown]
# The losses must not be compared: they answer different questions. A sentinel is easy to predict, a masked letter has both sides,
# the next letter one. Only a common exam can compare the models.
#
# And an exam needs baselines. Two tables of counts, which need no network and a second of time: how frequent each letter is; and
# which letter follows which (*bigrams*, 二元语法). The second knows the letter on the left of a missing one; where there is
# something on the right, it can use the first letter after the gap, too.

# %% tags=["experiment"]
pairs = torch.full((VOCABULARY, VOCABULARY), 0.1)  # a little for pairs that never occur
for pair, times in collections.Counter(pair for ids in train_rows for pair in zip(ids, ids[1:], strict=False)).items():
    pairs[pair] += times
frequency, follows = pairs.sum(0) / pairs.sum(), pairs / pairs.sum(1, keepdim=True)
steps_on = [torch.linalg.matrix_power(follows, k) for k in range(4)]  # which letter follows which, k places later


def counted(rows, task, table):
    """Nats per missing letter by a table of counts: "frequency", "left letter" or "letters on both sides"."""
    nats = []
    for ids, [(start, length)] in (cut(ids, task) for ids in rows):
        end = start + length
        for i in range(start, end):
            likely = frequency if table == "frequency" else follows[ids[i - 1]]
            if table == "letters on both sides" and end < len(ids):
                likely = likely * steps_on[end - i][:, ids[end]]
            likely = likely[len(SIGNS) :]
            nats.append(-math.log(likely[ids[i] - len(SIGNS)] / likely.sum()))
    return float(np.mean(nats))

# %% tags=["experiment"]
lab.needs("masks", "masked_lm", "causal_lm", "span_denoising")
EXAMS = [(kind, task, False) for task in TASKS for kind in KINDS] + [("decoder", task, True) for task in TASKS[:2]]
asked = exam_rows[: lab.budget(full=len(exam_rows), quick=40)]
mine = {key: np.mean(exam(trained[key[0]][0], asked, *key[1:])) for key in EXAMS}
COUNTED = ["frequency", "left letter", "letters on both sides"]
by_count = {(task, name): counted(exam_rows, task, name) for task in TASKS for name in COUNTED}
names = {key: f"{key[0]}, left side only" if key[2] else key[0] for key in EXAMS}
table = pd.DataFrame([{"model": names[key], "task": key[1], "nats": value} for key, value in mine.items()])
table = table.pivot(index="model", columns="task", values="nats")[TASKS]
for name in COUNTED:
    table.loc[f"counted: {name}"] = {task: by_count[task, name] for task in TASKS}
table.round(2).style.format("{:.2f}", na_rep="").set_caption(f"Your models after {STEPS} steps: nats per missing letter (lower is better)")

# %% [markdown]
# ### The long race
#
# Your models have just begun to learn. `race.py`, in this lab's folder of the course, ran the same cells for longer and with
# three seeds; the table `architecture_race` holds the results.

# %% tags=["hide-input"]
READERS = {
    "encoder": "the encoder",
    "encoder-decoder": "the encoder-decoder",
    "decoder": "the decoder, with both sides before it",
    "decoder, left side only": "the decoder, with the left side only",
}
UNCLEAR = "the best two cannot be told apart"
guess = widgets.predict("After the long race: which is best at filling in *three* letters inside a line?", options=[*READERS.values(), UNCLEAR])

# %% tags=["hide-input", "experiment"]
long = runs[runs["steps"] == LONG].assign(
    form=lambda f: f["model"].where(~f["left_only"], f["model"] + ", left side only")
)
FORMS = ["encoder", "encoder-decoder", "decoder", "decoder, left side only"]
fig, ax = plt.subplots(figsize=(10, 4.4))
for i, form in enumerate(FORMS):
    for x, task in enumerate(TASKS):
        points = long[(long["form"] == form) & (long["task"] == task)]["exam_nats"]
        where = np.full(len(points), x + 0.2 * (i - 1.5))
        ax.plot(where, points, plots.MARKERS[i], color=plots.COLORS[i], linestyle="", label=None if x else form)
for (task, name), nats in by_count.items():
    x, label = TASKS.index(task), None if task != TASKS[0] else f"counted: {name}"
    ax.plot([x - 0.45, x + 0.45], [nats] * 2, color="grey", linestyle=[":", "-.", "-"][COUNTED.index(name)], marker="", label=label)
ax.set(
    title=f"One exam for all, after {LONG:,} steps (each point is a seed)",
    ylabel="nats per missing letter (lower is better)",
    xlabel="exam",
)
ax.set_xticks(range(3), TASKS)
ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=11)
plt.show()

# %% [markdown]
# First: has each learnt anything? A model that reads both sides should beat the table of neighbouring letters that sees both
# sides, one that reads the left side the table that sees the left letter.

# %% tags=["experiment"]
rows = []
for (task, form), part in long.groupby(["task", "form"]):
    known = "left letter" if "left" in form or task == "continue by 3" else "letters on both sides"
    nats, low, high = scoring.mean(list(part["exam_nats"]))
    verdict = "has learnt more" if high < by_count[task, known] else "has learnt less" if low > by_count[task, known] else "cannot tell"
    rows.append({"exam": task, "model": form, "nats": nats, "from": low, "to": high, "counted": by_count[task, known], "so": verdict})
pd.DataFrame(rows).set_index(["exam", "model"]).round(2)

# %% [markdown]
# The models of one seed saw the same lines, and all of them took the same exam. So compare them in pairs, seed by seed, with
# the t interval of the difference. GPT as it is usually trained, with the left side only, is what we compare to.

# %% tags=["experiment"]
rows = []
for task in TASKS:
    by_form = long[long["task"] == task].pivot(index="seed", columns="form", values="exam_nats")
    base = "decoder, left side only" if "decoder, left side only" in by_form else "decoder"
    for form in (form for form in FORMS if form in by_form and form != base):
        gain, low, high = scoring.paired(by_form[base], by_form[form])
        verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
        rows.append({"exam": task, "model": form, "compared with": base, "nats saved": gain, "from": low, "to": high, "so": verdict})
pd.DataFrame(rows).set_index(["exam", "model"]).round(2)

# %% tags=["hide-input", "experiment"]
threes = long[long["task"] == "fill in 3 letters"].pivot(index="seed", columns="form", values="exam_nats")
best, second = threes.mean().nsmallest(2).index
gain, low, high = scoring.paired(threes[second], threes[best])
guess.reveal(
    READERS[best] if low > 0 else UNCLEAR,
    why=f"{threes[best].mean():.2f} nats; next {READERS[second]}, {threes[second].mean():.2f}; difference {gain:.2f}, 95 % interval {low:.2f} to {high:.2f}.",
)

# %% [markdown]
# What could make a difference, and does it show in the table? "Cannot tell" is an answer, too.
#
# - **What is on the right.** Inside a line the text after the gap says something about it. The same decoder takes these exams
#   with and without it, so the row "decoder" measures what the right side is worth, with everything else equal.
# - **How many questions.** The decoder is asked at every letter in training, the encoder and the encoder-decoder at about a third
#   of them (the legend of your loss curves counts them). The three have the same lines, steps and parameters, but not the
#   same number of questions: that is part of what the architectures are.
# - **All at once or in turn.** With three missing letters the encoder predicts each without knowing the other two. The others write
#   one after the other. With one missing letter this makes no difference.
#
# And was each trained as well as it can be?

# %% tags=["experiment"]
for kind, part in runs[(runs["steps"] < LONG) & ~runs["left_only"]].groupby("model"):
    by_rate = part.groupby("rate")["choice_nats"].mean()
    edge = " (at the edge of what was tried)" if BEST[kind] in (by_rate.index.min(), by_rate.index.max()) else ""
    tried = ", ".join(f"{rate}: {nats:.2f}" for rate, nats in by_rate.items())
    print(f"{kind:<16} mean nats of its exams after {part['steps'].max()} steps, by learning rate: {tried}; taken: {BEST[kind]}{edge}")

# %% [markdown]
# What we read in the tables:
#
# - **Inside, one letter:** the encoder is best, the encoder-decoder second. Both beat the decoder that sees the left side only: what
#   is on the right is worth a lot.
# - **Inside, three letters:** the encoder has lost its lead. It fits that it must guess all three at once; we have not tested this
#   (a control: let it fill in one letter, then ask again with that letter in place).
# - **At the end:** the decoder is far ahead. It has been asked for the next letter at every place, the others at the gaps only.
# - **The decoder with both sides** does not gain from the right side: in all three seeds it is worse with it. It has learnt more than the table of
#   neighbouring letters, so it uses what it reads, but a gap after the line is a new situation in which few of its questions were
#   asked. @bavarian2022efficient find that large decoders learn to fill in without loss; how long ours would need, we do not know.
#
# No form is best at everything, and each is best at what most of its training asked. All of this is about spelling: a million
# letters of text, models of two hundred thousand parameters, one number of steps for all. It does not say which architecture wins
# at another scale. T5's authors compared them at 34 billion tokens and found the encoder-decoder best after fine-tuning
# [@raffel2020exploring, section 3.2]; @wang2022language found the decoder best without it.
#
# And written out? The encoder fills all of a gap at once, the encoder-decoder and the decoder write one letter after the other.
# (Your models, after the short race.)

# %% tags=["experiment"]
@torch.inference_mode()
def written(model, ids, span):
    """A gap filled with the likeliest letters: by the encoder at once, by the others one after the other."""
    [(source, _)], [(places, _)] = gaps([(ids, [span])])
    text = []
    while len(text) < span[1]:
        new, at = [SENTINELS[0], *text], list(range(span[0] - 1, span[0] + len(text)))
        if model.kind == "encoder":
            hidden = model.hidden(encoder_batch([(ids, [span])], noise=0.0)[0])[:, span[0] : sum(span)]
        elif model.kind == "decoder":
            hidden = model.hidden((torch.tensor([source + new]), torch.tensor([places + at])))[:, -1:]
        else:
            target = torch.tensor([[BEGIN, *new]]), torch.tensor([[0, *at]])
            hidden = model.hidden((torch.tensor([source]), torch.tensor([places])), target)[:, -1:]
        text += (model.logits(hidden[0])[:, len(SIGNS) :].argmax(-1) + len(SIGNS)).tolist()
    return letters(text)

# %% tags=["experiment"]
rows = []
for ids in asked[:6]:
    _, [(start, length)] = cut(ids, "fill in 3 letters")
    text, was = f"{letters(ids[:start])}[…]{letters(ids[start + length :])}", letters(ids[start : start + length])
    rows.append({"text": text, "was": was} | {kind: written(trained[kind][0], ids, (start, length)) for kind in KINDS})
pd.DataFrame(rows)

# %% [markdown]
# ## 4 · Where tokens come from: byte-pair encoding
#
# *Byte-pair encoding* (BPE, 字节对编码) begins with single characters. Count all neighbouring pairs in the text, glue the most
# frequent pair into a new piece, and start again: each *merge* adds one piece to the vocabulary [@sennrich2016neural]. GPT-2,
# LLaMA and the course model got their vocabularies this way.
#
# <details><summary>Hint 1</summary>Keep each word as a list of pieces, and change these lists after each merge.</details>
# <details><summary>Hint 2</summary>Count pairs in a <code>collections.Counter</code>; a pair counts as often as its word.</details>
# <details><summary>Hint 3</summary><code>min(pairs, key=lambda p: (-pairs[p], p))</code> is the most frequent one, and of these the smallest.</details>

# %% tags=["exercise:bpe_train"]
def bpe_train(counts, merges):
    """Learn byte-pair merges.

    counts: dict from word (str) to how often it occurs. merges: how many to learn.
    Returns a list of pairs (left, right) of str, in the order in which they were learnt; shorter when no pair
    is left. In each round take the pair with the highest count over all words, a word's pairs counting as often
    as the word. Of several such pairs take the smallest, as Python compares tuples. Then glue it everywhere,
    from left to right.

    Example: counts {"aab": 3, "ab": 2} and 2 merges: ("a", "b") occurs 5 times, then ("a", "ab") 3 times.
    """
    ### BEGIN SOLUTION
    words = {word: list(word) for word in counts}
    learnt = []
    for _ in range(merges):
        pairs = collections.Counter()
        for word, pieces in words.items():
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        learnt.append(best)
        for word, pieces in words.items():
            glued, i = [], 0
            while i < len(pieces):
                found = tuple(pieces[i : i + 2]) == best
                glued.append("".join(best) if found else pieces[i])
                i += 2 if found else 1
            words[word] = glued
    return learnt
    ### END SOLUTION

# %% [markdown]
# The 1,500 most frequent words of the reviews and their counts; then your function against the library's, on these words.

# %%
all_counts = collections.Counter(word for text in train_texts for word in re.findall(r"\w+", text))
word_counts = dict(all_counts.most_common(1500))


def library_merges(counts, merges):
    """The first merges of the `tokenizers` library, as pairs."""
    letters = {c for word in counts for c in word}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=len(letters) + merges, show_progress=False)
    theirs.train_from_iterator((" ".join([word] * count) for word, count in counts.items()), trainer)
    pieces = sorted(theirs.get_vocab().items(), key=lambda entry: entry[1])
    return [piece for piece, _ in pieces[len(letters) :]]

# %% tags=["tests:bpe_train:2"]
with lab.test("bpe_train"):
    counts = {"aab": 3, "ab": 2}
    learnt = bpe_train(counts, 5)
    assert learnt == [("a", "b"), ("a", "ab")], f"your merges of aab and ab: {learnt}; after two there is no pair left"
    assert counts == {"aab": 3, "ab": 2}, "your function changed the counts that it was given"
    learnt = bpe_train({"aaaa": 1}, 1)
    assert learnt == [("a", "a")], f"your first merge of aaaa: {learnt}"
    learnt = bpe_train({"cd": 1, "ab": 1}, 1)
    assert learnt == [("a", "b")], f"of two pairs with the same count take the smallest, not {learnt}"
    ours, theirs = ["".join(pair) for pair in bpe_train(word_counts, 30)], library_merges(word_counts, 30)
    assert ours == theirs, f"the library's pieces are {theirs}; yours {ours}"

# %% tags=["hidden:bpe_train:3"]
def probe():
    cases = {
        # because: several words that share parts, some of them more frequent than others
        "several": ({"low": 5, "lower": 2, "newest": 6, "widest": 3}, 10),
        "repeated": ({"aaaa": 2, "aaa": 1, "b": 9}, 4),  # because: words of one letter, many times in a row
        "one": ({"x": 4}, 3),  # because: a word of a single letter
        "ties": ({"ab": 1, "cd": 1}, 2),  # because: a tie between two pairs
        "twice": ({"banana": 1, "bandana": 2}, 6),  # because: a word in which a pair occurs more than once
    }
    return {name: [list(pair) for pair in bpe_train(dict(counts), merges)] for name, (counts, merges) in cases.items()}


def visible():
    cases = [({"aab": 3, "ab": 2}, 5), ({"aaaa": 1}, 1), ({"cd": 1, "ab": 1}, 1), (word_counts, 30)]
    return [[list(pair) for pair in bpe_train(dict(counts), merges)] for counts, merges in cases]


def check(got, want):
    close(got, want)

# %% [markdown]
# Now the other direction: cut a word as the merges say. Your function will be compared with the library, whose tokenizer learns 400
# pieces from the same reviews:

# %% tags=["nbval-check-output"]
tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
# A space becomes Ġ, as in GPT-2
tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=True
)
tokenizer.train_from_iterator(train_texts, tokenizers.trainers.BpeTrainer(vocab_size=400, show_progress=False))
print(tokenizer.encode("a thoroughly awful movie").tokens)

# %% [markdown]
# <details><summary>Hint 1</summary>Of the merges that fit somewhere in the word, which one was learnt first?</details>
# <details><summary>Hint 2</summary><code>rank = {pair: i for i, pair in enumerate(merges)}</code></details>

# %% tags=["exercise:bpe_encode"]
def bpe_encode(word, merges):
    """Cut a word into the pieces that the merges make of it.

    word: str. merges: list of pairs, in the order in which they were learnt.
    Returns a list of str. Begin with single characters; of all merges that fit somewhere, apply the one that
    was learnt FIRST, everywhere in the word from left to right; repeat until none fits.

    Example: with merges [("a", "b"), ("a", "ab")], "aabab" becomes ["aab", "ab"].
    """
    ### BEGIN SOLUTION
    rank = {tuple(pair): i for i, pair in enumerate(merges)}
    pieces = list(word)
    while True:
        fitting = [pair for pair in zip(pieces, pieces[1:], strict=False) if pair in rank]
        if not fitting:
            return pieces
        best = min(fitting, key=rank.__getitem__)
        glued, i = [], 0
        while i < len(pieces):
            found = tuple(pieces[i : i + 2]) == best
            glued.append("".join(best) if found else pieces[i])
            i += 2 if found else 1
        pieces = glued
    ### END SOLUTION

# %% tags=["tests:bpe_encode:2"]
with lab.test("bpe_encode"):
    merges = [("a", "b"), ("a", "ab")]
    for word, want in {"aabab": ["aab", "ab"], "x": ["x"], "": [], "bbb": ["b", "b", "b"]}.items():
        assert list(bpe_encode(word, merges)) == want, f"{word!r} became {bpe_encode(word, merges)}, not {want}"
    merges = [("b", "c"), ("a", "b"), ("ab", "c")]  # of ab and bc in abc, bc was learnt first
    assert list(bpe_encode("abc", merges)) == ["a", "bc"], f"'abc' became {bpe_encode('abc', merges)}, not ['a', 'bc']"
    assert list(bpe_encode("aaa", [("a", "a")])) == ["aa", "a"], "glue from left to right: 'aaa' is ['aa', 'a']"
    library = [
        tuple(p.split(" ")) if isinstance(p, str) else tuple(p)
        for p in json.loads(tokenizer.to_str())["model"]["merges"]
    ]
    for text in test_texts[:20]:
        words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        pieces, theirs = [p for word in words for p in bpe_encode(word, library)], tokenizer.encode(text).tokens
        assert pieces == theirs, f"{text!r}: the library says {theirs}, you {pieces}"

# %% tags=["hidden:bpe_encode:3"]
def probe():
    merges = [
        ("o", "w"),
        ("e", "s"),
        ("es", "t"),
        ("l", "o"),
        ("lo", "w"),
        ("a", "a"),
        ("aa", "aa"),
        ("n", "e"),
        ("ne", "w"),
        ("w", "est"),
    ]
    words = {
        "compete": "lowest",  # because: a word in which two merges want the same letter
        "chain": "newest",  # because: a word that takes several merges, one on top of the other
        "repeated": "aaaaaaa",  # because: the same letter many times in a row
        "unknown": "x",  # because: a word that no merge fits
        "empty": "",  # because: an empty word
        "rest": "wests",  # because: a letter that is left over after the merges
        "parts": "aalow",  # because: merges at different places of one word
        "twice": "eses",  # because: the same pair more than once in a word
        "order": "lowlow",  # because: a word in which a merge that was learnt early takes a letter from a later one
    }
    return {name: list(bpe_encode(word, merges)) for name, word in words.items()}


def visible():
    short, order = [("a", "b"), ("a", "ab")], [("b", "c"), ("a", "b"), ("ab", "c")]
    cases = [("aabab", short), ("x", short), ("", short), ("bbb", short), ("abc", order), ("aaa", [("a", "a")])]
    return [list(bpe_encode(word, merges)) for word, merges in cases]


def check(got, want):
    close(got, want)

# %% [markdown]
# ### The course model's own tokenizer, exactly
#
# Two steps are missing between your functions and GPT-2's tokenizer [@radford2019language], which the course model uses too:
#
# 1. *Pre-tokenization* (预分词): a regular expression cuts text into words, each with the space before it, so that no merge goes
#    from one word into the next.
# 2. *Byte level* (字节级): a word becomes the bytes of its UTF-8 form, and each byte one printable character (the space becomes Ġ).
#    With 256 base pieces every text in every script can be written, and nothing is ever "unknown".

# %% tags=["experiment"]
_, course_tokenizer = load_model("course")
WORDS = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")  # GPT-2's
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = sorted(set(range(256)) - set(PRINTABLE))
CHARACTER = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(HIDDEN)}
COURSE_MERGES = [
    tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair)
    for pair in json.loads(course_tokenizer.backend_tokenizer.to_str())["model"]["merges"]
]

COURSE_IDS = course_tokenizer.get_vocab()


def encode(text):
    """Token ids of a text, by your bpe_encode and the course model's merges."""
    words = ["".join(CHARACTER[byte] for byte in word.encode()) for word in WORDS.findall(text)]
    return [COURSE_IDS[piece] for word in words for piece in bpe_encode(word, COURSE_MERGES)]

# %% [markdown]
# Is it the same on every text? English, code with indents, numbers, emoji, and Chinese.

# %% tags=["hide-input"]
guess = widgets.predict("How many tokens does a Chinese character take, in the mean over a sentence?", unit="tokens", tolerance=0.2)

# %% tags=["nbval-check-output", "experiment"]
lab.needs("bpe_encode")
samples = {
    "English review": "a thoroughly awful movie with one good joke",
    "Chinese, the same": "一部糟糕透顶的电影，只有一个好笑话",
    "Python": "def mean(values):\n    return sum(values) / len(values)",
    "mixed": "It's 2026 … 😀  and   we'll see",
}
for name, text in samples.items():
    ids = course_tokenizer(text, add_special_tokens=False)["input_ids"]
    same = "the same ids" if encode(text) == ids else "OTHER ids"
    print(f"{name:<18} {len(text):3} characters {len(text.encode()):3} bytes {len(ids):3} tokens, {len(ids) / len(text):.2f} per character: {same}")

# %% tags=["hide-input", "experiment"]
sentence = "一部糟糕透顶的电影，只有一个好笑话"
pieces = len(course_tokenizer(sentence, add_special_tokens=False)["input_ids"])
guess.reveal(pieces / len(sentence), why=f"{pieces} tokens for {len(sentence)} characters: each is three bytes, of which some were merged.")

# %% [markdown]
# Your function and two lines of preparation are the tokenizer of a real model. Few of the byte sequences of Chinese characters
# were frequent enough in the (mostly English) training text to be merged. So the same meaning costs a multiple in tokens, that
# is in time, money and context. Chapter 12 measures it on thousands of reviews.

# %% [markdown]
# ## 5 · What pre-training is worth
#
# Now the older use of a pre-trained model: *fine-tune* it (微调) on labelled examples of one task. Is this sentence praise?
# For the whole sentence we need one vector: the mean of its tokens' hidden states.
#
# <details><summary>Hint 1</summary>Multiply by the mask, and sum over the tokens.</details>
# <details><summary>Hint 2</summary>Then divide by how many tokens are real; by at least one, for rows without any.</details>

# %% tags=["exercise:mean_pool", "ladder"]
def mean_pool(hidden, real):
    """Mean of the hidden states of real tokens.

    hidden: float (batch, n, d). real: bool (batch, n). Returns float (batch, d). A row without any token gives
    zeros.

    Example: hidden [[[2.], [4.], [9.]]] with real [[True, True, False]] gives [[3.]]. hidden must not change.
    """
    ### BEGIN SOLUTION
    weight = real.to(hidden.dtype)[:, :, None]
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
    ### END SOLUTION

# %% tags=["tests:mean_pool:2"]
with lab.test("mean_pool"):
    hidden = torch.tensor([[[2.0, 0.0], [4.0, 1.0], [9.0, 9.0]], [[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]]])
    real = torch.tensor([[True, True, False], [True, False, False]])
    lab.expect_close(mean_pool(hidden, real), torch.tensor([[3.0, 0.5], [1.0, 1.0]]), "mean_pool")
    lab.expect_close(
        mean_pool(hidden, torch.zeros(2, 3, dtype=torch.bool)), torch.zeros(2, 2), "mean_pool of padding only"
    )
    lab.expect_close(mean_pool(hidden, real.flip(1))[1], torch.tensor([9.0, 9.0]), "mean_pool with padding on the left")
    lab.expect_close(mean_pool(hidden.double(), real)[0], torch.tensor([3.0, 0.5]).double(), "mean_pool of float64")
    assert hidden[0, 2, 0] == 9, "your function changed the hidden states that it was given"

# %% tags=["hidden:mean_pool:2"]
def probe():
    g = torch.Generator().manual_seed(17)
    hidden = torch.randn(5, 7, 3, generator=g)
    real = torch.arange(7) < torch.tensor([[7], [1], [4], [0], [6]])
    return {
        "pooled": mean_pool(hidden, real),  # because: rows with different numbers of tokens, one of them with none
        "left": mean_pool(hidden, real.flip(1)),  # because: padding on the left of a row
        "hidden after": hidden,  # because: the tensor you were given, which must stay as it was
        "dtype": str(mean_pool(hidden.double(), real).dtype),  # because: hidden states of another float dtype
    }


def visible():
    hidden = torch.tensor([[[2.0, 0.0], [4.0, 1.0], [9.0, 9.0]], [[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]]])
    real = torch.tensor([[True, True, False], [True, False, False]])
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    return [mean_pool(hidden, real), mean_pool(hidden, nothing), mean_pool(hidden, real.flip(1))[1], hidden]


def check(got, want):
    assert got["dtype"] == "torch.float64", "the result has the dtype of hidden"
    close(got, want)

# %% [markdown]
# Our own models have read some million letters; what a *word* means takes more text. So we take an encoder that has read
# more: MiniLM, six layers, 22.7 million parameters, BERT's architecture (84 MB, fetched once). Be exact about what it has
# learnt from: it was distilled from a larger model that was pre-trained on plain text [@wang2020minilm], and then tuned as a
# sentence encoder [@reimers2019sentence] on about a billion *pairs* of texts that belong together: by its model card
# (all-MiniLM-L6-v2) questions and answers, titles and abstracts, sentences that people labelled as entailing each other, and
# more. So it has seen labels, though none that say which film review is praise.
#
# Four classifiers get the same labelled sentences:
#
# | classifier | what is trained |
# |---|---|
# | TF-IDF + logistic regression | a weight for each word and pair of neighbouring words; no network |
# | linear probe (线性探测) | a logistic regression on MiniLM's frozen vectors |
# | fine-tuned | all of MiniLM, from its pre-trained parameters |
# | from scratch | the same network, from random parameters |

# %% tags=["experiment", "ladder"]
labels = torch.tensor([score > 0 for score in reviews["score"]]).long()
_, word_tokenizer = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32")
encoded = word_tokenizer(texts, truncation=True, max_length=24)["input_ids"]


def drawn(examples, seed):
    """Numbers of so many training sentences: the same for every classifier."""
    return torch.randperm(9000, generator=torch.Generator().manual_seed(seed))[:examples].tolist()

# %% tags=["experiment", "ladder"]
class Classifier(nn.Module):
    def __init__(self, pretrained):
        super().__init__()
        self.encoder, _ = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32")
        device = self.encoder.device
        if not pretrained:
            self.encoder = type(self.encoder)(self.encoder.config)
        self.head = nn.Linear(self.encoder.config.hidden_size, 2)
        self.to(device)

    def vectors(self, chosen):
        batch = word_tokenizer.pad({"input_ids": [encoded[i] for i in chosen]}, return_tensors="pt")
        batch = batch.to(self.encoder.device)
        return mean_pool(self.encoder(**batch).last_hidden_state, batch["attention_mask"].bool())

    def forward(self, chosen):
        return self.head(self.vectors(chosen))


@torch.inference_mode()
def by_length(function, chosen, size=25):
    """What a function says of many sentences, asked in batches of similar length; in the order of `chosen`."""
    order = sorted(range(len(chosen)), key=lambda i: len(encoded[chosen[i]]))
    parts = [function([chosen[i] for i in order[k : k + size]]).cpu() for k in range(0, len(order), size)]
    return torch.cat(parts)[torch.tensor(order).argsort()]

# %% tags=["experiment", "ladder"]
def finetune(pretrained, chosen, test, seed, epochs, rate):
    """Train all parameters on the chosen sentences. Returns (answers on `test`, share right in the last epoch)."""
    torch.manual_seed(seed)
    model = Classifier(pretrained).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    steps = epochs * math.ceil(len(chosen) / 8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        right = 0
        order = torch.randperm(len(chosen)).tolist()
        for k in range(0, len(order), 8):
            batch = [chosen[i] for i in order[k : k + 8]]
            logits = model(batch)
            wanted = labels[batch].to(logits.device)
            optimizer.zero_grad()
            F.cross_entropy(logits, wanted).backward()
            optimizer.step()
            schedule.step()
            right += int((logits.argmax(1) == wanted).sum())
    return by_length(model.eval(), test).argmax(1), right / len(chosen)

# %% tags=["experiment", "ladder"]
def tfidf(chosen, test):
    """Answers of TF-IDF + logistic regression."""
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000))
    model.fit([texts[i] for i in chosen], labels[chosen].numpy())
    return torch.tensor(model.predict([texts[i] for i in test]))


def linear_probe(vectors, chosen, test):
    """Answers of a logistic regression on frozen vectors ({number of a sentence: vector}); its C by cross-validation."""
    best = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [1e-3, 1e-2, 1e-1, 1]}, cv=3)
    model = make_pipeline(StandardScaler(), best)
    model.fit(np.stack([vectors[i] for i in chosen]), labels[chosen].numpy())
    return torch.tensor(model.predict(np.stack([vectors[i] for i in test])))

# %% [markdown]
# Which is best, and by how much? Always giving the commoner answer gets about a half.

# %% tags=["hide-input"]
CLASSIFIERS = {
    "TF-IDF": "TF-IDF + logistic regression",
    "linear probe": "the linear probe",
    "from scratch": "the network from random parameters",
    "fine-tuned": "the fine-tuned network",
}
guess = widgets.predict("With 512 labels: which gets most new sentences right, in the mean over three seeds?", options=list(CLASSIFIERS.values()))
guess_2 = widgets.predict("And what share does the network from random parameters get right?", unit="%")

# %% [markdown]
# First here, with 64 labels and one seed:

# %% tags=["experiment"]
lab.needs("mean_pool")
test = list(range(9300, 9300 + lab.budget(full=300, quick=30)))
chosen = drawn(lab.budget(full=64, quick=24), seed=0)
frozen = by_length(Classifier(pretrained=True).eval().vectors, [*chosen, *test]).numpy()
epochs = lab.budget(full=12, quick=1)
answers = {
    "TF-IDF": tfidf(chosen, test),
    "linear probe": linear_probe(dict(zip([*chosen, *test], frozen, strict=True)), chosen, test),
    "fine-tuned": finetune(True, chosen, test, seed=0, epochs=epochs, rate=2e-4)[0],
    "from scratch": finetune(False, chosen, test, seed=0, epochs=epochs, rate=2e-4)[0],
}
for name, answer in answers.items():
    share, low, high = scoring.proportion(int((answer == labels[test]).sum()), len(test))
    print(f"{name:<13} {share:.2f} right, 95 % interval {low:.2f} to {high:.2f}")

# %% [markdown]
# Then the table `pretraining_worth`, made by the same cells (`race.py`): more labels, three seeds, training until the labels are
# learnt, the rate of each network chosen among three on other sentences.

# %% tags=["experiment"]
worth = tables.load("pretraining_worth").query("part == 'test'").assign(share=lambda f: f["right"] / f["sentences"])
fig, ax = plt.subplots(figsize=(9, 4.6))
for i, name in enumerate(("TF-IDF", "linear probe", "fine-tuned", "from scratch")):
    part = worth[worth["classifier"] == name]
    middle = part.groupby("labels")["share"].mean()
    ax.plot(middle.index, middle, linestyle=plots.LINES[i], marker="", color=plots.COLORS[i])
    ax.plot(part["labels"], part["share"], plots.MARKERS[i], linestyle="", color=plots.COLORS[i], label=name)
half = max(float(labels[9300:9900].float().mean()), 1 - float(labels[9300:9900].float().mean()))
ax.axhline(half, color="grey", linestyle=":", marker="", label="always the commoner answer")
ax.set(
    title="What pre-training is worth (each point is a seed)",
    xlabel="labelled sentences",
    ylabel="share right on 600 new sentences",
    xscale="log",
)
ax.set_xticks(sorted(worth["labels"].unique()), sorted(worth["labels"].unique()))
ax.minorticks_off()
ax.legend(fontsize=11)
plt.show()

# %% tags=["experiment"]
rows = []
for size, part in worth.groupby("labels"):
    share = part.pivot(index="seed", columns="classifier", values="share")
    for name in [name for name in ("linear probe", "fine-tuned", "from scratch") if name in share]:
        gain, low, high = scoring.paired(share[name], share["TF-IDF"])
        verdict = "better than TF-IDF" if low > 0 else "worse than TF-IDF" if high < 0 else "cannot tell"
        rows.append({"labels": size, "classifier": name, "minus TF-IDF": gain, "from": low, "to": high, "so": verdict})
learnt = worth[worth["rate"] > 0].groupby(["labels", "classifier"])["right_in_training"].mean()
pd.DataFrame(rows).set_index(["labels", "classifier"]).join(learnt).round(2)

# %% tags=["hide-input", "experiment"]
means = worth[worth["labels"] == 512].groupby("classifier")["share"].mean().sort_values(ascending=False)
guess.reveal(CLASSIFIERS[means.index[0]], why=f"{means.iloc[0]:.0%}; next {CLASSIFIERS[means.index[1]]}, {means.iloc[1]:.0%}. Whether the seeds can tell them from TF-IDF, the table says.")
guess_2.reveal(100 * means["from scratch"], why=f"TF-IDF, without a network, gets {means['TF-IDF']:.0%}.")

# %% [markdown]
# Read the table in this order. `right_in_training` says whether a network has learnt its own labels: near 1 it has. Then compare each
# row with TF-IDF, which needs a second and no network. "Pre-trained beats random parameters" alone would be a weak result if a table
# of words beat both. And remember what MiniLM was trained on: this measures what pre-training *and* tuning on pairs are worth.
#
# ## 6 · Challenge: praise without a network
#
# How far do you get with 2,000 labels and no network at all? Write the best classifier that you can from counts of words,
# letters, or whatever you can compute from a text. Words in pairs, pieces of words, `data.word_valence()` (how good or bad 7,500
# English words sound to people), several models that vote: everything is allowed but looking up the answers. Your score is the
# share right on new sentences. The TF-IDF baseline above reaches about 0.74; full points from 0.745. Post your score.
#
# <details><summary>Hint 1</summary>A negation, an ending, a part of a word: what does a table of single words not see?</details>
# <details><summary>Hint 2</summary><code>TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))</code> counts pieces of words.</details>
# <details><summary>Hint 3</summary><code>sklearn.pipeline.make_union</code> puts the columns of several vectorizers side by side.</details>

# %% tags=["exercise:praise"]
def praise(train, is_praise, new):
    """Which of the new sentences are praise?

    train: list of n str, sentences in lower case. is_praise: list of n bool, their labels. new: list of m str.
    Returns a list of m bool. The same arguments must give the same answer. It should take less than half a minute.

    Example: praise(["a great film", "an awful film"], [True, False], ["great"]) gives [True].
    """
    ### BEGIN SOLUTION
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, letters), LogisticRegression(C=5, max_iter=1000))
    model.fit(train, is_praise)
    return [bool(answer) for answer in model.predict(new)]
    ### END SOLUTION

# %%
praise_labels = [score > 0 for score in reviews["score"]]

# %% tags=["tests:praise:1"]
with lab.test("praise"):
    answer = list(praise(["a great film", "an awful film"], [True, False], ["great", "awful", "great"]))
    assert [bool(entry) for entry in answer] == [True, False, True], f"great, awful, great: you answer {answer}"
    answer = list(praise(list(texts[:2000]), praise_labels[:2000], list(texts[9000:9300])))
    assert len(answer) == 300, f"300 new sentences, {len(answer)} answers"
    share = float(np.mean([bool(a) == b for a, b in zip(answer, praise_labels[9000:9300], strict=True)]))
    print(f"{share:.3f} right on 300 new sentences")
    assert share >= 0.68, f"{share:.3f} right; the TF-IDF baseline reaches more"

# %% tags=["hidden:praise:2"]
def probe():
    answer = praise(list(texts[:2000]), praise_labels[:2000], list(texts[9300:]))
    return {
        "share right": [bool(entry) for entry in answer],  # because: new sentences, of which at least 74.5 % must be right
        "truth": [int(label) for label in praise_labels[9300:]],
    }


def visible():
    answer = praise(list(texts[:2000]), praise_labels[:2000], list(texts[9000:9300]))
    return {"answers": [bool(entry) for entry in answer], "truth": [int(label) for label in praise_labels[9000:9300]]}


def check(got, want):
    answers, truth = got["share right"], want["truth"]
    assert len(answers) == len(truth)
    share = sum(bool(answer) == bool(label) for answer, label in zip(answers, truth, strict=True)) / len(truth)
    assert 0.745 <= share <= 0.9, f"{share:.3f} right (more than 0.9 would be answers that were looked up)"


def check_visible(got, want):
    answers, truth = got["answers"], want["truth"]
    assert len(answers) == len(truth)
    assert sum(bool(answer) == bool(label) for answer, label in zip(answers, truth, strict=True)) >= 0.68 * len(truth)

# %% [markdown]
# ## What you have seen
#
# - The three architectures differ in tables of True and False, and in the question asked during training.
# - Losses on different objectives cannot be compared; a common exam can, if each model was trained on what it is asked.
# - Who reads both sides knows more about a gap; who is asked at every token learns more from the same text.
# - A tokenizer is a compression of *its* training text. What it has not seen becomes long, and expensive.
# - A comparison needs the baseline that a practitioner would try first.
#
# **Think further** (no points): give the decoder the encoder's mask during the exam, without training it again. What
# happens, and why? Then train one for a hundred steps under it.

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@devlin2019bert]
# - [@radford2018improving]
# - [@raffel2020exploring]
# - [@radford2019language]
# - [@bavarian2022efficient]
# - [@reimers2019sentence]
# - [@sennrich2016neural]
# - [@vaswani2017attention]
# - [@wang2022language]
# - [@wettig2023mask]
# - [@wang2020minilm]
# - [@press2022train]
# - [@hutto2014vader]
