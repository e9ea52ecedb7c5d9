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
# 5. answer: will a 7B, 13B or 70B LLaMA fit my GPU?
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %%
import time

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm
from transformers import LlamaConfig

from course_utils import data, hardware, lab, load_model, plots, scoring, tables, widgets

lab.start(
    "10_quantization",
    exercises=["absmax", "zero_point", "blockwise", "mixed_matmul", "nf4", "int8_linear", "token_nll", "memory"],
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
# **Predict, then run:** how many different values do you expect among 32 neighbouring weights of a trained network?

# %% tags=["nbval-check-output"]
blocks = W.reshape(-1, 32)
distinct = torch.tensor([len(block.unique()) for block in blocks[:2000]])
print(f"different values among 32 neighbours: at most {distinct.max()}")

# %% [markdown]
# In a model trained in float32 nearly all 32 would differ. These do not: this model reached us in a file of type *Q4_1*,
# where each block of 32 weights keeps a scale, a minimum and sixteen levels (4 bits per weight, plus the two numbers).
# Somebody quantized it before us, and what this lab calls "fp32" is that file decoded to float32. So every loss that you
# measure below is *on top of* that first one, which we cannot measure, and a format with the same blocks and levels would
# lose nothing at all. (With internet access, `load_model("tinyllama")` loads a model that was not quantized before.)
#
# ## 1 · Absmax: one scale for all
#
# The simplest rule: divide by the largest magnitude, so that everything lies in [-1, 1], stretch that to [-127, 127], and
# round. The number to multiply by on the way back is the *scale* (缩放因子). Going back is called *dequantizing* (反量化).
#
# Two conventions are in use. Here, in PyTorch and in bitsandbytes the scale is absmax / 127: you divide by it to quantize.
# Other texts call 127 / absmax the scale factor and multiply by it. The codes are the same; the tests want absmax / 127.
#
# **Predict** and write down: which codes would the three values of [0.5, -2.0, 1.0] get beside a fourth value of 200?
#
# $$ s = \frac{\max_i |x_i|}{127}, \qquad q_i = \mathrm{round}(x_i / s), \qquad \hat x_i = s\, q_i $$

# %% tags=["exercise:absmax"]
def absmax_quantize(x):
    """Quantize a float tensor to int8 with one scale for all its values.

    x: float tensor of any shape.
    Returns (q, scale): q int8, same shape as x, codes from -127 to 127; scale a float32 tensor with no dimensions.
    A tensor of zeros has q = 0 and scale = 1. x itself must not change.

    Example: [0.5, -2.0, 1.0] has scale 2/127 and codes [32, -127, 64].
    Hint: torch.round, then .to(torch.int8), which only cuts off decimals.
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


# %% tags=["tests:absmax:2"]
with lab.test("absmax"):
    x = torch.tensor([0.5, -2.0, 1.0])
    q, scale = absmax_quantize(x)
    lab.expect_close(q, torch.tensor([32, -127, 64], dtype=torch.int8), "q")
    lab.expect_close(scale, torch.tensor(2 / 127), "scale")
    lab.expect_close(absmax_dequantize(q, scale), torch.tensor([0.5039, -2.0, 1.0079]), "the way back", atol=1e-4)
    error = (absmax_dequantize(*absmax_quantize(W)) - W).abs().max()
    assert error <= W.abs().max() / 127 / 2 + 1e-6, f"rounding is off by at most half a step, but yours by {error:.4f}"
    assert absmax_quantize(torch.zeros(3))[0].tolist() == [0, 0, 0], "a tensor of zeros has no largest value to divide by"

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
    return [q, scale, absmax_dequantize(q, scale), absmax_dequantize(*absmax_quantize(w))[::16], absmax_quantize(torch.zeros(3))[0]]


def check(got, want):
    for name, answer in want.items():
        assert got[name]["types"] == answer["types"], f"{name}: dtypes are {got[name]['types']}"
        close(got[name]["x after"], answer["x after"], path=f"{name}: the input after the call")
        assert np.abs(got[name]["q"].astype(int)).max() <= 127
        close(got[name], answer, rtol=1e-4, path=name)

# %% [markdown]
# And your prediction?

# %% tags=["nbval-check-output"]
for values in ([0.5, -2.0, 1.0], [0.5, -2.0, 1.0, 200.0]):
    q, scale = absmax_quantize(torch.tensor(values))
    print(f"{values}: step {scale:.4f}, codes {q.tolist()}")

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
    Hint: clip before you convert to uint8: 256 would become 0.
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
    """Codes back to float32. q: uint8, any shape. Hint: uint8 cannot hold a negative difference."""
    ### BEGIN SOLUTION
    return (q.float() - zero) * scale
    ### END SOLUTION


# %% tags=["tests:zero_point:2"]
with lab.test("zero_point"):
    q, scale, zero = zero_point_quantize(torch.tensor([-1.0, 0.0, 4.1]))
    lab.expect_close(q, torch.tensor([0, 50, 255], dtype=torch.uint8), "q")
    lab.expect_close(scale, 0.02, "scale")
    assert zero == 50 and isinstance(zero, int), f"zero should be the int 50, but it is {zero!r}"
    activations = F.relu(torch.randn(1000, generator=torch.Generator().manual_seed(0)))
    q, scale, zero = zero_point_quantize(activations)
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
    coded = zero_point_quantize(activations)
    return [*zero_point_quantize(torch.tensor([-1.0, 0.0, 4.1])), zero_point_dequantize(*coded)]


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
    Hint: F.pad(flat, (0, missing)), then reshape.
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


# %% tags=["tests:blockwise:2"]
with lab.test("blockwise"):
    q, scales = blockwise_quantize(torch.tensor([1.0, -2.0, 100.0, 50.0, 3.0]), block_size=2)
    lab.expect_close(q, torch.tensor([[64, -127], [127, 64], [127, 0]], dtype=torch.int8), "q")
    lab.expect_close(scales, torch.tensor([2.0, 100.0, 3.0]) / 127, "scales")
    steps = bnb_f.create_linear_map(signed=True, total_bits=8)  # -1 … 1 in steps of 1/127: bitsandbytes' block-wise, with our codes
    codes, state = bnb_f.quantize_blockwise(W, code=steps, blocksize=64)
    theirs = bnb_f.dequantize_blockwise(codes, state)
    ours = blockwise_dequantize(*blockwise_quantize(W, 64), W.shape)
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
            "scales": scales,  # because: one scale a block, also for a last block that is not full
            "back": back,  # because: the way back, in the shape of the input
            "x after": x,  # because: the tensor you were given, which must stay as it was
        }
    q, scales = blockwise_quantize(torch.cat([torch.zeros(8), torch.ones(8)]), 8)
    answers["a block of zeros"] = {"q": q, "scales": scales}  # because: a block of zeros
    return answers


def visible():
    q, scales = blockwise_quantize(torch.tensor([1.0, -2.0, 100.0, 50.0, 3.0]), block_size=2)
    w = W[:64].clone()
    return [q, scales, blockwise_dequantize(*blockwise_quantize(w, 64), w.shape)]


def check(got, want):
    close(got, want, rtol=1e-4)

# %% [markdown]
# A float32 scale for every 64 int8 weights adds half a bit to each. **Predict** and write down: if the blocks are 256 times
# smaller (16 instead of 4096 weights), is the error halved, divided by 10, or divided by 100?

# %%
sizes = [16, 32, 64, 128, 256, 1024, 4096]
rmse = [float((blockwise_dequantize(*blockwise_quantize(W, n), W.shape) - W).square().mean().sqrt()) for n in sizes]
bits = [8 + 32 / n for n in sizes]
fig, ax = plt.subplots()
ax.plot(bits, rmse, "o-")
for n, b, e in zip(sizes, bits, rmse, strict=True):
    ax.annotate(f"{n}", (b, e), textcoords="offset points", xytext=(6, 6))
ax.set(title="Smaller blocks cost bits and buy precision (labels: block size)", xlabel="bits a weight, scales included", ylabel="root mean square error")
plt.show()

# %% [markdown]
# It is about halved, because the largest of 16 weights is usually not much smaller than the largest of 4096 (the weights
# look like a bell curve). The memory grows from a little over 8 to 10 bits per weight. Spent on finer codes instead, the
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
        flat = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        largest[name] = flat.abs().amax(dim=0).cpu()  # one number a channel: the largest magnitude over all tokens
    return hook


hooks = [m.register_forward_pre_hook(watch(n)) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
with torch.inference_mode():
    model(**tokenizer(sentences[: lab.budget(full=8, quick=2)], return_tensors="pt", padding=True).to(model.device))
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
# **Predict** and write down: what is printed for the product of two vectors of a hundred 100s, when everything is int8?

# %% tags=["nbval-check-output"]
hundreds = torch.full((1, 100), 100, dtype=torch.int8)
print("added up in int8: ", (hundreds @ hundreds.T).item())
print("added up in int32:", (hundreds.int() @ hundreds.int().T).item())

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
    Hint: multiply int32 tensors; products of int8 tensors overflow at 127.
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


# %% tags=["tests:mixed_matmul:3"]
with lab.test("mixed_matmul"):
    g = torch.Generator().manual_seed(4)
    w, channels = W[:64], W.shape[1]
    x = torch.randn(16, channels, generator=g).clamp(-4, 4)
    exact = x @ w.T
    lab.expect_close(mixed_matmul(x, w, threshold=0.0), exact, "all channels in float32", atol=1e-3)
    x[:, 100] = 60.0  # one outlier channel
    exact = x @ w.T
    error = (mixed_matmul(x, w) - exact).norm() / exact.norm()
    naive = (mixed_matmul(x, w, threshold=1e9) - exact).norm() / exact.norm()
    assert error < 0.02, f"with the outlier apart, the relative error should be below 2 %, but it is {error:.1%}"
    assert naive > 3 * error, f"without, it should be far larger: {naive:.1%} against {error:.1%}"

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
    x, w = torch.randn(16, W.shape[1], generator=torch.Generator().manual_seed(4)).clamp(-4, 4), W[:64]
    exact = mixed_matmul(x.clone(), w, threshold=0.0)
    x[:, 100] = 60.0
    return [exact, mixed_matmul(x.clone(), w)]


def check_visible(got, want):
    close(got[0], want[0], atol=2e-3)
    # each may be 2 % off the exact product
    assert got[1].shape == want[1].shape and np.linalg.norm(got[1] - want[1]) < 0.04 * np.linalg.norm(want[1])


def check(got, want):
    for name in want:
        assert got[name].dtype == np.float32 and got[name].shape == want[name].shape, f"{name}: {got[name].dtype} {got[name].shape}"
        close(got[name], want[name], rtol=1e-3, atol=1e-2, path=name)

# %% [markdown]
# **What does it gain on this model?** The outputs of the most extreme layer, on real activations. **Predict** the error of
# plain int8: 1 %, 10 % or 100 %?

# %% tags=["experiment"]
caught = {}
layer = model.get_submodule(worst)
handle = layer.register_forward_pre_hook(lambda module, inputs: caught.update(x=inputs[0].detach()))
with torch.inference_mode():
    model(**tokenizer(sentences[8:10], return_tensors="pt", padding=True).to(model.device))
handle.remove()
x = caught["x"].reshape(-1, caught["x"].shape[-1]).float().cpu()
w = layer.weight.detach().float().cpu()
exact = x @ w.T
for name, threshold in (("LLM.int8(), outliers apart", 6.0), ("plain int8, no outliers apart", float("inf"))):
    error = (mixed_matmul(x, w, threshold) - exact).norm() / exact.norm()
    print(f"{name:30} relative error {error:.2%}")

# %% [markdown]
# On the course model plain int8 errs by about one per cent, although this layer has the most extreme channel of all. Why so
# little? The error is divided by the norm of the exact outputs. The outliers are hundreds of times larger than the
# other channels, so they make up most of that norm, and the largest of a row is coded without error. Besides, each token has
# its own scale: only a token that contains an outlier gets a coarse step. A small error *relative to the norm* can
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
    Hint: (value[:, None] - NF4).abs().argmin(dim=1); `high << 4 | low`.
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


# %% tags=["tests:nf4:3"]
with lab.test("nf4"):
    row = torch.zeros(64)
    row[:4] = torch.tensor([2.0, -2.0, 0.0, 2 * 0.4407])
    packed, absmax = nf4_quantize(row)
    assert packed.dtype == torch.uint8 and packed.shape == (32,), f"packed is {packed.dtype} {tuple(packed.shape)}"
    lab.expect_close(absmax, torch.tensor([2.0]), "absmax")
    assert packed[0] == 0xF0, f"levels 15 and 0 make the byte 0xF0, yours is {int(packed[0]):#04x}: high four bits first"
    theirs, state = bnb_f.quantize_4bit(W, quant_type="nf4", blocksize=64, compress_statistics=False)
    ours, absmax = nf4_quantize(W)
    same = (ours == theirs.flatten()).float().mean()
    assert same > 0.999, f"only {same:.1%} of your bytes are those of bitsandbytes"
    lab.expect_close(absmax, state.absmax.float(), "absmax of a real matrix")
    back = bnb_f.dequantize_4bit(theirs, state)
    gap = (nf4_dequantize(ours, absmax, W.shape) - back).abs().max()
    assert gap < 0.2 * W.abs().max(), f"the way back differs by {gap:.3f}"

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
    w = W[:64]
    packed, absmax = nf4_quantize(w)
    return [*nf4_quantize(row), packed, absmax, nf4_dequantize(packed, absmax, w.shape)]


def check_visible(got, want):
    close([got[1], got[3]], [want[1], want[3]], rtol=1e-3)
    assert got[0].dtype == np.uint8 and got[0].shape == want[0].shape and got[0][0] == want[0][0]
    assert got[2].shape == want[2].shape and (got[2] == want[2]).mean() > 0.999
    assert np.abs(got[4] - want[4]).max() < 0.2 * np.abs(want[4]).max()


def check(got, want):
    close(got, want, rtol=1e-4)

# %% [markdown]
# **Predict** and write down: with half the bits of your block-wise int8, is the error 2, 4 or about 16 times larger?

# %%
for name, back in (
    ("int8, blocks of 64", blockwise_dequantize(*blockwise_quantize(W, 64), W.shape)),
    ("nf4, blocks of 64", nf4_dequantize(*nf4_quantize(W, 64), W.shape)),
):
    print(f"{name:20} error {(back - W).norm() / W.norm():.2%} of the weights")

# %% [markdown]
# About 16 times: each of the four missing bits doubles the step. (NF4's levels are not evenly spaced, so this is only a
# rule of thumb; and the matrix was decoded from Q4_1, so the errors add to that first rounding.)
#
# ### Play with it
#
# The explorer runs **your** functions on a real layer. How does the error of int8 with one scale differ in shape and size
# from that of block-wise int8 and of NF4? What does the block size do to each?
#
# The next cell is folded; click it to read the code. It lists your functions and some layers of the model, and draws two
# histograms: of a layer's weights, and of their errors.

# %% tags=["hide-input"]
SCHEMES = {
    "int8 absmax": lambda w, block: absmax_dequantize(*absmax_quantize(w)),
    "int8 zero point": lambda w, block: zero_point_dequantize(*zero_point_quantize(w)),
    "int8 block-wise": lambda w, block: blockwise_dequantize(*blockwise_quantize(w, block), w.shape),
    "nf4": lambda w, block: nf4_dequantize(*nf4_quantize(w, block), w.shape, block),
}
third = f".{model.config.num_hidden_layers // 10}."  # layer 3 of the course model's 30
LINEARS = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and third in name}
LAYERS = {name: module.weight.detach().float().cpu() for name, module in LINEARS.items()}
BLOCKS = dict.fromkeys((64, 32, 128, 256, model.config.hidden_size))  # the last: a block for each input's row


def draw(scheme, layer, block):
    w = LAYERS[layer]
    error = SCHEMES[scheme](w, block) - w
    bits = (4 if scheme == "nf4" else 8) + (32 / block if scheme in ("nf4", "int8 block-wise") else 0)
    fig, (left, right) = plt.subplots(1, 2)
    left.hist(w.flatten(), bins=101, color=plots.COLORS[1])
    left.set(title="weights", xlabel="value", ylabel="count")
    right.hist(error.flatten(), bins=101, color=plots.COLORS[2], hatch="//")
    right.set(title=f"error: {bits:.2f} bits, rms {error.square().mean().sqrt():.5f}", xlabel="value", ylabel="count")


# %%
whole = [block for block in BLOCKS if all(w.numel() % block == 0 for w in LAYERS.values())]
widgets.explorer(draw, scheme=list(SCHEMES), layer=list(LAYERS), block=whole);

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
    Hint: self.register_buffer("q", …); F.linear(x, weight, bias).
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
    Hint: for parent in model.modules(): for name, child in parent.named_children(): setattr(parent, name, …).
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


# %% tags=["tests:int8_linear:3"]
with lab.test("int8_linear"):
    torch.manual_seed(6)
    linear = nn.Linear(64, 32)
    ours, x = Int8Linear(linear), torch.randn(5, 3, 64)
    gap = (ours(x) - linear(x)).abs().max()
    assert ours(x).shape == (5, 3, 32) and gap < 0.02, f"the outputs should agree to 0.02, but differ by {gap:.3f}"
    assert ours.q.dtype == torch.int8 and ours.scale.shape == (32, 1), "q is int8, scale has shape (outputs, 1)"
    weights_only = sum(b.numel() * b.element_size() for b in ours.buffers())
    assert weights_only == 64 * 32 + 4 * 32, f"q and scale take 2176 bytes, your buffers {weights_only}"
    small = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"inner": nn.Linear(8, 8), "lm_head": nn.Linear(8, 2)}))
    assert replace_linears(small) == 2, "the linear layer inside and the one outside are replaced, lm_head is not"
    kinds = [type(small[0]).__name__, type(small[1]["inner"]).__name__, type(small[1]["lm_head"]).__name__]
    assert kinds == ["Int8Linear", "Int8Linear", "Linear"], f"the layers are now {kinds}"

# %% tags=["hidden:int8_linear:4"]
def probe():
    torch.manual_seed(60)
    linear, plain_linear = nn.Linear(24, 10), nn.Linear(24, 10, bias=False)
    with torch.no_grad():
        linear.weight[3] = 0.0
        linear.weight[4] *= 100
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
    x = torch.randn(5, 3, 64)
    layer = Int8Linear(linear)
    small = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"inner": nn.Linear(8, 8), "lm_head": nn.Linear(8, 2)}))
    return [layer(x), layer.q.dtype == torch.int8, list(layer.scale.shape), replace_linears(small),
            [type(small[0]).__name__, type(small[1]["inner"]).__name__, type(small[1]["lm_head"]).__name__]]


def check_visible(got, want):
    close(got[1:], want[1:])
    assert got[0].shape == want[0].shape and np.abs(got[0] - want[0]).max() < 0.04


def check(got, want):
    close(got, want, rtol=1e-3, atol=1e-4)

# %% [markdown]
# One block of the real model, before and after:

# %%
import copy

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
    Hint: F.log_softmax(logits.float(), dim=-1), then torch.gather.
    """
    ### BEGIN SOLUTION
    logp = F.log_softmax(logits[:, :-1].float(), dim=-1)
    scored = mask[:, 1:]
    each = -logp.gather(2, ids[:, 1:, None]).squeeze(2)
    return (each * scored).sum(dim=1), scored.sum(dim=1)
    ### END SOLUTION


# %% tags=["tests:token_nll:2"]
with lab.test("token_nll"):
    uniform = torch.zeros(2, 5, 10)
    ids = torch.randint(0, 10, (2, 5), generator=torch.Generator().manual_seed(7))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    nll, tokens = token_nll(uniform, ids, mask)
    lab.expect_close(tokens, torch.tensor([4, 2]), "tokens")
    lab.expect_close(nll, torch.tensor([4.0, 2.0]) * torch.tensor(10.0).log(), "nll when all ten tokens are equally likely")
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
    uniform = token_nll(torch.zeros(2, 5, 10), ids, torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]))
    batch = course_tokenizer(["A film to remember.", "Too long, and far too loud for what little it has to say."],
                             return_tensors="pt", padding=True, padding_side="right").to(course.device)
    with torch.inference_mode():
        return [*uniform, *token_nll(course(**batch).logits, batch["input_ids"], batch["attention_mask"])]


