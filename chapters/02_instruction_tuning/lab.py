# %% [markdown]
# # Lab 02 · From a data set to a model that follows instructions
#
# **A language model continues text. What turns it into one that does what an instruction asks?** The loss stays the same as
# in pre-training; the texts change: they look like questions and answers. You will make such texts from a plain data set,
# write every step between them and the loss, fine-tune the course model, and measure what it gained, on tasks that it was
# trained on and on tasks that it was not.
#
# You will
#
# 1. write *templates* (模板) that turn one data set into many *instructions* (指令),
# 2. write the *chat template* (对话模板) by which a model tells question from answer,
# 3. write the *answer-only loss mask* (只对答案计损失), padding and *packing* (打包), and the loss itself,
# 4. run *supervised fine-tuning* (SFT, 有监督微调) and compare before and after, with baselines and intervals,
# 5. see a base model become an assistant, judged by a rubric that is code.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions. `pack` is a challenge: it has no
# single right answer, and a number says how good yours is.

# %% tags=["hide-input"]
import collections
import copy
import importlib.util
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from peft import LoraConfig, get_peft_model
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from course_utils import data, lab, load_model, plots, scoring, tables, weights, widgets

lab.start(
    "02_instruction_tuning",
    exercises=[
        "nli_templates",
        "to_instructions",
        "chat_text",
        "answer_labels",
        "collate",
        "pack",
        "sft_loss",
        "parse_answer",
    ],
)
QUICK = lab.budget(full=False, quick=True)
if QUICK:
    print("Experiments are small in this run: do not read the conclusions.")

# %% [markdown]
# ## 1 · One data set, many instructions
#
# *Natural language inference* (NLI, 自然语言推断): given a text (*premise*, 前提), does a statement (*hypothesis*, 假设) follow
# from it, is it contradicted, or neither? Our examples are VitaminC [@schuster2021vitamin]: sentences of Wikipedia and claims
# that a small edit makes true or false. The first call fetches a package of 358 MB and keeps 34 MB of it.

# %%
LABELS = {"True": "entailment", "False": "contradiction", "Neither": "neutral"}


def example_of(row):
    evidence, claim = row["input"].split("\nClaim: ")
    text = evidence.split(": ", 1)[1].lstrip(", ")
    for old, new in (("-LRB- ", "("), (" -RRB-", ")"), (" ,", ","), (" .", "."), (" 's", "'s"), ("$ ", "$")):
        text, claim = text.replace(old, new), claim.replace(old, new)
    return {"premise": text, "hypothesis": claim, "label": LABELS[row["targets"][0]]}

# %% tags=["nbval-check-output"]
vitaminc = data.bigbench("vitaminc_fact_verification").shuffle(seed=0)
nli = [example_of(row) for row in vitaminc.select(range(3000)) if len(row["input"]) < 260]
print(len(nli), "examples;", dict(sorted(collections.Counter(e["label"] for e in nli).items())))
for field, value in nli[0].items():
    print(f"{field:<11}{value}")

# %% [markdown]
# A classifier would learn "label 0, 1 or 2". A language model is *told* what to do, in words, and answers in words. FLAN
# [@wei2022finetuned] wrote ten templates for each of 62 data sets. Up to three of the ten turn the task round: they ask for a
# review of a given sentiment, for example. Each of our templates says what the task is, and names the allowed answers.
#
# Write yours. The model below is trained on them.

# %% tags=["exercise:nli_templates"]
def nli_templates():
    r"""Three or more wordings of the NLI task.

    Returns a list of pairs (text, answers). text: str with the fields {premise} and {hypothesis}, asking for a
    verdict and naming all three answers. answers: dict with the keys "entailment", "contradiction", "neutral",
    and what the model should answer (str, three different ones). No two texts are the same, and not all templates
    have the same answers. str.format must be able to fill in the text: it has no other braces.

    Example of one pair:
    ("{premise}\nClaim: {hypothesis}\nIs the claim true, false, or not mentioned?",
     {"entailment": "true", "contradiction": "false", "neutral": "not mentioned"})
    """
    ### BEGIN SOLUTION
    return [
        (
            '{premise}\nBased on the text above, can we conclude that "{hypothesis}"? Answer yes, no or maybe.',
            {"entailment": "yes", "contradiction": "no", "neutral": "maybe"},
        ),
        (
            "Text: {premise}\nClaim: {hypothesis}\nIs the claim true, false or not mentioned?",
            {"entailment": "true", "contradiction": "false", "neutral": "not mentioned"},
        ),
        (
            "Read the text and check the claim.\n\nClaim: {hypothesis}\n\nText: {premise}\n\nAnswer with one word: supported, refuted or unknown.",
            {"entailment": "supported", "contradiction": "refuted", "neutral": "unknown"},
        ),
    ]
    ### END SOLUTION

# %% tags=["tests:nli_templates:1"]
with lab.test("nli_templates"):
    mine = nli_templates()
    assert len(mine) >= 3, f"{len(mine)} templates; write three or more"
    for text, answers in mine:
        assert "{premise}" in text and "{hypothesis}" in text, f"a field is missing in {text!r}"
        assert set(answers) == set(LABELS.values()), (
            f"answers needs the keys {sorted(LABELS.values())}, not {sorted(answers)}"
        )
        unnamed = [answer for answer in answers.values() if answer.lower() not in text.lower()]
        assert not unnamed, f"the text does not name the answer {unnamed}: {text!r}"
        assert len({answer.strip().lower() for answer in answers.values()}) == 3, f"two labels have one answer: {answers}"
        filled = text.format(premise="It rained.", hypothesis="It was dry.")
        assert "It rained." in filled and "It was dry." in filled, f"str.format does not fill in {text!r}"
    assert len({text.strip().lower() for text, _ in mine}) == len(mine), "two of the texts are the same"
    assert len({tuple(sorted(answers.values())) for _, answers in mine}) > 1, "all templates have the same three answers"

# %% tags=["hidden:nli_templates:2"]
def probe():
    made = [[text, dict(answers)] for text, answers in nli_templates()]
    return {
        # because: each template alone: its fields, the keys of its answers, three different answers that the text names
        "each": made,
        # because: your templates together: how many there are, no two texts alike, not all with the same answers
        "together": made,
    }


def visible():
    return [[text, dict(answers)] for text, answers in nli_templates()]


def check_visible(got, want):
    """Everything that the visible test asks of the templates."""
    assert len(got) >= 3, "fewer than three templates"
    for text, answers in got:
        assert "{premise}" in text and "{hypothesis}" in text, "a field is missing"
        assert set(answers) == {"entailment", "contradiction", "neutral"}, "the keys of answers"
        assert all(answer.lower() in text.lower() for answer in answers.values()), "an answer is not named in the text"
        assert len({answer.strip().lower() for answer in answers.values()}) == 3, "two labels have one answer"
    assert len({text.strip().lower() for text, _ in got}) == len(got), "two of the texts are the same"
    assert len({tuple(sorted(answers.values())) for _, answers in got}) > 1, "all have the same three answers"


def check(got, want):
    import string

    together = got["together"]
    assert len(together) >= 3, "fewer than three templates"
    assert len({text.strip().lower() for text, _ in together}) == len(together), "two templates are alike"
    for text, answers in got["each"]:
        assert "{premise}" in text and "{hypothesis}" in text, "a field is missing"
        assert sorted(answers) == ["contradiction", "entailment", "neutral"], "the keys of answers"
        assert len({a.strip().lower() for a in answers.values()}) == 3, "two labels have the same answer"
        assert all(a.strip() and a.lower() in text.lower() for a in answers.values()), (
            "an answer is not named in the text"
        )
        # read, not filled in: a width would make it as long as it says
        fields = [(name, width) for _, name, width, _ in string.Formatter().parse(text) if name is not None]
        assert all(name in ("premise", "hypothesis") and not width for name, width in fields), "it cannot be filled in"
    assert len({tuple(sorted(a.lower() for a in answers.values())) for _, answers in together}) > 1, (
        "all have the same answers"
    )

# %% tags=["exercise:to_instructions"]
def to_instructions(examples, templates):
    """Turn the examples of one data set into instructions.

    examples: list of dicts of str, each with a key "label". templates: list of pairs as above, for any data set.
    Returns a list of dicts: "prompt" (str), "answer" (str), "options" (list of str, all the template's answers
    in their order). Example number i gets template number i modulo how many there are.

    The examples stay as they are. A text may hold braces of its own: they are not filled in again.

    Example: to_instructions([{"text": "Fine.", "label": "pos"}], [("{text} Good or bad?", {"pos": "good",
    "neg": "bad"})]) gives [{"prompt": "Fine. Good or bad?", "answer": "good", "options": ["good", "bad"]}].
    """
    ### BEGIN SOLUTION
    made = []
    for i, example in enumerate(examples):
        text, answers = templates[i % len(templates)]
        made.append(
            {
                "prompt": text.format(**example),
                "answer": answers[example["label"]],
                "options": list(answers.values()),
            }
        )
    return made
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1: an idea</summary>Two lookups: the template by the example's number, the answer by its label.</details>
# <details><summary>Hint 2: filling in</summary><code>"{a}, {b}".format(**{"a": 1, "b": 2})</code> fills in every field at once.</details>

# %% tags=["tests:to_instructions:1"]
with lab.test("to_instructions"):
    asked = [
        ("{text} Good or bad?", {"pos": "good", "neg": "bad"}),
        ("Is it praise? {text}", {"pos": "yes", "neg": "no"}),
    ]
    rows = to_instructions(
        [{"text": t, "label": label} for t, label in (("Fine.", "pos"), ("Dull.", "neg"), ("Long.", "neg"))], asked
    )
    assert rows[0] == {"prompt": "Fine. Good or bad?", "answer": "good", "options": ["good", "bad"]}, (
        f"the first is {rows[0]}"
    )
    assert [row["answer"] for row in rows] == ["good", "no", "bad"], f"answers {[row['answer'] for row in rows]}"
    sly = [{"a": "no {b}", "b": "no {a}", "label": "neg"}]
    got = to_instructions(sly, [("{b}, then {a}: good or bad?", {"pos": "good", "neg": "bad"})])[0]["prompt"]
    assert got == "no {a}, then no {b}: good or bad?", f"braces in the data were filled in, too: {got!r}"
    assert sly == [{"a": "no {b}", "b": "no {a}", "label": "neg"}], f"the example was changed to {sly[0]}"

