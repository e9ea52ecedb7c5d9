"""A real GPU: loading, generating and scoring in fp16, bf16, int8 and nf4, and the GPU check against what CUDA reports.

    course bench gpu

Two models: the course model, whose perplexity in each precision stands beside that in float32; and one of Llama 2 7B's shape
with random weights (13.5 GB, written to a temporary folder). For both, what `hardware.plan` said stands beside what CUDA
reports. Without a CUDA GPU it says so and ends well; `--device cpu --layers 1` tries the program itself.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from course_utils import data, hardware, load_model, scoring
from course_utils.hardware import GB, InsufficientHardwareError
from course_utils.registry import resolve

CONTEXT = 512
NEW_TOKENS = 64
SENTENCES = 64
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "nf4")


def write_checkpoint(folder: Path, layers: int | None, device: str) -> None:
    """Random weights in the registry's shape of Llama 2 7B, in bfloat16, made on the GPU."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    _, config, _ = resolve("llama-2-7b")
    if layers:
        config.num_hidden_layers = layers
    config.dtype = torch.bfloat16
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>").save_pretrained(
        folder
    )
    del model
    free()


def free() -> None:
    """Give memory back, so that the next measurement begins with what the first had."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def clock() -> float:
    """Seconds, once the GPU has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(source: str | Path, precision: str, device: str, texts: list[str]) -> dict[str, Any]:
    """Load; a prompt of CONTEXT tokens and NEW_TOKENS new ones; the texts' likelihood. Planned against measured."""
    planned = hardware.plan(
        source, precision, context=CONTEXT + NEW_TOKENS, compute_dtype=hardware.detect().compute_dtype(device)
    )
    row: dict[str, Any] = {"precision": precision, "planned_gb": planned.total / GB}
    free()
    before, started = torch.cuda.memory_allocated(), clock()
    try:
        model, tokenizer = load_model(source, precision=precision, device=device)
    except InsufficientHardwareError as error:
        return {**row, "says": str(error).splitlines()[0]}
    row["load_s"] = clock() - started
    row["weights_planned_gb"] = (planned.weights + planned.scales) / GB
    row["weights_gb"] = (torch.cuda.memory_allocated() - before) / GB

    ids = torch.randint(3, 32000, (1, CONTEXT), generator=torch.Generator().manual_seed(0)).to(model.device)
    options = {"do_sample": False, "min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS, "pad_token_id": 0}
    with torch.inference_mode():
        model.generate(ids, **options)  # warms up kernels and allocator
        free()
        started = clock()
        model.generate(ids, **options)
    row["new_tokens_per_s"] = NEW_TOKENS / (clock() - started)
    row["peak_gb"] = (torch.cuda.max_memory_allocated() - before) / GB
    row["planned / peak"] = planned.total / GB / row["peak_gb"] if row["peak_gb"] else float("nan")

    scoring.nll(model, tokenizer, texts[:8], progress=False)
    started = clock()
    frame = scoring.nll(model, tokenizer, texts, progress=False)
    row["scored_tokens_per_s"] = frame["tokens"].sum() / (clock() - started)
    row["perplexity"] = scoring.perplexity(frame)
    return row


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, help="fewer layers than 32 for the larger model, for a small disk")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, help="also write the tables to this CSV file")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a CUDA GPU, and torch finds none here. Nothing was measured.")
        return
    hardware.report()
    texts = list(data.movie_sentences()["text"][:SENTENCES])
    tables = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 15 * GB and not options.layers:
            sys.exit(f"{folder} has less than 15 GB free for the checkpoint; set TMPDIR, or use --layers 8.")
        write_checkpoint(folder, options.layers, options.device)
        larger = f"random, Llama 2 7B's shape{f', {options.layers} layers' if options.layers else ''}"
        for label, source in (("course", "course"), (larger, folder)):
            table = pd.DataFrame([measure(source, precision, options.device, texts) for precision in PRECISIONS])
            print(f"\n{label}\n{table.round(3).to_string(index=False)}", flush=True)
            tables.append(table.assign(model=label))
    if options.out:
        pd.concat(tables).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
