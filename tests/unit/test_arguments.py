"""What people type into load_model: followed where it means one thing, else one sentence that says what to write."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from transformers import BitsAndBytesConfig, GPTQConfig

from course_utils import arguments, hardware, load_model, models
from course_utils.errors import ArgumentError, CourseError, UnknownNameError
from course_utils.hardware import GB, Hardware, InsufficientHardwareError

EIGHT = BitsAndBytesConfig(load_in_8bit=True)
NF4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def read(*given: object, **keywords: object) -> arguments.Request:
    """`arguments.read`, called as load_model is."""
    bound = inspect.signature(load_model).bind(*given, **keywords)
    bound.apply_defaults()
    return arguments.read(*(bound.arguments[name] for name in arguments._OWN), bound.arguments["kwargs"])


@pytest.mark.parametrize(
    ("keywords", "precision"),
    [
        ({}, "auto"),
        ({"precision": None}, "auto"),
        ({"load_in_8bit": True}, "int8"),
        ({"load_in_8bit": True, "load_in_4bit": False}, "int8"),
        ({"load_in_8bit": False}, "auto"),
        ({"load_in_4bit": True}, "nf4"),
        ({"precision": "int8", "load_in_8bit": True}, "int8"),
        ({"quantization_config": EIGHT}, "int8"),
        ({"quantization_config": NF4}, "nf4"),
        ({"quantization_config": {"load_in_8bit": True, "quant_method": "bitsandbytes"}}, "int8"),
        ({"quantization_config": None}, "auto"),
        ({"dtype": torch.float16}, "fp16"),
        ({"torch_dtype": torch.bfloat16}, "bf16"),
        ({"torch_dtype": "float32"}, "fp32"),
        ({"torch_dtype": "torch.float16"}, "fp16"),
        ({"torch_dtype": "auto"}, "auto"),
        ({"dtype": "fp16", "torch_dtype": torch.float16}, "fp16"),
        ({"precision": torch.float16}, "fp16"),
        ({"precision": "float16"}, "fp16"),
        ({"precision": "FP16"}, "fp16"),
        ({"precision": "half"}, "fp16"),
        ({"precision": "bfloat16"}, "bf16"),
        ({"precision": "8bit"}, "int8"),
        ({"precision": "4-bit"}, "nf4"),
        ({"precision": 8}, "int8"),
    ],
)
def test_words_for_a_precision(keywords: dict[str, Any], precision: str) -> None:
    asked = read(**keywords)
    assert asked.precision == precision and asked.compute_dtype is None
    assert set(asked.rest) == set()


def test_dtype_beside_a_quantized_precision_is_that_of_the_rest() -> None:
    for keywords in ({"load_in_8bit": True}, {"precision": "int8"}, {"quantization_config": EIGHT}):
        asked = read(**keywords, torch_dtype=torch.float16)
        assert (asked.precision, asked.compute_dtype) == ("int8", "fp16")


@pytest.mark.parametrize(
    ("keywords", "device"),
    [
        ({}, "auto"),
        ({"device": None}, "auto"),
        ({"device_map": "auto"}, "auto"),
        ({"device_map": None}, "auto"),
        ({"device_map": "cuda"}, "cuda"),
        ({"device_map": 0}, "cuda"),
        ({"device_map": {"": 0}}, "cuda"),
        ({"device_map": {"": "cpu"}}, "cpu"),
        ({"device_map": {"model": "cpu", "lm_head": torch.device("cpu")}}, "cpu"),
        ({"device_map": torch.device("cuda", 0)}, "cuda"),
        ({"device": "cuda", "device_map": "auto"}, "cuda"),
        ({"device": "cuda:0"}, "cuda"),
        ({"device": torch.device("cuda")}, "cuda"),
        ({"device": torch.device("cpu")}, "cpu"),
        ({"device": "mps"}, "mps"),
        ({"device": torch.device("mps")}, "mps"),
        ({"device": "CPU"}, "cpu"),
        ({"device": -1}, "cpu"),
    ],
)
def test_words_for_a_device(keywords: dict[str, Any], device: str) -> None:
    assert read(**keywords).device == device


@pytest.mark.parametrize(
    ("given", "keywords", "says"),
    [
        ((), {"precision": "fp16", "load_in_8bit": True}, ["precision='fp16' and load_in_8bit=True", "Keep one"]),
        ((), {"load_in_8bit": True, "load_in_4bit": True}, ["load_in_8bit=True and load_in_4bit=True"]),
        (
            (),
            {"precision": "nf4", "quantization_config": EIGHT},
            ["precision='nf4' and quantization_config=BitsAndBytesConfig("],
        ),
        ((), {"precision": "fp32", "dtype": "float16"}, ["precision='fp32' and dtype='float16'"]),
        ((), {"dtype": "float16", "torch_dtype": torch.float32}, ["dtype='float16' and torch_dtype=torch.float32"]),
        ((), {"dtype": torch.float64}, ["dtype=torch.float64", "precision=", "fp32, bf16"]),
        ((), {"torch_dtype": {"": torch.float16}}, ["torch_dtype={", "precision="]),
        (
            (),
            {"quantization_config": GPTQConfig(bits=4, dataset=["a"])},
            ["quantization_config", "GPTQConfig", 'precision="int8"'],
        ),
        ((), {"quantization_config": {"bits": 4}}, ["quantization_config", "a dict", 'precision="int8"']),
        ((), {"quantization_config": BitsAndBytesConfig()}, ["quantization_config", "load_in_8bit", 'precision="int8"']),
        ((), {"quantization_config": {"load_in_8bit": True, "load_in_4bit": True}}, ["quantization_config", "both True"]),
        ((), {"device": "cpu", "device_map": "cuda"}, ["device='cpu' and device_map='cuda'", "Keep one"]),
        ((), {"device_map": "balanced"}, ["device_map='balanced'", "device="]),
        ((), {"device_map": {"model": 0, "lm_head": "cpu"}}, ["device_map=", "one device", "device="]),
        ((), {"device_map": {"model": 0, "lm_head": "disk"}}, ["device_map='disk'", "device="]),
        ((), {"device": "cuda:1"}, ["device='cuda:1'", "CUDA_VISIBLE_DEVICES=1", 'device="cuda"']),
        ((), {"device_map": 2}, ["device_map=2", "CUDA_VISIBLE_DEVICES=2"]),
        ((), {"max_memory": {0: "10GB"}}, ["max_memory", "device="]),
        ((), {"gguf_file": "model.gguf"}, ["gguf_file", "safetensors"]),
        ((), {"output_loading_info": True}, ["output_loading_info", "(model, tokenizer)"]),
        ((), {"proxies": {"https": "http://127.0.0.1:9"}}, ["proxies", "HTTPS_PROXY"]),
        ((torch.device("cpu"),), {}, ["name=", "device", 'device="cpu"']),
        (("cuda:0",), {}, ["'cuda:0'", 'device="cuda"']),
        (("int8",), {}, ["'int8'", 'precision="int8"']),
        ((torch.float16,), {}, ["torch.float16", 'precision="fp16"']),
        (("masked-lm",), {}, ['task="masked-lm"']),
        (("course", "int8"), {}, ["task=", 'precision="int8"']),
        (("course", "cuda"), {}, ["task=", 'device="cuda"']),
        (("course", None, "cpu"), {}, ["precision=", 'device="cpu"']),
        (("course",), {"device": "8bit"}, ["device=", 'precision="int8"']),
        ((None,), {}, ["name or a folder", "NoneType"]),
        ((torch.nn.Linear(1, 1),), {}, ["folder", "Linear"]),
    ],
)
def test_one_sentence_that_says_what_to_write(given: tuple[object, ...], keywords: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        read(*given, **keywords)
    assert "\n" not in str(caught.value)
    for part in says:
        assert part in str(caught.value)


def test_a_folder_may_be_called_as_a_device_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.make("tinyllama", tmp_path / "cpu")
    monkeypatch.chdir(tmp_path)
    assert load_model("cpu")[0].num_parameters() > 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make("tinyllama", tmp_path_factory.mktemp("arguments") / "model")


def test_the_deck_s_own_call(folder: Path) -> None:
    import bitsandbytes as bnb

    model, _ = load_model(folder, task="sequence-classification", load_in_8bit=True, device_map="auto", num_labels=5)
    assert isinstance(model.model.layers[0].mlp.up_proj, bnb.nn.Linear8bitLt)
    assert model.score.out_features == 5 and model.dtype == torch.float32
    model, _ = load_model(folder, load_in_8bit=True, device_map="auto", torch_dtype=torch.float16)
    assert isinstance(model.model.layers[0].mlp.up_proj, bnb.nn.Linear8bitLt) and model.dtype == torch.float16


def test_a_config_of_bitsandbytes_is_passed_on_as_it_is(folder: Path) -> None:
    config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=3.0, llm_int8_skip_modules=["lm_head", "up_proj"])
    model, _ = load_model(folder, quantization_config=config)
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear
    assert model.model.layers[0].mlp.down_proj.state.threshold == 3.0
    model, _ = load_model(folder, quantization_config=NF4)
    linear = model.model.layers[0].mlp.up_proj
    assert (linear.weight.quant_type, linear.compute_dtype) == ("nf4", torch.bfloat16)


@pytest.mark.parametrize(("keyword", "value"), [("dtype", torch.float16), ("torch_dtype", "bfloat16")])
def test_a_dtype_is_obeyed(folder: Path, keyword: str, value: object) -> None:
    assert load_model(folder, **{keyword: value})[0].dtype == getattr(torch, str(value).removeprefix("torch."))


@pytest.mark.parametrize(
    ("keywords", "hint"),
    [
        ({"presicion": "int8"}, "Did you mean 'precision'?"),
        ({"devcie": "cpu"}, "Did you mean 'device'?"),
        ({"num_label": 5}, "Did you mean 'num_labels'?"),
        ({"load_in_8_bit": True}, "Did you mean 'load_in_8bit'?"),
        ({"attention_implementation": "eager"}, "Did you mean 'attn_implementation'?"),
        ({"model": "course"}, "Write name="),
        ({"bits": 8}, 'Write precision="int8" or precision="nf4"'),
        ({"fp16": True}, 'Write precision="fp16"'),
        ({"half": True}, 'Write precision="fp16"'),
        ({"use_auth_token": "x"}, "Write token="),
        ({"padding_side": "left"}, "Write tokenizer.padding_side = … afterwards"),
        ({"bnb_4bit_quant_type": "nf4"}, "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=…)"),
        ({"llm_int8_threshold": 6.0}, "BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=…)"),
        ({"wombat": 1}, "no argument 'wombat'. Its own are name, task, precision, device"),
    ],
)
def test_an_unknown_keyword(folder: Path, keywords: dict[str, Any], hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_source", lambda name: pytest.fail("it went on to the weights"))
    for name in (folder, "tinyllama"):  # of a folder, of a model on the hub
        with pytest.raises(UnknownNameError) as caught:
            load_model(name, **keywords)
        assert hint in str(caught.value) and "could not be fetched" not in str(caught.value)


def test_keywords_that_transformers_knows(folder: Path, tmp_path: Path) -> None:
    """Its own, settings of the model, and arguments of the model's class."""
    model, _ = load_model(
        folder, attn_implementation="eager", low_cpu_mem_usage=True, use_cache=False, trust_remote_code=False, token="x"
    )
    assert model.config._attn_implementation == "eager" and model.config.use_cache is False
    bert = checkpoints.make("bert-base", tmp_path / "bert")
    assert load_model(bert, task="feature-extraction", add_pooling_layer=False)[0].pooler is None


