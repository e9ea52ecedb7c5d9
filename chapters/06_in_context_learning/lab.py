# %% [markdown]
# # Lab 06 · Can a model learn without changing one weight?
#
# **Write a few examples into the prompt, and a language model seems to learn a task. Does it? How many examples does it
# take, what does it read in them, and what does a gradient add?** You will measure accuracy on movie sentences with 0
# to 16 examples, shuffle, unbalance and falsify the examples, correct the bias that they bring, find the heads that copy,
# prompt an encoder by *cloze* (完形填空), and at last let gradient descent find the prompt.
#
# The course model was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. All results of this lab
# are of that copy; how the original differs we have not measured.
#
# You will
#
# 1. score answers by log-probability, and see what *few-shot* (少样本) prompts do,
# 2. measure what *in-context learning* (上下文学习) is sensitive to, and *calibrate* it (校准),
# 3. (challenge) place the threshold without a label, where you do not know how many sentences are positive,
# 4. score every head for *induction* (归纳), switch heads off, and see what depends on them,
# 5. prompt a masked encoder (RoBERTa's way),
# 6. write *prompt tuning* (提示微调) and *prefix tuning* (前缀微调), equal to PEFT's, and compare them with a hand-written
#    prompt.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %% tags=["hide-input"]
import collections
import itertools
import json
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from course_utils import data, generate, lab, load_model, plots, scoring, tables, weights, widgets

lab.start(
    "06_in_context_learning",
    exercises=[
        "continuation_logprob",
        "calibrate",
        "decide",
        "head_scores",
        "ablate",
        "cloze_scores",
        "soft_prompt_logits",
        "prefix_cache",
    ],
)
plots.style()

# %% [markdown]
# ## 1 · Zero, one and three examples
#
# @brown2020language gave GPT-3 a task in three ways: with no example, with one, with three. Our model is a thousand times
# smaller.

# %% tags=["hide-input"]
guess = widgets.predict(
    "With three examples, which of the words *cheese*, *bread*, *the dog* and *thank you* does it translate rightly?",
    options=["none of them", "some", "all of them"],
)

# %% tags=["experiment"]
MODEL = "course"  # larger, with a hub: "qwen2.5-1.5b", 3.1 GB to fetch, in fp32 a GPU with 8 GB; the stored tables stay
model, tokenizer = load_model(MODEL, precision="fp32")  # we compare to many digits, and train
PAIRS = [("sea otter", "loutre de mer"), ("peppermint", "menthe poivrée"), ("plush giraffe", "girafe peluche")]


def translate(word, examples, first="Translate English to French", arrow=" =>"):
    lines = [first, *(f"{a}{arrow} {b}" for a, b in examples), word + arrow]
    length = lab.budget(full=8, quick=3)
    return generate(model, tokenizer, "\n".join(lines), max_new_tokens=length, chat=False).split("\n")[0]


FRENCH = {"cheese": "fromage", "bread": "pain", "the dog": "le chien", "thank you": "merci"}
english = list(FRENCH)[: lab.budget(full=4, quick=1)]
translated = pd.DataFrame(
    [(word, translate(word, []), translate(word, PAIRS[:1]), translate(word, PAIRS)) for word in english],
    columns=["English", "zero-shot 零样本", "one-shot 单样本", "few-shot 少样本"],
)
translated

# %% tags=["hide-input", "experiment"]
known = [FRENCH[word] in answer.lower() for word, answer in zip(english, translated.iloc[:, -1], strict=True)]
guess.reveal(
    "all of them" if all(known) else "some" if any(known) else "none of them",
    why="; ".join(f"{word}: {answer}" for word, answer in zip(english, translated.iloc[:, -1], strict=True)),
)

# %% [markdown]
# Right would be *fromage*, *pain*, *le chien*, *merci*. GPT-3 has 175 billion parameters; ours has 135 million and read
# mostly English. Examples cannot add words that it never learnt. And they can do harm: of the four words it knows *le chien*,
# and gives it without an example and with one, but not with three. (Four words: an illustration.)
#
# ### One colon
#
# In the lecture the same model, asked the same way without an example, repeats "cheese". Its prompt differs from ours by one
# character: a colon after "French".

# %% tags=["hide-input"]
guess = widgets.predict(
    "Without an example: for how many of the words does the answer change when the colon is added?",
    options=["for less than half", "for half or more, but not for all", "for all of them"],
)

# %% tags=["experiment"]
FORMS_OF_FRENCH = {
    "as above": ("Translate English to French", " =>"),
    "with a colon": ("Translate English to French:", " =>"),
    "with a full stop": ("Translate English to French.", " =>"),
    "colon for arrow": ("Translate English to French", ":"),
}
table = {}
for name, (start, arrow) in FORMS_OF_FRENCH.items():
    answers = [translate(word, [], start, arrow) for word in english]
    same = sum(word in answer.lower() for word, answer in zip(english, answers, strict=True))
    table[name] = dict(zip(english, answers, strict=True)) | {"repeats the word": f"{same} of {len(english)}"}
pd.DataFrame(table).T

# %% tags=["hide-input", "experiment"]
changed = np.mean([table["as above"][word] != table["with a colon"][word] for word in english])
guess.reveal(
    "for all of them" if changed == 1 else "for half or more, but not for all" if changed >= 0.5 else "for less than half",
    why="; ".join(f"{table['as above'][word]} → {table['with a colon'][word]}" for word in english),
)

# %% [markdown]
# The instruction, the words and the model are the same in all rows. For two of the four words, *cheese* and *the dog*, one sign
# decides whether the answer looks French; the other two look French with the colon, too. (The last column counts only answers
# that repeat the word: "the cat" is English, too, but another word.) So "the model cannot translate without an example" would have been a
# statement about a colon. When you read that a model can or
# cannot do something zero-shot, ask for the exact prompt; and try several before you say so yourself
# [@sclar2024quantifying].
#
# *Format* (格式约束) is the first use of examples. We ask for JSON, by an instruction and by an instruction with two
# examples:

# %% tags=["hide-input", "experiment"]
INSTRUCT = 'Write the name and the year as JSON with the keys "name" and "year".\n\n'
SHOTS = (
    'Text: Ada Lovelace was born in 1815.\nJSON: {"name": "Ada Lovelace", "year": 1815}\n\n'
    'Text: In 1643 Isaac Newton came into the world.\nJSON: {"name": "Isaac Newton", "year": 1643}\n\n'
)
PEOPLE = {"Alan Turing": 1912, "Marie Curie": 1867, "Lu Xun": 1881, "Jane Austen": 1775}
FORMS = ("{0} was born in {1}.", "The year {1} saw the birth of {0}.")


def judge(answer, name, year):
    """(does it begin with JSON of both keys?, are both values right?, is the JSON on one line?)"""
    try:
        found, end = json.JSONDecoder().raw_decode(answer)
    except ValueError:  # it does not begin with JSON
        return False, False, False
    keys = isinstance(found, dict) and set(found) == {"name", "year"}
    return keys, keys and (found["name"], str(found["year"])) == (name, str(year)), keys and "\n" not in answer[:end]


rows = []
chosen = list(zip(list(PEOPLE.items())[: lab.budget(full=4, quick=1)], itertools.cycle(FORMS), strict=False))
for way, start in {"instruction": INSTRUCT, "instruction + 2 examples": INSTRUCT + SHOTS}.items():
    texts = [f"{start}Text: {form.format(*person)}\nJSON:" for person, form in chosen]
    inputs = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt").to(model.device)
    out = model.generate(
        **inputs, max_new_tokens=lab.budget(full=26, quick=6), do_sample=False, pad_token_id=tokenizer.pad_token_id
    )
    written = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in out[:, inputs["input_ids"].shape[1] :]]
    rows += [(way, answer, *judge(answer, *person)) for (person, _), answer in zip(chosen, written, strict=True)]
