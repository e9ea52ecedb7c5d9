"""A bubblewrap box for one kernel: no network, a read-only system, nothing of the course to see, and limits.

The kernel is an ordinary ipykernel. jupyter_client starts it through the provisioner below and talks to it over IPC, through
sockets in one small folder that is bound into the box. Nothing else crosses the border.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Bool, Dict, List, Unicode

from course_utils.errors import CourseError

from . import calls, warm

HOME = "/home/student"
_SHARED_FILES = 64  # sockets and the connection file; more of them is somebody filling a disk
_SHARED_BYTES = 1_000_000
_UNITS = {"": 1, "s": 1, "min": 60, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}


class BoxError(CourseError):
    """No box can be made here; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one submission may use: bytes, seconds, counts. The values stand in limits.toml."""

    memory: int
    processes: int
    disk: int
    cpu: int
    cell: int
    total: int
    output: int
    answer: int
    threads: int
    submission: int

    @classmethod
    def read(cls, changes: dict[str, str | int] | None = None) -> Limits:
        """The limits of limits.toml, some of them changed.

        Raises:
            CourseError: an unknown name, or a value that is no quantity.
        """
        values: dict[str, str | int] = tomllib.loads((Path(__file__).parent / "limits.toml").read_text(encoding="utf-8"))
        if unknown := set(changes or {}) - set(values):
            raise CourseError(f"There is no limit {unknown.pop()!r}. There are: {', '.join(values)}.")
        return cls(**{name: _quantity(name, value) for name, value in {**values, **(changes or {})}.items()})


def _quantity(name: str, value: str | int) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
    if not match or match[2] not in _UNITS or float(match[1]) <= 0:
        raise CourseError(f"The limit {name} is {value!r}; write for example 4 GB, 256 MB, 60 s or 128.")
    return int(float(match[1]) * _UNITS[match[2]])


@cache
def check() -> None:
    """See once that boxes work here.

    Raises:
        BoxError: they do not.
    """
    said = "bubblewrap is not installed"
    if shutil.which("bwrap"):
        with _filter() as rules:
            program = [*_bwrap(None, {}, rules), sys.executable, "-c", ""]  # what every submission needs
            tried = subprocess.run(program, capture_output=True, text=True, pass_fds=[rules] if rules else [])
        if tried.returncode == 0:
            return
        said = f"bubblewrap does not work here: {tried.stderr.strip() or 'it ended with ' + str(tried.returncode)}"
    raise BoxError(
        f"Submissions are strangers' programs, so each runs in a box, but {said}.\n"
        "  Debian, Ubuntu   sudo apt install bubblewrap\n"
        "  Ubuntu 24.04     forbids boxes to ordinary users; until the next start this allows them:\n"
        "                   sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n"
        "  Fedora           sudo dnf install bubblewrap\n"
        "  macOS, Windows   grade in a Linux container or in WSL, for example\n"
        "                   docker run --rm -it --security-opt seccomp=unconfined --security-opt apparmor=unconfined \\\n"
        '                     -v "$PWD":/course -w /course python:3.12 \\\n'
        "                     sh -c 'apt update && apt install -y bubblewrap && make setup && .venv/bin/course grade …'\n"
        "If you trust every submission as you trust your own code, `--unsafe` grades without a box and marks the grades."
    )


@contextlib.contextmanager
def _filter() -> Iterator[int]:
    """A file descriptor to read the filter of system calls from; 0 where there is none."""
    if not calls.forbidden():
        yield 0
        return
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        file.write(calls.forbidden())
        file.seek(0)
        yield file.fileno()


def _bwrap(limits: Limits | None, environment: dict[str, str], rules: int, shared: Path | None = None) -> list[str]:
    """The bubblewrap command up to the program that it runs."""
    box = [
        shutil.which("bwrap") or "bwrap",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--hostname",
        "box",
        "--cap-drop",
        "ALL",
    ]
    box += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    box += ["--seccomp", str(rules)] if rules else []
    if os.geteuid() == 0:  # leave root for a user that owns nothing; setpriv below needs these for it, and drops them
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            box += ["--cap-add", capability]
    else:
        box += ["--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    box += _parents([Path(HOME), Path("/etc/any")])
    box += ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            box += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            box += ["--ro-bind", name, name]
    for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "fonts"):
        box += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    box += ["--proc", "/proc", "--dev", "/dev"]
    size = str((limits.disk if limits else 1_000_000) // 3)
    for name in ("/tmp", HOME, "/dev/shm"):
        box += ["--perms", "1777", "--size", size, "--tmpfs", name]
    readable = _readable()
    box += _parents([*readable, *([shared] if shared else [])])  # not before: a mount hides what was made below /tmp
    for path in readable:
        box += ["--ro-bind", str(path), str(path)]
    if shared:
        box += ["--bind", str(shared), str(shared)]
    box += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", HOME]
    for name, value in environment.items():
        box += ["--setenv", name, value]
    if os.geteuid() == 0:
        user = _user()
        box += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        box += ["--bounding-set=-all", "--inh-caps=-all"]
    return box


def _parents(paths: list[Path]) -> list[str]:
    """Options that make the folders which lead to these paths; bubblewrap's own would be closed to other users."""
    folders = {parent for path in paths for parent in path.parents} - {Path("/")}
    return [option for folder in sorted(folders) for option in ("--perms", "0755", "--dir", str(folder))]


