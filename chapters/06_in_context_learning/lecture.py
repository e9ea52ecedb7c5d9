# %% [markdown]
# # 06 · In-context learning
#
# **Can a model learn a task without changing one weight?** (上下文学习)
#
# Show a language model three examples of a task, then a new question. Often it does the task. Nobody trained it for
# that task, and nothing in it has changed: the examples were only *read*.
#
# After this lecture you can turn a task into a prompt for an encoder and for a decoder, measure what examples improve and
# how much that varies, say which heads of a model copy a pattern, and count what a prompt costs.
#
# Our model, SmolLM2-135M-Instruct, was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. Every
# result below is of this copy; how the original differs we have not measured.

# %% [markdown] tags=["notes"]
# 60 minutes. The main part is "More examples, better answers?": let the room draw the curve before it is shown. Leave ten
# minutes for the two slides on heads. The encoder slides are short because the lab does the cloze. The deck's
# translation of "cheese" is *Le fromage*. Words: an *instruction* is what a prompt asks for, the *order* is the order of
# the examples.

# %% tags=["skip"]
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from course_utils import data, generate, lab, load_model, plots, scoring, tables, widgets

lab.start("06_in_context_learning")
plots.style()
MODEL = "course"  # on a GPU with 8 GB, with a way to the hub (3.1 GB): "qwen2.5-1.5b"; everything below then asks that model
model, tokenizer = load_model(MODEL, precision="fp32")

# %% [markdown]
# ## Zero, one, three examples
#
# The prompt of the GPT-3 paper [@brown2020language, Figure 2.1]: an instruction, no, one or three examples, and a new word.

# %% tags=["hide-input"]
guess = widgets.predict(
    "How many examples does our model need to continue `cheese =>` by *fromage*?", options=["none", "one", "three", "three are not enough"]
)

# %%
FRENCH = ["sea otter => loutre de mer", "peppermint => menthe poivrée", "plush giraffe => girafe peluche"]
answers = {}
for name, shots in (("zero-shot 零样本", 0), ("one-shot 单样本", 1), ("few-shot 少样本", 3)):
    prompt = "\n".join(["Translate English to French:", *FRENCH[:shots], "cheese =>"])
    answer = generate(model, tokenizer, prompt, chat=False, max_new_tokens=lab.budget(full=10, quick=4))
    answers[shots] = answer.splitlines()[0]
    print(f"{name}: {answers[shots]!r}", "(right)" if "fromage" in answers[shots].lower() else "(not right)")

# %% tags=["hide-input"]
knows = [shots for shots, answer in answers.items() if "fromage" in answer.lower()]
guess.reveal(
    "three are not enough" if not knows else "none" if knows[0] == 0 else "one" if knows[0] == 1 else "three",
    why=f"It answers {answers[0]!r} without an example, {answers[1]!r} after one and {answers[3]!r} after three.",
)

# %% [markdown]
# The right answer is *fromage*, and our model never gives it. GPT-3 has 175 billion parameters; ours has 135 million and
# read mostly English. Without an example it repeats "cheese"; with an example the answer *looks* French. So the example
# shows which kind of answer is wanted, but it cannot teach a word that the model does not know. (The form of the prompt
# matters, too: without the colon after "French" the answer looks French without any example. The lab measures that.) A
# larger model that read French finds the word; change `MODEL` above to see one.

# %% [markdown]
# ### The same form, with words it knows

# %% tags=["hide-input"]
TASKS = {
    "capital": (
        "Give the capital:",
        ["Japan => Tokyo", "Italy => Rome", "Spain => Madrid"],
        "France =>",
        " Paris",
    ),
    "opposite": ("Give the opposite:", ["hot => cold", "big => small", "early => late"], "happy =>", " sad"),
    "past tense": ("Past tense:", ["go => went", "eat => ate", "see => saw"], "take =>", " took"),
    "French": ("Translate English to French:", FRENCH, "cheese =>", " fromage"),
}


def prompt_of(task, shots):
    instruction, examples, question, _ = TASKS[task]
    return "\n".join([instruction, *examples[:shots], question])


cases = [(task, shots) for task in TASKS for shots in range(4)]
scores = scoring.loglikelihood(
    model, tokenizer, [prompt_of(*c) for c in cases], [[TASKS[task][3]] for task, _ in cases], progress=False
)
fig, ax = plt.subplots(figsize=(9, 4))
for i, task in enumerate(TASKS):
    part = [np.exp(p) for (name, _), p in zip(cases, scores["loglikelihood"], strict=True) if name == task]
    ax.plot(range(4), part, marker=plots.MARKERS[i], linestyle=plots.LINES[i], label=task)
ax.set(title="One example makes the task clear", xlabel="examples in the prompt", ylabel="P(right answer)")
ax.set(xticks=range(4), ylim=(-0.02, 1.02))
ax.legend()
plt.show()

# %% [markdown]
# This is *in-context learning* (上下文学习): the model takes the task from the context, in one forward pass. For the three
# tasks whose words it knows, the probability of the right answer rises with the first example. For French it stays near 0
# (one question per task: an illustration).

# %% [markdown]
# ### Explorer: what would it say next?


# %% tags=["hide-input"]
@torch.inference_mode()
def next_words(task, shots):
    ids = tokenizer(prompt_of(task, shots), return_tensors="pt").to(model.device)
    top = model(**ids, logits_to_keep=1).logits[0, -1].softmax(-1).topk(6)
    words = [repr(tokenizer.decode([i])) for i in top.indices.tolist()]
    fig, ax = plt.subplots(figsize=(9, 3.2))
    ax.barh(words[::-1], top.values.tolist()[::-1], color="white", edgecolor="black", hatch="//")
    ax.set(title=f"{task}, {shots} examples", xlabel="probability", ylabel="next token", xlim=(0, 1))


widgets.explorer(next_words, task=list(TASKS), shots=(0, 3, 1), start={"shots": 1})

# %% [markdown]
# ## Why not simply fine-tune?
#
# Training with Adam in mixed precision keeps 16 bytes per parameter: the parameter, its gradient, two averages and a copy
# in fp32 [@rajbhandari2020zero].

# %% tags=["hide-input"]
guess = widgets.predict("How many GPUs of 80 GB does it take only to *hold* GPT-3, 175 billion parameters, in training?", unit="GPUs")

# %%
gpt3 = tables.load("language_models").set_index("name").loc["GPT-3", "parameters_billion"]
card = tables.load("gpus").set_index("name").loc["A100 80GB", "memory_gb"]
print(
    f"in training {16 * gpt3:,.0f} GB: {np.ceil(16 * gpt3 / card):.0f} cards of {card:.0f} GB, before any activation"
)
print(f"and then {2 * gpt3:,.0f} GB (fp16) to store for each task; the prompt for 'opposite' above:")
print(len(prompt_of("opposite", 3).encode()), "bytes")

# %% tags=["hide-input"]
guess.reveal(np.ceil(16 * gpt3 / card), why=f"16 bytes for each of {gpt3:.0f} billion parameters, divided by {card:.0f} GB.")

