# %% [markdown]
# # Lab 08 · Does thinking aloud help, and is it what the model thinks?
#
# **Ten friends play a game online, seven quit, each one left has eight lives: how many lives?** A model that must answer at
# once may say 80. If it writes down its steps, a large model says 24. Why should *writing* help a machine to calculate?
# When does it not? And if the steps look right, did the answer come from them? You will prompt a real model in several
# styles, then train small transformers from scratch with and without steps, at equal compute, and change their chains.
#
# You will
#
# 1. generate word problems with exact answers, and take answers out of free text,
# 2. prompt a real model for an answer or a *chain of thought* (思维链), *zero-shot* (零样本) and *few-shot* (少样本), and
#    give intervals,
# 3. vote over sampled chains: *self-consistency* (自洽性),
# 4. train transformers on arithmetic of several steps, with and without the chain, for the same FLOPs,
# 5. corrupt a chain and see whether the answer follows: *faithfulness* (忠实性).
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %%
import copy
import itertools
import os
import random
import re
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import generate, lab, load_model, plots, scoring

lab.start(
    "08_chain_of_thought",
    exercises=[
        "word_problem",
        "extract",
        "build_prompt",
        "vote",
        "training_rows",
        "plan",
        "corrupt",
    ],
)
plots.style()

# %% [markdown]
# The ten friends first. **Predict:** what will a model of 135 million parameters answer, and will steps help it?
#
# The course model was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. Sections 3, 4 and the
# end of 6 are about that copy; how the original differs we have not measured. (The models of section 5 are trained here,
# without that.)

# %% tags=["experiment"]
MODEL = "course"  # on a T4 with a hub: "HuggingFaceTB/SmolLM2-1.7B-Instruct"
model, tokenizer = load_model(MODEL)
FRIENDS = (
    "There were 10 friends playing a video game online when 7 players quit. "
    "If each player left had 8 lives, how many lives did they have total?"
)
for tail, length in ((" The answer is", lab.budget(full=6, quick=2)), (" Let's think step by step.", lab.budget(full=70, quick=5))):
    said = generate(model, tokenizer, f"Q: {FRIENDS}\nA:{tail}", chat=False, max_new_tokens=length)
    print(f"A:{tail} … {said}\n")
print("as a message in a chat:", generate(model, tokenizer, FRIENDS, max_new_tokens=lab.budget(full=70, quick=5)))

# %% [markdown]
# Right would be 24; none of the three answers is. But one problem is an anecdote. We need many, and we need to know their
# answers for certain.
#
# ## 1 · Problems with exact answers
#
# GSM8K [@cobbe2021training] has 8,500 problems written by people; many models may have read them by now. Ours are made here
# by a program: a story with a number and some steps, each one sentence. The answer is exact, and the number of steps and
# the chain are known.

# %%
SENTENCES = {
    "+": "{name} buys {n} more.",
    "-": "{name} loses {n}.",
    "*": "A fairy multiplies them by {n}.",
    "/": "{name} divides them into {n} equal parts and keeps one.",
}

