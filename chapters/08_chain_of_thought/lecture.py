# %% [markdown]
# # 08 · Chain of thought
#
# **Let it write down its steps.** (思维链推理)
#
# One sentence in a prompt, "Let's think step by step", and a large model solves problems that it could not solve without
# it. No parameter has changed. Why should *writing* help a machine to calculate? When does it not? And does the answer
# really come from what it writes?
#
# After this lecture you can prompt for a chain in three ways, say when it helps and what compute it costs, improve it by a
# vote, test whether an answer depends on its chain, and explain how a way of prompting became a way of training.
#
# Our model, SmolLM2-135M-Instruct, was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. All
# its answers below are of this copy; how the original differs we have not measured. (The small models that the lab trains
# from scratch are not quantized.)

# %% [markdown] tags=["notes"]
# 60 minutes. The main part is the middle: "Why should writing help?" and the comparison at equal compute; let the room draw
# the three curves before they are shown. The second main part is "Does the answer follow the chain?". The live model is
# small and does badly: say so early, and come back to it at "Emergent?". The ten friends, "the most typical emergent
# ability" and the gain in interpretability are the deck's.

# %% tags=["skip"]
import os
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
if lab.budget(full=False, quick=True):
    print("COURSE_BUDGET is quick: experiments are small. Do not read conclusions from them.")

# %% [markdown]
# ## Ten friends
#
# > There were 10 friends playing a video game online when 7 players quit. If each player left had 8 lives, how many lives
# > did they have total?
#
# | | how a large model may continue (an illustration) |
# |---|---|
# | **A:** The answer is | 80. ✗ |
# | **A:** Let's think step by step. | … at the start, there were 10 × 8 = 80 lives in total. Then, 7 players quit. This means that 7 × 8 = 56 lives were lost. … 80 − 56 = 24. ✓ |

# %% tags=["hide-input"]
guess = widgets.predict(
    "Our model has 135 million parameters. Which of its two answers to the ten friends is right?",
    options=["both", 'only the one after "Let\'s think step by step."', "neither", "only the one at once"],
)

# %%
FRIENDS = (
    "There were 10 friends playing a video game online when 7 players quit. "
    "If each player left had 8 lives, how many lives did they have total?"
)
heard = []
for tail, length in (
    (" The answer is", lab.budget(full=6, quick=2)),
    (" Let's think step by step.", lab.budget(full=200, quick=4)),
):
    heard.append(generate(model, tokenizer, f"Q: {FRIENDS}\nA:{tail}", chat=False, max_new_tokens=length))
    print(f"A:{tail} …", heard[-1], "\n")

# %% tags=["hide-input"]
first, last = (re.findall(r"\d+", text) for text in heard)
at_once, in_steps = first[:1] == ["24"], last[-1:] == ["24"]
one = "only the one at once" if at_once else 'only the one after "Let\'s think step by step."' if in_steps else "neither"
guess.reveal(
    "both" if at_once and in_steps else one,
    why=f"24 is right. The first number that it writes at once is {(first or ['?'])[0]}; the last one after the sentence is {(last or ['?'])[-1]}.",
)

# %% [markdown]
# In the second answer it writes steps (up to 200 tokens), but they are not steps *of this problem*. The slide "Emergent?" comes back to this.

# %% [markdown]
# ### The same problem in Chinese

# %%
FRIENDS_ZH = "10 个朋友在线玩电子游戏，7 个人退出了。剩下的每个人有 8 条命，他们一共有多少条命？"
heard_zh = []
for tail, length in (("答案是", lab.budget(full=6, quick=2)), ("让我们一步一步地想。", lab.budget(full=100, quick=4))):
    heard_zh.append(generate(model, tokenizer, f"Q: {FRIENDS_ZH}\nA:{tail}", chat=False, max_new_tokens=length))
    print(f"A:{tail} …", heard_zh[-1])
    print("  24 is among its numbers:", "yes" if "24" in re.findall(r"\d+", heard_zh[-1]) else "no", "\n")

# %% [markdown]
# It did not solve the problem in English, and what it writes in Chinese does not calculate 10 − 7 and 3 × 8 either. A sentence that
# asks for steps adds no ability: it helps only a model that can already read the problem and calculate each step.

# %% [markdown]
# ## Two modes
#
# | | |
# |---|---|
# | usual mode (常规模式) | question → **answer** |
# | chain-of-thought mode (思维链模式) | question → **chain of thought** → **answer** |
#
# There is no gradient: an instruction in the prompt asks for the chain, or examples show it.
#
# Before chains were prompted, models were trained on them: rationales [@ling2017program], *scratchpads* (草稿纸,
# @nye2021show) on which a model learns to calculate, and GSM8K [@cobbe2021training]: 8,500 school problems with solutions
# written by people.

# %% [markdown]
# ### Few-shot: show chains
#
# @wei2022chain: eight examples, each with its chain. Ours has four, of 3, 2, 3 and 2 steps. For answers at once the
# same four are shown without their chains.

# %%
EXAMPLES = """Q: Li has 3 stamps. Li buys 4 more. Li buys 3 more. Li loses 4. How many stamps does Li have now?
A: 3 + 4 = 7. 7 + 3 = 10. 10 - 4 = 6. The answer is 6.

Q: Tom has 3 pens. Tom buys 4 more. A fairy multiplies them by 3. How many pens does Tom have now?
A: 3 + 4 = 7. 7 * 3 = 21. The answer is 21.

Q: Li has 8 stamps. A fairy multiplies them by 5. Li loses 2. Li loses 5. How many stamps does Li have now?
A: 8 * 5 = 40. 40 - 2 = 38. 38 - 5 = 33. The answer is 33.

Q: Li has 7 cards. Li buys 3 more. Li loses 4. How many cards does Li have now?
A: 7 + 3 = 10. 10 - 4 = 6. The answer is 6."""
WITHOUT_CHAINS = re.sub(r"A: .*\. The answer", "A: The answer", EXAMPLES)


