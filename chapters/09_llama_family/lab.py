# %% [markdown]
# # Lab 09 · Build a Llama
#
# **What is in the file that one downloads, and what turns it into text?** A table of a few hundred matrices, and about
# sixty lines of code. You will write these lines, put the course model's real weights into them, and get the numbers that
# `transformers` gets. Nothing about the model will then be hidden from you.
#
# You will
#
# 1. write the four parts that make a LLaMA [@touvron2023llama]: *RMSNorm* (均方根归一化), *rotary positions* (旋转位置编码,
#    RoPE), *SwiGLU* (门控前馈网络) and *grouped-query attention* (分组查询注意力, GQA),
# 2. build the decoder and compare its logits with the library's, on short and on longer texts,
# 3. add a *KV cache* (键值缓存), show that it changes nothing but the time, and compute what it costs,
# 4. count the parameters of LLaMA 7B to 65B and Llama 2 70B from their configurations, and the cache of any model (a challenge),
# 5. sample with *temperature* (温度), *top-k* and *top-p*, and chat.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %% tags=["hide-input"]
import inspect
import math
import time
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.models.llama import modeling_llama

from course_utils import data, generate, lab, load_model, plots, scoring, tables, widgets

lab.start(
    "09_llama_family",
    exercises=[
        "rms_norm",
        "rope",
        "swiglu",
        "grouped_query_attention",
        "decoder_block",
        "llama_logits",
        "costs",
        "cache_bytes",
        "filter_logits",
    ],
)
plots.style()

# %% [markdown]
# ## 1 · The file
#
# The course model, SmolLM2-135M-Instruct [@benallal2025smollm2], is a Llama in architecture. `eager` asks the library for
# attention written out as matrix products, which is what you will write too.

# %% tags=["experiment"]
MODEL = "course"  # or another Llama: on a T4 "tinyllama", or the folder of a checkpoint
model, tokenizer = load_model(MODEL, precision="fp32", attn_implementation="eager")
if model.config.model_type != "llama" or model.config.rope_parameters["rope_type"] != "default":
    print(f"{MODEL} is not the plain Llama that you write here: the course model takes its place.")
    MODEL = "course"
    model, tokenizer = load_model(MODEL, precision="fp32", attn_implementation="eager")
weights = dict(model.state_dict())
for name in list(weights)[:10] + list(weights)[-2:]:
    print(f"{name:<50} {tuple(weights[name].shape)}")
print(f"{len(weights)} matrices and vectors")

# %% [markdown]
# Beside the weights there is a *configuration*. We copy what matters into words of our own, so that your code will run
# every Llama, from this one to a 70B.

# %% tags=["hide-input"]
@dataclass(frozen=True)
class Shape:
    """What a configuration says."""

    width: int  # d, the size of a token's vector
    layers: int
    heads: int  # of queries
    kv_heads: int  # of keys and values; divides heads
    head_dim: int  # size of one head; usually width / heads, but it need not be
    intermediate: int  # width of the feed-forward network
    vocabulary: int
    theta: float  # base of the rotary positions
    eps: float  # of RMSNorm
    tied: bool  # is the output matrix the embedding?


def shape_of(config):
    """A transformers LlamaConfig as a Shape."""
    return Shape(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        theta=config.rope_parameters["rope_theta"],
        eps=config.rms_norm_eps,
        tied=config.tie_word_embeddings,
    )

# %% tags=["experiment"]
shape = shape_of(model.config)
print(shape)

# %% [markdown]
# To test on, a toy with random weights: the library's model, its `Shape`, and its weights.

# %%
def toy(seed=0, **settings):
    """A small random Llama of the library, its Shape and its weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        **{
            "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
            "num_attention_heads": 6, "num_key_value_heads": 2, "initializer_range": 0.2, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False, "attn_implementation": "eager",
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
            **settings,
        }
    )
    random_model = LlamaForCausalLM(config).eval()
    for name, parameter in random_model.named_parameters():
        if "norm" in name:  # new models have ones there, which would hide a norm that forgets its weights
            parameter.data = torch.rand_like(parameter) + 0.5
    return random_model, shape_of(config), {name: tensor.clone() for name, tensor in random_model.state_dict().items()}

# %% [markdown]
# ## 2 · RMSNorm
#
# Before each sublayer a token's vector is brought to size one. @zhang2019root left out what LayerNorm does
# besides (subtract the mean, add a bias):
#
# $$\text{RMSNorm}(x) = w \odot \frac{x}{\sqrt{\frac{1}{d} \sum_i x_i^2 + \varepsilon}}$$
#
# One trap: a 16-bit float ends at 65,504, so the square of 300 is infinite. The norm is computed in float32, always.

# %% tags=["exercise:rms_norm"]
def rms_norm(x, weight, eps):
    """Root mean square normalisation over the last dimension.

    x: float tensor (..., d), of any float dtype. weight: (d,), of the same dtype. eps: float, added under the root.
    Computed in float32; what has been normalised is cast back to x's dtype and then multiplied by weight.
    Returns a tensor of x's shape and dtype.

    Example: x = [3, 4], weight = [1, 2], eps = 0: the mean square is 12.5, so [0.8485, 2.2627].
    """
    ### BEGIN SOLUTION
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Which of the steps can leave the range of a 16-bit float, and over which numbers is the mean taken? Keep the dimension, so that
# every vector is divided by its own root.</details>
# <details><summary>Hint 2</summary><code>x.float()</code>, <code>.pow(2).mean(-1, keepdim=True)</code>, <code>torch.rsqrt</code> (one over the root). Where does eps go?</details>
# <details><summary>Hint 3</summary><code>wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)</code>; then back to <code>x.dtype</code>, and only then times weight.</details>

# %% tags=["tests:rms_norm:1"]
with lab.test("rms_norm"):
    got = rms_norm(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 2.0]), 0.0)
    lab.expect_close(got, torch.tensor([[0.848528, 2.262742]]), "the example")
    x, w = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)), torch.rand(8)
    lab.expect_close(rms_norm(x, w, 1e-5), F.rms_norm(x, (8,), w, 1e-5), "rms_norm of a batch")
    small = x * 1e-3  # so small that eps counts, which is added under the root
    lab.expect_close(rms_norm(small, w, 1e-2), F.rms_norm(small, (8,), w, 1e-2), "rms_norm of small numbers, with eps = 0.01")
    half = rms_norm(torch.full((1, 4), 300.0, dtype=torch.float16), torch.ones(4, dtype=torch.float16), 1e-5)
    lab.expect_close(half, torch.ones(1, 4, dtype=torch.float16), "300 in float16 (its square is not a float16)", rtol=1e-3)

# %% tags=["hidden:rms_norm:2"]
def probe():
    g = torch.Generator().manual_seed(1)
    x, w = torch.randn(3, 4, 2, 10, generator=g), torch.randn(10, generator=g)
    tiny = rms_norm(x * 1e-3, w, 1e-2)
    half = rms_norm((x * 400).half(), w.half(), 1e-6)
    shifted = rms_norm(x + 7, w, 1e-5)
    return {
        "plain": rms_norm(x, w, 1e-5),  # because: a tensor with several dimensions
        "tiny": tiny,  # because: vectors so small that eps counts
        "half": half,  # because: float16 numbers whose squares are no float16 any more
        "shifted": shifted,  # because: vectors whose mean is not zero
        "dtype": str(half.dtype),  # because: the dtype of the result
    }


def check(got, want):
    close({**got, "half": None}, {**want, "half": None}, rtol=1e-4, atol=1e-5)
    close(got["half"], want["half"], rtol=4e-3, atol=4e-3)


def visible():
    x, w = torch.arange(80.0).view(2, 5, 8) % 7 - 3, torch.arange(8.0) / 8
    small = rms_norm(x * 1e-3, w, 1e-2)
    wide = rms_norm(torch.full((1, 4), 300.0, dtype=torch.float16), torch.ones(4, dtype=torch.float16), 1e-5)
    return [rms_norm(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 2.0]), 0.0), rms_norm(x, w, 1e-5), small, wide]

# %% [markdown]
# ## 3 · Rotary positions
#
# Attention compares vectors and does not see order. @su2021roformer *turn* queries and keys, by an angle that grows with
# the position. A head of size $d$ has $d/2$ pairs; pair $i$ is turned at position $p$ by the angle
#
# $$p \cdot \theta^{-2i/d}, \qquad (a, b) \mapsto (a \cos - b \sin,\; a \sin + b \cos)$$
#
# The scalar product of a query at $p$ and a key at $q$ then depends on $p - q$ alone. Pair $i$ consists of the numbers $i$
# and $i + d/2$. (Meta's own code pairs $2i$ and $2i+1$; files converted for `transformers` have their rows reordered to
# match. Mixing the two up is a famous mistake; you will measure what it costs.)

# %% tags=["exercise:rope"]
def rope(x, start, theta):
    """Turn queries or keys by their positions.

    x: float tensor (batch, heads, n, d), d even; the tokens stand at positions start, start + 1, …, start + n - 1.
    theta: float, the base. Pair i (of d/2) is made of x[..., i] and x[..., i + d/2]. Angles in float32; their cosine
    and sine are cast to x's dtype. Returns a tensor of x's shape and dtype, on the device of x.

    Example: x = [1, 0] at position 2 (d = 2, one pair, angle 2): [cos 2, sin 2] = [-0.416, 0.909].
    """
    ### BEGIN SOLUTION
    d = x.shape[-1]
    frequencies = 1.0 / theta ** (torch.arange(0, d, 2, device=x.device).float() / d)
    positions = torch.arange(start, start + x.shape[-2], device=x.device).float()
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>First a table of angles, (n, d/2): one row per position, one column per pair. Then each pair (a, b) is turned; a and b are two
# halves of the head, not neighbours.</details>
# <details><summary>Hint 2</summary><code>torch.arange(0, d, 2, device=x.device) / d</code> are the exponents; <code>positions[:, None] * frequencies</code> is the table.
# <code>x[..., : d // 2]</code> and <code>x[..., d // 2 :]</code> are the halves. Where must <code>start</code> come in?</details>
# <details><summary>Hint 3</summary><code>torch.cat([a * cos - b * sin, b * cos + a * sin], -1)</code>, with cos and sin cast to <code>x.dtype</code>.</details>

# %%
def rotated_by_transformers(x, start, theta):
    """The library's rotation of the same tensor."""
    n, d = x.shape[-2:]
    config = LlamaConfig(hidden_size=d, num_attention_heads=1, rope_parameters={"rope_type": "default", "rope_theta": theta})
    cos, sin = modeling_llama.LlamaRotaryEmbedding(config)(x, torch.arange(start, start + n)[None])
    return modeling_llama.apply_rotary_pos_emb(x, x, cos, sin)[0]