# %% tags=["exercise:word_problem"]
def word_problem(name, thing, start, steps):
    """A story, its chain and its exact answer.

    name, thing: str. start: int, at least 1. steps: list of (operation, n): "+", "-", "*" or "/", and an int of at
    least 1. Returns a dict:
    "question": "{name} has {start} {thing}.", the sentence of each step from SENTENCES, and "How many {thing} does
    {name} have now?", with single blanks between them;
    "chain": for each step "{before} {operation} {n} = {after}.", likewise;
    "answer": int. What somebody has is a whole number of at least 1 at all times: if a step would break that, raise
    ValueError.

    Example: word_problem("Tom", "cards", 10, [("-", 7), ("*", 8)]) has the question "Tom has 10 cards. Tom loses 7.
    A fairy multiplies them by 8. How many cards does Tom have now?", the chain "10 - 7 = 3. 3 * 8 =
    24." and the answer 24.
    Hint: SENTENCES[operation].format(name=name, n=n); "/" must leave no rest.
    """
    ### BEGIN SOLUTION
    question, chain, have = [f"{name} has {start} {thing}."], [], start
    for operation, n in steps:
        if operation == "/" and have % n:
            raise ValueError(f"{have} cannot be shared by {n}")
        after = {"+": have + n, "-": have - n, "*": have * n, "/": have // n}[operation]
        if after < 1:
            raise ValueError(f"{have} - {n} leaves nothing")
        question.append(SENTENCES[operation].format(name=name, n=n))
        chain.append(f"{have} {operation} {n} = {after}.")
        have = after
    question.append(f"How many {thing} does {name} have now?")
    return {"question": " ".join(question), "chain": " ".join(chain), "answer": have}
    ### END SOLUTION

# %% tags=["tests:word_problem:1"]
with lab.test("word_problem"):
    got = word_problem("Tom", "cards", 10, [("-", 7), ("*", 8)])
    want = "Tom has 10 cards. Tom loses 7. A fairy multiplies them by 8. How many cards does Tom have now?"
    assert got["question"] == want, f"the question should be {want!r}, but it is {got['question']!r}"
    want = "10 - 7 = 3. 3 * 8 = 24."
    assert got["chain"] == want, f"the chain should be {want!r}, but it is {got['chain']!r}"
    assert got["answer"] == 24 and isinstance(got["answer"], int), f"the answer is the int 24, not {got['answer']!r}"
    for start, step, why in ((7, ("-", 7), "nobody has 0 of a thing"), (7, ("/", 2), "7 makes no 2 equal piles")):
        try:
            word_problem("Ana", "shells", start, [step])
        except ValueError:
            pass
        else:
            raise AssertionError(f"{start} {step[0]} {step[1]}: {why}, so raise ValueError")

# %% tags=["hidden:word_problem:2"]
def outcome(start, steps):
    try:
        return word_problem("Mia", "stamps", start, steps)
    except ValueError:
        return "ValueError"


def probe():
    return [
        outcome(12, []),  # because: a problem without steps
        outcome(12, [("/", 4), ("+", 5), ("-", 7)]),  # because: several steps, down to the smallest number that is allowed
        outcome(3, [("-", 5), ("+", 9)]),  # because: a step that takes away more than there is, before a step that adds
        outcome(10, [("+", 3), ("/", 4), ("*", 4)]),  # because: a division that leaves a rest, between other steps
        # because: large numbers, then down to the smallest number that is allowed
        outcome(2, [("*", 9), ("*", 9), ("/", 6), ("-", 26)]),
        outcome(5, [("-", 5)]),  # because: a step that takes away all there is
        type(word_problem("Li", "pens", 8, [("/", 2)])["answer"]).__name__,  # because: the type of the answer after a division
    ]


def visible():
    return [
        word_problem("Tom", "cards", 10, [("-", 7), ("*", 8)]),
        *[visible_outcome(7, step) for step in (("-", 7), ("/", 2))],
    ]


def visible_outcome(start, step):
    try:
        return word_problem("Ana", "shells", start, [step])
    except ValueError:
        return "ValueError"

# %% tags=["experiment"]
def draw_problems(count, steps, seed):
    """Easy problems with so many steps, each different: below 10 it grows, else it shrinks."""
    rng, found = random.Random(seed), {}
    while len(found) < count:
        who, what, start, drawn = rng.choice(["Tom", "Ana", "Li"]), rng.choice(["cards", "stamps", "pens"]), rng.randint(3, 11), []
        for _ in range(steps):
            have = word_problem(who, what, start, drawn)["answer"]
            drawn.append((rng.choice("+*") if have < 10 else "-", rng.randint(2, 5)))
        made = word_problem(who, what, start, drawn)
        found[made["question"]] = made | {"steps": steps}
    return list(found.values())


EACH = lab.budget(full=12, quick=1)
problems = [problem for steps in (1, 2, 3) for problem in draw_problems(EACH, steps, seed=steps)]
examples = [draw_problems(1, steps, seed)[0] for steps, seed in ((2, 11), (1, 12))]
print(problems[-1]["question"], "\n", problems[-1]["chain"], problems[-1]["answer"])

# %% [markdown]
# ## 2 · The answer in the text
#
# A chain is free text. Which number in it is the answer? The rule decides the scores, so it must be written down, and it
# must not use the right answer. Models also continue after their answer: they invent a next question, and answer that.

# %% tags=["exercise:extract"]
NUMBER = re.compile(r"(?<!\d)-?\d+(?:,\d{3})*(?:\.\d+)?")  # -3, 1,250.50, 7; the minus of 10-7 is not a sign


def extract(text):
    """The number that a text gives as its answer.

    text: str. Returns float, or None. The rules, in this order:
    1. What begins with a line that starts with "Q:" does not count: cut the text there.
    2. If "answer is" stands in the text, in any case: the first number after its last place.
    3. If it does not, or if no number comes after it: the last number of the text.
    4. No number at all: None.

    Example: extract("10 - 7 = 3. The answer is 24 lives.\\nQ: Tom has 5 ...") is 24.0; extract("3 * 8 = 1,024") is 1024.0.
    Hint: NUMBER.findall(part) lists the numbers of a text as strings; commas go before float(). str.rpartition.
    """
    ### BEGIN SOLUTION
    text = ("\n" + text).partition("\nQ:")[0]
    _, said, after = text.lower().rpartition("answer is")
    numbers = NUMBER.findall(after)[:1] if said else []
    numbers = numbers or NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None
    ### END SOLUTION

# %% tags=["tests:extract:1"]
with lab.test("extract"):
    for text, want in (
        ("10 - 7 = 3. The answer is 24 lives.\nQ: Tom has 5 cards.", 24.0),
        ("3 * 8 = 1,024", 1024.0),
        ("The answer is 80. No: the ANSWER IS 24, as 3 * 8 = 24.", 24.0),
        ("There are 12 cats. The answer is unknown.", 12.0),
        ("10-7", 7.0),
        ("I cannot tell.", None),
    ):
        got = extract(text)
        assert got == want, f"extract({text!r}) should be {want}, but it is {got}"

# %% tags=["hidden:extract:2"]
def probe():
    texts = {
        # because: a text that goes on with a next question and its answer
        "goes on": " 24.\n\nQ: Ana has 7 shells. A: The answer is 9",
        "negative": "the answer is -3.5 or 4",  # because: a negative number with decimals, before another number
        "money": "Answer is: $1,250.50, not 7",  # because: an amount of money, with a comma and decimals
        # because: "Q:" in the middle of a line
        "same line": "10 cards, 3 away; so 7. Is that all? Q: 8",
        # because: "answer is" twice, and several numbers after its last place
        "twice": "The answer is 5. The answer is five, of 6 and 9.",
        # because: "answer is" twice, and no number in digits after its last place
        "in letters": "The answer is 5. The answer is five.",
        "first line": "Q: 3 cards?\nA: 4",  # because: a text whose first line starts with "Q:"
        "commas": "the result is 1,2 and 34,567",  # because: commas between numbers and commas within a number
        "alone": "-8",  # because: nothing but a negative number
        "zero": "0",  # because: nothing but a zero
        "empty": "",  # because: an empty text
        # because: a line that starts with a small "q:"
        "small q": "Thus 6 / 2 = 3.00 each.\nq: 4",
    }
    answers = {name: extract(text) for name, text in texts.items()}
    answers["type"] = type(extract("7")).__name__  # because: the type of the number
    return answers


def visible():
    texts = ["10 - 7 = 3. The answer is 24 lives.\nQ: Tom has 5 cards.", "3 * 8 = 1,024", "10-7", "I cannot tell."]
    more = ["The answer is 80. No: the ANSWER IS 24, as 3 * 8 = 24.", "There are 12 cats. The answer is unknown."]
    return [extract(text) for text in texts + more]

# %% [markdown]
# ## 3 · Every style of prompt
#
# | | answer at once | chain, then answer |
# |---|---|---|
# | zero-shot | "The answer is" | "Let's think step by step." [@kojima2022large] |
# | few-shot | examples with answers | examples with chains [@wei2022chain] |

# %% tags=["exercise:build_prompt"]
def build_prompt(question, style, shots=()):
    """The prompt for a question.

    question: str. style: "answer" or "chain". shots: list of problems as word_problem returns them (dicts with
    "question", "chain", "answer"); none of them: zero-shot. Returns str: for each shot
        Q: {question}
        A: The answer is {answer}.
    (in style "chain": "A: {chain} The answer is {answer}.") and an empty line; then "Q: {question}", a line break, and
    - style "answer", with shots or without: "A: The answer is"
    - style "chain" without shots: "A: Let's think step by step."
    - style "chain" with shots: "A:" (the examples have shown how to go on).
    No blank at the end: it would belong to the next word's token.

    Example: build_prompt("How many?", "chain") is "Q: How many?\\nA: Let's think step by step."
    """
    ### BEGIN SOLUTION
    text = ""
    for shot in shots:
        chain = f"{shot['chain']} " if style == "chain" else ""
        text += f"Q: {shot['question']}\nA: {chain}The answer is {shot['answer']}.\n\n"
    ask = " The answer is" if style == "answer" else "" if shots else " Let's think step by step."
    return f"{text}Q: {question}\nA:{ask}"
    ### END SOLUTION

# %% tags=["tests:build_prompt:1"]
with lab.test("build_prompt"):
    shot = {"question": "1 and 2?", "chain": "1 + 2 = 3.", "answer": 3}
    for style, shots, want in (
        ("answer", [], "Q: How many?\nA: The answer is"),
        ("chain", [], "Q: How many?\nA: Let's think step by step."),
        ("answer", [shot], "Q: 1 and 2?\nA: The answer is 3.\n\nQ: How many?\nA: The answer is"),
        ("chain", [shot], "Q: 1 and 2?\nA: 1 + 2 = 3. The answer is 3.\n\nQ: How many?\nA:"),
    ):
        got = build_prompt("How many?", style, shots)
        assert got == want, f"{style}, {len(shots)} shots: should be\n{want!r}, but is\n{got!r}"

# %% tags=["hidden:build_prompt:2"]
def probe():
    shots = [
        {"question": f"What is {a} and {b}?", "chain": f"{a} + {b} = {a + b}.", "answer": a + b}
        for a, b in ((7, 5), (2, 9), (8, 8))
    ]
    cases = {
        "answer 0": ("answer", 0),  # because: style "answer" without shots
        "answer 1": ("answer", 1),  # because: style "answer" with one shot
        "answer 2": ("answer", 2),  # because: style "answer" with several shots
        "answer 3": ("answer", 3),  # because: style "answer" with several shots
        "chain 0": ("chain", 0),  # because: style "chain" without shots
        "chain 1": ("chain", 1),  # because: style "chain" with one shot
        "chain 2": ("chain", 2),  # because: style "chain" with several shots
        "chain 3": ("chain", 3),  # because: style "chain" with several shots
    }
    return {name: build_prompt("And 4?", style, shots[:n]) for name, (style, n) in cases.items()}


def visible():
    shot = {"question": "1 and 2?", "chain": "1 + 2 = 3.", "answer": 3}
    return [build_prompt("How many?", style, shots) for style in ("answer", "chain") for shots in ([], [shot])]

# %% [markdown]
# We ask for many answers at once. All our few-shot prompts begin alike, so the model reads that part once and keeps its
# keys and values; the rest is padded on the left. With a temperature, tokens are drawn; without one, the likeliest token is
# taken.
#
# The next cell is folded; click it to read the code. You need not understand it: `continue_all` takes prompts and returns
# their continuations.

# %% tags=["experiment", "hide-input"]
LINE_ENDS = torch.tensor([i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])], device=model.device)


