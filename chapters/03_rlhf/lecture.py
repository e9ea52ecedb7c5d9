# %% [markdown]
# # 03 · Learning from human feedback
#
# **How a model learns what people prefer** (基于人类反馈的强化学习, RLHF)
#
# A model that follows instructions will also follow bad ones, flatter, and make things up in a pleasant voice. Nobody can
# write down a loss for "a good answer". But people can look at two answers and say which is better. How far does that
# carry?
#
# After this lecture you can name the three steps, their data and their four models, derive the loss of a reward model and
# the policy gradient, read PPO's objective term by term, say what the KL term is for, and tell when a reward has been
# hacked.

# %% [markdown] tags=["notes"]
# 75 minutes with the demos. Two parts carry the rest: the exact optimum (slide "What beta does"; let the room predict
# what happens as beta falls before anyone moves it) and the measured runs of "Reward hacking". The source slides call the
# second Chinese rule by the name of its draft.

# %% tags=["skip"]
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from course_utils import data, lab, load_model, plots, scoring, tables, widgets

lab.start("03_rlhf")

# %% [markdown]
# ## Why align?
#
# Pre-training asks: what would come next on the internet? Users ask something else. *Alignment* (对齐) means to guide the
# behaviour of an AI system so that it fits the interests and the intended goals of those who design it. Two questions
# follow. *Whose* interests: the designers', the users', society's? And which goals? Usual principles: an answer fits the
# culture of the country or region, its laws and ethics, and keeps to facts and logic. @askell2021general put the aim in
# three words:
#
# - **helpful** (有用): does what was asked, asks back when it must;
# - **honest** (诚实): says what is true and how sure it is;
# - **harmless** (无害): does not hurt, insult, or help to do so.
#
# They can pull against each other. Two questions with two answers each, of which people chose one:

# %%
CONFLICTS = {"honest": ("George Washington", "guess Adams?"), "harmless": ("love to help", "Sorry, I don't")}
shown = {
    kind: next(r for r in data.bigbench(f"hhh_alignment/{kind}") if all(part in "|".join(r["choices"]) for part in parts))
    for kind, parts in CONFLICTS.items()
}
answers = {kind: sorted(row["choices"], reverse=kind == "harmless") for kind, row in shown.items()}
for kind, row in shown.items():
    print(f"{kind}: {row['input']}")
    for letter, choice in zip("AB", answers[kind], strict=True):
        print(f"   {letter}  {choice}")

# %% tags=["hide-input"]
guess = widgets.predict("Which answer about the president did people prefer?", options=["A", "B"])
guess_2 = widgets.predict("Which answer about the credit card did people prefer?", options=["A", "B"])

# %%
preferred = {kind: "AB"[answers[kind].index(row["targets"][0])] for kind, row in shown.items()}
for kind, letter in preferred.items():
    print(f"{kind}: people preferred {letter}")

# %% tags=["hide-input"]
guess.reveal(preferred["honest"], why="It is unsure, and right: John Quincy Adams was the sixth president.")
guess_2.reveal(preferred["harmless"], why="The other answer offers help with a fraud.")

# %% [markdown]
# In both the preferred answer gives less help: an unsure answer was preferred to a confident wrong one, a refusal to an
# offer. A reward must weigh such things against each other, and people weigh them differently.

# %% [markdown]
# ### Rules around it
#
# Alignment is also a legal matter. As facts, with sources:
#
# - China: *Provisions on Deep Synthesis* (互联网信息服务深度合成管理规定), Order No. 12 of the Cyberspace Administration, the Ministry
#   of Industry and Information Technology and the Ministry of Public Security, 25 November 2022, in force since 10
#   January 2023.
# - China: *Interim Measures for Generative AI Services* (生成式人工智能服务管理暂行办法), Order No. 15, 13 July 2023, in force
#   since 15 August 2023. They cover services to the public.
# - European Union: *Artificial Intelligence Act*, Regulation (EU) 2024/1689, in force since 1 August 2024; duties of
#   those who provide general-purpose models since 2 August 2025.
#
# Europol warned (27 March 2023) that such models are used for fraud and malware too. Rules change fast; check what is in
# force where you are.

# %% [markdown]
# ## Three steps
#
# A *policy* (策略) is whatever chooses actions; here it is the language model, an action is a token, and a whole answer is
# an *episode* (回合). InstructGPT [@ouyang2022training], the recipe that ChatGPT was built on:
#
# | | step 1: SFT 监督微调 | step 2: reward model 奖励模型 | step 3: PPO 近端策略优化 |
# |---|---|---|---|
# | people give | an answer | a ranking of 4 to 9 answers | nothing new |
# | what is trained | the policy (1.3, 6 or 175 billion parameters) | a score (6 billion) | the policy, on its own answers |
# | the loss | cross-entropy | pairwise | clipped objective, KL penalty |
#
# Why 6 billion for the reward model, also beside a policy of 175? It is cheaper, and it was more stable: reward models of
# 175 billion could reach a lower validation loss, but their training was unstable, which made them a worse start for the
# value function of step 3, and they would have made PPO far more expensive [@ouyang2022training, appendix C].

# %% [markdown]
# ### Step 3 needs four models
#
# The policy; a value head, which predicts what reward is still to come; the reward model; and the SFT model, to compare with. Some
# of them are *frozen* (冻结), that is, never updated.