asked = pd.DataFrame(rows, columns=["prompt", "answer", "JSON, both keys", "right", "one line"])
print(*asked.groupby("prompt")["answer"].first(), sep="\n\n")
asked.drop(columns="answer").groupby("prompt").sum().assign(of=len(asked) // 2)

# %% [markdown]
# Both give JSON with both keys. The instruction leaves open whether to write one line or several, and when to stop; the
# examples show it. They do not make every *value* right. (Only four texts: this is an illustration, not a measurement.)

# %% [markdown]
# ## 2 · Scoring instead of writing
#
# Free text is hard to mark. For a task with few answers, compare their probabilities:
#
# $$\log p(\text{answer} \mid \text{prompt}) = \sum_t \log p(a_t \mid \text{prompt}, a_{<t})$$

# %% tags=["exercise:continuation_logprob"]
@torch.inference_mode()
def continuation_logprob(model, prompt, answer):
    """Log-probability of an answer after a prompt, in nats.

    prompt, answer: lists of token ids (int), none empty. model: a causal language model; model(ids).logits with
    int64 ids (1, n) is float (1, n, vocabulary), and the logits at place i are about the token at place i + 1.
    Returns a float: the sum over the tokens of the answer, and of these alone.

    Example: with a model that finds every one of 10 tokens equally likely, an answer of 2 tokens has -2 ln 10.
    """
    ### BEGIN SOLUTION
    ids = torch.tensor([prompt + answer], device=model.device)
    logs = model(ids).logits[0].float().log_softmax(-1)
    places = torch.arange(len(prompt) - 1, ids.shape[1] - 1, device=model.device)
    return float(logs[places, ids[0, len(prompt) :]].sum())
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Which place of the logits predicts the first token of the answer? It is in the prompt.</details>
# <details><summary>Hint 2</summary>Prompt and answer go through the model together, once; <code>log_softmax</code> over the
# vocabulary, then pick one number for each token of the answer.</details>

# %%
def small_llama(seed, kv_heads=2):
    """A real, tiny Llama with random weights: for tests."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=kv_heads, max_position_embeddings=64, initializer_range=0.5,
        )
    ).eval()  # fmt: skip

# %% tags=["tests:continuation_logprob:1"]
with lab.test("continuation_logprob"):
    flat = small_llama(0)
    torch.nn.init.zeros_(flat.lm_head.weight)
    lab.expect_close(continuation_logprob(flat, [1, 2, 3], [4, 5]), -2 * math.log(40), "two of 40 equal tokens", atol=1e-4)
    llama = small_llama(1)
    a, b = continuation_logprob(llama, [7, 8], [9]), continuation_logprob(llama, [7, 8, 9], [3])
    both = continuation_logprob(llama, [7, 8], [9, 3])
    assert isinstance(both, float), f"return a float, not a {type(both).__name__}"
    lab.expect_close(a + b, both, "log p(9) + log p(3 | 9), in your own numbers, against log p(9, 3)", atol=1e-4)
    ids = torch.tensor([[7, 8, 9, 3]])
    want = -3 * llama(ids, labels=ids).loss.item()  # transformers' own loss is a mean over three tokens
    lab.expect_close(continuation_logprob(llama, [7], [8, 9, 3]), want, "log p(8, 9, 3 | 7)", atol=1e-4)

# %% tags=["hidden:continuation_logprob:2"]
def probe():
    llama, g = small_llama(2), torch.Generator().manual_seed(5)
    lengths = {
        "shortest": (1, 1),  # because: a prompt and an answer of one token each
        "long prompt": (6, 3),  # because: a prompt that is longer than its answer
        "long answer": (2, 8),  # because: an answer that is longer than its prompt
    }
    answers = {}
    for name, (n, m) in lengths.items():
        ids = torch.randint(40, (n + m,), generator=g).tolist()
        answers[name] = continuation_logprob(llama, ids[:n], ids[n:])
    return answers


def visible():
    flat = small_llama(0)
    torch.nn.init.zeros_(flat.lm_head.weight)
    llama = small_llama(1)
    asked = [([7, 8], [9, 3]), ([7], [8, 9, 3])]
    return [continuation_logprob(flat, [1, 2, 3], [4, 5]), *(continuation_logprob(llama, *pair) for pair in asked)]

# %% [markdown]
# The helper package does the same for many prompts at once. Are the two equal?

# %% tags=["experiment"]
prompts = ["The capital of France is", "sea otter => loutre de mer\ncheese =>", "2 + 2 ="]
options = [[" Paris", " Lyon"], [" fromage", " le fromage"], [" 4", " 5"]]


def yours(prompt, answer):
    """Your function on words: the answer's tokens are those that come after the prompt's."""
    ids, both = tokenizer([prompt, prompt + answer])["input_ids"]
    return continuation_logprob(model, ids, both[len(ids) :])


library = scoring.loglikelihood(model, tokenizer, prompts, options, progress=False)
library["answer"] = [options[p][o] for p, o in zip(library["context"], library["continuation"], strict=True)]
library["yours"] = [yours(prompts[p], answer) for p, answer in zip(library["context"], library["answer"], strict=True)]
assert (library["loglikelihood"] - library["yours"]).abs().max() < 1e-3
library[["answer", "loglikelihood", "yours", "tokens"]].round(3)

# %% [markdown]
# ## 3 · Examples in the prompt
#
# The task for the rest of the lab: is a sentence of a movie review positive or negative? 200 sentences on which twenty
# people clearly agreed; examples come from others.

# %% tags=["ladder"]
LABELS = ["negative", "positive"]


def clear_sentences(count, pool, seed=0):
    """Two lists of (text, label) with as many of each label: `count` for tests and `pool` to take examples from."""
    rows = data.movie_sentences()
    kept = [
        (text, int(score > 0))
        for text, score in zip(rows["text"], rows["score"], strict=True)
        if abs(score) > 1.5 and 20 < len(text) < 60
    ]
    order = np.random.default_rng(seed).permutation(len(kept))
    sides = [[kept[i] for i in order if kept[i][1] == label] for label in (0, 1)]
    mixed = [pair for both in zip(*sides, strict=False) for pair in both]
    assert len(mixed) >= count + pool
    return mixed[:count], mixed[count : count + pool]

# %% [markdown]
# ### The prompt

# %% tags=["ladder"]
def few_shot_prompt(examples, text, instruction=""):
    """The prompt for one text: an instruction, if there is one, examples (pairs of text and label, in their order), the text.

    No blank follows the last colon, since the tokens of the answers begin with one."""
    head = f"{instruction}\n\n" if instruction else ""
    shots = "".join(f"Review: {shown}\nSentiment: {label}\n\n" for shown, label in examples)
    return f"{head}{shots}Review: {text}\nSentiment:"


print(few_shot_prompt([("Bad.", "negative"), ("Fun.", "positive")], "Good!"))

# %% [markdown]
# Each draw of examples makes a different prompt, so one draw is an anecdote. For each number of *shots* (范例数) we take
# several draws, and ask each about its own share of 120 sentences. All sentences of one draw share its prompt, so the
# independent measurements are the draws: the interval is a t interval over them. Without examples there is one prompt, and
# Wilson's interval over sentences.
#
# The table also shows *ROC AUC* (ROC 曲线下面积): the share of pairs of a positive and a negative sentence in which the positive
# one has the higher odds. It needs no threshold, so it tells how well the model *sorts*, whichever answer it prefers.

# %%
def in_order(odds, y):
    """ROC AUC: share of the pairs of a positive and a negative sentence in which the positive one has the higher odds."""
    odds, y = np.asarray(odds), np.asarray(y) == 1
    return float((odds[y][:, None] > odds[~y]).mean())

# %% tags=["hide-input"]
guess = widgets.predict(
    "Eight examples, half of them positive, and each draw takes others. How far apart are the draws in the share of sentences "
    "that the model calls positive (the largest share minus the smallest)?",
    options=["less than 0.2", "0.2 to 0.5", "more than 0.5"],
)

# %% tags=["hide-input", "experiment", "ladder"]
SENTENCES, POOL = clear_sentences(200, 400)
SENTENCES = SENTENCES[: lab.budget(full=200, quick=6)]
DRAWS, ASKED = lab.budget(full=8, quick=2), lab.budget(full=120, quick=6)


def classify(examples, sentences, instruction=""):
    """float (n, 2): log-probabilities of " negative" and " positive" for each sentence after the examples."""
    shown = [(text, label if isinstance(label, str) else LABELS[label]) for text, label in examples]
    prompts = [few_shot_prompt(shown, text, instruction) for text, _ in sentences]
    scores = scoring.loglikelihood(model, tokenizer, prompts, [" negative", " positive"], batch_size=13, progress=False)
    return scores["loglikelihood"].to_numpy().reshape(-1, 2)


def pick(shots, seed):
    """So many examples, half of each label (one only: either), in random order."""
    g = np.random.default_rng([shots, seed])
    sides = [g.permutation([i for i, (_, y) in enumerate(POOL) if y == label]) for label in (0, 1)]
    mixed = [int(i) for both in zip(*sides, strict=False) for i in g.permutation(both)]
    return [POOL[i] for i in g.permutation(mixed[:shots])]


EMPTY = ["N/A", "", "[MASK]"]  # texts without content, of Zhao et al. 2021


def run(shots, change=lambda examples: examples, count=None):
    """One row per sentence: draw, label, log-probabilities of both answers; and, by draw, those after each text of EMPTY."""
    rows, empty = [], {}
    for draw, part in enumerate(np.array_split(np.arange(count or ASKED), DRAWS)):
        examples = change(pick(shots, draw))
        sentences = [SENTENCES[i] for i in part]
        logs = classify(examples, [*sentences, *((text, 0) for text in EMPTY)])
        rows += [(draw, y, *log) for (_, y), log in zip(sentences, logs, strict=False)]
        empty[draw] = logs[len(sentences) :]
    return pd.DataFrame(rows, columns=["draw", "label", "negative", "positive"]), empty

# %% tags=["experiment"]
def right(frame):
    return ((frame["positive"] > frame["negative"]) == (frame["label"] == 1)) * 1.0


def accuracy(frame, one_prompt=False):
    """(accuracy, low, high): a t interval over draws; over sentences, Wilson's, where there is one prompt only."""
    if one_prompt:
        return scoring.proportion(int(right(frame).sum()), len(frame))
    return scoring.mean(right(frame).groupby(frame["draw"]).mean())


numbers = lab.budget(full=(0, 4, 8, 16), quick=(0, 8))
ran = {shots: run(shots) for shots in tqdm(numbers, desc="shots", leave=False)}
by_shots, without_content = ({shots: both[i] for shots, both in ran.items()} for i in range(2))
table = {}
for shots, frame in by_shots.items():
    value, low, high = accuracy(frame, one_prompt=shots == 0)
    pairs = [in_order(f["positive"] - f["negative"], f["label"]) for _, f in frame.groupby("draw")]
    says = (frame["positive"] > frame["negative"]).groupby(frame["draw"]).mean()
    table[shots] = {"accuracy": value, "low": low, "high": high, "ROC AUC": np.mean(pairs)}
    table[shots] |= {"says positive": says.mean(), "least": says.min(), "most": says.max()}
shots_table = pd.DataFrame(table).T.rename_axis("shots")
shots_table.round(2)

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(9, 4.2))
x = np.arange(len(shots_table))
spread = [shots_table["accuracy"] - shots_table["low"], shots_table["high"] - shots_table["accuracy"]]
ax.errorbar(x, shots_table["accuracy"], spread, color=plots.COLORS[1], marker="o", capsize=5, label="accuracy")
ax.plot(x, shots_table["ROC AUC"], color=plots.COLORS[0], linestyle="-.", marker="^", label="ROC AUC")
ax.plot(x, shots_table["says positive"], color=plots.COLORS[2], linestyle="--", marker="s", label='says "positive"')
ax.fill_between(x, shots_table["least"], shots_table["most"], color=plots.COLORS[2], alpha=0.15, label="… least and most")
ax.axhline(0.5, color="grey", linestyle=":", linewidth=1)
ax.set_xticks(x, shots_table.index)
ax.set(title=f"{ASKED} sentences, 95 % intervals over draws", ylim=(0, 1))
ax.set(xlabel="examples in the prompt", ylabel="share")
ax.legend(loc="lower left", ncols=2, fontsize=11)
plt.show()

# %% tags=["hide-input", "experiment"]
least, most = shots_table.loc[8, ["least", "most"]]
guess.reveal(
    "more than 0.5" if most - least > 0.5 else "0.2 to 0.5" if most - least >= 0.2 else "less than 0.2",
    why=f"The shares are between {least:.2f} and {most:.2f}.",
)

# %% [markdown]
# Neither accuracy nor ROC AUC grows steadily. The ROC AUC is about the same with examples and without: the model *sorts*
# these sentences well without any example, and we see no clear gain from examples. What they change is the threshold. Look
# at the band: with eight examples, half of them positive, one draw makes the model call nearly no sentence positive, another
# most of them. Accuracy is high where the threshold happens to lie in the middle, and it is lowest with four examples, where
# the mean share of "positive" is furthest from one half. @brown2020language show curves that rise, for models up to a thousand times
# larger.
#
# ## 4 · What is read in the examples?
#
# ### Order
#
# The same four examples, in different orders [@lu2022fantastically].

# %% tags=["hide-input"]
guess = widgets.predict(
    "How far apart are the accuracies after the best order and after the worst, on the same sentences?",
    options=["more than 0.2", "0.1 to 0.2", "less than 0.1"],
)

# %% tags=["experiment"]
four = pick(4, seed=0)
truth = np.array([y for _, y in SENTENCES])
part = SENTENCES[: lab.budget(full=30, quick=4)]
orders = list(itertools.permutations(range(4)))[:: lab.budget(full=4, quick=12)]
rows = []
for order in tqdm(orders, desc="orders", leave=False):
    logs = classify([four[i] for i in order], part)
    says = logs.argmax(1)
    rows.append(("".join("-+"[four[i][1]] for i in order), (says == truth[: len(says)]).mean(), says.mean()))
by_order = pd.DataFrame(rows, columns=["order (+ positive)", "accuracy", "says positive"])
low, high = by_order["accuracy"].agg(["min", "max"])
print(f"one set of four examples, {len(part)} sentences: accuracy {low:.2f} to {high:.2f}")
by_order.sort_values("says positive").style.hide().format(precision=2)

# %% tags=["hide-input", "experiment"]
low, high = by_order["accuracy"].agg(["min", "max"])
guess.reveal(
    "more than 0.2" if high - low > 0.2 else "0.1 to 0.2" if high - low >= 0.1 else "less than 0.1",
    why=f"The worst order has {low:.2f}, the best one {high:.2f}.",
)

# %% [markdown]
# ### Balance
#
# Four examples of which none, two or four are positive.

# %% tags=["experiment"]
sides = {label: [pair for pair in POOL if pair[1] == label] for label in (0, 1)}
rows = []
for positive in tqdm((0, 2, 4), desc="balance", leave=False):
    for draw in range(lab.budget(full=2, quick=1)):
        g = np.random.default_rng([draw, positive])
        mixed = [sides[1][i] for i in g.permutation(50)[:positive]]
        mixed += [sides[0][i] for i in g.permutation(50)[: 4 - positive]]
        says = classify([mixed[i] for i in g.permutation(4)], part[: lab.budget(full=20, quick=2)]).argmax(1)
        rows.append((positive, (says == truth[: len(says)]).mean(), says.mean()))
balance = pd.DataFrame(rows, columns=["positive of 4", "accuracy", "says positive"]).groupby("positive of 4").mean()
balance.round(2)