# %% tags=["hidden:to_instructions:2"]
def probe():
    templates = [
        ("{a} / {b}?", {"x": "one", "y": "two", "z": "three"}),
        ("{b}, then {a}, then {a}", {"z": "C", "y": "B", "x": "A"}),
        ("only {b}", {"x": "", "y": "no", "z": "maybe so"}),
    ]
    examples = [
        {"a": f"A{i}", "b": "has {a} in it" if i == 3 else f"B{i}", "label": "xyz"[i * 2 % 3]} for i in range(8)
    ]
    return {
        # because: more examples than templates, fields used twice or not at all, braces inside an example
        "rows": to_instructions(examples, templates),
        "examples after": examples,  # because: the examples you were given, which must stay as they were
        "none": to_instructions([], templates),  # because: no example at all
    }


def visible():
    asked = [
        ("{text} Good or bad?", {"pos": "good", "neg": "bad"}),
        ("Is it praise? {text}", {"pos": "yes", "neg": "no"}),
    ]
    return to_instructions(
        [{"text": t, "label": label} for t, label in (("Fine.", "pos"), ("Dull.", "neg"), ("Long.", "neg"))], asked
    )

# %% tags=["experiment"]
lab.needs("nli_templates", "to_instructions")
for row in to_instructions(nli[:3], nli_templates()):
    print(row["prompt"], "→", row["answer"], "\n" + "-" * 60)

# %% [markdown]
# ## 2 · Who says what: the chat template
#
# A model reads one stream of tokens. In a chat three voices speak: the *user* (用户), who asks; the *assistant* (助手), which is
# the model; and the *system* message (系统提示), a text in front of the conversation in which the provider says how the assistant
# should behave. Which voice speaks is written into the stream, in a form that the model was trained on. The course model's
# form is called ChatML. Each *turn* (轮) is
#
# `<|im_start|>role⏎content<|im_end|>⏎`
#
# where `role` is `system`, `user` or `assistant`, and ⏎ is a line break. `<|im_start|>` and `<|im_end|>` are *special tokens*
# (特殊词元): each is a single entry of the vocabulary, and no ordinary text is cut into it. To get an answer, the text ends with
# the opened turn `<|im_start|>assistant⏎`, and the model continues.

# %% tags=["exercise:chat_text"]
def chat_text(messages, generation_prompt=False):
    r"""A conversation as one string, in ChatML.

    messages: list of dicts with "role" and "content" (str), which stays as it is. generation_prompt: open an
    assistant's turn at the end.
    Returns str. If the first message is not a system message, the text begins with the system turn that this
    model was trained with: "You are a helpful AI assistant named SmolLM, trained by Hugging Face". A system message
    that is empty is a system message. The content is copied as it is, spaces too.

    Example: chat_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], True) gives
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    """
    ### BEGIN SOLUTION
    if not messages or messages[0]["role"] != "system":
        default = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
        messages = [{"role": "system", "content": default}, *messages]
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" * generation_prompt
    ### END SOLUTION

# %%
MODEL = "course"  # on a T4 with a hub: "HuggingFaceTB/SmolLM2-1.7B-Instruct", which has the same template
model, tokenizer = load_model(MODEL, precision="fp32")
course_tokenizer = AutoTokenizer.from_pretrained(weights.path())  # its template is ChatML, whatever MODEL is
talk = [
    {"role": "user", "content": "Who wrote Hamlet?"},
    {"role": "assistant", "content": "Shakespeare."},
    {"role": "user", "content": "And Faust?"},
]

# %% tags=["tests:chat_text:1"]
with lab.test("chat_text"):
    silent, odd = {"role": "system", "content": ""}, {"role": "user", "content": " two  spaces \n"}
    for messages in (talk[:1], talk, [{"role": "system", "content": "Be brief."}, *talk], [silent, odd]):
        for opened in (False, True):
            want = course_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
            got = chat_text(messages, opened)
            assert got == want, (
                f"for {[m['role'] for m in messages]}, generation_prompt={opened}:\n  yours {got!r}\n  theirs {want!r}"
            )
    assert len(talk) == 3 and talk[0]["role"] == "user", "the list of messages was changed: work on a new one"

# %% tags=["hidden:chat_text:2"]
def probe():
    long = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": f"turn {i}\n  with <tags> and {{braces}} "}
        for i in range(5)
    ]
    cases = {
        "long": long,  # because: a long conversation whose last turn is the user's
        "answered": long[:4],  # because: a conversation whose last turn is the assistant's
        "empty system": [{"role": "system", "content": ""}, *long[:1]],  # because: a system message with nothing in it
        "one": long[:1],  # because: a single message
    }
    kept = [dict(message) for message in long]
    texts = {name: [chat_text(messages, opened) for opened in (False, True)] for name, messages in cases.items()}
    return {
        "texts": texts,
        "default": chat_text(long[:1]),  # because: a call without generation_prompt
        "messages after": long,  # because: the messages you were given, which must stay as they were
        "before": kept,
        "how many": len(long),  # because: the messages you were given, which must stay as they were
    }


def visible():
    talk = [
        {"role": "user", "content": "Who wrote Hamlet?"},
        {"role": "assistant", "content": "Shakespeare."},
        {"role": "user", "content": "And Faust?"},
    ]
    silent, odd = {"role": "system", "content": ""}, {"role": "user", "content": " two  spaces \n"}
    return [
        chat_text(m, o)
        for m in (talk[:1], talk, [{"role": "system", "content": "Be brief."}, *talk], [silent, odd])
        for o in (False, True)
    ] + [len(talk)]

# %% [markdown]
# ### Does the punctuation matter?
#
# The same question twice: once as plain text, as a model that has only been pre-trained would get it, and once in the
# template.

# %% tags=["hide-input"]
guess = widgets.predict(
    "`Is the sun a planet? Answer yes or no.` Which of the two continuations *begins* with yes or no?",
    options=["both", "neither", "only that of the plain text", "only that in the template"],
)