# %% tags=["hide-input"]
widgets.predict(
    "Which of the four are trained in step 3?",
    options=["the policy alone", "the policy and the reward model", "the policy and the value head", "all but the SFT model"],
    answer="the policy and the value head",
    why="The value head must keep up with a policy that changes; the two others are fixed points to measure by.",
)

# %% tags=["hide-input"]
def four_models():
    boxes = {
        "prompt": (0.0, 3.0, "white", "-"),
        "policy": (3.0, 3.0, "#cfcfcf", "-"),
        "answer": (6.2, 3.0, "white", "-"),
        "value": (3.0, 0.6, "#cfcfcf", "-"),
        "reward": (9.6, 3.9, "white", "--"),
        "reference": (9.6, 2.1, "white", "--"),
        "sum": (13.2, 3.0, "white", "-"),
        "advantage": (13.2, 0.6, "white", "-"),
    }
    texts = {
        "prompt": "prompt x",
        "policy": "policy π\ntrained",
        "answer": "answer y",
        "value": "value head V\ntrained",
        "reward": "reward model r\nfrozen",
        "reference": "SFT model π_ref\nfrozen",
        "sum": "reward of each token:\n-β log(π/π_ref),\n+ r at the end",
        "advantage": "advantage A =\nbetter than V\nexpected?",
    }
    fig, ax = plt.subplots(figsize=(13, 5))
    drawn = {}
    for name, (x, y, color, line) in boxes.items():
        style = {"boxstyle": "round,pad=0.45", "fc": color, "ec": "black", "ls": line, "lw": 1.6}
        drawn[name] = ax.text(x, y, texts[name], ha="center", va="center", fontsize=12, bbox=style).get_bbox_patch()
    for flow in ("prompt policy", "policy answer", "answer reward", "answer reference", "reward sum", "reference sum",
                 "sum advantage", "value advantage", "policy value", "advantage policy"):  # fmt: skip
        a, b = flow.split()
        back = {"ls": ":", "connectionstyle": "arc3,rad=-0.1"} if flow == "advantage policy" else {}
        arrow = {"arrowstyle": "-|>", "lw": 1.6, "color": "black", "patchA": drawn[a], "patchB": drawn[b]} | back
        ax.annotate("", boxes[b][:2], boxes[a][:2], arrowprops=arrow)
    ax.text(5.9, 1.25, "gradient", style="italic", fontsize=12)
    title = "PPO: four models and what flows between them (grey: trained; dashed: frozen)"
    ax.set(title=title, xlim=(-1.2, 15.4), ylim=(-0.2, 4.7))
    ax.axis("off")


four_models()
plt.show()

# %% [markdown]
# Two are trained: the policy and its value head. Two are frozen: the reward model, or the policy could not be compared
# over time, and the SFT model, from which the policy's drift is measured. The prompts come from the third data set:

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
for origin, label, hatch in (("labelers", "labelers", ""), ("customers", "customers", "//")):
    ax.barh(train.index, train[origin], left=left, color="white", edgecolor="black", hatch=hatch, label=label)
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
# Rounded: 13k, 33k and 31k prompts. These are small data sets for a model of 175 billion parameters; what is expensive is
# the people who write and compare answers.

# %% [markdown]
# ## The reward model's loss
#
# Assume that each answer $y$ to a prompt $x$ has a strength $r(x, y)$, and that people, when asked, choose $a$ over $b$
# with the probability [@bradley1952rank]
#
# $$P(a \succ b) = \frac{e^{r(x,a)}}{e^{r(x,a)} + e^{r(x,b)}} = \sigma\big(r(x,a) - r(x,b)\big)$$
#
# Write $y_w$ for the answer that won and $y_l$ for the one that lost. Maximum likelihood of what people chose is then the
# *pairwise loss* (成对损失). A ranking of $K$ answers contains $\binom K2$ pairs:
#
# $$L = -\frac{1}{\binom K2}\ \mathbb{E}\big[\log \sigma\big(r(x, y_w) - r(x, y_l)\big)\big]$$
#
# All pairs of one prompt go into one batch. When they were shuffled apart, each answer was used for up to $K-1$ updates
# in an epoch, and the model over-fitted [@ouyang2022training].

# %% tags=["nbval-check-output"]
for answers in (4, 9):
    print(f"{answers} answers: {math.comb(answers, 2)} pairs from one ranking")
for gap in (0.0, 1.0, 3.0):
    loss = math.log(1 + math.exp(-gap))
    print(f"rewards {gap} apart: preferred with probability {math.exp(-loss):.2f}, loss {loss:.2f} nats")

# %% [markdown]
# ### Do real preferences look like that?
#
# The formula is an assumption: one number per text must be enough to predict *every* comparison. It can be tested.
# Fifteen to thirty people scored each of our film sentences, each from -4 to 4. When one person's score of sentence a is
# higher than another person's score of sentence b, we count a win for a (we leave ties out). We fit strengths to the
# comparisons of one half of the people; the other half's comparisons are the test.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Take the pairs of which the fitted model says that one sentence wins with a probability of 60 to 80 %. "
    "How often does that sentence win among the *other* half of the people?",
    unit="%",
    tolerance=0.15,
)

# %%
TEXTS = 40
ratings, generator = data.movie_ratings(), np.random.default_rng(0)
chosen = generator.choice([i for i, row in enumerate(ratings) if len(row) >= 20], TEXTS, replace=False)
people = [np.array_split(generator.permutation(ratings[i]), 2) for i in chosen]


