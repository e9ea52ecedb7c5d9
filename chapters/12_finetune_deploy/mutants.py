# %% tags=["mutant:split_texts"]
# only texts that are the same letter by letter count as the same
def split_texts(texts, labels, test, seed=0):
    places = {}
    for i, text in enumerate(texts):
        places.setdefault(text, []).append(i)
    kept = [at[0] for key, at in places.items() if len({labels[i] for i in at}) == 1 and re.sub(r"[\W_]", "", key)]
    order = [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))]
    return order[test:], order[:test]


# %% tags=["mutant:split_texts"]
# texts with two labels keep the first one
def split_texts(texts, labels, test, seed=0):
    places = {}
    for i, text in enumerate(texts):
        places.setdefault(re.sub(r"[\W_]", "", text.lower()), []).append(i)
    kept = [at[0] for key, at in places.items() if key]
    order = [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))]
    return order[test:], order[:test]


# %% tags=["mutant:split_texts"]
# the order of the file instead of a drawn one
def split_texts(texts, labels, test, seed=0):
    places = {}
    for i, text in enumerate(texts):
        places.setdefault(re.sub(r"[\W_]", "", text.lower()), []).append(i)
    kept = [at[0] for key, at in places.items() if key and len({labels[i] for i in at}) == 1]
    return kept[test:], kept[:test]


# %% tags=["mutant:split_texts"]
# only letters of English count, so that all Chinese texts are empty
def split_texts(texts, labels, test, seed=0):
    places = {}
    for i, text in enumerate(texts):
        places.setdefault(re.sub(r"[^a-z0-9]", "", text.lower()), []).append(i)
    kept = [at[0] for key, at in places.items() if key and len({labels[i] for i in at}) == 1]
    order = [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))]
    return order[test:], order[:test]


# %% tags=["mutant:split_texts"]
# an underscore counts as a letter
def split_texts(texts, labels, test, seed=0):
    places = {}
    for i, text in enumerate(texts):
        places.setdefault(re.sub(r"\W", "", text.lower()), []).append(i)
    kept = [at[0] for key, at in places.items() if key and len({labels[i] for i in at}) == 1]
    order = [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))]
    return order[test:], order[:test]


# %% tags=["mutant:split_texts"]
# repeated texts are removed within each side, after the split
def split_texts(texts, labels, test, seed=0):
    order = list(np.random.default_rng(seed).permutation(len(texts)))
    sides = []
    for side in (order[test:], order[:test]):
        seen = {}
        for i in side:
            seen.setdefault(re.sub(r"[\W_]", "", texts[i].lower()), int(i))
        sides.append([i for key, i in seen.items() if key])
    return sides[0], sides[1]


# %% tags=["mutant:encode"]
# special tokens that a user types become special tokens
def encode(tokenizer, text, task):
    text = " ".join(text.split())
    if not text:
        raise ValueError("empty")
    before, inside, after = (tokenizer(t)["input_ids"] for t in (task["before"], " " + text, task["after"]))
    if len(inside) > task["limit"]:
        raise ValueError(f"{len(inside)} tokens, at most {task['limit']}")
    return [*before, *inside, *after], len(before), len(before) + len(inside)


# %% tags=["mutant:encode"]
# a text that is too long is cut without a word
def encode(tokenizer, text, task):
    text = " ".join(text.split())
    if not text:
        raise ValueError("empty")
    before, after = tokenizer(task["before"])["input_ids"], tokenizer(task["after"])["input_ids"]
    inside = tokenizer(" " + text, split_special_tokens=True)["input_ids"][: task["limit"]]
    return [*before, *inside, *after], len(before), len(before) + len(inside)


# %% tags=["mutant:encode"]
# the limit counts the frame too
def encode(tokenizer, text, task):
    text = " ".join(text.split())
    if not text:
        raise ValueError("empty")
    before, after = tokenizer(task["before"])["input_ids"], tokenizer(task["after"])["input_ids"]
    inside = tokenizer(" " + text, split_special_tokens=True)["input_ids"]
    whole = len(before) + len(inside) + len(after)
    if whole > task["limit"]:
        raise ValueError(f"{whole} tokens, at most {task['limit']}")
    return [*before, *inside, *after], len(before), len(before) + len(inside)


# %% tags=["mutant:encode"]
# everything is tokenized as one string, so that the frame may melt into the text
def encode(tokenizer, text, task):
    text = " ".join(text.split())
    if not text:
        raise ValueError("empty")
    inside = tokenizer(" " + text, split_special_tokens=True)["input_ids"]
    if len(inside) > task["limit"]:
        raise ValueError(f"{len(inside)} tokens, at most {task['limit']}")
    ids = tokenizer(task["before"] + " " + text + task["after"], split_special_tokens=True)["input_ids"]
    start = len(tokenizer(task["before"])["input_ids"])
    return ids, start, len(ids) - len(tokenizer(task["after"])["input_ids"])


