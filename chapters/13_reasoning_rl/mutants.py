# %% tags=["mutant:verify"]
# the answer may stand anywhere
def verify(text, answer):
    return float(f"{answer:02d}" in text)


# %% tags=["mutant:verify"]
# what stands behind the last "!": two answers pass
def verify(text, answer):
    return float(text.rpartition("!")[2] == f"{answer:02d}.")


# %% tags=["mutant:verify"]
# numbers, not digits: "!5." passes for 5
def verify(text, answer):
    said = text.partition("!")[2].rstrip(".")
    return float(said.isdigit() and int(said) == answer)


# %% tags=["mutant:verify"]
# a text that was cut passes
def verify(text, answer):
    return float(text.partition("!")[2].startswith(f"{answer:02d}"))


# %% tags=["mutant:verify"]
# a bool
def verify(text, answer):
    return text.partition("!")[2] == f"{answer:02d}."


# %% tags=["mutant:verify"]
# something may stand behind the end
def verify(text, answer):
    return float(text.count("!") == 1 and f"!{answer:02d}." in text)


# %% tags=["mutant:sample_group"]
# each prompt is read as often as it has texts
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    out = model(prompts.repeat_interleave(group, 0), use_cache=True)
    cache, logits = out.past_key_values, out.logits[:, -1]
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool), [], []
    for _ in range(length):
        chances = (logits / temperature).log_softmax(-1)
        ids = torch.multinomial(chances.exp(), 1, generator=generator)
        ids[done] = END
        new.append(ids)
        logs.append(chances.gather(1, ids))
        done |= ids[:, 0] == END
        if done.all():
            break
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1), torch.cat(logs, 1)


# %% tags=["mutant:sample_group"]
# all prompts one after another, and again: rows do not belong together
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    out = model(prompts, use_cache=True)
    cache = out.past_key_values
    cache.batch_select_indices(torch.arange(len(prompts)).repeat(group))
    logits = out.logits[:, -1].repeat(group, 1)
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool), [], []
    for _ in range(length):
        chances = (logits / temperature).log_softmax(-1)
        ids = torch.multinomial(chances.exp(), 1, generator=generator)
        ids[done] = END
        new.append(ids)
        logs.append(chances.gather(1, ids))
        done |= ids[:, 0] == END
        if done.all():
            break
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1), torch.cat(logs, 1)


# %% tags=["mutant:sample_group"]
# goes on behind END
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    out = model(prompts, use_cache=True)
    cache = out.past_key_values
    cache.batch_repeat_interleave(group)
    logits = out.logits[:, -1].repeat_interleave(group, 0)
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool), [], []
    for _ in range(length):
        chances = (logits / temperature).log_softmax(-1)
        ids = torch.multinomial(chances.exp(), 1, generator=generator)
        new.append(ids)
        logs.append(chances.gather(1, ids))
        done |= ids[:, 0] == END
        if done.all():
            break
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1), torch.cat(logs, 1)


# %% tags=["mutant:sample_group"]
# log-probabilities without the temperature
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    out = model(prompts, use_cache=True)
    cache = out.past_key_values
    cache.batch_repeat_interleave(group)
    logits = out.logits[:, -1].repeat_interleave(group, 0)
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool), [], []
    for _ in range(length):
        ids = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        ids[done] = END
        new.append(ids)
        logs.append(logits.log_softmax(-1).gather(1, ids))
        done |= ids[:, 0] == END
        if done.all():
            break
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1), torch.cat(logs, 1)


# %% tags=["mutant:sample_group"]
# never stops early
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    out = model(prompts, use_cache=True)
    cache = out.past_key_values
    cache.batch_repeat_interleave(group)
    logits = out.logits[:, -1].repeat_interleave(group, 0)
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool), [], []
    for _ in range(length):
        chances = (logits / temperature).log_softmax(-1)
        ids = torch.multinomial(chances.exp(), 1, generator=generator)
        ids[done] = END
        new.append(ids)
        logs.append(chances.gather(1, ids))
        done |= ids[:, 0] == END
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1), torch.cat(logs, 1)


# %% tags=["mutant:sample_group"]
# one text for each prompt, copied
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    out = model(prompts, use_cache=True)
    cache, logits = out.past_key_values, out.logits[:, -1]
    done, new, logs = torch.zeros(len(logits), dtype=torch.bool, device=prompts.device), [], []
    for _ in range(length):
        chances = (logits / temperature).log_softmax(-1)
        ids = torch.multinomial(chances.exp().cpu(), 1, generator=generator).to(prompts.device)
        ids[done] = END
        new.append(ids)
        logs.append(chances.gather(1, ids))
        done |= ids[:, 0] == END
        if done.all() or len(new) == length:
            break
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return torch.cat(new, 1).repeat_interleave(group, 0), torch.cat(logs, 1).repeat_interleave(group, 0)