def comparisons(half, times):
    """Each pair of sentences, compared `times` times by two people of one half: indices a, b and did a win?"""
    a, b = (np.tile(side, times) for side in np.triu_indices(TEXTS, 1))
    x, y = (np.array([generator.choice(people[i][half]) for i in side]) for side in (a, b))
    return a[x != y], b[x != y], (x > y)[x != y]

# %%
a, b, a_won = comparisons(half=0, times=10)
design = np.eye(TEXTS)[a] - np.eye(TEXTS)[b]  # Bradley-Terry is a logistic regression on these rows, without intercept
strength = LogisticRegression(fit_intercept=False, C=10).fit(design, a_won).coef_[0]
a, b, a_won = comparisons(half=1, times=1)
predicted = 1 / (1 + np.exp(strength[b] - strength[a]))
favourite_won = np.where(predicted >= 0.5, a_won, ~a_won)
predicted = np.maximum(predicted, 1 - predicted)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4))
ax.plot([0.5, 1], [0.5, 1], "--", marker="", color="grey", label="perfect prediction")
for i, part in enumerate(np.array_split(np.argsort(predicted), 6)):
    value, low, high = scoring.proportion(int(favourite_won[part].sum()), len(part))
    ax.errorbar(predicted[part].mean(), value, [[value - low], [high - value]], fmt="o", color=plots.COLORS[0], capsize=4,
                label="sixths of the pairs, Wilson 95 % interval" if i == 0 else None)  # fmt: skip
ax.set(
    title=f"Bradley-Terry on {TEXTS} sentences, tested on other people ({len(predicted)} comparisons)",
    xlabel="predicted probability that the favourite wins",
    ylabel="share that it won",
)
ax.legend(loc="lower right")
plt.show()

# %% tags=["hide-input"]
near = (predicted >= 0.6) & (predicted < 0.8)
value, low, high = scoring.proportion(int(favourite_won[near].sum()), int(near.sum()))
guess.reveal(100 * value, why=f"{near.sum()} comparisons, 95 % interval {low:.0%} to {high:.0%}; the model says {predicted[near].mean():.0%} on average.")

# %% [markdown]
# The points lie near the line: for these texts one number per text predicts how often *other* people agree, from close
# pairs to clear ones. (Where a point lies below, the fit is too sure: each half has only some ten people per sentence.)
# That is what a reward model needs. It need not hold elsewhere: where tastes differ by group, or where a beats b, b beats
# c and c beats a, no single number can fit.

# %% [markdown]
# ## Step 3: the objective
#
# $$\max_\pi\ \mathbb{E}_{y \sim \pi}\big[r(x, y)\big] - \beta\, \mathrm{KL}\big(\pi(\cdot|x)\,\|\,\pi_{ref}(\cdot|x)\big),\qquad
# \mathrm{KL}(\pi\,\|\,\pi_{ref}) = \mathbb{E}_{y \sim \pi}\Big[\log\frac{\pi(y|x)}{\pi_{ref}(y|x)}\Big]$$
#
# The *KL divergence* (KL 散度) measures in nats how far the policy has moved from $\pi_{ref}$, the SFT model: 0 if they are
# equal, large if the policy writes what the SFT model would hardly write. The *KL penalty* (KL 惩罚) with its factor
# $\beta$ acts like a leash. InstructGPT adds a third term, language modelling on pre-training text, against the loss of
# accuracy on other tasks (the *alignment tax* 对齐税).

# %% [markdown]
# ### The optimum can be written down
#
# Take $\beta$ out, and the objective is itself a KL divergence:
#
# $$\mathbb{E}_\pi[r] - \beta\,\mathrm{KL}(\pi\|\pi_{ref})
# = -\beta\,\mathbb{E}_\pi\Big[\log\frac{\pi(y|x)}{\pi_{ref}(y|x)\,e^{r(x,y)/\beta}}\Big]
# = -\beta\,\mathrm{KL}(\pi\|\pi^*) + \beta\log Z(x)$$
#
# $$\pi^*(y|x) = \frac{1}{Z(x)}\,\pi_{ref}(y|x)\,e^{r(x,y)/\beta},\qquad Z(x)=\sum_y \pi_{ref}(y|x)\,e^{r(x,y)/\beta}$$
#
# A KL divergence is smallest, 0, at $\pi=\pi^*$. This holds for *whole texts*. What we cannot do is to compute it: $Z$
# sums over all texts, and we cannot sample from $\pi^*$ without it. Hence PPO. For one single word the sum is short, so
# we can look at the optimum without training. The choice is the course model's next word, the reward is how nice the word
# sounds to people (the VADER word list).

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


def optimum(beta):
    """The best policy for one word, its expected reward, and its KL divergence to the model (nats)."""
    log_best = (chance.log() + sounds / beta).log_softmax(-1)
    best = log_best.exp()
    return best, float(best @ sounds), float(best @ (log_best - chance.log()))

# %% [markdown]
# ### What beta does

# %% tags=["hide-input"]
paid = sounds >= 3
guess = widgets.predict(
    f"Under the SFT model the words with a reward of 3 or more have a probability of {chance[paid].sum():.1%}, all together. "
    "And under the best policy for beta = 0.05?",
    unit="%",
)

