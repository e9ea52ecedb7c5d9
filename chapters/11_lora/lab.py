# %% [markdown]
# # Lab 11 · A small change to a large matrix: LoRA
#
# **A fine-tuned copy of a model is as large as the model. Must it be?** @hu2022lora freeze every weight matrix $W$ and learn
# a *low-rank* (低秩) change beside it, $\frac{\alpha}{r}BA$: two thin matrices instead of a large one. You will write this
# *adapter* (适配器), check that it does what the library PEFT does, and ask what the paper asked: which matrices, which rank,
# how much memory, and how low is the rank of a true update.
#
# You will
#
# 1. count what LoRA trains, on any model,
# 2. write the layer, put it into a model, *merge* (合并) it again, equal to PEFT's to 1e-5,
# 3. repeat the paper's table of ranks and matrices on a real task, three seeds each,
# 4. look at the *singular values* (奇异值) of what full fine-tuning (全量微调) really changes, and, as a challenge, share out
#    a budget of parameters between the matrices,
# 5. measure memory: full, LoRA, LoRA on an 8-bit base, on a 4-bit base (*QLoRA*),
# 6. save an adapter that plain PEFT loads, compare what two methods forget when both have learnt equally much, and serve
#    two tasks from one base.
#
# Time: two to three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %% tags=["hide-input"]
import contextlib
import copy
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from course_utils import data, errors, hardware, lab, load_model, plots, programs, scoring, tables, widgets
from course_utils import registry as models
from peft import LoraConfig, PeftModel, get_peft_model  # after course_utils, which keeps bitsandbytes' log quiet

lab.start(
    "11_lora",
    exercises=[
        "adapter_size",
        "lora_linear",
        "inject",
        "merge",
        "extract_lora",
        "share_ranks",
        "memory_bytes",
        "save_adapter",
        "forgetting_gap",
    ],
)
plots.style()

# %% [markdown]
# ## 1 · How many numbers?
#
# A linear layer multiplies by $W \in \mathbb{R}^{d \times k}$ ($k$ inputs, $d$ outputs). LoRA adds
# $A \in \mathbb{R}^{r \times k}$ and $B \in \mathbb{R}^{d \times r}$, with $r \ll \min(d, k)$: instead of $dk$ numbers,
# $r(d + k)$ are trained.

# %% tags=["exercise:adapter_size"]
def adapter_size(model, targets, rank):
    """What LoRA would train.

    model: an nn.Module. targets: set of str. rank: int. An adapter goes beside every nn.Linear whose own name, the
    last part of its path, is in targets ("q_proj" for "model.layers.0.self_attn.q_proj").
    Returns a dict: "trained" (int), all numbers in all A and B; "share" (float), trained divided by the model's own
    parameters, each counted once.

    Example: one nn.Linear(10, 20) named "q_proj" beside an nn.Linear(10, 5) named "head", rank 2: 60 trained, of
    10 · 20 + 20 + 10 · 5 + 5 = 275: share 0.218.
    """
    ### BEGIN SOLUTION
    trained = sum(
        rank * (module.in_features + module.out_features)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    )
    return {"trained": trained, "share": trained / sum(p.numel() for p in model.parameters())}
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two sums: one over the linear layers that get an adapter, one over all parameters. How many numbers has A beside a layer
# with k inputs? And B?</details>
# <details><summary>Hint 2</summary><code>model.named_modules()</code> gives pairs of path and module; <code>path.split(".")[-1]</code> is the own name.
# <code>model.parameters()</code> gives a tied weight once.</details>
# <details><summary>Hint 3</summary><code>rank * (module.in_features + module.out_features)</code> for each module that <code>isinstance(module, nn.Linear)</code>.</details>

