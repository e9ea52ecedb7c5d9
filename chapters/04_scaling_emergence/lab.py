# %% [markdown]
# # Lab 04 · How much better does bigger get?
#
# **A large training run happens once. How does one know, before it is paid for, how good it will be, how large the model
# should be, and how much text it should read?** By training small ones, fitting a curve, and extrapolating. You will do
# that with real decoders on real text, check your forecast against a run you did not fit, repeat the most quoted fit of the
# field on its published points, and ask whether abilities "emerge".
#
# You will
#
# 1. count parameters and training *FLOPs* (浮点运算量) of a decoder, and check both against the library,
# 2. read *compute-optimal* (计算最优) sizes off *IsoFLOP curves* (等算力曲线),
# 3. fit *scaling laws* (缩放定律, power laws, 幂律), with intervals, and forecast a held-out budget,
# 4. fit Chinchilla's loss surface to its own points, and see what five of them do,
# 5. forecast, as a challenge, a run that you cannot afford,
# 6. measure one *emergent ability* (涌现能力) with a strict and with a lenient metric, and find what made it jump.
#
# Time: three hours. No GPU is needed. Fill in the cells that say `raise NotImplementedError`; the cell after each
# one tests your answer at once. Grading runs further, hidden tests of the same functions.

# %% tags=["hide-input"]
import collections
import math
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.optimize import minimize
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data, lab, plots, scoring, tables, widgets

lab.start(
    "04_scaling_emergence",
    exercises=[
        "count_parameters",
        "training_flops",
        "isoflop_optimum",
        "floor_law",
        "chinchilla_objective",
        "compute_optimal",
        "forecast",
        "answer_scores",
    ],
)
plots.style()
if lab.budget(full=False, quick=True):
    print("COURSE_BUDGET is quick: experiments are small. Do not read conclusions from them.")

# %% [markdown]
# ## 1 · The compute budget: parameters and FLOPs
#
# A decoder of the Llama kind (chapter 9 builds one) has, for a width $d$ (`hidden_size`):
#
# - one vector of size $d$ for each of the V pieces of the vocabulary (the *embedding*), and an output matrix of the same
#   shape, unless the two are *tied* (`tie_word_embeddings`): then one matrix does both jobs;
# - in each layer: query and output matrices, $d \times d$; key and value matrices, $d \times (\text{kv heads} \cdot d_h)$, where
#   $d_h = d\,/\,\text{heads}$ is the size of one head; three matrices $d \times \text{intermediate\_size}$; two norms of $d$
#   parameters;
# - one last norm. No biases.
#
# Count them.


# %% tags=["exercise:count_parameters"]
def count_parameters(config):
    """How many parameters does a Llama of this configuration have?

    config: has vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads,
    num_key_value_heads (int) and tie_word_embeddings (bool). Returns int.

    Example: vocabulary 10, width 4, intermediate 6, 1 layer, 2 heads, 2 kv heads, tied: 40 for the embedding,
    4 × 16 for attention, 3 × 24, 2 × 4 + 4 for norms: 188.
    """
    ### BEGIN SOLUTION
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size + 2 * d
    tables_ = 1 if config.tie_word_embeddings else 2
    return tables_ * config.vocab_size * d + config.num_hidden_layers * layer + d
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Begin with one layer. Multiply by the number of layers. Then add what is outside of the
# layers.</details>
# <details><summary>Hint 2</summary>How many columns does the key matrix have in a model with 9 heads and 3 key–value heads?
# Not d.</details>


# %%
def shape(width, layers, intermediate, heads, kv_heads, vocabulary, tied):
    """A LlamaConfig; nothing is allocated by it."""
    return LlamaConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
    )


def counted_by_transformers(config):
    """The library's count; on the device "meta" parameters have a shape and no memory."""
    with torch.device("meta"):
        return LlamaForCausalLM(config).num_parameters()


# %% tags=["tests:count_parameters:1"]
with lab.test("count_parameters"):
    got = count_parameters(shape(4, 1, 6, 2, 2, 10, True))
    assert got == 188, f"the example has 188 parameters, not {got}"
    for name, config in {
        "a small one": shape(64, 4, 170, 2, 2, 512, True),
        "LLaMA 7B, whose output matrix is not tied": shape(4096, 32, 11008, 32, 32, 32000, False),
        "the course model, with 9 heads and 3 kv heads": shape(576, 30, 1536, 9, 3, 49152, True),
    }.items():
        got, want = count_parameters(config), counted_by_transformers(config)
        assert got == want, f"{name}: transformers counts {want:,}, you {got:,} ({got - want:+,})"


# %% tags=["hidden:count_parameters:2"]
def probe():
    cases = {
        "tied": (96, 5, 250, 12, 4, 777, True),  # because: fewer kv heads than heads, tied embeddings
        "large": (8192, 80, 28672, 64, 8, 32000, False),  # because: a large model, its embeddings not tied
        "small": (12, 3, 20, 6, 2, 7, False),  # because: a very small model, its embeddings not tied
    }
    return {name: count_parameters(shape(*case)) for name, case in cases.items()}


def visible():
    cases = [(4, 1, 6, 2, 2, 10, True), (64, 4, 170, 2, 2, 512, True), (4096, 32, 11008, 32, 32, 32000, False)]
    return [count_parameters(shape(*case)) for case in [*cases, (576, 30, 1536, 9, 3, 49152, True)]]


# %% [markdown]
# Now the work. A matrix of $m$ parameters costs $2m$ FLOPs per token: one multiplication and one addition each. The backward
# pass costs twice the forward pass (gradients for inputs and for parameters). So training costs $6$ FLOPs per parameter and
# token: $C \approx 6ND$, the field's rule of thumb. What it leaves out: attention itself has no parameters. For each token and
# layer, scores and weighted sum cost $2 \cdot 2 \cdot n \cdot d$ more in a text of $n$ tokens. And what it counts too much:
# looking up an embedding multiplies nothing, and norms cost almost nothing.


# %% tags=["exercise:training_flops"]
def training_flops(config, tokens, length):
    """FLOPs of training on so many tokens, forward and backward, in texts of `length` tokens.

    config: as above. tokens, length: int. Returns int. Counted are the matrices of the layers and the output matrix
    (also when it is tied to the embedding), and attention's scores and weighted sums over all `length` positions
    (the mask saves nothing here). Not counted: norms and the look-up of embeddings.

    Example: vocabulary 10, width 4, intermediate 6, 1 layer, 2 heads, 2 kv heads, 8 tokens in texts of 8:
    8 · 3 · (2 · (64 + 72 + 40) + 4 · 8 · 4) = 11,520.
    """
    ### BEGIN SOLUTION
    d = config.hidden_size
    kv = config.num_key_value_heads * d // config.num_attention_heads
    layer = 2 * d * d + 2 * d * kv + 3 * d * config.intermediate_size
    matrices = config.num_hidden_layers * layer + config.vocab_size * d
    return 3 * tokens * (2 * matrices + 4 * config.num_hidden_layers * length * d)
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>First the FLOPs of one token, forward: 2 for each parameter of a matrix, plus attention.
# Then times the tokens, then times 3. Why 3?</details>
# <details><summary>Hint 2</summary>Attention costs 4 · length · hidden_size per token and layer. It depends on the width of
# the queries, not on the number of key–value heads: every query head computes its own scores.</details>


# %%
def counted_by_torch(config, length):
    """FLOPs of one text, forward and backward, as PyTorch counts them while it runs."""
    config._attn_implementation = "eager"  # so that attention is made of plain matrix products, which are counted
    model, ids = LlamaForCausalLM(config), torch.randint(config.vocab_size, (1, length))
    with FlopCounterMode(display=False) as counter:
        model(ids).logits.sum().backward()
    return counter.get_total_flops()


# %% tags=["tests:training_flops:2"]
with lab.test("training_flops"):
    got = training_flops(shape(4, 1, 6, 2, 2, 10, True), 8, 8)
    assert got == 11_520, f"the example costs 11,520 FLOPs, not {got:,}"
    for config in (shape(64, 4, 170, 2, 2, 512, True), shape(48, 2, 128, 4, 2, 300, False)):
        got, want = training_flops(config, 64, 64), counted_by_torch(config, 64)
        close = abs(got / want - 1) < 1e-3  # some versions of transformers make the angles of positions by a tiny product
        assert close, f"PyTorch counts {want:,}, you {got:,} ({got / want:.3f} of it)"
        five = training_flops(config, 5 * 64, 64)
        assert five == 5 * got, f"five texts of 64 tokens cost 5 times one of them, not {five / got:.2f} times"


# %% tags=["hidden:training_flops:3"]
def probe():
    tied, untied = (576, 30, 1536, 9, 3, 49152, True), (96, 3, 200, 6, 2, 700, False)
    cases = {
        "tied, long": (tied, 10**9, 2048),  # because: tied embeddings, very many tokens in long texts
        "tied, short": (tied, 640, 64),  # because: tied embeddings, few tokens in short texts
        "untied, long": (untied, 10**9, 2048),  # because: embeddings not tied, very many tokens in long texts
        "untied, short": (untied, 640, 64),  # because: embeddings not tied, few tokens in short texts
    }
    return {name: training_flops(shape(*case), tokens, length) for name, (case, tokens, length) in cases.items()}


def visible():
    return [
        training_flops(shape(4, 1, 6, 2, 2, 10, True), 8, 8),
        training_flops(shape(64, 4, 170, 2, 2, 512, True), 64, 64),
        training_flops(shape(48, 2, 128, 4, 2, 300, False), 320, 64),
    ]


# %% [markdown]
# How good is the rule of thumb? For the models of the Llama family, and for those of our own ladder:

# %% tags=["hide-input"]
guess = widgets.predict("What is 6ND divided by the exact FLOPs for Llama 2 7B, trained in texts of 4,096 tokens?", tolerance=0.05)
guess_2 = widgets.predict(
    "And for the smallest model of our ladder (width 8, two layers, 128 pieces in the vocabulary, texts of 64 tokens)?", tolerance=0.15
)

# %% tags=["experiment"]
lab.needs("count_parameters", "training_flops")
rows = []
shapes = {
    row.name: (
        shape(row.dimension, row.layers, row.intermediate, row.heads, row.kv_heads, row.vocabulary, False),
        row.context,
    )
    for row in tables.load("llama_hyperparameters").itertuples()
}
shapes |= {f"ours, width {d}": (shape(d, 2, d * 8 // 3, 2, 2, 128, True), 64) for d in (8, 24, 64)}
for name, (config, context) in shapes.items():
    parameters, per_token = count_parameters(config), training_flops(config, 1, context)
    embedding = config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)
    rows.append((name, parameters / 1e6, embedding / parameters, 6 * parameters / per_token))
columns = ["model", "parameters (million)", "share in embedding and output", "6ND / FLOPs"]
budgets = pd.DataFrame(rows, columns=columns).set_index("model")
budgets.round(3)

# %% tags=["hide-input", "experiment"]
lab.needs("count_parameters", "training_flops")
guess.reveal(budgets.loc["Llama 2 7B", columns[3]], why="6ND leaves attention out, which is not small in texts of 4,096 tokens.")
guess_2.reveal(
    budgets.loc["ours, width 8", columns[3]],
    why="Attention costs 4·n·d FLOPs per token and layer, and n is 8 times d here; the embedding is not the cause, since it is also the "
    "output matrix.",
)

# %% [markdown]
# $6ND$ is too small wherever attention counts: long texts, narrow models. For LLaMA it is off by several per cent up to more
# than a tenth, good enough for a budget; for our small models it is not. So our own ladder counts FLOPs exactly, as your function
# does. How are embeddings counted? Their look-up costs nothing; the output matrix, which is the same matrix here, costs as
# every other. So we count it once, in the parameters and in the FLOPs. (@kaplan2020scaling left it out of both.)
#
# ## 2 · The ladder
#
# Now a *ladder* (阶梯) of models: the same architecture in several sizes, the same text, several budgets of compute. For each
# budget $C$, each size reads as many tokens as $C$ pays for: a large model reads little, a small one much.
#
# The text: sentences of Wikipedia pages (VitaminC; @schuster2021vitamin), about five million characters. Whole pages are held
# out for the test, because sentences of one page say the same things. A token is one character here, so that the vocabulary
# (128 ASCII codes) does not outweigh a small model.


# %% tags=["ladder", "experiment"]
def clean(text):
    """Undo the tokenizer marks of VitaminC's sentences."""
    pairs = {"-LRB-": "(", "-RRB-": ")", "-COLON-": ":", "``": '"', "''": '"', " ,": ",", " .": ".", " 's": "'s"}
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


pages = collections.defaultdict(dict)  # title of a Wikipedia page → its sentences, each once
for row in data.bigbench("vitaminc_fact_verification")["input"]:
    evidence, claim = row.split("\nClaim: ")
    page, text = evidence.split(": ", 1)
    pages[page] |= {clean(text.lstrip(", ")): None, clean(claim): None}
order = np.random.default_rng(0).permutation(sorted(pages))
held_out, kept = order[: len(order) // 20], order[len(order) // 20 :]  # whole pages: their sentences are alike

# %% tags=["ladder", "experiment"]
LENGTH, VOCABULARY = 64, 128


def stream(titles):
    """int64 (rows, LENGTH + 1): the sentences of these pages in random order, each on a line, as ASCII codes, cut into rows."""
    sentences = [text for page in titles for text in pages[page]]
    text = "\n".join(np.random.default_rng(1).permutation(sentences))
    ids = torch.tensor(list(text.encode("ascii", "ignore")))
    return ids[: len(ids) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)


TRAIN, TEST = stream(kept), stream(held_out)[:2000]


# %% tags=["ladder", "experiment"]
def decoder(width, layers, heads, vocabulary=VOCABULARY):
    """A Llama of any size, with random parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            tie_word_embeddings=True,
            initializer_range=width**-0.5,
            max_position_embeddings=LENGTH,
            use_cache=False,
        )
    )


# %% tags=["ladder", "experiment"]
def fit(model, batches, loss_of, rate=0.05, beta2=0.95):
    """Train on every batch once: AdamW, a short warm-up, then a cosine down to a tenth at the very last batch.

    The learning rate at the top is rate / sqrt(width).
    """
    steps, rate = len(batches), rate * model.config.hidden_size**-0.5
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, beta2), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / (0.05 * steps + 1)) * (0.55 + 0.45 * math.cos(math.pi * s / steps))
    )
    for batch in tqdm(batches, desc=f"width {model.config.hidden_size}", leave=False):
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


# %% tags=["ladder", "experiment"]
def text_loss(model, rows):
    """Mean cross-entropy of the next character, in nats."""
    return F.cross_entropy(model(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())


def flops_per_token(config):
    """Training FLOPs of one token, counted as in exercise training_flops."""
    d, layers = config.hidden_size, config.num_hidden_layers
    matrices = layers * (4 * d * d + 3 * d * config.intermediate_size) + config.vocab_size * d
    return 3 * (2 * matrices + 4 * layers * LENGTH * d)


def train_on_text(width, flops, seed, rate, beta2, batch=8):
    """Train one model for a compute budget; returns (parameters, tokens, loss on held-out pages in nats per token)."""
    torch.manual_seed(seed)
    model = decoder(width, layers=2, heads=2)
    steps = max(1, round(flops / (flops_per_token(model.config) * batch * LENGTH)))
    passes = [torch.randperm(len(TRAIN)) for _ in range(math.ceil(steps * batch / len(TRAIN)))]
    rows = torch.cat(passes)[: steps * batch].view(steps, batch)
    model = fit(model, rows, lambda m, chosen: text_loss(m, TRAIN[chosen]), rate, beta2)
    with torch.inference_mode():
        losses = [text_loss(model, part).item() for part in TEST.split(100)]
    return model.num_parameters(), steps * batch * LENGTH, float(np.mean(losses))


# %% tags=["ladder", "experiment"]
def sums(count, generator):
    """int64 (count, 12): a three-digit number, + (10), another, = (11), and the four digits of their sum."""

    def digits(x, width):
        return torch.stack([x // 10**i % 10 for i in reversed(range(width))], 1)

    a, b = torch.randint(0, 1000, (2, count), generator=generator)
    sign = torch.full((count, 1), 10)
    return torch.cat([digits(a, 3), sign, digits(b, 3), sign + 1, digits(a + b, 4)], 1)


def train_to_add(width, heads, examples, seed, batch=64, rate=0.05):
    """A model trained on so many sums; the loss is that of the four digits of the answer."""

    def loss_of(model, rows):
        return F.cross_entropy(model(rows[:, :-1]).logits[:, -4:].flatten(0, 1), rows[:, -4:].flatten())

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    batches = [sums(batch, generator) for _ in range(examples // batch)]
    return fit(decoder(width, 2, heads, vocabulary=12), batches, loss_of, rate)


# %% [markdown]
# Three details matter.
#
# - **The schedule.** The learning rate falls along a cosine that ends *exactly* at the last step of each run.
#   @kaplan2020scaling measured short runs inside long ones, with the rate still high; @hoffmann2022training held that against
#   them. (@porian2024resolving found that other causes matter more.)
# - **The rate and $\beta_2$ of Adam.** Each size has its own best ones. A rate that is bad for one size only would bend the
#   curve, and the bend would look like a law. @porian2024resolving call tuning $\beta_2$ essential where batches are small,
#   and ours have 512 tokens.
# - **One thing changes with size**: the width. Depth (two layers) and heads (two) stay.
#
# The table below has the loss of each trial, on a seed that the ladder does not use. "Step size" is the learning rate that the
# optimizer gets, after the division by $\sqrt{\text{width}}$.

# %% tags=["hide-input"]
guess = widgets.predict(
    "How does the best step size go with the width, by a line through the logarithms and its 95 % interval?",
    options=["it grows", "no trend can be seen", "it falls, more slowly than 1/√width", "it falls, and may do so as 1/√width",
             "it falls faster than 1/√width"],
)  # fmt: skip

# %% tags=["experiment"]
tuning = tables.load("scaling_tuning")
at_rates = tuning[tuning["beta2"] == 0.99].pivot(index="width", columns="rate", values="loss_nats")
best = tuning.loc[tuning.groupby("width")["loss_nats"].idxmin()].set_index("width")
at_rates.columns = [f"rate {r}" for r in at_rates.columns]
at_rates["best rate"], at_rates["best β2"] = best["rate"], best["beta2"]
at_rates["its step size"] = best["rate"] * best.index**-0.5
at_rates["worst β2 costs (nats)"] = [
    np.ptp(part.loc[part["rate"] == best.loc[width, "rate"], "loss_nats"]) for width, part in tuning.groupby("width")
]
inside = best["rate"].between(tuning["rate"].min(), tuning["rate"].max(), inclusive="neither").sum()
line = stats.linregress(np.log(best.index), np.log(at_rates["its step size"]))
margin = stats.t.ppf(0.975, len(best) - 2) * line.stderr
print(f"best rate inside of the range tried: {inside} of {len(best)} widths; `rate` is divided by √width to give the step size")
print(f"the best step size goes with width to the power {line.slope:.2f} ± {margin:.2f} (95 %)")
at_rates.round(4)

# %% tags=["hide-input", "experiment"]
low, high = line.slope - margin, line.slope + margin
guess.reveal(
    "it grows" if low > 0 else "no trend can be seen" if high > 0
    else "it falls, more slowly than 1/√width" if low > -0.5
    else "it falls faster than 1/√width" if high < -0.5
    else "it falls, and may do so as 1/√width",
    why=f"The power of the width is between {low:.2f} and {high:.2f}; 1/√width would be −0.5.",
)  # fmt: skip

# %% [markdown]
# Wider models want smaller steps. The rule "step $\propto 1/\sqrt{\text{width}}$" is built into `fit`, so a constant in the
# column "best rate" would mean that this rule is right for our models; compare the power printed above, $-0.5$ would be the
# rule. The better known rule is *µP* (最大更新参数化; @yang2022tensor): scale initial values and rates of each matrix with the width,
# so that one step changes what each layer computes by as much in a wide model as in a narrow one. Then the best rate of a
# small model holds for a large one: they tuned a model of 40 million parameters and trained one of 6.7 billion with the
# result.
#
# A wrong $\beta_2$ costs less than a wrong rate here, and most in the narrowest models (last column). These are short runs, tried
# with one seed each: differences of a hundredth of a nat mean nothing.
#
# The ladder's runs take about half an hour on one core, so their results are a table of the course (`ladder.py`, beside this
# notebook's source, runs the very cells above). **Trust, but verify:** make some of them again.

# %% tags=["experiment"]
ladder = tables.load("scaling_ladder")
steps, passes = ladder["tokens"] / 512, ladder["tokens"] / TRAIN.numel()
print(f"{len(ladder)} runs, {ladder['seed'].nunique()} seeds, {steps.min():.0f} to {steps.max():,.0f} steps each,", end=" ")
print(f"at most {passes.max():.1f} passes over the text")
shipped = ladder.set_index(["budget_flops", "width", "seed"])
again = []
for width in lab.budget(full=[12, 16, 24], quick=[24]):
    started = time.perf_counter()
    row = shipped.loc[(1.5e10, width, 0)]
    parameters, tokens, loss = train_on_text(width, 1.5e10, 0, row["rate"], row["beta2"])
    again.append((width, parameters, tokens, loss, row["loss_nats"], time.perf_counter() - started))
again = pd.DataFrame(again, columns=["width", "parameters", "tokens", "loss now", "loss in the table", "seconds"])
assert (again["loss now"] - again["loss in the table"]).abs().max() < 0.05
again.round(4)

# %% [markdown]
# The same to a few thousandths at most: floating point differs between machines, and training amplifies the difference.
#
# ### Where is the bottom?
#
# At a fixed budget, is the best model small with much text, or large with little? And when the budget grows?

# %% tags=["hide-input"]
guess_2 = widgets.predict("The budget grows 8 times. How many times larger is the best model?", unit="times", tolerance=0.2)

# %% tags=["experiment"]
HELD_OUT = 3.6e11
fitted = ladder[ladder["budget_flops"] < HELD_OUT]
fig, ax = plt.subplots(figsize=(9, 5))
for i, (budget, part) in enumerate(fitted.groupby("budget_flops")):
    mean = part.groupby("parameters")["loss_nats"].mean()
    ax.plot(
        mean.index, mean, label=f"{budget:.1e}", marker=plots.MARKERS[i], linestyle=plots.LINES[i], color=plots.COLORS[i]
    )
    ax.plot(part["parameters"], part["loss_nats"], ".", color=plots.COLORS[i], markersize=4)
ax.set(
    title="IsoFLOP curves: each has a best size (small dots: the seeds)",
    xlabel="parameters",
    ylabel="loss on held-out pages (nats per token)",
    xscale="log",
)
ax.legend(title="FLOPs")
plt.show()

# %% [markdown]
# Each budget has a valley: to the left the model is too small to use what it reads, to the right it reads too little. Read
# the bottom off by a parabola in $\log N$ through the points near it [@hoffmann2022training, approach 2].


# %% tags=["exercise:isoflop_optimum"]
def isoflop_optimum(parameters, losses, points=5):
    """Best size at one budget: the vertex of a parabola in log N.

    parameters, losses: float arrays (n,), n ≥ 3, in any order, each size once. Take the `points` runs with the
    lowest losses (all, if there are fewer) and fit losses = c0 + c1 log N + c2 (log N)² by least squares.
    Returns (best N, loss of the parabola there), two floats. If the parabola opens downwards there is no bottom:
    raise ValueError.

    Example: sizes e, e², e³ (log N = 1, 2, 3) with losses 2, 1, 2 give (e², 1.0).
    """
    ### BEGIN SOLUTION
    lowest = np.argsort(losses)[:points]
    x, y = np.log(np.asarray(parameters)[lowest]), np.asarray(losses)[lowest]
    c2, c1, c0 = np.polyfit(x, y, 2)
    if c2 <= 0:
        raise ValueError("the parabola has no bottom")
    best = -c1 / (2 * c2)
    return float(np.exp(best)), float(c0 + c1 * best + c2 * best**2)
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>Which runs belong to the valley? np.argsort gives the order of the losses. Keep sizes and
# losses together.</details>
# <details><summary>Hint 2</summary>np.polyfit(x, y, 2) returns the highest power first. The vertex of c2 x² + c1 x + c0 is at
# -c1 / (2 c2), and x is a logarithm.</details>

# %% tags=["tests:isoflop_optimum:1"]
with lab.test("isoflop_optimum"):
    size, loss = isoflop_optimum(np.exp([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 2.0]))
    assert abs(size - math.e**2) < 1e-6 and abs(loss - 1) < 1e-6, f"the example gives {size:.4f}, {loss:.4f}"
    size, loss = isoflop_optimum(np.exp([4.0, 0.0, 2.0, 3.0, 1.0]), np.array([3.2, 9.0, 1.0, 1.7, 1.6]), points=4)
    assert abs(np.log(size) - 1.976) < 1e-3, (
        f"only the four lowest losses count: log N should be 1.976, not {np.log(size):.3f}"
    )
    assert abs(loss - 1.075) < 1e-3, f"the loss is the parabola's at the vertex, 1.075, not {loss:.3f}"
    try:
        isoflop_optimum(np.exp([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 1.0]))
    except ValueError:
        pass
    else:
        raise AssertionError("a parabola that opens downwards has no bottom: raise ValueError")


# %% tags=["hidden:isoflop_optimum:2"]
def probe():
    g = np.random.default_rng(4)
    cases = {
        "few": (3, 5),  # because: fewer runs than points
        "usual": (8, 5),  # because: more runs than points, in any order
        "wide": (9, 6),  # because: more points than usual
        "narrow": (8, 3),  # because: fewer points than usual
        "edge": (7, 4),  # because: the lowest loss is at the smallest size
    }
    answers = {}
    for name, (count, points) in cases.items():
        x = g.permutation(np.linspace(8, 16, count))
        center = 7.5 if name == "edge" else 12.3
        y = 3 + 0.05 * (x - center) ** 2 + 0.002 * (x - center) ** 3 + g.normal(0, 0.003, count)
        answers[name] = list(isoflop_optimum(np.exp(x), y, points))
    try:
        isoflop_optimum(np.exp([3.0, 1.0, 2.0, 4.0]), np.array([2.0, 1.0, 2.5, 1.1]))
        answers["no bottom"] = "an answer"  # because: a parabola that opens downwards
    except ValueError:
        answers["no bottom"] = "ValueError"
    return answers


def visible():
    return [
        isoflop_optimum(np.exp([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 2.0])),
        isoflop_optimum(np.exp([4.0, 0.0, 2.0, 3.0, 1.0]), np.array([3.2, 9.0, 1.0, 1.7, 1.6]), points=4),
    ]


# %% [markdown]
# ## 3 · A straight line on log paper
#
# $y = a\,x^{-b}$ becomes $\log y = \log a - b \log x$, so a *power law* is a straight line between logarithms:


# %%
def power_law(x, y):
    """Fit y = a x^(-b) by least squares of log y. x, y: float arrays (n,), positive. Returns (a, b), two floats."""
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(intercept)), float(-slope)


print(power_law(np.array([1.0, 10.0, 100.0]), np.array([8.0, 4.0, 2.0])), "is (8, log10(2))")

# %% [markdown]
# But a loss cannot fall to 0: text has an *entropy* (熵), what no model can predict. A law with a floor,
# $y = E + a\,x^{-b}$, is still a straight line, of $\log(y - E)$, once $E$ is known. So try many.


# %% tags=["exercise:floor_law"]
def floor_law(x, y, floors):
    """Fit y = E + a x^(-b): for each E in floors the power law of y - E; keep the best.

    x, y: float arrays (n,). floors: float array (k,), in any order; those not below min(y) are skipped. The best
    is that with the smallest sum of squares of (y - prediction), in the units of y; of equal ones the first.
    Returns (E, a, b), three floats.

    Example: x = [1, 2, 4], y = [5, 3, 2], floors [0, 1, 2]: E = 1, a = 4, b = 1 fits exactly.
    """
    ### BEGIN SOLUTION
    best = None
    for floor in floors:
        if floor < np.min(y):
            a, b = power_law(x, y - floor)
            error = float(np.sum((y - floor - a * x**-b) ** 2))
            if best is None or error < best[0]:
                best = error, float(floor), a, b
    return best[1:]
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>One loop over the floors, one call of power_law in it, and a variable that keeps the best so
# far.</details>
# <details><summary>Hint 2</summary>A logarithm of something negative is nan, and every comparison with nan is False. So skip
# such floors before you fit.</details>

# %% tags=["tests:floor_law:1"]
with lab.test("floor_law"):
    x, y = np.array([1.0, 2.0, 4.0]), np.array([5.0, 3.0, 2.0])
    got = floor_law(x, y, np.array([0.0, 1.0, 2.0]))
    assert np.allclose(got, (1, 4, 1)), f"the example gives {got}"
    got = floor_law(x, y, np.array([0.0, 1.0, 1.5]))
    assert got[0] == 1, f"with floors [0, 1, 1.5] E = 1 is still the best, not {got[0]}: compare the errors"
    got = floor_law(x, y, np.array([2.5, 2.0, 0.5, 0.0]))
    assert got[0] == 0.5, (
        f"floors [2.5, 2.0, 0.5, 0.0]: 2.5 and 2.0 are not below min(y); of the others 0.5 is best, not {got[0]}"
    )
    got = floor_law(np.array([1.0, 2.0, 4.0, 8.0]), np.array([9.0, 4.2, 3.3, 2.2]), np.array([0.0, 1.0, 1.5, 2.0]))
    assert got[0] == 2.0, f"errors count in the units of y, not of its logarithm: E should be 2.0 here, not {got[0]}"


# %% tags=["hidden:floor_law:2"]
def probe():
    g = np.random.default_rng(6)
    x = 10 ** np.linspace(3, 8, 9)
    y = 1.7 + 30 * x**-0.3 + g.normal(0, 0.02, 9)
    rough = 2.0 + 8 * x**-0.2 * np.exp(g.normal(0, 0.2, 9))
    return {
        # because: noisy points, and many floors, some too high for the points
        "noisy": floor_law(x, y, np.linspace(0, 3, 61)),
        "rough": floor_law(x, rough, np.linspace(0, 3, 61)),  # because: very noisy points, more so where y is large
        # because: few points, the largest far above the others
        "steep": floor_law(np.array([1.0, 3.0, 9.0, 27.0]), np.array([9.0, 4.2, 3.3, 2.2]), np.linspace(0, 2.1, 22)),
        "falling": floor_law(x, y, np.linspace(3, 0, 61)),  # because: floors from high to low, the first too high
        "one floor": floor_law(x, y, np.array([0.5])),  # because: one floor only
    }


def visible():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([5.0, 3.0, 2.0])
    four = np.array([1.0, 2.0, 4.0, 8.0]), np.array([9.0, 4.2, 3.3, 2.2]), np.array([0.0, 1.0, 1.5, 2.0])
    return [floor_law(x, y, np.array(f)) for f in ([0.0, 1.0, 2.0], [0.0, 1.0, 1.5], [2.5, 2.0, 0.5, 0.0])] + [floor_law(*four)]


# %% [markdown]
# ### Forecast
#
# From the bottoms at four budgets: how does the best loss fall with compute, how does the best size grow? Then the test: the
# bottom at the held-out budget, three times the largest fitted one, which nothing above has used. Each seed is a ladder of its own;
# the intervals are t intervals over the three seeds.

# %% tags=["hide-input"]
guess = widgets.predict(
    "Two laws are fitted to the same bottoms: the straight line, and the law with a floor. Which forecast of the held-out loss has the smaller error?",
    options=["that of the straight line", "that of the law with a floor", "three seeds cannot tell"],
)

# %% tags=["experiment"]
lab.needs("isoflop_optimum", "floor_law")


def bottoms(table):
    """Best size and loss at each budget, of one seed."""
    found = {
        budget: isoflop_optimum(part["parameters"].to_numpy(), part["loss_nats"].to_numpy())
        for budget, part in table.groupby("budget_flops")
    }
    return pd.DataFrame(found, index=["size", "loss"]).T


def by_seed(statistic, table):
    """(mean, low, high) of a statistic over the seeds, each a ladder of its own: t interval."""
    return scoring.mean([statistic(part) for _, part in table.groupby("seed")])


def loss_forecast(table, floors=None):
    """Loss at the held-out budget by a law through the bottoms, with a floor or without."""
    best = bottoms(table)
    x, y = best.index.to_numpy(), best["loss"].to_numpy()
    E, a, b = (0.0, *power_law(x, y)) if floors is None else floor_law(x, y, floors)
    return E + a * HELD_OUT**-b


far = ladder[ladder["budget_flops"] == HELD_OUT]
truth = by_seed(lambda t: bottoms(t)["loss"].iloc[0], far)
print(f"loss at {HELD_OUT:.1e} FLOPs, measured: {truth[0]:.3f} [{truth[1]:.3f}, {truth[2]:.3f}] nats per token")
for name, floors in (("power law", None), ("with a floor", np.linspace(0, 1.6, 81))):
    value, low, high = by_seed(lambda t, f=floors: loss_forecast(t, f), fitted)
    print(f"{name:<13} forecast {value:.3f} [{low:.3f}, {high:.3f}], error {value - truth[0]:+.3f}")

# %% tags=["hide-input", "experiment"]
lab.needs("isoflop_optimum", "floor_law")
measured = np.array([bottoms(part)["loss"].iloc[0] for _, part in far.groupby("seed")])
straight, bent = (
    np.abs(np.array([loss_forecast(part, floors) for _, part in fitted.groupby("seed")]) - measured) for floors in (None, np.linspace(0, 1.6, 81))
)
more, low, high = scoring.paired(bent, straight)
guess.reveal(
    "that of the straight line" if low > 0 else "that of the law with a floor" if high < 0 else "three seeds cannot tell",
    why=f"The law with a floor errs by {bent.mean():.3f} nats on average, the line by {straight.mean():.3f}; the difference is {more:+.3f} [{low:+.3f}, {high:+.3f}], seed by seed.",
)

# %% tags=["experiment"]
lab.needs("isoflop_optimum")


def size_law(table):
    best = bottoms(table)
    return power_law(best.index.to_numpy(), best["size"].to_numpy())


exponent, low, high = by_seed(lambda t: -size_law(t)[1], fitted)
size = by_seed(lambda t: size_law(t)[0] * HELD_OUT ** -size_law(t)[1], fitted)
true_size = by_seed(lambda t: bottoms(t)["size"].iloc[0], far)
print(f"best size grows as C^{exponent:.2f} [{low:.2f}, {high:.2f}]: 8 times the budget, {8**exponent:.1f} times the size")
print(f"at {HELD_OUT:.1e} FLOPs: forecast {size[0]:,.0f} [{size[1]:,.0f}, {size[2]:,.0f}] parameters,", end=" ")
print(f"measured {true_size[0]:,.0f} [{true_size[1]:,.0f}, {true_size[2]:,.0f}]")

# %% tags=["hide-input", "experiment"]
lab.needs("isoflop_optimum")
guess_2.reveal(8**exponent, why=f"8 to the power of {exponent:.2f}. The rest of the budget goes into more text.")

# %% tags=["experiment"]
lab.needs("isoflop_optimum")
fig, axes = plt.subplots(1, 2, figsize=(12, 4.4))
x = np.logspace(10, 11.8, 50)
points = pd.concat([bottoms(part).assign(seed=seed) for seed, part in ladder.groupby("seed")])
for ax, what, title, label in (
    (axes[0], "loss", "The best loss at each budget", "loss (nats per token)"),
    (axes[1], "size", "The best size at each budget", "best size (parameters)"),
):
    near, last = points[points.index < HELD_OUT], points[points.index == HELD_OUT]
    a, b = power_law(near.index.to_numpy(), near[what].to_numpy())
    ax.plot(near.index, near[what], "o", markerfacecolor="none", label="fitted (one point per seed)")
    ax.plot(x, a * x**-b, "--", marker="", color="grey", label=f"power law, exponent {-b:+.3f}")
    ax.plot(last.index, last[what], "s", color=plots.COLORS[2], markersize=8, label="held out")
    ax.set(title=title, xlabel="compute (FLOPs)", ylabel=label, xscale="log", yscale="log")
    ax.legend()
axes[0].set_yticks([1.8, 2, 2.2, 2.4], ["1.8", "2", "2.2", "2.4"])
axes[0].minorticks_off()
plt.show()

# %% [markdown]
# Compare the two intervals with the measured values. An interval over seeds tells how far another draw of seeds would move the
# line. It does not tell whether the world *is* a line: only a run that was not fitted tells that, which is why one is kept back.
# (The lecture took the best *run* at each budget, not the bottom of a valley. One run is noisier, so its interval is wider.)
#
# And what is a size? @kaplan2020scaling counted neither the embedding nor the output matrix. @pearce2024reconciling show that
# this alone, for small models, moves the exponent towards theirs. The same runs, counted both ways:

# %% tags=["experiment"]
lab.needs("isoflop_optimum")
for name, drop in (("all parameters", 0), ("without the embedding", VOCABULARY)):
    counted = fitted.assign(parameters=fitted["parameters"] - drop * fitted["width"])
    value, low, high = by_seed(lambda t: -size_law(t)[1], counted)
    print(f"{name:<21}: best size grows as C to the power of {value:.2f} [{low:.2f}, {high:.2f}]")

# %% [markdown]
# ## 4 · The whole surface
#
# Hoffmann et al.'s third approach describes *all* runs by one formula:
#
# $$L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}$$
#
# the floor, what is lost by finite size, what is lost by finite text. They fit $\log L$ with *Huber's loss*, quadratic for
# small errors $r$ and linear for large ones, so that outliers pull less: $r^2/2$ if $|r| \le \delta$, else
# $\delta(|r| - \delta/2)$, with $\delta = 10^{-3}$. With $a = \log A$, $b = \log B$, $e = \log E$ the prediction is
# $\log L = \operatorname{logsumexp}(a - \alpha \log N,\ b - \beta \log D,\ e)$, which cannot overflow.


# %% tags=["exercise:chinchilla_objective"]
def chinchilla_objective(theta, N, D, L, delta=1e-3):
    """Sum over the runs of Huber's loss of (predicted log L - log L).

    theta: five floats, a = log A, b = log B, e = log E, alpha, beta. N, D, L: float arrays (n,). Returns float,
    also where exp(a) would overflow.

    Example: theta (0, 0, 0, 1, 1), N = D = [2.0], L = [2.0]: the prediction is 0.5 + 0.5 + 1 = 2, so 0.0; with
    L = [4.0] the error is -0.693 and Huber's loss 0.001 · (0.693 - 0.0005) = 0.00069265.
    """
    ### BEGIN SOLUTION
    a, b, e, alpha, beta = theta
    predicted = np.logaddexp(np.logaddexp(a - alpha * np.log(N), b - beta * np.log(D)), e)
    r = np.abs(predicted - np.log(L))
    return float(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).sum())
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>The logarithm of a sum of three terms of which you know the logarithms: np.logaddexp adds
# two such terms without leaving the logarithms.</details>
# <details><summary>Hint 2</summary>np.where(condition, small, large) chooses for each run. The condition compares the size of
# the error with delta.</details>

# %% tags=["tests:chinchilla_objective:2"]
with lab.test("chinchilla_objective"):
    one, two = (0, 0, 0, 1, 1), np.array([2.0])
    got = chinchilla_objective(one, two, two, two)
    assert abs(got) < 1e-12, f"a perfect prediction costs 0, not {got}"
    got = chinchilla_objective(one, two, two, 2 * two)
    assert abs(got - 0.00069265) < 1e-7, f"the example costs 0.00069265, not {got:.8f}"
    got = chinchilla_objective(one, two, two, two * math.exp(5e-4))
    assert abs(got - 1.25e-7) < 1e-10, f"an error of 0.0005 costs half its square, 1.25e-7, not {got:.3g}"
    got = chinchilla_objective(one, np.full(3, 2.0), np.full(3, 2.0), np.full(3, 4.0))
    assert abs(got - 3 * 0.00069265) < 1e-7, f"three such runs cost three times as much, 0.00207794, not {got:.8f}"
    got = chinchilla_objective(one, two, two, 2 * two, delta=1.0)
    assert abs(got - 0.240227) < 1e-5, f"with delta = 1 the same error is small: 0.693² / 2 = 0.240227, not {got:.6f}"
    got = chinchilla_objective((900.0, 0, 0, 1, 1), two, two, two)
    assert math.isfinite(got), f"a = 900 is a large prediction, not {got}: stay with logarithms, exp(900) overflows"


# %% tags=["hidden:chinchilla_objective:2"]
def probe():
    g = np.random.default_rng(7)
    N, D = 10 ** g.uniform(7, 10, 30), 10 ** g.uniform(9, 12, 30)
    L = (1.7 + 400 / N**0.34 + 410 / D**0.28) * np.exp(g.normal(0, 0.001, 30))
    good, poor = (math.log(400), math.log(410), math.log(1.7), 0.34, 0.28), (5, 8, 0.5, 0.3, 0.4)
    return [
        chinchilla_objective(good, N, D, L),  # because: a theta that predicts well, so that errors are small
        chinchilla_objective(poor, N, D, L),  # because: a theta that predicts badly, so that errors are large
        chinchilla_objective((900.0, 0, 0, 0.1, 0.5), N, D, L),  # because: a theta with a very large number in it
        chinchilla_objective(poor, N, D, L, delta=0.5),  # because: another delta
    ]


def visible():
    one, two = (0, 0, 0, 1, 1), np.array([2.0])
    answers = [chinchilla_objective(one, two, two, two * k) for k in (1, 2, math.exp(5e-4))]
    return [*answers, chinchilla_objective(one, two, two, 2 * two, delta=1.0)]


# %% [markdown]
# The optimizer is a library's. It may stop in a local minimum, so it starts from many places, as theirs did. And it stops
# where the slope is "small": with $\delta = 10^{-3}$ it is small everywhere, so the objective is scaled up first. The authors
# of the paper did not, and theirs stopped too early [@besiroglu2024chinchilla].

# %%
FEW = [(2, 2, 0.3, 0.35, 0.35), (5, 5, 0.3, 0.35, 0.35)]  # enough for small tables with little noise
MANY = [(a, b, e, x, x) for a in (0, 5, 10) for b in (0, 5, 10) for e in (-0.5, 0.5, 1) for x in (0.2, 0.6)]


def fit_surface(N, D, L, starts=MANY):
    """(A, B, E, alpha, beta) that fit best, by L-BFGS from several starts."""

    def scaled(theta):
        return 1e6 * chinchilla_objective(theta, N, D, L)

    tried = [minimize(scaled, start, method="L-BFGS-B", options={"maxfun": 20_000}) for start in starts]
    a, b, e, alpha, beta = min(tried, key=lambda result: result.fun).x
    return np.array([math.exp(a), math.exp(b), math.exp(e), alpha, beta])


def fit_table(table, starts=MANY):
    return fit_surface(*(table[c].to_numpy(float) for c in ("parameters", "tokens", "loss_nats")), starts)


def surface(theta, N, D):
    A, B, E, alpha, beta = theta
    return E + A / N**alpha + B / D**beta


# %% [markdown]
# Given the surface, the best split of a budget $C = 6ND$ follows by setting a derivative to zero [@hoffmann2022training,
# equation 4]:
#
# $$N^* = G\Big(\frac C6\Big)^{\frac{\beta}{\alpha+\beta}}, \quad D^* = \frac1G\Big(\frac C6\Big)^{\frac{\alpha}{\alpha+\beta}},
# \quad G = \Big(\frac{\alpha A}{\beta B}\Big)^{\frac{1}{\alpha+\beta}}$$


# %% tags=["exercise:compute_optimal"]
def compute_optimal(theta, flops):
    """The size and the number of tokens that give the lowest loss for a budget of 6ND FLOPs.

    theta: (A, B, E, alpha, beta), not logarithms. flops: float, or float array of any shape. Returns (N, D),
    each like flops.

    Example: theta (4, 1, 1, 1, 1), flops 600: G = 2, so N = 20 and D = 5.
    """
    ### BEGIN SOLUTION
    A, B, _, alpha, beta = theta
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return G * (flops / 6) ** (beta / (alpha + beta)), (flops / 6) ** (alpha / (alpha + beta)) / G
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint</summary>Two checks of a formula: does 6 N D give the budget back? And is the loss higher for a model a
# little smaller, and for one a little larger, at the same budget?</details>

# %% tags=["tests:compute_optimal:1"]
with lab.test("compute_optimal"):
    N, D = compute_optimal((4, 1, 1, 1, 1), 600.0)
    assert abs(N - 20) < 1e-9 and abs(D - 5) < 1e-9, f"the example gives N = 20, D = 5, not {N:.3f}, {D:.3f}"
    theta = (482.0, 2085.0, 1.82, 0.348, 0.366)
    N, D = compute_optimal(theta, np.array([1e20, 1e24]))
    assert np.allclose(6 * N * D, [1e20, 1e24]), "N and D must use up the budget: 6ND = C"
    for factor in (0.9, 1.1):
        worse = surface(theta, N * factor, D / factor)
        assert (worse > surface(theta, N, D)).all(), f"{factor} times your N, at the same cost, has a lower loss"


# %% tags=["hidden:compute_optimal:2"]
def probe():
    equal, unequal = (406.4, 410.7, 1.69, 0.34, 0.28), (3.0, 70.0, 2.0, 0.2, 0.5)
    return {
        "small": list(compute_optimal(equal, 1e18)),  # because: a small budget
        "large": list(compute_optimal(equal, 5.76e23)),  # because: a large budget
        "small, other": list(compute_optimal(unequal, 1e18)),  # because: a small budget, with a very different theta
        "large, other": list(compute_optimal(unequal, 5.76e23)),  # because: a large budget, with a very different theta
        "matrix": [part.shape for part in compute_optimal(equal, np.ones((2, 3)))],  # because: a matrix of budgets
    }


def visible():
    return [
        compute_optimal((4, 1, 1, 1, 1), 600.0),
        compute_optimal((482.0, 2085.0, 1.82, 0.348, 0.366), np.array([1e20, 1e24])),
    ]


# %% [markdown]
# ### Our ladder
#
# All runs of one seed give one surface, so three seeds give three. The surface's best size at a budget is looked up among widths,
# with exact FLOPs, because $6ND$ is not what our models cost.

# %% tags=["experiment"]
lab.needs("count_parameters", "training_flops", "chinchilla_objective")
SIZES = [shape(d, 2, d * 8 // 3, 2, 2, VOCABULARY, True) for d in range(8, 160, 4)]
N_OF = np.array([count_parameters(c) for c in SIZES])
COST_OF = np.array([training_flops(c, 1, LENGTH) for c in SIZES])  # FLOPs of one token


def best_size(theta, budget):
    """The number of parameters with the lowest loss on the surface when the budget is spent on it."""
    N = np.geomspace(N_OF[0], N_OF[-1], 2000)
    return N[np.argmin(surface(theta, N, budget / np.interp(N, N_OF, COST_OF)))]


thetas = [fit_table(part, FEW) for _, part in fitted.groupby("seed")]
rows = {name: [theta[i] for theta in thetas] for i, name in enumerate(["A", "B", "E", "α", "β"])}
growth = np.log(fitted["budget_flops"].max() / fitted["budget_flops"].min())
ends = [(best_size(t, fitted["budget_flops"].min()), best_size(t, fitted["budget_flops"].max())) for t in thetas]
rows["exponent of the best size"] = [np.log(high / low) / growth for low, high in ends]
fits = pd.DataFrame({name: scoring.mean(values) for name, values in rows.items()}, index=["mean", "low", "high"]).T
fits.round(2)

# %% tags=["experiment"]
lab.needs("chinchilla_objective", "isoflop_optimum")
rows = []
for budget, part in ladder.groupby("budget_flops"):
    for name, sizes in (
        ("valley", [bottoms(p)["size"].iloc[0] for _, p in part.groupby("seed")]),
        ("surface", [best_size(t, budget) for t in thetas]),
    ):
        per_token = np.interp(sizes, N_OF, COST_OF)
        ratio = scoring.mean(budget / per_token / sizes)
        rows.append((f"{budget:.1e}", name, np.mean(sizes), f"{ratio[0]:.0f} [{ratio[1]:.0f}, {ratio[2]:.0f}]"))
pd.DataFrame(rows, columns=["FLOPs", "method", "best size", "tokens per parameter there"]).set_index(
    ["FLOPs", "method"]
).round(0)

# %% tags=["experiment"]
lab.needs("chinchilla_objective")
predicted = np.mean([surface(t, far["parameters"], far["tokens"]) for t in thetas], axis=0)
table = far.assign(forecast=predicted, error=predicted - far["loss_nats"])
table = table.groupby("width")[["parameters", "tokens", "loss_nats", "forecast", "error"]].mean()
near = np.mean([surface(t, fitted["parameters"], fitted["tokens"]) for t in thetas], axis=0) - fitted["loss_nats"]
print(f"mean absolute error: {near.abs().mean():.3f} nats on the fitted runs, {table['error'].abs().mean():.3f} on the held-out")
print(f"mean error on the held-out runs, with its sign: {table['error'].mean():+.3f} nats")
table.round(3)

# %% [markdown]
# Two honest methods, one set of runs. Where they differ, it is because they look at different runs: a parabola uses the bottom of
# one valley and nothing else; the surface must be right about runs far from any valley, too, and has only five numbers for all
# of them. Look for a pattern in the signs of the errors: a formula that were right would leave none. Compare the held-out errors
# with those of the straight line in part 3: which method would you have trusted? (A guess why the surface does badly: our
# runs are short. They gain first from more *steps* and only later from more *text*, and the formula has one exponent for both.)
#
# When somebody shows an exponent with two digits, ask for the other method. And why does the ratio change with the budget?
# Tokens per parameter stay the same only where the best size grows as $C^{0.5}$; every other exponent makes it rise or fall.

# %% [markdown]
# ### Chinchilla's own points
#
# Hoffmann et al. did not publish the losses of their runs. @besiroglu2024chinchilla read 245 of them from a figure, and found
# that the paper's printed fit ($A = 406.4$, $B = 410.7$, $E = 1.69$, $\alpha = 0.34$, $\beta = 0.28$) does not go through the
# points. Five of the runs saw fewer than half a token per parameter. How much can 5 of 245 points matter, with a loss made to
# resist outliers?

# %% tags=["hide-input"]
guess = widgets.predict(
    "Chinchilla itself read 20 tokens per parameter. How many does the fit to *all 245* runs ask for at its budget?",
    unit="tokens/parameter",
    tolerance=0.25,
)

# %% tags=["experiment"]
lab.needs("chinchilla_objective", "compute_optimal")
published = tables.load("chinchilla_runs")
published["tokens"] = published["training_flops"] / (6 * published["parameters"])
published["ratio"] = published["tokens"] / published["parameters"]
most = published.sort_values("ratio").iloc[5:]
printed = np.array([406.4, 410.7, 1.69, 0.34, 0.28])
fits = {"printed in the paper": printed, "all 245 runs": fit_table(published), "without the five": fit_table(most)}
shown = pd.DataFrame(fits, index=["A", "B", "E", "alpha", "beta"]).T
for budget in (1e21, 5.76e23):
    N, D = zip(*(compute_optimal(theta, budget) for theta in fits.values()), strict=True)
    shown[f"tokens per parameter at {budget:.2g}"] = np.array(D) / np.array(N)
shown["typical error (nats)"] = [
    (surface(t, most["parameters"], most["tokens"]) - most["loss_nats"]).abs().median() for t in fits.values()
]
shown.round(3)

# %% tags=["hide-input", "experiment"]
lab.needs("chinchilla_objective", "compute_optimal")
all_runs, but_five = shown.iloc[1:, -2]
with_five, without = shown["beta"].iloc[1:]
guess.reveal(all_runs, why=f"Without the five it is {but_five:.0f}: they move β from {without:.2f} to {with_five:.2f}.")

# %% [markdown]
# Besiroglu et al. report $A = 482$, $B = 2085$, $E = 1.817$, $\alpha = 0.348$, $\beta = 0.366$ without the five: so does the
# last row, nearly. At Chinchilla's own budget, $5.76 \times 10^{23}$, it gives a ratio *near* the famous 20 (which comes from
# Hoffmann et al.'s first two approaches). The printed fit is far from 20, and this has two reasons [@besiroglu2024chinchilla]:
# the optimizer stopped too early, and two decimals of an exponent are too few. See the second:

# %% tags=["experiment"]
lab.needs("compute_optimal")
A, B, E, alpha, beta = printed
ratios = {
    (a, b): np.divide(*compute_optimal((A, B, E, a, b), 5.76e23)[::-1])
    for a in (alpha - 0.005, alpha, alpha + 0.005)
    for b in (beta - 0.005, beta, beta + 0.005)
}
print("tokens per parameter, for exponents that would all be printed as 0.34 (rows, α) and 0.28 (columns, β):")
pd.Series(ratios).unstack().round(0)

# %% [markdown]
# So "20 tokens per parameter" is not a constant of nature. It depends on the budget as soon as $\alpha \ne \beta$, on the text, on the
# tokenizer, and on what you count as a parameter.

# %% tags=["hide-input", "experiment"]
lab.needs("chinchilla_objective", "compute_optimal")
theta = fits["without the five"]
budgets = np.logspace(18, 26, 40)
fig, ax = plt.subplots(figsize=(9, 4.6))
for i, (name, t) in enumerate(fits.items()):
    N, D = compute_optimal(t, budgets)
    ax.plot(budgets, D / N, label=name, linestyle=plots.LINES[i], marker="", color=plots.COLORS[i])
for name, parameters, tokens, below in (
    ("GPT-3", 175e9, 300e9, False),
    ("Gopher", 280e9, 300e9, True),
    ("Chinchilla", 70e9, 1.4e12, False),
    ("LLaMA 7B", 6.7e9, 1e12, True),
    ("Llama 2 7B", 6.7e9, 2e12, False),
):
    ax.plot(6 * parameters * tokens, tokens / parameters, "D", color="black")
    offset = (7, -14) if below else (7, 5)
    ax.annotate(name, (6 * parameters * tokens, tokens / parameters), xytext=offset, textcoords="offset points")
ax.set(
    title="Best ratio by three fits, and what was trained",
    xlabel="compute (FLOPs)",
    ylabel="tokens per parameter",
    xscale="log",
    yscale="log",
    ylim=(0.5, 600),
)
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# LLaMA's makers went far above the line on purpose: a model is trained once and used very often, and a small model is
# cheaper to use. What did it cost them in training?

# %% tags=["experiment"]
lab.needs("chinchilla_objective", "compute_optimal")
rows = []
for name, parameters, tokens in (("LLaMA 7B", 6.738e9, 1e12), ("Llama 2 7B", 6.738e9, 2e12), ("GPT-3", 175e9, 300e9)):
    loss, flops = surface(theta, parameters, tokens), 6 * parameters * tokens
    N, D = compute_optimal(theta, flops)
    same = next(c for c in np.logspace(18, 25, 4000) if surface(theta, *compute_optimal(theta, c)) <= loss)
    rows.append((name, loss, surface(theta, N, D), N / parameters, flops / same))
columns = ["model", "loss by the fit", "best for its budget", "best size / its size", "its budget / cheapest for its loss"]
pd.DataFrame(rows, columns=columns).set_index("model").round(3)

# %% [markdown]
# Read it as: LLaMA 7B paid a surcharge in training (last column) for a model several times smaller than the best one for its
# budget, so several times cheaper for each answer. (A forecast by a curve fitted to other people's runs, text and tokenizer: take
# the direction, not the digits.)

# %% [markdown]
# ## 5 · Challenge: forecast a run that you cannot afford
#
# You are given a list of runs that *could* be made: size, tokens, price in FLOPs. You have a budget for about a third of their total
# price. Buy the losses of the runs you want, then forecast the loss of one run that costs ten times as much as the
# most expensive in the list. Nobody tells you the law, and every loss has some noise, as between seeds.
#
# The score is the mean absolute error over several such markets, in nats. The grader recomputes it on markets that you have not
# seen, with other laws. It asks for **less than 0.04**; how low can you get?


# %%
def market(theta, seed, noise=0.004):
    """(runs, target, truth): 25 runs with prices and noisy losses, a run ten times as expensive, and its loss."""
    g = np.random.default_rng(seed)
    A, B, _, alpha, beta = theta
    best = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    rows = []
    for flops in (1e10, 3e10, 1e11, 3e11, 1e12):
        N = best * (flops / 6) ** (beta / (alpha + beta)) * np.exp(g.normal(0, 0.3) + np.linspace(-1.5, 1.5, 5))
        rows += [(n, flops / 6 / n, flops) for n in N]
    runs = pd.DataFrame(rows, columns=["parameters", "tokens", "flops"])
    runs["loss_nats"] = surface(theta, runs["parameters"], runs["tokens"]) * np.exp(g.normal(0, noise, len(runs)))
    N = best * (1e13 / 6) ** (beta / (alpha + beta))
    return runs.sample(frac=1, random_state=seed).reset_index(drop=True), (N, 1e13 / 6 / N), surface(theta, N, 1e13 / 6 / N)


def play(forecaster, runs, target, share=0.3):
    """(forecast, share of the budget that was spent); nothing can be bought beyond the budget."""
    budget, spent = share * runs["flops"].sum(), []

    def buy(i):
        spent.append(runs["flops"].iloc[i])
        if sum(spent) > budget * (1 + 1e-9):
            raise ValueError(f"this run costs more than what is left of the budget of {budget:.2g} FLOPs")
        return float(runs["loss_nats"].iloc[i])

    return float(forecaster(runs[["parameters", "tokens", "flops"]], buy, budget, target)), sum(spent) / budget


# %% tags=["exercise:forecast"]
def forecast(runs, buy, budget, target):
    """Buy runs within a budget, then forecast the loss of an expensive one.

    runs: DataFrame with a row for each run, columns parameters, tokens and flops (its price). buy: a function;
    buy(i) returns the loss of the run in row i (nats per token) and spends its price, also when it is bought
    again; it raises ValueError beyond the budget. budget: FLOPs. target: (parameters, tokens) of the run to
    forecast. Returns its loss, float.
    """
    ### BEGIN SOLUTION
    chosen, left = [], budget
    for flops, part in runs.sort_values("flops", ascending=False).groupby("flops", sort=False):
        by_size = part.sort_values("parameters").index
        share = left if flops == runs["flops"].min() else left / 2
        for i in by_size[[2, 1, 3, 0, 4]]:  # from the middle outwards
            if flops <= share:
                chosen.append(i)
                share, left = share - flops, left - flops
    losses = np.array([buy(i) for i in chosen])
    bought = runs.loc[chosen]
    theta = fit_surface(bought["parameters"].to_numpy(), bought["tokens"].to_numpy(), losses, FEW)
    return float(surface(theta, *target))
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint 1</summary>You have three tools: power_law, floor_law and fit_surface. Which of them can use every run that
# you buy?</details>
# <details><summary>Hint 2</summary>Expensive runs are near the target; many cheap ones show the shape. Do not spend everything on
# one.</details>
# <details><summary>Hint 3</summary>fit_surface(N, D, L, FEW) takes a fifth of a second. surface(theta, *target) is the
# forecast.</details>

# %% tags=["tests:forecast:1"]
with lab.test("forecast"):
    errors = []
    for theta, seed in (((30, 60, 1.1, 0.38, 0.33), 1), ((12, 300, 0.9, 0.30, 0.42), 3), ((80, 80, 1.3, 0.42, 0.36), 4)):
        runs, target, truth = market(theta, seed)
        got, spent = play(forecast, runs, target)
        errors.append(abs(got - truth))
        print(f"spent {spent:.0%} of the budget, forecast {got:.3f}, truth {truth:.3f}")
    score = sum(errors) / len(errors)
    print(f"score: mean absolute error {score:.4f} nats")
    assert score < 0.04, (
        f"the mean absolute error is {score:.3f} nats; a law with a floor, fitted to more runs, gets below 0.04"
    )


# %% tags=["hidden:forecast:2"]
def played(law, seed):
    runs, target, truth = market(law, seed)
    return [*play(forecast, runs, target), truth]


def probe():
    return [
        played((200, 40, 1.6, 0.5, 0.30), 2),  # because: a market with a high floor
        played((20, 30, 1.5, 0.33, 0.28), 5),  # because: a market in which text helps slowly
        played((60, 20, 0.8, 0.40, 0.25), 6),  # because: a market with a low floor
        played((9, 90, 1.2, 0.27, 0.36), 7),  # because: a market in which size helps slowly
    ]


def visible():
    return [played((30, 60, 1.1, 0.38, 0.33), 1)]


def check(got, want):
    assert len(got) == len(want) and all(row[1] <= 1.000001 for row in got), "more was spent than the budget"
    score = sum(abs(mine[0] - right[2]) for mine, right in zip(got, want, strict=True)) / len(want)
    assert score < 0.04, f"score: a mean absolute error of {score:.3f} nats on four markets; below 0.04 is asked for"


def check_visible(got, want):
    assert abs(got[0][0] - want[0][2]) < 0.1 and got[0][1] <= 1.000001


# %% [markdown]
# Now the real thing: our own ladder. The list has the runs of the fitted budgets, of one seed; the targets are the runs of the
# held-out budget, of the same seed.

# %% tags=["experiment"]
lab.needs("forecast")
rows = []
for seed, runs in fitted.assign(flops=fitted["budget_flops"]).groupby("seed"):
    for run in far[far["seed"] == seed].itertuples():
        got, spent = play(forecast, runs.reset_index(drop=True), (run.parameters, run.tokens))
        rows.append((run.width, run.loss_nats, got, abs(got - run.loss_nats), spent))
table = pd.DataFrame(rows, columns=["width", "measured", "forecast", "error", "share of the budget spent"])
print(f"your score on the ladder: mean absolute error {table['error'].mean():.3f} nats")
table.groupby("width").mean().round(3)

# %% [markdown]
# ## 6 · Does ability emerge?
#
# @wei2022emergent called an ability *emergent* if small models do not have it and large ones do. @schaeffer2023emergent
# answered: look at your metric. If each of $k$ tokens is right with chance $p$, the whole answer is right with chance $p^k$: a
# smooth rise of $p$ looks like a jump.
#
# Our ability: adding two three-digit numbers. An answer has four digits. Three metrics of one and the same output:


# %% tags=["exercise:answer_scores"]
def answer_scores(logits, labels):
    """Three scores of answers of k tokens.

    logits: float tensor (n, k, vocabulary), for each token of each answer. labels: int64 (n, k).
    Returns a dict of three floats: "answers", the share of answers with every token right (its likeliest token
    is the label); "tokens", the share of right tokens; "nats", the mean negative log-probability of a right token.

    Example: 2 answers of 2 tokens; in one both are right, in the other one of two: answers 0.5, tokens 0.75.
    """
    ### BEGIN SOLUTION
    right = logits.argmax(-1) == labels
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    return {
        "answers": float(right.all(1).float().mean()),
        "tokens": float(right.float().mean()),
        "nats": float(nats),
    }
    ### END SOLUTION


# %% [markdown]
# <details><summary>Hint</summary>A bool tensor (n, k) of right tokens gives two of the scores. For the third, F.cross_entropy wants
# the classes in dimension 1: flatten answers and tokens into one dimension first.</details>

# %% tags=["tests:answer_scores:1"]
with lab.test("answer_scores"):
    logits = torch.zeros(2, 2, 3)
    logits[0, 0, 1] = logits[0, 1, 2] = logits[1, 0, 0] = logits[1, 1, 0] = 50.0
    got = answer_scores(logits, torch.tensor([[1, 2], [0, 2]]))
    assert got["answers"] == 0.5, f"one of two answers is right in both tokens; you say {got['answers']}"
    assert got["tokens"] == 0.75, f"three of four tokens are right; you say {got['tokens']}"
    assert abs(got["nats"] - 12.5) < 1e-4, f"the wrong token has log-probability -50, the others 0: 12.5, not {got['nats']}"
    got = answer_scores(logits, torch.tensor([[0, 2], [0, 2]]))
    assert got["answers"] == 0, f"no answer is right in both tokens; you say {got['answers']}"


# %% tags=["hidden:answer_scores:2"]
def probe():
    g = torch.Generator().manual_seed(8)
    logits, labels = torch.randn(40, 3, 5, generator=g), torch.randint(0, 5, (40, 3), generator=g)
    logits = logits + 2.0 * F.one_hot(labels, 5)
    got = answer_scores(logits, labels)
    return {
        "scores": got,  # because: many answers of several tokens
        "one token": answer_scores(logits[:, :1], labels[:, :1]),  # because: answers of one token only
        "types": sorted(type(v).__name__ for v in got.values()),  # because: the types of the three scores
    }


def visible():
    logits = torch.zeros(2, 2, 3)
    logits[0, 0, 1] = logits[0, 1, 2] = logits[1, 0, 0] = logits[1, 1, 0] = 50.0
    return [answer_scores(logits, torch.tensor(labels)) for labels in ([[1, 2], [0, 2]], [[0, 2], [0, 2]])]


# %% [markdown]
# ### A jump
#
# Decoders of eight widths, ten seeds each, trained on 60,000 sums. The number of attention heads follows from the width, as is
# usual: one head for each 32, so `heads = max(1, width // 32)`.

# %% tags=["experiment"]
adders = tables.load("emergence_ladder")
usual = adders[adders["heads"] == np.maximum(1, adders["width"] // 32)]
fig, axes = plt.subplots(1, 3, figsize=(13, 4.2))
for ax, column, title, label in (
    (axes[0], "answers_right", "Answers right", "answers right (share)"),
    (axes[1], "digits_right", "Digits right", "digits right (share)"),
    (axes[2], "loss_nats", "Nats per digit", "nats per digit"),
):
    ax.plot(usual["parameters"], usual[column], "o", color="grey", markerfacecolor="none", label="one seed")
    mean = usual.groupby("parameters")[column].mean()
    ax.plot(mean.index, mean, color=plots.COLORS[1], linestyle="-", marker="s", label="mean of the seeds")
    ax.set(title=title, xlabel="parameters", ylabel=label, xscale="log")
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# Look at the first panel alone: little, little, and at the largest size an ability. Why does the largest model learn to add? Before
# you go on, think of an explanation, and of one experiment that could refute it.

# %% tags=["hide-input"]
widgets.predict(
    "Suppose the jump is real: more seeds, and still larger models built by the same rule, show it, too. Which experiment could still "
    "refute that a model learns to add *because it is larger*?",
    options=["the same ladder, trained on more sums", "the same ladder, measured in nats", "each width with one head and with two",
             "the same ladder on products instead of sums"],
    answer="each width with one head and with two",
    why="It changes one of two things that have grown together; in the other three both still grow together.",
)  # fmt: skip

# %% [markdown]
# ### The control
#
# Two things changed at the last step of that ladder: the width went from 48 to 64, *and* the number of heads from one to two. That
# is a *confounder* (混淆因素). So train every width with one head **and** with two. The number of parameters is the same: two heads
# of half the size have the same matrices. First two runs, made now, that differ in nothing but that:

# %% tags=["experiment"]
lab.needs("answer_scores")
exam = sums(2000, torch.Generator().manual_seed(10**6))
for heads in (1, 2):
    adder = train_to_add(32, heads, lab.budget(full=60_000, quick=1_000), seed=1)
    with torch.inference_mode():
        logits = adder(exam[:, :-1]).logits[:, -4:]
    scores = {name: round(value, 3) for name, value in answer_scores(logits, exam[:, -4:]).items()}
    print(f"width 32, {heads} head(s), {adder.num_parameters():,} parameters: {scores}")

# %% [markdown]
# And all of them. A run has "learnt to add" if more than 40 % of its answers are right; the intervals of the shares are Wilson's.

# %% tags=["hide-input", "experiment"]
learnt = adders.assign(learnt=adders["answers_right"] > 0.4)
rows = {
    (heads, width): scoring.proportion(int(part["learnt"].sum()), len(part)) + (len(part),)
    for (heads, width), part in learnt.groupby(["heads", "width"])
}
shares = pd.DataFrame(rows, index=["share", "low", "high", "seeds"]).T
fig, ax = plt.subplots(figsize=(9, 4.6))
for i, (heads, part) in enumerate(shares.groupby(level=0)):
    x = part.index.get_level_values(1) * (0.98 if heads == 1 else 1.02)
    errors = [part["share"] - part["low"], part["high"] - part["share"]]
    style = {"marker": plots.MARKERS[i], "linestyle": plots.LINES[i], "color": plots.COLORS[i], "capsize": 3}
    ax.errorbar(x, part["share"], yerr=errors, label=str(heads), **style)
ax.set(
    title="Which runs learn to add: heads decide, more than width",
    xlabel="width (log scale)",
    ylabel="share of seeds that learnt it",
    xscale="log",
    xticks=sorted(adders["width"].unique()),
    xticklabels=sorted(adders["width"].unique()),
)
ax.minorticks_off()
ax.legend(title="attention heads")
plt.show()


# %% tags=["hide-input", "experiment"]
def difference(first, second):
    """Difference of two shares of runs that learnt it, with Newcombe's 95 % interval (from two Wilson intervals)."""
    (p, low, high), (q, lower, higher) = (scoring.proportion(int(part.sum()), len(part)) for part in (first, second))
    return p - q, p - q - math.hypot(p - low, higher - q), p - q + math.hypot(high - p, q - lower)


def verdict(interval):
    return "an effect" if interval[1] > 0 or interval[2] < 0 else "we cannot tell"


narrow = learnt["width"] < 32
for name, first, second in (
    (
        "two heads minus one, width 32 and more",
        learnt[~narrow & (learnt["heads"] == 2)],
        learnt[~narrow & (learnt["heads"] == 1)],
    ),
    (
        "two heads minus one, width below 32",
        learnt[narrow & (learnt["heads"] == 2)],
        learnt[narrow & (learnt["heads"] == 1)],
    ),
    ("wide minus narrow, one head", learnt[~narrow & (learnt["heads"] == 1)], learnt[narrow & (learnt["heads"] == 1)]),
    ("wide minus narrow, two heads", learnt[~narrow & (learnt["heads"] == 2)], learnt[narrow & (learnt["heads"] == 2)]),
):
    interval = difference(first["learnt"], second["learnt"])
    print(f"{name:<40} {interval[0]:+.2f} [{interval[1]:+.2f}, {interval[2]:+.2f}]: {verdict(interval)}")

# %% [markdown]
# One more suspect: all these runs have one learning rate, and models with one head may only want another. Width 64 again, at half
# and at twice that rate, five seeds each (table `adder_tuning`):

# %% tags=["experiment"]
retuned = pd.concat([tables.load("adder_tuning"), adders[(adders["width"] == 64) & (adders["seed"] < 5)].assign(rate=0.05)])
retuned["learnt"] = retuned["answers_right"] > 0.4
for rate, part in [*retuned.groupby("rate"), ("all", retuned)]:
    one, two = (part.loc[part["heads"] == heads, "learnt"] for heads in (1, 2))
    interval = difference(two, one)
    print(f"rate {rate:<5}: {one.sum()} of {len(one)} runs with one head learn to add, {two.sum()} of {len(two)} with two;", end=" ")
    print(f"difference {interval[0]:+.2f} [{interval[1]:+.2f}, {interval[2]:+.2f}]: {verdict(interval)}")

# %% [markdown]
# At the ladder's learning rate we see no effect of the width with one head, and one with two heads. So the jump of the first
# figure was the second head, at one size; at the sizes around it, the same jump can be had or avoided without a single parameter
# more. But a second head is no condition. At half the rate a run with one head has learnt to add, too, and at no rate do all runs
# with two: the head changes the *chance*. Five runs at one rate leave wide intervals; the last line, of all rates, is narrower.
#
# We have *not* tested why two heads help (a guess: to add two digits, a model must look at two places at once), and a head of
# width 8 with two heads has only four dimensions, which may be what holds the narrow models back.
#
# ### Is it the metric?
#
# If all four digits were right equally often, and independently, a run's share of right answers would be its share of right digits
# to the fourth power.

# %% tags=["hide-input"]
guess = widgets.predict(
    "How does the share of right answers compare with that fourth power, in the mean over all runs?",
    options=["it is higher", "it is lower", "no difference can be seen"],
)

# %% tags=["experiment"]
fig, axes = plt.subplots(1, 2, figsize=(12, 4.8))
for i, (heads, part) in enumerate(adders.groupby("heads")):
    style = {"marker": plots.MARKERS[i], "color": plots.COLORS[i], "markerfacecolor": "none", "linestyle": ""}
    axes[0].plot(part["digits_right"] ** 4, part["answers_right"], label=str(heads), **style)
    axes[1].plot(part["loss_nats"], part["answers_right"], **style)
axes[0].plot([0, 1], [0, 1], ":", color="grey", marker="")
axes[0].set(title="Do digits fail independently?", xlabel="(share of right digits)⁴", ylabel="share of right answers")
axes[1].set(title="Is there a gap in the loss, too?", xlabel="nats per digit", ylabel="share of right answers")
axes[0].legend(title="attention heads")
plt.show()
right = adders["answers_right"]
between = adders[right.between(0.1, 0.5)]
print(f"of {len(adders)} runs {(right < 0.1).sum()} have fewer than a tenth of the answers right, {(right > 0.5).sum()} more than half;")
print(f"{len(between)} lie between, of these width and heads:", between.groupby(["width", "heads"]).size().to_dict())

# %% tags=["hide-input", "experiment"]
gap, low, high = scoring.paired(right.tolist(), (adders["digits_right"] ** 4).tolist())
guess.reveal(
    "it is higher" if low > 0 else "it is lower" if high < 0 else "no difference can be seen",
    why=f"Mean difference {gap:+.3f} [{low:+.3f}, {high:+.3f}]. For a given mean, a product of chances is largest when they are equal, and "
    "the first digit is easier than the others.",
)

# %% [markdown]
# Three things at once.
#
# - **The metric.** With half of the digits right (the first is easy: it is 0 or 1, and the second nearly so) hardly an answer is
#   right: the strict metric hides what is there, and makes the rise steeper. That is Schaeffer et al.'s point, and it holds here.
# - **And yet a gap.** Most runs are in one of two groups, also in nats: a run has found how to carry, or it has not. The last
#   line counts the runs between the two: the gap is not empty. A single ladder with one seed per size shows a jump at a place
#   that luck has chosen. @zhao2025random find such groups in larger models: what changes with size is the *chance* of a
#   breakthrough.
# - **The confounder.** What looked like an effect of size was an effect of something that changed with size.
#
# So neither "abilities emerge" nor "emergence is a mirage" is the whole story. Ten seeds, a second metric and a control tell which
# part you are looking at. (Most papers on large models have one seed, because of the cost.)

# %% [markdown]
# ## 7 · Open questions
#
# Nothing here is graded. Pick one.
#
# - **Kaplan's mistake, on purpose.** Train the runs of 3e10 FLOPs with the schedule of a run three times as long, cut short. Where
#   does the valley move?
# - **One rate for all.** Train one budget with rate 0.1 and $\beta_2$ 0.99 for every width. Does the exponent of the best size change?
# - **Use up the text.** Give width 16 a budget of 8e12: about 20 passes over the same pages. Does the surface still predict
#   its loss [@muennighoff2023scaling]?
# - **More sums.** Train the adders with one head on 200,000 sums. Is the second head a need, or only faster?
# - **Smaller heads or more of them?** Four heads at width 32 and 64: does the chance to learn addition rise again?

# %%
lab.summary()

# %% [markdown]
# ## Further reading
#
# - [@kaplan2020scaling]
# - [@hoffmann2022training]
# - [@besiroglu2024chinchilla]
# - [@pearce2024reconciling]
# - [@porian2024resolving]
# - [@yang2022tensor]
# - [@muennighoff2023scaling]
# - [@wei2022emergent]
# - [@schaeffer2023emergent]
# - [@zhao2025random]
# - [@schuster2021vitamin]
