# %% [markdown]
# # 08 · Chain of thought
#
# **Let it write down its steps.** (思维链推理)
#
# One sentence in a prompt, "Let's think step by step", and a large model solves problems that it failed a moment ago. No
# weight has changed. Why should *writing* help a machine to think? When does it not? And is what it writes what it thinks?
#
# After this lecture you can prompt for a chain in three ways, say when it pays and what it costs, improve it by a vote, test
# whether a chain is honest, and explain how a prompting trick became a way of training.

# %% [markdown] tags=["notes"]
# 60 minutes. The heart is the middle: "Why should writing help?" and the race at equal compute; let the room draw the three
# curves before they are shown. Second heart: "Does the answer follow the chain?". The live model is small and does badly, on
# purpose: say so early, and come back to it at "Emergent?".

# %% tags=["skip"]
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from course_utils import generate, hardware, lab, load_model, plots, scoring, tables, widgets
from course_utils.errors import CourseError

lab.start("08_chain_of_thought")
plots.style()
model, tokenizer = load_model("course", precision="fp32")

# %% [markdown]
# ## Ten friends
#
# > There were 10 friends playing a video game online when 7 players quit. If each player left had 8 lives, how many lives did
# > they have total?
#
# | | the deck's large model goes on |
# |---|---|
# | **A:** The answer is | 80. ✗ |
# | **A:** Let's think step by step. | … at the start, there were 10 × 8 = 80 lives in total. Then, 7 players quit. This means that 7 × 8 = 56 lives were lost. … 80 − 56 = 24. ✓ |
#
# **Predict:** and a model of 135 million weights?

# %%
FRIENDS = (
    "There were 10 friends playing a video game online when 7 players quit. "
    "If each player left had 8 lives, how many lives did they have total?"
)
for tail, length in (
    (" The answer is", lab.budget(full=6, quick=2)),
    (" Let's think step by step.", lab.budget(full=45, quick=4)),
):
    print(f"A:{tail} …", generate(model, tokenizer, f"Q: {FRIENDS}\nA:{tail}", chat=False, max_new_tokens=length), "\n")

# %% [markdown]
# It writes steps. They are not steps *of this problem*. Remember that for the slide on size.

# %% [markdown]
# ## Two modes
#
# | | |
# |---|---|
# | usual mode (常规模式) | question → **answer** |
# | chain-of-thought mode (思维链模式) | question → **chain of thought** → **answer** |
#
# No gradient: the chain is asked for in the prompt, or it is shown by examples.
#
# Before it was a prompt, it was data: rationales to train on [@ling2017program], *scratchpads* (草稿纸, @nye2021show) on which
# a model learns to calculate, and GSM8K [@cobbe2021training]: 8,500 school problems with solutions written by people.

# %% [markdown]
# ### Few-shot: show chains
#
# @wei2022chain: eight examples, each with its chain. Ours has two here:

# %%
EXAMPLES = [
    ("Tom has 8 cards. Tom buys 5 more. Tom loses 2. How many cards does Tom have now?", "8 + 5 = 13. 13 - 2 = 11.", 11),
    ("Ana has 4 pens. A fairy multiplies them by 3. How many pens does Ana have now?", "4 * 3 = 12.", 12),
]


def few_shot(question, chain):
    shots = [f"Q: {q}\nA: {c + ' ' if chain else ''}The answer is {a}." for q, c, a in EXAMPLES]
    return "\n\n".join([*shots, f"Q: {question}\nA:" + ("" if chain else " The answer is")])


print(few_shot("Li has 9 stamps. Li loses 4. How many stamps does Li have now?", chain=True))

# %% [markdown]
# ### Zero-shot: ask for one
#
# @kojima2022large: no example, one sentence. **Predict:** which of these helps text-davinci-002 on MultiArith?

# %% tags=["hide-input"]
triggers = tables.load("zero_shot_triggers").sort_values("multiarith_percent")
fig, ax = plt.subplots(figsize=(10.5, 5.6))
kinds = ["none", "irrelevant", "misleading", "instructive"]
for i, kind in enumerate(kinds):
    part = triggers[triggers["kind"] == kind]
    places = [list(triggers["trigger"]).index(t) for t in part["trigger"]]
    look = {"color": "white", "edgecolor": plots.COLORS[i], "hatch": plots.HATCHES[i]}
    ax.barh(places, part["multiarith_percent"], label=kind, **look)
