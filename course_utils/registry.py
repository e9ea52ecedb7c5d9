"""The models the course knows by name, and how a name, a folder or a hub id becomes a configuration.

`registry.json` has one entry a model: where it is (hub id and pinned revision), what it is (parameters, licence, gated,
tasks) and its configuration, so that a plan needs neither network nor login.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CourseError, DownloadError, UnknownNameError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# task → (transformers' class, the suffix of the architectures it makes)
TASKS = {
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "replaced-token-detection": "AutoModelForPreTraining",
    "sequence-classification": "AutoModelForSequenceClassification",
    "feature-extraction": "AutoModel",
}
_ANY_MODEL = ("sequence-classification", "feature-extraction")  # what every architecture can be loaded for


@dataclass(frozen=True)
class ModelSpec:
    """One model of the registry."""

    name: str
    hub_id: str
    revision: str  # commit on the hub
    parameters: int  # as published or counted by its makers
    licence: str
    gated: bool  # needs a login and accepted terms on the hub
    tasks: tuple[str, ...]  # the first is what it was trained for
    note: str
    config: Mapping[str, Any] = field(repr=False)


def _read() -> dict[str, ModelSpec]:
    entries = json.loads(files(__package__).joinpath("registry.json").read_text(encoding="utf-8"))
    return {
        name: ModelSpec(name=name, **{**entry, "tasks": (*entry["tasks"], *_ANY_MODEL)}) for name, entry in entries.items()
    }


REGISTRY: dict[str, ModelSpec] = _read()


def auto_class(task: str) -> Any:
    """The class of transformers that loads a model for `task`."""
    import transformers

    if task not in TASKS:
        raise UnknownNameError.of("task", task, list(TASKS))
    return getattr(transformers, TASKS[task])


def find(name: str) -> ModelSpec | None:
    """The registry's entry for a short name or a hub id."""
    return REGISTRY.get(name) or next((spec for spec in REGISTRY.values() if spec.hub_id == name), None)


def resolve(model: str | Path | PretrainedConfig, task: str | None = None) -> tuple[str, PretrainedConfig, str]:
    """Turn what a user wrote into (name to show, configuration, task). Reads no weights.

    Raises:
        UnknownNameError: neither a registered name, nor a folder, nor of the form owner/name; or a task it cannot do.
        DownloadError: an unregistered hub id whose configuration cannot be fetched.
    """
    from transformers import AutoConfig, PretrainedConfig

    if isinstance(model, PretrainedConfig):
        return model.model_type, model, task or _task_of(model)
    if (spec := find(str(model))) is not None:
        if task is not None and task not in spec.tasks:
            raise UnknownNameError.of(f"task of {spec.name}", task, list(spec.tasks))
        return spec.name, AutoConfig.for_model(**spec.config), task or spec.tasks[0]
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise CourseError(f"{folder} has no config.json, so it is not a transformers checkpoint.")
        config = AutoConfig.from_pretrained(folder)
        return folder.name, config, task or _task_of(config)
    if str(model).count("/") != 1 or str(model).startswith((".", "~", "/")):
        raise UnknownNameError.of("model", model, list(REGISTRY))
    reach_hub(str(model))
    try:
        config = AutoConfig.from_pretrained(str(model))
    except (OSError, ValueError) as error:
        raise hub_error(str(model), error) from error
    return str(model), config, task or _task_of(config)


def _task_of(config: PretrainedConfig) -> str:
    """What a checkpoint was saved for, by the name of its architecture."""
    architecture = (config.architectures or [""])[0]
    for ending, task in (
        ("ForCausalLM", "causal-lm"),
        ("LMHeadModel", "causal-lm"),
        ("ForMaskedLM", "masked-lm"),
        ("ForConditionalGeneration", "seq2seq-lm"),
        ("ForPreTraining", "replaced-token-detection" if config.model_type == "electra" else "masked-lm"),
        ("ForSequenceClassification", "sequence-classification"),
    ):
        if architecture.endswith(ending):
            return task
    return "causal-lm" if not architecture else "feature-extraction"


def reach_hub(hub_id: str, revision: str | None = None) -> None:
    """Return if the hub (or the mirror of `HF_ENDPOINT`) offers the model or it is cached; else say so within seconds.

    `from_pretrained` tries for most of a minute before it gives up, which is long for somebody behind a firewall.

    Raises:
        DownloadError
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(hub_id, "config.json", revision=revision), str):
        return
    try:
        HfApi().model_info(hub_id, revision=revision, timeout=10)
    except Exception as error:  # the HTTP library behind the hub client, and so its errors, differ between versions
        raise hub_error(hub_id, error) from error


def hub_error(hub_id: str, error: BaseException) -> DownloadError:
    """What the hub's refusal means and what to do about it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any(isinstance(link, GatedRepoError) for link in chain):
        what = f"{hub_id} is gated: accept its terms on its page, then run `huggingface_hub.login()`"
    elif any(isinstance(link, RepositoryNotFoundError) for link in chain):
        known = ", ".join(REGISTRY)
        what = f"there is no folder {hub_id}, and the hub has no such model (or it is private). Names we know: {known}"
    else:
        what = (
            f"{hub_id} could not be fetched from the hub. Ways out: set HF_ENDPOINT to a mirror that you can reach and "
            'restart the kernel; or give load_model() the folder of a downloaded copy; or load_model("course"), '
            "which needs no hub"
        )
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return DownloadError(f"{what}.\n  hub: {said}")