@torch.inference_mode()
def continue_all(prompts, length, one_line=True, temperature=0.0, seed=0, batch=48):
    """Continuations of many prompts: up to so many tokens, or the end of the answer, or (one_line) of its line."""
    rows, device = [tokenizer(prompt)["input_ids"] for prompt in prompts], model.device
    shared = min(len(os.path.commonprefix(rows)), min(map(len, rows)) - 1)
    begun = model(torch.tensor([rows[0][:shared]], device=device), use_cache=True, logits_to_keep=1).past_key_values
    generator, texts = torch.Generator().manual_seed(seed), []
    for first in tqdm(range(0, len(rows), batch), desc="answering", leave=False):
        rests = [row[shared:] for row in rows[first : first + batch]]
        cache, width = copy.deepcopy(begun), max(map(len, rests))
        cache.batch_repeat_interleave(len(rests))
        ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in rests], device=device)
        mask = torch.tensor([[1] * shared + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests], device=device)
        place, said = (mask.cumsum(1) - 1)[:, shared:].clamp(min=0), []
        done = torch.zeros(len(rests), 1, dtype=torch.bool, device=device)
        while len(said) < length and not done.all():
            out = model(ids, attention_mask=mask, position_ids=place, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits = out.logits[:, -1].float()
            ids = logits.argmax(-1, keepdim=True)
            if temperature:  # drawn on the CPU, so that every device draws the same
                ids = torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=generator).to(device)
            ids = ids.masked_fill(done, tokenizer.eos_token_id)
            done |= (ids == tokenizer.eos_token_id) | (torch.isin(ids, LINE_ENDS) & one_line)
            said.append(ids)
            cache, mask, place = out.past_key_values, F.pad(mask, (0, 1), value=1), place[:, -1:] + 1
        texts += tokenizer.batch_decode(torch.cat(said, 1), skip_special_tokens=True)
    return texts

# %% [markdown]
# **Predict:** write down which of the five styles will have the highest share of right answers, and what share. (The fifth
# style is the bare question as a message in a chat, which is what the model was tuned for.)

# %% tags=["experiment"]
def as_chat(question):
    if not tokenizer.chat_template:  # a model that was never tuned to chat
        return f"Question: {question}\nAnswer:"
    return tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)


# tokens: of free text, of a chain like the examples
FREE, CHAIN = lab.budget(full=45, quick=5), lab.budget(full=40, quick=24)
STYLES = {  # name → (prompt of a question, longest continuation, does it end with its line?)
    "answer, zero-shot": (lambda q: build_prompt(q, "answer"), 5, True),
    "answer, few-shot": (lambda q: build_prompt(q, "answer", examples), 5, True),
    "chain, zero-shot": (lambda q: build_prompt(q, "chain"), FREE, False),
    "chain, few-shot": (lambda q: build_prompt(q, "chain", examples), CHAIN, True),
    "chat": (as_chat, FREE, False),
}
asked = pd.DataFrame(problems)
for style, (prompt_of, length, one_line) in STYLES.items():
    asked[style] = continue_all([prompt_of(q) for q in asked["question"]], length, one_line)
right = pd.DataFrame({s: [extract(t) == a for t, a in zip(asked[s], asked["answer"], strict=True)] for s in STYLES})
asked[["question", "chain, zero-shot", "chain, few-shot", "answer"]].iloc[[0, EACH, 2 * EACH]].style.hide()

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(9, 4))
rates = np.array([scoring.bootstrap(right, lambda f, s=s: float(f[s].mean())) for s in STYLES])
ax.bar(range(5), rates[:, 0], 0.6, color="white", edgecolor="black", hatch="//")
ax.errorbar(range(5), rates[:, 0], np.abs(rates[:, 1:].T - rates[:, 0]), fmt="none", color="black", capsize=6)
ax.set_xticks(range(5), [s.replace(", ", ",\n") for s in STYLES])
ax.set(title=f"{len(right)} problems, 95 % intervals", ylabel="share of right answers", xlabel="style of prompt", ylim=(0, 1))
plt.show()
difference = scoring.bootstrap(right, lambda f: float(f["chain, few-shot"].mean() - f["answer, few-shot"].mean()))
print("few-shot, chain minus answer: {:+.2f} [{:+.2f}, {:+.2f}]".format(*difference))
right.assign(steps=asked["steps"]).groupby("steps").mean().round(2)

# %% [markdown]
# Look at the intervals, not at the bars. The five intervals overlap, and the paired difference between chain and answer at
# once (few-shot) contains 0: with 36 problems we cannot tell which style is best. Most right answers are to problems of one
# step.
#
# Three reasons not to conclude more:
#
# - Zero-shot chains and chat answers are cut after 45 tokens; in the table above zero-shot chains stop before an answer. A
#   part of their low score is this cut.
# - The *last* of our two examples has one step. A model that copies its length writes one equation, whatever the question
#   asks.
# - We made these problems easier after we had seen the scores on a harder set. So the bars describe; they do not test a
#   plan made in advance.
#
# ### Where do the chains break?
#
# A chain needs a right *plan* (which operation, with which number) and right *arithmetic*. Both can be read off the text.

