# %% [markdown]
# # 11 · LoRA
#
# **Making a large model small, part two: a small change instead of a large copy** (大模型的低秩微调)
#
# Fine-tuning GPT-3 for one task makes 350 GB of new parameters. The next task makes 350 GB more. How much of
# that is really new?
#
# After this lecture you can write down what a *low-rank adapter* (低秩适配器) computes, say why $B$ is initialized with zero and what $\alpha/r$ is
# for, count its memory for any model, choose the matrices it goes to, and serve many tasks from one base.

# %% [markdown] tags=["notes"]
# 60 minutes. Give time to the two predictions that surprise: where the gradient is at the first step, and whether rank 64 beats
# rank 1. The live runs adapt the last two layers of the course model, one seed each: demonstrations, no evidence. The lab
# repeats them with three seeds. The slide prints 1.5 T for full fine-tuning (the paper: 1.2 TB) and calls `lora_alpha=1`
# usual; its script for bloomz-560m is shown near the end, with what today's libraries answer.

# %% tags=["skip"]
import copy
import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import transformers
from matplotlib.patches import Rectangle
from torch import nn

from course_utils import data, errors, hardware, interactives, lab, load_model, plots, scoring, tables, weights, widgets
from course_utils import registry as models
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model  # after course_utils, which keeps bitsandbytes' log quiet

from peft.tuners.lora import LoraLayer

lab.start("11_lora")
plots.style()

# %% [markdown]
# ## The price of a copy
#
# *Full fine-tuning* (全量微调) trains and stores every parameter, for each task again. LoRA trains only a few [@hu2022lora].

# %% tags=["hide-input"]
memory = tables.load("lora_gpt3_memory").set_index("name")
few = memory["trained_million"].iloc[1] / memory["trained_million"].iloc[0]
guess = widgets.predict(
    f"Full fine-tuning of GPT-3 175B takes {memory['training_memory_gb'].iloc[0] / 1000:.1f} TB of memory. LoRA trains {few:.2%} as many "
    "parameters. How much memory does its training take?",
    unit="GB", tolerance=0.2,
)  # fmt: skip

# %% tags=["hide-input"]
shown = pd.DataFrame(
    {
        "trainable parameters": memory["trained_million"].map("{:,.1f} million".format),
        "memory while training": (memory["training_memory_gb"] / 1000).map("{:.2f} TB".format),
        "on widely copied slides": memory["copied_training_memory"],
        "checkpoint": (memory["checkpoint_mb"] / 1000).map("{:g} GB".format),
        "100 tasks": [f"{100 * memory['checkpoint_mb'].iloc[0] / 1e6:.0f} TB", f"{(350_000 + 100 * 35) / 1000:.1f} GB with the base"],
    }
)
shown.style

# %% tags=["hide-input"]
guess.reveal(memory["training_memory_gb"].iloc[1], why="All parameters of GPT-3 are still in memory, frozen; the next slide counts their bytes.")

# %% [markdown]
# The paper gives 1.2 TB for full fine-tuning; some slides print 1.5 T. The other figures agree.

# %% [markdown]
# ### Check the sums
#
# GPT-3: 96 layers, width 12,288. Rank 4 beside W_q and W_v:

# %% tags=["nbval-check-output"]
layers, width, r = 96, 12_288, 4
trained = layers * 2 * r * (width + width)  # two matrices a layer; A is r × width, B is width × r
print(f"{trained:,} parameters: {trained / 175_255.8e6:.4%}, in float16 {2 * trained / 1e6:.1f} MB (the paper: roughly 35 MB)")
for what, total in (("full", 1200), ("LoRA", 350)):
    print(f"{what}: {total} GB is {total / 175.2558:.1f} bytes per parameter")

# %% [markdown]
# LoRA's 350 GB are the float16 weights alone: 2 bytes each. Full fine-tuning adds gradients and Adam's averages for every
# parameter. (Adam in mixed precision usually takes 16 bytes per parameter [@rajbhandari2020zero]; the paper does not say how
# it came by fewer. Each plot below says what it counts: 16, or 8 if everything is in bf16, Adam's averages too.)

# %% [markdown]
# ## Must the change be large?
#
# A model has far more parameters than a task has examples. How many *directions* does a task need?
#
# @aghajanyan2021intrinsic train only $d$ numbers, spread over all parameters by a fixed random projection. The smallest $d$ that
# reaches 90 % of full fine-tuning is the *intrinsic dimension* (内在维度) of a task:
#
# - RoBERTa on MRPC (are two sentences paraphrases?): **200** numbers.
# - After pre-training it is lower, and in larger models lower still.
#
# So perhaps the change of each matrix, $\Delta W$, is nearly of *low rank* (低秩).

# %% tags=["hide-input", "skip"]
model, tokenizer = load_model(precision="fp32")
model.requires_grad_(False)
core, TOP = model.model, 2


def through(core, layers, h):
    """Hidden states after some layers. Padding on the right is not seen by what is before it."""
    places = torch.arange(h.shape[1], device=h.device)[None]
    turns = core.rotary_emb(h, places)
    for layer in layers:
        h = layer(h, position_embeddings=turns, position_ids=places, attention_mask=None)
    return h


class Task:
    """Prompts, read once by all layers of a model but the last two; the label is the index of the right option."""

    def __init__(self, model, tokenizer, pairs, options, train, test, longest=13):
        self.core, self.train = model.model, train
        rows = [(tokenizer(text)["input_ids"], label) for text, label in pairs]
        rows = [row for row in rows if len(row[0]) <= longest][: train + test]
        self.ids = nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids, _ in rows], batch_first=True).to(model.device)
        self.last = torch.tensor([len(ids) - 1 for ids, _ in rows], device=model.device)
        self.labels = torch.tensor([label for _, label in rows], device=model.device)
        begun = len(tokenizer(pairs[0][0])["input_ids"])
        words = [tokenizer(pairs[0][0] + option)["input_ids"][begun] for option in options]
        self.head = model.lm_head.weight[words].detach()
        with torch.no_grad():
            self.states = through(self.core, self.core.layers[:-TOP], self.core.embed_tokens(self.ids))

    def logits(self, layers, rows):
        h = through(self.core, layers, self.states[rows])[torch.arange(len(rows)), self.last[rows]]
        return (self.core.norm(h) @ self.head.T).float()

    @torch.no_grad()
    def accuracy(self, layers):
        rows = torch.arange(self.train, len(self.ids))
        return float((self.logits(layers, rows).argmax(1) == self.labels[rows]).float().mean())


