# %% [markdown]
# # Lab 13 · Can a model teach itself to reason, if a program checks its answers?

# %%
import copy
import math
import time
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data, lab, plots, scoring, tables

lab.start(
    "13_reasoning_rl",
    exercises=["verify", "pass_at_k", "sample_group", "log_probs", "advantages", "policy_loss"],
)
plots.style()

# %% tags=["ladder", "hide-input"]
TOKENS = "0123456789+-*=?!."
PLUS, EQUALS, ASK, ANSWER, END = (TOKENS.index(sign) for sign in "+=?!.")


def show(ids):
    return "".join(TOKENS[i] for i in ids)


def draw(count, steps, generator):
    """start (count,), operations (count, steps) with 0 +, 1 -, 2 *, and numbers (count, steps); int64."""
    start = torch.randint(0, 100, (count,), generator=generator)
    operations = torch.randint(0, 3, (count, steps), generator=generator)
    numbers = torch.randint(1, 10, (count, steps), generator=generator)
    factors = torch.tensor([3, 7, 9])[torch.randint(0, 3, (count, steps), generator=generator)]
    return start, operations, torch.where(operations == 2, factors, numbers)


def apply(before, operation, number):
    """One step, last two digits only."""
    return torch.where(operation == 0, before + number, torch.where(operation == 1, before - number, before * number)) % 100


def running(start, operations, numbers):
    """Result after each step, int64 (n, steps)."""
    results = []
    for j in range(operations.shape[1]):
        results.append(apply(results[-1] if results else start, operations[:, j], numbers[:, j]))
    return torch.stack(results, 1)


