"""What a box uses, seen from outside, and the end of one that uses too much.

Limits of the system (rlimits) count for each process, and a box may have hundreds. So its processes are added up ten times a
second. Memory that is shared is counted once: a model that eight workers have inherited is one model. What no process shows
is counted where it lies: pages that only a mapping still holds, page tables, the list of mappings itself, files without a
byte, sockets.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SHARED_FILES = 64  # sockets and the connection file; more of them is somebody filling a disk
_SHARED_BYTES = 1_000_000
FILES = 50_000  # in all of a box's file systems; each costs a kilobyte of the system's memory, also an empty one
SOCKETS = 1_000  # each may hold 200 KB
_UNSEEN = 1.0  # seconds that a process shows nothing, after which it is hiding
_SUSPICIOUS = 50_000_000  # bytes by which what no process shows may grow in the whole system before it is looked for
_MAPPING = 300  # bytes that the system needs to remember a mapping
_FILE_SYSTEMS = ("tmp", "home/student", "dev/shm")
_HELD = ("RssAnon", "RssShmem", "VmPTE")
_BYTES = (*_HELD, "VmData")
_STATUS = re.compile(rf"^({'|'.join(_BYTES)}|Threads|State|NSpid):(.*)", re.MULTILINE)


@dataclass
class Use:
    """What all processes of a box have."""

    memory: int = 0  # bytes
    threads: int = 0
    data: int = 0  # bytes: the largest data segment of one process, which the system limits
    files: int = 0  # and folders, in the box's own file systems
    sockets: int = 0
    hidden: bool = False  # one of them has not let itself be looked at for a second


@dataclass
class Members:
    """The processes of a box: those in its namespace of processes, and all that descend from its first ones."""

    roots: list[int]  # the program that makes the box; a warm kernel, which descends from another
    apart: bool = True  # they have a namespace of their own
    namespace: str = ""
    first: int = 0  # the first process of the namespace, which is not the student's
    unseen: dict[int, float] = field(default_factory=dict)  # process → since when it has shown nothing
    unshown_before: int = field(default_factory=lambda: _unshown())

    def pids(self) -> list[int]:
        """All that live.

        A process that forbids to be looked at does not show its namespace, but it cannot hide whose child it is.
        """
        if not self.apart:
            return sorted({pid for root in self.roots for pid in (root, *_descendants(root))})
        shown = {pid: namespace(pid) for pid in psutil.pids()}
        if not self.namespace:
            started = {shown.get(pid, "") for root in self.roots for pid in _descendants(root)}
            self.namespace = next(iter(started - {namespace(os.getpid()), ""}), "")
        members = {pid for pid, name in shown.items() if name and name == self.namespace}
        blind = {pid: _parent(pid) for pid, name in shown.items() if not name}
        members |= blind.keys() & set(self.roots)
        while more := {pid for pid, parent in blind.items() if parent in members} - members:
            members |= more
        return sorted(members)

    def look(self, limit: int) -> Use:
        """Add up; exactly only where a quick look says that it may be more than `limit` bytes of memory."""
        pids, use = self.pids(), Use()
        for pid in pids:
            shown = _status(pid)
            use.memory += sum(shown.get(name, 0) for name in _HELD)
            use.threads += shown.get("Threads", 0)
            use.data = max(use.data, shown.get("VmData", 0))
            if shown and not namespace(pid):
                use.hidden |= time.monotonic() - self.unseen.setdefault(pid, time.monotonic()) > _UNSEEN
            else:
                self.unseen.pop(pid, None)
            if shown.get("NSpid") == 1:
                self.first = pid
        if use.memory > limit or _unshown() > self.unshown_before + _SUSPICIOUS:
            use.memory = _exactly(pids)
        if self.first:
            with contextlib.suppress(OSError):  # it has ended
                held = [os.statvfs(f"/proc/{self.first}/root/{name}") for name in _FILE_SYSTEMS]
                use.files = sum(about.f_files - about.f_ffree for about in held)
            with contextlib.suppress(OSError):  # it has ended
                match = re.search(
                    r"sockets: used (\d+)", Path(f"/proc/{self.first}/net/sockstat").read_text(encoding="utf-8")
                )
                use.sockets = int(match[1]) if match else 0
        return use

    def kill(self) -> None:
        """End them all; what they start meanwhile too, for with its first process a box ends."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or its number is another's by now
                os.kill(pid, signal.SIGKILL)

    def waited(self) -> tuple[float, float]:
        """Seconds that all of them have computed, and that the one that waited longest has waited for a processor."""
        computed = longest = 0.0
        for pid in self.pids():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended
                fields = _stat(pid)
                computed += sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")  # with its children
                longest = max(longest, int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[1]) / 1e9)
        return computed, longest


