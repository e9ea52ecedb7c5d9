"""Loading a model: by name, in a precision, after checking that it fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from . import hardware, weights
from .errors import CourseError, UnknownNameError
from .registry import REGISTRY, auto_class, find, hub_error, reach_hub, resolve

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CHECK_CONTEXT = 2048  # tokens that must fit beside the weights, for one sequence
_said: set[str] = set()


def load_model(
    name: str | Path = "course",
    task: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    **kwargs: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer, ready for inference.

    >>> model, tokenizer = load_model()                                # SmolLM2-135M-Instruct, offline
    >>> model, tokenizer = load_model("course", precision="int8")      # LLM.int8() through bitsandbytes
    >>> model, tokenizer = load_model("tinyllama", precision="nf4")    # from the hub, pinned revision

    Args:
        name: "course", another name of `registry()`, a hub id, or the folder of a checkpoint.
        task: "causal-lm", "masked-lm", "seq2seq-lm", "replaced-token-detection", "sequence-classification" or
            "feature-extraction"; None means what the model was trained for.
        precision: "fp32", "bf16", "fp16", "int8", "nf4", or "auto": on a CUDA GPU the first of bf16 (fp16 on older ones),
            int8, nf4 that fits; on an Apple GPU the first of fp32, fp16 (as exact as can be: fp16 overflows in some models
            that were trained in bf16, and its arithmetic is no faster there); on a CPU the first of fp32, bf16.
        device: "cuda", "mps" (an Apple GPU), "cpu", or "auto": a GPU if there is one that can run this precision.
        kwargs: passed on to transformers' `from_pretrained`, for example `num_labels=5`.

    Returns:
        The model in evaluation mode on its device, and the tokenizer.

    Raises:
        UnknownNameError: no such name, task or precision.
        InsufficientHardwareError: it does not fit or cannot run here; raised before any weight is read.
        CourseError: a weight file is damaged.
        DownloadError, ChecksumError, DiskFullError: see `course_utils.weights` (course model) or the hub's answer.
    """
    label, config, task = resolve(name, task)
    if precision not in (*hardware.PRECISIONS, "auto"):
        raise UnknownNameError.of("precision", precision, [*hardware.PRECISIONS, "auto"])
    if device not in ("auto", "cuda", "cpu", "mps"):
        raise UnknownNameError.of("device", device, ["auto", "cuda", "cpu", "mps"])

    here = hardware.detect()
    if device == "auto":
        on_gpu = here.accelerator != "mps" or precision not in hardware.QUANTIZED
        device = here.accelerator if here.accelerator and on_gpu else "cpu"
    other = here.other(device)
    candidates = [precision]
    if precision == "auto":
        candidates = [other, "int8", "nf4"] if device == "cuda" else ["fp32", here.half(device)]
    context = min(_CHECK_CONTEXT, getattr(config.get_text_config(), "max_position_embeddings", None) or _CHECK_CONTEXT)
    needs = {p: hardware.plan(config, p, context=context, task=task, other=other, name=label) for p in candidates}
    precision = next((p for p in candidates if hardware.fits(needs[p], device, here)), candidates[-1])
    hardware.check(needs[precision], device, here)
    if precision in hardware.QUANTIZED and device == "cpu":
        mac = ' (it has none for Apple GPUs, which precision="fp16" would use)' if here.accelerator == "mps" else ""
        _say_once(
            f"{label} runs in {precision} on the CPU, through bitsandbytes' CPU kernels{mac}: it works, and it is slow."
        )

    source, revision = _source(name)
    settings: dict[str, Any] = {"dtype": hardware.DTYPES[precision if precision in hardware.DTYPES else other]}
    if precision in hardware.QUANTIZED:
        settings["quantization_config"] = _quantization_config(precision, settings["dtype"])
    where: dict[str, Any] = {"revision": revision} if revision else {}
    on_hub = not Path(source).exists()
    if on_hub:
        reach_hub(source, revision)
    with _quiet(bars=on_hub):  # a download shows its progress; reading a local file takes a second
        try:
            tokenizer = _tokenizer(source, where)
            model = auto_class(task).from_pretrained(source, device_map=device, **where, **settings, **kwargs)
        except SafetensorError as error:
            again = "force_download=True, to fetch it again" if on_hub else "a fresh copy of the folder"
            raise CourseError(f"The weights of {label} are damaged ({error}). Load it with {again}.\n  {source}") from error
        except (OSError, ValueError) as error:
            if on_hub:
                raise hub_error(source, error) from error
            raise
    if task == "sequence-classification" and task not in _trained_for(config):
        _say_once(f"{label} has no classification head: a new, random one was added. Train it before you trust it.")
    return model.eval(), tokenizer


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | list[dict[str, str]],
    max_new_tokens: int = 64,
    chat: bool = True,
    **kwargs: Any,
) -> str:
    """Answer `prompt`; greedy unless told otherwise, so the same prompt gives the same answer.

    Args:
        prompt: a user's message, or a whole conversation as a list of {"role", "content"}.
        max_new_tokens: longest answer, in tokens.
        chat: wrap the prompt in the model's chat template, where it has one; False continues the bare text.
        kwargs: passed on to transformers' `generate`, for example `do_sample=True, temperature=0.7`.

    Returns:
        The answer alone, without the prompt and special tokens.
    """
    if isinstance(prompt, str) and not (chat and tokenizer.chat_template):
        inputs = tokenizer(prompt, return_tensors="pt")
    else:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    inputs = inputs.to(model.device)
    options = {"do_sample": False, "pad_token_id": tokenizer.pad_token_id, **kwargs}
    output = model.generate(**inputs, max_new_tokens=max_new_tokens, **options)
    start = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    return str(tokenizer.decode(output[0, start:], skip_special_tokens=True)).strip()