def fit(layers, task, rate, passes=3, size=12):
    """AdamW on what is trainable; returns the loss of each step."""
    optimizer = torch.optim.AdamW([p for p in layers.parameters() if p.requires_grad], lr=rate, weight_decay=0.0)
    g, losses = torch.Generator().manual_seed(0), []
    order = torch.cat([torch.randperm(task.train, generator=g) for _ in range(passes)]).split(size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 4) * (1 - s / len(order)))
    for rows in order:
        loss = F.cross_entropy(task.logits(layers, rows), task.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


reviews = [row for row in data.movie_sentences().shuffle(seed=0) if abs(row["score"]) >= 1]
moods = [(row["text"] + "\nIt was", int(row["score"] > 0)) for row in reviews]
mood = Task(model, tokenizer, moods, [" bad", " good"], *lab.budget(full=(96, 120), quick=(12, 8)))

# %% [markdown]
# ### Look at a true change
#
# Film reviews, " good" or " bad"? We train *all* 7 million parameters of the last two layers, and look at the *singular values*
# (奇异值) of what was added to a matrix.

# %% tags=["hide-input"]
guess = widgets.predict("How many of the 192 directions of a *random* 192 × 576 matrix hold 90 % of its squares?", tolerance=0.15)
guess_2 = widgets.predict("And how many of the 192 directions of the *change* of the matrix W_v, which has the same shape?", tolerance=0.5)

# %%
before = core.layers[-TOP:]
full = copy.deepcopy(before).requires_grad_(True)
fit(full, mood, rate=5e-4)
print(f"accuracy {mood.accuracy(before):.2f} before, {mood.accuracy(full):.2f} after")
curves = {"random": torch.randn(192, 576, generator=torch.Generator().manual_seed(0))}
for name in ("v_proj", "o_proj", "q_proj"):
    new, old = (layers[1].self_attn.get_submodule(name).weight.detach() for layers in (full, before))
    curves[name] = (new - old).cpu()
LABELS = {"random": "random, 192 × 576", "v_proj": "change of v_proj", "o_proj": "change of o_proj", "q_proj": "change of q_proj"}
most = {}
for name, matrix in curves.items():
    squares = torch.linalg.svdvals(matrix).square()
    most[name] = int((squares.cumsum(0) < 0.9 * squares.sum()).sum()) + 1
    print(f"{LABELS[name]:<18} {most[name]:>3} of {len(squares)} directions hold 90 % of the squares")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.4))
for i, (name, matrix) in enumerate(curves.items()):
    squares = torch.linalg.svdvals(matrix).square()
    share = (squares.cumsum(0) / squares.sum()).numpy()
    style = {"linestyle": plots.LINES[(i + 3) % 4], "color": "grey" if i == 0 else plots.COLORS[i]}
    ax.plot(np.arange(1, len(share) + 1), share, marker="", label=LABELS[name], **style)
ax.axvline(8, color="grey", linewidth=1)
ax.set(title="How much of a change lies in its first directions", xlabel="directions kept", ylabel="share of the squares", xscale="log")
ax.legend()
plt.show()

# %% tags=["hide-input"]
guess.reveal(most["random"], why="No direction of a random matrix stands out, so it takes most of them.")
guess_2.reveal(most["v_proj"], why=f"The change of W_q needs {most['q_proj']}, that of W_o {most['o_proj']}, of 576 each.")

# %% [markdown] tags=["subslide"]
# ### A caution
#
# Compare the printed numbers: a few directions hold most of a true change, a random matrix needs most of its directions. But this
# task can hardly show anything else. It has two labels and one position with a loss, so the gradients of all examples point in few
# directions. Lab 11 runs the control: the same sentences with the loss of one middle token, and of every next token.

# %% [markdown]
# ### How much does a low rank keep?
#
# **Try:** which rank keeps nine tenths of the squares of each change, and which one does the random matrix need? How much memory is left?

# %%
interactives.lora({name: curves[name] for name in reversed(curves)})

# %% [markdown]
# ## The idea
#
# $$h = Wx + \frac{\alpha}{r} B A x, \qquad A \in \mathbb{R}^{r \times k},\; B \in \mathbb{R}^{d \times r},\; r \ll \min(d, k)$$
#
# $W$ is *frozen* (冻结). Instead of $dk$ numbers, $r(d + k)$ are trained.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(10, 3.4))
boxes = (
    (0.6, 0.2, 2.4, 2.4, "W  (d × k)\nfrozen", 0), (4.2, 0.2, 0.45, 2.4, "B\nd × r", 1), (5.0, 2.15, 2.4, 0.45, "A  (r × k)", 2),
    (8.6, 0.2, 2.4, 2.4, "BA  (d × k)\nrank at most r", 3),
)  # fmt: skip
for x, y, wide, high, text, i in boxes:
    ax.add_patch(Rectangle((x, y), wide, high, facecolor="white", edgecolor=plots.COLORS[i], hatch=["", "//", "//", ".."][i], linewidth=2))
    ax.text(x + wide / 2, y + high / 2, text, ha="center", va="center", fontsize=13, backgroundcolor="white")
for x, sign in ((3.6, "+"), (8.0, "=")):
    ax.text(x, 1.4, sign, fontsize=22, ha="center", va="center")
ax.set(xlim=(0.3, 11.3), ylim=(0, 2.8), aspect="equal", title="Two thin matrices make a large one of low rank")
ax.axis("off")
plt.show()

# %% [markdown]
# ### In two lines

# %%
def adapted_layer(x, W, A, B, alpha):
    change = F.linear(F.linear(x, A), B)  # first A, then B
    return F.linear(x, W) + alpha / len(A) * change


W, x = before[0].self_attn.v_proj.weight, torch.randn(3, 576, device=model.device)  # three tokens
A, B = torch.randn(4, 576, device=model.device) * 576**-0.5, torch.zeros(192, 4, device=model.device)
print("B is zero: is the output that of W alone?", torch.equal(adapted_layer(x, W, A, B, alpha=16), F.linear(x, W)))

# %% [markdown]
# The order matters: $B(Ax)$ costs $r(d + k)$ multiplications, $(BA)x$ would cost $dk$ and the making of $BA$. You write the layer in lab 11;
# here PEFT's is used.

# %% [markdown]
# ## Why is B initialized with zero?
#
# The loss $\ell$ sends a gradient $g = \partial \ell / \partial h$ back. For the two matrices it is
#
# $$\frac{\partial \ell}{\partial B} = \frac{\alpha}{r}\, g\,(Ax)^\top, \qquad
# \frac{\partial \ell}{\partial A} = \frac{\alpha}{r}\, B^\top g\, x^\top$$
#
# Three initializations: $A$ Gaussian and $B$ zero; both zero; both Gaussian.