# %% tags=["experiment"]
@torch.inference_mode()
def greedy(prompts, length=12):
    """The likeliest continuation of each prompt, up to the end of the turn."""
    tokenizer.padding_side = "left"
    batch = tokenizer(prompts, return_tensors="pt", padding=True).to(model.device)
    out = model.generate(**batch, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


lab.needs("chat_text")
question = "Is the sun a planet? Answer yes or no."
said = {}
for name, prompt in (("plain", question), ("template", chat_text([{"role": "user", "content": question}], True))):
    said[name] = greedy([prompt], 24)[0]
    print(f"{name:<9}{said[name]!r}")

# %% tags=["hide-input", "experiment"]
lab.needs("chat_text")
plain, chat = (text.lstrip().lower().startswith(("yes", "no")) for text in said.values())
guess.reveal(
    ("both" if chat else "only that of the plain text") if plain else "only that in the template" if chat else "neither",
    why="One question shows what can happen, and not how often it does.",
)

# %% [markdown]
# The plain text is *continued*: what comes next may be an answer, a choice of answers, another question. In the template the
# model takes the assistant's turn, and speaks in whole sentences, because its makers trained it on such turns. Section 7 asks
# more than one question, and counts.
#
# ## 3 · Learn from the answer, not from the question
#
# The loss of pre-training counts every token. In SFT most people count only the tokens of the *answers*: the model should
# learn to answer, not to ask. Tokens of the question get the label -100, which cross-entropy skips. This is a choice and not
# a law: @shi2024instruction find that a loss over the question, too, often helps, above all where questions are long, answers
# short and examples few. The end of the turn belongs to the answer: a model that is never trained to stop does not stop.

# %% tags=["exercise:answer_labels"]
def answer_labels(ids, header, end):
    """Labels of a conversation: the tokens of the assistant's turns, -100 elsewhere.

    ids: list of int, which stays as it is. header: list of int, the tokens that open an assistant's turn. end:
    int, the token that closes a turn.
    Returns a new list of int, as long as ids: from the token after a header to the next `end`, this one too, the id
    itself; else -100. There may be several such turns; the last may be cut off before its end.

    Example: ids [1, 7, 5, 2, 1, 8, 6, 2, 9], header [1, 8], end 2: labels [-100, -100, -100, -100, -100, -100,
    6, 2, -100].
    """
    ### BEGIN SOLUTION
    labels, inside = [], False
    for i, token in enumerate(ids):
        inside = inside or (i >= len(header) and list(ids[i - len(header) : i]) == list(header))
        labels.append(token if inside else -100)
        inside = inside and token != end
    return labels
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1: an idea</summary>Walk over the tokens once and remember whether you are inside an answer. Where does
# that begin? Where does it end, and is this token still inside?</details>
# <details><summary>Hint 2: the header</summary>The answer begins at place i if the tokens just before i are the header:
# <code>ids[i - len(header) : i]</code>. Mind the first places, where there is nothing before.</details>

# %% tags=["tests:answer_labels:2"]
with lab.test("answer_labels"):
    mine = [1, 7, 5, 2, 1, 8, 6, 2, 9]
    got = answer_labels(mine, [1, 8], 2)
    assert got == [-100] * 6 + [6, 2, -100], f"the example gives {got}"
    assert mine == [1, 7, 5, 2, 1, 8, 6, 2, 9], f"the tokens themselves were changed, to {mine}: make a new list"
    for few, want in (([], []), ([4, 4], [-100, -100]), ([1, 8, 2, 1, 8], [-100, -100, 2, -100, -100])):
        got = answer_labels(list(few), [1, 8], 2)
        assert got == want, f"{few} should give {want}, not {got}"
    got = answer_labels([1, 8, 5, 5, 2, 1, 7, 4, 2, 1, 8, 3], [1, 8], 2)
    assert got == [-100, -100, 5, 5, 2, -100, -100, -100, -100, -100, -100, 3], (
        f"two turns, the second cut off: {got}"
    )

# %% tags=["hidden:answer_labels:3"]
def probe():
    g = np.random.default_rng(0)
    cases = [[int(t) for t in g.integers(1, 5, 40)] for _ in range(6)]
    answers = {
        # because: long texts with many turns, some of them cut off
        "long": [list(answer_labels(ids, [1, 3], 2)) for ids in cases],
        "nothing said": answer_labels([1, 3, 2, 1, 3], [1, 3], 2),  # because: a turn in which the assistant says nothing
        "empty": answer_labels([], [1, 3], 2),  # because: an empty list of tokens
        "short": answer_labels([4, 4], [1, 3, 4], 2),  # because: a text shorter than the header
    }
    return {
        "labels": answers,
        "ids after": cases,  # because: the tokens you were given, which must stay as they were
    }


def visible():
    return [
        answer_labels([1, 7, 5, 2, 1, 8, 6, 2, 9], [1, 8], 2),
        answer_labels([1, 8, 5, 5, 2, 1, 7, 4, 2, 1, 8, 3], [1, 8], 2),
        *(answer_labels(list(few), [1, 8], 2) for few in ([], [4, 4], [1, 8, 2, 1, 8])),
    ]

# %% [markdown]
# In the real thing: what the model is trained on is printed after the bar.

# %%
MARKS = ["<|im_start|>", "<|im_end|>"]
if not set(MARKS) <= set(tokenizer.get_vocab()):
    print(f"{MODEL} has not seen this template: its two marks become new tokens, which it must learn first.")
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    model.resize_token_embeddings(len(tokenizer))
HEADER = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
STOP = tokenizer.convert_tokens_to_ids("<|im_end|>")
model.generation_config.eos_token_id = STOP  # an answer ends where its turn ends


def encoded(messages):
    """Tokens and labels of a conversation."""
    ids = tokenizer(chat_text(messages), add_special_tokens=False)["input_ids"]
    return {"ids": ids, "labels": answer_labels(ids, HEADER, STOP)}

# %% tags=["experiment"]
lab.needs("chat_text", "answer_labels")
row = encoded([*talk, {"role": "assistant", "content": "Goethe."}])
for token, label in zip(tokenizer.convert_ids_to_tokens(row["ids"]), row["labels"], strict=True):
    print("▌" if label != -100 else " ", token.replace("Ġ", "·").replace("Ċ", "⏎"), end="  ")

# %% [markdown]
# ## 4 · Batches: padding and packing
#
# A batch is a rectangle, conversations are not. *Padding* (填充) fills rows up with a token that nothing learns from and
# nothing looks at.

# %% tags=["exercise:collate"]
def collate(rows, pad):
    """Rows of different lengths as one batch, padded on the right.

    rows: list of dicts with "ids" and "labels", lists of int of the same length. pad: int, the token to fill up
    with.
    Returns a dict of int64 tensors (rows, longest): "input_ids" (filled up with pad), "labels" (with -100), and
    "attention_mask" (1 where there is a token of the row, 0 where it is filled up).

    Example: rows with ids [5, 6] and [7] and labels [-100, 6] and [7], pad 0: input_ids [[5, 6], [7, 0]],
    labels [[-100, 6], [7, -100]], attention_mask [[1, 1], [1, 0]].
    A row may hold the token pad itself: there it is a token like any other. The rows stay as they are.
    """
    ### BEGIN SOLUTION
    shape = len(rows), max(len(row["ids"]) for row in rows)
    batch = {
        "input_ids": torch.full(shape, pad),
        "labels": torch.full(shape, -100),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
    }
    for i, row in enumerate(rows):
        n = len(row["ids"])
        batch["input_ids"][i, :n], batch["labels"][i, :n] = torch.tensor(row["ids"]), torch.tensor(row["labels"])
        batch["attention_mask"][i, :n] = 1
    return batch
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1: an idea</summary>Three rectangles that are full of padding; then write each row into its place.</details>
# <details><summary>Hint 2: an API</summary><code>torch.full((rows, columns), value)</code> makes a rectangle of one value, and
# <code>tensor[i, :n] = torch.tensor(…)</code> writes into it.</details>

# %% tags=["tests:collate:1"]
with lab.test("collate"):
    batch = collate([{"ids": [5, 6], "labels": [-100, 6]}, {"ids": [7], "labels": [7]}], 0)
    lab.expect_close(batch["input_ids"], torch.tensor([[5, 6], [7, 0]]), "input_ids")
    lab.expect_close(batch["labels"], torch.tensor([[-100, 6], [7, -100]]), "labels")
    lab.expect_close(batch["attention_mask"], torch.tensor([[1, 1], [1, 0]]), "attention_mask")
    mine = [{"ids": [7], "labels": [7]}, {"ids": [5, 7, 6], "labels": [-100, 7, 6]}]
    batch = collate(mine, 7)  # the token 7 is the padding, and a token of both rows
    lab.expect_close(batch["attention_mask"], torch.tensor([[1, 0, 0], [1, 1, 1]]), "attention_mask where pad is a token")
    lab.expect_close(batch["labels"], torch.tensor([[7, -100, -100], [-100, 7, 6]]), "labels where pad is a token")
    assert mine[0] == {"ids": [7], "labels": [7]}, f"a row was changed, to {mine[0]}"

# %% tags=["hidden:collate:2"]
def probe():
    rows = [
        {"ids": [3, 9, 3, 1], "labels": [-100, -100, 3, 1]},
        {"ids": [3], "labels": [3]},
        {"ids": [4, 3], "labels": [-100, -100]},
    ]
    batch = collate(rows, 3)
    return {
        "input_ids": batch["input_ids"],  # because: input_ids of rows with different lengths
        "labels": batch["labels"],  # because: labels of rows with different lengths
        # because: attention_mask of rows with different lengths, with the token pad inside a row too
        "attention_mask": batch["attention_mask"],
        "rows after": rows,  # because: the rows you were given, which must stay as they were
        "types": [str(batch[k].dtype) for k in sorted(batch)],  # because: the dtypes of the three tensors
        "one": collate(rows[:1], 0)["attention_mask"],  # because: a batch of one row
    }


def visible():
    batch = collate([{"ids": [5, 6], "labels": [-100, 6]}, {"ids": [7], "labels": [7]}], 0)
    other = collate([{"ids": [7], "labels": [7]}, {"ids": [5, 7, 6], "labels": [-100, 7, 6]}], 7)
    return [batch["input_ids"], batch["labels"], batch["attention_mask"], other["attention_mask"], other["labels"]]

# %% [markdown]
# ### A batch from TRL
#
# TRL is a widely used library for this. Its trainer asks the template which tokens are the assistant's, so the template must
# mark them (`generation`).

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of TRL's three tensors differs from yours?",
    options=["`input_ids`", "`labels`", "none of them", "`attention_mask`", "more than one of them"],
)

# %% tags=["hide-input", "experiment"]
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)
spoken = [{"role": "system", "content": "Be brief."}, *talk, {"role": "assistant", "content": "Goethe."}]


def trl_batch(conversations):
    """The first batch of TRL's trainer."""
    import datasets
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    marked = copy.deepcopy(tokenizer)
    marked.chat_template = MARKED
    # Labels do not depend on the model, and the trainer changes settings of the one it is given: so it gets a tiny one
    small = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            folder,
            assistant_only_loss=True,
            train_sampling_strategy="sequential",
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            bf16=False,
            report_to="none",
        )
        rows = datasets.Dataset.from_list([{"messages": talk} for talk in conversations])
        trainer = SFTTrainer(small, config, train_dataset=rows, processing_class=marked)
        return next(iter(trainer.get_train_dataloader()))


lab.needs("chat_text", "answer_labels", "collate")
differing = None  # nothing is compared yet
if QUICK:
    print("left out in this small run: TRL takes seconds to begin")
elif importlib.util.find_spec("trl"):
    theirs = trl_batch([spoken, spoken[:3]])
    yours = collate([encoded(spoken), encoded(spoken[:3])], tokenizer.pad_token_id)
    differing = [name for name in yours if not torch.equal(yours[name], theirs[name].cpu())]
    print(
        f"different from TRL's: {', '.join(differing) or 'none'};",
        int((yours["labels"] != -100).sum()),
        "tokens of",
        yours["labels"].numel(),
        "are learnt from",
    )
else:
    print("TRL is not installed here; `pip install trl` and run again to compare")

# %% tags=["hide-input", "experiment"]
lab.needs("chat_text", "answer_labels", "collate")
if differing is None:
    print("Not compared here, so your prediction has no answer yet: TRL is missing, or this is a small run.")
else:
    guess.reveal(
        "none of them" if not differing else "more than one of them" if len(differing) > 1
        else "`labels`" if differing == ["labels"] else "`input_ids`" if differing == ["input_ids"] else "`attention_mask`",
        why="The cell above compares all three for two conversations of different lengths.",
    )

# %% [markdown]
# Look at the number of the padding token: it is that of `<|im_end|>`. A mask made by `ids != pad` would hide the end of every
# turn, which is why your mask had to be made from lengths.