# %%
def small_llama(seed=0, tied=False):
    """A decoder with random weights: 3 layers, width 24, four heads, two of them for keys and values."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def counted_by_peft(model, targets, rank):
    """(trained, all) as PEFT counts them, on a copy."""
    config = LoraConfig(r=rank, target_modules=sorted(targets), task_type="CAUSAL_LM")
    return get_peft_model(copy.deepcopy(model), config).get_nb_trainable_parameters()

# %% tags=["tests:adapter_size:1"]
with lab.test("adapter_size"):
    toy = nn.ModuleDict({"q_proj": nn.Linear(10, 20), "head": nn.Linear(10, 5)})
    got = adapter_size(toy, {"q_proj"}, 2)
    assert got["trained"] == 60, f"the example trains 60 numbers, not {got['trained']}"
    lab.expect_close(got["share"], 60 / 275, "share")
    for targets in ({"q_proj", "v_proj"}, {"up_proj", "down_proj"}):
        got, (want, _) = adapter_size(small_llama(), targets, 4)["trained"], counted_by_peft(small_llama(), targets, 4)
        assert got == want, f"{sorted(targets)}, rank 4: PEFT trains {want:,} numbers, you count {got:,}"
    near = nn.ModuleDict({"q_proj": nn.ModuleDict({"inner": nn.Linear(3, 3)}), "q_proj_2": nn.Linear(2, 2)})
    got = adapter_size(near, {"q_proj"}, 1)["trained"]
    assert got == 0, f"no nn.Linear is called 'q_proj' in a model of {[path for path, _ in near.named_modules()][1:]}; you count {got}"
    tied = small_llama(tied=True)
    got, want = adapter_size(tied, {"q_proj"}, 1), sum(p.numel() for p in tied.parameters())
    lab.expect_close(got["share"], got["trained"] / want, "share of a model whose output matrix is its embedding (count it once)")

# %% tags=["hidden:adapter_size:2"]
def probe():
    odd = nn.ModuleDict(
        {
            "q_proj": nn.Embedding(7, 5),
            "deep": nn.ModuleDict({"q_proj": nn.Linear(5, 9, bias=False), "seq_proj": nn.Linear(3, 2)}),
            "k": nn.Conv1d(4, 4, 1),
        }
    )
    tied = small_llama(1, tied=True)
    return {
        "odd": adapter_size(odd, {"q_proj"}, 3),  # because: a target's name also on a layer that is not linear; no bias
        "near": adapter_size(odd, {"proj", "k"}, 3),  # because: targets that are no linear layer's whole name
        # because: a model whose output matrix is its embedding
        "tied": adapter_size(tied, {"q_proj", "k_proj", "v_proj", "o_proj"}, 2),
        "head": adapter_size(tied, {"lm_head"}, 1),  # because: the shared output matrix as the target
    }


def visible():
    toy = nn.ModuleDict({"q_proj": nn.Linear(10, 20), "head": nn.Linear(10, 5)})
    return [
        adapter_size(toy, {"q_proj"}, 2),
        adapter_size(small_llama(), {"q_proj", "v_proj"}, 4)["trained"],
        adapter_size(small_llama(), {"up_proj", "down_proj"}, 4)["trained"],
    ]

# %% [markdown]
# The same for the course model and for Llama 2 7B. (Nothing is downloaded: on the device "meta" weights have shapes and no memory.)

# %% tags=["hide-input"]
guess = widgets.predict(
    "The course model has 135 million parameters, and 30 layers of width 576. Which share do adapters of rank 8 on all matrices of the layers train?",
    unit="%", tolerance=0.3,
)  # fmt: skip
guess_2 = widgets.predict("And of Llama 2 7B, which share?", options=["a larger share", "the same share", "a smaller share"])

# %%
CHOICES = {"q": {"q_proj"}, "v": {"v_proj"}, "q v": {"q_proj", "v_proj"}, "q k v o": {"q_proj", "k_proj", "v_proj", "o_proj"}}
CHOICES["all"] = CHOICES["q k v o"] | {"gate_proj", "up_proj", "down_proj"}

# %% tags=["experiment"]
lab.needs("adapter_size")
rows = []
for name in ("course", "llama-2-7b"):
    with torch.device("meta"):
        skeleton = transformers.AutoModelForCausalLM.from_config(models.resolve(name)[1])
    for label, targets in CHOICES.items():
        size = adapter_size(skeleton, targets, 8)
        rows.append((name, label, size["trained"] / 1e6, f"{size['share']:.2%}", 4 * size["trained"] / 1e6))
pd.DataFrame(rows, columns=["model", "matrices", "trained (million)", "share", "float32 MB"]).style.format(precision=2).hide()

# %% tags=["hide-input", "experiment"]
lab.needs("adapter_size")
small_share, large_share = (float(row[3].rstrip("%")) for row in rows if row[1] == "all")
guess.reveal(small_share, why="It is in the row of the course model with all matrices.")
guess_2.reveal(
    "a smaller share" if large_share < small_share else "a larger share" if large_share > small_share else "the same share",
    why="The adapter of a matrix, r(d + k), grows with the width, and the matrix, dk, with its square.",
)

# %% [markdown]
# ## 2 · The layer
#
# $$h = Wx + \frac{\alpha}{r} BAx$$
#
# $W$ does not change. $A$ is initialized *Gaussian* (高斯初始化), $B$ with *zero* (零初始化), so that at the start the model is what
# it was.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Rank r = 8, width 32, and a batch of three tokens. Which rank has the change BA after the first step of gradient descent?", options=[0, 1, 3, 8]
)
guess_2 = widgets.predict("And after a first step with a batch of 100 tokens?", options=[1, 8, 32, 100])

# %% tags=["exercise:lora_linear"]
class LoRALinear(nn.Module):
    """A frozen linear layer with a low-rank change beside it.

    base: nn.Linear, or another module with in_features and out_features. r: int, the rank. alpha: float. dropout: float.
    Keeps base as self.base and freezes it; self.A, nn.Parameter float32 (r, in_features), Gaussian with mean 0 and
    standard deviation in_features ** -0.5; self.B, nn.Parameter float32 (out_features, r), zero; self.scaling, alpha / r;
    self.dropout, nn.Dropout. Both parameters are on the device of base.weight; A's numbers are drawn on the CPU and then
    moved, so that a seed gives the same A on every device.

    forward: x (…, in_features) → base(x) + scaling · B A dropout(x), (…, out_features). The dropout is only on the way
    to A, not to base.
    """

    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base.requires_grad_(False)
        where = base.weight.device
        self.A = nn.Parameter((torch.randn(r, base.in_features) * base.in_features**-0.5).to(where))
        self.B = nn.Parameter(torch.zeros(base.out_features, r, device=where))
        self.scaling, self.dropout = alpha / r, nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.base(x) + self.scaling * (self.dropout(x) @ self.A.T @ self.B.T)
        ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Who is trained? Freeze <code>base</code>, and make A and B <code>nn.Parameter</code>. What a module is asked to keep must be an
# attribute of it, or nobody finds it.</details>
# <details><summary>Hint 2</summary><code>base.requires_grad_(False)</code>; <code>torch.randn(r, base.in_features)</code> has standard deviation 1.
# <code>x</code> has its inputs in the last dimension, so A acts as <code>x @ A.T</code>.</details>
# <details><summary>Hint 3</summary><code>self.base(x) + self.scaling * (self.dropout(x) @ self.A.T @ self.B.T)</code>. Why is <code>(BA)x</code> more expensive?</details>

# %% tags=["tests:lora_linear:2"]
with lab.test("lora_linear"):
    torch.manual_seed(0)
    base, x = nn.Linear(400, 30), torch.randn(5, 400)
    layer = LoRALinear(base, r=8, alpha=16)
    lab.expect_close(layer(x), base(x), "the output before training (B is zero)")
    assert layer.A.shape == (8, 400) and layer.B.shape == (30, 8), f"A is {tuple(layer.A.shape)}, B {tuple(layer.B.shape)}"
    assert 0.045 < float(layer.A.detach().std()) < 0.055, f"A's standard deviation should be near 0.05, not {layer.A.std():.3f}"
    trained = {name for name, p in layer.named_parameters() if p.requires_grad}
    assert trained == {"A", "B"}, f"A and B should be trained, and nothing else; trained are {sorted(trained)}"
    with torch.no_grad():
        layer.B.copy_(torch.randn(30, 8))
    want = F.linear(x, base.weight + 2.0 * layer.B @ layer.A, base.bias)
    lab.expect_close(layer(x).detach(), want.detach(), "the output with another B", rtol=1e-4, atol=1e-4)
    layer(x).sum().backward()
    assert base.weight.grad is None, "base should be frozen, but its weight has a gradient"
    layer, x = LoRALinear(nn.Linear(64, 3), r=2, alpha=2, dropout=0.5), torch.eye(64)  # input i is the number i alone
    with torch.no_grad():
        layer.B.copy_(torch.randn(3, 2))
        noisy, change = layer.train()(x) - layer.base(x), 2 * layer.scaling * x @ layer.A.T @ layer.B.T  # 2: dropout scales up
    dropped = noisy.abs().amax(1) < 1e-6
    assert 0 < dropped.sum() < 64, f"dropout 0.5 of 64 inputs on the way to A: {int(dropped.sum())} rows have no change"
    kept = torch.where(dropped[:, None], torch.zeros_like(change), change)
    lab.expect_close(noisy, kept, "with dropout, output minus base(x) (an input is dropped for A, never for base)", atol=1e-4)

# %% tags=["hidden:lora_linear:3"]
def probe():
    def filled(layer, seed):
        g = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            layer.A.copy_(torch.randn(layer.A.shape, generator=g))
            layer.B.copy_(torch.randn(layer.B.shape, generator=g))
        return layer

    torch.manual_seed(11)
    fresh = LoRALinear(nn.Linear(900, 40, bias=False), 12, 3.0)
    layer = filled(LoRALinear(nn.Linear(14, 9), 3, 7.5, dropout=0.5), 1).eval()
    x = torch.randn(2, 6, 14, generator=torch.Generator().manual_seed(2))
    out = layer(x)
    out.pow(2).sum().backward()
    inputs = torch.eye(14)
    torch.manual_seed(3)
    noisy = layer.train()(inputs)  # dropped inputs have no change at all: what base does must stay
    with torch.no_grad():
        whole = layer.base(inputs)
        changed = (noisy - whole).norm(dim=1) > 1e-6
    return {
        # because: how widely A's numbers are spread at the start
        "A's spread": bool(abs(float(fresh.A.detach().std()) * 30 - 1) < 0.03),
        "A's mean": bool(abs(float(fresh.A.detach().mean())) < 0.003),  # because: the mean of A's numbers at the start
        "B at the start": float(fresh.B.detach().abs().max()),  # because: B before any training
        "dtypes": [str(fresh.A.dtype), str(fresh.B.dtype)],  # because: the dtypes of A and B
        # because: which parameters of the layer are trained
        "trained": sorted(name for name, p in fresh.named_parameters() if p.requires_grad),
        "scaling": [float(fresh.scaling), float(layer.scaling)],  # because: the scaling, for other ranks and alphas
        "output": out.detach(),  # because: the output with other A and B, when nothing is dropped
        "gradients": [layer.A.grad, layer.B.grad],  # because: the gradients of A and B
        "some are dropped": bool(0 < int(changed.sum()) < 14),  # because: dropout during training
        # because: dropout during training, which must leave alone what base does
        "the rest is scaled up": bool(
            torch.allclose((noisy - whole)[changed], 2 * (layer.eval()(inputs) - whole)[changed], atol=1e-4)
        ),
    }


def visible():
    torch.manual_seed(0)
    base, x = nn.Linear(400, 30), torch.randn(5, 400, generator=torch.Generator().manual_seed(1))
    layer = LoRALinear(base, r=8, alpha=16)
    before = torch.allclose(layer(x), base(x))
    with torch.no_grad():
        layer.A.copy_(torch.randn(8, 400, generator=torch.Generator().manual_seed(2)) / 20)
        layer.B.copy_(torch.randn(30, 8, generator=torch.Generator().manual_seed(3)))
    return [before, (layer(x) - base(x)).detach(), sorted(n for n, p in layer.named_parameters() if p.requires_grad)]

# %% tags=["hide-input"]
def rank_after_a_step(tokens, r=8, width=32):
    """The rank of BA after one step of gradient descent on random tokens, A Gaussian and B zero at the start."""
    x, wanted, start = torch.randn(3, max(tokens, r), width, generator=torch.Generator().manual_seed(0))
    x, wanted = x[:tokens], wanted[:tokens]
    A, B = nn.Parameter(start[:r].clone()), nn.Parameter(torch.zeros(width, r))
    (x @ A.T @ B.T - wanted).square().mean().backward()
    with torch.no_grad():
        A, B = A - 0.1 * A.grad, B - 0.1 * B.grad  # at this first step the gradient of A is zero
        return int(torch.linalg.matrix_rank(B @ A))


guess.reveal(
    rank_after_a_step(3), why="The gradient of B is a sum of one product (output's gradient times Ax) per token, so B has no more directions than there were tokens."
)
guess_2.reveal(rank_after_a_step(100), why="B has r columns, so r is the limit, however many tokens there are.")

# %% [markdown]
# ## 3 · Into the model
#
# To adapt a model, find its linear layers by name and put a wrapped one in the place of each. What wraps them is given as a
# function, so that one routine serves any adapter.

# %% tags=["exercise:inject"]
def inject(model, targets, wrap):
    """Freeze a model and wrap some of its linear layers, in place.

    model: nn.Module. targets: set of str. wrap: a function, nn.Linear → nn.Module.
    First every parameter that the model has is frozen. Then each nn.Linear whose own name (last part of its path) is in
    targets is replaced in its place by wrap(it). Returns the list of paths of the replaced layers, in the order of
    model.named_modules().

    Example: inject(model, {"q_proj"}, lambda linear: LoRALinear(linear, 4, 4)).
    """
    ### BEGIN SOLUTION
    model.requires_grad_(False)
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[-1] in targets
    ]
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrap(model.get_submodule(path)))
    return paths
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>In which order? If you freeze last, you freeze what should learn. And decide which layers are replaced before you
# replace the first one: a list of paths stays as it is while the model changes.</details>
# <details><summary>Hint 2</summary><code>model.requires_grad_(False)</code> first, then make the list of paths, then replace. <code>model.get_submodule(path)</code>
# gives a module, also the parent (<code>""</code> is the model itself).</details>
# <details><summary>Hint 3</summary><code>parent, _, name = path.rpartition(".")</code>, then <code>setattr(model.get_submodule(parent), name, wrap(…))</code>.</details>

# %%
class Louder(nn.Module):
    """A wrapper for tests: what it wraps, times a trained number that begins at 1."""

    def __init__(self, base):
        super().__init__()
        self.base, self.gain = base, nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.base(x) * self.gain

# %% tags=["tests:inject:2"]
with lab.test("inject"):
    toy = small_llama()
    ids = torch.arange(12)[None]
    before = toy(ids).logits.detach()
    paths = inject(toy, {"q_proj", "down_proj"}, Louder)
    want = [f"model.layers.{i}.{name}" for i in range(3) for name in ("self_attn.q_proj", "mlp.down_proj")]
    assert paths == want, f"the replaced layers should be {want}, not {paths}"
    assert all(isinstance(toy.get_submodule(path), Louder) for path in paths), "the wrapped layers are not in the model"
    lab.expect_close(toy(ids).logits.detach(), before, "the model's logits (Louder begins at 1)")
    trained = [name for name, p in toy.named_parameters() if p.requires_grad]
    assert trained == [f"{path}.gain" for path in paths], f"only the wrappers' own numbers should be trained, not {trained[:3]}"
    near = nn.ModuleDict({"o_proj_2": nn.Linear(2, 2), "o_proj": nn.ModuleDict({"inner": nn.Linear(2, 2)}), "norm": nn.LayerNorm(2)})
    got = inject(near, {"o_proj", "norm"}, Louder)
    assert got == [], f"no nn.Linear has a target as its whole last name here, but you replaced {got}"

# %% tags=["hidden:inject:2"]
def probe():
    odd = nn.ModuleDict(
        {
            "o_proj": nn.Linear(4, 4),
            "norm": nn.LayerNorm(4),
            "deep": nn.ModuleDict({"o_proj": nn.Embedding(3, 4), "to_proj": nn.Linear(4, 2), "o_proj_2": nn.Linear(2, 2)}),
            "last": nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"o_proj": nn.Linear(2, 1)})),
        }
    )
    paths = inject(odd, {"o_proj"}, Louder)
    twice = inject(odd, {"o_proj_2", "0"}, Louder)
    toy = small_llama(2)
    nothing = inject(toy, {"proj"}, Louder)
    return {
        # because: names that only resemble a target, layers that are not linear, and layers deep inside others
        "paths": paths,
        # because: what is in the model after the calls
        "kinds": {path: type(module).__name__ for path, module in odd.named_modules()},
        "second call": twice,  # because: a second call, on a model that has wrapped layers already
        # because: which parameters are still trained after the calls
        "trained": [name for name, p in odd.named_parameters() if p.requires_grad],
        "nothing": nothing,  # because: targets that are no layer's whole name
        # because: a model in which nothing is wrapped, which must be frozen all the same
        "all frozen": not any(p.requires_grad for p in toy.parameters()),
    }


def visible():
    toy = small_llama()
    paths = inject(toy, {"q_proj", "down_proj"}, Louder)
    trained = [name for name, p in toy.named_parameters() if p.requires_grad]
    return [paths, [type(toy.get_submodule(path)).__name__ for path in paths], trained]

# %% [markdown]
# ## 4 · Merge
#
# The change is a matrix of the same shape as $W$. Add it once, and the model runs as fast as before: nothing is computed beside
# it any more. (Adapters of the older kind are small networks *between* the layers, with a nonlinearity inside, and cannot be merged;
# @houlsby2019parameter.)

# %% tags=["exercise:merge"]
def merge(base, A, B, scaling):
    """A plain linear layer that does what base with its adapter does.

    base: nn.Linear, with or without bias. A: (r, in_features). B: (out_features, r). scaling: float.
    Returns a new nn.Linear, its weight base.weight + scaling · B A in the dtype of base.weight, its bias equal to base's
    (None if base has none). base itself, A and B stay as they are, and the new layer shares no memory with base.
    """
    ### BEGIN SOLUTION
    merged = copy.deepcopy(base)
    with torch.no_grad():
        merged.weight += (scaling * (B @ A)).to(base.weight.dtype)
    return merged
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>What must the new layer not share with the old one? Think of a bias that somebody changes later.</details>
# <details><summary>Hint 2</summary><code>copy.deepcopy(base)</code> copies weight, bias and dtype. Change its weight where no gradient is recorded.</details>
# <details><summary>Hint 3</summary><code>with torch.no_grad(): merged.weight += (scaling * (B @ A)).to(base.weight.dtype)</code></details>

# %% tags=["tests:merge:1"]
with lab.test("merge"):
    torch.manual_seed(0)
    base, A, B, x = nn.Linear(6, 4), torch.randn(2, 6), torch.randn(4, 2), torch.randn(3, 6)
    kept = base.weight.detach().clone()
    merged = merge(base, A, B, 0.5)
    assert isinstance(merged, nn.Linear), f"merge should return an nn.Linear, not a {type(merged).__name__}"
    lab.expect_close(base.weight.detach(), kept, "base.weight after merge (it must not change)")
    lab.expect_close(merged(x).detach(), (base(x) + 0.5 * x @ A.T @ B.T).detach(), "what the merged layer does", atol=1e-5)
    lab.expect_close(merged.bias.detach(), base.bias.detach(), "bias of the merged layer")
    bias = base.bias.detach().clone()
    with torch.no_grad():
        merged.bias.add_(1.0)
    lab.expect_close(base.bias.detach(), bias, "base.bias after 1 was added to merged.bias (the two must not share memory)")
    plain = merge(nn.Linear(6, 4, bias=False).to(torch.bfloat16), A, B, 0.5)
    assert plain.bias is None, "base has no bias, but the merged layer has one"
    assert plain.weight.dtype == torch.bfloat16, f"base.weight is bfloat16, the merged weight {plain.weight.dtype}"

# %% tags=["hidden:merge:2"]
def probe():
    g = torch.Generator().manual_seed(5)
    cases = {
        "square": (5, 5, 2, 2.0, True, torch.float32),  # because: a layer with as many outputs as inputs, and a bias
        "without bias": (7, 3, 1, -0.25, False, torch.float32),  # because: a layer without bias, and a negative scaling
        "bfloat16": (8, 12, 4, 0.125, True, torch.bfloat16),  # because: a layer in bfloat16
    }
    results = {}
    for name, (inputs, outputs, r, scaling, bias, dtype) in cases.items():
        torch.manual_seed(r)
        base = nn.Linear(inputs, outputs, bias=bias).to(dtype)
        A, B = torch.randn(r, inputs, generator=g), torch.randn(outputs, r, generator=g)
        before = copy.deepcopy(base.state_dict())
        merged = merge(base, A, B, scaling)
        same = all(torch.equal(before[k], v) for k, v in base.state_dict().items())
        apart = merged.weight.data_ptr() != base.weight.data_ptr()
        with torch.no_grad():
            if bias:
                merged.bias.add_(1.0)
                apart = apart and torch.equal(before["bias"], base.bias)
        results[name] = {
            "weight": merged.weight.detach().float(),
            "dtype": str(merged.weight.dtype),  # because: the dtype of the merged weight
            "no bias": merged.bias is None,
            "same": same,  # because: the layer you were given, which must stay as it was
            "apart": apart,  # because: the memory of the new layer, which must not be that of the old one
        }
    return results


def check(got, want):
    close({**got, "bfloat16": None}, {**want, "bfloat16": None})
    close(got["bfloat16"], want["bfloat16"], atol=0.03)  # bfloat16 has less than three digits


def visible():
    torch.manual_seed(0)
    base = nn.Linear(6, 4)
    A, B = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)), torch.randn(4, 2, generator=torch.Generator().manual_seed(2))
    kept = copy.deepcopy(base.state_dict())
    merged = merge(base, A, B, 0.5)
    weight = merged.weight.detach().clone()
    with torch.no_grad():
        merged.bias.add_(1.0)
    return [weight, *(bool(torch.equal(kept[name], value)) for name, value in base.state_dict().items())]

# %% [markdown]
# ### Is it PEFT's?
#
# The same $A$ and $B$ in your layers and in PEFT's, on the course model, rank 8 on every matrix of every layer: logits,
# gradients of one training step, and logits after merging. (Three copies of the model are in memory here. The fourth of the next cells is
# folded: it gives both the same A and B, and compares logits and gradients.)

# %%
def adapters_of(model):
    """{path: its LoRALinear} of a model."""
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRALinear)}


def merge_all(model):
    """Put merged layers in the place of all LoRALinear, in place."""
    for path, layer in adapters_of(model).items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, merge(layer.base, layer.A, layer.B, layer.scaling))
    return model

# %% tags=["experiment"]
MODEL = "course"  # on a T4 with a hub: "HuggingFaceTB/SmolLM2-360M-Instruct", "qwen3-0.6b", the folder of a checkpoint
base_model, tokenizer = load_model(MODEL, precision="fp32")
base_model.requires_grad_(False)
texts = ["What a strange and lovely film.", "It never finds its feet, and neither do we."]
batch = tokenizer(texts, padding=True, return_tensors="pt").to(base_model.device)
batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
ours = copy.deepcopy(base_model)
inject(ours, CHOICES["all"], lambda linear: LoRALinear(linear, r=8, alpha=16))
peft_config = LoraConfig(r=8, lora_alpha=16, target_modules=sorted(CHOICES["all"]), task_type="CAUSAL_LM")
theirs = get_peft_model(copy.deepcopy(base_model), peft_config)

# %% tags=["experiment", "hide-input"]
lab.needs("lora_linear", "inject")
generator = torch.Generator().manual_seed(0)
with torch.no_grad():
    for path, layer in adapters_of(ours).items():
        twin = theirs.base_model.model.get_submodule(path)
        layer.B.copy_(0.02 * torch.randn(layer.B.shape, generator=generator))  # as if trained
        twin.lora_A["default"].weight.copy_(layer.A)
        twin.lora_B["default"].weight.copy_(layer.B)


def apart(x, y):
    """Largest difference, as a share of the largest value."""
    return ((x - y).abs().max() / y.abs().max()).item()


here, there = ours(**batch), theirs(**batch)
here.loss.backward()
there.loss.backward()
gaps = {"logits": apart(here.logits, there.logits), "gradients of A": 0.0, "gradients of B": 0.0}
for path, layer in adapters_of(ours).items():
    twin = theirs.base_model.model.get_submodule(path)
    gaps["gradients of A"] = max(gaps["gradients of A"], apart(layer.A.grad, twin.lora_A["default"].weight.grad))
    gaps["gradients of B"] = max(gaps["gradients of B"], apart(layer.B.grad, twin.lora_B["default"].weight.grad))

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "merge")
with torch.no_grad():
    unmerged, library = here.logits.detach(), theirs.merge_and_unload()
    merged = merge_all(ours)(**batch).logits
    gaps["merged: yours and PEFT's"] = apart(merged, library(**batch).logits)
    gaps["merged and not merged"] = apart(merged, unmerged)
print(f"adapters move the logits by {apart(unmerged, base_model(**batch).logits):.2f} of the largest; differences:")
for name, gap in gaps.items():
    print(f"  {name:<26}{gap:.1e}")
    assert gap < (1e-4 if name == "merged and not merged" else 1e-5), name  # merged, the same numbers are added in another order
del ours, theirs, library, here, there

# %% [markdown]
# ## 5 · A real task: which matrices, which rank?
#
# Is a sentence about a film kind or not? (@pang2005seeing; scores by @hutto2014vader.) The model reads a sentence and
# "It was", and must go on with " good" or " bad". To afford dozens of trainings on a CPU we adapt the *last two* of the thirty
# layers only: what the 28 below them make of a sentence never changes, so it is computed once.
#
# The next two cells are folded; click them to read the code. In the first, `through` and `at_last` run some of the model's
# layers. In the second, a `Task` computes once what the frozen layers make of its prompts; it gives the logits of the possible answers,
# says which prompts of its test are answered right, and, for section 6, how well each next token of a prompt is predicted.

# %% tags=["hide-input"]
def through(layers, h):
    """Hidden states (batch, n, width) after some of base_model's layers. Padding on the right is not seen by what is before."""
    places = torch.arange(h.shape[1], device=h.device)[None]
    turns = base_model.model.rotary_emb(h, places)
    for layer in layers:
        h = layer(h, position_embeddings=turns, position_ids=places, attention_mask=None)
    return h


def at_last(layer, h, last):
    """What one layer says at the place `last` (batch,) of each row, (batch, width): the other places are not computed."""
    attention, rows = layer.self_attn, torch.arange(len(h), device=h.device)
    places = torch.arange(h.shape[1], device=h.device)
    cos, sin = base_model.model.rotary_emb(h, places[None])
    x = layer.input_layernorm(h)

    def heads(z, norm=None):
        z = z.unflatten(-1, (-1, attention.head_dim))
        return (norm(z) if norm else z).transpose(1, 2)

    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]  # Qwen3 has them
    q, k = heads(attention.q_proj(x[rows, last][:, None]), norms[0]), heads(attention.k_proj(x), norms[1])
    v = heads(attention.v_proj(x))
    k = apply_rotary_pos_emb(k, k, cos, sin)[0]
    q = apply_rotary_pos_emb(q, q, cos[0, last][:, None], sin[0, last][:, None])[0]
    seen = (places <= last[:, None])[:, None, None]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
    h = h[rows, last] + attention.o_proj(mixed.transpose(1, 2).flatten(2))[:, 0]
    return h + layer.mlp(layer.post_attention_layernorm(h))

# %% tags=["hide-input"]
TOP = 2  # layers that are adapted