def few_shot(question, chain):
    """The prompt: with a chain the model goes on behind "A:", without one behind "The answer is"."""
    return f"{EXAMPLES}\n\nQ: {question}\nA:" if chain else f"{WITHOUT_CHAINS}\n\nQ: {question}\nA: The answer is"


print("without chains, the last example:", WITHOUT_CHAINS.rpartition("\n\n")[2], sep="\n")

# %% [markdown]
# ### Zero-shot: ask for one
#
# @kojima2022large: no example, one sentence. It can be instructive ("Let's think step by step."), misleading ("Don't think. Just
# feel.") or irrelevant ("It's a beautiful day.").

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which kinds of sentences help text-davinci-002 on MultiArith by more than 10 points, in the mean over the sentences of a kind?",
    options=["all three: each gives it more text to think in", "instructive and misleading ones", "instructive ones only", "none"],
)

# %% tags=["subslide", "hide-input"]
triggers = tables.load("zero_shot_triggers").sort_values("multiarith_percent")
fig, ax = plt.subplots(figsize=(10.5, 5.6))
kinds = (("none", "no sentence"), ("irrelevant", "irrelevant"), ("misleading", "misleading"), ("instructive", "instructive"))
for i, (kind, label) in enumerate(kinds):
    part = triggers[triggers["kind"] == kind]
    places = [list(triggers["trigger"]).index(t) for t in part["trigger"]]
    look = {"color": "white", "edgecolor": plots.COLORS[i], "hatch": plots.HATCHES[i]}
    ax.barh(places, part["multiarith_percent"], label=label, **look)
ax.set_yticks(range(len(triggers)), triggers["trigger"], fontsize=10)
ax.set(title="Said before the answer (Kojima et al. 2022, Table 4)", xlabel="right answers (%)", ylabel="sentence")
ax.legend(title="kind of sentence", loc="lower right")
plt.show()

# %% tags=["hide-input"]
means = triggers.groupby("kind")["multiarith_percent"].mean()
helps = {kind for kind in means.index if means[kind] > means["none"] + 10}
some = "instructive ones only" if helps == {"instructive"} else "none"
guess.reveal(
    "all three: each gives it more text to think in" if len(helps) == 3
    else "instructive and misleading ones" if helps == {"instructive", "misleading"} else some,
    why=f"{means['none']:.0f} % without a sentence; {means['irrelevant']:.0f} % with irrelevant, {means['misleading']:.0f} % with "
    f"misleading, {means['instructive']:.0f} % with instructive ones.",
)

# %% [markdown]
# The instructive sentences help much; misleading and irrelevant ones give about the same as no sentence. A second
# call, "Therefore, the answer (arabic numerals) is", then reads the answer from the chain.

# %% [markdown]
# ### Tuned models do it unasked

# %%
length = lab.budget(full=200, quick=4)
unasked = generate(model, tokenizer, FRIENDS, max_new_tokens=length)
ended = len(tokenizer(unasked)["input_ids"]) < length - 5  # a cut word may be other tokens when it is read again
print(unasked)
print("\nit ends by itself" if ended else f"\nit is cut at {length} tokens", "· its last number:", (re.findall(r"\d+", unasked) or ["?"])[-1])

# %% [markdown]
# In a chat the course model writes a chain without being asked. (24 would be right.) A likely reason is that instruction
# data (chapter 2) contains many worked solutions.

# %% [markdown]
# ## Scores with intervals
#
# 24 small problems with exact answers, of one, two and three steps; two styles, few-shot; our model.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Does the chain change the share of right answers of our small model?",
    options=["it helps", "it hurts", "no difference that can be seen"],
)
guess_2 = widgets.predict(
    "The examples have 3, 2, 3 and 2 steps. How many equations does it write for a problem of *one* step, on average?", tolerance=0.2
)

# %% tags=["hide-input"]
NAMES, THINGS = ["Tom", "Ana", "Li"], ["cards", "pens", "stamps"]
SAY = {"+": "{} buys {} more.", "-": "{} loses {}.", "*": "A fairy multiplies them by {1}."}


def draw_problem(rng, steps):
    """A story with so many steps, and its answer."""
    who, what, have = NAMES[rng.integers(3)], THINGS[rng.integers(3)], int(rng.integers(3, 12))
    text = f"{who} has {have} {what}."
    for _ in range(steps):
        operation = ["+", "*"][rng.integers(2)] if have < 10 else "-"
        n = int(rng.integers(2, 6))
        text += " " + SAY[operation].format(who, n)
        have += {"+": n, "-": -n, "*": have * (n - 1)}[operation]
    return f"{text} How many {what} does {who} have now?", have

# %% tags=["hide-input"]
def number_in(text):
    """The number behind the last "answer is", or the last number where it does not say so. As text; "" if there is none."""
    found = re.findall(r"answer is (\d+)", text) or re.findall(r"\d+", text)
    return found[-1] if found else ""


@torch.inference_mode()
def answers(prompts, length, model=model, tokenizer=tokenizer):
    """Continuations, to the end of the line. What all prompts begin with (the examples) is computed once."""
    rows, fill = [tokenizer(prompt)["input_ids"] for prompt in prompts], tokenizer.pad_token_id
    shared, longest = min(len(os.path.commonprefix(rows)), min(map(len, rows)) - 1), max(map(len, rows))
    ids = [row[:shared] + [fill] * (longest - len(row)) + row[shared:] for row in rows]
    mask = [[1] * shared + [0] * (longest - len(row)) + [1] * (len(row) - shared) for row in rows]
    ids, mask = torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)
    cache = model(ids[:1, :shared], use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(len(rows))
    out = model.generate(ids, attention_mask=mask, past_key_values=cache, max_new_tokens=length, do_sample=False,
                         pad_token_id=fill)  # fmt: skip
    return [text.split("\n")[0] for text in tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)]