def registry() -> pd.DataFrame:
    """The models known by name: parameters, licence, gated or not, and GB to run each in every precision.

    The GB are `hardware.plan`'s totals for one sequence of 2048 tokens (or the model's longest, if shorter).
    """
    import pandas as pd

    rows = []
    for spec in REGISTRY.values():
        context = min(_CHECK_CONTEXT, spec.config.get("max_position_embeddings", _CHECK_CONTEXT))
        needs = {
            f"{p}_gb": round(hardware.plan(spec.name, p, context=context).total / hardware.GB, 2)
            for p in hardware.PRECISIONS
        }
        rows.append(
            {
                "name": spec.name,
                "hub_id": spec.hub_id,
                "revision": spec.revision,
                "parameters_million": round(spec.parameters / 1e6, 1),
                "task": spec.tasks[0],
                "licence": spec.licence,
                "gated": spec.gated,
                **needs,
                "note": spec.note,
            }
        )
    return pd.DataFrame(rows).set_index("name")


def _source(name: str | Path) -> tuple[str, str | None]:
    """What `from_pretrained` is given: (folder or hub id, revision)."""
    if name == "course":
        return str(weights.path()), None
    if (spec := find(str(name))) is not None:
        return spec.hub_id, spec.revision
    folder = Path(name).expanduser()
    return (str(folder), None) if folder.is_dir() else (str(name), None)


def _tokenizer(source: str, where: dict[str, Any]) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, **where)
    if tokenizer.pad_token is None:  # decoders trained without padding: any token will do, it is masked out
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _quantization_config(precision: str, compute: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def _trained_for(config: Any) -> tuple[str, ...]:
    heads = config.architectures or []
    return ("sequence-classification",) if any("SequenceClassification" in head for head in heads) else ()


def _say_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        print(message, file=sys.stderr, flush=True)


@contextmanager
def _quiet(bars: bool) -> Iterator[None]:
    """Load without transformers' note on new heads, which we give ourselves, once; and without its progress bars."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    if not bars:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if enabled:
            transformers_logging.enable_progress_bar()