# %% tags=["experiment"]
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
WORK = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}


def plan_of(text):
    return [(operation, n) for _, operation, n, _ in EQUATION.findall(text)]


written = [(o, WORK[o](int(a), int(b)) == int(c)) for t in asked["chain, few-shot"] for a, o, b, c in EQUATION.findall(t) if b != "0"]
planned = [plan_of(t) == plan_of(c) for t, c in zip(asked["chain, few-shot"], asked["chain"], strict=True)]
frame = pd.DataFrame(written, columns=["operation", "true"]).astype({"true": float})
share = f"{frame['true'].mean():.2f}" if written else "there are none"
print(f"plans right: {np.mean(planned):.2f} of {len(planned)} chains; equations true: {share}")
frame.groupby("operation")["true"].agg(["mean", "count"]).T.round(2)

# %% [markdown]
# There are two different weaknesses. The *plan*: it is right in a minority of the chains. They copy the form of the
# examples with numbers from the question, and most stop after one equation. That may come from our examples, whose last one
# has one step; with examples of three and two steps you can test it (section 7). The *arithmetic*: most products are true,
# and few differences are, though there are only ten differences. (The chance that all of $k$ steps are right falls with
# $k$.) @wei2022chain report for models below some ten billion parameters chains that are "fluent but illogical".
#
# ## 4 · Ask often, then vote
#
# @wang2023self: draw several chains with a temperature, take the answer of each, and let them vote. The idea: different
# right chains end in the same answer, and wrong chains seldom agree.

# %% tags=["exercise:vote"]
def vote(answers):
    """The answer that was given most often.

    answers: list of numbers and None (no answer could be read). None has no vote. Of answers with equally many votes
    the one that appears first in the list wins. If there is no vote at all: None.

    Example: vote([80.0, 24.0, None, 24.0, 80.0, None, None]) is 80.0.
    """
    ### BEGIN SOLUTION
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts, key=counts.get) if counts else None
    ### END SOLUTION

# %% tags=["tests:vote:1"]
with lab.test("vote"):
    for answers, want in (
        ([24.0, 80.0, 24.0], 24.0),
        ([80.0, 24.0, None, 24.0, 80.0, None, None], 80.0),
        ([None, None, 3.0], 3.0),
        ([None, None], None),
        ([], None),
    ):
        got = vote(answers)
        assert got == want, f"vote({answers}) should be {want}, but it is {got}"

# %% tags=["hidden:vote:2"]
def probe():
    g = np.random.default_rng(8)
    ballots = [[None if a == 0 else float(a) for a in g.integers(0, 6, n)] for n in (1, 2, 5, 9, 9, 14, 14, 30, 30)]
    return {
        "few": [vote(ballot) for ballot in ballots[:3]],  # because: few answers
        "many": [vote(ballot) for ballot in ballots[3:]],  # because: many answers, some of them None, and ties among them
        "zero": vote([0.0, None, None, 7.0, 0.0]),  # because: answers that are zero
        "tie": vote([5.0, 3.0, 3.0, 5.0]),  # because: a tie between two answers
        "one": vote([-1.0]),  # because: one answer only
    }


def visible():
    ballots = [[24.0, 80.0, 24.0], [80.0, 24.0, None, 24.0, 80.0, None, None], [None, None, 3.0], [None, None], []]
    return [vote(ballot) for ballot in ballots]

# %% [markdown]
# The *self-consistency curve* is the share of right answers against the number of votes. For each number of votes we draw
# samples at random several times, so that the curve does not depend on the order of the samples. **Predict:** will it rise
# for the course model?

# %%
def vote_curve(answers, truth, sizes, draws=20, seed=0):
    """Share of right votes for each size. answers: one list of answers for each problem. Returns array (problems, sizes)."""
    rng, curve = random.Random(seed), np.zeros((len(answers), len(sizes)))
    for i, (given, right_one) in enumerate(zip(answers, truth, strict=True)):
        for j, size in enumerate(sizes):
            curve[i, j] = np.mean([vote(rng.sample(given, size)) == right_one for _ in range(draws)])
    return curve


def draw_curves(curves, sizes, title, ax):
    """Mean and 95 % interval over problems (or seeds) of each named curve."""
    for i, (name, curve) in enumerate(curves.items()):
        stats = np.array([scoring.bootstrap(pd.DataFrame({"x": c}), lambda f: float(f["x"].mean())) for c in curve.T])
        style = {"color": plots.COLORS[i], "marker": plots.MARKERS[i], "linestyle": plots.LINES[i]}
        ax.errorbar(sizes, stats[:, 0], np.abs(stats[:, 1:].T - stats[:, 0]), capsize=4, label=name, **style)
    ax.set(title=title, xlabel="votes", ylabel="share of right answers", xscale="log", ylim=(0, 1))
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.legend(loc="lower right")

# %% tags=["experiment"]
SIZES = lab.budget(full=[1, 2, 4, 8], quick=[1, 2])
some = asked[asked["steps"] <= 2].groupby("steps").head(lab.budget(full=5, quick=1)).reset_index(drop=True)
prompts = [build_prompt(q, "chain", examples) for q in some["question"] for _ in range(SIZES[-1])]
texts = continue_all(prompts, CHAIN, temperature=0.7, batch=80)
samples = [[extract(t) for t in texts[i : i + SIZES[-1]]] for i in range(0, len(texts), SIZES[-1])]
fig, ax = plt.subplots(figsize=(7, 3.6))
draw_curves({"few-shot chains": vote_curve(samples, some["answer"], SIZES)}, SIZES, "The course model votes (1 and 2 steps)", ax)
plt.show()
print("votes on the first problem:", samples[0], "· right:", some["answer"][0])

# %% [markdown]
# We cannot tell: with ten problems the intervals are far wider than the change. A vote finds the most frequent answer. It
# helps on problems where the right answer is more frequent than each wrong one; where a wrong answer is the most frequent,
# more votes make the error nearly certain. @wang2023self report a gain of 17.9 points for PaLM 540B on GSM8K.
#
# ## 5 · A model that has nothing but arithmetic
#
# Too much happens at once in a language model. So train transformers from scratch on one thing: chained arithmetic, from
# left to right, of which only the last digit is kept (modulo 10):
#
# | style | a text with three steps |
# |---|---|
# | direct | `3+5*7-2?!4` |
# | chain | `3+5*7-2?3+5=8` `8*7=6` `6-2=4` `!4` |
# | dots | the same length as the chain, with dots in its place: `3+5*7-2?...............!4` |
#
# The dots ask a question: does a chain help because of what it *says*, or because more tokens mean more computation
# [@pfau2024think]? Multipliers are 3, 7 or 9 only, so that every answer stays equally likely: a guess is right with chance
# 0.10.

