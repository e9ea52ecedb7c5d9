# %% [markdown]
# # 01 · From ELMo to LLaMA
#
# **How language models were pre-trained, and how they grew** (预训练语言模型的发展)
#
# At the beginning of 2018 ELMo, with 94 million parameters, was one part of a system that was built for one task. Five years
# later one model with more than a thousand times as many parameters takes any task that can be put into words. What changed
# on the way? And what has changed since?
#
# After this lecture you can draw the three architectures with their attention masks, say what each is trained to predict,
# read a table of training runs with a critical eye, and say which of the usual stories about growth that table supports.

# %% [markdown] tags=["notes"]
# 60 minutes with the demos. The timeline explorer carries the middle: let the room guess before each menu entry. The column
# `other_figures` of the table lists numbers that slides in use (this course's source among them) print differently, and
# where they come from: most are the ELECTRA paper's tables, an arXiv version that was replaced, or the size of the text where the
# tokens seen are meant.

# %% tags=["skip"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from course_utils import data, interactives, lab, load_model, plots, scoring, tables, widgets

lab.start("01_plm_history")

# %% [markdown]
# ## A model that has read before it learns
#
# A *pre-trained language model* (预训练语言模型) first learns from plain text, without labels (自监督学习). Then it is adapted to
# tasks. Three ways of using it followed each other:
#
# | | before | then | now |
# |---|---|---|---|
# | what is trained | one model for each task | one shared model, *fine-tuned* (微调) by each user | one shared model; most users do not train it |
# | what a user brings | thousands of labels | hundreds of labels | a *prompt* (提示), a few examples, small adapters |
#
# The course is about the third column; this lecture is about how it became possible.

# %% [markdown]
# ## Three architectures, drawn by their masks
#
# All three are Transformers. They differ in which token may read from which. A *mask* (掩码) says it: one row for each token
# that reads, one column for each token that is read, dark where reading is allowed. Model C has two parts, so it has three
# masks: its first part reads the source, its second part reads what it has written, and the second part reads the first.

# %% tags=["hide-input"]
n, m = 6, 4
everything, past = torch.ones(n, n), torch.ones(n, n).tril()
masks = {
    "A": everything,
    "B": past,
    "C: source reads source": everything,
    "C: target reads target": torch.ones(m, m).tril(),
    "C: target reads source": torch.ones(m, n),
}
fig, axes = plt.subplots(1, 5, figsize=(15, 3.4), width_ratios=[n, n, n, m, n])
for ax, (title, mask) in zip(axes, masks.items(), strict=True):
    ax.imshow(mask, cmap="Greys", vmin=0, vmax=1.4)
    ax.set(xticks=range(mask.shape[1]), yticks=range(mask.shape[0]), title=title)
    ax.set(xlabel="token that is read", ylabel="token that reads")
    ax.set_xticks(np.arange(-0.5, mask.shape[1]), minor=True)
    ax.set_yticks(np.arange(-0.5, mask.shape[0]), minor=True)
    ax.grid(False)
    ax.grid(True, which="minor", color="white", linewidth=2, alpha=1)
    ax.tick_params(which="minor", length=0)
plt.show()

# %% tags=["hide-input"]
widgets.predict(
    "Which of the three is which?",
    options=["A is GPT, B is BERT, C is T5", "A is T5, B is GPT, C is BERT", "A is BERT, B is GPT, C is T5", "A is BERT, B is T5, C is GPT"],
    answer="A is BERT, B is GPT, C is T5",
    why="Only in A may every token read what comes after it; only in C is there a source and a target.",
)

# %% [markdown] tags=["subslide"]
# - **A is BERT**, an *encoder* (编码器): every token reads both sides. BERT and ALBERT learn to restore tokens that were hidden
#   (去噪自编码). ELECTRA, also an encoder, does not restore anything: it says of each token whether it was replaced.
# - **B is GPT**, a *decoder* (解码器): a token reads only itself and what came before. GPT and LLaMA learn to predict the next
#   token (自回归).
# - **C is T5**, an *encoder-decoder* (编码器-解码器): the source is read from both sides, the target is written token by token, and
#   every target token reads the whole source through *cross-attention* (交叉注意力). T5, BART.
#
# In the lab you write these masks, train one model of each kind on the same text, and measure what each is good at.