# %% [markdown]
# There are two ways out (两条路线):
#
# - **tune fewer parameters**: adapters, LoRA (chapter 11), and what comes at the end of this lecture;
# - **prompt** (提示学习): leave the model as it is, write the task so that it looks like pre-training.
#
# The second way also made models easier to use: what we type is a request, not a data set.

# %% [markdown]
# ### Bring the task to the model
#
# Fine-tuning adds a new head and teaches the model a new form. Prompting *aligns* (对齐) the task with the form that
# pre-training used:
#
# | model | in pre-training it had to | so write the task as |
# |---|---|---|
# | masked encoder (BERT, RoBERTa) | fill in a masked word | a *cloze* (完形填空): … It was [MASK]. |
# | discriminator (ELECTRA) | say which words were replaced | one sentence per answer: which looks original? |
# | decoder (GPT) | continue a text | a text whose natural continuation is the answer |

# %% [markdown]
# ## Prompting encoders: two pictures
#
# The task: is this sentence of a film review positive?


# %% tags=["hide-input"]
def box(ax, x, y, text, fill="white", width=2.6):
    ax.add_patch(plt.Rectangle((x, y), width, 0.5, facecolor=fill, edgecolor="black", linewidth=1.5))
    ax.text(x + width / 2, y + 0.25, text, ha="center", va="center", fontsize=12)


def arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.5})


fig, axes = plt.subplots(1, 2, figsize=(13, 4.6))
for ax, title in zip(axes, ("(a) cloze: masked model", "(b) discriminator: ELECTRA"), strict=True):
    ax.set(title=title, xlim=(0, 6.6), ylim=(0, 4.2))
    ax.axis("off")
a, b = axes
box(a, 0.3, 0.1, "A gripping film.  It was [MASK].", "#dddddd", 6)
box(a, 1.8, 1.2, "encoder, as pre-trained", width=3)
arrow(a, (3.3, 0.6), (3.3, 1.2))
for x, word, label in ((0.3, "P(great)", "positive"), (3.7, "P(terrible)", "negative")):
    box(a, x, 2.3, word)
    box(a, x, 3.5, label, "#dddddd")
    arrow(a, (3.3, 1.7), (x + 1.3, 2.3))
    arrow(a, (x + 1.3, 2.8), (x + 1.3, 3.5))
a.text(3.3, 3.1, "verbalizer", ha="center", va="center", style="italic")
for x, word, label in ((0.1, "great", "positive"), (3.5, "terrible", "negative")):
    box(b, x, 0.1, f"A gripping film.\nIt was {word}.", "#dddddd", 3)
    box(b, x, 1.2, "encoder, as pre-trained", width=3)
    box(b, x, 2.3, f"P({word} is original)", width=3)
    box(b, x, 3.5, label, "#dddddd", 3)
    for low, high in ((0.6, 1.2), (1.7, 2.3), (2.8, 3.5)):
        arrow(b, (x + 1.5, low), (x + 1.5, high))
plt.show()

# %% [markdown]
# A *template* (模板) puts the sentence into a text with a blank; a *verbalizer* (标签词映射) says which word means which
# label. There is no new head to train from random numbers, so a few labelled sentences can be enough for tuning.

# %% [markdown]
# ### Who did it
#
# - **PET** [@schick2021exploiting]: templates and verbalizers for masked models; several templates together label
#   unlabelled text, and an ordinary classifier learns from that.
# - **LM-BFF** [@gao2021making]: RoBERTa with the template above and great / terrible; templates found automatically, and
#   examples put beside the sentence.
# - **ELECTRA** [@clark2020electra] never predicts a word: it reads a text in which some words were replaced and says of
#   *each* token whether it is original. So put each candidate word into the blank and ask which one looks original.
# - @xia2022prompting and @yao2022prompt (they call it DPT) did that. Both report better results in their tests: the first
#   than prompted masked models, the second than fine-tuning.
#
# The lab trains a head of the first kind on a small encoder, and prompts it.

# %% [markdown]
# ## Prompting decoders
#
# Describe the task in words, give examples if you have them. The answer is the likelier continuation.

# %%
films = data.movie_sentences().to_pandas().query("abs(score) >= 1 and 30 <= text.str.len() <= 70")
films = films.assign(positive=films["score"] > 0).sample(frac=1, random_state=0)
films["place"] = films.groupby("positive").cumcount()
films = films[films["place"] < lab.budget(full=42, quick=15)].sort_values(
    ["place", "positive"], ascending=[True, False]
)
# eight examples each, for three prompts
sets = [films.iloc[start : start + 8] for start in lab.budget(full=(0, 8, 16), quick=(0, 8))]
examples, test = sets[0], films.iloc[24:]
WORDS = {True: "positive", False: "negative"}


def shots(chosen, words=WORDS):
    return "".join(f"Review: {r.text}\nSentiment: {words[r.positive]}\n\n" for r in chosen.itertuples())


# %%
def log_odds(beginning, texts, words=WORDS):
    """log P(positive) - log P(negative) for each text."""
    prompts = [f"{beginning}Review: {text}\nSentiment:" for text in texts]
    options = [" " + words[True], " " + words[False]]
    found = scoring.loglikelihood(model, tokenizer, prompts, options, progress=False)["loglikelihood"].to_numpy()
    return found[0::2] - found[1::2]


print(shots(examples.head(2)) + f"Review: {test['text'].iloc[0]}\nSentiment:")

# %% [markdown]
# ### More examples, better answers?
#
# 60 sentences, half of them positive; 0, 1, 2, 4, 8 examples. Before you run it, draw the curve.
#
# There are two metrics, and chance is one half for both. *Accuracy*: the share of sentences for which the right word is the
# likelier one. *ROC AUC*: the share of pairs of a positive and a negative sentence in which the positive one has the higher
# score. ROC AUC does not depend on the threshold.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What do eight examples do to the ROC AUC, compared with none?",
    options=["they raise it", "no difference that can be seen: the interval contains 0", "they lower it"],
)


# %%
def right(frame):
    return float(((frame["odds"] > 0) == frame["positive"]).mean())


def in_order(frame):
    good, bad = (frame.loc[frame["positive"] == side, "odds"].to_numpy() for side in (True, False))
    return float((good[:, None] > bad).mean())


EMPTY = ["N/A", "", "[MASK]"]  # texts without content, for later
runs, blank = {}, {}
for k in lab.budget(full=(0, 1, 2, 4, 8), quick=(0, 8)):
    odds = log_odds(shots(examples.head(k)), [*test["text"], *EMPTY])
    runs[k], blank[k] = test.assign(odds=odds[: len(test)]), odds[len(test) :]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.4))
n = lab.budget(full=500, quick=20)
measured = {
    "accuracy": [scoring.proportion(round(right(run) * len(run)), len(run)) for run in runs.values()],
    "ROC AUC": [scoring.bootstrap(run, in_order, n) for run in runs.values()],
}
for i, (label, found) in enumerate(measured.items()):
    value, low, high = np.array(found).T
    x = np.arange(len(runs)) + 0.06 * (2 * i - 1)
    ax.errorbar(
        x, value, (value - low, high - value), marker=plots.MARKERS[i], ls=plots.LINES[i], label=label, capsize=4
    )
