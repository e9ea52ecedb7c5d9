"""Kernels that need not import: a process that has the lab's imports forks, and its child moves into a fresh box.

Half of the seconds that grading a lab takes are imports of torch and transformers, the same for everybody. So each worker
keeps one *nursery*, which runs this file and has imported what the lab imports, and nothing else: no submission, no hidden
test, no code of the grader. For a submission the box is made as ever, with `cat` in it instead of a kernel. The nursery's
child enters that box's namespaces (setns(2)), becomes the box's user, drops every capability, and only then starts ipykernel,
so that nothing of a student ever runs outside. The kernel holds the writing end of `cat`'s input: when it dies, so does the
box, and with its first process everything in it.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

_NS_GET_USERNS = 0xB701  # ioctl_ns(2)
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522
_READY = 300  # seconds that the imports may take


class Nursery:
    """The grader's side: starts the process, and asks it for kernels."""

    def __init__(self, modules: list[str], environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket = ours
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(theirs.fileno())],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.ready = False
        self.socket.settimeout(_READY)
        with self.socket.makefile("w") as _:
            self.socket.send(b"")
        self.modules = modules

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()