def both_styles(model, tokenizer):
    """What a model writes without (False) and with (True) a chain; prints how much of it is right.

    Returns the texts; for each number of steps the shares right, without and with, and the mean number of equations; the gain.
    """
    wrote = {
        c: answers([few_shot(q, c) for q, _ in problems],
                   lab.budget(full=55 if c else 5, quick=8 if c else 2), model, tokenizer)
        for c in (False, True)
    }
    right = pd.DataFrame({c: [number_in(t) == str(a) for t, (_, a) in zip(wrote[c], problems, strict=True)] for c in wrote})
    for c, name in ((False, "answer at once"), (True, "chain first")):
        print("few-shot, {}: {:.2f} [{:.2f}, {:.2f}]".format(name, *scoring.proportion(right[c].sum(), len(right))))
    gain, low, high = paired = scoring.paired(right[True].astype(float), right[False].astype(float))
    verdict = "the chain helps" if low > 0 else "the chain hurts" if high < 0 else "we cannot tell"
    print(f"chain − answer, on the same problems: {gain:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict}")
    equations = [len(re.findall(r"\d+ [-+*] \d+ = \d+", t)) for t in wrote[True]]
    means = [np.reshape(counts, (3, -1)).mean(1) for counts in (right[False], right[True], equations)]
    return wrote, means, paired


rng = np.random.default_rng(8)
problems = [draw_problem(rng, steps) for steps in (1, 2, 3) for _ in range(lab.budget(full=8, quick=1))]
wrote, means, (gain, low, high) = both_styles(model, tokenizer)
print("a chain:", problems[-1][0], "→", wrote[True][-1].strip(), f"(right: {problems[-1][1]})")
pd.DataFrame(means, index=["answer at once", "chain first", "equations written"], columns=["1 step", "2 steps", "3 steps"]).round(2)

# %% tags=["hide-input"]
guess.reveal(
    "it helps" if low > 0 else "it hurts" if high < 0 else "no difference that can be seen",
    why=f"The difference is {gain:+.2f} [{low:+.2f}, {high:+.2f}], on the same problems.",
)
guess_2.reveal(means[2][0], why=f"For problems of three steps it writes {means[2][2]:.1f}.")

# %% [markdown] tags=["subslide"]
# What the table shows besides: the number of equations follows our *examples* (3, 2, 3, 2 steps), and hardly the question. So
# for this model a few-shot chain is mostly a *form* that it fills in; with shorter examples, of which the last has one step, its
# chains are shorter (lab 08 runs both). To see chains *help*, we need a larger model (next slides) or one that was trained on chains ("A comparison
# at equal compute").

# %% [markdown]
# ### The same, with a larger model
#
# If there is a GPU with enough memory, this cell asks a model about fifty times larger, in int8 (chapter 10): does its
# chain work for three steps? The line `LARGER = …` is the one to change. Nothing below needs it. Without a GPU the cell only
# prints how much memory it needs.

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
# Chain of thought is often called the most typical *emergent ability* (涌现能力) of large models. We look at published numbers of
# three families: LaMDA, GPT-3 and PaLM, from 0.35B to 540B parameters (B: billion).

# %% tags=["hide-input"]
guess = widgets.predict(
    "How large is the smallest of these models that does better on GSM8K *with* a few-shot chain than without?",
    options=["less than 1B", "1B to 10B", "10B to 100B", "more than 100B"],
)

# %% tags=["hide-input"]
sizes = tables.load("chain_of_thought_sizes")
fig, axes = plt.subplots(1, 3, figsize=(13, 4.5), sharex=True)
for ax, (task, part) in zip(axes, sizes.groupby("task", sort=False), strict=True):
    for i, (family, f) in enumerate(part[part["family"] != "UL2"].groupby("family", sort=False)):
        ax.plot(f["parameters_billion"], f["chain_percent"] - f["standard_percent"], color=plots.COLORS[i],
                marker=plots.MARKERS[i], linestyle=plots.LINES[i], label=family)  # fmt: skip
    ax.axhline(0, color="grey", linewidth=1, marker="")
    ax.set(title=task, xlabel="parameters (billion)", ylabel="chain minus answer (points)", xscale="log")
axes[0].legend(fontsize=11)
plt.show()

# %% tags=["hide-input"]
school = sizes[(sizes["task"] == "GSM8K") & (sizes["family"] != "UL2")]
gains = school["chain_percent"] > school["standard_percent"]
smallest = school["parameters_billion"][gains].min()
larger = gains[school["parameters_billion"] >= smallest]
small = "less than 1B" if smallest < 1 else "1B to 10B"
large = "10B to 100B" if smallest < 100 else "more than 100B"
guess.reveal(
    small if smallest < 10 else large,
    why=f"It has {smallest:g}B parameters. Of the {len(larger)} models of this size or larger {larger.sum()} gain.",
)

# %% [markdown]
# @wei2022chain, Tables 2–4, few-shot. On GSM8K every model below 10 billion parameters has a slightly *lower* accuracy with
# a chain: its chains are "fluent but illogical". Ours is smaller than the smallest of them.

# %% [markdown]
# ### Look again
#
# - **One step at a time.** If each step is right with chance $p$, a chain of $k$ is right with $p^k$:

# %%
for p in (0.5, 0.8, 0.95, 0.99):
    print(f"one step {p:.2f} · four steps {p**4:.2f} · eight steps {p**8:.2f}")

# %% [markdown]
# A smooth rise of $p$ with size looks like a jump in the answers (the choice of the metric, chapter 4;
# @schaeffer2023emergent).
#
# - **Size is not the only cause.** These were models of 2022. Small models that are *trained* on chains use them well:
#   distilled ones [@deepseekai2025r1], and the models with 100,000 parameters in our lab.

