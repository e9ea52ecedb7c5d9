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
# 2. write the three objectives: masked words, next word, missing spans,
# 3. train the three models and compare them at filling in, continuing and rewriting,
# 4. write byte-pair encoding, the tokenizer under all of them, and compare it with a real one,
# 5. measure what pre-training is worth: learning curves of a sentiment classifier that starts from a real pre-trained
#    encoder, and of the same network from random weights.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %%
import collections
import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tokenizers
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from course_utils import data, lab, load_model, plots, scoring, weights

lab.start(
    "01_plm_history",
    exercises=["masks", "masked_lm", "causal_lm", "span_denoising", "bpe_train", "bpe_encode", "mean_pool"],
)

# %% [markdown]
# ## The text
#
# 10,605 sentences of movie reviews. The first 9,000 (after shuffling) are for training; nothing below sees the others
# before it is tested on them.

# %% tags=["nbval-check-output"]
reviews = data.movie_sentences().shuffle(seed=0)
texts = [text.lower() for text in reviews["text"]]
train_texts, test_texts = texts[:9000], texts[9000:]
print(f"{len(train_texts)} + {len(test_texts)} sentences, for example: {train_texts[1]!r}")

# %% [markdown]
# A tokenizer cuts text into pieces from a fixed vocabulary. We take the library's for now; in part 4 you write your own.
# Beside its 400 pieces it has signs that no text contains: padding, a mask, a begin, an end, and *sentinels* (哨兵标记)
# `<0>`, `<1>` … that stand for a missing stretch of text.

# %% tags=["nbval-check-output"]
SIGNS = ["<pad>", "<mask>", "<s>", "</s>", *(f"<{i}>" for i in range(12))]
PAD, MASK, BEGIN, END = range(4)
SENTINELS = list(range(4, 16))
tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
# A space becomes Ġ, as in GPT-2
tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=True
)
tokenizer.decoder = tokenizers.decoders.ByteLevel()
trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, special_tokens=SIGNS, show_progress=False)
tokenizer.train_from_iterator(train_texts, trainer)
VOCABULARY = tokenizer.get_vocab_size()
print(VOCABULARY, tokenizer.encode("a thoroughly awful movie").tokens)

# %% [markdown]
# ## 1 · Who may look at whom: attention masks
#
# A Transformer layer lets each position read from others. The *mask* says from which: a table of True (may look) and False,
# one row for each reader (query), one column for each source (key).
#
# - **Encoder** (编码器; BERT): every token sees every token. Only padding is hidden.
# - **Decoder** (解码器; GPT): a token sees itself and what came before.
# - **Encoder-decoder** (编码器-解码器; T5): the decoder's tokens also see the whole source, through *cross-attention* (交叉注意力).
#
# **Predict:** for a sentence of n tokens without padding, how many cells of each mask are True?

# %% tags=["exercise:masks"]
def encoder_mask(real):
    """May position i look at position j, in an encoder?

    real: bool tensor (batch, n), True where there is a token, False where there is padding.
    Returns a bool tensor (batch, n, n): [b, i, j] is True when j is a token. (It does not matter what padding
    looks at.)

    Example: real = [[True, True, False]] gives three rows [True, True, False].
    Hint: indexing with None adds a dimension; expand copies along it.
    """
    ### BEGIN SOLUTION
    return real[:, None, :].expand(-1, real.shape[1], -1).clone()
    ### END SOLUTION


