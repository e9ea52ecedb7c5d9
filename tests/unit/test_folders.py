"""Folders that people give to load_model: adapters on their base, and what is wrong with the others, in one message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from course_utils import folders, generate, hardware, load_model, models, weights
from course_utils.errors import ArgumentError, CourseError, DownloadError, UnknownNameError
from course_utils.registry import REGISTRY

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make("tinyllama", tmp_path_factory.mktemp("folders") / "made")


@pytest.fixture
def model_folder(made: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "model"))


def as_bin(folder: Path) -> Path:
    """The weights as a pickle."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def cut(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])


def shards(folder: Path) -> None:
    """Two files of weights, of which one is gone."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    names = {name: f"model-0000{1 + (name == 'lm_head.weight')}-of-00002.safetensors" for name in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}), encoding="utf-8")


def one_deep(folder: Path) -> None:
    inside = folder / "checkpoint-10"
    inside.mkdir()
    for file in list(folder.iterdir()):
        if file != inside:
            file.rename(inside / file.name)


def only(folder: Path, *names: str) -> None:
    for file in list(folder.iterdir()):
        file.unlink()
    for name in names:
        (folder / name).write_bytes(b"x" * 2000)


def change(folder: Path, **settings: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **settings}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: only(f), ["is empty"]),
        (lambda f: only(f, "notes.txt"), ["no config.json", "not a transformers checkpoint"]),
        (lambda f: only(f, "SmolLM2.Q4_1.gguf"), ["no config.json", "SmolLM2.Q4_1.gguf", "llama.cpp", "gguf_file="]),
        (lambda f: only(f, "model.zip"), ["no config.json", "Unpack model.zip"]),
        (lambda f: (f / "config.json").unlink(), ["no config.json", "model.safetensors", "copy the config.json"]),
        (one_deep, ["no config.json", 'load_model("', 'model/checkpoint-10")']),
        (
            lambda f: (f / "config.json").write_text(POINTER, encoding="utf-8"),
            ["config.json is a Git LFS pointer", "git lfs pull"],
        ),
        (
            lambda f: (f / "model.safetensors").write_text(POINTER, encoding="utf-8"),
            ["model.safetensors is a Git LFS pointer", "git lfs pull"],
        ),
        (
            lambda f: as_bin(f).write_text(POINTER, encoding="utf-8"),
            ["pytorch_model.bin is a Git LFS pointer", "git lfs pull"],
        ),
        (lambda f: (f / "tokenizer.json").write_text(POINTER, encoding="utf-8"), ["tokenizer.json is a Git LFS pointer"]),
        (
            lambda f: [file.write_text(POINTER, encoding="utf-8") for file in f.iterdir()],
            ["are Git LFS pointers", "config.json", "and 1 more"],
        ),
        (
            lambda f: (f / "config.json").write_text("<html>404</html>", encoding="utf-8"),
            ["config.json is not JSON", "Get it again"],
        ),
        (lambda f: cut(f / "config.json", 100), ["config.json is not JSON"]),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), ["config.json is not JSON"]),
        (lambda f: (f / "config.json").write_text("[]", encoding="utf-8"), ["config.json", "a list"]),
        (lambda f: (f / "config.json").write_text("{}", encoding="utf-8"), ["cannot load model", "model_type"]),
        (lambda f: change(f, model_type="llama9"), ["cannot load model", "llama9"]),
        (lambda f: change(f, intermediate_size=128), ["other shapes than its configuration"]),
        (
            lambda f: (f / "model.safetensors").unlink(),
            ["a config.json and no weights", "model.safetensors", "save_pretrained"],
        ),
        (
            lambda f: (f / "model.safetensors").rename(f / "tf_model.h5"),
            ["a config.json and no weights", "What it has (tf_model.h5)"],
        ),
        (shards, ["lacks 1 of the 2 files", "model.safetensors.index.json", "model-00002-of-00002.safetensors"]),
        (lambda f: cut(f / "model.safetensors", 3000), ["weights of model are damaged", "a fresh copy"]),
        (lambda f: cut(f / "model.safetensors", 0), ["weights of model are damaged"]),
        (lambda f: cut(as_bin(f), -500), ["weights of model are damaged"]),
        (lambda f: cut(as_bin(f), 5000), ["weights of model are damaged"]),
        (lambda f: cut(as_bin(f), 0), ["weights of model are damaged"]),
        (lambda f: as_bin(f).write_text("<html>404</html>", encoding="utf-8"), ["weights of model are damaged"]),
        (lambda f: torch.save({"a": Path("x")}, as_bin(f)), ["could run any program", "as safetensors"]),
        (
            lambda f: [(f / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
            ["a model and no tokenizer", "tokenizer.save_pretrained(", "load_model()[1].save_pretrained("],
        ),
        (lambda f: (f / "tokenizer.json").unlink(), ["a model and no tokenizer", "tokenizer.save_pretrained("]),
        (lambda f: cut(f / "tokenizer.json", 100), ["no tokenizer that transformers can read"]),
        (lambda f: change(f, quantization_config={"quant_method": "gptq", "bits": 4}), ["the format gptq", "does not read"]),
    ],
)
def test_what_is_wrong_with_a_folder(damage: Callable[[Path], object], says: list[str], model_folder: Path) -> None:
    damage(model_folder)
    with pytest.raises(CourseError) as caught:
        load_model(model_folder)
    for part in says:
        assert part in str(caught.value)
    assert len(caught.value._render_traceback_()) == 1


@pytest.mark.parametrize("name", [name for name in REGISTRY if name != "course"])
def test_no_tokenizer_beside_any_architecture(name: str, tmp_path: Path) -> None:
    folder = checkpoints.make(name, tmp_path / name)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(CourseError, match="a model and no tokenizer"):
        load_model(folder)


def test_weights_of_other_names_and_kinds_are_read(made: Path, model_folder: Path) -> None:
    want = load_model(made)[0].state_dict()
    as_bin(model_folder)
    got = load_model(model_folder)[0].state_dict()
    assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)
    shutil.copy(made / "model.safetensors", model_folder / "model.fp16.safetensors")
    (model_folder / "pytorch_model.bin").unlink()
    assert load_model(model_folder, variant="fp16")[0].num_parameters() > 0


def test_a_subfolder(made: Path) -> None:
    assert load_model(made.parent, subfolder=made.name)[0].num_parameters() > 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.safetensors", ["is a file", 'Write load_model("']),
        ("model.gguf", ["is a file", "llama.cpp", 'gguf_file="model.gguf"']),
        ("model.zip", ["is a file", "Unpack it"]),
    ],
)
def test_a_file_instead_of_a_folder(name: str, says: list[str], model_folder: Path) -> None:
    (model_folder / name).touch()
    for path in (model_folder / name, str(model_folder / name)):
        with pytest.raises(CourseError) as caught:
            load_model(path)
        for part in says:
            assert part in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="Nor is there such a folder; the notebook runs in") as caught:
        load_model("./out/merged/last")
    assert str(tmp_path) in str(caught.value)


def test_a_task_that_a_folder_s_model_has_not(made: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Known: causal-lm, sequence-classification, feature-extraction"):
        load_model(made, task="masked-lm")


@pytest.mark.parametrize("precision", hardware.QUANTIZED)
def test_a_model_saved_in_few_bits(precision: str, made: Path, tmp_path: Path) -> None:
    """It comes back as it was saved, whether or not the precision is named; another cannot be made from it."""
    model, tokenizer = load_model(made, precision=precision, device="cpu")
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kind = type(model.model.layers[0].mlp.up_proj)
    for asked in ("auto", precision):
        assert type(load_model(folder, precision=asked, device="cpu")[0].model.layers[0].mlp.up_proj) is kind
    with pytest.raises(ArgumentError, match=f"was saved in {precision}, from which fp16 cannot be had"):
        load_model(folder, precision="fp16")


def train(folder: Path, target: Path, **settings: Any) -> torch.Tensor:
    """Write an adapter with weights that show; return the logits of the model with it."""
    torch.manual_seed(0)
    task = "sequence-classification" if settings.get("task_type") == "SEQ_CLS" else None
    labels = {"num_labels": 5} if task else {}
    model, tokenizer = load_model(folder, task=task, precision="fp32", device="cpu", **labels)
    config = {"r": 2, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    adapted = get_peft_model(model, LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.normal_(std=0.3)
    adapted.save_pretrained(target)
    return logits(adapted.eval(), tokenizer)


def logits(model: torch.nn.Module, tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(**tokenizer("a b c", return_tensors="pt", return_token_type_ids=False)).logits


class TestAdapter:
    def test_is_put_on_its_base(self, made: Path, tmp_path: Path) -> None:
        want = train(made, tmp_path / "adapter")
        model, tokenizer = load_model(tmp_path / "adapter", precision="fp32")
        assert isinstance(model, PeftModel) and not model.training
        got = logits(model, tokenizer)
        assert torch.allclose(got, want, atol=1e-5)
        assert not torch.allclose(got, logits(*load_model(made, precision="fp32")), atol=0.1)
        assert isinstance(generate(model, tokenizer, "a b", max_new_tokens=3), str)
        assert hardware.plan(tmp_path / "adapter").parameters == hardware.plan(made).parameters

    @pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
    def test_in_every_precision(self, precision: str, made: Path, tmp_path: Path) -> None:
        want = train(made, tmp_path / "adapter")
        model, tokenizer = load_model(tmp_path / "adapter", precision=precision, device="cpu")
        kind = type(load_model(made, precision=precision, device="cpu")[0].model.layers[0].mlp.up_proj)
        assert type(model.get_base_model().model.layers[0].mlp.up_proj.base_layer) is kind
        got = logits(model, tokenizer).float()
        assert torch.nn.functional.cosine_similarity(got.flatten(), want.flatten(), dim=0) > 0.98

    def test_brings_its_head_and_its_labels(self, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        want = train(made, tmp_path / "adapter", task_type="SEQ_CLS")
        models._said.clear()
        capsys.readouterr()
        model, tokenizer = load_model(tmp_path / "adapter", precision="fp32")
        assert type(model.get_base_model()).__name__ == "LlamaForSequenceClassification"
        got = logits(model, tokenizer)
        assert got.shape == (1, 5) and torch.allclose(got, want, atol=1e-5)
        assert "random" not in capsys.readouterr().err

    def test_own_tokenizer_comes_first(self, made: Path, tmp_path: Path) -> None:
        train(made, tmp_path / "adapter")
        _, tokenizer = load_model(made)
        tokenizer.chat_template = "{{ messages[0]['content'] }}"
        tokenizer.save_pretrained(tmp_path / "adapter")
        assert load_model(tmp_path / "adapter")[1].chat_template == tokenizer.chat_template

    @pytest.mark.parametrize(
        "base",
        [
            REGISTRY["course"].hub_id,
            "/root/.cache/llm-course/models/SmolLM2-135M-Instruct-bcc81830",
            "C:\\Users\\me\\AppData\\Local\\llm-course\\models\\SmolLM2-135M-Instruct-bcc81830",
        ],
    )
    def test_the_course_model_is_a_base_everywhere(self, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Adapters trained on another machine, or published; without the hub."""
        train(weights.path(), tmp_path / "adapter", target_modules=["q_proj"])
        rename(tmp_path / "adapter", base)
        monkeypatch.setattr(models, "reach_hub", lambda *_, **__: pytest.fail("it asked the hub"))
        model, _ = load_model(tmp_path / "adapter", precision="fp32")
        assert model.get_base_model().config.hidden_size == 576

    def test_a_base_beside_it(self, made: Path, tmp_path: Path) -> None:
        train(made, tmp_path / "adapter")
        shutil.copytree(made, tmp_path / "adapter" / "base")
        rename(tmp_path / "adapter", "base")
        assert isinstance(load_model(tmp_path / "adapter")[0], PeftModel)

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            (
                lambda f: rename(f, "/content/drive/MyDrive/llama"),
                ["not on this machine: /content/drive", "adapter_config.json"],
            ),
            (lambda f: rename(f, None), ["names no base model", "base_model_name_or_path"]),
            (lambda f: rename(f, str(f)), ["an adapter again", "merge_and_unload"]),
            (lambda f: (f / "adapter_model.safetensors").unlink(), ["an adapter without its weights"]),
            (
                lambda f: (f / "adapter_model.safetensors").write_text(POINTER, encoding="utf-8"),
                ["adapter_model.safetensors is a Git LFS pointer"],
            ),
            (lambda f: cut(f / "adapter_model.safetensors", 900), ["weights of the adapter", "damaged"]),
            (lambda f: cut(f / "adapter_config.json", 100), ["adapter_config.json is not JSON"]),
            (lambda f: rename(f, str(checkpoints.make("bloomz-560m", f.parent / "bloom"))), ["does not fit its base"]),
        ],
    )
    def test_what_is_wrong_with_it(
        self, damage: Callable[[Path], object], says: list[str], made: Path, tmp_path: Path
    ) -> None:
        train(made, tmp_path / "adapter")
        damage(tmp_path / "adapter")
        with pytest.raises(CourseError) as caught:
            load_model(tmp_path / "adapter")
        for part in says:
            assert part in str(caught.value)

    def test_beside_a_whole_model_it_is_not_guessed(self, made: Path, model_folder: Path) -> None:
        train(made, model_folder)
        with pytest.raises(CourseError, match="holds a whole model and an adapter"):
            load_model(model_folder)

    def test_a_base_that_the_hub_does_not_give(self, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise DownloadError("nobody/nothing could not be fetched")

        train(made, tmp_path / "adapter")
        rename(tmp_path / "adapter", "nobody/nothing")
        monkeypatch.setattr("course_utils.registry.reach_hub", refuse)
        with pytest.raises(DownloadError, match=r"needs its base model\. nobody/nothing could not be"):
            load_model(tmp_path / "adapter")

    def test_its_task(self, made: Path, tmp_path: Path) -> None:
        train(made, tmp_path / "adapter")
        found = folders.adapter(tmp_path / "adapter")
        assert found == folders.Adapter(tmp_path / "adapter", str(made), "causal-lm")
        assert folders.adapter(made) is None


def rename(adapter: Path, base: str | None) -> None:
    """Write another base into an adapter's configuration."""
    file = adapter / "adapter_config.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text(encoding="utf-8")), "base_model_name_or_path": base}), encoding="utf-8"
    )
