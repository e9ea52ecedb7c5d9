"""Byte-pair encoding step by step: merges learnt from a text, and those that a model's tokenizer makes in a sentence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..language import t
from .element import Interactive, words
from .svg import Drawing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pair = tuple[str, str]
SAMPLE = 26  # words of the text that are shown


def bpe(text: str, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], merges: int = 60) -> Interactive:
    """Learn `merges` merges from `text`, and cut `sentences` as `tokenizer` does, one merge at a time.

    >>> interactives.bpe(" ".join(reviews["text"]), tokenizer, ["Unbelievably good!", "1234 + 5678", "大模型"])

    Words and bytes are those of byte-level BPE (GPT-2, the course model): a space belongs to the word after it.

    Args:
        text: some hundred words are enough; the first 26 are shown.
        tokenizer: a fast tokenizer whose model is byte-level BPE.
        sentences: what the reader can choose from.

    Raises:
        ValueError: the tokenizer is of another kind.
    """
    counted = Counter(_words(text))
    learnt = learn(counted, merges)
    data = {
        "words": list(counted.items()),
        "sample": _words(text)[:SAMPLE],
        "merges": [[*pair, count] for pair, count in learnt],
        "tokenizer": tokenizer_merges(tokenizer),
        "sentences": [_steps(tokenizer, sentence) for sentence in sentences],
    }
    return Interactive("bpe", data, _still(data))


def _words(text: str) -> list[str]:
    """The words of byte-level BPE; each letter stands for a byte."""
    from tokenizers import pre_tokenizers

    return [word for word, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]


def learn(counted: Counter[str], merges: int) -> list[tuple[Pair, int]]:
    """The merges of BPE (Sennrich et al. 2016) and how often each pair stood in the text when it was merged.

    The most frequent pair is merged; of equally frequent ones that whose parts came first into the vocabulary, which begins
    as the sorted letters. The same merges as the library `tokenizers`.
    """
    cut = {word: list(word) for word in counted}
    place = {letter: i for i, letter in enumerate(sorted({letter for word in counted for letter in word}))}
    learnt: list[tuple[Pair, int]] = []
    for _ in range(merges):
        pairs: Counter[Pair] = Counter()
        for word, parts in cut.items():
            for pair in pairwise(parts):
                pairs[pair] += counted[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], place[pair[0]], place[pair[1]]))
        learnt.append((best, pairs[best]))
        place.setdefault("".join(best), len(place))
        cut = {word: merged(parts, best) for word, parts in cut.items()}
    return learnt


def merged(parts: list[str], pair: Pair) -> list[str]:
    """`parts` with each occurrence of `pair` as one part, from the left."""
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


def tokenizer_merges(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many merges a byte-level BPE has learnt.

    Raises:
        ValueError: the tokenizer is of another kind.
    """
    return len(_ranks(tokenizer))


def _ranks(tokenizer: PreTrainedTokenizerBase) -> dict[Pair, int]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend else {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise ValueError(t("{name} is no byte-level BPE, which this picture shows.", name=type(tokenizer).__name__))
    return {tuple(pair): rank for rank, pair in enumerate(model["merges"])}


def _steps(tokenizer: PreTrainedTokenizerBase, sentence: str) -> dict[str, Any]:
    """The words of a sentence, the merges that are made in it (by rank: no merge makes an earlier one possible), the ids."""
    ranks = _ranks(tokenizer)
    pieces = [word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(sentence)]
    parts, made = [list(word) for word in pieces], []
    while possible := {pair for word in parts for pair in pairwise(word) if pair in ranks}:
        best = min(possible, key=ranks.__getitem__)
        made.append([*best, ranks[best] + 1])
        parts = [merged(word, best) for word in parts]
    return {
        "text": sentence,
        "words": pieces,
        "merges": made,
        "ids": tokenizer(sentence, add_special_tokens=False)["input_ids"],
    }


def _still(data: dict[str, Any]) -> Drawing:
    """The first merges, with their counts."""
    say, first = words("bpe"), data["merges"][:10]
    label = say["stillLabel"].format(merges=len(data["merges"]), first=" ".join(seen("".join(m[:2])) for m in first))
    picture = Drawing(480, 40 + 24 * len(first), label)
    picture.text(0, 16, say["stillTitle"].format(merges=len(first)), kind="fs-text fs-strong")
    for i, (left, right, count) in enumerate(first):
        y = 44 + 24 * i
        picture.text(24, y, str(i + 1), anchor="end", kind="fs-text fs-dim")
        picture.text(140, y, f"{seen(left)} + {seen(right)} → {seen(left + right)}", anchor="end")
        picture.bar(152, y - 12, 270 * count / first[0][2], 15)
        picture.text(480, y, f"{count:,}", anchor="end")
    return picture


def seen(part: str) -> str:
    """A part as a reader sees it: a dot for the space, `<E5>` for a byte that is no letter alone."""
    from tokenizers import decoders

    text: str = decoders.ByteLevel().decode([part])
    return text.replace(" ", "·").replace("\n", "↵") if "\ufffd" not in text else f"<{len(part)} bytes>"