def decoder_mask(real):
    """The same for a decoder: j must be a token, and not lie after i. Returns bool (batch, n, n), on the device of real.

    Example: real = [[True, True, False]] gives [[True, False, False], [True, True, False], [True, True, False]].
    Hint: torch.tril.
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

# %% tags=["hidden:masks:3"]
def probe():
    real = torch.arange(6) < torch.tensor([[6], [1], [4]])
    answers = {
        "encoder": encoder_mask(real),  # because: encoder_mask of rows with different lengths
        "decoder": decoder_mask(real),  # because: decoder_mask of rows with different lengths
        "cross": cross_mask(real, 4),  # because: cross_mask with a target of another length than the source
        "real after": real,  # because: the tensor you were given, which must stay as it was
    }
    left = torch.tensor([[False, True, True, True]])  # padding may be on the left
    # because: padding on the left of a row
    answers["left"] = [encoder_mask(left), decoder_mask(left)[:, 1:], cross_mask(left, 1)]
    # because: the dtypes of the three masks
    answers["types"] = [str(m.dtype) for m in (encoder_mask(real), decoder_mask(real), cross_mask(real, 2))]
    return answers


def visible():
    real = torch.tensor([[True, True, True], [True, True, False]])
    return [encoder_mask(real), decoder_mask(real), cross_mask(real, 2)]


def check(got, want):
    assert got["types"] == ["torch.bool"] * 3, f"dtypes {got['types']}"
    close(got, want)

# %% [markdown]
# Look at them, for five tokens and two of padding (black: may look).

# %%
real = torch.tensor([[True] * 5 + [False] * 2])
pictures = {
    "encoder": encoder_mask(real),
    "decoder": decoder_mask(real),
    "cross (4 target tokens)": cross_mask(real, 4),
}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8))
for ax, (name, mask) in zip(axes, pictures.items(), strict=True):
    ax.imshow(mask[0].float(), cmap="Greys", vmin=0, vmax=1.3)
    ax.set(title=f"{name}: {int(mask.sum())} True", xlabel="looked at (position)", ylabel="looking (position)")
    ax.grid(False)
plt.show()

# %% [markdown]
# ## 2 · What to learn: three objectives
#
# ### Masked words (BERT)
#
# Choose 15 % of the tokens at random. Of these, 80 % become `<mask>`, 10 % a random token, 10 % stay. The model must say
# what stood there. This is *denoising* (去噪自编码). A label of -100 means "no question here": PyTorch's cross-entropy skips it.

# %% tags=["exercise:masked_lm"]
def masked_lm(ids, real, chance, action, substitute, rate=0.15):
    """Make BERT's exercise of a batch. All chance comes from outside, so that the answer is certain.

    ids: int64 (batch, n), token ids. real: bool (batch, n), False at padding.
    chance: float (batch, n) in [0, 1): a token is chosen when chance < rate. Padding, BEGIN and END never are.
    action: float (batch, n) in [0, 1): a chosen token becomes MASK when action < 0.8, its substitute when 0.8 ≤
        action < 0.9, and stays otherwise.
    substitute: int64 (batch, n), random token ids.
    Returns (inputs, labels), int64 (batch, n): labels are the original ids where a token was chosen, -100
    elsewhere.

    Example: ids [[2, 50, 51, 3]], chance [[0, 0, 0.9, 0]], action [[0.1, 0.1, 0.1, 0.1]]: inputs [[2, 1, 51, 3]],
    labels [[-100, 50, -100, -100]].
    Hint: torch.where(condition, a, b). ids itself must not change.
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
    inputs, labels = masked_lm(ids, ids != PAD, chance, action, torch.full_like(ids, 77))
    lab.expect_close(inputs, torch.tensor([[BEGIN, MASK, 77, 52, 53, END, PAD]]), "inputs")
    lab.expect_close(labels, torch.tensor([[-100, 50, 51, 52, -100, -100, -100]]), "labels")

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
    return masked_lm(ids, ids != PAD, chance, action, torch.full_like(ids, 77))


def check(got, want):
    close(got, want)

# %% [markdown]
# ### The next word (GPT)
#
# The decoder reads a sentence and predicts, at each position, the token that comes next: *autoregressive* (自回归) training.
# Every token is a question. **Predict:** how many times more questions does it get from a batch than the encoder?

# %% tags=["exercise:causal_lm"]
def causal_lm(ids):
    """Inputs and labels for next-word prediction.

    ids: int64 (batch, n), each row BEGIN … END PAD PAD.
    Returns (inputs, labels), int64 (batch, n - 1): labels[b, i] is the token after inputs[b, i]; -100 where
    that is PAD.

    Example: [[2, 50, 3, 0]] gives inputs [[2, 50, 3]] and labels [[50, 3, -100]].
    """
    ### BEGIN SOLUTION
    labels = ids[:, 1:].clone()
    labels[labels == PAD] = -100
    return ids[:, :-1], labels
    ### END SOLUTION

# %% tags=["tests:causal_lm:1"]
with lab.test("causal_lm"):
    inputs, labels = causal_lm(torch.tensor([[BEGIN, 50, END, PAD], [BEGIN, 51, 52, END]]))
    lab.expect_close(inputs, torch.tensor([[BEGIN, 50, END], [BEGIN, 51, 52]]), "inputs")
    lab.expect_close(labels, torch.tensor([[50, END, -100], [51, 52, END]]), "labels")

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
    return causal_lm(torch.tensor([[BEGIN, 50, END, PAD], [BEGIN, 51, 52, END]]))


def check(got, want):
    close(got, want)

# %% [markdown]
# ### Missing spans (T5)
#
# Cut stretches of text out, put a sentinel where each one was, and have the decoder write what is missing, each stretch
# after its sentinel. T5's own example:
#
# `Thank you for inviting me to your party last week` →
# source `Thank you <0> me to your party <1> week`, target `<0> for inviting <1> last <2>`.

