# %% [markdown]
# # Lab 03 · Learning from preferences: RLHF
#
# **People can say which of two answers is better long before they can say what makes an answer good. How does a model
# learn from that?** In three steps [@ouyang2022training]: imitate good texts (*supervised fine-tuning*, SFT 监督微调), learn
# to predict what people prefer (*reward model*, 奖励模型), and write, get rewarded, adapt (PPO, 近端策略优化) under a penalty for
# moving away from the imitation (*KL penalty*, KL 惩罚). You will write each part, run all three steps on real human
# scores, and let a policy exploit a weak reward model, until it writes what nobody would want to read. Then you meet DPO,
# which does without the reward model.
#
# Time: three to four hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %% tags=["hide-input"]
import collections
import copy
import functools
import importlib.util
import itertools
import re
import tempfile

import datasets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import transformers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from torch import nn
from tqdm.auto import tqdm

from course_utils import data, lab, load_model, plots, scoring, tables, weights, widgets

lab.start(
    "03_rlhf",
    exercises=[
        "preference_pairs",
        "pairwise_loss",
        "token_logprobs",
        "token_rewards",
        "gae",
        "ppo_loss",
        "dpo_loss",
        "suspicion",
    ],
)

# %% [markdown]
# ## 1 · Step 1: imitate (SFT)
#
# The *policy* (策略) is the model that is to learn by trial: given the first words of a film review, it writes the rest.
# RLHF needs many rounds of writing and learning, and a claim needs several seeds. So our policy is small: a Transformer
# with two layers that knows the most frequent words of our reviews and nothing else. Its texts are clumsy; what you will
# see of the reward, the KL and the variety has been reported for large policies too [@gao2023scaling], but takes seconds
# here. The course model has two jobs: its vectors of our words are the policy's start, and in section 5 it reads what the
# policy wrote.

# %% tags=["experiment", "ladder"]
MODEL = "course"  # who reads the policy's texts; on a T4 with a hub: "HuggingFaceTB/SmolLM2-360M-Instruct", or another model
WORDS, WIDTH, START, NEW = 2500, 128, 4, 20  # words known; width of the policy; tokens of a prompt; tokens that it writes
END, RARE = 0, 1
model, tokenizer = load_model(MODEL, precision="fp32")
DEVICE = model.device
reviews = data.movie_sentences().shuffle(seed=0)
scores = torch.tensor(reviews["score"])
split = [re.findall(r"[a-z0-9']+|[.,!?;:]", text.lower().replace("''", "")) for text in reviews["text"]]
counts = collections.Counter(word for words in split for word in words)
vocabulary = ["<end>", "<rare>", *(word for word, _ in counts.most_common(WORDS - 2))]
number = {word: i for i, word in enumerate(vocabulary)}
rows = [[END, *(number.get(word, RARE) for word in words[:38]), END] for words in split]


def text_of(ids):
    """The text of a list of token ids: words with spaces between them."""
    return re.sub(r" ([.,!?;:])", r"\1", " ".join(vocabulary[i] for i in ids if i > RARE))

# %% [markdown]
# Rows 0 to 6,000 are for the reward models, 6,000 to 8,000 to test them, 8,000 to 9,000 for an independent metric, and
# from 9,300 on for the exam of the policies.

# %% tags=["experiment", "ladder"]
class Policy(nn.Module):
    """A small language model with two outputs for each position: logits of the next token, and a value (section 4)."""

    def __init__(self):
        super().__init__()
        config = transformers.LlamaConfig(
            vocab_size=WORDS, hidden_size=WIDTH, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64, tie_word_embeddings=True,
        )  # fmt: skip
        self.body = transformers.LlamaModel(config)
        self.value = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, ids, cache=None):
        """Logits (batch, n, words) and values (batch, n). The policy never writes <rare>."""
        h = self.body(ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        logits = h @ self.body.embed_tokens.weight.T
        never = torch.zeros(WORDS, device=ids.device).index_fill(0, torch.tensor([RARE], device=ids.device), 1e4)
        return logits - never, self.value(h).squeeze(-1)


def padded(some):
    """Token ids (batch, n) of some rows, and which of them are real."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in some], batch_first=True)
    real = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in some])
    return ids.to(DEVICE), real.to(DEVICE)

# %% tags=["hide-input", "experiment", "ladder"]
def next_token_loss(policy, some):
    """Mean loss of next-token prediction on some rows; a rare word is read but not asked for."""
    ids, real = padded(some)
    logits, _ = policy(ids[:, :-1])
    asked = real[:, 1:] & (ids[:, 1:] != RARE)
    return F.cross_entropy(logits[asked], ids[:, 1:][asked])


def update(policy, optimizer, loss):
    """One step down the gradient of a loss, clipped to norm 1."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()


def learn(policy, loss_of, steps, rate, name):
    """Take `steps` steps of AdamW; loss_of(i) is the loss of step i."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for i in tqdm(range(steps), desc=name, leave=False):
        loss = loss_of(i)
        update(policy, optimizer, loss)
        schedule.step()


def word_vectors():
    """The course model's input vectors of our words, reduced to WIDTH principal components: a start for a small policy."""
    table = model.get_input_embeddings().weight.detach().float().cpu()
    vectors = torch.stack([table[tokenizer(" " + word)["input_ids"]].mean(0) for word in vocabulary])
    vectors = vectors - vectors.mean(0)
    small = vectors @ torch.linalg.svd(vectors, full_matrices=False).Vh[:WIDTH].T
    return F.pad(0.05 * small / small.std(), (0, WIDTH - small.shape[1]))  # a narrower model has fewer components


def supervised(steps):
    """The SFT policy: `steps` batches of 64 reviews. The same on every call."""
    torch.manual_seed(0)
    policy, generator = Policy(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        policy.body.embed_tokens.weight.copy_(word_vectors())
    policy.to(DEVICE)
    batches = [torch.randint(9000, (64,), generator=generator).tolist() for _ in range(steps)]
    learn(policy, lambda i: next_token_loss(policy, [rows[j] for j in batches[i]]), steps, 4e-3, "SFT")
    return policy

# %% tags=["experiment"]
sft = supervised(lab.budget(full=250, quick=4))
with torch.no_grad():
    for name, policy in {"before": Policy().to(DEVICE), "after": sft}.items():
        loss = float(next_token_loss(policy, rows[9000:9300]))
        print(f"reviews it has not seen, {name} training: {loss:.2f} nats per token")

# %% [markdown]
# ### What it writes
#
# Sampling, token by token. A *prompt* here is the first three words of a review that the policy has not seen.

# %% tags=["experiment", "ladder"]
@torch.no_grad()
def write(policy, prompts, seed):
    """Continue each prompt (batch, START) by up to NEW tokens. Returns ids (batch, START + NEW) and the mask (batch, NEW) of
    what was written: up to the first END, that one too."""
    generator, cache = torch.Generator().manual_seed(seed), transformers.DynamicCache()
    ids, fresh = prompts, prompts
    for _ in range(NEW):
        logits, _ = policy(fresh, cache)
        fresh = torch.multinomial(logits[:, -1].softmax(-1).cpu(), 1, generator=generator).to(DEVICE)
        ids = torch.cat([ids, fresh], dim=1)
    ended = ids[:, START:] == END
    return ids, (ended.cumsum(1) - ended.long()) == 0


def whole(ids, mask):
    """The ids of prompt and text; END wherever nothing was written."""
    return torch.cat([ids[:, :START], torch.where(mask, ids[:, START:], END)], dim=1)


def beginnings(some):
    """Prompts (m, START) from the reviews that are long enough and begin with words that the policy knows."""
    return torch.tensor([row[:START] for row in some if len(row) > 10 and RARE not in row[:START]], device=DEVICE)


prompts, exam = beginnings(rows[6000:9000]), beginnings(rows[9300:])[: lab.budget(full=64, quick=8)]

# %% tags=["experiment"]
ids, mask = write(sft, exam[:5], seed=1)
for start, row in zip(exam.tolist(), whole(ids, mask).tolist(), strict=False):
    print(text_of(start), "|", text_of(row[START:]))

# %% [markdown]
# ## 2 · Step 2a: From scores to preferences
#
# Fifteen to thirty people scored each of 10,605 sentences of film reviews, from -4 to 4; a sentence's score is their
# mean. Nobody was asked to compare two, but the scores say who would win: of two sentences, the one with the higher score
# is *chosen* ($y_w$, the winner), the other *rejected* ($y_l$, the loser). Where two scores are close, the winner is
# mostly noise; we leave such pairs out.

# %% tags=["exercise:preference_pairs"]
def preference_pairs(scores, first, second, margin):
    """Pairs (chosen, rejected) of examples.

    scores: float tensor (n,). first, second: int64 tensors (m,), indices of candidates for m pairs. margin: float.
    Returns int64 (k, 2): of each candidate pair whose scores differ by at least margin, the index with the
    higher score, then the one with the lower, in the order of the candidates. k may be 0.

    Example: scores [1., -2., 0.5], first [0, 1, 2], second [1, 2, 0], margin 1 gives [[0, 1], [2, 1]].
    """
    ### BEGIN SOLUTION
    better = scores[first] > scores[second]
    pairs = torch.stack([torch.where(better, first, second), torch.where(better, second, first)], dim=1)
    return pairs[(scores[first] - scores[second]).abs() >= margin]
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two questions for each candidate pair: which of the two comes first, and does the pair stay?</details>
# <details><summary>Hint 2</summary>torch.where chooses element by element, torch.stack(…, dim=1) makes rows of two, a boolean mask
# keeps rows.</details>

# %% tags=["tests:preference_pairs:1"]
with lab.test("preference_pairs"):
    got = preference_pairs(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0]), 1.0)
    lab.expect_close(got, torch.tensor([[0, 1], [2, 1]]), "the example's pairs")
    got = preference_pairs(torch.tensor([0.0, 2.0]), torch.tensor([0]), torch.tensor([1]), 2.0)
    lab.expect_close(got, torch.tensor([[1, 0]]), "the pair whose scores differ by exactly the margin")
    got = preference_pairs(torch.tensor([0.0, 2.0]), torch.tensor([0]), torch.tensor([1]), 3.0)
    assert got.shape == (0, 2), f"no pair reaches the margin: the shape should be (0, 2), but it is {tuple(got.shape)}"