ax.set_yticks(range(len(triggers)), triggers["trigger"], fontsize=10)
ax.set(title="Said before the answer (Kojima et al. 2022, Table 4)", xlabel="right answers (%)", ylabel="sentence")
ax.legend(title="kind of sentence", loc="lower right")
plt.show()

# %% [markdown]
# Not the magic of words: what invites *steps* helps. An answer is then read off the chain by a second call, "Therefore, the
# answer (arabic numerals) is".

# %% [markdown]
# ### Tuned models do it unasked

# %%
print(generate(model, tokenizer, FRIENDS, max_new_tokens=lab.budget(full=70, quick=4)))

# %% [markdown]
# In a chat the course model writes a chain of itself: instruction data (chapter 2) is full of worked solutions. For today's chat
# models the question is rather how to keep a chain *short*.

# %% [markdown]
# ## Honest scores
#
# 18 little problems with exact answers, two styles, our model. **Predict** both shares.

# %% tags=["hide-input"]
NAMES, THINGS = ["Tom", "Ana", "Li"], ["cards", "pens", "stamps"]
SAY = {"+": "{} buys {} more.", "-": "{} loses {}.", "*": "A fairy multiplies them by {1}."}


def draw_problem(rng, steps):
    who, what, have = NAMES[rng.integers(3)], THINGS[rng.integers(3)], int(rng.integers(3, 12))
    text = [f"{who} has {have} {what}."]
    for _ in range(steps):
        operation = ["+", "*"][rng.integers(2)] if have < 10 else "-"
        n = int(rng.integers(2, 6))
        text.append(SAY[operation].format(who, n))
        have = {"+": have + n, "-": have - n, "*": have * n}[operation]
    return f"{' '.join(text)} How many {what} does {who} have now?", have


def number_in(text):
    said = text.split("answer is")[-1] if "answer is" in text else text
    found = re.findall(r"\d+", said)
    return None if not found else int(found[0] if "answer is" in text else found[-1])


@torch.inference_mode()
def answers(prompts, length, model=model, tokenizer=tokenizer):
    inputs = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt").to(model.device)
    out = model.generate(**inputs, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    texts = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.split("\n")[0] for text in texts]


