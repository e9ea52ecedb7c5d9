# %% tags=["mutant:nli_templates"]
# the same text three times
def nli_templates():
    return [("{premise} {hypothesis}? true, false, neither", {"entailment": "true", "contradiction": "false", "neutral": "neither"})] * 3


# %% tags=["mutant:nli_templates"]
# contradiction and neutral have one answer, so the answer cannot be turned back into a label
def nli_templates():
    texts = ("{premise} So {hypothesis}? yes or no", "Given {premise}, does it follow that {hypothesis}? yes or no", "{hypothesis} follows from {premise}: yes or no?")
    return [(text, {"entailment": "yes", "contradiction": "no", "neutral": "no"}) for text in texts]


# %% tags=["mutant:nli_templates"]
# one of the texts asks without the premise
def nli_templates():
    answers = {"entailment": "true", "contradiction": "false", "neutral": "neither"}
    return [("{premise} {hypothesis} true, false or neither?", answers), ("Is {hypothesis} true, false or neither?", answers), ("{hypothesis} {premise} neither, true, false", answers)]


# %% tags=["mutant:nli_templates"]
# three wordings, but always the same answers
def nli_templates():
    answers = {"entailment": "true", "contradiction": "false", "neutral": "neither"}
    return [("{premise} {hypothesis} true, false or neither?", answers), ("{hypothesis}: true, false or neither? {premise}", answers), ("{premise} Is it true, false or neither that {hypothesis}?", answers)]


# %% tags=["mutant:to_instructions"]
# every example gets every template
def to_instructions(examples, templates):
    return [
        {"prompt": text.format(**example), "answer": answers[example["label"]], "options": list(answers.values())}
        for example in examples
        for text, answers in templates
    ]


# %% tags=["mutant:to_instructions"]
# fields replaced one after another, so a brace inside the data is filled in too
def to_instructions(examples, templates):
    made = []
    for i, example in enumerate(examples):
        text, answers = templates[i % len(templates)]
        for name in reversed(list(example)):
            text = text.replace("{" + name + "}", example[name])
        made.append({"prompt": text, "answer": answers[example["label"]], "options": list(answers.values())})
    return made


# %% tags=["mutant:to_instructions"]
# answers with the label instead of the template's word
def to_instructions(examples, templates):
    made = []
    for i, example in enumerate(examples):
        text, answers = templates[i % len(templates)]
        made.append({"prompt": text.format(**example), "answer": example["label"], "options": list(answers.values())})
    return made


# %% tags=["mutant:to_instructions"]
# options sorted by the alphabet
def to_instructions(examples, templates):
    made = []
    for i, example in enumerate(examples):
        text, answers = templates[i % len(templates)]
        made.append({"prompt": text.format(**example), "answer": answers[example["label"]], "options": sorted(answers.values())})
    return made


# %% tags=["mutant:to_instructions"]
# takes the label out of the examples it was given
def to_instructions(examples, templates):
    made = []
    for i, example in enumerate(examples):
        text, answers = templates[i % len(templates)]
        answer = answers[example.pop("label")]
        made.append({"prompt": text.format(**example), "answer": answer, "options": list(answers.values())})
    return made


# %% tags=["mutant:chat_text"]
# no default system message
def chat_text(messages, generation_prompt=False):
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" * generation_prompt


# %% tags=["mutant:chat_text"]
# always opens the assistant's turn
def chat_text(messages, generation_prompt=False):
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}, *messages]
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + "<|im_start|>assistant\n"