# %% tags=["hidden:preference_pairs:2"]
def probe():
    g = torch.Generator().manual_seed(1)
    scores = torch.randint(-8, 9, (30,), generator=g) / 2
    first, second = torch.randint(30, (60,), generator=g), torch.randint(30, (60,), generator=g)
    return {
        # because: many candidates, some with equal scores or exactly the margin apart
        "pairs": [preference_pairs(scores, first, second, m) for m in (0.5, 2.0)],
        "none": preference_pairs(scores, first, second, 99.0).shape[0],  # because: a margin that no pair reaches
        "dtype": str(preference_pairs(scores, first, second, 1.0).dtype),  # because: the dtype of the pairs
        "scores after": scores,  # because: the scores you were given, which must stay as they were
        "first after": first,  # because: the candidates you were given, which must stay as they were
    }


def visible():
    two = torch.tensor([0.0, 2.0]), torch.tensor([0]), torch.tensor([1])
    return [
        preference_pairs(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0]), 1.0),
        preference_pairs(*two, 2.0),
        list(preference_pairs(*two, 3.0).shape),
    ]

# %% tags=["experiment"]
lab.needs("preference_pairs")
generator = torch.Generator().manual_seed(0)
pairs = preference_pairs(scores, *torch.randint(6000, (2, 2500), generator=generator), margin=1.0)
held_out = preference_pairs(scores, *(6000 + torch.randint(2000, (2, 700), generator=generator)), margin=0.5)
print(len(pairs), "pairs to learn from,", len(held_out), "of other sentences to test with")
for good, bad in pairs[:3].tolist():
    for name, i in (("\n  chosen  ", good), ("  rejected", bad)):
        print(f"{name} ({scores[i]:+.1f}) {reviews[i]['text'][:100]}")

# %% [markdown]
# ## 3 · Step 2b: The reward model
#
# @bradley1952rank: let each text have a strength r. Then the probability that a beats b is σ(r(a) - r(b)). The
# *reward model* (奖励模型) gives r; its loss is the negative log-likelihood of what people chose:
#
# $$L = -\frac1m \sum \log \sigma\big(r(y_w) - r(y_l)\big)$$

# %% tags=["hide-input"]
guess = widgets.predict("What is the loss of a model that gives every text the same reward?", unit="nats", tolerance=0.02)
guess_2 = widgets.predict(
    "A model has every pair in the right order. All its rewards are doubled. What happens to its loss?",
    options=["it rises", "it falls", "it stays the same"],
)

# %% tags=["exercise:pairwise_loss"]
def pairwise_loss(chosen, rejected):
    """Mean negative log-likelihood of the preferences (Ouyang et al. 2022, equation 1).

    chosen, rejected: float (m,), rewards. Returns a scalar tensor, in nats; finite for any finite rewards.

    Example: pairwise_loss([1., 2.], [1., 0.]) is (log 2 + log(1 + e^-2)) / 2 = 0.410038.
    """
    ### BEGIN SOLUTION
    return -F.logsigmoid(chosen - rejected).mean()
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>What is torch.sigmoid(torch.tensor(-200.)) in float32, and its logarithm?</details>
# <details><summary>Hint 2</summary>torch.nn.functional has the logarithm of the sigmoid as one function.</details>

# %% tags=["tests:pairwise_loss:1"]
with lab.test("pairwise_loss"):
    lab.expect_close(
        pairwise_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])),
        torch.tensor(0.410038),
        "the example's loss",
    )
    lab.expect_close(
        pairwise_loss(torch.tensor([-100.0]), torch.tensor([100.0])),
        torch.tensor(200.0),
        "a pair that is very wrong",
    )

# %% tags=["hidden:pairwise_loss:2"]
def probe():
    g = torch.Generator().manual_seed(2)
    chosen, rejected = 3 * torch.randn(2, 17, generator=g)
    chosen = chosen.clone().requires_grad_()
    loss = pairwise_loss(chosen, rejected)
    loss.backward()
    return {
        # because: many pairs, in some of which the rejected text has the higher reward
        "loss": loss.detach(),
        "gradient": chosen.grad,  # because: the gradient of the loss
        # because: rewards that are all higher by the same number
        "shifted": pairwise_loss(chosen.detach() + 5, rejected + 5),
        # because: pairs of which some are very wrong
        "far": pairwise_loss(40 * chosen.detach(), 40 * rejected),
    }


def visible():
    return [
        pairwise_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])),
        pairwise_loss(torch.tensor([-100.0]), torch.tensor([100.0])),
    ]

# %%
better, worse = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.0, -1.0, 1.5])
losses = {
    "all rewards equal": float(pairwise_loss(worse, worse)),
    "every pair in the right order": float(pairwise_loss(better, worse)),
    "the same, all rewards doubled": float(pairwise_loss(2 * better, 2 * worse)),
}
for name, loss in losses.items():
    print(f"{name}: {loss:.4f} nats")
guess.reveal(np.log(2), why="Each text of a pair wins with probability σ(0) = 1/2: the model knows no more than a coin.")
before, after = list(losses.values())[1:]
guess_2.reveal(
    "it falls" if after < before else "it rises" if after > before else "it stays the same",
    why="The order of the texts is what it was, but every right verdict is surer. (A number that is added to all rewards changes nothing.)",
)

# %% [markdown]
# So a reward model's zero has no meaning, and the rewards of two reward models cannot be compared.
#
# ### The same loss from TRL
#
# TRL's trainer, a small random model, one batch of our pairs: its loss and yours on the model's own rewards.

# %% tags=["hide-input", "experiment"]
def small_config(**more):
    return transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )


def quiet(config, folder, **more):
    """Settings of a TRL trainer that only makes one batch and one loss."""
    datasets.disable_progress_bars()
    return config(
        folder, activation_checkpointing=False, dataloader_pin_memory=False, bf16=False, report_to="none", **more
    )


preferred = [
    {"prompt": "Review:", "chosen": " " + reviews[a]["text"], "rejected": " " + reviews[b]["text"]}
    for a, b in pairs[:6].tolist()
]
if importlib.util.find_spec("trl"):
    from trl import RewardConfig, RewardTrainer

    torch.manual_seed(0)
    judge = transformers.LlamaForSequenceClassification(small_config(num_labels=1))
    with tempfile.TemporaryDirectory() as folder:
        pair_rows = datasets.Dataset.from_list([{k: row[k] for k in ("chosen", "rejected")} for row in preferred])
        trainer = RewardTrainer(
            judge, quiet(RewardConfig, folder), train_dataset=pair_rows, processing_class=tokenizer
        )
        batch = next(iter(trainer.get_train_dataloader()))
        theirs = trainer.compute_loss(trainer.model, dict(batch)).item()
    with torch.no_grad():
        chosen, rejected = trainer.model(**batch, use_cache=False).logits.squeeze(-1).chunk(2)
    print(f"yours {float(pairwise_loss(chosen, rejected)):.7f}, TRL {theirs:.7f}")
    assert abs(float(pairwise_loss(chosen, rejected)) - theirs) < 1e-5

# %% [markdown]
# ### A weak one and a better one
#
# Two reward models, both trained by your loss. The *weak* one knows only words: one number per word, and a text's reward
# is the sum over its words. It sees comparisons between 300 sentences. The *better* one is MiniLM, an encoder of six
# layers that reads the whole sentence, with one number on top. A reward model need not be of the policy's kind:
# InstructGPT's had 6 billion parameters, its largest policy 175 billion.

# %% tags=["hide-input", "experiment", "ladder"]
class WordReward(nn.Module):
    """A reward for each word; a text's is their sum, scaled so that real reviews have mean 0 and standard deviation 1."""

    def __init__(self):
        super().__init__()
        self.word = nn.Parameter(torch.zeros(WORDS))
        self.register_buffer("scale", torch.tensor([0.0, 1.0]))

    def forward(self, ids):
        total = torch.where(ids > RARE, self.word[ids], 0.0).sum(1)
        return (total - self.scale[0]) / self.scale[1]


def word_reward(sentences, candidates=1500, seed=0):
    """A WordReward from comparisons between the first `sentences` reviews."""
    generator, reward = torch.Generator().manual_seed(seed), WordReward().to(DEVICE)
    pairs = preference_pairs(scores, *torch.randint(sentences, (2, candidates), generator=generator), margin=1.0)
    chosen, rejected = (padded([rows[i] for i in side.tolist()])[0] for side in pairs.T)
    optimizer = torch.optim.AdamW(reward.parameters(), lr=0.05, weight_decay=0.0)
    for _ in range(150):
        loss = pairwise_loss(reward(chosen), reward(rejected)) + 1e-3 * reward.word.pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        real = reward(padded(rows[6000:8000])[0])
        reward.scale.copy_(torch.stack([real.mean(), real.std()]))
    return reward.requires_grad_(False)