# %% [markdown]
# In the first table the last labels go with the answer (*recency bias*, 近因偏差, @zhao2021calibrate). The model hardly says
# "positive" after − + + − and + + − −, and says it almost always after − − + + and + − − +. With alternating labels it says
# both about equally often, whichever comes last, and its accuracy is highest. So the order alone decides between chance and a good
# result. (One set of four examples, one order of each pattern, 30 sentences: other sets may behave differently.)
#
# With none or four positive examples of four the model mostly repeats the label that it read. That fits a bias to the most
# frequent label (*majority label bias*, 多数标签偏差). It fits a recency bias as well, because there the last label is the most
# frequent one, too. This design cannot separate the two, and each row has two draws only.
#
# ### Your turn: calibrate
#
# @zhao2021calibrate measure the bias with the model itself: put a text without content in place of the sentence. What the
# model then prefers is a bias of the prompt. Divide by it. They average over three such texts: "N/A", "[MASK]" and the
# empty string.

# %% tags=["exercise:calibrate"]
def calibrate(logprobs, content_free):
    """Contextual calibration.

    logprobs: float array (n, c), log-probabilities of c answers for n texts; their probabilities need not sum to 1
    over the answers. content_free: float array (m, c), the same for m texts without content. Let p be the
    probabilities of a text's answers, relative to their sum, and b the mean of p over the texts without content. The
    calibrated probability of an answer is proportional to p / b. Returns float array (n, c); each row sums to 1.

    Example: logprobs [[ln 0.3, ln 0.1]], content_free [[ln 0.6, ln 0.2]]: 0.75, 0.25 for the text and for no text:
    [[0.5, 0.5]].
    """
    ### BEGIN SOLUTION
    def normal(logs):
        p = np.exp(logs - logs.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    q = normal(np.asarray(logprobs, float)) / normal(np.asarray(content_free, float)).mean(0)
    return q / q.sum(1, keepdims=True)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>One small function, used twice: from a row of log-probabilities to probabilities that sum
# to 1.</details>
# <details><summary>Hint 2</summary>np.exp(-1000) is 0. What changes if you first subtract the largest number of the row?</details>
# <details><summary>Hint 3</summary>Normalize both arrays, take the mean of the second over its rows, divide, and normalize the rows
# again. The mean of probabilities is not the exponential of the mean of logarithms.</details>

# %% tags=["tests:calibrate:1"]
with lab.test("calibrate"):
    got = calibrate(np.log([[0.3, 0.1]]), np.log([[0.6, 0.2]]))
    assert np.allclose(got, [[0.5, 0.5]]), f"the example gives [[0.5, 0.5]], not {got}"
    got = calibrate(np.log([[0.2, 0.2], [0.8, 0.1]]), np.log([[0.09, 0.01]]))
    want = np.array([[0.1, 0.9], [8 / 17, 9 / 17]])
    assert np.allclose(got, want), f"against a free text of 0.9, 0.1 the answers are {want.round(3)}, not {got}"
    got = calibrate(np.array([[-1000.0, -1001.0]]), np.array([[-1.0, -2.0]]))
    assert np.allclose(got, [[0.5, 0.5]]), f"the row -1000, -1001 gives {got}; subtract the maximum first"
    got = calibrate(np.log([[0.5, 0.5]]), np.log([[0.9, 0.1], [0.05, 0.05], [0.02, 0.08]]))
    assert np.allclose(got, [[0.46667, 0.53333]], atol=1e-4), (
        f"three texts without content, 0.9, 0.5 and 0.2 for the first answer, have the mean 0.533: 0.467 and 0.533, not {got}"
    )

# %% tags=["hidden:calibrate:2"]
def probe():
    g = np.random.default_rng(9)
    logs, free = -8 * g.random((6, 3)), -8 * g.random((4, 3))  # the mean of probabilities is not that of their logs
    return [
        calibrate(logs, free),  # because: several texts, and several texts without content
        calibrate(logs[:1] - 2000, free[:1]),  # because: very small log-probabilities, of one text
        calibrate(logs[:, :2], free[:2, :2]),  # because: another number of answers
    ]


def visible():
    return [
        calibrate(np.log([[0.3, 0.1]]), np.log([[0.6, 0.2]])),
        calibrate(np.log([[0.2, 0.2], [0.8, 0.1]]), np.log([[0.09, 0.01]])),
        calibrate(np.array([[-1000.0, -1001.0]]), np.array([[-1.0, -2.0]])),
        calibrate(np.log([[0.5, 0.5]]), np.log([[0.9, 0.1], [0.05, 0.05], [0.02, 0.08]])),
    ]

# %% [markdown]
# The same function serves a later proposal: *batch calibration* [@zhou2024batch] uses the unlabelled sentences themselves
# in place of texts without content. It needs many of them, and labels that are about equally frequent. So there are three
# estimates of the bias: by "N/A" alone, by the mean over three texts without content as in the paper, and by the sentences.

# %% tags=["hide-input"]
guess = widgets.predict(
    "At which number of shots does calibration by all sentences gain most?",
    options=["where the accuracy was highest before", "where the accuracy was lowest before", "at neither, or at both alike"],
)

# %% tags=["experiment"]
def calibrated(frame, by, empty):
    """The table with the answers' probabilities after calibration, draw by draw; empty: draw → log-probabilities of EMPTY."""
    parts = []
    for draw, rows in frame.groupby("draw"):
        logs = rows[["negative", "positive"]].to_numpy()
        q = calibrate(logs, {"N/A": empty[draw][:1], "three texts": empty[draw], "all sentences": logs}[by])
        parts.append(rows.assign(negative=q[:, 0], positive=q[:, 1]))
    return pd.concat(parts)


lab.needs("calibrate")
table, gained = {}, {}
for shots, frame in by_shots.items():
    table[shots] = {"as it is": f"{right(frame).mean():.2f}"}
    for by in ("N/A", "three texts", "all sentences"):
        after = calibrated(frame, by, without_content[shots])
        unit = frame["draw"] if shots else frame.index  # one prompt: the sentences are the measurements
        pair = [right(part).groupby(unit).mean() for part in (after, frame)]
        gained[shots, by] = scoring.paired(*pair)
        gain = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*gained[shots, by])
        table[shots][f"by {by}"] = f"{right(after).mean():.2f}, gain {gain}"
pd.DataFrame(table).T.rename_axis("shots")

# %% tags=["experiment"]
prefers = {shots: [1 / (1 + np.exp(logs[:, 0] - logs[:, 1])) for logs in empty.values()] for shots, empty in without_content.items()}
table = pd.DataFrame({shots: np.mean(values, axis=0) for shots, values in prefers.items()}, index=[repr(text) for text in EMPTY]).T
table.rename_axis("shots; P(positive) of a text without content").round(2)

# %% tags=["hide-input", "experiment"]
most_gained = pd.Series({shots: gained[shots, "all sentences"][0] for shots in by_shots})
before = pd.Series({shots: right(frame).mean() for shots, frame in by_shots.items()})
most = most_gained[most_gained > most_gained.max() - 1e-9].index
lowest, highest = before.idxmin() in most, before.idxmax() in most
guess.reveal(
    "where the accuracy was lowest before" if lowest and not highest
    else "where the accuracy was highest before" if highest and not lowest else "at neither, or at both alike",
    why="; ".join(f"{shots} shots: {before[shots]:.2f}, gain {gain:+.2f}" for shots, gain in most_gained.items()),
)

# %% [markdown]
# Read the gains with their intervals, and the second table beside them: the three texts without content do not agree about
# the bias, so each alone is a poor estimate, and their mean is one of three numbers that scatter. What helps here are the
# sentences themselves: the gain is largest where the accuracy was lowest. Afterwards the accuracy is about the same for all
# numbers of shots. So most of what the number of shots seemed to do was to move the threshold. (Half of our sentences are
# positive, as batch calibration assumes.)
#
# What Zhao et al. report: gains of up to 30 points with GPT-3, on average over tasks and draws, and less spread between
# prompts. Method and texts are theirs; model, labels and prompt are ours. **On a larger model:** change `MODEL` at the
# beginning of the lab to `"qwen2.5-1.5b"` (3.1 GB to fetch; in fp32, as here, a GPU with 8 GB) and run again from there. The
# tables `few_shot_odds`, of the challenge, and `continuous_prompts`, in section 7, stay those of the course model.
#
# ### Challenge: how many are positive?
#
# Batch calibration sets the threshold so that about half of the sentences are called positive. In use nobody knows how many
# are. Write `decide`: from the log-odds of some sentences after one prompt, and nothing else, say which are positive. In
# each case 10 % to 30 % of the sentences are positive, or 70 % to 90 %; you do not know which. The table `few_shot_odds`
# has the log-odds of 120 sentences after each of 18 prompts; `mixtures` draws test cases from it. Full marks need a mean
# accuracy of 0.79 on these cases, and of 0.82 on cases from six other prompts, which are easier: there the model's own
# threshold, 0, reaches 0.81, and batch calibration 0.69.

# %%
def mixtures(table, seed=0, cases=180, size=60):
    """Test cases from a table of log-odds: list of (odds, label) arrays; 10 to 30 % of each are positive, or negative."""
    g, found = np.random.default_rng(seed), []
    groups = [part for _, part in table.groupby("prompt", sort=True)]
    for case in range(cases):
        part = groups[case % len(groups)]
        few = int(round(size * g.uniform(0.1, 0.3)))
        positive = few if g.random() < 0.5 else size - few
        sides = [part.loc[part["label"] == label, "odds"].to_numpy() for label in (0, 1)]
        odds = np.concatenate([g.choice(sides[0], size - positive), g.choice(sides[1], positive)])
        label = np.repeat([False, True], [size - positive, positive])
        order = g.permutation(size)
        found.append((odds[order], label[order]))
    return found

# %% tags=["exercise:decide"]
def decide(odds):
    """How likely is each of these sentences positive?

    odds: float array (n,), log P(positive) - log P(negative) of n sentences after the same prompt; n is 20 or more.
    Nothing else is known. Of the sentences, 10 % to 30 % or 70 % to 90 % are positive. Returns a float array (n,), the
    probability of positive; above 0.5 counts as positive.
    """
    ### BEGIN SOLUTION
    odds, shares = np.asarray(odds, float), np.linspace(0.08, 0.92, 43)
    gap, wider = 2.6, 1.2  # in the table the positive odds lie about 2.6 widths higher, and their width is 1.2 times as large
    # for each possible share, the mean and the variance of all odds give the place and the width of both distributions
    width = np.sqrt(odds.var() / (1 - shares + wider**2 * shares + shares * (1 - shares) * gap**2)) + 1e-9
    low = odds.mean() - shares * gap * width
    negative = np.log(1 - shares) - ((odds[:, None] - low) / width) ** 2 / 2 - np.log(width)
    positive = np.log(shares) - ((odds[:, None] - low - gap * width) / (wider * width)) ** 2 / 2 - np.log(wider * width)
    both = np.logaddexp(negative, positive)
    weight = np.exp(both.sum(0) - both.sum(0).max())  # how well each share explains all the odds
    return np.exp(positive - both) @ (weight / weight.sum())
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Draw a histogram of the odds of one case. How would you place the threshold by eye?</details>
# <details><summary>Hint 2</summary>Two clusters on a line: k-means with two means, Otsu's threshold, or a mixture of two normal
# distributions.</details>
# <details><summary>Hint 3</summary>Where one cluster is small, k-means cuts the large one. The table has labels: what do the two
# clusters of all its prompts have in common? That needs no estimate from sixty numbers.</details>

