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
# 60 minutes. The middle part (the block, the cache, grouping) prepares the lab, in which every line of it is written. Let
# the room guess at each "Predict". The demo "one model, five ways to score" is worth five minutes: it offers a hypothesis
# for a puzzle in the slides' tables. The slide gives 63K conversations for Vicuna, calls a LLaMA both 30B and 33B, and has
# "N/A" for Falcon on HumanEval; the lecture gives the papers' figures. In the table of Llama 2 the third column is the
# slide's. Run the notebook before class; it takes about a minute.

# %% tags=["skip"]
import ast
import time
from pathlib import Path
from string import ascii_uppercase

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import transformers
from IPython.display import display

from course_utils import data, lab, load_model, plots, scoring, tables, widgets

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


show_models("size (billion)", True, "all")

# %%
widgets.explorer(
    show_models, sort_by=["size (billion)", "tokens (billion)", "released", "chips", "days"], largest_first=True,
    only=["all", "trained from scratch", "tuned from another"],
);

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


timeline("parameters (billion)", names=True)
plt.show()

# %%
widgets.explorer(timeline, height=["parameters (billion)", "training tokens (billion)"], names=True);

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
# Share × 1.4 trillion tokens ÷ passes = tokens in the source; divide its size on disk by that: bytes per token. **Predict**
# and write down: which needs the most tokens for the same number of bytes, web pages, books or code?

# %%
mix["tokens_billion"] = 1400 * mix["sampling_percent"] / 100 / mix["epochs"]
mix["bytes_per_token"] = mix["disk_gb"] / mix["tokens_billion"]
mix.iloc[::-1][["disk_gb", "tokens_billion", "bytes_per_token", "epochs"]].round(2)

# %% [markdown]
# Of the three it is books: they have the fewest bytes per token, then code, then web pages. Few people guess that, and the
# table cannot say why. (The counts of tokens are computed from the paper's rounded shares.) Of all sources ArXiv needs the
# most tokens; one likely reason is that LLaMA's tokenizer splits every number into digits. Wikipedia and books are read
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
# ### RMSNorm
#
# $$\text{RMSNorm}(x) = w \odot x \,/\, \sqrt{\text{mean}(x^2) + \varepsilon}$$
#
# LayerNorm without mean and bias [@zhang2019root]: as good in their runs, 7 to 64 % faster. *Pre-norm* (前置归一化):
# normalise what a sublayer **reads**, never the stream itself. **Predict:** how large is the stream then, after 30 layers?

# %%
model, tokenizer = load_model(precision="fp32")
ids = tokenizer("A llama is an animal that lives in the Andes.", return_tensors="pt").to(model.device)["input_ids"]
with torch.inference_mode():
    stream = model(ids, output_hidden_states=True).hidden_states[:-1]
sizes = torch.stack([h[0].pow(2).mean(-1).sqrt() for h in stream])
print("layer 0, 10, 20, 29, first token:", [round(v, 1) for v in sizes[[0, 10, 20, 29], 0].tolist()])
print("layer 0, 10, 20, 29, the others :", [round(v, 1) for v in sizes[[0, 10, 20, 29], 1:].mean(1).tolist()])

# %% [markdown]
# The stream grows by a factor of hundreds, in the first token by a factor of thousands: *massive activations*, on which
# other tokens park their attention [@sun2024massive]. Sublayers read it normalised and do not notice.

# %% [markdown]
# ### SwiGLU
#
# $$W_\text{down}\big(\text{SiLU}(W_\text{gate} x) \odot W_\text{up} x\big)$$
#
# Three matrices instead of two; so that the weights stay the same, the width shrinks from $4d$ to $\frac{2}{3} \cdot 4d$
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


reach(5.0, 64)
plt.show()

# %%
widgets.explorer(reach, log10_theta=(2.0, 5.7, 0.1), head_size=[128, 64, 16]);

# %% [markdown]
# ## The KV cache
#
# To write the next token, attention needs the keys and values of *all* earlier tokens, and they never change: a token does
# not see what comes after it. So keep them (*KV cache*, 键值缓存). **Predict** and write down: how many times faster does
# the model write 40 tokens?

# %%
seconds = {}
for cached in (True, False):
    began = time.perf_counter()
    out = model.generate(ids, max_new_tokens=lab.budget(full=40, quick=2), do_sample=False, use_cache=cached,
                         pad_token_id=tokenizer.pad_token_id)
    seconds[cached] = time.perf_counter() - began
