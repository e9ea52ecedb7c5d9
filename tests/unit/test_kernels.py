"""A reply that has come is found, though nothing says so."""

from __future__ import annotations

import asyncio
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
    assert time.monotonic() - started < 10


def test_no_reply_is_an_empty_queue_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "PIECE", 0.1)
    started = time.monotonic()
    with pytest.raises(Empty):
        wait(3600, 0.3, monkeypatch)
    assert 0.29 < time.monotonic() - started < 10
