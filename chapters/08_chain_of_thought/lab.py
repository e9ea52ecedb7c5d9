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
# 5. corrupt a chain and see whether the answer follows: *faithfulness* (忠实性),
# 6. (challenge) write a *verifier* (验证器) that finds the right chain among eight.
#
# The exercises, from easy (★) to hard (★★★): `build_prompt` ★, `vote` ★, `word_problem` ★★, `extract` ★★, `plan` ★★,
# `training_rows` ★★★, `corrupt` ★★★, and the challenge `best_of` ★★★.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions. Where it says **Predict**, commit
# to your guess before you run on.

# %% tags=["hide-input"]
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

from course_utils import generate, hardware, lab, load_model, plots, scoring, tables, widgets

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
        "best_of",
    ],
)
plots.style()
if lab.budget(full=False, quick=True):
    print("COURSE_BUDGET is quick: experiments are small. Do not read conclusions from them.")

# %% [markdown]
# The ten friends first, for a model of 135 million parameters.

# %% tags=["hide-input"]
guess = widgets.predict(
    'You saw this in the lecture; what was it? The ten friends in three prompts: "The answer is", "Let\'s think step by step.", and as a '
    "message in a chat. After how many of them does the model end at 24?",
    options=[3, 2, 1, 0],
)

# %% [markdown]
# The course model was quantized to 4 bits (a file of type *Q4_1*, chapter 10) before it reached us. Sections 3, 4 and the
# end of 6 are about that copy; how the original differs we have not measured. (The models of section 5 are trained here,
# without that.)

# %% tags=["experiment"]
MODEL = "course"  # the one line to change for a larger model; what it needs is printed below
model, tokenizer = load_model(MODEL)
for name, precision in (("qwen2.5-1.5b", "fp16"), ("qwen2.5-7b", "int8")):
    need = hardware.plan(name, precision, batch=48, context=512).total / hardware.GB
    print(f'MODEL = "{name}" in {precision} needs {need:.1f} GB of a GPU and a way to the hub')
FRIENDS = (
    "There were 10 friends playing a video game online when 7 players quit. "
    "If each player left had 8 lives, how many lives did they have total?"
)
heard = []
LONG = lab.budget(full=200, quick=5)  # tokens of a free text
for tail, length in ((" The answer is", lab.budget(full=6, quick=2)), (" Let's think step by step.", LONG)):
    heard.append(generate(model, tokenizer, f"Q: {FRIENDS}\nA:{tail}", chat=False, max_new_tokens=length))
    print(f"A:{tail} … {heard[-1]}\n")
heard.append(generate(model, tokenizer, FRIENDS, max_new_tokens=LONG))
print("as a message in a chat:", heard[-1])
ended = sum(len(tokenizer(text)["input_ids"]) < LONG - 5 for text in heard[1:])
print(f"\nof the two free texts, {ended} end before the cut at {LONG} tokens")
ends = [(re.findall(r"\d+", text) or ["?"])[place] for text, place in zip(heard, (0, -1, -1), strict=True)]
guess.reveal(ends.count("24"), why=f"At once it says {ends[0]}; the last number of the steps is {ends[1]}, that of the chat {ends[2]}.")

# %% [markdown]
# One problem is an anecdote. We need many, and we need to know their answers for certain.
#
# ## 1 · Problems with exact answers
#
# GSM8K [@cobbe2021training] has 8,500 problems written by people; many models may have read them by now. Ours are made here
# by a program: a story with a number and some steps, each one sentence. The answer is exact, and the number of steps and
# the chain are known.
#
# <details><summary>Hint 1</summary>Keep what somebody has in one variable, and check it after each step, not at the end.</details>
# <details><summary>Hint 2</summary><code>SENTENCES[operation].format(name=name, n=n)</code> is the sentence of a step.</details>
# <details><summary>Hint 3</summary>"/" must leave no rest (<code>%</code>), and <code>//</code> keeps an int an int.</details>

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
    got = word_problem("Mia", "pens", 12, [("/", 4), ("*", 5)])
    assert got["chain"] == "12 / 4 = 3. 3 * 5 = 15.", f"whole numbers after a division, too; the chain is {got['chain']!r}"
    assert isinstance(got["answer"], int), f"the answer after a division is an int, not {got['answer']!r}"
    try:
        word_problem("Ana", "shells", 3, [("-", 5), ("+", 9)])
    except ValueError:
        pass
    else:
        raise AssertionError("3 - 5 + 9: after the first step Ana has less than nothing, so raise ValueError")
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
        word_problem("Mia", "pens", 12, [("/", 4), ("*", 5)]),
        *[visible_outcome(7, [step]) for step in (("-", 7), ("/", 2))],
        visible_outcome(3, [("-", 5), ("+", 9)]),
    ]


def visible_outcome(start, steps):
    try:
        return word_problem("Ana", "shells", start, steps)
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
examples = [draw_problems(1, steps, seed)[0] for steps, seed in ((3, 21), (2, 22), (3, 23), (2, 24))]
ending_short = [draw_problems(1, steps, seed)[0] for steps, seed in ((2, 11), (1, 12), (2, 13), (1, 14))]  # each a step less
print(problems[-1]["question"], "\n", problems[-1]["chain"], problems[-1]["answer"])

# %% [markdown]
# ## 2 · The answer in the text
#
# A chain is free text. Which number in it is the answer? The rule decides the scores, so it must be written down, and it
# must not use the right answer. Models also continue after their answer: they invent a next question, and answer that.
#
# <details><summary>Hint 1</summary>Follow the rules in their order: cut, look after "answer is", else look at the whole.</details>
# <details><summary>Hint 2</summary><code>NUMBER.findall(part)</code> lists the numbers of a text as strings; commas go before <code>float()</code>.</details>
# <details><summary>Hint 3</summary><code>text.lower().rpartition("answer is")</code>; a line can also be the first of the text.</details>

# %% tags=["exercise:extract"]
NUMBER = re.compile(r"(?<!\d)-?\d+(?:,\d{3})*(?:\.\d+)?")  # -3, 1,250.50, 7; the minus of 10-7 is not a sign