# %% tags=["experiment"]
lab.needs("preference_pairs", "pairwise_loss")
weak = word_reward(300)
best = weak.word.topk(12).indices.tolist()
print("words that it likes best:", ", ".join(vocabulary[i] for i in best))

# %% tags=["experiment"]
class Reward(nn.Module):
    """One number per text, from MiniLM."""

    def __init__(self):
        super().__init__()
        folder = weights.path("minilm")
        self.reader = transformers.AutoTokenizer.from_pretrained(folder)
        self.body = transformers.AutoModel.from_pretrained(folder)
        self.body.embeddings.requires_grad_(False)
        self.head = nn.Linear(self.body.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, texts, length=48):
        batch = self.reader(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt").to(DEVICE)
        real = batch["attention_mask"][..., None]
        return self.head((self.body(**batch).last_hidden_state * real).sum(1) / real.sum(1)).squeeze(-1)

    def of_pairs(self, chosen):
        """Rewards of pairs of reviews: two tensors, of the chosen and of the rejected."""
        return self([reviews[i]["text"] for i in chosen.T.flatten().tolist()]).chunk(2)

# %% tags=["experiment"]
lab.needs("preference_pairs", "pairwise_loss")
torch.manual_seed(0)
reward, steps = Reward().to(DEVICE), lab.budget(full=45, quick=1)
optimizer = torch.optim.AdamW([{"params": reward.body.parameters()}, {"params": reward.head.parameters()}])
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [2e-4, 1e-2], total_steps=steps)
for batch in tqdm(pairs[: 16 * steps].split(16), desc="reward model"):
    loss = pairwise_loss(*reward.of_pairs(batch))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
reward = reward.eval()

# %% [markdown]
# ### How good are they?
#
# Three questions, on sentences that neither has seen: does the model prefer what people prefer; when it is sure, is it
# right as often as it says (*calibration*, 校准); and does its taste in films say anything about other things? For the
# third: pairs of answers from the HHH alignment data (helpful, honest, harmless; @askell2021general), each read together
# with its question.

# %% tags=["hide-input"]
guess = widgets.predict("Pairs of new film sentences: in what share of them does MiniLM prefer the one that people prefer?", unit="%")
guess_2 = widgets.predict(
    "For how many of the three kinds (helpful, honest, harmless) does it agree with people clearly more often than a coin: "
    "the 95 % interval lies above 0.5?",
    options=[0, 1, 2, 3],
)

# %% tags=["experiment"]
@torch.no_grad()
def judged(batches):
    return torch.cat(
        [torch.stack(reward.of_pairs(b)) for b in tqdm(batches, desc="held-out pairs", leave=False)], dim=1
    ).cpu()


def share(name, right):
    """A line: the share of right verdicts with its Wilson interval. Returns whether the interval lies above 0.5."""
    value, low, high = scoring.proportion(int(right.sum()), len(right))
    print(f"{name:<42}{value:.2f} right (95 % interval {low:.2f} to {high:.2f}), {len(right)} cases")
    return low > 0.5


tested = held_out[: lab.budget(full=360, quick=20)]
chosen, rejected = judged(tested.split(40))
gap = scores[tested[:, 0]] - scores[tested[:, 1]]
better, worse = (weak(padded([rows[i] for i in side.tolist()])[0]) for side in tested.T)
share("weak, all pairs", better > worse)
for name, part in {"all pairs": gap > 0, "scores 0.5 to 1.5 apart": gap < 1.5, "scores 3 and more apart": gap >= 3}.items():
    share("MiniLM, " + name, (chosen > rejected)[part])
guess.reveal(100 * float((chosen > rejected).float().mean()), why="It depends on the pair: the further the scores are apart, the more often.")

# %% tags=["experiment"]
plots.style()
fig, ax = plt.subplots(figsize=(6, 4.6))
sure, right = (chosen - rejected).abs().sigmoid(), chosen > rejected
for part in torch.tensor_split(sure.argsort(), lab.budget(full=6, quick=2)):
    value, low, high = scoring.proportion(int(right[part].sum()), len(part))
    ax.errorbar(sure[part].mean(), value, [[value - low], [high - value]], fmt="o", color=plots.COLORS[0], capsize=4)
ax.plot([0.5, 1], [0.5, 1], "--", marker="", color="grey", label="as sure as right")
ax.set(
    title="Calibration of MiniLM's rewards",
    xlabel="how sure it is: σ(difference of the rewards)",
    ylabel="share of the pairs in which it is right",
)
ax.legend()
plt.show()

# %% tags=["experiment"]
clear = []
for kind in ("helpful", "honest", "harmless"):
    pairs_of_kind = [
        (f"{r['input']} {r['targets'][0]}", f"{r['input']} {next(c for c in r['choices'] if c != r['targets'][0])}")
        for r in data.bigbench(f"hhh_alignment/{kind}") if len(r["choices"]) == 2
    ]  # fmt: skip
    short = [pair for pair in pairs_of_kind if max(len(text.split()) for text in pair) <= 80]  # so that all of it is read
    good, bad = zip(*short[: lab.budget(full=40, quick=4)], strict=True)
    with torch.no_grad():
        clear.append(share("MiniLM, " + kind, (reward(good, length=160) > reward(bad, length=160)).cpu()))
guess_2.reveal(sum(clear), why="It was told which films people praise, and nothing else.")

# %% [markdown]
# On films both agree with people more often than a coin, MiniLM the more often the further the scores are apart. Of what
# is honest or harmless neither was told anything: compare the last three intervals with 0.5. (Some pairs share a
# question, so the intervals are a little too narrow; only pairs that MiniLM can read whole are used.) PPO will now ask a
# reward model about texts that no one has scored.

# %% [markdown]
# ## 4 · Step 3: the parts of PPO
#
# In the language of reinforcement learning, the policy chooses *actions* (动作), here tokens; a whole text is an *episode*
# (回合). PPO needs the log-probability of every token that was written.

# %% tags=["exercise:token_logprobs"]
def token_logprobs(logits, ids):
    """Log-probability of each token given those before it.

    logits: float (batch, n, vocabulary), logits[b, t] is about token t + 1. ids: int64 (batch, n).
    Returns float (batch, n - 1): [b, t] is log p(ids[b, t + 1] | ids[b, :t + 1]).
    """
    ### BEGIN SOLUTION
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Which column of the logits is about the last token of ids, and which column is about none?</details>
# <details><summary>Hint 2</summary>log_softmax over the vocabulary, then Tensor.gather picks one entry of each row.</details>

# %% tags=["tests:token_logprobs:1"]
with lab.test("token_logprobs"):
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]]))
    lab.expect_close(
        token_logprobs(logits, torch.tensor([[0, 1, 2]])), torch.tensor([[0.25, 0.8]]).log(), "log-probabilities"
    )

# %% tags=["hidden:token_logprobs:2"]
def probe():
    g = torch.Generator().manual_seed(3)
    logits, ids = 4 * torch.randn(3, 7, 11, generator=g), torch.randint(11, (3, 7), generator=g)
    return {
        "logprobs": token_logprobs(logits, ids),  # because: a batch of several texts
        "shifted logits": token_logprobs(logits + 100, ids),  # because: logits that are all higher by the same number
        "ids after": ids,  # because: the ids you were given, which must stay as they were
    }


def visible():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]]))
    return token_logprobs(logits, torch.tensor([[0, 1, 2]]))

# %% tags=["experiment"]
if importlib.util.find_spec("trl"):
    from trl.trainer.utils import selective_log_softmax

    logits, some = torch.randn(4, 9, 50), torch.randint(50, (4, 9))
    theirs = selective_log_softmax(logits[:, :-1], some[:, 1:])
    print("largest difference to TRL's:", float((token_logprobs(logits, some) - theirs).abs().max()))

# %% [markdown]
# The reward model scores a *whole* text, so its reward comes at the last token. The KL penalty acts at every token: it
# costs β · (log π − log π_ref), where π_ref is the SFT model. Summed over a text and averaged over texts *of the policy*,
# the difference of the log-probabilities is an estimate of the KL divergence, the distance (in nats) that the policy has
# moved.

# %% tags=["exercise:token_rewards"]
def token_rewards(score, logprobs, reference, mask, beta):
    """The reward of each token: the KL penalty everywhere, the reward model's score at the end.

    score: float (batch,). logprobs, reference: float (batch, n), of the policy and of the SFT model. mask: bool
    (batch, n), True for the tokens that the policy wrote: one stretch in each row, of at least one token, not
    always at the end of the row.
    beta: float. Returns float (batch, n), on the device of logprobs: -beta * (logprobs - reference), at the last
    True of a row plus its score; 0 where mask is False.

    Example: score [1.], logprobs [[-1., -1., -1.]], reference [[-2., -1., -9.]], mask [[True, True, False]],
    beta 0.5 gives [[-0.5, 1., 0.]].
    """
    ### BEGIN SOLUTION
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return torch.where(mask, -beta * (logprobs - reference), 0.0) + torch.where(last, score[:, None], 0.0)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Where is the last True of the row [False, True, True, False]? mask.sum(1) - 1 says 1, but it is 2.</details>
# <details><summary>Hint 2</summary>mask.cumsum(1) reaches its largest value at the last True; it stays there.</details>

# %% tags=["tests:token_rewards:2"]
with lab.test("token_rewards"):
    got = token_rewards(
        torch.tensor([1.0]),
        torch.full((1, 3), -1.0),
        torch.tensor([[-2.0, -1.0, -9.0]]),
        torch.tensor([[True, True, False]]),
        0.5,
    )
    lab.expect_close(got, torch.tensor([[-0.5, 1.0, 0.0]]), "the example's rewards")
    shifted = torch.tensor([[False, True, True, False]])  # the text does not begin in the first column
    got = token_rewards(torch.tensor([3.0]), torch.zeros(1, 4), torch.ones(1, 4), shifted, 0.5)
    lab.expect_close(got, torch.tensor([[0.0, 0.5, 3.5, 0.0]]), "the rewards of a text in the middle of its row")

