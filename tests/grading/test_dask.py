"""Grading on a Dask cluster: two real worker processes, one of them killed while it works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_class import QUICK, RIGHT, TINY, handed_in, needs_box, scores

from course_utils.errors import CourseError
from courseware.grading import scheduler

pytestmark = needs_box
Cluster = tuple[str, list["subprocess.Popen[bytes]"], Callable[[], None]]  # address, workers, start another


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    where = tmp_path / "scheduler.json"
    common = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*python, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where)], **common
    )
    end = time.monotonic() + 60
    while not where.exists() or not where.read_text(encoding="utf-8").strip():
        assert time.monotonic() < end and scheduler.poll() is None, "the scheduler did not start"
        time.sleep(0.2)
    address = json.loads(where.read_text(encoding="utf-8"))["address"]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
    ]
    workers = [subprocess.Popen(worker, **common)]
    yield address, workers, lambda: workers.append(subprocess.Popen(worker, **common))
    for process in (*workers, scheduler):
        process.kill()


def test_a_cluster_that_loses_a_worker_grades_all(cluster: Cluster, tmp_path: Path) -> None:
    """The second worker comes when the first one has graded something: nothing may be with that one only."""
    address, workers, start_another = cluster
    submitted, out = tmp_path / "submitted", tmp_path / "graded"
    submitted.mkdir()
    for n in range(8):
        slow = handed_in(RIGHT, before=f"import time\ntime.sleep(1.5)  # {n}")
        (submitted / f"s{n}.ipynb").write_text(json.dumps(slow), encoding="utf-8")

    def kill_one() -> None:
        while not list(out.glob("results/s*.json")):
            time.sleep(0.1)
        start_another()
        os.kill(workers[0].pid, signal.SIGKILL)

    threading.Thread(target=kill_one, daemon=True).start()
    scheduler.grade_class(TINY, submitted, out, scheduler.Options(dask=address, limits=QUICK))
    assert workers[0].wait(10) == -signal.SIGKILL and workers[1].poll() is None
    assert [scores(out, f"s{n}") for n in range(8)] == [(3, 3)] * 8


def test_no_scheduler_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_CONNECT", 1)
    (tmp_path / "a.ipynb").write_text("x", encoding="utf-8")
    with pytest.raises(CourseError, match="No Dask scheduler answers"):
        scheduler.grade_class(TINY, tmp_path, tmp_path / "graded", scheduler.Options(dask="tcp://127.0.0.1:9", limits=QUICK))