# %% tags=["tests:decide:1"]
with lab.test("decide"):
    cases = mixtures(tables.load("few_shot_odds"))
    got = decide(cases[0][0].copy())
    assert np.asarray(got).shape == cases[0][1].shape, f"one answer per sentence, {len(cases[0][1])}, not {np.asarray(got).shape}"
    shares = {
        "yours": np.mean([((np.asarray(decide(odds.copy())) > 0.5) == label).mean() for odds, label in cases]),
        "threshold 0": np.mean([((odds > 0) == label).mean() for odds, label in cases]),
        "threshold at the median": np.mean([((odds > np.median(odds)) == label).mean() for odds, label in cases]),
    }
    print("mean accuracy on the cases of the table:", ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))
    assert shares["yours"] >= 0.79, f"mean accuracy should be at least 0.79, but it is {shares['yours']:.3f}"

# %% tags=["hidden:decide:2"]
ODDS = [  # log-odds of negative and of positive sentences after six other prompts
    [np.array([-0.6, -2.28, 0.86, 0.49, -1.6, -0.84, -1.9, -3.65, -0.48, -1.14, -2.42, -1.36, -2.96, -1.25, -2.72, -1.49, -0.75, -0.64, -2.86, -0.21, -0.46, -1.1, -1.2, -1.92, -2.26, -2.19, -0.97, -1.89, -0.68, -1.07, -1.07, -1.91, -1.67, -0.78, -0.43, 0.65, -1.19, -0.38, -1.81, -1.23]),
     np.array([0.68, 1.01, 0.25, 0.74, 0.76, -1.65, 1.47, -0.22, 2.3, -0.01, 1.97, 0.68, 1.81, 2.02, 2.44, 2.5, 0.85, 1.08, 0.01, -0.99, 1.96, 0.27, 1.87, 2.74, 1.57, 3.77, 2.19, 1.32, 0.67, 2.12, 0.59, 3.28, 1.37, -0.33, -1.66, 0.52, 1.66, 0.02, 0.48, 1.31])],
    [np.array([1.81, -1.62, 1.56, 3.63, 1.07, 0.48, -0.87, -1.8, 0.97, 3.09, 0.13, -0.63, -1.95, 0.57, 1.1, -1.73, 1.53, -0.39, -2.65, -1.06, 2.12, 0.99, 1.71, 2.11, -2.17, 0.66, 1.04, -3.01, -0.25, 1.15, 1.71, 0.62, -0.12, 4.37, 3.73, 3.13, 0.79, 2.29, -0.64, 2.37]),
     np.array([5.82, 4.76, 4.12, 5.17, 4.15, 2.42, 5.83, 3.07, 4.73, 3.95, 5.03, 5.0, 3.56, 5.34, 5.52, 5.34, 5.89, 4.31, 5.02, 4.61, 5.18, 4.64, 4.02, 4.21, 4.54, 4.85, 5.18, 5.0, 4.34, 4.86, 5.64, 4.0, 4.6, 4.12, 2.45, 4.42, 4.93, 2.44, 4.84, 5.55])],
    [np.array([0.12, -1.68, -0.57, 0.58, -0.69, -0.91, -1.85, -2.05, -0.28, 0.89, -1.44, -1.32, -1.48, -0.91, -0.16, -1.51, -0.5, -1.06, -1.62, -1.16, 0.17, -0.41, -0.56, -1.0, -2.14, -0.3, -0.92, -2.51, -0.81, -0.07, 1.05, -0.71, -0.83, 0.28, 0.97, 0.61, -0.62, 0.47, -1.59, -0.85]),
     np.array([2.25, 0.92, 0.13, 1.13, 0.84, -0.43, 1.56, -0.1, 0.69, 0.96, 2.07, 1.37, 1.26, 1.48, 0.73, 1.32, 2.33, 0.62, 1.06, 1.49, 1.57, 0.52, -0.26, 1.6, 0.76, 1.66, 1.68, 1.57, 0.92, 2.11, 1.65, 1.43, 1.23, 0.69, -0.71, 1.25, 1.24, -0.4, 1.99, 1.83])],
    [np.array([-1.7, -2.97, -1.31, -1.08, -2.8, -1.8, -3.0, -2.97, -1.82, -1.38, -2.19, -2.88, -2.06, -2.2, -2.33, -2.39, -1.83, -1.39, -1.97, -1.51, -1.9, -1.79, -2.32, -2.46, -3.26, -2.27, -2.51, -2.28, -1.95, -2.03, -1.55, -2.27, -2.26, -2.34, -1.61, -1.33, -2.17, -1.77, -1.83, -2.11]),
     np.array([0.6, 0.34, -0.91, -0.62, -0.62, -1.94, 0.66, -1.6, 1.18, -1.41, 1.42, -0.89, -0.1, 0.52, 0.66, 2.52, 1.14, 0.23, -0.99, -2.42, 1.34, -1.15, 0.41, 1.04, 0.38, 1.55, 0.7, 0.09, -0.65, 1.52, 0.34, 1.59, 0.02, -1.36, -2.4, -0.31, 0.92, -1.45, 0.17, -0.05])],
    [np.array([-1.76, -2.3, -0.86, -1.02, -1.94, -1.13, -1.98, -2.27, -1.5, -1.29, -1.19, -2.48, -1.48, -1.7, -1.59, -2.17, -1.67, -1.38, -1.45, -1.13, -1.54, -0.93, -2.01, -1.99, -2.42, -1.67, -1.7, -1.62, -2.03, -1.54, -1.54, -1.81, -1.77, -1.63, -1.24, -0.83, -1.4, -1.63, -1.66, -1.4]),
     np.array([0.5, -0.01, -0.25, -0.46, -0.26, -0.72, -0.29, -1.33, 0.21, -1.05, 1.25, -0.3, -0.38, 0.1, 0.71, 1.62, 1.69, 0.1, -1.07, -1.81, 1.43, -0.58, 0.01, 1.53, 0.46, 1.15, 0.57, -0.22, -1.0, 1.1, -0.4, 1.57, -0.13, -1.38, -1.69, -0.54, -0.04, -0.73, 0.3, -0.14])],
    [np.array([-1.28, -2.24, -0.36, -0.04, -1.8, -0.13, -1.78, -1.87, -0.65, -0.35, -1.3, -1.77, -0.98, -0.92, -1.01, -1.78, -0.88, -0.74, -0.94, -0.76, -1.05, -0.3, -1.22, -1.53, -1.73, -1.32, -0.82, -0.91, -1.38, -0.64, -0.77, -1.48, -1.34, -1.82, -0.04, 0.28, -0.55, 0.06, -1.56, -1.27]),
     np.array([2.67, 1.85, 0.92, 1.35, 0.01, -0.03, 1.77, -0.39, 2.14, 0.49, 3.13, 1.55, 1.73, 1.34, 2.93, 3.09, 3.66, 1.25, 0.97, -0.69, 3.25, 1.05, 1.17, 2.67, 2.46, 2.54, 2.39, 0.85, -0.09, 2.59, 1.76, 2.93, 1.08, -0.3, -1.3, 0.63, 2.3, -0.02, 1.85, 1.82])],
]


def cases_of(odds):
    g, found = np.random.default_rng(17), []
    for case in range(180):
        negative, positive = odds[case % len(odds)]
        few = int(round(60 * g.uniform(0.1, 0.3)))
        many = few if g.random() < 0.5 else 60 - few
        both = np.concatenate([g.choice(negative, 60 - many), g.choice(positive, many)])
        order = g.permutation(60)
        found.append((both[order], np.repeat([False, True], [60 - many, many])[order]))
    return found


def answers_of(cases):
    return [[float(one) for one in np.asarray(decide(odds.copy()))] for odds, _ in cases]


def probe():
    cases = cases_of(ODDS)
    return {
        "answers": answers_of(cases),  # because: the odds of other prompts, with other shares of positive sentences
        "labels": [label.tolist() for _, label in cases],  # because: the labels, which are not yours to change
    }


def visible():
    cases = mixtures(tables.load("few_shot_odds"))
    return {"answers": answers_of(cases), "labels": [label.tolist() for _, label in cases]}


def check(got, want):
    assert [len(row) for row in got["answers"]] == [len(row) for row in want["labels"]], "not one answer per sentence"
    share = float(np.mean((np.array(got["answers"], float) > 0.5) == np.array(want["labels"])))
    assert share >= 0.82, f"mean accuracy {share:.3f} on the hidden prompts; 0.82 is needed"


def check_visible(got, want):
    assert [len(row) for row in got["answers"]] == [len(row) for row in want["labels"]], "not one answer per sentence"
    share = float(np.mean((np.array(got["answers"], float) > 0.5) == np.array(want["labels"])))
    assert share >= 0.79, f"mean accuracy {share:.3f} on the cases of the table; 0.79 is needed"

# %% [markdown]
# ### Falsified labels
#
# If the model *learnt* the task from the examples, false labels would teach it the opposite. @min2022rethinking found that
# random labels hardly hurt; @wei2023larger, that only large models follow flipped ones.

# %% tags=["hide-input"]
guess = widgets.predict(
    "The labels of eight examples are flipped. What becomes of the accuracy, counted against the true labels?",
    options=["no fall that can be seen: the interval contains 0", "it falls, but not below one half", "it falls, below one half"],
)

# %% tags=["experiment"]
def flipped(examples):
    return [(text, 1 - label) for text, label in examples]


lab.needs("calibrate")
half = 2 * len(SENTENCES) // 5
falsified = {"true labels": run(8, count=half), "flipped labels": run(8, flipped, half)}  # the same examples and sentences
table, by_draw = {}, {}
for name, (frame, empty) in falsified.items():
    for way, f in (("as it is", frame), ("by all sentences", calibrated(frame, "all sentences", empty))):
        by_draw[name, way] = right(f).groupby(f["draw"]).mean()
        table.setdefault(name, {})[way] = "{:.2f} [{:.2f}, {:.2f}]".format(*accuracy(f))
for way in ("as it is", "by all sentences"):
    gap = scoring.paired(by_draw["true labels", way], by_draw["flipped labels", way])
    table.setdefault("true minus flipped, paired", {})[way] = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*gap)
pd.DataFrame(table).T.rename_axis("8 examples")

# %% tags=["hide-input", "experiment"]
true, false = by_draw["true labels", "as it is"], by_draw["flipped labels", "as it is"]
gap = scoring.paired(true, false)
guess.reveal(
    "no fall that can be seen: the interval contains 0" if gap[1] <= 0
    else "it falls, below one half" if false.mean() < 0.5 else "it falls, but not below one half",
    why=f"{true.mean():.2f} with true labels, {false.mean():.2f} with flipped ones; the difference is {gap[0]:+.2f} [{gap[1]:+.2f}, {gap[2]:+.2f}].",
)

# %% [markdown]
# With flipped labels the accuracy stays above one half, before calibration and after it: the model does not follow
# them. It keeps to what the word "positive" means. The last row compares the two on the same examples and sentences: where
# its interval contains 0, we cannot tell whether true labels are better than flipped ones. This agrees with Min et al.
# (random labels). J. Wei et al. saw only the largest models follow flipped labels: with 32 examples text-davinci-002 fell from
# 90.3 % to 22.5 %, mean of several tasks, and small models hardly below chance [@wei2023larger]. @kumar2025semantic saw none of
# eight open models of 1 to 12 billion parameters; so a model that fits on one GPU need not show it.
#
# ## 5 · Which heads copy?
#
# What in the network reads the examples? The best known mechanism is copying: an *induction head* (归纳头;
# @olsson2022induction). At "… A B … A" it attends to the token *after* the earlier A, and makes B more likely. For that an
# earlier layer must have noted, at B, that the token before it was A: a *previous-token head*. To find both, read random
# tokens twice: there is no language in them, only repetition.
#
# ### Your turn: score every head

