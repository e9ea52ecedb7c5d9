# %% [markdown]
# # 01 · From ELMo to LLaMA
#
# **How language models were pre-trained, and how they grew** (预训练语言模型的发展)
#
# In 2018 the best language model had 94 million parameters and was one part of a system built for one task. Five years
# later one model with a thousand times as many takes any task, in plain words. What changed on the way?
#
# After this lecture you can draw the three architectures as masks, say what each is trained to do, tell a large model
# from a small one by more than its size, and read a table of training runs with a critical eye.

# %% [markdown] tags=["notes"]
# 60 minutes with the demos. The timeline explorer carries the first half: let the room guess before each menu entry. Numbers
# that differ from the deck are marked in the table's column `deck`, with the paper's figure in use.

# %% tags=["skip"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from course_utils import data, lab, load_model, plots, scoring, tables, widgets

lab.start("01_plm_history")

# %% [markdown]
# ## A model that has read before it learns
#
# A *pre-trained language model* (预训练语言模型) learns from plain text, without labels (自监督学习), and is then adapted to
# tasks. Three ages of using it:
#
# | | before | then | now |
# |---|---|---|---|
# | what is trained | one model for each task | one model in a centre, *fine-tuned* (微调) by each user | one model, hardly ever trained by its users |
# | what a user brings | thousands of labels | hundreds of labels | a *prompt* (提示), a few examples, small adapters |
#
# The course follows the third column; this lecture is about how it became possible.

# %% [markdown]
# ## Three architectures, drawn by their masks
#
# All three are Transformers. They differ in who may look at whom. **Predict:** which of these pictures is BERT, GPT, T5?

# %% tags=["hide-input"]
n = 6
everything, past = torch.ones(n, n), torch.ones(n, n).tril()
both = torch.zeros(2 * n, 2 * n)
both[:n, :n], both[n:, :n], both[n:, n:] = everything, everything, past
fig, axes = plt.subplots(1, 3, figsize=(11, 3.9))
for ax, mask, title in zip(axes, (everything, past, both), ("A", "B", "C"), strict=True):
    ax.imshow(mask, cmap="Greys", vmin=0, vmax=1.4)
    ax.set(xticks=range(0, len(mask), 2), yticks=range(0, len(mask), 2))
    ax.set(title=f"Mask {title} (dark: may look)", xlabel="looked at (position)", ylabel="looking (position)")
    ax.grid(False)
plt.show()

# %% [markdown]
# - **A, encoder** (编码器): every word sees both sides. BERT, ALBERT, ELECTRA. Learns to restore damaged text (去噪自编码).
# - **B, decoder** (解码器): a word sees what came before. GPT, LLaMA. Learns to continue text (自回归).
# - **C, encoder-decoder** (编码器-解码器): a source seen from all sides, a target written word by word. T5, BART.
#
# In the lab you write these masks, train one model of each kind on the same text, and find out what each is good at.

# %% [markdown]
# ### A mask can be seen in a real model
#
# **Predict:** change the last word of a sentence. Which predictions of the course model, a decoder, move?

# %% tags=["nbval-check-output"]
model, tokenizer = load_model("course", precision="fp32")
texts = [f"The film was long and {end}" for end in ("dull", "great")]
one, two = (tokenizer(text, return_tensors="pt").to(model.device).input_ids for text in texts)
with torch.inference_mode():
    change = (model(one).logits - model(two).logits).abs().amax(-1)[0]
for token, moved in zip(tokenizer.convert_ids_to_tokens(one[0]), change > 1e-3, strict=True):
    print(f"{token.replace('Ġ', ' '):<8} {'moves' if moved else 'the same'}")

# %% [markdown]
# Only the last. A decoder cannot look ahead, so what it computed for a beginning stays true for every continuation: that
# is why generation can keep its keys and values (键值缓存), and one reason why decoders are cheap to serve.

# %% [markdown]
# ## Six years of models
#
# The deck's table, corrected and sourced (`tables.load("language_models")`). Blank: the paper does not say.

# %%
models = tables.load("language_models").set_index("name")
models["chip_days"] = models["chips"] * models["days"]
shown = models[["organisation", "year", "architecture", "parameters_billion", "chips", "chip", "days", "chip_days"]]
shown = shown.join(models[["text_gb", "tokens_seen_billion"]])
shown.style.format(na_rep="", precision=6, formatter={c: "{:,g}" for c in shown.select_dtypes("number") if c != "year"})

