"""The plan against what is published and measured, and the check on machines that we only describe."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

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
    planned = plan("course", precision, context=16, training="lora", lora_rank=4, other="fp32")
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
    assert 'precision="bf16", which would fit' in str(caught.value) and 'load_model("tinyllama")' in str(caught.value)
    check(plan("llama-2-7b", "bf16"), "cpu", here)
    check(plan("tinyllama", "fp32"), "cpu", here)


def test_error_comes_before_any_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, no cache and no file are touched, and it takes about a second."""
    from course_utils import models

    monkeypatch.setattr(hardware, "detect", lambda: LAPTOP)
    monkeypatch.setattr(models, "_source", lambda name: pytest.fail("it went on to the weights"))
    plan("llama-2-7b")  # the first use of transformers' model classes takes seconds
    started = time.perf_counter()
    with pytest.raises(InsufficientHardwareError, match="does not fit"):
        load_model("llama-2-7b", precision="int8")
    assert time.perf_counter() - started < 5


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
    ):
        with monkeypatch.context() as patch:
            patch.setattr(hardware, "detect", lambda here=here: here)
            fitting = {p: real(plan(name, p), "cuda", here) for p in hardware.PRECISIONS}
            patch.setattr(hardware, "fits", lambda wanted, device, here, f=fitting: f[wanted.precision])
            patch.setattr(hardware, "check", stop)
            with pytest.raises(InsufficientHardwareError, match="stop here"):
                load_model(name)
        assert asked[-1] == expected


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    hardware.report()
    said = capsys.readouterr().out
    for part in ("machine", "CPU", "GPU", "torch", "transformers", "bitsandbytes", "GB"):
        assert part in said
    assert "no bf16 in hardware" in str(T4) and "bf16 in hardware" in str(replace(T4, capability=(8, 0)))


def test_free_memory_is_less_than_there_is() -> None:
    assert 0 < hardware.detect().ram_free <= psutil.virtual_memory().total


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("300000000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    assert hardware._ram_free(tmp_path) == 700_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware._ram_free(tmp_path) > 700_000_000
