# %% [markdown]
# # 09 · The LLaMA family
#
# **Open models, and what is inside one** (开源家族：LLaMA与其后继者)
#
# Until February 2023 most people could use a good language model only as a web service. Then researchers got LLaMA's
# weights, and five weeks later two university teams had trained chatbots from them, for a few hundred dollars each. What was
# in these files? Why this architecture, which many later models use too? And what may one do with the files?
#
# After this lecture you can read a model's configuration and say what it costs, explain *RMSNorm*, *RoPE*, *SwiGLU*, *GQA*
# and the *KV cache*, draw the family from LLaMA to today, and say what a table of benchmarks does not show.

# %% [markdown] tags=["notes"]
# 75 minutes; without "Other families, the same block" 60. The middle part (the block, the cache, grouping) prepares the lab, in which every line of it is written. Let
# the room commit to each prediction. The demo "one model, seven ways to score" is worth five minutes: it offers a hypothesis
# for a puzzle in the slides' tables. The slide gives 63K conversations for Vicuna, calls a LLaMA both 30B and 33B, and has
# "N/A" for Falcon on HumanEval; the lecture gives the papers' figures. In the table of Llama 2 the third column is the
# slide's. Run the notebook before class; it takes a few minutes.

# %% tags=["skip"]
import ast
import re
import time
from pathlib import Path
from string import ascii_uppercase

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import transformers
from IPython.display import display
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from course_utils import data, interactives, lab, load_model, plots, scoring, tables, widgets

lab.start("09_llama_family")

# %% [markdown]
# ## What open weights are good for
#
# With a web service you can ask questions. With a file you can also
#
# - **look inside** (this lecture, the lab), measure and repeat a measurement next year,
# - **change it**: fine-tune (chapters 2, 11), quantize (10), edit (5), align (3),
# - **keep it**: private data stays at home; nobody switches it off.
#
# *Open weights* (开放权重) is not *open source* (开源): data and training code may be missing, and the licence may say no.

# %% [markdown]
# ## Open models, 2019 to 2023
#
# The survey's table of open models [@zhao2023survey], checked against the models' papers. **Sort it.**

# %% tags=["hide-input"]
opened = tables.load("open_models")
COLUMNS = {
    "released": "released", "parameters_billion": "size (billion)", "base_model": "base", "instruction_tuned": "tuned",
    "data_tokens_billion": "tokens (billion)", "data_gb": "GB", "chips": "chips", "chip": "chip", "training_days": "days",
}


def show_models(sort_by, largest_first, only):
    kept = opened[{"all": opened["name"] != "", "trained from scratch": opened["base_model"].isna(),
                   "tuned from another": opened["base_model"].notna()}[only]]
    shown = kept.set_index("name").rename(columns=COLUMNS)[list(COLUMNS.values())]
    shown = shown.sort_values(sort_by, ascending=not largest_first, na_position="last")
    style = shown.style.format("{:g}", subset=list(shown.select_dtypes("number")), na_rep="").format(
        na_rep="", subset=["base", "chip"])
    display(style.set_table_styles([{"selector": "td, th", "props": "padding: 0 8px"}]))


widgets.explorer(
    show_models, sort_by=["size (billion)", "tokens (billion)", "released", "chips", "days"], largest_first=True,
    only=["all", "trained from scratch", "tuned from another"],
)

# %% [markdown]
# T0, Tk-Instruct and Flan-T5 are tuned from T5, mT0 from mT5, BLOOMZ from BLOOM, OPT-IML from OPT. All others were trained
# from scratch. Blank: not published, or not applicable.

# %% [markdown]
# ### The same as a timeline
#
# **Look:** which model was the first of the table to be trained on more than a trillion tokens? (LLaMA. Choose training
# tokens as the height to see it.)

