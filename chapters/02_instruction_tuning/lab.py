# %% [markdown]
# # Lab 02 · From a data set to a model that follows instructions
#
# **A language model continues text. What turns it into one that does what it is told, in the form it was told?** Less than
# one would think: the same loss as before, on texts that look like questions and answers. You will make such texts from a
# plain data set, write every step between them and the loss, fine-tune the course model, and measure what it gained, on
# what it was trained for and on what it was not.
#
# You will
#
# 1. write *templates* (模板) that turn one data set into many *instructions* (指令),
# 2. write the *chat template* (对话模板) by which a model tells question from answer,
# 3. write the *answer-only loss mask* (只对答案计损失), padding and *packing* (打包), and the loss itself,
# 4. run *supervised fine-tuning* (SFT, 有监督微调) and compare before and after, with intervals.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %%
import collections
import copy
import importlib.util
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from course_utils import data, lab, load_model, plots, scoring, weights

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
# [@wei2022finetuned] wrote ten templates for each of 62 data sets; some even turn the task round. Each template says what the
# task is, and names the answers that are allowed.
#
# Write yours. They will train the model below, so they matter.

# %% tags=["exercise:nli_templates"]
def nli_templates():
    """Three or more wordings of the NLI task.

    Returns a list of pairs (text, answers). text: str with the fields {premise} and {hypothesis}, asking for a
    verdict and naming all three answers. answers: dict with the keys "entailment", "contradiction", "neutral",
    and what the model shall answer (str, three different ones). No two texts alike, and not all with the same
    answers.

    Example of one pair:
    ("{premise}\\nClaim: {hypothesis}\\nIs the claim true, false, or not mentioned?",
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

    Example: to_instructions([{"text": "Fine.", "label": "pos"}], [("{text} Good or bad?", {"pos": "good",
    "neg": "bad"})]) gives [{"prompt": "Fine. Good or bad?", "answer": "good", "options": ["good", "bad"]}].
    Hint: text.format(**example) fills in every field at once.
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

# %% [markdown]
# One data set, several instructions. **Predict:** a model that only ever saw *one* wording: what will it do with another?

# %%
for row in to_instructions(nli[:3], nli_templates()):
    print(row["prompt"], "→", row["answer"], "\n" + "-" * 60)

# %% [markdown]
# ## 2 · Who says what: the chat template
#
# A model reads one stream of tokens. That there is a user, an assistant and a rule from above (*system*, 系统提示) is a matter
# of punctuation that it was trained on. The course model's is called ChatML: each *turn* (轮) is
#
# `<|im_start|>role⏎content<|im_end|>⏎`
#
# with the two marks as single tokens. To get an answer, the text ends with the opened turn `<|im_start|>assistant⏎`.

# %% tags=["exercise:chat_text"]
def chat_text(messages, generation_prompt=False):
    """A conversation as one string, in ChatML.

    messages: list of dicts with "role" and "content" (str). generation_prompt: open an assistant's turn at the
    end.
    Returns str. If the first message is no system message, the text begins with the system turn that this model
    was trained with: "You are a helpful AI assistant named SmolLM, trained by Hugging Face".

    Example: chat_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], True) gives
    "<|im_start|>system\\nBe brief.<|im_end|>\\n<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n"
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
    for messages in (talk[:1], talk, [{"role": "system", "content": "Be brief."}, *talk]):
        for opened in (False, True):
            want = course_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
            got = chat_text(messages, opened)
            assert got == want, (
                f"for {[m['role'] for m in messages]}, generation_prompt={opened}:\n  yours {got!r}\n  theirs {want!r}"
            )

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
    return [
        chat_text(m, o)
        for m in (talk[:1], talk, [{"role": "system", "content": "Be brief."}, *talk])
        for o in (False, True)
    ]

# %% [markdown]
# ### Does the punctuation matter?
#
# The same question twice: once as plain text, as a model that has only been pre-trained would get it, and once in the
# template. **Predict** both answers.