# %% tags=["mutant:encode"]
# only the ends are stripped, line breaks inside stay
def encode(tokenizer, text, task):
    text = text.strip()
    if not text:
        raise ValueError("empty")
    before, after = tokenizer(task["before"])["input_ids"], tokenizer(task["after"])["input_ids"]
    inside = tokenizer(" " + text, split_special_tokens=True)["input_ids"]
    if len(inside) > task["limit"]:
        raise ValueError(f"{len(inside)} tokens, at most {task['limit']}")
    return [*before, *inside, *after], len(before), len(before) + len(inside)


# %% tags=["mutant:fit"]
# gradients are never forgotten
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches):
        share = step / warmup if step < warmup else (len(batches) - step) / (len(batches) - warmup)
        optimizer.param_groups[0]["lr"] = rate * share
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()
    return losses


# %% tags=["mutant:fit"]
# no clipping
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches):
        share = step / warmup if step < warmup else (len(batches) - step) / (len(batches) - warmup)
        optimizer.param_groups[0]["lr"] = rate * share
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


# %% tags=["mutant:fit"]
# the optimizer's default weight decay
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    losses = []
    for step, batch in enumerate(batches):
        share = step / warmup if step < warmup else (len(batches) - step) / (len(batches) - warmup)
        optimizer.param_groups[0]["lr"] = rate * share
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


# %% tags=["mutant:fit"]
# the rate stays where the warm-up left it
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, step / warmup if warmup else 1.0)
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


# %% tags=["mutant:fit"]
# each parameter's gradient is clipped for itself
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches):
        share = step / warmup if step < warmup else (len(batches) - step) / (len(batches) - warmup)
        optimizer.param_groups[0]["lr"] = rate * share
        loss = loss_of(batch)
        loss.backward()
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


# %% tags=["mutant:fit"]
# the loss after the step is reported
def fit(parameters, batches, loss_of, rate, warmup=0, clip=1.0):
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches):
        share = step / warmup if step < warmup else (len(batches) - step) / (len(batches) - warmup)
        optimizer.param_groups[0]["lr"] = rate * share
        loss_of(batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss_of(batch).item())
    return losses


# %% tags=["mutant:confusion"]
# predictions in the rows
def confusion(truth, predicted, classes):
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(predicted), np.asarray(truth)), 1)
    hits = matrix.diagonal()
    f1 = 2 * hits / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return {
        "matrix": matrix,
        "accuracy": float(hits.sum() / matrix.sum()),
        "precision": hits / np.maximum(matrix.sum(1), 1),
        "recall": hits / np.maximum(matrix.sum(0), 1),
        "f1": f1,
        "macro_f1": float(f1.mean()),
    }


# %% tags=["mutant:confusion"]
# precision and recall exchanged
def confusion(truth, predicted, classes):
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth), np.asarray(predicted)), 1)
    hits = matrix.diagonal()
    f1 = 2 * hits / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return {
        "matrix": matrix,
        "accuracy": float(hits.sum() / matrix.sum()),
        "precision": hits / np.maximum(matrix.sum(1), 1),
        "recall": hits / np.maximum(matrix.sum(0), 1),
        "f1": f1,
        "macro_f1": float(f1.mean()),
    }


# %% tags=["mutant:confusion"]
# matrix[truth, predicted] += 1 counts each pair once
def confusion(truth, predicted, classes):
    matrix = np.zeros((classes, classes), np.int64)
    matrix[np.asarray(truth), np.asarray(predicted)] += 1
    hits = matrix.diagonal()
    f1 = 2 * hits / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return {
        "matrix": matrix,
        "accuracy": float(hits.sum() / matrix.sum()),
        "precision": hits / np.maximum(matrix.sum(0), 1),
        "recall": hits / np.maximum(matrix.sum(1), 1),
        "f1": f1,
        "macro_f1": float(f1.mean()),
    }


# %% tags=["mutant:confusion"]
# macro F1 weighted by how frequent each class is
def confusion(truth, predicted, classes):
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth), np.asarray(predicted)), 1)
    hits = matrix.diagonal()
    f1 = 2 * hits / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return {
        "matrix": matrix,
        "accuracy": float(hits.sum() / matrix.sum()),
        "precision": hits / np.maximum(matrix.sum(0), 1),
        "recall": hits / np.maximum(matrix.sum(1), 1),
        "f1": f1,
        "macro_f1": float((f1 * matrix.sum(1)).sum() / matrix.sum()),
    }


# %% tags=["mutant:influence"]
# every token is a piece, also a third of a character
def influence(ids, start, end, decode, score):
    scores = score([ids, *(ids[:i] + ids[i + 1 :] for i in range(start, end))])
    return [(decode([ids[i]]), float(scores[0] - scores[1 + i - start])) for i in range(start, end)]


# %% tags=["mutant:influence"]
# the sign: how the score changes, not what the piece adds
def influence(ids, start, end, decode, score):
    spans, at = [], start
    for i in range(start, end):
        text = decode(ids[at : i + 1])
        if i + 1 == end or (text.strip() and not text.endswith("\ufffd")):
            spans.append((at, i + 1))
            at = i + 1
    scores = score([ids, *(ids[:a] + ids[b:] for a, b in spans)])
    return [(decode(ids[a:b]), float(left - scores[0])) for (a, b), left in zip(spans, scores[1:], strict=True)]