# %% [markdown]
# ## Not for everything
#
# Chains are said to help in mathematical, commonsense (常识) and logical reasoning. The largest models on CommonsenseQA:

# %%
common = sizes[(sizes["task"] == "CommonsenseQA") & (sizes["parameters_billion"] > 100)]
pd.DataFrame({
    "model": common["family"] + " " + common["parameters_billion"].map("{:.0f}B".format),
    "standard (%)": common["standard_percent"],
    "chain (%)": common["chain_percent"],
})

# %% [markdown]
# - In the table above two of three models gain a few points and one loses some.
# - @kojima2022large found no gain on commonsense questions without examples.
# - @sprague2025cot, over 100 papers and 20 data sets with 14 models: strong gains in mathematics and logic, much smaller
#   ones elsewhere. On MMLU hardly any gain is left without an equals sign in question or response.
# - Where an exact tool exists (a calculator, a solver), the tool does better than the chain [@sprague2025cot].

# %% [markdown]
# ## Why should writing help?

# %% tags=["hide-input"]
def grid(ax, columns, title, path, names):
    for x in range(columns):
        for y in range(3):
            ax.add_patch(plt.Circle((x, y), 0.22, facecolor="white", edgecolor="grey"))
        ax.text(x, -0.75, names[x], ha="center", fontsize=13)
    for (x0, y0), (x1, y1) in zip(path, path[1:], strict=False):
        line = "--" if y1 < y0 else "-"  # dashed: written, and read again
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "->", "lw": 2, "ls": line, "color": plots.COLORS[2]})
    ax.set(title=title, xlim=(-0.6, columns - 0.4), ylim=(-1.2, 3.2))
    ax.axis("off")


fig, axes = plt.subplots(1, 2, figsize=(13, 4.1), width_ratios=[1, 1.9])
UP = [(0, -0.45), (1, 0), (2, 1), (4, 2), (4, 2.9)]  # 3 → with +5 → with *7 → at "=", with -2
grid(axes[0], 5, "answer at once: 3 layers, 3 steps", UP, ["3", "+5", "*7", "-2", "="])
first = [(0, -0.45), (1, 0), (4, 1), (4, 2), (4, 2.9), (5, -0.45)]  # the result 8 is written, and read again
path = [*first, (5, 0), (5, 1), (5, 2), (5, 2.9), (6, -0.45), (6, 0), (6, 1), (6, 2), (6, 2.9)]
grid(axes[1], 8, "with a chain: what is written is read again", path, ["3", "+5", "*7", "-2", "=", "8", "6", "4"])
plt.show()

# %% [markdown]
# How to read the pictures: circles are positions (left to right) in layers (bottom to top); an arrow is a step of the
# calculation or the way of a result. Both paths begin at the first number. Left: each step moves one layer up, and with three
# layers the third step arrives at "=" just in time; a fourth would find no layer. (One of many paths.) Right: a pass does one
# step, the result is *written* (8), and the next pass reads it at the bottom and has *all layers again*. So the chain works
# like a loop.

# %% [markdown]
# ### What is proved
#
# @feng2023revealing: a transformer of bounded depth cannot evaluate arithmetic expressions directly unless its size grows
# faster than any polynomial in their length (if two complexity classes, TC⁰ and NC¹, differ, as is believed). One of
# *constant* size can, if it writes the steps. @li2024chain: with enough steps, constant depth does whatever a circuit of
# that size does.
#
# These theorems say what *can* be computed. They do not say that training finds it, or that a prompt makes a model do it.

# %% [markdown]
# ## A comparison at equal compute
#
# Lab 08: two layers, 100,000 parameters, from scratch, on sums like `3+5*7-2` from left to right, last digit only.
#
# | style | text | |
# |---|---|---|
# | direct | `3+5*7-2?!4` | |
# | chain | `3+5*7-2?3+5=8` `8*7=6` `6-2=4` `!4` | |
# | dots | `3+5*7-2?...............!4` | as long as the chain |
#
# Each gets the same training FLOPs, so the direct model sees more than twice as many problems. They are trained on 1 to 5 steps
# and tested on 1 to 7. Before you look, draw three curves: the share of right answers against the number of steps.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of the three have more than half of the problems of *four* steps right?",
    options=["chain and direct", "only the chain", "chain and dots", "all three", "none"],
)
guess_2 = widgets.predict(
    "And the chain model at *six* steps, one more than in training: what share of the problems does it have right?",
    options=["more than 80 %", "50 to 80 %", "20 to 50 %", "less than 20 %"],
)

# %% tags=["subslide", "hide-input"]
measured = tables.load("chain_steps")
race = lab.budget(full=measured, quick=measured.query("steps <= 2"))
fig, ax = plt.subplots(figsize=(9.5, 4.6))
for i, (style, label) in enumerate((("direct", "direct"), ("dots", "dots"), ("chain", "chain"))):
    part = race[race["style"] == style]
    stats = np.array([scoring.mean(f["answers_right"]) for _, f in part.groupby("steps")])
    look = {"color": plots.COLORS[i], "marker": plots.MARKERS[i], "linestyle": plots.LINES[i]}
    seen = part["problems_seen"].iloc[0]
    error = np.abs(stats[:, 1:].T - stats[:, 0])
    error[:, error.max(0) == 0] = np.nan  # five equal values do not show how much others would vary: no bar
    ax.errorbar(range(1, lab.budget(full=8, quick=3)), stats[:, 0], error, capsize=4,
                label=f"{label} ({seen:,} problems)", **look)
ax.axhline(0.1, color="grey", linestyle=":", marker="")
ax.axvline(5.5, color="grey", linestyle="--", marker="")
ax.set(title="Equal training FLOPs, five seeds, 95 % t intervals (no bar: all five equal)", xlabel="steps", ylabel="share of right answers", ylim=(0, 1.05))
ax.legend(fontsize=11)
plt.show()

