"""What people type into `load_model`: other words for precision= and device= are followed, or one sentence says why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .errors import ArgumentError, UnknownNameError
from .hardware import PRECISIONS, QUANTIZED
from .language import N_, sentences, t
from .registry import TASKS, auto_class

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DEVICES = ("auto", "cuda", "cpu", "mps")
_OWN = ("name", "task", "precision", "device")
_SYNONYMS = {
    "float32": "fp32",
    "float": "fp32",
    "32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "8bit": "int8",
    "8-bit": "int8",
    "8": "int8",
    "4bit": "nf4",
    "4-bit": "nf4",
    "4": "nf4",
}
_DEVICE = re.compile(r"(cuda|cpu|mps)(?::(\d+))?")
_READ = ("load_in_8bit", "load_in_4bit", "quantization_config", "dtype", "torch_dtype", "device_map")  # by `read`
# Where files come from, and whether their code may run: for configuration, tokenizer and weights alike.
_HUB = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token", "trust_remote_code")
# What transformers' from_pretrained takes besides; the rest of its arguments go into the configuration or to the model.
PASSED_ON = (
    "adapter_kwargs",
    "adapter_name",
    "allow_all_kernels",
    "attn_implementation",
    "code_revision",
    "config",
    "disable_mmap",
    "experts_implementation",
    "fusion_config",
    "generation_config",
    "ignore_mismatched_sizes",
    "kernel_config",
    "key_mapping",
    "low_cpu_mem_usage",
    "offload_state_dict",
    "tqdm_class",
    "use_kernels",
    "use_safetensors",
    "variant",
    "weights_only",
)
_ONE_DEVICE = N_("it puts a model on one device: write device= with one of auto, cuda, cpu, mps")
_REFUSED = {
    **dict.fromkeys(
        ("device_mesh", "distributed_config", "max_memory", "offload_buffers", "offload_folder", "tp_plan", "tp_size"),
        _ONE_DEVICE,
    ),
    "gguf_file": N_("it reads safetensors, not GGUF, of which transformers' own from_pretrained reads some kinds"),
    "output_loading_info": N_("it gives (model, tokenizer); transformers' own from_pretrained gives that too"),
    "proxies": N_("set the environment variable HTTPS_PROXY instead"),
    "state_dict": N_("it reads the weights of its first argument; model.load_state_dict() takes others afterwards"),
}
# What it is often called elsewhere.
_INSTEAD = {
    **dict.fromkeys(("model", "model_name", "model_id", "model_path", "path", "pretrained_model_name_or_path"), "name="),
    **dict.fromkeys(("bits", "quant", "quantize", "quantization"), N_('precision="int8" or precision="nf4"')),
    **{word: f'precision="{_SYNONYMS.get(word, word)}"' for word in (*PRECISIONS, *_SYNONYMS) if word.isidentifier()},
    "use_auth_token": "token=",
    "use_flash_attention_2": 'attn_implementation="flash_attention_2"',
    "use_gpu": 'device="cuda"',
    "padding_side": N_("tokenizer.padding_side = … afterwards"),
    "max_new_tokens": "generate(model, tokenizer, prompt, max_new_tokens=…)",
}


@dataclass(frozen=True)
class Request:
    """What was asked of `load_model`, in its own words."""

    precision: str  # one of hardware.PRECISIONS, or "auto"
    device: str  # one of DEVICES
    compute_dtype: str | None  # with int8 and nf4, the precision of the rest, where somebody named one
    quantization: Any  # a BitsAndBytesConfig that was given, to be passed on as it is
    hub: dict[str, Any]
    rest: dict[str, Any]  # for from_pretrained


def read(name: object, task: object, precision: object, device: object, given: Mapping[str, Any]) -> Request:
    """Put the arguments of `load_model` into its own words.

    Raises:
        UnknownNameError: no such precision or device.
        ArgumentError: arguments that contradict each other, or that nothing here follows.
    """
    for argument, value in zip(_OWN, (name, task, precision, device), strict=True):
        _in_its_place(argument, value)
    if not isinstance(name, str | PathLike):
        raise ArgumentError(
            t("load_model()'s first argument is a model's name or a folder, not a {kind}.", kind=type(name).__name__)
        )
    for argument in given:
        if argument in _REFUSED and given[argument] not in (None, False):
            raise ArgumentError(
                t("load_model() does not take {argument}: {why}.", argument=argument, why=t(_REFUSED[argument]))
            )
    quantization = _quantization(given.get("quantization_config"))
    chosen, compute_dtype = _precision(precision, given, quantization)
    return Request(
        precision=chosen,
        device=_device(device, given.get("device_map")),
        compute_dtype=compute_dtype,
        quantization=quantization,
        hub={key: value for key, value in given.items() if key in _HUB and value is not None},
        rest={key: value for key, value in given.items() if key not in (*_READ, *_HUB, *_REFUSED)},
    )


def check_keywords(given: Mapping[str, Any], config: PretrainedConfig, task: str) -> None:
    """Return if transformers knows every keyword: as its own, as a setting of the model, or as an argument of its class.

    Raises:
        UnknownNameError: with what may have been meant. Said before a byte of the weights is fetched.
    """
    kinds = getattr(auto_class(task), "_model_mapping", {}).get(type(config), ())
    kinds = kinds if isinstance(kinds, list | tuple) else [kinds]
    arguments = {argument for kind in kinds for argument in signature(kind.__init__).parameters}
    for key in given:
        if key in PASSED_ON or key in arguments or hasattr(config, key) or hasattr(config, "auto_map"):
            continue
        if key in _INSTEAD:
            hint = t("Write {code}.", code=t(_INSTEAD[key]))
        elif key.startswith(("bnb_4bit_", "llm_int8_")):
            bits = key.removeprefix("llm_int")[0] if key.startswith("llm") else "4"
            hint = t("Write {code}.", code=f"quantization_config=BitsAndBytesConfig(load_in_{bits}bit=True, {key}=…)")
        else:
            known = [*_OWN, *_READ, *_HUB, *PASSED_ON, *config.to_dict(), "num_labels"]
            near = get_close_matches(key, known, n=1)
            hint = t("Did you mean {names}?", names=repr(near[0])) if near else ""
        own = t(
            "Its own are {names}; others go on to transformers' from_pretrained or into the model's configuration, and "
            "neither knows this one.",
            names=", ".join(_OWN),
        )
        problem = t("load_model() has no argument {name!r}.", name=key)
        raise UnknownNameError(sentences(problem, hint, own))


def _in_its_place(argument: str, value: object) -> None:
    """A device, a precision or a task that stands where another of the four is expected."""
    kind, written = None, str(value).removeprefix("torch.").lower()
    if isinstance(value, torch.device) or (isinstance(value, str) and _DEVICE.fullmatch(written)):
        kind, written = "device", written.split(":")[0]
    elif isinstance(value, torch.dtype) or (isinstance(value, str) and written in (*PRECISIONS, *_SYNONYMS)):
        kind, written = "precision", _SYNONYMS.get(written, written)
    elif isinstance(value, str) and written in TASKS:
        kind = "task"
    if kind in (None, argument) or (argument == "name" and isinstance(value, str) and Path(value).exists()):
        return
    raise ArgumentError(
        t(
            'load_model() was given {value!r} as {argument}=, but that is a {kind}: write {keyword}="{written}".',
            value=value,
            argument=argument,
            kind=t(kind),
            keyword=kind,
            written=written,
        )
    )


def _quantization(given: Any) -> Any:
    """A BitsAndBytesConfig, or None."""
    if given is None:
        return None
    from transformers import BitsAndBytesConfig

    if isinstance(given, dict) and ("load_in_8bit" in given or "load_in_4bit" in given):
        try:
            given = BitsAndBytesConfig(**{key: value for key, value in given.items() if key != "quant_method"})
        except (AttributeError, TypeError, ValueError) as error:
            raise ArgumentError(_not_followed("quantization_config", given, error)) from error
    if not isinstance(given, BitsAndBytesConfig):
        raise ArgumentError(
            t(
                "load_model() follows a quantization_config only if it is a BitsAndBytesConfig, not a {kind}. Write "
                'precision="int8" or precision="nf4"; transformers\' own from_pretrained quantizes in other ways.',
                kind=type(given).__name__,
            )
        )
    if not (given.load_in_8bit or given.load_in_4bit):
        raise ArgumentError(
            t(
                "The quantization_config quantizes nothing: it sets neither load_in_8bit nor load_in_4bit. Set one, or "
                'leave it out and write precision="int8" or precision="nf4".'
            )
        )
    return given


def _precision(precision: object, given: Mapping[str, Any], quantization: Any) -> tuple[str, str | None]:
    """The precision, and with a quantized one that of the rest where dtype= names it."""
    own = _known_precision("precision", precision)
    claims = {f"precision={precision!r}": own}
    for argument, means in (("load_in_8bit", "int8"), ("load_in_4bit", "nf4")):
        if given.get(argument):
            claims[f"{argument}={given[argument]!r}"] = means
    if quantization is not None:
        bits = "load_in_8bit" if quantization.load_in_8bit else "load_in_4bit"
        claims[f"quantization_config=BitsAndBytesConfig({bits}=True)"] = "int8" if quantization.load_in_8bit else "nf4"
    for argument in ("dtype", "torch_dtype"):
        claims[f"{argument}={given.get(argument)!r}"] = _known_precision(argument, given.get(argument))
    claims = {written: means for written, means in claims.items() if means != "auto"}
    quantized = {written: means for written, means in claims.items() if means in QUANTIZED}
    plain = {written: means for written, means in claims.items() if means not in QUANTIZED}
    _agree(quantized, t("precisions"))
    _agree(plain, t("precisions"))
    if quantized and own not in (*QUANTIZED, "auto"):  # dtype= beside int8 names the rest, precision= does not
        _agree(claims, t("precisions"))
    chosen = next(iter((quantized or plain).values()), "auto")
    return chosen, next(iter(plain.values()), None) if quantized else None


def _known_precision(argument: str, value: object) -> str:
    if value is None:
        return "auto"
    written = str(value).strip().lower().removeprefix("torch.")
    written = _SYNONYMS.get(written, written)
    if written in (*PRECISIONS, "auto"):
        return written
    if argument == "precision":
        raise UnknownNameError.of(t("precision"), value, [*PRECISIONS, "auto"])
    why = t("write precision= with one of {names}", names=", ".join(PRECISIONS))
    raise ArgumentError(_not_followed(argument, value, why))


def _not_followed(argument: str, value: object, why: object) -> str:
    return t("load_model() cannot follow {argument}={value!r}: {why}.", argument=argument, value=value, why=why)


def _device(device: object, device_map: object) -> str:
    claims = {f"device={device!r}": _known_device("device", device)}
    if isinstance(device_map, Mapping):
        places = {_known_device("device_map", place) for place in device_map.values()}
        if len(places) != 1:
            raise ArgumentError(_not_followed("device_map", dict(device_map), t(_ONE_DEVICE)))
        claims[f"device_map={dict(device_map)!r}"] = places.pop()
    else:
        claims[f"device_map={device_map!r}"] = _known_device("device_map", device_map)
    claims = {written: means for written, means in claims.items() if means != "auto"}
    _agree(claims, t("devices"))
    return next(iter(claims.values()), "auto")


def _known_device(argument: str, value: object) -> str:
    if value is None:
        return "auto"
    written = str(value).strip().lower()
    if re.fullmatch(r"-1|\d+", written):  # as pipelines count them
        written = "cpu" if written == "-1" else f"cuda:{written}"
    if written == "auto":
        return written
    if match := _DEVICE.fullmatch(written):
        if int(match[2] or 0) == 0:
            return match[1]
        raise ArgumentError(
            t(
                "load_model() uses the first GPU only, and {argument}={value!r} asks for another. Start the notebook with "
                'CUDA_VISIBLE_DEVICES={number} in the environment, and write device="cuda".',
                argument=argument,
                value=value,
                number=match[2],
            )
        )
    if argument == "device":
        near = ["cuda", "mps"] if written == "gpu" else None
        raise UnknownNameError.of(t("device"), value, list(DEVICES), near=near)
    raise ArgumentError(_not_followed(argument, value, t(_ONE_DEVICE)))


def _agree(claims: Mapping[str, str], what: str) -> None:
    if len(set(claims.values())) > 1:
        first, *others = claims
        other = next(written for written in others if claims[written] != claims[first])
        raise ArgumentError(
            t(
                "load_model() was given {first} and {second}, which ask for different {what} ({one} and {other}). Keep one "
                "of them.",
                first=first,
                second=other,
                what=what,
                one=claims[first],
                other=claims[other],
            )
        )