# %% tags=["exercise:span_denoising"]
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
    words = "Thank you for inviting me to your party last week".split()
    # Your function need not know what a token is
    source, target = span_denoising(
        words, [(2, 2), (8, 1)], ["<0>", "<1>", "<2>"]
    )
    assert " ".join(source) == "Thank you <0> me to your party <1> week", f"source: {' '.join(source)}"
    assert " ".join(target) == "<0> for inviting <1> last <2>", f"target: {' '.join(target)}"
    assert span_denoising([7, 8], [], [4]) == ([7, 8], [4]), (
        "nothing missing: the source is whole, the target one sentinel"
    )

# %% tags=["hidden:span_denoising:3"]
def probe():
    ids = list(range(100, 120))
    cases = {
        "start": [(0, 3)],  # because: a span at the start of the text
        "end": [(17, 3)],  # because: a span at the end of the text
        "several": [(0, 1), (5, 4), (12, 2)],  # because: several spans of different lengths
        "all": [(0, 20)],  # because: one span that is the whole text
        "single": [(3, 1), (6, 1), (9, 1), (12, 1)],  # because: many spans of one token each
    }
    return {
        "answers": {
            name: [list(part) for part in span_denoising(ids, spans, SENTINELS)] for name, spans in cases.items()
        },
        "ids after": ids,  # because: the list you were given, which must stay as it was
    }


def visible():
    words = "Thank you for inviting me to your party last week".split()
    return [list(part) for part in span_denoising(words, [(2, 2), (8, 1)], ["<0>", "<1>", "<2>"])]


def check(got, want):
    close(got, want)

# %% [markdown]
# ## 3 · Three models of one size
#
# One Transformer block serves all three: attention under your mask, in a decoder with a source also cross-attention, then
# a feed-forward layer. (PyTorch's `scaled_dot_product_attention` does the attention itself; chapter 9 writes it out.)

# %%
WIDTH, HEADS, LENGTH = 96, 4, 48
DISTANCE = torch.arange(LENGTH)[None, :] - torch.arange(LENGTH)[:, None]  # of source j from reader i


class Attention(nn.Module):
    def __init__(self, cross=False):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        near = -(0.5 ** torch.arange(HEADS))[:, None] * torch.arange(1 - LENGTH, LENGTH).abs()
        # What each head adds for each distance, as in T5; begun as in ALiBi
        self.near = nn.Parameter(
            near * (not cross)
        )

    def forward(self, x, source, mask):
        def split(t):
            return t.unflatten(-1, (HEADS, -1)).transpose(1, 2)

        bias = self.near[:, DISTANCE[: mask.shape[1], : mask.shape[2]] + LENGTH - 1]
        allowed = torch.where(mask[:, None], bias, -torch.inf)
        heads = F.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(source)), split(self.value(source)), allowed
        )
        return self.out(heads.transpose(1, 2).flatten(2))

# %%
class Block(nn.Module):
    def __init__(self, hidden, cross=False):
        super().__init__()
        self.attention, self.cross = Attention(), Attention(cross=True) if cross else None
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3 if cross else 2))
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, hidden, bias=False), nn.GELU(), nn.Linear(hidden, WIDTH, bias=False)
        )

    def forward(self, x, mask, source=None, source_mask=None):
        y = self.norms[0](x)
        x = x + self.attention(y, y, mask)
        if self.cross:
            x = x + self.cross(self.norms[2](x), source, source_mask)
        return x + self.feed(self.norms[1](x))

# %% [markdown]
# Four layers for the encoder and for the decoder. The encoder-decoder gets two and two; its cross-attention is paid for by
# narrower feed-forward layers, so that all three have the same number of weights to 0.3 %. **That makes the race fair.**

# %%
class Model(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.tokens.weight, std=WIDTH**-0.5)
        two = kind == "encoder-decoder"
        self.blocks = nn.ModuleList(Block(3 * WIDTH if two else 4 * WIDTH) for _ in range(2 if two else 4))
        self.writer = nn.ModuleList(Block(3 * WIDTH, cross=True) for _ in range(2 if two else 0))
        self.between, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def embed(self, ids):
        return WIDTH**0.5 * self.tokens(ids)

    def hidden(self, ids, target=None):
        """Last hidden states: of the ids, or of the target, if there is one."""
        x, real = self.embed(ids), ids != PAD
        mask = decoder_mask(real) if self.kind == "decoder" else encoder_mask(real)
        for block in self.blocks:
            x = block(x, mask)
        if target is not None:
            source, x = self.between(x), self.embed(target)
            for block in self.writer:
                x = block(x, decoder_mask(target != PAD), source, cross_mask(real, target.shape[1]))
        return self.norm(x)

    def forward(self, ids, target=None):
        # Output weights are the embeddings, as in BERT, GPT-2 and T5
        return (
            self.hidden(ids, target) @ self.tokens.weight.T
        )

