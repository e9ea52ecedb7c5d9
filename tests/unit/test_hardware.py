"""The plan against what is published and measured, and the check on machines that we only describe."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bitsandbytes.cextension  # before a test says that there is a GPU: it would then load what is for CUDA
import psutil
import pytest
import torch
from transformers import LlamaConfig

from course_utils import hardware, load_model, tables
from course_utils.errors import CourseError, UnknownNameError
from course_utils.hardware import GB, Hardware, InsufficientHardwareError, check, plan

LAPTOP = Hardware(cpu="test", cores=2, ram_free=6 * GB, bitsandbytes="0.50.2")
T4 = Hardware(
    cpu="test",
    cores=2,
    ram_free=12 * GB,
    gpu="Tesla T4",
    gpu_memory=16 * GB,
    gpu_free=15 * GB,
    capability=(7, 5),
    bitsandbytes="0.50.2",
    bitsandbytes_cuda=True,
    colab=True,
)

MAC = Hardware(
    cpu="Apple M2",
    cores=8,
    ram_free=9 * GB,
    gpu="Apple M2",
    gpu_memory=11 * GB,
    gpu_free=9 * GB,
    bitsandbytes="0.50.2",
    accelerator="mps",
)


def llama(name: str) -> LlamaConfig:
    row = tables.load("llama_hyperparameters").set_index("name").loc[name]
    return LlamaConfig(
        hidden_size=int(row.dimension),
        num_attention_heads=int(row.heads),
        num_key_value_heads=int(row.kv_heads),
        num_hidden_layers=int(row.layers),
        intermediate_size=int(row.intermediate),
        vocab_size=int(row.vocabulary),
    )


@pytest.mark.parametrize("name", ["LLaMA 7B", "LLaMA 13B", "LLaMA 33B", "LLaMA 65B"])
def test_published_parameter_counts(name: str) -> None:
    published = tables.load("llama_hyperparameters").set_index("name").loc[name, "parameters_billion"]
    assert plan(llama(name)).parameters / 1e9 == pytest.approx(published, rel=0.01)


def test_bytes_of_a_7b_by_hand() -> None:
    """LLaMA 7B: 6,738,415,616 parameters, of which 32 layers · (4 · 4096² + 3 · 4096 · 11008) are linear."""
    config, linear = llama("LLaMA 7B"), 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    others = 6_738_415_616 - linear
    buffers = plan(config, "bf16").weights - 2 * 6_738_415_616
    assert 0 <= buffers < 1000  # the rotary frequencies
    assert plan(config, "fp32").weights - buffers == 4 * 6_738_415_616
    assert plan(config, "int8").weights - buffers == linear + 2 * others
    assert plan(config, "nf4").weights - buffers == linear // 2 + 2 * others
    assert plan(config, "nf4").scales == linear // 64 * 4
    assert plan(config, "int8").scales == 4 * 32 * (4 * 4096 + 2 * 11008 + 4096)


def test_kv_cache_by_hand_and_measured() -> None:
    assert plan(llama("LLaMA 7B"), "bf16", batch=3, context=100).kv_cache == 2 * 32 * 4096 * 100 * 3 * 2
    assert plan(llama("Llama 2 70B"), "bf16", context=4096).kv_cache == 2 * 80 * 8 * 128 * 4096 * 2
    assert plan("bert-base").kv_cache == 0
    model, tokenizer = load_model(precision="fp32")
    with torch.inference_mode():
        cache = model(**tokenizer("one two three four five", return_tensors="pt"), use_cache=True).past_key_values
    tokens = cache.get_seq_length()
    held = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert plan("course", "fp32", context=tokens).kv_cache == held


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_activations_within_a_quarter_of_the_measured(precision: str) -> None:
    """Measured: every tensor that autograd keeps for the backward pass and that is not a parameter, and the logits."""
    model, _ = load_model(precision=precision)
    model.train()
    parameters = {p.data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 49152, (2, 128), generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=ids, labels=ids)
    kept[output.logits.untyped_storage().data_ptr()] = output.logits
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    planned = plan("course", precision, batch=2, context=128, training="full").activations
    assert planned == pytest.approx(measured, rel=0.25)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_full_training_bytes_are_what_adamw_keeps(precision: str) -> None:
    model, _ = load_model(precision=precision)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.ones(1, 4, dtype=torch.long), labels=torch.ones(1, 4, dtype=torch.long)).loss.backward()
    optimizer.step()
    gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)
    state = sum(
        value.numel() * value.element_size() for s in optimizer.state.values() for value in s.values() if value.numel() > 1
    )
    planned = plan("course", precision, context=4, training="full")
    assert planned.gradients == gradients
    assert planned.optimizer == state


@pytest.mark.parametrize("precision", ["fp32", "int8", "nf4"])
def test_lora_bytes_are_what_peft_makes(precision: str) -> None:
    from peft import LoraConfig, get_peft_model

    model, _ = load_model(precision=precision, device="cpu")
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    trainable, _ = adapted.get_nb_trainable_parameters()
    planned = plan("course", precision, context=16, training="lora", lora_rank=4, compute_dtype="fp32")
    assert planned.trainable == trainable
    assert planned.weights == pytest.approx(adapted.get_memory_footprint(), rel=0.05)
    assert (planned.gradients, planned.optimizer) == (4 * trainable, 8 * trainable)
    assert planned.kv_cache == 0


def test_total_is_the_sum_of_what_is_printed() -> None:
    planned = plan("llama-2-7b", "nf4", batch=2, context=1024, training="lora")
    lines = str(planned).splitlines()
    assert lines[0].startswith("llama-2-7b: 6.738 billion parameters, nf4, lora fine-tuning")
    numbers = [float(line.split()[1]) for line in lines[1:]]
    assert numbers[-1] == pytest.approx(sum(numbers[:-1]), abs=0.005)


def test_plan_refuses() -> None:
    with pytest.raises(CourseError, match="have no gradient"):
        plan("course", "int8", training="full")
    with pytest.raises(UnknownNameError, match="int8"):
        plan("course", "in8")
    with pytest.raises(UnknownNameError, match="lora"):
        plan("course", training="loar")  # type: ignore[arg-type]
    with pytest.raises(CourseError, match="at least 1"):
        plan("course", batch=0)


@pytest.mark.parametrize(
    ("precision", "device", "here"),
    [("int8", "cuda", T4), ("nf4", "cuda", T4), ("nf4", "cpu", replace(LAPTOP, ram_free=8 * GB))],
)
def test_a_7b_that_fits(precision: str, device: str, here: Hardware) -> None:
    check(plan("llama-2-7b", precision), device, here)


@pytest.mark.parametrize(
    ("model", "precision", "device", "here", "says"),
    [
        ("llama-2-7b", "bf16", "cuda", T4, ["14.7 GB", "15.0 GB free", 'precision="int8"', 'load_model("']),
        ("llama-2-7b", "fp16", "cuda", T4, ['precision="int8"']),
        ("llama-2-7b", "int8", "cpu", LAPTOP, ["6.0 GB free", "Colab with a T4", "weights"]),
        ("course", "fp32", "cuda", LAPTOP, ["none that torch can use", 'device="cpu"', "Colab"]),
        ("course", "int8", "cpu", replace(LAPTOP, bitsandbytes=None), ["pip install bitsandbytes"]),
        ("course", "nf4", "cuda", replace(T4, bitsandbytes=None), ["pip install bitsandbytes"]),
        ("course", "int8", "cuda", replace(T4, bitsandbytes_cuda=False), ["no kernels for CUDA", 'precision="fp16"']),
        ("course", "int8", "cuda", replace(T4, capability=(7, 0)), ["7.5 or more", "has 7.0"]),
        ("course", "nf4", "cuda", replace(T4, capability=(5, 0)), ["6.0 or more"]),
        ("course", "int8", "mps", MAC, ["Apple GPU", 'precision="fp16"', 'device="cpu"', "slow"]),
        ("course", "nf4", "mps", MAC, ["Apple GPU", 'precision="fp16"', 'device="cpu"']),
        ("course", "fp32", "mps", LAPTOP, ["Apple GPU", "none that torch can use", 'device="cpu"']),
        ("course", "fp32", "mps", T4, ["Apple GPU", 'device="cuda"', 'device="cpu"']),
        ("course", "fp32", "cuda", MAC, ["none that torch can use", 'device="mps"', 'device="cpu"']),
        ("tinyllama", "fp32", "mps", replace(MAC, gpu_free=4 * GB), ['precision="fp16", which would fit']),
        (
            "llama-2-7b",
            "fp16",
            "mps",
            MAC,
            ["the GPU has 9.0 GB", 'device="cpu", precision="nf4"', 'load_model("qwen2.5-1.5b")'],
        ),
        ("tinyllama", "fp32", "cuda", replace(T4, gpu_free=4 * GB), ['precision="fp16", which would fit']),
    ],
)
def test_what_does_not_fit(model: str, precision: str, device: str, here: Hardware, says: list[str]) -> None:
    with pytest.raises(InsufficientHardwareError) as caught:
        check(plan(model, precision), device, here)
    for part in [*says, "Ways out"]:
        assert part in str(caught.value)


def test_every_way_out_is_one() -> None:
    """What the message offers passes the check itself."""
    here = replace(LAPTOP, ram_free=20 * GB)
    with pytest.raises(InsufficientHardwareError) as caught:
        check(plan("llama-2-7b", "fp32"), "cpu", here)
    assert 'precision="bf16", which would fit' in str(caught.value) and 'load_model("qwen2.5-1.5b")' in str(caught.value)
    check(plan("llama-2-7b", "bf16"), "cpu", here)
    check(plan("qwen2.5-1.5b", "fp32"), "cpu", here)


def test_error_comes_before_any_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, no cache and no file are touched, and it takes about a second of the processor."""
    from course_utils import models

    monkeypatch.setattr(hardware, "detect", lambda: LAPTOP)
    monkeypatch.setattr(models, "_source", lambda name: pytest.fail("it went on to the weights"))
    plan("llama-2-7b")  # the first use of transformers' model classes takes seconds
    started = time.process_time()
    with pytest.raises(InsufficientHardwareError, match="does not fit"):
        load_model("llama-2-7b", precision="int8")
    assert time.process_time() - started < 5