ax.axhline(0.5, color="grey", linestyle=":", marker="")
ax.text(0, 0.51, "chance", color="grey")
ax.set_xticks(range(len(runs)), list(runs))
ax.set(title="Film sentences, 95 % intervals", xlabel="examples in the prompt", ylabel="share", ylim=(0.3, 1.02))
ax.legend(loc="lower right")
plt.show()

# %%
said = {k: float((run["odds"] > 0).mean()) for k, run in runs.items()}
print("share of sentences called positive:", ", ".join(f"{k} examples {v:.0%}" for k, v in said.items()))
both = test.assign(none=runs[0]["odds"], eight=runs[8]["odds"])
gain = scoring.bootstrap(
    both,
    lambda f: in_order(f.assign(odds=f["eight"])) - in_order(f.assign(odds=f["none"])),
    n=lab.budget(full=500, quick=20),
)
print("gain of 8 examples over none, ROC AUC: {:+.2f} [{:+.2f}, {:+.2f}]".format(*gain))

# %% tags=["hide-input"]
guess.reveal(
    "they raise it" if gain[1] > 0 else "they lower it" if gain[2] < 0 else "no difference that can be seen: the interval contains 0",
    why=f"The gain is {gain[0]:+.2f}; its interval is printed above.",
)

# %% [markdown]
# Compare with your curve. The model *sorts* the sentences well without any example (ROC AUC), and examples add little to
# that: at full size the interval of the gain contains zero. What the examples move is the *threshold*: after one positive
# example the model calls clearly more sentences positive, and its accuracy is lower. The intervals are wide (60 sentences),
# so whether one example is really worse than none we cannot tell from them. And they leave out the choice of the examples:
# another eight examples give another curve. The lab draws that too.

# %% [markdown]
# ## What it is sensitive to: the order
#
# Four examples, two of each label, in twelve orders. We ask about four sentences (half of them positive) and about an input
# without content, "N/A" [@zhao2021calibrate]. Without a bias the mean of P(positive) would be one half.

# %% tags=["hide-input"]
guess = widgets.predict(
    "When is P(positive), the mean over the four sentences and all orders, higher?",
    options=["when the last example is negative", "when the last example is positive", "neither: they differ by less than 0.05"],
)

# %% tags=["hide-input"]
four, asked = examples.head(4), [*test["text"].head(4), "N/A"]
orders = [
    four.iloc[list(order)]
    for order in lab.budget(full=permutations(range(4)), quick=((0, 1, 2, 3), (1, 0, 3, 2)))
    if order.index(0) < order.index(2)
]
odds = np.array([log_odds(shots(order), asked) for order in orders])
p = 1 / (1 + np.exp(-odds))
pull = pd.DataFrame({"four sentences": p[:, :-1].mean(axis=1), '"N/A"': p[:, -1]})
pull["labels"] = [" ".join("+" if up else "−" for up in order["positive"]) for order in orders]
means = pull.groupby("labels").mean().sort_values("four sentences")
fig, ax = plt.subplots(figsize=(9, 4.2))
for j, name in enumerate(means.columns):
    for i, pattern in enumerate(means.index):
        dots = pull.loc[pull["labels"] == pattern, name]
        style = {"marker": plots.MARKERS[j], "color": plots.COLORS[j + 1], "linestyle": ""}
        ax.plot(dots, [i + 0.2 * j - 0.1] * len(dots), markerfacecolor="none", label=name if i == 0 else None, **style)
ax.axvline(0.5, color="grey", linestyle=":", marker="")
ax.set_yticks(range(len(means)), means.index)
ax.set(title="The same four examples in twelve orders", xlabel="P(positive)", ylabel="order of the labels", xlim=(0, 1))
ax.legend(loc="lower right")
plt.show()

# %% tags=["hide-input"]
last = {sign: pull.loc[pull["labels"].str.endswith(sign), "four sentences"].mean() for sign in ("+", "−")}
higher = "when the last example is positive" if last["+"] > last["−"] else "when the last example is negative"
guess.reveal(
    higher if abs(last["+"] - last["−"]) >= 0.05 else "neither: they differ by less than 0.05",
    why=f"{last['+']:.2f} when it is positive, {last['−']:.2f} when it is negative.",
)

# %% [markdown]
# On these four sentences P(positive) is above one half when the last label is + and below when it is −, unless the labels
# alternate; then it is near one half. @zhao2021calibrate found this *recency bias* (近因偏差) in GPT-3,
# with a bias to the most *frequent* label and to common words. "N/A" shows another pattern: its squares are not where the
# circles are. (Twelve orders of one set of four examples, four sentences: another set may behave differently.)

# %% [markdown]
# ### Calibrate before use?
#
# There are two ways to *calibrate* (校准), without a new run of the model: measure the bias on inputs without content
# [@zhao2021calibrate], or on the sentences themselves without their labels (*batch calibration*, @zhou2024batch), and
# divide by it. Zhao et al. take the mean probability over three inputs, "N/A", "[MASK]" and the empty string.

# %% tags=["hide-input"]
guess = widgets.predict(
    'Without any example: what does calibration by "N/A" alone do to the accuracy?',
    options=["it raises it", "it lowers it", "no difference that can be seen: the interval contains 0"],
)

# %%
def positive(odds):
    return 1 / (1 + np.exp(-np.asarray(odds)))


def bias(odds):
    """Log-odds of the mean probability."""
    mean = positive(odds).mean()
    return np.log(mean / (1 - mean))


table, gains = {}, {}
for k, run in runs.items():
    pulls = {"as it is": 0, 'by "N/A"': blank[k][0], "by three inputs": bias(blank[k]), "by all sentences": bias(run["odds"])}
    hits = {name: ((run["odds"] > by) == run["positive"]).astype(float) for name, by in pulls.items()}
    table[k] = {f"accuracy {name}": hit.mean() for name, hit in hits.items()} | {"ROC AUC": in_order(run)}
    table[k] |= {f"P(positive) of {text!r}": p for text, p in zip(EMPTY, positive(blank[k]), strict=True)}
    gains[k] = {
        name: "the same on each sentence" if (hit == hits["as it is"]).all()
        else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*scoring.paired(hit, hits["as it is"]))
        for name, hit in hits.items()
    }  # fmt: skip
pd.DataFrame(table).rename_axis("examples", axis=1).round(2)

# %%
pd.DataFrame(gains).drop("as it is").rename_axis("gain, paired; examples", axis=1)

# %% tags=["hide-input"]
before, after = (((runs[0]["odds"] > by) == runs[0]["positive"]).astype(float) for by in (0, blank[0][0]))
gain = scoring.paired(after, before)
guess.reveal(
    "it raises it" if gain[1] > 0 else "it lowers it" if gain[2] < 0 else "no difference that can be seen: the interval contains 0",
    why=f"From {before.mean():.2f} to {after.mean():.2f}; where the intervals exclude 0, the second table says.",
)

# %% [markdown]
# The sentences themselves help to find the threshold, without a label (half of them are positive, as this method assumes).
# The inputs without content disagree with each other (last rows of the first table), so their mean is one of three numbers
# that scatter. The second table shows it: without an example, calibration by three inputs lowers the accuracy, after one
# example it raises it, and with more the intervals contain 0. Zhao et al. report gains of up to 30 points for GPT-3. Check
# a remedy on your own model.

