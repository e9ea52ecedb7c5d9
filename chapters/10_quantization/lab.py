# %% [markdown]
# # Lab 10 · Quantization
#
# **How small can a number be before a language model notices?** A weight in float32 takes 32 bits. In this lab you store
# weights in 8 and in 4 bits, first with the simplest rule there is, then with the tricks that made
# *quantization* (量化: writing numbers with fewer bits) work for large language models. At the end your code runs a real
# model, and your own formula says which LLaMA fits which GPU.
#
# You will
#
# 1. write absmax, zero-point and block-wise quantization, and see what each buys,
# 2. find out what *outliers* (离群值) do to a matrix product, and how LLM.int8() gets around them,
# 3. write the 4-bit NormalFloat format of QLoRA, bit for bit as bitsandbytes stores it,
# 4. replace every linear layer of a real model by your own 8-bit layer, and measure memory, perplexity and speed,
# 5. spare the channels with large inputs, and beat round-to-nearest at four bits (a challenge with a score),
# 6. answer: will a 7B, 13B or 70B LLaMA fit my GPU?
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm
from transformers import LlamaConfig

from course_utils import data, hardware, lab, load_model, plots, scoring, tables, weights, widgets

lab.start(
    "10_quantization",
    exercises=["absmax", "zero_point", "blockwise", "mixed_matmul", "nf4", "int8_linear", "token_nll", "salient", "calibrated"],
)

# %% [markdown]
# ## The model and one of its matrices
#
# The course model is SmolLM2-135M-Instruct, a small Llama. On a Colab T4, change `MODEL` to `"tinyllama"` or
# `"qwen3-0.6b"`: the experiments of sections 4 to 7 then run on that model. The matrix `W` stays the course model's.

# %%
MODEL = "course"  # or "tinyllama", "qwen3-0.6b", the folder of a checkpoint
model, tokenizer = load_model(MODEL, precision="fp32")
course, course_tokenizer = (model, tokenizer) if MODEL == "course" else load_model("course", precision="fp32")
W = course.model.layers[3].mlp.up_proj.weight.detach().float().cpu()  # what the tests work on, whatever MODEL is
print(f"one matrix: {tuple(W.shape)}, {W.dtype}, values from {W.min():.2f} to {W.max():.2f}")

# %% [markdown]
# ### An honest look first
#
# Take 32 neighbouring weights in a *row* of this trained matrix, all float32 numbers: there are at most sixteen different values among
# them (in the lecture you saw it for the same matrix). Is it so for 32 weights that are below each other in a *column*, too?

# %% tags=["hide-input"]
guess = widgets.predict("How many different values have 32 neighbours in a column, on average?", options=["up to 8", "9 to 16", "17 to 24", "25 to 32"])

# %% tags=["nbval-check-output"]
blocks = {"row": W.reshape(-1, 32), "column": W.T.reshape(-1, 32)}
distinct = {name: torch.tensor([len(block.unique()) for block in part[:2000]]) for name, part in blocks.items()}
print(f"different values among 32 neighbours in a row: {distinct['row'].min()} to {distinct['row'].max()}")
print(f"different values among 32 neighbours in a column: {distinct['column'].min()} to {distinct['column'].max()}")

# %% tags=["hide-input"]
mean = float(distinct["column"].float().mean())
guess.reveal("up to 8" if mean < 8.5 else "9 to 16" if mean < 16.5 else "17 to 24" if mean < 24.5 else "25 to 32",
             why=f"It is {mean:.1f} on average, and {distinct['row'].float().mean():.1f} in a row.")

# %% [markdown]
# In a model trained in float32 nearly all 32 would differ, in a row, too. These do not: this model reached us in a file of type *Q4_1*,
# where each block of 32 weights of a row keeps a scale, a minimum and sixteen levels (4 bits per weight, plus the two numbers).
# In a column each of the weights is from another block, which has its own scale and minimum, so its levels are others.
# Somebody quantized it before us, and what this lab calls "fp32" is that file decoded to float32. So every loss that you
# measure below is *on top of* that first one, which we cannot measure, and a format with the same blocks and levels would
# lose nothing at all. (With internet access, `load_model("tinyllama")` loads a model that was not quantized before.)
#
# ## 1 · Absmax: one scale for all
#
# The simplest rule: divide by the largest magnitude, so that everything lies in [-1, 1], stretch that to [-127, 127], and
# round. The number to multiply by on the way back is the *scale* (缩放因子). Going back is called *dequantizing* (反量化).
#
# Two conventions are in use. Here the scale is absmax / 127: you divide by it to quantize. PyTorch also divides by its scale. Other
# texts call the reciprocal, 127 / absmax, the scale factor and multiply by it; bitsandbytes keeps absmax itself. The codes are the
# same; the tests want absmax / 127.
#
# $$ s = \frac{\max_i |x_i|}{127}, \qquad q_i = \mathrm{round}(x_i / s), \qquad \hat x_i = s\, q_i $$

# %% tags=["exercise:absmax"]
def absmax_quantize(x):
    """Quantize a float tensor to int8 with one scale for all its values.

    x: float tensor of any shape.
    Returns (q, scale): q int8, same shape as x, codes from -127 to 127; scale a float32 tensor with no dimensions.
    A tensor of zeros has q = 0 and scale = 1. x itself must not change.

    Example: [0.5, -2.0, 1.0] has scale 2/127 and codes [32, -127, 64].
    """
    ### BEGIN SOLUTION
    largest = x.abs().max().float()
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    q = (x.float() / scale).round().clamp(-127, 127).to(torch.int8)
    return q, scale
    ### END SOLUTION


def absmax_dequantize(q, scale):
    """Turn codes back into float32 values. q: int8, any shape; scale: float32. Returns float32, same shape."""
    ### BEGIN SOLUTION
    return q.float() * scale
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>The largest magnitude must become code 127. What is then one step worth, and what do you divide by if all values are zero? A cast to
# an integer type cuts off decimals: what has to come before it?</details>
# <details><summary>Hint 2</summary><code>x.abs().max()</code> as float32; <code>torch.where(largest &gt; 0, …, …)</code> for zeros; <code>.round()</code>, and only then
# <code>.to(torch.int8)</code>. For bfloat16, divide in float32.</details>
# <details><summary>Hint 3</summary><code>q = (x.float() / scale).round().clamp(-127, 127).to(torch.int8)</code>; and back: <code>q.float() * scale</code>.</details>

# %% tags=["tests:absmax:2"]
with lab.test("absmax"):
    x = torch.tensor([0.5, -2.0, 1.0])
    q, scale = absmax_quantize(x)
    lab.expect_close(q, torch.tensor([32, -127, 64], dtype=torch.int8), "q")
    lab.expect_close(scale, torch.tensor(2 / 127), "scale")
    lab.expect_close(absmax_dequantize(q, scale), torch.tensor([0.5039, -2.0, 1.0079]), "the way back", atol=1e-4)
    lab.expect_close(x, torch.tensor([0.5, -2.0, 1.0]), "x after the call, which must not change it")
    error = (absmax_dequantize(*absmax_quantize(W.clone())) - W).abs().max()
    assert error <= W.abs().max() / 127 / 2 + 1e-6, f"rounding is off by at most half a step, but yours by {error:.4f}"
    q, scale = absmax_quantize(torch.zeros(3))
    assert q.tolist() == [0, 0, 0] and scale == 1, f"a tensor of zeros has codes 0 and scale 1, yours {q.tolist()} and {scale}"
    q, scale = absmax_quantize(torch.tensor([3.0, 0.2], dtype=torch.bfloat16))
    lab.expect_close(scale, torch.tensor(3 / 127), "the scale of bfloat16 values, which is float32")

# %% tags=["hidden:absmax:3"]
def probe():
    g = torch.Generator().manual_seed(10)
    cases = {
        "matrix": torch.randn(7, 5, generator=g),  # because: a matrix
        "negative": -torch.rand(9, generator=g) - 1,  # because: negative values only
        "tiny": torch.randn(6, generator=g) * 1e-6,  # because: very small values
        "bf16": torch.randn(12, generator=g).to(torch.bfloat16),  # because: weights in bfloat16
        "zeros": torch.zeros(2, 3),  # because: a tensor of zeros
        "ties": torch.tensor([127.0, 0.5, 1.5, 2.5, -0.5, -1.5]),  # because: values halfway between two codes
    }
    answers = {}
    for name, x in cases.items():
        q, scale = absmax_quantize(x)
        back = absmax_dequantize(q, scale)
        answers[name] = {
            "q": q, "scale": float(scale), "back": back,
            "x after": x,  # because: the tensor you were given, which must stay as it was
            "types": [str(q.dtype), str(scale.dtype), str(back.dtype)],  # because: the dtypes of codes, scale and result
            "scale_shape": list(scale.shape),  # because: the shape of the scale
        }
    return answers


def visible():
    x, w = torch.tensor([0.5, -2.0, 1.0]), W.clone()
    q, scale = absmax_quantize(x)
    half = absmax_quantize(torch.tensor([3.0, 0.2], dtype=torch.bfloat16))
    return [q, scale, absmax_dequantize(q, scale), x, absmax_dequantize(*absmax_quantize(w))[::16],
            absmax_quantize(torch.zeros(3)), half]


def check(got, want):
    for name, answer in want.items():
        assert got[name]["types"] == answer["types"], f"{name}: dtypes are {got[name]['types']}"
        close(got[name]["x after"], answer["x after"], path=f"{name}: the input after the call")
        assert np.abs(got[name]["q"].astype(int)).max() <= 127
        close(got[name], answer, rtol=1e-4, path=name)

# %% [markdown]
# The codes of [0.5, -2.0, 1.0] are [32, -127, 64]. Now a fourth value comes, 200, and there is still one scale for all.

# %% tags=["hide-input"]
guess = widgets.predict("Which codes do the first three values get beside the 200?", options=["32, -127, 64", "0, -2, 1", "0, -1, 1", "0, 0, 0"])

# %% tags=["experiment", "nbval-check-output"]
lab.needs("absmax")
for values in ([0.5, -2.0, 1.0], [0.5, -2.0, 1.0, 200.0]):
    q, scale = absmax_quantize(torch.tensor(values))
    print(f"{values}: step {scale:.4f}, codes {q.tolist()}")

# %% tags=["hide-input", "experiment"]
step = 200 / 127
codes = [round(value / step) for value in (0.5, -2.0, 1.0)]
guess.reveal(str(codes)[1:-1], why=f"The step is {step:.2f} now, and was {2 / 127:.3f}.")

# %% [markdown]
# Beside one large value the others share three codes, because the largest value sets the step, and every error can be up to
# half a step. The rest of the lab makes steps smaller where it matters.
#
# ## 2 · Zero point: when the values are not centred
#
# After a ReLU or a softmax no value is negative, and absmax never uses half of its codes. *Zero-point quantization*
# (零点量化) spends all 256 codes on the range that occurs, and remembers which code means zero:
#
# $$ s = \frac{\mathrm{hi} - \mathrm{lo}}{255}, \qquad z = \mathrm{round}(-\mathrm{lo}/s), \qquad
# q_i = \mathrm{clip}(\mathrm{round}(x_i/s) + z,\ 0,\ 255), \qquad \hat x_i = s\,(q_i - z) $$
#
# with lo = min(x, 0) and hi = max(x, 0), so that zero itself is always exact.