def extract(text):
    r"""The number that a text gives as its answer.

    text: str. Returns float, or None. The rules, in this order:
    1. What begins with a line that starts with "Q:" does not count: cut the text there.
    2. If the text contains "answer is", in any case: the first number after its last place.
    3. If it does not, or if no number comes after it: the last number of the text.
    4. No number at all: None.

    Example: extract("10 - 7 = 3. The answer is 24 lives.\nQ: Tom has 5 ...") is 24.0; extract("3 * 8 = 1,024") is 1024.0.
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
        ("The answer is 5 of 9.", 5.0),
        ("Q: 3 cards?\nA: 4", None),
        ("7 cards. Is that all? Q: 8", 8.0),
        ("", None),
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
    return [extract(text) for text in [*texts, *more, "The answer is 5 of 9.", "Q: 3 cards?\nA: 4", "7 cards. Is that all? Q: 8", ""]]

# %% [markdown]
# ## 3 · Every style of prompt
#
# | | answer at once | chain, then answer |
# |---|---|---|
# | zero-shot | "The answer is" | "Let's think step by step." [@kojima2022large] |
# | few-shot | examples with answers | examples with chains [@wei2022chain] |
#
# <details><summary>Hint 1</summary>Two things depend on the style: what an example shows, and how the last line ends.</details>
# <details><summary>Hint 2</summary>The last line has four endings; two of them are the same.</details>

# %% tags=["exercise:build_prompt"]
def build_prompt(question, style, shots=()):
    r"""The prompt for a question.

    question: str. style: "answer" or "chain". shots: list of problems as word_problem returns them (dicts with
    "question", "chain", "answer"); none of them: zero-shot. Returns str: for each shot
        Q: {question}
        A: The answer is {answer}.
    (in style "chain": "A: {chain} The answer is {answer}.") and an empty line; then "Q: {question}", a line break, and
    - style "answer", with shots or without: "A: The answer is"
    - style "chain" without shots: "A: Let's think step by step."
    - style "chain" with shots: "A:" (the examples have shown how to go on).
    No blank at the end: it would belong to the next word's token.

    Example: build_prompt("How many?", "chain") is "Q: How many?\nA: Let's think step by step."
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
    second = {"question": "4 and 4?", "chain": "4 + 4 = 8.", "answer": 8}
    for style, shots, want in (
        ("answer", [], "Q: How many?\nA: The answer is"),
        ("chain", [], "Q: How many?\nA: Let's think step by step."),
        ("answer", [shot], "Q: 1 and 2?\nA: The answer is 3.\n\nQ: How many?\nA: The answer is"),
        ("chain", [shot], "Q: 1 and 2?\nA: 1 + 2 = 3. The answer is 3.\n\nQ: How many?\nA:"),
        (
            "answer",
            [shot, second],
            "Q: 1 and 2?\nA: The answer is 3.\n\nQ: 4 and 4?\nA: The answer is 8.\n\nQ: How many?\nA: The answer is",
        ),
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
    second = {"question": "4 and 4?", "chain": "4 + 4 = 8.", "answer": 8}
    prompts = [build_prompt("How many?", style, shots) for style in ("answer", "chain") for shots in ([], [shot])]
    return [*prompts, build_prompt("How many?", "answer", [shot, second])]

# %% [markdown]
# We ask for many answers at once. All our few-shot prompts begin alike, so the model reads that part once and keeps its
# keys and values; the rest is padded on the left. With a temperature, tokens are drawn; without one, the likeliest token is
# taken.
#
# The next cell is folded; click it to read the code. `continue_all` takes prompts and returns their continuations, in three
# steps that its comments name: read the common part once, read the rest of each prompt, write token by token.

# %% tags=["experiment", "hide-input"]
# the tokens that hold a line break
LINE_ENDS = torch.tensor([token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])], device=model.device)


def next_tokens(logits, temperature, generator):
    """One token for each row of logits, (B, vocabulary): the likeliest (temperature 0), or one that is drawn. int64 (B, 1)."""
    if not temperature:
        return logits.argmax(-1, keepdim=True)
    chances = (logits / temperature).softmax(-1).cpu()  # drawn on the CPU, so that every device draws the same
    return torch.multinomial(chances, 1, generator=generator).to(logits.device)


@torch.inference_mode()
def continue_all(prompts, length, one_line=True, temperature=0.0, seed=0, batch=48):
    """Continuations of many prompts: up to so many tokens, or the end of the answer, or (one_line) of its line."""
    device, generator, texts = model.device, torch.Generator().manual_seed(seed), []
    all_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    # 1. What all prompts begin with (S tokens) is read once; at least one token of each prompt is left for step 2.
    shared = min(len(os.path.commonprefix(all_ids)), min(map(len, all_ids)) - 1)
    shared_ids = torch.tensor([all_ids[0][:shared]], device=device)  # (1, S)
    shared_cache = model(shared_ids, use_cache=True, logits_to_keep=1).past_key_values
    for start in tqdm(range(0, len(all_ids), batch), desc="answering", leave=False):
        # 2. The rests of B prompts, padded on the left to R tokens: so the last column holds the last token of each.
        rests = [ids[shared:] for ids in all_ids[start : start + batch]]
        padding = [max(map(len, rests)) - len(rest) for rest in rests]
        ids = [[0] * pad + rest for pad, rest in zip(padding, rests, strict=True)]
        mask = [[1] * shared + [0] * pad + [1] * len(rest) for pad, rest in zip(padding, rests, strict=True)]
        ids, mask = torch.tensor(ids, device=device), torch.tensor(mask, device=device)  # (B, R), (B, S + R)
        # A token's position is the number of real tokens before it: padding does not count.
        positions = (mask.cumsum(1) - 1)[:, shared:].clamp(min=0)  # (B, R)
        cache = copy.deepcopy(shared_cache)
        cache.batch_repeat_interleave(len(rests))  # the common part's keys and values, for each of the B prompts
        # 3. The first round reads the rests, each further round the token that was just written, and gives the next one.
        written, done = [], torch.zeros(len(rests), 1, dtype=torch.bool, device=device)
        while len(written) < length and not done.all():
            out = model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
            ids = next_tokens(out.logits[:, -1].float(), temperature, generator)  # (B, 1)
            ids = ids.masked_fill(done, tokenizer.eos_token_id)  # what has ended stays ended, while others go on
            done |= (ids == tokenizer.eos_token_id) | (torch.isin(ids, LINE_ENDS) & one_line)
            written.append(ids)
            cache, mask, positions = out.past_key_values, F.pad(mask, (0, 1), value=1), positions[:, -1:] + 1
        texts += tokenizer.batch_decode(torch.cat(written, 1), skip_special_tokens=True)
    return texts

# %%
def as_chat(question):
    if not tokenizer.chat_template:  # a model that was never tuned to chat
        return f"Question: {question}\nAnswer:"
    return tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)

# %% [markdown]
# We compare five styles: the four of the table, and the bare question as a message in a chat, which is what the model was tuned
# for. Our four examples have 3, 2, 3 and 2 steps. Free chains (zero-shot and chat) may have 256 tokens. That is slow on a CPU, so
# the course model's were written once (`chains.py` beside this lab makes the table). Another `MODEL` writes its own here.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What share of the problems does the *best* of the five styles get right, whichever it is?",
    options=["60 % or more", "40 to 60 %", "20 to 40 %", "less than 20 %"],
)

