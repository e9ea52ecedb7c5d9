# %% tags=["mutant:continuation_logprob"]
# off by one: each token is scored by the logits at its own place
@torch.inference_mode()
def continuation_logprob(model, prompt, answer):
    ids = torch.tensor([prompt + answer], device=model.device)
    logs = model(ids).logits[0].float().log_softmax(-1)
    places = torch.arange(len(prompt), ids.shape[1], device=model.device)
    return float(logs[places, ids[0, len(prompt) :]].sum())


# %% tags=["mutant:continuation_logprob"]
# the mean over the tokens of the answer
@torch.inference_mode()
def continuation_logprob(model, prompt, answer):
    ids = torch.tensor([prompt + answer], device=model.device)
    logs = model(ids).logits[0].float().log_softmax(-1)
    places = torch.arange(len(prompt) - 1, ids.shape[1] - 1, device=model.device)
    return float(logs[places, ids[0, len(prompt) :]].mean())


# %% tags=["mutant:continuation_logprob"]
# the prompt is scored too
@torch.inference_mode()
def continuation_logprob(model, prompt, answer):
    ids = torch.tensor([prompt + answer], device=model.device)
    logs = model(ids).logits[0].float().log_softmax(-1)
    places = torch.arange(ids.shape[1] - 1, device=model.device)
    return float(logs[places, ids[0, 1:]].sum())


# %% tags=["mutant:continuation_logprob"]
# only the first token of the answer
@torch.inference_mode()
def continuation_logprob(model, prompt, answer):
    ids = torch.tensor([prompt + answer], device=model.device)
    logs = model(ids).logits[0].float().log_softmax(-1)
    return float(logs[len(prompt) - 1, answer[0]])


