# %% [markdown]
# # 10 · Quantization
#
# **Making a large model small, part one** (把大模型变小：模型量化)
#
# A 7-billion-parameter model in float32 does not fit the GPU that Colab lends you. The same model in 4 bits fits a laptop.
# What is lost on the way, and why does it work at all?
#
# After this lecture you can say what *quantization* (量化) changes, compute an int8 code by hand, explain why outliers
# break the simple rule, how LLM.int8(), NF4, AWQ, GPTQ and SmoothQuant answer, and load a model in 8 bits in today's API.

# %% [markdown] tags=["notes"]
# 90 minutes with the demos; 60 without formats side by side, SmoothQuant, roofline and cache. Every number on these slides
# is computed in the cell beside it; run the notebook before class (about a minute on a laptop). The explorer near the end is worth ten minutes of the audience's guesses.
# Two conventions: the slide multiplies by 127 / absmax and calls that 缩放因子; lecture and lab call absmax / 127 the
# scale and divide by it, as PyTorch does (bitsandbytes keeps absmax itself). Say both once. The slide's call with `load_in_8bit=` and `torch_dtype=` is shown
# near the end, with what today's library answers.

# %% tags=["skip"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from course_utils import data, hardware, interactives, lab, load_model, plots, scoring, tables, weights, widgets

lab.start("10_quantization")

# %% [markdown]
# ## Why: the parameters fill the memory

# %% tags=["hide-input"]
guess = widgets.predict("How many GB do the parameters of a 7B model need at 4 bits per parameter?", unit="GB", tolerance=0.2)

# %% tags=["nbval-check-output"]
for precision in hardware.PRECISIONS:
    plan = hardware.plan("llama-2-7b", precision, context=2048)
    total = (plan.weights + plan.scales + plan.kv_cache) / 1e9
    print(f"{precision}: weights {(plan.weights + plan.scales) / 1e9:5.1f} GB, with the cache of 2048 tokens {total:5.1f} GB")

# %% tags=["hide-input"]
guess.reveal((plan.weights + plan.scales) / 1e9, why="Half a byte per parameter, and the scales; embedding and output head stay in 16 bits.")

# %% [markdown]
# Compare: the model has 6.7 billion parameters, so 32 bits need four bytes each, 16 bits two. The last two rows are
# larger than 6.7 and 3.4 GB because the scales are stored too, and because embedding and output head stay in 16 bits.
#
# **Quantization** turns parameters or activations from high into low precision. The aim: less memory and cheaper
# arithmetic, with (almost) the same answers.
#
# - *What* is quantized: weights (权重), activations (激活值), or both
# - *To how many bits* (位数): fewer bits, smaller range, coarser steps
# - *When*: during training or afterwards

# %% [markdown]
# ## What is in a format?
#
# An integer of $b$ bits has $2^b$ evenly spaced values. A float spends its bits on a sign, an exponent (range) and a
# mantissa (precision).

# %% tags=["nbval-check-output"]
def float_row(name, dtype, exponent, mantissa):
    info = torch.finfo(dtype)
    return {"format": name, "bits": info.bits, "sign+exponent+mantissa": f"1+{exponent}+{mantissa}", "largest": f"{info.max:.4g}",
            "smallest normal": f"{info.tiny:.3g}", "step at 1": "2" + f"-{mantissa}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))}


rows = [{"format": f"int{b}", "bits": b, "sign+exponent+mantissa": "–", "largest": f"{2 ** (b - 1) - 1}", "smallest normal": "1", "step at 1": "1"} for b in (4, 8)]
rows += [float_row("fp8 E4M3", torch.float8_e4m3fn, 4, 3), float_row("fp8 E5M2", torch.float8_e5m2, 5, 2), float_row("bf16", torch.bfloat16, 8, 7)]
rows += [float_row("fp16", torch.float16, 5, 10), float_row("fp32", torch.float32, 8, 23)]
print(pd.DataFrame(rows).to_string(index=False))

# %% [markdown]
# int4 runs from -8 to 7 and int8 from -128 to 127. bf16 has fp32's exponent, so its range, but only 7 bits of mantissa; fp16 has
# more precision and overflows above 65504. Of the two 8-bit floats [@micikevicius2022fp8], E4M3 is recommended for weights
# and activations, E5M2 for gradients.

# %% [markdown]
# ### How many numbers are there?
#
# Some slides say that float32 holds "about 4.3e9 real numbers". Let us count them.

# %% tags=["nbval-check-output"]
patterns = 2**32
not_numbers = 2 * 2**23  # exponent all ones: two infinities, and NaN in all other mantissas
both_zeros = 1  # +0 and -0 are one number
print(f"bit patterns {patterns:,}; finite and different numbers {patterns - not_numbers - both_zeros:,}")

every_half = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
print(f"the same for float16, counted one by one: {len(every_half[every_half.isfinite()].unique()):,}")

# %% [markdown]
# ### Where are they?
#
# The rounded figure is right: some 17 million of the bit patterns are infinities, "not a number" or a second zero.

# %% tags=["hide-input"]
guess = widgets.predict(
    "For which format does the *relative* error stay the same over all magnitudes from 0.00001 to 1000?",
    options=["fp16", "bf16", "fp8 E4M3", "fp8 E5M2", "int8"],
)

# %% tags=["hide-input"]
magnitude = torch.logspace(-5, 3, 400)
fig, ax = plt.subplots()
floats = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8 E4M3": torch.float8_e4m3fn, "fp8 E5M2": torch.float8_e5m2}
for i, (name, dtype) in enumerate(floats.items()):
    top = min(torch.finfo(dtype).max, 1e3)
    inside = magnitude[magnitude <= top]
    error = ((inside.to(dtype).float() - inside).abs() / inside).numpy()
    envelope = pd.Series(error).rolling(25, center=True, min_periods=1).max()
    ax.loglog(inside, envelope.clip(lower=1e-5), linestyle=plots.LINES[i], marker="", label=name)
inside = magnitude[magnitude <= 1]
error = ((inside * 127).round() / 127 - inside).abs() / inside
ax.loglog(inside, pd.Series(error.numpy()).rolling(25, center=True, min_periods=1).max(), linestyle=plots.LINES[4], marker="", label="int8, absmax = 1")
ax.set(title="Relative rounding error of each format", xlabel="magnitude of the value", ylabel="relative error", ylim=(1e-5, 2))
ax.legend(ncols=3, fontsize=11, loc="lower left")
plt.show()

# %% tags=["hide-input"]
(steady,) = [name for name, dtype in floats.items() if torch.finfo(dtype).tiny < 1e-5 and torch.finfo(dtype).max > 1e3]
guess.reveal(steady, why="It is the only one here for which all of these magnitudes are *normal* numbers.")

# %% [markdown]
# Only bf16 does. A float keeps its relative error only among its *normal* numbers. Below the smallest normal number (in
# the table: 6.1e-05 for fp16 and E5M2, but 0.0156 for E4M3) the steps get no smaller, so the relative error grows until
# everything is rounded to 0. int8 has the same absolute step everywhere: it is better than both 8-bit floats near its
# largest value, and worse than E5M2 below a few hundredths of it. **The scale decides which values are coded well.**

# %% [markdown]
# ## int8 by absmax, step by step
#
# *Absolute-maximum quantization* (最大绝对值量化), on six weights of a real model: MiniLM, the sentence encoder of chapter 7
# [@wang2020minilm]. Its file is float32, and nobody has quantized it before us.

# %%
encoder, encode = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32")
W = encoder.encoder.layer[3].intermediate.dense.weight.detach().cpu()  # (1536, 384)
x = W[0, :6]

scale = x.abs().max() / 127  # the largest magnitude becomes code 127
codes = (x / scale).round().to(torch.int8)
back = codes * scale
pd.DataFrame({"weight": x, "weight / scale": x / scale, "code": codes, "dequantized": back, "error": back - x}).round(4)

# %% [markdown]
# - It is noisy and it loses information: *lossy compression* (有损压缩).
# - No error is larger than half a step, scale / 2.
# - One number, the scale, must be kept beside the codes. In this course the *scale* (缩放因子) is absmax / 127, and we
#   divide by it. PyTorch also divides by its scale. Some texts call the reciprocal, 127 / absmax, the scale factor and
#   multiply by it; bitsandbytes keeps absmax itself. The codes are the same.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Make the largest weight a hundred times larger. What is the largest magnitude among the codes of the other five?", tolerance=0
)

