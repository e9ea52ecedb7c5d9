"""Where control groups for boxes can be made, on trees of files that look like those of a system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from courseware.grading import cgroup


def tree(root: Path, groups: dict[str, tuple[str, str, str]]) -> Path:
    """A cgroup2 mount: path → (controllers, those given to children, processes)."""
    for path, (controllers, given, processes) in groups.items():
        folder = root / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(controllers, encoding="utf-8")
        (folder / "cgroup.subtree_control").write_text(given, encoding="utf-8")
        (folder / "cgroup.procs").write_text(processes, encoding="utf-8")
    return root


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(cgroup, "_mounted", lambda: tmp_path)
    monkeypatch.setattr(cgroup, "_own", lambda: "/slice/scope")
    monkeypatch.setattr(cgroup, "_place", [])
    return tmp_path


EVERYTHING = "cpu memory pids"


def test_below_the_group_that_ours_is_in(here: Path) -> None:
    tree(
        here,
        {
            ".": (EVERYTHING, EVERYTHING, ""),
            "slice": (EVERYTHING, "memory pids", ""),
            "slice/scope": ("memory pids", "", "1"),
        },
    )
    assert cgroup._find() == here / "slice"


def test_a_group_of_our_own_is_divided(here: Path) -> None:
    ours = f"{os.getpid()}\n"
    tree(here, {".": (EVERYTHING, EVERYTHING, ""), "slice": (EVERYTHING, "", ""), "slice/scope": (EVERYTHING, "", ours)})
    (here / "slice/scope/course-grader").mkdir()
    assert cgroup._find() == here / "slice/scope"
    assert (here / "slice/scope/cgroup.subtree_control").read_text(encoding="utf-8") == "+cpu +memory +pids"
    assert (here / "slice/scope/course-grader/cgroup.procs").read_text(encoding="utf-8") == str(os.getpid())


def test_a_group_with_somebody_else_in_it_is_left_alone(here: Path) -> None:
    stranger = 4_194_305  # above all numbers that Linux gives: no parent of ours, as 1 may be
    tree(
        here,
        {
            ".": (EVERYTHING, EVERYTHING, ""),
            "slice": (EVERYTHING, "", ""),
            "slice/scope": (EVERYTHING, "", f"{os.getpid()}\n{stranger}\n"),
        },
    )
    assert cgroup._find() is None and not (here / "slice/scope/course-grader").exists()


@pytest.mark.parametrize("controllers", ["", "cpu", "memory"])
def test_not_without_the_controllers_that_count(here: Path, controllers: str) -> None:
    ours = f"{os.getpid()}\n"
    tree(here, {".": (controllers, "", ""), "slice": (controllers, "", ""), "slice/scope": (controllers, "", ours)})
    assert cgroup._find() is None and cgroup.group(1_000_000, 10) is None


def test_not_where_there_is_no_version_2(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_mounted", lambda: None)
    assert cgroup.group(1_000_000, 10) is None


def test_a_group_has_its_limits_and_says_that_memory_ran_out(here: Path) -> None:
    made = cgroup.Group(here / "box", 1_000_000, 10)
    assert [(here / "box" / name).read_text(encoding="utf-8") for name in ("memory.max", "pids.max", "memory.swap.max")] == [
        "1000000",
        "10",
        "0",
    ]
    assert not made.memory_ran_out() and made.processor() is None
    (here / "box" / "memory.events").write_text("low 0\nmax 3\noom 0\noom_kill 1\n", encoding="utf-8")
    assert not made.memory_ran_out(), "the machine had no memory left, not this group"
    (here / "box" / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 1\n", encoding="utf-8")
    (here / "box" / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n", encoding="utf-8")
    assert made.memory_ran_out() and made.processor() == 2.5
    assert made.entering(["program", "x"])[-3:] == [str(here / "box"), "program", "x"]