# %% tags=["mutant:pass_at_k"]
# the biased shortcut
def pass_at_k(n, right, k):
    return 1 - (1 - right / n) ** k


# %% tags=["mutant:pass_at_k"]
# one right text is enough, whatever k
def pass_at_k(n, right, k):
    return float(right > 0)


# %% tags=["mutant:pass_at_k"]
# k times the share
def pass_at_k(n, right, k):
    return min(1.0, k * right / n)


# %% tags=["mutant:pass_at_k"]
# all k are right
def pass_at_k(n, right, k):
    return math.comb(right, k) / math.comb(n, k)


# %% tags=["mutant:kept"]
# a text that another problem has already had is left out
def kept(texts, rewards, group, most):
    seen, places = set(), []
    for i, text in enumerate(texts):
        of_this = sum(place // group == i // group for place in places)
        if rewards[i] == 1 and text not in seen and of_this < most:
            seen.add(text)
            places.append(i)
    return places


# %% tags=["mutant:kept"]
# first the most, then without what repeats
def kept(texts, rewards, group, most):
    places = []
    for first in range(0, len(texts), group):
        right = [i for i in range(first, first + group) if rewards[i] == 1][:most]
        places += [i for n, i in enumerate(right) if texts[i] not in [texts[j] for j in right[:n]]]
    return places


# %% tags=["mutant:kept"]
# a wrong text counts as an earlier one
def kept(texts, rewards, group, most):
    places = []
    for first in range(0, len(texts), group):
        seen = set()
        for i in range(first, first + group):
            if rewards[i] == 1 and texts[i] not in seen and sum(p >= first for p in places) < most:
                places.append(i)
            seen.add(texts[i])
    return places


# %% tags=["mutant:kept"]
# nothing is left out but wrong texts
def kept(texts, rewards, group, most):
    return [i for i, reward in enumerate(rewards) if reward == 1]


# %% tags=["mutant:advantages"]
# the standard deviation with n, not n - 1
def advantages(rewards, kind):
    if kind == "reward":
        return rewards.clone()
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True, correction=0) + 1e-4) if kind == "group, std" else centred


# %% tags=["mutant:advantages"]
# the standard deviation of the batch
def advantages(rewards, kind):
    if kind == "reward":
        return rewards.clone()
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std() + 1e-4) if kind == "group, std" else centred


# %% tags=["mutant:advantages"]
# the mean over the problems, not over the group
def advantages(rewards, kind):
    if kind == "reward":
        return rewards.clone()
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(0, keepdim=True)
    return centred / (rewards.std(0, keepdim=True) + 1e-4) if kind == "group, std" else centred


# %% tags=["mutant:advantages"]
# nothing against a division by 0
def advantages(rewards, kind):
    if kind == "reward":
        return rewards.clone()
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / rewards.std(1, keepdim=True) if kind == "group, std" else centred


# %% tags=["mutant:advantages"]
# the rewards themselves are handed back
def advantages(rewards, kind):
    if kind == "reward":
        return rewards
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + 1e-4) if kind == "group, std" else centred


# %% tags=["mutant:log_probs"]
# one position too late
def log_probs(model, prompts, new):
    logits = model(torch.cat([prompts, new], 1)).logits[:, prompts.shape[1] :]
    return logits.log_softmax(-1).gather(2, new[..., None])[..., 0]


# %% tags=["mutant:log_probs"]
# logits, not log-probabilities
def log_probs(model, prompts, new):
    logits = model(torch.cat([prompts, new], 1)[:, :-1]).logits[:, prompts.shape[1] - 1 :]
    return logits.gather(2, new[..., None])[..., 0]


# %% tags=["mutant:log_probs"]
# without gradient
@torch.no_grad()
def log_probs(model, prompts, new):
    logits = model(torch.cat([prompts, new], 1)[:, :-1]).logits[:, prompts.shape[1] - 1 :]
    return logits.log_softmax(-1).gather(2, new[..., None])[..., 0]


# %% tags=["mutant:log_probs"]
# the prompt's tokens as well
def log_probs(model, prompts, new):
    ids = torch.cat([prompts, new], 1)
    return model(ids[:, :-1]).logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]