def _user() -> int:
    """Whom a box becomes when root grades: a range that no account uses, one for each worker."""
    return 61184 + os.getpid() % 4096


def _readable() -> list[Path]:
    """What a lab needs to read: Python, its packages, the helper package, the course model and data."""
    import course_utils
    from course_utils import weights

    paths = [Path(p).resolve() for p in (sys.base_prefix, sys.prefix, *course_utils.__path__)]
    cache_folder = weights.cache_dir().resolve()
    if cache_folder.is_dir():
        if os.geteuid() == 0:  # the box's user is another one, and safetensors writes files that only their owner can read
            for file in cache_folder.rglob("*"):
                if file.is_file() and not file.stat().st_mode & 0o004:
                    file.chmod(file.stat().st_mode | 0o444)
        paths.append(cache_folder)
    paths.append(_font_cache())
    return [p for p in dict.fromkeys(paths) if not p.is_relative_to("/usr")]


@cache
def _font_cache() -> Path:
    """matplotlib's list of fonts: without it each box would spend seconds to make one."""
    import matplotlib
    import matplotlib.font_manager

    return Path(matplotlib.get_cachedir()).resolve()


def _rlimits(limits: Limits) -> dict[str, int]:
    """Limits that the system keeps, by prlimit's names."""
    return {"data": limits.memory, "cpu": limits.cpu, "fsize": limits.disk, "nofile": 512, "core": 0}


def _prlimit(rlimits: dict[str, int]) -> list[str]:
    return ["prlimit", *(f"--{name}={value}" for name, value in rlimits.items())]


def environment(limits: Limits) -> dict[str, str]:
    """The variables that a boxed kernel sees; nothing of the grader's own."""
    import course_utils
    from course_utils import weights

    threads = str(limits.threads)
    ours = Path(course_utils.__path__[0]).resolve().parent  # the grader's own helper package, wherever it is installed
    return {
        "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin",
        "HOME": HOME,
        "USER": "student",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "COURSE_BUDGET": "quick",
        "COURSE_CACHE": str(weights.cache_dir().resolve()),
        "HF_HUB_OFFLINE": "1",
        "MPLCONFIGDIR": str(_font_cache()),
        **({} if ours.is_relative_to(sys.prefix) else {"PYTHONPATH": str(ours)}),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
    }


class BoxProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts a kernel in a box. jupyter_client finds it by the entry point `course-box`.

    Its configuration stands in the kernel spec: `limits` (fields of `Limits`), `shared` (the folder of sockets), and
    `unsafe`, which starts the same kernel with the same limits of the system, but without a box. `modules`, when there are
    any, are imported once for all boxes of this process (see warm.py).
    """

    limits = Dict()
    shared = Unicode()
    unsafe = Bool(False)
    modules: Any = List()
    ended: str = ""  # why the watch killed it
    namespace: str = ""  # of processes: whoever is in it is in the box

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        limits = Limits(**self.limits)
        kwargs.setdefault("stdout", subprocess.DEVNULL)
        kwargs.setdefault("stderr", subprocess.DEVNULL)
        if self.unsafe:
            kwargs["env"] = {**os.environ, **environment(limits)}
            kwargs["env"].pop("MPLCONFIGDIR")
            kwargs["cwd"] = self.shared
            connection = await super().launch_kernel([*_prlimit(_rlimits(limits)), *cmd], **kwargs)
        else:
            connection = await self._boxed(cmd, limits, kwargs)
        threading.Thread(target=self._watch, args=(self.process, limits), daemon=True).start()
        return connection

    async def _boxed(self, cmd: list[str], limits: Limits, kwargs: dict[str, Any]) -> Any:
        """Start the kernel in a box, warm if that can be had."""
        shared, inside = Path(self.shared), environment(limits)
        if os.geteuid() == 0:
            for path in (shared, *shared.iterdir()):
                os.chown(path, _user(), _user())
        # the number of processes is limited only here: outside a box an account's own would count too
        rlimits = {**_rlimits(limits), "nproc": limits.processes}
        nursery = self._nursery(limits)
        with _filter() as rules:
            kwargs["env"] = {"PATH": os.defpath}  # not ours: the first process of a box may show it
            kwargs["cwd"] = "/"
            kwargs["pass_fds"] = [rules] if rules else []
            box = _bwrap(limits, inside, rules, shared)
            if nursery is None:
                return await super().launch_kernel([*box, *_prlimit(rlimits), *cmd], **kwargs)
            entry = warm.Entry(
                process=0,
                user=_user() if os.geteuid() == 0 else 0,
                limits={f"RLIMIT_{name.upper()}": value for name, value in rlimits.items()},
                environment=inside,
                home=HOME,
                connection=cmd[cmd.index("-f") + 1],
                rules=calls.forbidden().hex(),
            )
            return await self._warm(nursery, entry, [*box, *warm.ANCHOR], kwargs)

    def _nursery(self, limits: Limits) -> warm.Nursery | None:
        """Whom to ask for a kernel that has the imports; None when there is nobody."""
        if self.modules:
            with contextlib.suppress(warm.Unavailable):
                return warm.nursery(tuple(self.modules), environment(limits))
        return None

    async def _warm(self, nursery: warm.Nursery, entry: warm.Entry, program: list[str], kwargs: dict[str, Any]) -> Any:
        """Make the box, then have a kernel move in.

        Raises:
            RuntimeError: it did not. The next kernel will be a cold one.
        """
        ready, says = os.pipe()
        waits, lifeline = os.pipe()
        try:
            connection = await super().launch_kernel(program, **{**kwargs, "stdin": waits, "stdout": says})
            os.close(says)
            says = -1
            try:
                if not select.select([ready], [], [], warm.ENTER)[0] or not os.read(ready, 1):
                    raise warm.Unavailable("the box did not start")
                entry.process = max((p.pid for p in self._members()), default=0)
                nursery.kernel(entry, lifeline)
            except warm.Unavailable as gone:
                self._kill(self.process)
                warnings.warn(f"no warm start of imports, grading goes on without: {gone}", stacklevel=2)
                warm.give_up(tuple(self.modules), gone)
                raise RuntimeError(str(gone)) from gone
        finally:
            for descriptor in (ready, says, waits, lifeline):
                if descriptor >= 0:
                    os.close(descriptor)
        return connection

    async def send_signal(self, signum: int) -> None:
        """An interrupt goes to the kernel inside; all else ends the box with everything in it."""
        if self.process is None:
            return
        if signum == signal.SIGINT:
            kernel = next((p for p in self._members() if _arguments(p)[:1] == [sys.executable]), None)
            if kernel:
                with contextlib.suppress(psutil.Error):
                    kernel.send_signal(signum)
            return
        self._kill(self.process)

    def crowded(self) -> bool:
        """Is a process close to the memory that it may have?"""
        return self.process is not None and any(
            _field(p, "VmData") > 0.9 * Limits(**self.limits).memory for p in self._members()
        )

    def process_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _members(self) -> list[psutil.Process]:
        """Every process of this kernel: those in its box, which may not all descend from it; else its descendants."""
        if self.process is None:
            return []
        descendants = _descendants(self.process.pid)
        if not self.namespace:
            found = {_namespace(p.pid) for p in descendants} - {_namespace(os.getpid()), ""}
            if self.unsafe or not found:
                return descendants
            self.namespace = found.pop()
        members = []
        for pid in psutil.pids():
            if _namespace(pid) == self.namespace:
                with contextlib.suppress(psutil.NoSuchProcess):
                    members.append(psutil.Process(pid))
        return members

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        for member in self._members():
            with contextlib.suppress(psutil.Error):
                member.kill()
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    def _watch(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        """What rlimits cannot see: the sum over processes, and files in the shared folder."""
        while process.poll() is None and not self.ended:
            members = self._members()
            used = sum(_memory(p) for p in members)
            if used > limits.memory:
                self.ended = f"used more than {limits.memory / 1e9:.1f} GB of memory"
            elif sum(_threads(p) for p in members) > limits.processes:
                self.ended = f"started more than {limits.processes} processes and threads"
            elif not self.unsafe and not _small(Path(self.shared)):
                self.ended = f"wrote more than {limits.disk / 1e6:.0f} MB to disk"
            if self.ended:
                self._kill(process)
            time.sleep(0.1)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # it is gone, or not ours
        return ""


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> int:
    """Bytes that only this process can be blamed for: anonymous memory, and memory-backed files it holds open."""
    total = _field(process, "RssAnon") + _field(process, "RssShmem")
    with contextlib.suppress(OSError, ValueError):
        for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(descriptor.path).startswith("/memfd:"):
                    total += os.stat(descriptor.path).st_blocks * 512
    return total


def _field(process: psutil.Process, name: str) -> int:
    """Bytes that /proc says under this name; 0 for a process that is gone."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _threads(process: psutil.Process) -> int:
    try:
        return int(process.num_threads())
    except psutil.Error:
        return 0


def _small(folder: Path) -> bool:
    """Does the folder of sockets hold sockets, or somebody's data?"""
    count = size = 0
    for parent, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        for name in files:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(parent, name)).st_blocks * 512
        if count > _SHARED_FILES or size > _SHARED_BYTES:
            return False
    return True
