"""`COURSE_HUB=modelscope`: models by ModelScope's own client, from a server on this machine; what is pinned and refused."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import checkpoints
import modelscope_server
import pytest

from course_utils import load_model, modelscope, registry
from course_utils.errors import ArgumentError, ChecksumError, CourseError, DownloadError

NAME, HUB_ID = "qwen3-0.6b", "Qwen/Qwen3-0.6B"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model under the name of a large one, whose weights the registry pins; the cache is empty."""
    folder = checkpoints.make(NAME, tmp_path / "served")
    pinned = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.safetensors", "tokenizer.json")
    }
    monkeypatch.setitem(registry.REGISTRY, NAME, dataclasses.replace(registry.REGISTRY[NAME], sha256=pinned))
    monkeypatch.setenv("COURSE_HUB", "modelscope")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))  # the client keeps a number of its own there
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@contextmanager
def serve(models: dict[tuple[str, str], Path], private: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """ModelScope on this machine; what it is asked for."""
    config = pytest.importorskip("modelscope_hub.config", reason="its client is optional: pip install modelscope-hub")
    with modelscope_server.serve(models, private) as (address, asked), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELSCOPE_ENDPOINT", address)
        config.set_default_config(None)  # the client reads its settings once
        yield asked
        config.set_default_config(None)


def test_by_name_with_the_pinned_weights(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({(HUB_ID, "master"): checkpoint}) as asked:
        model, _ = load_model(NAME, device="cpu", precision="fp32")
        assert f"/api/v1/models/{HUB_ID}/repo master model.safetensors" in asked
        before = list(asked)
        again, _ = load_model(HUB_ID, device="cpu", precision="fp32")  # from the cache, by its id
        assert asked == before
    assert model.num_parameters() == again.num_parameters() == load_model(checkpoint, device="cpu")[0].num_parameters()


def test_other_weights_than_the_pinned_are_refused_before_they_are_fetched(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        registry.REGISTRY, NAME, dataclasses.replace(registry.REGISTRY[NAME], sha256={"model.safetensors": "0" * 64})
    )
    with serve({(HUB_ID, "master"): checkpoint}) as asked:
        with pytest.raises(ChecksumError, match=r"other files on ModelScope.*model\.safetensors"):
            load_model(NAME, device="cpu", precision="fp32")
        assert not [path for path in asked if path.endswith("safetensors")]


def test_another_tokenizer_than_the_pinned_is_refused_and_a_pinned_model_brings_no_program(checkpoint: Path) -> None:
    (checkpoint / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    whole = (checkpoint / "tokenizer.json").read_bytes()
    (checkpoint / "tokenizer.json").write_bytes(whole + b" ")
    with serve({(HUB_ID, "master"): checkpoint}) as asked:
        with pytest.raises(ChecksumError, match=r"other files on ModelScope.*\(tokenizer\.json\)"):
            load_model(NAME, device="cpu", precision="fp32")
        assert not [path for path in asked if path.endswith((".json", ".safetensors"))]
    (checkpoint / "tokenizer.json").write_bytes(whole)
    with serve({(HUB_ID, "master"): checkpoint}) as asked:
        load_model(NAME, device="cpu", precision="fp32")
        assert [path for path in asked if path.endswith(" tokenizer.json")] and not [p for p in asked if p.endswith(".py")]


def test_the_registry_pins_the_tokenizer_beside_the_weights() -> None:
    for spec in registry.REGISTRY.values():
        if spec.sha256:
            assert {"tokenizer.json", "vocab.json", "merges.txt"} < set(spec.sha256), spec.name
            assert all(len(value) == 64 for value in spec.sha256.values())


def test_an_id_and_a_revision_of_one_s_own(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkpoint / "pytorch_model.bin").write_bytes(b"not wanted")
    with serve({("owner/model", "v1"): checkpoint}) as asked:
        model, _ = load_model("owner/model", revision="v1", device="cpu", precision="fp32")
        assert "/api/v1/models/owner/model/repo v1 model.safetensors" in asked
        assert not [path for path in asked if path.endswith(".bin")]
        with pytest.raises(DownloadError, match="ModelScope has no model owner/other"):
            load_model("owner/other", device="cpu")
    assert model.num_parameters() > 0


def test_what_the_server_refuses_is_said(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serve({(HUB_ID, "master"): checkpoint}, private=(HUB_ID,)),
        pytest.raises(DownloadError, match="MODELSCOPE_API_TOKEN"),
    ):
        load_model(NAME, device="cpu", precision="fp32")
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with (
        serve({(HUB_ID, "master"): checkpoint}),
        pytest.raises(DownloadError, match="no safetensors"),
    ):
        load_model(NAME, device="cpu", precision="fp32")


def test_without_the_client_it_says_what_to_install(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(DownloadError, match="pip install modelscope-hub"):
        load_model(NAME, device="cpu", precision="fp32")


def test_a_model_that_is_not_pinned_there_names_those_that_are(checkpoint: Path) -> None:
    with pytest.raises(DownloadError, match=r"not pinned google-bert/bert-base-uncased .*pinned are qwen3-0\.6b"):
        load_model("google-bert/bert-base-uncased", device="cpu", precision="fp32")


def test_the_course_model_and_folders_need_no_hub(checkpoint: Path) -> None:
    assert load_model(checkpoint, device="cpu")[0].num_parameters() > 0


def test_there_are_two_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_HUB", "modelscop")
    with pytest.raises(ArgumentError, match="huggingface and modelscope"):
        modelscope.chosen()
    monkeypatch.delenv("COURSE_HUB")
    assert modelscope.chosen() is False
    assert issubclass(ArgumentError, CourseError)