# %% [markdown]
# ### The same three, with real shapes
#
# Each thin bar is one Transformer layer; white: it reads both sides, grey: it reads only what came before.

# %% tags=["hide-input"]
shapes = tables.load("model_shapes").set_index("name")
fig, axes = plt.subplots(1, 3, figsize=(12, 4.6))
for ax, name in zip(axes, ("BERT large", "GPT-3", "T5 11B"), strict=True):
    row = shapes.loc[name]
    stacks = [(k, int(row[f"{k}_layers"])) for k in ("encoder", "decoder") if row[f"{k}_layers"]]
    for at, (kind, layers) in enumerate(stacks):
        color = "white" if kind == "encoder" else "darkgrey"
        ax.bar([at] * layers, [1] * layers, 0.6, bottom=range(layers), color=color, edgecolor="black", linewidth=0.6)
        ax.text(at, layers + 2, f"{kind}\n{layers} layers", ha="center")
    if len(stacks) == 2:
        ax.annotate("", (0.68, 12), (0.32, 12), arrowprops={"arrowstyle": "->", "linewidth": 2})
        ax.text(0.5, 48, "each decoder layer\nreads the encoder's\nlast layer", ha="center", fontsize=10)
    ax.set(xlim=(-0.7, len(stacks) - 0.3), ylim=(0, 118), title=f"{name} ({row['architecture']})")
    ax.text(0.5, -0.1, f"width {row['width']:,}, {row['heads']} heads, {row['parameters_billion']:g} billion parameters",
            transform=ax.transAxes, ha="center", fontsize=11)  # fmt: skip
    ax.axis("off")
plt.show()

# %% [markdown]
# ### A mask can be seen in a real model
#
# The next cell gives the course model, a decoder, two sentences of six tokens: "The film was long and dull", and the same with another
# last word. After each token the model predicts the next one.

# %% tags=["hide-input"]
guess = widgets.predict("At how many of the six tokens do the two predictions differ?", tolerance=0)

# %% tags=["nbval-check-output"]
model, tokenizer = load_model("course", precision="fp32")
texts = [f"The film was long and {end}" for end in ("dull", "great")]
one, two = (tokenizer(text, return_tensors="pt").to(model.device).input_ids for text in texts)
with torch.inference_mode():
    change = (model(one).logits - model(two).logits).abs().amax(-1)[0]
for token, moved in zip(tokenizer.convert_ids_to_tokens(one[0]), change > 1e-3, strict=True):
    print(f"{token.replace('Ġ', ' '):<8} {'changes' if moved else 'the same'}")

# %% tags=["hide-input"]
guess.reveal(int((change > 1e-3).sum()), why="A decoder cannot look ahead: no earlier token reads the word that was changed.")

# %% [markdown]
# So what it has computed for a text stays valid when the text
# gets longer. That is why generation can keep the keys and values of earlier tokens (键值缓存), and one reason why decoders
# are cheap to serve.

# %% [markdown]
# ### The mask in every head
#
# One sentence through the whole model. **Try:** let " long" read, and go through the layers and heads. Does any of them read a word
# on its right? Then let the last token read: after which layer is the likeliest next token the one that the model ends with?

# %%
interactives.transformer(model, tokenizer, "The film was long and dull, but the end was")

# %% [markdown]
# ### What a model reads
#
# Neither letters nor words but *tokens* (词元). *Byte-pair encoding* (BPE, 字节对编码) learns them: it merges the most frequent pair
# of neighbours, again and again. **Try:** after how many merges is " the" one token? How many tokens does a Chinese sentence take?

# %%
text = " ".join(data.movie_sentences()["text"][:400])
to_cut = ["The llamas retokenized everything.", "大模型会写诗。", "12345 + 678 = 13023", "for i in range(10):\n    print(i)"]
interactives.bpe(text, tokenizer, to_cut)

# %% [markdown]
# ## The decoder grew, and stayed the same
#
# GPT-1, GPT-2 and GPT-3 have the same architecture up to details (where the layer normalization is, and sparse attention
# in every second layer of GPT-3). What grew is the number of layers, the width, and the length of the input (context).