# %% tags=["hide-input"]
def place_labels(ax, points, size=10):
    """Write each name beside its point, at the first of some places where it covers nothing."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in (ax.transData.transform(p) for p in points.values())]
    for name, point in points.items():
        x, y = ax.transData.transform(point)
        width, high = 0.82 * size * len(name), 1.3 * size
        left = -10 - width
        for dx, dy in ((10, 2), (left, 2), (10, -14), (left, -14), (-width / 2, 12), (-width / 2, -25), (14, 18)):
            box = (x + dx, y + dy, x + dx + width, y + dy + high)
            if not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken):
                break
        taken.append(box)
        ax.annotate(name, point, xytext=(dx * 0.72, dy * 0.72), textcoords="offset points", fontsize=size)


def timeline(height, names):
    column = {"parameters (billion)": "parameters_billion", "training tokens (billion)": "data_tokens_billion"}[height]
    shown = opened.dropna(subset=[column]).set_index("name")
    when = pd.to_datetime(shown["released"])
    fig, ax = plt.subplots(figsize=(12, 5))
    for name, base in shown["base_model"].dropna().items():
        if base in shown.index:
            ax.annotate("", (when[name], shown.loc[name, column]), (when[base], shown.loc[base, column]),
                        arrowprops={"arrowstyle": "->", "color": "lightgrey", "connectionstyle": "arc3,rad=-0.12"})
    scratch = shown["base_model"].isna()
    for i, (label, rows) in enumerate((("from scratch", scratch), ("tuned", ~scratch))):
        ax.plot(when[rows], shown[column][rows], "os"[i], color=plots.COLORS[i + 1], markersize=9, label=label)
    ax.set(title=f"Open models by {height.split(' (')[0]}", xlabel="released", ylabel=height, yscale="log")
    ax.set(xlim=(pd.Timestamp("2019-07-01"), pd.Timestamp("2023-09-15")), ylim=(shown[column].min() / 1.5, None))
    ax.legend(loc="upper left")
    if names:
        fig.canvas.draw()  # places are known only now
        dates = when.map(plt.matplotlib.dates.date2num)
        place_labels(ax, {name: (dates[name], shown.loc[name, column]) for name in when.sort_values().index})


widgets.explorer(timeline, height=["parameters (billion)", "training tokens (billion)"], names=True)

# %% [markdown]
# ## LLaMA's bet
#
# @touvron2023llama do not ask which model is best for a given *training* compute budget. They ask which model of a given
# quality is cheapest to *use*. So: smaller models, more text (chapter 4), and only text that is publicly available.

# %% tags=["hide-input"]
mix = tables.load("llama_data_mixture").set_index("name").iloc[::-1]
fig, ax = plt.subplots(figsize=(10, 4.4))
y = np.arange(len(mix))
shares = {"of what is read": mix["sampling_percent"], "of what is on disk": 100 * mix["disk_gb"] / mix["disk_gb"].sum()}
for i, (label, values) in enumerate(shares.items()):
    bars = ax.barh(y + 0.2 - 0.4 * i, values, 0.38, label=label, color="white", edgecolor=plots.COLORS[i],
                   hatch=plots.HATCHES[i + 1])
    ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=10)
ax.set_yticks(y, [f"{n} ({e:.2f} passes)" for n, e in mix["epochs"].items()])
ax.set(title="LLaMA's text", xlabel="per cent", ylabel="source", xlim=(0, 78))
ax.grid(axis="y", visible=False)
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# ### How many bytes does a token hold?
#
# Share × 1.4 trillion tokens ÷ passes = tokens in the source; divide its size on disk by that: bytes per token.

# %% tags=["hide-input"]
guess = widgets.predict("Which of these needs the most tokens for the same number of bytes?", options=["web pages (CommonCrawl)", "books", "code (GitHub)"])

# %%
mix["tokens_billion"] = 1400 * mix["sampling_percent"] / 100 / mix["epochs"]
mix["bytes_per_token"] = mix["disk_gb"] / mix["tokens_billion"]
mix.iloc[::-1][["disk_gb", "tokens_billion", "bytes_per_token", "epochs"]].round(2)

# %% tags=["hide-input"]
held = {source: float(mix["bytes_per_token"][mix.index.str.contains(source)].iloc[0]) for source in ("CommonCrawl", "Books", "GitHub")}
fewest = min(held, key=held.get)
guess.reveal("books" if fewest == "Books" else "code (GitHub)" if fewest == "GitHub" else "web pages (CommonCrawl)",
             why=f"A token of books holds {held['Books']:.2f} bytes, of code {held['GitHub']:.2f}, of web pages {held['CommonCrawl']:.2f}.")

# %% [markdown]
# The table cannot say why. (The counts of tokens are computed from the paper's rounded shares.) Of all sources ArXiv needs
# the most tokens per byte; one likely reason is that LLaMA's tokenizer splits every number into digits. Wikipedia and books are read
# more than twice, and of the code only a part is read.

# %% [markdown]
# ## Four sizes in numbers

# %% tags=["hide-input"]
llamas = tables.load("llama_hyperparameters")
llamas["tokens_per_parameter"] = 1000 * llamas["train_tokens_trillion"] / llamas["parameters_billion"]
fig, axes = plt.subplots(1, 3, figsize=(13, 4.3))
panels = {
    "dimension": ("Width", "numbers per token"), "layers": ("Depth", "layers"),
    "tokens_per_parameter": ("Text", "training tokens per parameter"),
}
for ax, (column, (title, label)) in zip(axes, panels.items(), strict=True):
    for i, (family, part) in enumerate(llamas.groupby(llamas["name"].str.startswith("Llama 2"))):
        ax.plot(part["parameters_billion"], part[column], marker=plots.MARKERS[i], linestyle=plots.LINES[i],
                label="Llama 2" if family else "LLaMA")
    ax.set(title=title, xlabel="parameters (billion)", ylabel=label, xscale="log")
    ax.set_xticks([7, 13, 33, 70], ["7", "13", "33", "70"])
    ax.minorticks_off()
axes[2].axhline(20, color="grey", linestyle=":", marker="")
axes[2].annotate("Chinchilla's 20", (17, 24), color="dimgrey", fontsize=11)
axes[0].legend()
plt.show()

# %% [markdown]
# All heads have 128 numbers. AdamW, batches of 4 million tokens, learning rate $3 \cdot 10^{-4}$ (7B, 13B) or $1.5
# \cdot 10^{-4}$. (One model is called 30B in some texts and 33B in others: it has 32.5 billion parameters.)

# %% [markdown]
# ## What changed since 2017?
#
# The decoder of "Attention is all you need" [@vaswani2017attention] with four changes. None of them was invented by Meta.

# %% tags=["hide-input"]
def block(ax, title, steps):
    ax.set(title=title, xlim=(0, 10), ylim=(0, len(steps) + 0.6))
    ax.axis("off")
    for i, (text, strong) in enumerate(steps):
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": plots.COLORS[1] if strong else "black",
               "linewidth": 2.5 if strong else 1}
        ax.text(5, i + 0.5, text, ha="center", va="center", fontsize=12, bbox=box)
        if i + 1 < len(steps):
            ax.annotate("", (5, i + 1.22), (5, i + 0.78), arrowprops={"arrowstyle": "->"})


fig, axes = plt.subplots(1, 2, figsize=(12, 5))
block(axes[0], "2017: Vaswani et al.", [
    ("token + sine of its position", False), ("attention, every head its own keys and values", False),
    ("+ input, then LayerNorm (mean, variance, bias)", False), ("ReLU network, width 4d, biases", False),
    ("+ input, then LayerNorm", False)])
block(axes[1], "LLaMA", [
    ("token (no position added)", False), ("RMSNorm first", True),
    ("attention; queries and keys turned (RoPE);\nfrom Llama 2 70B on, grouped (GQA)", True),
    ("+ input", False), ("RMSNorm first", True), ("SwiGLU network, width 8/3 d, no biases", True), ("+ input", False)])
plt.show()

# %% [markdown]
# ### One block, with its shapes
#
# The *residual stream* (残差流) runs through all blocks; each sublayer reads it, normalised, and **adds** its result. The shapes
# are the course model's, for a text of $n$ tokens. What leaves a block has the shape of what came in.

# %% tags=["hide-input"]
def draw_block(width, heads, kv_heads, head_dim, hidden, layers):
    fig, ax = plt.subplots(figsize=(12, 5.6))
    ax.annotate("", (1, 10.6), (1, -0.4), arrowprops={"arrowstyle": "-|>", "linewidth": 5, "color": plots.COLORS[1]})
    ax.text(1.2, 10.2, f"stream (n, {width}), to the next of {layers} blocks", fontsize=11)
    steps = [
        (0.1, [("RMSNorm", 2.7), (f"v: (n, {kv_heads}, {head_dim})", 5.3), ("KV cache:\nkeys, values", 10.6)]),
        (1.3, [(f"k: (n, {kv_heads}, {head_dim})", 5.3), ("RoPE", 7.9)]),
        (2.5, [(f"q: (n, {heads}, {head_dim})", 5.3), ("RoPE", 7.9)]),
        (4.0, [(f"o: (n, {heads * head_dim}) → (n, {width})", 3.9), (f"{heads} × softmax(q kᵀ / √{head_dim}) v", 8.6)]),
        (5.6, [("RMSNorm", 3.2), (f"gate, up:\n(n, {width}) → 2 × (n, {hidden})", 6.0), ("SiLU(gate) ⊙ up", 9.2)]),
        (8.2, [(f"down: (n, {hidden}) → (n, {width})", 4.2)]),
    ]
    box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "black"}
    arrow = {"arrowstyle": "->", "color": "black"}
    for y, boxes in steps:
        for text, x in boxes:
            ax.text(x, y, text, ha="center", va="center", fontsize=11, bbox=box)
    for y, xs in ((0.1, (1, 2.0)), (0.1, (3.4, 4.5)), (0.1, (6.1, 9.8)), (1.3, (6.1, 7.5)), (2.5, (6.1, 7.5)), (4.0, (6.9, 5.4)),
                  (5.6, (1, 2.5)), (5.6, (3.9, 4.6)), (5.6, (7.4, 8.2))):
        ax.annotate("", (xs[1], y), (xs[0], y), arrowprops=arrow)
    for start, end in (((3.4, 0.3), (4.5, 1.2)), ((3.2, 0.4), (4.5, 2.4)), ((8.3, 1.2), (9.7, 0.5)), ((7.9, 2.8), (8.2, 3.6)),
                       ((10.5, 0.7), (9.4, 3.6)), ((9.2, 6.1), (5.4, 7.7))):
        ax.annotate("", end, start, arrowprops=arrow)
    for y, x in ((4.0, 2.3), (8.2, 2.6)):
        ax.annotate("", (1.25, y), (x, y), arrowprops=arrow)
        ax.text(1, y, "+", ha="center", va="center", fontsize=16, bbox={"boxstyle": "circle", "facecolor": "white"})
    ax.set(title="One decoder block: two sublayers beside the stream", xlim=(0, 12), ylim=(-0.6, 10.8))
    ax.axis("off")


model, tokenizer = load_model(precision="fp32")
c = model.config
draw_block(c.hidden_size, c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.intermediate_size, c.num_hidden_layers)
plt.show()

# %% [markdown]
# ### RMSNorm
#
# $$\text{RMSNorm}(x) = w \odot x \,/\, \sqrt{\text{mean}(x^2) + \varepsilon}$$
#
# LayerNorm without mean and bias [@zhang2019root]: as good in their runs, 7 to 64 % faster. *Pre-norm* (前置归一化):
# normalise what a sublayer **reads**, never the stream itself.

# %% tags=["hide-input"]
guess = widgets.predict("How many times larger is the stream before the last block than before the first, leaving out the first token?",
                        options=["hardly: less than 3 times", "3 to 30 times", "30 to 1,000 times", "more than 1,000 times"])

# %%
ids = tokenizer("A llama is an animal that lives in the Andes.", return_tensors="pt").to(model.device)["input_ids"]
with torch.inference_mode():
    stream = model(ids, output_hidden_states=True).hidden_states[:-1]
sizes = torch.stack([h[0].pow(2).mean(-1).sqrt() for h in stream])
print("layer 0, 10, 20, 29, first token:", [round(v, 1) for v in sizes[[0, 10, 20, 29], 0].tolist()])
print("layer 0, 10, 20, 29, the others :", [round(v, 1) for v in sizes[[0, 10, 20, 29], 1:].mean(1).tolist()])

# %% tags=["hide-input"]
grew, first_grew = float(sizes[29, 1:].mean() / sizes[0, 1:].mean()), float(sizes[29, 0] / sizes[0, 0])
guess.reveal("hardly: less than 3 times" if grew < 3 else "3 to 30 times" if grew < 30
             else "30 to 1,000 times" if grew < 1000 else "more than 1,000 times", why=f"{grew:,.0f} times; the first token's grows {first_grew:,.0f} times. No norm stands in the stream's own way: only what the sublayers add changes its size.")

# %% [markdown]
# The stream grows by a factor of hundreds, in the first token by a factor of thousands: *massive activations*, on which
# other tokens park their attention [@sun2024massive]. Sublayers read it normalised and do not notice.

# %% [markdown]
# ### SwiGLU
#
# $$W_\text{down}\big(\text{SiLU}(W_\text{gate} x) \odot W_\text{up} x\big)$$
#
# Three matrices instead of two; to keep the number of parameters, the width shrinks from $4d$ to $\frac{2}{3} \cdot 4d$
# [@shazeer2020glu], in LLaMA rounded up to a multiple of 256. Why does it work? Shazeer: "We offer no explanation […]; we
# attribute their success, as all else, to divine benevolence."

# %%
for row in llamas.drop_duplicates("dimension").itertuples():
    exact = 8 * row.dimension / 3
    rounded = 256 * int(np.ceil(exact / 256))
    print(f"{row.name:<12} d = {row.dimension}: 8/3 d = {exact:8.1f} → {rounded}; in the file {row.intermediate}")

# %% [markdown]
# (Llama 2 70B saves in its keys and values, and puts 1.3 times as much here.)

# %% [markdown]
# ### RoPE: position as an angle
#
# Turn queries and keys: pair $i$ of a head by $p \cdot \theta^{-2i/d}$ at position $p$ [@su2021roformer]. Then
#
# $$\langle R_p\, q,\; R_s\, k \rangle = \langle q,\; R_{s-p}\, k \rangle$$
#
# only the *distance* counts, nothing is learnt, and nothing is added to the stream.

# %%
def turn(x, p, theta=10_000.0):
    d = len(x)
    angle = p * theta ** (-torch.arange(0, d, 2) / d)
    a, b = x[: d // 2], x[d // 2 :]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()])


q, k = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
for p, s in ((3, 1), (103, 101), (1003, 1001), (1003, 1000)):
    print(f"query at {p:>4}, key at {s:>4}: score {float(turn(q, p) @ turn(k, s)):.4f}")

# %% [markdown]
# ### How far does it reach?
#
# A query and a key that are *equal*: how high is their score at distance $\Delta$? The base $\theta$ sets the slowest
# clock. LLaMA: 10,000. Course model: 100,000. Llama 3: 500,000, for longer texts [@grattafiori2024llama].

# %% tags=["hide-input"]
def reach(log10_theta, head_size):
    distance = np.arange(0, 8193)
    angles = distance[:, None] * (10.0**log10_theta) ** (-np.arange(0, head_size, 2) / head_size)
    fig, ax = plt.subplots(figsize=(10, 4))
    ax.plot(distance + 1, np.cos(angles).mean(1), marker="", linewidth=1)
    slowest = 2 * np.pi * (10.0**log10_theta) ** (1 - 2 / head_size)
    ax.set(title=f"theta = {10**log10_theta:,.0f}: the slowest pair needs {slowest:,.0f} tokens for one turn",
           xlabel="distance + 1 (tokens)", ylabel="score (1 at distance 0)", xscale="log", ylim=(-0.4, 1.05))


widgets.explorer(
    reach, log10_theta=(2.0, 5.7, 0.1), head_size=[128, 64, 16], start={"log10_theta": 5.0, "head_size": 64},
    grid={"log10_theta": [2.0, 3.0, 4.0, 5.0, 5.7]},
)

# %% [markdown]
# ## The KV cache
#
# To write the next token, attention needs the keys and values of *all* earlier tokens, and they never change: a token does
# not see what comes after it. So keep them (*KV cache*, 键值缓存).

# %% tags=["hide-input"]
guess = widgets.predict("How many times faster does the model write 40 tokens?",
                        options=["less than 5 times", "5 to 20 times", "about 40 times, one for each token"])

# %%
seconds = {}
model.generate(ids, max_new_tokens=2, do_sample=False, pad_token_id=tokenizer.pad_token_id)  # the first call is slower
for cached in (True, False):
    began = time.perf_counter()
    out = model.generate(ids, max_new_tokens=lab.budget(full=40, quick=2), do_sample=False, use_cache=cached,
                         pad_token_id=tokenizer.pad_token_id)
    seconds[cached] = time.perf_counter() - began
print(tokenizer.decode(out[0]))
print(f"with {seconds[True]:.1f} s, without {seconds[False]:.1f} s: {seconds[False] / seconds[True]:.1f} times")

# %% tags=["hide-input"]
ratio = seconds[False] / seconds[True]
guess.reveal("less than 5 times" if ratio < 5 else "5 to 20 times" if ratio < 20 else "about 40 times, one for each token",
             why=f"{ratio:.1f} times, on this machine and for a text this short.")

# %% [markdown]
# The ratio is far below 40. One likely reason is that each step must still read all the parameters from memory. And 40
# tokens are short: the longer the text, the more the cache saves (the lab measures it).

# %% [markdown]
# ### The cache, step by step
#
# A row is a token that asks, a column a token that is asked. With the cache a step computes one row; without it, all of them.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(13, 4.2), sharey=True)
words = ["A", "llama", "is", "an", "animal", "that", "lives"]
first_new = [0, 4, 5, 6]  # the prompt has four tokens
for ax, new, known in zip(axes, first_new, (4, 5, 6, 7), strict=True):
    for row in range(known):
        for column in range(row + 1):
            now = row >= new
            ax.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="white" if now else "lightgrey",
                                       edgecolor="black", hatch="//" if now else "", linewidth=0.8))
    for column in range(known):  # the strip below: keys and values
        fresh = column >= new
        ax.add_patch(plt.Rectangle((column - 0.5, 7.3), 1, 0.8, facecolor="white" if fresh else plots.COLORS[6],
                                   edgecolor="black", hatch="//" if fresh else ""))
    ax.set(title=f'read "{words[new]}"' if new else "read the prompt", xlim=(-0.6, 6.6), ylim=(8.3, -0.7))
    ax.set_xticks(range(7), words, rotation=45, ha="right")
    ax.set_yticks([*range(7), 7.7], [*words, "keys, values"])
    ax.grid(visible=False)
    ax.set(xlabel="key")
axes[0].set(ylabel="query")
fig.suptitle("Hatched: computed in this step. Grey: computed earlier, not needed again. Blue: kept in the cache", fontsize=11)
plt.show()

# %% [markdown]
# ### What it costs
#
# A key and a value (2) × layers × kv heads × head size × tokens × texts × bytes per number.

# %% tags=["hide-input"]
def cache_memory(model, tokens, texts, kv_heads):
    row = llamas.set_index("name").loc[model]
    heads = {"as published": row["kv_heads"], "one for each query head": row["heads"], "one": 1}[kv_heads]
    cache = 2 * row["layers"] * heads * row["dimension"] / row["heads"] * tokens * texts * 2 / 1e9
    weights = row["parameters_billion"] * 2
    fig, ax = plt.subplots(figsize=(10, 3.6))
    ax.barh([0], [weights], color="white", edgecolor=plots.COLORS[0], hatch=plots.HATCHES[1],
            label=f"weights {weights:.0f} GB")
    ax.barh([0], [cache], left=[weights], color="white", edgecolor=plots.COLORS[1], hatch=plots.HATCHES[3],
            label=f"KV cache {cache:.1f} GB")
    for i, gpu in enumerate(tables.load("gpus").query("memory_gb in (16, 80)").drop_duplicates("memory_gb").itertuples()):
        ax.axvline(gpu.memory_gb, color="grey", linestyle=plots.LINES[i + 1], marker="")
        ax.annotate(gpu.name, (gpu.memory_gb, 0.5), xytext=(3, 0), textcoords="offset points", color="dimgrey", fontsize=11)
    ax.set(title=f"{model}, {texts} texts of {tokens} tokens, 16 bits, {int(heads)} key-value heads")
    ax.set(xlabel="GB", ylabel="memory", ylim=(-1.2, 0.7))
    ax.set_yticks([])
    ax.legend(loc="lower left", ncols=2, frameon=True)


widgets.explorer(
    cache_memory, model=list(llamas["name"]), tokens=[4096, 2048, 1024, 512], texts=(1, 64, 1),
    kv_heads=["as published", "one for each query head", "one"],
    start={"model": "Llama 2 70B", "texts": 16, "kv_heads": "one for each query head"},
    grid={"model": ["Llama 2 7B", "Llama 2 70B"], "tokens": [4096, 1024], "texts": [1, 16, 64]},
)

# %% [markdown]
# ## Grouped-query attention
#
# Let several query heads share a key and a value. One group: multi-query [@shazeer2019fast]. As many groups as heads: the
# ordinary kind. In between: *GQA* (分组查询注意力, @ainslie2023gqa).

# %% tags=["hide-input"]
kinds = {"Multi-head: 9 groups": 9, "Grouped: 3 (course model)": 3, "Multi-query: 1": 1}
fig, axes = plt.subplots(1, 3, figsize=(13, 3.6))
for ax, (title, groups) in zip(axes, kinds.items(), strict=True):
    place = (np.arange(groups) + 0.5) * 9 / groups - 0.5
    for head in range(9):
        ax.plot([head, place[head * groups // 9]], [1, 0], color="grey", linestyle="-", marker="", linewidth=1)
    ax.plot(range(9), np.ones(9), "o", color=plots.COLORS[1], markersize=13, label="query heads")
    ax.plot(place, np.zeros(groups), "s", color=plots.COLORS[2], markersize=15, label="key-value heads")
    ax.set(title=title, ylim=(-0.5, 1.5))
    ax.axis("off")
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# ### Watch the cache grow
#
# The sentence about the llama once more, token by token. **Try:** how many bytes does each token add, in the course model and in a
# model of 70 billion parameters? How many would it be if each query head had its own keys and values?

# %%
big = llamas.set_index("name").loc["Llama 2 70B"]
seventy = transformers.LlamaConfig(
    num_hidden_layers=int(big["layers"]), num_attention_heads=int(big["heads"]), num_key_value_heads=int(big["kv_heads"]),
    hidden_size=int(big["dimension"]), max_position_embeddings=4096,
)
pieces = [tokenizer.decode([i]) for i in out[0, :24].tolist()]
interactives.kv_cache({"course model": model.config, "Llama 2 70B": seventy}, pieces, prompt=ids.shape[1])

# %% [markdown]
# ### Does it hurt?
#
# @touvron2023llama2 [table 18] trained three 30B models on 150 billion tokens; GQA and MQA got wider feed-forward
# networks, so that all have about as many parameters. Scores of eleven benchmarks:

# %%
SCORES = {
    "multi-head": [71.0, 79.3, 48.2, 75.1, 71.2, 43.0, 12.4, 44.7, 28.0, 4.9, 7.9],
    "grouped, 8": [69.4, 78.8, 48.6, 75.4, 72.1, 42.5, 14.0, 46.2, 26.9, 5.3, 7.9],
    "multi-query": [70.6, 79.0, 47.9, 74.5, 71.6, 41.9, 14.5, 42.8, 26.5, 4.8, 7.3],
}
for name, scores in SCORES.items():
    better = sum(a > b for a, b in zip(scores, SCORES["multi-head"], strict=True))
    print(f"{name:<12} mean {np.mean(scores):.2f}; better than multi-head in {better} of 11")

# %% [markdown]
# One run each and no intervals, so we cannot tell the three apart at this size; what the table excludes is a large loss. For
# that, the cache shrinks to a fraction. **34B and 70B of Llama 2** have GQA (34B was never released), and every size of
# Llama 3.

# %% [markdown]
# ## What does each part buy?
#
# Four changes since 2017. Which of them matters? Each paper reports its own, on its own model. So we train a small Llama of our own
# (two layers, 64 numbers wide, letters as tokens, a million letters of Wikipedia) and exchange *one part at a time*, with about
# the same number of parameters (the largest difference is printed below). Each variant has its own best learning rate, searched with another seed on other text; then five seeds.
# `parts.py` beside this chapter made the table.

# %% tags=["hide-input"]
parts = tables.load("llama_parts")
losses = parts.pivot(index="seed", columns="variant", values="loss_nats")
OLDER = ["LayerNorm", "norm after the sum", "learned positions", "ReLU", "multi-head"]
guess = widgets.predict("We put one older part back. Which makes the small Llama worst?", options=OLDER)

# %% tags=["hide-input"]
worse = {name: scoring.paired(losses[name], losses["Llama"]) for name in losses if name != "Llama"}
order = sorted(worse, key=lambda name: worse[name][0])
fig, ax = plt.subplots(figsize=(10, 4.6))
for i, name in enumerate(order):
    mean, low, high = worse[name]
    ax.plot(losses[name] - losses["Llama"], [i - 0.2] * len(losses), ".", color="grey", label="one seed" if i == 0 else None)
    ax.errorbar(mean, i, xerr=[[mean - low], [high - mean]], fmt="s", color=plots.COLORS[1], capsize=4,
                label="mean, 95 % t interval over seeds" if i == 0 else None)
ax.axvline(0, color="black", linewidth=1, marker="")
ax.set(title=f"One part exchanged: loss minus the small Llama's ({losses['Llama'].mean():.2f} nats per letter)",
       xlabel="nats per letter (right of 0: worse than Llama)", ylabel="instead of Llama's part", yticks=range(len(order)),
       yticklabels=order)
ax.legend(loc="lower right")
plt.show()
size = parts.groupby("variant")["parameters"].first()
most = size.idxmax()
print(f"most parameters: {most}, {size[most] / size['Llama'] - 1:.1%} more than the small Llama")

# %% tags=["hide-input"]
second, worst = [name for name in order if name in OLDER][-2:]
guess.reveal(worst, why=f"{worse[worst][0]:+.2f} nats per letter; the next is {second} with {worse[second][0]:+.2f}.")

# %% [markdown]
# - **After so short a training, position makes the largest difference.** What helps to spell is how far back a letter stands. RoPE makes attention scores depend on this
#   distance from the first step; with vectors that are added to the tokens, the model must learn it. That is one likely reason. There are
#   others: our learned table starts at zero, the sines do not. Another start may do better; we did not try it, so the gap is not
#   explained. How much of it longer training closes, we did not measure either.
# - **The older place of the norm is better here.** This is no accident: @takase2023b2t find the same for six layers or fewer,
#   while from ten layers on training with the norm after the sum often fails. What the new place buys is depth, and two layers have none.
# - **RMSNorm and grouped queries were not chosen for a lower loss.** LayerNorm, which has a bias more, is even a little ahead;
#   grouped queries and one key for each head cannot be told apart. The first saves computing, the second half of the cache.
# - **SwiGLU beats ReLU; against GELU we cannot tell.** @narang2021transformer compared dozens of such changes in one setting: most
#   brought nothing that counts. Gated networks (SwiGLU, GeGLU) and RMSNorm were among the few that helped.
#
# So "LLaMA is good because of its architecture" would be the wrong lesson. Its authors' own reason is data, the bet above; the
# parts make it possible to train deep and to serve cheaply.

# %% [markdown] tags=["subslide"]
# ### And on a longer text?
#
# The same models read rows twice as long as those they were trained on.

# %% tags=["hide-input"]
behind = parts.pivot(index="seed", columns="variant", values="loss_behind_nats").dropna(axis=1)
pd.DataFrame({"within 128 letters": losses[behind.columns].mean(), "letters 129 to 256": behind.mean(),
              "smallest": behind.min(), "largest": behind.max()}).sort_values("letters 129 to 256").round(2)

# %% [markdown]
# Nats per letter, mean of five seeds; then the smallest and the largest. A table of learned positions has no row 129, so it is missing.
# With RoPE the loss rises so far that a model *without any* positions does about as well: distances that were never trained
# give scores that were never trained. RoPE does not reach further by itself; how it is made to, see "RoPE scaling and YaRN" below.

# %% [markdown]
# ## Is a small model as good as a large one?

# %% tags=["hide-input"]
guess = widgets.predict("Seven tasks are reported for both. On how many is LLaMA 13B ahead of GPT-3 with 175 billion?", unit="tasks", tolerance=0)

# %% tags=["hide-input"]
TASKS = {"boolq": "BoolQ", "piqa": "PIQA", "siqa": "SIQA", "hellaswag": "HellaSwag", "winogrande": "WinoGrande",
         "arc_easy": "ARC-e", "arc_challenge": "ARC-c", "openbookqa": "OBQA"}
sense = tables.load("llama_commonsense").set_index("name")[[f"{t}_percent" for t in TASKS]]
sense.columns = list(TASKS.values())


def heat(table, title, unit, shade=None, size=(12, 4.6), fontsize=11):
    shade = table if shade is None else shade
    fig, ax = plt.subplots(figsize=size)
    ax.imshow(shade, cmap="Greys", aspect="auto", vmin=np.nanmin(shade) - 5, vmax=np.nanmax(shade) * 1.6)
    for (i, j), value in np.ndenumerate(table.to_numpy()):
        ax.text(j, i, "–" if np.isnan(value) else f"{value:.1f}", ha="center", va="center", fontsize=fontsize)
    ax.set_xticks(range(table.shape[1]), table.columns, rotation=30 if table.shape[1] > 9 else 0,
                  ha="right" if table.shape[1] > 9 else "center", fontsize=fontsize)
    ax.set_yticks(range(len(table)), table.index, fontsize=fontsize)
    ax.set(title=title, xlabel=unit, ylabel="model")
    ax.grid(visible=False)


heat(sense, "Common-sense reasoning, zero-shot (darker: better)", "per cent right; –: not reported")
plt.show()
both = sense.loc[["LLaMA 13B", "GPT-3 175B"]].dropna(axis=1)
ahead = both.columns[both.iloc[0] > both.iloc[1]]

# %% tags=["hide-input"]
behind_on = [name for name in both.columns if name not in ahead]
guess.reveal(len(ahead), why=f"Of {both.shape[1]}, all but {', '.join(behind_on)}. GPT-3 read 0.3 trillion tokens, LLaMA 13B one trillion.")

# %% [markdown]
# ### What the heat map does not show: error bars
#
# 33B "beats" 65B on both ARCs. A score of $p$ from $n$ questions has a 95 % interval of about $\pm 1.96\sqrt{p(1-p)/n}$:

# %%
questions = pd.Series({"BoolQ": 3270, "PIQA": 1838, "SIQA": 1954, "HellaSwag": 10042, "WinoGrande": 1267, "ARC-e": 2376,
                       "ARC-c": 1172, "OBQA": 500})
scores = sense.loc[["LLaMA 33B", "LLaMA 65B"]].T
p = scores["LLaMA 33B"] / 100
scores.assign(plus_minus=196 * np.sqrt(p * (1 - p) / questions), questions=questions).T.round(1)

# %% [markdown]
# Both "wins" lie within the noise (the two models answer the *same* questions, so a paired test would be sharper; nobody
# published the answers).

# %% [markdown]
# ## Five weeks later: Alpaca and Vicuna
#
# | | Alpaca | Vicuna |
# |---|---|---|
# | out | 13 March 2023 | 30 March 2023 |
# | base | LLaMA 7B | LLaMA 7B, 13B |
# | text | 52K instructions with answers, written by text-davinci-003 | about 70K conversations with ChatGPT that users had shared |
# | reported cost | below 600 dollars | about 300 dollars (13B) |
#
# Some slides give 63K conversations for Vicuna; its makers write 70K (from version 1.3 on 125K). "90 % of ChatGPT's
# quality" was a preliminary score that GPT-4 gave; the makers themselves call the evaluation "fun and non-scientific".

# %% [markdown]
# ## Eleven models on eighteen benchmarks
#
# @zhao2023survey. Choose how to shade: by value, or by rank within each column.

# %% tags=["hide-input"]
ability = tables.load("llm_abilities").set_index("name")
BENCHMARKS = ["LAMBADA", "WMT", "XSum", "HumanEval", "TriviaQA", "NaturalQ", "WebQ", "ARC", "WikiFact", "OBQA", "HellaSwag",
              "SocialIQA", "C-Objects", "Penguins", "GSM8K", "MATH", "ALFWorld", "WebShop", "WebShop ✓"]
values = ability.drop(columns=["access", "source"]).set_axis(BENCHMARKS, axis=1)


def abilities(shade, models):
    rows = ability["access"].isin(["open", "closed"] if models == "all" else [models.split()[0]])
    table = values[rows]
    dark = table if shade == "value" else 60 - 50 * table.rank(ascending=False) / len(table)
    unit = "score (metrics differ by column; higher is better)"
    heat(table, f"{len(table)} models, shaded by {shade}", unit, dark, (12.4, 5), 9)


widgets.explorer(abilities, shade=["rank in column", "value"], models=["all", "open only", "closed only"])

# %% [markdown]
# ### One model, two papers
#
# LLaMA 7B is in both tables. The same model, test sets of the same names:

# %%
pd.DataFrame({
    "LLaMA's paper": [sense.loc["LLaMA 7B", t] for t in ("ARC-e", "ARC-c", "HellaSwag", "SIQA", "OBQA")],
    "survey": [values.loc["LLaMA (7B)", t] for t in ("ARC", "ARC", "HellaSwag", "SocialIQA", "OBQA")],
    "guessing": [25, 25, 25, 33.3, 25],
}, index=["ARC easy", "ARC challenge", "HellaSwag", "SIQA", "OpenBookQA"])

# %% [markdown]
# 72.8 or 4.9? Far *below* guessing? The model did not change between the papers, so the test must differ.
#
# - LLaMA's paper shows a question and compares the *probability of each answer's text*.
# - A chat-style test asks for the letter of an answer, and reads what the model writes. An answer without a letter is marked
#   wrong.
#
# Our *hypothesis*: the survey's score is of the second kind. We have not repeated its test, so this remains a hypothesis.

# %% [markdown]
# ### Try it: one model, seven ways to score
#
# 70 questions of general knowledge (BIG-bench) for the course model, scored in seven ways: by comparing the texts of the answers; by
# comparing only their letters; by the letter that it writes. The last two again with an instruction ("Reply with the letter of the
# right answer only."), and once more with this instruction in the model's chat template.

# %% tags=["hide-input"]
WAYS = ["text of the answer", "letter, only letters compared", "letter, written"]
guess = widgets.predict("Three ways without the chat template. Which score is highest?", options=[*WAYS, "none: they are within a point"])

# %% tags=["hide-input"]
quiz = data.bigbench("general_knowledge").select(range(lab.budget(full=70, quick=3)))
first = np.mean([row["choices"][0] in row["targets"] for row in quiz])
rng = np.random.default_rng(0)
options = [[row["choices"][i] for i in rng.permutation(len(row["choices"]))] for row in quiz]  # else "A" is right too often
right = np.array([shown.index(row["targets"][0]) for shown, row in zip(options, quiz, strict=True)])
plain = [f"Question: {row['input']}\nAnswer:" for row in quiz]
lettered = []
for row, shown in zip(quiz, options, strict=True):
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, shown, strict=False))
    lettered.append(f"Question: {row['input']}\n{listed}\nAnswer:")
texts = scoring.loglikelihood(model, tokenizer, plain, [[f" {c}" for c in shown] for shown in options], progress=False)
letters = scoring.loglikelihood(
    model, tokenizer, lettered, [[f" {a}" for a in ascii_uppercase[: len(shown)]] for shown in options], progress=False)


def hits(frame, value):
    best = frame.assign(value=value).sort_values("value").groupby("context").last().sort_index()
    return best["continuation"].to_numpy() == right


def says(frame):
    """Is the right letter what greedy decoding writes?"""
    written = frame["is_greedy"] & (frame["continuation"].to_numpy() == right[frame["context"]])
    return written.groupby(frame["context"]).any().to_numpy()


orders = [text.removesuffix("\nAnswer:") + "\nReply with the letter of the right answer only." for text in lettered]
instructed = scoring.loglikelihood(
    model, tokenizer, [f"{order}\nAnswer:" for order in orders], [[f" {a}" for a in ascii_uppercase[: len(shown)]] for shown in options],
    progress=False)
asked = [tokenizer.apply_chat_template([{"role": "user", "content": order}], tokenize=False, add_generation_prompt=True) for order in orders]
chat = scoring.loglikelihood(model, tokenizer, asked, [list(ascii_uppercase[: len(shown)]) for shown in options], progress=False)
results = {
    "text of the answer": hits(texts, texts["loglikelihood"] / texts["tokens"]),
    "letter, only letters compared": hits(letters, letters["loglikelihood"]),
    "letter, written": says(letters),
    "instruction, letters compared": hits(instructed, instructed["loglikelihood"]),
    "instruction, letter written": says(instructed),
    "chat template, letters compared": hits(chat, chat["loglikelihood"]),
    "chat template, letter written": says(chat),
}
guessing = np.mean([1 / len(shown) for shown in options])
for name, correct in results.items():
    value, low, high = scoring.proportion(correct.sum(), len(correct))
    said = "above guessing" if low > guessing else "below guessing" if high < guessing else "no difference from guessing that can be seen"
    print(f"{name:<32}{value:6.1%}  [{low:.1%}, {high:.1%}]  {said}")
print(f"{'guessing':<32}{guessing:6.1%}")
chosen = letters.sort_values("loglikelihood").groupby("context").last()["continuation"]
print(f'\nthe letter it likes best is "A" in {np.mean(chosen == 0):.0%} of the questions; in the file\'s own order, before we')
print(f"shuffled, the first option is right in {first:.0%}: always saying A would have scored that")

# %% tags=["hide-input"]
scores = {way: results[way].mean() for way in WAYS}
highest = max(scores, key=scores.get)
close = max(scores.values()) - min(scores.values()) <= 0.01
guess.reveal("none: they are within a point" if close else highest,
             why="; ".join(f"{way}: {score:.0%}" for way, score in scores.items()) + ". The model and the questions are the same.")

# %% [markdown]
# One model, seven scores. At full budget: by the texts it is right about twice as often as a guess, and the interval (Wilson)
# excludes guessing. Comparing the letters gives no score that can be told from guessing: without an instruction it prefers one
# letter whatever the answer is. And without the instruction the right letter is never what it would *write*: 0 of 70 is compatible with
# up to 5 %. Had we not shuffled, always "A" would have looked better than knowledge.
#
# The last two rows add the *chat template* (对话模板) to the two rows above them, with the same instruction. So compare these pairs
# to see what the template does, and rows 2 and 3 with rows 4 and 5 to see what the instruction does. At full budget the instruction
# makes the model write letters; what the template adds to it cannot be seen here. And look at the last column: a
# row that cannot be told from guessing shows no knowledge, only that a letter was written. So the way of asking can move a score from clearly above guessing to nearly 0. That makes the hypothesis about the survey's 4.9
# possible; it does not prove it. Ask of every score: *how was it asked?*

# %% [markdown]
# ### More that a table does not show
#
# - **Contamination**: were the test questions in the training text? (1.4 trillion tokens of web.)
# - **Choice**: who chose the benchmarks, the shots, the prompt, and after how many tries?
# - **What is missing**: nearly all of it is English; no cost, no speed, no harm.
# - **What is averaged**: see Llama 2's own table, in two slides.

# %% [markdown]
# ## Llama 2
#
# July 2023 [@touvron2023llama2]. The last column shows what some slides print; where it differs, use the paper's figure.

# %% tags=["hide-input"]
facts = tables.load("llama2_facts").set_index("name").rename_axis("").fillna("")
facts = facts[["llama_1", "llama_2", "slides"]].set_axis(["LLaMA", "Llama 2", "some slides print"], axis=1)
narrow = {"text-align": "left", "max-width": "300px", "white-space": "normal"}
facts.style.set_properties(**narrow)

# %% [markdown]
# ### The larger half is preference
#
# "Quality is all you need": 27,540 demonstrations were enough, and the money went into *comparisons* for two reward models
# (chapter 3), for helpfulness and for safety.

# %% tags=["hide-input"]
prefer = tables.load("llama2_preferences").sort_values("comparisons")
fig, ax = plt.subplots(figsize=(10, 4.2))
thousands = prefer["comparisons"] / 1000
bars = ax.barh(prefer["name"], thousands, color="white", edgecolor=plots.COLORS[1], hatch=plots.HATCHES[1])
said = [f"{c:,.0f}K, {t:.1f} turns" for c, t in zip(thousands, prefer["turns_per_dialogue"], strict=True)]
ax.bar_label(bars, said, padding=4, fontsize=10)
ax.set(title=f"{prefer['comparisons'].sum() / 1e6:.1f} million human preferences", xlabel="comparisons (thousands)", ylabel="source", xlim=(0, 1850))
ax.grid(axis="y", visible=False)
plt.show()
print(f"for one demonstration: {prefer['comparisons'].max() / 27540:.0f} comparisons of Meta's own")
print(f"the rows add up to {prefer['comparisons'].sum():,}; the paper's own total says 2,919,326")

# %% [markdown]
# ### Against others

# %% tags=["hide-input"]
llama2 = tables.load("llama2_results").set_index("name")
shown = llama2.drop(columns=["family", "parameters_billion", "math_average_in_table_3_percent", "slides", "source"])
shown.columns = ["MMLU", "TriviaQA", "NaturalQ", "GSM8K", "MATH", "HumanEval", "AGIEval"]
heat(shown, "Open base models, July 2023 (Touvron et al. 2023b)", "per cent; few-shot as in the paper", size=(11, 4.4))
plt.show()

# %% [markdown]
# Some copies of this table print "N/A" for Falcon on HumanEval; the paper has 0.0 and 0.6. On HumanEval (code) Llama 2 7B
# scores lower than MPT 7B.

# %% [markdown]
# ### Read tables like a referee
#
# Table 3 of the paper has a column "Math", "the average of GSM8K and MATH". **Check it:**

# %%
check = pd.DataFrame({
    "printed": llama2["math_average_in_table_3_percent"],
    "average of table 25": llama2[["gsm8k_percent", "math_percent"]].mean(axis=1).round(2),
    "GSM8K alone": llama2["gsm8k_percent"],
})
check

# %% [markdown]
# For Llama 2 7B and 13B the printed "average" is GSM8K alone, which is much higher; for all others it is the average. It
# looks like a slip. Nobody corrected it in the version we read: recompute what you cite.

# %% [markdown]
# ## The family tree
#
# Drawn from a table with a source for each model (`tables.load("llama_family")`). *Weights*: trained on from the parent's
# file. *Architecture*: own training, the same block. A filled marker stands at the day of the release. An open marker stands at
# the date of the paper; weights can be public weeks before or after it. (Where we know only the month, it stands at the first.)
# Checked on 26 November 2026 against what we could read; Meta's own line is followed to August 2026, the other families (next
# table, and the picture after it) to February 2026.

# %% tags=["skip"]
def day(table):
    """The day of the release; where we have none, of the paper."""
    return pd.to_datetime(table["released"].fillna(table["paper"]), format="mixed")


family = tables.load("llama_family").set_index("name")
born, known = day(family), family["released"].notna()

# %% [markdown] tags=["subslide"]
# ### LLaMA's first months: who trained it on for what
#
# After the survey's figure 5 [@zhao2023survey]: models that start from LLaMA's weights, by what they were made for.

# %% tags=["hide-input"]
FIELDS = ["mathematics", "finance", "law", "medicine", "education", "bilingual", "Chinese", "chat", "images", "code"]
early = family[family["branch"].notna()].assign(born=born).sort_values("born")
order = [name for field in FIELDS for name in early.index[early["branch"] == field]]
row = {name: float(i) for i, name in enumerate(order)} | {"LLaMA": 11.0, "Llama 2": 21.5}
fig, ax = plt.subplots(figsize=(13, 6.4))
for name in order:
    parent = family.loc[name, "after"]
    ax.plot([born[parent], born[name]], [row[parent], row[name]], color="grey", marker="", linestyle="-", linewidth=0.8, zorder=1)
    ax.plot(born[name], row[name], "o", color=plots.COLORS[1], markersize=7, fillstyle="full" if known[name] else "none")
    ax.annotate(name, (born[name], row[name]), xytext=(8, -4), textcoords="offset points", fontsize=10)
for name in ("LLaMA", "Llama 2"):
    ax.plot(born[name], row[name], "*", color="black", markersize=16)
    ax.annotate(name, (born[name], row[name]), xytext=(-8, 10), textcoords="offset points", fontsize=12, ha="right")
ends = [sum(early["branch"].isin(FIELDS[: i + 1])) for i in range(len(FIELDS))]
for end in ends:
    ax.axhline(end - 0.5, color="lightgrey", marker="", linestyle="-", linewidth=0.8)
ax.set_yticks([(start + end - 1) / 2 for start, end in zip([0, *ends], ends, strict=False)], FIELDS)
ax.set(title="Models trained on from LLaMA's weights, 2023", xlabel="released (filled) or paper (open)", ylabel="made for",
       xlim=(pd.Timestamp("2023-02-01"), pd.Timestamp("2023-09-25")), ylim=(-1, 23))
ax.grid(visible=False)
plt.show()

# %% [markdown]
# ### From LLaMA to today

# %% tags=["hide-input"]
DIRECTION = {"first": 0, "successor": 0, "weights": 1, "architecture": -1, "other": 0}
later = family[family["branch"].isna() | family.index.isin(["Alpaca", "Vicuna", "Code Llama"])]


def lanes(days_per_letter=9.5):
    """A height for each name, so that no two labels meet: Meta's line in the middle, weights above, architecture below."""
    height, free = {}, {}
    for name in born[later.index].sort_values().index:
        step = DIRECTION[family.loc[name, "kind"]]
        lane = step
        while step and free.get(lane, pd.Timestamp(0)) > born[name]:
            lane += step
        free[lane] = born[name] + pd.Timedelta(days=days_per_letter * len(name) + 25)
        height[name] = lane
    return height


