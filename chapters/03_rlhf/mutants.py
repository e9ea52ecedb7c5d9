# %% tags=["mutant:preference_pairs"]
# the first is always chosen
def preference_pairs(scores, first, second, margin):
    kept = (scores[first] - scores[second]).abs() >= margin
    return torch.stack([first, second], dim=1)[kept]


# %% tags=["mutant:preference_pairs"]
# a pair exactly at the margin is left out
def preference_pairs(scores, first, second, margin):
    better = scores[first] > scores[second]
    pairs = torch.stack([torch.where(better, first, second), torch.where(better, second, first)], dim=1)
    return pairs[(scores[first] - scores[second]).abs() > margin]


# %% tags=["mutant:preference_pairs"]
# keeps only pairs whose first is the better one
def preference_pairs(scores, first, second, margin):
    return torch.stack([first, second], dim=1)[scores[first] - scores[second] >= margin]


# %% tags=["mutant:preference_pairs"]
# the scores, not the indices
def preference_pairs(scores, first, second, margin):
    a, b = scores[first], scores[second]
    return torch.stack([torch.maximum(a, b), torch.minimum(a, b)], dim=1)[(a - b).abs() >= margin]


# %% tags=["mutant:pairwise_loss"]
# the logarithm of a sigmoid, which is -inf for a pair that is very wrong
def pairwise_loss(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected)).mean()


# %% tags=["mutant:pairwise_loss"]
# the wrong way round
def pairwise_loss(chosen, rejected):
    return -F.logsigmoid(rejected - chosen).mean()


# %% tags=["mutant:pairwise_loss"]
# the sum, not the mean
def pairwise_loss(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).sum()


# %% tags=["mutant:pairwise_loss"]
# a margin loss
def pairwise_loss(chosen, rejected):
    return (1 - (chosen - rejected)).clamp(min=0).mean()


# %% tags=["mutant:token_logprobs"]
# no shift
def token_logprobs(logits, ids):
    return logits[:, 1:].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


# %% tags=["mutant:token_logprobs"]
# logits, not log-probabilities
def token_logprobs(logits, ids):
    return logits[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)


# %% tags=["mutant:token_logprobs"]
# probabilities
def token_logprobs(logits, ids):
    return logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


# %% tags=["mutant:token_logprobs"]
# normalized over the positions
def token_logprobs(logits, ids):
    return logits[:, :-1].log_softmax(1).gather(-1, ids[:, 1:, None]).squeeze(-1)


# %% tags=["mutant:token_rewards"]
# the score at every token
def token_rewards(score, logprobs, reference, mask, beta):
    return torch.where(mask, score[:, None] - beta * (logprobs - reference), 0.0)


# %% tags=["mutant:token_rewards"]
# the score in the last column, written or not
def token_rewards(score, logprobs, reference, mask, beta):
    rewards = torch.where(mask, -beta * (logprobs - reference), 0.0)
    rewards[:, -1] += score
    return rewards


# %% tags=["mutant:token_rewards"]
# pulls towards being different
def token_rewards(score, logprobs, reference, mask, beta):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return torch.where(mask, beta * (logprobs - reference), 0.0) + torch.where(last, score[:, None], 0.0)


# %% tags=["mutant:token_rewards"]
# the KL penalty on the prompt and the padding too
def token_rewards(score, logprobs, reference, mask, beta):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return -beta * (logprobs - reference) + torch.where(last, score[:, None], 0.0)


# %% tags=["mutant:token_rewards"]
# the column by the number of tokens, as if every text began in the first column
def token_rewards(score, logprobs, reference, mask, beta):
    rewards = torch.where(mask, -beta * (logprobs - reference), 0.0)
    rewards[torch.arange(len(score)), mask.sum(1) - 1] += score
    return rewards


# %% tags=["mutant:gae"]
# the discounted sum of the differences, without lambda
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages = torch.zeros_like(rewards)
    following, value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * value - values[:, t] + gamma * following, 0.0)
        value = torch.where(mask[:, t], values[:, t], 0.0)
        advantages[:, t] = following
    return advantages, torch.where(mask, advantages + values, 0.0)


# %% tags=["mutant:gae"]
# the value after the last token counts, although nothing comes there
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages = torch.zeros_like(rewards)
    following, value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * value - values[:, t] + gamma * lam * following, 0.0)
        value = values[:, t]
        advantages[:, t] = following
    return advantages, torch.where(mask, advantages + values, 0.0)