# %% tags=["exercise:zero_point"]
def zero_point_quantize(x):
    """Quantize a float tensor to uint8 with a scale and a zero point.

    x: float tensor of any shape.
    Returns (q, scale, zero): q uint8, same shape; scale a Python float; zero a Python int in 0..255.
    A tensor of zeros has q = 0, scale = 1.0, zero = 0.

    Example: [0.0, 5.1] has scale 0.02, zero 0 and codes [0, 255]; [-1.0, 4.1] has scale 0.02 and zero 50.
    """
    ### BEGIN SOLUTION
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if lo == hi:
        return torch.zeros(x.shape, dtype=torch.uint8), 1.0, 0
    scale = (hi - lo) / 255
    zero = round(-lo / scale)
    q = (torch.round(x.double() / scale) + zero).clamp(0, 255).to(torch.uint8)
    return q, scale, zero
    ### END SOLUTION


def zero_point_dequantize(q, scale, zero):
    """Codes back to float32. q: uint8, any shape."""
    ### BEGIN SOLUTION
    return (q.float() - zero) * scale
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Follow the formulas from left to right: lo and hi, the step, the code of zero, the codes. What does uint8 do with 256, and with a
# negative difference?</details>
# <details><summary>Hint 2</summary><code>min(float(x.min()), 0.0)</code> is lo as a Python float. <code>.clamp(0, 255)</code> before <code>.to(torch.uint8)</code>. Round
# <code>x / scale</code> first, then add the zero point. On the way back make floats before you subtract.</details>
# <details><summary>Hint 3</summary><code>q = (torch.round(x.double() / scale) + zero).clamp(0, 255).to(torch.uint8)</code>; and back:
# <code>(q.float() - zero) * scale</code>.</details>

# %% tags=["tests:zero_point:2"]
with lab.test("zero_point"):
    q, scale, zero = zero_point_quantize(torch.tensor([-1.0, 0.0, 4.1]))
    lab.expect_close(q, torch.tensor([0, 50, 255], dtype=torch.uint8), "q")
    lab.expect_close(scale, 0.02, "scale")
    assert zero == 50 and isinstance(zero, int), f"zero should be the int 50, but it is {zero!r}"
    lab.expect_close(zero_point_dequantize(q, scale, zero), torch.tensor([-1.0, 0.0, 4.1]), "the way back", atol=1e-5)
    q, scale, zero = zero_point_quantize(torch.tensor([3.0, 5.1]))
    assert q.tolist() == [150, 255] and zero == 0, f"[3.0, 5.1]: the range begins at 0, so codes [150, 255], not {q.tolist()}"
    q, scale, zero = zero_point_quantize(torch.tensor([-0.6, 0.0, 1.7]))
    assert q[1] == zero == 67, f"the code of 0.0 is the zero point; yours are {int(q[1])} and {zero} (0.6 is 66.5 steps)"
    q, scale, zero = zero_point_quantize(torch.zeros(3))
    assert (q.tolist(), scale, zero) == ([0, 0, 0], 1.0, 0), f"zeros: codes 0, scale 1, zero 0, not {q.tolist()}, {scale}, {zero}"
    activations = F.relu(torch.randn(1000, generator=torch.Generator().manual_seed(0)))
    before = activations.clone()
    q, scale, zero = zero_point_quantize(activations)
    lab.expect_close(activations, before, "the activations after the call, which must not change them")
    ours = zero_point_dequantize(q, scale, zero)
    theirs = torch.fake_quantize_per_tensor_affine(activations, scale, zero, 0, 255)  # PyTorch's own
    lab.expect_close(ours, theirs, "your way there and back against torch's", atol=1e-5)
    step = activations.max() / 127  # absmax wastes the codes below zero
    half = (activations / step).round() * step
    assert (ours - activations).abs().mean() < (half - activations).abs().mean(), "twice the codes should halve the error"

# %% tags=["hidden:zero_point:3"]
def probe():
    g = torch.Generator().manual_seed(20)
    cases = {
        "all positive": torch.rand(11, generator=g) + 3,  # because: positive values far from zero
        "all negative": -torch.rand(4, 3, generator=g) - 2,  # because: negative values far from zero
        "around zero": torch.randn(50, generator=g),  # because: values on both sides of zero
        "zeros": torch.zeros(5),  # because: a tensor of zeros
        "wide": torch.tensor([-1e4, 0.0, 3e4]),  # because: very large values
    }
    answers = {}
    for name, x in cases.items():
        q, scale, zero = zero_point_quantize(x)
        answers[name] = {
            "q": q, "scale": float(scale), "zero": int(zero),
            "dtype": str(q.dtype),  # because: the dtype of the codes
            "back": zero_point_dequantize(q, scale, zero),
            "x after": x,  # because: the tensor you were given, which must stay as it was
        }
    return answers


def visible():
    activations = F.relu(torch.randn(1000, generator=torch.Generator().manual_seed(0)))
    coded, example = zero_point_quantize(activations), zero_point_quantize(torch.tensor([-1.0, 0.0, 4.1]))
    others = [zero_point_quantize(torch.tensor(x)) for x in ([3.0, 5.1], [-0.6, 0.0, 1.7], [0.0, 0.0, 0.0])]
    return [*example, zero_point_dequantize(*example), others, zero_point_dequantize(*coded)]


def check(got, want):
    close(got, want, rtol=1e-4)

# %% [markdown]
# ## 3 · Blocks: a scale for every few weights
#
# One large weight makes the step coarse for the whole matrix. *Block-wise* quantization (分块量化) gives each run of
# `block_size` values its own scale: the damage stays in its block. The price is one more number per block.
#
# From here on your functions are compared with [bitsandbytes](https://github.com/bitsandbytes-foundation/bitsandbytes), the
# library that `transformers` uses for 8 and 4 bits.

# %%
import bitsandbytes as bnb
import bitsandbytes.functional as bnb_f

# %% tags=["exercise:blockwise"]
def blockwise_quantize(x, block_size=64):
    """Absmax int8 for each block of block_size values, in the order of x.flatten().

    x: float tensor of any shape; its size need not be a multiple of block_size.
    Returns (q, scales): q int8 of shape (blocks, block_size), the last block filled up with zeros; scales float32 of
    shape (blocks,). A block of zeros has scale 1.

    Example: 100 values in blocks of 64 give q of shape (2, 64).
    """
    ### BEGIN SOLUTION
    flat = x.flatten().float()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).reshape(-1, block_size)
    largest = blocks.abs().amax(dim=1)
    scales = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    q = (blocks / scales[:, None]).round().clamp(-127, 127).to(torch.int8)
    return q, scales
    ### END SOLUTION


def blockwise_dequantize(q, scales, shape):
    """Back to a float32 tensor of the given shape; what was filled up is dropped."""
    ### BEGIN SOLUTION
    values = (q.float() * scales[:, None]).flatten()
    return values[: torch.Size(shape).numel()].reshape(shape)
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Fill up to whole blocks, make each block a row, and use exercise 1's rule for every row. How many values are missing, and how many if
# the size is a multiple already?</details>
# <details><summary>Hint 2</summary><code>-len(flat) % block_size</code> are missing; <code>F.pad(flat, (0, missing)).reshape(-1, block_size)</code>.
# <code>.abs().amax(dim=1)</code> is one number per row; <code>scales[:, None]</code> divides row by row.</details>
# <details><summary>Hint 3</summary>Back: <code>(q.float() * scales[:, None]).flatten()</code>, then the first <code>torch.Size(shape).numel()</code> values in the given shape.</details>

# %% tags=["tests:blockwise:2"]
with lab.test("blockwise"):
    q, scales = blockwise_quantize(torch.tensor([1.0, -2.0, 100.0, 50.0, 3.0]), block_size=2)
    lab.expect_close(q, torch.tensor([[64, -127], [127, 64], [127, 0]], dtype=torch.int8), "q")
    lab.expect_close(scales, torch.tensor([2.0, 100.0, 3.0]) / 127, "scales")
    q, scales = blockwise_quantize(torch.tensor([1.0, 2.0, 0.0, 0.0]), block_size=2)
    assert q.shape == (2, 2), f"four values are two whole blocks of two, with nothing to fill up; yours are {tuple(q.shape)}"
    assert scales[1] == 1, f"a block of zeros has scale 1, not {scales[1]:g}"
    steps = bnb_f.create_linear_map(signed=True, total_bits=8)  # -1 … 1 in steps of 1/127: bitsandbytes' block-wise, with our codes
    codes, state = bnb_f.quantize_blockwise(W, code=steps, blocksize=64)
    theirs = bnb_f.dequantize_blockwise(codes, state)
    copied = W.clone()
    ours = blockwise_dequantize(*blockwise_quantize(copied, 64), W.shape)
    lab.expect_close(copied, W, "the matrix after the call, which must not change it")
    lab.expect_close(ours, theirs, "your way there and back against bitsandbytes'", atol=float(W.abs().max()) / 127)
    same = ((ours - theirs).abs() < 1e-5).float().mean()
    assert same > 0.99, f"only {same:.1%} of the values are those of bitsandbytes"

# %% tags=["hidden:blockwise:3"]
def probe():
    g = torch.Generator().manual_seed(30)
    answers = {}
    for shape, size in (((3, 50), 64), ((128,), 32), ((5, 7), 8), ((2, 2), 64)):
        x = torch.randn(shape, generator=g)
        x.view(-1)[0] = 40.0
        q, scales = blockwise_quantize(x, size)
        back = blockwise_dequantize(q, scales, x.shape)
        answers[f"{shape} {size}"] = {
            "q": q,  # because: the codes, for other shapes and block sizes
            "scales": scales,  # because: one scale per block, also for a last block that is not full
            "back": back,  # because: the way back, in the shape of the input
            "x after": x,  # because: the tensor you were given, which must stay as it was
        }
    q, scales = blockwise_quantize(torch.cat([torch.zeros(8), torch.ones(8)]), 8)
    answers["a block of zeros"] = {"q": q, "scales": scales}  # because: a block of zeros
    return answers


def visible():
    q, scales = blockwise_quantize(torch.tensor([1.0, -2.0, 100.0, 50.0, 3.0]), block_size=2)
    whole, w = blockwise_quantize(torch.tensor([1.0, 2.0, 0.0, 0.0]), block_size=2), W[:64].clone()
    return [q, scales, *whole, blockwise_dequantize(*blockwise_quantize(w, 64), w.shape), w]


def check(got, want):
    close(got, want, rtol=1e-4)

# %% [markdown]
# A float32 scale for every 64 int8 weights adds half a bit to each. Smaller blocks cost more bits. What do they buy?

# %% tags=["hide-input"]
guess = widgets.predict("The blocks get 256 times smaller: 16 weights instead of 4096. And the error?", options=[
    "it hardly changes", "it is about halved", "it is divided by about 10", "it is divided by about 100"])

# %% tags=["experiment"]
lab.needs("blockwise")
sizes = [16, 32, 64, 128, 256, 1024, 4096]
rmse = [float((blockwise_dequantize(*blockwise_quantize(W.clone(), n), W.shape) - W).square().mean().sqrt()) for n in sizes]
bits = [8 + 32 / n for n in sizes]
fig, ax = plt.subplots()
ax.plot(bits, rmse, "o-")
for n, b, e in zip(sizes, bits, rmse, strict=True):
    ax.annotate(f"{n}", (b, e), textcoords="offset points", xytext=(6, 6))