print(tokenizer.decode(out[0]))
print(f"with {seconds[True]:.1f} s, without {seconds[False]:.1f} s: {seconds[False] / seconds[True]:.1f} times")

# %% [markdown]
# Compare with the printed ratio. It is far below 40, because each step must still read all the parameters from memory, and
# because 40 tokens are short: the longer the text, the more the cache saves (the lab measures it).

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


cache_memory("Llama 2 70B", 4096, 16, "one for each query head")
plt.show()

# %%
widgets.explorer(
    cache_memory, model=list(llamas["name"]), tokens=[4096, 2048, 1024, 512], texts=(1, 64, 1),
    kv_heads=["as published", "one for each query head", "one"],
);

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
# ### Does it hurt?
#
# @touvron2023llama2 [table 18] trained three 30B models on 150 billion tokens; GQA and MQA got wider feed-forward
# networks, so that all have as many weights. Scores of eleven benchmarks:

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
# ## Is a small model as good as a large one?
#
# **Predict:** of the seven tasks that both report, on how many is LLaMA 13B at least as good as GPT-3 with 175 billion?

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
print(f"LLaMA 13B is ahead on {(both.iloc[0] > both.iloc[1]).sum()} of {both.shape[1]} tasks")

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


abilities("rank in column", "all")
plt.show()

# %%
widgets.explorer(abilities, shade=["rank in column", "value"], models=["all", "open only", "closed only"]);

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
# ### Try it: one model, five ways to score
#
# 70 questions of general knowledge (BIG-bench) for the course model. **Predict** and write down three numbers: comparing
# texts; comparing only the letters; the letter must be what it writes. The last two again, with the model's chat template.

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


def asked(text):
    order = text.removesuffix("\nAnswer:") + "\nReply with the letter of the right answer only."
    return tokenizer.apply_chat_template([{"role": "user", "content": order}], tokenize=False, add_generation_prompt=True)


chat = scoring.loglikelihood(model, tokenizer, [asked(text) for text in lettered],
                             [list(ascii_uppercase[: len(shown)]) for shown in options], progress=False)
results = {
    "text of the answer": hits(texts, texts["loglikelihood"] / texts["tokens"]),
    "letter, only letters compared": hits(letters, letters["loglikelihood"]),
    "letter, written": says(letters),
    "chat template, letters compared": hits(chat, chat["loglikelihood"]),
    "chat template, letter written": says(chat),
}
for name, correct in results.items():
    value, low, high = scoring.proportion(correct.sum(), len(correct))
    print(f"{name:<32}{value:6.1%}  [{low:.1%}, {high:.1%}]")
print(f"{'guessing':<32}{np.mean([1 / len(shown) for shown in options]):6.1%}")
chosen = letters.sort_values("loglikelihood").groupby("context").last()["continuation"]
print(f'\nthe letter it likes best is "A" in {np.mean(chosen == 0):.0%} of the questions; in the file\'s own order, before we')
print(f"shuffled, the first option is right in {first:.0%}: always saying A would have scored that")

# %% [markdown]
# One model, five scores. At full budget: by the texts it is right about twice as often as a guess, and the interval (Wilson)
# excludes guessing. By the letters we cannot tell it from guessing, because it prefers one letter whatever the answer is. And
# without the chat template the right letter is never what it would *write*: 0 of 70 is compatible with up to 5 %. Had we not
# shuffled, always "A" would have looked better than knowledge.
#
# An instruction model should be asked with its *chat template* (对话模板): compare the last two rows with the two above them. So
# the way of asking can move a score from clearly above guessing to nearly 0. That makes the hypothesis about the survey's 4.9
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
# Drawn from a table with a date and a source for each (`tables.load("llama_family")`). *Weights*: trained on from the
# parent's file. *Architecture*: own training, the same block. Checked on 24 November 2026.
#
# For Meta's models the date is the release of the weights. For models of others it is often the date of the paper (Chinese
# LLaMA, TinyLlama, DeepSeek LLM, SmolLM2, Llama-Nemotron and others); weights can be public weeks or months before the paper.
# The tree is a selection: families with a related block but their own line (Qwen, GLM, Baichuan, InternLM, Gemma, OLMo,
# gpt-oss) are not drawn.

# %% tags=["hide-input"]
family = tables.load("llama_family").set_index("name")
born = pd.to_datetime(family["date"])
DIRECTION = {"first": 0, "successor": 0, "weights": 1, "architecture": -1, "other": 0}