def check(got, want):
    close(got, want, rtol=1e-3)

# %% [markdown]
# **Predict** and write down the order of perplexity of: fp32, bf16, your int8 layers, bitsandbytes' int8 (LLM.int8()),
# bitsandbytes' nf4. Which differences to fp32 will be larger than the noise?
#
# The baseline of every row is "fp32", and with the course model that is the Q4_1 file decoded to float32. The table shows
# what each format *adds* to that first rounding. It does not show what the format would do to the original weights, and
# least of all for nf4: a second set of sixteen levels rarely fits the first.

# %% tags=["experiment"]
texts = sorted(sentences[: lab.budget(full=160, quick=4)], key=len)


def score(model, batch_size=16):
    """One row a sentence: nll, tokens. And tokens per second."""
    rows, seconds = [], 0.0
    with torch.inference_mode():  # once without the clock: a GPU loads its kernels when they are first used
        model(**tokenizer(texts[:2], return_tensors="pt", padding=True).to(model.device)).logits.sum().item()
    for start in tqdm(range(0, len(texts), batch_size), desc="scoring", leave=False):
        batch = tokenizer(texts[start : start + batch_size], return_tensors="pt", padding=True, padding_side="right").to(model.device)
        begun = time.perf_counter()
        with torch.inference_mode():
            nll, tokens = token_nll(model(**batch).logits, batch["input_ids"], batch["attention_mask"])
        rows += zip(nll.tolist(), tokens.tolist(), strict=True)
        seconds += time.perf_counter() - begun
    frame = pd.DataFrame(rows, columns=["nll", "tokens"])
    return frame, int(frame["tokens"].sum()) / seconds