# %% tags=["tests:rope:2"]
with lab.test("rope"):
    got = rope(torch.tensor([[[[1.0, 0.0]]]]), 2, 10_000.0)
    lab.expect_close(got.flatten(), torch.tensor([math.cos(2), math.sin(2)]), "the example")
    x = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    for start in (0, 5):
        want = rotated_by_transformers(x, start, 10_000.0)
        lab.expect_close(rope(x, start, 10_000.0), want, f"rope from {start}", atol=1e-5)
    half = rope(x.half(), 4000, 10_000.0)
    want = rope(x.half().float(), 4000, 10_000.0).half()
    lab.expect_close(half, want, "rope of float16 queries from 4000 (angles are float32)", rtol=1e-2, atol=1e-2)
    query, key = x[:1, :1, :1], x[:1, :1, 1:2]
    near = rope(query, 13, 100.0) @ rope(key, 11, 100.0).transpose(-1, -2)
    far = rope(query, 93, 100.0) @ rope(key, 91, 100.0).transpose(-1, -2)
    lab.expect_close(near, far, "the score of two tokens at distance 2, wherever they stand", atol=1e-4)

# %% tags=["hidden:rope:2"]
def probe():
    g = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, 40, 12, generator=g)
    return {
        "from 0": rope(x, 0, 10_000.0),  # because: a text from its first token on
        "from 300": rope(x, 300, 500.0),  # because: tokens far from the beginning of their text, and another base
        "one": rope(x[:, :, :1], 17, 100_000.0),  # because: one token only
        "half": rope(x.half(), 3, 1000.0).float(),  # because: queries or keys in float16
        "dtype": str(rope(x.bfloat16(), 3, 1000.0).dtype),  # because: the dtype of the result
    }


def check(got, want):
    close({**got, "half": None}, {**want, "half": None}, rtol=1e-3, atol=3e-4)
    close(got["half"], want["half"], rtol=1e-2, atol=1e-2)


def visible():
    x = torch.arange(336.0).view(2, 3, 7, 8) % 11 - 5
    return [rope(torch.tensor([[[[1.0, 0.0]]]]), 2, 10_000.0), rope(x, 0, 10_000.0), rope(x, 5, 10_000.0),
            rope(x.half(), 4000, 10_000.0).float()]


def check_visible(got, want):
    close(got[:3], want[:3], rtol=1e-3, atol=3e-4)
    close(got[3], want[3], rtol=2e-2, atol=2e-2)

# %% [markdown]
# ## 4 · SwiGLU
#
# Most of a layer's parameters are its feed-forward network: two thirds in LLaMA 7B, three quarters in the course model, whose
# attention is smaller because its keys and values are shared by groups of heads. Instead of one hidden layer there are two,
# and one *gates* the other [@shazeer2020glu]:
#
# $$\text{SwiGLU}(x) = W_\text{down} \big( \text{SiLU}(W_\text{gate}\, x) \odot W_\text{up}\, x \big)$$
#
# with $\text{SiLU}(z) = z \cdot \sigma(z)$.

# %% tags=["exercise:swiglu"]
def swiglu(x, gate, up, down):
    """The feed-forward network.

    x: (..., d). gate, up: (intermediate, d). down: (d, intermediate); all as nn.Linear keeps them, (out, in), no biases.
    Returns (..., d).

    Example: x = [1, 2], gate = [[1, 0]], up = [[0, 3]], down = [[2], [0]]: SiLU(1) · 6 = 4.386, times 2: [8.772, 0].
    """
    ### BEGIN SOLUTION
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two matrices read x, one writes the result. Which of the two goes through SiLU?</details>
# <details><summary>Hint 2</summary><code>F.silu</code>; <code>F.linear(x, matrix)</code> is <code>x @ matrix.T</code> and takes any number of dimensions before the last.</details>
# <details><summary>Hint 3</summary><code>F.silu(F.linear(x, gate)) * F.linear(x, up)</code>, and then down.</details>

# %% tags=["tests:swiglu:1"]
with lab.test("swiglu"):
    got = swiglu(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 0]]), torch.tensor([[0, 3.0]]), torch.tensor([[2.0], [0]]))
    lab.expect_close(got, torch.tensor([8.772703, 0.0]), "the example", atol=1e-4)
    random_model, s, w = toy()
    x, mlp = torch.randn(2, 4, s.width, generator=torch.Generator().manual_seed(0)), random_model.model.layers[0].mlp
    got = swiglu(x, mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
    lab.expect_close(got.detach(), mlp(x).detach(), "the feed-forward network of a toy", atol=1e-5)

# %% tags=["hidden:swiglu:2"]
def probe():
    g = torch.Generator().manual_seed(3)
    gate, up, down = (torch.randn(*size, generator=g) for size in ((20, 6), (20, 6), (6, 20)))
    return {
        "one text": swiglu(torch.randn(3, 6, generator=g), gate, up, down),  # because: several tokens, without a batch
        "batch": swiglu(torch.randn(2, 5, 6, generator=g), gate, up, down),  # because: a batch of texts
        # because: a tensor with more dimensions than a batch has
        "four dimensions": swiglu(torch.randn(1, 2, 3, 6, generator=g), gate, up, down),
    }


def check(got, want):
    close(got, want, rtol=1e-4, atol=1e-4)


def visible():
    gate, up, down = torch.tensor([[1.0, 0]]), torch.tensor([[0, 3.0]]), torch.tensor([[2.0], [0]])
    wide = [torch.arange(n * 6.0).view(n, 6) % 5 - 2 for n in (9, 9)]
    x = torch.arange(12.0).view(2, 6) % 4 - 1
    return [swiglu(torch.tensor([1.0, 2.0]), gate, up, down), swiglu(x, wide[0], wide[1].flip(0), wide[0].T)]

# %% [markdown]
# ## 5 · Grouped-query attention
#
# Every query head has its own queries, but groups of query heads share keys and values [@ainslie2023gqa]. With one
# group for each head it is ordinary *multi-head attention*; with one group in all, *multi-query attention* [@shazeer2019fast].
# The course model has 9 query heads and 3 key-value heads: query heads 0, 1, 2 share the first, 3, 4, 5 the second, 6, 7, 8
# the third.
#
# Queries may be fewer than keys: when decoding, we ask for the *last* $n$ of $m$ tokens, and the others come from the
# cache. Each token sees itself and the tokens before it.

# %% tags=["exercise:grouped_query_attention"]
def grouped_query_attention(q, k, v):
    """Causal attention in which groups of query heads share keys and values.

    q: (batch, heads, n, d); k, v: (batch, kv_heads, m, d), heads a multiple of kv_heads, m >= n. The queries belong to
    the last n of the m tokens: query i stands at position m - n + i and sees the keys up to its own position, itself
    included. Query head h uses key-value head h // (heads / kv_heads). Scores are divided by √d.
    Returns (batch, heads, n, d), on the device of q.

    Example: one head, d = 1, q = [[0], [0]], k = [[5], [5]], v = [[2], [4]]: the first token sees itself, 2; the second
    sees both alike, 3.
    Write it out; do not call F.scaled_dot_product_attention.
    """
    ### BEGIN SOLUTION
    n, m = q.shape[-2], k.shape[-2]
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    future = torch.ones(n, m, dtype=torch.bool, device=q.device).triu(m - n + 1)
    return scores.masked_fill(future, -math.inf).softmax(-1) @ v
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Bring k and v to as many heads as q has; then it is ordinary attention. Do neighbouring query heads share, or every third? And
# which key is the last that query 0 sees, if m is larger than n?</details>
# <details><summary>Hint 2</summary><code>repeat_interleave(group, 1)</code> gives 0, 0, 0, 1, 1, 1, …; <code>repeat</code> would give 0, 1, 2, 0, 1, 2.
# <code>torch.ones(n, m, dtype=torch.bool).triu(diagonal)</code> marks the future; query i sees m - n + i and all before it.</details>
# <details><summary>Hint 3</summary><code>scores.masked_fill(future, -math.inf).softmax(-1) @ v</code>, where future is <code>….triu(m - n + 1)</code> and the scores were divided
# by <code>math.sqrt(d)</code>.</details>

# %% tags=["tests:grouped_query_attention:2"]
with lab.test("grouped_query_attention"):
    q, k, v = torch.zeros(1, 1, 2, 1), torch.full((1, 1, 2, 1), 5.0), torch.tensor([[[[2.0], [4.0]]]])
    lab.expect_close(grouped_query_attention(q, k, v).flatten(), torch.tensor([2.0, 3.0]), "the example")
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, 5, 8, generator=g) for heads in (6, 2, 2))
    want = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    got = grouped_query_attention(q, k, v)
    lab.expect_close(got, want, "6 query heads on 2 key-value heads", atol=1e-5)
    lab.expect_close(grouped_query_attention(q[:, :, -2:], k, v), got[:, :, -2:], "the last two queries alone", atol=1e-5)

