"""Running notebooks with nbclient, without its waiting for a reply that has come, for as long as a slow machine takes."""

from __future__ import annotations

import contextlib
import time
from queue import Empty
from typing import Any

import psutil
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets import List, Unicode

PIECE = 2.0  # seconds
STANDS_STILL = 300.0  # seconds in which a cell neither prints nor computes: what it waits for will not come
SILENT = 3600.0  # seconds in which a cell computes and prints nothing
_COMPUTES = 0.01  # of a processor; a kernel that only waits takes a tenth of it
_FIRST_SIGN = 60.0  # seconds, after which a long cell is named, and then whenever they have doubled


class Hangs(Exception):
    """A cell that will not end; the message goes on after "it"."""


class Client(NotebookClient):  # type: ignore[misc]
    """nbclient's client, which looks again for a reply every two seconds.

    A wait for a cell's reply is one long poll of the shell socket. Meanwhile nbclient answers messages of widgets on the
    same socket, past the poll: such a send may swallow the socket's single sign that something has arrived (ZeroMQ's is
    edge-triggered). The kernel is then idle, the reply is there, and nobody looks until the cell's time is over. (As
    seen with lecture 07: its idle kernel answered other requests at once.)

    A cell may take as long as it prints, or computes, if not in silence for an hour: what is slow on one machine is quick on
    another. A number of seconds (nbclient's `timeout`) may limit it besides.

    A kernel's warning about its own connection (TCP, on this machine only) is of no use to who builds a notebook.
    """

    extra_arguments = List(Unicode(), ["--IPKernelApp.log_level=ERROR"])
    cell: NotebookNode | None = None  # the one that runs, or ran last
    _watch: _Watch | None = None

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, **options: Any) -> NotebookNode:
        pid = getattr(getattr(self.km, "provisioner", None), "pid", None)
        self.cell, self._watch = cell, _Watch(cell.get("id", f"number {cell_index}"), pid)
        return await super().async_execute_cell(cell, cell_index, **options)

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        if self._watch:
            self._watch.printed = time.monotonic()
        return super().process_message(msg, cell, cell_index)

    async def _async_poll_kernel_alive(self) -> None:
        with contextlib.suppress(AssertionError):  # a cell hung: nbclient still asks after its kernel, which is gone
            await super()._async_poll_kernel_alive()

    async def async_start_new_kernel_client(self) -> Any:
        client = await super().async_start_new_kernel_client()
        channel = client.shell_channel
        look = channel.get_msg

        async def get_msg(timeout: float | None = None) -> Any:
            end = None if timeout is None else time.monotonic() + timeout
            while True:
                left = PIECE if end is None else min(PIECE, max(end - time.monotonic(), 0.0))
                try:
                    return await look(timeout=left)
                except Empty:
                    if end is not None and time.monotonic() >= end:
                        raise
                    if self._watch:
                        self._watch.look()

        channel.get_msg = get_msg
        return client


class _Watch:
    """One cell's signs of life."""

    def __init__(self, name: str, pid: int | None) -> None:
        self.name, self.pid = name, pid
        self.began = self.printed = self.computed = self.looked = time.monotonic()
        self.seconds = self._seconds()
        self.named = _FIRST_SIGN

    def look(self) -> None:
        """Name a cell that takes long.

        Raises:
            Hangs: it shows no sign of life.
        """
        now, seconds = time.monotonic(), self._seconds()
        if seconds - self.seconds > _COMPUTES * (now - self.looked):
            self.computed = now
        self.looked, self.seconds = now, seconds
        if now - max(self.printed, self.computed) > STANDS_STILL:
            raise Hangs(f"neither printed nor computed anything for {STANDS_STILL / 60:.0f} minutes")
        if now - self.printed > SILENT:
            raise Hangs(f"printed nothing for {SILENT / 60:.0f} minutes: if it is only slow, let it print how far it is")
        if now - self.began > self.named:
            self.named *= 2
            print(f"  the cell {self.name} has run for {(now - self.began) / 60:.0f} min", flush=True)

    def _seconds(self) -> float:
        """Processor time that the kernel and its children have taken; where that cannot be known, it counts as computing."""
        if self.pid is None:
            return time.monotonic()
        total = 0.0
        try:
            kernel = psutil.Process(self.pid)
            for process in (kernel, *kernel.children(recursive=True)):
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:  # one of them has just ended
            return max(total, getattr(self, "seconds", 0.0))
        return total
