"""The GPU check against reality: a 7B-shaped Llama with random weights in bf16, int8 and nf4.

    course bench gpu

Writes a checkpoint of Llama 2 7B's shape (13.5 GB, random) to a temporary folder, loads it with `load_model` in each
precision, and compares what `hardware.plan` said with what CUDA reports. Without a CUDA GPU it says so and ends well.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from course_utils import hardware, load_model
from course_utils.hardware import GB, InsufficientHardwareError
from course_utils.registry import resolve

CONTEXT = 512
NEW_TOKENS = 64


def write_checkpoint(folder: Path, layers: int | None) -> None:
    """Random weights in the registry's shape of Llama 2 7B, in bfloat16, made on the GPU."""
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    _, config, _ = resolve("llama-2-7b")
    if layers:
        config.num_hidden_layers = layers
    config.dtype = torch.bfloat16
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>").save_pretrained(
        folder
    )
    del model
    gc.collect()
    torch.cuda.empty_cache()


def measure(folder: Path, precision: str) -> dict[str, object]:
    """Load, run a prompt of CONTEXT tokens and NEW_TOKENS new ones; planned against measured."""
    planned = hardware.plan(folder, precision, context=CONTEXT + NEW_TOKENS)
    row: dict[str, object] = {"precision": precision, "planned_gb": planned.total / GB}
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    started = time.perf_counter()
    try:
        model, _ = load_model(folder, precision=precision, device="cuda")
    except InsufficientHardwareError as error:
        return {**row, "says": str(error).splitlines()[0]}
    torch.cuda.synchronize()
    row["load_s"] = time.perf_counter() - started
    row["weights_planned_gb"] = (planned.weights + planned.scales) / GB
    row["weights_measured_gb"] = (torch.cuda.memory_allocated() - before) / GB
    ids = torch.randint(3, 32000, (1, CONTEXT), device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    with torch.inference_mode():
        options = {"do_sample": False, "min_new_tokens": NEW_TOKENS, "pad_token_id": 0}
        model.generate(ids, max_new_tokens=NEW_TOKENS, **options)  # warms up kernels and allocator
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        model.generate(ids, max_new_tokens=NEW_TOKENS, **options)
        torch.cuda.synchronize()
    row["tokens_per_s"] = NEW_TOKENS / (time.perf_counter() - started)
    row["peak_gb"] = (torch.cuda.max_memory_allocated() - before) / GB
    row["planned / peak"] = planned.total / GB / float(str(row["peak_gb"]))
    del model
    gc.collect()
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, help="fewer layers than 32, for a small disk")
    parser.add_argument("--out", type=Path, help="also write the table to this CSV file")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a CUDA GPU, and torch finds none here. Nothing was measured.")
        return
    hardware.report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 15 * GB:
            sys.exit(f"{folder} has less than 15 GB free for the checkpoint; set TMPDIR, or use --layers 8.")
        write_checkpoint(folder, options.layers)
        rows = [measure(folder, precision) for precision in ("bf16", "int8", "nf4")]
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