# %% tags=["hidden:grouped_query_attention:3"]
def probe():
    g = torch.Generator().manual_seed(4)
    cases = {
        "groups": (6, 3, 7, 7, 4),  # because: a whole text, and groups of query heads
        "one for all": (4, 1, 3, 9, 6),  # because: one key-value head for all query heads, and fewer queries than keys
        "no groups": (8, 8, 1, 5, 2),  # because: a key-value head for each query head, and the last token's query alone
        "one token": (9, 3, 1, 1, 16),  # because: one token only
        "long": (4, 2, 30, 200, 8),  # because: the last part of a long text
    }
    results = {}
    for name, (heads, kv_heads, n, m, d) in cases.items():
        q = torch.randn(2, heads, n, d, generator=g)
        k, v = (torch.randn(2, kv_heads, m, d, generator=g) for _ in "kv")
        results[name] = grouped_query_attention(q, k, v)
    return results


def check(got, want):
    close(got, want, rtol=1e-4, atol=1e-5)


def visible():
    q, k, v = (torch.arange(heads * 80.0).view(2, heads, 5, 8) % mod - 4 for heads, mod in ((6, 9), (2, 7), (2, 11)))
    return [grouped_query_attention(q, k, v), grouped_query_attention(q[:, :, -2:], k, v)]

# %% [markdown]
# ## 6 · One decoder block
#
# Put them together. A block has two sublayers, each *pre-normalised* (前置归一化) and added to the stream it read from:
#
# $$h = x + W_o\,\text{attention}\big(\text{norm}_1(x)\big), \qquad y = h + \text{SwiGLU}\big(\text{norm}_2(h)\big)$$
#
# And it hands out its keys and values. Given those of earlier tokens (`past`), the block works on the new tokens alone:
# that is the whole KV cache. Keys are kept *after* they were turned.

# %% tags=["exercise:decoder_block"]
def decoder_block(x, weights, layer, shape, past=None):
    """One block of the decoder.

    x: (batch, n, width), the new tokens. weights: dict of tensors with the names of section 1; this block's begin with
    f"model.layers.{layer}." and go on with input_layernorm.weight, self_attn.{q,k,v,o}_proj.weight,
    post_attention_layernorm.weight, mlp.{gate,up,down}_proj.weight. shape: a Shape. past: None, or what this block
    returned for the m tokens before these: keys and values, each (batch, kv_heads, m, head_dim).
    Returns (y, (keys, values)): y (batch, n, width); keys (turned by rope) and values of all m + n tokens.

    The new tokens stand at positions m, m + 1, …; without past, m = 0. q, k and v are split into heads of size
    shape.head_dim: (batch, n, heads · head_dim) → (batch, heads, n, head_dim).
    If an earlier exercise resists, F.rms_norm and F.scaled_dot_product_attention (enable_gqa=True) may stand in for it here.
    """
    ### BEGIN SOLUTION
    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    batch, n, _ = x.shape
    start = 0 if past is None else past[0].shape[-2]
    h = rms_norm(x, w("input_layernorm"), shape.eps)
    q, k, v = (F.linear(h, w(f"self_attn.{p}_proj")).view(batch, n, -1, shape.head_dim).transpose(1, 2) for p in "qkv")
    q, k = rope(q, start, shape.theta), rope(k, start, shape.theta)
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    mixed = grouped_query_attention(q, k, v).transpose(1, 2).reshape(batch, n, -1)
    x = x + F.linear(mixed, w("self_attn.o_proj"))
    h = rms_norm(x, w("post_attention_layernorm"), shape.eps)
    return x + swiglu(h, w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj")), (k, v)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Follow the two formulas. What is turned: q, k, v? At which position do the new tokens begin? And what is joined to the past first,
# turned keys or keys as they come?</details>
# <details><summary>Hint 2</summary><code>.view(batch, n, -1, shape.head_dim).transpose(1, 2)</code> splits into heads, <code>.transpose(1, 2).reshape(batch, n, -1)</code> joins
# them. <code>past[0].shape[-2]</code> is m. Write a small function that looks up a weight by the end of its name.</details>
# <details><summary>Hint 3</summary>Turn q and k from m on; then <code>k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)</code>; attention; then
# <code>x = x + F.linear(mixed, …o_proj…)</code>. The second norm reads the new x, and its result is added to the new x.</details>

# %% tags=["tests:decoder_block:2"]
with lab.test("decoder_block"), torch.no_grad():
    random_model, s, w = toy()
    ids = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(0))
    states = random_model(ids, output_hidden_states=True).hidden_states  # before block 0, before block 1, …
    for layer in (0, 1):
        got, (keys, values) = decoder_block(states[layer], w, layer, s)
        lab.expect_close(got, states[layer + 1], f"block {layer} of a toy", rtol=1e-4, atol=1e-4)
    assert keys.shape == values.shape == (2, 2, 9, 4), f"keys should be (2, 2, 9, 4), but are {tuple(keys.shape)}"
    _, past = decoder_block(states[0][:, :6], w, 0, s)
    rest, (longer, _) = decoder_block(states[0][:, 6:], w, 0, s, past)
    assert longer.shape == (2, 2, 9, 4), f"with 6 in the past and 3 new, keys of 9 tokens, not {longer.shape[-2]}"
    lab.expect_close(rest, states[1][:, 6:], "tokens 6 to 8, with the first six from the past", rtol=1e-4, atol=1e-4)
    random_model, s, w = toy(num_attention_heads=4, num_key_value_heads=1, head_dim=10)
    states = random_model(ids, output_hidden_states=True).hidden_states
    got, _ = decoder_block(states[0], w, 0, s)
    lab.expect_close(got, states[1], "a block whose 4 heads of 10 are wider than its 24", rtol=1e-4, atol=1e-4)

# %% tags=["hidden:decoder_block:3"]
def probe():
    cases = {
        "groups": {},  # because: a block with groups of query heads
        # because: a block whose heads together are wider than the model
        "wide": {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 10},
        # because: a block with a key-value head for each query head, and a larger eps
        "no groups": {"num_attention_heads": 3, "num_key_value_heads": 3, "rms_norm_eps": 1e-2},
    }
    results = {}
    for i, (name, settings) in enumerate(cases.items()):
        _, s, w = toy(seed=i, **settings)
        x = torch.randn(2, 12, s.width, generator=torch.Generator().manual_seed(i))
        whole, _ = decoder_block(x, w, 1, s)
        first, past = decoder_block(x[:, :5], w, 1, s)
        then, past = decoder_block(x[:, 5:11], w, 1, s, past)
        last, past = decoder_block(x[:, 11:], w, 1, s, past)
        results[name] = {
            "whole": whole,  # because: a whole text at once
            "in pieces": torch.cat([first, then, last], 1),  # because: a text that comes in pieces, each with the past of those before
            "keys": past[0],  # because: the keys that the block hands out
            "values": past[1],  # because: the values that the block hands out
        }
    return results


def check(got, want):
    close(got, want, rtol=1e-3, atol=1e-4)


def visible():
    _, s, w = toy()
    x = torch.arange(2 * 9 * 24.0).view(2, 9, 24) % 13 / 6 - 1
    whole, _ = decoder_block(x, w, 0, s)
    _, past = decoder_block(x[:, :6], w, 0, s)
    _, wide, other = toy(num_attention_heads=4, num_key_value_heads=1, head_dim=10)
    return [whole, decoder_block(x, w, 1, s)[0], decoder_block(x[:, 6:], w, 0, s, past)[0], decoder_block(x, other, 0, wide)[0]]

# %% [markdown]
# ## 7 · The whole model
#
# Look up the embedding, go through the blocks, normalise once more, multiply by the output matrix. Small models have no
# output matrix of their own: they use the embedding again (*tied*, 权重共享), and then a file need not contain
# `lm_head.weight`.