# %% tags=["experiment"]
def own_int8():
    mine, _ = load_model(MODEL, precision="fp32")
    replace_linears(mine)
    return mine


makers = {
    "fp32": lambda: model,
    "bf16": lambda: load_model(MODEL, precision="bf16")[0],
    "own int8": own_int8,
    "bnb int8": lambda: load_model(MODEL, precision="int8")[0],
    "bnb nf4": lambda: load_model(MODEL, precision="nf4")[0],
}
if any(module.in_features % 64 for module in model.modules() if isinstance(module, nn.Linear)):
    print(f"{MODEL} has rows that are no whole blocks of 64, which bitsandbytes' nf4 cannot have on a CPU: left out.")
    del makers["bnb nf4"]

# %% [markdown]
# Sentences differ far more from each other than most formats do, so the intervals of the perplexities are wide and mostly
# overlap. But every format reads the *same* sentences: compare sentence by sentence. The *paired* difference (配对差异) to
# fp32 has a much narrower interval.

# %% tags=["experiment"]
def extra(frame):
    """Nats a token more than fp32, on the same sentences."""
    return float((frame["nll"] - frame["base"]).sum() / frame["tokens"].sum())

# %% tags=["experiment"]
def measure(name, candidate):
    """Memory, perplexity, speed, and the paired difference; each with its 95 % interval over sentences."""
    scores[name], speed = score(candidate)
    paired = scores[name].assign(base=scores["fp32"]["nll"])
    ppl = scoring.bootstrap(paired, scoring.perplexity, n=lab.budget(full=300, quick=20))
    added = scoring.bootstrap(paired, extra, n=lab.budget(full=300, quick=20))
    return dict(zip(("format", "MB", "tokens/s", "perplexity", "low", "high", "added nats", "from", "to"),
                    (name, candidate.get_memory_footprint() / 1e6, speed, *ppl, *added), strict=True))