# %% tags=["nbval-check-output"]
KINDS = ["encoder", "decoder", "encoder-decoder"]
for kind in KINDS:
    size = sum(
        p.numel() for name, p in Model(kind).named_parameters() if "norm" not in name and "tokens" not in name
    )
    print(f"{kind:<16} {size:,} weights in its layers")

# %% [markdown]
# Sentences as rows of ids. Longer ones are cut; padding fills the rest.

# %%
def rows_of(sentences):
    """int64 (sentences, LENGTH): BEGIN, tokens, END, padding."""
    made = torch.full((len(sentences), LENGTH), PAD)
    for row, encoding in zip(made, tokenizer.encode_batch(sentences), strict=True):
        ids = [BEGIN, *encoding.ids[: LENGTH - 2], END]
        row[: len(ids)] = torch.tensor(ids)
    return made


train_rows, test_rows = rows_of(train_texts), rows_of(test_texts)

# %% [markdown]
# Each objective makes a batch of questions. BERT and T5 hide 15 % of the text. We hide 30 %: a small model on little text
# learns faster from more questions [@wettig2023mask]. T5 counts its sentinels from left to right; we shuffle them, so
# that a sentinel says nothing about where in the sentence it stands.

# %% tags=["experiment"]
RATE = 0.3


def gaps(n, generator):
    """Spans of one to three tokens, about RATE of n in all, one in each equal part of a sentence; its ends stay."""
    count = max(1, round(RATE * n / 2))
    edges = torch.linspace(1, n - 1, count + 1).long().tolist()
    spans = []
    for low, high in zip(edges, edges[1:], strict=False):
        length = min(1 + int(torch.randint(3, (1,), generator=generator)), max(1, high - low - 1))
        spans.append((low + int(torch.randint(max(1, high - low - length), (1,), generator=generator)), length))
    return spans

# %% tags=["experiment"]
def t5_batch(rows, generator):
    """Sources and targets, padded; a target begins with BEGIN, as every decoder's input does."""
    lists = [[i for i in row if i != PAD] for row in rows.tolist()]
    orders = [[SENTINELS[k] for k in torch.randperm(len(SENTINELS), generator=generator)] for _ in lists]
    pairs = [
        span_denoising(ids, gaps(len(ids), generator), order) for ids, order in zip(lists, orders, strict=True)
    ]
    sources, targets = (
        [torch.tensor(source) for source, _ in pairs],
        [torch.tensor([BEGIN, *target]) for _, target in pairs],
    )
    return tuple(
        nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=PAD) for part in (sources, targets)
    )

# %% tags=["experiment"]
def loss_of(model, rows, generator):
    """The model's own objective on a batch of rows, in nats a question."""
    rows, target = rows[:, : int((rows != PAD).sum(1).max())], None
    if model.kind == "encoder":
        chance, action = torch.rand(rows.shape, generator=generator), torch.rand(rows.shape, generator=generator)
        substitute = torch.randint(len(SIGNS), VOCABULARY, rows.shape, generator=generator)
        inputs, labels = masked_lm(rows, rows != PAD, chance, action, substitute, rate=RATE)
    elif model.kind == "decoder":
        inputs, labels = causal_lm(rows)
    else:
        inputs, target = t5_batch(rows, generator)
        target, labels = causal_lm(target)
    asked = labels != -100  # only where there is a question are logits worth their time
    logits = model.hidden(inputs, target)[asked] @ model.tokens.weight.T
    return F.cross_entropy(logits, labels[asked])