# %% [markdown]
# ### Does it learn from the labels?
#
# Eight examples again, but with *flipped* labels (标签翻转), or with words that mean nothing here. We use three sets of
# eight examples, and ask each about ten sentences. Here an answer is right if it *follows the examples*, flipped as they may be.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which ROC AUC do the answers have after examples with flipped labels?",
    options=["below 0.4: it keeps to what the words mean", "0.4 to 0.6: it does neither", "above 0.6: it follows the examples"],
)

# %%
LABELS = {
    "true labels": WORDS,
    "flipped": {True: "negative", False: "positive"},
    "foo for positive, bar for negative": {True: "foo", False: "bar"},
}
rows, aucs = {}, {}
for name, words in LABELS.items():
    # each set of examples is asked about ten sentences
    parts = [test.iloc[i:30:3] for i in range(lab.budget(full=3, quick=2))]
    parts = [p.assign(odds=log_odds(shots(eight, words), p["text"], words)) for p, eight in zip(parts, sets, strict=True)]
    every = pd.concat(parts)
    share = scoring.proportion(round(right(every) * len(every)), len(every))
    rows[name] = {"follow the examples": "{:.2f} [{:.2f}, {:.2f}]".format(*share)}
    rows[name] |= {"in each set": ", ".join(f"{right(p):.2f}" for p in parts)}
    aucs[name] = [in_order(p) for p in parts]
    rows[name] |= {"ROC AUC": f"{np.mean(aucs[name]):.2f}", "ROC AUC of each set": ", ".join(f"{a:.2f}" for a in aucs[name])}
pd.DataFrame(rows).T

# %%
half = scoring.mean([value - 0.5 for value in aucs["flipped"]])
print("ROC AUC, flipped labels minus one half: {:+.2f} [{:+.2f}, {:+.2f}] (t interval over the sets)".format(*half))
gap = scoring.paired(aucs["true labels"], aucs["foo for positive, bar for negative"])
print("ROC AUC, true labels minus foo and bar: {:+.2f} [{:+.2f}, {:+.2f}] (paired, over the sets)".format(*gap))
one, of = right(test.iloc[0:30:3].assign(odds=runs[8]["odds"])), len(test.iloc[0:30:3])
print(f"first set, true labels: {one * of:.0f} of these {of} sentences; of all {len(test)} it had {right(runs[8]):.2f} right")

# %% tags=["hide-input"]
auc = {name: float(np.mean(values)) for name, values in aucs.items()}
guess.reveal(
    "above 0.6: it follows the examples" if auc["flipped"] > 0.6
    else "below 0.4: it keeps to what the words mean" if auc["flipped"] < 0.4 else "0.4 to 0.6: it does neither",
    why=f"{auc['flipped']:.2f}; with true labels {auc['true labels']:.2f}.",
)

# %% [markdown]
# First look at the true labels: their share is lower here than with eight examples two slides above. The first set is the same
# eight examples, asked about ten of those sixty sentences: the last line has both counts, and a share of ten sentences is too
# rough to contradict that of sixty. The other two sets are new, and the threshold moves with the examples. So accuracy alone
# would mislead; compare the ROC AUC.
#
# With flipped labels the ROC AUC is below one half in each of the three sets: the model still ranks by what the words *mean*,
# not by what the examples say. (Three sets are few: the t interval over them just reaches one half. The lab has more draws.)
# The accuracy says less: its interval, Wilson's, contains one half. With foo and bar
# there is no meaning to use; whether the ROC AUC is lower than with true labels, the second printed interval says (three sets
# are few), and whether the accuracy is above chance we cannot tell from thirty sentences. So this model does not follow
# flipped labels; whether it takes a *new* task, foo and bar, from these examples, we cannot tell.

# %% [markdown]
# ### What others measured
#
# | what was changed | what happened | who |
# |---|---|---|
# | order of the examples | from near the best known result to guessing; no best order for all | @lu2022fantastically |
# | labels drawn at random | hardly worse in 12 models: label words, inputs and form matter more | @min2022rethinking |
# | labels flipped | small models hardly fall below chance; text-davinci-002 falls from 90.3 % to 22.5 % (32 examples, mean of several tasks) | @wei2023larger |
# | labels flipped | not followed by eight open models of 1 to 12 billion parameters | @kumar2025semantic |
# | labels without meaning | works in large models mainly, and better with more examples | @wei2023larger; @pan2023what |
# | spaces, colons, capitals | up to 76 points of accuracy, LLaMA-2-13B | @sclar2024quantifying |
#
# So the phenomenon is one of scale: a GPU with 8 GB and `MODEL = "qwen2.5-1.5b"` above, or even a 7B model, need not show
# it. And report the spread over orders and forms, not one number. Chapter 2 did it for wordings.

# %% [markdown]
# ## What it is good for, one: the form of the answer (输出格式约束)

# %%
TEXT = "Ana is 31 years old and lives in Lisbon."
SHOWN = """Text: Bo is 25 years old and lives in Oslo.
JSON: {"name": "Bo", "age": 25, "city": "Oslo"}

Text: Mei is 40 years old and lives in Chengdu.
JSON: {"name": "Mei", "age": 40, "city": "Chengdu"}

"""
for name, beginning in (("no example", ""), ("two examples", SHOWN)):
    prompt = f"{beginning}Text: {TEXT}\nJSON:"
    print(
        f"{name}:",
        generate(model, tokenizer, prompt, chat=False, max_new_tokens=lab.budget(full=36, quick=4)),
        sep="\n",
        end="\n\n",
    )

# %% [markdown]
# Two examples show which keys to use, to write one line, and when to stop. They make the form likely, not certain: a
# program that reads the answer must still check it.

# %% [markdown]
# ### Two: a smaller space to search (缩小知识搜索空间)
#
# Mercury is a planet, a metal and a god. Is it enough to name the topic, or does it take examples, to make the meant word the
# likeliest of the three?

# %% tags=["hide-input"]
guess = widgets.predict(
    "Name the topic only: astronomy, chemistry or Roman religion. For how many of the three is the meant word the likeliest?",
    options=[0, 1, 2, 3],
)

# %% tags=["hide-input"]
CONTEXTS = {
    "nothing": "",
    "topic: astronomy": "Astronomy lesson. ",
    "topic: chemistry": "Chemistry lesson. ",
    "topic: religion": "Roman religion. ",
    "two planets": "Venus is a planet. Jupiter is a planet. ",
    "two metals": "Iron is a metal. Gold is a metal. ",
    "two gods": "Mars is a god. Neptune is a god. ",
}
CONTROL = {  # Paris is none of the three
    "nothing, then Paris": "",
    "two planets, then Paris": "Venus is a planet. Jupiter is a planet. ",
    "two metals, then Paris": "Iron is a metal. Gold is a metal. ",
    "two gods, then Paris": "Mars is a god. Neptune is a god. ",
}
prompts = [context + "Mercury is a" for context in CONTEXTS.values()]
prompts += [context + "Paris is a" for context in CONTROL.values()]
found = scoring.loglikelihood(model, tokenizer, prompts, [" planet", " metal", " god"], progress=False)
found = np.exp(found["loglikelihood"].to_numpy()).reshape(-1, 3)
meanings = ["planet", "metal", "god"]
pd.DataFrame(found, [*CONTEXTS, *CONTROL], meanings).round(4)

