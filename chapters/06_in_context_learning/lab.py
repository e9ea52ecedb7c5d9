# %% [markdown]
# # Lab 06 · Can a model learn without changing one weight?
#
# **Write a few examples into the prompt, and a language model seems to learn a task. Does it? How many examples does it
# take, what does it read in them, and what does a gradient add?** You will measure accuracy on 200 movie sentences with 0
# to 16 examples, shuffle, unbalance and falsify the examples, correct the bias that they bring, prompt encoders by *cloze*
# (完形填空), and at last let gradient descent find the prompt.
#
# The course model was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. All results of this lab
# are of that copy; how the original differs we have not measured.
#
# You will
#
# 1. score answers by log-probability, and build *few-shot* (少样本) prompts,
# 2. measure what *in-context learning* (上下文学习) is sensitive to, and *calibrate* it (校准),
# 3. prompt a masked encoder (RoBERTa's way) and a discriminator (ELECTRA's way),
# 4. write *prompt tuning* (提示微调) and *prefix tuning* (前缀微调), equal to PEFT's, and compare them with a hand-written
#    prompt.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %%
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

from course_utils import data, generate, lab, load_model, plots, scoring, tables, weights

lab.start(
    "06_in_context_learning",
    exercises=[
        "continuation_logprob",
        "few_shot_prompt",
        "calibrate",
        "cloze_scores",
        "replaced_tokens",
        "soft_prompt_logits",
        "prefix_cache",
    ],
)
plots.style()

# %% [markdown]
# ## 1 · Zero, one and three examples
#
# @brown2020language gave GPT-3 a task in three ways. **Predict:** how many of the four words will a model that is a
# thousand times smaller translate rightly, with no example, with one, with three?

# %% tags=["experiment"]
MODEL = "course"  # on a T4 with a hub: "HuggingFaceTB/SmolLM2-1.7B-Instruct"
model, tokenizer = load_model(MODEL, precision="fp32")  # we compare to many digits, and train
PAIRS = [("sea otter", "loutre de mer"), ("peppermint", "menthe poivrée"), ("plush giraffe", "girafe peluche")]


def translate(word, examples):
    lines = ["Translate English to French", *(f"{a} => {b}" for a, b in examples), f"{word} =>"]
    return generate(
        model, tokenizer, "\n".join(lines), max_new_tokens=lab.budget(full=8, quick=3), chat=False
    ).split("\n")[0]


english = ["cheese", "bread", "the dog", "thank you"][: lab.budget(full=4, quick=1)]
pd.DataFrame(
    [(word, translate(word, []), translate(word, PAIRS[:1]), translate(word, PAIRS)) for word in english],
    columns=["English", "zero-shot 零样本", "one-shot 单样本", "few-shot 少样本"],
)

# %% [markdown]
# Right would be *fromage*, *pain*, *le chien*, *merci*. Our model finds one of the four, *le chien*, without an example and
# with one. Its answers look French even without an example, so here the examples have no form to add, and they cannot add
# words that it never learnt. GPT-3 has 175 billion parameters; ours has 135 million and read mostly English. In the lecture
# the same model does not look French without an example: there a single line asked for the translation, and the colons and
# line breaks differ. Such details of the form decide.
#
# *Format* (格式约束) is the first use of examples. We ask for JSON, by an instruction and by an instruction with two
# examples:

# %% tags=["experiment"]
ORDER = 'Write the name and the year as JSON with the keys "name" and "year".\n\n'
SHOTS = (
    'Text: Ada Lovelace was born in 1815.\nJSON: {"name": "Ada Lovelace", "year": 1815}\n\n'
    'Text: In 1643 Isaac Newton came into the world.\nJSON: {"name": "Isaac Newton", "year": 1643}\n\n'
)
PEOPLE = {"Alan Turing": 1912, "Marie Curie": 1867, "Lu Xun": 1881, "Jane Austen": 1775}
FORMS = ("{0} was born in {1}.", "The year {1} saw the birth of {0}.")


def judge(answer, name, year):
    """(does it begin with JSON of both keys?, are both values right?, does the JSON stand on one line?)"""
    try:
        found, end = json.JSONDecoder().raw_decode(answer)
    except ValueError:
        return False, False, False
    keys = isinstance(found, dict) and set(found) == {"name", "year"}
    return keys, keys and (found["name"], str(found["year"])) == (name, str(year)), keys and "\n" not in answer[:end]