def test_a_value_that_transformers_refuses(folder: Path) -> None:
    with pytest.raises(CourseError, match='cannot load model: Specified `attn_implementation="egaer"` is not supported'):
        load_model(folder, attn_implementation="egaer")


def test_every_keyword_of_from_pretrained_has_a_place() -> None:
    """Seen in its source, so that a newer transformers' keywords are not called unknown."""
    from transformers import PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    taken = set(inspect.signature(PreTrainedModel.from_pretrained).parameters)
    for function in (PreTrainedModel.from_pretrained, _BaseAutoModelClass.from_pretrained):
        taken |= set(re.findall(r'kwargs\.(?:pop|get)\(\s*"(\w+)"', inspect.getsource(function)))
    ours = {*arguments.PASSED_ON, *arguments._HUB, *arguments._READ, *arguments._REFUSED}
    others = {"pretrained_model_name_or_path", "model_args", "kwargs"}
    assert {name for name in taken - ours - others if not name.startswith("_")} == set()


MAC = Hardware(
    cpu="Apple M2", cores=8, ram_free=9 * GB, gpu="Apple M2", gpu_memory=11 * GB, gpu_free=9 * GB, accelerator="mps"
)


@pytest.mark.parametrize(
    ("keywords", "dtype", "device"),
    [
        ({}, torch.float32, "mps"),
        ({"device": "mps", "precision": "fp16"}, torch.float16, "mps"),
        ({"precision": "bf16"}, torch.bfloat16, "mps"),
        ({"device": "cpu"}, torch.float32, "cpu"),
        ({"load_in_8bit": True, "device_map": "auto"}, torch.float32, "cpu"),
        ({"precision": "nf4"}, torch.float32, "cpu"),
    ],
)
def test_on_an_apple_gpu(
    folder: Path,
    keywords: dict[str, Any],
    dtype: torch.dtype,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What from_pretrained is asked for: no such GPU is here."""
    from transformers import AutoModelForCausalLM

    real, asked = AutoModelForCausalLM.from_pretrained, []

    def from_pretrained(source: str, **settings: Any) -> Any:
        asked.append(settings)
        return real(source, **{**settings, "device_map": "cpu"})

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(hardware, "detect", lambda: replace(MAC, bitsandbytes="0.50.2"))
    models._said.clear()
    load_model(folder, **keywords)
    assert (asked[0]["dtype"], asked[0]["device_map"]) == (dtype, device)
    quantized = "quantization_config" in asked[0]
    assert quantized == ("none for Apple GPUs" in capsys.readouterr().err)


def test_int8_on_an_apple_gpu_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "detect", lambda: replace(MAC, bitsandbytes="0.50.2"))
    with pytest.raises(InsufficientHardwareError, match=r'precision="fp16", on the GPU; or device="cpu", where int8 runs'):
        load_model(folder, precision="int8", device="mps")


def test_a_broken_bitsandbytes_on_a_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        InsufficientHardwareError, match=r"(?s)its import fails, ModuleNotFoundError: .*bitsandbytes.*Ways out"
    ):
        load_model(folder, load_in_8bit=True, device="cpu")
