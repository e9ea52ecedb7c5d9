"""Running notebooks with nbclient, without its waiting for a reply that has come."""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from nbclient import NotebookClient
from traitlets import List, Unicode

PIECE = 2.0  # seconds


class Client(NotebookClient):  # type: ignore[misc]
    """nbclient's client, which looks again for a reply every two seconds.

    A wait for a cell's reply is one long poll of the shell socket. Meanwhile nbclient answers messages of widgets on the
    same socket, past the poll: such a send may swallow the socket's single sign that something has arrived (ZeroMQ's is
    edge-triggered). The kernel is then idle, the reply is there, and nobody looks until the cell's time is over. (As
    seen with lecture 07: its idle kernel answered other requests at once.)

    A kernel's warning about its own connection (TCP, on this machine only) is of no use to who builds a notebook.
    """

    extra_arguments = List(Unicode(), ["--IPKernelApp.log_level=ERROR"])

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

        channel.get_msg = get_msg
        return client
