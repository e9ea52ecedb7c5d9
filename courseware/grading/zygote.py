"""Kernels that need not import: a process that has the lab's imports forks, and its child moves into a fresh box.

Half of the seconds that grading a lab takes are imports of torch and transformers, the same for everybody. So each worker
keeps one *zygote*, which runs this file and has imported what the lab imports, and nothing else: no submission, no hidden
test, no code of the grader. For a submission the box is made as ever, with `cat` in it instead of a kernel. The zygote's
child enters the namespaces of that box (setns(2)), becomes the box's user, drops every capability, and only then starts
ipykernel, so that nothing of a student ever runs outside. The kernel holds the writing end of `cat`'s input: when it dies,
so does the box, and with its first process everything in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

if sys.platform != "win32":
    import fcntl
    import resource

_NS_GET_USERNS = 0xB701  # ioctl_ns(2)
_SET_DUMPABLE, _SET_SECCOMP, _CAPBSET_DROP, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 4, 22, 24, 36, 38  # prctl(2)
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
_NAMESPACES = {  # setns(2)
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "cgroup": 0x02000000,
    "mnt": 0x00020000,
}
_NEWUSER = 0x10000000
_IMPORTS = 300  # seconds that they may take
ENTER = 20  # seconds that making or entering a box may take
_QUIET = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # pandas' pyarrow would start a thread when it is imported
ANCHOR = ["/bin/sh", "-c", "echo; exec cat"]  # the first program of a box for a warm kernel


class Unavailable(Exception):
    """No warm kernel can be had here; the message says why. A cold one can."""


@dataclasses.dataclass
class Entry:
    """What a zygote's child needs to know to become a kernel in a box."""

    process: int  # `cat` in the box, as seen from outside
    user: int  # whom to become when root starts it; 0: who one is
    limits: dict[str, int]  # by the names of `resource`
    environment: dict[str, str]
    home: str
    connection: str  # path of the connection file
    rules: str  # the filter of system calls, in hexadecimal
    core: int | None = None  # the processor to keep to
    group: str = ""  # folder of the control group to enter