# %%
x = W[0, :6].clone()
x[x.abs().argmax()] *= 100
now = (x / (x.abs().max() / 127)).round().int().tolist()
print("codes now:", now)

# %% tags=["hide-input"]
guess.reveal(sorted(map(abs, now))[-2], why="The step is a hundred times larger, and the five weights are hardly larger than one step.")

# %% [markdown]
# ### One scale for how many weights?
#
# The step is a hundred times larger too, so the others share the codes -1, 0 and 1. So: the same rule with one scale for the
# whole matrix, for each row, or for each block.

# %% tags=["nbval-check-output"]
def absmax(x, dim=None, bits=8):
    """There and back again."""
    top = 2 ** (bits - 1) - 1
    largest = x.abs().max() if dim is None else x.abs().amax(dim=dim, keepdim=True)
    scale = (largest / top).clamp(min=1e-12)
    return (x / scale).round() * scale


def sqnr(x, approximation):
    """Signal-to-quantization-noise ratio, in decibels."""
    return float(10 * torch.log10(x.square().sum() / (x - approximation).square().sum()))


choices = {"matrix": (absmax(W), 0), "row": (absmax(W, 1), 32 / W.shape[1]), "block of 64": (absmax(W.reshape(-1, 64), 1).reshape(W.shape), 32 / 64)}
for name, (approximation, extra) in choices.items():
    print(f"a scale for each {name:11}  {8 + extra:5.2f} bits per weight  {sqnr(W, approximation):5.1f} dB")

# %% [markdown]
# Finer scales give less noise, because a large weight makes the step coarse only for its own row or block. One more bit
# halves the step, and that is worth 6 dB. The price is the memory for the scales. The lab builds all of these, and the
# *zero point* (零点) for values that are not centred.

# %% [markdown]
# ## What breaks it: outliers
#
# To *calculate* in int8, activations must be quantized too. What do they look like? We record the inputs of every linear
# layer while the model reads a few real sentences.

# %%
model, tokenizer = load_model("course", precision="fp32")
sentences = list(data.movie_sentences().shuffle(seed=0)["text"])
largest, seen, handles = {}, {}, []
for name, module in model.named_modules():
    if isinstance(module, nn.Linear) and name != "lm_head":
        def hook(module, inputs, name=name):
            seen[name] = inputs[0][0][real_tokens[0]].cpu()  # (tokens, channels) of the first sentence
            largest[name] = inputs[0][real_tokens].abs().amax(dim=0).cpu()  # by channel, over sentences and tokens
        handles.append(module.register_forward_pre_hook(hook))
batch = tokenizer(sentences[: lab.budget(full=8, quick=2)], return_tensors="pt", padding=True).to(model.device)
real_tokens = batch["attention_mask"].bool()  # (sentences, tokens): padding is no text
with torch.inference_mode():
    model(**batch)
for handle in handles:
    handle.remove()

# %% tags=["hide-input"]
worst = max(largest, key=lambda name: float(largest[name].max() / largest[name].median()))
fig, ax = plt.subplots()
for i, name in enumerate((worst, "model.layers.3.mlp.up_proj", "model.layers.20.self_attn.q_proj")):
    ordered = largest[name].sort(descending=True).values
    ax.loglog(range(1, len(ordered) + 1), ordered, marker="", linestyle=plots.LINES[i], label=name.removeprefix("model."))
ax.axhline(6, color="grey", linewidth=1)
ax.text(60, 7, "6.0, LLM.int8()'s threshold")
ax.set(title="Few channels, very large", xlabel="channel, ordered by magnitude", ylabel="largest |activation|")
ax.legend()
plt.show()
hit = [name for name, channels in largest.items() if (channels >= 6).any()]
share = np.mean([float((channels >= 6).float().mean()) for channels in largest.values()])
print(f"{len(hit)} of {len(largest)} layers have a channel ≥ 6; on average {share:.2%} of a layer's channels")

# %% [markdown] tags=["notes"]
# @sun2024massive call such peaks massive activations, find them in models of many sizes, and often at the first token.
# @dettmers2022int8 count systematic outlier features, and report that they appear in all layers from about 6.7B
# parameters on. Ours has 135M: it has large channels, and lab 10 measures what they cost (W8A8).

# %% [markdown]
# ### One outlier in a row
#
# Absmax gives a row of activations one scale. The ordinary values are random, with a standard deviation of 1.

# %% tags=["hide-input"]
guess = widgets.predict("One channel is 60. What is the relative error of the other channels?", unit="%", tolerance=0.3)

# %% tags=["nbval-check-output"]
errors = {}
g = torch.Generator().manual_seed(0)
row = torch.randn(576, generator=g)
for outlier in (0, 6, 60, 600):
    with_outlier = row.clone()
    with_outlier[7] = outlier or row[7]
    rest = torch.arange(576) != 7
    errors[outlier] = (absmax(with_outlier) - with_outlier)[rest].norm() / row[rest].norm()
    print(f"outlier {outlier:4}: error of the other 575 channels {errors[outlier]:.0%}")

# %% tags=["hide-input"]
guess.reveal(100 * errors[60], why="The step is 60 / 127, about half a standard deviation of the others.")

# %% [markdown]
# The step is the outlier divided by 127. At 60 it is about half a standard deviation of the ordinary values, which is
# coarse. At 600 most ordinary values are rounded to 0: nearly everything that they say is lost.

# %% [markdown]
# ### LLM.int8(): multiply the outliers separately
#
# @dettmers2022int8: channels with |x| ≥ 6 in high precision; the rest in int8, with one scale per token and per output.
# Two inputs: made-up ones (random, two channels multiplied by 40), and real ones, of the layer with the most extreme channel.

# %% tags=["hide-input"]
guess = widgets.predict("On which input does plain int8 err more, measured on the whole output?", options=["the made-up one", "the real one"])