# %% [markdown]
# Filling up wastes work. *Packing* puts several conversations into one row. Which go together? TRL uses *best fit decreasing*:
# take the longest first; put it where it leaves the least room; where it fits nowhere, begin a new row. Can you do better?
#
# ### A challenge
#
# `puzzle` cuts full rows into conversations and shuffles them, so a packing without any waste exists. Your score is the number
# of rows over several puzzles; a cell below says what best fit decreasing needs, and what no packing can beat. The visible
# test asks for a right packing with no more rows than best fit decreasing. The hidden test, on other puzzles, asks that you
# close at least half of the gap between best fit decreasing and that bound. A second for all of them is enough.

# %%
def puzzle(seed, rows=20, room=100, parts=3):
    """Lengths of conversations that fill `rows` rows of `room` tokens exactly."""
    g = np.random.default_rng(seed)
    cuts = [[0, *sorted(g.choice(np.arange(4, room - 3), parts - 1, replace=False)), room] for _ in range(rows)]
    lengths = [int(b - a) for row in cuts for a, b in zip(row, row[1:], strict=False)]
    return [lengths[i] for i in g.permutation(len(lengths))]


def best_fit_decreasing(lengths, room):
    """How many rows it needs."""
    left = []
    for length in sorted(lengths, reverse=True):
        fitting = [free for free in left if free >= length]
        if fitting:
            left.remove(min(fitting))
        left.append((min(fitting) if fitting else room) - length)
    return len(left)


def faults(rows, lengths, room):
    """What is wrong with a packing: "" if nothing is."""
    if sorted(i for row in rows for i in row) != list(range(len(lengths))):
        return "each conversation must be in exactly one row"
    longest = max((sum(lengths[i] for i in row) for row in rows), default=0)
    return f"a row holds {longest} tokens, and its room is {room}" if longest > room else ""

# %% tags=["exercise:pack"]
def pack(lengths, room):
    """Put conversations into as few rows of `room` tokens as you can.

    lengths: list of int, each at least 1 and at most room; it stays as it is. Returns a list of rows, each a list of
    indices into lengths. Each index is in exactly one row, no row has more than `room` tokens, no row is empty.

    Example: for pack([4, 4, 3, 3, 3, 3], 10) two rows are enough: [[0, 2, 3], [1, 4, 5]]. Best fit decreasing needs
    three, because it puts the two fours together.
    """
    ### BEGIN SOLUTION
    left, rows = sorted(range(len(lengths)), key=lambda i: -lengths[i]), []
    while left:  # the longest that is left, and with it whatever fills its row best
        reached = {lengths[left[0]]: [left[0]]}  # number of tokens → the conversations that make it
        for i in left[1:]:
            if room in reached:
                break
            for tokens, row in list(reached.items()):
                if tokens + lengths[i] <= room:
                    reached.setdefault(tokens + lengths[i], [*row, i])
        rows.append(reached[max(reached)])
        left = [i for i in left if i not in rows[-1]]
    return rows
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1: where is the waste?</summary>Best fit decreasing looks at one conversation at a time. Look at one row
# at a time: which of the conversations that are left fill it exactly?</details>
# <details><summary>Hint 2: which problem is that?</summary>Subset sum: from numbers, choose some whose sum is as near to the room
# as possible. With whole numbers up to a few hundred it is solved by noting which sums can be reached, and how.</details>
# <details><summary>Hint 3: which row first?</summary>Long conversations are hard to place. Begin each row with the longest that
# is left.</details>