height = lanes()
fig, ax = plt.subplots(figsize=(13, 5.6))
for name, parent in later["after"].dropna().items():
    ax.plot([born[parent], born[name]], [height[parent], height[name]], color="grey", marker="", linewidth=1,
            linestyle="-" if family.loc[name, "kind"] != "architecture" else "--", zorder=1)
looks = {"first": "*", "successor": "o", "weights": "^", "architecture": "s", "other": "X"}
for i, (kind, marker) in enumerate(looks.items()):
    for full in (True, False):
        names = later.index[(later["kind"] == kind) & (known[later.index] == full)]
        ax.plot(born[names], [height[n] for n in names], marker, color=plots.COLORS[i], markersize=9, linestyle="none",
                label=kind if full else None, fillstyle="full" if full else "none")
own = [n for n in born[later.index].sort_values().index if height[n] == 0]
paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
for name in later.index:
    offset = (0, -17 if own.index(name) % 2 else 9) if name in own else (8, -4)
    ax.annotate(name, (born[name], height[name]), xytext=offset, textcoords="offset points", fontsize=10,
                ha="center" if name in own else "left", bbox=paper)
ax.set(title="From LLaMA to today", xlabel="released (filled) or paper (open)", ylabel="branches",
       xlim=(pd.Timestamp("2022-12-15"), pd.Timestamp("2026-12-01")), ylim=(min(height.values()) - 0.4, max(height.values()) + 1))
