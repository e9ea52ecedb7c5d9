"""A bubblewrap box for one kernel: no network, a read-only system, nothing of the course to see, and limits.

The kernel is an ordinary ipykernel. jupyter_client starts it through the provisioner below and talks to it over IPC, through
sockets in one small folder that is bound into the box. Nothing else crosses the border.

Threat model. A submission may be written to harm: it does what it likes as the box's user, with full knowledge of this code
and of the lab, and it may work together with other submissions of the same class. SECURITY.md says the same to instructors.

Covered:
    reading      hidden tests, other submissions, the gradebook, the solution, the grader's files and variables
    writing      anything outside: the system and Python are read-only, its own disk vanishes with the box
    speaking     to the network, to the host's programs and to other boxes; locks, leases, notices and what of a file is in
                 memory, on the files that all boxes read, are closed (seccomp.py)
    taking       memory, processor, processes, disk, files, sockets, time, output: a control group where the system gives us
                 one (cgroup.py), else rlimits, one processor for each box, and a watch that adds up (watch.py)
    escaping     namespaces, mounts, tracing, kernel interfaces that have been holes before: refused by number (seccomp.py);
                 all capabilities dropped, no new privileges, no namespaces of its own
    forging      a verdict: it is made outside from plain data (verdict.py), by a process with limits
                 itself (comparison_process.py)
    staying      whatever it starts ends with the box, whatever it leaves in the folder of sockets is removed
    showing      a hidden test in the student's feedback: all cells run before a question is asked, and once one was asked,
                 nothing that a kernel of this submission says is shown any more, but for which exercises pass, and the
                 kind of Python error that failed one

Not covered:
    a few bits   what is shown after the questions says which tests passed and how one failed; a submission that has read a
                 hidden test can choose these, for the student to read off. So can it choose how long its grading takes
    a slow word  two boxes at one time can tell each other bits by how busy the machine is, by how fast a file is read, and
                 by the counts of the whole system in /proc
    the kernel   a hole in Linux that needs none of the calls refused here. Who fears that grades in a virtual machine
    other CPUs   the filter of system calls is written for x86-64 and ARM64; elsewhere the box has none
    --unsafe     has no box at all, only limits for honest mistakes
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

from jupyter_client.provisioning import LocalProvisioner
from traitlets import Bool, Dict, Int, List, Unicode

from course_utils.errors import CourseError

from . import cgroup, seccomp, watch, zygote

if sys.platform != "win32":
    import fcntl
    import resource

HOME = "/home/student"
_OWN = 8  # processes that a box needs for itself
_LOOK = 20  # seconds that the trial of a box may take
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


_NO_BOX = """\
Submissions are strangers' programs, so each runs in a box, but {}.
  Debian, Ubuntu   sudo apt install bubblewrap
  Ubuntu 24.04     forbids boxes to ordinary users; until the next start this allows them:
                   sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
  Fedora           sudo dnf install bubblewrap
  macOS, Windows   grade in a Linux container or in WSL, for example
                   docker run --rm -it --security-opt seccomp=unconfined --security-opt apparmor=unconfined \\
                     -v "$PWD":/course -w /course python:3.12 \\
                     sh -c 'apt update && apt install -y bubblewrap && make setup && .venv/bin/course grade …'
If you trust every submission as you trust your own code, `--unsafe` grades without a box and marks the grades."""


@cache
def check() -> None:
    """See once that boxes work here, and that what is in one can be watched.

    Raises:
        BoxError: they do not, or it cannot.
    """
    if reason := why_not():
        raise BoxError(_NO_BOX.format(reason))


def why_not() -> str:
    """Try a box: why does it not work here, or not now? "" when it does."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    group = cgroup.group(1_000_000_000, 64)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with _filter() as rules:
        program = [*_bwrap(None, {}, rules), sys.executable, "-c", "print(flush=True); input()"]  # what each needs
        program = group.entering(program) if group else program
        try:
            process = subprocess.Popen(program, pass_fds=[rules] if rules else [], **pipes)  # type: ignore[call-overload]
        except OSError as error:
            return f"bubblewrap does not work here: {error}"
    use = watch.Use()
    if select.select([process.stdout], [], [], _LOOK)[0] and process.stdout.readline():
        use = watch.Members([process.pid]).look(0)
    try:
        _, output = process.communicate("\n", timeout=_LOOK)
    except subprocess.TimeoutExpired:
        process.kill()
        output = f"it took more than {_LOOK} s"
    if group:
        group.remove()
    if process.returncode != 0:
        return f"bubblewrap does not work here: {output.strip() or f'it ended with {process.returncode}'}"
    if not (use.memory and use.threads and use.files):
        return "what runs in one cannot be watched: /proc does not show it (is it mounted with hidepid?)"
    return ""


