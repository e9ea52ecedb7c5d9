"""Loading a model: by name, in a precision, after checking that it fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from . import arguments, folders, hardware, modelscope, weights
from .errors import ArgumentError, CourseError, DownloadError
from .language import sentences, t
from .registry import REGISTRY, auto_class, base_of, explained, find, reach_hub, resolve

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

    `COURSE_HUB=modelscope` takes other models from ModelScope: those of the registry that it has with the pinned weights.

    Args:
        name: "course", another name of `registry()`, a hub id, the folder of a checkpoint, or the folder of a PEFT adapter,
            which is put on the base model that it names.
        task: "causal-lm", "masked-lm", "seq2seq-lm", "replaced-token-detection", "sequence-classification" or
            "feature-extraction"; None means what the model was trained for.
        precision: "fp32", "bf16", "fp16", "int8", "nf4", or "auto": on a CUDA GPU the first of bf16 (fp16 on older ones),
            int8, nf4 that fits; on an Apple GPU the first of fp32, fp16 (fp16 overflows in some models that were trained in
            bf16, and its arithmetic is no faster there); on a CPU the first of fp32, bf16. int8 and nf4 run on CUDA and CPU.
        device: "cuda", "mps" (an Apple GPU), "cpu", or "auto": a GPU if there is one that runs this precision.
        kwargs: passed on to transformers' `from_pretrained`, for example `num_labels=5`. `load_in_8bit=`, `load_in_4bit=`, a
            `quantization_config=` of bitsandbytes, `dtype=`, `torch_dtype=` and `device_map=` are followed as far as they
            mean a precision or a device; beside int8 and nf4, `dtype=` is the precision of the rest.

    Returns:
        The model in evaluation mode on its device (with an adapter: a PeftModel), and the tokenizer.

    Raises:
        UnknownNameError: no such name, task, precision, device or keyword.
        ArgumentError: arguments that contradict each other, or that nothing here follows.
        InsufficientHardwareError: it does not fit or cannot run here; raised before any weight is read.
        CourseError: a folder is no checkpoint, or is incomplete or damaged; or transformers refuses the model.
        DownloadError, ChecksumError, DiskFullError: see `course_utils.weights` (course model) or the hub's answer.
    """
    request = arguments.read(name, task, precision, device, kwargs)
    if find(str(name)) is None and (path := Path(name).expanduser()).is_dir():
        name = path = path / request.hub.pop("subfolder", "")
        if (adapter := folders.adapter(path)) is not None:
            return _with_adapter(adapter, task, request)
    return _load(name, task, request)


