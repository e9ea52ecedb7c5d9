"""What a box uses, counted from outside: on ordinary child processes, which are watched the same way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from courseware.grading import box, watch

MEGABYTE = 1_000_000


@contextmanager
def child(code: str) -> Iterator[watch.Members]:
    """A process that has run this and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}\nprint('ready', flush=True)\ninput()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    members = watch.Members([process.pid], apart=False)
    try:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        yield members
    finally:
        members.kill()
        process.wait()


def test_what_children_inherit_is_counted_once() -> None:
    code = (
        "import os, time\nx = bytearray(b'1') * 100_000_000\nfor _ in range(4):\n    if os.fork() == 0:\n"
        "        time.sleep(100)"
    )
    with child(code) as members:
        assert members.look(10**12).memory > 400 * MEGABYTE  # a quick look adds up
        assert 100 * MEGABYTE < members.look(0).memory < 200 * MEGABYTE
        assert members.look(0).threads == 5


def test_page_tables_are_counted() -> None:
    """Of an address space without memory (MAP_NORESERVE), whose every page is the same one of zeros."""
    code = (
        "import mmap\nm = mmap.mmap(-1, 1 << 37, flags=mmap.MAP_PRIVATE | 0x4000, prot=mmap.PROT_READ)\n"
        "n = sum(m[i] for i in range(0, 1 << 37, 1 << 21))"
    )
    with child(code) as members:
        assert members.look(10**12).memory > 200 * MEGABYTE and members.look(0).memory > 200 * MEGABYTE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_only_a_mapping_still_holds_is_counted() -> None:
    code = (
        "import mmap\nmaps = [mmap.mmap(-1, 50_000_000) for _ in range(3)]\nfor m in maps:\n"
        "    m.write(b'1' * 50_000_000)\n    m.madvise(mmap.MADV_DONTNEED)"
    )
    before = watch.Members([os.getpid()], apart=False).unshown_before
    with child(code) as members:
        members.unshown_before = before
        assert members.look(10**12).memory > 150 * MEGABYTE


def test_lists_of_mappings_are_counted() -> None:
    """Each child has a copy of sixty thousand mappings of a page each."""
    code = (
        "import ctypes, os, time\nlibc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
        "start = libc.mmap(None, ctypes.c_size_t(60_000 << 12), 1, 0x4022, -1, ctypes.c_long(0))\n"
        "for i in range(0, 60_000, 2): libc.mprotect(ctypes.c_void_p(start + (i << 12)), 4096, 0)\n"
        "for _ in range(3):\n    if os.fork() == 0: time.sleep(100)"
    )
    with child(code) as members:
        assert members.look(0).memory > 4 * 17 * MEGABYTE


def test_what_it_has_computed_and_waited() -> None:
    with child("t = sum(range(10_000_000))") as members:
        computed, waited = members.waited()
        assert computed > 0.05 and waited >= 0


def test_who_shows_nothing_for_a_second_hides_however_often_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    with child("") as members:
        monkeypatch.setattr(watch, "namespace", lambda pid: "")
        assert not any(members.look(10**12).hidden for _ in range(30))
        members.unseen = {pid: since - 1.1 for pid, since in members.unseen.items()}
        assert members.look(10**12).hidden
        monkeypatch.undo()
        assert not members.look(10**12).hidden and not members.unseen


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (watch.Use(memory=5_000_000_000), "used more than 4.0 GB of memory"),
        (watch.Use(threads=300), "started more than 256 processes and threads"),
        (watch.Use(files=60_000), "made more than 50000 files"),
        (watch.Use(sockets=2_000), "opened more than 1000 sockets"),
        (watch.Use(hidden=True), "hid a process"),
        (watch.Use(memory=1, data=3_900_000_000), ""),
    ],
)
def test_who_uses_too_much_is_told_so_when_its_cell_ends(use: watch.Use, said: str, tmp_path: Path) -> None:
    """Not only when the watch looks, for by then the next cell may run."""
    provisioner = box.BoxProvisioner(limits=vars(box.Limits.read()), shared=str(tmp_path))
    assert provisioner.over() == ""  # nothing runs yet
    provisioner.members = watch.Members([])
    provisioner.members.look = lambda limit: use  # type: ignore[method-assign]
    assert provisioner.over().startswith(said) and bool(provisioner.over()) is bool(said)
    assert provisioner.crowded is (use.data > 0)
    provisioner.ended = "before"
    assert provisioner.over() == "before"


class _Provisioner:
    """A box that computes and waits as the test says."""

    def __init__(self) -> None:
        self.seconds = (0.0, 0.0)

    def computed(self) -> tuple[float, float]:
        return self.seconds


@pytest.mark.parametrize(
    ("computed", "waited", "late"),
    [
        (0.1, 3.0, 3.0),  # a busy machine
        (10.0, 9.0, 0.0),  # its own fifty loops
        (0.0, 0.0, 0.0),  # it sleeps
        (4.0, 9.0, 6.0),  # both
    ],
)
def test_only_a_busy_machine_gives_more_time(
    computed: float, waited: float, late: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioner = _Provisioner()
    meter = box.Meter(provisioner)  # type: ignore[arg-type]
    provisioner.seconds = (computed, waited)
    monkeypatch.setattr(time, "monotonic", lambda: meter.begun + 10.0)
    assert meter.late() == pytest.approx(late)


def test_one_processor_for_each_box() -> None:
    allowed = os.sched_getaffinity(0)
    with box.core() as first, box.core() as second:
        assert first in {*allowed, None} and (second is None or second != first)
    with box.core() as again:
        assert again in {*allowed, None}


def test_a_folder_that_nobody_may_open_is_removed(tmp_path: Path) -> None:
    inner = tmp_path / "box" / "litter" / "deeper"
    inner.mkdir(parents=True)
    (inner / "x").write_text("y", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "box" / "link").symlink_to(tmp_path / "elsewhere")
    for folder in (inner, inner.parent):
        folder.chmod(0)
    box.remove(tmp_path / "box")
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere"}


def test_a_folder_of_sockets_that_cannot_be_read_is_not_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch.small(tmp_path)
    (tmp_path / "big").write_bytes(b"1" * 2 * MEGABYTE)
    assert not watch.small(tmp_path)
    (tmp_path / "big").unlink()
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert not watch.small(tmp_path)