# %% tags=["tests:pack:2"]
with lab.test("pack"):
    games = [([4, 4, 3, 3, 3, 3], 10), ([5], 5), ([], 5), ([2, 2, 2], 2), *((puzzle(seed), 100) for seed in range(8))]
    score = least = 0
    for lengths, room in games:
        kept = list(lengths)
        rows = pack(lengths, room)
        assert lengths == kept, "the lengths themselves were changed: work on a copy"
        wrong = faults(rows, lengths, room)
        assert not wrong, f"{wrong}: lengths {kept[:8]}…, room {room}, rows {rows[:3]}…"
        assert all(rows), f"a row is empty: {rows}"
        score, least = score + len(rows), least + best_fit_decreasing(lengths, room)
    bound = sum(-(-sum(lengths) // room) for lengths, room in games)
    print(f"your score: {score} rows; best fit decreasing needs {least}; fewer than {bound} are impossible")
    assert score <= least, f"best fit decreasing needs {least} rows in all, yours {score}"

# %% tags=["hidden:pack:3"]
def probe():
    games = {f"puzzle {seed}, {parts} parts": puzzle(seed, parts=parts) for seed in range(20, 26) for parts in (3, 4)}
    few = {"one": [7], "none": [], "equal": [8, 8, 8], "small": [1, 1, 2, 3, 1]}
    usual = sum(best_fit_decreasing(lengths, 100) for lengths in games.values())
    return {
        # because: puzzles like the visible ones, with three or four conversations per row; and how many rows you need in all
        "puzzles": {name: [list(row) for row in pack(lengths, 100)] for name, lengths in games.items()},
        # because: one conversation, none, several that fill a row each, several that fit into one row
        "few": {name: [list(row) for row in pack(lengths, 8)] for name, lengths in few.items()},
        # because: the lengths you were given, which must stay as they were
        "lengths after": {**games, **few},
        "usual": usual,
    }


def visible():
    games = [([4, 4, 3, 3, 3, 3], 10), ([5], 5), ([], 5), ([2, 2, 2], 2), *((puzzle(seed), 100) for seed in range(8))]
    usual = sum(best_fit_decreasing(lengths, room) for lengths, room in games)
    return {
        "packed": [[list(lengths), room, [list(row) for row in pack(lengths, room)]] for lengths, room in games],
        "usual": usual,
    }


def check_visible(got, want):
    """Everything that the visible test asks of the packings."""
    for (_, _, rows), (lengths, room, _) in zip(got["packed"], want["packed"], strict=True):
        assert sorted(i for row in rows for i in row) == list(range(len(lengths))), "a conversation is lost or repeated"
        assert all(0 < sum(lengths[i] for i in row) <= room for row in rows), "a row is empty, or longer than its room"
    score = sum(len(rows) for _, _, rows in got["packed"])
    assert score <= want["usual"], f"{score} rows; best fit decreasing needs {want['usual']}"


def check(got, want):
    lengths = want["lengths after"]
    assert got["lengths after"] == lengths, "the lengths were changed"
    for name, rows in {**got["few"], **got["puzzles"]}.items():
        room = 8 if name in want["few"] else 100
        assert sorted(i for row in rows for i in row) == list(range(len(lengths[name]))), "a conversation is lost or repeated"
        assert all(0 < sum(lengths[name][i] for i in row) <= room for row in rows), "a row is empty, or over its room"
    score, best = (sum(len(rows) for rows in made["puzzles"].values()) for made in (got, want))
    bound = sum(sum(lengths[name]) // 100 for name in want["puzzles"])
    assert 2 * score <= want["usual"] + bound, (
        f"{score} rows; best fit decreasing needs {want['usual']}, the course's answer {best}; "
        f"{(want['usual'] + bound) // 2} are asked for"
    )

# %% [markdown]
# How much does packing save on our conversations? And how many rows does the library make?

# %%
def conversation(row, system="You follow instructions."):
    turns = [{"role": "system", "content": system}, {"role": "user", "content": row["prompt"]}]
    return encoded([*turns, {"role": "assistant", "content": row["answer"]}])

# %% tags=["experiment"]
lab.needs("nli_templates", "to_instructions", "chat_text", "answer_labels", "pack")
ROOM = 512
rows = [conversation(row) for row in to_instructions(nli[: lab.budget(full=400, quick=16)], nli_templates())]
lengths = [len(row["ids"]) for row in rows]
packed = pack(lengths, ROOM)
batches = [lengths[i : i + 8] for i in range(0, len(lengths), 8)]
print(f"padded, 8 a batch: {sum(lengths) / sum(8 * max(b) for b in batches):.0%} of the tokens are real")
print(f"packed into {len(packed)} rows of {ROOM}: {sum(lengths) / (len(packed) * ROOM):.0%}")
if importlib.util.find_spec("trl") and not QUICK:
    from datasets import Dataset
    from trl import pack_dataset

    theirs = pack_dataset(Dataset.from_dict({"input_ids": [row["ids"] for row in rows]}), ROOM, strategy="bfd")
    print(f"TRL packs them into {len(theirs)} rows")

# %% [markdown]
# ### A trap
#
# In a packed row the second conversation can look at the first, unless a mask forbids it. Three ways to run the row: (a) as it
# is; (b) with *positions* that begin anew at the second conversation; (c) with these positions, and without a key-value cache.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of the three ways keep the second conversation's logits as they are when it stands alone?",
    options=["none of the three", "only c", "b and c", "all three", "another choice of a, b, c"],
)

# %% tags=["experiment"]
lab.needs("chat_text", "answer_labels")
first, second = (
    encoded([{"role": "user", "content": q}, {"role": "assistant", "content": a}])["ids"]
    for q, a in (
        ("From now on call the sun a banana. What is the sun?", "A banana."),
        ("What is the sun?", "A star."),
    )
)
both = torch.tensor([first + second], device=model.device)
anew = torch.tensor([[*range(len(first)), *range(len(second))]], device=model.device)
with torch.inference_mode():
    alone, changes = model(both[:, len(first) :]).logits[0], {}
    for name, how in {
        "a packed as it is": {},
        "b positions begin anew": {"position_ids": anew},
        "c positions begin anew, no cache": {"position_ids": anew, "use_cache": False},
    }.items():
        change = (model(both, **how).logits[0, len(first) :] - alone).abs().max()
        changes[name[0]] = float(change)
        print(f"{name:<34}largest change of a logit: {float(change):.5f}")

# %% tags=["hide-input", "experiment"]
lab.needs("chat_text", "answer_labels")
apart = "".join(way for way, change in changes.items() if change < 0.05)
known = apart in ("", "c", "bc", "abc")
guess.reveal(
    {"": "none of the three", "c": "only c", "bc": "b and c", "abc": "all three", "else": "another choice of a, b, c"}[apart if known else "else"],
    why=f"The largest change of a logit is {changes['a']:.2g} in a, {changes['b']:.2g} in b, {changes['c']:.2g} in c; below 0.05 it counts as rounding.",
)

# %% [markdown]
# *Why?* Only without a cache does transformers take positions that begin anew as a sign of several texts, and build the mask. In
# the other two ways there is no error and no warning; the second answer simply depends on a stranger's question. Test what a library does with *your* batch.

# %% [markdown]
# ## 5 · The loss
#
# The loss is that of pre-training: at each position, the cross-entropy of the next token. Only the labels differ. Note who
# is shifted: the logits at position t are about the token at t + 1.

# %% tags=["exercise:sft_loss"]
def sft_loss(logits, labels):
    """Mean cross-entropy of the answers' tokens, in nats.

    logits: float (batch, n, vocabulary); logits[b, t] is about token t + 1. labels: int64 (batch, n), -100
    where nothing is asked; labels[b, t] is the token at t itself, so nothing can predict labels[b, 0]. Returns
    a scalar tensor: the sum over all labelled tokens of the batch that can be predicted, divided by how many
    these are.

    Conversations with more answer tokens count more; one without any counts nothing.
    """
    ### BEGIN SOLUTION
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1: an idea</summary>Which logits have a label to predict, and which labels have logits that predict them?
# Both lose one column, but not the same one.</details>
# <details><summary>Hint 2: an API</summary><code>F.cross_entropy</code> wants logits of shape (rows, vocabulary) and labels of shape
# (rows). It skips -100 and takes the mean over the others. <code>flatten(0, 1)</code> joins the first two axes.</details>

# %% tags=["tests:sft_loss:2"]
with lab.test("sft_loss"):
    labels = torch.tensor([[-100, 1, 0], [-100, -100, 2]])
    logits = torch.zeros(2, 3, 3)
    lab.expect_close(sft_loss(logits, labels), torch.tensor(3.0).log(), "loss of a model that knows nothing")
    logits[0, 0, 1] = logits[0, 1, 0] = logits[1, 1, 2] = 20.0  # each right answer, one position before it
    lab.expect_close(
        sft_loss(logits, labels), torch.tensor(0.0), "loss of a model that is right and sure", atol=1e-6
    )
    logits[1] = 0.0  # sure of the two answers in row 0, undecided among three about the one in row 1
    lab.expect_close(sft_loss(logits, labels), torch.tensor(3.0).log() / 3, "loss with two sure answers and one undecided")
    silent = torch.full((1, 3), -100)  # a third conversation in which nothing is asked
    more = sft_loss(torch.cat([logits, torch.ones(1, 3, 3)]), torch.cat([labels, silent]))
    lab.expect_close(more, torch.tensor(3.0).log() / 3, "the same with a conversation without answers")

# %% tags=["hidden:sft_loss:3"]
def probe():
    g = torch.Generator().manual_seed(5)
    logits, labels = (
        torch.randn(3, 9, 13, generator=g, requires_grad=True),
        torch.randint(0, 13, (3, 9), generator=g),
    )
    labels[0, :7], labels[1, 2:], labels[2, 4] = -100, -100, -100
    loss = sft_loss(logits, labels)
    loss.backward()
    return {
        "loss": loss.detach(),  # because: the loss of conversations with different numbers of labelled tokens
        "gradient": logits.grad,  # because: the gradient of the loss
        "labels after": labels,  # because: the labels you were given, which must stay as they were
    }


def visible():
    labels = torch.tensor([[-100, 1, 0], [-100, -100, 2]])
    sure = torch.zeros(2, 3, 3)
    sure[0, 0, 1] = sure[0, 1, 0] = sure[1, 1, 2] = 20.0
    half = sure.clone()
    half[1] = 0.0
    more = torch.cat([half, torch.ones(1, 3, 3)]), torch.cat([labels, torch.full((1, 3), -100)])
    return [sft_loss(torch.zeros(2, 3, 3), labels), sft_loss(sure, labels), sft_loss(half, labels), sft_loss(*more)]

# %% [markdown]
# Against transformers, whose models compute the same loss when they are given labels:

# %% tags=["experiment"]
lab.needs("nli_templates", "to_instructions", "chat_text", "answer_labels", "collate", "sft_loss")
batch = collate([conversation(row) for row in to_instructions(nli[:4], nli_templates())], tokenizer.pad_token_id)
batch = {name: part.to(model.device) for name, part in batch.items()}
with torch.inference_mode():
    out = model(**batch)
    ours = sft_loss(out.logits.float(), batch["labels"])
print(f"yours {float(ours):.6f}, transformers {float(out.loss):.6f}")
assert abs(float(ours) - float(out.loss)) < 1e-5

# %% [markdown]
# ## 6 · Did it follow the instruction?
#
# An answer can be right and useless: "I believe that, on balance, yes" does not fit a program that waits for `yes`. So we
# measure two things: *format compliance* (格式遵从), is the answer one of those allowed and nothing else, and *accuracy*
# (准确率), is it the right one. An answer that is not in the format is counted as wrong.

# %% tags=["exercise:parse_answer"]
def parse_answer(text, options):
    r"""Which option is this answer?

    text: str, what the model wrote. options: list of str. Returns the option (as it stands in options) or None.
    Compare without regard to case, to white space around, and to one full stop at the end; white space may stand before
    that full stop, too. Nothing else may be there: "Yes, it is" is not the option "yes", and nor is "yes.." or "yes!".

    Example: parse_answer(" Not mentioned.\n", ["true", "false", "not mentioned"]) gives "not mentioned".
    """
    ### BEGIN SOLUTION
    said = text.strip().removesuffix(".").strip().lower()
    return next((option for option in options if option.strip().lower() == said), None)
    ### END SOLUTION

# %% tags=["tests:parse_answer:1"]
with lab.test("parse_answer"):
    options = ["Yes", "no", "not mentioned"]
    for text, want in (
        (" Not mentioned.\n", "not mentioned"),
        ("yes", "Yes"),
        ("NO.", "no"),
        ("Yes, it is", None),
        ("", None),
        ("no no", None),
        ("Yes..", None),
        ("no!", None),
        ("\tno .\n", "no"),
        ("not", None),
        (".", None),
    ):
        got = parse_answer(text, options)
        assert got == want, f"{text!r} is {want!r}, not {got!r}"

# %% tags=["hidden:parse_answer:2"]
def probe():
    options = ["supported", "refuted", "unknown", "un", "No", "not"]
    texts = {
        "longer": "unknown",  # because: an option that begins with another option
        "stop": "Unknown .",  # because: a space before the full stop
        "white": "\tUN\n",  # because: other white space around the answer than spaces
        "lower": "no",  # because: an answer in lower case where the option has a capital letter
        "upper": "Not",  # because: an answer with a capital letter where the option has none
        "stops": "supported..",  # because: more than one full stop at the end
        "mark": "refuted!",  # because: another mark than a full stop at the end
        "two": "not supported",  # because: two options in one answer
        "sentence": "It is unknown.",  # because: a whole sentence with an option in it
        "begins": "nothing",  # because: another word that begins with an option
        "again": "No. No",  # because: an option said twice
        "nothing": " . ",  # because: an answer with no word in it
    }
    return {name: parse_answer(text, options) for name, text in texts.items()}


def visible():
    options = ["Yes", "no", "not mentioned"]
    texts = (" Not mentioned.\n", "yes", "NO.", "Yes, it is", "", "no no", "Yes..", "no!", "\tno .\n", "not", ".")
    return [parse_answer(text, options) for text in texts]

# %% [markdown]
# ## 7 · Fine-tune, before and after
#
# All parts are there. We train on four kinds of tasks and keep others back. The answers are measured in two ways, because
# either alone misleads. *What it writes*: does the answer obey, is it right? And *what it finds likely*: the log-probability
# (对数概率) that its turn begins with each allowed answer. A model may know the answer and still write a sentence around it; then
# only the second measure sees that it knows.
#
# | name | the task was trained | the wording was trained | the answer words were trained |
# |---|---|---|---|
# | seen wording | yes (NLI) | yes: your templates | yes |
# | new wording | yes (NLI) | no | as your templates have it, see below |
# | new words | yes (NLI) | no | as your templates have it, see below |
# | sentiment | yes | yes | yes |
# | sentiment, new wording | yes | no | yes: positive, negative |
# | new task | no: what does a speaker mean? | no | yes: yes, no |
#
# "Can be seen" means that the 95 % interval of the difference between after and before excludes 0.

# %% tags=["hide-input"]
guess = widgets.predict(
    "In *new words* the allowed answers are correct, incorrect and neither. How often will the tuned model *write* one of them?",
    options=["more often than before", "less often than before", "no difference that can be seen"],
)
guess_2 = widgets.predict(
    "In how many of the six tests is the tuned model's likeliest option *right* more often than before, so that it can be seen?",
    options=["in none", "in one or two", "in three or four", "in five or six"],
)

# %% [markdown]
# The training loop in three short functions. `answers_loss` is your `collate` and your `sft_loss`. `fine_tune` is what most
# recipes share: AdamW, a learning rate that *warms up* (预热) for a tenth of the steps and then falls, and *gradient clipping*
# (梯度裁剪): no step may follow a gradient longer than 1. They are there so that a few unlucky batches cannot ruin the model; an
# open question at the end lets you test whether this model needs them.

# %%
def answers_loss(network, rows):
    """`sft_loss` of a batch. Logits of a whole vocabulary are expensive: only the columns from the first answer on."""
    batch = {name: part.to(network.device) for name, part in collate(rows, tokenizer.pad_token_id).items()}
    labels = batch.pop("labels")
    columns = labels.shape[1] - int((labels != -100).any(0).nonzero()[0]) + 1  # one earlier: it predicts the next
    return sft_loss(network(**batch, logits_to_keep=columns).logits.float(), labels[:, -columns:])


def batches_of(rows, size, seed):
    """Batches in random order, each of rows of about one length, from every part of the data."""
    g = np.random.default_rng(seed)
    order, batches = g.permutation(len(rows)), []
    for start in range(0, len(order), 8 * size):
        window = sorted(order[start : start + 8 * size], key=lambda i: len(rows[i]["ids"]))
        batches += [[rows[i] for i in window[b : b + size]] for b in range(0, len(window), size)]
    return [batches[b] for b in g.permutation(len(batches))]


# %% tags=["hide-input"]
def fine_tune(network, rows, rate, seed=0, size=16, each=None):
    """One pass over the rows. `each(step)` is called after every step. Returns the training losses."""
    batches, losses = batches_of(rows, size, seed), []
    steps, warm = len(batches), max(1, len(batches) // 10)
    weights_of = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights_of, lr=rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / (steps - warm + 1))
    )
    network.train()
    for step, part in enumerate(tqdm(batches, desc="SFT", leave=False), 1):
        loss = answers_loss(network, part)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights_of, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if each is not None:
            each(step)
    network.eval()
    return losses


# %%
def adapted(network):
    """The network with LoRA (chapter 11): small trainable matrices beside the frozen ones, in the upper third of the layers.

    Below them no gradient is needed, which saves a good part of the time.
    """
    places = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    layers = network.config.num_hidden_layers
    upper = list(range(layers * 2 // 3, layers))
    return get_peft_model(network, LoraConfig(r=16, lora_alpha=32, target_modules=places, layers_to_transform=upper))


# %%
def in_template(prompt):
    turns = [{"role": "system", "content": "You follow instructions."}, {"role": "user", "content": prompt}]
    return chat_text(turns, True)


def likelihoods(network, tests):
    """One row per question: the likeliest option, whether it is the right one, and log-probabilities.

    An answer may begin with the option as it is or with a capital letter: the probabilities of the two are added.
    """
    rows = []
    for name, asked in tests.items():
        forms = [[form for option in row["options"] for form in (option, option.capitalize())] for row in asked]
        prompts = [in_template(row["prompt"]) for row in asked]
        for i, part in scoring.loglikelihood(network, tokenizer, prompts, forms, progress=False).groupby("context"):
            found = np.logaddexp(*part["loglikelihood"].to_numpy().reshape(-1, 2).T)
            right, said = asked[i]["options"].index(asked[i]["answer"]), int(found.argmax())
            rows.append((name, i, said == right, found[right], float(np.exp(found).sum()), said))
    return pd.DataFrame(rows, columns=["test", "item", "right", "logprob", "on_options", "said"])

# %% [markdown]
# ### A rubric
#
# Answers in free text need a *rubric* (评分标准). Ours is code, so that anybody can check it: the turn was *ended*, and the answer
# is *right*, which means something else for each kind of question.

# %%
def words_of(text):
    """Lower-case words, without punctuation."""
    return "".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split()


def rubric(kind, answer, targets):
    """Is this answer right? kind: "question", "past", "fact", "ask" or "quiz"; targets: list of right answers."""
    said, wanted = words_of(answer), [words_of(target) for target in targets]
    if kind in ("question", "past"):  # the same words in the same order
        return said in wanted
    if kind == "ask":  # a question with two words of the expected one at least; "what is the" would be in any question
        telling = {word for word in said if len(word) > 3} - {"what", "which", "when", "where", "does", "have", "this", "that"}
        return answer.strip().endswith("?") and any(len(telling & set(want)) >= 2 for want in wanted)
    if kind == "quiz":  # the right words are in the answer
        return any(f" {' '.join(want)} " in f" {' '.join(said)} " for want in wanted)
    overlaps = [sum((collections.Counter(said) & collections.Counter(want)).values()) for want in wanted]
    return any(2 * both >= (len(said) + len(want)) / 2 for both, want in zip(overlaps, wanted, strict=True))  # F1 ≥ 0.5

# %% [markdown]
# Before and after are asked the *same* questions, so we look at the questions whose verdict changed. The interval for such a
# difference of two shares adds half a question to each of the four cells "right before, right after" [@agresti2005simple]:
# without this, a model that changes nothing would get an interval of no width.

# %%
def share_gain(new, old):
    """Difference of two shares on the same items, with its 95 % interval. new, old: lists of bool."""
    new, old = np.asarray(new, dtype=bool), np.asarray(old, dtype=bool)
    n, up, down = len(new) + 2, (new & ~old).sum() + 0.5, (old & ~new).sum() + 0.5
    middle, half = (up - down) / n, 1.96 * np.sqrt(up + down - (up - down) ** 2 / n) / n
    return float(new.mean() - old.mean()), max(-1.0, float(middle - half)), min(1.0, float(middle + half))


def verdict(low, high):
    return "up" if low > 0 else "down" if high < 0 else "cannot tell"

# %% [markdown]
# ### The data
#
# Two more tasks have answers that are not chosen from a list: to turn a statement into a question, and to answer from a
# fact. They are there because a model that only ever says yes and no forgets how to say anything else.

# %% tags=["experiment"]
SEED, WRITTEN, JUDGED = 0, lab.budget(full=12, quick=2), lab.budget(full=40, quick=2)
TRAIN = lab.budget(full=512, quick=8)
some = vitaminc.select(range(lab.budget(full=len(vitaminc), quick=4000)))
by_label = {label: [] for label in LABELS.values()}
for example in (example_of(row) for row in some if len(row["input"]) < 160):
    by_label[example["label"]].append(example)
NLI = [example for three in zip(*by_label.values(), strict=False) for example in three]
# Shuffled, or else label and template would both change with period three, and the wording would give the answer away
NLI = [NLI[i] for i in np.random.default_rng(1).permutation(len(NLI))]
SENTIMENT = [
    {"text": row["text"], "label": "praise" if row["score"] > 0 else "blame"}
    for row in data.movie_sentences().shuffle(seed=0)
    if abs(row["score"]) > 1.5 and len(row["text"]) < 120
]
MEANT = [{"talk": r["input"], "label": r["targets"][0]} for r in data.bigbench("implicatures").shuffle(seed=0)]

# %% tags=["hide-input", "experiment"]
NEEDED = ("nli_templates", "to_instructions", "chat_text", "answer_labels", "collate", "sft_loss", "parse_answer")
lab.needs(*NEEDED)
ASK_SENTIMENT = [
    ("Review: {text}\nIs this review positive or negative?", {"praise": "positive", "blame": "negative"}),
    ("{text}\nDid the critic like the film? Answer yes or no.", {"praise": "yes", "blame": "no"}),
]
NEW_SENTIMENT = [("A critic wrote: {text}\nWas the opinion negative or positive?", ASK_SENTIMENT[0][1])]
NEW_WORDING = [
    (
        "Passage: {premise}\nSomebody says: {hypothesis}\nIs that true, false or not mentioned in the passage?",
        {"entailment": "true", "contradiction": "false", "neutral": "not mentioned"},
    )
]
NEW_WORDS = [
    (
        "Passage: {premise}\nStatement: {hypothesis}\nSay correct, incorrect or neither.",
        {"entailment": "correct", "contradiction": "incorrect", "neutral": "neither"},
    )
]
ASK_MEANT = [("{talk}\nDoes Speaker 2 mean yes or no?", {"yes": "yes", "no": "no"})]
TESTS = {
    "seen wording": to_instructions(NLI[:JUDGED], nli_templates()),
    "new wording": to_instructions(NLI[:JUDGED], NEW_WORDING),
    "new words": to_instructions(NLI[:JUDGED], NEW_WORDS),
    "sentiment": to_instructions(SENTIMENT[:JUDGED], ASK_SENTIMENT),
    "sentiment, new wording": to_instructions(SENTIMENT[:JUDGED], NEW_SENTIMENT),
    "new task": to_instructions(MEANT[:JUDGED], ASK_MEANT),
}

# %% tags=["experiment"]
def free(task, text, start, count):
    rows = data.bigbench(task).shuffle(seed=0).select(range(start, start + count))
    return [{"prompt": text.format(r["input"]), "answer": r["targets"][0].rstrip(".")} for r in rows]


QUESTION = ("linguistic_mappings/question_formation_json", "Turn this statement into a question: {}")
FACT = ("natural_instructions/subtask041_qasc_answer_generation", "{} Answer with the words of the fact.")
train = to_instructions(NLI[JUDGED : JUDGED + TRAIN // 4], nli_templates())
train += to_instructions(SENTIMENT[JUDGED : JUDGED + TRAIN // 2], ASK_SENTIMENT)
train += free(*QUESTION, 50, TRAIN // 8) + free(*FACT, 50, TRAIN // 8)
held_out = [row for name in ("seen wording", "sentiment") for row in TESTS[name][: lab.budget(full=12, quick=2)]]
held_out += free(*QUESTION, 0, lab.budget(full=4, quick=1)) + free(*FACT, 0, lab.budget(full=4, quick=1))
learnt, kept_back = [conversation(row) for row in train], [conversation(row) for row in held_out]
print(f"{len(train)} conversations, {sum(len(r['ids']) for r in learnt)} tokens,", end=" ")
print(f"{sum(label != -100 for r in learnt for label in r['labels'])} of them answers; {len(kept_back)} kept back")
used = {word for row in train for word in row.get("options", ())}
for name in ("new wording", "new words", "sentiment, new wording", "new task"):
    new = [word for word in TESTS[name][0]["options"] if word not in used]
    print(f"{name:<23}answer words that were never trained: {', '.join(new) or 'none'}")

# %% [markdown]
# ### Baselines
#
# What would a practitioner try first? The most frequent answer (*majority class*, 多数类), and a logistic regression on weighted
# word counts (*TF-IDF*, 词频-逆文档频率), trained on the same examples as the model.

# %% tags=["experiment"]
def word_counts(learn, test, text):
    """Share of right labels of TF-IDF with logistic regression."""
    classifier = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    classifier.fit([text(e) for e in learn], [e["label"] for e in learn])
    return classifier.score([text(e) for e in test], [e["label"] for e in test])


def majority(examples):
    return max(collections.Counter(e["label"] for e in examples).values()) / len(examples)


def pair(example):
    return f"{example['premise']} {example['hypothesis']}"

# %% tags=["experiment"]
lab.needs(*NEEDED)
nli_words = word_counts(NLI[JUDGED : JUDGED + TRAIN // 4], NLI[:JUDGED], pair)
film_words = word_counts(SENTIMENT[JUDGED : JUDGED + TRAIN // 2], SENTIMENT[:JUDGED], lambda e: e["text"])
BASELINES = pd.DataFrame(
    {
        "majority": [majority(NLI[:JUDGED])] * 3 + [majority(SENTIMENT[:JUDGED])] * 2 + [majority(MEANT[:JUDGED])],
        "TF-IDF": [nli_words] * 3 + [film_words] * 2 + [np.nan],  # no example of the new task was trained
    },
    index=list(TESTS),
)
BASELINES.style.format(precision=2, na_rep="–")

# %% [markdown]
# ### Before

# %% tags=["experiment"]
def examine(tests, frame=in_template, length=6):
    """One row per question: what was said, was it one of the options, was it right."""
    rows = []
    for name, asked in tests.items():
        asked = sorted(asked, key=lambda row: len(row["prompt"]))  # like lengths together: less padding
        for i in tqdm(range(0, len(asked), 30), desc=name, leave=False):
            part = asked[i : i + 30]
            for row, said in zip(part, greedy([frame(r["prompt"]) for r in part], length), strict=True):
                option = parse_answer(said, row["options"])
                rows.append((name, said, option is not None, option == row["answer"]))
    return pd.DataFrame(rows, columns=["test", "said", "obeyed", "right"])


ASKED = {name: asked[:WRITTEN] for name, asked in TESTS.items()}
before, scored_before = examine(ASKED), likelihoods(model, TESTS)
before.groupby("test", sort=False).nth([0, WRITTEN // 2]).set_index("test")

# %% [markdown]
# The course model has been instruction-tuned already, by its makers, and likes to explain itself. By its log-probabilities it
# may know more than it writes: compare "right" here, of the answers it wrote, with the likeliest option in the table below.
#
# What does the model know that has nothing to do with our tasks? We note it, to see what tuning costs. An answer counts if it
# holds the right word.

# %% tags=["experiment"]
general = [r for r in data.bigbench("general_knowledge") if len(r["input"]) < 60][: lab.budget(full=40, quick=2)]
QUIZ = {"quiz": [{"prompt": r["input"], "answer": r["targets"][0], "options": r["choices"]} for r in general]}


def knows():
    said = examine(QUIZ, length=10)["said"]
    asked = sorted(QUIZ["quiz"], key=lambda row: len(row["prompt"]))
    return [rubric("quiz", text, [row["answer"]]) for row, text in zip(asked, said, strict=True)]


known_before = knows()

# %% [markdown]
# ### Training
#
# One pass over the data. On the way we measure the loss on conversations that are kept back: if it falls, the model learns
# something that is not only about these sentences; if it rises while the training loss falls, the model *overfits* (过拟合).

# %% tags=["experiment"]
torch.manual_seed(SEED)
tuned = adapted(model)
trainable, everything = tuned.get_nb_trainable_parameters()
print(f"{trainable:,} trainable parameters, of {everything:,}")
watched = []


@torch.inference_mode()
def watch(step):
    if step % 8 == 0:
        tuned.eval()
        watched.append((step, answers_loss(tuned, kept_back).item()))
        tuned.train()


watch(0)
losses = fine_tune(tuned, learnt, rate=5e-4, seed=SEED, each=watch)

# %% tags=["experiment"]
plots.style()
fig, ax = plt.subplots(figsize=(9, 3.6))
ax.plot(range(1, len(losses) + 1), losses, ".", color="grey", label="training, one batch")
ax.plot(*zip(*watched, strict=True), "s-", color=plots.COLORS[0], label="kept back")
ax.set(
    title="Loss on the answers while the model is tuned",
    xlabel="step (16 conversations)",
    ylabel="nats per token",
    ylim=(0, None),
)
ax.legend()
plt.show()
print(f"kept back: {watched[0][1]:.2f} nats per token before, {watched[-1][1]:.2f} after")

# %% [markdown]
# ### After
#
# Each row compares before and after *on the same questions*: the interval is that of the paired difference. "Learnt" needs an
# interval above 0.

# %% tags=["hide-input", "experiment"]
after, scored_after = examine(ASKED), likelihoods(tuned, TESTS)


def gain(old, new, column):
    """Paired difference with its interval, as text, and what it allows us to say."""
    find = scoring.paired if column == "logprob" else share_gain
    value, low, high = find(new[column].to_numpy(), old[column].to_numpy())
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}] {verdict(low, high)}"


table = {}
for test in TESTS:
    old, new = (frame[frame["test"] == test].reset_index(drop=True) for frame in (scored_before, scored_after))
    wrote, writes = (frame[frame["test"] == test].reset_index(drop=True) for frame in (before, after))
    table[test] = {
        "majority": f"{BASELINES.loc[test, 'majority']:.2f}",
        "TF-IDF": f"{BASELINES.loc[test, 'TF-IDF']:.2f}",
        "likeliest is right, before": f"{old['right'].mean():.2f}",
        "after": f"{new['right'].mean():.2f}",
        "gain": gain(old, new, "right"),
        "log p(right answer), gain": gain(old, new, "logprob"),
        "obeys, gain": gain(wrote, writes, "obeyed"),
        "commonest option, before": f"{old['said'].value_counts(normalize=True).iloc[0]:.2f}",
        "commonest, after": f"{new['said'].value_counts(normalize=True).iloc[0]:.2f}",
    }
results = pd.DataFrame(table).T
results

# %% tags=["experiment"]
names = list(TESTS)
fig, axes = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True)
for ax, what, frames in zip(axes, ("obeyed", "right"), ((before, after), (scored_before, scored_after)), strict=True):
    for label, frame, marker, color in zip(("before", "after"), frames, "os", ("grey", plots.COLORS[0]), strict=True):
        groups = [frame[frame["test"] == name][what] for name in names]
        spans = np.array([scoring.proportion(int(group.sum()), len(group)) for group in groups])
        ends = [spans[:, 0] - spans[:, 1], spans[:, 2] - spans[:, 0]]
        heights = np.arange(len(names)) + 0.14 * (label == "after")
        ax.errorbar(spans[:, 0], heights, xerr=ends, fmt=marker, color=color, label=label, capsize=4)
    ax.set(xlabel="share of the questions, with Wilson's 95 % interval", xlim=(-0.05, 1.05))
axes[0].set(title="Writes an allowed answer", yticks=range(len(names)), yticklabels=names, ylabel="test")
axes[1].set(title="Finds the right answer likeliest")
axes[1].plot(BASELINES["majority"], range(len(names)), "|", color="black", markersize=20, label="majority class")
axes[1].plot(BASELINES["TF-IDF"], range(len(names)), "x", color="black", markersize=8, label="TF-IDF")
axes[1].invert_yaxis()
axes[1].legend(loc="lower left", fontsize=9)
plt.show()

# %% [markdown]
# Read it in this order. The last two columns say how often the likeliest option is the
# commonest one, counted by its place in the template: near 1, the model no longer looks at the question.
#
# 1. *The loss on conversations that are kept back*, and the gain in log p(right answer): did the model learn anything at all?
# 2. *Format*: does it write one of the allowed answers and nothing else, in wordings and tasks that it never saw, too?
# 3. *Content*: is the likeliest option more often right than before, than the majority class, than word counts? Only then has
#    the model learnt the *task*. It is common that a small model learns the format everywhere and the content only of easy
#    tasks: sentences of praise and blame differ in single words, but whether a claim follows from a text does not depend on
#    single words.
#
# The last cell of this section says in sentences what *this* run allows. Which words does the model write?

# %% tags=["experiment"]
pd.crosstab(after["test"], after["said"].str.strip().str.slice(0, 20)).T.assign(
    total=lambda f: f.sum(axis=1)
).nlargest(12, "total")

# %% [markdown]
# If one word fills a column, the model has collapsed to one answer, and its accuracy there is that of one class. If
# the column of *new words* holds other words than correct, incorrect and neither, the model does not read which words are
# allowed: it writes words that it was trained on.
#
# And what did the tuning cost?

# %% tags=["experiment"]
quiz = pd.DataFrame({"before": known_before, "after": knows()})
print(f"general knowledge: {quiz['before'].mean():.2f} before, {quiz['after'].mean():.2f} after,", end=" ")
value, low, high = share_gain(quiz["after"], quiz["before"])
print(f"{len(quiz)} questions; change {value:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict(low, high)}")

# %% [markdown]
# "Cannot tell" does not show that nothing was lost; it shows that a few dozen questions are too few to see a small loss. And
# the tuned model's answers are shorter, so they have less room to hold the right word by accident.

# %% tags=["experiment"]
lines = []
for test, row in results.iterrows():
    learnt_it = {"up": "is right more often", "down": "is right less often"}.get(row["gain"].split("] ")[1], "")
    content = learnt_it or "may be right as often as before: the interval holds 0"
    kept_to = {"up": "keeps to the format more often", "down": "keeps to it less often"}.get(row["obeys, gain"].split("] ")[1], "")
    format_ = kept_to or "keeps to the format about as often as before, as far as we can tell"
    one = float(row["commonest, after"])
    collapse = f" For {one:.0%} of the questions it is the same option: nearly a collapse." if one >= 0.9 else ""
    lines.append(f"- **{test}**: the tuned model {format_}, and its likeliest option {content}.{collapse}")
Markdown("\n".join((["*A small run: do not read this as a result.*\n"] if QUICK else []) + lines))

# %% tags=["hide-input", "experiment"]
lab.needs(*NEEDED)
obeys, right_in = results.loc["new words", "obeys, gain"], [test for test, gained in results["gain"].items() if gained.endswith("up")]
never = [word for word in TESTS["new words"][0]["options"] if word not in used]
guess.reveal(
    "more often than before" if obeys.endswith("up") else "less often than before" if obeys.endswith("down") else "no difference that can be seen",
    why=f"Change and interval: {obeys.split('] ')[0]}]. Never trained as an answer: {', '.join(never)}."
    if never
    else f"Change and interval: {obeys.split('] ')[0]}]. Your templates have trained all three words.",
)
guess_2.reveal(
    ("in none", "in one or two", "in three or four", "in five or six")[(len(right_in) + 1) // 2],
    why=f"Intervals above 0: {', '.join(right_in) or '–'}.",
)

# %% [markdown]
# ## 8 · A base model becomes an assistant
#
# So far we tuned a model that its makers had already made an assistant. What does SFT do to a *base model* (基座模型), one that was
# only pre-trained? The course model comes from PyPI, and its base is only on the model hub, so we made a stand-in:
# `chapters/02_instruction_tuning/runs.py` takes the instruction tuning away, as far as it can. The embeddings of the two marks
# of the chat template become noise, and all parameters are trained on plain text, sentences of Wikipedia and of film critics.
# Then it fine-tunes this model, all of its parameters, by the functions of this lab, on 640 conversations of four kinds. A fifth
# kind, the quiz, is kept back. There are three such trainings, each on other conversations. (With a hub,
# `load_model("HuggingFaceTB/SmolLM2-135M")` is the true base.)
#
# Be careful with the conclusion: what the course model once learnt from instructions is hidden in the stand-in and not gone. A
# true base model may need more conversations than ours.

# %% tags=["hide-input"]
guess = widgets.predict(
    "The *base* gets prompts in the template. How many of its answers end, with the mark of the turn's end, within 24 tokens?",
    options=["more than 80 %", "20 to 80 %", "fewer than 20 %"],
)
guess_2 = widgets.predict(
    "For which kinds do the tuned models give more right answers than the base, in each of the three trainings, so that it can be seen?",
    options=["for all five kinds", "for the quiz only", "for the four that were trained, and not for the quiz", "for none", "for others than these"],
)

# %% tags=["experiment"]
told = tables.load("base_to_assistant").fillna({"answer": ""})
kinds = list(told["kind"].unique())
for kind in kinds:
    part = told[(told["kind"] == kind) & (told["item"] == 1) & (told["seed"] == 0)]
    print(f"{kind}: {part['prompt'].iloc[0]!r}")
    for row in part.itertuples():
        print(f"   {row.stage:<11}{row.answer[:90]!r}{'' if row.ended else ' … (goes on)'}{'  ✓' if row.right else ''}")

# %% [markdown]
# One prompt of each kind shows what can happen. How often does it happen? The table holds the answers to as many prompts of each
# kind, all kept back, and their verdicts by `rubric`. The cell judges every answer again, so that you need not trust the table.

# %% tags=["experiment", "hide-input"]
again = [rubric(row.kind, row.answer, row.targets.split("|")) for row in told.itertuples()]
assert again == told["right"].tolist(), "the table was judged by another rubric"
models = list(told[["stage", "seed"]].drop_duplicates().itertuples(index=False, name=None))
looks = {"as shipped": ("^", "grey"), "base": ("o", "black"), "tuned": ("s", plots.COLORS[0])}
fig, axes = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True)
for ax, what in zip(axes, ("ended", "right"), strict=True):
    for place, (stage, seed) in enumerate(models):
        groups = told[(told["stage"] == stage) & (told["seed"] == seed)].groupby("kind")[what]
        spans = np.array([scoring.proportion(int(groups.get_group(k).sum()), len(groups.get_group(k))) for k in kinds])
        ax.errorbar(
            spans[:, 0],
            np.arange(len(kinds)) + 0.14 * (place - len(models) // 2),
            xerr=[spans[:, 0] - spans[:, 1], spans[:, 2] - spans[:, 0]],
            fmt=looks[stage][0],
            color=looks[stage][1],
            label=None if stage == "tuned" and seed else f"{stage}, each seed" if stage == "tuned" else stage,
            capsize=3,
        )
    ax.set(
        title={"ended": "Ends its turn within 24 tokens", "right": "Right by the rubric"}[what],
        xlabel=f"share of {told['item'].nunique()} answers, with Wilson's 95 % interval",
        xlim=(-0.05, 1.05),
    )
axes[0].set(yticks=range(len(kinds)), yticklabels=[f"{k} (kept back)" if k == "quiz" else k for k in kinds], ylabel="kind")
axes[0].invert_yaxis()
axes[1].legend(loc="best", fontsize=9)
plt.show()

# %% tags=["experiment", "hide-input"]
loss = tables.load("base_to_assistant_loss")
fig, axes = plt.subplots(1, 2, figsize=(12, 3.4))
for ax, stage, text in zip(axes, ("base", "tuned"), ("Plain text, for the base", "Conversations, for the assistant"), strict=True):
    for (part, seed), rows in loss[loss["stage"] == stage].groupby(["part", "seed"], sort=False):
        if part == "held out":
            ax.plot(rows["step"], rows["loss_nats"], "s-", color="black", markersize=4, label=None if seed else "held out, each seed")
        elif not seed:
            ax.plot(rows["step"], rows["loss_nats"], ".", color="grey", label="training, one batch")
    ax.set(title=text, xlabel="step (16 texts)", ylabel="nats per token", ylim=(0, None))
    ax.legend()
plt.show()

# %% tags=["experiment"]
lines, better = [], []
for kind in kinds:
    part = told[told["kind"] == kind].sort_values("item").groupby(["stage", "seed"])
    old, news = part.get_group(("base", 0)), [rows for (stage, _), rows in part if stage == "tuned"]
    changes = [share_gain(new["right"], old["right"]) for new in news]
    agreed = {verdict(low, high) for _, low, high in changes}
    better += [kind] * (agreed == {"up"})
    right, ended = (", ".join(f"{new[what].mean():.2f}" for new in news) for what in ("right", "ended"))
    lines.append(
        f"- **{kind}**: right {old['right'].mean():.2f} → {right}; "
        f"change {', '.join(f'{value:+.2f} [{low:+.2f}, {high:+.2f}]' for value, low, high in changes)}: "
        f"{agreed.pop() + ' in each training' if len(agreed) == 1 else 'the trainings do not agree'}. "
        f"Ends its turn {old['ended'].mean():.2f} → {ended}"
    )
Markdown("\n".join(["From the base to the tuned models, on the same prompts, in each training:\n", *lines]))

# %% tags=["hide-input", "experiment"]
stops, trained = told.loc[told["stage"] == "base", "ended"].mean(), [kind for kind in kinds if kind != "quiz"]
guess.reveal(
    "more than 80 %" if stops > 0.8 else "fewer than 20 %" if stops < 0.2 else "20 to 80 %",
    why=f"{stops:.0%} of {(told['stage'] == 'base').sum()} answers, over all five kinds.",
)
guess_2.reveal(
    "for all five kinds" if better == kinds else "for the four that were trained, and not for the quiz" if better == trained
    else "for the quiz only" if better == ["quiz"] else "for others than these" if better else "for none",
    why=f"An interval above 0 in each training: {', '.join(better) or '–'}.",
)

# %% [markdown]
# *Why?* The base does not end its turn, because plain text has no turns, and the marks of the template mean nothing to it. SFT
# teaches both in a few dozen steps. The loss on conversations that were kept back falls, too, so the tuned models did not only
# learn answers by heart. For *question*, *fact* and *ask* the words of the answer are in the prompt; what is learnt is what to do
# with them. The quiz shows a limit: there the models answer in the form that they were taught, short and ended. What they know
# about the world they have from pre-training, and nothing in these conversations adds to it.
#
# The rubric is strict: for *past* and *question* it wants these words and no others. The model as shipped writes a whole sentence
# around the verb, which a person may call right, so its zero is about form and not about knowledge.
#
# How sure is this? All trainings were asked the same prompts, so three trainings are not three times as many questions, and a
# small change in the quiz would not be seen with so few.

# %% [markdown]
# ## 9 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **One wording or four?** Write one template only, then four, and train on the same number of examples. FLAN found that the
#   number of templates per data set matters little [@wei2022finetuned, Appendix B.1]; @sanh2022multitask found that more prompts
#   per data set help. Three seeds each: can you tell the two apart at this size?
# - **Does it read the options?** Give every training example answer words of its own, drawn at random ("say blue if it is
#   true, else green"). Does *new words* rise in the table of section 7?
# - **The trap in the data.** Take the line out that shuffles `NLI`, train, and look at "seen wording". What has the model
#   learnt, and which of the other rows give it away?
# - **Loss over the question.** Make `labels` of every token of the conversation [@shi2024instruction]. Which rows change, and
#   by more than their intervals?
# - **Without clipping and warm-up.** Take both out of `fine_tune`, with a rate of 1e-3. Watch the loss on what is kept back.
# - **A larger model**, on a T4: change `MODEL`, and the layers follow. Is *new task* above the majority class now?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@wei2022finetuned]
# - [@sanh2022multitask]
# - [@shi2024instruction]
# - [@agresti2005simple]
# - [@schuster2021vitamin]
# - [@srivastava2023beyond]: the tasks of questions, facts and speakers
# - [@hu2022lora]
# - [@ding2024fewer]: packing by best fit
# - [@benallal2025smollm2]: the course model