def digits(values):
    return torch.stack([values // 10, values % 10], -1)


def questions(start, operations, numbers):
    """What a model is asked, "34+8*7?": int64 (n, 2 steps + 3)."""
    steps = torch.stack([PLUS + operations, numbers], 2).flatten(1)
    return torch.cat([digits(start), steps, start.new_full((len(start), 1), ASK)], 1)


def demonstrations(problem, style):
    """What a model is shown: "34+8*7?!94." (style "direct") or "34+8*7?+8=42*7=94!94." (style "chain")."""
    start, operations, numbers = problem
    after, asked = running(*problem), questions(*problem)
    signs, equals = PLUS + operations, torch.full_like(numbers, EQUALS)
    steps = torch.cat([torch.stack([signs, numbers, equals], 2), digits(after)], 2).flatten(1)
    ends = [start.new_full((len(start), 1), token) for token in (ANSWER, END)]
    middle = {"chain": [steps], "direct": []}[style]
    return torch.cat([asked, *middle, ends[0], digits(after[:, -1]), ends[1]], 1)


def room(steps, spare=4):
    """How many tokens a model may write about a problem of so many steps: what a chain needs, and some to spare."""
    return 5 * steps + 4 + spare


def decoder():
    """A Llama of two layers and about 100,000 parameters, random."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENS), hidden_size=64, intermediate_size=170, num_hidden_layers=2, num_attention_heads=4,
            tie_word_embeddings=True, initializer_range=1 / 8, max_position_embeddings=128, use_cache=False,
        )
    )  # fmt: skip


def base_model():
    """The decoder that all methods begin with."""
    model = decoder()
    model.load_state_dict({name: tensor.float() for name, tensor in data.checkpoint("reasoning_base").items()}, strict=False)
    model.tie_weights()
    return model

# %% tags=["exercise:verify"]
def verify(text, answer):
    """The reward of one text: 1.0 if its answer is right, else 0.0.

    text: str, what the model wrote after the question, such as "+8=42*7=94!94.". answer: int, 0 to 99.
    Right is: the text has exactly one "!"; behind it stand the two digits of the answer ("05" for 5) and one ".", and nothing
    more. What stands before the "!" does not matter: a chain, a wrong chain, or nothing. Returns float.

    Example: verify("+8=42*7=94!94.", 94) is 1.0, verify("!94.", 94) is 1.0, verify("+8=42*7=94!95.", 94) is 0.0.
    """
    ### BEGIN SOLUTION
    said, sign, after = text.partition("!")
    return float(sign == "!" and after == f"{answer:02d}.")
    ### END SOLUTION

# %% tags=["exercise:sample_group"]
@torch.inference_mode()
def sample_group(model, prompts, group, length, generator, temperature=1.0):
    """`group` texts for each of some prompts of equal length; the prompts are computed once, not `group` times.

    prompts: int64 (n, m). length: int, at most so many new tokens. generator: a torch.Generator of the CPU: the only source
    of chance. temperature: float, above 0; logits are divided by it.
    Returns (new, logs), both (n · group, at most length), on the device of prompts: rows 0 … group-1 belong to prompt 0, the
    next `group` rows to prompt 1, and so on. new: int64; behind the first END of a row stand only ENDs. logs: the
    log-probability with which each token was drawn (with the temperature); behind the first END it may be anything.
    Stop early when every row has its END. The model gets each prompt once; after that only the newest token of each row.

    Example: 3 prompts, group 2: rows 0 and 1 continue prompt 0, rows 2 and 3 prompt 1, rows 4 and 5 prompt 2.
    """
    ### BEGIN SOLUTION
    out = model(prompts, use_cache=True)
    cache = out.past_key_values
    cache.batch_repeat_interleave(group)
    logits = out.logits[:, -1].repeat_interleave(group, 0)
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
    return torch.cat(new, 1), torch.cat(logs, 1)
    ### END SOLUTION

# %% tags=["exercise:log_probs"]
def log_probs(model, prompts, new):
    """Log-probabilities of tokens behind prompts, with gradient.

    prompts: int64 (n, m). new: int64 (n, k), what was written behind them. Returns float32 (n, k): the natural logarithm of
    the probability of new[i, j], given prompts[i] and new[i, :j]. One pass of the model.

    Example: exp(log_probs(model, prompts, new))[:, 0] is the probability of each first new token.
    """
    ### BEGIN SOLUTION
    ids = torch.cat([prompts, new], 1)
    logits = model(ids[:, :-1]).logits[:, prompts.shape[1] - 1 :].float()
    return logits.log_softmax(-1).gather(2, new[..., None])[..., 0]
    ### END SOLUTION

# %% tags=["exercise:kept"]
def kept(texts, rewards, group, most):
    """Which texts to imitate (rejection sampling): places of right ones, different ones, and not too many per problem.

    texts: list of str; the first `group` belong to problem 0, the next `group` to problem 1, and so on. rewards: list of
    float, one for each text. most: int, at most so many texts of one problem.
    Of each problem: the texts with reward 1, without those that repeat an earlier text *of the same problem*; of these the
    first `most`. Returns a list of int, rising.

    Example: kept(["a", "b", "a", "c", "b", "d"], [1, 1, 1, 0, 1, 1], 3, 2) is [0, 1, 4, 5]: text 2 repeats text 0, text 3 is
    wrong; text 4 repeats text 1, but of another problem.
    """
    ### BEGIN SOLUTION
    places = []
    for first in range(0, len(texts), group):
        seen = set()
        for i in range(first, first + group):
            if rewards[i] == 1 and texts[i] not in seen and len(seen) < most:
                seen.add(texts[i])
                places.append(i)
    return places
    ### END SOLUTION

# %% tags=["exercise:advantages"]
def advantages(rewards, kind):
    """How much better than expected was each text?

    rewards: float32 (problems, group). kind:
    - "reward": the reward itself,
    - "batch": reward minus the mean of the whole batch,
    - "group": reward minus the mean of its own problem's group,
    - "group, std": that, divided by the standard deviation of its group (torch's default, with n - 1) plus 1e-4.
    Returns a new float32 (problems, group), on the device of rewards.

    Example: advantages(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "group") is [[0.5, -0.5], [0, 0]].
    """
    ### BEGIN SOLUTION
    if kind == "reward":
        return rewards.clone()
    if kind == "batch":
        return rewards - rewards.mean()
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + 1e-4) if kind == "group, std" else centred
    ### END SOLUTION

# %% tags=["exercise:policy_loss"]
def policy_loss(new, old, advantage, mask, length=None, clip=(0.2, 0.2), reference=None, beta=0.0):
    """The loss of GRPO and its relatives; its gradient raises what was better than expected.

    new, old: float32 (texts, tokens), log-probabilities of the tokens by the model now (with gradient) and by the model that
    wrote them. advantage: float32 (texts,). mask: float32 (texts, tokens), 1 for a token that counts.
    Each token's loss: with ratio = exp(new - old) and A the text's advantage, minus the smaller one of ratio · A and
    c · A, where c is the ratio limited to 1 - clip[0] … 1 + clip[1]; plus beta · (exp(d) - d - 1) with d = reference - new, if
    beta is not 0 (reference: log-probabilities by the base model).
    Each text's loss: the sum over its tokens that count, divided by their number (length None), or by the number `length`.
    Returns the mean over texts, a scalar.

    Example: new = old, advantage [1, -1], two tokens each, all count: the ratio is 1 everywhere, the loss is -1/2 + 1/2 = 0.
    """
    ### BEGIN SOLUTION
    ratio = (new - old).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    loss = -torch.minimum(ratio * advantage[:, None], clipped * advantage[:, None])
    if beta:
        loss = loss + beta * ((reference - new).exp() - (reference - new) - 1)
    each = (loss * mask).sum(1)
    return (each / (mask.sum(1) if length is None else length)).mean()
    ### END SOLUTION

# %% tags=["exercise:pass_at_k"]
def pass_at_k(n, right, k):
    """The chance that at least one of k texts is right, estimated from n texts of which `right` were right.

    n, right, k: int, 0 ≤ right ≤ n, 1 ≤ k ≤ n. The k are drawn from the n without putting one back. Returns float.

    Example: pass_at_k(4, 1, 2) is 0.5: of the six pairs out of four texts, three have the right one.
    """
    ### BEGIN SOLUTION
    if n - right < k:
        return 1.0
    return 1.0 - math.prod((n - right - i) / (n - i) for i in range(k))
    ### END SOLUTION

# %% tags=["ladder", "hide-input"]
def written(new):
    """1.0 for each token up to the first END and with it, 0.0 behind it."""
    ends = (new == END).int()
    return (ends.cumsum(1) - ends == 0).float()


def texts_of(new):
    """What was written, as str, up to the first END and with it."""
    lengths = written(new).sum(1).int().tolist()
    return [show(row[:length]) for row, length in zip(new.tolist(), lengths, strict=True)]


def only_right(text, answer):
    """The reward of this chapter: 1 for a right answer, else 0."""
    return verify(text, answer)


def pays_for_steps(text, answer):
    """A reward that can be gamed: half of it for the answer, the other half for up to ten equations, right or wrong."""
    return 0.5 * verify(text, answer) + 0.05 * min(10, text.count("="))


METHODS = {  # kind of advantage, and what differs from: own policy samples, constant length, no KL penalty
    "rejection sampling": dict(kind="kept", sampler="base"),
    "STaR": dict(kind="kept", sampler="rounds"),
    "REINFORCE, no baseline": dict(kind="reward"),
    "REINFORCE, batch baseline": dict(kind="batch"),
    "GRPO": dict(kind="group, std", own_length=True),
    "GRPO, no std": dict(kind="group", own_length=True),
    "Dr. GRPO": dict(kind="group"),
    "GRPO, KL": dict(kind="group, std", own_length=True, beta=0.04),
    "GRPO, no clipping": dict(kind="group, std", own_length=True, clip=(1.0, 1e9)),
    "GRPO, one update": dict(kind="group, std", own_length=True, updates=1),
}
TRAINED = (2, 3, 4)  # steps of the problems that methods are trained on, in turn
PROBLEMS, GROUP, ROUNDS, MOST = 32, 8, 4, 4


def train(method, rate, seed, budget, watch=lambda *state: None, reward=only_right, spare=4, **changes):
    """The base model, trained with a method until `budget` tokens have been sampled, PROBLEMS · GROUP texts at a time.

    `watch(tokens, model, log)` is called before the first batch and after each one; `log` has the batch's texts and rewards.
    """
    plan = dict(own_length=False, beta=0.0, sampler="policy", clip=(0.2, 0.2), updates=4) | METHODS[method] | changes
    model, generator, tokens, batch, rounds = base_model(), torch.Generator().manual_seed(seed), 0, 0, 0
    reference, sampler = base_model(), model if plan["sampler"] == "policy" else base_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    watch(0, model, {})
    while tokens < budget:
        if plan["sampler"] == "rounds" and tokens * ROUNDS // budget > rounds:
            rounds, sampler = rounds + 1, copy.deepcopy(model)
        count = TRAINED[batch % len(TRAINED)]
        problem = draw(PROBLEMS, count, generator)
        prompts, truth = questions(*problem), running(*problem)[:, -1].repeat_interleave(GROUP).tolist()
        new, old = (x.clone() for x in sample_group(sampler, prompts, GROUP, room(count, spare), generator))
        texts, mask = texts_of(new), written(new)
        rewards = torch.tensor([reward(text, answer) for text, answer in zip(texts, truth, strict=True)])
        if plan["kind"] == "kept":
            gain = torch.zeros(len(texts))
            gain[kept(texts, rewards.tolist(), GROUP, MOST)] = 1.0
        else:
            gain = advantages(rewards.view(PROBLEMS, GROUP), plan["kind"]).flatten()
        prompts, batch, tokens = prompts.repeat_interleave(GROUP, 0), batch + 1, tokens + int(mask.sum())
        order = torch.randperm(PROBLEMS * GROUP, generator=generator)
        used = order if plan["beta"] else order[gain[order] != 0]  # a KL penalty concerns all texts
        for part in used.tensor_split(plan["updates"]):
            if len(part) == 0:
                continue
            logs = log_probs(model, prompts[part], new[part])
            before = logs.detach() if plan["kind"] == "kept" else old[part]  # who imitates does not ask who wrote it
            with torch.no_grad():
                anchor = log_probs(reference, prompts[part], new[part]) if plan["beta"] else None
            length = None if plan["own_length"] else room(count, spare)
            loss = policy_loss(logs, before, gain[part], mask[part], length, plan["clip"], anchor, plan["beta"])
            loss = loss * len(part) * plan["updates"] / len(order)  # texts without an advantage were left out, but count
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        watch(tokens, model, {"texts": texts, "rewards": rewards})
    return model