# %% tags=["hide-input"]
guess = widgets.predict("A Gaussian, B zero: which of the two has a gradient other than zero at the first step?", options=["A", "B", "both", "neither"])
guess_2 = widgets.predict("And if both are zero?", options=["A alone", "B alone", "both of them", "neither"])

# %% tags=["skip"]
def adapted(names=("q_proj", "v_proj"), r=4, alpha=16, seed=0):
    """The last two layers, with PEFT's LoRA beside some matrices: A Gaussian, B zero."""
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=list(names))
    layers = inject_adapter_in_model(config, copy.deepcopy(before))
    torch.manual_seed(seed)
    for A, _, _ in each_lora(layers):
        A.data.copy_(torch.randn(A.shape) * A.shape[1] ** -0.5)
    return layers


def each_lora(layers):
    """(A, B, PEFT's layer) of each adapted matrix."""
    found = [module for module in layers.modules() if isinstance(module, LoraLayer)]
    return [(module.lora_A["default"].weight, module.lora_B["default"].weight, module) for module in found]

# %% [markdown]
# ### Three initializations, live

# %%
runs, learning, first = [], [], torch.arange(12, device=model.device)
for name, a, b in (("A Gaussian, B zero", 1, 0), ("both zero", 0, 0), ("both Gaussian", 1, 0.5)):
    layers = adapted()
    for A, B, _ in each_lora(layers):
        A.data.mul_(a)
        nn.init.normal_(B, std=b)
    F.cross_entropy(mood.logits(layers, first), mood.labels[first]).backward()
    learning.append([letter for i, letter in enumerate("AB") if any(found[i].grad.any() for found in each_lora(layers))])
    runs.append((name, fit(layers, mood, rate=1e-2)))
    print(f"{name:<20} first gradient of {learning[-1]}, first loss {runs[-1][1][0]:.2f}, accuracy after training {mood.accuracy(layers):.2f}")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.2))
for i, (name, losses) in enumerate(runs):
    ax.plot(pd.Series(losses).rolling(3, min_periods=1).mean(), marker="", linestyle=plots.LINES[i], color=plots.COLORS[i], label=name)
ax.set(title="Where A and B begin", xlabel="step", ylabel="loss (nats, mean of three steps)")
ax.legend()
plt.show()

# %% tags=["hide-input"]
number = [("A" in letters) + 2 * ("B" in letters) for letters in learning]
guess.reveal(["neither", "A", "B", "both"][number[0]], why="The gradient of A has the factor B, which is zero.")
guess_2.reveal(["neither", "A alone", "B alone", "both of them"][number[1]], why="Each gradient has the other matrix as a factor.")

# %% [markdown]
# ### What each initialization does
#
# - **B zero:** at the start the model is what it was. After the first step $B$ is not zero any more, and $A$ gets a gradient too.
# - **Both zero:** a saddle point. Without a gradient nothing ever changes.
# - **Both Gaussian:** the first output is the model plus noise, which is not what one wants from a good model. (Look at its first loss above:
#   on an easy task noise may even lower it. One seed: of the accuracies after training we cannot tell whether the initialization is the
#   reason.)
#
# $A$ zero and $B$ Gaussian would work as well as the first. PEFT draws $A$ from a uniform distribution (Kaiming) unless told
# `init_lora_weights="gaussian"`.

# %% [markdown]
# ## What α/r is for
#
# $BA x$ is a sum of $r$ terms. With more of them, each step changes the output more. One Adam step moves every entry of $B$ by
# the learning rate.

# %% tags=["hide-input"]
guess = widgets.predict("After one Adam step, without any factor: how many times as large is the change BAx at rank 256 as at rank 1?", tolerance=0.25)

# %%
generator, steps = torch.Generator().manual_seed(0), {}
for r in (1, 2, 4, 8, 16, 64, 256):
    sizes = []
    for _ in range(50):
        x, g = torch.randn(2, 576, generator=generator)  # an input, and the gradient of the output
        A = torch.randn(r, 576, generator=generator) * 576**-0.5
        B = -0.01 * torch.sign(torch.outer(g, A @ x))  # Adam's first step, learning rate 0.01
        sizes.append(float((B @ (A @ x)).norm()))
    steps[r] = {"BA": np.mean(sizes), "α/√r · BA": np.mean(sizes) / r**0.5, "α/r · BA": np.mean(sizes) / r}

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4))
for i, (name, values) in enumerate(pd.DataFrame(steps).T.items()):
    ax.plot(values.index, values / values.iloc[0], marker=plots.MARKERS[i], linestyle=plots.LINES[i], color=plots.COLORS[i], label=name)
ax.set(title="Size of the change after one Adam step", xlabel="rank r", ylabel="relative to rank 1 (mean of 50 draws)", xscale="log", yscale="log")
ax.set_xticks(list(steps), list(steps))
ax.minorticks_off()
ax.legend()
plt.show()

# %% tags=["hide-input"]
guess.reveal(steps[256]["BA"] / steps[1]["BA"], why="Each of the r terms moves the output in the same direction, so they add up.")

# %% [markdown]
# The change $BA$ itself grows in proportion to $r$; divided by $r$ it keeps its size, divided by $\sqrt r$ it still grows.

# %% [markdown]
# ### Is α usually 1?
#
# With $\alpha/r$ a change of rank is meant to need no new learning rate. @kalajdzievski2023rank: over a whole training it is too careful
# at high ranks; with $\alpha/\sqrt r$ (*rsLoRA*) they pay off.
#
# Some slides say that `lora_alpha` is "usually set to 1". The paper sets α to the first r that it tries, and leaves it; PEFT's own
# setting is 8 for r = 8. With Adam, α = 1 at r = 4 trains slowly if the learning rate stays the same (lab, section 5).

# %% [markdown]
# ## Where to put it?
#
# Same budget, 18 million trainable parameters of GPT-3 [@hu2022lora, table 5]: one kind of matrix with rank 8, two with 4, four with 2.

# %% tags=["hide-input"]
budget = tables.load("lora_budget_targets")
guess = widgets.predict("Which choice of matrices has the highest accuracy, in the mean of two tasks?", options=list(budget["targets"]))

# %% tags=["hide-input"]
budget["label"] = budget["targets"] + "\nr = " + budget["rank"].astype(str)
fig, axes = plt.subplots(1, 2, figsize=(12, 4))
for ax, column, noise, name in ((axes[0], "wikisql_accuracy_percent", 0.5, "WikiSQL"), (axes[1], "mnli_accuracy_percent", 0.1, "MultiNLI")):
    ax.errorbar(range(len(budget)), budget[column], noise, fmt="o", capsize=4, color="black")
    ax.set_xticks(range(len(budget)), budget["label"], fontsize=10)
    ax.set(title=f"{name} (± {noise}, the paper's fluctuation)", xlabel="matrices and rank", ylabel="accuracy (%)")