ax.set_yticks([])
ax.grid(visible=False)
ax.legend(loc="upper right", ncols=5, fontsize=10)
plt.show()

# %% [markdown]
# Meta's Llama line stops, so far, at Llama 4 (April 2025). Its open model of August 2026, Muse Glimmer, has another name,
# another licence (Apache 2.0), and code that comes from Llama's only through Gemma's; a larger one, Muse Spark Open, is in
# transformers 5.23.

# %% [markdown]
# ### The tree in your own library
#
# Authors of `transformers` build a new model from classes of older ones. Let us read the source and count whose code is
# used:

# %%
folder = Path(transformers.__file__).parent / "models"
def classes(path):
    return [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]


llama_classes = {node.name for node in classes(folder / "llama/modeling_llama.py")}
parents, file_of = {}, {}
for path in sorted(folder.glob(lab.budget(full="*/modular_*.py", quick="mi*/modular_*.py"))):
    for node in classes(path):
        parents[node.name] = [b.id for b in node.bases if isinstance(b, ast.Name)]
        file_of[node.name] = path.parent.name


def llama_ancestors(name):
    """Classes of Llama from which a class descends, directly or through others."""
    seen, todo = set(), [name]
    while todo:
        new = [base for base in parents.get(todo.pop(), []) if base not in seen]
        seen.update(new)
        todo += new
    return seen & llama_classes