ax.set(title="Smaller blocks cost bits and buy precision (labels: block size)", xlabel="bits per weight, scales included", ylabel="root mean square error")
plt.show()

# %% tags=["hide-input", "experiment"]
ratio = rmse[-1] / max(rmse[0], 1e-12)
guess.reveal("it hardly changes" if ratio < 1.4 else "it is about halved" if ratio < 5
             else "it is divided by about 10" if ratio < 30 else "it is divided by about 100",
             why=f"It is divided by {ratio:.1f}, for {bits[0]:.2f} bits per weight instead of {bits[-1]:.2f}.")

# %% [markdown]
# It is about halved, because the largest of 16 weights is usually about half as large as the largest of 4096 (in a bell curve very
# large values are rare, so the largest grows slowly with the number of weights). The memory grows from a little over 8 to 10 bits per weight. Spent on finer codes instead, the
# same two bits would divide the step by four.
#

# %% [markdown]
# ## 4 · Outliers, and how LLM.int8() multiplies
#
# To calculate in 8 bits, the *activations* (激活值) must be quantized too. Now look at what goes into this model's layers.

# %% tags=["experiment"]
sentences = list(data.movie_sentences().shuffle(seed=0)["text"])
largest = {}


def watch(name):
    def hook(module, inputs):
        tokens = inputs[0].detach()[batch["attention_mask"].bool()]  # (tokens, channels), without padding
        largest[name] = tokens.abs().amax(dim=0).cpu()  # one number per channel: the largest magnitude over all tokens
    return hook


hooks = [m.register_forward_pre_hook(watch(n)) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
batch = tokenizer(sentences[: lab.budget(full=8, quick=2)], return_tensors="pt", padding=True).to(model.device)
with torch.inference_mode():
    model(**batch)
for hook in hooks:
    hook.remove()

# %% tags=["experiment"]
share = {name: float((channels >= 6).float().mean()) for name, channels in largest.items()}
with_outliers = sum(value > 0 for value in share.values())
worst = max(largest, key=lambda name: float(largest[name].max() / largest[name].median()))
print(f"{with_outliers} of {len(share)} layers see a channel of magnitude 6 or more")
print(f"on average {sum(share.values()) / len(share):.1%} of a layer's channels; most extreme: {worst}")
ordered = largest[worst].sort(descending=True).values
fig, ax = plt.subplots()
ax.semilogy(range(1, len(ordered) + 1), ordered)
ax.axhline(6, linestyle="--", color=plots.COLORS[2])
ax.text(len(ordered) * 0.6, 6.6, "LLM.int8()'s threshold, 6.0")
ax.set(title=f"A few channels dwarf the rest: input of {worst}", xlabel="channel, by magnitude", ylabel="largest |activation|")
plt.show()

# %% [markdown]
# A few channels are far larger than the others. One scale for such a row of activations leaves the ordinary channels a
# few codes each. @dettmers2022int8 saw that in large models the outliers are in the *same few channels* for all tokens,
# and split the product:
#
# - channels where some token reaches the threshold: multiplied as they are, in high precision;
# - all other channels: activations in int8 with one scale per **token** (a row of x), weights in int8 with one scale per
#   **output** (a row of w), multiplied as whole numbers, summed in int32, then scaled by both.
#
# Why in int32? Multiply two vectors of a hundred 100s each, with everything in int8.

# %% tags=["hide-input"]
guess = widgets.predict("Which number comes out as their product?", options=[127, 1_000_000, 16, 64])

# %% tags=["nbval-check-output"]
hundreds = torch.full((1, 100), 100, dtype=torch.int8)
print("added up in int8: ", (hundreds @ hundreds.T).item())
print("added up in int32:", (hundreds.int() @ hundreds.int().T).item())

# %% tags=["hide-input"]
million = 100 * 100 * 100
guess.reveal((hundreds @ hundreds.T).item(), why=f"{million:,} = {million // 256:,} · 256 + {million % 256}.")

# %% [markdown]
# int8 keeps only the lowest eight bits of a million, without a warning. The sum needs 32 bits. Now the whole product:
#
# $$ x w^\top \approx x_{:,O}\, w_{:,O}^\top \;+\; s_x s_w^\top \odot \left( q_x\, q_w^\top \right) $$

# %% tags=["exercise:mixed_matmul"]
def mixed_matmul(x, w, threshold=6.0):
    """x @ w.T with outlier channels in float32 and all others in int8, as LLM.int8() does.

    x: float32 (tokens, channels), the activations. w: float32 (outputs, channels), the weights.
    threshold: a channel is an outlier if |x| ≥ threshold for at least one token.
    Returns float32 (tokens, outputs).

    The scale of a row of x comes from its ordinary channels only; that of a row of w from all its channels.
    A row of zeros has scale 1.
    Example: with threshold=0 every channel is an outlier and the result is exactly x @ w.T.
    """
    ### BEGIN SOLUTION
    outlier = (x.abs() >= threshold).any(dim=0)

    def rowwise(matrix):
        largest = matrix.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        return (matrix / scale).round().to(torch.int32), scale

    qx, sx = rowwise(x.masked_fill(outlier, 0.0))
    qw, sw = rowwise(w)
    ordinary = (qx @ qw.T).float() * sx * sw.T
    return ordinary + x[:, outlier] @ w[:, outlier].T
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Two products, which are added: one of the outlier channels as they are, one of whole numbers. A channel is a column of both x and w. Which
# columns may the scale of a row of x see?</details>
# <details><summary>Hint 2</summary><code>(x.abs() &gt;= threshold).any(dim=0)</code> marks the channels; <code>x.masked_fill(outlier, 0.0)</code> leaves the ordinary ones. A small
# function that gives codes and scale of each row serves x and w. The codes as int32: int8 products overflow.</details>
# <details><summary>Hint 3</summary><code>(qx @ qw.T).float() * sx * sw.T + x[:, outlier] @ w[:, outlier].T</code>, where <code>sx</code> has a row per token and <code>sw</code> one
# per output.</details>

# %% tags=["tests:mixed_matmul:3"]
with lab.test("mixed_matmul"):
    g = torch.Generator().manual_seed(4)
    w, channels = W[:64].clone(), W.shape[1]
    x = torch.randn(16, channels, generator=g).clamp(-4, 4)
    exact = x @ w.T
    lab.expect_close(mixed_matmul(x, w, threshold=0.0), exact, "all channels in float32", atol=1e-3)
    x[3, 50] = 6.0  # reaches the threshold exactly, in one token
    lab.expect_close(mixed_matmul(x, w, 6.0), mixed_matmul(x, w, 5.9), "a channel with one value of exactly 6", atol=1e-4)
    x[:, 100], x[2, 200] = -60.0, 60.0  # an outlier channel, and one in a single token
    x[5], x[9], w[7] = 0.0, x[9] / 100, w[7] * 20  # a token of zeros, one of small values, an output with large weights
    before = x.clone(), w.clone()
    exact = x @ w.T
    difference = mixed_matmul(x, w) - exact
    error = difference.norm() / exact.norm()
    naive = (mixed_matmul(x, w, threshold=1e9) - exact).norm() / exact.norm()
    assert error < 0.01, f"with the outliers apart, the relative error should be below 1 %, but it is {error:.1%} (a row of zeros?)"
    assert naive > 3 * error, f"without, it should be far larger: {naive:.1%} against {error:.1%}"
    for dim, what in ((1, "token (a row of x)"), (0, "output (a row of w)")):
        share = difference.norm(dim=dim) / exact.norm(dim=dim).clamp(min=1e-9)
        assert share.max() < 0.05, f"{what} {share.argmax()} is off by {share.max():.0%}: does each {what} have a scale of its own?"
    lab.expect_close(x, before[0], "x after the call, which must not change it")
    lab.expect_close(w, before[1], "w after the call, which must not change it")

    layer = bnb.nn.Linear8bitLt(channels, 64, bias=False, has_fp16_weights=False, threshold=6.0)
    layer.load_state_dict({"weight": w.clone()})
    theirs = layer.to("cpu")(x).float()
    gap = (mixed_matmul(x, w) - theirs).norm() / theirs.norm()
    # to 2 %: bitsandbytes keeps the outlier channels' weights in int8 too, and works in float16
    assert gap < 0.02, f"yours and bitsandbytes' product should agree to 2 %, but they differ by {gap:.1%}"

# %% tags=["hidden:mixed_matmul:4"]
def probe():
    g = torch.Generator().manual_seed(40)
    x, w = torch.randn(6, 512, generator=g), torch.randn(9, 512, generator=g)
    w[:, 3] *= 8
    answers = {
        "no outlier": mixed_matmul(x, w),  # because: no value above the threshold
        "low threshold": mixed_matmul(x, w, threshold=2.5),  # because: another threshold
    }
    x[2, 7] = 80.0  # in one token only
    x[1, 9] = -70.0  # a negative one
    x[3, 11] = 6.0  # exactly at the threshold
    answers["outliers"] = mixed_matmul(x, w)  # because: outliers of either sign, or in one token only
    answers["all outliers"] = mixed_matmul(x, w, threshold=0.0)  # because: nothing but outliers
    x[4], w[5] = 0.0, 0.0
    answers["rows of zeros"] = mixed_matmul(x, w)  # because: rows of zeros
    ones = torch.full((2, 4096), 3.0)
    answers["large sum"] = mixed_matmul(ones, torch.ones(3, 4096))  # because: sums too large for a small integer type
    mixed_matmul(x, w)
    answers["x after"] = x  # because: the matrix you were given, which must stay as it was
    return answers


def visible():
    x, w = torch.randn(16, W.shape[1], generator=torch.Generator().manual_seed(4)).clamp(-4, 4), W[:64].clone()
    exact = mixed_matmul(x.clone(), w, threshold=0.0)
    x[3, 50] = 6.0
    edge = [mixed_matmul(x.clone(), w, threshold) for threshold in (6.0, 5.9)]
    x[:, 100], x[2, 200] = -60.0, 60.0
    x[5], x[9], w[7] = 0.0, x[9] / 100, w[7] * 20
    return [exact, edge[0] - edge[1], mixed_matmul(x, w), x, w]


def check_visible(got, want):
    close(got[:2] + got[3:], want[:2] + want[3:], atol=2e-3)
    # each may be 1 % off the exact product, and 5 % for a token or an output
    assert got[2].shape == want[2].shape and np.linalg.norm(got[2] - want[2]) < 0.02 * np.linalg.norm(want[2])
    for axis in (0, 1):
        assert (np.linalg.norm(got[2] - want[2], axis=axis) <= 0.1 * np.linalg.norm(want[2], axis=axis)).all()


def check(got, want):
    for name in want:
        assert got[name].dtype == np.float32 and got[name].shape == want[name].shape, f"{name}: {got[name].dtype} {got[name].shape}"
        close(got[name], want[name], rtol=1e-3, atol=1e-2, path=name)

# %% [markdown]
# **What does it gain on this model?** We compare the outputs of the most extreme layer, on real activations, with the exact ones.

# %% tags=["hide-input"]
guess = widgets.predict("How large is the error of plain int8 there, with no outliers apart?", options=["above 30 %", "3 % to 30 %", "below 3 %"])

# %% tags=["experiment"]
lab.needs("mixed_matmul")
caught = {}
layer = model.get_submodule(worst)
handle = layer.register_forward_pre_hook(lambda module, inputs: caught.update(x=inputs[0].detach()))
batch = tokenizer(sentences[8:10], return_tensors="pt", padding=True).to(model.device)
with torch.inference_mode():
    model(**batch)
handle.remove()
x = caught["x"][batch["attention_mask"].bool()].float().cpu()
w = layer.weight.detach().float().cpu().clone()
exact = x @ w.T
for name, threshold in (("LLM.int8(), outliers apart", 6.0), ("plain int8, no outliers apart", float("inf"))):
    error = (mixed_matmul(x, w, threshold) - exact).norm() / exact.norm()
    print(f"{name:30} relative error {error:.2%}")
print(f"the largest channel of these inputs is {x.abs().amax(0).max() / x.abs().amax(0).median():.0f} times the median one")

# %% tags=["hide-input", "experiment"]
guess.reveal("below 3 %" if error < 0.03 else "3 % to 30 %" if error <= 0.3 else "above 30 %", why=f"It is {error:.2%} of the norm of the outputs.")

# %% [markdown]
# This layer has the most extreme channel of all, and yet plain int8 can look harmless in the printed number. The error is divided
# by the norm of the exact outputs. The outliers are so much larger than the other channels (the last line) that
# they make up most of that norm, and the largest value of a row gets a code without error. Besides, each
# token has its own scale: only a token that contains an outlier gets a coarse step. A small error *relative to the norm* can
# therefore hide that the ordinary channels of these tokens were rounded away. What counts in the end is the model's
# perplexity (section 7).
#
# The paper reports that such outliers become systematic, and ruin plain int8, from about 6.7 billion parameters on. One
# layer of a 135M model can neither confirm nor refute that.
#
# ## 5 · Four bits: NormalFloat
#
# With 16 levels we can choose *where* the levels are. Trained weights look like a bell curve, so QLoRA [@dettmers2023qlora]
# puts the levels at quantiles of the normal distribution: dense near zero, sparse at the ends. That is *NF4*; the lecture
# builds it. The idea is that each level is used equally often. In practice it is not so, because the values are first
# divided by the largest of their block, which changes their distribution and depends on the block size [@yoshida2023nf4].
# Here is the table:

# %% tags=["nbval-check-output"]
NF4 = bnb_f.get_4bit_type("nf4", device="cpu")
print(" ".join(f"{value:.4f}" for value in NF4.tolist()))

# %% [markdown]
# A block of 64 weights is divided by its largest magnitude, and each value replaced by the number (0–15) of the nearest
# level. Two such numbers go into one byte: the first in the high four bits, the second in the low four.

# %% tags=["exercise:nf4"]
def nf4_quantize(x, block_size=64):
    """Quantize to 4-bit NormalFloat, packed two to a byte.

    x: float32 tensor of any shape whose size is a multiple of block_size (which is even).
    Returns (packed, absmax): packed uint8 of shape (size / 2,); absmax float32 (blocks,), the largest magnitude of each
    block (1 for a block of zeros).

    Example: a block that begins with its largest magnitude m, then -m, begins with the byte 0xF0: level 15, level 0.
    """
    ### BEGIN SOLUTION
    blocks = x.float().reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    absmax = torch.where(absmax > 0, absmax, torch.ones_like(absmax))
    values = (blocks / absmax[:, None]).flatten()
    middles = (NF4[1:] + NF4[:-1]) / 2
    codes = torch.bucketize(values, middles.to(values.device)).to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], absmax
    ### END SOLUTION