# %% tags=["exercise:head_scores"]
def head_scores(attention, length):
    """How much each head attends to the previous token, and to the token after the earlier copy.

    attention: float tensor (layers, heads, T, T), T = 2 · length: rows are queries, columns are keys, and each row sums
    to 1. The text is `length` tokens and then the same tokens again. Returns a dict of two float tensors (layers,
    heads): "previous", the mean over the places i = 1 … T - 1 of the attention from i to i - 1; "induction", the mean
    over the places i = length … T - 1 of the second copy of the attention from i to the token after the earlier copy
    of token i.

    Example: length 2, T = 4: place 2 holds the token of place 0, and the token after that is at place 1.
    """
    ### BEGIN SOLUTION
    total = attention.shape[-1]
    i = torch.arange(1, total, device=attention.device)
    j = torch.arange(length, total, device=attention.device)
    return {"previous": attention[..., i, i - 1].mean(-1), "induction": attention[..., j, j - length + 1].mean(-1)}
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Write down, for length 3, which column each row of the second copy should look at.</details>
# <details><summary>Hint 2</summary>Two index tensors of the same length pick one number per pair:
# <code>attention[..., rows, columns]</code>.</details>

# %% tags=["tests:head_scores:1"]
with lab.test("head_scores"):
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, 0, [0, 1, 2, 3], [0, 0, 1, 2]] = 1.0  # always the token before
    attention[0, 1, [0, 1, 2, 3], [0, 1, 1, 0]] = 1.0
    got = head_scores(attention, 2)
    lab.expect_close(got["previous"], torch.tensor([[1.0, 1 / 3]]), "previous")
    # length 2 is too short to tell: from place 2 the token before is the token after the earlier copy, too
    lab.expect_close(got["induction"], torch.tensor([[1.0, 0.5]]), "induction, length 2")
    six = torch.zeros(1, 1, 6, 6)
    six[0, 0, [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 2, 3]] = 1.0  # from place 3 on, the token after the earlier copy
    lab.expect_close(head_scores(six, 3)["induction"], torch.tensor([[1.0]]), "induction, length 3")
    lab.expect_close(head_scores(six, 3)["previous"], torch.tensor([[0.2]]), "previous, length 3")

# %% tags=["hidden:head_scores:2"]
def probe():
    g = torch.Generator().manual_seed(12)
    found = {}
    # because: many layers and heads, and another length; a copy of one token only
    for name, (layers, heads, length) in {"many": (3, 4, 5), "one": (2, 1, 1)}.items():
        attention = torch.rand(layers, heads, 2 * length, 2 * length, generator=g).tril()
        found[name] = head_scores(attention / attention.sum(-1, keepdim=True), length)
    return found


def visible():
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, 0, [0, 1, 2, 3], [0, 0, 1, 2]] = 1.0
    attention[0, 1, [0, 1, 2, 3], [0, 1, 1, 0]] = 1.0
    six = torch.zeros(1, 1, 6, 6)
    six[0, 0, [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 2, 3]] = 1.0
    return [head_scores(attention, 2), head_scores(six, 3)]

# %% tags=["hide-input"]
guess = widgets.predict(
    "Of all heads, how many have a *previous-token* score above 0.4?",
    options=["fewer than one in twenty", "one in twenty to one in five", "more than one in five"],
)

# %% tags=["hide-input", "experiment"]
lab.needs("head_scores")
LENGTH = lab.budget(full=40, quick=8)
once = torch.randint(100, len(tokenizer) - 1, (4, LENGTH), generator=torch.Generator().manual_seed(0))
twice = torch.cat([once, once], 1).to(model.device)
model.set_attn_implementation("eager")  # the one that can show its attention
with torch.inference_mode():
    attention = torch.stack(model(twice, output_attentions=True).attentions).float().mean(1)
