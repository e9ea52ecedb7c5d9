"""A reply that has come is found, though nothing says so; a cell has all the time that it needs, if it lives."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
from nbclient import NotebookClient

from courseware import kernels


class Channel:
    """A shell channel that misses the sign of a message: a poll finds only what was there when it began."""

    def __init__(self, after: float) -> None:
        self.comes = time.monotonic() + after

    async def get_msg(self, timeout: float | None = None) -> str:
        there = time.monotonic() >= self.comes
        if not there:
            await asyncio.sleep(3600 if timeout is None else timeout)
            raise Empty
        return "reply"


def wait(after: float, timeout: float | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """In a thread of its own, for a browser's test that went before leaves this one an event loop that runs."""

    async def start(self: NotebookClient) -> Any:
        return SimpleNamespace(shell_channel=Channel(after))

    async def run() -> Any:
        client = await kernels.Client({}).async_start_new_kernel_client()
        return await client.shell_channel.get_msg(timeout=timeout)

    monkeypatch.setattr(NotebookClient, "async_start_new_kernel_client", start)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result()


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_missed_reply_is_found_soon(timeout: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "PIECE", 0.1)
    started = time.monotonic()
    assert wait(0.25, timeout, monkeypatch) == "reply"
    assert time.monotonic() - started < 60  # one poll of all that time would not have seen it


def test_no_reply_is_an_empty_queue_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "PIECE", 0.1)
    started = time.monotonic()
    with pytest.raises(Empty):
        wait(3600, 0.3, monkeypatch)
    assert 0.29 < time.monotonic() - started < 3600


class Clock:
    """Time, and the processor's seconds, as a test has them pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.seconds = 1000.0
        monkeypatch.setattr(kernels, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(kernels._Watch, "_seconds", lambda _: self.seconds)
        self.watch = kernels._Watch("scaling-3", 1)

    def pass_by(self, seconds: float, computes: bool = False, prints: bool = False) -> None:
        for _ in range(int(seconds / kernels.PIECE)):
            self.now += kernels.PIECE
            self.seconds += kernels.PIECE / 3 if computes else kernels.PIECE / 1000  # a waiting kernel takes a little
            if prints:
                self.watch.printed = self.now
            self.watch.look()


class TestWatch:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        return Clock(monkeypatch)

    def test_who_prints_has_no_limit(self, clock: Clock) -> None:
        clock.pass_by(10 * 3600, prints=True)

    def test_who_computes_has_an_hour_without_a_word(self, clock: Clock) -> None:
        clock.pass_by(3590, computes=True)
        clock.pass_by(2, prints=True)
        clock.pass_by(3590, computes=True)
        with pytest.raises(kernels.Hangs, match="printed nothing for 60 minutes: if it is only slow, let it print"):
            clock.pass_by(20, computes=True)

    def test_who_does_neither_has_five_minutes(self, clock: Clock) -> None:
        clock.pass_by(290)
        clock.pass_by(2, computes=True)
        clock.pass_by(290)
        with pytest.raises(kernels.Hangs, match="neither printed nor computed anything for 5 minutes"):
            clock.pass_by(20)

    def test_a_long_cell_is_named(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        clock.pass_by(50, computes=True)
        assert capsys.readouterr().out == ""
        clock.pass_by(500, computes=True)
        named = [f"  the cell scaling-3 has run for {n} min" for n in (1, 2, 4, 8)]
        assert capsys.readouterr().out.splitlines() == named


def test_a_kernel_that_computes_is_seen() -> None:
    watch = kernels._Watch("x", os.getpid())
    before = watch._seconds()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert watch._seconds() - before > 0.2
    assert kernels._Watch("x", 2**22 + 7)._seconds() == 0.0  # there is no such process