# %% tags=["experiment", "hide-input"]
FREE, CHAIN = 256, lab.budget(full=60, quick=16)  # tokens: of free text, of a chain like the examples
STYLES = {  # name → (prompt of a question, longest continuation, does it end with its line?)
    "answer, zero-shot": (lambda q: build_prompt(q, "answer"), 5, True),
    "answer, few-shot": (lambda q: build_prompt(q, "answer", examples), 5, True),
    "chain, zero-shot": (lambda q: build_prompt(q, "chain"), lab.budget(full=FREE, quick=4), False),
    "chain, few-shot": (lambda q: build_prompt(q, "chain", examples), CHAIN, True),
    "chat": (as_chat, lab.budget(full=FREE, quick=4), False),
}
asked, stored = pd.DataFrame(problems), tables.load("free_chains")
for style, (prompt_of, length, one_line) in STYLES.items():
    if MODEL == "course" and style in set(stored["style"]):
        asked[style] = asked["question"].map(stored[stored["style"] == style].set_index("question")["text"])
    else:
        asked[style] = continue_all([prompt_of(q) for q in asked["question"]], length, one_line)
right = pd.DataFrame({s: [extract(t) == a for t, a in zip(asked[s], asked["answer"], strict=True)] for s in STYLES})
shown = asked[["question", "chain, zero-shot", "chain, few-shot", "answer"]].iloc[[0, EACH, 2 * EACH]]
shown.assign(**{"chain, zero-shot": shown["chain, zero-shot"].str[:250] + " …"}).style.hide()

# %% tags=["hide-input", "experiment"]
fig, ax = plt.subplots(figsize=(9, 4))
rates = np.array([scoring.proportion(right[s].sum(), len(right)) for s in STYLES])
ax.bar(range(5), rates[:, 0], 0.6, color="white", edgecolor="black", hatch="//")
ax.errorbar(range(5), rates[:, 0], np.abs(rates[:, 1:].T - rates[:, 0]), fmt="none", color="black", capsize=6)
ax.set_xticks(range(5), ["zero-shot:\nanswer", "few-shot:\nanswer", "zero-shot:\nchain", "few-shot:\nchain", "chat\nmessage"])
ax.set(title=f"{len(right)} problems, 95 % intervals (Wilson)", ylabel="share of right answers", xlabel="style of prompt", ylim=(0, 1))
plt.show()
free = [text for style in ("chain, zero-shot", "chat") for text in asked[style]]
cut_off = [text for text in free if len(tokenizer(text)["input_ids"]) > FREE - 6]  # a cut word may be other tokens when read again
bare = [re.sub(r"\d+", "", text) for text in cut_off]
circles = sum(text[-40:] in text[:-40] for text in bare)
print(f"free chains (zero-shot and chat) that end before the cut at {FREE} tokens: {len(free) - len(cut_off)} of {len(free)}")
print(f"of the {len(cut_off)} others, {circles} end with 40 characters that they had written before (numbers left out)")
gain, low, high = scoring.paired(right["chain, few-shot"].astype(float), right["answer, few-shot"].astype(float))
verdict = "the chain helps" if low > 0 else "the chain hurts" if high < 0 else "we cannot tell"
print(f"few-shot, chain minus answer, on the same problems: {gain:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict}")
best, low, high = rates[rates[:, 0].argmax()]
guess.reveal(
    "less than 20 %" if best < 0.2 else "20 to 40 %" if best < 0.4 else "40 to 60 %" if best < 0.6 else "60 % or more",
    why=f"{best:.2f} [{low:.2f}, {high:.2f}] of {len(right)} problems.",
)
means = right.groupby(asked["steps"]).mean().T.to_numpy()
names = ["zero-shot: answer", "few-shot: answer", "zero-shot: chain", "few-shot: chain", "chat message"]
pd.DataFrame(means, index=names, columns=["1 step", "2 steps", "3 steps"]).round(2)

# %% [markdown]
# Look at the intervals, not at the bars: the printed verdict says whether the chain makes a difference that we can see, and
# the table splits the shares by the number of steps. Free chains (zero-shot and chat) are cut at
# 256 tokens, and the counts say how many had ended before, and how many of the others repeat their words, numbers left out (so
# some of these may still calculate). What the texts that were cut would have come to, we do not know. The few-shot chains end with
# their line, so the cut does not touch the comparison in the verdict.
# (We made these problems easier after we had seen the scores on a harder set. So the bars describe; they do not test a plan
# made in advance.)
#
# The phenomenon itself shows in two stronger settings. One is models that are *trained* on chains (section 5). The other is
# models more than a thousand times larger. Right answers to GSM8K in %, few-shot [@wei2022chain, table 2]:
#
# | | LaMDA 137B | GPT-3 175B | PaLM 540B |
# |---|---|---|---|
# | answer at once | 6.5 | 15.6 | 17.9 |
# | chain, then answer | 14.3 | 46.9 | 56.9 |
#
# With a GPU, change `MODEL` above; the cell there prints what a larger model needs.
#
# ### Do the examples decide how long the chain is?
#
# Four examples of 3, 2, 3 and 2 steps, or four of 2, 1, 2 and 1: how many equations does the model write for problems of one,
# two and three steps?

# %% tags=["hide-input"]
guess = widgets.predict(
    "With four examples, of 2, 1, 2 and 1 steps: how many equations does it write for a problem of *three* steps, on average?",
    tolerance=0.25,
)

# %% tags=["experiment"]
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
asked["short examples"] = continue_all([build_prompt(q, "chain", ending_short) for q in asked["question"]], CHAIN)
table, counts = [], {}
for column in ("chain, few-shot", "short examples"):
    counts[column] = asked[column].map(lambda text: len(EQUATION.findall(text)))
    means = [scoring.mean(counts[column][asked["steps"] == steps]) for steps in (1, 2, 3)]
    table.append([f"{m:.1f} [{low:.1f}, {high:.1f}]" if low < high else f"{m:.1f}, each time" for m, low, high in means])
print("longer minus shorter examples, on the same problems: {:+.1f} [{:+.1f}, {:+.1f}] equations".format(
    *scoring.paired(*counts.values())))  # fmt: skip
one = asked["steps"] == 1
short = [extract(text) == answer for text, answer in zip(asked["short examples"], asked["answer"], strict=True)]
gain = scoring.paired(np.array(short, float)[one], right["chain, few-shot"].astype(float)[one])
print("right answers to problems of one step, shorter minus longer examples: {:+.2f} [{:+.2f}, {:+.2f}]".format(*gain))
by_steps = counts["short examples"].groupby(asked["steps"]).mean()
guess.reveal(by_steps[3], why=f"For problems of one step it writes {by_steps[1]:.1f}, of two {by_steps[2]:.1f}.")
print("equations written, with 95 % t intervals, by the steps of the examples:")
pd.DataFrame(
    table, index=["examples of 3, 2, 3, 2 steps", "examples of 2, 1, 2, 1 steps"], columns=["1 step asked", "2 steps asked", "3 steps asked"]
)