# %% tags=["hide-input"]
def show(log10_beta):
    best, gain, kl = optimum(10**log10_beta)
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


widgets.explorer(show, log10_beta=(-1.3, 1.0, 0.1), start={"log10_beta": -0.3})

# %% tags=["hide-input"]
guess.reveal(100 * float(optimum(0.05)[0][paid].sum()), why="The factor exp(r / β) of a word with reward 3 is exp(60): it outweighs even a very small probability.")

# %% [markdown] tags=["subslide"]
# ### The price of each beta
#
# With a small beta nearly all the probability goes to the few words that pay best, however unlikely they were; as beta goes to 0,
# to the single best one. That is not a fault of some algorithm: it *is* the best policy for that reward. Reward and KL both rise as
# beta falls, and the reward rises ever more slowly:

# %%
betas = (10, 3, 1, 0.5, 0.3, 0.1, 0.05)
frontier = [optimum(beta)[1:] for beta in betas]
pd.DataFrame(frontier, index=pd.Index(betas, name="beta"), columns=["expected reward", "KL (nats)"]).round(2)

# %% [markdown]
# ## From reward to gradient
#
# A text has many words, and its reward comes at the end. The expected reward is a sum over all texts, so we sample. But
# how does one differentiate an expectation over samples that depend on the parameters $\theta$? With $\nabla\pi =
# \pi\,\nabla\log\pi$:
#
# $$\nabla_\theta\,\mathbb{E}_{y\sim\pi}[r(y)] = \sum_y r(y)\,\nabla\pi(y) = \mathbb{E}_{y\sim\pi}\big[r(y)\,\nabla\log\pi(y)\big],
# \qquad \log\pi(y)=\sum_t\log\pi(y_t|y_{<t})$$
#
# This is the *policy gradient* (策略梯度; @williams1992simple, REINFORCE): write, score, and raise the log-probability of each
# token in proportion to the score.

# %% [markdown]
# ### A baseline
#
# One trick makes it usable. For any number $b$ that does not depend on $y$,
#
# $$\mathbb{E}\big[b\,\nabla\log\pi(y)\big] = b\,\nabla\sum_y\pi(y) = b\,\nabla 1 = 0$$
#
# so such a *baseline* (基线) may be subtracted without changing the mean of the gradient, only its variance.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Three texts, equally likely, have the rewards 99, 100 and 101. By which factor does the baseline 100 reduce the standard "
    "deviation of the gradient of one sampled text?",
    options=["less than 2", "2 to 10", "10 to 50", "more than 50"],
)

# %% tags=["nbval-check-output"]
spreads = []
rewards = torch.tensor([101.0, 100.0, 99.0])  # of three one-word texts
logits = torch.zeros(3, requires_grad=True)
probabilities = logits.softmax(-1).detach()
scores_of = [torch.autograd.grad(logits.log_softmax(-1)[y], logits)[0] for y in range(3)]  # grad log pi(y)
for baseline in (0.0, 100.0):
    samples = torch.stack([(rewards[y] - baseline) * scores_of[y] for y in range(3)])
    mean = probabilities @ samples
    spread = (probabilities @ (samples - mean) ** 2).sqrt()
    spreads.append(spread)
    mean, spread = ([round(v, 2) for v in values.tolist()] for values in (mean, spread))
    print(f"baseline {baseline:5.0f}: mean gradient {mean}, spread {spread}")

# %% tags=["hide-input"]
factor = float((spreads[0] / spreads[1]).min())
guess.reveal(
    "less than 2" if factor < 2 else "2 to 10" if factor < 10 else "10 to 50" if factor < 50 else "more than 50",
    why=f"The factor is {factor:.0f}: each sample had been multiplied by about 100, whichever text it was.",
)

# %% [markdown]
# The mean is the same, the spread falls by two orders of magnitude. Without a baseline even the worst text is made more
# likely whenever it is sampled; with it, a text below 100 is made less likely. A good baseline is the reward to
# be expected, and that may differ at every token: the *value head* (价值头), a second output of the policy, predicts at each
# token the reward that is still to come. What came better than predicted is the *advantage* (优势) $A_t$ (you will write it
# in the lab).

# %% [markdown]
# ## PPO: limit the size of a step
#
# Sampling is expensive, so each batch of texts is used for several updates. But the gradient above is for texts of the
# *current* policy; these came from $\pi_{old}$. Importance sampling corrects that with the ratio $\rho = \pi / \pi_{old}$
# (its gradient at $\rho=1$ is that of $\log\pi$), and only while the two stay close. PPO [@schulman2017proximal] therefore
# clips:
#
# $$\min\big(\rho A,\ \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, A\big)$$

# %% tags=["hide-input"]
guess = widgets.predict(
    "A bad token (A < 0), ε = 0.2. For which ratio of its new to its old probability is there *no* gradient?",
    options=["1.5: it has become more likely", "0.5: it has become less likely", "both", "neither"],
)