rows = []
chosen = list(zip(list(PEOPLE.items())[: lab.budget(full=4, quick=1)], itertools.cycle(FORMS), strict=False))
for way, start in {"order": ORDER, "order + 2 examples": ORDER + SHOTS}.items():
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
    Hint: log_softmax over the vocabulary; the first token of the answer is foretold by the last one of the prompt.
    """
    ### BEGIN SOLUTION
    ids = torch.tensor([prompt + answer], device=model.device)
    logs = model(ids).logits[0].float().log_softmax(-1)
    places = torch.arange(len(prompt) - 1, ids.shape[1] - 1, device=model.device)
    return float(logs[places, ids[0, len(prompt) :]].sum())
    ### END SOLUTION

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

# %%
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
# ### Your turn: the prompt

# %% tags=["exercise:few_shot_prompt"]
def few_shot_prompt(examples, text, instruction=""):
    """The prompt for one text.

    examples: list of (text, label), both str, in the order in which they shall stand; may be empty. text: str.
    instruction: str; if it is not empty, the first line, followed by an empty line.
    Each example is "Review: {text}\\nSentiment: {label}\\n\\n"; at the end stands "Review: {text}\\nSentiment:" with no
    blank after the colon, since the tokens of the answers begin with one. Returns str.

    Example: few_shot_prompt([("Bad.", "negative")], "Good!") is
    "Review: Bad.\\nSentiment: negative\\n\\nReview: Good!\\nSentiment:".
    """
    ### BEGIN SOLUTION
    head = f"{instruction}\n\n" if instruction else ""
    shots = "".join(f"Review: {shown}\nSentiment: {label}\n\n" for shown, label in examples)
    return f"{head}{shots}Review: {text}\nSentiment:"
    ### END SOLUTION

# %% tags=["tests:few_shot_prompt:1"]
with lab.test("few_shot_prompt"):
    got = few_shot_prompt([("Bad.", "negative")], "Good!")
    want = "Review: Bad.\nSentiment: negative\n\nReview: Good!\nSentiment:"
    assert got == want, f"should be\n{want!r}\nbut is\n{got!r}"
    got = few_shot_prompt([], "Good!", "Judge.")
    assert got == "Judge.\n\nReview: Good!\nSentiment:", f"with an instruction and no example you give {got!r}"

# %% tags=["hidden:few_shot_prompt:2"]
def probe():
    shots = [("a b", "positive"), ("c", "negative"), ("d", "positive")]
    return [
        few_shot_prompt(shots, "x"),  # because: several examples, without an instruction
        few_shot_prompt(shots[::-1], "x", "Do it:"),  # because: several examples and an instruction
        few_shot_prompt([], ""),  # because: no examples, and an empty text
        few_shot_prompt([("{text}", "{label}")], "{braces}"),  # because: texts and labels with braces in them
    ]


def visible():
    return [few_shot_prompt([("Bad.", "negative")], "Good!"), few_shot_prompt([], "Good!", "Judge.")]

# %% [markdown]
# Each draw of examples makes a different prompt, so one draw is an anecdote. For each number of *shots* (范例数) we take
# several draws, and ask each about its own share of the 200 sentences. The bootstrap resamples *draws*, not sentences,
# because all sentences of one draw share its prompt. There are few draws, so these intervals are too narrow; read them as a
# lower limit of the uncertainty.
#
# The table also shows *ROC AUC* (column "pairs in order"): the share of pairs of a positive and a negative sentence in
# which the positive one has the higher odds. It needs no threshold, so it tells how well the model *sorts*, whichever
# answer it prefers.

# %%
def in_order(odds, y):
    """Share of the pairs of a positive and a negative sentence in which the positive one has the higher odds."""
    odds, y = np.asarray(odds), np.asarray(y) == 1
    return float((odds[y][:, None] > odds[~y]).mean())

# %% tags=["experiment"]
SENTENCES, POOL = clear_sentences(200, 400)
SENTENCES = SENTENCES[: lab.budget(full=200, quick=6)]
DRAWS = lab.budget(full=8, quick=2)


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


def run(shots, change=lambda examples: examples, count=None):
    """One row a sentence: draw, label, and log-probabilities of both answers, also of them after "N/A"."""
    rows = []
    for draw, part in enumerate(np.array_split(np.arange(count or len(SENTENCES)), DRAWS)):
        examples = change(pick(shots, draw))
        sentences = [SENTENCES[i] for i in part]
        logs = classify(examples, [*sentences, ("N/A", 0)])
        rows += [(draw, y, *log, *logs[-1]) for (_, y), log in zip(sentences, logs, strict=False)]
    return pd.DataFrame(rows, columns=["draw", "label", "negative", "positive", "na_negative", "na_positive"])

# %% tags=["experiment"]
def accuracy(frame):
    """(accuracy, low, high), the interval over draws (over sentences where there is one draw)."""
    right = ((frame["positive"] > frame["negative"]) == (frame["label"] == 1)).rename("right")
    by = right.groupby(frame["draw"]).mean() if frame["draw"].nunique() > 1 else right
    return scoring.bootstrap(by.reset_index(), lambda f: float(f["right"].mean()))


numbers = lab.budget(full=(0, 4, 8, 16), quick=(0, 8))
by_shots = {shots: run(shots) for shots in tqdm(numbers, desc="shots", leave=False)}
table = {}
for shots, frame in by_shots.items():
    value, low, high = accuracy(frame.assign(draw=0) if shots == 0 else frame)
    pairs = [in_order(f["positive"] - f["negative"], f["label"]) for _, f in frame.groupby("draw")]
    says = (frame["positive"] > frame["negative"]).groupby(frame["draw"]).mean()
    table[shots] = {"accuracy": value, "low": low, "high": high, "pairs in order": np.mean(pairs)}
    table[shots] |= {"says positive": says.mean(), "least": says.min(), "most": says.max()}
shots_table = pd.DataFrame(table).T.rename_axis("shots")
shots_table.round(2)

# %% [markdown]
# **Predict** before you look at the plot: is it the accuracy that grows with the shots, or something else?

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(9, 4.2))
x = np.arange(len(shots_table))
spread = [shots_table["accuracy"] - shots_table["low"], shots_table["high"] - shots_table["accuracy"]]
ax.errorbar(x, shots_table["accuracy"], spread, color=plots.COLORS[1], marker="o", capsize=5, label="accuracy")
ax.plot(x, shots_table["pairs in order"], color=plots.COLORS[0], linestyle="-.", marker="^", label="pairs in order")
ax.plot(x, shots_table["says positive"], color=plots.COLORS[2], linestyle="--", marker="s", label='says "positive"')
ax.fill_between(x, shots_table["least"], shots_table["most"], color=plots.COLORS[2], alpha=0.15, label="… least and most")
ax.axhline(0.5, color="grey", linestyle=":", linewidth=1)
ax.set_xticks(x, shots_table.index)
ax.set(title=f"{len(SENTENCES)} sentences, 95 % intervals over draws", ylim=(0, 1))
ax.set(xlabel="examples in the prompt", ylabel="share")
ax.legend(loc="lower left", ncols=2, fontsize=11)
plt.show()

# %% [markdown]
# Neither grows steadily. The ROC AUC is about the same with examples and without: the model *sorts* these sentences well
# without any example, and examples do not make it sort better. What they change is the threshold. Look at the band: with
# eight examples, half of them positive, one draw makes the model call nearly no sentence positive, another most of them.
# Accuracy is high where the threshold happens to lie in the middle, and it is lowest with four examples, where most draws
# push the threshold to one side. @brown2020language show curves that rise, for models up to a thousand times larger.
#
# ## 4 · What is read in the examples?
#
# ### Order
#
# The same four examples, in different orders [@lu2022fantastically]. **Predict:** the accuracy after the best order and
# after the worst?

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
# The last label biases the answer (*recency bias*, 近因偏差, @zhao2021calibrate): after − + + − and + + − − the model
# hardly says "positive", after − − + + and + − − + almost always. With alternating labels it says both about equally often,
# and its accuracy is highest. So the order alone decides between chance and a good result. (One set of four examples, 30
# sentences: other sets may behave differently.) With none or four positive examples of four the model mostly repeats the
# label that it read (*majority label bias*, 多数标签偏差).
#
# ### Your turn: calibrate
#
# @zhao2021calibrate measure the bias with the model itself: put a text without content in place of the sentence. What the
# model then prefers is a bias of the prompt. Divide by it. They average over three such texts: "N/A", "[MASK]" and the
# empty string.

# %% tags=["exercise:calibrate"]
def calibrate(logprobs, content_free):
    """Contextual calibration.

    logprobs: float array (n, c), log-probabilities of c answers for n texts; they need not sum to 1 over the answers.
    content_free: float array (m, c), the same for m texts without content. Turn every row into probabilities that
    sum to 1 over the c answers; average those of content_free over the m texts; divide each text's
    probabilities by that average, and make each row sum to 1 again. Returns float array (n, c).

    Example: logprobs [[ln 0.3, ln 0.1]], content_free [[ln 0.6, ln 0.2]]: 0.75, 0.25 for the text and for no text:
    [[0.5, 0.5]].
    Hint: subtract the row's maximum before np.exp, for numbers such as -1000 and -1001.
    """
    ### BEGIN SOLUTION
    def normal(logs):
        p = np.exp(logs - logs.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    q = normal(np.asarray(logprobs, float)) / normal(np.asarray(content_free, float)).mean(0)
    return q / q.sum(1, keepdims=True)
    ### END SOLUTION

# %% tags=["tests:calibrate:1"]
with lab.test("calibrate"):
    got = calibrate(np.log([[0.3, 0.1]]), np.log([[0.6, 0.2]]))
    assert np.allclose(got, [[0.5, 0.5]]), f"the example gives [[0.5, 0.5]], not {got}"
    got = calibrate(np.log([[0.2, 0.2], [0.8, 0.1]]), np.log([[0.09, 0.01]]))
    want = np.array([[0.1, 0.9], [8 / 17, 9 / 17]])
    assert np.allclose(got, want), f"against a free text of 0.9, 0.1 the answers are {want.round(3)}, not {got}"
    got = calibrate(np.array([[-1000.0, -1001.0]]), np.array([[-1.0, -2.0]]))
    assert np.allclose(got, [[0.5, 0.5]]), f"the row -1000, -1001 gives {got}; subtract the maximum first"

# %% tags=["hidden:calibrate:2"]
def probe():
    g = np.random.default_rng(9)
    logs, free = -8 * g.random((6, 3)), -8 * g.random((4, 3))  # the mean of probabilities is not that of their logs
    return [
        calibrate(logs, free),  # because: several texts, and several texts without content
        calibrate(logs[:1] - 700, free[:1]),  # because: very small log-probabilities, of one text
        calibrate(logs[:, :2], free[:2, :2]),  # because: another number of answers
    ]


def visible():
    return [
        calibrate(np.log([[0.3, 0.1]]), np.log([[0.6, 0.2]])),
        calibrate(np.log([[0.2, 0.2], [0.8, 0.1]]), np.log([[0.09, 0.01]])),
        calibrate(np.array([[-1000.0, -1001.0]]), np.array([[-1.0, -2.0]])),
    ]

# %% [markdown]
# The same function serves a later proposal: *batch calibration* [@zhou2024batch] uses the unlabelled sentences themselves
# in place of texts without content. It needs many of them, and labels that are about equally frequent. **Predict:** which
# of the two raises the accuracy, and where most: at 0, 4, 8 or 16 shots? (Here we use "N/A" alone.)

# %% tags=["experiment"]
def calibrated(frame, by="N/A"):
    """The same table with the answers' probabilities after calibration, draw by draw; by "N/A" or by "all sentences"."""
    parts = []
    for _, rows in frame.groupby("draw"):
        logs, empty = rows[["negative", "positive"]].to_numpy(), rows[["na_negative", "na_positive"]].to_numpy()[:1]
        q = calibrate(logs, empty if by == "N/A" else logs)
        parts.append(rows.assign(negative=q[:, 0], positive=q[:, 1]))
    return pd.concat(parts)


