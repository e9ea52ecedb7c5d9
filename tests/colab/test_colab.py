"""Google Colab: installing the helper changes none of its packages, and all works with its versions, beside its GPU.

`pip-freeze.gpu.txt` is the published package list of Colab's GPU image (googlecolab/backend-info, Apache-2.0, August 2026).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nbformat
import pretend
import pytest
from filelock import FileLock
from packaging.requirements import Requirement

from courseware.chapters import all_chapters
from courseware.kernels import Client

ROOT = Path(__file__).resolve().parents[2]
FREEZE = Path(__file__).with_name("pip-freeze.gpu.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDITIONS = {"bitsandbytes", "bm25s", "gguf"}  # what Colab does not have and we need
ALSO = ("gradio", "scipy")  # what Colab has and some notebooks use, though the helper package does not ask for it
HOLES = {"jedi"}  # IPython asks for it and Colab leaves it out; any package that needs IPython brings it
# Belongs to torch's own build: Colab has torch for CUDA 12.8 installed, and the index only one for another CUDA.
CUDA = re.compile(r"nvidia-|cuda-|triton")


def colab() -> dict[str, str]:
    """name → version of Colab's packages, without local labels (torch's +cu128 is not on the index)."""
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^+\s]+)", FREEZE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    return {name.lower().replace("_", "-"): v for name, v in pins.items()}


def test_bounds_reach_down_to_colab() -> None:
    have = colab()
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    assert {r.name.lower() for r in asked} - set(have) == ADDITIONS
    for requirement in asked:
        if requirement.name not in ADDITIONS:
            assert requirement.specifier.contains(have[requirement.name.lower()]), requirement


def test_installing_changes_nothing(tmp_path: Path) -> None:
    """pip solves our dependencies for Python 3.13 with every one of Colab's versions as a constraint."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{n}=={v}\n" for n, v in colab().items() if not CUDA.match(n)), encoding="utf-8")
    report = tmp_path / "report.json"
    python = python_3_13()
    command = [python or sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += ["--report", str(report), "--constraint", str(constraints), *PROJECT["dependencies"]]
    if python is None:  # another Python solves for 3.13 as well, but reads the packages' conditions on itself
        command += ["--python-version", "3.13", "--only-binary", ":all:", "--target", str(tmp_path / "target")]
        for minor in range(5, 36):  # Colab's Ubuntu 22.04 has glibc 2.35
            command += ["--platform", f"manylinux_2_{minor}_x86_64"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    chosen = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in json.loads(report.read_text(encoding="utf-8"))["install"]
    }
    have = colab()
    assert {n: v for n, v in chosen.items() if n in have and have[n] != v and not CUDA.match(n)} == {}
    added = {name for name in set(chosen) - set(have) if not CUDA.match(name)}
    assert added - HOLES == ADDITIONS or (python is None and added >= ADDITIONS)


def python_3_13() -> str | None:
    """A Python 3.13 of this machine, if it has one with pip."""
    environment = {**os.environ, "PYENV_VERSION": "3.13"}  # so that a shim of pyenv's starts it
    where = ["python3.13", "-c", "import pip, sys; print(sys.executable)"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # there is none: another Python solves for it
        return subprocess.run(where, env=environment, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    return None


@pytest.fixture(scope="session")
def colab_python() -> str:
    """An environment with Colab's versions of our dependencies; its torch is the CPU build of the lock file."""
    have = colab()
    pins = [f"torch=={version('torch').split('+')[0]}", "pytest"]
    ours = [r.name.lower() for r in map(Requirement, PROJECT["dependencies"])]
    pins += [f"{name}=={have[name]}" for name in [*ours, *ALSO] if name in have and name != "torch"]
    constraints = "".join(f"{name}=={v}\n" for name, v in have.items() if name not in ("torch", "pip", "setuptools"))
    folder = ROOT / ".venv-colab"
    stamp = folder / "stamp"
    wanted = hashlib.sha256("\n".join([*pins, constraints, sys.version]).encode()).hexdigest()
    python = folder / "bin" / "python"
    with FileLock(f"{folder}.lock"):  # each process of the tests asks for it
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            subprocess.run([*pip, f"pip=={version('pip')}"], check=True)
            subprocess.run([*pip, pins[0]], check=True)
            extra = [f"{name}=={version(name)}" for name in sorted(ADDITIONS)]
            subprocess.run([*pip, "-c", folder / "constraints.txt", *pins, *extra], check=True)
            subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
            stamp.write_text(wanted, encoding="utf-8")
    return str(python)


@pytest.mark.second_look
def test_it_holds_colab_s_versions(colab_python: str) -> None:
    listed = subprocess.run(
        [colab_python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    installed = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in json.loads(listed.stdout)}
    have = colab()
    ours = [r.name.lower() for r in map(Requirement, PROJECT["dependencies"])]
    wrong = {n: installed[n] for n in ours if n in have and n != "torch" and installed[n] != have[n]}
    assert wrong == {}
    assert installed["ipywidgets"] == "7.7.1" and installed["datasets"] == "4.0.0"


@pytest.mark.second_look
def test_helper_works_with_colab_s_versions(colab_python: str) -> None:
    """The helper's own tests of what those packages do for it, in that environment; fetching asks pip and a server."""
    tests = ["test_models.py", "test_hardware.py", "test_lab.py", "test_scoring_data_tables.py"]
    options = ["-q", "-p", "no:cacheprovider", "-p", "courseware.pytest_plugin"]
    done = subprocess.run(
        [colab_python, "-m", "pytest", *options, *(str(ROOT / "tests/unit" / test) for test in tests)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COURSE_BUDGET": "quick", "PYTHONDONTWRITEBYTECODE": ""},  # its programs import the same
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-6000:]
    print(done.stdout.strip().splitlines()[-1])


NOTEBOOKS = [path for chapter in all_chapters() for path in (chapter.lecture, chapter.solution)]


@pytest.fixture(scope="session")
def colab_kernel(colab_python: str, preloaded: Callable[..., str]) -> str:
    """The name of a kernel that runs in that environment, beside that GPU."""
    return preloaded("colab", python=colab_python, begin=pretend.beginning("t4"))


@pytest.mark.second_look
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_notebook_runs_in_colab(path: Path, colab_kernel: str, tmp_path: Path) -> None:
    """Every lecture and every solved lab, top to bottom, with Colab's versions and its GPU, which is pretended."""
    notebook = nbformat.read(path, as_version=4)
    client = Client(notebook, timeout=900, kernel_name=colab_kernel, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "COURSE_BUDGET": "quick"})
    printed = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("Tesla T4" in text for text in printed)  # lab.start says so