# %% tags=["hidden:token_rewards:2"]
def probe():
    g = torch.Generator().manual_seed(4)
    logprobs, reference = -torch.rand(2, 4, 8, generator=g) * 5
    mask = torch.tensor(
        [[0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0], [1] * 8]
    ).bool()
    score = torch.tensor([1.0, -2.0, 0.5, 3.0])
    return {
        "0.0": token_rewards(score, logprobs, reference, mask, 0.0),  # because: a beta that takes the KL penalty away
        # because: texts that begin and end at different places of their rows
        "0.1": token_rewards(score, logprobs, reference, mask, 0.1),
        "mask after": mask,  # because: the mask you were given, which must stay as it was
        "score after": score,  # because: the scores you were given, which must stay as they were
    }


def visible():
    shifted = torch.tensor([[False, True, True, False]])
    return [
        token_rewards(
            torch.tensor([1.0]),
            torch.full((1, 3), -1.0),
            torch.tensor([[-2.0, -1.0, -9.0]]),
            torch.tensor([[True, True, False]]),
            0.5,
        ),
        token_rewards(torch.tensor([3.0]), torch.zeros(1, 4), torch.ones(1, 4), shifted, 0.5),
    ]

# %% [markdown]
# A good text may contain a bad word. Which token earned the reward? The *value head* (价值头), a second output of the
# policy, predicts at each token the reward that is still to come, V. The *advantage* (优势) A says how much better it came
# than predicted. *Generalized advantage estimation* [@schulman2016high]:
#
# $$\delta_t = r_t + \gamma V_{t+1} - V_t, \qquad A_t = \delta_t + \gamma\lambda A_{t+1}$$

# %% tags=["exercise:gae"]
def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    """Advantages and returns.

    rewards, values: float (batch, n). mask: bool (batch, n), one stretch of True in each row: the episode.
    After its last token there is nothing: V and A are 0 there. Returns (advantages, returns), float (batch, n),
    on the device of rewards, 0 where mask is False;
    returns = advantages + values inside the episode.

    Example: rewards [[0., 1.]], values [[0.5, 0.5]], all True, gamma 1, lam 1: advantages [[0.5, 0.5]], returns
    [[1., 1.]].
    """
    ### BEGIN SOLUTION
    advantages = torch.zeros_like(rewards)
    following, following_value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        following = torch.where(mask[:, t], delta + gamma * lam * following, 0.0)
        following_value = torch.where(mask[:, t], values[:, t], 0.0)
        advantages[:, t] = following
    return advantages, torch.where(mask, advantages + values, 0.0)
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>A_t needs A_{t+1}: in which order do you go through the columns?</details>
# <details><summary>Hint 2</summary>Keep two vectors, V_{t+1} and A_{t+1}. What must they be where mask is False at t + 1?</details>

# %% tags=["tests:gae:2"]
with lab.test("gae"):
    full = torch.ones(1, 2, dtype=torch.bool)
    advantages, returns = gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]), full, 1.0, 1.0)
    lab.expect_close(advantages, torch.tensor([[0.5, 0.5]]), "advantages")
    lab.expect_close(returns, torch.tensor([[1.0, 1.0]]), "returns")
    advantages, _ = gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]), full, 0.9, 0.5)
    lab.expect_close(advantages, torch.tensor([[0.175, 0.5]]), "advantages with gamma 0.9 and lam 0.5")
    middle = torch.tensor([[False, True, True, False]])
    rewards, values = torch.tensor([[9.0, 0.0, 1.0, 9.0]]), torch.tensor([[7.0, 0.5, 0.5, 7.0]])
    advantages, returns = gae(rewards, values, middle, 1.0, 1.0)
    lab.expect_close(advantages, torch.tensor([[0.0, 0.5, 0.5, 0.0]]), "advantages of an episode in the middle of its row")
    lab.expect_close(returns, torch.tensor([[0.0, 1.0, 1.0, 0.0]]), "returns of an episode in the middle of its row")

# %% tags=["hidden:gae:3"]
def probe():
    g = torch.Generator().manual_seed(6)
    rewards, values = torch.randn(2, 4, 8, generator=g)
    mask = torch.tensor(
        [[0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0], [1] * 8]
    ).bool()
    return {
        # because: episodes that begin and end at different places of their rows
        "1.0 0.95": gae(rewards, values, mask, 1.0, 0.95),
        "0.9 0.5": gae(rewards, values, mask, 0.9, 0.5),  # because: another gamma and another lam than usual
        "1.0 0.0": gae(rewards, values, mask, 1.0, 0.0),  # because: the smallest lam
        "rewards after": rewards,  # because: the rewards you were given, which must stay as they were
        "values after": values,  # because: the values you were given, which must stay as they were
    }


def visible():
    full = torch.ones(1, 2, dtype=torch.bool)
    rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]])
    middle = torch.tensor([[False, True, True, False]])
    four = torch.tensor([[9.0, 0.0, 1.0, 9.0]]), torch.tensor([[7.0, 0.5, 0.5, 7.0]])
    return [gae(rewards, values, full, 1.0, 1.0), gae(rewards, values, full, 0.9, 0.5)[0], gae(*four, middle, 1.0, 1.0)]

# %% [markdown]
# ### The clipped objective
#
# Each batch of texts is used for several updates, so after the first one the texts come from an *older* policy, π_old.
# They can teach the new one only while the two are close. PPO [@schulman2017proximal] takes the ratio of the probabilities
# and the *smaller* of the plain and the clipped objective:
#
# $$\rho_t = \frac{\pi(a_t)}{\pi_{old}(a_t)}, \qquad L = -\,\text{mean}\,\min\big(\rho_t A_t,\ \text{clip}(\rho_t, 1-\epsilon, 1+\epsilon)\,A_t\big)$$

# %% tags=["hide-input"]
guess = widgets.predict(
    "Somebody leaves out the minimum and takes the clipped term alone. Four tokens: A > 0 or A < 0, with ratio 1.5 or 0.5 (ε = 0.2). "
    "Which of them have a gradient with the minimum, and none without it?",
    options=[
        "none of the four",
        "all four",
        "A > 0 with ratio 0.5, and A < 0 with ratio 1.5",
        "A > 0 with ratio 1.5, and A < 0 with ratio 0.5",
    ],
)

# %% tags=["exercise:ppo_loss"]
def ppo_loss(logprobs, old, advantages, mask, clip=0.2):
    """PPO's clipped objective, to be minimized.

    logprobs (with gradient), old, advantages: float (batch, n). mask: bool (batch, n). Returns (loss, clipped):
    the mean over the True tokens of the whole batch, and the share of these (float tensor, no gradient) at
    which the clipped term was smaller.
    """
    ### BEGIN SOLUTION
    ratio = (logprobs - old).exp()
    plain, limited = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(plain, limited)[mask].mean(), (limited < plain)[mask].float().mean()
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>You have log-probabilities. A ratio of probabilities is the exponential of what?</details>
# <details><summary>Hint 2</summary>torch.minimum compares two tensors element by element; Tensor.clamp clips.</details>

# %% tags=["tests:ppo_loss:2"]
with lab.test("ppo_loss"):
    old = torch.zeros(1, 4)
    new = torch.tensor([[1.5, 1.5, 0.5, 0.5]]).log().requires_grad_()
    loss, clipped = ppo_loss(new, old, torch.tensor([[1.0, -1.0, 1.0, -1.0]]), torch.ones(1, 4, dtype=torch.bool))
    lab.expect_close(loss, torch.tensor(-(1.2 - 1.5 + 0.5 - 0.8) / 4), "loss")
    lab.expect_close(clipped, torch.tensor(0.5), "clipped")
    (gradient,) = torch.autograd.grad(loss, new)
    lab.expect_close(gradient != 0, torch.tensor([[False, True, True, False]]), "where the gradient is not zero")
    half = torch.tensor([[True, True, False, False]])
    loss, clipped = ppo_loss(new, old, torch.tensor([[1.0, -1.0, 99.0, 99.0]]), half)
    lab.expect_close(loss, torch.tensor(-(1.2 - 1.5) / 2), "loss of the two tokens that the mask keeps")
    uneven = torch.tensor([[True, False, False, False], [True, True, True, False]])
    loss, _ = ppo_loss(torch.zeros(2, 4), torch.zeros(2, 4), torch.tensor([[4.0] * 4, [0.0] * 4]), uneven)
    lab.expect_close(loss, torch.tensor(-1.0), "loss of texts with 1 and 3 tokens: every token counts the same")

# %% tags=["hidden:ppo_loss:3"]
def probe():
    g = torch.Generator().manual_seed(7)
    logprobs, old, advantages = torch.randn(3, 4, 9, generator=g) * 0.4
    mask = torch.arange(9) < torch.tensor([[9], [4], [1], [6]])
    logprobs = logprobs.clone().requires_grad_()
    answers = {}
    for clip in (0.1, 0.3):
        loss, clipped = ppo_loss(logprobs, old, advantages, mask, clip)
        (gradient,) = torch.autograd.grad(loss, logprobs)
        answers[str(clip)] = {
            "loss": loss.detach(),  # because: the loss, for rows of different lengths and another clip than usual
            "clipped": clipped,  # because: the share of clipped tokens, for rows of different lengths
            "gradient": gradient,  # because: the gradient of the loss
        }
    return answers