class Task:
    """Prompts, read by the frozen layers once. labels: the index of the right one of `options`, each one token long."""

    def __init__(self, prompts, labels, options, train, longest):
        ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
        wanted = train + lab.budget(full=240, quick=12)
        longest = max(longest, sorted(map(len, ids))[wanted - 1])  # another tokenizer may need more tokens
        kept = [i for i, row in enumerate(ids) if len(row) <= longest][:wanted]
        self.ids = nn.utils.rnn.pad_sequence([torch.tensor(ids[i]) for i in kept], batch_first=True)
        self.ids = self.ids.to(base_model.device)
        self.last = torch.tensor([len(ids[i]) - 1 for i in kept], device=self.ids.device)
        self.labels = torch.tensor([labels[i] for i in kept], device=self.ids.device)
        self.words = [tokenizer(prompts[0] + option)["input_ids"][len(ids[0])] for option in options]
        if len(set(self.words)) < len(options):
            print(f"{MODEL} begins two of {options} with the same token and cannot tell them apart: read no accuracy below.")
        self.head = base_model.lm_head.weight[self.words]
        # for next_token_losses: the tokens that occur in these prompts, and how many at the end are the same in all of them
        self.vocabulary = self.ids.unique()
        self.frame = next(n for n in range(longest) if len({ids[i][-1 - n] for i in kept}) > 1)
        core, self.train = base_model.model, train
        with torch.no_grad():
            parts = tqdm(self.ids.split(60), desc=f"{len(core.layers) - TOP} frozen layers", leave=False)
            self.states = torch.cat([through(core.layers[:-TOP], core.embed_tokens(part)) for part in parts])

    def logits(self, layers, rows):
        """Float (rows, options): logits of the options after each prompt; layers: the last TOP, adapted or not."""
        h = through(layers[:-1], self.states[rows])
        return base_model.model.norm(at_last(layers[-1], h, self.last[rows])) @ self.head.T

    def loss(self, layers, rows):
        """Cross-entropy of the right option: one place in each prompt, few labels."""
        return F.cross_entropy(self.logits(layers, rows), self.labels[rows])

    def next_token_losses(self, layers, rows, middle=False):
        """Float (rows,): mean loss of every next token of a prompt (without the end that all prompts share), among all
        tokens that occur in the task's prompts; or the loss of the one token in the middle of each prompt."""
        ids, h = self.ids[rows], base_model.model.norm(through(layers, self.states[rows]))
        logits = h[:, :-1] @ base_model.lm_head.weight[self.vocabulary].T
        wanted = torch.searchsorted(self.vocabulary, ids[:, 1:].contiguous())
        real = torch.arange(1, ids.shape[1], device=ids.device) <= (self.last[rows] - self.frame)[:, None]
        losses = F.cross_entropy(logits.transpose(1, 2).float(), wanted, reduction="none")
        if middle:
            return losses[torch.arange(len(rows), device=ids.device), real.sum(1) // 2]
        return (losses * real).sum(1) / real.sum(1)

    def test_rows(self):
        return torch.arange(self.train, len(self.ids), device=self.ids.device)

    @torch.no_grad()
    def right(self, layers):
        """Bool (test prompts,): is the likeliest option the right one?"""
        found = torch.cat([self.logits(layers, part).argmax(1) for part in self.test_rows().split(120)])
        return (found == self.labels[self.train :]).cpu().numpy()

# %% tags=["experiment", "ladder"]
TRAIN = lab.budget(full=160, quick=16)
reviews = [row for row in data.movie_sentences().shuffle(seed=0) if abs(row["score"]) >= 1]
mood = Task(
    [row["text"] + "\nIt was" for row in reviews],
    [int(row["score"] > 0) for row in reviews],
    [" bad", " good"],
    train=TRAIN,
    longest=16,
)
with torch.no_grad():
    shortcut = mood.logits(base_model.model.layers[-TOP:], torch.arange(4))
    whole = base_model(mood.ids[:4]).logits[torch.arange(4), mood.last[:4]]
    known = whole[:, mood.words]
print(f"{TRAIN} sentences to learn from, {len(mood.ids) - TRAIN} to be tested on; e.g. {tokenizer.decode(mood.ids[0, : mood.last[0] + 1])!r}")
print(f"difference to the whole model's logits: {float((shortcut - known).abs().max()):.1e}")

# %% [markdown]
# The next cell is folded; click it to read the code. `fit` trains what is trainable in the last layers: `fit_lora` adapts them
# with your `LoRALinear`, and `fit_full` trains every weight. `interval` is the share of right answers with its interval.

# %% tags=["hide-input"]
def interval(right):
    """Share of right answers with its 95 % interval over prompts (Wilson)."""
    return scoring.proportion(int(np.sum(right)), len(right))


def fit(layers, task, rate, seed, passes=3, size=16, loss_of=Task.loss):
    """Train what is trainable in `layers`: AdamW, a short warm-up, then straight down. Returns the layers."""
    parameters = [p for p in layers.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(task.train, generator=generator) for _ in range(passes)]).split(size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 4) * (1 - s / len(order)))
    for rows in order:
        rows = rows.to(task.ids.device)
        loss = loss_of(task, layers, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return layers


RATE = {"lora": 1e-2, "full": 5e-4}


def fit_lora(task, targets, r, alpha, seed, rate=RATE["lora"]):
    """The last layers, adapted."""
    torch.manual_seed(seed)
    layers = copy.deepcopy(base_model.model.layers[-TOP:])
    inject(layers, targets, lambda linear: LoRALinear(linear, r, alpha))
    return fit(layers, task, rate, seed)


def fit_full(task, seed, loss_of=Task.loss, rate=RATE["full"]):
    """The last layers, every parameter trained."""
    layers = copy.deepcopy(base_model.model.layers[-TOP:]).requires_grad_(True)
    return fit(layers, task, rate, seed, loss_of=loss_of)

# %% [markdown]
# Three models: the one as it is, after full fine-tuning of the two layers, and with rank 4 on queries and values. And what a practitioner would
# try first, with no training of the model at all: logistic regression on what the frozen layers say at the last token, and on TF-IDF, weighted
# counts of words and pairs of words. (The next cell is folded: `baselines` fits the two, each with a regularization that is chosen on the training sentences.
# The one after your guess is folded, too: it trains one model for each seed, and compares sentence by sentence.)

# %% tags=["hide-input"]
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def baselines(task):
    """Which test prompts logistic regression answers right: {features: bool (test prompts,)}."""
    labels, right = task.labels.cpu().numpy(), {}
    frozen = task.states[torch.arange(len(task.ids), device=task.ids.device), task.last].float().cpu().numpy()
    texts = [tokenizer.decode(row[: last + 1]) for row, last in zip(task.ids, task.last, strict=True)]
    for name, scale, inputs in (("frozen layers", StandardScaler(), frozen), ("TF-IDF", TfidfVectorizer(ngram_range=(1, 2)), texts)):
        search = GridSearchCV(LogisticRegression(max_iter=2000), {"C": [0.001, 0.01, 0.1, 1, 10, 100]}, cv=3)
        probe = make_pipeline(scale, search).fit(inputs[: task.train], labels[: task.train])
        right[name] = probe.predict(inputs[task.train :]) == labels[task.train :]
    return right

# %% tags=["hide-input"]
guess = widgets.predict("To how many of the test's sentences does the model give the right answer *as it is*?", unit="%", tolerance=0.12)
guess_2 = widgets.predict(
    "LoRA trains hundreds of times fewer parameters than full fine-tuning of the same two layers. Which of them answers more sentences right?",
    options=["full fine-tuning", "LoRA", "no difference that can be seen"],
)

# %% tags=["experiment", "hide-input"]
lab.needs("lora_linear", "inject")
SEEDS = range(lab.budget(full=3, quick=1))
untuned = mood.right(base_model.model.layers[-TOP:])
plain = baselines(mood)
for name, right in {"as it is": untuned, **plain}.items():
    print("{:<17}{:.2f} [{:.2f}, {:.2f}]".format(name, *interval(right)))
full = {seed: fit_full(mood, seed) for seed in SEEDS}
small = {seed: fit_lora(mood, CHOICES["q v"], 4, 16, seed) for seed in SEEDS}
answers = {name: np.stack([mood.right(layers) for layers in runs.values()]) for name, runs in (("full", full), ("LoRA r 4", small))}
for name, layers in (("full", full[0]), ("LoRA r 4", small[0])):
    trained = sum(p.numel() for p in layers.parameters() if p.requires_grad)
    print(f"{name + ', seeds':<17}", *(f"{one.mean():.2f}" for one in answers[name]), f"({trained:,} parameters trained)")


def paired(name, first, second, more, less):
    """Print the mean of first minus second, item by item, with its interval, and what follows."""
    gap, low, high = (100 * value for value in scoring.paired(np.asarray(first, float), np.asarray(second, float)))
    verdict = more if low > 0 else less if high < 0 else "we cannot tell them apart"
    print(f"{name:<22} {gap:+.1f} points [{low:+.1f}, {high:+.1f}]: {verdict}")


for name, right in answers.items():
    paired(f"{name} minus untrained", right.mean(0), untuned, "training helped", "training made it worse")
for name, right in plain.items():
    paired(f"LoRA minus {name}", answers["LoRA r 4"].mean(0), right, "LoRA is ahead", f"{name}: ahead of LoRA")
paired("LoRA minus full", answers["LoRA r 4"].mean(0), answers["full"].mean(0), "LoRA is ahead", "full fine-tuning is ahead")
guess.reveal(100 * untuned.mean(), why="There are two answers, so a coin would get half of them right.")
gap, low, high = scoring.paired(answers["LoRA r 4"].mean(0), answers["full"].mean(0))
guess_2.reveal(
    "LoRA" if low > 0 else "full fine-tuning" if high < 0 else "no difference that can be seen",
    why=f"LoRA minus full fine-tuning: {100 * gap:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}).",
)

# %% [markdown]
# The lines with *minus* compare sentence by sentence: each sentence is one item, its value the mean over the seeds. If the interval excludes
# 0, a difference of this sign is expected on other sentences of this kind, too. Read *LoRA minus frozen layers* first: if its interval contains 0,
# we cannot tell whether LoRA adds anything at this learning rate to what the frozen layers say. Compare again with the best rate below. A classifier on top
# of frozen layers is cheaper. It can do this one task only, though: the adapted model still writes text.
#
# ### The paper's table, on our task
#
# @hu2022lora, table 6: GPT-3, one to four of the attention's matrices, rank 1 to 64. Ours: the same matrices of two
# layers, the same $\alpha$ for all ranks (as in the paper: *α is a constant in r*), and $W_v$ alone, which table 6 leaves out.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of the two is more accurate alone, in the mean over ranks and seeds?", options=["queries (W_q)", "values (W_v)", "no difference that can be seen"]
)
guess_2 = widgets.predict(
    "What does the highest rank bring instead of rank 1, in the mean over the choices of matrices?",
    options=["more than 5 points", "a gain of at most 5 points", "no change that can be seen", "a loss"],
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
RANKS = lab.budget(full=(1, 64), quick=(1, 4))
runs = []
for label in tqdm(("q", "v", "q v", "q k v o"), desc="sweep", leave=False):
    for r in RANKS:
        for seed in SEEDS:
            layers = fit_lora(mood, CHOICES[label], r, 16, seed)
            trained = sum(p.numel() for p in layers.parameters() if p.requires_grad)
            runs.append({"targets": label, "rank": r, "seed": seed, "trained": trained, "right": mood.right(layers)})
sweep = pd.DataFrame(runs)
sweep["accuracy"] = sweep["right"].map(np.mean)
full_accuracy = float(answers["full"].mean())
sweep.pivot_table(index="targets", columns="rank", values=["accuracy", "trained"], sort=False).style.format("{:,.3f}").format(
    "{:,.0f}", subset=["trained"]
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
paper = tables.load("lora_rank_targets")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.6))
for i, label in enumerate(sweep["targets"].unique()):
    style = {"marker": plots.MARKERS[i], "linestyle": plots.LINES[i], "color": plots.COLORS[i], "label": label}
    part = paper[(paper["data"] == "WikiSQL") & (paper["targets"] == label)]
    axes[0].plot(part["rank"], part["accuracy_percent"], **style)
    cells = sweep[sweep["targets"] == label].groupby("rank")["accuracy"]
    low, high = cells.mean() - cells.min(), cells.max() - cells.mean()
    axes[1].errorbar(cells.mean().index, 100 * cells.mean(), 100 * np.array([low, high]), capsize=4, **style)
axes[1].axhline(100 * full_accuracy, color="grey", linestyle=":")
axes[0].set(title="GPT-3, WikiSQL (Hu et al. 2022)", ylabel="accuracy (%)")
axes[1].set(title=f"Ours, moods ({len(SEEDS)} seeds: mean, range)", ylabel="accuracy (%)")
for ax in axes:
    ax.set(xlabel="rank r", xscale="log", xticks=(1, 4, 16, 64), xticklabels=(1, 4, 16, 64))
    ax.minorticks_off()
axes[0].legend(loc="center right", title="matrices")
axes[1].text(8, 100 * full_accuracy, "full fine-tuning", fontsize=11, color="dimgrey", ha="center", va="center", backgroundcolor="white")
plt.show()

# %% [markdown]
# Put a number on the questions. Many runs answer the *same* 240 sentences, so a sentence is one item, however many runs answered it:
# take each sentence's mean over the runs, and then the paired difference over sentences. That interval knows nothing of other
# training runs; for these look at the difference of each seed. We speak of a gain only if the interval excludes 0 *and* all seeds agree.

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")


def compare(name, before, after):
    """Print what is gained from the runs `before` to the runs `after`: over sentences, and seed by seed. Returns (gain, worst, best)."""
    gain, low, high = scoring.paired(*(np.stack(list(part["right"])).mean(axis=0) for part in (after, before)))
    by_seed = [after[after["seed"] == s]["accuracy"].mean() - before[before["seed"] == s]["accuracy"].mean() for s in SEEDS]
    worst, best = min(low, *by_seed), max(high, *by_seed)
    verdict = "gain" if worst > 0 else "loss" if best < 0 else "we cannot tell"
    seeds = " ".join(f"{100 * d:+.1f}" for d in by_seed)
    print(f"{name:<14}{100 * gain:+5.1f} points, over sentences [{100 * low:+.1f}, {100 * high:+.1f}]; by seed {seeds}: {verdict}")
    return gain, worst, best


by_rank = compare(f"rank 1 → {RANKS[-1]}", sweep[sweep["rank"] == 1], sweep[sweep["rank"] == RANKS[-1]])
found = [
    compare(f"{first} → {second}", sweep[sweep["targets"] == first], sweep[sweep["targets"] == second])
    for first, second in (("q", "v"), ("q", "q v"), ("v", "q v"), ("q v", "q k v o"))
]

# %% tags=["hide-input", "experiment"]
lab.needs("lora_linear", "inject")
gain, worst, best = found[0]
guess.reveal(
    "values (W_v)" if worst > 0 else "queries (W_q)" if best < 0 else "no difference that can be seen",
    why=f"W_v minus W_q: {100 * gain:+.1f} points; see the line of this comparison.",
)
gain, worst, best = by_rank
guess_2.reveal(
    ("more than 5 points" if gain > 0.05 else "a gain of at most 5 points") if worst > 0 else "a loss" if best < 0 else "no change that can be seen",
    why=f"{100 * gain:+.1f} points from rank 1 to {RANKS[-1]}; seen means: the interval excludes 0, and all seeds agree.",
)

# %% [markdown]
# Compare the lines `q → v` and `v → q v`. The first changes the matrix and not their number; it even trains *fewer* parameters, because
# $W_v$ has fewer outputs in this model. The second adds a kind of matrix. If the first gains and of the second we cannot tell, then we
# see $W_v$ help *at this learning rate* ($W_q$ and $W_v$ alone were trained at no other); a gain of up to a few points from a second kind is not excluded: see how
# far the second interval goes. (The last line adds two more kinds, but twice the trainable parameters, too.) In the paper's table 5, too, $W_v$ alone is better than $W_q$ alone on WikiSQL.
#
# ### Was the learning rate fair to each rank?
#
# All runs above had one learning rate. The paper's $\alpha/r$ is meant to make that fair. Check it: that rate, three and nine times as much
# (with the quick budget three times only), for the lowest and the highest rank, $W_q$ and $W_v$.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of these learning rates does the highest rank want, compared with rank 1?", options=["a smaller one", "the same", "a larger one"]
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
runs = []
for r in RANKS:
    for rate in lab.budget(full=(RATE["lora"] * 3, RATE["lora"] * 9), quick=(RATE["lora"] * 3,)):
        for seed in SEEDS:
            right = mood.right(fit_lora(mood, CHOICES["q v"], r, 16, seed, rate))
            runs.append({"rank": r, "rate": rate, "seed": seed, "right": right, "accuracy": right.mean()})
fair = pd.concat([sweep[sweep["targets"] == "q v"].assign(rate=RATE["lora"]), pd.DataFrame(runs)])
best = {r: part.groupby("rate")["accuracy"].mean().idxmax() for r, part in fair.groupby("rank")}
for r, rate in best.items():
    print(f"rank {r:<3} is best at the learning rate {rate:.1e}")