# %% tags=["mutant:calibrate"]
# the mean of logarithms, not of probabilities
def calibrate(logprobs, content_free):
    logs = np.asarray(logprobs, float) - np.asarray(content_free, float).mean(0)
    p = np.exp(logs - logs.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


# %% tags=["mutant:calibrate"]
# overflows to 0 / 0: no maximum is subtracted
def calibrate(logprobs, content_free):
    def normal(logs):
        p = np.exp(logs)
        return p / p.sum(1, keepdims=True)

    q = normal(np.asarray(logprobs, float)) / normal(np.asarray(content_free, float)).mean(0)
    return q / q.sum(1, keepdims=True)


# %% tags=["mutant:calibrate"]
# the rows of content_free are averaged before they are made to sum to 1
def calibrate(logprobs, content_free):
    free = np.exp(np.asarray(content_free, float)).mean(0)
    logs = np.asarray(logprobs, float) - np.log(free / free.sum())
    p = np.exp(logs - logs.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


# %% tags=["mutant:calibrate"]
# divided, and not made to sum to 1 again
def calibrate(logprobs, content_free):
    def normal(logs):
        p = np.exp(logs - logs.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    return normal(np.asarray(logprobs, float)) / normal(np.asarray(content_free, float)).mean(0)


# %% tags=["mutant:calibrate"]
# the first text without content counts alone
def calibrate(logprobs, content_free):
    def normal(logs):
        p = np.exp(logs - logs.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    q = normal(np.asarray(logprobs, float)) / normal(np.asarray(content_free, float))[0]
    return q / q.sum(1, keepdims=True)


# %% tags=["mutant:cloze_scores"]
# the place of the first row's mask for all rows
def cloze_scores(logits, ids, mask_id, verbalizer):
    there = logits[:, (ids[0] == mask_id).int().argmax()]
    return torch.stack([there[:, list(group)].mean(1) for group in verbalizer], 1).softmax(1)


# %% tags=["mutant:cloze_scores"]
# the sum over the words of a label: more words, more weight
def cloze_scores(logits, ids, mask_id, verbalizer):
    there = logits[torch.arange(len(ids)), (ids == mask_id).int().argmax(1)]
    return torch.stack([there[:, list(group)].sum(1) for group in verbalizer], 1).softmax(1)


# %% tags=["mutant:cloze_scores"]
# the mean over the places of the text instead of the mask's
def cloze_scores(logits, ids, mask_id, verbalizer):
    there = logits.mean(1)
    return torch.stack([there[:, list(group)].mean(1) for group in verbalizer], 1).softmax(1)


# %% tags=["mutant:cloze_scores"]
# probabilities over the whole vocabulary, which do not sum to 1 over the labels
def cloze_scores(logits, ids, mask_id, verbalizer):
    there = logits[torch.arange(len(ids)), (ids == mask_id).int().argmax(1)].softmax(-1)
    return torch.stack([there[:, list(group)].sum(1) for group in verbalizer], 1)


# %% tags=["mutant:cloze_scores"]
# the largest logit of a label's words, not their mean
def cloze_scores(logits, ids, mask_id, verbalizer):
    there = logits[torch.arange(len(ids)), (ids == mask_id).int().argmax(1)]
    return torch.stack([there[:, list(group)].amax(1) for group in verbalizer], 1).softmax(1)


# %% tags=["mutant:head_scores"]
# the earlier copy itself, not the token after it
def head_scores(attention, length):
    total = attention.shape[-1]
    i, j = torch.arange(1, total), torch.arange(length, total)
    return {"previous": attention[..., i, i - 1].mean(-1), "induction": attention[..., j, j - length].mean(-1)}


# %% tags=["mutant:head_scores"]
# columns are read as queries
def head_scores(attention, length):
    total = attention.shape[-1]
    i, j = torch.arange(1, total), torch.arange(length, total)
    return {"previous": attention[..., i - 1, i].mean(-1), "induction": attention[..., j - length + 1, j].mean(-1)}


# %% tags=["mutant:head_scores"]
# the mean over all places, also those that have no token before, or no earlier copy
def head_scores(attention, length):
    total = attention.shape[-1]
    i, j = torch.arange(1, total), torch.arange(length, total)
    previous, induction = attention[..., i, i - 1].sum(-1), attention[..., j, j - length + 1].sum(-1)
    return {"previous": previous / total, "induction": induction / total}


# %% tags=["mutant:head_scores"]
# every pair of a row and a column: two index tensors in the wrong way
def head_scores(attention, length):
    total = attention.shape[-1]
    i, j = torch.arange(1, total), torch.arange(length, total)
    previous = attention[..., i, :][..., i - 1].mean((-1, -2))
    return {"previous": previous, "induction": attention[..., j, :][..., j - length + 1].mean((-1, -2))}


# %% tags=["mutant:decide"]
# the model's own probabilities
def decide(odds):
    return 1 / (1 + np.exp(-np.asarray(odds)))


# %% tags=["mutant:decide"]
# the threshold of the model
def decide(odds):
    return (np.asarray(odds) > 0).astype(float)


# %% tags=["mutant:decide"]
# batch calibration: half of the sentences are positive
def decide(odds):
    return (np.asarray(odds) > np.median(odds)).astype(float)


# %% tags=["mutant:decide"]
# the mean
def decide(odds):
    return (np.asarray(odds) > np.mean(odds)).astype(float)


# %% tags=["mutant:ablate"]
# in place: what the model has computed is overwritten
def ablate(mixed, head, dim, mean):
    mixed[..., head * dim : (head + 1) * dim] = mean[head * dim : (head + 1) * dim]
    return mixed


# %% tags=["mutant:ablate"]
# heads interleaved: every so many columns
def ablate(mixed, head, dim, mean):
    changed, heads = mixed.clone(), mixed.shape[-1] // dim
    changed[..., head::heads] = mean[head::heads]
    return changed


# %% tags=["mutant:ablate"]
# the slice begins at the head's number
def ablate(mixed, head, dim, mean):
    changed = mixed.clone()
    changed[..., head : head + dim] = mean[head : head + dim]
    return changed


# %% tags=["mutant:ablate"]
# always the columns of the first head of the mean
def ablate(mixed, head, dim, mean):
    changed = mixed.clone()
    changed[..., head * dim : (head + 1) * dim] = mean[:dim]
    return changed


# %% tags=["mutant:ablate"]
# zero in place of the mean
def ablate(mixed, head, dim, mean):
    changed = mixed.clone()
    changed[..., head * dim : (head + 1) * dim] = 0
    return changed


# %% tags=["mutant:ablate"]
# only at the last token
def ablate(mixed, head, dim, mean):
    changed = mixed.clone()
    changed[:, -1, head * dim : (head + 1) * dim] = mean[head * dim : (head + 1) * dim]
    return changed


# %% tags=["mutant:ablate"]
# the mean of this very text in place of that of other texts
def ablate(mixed, head, dim, mean):
    changed, part = mixed.clone(), slice(head * dim, (head + 1) * dim)
    changed[..., part] = mixed[..., part].mean((0, 1))
    return changed


# %% tags=["mutant:ablate"]
# all heads but this one
def ablate(mixed, head, dim, mean):
    changed, part = mean.expand_as(mixed).clone(), slice(head * dim, (head + 1) * dim)
    changed[..., part] = mixed[..., part]
    return changed


# %% tags=["mutant:soft_prompt_logits"]
# the logits of the soft prompt's places are returned too
def soft_prompt_logits(model, soft, ids, mask):
    n, k = len(ids), len(soft)
    vectors = torch.cat([soft.expand(n, -1, -1), model.get_input_embeddings()(ids)], 1)
    return model(inputs_embeds=vectors, attention_mask=torch.cat([mask.new_ones(n, k), mask], 1)).logits


# %% tags=["mutant:soft_prompt_logits"]
# no gradient: the soft prompt is detached
def soft_prompt_logits(model, soft, ids, mask):
    n, k = len(ids), len(soft)
    vectors = torch.cat([soft.detach().expand(n, -1, -1), model.get_input_embeddings()(ids)], 1)
    return model(inputs_embeds=vectors, attention_mask=torch.cat([mask.new_ones(n, k), mask], 1)).logits[:, k:]


# %% tags=["mutant:soft_prompt_logits"]
# the mask hides the soft prompt
def soft_prompt_logits(model, soft, ids, mask):
    n, k = len(ids), len(soft)
    vectors = torch.cat([soft.expand(n, -1, -1), model.get_input_embeddings()(ids)], 1)
    return model(inputs_embeds=vectors, attention_mask=torch.cat([mask.new_zeros(n, k), mask], 1)).logits[:, k:]


# %% tags=["mutant:soft_prompt_logits"]
# the soft prompt stands after the text
def soft_prompt_logits(model, soft, ids, mask):
    n, k = len(ids), len(soft)
    vectors = torch.cat([model.get_input_embeddings()(ids), soft.expand(n, -1, -1)], 1)
    return model(inputs_embeds=vectors, attention_mask=torch.cat([mask, mask.new_ones(n, k)], 1)).logits[:, :-k]


# %% tags=["mutant:soft_prompt_logits"]
# padding is read like words
def soft_prompt_logits(model, soft, ids, mask):
    n, k = len(ids), len(soft)
    vectors = torch.cat([soft.expand(n, -1, -1), model.get_input_embeddings()(ids)], 1)
    return model(inputs_embeds=vectors, attention_mask=mask.new_ones(n, k + mask.shape[1])).logits[:, k:]


# %% tags=["mutant:prefix_cache"]
# all keys stand before all values in a row
def prefix_cache(table, layers, heads, batch):
    parts = table.view(len(table), 2, layers, heads, -1).permute(2, 1, 3, 0, 4)
    return [(part[0].expand(batch, -1, -1, -1), part[1].expand(batch, -1, -1, -1)) for part in parts]


# %% tags=["mutant:prefix_cache"]
# reshaped without permuting: numbers of different places are mixed
def prefix_cache(table, layers, heads, batch):
    parts = table.view(layers, 2, heads, len(table), -1)
    return [(part[0].expand(batch, -1, -1, -1), part[1].expand(batch, -1, -1, -1)) for part in parts]


# %% tags=["mutant:prefix_cache"]
# the prefix only for the first text of the batch
def prefix_cache(table, layers, heads, batch):
    parts = table.view(len(table), layers, 2, heads, -1).permute(1, 2, 3, 0, 4)
    first = torch.zeros(batch, 1, 1, 1)
    first[0] = 1
    return [(part[0] * first, part[1] * first) for part in parts]


# %% tags=["mutant:prefix_cache"]
# a copy of the table without gradients
def prefix_cache(table, layers, heads, batch):
    parts = table.detach().view(len(table), layers, 2, heads, -1).permute(1, 2, 3, 0, 4)
    return [(part[0].expand(batch, -1, -1, -1), part[1].expand(batch, -1, -1, -1)) for part in parts]


# %% tags=["mutant:prefix_cache"]
# value before key
def prefix_cache(table, layers, heads, batch):
    parts = table.view(len(table), layers, 2, heads, -1).permute(1, 2, 3, 0, 4)
    return [(part[1].expand(batch, -1, -1, -1), part[0].expand(batch, -1, -1, -1)) for part in parts]