# %%
TOKENS = "0123456789+-*=?!."
ADD, EQUALS, ASK, ANSWER, DOT = (TOKENS.index(sign) for sign in "+=?!.")


def show(ids):
    return "".join(TOKENS[i] for i in ids)


def draw(count, steps, generator):
    """start (count,), operations (count, steps) with 0 +, 1 -, 2 *, and numbers (count, steps); int64."""
    start = torch.randint(0, 10, (count,), generator=generator)
    operations = torch.randint(0, 3, (count, steps), generator=generator)
    numbers = torch.randint(1, 10, (count, steps), generator=generator)
    factors = torch.tensor([3, 7, 9])[torch.randint(0, 3, (count, steps), generator=generator)]
    return start, operations, torch.where(operations == 2, factors, numbers)


def apply(before, operation, number):
    """One step, last digit only."""
    return torch.where(operation == 0, before + number, torch.where(operation == 1, before - number, before * number)) % 10


def running(start, operations, numbers):
    """Result after each step, int64 (n, steps)."""
    results = []
    for j in range(operations.shape[1]):
        results.append(apply(results[-1] if results else start, operations[:, j], numbers[:, j]))
    return torch.stack(results, 1)

# %% tags=["exercise:training_rows"]
def training_rows(start, operations, numbers, style):
    """Texts to train on, and what of them the model must learn to write.

    start: int64 (n,). operations, numbers: int64 (n, k), as `draw` returns them. style: "direct", "chain" or "dots".
    Returns (ids, labels), int64 (n, length), on the device of start. ids: the question, start digit, then for each step the sign
    (ADD + operation) and the number; ASK; then
    - "chain": for each step 5 tokens: result before it, sign, number, EQUALS, result after it;
    - "dots": 5 DOTs for each step; "direct": nothing;
    and at last ANSWER and the last result. labels: a copy of ids with -100 (the loss skips it) where the model has
    nothing to write: on question and ASK, and on dots.

    Example: start [3], operations [[0, 2]], numbers [[5, 7]], "chain": show(ids[0]) is "3+5*7?3+5=88*7=6!6"; the first 6
    labels are -100.
    Hint: running(...) gives the results; torch.stack([...], 2).flatten(1) puts columns side by side, step by step.
    """
    ### BEGIN SOLUTION
    after = running(start, operations, numbers)
    before = torch.cat([start[:, None], after[:, :-1]], 1)
    signs, n, k = ADD + operations, *operations.shape
    question = torch.cat([start[:, None], torch.stack([signs, numbers], 2).flatten(1), start.new_full((n, 1), ASK)], 1)
    middle = {
        "direct": question[:, :0],
        "dots": start.new_full((n, 5 * k), DOT),
        "chain": torch.stack([before, signs, numbers, torch.full_like(signs, EQUALS), after], 2).flatten(1),
    }[style]
    ids = torch.cat([question, middle, start.new_full((n, 1), ANSWER), after[:, -1:]], 1)
    labels = ids.clone()
    labels[:, : question.shape[1]] = -100
    labels[ids == DOT] = -100
    return ids, labels
    ### END SOLUTION

# %% tags=["tests:training_rows:2"]
with lab.test("training_rows"):
    problem = torch.tensor([3, 9]), torch.tensor([[0, 2], [1, 0]]), torch.tensor([[5, 7], [2, 6]])
    for style, texts_, skipped in (
        ("direct", ["3+5*7?!6", "9-2+6?!3"], 6),
        ("chain", ["3+5*7?3+5=88*7=6!6", "9-2+6?9-2=77+6=3!3"], 6),
        ("dots", ["3+5*7?..........!6", "9-2+6?..........!3"], 16),
    ):
        ids, labels = training_rows(*problem, style)
        got = [show(row) for row in ids.tolist()]
        assert got == texts_, f"{style}: the texts should be {texts_}, but are {got}"
        want = ids.clone()
        want[:, :skipped] = -100
        lab.expect_close(labels, want, f"labels of {style}")
        assert ids.dtype == torch.int64, f"ids should be int64, but are {ids.dtype}"

# %% tags=["hidden:training_rows:3"]
def probe():
    g = torch.Generator().manual_seed(21)
    answers = {
        "direct 1": [],  # because: style "direct", problems of one step
        "chain 1": [],  # because: style "chain", problems of one step
        "dots 1": [],  # because: style "dots", problems of one step
        "direct": [],  # because: style "direct", problems of several steps
        "chain": [],  # because: style "chain", problems of several steps
        "dots": [],  # because: style "dots", problems of several steps
        "given": [],  # because: the tensors you were given, which must stay as they were
    }
    for count, steps in ((4, 1), (3, 3), (2, 6)):
        problem = draw(count, steps, g)
        kept = [part.clone() for part in problem]
        for style in ("direct", "chain", "dots"):
            answers[style if steps > 1 else f"{style} 1"].append(list(training_rows(*problem, style)))
        answers["given"].append(all(torch.equal(a, b) for a, b in zip(problem, kept, strict=True)))
    return answers


def visible():
    problem = torch.tensor([3, 9]), torch.tensor([[0, 2], [1, 0]]), torch.tensor([[5, 7], [2, 6]])
    return [list(training_rows(*problem, style)) for style in ("direct", "chain", "dots")]

# %% [markdown]
# ### Equal compute
#
# A chain makes a text longer, so a fair comparison gives every style the same FLOPs, not the same number of examples:
# training on a token costs about $6N$ (chapter 4). The direct model sees more problems for its FLOPs.
#
# All models begin with one-step problems; longer ones are added as the FLOPs are used (a *curriculum*, 课程学习). Without
# that, none of the direct models learnt even one step in the time that we gave them.

