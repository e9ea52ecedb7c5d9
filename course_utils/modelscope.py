"""Models from ModelScope (魔搭) in place of the Hugging Face hub: `COURSE_HUB=modelscope`.

Its own client (`pip install modelscope-hub`) lists and fetches; it checks each file against the listing, and goes on where a
download was cut. What the course pins is the content: registry.json has the SHA-256 of weights and tokenizer of the commit
that it pins on the Hugging Face hub, and ModelScope's listing must name the same before a byte of them is fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from . import weights
from .errors import ArgumentError, ChecksumError, CourseError, DiskFullError, DownloadError
from .language import t

HUBS = ("huggingface", "modelscope")
_SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "*.py")  # small files: configuration and tokenizer
_WEIGHTS = ".safetensors"
_DONE = ".course-fetched.json"  # written last: the SHA-256 of what came, by name


def chosen() -> bool:
    """Do other models come from ModelScope?

    Raises:
        ArgumentError: `COURSE_HUB` names neither hub.
    """
    name = os.environ.get("COURSE_HUB") or HUBS[0]
    if name not in HUBS:
        raise ArgumentError(t("COURSE_HUB={name}: there are {names}.", name=name, names=t(" and ").join(HUBS)))
    return name == "modelscope"


def settings(hub_id: str, revision: str | None = None) -> Path:
    """Folder that holds a model's configuration and tokenizer, without its weights.

    Raises: as `fetch`.
    """
    folder = _folder(hub_id, revision)
    return folder if _came(folder) is not None else _download(hub_id, revision, _SETTINGS)


def fetch(hub_id: str, sha256: Mapping[str, str], revision: str | None = None) -> Path:
    """Folder that holds a model as a checkpoint; fetched when it is not in the course's cache.

    Args:
        sha256: of its weights and its tokenizer, by the files' names; {} for a model that the course does not pin. A pinned
            model brings no programs.
        revision: a branch, tag or commit of ModelScope; None: what its owner shows when it is first fetched.

    Raises:
        DownloadError: no client, no such model, no way to it, or no safetensors.
        ChecksumError: a file is not the one that the course pins.
        DiskFullError
    """
    folder = _folder(hub_id, revision)
    came = _came(folder)
    if came is not None and sha256.items() <= came.items():
        return folder
    with _explained(hub_id):
        listed = _client().list_repo_files(hub_id, "model", revision=revision)
    patterns = [pattern for pattern in _SETTINGS if not (sha256 and pattern == "*.py")]
    wanted = [*patterns, f"*{_WEIGHTS}"]
    files = {file.path: file.sha256 for file in listed if any(fnmatch(file.path, pattern) for pattern in wanted)}
    if not any(name.endswith(_WEIGHTS) for name in files):
        raise DownloadError(
            t("{name} has no safetensors on ModelScope; load_model() reads no other weights from there.", name=hub_id)
        )
    if wrong := [name for name, value in sha256.items() if files.get(name) != value]:
        raise ChecksumError(
            t(
                "{name} has other files on ModelScope than the course was tested with ({files}). Ways out: "
                'revision="…" of your own choice; or unset COURSE_HUB, for the Hugging Face hub or a mirror of it '
                "(HF_ENDPOINT).",
                name=hub_id,
                files=", ".join(wrong),
            )
        )
    _download(hub_id, revision, list(files))
    (folder / _DONE).write_text(json.dumps(files), encoding="utf-8")
    return folder


def unpinned(hub_id: str, pinned: list[str]) -> DownloadError:
    """What is said of a model that the course knows, and has not pinned on ModelScope."""
    return DownloadError(
        t(
            "The course has not pinned {name} on ModelScope; pinned are {names}. Ways out: unset COURSE_HUB, for the "
            "Hugging Face hub or a mirror of it (HF_ENDPOINT); or a folder; or a ModelScope id with revision=.",
            name=hub_id,
            names=", ".join(pinned),
        )
    )


def _folder(hub_id: str, revision: str | None) -> Path:
    return weights.cache_dir() / "modelscope" / hub_id.replace("/", "--") / (revision or "master")


def _came(folder: Path) -> dict[str, str] | None:
    """What was fetched whole into a folder, and checked by the client as it came; None where nothing was."""
    try:
        came: dict[str, str] = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged: it is fetched again
        return None
    return came if all((folder / name).is_file() for name in came) else None


def _download(hub_id: str, revision: str | None, patterns: Iterable[str]) -> Path:
    folder = _folder(hub_id, revision)
    with _explained(hub_id):
        _client().download_repo(hub_id, "model", revision=revision, local_dir=folder, allow_patterns=list(patterns))
    return folder


def _client() -> Any:
    try:
        from modelscope_hub import HubApi
    except ImportError as error:
        raise DownloadError(
            t("COURSE_HUB=modelscope needs ModelScope's client, which is not installed. Run: pip install modelscope-hub")
        ) from error
    return HubApi()


@contextmanager
def _explained(hub_id: str) -> Iterator[None]:
    """Says in a student's words why ModelScope refused."""
    try:
        yield
    except CourseError:
        raise
    except Exception as error:  # the client's own, and those of the HTTP library behind it
        raise _told(hub_id, error) from error


def _told(hub_id: str, error: Exception) -> CourseError:
    from modelscope_hub import errors

    causes = [error, *getattr(error, "failed_files", {}).values()]
    reason = next(iter(str(causes[-1]).strip().splitlines()), type(error).__name__)
    if any(isinstance(cause, OSError) and cause.errno in (ENOSPC, EDQUOT) for cause in causes):
        return DiskFullError(
            t("The disk is full, so {name} was not fetched. Free some space, or set COURSE_CACHE.", name=hub_id)
        )
    if any(isinstance(cause, errors.FileIntegrityError) for cause in causes):
        what = t("{name} arrived damaged from ModelScope. Run the cell again", name=hub_id)
        return ChecksumError(f"{what}{t('.')}\n  ModelScope: {reason}")
    if isinstance(error, errors.NotExistError):
        what = t("ModelScope has no model {name} of that revision (or it is private)", name=hub_id)
    elif isinstance(error, errors.AuthenticationError | errors.PermissionDeniedError):
        what = t(
            "ModelScope gives {name} only to those who are logged in: set MODELSCOPE_API_TOKEN to your token", name=hub_id
        )
    else:
        what = t(
            "{name} could not be fetched from ModelScope. Ways out: try again; or give load_model() the folder of a "
            'downloaded copy; or load_model("course"), which needs no hub',
            name=hub_id,
        )
    return DownloadError(f"{what}{t('.')}\n  ModelScope: {reason}")
