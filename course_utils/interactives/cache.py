"""The KV cache while a text is written, with and without grouped heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..language import t
from .element import Interactive, words
from .svg import Drawing

LONGEST = 32  # tokens


def kv_cache(config: Any, tokens: Sequence[str], prompt: int) -> Interactive:
    """Show what a decoder keeps while it writes: bytes grow token by token.

    >>> interactives.kv_cache(model.config, tokens, prompt=6)
    >>> interactives.kv_cache({"course model": model.config, "Llama 2 70B": other}, tokens, prompt=6)

    A token takes 2 (key and value) × layers × key-value heads × head size numbers. The reader steps through the text, and
    changes how many key-value heads there are, the bits of a number, and how many texts are written at once.

    Args:
        config: a decoder's configuration (`num_hidden_layers`, `num_attention_heads`, …), or several by name.
        tokens: the text of each token of a real run, prompt included; at most 32.
        prompt: how many of them the user wrote.

    Raises:
        ValueError: no token is written, or there are too many.
    """
    if not 0 < prompt < len(tokens) <= LONGEST:
        raise ValueError(
            t(
                "Give at most {most} tokens, of which the prompt is a part; here {count} and {prompt}.",
                most=LONGEST,
                count=len(tokens),
                prompt=prompt,
            )
        )
    named = config if isinstance(config, Mapping) else {getattr(config, "model_type", "model"): config}
    data = {
        "models": [{"name": name, **sizes(one)} for name, one in named.items()],
        "tokens": list(tokens),
        "prompt": prompt,
    }
    return Interactive("kv_cache", data, _still(data))


def sizes(config: Any) -> dict[str, int]:
    """What the cache's size depends on: layers, heads, kvHeads, headSize, and the longest text (context, in tokens)."""
    heads = config.num_attention_heads
    return {
        "layers": config.num_hidden_layers,
        "heads": heads,
        "kvHeads": getattr(config, "num_key_value_heads", None) or heads,
        "headSize": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "context": getattr(config, "max_position_embeddings", 0),
    }


def bytes_per_token(model: Mapping[str, Any], kv_heads: int, bits: int = 16) -> float:
    """Bytes of one token's keys and values in all layers."""
    numbers: int = 2 * model["layers"] * kv_heads * model["headSize"]
    return numbers * bits / 8


def _still(data: dict[str, Any]) -> Drawing:
    """The whole text's cache in 16 bits, for the ways of sharing key-value heads."""
    say, model, known = words("kv_cache"), data["models"][0], len(data["tokens"]) - 1
    ways = sorted({model["heads"], model["kvHeads"], 1}, reverse=True)
    size = {heads: known * bytes_per_token(model, heads) for heads in ways}
    label = say["stillLabel"].format(tokens=known, heads=model["kvHeads"], kb=f"{size[model['kvHeads']] / 1e3:,.0f}")
    picture = Drawing(480, 44 + 46 * len(ways), label)
    picture.text(0, 16, say["stillTitle"].format(name=model["name"], tokens=known), kind="fs-text fs-strong")
    for i, heads in enumerate(ways):
        y = 46 + 46 * i
        picture.text(
            0, y, say["way"].format(heads=heads), kind="fs-text fs-strong" if heads == model["kvHeads"] else "fs-text"
        )
        picture.bar(0, y + 7, 380 * heads / model["heads"], 15, "fs-fill-a" if heads == model["kvHeads"] else "fs-open")
        picture.text(480, y + 19, f"{size[heads] / 1e3:,.0f} kB", anchor="end")
    return picture
