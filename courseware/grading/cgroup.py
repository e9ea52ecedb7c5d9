"""One control group for each box, where the system lets us make one: the kernel itself then keeps its memory and processes.

Only version 2 with the controllers memory and pids counts, in a part of the tree that is ours to divide: as root, or
delegated (`systemd-run --user --scope -p Delegate=yes course grade …`). Elsewhere boxes are watched without (watch.py).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
import time
from pathlib import Path

_NEEDED = {"memory", "pids"}
_count = itertools.count()
_lock = threading.Lock()
_place: list[Path | None] = []  # where groups are made; found once


class Group:
    """One box's group. Whoever is in it stays in it, with all its children."""

    def __init__(self, path: Path, memory: int, processes: int) -> None:
        self.path = path
        path.mkdir()
        try:
            self._write("memory.max", memory)
            self._write("pids.max", processes)
            for name, value in (("memory.swap.max", 0), ("memory.oom.group", 1), ("cpu.max", "100000 100000")):
                with contextlib.suppress(OSError):  # not every kernel, and not every place, has these
                    self._write(name, value)
        except OSError:
            self.remove()
            raise

    def _write(self, name: str, value: int | str) -> None:
        (self.path / name).write_text(str(value), encoding="utf-8")

    def entering(self, program: list[str]) -> list[str]:
        """A command that enters the group and then becomes `program`."""
        return ["/bin/sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(self.path), *program]

    def memory_ran_out(self) -> bool:
        """Has the system killed something in it because its own limit of memory was reached?

        A kill is counted as well when the whole machine had no memory left, and that is nobody's in here.
        """
        with contextlib.suppress(OSError, ValueError):  # the group is gone, or this kernel does not count it
            events = dict(
                re.findall(r"^(\w+) (\d+)$", (self.path / "memory.events").read_text(encoding="utf-8"), re.MULTILINE)
            )
            return int(events.get("oom", 0)) > 0 and int(events.get("oom_kill", 0)) > 0
        return False

    def processor(self) -> float | None:
        """Seconds that all of it has computed, also what has ended; None where that is not counted."""
        with contextlib.suppress(OSError, ValueError):  # the group is gone, or this kernel does not count it
            match = re.search(r"^usage_usec (\d+)", (self.path / "cpu.stat").read_text(encoding="utf-8"), re.MULTILINE)
            return int(match[1]) / 1e6 if match else None
        return None

    def kill(self) -> None:
        with contextlib.suppress(OSError):  # since Linux 5.14
            self._write("cgroup.kill", 1)

    def remove(self) -> None:
        """Take it away; it goes when the last process in it has gone."""
        self.kill()
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except FileNotFoundError:  # removed already
                return
            except OSError:  # what was killed in it has not ended yet
                time.sleep(0.02)


def group(memory: int, processes: int) -> Group | None:
    """A new group with these limits; None where none can be made."""
    with _lock:
        if not _place:
            _place.append(_find())
    if _place[0] is None:
        return None
    try:
        return Group(_place[0] / f"course-box-{os.getpid()}-{next(_count)}", memory, processes)
    except OSError:  # then the box is watched from outside (watch.py)
        return None


def _find() -> Path | None:
    """A group that may have children with limits: our own, once it is empty, or the one that we are in is a child of."""
    try:
        mount, ours = _mounted(), _own()
        if mount is None or ours is None:
            return None
        own = mount / ours.lstrip("/")
        for place in (own, own.parent):
            if place.is_relative_to(mount) and _divided(place):
                return place
        if set((own / "cgroup.controllers").read_text(encoding="utf-8").split()) >= _NEEDED and _only_we(own):
            return _divide(own)
    except OSError:  # not ours to divide: then there are no groups
        pass
    return None


def _mounted() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _own() -> str | None:
    match = re.search(r"^0::(/.*)$", Path("/proc/self/cgroup").read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else None


def _divided(place: Path) -> bool:
    """Do its children have controllers, and may we make some?"""
    given = set((place / "cgroup.subtree_control").read_text(encoding="utf-8").split())
    return given >= _NEEDED and os.access(place, os.W_OK) and os.access(place / "cgroup.procs", os.W_OK)


def _only_we(place: Path) -> bool:
    """Is there nobody in it but this process, those that have started it, and those that it has started?

    A group whose children have controllers can have no processes of its own, so they would have to move.
    """
    if not os.access(place / "cgroup.procs", os.W_OK):
        return False
    inside = {int(pid) for pid in (place / "cgroup.procs").read_text(encoding="utf-8").split()}
    known = {os.getpid()}
    parents = {pid: _parent(pid) for pid in inside}
    above = os.getpid()
    while above in parents:
        known.add(above)
        above = parents[above]
    while more := {pid for pid in inside - known if parents[pid] in known}:
        known |= more
    return inside <= known


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):  # it has ended
        return 0


def _divide(own: Path) -> Path:
    """Move all that is in a group into a child of it, and let its children have controllers."""
    grader = own / "course-grader"
    grader.mkdir(exist_ok=True)
    for pid in (own / "cgroup.procs").read_text(encoding="utf-8").split():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            (grader / "cgroup.procs").write_text(pid, encoding="utf-8")
    wanted = _NEEDED | ({"cpu"} & set((own / "cgroup.controllers").read_text(encoding="utf-8").split()))
    (own / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(wanted)), encoding="utf-8")
    return own