def _load(
    name: str | Path, task: str | None, request: arguments.Request, head_comes: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """`load_model`, once its arguments are read. With `head_comes` a new head is no news: an adapter brings its weights."""
    label, config, task = resolve(name, task, **request.hub)
    arguments.check_keywords(request.rest, config, task)
    saved = _saved_precision(label, config, request.precision)
    precision, device, here = saved or request.precision, request.device, hardware.detect()
    if device == "auto":
        on_gpu = here.accelerator != "mps" or precision not in hardware.QUANTIZED
        device = here.accelerator if here.accelerator and on_gpu else "cpu"
    compute_dtype = request.compute_dtype or here.compute_dtype(device)
    candidates = [precision]
    if precision == "auto":
        candidates = [compute_dtype, "int8", "nf4"] if device == "cuda" else ["fp32", here.half(device)]
    context = min(_CHECK_CONTEXT, getattr(config.get_text_config(), "max_position_embeddings", None) or _CHECK_CONTEXT)
    needs = {
        p: hardware.plan(config, p, context=context, task=task, compute_dtype=compute_dtype, name=label) for p in candidates
    }
    precision = next((p for p in candidates if hardware.fits(needs[p], device, here)), candidates[-1])
    hardware.check(needs[precision], device, here)
    if precision in hardware.QUANTIZED and device == "cpu":
        mac = t(' (it has none for Apple GPUs, which precision="fp16" would use)') if here.accelerator == "mps" else ""
        _say_once(
            t(
                "{name} runs in {precision} on the CPU, through bitsandbytes' CPU kernels{mac}: it works, and it is slow.",
                name=label,
                precision=precision,
                mac=mac,
            )
        )

    source, where = _source(name, request.hub.get("revision"))
    where |= request.hub
    settings: dict[str, Any] = {"dtype": hardware.DTYPES[precision if precision in hardware.DTYPES else compute_dtype]}
    if precision in hardware.QUANTIZED:
        hardware.import_bitsandbytes()
        if not saved:
            settings["quantization_config"] = request.quantization or _quantization_config(precision, settings["dtype"])
    on_hub = not Path(source).exists()
    if on_hub:
        reach_hub(source, **where)
    else:
        folders.check_tokenizer(Path(source))
    with _quiet(bars=on_hub):  # a download shows its progress; reading a local file takes a second
        try:
            tokenizer = _tokenizer(source, where)
            model = auto_class(task).from_pretrained(source, device_map=device, **where, **settings, **request.rest)
        except Exception as error:
            if (explanation := explained(label, source, error)) is not None:
                raise explanation from error
            raise
    if task == "sequence-classification" and task not in _trained_for(config) and not head_comes:
        _say_once(
            t("{name} has no classification head: a new, random one was added. Train it before you trust it.", name=label)
        )
    return model.eval(), tokenizer


def _with_adapter(
    adapter: folders.Adapter, task: str | None, request: arguments.Request
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that an adapter was trained on, in the precision and on the device that were asked for, with the adapter."""
    from peft import PeftModel

    base = base_of(adapter)
    if base == "course" and adapter.base == REGISTRY["course"].hub_id:
        what = t(
            "{name} is an adapter for {base}: its base here is the course model.",
            name=adapter.folder.name,
            base=adapter.base,
        )
        _say_once(what)
    task = task or adapter.task
    if task == "sequence-classification" and "id2label" not in request.rest and (labels := folders.labels_of(adapter)):
        request.rest.setdefault("num_labels", labels)
    try:
        model, tokenizer = _load(base, task, request, head_comes=True)
    except DownloadError as error:
        what = t("{folder} is an adapter, which needs its base model.", folder=adapter.folder)
        raise DownloadError(sentences(what, str(error))) from error
    if folders.has_tokenizer(adapter.folder):
        tokenizer = _tokenizer(str(adapter.folder), {})
    try:
        model = PeftModel.from_pretrained(model, str(adapter.folder), torch_device="cpu")  # from there to where its layer is
    except SafetensorError as error:
        raise CourseError(
            t(
                "The weights of the adapter {folder} are damaged ({error}). Get a fresh copy.",
                folder=adapter.folder,
                error=error,
            )
        ) from error
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise CourseError(
            t("The adapter {folder} does not fit its base, {base}: {error}", folder=adapter.folder, base=base, error=first)
        ) from error
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


def _source(name: str | Path, revision: str | None) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` is given: folder or hub id, and the pinned revision as a keyword."""
    if name == "course":
        return str(weights.path()), {}
    spec, folder = find(str(name)), Path(name).expanduser()
    if spec is None and folder.is_dir():
        return str(folder), {}
    if modelscope.chosen():
        if spec and not spec.sha256 and not revision:
            raise modelscope.unpinned(spec.hub_id, [known.name for known in REGISTRY.values() if known.sha256])
        pinned = spec.sha256 if spec and not revision else {}
        return str(modelscope.fetch(spec.hub_id if spec else str(name), pinned, revision)), {}
    return (spec.hub_id, {"revision": spec.revision}) if spec else (str(name), {})


def _tokenizer(source: str, where: dict[str, Any]) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
    except Exception as error:
        if Path(source).is_dir():  # tokenizer_config.json alone, or a file that is cut
            raise folders.no_tokenizer(Path(source)) from error
        raise
    if tokenizer.pad_token is None:  # decoders trained without padding: any token will do, it is masked out
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _saved_precision(label: str, config: Any, wanted: str) -> str | None:
    """The precision in which a checkpoint was saved after quantization, or None: it then has no other.

    Raises:
        ArgumentError: another one was asked for, or it is quantized in a way that is not bitsandbytes'.
    """
    saved = getattr(config, "quantization_config", None)
    if not saved:
        return None
    saved = saved if isinstance(saved, dict) else saved.to_dict()
    if saved.get("quant_method") != "bitsandbytes":
        raise ArgumentError(
            t(
                "{name} is saved in the format {kind}, which load_model() does not read. Take the same model without it, or "
                "transformers' own from_pretrained.",
                name=label,
                kind=saved.get("quant_method"),
            )
        )
    precision = "int8" if saved.get("load_in_8bit") else "nf4"
    if wanted not in ("auto", precision):
        raise ArgumentError(
            t(
                "{name} was saved in {precision}, from which {wanted} cannot be had again. Leave the precision out, or load "
                "the model that it was made from.",
                name=label,
                precision=precision,
                wanted=wanted,
            )
        )
    return precision


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
