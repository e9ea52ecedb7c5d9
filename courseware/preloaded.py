"""Kernels for tests that need not import: a process that has torch and transformers forks one for each notebook.

Importing what a notebook imports takes six to nine seconds of a processor, and the tests start some eighty kernels. One
process imports once for all workers of a run of tests; its forks are kernels. Only where Linux can copy a process; elsewhere
kernels start as ever, as they do wherever a notebook is built (`course notebooks`): a module that a notebook uses and does
not import is noticed there. grading/zygote.py does the same for boxes.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

_MODULES = (
    "ipykernel.ipkernel", "ipykernel.zmqshell", "numpy", "pandas", "scipy.stats", "sklearn.linear_model",
    "matplotlib.pyplot", "networkx", "ipywidgets", "torch", "transformers.models.llama.modeling_llama",
    "transformers.generation.utils", "peft", "datasets",
)  # fmt: skip
_IMPORTS = 300  # seconds that they may take
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex())  # all workers of a run of tests have the same
_QUIET = {
    # a process with threads cannot be copied
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTHONDONTWRITEBYTECODE": "",  # what one kernel has compiled the next need not: an environment of the tests is new
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # a kernel sets it before matplotlib is imported
}


def spec(folder: Path, name: str, python: str = sys.executable, begin: str = "") -> str:
    """Write a kernel spec into a folder of JUPYTER_PATH and return its name.

    Args:
        python: the interpreter that the kernels run in.
        begin: what is run before the imports.
    """
    made: dict[str, Any] = {"argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    if sys.platform == "linux":
        config = {"python": python, "begin": begin}
        made["metadata"] = {"kernel_provisioner": {"provisioner_name": "course-preloaded", "config": config}}
    place = folder / "kernels" / name
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps({**made, "display_name": name}), encoding="utf-8")
    return name


class Server:
    """The tests' side: starts the process that imports, unless another worker has, and asks it for kernels."""

    def __init__(self, python: str, begin: str) -> None:
        name = "\0course-kernels-" + sha256("\0".join([_RUN, python, begin]).encode()).hexdigest()  # Linux's: it is no file
        self.control = _socket()
        while self.control.connect_ex(name):
            with _socket() as door:
                try:
                    door.bind(name)
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                    time.sleep(0.01)  # another worker was a moment earlier
                    continue
                door.listen()
                command, fds = [python, __file__, str(door.fileno()), begin], [door.fileno()]
                subprocess.Popen(command, env={**os.environ, **_QUIET}, stdin=subprocess.DEVNULL, pass_fds=fds)
        self.control.settimeout(_IMPORTS)
        self._answer()

    def kernel(self, connection: str, environment: dict[str, str], folder: str) -> int:
        """Start a kernel; returns its process's number."""
        self.control.send(json.dumps([connection, environment, folder]).encode())
        return int(self._answer())

    def _answer(self) -> str:
        status, _, value = _received(self.control).decode().partition(" ")
        if status != "ok":
            raise RuntimeError(f"no kernel with its imports can be had: {value or 'the process that imports has ended'}")
        return value


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _received(control: socket.socket) -> bytes:
    """A message; nothing when the other side has ended."""
    try:
        return control.recv(1_000_000)
    except ConnectionError:  # it was killed
        return b""


@cache
def server(python: str, begin: str) -> Server:
    """The server of this run of tests; it ends with the last process that has asked it."""
    return Server(python, begin)


class Forked:
    """What `subprocess.Popen` is for a child, for a process that is somebody else's child."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.sign = os.pidfd_open(pid)  # readable when it has ended

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.sign], [], [], 0)[0]:
            os.close(self.sign)
            self.returncode = 0  # only its parent is told the real one
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            select.select([self.sign], [], [])
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


# ---- what follows runs in the process that imports ----


def main() -> None:
    """Import, then fork a kernel for each request, until the last of the tests' processes hangs up."""
    del sys.path[0]  # the folder of this file, which no kernel has
    door = socket.socket(fileno=int(sys.argv[1]))
    exec(sys.argv[2], {})
    for name in _MODULES:
        with contextlib.suppress(ImportError):  # Colab has no peft of its own, say: whoever needs it imports it
            importlib.import_module(name)
    greeting = "no an import has started threads" if len(os.listdir("/proc/self/task")) > 1 else "ok"
    gc.collect()
    gc.freeze()  # no kernel's collector walks through a million objects of the imports, which stay
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a kernel ended
    clients: list[socket.socket] = []
    while True:
        for asking in select.select([door, *clients], [], [])[0]:
            if asking is door:
                _admit(door, clients, greeting)
            elif request := _received(asking):
                child = os.fork()
                if child == 0:
                    _become([door, *clients], *json.loads(request))
                _tell(asking, f"ok {child}")
            else:
                clients.remove(asking)
                asking.close()
                if not clients and not select.select([door], [], [], 0)[0]:
                    door.close()  # who comes now starts another
                    return


def _admit(door: socket.socket, clients: list[socket.socket], greeting: str) -> None:
    client, _ = door.accept()
    _, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if user != os.getuid():  # a kernel is as good as a login
        client.close()
        return
    clients.append(client)
    _tell(client, greeting)


def _tell(client: socket.socket, text: str) -> None:
    with contextlib.suppress(ConnectionError):  # _received notices
        client.send(text.encode())


def _become(sockets: list[socket.socket], connection: str, environment: dict[str, str], folder: str) -> NoReturn:
    """A kernel."""
    try:
        for one in sockets:
            one.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update({**environment, "JPY_PARENT_PID": str(os.getppid())})  # it ends when that does
        os.chdir(folder)
        import torch
        from ipykernel.kernelapp import launch_new_instance

        torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        sys.argv = ["ipykernel_launcher", "-f", connection, "--IPKernelApp.log_level=ERROR"]
        launch_new_instance()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
else:  # not where this file is a program: its folder is in front of sys.path then, with names such as site.py
    from jupyter_client.provisioning import LocalProvisioner
    from traitlets import Unicode

    class PreloadedProvisioner(LocalProvisioner):  # type: ignore[misc]
        """Starts a kernel that has its imports. jupyter_client finds it by the entry point `course-preloaded`."""

        python = Unicode(sys.executable)
        begin = Unicode()

        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
            connection = cmd[cmd.index("-f") + 1]
            environment = {**kwargs.get("env", os.environ), "MPLBACKEND": _QUIET["MPLBACKEND"]}
            folder = kwargs.get("cwd") or os.getcwd()
            try:
                pid = server(self.python, self.begin).kernel(connection, environment, folder)
            except (OSError, RuntimeError):  # the process has ended: another takes its place
                server.cache_clear()
                pid = server(self.python, self.begin).kernel(connection, environment, folder)
            self.process, self.pid, self.pgid = Forked(pid), pid, None
            return self.connection_info
