"""Takes away from this Python what Windows has not, as far as that goes, and imports the course: run it as a program.

Other packages are imported first, for they know Windows; then `sys.platform` is win32, the modules that only Linux and macOS
have cannot be imported by the course's own files, and the calls are gone.
"""

from __future__ import annotations

import builtins
import importlib
import os
import pkgutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
THEIRS = """
    accelerate asyncio bitsandbytes bm25s concurrent.futures.process datasets distributed filelock gguf gradio ipywidgets
    jupyter_client.provisioning jupytext matplotlib.pyplot multiprocessing.popen_spawn_posix nbclient nbconvert.exporters
    nbgrader.api nbgrader.converters networkx peft platformdirs psutil pytest requests sklearn.linear_model
    sphinx.application sqlalchemy.exc subprocess tempfile torch tqdm.auto transformers xdist.scheduler
"""
NO_MODULES = ("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
NO_CALLS = {
    os: "chown fchmod fork forkpty getegid geteuid getgid getgroups getpgid getpgrp getsid getuid initgroups killpg lchown "
    "major memfd_create minor mkfifo mknod nice openpty pipe2 posix_fallocate pread register_at_fork sched_getaffinity "
    "sched_setaffinity sched_yield setegid seteuid setgid setgroups setns setpgid setpriority setresgid setresuid setsid "
    "setuid sync sysconf tcgetpgrp uname unshare wait wait3 wait4 waitid WNOHANG WIFSIGNALED WTERMSIG O_CLOEXEC O_NOFOLLOW",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pause pthread_kill setitimer",
    socket: "AF_UNIX SOCK_SEQPACKET recv_fds send_fds",
}
real_import = builtins.__import__


def import_as_on_windows(name: str, globals: Any = None, *rest: Any, **named: Any) -> Any:
    ours = str((globals or {}).get("__file__", "")).startswith(str(ROOT)) and ".venv" not in globals["__file__"]
    if ours and name.split(".")[0] in NO_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    return real_import(name, globals, *rest, **named)


def become_windows() -> None:
    for name in THEIRS.split():
        importlib.import_module(name)
    builtins.__import__ = import_as_on_windows
    sys.platform = "win32"
    for module, calls in NO_CALLS.items():
        for call in calls.split():
            if hasattr(module, call):
                delattr(module, call)


def modules() -> list[str]:
    """Every module of the two packages, and the start script."""
    packages = [importlib.import_module(name) for name in ("course_utils", "courseware")]
    names = [found.name for package in packages for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return ["start", *(package.__name__ for package in packages), *names]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.platform != "win32":
        become_windows()
    for name in modules():
        importlib.import_module(name)
        print(name)
    from course_utils import hardware, lab
    from courseware import cli

    hardware.report()
    lab.start("10_quantization", exercises=["absmax"])
    with lab.test("absmax"):
        pass
    sys.exit(cli.main(sys.argv[1:]))