# %% tags=["experiment"]
def pretrain(kind, seed, steps, batch=16, rate=4e-3):
    """A trained model and its loss at every step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Model(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    losses = []
    for _ in tqdm(range(steps), desc=f"{kind}, seed {seed}", leave=False):
        loss = loss_of(model, train_rows[torch.randint(len(train_rows), (batch,), generator=generator)], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), losses

# %% [markdown]
# Same data, same number of steps, same batches of sentences. **Predict** which loss will be lowest at the end, and why
# the three losses must *not* be compared.

# %% tags=["experiment"]
STEPS, SEEDS = lab.budget(full=700, quick=20), 1  # with time to spare: 4000 steps, three seeds
trained = {(kind, seed): pretrain(kind, seed, STEPS) for kind in KINDS for seed in range(SEEDS)}
fig, ax = plt.subplots()
for i, kind in enumerate(KINDS):
    curve = np.mean([trained[kind, seed][1] for seed in range(SEEDS)], axis=0)
    ax.plot(pd.Series(curve).rolling(20, min_periods=1).mean(), label=kind, linestyle=plots.LINES[i], marker="")
ax.axhline(math.log(VOCABULARY), color="grey", linestyle=":", label="guessing")
ax.set(
    title="Pre-training loss, each on its own objective",
    xlabel="step (16 sentences each)",
    ylabel="loss (nats a question)",
)
ax.legend()
plt.show()

# %% [markdown]
# The losses answer different questions: a masked word with the whole sentence around it, the next word with half of it, a
# span. Only a common exam can compare the models.
#
# ### The exam
#
# Held-out sentences; some tokens are taken away; each model gives the probability of what stood there. The encoder sees a
# `<mask>` for each missing token, the encoder-decoder one sentinel, the decoder only what comes before. For comparison: a
# guess by *frequency*, how often each token occurs in the training text.

# %% tags=["experiment"]
def exam_encoder(model, before, missing, after):
    inputs = torch.tensor([[*before, *[MASK] * len(missing), *after]])
    return model(inputs)[0, len(before) : len(before) + len(missing)]


def exam_decoder(model, before, missing, after):
    return model(torch.tensor([[*before, *missing]]))[0, len(before) - 1 : -1]


def exam_both(model, before, missing, after):
    source, target = (
        torch.tensor([[*before, SENTINELS[0], *after]]),
        torch.tensor([[BEGIN, SENTINELS[0], *missing]]),
    )
    return model(source, target)[0, 1:-1]


EXAMS = dict(zip(KINDS, (exam_encoder, exam_decoder, exam_both), strict=True))

# %% tags=["experiment"]
def cut(ids, task):
    """(before, missing, after) of one sentence: BEGIN, tokens, END."""
    length = 1 if task == "fill in 1 token" else 3
    start = len(ids) - 1 - length if task == "continue by 3" else len(ids) // 2 - length // 2
    # Whoever continues does not know that the end is near
    after = (
        [] if task == "continue by 3" else ids[start + length :]
    )
    return ids[:start], ids[start : start + length], after

# %% tags=["experiment"]
TASKS = ["fill in 1 token", "fill in 3 tokens", "continue by 3"]
exam_rows = [row[row != PAD].tolist() for row in test_rows if (row != PAD).sum() >= 12][
    : lab.budget(full=250, quick=20)
]
answers = []
for (kind, seed), (model, _) in tqdm(trained.items(), desc="exam", leave=False):
    for number, ids in enumerate(exam_rows):
        for task in TASKS:
            before, missing, after = cut(ids, task)
            with torch.inference_mode():
                nll = F.cross_entropy(
                    EXAMS[kind](model, before, missing, after)[:, len(SIGNS) :], torch.tensor(missing) - len(SIGNS)
                )
            answers.append({"model": kind, "seed": seed, "sentence": number, "task": task, "nll": float(nll)})
results = pd.DataFrame(answers).groupby(["model", "task", "sentence"], as_index=False)["nll"].mean()
seen = torch.bincount(train_rows.flatten(), minlength=VOCABULARY)[len(SIGNS) :] + 1.0
frequency = -(seen / seen.sum()).log()
guess = [
    float(np.mean([frequency[t - len(SIGNS)] for ids in exam_rows for t in cut(ids, task)[1]])) for task in TASKS
]

# %% [markdown]
# **Predict** the winner of each column before you run the next cell.

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(10, 4.2))
for i, kind in enumerate(KINDS):
    values = [
        scoring.bootstrap(
            results[(results.model == kind) & (results.task == task)], lambda f: float(f.nll.mean()), n=500
        )
        for task in TASKS
    ]
    middle, low, high = np.array(values).T
    ax.bar(
        np.arange(3) + 0.27 * (i - 1),
        middle,
        0.25,
        yerr=[middle - low, high - middle],
        capsize=4,
        label=kind,
        color="white",
        edgecolor=plots.COLORS[i],
        hatch=["", "//", ".."][i],
        linewidth=2,
    )
for x, value in enumerate(guess):
    ax.plot(
        [x - 0.45, x + 0.45],
        [value] * 2,
        color="black",
        linestyle=":",
        marker="",
        label=None if x else "guess by frequency",
    )
ax.set(
    title="One exam for all three (95 % interval over sentences)",
    ylabel="nats a missing token (lower is better)",
    xlabel="task",
    ylim=(0, 7),
)
ax.set_xticks(range(3), TASKS)
ax.legend(loc="upper center", ncols=4, fontsize=11)
plt.show()

# %% [markdown]
# The bars overlap because sentences differ far more than models. All models read the *same* sentences, so compare in
# pairs: by how many nats is each model better than the decoder, sentence by sentence?

# %% tags=["experiment"]
wide = results.pivot(index=["task", "sentence"], columns="model", values="nll")
paired = []
for task in TASKS:
    for kind in ("encoder", "encoder-decoder"):
        gap = pd.DataFrame({"gap": wide.loc[task, "decoder"] - wide.loc[task, kind]})
        value, low, high = scoring.bootstrap(gap, lambda f: float(f.gap.mean()), n=500)
        paired.append(
            {"task": task, "model": kind, "better than the decoder by (nats)": value, "from": low, "to": high}
        )
pd.DataFrame(paired).set_index(["task", "model"]).round(3)

# %% [markdown]
# Read your numbers: where does the interval leave out 0? Above it, the model beats the decoder; below, it loses to it.
#
# - **One token in the middle.** The right side is worth something, and the decoder cannot see it. Here the encoder wins or
#   draws, although it was asked far fewer questions.
# - **Three in the middle.** The encoder guesses each of the three without knowing the other two, and loses what it had won.
# - **The end.** Nothing is on the right, and the decoder had a question at *every* token of its training. That is the deck's
#   move from *discriminative* (判别式) to *generative* (生成式) pre-training in one picture.
# - **The encoder-decoder** should have both advantages. How far is it from the guess by frequency? Before its cross-attention
#   can help it must learn to find the gap that a sentinel stands for, from nothing, and there are few sentinels in a text.
#   This many steps are not enough for it. A negative result, and a true one: T5 saw 34 billion tokens in its comparison of
#   architectures [@raffel2020exploring], ours less than a million.
#
# And written out? The encoder must be told how long the gap is; the encoder-decoder decides by itself when it is done.

# %% tags=["experiment"]
@torch.inference_mode()
def rewrite(model, before, length, after):
    """Greedy filling of a gap by the encoder-decoder, of at most 8 tokens."""
    source, target = torch.tensor([[*before, SENTINELS[0], *after]]), [BEGIN, SENTINELS[0]]
    while len(target) < 10 and target[-1] != SENTINELS[1]:
        target.append(int(model(source, torch.tensor([target]))[0, -1].argmax()))
    return [t for t in target[2:] if t != SENTINELS[1]]


rows = []
for ids in exam_rows[:4]:
    before, missing, after = cut(ids, "fill in 3 tokens")
    at_once = exam_encoder(trained["encoder", 0][0], before, missing, after).argmax(-1).tolist()
    written = rewrite(trained["encoder-decoder", 0][0], before, 3, after)
    rows.append(
        {
            "text": tokenizer.decode(before[1:]) + " ___" + tokenizer.decode(after[:-1]),
            "was": tokenizer.decode(missing),
            "encoder, all at once": tokenizer.decode(at_once),
            "encoder-decoder, in turn": tokenizer.decode(written),
        }
    )
pd.DataFrame(rows)

# %% [markdown]
# ## 4 · Where tokens come from: byte-pair encoding
#
# *Byte-pair encoding* (BPE, 字节对编码) begins with single characters. Count all neighbouring pairs in the text, glue the most
# frequent pair into a new piece, and start over: each *merge* adds one piece to the vocabulary. GPT-2, LLaMA and the course
# model were all given their vocabularies this way.

# %% tags=["exercise:bpe_train"]
def bpe_train(counts, merges):
    """Learn byte-pair merges.

    counts: dict from word (str) to how often it occurs. merges: how many to learn.
    Returns a list of pairs (left, right) of str, in the order in which they were learnt; shorter when no pair
    is left. In each round take the pair with the highest count over all words, a word's pairs counting as often
    as the word. Of several such pairs take the smallest, as Python compares tuples. Then glue it everywhere,
    from left to right.

    Example: counts {"aab": 3, "ab": 2} and 2 merges: ("a", "b") occurs 5 times, then ("a", "ab") 3 times.
    Hint: keep each word as a list of pieces; min(pairs, key=lambda p: (-pairs[p], p)).
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
# Words of the reviews and their counts; then your function against the library's, on the same words.

