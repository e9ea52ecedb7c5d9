# %% [markdown]
# # 10 · Quantization
#
# **Making a large model small, part one** (把大模型变小：模型量化)
#
# A 7-billion-parameter model in float32 does not fit the GPU that Colab lends you. The same model in 4 bits fits a laptop.
# What is lost on the way, and why does it work at all?
#
# After this lecture you can say what *quantization* (量化) changes, compute an int8 code by hand, explain why outliers
# break the simple rule and how LLM.int8() and NF4 answer, and load a model in 8 bits in today's API.

# %% [markdown] tags=["notes"]
# 60–75 minutes with the demos. Every number on these slides is computed in the cell beside it; run the notebook before
# class (about a minute on a laptop). The explorer near the end is worth ten minutes of the audience's guesses.
# Two conventions: the slide multiplies by 127 / absmax and calls that 缩放因子; lecture and lab call absmax / 127 the
# scale, as PyTorch and bitsandbytes do. Say both once. The slide's call with `load_in_8bit=` and `torch_dtype=` is shown
# near the end, with what today's library answers.

# %% tags=["skip"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from course_utils import data, hardware, lab, load_model, plots, scoring, tables, weights, widgets

lab.start("10_quantization")

# %% [markdown]
# ## Why: the parameters fill the memory
#
# **Predict** and write down: how many GB does a 7B model need, at 32, 16, 8 and 4 bits per parameter?

# %% tags=["nbval-check-output"]
for precision in hardware.PRECISIONS:
    plan = hardware.plan("llama-2-7b", precision, context=2048)
    total = (plan.weights + plan.scales + plan.kv_cache) / 1e9
    print(f"{precision}: weights {(plan.weights + plan.scales) / 1e9:5.1f} GB, with the cache of 2048 tokens {total:5.1f} GB")

# %% [markdown]
# Compare: the model has 6.7 billion parameters, so 32 bits need four bytes each, 16 bits two. The last two rows are
# larger than 6.7 and 3.4 GB because the scales are stored too, and because embedding and output head stay in 16 bits.
#
# **Quantization** turns parameters or activations from high into low precision. The aim: less memory and cheaper
# arithmetic, with (almost) the same answers.
#
# - *What* is quantized: weights (参数), activations (激活值), or both
# - *To how many bits* (位数): fewer bits, smaller range, coarser steps
# - *When*: during training (训练时量化) or afterwards (推理时量化)

# %% [markdown]
# ## What is in a format?
#
# An integer of *b* bits has 2^b evenly spaced values. A float spends its bits on a sign, an exponent (range) and a
# mantissa (precision).

# %% tags=["nbval-check-output"]
def float_row(name, dtype, exponent, mantissa):
    info = torch.finfo(dtype)
    return {"format": name, "bits": info.bits, "sign+exponent+mantissa": f"1+{exponent}+{mantissa}", "largest": f"{info.max:.4g}",
            "smallest normal": f"{info.tiny:.3g}", "step at 1": f"2^-{mantissa}"}


rows = [{"format": f"int{b}", "bits": b, "sign+exponent+mantissa": "–", "largest": f"{2 ** (b - 1) - 1}", "smallest normal": "1", "step at 1": "1"} for b in (4, 8)]
rows += [float_row("fp8 E4M3", torch.float8_e4m3fn, 4, 3), float_row("fp8 E5M2", torch.float8_e5m2, 5, 2), float_row("bf16", torch.bfloat16, 8, 7)]
rows += [float_row("fp16", torch.float16, 5, 10), float_row("fp32", torch.float32, 8, 23)]
print(pd.DataFrame(rows).to_string(index=False))

# %% [markdown]
# int4 runs from -8 to 7 and int8 from -128 to 127. bf16 has fp32's range with 8 bits of precision; fp16 has more
# precision and overflows above 65504. Of the two 8-bit floats [@micikevicius2022fp8], E4M3 is recommended for weights
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
#
# **Predict** and write down: for which of these formats does the *relative* error stay the same over all magnitudes from
# 0.00001 to 1000?

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