# %% tags=["mutant:log_probs"]
# a pass for each token
def log_probs(model, prompts, new):
    logs = []
    for j in range(new.shape[1]):
        logits = model(torch.cat([prompts, new[:, :j]], 1)).logits[:, -1]
        logs.append(logits.log_softmax(-1).gather(1, new[:, j : j + 1]))
    return torch.cat(logs, 1)


# %% tags=["mutant:policy_loss"]
# the clipped ratio alone, without the minimum
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp().clamp(1 - clip[0], 1 + clip[1])
    loss = -ratio * advantage[:, None]
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    return ((loss * mask).sum(1) / (mask.sum(1) if length is None else length)).mean()


# %% tags=["mutant:policy_loss"]
# the minimum of the ratios, not of the products
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    loss = -torch.minimum(ratio, ratio.clamp(1 - clip[0], 1 + clip[1])) * advantage[:, None]
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    return ((loss * mask).sum(1) / (mask.sum(1) if length is None else length)).mean()


# %% tags=["mutant:policy_loss"]
# the mean over all tokens, not first over each text's
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    loss = -torch.minimum(ratio * advantage[:, None], ratio.clamp(1 - clip[0], 1 + clip[1]) * advantage[:, None])
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    return (loss * mask).sum() / (mask.sum() if length is None else length * len(mask))


# %% tags=["mutant:policy_loss"]
# the KL term the wrong way round
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    loss = -torch.minimum(ratio * advantage[:, None], ratio.clamp(1 - clip[0], 1 + clip[1]) * advantage[:, None])
    if beta:
        loss = loss + beta * ((new - reference).exp() - (new - reference) - 1)
    return ((loss * mask).sum(1) / (mask.sum(1) if length is None else length)).mean()


# %% tags=["mutant:policy_loss"]
# one limit for both sides
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    loss = -torch.minimum(ratio * advantage[:, None], ratio.clamp(1 - clip[0], 1 + clip[0]) * advantage[:, None])
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    return ((loss * mask).sum(1) / (mask.sum(1) if length is None else length)).mean()


# %% tags=["mutant:policy_loss"]
# tokens that do not count, count
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    loss = -torch.minimum(ratio * advantage[:, None], ratio.clamp(1 - clip[0], 1 + clip[1]) * advantage[:, None])
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    return (loss.sum(1) / (loss.shape[1] if length is None else length)).mean()


# %% tags=["mutant:policy_loss"]
# no lower limit
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    loss = -torch.minimum(ratio * advantage[:, None], ratio.clamp(max=1 + clip[1]) * advantage[:, None])
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    return ((loss * mask).sum(1) / (mask.sum(1) if length is None else length)).mean()


# %% tags=["mutant:policy_loss"]
# the KL term of tokens that do not count
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    ratio = (new - old).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    loss = -torch.minimum(ratio * advantage[:, None], clipped * advantage[:, None])
    each = (loss * mask).sum(1) / (mask.sum(1) if length is None else length)
    if beta:
        each = each + beta * ((reference - new).exp() - (reference - new) - 1).mean(1)
    return each.mean()


# %% tags=["mutant:improve"]
# spends the budget, and learns nothing
def improve(model, budget):
    while budget.ask(model, 3, 32, 8) is not None:
        pass
    return model


# %% tags=["mutant:improve"]
# uphill is downhill: the sign of the loss
def improve(model, budget):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.0)
    while (batch := budget.ask(model, 3, 32, 8)) is not None:
        gain = advantages(batch["rewards"], "group, std").flatten()
        logs = log_probs(model, batch["prompts"], batch["new"])
        loss = -policy_loss(logs, batch["old"], gain, batch["mask"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


# %% tags=["mutant:improve"]
# a learning rate that breaks the model
def improve(model, budget):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=0.0)
    while (batch := budget.ask(model, 3, 32, 8)) is not None:
        gain = advantages(batch["rewards"], "group, std").flatten()
        logs = log_probs(model, batch["prompts"], batch["new"])
        loss = policy_loss(logs, batch["old"], gain, batch["mask"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


# %% tags=["mutant:improve"]
# sharper, without learning
def improve(model, budget):
    while budget.ask(model, 3, 32, 8) is not None:
        pass
    with torch.no_grad():
        model.model.norm.weight.mul_(10)
    return model


# %% tags=["mutant:improve"]
# another model, which begins the chain
def improve(model, budget):
    while budget.ask(model, 3, 32, 8) is not None:
        pass

    class Begun(torch.nn.Module):
        def forward(self, ids, **options):
            out = model(ids, **options)
            out.logits[:, -1, ANSWER] -= 100.0 * (ids[:, -1] == ASK)
            return out

    return Begun()
