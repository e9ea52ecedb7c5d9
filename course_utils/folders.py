"""A path that is meant to be a checkpoint: what it is, and what it lacks, said before transformers reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CourseError
from .language import N_, sentences, t

_INDEX = {"model.safetensors": "model.safetensors.index.json", "pytorch_model.bin": "pytorch_model.bin.index.json"}
_NO_MODEL = ("adapter_model", "optimizer", "scheduler", "training_args", "rng_state", "scaler")  # that a trainer leaves
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_TOKENIZER_ENDINGS = ("spiece.model", ".bpe.model", "spm.model", "bpe.codes")
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_GGUF = N_(
    "GGUF is llama.cpp's format. Get the same model as safetensors; transformers itself reads some GGUF files: "
    'AutoModelForCausalLM.from_pretrained("{folder}", gguf_file="{file}").'
)
_POINTER = b"version https://git-lfs"
# PEFT's names of tasks; None: what the base was trained for
_PEFT_TASKS = {
    "CAUSAL_LM": "causal-lm",
    "SEQ_2_SEQ_LM": "seq2seq-lm",
    "SEQ_CLS": "sequence-classification",
    "FEATURE_EXTRACTION": "feature-extraction",
}


@dataclass(frozen=True)
class Adapter:
    """A folder that PEFT saved: what training added to a base model."""

    folder: Path
    base: str  # as it is written there: a hub id, or a folder of the machine that trained it
    task: str | None


def adapter(folder: Path) -> Adapter | None:
    """The adapter that a folder holds, or None if it holds something else.

    Raises:
        CourseError: it is damaged, names no base, or holds a whole model as well.
    """
    file = folder / "adapter_config.json"
    if not file.exists():
        return None
    _no_pointers(folder)
    settings = _json(file)
    if (folder / "config.json").exists() and _weights(folder):
        raise CourseError(
            t(
                "{folder} holds a whole model and an adapter, and does not say whether the adapter is in the model's "
                "weights already. Move adapter_config.json away to load the model, or config.json to load the adapter on "
                "its base.",
                folder=folder,
            )
        )
    if not any((folder / f"adapter_model{ending}").exists() for ending in (".safetensors", ".bin")):
        raise CourseError(
            t(
                "{folder} is an adapter without its weights: adapter_config.json is there, adapter_model.safetensors is "
                "not. Save it again with save_pretrained(), or copy the file.",
                folder=folder,
            )
        )
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CourseError(
            t(
                "{folder} is an adapter that names no base model. Write one into its adapter_config.json, as "
                '"base_model_name_or_path": the hub id or the folder of the model it was trained on.',
                folder=folder,
            )
        )
    return Adapter(folder, base, _PEFT_TASKS.get(str(settings.get("task_type"))))


def check(folder: Path) -> None:
    """Return if `folder` looks like a transformers checkpoint with its weights; else say what it is and what to do.

    Raises:
        CourseError
    """
    names = sorted(file.name for file in folder.iterdir())
    if not names:
        raise CourseError(
            t("{folder} is empty, with no config.json: no model was saved, copied or unpacked there.", folder=folder)
        )
    _no_pointers(folder)
    config = folder / "config.json"
    if not config.exists():
        problem = t("{folder} has no config.json, so it is not a transformers checkpoint.", folder=folder)
        raise CourseError(sentences(problem, _instead(folder, names)))
    _json(config)
    for whole, index in _INDEX.items():
        if (folder / whole).exists():
            return
        if (folder / index).exists():
            return _shards(folder, index)
    if not _weights(folder):
        others = [name for name in names if Path(name).suffix in (".h5", ".msgpack", ".gguf", ".pt", ".pth", ".ckpt")]
        problem = t(
            "{folder} has a config.json and no weights: there is no model.safetensors, and no pytorch_model.bin.",
            folder=folder,
        )
        unread = t("What it has ({files}), load_model does not read. ", files=_listed(others)) if others else ""
        way = t("Save the model again with save_pretrained(), or copy its weights there.")
        raise CourseError(f"{problem}\n{unread}{way}")


def check_tokenizer(folder: Path) -> None:
    """Return if there is a tokenizer beside a model.

    Raises:
        CourseError
    """
    if not has_tokenizer(folder):
        raise no_tokenizer(folder)


def no_tokenizer(folder: Path) -> CourseError:
    """What to say of a model that was saved alone."""
    where = folder.as_posix()
    return CourseError(
        t(
            "{folder} holds a model and no tokenizer that transformers can read.\n"
            'Save one beside it: tokenizer.save_pretrained("{where}"), with the tokenizer of the model that it was made '
            'from; if that was the course model, load_model()[1].save_pretrained("{where}").',
            folder=folder,
            where=where,
        )
    )


def has_tokenizer(folder: Path) -> bool:
    """Is there any file of a tokenizer?"""
    return any(file.name in _TOKENIZER or file.name.endswith(_TOKENIZER_ENDINGS) for file in folder.iterdir())


def labels_of(adapter: Adapter) -> int | None:
    """How many labels the classification head has that an adapter brings along."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter.folder / "adapter_model.safetensors", "pt") as tensors:
            heads = [name for name in tensors.keys() if re.search(r"\b(score|classifier|out_proj)\.weight$", name)]  # noqa: SIM118
            return int(tensors.get_slice(heads[-1]).get_shape()[0]) if heads else None
    except (OSError, SafetensorError):  # not there, or damaged: said when it is loaded
        return None