# %%
shapes.loc[["GPT-1", "GPT-2", "GPT-3"], ["year", "decoder_layers", "width", "heads",
           "context_tokens", "parameters_billion"]]  # fmt: skip

# %% [markdown]
# ## Eight years of models
#
# Each row has a source that says where in the paper its numbers are (`tables.load("language_models")`). Blank: the authors do
# not say, or we could not check it. `active` parameters: a *mixture of experts* (混合专家) uses only some of its parameters for each
# token. Dates: when the model or its paper was first public.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Take the largest numbers of 2020 in this table, and those of 2026. Which grew by the larger factor?",
    options=["the parameters of the largest model", "the most tokens that a model saw in training", "neither: the factors differ by less than two"],
)

# %% tags=["skip"]
models = tables.load("language_models").set_index("name")
models["chip_days"] = models["chips"] * models["days"]
models["when"] = [int(date[:4]) + (int(date[5:]) - 1) / 12 for date in models["date"]]
shown = models[["organisation", "date", "architecture", "parameters_billion", "active_billion", "chips", "chip", "days"]]
shown = shown.join(models[["chip_days", "text_gb", "tokens_seen_billion", "passes"]])
shown.style.format(na_rep="", formatter={c: "{:,g}" for c in shown.select_dtypes("number")})

# %% [markdown]
# ### Other figures that you will meet
#
# Papers, slides and posts print other numbers for some of these models. Most of them come from somewhere: another
# paper's table, an earlier version, the size of the text where the tokens seen are meant. Ask of each number *what* was
# counted.

# %% tags=["subslide"]
differs = models.loc[models["other_figures"].notna(), ["other_figures", "source"]]
differs.style.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## The timeline
#
# One point for each model that publishes the number.

# %% tags=["hide-input"]
QUANTITIES = {
    "parameters (billions)": "parameters_billion",
    "text (GB)": "text_gb",
    "tokens seen in training (billions)": "tokens_seen_billion",
    "machine time (chip-days)": "chip_days",
}
KINDS = {"encoder": "s", "decoder": "o", "other": "^"}


def label_points(ax, points):
    """Write each name beside its point, where it covers neither another name nor a point."""
    ax.figure.canvas.draw()
    spots = ax.transData.transform([(x, y) for _, x, y in points])
    boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    for (name, x, y), (px, py) in sorted(zip(points, spots, strict=True), key=lambda item: -item[1][0]):
        wide, high = 8.3 * len(name), 13
        places = [(7, -5), (-7 - wide, -5), (-wide / 2, 8), (-wide / 2, -20), (7, 9), (7, -20), (-7 - wide, 9), (-7 - wide, -20)]
        places += [(dx, dy * k) for k in (2, 3, 4, 5) for dx, dy in ((-wide / 2, 14), (-wide / 2, -16), (7, 13), (7, -15))]

        def crowd(place, px=px, py=py, wide=wide, high=high):
            left, low = px + place[0], py + place[1]
            return sum(left < r and left + wide > l and low < t and low + high > b for l, b, r, t in boxes)  # noqa: E741

        dx, dy = min(places, key=crowd)
        boxes.append((px + dx, py + dy, px + dx + wide, py + dy + high))
        style = {"arrowstyle": "-", "color": "grey", "linewidth": 0.8} if abs(dy) > 20 else None
        side, dx = ("right", dx + wide) if dx < -wide else ("center", 0) if dx < 0 else ("left", dx)
        ax.annotate(name, (x, y), (dx * 0.72, dy * 0.72), textcoords="offset points", fontsize=9, ha=side, arrowprops=style)