def right(frame):
    return ((frame["positive"] > frame["negative"]) == (frame["label"] == 1)) * 1.0


table = {}
for shots, frame in by_shots.items():
    table[shots] = {"as it is": right(frame).mean().round(2)}
    for by in ("N/A", "all sentences"):
        after = pd.DataFrame({"draw": frame["draw"], "gain": right(calibrated(frame, by)) - right(frame)})
        after = after.groupby("draw").mean() if shots else after
        gain, low, high = scoring.bootstrap(after, lambda f: float(f["gain"].mean()), n=500)
        table[shots][f"by {by}"] = (right(frame).mean() + gain).round(2)
        table[shots][f"gain by {by}"] = f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]"
pd.DataFrame(table).T.rename_axis("shots")

# %% [markdown]
# At full size "N/A" alone gains nowhere, and lowers the accuracy without examples and with sixteen (both intervals are
# below 0). This is no verdict on the method of Zhao et al., who average over three texts without content and report gains
# of up to 30 points for GPT-3. It shows that one such text can be a bad estimate of the bias that acts on real sentences.
# You can try the three yourself: `calibrate` takes any number of rows.
#
# The sentences themselves are a better estimate: the gain is largest at four shots, where the accuracy was lowest, and no
# interval shows a loss. Afterwards the accuracy is about the same for all numbers of shots. So most of what the number of
# shots seemed to do was to move the threshold. (Half of our sentences are positive, as batch calibration assumes.)
#
# ### Falsified labels
#
# If the model *learnt* the task from the examples, false labels would teach it the opposite. @min2022rethinking found that
# random labels hardly hurt; @wei2023larger, that only large models follow flipped ones. **Predict:** the accuracy of our
# model after eight examples with flipped labels?