# %% tags=["hide-input"]
likeliest = [meanings[i] for i in found.argmax(1)]
guess.reveal(
    sum(word == meant for word, meant in zip(likeliest[1:4], meanings, strict=True)),
    why=f"After the topics: {', '.join(likeliest[1:4])}. After two examples: {', '.join(likeliest[4:7])}.",
)

# %% [markdown]
# Without a context *metal* is the likeliest of the three. The topic makes the meant word the likeliest for the planet and the
# metal, but after "Roman religion." the planet is still likelier than the god. Two examples make it the likeliest each time.
# But look at the control: Paris is no planet, no metal and no god. After two planets or two gods the word becomes likely
# there, too, though less so than for Mercury. So for these two, copying explains a large part of the rise. After two metals
# Paris does not become a metal: there the meaning of *Mercury* matters. (One control word, one pair of examples each.)

# %% [markdown]
# ### Three: new knowledge without a gradient (无需梯度更新的知识更新)
#
# Zorbia is invented, so the model cannot know its capital. For France it has learnt another answer than the news gives.

# %% tags=["hide-input"]
guess = widgets.predict(
    "News in the prompt: the capital of France is Lyon. Which capital does it name with the news, and which in the next request, without it?",
    options=["Paris, then Paris", "Lyon, then Paris", "Lyon, then Lyon", "another pair of answers"],
)

# %%
NEWS = {"Zorbia": "News: the island of Zorbia has a new capital, Port Quill.\n", "France": ""}
NEWS["France"] = "News: from today, the capital of France is Lyon.\n"
told = {}
for place, news in NEWS.items():
    for name, context in (("before", ""), ("with the news", news), ("the next request", "")):
        answer = generate(
            model,
            tokenizer,
            f"{context}The capital of {place} is",
            chat=False,
            max_new_tokens=lab.budget(full=8, quick=2),
        )
        told[place, name] = answer.splitlines()[0]
        print(f"{name:<17} The capital of {place} is {told[place, name]}")

# %% tags=["hide-input"]
lines = [told["France", name] for name in ("with the news", "the next request")]
named = [min(((line.find(city), city) for city in ("Lyon", "Paris") if city in line), default=(0, ""))[1] for line in lines]
guess.reveal(
    "Lyon, then Paris" if named == ["Lyon", "Paris"] else "Lyon, then Lyon" if named == ["Lyon", "Lyon"]
    else "Paris, then Paris" if named == ["Paris", "Paris"] else "another pair of answers",
    why=f"It continues by {lines[0].strip()!r} and, without the news, by {lines[1].strip()!r}.",
)

# %% [markdown]
# The model uses the news while it is in the context. In the next request it is gone. *Retrieval* (检索增强) uses this: put
# the page into the prompt. Note the danger: the news about France was false, and the model believed it. In chapter 05 the
# same model overrules a page that says Lyon. That is one question: there it is asked in a chat and has a page, here it
# continues a text and has news. Chapter 05 changes one at a time, on twelve questions.

# %% [markdown]
# ## Why does it work? Look at copying
#
# Random tokens, then the same random tokens again. There is no language and no meaning in them. (If all tokens were equally
# likely, the loss would be about 10.8 nats per token.)

# %% tags=["hide-input"]
guess = widgets.predict(
    "What is the mean loss of the *second* copy, in nats per token?", options=["10 or more", "5 to 10", "1 to 5", "less than 1"]
)

# %%
LENGTH = lab.budget(full=40, quick=10)
once = torch.randint(100, tokenizer.vocab_size, (4, LENGTH), generator=torch.Generator().manual_seed(0))
twice = torch.cat([once, once], dim=1).to(model.device)


@torch.inference_mode()
def losses():
    """Nats at each place from the second token on, mean of four sequences."""
    logits = model(twice).logits[:, :-1].float()
    nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), twice[:, 1:], reduction="none")
    return nats.mean(0).cpu().numpy()


loss = losses()

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 3.8))
ax.plot(range(1, 2 * LENGTH), loss, marker=".", label="course model")
uniform = np.log(tokenizer.vocab_size)
ax.axhline(uniform, color="grey", linestyle=":", marker="", label="all tokens equally likely")
ax.axvline(LENGTH, color="black", linestyle="--", marker="", linewidth=1)
ax.text(LENGTH + 1, loss.max(), "second copy", va="top")
ax.set(
    title="It learns the sequence while it reads",
    xlabel="place in the sequence",
    ylabel="loss (nats per token)",
    ylim=(0, None),
)
ax.legend(loc="lower left")
plt.show()
copies = loss[: LENGTH - 1].mean(), loss[LENGTH:].mean()
print(f"first copy {copies[0]:.1f} nats per token, second {copies[1]:.1f}")

# %% tags=["hide-input"]
guess.reveal(
    "10 or more" if copies[1] >= 10 else "5 to 10" if copies[1] >= 5 else "1 to 5" if copies[1] >= 1 else "less than 1",
    why=f"It is {copies[1]:.1f}; in the first copy it is {copies[0]:.1f}.",
)

# %% [markdown]
# In the first copy the loss is higher than that of a uniform guess, because the model expects language. In the second copy
# it falls after a few tokens: the model finds the token that followed last time.

# %% [markdown]
# ### Induction heads
#
# @olsson2022induction found *induction heads* (归纳头). At "… A B … A" such a head attends to the token *after* the first
# A, and makes B more likely as the next token. So we look, at each place of the second copy, for earlier places that hold
# the token which comes *next*. The score of a head is the share of its attention that goes there. (This needs the tokens, and
# works on any text that repeats itself. In the lab you score the heads from their attention alone.)

# %%
model.set_attn_implementation("eager")  # the one that can show its attention
with torch.inference_mode():
    attention = torch.stack(model(twice, output_attentions=True).attentions).cpu()  # layer, text, head, from, to
model.set_attn_implementation("sdpa")
tokens = twice.cpu()
holds_next = tokens[:, None, :] == tokens[:, 1:, None]  # text, from, to: is the token at "to" the one after "from"?
share = (attention[..., :-1, :] * holds_next[:, None]).sum(-1)  # what comes later has no attention
induction = share[..., LENGTH:].mean((1, 3))