# %% tags=["hide-input"]
def timeline(quantity, log_axis, names):
    shown = models.dropna(subset=[QUANTITIES[quantity]])
    fig, ax = plt.subplots(figsize=(12, 5.4))
    family = shown["architecture"].str.split(" ").str[0].replace({"bidirectional": "other"})
    family = family.where(shown["architecture"].isin(["encoder"]) | shown["architecture"].str.match(r"decoder( \(|$)"), "other")
    for (kind, marker), color in zip(KINDS.items(), plots.COLORS, strict=False):
        part = shown[family == kind]
        ax.plot(part["when"], part[QUANTITIES[quantity]], marker, color=color, label=kind, markersize=8)
    ax.set(
        title=f"{quantity[0].upper()}{quantity[1:]} of {len(shown)} models",
        xlabel="year in which it was first public",
        ylabel=quantity,
        yscale="log" if log_axis else "linear",
        xlim=(2017.4, 2027.2),
    )
    ax.legend(loc="upper left")
    if names:
        label_points(ax, [(name, row["when"], row[QUANTITIES[quantity]]) for name, row in shown.iterrows()])


widgets.explorer(timeline, quantity=list(QUANTITIES), log_axis=True, names=True, start={"quantity": "parameters (billions)"})

# %% [markdown]
# Take the logarithmic axis away once: on a linear axis everything before 2020 lies on the floor.

# %% [markdown] tags=["subslide"]
# ### The largest of each year
#
# And how many times it grew:

# %%
largest = models.groupby(models["date"].str[:4])[["parameters_billion", "tokens_seen_billion"]].max()
dense = models[models["active_billion"].isna()].groupby(models["date"].str[:4])["parameters_billion"].max()
largest.insert(1, "dense_parameters_billion", dense)  # without mixtures of experts
largest.rename_axis("year").style.format("{:,g}", na_rep="")

# %%
def times(column, start, end):
    """The largest up to `end`, in units of the largest up to `start` (years)."""
    best = [models.loc[models["when"] < year + 1, column].max() for year in (start, end)]
    return best[1] / best[0]


lines = [
    f"- {what}: {times(column, 2018, 2022):,.0f} times from 2018 to 2022, {times(column, 2022, 2026):,.0f} times from 2022 to 2026"
    for what, column in (("parameters of the largest model", "parameters_billion"), ("most tokens seen", "tokens_seen_billion"))
]
dense = models[models["active_billion"].isna() & (models["when"] >= 2023)]["parameters_billion"]
lines.append(f"- largest model since 2023 that uses all its parameters for every token: {dense.idxmax()}, {dense.max():g} billion")
Markdown("\n".join(lines))

# %% tags=["hide-input"]
grew = largest.loc["2026"] / largest.loc["2020"]
parameters, tokens = grew["parameters_billion"], grew["tokens_seen_billion"]
guess.reveal(
    "the parameters of the largest model" if parameters >= 2 * tokens
    else "the most tokens that a model saw in training" if tokens >= 2 * parameters
    else "neither: the factors differ by less than two",
    why=f"From 2020 to 2026 the tokens grew {tokens:,.0f} times, the parameters {parameters:,.0f} times.",
)

# %% [markdown]
# Two ages, then. Until 2022 the number of parameters exploded. Since then the largest dense models of this table have not
# become larger; total parameters still grow, but in mixtures of experts, which use a small part of them for each token. What
# grows now is the text. (These are models chosen for a lecture, and the largest commercial models publish neither
# number: this table cannot speak for them.)

# %% [markdown]
# ## From overfitting to underfitting?
#
# A model that reads the same text often may learn it by heart: *overfitting* (过拟合). A model that is trained too little for its size
# *underfits* (欠拟合). A common story says that small models were in danger of the first, and large models of the second.
# How often did each model read its text?

