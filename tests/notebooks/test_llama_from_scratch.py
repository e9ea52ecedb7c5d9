"""Chapter 9: the model that the lab builds, on prompts, lengths and shapes that are not in the lab, against transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import data, load_model
from courseware.chapters import chapter, read
from courseware.verify import solved_namespace

Namespace = dict[str, Any]


@pytest.fixture(scope="module")
def lab() -> Namespace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_BUDGET", "quick")
        return solved_namespace(read(chapter("09").lab_source))


@pytest.fixture(scope="module")
def course() -> tuple[Any, Any]:
    return load_model(precision="fp32", attn_implementation="eager")


def text(tokenizer: Any, tokens: int) -> torch.Tensor:
    questions = " ".join(data.bigbench("strategyqa")["input"][:200])
    ids: torch.Tensor = tokenizer(questions, return_tensors="pt")["input_ids"]
    return ids[:, :tokens]


@torch.inference_mode()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_course_model_on_other_prompts(lab: Namespace, course: tuple[Any, Any], attention: str) -> None:
    model, tokenizer = course
    shape, weights = lab["shape_of"](model.config), model.state_dict()
    model.set_attn_implementation(attention)
    for prompt in [*data.bigbench("misconceptions")["input"][:5], "SELECT name FROM", "Der Mond ist", "ξ = α + β, β ="]:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        logits, _ = lab["llama_logits"](ids, weights, shape)
        torch.testing.assert_close(logits, model(ids).logits, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_course_model_on_a_longer_text(lab: Namespace, course: tuple[Any, Any]) -> None:
    model, tokenizer = course
    shape, weights = lab["shape_of"](model.config), model.state_dict()
    model.set_attn_implementation("eager")
    ids = text(tokenizer, 1500)
    logits, _ = lab["llama_logits"](ids, weights, shape)
    torch.testing.assert_close(logits, model(ids).logits, rtol=0, atol=1e-4)
    past, pieces = None, []
    for part in ids[:, :700].split(300, 1):
        piece, past = lab["llama_logits"](part, weights, shape, past)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), logits[:, :700], rtol=0, atol=5e-4)


@torch.inference_mode()
@pytest.mark.parametrize(
    "settings",
    [
        {"num_attention_heads": 12, "num_key_value_heads": 4},
        {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 10},
        {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "rms_norm_eps": 1e-3},
    ],
)
def test_other_shapes(lab: Namespace, settings: dict[str, Any]) -> None:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=90, hidden_size=48, intermediate_size=100, num_hidden_layers=4, initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 2000.0}, **settings,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(90, (3, 600))
    logits, cache = lab["llama_logits"](ids, model.state_dict(), lab["shape_of"](config))
    torch.testing.assert_close(logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    held = sum(t.numel() * t.element_size() for pair in cache for t in pair)
    counted = lab["costs"](lab["shape_of"](config), 600, batch=3, bytes_per_element=4)
    assert counted == {"parameters": model.num_parameters(), "cache_bytes": held}