# %% tags=["exercise:llama_logits"]
def llama_logits(ids, weights, shape, past=None):
    """A decoder of the Llama kind.

    ids: int64 (batch, n), the new tokens. weights: dict with model.embed_tokens.weight (vocabulary, width), the blocks'
    tensors, model.norm.weight and, if shape.tied is False, lm_head.weight (vocabulary, width); if it is True, the
    embedding is the output matrix. shape: a Shape. past: None, or the cache that an earlier call returned.
    Returns (logits, cache): logits (batch, n, vocabulary), for each new token the scores of its successor; cache, a list
    with what decoder_block returned for each layer, to give as past when the text goes on.
    """
    ### BEGIN SOLUTION
    x = weights["model.embed_tokens.weight"][ids]
    cache = []
    for layer in range(shape.layers):
        x, kept = decoder_block(x, weights, layer, shape, past and past[layer])
        cache.append(kept)
    x = rms_norm(x, weights["model.norm.weight"], shape.eps)
    head = weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]
    return F.linear(x, head), cache
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>An embedding, a loop, a norm, a product. What does each round of the loop give besides x, and who needs it in the next call?</details>
# <details><summary>Hint 2</summary><code>weights["model.embed_tokens.weight"][ids]</code> looks up; <code>past[layer]</code> is the past of a block, if there is a past at all.</details>
# <details><summary>Hint 3</summary><code>x, kept = decoder_block(x, weights, layer, shape, past and past[layer])</code>, and <code>kept</code> goes into the list. The last
# matrix is the embedding where <code>shape.tied</code>.</details>

# %% tags=["tests:llama_logits:2"]
with lab.test("llama_logits"), torch.no_grad():
    for tied in (False, True):
        random_model, s, w = toy(tie_word_embeddings=tied)
        if tied:
            w.pop("lm_head.weight", None)
        ids = torch.randint(50, (2, 11), generator=torch.Generator().manual_seed(0))
        logits, cache = llama_logits(ids, w, s)
        lab.expect_close(logits, random_model(ids).logits, f"logits (tied: {tied})", rtol=1e-4, atol=1e-4)
    assert len(cache) == 3 and cache[0][0].shape == (2, 2, 11, 4), "the cache is a list with (keys, values) of each layer"
    _, past = llama_logits(ids[:, :8], w, s)
    tail, _ = llama_logits(ids[:, 8:], w, s, past)
    lab.expect_close(tail, logits[:, 8:], "the last three tokens, with the first eight in the cache", rtol=1e-4, atol=1e-4)

# %% tags=["hidden:llama_logits:4"]
def probe():
    cases = {
        # because: a model with more layers, and an output matrix of its own
        "deep": {"num_hidden_layers": 5, "num_key_value_heads": 3},
        # because: a model whose output matrix is its embedding
        "tied": {"tie_word_embeddings": True, "num_attention_heads": 4, "num_key_value_heads": 4},
        # because: a model with another size of heads, another vocabulary and another base of the rotary positions
        "other sizes": {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 6, "vocab_size": 70,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0}},
    }
    results = {}
    for i, (name, settings) in enumerate(cases.items()):
        _, s, w = toy(seed=10 + i, **settings)
        if s.tied:
            w.pop("lm_head.weight", None)
        ids = torch.randint(50, (2, 300), generator=torch.Generator().manual_seed(i))
        with torch.no_grad():
            whole, _ = llama_logits(ids[:1], w, s)
            pieces, past = [], None
            for part in ids[:, :40].split([20, 1, 1, 18], 1):
                logits, past = llama_logits(part, w, s, past)
                pieces.append(logits)
        results[name] = {
            "whole": whole[:, ::7],  # because: a long text at once
            # because: a text that comes in pieces, each with the cache of those before
            "in pieces": [torch.cat(pieces, 1), len(past), list(past[-1][0].shape)],
        }
    return results


def check(got, want):
    close(got, want, rtol=1e-3, atol=1e-4)


def visible():
    results = []
    for tied in (False, True):
        _, s, w = toy(tie_word_embeddings=tied)
        if tied:
            w.pop("lm_head.weight", None)
        ids = torch.arange(22).view(2, 11) * 7 % 50
        with torch.no_grad():
            logits, past = llama_logits(ids[:, :8], w, s)
            results += [logits, llama_logits(ids[:, 8:], w, s, past)[0]]
    return results

# %% [markdown]
# ### The real weights
#
# Now the real weights: the same weights and formulas, other code. (Logits go up to about 40 here, and a float32 has about seven
# digits.)

# %% tags=["hide-input"]
guess = widgets.predict("How far are your logits from those of the library's fused attention, at most, over all these prompts?",
                        options=["exactly 0: the formulas are the same", "less than 0.01", "about 0.1, and the next token is the same"])

# %% tags=["hide-input", "experiment"]
PROMPTS = {
    "a fact": "The Eiffel Tower stands in the city of",
    "code": "def fibonacci(n):\n    return n if n < 2 else",
    "Chinese": "床前明月光，疑是地上",
    "sums": "17 + 25 = 42, 18 + 26 = 44, 19 + 27 =",
}
if tokenizer.chat_template:
    question = [{"role": "user", "content": "Why is the sky blue?"}]
    PROMPTS["a chat"] = tokenizer.apply_chat_template(question, tokenize=False)


def tokens_of(text):
    """int64 (1, tokens), where the model is."""
    return tokenizer(text, return_tensors="pt").to(model.device)["input_ids"]


@torch.inference_mode()
def distances(ids):
    """Largest differences of logits: ours and eager, ours and the fused kernel, the library's two kernels."""
    ours, _ = llama_logits(ids, weights, shape)
    eager = model(ids).logits
    model.set_attn_implementation("sdpa")
    fused = model(ids).logits
    model.set_attn_implementation("eager")
    agree = (ours.argmax(-1) == fused.argmax(-1)).float().mean()
    return {
        "tokens": ids.shape[1],
        "ours, eager": float((ours - eager).abs().max()),
        "ours, fused": float((ours - fused).abs().max()),
        "eager, fused": float((eager - fused).abs().max()),
        "same next token": f"{agree:.0%}",
    }


rows = {name: distances(tokens_of(text)) for name, text in PROMPTS.items()}
pd.DataFrame(rows).T.style.format("{:.1e}", subset=["ours, eager", "ours, fused", "eager, fused"])

# %% tags=["hide-input", "experiment"]
lab.needs("llama_logits")
off = max(row["ours, fused"] for row in rows.values())
guess.reveal("exactly 0: the formulas are the same" if off == 0 else "less than 0.01" if off < 0.01 else "about 0.1, and the next token is the same",
             why=f"At most {off:.0e}. The library's own two kernels differ by {max(row['eager, fused'] for row in rows.values()):.0e}.")

# %% [markdown]
# Differences up to a few $10^{-4}$ are what float32 allows: with logits up to 40, seven digits and thirty layers, another
# order of additions is enough for that. So your code is right if the first column of differences is 0 *or* of this size. It
# is exactly 0 only if your code rounds at the same places as the library. For example, $\theta^{-2i/d}$ and
# $1/\theta^{2i/d}$ are the same number on paper, but not always in float32. By default `transformers` takes a fused attention
# kernel, which adds in another order: compare the column "eager, fused", where the library differs from itself. A difference
# of 0.1 or another next token would be a bug.
#
# ### A longer text
#
# Let the model read its own source code: the file `modeling_llama.py`, which has what you have just written.

# %% tags=["experiment"]
LONG = lab.budget(full=1024, quick=32)
source = inspect.getsource(modeling_llama)
long_ids = tokens_of(source[source.index("class LlamaRMSNorm") :])[:, : LONG + 1]
with torch.inference_mode():
    long_logits, long_cache = llama_logits(long_ids[:, :-1], weights, shape)
    off = (long_logits - model(long_ids[:, :-1]).logits).abs().max()
print(f"{LONG} tokens: largest difference of the logits {off:.1e}")

# %% [markdown]
# What is a long context good for? Take the last quarter of that text, and let the model see more and more of the text
# before it.

# %% tags=["hide-input"]
guess = widgets.predict("The nearest tokens help most. How many of them are enough for half of what all 768 bring?",
                        options=["the nearest 16", "between 16 and 64", "between 64 and 256", "more than 256"])

# %% tags=["experiment"]
target = LONG // 4
rows = {}
for context in (0, 16, 64, 256, LONG - target):
    if context <= LONG - target:
        part = long_ids[:, LONG - target - context :]
        with torch.inference_mode():
            logits, _ = llama_logits(part[:, :-1], weights, shape)
        nats = F.cross_entropy(logits[0, -target + 1 :], part[0, -target + 1 :])
        rows[context] = nats.item()
print(f"nats per token of the last {target}, by tokens before them:", {context: round(nats, 3) for context, nats in rows.items()})

# %% tags=["hide-input", "experiment"]
lab.needs("llama_logits")
half = (rows[0] + rows[max(rows)]) / 2
enough = min(context for context, nats in rows.items() if nats <= half)
guess.reveal("the nearest 16" if enough <= 16 else "between 16 and 64" if enough <= 64
             else "between 64 and 256" if enough <= 256 else "more than 256", why=f"Half of the gain is at {half:.3f} nats; {enough} tokens give {rows[enough]:.3f}.")
steps = list(rows.values())
falls = all(later < earlier for earlier, later in zip(steps, steps[1:], strict=False))
gain = max(steps[0] - steps[-1], 1e-9)
if (nearest := min(abs(nats - half) for nats in steps)) < 0.1 * gain:
    print(f"one context is only {nearest:.3f} nats from that boundary, so another text may give another answer")
print("the loss falls with each longer context" if falls else "the loss does not fall with each longer context")
for context, nats in rows.items():
    print(f"{context:5} tokens before: {(steps[0] - nats) / gain:.0%} of what the longest context brings")

# %% [markdown]
# The text and the tokens to be predicted are the same in all rows, so only the context differs. How much do the nearest few dozen
# tokens bring, and is there a rest? Possible reasons for a rest are names that were defined far above, and the style of
# the file; we did not test which. And this is one file: another may gain more or less. Nothing in your code knows a longest
# length; whether the *weights* can use distant tokens depends on how they were trained (the course model's configuration allows 8192 tokens).

