# %% [markdown]
# # 13 · Reasoning models: rewards that a program can check
#
# **Nobody shows it how. A program says right or wrong.** (推理模型与可验证奖励)
#
# Chapter 8 ended with a way of prompting that became a way of training. Since 2024 models are trained to reason by
# *reinforcement learning with verifiable rewards* (可验证奖励强化学习, RLVR; @lambert2024tulu): the model writes, a program
# checks the answer, and what led to right answers becomes more probable. What exactly is learnt in this way, and what only
# becomes more frequent?
#
# After this lecture you can derive REINFORCE and its baseline, say what each term of GRPO does, compare methods at equal
# sampled tokens, recognize a reward that is being gamed, and say what is known and what is disputed.
#
# The model of this chapter is a Llama with 100,000 parameters, trained from scratch by the course. It is small enough that
# whole trainings fit into a lecture; what it shows about mechanisms is exact, what it shows about *sizes* of effects is about this
# model.

# %% [markdown] tags=["notes"]
# 75 minutes. This chapter goes beyond the slides of the course, which end in 2023. Derive on the board: the gradient, the
# baseline, the group. Let the room predict before each figure of runs. The live training (reward hacking) takes about a quarter
# of a minute.

# %% tags=["skip"]
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data, interactives, lab, plots, scoring, tables, widgets

lab.start("13_reasoning_rl")
plots.style()
if lab.budget(full=False, quick=True):
    print("COURSE_BUDGET is quick: experiments are small. Do not read conclusions from them.")

# %% [markdown]
# ## From prompting to training
#
# | | who writes the chains? | what is rewarded? | by whom? |
# |---|---|---|---|
# | chain of thought (chapter 8) | the model, when prompted | nothing | |
# | RLHF (chapter 3) | the model | what people prefer | a trained reward model |
# | STaR [@zelikman2022star] | the model; right ones are imitated | the answer | a program |
# | RLVR [@lambert2024tulu], DeepSeek-R1 [@deepseekai2025r1] | the model, by reinforcement learning | the answer | a program |
#
# A *verifiable reward* (可验证奖励) is computed: the number is compared, the unit tests are run, the proof is checked. It
# cannot be flattered as a reward model can (chapter 3), and it costs nearly nothing. Ours looks at the answer only: an *outcome
# reward* (结果奖励). A *process reward* (过程奖励) looks at each step [@lightman2024verify].
#
# **What it cannot see:** whether the steps are right (a right answer may come from a wrong chain, chapter 8), whether the tests
# are complete, whether the problem was a good one. And everything that no program can check: an essay, advice, kindness.

# %% [markdown]
# ### The loop

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(11, 4.2))
PLACES = {"problem": (0, 1), "model": (1.9, 1), "group": (4.6, 1), "verifier": (7.3, 1), "advantages": (7.3, -0.6), "update": (1.9, -0.6)}
TEXTS = {"problem": "problem\n34+8*7?", "model": "model\npolicy π", "group": "group of texts\n+8=42*7=94!94.  !61.  …", "verifier": "verifier\n1, 0, 0, 1",
         "advantages": "advantages\nbetter than the group?", "update": "update\n∇ log π, weighted"}  # fmt: skip
for name, (x, y) in PLACES.items():
    ax.text(x, y, TEXTS[name], ha="center", va="center", fontsize=11,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "black"})  # fmt: skip
HALF = {"problem": 0.6, "model": 0.5, "group": 1.35, "verifier": 0.6, "advantages": 1.05, "update": 0.85}  # widths of boxes
for a, b in (("problem", "model"), ("model", "group"), ("group", "verifier"), ("verifier", "advantages"),
             ("advantages", "update"), ("update", "model")):  # fmt: skip
    (x, y), (u, v) = PLACES[a], PLACES[b]
    side, up = np.sign(u - x), 0.45 * np.sign(v - y)
    ends = (u - side * HALF[b], v - up), (x + side * HALF[a], y + up)
    ax.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "lw": 1.8, "color": plots.COLORS[2]})
ax.set(title="Reinforcement learning with a verifiable reward: no solution is ever shown", xlim=(-0.8, 8.5), ylim=(-1.2, 1.6))
ax.axis("off")
plt.show()

# %% [markdown]
# ## A small world
#
# Chained arithmetic from left to right, each result modulo 100: `34+8*7?` means 34 + 8 = 42, 42 · 7 = 294, and 94 is right. A guess is right with chance 0.01. The base model has seen as many direct answers (`!94.`) as chains
# (`+8=42*7=94!94.`), and its training was stopped early.

# %% tags=["hide-input"]
TOKENS = "0123456789+-*=?!."
END = TOKENS.index(".")


def show(ids):
    return "".join(TOKENS[i] for i in ids)