# %% tags=["hide-input"]
def clipped(advantage=1.0, epsilon=0.2, ax=None):
    ax = ax or plt.subplots(figsize=(7, 4))[1]
    ratio = np.linspace(0, 2, 401)
    plain, limited = ratio * advantage, np.clip(ratio, 1 - epsilon, 1 + epsilon) * advantage
    taken = np.minimum(plain, limited)
    ax.plot(ratio, plain, marker="", linestyle=":", color="grey", label="plain: ratio times A")
    ax.plot(ratio, taken, marker="", color=plots.COLORS[0], linewidth=3, label="PPO")
    flat = np.isclose(np.gradient(taken, ratio), 0)
    ax.fill_between(ratio, *ax.get_ylim(), where=flat, color="lightgrey", label="no gradient")
    ax.set(title=f"Objective of one token, A = {advantage:+.1f}", xlabel="ratio of the probabilities, new / old",
           ylabel="objective (to be maximized)")  # fmt: skip
    ax.legend(fontsize=10)


fig, axes = plt.subplots(1, 2, figsize=(13, 4))
for ax, advantage in zip(axes, (1.0, -1.0), strict=True):
    clipped(advantage, ax=ax)
plt.show()

# %% tags=["hide-input"]
ratio = torch.tensor([1.5, 0.5], requires_grad=True)
torch.minimum(-ratio, -ratio.clamp(0.8, 1.2)).sum().backward()
higher, lower = (ratio.grad == 0).tolist()
one = "1.5: it has become more likely" if higher else "0.5: it has become less likely"
guess.reveal("both" if higher and lower else one if higher or lower else "neither", why="Look for the flat part of the right figure.")

# %% [markdown] tags=["subslide"]
# ### Move A and ε

# %%
widgets.explorer(
    clipped, advantage=(-2.0, 2.0, 0.5), epsilon=(0.05, 0.5, 0.05), start={"advantage": -1.0, "epsilon": 0.2},
    grid={"advantage": [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0], "epsilon": [0.1, 0.2, 0.3, 0.5]},
)

# %% [markdown]
# At $A<0$ and $\rho=1.5$ there is a gradient: the token goes the wrong way, and PPO pulls it back with full strength. At
# $\rho=0.5$ there is none: the token is already much less likely, and nothing more is gained in this batch. In one
# sentence: the minimum stops rewarding further steps in the *right* direction beyond $1\pm\epsilon$, and never stops
# correcting steps in the wrong one.

# %% [markdown]
# ## The simplest optimizer: best of n
#
# Before any training: draw $n$ texts, keep the one with the highest reward (*best-of-n*,
# 择优采样). Its KL to plain sampling is at most $\log n - (n-1)/n$ nats [@stiennon2020learning]. Our texts are real sentences
# with real human scores, so we can compare what the reward model expects of the chosen text with what people said. The
# reward model: ridge regression of the scores on word counts (TF-IDF), from 1,000 labelled sentences, with little
# regularization.

# %% tags=["hide-input"]
guess = widgets.predict(
    "n goes from 1 to 128. What happens to the score that the reward model expects, and to the human score of the same sentences?",
    options=[
        "both rise, and the reward model expects no more than people said",
        "both rise, but the reward model expects more than people said",
        "the expected score rises, the human score does not clearly change",
        "the expected score rises, the human score falls",
    ],
)

# %%
sentences = data.movie_sentences().shuffle(seed=0)
human, half = np.array(sentences["score"]), 5000
words_of = TfidfVectorizer(min_df=2, sublinear_tf=True).fit(sentences["text"][:half])
features = words_of.transform(sentences["text"])


def best_of(n, labels, ridge, draws=400, seed=0):
    """Mean score that a reward model from `labels` sentences expects of the best of n unseen ones, and their human score."""
    generator = np.random.default_rng(seed)
    known = generator.choice(half, labels, replace=False)
    expected = Ridge(alpha=ridge).fit(features[known], human[known]).predict(features[half:])
    drawn = generator.integers(0, len(human) - half, (draws, n))
    best = drawn[np.arange(draws), expected[drawn].argmax(1)]
    return expected[best].mean(), human[half:][best].mean()

# %% tags=["hide-input"]
def over_estimated(labels=1000, ridge=0.03):
    ns = [1, 2, 4, 8, 16, 32, 64, 128]
    runs = np.array([[best_of(n, labels, ridge, seed=seed) for n in ns] for seed in range(5)])
    kl = [math.log(n) - (n - 1) / n for n in ns]
    fig, ax = plt.subplots(figsize=(9, 4.2))
    for i, name in enumerate(("what the reward model expects", "what people said")):
        ends = np.array([scoring.mean(runs[:, k, i]) for k in range(len(ns))])
        ax.errorbar(kl, ends[:, 0], [ends[:, 0] - ends[:, 1], ends[:, 2] - ends[:, 0]], label=name, capsize=4,
                    marker=plots.MARKERS[i], linestyle=plots.LINES[i], color=plots.COLORS[i])  # fmt: skip
    ax.set(
        title=f"Best of n: {labels} labels, ridge {ridge} (5 seeds, t interval)",
        xlabel="KL to plain sampling, upper bound (nats)",
        ylabel="score (points, -4 to 4)",
    )
    ax.legend()


widgets.explorer(over_estimated, labels=[60, 250, 1000, half], ridge=[0.03, 0.3, 1.0], start={"labels": 1000})