# %% [markdown]
# ### Where the deck and the papers differ
#
# Most visible: Chinchilla was trained on 1.4 trillion tokens, not on 140; GPT-3's "45 TB" is the crawl before filtering, of
# which 570 GB were used.

# %%
differs = models["deck"].notna() & ~models["deck"].fillna("").str.startswith("not in")
models.loc[differs, ["deck", "source"]].style.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## The timeline
#
# **Predict, then choose:** which grew faster, the models, the text, or the machine time?

# %%
QUANTITIES = {
    "parameters (billions)": "parameters_billion",
    "text (GB)": "text_gb",
    "tokens seen in training (billions)": "tokens_seen_billion",
    "machine time (chip-days)": "chip_days",
}
KINDS = {"encoder": "s", "decoder": "o", "other": "^"}


def timeline(quantity, log_axis, names):
    shown = models.dropna(subset=[QUANTITIES[quantity]])
    jitter = shown.groupby("year").cumcount() / shown.groupby("year")["era"].transform("size") * 0.8
    fig, ax = plt.subplots(figsize=(11, 4.6))
    for (kind, marker), color in zip(KINDS.items(), plots.COLORS, strict=False):
        of_kind = shown["architecture"].where(shown["architecture"].isin(["encoder", "decoder"]), "other") == kind
        ax.plot(
            shown["year"][of_kind] + jitter[of_kind],
            shown[QUANTITIES[quantity]][of_kind],
            marker,
            color=color,
            label=kind,
            markersize=9,
        )
    for i, (name, row) in enumerate(shown.iterrows() if names else []):
        ax.annotate(
            name,
            (row["year"] + jitter[name], row[QUANTITIES[quantity]]),
            textcoords="offset points",
            xytext=(6, 5 if i % 2 else -15),  # in turn above and below, so that neighbours do not meet
            fontsize=10,
        )
    ax.set(
        title=f"{quantity[0].upper()}{quantity[1:]} of {len(shown)} models",
        xlabel="year of publication",
        ylabel=quantity,
        yscale="log" if log_axis else "linear",
    )
    ax.legend(loc="upper left" if log_axis else "best")


timeline("parameters (billions)", log_axis=True, names=True)
plt.show()

# %%
widgets.explorer(timeline, quantity=list(QUANTITIES), log_axis=True, names=True);

# %% [markdown]
# Take the logarithmic axis away once: on a linear axis everything before 2020 lies on the floor.
#
# How fast, in one number? A straight line through the logarithms, with an interval over models.

# %%
def yearly(frame):
    """Growth factor a year: the slope of log10 over years."""
    return float(10 ** np.polyfit(frame["year"], np.log10(frame["value"]), 1)[0])


rows = []
for label, column in QUANTITIES.items():
    frame = models[["year", column]].dropna().rename(columns={column: "value"}).reset_index(drop=True)
    value, low, high = scoring.bootstrap(frame, yearly, n=1000)
    rows.append({"what": label, "models": len(frame), "times a year": value, "from": low, "to": high})
pd.DataFrame(rows).set_index("what").round(1)

# %% [markdown]
# Wide intervals: eighteen models chosen by a lecturer are no sample of the world. Only growth whose interval leaves out 1 is
# shown by these data; the tokens seen are not among it, because XLNet had already read its text 64 times in 2019.

# %% [markdown]
# ## From overfitting to underfitting
#
# BERT read its text forty times. A model that reads the same text often may learn it by heart: *overfitting* (过拟合). What
# happened to the number of passes?

# %% tags=["hide-input"]
read = models.dropna(subset=["passes"]).sort_values("year", kind="stable")
fig, ax = plt.subplots(figsize=(10, 4.3))
ax.bar(
    read.index,
    read["passes"],
    color="white",
    edgecolor="black",
    hatch=["//" if era == "small" else "" for era in read["era"]],
    linewidth=1.5,
)
for i, passes in enumerate(read["passes"]):
    ax.text(i, passes * 1.12, f"{passes:g}", ha="center")