# %% tags=["experiment"]
def flipped(examples):
    return [(text, 1 - label) for text, label in examples]


falsified = {"true labels": by_shots[8], "flipped labels": run(8, flipped, 2 * len(SENTENCES) // 5)}
table = {}
for name, frame in falsified.items():
    for way, f in (("as it is", frame), ("by all sentences", calibrated(frame, "all sentences"))):
        value, low, high = accuracy(f)
        table.setdefault(name, {})[way] = f"{value:.2f} [{low:.2f}, {high:.2f}]"
pd.DataFrame(table).T.rename_axis("8 examples")

# %% [markdown]
# With flipped labels the accuracy stays far above one half, before calibration and after it: the model does not follow
# them. It keeps to what the word "positive" means. Whether true labels are a little better than flipped ones we cannot
# tell: the intervals overlap. This agrees with Min et al. (random labels) and with J. Wei et al., who saw only large models
# follow flipped labels; that our model does not follow them *because* it is small is not tested here.
#
# ## 5 · Prompting encoders: fill in the blank
#
# An encoder was trained to fill in masked words. So make the task a blank: "It was [MASK]." and compare the words *great*
# and *terrible* there. The words are the *verbalizer* (标签词映射) of the labels [@schick2021exploiting].
#
# With a model hub: `load_model("roberta-base", task="masked-lm")` and `load_model("electra-small")`. Without one, we take
# MiniLM's body as it is and train the two heads that it lacks, on movie sentences that are neither in the test nor among
# the examples, and without labels. Some minutes of training are not enough for all words of English, so we mask only words
# of feeling (as @tian2020skep do), and the head knows no others. VADER's lexicon lists these words; what they mean the head
# must learn from the sentences.
#
# The next cell is folded; click it to read the code. `MaskedHead` is BERT's head for masked words. `train_head` trains a
# head on the states that the frozen body has computed once.

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

# %% tags=["experiment"]
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

# %% tags=["experiment"]
@torch.inference_mode()
def body(ids, mask):
    return encoder(input_ids=ids, attention_mask=mask)[0]


masked, g = [], torch.Generator().manual_seed(0)
for start in tqdm(range(0, len(texts), 64), desc="reading", leave=False):
    batch = words(texts[start : start + 64], padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    hidden = (place[ids] >= 0) & (torch.rand(ids.shape, generator=g) < 0.5)
    masked.append((ids, mask, hidden, body(ids.masked_fill(hidden, words.mask_token_id), mask)[hidden].clone()))
states = torch.cat([part[3] for part in masked])
targets = torch.cat([place[ids[hidden]] for ids, _, hidden, _ in masked])
last = int(0.9 * len(states))
order = torch.randperm(len(states), generator=g)
learnt, held_out = order[:last], order[last:]
embeddings = encoder.get_input_embeddings().weight[FEELING_IDS].detach()
mlm = [
    train_head(MaskedHead(embeddings), states[learnt], lambda out, i: F.cross_entropy(out, targets[learnt][i]), 6, seed)
    for seed in range(3)
]
with torch.inference_mode():
    losses = [F.cross_entropy(head(states[held_out]), targets[held_out]).item() for head in mlm]
frequency = (torch.bincount(targets[learnt], minlength=len(FEELING)) + 0.5).log().log_softmax(0)
by_frequency = F.nll_loss(frequency.expand(len(held_out), -1), targets[held_out])
print(f"nats a held-out word, three heads: {np.round(losses, 2)}; by frequency alone: {by_frequency:.2f}")

# %% [markdown]
# ### Your turn: the blank
#
# Several words may stand for one label ("great", "good", "fine"): take the mean of their logits, then a softmax over the
# labels.

# %% tags=["exercise:cloze_scores"]
def cloze_scores(logits, ids, mask_id, verbalizer):
    """Probabilities of the labels from a masked language model.

    logits: float32 tensor (n, T, V). ids: int64 tensor (n, T), with mask_id exactly once in each row. verbalizer: list
    of c lists of token ids, the words of each label. For each text take the logits at the place of its mask, the mean
    over the words of each label, and a softmax over the labels. Returns float32 tensor (n, c).

    Example: logits of 2.0 for the words 5 and 6 and of 0.0 for all others, verbalizer [[5, 6], [7]]:
    softmax([2, 0]) = [0.881, 0.119].
    Hint: (ids == mask_id).int().argmax(1) is the place.
    """
    ### BEGIN SOLUTION
    at = (ids == mask_id).int().argmax(1)
    there = logits[torch.arange(len(ids), device=ids.device), at]
    return torch.stack([there[:, list(group)].mean(1) for group in verbalizer], 1).softmax(1)
    ### END SOLUTION

# %% tags=["tests:cloze_scores:1"]
with lab.test("cloze_scores"):
    logits = torch.zeros(2, 4, 9)
    logits[0, 2, [5, 6]] = 2.0
    logits[1, 1, 7] = 1.0
    got = cloze_scores(logits, torch.tensor([[1, 2, 8, 2], [1, 8, 2, 2]]), 8, [[5, 6], [7]])
    want = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).softmax(1)
    lab.expect_close(got, want, "probabilities", atol=1e-5)

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
    return cloze_scores(logits, torch.tensor([[1, 2, 8, 2], [1, 8, 2, 2]]), 8, [[5, 6], [7]])

# %% tags=["experiment"]
WORDS = {"one word": (["terrible"], ["great"]), "three words": (["terrible", "bad", "dull"], ["great", "good", "fun"])}
TEMPLATES = ["{} It was [MASK].", "{} A [MASK] movie.", "It was [MASK]. {}"]
filled = [*(text for text, _ in SENTENCES), "N/A", "", "."]  # the last three to calibrate with


def at_blank(template, word="[MASK]"):
    """The body's states (n + 3, d) at the blank, which holds a word or the mask."""
    blanks = [template.format(text) for text in filled]
    at = words(blanks, padding=True, return_tensors="pt")["input_ids"] == words.mask_token_id
    batch = words([blank.replace("[MASK]", word) for blank in blanks], padding=True, return_tensors="pt")  # as many tokens
    return body(batch["input_ids"], batch["attention_mask"])[at].clone()


def judged(runs):
    """Accuracy as it is and calibrated by texts without content and by all sentences, and the share of pairs in order.

    runs: for each seed, float array (n + 3, 2), log-probabilities of "negative" and "positive"."""
    y, row = np.array([label for _, label in SENTENCES]), []
    for free in (lambda logs: np.zeros((1, 2)), lambda logs: logs[-3:], lambda logs: logs[:-3]):
        scored = [calibrate(logs[:-3], free(logs)) for logs in runs]  # equal logarithms change nothing
        row.append(with_interval(np.mean([scores.argmax(1) == y for scores in scored], 0)))
    return [*row, np.mean([in_order(logs[:-3, 1] - logs[:-3, 0], y) for logs in runs])]


def with_interval(right):
    value, low, high = scoring.bootstrap(pd.DataFrame({"right": right}), lambda f: float(f["right"].mean()), n=500)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"

# %% tags=["experiment"]
rows = []
for template in TEMPLATES:
    states_ = at_blank(template)
    for name, groups in WORDS.items():
        verbalizer, blank = [[FEELING.index(word) for word in group] for group in groups], torch.zeros(len(filled), 1)
        with torch.inference_mode():
            runs = [cloze_scores(head(states_)[:, None], blank.long(), 0, verbalizer).log().numpy() for head in mlm]
        rows.append((template, name, *judged(runs)))
by_cloze = pd.DataFrame(rows, columns=["template", "words", "accuracy", "by N/A", "by all", "pairs in order"])
by_cloze.style.hide().format(precision=2)

# %% [markdown]
# Without calibration the cloze gives the same label to nearly all sentences, so its accuracy is at chance: of two words one
# is more frequent, and it wins. Calibration removes the frequency, by texts without content or by the sentences; both are
# above chance at full size. About three of four pairs are in the right order (ROC AUC), although these heads never saw a
# label and their loss is hardly below that of the word frequencies alone. RoBERTa-large, prompted with the first template
# and not tuned, has an accuracy of 0.84 on SST-2 [@gao2021making].
#
# ### ELECTRA's way
#
# ELECTRA [@clark2020electra] trains a *discriminator* (判别器): a small masked model replaces some words by its own
# guesses, and the discriminator says of *every* word whether it was replaced. One trap: sometimes the guess is the original
# word. Then it was not replaced.

# %% tags=["exercise:replaced_tokens"]
def replaced_tokens(ids, hidden, guesses):
    """Input and labels for a discriminator.

    ids: int64 tensor (n, T). hidden: bool tensor (n, T), the places where the generator guessed. guesses: int64 tensor
    (number of True in hidden,), its guesses, in the order of ids[hidden]. Returns (corrupted, labels): int64 (n, T), ids
    with the guesses put in, a new tensor; and float32 (n, T), 1.0 where corrupted differs from ids, else 0.0.

    Example: ids [[5, 6, 7]], hidden [[1, 0, 1]], guesses [5, 9]: corrupted [[5, 6, 9]], labels [[0, 0, 1]].
    Hint: clone, then assign to corrupted[hidden].
    """
    ### BEGIN SOLUTION
    corrupted = ids.clone()
    corrupted[hidden] = guesses
    return corrupted, (corrupted != ids).float()
    ### END SOLUTION

# %% tags=["tests:replaced_tokens:1"]
with lab.test("replaced_tokens"):
    ids = torch.tensor([[5, 6, 7]])
    corrupted, labels = replaced_tokens(ids, torch.tensor([[True, False, True]]), torch.tensor([5, 9]))
    lab.expect_close(corrupted, torch.tensor([[5, 6, 9]]), "corrupted")
    lab.expect_close(labels, torch.tensor([[0.0, 0.0, 1.0]]), "labels (a right guess is no replacement)")
    assert ids.tolist() == [[5, 6, 7]], "ids itself should not change"

# %% tags=["hidden:replaced_tokens:2"]
def probe():
    g = torch.Generator().manual_seed(6)
    ids = torch.randint(0, 6, (4, 9), generator=g)
    hidden = torch.rand(4, 9, generator=g) < 0.5
    kept = ids.clone()
    corrupted, labels = replaced_tokens(ids, hidden, torch.randint(0, 6, (int(hidden.sum()),), generator=g))
    none = replaced_tokens(kept.clone(), torch.zeros_like(hidden), torch.zeros(0, dtype=torch.long))
    return {
        "corrupted": corrupted,  # because: the corrupted tokens, in several texts
        "labels": labels,  # because: the labels, also where a guess happens to be the true token
        "none": [*none],  # because: texts in which no place is hidden
        "ids after": bool((kept == ids).all()),  # because: the ids you were given, which must stay as they were
    }


def visible():
    ids = torch.tensor([[5, 6, 7]])
    answer = replaced_tokens(ids, torch.tensor([[True, False, True]]), torch.tensor([5, 9]))
    return [*answer, bool((ids == torch.tensor([[5, 6, 7]])).all())]

# %% tags=["experiment"]
states, labels, g = [], [], torch.Generator().manual_seed(1)
for ids, mask, hidden, there in tqdm(masked[::2], desc="reading", leave=False):
    with torch.inference_mode():  # the generator guesses by chance, from its own distribution
        guesses = FEELING_IDS[torch.multinomial(mlm[0](there).softmax(1), 1, generator=g)[:, 0]]
    corrupted, replaced = replaced_tokens(ids, hidden, guesses.clone())
    feeling = place[ids] >= 0  # elsewhere nothing is ever replaced
    states.append(body(corrupted, mask)[feeling].clone())
    labels.append(replaced[feeling])
states, labels = torch.cat(states), torch.cat(labels)
size = encoder.config.hidden_size


def replaced_head():
    return torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.GELU(), torch.nn.Linear(size, 1), torch.nn.Flatten(0))


def loss_of(out, i):
    return F.binary_cross_entropy_with_logits(out, labels[learnt][i])


order = torch.randperm(len(states), generator=g)
learnt, held_out = order[: int(0.9 * len(states))], order[int(0.9 * len(states)) :]
discriminators = [train_head(replaced_head(), states[learnt], loss_of, 5, seed) for seed in range(3)]
with torch.inference_mode():
    flags = [head(states[held_out]) > 0 for head in discriminators]
found = [float(flag[labels[held_out] > 0].float().mean()) for flag in flags]
wrongly = [float(flag[labels[held_out] == 0].float().mean()) for flag in flags]
print(f"of the replaced words it flags {np.mean(found):.2f}, of the original ones {np.mean(wrongly):.2f}")

# %% [markdown]
# The prompt: put each label's word into the blank and ask which looks more like an original [@xia2022prompting].

# %% tags=["experiment"]
rows = {}
for template in TEMPLATES:
    pair = [at_blank(template, word) for word in ("terrible", "great")]
    with torch.inference_mode():
        runs = [torch.stack([F.logsigmoid(-head(s)) for s in pair], 1).numpy() for head in discriminators]
    rows[template, "discriminator"] = judged(runs)
    row = by_cloze[(by_cloze["template"] == template) & (by_cloze["words"] == "one word")]
    rows[template, "masked model"] = row[["accuracy", "by N/A", "by all", "pairs in order"]].to_numpy()[0]
both = pd.DataFrame(rows, index=["accuracy", "by N/A", "by all", "pairs in order"]).T.rename_axis(["template", "encoder"])
both.style.format(precision=2)

# %% [markdown]
# Without calibration the discriminator is slightly above chance. A possible reason: it compares two whole sentences, so the
# frequency of a word matters less. But its ROC AUC is lower than the masked model's, and calibration by "N/A" does not
# raise its accuracy. Xia et al. found the reverse for models of full size: prompted ELECTRA was better than prompted masked
# models. Ours are two small heads on a body that was trained for neither, so this compares our heads, not the methods.
#
# ## 6 · Let the gradient write the prompt
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
    the soft prompt. Returns the logits of the T tokens alone, float (n, T, V); gradients flow to soft.

    Example: with the embeddings of the tokens 3 and 4 as soft, the logits are those that the model gives for the
    text after the tokens 3 and 4.
    Hint: soft.expand(n, -1, -1), torch.cat along dim 1, for the mask too; then cut off the first k places.
    """
    ### BEGIN SOLUTION
    n, k = len(ids), len(soft)
    vectors = torch.cat([soft.expand(n, -1, -1), model.get_input_embeddings()(ids)], 1)
    seen = torch.cat([mask.new_ones(n, k), mask], 1)
    return model(inputs_embeds=vectors, attention_mask=seen).logits[:, k:]
    ### END SOLUTION

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

# %% tags=["hidden:soft_prompt_logits:3"]
def probe():
    llama, g = small_llama(5), torch.Generator().manual_seed(2)
    soft = torch.randn(3, 16, generator=g).requires_grad_()
    ids, mask = torch.randint(40, (2, 5), generator=g), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    logits = soft_prompt_logits(llama, soft, ids, mask)
    real = logits * mask[..., None]  # what stands in padding is nobody's business
    real.square().mean().backward()
    return {
        "shape": list(logits.shape),  # because: the shape of the logits
        "logits": real.detach(),  # because: texts of different lengths in one batch, with padding on the right
        "gradient": soft.grad,  # because: the gradient that flows to the soft prompt
    }


def visible():
    llama = small_llama(4)
    soft = llama.get_input_embeddings()(torch.tensor([3, 4])).detach()
    ids = torch.tensor([[5, 6, 7], [8, 9, 1]])
    return soft_prompt_logits(llama, soft, ids, torch.ones_like(ids)).detach()

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
    Hint: view as (k, layers, 2, heads, dim), permute, expand.
    """
    ### BEGIN SOLUTION
    k = len(table)
    parts = table.view(k, layers, 2, heads, -1).permute(1, 2, 3, 0, 4)  # layers, 2, heads, k, dim
    return [(part[0].expand(batch, -1, -1, -1), part[1].expand(batch, -1, -1, -1)) for part in parts]
    ### END SOLUTION

# %% tags=["tests:prefix_cache:1"]
with lab.test("prefix_cache"):
    ((key, value),) = prefix_cache(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), 1, 2, 1)
    lab.expect_close(key, torch.tensor([[[[1.0]], [[2.0]]]]), "key")
    lab.expect_close(value, torch.tensor([[[[3.0]], [[4.0]]]]), "value")
    got = prefix_cache(torch.arange(48.0).view(2, 24), 2, 3, 5)
    assert len(got) == 2 and tuple(got[1][0].shape) == (5, 3, 2, 2), "two layers; keys (batch, heads, k, dim) = (5, 3, 2, 2)"
    lab.expect_close(got[1][0][4, 2, 1], torch.tensor([40.0, 41.0]), "layer 2, key, head 3, place 2")

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