# %% [markdown]
# Only bf16 does. A float keeps its relative error only among its *normal* numbers. Below the smallest normal number (in
# the table: 6.1e-05 for fp16 and E5M2, but 0.0156 for E4M3) the steps get no smaller, so the relative error grows until
# everything is rounded to 0. int8 has the same absolute step everywhere: it is better than both 8-bit floats near its
# largest value, and worse than E5M2 below a few hundredths of it. **The scale decides which values are coded well.**

# %% [markdown]
# ## int8 by absmax, step by step
#
# *Absolute-maximum quantization* (最大绝对值量化), on six weights of a real model:

# %%
model, tokenizer = load_model("course", precision="fp32")
W = model.model.layers[3].mlp.up_proj.weight.detach().float().cpu()
x = W[0, :6]

scale = x.abs().max() / 127  # the largest magnitude becomes code 127
codes = (x / scale).round().to(torch.int8)
back = codes * scale
pd.DataFrame({"weight": x, "weight / scale": x / scale, "code": codes, "dequantized": back, "error": back - x}).round(4)

# %% [markdown]
# - It is noisy and it loses information: *lossy compression* (有损压缩).
# - No error is larger than half a step, scale / 2.
# - One number, the scale, must be kept beside the codes. In this course the *scale* (缩放因子) is absmax / 127, and we
#   divide by it, as PyTorch and bitsandbytes do. Some texts call its reciprocal, 127 / absmax, the scale factor and
#   multiply by it. The codes are the same.
#
# **Predict** and write down: which codes would the other five get if the largest weight were a hundred times larger?

# %% [markdown]
# ### One scale for how many weights?
#
# The answer: all five would get the code 0. The step would be a hundred times larger too, about 0.5, and half a step is
# then more than any of them. So: the same rule with one scale for the whole matrix, for each row, or for each block.

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
    print(f"a scale for each {name:11}  {8 + extra:5.2f} bits a weight  {sqnr(W, approximation):5.1f} dB")

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
sentences = list(data.movie_sentences().shuffle(seed=0)["text"])
largest, handles = {}, []
for name, module in model.named_modules():
    if isinstance(module, nn.Linear) and name != "lm_head":
        def hook(module, inputs, name=name):
            largest[name] = inputs[0].abs().amax(dim=(0, 1)).cpu()  # by channel, over sentences and tokens
        handles.append(module.register_forward_pre_hook(hook))
with torch.inference_mode():
    model(**tokenizer(sentences[: lab.budget(full=8, quick=2)], return_tensors="pt", padding=True).to(model.device))
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
# parameters on. Ours has 135M: large channels, but no evidence here that they hurt. The recorded inputs include those at
# padding tokens.

# %% [markdown]
# ### One outlier in a row
#
# Absmax gives a row of activations one scale. The ordinary values are random, with a standard deviation of 1. **Predict**
# and write down the relative error of the ordinary values when one channel is 60.

# %% tags=["nbval-check-output"]
g = torch.Generator().manual_seed(0)
row = torch.randn(576, generator=g)
for outlier in (0, 6, 60, 600):
    with_outlier = row.clone()
    with_outlier[7] = outlier or row[7]
    rest = torch.arange(576) != 7
    error = (absmax(with_outlier) - with_outlier)[rest].norm() / row[rest].norm()
    print(f"outlier {outlier:4}: error of the other 575 channels {error:.0%}")

# %% [markdown]
# The step is the outlier divided by 127. At 60 it is about half a standard deviation of the ordinary values, which is
# coarse. At 600 most ordinary values are rounded to 0, so that nearly all of them is lost.
#

# %% [markdown]
# ### LLM.int8(): multiply the outliers separately
#
# @dettmers2022int8: channels with |x| ≥ 6 in high precision; the rest in int8, with one scale per token and per output.
# The outliers in this demo are made up: two channels of random activations, multiplied by 40.

# %%
def llm_int8(x, w, threshold=6.0):
    outlier = (x.abs() >= threshold).any(dim=0)
    rest = x.masked_fill(outlier, 0)
    sx, sw = rest.abs().amax(1, keepdim=True) / 127, w.abs().amax(1, keepdim=True) / 127
    whole = (rest / sx).round().int() @ (w / sw).round().int().T  # int32: 8 × 8 bits, summed
    return whole * sx * sw.T + x[:, outlier] @ w[:, outlier].T


