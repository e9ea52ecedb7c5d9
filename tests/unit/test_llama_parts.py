"""Chapter 9's table of small Llamas with one part exchanged: complete, and a point of it made again."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from commands import load, one_thread
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def parts() -> ModuleType:
    return load(ROOT / "chapters" / "09_llama_family" / "parts.py")


def test_as_it_stands_it_is_the_library_s_llama(parts: ModuleType) -> None:
    ours = parts.Decoder(parts.Parts())
    config = LlamaConfig(
        vocab_size=parts.SIGNS, hidden_size=parts.WIDTH, intermediate_size=170, num_hidden_layers=parts.LAYERS,
        num_attention_heads=parts.HEADS, num_key_value_heads=2, head_dim=parts.HEAD, tie_word_embeddings=True,
        rms_norm_eps=torch.finfo(torch.float32).eps, rope_theta=10_000.0,
    )  # fmt: skip
    library = LlamaForCausalLM(config).eval()
    heads = parts.HEADS * parts.HEAD
    with torch.no_grad():
        library.model.embed_tokens.weight.copy_(ours.embedding.weight)
        library.model.norm.weight.copy_(ours.last.weight)
        for mine, theirs in zip(ours.blocks, library.model.layers, strict=True):
            q, k, v = mine.qkv.weight.split([heads, heads // 2, heads // 2])
            gate, up = mine.up.weight.chunk(2)
            pairs = (
                (theirs.self_attn.q_proj, q), (theirs.self_attn.k_proj, k), (theirs.self_attn.v_proj, v),
                (theirs.self_attn.o_proj, mine.out.weight), (theirs.mlp.gate_proj, gate), (theirs.mlp.up_proj, up),
                (theirs.mlp.down_proj, mine.down.weight), (theirs.input_layernorm, mine.norms[0].weight),
                (theirs.post_attention_layernorm, mine.norms[1].weight),
            )  # fmt: skip
            for module, weight in pairs:
                module.weight.copy_(weight)
        ids = torch.randint(0, parts.SIGNS, (2, 40), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(ours(ids), library(ids).logits, rtol=1e-4, atol=1e-4)


def test_variants_differ_in_one_part_and_not_in_size(parts: ModuleType) -> None:
    sizes = {name: sum(x.numel() for x in parts.Decoder(variant).parameters()) for name, variant in parts.VARIANTS.items()}
    learned = parts.LENGTH * parts.WIDTH  # the table of positions is a part of that variant
    for name, size in sizes.items():
        more = learned if name == "learned positions" else 0
        assert size - more == pytest.approx(sizes["Llama"], rel=0.01), name
    for name, variant in parts.VARIANTS.items():
        if name not in ("Llama", "all as in 2017"):
            llama = parts.VARIANTS["Llama"]
            other = [f for f in variant._fields if getattr(variant, f) != getattr(llama, f) and f != "hidden"]
            assert len(other) == 1, name


def test_the_tables_hold_every_run_at_its_best_rate(parts: ModuleType) -> None:
    rates, runs = tables.load("llama_parts_rates"), tables.load("llama_parts")
    have = set(runs[["variant", "seed"]].itertuples(index=False, name=None))
    assert have == {(variant, seed) for variant in parts.VARIANTS for seed in parts.SEEDS}
    for variant, part in rates.groupby("variant"):
        best = part.loc[part["loss_nats"].idxmin(), "rate"]
        assert set(runs.loc[runs["variant"] == variant, "rate"]) == {best}, variant
        assert part["rate"].min() < best < part["rate"].max(), f"{variant}: the best rate is at the edge of the search"


@pytest.mark.notebook
@pytest.mark.second_look
def test_the_beginning_of_a_run_is_made_again(parts: ModuleType) -> None:
    """Floating point differs between machines, and training amplifies that."""
    row = tables.load("llama_parts").set_index(["variant", "seed"]).loc["Llama", 0]
    with one_thread():
        rows = parts.texts()
        model = parts.trained(parts.VARIANTS["Llama"], row["rate"], 0, rows["train"], parts.EARLY)
    assert parts.loss(model, rows["search"]) == pytest.approx(row["early_nats"], abs=0.02)