# %% tags=["experiment"]
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
    """Losses, and how many numbers are trained."""
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
        "numbers trained": count,
        "loss, step 1": ours[0],
        "loss, step 10": ours[-1],
        "largest difference to PEFT": np.abs(np.subtract(ours, theirs)).max(),
    }
pd.DataFrame(table).T.style.format({"numbers trained": "{:.0f}", "largest difference to PEFT": "{:.0e}"}, precision=3)

# %% [markdown]
# ### By hand or by gradient?
#
# Now the real model and the real task, with *equally many places in the context*: a prompt of 15 tokens is replaced by 15
# vectors, or by 15 keys and values in each layer. They are *initialized* from that prompt, so before the first step all
# three give the same answers. **Predict:** what will training improve more, the ROC AUC or the threshold?
#
# The next two cells are folded; click them to read the code. In the first, `beginning` computes the initialization from an
# instruction, and `at_answer` gives the logits where the two answers differ. In the second, `tune` trains these parameters,
# and `odds` scores texts with them.

# %% tags=["hide-input"]
INSTRUCTION = "Decide if this movie review is positive or negative in tone."
METHODS = {"prompt tuning": (soft_prompt_logits, 0.01), "prefix tuning": (prefix_logits, 0.01)}  # with the learning rate


def cut(text, instruction=INSTRUCTION):
    """Token ids of a prompt, in two lists: those of its instruction, and the rest, which is the same for all of them."""
    whole, bare = (tokenizer(few_shot_prompt([], text, i))["input_ids"] for i in (instruction, ""))
    same = len(os.path.commonprefix([whole[::-1], bare[::-1]]))
    return whole[:-same], whole[-same:]


