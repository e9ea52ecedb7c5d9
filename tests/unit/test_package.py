"""The package from outside: import time, its metadata, the environments, the set-up script."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import course_utils
import start
from course_utils import weights
from courseware import cli

ROOT = Path(course_utils.__file__).resolve().parent.parent
OLDEST = f"Python {start.OLDEST[0]}.{start.OLDEST[1]}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked() -> dict[str, Requirement]:
    """The lock file's entries that hold for this machine."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    entries = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {e.name.lower().replace("_", "-"): e for e in entries if e.marker is None or e.marker.evaluate()}


def test_import_is_light() -> None:
    """Heavy packages are not imported before a module that needs them is used."""
    program = (
        "import sys, course_utils; print([m for m in ('torch', 'transformers', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
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
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    assert packages == {"pip": ["-r requirements.lock", "-e ."]} and pip == "pip"
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))


def test_lock_has_no_cuda_of_its_own() -> None:
    assert not [name for name in locked() if re.match(r"nvidia-|cuda-|triton", name)]
    assert {str(locked()[Requirement(pin).name]) for pin in cli.LOCK_PINS} == set(cli.LOCK_PINS)


def test_repository_stands_in_one_place() -> None:
    address = PROJECT["urls"]["Repository"]
    hits = subprocess.run(
        [
            "git",
            "grep",
            "-l",
            address.removeprefix("https://github.com/"),
            "--",
            ":!*.ipynb",
            ":!README*.md",
            ":!locale/*.po",
        ],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    if hits.returncode == 128:
        pytest.skip("this is no git checkout")
    assert hits.stdout.split() == ["pyproject.toml"]


def test_the_version_is_one() -> None:
    """The last release has its heading and its citation; this is that release, or what comes after it."""
    version = Version(course_utils.__version__)
    released = re.findall(r"^## (\S+) · \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"\nversion: {released[0]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert str(version) == course_utils.__version__
    assert version > Version(released[0]) if version.is_devrelease else version == Version(released[0])


def test_a_release_s_notebooks_open_and_install_that_release(monkeypatch: pytest.MonkeyPatch) -> None:
    from courseware import build, release
    from courseware.chapters import chapter

    part, address = chapter("10"), PROJECT["urls"]["Repository"]
    monkeypatch.setattr(build, "__version__", "0.3.0")
    cells = {cell.id: cell.source for cell in build.student_lab(part).cells}
    assert f'"course_utils @ git+{address}@v0.3.0"' in cells["colab-setup"]
    assert "/blob/v0.3.0/labs/10_quantization.ipynb" in cells["colab-link"]
    # a students' repository does not have our tags; here it has our address, so that nothing else differs
    students = release.moved(cells["colab-setup"] + cells["colab-link"], address.removeprefix("https://github.com/"))
    assert f'git+{address}"' in students and "/blob/main/labs/" in students and "0.3.0" not in students
    monkeypatch.setattr(build, "__version__", "0.4.0.dev0")  # a clone of main: nothing to pin yet, and main is what it is
    now = {cell.id: cell.source for cell in build.student_lab(part).cells}
    assert now["colab-setup"] + now["colab-link"] == students


def test_the_architecture_names_every_module() -> None:
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
    folders = [
        ROOT / "course_utils",
        ROOT / "courseware",
        ROOT / "courseware" / "translation",
        ROOT / "courseware" / "grading",
    ]
    modules = [path.stem for folder in folders for path in sorted(folder.glob("[!_]*.py"))]
    assert len(modules) > 80
    assert [name for name in modules if name not in named] == [], "say in docs/architecture.md what it is for"


def test_pages_are_what_their_sources_say() -> None:
    from courseware import pages

    for path, text in pages.from_sources().items():
        name = path.relative_to(ROOT).as_posix()
        assert path.read_text(encoding="utf-8") == text, (
            f"`course translate zh_CN pages` writes what the sources say into {name}"
        )


def test_readme_links_to_every_chapter_in_that_repository() -> None:
    from courseware import build
    from courseware.chapters import all_chapters

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = {build.colab_url(c, folder) for c in all_chapters() for folder in ("lectures", "labs")}
    assert set(re.findall(r"https://colab\.research\.google\.com/\S+?\.ipynb", readme)) == wanted


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


class TestOneFactOnePlace:
    """Facts that people read in more than one place are the same in all of them."""

    @pytest.mark.parametrize(
        "name",
        ["README.md", "CONTRIBUTING.md", "docs/instructors.md"]
        + [f"courseware/templates/{name}" for name in ("release/README.md", "grader/README.md", "gradescope/setup.sh")],
    )
    def test_the_oldest_systems(self, name: str) -> None:
        assert set(re.findall(r"Python 3\.\d+ or newer", text(name))) == {f"{OLDEST} or newer"}
        assert set(re.findall(r"macOS \d+ (?=or newer|and)", text(name))) <= {f"macOS {start.OLDEST_MACOS} "}

    def test_the_oldest_python_for_machines(self) -> None:
        assert f"sys.version_info < {start.OLDEST}" in text("courseware/templates/gradescope/setup.sh")
        (python,) = yaml.safe_load(text(".github/workflows/test.yml"))["jobs"]["test"]["strategy"]["matrix"]["python"][:1]
        assert f"Python {python}" == OLDEST

    @pytest.mark.parametrize("name", ["release", "grader"])
    def test_how_much_is_fetched(self, name: str) -> None:
        said = text(f"courseware/templates/{name}/README.md")
        assert re.findall(r"(\d+) MB", said) == [str(round(weights.COURSE_WHEEL.size / 1e6))]
        (packages,) = re.findall(r"([\d.]+ GB) of packages", text("README.md"))
        assert set(re.findall(r"[\d.]+ GB", said)) <= {packages}

    def test_containers_install_the_same(self) -> None:
        def installed(name: str) -> set[str]:
            (line,) = re.findall(r"apt-get install -y --no-install-recommends (.+) \\\n", text(name))
            return set(line.split())

        assert installed("Dockerfile") - installed(".devcontainer/Dockerfile") == {"git", "make"}  # that image has them
        assert installed(".devcontainer/Dockerfile") <= installed("Dockerfile")


class TestSetUp:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A checkout of the course whose folder has a space and Chinese letters in its name."""
        made = tmp_path / "我的 课程"
        (made / "labs").mkdir(parents=True)
        for name in ("requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, made)
        monkeypatch.setattr(start, "ROOT", str(made))
        monkeypatch.setattr(sys, "argv", ["start.py"])
        return made

    def test_old_python_is_told(self) -> None:
        assert start.check_python(sys.version_info) is None
        said = start.check_python((3, 9, 18), "test -k hub")
        assert f"needs {OLDEST} or newer" in said and "is 3.9" in said
        assert said.endswith("python3.12 start.py test -k hub")

    def test_really_old_python_can_read_the_script(self) -> None:
        for minor in range(6, 11):
            environment = {**os.environ, "PYENV_VERSION": f"3.{minor}"}  # so that a shim of pyenv's starts it
            python = shutil.which(f"python3.{minor}")
            if python and subprocess.run([python, "-c", ""], env=environment, capture_output=True).returncode == 0:
                break
        else:
            pytest.skip("no Python older than 3.11 on the PATH")
        done = subprocess.run([python, "start.py"], env=environment, cwd=ROOT, capture_output=True, encoding="utf-8")
        assert done.returncode == 1 and f"needs {OLDEST} or newer" in done.stderr and "Traceback" not in done.stderr

    def test_pip_refuses_it_too(self) -> None:
        assert PROJECT["requires-python"] == ">=" + ".".join(map(str, start.OLDEST))

    @pytest.mark.parametrize(
        ("system", "kind", "bits", "mac", "says"),
        [
            ("linux", "x86_64", 64, "", None),
            ("linux", "aarch64", 64, "", None),
            ("win32", "AMD64", 64, "", None),
            ("darwin", "arm64", 64, "14.5", None),
            ("win32", "ARM64", 64, "", "Windows on ARM. Install the 64-bit Python for Intel"),
            ("win32", "x86", 32, "", "32-bit"),
            ("darwin", "x86_64", 64, "13.6", "Colab"),
            ("darwin", "arm64", 64, "13.6.1", "need macOS 14; this is 13.6.1"),
        ],
    )
    def test_a_machine_that_torch_has_no_package_for(
        self, system: str, kind: str, bits: int, mac: str, says: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(sys, "maxsize", 2 ** (bits - 1) - 1)
        monkeypatch.setattr(platform, "machine", lambda: kind)
        monkeypatch.setattr(platform, "mac_ver", lambda: (mac, ("", "", ""), ""))
        said = start.check_machine()
        assert (said is None) if says is None else says in said

    def test_windows_short_paths(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(start, "long_paths", lambda: False)
        assert start.check_place("C:/llm-course/.venv") is None
        said = start.check_place("C:/Users/a-student/OneDrive - A University/Documents/Year 3/llm-course/.venv")
        assert "characters too long for Windows" in said and "LongPathsEnabled" in said
        monkeypatch.setattr(start, "long_paths", lambda: True)
        assert start.check_place("x" * 400) is None

    def test_no_file_of_the_packages_has_a_longer_path(self) -> None:
        if Path(sys.prefix).name != ".venv":
            pytest.skip("not in the course's .venv")
        packages = Path(sysconfig.get_path("purelib"))
        longest = max((str(p.relative_to(packages)) for p in packages.rglob("*")), key=len)
        assert len("Lib/site-packages/" + longest) <= start.LONGEST_FILE, longest

    def test_python_of_an_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        assert Path(start.python_of(".venv")).parts == (".venv", "bin", "python")
        monkeypatch.setattr(sys, "platform", "win32")
        assert Path(start.python_of(".venv")).parts == (".venv", "Scripts", "python.exe")

    def test_where_torch_comes_from(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("COURSE_TORCH_INDEX", raising=False)
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        for system, index in (("linux", start.PYTORCH_CPU_INDEX), ("darwin", None), ("win32", None)):
            monkeypatch.setattr(sys, "platform", system)
            assert start.torch_index() == index
        monkeypatch.setenv("COURSE_TORCH_INDEX", "https://example.org/cu130")  # an NVIDIA GPU under Windows
        assert start.torch_index() == "https://example.org/cu130"

    def test_up_to_date_set_up_does_nothing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[bool] = []
        monkeypatch.setattr(
            start, "make_venv", lambda target, afresh: (os.makedirs(target, exist_ok=True), calls.append(afresh))
        )
        start.main()
        start.main()
        assert calls == [True]
        (folder / "requirements.lock").write_text("torch==9\n", encoding="utf-8")
        start.main()  # a new lock: packages are changed in place
        (folder / ".venv" / "course-stamp").write_text("3.10.1\nold\n", encoding="utf-8")
        start.main()  # another Python: from the start
        assert calls == [True, False, True]

    def test_set_up_that_fails_is_not_taken_for_done(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(target: str, afresh: bool) -> None:
            raise subprocess.CalledProcessError(1, ["pip", "install"])

        monkeypatch.setattr(start, "make_venv", fail)
        with pytest.raises(SystemExit, match="PIP_INDEX_URL"):
            start.main()
        assert not (folder / ".venv" / "course-stamp").exists()

    def test_too_little_disk(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(SystemExit, match="MB of disk"):
            start.make_venv(str(folder / ".venv"), afresh=True)

    def test_a_folder_with_a_chinese_name_is_found_in_any_encoding(self, folder: Path) -> None:
        """Python 3.11 and 3.12 read pip's line with the folder's name in the system's encoding, and may not even start."""
        (folder / "here.py").write_text("print('found')", encoding="utf-8")
        target = folder / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
        (packages,) = (p for p in target.rglob("site-packages") if not p.parent.is_symlink())
        (packages / "_editable_impl_course_utils.pth").write_text(str(folder), encoding="utf-8")
        start.point_here(str(target))
        environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        environment.pop("PYTHONPATH", None)
        program = [start.python_of(str(target)), "-c", "import here"]
        done = subprocess.run(program, cwd=packages, env=environment, capture_output=True, encoding="utf-8")
        assert done.stdout == "found\n", done.stderr


class TestCommands:
    """What `python start.py …` starts, in a checkout of the course and in a student's folder."""

    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[list[str], str]]:
        monkeypatch.setattr(sys, "platform", "linux")

        def started(*arguments: str, course: bool) -> tuple[list[str], str]:
            monkeypatch.setattr(start, "ROOT", str(ROOT if course else tmp_path))
            line, folder = start.command("env", list(arguments))
            return [Path(line[0]).relative_to("env").as_posix(), *line[1:]], str(Path(folder).relative_to(start.ROOT))

        return started

    def test_in_the_course(self, started: Callable[..., tuple[list[str], str]]) -> None:
        course = ["bin/python", "-c", start.COURSE]
        assert started("--lab", "--no-browser", course=True) == ([*course, "lab", "--no-browser"], ".")
        assert started("test", "--budget", "full", course=True) == ([*course, "test", "--budget", "full"], ".")
        assert started("notebooks", "10", course=True) == ([*course, "notebooks", "10"], ".")
        done = subprocess.run([sys.executable, "-c", start.COURSE, "notebooks", "77"], cwd=ROOT, capture_output=True)
        assert done.returncode == 1 and b"There is no chapter '77'" in done.stderr

    def test_nbgrader_s_buttons_for_authors_are_off(self) -> None:
        environment = start.with_settings({**os.environ, "JUPYTER_CONFIG_PATH": "/their/own"})
        assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [str(ROOT / "course_utils" / "jupyter"), "/their/own"]
        line = [sys.executable, "-m", "jupyter", "labextension", "list"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, encoding="utf-8")
        disabled = (done.stdout + done.stderr).partition("Disabled extensions")[2]
        assert all(f"@jupyter/nbgrader:{name}\n" in disabled for name in ("formgrader", "create-assignment", "course-list"))
        assert "validate" not in disabled  # a student's own button

    def test_in_a_student_s_folder(self, started: Callable[..., tuple[list[str], str]]) -> None:
        assert started("--lab", "--port=9", course=False) == (["bin/python", "-m", "jupyterlab", "--port=9"], "labs")
        assert started("--test", "10", course=False) == (["bin/python", "-m", "course_utils.rerun", "10"], ".")
        with pytest.raises(SystemExit, match="knows --lab and --test, not grade"):
            started("grade", course=False)

    def test_make_calls_it(self) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert [line for line in makefile.splitlines() if line.startswith("\t") and "start.py" not in line] == []

    def test_ctrl_c_is_the_command_s_own(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """JupyterLab asks whether to stop: who started it must wait for the answer."""
        waits = iter([KeyboardInterrupt, 7])

        class Process:
            def wait(self) -> int:
                said = next(waits)
                if isinstance(said, int):
                    return said
                raise said

        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: Process())
        assert start.run(["jupyter"], str(tmp_path)) == 7
