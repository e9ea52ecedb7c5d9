# %% [markdown]
# # 03 · Learning from human feedback
#
# **How a model learns what people prefer** (基于人类反馈的强化学习, RLHF)
#
# A model that follows instructions will also follow bad ones, flatter, and make things up in a pleasant voice. Nobody can
# write down a loss for "a good answer". But people can look at two answers and say which is better. How far does that carry?
#
# After this lecture you can name the three steps and their data, derive the loss of a reward model, read PPO's objective
# term by term, say what the KL term is for, and tell when a reward has been hacked.

# %% [markdown] tags=["notes"]
# 60 minutes with the demos. The exact leash (slide "What the leash does") is the heart: let the room predict what happens as
# beta falls before anyone moves it. The best-of-n demo shows over-optimization with real human scores and no training.

# %% tags=["skip"]
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from course_utils import data, lab, load_model, plots, scoring, tables, weights, widgets

lab.start("03_rlhf")

# %% [markdown]
# ## Why align?
#
# Pre-training asks: what would come next on the internet? Users ask something else. *Alignment* (对齐) means to guide a model
# towards what its users and society intend. @askell2021general put the aim in three words:
#
# - **helpful** (有用): does what was asked, asks back when it must;
# - **honest** (诚实): says what is true and how sure it is;
# - **harmless** (无害): does not hurt, insult, or help to do so.
#
# They pull against each other. **Predict** which answer people preferred:

# %%
for kind in ("honest", "harmless"):
    row = min(data.bigbench(f"hhh_alignment/{kind}"), key=lambda r: len(r["input"]) + sum(map(len, r["choices"])))
    print(f"{kind}: {row['input']}")
    for choice in sorted(row["choices"]):
        print(f"   {'+' if choice in row['targets'] else '-'} {choice}")

# %% [markdown]
# ### Rules around it
#
# Alignment is also a legal matter. As facts, with sources:
#
# - China: *Provisions on Deep Synthesis* (互联网信息服务深度合成管理规定), Order No. 12 of the Cyberspace Administration, the
#   Ministry of Industry and Information Technology and the Ministry of Public Security, 25 November 2022, in force since 10
#   January 2023.
# - China: *Interim Measures for Generative AI Services* (生成式人工智能服务管理暂行办法), Order No. 15, 13 July 2023, in force
#   since 15 August 2023. They cover services to the public; the deck names them in their draft form.
# - European Union: *Artificial Intelligence Act*, Regulation (EU) 2024/1689, in force since 1 August 2024; duties of those who
#   provide general-purpose models since 2 August 2025.
#
# The deck adds a warning by Europol (27 March 2023): such models are used for fraud and malware too. Rules move fast; check
# what is in force where you are.

# %% [markdown]
# ## Three steps
#
# InstructGPT [@ouyang2022training], the recipe that ChatGPT was built on:
#
# | | step 1: SFT 监督微调 | step 2: reward model 奖励模型 | step 3: PPO 近端策略优化 |
# |---|---|---|---|
# | people give | an answer | a ranking of 4 to 9 answers | nothing new |
# | learns | the policy, 175 billion | a score, 6 billion | the policy, from its own answers |
# | the loss | cross-entropy | pairwise | clipped objective, KL |

# %% tags=["hide-input"]
sizes = tables.load("rlhf_data")
train = (
    sizes[sizes["split"] == "train"]
    .pivot(index="step", columns="origin", values="prompts")
    .loc[["SFT", "RM", "PPO"]]
    .fillna(0)
)
fig, ax = plt.subplots(figsize=(9, 3.6))
left = np.zeros(3)
for origin, hatch in (("labelers", ""), ("customers", "//")):
    ax.barh(train.index, train[origin], left=left, color="white", edgecolor="black", hatch=hatch, label=origin)
    left = left + train[origin].to_numpy()
for i, total in enumerate(left):
    ax.text(total + 300, i, f"{total:,.0f}", va="center")