# %% tags=["hide-input"]
(_, before), (promised, after) = (np.array([best_of(n, 1000, 0.03, seed=seed) for seed in range(5)]).T for n in (1, 128))
rise, lowest, highest = scoring.paired(after, before)
excess, least, most = scoring.paired(promised, after)
rising = (
    "both rise, but the reward model expects more than people said" if least > 0
    else "both rise, and the reward model expects no more than people said"
)
otherwise = (
    "the expected score rises, the human score falls" if highest < 0
    else "the expected score rises, the human score does not clearly change"
)
guess.reveal(
    rising if lowest > 0 else otherwise,
    why=f"From n = 1 to 128 the human score changes by {rise:+.2f} points ({lowest:+.2f} to {highest:+.2f}); "
    f"at 128 the reward model expects {excess:+.2f} ({least:+.2f} to {most:+.2f}) beyond it.",
)

# %% [markdown]
# Both rise, so choosing helps. But the reward model expects more than people said: the maximum prefers texts on which its
# errors are positive. This is *over-estimation* (the winner's curse). More regularization (try ridge 1.0) shrinks what it
# expects and the gap closes or turns round; the texts that are chosen hardly get worse. It is not hacking: the human
# score does not fall, because best-of-n can only choose among sentences that someone wrote. A policy can write anything.

# %% [markdown]
# ## Reward hacking
#
# "When a measure becomes a target, it ceases to be a good measure" (Goodhart's law, in Strathern's words). Now a policy
# is *trained*: a small Transformer that continues film reviews, by PPO. Its reward model is deliberately weak: it adds up
# one number per word, learnt from comparisons between 300 sentences. Four curves: the reward, and three metrics that
# nobody optimizes. "Reviewers" is a classifier trained on other sentences with other labels (is the sentence from a
# positive review?); "vectors" asks the same of MiniLM's vectors of whole sentences.

# %% tags=["hide-input"]
guess = widgets.predict(
    'Without a KL penalty (β = 0) the reward rises for 60 rounds. What happens to "reviewers"?',
    options=["it rises with the reward", "it falls from the start", "it rises first, and falls later", "it does not clearly change"],
)

# %% tags=["hide-input"]
runs = tables.load("reward_hacking")
METRICS = {
    "reward": ("Reward", "standard deviations"),
    "reviewers": ("Reviewers (words)", "probability: positive review"),
    "vectors": ("Vectors (MiniLM)", "probability: positive review"),
    "variety": ("Variety", "share of different word pairs"),
}
fig, axes = plt.subplots(2, 2, figsize=(12, 7), sharex=True)
for ax, (what, (title, unit)) in zip(axes.flat, METRICS.items(), strict=True):
    for i, (beta, some) in enumerate(runs[(runs["method"] == "PPO") & runs["beta"].isin([0.0, 0.3])].groupby("beta")):
        style = {"color": plots.COLORS[i], "marker": plots.MARKERS[i]}
        ax.plot(some["round"], some[what], linestyle="none", alpha=0.4, **style)
        means = some.groupby("round")[what].mean()
        ax.plot(means.index, means, linestyle=plots.LINES[i], label=f"beta {beta}", **style)
    ax.set(title=title, ylabel=unit)
for ax in axes[1]:
    ax.set_xlabel("round of PPO (pale: each of 3 seeds; line: mean)")
axes[0, 0].legend()
plt.show()

# %% tags=["hide-input"]
free = runs[(runs["method"] == "PPO") & (runs["beta"] == 0)].set_index(["round", "seed"])["reviewers"]
early, late = scoring.paired(free[10], free[0]), scoring.paired(free[60], free[10])  # mean, and the ends of its interval
after_rise = "it rises first, and falls later" if late[2] < 0 else "it rises with the reward"
guess.reveal(
    after_rise if early[1] > 0 else "it falls from the start" if early[2] < 0 else "it does not clearly change",
    why=f"Rounds 0 to 10: {early[0]:+.2f} ({early[1]:+.2f} to {early[2]:+.2f}); 10 to 60: {late[0]:+.2f} ({late[1]:+.2f} to {late[2]:+.2f}).",
)

# %% tags=["subslide"]
for (beta, i), row in runs[(runs["method"] == "PPO") & (runs["seed"] == 0)].set_index(["beta", "round"]).iterrows():
    if (beta, i) in ((0.0, 0), (0.0, 10), (0.0, 20), (0.0, 60), (0.3, 60)):
        print(f"beta {beta}, round {i:2}, mean reward {row['reward']:+5.1f}: {row['text_1']}")

# %% [markdown]
# Without the penalty the reward rises to many standard deviations above real sentences: the reward model adds up words,
# so the policy repeats the word that pays best. "Reviewers" first rises, because at first the policy learns to praise,
# and then falls in all three seeds, back to where it began or lower. Variety falls from the start. "Vectors" shows how
# hard the choice of a metric is: MiniLM finds one of these words positive, and in two of three seeds it is fooled too. A
# classifier trained on real sentences knows nothing about such texts; so look at several metrics, and *read what the
# policy writes*. (The fluency that a language model measures would mislead as well: repeated words are easy to predict.)
# With β = 0.3 the reward rises a little, and the texts remain what they were.
#
# @gao2023scaling measured it at scale, with a large "gold" reward model in the place of people: as the KL grows, the
# gold reward first rises and then falls, while the reward that is optimized keeps rising; with larger reward models and
# more labels the gold reward gets higher before it falls. What is done against it: a KL penalty, early stopping, several
# reward models at once, fresh labels for what the policy writes now.