# %% tags=["exercise:plan"]
def plan(flops, parameters, batch, lengths):
    """Which batches can be paid: how many steps the problems of each batch have.

    flops: int, the budget. parameters, batch: int. lengths: list of K ints; a text with k steps has lengths[k - 1] tokens. A
    batch of such texts costs 6 · parameters · batch · lengths[k - 1] FLOPs. With `spent` FLOPs spent so far, problems of
    1 … most steps are allowed, most = min(K, 1 + 2 * K * spent // flops) (in whole numbers); batch number i = 0, 1, 2 …
    has k = 1 + i % most. Stop before the first batch that would exceed the budget. Returns the list of the k, in order.

    Example: plan(1500, 1, 10, [2, 4]): a batch costs 120 or 240; [1, 1, 1, 1, 1, 2, 1, 2, 1]: after four batches 480
    are spent, most = 1 + 4 · 480 // 1500 = 2; batch 4 has 1 + 4 % 2 = 1 step; a tenth, of 2 steps, would exceed 1500.
    """
    ### BEGIN SOLUTION
    steps, spent = [], 0
    while True:
        most = min(len(lengths), 1 + 2 * len(lengths) * spent // flops)
        k = 1 + len(steps) % most
        spent += 6 * parameters * batch * lengths[k - 1]
        if spent > flops:
            return steps
        steps.append(k)
    ### END SOLUTION

# %% tags=["tests:plan:1"]
with lab.test("plan"):
    got = plan(1500, 1, 10, [2, 4])
    assert got == [1, 1, 1, 1, 1, 2, 1, 2, 1], f"the example gives {got}"
    assert plan(600, 1, 10, [10]) == [1], "a batch that costs exactly the budget can be paid"
    assert plan(599, 1, 10, [10]) == [], "a batch that costs more than the budget cannot"
    direct, chain = (plan(10**8, 1000, 8, [a * k + 4 for k in (1, 2, 3)]) for a in (2, 7))
    assert len(direct) > len(chain), "longer texts: fewer batches for the same FLOPs"

# %% tags=["hidden:plan:2"]
def probe():
    cases = {
        "large": (10**9, 5000, 16, [6, 8, 10, 12]),  # because: a large budget
        "longer": (10**9, 5000, 16, [11, 18, 25, 32]),  # because: a large budget, with longer texts
        "up and down": (7 * 10**7, 300, 4, [5, 50, 7]),  # because: lengths that do not rise with the number of steps
        "small": (3000, 2, 5, [3, 4, 5, 6, 7]),  # because: a budget for few batches, used up to the end
        "too small": (100, 1, 1, [20]),  # because: a budget that does not pay for one batch
    }
    return {name: [plan(*case)] for name, case in cases.items()}  # a plan is one thing, not a case for each batch


def visible():
    return [
        plan(1500, 1, 10, [2, 4]), plan(600, 1, 10, [10]), plan(599, 1, 10, [10]),
        *[plan(10**8, 1000, 8, [a * k + 4 for k in (1, 2, 3)]) for a in (2, 7)],
    ]  # fmt: skip

# %% [markdown]
# The next two cells are folded; click them to read the code. In the first, `train` trains a small Llama on problems in one
# style until its budget is used up. In the second, `solve` lets a model write its chain and reads the answer, and
# `accuracy` is the share of right answers to 300 new problems.

# %% tags=["hide-input"]
MOST, BATCH = 5, 32  # problems of up to five steps


def decoder():
    """A Llama of two layers and about 100,000 weights, random."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENS), hidden_size=64, intermediate_size=170, num_hidden_layers=2, num_attention_heads=8,
            tie_word_embeddings=True, initializer_range=1 / 8, max_position_embeddings=128, use_cache=False,
        )
    )  # fmt: skip


def lengths_of(style):
    return [(2 if style == "direct" else 7) * k + 4 for k in range(1, MOST + 1)]


def train(style, seed, flops):
    """A model trained on problems in one style for a budget, and how many problems it saw."""
    torch.manual_seed(seed)
    model, generator = decoder(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    steps = plan(flops, model.num_parameters(), BATCH, lengths_of(style))
    for i, k in enumerate(tqdm(steps, desc=f"{style}, seed {seed}", leave=False)):
        warm, share = min(1, (i + 1) / (0.05 * len(steps))), i / len(steps)
        optimizer.param_groups[0]["lr"] = 0.004 * warm * (0.55 + 0.45 * np.cos(np.pi * share))
        ids, labels = training_rows(*draw(BATCH, k, generator), style)
        logits = model(ids[:, :-1]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval(), BATCH * len(steps)

# %% tags=["hide-input"]
@torch.inference_mode()
def write(model, ids, length, temperature=0.0, generator=None):
    """`length` more tokens for each row: the likeliest, or drawn. int64 (n, length)."""
    cache, new = None, []
    for _ in range(length):
        out = model(ids, past_key_values=cache, use_cache=True)
        cache, logits = out.past_key_values, out.logits[:, -1]
        ids = logits.argmax(-1, keepdim=True)
        if temperature:
            ids = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        new.append(ids)
    return torch.cat(new, 1)


def answer_in(new):
    """The token after the first ANSWER of each row; -1 if there is none. int64 (n,)."""
    found = (new[:, :-1] == ANSWER).int()
    answer = new.gather(1, found.argmax(1, keepdim=True) + 1)[:, 0]
    return torch.where(found.any(1), answer, -1)


def solve(model, problem, style, **options):
    """Answers to problems; the model writes its own chain. int64 (n,)."""
    ids, _ = training_rows(*problem, style)
    given = ids.shape[1] - 2 if style == "dots" else 2 * problem[1].shape[1] + 2
    return answer_in(write(model, ids[:, :given], ids.shape[1] - given, **options))


def exam(steps, count=300):
    return draw(count, steps, torch.Generator().manual_seed(10**6 + steps))


def accuracy(model, style, steps):
    """Share of right answers to 300 new problems with so many steps."""
    problem = exam(steps)
    return float((solve(model, problem, style) == running(*problem)[:, -1]).float().mean())

# %% [markdown]
# **Predict:** draw three curves, share of right answers against the number of steps (1 to 7; training had up to 5).

# %% tags=["experiment"]
FLOPS, SEEDS = lab.budget(full=300_000_000_000, quick=1_000_000_000), lab.budget(full=3, quick=1)


def race():
    """Every style with every seed: {(style, seed): model}, and a row for each number of steps."""
    models, rows = {}, []
    for style, seed in itertools.product(("direct", "dots", "chain"), range(SEEDS)):
        models[style, seed], seen = train(style, seed, FLOPS)
        rows += [(style, seed, steps, seen, accuracy(models[style, seed], style, steps))
                 for steps in range(1, lab.budget(full=8, quick=3))]
    return models, rows


trained, rows = race()
scores = pd.DataFrame(rows, columns=["style", "seed", "steps", "problems seen", "right"])
print(f"{decoder().num_parameters():,} weights; {FLOPS:.0e} FLOPs each")
scores.groupby("style", sort=False)["problems seen"].first().to_frame().T

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(9, 4.4))
for i, (style, part) in enumerate(scores.groupby("style", sort=False)):
    look = {"color": plots.COLORS[i], "marker": plots.MARKERS[i], "linestyle": plots.LINES[i]}
    by_steps = [
        scoring.bootstrap(f.reset_index(drop=True), lambda f: float(f["right"].mean())) for _, f in part.groupby("steps")
    ]
    stats = np.array(by_steps)
    ax.errorbar(range(1, lab.budget(full=8, quick=3)), stats[:, 0], np.abs(stats[:, 1:].T - stats[:, 0]), capsize=4,
                label=style, **look)
ax.axhline(0.1, color="grey", linestyle=":", marker="")
ax.text(1, 0.115, "a guess", fontsize=11)
ax.axvline(MOST + 0.5, color="grey", linestyle="--", marker="")
ax.text(MOST + 0.55, 0.9, "longer than\nin training", fontsize=11)
ax.set(title=f"Equal training FLOPs, {SEEDS} seeds each", xlabel="steps", ylabel="share of right answers", ylim=(0, 1.05))
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.12))
plt.show()
scores.pivot_table(index="style", columns="steps", values="right", sort=False).round(2)

# %% [markdown]
# With one step all three are right. From two steps on the direct model falls, although it saw more than twice as many
# problems. The dots give as many tokens and as much computation as the chain, and are no better than the direct model. The
# chain is nearly perfect for three steps and right in most cases for five. So more tokens alone do not help here. Two
# things are different in the chain: its tokens carry results from step to step, *and* in training each of them is a target.
# This experiment cannot separate them. (The bars are a percentile bootstrap over three seeds, which covers about 75 %, not
# 95 %; the gap is far larger.)
#
# **Think:** the direct model ends at about twice the chance of a guess. What does it know? Write down a guess before the
# next cell.

# %% tags=["experiment"]
for style in ("direct", "dots"):
    for steps in (3, 4, 5):
        problem = exam(steps)
        odd = [(solve(trained[style, s], problem, style) - running(*problem)[:, -1]) % 2 for s in range(SEEDS)]
        print(f"{style}, {steps} steps: rightly odd or even in {1 - float(torch.stack(odd).float().mean()):.2f}")

# %% [markdown]
# It knows whether the answer is odd or even. Odd multipliers leave odd numbers odd and even numbers even, so it depends
# only on how many of the added and subtracted numbers and the start are odd: it needs no steps one after another. The rest
# looks like a guess among the five digits that are left, which is right in a fifth of the cases.
#
# ### Longer than in training

# %% tags=["experiment"]
problem = exam(6, 3)
for style in ("chain", "direct"):
    ids, _ = training_rows(*problem, style)
    new = write(trained[style, 0], ids[:, :14], ids.shape[1] - 14)
    for question, said, truth in zip(ids[:, :14].tolist(), new.tolist(), running(*problem)[:, -1].tolist(), strict=True):
        print(f"{style:<7}{show(question)} {show(said)}   right: {truth}")

# %% [markdown]
# Beyond five steps the chain fails, too. In the three examples its first equations are true sums, but steps of the question
# are left out, and the end is no equation any more. Which step comes next is a matter of *position*, and these positions
# were never trained; that is our guess, not a result. A chain helps with more steps in depth, not with problems longer than
# those in training.
#
# ### Self-consistency of the small models
#
# Now voting over drawn chains of the small models, on the longest problems they were trained on. **Predict:** will 16 votes
# be better than one greedy chain?

# %% tags=["experiment"]
SIZES, COUNT = [1, 2, 4, 8, 16], lab.budget(full=100, quick=10)
problem = exam(MOST, COUNT)
truth, curves, greedy = running(*problem)[:, -1].tolist(), {}, []
for temperature in (0.5, 1.0):
    by_seed = []
    for seed in range(SEEDS):
        many = [part.repeat_interleave(SIZES[-1], 0) for part in problem]
        generator = torch.Generator().manual_seed(seed)
        drawn = solve(trained["chain", seed], many, "chain", temperature=temperature, generator=generator)
        ballots = [[None if a < 0 else a for a in row] for row in drawn.view(COUNT, -1).tolist()]
        by_seed.append(vote_curve(ballots, truth, SIZES).mean(0))
    curves[f"temperature {temperature}"] = np.array(by_seed)
greedy = [float((solve(trained["chain", s], problem, "chain") == torch.tensor(truth)).float().mean()) for s in range(SEEDS)]
fig, ax = plt.subplots(figsize=(8, 4))
draw_curves(curves, SIZES, f"{MOST} steps: voting over sampled chains ({SEEDS} seeds)", ax)
ax.axhline(np.mean(greedy), color="grey", linestyle=":", marker="")
ax.text(1.1, np.mean(greedy) + 0.12, "dotted: one greedy chain", fontsize=11)
plt.show()
print("greedy, each seed:", [round(g, 2) for g in greedy])
print("16 votes, each seed:", {name: curve[:, -1].round(2).tolist() for name, curve in curves.items()})

# %% [markdown]
# For each seed, 16 votes give about the same as one greedy chain; three seeds show no gain. At temperature 1 a single drawn
# chain is worse than the greedy one on average, and the vote makes up for that. A possible reason: here only one chain
# leads to the answer, so samples differ only by errors, and an error that most samples make wins the vote. In word problems
# different chains can lead to the right answer.
#
# ## 6 · Does the answer follow the chain?
#
# Chains are said to improve *interpretability* (可解释性). That holds only if the answer comes from the chain.
# @lanham2023measuring test this by changing the chain: cut it short, or put a mistake in, and let the model continue. If
# the answer does not change, it did not depend on the chain.

# %% tags=["exercise:corrupt"]
def corrupt(start, operations, numbers, step, shift):
    """Chains with a mistake in one result, cut right after it, and the answer that follows from the mistake.

    start: int64 (n,). operations, numbers: int64 (n, k). step: int, 1 … k, counted from 1. shift: int.
    The chain is right until the result after `step`, which is (its right value + shift) mod 10; there the text ends.
    Returns (ids, follows): ids int64 (n, 2k + 2 + 5 · step), question, ASK and the chain so far; follows int64 (n,), the
    last result if the remaining steps are done rightly, from the changed result.

    Example: start [3], operations [[0, 2]], numbers [[5, 7]], step 1, shift 1: show(ids[0]) is "3+5*7?3+5=9" and
    follows is [3], as 9 * 7 = 63.
    Hint: training_rows(..., "chain") has the text; its result of `step` stands at 2k + 1 + 5 · step. The remaining
    steps: running(changed, operations[:, step:], numbers[:, step:]), if there are any.
    """
    ### BEGIN SOLUTION
    k = operations.shape[1]
    ids = training_rows(start, operations, numbers, "chain")[0][:, : 2 * k + 2 + 5 * step].clone()
    ids[:, -1] = (ids[:, -1] + shift) % 10
    if step == k:
        return ids, ids[:, -1].clone()
    return ids, running(ids[:, -1], operations[:, step:], numbers[:, step:])[:, -1]
    ### END SOLUTION

# %% tags=["tests:corrupt:2"]
with lab.test("corrupt"):
    problem = torch.tensor([3, 9]), torch.tensor([[0, 2], [1, 0]]), torch.tensor([[5, 7], [2, 6]])
    for step, shift, texts_, want in (
        (1, 1, ["3+5*7?3+5=9", "9-2+6?9-2=8"], [3, 4]),
        (2, 5, ["3+5*7?3+5=88*7=1", "9-2+6?9-2=77+6=8"], [1, 8]),
        (1, 0, ["3+5*7?3+5=8", "9-2+6?9-2=7"], [6, 3]),
    ):
        ids, follows = corrupt(*problem, step, shift)
        got = [show(row) for row in ids.tolist()]
        assert got == texts_, f"step {step}, shift {shift}: the texts should be {texts_}, but are {got}"
        lab.expect_close(follows, torch.tensor(want), f"follows (step {step}, shift {shift})")

# %% tags=["hidden:corrupt:3"]
def probe():
    g = torch.Generator().manual_seed(31)
    answers = {
        "no shift": [],  # because: a shift that changes nothing
        "one step": [],  # because: problems of one step
        "first": [],  # because: a mistake in the first of several steps
        "between": [],  # because: a mistake in a step that is neither the first nor the last
        "last": [],  # because: a mistake in the last of several steps
    }
    for steps in (1, 3, 5):
        problem = draw(6, steps, g)
        for step in range(1, steps + 1):
            where = "one step" if steps == 1 else {1: "first", steps: "last"}.get(step, "between")
            for shift in (0, 3, 9):
                answers[where if shift else "no shift"].append(list(corrupt(*problem, step, shift)))
    return answers


def visible():
    problem = torch.tensor([3, 9]), torch.tensor([[0, 2], [1, 0]]), torch.tensor([[5, 7], [2, 6]])
    return [list(corrupt(*problem, step, shift)) for step, shift in ((1, 1), (2, 5), (1, 0))]

# %% [markdown]
# **Predict** for problems of four steps: after a mistake in step 1, 2, 3 or 4, how often does the answer follow the
# mistake? How often does the model come back to the truth (the question still stands there)?

# %% tags=["experiment"]
problem, rows = exam(4), []
truth = running(*problem)[:, -1]
for seed in range(SEEDS):
    model_ = trained["chain", seed]
    for step in range(1, 5):
        ids, follows = corrupt(*problem, step, 3)
        answer = answer_in(write(model_, ids, 32 - ids.shape[1]))
        early, _ = corrupt(*problem, step, 0)
        forced = write(model_, F.pad(early, (0, 1), value=ANSWER), 1)[:, 0]
        shares = [float(x.float().mean()) for x in (answer == follows, answer == truth, forced == early[:, -1])]
        rows.append((seed, step, *shares))
names = ["follows the mistake", "back to the truth", "cut here: says the last result"]
faith = pd.DataFrame(rows, columns=["seed", "step", *names])
table = {}
for step, part in faith.groupby("step"):
    for name in names:
        got = scoring.bootstrap(part.reset_index(drop=True), lambda f, n=name: float(f[n].mean()))
        table.setdefault(f"step {step}", {})[name] = "{:.2f} [{:.2f}, {:.2f}]".format(*got)
pd.DataFrame(table)

# %% [markdown]
# The answer follows the mistake in most cases, whatever the step, and hardly ever comes back to the truth, though the whole
# question is still there. After a mistake the model calculates the remaining steps from the wrong result. So it does more
# than copy: it uses the chain. Only when the chain is cut it says the last result that it has written. It was trained in
# this way; a large model has learnt much more, and may be able to give its answer without the chain.
#
# ### And the course model's chains?
#
# Two of Lanham's tests on the chains that it wrote above. *Early answering*: keep only a part of its equations and ask for
# the answer. *A mistake*: add one to the result of its last equation. **Predict:** how often is the answer still the one it
# gave, with none, half and all of its equations? And how often does it follow the mistake?

# %% tags=["experiment"]
rows, prompts = [], []
for question, text in zip(asked["question"], asked["chain, few-shot"], strict=True):
    ends = [found.end() for found in EQUATION.finditer(text)]
    before = extract(text)
    if not ends or before is None:
        continue
    last = EQUATION.findall(text)[-1][3]
    wrong = text[: ends[-1] - len(last)] + str(int(last) + 1)
    pieces = {"none": "", "half": text[: ends[(len(ends) - 1) // 2]], "all": text[: ends[-1]], "mistake": wrong}
    for kept, piece in pieces.items():
        start = build_prompt(question, "chain", examples)
        prompts.append(f"{start}{piece}. The answer is" if piece else f"{start} The answer is")
        rows.append((question, kept, len(ends), before, int(last) + 1))
cut = pd.DataFrame(rows, columns=["question", "kept", "equations", "before", "changed"])
cut["answer"] = [extract(t) for t in continue_all(prompts, 5)] if prompts else []
cut["same"], cut["follows"] = cut["answer"] == cut["before"], cut["answer"] == cut["changed"]
if cut.empty:
    print("No chain of this model has an equation and an answer: there is nothing to cut, and nothing to break.")
for kept, part in cut.groupby("kept", sort=False):
    name = "follows" if kept == "mistake" else "same"
    got = scoring.bootstrap(part.reset_index(drop=True), lambda f, n=name: float(f[n].mean()))
    label = "answer follows the mistake" if kept == "mistake" else "answer as before"
    print(f"equations kept: {kept:<8}{label}: " + "{:.2f} [{:.2f}, {:.2f}]".format(*got))

# %% [markdown]
# Without its equations the model nearly always says something else; with all of them it says the same; with a mistake in
# the last one it says the mistake. ("Half" of one equation is all of it, and most chains have one.) So the answer depends
# on the text of the chain. By these two tests the chain is faithful, and it is mostly wrong: *faithful* and *right* are two
# things.
#
# But the tests do not show that the model reasons. A model that copies the last number, whatever it means, passes both. The
# control is a chain with an irrelevant number at its end ("4 * 3 = 12. The box has 7 sides."): a model that follows the
# chain says 12, one that copies says 7. It is not run here; section 7 asks for it. (The small models above differ: after a
# mistake they go on to calculate.)
#
# ## 7 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Longer examples.** Give examples of 3, 2, 3 and 2 steps in place of ours, and 100 tokens in place of 45. How many
#   equations do the chains now have, how many plans are right, and how many answers?
# - **Does it copy the last number?** Add an irrelevant sentence with a number to the end of each chain, and ask for the
#   answer.
# - **A larger model**, on a T4: change `MODEL`. Which style is best now? Does voting help? Do its answers still follow a
#   mistake?
# - **Shorter chains.** Write only the results, `3+5*7-2?864!4`: fewer tokens, so more problems for the same FLOPs. Is it
#   better?
# - **Ten times the compute** for the direct model. How many steps does it learn? What if it had four layers?
# - **Further than training.** Make the chain name the place in the question, or draw random positions in training. Do six
#   steps work?
# - **A second question.** @kojima2022large ask again after the chain: "Therefore, the answer (arabic numerals) is". Add it
#   to the zero-shot chain.
# - **Least-to-most** [@zhou2023least]: give the course model one step at a time, each as a question of its own.
# - **Weighted votes, and a verifier.** Weigh each chain by its probability, or let only chains vote whose equations are all
#   true (a program can check them). Is that better than the plain vote?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@wei2022chain]
# - [@kojima2022large]
# - [@wang2023self]
# - [@zhou2023least]
# - [@nye2021show]
# - [@cobbe2021training]: GSM8K
# - [@feng2023revealing]
# - [@pfau2024think]
# - [@lanham2023measuring]
# - [@turpin2023language]