def nf4_dequantize(packed, absmax, shape, block_size=64):
    """Back to a float32 tensor of the given shape."""
    ### BEGIN SOLUTION
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    values = NF4.to(packed.device)[codes].reshape(-1, block_size) * absmax[:, None]
    return values.reshape(shape)
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Three steps: divide each block by its largest magnitude, replace each value by the number of the nearest level, put two numbers into one
# byte. The way back does the same in the other order.</details>
# <details><summary>Hint 2</summary><code>(values[:, None] - NF4).abs().argmin(dim=1)</code> is the nearest level's number. <code>codes[0::2]</code> are the first of each pair,
# <code>codes[1::2]</code> the second; <code>high &lt;&lt; 4 | low</code> joins them, in uint8.</details>
# <details><summary>Hint 3</summary>Back: <code>torch.stack([packed &gt;&gt; 4, packed &amp; 15], dim=1).flatten().long()</code> are the numbers; look them up in <code>NF4</code>, and
# multiply block by block.</details>

# %% tags=["tests:nf4:3"]
with lab.test("nf4"):
    row = torch.zeros(64)
    row[:4] = torch.tensor([2.0, -2.0, 0.0, 2 * 0.4407])
    packed, absmax = nf4_quantize(row)
    assert packed.dtype == torch.uint8 and packed.shape == (32,), f"packed is {packed.dtype} {tuple(packed.shape)}"
    lab.expect_close(absmax, torch.tensor([2.0]), "absmax")
    assert packed[0] == 0xF0, f"levels 15 and 0 make the byte 0xF0, yours is {int(packed[0]):#04x}: high four bits first"
    theirs, state = bnb_f.quantize_4bit(W, quant_type="nf4", blocksize=64, compress_statistics=False)
    copied = W.clone()
    ours, absmax = nf4_quantize(copied)
    lab.expect_close(copied, W, "the matrix after the call, which must not change it")
    same = (ours == theirs.flatten()).float().mean()
    assert same > 0.999, f"only {same:.1%} of your bytes are those of bitsandbytes"
    lab.expect_close(absmax, state.absmax.float(), "absmax of a real matrix")
    back = nf4_dequantize(theirs.flatten(), state.absmax.float(), W.shape)
    lab.expect_close(back, bnb_f.dequantize_4bit(theirs, state), "the way back from bitsandbytes' bytes", atol=1e-4)
    packed, absmax = nf4_quantize(torch.zeros(64))
    assert absmax[0] == 1, f"the absmax of a block of zeros is 1, not {absmax[0]:g}"
    lab.expect_close(nf4_dequantize(packed, absmax, (64,)), torch.zeros(64), "a block of zeros, there and back")

# %% tags=["hidden:nf4:4"]
def probe():
    g = torch.Generator().manual_seed(50)
    answers = {}
    for shape, size in (((4, 64), 64), ((2, 3, 64), 128), ((256,), 32)):
        x = torch.randn(shape, generator=g)
        packed, absmax = nf4_quantize(x, size)
        answers[f"{shape} {size}"] = {
            "packed": packed,  # because: the packed codes, for other shapes and block sizes
            "absmax": absmax,  # because: the largest value of each block
            "back": nf4_dequantize(packed, absmax, x.shape, size),  # because: the way back, for other shapes and block sizes
            "x after": x,  # because: the tensor you were given, which must stay as it was
        }
    packed, absmax = nf4_quantize(torch.zeros(128))
    back = nf4_dequantize(packed, absmax, (128,))
    answers["zeros"] = {"packed": packed, "absmax": absmax, "back": back}  # because: a tensor of zeros
    every = torch.arange(256, dtype=torch.uint8)
    back = nf4_dequantize(every, torch.arange(1.0, 9.0), (16, 32))
    answers["every byte"] = {"back": back}  # because: all pairs of codes in one byte
    return answers


def visible():
    row = torch.zeros(64)
    row[:4] = torch.tensor([2.0, -2.0, 0.0, 2 * 0.4407])
    w = W[:64].clone()
    packed, absmax = nf4_quantize(w)
    zeros, one = nf4_quantize(torch.zeros(64))
    return [*nf4_quantize(row), packed, absmax, nf4_dequantize(packed, absmax, w.shape), [one, nf4_dequantize(zeros, one, (64,))]]


def check_visible(got, want):
    close([got[1], got[3], got[5]], [want[1], want[3], want[5]], rtol=1e-3)
    assert got[0].dtype == np.uint8 and got[0].shape == want[0].shape and got[0][0] == want[0][0]
    assert got[2].shape == want[2].shape and (got[2] == want[2]).mean() > 0.999
    assert np.abs(got[4] - want[4]).max() < 0.2 * np.abs(want[4]).max()


def check(got, want):
    close(got, want, rtol=1e-4)

# %% tags=["hide-input"]
guess = widgets.predict("NF4 has half the bits of your block-wise int8. How many times larger is its error?", options=[
    "about 2 times", "about 4 times", "about 8 times", "about 16 times, or more"])

# %% tags=["experiment"]
lab.needs("blockwise", "nf4")
errors = []
for name, back in (
    ("int8, blocks of 64", blockwise_dequantize(*blockwise_quantize(W.clone(), 64), W.shape)),
    ("nf4, blocks of 64", nf4_dequantize(*nf4_quantize(W.clone(), 64), W.shape)),
):
    errors.append(float((back - W).norm()))
    print(f"{name:20} error {(back - W).norm() / W.norm():.2%} of the weights")

# %% tags=["hide-input", "experiment"]
ratio = errors[1] / max(errors[0], 1e-12)
guess.reveal("about 2 times" if ratio < 2.8 else "about 4 times" if ratio < 5.6 else "about 8 times" if ratio < 11.3 else "about 16 times, or more",
             why=f"It is {ratio:.1f} times as large.")

# %% [markdown]
# Each of the four missing bits doubles the step, and four doublings are a factor of 16: compare it with the printed one. (NF4's
# levels are not evenly spaced, so this is only a rule of thumb; and the matrix was decoded from Q4_1, so the errors add to that
# first rounding.)
#
# ### Play with it
#
# The explorer runs **your** functions on a real layer. How does the error of int8 with one scale differ in shape and size
# from that of block-wise int8 and of NF4? What does the block size do to each? And four bits evenly spaced against NF4?
#
# The next cell is folded; click it to read the code. It lists your functions and some layers of the model, and draws two
# histograms: of a layer's weights, and of their errors.

# %% tags=["experiment", "hide-input"]
def int4_blocks(w, block):
    """Four bits, evenly spaced: fifteen levels, a scale per block."""
    blocks = w.reshape(-1, block)
    step = (blocks.abs().amax(1, keepdim=True) / 7).clamp(min=1e-12)
    return ((blocks / step).round() * step).reshape(w.shape)


SCHEMES = {
    "int8 absmax": lambda w, block: absmax_dequantize(*absmax_quantize(w)),
    "int8 zero point": lambda w, block: zero_point_dequantize(*zero_point_quantize(w)),
    "int8 block-wise": lambda w, block: blockwise_dequantize(*blockwise_quantize(w, block), w.shape),
    "int4 block-wise": lambda w, block: int4_blocks(w, block),
    "nf4": lambda w, block: nf4_dequantize(*nf4_quantize(w, block), w.shape, block),
}
third = f".{model.config.num_hidden_layers // 10}."  # layer 3 of the course model's 30
LINEARS = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and third in name}
LAYERS = {name: module.weight.detach().float().cpu() for name, module in LINEARS.items()}
BLOCKS = dict.fromkeys((64, 32, 128, 256, model.config.hidden_size))  # the last: a block for each input's row