# %% [markdown]
# The examples decide, the question hardly does: with longer examples the chains have more equations, also where the question
# has one step. So "it leaves steps out" would be the wrong conclusion from the second row alone, and "it does too much" from
# the first: it is what the prompt showed. The model copies the *form* of a chain. The examples may decide what is *right*, too,
# since a chain of two steps is wrong for a problem of one. Read the printed interval: there are few problems of one step, and
# where it contains 0, we cannot tell. In any case a share of right answers belongs to a model *with* its examples.
#
# ### Where do the chains break? A program checks
#
# A chain needs a right *plan* (which operation, with which number) and right *arithmetic*. Both can be read off the text.
# And a program can do the arithmetic: take the chain's operations and numbers, and calculate them from the question's first
# number. This is the idea of *program of thought* (程序思维; @chen2023program): the model writes the plan, a program runs it.
# In the paper, with large models, it is right in about 12 points more cases than a chain (mean of all data sets).

# %% tags=["hide-input"]
guess = widgets.predict(
    "Our small model's chains: what changes if a program does the arithmetic?",
    options=["more answers are right", "no difference that can be seen", "fewer answers are right"],
)

# %% tags=["experiment"]
WORK = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b if b else 0}


def plan_of(text):
    return [(operation, int(n)) for _, operation, n, _ in EQUATION.findall(text)]


def calculated(question, text):
    """What the chain's operations give when a program does them, from the question's first number."""
    have = int(re.findall(r"\d+", question)[0])
    for operation, n in plan_of(text):
        have = WORK[operation](have, n)
    return have

# %% tags=["experiment"]
written = [(o, WORK[o](int(a), int(b)) == int(c)) for t in asked["chain, few-shot"] for a, o, b, c in EQUATION.findall(t)]
planned = [plan_of(t) == plan_of(c) for t, c in zip(asked["chain, few-shot"], asked["chain"], strict=True)]
by_program = [calculated(q, t) == a for q, t, a in zip(asked["question"], asked["chain, few-shot"], asked["answer"], strict=True)]
print("plans right: {:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(sum(planned), len(planned))))
print("right when a program calculates: {:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(sum(by_program), len(by_program))))
gain, low, high = scoring.paired(by_program, right["chain, few-shot"].astype(float))
guess.reveal(
    "more answers are right" if low > 0 else "fewer answers are right" if high < 0 else "no difference that can be seen",
    why=f"{gain:+.2f} [{low:+.2f}, {high:+.2f}], on the same problems; {100 * sum(planned) / len(planned):.0f} % of the plans are right.",
)

# %% tags=["experiment"]
frame = pd.DataFrame(written, columns=["operation", "true"]).astype({"true": float})
each = frame.groupby("operation")["true"]
pd.DataFrame({"share that is true": each.mean(), "how many": each.count()}).T.round(2)

# %% [markdown]
# There are two different weaknesses. The *plan* is right in a minority of the chains: they copy the form of the examples with
# numbers from the question. No program repairs that. The *arithmetic* is a second weakness: compare the operations in the
# table (mind the counts), and the chance that all of $k$ steps are right falls with $k$. @wei2022chain report for models
# below some ten billion parameters chains that are "fluent but illogical".
#
# ## 4 · Ask often, then vote
#
# @wang2023self: draw several chains with a temperature, take the answer of each, and let them vote. The idea: different
# right chains end in the same answer, and wrong chains seldom agree.
#
# <details><summary>Hint 1</summary>What does Python's <code>max</code> do when two entries are equally large? And a <code>set</code> with order?</details>
# <details><summary>Hint 2</summary><code>collections.Counter</code> counts, and remembers what came first.</details>

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
        ([8.0, 3.0, 3.0], 3.0),
        ([80.0, 24.0, None, 24.0, 80.0, None, None], 80.0),
        ([None, None, 3.0], 3.0),
        ([None, None], None),
        ([], None),
        ([5.0, 3.0, 3.0, 5.0], 5.0),
        ([3.0, 5.0, 5.0, 3.0], 3.0),
        ([7.0, 1.0], 7.0),
        ([1.0, 7.0], 1.0),
        ([0.0, None, 7.0, 0.0], 0.0),
    ):
        got = vote(answers)
        assert got == want, f"vote({answers}) should be {want}, but it is {got}: most votes, and of equals the first in the list"

# %% tags=["hidden:vote:2"]
def probe():
    g = np.random.default_rng(8)
    ballots = [[None if a == 0 else float(a) for a in g.integers(0, 6, n)] for n in (1, 2, 5, 9, 9, 14, 14, 30, 30)]
    return {
        "few": [vote(ballot) for ballot in ballots[:3]],  # because: few answers
        "many": [vote(ballot) for ballot in ballots[3:]],  # because: many answers, some of them None, and ties among them
        "zero": vote([0.0, None, None, 7.0, 0.0]),  # because: answers that are zero
        "tie": [vote([5.0, 3.0, 3.0, 5.0]), vote([3.0, 5.0, 5.0, 3.0])],  # because: a tie between two answers
        "one": vote([-1.0]),  # because: one answer only
    }


def visible():
    ballots = [[24.0, 80.0, 24.0], [8.0, 3.0, 3.0], [80.0, 24.0, None, 24.0, 80.0, None, None], [None, None, 3.0], [None, None], []]
    ties = [[5.0, 3.0, 3.0, 5.0], [3.0, 5.0, 5.0, 3.0], [7.0, 1.0], [1.0, 7.0], [0.0, None, 7.0, 0.0]]
    return [vote(ballot) for ballot in ballots + ties]

# %% [markdown]
# The *self-consistency curve* is the share of right answers against the number of votes. For each number of votes we draw
# samples at random several times, so that the curve does not depend on the order of the samples.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Does a vote over more chains raise the course model's share of right answers?",
    options=["no difference that can be seen", "it falls", "it rises"],
)

# %%
def vote_curve(answers, truth, sizes, draws=20, seed=0):
    """Share of right votes for each size. answers: one list of answers for each problem. Returns array (problems, sizes)."""
    rng, curve = random.Random(seed), np.zeros((len(answers), len(sizes)))
    for i, (given, right_one) in enumerate(zip(answers, truth, strict=True)):
        for j, size in enumerate(sizes):
            curve[i, j] = np.mean([vote(rng.sample(given, size)) == right_one for _ in range(draws)])
    return curve

# %%
def draw_curves(curves, sizes, title, ax):
    """Mean and 95 % t interval over problems of each named curve; of a few seeds, each one's points and their mean."""
    for i, (name, curve) in enumerate(curves.items()):
        style = {"color": plots.COLORS[i], "marker": plots.MARKERS[i], "linestyle": plots.LINES[i]}
        if len(curve) <= 5:
            ax.plot(sizes, curve.T, color=plots.COLORS[i], marker=plots.MARKERS[i], linestyle="", alpha=0.5)
            ax.plot(sizes, curve.mean(0), label=name, **style)
            continue
        stats = np.array([scoring.mean(c) for c in curve.T])
        ax.errorbar(sizes, stats[:, 0], np.abs(stats[:, 1:].T - stats[:, 0]), capsize=4, label=name, **style)
    ax.set(title=title, xlabel="votes", ylabel="share of right answers", xscale="log", ylim=(0, 1))
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.legend(loc="lower right")