def both_styles(model, tokenizer):
    """What a model says to the problems without (False) and with (True) a chain; prints how much of it is right."""
    said = {
        c: answers([few_shot(q, c) for q, _ in problems],
                   lab.budget(full=40 if c else 5, quick=8 if c else 2), model, tokenizer)
        for c in (False, True)
    }
    right = pd.DataFrame({c: [number_in(t) == a for t, (_, a) in zip(said[c], problems, strict=True)] for c in said})
    for c, name in ((False, "answer at once"), (True, "chain first")):
        found = scoring.bootstrap(right, lambda f, c=c: float(f[c].mean()))
        print("few-shot, {}: {:.2f} [{:.2f}, {:.2f}]".format(name, *found))
    print("chain first, 1, 2, 3 steps:", *right[True].groupby(np.arange(len(right)) * 3 // len(right)).mean().round(2))
    return said


rng = np.random.default_rng(8)
problems = [draw_problem(rng, steps) for steps in (1, 2, 3) for _ in range(lab.budget(full=6, quick=1))]
said = both_styles(model, tokenizer)
print("a chain:", problems[-1][0], "→", said[True][-1].strip(), f"(right: {problems[-1][1]})")

# %% [markdown]
# Wide intervals, but they do not overlap: here a chain gains. All of the gain is in the problems of one step (6 of 6). With two
# or three the model *leaves steps out*, as in the example, and is right once in twelve. Lab 08 asks 36 others: 0.50 against 0.17
# at one step, and beyond it nothing.

# %% [markdown]
# ### The same, with a larger model
#
# If there is a GPU with room for it, this cell asks a model fifty times larger, in int8 (chapter 10). Nothing below needs it.

# %% tags=["hide-input"]
LARGER = "qwen2.5-7b"  # 15 GB to fetch
need = hardware.plan(LARGER, "int8", batch=len(problems), context=256)
print(f"{LARGER} in int8 needs {need.total / hardware.GB:.1f} GB of a GPU's memory.")
try:
    both_styles(*load_model(LARGER, precision="int8", device="cuda"))
except CourseError as error:  # no such GPU here, or no way to the hub
    print("Left out:", str(error).splitlines()[0])

# %% [markdown]
# ## Emergent?
#
# The deck calls chain of thought the most typical *emergent ability* (涌现能力) of large models. The numbers behind it:

# %% tags=["hide-input"]
sizes = tables.load("chain_of_thought_sizes")
fig, axes = plt.subplots(1, 3, figsize=(13, 4.5), sharex=True)
for ax, (task, part) in zip(axes, sizes.groupby("task", sort=False), strict=True):
    for i, (family, f) in enumerate(part[part["family"] != "UL2"].groupby("family", sort=False)):
        ax.plot(f["parameters_billion"], f["chain_percent"] - f["standard_percent"], color=plots.COLORS[i],
                marker=plots.MARKERS[i], linestyle=plots.LINES[i], label=family)  # fmt: skip
    ax.axhline(0, color="grey", linewidth=1, marker="")
    ax.set(title=task, xlabel="weights (billion)", ylabel="chain minus answer (points)", xscale="log")
axes[0].legend(fontsize=11)
plt.show()

# %% [markdown]
# @wei2022chain, Tables 2–4, few-shot. On GSM8K every model below 10 billion weights *loses* by writing: its chains are "fluent
# but illogical". Ours is left of the leftmost point.

# %% [markdown]
# ### Look again
#
# - **One step at a time.** If each step is right with chance $p$, a chain of $k$ is right with $p^k$:

# %%
for p in (0.5, 0.8, 0.95, 0.99):
    print(f"one step {p:.2f} · four steps {p**4:.2f} · eight steps {p**8:.2f}")

# %% [markdown]
# A smooth rise of $p$ with size looks like a leap in the answers (chapter 4's ruler; @schaeffer2023emergent).
#
# - **Size is a proxy.** These were models of 2022, trained on little worked mathematics. Small models that are *trained* on
#   chains use them well: distilled ones [@deepseekai2025r1], and the 100,000 weights of our lab.

# %% [markdown]
# ## Not for everything
#
# The deck: better in mathematical, commonsense (常识) and logical reasoning. With care:

# %%
common = sizes[(sizes["task"] == "CommonsenseQA") & (sizes["parameters_billion"] > 100)]
common[["family", "parameters_billion", "standard_percent", "chain_percent"]].set_index("family")

# %% [markdown]
# - @kojima2022large found no gain on commonsense questions without examples.
# - @sprague2025cot, over 100 papers and 20 data sets with 14 models: strong gains in mathematics and logic, much smaller
#   ones elsewhere. On MMLU hardly any gain is left without an equals sign in question or response.
# - And where an exact tool exists (a calculator, a solver), the tool does better than the chain.

# %% [markdown]
# ## Why should writing help?

# %% tags=["hide-input"]
def grid(ax, columns, title, path, names):
    for x in range(columns):
        for y in range(3):
            ax.add_patch(plt.Circle((x, y), 0.22, facecolor="white", edgecolor="grey"))
        ax.text(x, -0.75, names[x], ha="center", fontsize=13)
    for (x0, y0), (x1, y1) in zip(path, path[1:], strict=False):
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "->", "lw": 2, "color": plots.COLORS[2]})
    ax.set(title=title, xlim=(-0.6, columns - 0.4), ylim=(-1.2, 3.2))
    ax.axis("off")


fig, axes = plt.subplots(1, 2, figsize=(13, 3.9), width_ratios=[1, 1.9])
grid(axes[0], 5, "answer at once: 3 layers, 3 steps", [(2, 0), (3, 1), (4, 2), (4, 2.9)], ["3", "+5", "*7", "-2", "="])
path = [(0, 0), (2, 1), (4, 2), (5, 0), (5, 1), (5, 2), (6, 0), (6, 1), (6, 2), (7, 0), (7, 1), (7, 2), (7, 2.9)]
grid(axes[1], 8, "with a chain: what is written is read again", path, ["3", "+5", "*7", "-2", "=", "8", "6", "4"])
plt.show()

# %% [markdown]
# A transformer has as many layers for a hard question as for an easy one. Each written token goes through *all layers again* and
# carries a result with it: the chain is a loop.

# %% [markdown]
# ### What is proved
#
# @feng2023revealing: a transformer of bounded depth cannot evaluate arithmetic expressions directly unless its size grows
# faster than any polynomial in their length (if two complexity classes, TC⁰ and NC¹, differ, as is believed). One of
# *constant* size can, if it writes the steps. @li2024chain: with enough steps, constant depth does whatever a circuit of that
# size does.
#
# It says what *can* be computed. Not that training finds it, nor that a prompt brings it out.