def draw(scheme, layer, block):
    w = LAYERS[layer]
    error = SCHEMES[scheme](w.clone(), block) - w
    bits = (4 if "4" in scheme else 8) + (32 / block if scheme in ("nf4", "int4 block-wise", "int8 block-wise") else 0)
    fig, (left, right) = plt.subplots(1, 2)
    left.hist(w.flatten(), bins=101, color=plots.COLORS[1])
    left.set(title="weights", xlabel="value", ylabel="count")
    right.hist(error.flatten(), bins=101, color=plots.COLORS[2], hatch="//")
    right.set(title=f"error: {bits:.2f} bits, rms {error.square().mean().sqrt():.5f}", xlabel="value", ylabel="count")


# %% tags=["experiment"]
whole = [block for block in BLOCKS if all(w.numel() % block == 0 for w in LAYERS.values())]
widgets.explorer(
    draw, scheme=list(SCHEMES), layer=list(LAYERS), block=whole, start={"scheme": "int8 block-wise"},
    grid={"layer": list(LAYERS)[:2], "block": whole[:3]},
)

# %% [markdown]
# ## 6 · An 8-bit layer of your own
#
# Now a layer that a model can use. It stores int8 weights, one scale per output, and the bias as it was; in `forward` it
# turns the weights back into the activations' precision and multiplies. That is *weight-only* quantization (仅权重量化): it
# saves memory, not arithmetic.

# %% tags=["exercise:int8_linear"]
class Int8Linear(nn.Module):
    """Stands in for an nn.Linear, with its weight in int8 and one float32 scale for each output.

    Buffers (not parameters: nothing here is trained), on the device of linear.weight:
        q      int8 (outputs, inputs), absmax codes of each row
        scale  float32 (outputs, 1); 1 for a row of zeros
    bias       the Linear's own bias, or None

    Example: Int8Linear(nn.Linear(576, 1536)) takes x of shape (..., 576) and returns (..., 1536) in x's dtype.
    """

    def __init__(self, linear):
        super().__init__()
        ### BEGIN SOLUTION
        w = linear.weight.detach().float()
        largest = w.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        self.register_buffer("q", (w / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        weight = (self.q.float() * self.scale).to(x.dtype)
        return F.linear(x, weight, None if self.bias is None else self.bias.to(x.dtype))
        ### END SOLUTION


def replace_linears(model, keep=("lm_head",)):
    """Replace every nn.Linear in model by Int8Linear, at any depth, except those whose own name is in keep.

    Changes model in place. Returns how many were replaced.
    """
    ### BEGIN SOLUTION
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and name not in keep
    ]
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return len(found)
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>A row of the weight is one output: the rule of exercise 1, for each row. What is saved with a model but never trained? And to replace a
# layer you need the module that holds it, and its name there.</details>
# <details><summary>Hint 2</summary><code>self.register_buffer("q", …)</code>; in <code>forward</code> make the weight again, in <code>x.dtype</code>, and call
# <code>F.linear(x, weight, bias)</code>. <code>model.modules()</code> and <code>parent.named_children()</code> find the layers.</details>
# <details><summary>Hint 3</summary>Walk over <code>model.modules()</code>, and for each parent over <code>parent.named_children()</code>; where
# <code>type(child) is nn.Linear</code> and the name is not kept, <code>setattr(parent, name, Int8Linear(child))</code>.</details>

# %% tags=["tests:int8_linear:3"]
with lab.test("int8_linear"):
    torch.manual_seed(6)
    linear = nn.Linear(64, 32)
    with torch.no_grad():
        linear.weight[3] = 0.0  # a row of zeros
        linear.weight[4] *= 100  # and one of large values, whose scale must not be that of the others
    before = linear.weight.detach().clone()
    ours, x = Int8Linear(linear), torch.randn(5, 3, 64)
    lab.expect_close(linear.weight.detach(), before, "the layer's weight after the call, which must not change it")
    assert ours.scale[3] == 1, f"the scale of a row of zeros is 1, not {ours.scale[3].item():g}"
    others = [i for i in range(32) if i != 4]
    gap = (ours(x) - linear(x))[..., others].abs().max()
    assert ours(x).shape == (5, 3, 32) and gap < 0.02, f"the outputs should agree to 0.02, but differ by {gap:.3f}"
    assert ours.q.dtype == torch.int8 and ours.scale.shape == (32, 1), "q is int8, scale has shape (outputs, 1)"
    weights_only = sum(b.numel() * b.element_size() for b in ours.buffers())
    assert weights_only == 64 * 32 + 4 * 32, f"q and scale take 2176 bytes, your buffers {weights_only}"
    low = ours(x.to(torch.bfloat16)).dtype
    assert low == torch.bfloat16, f"the result has the input's dtype, bfloat16, but yours is {low}"
    without = nn.Linear(8, 4, bias=False)
    gap = (Int8Linear(without)(x[..., :8]) - without(x[..., :8])).abs().max()
    assert gap < 0.05, f"a layer without bias: the outputs differ by {gap:.3f}"
    small = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"inner": nn.Linear(8, 8), "lm_head": nn.Linear(8, 2)}))
    assert replace_linears(small) == 2, "the linear layer inside and the one outside are replaced, lm_head is not"
    kinds = [type(small[0]).__name__, type(small[1]["inner"]).__name__, type(small[1]["lm_head"]).__name__]
    assert kinds == ["Int8Linear", "Int8Linear", "Linear"], f"the layers are now {kinds}"

# %% tags=["hidden:int8_linear:4"]
def probe():
    torch.manual_seed(60)
    linear, plain_linear = nn.Linear(24, 10), nn.Linear(24, 10, bias=False)
    with torch.no_grad():
        linear.weight[2] = 0.0
        linear.weight[7] *= 100
        linear.bias += 5
    x = torch.randn(4, 24)
    layer, without = Int8Linear(linear), Int8Linear(plain_linear)
    deep = nn.ModuleDict({"a": nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), "head": nn.Linear(4, 2)})
    count = replace_linears(deep, keep=("head",))
    return {
        "y": layer(x),  # because: the layer's result, also with rows of zeros and rows of large values
        "without bias": without(x),  # because: a layer without bias
        "q": layer.q, "scale": layer.scale,  # because: codes and scales, one scale a row
        "weight": linear.weight,  # because: the layer you were given, which must stay as it was
        # because: dtypes, also of the result for a bfloat16 input
        "types": [str(layer.q.dtype), str(layer.scale.dtype), str(layer(x.to(torch.bfloat16)).dtype)],
        # because: codes and scales must not be trained
        "trained": [name for name, _ in layer.named_parameters() if name in ("q", "scale")],
        # because: codes, scales and bias must be saved with the model
        "saved": [name for name in ("q", "scale", "bias") if name in layer.state_dict()],
        "replaced": count,  # because: how many layers were replaced
        # because: which layers were replaced, layers inside others too
        "kinds": [type(deep["a"][0]).__name__, type(deep["a"][2]).__name__, type(deep["head"]).__name__],
        "again": replace_linears(deep, keep=("head",)),  # because: a model whose layers are replaced already
    }


def visible():
    torch.manual_seed(6)
    linear = nn.Linear(64, 32)
    with torch.no_grad():
        linear.weight[3] = 0.0
        linear.weight[4] *= 100
    layer, x = Int8Linear(linear), torch.randn(5, 3, 64)
    others = [i for i in range(32) if i != 4]
    small = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"inner": nn.Linear(8, 8), "lm_head": nn.Linear(8, 2)}))
    return [layer(x)[..., others], layer.q.dtype == torch.int8, list(layer.scale.shape), float(layer.scale[3]),
            str(layer(x.to(torch.bfloat16)).dtype), linear.weight, replace_linears(small),
            [type(small[0]).__name__, type(small[1]["inner"]).__name__, type(small[1]["lm_head"]).__name__]]


def check_visible(got, want):
    close(got[1:], want[1:])
    assert got[0].shape == want[0].shape and np.abs(got[0] - want[0]).max() < 0.04


def check(got, want):
    close(got, want, rtol=1e-3, atol=1e-4)

# %% [markdown]
# One block of the real model, before and after:

# %% tags=["experiment"]
import copy

lab.needs("int8_linear")

block = copy.deepcopy(model.model.layers[0])
before = sum(t.numel() * t.element_size() for t in block.state_dict().values())
count = replace_linears(block)
after = sum(t.numel() * t.element_size() for t in block.state_dict().values())
print(f"{count} linear layers replaced: {before / 1e6:.2f} MB → {after / 1e6:.2f} MB, {before / after:.2f} times smaller")

# %% [markdown]
# ## 7 · What does it cost?
#
# *Perplexity* (困惑度) is the effective number of equally likely tokens: a model with perplexity 20 is as uncertain as if
# it chose among 20 equally likely ones. It is the exponential of the mean *negative log-likelihood* (负对数似然) of each
# token given those before it. You write the part that is easy to get wrong.

# %% tags=["exercise:token_nll"]
def token_nll(logits, ids, mask):
    """Negative log-likelihood of each sequence, in nats.

    logits: float (batch, length, vocabulary); logits[:, t] predicts token t + 1.
    ids: int64 (batch, length). mask: int64 (batch, length), 1 for real tokens, 0 for padding (on the right).
    Returns (nll, tokens), on the device of logits: nll float32 (batch,), the sum over the tokens that are scored; tokens
    int64 (batch,), how many.
    The first token has nothing before it and is not scored; padding is not scored.

    Example: a sequence of 5 real tokens has tokens = 4.
    """
    ### BEGIN SOLUTION
    logp = F.log_softmax(logits[:, :-1].float(), dim=-1)
    scored = mask[:, 1:]
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)
    return (each * scored).sum(dim=1), scored.sum(dim=1)
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Which logits predict which token? The last logits predict nothing that is there, and the first token is predicted by none. The mask of a
# score is the mask of the token that is *predicted*.</details>
# <details><summary>Hint 2</summary><code>F.log_softmax(logits[:, :-1].float(), dim=-1)</code>; <code>.gather(2, ids[:, 1:, None])</code> picks the log-probability of the token
# that came.</details>
# <details><summary>Hint 3</summary><code>each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)</code>; times <code>mask[:, 1:]</code>, and then the sum over dimension 1. The number of
# tokens is the mask's sum.</details>

# %% tags=["tests:token_nll:2"]
with lab.test("token_nll"):
    uniform = torch.zeros(2, 5, 10)
    ids = torch.randint(0, 10, (2, 5), generator=torch.Generator().manual_seed(7))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    nll, tokens = token_nll(uniform, ids, mask)
    lab.expect_close(tokens, torch.tensor([4, 2]), "tokens")
    lab.expect_close(nll, torch.tensor([4.0, 2.0]) * torch.tensor(10.0).log(), "nll when all ten tokens are equally likely")
    low = torch.randn(2, 5, 10, generator=torch.Generator().manual_seed(8)).to(torch.bfloat16)
    nll, _ = token_nll(low, ids, mask)
    lab.expect_close(nll, token_nll(low.float(), ids, mask)[0], "nll of bfloat16 logits, which is computed in float32")
    texts = ["A film to remember.", "Too long, and far too loud for what little it has to say."]
    batch = course_tokenizer(texts, return_tensors="pt", padding=True, padding_side="right").to(course.device)
    with torch.inference_mode():
        nll, tokens = token_nll(course(**batch).logits, batch["input_ids"], batch["attention_mask"])
    theirs = scoring.nll(course, course_tokenizer, texts, progress=False)
    lab.expect_close(nll.cpu(), torch.tensor(theirs["nll"].values, dtype=torch.float32), "nll against course_utils.scoring", rtol=1e-3)