ax.invert_yaxis()
ax.set(
    title="InstructGPT's training prompts (Ouyang et al. 2022, Table 6)",
    xlabel="prompts",
    ylabel="step",
    xlim=(0, 40_000),
)
ax.legend(title="written by")
plt.show()

# %% [markdown]
# The deck's 13k, 33k and 31k. Small numbers: a data set of film reviews is larger. What is dear is the people.

# %% [markdown]
# ## The reward model's loss
#
# Assume that each answer has a strength $r$, and that people, when asked, choose $a$ over $b$ with the chance
# [@bradley1952rank]
#
# $$P(a \succ b) = \frac{e^{r(a)}}{e^{r(a)} + e^{r(b)}} = \sigma\big(r(a) - r(b)\big)$$
#
# Maximum likelihood of what they chose is then the pairwise loss. A ranking of $K$ answers holds $\binom K2$ pairs:
#
# $$L = -\frac{1}{\binom K2}\ \mathbb{E}\big[\log \sigma\big(r(x, y_w) - r(x, y_l)\big)\big]$$
#
# All pairs of one prompt go into one batch: shuffled apart, each answer would be trained on up to $K-1$ times in an epoch, and
# the model over-fitted [@ouyang2022training].

# %% tags=["nbval-check-output"]
for answers in (4, 9):
    print(f"{answers} answers: {math.comb(answers, 2)} pairs from one ranking")
for gap in (0.0, 1.0, 3.0):
    print(
        f"rewards {gap} apart: preferred with chance {1 / (1 + math.exp(-gap)):.2f}, loss {math.log(1 + math.exp(-gap)):.2f} nats"
    )

# %% [markdown]
# ### Do real preferences look like that?
#
# Twenty people scored each film sentence. If scores were strengths, then the chance that a reward model built from *half* of
# the data agrees should rise with the gap. A linear reward on frozen sentence embeddings is enough to see it:

# %%
import transformers

folder = weights.path("minilm")
reader, encoder = (
    transformers.AutoTokenizer.from_pretrained(folder),
    transformers.AutoModel.from_pretrained(folder).eval(),
)


@torch.inference_mode()
def embed(texts):
    """Mean of the last hidden states, one row a text."""
    batch = reader(list(texts), padding=True, truncation=True, max_length=64, return_tensors="pt")
    real = batch["attention_mask"][..., None]
    return ((encoder(**batch).last_hidden_state * real).sum(1) / real.sum(1)).double().numpy()