# %% tags=["hide-input"]
at = measured.groupby(["style", "steps"])["answers_right"].mean()
chain, dots, direct = (at[style, 4] > 0.5 for style in ("chain", "dots", "direct"))
one = "chain and dots" if dots else "chain and direct" if direct else "only the chain"
guess.reveal(
    "all three" if dots and direct and chain else one if chain else "none",
    why=f"Mean of five seeds: chain {at['chain', 4]:.2f}, dots {at['dots', 4]:.2f}, direct {at['direct', 4]:.2f}.",
)
six = at["chain", 6]
guess_2.reveal(
    "less than 20 %" if six < 0.2 else "20 to 50 %" if six < 0.5 else "50 to 80 %" if six < 0.8 else "more than 80 %",
    why=f"{100 * six:.0f} %, and {100 * at['chain', 5]:.0f} % at five steps. With ten possible answers a guess has a tenth.",
)

# %% [markdown]
# With one step all three are right. From two steps on the direct model falls, although it saw more problems, to twice the
# chance level (lab 08 asks why just twice). The dots have as many tokens as the chain and are
# no better. The chain stays far above both up to five steps. Beyond the lengths of the training it fails, too.
#
# Note that the chain differs from the dots in *two* ways. Its tokens carry results to the answer, and in training each of
# them is a target: the chain model learns every step, the others only the last digit. This comparison cannot separate the
# two.

# %% [markdown]
# ### Is it only more computation?
#
# @wei2022chain asked LaMDA 137B, with other texts in place of the chain in the examples:
#
# - *equation only*: the model writes one equation, then the answer;
# - *variable compute only*: as many dots as the equation has characters, then the answer;
# - *reasoning after answer*: the chain comes after the answer.

# %% tags=["hide-input"]
guess = widgets.predict(
    "The chain gains about 8 points on GSM8K. Which of the three texts has at least half of that gain?",
    options=["*equation only*", "none of them", "*variable compute only*", "*reasoning after answer*", "more than one of them"],
)

# %% tags=["hide-input"]
ablations = tables.load("chain_of_thought_ablations")
fig, ax = plt.subplots(figsize=(10, 3.4))
look = {"color": "white", "edgecolor": "black", "hatch": "//", "capsize": 5}
ax.barh(ablations["prompt"][::-1], ablations["gsm8k_percent"][::-1], xerr=ablations["standard_deviation_percent"][::-1], **look)
ax.set(title="GSM8K, LaMDA 137B (Wei et al. 2022, Table 6)", xlabel="right answers (%), ± standard deviation", ylabel="prompt")
plt.show()

# %% tags=["hide-input"]
percent = ablations.set_index("prompt")["gsm8k_percent"]
gain = percent.drop(["standard", "chain of thought"]) - percent["standard"]
enough = gain.index[gain >= (percent["chain of thought"] - percent["standard"]) / 2]
one = (
    "none of them" if not len(enough) else "*equation only*" if enough[0] == "equation only"
    else "*variable compute only*" if enough[0] == "variable compute only" else "*reasoning after answer*"
)
guess.reveal(
    "more than one of them" if len(enough) > 1 else one,
    why=f"Against no chain the best of the three changes the accuracy by {gain.max():+.1f} points.",
)

# %% [markdown]
# All three are about as good as no chain, or a little worse. So on these problems more tokens alone do not help
# this model, and neither does an equation without the words. (On problems of one or two steps the equation alone does help,
# says the paper.) If trained for it, models can learn to compute in dots for some tasks, but
# it is hard to learn [@pfau2024think].

# %% [markdown]
# ## Ask often, then vote
#
# *Self-consistency* (自洽性, @wang2023self): draw many chains with a temperature, read each answer, take the most frequent
# one. The idea: different right chains end in the same answer, and wrong chains seldom agree.
#
# PaLM 540B, right answers in %, one greedy chain against a vote of 40 drawn chains [@wang2023self, tables 2 and 3]:
#
# | | GSM8K | SVAMP | AQuA | StrategyQA | ARC challenge |
# |---|---|---|---|---|---|
# | greedy | 56.5 | 79.0 | 35.8 | 75.3 | 85.2 |
# | vote of 40 | 74.4 | 86.6 | 48.3 | 81.6 | 88.7 |
#
# (With our model, lab 08 sees less: read its intervals.)

# %% [markdown]
# ### Explorer: when does voting help?
#
# This is a simulation. One chain is right with chance $p$. If it is wrong, it gives the most frequent (*favourite*) wrong
# answer with a given chance, else one of twenty others.

# %% tags=["hide-input"]
guess = widgets.predict(
    "One chain is right with chance 0.3; a wrong one gives the favourite wrong answer with chance 0.2. How often is a vote of 33 chains right?",
    options=["less than 20 %", "20 to 50 %", "50 to 80 %", "more than 80 %"],
)

# %% tags=["hide-input"]
def votes_right(sizes, right, favourite):
    """Share of right votes for each number of votes, and the chances of the answers, the right one first."""
    rng, curve = np.random.default_rng(0), []
    chances = [right, (1 - right) * favourite] + [(1 - right) * (1 - favourite) / 20] * 20
    for size in sizes:
        counts = rng.multinomial(size, chances, 4000) + rng.random((4000, 22)) * 0.5  # ties are broken by lot
        curve.append((counts.argmax(1) == 0).mean())
    return curve, chances


def voting(right=0.4, favourite=0.2):
    sizes = [1, 3, 5, 9, 17, 33]
    curve, chances = votes_right(sizes, right, favourite)
    fig, ax = plt.subplots(figsize=(9, 4))
    ax.plot(sizes, curve, marker="o", color=plots.COLORS[1])
    ax.axhline(right, linestyle=":", color="grey", marker="")
    ax.set(title=f"One chain right: {right:.2f}; favourite error: {chances[1]:.2f}", xlabel="votes", ylim=(0, 1.02),
           ylabel="share of right votes")  # fmt: skip
    ax.set_xticks(sizes)