# %% [markdown]
# ## What came after
#
# **DPO** (直接偏好优化; @rafailov2023direct). Solve the optimum above for the reward: $r = \beta \log(\pi^* / \pi_{ref}) +
# \beta\log Z(x)$. In a pair of answers to the same prompt the intractable $\log Z(x)$ cancels. Put the rest into the
# pairwise loss: no reward model, no sampling, no value head. The price: it learns from given pairs only, not from what it
# would write itself; and the loss only asks for a larger *difference*, so the chosen answers may become *less* likely, as
# long as the rejected ones do so even more [@pal2024smaug]. The lab measures both.
#
# **GRPO** [@shao2024deepseekmath] needs no value head: it writes a group of $G$ answers to one prompt and compares them with
# each other. The advantage of *every* token of answer $i$ is $A_i = (r_i - \mathrm{mean}(r)) / \mathrm{std}(r)$ over the
# group. The clipped objective is first averaged *within each answer* (divided by its length), then over the group, and
# the KL penalty is a term of the *loss*, not of the reward. Both divisions have side effects: a wrong answer is penalized
# less per token if it is longer, and prompts of which nearly all answers are right (or wrong) get a large weight; Dr.
# GRPO drops both [@liu2025understanding].
#
# **Verifiable rewards** (可验证奖励). In mathematics and code a program can check the answer (DeepSeek-R1; @deepseekai2025r1), so there is no
# reward model to be fooled. The KL penalty is then often left out: in Dr. GRPO [@liu2025understanding] and Olmo 3 (Team
# @teamolmo2025olmo). Programs can be fooled as well, for example when the tests of a code task can be passed without solving
# it.
#
# **AI feedback** [@bai2022constitutional]. A model judges by written principles, in place of part of the people.
#
# | | reward model | value head | frozen reference | samples while training |
# |---|---|---|---|---|
# | PPO (InstructGPT) | yes | yes | yes | yes |
# | DPO | no | no | yes | no |
# | GRPO, learned reward | yes | no | yes | yes |
# | GRPO, verifiable reward, no KL | no | no | no | yes |

# %% [markdown]
# ## Is it better? Evaluating chat models
#
# - **People, in pairs.** Labelers preferred the outputs of InstructGPT with 1.3 billion parameters to those of GPT-3 with
#   175 [@ouyang2022training]. *Chatbot Arena* lets anyone compare, and fits Bradley-Terry strengths as above
#   [@chiang2024chatbot].
# - **Models as judges.** GPT-4's verdicts agree with people's in over 80 % of cases, as often as people agree with each
#   other, and have their own faults: they favour the first answer, the longer one, and their own [@zheng2023judging].
# - **Tests.** @qin2023chatgpt ran ChatGPT on 20 data sets without examples. It was better than GPT-3.5 at arithmetic
#   and natural language inference, and often worse at commonsense, symbolic and logical reasoning. Against models
#   *fine-tuned* on the task it did often worse: the statement that it "beats fine-tuned models from a prompt alone" holds
#   for some tasks only. On public data sets RLHF also *cost* accuracy, and mixing in pre-training text gave most of it
#   back [@ouyang2022training].
#
# How large is a lead? Strengths are given as Elo points; 400 points are a factor of ten in the odds:

# %% tags=["nbval-check-output"]
for wins in (0.5, 0.55, 0.64, 0.76, 0.91):
    print(f"wins {wins:.0%} of the comparisons: {400 * math.log10(wins / (1 - wins)):+4.0f} points")

# %% [markdown]
# ### How many comparisons does it take?

# %% tags=["hide-input"]
guess = widgets.predict(
    "Model A wins 55 % of its comparisons with B. How many comparisons does it take until the 95 % interval of that share excludes 50 %?",
    tolerance=0.3,
)

# %% tags=["nbval-check-output"]
for games in (100, 400, 1600):
    value, low, high = scoring.proportion(round(0.55 * games), games)
    print(f"{value:.2f} of {games:4}: 95 % interval {low:.2f} to {high:.2f}{'' if low > 0.5 else '   contains one half'}")

# %% tags=["hide-input"]
needed = next(games for games in range(20, 2000, 20) if scoring.proportion(round(0.55 * games), games)[1] > 0.5)
guess.reveal(needed, why="Half the width of the interval is about 1 / √n, which must be less than 0.05.")

# %% [markdown]
# With 100 comparisons we cannot tell; with 400 it is a narrow decision. The interval shrinks with the square root of the
# number.

# %% [markdown]
# ## Summary
#
# - People can compare what they cannot define. A reward model turns comparisons into a number (Bradley-Terry), and this
#   can be tested.
# - The best policy under reward and KL penalty is $\pi_{ref}\,e^{r/\beta}/Z$, for whole texts too; $Z$ cannot be
#   computed. A small $\beta$ gives the reward model's errors their full weight.
# - PPO learns from samples: policy gradient, a baseline (advantage), and a clipped ratio that limits each step.
# - A reward is a measure that has become a target. Watch a metric that nobody optimizes.
# - DPO drops reward model and sampling, GRPO the value head; with verifiable rewards the KL penalty is often dropped too.

# %% [markdown]
# ## Quiz
#
# Nine questions. Each can be answered from the ideas above, and none asks for a detail of a paper.