plt.show()

# %% tags=["hide-input"]
both = budget.set_index("targets")[["wikisql_accuracy_percent", "mnli_accuracy_percent"]].mean(axis=1).sort_values(ascending=False)
guess.reveal(both.index[0], why=f"{both.iloc[0]:.1f} % in the mean; the next is {both.index[1]} with {both.iloc[1]:.1f} %.")

# %% [markdown]
# All four matrices with rank 2 are at the top in both tasks; on WikiSQL q or k alone are at the bottom. But it is not the *number* of
# matrices alone: on WikiSQL v or o alone (rank 8) beat q and k together (rank 4) by more than the paper's fluctuation. The
# paper stops at the attention's matrices *for simplicity*, and many texts take that as a rule. @dettmers2023qlora find that
# LoRA on **all** linear layers is needed to match full fine-tuning.

# %% [markdown]
# ### Which rank?
#
# Ranks and matrices on GPT-3 [@hu2022lora, table 6]: three choices of matrices, two tasks.

# %% tags=["hide-input"]
guess = widgets.predict(
    "By how many points is rank 64 more accurate than rank 1, in the mean of the three choices and two tasks?",
    options=["10 or more", "3 to 10", "1 to 3", "below 1"],
)

# %% tags=["hide-input"]
ranks = tables.load("lora_rank_targets")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.4))
for ax, (name, part) in zip(axes, ranks.groupby("data", sort=False), strict=True):
    for i, (label, rows) in enumerate(part.groupby("targets", sort=False)):
        style = {"marker": plots.MARKERS[i], "linestyle": plots.LINES[i], "color": plots.COLORS[i], "capsize": 3}
        ax.errorbar(rows["rank"], rows["accuracy_percent"], rows["fluctuation_percent"], label=f"W: {label}", **style)
    ax.set(title=f"GPT-3 175B, {name}", xlabel="rank r", ylabel="accuracy (%)", xscale="log")
    ax.set_xticks([1, 2, 4, 8, 64], [1, 2, 4, 8, 64])
    ax.minorticks_off()
axes[0].legend(loc="center right")
plt.show()

# %% tags=["hide-input"]
ends = ranks.pivot_table(index=["data", "targets"], columns="rank", values="accuracy_percent")
gains = ends[64] - ends[1]
guess.reveal(
    "below 1" if gains.mean() < 1 else "1 to 3" if gains.mean() < 3 else "3 to 10" if gains.mean() < 10 else "10 or more",
    why=f"{gains.mean():+.1f} points, from {gains.min():+.1f} to {gains.max():+.1f}.",
)

# %% [markdown]
# No line rises steadily with the rank. (On MultiNLI the ranks differ by more than the fluctuation, but up and down.)
# Adding W_v to W_q gains more than 64 times the rank. The authors warn: a small $r$ may not be enough for every task;
# a new *language*, say, could well need full fine-tuning.

# %% [markdown]
# ### How many parameters is that?
#
# Llama 2 7B, LoRA on q and v, the base in bf16.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of these two changes the memory of LoRA's training more?", options=["adapters of rank 64 instead of rank 8", "a base in NF4 instead of bf16"]
)

# %% tags=["skip"]
def linear_shapes(name):
    """{own name of the matrices: (inputs, outputs, how many)} and the number of all parameters of a model."""
    if name == "GPT-3 175B":
        d = 12_288
        square = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), (d, d, 96))
        return {**square, "up_proj": (d, 4 * d, 96), "down_proj": (4 * d, d, 96)}, 175_255_800_000
    with torch.device("meta"):
        skeleton = transformers.AutoModelForCausalLM.from_config(models.resolve(name)[1])
    shapes = {}
    for path, module in skeleton.named_modules():
        if isinstance(module, nn.Linear) and path != "lm_head":
            own = path.split(".")[-1]
            shapes[own] = (module.in_features, module.out_features, shapes.get(own, (0, 0, 0))[2] + 1)
    return shapes, sum(p.numel() for p in skeleton.parameters())


SHAPES = {name: linear_shapes(name) for name in ("course", "tinyllama", "llama-2-7b", "GPT-3 175B")}
MATRICES = {"q": "q", "q v": "qv", "q k v o": "qkvo", "all linear": "qkvogud"}
BYTES = {"fp32": 4, "bf16": 2, "int8": 1, "nf4": 4.5 / 8}  # nf4: a float32 scale for every 64 weights
FULL = {"mixed precision": (2, 2, 12), "all bf16": (2, 2, 4), "all fp32": (4, 4, 8)}  # weights, gradients, Adam: bytes per parameter


def trainable(name, matrices, rank):
    shapes, _ = SHAPES[name]
    return sum(n * rank * (k + d) for own, (k, d, n) in shapes.items() if own[0] in MATRICES[matrices])

# %% tags=["hide-input"]
def budget_of(name="llama-2-7b", matrices="q v", rank=8, base="bf16", full_fine_tuning="mixed precision"):
    total, trained = SHAPES[name][1], trainable(name, matrices, rank)
    full = np.array(FULL[full_fine_tuning]) * total / 1e9
    low = np.array([BYTES[base] * total + 4 * trained, 4 * trained, 8 * trained]) / 1e9
    fig, ax = plt.subplots(figsize=(9, 4))
    for i, part in enumerate(("weights", "gradients", "Adam's averages (mixed: and float32 weights)")):
        left = [full[:i].sum(), low[:i].sum()]
        ax.barh(["full", "LoRA"], [full[i], low[i]], left=left, color="white", edgecolor=plots.COLORS[i], hatch=plots.HATCHES[i], label=part)
    for gpu in tables.load("gpus").drop_duplicates("memory_gb").itertuples():
        if gpu.memory_gb < 1.1 * full.sum():
            ax.axvline(gpu.memory_gb, color="grey", linestyle="--", linewidth=1)
    ax.set(title=f"{name}: {trained / 1e6:,.1f} million trained ({trained / total:.3%})", xlabel="GB while training, without activations (dashed: memory of common cards)", ylabel="")
    ax.set_ylabel("fine-tuning")
    ax.legend(loc="upper right")
    print(f"adapter on disk: {4 * trained / 1e6:,.1f} MB in float32; full copy: {full[0]:,.1f} GB")
    print(f"full fine-tuning: {full.sum():,.0f} GB, {sum(FULL[full_fine_tuning])} bytes per parameter; LoRA: {low.sum():,.1f} GB")