# %% tags=["hidden:token_nll:3"]
def probe():
    g = torch.Generator().manual_seed(70)
    logits = torch.randn(3, 6, 11, generator=g) * 5
    ids = torch.randint(0, 11, (3, 6), generator=g)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    nll, tokens = token_nll(logits, ids, mask)
    low, _ = token_nll(logits.to(torch.bfloat16), ids, mask)
    return {
        "nll": nll,  # because: sums over the tokens of padded sentences
        "tokens": tokens,  # because: how many tokens count
        "types": [str(nll.dtype), str(tokens.dtype), str(low.dtype)],  # because: the dtypes of the results
        "bf16": low,  # because: logits in bfloat16
    }


def visible():
    ids = torch.randint(0, 10, (2, 5), generator=torch.Generator().manual_seed(7))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    uniform = token_nll(torch.zeros(2, 5, 10), ids, mask)
    low = token_nll(torch.randn(2, 5, 10, generator=torch.Generator().manual_seed(8)).to(torch.bfloat16), ids, mask)
    batch = course_tokenizer(["A film to remember.", "Too long, and far too loud for what little it has to say."],
                             return_tensors="pt", padding=True, padding_side="right").to(course.device)
    with torch.inference_mode():
        return [*uniform, low[0], *token_nll(course(**batch).logits, batch["input_ids"], batch["attention_mask"])]


def check(got, want):
    close(got, want, rtol=1e-3)

# %% [markdown]
# Eight formats are compared: fp32, bf16, your int8 layers, W8A8 (activations in int8, too), W8A8 with the outliers apart, W8A8
# with SmoothQuant, bitsandbytes' int8 (LLM.int8()) and nf4.
#
# The baseline of every row is "fp32", and with the course model that is the Q4_1 file decoded to float32. The table shows
# what each format *adds* to that first rounding. It does not show what the format would do to the original weights, and
# least of all for nf4: a second set of sixteen levels rarely fits the first. (The lecture's table is of a model that nobody
# quantized before.) The texts are passages of Wikipedia, several sentences each.

# %% tags=["hide-input"]
guess = widgets.predict("How many of the seven other formats can be told from fp32 (the difference is larger than the noise)?",
                        options=["none", "one or two", "three to five", "six or all seven"])
guess_2 = widgets.predict("And what does SmoothQuant do for W8A8?",
                          options=["it lowers the loss", "it raises the loss", "no difference that can be seen"])

# %% tags=["experiment"]
pages = tables.load("knowledge_base").groupby("page", sort=False)["sentence"].agg(" ".join)
texts = sorted((text for text in pages if len(text.split()) >= lab.budget(full=100, quick=8)), key=len)[: lab.budget(full=16, quick=2)]
SIZE = lab.budget(full={}, quick={"num_hidden_layers": 2})  # at quick two layers stand for the model: only to see that all runs


def fresh(precision="fp32"):
    return load_model(MODEL, precision=precision, **SIZE)[0]


def score(model, batch_size=4):
    """One row per passage: nll, tokens. And tokens per second."""
    rows, seconds = [], 0.0
    with torch.inference_mode():  # once without the clock: a GPU loads its kernels when they are first used
        model(**tokenizer(texts[:1], return_tensors="pt").to(model.device)).logits.sum().item()
    for start in tqdm(range(0, len(texts), batch_size), desc="scoring", leave=False):
        batch = tokenizer(texts[start : start + batch_size], return_tensors="pt", padding=True, padding_side="right").to(model.device)
        begun = time.perf_counter()
        with torch.inference_mode():
            nll, tokens = token_nll(model(**batch).logits, batch["input_ids"], batch["attention_mask"])
        rows += zip(nll.tolist(), tokens.tolist(), strict=True)
        seconds += time.perf_counter() - begun
    frame = pd.DataFrame(rows, columns=["nll", "tokens"])
    return frame, int(frame["tokens"].sum()) / seconds

# %% [markdown]
# The next cell is folded; click it to read the code. `W8A8` is a linear layer that rounds its inputs (a scale per token) and its
# weights (a scale per output) to whole numbers and multiplies these; it can keep outlier channels apart, or divide the inputs by
# SmoothQuant's factors [@xiao2023smoothquant], $\sqrt{\max|x_j| / \max|w_j|}$ with the largest activations of section 4, so
# calibrated on sentences about films.

# %% tags=["experiment", "hide-input"]
def whole(x):
    """Codes of each row as whole float32 numbers, and the rows' scales."""
    scale = (x.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-12)
    return (x / scale).round(), scale


class W8A8(nn.Module):
    def __init__(self, linear, threshold=float("inf"), smooth=None):
        super().__init__()
        self.bias, self.threshold = linear.bias, threshold
        w = linear.weight.detach().float()
        self.register_buffer("smooth", torch.ones(w.shape[1], device=w.device) if smooth is None else smooth.to(w.device))
        self.register_buffer("w", w * self.smooth)
        self.codes, self.scale = whole(self.w)

    def forward(self, x):
        x = x / self.smooth
        apart = (x.abs() >= self.threshold).flatten(0, -2).any(0)
        codes, scale = whole(x.masked_fill(apart, 0))
        return F.linear(codes, self.codes) * scale * self.scale.T + F.linear(x[..., apart], self.w[:, apart], self.bias)


def w8a8(threshold=float("inf"), smooth=False):
    candidate = fresh()
    for name, linear in [(n, m) for n, m in candidate.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]:
        parent, _, last = name.rpartition(".")
        factors = (largest[name].clamp(min=1e-5) / linear.weight.detach().abs().amax(0).cpu().clamp(min=1e-5)).sqrt() if smooth else None
        setattr(candidate.get_submodule(parent), last, W8A8(linear, threshold, factors))
    return candidate


# %% tags=["experiment"]
def own_int8():
    mine = fresh()
    replace_linears(mine)
    return mine


makers = {
    "fp32": fresh,
    "bf16": lambda: fresh("bf16"),
    "own int8": own_int8,
    "W8A8": w8a8,
    "W8A8, outliers apart": lambda: w8a8(threshold=6.0),
    "W8A8, SmoothQuant": lambda: w8a8(smooth=True),
    "bnb int8": lambda: fresh("int8"),
    "bnb nf4": lambda: fresh("nf4"),
}
if any(module.in_features % 64 for module in model.modules() if isinstance(module, nn.Linear)):
    print(f"{MODEL} has rows that are no whole blocks of 64, which bitsandbytes' nf4 cannot have on a CPU: left out.")
    del makers["bnb nf4"]

# %% [markdown]
# Passages differ far more from each other than most formats do, so the intervals of the perplexities are wide and mostly
# overlap. But every format reads the *same* passages: compare passage by passage. The *paired* difference (配对差异) to
# fp32 has a much narrower interval. (MB is what PyTorch holds: `W8A8` *simulates* 8 bits and holds floats.)

# %% tags=["experiment"]
def measure(name, candidate):
    """Memory, perplexity, speed, and the paired difference; each with its 95 % t interval over texts."""
    scores[name], speed = score(candidate)
    nats, base = (scores[which]["nll"] / scores[which]["tokens"].mean() for which in (name, "fp32"))
    ppl, added = np.exp(scoring.mean(nats)), scoring.paired(nats, base)
    return dict(zip(("format", "MB", "tokens/s", "perplexity", "low", "high", "added nats", "from", "to"),
                    (name, candidate.get_memory_footprint() / 1e6, speed, *ppl, *added), strict=True))

# %% tags=["experiment"]
def draw_costs(table):
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for i, (name, row) in enumerate(table.iterrows()):
        look = {"fmt": plots.MARKERS[i % len(plots.MARKERS)], "color": plots.COLORS[i % len(plots.COLORS)], "capsize": 4}
        left.errorbar(row["MB"], row["perplexity"], [[row["perplexity"] - row["low"]], [row["high"] - row["perplexity"]]], label=name, **look)
        right.errorbar(row["added nats"], name, xerr=[[row["added nats"] - row["from"]], [row["to"] - row["added nats"]]], **look)
    left.set(title="Memory and quality", xlabel="model in memory (MB)", ylabel="perplexity (95 % interval)")
    left.legend()
    right.axvline(0, color="grey", linestyle=":")
    right.set(title="Paired: what each format adds to fp32", xlabel="nats per token (95 % interval)", ylabel="format")
    plt.show()


# %% tags=["experiment"]
lab.needs("int8_linear", "token_nll")
scores, results = {}, []
for name, make in tqdm(makers.items(), leave=False):
    candidate = make()
    results.append(measure(name, candidate))
    del candidate
table = pd.DataFrame(results).set_index("format")
draw_costs(table)
table.round({"MB": 0, "tokens/s": 0, "perplexity": 1, "low": 1, "high": 1, "added nats": 4, "from": 4, "to": 4})

# %% tags=["experiment"]
print("difference in nats per token over the same passages [95 % t interval]:")
for first, second in (("W8A8", "own int8"), ("W8A8, outliers apart", "W8A8"), ("bnb int8", "own int8"), ("W8A8, SmoothQuant", "W8A8")):
    per_token = scores[first]["tokens"].mean()
    gain, low, high = scoring.paired(scores[first]["nll"] / per_token, scores[second]["nll"] / per_token)
    said = "better" if high < 0 else "worse" if low > 0 else "we cannot tell at this size"
    print(f"{first} minus {second}: {gain:+.4f} [{low:+.4f}, {high:+.4f}], {said}")
    if first == "bnb int8":
        verdict = ("LLM.int8() is worse than weight-only int8." if low > 0 else "LLM.int8() is better than weight-only int8."
                   if high < 0 else "we cannot tell LLM.int8() from weight-only int8 at this size.")
print(f"With {MODEL!r}: {verdict}")

# %% tags=["hide-input", "experiment"]
seen = int(((table["from"] > 0) | (table["to"] < 0)).drop("fp32").sum())
guess.reveal("none" if seen == 0 else "one or two" if seen <= 2 else "three to five" if seen <= 5 else "six or all seven",
             why=f"For {seen} of {len(table) - 1} the interval excludes 0.")
guess_2.reveal("it lowers the loss" if high < 0 else "it raises the loss" if low > 0 else "no difference that can be seen",
               why=f"{gain:+.4f} nats per token, interval {low:+.4f} to {high:+.4f}.")

# %% [markdown]
# Read your own numbers before you go on. **The course model's baseline is already a 4-bit model.** So an interval without 0 says that
# a format changes *this* model, and the pairs compare formats on it. They do not say how much a format costs a model that nobody
# quantized before, nor which 4-bit format is the best: nf4's loss is that of a second rounding to other levels. Quality on a
# never-quantized model (MiniLM) is measured in the lecture ("What does it cost?"), and for one layer in section 8.
#
# - Which formats can you tell from fp32 (the interval of the added nats per token excludes 0), and which not? How large is
#   the largest of the small ones, as a factor on the perplexity?
# - The first printed line is what rounding the *activations* costs, the second what separating the outliers gains, the
#   fourth what SmoothQuant gains. Compare them with the loss in the worst layer, which section 4 printed. Does the model agree with it?
# - The third line compares two int8 formats. LLM.int8() (`bnb int8`) also rounds the activations; weight-only int8 (`own int8`) does
#   not, and both give each row of the weights one scale. So quality is no reason to prefer LLM.int8(): what it buys is int8
#   *arithmetic*, which is faster only where there are kernels for it.
# - On a CPU without fast 8-bit kernels, fewer bits save memory, not time. Which rows show that? Does any row save both?
# - The embedding matrix, a fifth of this model, stays in float32. How small could the nf4 model be if it did not?