x = torch.randn(32, 576, generator=g)
x[:, [7, 100]] *= 40
exact = x @ W.T
for name, threshold in (("plain int8", float("inf")), ("LLM.int8()", 6.0)):
    print(f"{name:11} relative error {(llm_int8(x, W, threshold) - exact).norm() / exact.norm():.2%}")

# %% [markdown]
# Here two channels out of 576 cost the plain product most of its precision, because every row gets a coarse step. Computed
# separately, they cost two columns of 16-bit arithmetic. In the lab you write this with care, compare it with bitsandbytes,
# and meet a caution: on this model's real activations plain int8 does far better than on these made-up ones, and we have no
# result that shows LLM.int8() to be needed at 135M parameters.

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
ax.vlines(torch.linspace(-1, 1, 15), -0.25, -0.02, color=plots.COLORS[2], linestyle="--", linewidth=2, label="int4, evenly spaced")
ax.set(title="Weights divided by their block's largest, and sixteen levels for them", xlabel="weight / largest magnitude of its block of 64", ylabel="density", ylim=(-0.3, 1.5))
ax.legend()
plt.show()


def nf4(x, block=64):
    """There and back again."""
    blocks = x.reshape(-1, block)
    top = blocks.abs().amax(1, keepdim=True).clamp(min=1e-12)
    nearest = torch.bucketize(blocks / top, (NF4[1:] + NF4[:-1]) / 2)
    return (NF4[nearest] * top).reshape(x.shape)


print(f"int4 absmax {sqnr(W, absmax(W.reshape(-1, 64), 1, bits=4).reshape(W.shape)):.1f} dB, NF4 {sqnr(W, nf4(W)):.1f} dB, both in blocks of 64")

# %% [markdown]
# NF4 has less noise here, but the comparison is not fair, so the places of the levels need not be the reason: the evenly
# spaced grid has only fifteen levels (-7 to 7), NF4 has sixteen, and this matrix was quantized once before (next slide).
# @dettmers2023qlora report a lower perplexity for NF4 than for int4, over models of four families.
#
# With a float32 scale for every 64 weights, NF4 costs 4.5 bits per weight; QLoRA quantizes the scales too (*double
# quantization*, 双重量化) and saves 0.37 of that half bit [@dettmers2023qlora].

# %% [markdown]
# ## An honest look at our own model
#
# **Predict** and write down: how many different values do you expect among 32 neighbouring float32 weights of a trained
# model?

# %% tags=["nbval-check-output"]
for name in ("up_proj", "down_proj"):
    neighbours = getattr(model.model.layers[3].mlp, name).weight.detach().cpu().reshape(-1, 32)
    counts = [len(block.unique()) for block in neighbours[:3000]]
    print(f"{name:9}: at most {max(counts)} different values in a block of 32")

# %% [markdown]
# In a model trained in float32 nearly all 32 would differ. This model came in a *Q4_1* file: blocks of 32 weights with a
# scale, a minimum and sixteen levels (4 bits per weight, plus the two numbers). Our "fp32" model is that file decoded to
# float32, not the original. So every loss that we measure in this lecture is **in addition** to the first one, we do not
# know the first one, and a format with the same blocks and levels loses nothing:

# %%
def four_bits_with_minimum(x, block=32):
    """Sixteen evenly spaced levels from each block's smallest to its largest value."""
    blocks = x.reshape(-1, block)
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    step = ((high - low) / 15).clamp(min=1e-12)
    return (((blocks - low) / step).round() * step + low).reshape(x.shape)


for name, approximation in (("NF4, blocks of 64", nf4(W)), ("16 levels from minimum to maximum, blocks of 32", four_bits_with_minimum(W))):
    print(f"{name:48} {sqnr(W, approximation):6.1f} dB")

# %% [markdown]
# ## During or after training?
#
# *After* training (PTQ, 推理时量化): round what there is. *During* training (QAT, 训练时量化): round in the forward pass, so
# that training can react. But rounding has gradient zero; the *straight-through estimator* [@bengio2013estimating] passes
# the gradient as if it were not there.

# %%
def fake_quantize(w, bits):
    """Quantized in the forward pass, transparent in the backward pass."""
    return w + (absmax(w, bits=bits) - w).detach()


