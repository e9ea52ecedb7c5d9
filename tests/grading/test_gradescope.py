"""A lab's autograder for Gradescope, run as Gradescope runs it, in a folder instead of /autograder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_class import RIGHT, TINY, WRONG, handed_in, needs_box

from courseware import build
from courseware.chapters import ROOT, Chapter
from courseware.cli import main
from courseware.grading import autograde, gradescope, verdict

LAB = verdict.Lab("90_tiny", "key", "", [], {name: verdict.Exercise(1, 2, "", "", None) for name in ("double", "total")})


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gradescope") / "tiny.zip"
    assert gradescope.pack(TINY, path) == path.stat().st_size
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter: pytest's own are closed, Gradescope's is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def root(packed: Path, open_folder: Path) -> Path:
    """What Gradescope makes of it: the zip unpacked, the environment of this test in place of a new one."""
    source = open_folder / "autograder" / "source"
    source.mkdir(parents=True)
    with zipfile.ZipFile(packed) as archive:
        for entry in archive.infolist():
            Path(archive.extract(entry, source)).chmod(entry.external_attr >> 16 & 0o777)
    python = source / "course" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return open_folder / "autograder"


def prepare(root: Path, path: str = "", python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "courseware.grading.gradescope", "prepare", str(root / "source")]
    environment = {**os.environ, "PYTHONPATH": "", **({"PATH": path} if path else {})}
    return subprocess.run(
        command, cwd=root / "source" / "course", capture_output=True, text=True, env=environment, encoding="utf-8"
    )


def graded(root: Path, files: dict[str, Any], path: str = "") -> dict[str, Any]:
    folder = root / "submission"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": "", "AUTOGRADER_ROOT": str(root), **({"PATH": path} if path else {})}
    environment["COURSE_BUDGET"] = "quick"
    done = subprocess.run(
        [str(root / "source" / "run_autograder")], capture_output=True, text=True, env=environment, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))


def by_name(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {test["name"]: test for test in results["tests"]}


def test_what_is_in_the_zip(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        names = set(archive.namelist())
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert {"setup.sh", "run_autograder", "settings.sh", "settings.json", "README.md"} <= names
    assert modes["setup.sh"] & 0o111 and modes["run_autograder"] & 0o111, "Gradescope runs them as programs"
    assert [name for name in names if name.startswith("course/chapters")] == ["course/chapters/90_tiny/lab.py"]
    assert "course/courseware/grading/box.py" in names and "course/course_utils/lab.py" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("course/tests")]


def test_its_guide_in_chinese(tmp_path: Path) -> None:
    gradescope.pack(TINY, tmp_path / "tiny.zip", "zh_CN")
    with zipfile.ZipFile(tmp_path / "tiny.zip") as archive:
        assert archive.read("README.md").decode().startswith("# 给 Gradescope 的实验")


@pytest.mark.parametrize("program", ["setup.sh", "run_autograder", "settings.sh"])
def test_its_programs_are_bash(program: str) -> None:
    path = ROOT / "courseware" / "templates" / "gradescope" / program
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    assert b"\r" not in path.read_bytes()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "--gradescope", "10", "--out", str(tmp_path)]) == 0
    with zipfile.ZipFile(tmp_path / "10_quantization-gradescope.zip") as archive:
        archive.extractall(tmp_path / "source")
    there, here = (Chapter(root / "chapters" / "10_quantization") for root in (tmp_path / "source" / "course", ROOT))
    assert build.plain(build.student_lab(there)) == build.plain(build.student_lab(here)), "the lab it grades with is another"
    assert "keep it from students" in capsys.readouterr().out
    assert main(["release", "10"]) == 1 and "--repo" in capsys.readouterr().err


def test_results_have_the_form_that_gradescope_reads() -> None:
    result = autograde.Result("", "90_tiny", "key", "a.ipynb", "", "boxed", {"double-tests": 1.0, "double-hidden": 0.0})
    result.messages = {"double": [["note", "its cell was split"], ["hidden", ""], ["because", "an array with two axes"]]}
    result.reasons = {"total": "not answered"}
    result.why = {"double": "hidden: HIDDEN-MARKER"}
    made = gradescope.report(result, LAB, {"tests": "visible", "hidden": "after_published"})
    json.dumps(made)
    tests = by_name(made)
    assert made["score"] == 1.0 and made["stdout_visibility"] == "hidden"
    assert sum(test["max_score"] for test in made["tests"]) == 6
    assert tests["double: hidden tests"]["visibility"] == "after_published"
    assert tests["double: hidden tests"]["output"] == "hidden tests: not passed\nit fails for: an array with two axes"
    assert tests["double: visible tests"]["visibility"] == "visible" and tests["double: visible tests"]["output"] == ""
    assert tests["total: visible tests"]["output"] == "not answered"
    assert "HIDDEN-MARKER" in tests["for the instructor"]["output"] and tests["for the instructor"]["visibility"] == "hidden"
    assert {test["visibility"] for test in made["tests"]} <= {"hidden", "after_due_date", "after_published", "visible"}
    assert "MARKER" not in json.dumps([test for test in made["tests"] if test["visibility"] != "hidden"])


@needs_box
def test_submissions_in_a_box(root: Path) -> None:
    done = prepare(root)
    assert done.returncode == 0 and "90_tiny is ready. This submission ran in a bubblewrap box" in done.stdout, done.stderr
    results = graded(root, {"my lab (2).ipynb": handed_in({**RIGHT, "double": WRONG}), "notes.txt": "hello"})
    tests = by_name(results)
    assert results["score"] == 3.0 and "Graded: submission/my lab (2).ipynb" in results["output"]
    assert (
        tests["double: visible tests"]["status"] == "failed" and "twice 1 and 2" in tests["double: visible tests"]["output"]
    )
    assert "it fails for: an array with two axes" in tests["double: hidden tests"]["output"]
    nothing = graded(root, {"essay.pdf": "%PDF-1.4"})
    assert nothing["score"] == 0.0 and "essay.pdf is a PDF" in nothing["output"]


SPY = """\
import os, pathlib
found = []
for name in ("course/chapters/90_tiny/lab.py", "prepared", "settings.json", "course/courseware/cli.py"):
    try:
        path = pathlib.Path(ROOT) / "source" / name
        found.append(path.read_text()[:40] if path.suffix else str(list(path.iterdir())))
    except OSError as error:
        found.append(type(error).__name__)