# %% [markdown]
# ## 8 · Four bits that know the inputs
#
# Round-to-nearest makes each *weight* as exact as four bits allow. But what counts is the layer's *output* $x w^\top$, and there
# an error in a weight counts as much as its input is large. *Calibrated* methods look at a few inputs first (*calibration*, 校准).
#
# The next cell gives you a layer to try them on, and round-to-nearest: whole numbers from -7 to 7, one scale for each block in a row.

# %%
def example_layer(seed, outputs=48, channels=128):
    """Weights (outputs, channels), and two sets of inputs (600, channels) whose channels are correlated and unequal in size."""
    g = torch.Generator().manual_seed(seed)
    w, size = torch.randn(outputs, channels, generator=g), torch.randn(channels, generator=g).exp()
    mixing = torch.randn(channels // 2, channels, generator=g) / (channels // 2) ** 0.5
    x = torch.randn(1200, channels // 2, generator=g) @ mixing + 0.3 * torch.randn(1200, channels, generator=g)
    return w, (x * size)[:600], (x * size)[600:]


def from_codes(codes, scales):
    """The weights that codes (outputs, channels) and scales (outputs, blocks) stand for."""
    return (codes.float().reshape(*scales.shape, -1) * scales[..., None]).reshape(codes.shape)


def round_to_nearest(w, block=32):
    """Codes and scales (absmax / 7) without a look at the inputs: what you have to beat."""
    blocks = w.reshape(len(w), -1, block)
    scales = (blocks.abs().amax(2) / 7).clamp(min=1e-12)
    return (blocks / scales[..., None]).round().to(torch.int8).reshape(w.shape), scales


def score_of(codes, scales, w, new_x):
    """Error of the output on new inputs, as a share of round-to-nearest's."""
    error, reference = ((new_x @ (from_codes(*answer) - w).T).norm() for answer in ((codes, scales), round_to_nearest(w)))
    return float(error / reference)

# %% [markdown]
# ### Keep, or scale
#
# Two ways to spare the *salient* (显著) input channels, those with large inputs: keep their weights exact, which costs memory; or do
# as @lin2024awq (AWQ) do: multiply their weights by a factor before they are rounded, and take it out again afterwards.

# %% tags=["exercise:salient"]
def protect(w, channels, block=32):
    """Round to nearest, except that the given input channels stay exact.

    w: float32 (outputs, channels), which stays as it is. channels: int64 (n,), the numbers of the input channels to keep; n may be 0.
    Returns float32 (outputs, channels): the weights that the layer would use. Scales and codes of all other weights are those of
    round_to_nearest(w, block).
    """
    ### BEGIN SOLUTION
    approximation = from_codes(*round_to_nearest(w, block))
    approximation[:, channels] = w[:, channels]
    return approximation
    ### END SOLUTION


def awq_scale(w, x, alpha, block=32):
    """Round to nearest after each input channel was multiplied by a factor that grows with its inputs.

    w: float32 (outputs, channels). x: float32 (tokens, channels), the calibration inputs. Both stay as they are.
    A channel's factor is the mean of |x| over the tokens (at least 1e-4) to the power of alpha. All factors are then divided by
    one number, so that the largest times the smallest is 1.
    Returns (s, approximation): s float32 (channels,), the factors; approximation float32 (outputs, channels), weights to be used
    with the *unchanged* inputs, x @ approximation.T.

    Example: x = [[1, -4], [-1, 4]], w = [[3, 1]], alpha = 0.5, block = 2: s = [0.707, 1.414], approximation [[3, 1.071]].
    With alpha = 0 all factors are 1.
    """
    ### BEGIN SOLUTION
    s = x.abs().mean(0).clamp(min=1e-4) ** alpha
    s = s / (s.max() * s.min()).sqrt()
    return s, from_codes(*round_to_nearest(w * s, block)) / s
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>An input channel is a column of w, because w is (outputs, channels). The factor makes a column larger before its rounding,
# so its error is smaller beside it. What must then happen to the rounded column?</details>
# <details><summary>Hint 2</summary><code>from_codes(*round_to_nearest(…))</code> goes there and back, and gives a new tensor. <code>x.abs().mean(0)</code> is one number
# per channel; <code>w * s</code> multiplies column by column and leaves w as it is.</details>
# <details><summary>Hint 3</summary><code>approximation[:, channels] = w[:, channels]</code>; and
# <code>s = s / (s.max() * s.min()).sqrt()</code>, then round <code>w * s</code> and divide the result by s.</details>

# %% tags=["tests:salient:2"]
with lab.test("salient"):
    w, x, new_x = example_layer(0)
    before, plain = (w.clone(), x.clone()), from_codes(*round_to_nearest(w))
    keep = x.abs().mean(0).topk(4).indices
    rest = ~torch.isin(torch.arange(w.shape[1]), keep)
    kept = protect(w, keep)
    lab.expect_close(w, before[0], "w after protect, which must not change it")
    lab.expect_close(kept[:, keep], w[:, keep], "the columns that are kept, which stay exact")
    lab.expect_close(kept[:, rest], plain[:, rest], "the other columns, which are round_to_nearest's")
    square = protect(w[:, :48].clone(), torch.tensor([1, 40]), block=16)
    lab.expect_close(square[:, [1, 40]], w[:, [1, 40]], "two kept channels of a square matrix (channels are its columns)")
    s, back = awq_scale(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, -4.0], [-1.0, 4.0]]), 0.5, block=2)
    lab.expect_close(s, torch.tensor([0.7071, 1.4142]), "s of the example", atol=1e-3)
    lab.expect_close(back, torch.tensor([[3.0, 1.0714]]), "the approximation of the example", atol=1e-3)
    s, back = awq_scale(w, x, 0.0)
    lab.expect_close(s, torch.ones(w.shape[1]), "s with alpha = 0")
    lab.expect_close(back, plain, "the approximation with alpha = 0, which is round_to_nearest's", atol=1e-5)
    s, back = awq_scale(w, x, 0.5)
    lab.expect_close(w, before[0], "w after awq_scale, which must not change it")
    lab.expect_close(x, before[1], "x after awq_scale, which must not change it")
    off = (back - w).norm() / w.norm()
    assert off < 0.3, f"the approximation is {off:.0%} away from w: is s taken out again after the rounding?"
    errors = [float((new_x @ (approximation - w).T).norm()) for approximation in (back, kept, plain)]
    assert max(errors[:2]) < errors[2], f"both should have a smaller error of the output than rounding to nearest: {errors}"
    quiet = x.clone()
    quiet[:, 3] = 0.0
    assert awq_scale(w, quiet, 1.0)[1].isfinite().all(), "a channel whose inputs are all zero counts as 1e-4, but yours gives no number"

# %% tags=["hidden:salient:3"]
def probe():
    answers = {}
    for seed, alpha, block in ((3, 0.3, 32), (5, 1.0, 16)):
        w, x, _ = example_layer(seed, outputs=64, channels=64)
        x[:, 9] = 0.0
        x[:, 10] += 20
        s, back = awq_scale(w, x, alpha, block)
        answers[f"layer {seed}"] = {
            "s": s,  # because: the factors, for other inputs and another alpha
            "back": back,  # because: the approximation, of a square matrix and with other blocks
            "kept": protect(w, torch.tensor([0, 9, 63]), block),  # because: three channels of a square matrix are kept
            "none": protect(w, torch.tensor([], dtype=torch.int64), block),  # because: no channel is kept
            "w after": w, "x after": x,  # because: what you were given, which must stay as it was
        }
    return answers


def visible():
    w, x, _ = example_layer(0)
    keep = x.abs().mean(0).topk(4).indices
    square = protect(w[:, :48].clone(), torch.tensor([1, 40]), block=16)
    example = awq_scale(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, -4.0], [-1.0, 4.0]]), 0.5, block=2)
    cases = {"example": [*example], "alpha 0": [*awq_scale(w, x, 0.0)], "alpha 0.5": [*awq_scale(w, x, 0.5)]}
    return {"layer 0": {"kept": protect(w, keep), "square": square, "w after": w, "x after": x}
            | {f"{case}, {what}": part for case, parts in cases.items() for what, part in zip(("s", "back"), parts, strict=True)}}


def check(got, want):
    for layer, answers in want.items():
        for name, answer in answers.items():
            yours = got[layer][name]
            assert yours.shape == answer.shape and yours.dtype == answer.dtype, f"{layer}, {name}: {yours.dtype} {yours.shape}"
            same = np.isclose(yours, answer, rtol=1e-3, atol=1e-4).mean()  # a value halfway between two codes may go either way
            assert same >= (0.995 if answer.ndim == 2 else 1), f"{layer}, {name}: {1 - same:.1%} of the numbers are others"


def check_visible(got, want):
    check(got, want)

# %% [markdown]
# On a real layer, which nobody quantized before: MiniLM's (the sentence encoder of chapter 7, float32). Calibrated on 64 sentences,
# judged on 64 others.

# %% tags=["hide-input"]
guess = widgets.predict("Which alpha gives AWQ the smallest error of the output there, among 0, 0.25, 0.5, 0.75 and 1?", options=["0", "0.25", "0.5", "0.75", "1"])

# %% tags=["experiment"]
encoder, encode = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32", device="cpu")
dense = encoder.encoder.layer[3].intermediate.dense
caught, few = [], lab.budget(full=64, quick=16)
handle = dense.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0].detach()))
for part in (sentences[:few], sentences[few : 2 * few]):
    batch = encode(part, return_tensors="pt", padding=True)
    with torch.inference_mode():
        encoder(**batch)
    caught[-1] = caught[-1][batch["attention_mask"].bool()]
handle.remove()
real_w, (seen_x, fresh_x) = dense.weight.detach(), (x.clone() for x in caught)


def output_error(approximation):
    """Error of the layer's output on new sentences."""
    return float((fresh_x @ (approximation - real_w).T).norm() / (fresh_x @ real_w.T).norm())

# %% tags=["experiment"]
lab.needs("salient")
keep = seen_x.abs().mean(0).topk(round(0.01 * real_w.shape[1])).indices  # one channel in a hundred
share = len(keep) / real_w.shape[1]
g = torch.Generator().manual_seed(0)
by_chance = [output_error(protect(real_w, torch.randperm(real_w.shape[1], generator=g)[: len(keep)])) for _ in range(5)]
tried = {alpha: output_error(awq_scale(real_w, seen_x, alpha)[1]) for alpha in (0, 0.25, 0.5, 0.75, 1)}
best = min(tried, key=tried.get)
print(f"round to nearest      5.00 bits per weight: error of the output {output_error(from_codes(*round_to_nearest(real_w))):.2%}")
more = 5 * (1 - share) + 32 * share
print(f"{len(keep)} channels kept       {more:.2f} bits per weight: {output_error(protect(real_w, keep)):.2%}")
print(f"{len(keep)} random channels     {more:.2f} bits per weight: {np.median(by_chance):.2%}, the median of five choices "
      f"({min(by_chance):.2%} to {max(by_chance):.2%})")