# %% tags=["hide-input"]
heads = model.config.num_attention_heads
ranked = [divmod(int(i), heads) for i in induction.flatten().argsort(descending=True)]
layer, head = ranked[0]
fig, axes = plt.subplots(1, 2, figsize=(14, 4), width_ratios=[1.7, 1])
for ax, part in zip(axes, (induction.T, attention[layer, 0, head]), strict=True):
    image = ax.imshow(part, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    ax.grid(False)
axes[0].set(title="Attention to the token that comes next", xlabel="layer", ylabel="head", yticks=range(0, 9, 2))
axes[1].set(title=f"Layer {layer}, head {head}, first sequence", xlabel="to place", ylabel="from place")
fig.colorbar(image, ax=axes, label="attention")
plt.show()
print(f"{int((induction > 0.4).sum())} of {induction.numel()} heads give it over 40 %; (layer, head):", ranked[:7])

# %% [markdown]
# Right: one head, the one with the highest score. In the second copy (lower half) most of its attention is on one diagonal, the
# places after the earlier copies. In the first copy there is nothing to find, and its attention goes to the first token.

# %% [markdown]
# ### Is it these heads?
#
# Attention shows where a head looks, not what depends on it. So we take the best five away. An output of zero is something
# that later layers have never seen; so we put the head's *mean* output over other texts in its place (*mean ablation*,
# 均值消融). What the heads of a layer write is added up, so we exchange one term of this sum. For comparison we do the same with
# five others, drawn at random twenty times.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Without the best five, how far does the loss of the second copy rise, on the way from its value with all heads to that of the first copy?",
    options=["more than half of the way", "a tenth to a half of the way", "less than a tenth of the way"],
)


# %% tags=["hide-input"]
def adder(layer):
    """The module that adds up what the heads of a layer have written (its input, side by side)."""
    return model.model.layers[layer].self_attn.o_proj


def by_head(tensor, dim=-1):
    """The heads in a dimension of their own: … heads, numbers of a head …"""
    return tensor.unflatten(dim, (-1, config.head_dim))


@torch.inference_mode()
def head_means(texts):
    """For each layer the mean over all tokens of some texts of what each head writes, (heads, dim)."""
    found = {layer: [] for layer in range(config.num_hidden_layers)}
    hooks = [
        adder(layer).register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(by_head(inputs[0][0])))
        for layer, kept in found.items()
    ]
    for text in texts:
        model(**tokenizer(text, return_tensors="pt").to(model.device))
    for hook in hooks:
        hook.remove()
    return {layer: torch.cat(kept).mean(0) for layer, kept in found.items()}


def without(heads_off, function):
    """function() while these (layer, head) add what their mean output would add."""
    hooks = []
    for layer, head in heads_off:

        def exchange(module, inputs, total, head=head, usual=means[layer][head]):
            more = usual - by_head(inputs[0])[..., head, :]
            return total + more @ by_head(module.weight, 1)[:, head].T

        hooks.append(adder(layer).register_forward_hook(exchange))
    result = function()
    for hook in hooks:
        hook.remove()
    return result


config = model.config
means = head_means(films["text"].head(lab.budget(full=40, quick=3)))
rng, others = np.random.default_rng(0), ranked[40:]
draws = [[others[i] for i in rng.permutation(len(others))[:5]] for _ in range(lab.budget(full=20, quick=2))]
cut = {"all heads": [[]], "without five others": draws, "without the best five": [ranked[:5]]}
copied = {name: [without(off, losses) for off in listed] for name, listed in cut.items()}

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 3.4))
for j, (label, part) in enumerate((("first copy", slice(0, LENGTH - 1)), ("second copy", slice(LENGTH, None)))):
    for i, found in enumerate(copied.values()):
        look = {"color": plots.COLORS[j], "markerfacecolor": "none", "linestyle": ""}
        height = [i + 0.15 * (2 * j - 1)] * len(found)
        ax.plot([nats[part].mean() for nats in found], height, plots.MARKERS[j], label=label if i == 0 else None, **look)
ax.set_yticks(range(3), [f"{name} ({len(listed)})" for name, listed in cut.items()])
ax.invert_yaxis()
ax.set(title="Five heads replaced by their mean output", xlabel="loss (nats per token)", ylabel="model (number of draws)")
ax.legend()
plt.show()
second = {name: np.array([nats[LENGTH:].mean() for nats in found]) for name, found in copied.items()}
count = int((second["without five others"] >= second["without the best five"][0]).sum())
print(f"second copy: all heads {second['all heads'][0]:.1f}, best five away {second['without the best five'][0]:.1f} nats per token;")
print(f"{count} of {len(draws)} random fives cost as much or more: p = {(count + 1) / (len(draws) + 1):.2f}")

# %% tags=["hide-input"]
low, risen = second["all heads"][0], second["without the best five"][0]
way = (risen - low) / (copies[0] - low)
guess.reveal(
    "more than half of the way" if way > 0.5 else "a tenth to a half of the way" if way >= 0.1 else "less than a tenth of the way",
    why=f"From {low:.1f} to {risen:.1f}; the first copy has {copies[0]:.1f}. Five random heads: {second['without five others'].mean():.1f} in the mean.",
)

# %% [markdown]
# Without the best five, the loss of the second copy rises; the printed p says how many of twenty random fives cost as much.
# So these heads matter for copying. They do not do it alone: an induction head needs an earlier head that notes which token
# came before [@olsson2022induction]; the lab looks for those.
#
# Is copying all of in-context learning? @olsson2022induction saw both appear at the same time in training; they showed a
# cause in small models, and a correlation in large ones. So what becomes of the few-shot answers of the first slides?

# %% tags=["hide-input"]
guess = widgets.predict(
    "Three examples, without the best five heads: for how many of the tasks capital, opposite and past tense does the "
    "*probability* of the right answer fall to less than half?",
    options=[0, 1, 2, 3],
)


# %%
def right_answers():
    found = scoring.loglikelihood(
        model, tokenizer, [prompt_of(task, 3) for task in TASKS], [[TASKS[task][3]] for task in TASKS], progress=False
    )
    return np.exp(found["loglikelihood"].to_numpy())


few = {name: np.array([without(off, right_answers) for off in listed[:10]]) for name, listed in cut.items()}
table = {name: dict(zip(TASKS, found.mean(0), strict=True)) for name, found in few.items()}
lowest = few["without five others"].min(0)
below = [task for task, best, low in zip(TASKS, few["without the best five"][0], lowest, strict=True) if best < low]
print(f"below the lowest of {len(few['without five others'])} draws without the best five:", ", ".join(below) or "no task")
pd.DataFrame(table | {"… the lowest of the draws": dict(zip(TASKS, lowest, strict=True))}).T.style.format(precision=3)

# %% tags=["hide-input"]
pairs = {task: (table["all heads"][task], table["without the best five"][task]) for task in TASKS if task != "French"}
guess.reveal(
    sum(after < before / 2 for before, after in pairs.values()),
    why="; ".join(f"{task}: {before:.2f} → {after:.2f}" for task, (before, after) in pairs.items()),
)

# %% [markdown]
# Compare probabilities, not answers: a greedy answer stays the same while its probability falls. Where "without the best
# five" is within the range of the random fives, nothing says that the answer needs these heads more than others: "France =>
# Paris" needs a fact and a form, and other heads may carry the form. Unchanged answers do not mean that heads do nothing: we
# see no sign that these answers need *these* heads (one question each). The printed line names the tasks that fall below the lowest of ten draws. The past tense
# does, by little: one question, and a value below ten others happens by chance in one case of eleven (p = 0.09). So we
# cannot tell whether it needs these heads.

