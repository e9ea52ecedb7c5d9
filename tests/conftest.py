"""What more than one test needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from courseware.chapters import Chapter

ROOT = Path(__file__).resolve().parent.parent
LINUX_ONLY = ["grading", "colab"] if sys.platform == "win32" else []
collect_ignore = LINUX_ONLY


# What `make check` leaves to `make test`, by folder; in a folder these files need none of it.
MARKS = {"grading": "box", "browser": "browser", "colab": "notebook", "notebooks": "notebook"}
UNMARKED = {
    "grading": ("cgroup", "failing_cases", "in_kernel", "intake", "lms_sheet", "messages", "overview", "seccomp", "watch"),
    "notebooks": ("quality", "references", "rules", "sources", "translation"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.parent.name
        unmarked = item.path.stem.removeprefix("test_") in UNMARKED.get(folder, ())
        if mark := "notebook" if item.path.suffix == ".ipynb" else "" if unmarked else MARKS.get(folder, ""):
            item.add_marker(mark)


def pytest_report_header() -> str:
    return f"not tested on Windows: tests/{', tests/'.join(LINUX_ONLY)}, which need Linux or macOS" if LINUX_ONLY else ""


os.environ["COURSE_LANG"] = "en"  # whatever the system speaks


@pytest.fixture(scope="session")
def course_folder() -> Path:
    """The course model's checkpoint, fetched and converted when it is not in the cache yet."""
    from course_utils import weights

    return weights.path()


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Makes kernels that have their imports: preloaded(name, python=…, begin=…) returns the name of the kernel."""
    from courseware.preloaded import spec

    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder), prepend=os.pathsep)
        yield lambda name, **options: spec(folder, name, **options)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE, as the course model's, with a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = "the old sailor looked at the old sea and the sea looked at the sailor " * 4
    own.train_from_iterator([text], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=own)


@pytest.fixture
def tiny_model() -> LlamaForCausalLM:
    """A random decoder of the course model's kind with grouped heads and 5000 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 6, "head_dim": 8}
    return LlamaForCausalLM(LlamaConfig(vocab_size=5000, num_key_value_heads=2, initializer_range=0.3, **sizes)).eval()


@pytest.fixture(scope="module")
def in_chinese(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chapter]:
    """A chapter whose Chinese notebooks, as they are built now, are seen by site, slides and release. No kernel runs: the
    outputs are the English ones."""
    import nbformat

    from courseware import build, cards, release, site, slides
    from courseware.chapters import ENGLISH, built, chapter

    folder = tmp_path_factory.mktemp("chinese")

    def translated(path: Path, language: str) -> Path:
        return path if language == ENGLISH else folder / path.parent.name / path.name

    part = chapter("10")
    for path, notebook, _ in build.targets(part, "zh_CN"):
        english = path.parent.parent / path.name
        outputs = {cell.id: cell.outputs for cell in built(english).cells if cell.cell_type == "code"}
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = outputs.get(cell.id, [])
        target = translated(english, "zh_CN")
        target.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, target)
    with pytest.MonkeyPatch.context() as patch:
        for module in (site, cards, slides, release):
            patch.setattr(module, "translated", translated)
        yield part