class Classifier(nn.Module):
    def __init__(self, bits=None):
        super().__init__()
        self.bits, self.inner, self.outer = bits, nn.Linear(576, 64), nn.Linear(64, 1)

    def forward(self, x):
        for layer in (self.inner, self.outer):
            w = layer.weight if self.bits is None else fake_quantize(layer.weight, self.bits)
            x = F.linear(x, w, layer.bias) if layer is self.outer else F.relu(F.linear(x, w, layer.bias))
        return x.squeeze(1)

# %% [markdown] tags=["notes"]
# The task: is a movie sentence positive? Input: the mean of the course model's own token embeddings, 576 numbers per
# sentence. A small problem on purpose: we want several seeds, error bars and an answer within seconds. The bars in the figure
# are 1.96 standard errors; with five seeds a t interval is 1.4 times as wide (2.78 standard errors).

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
results = []
for seed in tqdm(range(lab.budget(full=5, quick=2)), leave=False):
    torch.manual_seed(seed)
    base = Classifier()
    train(base, epochs=4, lr=1e-3, seed=seed)
    for bits in (None, 4, 3, 2):  # None: two more epochs in float32, the fair comparison; its weights are what PTQ rounds
        net = Classifier(bits)
        net.load_state_dict(base.state_dict())
        train(net, epochs=2, lr=5e-4, seed=seed + 100)
        if bits is None:
            longer = net
        else:
            rounded = Classifier(bits)
            rounded.load_state_dict(longer.state_dict())
            results.append({"bits": bits, "how": "after training (PTQ)", "accuracy": accuracy(rounded)})
        results.append({"bits": bits or 32, "how": "during training (QAT)" if bits else "float32", "accuracy": accuracy(net)})
outcome = pd.DataFrame(results).groupby(["how", "bits"])["accuracy"].agg(["mean", "std", "count"])

# %% tags=["hide-input"]
fig, ax = plt.subplots()
for i, how in enumerate(("after training (PTQ)", "during training (QAT)")):
    part = outcome.loc[how]
    half = 1.96 * part["std"] / part["count"] ** 0.5
    ax.errorbar(part.index + (i - 0.5) * 0.06, part["mean"], yerr=half, capsize=5, fmt=plots.MARKERS[i] + ["-", "--"][i], label=how)
base = outcome.loc["float32", "mean"].iloc[0]
ax.axhline(base, color="grey", linewidth=1)
ax.text(2.0, base, "float32", va="bottom")
ax.set(title="Rounding afterwards, or learning to be round (95 % interval over seeds)", xlabel="bits a weight", ylabel="test accuracy", xticks=[2, 3, 4])
ax.legend(loc="lower right")
plt.show()
for bits in (4, 3, 2):
    gain = outcome.loc[("during training (QAT)", bits), "mean"] - outcome.loc[("after training (PTQ)", bits), "mean"]
    print(f"{bits} bits: QAT − PTQ = {gain * 100:+.1f} points")

# %% [markdown]
# At 2 bits three levels are left (-1, 0, 1). There the mean of the training that knows about the rounding is higher; at 3
# and 4 bits we cannot tell at this size. Three cautions. The printed differences have no interval. The bars use the factor 1.96; for five seeds it should be 2.78, so
# read them as 1.4 times as long. And the opponent is the simplest PTQ there is: rounding with *one* scale per matrix. PTQ as
# people use it (a scale per row, and methods that look at the data [@frantar2023gptq; @lin2024awq; @xiao2023smoothquant])
# is made to lose less, so this demo shows how QAT works, not how much it gains. For LLMs retraining is expensive: hence PTQ
# with care, or a frozen 4-bit model with small trained adapters (QLoRA, chapter 11).

# %% [markdown]
# ## Loading in 8 bits with today's API
#
# Many older pages load a classifier with `load_in_8bit=` and `torch_dtype=`. **Predict** what today's transformers says.

# %%
from transformers import BitsAndBytesConfig, LlamaForSequenceClassification

folder = weights.path("course")
try:
    LlamaForSequenceClassification.from_pretrained(folder, load_in_8bit=True, device_map="auto")
except TypeError as error:
    print(f"TypeError: {error}")

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
# Memory, *perplexity* (困惑度, the effective number of equally likely next tokens) on real sentences, and speed. Every format
# reads the same sentences, so we compare them in pairs. The baseline "fp32" is the model decoded from the Q4_1 file.