def beginning(method, instruction=INSTRUCTION):
    """The numbers to train: what the model makes of an instruction's words; for "random" as many, drawn at random."""
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
model.requires_grad_(False)
part, learn = SENTENCES[: lab.budget(full=60, quick=4)], POOL[: lab.budget(full=64, quick=4)]
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
# their odds. The interval is over sentences, the gain is paired.

# %% tags=["experiment"]
y, table = np.array([label == 1 for _, label in part]), {}
both = pd.DataFrame({name: (found > 0) == y for name, found in answers.items()}).astype(float)
for name, found in answers.items():
    gain, low, high = scoring.bootstrap(both, lambda f, name=name: float((f[name] - f["by hand"]).mean()))
    table[name] = {
        "numbers trained": trained[name],
        "accuracy": with_interval(both[name]),
        "gain": f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]",
        "pairs in order": round(in_order(found, y), 2),
        "says positive": round((found > 0).mean(), 2),
    }
pd.DataFrame(table).T

# %% [markdown]
# One seed can be luck, too. The command `python chapters/06_in_context_learning/prompts.py` ran these functions again on
# all 200 sentences, with other training sentences for each seed, and wrote the results into a table of the course. `random`
# is an initialization by random numbers. The intervals are over three seeds: three values are few, so read them as their
# spread.

