"""A tiny lab, notebooks for it, and what grading found of one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode

from courseware import build
from courseware.chapters import Chapter
from courseware.grading import box, demo, scheduler

TINY = Chapter(Path(__file__).parent / "90_tiny")
RIGHT = {"double": "def double(x):\n    return 2 * x", "total": "def total(values):\n    return float(sum(values))"}
WRONG = "def double(x):\n    return x"
QUICK = {"cell": "6 s", "total": "40 s", "memory": "1 GB", "disk": "60 MB", "output": "2 MB", "processes": "64"}


def why_no_box() -> str:
    try:
        box.check()
    except box.BoxError as error:
        return str(error).splitlines()[0]
    return ""


needs_box = pytest.mark.skipif(bool(why_no_box()), reason=why_no_box())


class Here(scheduler._Worker):
    """A worker of the grader's in a thread of this process: it need not be started, and keeps its zygote for the next."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)

    def close(self) -> None:
        self.pool.shutdown()


def handed_in(answers: dict[str, str], before: str = "", chapter: Chapter = TINY) -> dict[str, Any]:
    """A student's notebook as JSON: the lab with answers, and an own cell before them."""
    made = demo.notebook(chapter, answers)
    if before:
        first = next(i for i, c in enumerate(made["cells"]) if c["metadata"].get("nbgrader", {}).get("grade_id") == "double")
        made["cells"].insert(first, own_cell(before))
    return made


def own_cell(source: str) -> dict[str, Any]:
    """A code cell of a student's, as JSON."""
    return dict(json.loads(json.dumps(nbformat.v4.new_code_cell(source))))


def chinese(chapter: Chapter, answers: Mapping[str, str]) -> NotebookNode:
    """A student's notebook of the Chinese edition: the code of the exercises that are answered."""
    made = build.student_lab(chapter, "zh_CN")
    for cell in made.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    return made


def result_of(out: Path, student: str) -> dict[str, Any]:
    return json.loads((out / "results" / f"{student}.json").read_text(encoding="utf-8"))


def scores(out: Path, student: str) -> tuple[float, float]:
    """Points of the two exercises."""
    points = result_of(out, student)["scores"]
    return points["double-tests"] + points["double-hidden"], points["total-tests"] + points["total-hidden"]


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what happens soon, on a busy machine later."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.1)


def running(text: str) -> list[psutil.Process]:
    """The processes of this machine that have `text` in their command line."""
    return [process for process in psutil.process_iter(["cmdline"]) if text in " ".join(process.info["cmdline"] or [])]