def small(folder: Path) -> bool:
    """Does the folder of sockets hold sockets, or somebody's data?"""
    count = size = 0
    closed: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=closed.append):
        count += len(folders) + len(files)
        for name in files:
            with contextlib.suppress(OSError):  # removed meanwhile
                size += os.lstat(os.path.join(parent, name)).st_blocks * 512
        if count > _SHARED_FILES or size > _SHARED_BYTES:
            return False
    return not any(isinstance(error, PermissionError) for error in closed)


def namespace(pid: int) -> str:
    """The name of its namespace of processes; "" where it is not shown."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # it is gone, or not ours
        return ""


def program(pid: int) -> str:
    """What it was started with; "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:  # it has ended
        return ""


def _parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except (OSError, IndexError):  # it is gone
        return 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/…/stat from the state on; a name before them may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _descendants(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:  # it has ended
        return []


def _status(pid: int) -> dict[str, int]:
    """Bytes and counts of one process; empty for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return {}
    values = {name: value.split() for name, value in _STATUS.findall(text)}
    if values.pop("State", ["Z"])[0] in "ZX":
        return {}
    inside = int(values.pop("NSpid", ["0"])[-1])  # its number in the innermost namespace
    return {"NSpid": inside} | {name: int(value[0]) * (1024 if name in _BYTES else 1) for name, value in values.items()}


def _exactly(pids: list[int]) -> int:
    """Bytes of memory of all these, each page once."""
    private = mapped = 0
    segments: dict[str, int] = {}
    for pid in pids:
        shown = _status(pid)
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
            share = {match[1]: int(match[2]) * 1024 for match in re.finditer(r"^(\w+):\s+(\d+)", rollup, re.MULTILINE)}
            private += share.get("Pss_Anon", 0) + share.get("SwapPss", 0) + shown.get("VmPTE", 0)
            mapped += share.get("Pss_Shmem", 0)
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
            private += _MAPPING * len(maps)
            segments |= _segments(pid, maps)
        except PermissionError:  # its pages may not be read: what everybody may read of it counts
            private += sum(shown.get(name, 0) for name in _HELD)
        except OSError:  # it has ended
            continue
    return private + max(mapped, sum(segments.values()))


def _segments(pid: int, maps: list[str]) -> dict[str, int]:
    """Memory that a process shares with its children through mappings of no file: by number, bytes that they may hold."""
    sizes: dict[str, int] = {}
    for line in maps:
        fields = line.split(maxsplit=5)
        if fields[1][3:4] == "s" and len(fields) == 6 and fields[5].startswith(("/dev/zero", "/memfd:", "/SYSV")):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            size = end - start
            with contextlib.suppress(OSError):  # exactly, where we may
                size = os.stat(f"/proc/{pid}/map_files/{fields[0]}").st_blocks * 512
            sizes[fields[4]] = max(size, sizes.get(fields[4], 0))
    return sizes


def _unshown() -> int:
    """Bytes in the whole system that no process need show: shared memory, and what the system itself keeps."""
    with contextlib.suppress(OSError):  # no /proc/meminfo: 0, before and after
        sizes = re.findall(
            r"^(?:Shmem|SUnreclaim):\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE
        )
        return sum(map(int, sizes)) * 1024
    return 0