# %%
word_counts = collections.Counter(word for text in train_texts for word in re.findall(r"\w+", text))


def library_merges(counts, merges):
    """The first merges of the `tokenizers` library, as pairs."""
    letters = {c for word in counts for c in word}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=len(letters) + merges, show_progress=False)
    theirs.train_from_iterator((word for word, count in counts.items() for _ in range(count)), trainer)
    pieces = sorted(theirs.get_vocab().items(), key=lambda entry: entry[1])
    return [piece for piece, _ in pieces[len(letters) :]]

# %% tags=["tests:bpe_train:2"]
with lab.test("bpe_train"):
    learnt = bpe_train({"aab": 3, "ab": 2}, 5)
    assert learnt == [("a", "b"), ("a", "ab")], (
        f"your merges of aab and ab: {learnt}; after two there is no pair left"
    )
    learnt = bpe_train({"aaaa": 1}, 1)
    assert learnt == [("a", "a")], f"your first merge of aaaa: {learnt}"
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
    return [
        [list(pair) for pair in bpe_train(dict(counts), n)]
        for counts, n in (({"aab": 3, "ab": 2}, 5), ({"aaaa": 1}, 1), (word_counts, 10))
    ]


def check(got, want):
    close(got, want)

# %% tags=["exercise:bpe_encode"]
def bpe_encode(word, merges):
    """Cut a word into the pieces that the merges make of it.

    word: str. merges: list of pairs, in the order in which they were learnt.
    Returns a list of str. Begin with single characters; of all merges that fit somewhere, apply the one that
    was learnt FIRST, everywhere in the word from left to right; repeat until none fits.

    Example: with merges [("a", "b"), ("a", "ab")], "aabab" becomes ["aab", "ab"].
    Hint: rank = {pair: i for i, pair in enumerate(merges)}.
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
    assert bpe_encode("aabab", merges) == ["aab", "ab"], f"aabab became {bpe_encode('aabab', merges)}"
    library = [
        tuple(p.split(" ")) if isinstance(p, str) else tuple(p)
        for p in json.loads(tokenizer.to_str())["model"]["merges"]
    ]
    for text in test_texts[:20]:
        pieces = [
            p for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text) for p in bpe_encode(word, library)
        ]
        theirs = tokenizer.encode(text).tokens
        assert pieces == theirs, f"{text!r}: the library says {theirs}, you {pieces}"

# %% tags=["hidden:bpe_encode:3"]
def probe():
    merges = [
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
    }
    return {name: list(bpe_encode(word, merges)) for name, word in words.items()}


def visible():
    return bpe_encode("aabab", [("a", "b"), ("a", "ab")])


def check(got, want):
    close(got, want)

# %% [markdown]
# ### The course model's vocabulary
#
# It has 49,152 pieces, learnt from bytes of web text, mostly English. **Predict:** how many tokens does one Chinese
# character cost? And is a larger vocabulary always better?

# %% tags=["nbval-check-output", "experiment"]
_, course_tokenizer = load_model("course")
samples = {
    "English review": "a thoroughly awful movie with one good joke",
    "Chinese, the same": "一部糟糕透顶的电影，只有一个好笑话",
    "Python": "def mean(values): return sum(values) / len(values)",
}
for name, text in samples.items():
    tokens = len(course_tokenizer(text, add_special_tokens=False)["input_ids"])
    print(
        f"{name:<18} {len(text):3} characters {len(text.encode()):3} bytes {tokens:3} tokens: {tokens / len(text):.2f} a character"
    )

# %% [markdown]
# A Chinese character is three bytes, and few of its byte sequences were frequent enough to be merged. The bill for the
# same meaning is a multiple in tokens, so in time, money and context. (Chapter 12 measures it on thousands of reviews.)
#
# ## 5 · What pre-training is worth
#
# Now the older use of a pre-trained model: *fine-tune* it (微调) on labelled examples of one task. Is this sentence praise?
# For the whole sentence we need one vector: the mean of its tokens' hidden states.

# %% tags=["exercise:mean_pool"]
def mean_pool(hidden, real):
    """Mean of the hidden states of real tokens.

    hidden: float (batch, n, d). real: bool (batch, n). Returns float (batch, d). A row without any token gives
    zeros.

    Example: hidden [[[2.], [4.], [9.]]] with real [[True, True, False]] gives [[3.]].
    Hint: multiply by the mask, sum over n, divide by how many there are, at least one.
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
    return [mean_pool(hidden, real), mean_pool(hidden, torch.zeros(2, 3, dtype=torch.bool))]


