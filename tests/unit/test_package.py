"""The package from outside: import time, its metadata, the environments, the set-up script."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import course_utils
from courseware import bootstrap

ROOT = Path(course_utils.__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked() -> dict[str, Requirement]:
    """The lock file's entries that hold for this machine."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    entries = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {e.name.lower().replace("_", "-"): e for e in entries if e.marker is None or e.marker.evaluate()}


def test_import_is_light() -> None:
    """Heavy packages are not imported before a module that needs them is used."""
    program = (
        "import sys, course_utils; print([m for m in ('torch', 'transformers', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    for name in course_utils.__all__:
        assert getattr(course_utils, name) is not None
    with pytest.raises(AttributeError, match="load_model"):
        course_utils.load_modell  # noqa: B018


def test_lock_is_exact_and_holds_what_the_project_asks_for() -> None:
    entries = locked()
    asked = [Requirement(r) for r in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["course"]]]
    for requirement in asked:
        entry = entries[requirement.name.lower().replace("_", "-")]
        (pin,) = entry.specifier
        assert pin.operator == "==" and requirement.specifier.contains(pin.version), requirement


def test_installed_is_what_is_locked() -> None:
    """Holds in the environment that `make` builds."""
    if Path(sys.prefix).name != ".venv":
        pytest.skip("not in the course's .venv")
    for name, entry in locked().items():
        (pin,) = entry.specifier
        assert Version(importlib.metadata.version(name)).public == pin.version, name


def test_conda_environment_is_the_lock_file() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert packages == {"pip": ["-r requirements.lock", "-e ."]} and pip == "pip"
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))


def test_lock_has_no_cuda_of_its_own() -> None:
    assert not [name for name in locked() if re.match(r"nvidia-|cuda-|triton", name)]
    assert str(locked()["torch"].specifier) == "==2.13.0"


def test_repository_stands_in_one_place() -> None:
    address = PROJECT["urls"]["Repository"]
    hits = subprocess.run(
        ["git", "grep", "-l", address.removeprefix("https://github.com/"), "--", ":!*.ipynb", ":!README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert hits in (["pyproject.toml"], [])  # nothing where there is no git


def test_readme_links_to_every_chapter_in_that_repository() -> None:
    from courseware import build
    from courseware.chapters import all_chapters

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = {build.colab_url(c, folder) for c in all_chapters() for folder in ("lectures", "labs")}
    assert set(re.findall(r"https://colab\.research\.google\.com/\S+?\.ipynb", readme)) == wanted


class TestSetUp:
    def test_old_python_is_told(self) -> None:
        assert bootstrap.check_python(sys.version_info) is None
        said = bootstrap.check_python((3, 9, 18))
        assert "needs Python 3.11 or newer" in said and "3.9" in said and "PYTHON=" in said

    def test_really_old_python_can_read_the_script(self) -> None:
        old = next((p for p in sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python"))), None)
        python = str(old) if old else next(filter(None, map(shutil.which, ("python3.8", "python3.9", "python3.10"))), None)
        if python is None:
            pytest.skip("no Python older than 3.11 here")
        done = subprocess.run([python, "courseware/bootstrap.py"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1 and "needs Python 3.11 or newer" in done.stderr and "Traceback" not in done.stderr

    def test_pip_refuses_it_too(self) -> None:
        assert PROJECT["requires-python"] == ">=" + ".".join(map(str, bootstrap.OLDEST))

    def test_up_to_date_set_up_does_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, tmp_path)
        monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
        calls: list[bool] = []
        monkeypatch.setattr(
            bootstrap, "make_venv", lambda target, afresh: (os.makedirs(target, exist_ok=True), calls.append(afresh))
        )
        bootstrap.main()
        bootstrap.main()
        assert calls == [True]
        (tmp_path / "requirements.lock").write_text("torch==9\n")
        bootstrap.main()  # a new lock: packages are changed in place
        (tmp_path / ".venv" / "course-stamp").write_text("3.10.1\nold\n")
        bootstrap.main()  # another Python: from the start
        assert calls == [True, False, True]

    def test_set_up_that_fails_is_not_taken_for_done(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, tmp_path)
        monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))

        def fail(target: str, afresh: bool) -> None:
            raise subprocess.CalledProcessError(1, ["pip", "install"])

        monkeypatch.setattr(bootstrap, "make_venv", fail)
        with pytest.raises(SystemExit, match="PIP_INDEX_URL"):
            bootstrap.main()
        assert not (tmp_path / ".venv" / "course-stamp").exists()

    def test_too_little_disk(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(SystemExit, match="MB of disk"):
            bootstrap.make_venv(str(tmp_path / ".venv"), afresh=True)