# %%
def llm_int8(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    rest = x.masked_fill(outlier, 0)
    sx, sw = rest.abs().amax(1, keepdim=True) / 127, w.abs().amax(1, keepdim=True) / 127
    whole = (rest / sx).round().int() @ (w / sw).round().int().T  # int32: 8 × 8 bits, summed
    return whole * sx * sw.T + x[:, outlier] @ w[:, outlier].T


made_up = torch.randn(32, W.shape[1], generator=g)
made_up[:, [7, 100]] *= 40
real = model.get_submodule(worst).weight.detach().float().cpu()
plain = []
for inputs, x, w in (("made up", made_up, W), (worst.removeprefix("model."), seen[worst].float(), real)):
    outlier, exact = (x.abs() >= 6).any(0), x @ w.T
    ordinary = x.masked_fill(outlier, 0)  # what the ordinary channels alone bring
    coded = {"plain int8": absmax(x, 1).masked_fill(outlier, 0), "LLM.int8()": absmax(ordinary, 1)}
    for name, threshold in (("plain int8", float("inf")), ("LLM.int8()", 6.0)):
        whole = (llm_int8(x, w, threshold) - exact).norm() / exact.norm()
        plain += [whole] if name == "plain int8" else []
        part = (coded[name] @ absmax(w, 1).T - ordinary @ w.T).norm() / (ordinary @ w.T).norm()
        print(f"{inputs:25} {name}: error {whole:.2%} of the whole output, {part:.2%} of the ordinary channels' part")

# %% tags=["hide-input"]
guess.reveal(
    "the made-up one" if plain[0] > plain[1] else "the real one",
    why="Compare the two lines of plain int8, and then their second percentage: what it counts is said below.",
)

# %% [markdown]
# On the real layer plain int8 looks good in the first percentage. The outlier makes up most of the output's norm, and its
# activation is the largest of its row, which gets a code without error. The second percentage is of the *ordinary* channels alone:
# there the loss shows. Computed separately, the outliers cost a few columns of 16-bit arithmetic. In the lab you measure what
# matters in the end: the loss of the whole model, with and without the separation.

# %% [markdown]
# ## Four bits: put the levels where the weights are
#
# Sixteen levels are few. Weights look like a bell curve: few are large, most are small. **Where would you put the levels?**
# *NF4* [@dettmers2023qlora]: at quantiles of the normal distribution, with an exact zero.

# %%
def nf4_levels(offset=0.9677083):
    """8 positive levels, 7 negative ones and zero, from normal quantiles; scaled to [-1, 1]."""
    quantile = torch.distributions.Normal(0, 1).icdf
    positive = quantile(torch.linspace(offset, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -quantile(torch.linspace(offset, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat([positive, negative, torch.zeros(1)]).sort().values
    return (levels / levels.max()).float()


from bitsandbytes.functional import get_4bit_type

NF4 = nf4_levels()
print(f"largest difference to bitsandbytes' table: {(NF4 - get_4bit_type('nf4', device='cpu')).abs().max():.1e}")

# %% tags=["hide-input"]
blocks = W.reshape(-1, 64)
relative = (blocks / blocks.abs().amax(1, keepdim=True)).flatten()
fig, ax = plt.subplots()
ax.hist(relative, bins=120, density=True, color="lightgrey")
ax.vlines(NF4, 0, 0.9, color=plots.COLORS[1], linewidth=2, label="NF4")
ax.vlines(torch.linspace(-1, 1, 15), -0.25, -0.02, color=plots.COLORS[2], linestyle="--", linewidth=2, label="int4, evenly spaced (15 levels)")
ax.set(title="Weights divided by their block's largest, and the levels of two formats", xlabel="weight / largest magnitude of its block of 64", ylabel="density", ylim=(-0.3, 1.5))
ax.legend()
plt.show()


def nf4(x, block=64):
    """There and back again."""
    blocks = x.reshape(-1, block)
    top = blocks.abs().amax(1, keepdim=True).clamp(min=1e-12)
    levels = NF4.to(x.device)
    nearest = torch.bucketize(blocks / top, (levels[1:] + levels[:-1]) / 2)
    return (levels[nearest] * top).reshape(x.shape)


used = torch.bucketize(relative, (NF4[1:] + NF4[:-1]) / 2).bincount(minlength=16) / len(relative)
print(f"share of the weights on each NF4 level: {used.min():.1%} to {used.max():.1%}")

# %% [markdown]
# The levels are *not* used equally often, as quantiles of the normal distribution would be: each weight was first divided by the
# largest of its block, and the largest itself always lands on an end [@yoshida2023nf4]. Is NF4 better than even spacing? That
# needs a fair opponent: absmax has fifteen levels (-7 to 7), NF4 sixteen. So the table of "Four-bit formats, side by side"
# gives the bits of each format.
#
# With a float32 scale for every 64 weights, NF4 costs 4.5 bits per weight; QLoRA quantizes the scales too (*double
# quantization*, 双重量化) and saves 0.37 of that half bit [@dettmers2023qlora].

# %% [markdown]
# ### Drag a weight
#
# The first 64 weights of the row that we quantized by hand. They are MiniLM's, which were never quantized before: the course
# model's weights come in four bits already, and a second rounding would not show what the first one cost. **Try:** make one of them
# ten times larger. How many codes of the others change with one scale for all, and how many with a scale for each 16? Does NF4 help?

# %%
interactives.quantization(W[0, :64])

# %% [markdown]
# ### Four-bit formats, side by side
#
# *FP4* (E2M1) has the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6. *MXFP4* [@rouhani2023microscaling]: blocks of 32, whose scale is a
# power of two (8 bits). *NVFP4* [@nvidia2025pretraining]: blocks of 16, whose scale is an E4M3 number.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Five formats take 4.5 bits per weight. Which of the five has the least noise, in the mean over six layers?",
    options=["int4, 15 levels, blocks of 64", "NF4, 16 levels, blocks of 64", "min to max, 16 levels, blocks of 128",
             "NVFP4, blocks of 16", "int4, 15 levels, blocks of 16, E4M3 scales", "the best two are within 0.1 dB"],
)

# %%
FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
FP4 = torch.cat([-FP4.flip(0), FP4])


def nearest(x, levels):
    levels = levels.to(x.device)
    return levels[torch.bucketize(x, (levels[1:] + levels[:-1]) / 2)]


def e4m3(scales):
    """The blocks' scales in 8 bits; one float32 scale for the matrix brings them into the range of E4M3."""
    whole = scales.max() / 448
    return (scales / whole).to(torch.float8_e4m3fn).float().clamp(min=2**-9) * whole


def fp4(x, block, power_of_two=False):
    blocks = x.reshape(-1, block)
    top = blocks.abs().amax(1, keepdim=True).clamp(min=1e-12)
    scale = 2.0 ** (top.log2().floor() - 2) if power_of_two else e4m3(top / 6)
    return (nearest(blocks / scale, FP4) * scale).reshape(x.shape)

# %%
def int4_e4m3(x, block=16):
    """Evenly spaced like int4, with NVFP4's blocks and scales."""
    blocks = x.reshape(-1, block)
    scale = e4m3(blocks.abs().amax(1, keepdim=True).clamp(min=1e-12) / 7)
    return ((blocks / scale).round().clamp(-7, 7) * scale).reshape(x.shape)


def min_max(x, block):
    """Sixteen evenly spaced levels from each block's smallest to its largest value."""
    blocks = x.reshape(-1, block)
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    step = ((high - low) / 15).clamp(min=1e-12)
    return (((blocks - low) / step).round() * step + low).reshape(x.shape)

# %% tags=["subslide"]
FORMATS = {
    "int4, 15 levels, blocks of 64": (lambda w: absmax(w.reshape(-1, 64), 1, bits=4).reshape(w.shape), 4 + 32 / 64),
    "NF4, 16 levels, blocks of 64": (nf4, 4 + 32 / 64),
    "min to max, 16 levels, blocks of 64": (lambda w: min_max(w, 64), 4 + 64 / 64),
    "min to max, 16 levels, blocks of 128": (lambda w: min_max(w, 128), 4 + 64 / 128),
    "MXFP4, blocks of 32": (lambda w: fp4(w, 32, power_of_two=True), 4 + 8 / 32),
    "NVFP4, blocks of 16": (lambda w: fp4(w, 16), 4 + 8 / 16),
    "int4, 15 levels, blocks of 16, E4M3 scales": (int4_e4m3, 4 + 8 / 16),
}
LAYERS = {f"{i} {part}": encoder.get_submodule(f"encoder.layer.{i}.{part}").weight.detach().cpu()
          for i in (0, 3) for part in ("attention.self.query", "intermediate.dense", "output.dense")}
noise = pd.DataFrame({name: {"bits per weight": bits} | {layer: sqnr(w, back(w)) for layer, w in LAYERS.items()}
                      for name, (back, bits) in FORMATS.items()}).T
noise.round(2)

# %% tags=["hide-input"]
equal_bits = noise[noise["bits per weight"] == 4.5].drop(columns="bits per weight")
means = equal_bits.mean(axis=1).sort_values(ascending=False)
guess.reveal(
    means.index[0] if means.iloc[0] - means.iloc[1] > 0.1 else "the best two are within 0.1 dB",
    why=f"{means.index[0]}: {means.iloc[0]:.2f} dB; {means.index[1]}: {means.iloc[1]:.2f} dB; the next {means.iloc[2]:.2f} dB.",
)

# %% [markdown]
# Decibels for six matrices of MiniLM: more is better, and a bit is worth 6 dB. Compare only formats with the same bits per
# weight, and two rows that differ in one thing only. The same blocks of 64: NF4 with sixteen levels is ahead of int4 with
# fifteen. The same small blocks and E4M3 scales: NVFP4's levels and int4's, in the last two rows. So what helps NVFP4 is not its
# levels but its scale of 8 bits, which makes small blocks cheap. A power of two as scale (MXFP4) is cheap in hardware, and
# coarse. Less noise in the weights is not yet a better model: see "Look at the data".

# %% [markdown]
# ## An honest look at our own model

# %% tags=["hide-input"]
guess = widgets.predict("How many different values are there at most among 32 neighbouring float32 weights of the course model?", tolerance=0)

# %% tags=["nbval-check-output"]
V = model.model.layers[3].mlp.up_proj.weight.detach().float().cpu()  # the course model's
for name, matrix in (("MiniLM", W), ("course model", V)):
    counts = [len(block.unique()) for block in matrix.reshape(-1, 32)[:3000]]
    print(f"{name:12}: {min(counts)} to {max(counts)} different values in a block of 32")

# %% tags=["hide-input"]
guess.reveal(max(counts), why="Its float32 file was decoded from 4 bits, which have sixteen levels.")

# %% [markdown]
# The course model came in a *Q4_1* file: blocks of 32 weights with a scale, a minimum and sixteen levels (4 bits per weight, plus
# the two numbers). Its "fp32" is that file decoded to float32, not the original. So a loss that we measure on it is **in
# addition** to the first one, we do not know the first one, and a format with the same blocks and levels loses nothing:

# %%
for name, approximation in (("NF4, blocks of 64", nf4(V)), ("16 levels from minimum to maximum, blocks of 32", min_max(V, 32))):
    print(f"{name:48} {sqnr(V, approximation):6.1f} dB")

# %% [markdown]
# This is why the quality tables of this lecture are of MiniLM.

# %% [markdown]
# ## Look at the data: which weights matter?
#
# Rounding to nearest looks at the weights only. But an error in a weight counts as much as its *input* is large. *Calibration*
# (校准): record a layer's inputs on a few texts. We keep 1 % of the input channels in float32, either at random or those with the largest
# inputs.

# %% tags=["hide-input"]
guess = widgets.predict(
    "How much of the error of the layer's output is gone when the 1 % of channels with the *largest inputs* are kept?", unit="%", tolerance=0.3
)

# %%
def inputs_of(names, texts):
    """name → (tokens, channels): what goes into these layers of the encoder."""
    got, batch = {}, encode(texts, return_tensors="pt", padding=True).to(encoder.device)
    hooks = [encoder.get_submodule(n).register_forward_pre_hook(lambda module, inputs, n=n: got.update({n: inputs[0]})) for n in names]
    with torch.inference_mode():
        encoder(**batch)
    for hook in hooks:
        hook.remove()
    return {n: x[batch["attention_mask"].bool()].cpu() for n, x in got.items()}


LAYER = "encoder.layer.3.intermediate.dense"
few = lab.budget(full=64, quick=16)
seen_x, new_x = (inputs_of([LAYER], part)[LAYER] for part in (sentences[:few], sentences[few : 2 * few]))  # to calibrate; to judge

# %%
def rtn(w, bits=4, block=64):
    """Round to nearest, a scale per block."""
    return absmax(w.reshape(-1, block), 1, bits).reshape(w.shape)


def output_error(approximation):
    return float((new_x @ (approximation - W).T).norm() / (new_x @ W.T).norm())


def kept(channels):
    approximation = rtn(W)
    approximation[:, channels] = W[:, channels]
    return output_error(approximation)


size = seen_x.abs().mean(0)
few_channels = round(0.01 * W.shape[1])
by_chance = [kept(torch.randperm(W.shape[1], generator=g)[:few_channels]) for _ in range(5)]
by_size, without = kept(size.topk(few_channels).indices), output_error(rtn(W))
share, bits = few_channels / W.shape[1], 4 + 32 / 64
more = (1 - share) * bits + share * 32
print("error of the layer's output on new texts, and bits per weight")
print(f"round to nearest: {without:.2%}, {bits:.2f} bits; with blocks of 32: {output_error(rtn(W, block=32)):.2%}, {4 + 32 / 32:.2f} bits")
print(f"{few_channels} of {W.shape[1]} channels kept, random: {min(by_chance):.2%} to {max(by_chance):.2%} (five choices), {more:.2f} bits")
print(f"{few_channels} of {W.shape[1]} channels kept, largest inputs: {by_size:.2%}, {more:.2f} bits")

# %% tags=["hide-input"]
guess.reveal(100 * (1 - by_size / without), why=f"Random ones remove {100 * (1 - np.mean(by_chance) / without):.1f} %: an error counts as much as its input is large.")

# %% [markdown] tags=["subslide"]
# ### AWQ: scale instead of keeping
#
# Random channels hardly help; those with the largest inputs, the *salient* (显著) ones, do. But the kept channels cost bits (see
# the lines; smaller blocks cost some, too), and a matrix of two precisions is awkward. *AWQ* [@lin2024awq]: multiply a
# salient channel's weights by $s > 1$ before rounding and divide its inputs by $s$: its relative error shrinks, at the bits of round-to-nearest.
# $s = \text{mean}|x|^\alpha$, with $\alpha$ chosen by trying.

# %%
def awq(w, x, bits=4):
    best = None
    for alpha in torch.linspace(0, 1, 11):
        s = x.abs().mean(0).clamp(min=1e-4) ** alpha
        s = s / (s.max() * s.min()).sqrt()
        approximation = rtn(w * s, bits) / s  # the division must go into what computes x
        error = (x @ (approximation - w).T).norm()
        if best is None or error < best[0]:
            best = (error, float(alpha), approximation)
    return best[1:]


alpha, scaled = awq(W, seen_x)
print(f"AWQ: alpha {alpha:.2f}, error {output_error(scaled):.2%}, {bits:.2f} bits (round to nearest {output_error(rtn(W)):.2%}, {bits:.2f} bits)")

# %% [markdown]
# ### GPTQ: let the later columns repair the error
#
# *GPTQ* [@frantar2023gptq]: round one column, then change the columns that are still to come so that the layer's **output** is
# right again. How much each must change follows from the inputs' second moments $H = X^\top X$.

# %%
def gptq(w, x, bits=4, block=64):
    top = 2 ** (bits - 1) - 1
    scales = w.reshape(len(w), -1, block).abs().amax(2) / top
    h = x.T @ x
    h += 0.01 * h.diagonal().mean() * torch.eye(len(h))  # so that it can be inverted
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    columns, done = w.T.contiguous(), torch.zeros(w.T.shape)  # a copy; in this order memory is read in one go
    for j, column in enumerate(columns):
        step = scales[:, j // block]
        done[j] = (column / step).round().clamp(-top, top) * step
        columns[j + 1 :] -= u[j, j + 1 :, None] * (column - done[j]) / u[j, j]
    return done.T


for name, approximation in (("round to nearest", rtn(W)), ("AWQ", scaled), ("GPTQ", gptq(W, seen_x))):
    weight_error = float((approximation - W).norm() / W.norm())
    print(f"{name:16} {bits:.2f} bits, error of the weights {weight_error:.1%}, of the output on new texts {output_error(approximation):.2%}")

# %% [markdown]
# All three have the same bits per weight. GPTQ's weights are *farther* from the original than those of round-to-nearest, and its
# output is nearer: the errors of different columns cancel on inputs like these. So never judge a calibrated method by its weights
# alone, and judge it on texts that it was not calibrated on.

# %% [markdown]
# ### SmoothQuant: the same trick for activations
#
# To calculate in int8 (*W8A8*: weights and activations in 8 bits), outlier channels of the **activations** hurt. *SmoothQuant*
# [@xiao2023smoothquant] divides channel $j$ of the inputs by $s_j = \max|x_j|^{0.5} / \max|w_j|^{0.5}$ and multiplies the weights
# by it: the product is the same, and the inputs are flatter. (Where the norm stands *before* the sublayer, as in a Llama, the
# division goes into the norm's weights and costs nothing. MiniLM has its norm after the sum, and the sum reads its result, too: there
# the division would be extra work. We only compute what it does to the error.)

# %%
def w8a8(x, w):
    """Both in int8: a scale per token and per output."""
    return absmax(x, 1) @ absmax(w, 1).T


smooth = (seen_x.abs().amax(0) / W.abs().amax(0)).sqrt()
exact = new_x @ W.T
for name, result in (("W8A8", w8a8(new_x, W)), ("W8A8, SmoothQuant", w8a8(new_x / smooth, W * smooth)), ("weights only", new_x @ absmax(W, 1).T)):
    print(f"{name:18} error of the output {(result - exact).norm() / exact.norm():.2%}")

# %% [markdown]
# ## During or after training?
#
# - *After* training: *post-training quantization*, PTQ (训练后量化; some slides: 推理时量化). Round what there is.
# - *During* training: *quantization-aware training*, QAT (量化感知训练; some slides: 训练时量化). Round in the forward pass, so that
#   training can react. But the gradient of rounding is zero almost everywhere. The *straight-through estimator*
#   [@bengio2013estimating] passes the gradient on as if there were no rounding.

# %%
def fake_quantize(w, bits, dim):
    """Quantized in the forward pass, transparent in the backward pass."""
    return w + (absmax(w, dim, bits) - w).detach()


class Classifier(nn.Module):
    """bits: of the weights, None for float32. dim: None for one scale per matrix, 1 for one per row."""

    def __init__(self, bits=None, dim=None):
        super().__init__()
        self.bits, self.dim, self.inner, self.outer = bits, dim, nn.Linear(576, 64), nn.Linear(64, 1)

    def forward(self, x):
        for layer in (self.inner, self.outer):
            w = layer.weight if self.bits is None else fake_quantize(layer.weight, self.bits, self.dim)
            x = F.linear(x, w, layer.bias) if layer is self.outer else F.relu(F.linear(x, w, layer.bias))
        return x.squeeze(1)

# %% [markdown] tags=["notes"]
# The task: is a movie sentence positive? Input: the mean of the course model's own token embeddings, 576 numbers per
# sentence. A small problem on purpose: we want several seeds, intervals and an answer within seconds. With five seeds a
# t interval is 2.78 standard errors, not 1.96. The interval of the difference is of pairs: both start from the same weights.
# Six comparisons: one interval in twenty misses by chance, so a lone result at the edge of 0 is no proof.

# %%
reviews = data.movie_sentences().shuffle(seed=1).select(range(lab.budget(full=6000, quick=400)))
embed = model.model.embed_tokens.weight.detach().cpu()  # the classifier is small: it is made and trained on the CPU
ids = tokenizer(list(reviews["text"]))["input_ids"]
X = torch.stack([embed[torch.tensor(i)].mean(0) for i in ids])
X, y = (X - X.mean(0)) / X.std(0), (torch.tensor(reviews["score"]) > 0).float()
split = len(X) * 3 // 4


def train(net, epochs, lr, seed):
    g, optimizer = torch.Generator().manual_seed(seed), torch.optim.Adam(net.parameters(), lr=lr, weight_decay=1e-4)
    for _ in range(epochs):
        for batch in torch.randperm(split, generator=g).split(128):
            loss = F.binary_cross_entropy_with_logits(net(X[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def accuracy(net):
    with torch.inference_mode():
        return float(((net(X[split:]) > 0) == (y[split:] > 0.5)).float().mean())

# %%
GRID = [(bits, scale) for bits in (4, 3, 2) for scale in ("matrix", "row")]


def trained_on(net, start, seed):
    """Two more epochs, from the weights of `start`."""
    net.load_state_dict(start.state_dict())
    train(net, epochs=2, lr=5e-4, seed=seed + 100)
    return net


results = []
for seed in tqdm(range(lab.budget(full=5, quick=2)), leave=False):
    torch.manual_seed(seed)
    base = Classifier()
    train(base, epochs=4, lr=1e-3, seed=seed)
    longer = trained_on(Classifier(), base, seed)  # as long in float32: these weights are what PTQ rounds
    results.append({"how": "float32", "bits": 32, "scale": "none", "accuracy": accuracy(longer)})
    for bits, scale in GRID:
        shape = bits, {"matrix": None, "row": 1}[scale]
        rounded = Classifier(*shape)
        rounded.load_state_dict(longer.state_dict())
        for how, net in (("PTQ", rounded), ("QAT", trained_on(Classifier(*shape), base, seed))):
            results.append({"how": how, "bits": bits, "scale": scale, "accuracy": accuracy(net)})
outcome = pd.DataFrame(results).groupby(["how", "bits", "scale"])["accuracy"].agg(list)

# %% tags=["hide-input"]
fig, ax = plt.subplots()
for i, (how, scale) in enumerate((how, scale) for scale in ("matrix", "row") for how in ("PTQ", "QAT")):
    for bits in (4, 3, 2):
        values = outcome[how, bits, scale]
        place = np.full(len(values), bits + (i - 1.5) * 0.1)
        label = f"{how}, a scale per {scale}" if bits == 4 else None
        ax.plot(place, values, plots.MARKERS[i], color=plots.COLORS[i], fillstyle="none", label=label)
        ax.plot(place[:1], np.mean(values), "_", color=plots.COLORS[i], markersize=22, markeredgewidth=2)
base = np.mean(outcome["float32", 32, "none"])
ax.axhline(base, color="grey", linewidth=1)
ax.text(2.4, base, "float32", va="bottom")
ax.set(title="Rounding after training, or during it (a point per seed, a line for their mean)", xlabel="bits per weight", ylabel="test accuracy", xticks=[2, 3, 4])
ax.legend(loc="lower right")
plt.show()
print("QAT minus PTQ in points of accuracy, with the same scales, over the same seeds [95 % t interval]:")
for bits, scale in GRID:
    gain, low, high = (100 * value for value in scoring.paired(outcome["QAT", bits, scale], outcome["PTQ", bits, scale]))
    said = "QAT is better" if low > 0 else "PTQ is better" if high < 0 else "we cannot tell at this size"
    print(f"{bits} bits, a scale per {scale:6}: {gain:+.1f} [{low:+.1f}, {high:+.1f}], {said}")

# %% [markdown]
# At 2 bits three levels are left (-1, 0, 1). Read the last lines: an interval without 0 says that the two differ. Both use the
# *same* scales there, so that only the training differs; then compare the two kinds of scales in the figure. (With six
# comparisons, do not trust an interval that ends at 0.) For LLMs retraining is expensive: hence PTQ that looks at the data (above),
# or a frozen 4-bit model with small trained adapters (QLoRA, chapter 11).

# %% [markdown]
# ## Loading in 8 bits with today's API
#
# Many older pages load a classifier with `load_in_8bit=` and `torch_dtype=`.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What does today's transformers do with `from_pretrained(folder, load_in_8bit=True)`?",
    options=["loads in 8 bits", "warns, and loads in 8 bits", "warns, and loads in full precision", "raises an error"],
)

# %%
from transformers import BitsAndBytesConfig, LlamaForSequenceClassification

folder = weights.path("course")
try:
    LlamaForSequenceClassification.from_pretrained(folder, load_in_8bit=True, device_map="auto")
    outcome = "loads in 8 bits"
except TypeError as error:
    outcome = "raises an error"
    print(f"TypeError: {error}")

# %% tags=["hide-input"]
guess.reveal(outcome, why="The argument is gone: the model's own class gets it, and does not know it.")

# %% [markdown]
# `load_in_8bit=` is no argument of `from_pretrained` any more (hence the TypeError), and `torch_dtype=` is now called
# `dtype=`. The settings moved into a configuration object:

# %%
config = BitsAndBytesConfig(load_in_8bit=True)  # goes into from_pretrained(…, quantization_config=config)
classifier, _ = load_model("course", task="sequence-classification", precision="int8")  # checks the hardware first
assert classifier.config.quantization_config.to_dict() == config.to_dict()
print(type(classifier).__name__, "·", type(classifier.model.layers[0].mlp.up_proj).__name__, "·", classifier.score.weight.dtype)
print(f"{classifier.get_memory_footprint() / 1e6:.0f} MB, planned {hardware.plan('course', 'int8', compute_dtype='fp32', task='sequence-classification').weights / 1e6:.0f} MB")
del classifier

# %% [markdown]
# `load_model(…, precision="int8")` first asks whether the model fits, then passes on exactly this `BitsAndBytesConfig`.
# Linear layers become `Linear8bitLt`; the new classification head stays in full precision, because it must still be
# trained.

# %% [markdown]
# ## What does it cost?
#
# A whole model, never quantized before: MiniLM finds for each question the sentence that answers it, among sentences of
# Wikipedia. All linear layers are rounded; embeddings and norms stay in float32. Three measures: how far the sentence vectors
# move (1 − cosine to fp32's), for how many questions the right sentence is first, and for how many questions *another* sentence
# is first than with fp32. Every format answers the same questions, so we compare in pairs.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Can a format have as many right answers as fp32 (within two in a hundred), and another first answer for every tenth question?",
    options=["yes", "no"],
)

# %% tags=["hide-input"]
asked = tables.load("retrieval_questions").dropna(subset=["sentence"])[: lab.budget(full=200, quick=6)]
docs = list(dict.fromkeys([*asked["sentence"], *tables.load("knowledge_base")["sentence"]]))[: lab.budget(full=260, quick=8)]
truth = [docs.index(sentence) for sentence in asked["sentence"]]
texts = [*docs, *asked["question"]]
DEPTH = tuple(f"encoder.layer.{i}." for i in range(lab.budget(full=encoder.config.num_hidden_layers, quick=1)))
LINEAR = {name: module for name, module in encoder.named_modules() if isinstance(module, nn.Linear) and name.startswith(DEPTH)}
ORIGINAL = {name: module.weight.detach().cpu().clone() for name, module in LINEAR.items()}


@torch.inference_mode()
def vectors(activation_bits=None):
    """Unit vectors of all texts; activations rounded, too, if asked for."""
    hooks = [m.register_forward_pre_hook(lambda module, args: (absmax(args[0], -1, activation_bits),)) for m in LINEAR.values() if activation_bits]
    out, order = torch.zeros(len(texts), encoder.config.hidden_size), np.argsort([len(text) for text in texts])
    for chosen in np.array_split(order, max(1, len(order) // 48)):
        batch = encode([texts[i] for i in chosen], return_tensors="pt", padding=True, truncation=True, max_length=lab.budget(full=64, quick=16)).to(encoder.device)
        states, mask = encoder(**batch).last_hidden_state, batch["attention_mask"][..., None]
        out[torch.as_tensor(chosen)] = F.normalize((states * mask).sum(1), dim=1).cpu()
    for hook in hooks:
        hook.remove()
    return out


def set_weights(approximate):
    for name, module in LINEAR.items():
        module.weight.data = approximate(ORIGINAL[name], name).to(module.weight.device)

# %% [markdown] tags=["subslide"]
# ### Measured

# %%
def fp8(w):
    """E4M3, whose largest number is 448, with a scale per row."""
    scale = w.abs().amax(1, keepdim=True).clamp(min=1e-12) / 448
    return (w / scale).to(torch.float8_e4m3fn).float() * scale


PLANS = {  # name → weights, bits per weight, bits of the activations
    "fp32": (lambda w, name: w, 32, None),
    "int8, a scale per row": (lambda w, name: absmax(w, 1), 8, None),
    "FP8 E4M3, a scale per row": (lambda w, name: fp8(w), 8, None),
    "W8A8": (lambda w, name: absmax(w, 1), 8, 8),
    "int4, blocks of 64": (lambda w, name: rtn(w), 4.5, None),
    "NF4, blocks of 64": (lambda w, name: nf4(w), 4.5, None),
    "NVFP4, blocks of 16": (lambda w, name: fp4(w, 16), 4.5, None),
    "int4, AWQ": (lambda w, name: awq(w, CALIBRATION[name])[1], 4.5, None),
    "int4, GPTQ": (lambda w, name: gptq(w, CALIBRATION[name]), 4.5, None),
    "int3, blocks of 64": (lambda w, name: rtn(w, bits=3), 3.5, None),
}
CALIBRATION = {name: x[: lab.budget(full=1000, quick=300)] for name, x in inputs_of(LINEAR, sentences[:few]).items()}

# %% tags=["hide-input"]
rows, base, first = {}, None, {}
for name, (approximate, bits, activation_bits) in tqdm(PLANS.items(), leave=False):
    set_weights(approximate)
    v = vectors(activation_bits)
    base = v if base is None else base
    first[name] = (v[len(docs) :] @ v[: len(docs)].T).argmax(1).numpy()  # the sentence that each question finds first
    hits, fp32 = (first[which] == np.array(truth) for which in (name, "fp32"))
    right, more = scoring.proportion(hits.sum(), len(truth)), scoring.paired(hits.astype(float), fp32.astype(float))
    other = scoring.proportion((first[name] != first["fp32"]).sum(), len(truth))
    between = f" [{100 * more[1]:+.1f}, {100 * more[2]:+.1f}]" if (hits != fp32).any() else ""  # no spread: a t interval would be empty
    rows[name] = {"MB": f"{sum(w.numel() for w in ORIGINAL.values()) * bits / 8e6:.0f}", "1 − cosine": f"{1 - (v * base).sum(1).mean():.4f}",
                  "right": f"{right[0]:.0%} [{right[1]:.0%}, {right[2]:.0%}]",
                  "minus fp32, points": "" if name == "fp32" else f"{100 * more[0]:+.1f}{between}",
                  "other answer than fp32": "" if name == "fp32" else f"{other[0]:.0%} [{other[1]:.0%}, {other[2]:.0%}]"}
set_weights(lambda w, name: w)
pd.DataFrame(rows).T

# %% tags=["hide-input"]
right = {name: (found == np.array(truth)).mean() for name, found in first.items()}
moved = {name: (found != first["fp32"]).mean() for name, found in first.items()}
alike = max((name for name in first if abs(right[name] - right["fp32"]) <= 0.02), key=moved.get)
guess.reveal(
    "yes" if moved[alike] >= 0.1 else "no",
    why=f"{alike}: {right[alike]:.0%} right, fp32 {right['fp32']:.0%}; {moved[alike]:.0%} of the first answers are others.",
)

# %% [markdown]
# - The baseline of every row is the float32 file as it was trained. MB: of the linear layers, from the bits per weight.
# - Compare the rows with 4.5 bits per weight: which of them moves the vectors least?
# - No interval after "minus fp32" means that every question kept its result; that does not prove that none ever changes: see the
#   interval of the last column (Wilson). Where the interval of "minus fp32" contains 0, this many questions cannot tell the format from fp32. One interval in twenty
#   misses by chance: with nine comparisons, do not build on one that only just excludes 0 (such as "int4 is worse, int3 is not").
# - *Equal accuracy is not an equal model*: some answers become wrong, others become right, and the two cancel. Compare the last two
#   columns for int3. @dutta2024accuracy count such changes (*flips*) and find many in LLMs whose accuracy looks untouched.
# - MiniLM has 22.7 million parameters and is an encoder. For LLMs, @dettmers2023case study models from 19M to 176B and find 4
#   bits almost always the best use of a fixed number of total bits.

# %% [markdown]
# ### The same rounding, two languages
#
# Does int4 cost the same in Chinese? Ten sentences and their translations, read by the course model. The baseline, "fp32", is
# already a decoded Q4_1 file: what we see comes **in addition** to that first rounding.

# %% tags=["hide-input"]
TEN = {
    "Chinese": ["把大模型变小：模型量化。", "今天下午我们去图书馆看书。", "北京是中国的首都。", "她每天早上喝一杯热茶。", "这条河很长，流入大海。",
                "昨天晚上下了一场大雨。", "老师让学生写一篇短文。", "火车八点从上海出发。", "孩子们在公园里放风筝。", "这本书讲的是一个医生的故事。"],
    "English": ["Make a large model small: quantization.", "This afternoon we go to the library to read.", "Beijing is the capital of China.",
                "She drinks a cup of hot tea every morning.", "This river is long and flows into the sea.", "Last night there was heavy rain.",
                "The teacher asks the students to write a short text.", "The train leaves Shanghai at eight.", "The children fly kites in the park.",
                "This book tells the story of a doctor."],
}  # fmt: skip
TEN = {language: texts[: lab.budget(full=10, quick=2)] for language, texts in TEN.items()}

# %%
def per_character(texts):
    return np.array([nll / len(text) for nll, text in zip(scoring.nll(model, tokenizer, texts, progress=False)["nll"], texts, strict=True)])


fp32_nll = {language: per_character(texts) for language, texts in TEN.items()}
whole = {m: m.weight.data for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "lm_head"}
for module, w in whole.items():
    module.weight.data = rtn(w)
for language, texts in TEN.items():
    more = scoring.paired(per_character(texts), fp32_nll[language])
    print(f"{language}: fp32 {fp32_nll[language].mean():.2f} nats per character; int4 minus fp32, paired {more[0]:+.2f} [{more[1]:+.2f}, {more[2]:+.2f}]")
for module, w in whole.items():
    module.weight.data = w

# %% [markdown]
# Do not compare the two fp32 numbers: a Chinese character carries more than a letter. Compare each increase with its own fp32, and
# ask whether its interval excludes 0. A loss that is small in the language of a test can be large in another one, so measure in the
# language that you need. (Ten short sentences and one model that read little Chinese: *why* the losses differ was not measured.)

# %% [markdown]
# ## Why is int8 slow here? The roofline
#
# A processor reads so many bytes per second and does so many operations per second. A product with few operations per byte
# waits for memory, one with many for the arithmetic (*roofline*, 屋顶线模型, @williams2009roofline). Generating one token for one
# user multiplies matrices by a **single** vector: two operations per weight read.

# %% tags=["hide-input"]
import time


def best_time(run, tries=5):
    seconds = []
    for _ in range(lab.budget(full=tries, quick=2)):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


side = lab.budget(full=2048, quick=512)
big, many = torch.randn(side, side, generator=g), lab.budget(full=(1, 4, 16, 64, 256), quick=(1, 8))
codes, steps = (big / (big.abs().amax(1, keepdim=True) / 127)).round().to(torch.int8), big.abs().amax(1, keepdim=True) / 127
batches = {n: torch.randn(n, side, generator=g) for n in (*many, 512)}
speeds = {n: 2 * n * side**2 / best_time(lambda x=x: x @ big.T) / 1e9 for n, x in batches.items()}
points, peak = {n: speeds[n] for n in many}, max(speeds.values())
bandwidth = 4 * side**2 / best_time(lambda: big.sum()) / 1e9
intensity = np.logspace(-1, 3, 50)
fig, ax = plt.subplots(figsize=(9, 4.2))
ax.loglog(intensity, np.minimum(intensity * bandwidth, peak), marker="", color="black", label="roof: memory, then arithmetic")
for i, (n, speed) in enumerate(points.items()):
    at = 2 * n * side**2 / (4 * side**2 + 8 * n * side)
    ax.plot(at, speed, plots.MARKERS[1], color=plots.COLORS[1], label="measured products" if i == 0 else None)
    ax.annotate(f"{n}", (at, speed), xytext=(6, -12), textcoords="offset points", fontsize=11)
ax.set(title="Float32 products on this machine (labels: vectors at once)", xlabel="operations per byte", ylabel="billion operations per second")
ax.legend()
plt.show()
one = batches[1]
as_float, as_int8 = best_time(lambda: one @ big.T), best_time(lambda: one @ (codes.float() * steps).T)
print(f"one vector: float32 {1000 * as_float:.2f} ms; int8 codes turned into floats first {1000 * as_int8:.2f} ms ({as_int8 / as_float:.1f} times)")

# %% [markdown]
# With one vector the machine waits for memory (a small matrix: for the cache), so a quarter of the bytes *could* be four times as
# fast. It is so only where a
# kernel reads the codes and multiplies them in one go (GPUs: Marlin, CUTLASS; CPUs: llama.cpp). Here PyTorch first writes the
# floats to memory and reads them again: more bytes, not fewer. With many vectors at once arithmetic is the limit, and then only
# int8 or FP8 *arithmetic* (W8A8 on tensor cores) helps. The labels are one run on one machine.

# %% [markdown]
# ## The KV cache can be quantized, too
#
# With long texts, or many users at once, the cache (chapter 9) can become larger than the weights. It is rounded while it grows: a
# scale per *token* is easy, one per *channel* needs some tokens at once. Here both have a scale for every 64 numbers: those of one
# token in a head, or those of one channel in 64 neighbouring tokens.

# %% tags=["hide-input"]
guess = widgets.predict("For which does it matter more whether the scale is per token or per channel?", options=["keys", "values"])

# %%
passage = " ".join(docs[: lab.budget(full=12, quick=4)])
with torch.inference_mode():
    cache = model(**tokenizer(passage, return_tensors="pt").to(model.device), use_cache=True).past_key_values
gap, size = {}, model.config.head_dim
for part in ("keys", "values"):
    line, means = [], []
    groups = [getattr(layer, part)[0].float() for layer in cache.layers]  # (heads, tokens, channels)
    groups = [t[:, : t.shape[1] // size * size].unflatten(1, (-1, size)) for t in groups]  # whole groups of tokens: square blocks
    for dim, what in ((-1, "a scale per token"), (-2, "a scale per channel")):
        errors = [float((absmax(t, dim, bits=4) - t).norm() / t.norm()) for t in groups]
        means.append(np.mean(errors))
        line.append(f"{what} {means[-1]:.1%}")
    gap[part] = abs(means[0] - means[1])
    print(f"{part:6} in 4 bits, mean relative error over the layers: {', '.join(line)}")

# %% tags=["hide-input"]
guess.reveal(max(gap, key=gap.get), why=f"Between the two the error differs by {gap['keys']:.1%} for keys and by {gap['values']:.1%} for values.")

# %% [markdown]
# @liu2024kivi: keys have a few large channels, so a scale per channel suits them; values have none. They use that to store keys by
# channel and values by token in 2 bits. Compare it with the printed errors.
#
# These keys and values are of the course model, whose *weights* came out of a 4-bit file; the cache itself was never rounded. So
# the errors compare the two kinds of scales on this model's cache. They do not show what a 4-bit cache costs in quality: that
# needs a loss, and a model that nobody quantized before (as in "What does it cost?" for the weights).

# %% [markdown]
# ## Will it fit? The GPU check
#
# Before it reads a byte, `load_model` compares a plan with what is there.

# %% tags=["hide-input"]
parts = {"weights": "lightgrey", "scales": "black", "kv_cache": plots.COLORS[6], "activations": plots.COLORS[2]}
plans = {p: hardware.plan("llama-2-7b", p, context=4096) for p in hardware.PRECISIONS}
fig, ax = plt.subplots()
bottom = np.zeros(len(plans))
for (part, color), hatch in zip(parts.items(), plots.HATCHES, strict=False):
    height = np.array([getattr(plan, part) / 1e9 for plan in plans.values()])
    ax.bar(list(plans), height, bottom=bottom, color=color, hatch=hatch, edgecolor="black", label=part.replace("_", " "))
    bottom += height
for gpu in tables.load("gpus").drop_duplicates("memory_gb").itertuples():
    if gpu.memory_gb <= 24:
        ax.axhline(gpu.memory_gb, linestyle="--", color="grey", linewidth=1)
        ax.text(4.45, gpu.memory_gb + 0.3, gpu.name, ha="right")
ax.set(title="Llama 2 7B, one conversation of 4096 tokens", xlabel="precision", ylabel="GB")
ax.legend()
plt.show()

# %%
try:
    hardware.check(hardware.plan("llama-2-7b", "fp32"), device="cpu", here=hardware.Hardware(cpu="a laptop", cores=4, ram_free=14_000_000_000, bitsandbytes="0.50.2"))
except hardware.InsufficientHardwareError as error:
    print(error)

# %% [markdown]
# ## Explore
#
# Choose a layer, a scheme, bits and a block size.

# %% tags=["hide-input"]
guess = widgets.predict("Absmax in 5 bits in place of 4, block by block: the rms error becomes about…", options=["nine tenths", "a half", "a quarter"])

# %% tags=["hide-input"]
layers = {f"MiniLM {name}": w for name, w in LAYERS.items()} | {"course model, layer 3 up_proj": V}


def draw(layer, scheme, bits, block):
    w = layers[layer]
    blocks = w.reshape(-1, block)
    if scheme == "absmax":
        back, kept = absmax(blocks, 1, bits=bits), bits + 32 / block
    elif scheme == "zero point":
        low, step = blocks.amin(1, keepdim=True), ((blocks.amax(1, keepdim=True) - blocks.amin(1, keepdim=True)) / (2**bits - 1)).clamp(min=1e-12)
        back, kept = ((blocks - low) / step).round() * step + low, bits + 64 / block
    else:
        back, kept = nf4(blocks, block), 4 + 32 / block
    fig, (left, right) = plt.subplots(1, 2)
    left.hist(w.flatten(), bins=100, color="lightgrey", edgecolor="grey")
    left.vlines(back[0].unique(), 0, left.get_ylim()[1] / 4, color=plots.COLORS[1], linewidth=1)
    left.set(title="weights, and one block's levels", xlabel="value", ylabel="count")
    right.hist((back - blocks).flatten(), bins=100, color=plots.COLORS[2])
    rmse = (back - blocks).square().mean().sqrt()
    right.set(title=f"error: rms {rmse:.5f}, {sqnr(blocks, back):.1f} dB", xlabel="dequantized − weight", ylabel="count")
    print(f"{kept:.2f} bits per weight: this layer {w.numel() * 4 / 1e6:.2f} MB → {w.numel() * kept / 8e6:.2f} MB")


widgets.explorer(
    draw, layer=list(layers), scheme=["absmax", "zero point", "NF4 (always 4 bits)"], bits=(2, 8, 1), block=[64, 16, 32, 128, 192],
    start={"bits": 4}, grid={"layer": [*list(layers)[:1], list(layers)[-1]], "bits": [2, 4, 8], "block": [16, 64]},
)

# %% tags=["hide-input"]
blocks = next(iter(layers.values())).reshape(-1, 64)
four, five = ((absmax(blocks, 1, bits=bits) - blocks).square().mean().sqrt() for bits in (4, 5))
ratio = float(five / four)
guess.reveal(
    "nine tenths" if ratio > 0.7 else "a half" if ratio > 0.35 else "a quarter",
    why=f"From {four:.5f} to {five:.5f}: {ratio:.2f} of it. There are 15 codes on each side in place of 7, so each step is 7/15 as wide.",
)

# %% [markdown]
# ## Summary
#
# - Quantization stores weights, activations or both in fewer bits. It is lossy; the scale decides how lossy.
# - Absmax: one scale, codes from -127 to 127. Finer scales (row, block) buy precision for a fraction of a bit.
# - Activations have outlier channels. LLM.int8() multiplies them separately.
# - With 4 bits there are sixteen levels. NF4 puts them at quantiles of the normal distribution.
# - Rounding after training is cheap. Training with rounding can recover more, but costs a training.
# - Look at the inputs: keep, scale (AWQ, SmoothQuant) or repair (GPTQ) what meets large ones. Judge outputs, not weights.
# - A quality table needs its baseline, pairs and intervals, and a model that nobody quantized before. Equal accuracy can hide many
#   changed answers.
# - Fewer bits save memory at once. They save time only with kernels that read the codes.
# - Today's API is `BitsAndBytesConfig`; ask whether it fits *before* loading.

# %% [markdown]
# ## Quiz
#
# Eight questions on the whole lecture. Nothing is graded or stored, and each choice is explained.

# %% tags=["hide-input"]
widgets.quiz([
    dict(
        question="The largest magnitude of a row is 0.254. Which int8 code does absmax give to the weight 0.1?",
        answer=round(0.1 / (0.254 / 127)), tolerance=0, why="The scale is 0.254 / 127 = 0.002, and 0.1 / 0.002 is a whole number.",
    ),
    dict(
        question="One weight of a row of 4,096 is fifty times as large as the next. What does int4 with one absmax scale for the row do to the others?",
        options={
            "Each gets its own error of at most half a step, as before: nothing changes.": "Half a step is still the bound, but the step is now fifty times larger.",
            "All of them become 0.": "Right: the step is a seventh of the outlier, which is seven times the next largest weight, and less than half a step is rounded to 0.",
            "They overflow, and are cut off at code 7.": "Absmax never overflows: the largest magnitude itself gets code 7.",
            "They get finer steps, as most codes are theirs now.": "It is the other way round: the outlier stretches the steps for all.",
        },
        answer="All of them become 0.",
    ),
    dict(
        question="All weights of a model with 13 billion parameters are stored in 4 bits, with a 16-bit scale for every 32 of them. How much is that?",
        answer=13e9 * (4 + 16 / 32) / 8 / 1e9, unit="GB", tolerance=0.03, why="4 bits and 16 / 32 bits of scale for each weight, eight bits to a byte.",
    ),
    dict(
        question="A format of evenly spaced levels gets one bit more. By how many decibels does its signal-to-noise ratio rise?",
        answer=20 * np.log10(2), unit="dB", tolerance=0.1, why="Twice as many levels halve the step and with it the error; decibels are 20 times the logarithm of that ratio.",
    ),
    dict(
        question="Why does LLM.int8() keep a few *channels of the activations* in 16 bits, and not a few weights?",
        options={
            "Activations are needed more often than weights.": "Each product needs one of both. How often something is read says nothing about its error.",
            "A few channels set the scale of a whole row.": "Right: the step of every other channel follows from them. Computed apart, they no longer do.",
            "The weights cannot be quantized.": "They are, with a scale for each output.",
            "Large activations do not fit into an int8 number.": "The scale makes them fit. What is lost is the precision of the small ones.",
        },
        answer="A few channels set the scale of a whole row.",
    ),
    dict(
        question="GPTQ's weights are farther from the original than those of round-to-nearest, but its layer's output is nearer. How can that be?",
        options={
            "It uses more bits per weight.": "Both have 4 bits per code, and the same scales.",
            "It trained the layer again.": "There was no gradient step: each column is rounded once, in order.",
            "The later columns are changed so that, on inputs like those it saw, errors cancel.": "Right, and so it has to be judged on other texts than those.",
            "An output is a sum over many weights, so their errors average out anyway.": "Then round-to-nearest would be as good: it sums over as many.",
        },
        answer="The later columns are changed so that, on inputs like those it saw, errors cancel.",
    ),
    dict(
        question="A quantized model and the original both answer 160 of 200 questions correctly. What do you know?",
        options={
            "They give the same answers.": "Flips in both directions cancel in a count. Count changed answers, too.",
            "Quantization cost nothing.": "200 questions leave an interval of several points, and accuracy is only one measure.",
            "The quantized model is better, as it is smaller.": "Smaller it is. Whether it is as good elsewhere was not measured.",
            "They may still disagree on many questions.": "Right: they are equally often right on these. Compare in pairs, question by question.",
        },
        answer="They may still disagree on many questions.",
    ),
    dict(
        question="You store the weights in int8 and turn them into floats before each product. One user generates text. Why is it no faster?",
        options={
            "More bytes move than before, not fewer.": "Right: codes are read, floats are written, and read again. It takes a kernel that reads the codes and multiplies in one go.",
            "The arithmetic of floats is the limit.": "Not with one vector at a time: then the machine waits for memory.",
            "Int8 codes have to be sent to the disk first.": "They stay in memory, a quarter the size of float32.",
            "The scales are as large as the weights.": "A scale for each row is one number for hundreds of codes.",
        },
        answer="More bytes move than before, not fewer.",
    ),
])

# %% [markdown]
# ## Further reading
#
# - [@jacob2018quantization]
# - [@bengio2013estimating]
# - [@dettmers2022int8]
# - [@dettmers2023qlora]
# - [@micikevicius2022fp8]

# %% [markdown]
# ### Further reading, continued
#
# - [@frantar2023gptq]
# - [@xiao2023smoothquant]
# - [@lin2024awq]
# - [@dettmers2023case]
# - [@dutta2024accuracy]
# - [@sun2024massive]
# - [@benallal2025smollm2]
# - [@wang2020minilm]
# - [@yoshida2023nf4]
# - [@rouhani2023microscaling]
# - [@nvidia2025pretraining]
# - [@williams2009roofline]
# - [@liu2024kivi]