# %% [markdown]
# ### Two more explanations
#
# - **Implicit Bayesian inference** (隐式贝叶斯推断). Text has topics; to predict it, a model must infer the topic. Examples
#   $E$ and the question $x$ are evidence on the task $t$ [@xie2022explanation]:
#   $\;p(y \mid x, E) = \sum_t p(y \mid x, E, t)\, p(t \mid E, x)$. No new task is learnt, a known one is *found*. The
#   flipped labels above are compatible with it.
# - **Implicit gradient descent** (隐式梯度下降). Transformers that are trained only on small regression problems learn to
#   do regression in context [@garg2022transformers]. One layer of *linear* attention can do one step of gradient descent
#   [@vonoswald2023transformers]:

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(0)
x, query, rate = rng.normal(size=(8, 3)), rng.normal(size=3), 0.1
y = x @ rng.normal(size=3)
weights = rate * (y - x @ np.zeros(3)) @ x  # one step on the squared error, from weights of zero
print(f"gradient step, then predict: {weights @ query:.6f}")
print(f"attention, keys x, values y: {rate * (x @ query) @ y:.6f}")

# %% [markdown]
# The two numbers are equal: attention *can* do such a step. Whether large language models do it on real text is an open
# question.

# %% [markdown]
# ## Continuous prompts: prompting and tuning together (连续提示)
#
# The model reads words as vectors. Why use only vectors of words? Put $k$ *virtual tokens* (虚拟词元), vectors that are
# free parameters, in front of the input, train them by gradient descent, and freeze the model.
#
# Two places are possible: at the input, or in every layer. In a layer each token is turned into a *key* and a *value*;
# later tokens compare their query with the keys and add up the values. A virtual token in a layer is just one more key and
# value there, as if a token had been read before:
#
# ```
#              prompt tuning                            prefix tuning
# layer 2      k v  k v | k v  k v  k v                [K V][K V]| k v  k v  k v
#               ↑    ↑     ↑    ↑    ↑                               ↑    ↑    ↑
# layer 1      k v  k v | k v  k v  k v                [K V][K V]| k v  k v  k v
#               ↑    ↑     ↑    ↑    ↑                               ↑    ↑    ↑
# input        [v1] [v2]|  A  film  it                           |   A   film  it
#              trained: [ ]; all k v above them are     trained: [ ], in every layer;
#              computed by the layers                   nothing is computed for them
# ```
#
# (Keys and values that are kept for later tokens are called a *KV cache*; chapter 09.)
#
# | | trained | result in the paper |
# |---|---|---|
# | prefix tuning [@li2021prefix] | keys and values in every layer | 0.1 % of the parameters, about as good as full tuning |
# | prompt tuning [@lester2021power] | input vectors only | as good as full tuning for models of billions of parameters |
# | P-tuning v2 [@liu2022ptuning] | keys and values in every layer | 0.1 to 3 %; smaller models and tagging tasks too |
#
# The prompt is no longer searched by hand, and it can no longer be read. It needs labels, gradients and access to the
# weights.

# %%
LAYERS = sum(p.numel() for p in model.model.layers.parameters())  # parameters that every token passes


def flops(new, before=0):
    """Read `new` tokens when the keys and values of `before` are there already."""
    pairs = new * before + new * (new + 1) / 2  # attention: each token with those before it and itself
    return 2 * LAYERS * new + 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * pairs


# %% [markdown]
# ### How much is trained, and what does a request cost?


# %% tags=["hide-input"]
def continuous(virtual_tokens, question_tokens):
    prefix = 2 * config.num_hidden_layers * virtual_tokens * config.num_key_value_heads * config.head_dim
    trained = {
        "prompt tuning": virtual_tokens * config.hidden_size,
        "prefix tuning": prefix,
        "all parameters": model.num_parameters(),
    }
    cost = {
        "prompt tuning": flops(virtual_tokens + question_tokens),
        "prefix tuning": flops(question_tokens, before=virtual_tokens),
        "all parameters": flops(question_tokens),
    }
    fig, axes = plt.subplots(1, 2, figsize=(13, 3.8))
    for ax, values, label in ((axes[0], trained, "trainable parameters"), (axes[1], cost, "GFLOPs per request")):
        shown = list(values.values()) if ax is axes[0] else [v / 1e9 for v in values.values()]
        bars = ax.bar(list(values), shown, color="white", edgecolor="black")
        for bar, hatch in zip(bars, plots.HATCHES[1:], strict=False):
            bar.set_hatch(hatch)
        ax.bar_label(bars, [f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in shown])
        ax.set(title=f"{virtual_tokens} virtual tokens", xlabel="method", ylabel=label)
        ax.margins(y=0.15)
    axes[0].set_yscale("log")
    print(f"prefix tuning trains {prefix / model.num_parameters():.2%} of the parameters")
    print(f"{virtual_tokens} of the {config.max_position_embeddings} places in the context are taken")


widgets.explorer(
    continuous, virtual_tokens=(1, 200, 1), question_tokens=(10, 400, 10), start={"virtual_tokens": 20, "question_tokens": 40},
    grid={"virtual_tokens": [1, 5, 20, 50, 100, 200], "question_tokens": [10, 40, 100, 400]},
)

# %% [markdown]
# Virtual tokens at the input pass through all layers in every request, like words. A prefix exists already as keys and
# values, so only attention has to read it. (Li and Liang train a larger network that computes the prefix, and discard it
# after training.)

# %% [markdown]
# ## The compute budget
#
# Training costs compute once. Examples cost compute in *every request*, unless their keys and values are kept (*prefix
# caching*, 前缀缓存).

# %% tags=["hide-input"]
guess = widgets.predict("How many times the FLOPs does one request cost with 32 examples, all of them read each time?", unit="times", tolerance=0.2)
guess_2 = widgets.predict(
    "And if the keys and values of the 32 examples are kept?",
    options=["less than 1.5 times", "1.5 to 10 times", "10 to 30 times", "more than 30 times"],
)

# %% tags=["hide-input"]
each = np.mean([len(tokenizer(shots(films.iloc[[i]]))["input_ids"]) for i in range(len(films))])
counts, alone = np.arange(0, 65), flops(each) / 1e9
price = {
    "examples read each time": [flops(each * (k + 1)) / 1e9 for k in counts],
    "examples kept (prefix caching)": [flops(each, before=each * k) / 1e9 for k in counts],
    "no examples, or a tuned model": [alone for _ in counts],
}
fig, ax = plt.subplots(figsize=(9, 4))
for i, (label, values) in enumerate(price.items()):
    ax.plot(counts, values, marker="", linestyle=plots.LINES[i], label=label)
ax.set(
    title=f"One request: {each:.0f} tokens per example",
    xlabel="examples in the prompt",
    ylabel="GFLOPs",
    yscale="log",
)
ax.legend()
plt.show()
kept = 2 * 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
first, cached, _ = (values[32] / alone for values in price.values())
print(
    f"32 examples: {first:.0f} times the cost, {cached:.2f} times if kept; kept in fp16: {32 * each * kept / 1e6:.0f} MB"
)
print(
    f"the context of {config.max_position_embeddings} tokens holds {config.max_position_embeddings / each:.0f} examples"
)

# %% tags=["hide-input"]
guess.reveal(first, why="33 texts are read in place of one, and attention pairs each token with more tokens before it.")
guess_2.reveal(
    "less than 1.5 times" if cached < 1.5 else "1.5 to 10 times" if cached < 10 else "10 to 30 times" if cached <= 30 else "more than 30 times",
    why=f"It is {cached:.2f} times: only attention still has to read the examples.",
)