widgets.explorer(
    budget_of, name=list(SHAPES), matrices=list(MATRICES), rank=(1, 256, 1), base=list(BYTES), full_fine_tuning=list(FULL),
    start={"name": "llama-2-7b", "matrices": "q v", "rank": 8, "base": "bf16"},
    grid={"name": ["course", "llama-2-7b"], "matrices": ["q v", "all linear"], "rank": [1, 8, 64, 256], "base": ["bf16", "nf4"],
          "full_fine_tuning": ["mixed precision"]},
)

# %% tags=["hide-input"]
more = 16 * (trainable("llama-2-7b", "q v", 64) - trainable("llama-2-7b", "q v", 8)) / 1e9
less = (BYTES["bf16"] - BYTES["nf4"]) * SHAPES["llama-2-7b"][1] / 1e9
guess.reveal(
    "adapters of rank 64 instead of rank 8" if more > less else "a base in NF4 instead of bf16",
    why=f"{more:.1f} GB more against {less:.1f} GB less: the adapter is small beside the base. What LoRA removes are gradients and Adam's averages.",
)

# %% [markdown]
# ## Merge at inference
#
# $W' = W + \frac{\alpha}{r}BA$, once, and the adapter is gone (*merge*, 合并). Rank 8 beside all matrices of the course model:

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
torch.manual_seed(0)
beside = get_peft_model(copy.deepcopy(model), config).eval()
merged = copy.deepcopy(beside).merge_and_unload()
ids = tokenizer("What a strange and lovely film this is, and how few will see it.", return_tensors="pt").to(model.device)
with torch.inference_mode():
    a, b, c = (m(**ids).logits for m in (model, beside, merged))
print(f"the adapter moves the logits by {float((b - a).abs().max()):.1f}; merging it moves them by {float((c - b).abs().max()):.0e}")

# %% [markdown]
# ### Does it cost time?

# %%
def milliseconds(m):
    started = time.perf_counter()
    m(**ids).logits[0, -1].argmax().item()  # a number: so it waits until the number is there
    return 1000 * (time.perf_counter() - started)


spent = [[], [], []]
with torch.inference_mode():
    for _ in range(lab.budget(full=13, quick=3)):  # in turns, so that a slow second of the machine hits all three
        for times, m in zip(spent, (model, beside, merged), strict=True):
            times.append(milliseconds(m))
for name, times in zip(("base", "LoRA beside", "LoRA merged"), spent, strict=True):
    print(f"{name:<12} {np.median(times[1:]):.0f} ms for {ids['input_ids'].shape[1]} tokens")

# %% [markdown]
# *Adapters* (适配器) of the older kind are layers of their own between the model's layers, and cannot be merged: on GPT-2 medium, one text of 128 tokens,
# they cost 21 to 30 % more time [@hu2022lora, table 1].

# %% [markdown]
# ### What merging costs
#
# - One task at a time: in one batch, all rows have the same weights.
# - **Precision.** A small change added to a 16-bit weight may fall between two of its values; the smaller the change, the more
#   of it is lost:

# %%
layers = adapted()
fit(layers, mood, rate=1e-2)
for (A, B, module), name in zip(each_lora(layers), ("q, layer 28", "v, layer 28", "q, layer 29", "v, layer 29"), strict=True):
    W, change = module.base_layer.weight, (module.scaling["default"] * B @ A).detach()
    kept = (W.bfloat16() + change.bfloat16()).float() - W.bfloat16().float()
    print(f"W_{name}: change {change.norm() / W.norm():.0%} of W; error after merging in bf16 {(kept - change).norm() / change.norm():.1%} of it")

# %% [markdown]
# ## LoRA against the others
#
# *BitFit* trains biases [@benzaken2022bitfit], *prefixes* (前缀) trained vectors before the text [@li2021prefix], *adapters*
# small layers in between [@houlsby2019parameter]. GPT-3 175B [@hu2022lora, table 4]:

# %% tags=["hide-input"]
methods = tables.load("lora_methods")
kinds = {"full": "full fine-tuning", "bias": "BitFit", "prefix": "prefixes", "adapter": "adapters", "lora": "LoRA"}
fig, axes = plt.subplots(1, 3, figsize=(13, 4.2))
panels = {"wikisql_accuracy_percent": ("WikiSQL", "accuracy (%)", 0.5), "mnli_accuracy_percent": ("MultiNLI", "accuracy (%)", 0.1)}
panels["samsum_rougel"] = ("SAMSum", "ROUGE-L", 0.1)
for ax, (column, (name, unit, noise)) in zip(axes, panels.items(), strict=True):
    for i, (kind, label) in enumerate(kinds.items()):
        part = methods[methods["kind"] == kind]
        ax.errorbar(part["trained_million"], part[column], noise, fmt=plots.MARKERS[i], color=plots.COLORS[i], capsize=3, markersize=9, label=label)
    ax.set(title=name, xlabel="trainable parameters (million)", ylabel=unit, xscale="log")
axes[0].legend(fontsize=11, loc="lower right")
plt.show()

# %% [markdown]
# ### Read it with its noise

# %% tags=["hide-input"]
columns = {"name": "method", "trained_million": "trained (million)", "wikisql_accuracy_percent": "WikiSQL (± 0.5)"}
columns |= {"mnli_accuracy_percent": "MultiNLI (± 0.1)", "samsum_rouge1": "R-1 (± 0.2)", "samsum_rouge2": "R-2 (± 0.2)", "samsum_rougel": "R-L (± 0.1)"}
methods[list(columns)].rename(columns=columns).set_index("method").style.format("{:,.1f}")

# %% [markdown]
# On WikiSQL, LoRA (74.0) and full fine-tuning (73.8) differ by less than the fluctuation; on MultiNLI and SAMSum LoRA is ahead by
# many times it. One model, one team, three tasks.

# %% [markdown]
# ## QLoRA: the frozen base in 4 bits
#
# A frozen weight needs no gradient, so it need not be a float [@dettmers2023qlora]:
#
# $$h = \text{dequantize}(W_{\text{NF4}})\,x + \tfrac{\alpha}{r} BAx$$
#
# - *NF4* (chapter 10): 16 levels at quantiles of the normal distribution; blocks of 64 with one scale each.
# - **Double quantization** (双重量化): the scales in 8 bits too: 0.5 → 0.127 bits per weight.
# - **Paged optimizer** (分页优化器): Adam's averages move to the CPU's memory when the card is full.
#
# 65 billion parameters: from more than 780 GB to less than 48 GB, on one card.

# %% tags=["nbval-check-output"]
saved = 32 / 64 - (8 / 64 + 32 / (64 * 256))
print(f"scales: {32 / 64} bits per weight, doubly quantized {8 / 64 + 32 / (64 * 256):.3f}; for 65 billion parameters {saved * 65e9 / 8 / 1e9:.1f} GB less")

# %% [markdown]
# ### Does it fit Colab's card?

# %% tags=["hide-input"]
ways = (("full", "bf16"), ("lora", "bf16"), ("lora", "int8"), ("lora", "nf4"))
plans = {f"{how}, {p}": hardware.plan("llama-2-7b", p, batch=1, context=512, training=how) for how, p in ways}
fig, ax = plt.subplots(figsize=(9, 4.2))
bottom = np.zeros(len(plans))
parts = {"weights": "weights", "scales": "scales", "gradients": "gradients", "optimizer": "optimizer", "activations": "activations"}
for i, (part, label) in enumerate(parts.items()):
    values = np.array([getattr(plan, part) / 1e9 for plan in plans.values()])
    ax.bar(list(plans), values, 0.55, bottom=bottom, color="white", edgecolor=plots.COLORS[i], hatch=plots.HATCHES[i], label=label)
    bottom += values
ax.axhline(16, color="grey", linestyle="--")
ax.text(3.4, 16.8, "T4", ha="right")
ax.set(title="Llama 2 7B, one text of 512 tokens", xlabel="fine-tuning, precision of the base", ylabel="GB")
ax.legend()
plt.show()
print({name: f"{plan.total / 1e9:.1f} GB" for name, plan in plans.items()})
print("counted: full in bf16, Adam's averages too, 8 bytes per parameter (mixed precision takes 16); LoRA's matrices in float32, 16 bytes each number")

# %% [markdown]
# ### The same on a larger base, in 8 bits
#
# Our first experiment once more, with the base in int8. It runs where there is a CUDA GPU, and says otherwise what it needs.

# %% tags=["hide-input"]
LARGER = "qwen2.5-1.5b"  # 1.5 billion parameters


def before_and_after(model, tokenizer):
    """Accuracy on moods, untrained and with LoRA on queries and values of the last two layers."""
    task = Task(model, tokenizer, moods, [" bad", " good"], *lab.budget(full=(96, 120), quick=(12, 8)), longest=20)
    untrained, last = task.accuracy(task.core.layers[-TOP:]), range(len(task.core.layers) - TOP, len(task.core.layers))
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"], layers_to_transform=list(last))
    layers = get_peft_model(model, config).base_model.model.model.layers[-TOP:]
    fit(layers, task, rate=1e-2)
    return untrained, task.accuracy(layers)


need = hardware.plan(LARGER, "int8", batch=12, context=32, training="lora")
if hardware.fits(need, "cuda"):
    try:
        accuracies = before_and_after(*load_model(LARGER, precision="int8"))
        print("{} in int8: accuracy {:.2f} before, {:.2f} after".format(LARGER, *accuracies))
    except errors.DownloadError as error:
        print(str(error).splitlines()[0])
else:
    print(f"{LARGER} in int8, with LoRA, needs a CUDA GPU with {need.total / 1e9:.1f} GB free, which this machine does not have.")

# %% [markdown]
# ## Many adapters, one base
#
# The base is loaded once; each task is a small folder (部署时只需一个主干模型). A second task: does a question ask for a
# person, a number, a date or a place?

# %% tags=["skip"]
KINDS = {"Humans.": " person", "Quantity.": " number", "Date.": " date", "Location.": " place"}
questions = [
    (row["input"].split("(Answer")[0].removeprefix("Question: ").strip() + "\nThe answer is a", list(KINDS).index(row["targets"][0]))
    for row in data.bigbench("natural_instructions/subtask046_miscellaenous_question_typing").shuffle(seed=0)
    if len(row["targets"]) == 1 and row["targets"][0] in KINDS
]
sort = Task(model, tokenizer, questions, list(KINDS.values()), *lab.budget(full=(96, 100), quick=(12, 8)), longest=15)


def as_peft(layers, name, served):
    """Copy trained matrices into PEFT's adapter of that name."""
    for i, layer in enumerate(layers):
        for own in ("q_proj", "v_proj"):
            place = served.base_model.model.model.layers[i - TOP].self_attn.get_submodule(own)
            learnt = layer.self_attn.get_submodule(own)
            place.lora_A[name].weight.data.copy_(learnt.lora_A["default"].weight)
            place.lora_B[name].weight.data.copy_(learnt.lora_B["default"].weight)

# %%
trained = {"mood": layers, "sort": adapted()}
fit(trained["sort"], sort, rate=1e-2)
last_two = list(range(len(core.layers) - TOP, len(core.layers)))
config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"], layers_to_transform=last_two, task_type="CAUSAL_LM")
served = get_peft_model(copy.deepcopy(model), config, adapter_name="mood")
served.add_adapter("sort", config)
for name, own in trained.items():
    as_peft(own, name, served)
top = served.base_model.model.model.layers[-TOP:]
for name in trained:
    served.set_adapter(name)  # a switch: no weight of the base moves
    print(f"adapter {name}: moods {mood.accuracy(top):.2f}, question types {sort.accuracy(top):.2f}")

# %% [markdown]
# ### Even in one batch
#
# Not merged, each row of a batch may have its own adapter. S-LoRA [@sheng2024slora] serves thousands so.

# %%
prompts = ["What a waste of two hours.\nIt was", "Who wrote the book?\nThe answer is a", "What a waste of two hours.\nIt was"]
rows = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
with torch.inference_mode():
    logits = served.eval()(**rows, adapter_names=["mood", "sort", "__base__"]).logits[:, -1]
words = [" good", " bad", " person", " number", " date", " place"]
chances = logits[:, [tokenizer(word)["input_ids"][0] for word in words]].softmax(-1).cpu()  # among these six words
pd.DataFrame(chances, columns=words, index=["mood", "sort", "no adapter"]).rename_axis("adapter of the row").style.format("{:.2f}")

# %% tags=["hide-input"]
with tempfile.TemporaryDirectory() as folder:
    served.save_pretrained(folder)
    again = PeftModel.from_pretrained(copy.deepcopy(model), f"{folder}/sort")
    size = sum(p.numel() * p.element_size() for name, p in again.named_parameters() if "lora_" in name)
base_size = sum(p.numel() * p.element_size() for p in model.parameters())
print(f"one adapter {size / 1e3:.0f} kB, the base {base_size / 1e6:.0f} MB: {base_size / size:,.0f} to 1")