# %% tags=["hide-input"]
users = {}
for name, model_type in file_of.items():
    for ancestor in llama_ancestors(name):
        users.setdefault(ancestor.removeprefix("Llama"), set()).add(model_type)
parts = ["RMSNorm", "MLP", "RotaryEmbedding", "Attention", "DecoderLayer", "ForCausalLM"]
any_part, total = len(set().union(*users.values())), len(set(file_of.values()))
fig, ax = plt.subplots(figsize=(9, 3.8))
heights = [len(users.get(part, ())) for part in parts]
ax.bar_label(ax.bar(parts, heights, color="white", edgecolor=plots.COLORS[1], hatch=plots.HATCHES[1]))
ax.set(title=f"transformers {transformers.__version__}: {any_part} of {total} modular models use Llama's code")
ax.set(ylabel="models", xlabel="class of Llama from which theirs descends")
ax.grid(axis="x", visible=False)
ax.margins(y=0.15)
ax.tick_params(axis="x", labelsize=11)
plt.show()

# %% [markdown]
# Direct users and users of users (Llama → Mistral → Mixtral …). Inheritance of code is a fact about a library, not a proof
# that a model is "a Llama". But it suggests which block many teams start from.

# %% [markdown]
# ## Other families, the same block
#
# These teams trained their own models. They share most of LLaMA's block (RMSNorm, RoPE, a gated network) and changed something.
# The table is `tables.load("llama_successors")`, with a source for each row.