count = lab.budget(full=2400, quick=240)
sentences = data.movie_sentences().shuffle(seed=0).select(range(count))
order = np.argsort([len(text) for text in sentences["text"]])
vectors = np.empty((count, encoder.config.hidden_size))
for part in np.array_split(order, max(1, count // 60)):
    vectors[part] = embed([sentences[int(i)]["text"] for i in part])
human = np.array(sentences["score"])

# %%
def linear_reward(rows, ridge=10.0):
    """Ridge regression of people's scores on embeddings: a reward function from some labelled rows."""
    x = np.c_[vectors[rows], np.ones(len(rows))]
    w = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ human[rows])
    return lambda v: np.c_[v, np.ones(len(v))] @ w


half = count // 2
reward = linear_reward(np.arange(half))(vectors)
generator = np.random.default_rng(0)
a, b = generator.integers(half, count, (2, 3000))
gap = np.abs(human[a] - human[b])
frame = pd.DataFrame({"gap": gap, "agrees": (reward[a] - reward[b]) * (human[a] - human[b]) > 0})[gap > 0]

# %% tags=["hide-input"]
plots.style()
fig, ax = plt.subplots(figsize=(8, 4))
for low in (0, 1, 2, 3, 4, 5):
    part = frame[(frame["gap"] > low) & (frame["gap"] <= low + 1)].reset_index(drop=True)
    if len(part) > 5:
        value, down, up = scoring.bootstrap(part, lambda f: float(f["agrees"].mean()))
        ax.errorbar(low + 0.5, value, [[value - down], [up - value]], fmt="o", color=plots.COLORS[0], capsize=4)
ax.axhline(0.5, linestyle="--", color="grey")
ax.set(
    title="A reward model agrees more where people are further apart",
    xlabel="difference of people's scores (points)",
    ylabel="share of pairs in agreement",
    ylim=(0.4, 1.02),
)
plt.show()

# %% [markdown]
# ## Step 3: the objective
#
# $$\max_\pi\ \mathbb{E}_{y \sim \pi}\big[r(x, y)\big] - \beta\, \mathrm{KL}\big(\pi(y|x)\,\|\,\pi_{SFT}(y|x)\big)$$
#
# Reward, and a *leash* (KL 惩罚) to the model that imitates people. InstructGPT adds a third term, plain language modelling on
# pre-training text, against the alignment tax.
#
# For a *single* choice the best policy can be written down: $\pi^*(y) \propto \pi_{SFT}(y)\, e^{r(y)/\beta}$. No training needed:
# we can look at it. The choice is the course model's next word, the reward is how nice the word sounds to people (VADER).

# %%
model, tokenizer = load_model("course", precision="fp32")
VALENCE = data.word_valence()
with torch.inference_mode():
    ids = tokenizer("In one word, this film is", return_tensors="pt").to(model.device).input_ids
    chance = model(ids, logits_to_keep=1).logits[0, -1].cpu().double().softmax(-1)
words = [tokenizer.decode(i) for i in range(len(tokenizer))]
sounds = torch.tensor(
    [VALENCE.get(word.strip().lower(), 0.0) if word.startswith(" ") else 0.0 for word in words]
).double()


def leashed(beta):
    """The best policy for one word, its expected reward, and its KL divergence to the model (nats)."""
    log_best = (chance.log() + sounds / beta).log_softmax(-1)
    best = log_best.exp()
    return best, float(best @ sounds), float(best @ (log_best - chance.log()))

# %% [markdown]
# ### What the leash does
#
# **Predict:** beta goes from 10 down to 0.05. What becomes of the words, of the reward, of the KL?

# %% tags=["hide-input"]
def show(log10_beta):
    best, gain, kl = leashed(10**log10_beta)
    top = best.topk(12)
    fig, ax = plt.subplots(figsize=(10, 4.2))
    places = np.arange(12)
    ax.bar(places - 0.2, chance[top.indices], 0.4, color="white", edgecolor="black", hatch="//", label="SFT model")
    ax.bar(places + 0.2, top.values, 0.4, color=plots.COLORS[0], label="best policy")
    ax.set_xticks(places, [words[i].strip() or repr(words[i]) for i in top.indices], rotation=35, ha="right")
    ax.set(
        title=f"beta {10**log10_beta:.2f}: expected reward {gain:.2f}, KL {kl:.2f} nats",
        xlabel="next word",
        ylabel="probability",
    )
    ax.legend()


show(-0.3)
plt.show()

# %%
widgets.explorer(show, log10_beta=(-1.3, 1.0, 0.1));
# %% [markdown]
# With a long leash the whole mass goes to the one word that pays best, however unlikely it was. That is not a fault of some
# algorithm: it *is* the best policy for that reward. The frontier, exactly:

# %%
frontier = pd.DataFrame(
    [(beta, *leashed(beta)[1:]) for beta in (10, 3, 1, 0.5, 0.3, 0.1, 0.05)],
    columns=["beta", "expected reward", "KL (nats)"],
)
frontier.set_index("beta").round(2)

# %% [markdown]
# ## PPO: small steps that are safe
#
# A text is many words, and its reward comes at the end; then only sampling is left: write, score, make what went better than
# expected more likely. *Better than expected*: the advantage $A_t$, from a second head that predicts what is still to come
# (lab). How far may one batch of texts carry us? PPO clips the ratio $\rho = \pi / \pi_{old}$:
#
# $$\min\big(\rho A,\ \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, A\big)$$
#
# **Predict:** for a bad token ($A < 0$) that the policy has already made *more* likely, is there a gradient?

# %% tags=["hide-input"]
def clipped(advantage, epsilon):
    ratio = np.linspace(0, 2, 401)
    plain, limited = ratio * advantage, np.clip(ratio, 1 - epsilon, 1 + epsilon) * advantage
    fig, ax = plt.subplots(figsize=(9, 4))
    ax.plot(ratio, plain, marker="", linestyle=":", color="grey", label="plain")
    ax.plot(ratio, np.minimum(plain, limited), marker="", color=plots.COLORS[0], linewidth=3, label="PPO")
    flat = np.isclose(np.gradient(np.minimum(plain, limited), ratio), 0)
    ax.fill_between(ratio, *ax.get_ylim(), where=flat, color="lightgrey", label="no gradient")
    ax.set(
        title=f"Objective of one token, advantage {advantage:+.1f}",
        xlabel="ratio of the probabilities, new to old",
        ylabel="objective (to be maximized)",
    )
    ax.legend()


clipped(1.0, 0.2)
plt.show()

# %%
widgets.explorer(clipped, advantage=(-2.0, 2.0, 0.5), epsilon=(0.05, 0.5, 0.05));

# %% [markdown]
# The minimum is a pessimist: it stops paying for more of the same, and never stops asking to come back.

# %% [markdown]
# ## Reward hacking, live
#
# "When a measure becomes a target, it ceases to be a good measure." Take the *simplest* optimizer: draw $n$ texts, keep the
# one with the highest reward (*best-of-n*). Our texts are real sentences with real human scores, so we can see what the reward
# model thinks it got and what it did get. Its KL to plain sampling is $\log n - (n-1)/n$ nats [@stiennon2020learning].
#
# **Predict:** a reward model from 60 labelled sentences. Do reward and human score rise together?

# %%
def best_of(n, labels, draws=400, seed=0):
    """Mean reward, as the reward model sees it, and mean human score of the best of n unseen sentences."""
    rows = np.random.default_rng(seed).choice(half, labels, replace=False)
    proxy = linear_reward(rows)(vectors[half:])
    drawn = np.random.default_rng(seed + 1).integers(0, count - half, (draws, n))
    best = drawn[np.arange(draws), proxy[drawn].argmax(1)]
    return proxy[best].mean(), human[half:][best].mean()


def overoptimized(labels):
    ns = [1, 2, 4, 8, 16, 32, 64, 128]
    runs = np.array([[best_of(n, labels, seed=seed) for n in ns] for seed in range(5)])
    kl = [math.log(n) - (n - 1) / n for n in ns]
    fig, ax = plt.subplots(figsize=(9, 4.2))
    for i, name in enumerate(("what the reward model sees", "what people said")):
        middle, spread = runs[..., i].mean(0), runs[..., i].std(0, ddof=1)
        ax.errorbar(
            kl,
            middle,
            spread,
            label=name,
            capsize=4,
            marker=plots.MARKERS[i],
            linestyle=plots.LINES[i],
            color=plots.COLORS[i],
        )
    ax.set(
        title=f"Best of n, reward model from {labels} labels (mean and spread of 5)",
        xlabel="KL to plain sampling (nats)",
        ylabel="score (points, -4 to 4)",
    )
    ax.legend()


overoptimized(60)
plt.show()

# %%
widgets.explorer(overoptimized, labels=[30, 60, lab.budget(full=250, quick=90), half]);
# %% [markdown]
# ### And without staying among real sentences
#
# Best-of-n can only choose what someone wrote. A policy can write anything. Then this is what it finds:

# %%
proxy = linear_reward(np.arange(half))
tricks = [
    "wonderful " * 8,
    "A wonderful, moving, beautiful, funny, brilliant, charming film",
    "film",
    "Not good, but wonderful wonderful wonderful",
]
best = sentences[int(half + human[half:].argmax())]["text"]
for text in [best, *tricks]:
    print(f"{float(proxy(embed([text]))[0]):+.2f}  {text[:90]}")
print(f"\nhighest human score of a real sentence here: {human[half:].max():+.2f}")

# %% [markdown]
# Compare the lines with the first, the unseen sentence that people liked best. A row of praise that says nothing about any
# film can be worth twice as much, and "Not good, but" costs little; one word said eight times does not fool this one. Where
# the holes are, only the optimizer finds out. @gao2023scaling measured it at scale: as the KL grows, the true reward first
# rises, then falls, while the reward model's keeps rising; larger reward models and more labels move the turn outwards. The KL
# term, early stopping and fresh labels are what is done against it.

# %% [markdown]
# ## What came after
#
# **DPO** (直接偏好优化; @rafailov2023direct). The best policy above, solved for the reward: $r = \beta \log(\pi / \pi_{SFT})$, up to
# a term that cancels in a pair. Put into the pairwise loss: no reward model, no sampling. Simpler and stable; but it never
# sees what it would write itself, and its chosen answers may become *less* likely, as long as the rejected ones do more
# (@pal2024smaug; the lab meets it).
#
# **GRPO** [@shao2024deepseekmath]. PPO's clipped objective without a value head: write several answers to a prompt, and let
# their mean reward be the baseline. Used where a program can check the answer, in mathematics and code (DeepSeek-R1; @deepseekai2025r1).
#
# **AI feedback** [@bai2022constitutional]. A model judges by written principles, in place of part of the people.
#
# All of them share what this lecture was about: a reward that stands for what we want, and a leash because it only stands
# for it.

# %% [markdown]
# ## Is it better? Evaluating chat models
#
# - **People, in pairs.** Labelers preferred the outputs of InstructGPT with 1.3 billion weights to those of GPT-3 with 175
#   [@ouyang2022training]. *Chatbot Arena* lets anyone compare, and fits strengths as above [@chiang2024chatbot].
# - **Models as judges.** GPT-4's verdicts agree with people's in over 80 % of cases, as often as people agree with each other,
#   and have their own faults: they favour the first answer, the longer one, and their own [@zheng2023judging].
# - **Tests.** ChatGPT went past GPT-3 on most tests, and past fully fine-tuned models on some, from a prompt alone (the deck).
#   On public data sets, though, RLHF also *cost* accuracy, and mixing in pre-training gave most of it back
#   [@ouyang2022training].
#
# How large is a lead? Strengths are told as Elo points, 400 for a factor of ten in the odds:

# %% tags=["nbval-check-output"]
for wins in (0.5, 0.55, 0.64, 0.76, 0.91):
    print(f"wins {wins:.0%} of the comparisons: {400 * math.log10(wins / (1 - wins)):+4.0f} points")

# %% [markdown]
# ### How many comparisons does it take?
#
# **Predict:** model A wins 55 of 100. Is it better?

# %% tags=["nbval-check-output"]
for games in (100, 400, 1600):
    wins = pd.DataFrame({"won": np.arange(games) < round(0.55 * games)})
    value, low, high = scoring.bootstrap(wins, lambda f: float(f["won"].mean()))
    print(
        f"{value:.2f} of {games:4}: 95 % interval {low:.2f} to {high:.2f}{'' if low > 0.5 else '   holds one half'}"
    )

# %% [markdown]
# ## Summary
#
# - People can compare what they cannot define. A reward model turns comparisons into a number (Bradley-Terry).
# - The policy maximizes that number on a leash. The best policy is the SFT model times $e^{r/\beta}$: shorten the leash or be
#   hacked.
# - PPO learns it from samples: advantages, and a clipped ratio that makes steps safe.
# - A reward is a measure that has become a target. Watch something that nobody optimizes.
# - DPO and GRPO drop the reward model, or the value head; not the leash.

# %% [markdown]
# ## Further reading
#
# - [@ouyang2022training]
# - [@stiennon2020learning]
# - [@askell2021general]
# - [@bai2022constitutional]
# - [@schulman2017proximal]
# - [@gao2023scaling]
# - [@rafailov2023direct]
# - [@pal2024smaug]
# - [@shao2024deepseekmath]
# - [@deepseekai2025r1]
# - [@zheng2023judging]
# - [@chiang2024chatbot]