def check(got, want):
    assert got["dtype"] == "torch.float64", "the result has the dtype of hidden"
    close(got, want)

# %% [markdown]
# A few minutes of pre-training on one core teach spelling and word order; what a *word* means takes more text. So we take an
# encoder that had it: MiniLM, six layers, 22.7 million weights, BERT's architecture (84 MB, fetched once). Two classifiers:
# one starts from its weights, one from random weights of the same shape. Same labelled sentences, same number of steps.
#
# **Predict:** with 64 labels, how right is each? With 512?

# %% tags=["experiment"]
labels = torch.tensor([score > 0 for score in reviews["score"]]).long()
_, word_tokenizer = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32")
encoded = [word_tokenizer(text, truncation=True, max_length=24)["input_ids"] for text in texts]
TEST = sorted(range(9000, 9000 + lab.budget(full=200, quick=50)), key=lambda i: len(encoded[i]))
always = float(labels[TEST].float().mean())
print(f"share of praise among {len(TEST)} test sentences: {always:.3f}")

# %% tags=["experiment"]
class Classifier(nn.Module):
    def __init__(self, pretrained):
        super().__init__()
        self.encoder, _ = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32")
        device = self.encoder.device
        if not pretrained:
            self.encoder = type(self.encoder)(self.encoder.config)
        self.head = nn.Linear(self.encoder.config.hidden_size, 2)
        self.to(device)

    def forward(self, chosen):
        batch = word_tokenizer.pad({"input_ids": [encoded[i] for i in chosen]}, return_tensors="pt")
        batch = batch.to(self.encoder.device)
        hidden = self.encoder(**batch).last_hidden_state
        return self.head(mean_pool(hidden, batch["attention_mask"].bool()))