# %% tags=["hide-input"]
others = tables.load("llama_successors").set_index("name")
since = day(others)
WHEN = "released, or paper (p)"


def changes(rows):
    when = since.dt.strftime("%Y-%m") + others["released"].isna().map({True: " (p)", False: ""})
    shown = others.assign(**{WHEN: when}).loc[rows, [WHEN, "organisation", "size", "changed"]].rename_axis("")
    style = shown.style.set_properties(**{"text-align": "left", "padding": "1px 8px"})
    return style.set_table_styles([{"selector": "", "props": "font-size: 80%"}])


changes(since.index[since < "2024-07-01"])

# %% [markdown] tags=["subslide"]
# ### Since July 2024

# %% tags=["hide-input"]
changes(since.index[since >= "2024-07-01"])

# %% [markdown] tags=["subslide"]
# ### The same by date
#
# A lane for each family of the table, in the order of their first entries. The picture before began at LLaMA and followed who
# continued from whom; these teams began anew with most of its block, many of them in China.

# %% tags=["hide-input"]
def short(name, longest=36):
    """What a model changed, cut at a word."""
    text = re.split(r"[;:] ", others.loc[name, "changed"])[0]
    return text if len(text) <= longest else text[:longest].rsplit(" ", 1)[0] + " …"


lane_of = {family: i for i, family in enumerate(dict.fromkeys(others.loc[since.sort_values().index, "family"]))}
fig, ax = plt.subplots(figsize=(13, 0.72 * len(lane_of) + 1.4))
for family_name, lane in lane_of.items():
    dates = since[others["family"] == family_name].sort_values()
    ax.plot(dates, [lane] * len(dates), "-", color="grey", marker="", linewidth=1, zorder=1)
    for i, (name, date) in enumerate(dates.items()):
        following = dates.iloc[i + 1] if i + 1 < len(dates) else pd.Timestamp("2026-10-15")
        full = pd.notna(others.loc[name, "released"])
        ax.plot(date, lane, "o", color="black", markersize=8, fillstyle="full" if full else "none", zorder=2)
        ax.annotate(name, (date, lane), xytext=(0, 8), textcoords="offset points", fontsize=10,
                    ha="right" if (following - date).days < 60 else "left")
        if (following - date).days > 5.6 * len(short(name)):
            ax.annotate(short(name), (date, lane), xytext=(0, -17), textcoords="offset points", fontsize=8.5, style="italic")
ax.set(title="Other families with most of LLaMA's block, by date", xlabel="released (filled) or paper (open)", ylabel="family",
       yticks=list(lane_of.values()), yticklabels=list(lane_of), xlim=(pd.Timestamp("2023-08-15"), pd.Timestamp("2026-10-01")),
       ylim=(len(lane_of) - 0.3, -0.8))
ax.grid(axis="y", visible=False)
plt.show()

# %% [markdown]
# ### Is it in the code?
#
# We look for each part in the source files of `transformers`.

# %% tags=["hide-input"]
guess = widgets.predict("Which part is in the largest number of these model files?", options=["RMSNorm", "RoPE", "QK-norm", "mixture of experts", "two of them equally"])

# %% tags=["hide-input"]
SIGNS = {"RoPE": "RotaryEmbedding(", "RMSNorm": "RMSNorm(", "QK-norm": "self.q_norm =", "sliding window": "sliding_window", "mixture of experts": "Experts(nn.Module)",
         "MLA": "kv_lora_rank", "attention sinks": "self.sinks", "sparse attention": "Indexer(nn.Module)", "linear attention": "DeltaAttention(nn.Module)", "norm after sublayers": "post_feedforward_layernorm ="}
found, unknown = {}, []
for model_type in ("llama", "mistral", "mixtral", *others["model_type"].dropna().unique()):
    file = folder / model_type / f"modeling_{model_type}.py"
    if file.exists():
        text = file.read_text(encoding="utf-8")
        found[model_type] = {part: sign in text for part, sign in SIGNS.items()}
    else:
        unknown.append(model_type)
parts_of = pd.DataFrame(found).T
print("files with the part:", parts_of.sum().to_dict())
if unknown:
    print(f"transformers {transformers.__version__} is older than {', '.join(unknown)}")
parts_of.map(lambda has: "✓" if has else "")

# %% tags=["hide-input"]
files_with = parts_of.sum().sort_values(ascending=False)
guess.reveal(files_with.index[0] if files_with.iloc[0] > files_with.iloc[1] else "two of them equally",
             why=f"{files_with.index[0]} is in {files_with.iloc[0]} of {len(parts_of)} files; next comes {files_with.index[1]} with {files_with.iloc[1]}.")

# %% [markdown]
# The parts of 2023 are in (nearly) every file, each of the newer ones is in some. A ✓ says that the code
# *can* do it; a configuration may switch it off.

# %% [markdown]
# ### QK-norm: scores that do not grow with the vectors
#
# Queries and keys are normalised before their product. @henry2020query divide each head's vectors by their length and multiply all
# scores by one learned number (their model has no RoPE). OLMo 2 [@teamolmo2024olmo] takes RMSNorm over all heads together, Qwen3
# over each head, both before RoPE. If training makes the vectors longer, a plain softmax becomes a hard choice with hardly any
# gradient. With QK-norm the lengths do not count any more; only the learned weights can still make scores grow.