# %% tags=["hide-input"]
read = models.dropna(subset=["passes"]).sort_values("date", kind="stable")
fig, ax = plt.subplots(figsize=(10, 4.3))
hatches = ["//" if era == "small" else "" for era in read["era"]]
ax.bar(read.index, read["passes"], color="white", edgecolor="black", hatch=hatches, linewidth=1.5)
for i, passes in enumerate(read["passes"]):
    ax.text(i, passes * 1.15, f"{passes:g}", ha="center", va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
ax.axhline(1, color=plots.COLORS[2], linestyle="--")
ax.set(
    title="How often each model read its text (hatched: below 10 billion parameters)",
    xlabel="model, by date",
    ylabel="passes over the text",
    yscale="log",
    ylim=(0.05, 300),
)
ax.tick_params(axis="x", rotation=25)
plt.show()

# %% [markdown] tags=["subslide"]
# The passes did fall, from a hundred to about one; OPT and Galactica read their text more than once. But many passes are not
# yet overfitting: the authors of XLNet write that after 64 passes it still underfits its text [@yang2019xlnet, section 3.1].
# And about four passes cost a large model almost nothing compared with new text [@muennighoff2023scaling]. So the number of
# passes is a risk, not a proof.
#
# Underfitting is about size and training together. One measure is the number of tokens seen per parameter:

# %% tags=["nbval-check-output"]
per_parameter = (models["tokens_seen_billion"] / models["parameters_billion"]).dropna()
for name in per_parameter.index[per_parameter.index.isin(
    ["BERT large", "RoBERTa large", "GPT-3", "Gopher", "OPT", "Chinchilla", "LLaMA 65B", "Llama 3.1 405B", "Qwen2.5 72B",
     "ModernBERT large", "SmolLM2-135M"]
)]:  # fmt: skip
    print(f"{models.loc[name, 'date'][:4]} {name:<17} {per_parameter[name]:8,.1f} tokens per parameter")

# %% [markdown]
# GPT-3, Gopher and OPT saw fewer than two tokens per parameter. Chinchilla, four times smaller than Gopher, spent about the
# same training FLOPs on 20 tokens per parameter, and was better on nearly all tasks [@hoffmann2022training]: the models of
# 2020 to 2022 *were* trained too little for their size. Chapter 4 derives why. Since then models get far more than 20, because
# a small model that was trained long is cheaper to use.

# %% [markdown]
# ## Small and large language models
#
# *Large* (大规模语言模型) usually means more than 10 billion parameters. A comparison as one finds it in lectures of 2023:

# %%
tables.load("small_and_large_models").set_index("name").rename_axis("aspect")[["small", "large"]]

# %% [markdown]
# ### What changed from small to large
#
# | from | to | why |
# |---|---|---|
# | encoders, both directions | decoders, one direction (Decoder-only) | a question at every token; answers can be written; keys and values can be kept |
# | *discriminative* pre-training (判别式) | *generative* pre-training (生成式) | one form for all tasks: text in, text out |
# | text in natural language | text, code, chemical formulas, gene sequences (基因序列), images | many kinds of data, not only more data |
# | fine-tuning | prompting (提示学习), zero to few examples | a user needs few labels or none, and no gradient |
#
# For decoders there is evidence beyond fashion: among models that were trained alike, causal decoders were best at
# zero-shot tasks right after pre-training; encoder-decoders that were trained on masked text were better after multitask
# fine-tuning [@wang2022language]. So which one is best depends on what comes after.

# %% [markdown]
# ### Encoders did not end
#
# Where a text is only read, to classify it or to find it, an encoder of a few hundred million parameters is still the usual
# choice: the searches of chapter 7 use one. ModernBERT [@warner2025smarter] is BERT with what decoders had learnt in between:
# rotary positions, gated feed-forward layers, inputs of 8,192 tokens, and more than ten times as many tokens seen as BERT.

# %% [markdown]
# ## One form for all tasks: text in, text out
#
# The course model has no layer for classifying film reviews. A prompt turns the task into what it can do: continue a
# text. We compare the log-probabilities of " good" and " bad" as the next word, in two ways. "Plain": is " good" likelier?
# "Centred": is its advantage above the median of all reviews? That takes away the model's general liking for one of the
# two words, which says nothing about the film; it also uses that about half of the reviews are praise. (@zhao2021calibrate
# call the idea *calibration* and estimate the liking from an empty input.)

# %%
reviews = data.movie_sentences().shuffle(seed=0).select(range(lab.budget(full=150, quick=12)))


@torch.inference_mode()
def praise(text):
    """log-odds of " good" against " bad" as the next word."""
    ids = tokenizer(f"Review: {text}\nIn one word, the film is", return_tensors="pt").to(model.device).input_ids
    logits = model(ids).logits[0, -1].float()
    good, bad = (tokenizer(word).input_ids[0] for word in (" good", " bad"))
    return float(logits[good] - logits[bad])

# %%
odds = np.array([praise(text) for text in reviews["text"]])
is_praise = np.array(reviews["score"]) > 0
right = {"plain": (odds > 0) == is_praise, "centred": (odds > np.median(odds)) == is_praise}
rows = [
    {"rule": rule, **dict(zip(("share right", "from", "to"), scoring.proportion(int(ok.sum()), len(ok)), strict=True))}
    for rule, ok in right.items()
]
rows.append({"rule": "always the commoner answer", "share right": max(is_praise.mean(), 1 - is_praise.mean())})
pd.DataFrame(rows).set_index("rule").style.format("{:.2f}", na_rep="").set_caption("95 % Wilson intervals")

# %% tags=["hide-input"]
gain, low, high = scoring.paired(right["centred"].astype(float), right["plain"].astype(float))
verdict = "centring helps" if low > 0 else "centring hurts" if high < 0 else f"{len(odds)} reviews cannot tell whether centring helps"
Markdown(f"Centred minus plain, on the same reviews: {gain:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}: {verdict}.")

# %% [markdown]
# No label was used, and no gradient: a prompt asked for the task. (The course model was tuned on instructions, which chapter
# 2 explains, so it may have met such questions.) Chapter 6 takes this up.

# %% [markdown]
# ## A map of abilities
#
# What large models do falls into a few groups (大模型的能力版图), and each has its chapter:
#
# | ability | example | chapter |
# |---|---|---|
# | follow an instruction (遵循指令) | "Summarise in one sentence" | 2, 3 |
# | learn from examples in the prompt (上下文学习) | three labelled reviews, then a fourth | 6 |
# | reason in steps (思维链推理) | a word problem, step by step | 8 |
# | recall and use knowledge (知识) | who wrote what, and what it gets wrong | 5, 7 |
# | write code, translate, converse (代码、翻译、对话) | one model for all three | 2, 12 |
#
# Which of these "emerge" with size, and which only seem to, is the question of chapter 4.

# %% [markdown]
# ## Summary
#
# - Encoder, decoder, encoder-decoder: one Transformer block, different masks, different questions asked of the text.
# - Until 2022 the largest models grew in parameters; since then those that publish their numbers have grown in tokens.
# - Models read their text about once today. The large models of 2020 to 2022 saw too few tokens for their size.
# - The usual way of use moved from fine-tuning to prompting, because text in, text out holds every task.
# - A number about a training run is worth as much as the answer to: what was counted, and who says so?

# %% [markdown]
# ## Quiz
#
# Nine questions on the ideas of this lecture. Each choice has its own explanation.

# %% tags=["hide-input"]
prefix_mask = torch.ones(10, 10).tril()
prefix_mask[:6, :6] = 1
widgets.quiz([
    dict(question="A decoder gets a new mask: the 6 tokens of a prompt read each other in both directions; each of the 4 tokens of the answer "
         "reads the prompt, itself and the answer before it. How many of the 100 cells are allowed?", answer=int(prefix_mask.sum()),
         tolerance=0, why="The prompt's 6 × 6 cells, then rows of 7, 8, 9 and 10. T5's authors call this a *prefix LM*."),
    dict(question="A text gets one more word. A decoder keeps the keys and values of the earlier tokens. Why must BERT compute them anew?", options={
        "BERT has no keys and values.": "It has attention like any Transformer. Only its mask is different.",
        "BERT is so small that a cache does not pay.": "Size does not decide: for BERT the kept numbers would be wrong, at any size.",
        "Each earlier token reads the new word, too.": "Right: so from the second layer on its hidden state, key and value are others. A decoder's earlier tokens never see what comes after them.",
        "BERT has not learnt to predict the next token.": "What is learnt decides what the output means. Whether earlier results stay valid is decided by the mask.",
    }, answer="Each earlier token reads the new word, too."),
    dict(question="A pre-training gets more out of a text if it asks more questions about it. Which of these asks one at every token that it reads?", options={
        "BERT": "It is asked only about the tokens that were chosen, about 15 %.",
        "ELECTRA": "Right: for each token it says whether it was replaced. So this is no privilege of decoders.",
        "T5": "Its targets are the missing spans. About what is left in the source nobody asks.",
    }, answer="ELECTRA"),
    dict(question="A model of 3 billion parameters reads a text of 60 billion tokens four times. How many tokens per parameter has it seen?",
         answer=4 * 60 / 3, unit="tokens per parameter", tolerance=0, why="Tokens seen are the text's tokens times the passes: 240 billion for 3 billion parameters."),
    dict(question="Gopher (280 billion parameters, 300 billion tokens) and Chinchilla (70 billion, 1,400 billion) used about the same compute, and Chinchilla is better. What follows?", options={
        "Smaller models are better.": "Only because the compute saved was spent on tokens. With Gopher's 300 billion tokens Chinchilla would be expected to be worse than Gopher.",
        "Gopher had overfitted its text.": "It read only a part of its text, and hardly any of that twice. Overfitting is not what made it worse.",
        "Twenty tokens per parameter are best for every model.": "For the loss at a fixed training compute, about. Who answers many users takes a smaller model and trains it longer.",
        "With this compute Gopher was too large for its tokens.": "Right: the same compute, split otherwise between size and tokens, gave a better model.",
    }, answer="With this compute Gopher was too large for its tokens."),
    dict(question="A report says that a model read its text 64 times. Has it overfitted?", options={
        "Yes: after so many passes any model knows its text by heart.": "It depends on size and text. XLNet's authors write that after 64 passes it still underfits.",
        "It cannot be told without its loss on held-out text.": "Right: overfitting is the gap between that loss and the loss on the text that was read. The passes are only a risk.",
        "No: without labels there is nothing to overfit.": "The text itself is the label. Models can repeat long passages of their training text word for word.",
        "No: GPT-1 read its text even more often.": "What happened to another model, of another size and with another text, does not tell.",
    }, answer="It cannot be told without its loss on held-out text."),
    dict(question="X is a mixture of experts: 1,000 billion parameters, 32 billion of them active. Y is dense: 400 billion. Both keep all parameters in memory, in the same precision. Compare them.", options={
        "X needs more memory, and more computation per token.": "Memory, yes. But for one token most of X's parameters do nothing.",
        "X needs more memory, Y more computation per token.": "Right: all parameters must be kept, but only the active ones compute: 32 against 400 billion.",
        "Y needs more memory, and more computation per token.": "For computation the active parameters count, but the others must be kept, too: any token may choose them.",
        "Both need the same computation per token, because attention decides it.": "For texts of ordinary length most of the computation is in the parameters: about two FLOPs per token for each active one.",
    }, answer="X needs more memory, Y more computation per token."),
    dict(question="One source says that BERT was trained on 3.3 billion words, another says 131 billion tokens. Which one is wrong?", options={
        "Possibly neither: one may count the text, the other the reading.": "Right: 131 billion tokens were read in all passes; BERT's authors speak of about 40 passes over the 3.3 billion words. Ask of each number what was counted.",
        "The first: 340 million parameters need more text than that.": "About ten words per parameter are few, but each was read dozens of times.",
        "The second: a word is cut into one or two tokens, not into forty.": "That is right for one pass over the text. Nearly all of the factor of 40 comes from reading the text again and again.",
    }, answer="Possibly neither: one may count the text, the other the reading."),
    dict(question='The rule "centred" asks whether the advantage of " good" is above the median. You use it on 100 reviews, of which 90 are praise. What happens?', options={
        "Nothing special: the median takes away only the model's liking for a word.": "The median is that liking *and* the share of praise. The rule cannot tell the two apart.",
        "It gets better: there is more praise to find.": "It calls half of the reviews praise, however many there are.",
        "At least 40 of the 100 answers are wrong.": "Right: at most 50 reviews are above the median. So at least 40 of the 90 are called bad.",
    }, answer="At least 40 of the 100 answers are wrong."),
])

# %% [markdown]
# ## Further reading
#
# - [@peters2018deep]
# - [@devlin2019bert]
# - [@yang2019xlnet]
# - [@clark2020electra]
# - [@raffel2020exploring]
# - [@brown2020language]
# - [@hoffmann2022training]
# - [@muennighoff2023scaling]
# - [@wang2022language]
# - [@warner2025smarter]
# - [@zhao2021calibrate]
# - [@zhao2023survey]
#
# The order of topics follows Zhang Zhuosheng's lectures 大语言模型基础.