model.set_attn_implementation("sdpa")
heads = {name: score.cpu() for name, score in head_scores(attention, LENGTH).items()}
best = {
    name: [divmod(int(i), score.shape[1]) for i in score.flatten().argsort(descending=True)[:5]] for name, score in heads.items()
}
fig, axes = plt.subplots(1, 2, figsize=(13, 3.6), sharey=True)
for ax, (name, score) in zip(axes, heads.items(), strict=True):
    image = ax.imshow(score.T, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    ax.grid(False)
    ax.set(title=f"{name}: {int((score > 0.4).sum())} of {score.numel()} heads above 0.4", xlabel="layer")
    print(f"{name}: the best five (layer, head):", best[name])
axes[0].set_ylabel("head")
fig.colorbar(image, ax=axes, label="share of the attention")
plt.show()

# %% tags=["hide-input", "experiment"]
share = float((heads["previous"] > 0.4).float().mean())
guess.reveal(
    "more than one in five" if share > 0.2 else "one in twenty to one in five" if share >= 0.05 else "fewer than one in twenty",
    why=f"{share:.1%} of all heads; for the *induction* score it is {float((heads['induction'] > 0.4).float().mean()):.1%}.",
)

# %% [markdown]
# A high score says where a head looks, not that anything depends on it. So we take heads away and measure. Setting a head's
# output to zero gives later layers something that they have never seen; replacing it by its *mean* over other texts (*mean
# ablation*, 均值消融) only takes away what the head says about *this* text. And five heads compared with four draws of five
# others prove little: for copying we draw twenty. (For the ROC AUC, which takes longer, only the first three of them are run.)
#
# ### Your turn: switch a head off
#
# The heads of a layer write side by side into one vector for each token: with heads of `dim` numbers, head 0 writes the first
# `dim` of them, head 1 the next.

# %% tags=["exercise:ablate"]
def ablate(mixed, head, dim, mean):
    """What the heads of a layer write, with one head replaced by its mean.

    mixed: float tensor (n, T, heads · dim), what all heads write for each token of n texts: head h writes the columns from
    h · dim to (h + 1) · dim - 1. head: int, counted from 0. dim: int. mean: float tensor (heads · dim,), the mean of what
    all heads write for other texts. Returns a new tensor of the shape of mixed: at every token of every text the columns of
    this head are those of mean, all others are those of mixed. mixed itself stays as it is.

    Example: mixed of zeros (1, 2, 4), head 1, dim 2, mean [1, 2, 3, 4]: both tokens become [0, 0, 3, 4].
    """
    ### BEGIN SOLUTION
    part = slice(head * dim, (head + 1) * dim)
    changed = mixed.clone()
    changed[..., part] = mean[part]
    return changed
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Which columns are those of head 2, where a head has 64 numbers? A <code>slice</code> can stand on
# both sides of the assignment.</details>
# <details><summary>Hint 2</summary>An assignment to a part of <code>mixed</code> changes what the model has computed. Which method makes
# a copy of a tensor?</details>

# %% tags=["tests:ablate:1"]
with lab.test("ablate"):
    zeros, mean = torch.zeros(1, 2, 4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    got = ablate(zeros, 1, 2, mean)
    assert got is not None, "return the new tensor"
    lab.expect_close(got, torch.tensor([[[0.0, 0, 3, 4], [0, 0, 3, 4]]]), "head 1 of two heads of 2 numbers")
    assert not zeros.any(), "mixed was changed; other functions still need it: work on a copy"
    lab.expect_close(ablate(zeros, 0, 2, mean)[0, 0], torch.tensor([1.0, 2, 0, 0]), "head 0, at the first token")
    rising = torch.arange(24.0).view(2, 2, 6)
    got = ablate(rising, 1, 2, torch.full((6,), -1.0))
    want = [[[0, 1, -1, -1, 4, 5], [6, 7, -1, -1, 10, 11]], [[12, 13, -1, -1, 16, 17], [18, 19, -1, -1, 22, 23]]]
    lab.expect_close(got, torch.tensor(want).float(), "the second of three heads, two texts")
    lab.expect_close(rising, torch.arange(24.0).view(2, 2, 6), "mixed, after the call")

# %% tags=["hidden:ablate:2"]
def probe():
    g, answers, kept = torch.Generator().manual_seed(21), {}, []
    cases = {
        "first": (2, 3, 4, 5, 0),  # because: the first head
        "middle": (3, 2, 4, 3, 2),  # because: a head in the middle, with as many heads as numbers and one more
        "last": (1, 5, 3, 4, 2),  # because: the last head
        "narrow": (2, 2, 6, 1, 4),  # because: heads of one number each
        "one head": (2, 3, 1, 4, 0),  # because: a layer with a single head
    }
    for name, (n, tokens, heads, dim, head) in cases.items():
        mixed, mean = torch.randn(n, tokens, heads * dim, generator=g), torch.randn(heads * dim, generator=g)
        before = mixed.clone(), mean.clone()
        answers[name] = ablate(mixed, head, dim, mean)
        kept.append(bool(torch.equal(mixed, before[0]) and torch.equal(mean, before[1])))
    answers["kept"] = kept  # because: what is passed to the function must be the same after it
    twice = torch.randn(2, 3, 8, generator=g)
    answers["two heads"] = ablate(ablate(twice, 0, 2, twice[0, 0] - 1), 3, 2, twice[1, 1] + 1)  # because: two heads, one after the other
    return answers


def visible():
    zeros, mean = torch.zeros(1, 2, 4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    rising = torch.arange(24.0).view(2, 2, 6)
    made = [ablate(zeros, 1, 2, mean), ablate(zeros, 0, 2, mean), ablate(rising, 1, 2, torch.full((6,), -1.0))]
    return [*made, zeros, rising]

# %% [markdown]
# The next cell is folded; click it to read the code. `head_means` computes each head's mean output, `without` runs a
# function while some heads give their means: it calls your `ablate` on what a layer's heads write.

# %% tags=["hide-input"]
def outputs_of(layer):
    """What the heads of a layer have written, side by side, is the input of this module."""
    return model.model.layers[layer].self_attn.o_proj


@torch.inference_mode()
def head_means(texts):
    """For each layer the mean over all tokens of some texts of what the heads write, (heads · dim,)."""
    kept, hooks, found = {}, [], {}
    for layer in range(model.config.num_hidden_layers):

        def keep(module, inputs, layer=layer):
            kept[layer] = inputs[0]

        hooks.append(outputs_of(layer).register_forward_pre_hook(keep))
    for text in texts:
        model(**tokenizer(text, return_tensors="pt").to(model.device))
        for layer, mixed in kept.items():
            found.setdefault(layer, []).append(mixed[0])
    for hook in hooks:
        hook.remove()
    return {layer: torch.cat(parts).mean(0) for layer, parts in found.items()}


def without(heads_off, means, function):
    """function() while these (layer, head) give their mean output."""
    hooks = []
    for layer, head in heads_off:
        size = outputs_of(layer).in_features // model.config.num_attention_heads

        def silence(module, inputs, layer=layer, head=head, size=size):
            return (ablate(inputs[0], head, size, means[layer]),)

        hooks.append(outputs_of(layer).register_forward_pre_hook(silence))
    try:
        return function()
    finally:
        for hook in hooks:
            hook.remove()

# %% tags=["hide-input"]
guess = widgets.predict(
    "Eight examples in the prompt. Without the five best induction heads, is the ROC AUC lower than in every draw of five random heads?",
    options=["yes", "no"],
)

# %% tags=["hide-input", "experiment"]
@torch.inference_mode()
def copy_loss():
    logits = model(twice).logits[:, :-1].float()
    nats = F.cross_entropy(logits.transpose(1, 2), twice[:, 1:], reduction="none")
    return float(nats[:, LENGTH:].mean())


def sorting():
    part = SENTENCES[: lab.budget(full=40, quick=4)]
    logs = classify(pick(8, 0), part)
    return in_order(logs[:, 1] - logs[:, 0], [y for _, y in part])


lab.needs("ablate")
means = head_means([text for text, _ in POOL[: lab.budget(full=40, quick=3)]])
g = np.random.default_rng(0)
everyone = [divmod(i, heads["induction"].shape[1]) for i in range(heads["induction"].numel())]
rest = [head for head in everyone if head not in best["previous"] + best["induction"]]
fives = [[rest[i] for i in g.permutation(len(rest))[:5]] for _ in range(lab.budget(full=20, quick=2))]
groups = {"no head": [[]], "5 induction": [best["induction"]], "5 previous-token": [best["previous"]], "5 at random": fives}
found = {name: [without(off, means, copy_loss) for off in draws] for name, draws in groups.items()}
few = {name: [without(off, means, sorting) for off in draws[: lab.budget(full=3, quick=1)]] for name, draws in groups.items()}
fig, axes = plt.subplots(1, 2, figsize=(13, 3.8), sharey=True)
for ax, (values, title, label) in zip(
    axes, ((found, "Copying", "loss on the second copy (nats per token)"), (few, "8 examples", "ROC AUC")), strict=True
):
    for i, name in enumerate(groups):
        ax.plot(values[name], [i] * len(values[name]), plots.MARKERS[i], color="black", markerfacecolor="none", linestyle="")
    ax.set(title=f"{title}, heads replaced by their mean", xlabel=label)
axes[0].set_yticks(range(len(groups)), groups)
axes[0].set_ylabel("without")
axes[0].invert_yaxis()
axes[1].set_xlim(0, 1.02)
plt.show()

# %% tags=["experiment"]
worse = {name: sum(found[name][0] <= other for other in found["5 at random"]) for name in ("5 induction", "5 previous-token")}
for name, count in worse.items():
    n = len(fives)
    print(f"without {name}: loss {found[name][0]:.2f}, all heads {found['no head'][0]:.2f};", end=" ")
    print(f"{count} of {n} random fives cost as much or more: p = {(count + 1) / (n + 1):.3f}")
    print(f"    ROC AUC {few[name][0]:.2f}, all heads {few['no head'][0]:.2f};", end=" ")
    print(f"{len(few['5 at random'])} random fives: {min(few['5 at random']):.2f} to {max(few['5 at random']):.2f}")

# %% tags=["hide-input", "experiment"]
guess.reveal(
    "yes" if few["5 induction"][0] < min(few["5 at random"]) else "no",
    why=f"It is {few['5 induction'][0]:.2f}; the lowest of the random fives is {min(few['5 at random']):.2f}.",
)

# %% [markdown]
# Compare the two lists: nearly all of the best previous-token heads are in earlier layers than the induction heads, as the
# mechanism needs.
# Read the printed p: the share of random fives that cost as much as the chosen five. For *copying*, that is the evidence
# that these heads matter more than others. For *eight examples*, look at the ROC AUC: where it does not fall below the
# random fives (three only), nothing says that the task needs the copying heads. It sorts the sentences without any example (section 3), so
# there is little for a head that reads examples to add. A head can be needed for copying and idle in classification;
# "induction heads explain in-context learning" is a claim about other tasks.
#
# ## 6 · Prompting an encoder: fill in the blank
#
# An encoder was trained to fill in masked words. So make the task a blank: "It was [MASK]." and compare the words *great*
# and *terrible* there. The words are the *verbalizer* (标签词映射) of the labels [@schick2021exploiting].
#
# With a model hub: `load_model("roberta-base", task="masked-lm")`. Without one, we take MiniLM's body as it is and train
# the head that it lacks, on movie sentences that are neither in the test nor among the examples, and without labels.
# Seconds of training are not enough for all words of English, so we mask only words of feeling (as @tian2020skep do), and
# the head knows no others. VADER's lexicon lists these words; what they mean the head must learn from the sentences.
#
# The next three cells are folded; click them to read the code. `MaskedHead` is BERT's head for masked words, and
# `train_head` trains it. The second finds the words of feeling in the sentences, the third masks them, and trains a head.

# %% tags=["hide-input"]
class MaskedHead(torch.nn.Module):
    """BERT's head for masked words: dense, GELU, norm, then the words' own embeddings (V, d) and a bias."""

    def __init__(self, embeddings):
        super().__init__()
        size = embeddings.shape[1]
        self.dense, self.norm = torch.nn.Linear(size, size), torch.nn.LayerNorm(size)
        self.embeddings, self.bias = embeddings, torch.nn.Parameter(torch.zeros(len(embeddings)))

    def forward(self, states):
        states = F.layer_norm(states, states.shape[-1:])
        return self.norm(F.gelu(self.dense(states))) @ self.embeddings.T + self.bias


def train_head(head, states, loss_of, epochs, seed):
    """Adam on states that the body has computed once; loss_of(head's output, places in states)."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)
    for _ in range(epochs):
        for places in torch.randperm(len(states)).split(128):
            loss = loss_of(head(states[places]), places)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head.eval()

# %% tags=["experiment", "hide-input"]
encoder, words = load_model(weights.path("minilm"), task="feature-extraction", device="cpu")
used, valence = {text for text, _ in SENTENCES + POOL}, data.word_valence()
texts = [text for text in data.movie_sentences()["text"] if text not in used and len(text) < 130]
seen = collections.Counter(itertools.chain(*words(texts)["input_ids"]))
FEELING = [word for word, i in sorted(words.get_vocab().items()) if abs(valence.get(word, 0)) >= 1 and seen[i] >= 8]
FEELING_IDS = torch.tensor(words.convert_tokens_to_ids(FEELING))
place = torch.full((len(words),), -1).scatter(0, FEELING_IDS, torch.arange(len(FEELING)))  # id → place in FEELING, or -1
texts = [text for text, ids in zip(texts, words(texts)["input_ids"], strict=True) if (place[ids] >= 0).any()]
texts = sorted(texts[: lab.budget(full=len(texts), quick=64)], key=len)
print(f"{len(texts)} sentences with one of {len(FEELING)} words of feeling, such as {FEELING[::40]}")

# %% tags=["experiment", "hide-input"]
@torch.inference_mode()
def body(ids, mask):
    return encoder(input_ids=ids, attention_mask=mask)[0]


states, targets, g = [], [], torch.Generator().manual_seed(0)
for start in tqdm(range(0, len(texts), 64), desc="reading", leave=False):
    batch = words(texts[start : start + 64], padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    hidden = (place[ids] >= 0) & (torch.rand(ids.shape, generator=g) < 0.5)
    states.append(body(ids.masked_fill(hidden, words.mask_token_id), mask)[hidden].clone())
    targets.append(place[ids[hidden]])
states, targets = torch.cat(states), torch.cat(targets)
order = torch.randperm(len(states), generator=g)
learnt, held_out = order[: int(0.9 * len(states))], order[int(0.9 * len(states)) :]
embeddings = encoder.get_input_embeddings().weight[FEELING_IDS].detach()
mlm = train_head(
    MaskedHead(embeddings), states[learnt], lambda out, i: F.cross_entropy(out, targets[learnt][i]), epochs=6, seed=0
)
with torch.inference_mode():
    loss = F.cross_entropy(mlm(states[held_out]), targets[held_out]).item()
frequency = (torch.bincount(targets[learnt], minlength=len(FEELING)) + 0.5).log().log_softmax(0)
by_frequency = F.nll_loss(frequency.expand(len(held_out), -1), targets[held_out])
print(f"{loss:.2f} nats per held-out word; by frequency alone {by_frequency:.2f}")

# %% [markdown]
# ### Your turn: the blank
#
# Several words may mean one label ("great", "good", "fine"). The score of a label is then the mean of their logits.

# %% tags=["exercise:cloze_scores"]
def cloze_scores(logits, ids, mask_id, verbalizer):
    """Probabilities of the labels from a masked language model.

    logits: float32 tensor (n, T, V). ids: int64 tensor (n, T), with mask_id exactly once in each row. verbalizer: list
    of c lists of token ids, the words of each label. The probability of a label is proportional to the exponential of
    the mean logit of its words at the mask. Returns float32 tensor (n, c); each row sums to 1.

    Example: logits of 2.0 for the words 5 and 6 and of 0.0 for all others, verbalizer [[5, 6], [7]]:
    softmax([2, 0]) = [0.881, 0.119].
    """
    ### BEGIN SOLUTION
    at = (ids == mask_id).int().argmax(1)
    there = logits[torch.arange(len(ids), device=ids.device), at]
    return torch.stack([there[:, list(group)].mean(1) for group in verbalizer], 1).softmax(1)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Each row has its mask at another place; first find the place of each.</details>
# <details><summary>Hint 2</summary>In a row of zeros and a single one, <code>argmax</code> is the place of the one.</details>
# <details><summary>Hint 3</summary><code>logits[rows, places]</code> with two index tensors of length n is (n, V). Then take the
# mean over the words of each label, and a softmax over the labels.</details>

# %% tags=["tests:cloze_scores:1"]
with lab.test("cloze_scores"):
    logits = torch.zeros(2, 4, 9)
    logits[0, 2, [5, 6]] = 2.0
    logits[1, 1, 7] = 1.0
    got = cloze_scores(logits, torch.tensor([[1, 2, 8, 2], [1, 8, 2, 2]]), 8, [[5, 6], [7]])
    want = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).softmax(1)
    lab.expect_close(got, want, "probabilities", atol=1e-5)
    logits[0, 2, [5, 6, 7]] = torch.tensor([3.0, 1.0, 2.0])  # the mean of 3 and 1 is 2: as much as the word 7
    got = cloze_scores(logits[:1], torch.tensor([[1, 2, 8, 2]]), 8, [[5, 6], [7]])
    lab.expect_close(got, torch.tensor([[0.5, 0.5]]), "words of logits 3 and 1 (their mean is 2) against one of 2", atol=1e-5)

# %% tags=["hidden:cloze_scores:2"]
def probe():
    g = torch.Generator().manual_seed(3)
    logits, ids = torch.randn(5, 7, 12, generator=g), torch.randint(0, 11, (5, 7), generator=g)
    ids[torch.arange(5), torch.tensor([0, 6, 3, 3, 1])] = 11
    return [
        # because: labels with different numbers of words, and masks at different places
        cloze_scores(logits, ids, 11, [[1, 2, 3], [4], [5, 6]]),
        cloze_scores(logits, ids, 11, [[0], [10]]),  # because: labels of one word each
    ]


def visible():
    logits = torch.zeros(2, 4, 9)
    logits[0, 2, [5, 6]] = 2.0
    logits[1, 1, 7] = 1.0
    first = cloze_scores(logits.clone(), torch.tensor([[1, 2, 8, 2], [1, 8, 2, 2]]), 8, [[5, 6], [7]])
    logits[0, 2, [5, 6, 7]] = torch.tensor([3.0, 1.0, 2.0])
    return [first, cloze_scores(logits[:1], torch.tensor([[1, 2, 8, 2]]), 8, [[5, 6], [7]])]

# %% tags=["experiment"]
WORDS = {"one word": (["terrible"], ["great"]), "three words": (["terrible", "bad", "dull"], ["great", "good", "fun"])}
TEMPLATES = ["{} It was [MASK].", "{} A [MASK] movie.", "It was [MASK]. {}"]
filled = [*(text for text, _ in SENTENCES), "N/A", "", "."]  # "[MASK]" would be a second blank to this model


def at_blank(template):
    """The body's states (n + 3, d) at the blank."""
    batch = words([template.format(text) for text in filled], padding=True, return_tensors="pt")
    return body(batch["input_ids"], batch["attention_mask"])[batch["input_ids"] == words.mask_token_id].clone()


lab.needs("calibrate", "cloze_scores")
y, rows = np.array([label for _, label in SENTENCES]), []
for template in TEMPLATES:
    states_, blank = at_blank(template), torch.zeros(len(filled), 1, dtype=torch.long)
    for name, groups in WORDS.items():
        verbalizer = [[FEELING.index(word) for word in group] for group in groups]
        with torch.inference_mode():
            logs = cloze_scores(mlm(states_)[:, None], blank, 0, verbalizer).log().numpy()
        row = {"template": template, "words": name}
        for by, free in {"as it is": np.zeros((1, 2)), "three texts": logs[-3:], "all sentences": logs[:-3]}.items():
            hits = calibrate(logs[:-3], free).argmax(1) == y  # equal logarithms change nothing
            row[by] = "{:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(int(hits.sum()), len(hits)))
        rows.append(row | {"ROC AUC": round(in_order(logs[:-3, 1] - logs[:-3, 0], y), 2)})
pd.DataFrame(rows).style.hide()

# %% [markdown]
# Without calibration the accuracy of the cloze is near chance, although most pairs are in the right order (ROC AUC): the
# sentences are sorted, and the threshold is wrong. Calibration by all sentences moves it, and the accuracy rises. The order
# comes from a head that never saw a label and whose loss is hardly below that of the word frequencies alone. RoBERTa-large,
# prompted with the first template and not tuned, has an accuracy of 0.84 on SST-2 [@gao2021making].
#
# *ELECTRA's way* needs no masked word: a discriminator says of every word whether it was replaced, so put each label's word
# into the blank and ask which looks more original [@clark2020electra; @xia2022prompting]. Xia et al. report better results
# than with prompted masked models. (With a hub: `load_model("electra-small")`.)
#
# ## 7 · Let the gradient write the prompt
#
# A prompt is a sequence of vectors. Why should they be vectors of words? *Prompt tuning* [@lester2021power] puts $k$ free
# vectors before the embeddings and trains only these: prompting with a few trainable parameters.
#
# ### Your turn: a soft prompt (连续提示)

# %% tags=["exercise:soft_prompt_logits"]
def soft_prompt_logits(model, soft, ids, mask):
    """Logits of a text behind a soft prompt.

    model: a causal language model; model.get_input_embeddings() maps int64 ids to vectors of size d, and
    model(inputs_embeds=, attention_mask=) takes vectors in place of ids. soft: float tensor (k, d), the same for all
    texts. ids: int64 (n, T). mask: int64 (n, T), 1 for tokens, 0 for padding on the right. Every token sees all of
    the soft prompt; the model is told which places are padding. Returns the logits of the T tokens alone, float (n, T, V); gradients flow to soft.

    Example: with the embeddings of the tokens 3 and 4 as soft, the logits are those that the model gives for the
    text after the tokens 3 and 4.
    """
    ### BEGIN SOLUTION
    n, k = len(ids), len(soft)
    vectors = torch.cat([soft.expand(n, -1, -1), model.get_input_embeddings()(ids)], 1)
    seen = torch.cat([mask.new_ones(n, k), mask], 1)
    return model(inputs_embeds=vectors, attention_mask=seen).logits[:, k:]
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>The model can read vectors instead of ids. What must the mask say about the vectors in front?</details>
# <details><summary>Hint 2</summary><code>soft.expand(n, -1, -1)</code> repeats it for each text without copying;
# <code>torch.cat</code> along dim 1.</details>

# %% tags=["tests:soft_prompt_logits:2"]
with lab.test("soft_prompt_logits"):
    llama = small_llama(4)
    ids, ones = torch.tensor([[5, 6, 7], [8, 9, 1]]), torch.ones(2, 3, dtype=torch.long)
    soft = llama.get_input_embeddings()(torch.tensor([3, 4])).detach().requires_grad_()
    got = soft_prompt_logits(llama, soft, ids, ones)
    want = llama(torch.cat([torch.tensor([[3, 4], [3, 4]]), ids], 1)).logits[:, 2:]
    lab.expect_close(got, want, "logits behind the words 3 and 4 as vectors", atol=1e-4)
    got.sum().backward()
    assert soft.grad is not None and soft.grad.abs().sum() > 0, "no gradient reaches the soft prompt"
    # a short text beside a longer one, with padding on the right, has the logits that it has alone
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    got = soft_prompt_logits(llama, soft.detach(), ids, mask)[1, :2]
    alone = soft_prompt_logits(llama, soft.detach(), ids[1:, :2], ones[1:, :2])[0]
    lab.expect_close(got, alone, "logits of a text that is padded, against those of the text alone", atol=1e-4)
    seen = {}
    llama.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    soft_prompt_logits(llama, soft.detach(), ids, mask)
    told = None if seen.get("attention_mask") is None else seen["attention_mask"].tolist()
    want = [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert told == want, f"attention_mask should be 1 for the soft prompt and 0 for padding: {want}, but it is {told}"

# %% tags=["hidden:soft_prompt_logits:3"]
def probe():
    llama, g = small_llama(5), torch.Generator().manual_seed(2)
    soft = torch.randn(3, 16, generator=g).requires_grad_()
    ids, mask = torch.randint(40, (2, 5), generator=g), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    seen = {}
    llama.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    logits = soft_prompt_logits(llama, soft, ids, mask)
    real = logits * mask[..., None]  # padding does not count
    real.square().mean().backward()
    return {
        "shape": list(logits.shape),  # because: the shape of the logits
        "logits": real.detach(),  # because: texts of different lengths in one batch, with padding on the right
        "gradient": soft.grad,  # because: the gradient that flows to the soft prompt
        # because: the attention mask that the model gets, with padding on the right
        "mask": [[int(one) for one in row] for row in seen["attention_mask"].tolist()],
    }


def visible():
    llama = small_llama(4)
    soft = llama.get_input_embeddings()(torch.tensor([3, 4])).detach()
    ids = torch.tensor([[5, 6, 7], [8, 9, 1]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    padded = soft_prompt_logits(llama, soft, ids, mask) * mask[..., None]
    return [soft_prompt_logits(llama, soft, ids, torch.ones_like(ids)).detach(), padded.detach()]

# %% [markdown]
# ### Your turn: a prefix
#
# Attention in a layer compares a token's *query* with the *keys* of the tokens before it, and adds up their *values*. Keys
# and values that were computed once can be kept and used again (a *KV cache*, 键值缓存; chapter 09). *Prefix tuning*
# [@li2021prefix] gives every layer its own $k$ pairs of key and value, as if $k$ tokens had been read before the text; no
# token is read for them, they are free parameters:
#
# ```
# layer 2   [K V][K V] | k v  k v  k v      [ ] trained, one row of the table per column
# layer 1   [K V][K V] | k v  k v  k v      the queries of the text read all keys to their left
# text                 |  A   film  it
# ```
#
# PEFT keeps them as one table with a row for each of the $k$ places. A row contains, one after another, layer 1's key,
# layer 1's value, layer 2's key, and so on; within each of them, one head after another.

# %% tags=["exercise:prefix_cache"]
def prefix_cache(table, layers, heads, batch):
    """Keys and values of a prefix, as attention wants them.

    table: float tensor (k, layers · 2 · heads · dim). layers, heads (of keys and values), batch: int. Returns a list
    of `layers` pairs (key, value), each a float tensor (batch, heads, k, dim), the same for the whole batch; gradients
    flow to table.

    Example: k = 1, layers = 1, heads = 2, dim = 1: the row [1, 2, 3, 4] gives key [[[[1]], [[2]]]] and value
    [[[[3]], [[4]]]].
    """
    ### BEGIN SOLUTION
    k = len(table)
    parts = table.view(k, layers, 2, heads, -1).permute(1, 2, 3, 0, 4)  # layers, 2, heads, k, dim
    return [(part[0].expand(batch, -1, -1, -1), part[1].expand(batch, -1, -1, -1)) for part in parts]
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>In which order do the numbers of a row change, slowest first?</details>
# <details><summary>Hint 2</summary><code>view</code> gives a row five dimensions, <code>permute</code> puts them in the wanted order,
# <code>expand</code> makes the batch.</details>

# %% tags=["tests:prefix_cache:1"]
with lab.test("prefix_cache"):
    ((key, value),) = prefix_cache(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), 1, 2, 1)
    lab.expect_close(key, torch.tensor([[[[1.0]], [[2.0]]]]), "key")
    lab.expect_close(value, torch.tensor([[[[3.0]], [[4.0]]]]), "value")
    got = prefix_cache(torch.arange(48.0).view(2, 24), 2, 3, 5)
    assert len(got) == 2 and tuple(got[1][0].shape) == (5, 3, 2, 2), "two layers; keys (batch, heads, k, dim) = (5, 3, 2, 2)"
    lab.expect_close(got[1][0][4, 2, 1], torch.tensor([40.0, 41.0]), "layer 2, key, head 3, place 2")
    table = torch.arange(48.0).view(2, 24).requires_grad_()
    parts = [part for pair in prefix_cache(table, 2, 3, 5) for part in pair]
    assert all(part.requires_grad for part in parts), "no gradient reaches the table: use its own numbers, not a copy of them"
    sum(part.sum() for part in parts).backward()
    lab.expect_close(table.grad, torch.full((2, 24), 5.0), "gradient of the table: each number is in each of 5 texts once")

# %% tags=["hidden:prefix_cache:2"]
def probe():
    table = torch.randn(4, 3 * 2 * 2 * 5, generator=torch.Generator().manual_seed(8)).requires_grad_()
    made = prefix_cache(table, 3, 2, 3)
    sum((i + 1) * key.sum() - (i + 2) * value.square().sum() for i, (key, value) in enumerate(made)).backward()
    return {
        "shapes": [list(key.shape) for key, _ in made],  # because: the shapes of the keys, a pair for each layer
        "keys": [key.detach() for key, _ in made],  # because: the keys, for a prefix of several tokens and a batch
        "values": [value.detach() for _, value in made],  # because: the values, for a prefix of several tokens and a batch
        "gradient": table.grad,  # because: the gradient that flows to the table
    }


def visible():
    made = prefix_cache(torch.arange(48.0).view(2, 24), 2, 3, 5)
    return [[key, value] for key, value in made]

# %% [markdown]
# ### Equal to PEFT's?
#
# The same seed, data and optimizer, a small real model, ten steps of each method: compare the losses.

# %%
def task_loss(logits, labels):
    """Cross-entropy of the next token; labels (n, T) are -100 where nothing is asked."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def prefix_logits(model, table, ids, mask):
    """Logits (n, T, V) of a text behind a prefix."""
    config, n = model.config, len(ids)
    cache = DynamicCache()
    for layer, (key, value) in enumerate(prefix_cache(table, config.num_hidden_layers, config.num_key_value_heads, n)):
        cache.update(key, value, layer)
    seen = torch.cat([mask.new_ones(n, len(table)), mask], 1)
    return model(input_ids=ids, attention_mask=seen, past_key_values=cache).logits

# %% tags=["hide-input", "experiment"]
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model


def losses_of(step, parameters, steps=10):
    optimizer, found = torch.optim.AdamW(parameters, lr=0.05), []
    for _ in range(lab.budget(full=steps, quick=3)):
        loss = step()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def by_own_code(forward, width):
    """Losses, and the number of trainable parameters."""
    frozen = small_llama(6).requires_grad_(False)
    torch.manual_seed(0)
    own = torch.nn.Embedding(5, width)
    return losses_of(lambda: task_loss(forward(frozen, own.weight, ids, mask), labels), own.parameters()), own.weight.numel()


def by_peft(config):
    library = get_peft_model(small_llama(6), config)
    torch.manual_seed(0)
    torch.nn.init.normal_(library.prompt_encoder["default"].embedding.weight)  # the same draw as in our own
    trained = [p for p in library.parameters() if p.requires_grad]
    return losses_of(lambda: library(input_ids=ids, attention_mask=mask, labels=labels).loss, trained)

# %% tags=["experiment"]
ids = torch.randint(40, (4, 12), generator=torch.Generator().manual_seed(0))
mask, labels = torch.ones_like(ids), ids.clone()
labels[:, :6] = -100  # as if the first six tokens were the question
table = {}
for name, config, width, forward in (
    ("prompt tuning", PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5), 16, soft_prompt_logits),
    ("prefix tuning", PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5), 2 * 2 * 2 * 4, prefix_logits),
):
    (ours, count), theirs = by_own_code(forward, width), by_peft(config)
    assert np.allclose(ours, theirs, atol=1e-4), (ours, theirs)
    table[name] = {
        "trainable parameters": count,
        "loss, step 1": ours[0],
        "loss, step 10": ours[-1],
        "largest difference to PEFT": np.abs(np.subtract(ours, theirs)).max(),
    }
pd.DataFrame(table).T.style.format({"trainable parameters": "{:.0f}", "largest difference to PEFT": "{:.0e}"}, precision=3)

# %% [markdown]
# ### By hand or by gradient?
#
# Now the real model and the real task, with *equally many places in the context*: a prompt of 15 tokens is replaced by 15
# vectors, or by 15 keys and values in each layer. They are *initialized* from that prompt, so before the first step all
# three give the same answers.
#
# The next two cells are folded; click them to read the code. In the first, `beginning` computes the initialization from an
# instruction, and `at_answer` gives the logits where the two answers differ. In the second, `tune` trains these parameters,
# and `odds` scores texts with them.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Train the prefix. Or keep the prompt, and only move its threshold to the median of the log-odds of the same training sentences. "
    "Which accuracy is higher?",
    options=["the prefix's", "no difference that can be seen: the interval contains 0", "the moved threshold's"],
)

# %% tags=["hide-input"]
INSTRUCTION = "Decide if this movie review is positive or negative in tone."
METHODS = {"prompt tuning": (soft_prompt_logits, 0.01), "prefix tuning": (prefix_logits, 0.01)}  # with the learning rate


def cut(text, instruction=INSTRUCTION):
    """Token ids of a prompt, in two lists: those of its instruction, and the rest, which is the same for all of them."""
    whole, bare = (tokenizer(few_shot_prompt([], text, i))["input_ids"] for i in (instruction, ""))
    same = len(os.path.commonprefix([whole[::-1], bare[::-1]]))
    return whole[:-same], whole[-same:]


def beginning(method, instruction=INSTRUCTION):
    """The initialization: what the model makes of an instruction's words; for "random" as many numbers, drawn at random."""
    ids = torch.tensor([cut("", INSTRUCTION if instruction == "random" else instruction)[0]], device=model.device)
    with torch.no_grad():
        if method == "prompt tuning":
            numbers = model.get_input_embeddings()(ids[0])
        else:
            layers = model(ids, use_cache=True).past_key_values.layers
            parts = [part[0].transpose(0, 1).flatten(1) for layer in layers for part in (layer.keys, layer.values)]
            numbers = torch.cat(parts, 1)
        return torch.randn(numbers.shape).to(numbers) * numbers.std() if instruction == "random" else numbers.clone()


def answer_tokens():
    """What both answers begin with (nothing, where each is one token), and the first token of each that differs."""
    prompt = few_shot_prompt([], "")
    both = [tokenizer(f"{prompt} {label}")["input_ids"] for label in LABELS]
    same = len(os.path.commonprefix(both))
    return both[0][len(tokenizer(prompt)["input_ids"]) : same], [ids[same] for ids in both]


def at_answer(method, numbers, rows):
    """Logits (n, V) for the token in which the answers differ, of each text behind a continuous prompt."""
    texts = {"input_ids": [cut(text)[1] + answer_tokens()[0] for text, _ in rows]}
    batch = tokenizer.pad(texts, padding_side="right", return_tensors="pt").to(model.device)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    return METHODS[method][0](model, numbers, ids, mask)[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]

# %% tags=["hide-input"]
def tune(method, rows, steps, seed, instruction=INSTRUCTION):
    """Train a continuous prompt on (text, label) rows, 8 at a step, the loss on the label only; (numbers, losses)."""
    torch.manual_seed(seed)
    numbers = torch.nn.Parameter(beginning(method, instruction))
    optimizer = torch.optim.AdamW([numbers], lr=METHODS[method][1], weight_decay=0.0)
    losses, g, (_, tokens) = [], np.random.default_rng(seed), answer_tokens()
    for _ in tqdm(range(steps), desc=method, leave=False):
        batch = [rows[i] for i in g.permutation(len(rows))[:8]]
        labels = torch.tensor([tokens[y] for _, y in batch], device=model.device)
        loss = F.cross_entropy(at_answer(method, numbers, batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return numbers.detach(), losses


@torch.inference_mode()
def odds(method, numbers, rows):
    """float (n,): log P(positive) - log P(negative) for each text behind a continuous prompt."""
    found, (_, (negative, positive)) = [], answer_tokens()
    for start in range(0, len(rows), 20):
        logits = at_answer(method, numbers, rows[start : start + 20])
        found += (logits[:, positive] - logits[:, negative]).tolist()
    return np.array(found)

# %% tags=["experiment"]
lab.needs("continuation_logprob", "soft_prompt_logits", "prefix_cache")
model.requires_grad_(False)
part, learn = SENTENCES[: lab.budget(full=40, quick=4)], POOL[: lab.budget(full=64, quick=4)]
start = beginning("prompt tuning")
answers = {"by hand": odds("prompt tuning", start, part)}
said = [*itertools.chain(*cut(part[0][0])), *answer_tokens()[0]]  # the same prompt, in words
by_words = [continuation_logprob(model, said, [token]) for token in answer_tokens()[1]]
assert abs(by_words[1] - by_words[0] - answers["by hand"][0]) < 1e-3
answers["by hand, threshold moved"] = answers["by hand"] - np.median(odds("prompt tuning", start, learn))
trained = dict.fromkeys(answers, 0)
sixteen = few_shot_prompt([(text, LABELS[y]) for text, y in pick(16, 0)], "")
print(f"tokens in each request: instruction {len(start)}, sixteen examples {len(tokenizer(sixteen)['input_ids'])}")
numbers, losses = tune("prefix tuning", learn, steps=lab.budget(full=8, quick=1), seed=0)
answers["prefix tuning"], trained["prefix tuning"] = odds("prefix tuning", numbers, part), numbers.numel()

# %% [markdown]
# A few steps of prefix tuning are trained here; prompt tuning takes as long, and its result is in the next table. The
# second row needs no gradient: half of the 64 training sentences are positive, so we set the threshold to the median of
# their odds. The intervals are over sentences (Wilson's, and a t interval of the paired gain).

# %% tags=["experiment"]
lab.needs("continuation_logprob", "soft_prompt_logits", "prefix_cache")
y, table = np.array([label == 1 for _, label in part]), {}
hits = {name: ((found > 0) == y).astype(float) for name, found in answers.items()}
for name, found in answers.items():
    table[name] = {
        "trainable parameters": trained[name],
        "accuracy": "{:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(int(hits[name].sum()), len(y))),
        "gain": "" if name == "by hand" else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*scoring.paired(hits[name], hits["by hand"])),
        "ROC AUC": round(in_order(found, y), 2),
        "says positive": round((found > 0).mean(), 2),
    }
pd.DataFrame(table).T

# %% tags=["hide-input", "experiment"]
gain = scoring.paired(hits["prefix tuning"], hits["by hand, threshold moved"])
guess.reveal(
    "the prefix's" if gain[1] > 0 else "the moved threshold's" if gain[2] < 0 else "no difference that can be seen: the interval contains 0",
    why="Prefix tuning minus moved threshold: {:+.2f}, with an interval from {:+.2f} to {:+.2f}.".format(*gain),
)

# %% [markdown]
# One seed can be luck, too. The command `python chapters/06_in_context_learning/prompts.py` ran these functions again on
# all 200 sentences, with other training sentences for each seed, and wrote the results into a table of the course. `random`
# is an initialization by random numbers. With three seeds we show the values themselves.

# %% tags=["experiment"]
trained_prompts = tables.load("continuous_prompts")
table = {}
for key, rows in trained_prompts.groupby(["method", "start"], sort=False):
    table[key] = {"seeds": len(rows)}
    for column, label in {"accuracy": "accuracy", "roc_auc": "ROC AUC", "says_positive": "says positive"}.items():
        values = ", ".join(f"{value:.2f}" for value in rows[column])
        table[key][label] = f"{rows[column].mean():.2f} ({values})" if len(rows) > 1 else values
pd.DataFrame(table).T.rename_axis(["method", "start"]).style

# %% tags=["experiment"]
moved = trained_prompts[trained_prompts["method"] == "by hand, threshold moved"].set_index("seed")["accuracy"]
for method in ("prompt tuning", "prefix tuning"):
    rows = trained_prompts[(trained_prompts["method"] == method) & (trained_prompts["start"] != "random")]
    gain = scoring.paired(rows.set_index("seed")["accuracy"].reindex(moved.index), moved)
    print("{} against a threshold moved by the same sentences: {:+.3f} [{:+.3f}, {:+.3f}] (3 seeds, t)".format(method, *gain))
hand = trained_prompts[trained_prompts["method"] == "by hand"]
for column, name in (("accuracy", "accuracy"), ("roc_auc", "ROC AUC"), ("says_positive", 'says "positive"')):
    print(f"{len(hand)} instructions by hand: {name} {hand[column].min():.2f} to {hand[column].max():.2f}")

# %% [markdown]
# - **Words.** Four instructions differ in accuracy, and hardly in ROC AUC: with them the model says "positive" too often. Each
#   has a lower accuracy than the prompt without an instruction had in section 3 (row 0 of its table). But that one was asked
#   about fewer sentences, and the two are not paired: it is a hint, not a measurement of what an instruction costs.
# - **Gradient.** Prompt tuning and prefix tuning raise the accuracy from their initialization, the first row. Most of that is
#   again the threshold: moved by the same 64 sentences, of which half are positive, it comes nearly as far; no label is used,
#   and no gradient. With three seeds we cannot tell whether the trained prompts are better than that.
# - **Initialization.** From random numbers, prompt tuning comes near in 30 steps. For prefix tuning we have not measured it;
#   @li2021prefix found direct training of a prefix unstable and an initialization from real words better.
#
# So on this task, which the model can do already, most of what training adds is a better threshold. For comparison: sixteen
# examples take far more tokens in each request (their number is printed above) and reach a similar accuracy.
#
# ## 8 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Read the soft prompt.** For each trained vector find the nearest word of the vocabulary (cosine). Is it still the word
#   from which it was initialized?
# - **More than five heads.** Take away the best 10, 20, 40 induction heads, and as many random ones, twenty draws each. When
#   do the examples stop helping?
# - **Choose the examples.** Take for each sentence the four most similar ones of the pool (MiniLM's embeddings) in place of
#   random ones. What happens to the accuracy, and to the interval over draws?
# - **Unequal labels.** Batch calibration assumes that both answers are about as frequent. Leave out three quarters of the
#   positive sentences: what does it do now? And with 5 sentences instead of 25?
# - **Tune the cloze** (LM-BFF, @gao2021making): train the masked model with the template on 32 labelled sentences, against
#   a new head on the same 32.
# - **Another task.** Give the examples labels that mean nothing ("foo", "bar"): how many shots until it sorts them?
# - **A larger model**: change `MODEL`, at the beginning of the lab, and run it all again. Does it follow flipped labels? (The
#   tables `few_shot_odds` and `continuous_prompts` stay those of the course model.)

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@brown2020language]
# - [@lu2022fantastically]
# - [@zhao2021calibrate]
# - [@zhou2024batch]
# - [@min2022rethinking]
# - [@wei2023larger]
# - [@schick2021exploiting]
# - [@gao2021making]
# - [@olsson2022induction]
# - [@clark2020electra]
# - [@xia2022prompting]
# - [@sclar2024quantifying]
# - [@kumar2025semantic]
# - [@tian2020skep]
# - [@li2021prefix]
# - [@lester2021power]
# - [@pang2005seeing]
# - [@hutto2014vader]: the sentences and their scores
