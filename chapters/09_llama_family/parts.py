"""Trains a small Llama and its relatives with one part exchanged; writes course_utils/csv/llama_parts{,_rates}.csv.

    python chapters/09_llama_family/parts.py            every run that the tables do not have yet
    python chapters/09_llama_family/parts.py --again    all of them: about an hour on one core

Each variant has a learning rate of its own, searched with a seed and on pages that its runs do not use. The text is that of
chapter 4's ladder: sentences of Wikipedia, one character a token.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from courseware import resumable_table
from courseware.chapters import ROOT

SOURCE = "this course: chapters/09_llama_family/parts.py"
CSV = ROOT / "course_utils" / "csv"
WIDTH, LAYERS, HEADS, HEAD, LENGTH, SIGNS = 64, 2, 4, 16, 128, 128
STEPS, BATCH, SEEDS, SEARCHED = 500, 16, range(5), 100
EARLY = 50  # steps after which a test compares with what it makes again
RATES = (0.003, 0.006, 0.012)


class Parts(NamedTuple):
    """What a decoder is built from; as it stands, a Llama."""

    norm: str = "rms"  # or "layer"
    place: str = "before"  # of the norms: "before" each sublayer, or "after" the sum
    position: str = "rope"  # or "learned", "sine", "none"
    network: str = "swiglu"  # or "gelu", "relu"
    kv_heads: int = 2  # of HEADS query heads
    hidden: int = 170  # width of the network inside, so that all variants have about as many parameters


VARIANTS = {
    "Llama": Parts(),
    "LayerNorm": Parts(norm="layer"),
    "norm after the sum": Parts(place="after"),
    "learned positions": Parts(position="learned"),
    "sine positions": Parts(position="sine"),
    "no positions": Parts(position="none"),
    "GELU": Parts(network="gelu", hidden=256),
    "ReLU": Parts(network="relu", hidden=256),
    "multi-head": Parts(kv_heads=HEADS, hidden=149),
    "all as in 2017": Parts(norm="layer", place="after", position="sine", network="relu", kv_heads=HEADS, hidden=224),
}


@functools.cache
def turns(tokens: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles by which positions are turned, each float32 (tokens, HEAD / 2)."""
    angles = torch.outer(torch.arange(tokens), 10_000.0 ** (-torch.arange(HEAD // 2) / (HEAD // 2)))
    return angles.cos(), angles.sin()


def rotated(x: Tensor) -> Tensor:
    """Queries or keys (n, heads, tokens, HEAD), turned by their positions."""
    (a, b), (cos, sin) = x.chunk(2, -1), turns(x.shape[2])
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def sines(tokens: int) -> Tensor:
    """The positions of "Attention is all you need": float32 (tokens, WIDTH)."""
    angles = torch.outer(torch.arange(tokens), 10_000.0 ** (-torch.arange(WIDTH // 2) * 2 / WIDTH))
    return torch.cat([angles.sin(), angles.cos()], -1)


class Block(nn.Module):
    """One decoder block: attention, then the network, each added to the stream."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) if parts.norm == "layer" else nn.RMSNorm(WIDTH) for _ in range(2))
        self.qkv = nn.Linear(WIDTH, (HEADS + 2 * parts.kv_heads) * HEAD, bias=False)
        self.out = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, parts.hidden * (2 if parts.network == "swiglu" else 1), bias=False)
        self.down = nn.Linear(parts.hidden, WIDTH, bias=False)

    def attention(self, x: Tensor) -> Tensor:
        sizes = [HEADS * HEAD, self.parts.kv_heads * HEAD, self.parts.kv_heads * HEAD]
        q, k, v = (y.unflatten(-1, (-1, HEAD)).transpose(1, 2) for y in self.qkv(x).split(sizes, -1))
        if self.parts.position == "rope":
            q, k = rotated(q), rotated(k)
        k, v = (y.repeat_interleave(HEADS // self.parts.kv_heads, 1) for y in (k, v))
        mixed: Tensor = self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return mixed

    def network(self, x: Tensor) -> Tensor:
        if self.parts.network == "swiglu":
            gate, up = self.up(x).chunk(2, -1)
            inner = F.silu(gate) * up
        else:
            inner = {"gelu": F.gelu, "relu": F.relu}[self.parts.network](self.up(x))
        out: Tensor = self.down(inner)
        return out

    def forward(self, x: Tensor) -> Tensor:
        for norm, sublayer in zip(self.norms, (self.attention, self.network), strict=True):
            x = x + sublayer(norm(x)) if self.parts.place == "before" else norm(x + sublayer(x))
        return x


class Decoder(nn.Module):
    """Logits (n, tokens, SIGNS) of the next character."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.embedding = nn.Embedding(SIGNS, WIDTH)
        self.blocks = nn.ModuleList(Block(parts) for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH) if parts.norm == "layer" else nn.RMSNorm(WIDTH)
        if parts.position == "learned":
            self.places = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        for weights in self.parameters():
            if weights.dim() == 2 and weights.any():
                nn.init.normal_(weights, std=WIDTH**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        if self.parts.position == "learned":
            x = x + self.places[: ids.shape[1]]
        elif self.parts.position == "sine":
            x = x * WIDTH**0.5 + sines(ids.shape[1])  # scaled as in the paper, or the positions are louder than the letters
        for block in self.blocks:
            x = block(x)
        if self.parts.place == "before":
            x = self.last(x)
        return x @ self.embedding.weight.T


def texts() -> dict[str, Tensor]:
    """Rows of LENGTH + 1 characters to train on, to search with and to test on, and test rows twice as long."""
    names = resumable_table.lab_names(str(ROOT / "chapters" / "04_scaling_emergence" / "lab.py"), chapter_4())
    rows = {}
    names["LENGTH"] = LENGTH
    held_out = names["held_out"]
    rows["train"] = names["stream"](names["kept"])
    rows["search"] = names["stream"](held_out[::2])[:400]
    rows["test"] = names["stream"](held_out[1::2])[:800]
    names["LENGTH"] = 2 * LENGTH
    rows["long"] = names["stream"](held_out[1::2])[:400]
    return rows


def chapter_4() -> dict[str, Any]:
    """The names that chapter 4's cells about text use."""
    import collections

    from tqdm.auto import tqdm
    from transformers import LlamaConfig, LlamaForCausalLM

    from course_utils import data

    return dict(
        collections=collections, math=math, np=np, torch=torch, F=F, tqdm=tqdm, data=data,
        LlamaConfig=LlamaConfig, LlamaForCausalLM=LlamaForCausalLM,
    )  # fmt: skip


@torch.inference_mode()
def loss(model: nn.Module, rows: Tensor, last: int = LENGTH) -> float:
    """Mean cross-entropy of the `last` characters of each row, in nats."""
    sums = [
        F.cross_entropy(model(part[:, :-1])[:, -last:].flatten(0, 1), part[:, -last:].flatten(), reduction="sum").item()
        for part in rows.split(100)
    ]
    return sum(sums) / (len(rows) * last)


def trained(parts: Parts, rate: float, seed: int, train: Tensor, stop: int = STEPS) -> Decoder:
    """A decoder after STEPS batches, or the first `stop` of them: AdamW, a warm-up of a twentieth, then a cosine down to a tenth."""
    torch.manual_seed(seed)
    model = Decoder(parts)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / (0.05 * STEPS + 1)) * (0.55 + 0.45 * math.cos(math.pi * s / STEPS))
    )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))  # the same for all variants
    for places in order[: STEPS * BATCH].view(STEPS, BATCH)[:stop]:
        rows = train[places]
        wrong = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        wrong.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def best_rates(table: pd.DataFrame) -> dict[str, float]:
    return {str(name): float(part.loc[part["loss_nats"].idxmin(), "rate"]) for name, part in table.groupby("variant")}


def beyond(table: pd.DataFrame) -> list[tuple[str, float]]:
    """The next rate of each variant whose best one is at the edge of what was tried."""
    rates = table.groupby("variant")["rate"].agg(["min", "max"])
    best = best_rates(table)
    below = [(name, rate / 2) for name, rate in best.items() if rate == rates.loc[name, "min"]]
    return below + [(name, rate * 2) for name, rate in best.items() if rate == rates.loc[name, "max"]]


def main() -> None:
    again = resumable_table.asked_again(__doc__)
    torch.set_num_threads(1)
    rows = texts()

    def searched(variant: str, rate: float) -> list[dict[str, Any]]:
        model = trained(VARIANTS[variant], rate, SEARCHED, rows["train"])
        return [
            dict(variant=variant, rate=rate, seed=SEARCHED, loss_nats=round(loss(model, rows["search"]), 4), source=SOURCE)
        ]

    def measured(variant: str, seed: int) -> list[dict[str, Any]]:
        model = trained(VARIANTS[variant], best[variant], seed, rows["train"])
        early = trained(VARIANTS[variant], best[variant], seed, rows["train"], EARLY)
        longer = None if VARIANTS[variant].position == "learned" else round(loss(model, rows["long"]), 4)
        return [
            dict(
                variant=variant, seed=seed, rate=best[variant], parameters=sum(x.numel() for x in model.parameters()),
                characters=STEPS * BATCH * LENGTH, loss_nats=round(loss(model, rows["test"]), 4), loss_behind_nats=longer,
                early_nats=round(loss(early, rows["search"]), 4), source=SOURCE,
            )
        ]  # fmt: skip

    path = CSV / "llama_parts_rates.csv"
    asked = [(variant, rate) for variant in VARIANTS for rate in RATES]
    resumable_table.fill(path, ("variant", "rate"), asked, searched, again)
    while more := beyond(pd.read_csv(path)):
        asked += more
        resumable_table.fill(path, ("variant", "rate"), asked, searched)
    best = best_rates(pd.read_csv(path))
    runs = [(variant, seed) for seed in SEEDS for variant in VARIANTS]
    resumable_table.fill(CSV / "llama_parts.csv", ("variant", "seed"), runs, measured, again)


if __name__ == "__main__":
    main()