# %% [markdown]
# ### What if one part is wrong?
#
# A wrong part need not crash. It may make a model that is somewhat worse, and nobody knows why. Five changes, made in the
# weights or the configuration so that your code stays as it is.

# %% tags=["hide-input"]
CHANGES = {"theta": "a theta ten times smaller", "norms": "norms without their weights", "gate": "gate and up exchanged",
           "Meta": "queries and keys in Meta's order of the pairs", "one": "one key-value head for all, the mean of theirs"}
guess = widgets.predict("Which change does *least* harm to sentences as short as film reviews?", options=list(CHANGES.values()))
guess_2 = widgets.predict("Which does most?", options=list(CHANGES.values()))

# %% tags=["hide-input", "experiment"]
def edited(edit):
    """A copy of the weights with edit(name, tensor) in the place of each tensor."""
    return {name: edit(name, tensor) for name, tensor in weights.items()}


def paired(name, tensor):
    """Rows of queries and keys in Meta's order, as if the file had not been converted."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor
    heads = tensor.view(-1, 2, shape.head_dim // 2, shape.width)
    return heads.transpose(1, 2).reshape(tensor.shape)


def one_kv_head(name, tensor):
    """All key-value heads replaced by their mean: multi-query attention without training."""
    if not name.endswith(("k_proj.weight", "v_proj.weight")):
        return tensor
    heads = tensor.view(shape.kv_heads, shape.head_dim, shape.width)
    return heads.mean(0, keepdim=True).expand_as(heads).reshape(tensor.shape)


def exchanged(name, tensor):
    """Gate in the place of up, and up in the place of gate."""
    if "gate_proj" in name:
        return weights[name.replace("gate_proj", "up_proj")]
    return weights[name.replace("up_proj", "gate_proj")]


WRONG = {
    "as it should be": (weights, shape),
    f"theta {shape.theta / 10:,.0f} instead of {shape.theta:,.0f}": (weights, replace(shape, theta=shape.theta / 10)),
    "norms without their weights": (edited(lambda name, t: torch.ones_like(t) if "norm" in name else t), shape),
    "gate and up exchanged": (edited(exchanged), shape),
    "Meta's order of the pairs": (edited(paired), shape),
    "one key-value head for all": (edited(one_kv_head), shape),
}

# %% tags=["experiment"]
texts = data.movie_sentences()[: lab.budget(full=20, quick=1)]["text"]


@torch.inference_mode()
def nats_per_token(weights, shape):
    """Mean loss of each text."""
    losses = []
    for text in texts:
        ids = tokens_of(text)
        logits, _ = llama_logits(ids[:, :-1], weights, shape)
        losses.append(F.cross_entropy(logits[0], ids[0, 1:]).item())
    return np.array(losses)


losses = pd.DataFrame({name: nats_per_token(*case) for name, case in tqdm(WRONG.items(), desc="variants", leave=False)})
rows = {}
for name in losses:
    extra = scoring.paired(losses[name], losses["as it should be"])
    rows[name] = {"nats per token": losses[name].mean(), "added": extra[0], "from": extra[1], "to": extra[2]}
pd.DataFrame(rows).T.round(2)

# %% tags=["hide-input", "experiment"]
lab.needs("llama_logits")
harm = {name.split()[0].removesuffix("'s"): row["added"] for name, row in rows.items() if name != "as it should be"}
least, most = min(harm, key=harm.get), max(harm, key=harm.get)
guess.reveal(CHANGES[least], why=f"{harm[least]:+.2f} nats per token.")
guess_2.reveal(CHANGES[most], why=f"{harm[most]:+.2f} nats per token.")
uniform = math.log(shape.vocabulary)
print(f"a uniform guess among {shape.vocabulary:,} tokens: {uniform:.1f} nats per token; from harmless to fatal:")
for name in sorted(rows, key=lambda name: rows[name]["added"]):
    row = rows[name]
    if name != "as it should be":
        said = "worse than guessing" if row["nats per token"] > uniform else "better than guessing"
        seen = "" if row["from"] > 0 else "; we cannot tell at this size that it does harm"
        print(f"{name}: {row['added']:+.2f} nats per token, {said}{seen}")

# %% [markdown]
# What is worse than guessing you would notice. What costs little is the danger: such a model still writes English, and nobody sees
# that a part is wrong. (On longer texts we expect more damage from a wrong position; we did not measure it.) So compare logits with
# a reference before you believe that a port is right.
#
# "One key-value head for all" is not a mistake but an attempt: multi-query attention, by averaging. The model was not trained so;
# @ainslie2023gqa average and then *train on*.
#
# ## 8 · The cache
#
# To write $t$ tokens without a cache, the whole text goes through the model $t$ times. With it, each token goes through
# once; only attention still looks back at all earlier keys and values, so its work over the whole text stays quadratic. Two
# things to show: the same text comes out, and the time differs.

# %% tags=["hide-input"]
guess = widgets.predict(
    "With the cache, 40 tokens after a short text are written faster by some factor. How large is the factor for the one token after 1,024?",
    options=["about as large: half to twice", "more than twice as large", "less than half as large: a long cache is slow to read"],
)

# %% tags=["hide-input", "experiment"]
@torch.inference_mode()
def decode(ids, steps, pick, cached=True, stop=None):
    """Continue ids (batch, n) by `steps` tokens, each chosen by pick(logits of the last position) → (batch, 1)."""
    past, new = None, ids
    for _ in range(steps):
        logits, cache = llama_logits(new if cached else ids, weights, shape, past)
        chosen = pick(logits[:, -1])
        ids = torch.cat([ids, chosen], 1)
        if stop is not None and bool((chosen == stop).all()):
            break
        past, new = (cache, chosen) if cached else (None, None)
    return ids


def greedy(logits):
    return logits.argmax(-1, keepdim=True)


STEPS = lab.budget(full=40, quick=2)
prompt = tokens_of("A llama is an animal that")
seconds, outputs = {}, {}
for cached in (False, True):
    began = time.perf_counter()
    outputs[cached] = decode(prompt, STEPS, greedy, cached).cpu()  # and so waits until it is computed
    seconds[cached] = time.perf_counter() - began
assert torch.equal(outputs[False], outputs[True])
print(tokenizer.decode(outputs[True][0]))
ratio = seconds[False] / seconds[True]
print(f"{STEPS} tokens: {seconds[False]:.1f} s without, {seconds[True]:.1f} s with the cache ({ratio:.1f} times)")

# %% tags=["hide-input", "experiment"]
@torch.inference_mode()
def milliseconds(ids, past=None, runs=2):
    """Best time of some runs, each until the next token is known."""
    seconds = []
    for _ in range(lab.budget(full=runs, quick=1)):
        began = time.perf_counter()
        greedy(llama_logits(ids, weights, shape, past)[0][:, -1]).item()
        seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds)


lengths = lab.budget(full=(16, 64, 256, 1024), quick=(16, 32))
times = {"without": [], "with": []}
for n in lengths:
    ids = long_ids[:, :n]
    past = [(k[:, :, : n - 1], v[:, :, : n - 1]) for k, v in long_cache]  # what a run over n - 1 tokens leaves
    times["without"].append(milliseconds(ids))
    times["with"].append(milliseconds(ids[:, -1:], past))
fig, ax = plt.subplots(figsize=(9, 4.2))
for i, (name, values) in enumerate(times.items()):
    ax.plot(lengths, values, marker=plots.MARKERS[i], linestyle=plots.LINES[i], label=f"{name} the cache")
ax.set(title="Time for the next token", xlabel="tokens read so far", ylabel="milliseconds (better of two)")
ax.set(xscale="log", yscale="log")
ax.set_xticks(lengths, [str(n) for n in lengths])
ax.minorticks_off()
ax.legend()
plt.show()
print({name: [round(v) for v in values] for name, values in times.items()})

# %% tags=["hide-input", "experiment"]
lab.needs("llama_logits")
after = times["without"][-1] / times["with"][-1]
guess.reveal("more than twice as large" if after > 2 * ratio else "about as large: half to twice" if after >= ratio / 2
             else "less than half as large: a long cache is slow to read",
             why=f"{STEPS} tokens: {ratio:.1f} times; the token after {lengths[-1]:,}: {after:.0f} times.")

# %% [markdown]
# Without the cache each new token costs a pass over the whole text, so the time grows faster than the text. With it the time
# grows slowly, because only attention reads the earlier keys and values. Most of what is left at short lengths does not
# depend on the length; one likely reason is that for every token all parameters of the model must be read from memory. This reading
# is done once for all texts of a batch: so a server lets many texts share one pass, and then it needs as many caches.
#
# ## 9 · What it costs
#
# The cache saves time and costs memory. How much, and what did Llama 2 gain by grouping? Count, for any `Shape`, the
# parameters of the model and the bytes of its cache. (`bytes_per_element` is the size of one number in the cache;
# `shape.width` is the model's width $d$.)

# %% tags=["exercise:costs"]
def costs(shape, tokens, batch=1, bytes_per_element=2):
    """Parameters of a Llama, and bytes of its KV cache.

    shape: a Shape. tokens: how many are in the cache, for each of `batch` texts. bytes_per_element: bytes of one number in
    the cache (2 for 16-bit floats). Returns a dict of two ints:
        "parameters": all parameters of the model: embedding, blocks (four attention matrices, three of the feed-forward
            network, two norms; no biases), last norm, and the output matrix, unless it is tied.
        "cache_bytes": a key and a value for every layer, key-value head, text and token.

    Example: width 4, 1 layer, 2 heads of size 2, 2 kv heads, intermediate 6, vocabulary 10, tied: 188 parameters; a cache of
    3 tokens has 2 · 1 · 2 · 2 · 3 = 24 numbers, 48 bytes.
    """
    ### BEGIN SOLUTION
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 2 * shape.width * queries + 2 * shape.width * keys + 3 * shape.width * shape.intermediate + 2 * shape.width
    matrices = 1 if shape.tied else 2
    return {
        "parameters": matrices * shape.vocabulary * shape.width + shape.layers * layer + shape.width,
        "cache_bytes": 2 * shape.layers * keys * tokens * batch * bytes_per_element,
    }
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Write down the shape of each matrix of one block. Which of the four attention matrices depend on the number of key-value heads?</details>
# <details><summary>Hint 2</summary><code>heads * head_dim</code> need not be the width. Keys and values: <code>kv_heads * head_dim</code>, both in the weights and in the cache.</details>
# <details><summary>Hint 3</summary>q and o together: <code>2 * width * heads * head_dim</code>; k and v: <code>2 * width * kv_heads * head_dim</code>; the network:
# <code>3 * width * intermediate</code>; two norms: <code>2 * width</code>. The last norm is outside the blocks.</details>

# %%
def llama_config(row):
    """The configuration of a row of the course's table of LLaMAs."""
    return LlamaConfig(
        hidden_size=row.dimension, num_hidden_layers=row.layers, num_attention_heads=row.heads,
        num_key_value_heads=row.kv_heads, intermediate_size=row.intermediate, vocab_size=row.vocabulary,
    )


