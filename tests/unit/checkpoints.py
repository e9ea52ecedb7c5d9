"""Small checkpoints of every architecture in the registry: the same classes, the same files, a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, PreTrainedTokenizerFast

from course_utils.registry import REGISTRY, auto_class

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "embedding_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "n_layer": 2,
    "n_head": 4,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
}
WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", *(f"w{i}" for i in range(33))]


def make(name: str, folder: Path) -> Path:
    """Write a small checkpoint of the registry's model `name`, with a tokenizer, into `folder`."""
    spec = REGISTRY[name]
    settings = {key: SMALL.get(key, value) for key, value in spec.config.items()}
    settings.update(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    torch.manual_seed(0)
    model = auto_class(spec.tasks[0]).from_config(AutoConfig.for_model(**settings))
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    tokenizer.save_pretrained(folder)
    return folder