# %% tags=["experiment"]
def draw_costs(table):
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for i, (name, row) in enumerate(table.iterrows()):
        look = {"fmt": plots.MARKERS[i], "color": plots.COLORS[i], "capsize": 4}
        left.errorbar(row["MB"], row["perplexity"], [[row["perplexity"] - row["low"]], [row["high"] - row["perplexity"]]], label=name, **look)
        right.errorbar(row["added nats"], name, xerr=[[row["added nats"] - row["from"]], [row["to"] - row["added nats"]]], **look)
    left.set(title="Memory and quality", xlabel="model in memory (MB)", ylabel="perplexity (95 % interval)")
    left.legend()
    right.axvline(0, color="grey", linestyle=":")
    right.set(title="Paired: what each format adds to fp32", xlabel="nats a token (95 % interval)", ylabel="format")
    plt.show()


# %% tags=["experiment"]
scores, results = {}, []
for name, make in tqdm(makers.items(), leave=False):
    candidate = make()
    results.append(measure(name, candidate))
    del candidate
table = pd.DataFrame(results).set_index("format")
draw_costs(table)
table.round({"MB": 0, "tokens/s": 0, "perplexity": 1, "low": 1, "high": 1, "added nats": 4, "from": 4, "to": 4})

# %% [markdown]
# Read your own numbers before you go on:
#
# - Which formats can you tell from fp32 (the interval of the added nats per token excludes 0), and which not? How large is
#   the largest of the small ones, as a factor on the perplexity?
# - At full budget LLM.int8() adds more than your weight-only layer. That is no surprise: your layer keeps the activations in full
#   precision, LLM.int8() rounds them too. So this pair says nothing about outliers. Which row is missing? (The same 8-bit
#   product with `threshold=float("inf")`: only the difference between these two shows what separating the outliers gains.)
# - On a CPU without fast 8-bit kernels, fewer bits save memory, not time. Which rows show that, and which row saves both?
# - The embedding matrix, a fifth of this model, stays in float32. How small could the nf4 model be if it did not?
# - The perplexities are high: single sentences give little context. Published tables use long texts, so do not compare.
#
# ## 8 · Will it fit my GPU?
#
# The weights are one part; the *KV cache* (键值缓存), keys and values of all earlier tokens, is another. Write the formula
# that answers the question for any LLaMA of this table.