ax.axhline(1, color=plots.COLORS[2], linestyle="--")
ax.set(
    title="How often each model read its text (hatched: small models)",
    xlabel="model, by year",
    ylabel="passes over the text",
    yscale="log",
    ylim=(0.05, 300),
)
ax.tick_params(axis="x", rotation=25)
plt.show()

# %% [markdown]
# Large models see most of their text once or less. They cannot learn it all by heart; the risk is now *underfitting*
# (欠拟合): too little training for their size. How little? Tokens per parameter:

# %% tags=["nbval-check-output"]
ratio = (models["tokens_seen_billion"] / models["parameters_billion"]).dropna()
for name in ("BERT large", "GPT-3", "Gopher", "PaLM", "OPT", "Chinchilla", "LLaMA 65B"):
    print(f"{name:<12} {ratio[name]:7.1f} tokens a parameter")

# %% [markdown]
# GPT-3 and Gopher saw fewer than two tokens a parameter. Chinchilla, four times smaller than Gopher and trained with the
# same budget on 20 a parameter, was better almost everywhere [@hoffmann2022training]. Chapter 4 derives why.

# %% [markdown]
# ## Small and large language models
#
# *Large* (大规模语言模型) usually means more than 10 billion parameters. The deck's comparison:

# %%
tables.load("small_and_large_models").set_index("name").rename_axis("aspect")[["small", "large"]]

# %% [markdown]
# ### Four moves from small to large
#
# | from | to | why |
# |---|---|---|
# | encoders, both directions | decoders, one direction (Decoder-only) | every token is a question; answers can be written; keys and values can be kept |
# | *discriminative* pre-training (判别式) | *generative* (生成式) | one form for all tasks: text in, text out |
# | text of one kind | text, code, formulas, images | variety, not only volume |
# | fine-tuning | prompting (提示学习), zero to few examples | a user needs no labels, and no gradient |
#
# For decoders there is evidence beyond fashion: trained alike, causal decoders were best at zero-shot tasks right after
# pre-training; encoder-decoders trained on masked text were better after multitask fine-tuning [@wang2022language].

# %% [markdown]
# ## One form for all tasks: text in, text out
#
# The course model was never trained to classify film reviews. A prompt turns the task into what it can do: continue.

# %%
reviews = data.movie_sentences().shuffle(seed=0).select(range(lab.budget(full=100, quick=12)))


@torch.inference_mode()
def praise(text):
    """log-odds of " good" against " bad" as the next word."""
    ids = tokenizer(f"Review: {text}\nIn one word, the film is", return_tensors="pt").to(model.device).input_ids
    logits = model(ids).logits[0, -1]
    good, bad = (tokenizer(word).input_ids[0] for word in (" good", " bad"))
    return float(logits[good] - logits[bad])

# %%
answers = pd.DataFrame(
    {"odds": [praise(text) for text in reviews["text"]], "praise": [score > 0 for score in reviews["score"]]}
)
middle = answers["odds"].median()
right = answers.assign(
    plain=(answers["odds"] > 0) == answers["praise"], centred=(answers["odds"] > middle) == answers["praise"]
)
for rule in ("plain", "centred"):
    value, low, high = scoring.bootstrap(right, lambda f, rule=rule: float(f[rule].mean()))
    print(
        f"{rule:<8} {value:.2f} right, 95 % interval {low:.2f} to {high:.2f}; share of praise {answers['praise'].mean():.2f}"
    )

# %% [markdown]
# "Plain" asks whether " good" is likelier than " bad"; "centred" takes away the model's liking for one of the two words,
# which says nothing about the film (@zhao2021calibrate call this calibration). No label was used for training. Chapter 6
# takes this up.

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
# - Encoder, decoder, encoder-decoder: one block, three masks, three questions asked of the text.
# - From 2018 to 2023 the largest models grew several times a year in parameters; text grew too, and so did the machines.
# - Passes over the text fell from a hundred to one or less: the risk moved from overfitting to underfitting.
# - The form of use moved from fine-tuning to prompting, because text in, text out holds every task.
# - A table of training runs is only as good as its sources: several of the deck's rows differ from the papers.

# %% [markdown]
# ## Further reading
#
# - [@peters2018deep]
# - [@devlin2019bert]
# - [@brown2020language]
# - [@hoffmann2022training]
# - [@wang2022language]
# - [@zhao2021calibrate]
# - [@zhao2023survey]
