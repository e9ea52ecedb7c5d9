"""The tiny lab of `tiny_class.py`, prepared once; a class graded for a test."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_class import QUICK, RIGHT, TINY, handed_in

from courseware.grading import scheduler, verdict


@pytest.fixture(scope="session")
def right() -> dict[str, Any]:
    return handed_in(RIGHT)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> verdict.Lab:
    """The tiny lab with what its solution gives: the same for every class, and seconds to make."""
    return verdict.prepare(TINY, tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def grade(tmp_path: Path, prepared: verdict.Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Grade a class given as {file name: notebook or bytes}; returns the output folder."""
    monkeypatch.setattr(verdict, "prepare", lambda source, cache: prepared)

    def graded(files: dict[str, Any], **options: Any) -> Path:
        folder = tmp_path / "submitted"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            (folder / name).write_bytes(data)
        options.setdefault("limits", QUICK)
        options.setdefault("warm", False)  # the attacks are warm
        options.setdefault("canary", False)  # it has tests of its own
        scheduler.grade_class(TINY, folder, tmp_path / "graded", scheduler.Options(**options))
        return tmp_path / "graded"

    return graded


@pytest.fixture
def solved(right: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(right)