def is_a_file(path: Path) -> CourseError:
    """What to say of a path that is a file."""
    if path.suffix == ".gguf":
        way = t(_GGUF, folder=path.parent.as_posix(), file=path.name)
    elif path.suffix in _PACKED:
        way = t("Unpack it, and give the folder that comes out.")
    elif (path.parent / "config.json").exists():
        way = t('Write load_model("{folder}").', folder=path.parent.as_posix())
    else:
        way = t("A checkpoint is a folder with config.json, model.safetensors and a tokenizer.")
    return CourseError(sentences(t("{path} is a file, and load_model takes a folder.", path=path), way))


def _no_pointers(folder: Path) -> None:
    pointers = []
    for file in folder.iterdir():
        if file.is_file() and file.stat().st_size < 1024:
            with file.open("rb") as stream:
                pointers += [file.name] if stream.read(len(_POINTER)) == _POINTER else []
    if pointers:
        kind = t("is a Git LFS pointer") if len(pointers) == 1 else t("are Git LFS pointers")
        raise CourseError(
            t(
                "{folder} was cloned without its large files: {files} {kind}, a few lines that say where the file is.\n"
                "Run `git lfs install` and then `git lfs pull` in that folder; or download the files themselves.",
                folder=folder,
                files=_listed(sorted(pointers)),
                kind=kind,
            )
        )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CourseError(
            t("{file} is not JSON ({error}): it was cut, or is another file. Get it again.", file=file, error=error)
        ) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CourseError(t("{file} holds no settings but a {kind}. Get it again.", file=file, kind=kind))
    return content


def _shards(folder: Path, index: str) -> None:
    named = _json(folder / index).get("weight_map")
    files = sorted(set(named.values())) if isinstance(named, dict) else []
    missing = [name for name in files if not (folder / name).exists()]
    if missing or not files:
        raise CourseError(
            t(
                "{folder} lacks {missing} of the {all} files that its {index} names: {names}.\n"
                "Copy or download them into the folder; a download that was cut goes on where it stopped.",
                folder=folder,
                missing=len(missing),
                all=len(files),
                index=index,
                names=_listed(missing),
            )
        )


def _weights(folder: Path) -> list[str]:
    files = [file.name for pattern in ("*.safetensors", "*.bin") for file in folder.glob(pattern)]
    return [name for name in files if not name.startswith(_NO_MODEL)]


def _instead(folder: Path, names: list[str]) -> str:
    """What a folder without config.json may be."""
    inside = [
        file.parent
        for name in ("config.json", "adapter_config.json")
        for depth in ("*", "*/*")
        for file in sorted(folder.glob(f"{depth}/{name}"))
    ]
    if inside:
        hint = t('There is one inside: load_model("{folder}").', folder=inside[0].as_posix())
        several = f" ({_listed(path.relative_to(folder).as_posix() for path in inside)})" if len(inside) > 1 else ""
        return hint + several
    if gguf := [name for name in names if name.endswith(".gguf")]:
        way = t(_GGUF, folder=folder.as_posix(), file=gguf[0])
        return t("It holds {files}: {way}", files=_listed(gguf), way=way)
    if packed := [name for name in names if name.endswith(_PACKED)]:
        return t("Unpack {files} first.", files=_listed(packed))
    if weights := _weights(folder):
        return t("It holds weights ({files}): copy the config.json that belongs to them there.", files=_listed(weights))
    return ""


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    listed = ", ".join(names[:4])
    return listed if len(names) <= 4 else t("{names} and {count} more", names=listed, count=len(names) - 4)
