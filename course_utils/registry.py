"""The models the course knows by name, and how a name, a folder or a hub id becomes a configuration.

`registry.json` has one entry a model: where it is (hub id and pinned revision), what it is (parameters, licence, gated,
tasks) and its configuration, so that a plan needs neither network nor login.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from errno import EDQUOT, ENOSPC
from importlib.resources import files
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from . import folders, modelscope, proxies
from .errors import CourseError, DiskFullError, DownloadError, UnknownNameError
from .language import sentences, t

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
_CUT_PICKLE = re.compile(r"PytorchStreamReader|EOFError|Invalid argument")  # what torch says of a pytorch_model.bin
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
    sha256: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # of that commit's weights and tokenizer, which ModelScope has, too


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
        raise UnknownNameError.of(t("task"), task, list(TASKS))
    return getattr(transformers, TASKS[task])


def find(name: str) -> ModelSpec | None:
    """The registry's entry for a short name or a hub id."""
    return REGISTRY.get(name) or next((spec for spec in REGISTRY.values() if spec.hub_id == name), None)


def resolve(model: str | Path | PretrainedConfig, task: str | None = None, **hub: Any) -> tuple[str, PretrainedConfig, str]:
    """Turn what a user wrote into (name to show, configuration, task). Reads no weights.

    Args:
        model: a registered name, a folder (of a checkpoint, or of an adapter, which has its base's configuration), a hub id,
            or a configuration.
        task: None means what it was trained for.
        hub: for transformers' `from_pretrained`, for example `revision=…`, `token=…`.

    Raises:
        UnknownNameError: neither a registered name, nor a folder, nor of the form owner/name; or a task it cannot do.
        CourseError: a folder that is no checkpoint.
        DownloadError: an unregistered hub id whose configuration cannot be fetched.
    """
    from transformers import AutoConfig, PretrainedConfig

    if isinstance(model, PretrainedConfig):
        return model.model_type, model, task or _task_of(model)
    if (spec := find(str(model))) is not None:
        if task is not None and task not in spec.tasks:
            raise UnknownNameError.of(t("task of {name}", name=spec.name), task, list(spec.tasks))
        return spec.name, AutoConfig.for_model(**spec.config), task or spec.tasks[0]
    path = Path(model).expanduser()
    if path.is_dir():
        if (adapter := folders.adapter(path)) is not None:
            _, config, task = resolve(base_of(adapter), task or adapter.task, **hub)
            return path.name, config, task
        folders.check(path)
        label, source = path.resolve().name, str(path)
    elif path.is_file():
        raise folders.is_a_file(path)
    elif _looks_like_a_path(model):
        unknown = UnknownNameError.of(t("model"), str(model), list(REGISTRY))
        if "/" in str(model) or "\\" in str(model):
            nor = t("Nor is there such a folder; the notebook runs in {folder}.", folder=Path.cwd())
            unknown = UnknownNameError(sentences(str(unknown), nor))
        raise unknown
    else:
        label = source = str(model)
        if modelscope.chosen():
            source = str(modelscope.settings(label, hub.get("revision")))
        else:
            reach_hub(source, **hub)
    try:
        config = AutoConfig.from_pretrained(source, **hub)
    except Exception as error:
        if (explanation := explained(label, source, error)) is not None:
            raise explanation from error
        raise
    return label, config, _possible(label, config, task or _task_of(config))


def base_of(adapter: folders.Adapter) -> str:
    """What `load_model` calls the model that an adapter was trained on.

    The course model has one name everywhere: its folder in another machine's cache is no folder here, and the hub's id of it
    would need the hub.

    Raises:
        CourseError: its base is not here.
    """
    from .weights import COURSE_FOLDER

    base = adapter.base
    course = REGISTRY["course"].hub_id
    if base == course or re.split(r"[/\\]", base.rstrip("/\\"))[-1].startswith(f"{COURSE_FOLDER}-"):
        return "course"
    for path in (Path(base).expanduser(), adapter.folder / base):
        if path.is_dir():
            if (path / "adapter_config.json").exists():
                raise CourseError(
                    t(
                        "The base of the adapter {folder} is an adapter again ({base}). Put the two together first: "
                        "load_model(base), merge_and_unload(), save_pretrained(), and name that folder as base.",
                        folder=adapter.folder,
                        base=base,
                    )
                )
            return str(path)
    if find(base) is None and _looks_like_a_path(base):
        raise CourseError(
            t(
                "{folder} is an adapter, and the model it was trained on is not on this machine: {base}.\nWrite where it is "
                'into {file}, as "base_model_name_or_path": a folder, a hub id, or "{course}" for the course model.',
                folder=adapter.folder,
                base=base,
                file=adapter.folder / "adapter_config.json",
                course=course,
            )
        )
    return base


def _looks_like_a_path(name: str | Path) -> bool:
    """Not owner/name, which is all that a hub id can be."""
    return not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(name), re.ASCII)