first, last = (fair[(fair["rank"] == r) & (fair["rate"] == best[r])] for r in (RANKS[0], RANKS[-1]))
compare(f"rank {RANKS[0]} → {RANKS[-1]}", first, last)
low, high = (best[r] for r in (RANKS[0], RANKS[-1]))
guess.reveal(
    "a smaller one" if high < low else "a larger one" if high > low else "the same",
    why=f"By the mean accuracy of the seeds: {low:.1e} for rank {RANKS[0]}, {high:.1e} for rank {RANKS[-1]}.",
)
fair.groupby(["rank", "rate"])["accuracy"].agg(["mean", "min", "max"]).style.format("{:.3f}")

# %% [markdown]
# The last line compares the two ranks again, each at its own best rate. (Both rates were chosen on the test sentences, which flatters
# both. If the best rate is the largest of the three, a still larger one may be better.)
#
# ### α: usually 1?
#
# Many scripts have `lora_alpha=1` with rank 4, and some texts call 1 usual. The paper sets α *to the first r that we try*, so that
# $\frac{\alpha}{r} = 1$, and does not tune it; PEFT's own value is 8, with r = 8. One step of Adam moves every entry of $B$ by about
# the learning rate, whatever α is; then the output moves by α/r times that. So try α = 1, for rank 4 on W_q and W_v, with
# the learning rate that suited α = 16, with four times that rate, and with sixteen times.

# %% tags=["hide-input"]
guess = widgets.predict(
    "With which of the three rates is the mean accuracy at α = 1 the highest? (Of equal ones the smallest counts.)",
    options=["16 times", "4 times", "the same as for α = 16"],
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
means = []
for alpha, rate in ((1, RATE["lora"]), (1, 4 * RATE["lora"]), (1, 16 * RATE["lora"]), (16, RATE["lora"])):
    accuracies = []
    for seed in SEEDS:
        layers = small[seed] if alpha == 16 else fit_lora(mood, CHOICES["q v"], 4, alpha, seed, rate)
        accuracies.append(mood.right(layers).mean())
    means.append(np.mean(accuracies))
    print(f"alpha {alpha:<3} learning rate {rate:<5.2f} mean accuracy {means[-1]:.3f}, seeds", np.round(accuracies, 3).tolist())
guess.reveal(
    ["the same as for α = 16", "4 times", "16 times"][int(np.argmax(means[:3]))],
    why=f"{max(means[:3]):.3f}; with α = 16 and its own rate {means[3]:.3f}.",
)

# %% [markdown]
# Compare the first line with the last: the same learning rate, another α. Then see which rate makes up for the smaller α. The two belong
# together: α = 1 is no mistake in itself, but it wants another learning rate. They are not
# quite the same thing: a larger rate also moves $A$ faster, which a larger α does not. So do not copy one without the other.
# (@kalajdzievski2023rank goes the other way: at high ranks even α/r is too small, and α/√r keeps the size of the
# update; `use_rslora=True` in PEFT.)
#
# ## 6 · Is the true update low in rank?
#
# LoRA *assumes* that the change is low in rank. Full fine-tuning assumes nothing; so look at what it did. Each matrix of
# rank $n$ is a sum of $n$ matrices of rank 1, ordered by their *singular values*; the first $r$ of them are the nearest
# matrix of rank $r$ there is [@eckart1936approximation].

# %% tags=["exercise:extract_lora"]
def extract_lora(delta, rank):
    """The best adapter of a given rank for a change of weights that is already known.

    delta: float32 (out, in). rank: int, 1 … min(out, in). Returns (A, B, kept): A float32 (rank, in) and B float32
    (out, rank), both on the device of delta, so that B A is the matrix of that rank with the smallest sum of squared
    differences to delta; kept, float, the share of delta's sum of squares that B A has. Of a delta that is all zero
    nothing is lost: kept is 1.0.

    Example: delta [[3., 0.], [0., 1.]], rank 1: B A = [[3., 0.], [0., 0.]], kept 0.9.
    """
    ### BEGIN SOLUTION
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    whole = float(S.square().sum())
    return Vh[:rank], U[:, :rank] * S[:rank], float(S[:rank].square().sum()) / whole if whole else 1.0
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>The nearest matrix of rank r is the sum of the first r terms of the singular value decomposition (SVD). Each term is a column
# times a row.</details>
# <details><summary>Hint 2</summary><code>U, S, Vh = torch.linalg.svd(delta, full_matrices=False)</code>; the sum of squares of a matrix is that of its S. Put S
# into one of the two matrices, not into both.</details>
# <details><summary>Hint 3</summary><code>Vh[:rank]</code>, <code>U[:, :rank] * S[:rank]</code>. And what is 0/0?</details>

# %% tags=["tests:extract_lora:1"]
with lab.test("extract_lora"):
    A, B, kept = extract_lora(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1)
    lab.expect_close(B @ A, torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "B A of the example", atol=1e-5)
    lab.expect_close(kept, 0.9, "kept", atol=1e-5)
    g = torch.Generator().manual_seed(0)
    thin = torch.randn(9, 2, generator=g) @ torch.randn(2, 7, generator=g)
    A, B, kept = extract_lora(thin, 2)
    assert A.shape == (2, 7) and B.shape == (9, 2), f"A should be (2, 7) and B (9, 2), not {tuple(A.shape)}, {tuple(B.shape)}"
    lab.expect_close(B @ A, thin, "B A for a matrix that has rank 2", atol=1e-4)
    lab.expect_close(extract_lora(torch.zeros(3, 2), 1)[2], 1.0, "kept for a delta that is all zero")

# %% tags=["hidden:extract_lora:2"]
def probe():
    g = torch.Generator().manual_seed(6)
    cases = {
        "tall": ((8, 5), 3),  # because: a matrix with more rows than columns
        "wide": ((5, 8), 1),  # because: a matrix with more columns than rows, and the lowest rank
        "full rank": ((6, 6), 6),  # because: a square matrix and its full rank
        "large": ((40, 30), 10),  # because: a larger matrix
    }
    results = {}
    for name, (shape, rank) in cases.items():
        delta = torch.randn(*shape, generator=g) * torch.rand(shape[0], 1, generator=g) ** 3
        copy_ = delta.clone()
        A, B, kept = extract_lora(delta, rank)
        results[name] = {
            "B A": B @ A,
            "kept": kept,  # because: the share that is kept
            "A": list(A.shape),  # because: the shape of A
            "B": list(B.shape),  # because: the shape of B
            "same": bool(torch.equal(delta, copy_)),  # because: the matrix you were given, which must stay as it was
        }
    results["zero"] = {"kept": extract_lora(torch.zeros(4, 6), 2)[2]}  # because: a change that is zero everywhere
    return results


def check(got, want):
    close(got, want, rtol=1e-3, atol=1e-4)


def visible():
    A, B, kept = extract_lora(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1)
    g = torch.Generator().manual_seed(0)
    thin = torch.randn(9, 2, generator=g) @ torch.randn(2, 7, generator=g)
    wide, tall, _ = extract_lora(thin, 2)
    return [B @ A, kept, tall @ wide]

# %% [markdown]
# The first 8 of the 192 directions of a random matrix of 192 × 576, the shape of $W_v$ in the course model, hold about a tenth of its squares.

# %% tags=["hide-input"]
guess = widgets.predict("Which share of the squares do the first 8 directions of the *update* of W_v hold?", unit="%", tolerance=0.15)
guess_2 = widgets.predict(
    "Of every matrix's update only these 8 directions are kept. What becomes of the accuracy?",
    options=["it falls by more than 10 points", "it falls by less", "no change that can be seen", "it rises"],
)

# %% tags=["experiment"]
base_layers = base_model.model.layers[-TOP:]
linears = [path for path, module in base_layers.named_modules() if isinstance(module, nn.Linear)]


def change(layers, path):
    """What full fine-tuning added to one weight matrix."""
    return (layers.get_submodule(path).weight - base_layers.get_submodule(path).weight).detach()


lab.needs("lora_linear", "inject")
curves = {}
for path in linears:
    shares = []
    for layers in full.values():
        squares = torch.linalg.svdvals(change(layers, path)).square().cpu()
        shares.append((squares.cumsum(0) / squares.sum()).numpy())
    curves[path] = np.mean(shares, axis=0)
generator = torch.Generator().manual_seed(0)
noise = torch.linalg.svdvals(torch.randn(change(full[0], linears[0]).shape, generator=generator)).square()

# %% tags=["experiment"]
def thinner(tuned, choices):
    """For each choice of ranks, {path: rank}: the base layers plus the first directions of what full fine-tuning changed."""
    most = {path: max(choice[path] for choice in choices) for path in linears}
    found = {path: extract_lora(change(tuned, path), max(1, rank)) for path, rank in most.items()}
    for choice in choices:
        thin = copy.deepcopy(base_layers)
        for path, (A, B, _) in found.items():  # directions come in order: the first r of them are the best r
            r = choice[path]
            thin.get_submodule(path).weight.data += B[:, :r] @ A[:r]
        yield thin


def everywhere(r):
    """The same rank for every matrix."""
    return {path: min(r, *change(full[0], path).shape) for path in linears}


# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "extract_lora")
KEPT = lab.budget(full=(1, 2, 4, 8, 64), quick=(8,))
rows = []
for seed, layers in full.items():
    for r, thin in zip(KEPT, thinner(layers, [everywhere(r) for r in KEPT]), strict=True):
        right = mood.right(thin)
        rows.append({"rank": r, "seed": seed, "right": right, "accuracy": right.mean()})
cut = pd.DataFrame(rows)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "extract_lora")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.6))
for i, name in enumerate(("q_proj", "v_proj", "o_proj", "up_proj")):
    curve = np.mean([curve for path, curve in curves.items() if path.endswith(name)], axis=0)
    places = np.arange(1, len(curve) + 1)
    axes[0].plot(places, curve, marker="", linestyle=plots.LINES[i], color=plots.COLORS[i], label=name)
axes[0].plot(np.arange(1, len(noise) + 1), noise.cumsum(0) / noise.sum(), marker="", linestyle=":", color="grey", label="random")
axes[0].set(title="Full fine-tuning: squares held", xlabel="directions kept", ylabel="share of the update's squares", xscale="log")
axes[0].legend()
cells = cut.groupby("rank")["accuracy"]
spread = [100 * (cells.mean() - cells.min()), 100 * (cells.max() - cells.mean())]
axes[1].errorbar(cells.mean().index, 100 * cells.mean(), spread, capsize=4, label="full, cut to rank r afterwards")
axes[1].axhline(100 * full_accuracy, color="grey", linestyle=":", label="full, not cut")
axes[1].set(title="Full fine-tuning, cut", xlabel="rank kept", ylabel="accuracy (%)", xscale="log", xticks=KEPT, xticklabels=KEPT)
axes[1].minorticks_off()
axes[1].legend(loc="lower right")
plt.show()
for r, part in cut.groupby("rank"):
    paired(f"rank {r} minus not cut", np.stack(list(part["right"])).mean(0), answers["full"].mean(0), "the cut helps", "the cut costs accuracy")

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
ranks = [1, 8, 64]
shares = {path.split(".")[-1]: [] for path in linears}
for path, curve in curves.items():
    shares[path.split(".")[-1]].append([curve[min(r, len(curve)) - 1] for r in ranks])
frame = pd.DataFrame({name: np.mean(values, axis=0) for name, values in shares.items()}, index=ranks)
frame.rename_axis("directions").T.style.format("{:.2f}")

# %% tags=["hide-input", "experiment"]
lab.needs("lora_linear", "inject", "extract_lora")
guess.reveal(100 * frame.loc[8, "v_proj"], why="The mean of both layers and of the seeds.")
gap, low, high = scoring.paired(np.stack(list(cut[cut["rank"] == 8]["right"])).mean(0), answers["full"].mean(0))
guess_2.reveal(
    "it rises" if low > 0 else "no change that can be seen" if high >= 0 else "it falls by more than 10 points" if gap < -0.1 else "it falls by less",
    why=f"Cut minus not cut: {100 * gap:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}).",
)

# %% [markdown]
# See in the lines above the table from which rank on the cut costs little accuracy, or none that we could tell. (One of five intervals may
# miss 0 by chance.)
#
# But this experiment could hardly have come out otherwise. The task has two labels and a loss at one place of each sentence, so the
# gradients of all examples point in few directions, and a low rank is nearly built in.
#
# ### The control: a loss that could fail
#
# The same sentences, layers, steps and learning rate, but other losses. *Every next token* of a sentence, among all tokens that
# occur in these sentences: many labels, many places. That changes two things at once, so a third loss stands between: the *one* token in the
# middle of each sentence (many labels, one place). (The cell after your guess is folded: it trains every weight with both losses, and says what
# the training loss keeps of that if only a few directions are kept.)

# %% tags=["hide-input"]
guess = widgets.predict(
    "With the loss of every next token: how many times as many directions does it take to hold 90 % of a change's squares as with two labels "
    "(the median over the matrices)?",
    options=["fewer", "1 to 3 times as many", "3 to 10 times", "more than 10 times"],
)
guess_2 = widgets.predict(
    "And how much of what was learnt from every next token (the fall of the training loss) do the first 8 directions of each matrix keep?", unit="%", tolerance=0.15
)

# %% tags=["experiment", "hide-input"]
def next_token(task, layers, rows):
    return task.next_token_losses(layers, rows).mean()


def middle_token(task, layers, rows):
    return task.next_token_losses(layers, rows, middle=True).mean()


def directions(matrix, share=0.9):
    """How many of its first directions hold this share of a matrix's squares."""
    squares = torch.linalg.svdvals(matrix).square()
    return int((squares.cumsum(0) / squares.sum() < share).sum()) + 1


lab.needs("lora_linear", "inject", "extract_lora")
wide = {seed: fit_full(mood, seed, next_token) for seed in SEEDS}
one_place = {seed: fit_full(mood, seed, middle_token) for seed in SEEDS}
with torch.no_grad():
    learnt_on = torch.arange(mood.train, device=mood.ids.device)
    print(f"{len(mood.vocabulary):,} labels; loss in nats, before and after training (each seed)")
    for name, rows in (("test", mood.test_rows()), ("training", learnt_on)):
        start, *end = (next_token(mood, layers, rows).item() for layers in (base_layers, *wide.values()))
        print(f"  {name:<9} {start:.2f} →", *(f"{loss:.2f}" for loss in end))
    for r, thin in zip(KEPT, thinner(wide[0], [everywhere(r) for r in KEPT]), strict=True):
        regained = (start - next_token(mood, thin, learnt_on).item()) / (start - end[0])
        print(f"  the first {r:>2} directions of each matrix alone: {regained:.0%} of seed 0's gain in training loss")
        if r == 8:
            by_eight = regained

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
kinds = {path.split(".")[-1]: path for path in linears}  # of the last layer
generator = torch.Generator().manual_seed(0)
table = {}
for name, path in kinds.items():
    shape = change(full[0], path).shape
    table[name] = {
        "two labels, one place": np.mean([directions(change(layers, path)) for layers in full.values()]),
        "many labels, one place": np.mean([directions(change(layers, path)) for layers in one_place.values()]),
        "every next token": np.mean([directions(change(layers, path)) for layers in wide.values()]),
        "random matrix": directions(torch.randn(shape, generator=generator)),
        "of": min(shape),
    }
table = pd.DataFrame(table).T
for name in ("many labels, one place", "every next token"):
    times = (table[name] / table["two labels, one place"]).median()
    share = (table[name] / table["random matrix"]).median()
    print(f"{name:<23} {times:4.1f} times the directions of two labels; {share:.0%} of a random matrix's (medians over the matrices)")
table.style.format("{:.0f}").set_caption("Directions that hold 90 % of the squares (last layer, mean of the seeds)")

# %% tags=["hide-input", "experiment"]
lab.needs("lora_linear", "inject", "extract_lora")
guess.reveal(
    "fewer" if times < 1 else "1 to 3 times as many" if times < 3 else "3 to 10 times" if times <= 10 else "more than 10 times",
    why=f"{times:.1f} times, in the last layer; that is {share:.0%} of what a random matrix needs.",
)
guess_2.reveal(100 * by_eight, why="Measured on the first seed; what is missing lies in the many further directions.")

# %% [markdown]
# So how low the rank of a change is depends on the task and the loss, not on fine-tuning as such. The two printed lines say what many labels
# alone do, and what many places add to it. LoRA's assumption is a claim about *your* task. @biderman2024lora find the same at scale: after
# long training on code and mathematics the true updates have ranks 10 to 100 times those that LoRA commonly uses.
#
# ### Challenge: where should the rank go?
#
# One rank for every matrix is a habit. Some changes are large, some are small; some lie in a few directions; and a direction of a large
# matrix is more expensive ($d + k$ parameters) than one of a small matrix. You have a budget of trainable parameters. Which rank does each
# matrix get?
#
# Your score is the share of all squares that your directions hold, divided by an upper limit that no choice can exceed. The grader
# recomputes it on other changes and budgets, and asks for a mean of **at least 0.98**. How near to 1 do you get? Post your score.
#
# The next cell is folded; click it to read the code. `made_up_changes` gives you matrices to try; `parameters_of` and `squares_held` say what
# your ranks cost and hold, and `upper_limit` what could be held at most.

# %% tags=["hide-input"]
def made_up_changes(seed):
    """{name: change} of four small matrices: other shapes, sizes and singular values in each."""
    g = torch.Generator().manual_seed(seed)
    deltas = {}
    for name, (d, k) in {"v": (16, 48), "q": (48, 48), "up": (144, 48), "embedding": (480, 48)}.items():
        fall, size = torch.rand(2, generator=g)
        values = torch.arange(1, min(d, k) + 1) ** -(0.2 + 1.2 * fall)  # how fast the singular values fall
        U, V = (torch.linalg.qr(torch.randn(n, min(d, k), generator=g))[0] for n in (d, k))
        deltas[name] = (0.5 + size) * (U * values) @ V.T
    return deltas


def parameters_of(deltas, ranks):
    """Trainable parameters of adapters of these ranks."""
    return sum(rank * sum(deltas[name].shape) for name, rank in ranks.items())


def squares_held(deltas, ranks):
    """Share of the squares of all matrices together that the first directions of each hold."""
    squares = {name: torch.linalg.svdvals(delta).square() for name, delta in deltas.items()}
    held = sum(float(squares[name][:rank].sum()) for name, rank in ranks.items())
    return held / sum(float(part.sum()) for part in squares.values())


def upper_limit(deltas, budget):
    """As `squares_held`, if one could buy a part of a direction: no choice of whole directions is better."""
    items = [(float(s) ** 2, sum(delta.shape)) for delta in deltas.values() for s in torch.linalg.svdvals(delta)]
    held, left = 0.0, budget
    for square, price in sorted(items, key=lambda item: -item[0] / item[1]):
        held += square * min(1.0, left / price)
        left = max(0, left - price)
    return held / sum(square for square, _ in items)

# %% tags=["exercise:share_ranks"]
def share_ranks(deltas, budget):
    """Share a budget of trainable parameters out between matrices.

    deltas: dict {name: float32 (out, in)}, what full fine-tuning changed in each matrix. budget: int. An adapter of rank r
    beside a matrix (out, in) has r · (out + in) parameters; all adapters together may have at most `budget`.
    Returns a dict with an int for every name: its rank, from 0 (no adapter) to min(out, in). Make squares_held(deltas,
    ranks) as large as you can. deltas stays as it is.

    Example: deltas {"a": [[3., 0.], [0., 2.]], "b": [[1., 0.], [0., 1.]]}, budget 8: {"a": 2, "b": 0}.
    """
    ### BEGIN SOLUTION
    items = []
    for name, delta in deltas.items():
        price = sum(delta.shape)
        items += [(float(s) ** 2 / price, price, name) for s in torch.linalg.svdvals(delta)]
    ranks, closed = dict.fromkeys(deltas, 0), set()
    for _, price, name in sorted(items, key=lambda item: -item[0]):
        if price > budget:
            closed.add(name)  # a later direction of this matrix may not take the place of this one
        elif name not in closed:
            ranks[name] += 1
            budget -= price
    return ranks
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>What does one more direction of a matrix bring, and what does it cost? Think of the next direction of every
# matrix as goods in a shop, each with a value and a price.</details>
# <details><summary>Hint 2</summary><code>torch.linalg.svdvals(delta)</code> gives the singular values, the largest first; the square of the i-th is
# what direction i brings. Its price is <code>sum(delta.shape)</code>.</details>
# <details><summary>Hint 3</summary>Sort all directions of all matrices by value divided by price, and buy until nothing fits any more.</details>

# %% tags=["tests:share_ranks:1"]
with lab.test("share_ranks"):
    two = {"a": torch.tensor([[3.0, 0.0], [0.0, 2.0]]), "b": torch.eye(2)}
    got = share_ranks(two, 8)
    assert got == {"a": 2, "b": 0}, f"the example gives {{'a': 2, 'b': 0}}, not {got}"
    scores = []
    for seed, budget in ((1, 1500), (2, 3000), (3, 2600), (4, 5000)):
        deltas = made_up_changes(seed)
        ranks = share_ranks({name: delta.clone() for name, delta in deltas.items()}, budget)
        assert set(ranks) == set(deltas), f"a rank for each of {sorted(deltas)}, not for {sorted(ranks)}"
        for name, rank in ranks.items():
            most = min(deltas[name].shape)
            assert 0 <= rank <= most, f"{name} is {tuple(deltas[name].shape)}: its rank can be 0 to {most}, not {rank}"
        spent = parameters_of(deltas, ranks)
        assert spent <= budget, f"{ranks} has {spent} trainable parameters; the budget is {budget}"
        scores.append(squares_held(deltas, ranks) / upper_limit(deltas, budget))
        print(f"budget {budget:>5}: {ranks}, {scores[-1]:.3f} of the upper limit")
    score = sum(scores) / len(scores)
    print(f"score: {score:.3f}")
    assert score >= 0.98, (
        f"your score is {score:.3f}; at least 0.98 is asked for. Compare what the next direction of each matrix brings *for each parameter*"
    )

# %% tags=["hidden:share_ranks:2"]
def shared(deltas, budget):
    """The ranks, and what a score of them is computed from."""
    return {
        "ranks": share_ranks({name: delta.clone() for name, delta in deltas.items()}, budget),
        "squares": {name: torch.linalg.svdvals(delta).square().tolist() for name, delta in deltas.items()},
        "prices": {name: sum(delta.shape) for name, delta in deltas.items()},
        "budget": budget,
        "limit": upper_limit(deltas, budget),
    }


def probe():
    return {
        "few": shared(made_up_changes(11), 1500),  # because: a budget for few directions
        "most": shared(made_up_changes(12), 6000),  # because: a budget for many directions
        "sizes": shared(made_up_changes(13), 3000),  # because: matrices whose changes differ in size
        "spectra": shared(made_up_changes(14), 4000),  # because: matrices whose singular values fall differently
        "third": shared(made_up_changes(15), 2000),  # because: other changes of the same shapes
        "fourth": shared(made_up_changes(16), 5000),  # because: other changes of the same shapes
        "nothing": shared({"a": torch.eye(3)}, 5),  # because: a budget that is too small for any direction
    }


def visible():
    return {str(seed): shared(made_up_changes(seed), budget) for seed, budget in ((1, 1500), (2, 3000), (3, 2600), (4, 5000))}


def check(got, want):
    scores = []
    for name, case in want.items():
        ranks, squares = got[name]["ranks"], case["squares"]
        assert set(ranks) == set(squares), "a rank for each matrix"
        assert all(0 <= rank <= len(squares[each]) for each, rank in ranks.items()), "ranks that a matrix cannot have"
        spent = sum(rank * case["prices"][each] for each, rank in ranks.items())
        assert spent <= case["budget"], f"{spent} trainable parameters; the budget was {case['budget']}"
        held = sum(sum(squares[each][:rank]) for each, rank in ranks.items()) / sum(map(sum, squares.values()))
        if case["budget"] > 5:
            scores.append(held / case["limit"])
    score = sum(scores) / len(scores)
    assert score >= 0.98, f"score: {score:.3f} of the upper limit; at least 0.98 is asked for"


def check_visible(got, want):
    check(got, want)

# %% [markdown]
# Now the real changes: those of the next-token loss, with the parameters that rank 8 everywhere has.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Your function may move parameters between the attention's matrices and those of the MLP. Which of the two gets more than with rank 8 everywhere?",
    options=["the attention", "the MLP", "neither"],
)
guess_2 = widgets.predict(
    "Do more squares mean that more of what was learnt is kept? Compare the gain in training loss of both choices, for each seed.",
    options=["yes, for every seed", "for some seeds only", "for no seed"],
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "extract_lora", "share_ranks")
rows = {}
with torch.no_grad():
    start = next_token(mood, base_layers, learnt_on).item()
    for seed, layers in list(wide.items())[:2]:
        deltas = {path: change(layers, path) for path in linears}
        choices = {"rank 8 everywhere": everywhere(8)}
        choices["shared out"] = share_ranks(deltas, parameters_of(deltas, choices["rank 8 everywhere"]))
        whole = start - next_token(mood, layers, learnt_on).item()
        for (name, ranks), thin in zip(choices.items(), thinner(layers, list(choices.values())), strict=True):
            regained = (start - next_token(mood, thin, learnt_on).item()) / whole
            rows[seed, name] = {"squares held": squares_held(deltas, ranks), "gain in training loss kept": regained}
print({path: rank for path, rank in choices["shared out"].items() if path.startswith("1.")})
pd.DataFrame(rows).T.rename_axis(["seed", "ranks"]).style.format("{:.3f}")

# %% tags=["hide-input", "experiment"]
lab.needs("lora_linear", "inject", "extract_lora", "share_ranks")
spent = {
    name: [sum(rank * sum(deltas[path].shape) for path, rank in ranks.items() if kind in path) for kind in ("self_attn", "mlp")]
    for name, ranks in choices.items()
}
(some_attention, some_mlp), (attention, mlp) = spent["rank 8 everywhere"], spent["shared out"]
guess.reveal(
    "the attention" if attention > some_attention else "the MLP" if mlp > some_mlp else "neither",
    why=f"The MLP's share of the parameters is {some_mlp / (some_attention + some_mlp):.0%} with rank 8 everywhere, {mlp / (attention + mlp):.0%} shared out.",
)
kept = pd.DataFrame(rows).loc["gain in training loss kept"].unstack()
better = int((kept["shared out"] > kept["rank 8 everywhere"]).sum())
guess_2.reveal(
    "yes, for every seed" if better == len(kept) else "for some seeds only" if better else "for no seed",
    why=f"By {100 * (kept['shared out'] - kept['rank 8 everywhere']).mean():+.1f} points of the gain, in the mean.",
)

# %% [markdown]
# The first column must be larger for the shared-out ranks: that is what you maximized. By how much depends on how unlike the matrices'
# changes are. The second need not be larger: squares of weights are not loss. @zhang2023adalora (*AdaLoRA*) share ranks out while training, and therefore rank the directions by what they do to the loss.
#
# ## 7 · Memory
#
# Training holds the weights, a gradient for each *trainable* parameter, and Adam's two averages for each trainable parameter. (And
# activations: with LoRA, too, the gradient must go through all layers.) Count the first three on the objects themselves.

# %% tags=["exercise:memory_bytes"]
def memory_bytes(model, optimizer):
    """Bytes that a model and its optimizer hold now.

    model: nn.Module. optimizer: torch.optim.Optimizer. Returns a dict of int: "frozen" and "trained", the bytes of the
    parameters without and with requires_grad (buffers are left out); "gradients", of all .grad that are there; "optimizer",
    of all tensors that optimizer.state keeps for its parameters. A parameter that two modules share counts once.

    Example: nn.Linear(10, 1) in float32 after one step of AdamW: frozen 0, trained 44, gradients 44, optimizer 96: two
    averages of 11 numbers, and a step counter of 4 bytes for each of the two parameters.
    """
    ### BEGIN SOLUTION
    def size(tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    parameters = list(model.parameters())
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    return {
        "frozen": size(p for p in parameters if not p.requires_grad),
        "trained": size(p for p in parameters if p.requires_grad),
        "gradients": size(p.grad for p in parameters if p.grad is not None),
        "optimizer": size(kept),
    }
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Four sums of the same kind, over four lists of tensors. Which of them may be empty before the first step?</details>
# <details><summary>Hint 2</summary><code>tensor.numel() * tensor.element_size()</code> are the bytes of a tensor. <code>optimizer.state</code> is
# <code>{parameter: {name: value}}</code>, and not every value is a tensor.</details>
# <details><summary>Hint 3</summary><code>[v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]</code></details>

# %% tags=["tests:memory_bytes:1"]
with lab.test("memory_bytes"):
    toy = nn.Linear(10, 1)
    optimizer = torch.optim.AdamW(toy.parameters())
    got = memory_bytes(toy, optimizer)
    want = {"frozen": 0, "trained": 44, "gradients": 0, "optimizer": 0}
    assert got == want, f"before the first step: {want}, not {got}"
    toy(torch.ones(1, 10)).sum().backward()
    optimizer.step()
    got, want = memory_bytes(toy, optimizer), {"frozen": 0, "trained": 44, "gradients": 44, "optimizer": 96}
    assert got == want, f"after one step of AdamW: {want}, not {got}"
    optimizer.state[toy.weight]["note"] = 1  # some optimizers keep plain numbers, too
    got = memory_bytes(toy, optimizer)
    assert got == want, f"a number that is no tensor beside the averages: still {want}, not {got}"
    tied = small_llama(tied=True).to(torch.bfloat16)  # two bytes each; the output matrix is the embedding
    got, want = memory_bytes(tied, torch.optim.SGD(tied.parameters(), lr=0.1)), 2 * sum(p.numel() for p in tied.parameters())
    assert got["trained"] == want, f"a model in bfloat16 whose output matrix is its embedding: {want} bytes, not {got['trained']}"

# %% tags=["hidden:memory_bytes:2"]
def probe():
    def stepped(model, optimizer):
        model(torch.arange(6)[None]).logits.float().pow(2).sum().backward()
        optimizer.step()
        return memory_bytes(model, optimizer)

    tied, part = small_llama(3, tied=True), small_llama(4).to(torch.bfloat16)
    part.requires_grad_(False)
    part.model.layers[1].requires_grad_(True)
    results = {
        "tied": stepped(tied, torch.optim.AdamW(tied.parameters())),  # because: two modules that share a parameter
        # because: a model in bfloat16 of which one layer alone is trained, with another optimizer
        "part": stepped(part, torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=0.1, momentum=0.9)),
    }
    codes = nn.Linear(4, 6)
    codes.weight = nn.Parameter(torch.zeros(6, 4, dtype=torch.int8), requires_grad=False)
    codes.register_buffer("scale", torch.ones(6))
    # because: frozen integers and a buffer, before any step
    results["codes"] = memory_bytes(codes, torch.optim.SGD([codes.bias], lr=1.0))
    return results


def visible():
    toy = nn.Linear(10, 1)
    optimizer = torch.optim.AdamW(toy.parameters())
    before = memory_bytes(toy, optimizer)
    toy(torch.ones(1, 10)).sum().backward()
    optimizer.step()
    after = memory_bytes(toy, optimizer)
    optimizer.state[toy.weight]["note"] = 1
    return [before, after, memory_bytes(toy, optimizer)]

# %% [markdown]
# Now the whole course model, four ways, a few real steps each, on the CPU, where the system says how much memory a process
# holds. Each way runs in a *process of its own*, or the memory of one would be counted for the next; while it trains, a thread
# reads the memory.
#
# The next two cells are folded; click them to read the code. `measure` loads the model, trains it for some steps, and prints the memory,
# and the losses as JSON; the cell after it starts it as a program of its own. "Activations" are counted too: PyTorch calls a hook for every tensor that it keeps for the
# backward pass, and we add up those that are no parameters.

# %% tags=["hide-input"]
def measure(name, kind, steps):
    """Train for some steps in this process and print what it took, in bytes."""
    import json
    import tempfile
    import threading
    from pathlib import Path

    import psutil
    import torch
    from peft import LoraConfig, get_peft_model

    from course_utils import load_model

    process = psutil.Process()
    before = process.memory_info().rss
    model, tokenizer = load_model(name, precision=kind if kind in ("int8", "nf4") else "fp32", device="cpu")
    if kind == "full":
        model.requires_grad_(True)
    else:
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    batch = tokenizer(["A film about a man and his dog, and not a bad one."] * 2, return_tensors="pt")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    kept, parameters = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model(**batch, labels=batch["input_ids"]).loss
    activations = sum(size for place, size in kept.items() if place not in parameters)
    del loss
    largest = max(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    losses = []
    for _ in range(steps):
        loss = model(**batch, labels=batch["input_ids"]).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    done.set()
    watcher.join()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        checkpoint = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    counted = {**memory_bytes(model, optimizer), "activations": activations, "largest trained matrix": largest}
    print(json.dumps({**counted, "peak": peak[0] - before, "checkpoint": checkpoint, "losses": losses}))

# %% tags=["experiment", "hide-input"]
lab.needs("memory_bytes")
program = programs.program("import torch", [memory_bytes, measure])  # with what your function uses
WAYS = {"full": "full", "lora": "LoRA", "int8": "LoRA on int8", "nf4": "LoRA on nf4 (QLoRA)"}


def possible(kind):
    """Does this way of training MODEL fit the CPU's memory? If not, say so."""
    precision, training = (kind if kind in ("int8", "nf4") else "fp32"), ("full" if kind == "full" else "lora")
    need = hardware.plan(MODEL, precision, batch=2, context=16, training=training, compute_dtype="fp32")
    whole = all(module.in_features % 64 == 0 for module in base_model.modules() if isinstance(module, nn.Linear))
    fits = hardware.fits(need, "cpu")
    if not fits:
        print(f"{WAYS[kind]} of {MODEL} needs {need.total / 1e9:.1f} GB, which are not free here: left out")
    elif kind == "nf4" and not whole:
        print(f"{MODEL} has rows that are no whole blocks of 64, which bitsandbytes' nf4 cannot have on a CPU: left out")
    return fits and (kind != "nf4" or whole)


def last_line(program):
    """What a program prints last, in a process of its own. (With the quick budget in this one: to start takes longer than to train.)"""
    if lab.budget(full=False, quick=True):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(program, {})
        return printed.getvalue().splitlines()[-1]
    at_once = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # Linux: memory that is freed is given back at once
    done = subprocess.run([sys.executable, "-c", program], env=at_once, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.splitlines()[-1]


# %% tags=["experiment"]
lab.needs("memory_bytes")
found = {}
kinds = [kind for kind in lab.budget(full=tuple(WAYS), quick=("lora",)) if possible(kind)]
with ThreadPoolExecutor(max_workers=2) as pool:
    for some in (kinds[:1], kinds[1:]):  # the largest alone, then two at a time: a process's memory is its own
        calls = [f"{program}measure({MODEL!r}, {kind!r}, {lab.budget(full=2, quick=1)})" for kind in some]
        found |= {kind: json.loads(line) for kind, line in zip(some, pool.map(last_line, calls), strict=True)}
held = pd.DataFrame(found).T.rename(index=WAYS)
parts = ["frozen", "trained", "gradients", "optimizer", "activations", "peak", "largest trained matrix", "checkpoint"]
shown = held[parts].astype(float) / 1e6
shown.insert(6, "peak minus all of these", shown["peak"] - shown[parts[:5]].sum(axis=1))
shown.style.format("{:.1f}").set_caption("MB")

# %% tags=["experiment"]
lab.needs("memory_bytes")
fig, ax = plt.subplots(figsize=(10, 4.4))
bottom = np.zeros(len(held))
for i, part in enumerate(("frozen", "trained", "gradients", "optimizer", "activations")):
    values, look = held[part].astype(float).to_numpy() / 1e6, {"edgecolor": plots.COLORS[i], "hatch": plots.HATCHES[i]}
    ax.bar(held.index, values, 0.55, bottom=bottom, color="white", label=part, **look)
    bottom += values
ax.plot(held.index, held["peak"].astype(float) / 1e6, "D", color="black", linestyle="", label="measured peak")
ax.set(title=f"Fine-tuning the {MODEL} model (AdamW)", ylabel="MB", xlabel="what is trained, on what")
ax.legend()
plt.show()
ratio = held.astype({"peak": float, "checkpoint": float, "optimizer": float})
for name in ratio.index[1:] if "full" in ratio.index else ():
    less = [f"{what} {ratio.loc['full', what] / ratio.loc[name, what]:.1f}" for what in ("peak", "optimizer", "checkpoint")]
    print(f"{name:<20} times less than full fine-tuning:", ", ".join(less))

# %% [markdown]
# Read five things; the next cell puts numbers to them.
#
# - **Optimizer and gradients** nearly vanish with LoRA: that is the saving the paper reports, from 1.2 TB to 350 GB for GPT-3
#   175B. What is left are the weights themselves.
# - **The base** is what 8 and 4 bits shrink, by the count. Does the measured peak fall, too? On a CPU it need not. Likely reasons, which we
#   did not separate: bitsandbytes makes a weight matrix a float32 one before it
#   multiplies, the embedding (a fifth of our model) stays float32, and loading passes through larger copies.
# - **The activations** hardly become fewer with LoRA. The gradient must come
#   down through all layers, and $A$ needs the input of its layer as $W$ would; $Ax$ comes on top.
# - **The rest**, the peak minus all that we counted, is where full fine-tuning and LoRA differ besides.
#   It is temporary memory, which likely grows with the largest *trained* matrix (we did not vary it): the embedding with full fine-tuning, a thin
#   $A$ or $B$ with LoRA. (AdamW makes copies of the matrix that it is updating, and the two gradients of the shared embedding are
#   added up.) So "LoRA saves activations", which a measured peak seems to say, would be the wrong conclusion.
# - **The checkpoint** of an adapter is a small file, whatever the base is stored in.

# %% tags=["experiment"]
lab.needs("memory_bytes")
megabytes = shown.to_dict("index")
if {WAYS["full"], WAYS["lora"]} <= set(megabytes):
    whole, low = megabytes[WAYS["full"]], megabytes[WAYS["lora"]]
    print("LoRA as a share of full fine-tuning:", ", ".join(f"{part} {low[part] / whole[part]:.0%}" for part in (*parts[2:6], "peak minus all of these")))
for name in (WAYS["int8"], WAYS["nf4"]):
    if name in megabytes and WAYS["lora"] in megabytes:
        less = megabytes[WAYS["lora"]]["peak"] - megabytes[name]["peak"]
        print(f"{name}: the measured peak is {abs(less):.0f} MB {'lower' if less > 0 else 'higher'} than that of LoRA on float32")

# %% [markdown]
# And for Llama 2 7B? `hardware.plan` counts the same parts from the configuration alone:

# %%
rows = []
for precision, training in (("fp32", "full"), ("bf16", "full"), ("bf16", "lora"), ("int8", "lora"), ("nf4", "lora")):
    plan = hardware.plan("llama-2-7b", precision, batch=1, context=512, training=training, lora_rank=8)
    parts = (plan.weights + plan.scales, plan.gradients, plan.optimizer, plan.activations, plan.total)
    rows.append((f"{training}, {precision}", *(part / 1e9 for part in parts), "yes" if plan.total < 15e9 else "no"))
columns = ["training, base", "weights (GB)", "gradients (GB)", "optimizer (GB)", "activations, estimate (GB)", "total (GB)"]
columns.append("fits a T4 (15 GB usable)")
pd.DataFrame(rows, columns=columns).style.format(precision=2).hide()

# %% [markdown]
# (*full, bf16* counts everything in bf16, Adam's averages too: 8 bytes per parameter. With float32 averages and a float32 copy of the weights it would
# be 16. LoRA's matrices are float32 in every row, with float32 gradients and averages: 16 bytes for each number in them.) QLoRA [@dettmers2023qlora] made this known:
# 65 billion parameters fine-tuned on one card of 48 GB, instead of the more than 780 GB that 16-bit fine-tuning takes.
#
# ## 8 · An older configuration, today
#
# A widely copied script tunes `bigscience/bloomz-560m` with these settings. Run on another model they fail, and the message helps:

# %%
SCRIPT = {"r": 4, "lora_alpha": 1, "target_modules": ["query_key_value"], "lora_dropout": 0.05, "bias": "lora_only"}
with torch.device("meta"):
    llama = transformers.AutoModelForCausalLM.from_config(models.resolve("course")[1])
    bloomz = transformers.AutoModelForCausalLM.from_config(models.resolve("bloomz-560m")[1])
try:
    get_peft_model(llama, LoraConfig(**SCRIPT, task_type="CAUSAL_LM"))
except ValueError as error:
    print(f"ValueError: {error}"[:150])

# %% [markdown]
# BLOOM has one matrix for queries, keys and values; Llama has three. `bias="lora_only"` trains the biases of the adapted layers
# too: BLOOM has them, Llama has none. In each of bloomz-560m's 24 layers this matrix has 1024 inputs and 3072 outputs.

# %% tags=["hide-input"]
guess = widgets.predict("How many trainable parameters does PEFT count in bloomz-560m with these settings?", tolerance=0.01)

# %%
adapted_bloomz = get_peft_model(bloomz, LoraConfig(**SCRIPT, task_type="CAUSAL_LM"))
print(adapted_bloomz.print_trainable_parameters())
by_hand = 24 * (4 * (1024 + 3072) + 3072)
print(f"by hand: {by_hand:,}")
guess.reveal(adapted_bloomz.get_nb_trainable_parameters()[0], why="In each layer 4 · (1024 + 3072) of A and B, and the 3072 biases.")

# %% [markdown]
# (`None`: the method prints by itself; the `print(…)` around it prints what it returns.) Two more lines of the script are out of
# date. What does today's `transformers` say?

# %% tags=["experiment"]
from course_utils import weights

folder = weights.path("course")
try:
    transformers.AutoModelForCausalLM.from_pretrained(folder, load_in_8bit=True)
except TypeError as error:
    print(f"TypeError: {error}")
print("today: quantization_config=BitsAndBytesConfig(load_in_8bit=True), quantized by", transformers.BitsAndBytesConfig().quant_method.value)

# %% [markdown]
# And `torch_dtype=` still works, with a note that it is deprecated: it is `dtype=` now. Training with the script's settings, its
# `Trainer` and its collator, on the course model; and on bloomz-560m where a hub can be reached. Where none can, we make a small
# BLOOM with random parameters, save it with a tokenizer in a folder, and give that folder to the script: it has the same parts (one matrix for
# queries, keys and values, with a bias), and its loss says nothing. The adapter is saved and loaded again, as in the script. (The next cell is
# folded: the script's configuration, `Trainer` and collator; and a question to the hub.)

# %% tags=["experiment", "hide-input"]
def train_with_script(model, tokenizer, targets, steps):
    """The script's Trainer and settings; returns the losses of its steps and the model."""
    config = LoraConfig(**{**SCRIPT, "target_modules": targets}, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    texts = [f"Review: {text}" for text in data.movie_sentences().shuffle(seed=1)["text"][: 4 * steps]]
    rows = [tokenizer(text, truncation=True, max_length=32) for text in texts]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=4, learning_rate=1e-3, logging_steps=1, report_to="none",
            disable_tqdm=True, dataloader_pin_memory=False, save_strategy="no",
        )  # fmt: skip
        collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
        trainer = transformers.Trainer(model=model, args=settings, train_dataset=rows, data_collator=collator)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], model


def hub_has(name):
    spec = models.find(name)
    try:
        models.reach_hub(spec.hub_id, spec.revision)
    except errors.DownloadError:  # then without the larger model
        return False
    return True

# %% tags=["experiment"]
STEPS = lab.budget(full=4, quick=1)
losses, tuned = train_with_script(copy.deepcopy(base_model), tokenizer, ["q_proj", "k_proj", "v_proj"], STEPS)
print(f"{MODEL} model, loss of each step:", np.round(losses, 2).tolist())
tuned.print_trainable_parameters()
has_bloomz = hub_has("bloomz-560m") and lab.budget(full=True, quick=False)
if has_bloomz:
    losses, tuned = train_with_script(*load_model("bloomz-560m", precision="fp32"), ["query_key_value"], STEPS)
    print("bloomz-560m, loss of each step:", np.round(losses, 2).tolist())

# %% tags=["experiment"]
if not has_bloomz:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 64, "n_layer": 2, "n_head": 4}
    with tempfile.TemporaryDirectory() as folder:
        transformers.BloomForCausalLM(transformers.BloomConfig(**sizes)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        read = transformers.AutoTokenizer.from_pretrained(folder)
        losses, tuned = train_with_script(transformers.AutoModelForCausalLM.from_pretrained(folder), read, ["query_key_value"], STEPS)
        tuned.save_pretrained(Path(folder, "adapter"))
        again = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(folder), Path(folder, "adapter"))
    print("a small BLOOM with random parameters (no hub here), loss of each step:", np.round(losses, 2).tolist())
    trained = sorted({name.split(".", 5)[-1] for name, p in tuned.named_parameters() if p.requires_grad})
    print("trained in it:", ", ".join(trained))
    line = read("A film", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        saved, loaded = (each.eval().cpu()(line).logits for each in (tuned, again))
    print(f"saved and loaded again, the logits differ by {float((saved - loaded).abs().max()):.1e}")
    del again
del tuned

# %% [markdown]
# ## 9 · Out of this notebook
#
# An adapter is worth little if only its author's code can read it. PEFT's own format is a folder with two files:
#
# - `adapter_config.json`: settings, by the names of `LoraConfig`,
# - `adapter_model.safetensors`: the matrices, named `base_model.model.PATH.lora_A.weight` and `….lora_B.weight`.

# %% tags=["exercise:save_adapter"]
def save_adapter(folder, adapters, alpha, base_name):
    """Write an adapter as PEFT writes its own.

    folder: str or Path of a folder that exists. adapters: {path of a linear layer in the model: (A, B)}, all of the same
    rank; A: (r, in), B: (out, r). alpha: float. base_name: str. Writes two files into folder:
    adapter_config.json: an object with "peft_type": "LORA", "task_type": "CAUSAL_LM", "r", "lora_alpha": alpha,
    "lora_dropout": 0.0, "bias": "none", "target_modules": the sorted list of all paths, "base_model_name_or_path":
    base_name, "inference_mode": true;
    adapter_model.safetensors: each A and B under its name (see above), in its dtype. Returns nothing.
    """
    ### BEGIN SOLUTION
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": next(iter(adapters.values()))[0].shape[0],
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(adapters),
        "base_model_name_or_path": base_name,
        "inference_mode": True,
    }
    Path(folder, "adapter_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    tensors = {
        f"base_model.model.{path}.lora_{letter}.weight": matrix.detach().clone().contiguous()
        for path, pair in adapters.items()
        for letter, matrix in zip("AB", pair, strict=True)
    }
    save_file(tensors, Path(folder, "adapter_model.safetensors"))
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two files, two small steps: a dict of settings as JSON, a dict of tensors. The rank is written nowhere in the arguments;
# which shape tells it?</details>
# <details><summary>Hint 2</summary><code>Path(folder, "adapter_config.json").write_text(json.dumps(…), encoding="utf-8")</code>; <code>save_file({name:
# tensor}, path)</code> wants tensors that are contiguous and share no memory.</details>
# <details><summary>Hint 3</summary><code>f"base_model.model.{path}.lora_A.weight": A.detach().clone().contiguous()</code>. <code>target_modules</code> are the whole
# paths: with last parts alone PEFT adapts layers that you did not save.</details>

# %%
def random_adapter(model, r, seed):
    """{path: (A, B)} for queries of all layers and one matrix of the MLP, as if trained."""
    g = torch.Generator().manual_seed(seed)
    chosen = [p for p, m in model.named_modules() if p.endswith("q_proj") or p.endswith("layers.1.mlp.up_proj")]
    shapes = {path: model.get_submodule(path).weight.shape for path in chosen}
    return {p: (torch.randn(r, k, generator=g), torch.randn(d, r, generator=g) / 9) for p, (d, k) in shapes.items()}


def shared_adapter():
    """Two layers with one and the same A, which is not contiguous."""
    A = torch.arange(12.0).reshape(6, 2).T
    return {f"model.layers.{i}.self_attn.q_proj": (A, torch.full((6, 2), float(i))) for i in range(2)}


def logits_by_hand(model, adapters, scaling, ids):
    """The adapted model's logits, by adding to its weights."""
    model = copy.deepcopy(model)
    for path, (A, B) in adapters.items():
        model.get_submodule(path).weight.data += scaling * B @ A
    return model(ids).logits.detach()

# %% tags=["tests:save_adapter:2"]
with lab.test("save_adapter"):
    toy, ids = small_llama(), torch.arange(10)[None]
    adapter = random_adapter(toy, 2, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(folder, adapter, 6.0, "toy")
        names = sorted(file.name for file in Path(folder).iterdir())
        assert names == ["adapter_config.json", "adapter_model.safetensors"], f"the folder holds {names}"
        settings = json.loads(Path(folder, "adapter_config.json").read_text(encoding="utf-8"))
        assert settings["r"] == 2 and settings["lora_alpha"] == 6.0, f"r should be 2, lora_alpha 6: {settings}"
        assert settings["target_modules"] == sorted(adapter), (
            f"target_modules should be the whole paths, or PEFT adapts layers that were not saved: {settings['target_modules']}"
        )
        stored = sorted(load_file(Path(folder, "adapter_model.safetensors")))
        assert stored[0] == "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", f"the first name is {stored[0]}"
        shape = tuple(load_file(Path(folder, "adapter_model.safetensors"))[stored[0]].shape)
        assert shape == (2, 24), f"{stored[0]} should be A, of the shape (2, 24), not {shape}"
        got = PeftModel.from_pretrained(copy.deepcopy(toy), folder)(ids).logits.detach()
    lab.expect_close(got, logits_by_hand(toy, adapter, 3.0, ids), "logits of the adapter as PEFT loads it", atol=1e-5)
    shared = shared_adapter()
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(folder, shared, 6.0, "toy")
        stored = load_file(Path(folder, "adapter_model.safetensors"))
    for path, (A, _) in shared.items():
        lab.expect_close(stored[f"base_model.model.{path}.lora_A.weight"], A, f"{path}: an A that is not contiguous, one memory for two layers")

# %% tags=["hidden:save_adapter:3"]
def probe():
    toy = small_llama(7)
    adapter = random_adapter(toy, 3, seed=2)
    adapter = {path: (nn.Parameter(A), B.T.contiguous().T) for path, (A, B) in adapter.items()}  # trained; not contiguous
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(Path(folder), adapter, 4.5, "some/base")
        settings = json.loads(Path(folder, "adapter_config.json").read_text(encoding="utf-8"))
        stored = load_file(Path(folder, "adapter_model.safetensors"))
        logits = PeftModel.from_pretrained(copy.deepcopy(toy), folder)(torch.arange(9)[None]).logits.detach()
    asked = ("peft_type", "task_type", "r", "lora_alpha", "bias", "target_modules", "base_model_name_or_path", "lora_dropout")
    return {
        "settings": {key: settings.get(key) for key in asked},  # because: what the configuration says
        "stored": dict(stored),  # because: the file of tensors, for parameters that were trained or are not contiguous
        "logits": logits,  # because: the adapter as PEFT loads it
    }


def check(got, want):
    close(got["settings"], want["settings"])
    close(got["stored"], want["stored"])
    close(got["logits"], want["logits"], rtol=1e-4, atol=1e-4)


def visible():
    toy = small_llama()
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(folder, random_adapter(toy, 2, seed=1), 6.0, "toy")
        settings = json.loads(Path(folder, "adapter_config.json").read_text(encoding="utf-8"))
        stored = load_file(Path(folder, "adapter_model.safetensors"))
        logits = PeftModel.from_pretrained(copy.deepcopy(toy), folder)(torch.arange(10)[None]).logits.detach()
        save_adapter(folder, shared_adapter(), 6.0, "toy")
        shared = load_file(Path(folder, "adapter_model.safetensors"))
    return [settings["r"], settings["lora_alpha"], sorted(stored), logits, dict(shared)]

# %% [markdown]
# Now the adapter that learnt moods in section 5: saved by you, loaded by plain PEFT beside the *whole* course model, thirty
# layers. Are its logits those of your own layers? (The next cell is folded: `export` saves trained layers with your `save_adapter`.)

# %% tags=["experiment", "hide-input"]
lab.needs("lora_linear", "inject", "save_adapter")


def whole_paths(layers):
    """{path in the whole model: its LoRALinear} of adapted last layers."""
    first = base_model.config.num_hidden_layers - TOP
    split = ((path.partition("."), layer) for path, layer in adapters_of(layers).items())
    return {f"model.layers.{first + int(i)}.{rest}": layer for (i, _, rest), layer in split}


def export(layers, folder, alpha=16):
    """Save the adapter of trained layers; returns the bytes on disk."""
    Path(folder).mkdir()
    save_adapter(folder, {p: (layer.A, layer.B) for p, layer in whole_paths(layers).items()}, alpha, MODEL)
    return Path(folder, "adapter_model.safetensors").stat().st_size


workshop = tempfile.TemporaryDirectory()
size, MOOD = export(small[0], f"{workshop.name}/mood"), f"{workshop.name}/mood"
plain = PeftModel.from_pretrained(copy.deepcopy(base_model), MOOD)
rows = torch.arange(8)
with torch.no_grad():
    by_peft = plain(mood.ids[:8]).logits[rows, mood.last[:8]][:, mood.words]
    by_you = mood.logits(small[0], rows)
    untouched = base_model(mood.ids[:8]).logits[rows, mood.last[:8]][:, mood.words]
print(f"{size:,} bytes; the adapter moves these logits by up to {float((by_peft - untouched).abs().max()):.2f}")
print(f"largest difference between PEFT's logits and yours: {float((by_peft - by_you).abs().max()):.1e}")
assert apart(by_peft, by_you) < 1e-4
del plain

# %% [markdown]
# ## 10 · Many adapters, one base
#
# Train one adapter for each task, deploy one base. Two tasks can also share one *merged* adapter. The sum of
# two low-rank changes, $s_1 B_1 A_1 + s_2 B_2 A_2$, has at most the sum of their ranks, so it is an adapter too: the matrices side by side.
# One could also add the two $A$, and the two $B$.

# %% tags=["hide-input"]
widgets.predict(
    "Both scalings are 1. What does an adapter with A₁ + A₂ and B₁ + B₂ add to W?",
    options=["B₁A₁ + B₂A₂, just as the two adapters do", "B₁A₁ + B₂A₂ + B₁A₂ + B₂A₁", "2 (B₁A₁ + B₂A₂)", "B₁A₂ + B₂A₁"],
    answer="B₁A₁ + B₂A₂ + B₁A₂ + B₂A₁",
    why="(B₁ + B₂)(A₁ + A₂), multiplied out: the products of one task's B with the other's A come on top.",
)

# %% [markdown]
# The second task: what kind of answer does a question want, a person, a number, a date or a place? (Questions of SQuAD with
# types, from Natural Instructions; @wang2022super.)

# %% tags=["experiment", "ladder"]
KINDS = {"Humans.": " person", "Quantity.": " number", "Date.": " date", "Location.": " place"}
questions = [
    (row["input"].split("(Answer")[0].removeprefix("Question: ").strip(), row["targets"][0])
    for row in data.bigbench("natural_instructions/subtask046_miscellaenous_question_typing").shuffle(seed=0)
    if len(row["targets"]) == 1 and row["targets"][0] in KINDS
]
sort = Task(
    [text + "\nThe answer is a" for text, _ in questions],
    [list(KINDS).index(kind) for _, kind in questions],
    list(KINDS.values()),
    train=TRAIN,
    longest=16,
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "save_adapter")
sorter = fit_lora(sort, CHOICES["q v"], 4, 16, seed=0)
print(f"question types: {sort.right(base_layers).mean():.2f} before, {sort.right(sorter).mean():.2f} after")
SORT = f"{workshop.name}/sort"
export(sorter, SORT);

# %% [markdown]
# ### What was forgotten?
#
# @biderman2024lora: LoRA learns less and forgets less. Test the second half here: how well do the layers that learnt *moods* still predict
# the next tokens of *questions*, a text they were not tuned on? (`sort.next_token_losses(layers, rows)` from section 5 gives the loss of each
# question.)

# %% tags=["hide-input"]
guess = widgets.predict(
    "Which of the two ends with the higher loss on the questions, after it has learnt moods?",
    options=["full fine-tuning", "LoRA", "no difference that can be seen"],
)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject")
with torch.no_grad():
    rows = sort.test_rows()
    before = sort.next_token_losses(base_layers, rows).cpu().numpy()
    after = {
        name: np.mean([sort.next_token_losses(layers, rows).cpu().numpy() for layers in runs.values()], axis=0)
        for name, runs in (("full fine-tuning", full), ("LoRA, q v, rank 4", small))
    }
print(f"base: {before.mean():.2f} nats per token of a question (among the {len(sort.vocabulary):,} tokens that occur)")
for name, losses in after.items():
    print("{:<18} {:+.3f} [{:+.3f}, {:+.3f}]".format(name, *scoring.paired(losses, before)))
gap, low, high = scoring.paired(*after.values())
verdict = "we cannot tell" if low <= 0 <= high else "LoRA forgot less" if low > 0 else "LoRA forgot more"
print(f"full minus LoRA    {gap:+.3f} [{low:+.3f}, {high:+.3f}]: {verdict}")
changed = {name: (losses - before).mean() for name, losses in after.items()}
guess.reveal(
    "no difference that can be seen" if low <= 0 <= high else "full fine-tuning" if low > 0 else "LoRA",
    why="Change against the base, in nats per token: full fine-tuning {:+.3f}, LoRA {:+.3f}.".format(*changed.values()),
)

# %% [markdown]
# One item is one question, its value the mean over the seeds. A negative change says that the layers predict questions *better* after the
# moods: then nothing was forgotten of what this loss measures.
#
# ### At equal accuracy
#
# That compared the two methods at one learning rate each, the one that we happened to choose. A method that learns more may forget more for
# that reason alone, and at another rate the order may change. A fair comparison chooses the runs by what they *learnt*, and then looks at what
# they *forgot*. And not at equal rates: the same number means a small step for $A$ and $B$, and a large one for $W$.
#
# The table `lora_forgetting` has the runs for that: full fine-tuning, LoRA with rank 4 on q and v, LoRA with rank 8 on all matrices; five learning
# rates for each, five seeds for each rate. They were made with the functions of this lab (`chapters/11_lora/forgetting.py` in the course's
# repository). You write the comparison. Decide which runs of a method count, which run of one method belongs to which run of the other,
# and what to answer if a method never gets that far.

# %% tags=["exercise:forgetting_gap"]
def forgetting_gap(runs, first, second, target, tolerance=0.02):
    """How much more one method forgets than another if both have learnt equally much.

    runs: DataFrame, one row for each run, in any order: "method" (str), "learning_rate" (float), "seed" (int), "accuracy"
    on the new task (0 to 1), "forgotten_nats": the rise of the loss on an old text (negative if the loss fell). It stays as
    it is. first, second: str, two methods. target, tolerance: float.

    A learning rate belongs to a method, not to a seed. It matches if the mean accuracy of its runs is at most `tolerance`
    above or below `target`. If several rates of a method match, the lowest counts: what is compared must not choose.
    Returns None if one of the two has no matching rate. Otherwise a dict: "rates", the list of first's and second's rate;
    "gap", "low", "high": float, what first forgets minus what second forgets, seed by seed, over the seeds that both have
    at these rates (at least two): the mean, and the ends of its 95 % t interval.

    Example: target 0.8. "a" has the accuracy 0.8 at rate 0.1 only, and forgets 0.01 with seed 0, 0.02 with seed 1; "b" at
    rate 0.5 only, and forgets 0.05 and 0.05. Rates [0.1, 0.5], gap -0.035, low -0.0985, high 0.0285.
    """
    ### BEGIN SOLUTION
    rates, forgotten = [], []
    for method in (first, second):
        own = runs[runs["method"] == method]
        accuracy = own.groupby("learning_rate")["accuracy"].mean()
        near = accuracy[(accuracy - target).abs() <= tolerance]
        if near.empty:
            return None
        rates.append(float(near.index.min()))
        forgotten.append(own[own["learning_rate"] == rates[-1]].set_index("seed")["forgotten_nats"])
    a, b = forgotten[0].align(forgotten[1], join="inner")
    gap, low, high = scoring.paired(a, b)
    return {"rates": rates, "gap": gap, "low": low, "high": high}
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>Two columns, two jobs: "accuracy" decides which runs count, and "forgotten_nats" is what is compared. Begin with one
# method: which mean accuracy has each of its learning rates?</details>
# <details><summary>Hint 2</summary><code>own.groupby("learning_rate")["accuracy"].mean()</code> answers that; its <code>.index</code> are the rates, and
# <code>.empty</code> says that none is left. <code>scoring.paired(a, b)</code> subtracts place by place: it does not know what a seed is.</details>
# <details><summary>Hint 3</summary><code>.set_index("seed")["forgotten_nats"]</code> gives each value the name of its seed, and
# <code>a, b = a.align(b, join="inner")</code> keeps the seeds that both have, in one order.</details>

# %%
def runs_of(settings):
    """A table of runs, its rows out of order: {(method, rate): [(accuracy, forgotten) of seeds 0, 1, …; None: not run]}."""
    rows = [
        (method, rate, seed, *values)
        for (method, rate), runs in settings.items()
        for seed, values in enumerate(runs)
        if values is not None
    ]
    names = ["method", "learning_rate", "seed", "accuracy", "forgotten_nats"]
    return pd.DataFrame(rows, columns=names).sample(frac=1, random_state=3).reset_index(drop=True)

# %% tags=["tests:forgetting_gap:2"]
with lab.test("forgetting_gap"):
    runs = runs_of({("a", 0.1): [(0.8, 0.01), (0.8, 0.02)], ("b", 0.5): [(0.8, 0.05), (0.8, 0.05)]})
    kept = runs.copy()
    got = forgetting_gap(runs, "a", "b", 0.8)
    assert runs.equals(kept), "the table of runs was changed"
    assert isinstance(got, dict) and set(got) == {"rates", "gap", "low", "high"}, f"the example gives a dict with four entries, not {got}"
    lab.expect_close(got["gap"], -0.035, "gap of the example: what a forgets minus what b forgets")
    for end, want in (("low", -0.098531), ("high", 0.028531)):
        lab.expect_close(got[end], want, f"{end} of the example (a t interval over two seeds has one degree of freedom)", atol=1e-4)
    good, poor, lucky = [(0.9, 0.05)] * 3, [(0.6, 0.0)] * 3, [(0.7, 0.0), (0.8, 0.0), (0.6, 0.0)]
    a = {("a", 0.1): poor, ("a", 0.2): [(0.79, 0.11), (0.8, 0.52), (0.81, 0.23)], ("a", 0.4): good}
    b = {("b", 0.3): [(0.79, 0.1), (0.79, 0.5), (0.8, 0.24)], ("b", 0.1): good, ("b", 0.6): [(0.8, 0.0)] * 3, ("b", 0.2): poor}
    got = forgetting_gap(runs_of(a | b), "a", "b", 0.8)
    assert got and list(got["rates"]) == [0.2, 0.3], (
        "target 0.8: in the mean of its seeds a has it at rate 0.2, b at 0.3 and at 0.6, of which the lower counts: [0.2, 0.3]. "
        f"(At other rates both learn much less or much more.) Your answer: {got}"
    )
    for name, want in (("gap", 0.00667), ("low", -0.03128), ("high", 0.04461)):
        lab.expect_close(got[name], want, f"{name}, if the differences are 0.01, 0.02, -0.01 seed by seed", atol=1e-4)
    got = forgetting_gap(runs_of(a | {("b", 0.1): lucky, ("b", 0.2): good}), "a", "b", 0.8)
    assert got is None, f"b reaches 0.8 with one seed of rate 0.1, but at no rate in the mean of the seeds: None, not {got}"
    got = forgetting_gap(runs_of(a | {("b", 0.4): [(0.8, 0.1), None, (0.8, 0.24)]}), "a", "b", 0.8)
    lab.expect_close(got["gap"], 0.0, "gap if b was not run with seed 1: the mean of 0.01 and -0.01")

# %% tags=["hidden:forgetting_gap:2"]
def probe():
    g = np.random.default_rng(4)

    def noisy(accuracy, forgotten, seeds=5):
        return [(accuracy + a, forgotten + f) for a, f in zip(g.normal(0, 0.01, seeds), g.normal(0, 0.05, seeds), strict=True)]

    def shared(first, second, size):  # both follow the same seeds' luck, so that pairs are far more alike than runs
        luck = g.normal(0, 0.2, size)
        return [[(0.7, f + x + g.normal(0, 0.01)) for x in luck] for f in (first, second)]

    def answer(settings, *asked):
        found = forgetting_gap(runs_of(settings), *asked)
        return found and {"rates": [float(rate) for rate in found["rates"]], **{k: float(found[k]) for k in ("gap", "low", "high")}}

    both = {(m, rate): noisy(level, gone) for m, level, gone in (("x", 0.7, 0.1), ("y", 0.6, 0.3)) for rate in (0.01, 0.02)}
    both |= {("x", 0.04): noisy(0.8, 0.5), ("y", 0.04): noisy(0.7, 0.2), ("y", 0.08): noisy(0.9, 0.0), ("z", 0.04): noisy(0.7, -0.2)}
    alike = dict(zip((("x", 1.0), ("y", 1.0)), shared(0.1, 0.15, 6), strict=True))
    few = {("x", 1.0): [None, (0.5, 0.4), (0.5, 0.1), (0.5, 0.3)], ("y", 3.0): [(0.5, 2.0), (0.5, 0.1), None, (0.5, 0.2)]}
    turns = {("x", rate): noisy(level, gone) for rate, level, gone in ((1.0, 0.5, 0.9), (2.0, 0.75, 0.1), (4.0, 0.8, 0.6), (8.0, 0.78, 0.3))}
    turns |= {("y", rate): noisy(level, gone) for rate, level, gone in ((0.1, 0.78, 0.8), (0.2, 0.8, 0.2), (0.4, 0.6, -0.5))}
    return {
        "one": answer(both, "x", "y", 0.7),  # because: methods that have other accuracies at the same rate
        "other": answer(both, "y", "x", 0.7),  # because: the two methods exchanged
        "negative": answer(both, "z", "y", 0.7),  # because: a method that predicts the old text better than before
        "alike": answer(alike, "x", "y", 0.7),  # because: seeds that differ more than the methods
        "few": answer(few, "x", "y", 0.5),  # because: seeds that only one of the two methods has
        "turns": answer(turns, "x", "y", 0.8, 0.03),  # because: several rates that match, and another tolerance
        "narrow": answer(turns, "x", "y", 0.75, 0.02),  # because: a method that has no run near the target
        "never": answer(both, "x", "y", 0.95),  # because: a target that no method reaches
        "above": answer({("x", 1.0): noisy(0.9, 0.1), ("y", 1.0): noisy(0.7, 0.1)}, "x", "y", 0.7),  # because: a method that is only better
    }


def visible():
    runs = {("a", 0.1): [(0.8, 0.01), (0.8, 0.02)], ("b", 0.5): [(0.8, 0.05), (0.8, 0.05)], ("c", 0.1): [(0.6, 0.1)]}
    found = forgetting_gap(runs_of(runs), "a", "b", 0.8)
    return [[float(rate) for rate in found["rates"]], found["gap"], found["low"], found["high"], forgetting_gap(runs_of(runs), "a", "c", 0.8)]

# %% [markdown]
# Now the table. Two questions that section 5's runs do not answer:

# %% tags=["hide-input"]
guess = widgets.predict(
    "LoRA with rank 8 on all matrices, and full fine-tuning, both at an accuracy of about 0.81. Which of the two has forgotten more of the questions?",
    options=["full fine-tuning", "LoRA on all matrices", "no difference that can be seen"],
)
guess_2 = widgets.predict(
    "LoRA with rank 4 on q and v, and LoRA with rank 8 on all matrices, both at about 0.81. Which has forgotten more?",
    options=["LoRA on q and v", "LoRA on all matrices", "no difference that can be seen"],
)

# %% tags=["experiment"]
lab.needs("forgetting_gap")
METHODS = {"full": "full fine-tuning", "LoRA q v": "LoRA, rank 4 on q and v", "LoRA all": "LoRA, rank 8 on all matrices"}
runs, signs, TOLERANCE = tables.load("lora_forgetting"), {}, 0.012  # three of 240 sentences
print("First minus second (means of five seeds, 95 % t intervals of the paired differences)")
for first, second in (("LoRA q v", "full"), ("LoRA all", "full"), ("LoRA q v", "LoRA all")):
    print(f"{METHODS[first]}, and {METHODS[second]}")
    for target in (0.77, 0.81):
        found = forgetting_gap(runs, first, second, target, TOLERANCE)
        if found is None:
            print(f"  at {target:.2f}: one of the two has no learning rate with this accuracy")
            continue
        pair = [runs[(runs["method"] == m) & (runs["learning_rate"] == rate)] for m, rate in zip((first, second), found["rates"], strict=True)]
        learnt, worse, better = scoring.paired(*(part["accuracy"] for part in pair))
        even = worse <= 0 <= better
        sign = signs[first, second, target] = even * (int(found["low"] > 0) - int(found["high"] < 0))
        verdict = ["we cannot tell", "the first forgot more", "the second forgot more"][sign] if even else "not equally accurate, so no comparison"
        accurate = " and ".join(f"{part['accuracy'].mean():.3f}" for part in pair)
        print(f"  at {target:.2f}, rates {found['rates']}: accuracies {accurate}, {learnt:+.3f} [{worse:+.3f}, {better:+.3f}]")
        print(f"    forgotten, nats per token: {found['gap']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]: {verdict}")

# %% tags=["experiment", "hide-input"]
lab.needs("forgetting_gap")
fig, ax = plt.subplots(figsize=(9, 4.8))
for i, (name, part) in enumerate(runs.groupby("method", sort=False)):
    means = part.groupby("learning_rate")[["accuracy", "forgotten_nats"]].mean()
    style = {"marker": plots.MARKERS[i], "color": plots.COLORS[i]}
    ax.plot(part["accuracy"], part["forgotten_nats"], linestyle="", markersize=4, alpha=0.4, **style)
    ax.plot(means["accuracy"], means["forgotten_nats"], linestyle=plots.LINES[i], label=METHODS[name], **style)
for target in (0.77, 0.81):
    ax.axvspan(target - TOLERANCE, target + TOLERANCE, color="grey", alpha=0.15)
ax.axhline(0, color="grey", linewidth=1)
ax.set(
    title="Learnt and forgotten: each line goes up the learning rates", xlabel="accuracy on moods (small: one run, large: mean of five seeds)",
    ylabel="rise of the loss on questions\n(nats per token)",
)  # fmt: skip
ax.legend()
plt.show()

# %% tags=["hide-input", "experiment"]
lab.needs("forgetting_gap")
sign = signs.get(("LoRA all", "full", 0.81), 0)
guess.reveal(
    "LoRA on all matrices" if sign > 0 else "full fine-tuning" if sign < 0 else "no difference that can be seen",
    why="See the line of these two at 0.81.",
)
sign = signs.get(("LoRA q v", "LoRA all", 0.81), 0)
guess_2.reveal(
    "LoRA on q and v" if sign > 0 else "LoRA on all matrices" if sign < 0 else "no difference that can be seen",
    why="The last line is for 0.81. What is said of 0.77 is two lines above it.",
)

# %% [markdown]
# Are these runs yours? Section 5's are among them, with seeds 0, 1 and 2. (Sums in another order give other last digits, and training makes
# such differences larger.)

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "forgetting_gap")
if MODEL == "course" and lab.budget(full=True, quick=False):
    ours = (("full", RATE["full"], answers["full"]), ("LoRA q v", RATE["lora"], answers["LoRA r 4"]))
    for (name, rate, right), forgotten in zip(ours, changed.values(), strict=True):
        same = runs[(runs["method"] == name) & (runs["learning_rate"] == rate) & runs["seed"].isin(SEEDS)]
        print(f"{METHODS[name]}, rate {rate:g}")
        print(f"  accuracy  {right.mean():.3f} here, {same['accuracy'].mean():.3f} in the table")
        print(f"  forgotten {forgotten:+.3f} here, {same['forgotten_nats'].mean():+.3f} in the table (nats per token)")
else:
    print("The table was made with the full budget and the course model; these runs are others.")

# %% [markdown]
# - **LoRA on q and v forgot more than full fine-tuning** where both have learnt equally much, at both accuracies, although it trains hundreds of
#   times fewer parameters. **Of LoRA on all matrices this cannot be said.** At 0.77 LoRA on q and v forgot more than LoRA on all matrices, too; at 0.81 we
#   cannot tell. So LoRA as such need not forget more. What makes the difference, the table cannot say: the two
#   kinds of LoRA differ in their matrices *and* in their rank (see section 11).
# - **What counts as equal is a choice, too.** The cell asks for 0.012, three of the 240 sentences, and checks that the interval of the difference in accuracy
#   contains 0. (That does not prove equality; it is the least one can ask.) With the tolerance of 0.02 the last comparison would take a lower rate of LoRA on all
#   matrices, which has learnt *less* (an interval without 0), and would say that LoRA on q and v forgot more.
# - **One line turns back.** At its largest rate LoRA on q and v has learnt less again, and forgotten most. Two of its rates have nearly the same
#   accuracy, and nobody would use the larger one. That is why the lower one counts.
# - **What chose the rates.** The accuracy on the test sentences did, for each method alike; what is compared, the loss on the questions, did not.
#   Had each method taken the rate that forgets least, chance would have chosen too.
#
# This does not refute @biderman2024lora, who train whole models on many tokens of code and mathematics. Ours are 160 sentences, two layers and
# a loss with one place in each sentence. It says that "LoRA forgets less" is a claim about a way of training, too. Who reads it should ask:
# at which accuracy, on which matrices, and what text was the old one?
#
# ### Served together
#
# One base in memory. Both adapters are loaded beside it, by PEFT; a switch is a call. The base's weights stay where they are. (The cell after your
# guess is folded: it loads both, adds them up in two ways, and tests each on both tasks.)

# %% tags=["hide-input"]
guess = widgets.predict(
    "The adapter that learnt moods is active, and questions are asked. Are more of their types right than without an adapter?",
    options=["more", "fewer", "no difference that can be seen"],
)

# %% tags=["experiment", "hide-input"]
lab.needs("lora_linear", "inject", "save_adapter")
served = PeftModel.from_pretrained(copy.deepcopy(base_model), MOOD, adapter_name="mood")
served.load_adapter(SORT, adapter_name="sort")
served.add_weighted_adapter(["mood", "sort"], [1.0, 1.0], "sum", combination_type="cat")
served.add_weighted_adapter(["mood", "sort"], [1.0, 1.0], "sum of A, sum of B", combination_type="linear")
served_layers = served.base_model.model.model.layers[-TOP:]
frozen = {name: p.data_ptr() for name, p in served.named_parameters() if "lora_" not in name}

by_adapter = {}
with served.disable_adapter():
    by_adapter["none"] = (mood.right(served_layers), sort.right(served_layers))
for name in ("mood", "sort", "sum", "sum of A, sum of B"):
    started = time.perf_counter()
    served.set_adapter(name)
    switch = time.perf_counter() - started
    by_adapter[name] = (mood.right(served_layers), sort.right(served_layers))
assert frozen == {name: p.data_ptr() for name, p in served.named_parameters() if "lora_" not in name}
print(f"a switch takes {1000 * switch:.1f} ms; the base's weights have not moved")

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "save_adapter")
shown = {
    name: {task: "{:.2f} [{:.2f}, {:.2f}]".format(*interval(right)) for task, right in zip(("moods", "question types"), pair, strict=True)}
    for name, pair in by_adapter.items()
}
pd.DataFrame(shown).T.rename_axis("adapter")

# %% [markdown]
# Intervals of the same prompts are compared in pairs:

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "save_adapter")
for task, own, other in ((0, "mood", "sort"), (1, "sort", "mood")):
    print("moods" if task == 0 else "question types")
    for name, against in ((own, "none"), (other, "none"), ("sum", own), ("sum of A, sum of B", "sum")):
        paired(f"  {name} minus {against}", by_adapter[name][task], by_adapter[against][task], "better", "worse")
gap, low, high = scoring.paired(*(by_adapter[name][1].astype(float) for name in ("mood", "none")))
guess.reveal(
    "more" if low > 0 else "fewer" if high < 0 else "no difference that can be seen",
    why=f"{100 * gap:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}): it saw no question while it was trained.",
)

# %% [markdown]
# An adapter is active for every prompt, wanted or not: the second line of each task says what that did here. It is one adapter for each task, with one seed. That it
# saw no prompt of the other task does not explain a loss: both adapters saw none, so compare their two lines. "Sum of A, sum of B" (PEFT calls
# it *linear*) is that of the prediction above; the last line says whether its two further products can be seen here. (These are two small
# tasks in two layers: on other tasks adapters may disturb each other more.)
#
# The sum by hand, merged into the weights:

# %% tags=["experiment"]
lab.needs("lora_linear", "inject", "save_adapter")
with torch.no_grad():
    moods_, sorts_ = whole_paths(small[0]), whole_paths(sorter)
    both = copy.deepcopy(base_layers)
    worst = 0.0
    for path in moods_:
        A = torch.cat([each[path].A for each in (moods_, sorts_)])
        B = torch.cat([each[path].scaling * each[path].B for each in (moods_, sorts_)], dim=1)
        place = f"{int(path.split('.')[2]) - (base_model.config.num_hidden_layers - TOP)}.{path.split('.', 3)[3]}"
        linear = both.get_submodule(place)
        library = served.base_model.model.get_submodule(path)
        theirs = library.lora_B["sum"].weight @ library.lora_A["sum"].weight * library.scaling["sum"]
        worst = max(worst, apart(B @ A, theirs))
        linear.weight.add_(B @ A)
print(f"this sum and PEFT's ('cat') differ by {worst:.1e} of the largest entry")
print(f"merged into the weights: moods {mood.right(both).mean():.2f}, question types {sort.right(both).mean():.2f}")
workshop.cleanup()

# %% [markdown]
# ## 11 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Learning rate and rank.** Repeat the sweep of learning rates with α = r instead of α = 16, or with α/√r. Which is flat in r?
# - **Start elsewhere.** Initialize $B$ Gaussian too. How much is broken before the first step, and is it repaired?
# - **Start at the top.** PiSSA [@meng2024pissa] starts $A$, $B$ from the first singular directions of $W$ itself, and
#   freezes the rest. `extract_lora(W, r)` gives them. Faster on our task?
# - **What makes LoRA on q and v forget?** The table changes matrices and rank at once. Take them apart: q and v with a high rank, all matrices
#   with rank 1, three seeds each, and compare with `forgetting_gap`.
#   <details><summary>First idea</summary>Two new methods for the table. Which learning rates bring them to one of the two accuracies?</details>
#   <details><summary>How</summary><code>fit_lora(mood, CHOICES["q v"], 64, 16, seed, rate)</code> trains one; its accuracy and its loss on the
#   questions, minus the mean of <code>before</code>, make a row.</details>
#   <details><summary>Almost the line</summary><code>sort.next_token_losses(layers, sort.test_rows()).mean().item() - before.mean()</code> is
#   <code>forgotten_nats</code>; <code>pd.concat([runs, pd.DataFrame(rows)])</code> is the new table.</details>
# - **Intruders.** @shuttleworth2025lora find new, large singular directions in LoRA's merged weights that full fine-tuning
#   does not make. Look for them in `merge_all(small[0])`.
# - **A larger model**, on a T4: the configuration of section 8 on `bloomz-560m`, with α = 4.

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@hu2022lora]
# - [@dettmers2023qlora]
# - [@aghajanyan2021intrinsic]
# - [@houlsby2019parameter]
# - [@kalajdzievski2023rank]
# - [@biderman2024lora]
# - [@shuttleworth2025lora]
# - [@meng2024pissa]
# - [@zhang2023adalora]
# - [@eckart1936approximation]
# - [@wang2022super]
# - [@pang2005seeing]
# - [@hutto2014vader]