def counted_by_transformers(config):
    """The library's count; on the device "meta" weights have a shape and no memory."""
    with torch.device("meta"):
        return LlamaForCausalLM(config).num_parameters()


LLAMAS = {row.name: llama_config(row) for row in tables.load("llama_hyperparameters").itertuples()}

# %% tags=["tests:costs:2"]
with lab.test("costs"):
    small = Shape(4, 1, 2, 2, 2, 6, 10, 1e4, 1e-5, True)
    got = costs(small, 3)
    assert got == {"parameters": 188, "cache_bytes": 48}, f"the example has 188 parameters and 48 bytes; you have {got}"
    wide = costs(Shape(4, 1, 2, 1, 3, 6, 10, 1e4, 1e-5, True), 3)
    want = {"parameters": 196, "cache_bytes": 36}  # q and o are 4 × 6 each, k and v 4 × 3
    assert wide == want, f"2 heads of size 3 and 1 kv head at width 4 make {want}; you have {wide}"
    for name in ("LLaMA 7B", "Llama 2 70B"):
        want, got = counted_by_transformers(LLAMAS[name]), costs(shape_of(LLAMAS[name]), 1)["parameters"]
        assert got == want, f"{name} has {want:,} parameters; you count {got:,}"
    got = costs(shape_of(LLAMAS["LLaMA 7B"]), 2048, batch=4)["cache_bytes"]
    assert got == 4 * 2**30, f"LLaMA 7B keeps half a MiB per token, so 4 GiB for 4 texts of 2048; you have {got / 2**30} GiB"

# %% tags=["hidden:costs:2"]
def probe():
    tied = Shape(576, 30, 9, 3, 64, 1536, 49152, 1e5, 1e-5, True)
    wide = Shape(64, 3, 8, 1, 20, 100, 1000, 1e4, 1e-5, False)
    return {
        "tied": costs(tied, 100, batch=3, bytes_per_element=4),  # because: a model whose output matrix is its embedding
        "wide": costs(wide, 100, batch=3, bytes_per_element=4),  # because: a model whose heads together are wider than it is
        # because: the models of the course's table, which have an output matrix of their own
        "table": [costs(shape_of(config), 100, batch=3, bytes_per_element=4) for config in LLAMAS.values()],
        "one text": costs(tied, 8192),  # because: batch and bytes_per_element left as they are by default
    }


def visible():
    return [
        costs(Shape(4, 1, 2, 2, 2, 6, 10, 1e4, 1e-5, True), 3),
        costs(Shape(4, 1, 2, 1, 3, 6, 10, 1e4, 1e-5, True), 3),
        costs(shape_of(LLAMAS["LLaMA 7B"]), 2048, batch=4),
        costs(shape_of(LLAMAS["Llama 2 70B"]), 1)["parameters"],
    ]

# %% [markdown]
# First check it against what your own cache holds, then against the papers.

# %% tags=["experiment"]
held = sum(t.numel() * t.element_size() for pair in long_cache for t in pair)
computed = costs(shape, long_cache[0][0].shape[-2], bytes_per_element=4)
assert held == computed["cache_bytes"] and computed["parameters"] == model.num_parameters()
print(f"{MODEL}: {computed['parameters']:,} parameters; a cache of {LONG} tokens holds {held / 1e6:.1f} MB in float32")
printed = tables.load("llama_hyperparameters").set_index("name")["parameters_billion"]
rows = {}
for name, config in LLAMAS.items():
    counted = costs(shape_of(config), 1)["parameters"]
    off = counted / counted_by_transformers(config) - 1
    rows[name] = {"counted here": f"{counted:,}", "off the library's": f"{off:.1%}", "in the paper (billion)": printed[name],
                  "off the paper's": f"{counted / 1e9 / printed[name] - 1:+.2%}"}
pd.DataFrame(rows).T

# %% [markdown]
# Your count equals the library's. The papers round: LLaMA prints 6.7, 13.0, 32.5 and 65.2 billion for 6.74, 13.02, 32.53 and
# 65.29 (the last one is cut off, not rounded), and "70B" is a name for 69.
#
# Next: the cache of Llama 2 70B at its full context of 4096 tokens, for 16 texts at once in 16 bits, as it is and without grouping (a
# key-value head for every one of its 64 query heads).

# %% tags=["hide-input"]
guess = widgets.predict("How much memory does this cache need without grouping?", unit="GB", tolerance=0.25)

# %% [markdown]
# The next cell is folded; click it to read the code. It draws the size of the cache that your `costs` gives, for up to 131,072
# tokens, and prints it for 16 texts of 4096, beside the parameters.

# %% tags=["experiment", "hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.6))
tokens = 2.0 ** np.arange(8, 18)
grouped = shape_of(LLAMAS["Llama 2 70B"])
lines = {
    "Llama 2 70B, 64 key-value heads (no grouping)": replace(grouped, kv_heads=64),
    "Llama 2 70B, 8 key-value heads (as it is)": grouped,
    "Llama 2 70B, 1 key-value head (multi-query)": replace(grouped, kv_heads=1),
    "LLaMA 7B": shape_of(LLAMAS["LLaMA 7B"]),
}
for i, (name, s) in enumerate(lines.items()):
    ax.plot(tokens, [costs(s, int(t))["cache_bytes"] / 1e9 for t in tokens], label=name, marker=plots.MARKERS[i],
            linestyle=plots.LINES[i], color=plots.COLORS[i])
ax.axhline(80, color="grey", linestyle=":", marker="")
ax.annotate("one A100: 80 GB", (tokens[0], 88), color="dimgrey", fontsize=11)
ax.set(title="KV cache in 16 bits", xlabel="tokens in the cache (all texts of a batch)", ylabel="GB")
ax.set(xscale="log", yscale="log", ylim=(0.01, 1000))
ax.legend(fontsize=11)
plt.show()
for name, s in lines.items():
    counted = costs(s, 4096, batch=16)
    print(f"{name:<48}{counted['cache_bytes'] / 1e9:8.1f} GB for 16 texts of 4096; {counted['parameters'] / 1e9:5.1f} billion parameters")

# %% tags=["hide-input", "experiment"]
lab.needs("costs")
ungrouped, as_it_is = (costs(s, 4096, batch=16)["cache_bytes"] / 1e9 for s in (replace(grouped, kv_heads=64), grouped))
guess.reveal(ungrouped, why=f"More than its parameters take. With grouping it is {as_it_is:.1f} GB.")

# %% [markdown]
# Compare the first two printed lines. Grouping by eight divides the cache by eight. It also removes parameters, because the
# matrices of keys and values are an eighth as large; Llama 2 spends them on a wider feed-forward network. @touvron2023llama2 use
# grouping at 34B and 70B, and from Llama 3 on every size has it.

# %% [markdown]
# ### Challenge: the cache of any model
#
# Grouping is one way to a smaller cache. Others came later: layers with a *sliding window* (滑动窗口), which see only the nearest
# tokens, and *MLA* [@deepseekai2024v2], which keeps one small vector per token and layer instead of keys and values. One function for
# all of them, from the words that the library's configurations use. Not every configuration has every word.

