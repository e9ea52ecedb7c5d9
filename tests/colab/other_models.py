"""Small random checkpoints whose every shape differs from the course model's, and their tokenizers from its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from course_utils import data

# name → configuration, and how its tokenizer cuts: in bytes (GPT-2's way) or in pieces with ▁ (SentencePiece's way)
SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "wide": (  # grouped heads, an output head of its own
        {
            "model_type": "llama",
            "hidden_size": 768,
            "intermediate_size": 1280,
            "num_hidden_layers": 2,
            "num_attention_heads": 24,
            "num_key_value_heads": 4,
            "tie_word_embeddings": False,
        },
        "pieces",
    ),
    "narrow": (  # a key and a value for each query head, tied embeddings
        {
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 160,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
        },
        "bytes",
    ),
}


def make(name: str, folder: Path) -> Path:
    """Write the checkpoint `name` of `SHAPES` into `folder`: random weights, no chat template."""
    settings, cut = SHAPES[name]
    tokenizer = _tokenizer(cut)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = AutoConfig.for_model(**settings, vocab_size=len(tokenizer), max_position_embeddings=4096, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(cut: str) -> PreTrainedTokenizerFast:
    texts = [str(text) for text in data.movie_sentences()["text"][:4000]]
    if cut == "bytes":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        special, alphabet = ["<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet()
    else:
        made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        spaces = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        made.decoder = decoders.Sequence(spaces)
        special, alphabet = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))], []
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    unknown = {"unk_token": "<unk>"} if cut == "pieces" else {}
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", **unknown)