def test_auto_precision_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which precision `auto` asks for, seen in the plan that is checked."""
    asked: list[str] = []

    def stop(wanted: hardware.Plan, device: str, here: Hardware) -> None:
        asked.append(wanted.precision)
        raise InsufficientHardwareError("stop here")

    real = hardware.fits
    for here, name, expected in (
        (T4, "course", "fp16"),
        (T4, "llama-2-7b", "int8"),
        (replace(T4, gpu_free=8 * GB), "llama-2-7b", "nf4"),
        (replace(T4, capability=(8, 0)), "course", "bf16"),
        (MAC, "course", "fp32"),
        (replace(MAC, gpu_free=4 * GB), "tinyllama", "fp16"),
        (replace(MAC, gpu_free=4 * GB), "llama-2-7b", "fp16"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(hardware, "detect", lambda here=here: here)
            fitting = {p: real(plan(name, p), str(here.accelerator), here) for p in hardware.PRECISIONS}
            patch.setattr(hardware, "fits", lambda wanted, device, here, f=fitting: f[wanted.precision])
            patch.setattr(hardware, "check", stop)
            with pytest.raises(InsufficientHardwareError, match="stop here"):
                load_model(name)
        assert asked[-1] == expected


def test_a_gpu_of_which_nothing_is_said_is_cuda_s() -> None:
    assert T4.accelerator == "cuda" and replace(LAPTOP, gpu="Tesla T4").accelerator == "cuda"
    assert LAPTOP.accelerator is None and replace(MAC, gpu=None).accelerator is None
    assert (MAC.free("mps"), MAC.free("cpu"), T4.free("cuda"), T4.free("cpu")) == (9 * GB, 9 * GB, 15 * GB, 12 * GB)
    assert not replace(MAC, capability=(9, 0)).bf16_on_gpu
    assert [
        MAC.compute_dtype("mps"),
        MAC.compute_dtype("cpu"),
        T4.compute_dtype("cuda"),
        replace(T4, capability=(8, 0)).compute_dtype("cuda"),
    ] == [
        "fp16",
        "fp32",
        "fp16",
        "bf16",
    ]


def test_an_apple_gpu_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(hardware, "_ram_free", lambda: 8 * GB)
    seen = hardware.detect()  # this torch knows nothing about Metal, so the memory is the machine's
    assert (seen.accelerator, seen.gpu) == ("mps", "Apple GPU") and seen.bitsandbytes_problem is None
    assert seen.gpu_memory == psutil.virtual_memory().total and seen.gpu_free == min(8 * GB, seen.gpu_memory)
    monkeypatch.setattr(torch.backends.mps, "get_name", lambda: "Apple M2 Pro")
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 11 * GB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 5 * GB)
    seen = hardware.detect()
    assert (seen.gpu, seen.gpu_memory, seen.gpu_free) == ("Apple M2 Pro", 11 * GB, 6 * GB)
    assert seen.free("mps") == 6 * GB and seen.free("cpu") == 8 * GB
    assert "Apple M2 Pro, 6.0 of 11.0 GB free, shared with the CPU; mps" in str(seen) and "kernels for CPU\n" not in str(
        seen
    )
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 0)
    assert hardware.detect().gpu_free == 8 * GB  # what Metal would give, the system may not have


def test_a_machine_without_linux_s_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows and macOS have neither os.sched_getaffinity nor /proc."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(hardware, "Path", lambda _: tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: "Intel64 Family 6 Model 158")
    hardware._cpu_name.cache_clear()
    try:
        seen = hardware.detect()
    finally:
        hardware._cpu_name.cache_clear()
    assert seen.cores == os.cpu_count() and seen.ram_free > 0 and seen.cpu == "Intel64 Family 6 Model 158"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose torch says that it has a T4."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (15 * GB, 16 * GB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    hardware._bitsandbytes_problem.cache_clear()
    yield
    hardware._bitsandbytes_problem.cache_clear()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ImportError("libcusparse.so.12: cannot open shared object file\nand more"),
            "ImportError: libcusparse.so.12: ",
        ),
        (OSError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found"), "OSError: libstdc++.so.6: version"),
        (RuntimeError("bitsandbytes: failed to load backend hpu"), "RuntimeError: bitsandbytes: failed to load backend hpu"),
        (AttributeError("module 'triton.language' has no attribute 'x'"), "AttributeError: module 'triton.language'"),
    ],
)
def test_a_broken_bitsandbytes_says_why(error: Exception, says: str, cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.startswith("bitsandbytes"):
                raise error

    for name in [name for name in sys.modules if name.split(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    seen = hardware.detect()
    assert not seen.bitsandbytes_cuda and "its import fails" in str(seen.bitsandbytes_problem)
    with pytest.raises(InsufficientHardwareError) as caught:
        check(plan("course", "int8"), "cuda", seen)
    for text in (str(caught.value), str(seen)):
        assert says in text and "and more" not in text


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        (SimpleNamespace(compiled_with_cuda=True), None),
        (SimpleNamespace(compiled_with_cuda=False), "its library is built for the CPU only"),
        (
            SimpleNamespace(compiled_with_cuda=False, error_msg="libcudart.so.13: cannot open shared object file"),
            "its library cannot be opened: libcudart.so.13: cannot open shared object file",
        ),
    ],
)
def test_kernels_of_bitsandbytes(
    library: SimpleNamespace, problem: str | None, cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bitsandbytes.cextension, "lib", library)
    seen = hardware.detect()
    assert (seen.gpu, seen.accelerator, seen.capability) == ("Tesla T4", "cuda", (7, 5))
    assert (seen.bitsandbytes_cuda, seen.bitsandbytes_problem) == (problem is None, problem)


def test_what_stands_in_for_bitsandbytes_library_has_the_reason() -> None:
    """`_bitsandbytes_problem` reads an attribute of bitsandbytes' own."""
    cextension = bitsandbytes.cextension
    assert vars(cextension.ErrorHandlerMockBNBNativeLibrary("no such file"))["error_msg"] == "no such file"
    assert not cextension.ErrorHandlerMockBNBNativeLibrary("no such file").compiled_with_cuda


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    hardware.report()
    said = capsys.readouterr().out
    for part in ("machine", "CPU", "GPU", "torch", "transformers", "bitsandbytes", "GB"):
        assert part in said
    assert "no bf16 in hardware" in str(T4) and "bf16 in hardware" in str(replace(T4, capability=(8, 0)))


def test_free_memory_is_less_than_there_is() -> None:
    assert 0 < hardware.detect().ram_free <= psutil.virtual_memory().total


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("300000000\n", encoding="utf-8")
    (tmp_path / "memory.max").write_text("1000000000\n", encoding="utf-8")
    assert hardware._ram_free(tmp_path) == 700_000_000
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    assert hardware._ram_free(tmp_path) > 700_000_000