# %% tags=["exercise:cache_bytes"]
def cache_bytes(config, tokens, bytes_per_element=2):
    """Bytes of the KV cache of one text.

    config: an object with some of these attributes; what is missing or None is as the bracket says.
        num_hidden_layers, num_attention_heads, hidden_size
        num_key_value_heads     (as many as there are query heads)
        head_dim                (hidden_size / num_attention_heads)
        sliding_window          a window layer's queries see this many tokens, themselves included (there is no window)
        layer_types             for each layer "full_attention" or "sliding_attention" (all layers are alike: with the window,
                                if there is one)
        kv_lora_rank            MLA: a layer keeps one vector of this size per token, and a turned key of size qk_rope_head_dim that
                                all heads share, and nothing else (there is no MLA)
    tokens: how many were read so far. Returns an int.

    A window layer keeps only what the *next* token can see besides itself.
    Example: 2 layers, 4 heads of size 8, 2 kv heads, 100 tokens: 2 · 2 · 2 · 8 · 100 = 6,400 numbers, 12,800 bytes.
    """
    ### BEGIN SOLUTION
    window = getattr(config, "sliding_window", None)
    if getattr(config, "kv_lora_rank", None):
        numbers = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        numbers = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    alike = "sliding_attention" if window else "full_attention"
    kinds = getattr(config, "layer_types", None) or [alike] * config.num_hidden_layers
    kept = sum(min(tokens, window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return numbers * kept * bytes_per_element
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two questions that do not depend on each other: how many numbers does a layer keep per token, and how many tokens does each layer
# keep? The first is the same for all layers, the second is not.</details>
# <details><summary>Hint 2</summary><code>getattr(config, name, None)</code> is None for what is missing. A configuration with MLA has key-value heads and a
# <code>head_dim</code>, too: ask for <code>kv_lora_rank</code> first. The next token is one of those that the window counts.</details>
# <details><summary>Hint 3</summary><code>min(tokens, window - 1)</code> tokens for a window layer, <code>tokens</code> for another; per token <code>kv_lora_rank + qk_rope_head_dim</code>
# numbers with MLA, else <code>2 * kv_heads * head_dim</code>. Add up over <code>layer_types</code>, or over as many equal layers.</details>

# %% [markdown]
# The next cell makes tiny models of three families, lets each read a few tokens, and counts the bytes in the library's own cache.

# %%
from types import SimpleNamespace

from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, MistralConfig, MistralForCausalLM

SIZES = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 6}
CACHED = {
    "groups": (LlamaForCausalLM, LlamaConfig(**SIZES, num_key_value_heads=2)),
    "a window": (MistralForCausalLM, MistralConfig(**SIZES, num_key_value_heads=3, head_dim=4, sliding_window=5)),
    "MLA": (DeepseekV3ForCausalLM, DeepseekV3Config(
        **SIZES, num_key_value_heads=6, kv_lora_rank=6, q_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=5,
        moe_intermediate_size=8, n_routed_experts=8, n_group=2, topk_group=1, num_experts_per_tok=2)),
}


def held_by_transformers(model_class, config, tokens):
    """Bytes in the library's cache after so many tokens."""
    with torch.no_grad():
        kept = model_class(config).eval()(torch.arange(tokens)[None], use_cache=True).past_key_values
    return sum(t.numel() * t.element_size() for layer in kept.layers for t in (layer.keys, layer.values))

# %% tags=["tests:cache_bytes:2"]
with lab.test("cache_bytes"):
    plain = SimpleNamespace(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, hidden_size=99)
    got = cache_bytes(plain, 100)
    assert got == 12_800, f"the example has 12,800 bytes; you have {got}"
    got = cache_bytes(SimpleNamespace(num_hidden_layers=2, num_attention_heads=4, hidden_size=32), 100)
    assert got == 25_600, f"without num_key_value_heads and head_dim: 4 heads of 32 / 4, so 25,600 bytes; you have {got}"
    kinds = ["sliding_attention", "full_attention"]
    got = [cache_bytes(SimpleNamespace(**vars(plain), layer_types=kinds, sliding_window=16), tokens) for tokens in (10, 100)]
    assert got == [1280, 7360], f"one layer of two with a window of 16 keeps 10 and 15 of 10 and 100 tokens: [1280, 7360]; you have {got}"
    for name, (model_class, config) in CACHED.items():
        for tokens in (3, 12):
            want, got = held_by_transformers(model_class, config, tokens), cache_bytes(config, tokens, bytes_per_element=4)
            assert got == want, f"{name}: after {tokens} tokens the library's cache holds {want} bytes; you count {got}"

# %% tags=["hidden:cache_bytes:3"]
def probe():
    base = {"num_hidden_layers": 6, "num_attention_heads": 10, "hidden_size": 160}
    kinds = ["sliding_attention"] * 2 + ["full_attention"]
    cases = {
        "multi-query": {"num_key_value_heads": 1, "head_dim": 20},  # because: one key-value head for all
        "left out": {"num_key_value_heads": None, "head_dim": None},  # because: attributes that are None
        "two of three": {"num_key_value_heads": 5, "layer_types": kinds * 2, "sliding_window": 64},  # because: windows in some layers
        "all": {"num_key_value_heads": 2, "sliding_window": 64},  # because: a window in every layer
        "no window": {"num_key_value_heads": 2, "sliding_window": None, "layer_types": None},  # because: no window at all
        "unused": {"layer_types": ["full_attention"] * 6, "sliding_window": 64},  # because: a window that no layer uses
        # because: MLA beside key-value heads and a head_dim that it does not use
        "latent": {"kv_lora_rank": 48, "qk_rope_head_dim": 16, "num_key_value_heads": 10, "head_dim": 16},
    }
    sizes = {}
    for name, more in cases.items():
        config = SimpleNamespace(**base, **more)
        sizes[name] = [cache_bytes(config, n, bytes_per_element=b) for n, b in ((1, 2), (63, 2), (64, 4), (5000, 1))]
    return sizes


def visible():
    plain = SimpleNamespace(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, hidden_size=99)
    windows = SimpleNamespace(**vars(plain), layer_types=["sliding_attention", "full_attention"], sliding_window=16)
    return [cache_bytes(plain, 100), cache_bytes(SimpleNamespace(num_hidden_layers=2, num_attention_heads=4, hidden_size=32), 100),
            [cache_bytes(windows, n) for n in (10, 100)],
            [cache_bytes(config, n, bytes_per_element=4) for _, config in CACHED.values() for n in (3, 12)]]

# %% [markdown]
# Your function on whole models, of which only the configuration is needed: the library's defaults for DeepSeek-V3 and gpt-oss.

# %% tags=["experiment"]
lab.needs("cache_bytes")
from transformers import GptOssConfig

for name, config in {"LLaMA 7B": LLAMAS["LLaMA 7B"], "Llama 2 70B": LLAMAS["Llama 2 70B"], "gpt-oss": GptOssConfig(), "DeepSeek-V3": DeepseekV3Config()}.items():
    print(f"{name:12} {cache_bytes(config, 32_768) / 1e9:6.2f} GB for a text of 32,768 tokens in 16 bits")

# %% [markdown]
# ## 10 · Sampling
#
# Always taking the likeliest token often makes dull and repeating text [@holtzman2020curious] (twenty tokens are too few to see it
# here); a draw from all 49,152 tokens lets in nonsense. In between:
#
# - *temperature* $T$: divide the logits by $T$. Below 1 the likely gets likelier,
# - *top-k* [@fan2018hierarchical]: keep the $k$ likeliest,
# - *top-p* or *nucleus* (核采样): keep the smallest set of likeliest tokens whose probabilities add up to at least $p$.

# %% tags=["exercise:filter_logits"]
def filter_logits(logits, temperature=1.0, top_k=None, top_p=None):
    """Logits to sample from.

    logits: float (batch, vocabulary). First divide by temperature (> 0). Then, if top_k is not None, keep each row's
    top_k likeliest tokens (all, if it has fewer). Then, if top_p is not None (0 < top_p <= 1), take the probabilities of
    what is left and keep the smallest set of likeliest tokens that add up to at least top_p; always at least one.
    Returns float (batch, vocabulary), with -inf for what is not kept. logits must stay as they are.

    Example: probabilities 0.5, 0.3, 0.15, 0.05 and top_p = 0.75: the first two are kept (0.5 is not enough, 0.8 is).
    No two logits of a row are equal.
    """
    ### BEGIN SOLUTION
    logits = logits / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1]), -1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -math.inf)
    if top_p is not None:
        falling, order = logits.softmax(-1).sort(-1, descending=True)
        before = falling.cumsum(-1) - falling
        drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(drop, -math.inf)
    return logits
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>In which order do temperature, top-k and top-p act, and on which probabilities does top-p look? A token is kept if those *before*
# it, in falling order, do not yet add up to top_p.</details>
# <details><summary>Hint 2</summary><code>logits.softmax(-1).sort(-1, descending=True)</code> gives values and places; <code>cumsum(-1)</code> minus the value itself is what was
# before. <code>scatter(-1, order, …)</code> takes a mask back to the old order.</details>
# <details><summary>Hint 3</summary><code>drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= top_p)</code>, then <code>masked_fill(drop, -math.inf)</code>;
# for top-k everything below <code>logits.topk(k, -1).values[:, -1:]</code>.</details>

# %%
def filtered_by_transformers(logits, temperature=1.0, top_k=None, top_p=None):
    """The library's answer."""
    steps = [TemperatureLogitsWarper(temperature)]
    steps += [TopKLogitsWarper(top_k)] if top_k else []
    steps += [TopPLogitsWarper(top_p)] if top_p else []
    return LogitsProcessorList(steps)(None, logits)