# %% tags=["experiment"]
trained_prompts = tables.load("continuous_prompts")
table = {}
for key, rows in trained_prompts.groupby(["method", "start"], sort=False):
    table[key] = {"seeds": len(rows)}
    for column in ("accuracy", "pairs_in_order", "says_positive"):
        value, low, high = scoring.bootstrap(rows, lambda f, c=column: float(f[c].mean()), n=lab.budget(full=300, quick=20))
        text = f"{value:.2f} [{low:.2f}, {high:.2f}]" if len(rows) > 1 else f"{value:.2f}"
        table[key][column.replace("_", " ")] = text
pd.DataFrame(table).T.rename_axis(["method", "start"]).style

# %% [markdown]
# - **Words.** Four instructions differ by 0.06 in accuracy, and each has a lower one than the prompt without an instruction
#   (section 3): with them the model says "positive" too often. Their ROC AUC is nearly the same, 0.95 to 0.97.
# - **Gradient.** Prompt tuning and prefix tuning raise the accuracy by about 0.15 from their initialization. Most of it is
#   again the threshold: moved with the same 64 labels, without a gradient, it gives 0.87, and the trained prompts give
#   0.89. With three seeds we cannot tell whether the trained prompts are better than that.
# - **Initialization.** From random numbers, prompt tuning comes near in 30 steps. The prefix does not (0.56). It has many
#   more parameters, in every layer, and 30 steps at our learning rate may simply be too few; we tried no other setting.
#   @li2021prefix, too, found direct training of a prefix unstable and an initialization from real words better.
#
# So on this task, which the model can do already, most of what training adds is a better threshold. For comparison: sixteen
# examples take some 300 tokens in each request and reach a similar accuracy.
#
# ## 7 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Read the soft prompt.** For each trained vector find the nearest word of the vocabulary (cosine). Is it still the word
#   from which it was initialized?
# - **Induction heads.** Score every head as in the lecture, set the output of the best five to its *mean* over other texts
#   instead of zero, and compare with twenty random fives: the loss on copied tokens, and the ROC AUC with eight examples.
# - **Choose the examples.** Take for each sentence the four most similar ones of the pool (MiniLM's embeddings) in place of
#   random ones. What happens to the accuracy, and to the interval over draws?
# - **Unequal labels.** Batch calibration assumes that both answers are about as frequent. Leave out three quarters of the
#   positive sentences: what does it do now? And with 5 sentences instead of 25?
# - **Tune the cloze** (LM-BFF, @gao2021making): train the masked model with the template on 32 labelled sentences, against
#   a new head on the same 32.
# - **Another task.** Give the examples labels that mean nothing ("foo", "bar"): how many shots until it sorts them?
# - **A larger model**, on a T4: change `MODEL`, at the beginning of the lab, and run it all again. Does it follow flipped
#   labels?

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
# - [@clark2020electra]
# - [@xia2022prompting]
# - [@tian2020skep]
# - [@li2021prefix]
# - [@lester2021power]
# - [@pang2005seeing]
# - [@hutto2014vader]: the sentences and their scores