@contextlib.contextmanager
def _filter() -> Iterator[int]:
    """A file descriptor to read the filter of system calls from; 0 where there is none."""
    if not seccomp.forbidden():
        yield 0
        return
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        file.write(seccomp.forbidden())
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
    return [*box, *(_as_user() if os.geteuid() == 0 else [])]


def _as_user() -> list[str]:
    """What turns root into somebody who owns nothing."""
    who = [f"--reuid={_user()}", f"--regid={_user()}", "--clear-groups"]
    return ["setpriv", *who, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


@cache
def can_leave_root() -> bool:
    """Can a kernel run as another user, where there is no box? Python and its packages must be readable for everybody."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    trial = [*_as_user(), "prlimit", sys.executable, "-c", "import ipykernel"]
    return subprocess.run(trial, capture_output=True, cwd="/").returncode == 0


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
    everything = resource.getrlimit(resource.RLIMIT_AS)[1]  # a grader's worker has less, and would pass it on
    return {
        "data": limits.memory, "cpu": limits.cpu, "fsize": limits.disk, "nofile": 512, "core": 0, "as": everything,
        "memlock": 8_000_000,
    }  # fmt: skip


def _prlimit(rlimits: dict[str, int]) -> list[str]:
    spelled = {name: "unlimited" if value == resource.RLIM_INFINITY else value for name, value in rlimits.items()}
    return ["prlimit", *(f"--{name}={value}" for name, value in spelled.items())]


def environment(limits: Limits) -> dict[str, str]:
    """The variables that a boxed kernel sees; nothing of the grader's own."""
    import course_utils
    from course_utils import weights

    threads = str(limits.threads)
    # the helper package that the grader itself has, also where another copy of the course is the installed one
    helpers = Path(course_utils.__file__).resolve().parents[1]
    return {
        **({} if helpers.is_relative_to(sys.prefix) else {"PYTHONPATH": str(helpers)}),
        "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin",
        "HOME": HOME,
        "USER": "student",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "COURSE_BUDGET": "quick",
        "COURSE_CACHE": str(weights.cache_dir().resolve()),
        "HF_HUB_OFFLINE": "1",
        "MPLCONFIGDIR": str(_font_cache()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
    }


@contextlib.contextmanager
def core() -> Iterator[int | None]:
    """A processor for one box, so that it takes no time from its neighbours; None when there are more boxes than processors.

    Graders of other runs on this machine keep to it too: whoever has one holds a lock on a file.
    """
    for number in sorted(os.sched_getaffinity(0)):
        path = f"/tmp/course-core-{os.geteuid()}-{number}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:  # somebody else's file: another core may be free
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # taken: the next one
            os.close(descriptor)
            continue
        try:
            yield number
        finally:
            os.close(descriptor)
        return
    yield None


def remove(folder: Path) -> None:
    """Remove a folder of sockets, whatever a student has made of it: also folders that nobody may open."""
    with contextlib.suppress(OSError):  # what cannot be opened is left: rmtree below passes over it
        folder.chmod(0o700)
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            with contextlib.suppress(OSError):  # as above
                path = Path(parent, name)
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)  # sockets that stay cost no grade: their box is gone


class BoxProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts a kernel in a box. jupyter_client finds it by the entry point `course-box`.

    Its configuration stands in the kernel spec: `limits` (fields of `Limits`), `shared` (the folder of sockets), `core` (the
    processor that it is to keep to), and `unsafe`, which starts the same kernel with the same limits of the system, but
    without a box. `modules`, when there are any, are imported once for all boxes of this process (see zygote.py).
    """

    limits = Dict()
    shared = Unicode()
    core = Int(None, allow_none=True)
    unsafe = Bool(False)
    modules: Any = List()
    ended: str = ""  # why the watch killed it
    crowded = False  # at the last look, a process was close to the memory that it may have
    group: cgroup.Group | None = None
    members: watch.Members | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        limits = Limits(**self.limits)
        kwargs.setdefault("stdout", subprocess.DEVNULL)
        kwargs.setdefault("stderr", subprocess.DEVNULL)
        if self.unsafe:
            other = _as_user() if can_leave_root() else []  # no code of a stranger's as root, if it can be helped
            if other:
                self._give_away()
                kwargs["env"] = {**environment(limits), "HOME": self.shared}
            else:
                kwargs["env"] = {**os.environ, **environment(limits)}
                kwargs["env"].pop("MPLCONFIGDIR")
            kwargs["cwd"] = self.shared
            limited = [*self._pinned(), *other, *_prlimit(_rlimits(limits)), *cmd]
            connection = await super().launch_kernel(limited, **kwargs)
            self.members = watch.Members([self.process.pid], apart=False)
        else:
            self.group = cgroup.group(limits.memory, limits.processes + _OWN)
            connection = await self._boxed(cmd, limits, kwargs)
        threading.Thread(target=self._watch, args=(self.process,), daemon=True).start()
        return connection

    def _pinned(self) -> list[str]:
        return [] if self.core is None else ["taskset", "--cpu-list", str(self.core)]

    def _give_away(self) -> None:
        """The folder of sockets is the kernel's user's."""
        for path in (Path(self.shared), *Path(self.shared).iterdir()):
            os.chown(path, _user(), _user())

    async def _boxed(self, cmd: list[str], limits: Limits, kwargs: dict[str, Any]) -> Any:
        """Start the kernel in a box, warm if that can be had."""
        shared, inside = Path(self.shared), environment(limits)
        if os.geteuid() == 0:
            self._give_away()
        # the number of processes is limited only here: outside a box an account's own would count too
        rlimits = {**_rlimits(limits), "nproc": limits.processes}
        parent = self._zygote(limits)
        with _filter() as rules:
            kwargs["env"] = {"PATH": os.defpath}  # not ours: the first process of a box may show it
            kwargs["cwd"] = "/"
            kwargs["pass_fds"] = [rules] if rules else []
            box = [*self._pinned(), *_bwrap(limits, inside, rules, shared)]
            box = self.group.entering(box) if self.group else box
            if parent is None:
                connection = await super().launch_kernel([*box, *_prlimit(rlimits), *cmd], **kwargs)
                self.members = watch.Members([self.process.pid])
                return connection
            entry = zygote.Entry(
                process=0,
                user=_user() if os.geteuid() == 0 else 0,
                limits={f"RLIMIT_{name.upper()}": value for name, value in rlimits.items()},
                environment=inside,
                home=HOME,
                connection=cmd[cmd.index("-f") + 1],
                rules=seccomp.forbidden().hex(),
                core=self.core,
                group=str(self.group.path) if self.group else "",
            )
            return await self._warm(parent, entry, [*box, *zygote.ANCHOR], kwargs)

    def _zygote(self, limits: Limits) -> zygote.Zygote | None:
        """Whom to ask for a kernel that has the imports; None when there is nobody."""
        if self.modules:
            with contextlib.suppress(zygote.Unavailable):  # without it kernels start one by one, slower
                return zygote.running(tuple(self.modules), environment(limits))
        return None

    async def _warm(self, parent: zygote.Zygote, entry: zygote.Entry, program: list[str], kwargs: dict[str, Any]) -> Any:
        """Make the box, then have a kernel move in.

        Raises:
            RuntimeError: it did not. The next kernel will be a cold one.
        """
        ready, says = os.pipe()
        waits, lifeline = os.pipe()
        try:
            connection = await super().launch_kernel(program, **{**kwargs, "stdin": waits, "stdout": says})
            self.members = watch.Members([self.process.pid])
            os.close(says)
            says = -1
            try:
                if not select.select([ready], [], [], zygote.ENTER)[0] or not os.read(ready, 1):
                    raise zygote.Unavailable("the box did not start")
                entry.process = max(self.members.pids(), default=0)
                self.members.roots.append(parent.kernel(entry, lifeline))
            except zygote.Unavailable as gone:
                self._kill(self.process)
                warnings.warn(f"no warm start of imports, grading goes on without: {gone}", stacklevel=2)
                zygote.give_up(tuple(self.modules), gone)
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
            warmed = self.members.roots[1:] if self.members else []
            kernel = next((pid for pid in [*warmed, *self._pids()] if watch.program(pid) == sys.executable), 0)
            if kernel:
                with contextlib.suppress(OSError):  # it has ended by itself
                    os.kill(kernel, signum)
            return
        self._kill(self.process)

    async def cleanup(self, restart: bool) -> None:
        await super().cleanup(restart)
        if self.group:
            self.group.remove()

    def over(self) -> str:
        """Why it is to be ended, or has been, for what it uses; "" when it keeps to its limits."""
        if self.ended or not self.members:
            return self.ended
        limits = Limits(**self.limits)
        use = self.members.look(limits.memory)
        self.crowded = use.data > 0.9 * limits.memory
        if use.memory > limits.memory:
            return _too_much(limits)
        if use.threads > limits.processes:
            return f"started more than {limits.processes} processes and threads"
        if not self.unsafe and not watch.small(Path(self.shared)):
            return "wrote into the folder of its kernel's sockets"
        if use.files > watch.FILES:
            return f"made more than {watch.FILES} files"
        if use.sockets > watch.SOCKETS:
            return f"opened more than {watch.SOCKETS} sockets"
        if use.hidden and not self.unsafe:
            return "hid a process, so that nobody can see what it uses"
        return ""

    def busy(self) -> int:
        """How many threads run in it, of all its processes."""
        return self.members.look(sys.maxsize).threads if self.members else 0

    def why(self) -> str:
        """Why the box was ended, if the grader or the system did so for what it used."""
        if not self.ended and self.group and self.group.memory_ran_out():
            self.ended = _too_much(Limits(**self.limits))
        return self.ended

    def meter(self) -> Meter:
        """From now on, how long the machine lets it wait."""
        return Meter(self)

    def computed(self) -> tuple[float, float]:
        """Seconds that the box has computed, and that one of its processes has waited for a processor."""
        computed, waited = self.members.waited() if self.members else (0.0, 0.0)
        counted = self.group.processor() if self.group else None
        return (computed if counted is None else counted), waited

    def process_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _pids(self) -> list[int]:
        return self.members.pids() if self.members else []

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if self.group:
            self.group.kill()
        if self.members:
            self.members.kill()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.kill()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """What limits of the system cannot see: the sum over processes, and files in the shared folder."""
        while process.poll() is None and not self.ended:
            self.ended = self.over()
            if self.ended:
                self._kill(process)
            time.sleep(0.1)


class Meter:
    """How long a busy machine has kept a box from computing, since this was made.

    That is what one of its processes has waited for a processor, but not while others of the same box had one: who starts
    fifty loops waits for himself.
    """

    def __init__(self, provisioner: BoxProvisioner) -> None:
        self.provisioner, self.begun, self.before = provisioner, time.monotonic(), provisioner.computed()

    def late(self) -> float:
        """Seconds."""
        computed, waited = (now - before for now, before in zip(self.provisioner.computed(), self.before, strict=True))
        return max(0.0, min(waited, time.monotonic() - self.begun - computed))


def _too_much(limits: Limits) -> str:
    return f"used more than {limits.memory / 1e9:.1f} GB of memory"