# %% tags=["experiment"]
@torch.inference_mode()
def greedy(prompts, length=12):
    """The likeliest continuation of each prompt, up to the end of the turn."""
    tokenizer.padding_side = "left"
    batch = tokenizer(prompts, return_tensors="pt", padding=True).to(model.device)
    out = model.generate(**batch, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


question = "Is the sun a planet? Answer yes or no."
for name, prompt in (("plain", question), ("template", chat_text([{"role": "user", "content": question}], True))):
    print(f"{name:<9}{greedy([prompt], 24)[0]!r}")

# %% [markdown]
# ## 3 · Learn from the answer, not from the question
#
# The loss of pre-training asks for every token. Of a conversation the model shall learn to *answer*, not to ask: tokens of
# the question get the label -100, which cross-entropy skips. The end of the turn is part of the answer: a model that never
# learns to stop will not.

# %% tags=["exercise:answer_labels"]
def answer_labels(ids, header, end):
    """Labels of a conversation: the tokens of the assistant's turns, -100 elsewhere.

    ids: list of int. header: list of int, the tokens that open an assistant's turn. end: int, the token that
    closes a turn.
    Returns a list of int, as long as ids: from the token after a header to the next `end`, this one too, the id
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

# %% tags=["tests:answer_labels:2"]
with lab.test("answer_labels"):
    got = answer_labels([1, 7, 5, 2, 1, 8, 6, 2, 9], [1, 8], 2)
    assert got == [-100] * 6 + [6, 2, -100], f"the example gives {got}"
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
        "long": [answer_labels(list(ids), [1, 3], 2) for ids in cases],
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

# %%
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
    Hint: torch.full makes a rectangle of one value. A row may hold the token pad itself.
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

# %% tags=["tests:collate:1"]
with lab.test("collate"):
    batch = collate([{"ids": [5, 6], "labels": [-100, 6]}, {"ids": [7], "labels": [7]}], 0)
    lab.expect_close(batch["input_ids"], torch.tensor([[5, 6], [7, 0]]), "input_ids")
    lab.expect_close(batch["labels"], torch.tensor([[-100, 6], [7, -100]]), "labels")
    lab.expect_close(batch["attention_mask"], torch.tensor([[1, 1], [1, 0]]), "attention_mask")

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
    return [batch["input_ids"], batch["labels"], batch["attention_mask"]]

# %% [markdown]
# ### The same batch from TRL
#
# TRL is the library that most people use for this. Its trainer asks the template which tokens are the assistant's, so the
# template must mark them (`generation`). **Predict:** which of the three tensors will differ from yours?

# %% tags=["experiment"]
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


if importlib.util.find_spec("trl"):
    theirs = trl_batch([spoken, spoken[:3]])
    yours = collate([encoded(spoken), encoded(spoken[:3])], tokenizer.pad_token_id)
    for name in yours:
        assert torch.equal(yours[name], theirs[name].cpu()), f"{name} differs"
    print(
        "all three equal;",
        int((yours["labels"] != -100).sum()),
        "tokens of",
        yours["labels"].numel(),
        "are learnt from",
    )
else:
    print("TRL is not installed here; `pip install trl` and run again to compare")

# %% [markdown]
# None. Look at the number of the padding token: it is that of `<|im_end|>`. A mask made by `ids != pad` would hide the end of
# every turn, which is why your mask had to be made from lengths.

# %% [markdown]
# Filling up wastes work. *Packing* puts several conversations into one row. Which go together? The rule that TRL uses, *best
# fit decreasing*: take the longest first; put it where it leaves the least room; where it fits nowhere, begin a new row.

# %% tags=["exercise:pack"]
def pack(lengths, room):
    """Put conversations into rows of `room` tokens.

    lengths: list of int, each at most room. Returns a list of rows, each a list of indices into lengths. Take
    the longest first, of equal ones the one with the smaller index. Put it into the row in which the least room
    is left after it, of such rows the earliest; if it fits into none, begin a new row at the end.

    Example: pack([3, 5, 2, 4], 6) gives [[1], [3, 2], [0]].
    Hint: sorted(range(len(lengths)), key=lambda i: -lengths[i]) keeps the order of equal ones.
    """
    ### BEGIN SOLUTION
    rows, left = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [row for row in range(len(rows)) if left[row] >= lengths[i]]
        if fitting:
            best = min(fitting, key=lambda row: left[row])
        else:
            best = len(rows)
            rows.append([])
            left.append(room)
        rows[best].append(i)
        left[best] -= lengths[i]
    return rows
    ### END SOLUTION

# %% tags=["tests:pack:2"]
with lab.test("pack"):
    got = pack([3, 5, 2, 4], 6)
    assert got == [[1], [3, 2], [0]], f"the example gives {got}"
    got = pack([4, 4, 2, 2, 3], 6)
    assert got == [[0, 2], [1, 3], [4]], f"[4, 4, 2, 2, 3] into 6 gives {got}"

# %% tags=["hidden:pack:3"]
def probe():
    g = np.random.default_rng(1)
    one, some, many = ([int(n) for n in g.integers(1, 30, size)] for size in (1, 7, 40))
    cases = {
        "one": (one, 32),  # because: one conversation only
        "some": (some, 32),  # because: a few conversations of different lengths
        "many": (many, 32),  # because: many conversations, some of them equally long
        "full": ([8, 8, 8], 8),  # because: conversations that fill a whole row each
        "none": ([], 5),  # because: no conversation at all
        "rest": ([5, 4, 3, 2, 1, 1], 8),  # because: short conversations that fit into several rows
    }
    return {
        "rows": {name: [list(row) for row in pack(lengths, room)] for name, (lengths, room) in cases.items()},
        # because: the lengths you were given, which must stay as they were
        "lengths after": [lengths for lengths, _ in cases.values()],
    }


def visible():
    return [[list(row) for row in pack(lengths, 6)] for lengths in ([3, 5, 2, 4], [4, 4, 2, 2, 3])]

# %% [markdown]
# How much does it save on our conversations? And does the library make as many rows?

# %% tags=["experiment"]
def conversation(row, system="You follow instructions."):
    turns = [{"role": "system", "content": system}, {"role": "user", "content": row["prompt"]}]
    return encoded([*turns, {"role": "assistant", "content": row["answer"]}])


ROOM = 512
rows = [conversation(row) for row in to_instructions(nli[:400], nli_templates())]
lengths = [len(row["ids"]) for row in rows]
packed = pack(lengths, ROOM)
batches = [lengths[i : i + 8] for i in range(0, len(lengths), 8)]
print(f"padded, 8 a batch: {sum(lengths) / sum(8 * max(b) for b in batches):.0%} of the tokens are real")
print(f"packed into {len(packed)} rows of {ROOM}: {sum(lengths) / (len(packed) * ROOM):.0%}")
if importlib.util.find_spec("trl"):
    from datasets import Dataset
    from trl import pack_dataset

    theirs = pack_dataset(Dataset.from_dict({"input_ids": [row["ids"] for row in rows]}), ROOM, strategy="bfd")
    print(f"TRL packs them into {len(theirs)} rows")

# %% [markdown]
# ### A trap
#
# In a packed row the second conversation can look at the first, unless it is told not to. **Predict:** does that change what
# the model says? We put a question behind another conversation: as it is; with *positions* that begin anew; and with these
# positions and no key-value cache, because only then does transformers take them for several texts and build a mask.

# %% tags=["experiment"]
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
    alone = model(both[:, len(first) :]).logits[0]
    for name, how in {
        "packed as it is": {},
        "positions begin anew": {"position_ids": anew},
        "positions begin anew, no cache": {"position_ids": anew, "use_cache": False},
    }.items():
        change = (model(both, **how).logits[0, len(first) :] - alone).abs().max()
        print(f"{name:<32}largest change of a logit: {float(change):.5f}")

# %% [markdown]
# A flag that has nothing to do with it decides whether two conversations are kept apart. No error, no warning, only a model
# that learns from answers to other people's questions. Test what a library does with *your* batch.

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

    Hint: F.cross_entropy(logits as (rows, vocabulary), labels as (rows)) skips -100 and takes the mean over the
    others.
    """
    ### BEGIN SOLUTION
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    ### END SOLUTION

# %% tags=["tests:sft_loss:2"]
with lab.test("sft_loss"):
    labels = torch.tensor([[-100, 1, 0], [-100, -100, 2]])
    logits = torch.zeros(2, 3, 3)
    lab.expect_close(sft_loss(logits, labels), torch.tensor(3.0).log(), "loss of a model that knows nothing")
    logits[0, 0, 1] = logits[0, 1, 0] = logits[1, 1, 2] = 20.0  # each right answer, one position before it
    lab.expect_close(
        sft_loss(logits, labels), torch.tensor(0.0), "loss of a model that is right and sure", atol=1e-6
    )

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
    return [sft_loss(torch.zeros(2, 3, 3), labels), sft_loss(sure, labels)]

# %% [markdown]
# Against transformers, whose models compute the same loss when they are given labels:

# %% tags=["experiment"]
batch = collate([conversation(row) for row in to_instructions(nli[:4], nli_templates())], tokenizer.pad_token_id)
batch = {name: part.to(model.device) for name, part in batch.items()}
with torch.inference_mode():
    out = model(**batch)
    ours = sft_loss(out.logits.float(), batch["labels"])
print(f"yours {float(ours):.6f}, transformers {float(out.loss):.6f}")
assert abs(float(ours) - float(out.loss)) < 1e-5

# %% [markdown]
# ## 6 · Did it do as it was told?
#
# An answer can be right and useless: "I believe that, on balance, yes" does not fit a program that waits for `yes`. So we
# measure two things: *obedience* (格式遵从), is the answer one of those allowed and nothing else, and *accuracy*, is it the
# right one. A disobedient answer is not right.

# %% tags=["exercise:parse_answer"]
def parse_answer(text, options):
    """Which option is this answer?

    text: str, what the model wrote. options: list of str. Returns the option (as it stands in options) or None.
    Compare without regard to case, to spaces around, and to one full stop at the end. Nothing else may be
    there: "Yes, it is" is not the option "yes".

    Example: parse_answer(" Not mentioned.\\n", ["true", "false", "not mentioned"]) gives "not mentioned".
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
    return [parse_answer(text, options) for text in (" Not mentioned.\n", "yes", "NO.", "Yes, it is", "", "no no")]

# %% [markdown]
# ## 7 · Fine-tune, before and after
#
# All parts are there. We train on four kinds of tasks and keep others back. **Predict**, before you run on, for each row of
# the table below: how often will the model *obey*, before and after? How often will it be *right*?
#
# | name | the task was trained | the wording was trained | the answer words were trained |
# |---|---|---|---|
# | seen wording | yes (NLI) | yes | yes |
# | new wording | yes (NLI) | no | yes: true, false, not mentioned |
# | new words | yes (NLI) | no | no: correct, incorrect, neither |
# | sentiment | yes | yes | yes |
# | new task | no: what does a speaker mean? | no | yes: yes, no |

# %% tags=["experiment"]
SEED, ITEMS, TRAIN = 0, lab.budget(full=36, quick=3), lab.budget(full=240, quick=16)
by_label = {
    label: [e for e in map(example_of, vitaminc.filter(lambda r: len(r["input"]) < 160)) if e["label"] == label]
    for label in LABELS.values()
}
NLI = [example for three in zip(*by_label.values(), strict=False) for example in three]
# Shuffled, or else label and template would both change with period three, and the wording would give the answer away
NLI = [NLI[i] for i in np.random.default_rng(1).permutation(len(NLI))]
SENTIMENT = [
    {"text": row["text"], "label": "praise" if row["score"] > 0 else "blame"}
    for row in data.movie_sentences().shuffle(seed=0)
    if abs(row["score"]) > 1.5 and len(row["text"]) < 120
]
MEANT = [{"talk": r["input"], "label": r["targets"][0]} for r in data.bigbench("implicatures").shuffle(seed=0)]

# %% tags=["experiment"]
ASK_SENTIMENT = [
    ("Review: {text}\nIs this review positive or negative?", {"praise": "positive", "blame": "negative"}),
    ("{text}\nDid the critic like the film? Answer yes or no.", {"praise": "yes", "blame": "no"}),
]
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
    "seen wording": to_instructions(NLI[:ITEMS], nli_templates()),
    "new wording": to_instructions(NLI[:ITEMS], NEW_WORDING),
    "new words": to_instructions(NLI[:ITEMS], NEW_WORDS),
    "sentiment": to_instructions(SENTIMENT[:ITEMS], ASK_SENTIMENT),
    "new task": to_instructions(MEANT[:ITEMS], ASK_MEANT),
}

# %% [markdown]
# Two more tasks have answers that are not chosen from a list: to turn a statement into a question, and to answer from a
# fact. They are there because a model that only ever says yes and no forgets how to say anything else.

# %% tags=["experiment"]
quarter = TRAIN // 4
questions = (
    data.bigbench("linguistic_mappings/question_formation_json").shuffle(seed=0).select(range(quarter // 2))
)
facts = (
    data.bigbench("natural_instructions/subtask041_qasc_answer_generation")
    .shuffle(seed=0)
    .select(range(quarter // 2))
)
train = to_instructions(NLI[ITEMS : ITEMS + 2 * quarter], nli_templates())
train += to_instructions(SENTIMENT[ITEMS : ITEMS + quarter], ASK_SENTIMENT)
train += [
    {"prompt": f"Turn this statement into a question: {r['input']}", "answer": r["targets"][0]} for r in questions
]
train += [
    {"prompt": f"{r['input']} Answer with the words of the fact.", "answer": r["targets"][0].rstrip(".")}
    for r in facts
]
learnt = [conversation(row) for row in train]
print(f"{len(train)} conversations, {sum(len(r['ids']) for r in learnt)} tokens,", end=" ")
print(f"{sum(label != -100 for r in learnt for label in r['labels'])} of them answers")

# %% [markdown]
# ### Before

# %% tags=["experiment"]
def in_template(prompt):
    return chat_text(
        [{"role": "system", "content": "You follow instructions."}, {"role": "user", "content": prompt}], True
    )


def examine(tests, frame=in_template, length=6):
    """One row a question: what was said, was it one of the options, was it right."""
    rows = []
    for name, asked in tests.items():
        asked = sorted(asked, key=lambda row: len(row["prompt"]))  # like lengths together: less padding
        for i in tqdm(range(0, len(asked), 20), desc=name, leave=False):
            part = asked[i : i + 20]
            for row, said in zip(part, greedy([frame(r["prompt"]) for r in part], length), strict=True):
                option = parse_answer(said, row["options"])
                rows.append((name, said, option is not None, option == row["answer"]))
    return pd.DataFrame(rows, columns=["test", "said", "obeyed", "right"])


before = examine(TESTS)
before.groupby("test", sort=False).nth([0, ITEMS // 2]).set_index("test")

# %% [markdown]
# The course model has been instruction-tuned already, by its makers, and likes to explain itself. And a model that was *not*
# tuned? We cannot fetch one here, but we can ask this one as if it were: plain text, without the template. (With a hub:
# `load_model("HuggingFaceTB/SmolLM2-135M")` is the model before its tuning; it needs the plain form.)

# %% tags=["experiment"]
plain = examine({"sentiment": TESTS["sentiment"]}, frame=lambda prompt: prompt + "\nAnswer:")
for name, frame in (("plain text", plain), ("template", before[before["test"] == "sentiment"])):
    obeyed, low, high = scoring.bootstrap(frame.reset_index(drop=True), lambda f: float(f["obeyed"].mean()))
    print(f"sentiment, {name:<11}{obeyed:.2f} obeyed (95 % interval {low:.2f} to {high:.2f})")

# %% [markdown]
# What does the model know that has nothing to do with our tasks? We note it, to see what tuning costs: an answer counts if it
# holds the right word.

# %% tags=["experiment"]
general = [r for r in data.bigbench("general_knowledge") if len(r["input"]) < 60][: lab.budget(full=40, quick=3)]
QUIZ = {"quiz": [{"prompt": r["input"], "answer": r["targets"][0], "options": r["choices"]} for r in general]}


def knows():
    said = examine(QUIZ, length=10)["said"]
    asked = sorted(QUIZ["quiz"], key=lambda row: len(row["prompt"]))
    return [row["answer"].lower() in text.lower() for row, text in zip(asked, said, strict=True)]


known_before = knows()

# %% [markdown]
# ### Training
#
# LoRA (chapter 11) puts small trainable matrices beside the frozen ones. Ours sit in the upper third of the layers: below
# them no gradient is needed, which is a good part of the time. One pass over the data, every loss your `sft_loss`.

# %% tags=["experiment"]
from peft import LoraConfig, get_peft_model

torch.manual_seed(SEED)
places = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
upper = list(range(model.config.num_hidden_layers * 2 // 3, model.config.num_hidden_layers))
tuned = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=places, layers_to_transform=upper))
trainable, everything = tuned.get_nb_trainable_parameters()
print(f"{trainable:,} weights learn, of {everything:,}")


def batches_of(rows, size=8):
    """Batches in random order, of rows of like length."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["ids"]))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    return [[rows[i] for i in batches[b]] for b in np.random.default_rng(SEED).permutation(len(batches))]

# %% tags=["experiment"]
batches, losses = batches_of(learnt), []
optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=len(batches), pct_start=0.15)
for rows in tqdm(batches, desc="SFT"):
    batch = {name: part.to(model.device) for name, part in collate(rows, tokenizer.pad_token_id).items()}
    labels = batch.pop("labels")
    # Logits of a whole vocabulary are expensive: only the columns from the first answer on (one earlier: it predicts the next)
    columns = labels.shape[1] - int((labels != -100).any(0).nonzero()[0]) + 1
    loss = sft_loss(tuned(**batch, logits_to_keep=columns).logits.float(), labels[:, -columns:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    losses.append(loss.item())

# %% tags=["experiment"]
plots.style()
fig, ax = plt.subplots(figsize=(9, 3.6))
ax.plot(losses, ".", color="grey", label="one batch")
ax.plot(pd.Series(losses).rolling(7, min_periods=1, center=True).mean(), color=plots.COLORS[0], label="mean of 7")
ax.set(
    title="Loss on the answers while the model is tuned", xlabel="step (8 conversations)", ylabel="nats per token"
)
ax.legend()
plt.show()

# %% [markdown]
# ### After

# %% tags=["experiment"]
tuned.eval()
after = examine(TESTS)
both = before.join(after[["said", "obeyed", "right"]].add_suffix("_after"))
CHANCE = {"seen wording": 1 / 3, "new wording": 1 / 3, "new words": 1 / 3, "sentiment": 1 / 2, "new task": 1 / 2}
table = {}
for test, frame in both.groupby("test", sort=False):
    table[test] = {"chance": CHANCE[test]}
    for what in ("obeyed", "right"):
        gain = scoring.bootstrap(
            frame.reset_index(drop=True), lambda f, w=what: float((f[f"{w}_after"] * 1.0 - f[w]).mean())
        )
        table[test] |= {f"{what} before": frame[what].mean(), f"{what} after": frame[f"{what}_after"].mean()}
        table[test][f"gain {what}"] = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*gain)
pd.DataFrame(table).T.style.format(precision=2)

# %% tags=["experiment"]
names = list(TESTS)
fig, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
for ax, what in zip(axes, ("obeyed", "right"), strict=True):
    for column, marker, color, label in (
        (what, "o", "grey", "before"),
        (f"{what}_after", "s", plots.COLORS[0], "after"),
    ):
        spans = [
            scoring.bootstrap(
                both[both["test"] == n].reset_index(drop=True), lambda f, c=column: float(f[c].mean())
            )
            for n in names
        ]
        middle = np.array([s[0] for s in spans])
        ends = [middle - [s[1] for s in spans], [s[2] for s in spans] - middle]
        ax.errorbar(
            middle,
            np.arange(len(names)) + 0.12 * (label == "after"),
            xerr=ends,
            fmt=marker,
            color=color,
            label=label,
            capsize=4,
        )
    ax.set(
        title=f"Answers that {'obeyed' if what == 'obeyed' else 'were right'}, 95 % intervals",
        xlabel="share of the answers",
        xlim=(-0.05, 1.05),
    )
axes[1].plot([CHANCE[n] for n in names], range(len(names)), "|", color="black", markersize=22, label="chance")
axes[0].set(yticks=range(len(names)), yticklabels=names, ylabel="test")
axes[1].legend(loc="lower right")
plt.show()

# %% [markdown]
# A few hundred conversations taught the model the *form*: where it knows the words that are allowed, it says one and nothing
# else, in a new wording and even in a task that it never saw. Two things they did not teach. It does not *read* which words
# are allowed: ask for words it was not trained on, and it answers with those it was. And being right is another matter:
# compare "right after" with chance. What it says to the new task shows it best:

# %% tags=["experiment"]
pd.crosstab(after["test"], after["said"].str.strip().str.slice(0, 20)).T.assign(
    total=lambda f: f.sum(axis=1)
).nlargest(12, "total")

# %% [markdown]
# @wei2022finetuned [Figure 7] saw the same line between form and content: tuned models of 8 billion weights and fewer lost on
# tasks kept back; only the larger ones gained. And what did it cost?

# %% tags=["experiment"]
quiz = pd.DataFrame({"before": known_before, "after": knows()}) * 1.0
lost, low, high = scoring.bootstrap(quiz, lambda f: float((f["after"] - f["before"]).mean()))
print(
    f"general knowledge: {quiz['before'].mean():.2f} before, {quiz['after'].mean():.2f} after; change {lost:+.2f} [{low:+.2f}, {high:+.2f}]"
)

# %% [markdown]
# An interval that holds 0 does not show that nothing was lost; it shows that a few dozen questions are too few to see a small loss.
# Note one thing more in favour of the tuned model, or against: its answers are shorter, so they have less room to hold the
# right word by accident.
#
# ## 8 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **One wording or many.** Give `nli_templates` a single pair and train again. Which rows of the table change, and by more
#   than their intervals?
# - **Does it read the options?** Give every training example answer words of its own, drawn at random ("say blue if it is
#   true, else green"). Does *new words* rise?
# - **The trap in the data.** Take the line out that shuffles `NLI`, train, and look at "seen wording". What has the model
#   learnt, and which of the other rows give it away?
# - **A larger model**, on a T4: change `MODEL`, and the layers follow. Is *new task* above chance now?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@wei2022finetuned]
# - [@schuster2021vitamin]
# - [@srivastava2023beyond]: the tasks of questions, facts and speakers
# - [@hu2022lora]
# - [@ding2024fewer]: packing by best fit
# - [@benallal2025smollm2]: the course model