def _possible(label: str, config: PretrainedConfig, task: str) -> str:
    """`task`, if transformers has a class for it and such a model."""
    if hasattr(config, "auto_map"):  # classes of its own
        return task
    can = [name for name in TASKS if type(config) in auto_class(name)._model_mapping]
    if task not in can:
        what = t("task of {name}, a {kind} model,", name=label, kind=config.model_type)
        raise UnknownNameError.of(what, task, can)
    return task


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


def reach_hub(hub_id: str, revision: str | None = None, **hub: Any) -> None:
    """Return if the hub (or the mirror of `HF_ENDPOINT`) offers the model or it is cached; else say so within seconds.

    `from_pretrained` tries for most of a minute before it gives up, which is long for somebody behind a firewall.

    Raises:
        DownloadError
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    cached = try_to_load_from_cache(hub_id, "config.json", cache_dir=hub.get("cache_dir"), revision=revision)
    if isinstance(cached, str) or hub.get("local_files_only"):
        return
    try:
        files = HfApi(token=hub.get("token")).model_info(hub_id, revision=revision, timeout=10).siblings or []
    except Exception as error:  # the HTTP library behind the hub client, and so its errors, differ between versions
        raise hub_error(hub_id, error) from error
    names = {file.rfilename for file in files}
    if "adapter_config.json" in names and "config.json" not in names:
        raise CourseError(
            t("{name} is an adapter, which load_model() reads from a folder. Write", name=hub_id)
            + f'\n  folder = huggingface_hub.snapshot_download("{hub_id}")\n  model, tokenizer = load_model(folder)'
        )


def hub_error(hub_id: str, error: BaseException) -> DownloadError:
    """What the hub's refusal means and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    chain = _chain(error)
    if any(isinstance(link, GatedRepoError) for link in chain):
        what = t("{name} is gated: accept its terms on its page, then run `huggingface_hub.login()`", name=hub_id)
    elif any(isinstance(link, RepositoryNotFoundError) for link in chain):
        what = t(
            "there is no folder {name}, and the hub has no such model (or it is private). Names we know: {known}",
            name=hub_id,
            known=", ".join(REGISTRY),
        )
    elif why := proxies.explain("\n".join(map(repr, chain)), constants.ENDPOINT):
        what = t("{name} could not be fetched from the hub: {why}", name=hub_id, why=why.rstrip(t(".")))
    else:
        what = t(
            "{name} could not be fetched from the hub. Ways out: set HF_ENDPOINT to a mirror that you can reach and "
            'restart the kernel; or give load_model() the folder of a downloaded copy; or load_model("course"), '
            "which needs no hub",
            name=hub_id,
        )
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return DownloadError(f"{what}{t('.')}\n  hub: {reason}")


def explained(label: str, source: str, error: Exception) -> CourseError | None:
    """What it means that transformers could not load something: the hub's trouble, a damaged file, or what it refuses.

    Args:
        label: what to call it.
        source: a folder or a hub id.

    Returns:
        What to raise instead; None if the error should stand as it is.
    """
    import transformers

    chain, on_hub = _chain(error), not Path(source).exists()
    message = str(error).strip() or type(error).__name__
    if isinstance(error, CourseError):
        return error
    if full := [link for link in chain if isinstance(link, OSError) and link.errno in (ENOSPC, EDQUOT)]:
        return DiskFullError(
            t(
                "The disk is full ({error}), so {name} was not fetched. Free some space, or set HF_HOME.",
                error=full[0],
                name=label,
            )
        )
    if isinstance(error, UnpicklingError) and "Unsupported global" in message:
        what = t(
            "The weights of {name} are a pickle that holds more than numbers and could run any program, so it is not "
            "loaded. Take the same model as safetensors.",
            name=label,
        )
        return CourseError(f"{what}\n  {source}")
    if any(isinstance(link, SafetensorError | UnpicklingError) for link in chain) or _CUT_PICKLE.search(repr(error)):
        again = t("Load it with force_download=True, to fetch it again.")
        again = again if on_hub else t("Load it with a fresh copy of the folder.")
        error_is = message.splitlines()[0].split(". ")[0]
        what = t("The weights of {name} are damaged ({error}).", name=label, error=error_is)
        return CourseError(f"{sentences(what, again)}\n  {source}")
    if "ignore_mismatched_sizes" in message:
        what = t(
            "The weights of {name} have other shapes than its configuration says: the two do not belong together, or an "
            "argument changed a size.",
            name=label,
        )
        return CourseError(f"{what}\n  {source}")
    if on_hub and (isinstance(error, OSError) or any(map(_of_the_network, chain))):
        return hub_error(source, error)
    if isinstance(error, ValueError | ImportError | OSError | StrictDataclassError):
        return CourseError(
            t(
                "transformers {version} cannot load {name}: {error}",
                version=transformers.__version__,
                name=label,
                error=message,
            )
        )
    return None


def _of_the_network(error: BaseException) -> bool:
    package = type(error).__module__.split(".")[0]
    if package in ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3"):
        return not isinstance(error, StrictDataclassError)
    return "proxy" in str(error).lower()  # httpx says with Python's own errors that it cannot use one


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain
