"""What is here, what a model needs, and the check between the two.

The check answers before a byte of the weights is read: a student learns in a second, with numbers and with ways out,
what would otherwise be a crash of the kernel after minutes of loading.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
import torch
from torch import nn

from .errors import CourseError, UnknownNameError
from .language import N_, t
from .registry import REGISTRY, auto_class, resolve

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Training = Literal["full", "lora"]
Accelerator = Literal["cuda", "mps"]

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "nf4")
QUANTIZED = ("int8", "nf4")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

GB = 1_000_000_000
_PURPOSES = {None: N_("inference"), "full": N_("full fine-tuning"), "lora": N_("lora fine-tuning")}
_NF4_BLOCK = 64  # weights that share one scale in bitsandbytes' 4-bit format (Dettmers et al. 2023, arXiv 2305.14314)
_INT8_CAPABILITY = (7, 5)  # bitsandbytes' LLM.int8() needs Turing or newer
_NF4_CAPABILITY = (6, 0)
_HEADROOM = 0.9  # of the free memory: allocators fragment, and the notebook itself needs some


class InsufficientHardwareError(CourseError):
    """This machine cannot hold or run the model as asked. The message has the numbers and the ways out."""


@dataclass(frozen=True)
class Hardware:
    """What a machine has, in bytes where it is memory."""

    cpu: str
    cores: int
    ram_free: int
    gpu: str | None = None
    gpu_memory: int = 0
    gpu_free: int = 0
    capability: tuple[int, int] = (0, 0)
    bitsandbytes: str | None = None  # its version
    bitsandbytes_cuda: bool = False  # has it kernels for this CUDA
    colab: bool = False
    accelerator: Accelerator | None = None  # torch's name for the GPU; a GPU of which nothing is said is CUDA's
    bitsandbytes_problem: str | None = None  # why it has no kernels for the GPU, in its own words

    def __post_init__(self) -> None:
        kind: Accelerator | None = (self.accelerator or "cuda") if self.gpu else None
        object.__setattr__(self, "accelerator", kind)

    @property
    def bf16_on_gpu(self) -> bool:
        """Does the GPU compute in bf16? One that does not can imitate it, slowly (Turing, Apple's M1)."""
        return self.accelerator == "cuda" and self.capability >= (8, 0)

    def half(self, device: str) -> str:
        """The precision of 16 bits to take on `device`."""
        return "bf16" if device == "cpu" or self.bf16_on_gpu else "fp16"

    def compute_dtype(self, device: str) -> str:
        """The precision of what int8 and nf4 leave unquantized: 16-bit arithmetic is slow on a CPU."""
        return "fp32" if device == "cpu" else self.half(device)

    def free(self, device: str) -> int:
        """Bytes free on "cuda", "mps" or "cpu". An Apple GPU's are a part of the CPU's."""
        return self.ram_free if device == "cpu" else self.gpu_free

    def __str__(self) -> str:
        gpu = t("none")
        if self.gpu:
            memory = {"free": self.gpu_free / GB, "all": self.gpu_memory / GB}
            gpu = t("{name}, {free:.1f} of {all:.1f} GB free, ", name=self.gpu, **memory)
        if self.accelerator == "cuda":
            major, minor = self.capability
            gpu += t("compute capability {major}.{minor}, ", major=major, minor=minor)
            gpu += t("bf16 in hardware") if self.bf16_on_gpu else t("no bf16 in hardware (fp16 instead)")
        elif self.accelerator == "mps":
            gpu += t("shared with the CPU; mps, no float64")
        if not self.bitsandbytes:
            bnb = t("not installed (int8 and nf4 need it)")
        else:
            kernels = t("CUDA and CPU") if self.bitsandbytes_cuda else "CPU"
            bnb = t("{version}, kernels for {kernels}", version=self.bitsandbytes, kernels=kernels)
            bnb += f" ({self.bitsandbytes_problem})" if self.bitsandbytes_problem else ""
        return t(
            "machine       {where}, Python {python}\n"
            "CPU           {cpu}, {cores} cores, {ram:.1f} GB memory free\n"
            "GPU           {gpu}\n"
            "torch         {torch}, CUDA {cuda}\n"
            "transformers  {transformers}\n"
            "bitsandbytes  {bnb}",
            where="Google Colab" if self.colab else platform.system(),
            python=platform.python_version(),
            cpu=self.cpu,
            cores=self.cores,
            ram=self.ram_free / GB,
            gpu=gpu,
            torch=torch.__version__,
            cuda=torch.version.cuda or t("not built in"),
            transformers=_version("transformers") or t("not installed"),
            bnb=bnb,
        )


def detect() -> Hardware:
    """Look at this machine. Free memory is what is free now.

    Nothing else of the course asks torch which devices there are.
    """
    ram = _ram_free()
    gpu: dict[str, Any] = {}
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        problem = _bitsandbytes_problem()
        gpu = {
            "gpu": torch.cuda.get_device_name(),
            "gpu_memory": total,
            "gpu_free": free,
            "capability": torch.cuda.get_device_capability(),
            "accelerator": "cuda",
            "bitsandbytes_cuda": problem is None,
            "bitsandbytes_problem": problem,
        }
    elif torch.backends.mps.is_available():  # torch finds it on macOS 14 or newer only, where it has bf16 too
        gpu = {"gpu": _apple_name(), "accelerator": "mps", **_apple_memory(ram)}
    return Hardware(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ram_free=ram,
        bitsandbytes=_version("bitsandbytes"),
        colab="google.colab" in sys.modules,
        **gpu,
    )


def report() -> None:
    """Print what is here: machine, memory, GPU, versions."""
    print(detect())


@lru_cache
def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")  # Linux: platform.processor() says only "x86_64" there
    if info.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    elif sys.platform == "darwin":  # and only "arm" here
        sysctl = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, encoding="utf-8"
        )
        match = re.search(r"(.+)", sysctl.stdout)
    else:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def _apple_name() -> str:
    try:
        return str(torch.backends.mps.get_name())  # "Apple M2 Pro"
    except (AttributeError, RuntimeError):
        return "Apple GPU"