# %% tags=["tests:filter_logits:2"]
with lab.test("filter_logits"):
    example = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    kept = filter_logits(example, top_p=0.75).isfinite()[0].tolist()
    assert kept == [False, True, False, True], f"0.5 and 0.3 should be kept; you keep {kept}"
    logits = 3 * torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    for options in ({"temperature": 0.5}, {"top_k": 5}, {"top_p": 0.8}, {"temperature": 2.0, "top_k": 12, "top_p": 0.6}):
        want = filtered_by_transformers(logits, **options)
        lab.expect_close(filter_logits(logits, **options), want, f"filter_logits with {options}")
    assert torch.equal(logits, before), "the logits that came in must stay as they are"

# %% tags=["hidden:filter_logits:3"]
def probe():
    logits = 2 * torch.randn(5, 200, generator=torch.Generator().manual_seed(5))
    cases = {
        "cold": {"temperature": 0.3, "top_p": 0.9},  # because: a low temperature together with top_p
        "hot": {"temperature": 1.7, "top_k": 3},  # because: a high temperature together with top_k
        "all": {"temperature": 0.7, "top_k": 40, "top_p": 0.5},  # because: temperature, top_k and top_p together
        "least": {"top_p": 0.01},  # because: a top_p so small that one token is enough
        "most": {"top_k": 1000, "top_p": 1.0},  # because: a top_k and a top_p so large that no token need go
        "both": {"top_k": 10, "top_p": 0.95},  # because: top_k and top_p together
    }
    results = {name: filter_logits(logits, **case).softmax(-1) for name, case in cases.items()}
    results["left out"] = filter_logits(logits, top_k=2).isinf().sum(-1)  # because: how many tokens are left out
    return results


def visible():
    example = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    logits = torch.arange(120.0).view(4, 30) * 37 % 101 / 20
    cases = [{"temperature": 0.5}, {"top_k": 5}, {"top_p": 0.8}, {"temperature": 2.0, "top_k": 12, "top_p": 0.6}]
    return [filter_logits(example, top_p=0.75).softmax(-1)] + [filter_logits(logits, **case).softmax(-1) for case in cases]

# %% [markdown]
# What each setting gains and loses, measured on continuations of one beginning. *Likelihood*: the mean log-probability, by the
# model itself at temperature 1, of the tokens drawn. *Variety*: of all pairs of neighbouring tokens in eight texts, the share
# that occur for the first time.

# %% tags=["hide-input"]
guess = widgets.predict("Which setting gives the likeliest text *and* which the most varied?", options=[
    "temperature 0.5 both", "temperature 1.5 both", "temperature 0.5 the likeliest, 1.5 the most varied",
    "top-p 0.9 the likeliest, temperature 1.5 the most varied", "another pair"])

# %% tags=["experiment"]
SETTINGS = {
    "temperature 0.5": {"temperature": 0.5},
    "top-k 20": {"top_k": 20},
    "top-p 0.9": {"top_p": 0.9},
    "temperature 1": {},
    "temperature 1.5": {"temperature": 1.5},
}
STORY = tokens_of("The old sailor looked at the sea and")


def sampler(options, seed=0, record=None):
    """A pick for decode(); keeps the log-probabilities of what it draws in the list `record`."""
    g = torch.Generator().manual_seed(seed)

    def pick(logits):
        chances = filter_logits(logits, **options).softmax(-1).cpu()  # drawn there: the same on every device
        chosen = torch.multinomial(chances, 1, generator=g).to(logits.device)
        if record is not None:
            record.append(logits.log_softmax(-1).gather(1, chosen))
        return chosen

    return pick


def variety(texts):
    """Share of different pairs of neighbours; texts: lists of tokens."""
    pairs = [pair for text in texts for pair in zip(text, text[1:], strict=False)]
    return len(set(pairs)) / len(pairs)

# %% tags=["experiment"]
COUNT, LENGTH = lab.budget(full=24, quick=8), lab.budget(full=20, quick=2)
print("greedy:", tokenizer.decode(decode(STORY, LENGTH, greedy)[0]))
rows, likelihoods = {}, {}
for name, options in tqdm(SETTINGS.items(), desc="settings", leave=False):
    record = []
    texts = decode(STORY.expand(COUNT, -1), LENGTH, sampler(options, record=record))[:, STORY.shape[1] :]
    likelihoods[name] = torch.cat(record, 1).mean(1).tolist()
    mean, low, high = scoring.mean(likelihoods[name])
    groups = [variety(texts[i : i + 8].tolist()) for i in range(0, COUNT, 8)]
    rows[name] = {"likelihood (nats)": f"{mean:.2f} [{low:.2f}, {high:.2f}]",
                  "variety": f"{np.mean(groups):.2f} ({min(groups):.2f} to {max(groups):.2f})",
                  "the first": tokenizer.decode(texts[0]).strip()}
likeliest, most_varied = (max(rows, key=lambda name: float(rows[name][what].split()[0])) for what in ("likelihood (nats)", "variety"))
pd.DataFrame(rows).T.style.set_properties(**{"text-align": "left"})

# %% tags=["hide-input", "experiment"]
lab.needs("llama_logits", "filter_logits")
cold, hot = likeliest == "temperature 0.5", most_varied == "temperature 1.5"
guess.reveal("temperature 0.5 the likeliest, 1.5 the most varied" if cold and hot
             else "temperature 0.5 both" if cold and most_varied == likeliest
             else "temperature 1.5 both" if hot and most_varied == likeliest
             else "top-p 0.9 the likeliest, temperature 1.5 the most varied" if hot and likeliest == "top-p 0.9"
             else "another pair", why=f"The likeliest: {likeliest}. The most varied: {most_varied}.")
print("log-probability of the drawn tokens minus that of temperature 1 [95 % interval over pairs of texts]:")
for name in ("top-k 20", "top-p 0.9"):
    mean, low, high = scoring.paired(likelihoods[name], likelihoods["temperature 1"])
    said = "likelier" if low > 0 else "less likely" if high < 0 else "we cannot tell at this size"
    print(f"{name}: {mean:+.2f} [{low:+.2f}, {high:+.2f}] nats per token, {said}")

# %% [markdown]
# Read the texts beside the numbers: does the most varied setting still make sense? A low temperature raises the likelihood, a high
# one the variety, so the two pull in opposite directions. Top-k and top-p cut off the long tail of unlikely tokens; the last lines
# say whether that can be seen here. For the variety compare the differences with the range over the groups, in brackets. (A few
# groups of eight short texts, one beginning, a small model: an example, not a ranking.)
#
# ## 11 · A chat
#
# A chat model is the same decoder; the conversation is one text, laid out by a *template* (对话模板) that its makers trained it
# on:

# %% tags=["experiment"]
talk = [{"role": "user", "content": "What is the capital of France?"}]
if tokenizer.chat_template:
    print(tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))
else:
    print(f"{MODEL} has no chat template: nobody trained it to chat, and there is nothing to show here.")

# %% tags=["experiment"]
ANSWER = lab.budget(full=40, quick=3)  # longest answer, in tokens


def reply(talk, pick=greedy, steps=ANSWER):
    """The model's next message in a conversation."""
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)["input_ids"]
    out = decode(ids, steps, pick, stop=tokenizer.eos_token_id)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


talk = []
for said in ("What is the capital of France?", "And what is it known for? One sentence.") if tokenizer.chat_template else ():
    talk.append({"role": "user", "content": said})
    talk.append({"role": "assistant", "content": reply(talk)})
    print(f"You: {said}\nModel: {talk[-1]['content']}\n")
if talk:
    assert talk[1]["content"] == generate(model, tokenizer, talk[:1], max_new_tokens=ANSWER), "transformers says something else"
    print("transformers' own generate() gives the first answer word for word")

# %% [markdown]
# To talk for longer, run this in a cell of your own (an empty line ends it):
#
# ```python
# talk = []
# while said := input("You: "):
#     talk.append({"role": "user", "content": said})
#     pick = sampler({"temperature": 0.7, "top_p": 0.9}, seed=len(talk))
#     talk.append({"role": "assistant", "content": reply(talk, pick, steps=120)})
#     print("Model:", talk[-1]["content"])
# ```
#
# Each turn computes the whole conversation again. What would you have to keep between turns, and what must be the same for
# the kept part to stay valid?
#
# ## 12 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Keep the cache between turns.** Is the text of turn 1, as the template lays it out in turn 2, the beginning of turn
#   2's text?
# - **Up-training.** @ainslie2023gqa average the key-value heads, as you did, and then train on for a twentieth of the
#   original steps. How many steps of fine-tuning bring the one-head model half of the way back?
# - **Beyond the trained length.** The course model's configuration allows 8192 tokens. What happens to the nats per
#   token behind that on a GPU, and what if theta is made larger?
# - **Padding.** Texts of different lengths in one batch: what has to change in the mask and in the positions?
# - **Another family.** Qwen3's block is yours with one change: RMSNorm on each head's queries and keys before RoPE (weights
#   `self_attn.q_norm` and `k_norm`, of the head's size). Change `decoder_block` and compare with a tiny random
#   `Qwen3ForCausalLM`, as `toy` does for Llama.
# - **A larger one**, on a T4: change `MODEL` to `"tinyllama"`, a Llama too. Do its logits match in float16, and to what
#   tolerance?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@touvron2023llama]
# - [@touvron2023llama2]
# - [@zhang2019root]
# - [@su2021roformer]
# - [@shazeer2020glu]
# - [@shazeer2019fast]
# - [@ainslie2023gqa]
# - [@fan2018hierarchical]
# - [@holtzman2020curious]
# - [@benallal2025smollm2]