# %% tags=["mutant:chat_text"]
# strips what people wrote
def chat_text(messages, generation_prompt=False):
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}, *messages]
    text = "".join(f"<|im_start|>{m['role']}\n{m['content'].strip()}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" * generation_prompt


# %% tags=["mutant:chat_text"]
# puts the system message into the list it was given
def chat_text(messages, generation_prompt=False):
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"})
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" * generation_prompt


# %% tags=["mutant:chat_text"]
# an empty system message counts as none
def chat_text(messages, generation_prompt=False):
    if messages[0]["role"] != "system" or not messages[0]["content"]:
        rest = [m for m in messages if m["role"] != "system"]
        messages = [{"role": "system", "content": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}, *rest]
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" * generation_prompt


# %% tags=["mutant:answer_labels"]
# the end of the turn is not learnt, so the model never stops
def answer_labels(ids, header, end):
    labels, inside = [], False
    for i, token in enumerate(ids):
        inside = inside or (i >= len(header) and list(ids[i - len(header) : i]) == list(header))
        inside = inside and token != end
        labels.append(token if inside else -100)
    return labels


# %% tags=["mutant:answer_labels"]
# only the last answer
def answer_labels(ids, header, end):
    starts = [i for i in range(len(header), len(ids) + 1) if list(ids[i - len(header) : i]) == list(header)]
    labels = [-100] * len(ids)
    for i in range(starts[-1] if starts else len(ids), len(ids)):
        labels[i] = ids[i]
        if ids[i] == end:
            break
    return labels


# %% tags=["mutant:answer_labels"]
# everything after the first header, the user's next question too
def answer_labels(ids, header, end):
    for i in range(len(header), len(ids) + 1):
        if list(ids[i - len(header) : i]) == list(header):
            return [-100] * i + list(ids[i:])
    return [-100] * len(ids)


# %% tags=["mutant:answer_labels"]
# the header is learnt too
def answer_labels(ids, header, end):
    labels, inside = [-100] * len(ids), False
    for i, token in enumerate(ids):
        if not inside and list(ids[i : i + len(header)]) == list(header):
            inside = True
        if inside:
            labels[i] = token
        if token == end:
            inside = False
    return labels


# %% tags=["mutant:answer_labels"]
# writes -100 into the tokens themselves: labels and ids are one list
def answer_labels(ids, header, end):
    labels, inside = ids, False
    tokens = list(ids)
    for i, token in enumerate(tokens):
        inside = inside or (i >= len(header) and tokens[i - len(header) : i] == list(header))
        labels[i] = token if inside else -100
        inside = inside and token != end
    return labels


# %% tags=["mutant:collate"]
# the mask is where the token is not the padding token, so a real one with that number is lost
def collate(rows, pad):
    shape = len(rows), max(len(row["ids"]) for row in rows)
    batch = {"input_ids": torch.full(shape, pad), "labels": torch.full(shape, -100)}
    for i, row in enumerate(rows):
        n = len(row["ids"])
        batch["input_ids"][i, :n], batch["labels"][i, :n] = torch.tensor(row["ids"]), torch.tensor(row["labels"])
    return {**batch, "attention_mask": (batch["input_ids"] != pad).long()}


# %% tags=["mutant:collate"]
# labels are filled up with the padding token
def collate(rows, pad):
    shape = len(rows), max(len(row["ids"]) for row in rows)
    batch = {"input_ids": torch.full(shape, pad), "labels": torch.full(shape, pad), "attention_mask": torch.zeros(shape, dtype=torch.long)}
    for i, row in enumerate(rows):
        n = len(row["ids"])
        batch["input_ids"][i, :n], batch["labels"][i, :n] = torch.tensor(row["ids"]), torch.tensor(row["labels"])
        batch["attention_mask"][i, :n] = 1
    return batch


# %% tags=["mutant:collate"]
# padded on the left
def collate(rows, pad):
    shape = len(rows), max(len(row["ids"]) for row in rows)
    batch = {"input_ids": torch.full(shape, pad), "labels": torch.full(shape, -100), "attention_mask": torch.zeros(shape, dtype=torch.long)}
    for i, row in enumerate(rows):
        n = len(row["ids"])
        batch["input_ids"][i, -n:], batch["labels"][i, -n:] = torch.tensor(row["ids"]), torch.tensor(row["labels"])
        batch["attention_mask"][i, -n:] = 1
    return batch


# %% tags=["mutant:collate"]
# a mask of booleans
def collate(rows, pad):
    shape = len(rows), max(len(row["ids"]) for row in rows)
    batch = {"input_ids": torch.full(shape, pad), "labels": torch.full(shape, -100), "attention_mask": torch.zeros(shape, dtype=torch.bool)}
    for i, row in enumerate(rows):
        n = len(row["ids"])
        batch["input_ids"][i, :n], batch["labels"][i, :n] = torch.tensor(row["ids"]), torch.tensor(row["labels"])
        batch["attention_mask"][i, :n] = True
    return batch


# %% tags=["mutant:collate"]
# fills the rows themselves up with padding
def collate(rows, pad):
    longest = max(len(row["ids"]) for row in rows)
    masks = [[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows]
    for row in rows:
        missing = longest - len(row["ids"])
        row["ids"] += [pad] * missing
        row["labels"] += [-100] * missing
    return {
        "input_ids": torch.tensor([row["ids"] for row in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
        "attention_mask": torch.tensor(masks),
    }


# %% tags=["mutant:pack"]
# best fit decreasing: right, but not better than the library
def pack(lengths, room):
    rows, left = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [row for row in range(len(rows)) if left[row] >= lengths[i]]
        best = min(fitting, key=lambda row: left[row]) if fitting else len(rows)
        if not fitting:
            rows.append([])
            left.append(room)
        rows[best].append(i)
        left[best] -= lengths[i]
    return rows


# %% tags=["mutant:pack"]
# in the order given, each into the first row with room
def pack(lengths, room):
    rows = []
    for i, length in enumerate(lengths):
        for row in rows:
            if sum(lengths[j] for j in row) + length <= room:
                row.append(i)
                break
        else:
            rows.append([i])
    return rows


# %% tags=["mutant:pack"]
# cuts the stream of tokens into rows, so a conversation is in the row where it begins and goes over its end
def pack(lengths, room):
    rows, begun = {}, 0
    for i, length in enumerate(lengths):
        rows.setdefault(begun // room, []).append(i)
        begun += length
    return list(rows.values())


# %% tags=["mutant:pack"]
# returns the lengths, not their indices
def pack(lengths, room):
    rows = []
    for length in sorted(lengths, reverse=True):
        row = next((row for row in rows if sum(row) + length <= room), None)
        if row is None:
            rows.append([length])
        else:
            row.append(length)
    return rows


# %% tags=["mutant:pack"]
# sorts the lengths it was given, so the indices are those of another list
def pack(lengths, room):
    lengths.sort(reverse=True)
    rows = []
    for i, length in enumerate(lengths):
        row = next((row for row in rows if sum(lengths[j] for j in row) + length <= room), None)
        if row is None:
            rows.append([i])
        else:
            row.append(i)
    return rows


# %% tags=["mutant:sft_loss"]
# no shift: each position is asked for its own token
def sft_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


# %% tags=["mutant:sft_loss"]
# divided by all positions, not by those that were asked
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum") / labels[:, 1:].numel()


# %% tags=["mutant:sft_loss"]
# the mean of each conversation's mean
def sft_loss(logits, labels):
    return torch.stack([F.cross_entropy(row[:-1], wanted[1:]) for row, wanted in zip(logits, labels, strict=True)]).nan_to_num().mean()


# %% tags=["mutant:sft_loss"]
# shifted the wrong way
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten())


# %% tags=["mutant:parse_answer"]
# an option anywhere in the text
def parse_answer(text, options):
    return next((option for option in options if option.lower() in text.lower()), None)


# %% tags=["mutant:parse_answer"]
# a text that begins with an option
def parse_answer(text, options):
    return next((option for option in options if text.strip().lower().startswith(option.lower())), None)


# %% tags=["mutant:parse_answer"]
# case matters
def parse_answer(text, options):
    said = text.strip().removesuffix(".").strip()
    return next((option for option in options if option.strip() == said), None)


# %% tags=["mutant:parse_answer"]
# any punctuation at the end is forgiven
def parse_answer(text, options):
    said = text.strip().rstrip(".!?,;: ").lower()
    return next((option for option in options if option.strip().lower() == said), None)


# %% tags=["mutant:parse_answer"]
# any number of full stops at the end is forgiven
def parse_answer(text, options):
    said = text.strip().rstrip(".").strip().lower()
    return next((option for option in options if option.strip().lower() == said), None)


# %% tags=["mutant:parse_answer"]
# white space before the full stop is not forgiven
def parse_answer(text, options):
    said = text.strip().removesuffix(".").lower()
    return next((option for option in options if option.strip().lower() == said), None)