# %% tags=["experiment"]
SIZES = lab.budget(full=[1, 2, 4, 8], quick=[1, 2])
drawn = tables.load("chain_samples").head(lab.budget(full=240, quick=40))  # of the course model, made by chains.py
if MODEL != "course":  # another model: the same problems, and as many chains of each, drawn now
    prompts = [build_prompt(question, "chain", examples) for question in drawn["question"]]
    drawn = drawn.assign(text=continue_all(prompts, CHAIN, temperature=0.7))
ballots = [[extract(text) for text in part["text"]] for _, part in drawn.groupby("problem", sort=False)]
answers_ = drawn.groupby("problem", sort=False)["answer"].first().tolist()
curve = vote_curve(ballots, answers_, SIZES)
fig, ax = plt.subplots(figsize=(7, 3.6))
draw_curves({"few-shot chains": curve}, SIZES, f"Votes of the {MODEL} model ({len(ballots)} problems of 1 and 2 steps)", ax)
plt.show()
print("votes on the first problem:", ballots[0], "· right:", answers_[0])
gain, low, high = scoring.paired(curve[:, -1], curve[:, 0])
guess.reveal(
    "it rises" if low > 0 else "it falls" if high < 0 else "no difference that can be seen",
    why=f"{SIZES[-1]} votes minus one: {gain:+.2f} [{low:+.2f}, {high:+.2f}].",
)
there = [float(answer in ballot) for ballot, answer in zip(ballots, answers_, strict=True)]
print("a right chain is among the eight: {:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(sum(there), len(there))))

# %% [markdown]
# The course model's eight chains of each problem were drawn once, with temperature 0.7 (`chains.py` beside this lab makes the
# table). If `MODEL` is another one, the cell draws new chains of the same problems, so the figure is always of your model. Read
# the difference: where its interval contains 0, we cannot tell. A vote finds the most frequent answer. It helps on
# problems where the right answer is more frequent than each wrong one; where a wrong answer is the most frequent, more votes
# make the error nearly certain. The last line shows what a vote can leave: problems for which a right chain is *there*, in
# the minority. Section 7 asks you to find it, among chains of a model that is right more often.
#
# The stronger setting: @wang2023self [tables 2 and 3] report for PaLM 540B a rise from 56.5 % (one greedy chain) to 74.4 % (40
# votes) on GSM8K, from 35.8 to 48.3 on AQuA, and from 85.2 to 88.7 on the ARC challenge.
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
#
# Hints for `training_rows` below:
#
# <details><summary>Hint 1</summary>Build the text from three parts: question, middle, end. Only the middle depends on the style.</details>
# <details><summary>Hint 2</summary><code>running(...)</code> gives the results; "before" is the start and all results but the last.</details>
# <details><summary>Hint 3</summary><code>torch.stack([...], 2).flatten(1)</code> puts columns side by side, step by step.</details>

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
# All models begin with one-step problems; longer ones are added as the FLOPs are used (a *curriculum*, 课程学习).
#
# <details><summary>Hint 1</summary>One loop, three lines: how many steps are allowed, which k is next, does it still fit?</details>
# <details><summary>Hint 2</summary>The order matters: add the cost, compare, and only then append. And stay in whole numbers.</details>
# <details><summary>Hint 3</summary>The longest problem allowed has <code>min(K, 1 + 2 * K * spent // flops)</code> steps; batch number
# <code>i</code> has <code>1 + i % most</code>.</details>

# %% tags=["exercise:plan"]
def plan(flops, parameters, batch, lengths):
    """The batches that a compute budget allows: how many steps the problems of each batch have.

    flops: int, the budget. parameters, batch: int. lengths: list of K ints; a text with k steps has lengths[k - 1] tokens. A
    batch of such texts costs 6 · parameters · batch · lengths[k - 1] FLOPs. The first half of the budget is divided into K
    equal parts. A batch that begins in the first part has one step; from the second part on problems of up to two steps are
    allowed, and so on; in the second half all are. (At a border the next part has begun.) The allowed numbers of
    steps take turns by the number of the batch, counted from 0 over all batches: with three allowed, batches 6, 7, 8, 9 have
    1, 2, 3, 1 steps. Stop before the first batch that would exceed the budget. Returns the list of the k, in order.

    Example: plan(1500, 1, 10, [2, 4]): a batch costs 120 or 240; [1, 1, 1, 1, 1, 2, 1, 2, 1]: each part has 375 FLOPs. After
    four batches 480 are spent, so two steps are allowed; batch 4 has one step, batch 5 two. A tenth batch, of two steps,
    would exceed 1500.
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
    assert plan(600, 1, 10, [10]) == [1], "a batch that costs exactly the budget is allowed"
    assert plan(599, 1, 10, [10]) == [], "a batch that costs more than the budget is not"
    direct, chain = (plan(10**8, 1000, 8, [a * k + 4 for k in (1, 2, 3)]) for a in (2, 7))
    assert len(direct) > len(chain), "longer texts: fewer batches for the same FLOPs"

# %% tags=["hidden:plan:2"]
def probe():
    cases = {
        "large": (10**9, 5000, 16, [6, 8, 10, 12]),  # because: a large budget
        "longer": (10**9, 5000, 16, [11, 18, 25, 32]),  # because: a large budget, with longer texts
        "up and down": (7 * 10**7, 300, 4, [5, 50, 7]),  # because: lengths that do not rise with the number of steps
        "small": (3000, 2, 5, [3, 4, 5, 6, 7]),  # because: a budget for few batches, used up to the end
        "too small": (100, 1, 1, [20]),  # because: a budget that is too small for one batch
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
    """A Llama of two layers and about 100,000 parameters, random."""
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

# %% tags=["hide-input"]
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
# Before you run it, draw the three curves of the lecture from memory: the share of right answers against the number of steps (1 to 7; training had up to 5).

# %% tags=["hide-input"]
guess = widgets.predict(
    "You saw this in the lecture's figure; what was it? The direct model sees more than twice as many problems as the others. Up to how "
    "many steps has it more than half of the answers right?",
    options=[5, 4, 3, 2, 1, 0],
)

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
print(f"{decoder().num_parameters():,} parameters; {FLOPS:.0e} FLOPs each")
scores.groupby("style", sort=False)["problems seen"].first().to_frame().T

# %% tags=["experiment"]
fig, ax = plt.subplots(figsize=(9, 4.4))
for i, (style, label) in enumerate((("direct", "direct"), ("dots", "dots"), ("chain", "chain"))):
    part = scores[scores["style"] == style]
    ax.plot(part["steps"], part["right"], color=plots.COLORS[i], marker=plots.MARKERS[i], linestyle="", alpha=0.5)
    ax.plot(part.groupby("steps")["right"].mean(), color=plots.COLORS[i], linestyle=plots.LINES[i], marker="", label=label)
ax.axhline(0.1, color="grey", linestyle=":", marker="")
ax.text(1, 0.115, "a guess", fontsize=11)
ax.axvline(MOST + 0.5, color="grey", linestyle="--", marker="")
ax.text(MOST + 0.55, 0.9, "longer than\nin training", fontsize=11)
ax.set(title=f"Equal training FLOPs, {SEEDS} seeds each (points)", xlabel="steps", ylabel="share of right answers", ylim=(0, 1.05))
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.12))
plt.show()
direct = scores[scores["style"] == "direct"].groupby("steps")["right"].mean()
most = int((direct > 0.5).cummin().sum())
guess.reveal(min(most, 5), why=f"Right at one step: {direct[1]:.2f}; at two: {direct[2]:.2f} (mean of the seeds).")
scores.pivot_table(index="style", columns="steps", values="right", sort=False).round(2)

# %% [markdown]
# With one step all three are right. From two steps on the direct model falls, although it saw more than twice as many
# problems. The dots give as many tokens and as much computation as the chain, and are no better than the direct model. The
# chain is nearly perfect for three steps and right in most cases for five. So more tokens alone do not help here. Two
# things are different in the chain: its tokens carry results from step to step, *and* in training each of them is a target.
# This experiment cannot separate them. (Each point is a seed; no point of the chain is near one of the others from two steps
# on, up to five.) On long problems the direct model ends at about twice the chance of a guess.

# %% tags=["hide-input"]
guess = widgets.predict(
    "What does the direct model know about the answer of a problem of five steps: what has it right in at least 80 % of them?",
    options=["whether it is below 5", "whether it is odd or even", "both", "neither"],
)

# %% tags=["experiment"]
for style in ("direct", "dots"):
    for steps in (3, 4, 5):
        problem = exam(steps)
        odd = [(solve(trained[style, s], problem, style) - running(*problem)[:, -1]) % 2 for s in range(SEEDS)]
        print(f"{style}, {steps} steps: rightly odd or even in {1 - float(torch.stack(odd).float().mean()):.2f}")
truth = running(*problem)[:, -1]
said = torch.stack([solve(trained["direct", s], problem, "direct") for s in range(SEEDS)])
same_half, same_kind = (float(x.float().mean()) for x in ((said < 5) == (truth < 5), said % 2 == truth % 2))
one = "whether it is odd or even" if same_kind >= 0.8 else "whether it is below 5" if same_half >= 0.8 else "neither"
guess.reveal(
    "both" if min(same_half, same_kind) >= 0.8 else one,
    why=f"Odd or even: {100 * same_kind:.0f} % right; below 5 or not: {100 * same_half:.0f} %. A coin has half of each.",
)

# %% [markdown]
# Odd multipliers leave odd numbers odd and even numbers even. So whether the answer is odd depends only on how many of the added
# and subtracted numbers and the start are odd: that needs no steps one after another. The rest looks like a guess among the five
# digits that are left, which is right in a fifth of the cases.
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
# Now voting over drawn chains of the small models, on the longest problems they were trained on. We compare with two things: one
# chain drawn at the same temperature, and one greedy chain.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Temperature 1: than what are 16 votes clearly better (the interval of the difference lies above 0)?",
    options=["than both", "than one greedy chain only", "than neither", "than one drawn chain only"],
)

# %% tags=["hide-input", "experiment"]
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
for name, curve in curves.items():
    print(f"{name}: 1 vote, each seed {curve[:, 0].round(2).tolist()}; 16 votes {curve[:, -1].round(2).tolist()}")
    if SEEDS > 1:
        for other, label in ((curve[:, 0], "1 vote"), (greedy, "greedy")):
            print("   16 votes − {}: {:+.2f} [{:+.2f}, {:+.2f}]".format(label, *scoring.paired(curve[:, -1], other)))
votes = curve[:, -1]  # at temperature 1
drawn_, greedy_ = (SEEDS > 1 and scoring.paired(votes, other)[1] > 0 for other in (curve[:, 0], greedy))
guess.reveal(
    "than both" if drawn_ and greedy_ else "than one drawn chain only" if drawn_
    else "than one greedy chain only" if greedy_ else "than neither",
    why=f"Means of {SEEDS} seed(s): 16 votes {votes.mean():.2f}, one drawn chain {curve[:, 0].mean():.2f}, greedy {np.mean(greedy):.2f}.",
)

# %% [markdown]
# Here the phenomenon shows against *one drawn* chain at temperature 1: the vote repairs what sampling broke, in each seed.
# Against *one greedy* chain 16 votes give about the same; the t intervals over three seeds are wide. A possible reason: only
# one chain leads to the answer, so samples differ only by errors, and an error that most samples make wins the vote. In word
# problems different chains can lead to the right answer, and there votes beat the greedy chain of large models.
#
# ## 6 · Does the answer follow the chain?
#
# Chains are said to improve *interpretability* (可解释性). That holds only if the answer comes from the chain.
# @lanham2023measuring test this by changing the chain: cut it short, or put a mistake in, and let the model continue. If
# the answer does not change, it did not depend on the chain.
#
# <details><summary>Hint 1</summary><code>training_rows(..., "chain")</code> has the text. At which position is the result of the step?</details>
# <details><summary>Hint 2</summary>How long is the question with its ASK, and how long is a step? Cut behind the result, and change a
# copy. What follows is a problem of fewer steps.</details>
# <details><summary>Hint 3</summary>The result is at position 2k + 1 + 5 · step. The remaining steps:
# <code>running(changed, operations[:, step:], numbers[:, step:])</code>, if there are any.</details>

# %% tags=["exercise:corrupt"]
def corrupt(start, operations, numbers, step, shift):
    """Chains with a mistake in one result, cut right after it, and the answer that follows from the mistake.

    start: int64 (n,). operations, numbers: int64 (n, k). step: int, 1 … k, counted from 1. shift: int.
    The chain is right until the result after `step`, which is (its right value + shift) mod 10; there the text ends.
    Returns (ids, follows): ids int64 (n, 2k + 2 + 5 · step), question, ASK and the chain so far; follows int64 (n,), the
    last result if the remaining steps are done rightly, from the changed result.

    Example: start [3], operations [[0, 2]], numbers [[5, 7]], step 1, shift 1: show(ids[0]) is "3+5*7?3+5=9" and
    follows is [3], as 9 * 7 = 63.
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
# We put a mistake into step 1, 2, 3 or 4 of problems of four steps, and let the model go on.

# %% tags=["hide-input"]
guess = widgets.predict(
    "A mistake in step 1 of four; the question is still there. How often is the answer the one that follows from the mistake?",
    options=["less than 20 %", "more than 80 %", "20 to 50 %", "50 to 80 %"],
)

# %% tags=["hide-input", "experiment"]
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
faith = np.array(rows).reshape(SEEDS, 4, 5)[:, :, 2:]  # (seeds, steps, kinds)
table = [[" ".join(f"{share:.2f}" for share in faith[:, step, kind]) for step in range(4)] for kind in range(3)]
first, back, _ = faith[:, 0].mean(0)
guess.reveal(
    "less than 20 %" if first < 0.2 else "20 to 50 %" if first < 0.5 else "50 to 80 %" if first < 0.8 else "more than 80 %",
    why=f"{100 * first:.0f} % follow the mistake, and {100 * back:.0f} % come back to the truth (mean of the seeds).",
)
print("share of 300 problems, one number per seed:")
pd.DataFrame(
    table, index=["follows the mistake", "back to the truth", "cut here: says the last result"], columns=["step 1", "step 2", "step 3", "step 4"]
)

# %% [markdown]
# The answer follows the mistake in most cases, whatever the step, and hardly ever comes back to the truth, though the whole
# question is still there. After a mistake the model calculates the remaining steps from the wrong result. So it does more
# than copy: it uses the chain. Only when the chain is cut it says the last result that it has written. It was trained in
# this way; a large model has learnt much more, and may be able to give its answer without the chain.
#
# ### And the course model's chains?
#
# Three tests on the chains that it wrote above. *Early answering*: keep none or half of its equations and ask for the answer.
# *A mistake*: add one to the result of its last equation. And a control (对照). A model that only repeats the last number it
# has read passes the first two tests without any reasoning. So we keep all equations and add a sentence with a number that
# has nothing to do with the problem: "The box has 97 sides." A model that follows the chain says the chain's result; a model
# that copies the last number says 97. In a fourth test the same sentence comes *before* the last equation. There both kinds of
# model say the chain's result, so it shows whether the sentence alone confuses the model.

# %% tags=["hide-input"]
guess = widgets.predict(
    "With the sentence at the end: which answer does the course model give more often?",
    options=["97", "the chain's result", "no difference that can be seen"],
)

# %% tags=["experiment", "hide-input"]
rows, prompts, ODD = [], [], "The box has 97 sides."
for question, text in asked[["question", "chain, few-shot"]].head(lab.budget(full=36, quick=1)).itertuples(index=False):
    found = list(EQUATION.finditer(text))
    before = extract(text)
    if not found or before is None:
        continue
    ends, last = [match.end() for match in found], found[-1][4]
    kept = text[: ends[-1]]
    pieces = {
        "0": "", "1/2": text[: ends[(len(ends) - 1) // 2]] + ".", "1": f"{kept}.",
        "mistake": f"{kept[: len(kept) - len(last)]}{int(last) + 1}.",
        "after": f"{kept}. {ODD}",
        "inside": f"{text[: found[-1].start()]}{ODD} {text[found[-1].start() : ends[-1]]}.",
    }  # fmt: skip
    for name, piece in pieces.items():
        prompts.append(f"{build_prompt(question, 'chain', examples)} {piece.strip()}".rstrip() + " The answer is")
        rows.append((name, before, float(last), float(last) + 1))
tests = pd.DataFrame(rows, columns=["chain", "before", "result", "wrong"])
tests["answer"] = [extract(text) for text in continue_all(prompts, 5)] if prompts else []
for column in ("before", "result", "wrong"):
    tests[f"{column} said"] = tests["answer"] == tests[column]
tests["97 said"] = tests["answer"] == 97
table = {column: ["{:.2f} [{:.2f}, {:.2f}]".format(*scoring.proportion(part[f"{column} said"].sum(), len(part)))
                  for _, part in tests.groupby("chain", sort=False)] for column in ("before", "result", "wrong", "97")}  # fmt: skip
kinds = ["no equation", "half of the equations", "all equations", "a mistake in the last", "97 at the end", "97 before the last"]
pd.DataFrame(
    {"the same answer": table["before"], "the result of the chain": table["result"], "follows the mistake": table["wrong"], "97": table["97"]},
    index=kinds if len(tests) else [],
)

# %% tags=["experiment"]
part = tests[tests["chain"] == "after"]
followed, copied = part["result said"].astype(float), part["97 said"].astype(float)
gain, low, high = scoring.paired(followed, copied) if len(part) else (0, 0, 0)
guess.reveal(
    "the chain's result" if low > 0 else "97" if high < 0 else "no difference that can be seen",
    why=f"Of {len(part)} chains, {followed.sum():.0f} against {copied.sum():.0f}; the difference of the shares is {gain:+.2f} [{low:+.2f}, {high:+.2f}].",
)

# %% [markdown]
# Read the rows in order. Without equations the answer is another one; with all of them it is the same; with a mistake it is
# the mistake. By these two tests of Lanham's alone the chain would be called faithful. The control decides what that means:
# the row "97 at the end" says whether the model takes the *result of the chain* or the *last number*, whatever it means. (A
# model that only looks for the number after the last equals sign would pass this control, too. Each control excludes one
# explanation, not all.) Also, *faithful* and *right* are two things: these chains are mostly wrong.
#
# The stronger settings: the small models above do not copy; after a mistake they calculate the remaining steps from the wrong
# result. And in large models it depends on the task: @lanham2023measuring measure how much the answer changes when the chain
# is cut (the area over the curve, 0: never) as 0.44 on AQuA, but 0.02 on the easy ARC questions, where the chain is mostly an
# explanation afterwards. In seven of their eight tasks a model of 13 billion parameters needs its chain more than one of 175
# billion.
#
# ## 7 · Challenge: find the right chain
#
# One of the small models of section 5 (chain, seed 1: the one with most errors) has written eight chains for each of 300
# problems of four and five steps, with temperature 1 (`chains.py` made the table). A vote takes the most frequent answer. A
# *verifier* (验证器) looks *into* each chain: *best-of-N* (多选一). In large models the verifier is a trained network
# [@cobbe2021training]; here a program can do much. Write one: which of the eight would you trust?
#
# Your score: the share of right answers among the problems for which at least one of the eight is right, on problems that
# your visible test does not use; full points from 0.82, which a vote does not reach. (The visible test's problems are easier;
# there you need 0.89.) Post your score. (A program could also *solve* these problems. Check the chains all the same: problems
# that people write have no solver, but they have steps.)
#
# <details><summary>Hint 1</summary>A chain whose equation is false is wrong, or right by luck.</details>
# <details><summary>Hint 2</summary>Does each equation begin with the result of the one before, and the first with the question's first digit?</details>
# <details><summary>Hint 3</summary>Are the signs and numbers those of the question, in its order, all of them? Count what is wrong, and
# where several chains are equally good, let them vote.</details>

# %%
all_samples = tables.load("digit_chains")
samples = all_samples[all_samples["steps"] <= 5]
shown = samples[samples["problem"] == samples["problem"].iloc[-1]]
print(shown["question"].iloc[0], "· right:", shown["answer"].iloc[0])
print(*shown["text"], sep="\n")

# %% tags=["exercise:best_of"]
def best_of(question, chains):
    """Which of some chains would you trust?

    question: str, "3+5*7?". chains: list of str, what a model wrote after it: "3+5=88*7=6!6" (equations of five signs, last
    digit only; then "!" and the answer). A chain may be anything: too short, without equations, without "!".
    Returns int, the place of one of them in the list. The same arguments must give the same answer.

    Example: question "3+5*7?", chains ["3+5=88*7=3!3", "3+5=88*7=6!6"]: 1, as 8 · 7 = 56 ends in 6.
    """
    ### BEGIN SOLUTION
    asked = re.findall(r"([-+*])(\d)", question)
    answers = [text.partition("!")[2][:1] for text in chains]

    def wrong(text, answer):
        steps, have, faults = re.findall(r"(\d)([-+*])(\d)=(\d)", text), question[0], 0
        for before, sign, n, after in steps:
            a, b = int(before), int(n)
            faults += {"+": a + b, "-": a - b, "*": a * b}[sign] % 10 != int(after)
            faults += before != have
            have = after
        said = [(sign, n) for _, sign, n, _ in steps]
        return faults + sum(a != b for a, b in zip(said, asked, strict=False)) + abs(len(said) - len(asked)) + (answer != have)

    return min(range(len(chains)), key=lambda i: (wrong(chains[i], answers[i]), -answers.count(answers[i])))
    ### END SOLUTION

# %%
def said_in(text):
    """The answer of a chain of digits, or None."""
    found = re.search(r"!(\d)", text)
    return float(found[1]) if found else None


def chosen(choose, rows):
    """Per problem that has a right chain: the answer of the chain that is chosen (-1: none), and the right one."""
    found = []
    for _, part in rows.groupby("problem", sort=False):
        texts_, truth = part["text"].tolist(), int(part["answer"].iloc[0])
        if truth in [said_in(text) for text in texts_]:
            answer = said_in(texts_[choose(part["question"].iloc[0], texts_)])
            found.append((-1 if answer is None else int(answer), truth))
    return found


def verified(choose, rows):
    """Per problem that has a right chain: is the chosen one right?"""
    return [answer == truth for answer, truth in chosen(choose, rows)]


def by_vote(question, chains):
    given = [said_in(text) for text in chains]
    return given.index(vote(given)) if vote(given) is not None else 0

# %% tags=["tests:best_of:1"]
with lab.test("best_of"):
    got = best_of("3+5*7?", ["3+5=88*7=3!3", "3+5=88*7=6!6"])
    assert got == 1, f"8 · 7 does not end in 3, so the second chain (1) is better, but you choose {got}"
    assert best_of("3+5*7?", ["", "!", "=!!5+"]) in (0, 1, 2), "chains without equations: any place will do, but it must be one"
    seen = samples[samples["problem"] % 2 == 0]
    mine, plain, first = (np.mean(verified(choose, seen)) for choose in (best_of, by_vote, lambda q, chains: 0))
    print(f"right, where a right chain is there: yours {mine:.2f}, vote {plain:.2f}, always the first {first:.2f}")
    assert mine >= 0.89, f"{mine:.2f} right; a vote reaches {plain:.2f}, and you need 0.89: compare the chains with the question"

# %% tags=["hidden:best_of:2"]
def probe():
    return {
        # because: chains for problems that the visible test does not use
        "answers": [list(pair) for pair in chosen(best_of, samples[samples["problem"] % 2 == 1])],
        "nothing": int(best_of("4-1?", ["", "none"])),  # because: chains without equations and without an answer
    }


def visible():
    return [list(pair) for pair in chosen(best_of, samples[samples["problem"] % 2 == 0])]


def check(got, want):
    assert got["nothing"] in (0, 1) and len(got["answers"]) == len(want["answers"])
    right = [answer == truth for (answer, _), (_, truth) in zip(got["answers"], want["answers"], strict=True)]
    assert sum(right) >= 0.82 * len(right)


def check_visible(got, want):
    assert len(got) == len(want)
    assert sum(answer == truth for (answer, _), (_, truth) in zip(got, want, strict=True)) >= 0.89 * len(want)

# %% [markdown]
# Problems of *six* steps are longer than the model's training; there only about a tenth of the drawn chains has the right answer.

# %% tags=["hide-input"]
guess = widgets.predict(
    "In what share of these few chains are all six steps right?", options=["75 % or more", "25 to 75 %", "5 to 25 %", "less than 5 %"]
)

# %%
def all_steps_right(question, text):
    """Does the chain do the question's steps, in its order and without an error?"""
    have, chain = int(question[0]), ""
    for sign, n in re.findall(r"([-+*])(\d)", question):
        after = WORKS[sign](have, int(n)) % 10
        chain, have = f"{chain}{have}{sign}{n}={after}", after
    return text == f"{chain}!{have}"


WORKS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
for steps, part in all_samples.groupby("steps"):
    lucky = part[[said_in(text) == answer for text, answer in zip(part["text"], part["answer"], strict=True)]]
    whole = [all_steps_right(question, text) for question, text in zip(lucky["question"], lucky["text"], strict=True)]
    print(f"{steps} steps: {len(lucky)} of {len(part)} answers right; of these, {sum(whole)} with every step right")
share = sum(whole) / len(whole)  # of the longest problems
guess.reveal(
    "less than 5 %" if share < 0.05 else "5 to 25 %" if share < 0.25 else "25 to 75 %" if share < 0.75 else "75 % or more",
    why=f"{sum(whole)} of {len(whole)}; the others are right by luck.",
)

# %% [markdown]
# A right answer need not come from right steps: with ten possible answers, a tenth is right by luck. A reward for the *answer*
# rewards these chains, too; a check of each *step* does not. @lightman2024verify compare the two for large models, and the
# check of steps wins.
#
# What a verifier costs: eight chains in place of one, and the check. @cobbe2021training report that a trained verifier over
# many samples gives a 6-billion model about what thirty times more parameters give. What about asking the model *itself* to
# check and improve its answer? *Self-refinement* (自我修正; @madaan2023self) improved seven tasks by about 20 points on
# average with GPT-3.5 and GPT-4; on *reasoning* without outside feedback, accuracy did not rise or even fell
# [@huang2024large]. A check that the model cannot talk its way around, such as a program, is worth more.
#
# ## 8 · Open questions
#
# Nothing here is graded. Pick one.
#
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
# - **Self-refinement.** Give the course model its own chain and ask it to find the mistake. How often does a right answer
#   become a wrong one?
# - **Auto-CoT** [@zhang2023automatic]: put the word problems of section 1 into four groups by their embeddings (chapter 07),
#   let the model write a chain for one question of each, and use these as examples.

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
# - [@lightman2024verify]
# - [@feng2023revealing]
# - [@pfau2024think]
# - [@lanham2023measuring]
# - [@turpin2023language]
# - [@chen2023program]
# - [@zhang2023automatic]: Auto-CoT
# - [@madaan2023self]
# - [@huang2024large]