# %% [markdown]
# ## A race at equal compute
#
# Lab 08: two layers, 100,000 weights, from scratch, on sums like `3+5*7-2` from left to right, last digit only.
#
# | style | text | |
# |---|---|---|
# | direct | `3+5*7-2?!4` | |
# | chain | `3+5*7-2?3+5=8` `8*7=6` `6-2=4` `!4` | |
# | dots | `3+5*7-2?...............!4` | as long as the chain |
#
# Each gets the same FLOPs, so the direct model sees more than twice as many problems. **Predict:** share of right answers against the
# number of steps, trained on 1 to 5, tested on 1 to 7. Draw three curves.

# %% tags=["hide-input"]
race = lab.budget(full=tables.load("chain_steps"), quick=tables.load("chain_steps").query("steps <= 2"))
fig, ax = plt.subplots(figsize=(9.5, 4.6))
for i, (style, part) in enumerate(race.groupby("style", sort=False)):
    frames = [f.reset_index(drop=True) for _, f in part.groupby("steps")]
    stats = np.array([scoring.bootstrap(f, lambda f: float(f["answers_right"].mean())) for f in frames])
    look = {"color": plots.COLORS[i], "marker": plots.MARKERS[i], "linestyle": plots.LINES[i]}
    seen = part["problems_seen"].iloc[0]
    error = np.abs(stats[:, 1:].T - stats[:, 0])
    ax.errorbar(range(1, lab.budget(full=8, quick=3)), stats[:, 0], error, capsize=4,
                label=f"{style} ({seen:,} problems)", **look)
ax.axhline(0.1, color="grey", linestyle=":", marker="")
ax.axvline(5.5, color="grey", linestyle="--", marker="")
ax.set(title="Equal training FLOPs, five seeds, 95 % intervals", xlabel="steps", ylabel="share of right answers", ylim=(0, 1.05))
ax.legend(fontsize=11)
plt.show()

# %% [markdown]
# One step: everybody. Then the direct model falls, although it saw more than twice as many problems, to 0.2: it knows whether the answer
# is odd or even, no more (lab 08). Dots: as much computation, no gain. The chain: 0.9 at four steps, 0.74 at five. Beyond the lengths
# it was trained on, it loses its place: a chain buys depth, not length.

# %% [markdown]
# ### Is it only more computation?
#
# @wei2022chain asked LaMDA 137B too:

# %% tags=["hide-input"]
ablations = tables.load("chain_of_thought_ablations")
fig, ax = plt.subplots(figsize=(10, 3.4))
look = {"color": "white", "edgecolor": "black", "hatch": "//", "capsize": 5}
ax.barh(ablations["prompt"][::-1], ablations["gsm8k_percent"][::-1], xerr=ablations["standard_deviation_percent"][::-1], **look)
ax.set(title="GSM8K, LaMDA 137B (Wei et al. 2022, Table 6)", xlabel="right answers (%), ± standard deviation", ylabel="prompt")
plt.show()

# %% [markdown]
# Dots instead of steps: nothing. The chain *after* the answer: nothing. Trained on purpose, models can learn to compute in
# dots for some tasks, but it is hard to learn [@pfau2024think].

# %% [markdown]
# ## Ask often, then vote
#
# *Self-consistency* (自洽性, @wang2023self): draw many chains with a temperature, read each answer, take the most frequent.
# There are many right roads to one answer; wrong roads seldom meet.
#
# GSM8K, PaLM 540B with 40 chains: 74.4 %, 17.9 points above one greedy chain.

# %% [markdown]
# ### Explorer: when does voting help?
#
# One chain is right with chance $p$. If it errs, its error is the *favourite* wrong answer with a given chance, else one of twenty
# others. **Predict:** at $p = 0.3$, does voting help or hurt?

# %% tags=["hide-input"]
def voting(right=0.4, favourite=0.2):
    sizes, rng = [1, 3, 5, 9, 17, 33], np.random.default_rng(0)
    chances = [right, (1 - right) * favourite] + [(1 - right) * (1 - favourite) / 20] * 20
    curve = []
    for size in sizes:
        counts = rng.multinomial(size, chances, 4000) + rng.random((4000, 22)) * 0.5  # ties are broken by lot
        curve.append((counts.argmax(1) == 0).mean())
    fig, ax = plt.subplots(figsize=(9, 4))
    ax.plot(sizes, curve, marker="o", color=plots.COLORS[1])
    ax.axhline(right, linestyle=":", color="grey", marker="")
    ax.set(title=f"One chain right: {right:.2f}; favourite error: {chances[1]:.2f}", xlabel="votes", ylim=(0, 1.02),
           ylabel="share of right votes")  # fmt: skip
    ax.set_xticks(sizes)