# %%
def unit(x):
    return x / x.pow(2).mean(-1, keepdim=True).sqrt()  # RMSNorm with weights of one


g = torch.Generator().manual_seed(0)
q, keys = torch.randn(64, generator=g), torch.randn(50, 64, generator=g)
for size in (1, 3, 10):
    plain, normed = (keys @ (size * q) / 8).softmax(0), (unit(keys) @ unit(size * q) / 8).softmax(0)
    print(f"query {size:>2} times as long: largest weight {plain.max():.2f} plain, {normed.max():.2f} with QK-norm")

# %% [markdown]
# ### Longer texts: RoPE scaling and YaRN
#
# A model trained on 4096 tokens meets angles that it never saw when the text is four times as long. *Position interpolation*
# [@chen2023extending] slows every clock to a quarter. *YaRN* [@peng2024yarn] slows only the slow ones: fast pairs, which turn
# many times within the old length, tell neighbours apart and stay as they are. YaRN also makes attention sharper (it multiplies the
# scores by a number above 1, like a temperature below 1); the picture does not show that.

# %% tags=["hide-input"]
def frequencies(kind, **settings):
    rope = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 4.0, **settings}
    config = transformers.LlamaConfig(hidden_size=4096, num_attention_heads=32, max_position_embeddings=16384, rope_parameters=rope)
    return ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))[0]


plain = 10_000.0 ** (-torch.arange(0, 128, 2) / 128)
kinds = {"position interpolation": frequencies("linear"), "YaRN": frequencies("yarn", original_max_position_embeddings=4096)}
fig, ax = plt.subplots(figsize=(10, 3.8))
for i, (name, values) in enumerate(kinds.items()):
    ax.plot(2 * np.pi / plain, values / plain, label=name, marker="", linestyle=plots.LINES[i], color=plots.COLORS[i])
ax.axvline(4096, color="grey", marker="", linestyle=":")
ax.annotate("trained length", (4096, 0.6), xytext=(5, 0), textcoords="offset points", fontsize=11, color="dimgrey")
ax.set(title="Speed of each clock after scaling from 4096 to 16384 tokens", xscale="log", ylim=(0, 1.1),
       xlabel="tokens for one turn, before", ylabel="speed, as a share of before")
ax.legend()
plt.show()

# %% [markdown]
# ### Mixture of experts: many networks, few at work
#
# *Mixture of experts* (混合专家, MoE; @shazeer2017outrageously): several feed-forward networks; a *router* gives each token a
# softmax over them, the $k$ best are computed and weighted. The whole of it, compared with the library's block (Mixtral's,
# @jiang2024mixtral, tiny and random):

# %%
def moe(x, router, gate_up, down, k):
    chance, chosen = (x @ router.T).softmax(-1).topk(k, -1)  # (tokens, k)
    share = chance / chance.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for expert in range(len(router)):
        token, place = (chosen == expert).nonzero(as_tuple=True)  # which tokens chose it, as their which choice
        gate, up = (x[token] @ gate_up[expert].T).chunk(2, -1)
        out[token] += share[token, place, None] * ((torch.nn.functional.silu(gate) * up) @ down[expert].T)
    return out, chosen


tiny = transformers.MixtralConfig(hidden_size=16, intermediate_size=32, num_local_experts=8, num_experts_per_tok=2,
                                  num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=10)
theirs = transformers.MixtralForCausalLM(tiny).eval().model.layers[0].mlp
x = torch.randn(200, 16, generator=g)
with torch.inference_mode():
    weights = [torch.randn(p.shape, generator=g) * 0.3 for p in theirs.parameters()]
    for p, value in zip(theirs.parameters(), weights, strict=True):
        p.copy_(value)
    ours, chosen = moe(x, *weights, k=2)
    print(f"largest difference to the library's block: {(ours - theirs(x[None])[0]).abs().max():.1e}")
print("tokens for each of the 8 experts:", torch.bincount(chosen.flatten(), minlength=8).tolist())

# %% [markdown]
# The printed loads differ hardly more than by chance, because this router is random. In training it is otherwise: an expert that is
# chosen more often learns more, and is then chosen even more often. So training adds a loss (the library's Mixtral:
# `router_aux_loss_coef`) or a correction for each expert (DeepSeek-V3, @deepseekai2024v3), or few experts would do most of the work.

# %% [markdown]
# ### What is stored, and what works
#
# A mixture needs the memory of all parameters and the arithmetic of the active ones. Counted from the configuration, and
# checked against the library, which builds the model without memory (on the device "meta").

# %%
def parameters(c, experts, hidden, shared=0):
    """Of a decoder with GQA in which every layer has `experts` (+ `shared`) networks of width `hidden`."""
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    attention = 2 * c.hidden_size * head * (c.num_attention_heads + c.num_key_value_heads)
    mlp = 3 * c.hidden_size * hidden * (experts + shared) + c.hidden_size * c.num_local_experts
    return 2 * c.vocab_size * c.hidden_size + c.num_hidden_layers * (attention + mlp + 2 * c.hidden_size) + c.hidden_size


mixtral = transformers.MixtralConfig()
with torch.device("meta"):
    library = transformers.MixtralForCausalLM(mixtral).num_parameters()
stored, active = (parameters(mixtral, n, mixtral.intermediate_size) for n in (mixtral.num_local_experts, mixtral.num_experts_per_tok))
assert stored == library
print(f"Mixtral 8x7B: stored {stored / 1e9:.1f} billion (the library counts {library / 1e9:.1f}), active {active / 1e9:.1f} billion per token")

# %% [markdown]
# ### MLA: one small vector in the cache
#
# *Multi-head latent attention* (多头潜在注意力, MLA; @deepseekai2024v2): all heads' keys and values are computed from one
# *latent* vector of 512 numbers, so only that is kept, and a key of 64 numbers that carries RoPE. Numbers in the cache:

# %% tags=["hide-input"]
def cache_numbers(c, tokens):
    """Numbers that a decoder's cache holds for one text; layers with a sliding window keep only its last tokens."""
    if hasattr(c, "kv_lora_rank"):
        return c.num_hidden_layers * (c.kv_lora_rank + c.qk_rope_head_dim) * tokens
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    kinds = getattr(c, "layer_types", None) or ["full_attention"] * c.num_hidden_layers
    kept = sum(min(tokens, c.sliding_window - 1) if kind == "sliding_attention" else tokens for kind in kinds)
    return 2 * kept * c.num_key_value_heads * head


small = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 4}
experts = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
for config in (
    transformers.LlamaConfig(**small, num_key_value_heads=2),
    transformers.Qwen3MoeConfig(**small, num_key_value_heads=2, head_dim=8, num_experts=4, **experts),
    transformers.GptOssConfig(**small, num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=5),
    transformers.DeepseekV3Config(**small, num_key_value_heads=4, q_lora_rank=12, kv_lora_rank=8, qk_rope_head_dim=4,
                                  qk_nope_head_dim=6, v_head_dim=6, n_routed_experts=4, n_group=2, topk_group=1, **experts),
):
    random_model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode():
        cache = random_model(torch.arange(12)[None], use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert held == cache_numbers(config, 12)
    print(f"{config.model_type:<12} computed {cache_numbers(config, 12):>4}, in the library's cache {held:>4}")

# %% [markdown] tags=["subslide"]
# ### The cache of published models

# %% tags=["hide-input"]
guess = widgets.predict("DeepSeek-V3 has 671 billion parameters and MLA. How large is its cache for a text of 32,768 tokens, compared with that of Llama 2 70B "
                        "(64 heads, 8 key-value heads)?", options=["larger, about ten times", "about the same", "smaller, less than half"])

# %% tags=["hide-input"]
v3, oss = transformers.DeepseekV3Config(), transformers.GptOssConfig()
plain_v3 = v3.num_hidden_layers * v3.num_attention_heads * (v3.qk_nope_head_dim + v3.qk_rope_head_dim + v3.v_head_dim)
by_name = llamas.set_index("name")
LONG_TEXT = 32_768
gigabytes = {"DeepSeek-V3, if it kept all heads": plain_v3 * LONG_TEXT}
gigabytes |= {name: 2 * by_name.loc[name, ["layers", "kv_heads"]].prod() * 128 * LONG_TEXT for name in ("LLaMA 65B", "Llama 2 70B")}
gigabytes |= {"Mixtral 8x7B": cache_numbers(mixtral, LONG_TEXT), "gpt-oss-120b": cache_numbers(oss, LONG_TEXT),
              "DeepSeek-V3 (MLA)": cache_numbers(v3, LONG_TEXT)}
fig, ax = plt.subplots(figsize=(11, 3.8))
values = [2 * n / 1e9 for n in gigabytes.values()]
ax.bar_label(ax.barh(list(gigabytes), values, color="white", edgecolor=plots.COLORS[1], hatch=plots.HATCHES[1]), fmt="%.1f", padding=3)
ax.set(title="KV cache of one text of 32,768 tokens, 16 bits", xlabel="GB (logarithmic)", ylabel="model", xscale="log", xlim=(0.5, 400))
ax.grid(axis="y", visible=False)
plt.show()

# %% tags=["hide-input"]
share = gigabytes["DeepSeek-V3 (MLA)"] / gigabytes["Llama 2 70B"]
guess.reveal("smaller, less than half" if share < 0.5 else "about the same" if share < 3 else "larger, about ten times", why=f"It takes {share:.0%} of the bytes.")

# %% [markdown]
# Compare the bars. The latent vector does not grow with the number of heads. The two LLaMAs were not trained for such
# long texts; their bars say what the cache would take.

# %% [markdown]
# ## What may I do with it?

# %% tags=["hide-input"]
rows = ["LLaMA", "Alpaca", "Vicuna", "Llama 2", "Llama 3", "Llama 3.1", "Llama 3.2", "Llama 4", "Mistral 7B", "SmolLM2",
        "Muse Glimmer"]
when = family["released"].fillna(family["paper"] + " (p)")
shown = family.assign(**{WHEN: when}).loc[rows, [WHEN, "licence"]].rename_axis("")
shown.style.set_properties(**{"text-align": "left"}).set_properties(subset=[WHEN], **{"white-space": "nowrap"})

# %% [markdown]
# None of Meta's Llama licences is *open source* in the sense of the Open Source Initiative, because they restrict what the
# model is used for and how large a company may be. A tuned model inherits its parent's terms **and** those of its data
# (Alpaca's answers came from OpenAI).

# %% [markdown]
# ## From logits to text
#
# In every family the last step chooses a token, usually by a random draw. *Temperature* (温度) divides the logits, *top-k* keeps $k$ tokens, *top-p*
# (nucleus, 核采样, @holtzman2020curious) the smallest set that holds $p$ of the probability.

# %% tags=["hide-input"]
widgets.predict(
    "One token has a probability of 0.95. How many tokens does top-p = 0.9 keep?", tolerance=0,
    answer=int((torch.tensor([0.95, 0.05]).cumsum(0) - torch.tensor([0.95, 0.05]) < 0.9).sum()),
    why="The first alone holds 0.9 of the probability. Where the model is unsure, the same top-p keeps many tokens.",
)

# %% tags=["hide-input"]
BEGINNINGS = ["The capital of France is", "The old sailor looked at the", "My favourite colour is"]
with torch.inference_mode():
    read = {text: tokenizer(text, return_tensors="pt").to(model.device) for text in BEGINNINGS}
    NEXT = {text: model(**tokens).logits[0, -1].cpu() for text, tokens in read.items()}


def draw_next(beginning, temperature, top_k, top_p):
    p, order = (NEXT[beginning] / temperature).softmax(-1).sort(descending=True)
    keep = (torch.arange(len(p)) < top_k) if top_k else torch.ones(len(p), dtype=torch.bool)
    p = p * keep / (p * keep).sum()
    keep &= p.cumsum(-1) - p < top_p
    kept = int(keep.sum())
    shown = 15
    fig, ax = plt.subplots(figsize=(11, 4.2))
    bars = ax.bar(range(shown), p[:shown], color="white", edgecolor=plots.COLORS[1])
    for bar, inside in zip(bars, keep[:shown].tolist(), strict=True):
        bar.set_hatch(plots.HATCHES[1] if inside else plots.HATCHES[0])
    ax.set_xticks(range(shown), [repr(tokenizer.decode([int(i)])) for i in order[:shown]], rotation=40, ha="right")
    ax.set(title=f"{beginning} …: {kept:,} of {len(p):,} tokens kept (hatched)", ylabel="probability", xlabel="next token")


widgets.explorer(
    draw_next, beginning=BEGINNINGS, temperature=(0.2, 2.0, 0.1), top_k=[0, 1, 5, 20, 100], top_p=(0.1, 1.0, 0.05),
    start={"beginning": "The old sailor looked at the", "temperature": 1.0, "top_p": 0.9},
    grid={"beginning": BEGINNINGS[:2], "temperature": [0.5, 1.0, 2.0], "top_k": [0, 5], "top_p": [0.9, 1.0]},
)

# %% [markdown]
# Where the model is sure, top-p keeps few tokens; where it is not sure, very many, as the figure's title shows.
# Top-k keeps the same number in both cases.

# %% [markdown]
# ### One sentence through the whole model
#
# All parts at once: tokens, attention, residual stream, logits. **Try:** Anna gives, so the next token should be the other name. In
# which layer and head does the last token read most from " Tom"? After which layer is " Tom" the likeliest next token?

# %%
interactives.transformer(model, tokenizer, "When Anna and Tom met, Anna gave the book to")

# %% [markdown]
# ## What to take home
#
# - LLaMA: known parts, well chosen (RMSNorm first, RoPE, SwiGLU; later GQA), small models, much public text.
# - The families since changed parts of one block: QK-norm, windows, RoPE scaling, mixture of experts, MLA.
# - With the KV cache each token passes through the layers once. Attention still reads all earlier keys and values, so its
#   total work stays quadratic in the length. Grouping divides the cache's memory. Compute both from a configuration before
#   you rent a GPU.
# - A score is a model **and** a way of asking **and** a number of questions. Two papers, one model: 72.8 and 4.9.
# - Open weights, open data, open source and free to use are four different things. Read the licence.

# %% [markdown] tags=["subslide"]
# ### Ask yourself
#
# A new model's card says 14 billion parameters, 40 layers, 40 heads, 8 key-value heads of 128, context 32K.

# %% tags=["hide-input"]
parameter_bytes, text_bytes = 14e9 * 2, 2 * 40 * 8 * 128 * 32_768 * 2  # in 16 bits
widgets.predict(
    "How many users with a full context of 32,768 tokens fit on a GPU of 80 GB, everything in 16 bits?", tolerance=0,
    answer=int((80e9 - parameter_bytes) // text_bytes),
    why=f"{parameter_bytes / 1e9:.0f} GB of parameters; {text_bytes / 1e9:.1f} GB of cache for each full text. Activations and all else need room, too.",
)

# %% [markdown]
# ## Quiz
#
# Nine questions on the ideas of this lecture. Each choice has its own explanation.

# %% tags=["hide-input"]
cached = 2 * 32 * 8 * 128 * 8192 * 2 / 1e9  # keys and values, layers, key-value heads, numbers a head, tokens, bytes
experts = 46.7e9 - 12.9e9
widgets.quiz([
    dict(question="A model of 7 billion parameters read 1 trillion tokens, one of 13 billion read half as many. Which was cheaper to train, counting 6ND?",
         answer="neither, within a tenth", options={
        "the one with 7 billion": "It is smaller, but it read twice as much: 6ND counts both.",
        "the one with 13 billion": "It read less, but each of its tokens costs nearly twice as much.",
        "neither, within a tenth": f"Yes: 7 × 1 and 13 × 0.5 are {7 * 1} and {13 * 0.5}. In use the smaller one is cheaper with every token: this was LLaMA's bet."}),
    dict(question="Why do today's models normalise *before* each sublayer, and not after the sum as in 2017?", answer="deep models train more stably", options={
        "deep models train more stably": "Yes: no norm stands in the stream's own way, so gradients reach the first layer.",
        "the loss of small models is lower": "Our small Llamas of two layers had a *higher* loss with it, and B2T's authors found the same for six layers.",
        "it saves memory": "The number of norms and their outputs is about the same.",
        "the stream cannot grow then": "It grows by a factor of hundreds, because nothing normalises the stream itself."}),
    dict(question="Queries and keys are turned by RoPE. Both positions are moved on by 100. What happens to their score?", answer="nothing, up to rounding", options={
        "it gets smaller": "Scores depend on the distance of the two, and that stays.",
        "nothing, up to rounding": "Yes: both are turned by the same further angle, and the dot product keeps only the difference.",
        "it is turned into another sign": "One of them alone would have to be turned for that.",
        "it depends on the words": "Each score does; the change does not, because it is zero."}),
    dict(question="A model has 32 layers, 8 key-value heads of 128 numbers, and 16-bit numbers. How many GB does the cache of a text of 8,192 tokens take?",
         answer=cached, tolerance=0.05, unit="GB", why="2 (keys and values) × 32 × 8 × 128 numbers a token, times 8,192 tokens, times 2 bytes."),
    dict(question="The number of *query* heads of that model is doubled from 32 to 64, and each stays 128 wide. How does the cache change?", answer="it stays", options={
        "it doubles": "Only keys and values are kept. Queries are used once.",
        "it stays": "Yes: its size depends on key-value heads only. More queries share each of them.",
        "it halves": "That would need half the key-value heads."}),
    dict(question="With a cache, writing the next token costs …", answer="a constant, plus a part that grows with the text so far", options={
        "the same, however long the text is": "The new query still meets all keys so far: this part grows.",
        "a constant, plus a part that grows with the text so far": "Yes. So all tokens together still cost a quadratic part for attention, with a small factor.",
        "as much as reading the whole text again": "That is what the cache saves: keys and values of earlier tokens are not computed again."}),
    dict(question="Mixtral 8x7B stores 46.7 billion parameters and uses 12.9 billion for a token. How many billion lie idle for each token?", answer=experts / 1e9,
         tolerance=0.02, unit="billion", why="They must be in memory all the same: a mixture of experts saves computing, not storage."),
    dict(question="Model A scores 66.1 % and B 64.8 % on 1,000 questions. What do you do?", answer="compare question by question", options={
        "compare question by question": "Yes: both answered the same questions, so a paired interval is narrower and decides.",
        "call A the better one": "Each number alone is uncertain by three points.",
        "call the two equally good": "A difference that cannot be told from chance is no proof that there is none."}),
    dict(question="A model scores 4.9 % on questions with four options. What is the first thing to check?", answer="how the answer was read off", options={
        "whether it knows less than nothing": "Guessing gives 25 %. So low a score says that the answers were not counted, not that they were wrong.",
        "how the answer was read off": "Yes: perhaps the letter had to be what it writes, or the chat template was missing.",
        "whether more training helps": "It might, but first make sure that the score measures what it should."}),
])

# %% [markdown]
# ## Further reading
#
# - [@touvron2023llama]
# - [@touvron2023llama2]
# - [@grattafiori2024llama]
# - [@zhao2023survey]
# - [@taori2023alpaca]
# - [@vicuna2023chatbot]
# - [@zhang2019root]
# - [@shazeer2020glu]
# - [@su2021roformer]
# - [@shazeer2019fast]
# - [@ainslie2023gqa]
# - [@narang2021transformer]
# - [@takase2023b2t]
# - [@holtzman2020curious]
# - [@sun2024massive]
# - [@vaswani2017attention]
# - [@benallal2025smollm2]
# - [@srivastava2023beyond]

# %% [markdown]
# ### Further reading: the successors
#
# - [@shazeer2017outrageously]
# - [@jiang2024mixtral]
# - [@deepseekai2024v2]
# - [@deepseekai2024v3]
# - [@peng2024yarn]
# - [@chen2023extending]
# - [@henry2020query]
# - [@teamolmo2024olmo]