def visible():
    old, new = torch.zeros(1, 4), torch.tensor([[1.5, 1.5, 0.5, 0.5]]).log().requires_grad_()
    loss, clipped = ppo_loss(new, old, torch.tensor([[1.0, -1.0, 1.0, -1.0]]), torch.ones(1, 4, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, new)
    return [loss.detach(), clipped, (gradient != 0)]

# %% tags=["hide-input", "experiment"]
lab.needs("ppo_loss")
fig, axes = plt.subplots(1, 2, figsize=(12, 4), sharex=True)
for ax, advantage in zip(axes, (1.0, -1.0), strict=True):
    ratios = torch.linspace(0.05, 2, 200)
    token = torch.ones(1, 1, dtype=torch.bool)
    one, old = torch.full((1, 1), advantage), torch.zeros(1, 1)
    of_one = [-float(ppo_loss(r.log().view(1, 1), old, one, token)[0]) for r in ratios]
    ax.plot(ratios, ratios * advantage, marker="", linestyle=":", color="grey", label="plain: ratio times A")
    ax.plot(ratios, of_one, marker="", linewidth=3, color=plots.COLORS[0], label="your objective")
    ax.plot(ratios, ratios.clamp(0.8, 1.2) * advantage, "--", marker="", color=plots.COLORS[1], label="clipped term alone")
    ax.set(title=f"One token, A = {advantage:+.0f}", xlabel="ratio of the probabilities, new / old",
           ylabel="objective (to be maximized)")  # fmt: skip
    ax.legend()
plt.show()
four, signs = torch.tensor([[1.5, 1.5, 0.5, 0.5]], requires_grad=True), torch.tensor([[1.0, -1.0, 1.0, -1.0]])
(with_minimum,) = torch.autograd.grad(ppo_loss(four.log(), torch.zeros(1, 4), signs, torch.ones(1, 4, dtype=torch.bool))[0], four)
(alone,) = torch.autograd.grad((four.clamp(0.8, 1.2) * signs).sum(), four)
lost = ((with_minimum != 0) & (alone == 0))[0].tolist()
guess.reveal(
    "none of the four" if not any(lost)
    else "all four" if all(lost)
    else "A > 0 with ratio 0.5, and A < 0 with ratio 1.5" if lost[1]
    else "A > 0 with ratio 1.5, and A < 0 with ratio 0.5",
    why="Flat means: no gradient. The dashed line is flat at all four places, the thick one at two.",
)

# %% [markdown]
# At the two flat places of your objective the good token is already much more likely, or the bad token much less. In the two other
# cases the policy has moved in the wrong direction, and the gradient pulls it back. The clipped term alone would have no gradient
# there either, so a step in the wrong direction would stay: this is what the minimum is for.

# %% [markdown]
# ## 5 · Step 3: PPO against the weak reward model
#
# ### Metrics that nobody optimizes
#
# What the policy is rewarded for is no longer a measure of it (Goodhart's law). An *independent* metric must not share
# the reward's errors. A list of words scored by the same kind of raters would share them. We take some that differ in
# labels, data and model:
#
# - **reviewers**: does it read like a sentence of a *positive review*? A logistic regression on TF-IDF, trained on 8,700
#   other sentences and on other labels: not the raters' scores, but what kind of review the sentence comes from;
# - **vectors**: the same question, answered from MiniLM's vector of the whole sentence (1,000 other sentences);
# - **variety**: different pairs of neighbouring words, as a share of all pairs in the 64 texts;
# - **nats**: nats per word under the course model, which has seen neither our labels nor our policy. Lower means more
#   predictable.

# %% tags=["hide-input", "experiment", "ladder"]
@functools.cache
def sentence_encoder():
    """MiniLM as it is, and its tokenizer."""
    folder = weights.path("minilm")
    encoder = transformers.AutoModel.from_pretrained(folder).to(DEVICE).eval()
    return transformers.AutoTokenizer.from_pretrained(folder), encoder


@torch.no_grad()
def sentence_vectors(texts):
    """The mean of MiniLM's last hidden states for each text, as a NumPy array."""
    reader, encoder = sentence_encoder()
    vectors = []
    for part in np.array_split(np.array(texts, dtype=object), max(1, len(texts) // 50)):
        batch = reader(list(part), padding=True, truncation=True, max_length=48, return_tensors="pt").to(DEVICE)
        real = batch["attention_mask"][..., None]
        vectors.append(((encoder(**batch).last_hidden_state * real).sum(1) / real.sum(1)).cpu().numpy())
    return np.concatenate(vectors)


def positive(some):
    """Texts of some rows as the policy would write them; whether each is from a positive review (the file begins with these)."""
    return [text_of(rows[i]) for i in some], [reviews[i]["id"] < 5152 for i in some]


@functools.cache
def by_words():
    """The classifier "from a positive review?" on TF-IDF; none of its sentences was used for the weak reward model."""
    classifier = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    return classifier.fit(*positive(range(300, lab.budget(full=9000, quick=1000))))


@functools.cache
def by_vectors(count):
    """The same on MiniLM's vectors of `count` sentences."""
    texts, labels = positive(range(8000, 8000 + count))
    return LogisticRegression(max_iter=2000).fit(sentence_vectors(texts), labels)


def reviewers(texts):
    return by_words().predict_proba(texts)[:, 1]


def vectors(texts):
    return by_vectors(lab.budget(full=1000, quick=40)).predict_proba(sentence_vectors(texts))[:, 1]

# %% tags=["hide-input", "experiment", "ladder"]
@torch.no_grad()
def nats_per_word(texts):
    """How surprised the course model is by what follows each text's prompt: mean nats per word."""
    starts = [len(tokenizer("Review: " + " ".join(text.split()[: START - 1]))["input_ids"]) for text in texts]
    encoded = [torch.tensor(tokenizer("Review: " + text)["input_ids"]) for text in texts]
    ids = nn.utils.rnn.pad_sequence(encoded, batch_first=True).to(DEVICE)  # no text sees the padding on its right
    logits = model(ids).logits.float()
    surprise = -token_logprobs(logits, ids).cpu()
    parts = zip(surprise, starts, encoded, strict=True)
    total = sum(float(row[begin - 1 : len(one) - 1].sum()) for row, begin, one in parts)
    return total / max(1, sum(len(text.split()) - START + 1 for text in texts))


def variety(texts):
    """Different pairs of neighbouring words, as a share of all."""
    found = [pair for text in texts for pair in itertools.pairwise(text.split())]
    return len(set(found)) / max(1, len(found))


@torch.no_grad()
def examined(ids, policy, reward):
    """One row per text of the exam: reward, KL to the SFT policy over the whole vocabulary, length, independent metrics."""
    texts, mask = [text_of(row) for row in ids.tolist()], ids[:, START - 1 : -1] != END
    ours, theirs = (p(ids[:, :-1])[0][:, START - 1 :].log_softmax(-1) for p in (policy, sft))
    kl = ((ours.exp() * (ours - theirs)).sum(-1) * mask).sum(1)
    return pd.DataFrame({
        "text": texts, "reward": reward(ids).cpu(), "kl": kl.cpu(), "length": (ids[:, START:] != END).sum(1).cpu(),
        "reviewers": reviewers(texts), "vectors": vectors(texts),
        "nats": nats_per_word(texts[: lab.budget(full=32, quick=4)]),
    })  # fmt: skip


def examine(policy, reward, seed=0):
    """What a policy writes for the prompts of the exam, `examined`."""
    return examined(whole(*write(policy, exam, seed)), policy, reward)

# %% tags=["experiment"]
texts, labels = positive(range(9300, 9300 + lab.budget(full=400, quick=20)))
for name, metric in {"reviewers": reviewers, "vectors": vectors}.items():
    share(f"{name}, on real sentences", torch.tensor((metric(texts) > 0.5) == np.array(labels)))

# %% [markdown]
# Both are right far more often than a coin on real sentences that they have not seen, and wrong often enough: no single
# metric is to be trusted, so we look at all of them and at the texts.
#
# ### The loop
#
# All of it is yours. Each round: write 64 texts; reward them, token by token, with the KL penalty; estimate advantages;
# two steps on the clipped objective and the value's squared error.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Each round takes two steps on the same texts. Which share of the tokens is clipped in the *first* of the two, in the mean over all rounds?",
    options=["none", "some, but less than 5 %", "5 to 20 %", "more than 20 %"],
)

# %% tags=["hide-input", "experiment", "ladder"]
TEXTS, EPOCHS, RATE = lab.budget(full=64, quick=8), 2, 1e-3


def written(policy, ids):
    """Of each written token of ids: its log-probability under the policy, and its value (batch, NEW)."""
    logits, values = policy(ids[:, :-1])
    padded_logits = F.pad(logits[:, START - 1 :], (0, 0, 0, 1))  # token_logprobs leaves the last position out
    return token_logprobs(padded_logits, ids[:, START - 1 :]), values[:, START - 1 :]


def ppo_step(policy, optimizer, ids, mask, old, advantages, returns):
    """One update on texts that were written with the log-probabilities `old`. Returns the share of clipped tokens."""
    logprobs, values = written(policy, ids)
    loss, clipped = ppo_loss(logprobs, old, advantages, mask)
    update(policy, optimizer, loss + 0.1 * (values - returns)[mask].pow(2).mean())
    return float(clipped)


def ppo(seed, beta, reward, rounds, watch=()):
    """A policy trained from the SFT policy, the log of the rounds, and {round: exam} for the rounds in `watch`."""
    policy, log, exams = copy.deepcopy(sft), [], {}
    optimizer, generator = torch.optim.AdamW(policy.parameters(), lr=RATE), torch.Generator().manual_seed(seed)
    for i in tqdm(range(rounds), desc=f"PPO, beta {beta}, seed {seed}", leave=False):
        if i in watch:
            exams[i] = examine(policy, reward)
        ids, mask = write(policy, prompts[torch.randint(len(prompts), (TEXTS,), generator=generator)], 1000 * seed + i)
        with torch.no_grad():
            score = reward(whole(ids, mask))
            (old, values), (reference, _) = written(policy, ids), written(sft, ids)
            rewards = token_rewards(score, old, reference, mask, beta)
            advantages, returns = gae(rewards, values, mask)
            explained = 1 - float((returns - values)[mask].var() / returns[mask].var())
            advantages = (advantages - advantages[mask].mean()) / (advantages[mask].std() + 1e-6)
        clipped = [ppo_step(policy, optimizer, ids, mask, old, advantages, returns) for _ in range(EPOCHS)]
        drift = float(((old - reference) * mask).sum(1).mean())
        log.append({
            "beta": beta, "seed": seed, "round": i, "reward": float(score.mean()), "KL estimate": drift,
            "clipped, first step": clipped[0], "clipped, last step": clipped[-1], "value explains": explained,
        })  # fmt: skip
    if rounds in watch:
        exams[rounds] = examine(policy, reward)
    return policy, log, exams

# %% tags=["experiment"]
lab.needs("preference_pairs", "pairwise_loss", "token_logprobs", "token_rewards", "gae", "ppo_loss")
ROUNDS, BETA = lab.budget(full=60, quick=2), 0.3
runs = {beta: ppo(0, beta, weak, ROUNDS) for beta in (BETA, 0.0)}
log = pd.DataFrame([row for _, rounds, _ in runs.values() for row in rounds])
share_1, share_2 = log["clipped, first step"].mean(), log["clipped, last step"].mean()
guess.reveal(
    "none" if share_1 == 0 else "some, but less than 5 %" if share_1 < 0.05 else "5 to 20 %" if share_1 < 0.2 else "more than 20 %",
    why=f"In the first step the policy is still the one that wrote the texts; in the second, {share_2:.0%} are clipped.",
)
log.groupby("beta", sort=False).head(2).set_index(["beta", "round"]).drop(columns="seed").round(3)

# %% [markdown]
# The first KL estimate is exactly 0: the policy still *is* the SFT policy, so every difference of log-probabilities is 0.
# For a similar reason the ratio is 1 everywhere in the first of the two steps of each round. "value explains" is
# the share of the variance of the returns that the value head predicts on texts that it has not been trained on yet;
# below 0 it is worse than a constant.

# %% tags=["experiment"]
fig, axes = plt.subplots(1, 2, figsize=(12, 4.4))
for ax, what, unit in zip(axes, ("reward", "KL estimate"), ("reward (standard deviations)", "nats per text"), strict=True):
    for i, (beta, run) in enumerate(log.groupby("beta", sort=False)):
        ax.plot(run["round"], run[what], marker="", linestyle=plots.LINES[i], color=plots.COLORS[i], label=f"beta {beta}")
    title = "Reward while learning (one seed)" if what == "reward" else "KL estimate while learning (one seed)"
    ax.set(title=title, xlabel="round (64 texts each)", ylabel=unit)
axes[0].legend()
plt.show()

# %% [markdown]
# ### Read what it writes
#
# You have seen which words the weak reward model likes best. Look for them in the texts for β = 0, and count how often they come.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Both policies write for the same prompts. How long are the texts for β = 0, compared with the SFT policy's?",
    options=["longer", "shorter", "no difference that can be seen"],
)

# %% tags=["experiment"]
exams = {"SFT": examine(sft, weak), **{f"PPO, beta {beta}": examine(policy, weak) for beta, (policy, _, _) in runs.items()}}
for name, frame in exams.items():
    print(name)
    for _, row in frame.head(4).iterrows():
        print(f"   {row['reward']:+6.1f}  {row['text']}")

# %% tags=["experiment"]
def overview(exams):
    """One row for each policy: means over the exam."""
    columns = ["reward", "kl", "reviewers", "vectors", "nats", "length"]
    table = pd.DataFrame({name: frame[columns].mean() for name, frame in exams.items()}).T
    return table.assign(variety=[variety(frame["text"]) for frame in exams.values()]).style.format(precision=2)


value, low, high = scoring.paired(exams["PPO, beta 0.0"]["length"], exams["SFT"]["length"])
guess.reveal(
    "longer" if low > 0 else "shorter" if high < 0 else "no difference that can be seen",
    why=f"The difference is {value:+.1f} words ({low:+.1f} to {high:+.1f}), in pairs of texts for the same prompt. A text has {NEW} at most, and the reward is a sum over words.",
)
overview(exams)

# %% [markdown]
# At full budget the policy without KL penalty has found the word that pays best and writes nothing else: the weak reward
# model adds up words, so the same word twenty times is worth twenty times as much. That is *reward hacking* (奖励作弊): the
# reward is many standard deviations above that of any real review, and the text is worthless. With the penalty the same
# reward model gives a policy that still writes film reviews.

# %% [markdown]
# ### Three seeds, three β
#
# One run is an anecdote. The course ran these cells with three seeds and three β (`chapters/03_rlhf/hacking.py` makes the
# table `reward_hacking` by one command). Pale points are single seeds, lines their means.

# %% tags=["experiment"]
table = tables.load("reward_hacking")
METRICS = {
    "reward": ("Reward", "standard deviations"),
    "reviewers": ("Reviewers (words): nobody optimizes it", "probability: a positive review"),
    "vectors": ("Vectors (MiniLM): nobody optimizes it", "probability: a positive review"),
    "variety": ("Variety: nobody optimizes it", "share of different word pairs"),
}
fig, axes = plt.subplots(2, 2, figsize=(13, 8), sharex=True)
for ax, (what, (title, unit)) in zip(axes.flat, METRICS.items(), strict=True):
    for i, (beta, runs_of) in enumerate(table[table["method"] == "PPO"].groupby("beta")):
        style = {"color": plots.COLORS[i], "marker": plots.MARKERS[i]}
        ax.plot(runs_of["round"], runs_of[what], linestyle="none", alpha=0.4, **style)
        means = runs_of.groupby("round")[what].mean()
        ax.plot(means.index, means, linestyle=plots.LINES[i], label=f"beta {beta}", **style)
    ax.set(title=title, ylabel=unit)
for ax in axes[1]:
    ax.set_xlabel("round of PPO (pale: each of 3 seeds; line: mean)")
axes[0, 0].legend()
plt.show()

# %% tags=["experiment"]
def change(what, beta, first, last):
    """A sentence: does a metric change between two rounds? The paired difference over seeds, with its t interval."""
    runs_of = table[(table["method"] == "PPO") & (table["beta"] == beta)].set_index(["round", "seed"])[what]
    value, low, high = scoring.paired(runs_of[last], runs_of[first])
    up = int((runs_of[last] > runs_of[first]).sum())
    word = "rises" if low > 0 else "falls" if high < 0 else "does not change clearly"
    print(f"beta {beta}, rounds {first:2} to {last}: {what} {word}: {value:+.2f} ({low:+.2f} to {high:+.2f}), up in {up} of 3")


for what in METRICS:
    change(what, 0.0, 0, 20)
    change(what, 0.0, 20, 60)
    change(what, 0.3, 0, 60)

# %% [markdown]
# Without KL penalty the reward goes up in all three seeds in both parts (in the second by such different amounts that a t
# interval of three numbers cannot exclude 0). "reviewers" goes up at first, because the policy learns to praise, and
# falls later, because it repeats one word; variety falls all the time. For "vectors" three seeds give no clear answer,
# and the reason is instructive: MiniLM likes the repeated word of two seeds and dislikes that of the third. A metric can
# be fooled too when texts no longer look like those it was trained on. So a team watches several metrics, and reads. With
# β = 0.3 all changes are small.
#
# Is β = 0.3 the best? `beta 0.1` reaches a higher "reviewers" and loses much of its variety. What the penalty should be
# depends on what you want to keep; the reward cannot tell you.

# %% [markdown]
# ## 6 · Without a reward model: DPO
#
# The best policy under a reward and a KL penalty is known: π*(y) = π_ref(y) · exp(r(y) / β) / Z, where Z sums over *all*
# texts and cannot be computed. Solved for the reward: r(y) = β log(π*(y) / π_ref(y)) + β log Z. In a pair of texts for
# the same prompt β log Z cancels. Put the rest into the pairwise loss, and no reward model, no value head and no PPO are
# left (*direct preference optimization*, 直接偏好优化; @rafailov2023direct):

# %% tags=["exercise:dpo_loss"]
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    """Mean DPO loss of m pairs (Rafailov et al. 2023, equation 7).

    All four: float (m,), the log-probability of a whole text, the sum over its tokens, under the policy (first
    two, with gradient) and under the SFT model. Returns a scalar tensor; finite for any finite input.

    Example: at the start, policy = reference, it is log 2 for any texts.
    """
    ### BEGIN SOLUTION
    return -F.logsigmoid(beta * ((chosen - reference_chosen) - (rejected - reference_rejected))).mean()
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>The reward of a text is β · (log π − log π_ref). You have written a loss for two rewards.</details>
# <details><summary>Hint 2</summary>Far from the reference the sigmoid underflows here too.</details>

# %% tags=["tests:dpo_loss:1"]
with lab.test("dpo_loss"):
    a, b = torch.tensor([-10.0, -30.0]), torch.tensor([-12.0, -20.0])
    lab.expect_close(dpo_loss(a, b, a, b), torch.tensor(2.0).log(), "the loss at the start")
    lab.expect_close(
        dpo_loss(a + 1, b, a, b, beta=0.5),
        torch.tensor(0.474077),
        "chosen one nat likelier than under the reference",
    )

# %% tags=["hidden:dpo_loss:2"]
def probe():
    g = torch.Generator().manual_seed(8)
    texts = -30 * torch.rand(4, 12, generator=g)
    chosen = texts[0].clone().requires_grad_()
    loss = dpo_loss(chosen, *texts[1:], beta=0.3)
    loss.backward()
    return {
        "loss": loss.detach(),  # because: many pairs, with another beta than usual
        "gradient": chosen.grad,  # because: the gradient of the loss
        "far": dpo_loss(texts[0] - 1e5, *texts[1:]),  # because: texts that the policy finds very unlikely
        "default": dpo_loss(*texts),  # because: a call without beta
    }


def visible():
    a, b = torch.tensor([-10.0, -30.0]), torch.tensor([-12.0, -20.0])
    return [dpo_loss(a, b, a, b), dpo_loss(a + 1, b, a, b, beta=0.5)]

# %% [markdown]
# ### The same loss from TRL

# %% tags=["hide-input", "experiment"]
if importlib.util.find_spec("trl"):
    from trl import DPOConfig, DPOTrainer

    torch.manual_seed(0)
    small, reference = (transformers.LlamaForCausalLM(small_config()) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        trainer = DPOTrainer(
            small,
            reference,
            args=quiet(DPOConfig, folder, beta=0.3),
            train_dataset=datasets.Dataset.from_list(preferred),
            processing_class=tokenizer,
        )
        batch = next(iter(trainer.get_train_dataloader()))
        theirs = trainer.compute_loss(trainer.model, dict(batch)).item()
    asked = batch["completion_mask"][:, 1:]
    with torch.no_grad():
        sums = [
            (
                token_logprobs(
                    m(batch["input_ids"], batch["attention_mask"], use_cache=False).logits, batch["input_ids"]
                )
                * asked
            )
            .sum(1)
            .chunk(2)
            for m in (trainer.model, trainer.ref_model)
        ]
    yours = float(dpo_loss(*sums[0], *sums[1], beta=0.3))
    print(f"yours {yours:.7f}, TRL {theirs:.7f}")
    assert abs(yours - theirs) < 1e-4  # sums of hundreds of nats: float32 rounds them to some 1e-5

# %% [markdown]
# ### DPO on the same number of texts
#
# A fair comparison: as many texts as one PPO run writes, all by the SFT policy, two for each prompt. The weak reward
# model says which of the two it prefers, and is then not needed any more. We log what happens to the log-probability of
# the chosen and of the rejected texts, relative to the SFT policy.

# %% tags=["hide-input"]
guess = widgets.predict(
    "DPO's loss falls. What happens to the log-probability of the *chosen* texts? (The mean of the last ten rounds, compared with the SFT policy.)",
    options=["it falls", "it rises", "no change that can be seen"],
)

# %% tags=["experiment", "ladder"]
def rounds_of_prompts(seed, rounds, count):
    """`count` prompts for each round."""
    generator = torch.Generator().manual_seed(seed)
    return [prompts[torch.randint(len(prompts), (count,), generator=generator)] for _ in range(rounds)]


def dpo(seed, reward, rounds, rate, beta=0.1):
    """A policy trained by DPO on as many texts of the SFT policy as a PPO run writes, two per prompt; and the rounds' log."""
    policy, log = copy.deepcopy(sft), []
    optimizer = torch.optim.AdamW(policy.parameters(), lr=rate)
    for i, some in enumerate(tqdm(rounds_of_prompts(seed, rounds, TEXTS // 2), desc=f"DPO, seed {seed}", leave=False)):
        ids, mask = write(sft, some.repeat(2, 1), 1000 * seed + i)
        with torch.no_grad():
            first, second = reward(whole(ids, mask)).chunk(2)
            better = torch.where(first > second, 0, len(first)) + torch.arange(len(first), device=DEVICE)
            both = torch.cat([better, (better + len(first)) % len(ids)])  # the chosen texts, then the rejected ones
            reference = (written(sft, ids)[0] * mask).sum(1)[both].chunk(2)
        for _ in range(EPOCHS):
            ours = (written(policy, ids)[0] * mask).sum(1)[both].chunk(2)
            loss = dpo_loss(*ours, *reference, beta=beta)
            update(policy, optimizer, loss)
        chosen, rejected = ((a - b).detach().mean().item() for a, b in zip(ours, reference, strict=True))
        log.append({"seed": seed, "rate": rate, "round": i, "loss": loss.detach().item(), "chosen": chosen, "rejected": rejected})
    return policy, log

# %% tags=["experiment", "ladder"]
def sft_on_best(seed, reward, rounds):
    """The simplest baseline: as many texts of the SFT policy; imitate the quarter of them that the reward likes best."""
    policy = copy.deepcopy(sft)
    asked = enumerate(rounds_of_prompts(seed, rounds, TEXTS))
    texts = torch.cat([whole(*write(sft, some, 1000 * seed + i)) for i, some in asked])
    best = texts[reward(texts).topk(len(texts) // 4).indices].tolist()
    best = [[*row[: row.index(END, 1)], END] if END in row[1:] else row for row in best]
    draws = torch.Generator().manual_seed(seed)
    batches = [torch.randint(len(best), (TEXTS,), generator=draws).tolist() for _ in range(rounds)]
    learn(policy, lambda i: next_token_loss(policy, [best[j] for j in batches[i]]), rounds, RATE, "SFT on the best")
    return policy


@torch.no_grad()
def best_of(n, reward, seed):
    """The baseline without training: of n texts of the SFT policy for a prompt of the exam, the one with the highest reward."""
    found = [whole(*write(sft, exam, 5000 * (seed + 1) + i)) for i in range(n)]
    best = torch.stack([reward(ids) for ids in found]).argmax(0)
    return examined(torch.stack(found)[best, torch.arange(len(exam), device=DEVICE)], sft, reward)

# %% tags=["experiment"]
lab.needs("dpo_loss", "token_logprobs")
tuned, dpo_log = dpo(0, weak, ROUNDS, rate=3e-4)
exams["DPO"] = examine(tuned, weak)
moved = pd.DataFrame(dpo_log)
fig, ax = plt.subplots(figsize=(9, 4))
for i, side in enumerate(("chosen", "rejected")):
    smooth = moved[side].rolling(5, min_periods=1).mean()
    ax.plot(moved["round"], smooth, marker="", linestyle=plots.LINES[i], color=plots.COLORS[i], label=side)
ax.axhline(0, color="grey", linewidth=1, linestyle=":", marker="")
ax.set(title="DPO: the texts of a pair under the policy (one seed, mean of 5 rounds)", xlabel="round (32 pairs each)",
       ylabel="log π - log π_ref (nats per text)")  # fmt: skip
ax.legend()
plt.show()
(value, low, high), lost = scoring.mean(moved["chosen"].tail(10)), moved["rejected"].tail(10).mean()
guess.reveal(
    "it rises" if low > 0 else "it falls" if high < 0 else "no change that can be seen",
    why=f"{value:+.1f} nats per text ({low:+.1f} to {high:+.1f}); of the rejected texts {lost:+.1f}.",
)

# %% [markdown]
# The loss asks only for a larger *difference*, and both lines may fall: the chosen texts become less likely too, only
# more slowly than the rejected ones. Two reasons. The loss allows it, and it has been reported for large models
# [@pal2024smaug]. And here part of it is forced: all our pairs are samples of the SFT policy, and over all its samples the mean
# of log π − log π_ref is −KL(π_ref ‖ π), never above 0. The probability that the pairs lose goes to texts that are in no
# pair, and DPO never looks at them.
#
# ### All methods, three seeds
#
# From the same table: every method learns from 60 × 64 texts and the same weak reward model. Baselines: *SFT on the best*
# (imitate the quarter of the SFT policy's texts that the reward likes best) and *best of 4* (no training: write four
# texts, keep the one with the highest reward). DPO's learning rate was tried at three values, as PPO's β at three. For
# best of 4 the column kl holds its upper bound, log 4 − 3/4.

# %% tags=["experiment"]
COLUMNS = ["reward", "kl", "reviewers", "vectors", "variety", "length", "chosen_nats", "rejected_nats"]


def with_interval(values):
    value, low, high = scoring.mean(values)
    return "" if np.isnan(value) else f"{value:.2f} ± {(high - low) / 2:.2f}"


final = table[table["round"] == table.groupby(["method", "beta", "rate"])["round"].transform("max")]
start = table[(table["method"] == "PPO") & (table["beta"] == 0) & (table["round"] == 0)]
start = start.assign(method="SFT", rate=0.0)
shown = pd.concat([start, final]).groupby(["method", "beta", "rate"], sort=False)[COLUMNS].agg(with_interval)
shown.style.set_caption("mean of three seeds ± half the 95 % t interval; chosen, rejected: log π - log π_ref, last ten rounds")

# %% [markdown]
# Read a row as a whole: what did the reward cost in KL and in variety? Three seeds give wide intervals: where two of them
# overlap much, we cannot tell the methods apart.
#
# ## 7 · Challenge: catch it
#
# A team that watches the reward only sees it rise. Write an alarm: a number for each text that is high when a policy has
# begun to exploit its reward. The grader computes the *ROC AUC* (ROC 曲线下面积) of your numbers on texts of another seed: the
# probability that a text of a policy without KL penalty, 10 to 60 rounds old, gets a higher number than a text of the SFT
# policy or of PPO with β = 0.3. 0.5 is guessing; full marks need 0.92. The length alone is not enough. You know neither
# the reward nor the policy, only the texts.


# %%
table = tables.load("reward_hacking")
by_ppo, three = table[table["method"] == "PPO"], ["text_0", "text_1", "text_2"]
hacked = by_ppo[(by_ppo["beta"] == 0.0) & (by_ppo["round"] >= 10)][three].to_numpy().ravel().tolist()
normal = by_ppo[(by_ppo["beta"] == 0.3) & (by_ppo["round"] >= 5)][three].to_numpy().ravel().tolist()
for name, texts in {"beta 0, from round 10 on": hacked, "beta 0.3, from round 5 on": normal}.items():
    print(name, *texts[::4], sep="\n    ")

# %% tags=["exercise:suspicion"]
def suspicion(texts):
    """How suspicious is each of these texts, as the text of a policy that exploits its reward?

    texts: list of str. The first three words of each are the prompt's; a text may have no other word.
    Returns a list of float, one per text; higher is more suspicious. Any scale.
    """
    ### BEGIN SOLUTION
    found = []
    for text in texts:
        words = text.split()[3:]
        found.append(len(words) - len(set(words)) + 0.05 * len(words))
    return found
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Read the texts of each kind that the cell above prints. What would you point at?</details>
# <details><summary>Hint 2</summary>The worst texts are easy. Those after ten rounds decide: what do they do a little too often?</details>

# %% tags=["tests:suspicion:1"]
with lab.test("suspicion"):
    numbers = suspicion([*hacked, *normal])
    assert len(numbers) == len(hacked) + len(normal), f"one number per text: {len(hacked) + len(normal)}, not {len(numbers)}"
    assert len(suspicion(["it is a"])) == 1, "a text of which the policy wrote nothing needs a number too"
    auc = roc_auc_score([True] * len(hacked) + [False] * len(normal), numbers)
    print(f"ROC AUC on the three seeds of the table: {auc:.3f}")
    assert auc >= 0.92, f"ROC AUC on the texts of the table should be at least 0.92, but it is {auc:.3f}"

# %% tags=["hidden:suspicion:2"]
HACKED = [
    'even as i resembles an this script and script and often memorable and action best and one comedy and usual most of a',
    'if you love of premise and disguise the best film one of impact and an average matter and waiting the most on a',
    'filmmakers who can charisma funny mind and the story and film and a film has so powerful comedy and nice of the an',
    'in both the conceived and action film and feels is a film and good cast and pretentious i fears it eventually comic characters',
    "i'm sure mainstream material and very absurd and love and dark, the film's holocaust and a sadness of the most enjoyable mysteries",
    'offers an unusual film and creepy and the best film cast and the best film series and funny and delightful, moving and',
    'even as i film and this most film. comedy and memorable best film best and one comedy film film most film film',
    'if you love and premise most film and and film one and most most best best and best film film and comedy film',
    'filmmakers who can war funny film and most and best film and comedy and film comedy film comedy film and film and comedy',
    'in both the conceived film action film film and most film and film good film and film i film it film most most',
    "i'm sure mainstream film and most absurd and film and and best comedy and and most a comedy film film most film and",
    'offers an unusual film and film and the best film cast comedy film and film style film and best and the moving film',
    'even as i best best best most best best most best best best best best most best best best best most best best',
    'if you love best best most best most best best one best most most best best best best best best most best best',
    'filmmakers who can most best best most most best best best best best best best best most best best best best best most',
    'in both the best best best best best best most best most most good best most most best best best best most best',
    "i'm sure mainstream best best most best best best most best best best best best most best best best best most most most",
    'offers an unusual best best best most best best most best best most best best best most best best most best most best',
    'even as i best best best best best best best best best best best best best best best best best most best best',
    'if you love best best most best best best best best best best most best best best best best best best best best',
    'filmmakers who can best best best most most best best best best best best best best best best best best best best best',
    'in both the best best best best best best best best best most best best most most best best best best most best',
    "i'm sure mainstream best best most best best best most best best best best best most best best best best best most best",
    'offers an unusual best best best most best best best best best most best best best best best best most best most best',
]
NORMAL = [
    'using an endearing quest a mediocre man look out on watching the grim fable for another as these love and its dramatic rip',
    'a romantic comedy nothing or yet it was a taste of a story that plays clear more than the fact its nerve it',
    'some elements of equivalent a fascinating and thoughtful film that you want of the best news where nonsense and barry hollywood refreshing and',
    'as played by bourne house and is engaging that spend the death of the non story of a filmmaker that the playing so',
    'good performances and the best screen what of haunting comedy has make a gripping b but still is a summer school living of',
    'one of those is a fascinating examination of his playing by the big story enjoy thing of the best creativity knows a annoying',
    'if you love for getting four who will get the one time to get along not matter for them, and seem what',
    "it's a long actress in the same taste of hollywood piece, this is a film it takes not too mature dialogue before",
    "even on those is not like a certain movie's children's mind we have way ultimate in the young films to, are only",
    'good performances and the result are what of haunting comedy has better touches the indulgent but still funny as it, no ryan',
    'awkward but sincere camera does to put away whether deserves the endearing performance on their money, rather flair the best material about',
    'even as i took by this one of the characters, that the film is as one to miss usual on this difficult',
    "absorbing and disturbing comedy has all its study in a tough instead of editing audience wit, but it's a full from a",
    'proof that a remake provide bland, the plot story manages blair core of a sort of men and consider a george that',
    'wait for pay on artificial moments and left it moves instead of the way of the early years, at required today into',
    'before long, harris seems like this is one of comic story at a oh of narrative and drop on it good on',
    'none of birthday and makes what is something well sports is quite saying a casual queen of art, the rest of something',
    "it's not exactly better, this is definitely style and wry and silly as the actual comedy beautiful season about it is a",
    "filmmakers who can charisma just i can't happy it there's something it a also strong comedy but it is a our narrative,",
    "i'm sure mainstream makers face the absurd would make some and, but it does find a vivid look that this is itself",
    'the french are daring morality grandeur and, for a good lost the most audience and questions movies and perfect top and the',
    'so what is a picture in an odd and many to come voice of the reality and the bottom. an many of',
    'before long, harris seems toward this is one of comic story with a oh of narrative and the shooting war good robert',
    "take care of the film more main than the film's search of stuart tender and it would be than a strong movie.",
]


def probe():
    return {
        # because: texts of a seed that you have not seen
        "numbers": suspicion([*HACKED, *NORMAL]),
        # because: a text of which the policy wrote nothing
        "nothing": len(suspicion(["it is a"])),
    }


def visible():
    table = tables.load("reward_hacking")
    runs = table[table["method"] == "PPO"]
    hacked = runs[(runs["beta"] == 0.0) & (runs["round"] >= 10)][["text_0", "text_1", "text_2"]].to_numpy().ravel()
    normal = runs[(runs["beta"] == 0.3) & (runs["round"] >= 5)][["text_0", "text_1", "text_2"]].to_numpy().ravel()
    return [suspicion([str(text) for text in hacked]), suspicion([str(text) for text in normal])]


def check(got, want):
    def auc(hacked, normal):
        wins = sum((a > b) + (a == b) / 2 for a in hacked for b in normal)
        return wins / (len(hacked) * len(normal))

    assert got["nothing"] == 1, "no number for a text without words of the policy"
    numbers = [float(number) for number in got["numbers"]]
    assert len(numbers) == len(want["numbers"]), "not one number per text"
    found = auc(numbers[:24], numbers[24:])
    assert found >= 0.92, f"ROC AUC {found:.3f} on the hidden texts; 0.92 is needed"


def check_visible(got, want):
    assert [len(part) for part in got] == [len(part) for part in want], "not one number per text"
    wins = sum((a > b) + (a == b) / 2 for a in got[0] for b in got[1])
    assert wins >= 0.92 * len(got[0]) * len(got[1]), "ROC AUC below 0.92 on the texts of the table"

# %% [markdown]
# ## 8 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **A better reward model.** `word_reward(6000, candidates=12_000)` has seen twenty times as many sentences. Does the
#   policy trained against it for 60 rounds without KL still fool it? What does it write now?
# - **Other estimators of the KL.** @schulman2020approximating ["Approximating KL Divergence"] gives k1 = log(π/π_ref), which
#   you used, and k3 = π_ref/π − 1 + log(π/π_ref), with less variance. As a *number* both are unbiased. But put k3 into the
#   *reward* and the gradient is no longer that of the KL divergence; k1 in the reward is right [@shah2025comedy]. Show it: one
#   token, three words, the exact gradient of the KL beside the mean of both estimated gradients.
# - **Without a value head.** GRPO [@shao2024deepseekmath] writes a group of texts per prompt. Change four things: the
#   advantage of every token of a text is (its reward − the group's mean) / the group's standard deviation; there is no
#   value loss; the clipped objective is averaged within each text first, then over texts; the KL penalty becomes a term
#   of the loss. Then drop the two divisions, as Dr. GRPO does [@liu2025understanding]. What happens to the length?
# - **Ensembles.** Train three weak reward models from different sentences and give the policy the smallest of their
#   rewards. How far does it get now?


# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@ouyang2022training]
# - [@schulman2017proximal]
# - [@schulman2016high]
# - [@schulman2020approximating]
# - [@rafailov2023direct]
# - [@shah2025comedy]
# - [@shao2024deepseekmath]
# - [@liu2025understanding]
# - [@pal2024smaug]
# - [@gao2023scaling]
# - [@askell2021general]
# - [@bradley1952rank]