for alpha, error in tried.items():
    print(f"AWQ, alpha {alpha:4}       5.00 bits per weight: {error:.2%}")

# %% tags=["hide-input", "experiment"]
guess.reveal(str(best), why=f"The errors lie between {min(tried.values()):.2%} and {max(tried.values()):.2%}; that of alpha 0 is round-to-nearest's.")

# %% [markdown]
# Compare the kept channels with the random ones: as many exact weights, but chosen without a look at the inputs. So what counts is
# which channels are kept. A block of 32 with a float32 scale makes 5 bits per weight. The kept channels are in float32 and add to that, so the two ways are
# not at equal bits: AWQ costs none. Too large an alpha spoils the small channels, because the large ones stretch their blocks.
#
# ### Challenge: the best four bits
#
# The format is fixed, so that the bits are: whole numbers from -8 to 7, and one float32 scale for each block of 32 in a row. Which
# codes and which scales is up to you. Your score is the error of the output on **new** inputs, as a share of round-to-nearest's.
# You pass with 0.80 or less.
#
# <details><summary>Hint 1: two ideas</summary>
#
# *Scales*: a scale somewhat below absmax / 7 cuts the largest weights off and rounds all others more finely. Try several for each
# block, and weigh each error by how large its input is. *Codes* (GPTQ, @frantar2023gptq): round the columns one by one, and let
# the columns that are still to come make up for each error. Each idea alone can pass; together they do better.
# </details>
#
# <details><summary>Hint 2: scales</summary>
#
# `size = x.square().mean(0)`; for each of 20 factors from 0.6 to 1: scales, codes, and per block the sum of error² · size. Keep
# the best factor of each block (`torch.where`).
# </details>
#
# <details><summary>Hint 3: GPTQ's update</summary>
#
# `h = x.T @ x`, plus a hundredth of its mean diagonal on the diagonal; `u = torch.linalg.cholesky(torch.linalg.inv(h),
# upper=True)`. After column j is rounded: `error = (w[:, j] - rounded) / u[j, j]`, then `w[:, j + 1:] -= error[:, None] *
# u[j, j + 1:]`. Work on a copy of w; keep the scales that you computed from the original.
# </details>

# %% tags=["exercise:calibrated"]
def calibrated(w, x, block=32):
    """Four-bit codes and scales for a layer, chosen for its outputs on inputs like x.

    w: float32 (outputs, channels); channels is a multiple of block. x: float32 (tokens, channels). Both stay as they are.
    Returns (codes, scales): codes int8 (outputs, channels), from -8 to 7; scales float32 (outputs, channels / block), > 0.

    Example: round_to_nearest(w, block) has this format, and the score 1.
    """
    ### BEGIN SOLUTION
    blocks, size = w.reshape(len(w), -1, block), x.square().mean(0).reshape(-1, block)
    scales, least = torch.ones(blocks.shape[:2]), torch.full(blocks.shape[:2], float("inf"))
    for factor in torch.linspace(0.6, 1, 21):
        tried = (blocks.abs().amax(2) / 7 * factor).clamp(min=1e-12)
        back = (blocks / tried[..., None]).round().clamp(-8, 7) * tried[..., None]
        error = ((back - blocks).square() * size).sum(2)
        scales, least = torch.where(error < least, tried, scales), torch.minimum(error, least)
    h = x.T @ x
    h += 0.01 * h.diagonal().mean() * torch.eye(len(h))
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    w, codes = w.clone(), torch.zeros(w.shape, dtype=torch.int8)
    for j in range(w.shape[1]):
        step = scales[:, j // block]
        codes[:, j] = (w[:, j] / step).round().clamp(-8, 7).to(torch.int8)
        error = (w[:, j] - codes[:, j] * step) / u[j, j]
        w[:, j + 1 :] -= error[:, None] * u[j, j + 1 :]
    return codes, scales
    ### END SOLUTION

# %% tags=["tests:calibrated:3"]
with lab.test("calibrated"):
    w, x, new_x = example_layer(0)
    before = w.clone(), x.clone()
    codes, scales = calibrated(w, x)
    lab.expect_close(w, before[0], "w after the call, which must not change it")
    lab.expect_close(x, before[1], "x after the call, which must not change it")
    assert codes.dtype == torch.int8 and codes.shape == (48, 128), f"codes: int8 (48, 128), not {codes.dtype} {tuple(codes.shape)}"
    assert -8 <= codes.min() and codes.max() <= 7, f"four bits hold -8 to 7; your codes go from {codes.min()} to {codes.max()}"
    assert scales.dtype == torch.float32 and scales.shape == (48, 4), f"scales: float32 (48, 4), not {scales.dtype} {tuple(scales.shape)}"
    score = score_of(codes, scales, w, new_x)
    assert score <= 0.80, f"your error is {score:.2f} of round-to-nearest's on new inputs; 0.80 or less passes"
    print(f"score: {score:.3f} of round-to-nearest's error")

# %% tags=["hidden:calibrated:4"]
def probe():
    answers = {}
    for seed in (2, 4):
        w, x, new_x = example_layer(seed)
        original = w.clone()
        codes, scales = calibrated(w, x)
        # because: other layers and inputs; codes, scales, and w after the call
        answers[f"layer {seed}"] = {"codes": codes, "scales": scales, "w": w, "original": original, "new": new_x}
    return answers


def visible():
    w, x, new_x = example_layer(0)
    original = w.clone()
    codes, scales = calibrated(w, x)
    return {"layer 0": {"codes": codes, "scales": scales, "w": w, "original": original, "new": new_x}}


def check(got, want):
    def back(codes, scales):
        return (codes.astype(np.float32).reshape(*scales.shape, -1) * scales[..., None]).reshape(codes.shape)

    for name, layer in want.items():
        answer, w, new = got[name], layer["original"], layer["new"]
        codes, scales = answer["codes"], answer["scales"]
        close(answer["w"], w, path=f"{name}: w after the call")
        assert codes.dtype == np.int8 and codes.shape == w.shape and codes.min() >= -8 and codes.max() <= 7, f"{name}: codes"
        assert scales.dtype == np.float32 and scales.shape == layer["scales"].shape, f"{name}: scales {scales.dtype} {scales.shape}"
        blocks = w.reshape(*scales.shape, -1)
        steps = np.abs(blocks).max(2) / 7
        reference = back(np.rint(blocks / steps[..., None]).reshape(w.shape), steps)
        error, worst = (np.linalg.norm(new @ (approximation - w).T) for approximation in (back(codes, scales), reference))
        assert error <= 0.80 * worst, f"{name}: the error is {error / worst:.2f} of round-to-nearest's on new inputs, not 0.80 or less"


def check_visible(got, want):
    check(got, want)

# %% [markdown]
# And on the real layer of MiniLM, with the same sentences as above:

# %% tags=["experiment"]
lab.needs("calibrated")
codes, scales = calibrated(real_w.clone(), seen_x.clone())
for name, answer in (("round to nearest", round_to_nearest(real_w)), ("yours", (codes, scales))):
    back = from_codes(*answer)
    print(f"{name:17} error of the weights {(back - real_w).norm() / real_w.norm():.1%}, of the output on new sentences {output_error(back):.2%}")

# %% [markdown]
# Look at both columns. A calibrated method may be *farther* from the original weights and nearer to the original output: it puts
# the error where the inputs are small, or where other columns can make up for it.
#
# ## 9 · Will it fit my GPU?
#
# The weights are one part; the *KV cache* (键值缓存), keys and values of all earlier tokens, is another (you count both in lab 9).
# `hardware.plan` adds what quantization needs besides: the scales. A tenth of the GPU's memory is to stay free.

# %% tags=["hide-input"]
guess = widgets.predict("How many GB has the smallest GPU for LLaMA 13B in int8, with a conversation of 2048 tokens?", options=[12, 16, 24, 40, 80])

# %%
def llama_config(row):
    """The configuration of a row of the course's table of LLaMAs."""
    return LlamaConfig(
        hidden_size=int(row.dimension), num_hidden_layers=int(row.layers), vocab_size=int(row.vocabulary),
        num_attention_heads=int(row.heads), num_key_value_heads=int(row.kv_heads), intermediate_size=int(row.intermediate),
    )


llamas, gpus = tables.load("llama_hyperparameters").set_index("name"), tables.load("gpus").sort_values("memory_gb")
NAMES, PRECISIONS = ["LLaMA 7B", "LLaMA 13B", "LLaMA 65B", "Llama 2 70B"], ["fp32", "bf16", "int8", "nf4"]
rows = []
for name in NAMES:
    for precision in PRECISIONS:
        plan = hardware.plan(llama_config(llamas.loc[name]), precision, context=2048)
        needs = (plan.weights + plan.scales + plan.kv_cache) / 1e9
        fits = gpus[gpus["memory_gb"] * 0.9 >= needs]
        rows.append({"model": name, "precision": precision, "text": f"{needs:.0f} GB: {fits['name'].iloc[0] if len(fits) else 'more than one GPU'}"})
pd.DataFrame(rows).pivot(index="model", columns="precision", values="text").loc[NAMES, PRECISIONS]

# %% tags=["hide-input"]
plan = hardware.plan(llama_config(llamas.loc["LLaMA 13B"]), "int8", context=2048)
needs = (plan.weights + plan.scales + plan.kv_cache) / 1e9
guess.reveal(int(gpus["memory_gb"][gpus["memory_gb"] * 0.9 >= needs].iloc[0]),
             why=f"{plan.weights / 1e9:.1f} GB of weights, {plan.scales / 1e9:.2f} GB of scales, {plan.kv_cache / 1e9:.1f} GB of cache.")

# %% [markdown]
# And this machine? `load_model` asks the planner before it reads a byte. Without a large GPU it refuses: read what it
# proposes.

# %% tags=["experiment"]
hardware.report()
try:
    hardware.check(hardware.plan("llama-2-7b", "fp32"), device="cuda")
    print("There is room for it.")
except hardware.InsufficientHardwareError as error:
    print(error)

# %% [markdown]
# ## What you have seen
#
# - One scale for all is simple, and one large value ruins it. Finer scales (rows, blocks) contain the damage.
# - Activations have outliers in few channels; LLM.int8() multiplies those separately.
# - With 16 levels one can choose where they are; NF4 puts them where a bell curve has its weights. (The lecture compares it with
#   sixteen evenly spaced levels, at equal bits per weight.)
# - A calibrated method judges by the layer's output: at equal bits it beats rounding to nearest.
# - Quantizing weights saves memory at once; it saves time only where kernels use the small numbers.
# - Compare formats on the same texts, in pairs, with an interval; and say what the baseline was.
#
# **Think further** (no points): NF4's scales cost half a bit per weight. QLoRA quantizes the scales too. How many bits are
# left, and what does `blockwise_quantize` do to the 1.7 million scales of this model?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@dettmers2022int8]
# - [@dettmers2023qlora]
# - [@dettmers2022optimizers]
# - [@yoshida2023nf4]: why NF4's levels are not used equally often
# - [@jacob2018quantization]
# - [@touvron2023llama]
# - [@benallal2025smollm2]
# - [@frantar2023gptq]
# - [@xiao2023smoothquant]
# - [@lin2024awq]