# %% tags=["experiment"]
def finetune(pretrained, examples, seed, steps, rate=3e-4):
    """For each test sentence: was it right after fine-tuning all weights on so many labelled sentences?"""
    torch.manual_seed(seed)
    model = Classifier(pretrained).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    chosen = torch.randperm(9000)[:examples]
    for _ in range(steps):
        batch = chosen[torch.randint(examples, (8,))].tolist()
        logits = model(batch)
        loss = F.cross_entropy(logits, labels[batch].to(logits.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        guesses = torch.cat([model(TEST[i : i + 25]).argmax(1).cpu() for i in range(0, len(TEST), 25)])
    return (guesses == labels[TEST]).float().tolist()

# %% tags=["experiment"]
SIZES = lab.budget(full=[64, 512], quick=[64])
runs = [
    (start, size, seed)
    for start in ("pre-trained", "from scratch")
    for size in SIZES
    for seed in range(lab.budget(full=2, quick=1))
]
right = pd.DataFrame(
    [
        {"start": start, "labels": size, "seed": seed, "sentence": i, "right": ok}
        for start, size, seed in tqdm(runs, desc="fine-tuning", leave=False)
        for i, ok in zip(
            TEST, finetune(start == "pre-trained", size, seed, lab.budget(full=40, quick=2)), strict=True
        )
    ]
)

# %% tags=["experiment"]
fig, ax = plt.subplots()
for i, start in enumerate(("pre-trained", "from scratch")):
    points = []
    for size in SIZES:
        sentences = (
            right[(right.start == start) & (right.labels == size)]
            .groupby("sentence", as_index=False)["right"]
            .mean()
        )
        points.append(scoring.bootstrap(sentences, lambda f: float(f["right"].mean()), n=500))
    middle, low, high = np.array(points).T
    ax.errorbar(
        SIZES,
        middle,
        [middle - low, high - middle],
        label=start,
        capsize=5,
        marker=plots.MARKERS[i],
        linestyle=plots.LINES[i],
    )
ax.axhline(max(always, 1 - always), color="grey", linestyle=":", marker="", label="always the commoner answer")
ax.set_xscale("log")
ax.set_xticks(SIZES, SIZES)
ax.minorticks_off()
ax.set(
    title="What pre-training is worth (95 % interval over sentences)",
    xlabel="labelled sentences",
    ylabel="share right on held-out sentences",
)
ax.legend()
plt.show()

# %% [markdown]
# And the spread over seeds, which the interval over sentences does not show:

# %% tags=["experiment"]
right.groupby(["start", "labels", "seed"])["right"].mean().unstack("seed").round(3)

# %% [markdown]
# The network is the same, the labels are the same, the steps are the same; only the start differs. From random weights
# these few steps lead nowhere: a classifier would need thousands of labels and hours. What pre-training learnt from text
# without labels is what the deck's second era lives on. How much do more labels add, compared with the better start?
#
# ## What you have seen
#
# - The three architectures differ in a table of True and False, and in the question asked during training.
# - Losses on different objectives cannot be compared; a common exam can, sentence by sentence, with an interval.
# - Who sees both sides fills in; who was asked at every token continues. Large language models took the second road.
# - A tokenizer is a compression of *its* training text. What it has not seen becomes long, and dear.
# - Labels are few, text is plenty: a start that has read beats one that has not, at every number of labels we tried.
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
# - [@sennrich2016neural]
# - [@vaswani2017attention]
# - [@wang2022language]
# - [@wettig2023mask]
# - [@wang2020minilm]
# - [@press2022train]
# - [@hutto2014vader]