try:
    (pathlib.Path(ROOT) / "results").mkdir(exist_ok=True)
    (pathlib.Path(ROOT) / "results" / "results.json").write_text("{}")
    found.append("wrote")
except OSError as error:
    found.append(type(error).__name__)
print("SPY", os.getuid(), found, os.environ.get("SECRET_OF_THE_GRADER"))
"""


def everybodys_python(folder: Path) -> str:
    """A Python with this one's packages that another user may run; this one may lie in root's own folder."""
    version = f"python3.{sys.version_info.minor}"
    for base in (Path(sys.executable).resolve(), Path("/usr/bin") / version, Path("/usr/local/bin") / version):
        made = folder / "env"
        shutil.rmtree(made, ignore_errors=True)
        (made / "bin").mkdir(parents=True)
        site = made / "lib" / version / "site-packages"
        site.mkdir(parents=True)
        (made / "bin" / "python").symlink_to(base)
        (made / "pyvenv.cfg").write_text(f"home = {base.parent}\n", encoding="utf-8")
        (site / "all.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")), encoding="utf-8")
        program = str(made / "bin" / "python")
        other = ["setpriv", "--reuid=61184", "--regid=61184", "--clear-groups", "prlimit", program, "-c", "import ipykernel"]
        if base.exists() and subprocess.run(other, capture_output=True, cwd="/").returncode == 0:
            return program
    pytest.skip(f"no {version} here that another user may run")


@pytest.mark.skipif(os.geteuid() != 0, reason="Gradescope runs it as root")
def test_the_fallback_keeps_the_tests_from_being_read(
    root: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "secret")
    programs = open_folder / "bin"  # all that there is, but bubblewrap
    programs.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name != "bwrap" and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    python = everybodys_python(open_folder)
    wrapper = root / "source" / "course" / ".venv" / "bin" / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {python} "$@"\n', encoding="utf-8")
    done = prepare(root, str(programs), python)
    assert done.returncode == 0 and "ran as a user who owns nothing" in done.stdout, done.stderr
    source = root / "source"  # as setup.sh does
    for path in (source, source / "course"):
        path.chmod(0o711)
    for name in ("course/chapters", "course/courseware", "prepared"):
        subprocess.run(["chmod", "-R", "go-rwx", str(source / name)], check=True)
    spy = handed_in(RIGHT, before=SPY.replace("ROOT", repr(str(root))))
    results = graded(root, {"a.ipynb": spy}, str(programs))
    assert results["score"] == 6.0 and "ran as a user who owns nothing" in by_name(results)["for the instructor"]["output"]
    printed = spy_on(root, spy, str(programs), python)
    said = next(line for line in printed.splitlines() if line.startswith("SPY"))
    assert said.startswith("SPY ") and " 0 [" not in said and said.endswith("None")
    assert said.count("PermissionError") >= 3 and "wrote" not in said and "HIDDEN" not in said and "# %%" not in said


def spy_on(root: Path, notebook: dict[str, Any], path: str, python: str) -> str:
    """What the notebook printed in the fallback."""
    code = (
        "import sys, json, nbformat\nfrom pathlib import Path\n"
        "from courseware.grading import autograde, box, canary, gradescope, verdict\n"
        "lab = gradescope._lab(Path(sys.argv[1]))\n"
        "job = canary.job(lab, box.Limits.read(), True, warm=False)\njob.data = sys.stdin.buffer.read()\n"
        "result = autograde.grade(job, verdict.prepare(lab, Path(sys.argv[1]) / 'prepared').dumps())\n"
        "cells = nbformat.reads(result.notebook, as_version=4).cells\n"
        "print(*[o.get('text', '') for c in cells for o in c.get('outputs', [])])\n"
    )
    environment = {**os.environ, "PYTHONPATH": "", "PATH": path}
    done = subprocess.run(
        [python, "-c", code, str(root / "source")], cwd=root / "source" / "course", capture_output=True, text=True,
        env=environment, input=json.dumps(notebook),
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(" SPY", "SPY")


def test_neither_box_nor_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    from courseware.grading import box

    def no_box() -> None:
        raise box.BoxError("no box")

    monkeypatch.setattr(box, "check", no_box)
    monkeypatch.setattr(box, "can_leave_root", lambda: False)
    with pytest.raises(Exception, match="none is run"):
        gradescope._fallback()