widgets.explorer(
    voting, right=(0.05, 0.95, 0.05), favourite=(0.0, 1.0, 0.1), start={"right": 0.3, "favourite": 0.2},
    grid={"right": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.95], "favourite": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]},
)

# %% tags=["hide-input"]
(share,), (_, error, *_) = votes_right([33], 0.3, 0.2)
guess.reveal(
    "less than 20 %" if share < 0.2 else "20 to 50 %" if share < 0.5 else "50 to 80 %" if share < 0.8 else "more than 80 %",
    why=f"{100 * share:.0f} %: the right answer (30 %) is more frequent than the favourite error ({100 * error:.0f} %).",
)

# %% [markdown]
# It helps, although most chains are wrong, because each single wrong answer is rarer than the right one. A vote finds what
# is *most frequent*, not what is right: set the favourite error above the right answer, and many votes make the error
# nearly certain.

# %% [markdown]
# ### Beyond the vote
#
# | idea | who checks? | reported |
# |---|---|---|
# | *best-of-N* with a *verifier* (验证器) [@cobbe2021training] | a trained network ranks the chains | GSM8K: 6 billion parameters do slightly better than a fine-tuned model of 175 billion |
# | *program of thought* (程序思维) [@chen2023program] | the model writes a program, Python calculates | about 12 points above a chain, mean of all data sets |
# | *self-refinement* (自我修正) [@madaan2023self] | the model itself, in words | seven tasks, GPT-3.5 and GPT-4: about 20 points on average |
# | the same, on *reasoning* [@huang2024large] | the model itself, without outside feedback | no gain, at times a loss |
#
# From the last two rows: a check helps when it knows something that the writer does not. Lab 08 ends with a challenge: write
# a verifier.

# %% [markdown]
# ### Who writes the examples? Who was trained?
#
# - *Auto-CoT* [@zhang2023automatic]: put the questions into clusters, take one of each, let the model itself write its chain
#   ("Let's think step by step"), and use these as examples. With GPT-3 on ten tasks it is as good as chains written by hand,
#   or better. The chains contain errors; *different* questions keep one error from being copied.
# - Against *fine-tuning*: with eight written chains PaLM 540B was better on GSM8K than the best fine-tuned model of the time,
#   GPT-3 with a verifier [@wei2022chain, abstract]. Eight examples against 7,500: at three times the size.

# %% [markdown]
# ## Least-to-most, in brief
#
# Chains fail on problems harder than their examples. *Least-to-most* (从易到难, @zhou2023least) uses two prompts:
#
# 1. **Divide:** "To answer this, which smaller questions must be answered first?"
# 2. **Solve one after another:** ask each with the answers so far in the prompt.
#
# SCAN (turn commands into actions), split by length, code-davinci-002 with 14 examples: at least 99 % right, against 16 %
# with a chain (abstract of the paper).
#
# Related ideas: search in a tree of partial solutions, call tools.

# %% [markdown]
# ## Does the answer follow the chain?
#
# Chains are said to improve *interpretability* (可解释性). That holds only if the answer comes from the chain.
# @lanham2023measuring test this by changing the chain:
#
# - **Early answering** (提前作答): cut the chain. Does the answer change?
# - **A mistake** (加入错误): change a step. Does the answer follow?
# - **Filler**: dots instead. **Paraphrase**: other words.
#
# If nothing changes the answer, the chain is only an explanation afterwards (*post hoc*, 事后解释).

# %% [markdown]
# ### Live: cut it, break it
#
# We give our model a chain for the ten friends, sentence by sentence; it only has to say the number. Three versions: the right
# chain, one with a mistake (10 - 7 = 4), and a *control*: the right chain, and then "The game costs 15 dollars."

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of the answers 3, 4, 10, 15, 24, 32 and 80 is the likeliest at the end of the third version, the control?",
    options=["15, the last number", "24, the result of the chain", "another number"],
)

# %% tags=["subslide", "hide-input"]
CHAIN = [" 10 friends play.", " 7 quit, so 10 - 7 = {left} are left.", " Each has 8 lives, so {left} * 8 = {total}."]
COSTS = " The game costs 15 dollars."
SHOTS = few_shot(FRIENDS, chain=True)


def prompt_after(kept, left=3, end=""):
    """The prompt with so many sentences of the chain."""
    return SHOTS + "".join(CHAIN[:kept]).format(left=left, total=left * 8) + end + " The answer is"


def chances(prompts, options):
    """P of each answer after each prompt: a column per answer, a row per prompt."""
    logs = scoring.loglikelihood(model, tokenizer, prompts, [f" {n}." for n in options], progress=False)
    return np.exp(logs.pivot(index="context", columns="continuation", values="loglikelihood")).set_axis(options, axis=1)


kept = lab.budget(full=[0, 1, 2, 3], quick=[3])
versions = (("a right chain", 3, ""), ("a mistake: 10 - 7 = 4", 4, ""), ("right, then “The game costs 15 dollars.”", 3, COSTS))
table = chances(
    [prompt_after(n, left, end if n == 3 else "") for _, left, end in versions for n in kept], [3, 4, 10, 15, 24, 32, 80]
)
fig, axes = plt.subplots(1, 3, figsize=(13.5, 4), sharey=True)
for row, (ax, (title, _, _)) in enumerate(zip(axes, versions, strict=True)):
    for i, (n, column) in enumerate(table.iloc[row * len(kept) : (row + 1) * len(kept)].items()):
        ax.plot(kept, column, color=plots.COLORS[i % len(plots.COLORS)], marker=plots.MARKERS[i % len(plots.MARKERS)],
                linestyle=plots.LINES[i % len(plots.LINES)], label=str(n))  # fmt: skip
    ax.set(title=title, xlabel="sentences of the chain given", xticks=range(4), ylim=(0, 1.02))
    ax.title.set_fontsize(12)
axes[0].legend(title="answer", fontsize=9, title_fontsize=10)
axes[0].set_ylabel("probability of the answer")
plt.show()

# %% tags=["hide-input"]
last = table.iloc[-1]
said = last.idxmax()
guess.reveal(
    "24, the result of the chain" if said == 24 else "15, the last number" if said == 15 else "another number",
    why=f"P(24) = {last[24]:.2f}, P(15) = {last[15]:.2f}.",
)

# %% [markdown] tags=["subslide"]
# Without a chain, 24 is unlikely; with it the answer is the last result, with the mistake the wrong one. The first two panels
# alone cannot tell a model that *follows the chain* from one that repeats the *last number it has read*. The third can: the first
# kind of model says 24 there, the second 15. One
# problem is an anecdote: lab 08 does the same with all its chains, and with models that were trained on chains.

# %% [markdown]
# ### Explorer: your own mistake

# %% tags=["hide-input"]
def interfere(kept, left):
    got = chances([prompt_after(kept, left)], sorted({3, 10, 24, 80, left, left * 8})).iloc[0]
    fig, ax = plt.subplots(figsize=(9, 3.4))
    ax.bar([str(n) for n in got.index], got, color="white", edgecolor="black", hatch="//")
    text = "".join(CHAIN[:kept]).format(left=left, total=left * 8).strip() or "(no chain)"
    ax.set(title=text, ylabel="probability", xlabel="answer", ylim=(0, 1))
    ax.title.set_fontsize(11)


widgets.explorer(interfere, kept=(0, 3, 1), left=(1, 9, 1), start={"kept": 2, "left": 5}, grid={"left": [1, 3, 5, 7, 9]})

# %% [markdown]
# ### What larger models do
#
# - @lanham2023measuring: it varies widely by task. Cut the chain, and measure how much the answer changes (0: never): 0.44
#   on AQuA, 0.02 on the easy ARC questions. In seven of eight tasks a model of 13 billion parameters needs its chain more
#   than one of 175 billion. (@bentham2024chain: partly the metric; it goes along with accuracy.)
# - @turpin2023language: reorder the options of the few-shot examples so that the answer is always "(A)", or write that you
#   think a wrong one is right. Models follow: on 13 tasks of BIG-bench Hard accuracy falls by up to 19 points the first
#   way, 36 the second, and the chains *argue* for the wrong answer and do not mention the cause.
#
# A chain that sounds right but is not the reason for the answer can do harm, because people trust the answer more.

# %% [markdown]
# ## From a prompt to a way of training
#
# | | who writes the chains? | what is rewarded? |
# |---|---|---|
# | @nye2021show | a program: the steps of an algorithm | imitation |
# | @cobbe2021training | people | imitation |
# | @wei2022chain, @kojima2022large | the model, when prompted | nothing |
# | STaR [@zelikman2022star] | the model; those with right answers are kept and trained on | the answer |
# | @lightman2024verify | the model; people judge each step | each step |
# | o1 [@openai2024learning] | the model, by reinforcement learning | not published |
# | DeepSeek-R1 [@deepseekai2025r1] | the model, by reinforcement learning | the answer, and its form |
#
# What is new in the last rows is not the chain but its training: where an answer can be *checked* by a program, the check is
# a reward, and the model learns which chains lead to right answers.

# %% [markdown]
# ### What was reported
#
# DeepSeek-R1-Zero [@deepseekai2025r1, arXiv v1]: reinforcement learning (chapter 3) on a base model, reward by rule for
# right answers and format, no example chains. Problems of the competition AIME 2024, one chain (a mean over samples):
#
# $$15.6\,\% \;\longrightarrow\; 71.0\,\%, \qquad \text{vote of 64: } 86.7\,\%$$
#
# During the training the chains became longer, up to thousands of tokens, with checks and new starts, although nobody asked
# for that. (The version in *Nature* reports 77.9 %.)
#
# **With care:** 30 problems; what the base model had read is not known in full; details of o1 are not published.

# %% [markdown]
# ### The compute of a chain
#
# Writing a token costs about $2N$ FLOPs, with $N$ parameters.

# %% tags=["hide-input"]
guess = widgets.predict(
    "A model of 7 billion parameters writes a chain of 2,000 tokens. How large may a model be that answers in 10 tokens with the same FLOPs?",
    unit="billion parameters",
)

# %%
equal = {chain: 7 * chain / 10 for chain in (200, 2_000, 20_000)}  # billion parameters
for chain, size in equal.items():
    print(f"{chain:>6} tokens of a 7B model = 10 tokens of a model of {size:>8,.0f}B parameters")

# %% tags=["hide-input"]
guess.reveal(equal[2_000], why="200 times as many tokens: 200 times as many parameters for the same FLOPs.")

# %% [markdown]
# @snell2024scaling: if it is used well (revisions for some problems, samples with a verifier for others), *test-time
# compute* (测试时计算) can replace size: on problems that a small model sometimes solves, it does better than a model 14
# times larger at equal FLOPs. On the hardest problems it hardly helps; there more training does.

# %% [markdown]
# ### Does a reasoning model's chain mention its reasons?
#
# @chen2025reasoning put a hint to an answer into the question. When the hint changes the answer, does the chain say so?
# Claude 3.7 Sonnet does in 25 % of cases on average, DeepSeek-R1 in 39 %. Reinforcement learning on answers improved that
# at first, and then no more.
#
# So a chain is **evidence** about what a model does, and worth reading. It is not a complete **record**.

# %% [markdown]
# ## What to take home
#
# - Question → chain → answer: shown by examples, asked for by a sentence, or trained in.
# - It helps where a problem has *steps*, and where the model can do each of them. A prompted chain does little for our small
#   model, which copies the form of the examples; a chain that was trained does much, even with 100,000 parameters.
# - Why: a result that is written is read again by all layers. At equal compute a trained chain was far better than dots; it
#   also had a target at each step.
# - Votes find the most frequent answer. Verifiers, programs and rewards look for the right one.
# - A chain may or may not be the reason for the answer. Cut it, change it, and add the control that copies the last number.
#
# **Ask yourself:** a vendor shows you a flawless chain for a credit decision. Which two experiments do you ask for?

# %% [markdown]
# ## Quiz
#
# Ten questions. Each can be answered from the ideas above, and none asks for a detail of a paper.

# %% tags=["hide-input"]
widgets.quiz([
    dict(question="For which question should writing the steps help a trained transformer most?", options={
        "Which of these 40 reviews mentions rain?": "It has to look at many places, but side by side: attention does that in one pass.",
        "What is the capital of Mongolia?": "There is one fact to recall and nothing in between that could be written down.",
        "Five cups are swapped twelve times. Where is each?": "Yes: each swap needs "
        "the places after the one before. Written down, they can be read again from the lowest layer.",
        "Is this sentence grammatical English?": "A model judges that well at once; there is hardly a chain of results to write.",
    }, answer="Five cups are swapped twelve times. Where is each?"),
    dict(question="Problems have six steps, and errors in the steps are independent. How often must a single step be right for 90 % right answers?",
         answer=100 * 0.9 ** (1 / 6), unit="%", tolerance=0.01, why="p to the power of 6 must be 0.9, so p is the sixth root of 0.9."),
    dict(question="At equal compute a model that was trained on chains beats one that was trained on dots of the same length. What follows?", options={
        "More computation never helps a transformer.": "Only that these dots did not help here. Some tasks can be learnt in dots, with the right training.",
        "What stands in the tokens matters.": "Yes, as something to read or as a target in training. The two go together here, and this comparison cannot separate them.",
        "Reading the results again is the cause; the targets do not matter.": "That may be so, but the chain model was also trained on each step, and the dots model was not.",
        "The dots model had less compute.": "Both had the same FLOPs, and the same number of tokens in a text.",
    }, answer="What stands in the tokens matters."),
    dict(question="A model gives the right answer in 35 % of its chains, one wrong answer in 45 %, and others in the rest. What does a vote of 1,000 chains say?", options={
        "The wrong answer, nearly always.": "Yes: a vote finds the most frequent answer, and more votes make it more certain.",
        "The right answer in about 35 % of the votes.": "That is a single chain. The more chains vote, the less is left to chance.",
        "The right answer, nearly always: errors cancel.": "Errors cancel when they are spread over many answers. Here one of them is more frequent than the truth.",
    }, answer="The wrong answer, nearly always."),
    dict(question="A chain ends in \"= 24.\" You change that to \"= 25.\", and the answer becomes 25. What do you know?", options={
        "It comes from the reasoning that the chain writes down.": "A model that repeats the last number that it has read would do the same.",
        "It depends on the chain, if only on its last number.": "Yes. A control is needed, such as an irrelevant number after the chain.",
        "The model cannot calculate.": "It was not asked to: the last result was given to it.",
    }, answer="It depends on the chain, if only on its last number."),
    dict(question="On a test the chains are cut after their first sentence. 98 % of the answers stay the same. What follows for these questions?", options={
        "The chain raises the accuracy by up to 98 points.": "The other way round: what comes after the cut hardly changes the answers, so it hardly changes the accuracy.",
        "The chains are of high quality, as the answers are stable.": "Stable answers say nothing about the steps: they were given without most of them.",
        "The model lies about its reasons.": "Perhaps the first sentence was enough, or the question. How the answer came about is open; most of the chain was not needed.",
        "Most of the chain is not needed for the answer.": "Yes. It may still be a correct explanation, but the answer does not depend on it.",
    }, answer="Most of the chain is not needed for the answer."),
    dict(question="A model of 3 billion parameters draws 16 chains of 400 tokens each. With the same FLOPs a model of 30 billion writes one chain. How long may it be?",
         answer=16 * 400 * 3 / 30, unit="tokens", tolerance=0.02, why="FLOPs: 2 · N · tokens. 6,400 tokens at a tenth of the parameters."),
    dict(question="Which check of a solution brings in something that its writer did not know?", options={
        "The same model reads its solution and says whether it is right.": "It has the same knowledge and the same errors. On reasoning, this alone brought no gain.",
        "A vote over twenty chains of the same model.": "It can help, but it only counts what the same writer says most often.",
        "A program calculates each equation again.": "Yes: its arithmetic does not depend on the model's. (It finds false sums, not a wrong plan.)",
    }, answer="A program calculates each equation again."),
    dict(question="Reinforcement learning rewards right *answers* only. A chain has two wrong steps, whose errors cancel. What happens to it?", options={
        "It gets no reward, as its steps are wrong.": "Nobody looks at the steps: the rule compares the answer only.",
        "It becomes more likely, like a chain with right steps.": "Yes: the reward cannot tell them apart. A check of each step could.",
        "It gets a part of the reward, as a part of its steps is right.": "That would need a judgement of each step; here the answer is right, and that is all that counts.",
    }, answer="It becomes more likely, like a chain with right steps."),
    dict(question="With few-shot examples of *one* step, a small model writes one equation for problems of three steps. \"It cannot do three steps\", says a colleague. What do you try first?", options={
        "Ten times as many problems.": "That makes the interval narrower, around a number that may be due to the examples.",
        "The same problems, with examples of three steps.": "Yes: only the suspected cause is changed. If the number of equations changes, it was the examples.",
        "\"Let's think step by step\" without examples.": "This changes two things at once, so a difference would not show which of them was the cause.",
        "A larger model with the same examples.": "It may do better, but it does not tell why the small one writes one equation.",
    }, answer="The same problems, with examples of three steps."),
])

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
# - [@zhang2023automatic]: Auto-CoT
# - [@chen2023program]
# - [@madaan2023self]
# - [@huang2024large]

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