# %% [markdown]
# ### When is tuning cheaper?
#
# With $N$ parameters, reading costs about $2N$ FLOPs per token and training $6N$. So **one pass of training over the
# examples costs as much as three requests that read them**. With some hundred passes the training is cheaper after some
# hundred requests. @liu2022fewshot ["T-Few"] found tuning a few parameters cheaper *and* better than examples in the
# prompt.
#
# What prompting cannot do:
#
# - teach what the model has no basis for (our French), or use more examples than fit into the context;
# - last: the next request starts from nothing;
# - be trusted without a test: the order of the examples, the form and the wording change the answer.
#
# What it can do: start in a minute, with four examples, on a model that you cannot train.

# %% [markdown]
# ## What to take home
#
# - In-context learning: the task comes from the text, in one forward pass, and is gone afterwards.
# - Prompting brings the task to the form of pre-training: a blank, a replaced word, a text to continue.
# - Examples show the form and the possible answers; our small model does not follow flipped labels, and for labels without
#   meaning we cannot tell. The order of the examples biases the answer.
# - A few heads with a high induction score matter much for copying. What the few-shot answers owe to them is another
#   question, and is measured by probabilities, not by whether the answer changes.
# - Continuous prompts train the prompt. Examples cost compute in every request, training once.
#
# **Ask yourself:** a colleague reports "8 examples gain 6 points over none" from one prompt and 60 test sentences. What do
# you ask to see before you believe it?

# %% [markdown]
# ## Quiz
#
# Nine questions on the main ideas; each answer explains itself once you have chosen.

# %% tags=["hide-input"]
good, bad = np.array([2.5, 1.5, 0.5]), np.array([1.0, 0.0])
widgets.quiz([
    dict(question="A prompt with ten examples is answered well. What is left of them in the next, separate request without examples?", options={
        "a small step of the weights towards the task": "Reading the examples changed activations. No gradient was computed, and no parameter changed.",
        "nothing": "Yes. The task came from the text of that one request, and is gone with it.",
        "their keys and values, in the cache": "Prefix caching saves the *computation* when the same prefix is sent again. A request without it attends to none of it.",
    }, answer="nothing"),
    dict(question="Half of the sentences are positive. A prompt has an accuracy of 0.55 and a ROC AUC of 0.95. What do you change first?", options={
        "the number of examples": "They may move the threshold by chance, in either direction. The sorting, which they would have to improve, is good already.",
        "the parameters, by fine-tuning": "It can help, but there is little left to learn: nearly all pairs are in the right order. A moved threshold needs no gradient.",
        "the threshold": "Yes. The sentences are sorted well, and the cut lies in the wrong place. The median of the log-odds is a good one here.",
        "the metric: report ROC AUC only": "A user gets answers, and nearly half of them are wrong. ROC AUC says that this can be mended, not that it is.",
    }, answer="the threshold"),
    dict(question="Log-odds of three positive sentences: 2.5, 1.5 and 0.5; of two negative ones: 1.0 and 0.0. What is the ROC AUC?",
         answer=(good[:, None] > bad).mean(), tolerance=0.02, why="Five of the six pairs are in the right order. Only 0.5 and 1.0 are not."),
    dict(question="Four examples, all negative, and the model answers *negative* to nearly everything. Is it the last label or the most frequent one? "
         "Which prompts tell?", options={
        "the same four examples in other orders": "In each order the last label is negative, and so is the most frequent one.",
        "eight negative examples": "Both explanations predict *negative* again.",
        'the same four examples in the same order, with "N/A" as the text': "That measures how large the bias is. It does not say where it comes from.",
        "two examples of each label, in the orders − − + + and + + − −": "Yes. No label is more frequent, so what differs between the two comes from the order.",
    }, answer="two examples of each label, in the orders − − + + and + + − −"),
    dict(question="The labels of all examples are flipped, and the accuracy against the *true* labels stays at 0.85. What follows?", options={
        "the model does not take the meaning of the labels from these examples": "Yes. It keeps to what the words meant in pre-training.",
        "the examples have no effect": "They may still show the form of the answer and move the threshold. Compare with a prompt without examples.",
        "labels that have no meaning at all, such as foo and bar, could not work either": "There is no learnt meaning to overrule, so this is another question, and has to be measured.",
        "a larger model would do the same": "The largest models of Wei et al. 2023 followed flipped labels: one size does not answer for another.",
    }, answer="the model does not take the meaning of the labels from these examples"),
    dict(question="A head gives 90 % of its attention to the token after the earlier copy. What shows that *copying depends* on this head?", options={
        "the 90 %, if no other head has more": "Attention shows where a head looks. The layers above may make little use of what it writes.",
        "with zero as its output, the loss of the second copy rises": "The layers above have never seen zero there, and that alone can raise the loss. And how much would any other head cost?",
        "with its mean output, that loss rises more than for heads drawn at random": "Yes. Only what the head says about *this* text is gone, and the random heads "
        "show what the loss of any head costs.",
    }, answer="with its mean output, that loss rises more than for heads drawn at random"),
    dict(question="How do you ask ELECTRA's discriminator, without a new head, whether a sentence is about sport or about politics?", options={
        "mask a word, and compare the probabilities of *sport* and *politics*": "That is how to ask a masked model. A discriminator has one output per token, original or "
        "replaced, and no probabilities of words.",
        "put each word into a template, and see which looks more original": "Yes. This is the form of its pre-training: is this token original?",
        "let it continue the sentence": "Continuing a text is what a decoder was trained for.",
        "train a linear layer on the vector of the first token": "That is a new head. It brings the model to the task, not the task to the model.",
    }, answer="put each word into a template, and see which looks more original"),
    dict(question="24 layers, 4 heads of keys and values with 128 numbers each. How many parameters does prefix tuning train for 10 virtual tokens?",
         answer=24 * 2 * 10 * 4 * 128, unit="parameters", tolerance=0.01, why="In each layer a key and a value for each of the 10 places, of 4 · 128 numbers."),
    dict(question="Reading costs 2N FLOPs per token, training 6N. Tuning makes 50 passes over the examples. How many requests that read these examples "
         "cost as much?", answer=50 * 6 / 2, unit="requests", tolerance=0.02, why="One pass of training costs as much as three requests that read the examples."),
])

# %% [markdown]
# ## Further reading
#
# - [@brown2020language]
# - [@schick2021exploiting]
# - [@gao2021making]
# - [@clark2020electra]
# - [@xia2022prompting]
# - [@yao2022prompt]
# - [@zhao2021calibrate]
# - [@zhou2024batch]
# - [@lu2022fantastically]
# - [@min2022rethinking]
# - [@wei2023larger]
# - [@pan2023what]
# - [@kumar2025semantic]
# - [@sclar2024quantifying]

# %% [markdown]
# ### Why it works, and continuous prompts
#
# - [@olsson2022induction]
# - [@xie2022explanation]
# - [@garg2022transformers]
# - [@vonoswald2023transformers]
# - [@li2021prefix]
# - [@lester2021power]
# - [@liu2022ptuning]
# - [@liu2022fewshot]
# - [@rajbhandari2020zero]