# %%
texts = sentences[100 : 100 + lab.budget(full=64, quick=2)]
rows, scored = [], {}
for precision in tqdm(("fp32", "bf16", "int8", "nf4"), leave=False):
    candidate, _ = load_model("course", precision=precision)
    scoring.nll(candidate, tokenizer, texts[:2], progress=False)  # a GPU loads its kernels when they are first used
    started = pd.Timestamp.now()
    scored[precision] = scoring.nll(candidate, tokenizer, texts, batch_size=16, progress=False)
    seconds = (pd.Timestamp.now() - started).total_seconds()
    rows.append({"format": precision, "MB": candidate.get_memory_footprint() / 1e6, "tokens/s": scored[precision]["tokens"].sum() / seconds})
    del candidate


def ratio(frame):
    """Perplexity as a multiple of fp32's, on the same sentences."""
    return float(np.exp((frame["nll"] - frame["base"]).sum() / frame["tokens"].sum()))


for row in rows:
    paired = scored[row["format"]].assign(base=scored["fp32"]["nll"])
    row["perplexity"] = scoring.perplexity(scored[row["format"]])
    row["× fp32"], row["low"], row["high"] = scoring.bootstrap(paired, ratio, n=lab.budget(full=300, quick=20))
cost = pd.DataFrame(rows).set_index("format")
cost.round(3)

# %% tags=["subslide", "hide-input"]
fig, (left, right) = plt.subplots(1, 2)
left.bar(cost.index, cost["MB"], color="lightgrey", edgecolor="black")
left.set(title="Memory", ylabel="model in memory (MB)", xlabel="format")
y_error = [cost["× fp32"] - cost["low"], cost["high"] - cost["× fp32"]]
right.errorbar(cost.index, cost["× fp32"], yerr=y_error, fmt="o", capsize=5, linestyle="none")
right.axhline(1, color="grey", linewidth=1)
right.set(title="Perplexity, as a multiple of fp32's", ylabel="ratio (95 % interval)", xlabel="format")
plt.show()

# %% [markdown]
# The last three columns are the ratio to fp32 with its 95 % interval. Where the interval contains 1 (at full budget: bf16
# and int8) we cannot tell the format from fp32 at this size. NF4's interval lies clearly above 1. Read that number with
# care:
#
# - The baseline was itself decoded from Q4_1. The ratio says what a *second*, different 4-bit rounding adds to the first.
#   It says little about what NF4 does to original weights.
# - A 135M model has less to spare than a 7B one. @dettmers2023case study models from 19M to 176B and find 4 bits almost
#   always the best use of a fixed number of total bits.
# - The perplexities themselves are high. Single sentences give the model little context, and published perplexities are
#   measured on long texts, so do not compare the two.
# - The speed is one run on one machine. On a CPU, int8 and NF4 save memory; look whether they save time in your table.

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
# Choose a layer, a scheme, bits and a block size. **Before you move a slider, say what the error will do.**

# %%
layers = {f"layer {i} {n}": model.get_submodule(f"model.layers.{i}.{n}").weight.detach().cpu() for i in (0, 11, 29) for n in ("mlp.up_proj", "self_attn.q_proj")}


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
    print(f"{kept:.2f} bits a weight: this layer {w.numel() * 4 / 1e6:.2f} MB → {w.numel() * kept / 8e6:.2f} MB")


widgets.explorer(draw, layer=list(layers), scheme=["absmax", "zero point", "NF4 (always 4 bits)"], bits=(2, 8, 1), block=[64, 16, 32, 192, 576]);

# %% [markdown]
# ## Summary
#
# - Quantization stores weights, activations or both in fewer bits. It is lossy; the scale decides how lossy.
# - Absmax: one scale, codes from -127 to 127. Finer scales (row, block) buy precision for a fraction of a bit.
# - Activations have outlier channels. LLM.int8() multiplies them separately.
# - With 4 bits there are sixteen levels. NF4 puts them at quantiles of the normal distribution.
# - Rounding after training is cheap. Training with rounding can recover more, but costs a training.
# - A quality table needs its baseline: ours was quantized before we met it.
# - Today's API is `BitsAndBytesConfig`; ask whether it fits *before* loading.

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
# - [@sun2024massive]
# - [@benallal2025smollm2]
