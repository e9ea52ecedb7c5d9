"""One sentence through a decoder: attention of every head, size of the residual stream, logits of the next token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..language import t
from .element import Interactive, packed, rounded, words
from .svg import Drawing

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_EXACT = 1000  # tokens of the vocabulary whose logits are kept one by one; the others are counted in bins
_BIN = 0.02  # width of a bin, in logits: a token's probability is then right to 1 %, the sum of many to 0.01 %
_NAMED = 40  # tokens whose text is kept
LONGEST = 24  # tokens of a sentence


def transformer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentence: str) -> Interactive:
    """Follow `sentence` through `model`: what each head reads, how the residual stream grows, what comes next.

    >>> interactives.transformer(model, tokenizer, "The old sailor looked at the sea and thought of his")

    The reader chooses the token that reads, layer and head, and cuts the next token's distribution by temperature, top-k and
    top-p, in the order in which transformers' `generate` does. "Read out here" sends the stream after a layer through the
    model's last norm and its head (the *logit lens*).

    Args:
        model: a decoder of the LLaMA kind (`model.model.norm`, `model.lm_head`), in any precision.
        sentence: 2 to 24 tokens.

    Raises:
        ValueError: the sentence has fewer or more tokens.
    """
    ids = tokenizer(sentence, return_tensors="pt").to(model.device)["input_ids"]
    if not 2 <= ids.shape[1] <= LONGEST:
        raise ValueError(
            t("The sentence has {count} tokens; the picture holds 2 to {most}.", count=ids.shape[1], most=LONGEST)
        )
    attention, stream, guesses, logits = _run(model, ids)
    tokens = [tokenizer.decode([i]) for i in ids[0].tolist()]
    layers, heads, n, _ = attention.shape
    layer, head = _telling(attention)
    rows, columns = np.tril_indices(n)
    chance, best = guesses
    pieces = sorted(set(best.flatten().tolist()))
    data = {
        "tokens": tokens,
        "layers": layers,
        "heads": heads,
        "kvHeads": getattr(model.config, "num_key_value_heads", heads),
        "attention": packed(attention[:, :, rows, columns]),
        "stream": rounded(stream.tolist(), 4),
        "guessPieces": [tokenizer.decode([i]) for i in pieces],
        "guesses": [[pieces.index(i) for i in row] for row in best.tolist()],
        "guessChances": rounded(chance.tolist(), 3),
        "next": _distribution(logits, tokenizer),
        "start": {"layer": layer, "head": head},
    }
    return Interactive("transformer", data, _still(tokens, attention[layer, head], layer, head, data["next"]))


@torch.inference_mode()
def _run(model: PreTrainedModel, ids: torch.Tensor) -> tuple[Any, Any, tuple[Any, Any], torch.Tensor]:
    """Attention (layers, heads, n, n); stream's root mean square (layers + 1, n); guesses; logits (vocabulary).

    Guesses: probability and id of the likeliest next token, each (layers + 1, n), when the stream is read out after a layer.
    The logits are those of the token after the sentence.
    """
    before_norm: list[torch.Tensor] = []
    core = model.get_decoder()
    hook = core.norm.register_forward_pre_hook(lambda module, inputs: before_norm.append(inputs[0]))
    kind = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the only one that gives the weights out
    try:
        out = model(ids, output_attentions=True, output_hidden_states=True, use_cache=False)
    finally:
        hook.remove()
        model.set_attn_implementation(kind)
    states = torch.stack([*out.hidden_states[:-1], before_norm[0]])[:, 0]  # (layers + 1, n, width)
    early = [model.get_output_embeddings()(core.norm(state)).float().softmax(-1).max(-1) for state in states]
    chance, best = (torch.stack([getattr(e, part) for e in early]).cpu().numpy() for part in ("values", "indices"))
    attention = torch.stack(out.attentions)[:, 0].float().cpu().numpy()
    return attention, states.float().square().mean(-1).sqrt().cpu().numpy(), (chance, best), out.logits[0, -1].float().cpu()


def _telling(attention: Any) -> tuple[int, int]:
    """Layer and head in which the last token reads most from one that is neither the first nor itself nor its neighbour."""
    middle = attention[:, :, -1, 1:-2]
    if middle.shape[-1] == 0:
        return 0, 0
    layer, head = np.unravel_index(middle.max(-1).argmax(), middle.shape[:2])
    return int(layer), int(head)


def _distribution(logits: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Logits of the likeliest tokens one by one, of all others as counts in bins of `_BIN` (from the upper end down)."""
    values, order = logits.sort(descending=True)
    head, tail = values[:_EXACT].tolist(), values[_EXACT:].double().numpy()
    top = float(tail[0]) if len(tail) else 0.0
    bins = np.bincount(((top - tail) / _BIN).astype(int)) if len(tail) else np.zeros(0, int)
    return {
        "logits": [round(v, 4) for v in head],
        "tokens": [tokenizer.decode([i]) for i in order[:_NAMED].tolist()],
        "tail": {"top": round(top, 4), "width": _BIN, "counts": bins.tolist()},
        "vocabulary": len(logits),
    }


def _still(tokens: list[str], weights: Any, layer: int, head: int, following: dict[str, Any]) -> Drawing:
    """What the last token reads in one head, and the likeliest next tokens."""
    say, n = words("transformer"), len(tokens)
    logits = torch.tensor(following["logits"]).double()
    tail = following["tail"]
    levels = tail["top"] - tail["width"] * (torch.arange(len(tail["counts"])).double() + 0.5)
    total = logits.exp().sum() + (torch.tensor(tail["counts"]) * levels.exp()).sum()
    chances = (logits.exp() / total).tolist()[:8]
    strongest = int(weights[-1].argmax())
    label = say["attentionStatus"].format(
        layer=layer + 1,
        head=head + 1,
        reader=tokens[-1],
        read=tokens[strongest],
        share=f"{100 * weights[-1][strongest]:.1f}",
    )
    picture = Drawing(480, 26 * n + 24 * len(chances) + 80, label)
    picture.text(0, 18, say["attention"].format(layer=layer + 1, head=head + 1), kind="fs-text fs-strong")
    for i, (token, share) in enumerate(zip(tokens, weights[-1].tolist(), strict=True)):
        y = 44 + 26 * i
        picture.text(150, y, token, anchor="end", kind="fs-text fs-strong" if i == n - 1 else "fs-text")
        picture.text(320, y, token)
        picture.text(480, y, f"{100 * share:.1f} %", anchor="end")
        picture.add("path", d=f"M160 {44 + 26 * (n - 1) - 5}C230 {44 + 26 * (n - 1) - 5} 240 {y - 5} 312 {y - 5}",
                    kind="fs-line-a", stroke_width=0.5 + 10 * share, stroke_opacity=0.25 + 0.75 * share)  # fmt: skip
    base = 26 * n + 70
    picture.text(0, base, say["next"], kind="fs-text fs-strong")
    for i, (token, chance) in enumerate(zip(following["tokens"], chances, strict=False)):
        y = base + 26 + 24 * i
        picture.text(110, y, token, anchor="end")
        picture.bar(120, y - 12, 290 * chance / chances[0], 15)
        picture.text(480, y, f"{100 * chance:.1f} %", anchor="end")
    return picture