voting(0.3, 0.2)
plt.show()

# %%
widgets.explorer(voting, right=(0.05, 0.95, 0.05), favourite=(0.0, 1.0, 0.1));

# %% [markdown]
# A vote finds what is *most frequent*, not what is right. It helps as long as the right answer beats each single wrong one, even when
# most chains err; against a systematic error it makes the error certain.

# %% [markdown]
# ## Least-to-most, in brief
#
# Chains fail on problems harder than their examples. *Least-to-most* (从易到难, @zhou2023least) uses two prompts:
#
# 1. **Divide:** "To answer this, which smaller questions must be answered first?"
# 2. **Solve in order:** ask them one by one, each with the answers so far in the prompt.
#
# SCAN (turn commands into actions), split by length, code-davinci-002 with 14 examples: at least 99 % right, against 16 % with
# a chain (abstract of the paper).
#
# The same thought in other forms: programs as chains, trees of partial solutions, tools.

# %% [markdown]
# ## Does the answer follow the chain?
#
# The deck: chains improve *interpretability* (可解释性). If the answer comes from the chain! @lanham2023measuring test by
# interfering:
#
# - **Early answering** (提前作答): cut the chain. Does the answer change?
# - **A mistake** (加入错误): change a step. Does the answer follow?
# - **Filler**: dots instead. **Paraphrase**: other words.
#
# If nothing changes the answer, the chain is decoration (*post hoc*, 事后解释).

# %% [markdown]
# ### Live: cut it, break it
#
# A chain for the ten friends, given to our model piece by piece; it only has to say the number.

# %% tags=["hide-input"]
CHAIN = [" 10 friends play.", " 7 quit, so 10 - 7 = {left} are left.", " Each has 8 lives, so {left} * 8 = {total}."]
SHOTS = few_shot(FRIENDS, chain=True)


def chances(kept, left=3):
    """P of each of some answers after so many sentences of the chain."""
    options = [3, 10, 24, 80, left, left * 8]
    options = sorted(dict.fromkeys(options))
    prompt = SHOTS + "".join(CHAIN[:kept]).format(left=left, total=left * 8) + " The answer is"
    logs = scoring.loglikelihood(model, tokenizer, [prompt], [f" {n}." for n in options], progress=False)["loglikelihood"]
    return dict(zip(options, np.exp(logs), strict=True))


fig, axes = plt.subplots(1, 2, figsize=(12.5, 4), sharey=True)
for ax, left, title in ((axes[0], 3, "a right chain"), (axes[1], 4, "a mistake: 10 - 7 = 4")):
    table = pd.DataFrame([chances(kept, left) for kept in range(lab.budget(full=4, quick=2))])
    for i, (n, column) in enumerate(table.items()):
        ax.plot(range(lab.budget(full=4, quick=2)), column, color=plots.COLORS[i], marker=plots.MARKERS[i],
                linestyle=plots.LINES[i], label=str(n))
    ax.set(title=title, xlabel="sentences of the chain given", xticks=range(4), ylim=(0, 1.02))
    ax.legend(title="answer", fontsize=10, title_fontsize=10)
axes[0].set_ylabel("probability of the answer")
plt.show()

# %% [markdown]
# The model says the last number it has read: 3, then 24. With a mistake in the second step it says 4, then 32. It follows the chain
# wherever that leads; asked without one, it does not have the answer.

# %% [markdown]
# ### Explorer: your own mistake

# %% tags=["hide-input"]
def interfere(kept, left):
    got = chances(kept, left)
    fig, ax = plt.subplots(figsize=(9, 3.4))
    ax.bar([str(n) for n in got], got.values(), color="white", edgecolor="black", hatch="//")
    text = "".join(CHAIN[:kept]).format(left=left, total=left * 8).strip() or "(no chain)"
    ax.set(title=text, ylabel="probability", xlabel="answer", ylim=(0, 1))
    ax.title.set_fontsize(11)


widgets.explorer(interfere, kept=(0, 3, 1), left=(1, 9, 1));