# %% [markdown]
# ## What LoRA does not do
#
# - **It learns less and forgets less** [@biderman2024lora]: on code and mathematics low-rank LoRA is worse than full
#   fine-tuning, and keeps more of what the base could do. The true updates there had ranks 10 to 100 times those in use.
#   That compares the methods as they were trained. Lab 11 compares them at *equal accuracy*, on our small model, and there the second
#   half fails for one of two adapters (they differ in matrices and in rank): forgetting is a question to measure in your own case.
# - **It learns differently** [@shuttleworth2025lora]: merged weights hold large new singular directions, *intruder
#   dimensions*, where full fine-tuning has none.
# - **It spares few activations.** The gradient goes through all layers: with LLaMA 7B at batch size 1, 567 MB
#   for the gradients of LoRA's inputs, 26 MB for the adapter; 18 MB per sequence if activations are computed twice (*gradient
#   checkpointing*; @dettmers2023qlora).

# %% [markdown]
# ## At scale: PEFT's own comparison
#
# Llama 3.2 3B on 20,000 problems of MetaMathQA, tested on GSM8K (1,319 problems), one run each, on one card of 48 GB
# [@peft2026comparison]. *Forgetting* is there how much the loss on a sample of Wikipedia has changed: lower is better.

# %% tags=["hide-input"]
guess = widgets.predict("How much of full fine-tuning's peak memory does LoRA with rank 32 on q and v take?", unit="%", tolerance=0.15)
guess_2 = widgets.predict(
    "About 9 million trainable parameters: rank 32 on q and v, or rank 10 on the MLP. Which is more accurate?",
    options=["rank 32 on q and v", "rank 10 on the matrices of the MLP", "the 95 % intervals overlap"],
)

# %% tags=["hide-input"]
scale = tables.load("lora_at_scale")
share, low, high = zip(*(scoring.proportion(round(a * 1319), 1319) for a in scale["gsm8k_accuracy"]), strict=True)
scale["GSM8K (95 %)"] = [f"{s:.3f} [{lo:.3f}, {hi:.3f}]" for s, lo, hi in zip(share, low, high, strict=True)]
scale["peak memory (GB)"] = scale["peak_memory_bytes"] / 1e9
scale["minutes"], scale["million"] = scale["train_seconds"] / 60, scale["trained"] / 1e6
scale["learning rate"] = scale["learning_rate"].map("{:g}".format)
columns = ["name", "million", "learning rate", "GSM8K (95 %)", "forgetting", "peak memory (GB)", "minutes"]
scale[columns].style.format({"million": "{:,.1f}", "forgetting": "{:.2f}", "peak memory (GB)": "{:.1f}", "minutes": "{:.0f}"}).hide()

# %% tags=["hide-input"]
peaks = dict(zip(scale["name"], scale["peak memory (GB)"], strict=True))
guess.reveal(100 * peaks["LoRA, r = 32 on q v"] / peaks["full fine-tuning"], why="The weights stay, and so do the activations of the batch.")
row = dict(zip(scale["name"], range(len(scale)), strict=True))
qv, mlp = row["LoRA, r = 32 on q v"], row["LoRA, r = 10 on the MLP"]
guess_2.reveal(
    "rank 10 on the matrices of the MLP" if low[mlp] > high[qv] else "rank 32 on q and v" if low[qv] > high[mlp] else "the 95 % intervals overlap",
    why=f"{share[qv]:.3f} on q and v, {share[mlp]:.3f} on the MLP.",
)

# %% [markdown] tags=["subslide"]
# - **Where:** MLP only, at rank 10, has the parameters of rank 32 on q and v. It is ahead, but the intervals overlap: one run
#   each on the same problems, whose single answers are not published, so no paired difference can be taken.
# - **Rank:** 64 is no better than 32 at the same $\alpha/r$. With *rsLoRA*, at the same 64, the row has the highest accuracy, but its interval overlaps others, and
#   it forgot the most. It also raises the factor before $BA$ from 2 to 8, so part of this may be a larger step.
# - **Learning rate:** one for all adapters, and a tenth of it for full fine-tuning: nobody tuned each row.
# - **Memory:** full fine-tuning takes less than twice as much here. The weights are 6.4 GB in every row; the gradients and Adam's
#   averages of all parameters go, the activations of the batch stay.

# %% [markdown]
# ### *LoRA Without Regret*
#
# @schulman2025lora, on Llama and Qwen models (summed up in the documentation of TRL, which repeats parts of it):
#
# - On small and medium data sets of instructions and reasoning LoRA learns as full fine-tuning does; on data that exceed what the adapter
#   can hold it falls behind.
# - On *all* layers, above all the MLP. Attention alone is worse, even with a higher rank and as many parameters.
# - The best learning rate is about ten times that of full fine-tuning, and hardly depends on the rank (with $1/r$).
# - It bears large batches less well; a higher rank does not help.
# - For reinforcement learning very small ranks are enough.
#
# @biderman2024lora trained on up to 20 billion tokens: in these terms, more than an adapter holds.

# %% [markdown]
# ## An older script, today
#
# `bigscience/bloomz-560m`, built without memory, with the settings of a widely copied script:

# %%
with torch.device("meta"):
    bloomz = transformers.AutoModelForCausalLM.from_config(models.resolve("bloomz-560m")[1])
script = LoraConfig(
    r=4, lora_alpha=1, target_modules=["query_key_value"], lora_dropout=0.05, bias="lora_only", task_type="CAUSAL_LM"
)
get_peft_model(bloomz, script).print_trainable_parameters()
try:
    transformers.AutoModelForCausalLM.from_pretrained(weights.path("course"), load_in_8bit=True)
except TypeError as error:
    print(f"TypeError: {error}")

# %% [markdown]
# `load_in_8bit=` is no argument any more; it goes into a `BitsAndBytesConfig` (chapter 10). `torch_dtype=` is
# deprecated: `dtype=`. `print(model.print_trainable_parameters())` prints its numbers and then `None`. On models of the Llama kind
# the matrices are `q_proj`, `k_proj`, `v_proj`, and `bias="lora_only"` finds no bias to train.

# %% [markdown]
# ## Relatives
#
# | | what it changes |
# |---|---|
# | rsLoRA [@kalajdzievski2023rank] | $\alpha/\sqrt r$ |
# | LoRA+ [@hayou2024lora] | a larger learning rate for $B$ than for $A$ |
# | AdaLoRA [@zhang2023adalora] | ranks shared out between matrices while training |
# | PiSSA [@meng2024pissa] | starts from the first singular directions of $W$ |
# | DoRA [@liu2024dora] | learns the length of each column of $W$ apart from its direction |
#
# In PEFT rsLoRA, PiSSA and DoRA are one argument of `LoraConfig` each. LoRA+ is an optimizer. AdaLoRA has a configuration class
# of its own, and must be called at every training step to move ranks.