# %% tags=["mutant:influence"]
# keep one in, instead of leave one out
def influence(ids, start, end, decode, score):
    spans, at = [], start
    for i in range(start, end):
        text = decode(ids[at : i + 1])
        if i + 1 == end or (text.strip() and not text.endswith("\ufffd")):
            spans.append((at, i + 1))
            at = i + 1
    scores = score([ids, *(ids[:start] + ids[a:b] + ids[end:] for a, b in spans)])
    return [(decode(ids[a:b]), float(scores[0] - only)) for (a, b), only in zip(spans, scores[1:], strict=True)]


# %% tags=["mutant:influence"]
# the frame is taken apart too
def influence(ids, start, end, decode, score):
    spans, at = [], 0
    for i in range(len(ids)):
        text = decode(ids[at : i + 1])
        if i + 1 == len(ids) or (text.strip() and not text.endswith("\ufffd")):
            spans.append((at, i + 1))
            at = i + 1
    scores = score([ids, *(ids[:a] + ids[b:] for a, b in spans)])
    return [(decode(ids[a:b]), float(scores[0] - left)) for (a, b), left in zip(spans, scores[1:], strict=True)]


# %% tags=["mutant:influence"]
# what is left over at the end is forgotten, and white space is a piece
def influence(ids, start, end, decode, score):
    spans, at = [], start
    for i in range(start, end):
        if not decode(ids[at : i + 1]).endswith("\ufffd"):
            spans.append((at, i + 1))
            at = i + 1
    scores = score([ids, *(ids[:a] + ids[b:] for a, b in spans)])
    return [(decode(ids[a:b]), float(scores[0] - left)) for (a, b), left in zip(spans, scores[1:], strict=True)]


# %% tags=["mutant:stream_text"]
# each token is decoded alone
def stream_text(tokens, decode):
    text = ""
    for token in tokens:
        text += decode([token])
        yield text


# %% tags=["mutant:stream_text"]
# all tokens are taken first
def stream_text(tokens, decode):
    ids, shown, text = [], "", ""
    for token in list(tokens):
        ids.append(token)
        text = decode(ids)
        if text != shown and not text.endswith("\ufffd"):
            shown = text
            yield shown
    if text != shown:
        yield text


# %% tags=["mutant:stream_text"]
# half characters are shown
def stream_text(tokens, decode):
    ids, shown = [], ""
    for token in tokens:
        ids.append(token)
        if decode(ids) != shown:
            shown = decode(ids)
            yield shown


# %% tags=["mutant:stream_text"]
# the new part instead of the whole text so far
def stream_text(tokens, decode):
    ids, shown, text = [], "", ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if text != shown and not text.endswith("\ufffd"):
            yield text[len(shown) :]
            shown = text
    if text != shown:
        yield text[len(shown) :]


# %% tags=["mutant:stream_text"]
# an unfinished character at the very end is lost
def stream_text(tokens, decode):
    ids, shown = [], ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if text != shown and not text.endswith("\ufffd"):
            shown = text
            yield shown


# %% tags=["mutant:stream_text"]
# any broken character, also one long past, holds everything back
def stream_text(tokens, decode):
    ids, shown, text = [], "", ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if text != shown and "\ufffd" not in text:
            shown = text
            yield shown
    if text != shown:
        yield text


# %% tags=["mutant:third_party"]
# lines that begin with import or from
def third_party(source, beside=()):
    names = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
    return sorted(names - set(sys.stdlib_module_names) - set(beside))


# %% tags=["mutant:third_party"]
# only imports at the top level of the file
def third_party(source, beside=()):
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return sorted(names - set(sys.stdlib_module_names) - set(beside))


# %% tags=["mutant:third_party"]
# relative imports are taken for packages
def third_party(source, beside=()):
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return sorted(names - set(sys.stdlib_module_names) - set(beside))


# %% tags=["mutant:third_party"]
# what comes with Python is listed too
def third_party(source, beside=()):
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return sorted(names - set(beside))


# %% tags=["mutant:third_party"]
# modules beside the program are taken for packages
def third_party(source, beside=()):
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return sorted(names - set(sys.stdlib_module_names))


# %% tags=["mutant:next_batch"]
# first come, first served, one by one
def next_batch(lengths, waited, cost):
    return [0]


# %% tags=["mutant:next_batch"]
# everything that waits, up to sixteen
def next_batch(lengths, waited, cost):
    return list(range(min(16, len(lengths))))


# %% tags=["mutant:next_batch"]
# the shortest alone
def next_batch(lengths, waited, cost):
    return [min(range(len(lengths)), key=lambda i: lengths[i])]


# %% tags=["mutant:next_batch"]
# the sixteen shortest, whatever the machine is
def next_batch(lengths, waited, cost):
    return sorted(range(len(lengths)), key=lambda i: lengths[i])[:16]


# %% tags=["mutant:next_batch"]
# the batch that ends first, which is always a single text
def next_batch(lengths, waited, cost):
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return min((order[:k] for k in range(1, min(16, len(order)) + 1)), key=lambda batch: cost([lengths[i] for i in batch]))