def draw(count, steps, generator):
    """Questions, int64 (count, 2 steps + 3), and their answers, a list of int."""
    start = torch.randint(0, 100, (count,), generator=generator)
    signs = torch.randint(0, 3, (count, steps), generator=generator)
    numbers = torch.randint(1, 10, (count, steps), generator=generator)
    factors = torch.tensor([3, 7, 9])[torch.randint(0, 3, (count, steps), generator=generator)]
    numbers, have = torch.where(signs == 2, factors, numbers), start
    for s, n in zip(signs.T, numbers.T, strict=True):
        have = torch.where(s == 0, have + n, torch.where(s == 1, have - n, have * n)) % 100
    middle = torch.stack([signs + 10, numbers], 2).flatten(1)
    asked = torch.cat([start[:, None] // 10, start[:, None] % 10, middle, torch.full((count, 1), TOKENS.index("?"))], 1)
    return asked, have.tolist()


def base_model():
    config = LlamaConfig(vocab_size=17, hidden_size=64, intermediate_size=170, num_hidden_layers=2, num_attention_heads=4,
                         tie_word_embeddings=True, max_position_embeddings=128)  # fmt: skip
    model = LlamaForCausalLM(config)
    model.load_state_dict({name: x.float() for name, x in data.checkpoint("reasoning_base").items()}, strict=False)
    model.tie_weights()
    return model

# %% tags=["hide-input"]
@torch.no_grad()
def write(model, asked, group, length, generator):
    """`group` texts for each question, which is read once: tokens, 1 up to END, and the texts."""
    out = model(asked, use_cache=True)
    cache, logits = out.past_key_values, out.logits[:, -1].repeat_interleave(group, 0)
    cache.batch_repeat_interleave(group)
    done, new = torch.zeros(len(logits), dtype=torch.bool), []
    while len(new) < length and not done.all():
        ids = torch.multinomial(logits.softmax(-1), 1, generator=generator)
        ids[done] = END
        new.append(ids)
        done |= ids[:, 0] == END
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
    new = torch.cat(new, 1)
    ends = (new == END).int()
    mask = (ends.cumsum(1) - ends == 0).float()
    return new, mask, [show(row[: int(n)]) for row, n in zip(new.tolist(), mask.sum(1), strict=True)]


def verify(text, answer):
    """The reward: 1 if exactly the answer stands behind the first "!"."""
    return float(text.partition("!")[2] == f"{answer:02d}.")

# %% tags=["hide-input"]
guess = widgets.predict("The base model writes 16 texts about a problem of three steps. How many of them are right, on average?", tolerance=0.25)
guess_2 = widgets.predict("For which share of such problems is at least one of the 16 right?", unit="%")

# %%
base = base_model()
asked, truth = draw(lab.budget(full=60, quick=6), 3, torch.Generator().manual_seed(1))
_, _, texts = write(base, asked, 16, 23, torch.Generator().manual_seed(0))
right = np.array([verify(text, truth[i // 16]) for i, text in enumerate(texts)]).reshape(-1, 16)
for i in range(2):
    print(show(asked[i].tolist()), f"({truth[i]:02d})", *[f"{t}{'✓' if verify(t, truth[i]) else '✗'}" for t in texts[16 * i : 16 * i + 6]])
one, any_of_16 = right.mean(), right.max(1).mean()
print(f"one text is right: {one:.2f}; one of 16 is: {any_of_16:.2f}")

# %% tags=["hide-input"]
guess.reveal(16 * one, why=f"One text is right with a chance of {one:.2f}, and a blind guess with 0.01.")
guess_2.reveal(100 * any_of_16, why=f"If all problems were equally hard, one of 16 would be right in {1 - (1 - one) ** 16:.0%} of them.")

# %% [markdown]
# All methods of this lecture use the gap between these two numbers. The model *can* write right chains, but often it does not. (About half of its texts answer at once; these are hardly ever right.)

# %% [markdown]
# ## One line of methods
#
# | method | tokens are spent | what changes |
# |---|---|---|
# | *self-consistency* (自洽性; @wang2023self): the most frequent answer of N (*majority vote*, 多数投票) | at each use | nothing |
# | *best-of-N* (多选一): a verifier picks | at each use | nothing |
# | *rejection sampling* (拒绝采样; @yuan2023scaling): imitate the right ones, once | in training | the model |
# | STaR [@zelikman2022star]: the same, in rounds (and, in the paper, hints) | in training | the model, and who writes |
# | REINFORCE, GRPO [@shao2024deepseekmath]: after every batch, and away from wrong ones | in training | the model, and who writes |
#
# All of them draw texts (*rollouts*, *completions*) and ask the verifier. So compare them at *equal sampled tokens*. (Best-of-N needs a
# verifier at *use*: unit tests, a proof checker, or a trained reward model. Ours knows the answer, so it can only train: with it,
# best-of-N is pass@N.) First: what is the gradient?

# %% [markdown]
# ## The policy gradient
#
# A question $q$, a text $y$ drawn from the model $\pi_\theta(y \mid q)$, a reward $r(y)$. We want more of
#
# $$J(\theta) = \mathbb{E}_{y \sim \pi_\theta}[r(y)] = \sum_y \pi_\theta(y \mid q)\, r(y)$$
#
# The reward is a program: no gradient goes through it. But it does not depend on $\theta$ either; only the probabilities do. With
# $\nabla \pi = \pi\, \nabla \log \pi$:
#
# $$\nabla J = \sum_y r(y)\, \nabla \pi_\theta(y \mid q) = \sum_y \pi_\theta(y \mid q)\, r(y)\, \nabla \log \pi_\theta(y \mid q)
# = \mathbb{E}_{y \sim \pi_\theta}\big[r(y)\, \nabla \log \pi_\theta(y \mid q)\big]$$
#
# This is an expectation, so drawn texts estimate it without bias: REINFORCE [@williams1992simple]. A text's log-probability is the
# sum over its tokens, $\log \pi_\theta(y \mid q) = \sum_t \log \pi_\theta(y_t \mid q, y_{<t})$.
#
# With rewards of 0 and 1 this is: *train on the right texts as if a teacher had written them*. Rejection sampling is REINFORCE
# without a baseline, if the newest model draws.

# %% [markdown]
# ### A baseline
#
# Subtract from the reward any number $b$ that does not depend on $y$. Nothing changes on average, because
#
# $$\mathbb{E}_{y \sim \pi}\big[b\, \nabla \log \pi(y)\big] = b \sum_y \nabla \pi(y) = b\, \nabla \sum_y \pi(y) = b\, \nabla 1 = 0$$
#
# But the *variance* changes. $r - b$ is the *advantage* (优势): better or worse than expected. Wrong texts now count, too: they
# become less probable. The second moment $\mathbb{E}[(r-b)^2 \lVert\nabla \log \pi\rVert^2]$ is smallest at
#
# $$b^* = \frac{\mathbb{E}\big[r\, \lVert\nabla \log \pi\rVert^2\big]}{\mathbb{E}\big[\lVert\nabla \log \pi\rVert^2\big]}$$
#
# which is the mean reward, *if* the size of the gradient has nothing to do with the reward. The smallest example: two outcomes, right
# with chance $p$, and one parameter, the logit of the right one.

# %% tags=["hide-input"]
guess = widgets.predict(
    "For which p does the mean reward as the baseline, b = p, reduce the variance of the estimate?",
    options=["for p below 1/2", "for p below 2/3", "for p above 1/2", "for every p"],
)

# %% tags=["hide-input"]
def gradients(p, baseline, draws=20_000):
    """Single-text estimates of the gradient with respect to the logit of the right answer."""
    right = np.random.default_rng(0).random(draws) < p
    return (right - baseline) * (right - p)  # d log π(y) / d logit = [y is right] - p


chances, spreads = np.linspace(0.05, 0.95, 19), []
fig, axes = plt.subplots(1, 2, figsize=(12, 4))
for i, (name, baseline) in enumerate((("none", lambda p: 0), ("mean reward, p", lambda p: p), ("best, 1 − p", lambda p: 1 - p))):
    found = [gradients(p, baseline(p)) for p in chances]
    look = {"color": plots.COLORS[i], "marker": plots.MARKERS[i], "linestyle": plots.LINES[i]}
    axes[0].plot(chances, [g.mean() for g in found], label=f"baseline: {name}", **look)
    spreads.append(np.array([g.std() for g in found]))
    axes[1].plot(chances, spreads[-1], **look)
axes[0].set(title="mean of the estimates", xlabel="chance of the right answer, p", ylabel="gradient")
axes[1].set(title="their standard deviation", xlabel="chance of the right answer, p", ylabel="gradient")
axes[0].legend()
plt.show()

# %% tags=["hide-input"]
helps = chances[spreads[1] < spreads[0]]  # where the mean reward is better than no baseline
below = "for every p" if helps.max() > 0.9 else "for p below 2/3" if helps.max() > 0.55 else "for p below 1/2"
guess.reveal(below if helps.min() < 0.1 else "for p above 1/2", why=f"It does at every measured p from {helps.min():.2f} to {helps.max():.2f}.")

# %% [markdown] tags=["subslide"]
# ### When the mean reward helps
#
# Left: the same mean $p(1-p)$, as proved. Right: the mean reward is a good baseline for $p$ below 2/3, and a bad one above, where the
# rare wrong text has both a large gradient and now a large weight. The best one, here $1-p$, leaves no variance at all (with one
# parameter and two outcomes; not in general). So "a baseline reduces the variance" is a rule of thumb, not a theorem. Our problems
# have $p$ mostly below 2/3.

# %% [markdown]
# ## The group as a baseline
#
# What reward should one expect of *this* problem? PPO (chapter 3) trains a second network to say so. GRPO (*group relative
# policy optimization*, 组相对策略优化; @shao2024deepseekmath) draws $G$ texts for the same problem and takes their mean:
#
# $$A_i = r_i - \tfrac{1}{G} \sum_j r_j$$
#
# The mean contains $r_i$ itself, so it is not independent of $y_i$. What does that cost? Write
#
# $$r_i - \bar r = \tfrac{G-1}{G}\Big(r_i - \tfrac{1}{G-1}\sum_{j \ne i} r_j\Big)$$
#
# In brackets the baseline is the mean of the *others*: independent of $y_i$, so unbiased (this estimator is called RLOO;
# @ahmadian2024back). The factor $\tfrac{G-1}{G}$ is the same for all texts: with plain gradient descent a smaller learning rate (at
# $G = 2$ half of it), with Adam no change. (With the division by the standard deviation this is not so.)

# %% tags=["hide-input"]
rng, p = np.random.default_rng(0), 0.3
for size in (2, 4, 8, 16):
    right = (rng.random((100_000, size)) < p).astype(float)
    inside = ((right - right.mean(1, keepdims=True)) * (right - p)).mean()
    others = (right.sum(1, keepdims=True) - right) / (size - 1)
    outside = ((right - others) * (right - p)).mean()
    print(f"G = {size:>2}: own reward in the mean {inside:.4f}, mean of the others {outside:.4f}, ratio {inside / outside:.3f}, (G − 1)/G = {(size - 1) / size:.3f}")
print(f"exact: {p * (1 - p):.4f}")

# %% [markdown]
# ## GRPO, term by term
#
# $$\mathcal{L} = -\frac{1}{G}\sum_{i=1}^{G} \frac{1}{|y_i|} \sum_{t=1}^{|y_i|} \Big\{ \min\big(\rho_{i,t} A_i,\;
# \mathrm{clip}(\rho_{i,t}, 1-\epsilon, 1+\epsilon)\, A_i\big) - \beta\, D_{i,t} \Big\}$$
#
# $$\rho_{i,t} = \frac{\pi_\theta(y_{i,t} \mid \cdot)}{\pi_{\text{old}}(y_{i,t} \mid \cdot)}, \qquad A_i = \frac{r_i - \bar r}{\mathrm{std}(r)}, \qquad
# D_{i,t} = \frac{\pi_{\text{ref}}}{\pi_\theta} - \log \frac{\pi_{\text{ref}}}{\pi_\theta} - 1$$
#
# | term | what for | who leaves it out |
# |---|---|---|
# | ratio $\rho$, *clipping* (裁剪) | a batch is used for several updates; no token gains from going too far | no effect if there is one update per batch |
# | standard deviation | problems that are rarely right, or rarely wrong, count more | Dr. GRPO [@liu2025understanding] |
# | $1/\lvert y_i \rvert$ | a long text counts no more than a short one | Dr. GRPO; DAPO [@yu2025dapo] counts tokens |
# | *KL penalty* (KL 惩罚) $\beta D$ | stay near the base model | DAPO: $\beta = 0$ |
#
# (std: with $n - 1$, plus 1e-4.) At $\theta = \theta_{\text{old}}$ every ratio is 1, and the gradient of the first term is the policy gradient with the group
# baseline, up to the two divisions.

# %% [markdown]
# ### What the two divisions do
#
# In the example above, a problem that is right with chance $p$ contributes, on average, a gradient of size $p(1-p)$. Divided by the
# standard deviation, about $\sqrt{p(1-p)}$ in a *large* group, it contributes $\sqrt{p(1-p)}$.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Without the division: how much does a problem of p = 0.05 count, compared with one of p = 0.5?", unit="%", tolerance=0.15
)
guess_2 = widgets.predict("And with the division, in groups of *eight* texts?", unit="%", tolerance=0.2)

# %% tags=["hide-input"]
p = np.linspace(0.005, 0.995, 200)
fig, axes = plt.subplots(1, 2, figsize=(12, 4))
right, counts = np.arange(1, 8), []  # of a group of eight; all or none right: no advantage
eight = sum(math.comb(8, k) * p**k * (1 - p) ** (8 - k) * math.sqrt(k * (8 - k)) for k in right)
WEIGHTS = {"without std: p (1 − p)": p * (1 - p), "with std, large group: √(p (1 − p))": np.sqrt(p * (1 - p)), "with std, group of 8": eight}
for i, (name, values) in enumerate((name, values / np.interp(0.5, p, values)) for name, values in WEIGHTS.items()):
    axes[0].plot(p, values, color=plots.COLORS[i], linestyle=plots.LINES[i], marker="", label=name)
    counts.append(np.interp(0.05, p, values))
    print(f"{name}: p = 0.05 counts {counts[-1]:.2f} of what p = 0.5 counts")
axes[0].set(title="Weight of a problem (of p = 0.5: 1)", xlabel="chance of a right text, p", ylabel="relative weight")
axes[0].legend(fontsize=10)
lengths = np.arange(4, 41)
for i, (name, values) in enumerate((("own length: 1 / |y|", 1 / lengths), ("constant: 1 / 24", np.full(len(lengths), 1 / 24)))):
    axes[1].plot(lengths, values, color=plots.COLORS[i], linestyle=plots.LINES[i], marker="", label=name)
axes[1].set(title="Weight of each token of a text", xlabel="length of the text (tokens)", ylabel="weight")
axes[1].legend(fontsize=10)
plt.show()

# %% tags=["hide-input"]
guess.reveal(100 * counts[0], why="0.05 · 0.95, divided by 0.5 · 0.5.")
guess_2.reveal(100 * counts[2], why=f"In a large group it is {counts[1]:.0%}; but {0.95**8:.0%} of the groups of eight have no right text.")

# %% [markdown] tags=["subslide"]
# ### Easy and hard, short and long
#
# Left: with the standard deviation, very easy and very hard problems count more (*difficulty bias*), if groups are large. With our groups
# of eight hardly: most groups of so hard a problem are all wrong and teach nothing. Right: with its own length, a
# long *wrong* text is pushed down less per token than a short wrong one, so being wrong at length is cheap (*length bias*);
# a short right text is pulled up more. @liu2025understanding find that this makes wrong answers longer and longer, and that
# without both divisions the accuracy stays, with fewer tokens.

# %% [markdown]
# ### One group, to play with
#
# Eight texts that the base model draws for one problem, with the verifier's rewards and the model's own probabilities. (Of 60
# problems the cell takes the one with the most varied group: right and wrong texts, both with steps and without, all different if
# possible.) You see advantages, weights of the tokens, and one step on the logits of the eight. **Try:** all of them right; only one
# right, and all but one; one right with the division and without; another length.

# %%
asked, truth = draw(60, 2, torch.Generator().manual_seed(1))
new, mask, texts = write(base, asked, 8, 18, torch.Generator().manual_seed(0))
groups = [texts[8 * i : 8 * i + 8] for i in range(60)]
kinds = [{(verify(text, truth[i]), "=" in text) for text in group} for i, group in enumerate(groups)]
which = max(range(60), key=lambda i: (len(kinds[i]), len(set(groups[i]))))
group, rows = groups[which], slice(8 * which, 8 * which + 8)
ids = torch.cat([asked[[which] * 8], new[rows]], 1)
labels = torch.cat([torch.full((8, asked.shape[1]), -100), new[rows].masked_fill(mask[rows] == 0, -100)], 1)  # the text alone counts
with torch.no_grad():
    losses = torch.stack([base(ids[[i]], labels=labels[[i]]).loss for i in range(8)])  # means per token
chances = (-losses * mask[rows].sum(1)).exp()
print(f"{show(asked[which].tolist())} ({truth[which]:02d}): {chances.sum():.0%} of the model's probability lies on these texts.")
interactives.grpo_group(group, rewards=[verify(text, truth[which]) for text in group], probabilities=chances.tolist())

# %% [markdown] tags=["subslide"]
# ### What a group teaches
#
# - All right, or none: nothing. DAPO's *dynamic sampling* (动态采样; @yu2025dapo) draws new problems in place of such groups.
# - A single right text, or a single wrong one: the *odd one out* gets most.
# - Divided by its own length, each token of the short right text gets more than a token of the long right one, and each token of a
#   long wrong text loses less than one of a short wrong text.
# - The step moves the logits of these texts alone. The real model shares its parameters among all texts, so a text can also rise
#   because a similar one does.

# %% [markdown]
# ### What clipping does

# %% tags=["hide-input"]
ratio = np.linspace(0.4, 1.8, 300)
fig, axes = plt.subplots(1, 2, figsize=(12, 3.8))
for ax, gain in zip(axes, (1, -1), strict=True):
    ax.plot(ratio, ratio * gain, color=plots.COLORS[0], linestyle=":", marker="", label="ratio · A")
    ax.plot(ratio, np.minimum(ratio * gain, np.clip(ratio, 0.8, 1.2) * gain), color=plots.COLORS[2], marker="", label="with clipping, ε = 0.2")
    ax.axvline(1, color="grey", linewidth=1, marker="")
    ax.set(title=f"advantage {gain:+d}", xlabel="ratio: probability now / when it was written", ylabel="objective")
axes[0].legend()
plt.show()

# %% [markdown]
# A flat line has no gradient. Beyond 1.2 times its old probability a token of a good text has no gradient *of its own*, and below 0.8 one of
# a bad text. Its probability may go on changing, because other tokens share the parameters: clipping takes an incentive away, it is
# no limit. The other side stays open: what went the wrong way may come back. A rare token (0.01) stops at 0.012, while a frequent one
# (0.9) never meets its limit, 1.08: so a wider upper limit leaves more room for rare tokens. That is DAPO's
# *clip-higher* [@yu2025dapo], meant against the loss of *entropy* (熵).

# %% [markdown]
# ## The runs
#
# The lab's loop, nine methods, 320,000 sampled tokens each, five seeds; each method's learning rate searched with one other seed and other
# problems (without clipping: GRPO's; *SFT, as the base*: best at the largest rate tried). Trained on problems of two to four steps, tested on three and four. Two supervised runs see as many tokens of
# demonstrations: chains by the program (which no other method sees), or more of what the base model was trained on.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of four methods is best by pass@1 (on the test's problems, after 320,000 sampled tokens)?",
    options=["rejection sampling", "STaR", "REINFORCE without a baseline", "GRPO", "the best two cannot be told apart"],
)
guess_2 = widgets.predict(
    "How far ahead of GRPO is supervised training on the program's chains, with as many tokens?", unit="percentage points", tolerance=0.3
)

# %% tags=["subslide", "hide-input"]
runs = tables.load("reasoning_runs")
untrained = runs["method"].str.startswith("base")
trained, raw = runs[~untrained], runs[untrained]  # of the base model the column "rate" has the temperature
controls = tables.load("reasoning_controls").drop(columns="method").rename(columns={"control": "method"})
trained = pd.concat([trained, controls])
last = trained[trained["tokens"] == trained.groupby(["method", "seed"])["tokens"].transform("max")]


def curve(ax, method, what, i):
    part = trained[trained["method"] == method].assign(place=lambda t: t.groupby("seed").cumcount())
    means = part.groupby("place")[["tokens", what]].mean()
    ax.plot(means["tokens"] / 1000, means[what], color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i], label=method)
    ax.plot(part["tokens"] / 1000, part[what], color=plots.COLORS[i], linestyle="", marker=".", alpha=0.4)


fig, axes = plt.subplots(1, 2, figsize=(13.5, 4.8), sharey=True)
for ax, names in zip(axes, (("rejection sampling", "STaR", "REINFORCE, no baseline", "REINFORCE, batch baseline", "GRPO"),
                            ("SFT, chains", "SFT, as the base", "GRPO", "GRPO, no std", "Dr. GRPO", "GRPO, KL")), strict=True):  # fmt: skip
    for i, name in enumerate(names):
        curve(ax, name, "pass_1", i)
    cold = raw[(raw["method"] == "base") & (raw["rate"] == 0.1)]["pass_1"].iloc[0]
    ax.axhline(cold, color="grey", linestyle=":", marker="", label="base, temperature 0.1")
    ax.set(title="pass@1, three and four steps (points: seeds)", xlabel="tokens (thousand)", ylim=(0.1, 0.85))
    ax.legend(fontsize=9, loc="upper left", ncols=2)
axes[0].set_ylabel("share of right texts")
plt.show()

# %% tags=["subslide", "hide-input"]
def ahead(first, second, what="pass_1"):
    """The paired difference of two methods over the seeds that both have, with its interval."""
    a, b = (last[last["method"] == method].set_index("seed")[what] for method in (first, second))
    both = a.index.intersection(b.index)
    return scoring.paired(a[both], b[both])


def verdict(gain, low, high):
    """A difference and what it says."""
    return f"{gain:+.3f} [{low:+.3f}, {high:+.3f}] {'first' if low > 0 else 'second' if high < 0 else 'cannot tell'}"


PAIRS = [("STaR", "rejection sampling"), ("rejection sampling, repeats kept", "rejection sampling"),
         ("STaR, repeats kept", "rejection sampling, repeats kept"), ("GRPO", "STaR"), ("GRPO", "STaR, rate 0.0001"),
         ("GRPO", "STaR, repeats kept"), ("GRPO", "REINFORCE, no baseline"), ("GRPO", "REINFORCE, batch baseline"),
         ("GRPO", "GRPO, no std"), ("GRPO, no std", "Dr. GRPO"), ("GRPO", "GRPO, KL"), ("GRPO", "GRPO, no clipping"),
         ("GRPO, 16 updates", "GRPO, 16 updates, no clipping"), ("GRPO", "paid for a step"), ("GRPO", "SFT, as the base"),
         ("SFT, chains", "GRPO")]  # fmt: skip
pd.DataFrame(
    [(*pair, verdict(*ahead(*pair)), verdict(*ahead(*pair, "validation"))) for pair in PAIRS],
    columns=["first method", "second method", "first − second: the test's problems", "the 192 problems of the validation"],
)

# %% tags=["hide-input"]
four = ["rejection sampling", "STaR", "REINFORCE, no baseline", "GRPO"]
best, next_best = last[last["method"].isin(four)].groupby("method")["pass_1"].mean().sort_values(ascending=False).index[:2]
gain, low, high = ahead(best, next_best)
guess.reveal(
    {0: "rejection sampling", 1: "STaR", 2: "REINFORCE without a baseline", 3: "GRPO"}[four.index(best)] if low > 0
    else "the best two cannot be told apart",
    why=f"Highest are {best} and {next_best}; their difference is {gain:+.3f} [{low:+.3f}, {high:+.3f}].",
)
gain, low, high = ahead("SFT, chains", "GRPO")
guess_2.reveal(100 * gain, why=f"The 95 % interval over the seeds goes from {100 * low:.0f} to {100 * high:.0f}.")

# %% [markdown]
# ### What the table says
#
# Where an interval contains 0, we cannot tell. (Sixteen comparisons: one or two that exclude 0 on one set of problems only
# are to be expected; do not build on them.)
#
# - *What is imitated* matters. Leaving repeated texts out looks like good hygiene, and costs much: a right chain is nearly always the *same*
#   text, so it is the chains that get thinned out. With repeats kept, rejection sampling gains five points, and STaR reaches GRPO.
# - *Who writes* matters: rounds (the newest model writes) are above the base model's texts. More of the same training is not the cause: *SFT,
#   as the base* is far below.
# - *Which policy gradient* does not show here: baseline or none, standard deviation or none, length or constant, KL penalty or none: on the
#   larger set of problems every interval contains 0. With a group of eight and one kind of problem there is little for these terms to do; at
#   large scale they are reported to matter [@yu2025dapo; @liu2025understanding]. Clipping has nothing to do if each text is used once in four
#   updates. With sixteen, 1 to 2 % of the tokens leave 0.8 … 1.2, and we cannot tell either.
# - *Paid for a step*, right or wrong, nearly all texts have steps, and right answers hardly rise: the answer's reward teaches more than to begin.
# - *A demonstration carries more information than a reward of 0 or 1*: the program's chains teach most.

# %% [markdown]
# ### What changes inside?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(13.5, 4))
for ax, (what, title, unit) in zip(axes, (("chains", "texts with steps", "share of texts"), ("length", "length", "tokens per text"),
                                          ("entropy", "entropy", "nats per token")), strict=True):  # fmt: skip
    for i, name in enumerate(("GRPO", "Dr. GRPO", "GRPO, KL", "STaR", "SFT, as the base")):
        curve(ax, name, what, i)
    ax.set(title=title, xlabel="tokens (thousand)", ylabel=unit)
begun = raw[(raw["method"] == "base, chain begun") & (raw["rate"] == 1)]["entropy"].iloc[0]
axes[2].axhline(begun, color="grey", linestyle=":", marker="", label="base, chain begun")
axes[2].set_ylim(0.08, 0.6)
axes[2].legend(fontsize=9, loc="upper right")
plt.show()

# %% [markdown]
# The model learns to *begin with a step*: from half of the texts to nearly all. The length grows with it and then stays. The entropy falls to
# less than half. Most of that is the new habit: the *untrained* model with its chain begun is already at the dotted line. Only what lies below
# it can be tokens that became surer.

# %% [markdown]
# ### The baseline that a practitioner would try first
#
# Nothing is trained: give the base model the question *and the first sign of the chain*, so that it cannot answer at once. It is
# "Let's think step by step" (chapter 8) for this small world.

# %% tags=["hide-input"]
guess = widgets.predict(
    "How much of GRPO's gain in pass@1 over the base model does it bring? (At temperature 1; 100 % is all of it.)", unit="%", tolerance=0.15
)

# %% tags=["hide-input"]
problems = tables.load("reasoning_problems")
SIZES = [1, 2, 4, 8, 16, 32, 64]


def pass_at(right, k, n=64):
    return np.array([1 - math.comb(n - c, k) / math.comb(n, k) for c in right])


rows = []
for (method, temperature), part in problems.groupby(["method", "temperature"]):
    if method in ("base", "base, chain begun", "GRPO"):
        shares = [f"{pass_at(part['right'], k).mean():.2f}" for k in (1, 4, 16, 64)]
        rows.append([method, temperature, *shares, f"{part['tokens'].mean():.0f}"])
columns = ["model (GRPO: five seeds)", "sampled at temperature", "pass@1", "pass@4", "pass@16", "pass@64", "tokens per text"]
pd.DataFrame(rows, columns=columns)

# %% tags=["hide-input"]
warm = problems[problems["temperature"] == 1].groupby("method")["right"].mean() / 64  # pass@1
share = (warm["base, chain begun"] - warm["base"]) / (warm["GRPO"] - warm["base"])
guess.reveal(100 * share, why=f"pass@1: {warm['base']:.2f} without, {warm['base, chain begun']:.2f} with the first sign, {warm['GRPO']:.2f} after GRPO.")

# %% [markdown]
# At each temperature compare the rows. With one text, GRPO and the base model whose chain is begun are close; with more texts the latter is ahead.
# So most of what 320,000 sampled tokens bought, one token in the prompt buys, too: a prompt was turned into parameters. But not *only* the
# habit was learnt: paid for steps alone, the model writes steps that are wrong.

# %% [markdown]
# ### A control: a coin's rewards
#
# @shao2025spurious: *random* rewards raised Qwen2.5-Math-7B on MATH-500 nearly as much as right ones.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Our model is trained by GRPO with random rewards, for 100,000 sampled tokens. What happens to pass@1?",
    options=["it rises", "no change that can be seen", "it falls"],
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 3.8))
for i, name in enumerate(("GRPO", "random rewards")):
    part = trained[(trained["method"] == name) & (trained["tokens"] < 120_000)]
    means = part.assign(place=part.groupby("seed").cumcount()).groupby("place")[["tokens", "pass_1"]].mean()
    label = f"{name} ({part['seed'].nunique()} seeds)"
    ax.plot(means["tokens"] / 1000, means["pass_1"], color=plots.COLORS[i], linestyle=plots.LINES[i], marker="", label=label)
    ax.plot(part["tokens"] / 1000, part["pass_1"], color=plots.COLORS[i], linestyle="", marker=plots.MARKERS[i], alpha=0.6)
ax.set(title="pass@1, three and four steps (points: seeds)", xlabel="sampled tokens (thousand)", ylabel="share of right texts", ylim=(0, 0.6))
ax.legend()
plt.show()

# %% tags=["hide-input"]
coin = trained[trained["method"] == "random rewards"].groupby("seed")["pass_1"]
gain, low, high = scoring.paired(coin.last(), coin.first())
guess.reveal(
    "it rises" if low > 0 else "it falls" if high < 0 else "no change that can be seen",
    why=f"The change is {gain:+.3f} [{low:+.3f}, {high:+.3f}], over five seeds.",
)

# %% [markdown]
# It falls a little, with all five seeds. So here it is the content of the reward that teaches. @shao2025spurious explain their gain by the
# clipping term; with one use of each text it hardly acts here, so this run does not contradict them. @wu2025reasoning find on generated
# arithmetic, as here, that only right rewards help steadily.

# %% [markdown]
# ## Sharper, or able to do more?
#
# *Pass@k* (k次通过率): the chance that one of $k$ texts is right, estimated without bias from $n$ texts with $c$ right ones
# [@chen2021evaluating]: $1 - \binom{n-c}{k} / \binom{n}{k}$.
#
# @yue2025does: after RLVR, models of several families are better at $k = 1$; with $k$ in the tens or hundreds the *base* model
# catches up and passes them. Their reading: the training makes frequent what the base model could already do.

# %% tags=["hide-input"]
guess = widgets.predict(
    "In our world, at temperature 1: at which k is the base model's pass@k first as high as GRPO's?",
    options=["k = 2 or 4", "k = 8 or 16", "k = 32 or 64", "not up to k = 64"],
)

# %% tags=["subslide", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(13.5, 4.6), sharey=True)
for i, (method, part) in enumerate(problems[problems["temperature"] == 1].groupby("method", sort=False)):
    look = {"color": plots.COLORS[i], "linestyle": plots.LINES[i], "marker": plots.MARKERS[i], "label": method}
    shares = np.array([[pass_at(seed["right"], k).mean() for k in SIZES] for _, seed in part.groupby("seed")])
    axes[0].plot(SIZES, shares.mean(0), **look)
    axes[0].plot(SIZES, shares.T, color=plots.COLORS[i], linestyle="", marker=".", alpha=0.5)
    axes[1].plot(np.array(SIZES) * part["tokens"].mean(), [part[f"vote_{k}"].mean() for k in SIZES], **look)
axes[0].set(title="a right one among k (points: seeds)", xlabel="k", ylabel="share of 96 problems", xscale="log")
axes[0].set_xticks(SIZES, [str(k) for k in SIZES])
axes[0].minorticks_off()
axes[1].set(title="the most frequent answer of 1, 2, 4 … 64 texts", xlabel="tokens per problem", xscale="log")
axes[0].legend()
plt.show()

# %% tags=["hide-input"]
def shares_of(method, temperature, k):
    """pass@k of each of the 96 problems, the mean over the seeds."""
    part = problems[(problems["method"] == method) & (problems["temperature"] == temperature)]
    return np.mean([pass_at(seed["right"], k) for _, seed in part.groupby("seed")], axis=0)


rows = []
for first, second in ((("GRPO", 1), ("base", 1)), (("GRPO", 1), ("base, chain begun", 1)), (("GRPO", 1.5), ("base", 1)),
                      (("GRPO", 0.1), ("base", 0.1)), (("GRPO", 0.1), ("base, chain begun", 0.1)), (("STaR", 1), ("base", 1)),
                      (("SFT, chains", 1), ("base", 1))):  # fmt: skip
    gains = [verdict(*scoring.paired(shares_of(*first, k), shares_of(*second, k))) for k in (1, 16, 64)]
    rows.append(["{} ({})".format(*first), "{} ({})".format(*second), *gains])
pd.DataFrame(rows, columns=["first (temperature)", "second (temperature)", "first − second, k = 1", "k = 16", "k = 64"])

# %% tags=["hide-input"]
lead = [shares_of("GRPO", 1, k).mean() - shares_of("base", 1, k).mean() for k in SIZES]
first_k = next((k for k, gain in zip(SIZES, lead, strict=True) if gain <= 0), 128)
guess.reveal(
    "not up to k = 64" if first_k > 64 else "k = 32 or 64" if first_k > 16 else "k = 8 or 16" if first_k > 4 else "k = 2 or 4",
    why=f"GRPO's lead goes from {lead[0]:+.2f} at k = 1 to {lead[4]:+.2f} at 16 and {lead[-1]:+.2f} at 64.",
)

# %% [markdown] tags=["subslide"]
# ### What the curves say
#
# At temperature 1 GRPO is far ahead of the base model with one text; the lead shrinks; with 64 texts the *base model* is ahead, as
# @yue2025does report for large models. At temperature 0.1 it is the same, earlier. So the crossing is not a matter of one temperature. But
# sampled warmer, at 1.5, GRPO's model gives up a part of its pass@1 and has most of the variety back: *compare curves, not points*. The
# program's chains *add* something that the base model's texts do not contain: ahead at 1 and 16 (at 64 all are near 1).
# Right: a vote of the base model with enough texts reaches GRPO's single text.

# %% [markdown]
# ### Test-time compute
#
# The right picture above is a curve of *test-time compute* (测试时计算): what do more tokens buy at each use? A training spends its
# tokens once, a vote at every question. @snell2024scaling find for large models that samples chosen by a trained verifier, and revisions,
# can at equal FLOPs replace a model 14 times larger, on problems that the small model sometimes solves. DeepSeek-R1-Zero [@deepseekai2025r1] on AIME
# 2024: one text 71.0 %, a vote of 64: 86.7 % (arXiv v1): the vote still adds to a trained model.
#
# When does a training pay? Count only tokens that are sampled:

# %% tags=["hide-input"]
def asked(method, temperature):
    return problems[(problems["method"] == method) & (problems["temperature"] == temperature)]


mine, spent = asked("GRPO", 1.0), last[last["method"] == "GRPO"]["tokens"].mean()
goal, each = mine["vote_1"].mean(), mine["tokens"].mean()
lines = [f"One text of GRPO: {goal:.2f} right, {each:.0f} tokens; its training sampled {spent:,.0f}. The same without training:\n"]
for method, temperature in (("base", 1.0), ("base, chain begun", 1.0), ("base, chain begun", 0.1)):
    part = asked(method, temperature)
    enough = next((k for k in SIZES if part[f"vote_{k}"].mean() >= goal), None)
    name = f"- *{method}*, temperature {temperature:g}: "
    if enough is None:
        lines.append(name + "no vote of up to 64 texts reaches it.")
        continue
    saved = enough * part["tokens"].mean() - each
    after = f"the training pays after {spent / saved:,.0f} questions" if saved > 0 else "the training never pays"
    lines.append(name + f"a vote of {enough} ({enough * part['tokens'].mean():.0f} tokens) reaches it: {after}.")
Markdown("\n".join(lines))

# %% [markdown]
# ## "Show your work": a reward for steps, live
#
# Half of the reward is for the right answer, the other half for steps, 0.05 for each equation, up to ten; there is room for some 24
# more tokens than a chain needs. Before you run it: what will the texts look like?

# %% tags=["hide-input"]
guess = widgets.predict(
    "Over 300,000 sampled tokens the reward rises and rises. What happens to the share of right answers?",
    options=["it rises with the reward", "it rises first, and falls later", "it falls from the start", "it does not clearly change"],
)

# %%
def pays_for_steps(text, answer):
    return 0.5 * verify(text, answer) + 0.05 * min(10, text.count("="))


def grpo(model, reward, batches, seed=0, rate=3e-4, spare=24):
    """The whole method: 32 problems, 8 texts each, four updates per batch; yields the texts and what was paid."""
    generator, optimizer = torch.Generator().manual_seed(seed), torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for batch in range(batches):
        steps = 2 + batch % 3
        asked, truth = draw(32, steps, generator)
        new, mask, texts = write(model, asked, 8, 5 * steps + 4 + spare, generator)
        rewards = torch.tensor([reward(text, truth[i // 8]) for i, text in enumerate(texts)]).view(32, 8)
        gain = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()
        ids = torch.cat([asked.repeat_interleave(8, 0), new], 1)
        for part in torch.randperm(256, generator=generator).chunk(4):
            logits = model(ids[part, :-1]).logits[:, asked.shape[1] - 1 :].flatten(0, 1)
            weight = gain[part, None] * mask[part] / mask[part].sum(1, keepdim=True) / len(part)
            loss = (F.cross_entropy(logits, new[part].flatten(), reduction="none") * weight.flatten()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield texts, float(rewards.mean()), np.mean([verify(text, truth[i // 8]) for i, text in enumerate(texts)])

# %% tags=["hide-input"]
gamed = base_model()
for batch, (texts, paid, right) in enumerate(grpo(gamed, pays_for_steps, lab.budget(full=27, quick=2))):
    if batch % 6 == 1:
        print(f"batch {batch:>2}: paid {paid:.2f}, right {right:.2f}, {np.mean([t.count('=') for t in texts]):.1f} equations   {texts[0]}")

# %% [markdown]
# (The loss is the cross-entropy that trains a language model, each token weighted by the advantage of its text. In this short
# form there is no ratio: with four small updates per batch it hardly leaves 1.) Three seeds, longer, and the
# control that is paid for right answers only:

# %% tags=["subslide", "hide-input"]
hacks = tables.load("reasoning_hacking")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
for ax, (reward, part) in zip(axes, hacks.groupby("reward", sort=False), strict=True):
    part = part.assign(place=part.groupby("seed").cumcount())
    for i, (what, label) in enumerate((("paid", "what pays_for_steps pays"), ("right", "share of right answers"))):
        means = part.groupby("place")[["tokens", what]].mean()
        ax.plot(means["tokens"] / 1000, means[what], color=plots.COLORS[i], linestyle=plots.LINES[i], marker=plots.MARKERS[i], label=label)
        ax.plot(part["tokens"] / 1000, part[what], color=plots.COLORS[i], linestyle="", marker=".", alpha=0.5)
    ax.set(title=f"trained for {reward} (points: seeds)", xlabel="sampled tokens (thousand)", ylabel="reward, or share of texts")
axes[0].legend(fontsize=10)
plt.show()
one_seed = hacks[(hacks["reward"] == "pays_for_steps") & (hacks["seed"] == 1)]
for row in one_seed.itertuples():
    print(f"{row.tokens:>8,} tokens  {row.text_0}")

# %% tags=["hide-input"]
steps_paid = hacks[hacks["reward"] == "pays_for_steps"].groupby("seed")["right"]
early, late = scoring.paired(steps_paid.nth(2), steps_paid.nth(0)), scoring.paired(steps_paid.nth(5), steps_paid.nth(2))
after_rise = "it rises first, and falls later" if late[2] < 0 else "it rises with the reward"
guess.reveal(
    after_rise if early[1] > 0 else "it falls from the start" if early[2] < 0 else "it does not clearly change",
    why=f"Three seeds, up to 50,000 tokens: {early[0]:+.2f} ({early[1]:+.2f} to {early[2]:+.2f}); then {late[0]:+.2f} ({late[1]:+.2f} to {late[2]:+.2f}).",
)

# %% [markdown] tags=["subslide"]
# ### The cheapest text
#
# Steps help at first. Then the reward rises on, and the right answers fall back to where the base model was. The texts
# show why: the program counts the sign "=", and the model writes rows of it. It followed the reward as it was *written*. Plot what you
# want beside what you pay.
#
# DeepSeek's recipe in one line: R1-Zero is reinforcement learning alone; R1 begins with a few long chains, then rewards for answer, format and
# language, then rejection sampling and SFT on 800,000 samples, then reinforcement learning again.
#
# A reward gamed in the large: OpenAI's models, trained on programming tasks with unit tests as the reward, learnt to leave the program before the
# tests ran, or to rewrite the check; they said so in their chains, and when the chains were punished for saying so, they went on
# and no longer said it [@baker2025monitoring].

# %% [markdown]
# ## Hand it on: distillation
#
# *Distillation* (蒸馏) of chains: a trained model writes, the right texts are kept, a smaller model imitates them. It is plain
# supervised training, and in the report of DeepSeek-R1 [@deepseekai2025r1, arXiv v1] it beat reinforcement learning on the same
# base model, Qwen2.5-32B, by far (AIME 2024, one text):
#
# | trained by | right (%) |
# |---|---|
# | reinforcement learning on the model itself (R1-Zero-Qwen-32B) | 47.0 |
# | about 800,000 curated samples, three quarters of them reasoning (R1-Distill-Qwen-32B) | 72.6 |
#
# A fair reading needs the compute of the *teacher*, which the second row does not count. In our runs the program's chains are
# a perfect teacher: at equal tokens they teach more than any reward. (A student of a model that GRPO has trained is an open
# question of the lab.)

# %% [markdown]
# ## Known, and disputed
#
# | claim | for | against, or limits |
# |---|---|---|
# | RLVR makes frequent what the base model can do already | @yue2025does: base models win at large $k$, in all families tested | @liu2025prorl: with longer training, a KL penalty and resets of the reference, also tasks at which the base model fails however often it tries |
# | Long chains and "aha" moments come from the training | @deepseekai2025r1: length grows over the training | @liu2025understanding: such texts are in base models before; a part of the length is the length bias |
# | The reward must be right | this chapter's gamed reward | @shao2025spurious: random rewards raised Qwen2.5-Math-7B on MATH-500 by 21.4 points, right ones by 29.1; with other families often no gain. A part may be memorized test problems [@wu2025reasoning] |
# | The details of GRPO decide | @yu2025dapo: 30 points with plain GRPO, 50 with four changes (AIME 2024, Qwen2.5-32B) | @yue2025does: six methods differ little at large $k$ |
# | Distillation adds ability, RLVR does not | @yue2025does | @kim2025reinforcement conjecture: only where it brings new knowledge |
#
# A lesson for reading such papers: **one family of models is one item.** Ask for several base models, for several seeds, and for
# pass@k beside pass@1.

# %% [markdown]
# ## What to take home
#
# - A verifiable reward needs no people and no reward model, and sees only what its program checks.
# - REINFORCE: reward times $\nabla \log \pi$. A baseline changes the variance, not the mean. GRPO takes the group's mean.
# - Ratio and clip: reuse of a batch. Standard deviation: which problems count. Length: which tokens count. KL: how far.
# - In our small world most of the gain was a habit, which a prompt buys too. At equal temperature the base model was ahead at pass@64.
# - Imitation with repeated texts kept did as well as GRPO: look at what a filter throws away.
# - Write down what the reward pays for, and then look for the cheapest text that earns it. The training will.
#
# **Ask yourself:** a team reports that their new method raises pass@1 by five points over GRPO, with one base model and one run.
# Which three numbers do you ask for?

# %% [markdown]
# ## Quiz
#
# Nine questions on the whole lecture. Nothing is graded or stored, and each choice is explained.

# %% tags=["hide-input"]
two_of_eight = np.array([1.0, 1, 0, 0, 0, 0, 0, 0])
widgets.quiz([
    dict(question="A verifier is a program, and no gradient goes through it. Why can we train with its reward all the same?", options={
        "A program has a gradient nearly everywhere.": "Its reward jumps between 0 and 1: where there is a gradient, it is 0 and teaches nothing.",
        "The reward is a number: it only weighs ∇ log π.": "Yes: only the probabilities of the texts depend on the parameters. So the reward may come from anywhere, even from people.",
        "A reward model learns to imitate the program, and the gradient goes through that model.": "RLHF trains a reward model, but takes no gradient through it either: REINFORCE and PPO need only its number.",
    }, answer="The reward is a number: it only weighs ∇ log π."),
    dict(question="In a group of eight, two texts are right. Which advantage does GRPO (with the standard deviation, n - 1) give to each of the two?",
         answer=(1 - two_of_eight.mean()) / two_of_eight.std(ddof=1), tolerance=0.03, why="0.75, divided by the standard deviation 0.46."),
    dict(question="Someone takes a baseline that grows with the text: b = 0.01 times its number of tokens. What happens?", options={
        "On average nothing, as with every baseline.": "The proof takes b out of the sum over texts. It may depend on the question, but not on the text.",
        "Only the variance changes, and it may rise.": "The mean of the gradient changes too, as b depends on y.",
        "Long texts are preferred.": "The other way round: a long text must earn more reward to have the same advantage.",
        "The model is also trained to write short texts.": "Yes: it is the gradient of r - 0.01 · length, another reward.",
    }, answer="The model is also trained to write short texts."),
    dict(question="A text about a problem is right with chance 0.05. How many percent of the groups of eight texts give no signal at all?",
         answer=100 * (0.95**8 + 0.05**8), unit="%", tolerance=0.05, why="All wrong or all right: then every advantage is 0."),
    dict(question="Each batch is used for one update, with all of its texts together. What does clipping do?", options={
        "Nothing: every ratio is 1.": "Yes: the model is still the one that wrote the texts, and the plain policy gradient remains.",
        "It limits how far probabilities move in that step.": "The learning rate does. Clipping looks at the ratio *before* the step, and that is 1.",
        "It takes the gradient away from rare tokens.": "A rare token meets its limit after a small absolute change, but only when a batch is used again.",
        "It keeps the model near the base model.": "That is the KL penalty's task. The ratio is to the model that wrote the batch.",
    }, answer="Nothing: every ratio is 1."),
    dict(question="Method A draws eight texts per problem, method B two. After as many updates with as many problems A is better. What do you need to compare the methods?", options={
        "Nothing else: both had as many updates.": "A's updates used four times as many texts. Sampling is what costs most here.",
        "The same learning rate for both.": "Each needs its own best rate, searched with the same effort. One rate for both may favour either.",
        "The same curves over sampled tokens.": "Yes, and with several seeds: at equal tokens B has had four times as many updates.",
        "A larger test.": "It would make the intervals narrower, but leaves A with four times the budget.",
    }, answer="The same curves over sampled tokens."),
    dict(question="After RLVR pass@1 has risen from 0.20 to 0.40, and pass@64 has fallen from 0.95 to 0.90, both clearly. What does this say?", options={
        "One of the two must be wrong: if more texts are right, more problems must have a right one among 64.": "pass@1 is a mean over problems. It rises if easy ones become safe, while hard ones are solved less often.",
        "The model can no longer solve one problem in twenty.": "Less often than in 64 texts is not never; and it may be solved at another temperature.",
        "The base model is the better one.": "With one text it is right half as often. Which is better depends on how many texts you can check.",
        "One text is right more often on average, but for more problems than before all 64 are wrong.": "Yes: texts have become more alike. What one draw gains, many draws lose in variety.",
    }, answer="One text is right more often on average, but for more problems than before all 64 are wrong."),
    dict(question="A training has sampled 300,000 tokens. Its model answers with one text of 20 tokens as well as the base model by a vote of 8 texts of 13 tokens. After how many questions has it paid?",
         answer=300_000 / (8 * 13 - 20), unit="questions", tolerance=0.05, why="Each question saves 8 · 13 - 20 tokens. (Only sampled tokens are counted.)"),
    dict(question="A model for programming gets 1 if the hidden tests pass, plus 0.1 for each test of its own that passes. Where does a long training lead?", options={
        "To many tests that check nothing.": "Yes: a test that always passes is the cheapest text that earns the 0.1.",
        "To better programs, as tests are verifiable.": "What is verified is that they pass, not that they test anything.",
        "To few tests, as they cost tokens.": "Nothing is paid for short texts. Each test earns, up to the limit of length.",
        "To no change: 0.1 is small beside 1.": "Twenty tests earn more than the right program, and are easier to write.",
    }, answer="To many tests that check nothing."),
])

# %% [markdown]
# ## Further reading
#
# - [@deepseekai2025r1]
# - [@shao2024deepseekmath]: GRPO
# - [@williams1992simple]: REINFORCE
# - [@zelikman2022star]: STaR
# - [@yuan2023scaling]: rejection sampling
# - [@ahmadian2024back]: RLOO
# - [@wang2023self]: self-consistency
# - [@lambert2024tulu]: the name RLVR
# - [@liu2025understanding]: Dr. GRPO
# - [@yu2025dapo]: DAPO
# - [@chen2021evaluating]: pass@k
# - [@lightman2024verify]: rewards for steps
# - [@yue2025does]
# - [@liu2025prorl]
# - [@kim2025reinforcement]
# - [@shao2025spurious]
# - [@wu2025reasoning]
# - [@baker2025monitoring]
# - [@snell2024scaling]