def _apple_memory(ram_free: int) -> dict[str, int]:
    """An Apple GPU works in the CPU's memory. Metal says how much of it a process should take at most; all of it if not."""
    total, taken = psutil.virtual_memory().total, 0
    with suppress(AttributeError, RuntimeError):  # an older torch tells neither
        total, taken = torch.mps.recommended_max_memory(), torch.mps.driver_allocated_memory()
    return {"gpu_memory": total, "gpu_free": max(0, min(total - taken, ram_free))}


def _ram_free(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that a new allocation may take: the system's, or the container's where that is less."""
    free = int(psutil.virtual_memory().available)
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if (
        limit.exists() and used.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdigit()
    ):  # else "max": no limit
        free = min(free, max(0, int(text) - int(used.read_text(encoding="utf-8"))))
    return free


@lru_cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # not installed: the caller says so
        return None


@lru_cache
def _bitsandbytes_problem() -> str | None:
    """Why bitsandbytes has no kernels for the GPU, or None where it has. It is imported, which takes seconds."""
    if not _version("bitsandbytes"):
        return t("it is not installed")
    try:
        from bitsandbytes.cextension import lib
    except Exception as error:  # a broken installation fails in many ways; whichever it is, the check says it
        return t("its import fails, {kind}: {error}", kind=type(error).__name__, error=_first_line(error))
    if getattr(lib, "compiled_with_cuda", False):
        return None
    load_error = vars(lib).get("error_msg")  # left by what stands in for a library that could not be opened
    if load_error:
        return t("its library cannot be opened: {error}", error=_first_line(load_error))
    return t("its library is built for the CPU only")


def import_bitsandbytes() -> None:
    """Return if bitsandbytes can be imported, whatever kernels it has.

    Raises:
        InsufficientHardwareError
    """
    try:
        import bitsandbytes  # noqa: F401
    except Exception as error:
        raise InsufficientHardwareError(
            t(
                "bitsandbytes {version} is installed, and its import fails, {kind}: {error}.\nWays out: `pip install "
                '--force-reinstall --no-deps bitsandbytes`, and restart the kernel; or precision="auto", which does '
                "without.",
                version=_version("bitsandbytes"),
                kind=type(error).__name__,
                error=_first_line(error),
            )
        ) from error


def _first_line(text: object) -> str:
    return next(iter(str(text).strip().splitlines()), "")


@dataclass(frozen=True)
class Plan:
    """What a model needs, in bytes."""

    model: str
    precision: str
    batch: int
    context: int
    training: Training | None
    parameters: int
    trainable: int  # parameters that training changes; 0 for inference
    weights: int  # as get_memory_footprint() counts them
    scales: int  # quantization constants, which get_memory_footprint() leaves out
    kv_cache: int
    activations: int
    gradients: int
    optimizer: int
    config: PretrainedConfig = field(repr=False, compare=False)
    task: str = field(repr=False, compare=False)

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.weights + self.scales + self.kv_cache + self.activations + self.gradients + self.optimizer

    def __str__(self) -> str:
        lines = [
            t(
                "{model}: {billions:.3f} billion parameters, {precision}, {what}, batch {batch}, context {context} tokens",
                model=self.model,
                billions=self.parameters / 1e9,
                precision=self.precision,
                what=t(_PURPOSES[self.training]),
                batch=self.batch,
                context=self.context,
            )
        ]
        parts = ("weights", "scales", "kv_cache", "activations", "gradients", "optimizer", "total")
        lines += [f"  {part:<12}{getattr(self, part) / GB:10.3f} GB" for part in parts if getattr(self, part)]
        return "\n".join(lines)


def plan(
    model: str | Path | PretrainedConfig,
    precision: str = "bf16",
    batch: int = 1,
    context: int = 2048,
    training: Training | None = None,
    lora_rank: int = 8,
    task: str | None = None,
    compute_dtype: str = "bf16",
    name: str | None = None,
) -> Plan:
    """Say what a model needs, from its configuration alone: no weight is read.

    The parameters are counted on the model itself, built without memory (PyTorch's "meta" device).

    - weights: bytes of every parameter in its precision. In int8 and nf4 bitsandbytes converts the linear layers, except
      the output head; the rest keeps the precision `compute_dtype`.
    - scales: int8 keeps one float32 a row (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339); nf4 one float32 per 64
      weights (QLoRA, Dettmers et al. 2023, arXiv 2305.14314).
    - kv_cache: 2 · layers · KV heads · head size · context · batch · bytes; 0 in training and for encoders.
    - activations: an estimate. Inference holds one layer's at a time; training keeps all layers' for the backward pass
      (counted per tensor as Korthikanti et al. 2022, arXiv 2205.05198, with fused attention) and the logits.
    - gradients, optimizer: one and two numbers a trained parameter, in the parameter's own precision, as torch's AdamW
      keeps them. LoRA's matrices are kept in float32.

    Args:
        model: name in the registry, folder of a checkpoint, or a transformers configuration.
        precision: fp32, bf16, fp16, int8 or nf4.
        batch: sequences at a time.
        context: tokens a sequence.
        training: None (inference), "full" or "lora" (adapters on every linear layer that is quantizable).
        lora_rank: rank of the adapters.
        task: as for `load_model`; None means what the model was trained for.
        compute_dtype: with int8 and nf4, the precision of what is not quantized (`load_model` takes
            `Hardware.compute_dtype`'s: bf16 or fp16 on a GPU, fp32 on a CPU, where 16-bit arithmetic is slow).
        name: what to call it in messages, when `model` is a configuration.

    Raises:
        UnknownNameError: no such model or precision.
        CourseError: full training of quantized weights, which have no gradient.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError.of(t("precision"), precision, list(PRECISIONS))
    if training not in (None, "full", "lora"):
        raise UnknownNameError.of(t("kind of training"), training, ["full", "lora"])
    if training == "full" and precision in QUANTIZED:
        raise CourseError(
            t(
                "Weights in {precision} are whole numbers and have no gradient: full fine-tuning needs fp32, bf16 or fp16. "
                'training="lora" trains adapters on top of quantized weights.',
                precision=precision,
            )
        )
    if batch < 1 or context < 1:
        raise CourseError(t("batch and context are at least 1, not {batch} and {context}.", batch=batch, context=context))
    label, config, task = resolve(model, task)
    sizes = _sizes(config, task)
    text = config.get_text_config()
    bytes_per_parameter = DTYPES[precision].itemsize if precision in DTYPES else DTYPES[compute_dtype].itemsize
    weights, scales = sizes.parameters * bytes_per_parameter + sizes.buffers, 0
    if precision == "int8":
        weights -= sizes.linear * (bytes_per_parameter - 1)
        scales = sizes.linear_rows * 4
    elif precision == "nf4":
        weights -= sizes.linear * bytes_per_parameter - sizes.linear_nf4
        scales = -(-sizes.linear // _NF4_BLOCK) * 4

    trainable = gradients = optimizer = 0
    if training == "full":
        trainable = sizes.parameters
        gradients, optimizer = trainable * bytes_per_parameter, 2 * trainable * bytes_per_parameter
    elif training == "lora":
        trainable = lora_rank * sizes.linear_in_plus_out
        weights += 4 * trainable
        gradients, optimizer = 4 * trainable, 8 * trainable
    return Plan(
        model=name or label,
        precision=precision,
        batch=batch,
        context=context,
        training=training,
        parameters=sizes.parameters,
        trainable=trainable,
        weights=weights,
        scales=scales,
        kv_cache=0 if training else _kv_cache(text, task, batch * context, bytes_per_parameter),
        activations=_activations(text, sizes, batch, context, bytes_per_parameter, bool(training), precision),
        gradients=gradients,
        optimizer=optimizer,
        config=config,
        task=task,
    )


@dataclass(frozen=True)
class _Sizes:
    """Counts over a model's tensors. "linear" is what bitsandbytes would quantize."""

    parameters: int
    buffers: int  # bytes
    linear: int
    linear_rows: int
    linear_nf4: int  # bytes, each matrix packed two weights to a byte
    linear_largest: int
    linear_in_plus_out: int


def _sizes(config: PretrainedConfig, task: str) -> _Sizes:
    kind: Any = type(config)
    return _sizes_of(config.to_json_string(use_diff=False), kind, task)


@lru_cache(maxsize=64)
def _sizes_of(settings: str, kind: Any, task: str) -> _Sizes:
    from transformers.quantizers.base import get_keys_to_not_convert

    config = kind.from_dict(json.loads(settings))
    with torch.device("meta"):
        model = auto_class(task).from_config(config)
    kept = set(get_keys_to_not_convert(model))
    linears = [
        module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(path == key or path.startswith(f"{key}.") for key in kept)
    ]
    numbers = [module.weight.numel() for module in linears]
    return _Sizes(
        parameters=sum(p.numel() for p in model.parameters()),
        buffers=sum(b.numel() * b.element_size() for b in model.buffers()),
        linear=sum(numbers),
        linear_rows=sum(module.out_features for module in linears),
        linear_nf4=sum(-(-n // 2) for n in numbers),
        linear_largest=max(numbers, default=0),
        linear_in_plus_out=sum(module.in_features + module.out_features for module in linears),
    )


def _head_dim(text: PretrainedConfig) -> int:
    for key in ("head_dim", "d_kv"):
        if getattr(text, key, None):
            return int(getattr(text, key))
    return int(text.hidden_size // text.num_attention_heads)


def _kv_heads(text: PretrainedConfig) -> int:
    return int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)


def _kv_cache(text: PretrainedConfig, task: str, tokens: int, bytes_per_element: int) -> int:
    """Keys and values of every layer that decodes; an encoder-decoder also keeps those of the encoder's output."""
    if task == "causal-lm":
        layers = text.num_hidden_layers
    elif text.is_encoder_decoder and task == "seq2seq-lm":
        layers = 2 * (getattr(text, "num_decoder_layers", None) or text.num_hidden_layers)
    else:
        return 0
    return int(2 * layers * _kv_heads(text) * _head_dim(text) * tokens * bytes_per_element)


def _intermediate(text: PretrainedConfig) -> int:
    return int(getattr(text, "intermediate_size", None) or getattr(text, "d_ff", None) or 4 * text.hidden_size)


def _activations(
    text: PretrainedConfig, sizes: _Sizes, batch: int, context: int, bytes_per_element: int, training: bool, precision: str
) -> int:
    """Bytes of intermediate results; see `plan`. An estimate: the tests hold it to 25 % on the course model."""
    tokens = batch * context
    hidden, inner = text.hidden_size, _intermediate(text)
    queries, keys = text.num_attention_heads * _head_dim(text), _kv_heads(text) * _head_dim(text)
    if not training:
        attention = hidden + queries + 2 * keys
        live = 2 * hidden + max(attention, 3 * inner)  # the residual, the layer's input, the widest point
        dequantized = sizes.linear_largest * bytes_per_element if precision in QUANTIZED else 0
        return int(tokens * live * bytes_per_element + batch * text.vocab_size * 4 + dequantized)
    # Kept for the backward pass, a token a layer: the input and the normalised input of both norms (each norm works in
    # float32), queries, keys and values before and after rotation, attention's output, and the MLP's four wide tensors.
    norms = 2 * (2 * hidden * 4 + hidden * bytes_per_element)
    attention = (3 * queries + 3 * keys) * bytes_per_element
    mlp = 4 * inner * bytes_per_element
    logits = text.vocab_size * (bytes_per_element + 4)  # as they come, and their log-softmax in float32
    return int(tokens * (text.num_hidden_layers * (norms + attention + mlp) + logits))


def fits(wanted: Plan, device: str, here: Hardware | None = None) -> bool:
    """Does `check` pass?"""
    try:
        check(wanted, device, here)
    except InsufficientHardwareError:  # the answer is no; `check` says why
        return False
    return True


def check(wanted: Plan, device: str, here: Hardware | None = None) -> None:
    """Return if `wanted` fits on `device` ("cuda", "mps" or "cpu") and can run there; else say why not and what to do.

    Raises:
        InsufficientHardwareError
    """
    here = here or detect()
    if device not in ("cpu", here.accelerator):
        wish = t("a GPU") if device == "cuda" else t("an Apple GPU (mps)")
        ways = [f'device="{there}"' for there in (here.accelerator, "cpu") if there]
        ways += [t("in Colab: Runtime → Change runtime type → T4 GPU")] if device == "cuda" else []
        raise InsufficientHardwareError(
            t(
                "{model} was asked for on {wish}, and there is none that torch can use.\nWays out: {ways}.\n\n{here}",
                model=wanted.model,
                wish=wish,
                ways=t("; or ").join(ways),
                here=here,
            )
        )
    if wanted.precision in QUANTIZED:
        _check_bitsandbytes(wanted, device, here)
    needed, free = wanted.total, int(here.free(device) * _HEADROOM)
    if needed <= free:
        return
    raise InsufficientHardwareError(
        t(
            "{model} in {precision} does not fit: it needs {needed:.1f} GB and {where} has {free:.1f} GB free "
            "(of which {share:.0%} can be used).\n{plan}\nWays out: {ways}.",
            model=wanted.model,
            precision=wanted.precision,
            needed=needed / GB,
            where=t("this machine") if device == "cpu" else t("the GPU"),
            free=here.free(device) / GB,
            share=_HEADROOM,
            plan=wanted,
            ways=t("; ").join(_ways_out(wanted, device, here)),
        )
    )


def _check_bitsandbytes(wanted: Plan, device: str, here: Hardware) -> None:
    if not here.bitsandbytes:
        raise InsufficientHardwareError(
            t(
                "{precision} needs the package bitsandbytes, which is not installed.\n"
                'Ways out: run `pip install bitsandbytes` and restart the kernel; or precision="auto", which does without.',
                precision=wanted.precision,
            )
        )
    half = here.half(device)
    if device == "mps":
        raise InsufficientHardwareError(
            t(
                "{precision} does not run on an Apple GPU here: bitsandbytes {version} has no int8 or nf4 kernels of its "
                "own for it, only stand-ins that this course has not tried.\n"
                'Ways out: precision="{half}", on the GPU; or device="cpu", where {precision} runs (slow).',
                precision=wanted.precision,
                version=here.bitsandbytes,
                half=half,
            )
        )
    if device != "cuda":
        return
    if not here.bitsandbytes_cuda:
        problem = t(": {error}", error=here.bitsandbytes_problem) if here.bitsandbytes_problem else ""
        raise InsufficientHardwareError(
            t(
                "bitsandbytes {version} has no kernels for CUDA {cuda}, so {precision} cannot run on {gpu}{problem}.\n"
                'Ways out: `pip install -U bitsandbytes` and restart the kernel; or precision="{half}"; or device="cpu" '
                "(slow).",
                version=here.bitsandbytes,
                cuda=torch.version.cuda,
                precision=wanted.precision,
                gpu=here.gpu,
                problem=problem,
                half=half,
            )
        )
    required = _INT8_CAPABILITY if wanted.precision == "int8" else _NF4_CAPABILITY
    if here.capability < required:
        raise InsufficientHardwareError(
            t(
                "{precision} needs a GPU of compute capability {required} or more; {gpu} has {capability}.\n"
                'Ways out: precision="fp16"; or device="cpu" (slow).',
                precision=wanted.precision,
                required=".".join(map(str, required)),
                gpu=here.gpu,
                capability=".".join(map(str, here.capability)),
            )
        )


def _ways_out(wanted: Plan, device: str, here: Hardware) -> list[str]:
    """What would fit, nearest first."""

    def would_fit(model: str | PretrainedConfig, precision: str, device: str) -> bool:
        need = plan(
            model, precision, wanted.batch, wanted.context, None, task=wanted.task, compute_dtype=here.compute_dtype(device)
        )
        try:
            if precision in QUANTIZED:
                _check_bitsandbytes(need, device, here)
        except InsufficientHardwareError:  # the answer is no; another precision may fit
            return False
        return need.total <= here.free(device) * _HEADROOM

    ways = []
    # the two of 16 bits are equally large, so one of them is no way out of the other
    narrower = [p for p in (here.half(device), "int8", "nf4") if _bits(p) < _bits(wanted.precision)]
    if wanted.training is None:
        near = [p for p in narrower if would_fit(wanted.config, p, device)]
        ways += [t('precision="{precision}", which would fit', precision=p) for p in near[:1]]
    if device != "cpu" and wanted.total <= here.ram_free * _HEADROOM:
        ways.append(t('device="cpu", where there is room (slow)'))
    elif device == "mps" and wanted.training is None:  # the CPU has the same memory, but kernels for fewer bits
        fewer = [p for p in QUANTIZED if would_fit(wanted.config, p, "cpu")]
        ways += [t('device="cpu", precision="{precision}", which would fit (slow)', precision=p) for p in fewer][:1]
    smaller = [s for s in REGISTRY.values() if s.parameters < wanted.parameters and wanted.task in s.tasks]
    fitting = [s for s in sorted(smaller, key=lambda s: -s.parameters) if would_fit(s.name, wanted.precision, device)]
    ways += [t('a smaller model: load_model("{name}")', name=spec.name) for spec in fitting[:1]]
    if wanted.batch > 1:
        ways.append(t("a smaller batch"))
    if not here.gpu and not here.colab:
        ways.append(t("Google Colab with a T4 GPU (16 GB)"))
    return ways or [t("a machine with more memory")]


def _bits(precision: str) -> int:
    return {"int8": 8, "nf4": 4}[precision] if precision in QUANTIZED else DTYPES[precision].itemsize * 8