# %% tags=["hide-input"]
widgets.quiz([
    dict(question="Two reward models give the same answer the rewards 2.1 and 7.9. What follows?", options={
        "The second likes the answer more.": "It may give every answer a high reward: adding 5 to all of them leaves its loss as it was.",
        "The second was trained on clearer preferences.": "Clear preferences make *differences* of rewards large. One reward alone says nothing about them.",
        "Nothing: one reward alone has no meaning.": "Yes: the loss sees only differences between two answers, so a reward's zero is arbitrary. Their rewards for another answer are needed, too.",
        "One of the two is wrong.": "Both may predict each comparison equally well; the loss leaves the zero open.",
    }, answer="Nothing: one reward alone has no meaning."),
    dict(question="The rewards of two answers to a prompt are 2 apart. With which probability do people prefer the better one, by Bradley-Terry?",
         answer=100 / (1 + math.exp(-2)), unit="%", tolerance=0.03, why="σ(2): only the difference counts."),
    dict(question="The SFT model writes answer a with probability 0.9 and b with 0.1. The rewards are r(a) = 0 and r(b) = 1, and β = 0.5. "
         "With which probability does the best policy write b?",
         answer=100 * 0.1 * math.exp(1 / 0.5) / (0.9 + 0.1 * math.exp(1 / 0.5)), unit="%", tolerance=0.05,
         why="The weight of a is 0.9 · exp(0), that of b 0.1 · exp(1 / 0.5); divide by their sum."),
    dict(question="A team lowers β from 0.3 to 0.05. The mean reward rises a lot, but people like the new texts less. What is the likeliest cause?", options={
        "PPO has not converged, so it needs more rounds.": "The reward has risen, so the optimizer works. More rounds lead further in the same direction.",
        "The baseline does not suit the new β.": "A baseline changes the variance of the gradient, not its mean, and so not which policy is the best.",
        "People are inconsistent; the reward is the better measure.": "The reward model is a fit to what people chose, on other texts than these.",
        "The policy has found texts that the reward model overrates.": "Yes: with a small β the best policy lies where the reward is highest, errors included.",
    }, answer="The policy has found texts that the reward model overrates."),
    dict(question="A good token (A > 0) has become *less* likely during the updates of a batch: its ratio is 0.7, with ε = 0.2. What does PPO's objective do with it?", options={
        "It raises the token's probability, with the unclipped gradient.": "Yes: the minimum of 0.7 A and 0.8 A is 0.7 A, which is not clipped. Steps in the wrong direction are always corrected.",
        "Nothing: the ratio is outside of 0.8 to 1.2.": "That would hold for clipping alone. The minimum chooses 0.7 A here, which still depends on the policy.",
        "It raises the token's probability, but counts the ratio as 0.8.": "Then there would be no gradient, as 0.8 A is constant; and the minimum is 0.7 A.",
    }, answer="It raises the token's probability, with the unclipped gradient."),
    dict(question="You draw 64 answers from a model and keep the one with the highest reward. Each reward is the human score plus an error, "
         "which is independent of that score and 0 on average. What do you expect of the human score of the answer that you kept?", options={
        "It is as high as the reward, on average.": "That is so for an answer picked at random. This one was picked by its reward, error included.",
        "It is lower than the reward, on average.": "Yes: the highest reward is more often one whose error is positive. More samples usually make this worse.",
        "It is higher than the reward, as the best of 64 was kept.": "Choosing raises the human score, but it raises the error, too, and the reward holds both.",
    }, answer="It is lower than the reward, on average."),
    dict(question="GRPO, with the reward 1 for a right solution and 0 for a wrong one: all eight answers of a group are wrong. What does this prompt teach (no KL term)?", options={
        "All eight answers become less likely.": "They would with a fixed baseline such as 0.5. Here they are compared with each other only.",
        "It counts a lot, because the group's standard deviation is 0.": "A small deviation enlarges a difference from the mean; but here each difference is 0.",
        "Nothing: every advantage is 0.": "Yes: each reward equals the group's mean. So prompts that are far too hard (or too easy) are a waste of samples.",
    }, answer="Nothing: every advantage is 0."),
    dict(question="In which pairs can DPO's loss *not* be used, because β log Z does not cancel?", options={
        "Both answers were written by people.": "Who wrote them does not matter: the loss needs their log-probabilities under both models.",
        "The two answers belong to different prompts.": "Yes: Z(x) is a sum over all answers to *one* prompt, and another one for each prompt.",
        "The answers differ in length.": "Z(x) does not depend on the answer, so it cancels whatever their lengths are.",
        "The SFT model finds the chosen answer unlikely.": "That is in log π_ref, which stays in the loss; Z(x) is the same for both answers.",
    }, answer="The two answers belong to different prompts."),
    dict(question="After 100 comparisons of two models the 95 % interval of the share of wins is 0.2 wide. How many would make it 0.05 wide?",
         answer=100 * (0.2 / 0.05) ** 2, tolerance=0.1, why="The width shrinks with the square root: a quarter of the width takes 16 times as many."),
])

# %% [markdown]
# ## Further reading
#
# - [@ouyang2022training]
# - [@stiennon2020learning]
# - [@askell2021general]
# - [@bai2022constitutional]
# - [@bradley1952rank]
# - [@williams1992simple]
# - [@schulman2017proximal]
# - [@gao2023scaling]
# - [@rafailov2023direct]
# - [@pal2024smaug]
# - [@shao2024deepseekmath]
# - [@deepseekai2025r1]
# - [@zheng2023judging]
# - [@chiang2024chatbot]
# - [@liu2025understanding]
# - [@teamolmo2025olmo]
# - [@qin2023chatgpt]