# %%
llamas = tables.load("llama_hyperparameters").set_index("name")
llamas[["parameters_billion", "dimension", "layers", "heads", "kv_heads", "intermediate", "vocabulary"]]

# %% tags=["exercise:memory"]
def llama_parameters(config):
    """Count the parameters of a LLaMA.

    config: mapping with dimension d, layers, heads, kv_heads, intermediate, vocabulary (ints).
    Returns (linear, others), two ints:
        linear: the weights of all linear layers inside the blocks: q and o are d × d; k and v are d × (kv_heads · head
            size), with head size = d / heads; gate, up and down are d × intermediate. No biases.
        others: input embedding and output head (vocabulary × d each), two norms of d a layer, and one at the end.

    Example: LLaMA 7B (4096, 32 layers, 32 heads, 32 KV heads, 11008, 32000) has 6,476,005,376 + 262,410,240.
    """
    ### BEGIN SOLUTION
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    linear = layers * (2 * d * d + 2 * d * kv + 3 * d * config["intermediate"])
    others = 2 * config["vocabulary"] * d + 2 * layers * d + d
    return int(linear), int(others)
    ### END SOLUTION


def llama_bytes(config, precision, batch=1, context=2048):
    """Bytes of weights (with their scales) and KV cache for inference.

    precision: "fp32" (4 bytes), "bf16" (2), "int8" or "nf4". In int8 and nf4 only the linear weights shrink: to 1 byte plus a
    float32 scale for each output row (int8), or to half a byte plus a float32 for each 64 weights (nf4). The others, and the
    KV cache, stay in bf16. The cache holds a key and a value of every layer, KV head and token.
    Returns an int.

    Hint: the rows of a block's seven linear layers: d, kv, kv, d (q, k, v, o), intermediate twice, d (gate, up, down).
    """
    ### BEGIN SOLUTION
    linear, others = llama_parameters(config)
    d, layers = config["dimension"], config["layers"]
    kv = config["kv_heads"] * (d // config["heads"])
    bytes_per_parameter = 4 if precision == "fp32" else 2
    if precision == "int8":
        weights = linear + 4 * layers * (3 * d + 2 * kv + 2 * config["intermediate"])
    elif precision == "nf4":
        weights = linear / 2 + 4 * linear / 64
    else:
        weights = linear * bytes_per_parameter
    cache = 2 * layers * kv * context * batch * bytes_per_parameter
    return int(weights + others * bytes_per_parameter + cache)
    ### END SOLUTION


# %% tags=["tests:memory:3"]
with lab.test("memory"):
    assert llama_parameters(llamas.loc["LLaMA 7B"]) == (6_476_005_376, 262_410_240), "LLaMA 7B: see the example"
    for name in ("LLaMA 13B", "Llama 2 70B"):
        row = llamas.loc[name]
        config = LlamaConfig(
            hidden_size=int(row.dimension), num_hidden_layers=int(row.layers), vocab_size=int(row.vocabulary),
            num_attention_heads=int(row.heads), num_key_value_heads=int(row.kv_heads), intermediate_size=int(row.intermediate),
        )
        for precision in ("fp32", "bf16", "int8", "nf4"):
            plan = hardware.plan(config, precision, batch=2, context=4096)
            ours = llama_bytes(row, precision, batch=2, context=4096)
            planned = plan.weights + plan.scales + plan.kv_cache
            assert abs(ours / planned - 1) < 0.01, f"{name} in {precision}: yours {ours:,}, the planner's {planned:,} bytes"

# %% tags=["hidden:memory:4"]
def probe():
    odd = {"dimension": 1024, "layers": 3, "heads": 16, "kv_heads": 4, "intermediate": 2816, "vocabulary": 5000}
    full = {**odd, "kv_heads": 16}
    answers = {
        "parameters": list(llama_parameters(odd)),  # because: parameters of a model with fewer heads for keys and values
        "no groups": list(llama_parameters(full)),  # because: parameters of a model with as many heads for them
    }
    for precision in ("fp32", "bf16", "int8", "nf4"):
        answers[precision] = [
            float(llama_bytes(odd, precision)), float(llama_bytes(odd, precision, batch=5)),
            float(llama_bytes(odd, precision, context=9)), float(llama_bytes(full, precision, batch=3, context=100)),
        ]
    return answers


def visible():
    rows = [llamas.loc["LLaMA 13B"], llamas.loc["Llama 2 70B"]]
    counted = [float(n) for n in llama_parameters(llamas.loc["LLaMA 7B"])]
    return counted, [float(llama_bytes(row, p, batch=2, context=4096)) for row in rows for p in ("fp32", "bf16", "int8", "nf4")]


def check_visible(got, want):
    close(got[0], want[0])
    close(got[1], want[1], rtol=0.02)


def check(got, want):
    close(got, want, rtol=1e-4)

# %% [markdown]
# **Predict** and write down, before you run it: which is the smallest GPU for LLaMA 13B in each precision, with a
# conversation of 2048 tokens?

# %%
gpus = tables.load("gpus").sort_values("memory_gb")
rows = []
for name in ("LLaMA 7B", "LLaMA 13B", "LLaMA 65B", "Llama 2 70B"):
    for precision in ("fp32", "bf16", "int8", "nf4"):
        needs = llama_bytes(llamas.loc[name], precision) / 1e9
        fits = gpus[gpus["memory_gb"] * 0.9 >= needs]
        rows.append({"model": name, "precision": precision, "text": f"{needs:.0f} GB: {fits['name'].iloc[0] if len(fits) else 'more than one GPU'}"})
answer = pd.DataFrame(rows).pivot(index="model", columns="precision", values="text")
answer.loc[["LLaMA 7B", "LLaMA 13B", "LLaMA 65B", "Llama 2 70B"], ["fp32", "bf16", "int8", "nf4"]]

# %% [markdown]
# And this machine? `load_model` asks the planner before it reads a byte. Without a large GPU the next cell ends with an
# error message in red. That is intended: read what it proposes.

# %% tags=["raises-exception"]
hardware.report()
load_model("llama-2-7b", precision="fp32", device="cuda")

# %% [markdown]
# ## What you have seen
#
# - One scale for all is simple, and one large value ruins it. Finer scales (rows, blocks) contain the damage.
# - Activations have outliers in few channels; LLM.int8() multiplies those separately.
# - With 16 levels one can choose where they are; NF4 puts them where a bell curve has its weights. Whether that beats
#   sixteen evenly spaced levels was not tested here.
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