# %% [markdown]
# ### What larger models do
#
# - @lanham2023measuring: it varies widely by task; on some the answer hardly depends on the chain. On most tasks they tried,
#   the larger and more able a model, the *less* its answer needs the chain. (@bentham2024chain: partly the metric; it goes
#   along with accuracy.)
# - @turpin2023language: reorder the options of the few-shot examples so that the answer is always "(A)", or write that you
#   think a wrong one is right. Models follow: on 13 tasks of BIG-bench Hard accuracy falls by up to 19 points the first way,
#   36 the second, and the chains *argue* for the wrong answer and do not mention the cause.
#
# A chain that sounds right and is not the reason is worse than none: it earns trust.

# %% [markdown]
# ## From a prompt to a way of training
#
# | | who writes the chains? | what is rewarded? |
# |---|---|---|
# | @nye2021show, @cobbe2021training | people | imitation |
# | @wei2022chain, @kojima2022large | the model, when prompted | nothing |
# | STaR [@zelikman2022star] | the model; those with right answers are kept and trained on | the answer |
# | @lightman2024verify | the model; people judge each step | each step |
# | o1 [@openai2024learning], DeepSeek-R1 [@deepseekai2025r1] | the model, by reinforcement learning | the answer |
#
# What is new is not the chain. It is that a problem whose answer can be *checked* pays for learning to write good ones.

# %% [markdown]
# ### What was reported
#
# DeepSeek-R1-Zero [@deepseekai2025r1, arXiv v1]: reinforcement learning (chapter 3) on a base model, reward by rule for right
# answers and format, no example chains. Problems of the competition AIME 2024, one chain (a mean over samples):
#
# $$15.6\,\% \;\longrightarrow\; 71.0\,\%, \qquad \text{vote of 64: } 86.7\,\%$$
#
# On the way chains grew by themselves to thousands of tokens, with checks and new starts. (The version in *Nature* reports 77.9 %.)
#
# **With care:** 30 problems; what the base model had read is not known in full; details of o1 are not published.

# %% [markdown]
# ### Thinking has a price
#
# A token costs about $2N$ FLOPs to write. **Predict:** a model of 7 billion weights writes a chain of 2,000 tokens. How large may a model
# be that answers in 10 tokens for the same price?

# %%
for chain in (200, 2_000, 20_000):
    print(f"{chain:>6} tokens of a 7-billion model = 10 tokens of a model of {7 * chain / 10:>8,.0f} billion")

# %% [markdown]
# @snell2024scaling: spent well (longer where it pays, votes or a verifier where not), computation at the time of the answer
# (测试时计算) can stand for size: on problems that a small model sometimes solves, it outperforms one 14 times larger at equal
# FLOPs. On the hardest problems, more thinking does not help; there training does.

# %% [markdown]
# ### Is a reasoning model's chain honest?
#
# @chen2025reasoning: put a hint to an answer into the question. When the hint changes the answer, does the chain say so?
# Claude 3.7 Sonnet: in 25 % of cases on average; DeepSeek-R1: 39 %. Reinforcement learning on answers improved that at first,
# and then no more.
#
# So a chain is **evidence** about what a model does, and worth reading. It is not a **record**.

# %% [markdown]
# ## What to take home
#
# - Question → chain → answer: shown by examples, asked for by a sentence, or trained in.
# - It helps where a problem has *steps*, and where the model can do each of them. Ours cannot; then a chain is longer nonsense.
# - Why: a result that is written is read again by all layers. At equal compute the chain won; dots did not.
# - Votes find the frequent answer. Verifiers and rewards look for the right one.
# - A chain may or may not be the reason. Cut it, break it, and see.
#
# **Ask yourself:** a vendor shows you a flawless chain for a credit decision. Which two experiments do you ask for?

# %% [markdown]
# ## Further reading
#
# - [@wei2022chain]
# - [@kojima2022large]
# - [@wang2023self]
# - [@zhou2023least]
# - [@ling2017program]
# - [@nye2021show]
# - [@cobbe2021training]
# - [@sprague2025cot]
# - [@schaeffer2023emergent]

# %% [markdown]
# ### Further reading: why, whether, and what came of it
#
# - [@feng2023revealing]
# - [@li2024chain]
# - [@pfau2024think]
# - [@lanham2023measuring]
# - [@bentham2024chain]
# - [@turpin2023language]
# - [@chen2025reasoning]
# - [@zelikman2022star]
# - [@lightman2024verify]
# - [@openai2024learning]
# - [@snell2024scaling]
# - [@deepseekai2025r1]: also in Nature 645, 2025