# %% [markdown]
# ## What to take home
#
# - LoRA freezes $W$ and trains $\frac{\alpha}{r}BA$: $r(d + k)$ parameters instead of $dk$. $B$ is initialized with zero, $A$ is not.
# - In the paper's tables the choice of matrices matters more than the rank; all linear layers is a good choice.
# - $\alpha/r$ keeps the learning rate when $r$ changes. α = 1 is not usual.
# - Gradients and Adam's averages nearly vanish; the base stays, and QLoRA makes it four bits. Most activations stay too.
# - Merged: no cost at inference, one task. Beside: many tasks in one batch.
#
# **Ask yourself:** a colleague reports that LoRA is as good as full fine-tuning. Which three things do you ask about?

# %% [markdown]
# ## Quiz
#
# Nine questions: what is trained, what stays in memory, and what a result with LoRA allows one to conclude.

# %% tags=["hide-input"]
widgets.quiz([
    dict(question="A linear layer has 4,096 inputs and 11,008 outputs. How many parameters does an adapter of rank 16 train beside it?",
         answer=16 * (4096 + 11_008), tolerance=0, why="A has 16 × 4,096 numbers, B has 11,008 × 16."),
    dict(question="Somebody initializes A with zero and B with Gaussian numbers, the other way round. What happens?", options={
        "The model's first outputs are noise.": "BA is zero if one of the two is: at the start the model is what it was.",
        "Nothing is ever learnt.": "That takes two zeros. Here the gradient of A has the factor B, which is not zero.",
        "It trains, with A and B exchanged.": "Right: A has a gradient at the first step, and B from the second on. One zero is all that is needed.",
    }, answer="It trains, with A and B exchanged."),
    dict(question="A model of 13 billion parameters in bf16. LoRA trains 50 million parameters in float32, with float32 gradients and Adam's two "
         "averages. How much do weights, gradients and averages take together?", unit="GB", tolerance=0.02,
         answer=(13e9 * 2 + 50e6 * (4 + 4 + 8)) / 1e9, why="2 bytes for each frozen parameter; 16 for each trained one, which is less than 1 GB."),
    dict(question="You double the rank from 8 to 16 and leave α at 16 (factor α/r). How large is the change of the output after the first Adam step?", options={
        "Twice as large: there are twice as many terms.": "There are, but the factor α/r before them is now half as large.",
        "Half as large: α/r is halved.": "It is, but BA has twice as many terms, which add up.",
        "About as large as before.": "Right: twice as many terms, each with half the factor. Therefore the learning rate can stay.",
        "It is larger by the square root of 2.": "That would be so with the factor α/√r of rsLoRA.",
    }, answer="About as large as before."),
    dict(question="LoRA on a small model, with long texts: most of the card is filled with activations. What makes the most room?", options={
        "Halve the rank.": "The adapter with its gradients and averages is small already.",
        "Compute activations twice (gradient checkpointing).": "Right: what is kept for the backward pass fills the card, and most of it can be computed again when it is needed.",
        "An optimizer with 8-bit averages.": "It has averages only of the adapter's few parameters.",
        "Nothing: a frozen layer keeps no activations.": "The gradient must pass through frozen layers, too, and A needs the input of its layer for its own gradient.",
    }, answer="Compute activations twice (gradient checkpointing)."),
    dict(question="A service has one base and 200 customers with an adapter each. A batch holds requests of many of them. What do you do?", options={
        "Merge each adapter, and keep 200 models in memory.": "That is fast for each request, but takes 200 times the memory of the base.",
        "Merge all 200 adapters into the base.": "Then each request is answered with the sum of all 200 changes.",
        "Merge the right adapter before each request, and take it out afterwards.": "All rows of a batch share the weights, so requests would have to wait for each other.",
        "Leave the adapters beside the base; each row of the batch uses its own.": "Right: the base is computed for all rows together, and the small products for each.",
    }, answer="Leave the adapters beside the base; each row of the batch uses its own."),
    dict(question="Beside the base an adapter works. Merged into the bf16 weights, nearly all of its effect is gone. What is the likeliest cause?", options={
        "W + BA is rounded back to W in most places.": "Right: the entries of BA are small beside those of W, and bf16 has steps of about 1/200 of a number. Merge in float32, or leave it beside.",
        "A low rank cannot be written into a matrix of full rank.": "A sum of matrices of one shape is always possible: W + BA has the shape of W.",
        "The factor α/r holds only for an adapter that is not merged.": "It is merged with it: what is added to W is the factor times BA.",
        "bf16 has too small a range for BA.": "It has the range of float32; what it has less of are digits.",
    }, answer="W + BA is rounded back to W in most places."),
    dict(question="A team tunes a sentiment classifier: rank 64 is as accurate as rank 4, within the intervals. What follows?", options={
        "Changes made by fine-tuning have a rank of 4 or less.": "One task was seen, and of it the accuracy, not the change that full fine-tuning makes.",
        "No gain of the higher rank is seen on this task.": "Right: another task may need it. Data that hold more than an adapter can store, such as a new language, may want more.",
        "Rank 64 overfits.": "Then it would be worse on new texts; it is as accurate.",
        "The learning rate of rank 64 was too low.": "Possible, if only one rate was tried; but equal accuracy alone does not show it.",
    }, answer="No gain of the higher rank is seen on this task."),
    dict(question="QLoRA with double quantization: how much do 33 billion weights in NF4 take, with their scales?", unit="GB", tolerance=0.02,
         answer=33e9 * (4 + 8 / 64 + 32 / (64 * 256)) / 8 / 1e9, why="4 bits, and 0.127 bits of scales for each weight; eight bits to a byte."),
])

# %% [markdown]
# ## Further reading
#
# - [@hu2022lora]
# - [@aghajanyan2021intrinsic]
# - [@dettmers2023qlora]
# - [@benzaken2022bitfit]
# - [@li2021prefix]
# - [@houlsby2019parameter]
# - [@rajbhandari2020zero]

# %% [markdown]
# ### Further reading, continued
#
# - [@kalajdzievski2023rank]
# - [@hayou2024lora]
# - [@zhang2023adalora]
# - [@meng2024pissa]
# - [@liu2024dora]
# - [@sheng2024slora]
# - [@biderman2024lora]
# - [@shuttleworth2025lora]
# - [@schulman2025lora]
# - [@peft2026comparison]: `method_comparison/MetaMathQA`, July 2026