def lanes(days_a_letter=9.5):
    """A height for each name, so that no two labels meet: Meta's line in the middle, weights above, architecture below."""
    height, free = {}, {}
    for name in born.sort_values().index:
        step = DIRECTION[family.loc[name, "kind"]]
        lane = step
        while step and free.get(lane, pd.Timestamp(0)) > born[name]:
            lane += step
        if not step:  # Meta's own: names in turn above and below the line
            lane = 0
        free[lane] = born[name] + pd.Timedelta(days=days_a_letter * len(name) + 25)
        height[name] = lane
    return height


height = lanes()
fig, ax = plt.subplots(figsize=(13, 6))
for name, parent in family["after"].dropna().items():
    ax.plot([born[parent], born[name]], [height[parent], height[name]], color="grey", marker="", linewidth=1,
            linestyle="-" if family.loc[name, "kind"] != "architecture" else "--", zorder=1)
looks = {"first": "*", "successor": "o", "weights": "^", "architecture": "s", "other": "X"}
for i, (kind, marker) in enumerate(looks.items()):
    names = family.index[family["kind"] == kind]
    ax.plot(born[names], [height[n] for n in names], marker, color=plots.COLORS[i], markersize=9, label=kind)
own = [n for n in born.sort_values().index if height[n] == 0]
paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
for name in family.index:
    offset = (0, -17 if own.index(name) % 2 else 9) if name in own else (8, -4)
    ax.annotate(name, (born[name], height[name]), xytext=offset, textcoords="offset points", fontsize=10,
                ha="center" if name in own else "left", bbox=paper)
ax.set(title="From LLaMA to today", xlabel="date", ylabel="branches", xlim=(pd.Timestamp("2022-12-15"), pd.Timestamp("2026-12-01")))
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
# ## What may I do with it?

# %% tags=["hide-input"]
rows = ["LLaMA", "Alpaca", "Vicuna", "Llama 2", "Llama 3", "Llama 3.1", "Llama 3.2", "Llama 4", "Mistral 7B", "SmolLM2",
        "Muse Glimmer"]
shown = family.loc[rows, ["date", "licence"]].rename_axis("").style.set_properties(**{"text-align": "left"})
shown.set_properties(subset=["date"], **{"white-space": "nowrap"})

# %% [markdown]
# None of Meta's Llama licences is *open source* in the sense of the Open Source Initiative, because they restrict what the
# model is used for and how large a company may be. A tuned model inherits its parent's terms **and** those of its data
# (Alpaca's answers came from OpenAI).

# %% [markdown]
# ## From logits to text
#
# In every family the last step is a random draw. *Temperature* (温度) divides the logits, *top-k* keeps $k$ tokens, *top-p*
# (nucleus, 核采样, @holtzman2020curious) the smallest set that holds $p$ of the probability. **Predict** and write down: how
# many tokens does top-p = 0.9 keep where one token has a probability of 0.95?

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


draw_next("The old sailor looked at the", 1.0, 0, 0.9)
plt.show()

# %%
widgets.explorer(
    draw_next, beginning=BEGINNINGS, temperature=(0.2, 2.0, 0.1), top_k=[0, 1, 5, 20, 100], top_p=(0.1, 1.0, 0.05)
);

# %% [markdown]
# One. Where the model is sure, top-p keeps a single token; where it is not, it keeps very many, as the figure's title shows.
# Top-k keeps the same number in both cases.

# %% [markdown]
# ## What to take home
#
# - LLaMA: known parts, well chosen (RMSNorm first, RoPE, SwiGLU; later GQA), small models, much public text.
# - With the KV cache each token passes through the layers once. Attention still reads all earlier keys and values, so its
#   total work stays quadratic in the length. Grouping divides the cache's memory. Compute both from a configuration before
#   you rent a GPU.
# - A score is a model **and** a way of asking **and** a number of questions. Two papers, one model: 72.8 and 4.9.
# - Open weights, open data, open source and free to use are four different things. Read the licence.
#
# **Ask yourself:** a new model's card says 40 layers, 40 heads, 8 key-value heads of 128, context 32K. How many of your
# users fit on an 80 GB card?

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
# - [@holtzman2020curious]
# - [@sun2024massive]
# - [@vaswani2017attention]
# - [@benallal2025smollm2]
# - [@srivastava2023beyond]