class Zygote:
    """The grader's side: starts the process, and asks it for kernels."""

    def __init__(self, modules: tuple[str, ...], environment: dict[str, str]) -> None:
        self.lock = threading.Lock()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**environment, **_QUIET},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(modules).encode())
        self.process.stdin.close()
        self._answer(_IMPORTS)

    def kernel(self, entry: Entry, lifeline: int) -> int:
        """Start a kernel in the box, and return its number. It alone keeps `lifeline` open, a file descriptor.

        Raises:
            Unavailable: it did not come to that.
        """
        with self.lock:
            try:
                socket.send_fds(self.control, [json.dumps(dataclasses.asdict(entry)).encode()], [lifeline])
            except OSError as error:
                raise Unavailable(f"the process that holds the imports is gone ({error})") from error
            return int(self._answer(ENTER))

    def close(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()

    def _answer(self, seconds: float) -> str:
        self.control.settimeout(seconds)
        try:
            reply = self.control.recv(10_000).decode()
        except OSError as error:
            reply = str(error)
        status, _, value = reply.partition(" ")
        if status != "ok":
            raise Unavailable(reply or "the process that holds the imports is gone")
        return value


_zygotes: dict[tuple[str, ...], Zygote | Unavailable] = {}
_lock = threading.Lock()


def running(modules: tuple[str, ...], environment: dict[str, str]) -> Zygote:
    """This process's zygote for a list of modules; made at its first use.

    Raises:
        Unavailable: it could not be made, now or before.
    """
    with _lock:
        if modules not in _zygotes:
            try:
                _zygotes[modules] = Zygote(modules, environment)
            except Unavailable as error:
                _zygotes[modules] = error
        held = _zygotes[modules]
    if isinstance(held, Unavailable):
        raise held
    return held


def give_up(modules: tuple[str, ...], error: Unavailable) -> None:
    """Cold kernels from here on."""
    with _lock:
        held = _zygotes.get(modules)
        _zygotes[modules] = error
    if isinstance(held, Zygote):
        held.close()


# ---- what follows runs in the zygote ----


def main() -> None:
    """Import, then fork a kernel for each request, until the grader hangs up."""
    del sys.path[0]  # the folder of this file, which no kernel has
    everything = resource.getrlimit(resource.RLIMIT_AS)[1]  # the grader's own process may have less
    resource.setrlimit(resource.RLIMIT_AS, (everything, everything))
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    sys.dont_write_bytecode = True
    for name in json.load(sys.stdin):
        with contextlib.suppress(Exception):  # a module that only some other import makes: then nobody waits for it either
            importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        control.send(b"an import has started threads, and a process with threads cannot be copied")
        return
    gc.collect()
    gc.freeze()  # what the imports made stays: a kernel whose collector walked through it would also copy it
    _prctl(_SET_CHILD_SUBREAPER, 1)  # kernels are grandchildren; those that have ended are buried here, at the next request
    control.send(b"ok")
    while True:
        request, lifelines, _, _ = socket.recv_fds(control, 100_000, 1)
        if not request:
            return
        with contextlib.suppress(ChildProcessError):  # it has no children left
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        child = os.fork()
        if child == 0:
            _enter(Entry(**json.loads(request)), lifelines[0], control)
        os.close(lifelines[0])
        os.waitpid(child, 0)


def _enter(entry: Entry, lifeline: int, control: socket.socket) -> NoReturn:
    """Enter the box and leave a child in it: only a child is in the new namespace of processes."""
    try:
        if entry.group:
            Path(entry.group, "cgroup.procs").write_text("0", encoding="utf-8")
        _join(entry.process)
        child = os.fork()
        if child:
            control.send(f"ok {child}".encode())
            os._exit(0)
    except BaseException as error:
        control.send(f"the box cannot be entered: {error}".encode())
        os._exit(1)
    try:
        _settle(entry, lifeline)
        _kernel(entry)
    finally:
        os._exit(1)


def _join(process: int) -> None:
    """Enter all namespaces of a process that are not ours already."""

    def namespace(name: str) -> int:
        return os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def other(name: str) -> bool:
        return os.readlink(f"/proc/{process}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")

    wanted = [(namespace(name), kind) for name, kind in _NAMESPACES.items() if other(name)]
    if other("user"):  # the box may have two, one in the other: the outer one owns what an ordinary user wants to enter
        inner, owner = namespace("user"), fcntl.ioctl(namespace("mnt"), _NS_GET_USERNS)
        nested = os.fstat(inner).st_ino != os.fstat(owner).st_ino
        wanted = [(owner, _NEWUSER), *wanted, *([(inner, _NEWUSER)] if nested else [])]
    for descriptor, kind in wanted:
        _call("setns", descriptor, kind)


def _settle(entry: Entry, lifeline: int) -> None:
    """Become the box's user with the box's limits, and keep nothing of where we came from."""
    os.setsid()
    os.closerange(3, lifeline)
    os.closerange(lifeline + 1, 65_536)
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    if entry.core is not None:
        os.sched_setaffinity(0, {entry.core})
    for name, limit in entry.limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    capability = 0
    while capability < 64 and _prctl(_CAPBSET_DROP, capability):
        capability += 1
    if entry.user:
        os.setgroups([])
        os.setresgid(entry.user, entry.user, entry.user)
        os.setresuid(entry.user, entry.user, entry.user)
    _call("capset", (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    _call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prctl(_SET_DUMPABLE, 1)  # as any program that was started
    if entry.rules:
        _filter(bytes.fromhex(entry.rules))
    status = dict(
        line.split(":\t") for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if ":\t" in line
    )
    held = [int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
    if any(held) or status["NoNewPrivs"] != "1":
        raise PermissionError("a privilege is left")
    os.environ.clear()
    os.environ.update(entry.environment)
    os.chdir(entry.home)


def _filter(rules: bytes) -> None:
    """Refuse system calls from here on; `struct sock_fprog` is what seccomp(2) takes."""
    code = ctypes.create_string_buffer(rules, len(rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(code)))
    _call("prctl", _SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)


def _kernel(entry: Entry) -> None:
    from ipykernel.kernelapp import launch_new_instance

    sys.argv = ["ipykernel_launcher", "-f", entry.connection]
    launch_new_instance()


def _call(function: str, *arguments: Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _prctl(option: int, value: int) -> bool:
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


if __name__ == "__main__":
    main()