# %% tags=["mutant:gae"]
# returns without the values
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages = torch.zeros_like(rewards)
    following, value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * value - values[:, t] + gamma * lam * following, 0.0)
        value = torch.where(mask[:, t], values[:, t], 0.0)
        advantages[:, t] = following
    return advantages, advantages


# %% tags=["mutant:gae"]
# one step only: the advantage is the difference itself
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    following = F.pad(torch.where(mask, values, 0.0)[:, 1:], (0, 1))
    advantages = torch.where(mask, rewards + gamma * following - values, 0.0)
    return advantages, torch.where(mask, advantages + values, 0.0)


# %% tags=["mutant:gae"]
# from the first token to the last
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    following = F.pad(torch.where(mask, values, 0.0)[:, 1:], (0, 1))
    advantages, running = torch.zeros_like(rewards), torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1]):
        running = torch.where(mask[:, t], rewards[:, t] + gamma * following[:, t] - values[:, t] + gamma * lam * running, 0.0)
        advantages[:, t] = running
    return advantages, torch.where(mask, advantages + values, 0.0)


# %% tags=["mutant:gae"]
# returns outside of the episode, where there is nothing
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages = torch.zeros_like(rewards)
    following, value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * value - values[:, t] + gamma * lam * following, 0.0)
        value = torch.where(mask[:, t], values[:, t], 0.0)
        advantages[:, t] = following
    return advantages, advantages + values


# %% tags=["mutant:gae"]
# as if every episode filled its row: the mask is not used
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages = torch.zeros_like(rewards)
    following, value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = rewards[:, t] + gamma * value - values[:, t] + gamma * lam * following
        value, advantages[:, t] = values[:, t], following
    return advantages, advantages + values


# %% tags=["mutant:ppo_loss"]
# always the clipped term: no gradient where the policy has to come back
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    ratio = (logprobs - old).exp()
    limited = ratio.clamp(1 - clip, 1 + clip) * advantages
    return -limited[mask].mean(), (limited < ratio * advantages)[mask].float().mean()


# %% tags=["mutant:ppo_loss"]
# the optimist: the larger of the two
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    ratio = (logprobs - old).exp()
    plain, limited = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.maximum(plain, limited)[mask].mean(), (limited < plain)[mask].float().mean()


# %% tags=["mutant:ppo_loss"]
# the ratio of the log-probabilities
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    ratio = logprobs - old + 1
    plain, limited = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(plain, limited)[mask].mean(), (limited < plain)[mask].float().mean()


# %% tags=["mutant:ppo_loss"]
# maximized by minimizing: the sign is missing
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    ratio = (logprobs - old).exp()
    plain, limited = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return torch.minimum(plain, limited)[mask].mean(), (limited < plain)[mask].float().mean()


# %% tags=["mutant:ppo_loss"]
# the mean over the padding too
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    ratio = (logprobs - old).exp()
    plain, limited = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -(torch.minimum(plain, limited) * mask).mean(), ((limited < plain) * mask).float().mean()


# %% tags=["mutant:ppo_loss"]
# the mean of each text's mean
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    ratio = (logprobs - old).exp()
    plain, limited = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -((torch.minimum(plain, limited) * mask).sum(1) / mask.sum(1)).mean(), (limited < plain)[mask].float().mean()


# %% tags=["mutant:dpo_loss"]
# no reference
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


# %% tags=["mutant:dpo_loss"]
# beta outside of the sigmoid
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    return -beta * F.logsigmoid((chosen - reference_chosen) - (rejected - reference_rejected)).mean()


# %% tags=["mutant:dpo_loss"]
# the two references changed places
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    return -F.logsigmoid(beta * ((chosen - reference_rejected) - (rejected - reference_chosen))).mean()


# %% tags=["mutant:dpo_loss"]
# the logarithm of a sigmoid, which is -inf far from the reference
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    return -torch.log(torch.sigmoid(beta * ((chosen - reference_chosen) - (rejected - reference_rejected)))).mean()


# %% tags=["mutant:suspicion"]
# the length only: texts of a hacked policy are long, but so are many others
def suspicion(texts):
    return [float(len(text.split())) for text in texts]


# %% tags=["mutant:suspicion"]
# the wrong way round: the number of different words
def suspicion(texts):
    return [float(len(set(text.split()))) for text in texts]


# %% tags=["mutant:suspicion"]
# every text is as suspicious as any other
def suspicion(texts):
    return [0.5 for _ in texts]


# %% tags=["mutant:suspicion"]
# one number for all texts together
def suspicion(texts):
    words = " ".join(texts).split()
    return [1 - len(set(words)) / len(words)]
