"""Make `.venv` from `requirements.lock`, or see at once that it is there; then open JupyterLab, or test.

    python start.py --lab       JupyterLab in labs/
    python start.py --test      do the notebooks run here?
    python start.py COMMAND     any command of `course`, where the course itself is checked out

Options of the command may follow. On Windows write `py`, elsewhere `python3`. `make` calls this file too; students have it.
It needs nothing but a Python; its syntax is kept old on purpose, so that an old one can read it far enough to say so.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST = (3, 11)
OLDEST_MACOS = 14
NOWHERE = subprocess.DEVNULL
DISK_MB = 4000  # packages and the model, with room to unpack; measured in the README
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
COURSE = (
    "import sys; from importlib.metadata import entry_points; "
    "sys.exit(entry_points(group='console_scripts', name='course')['course'].load()())"
)
LONGEST_FILE = 190  # characters below `.venv`, in torch's package
WINDOWS_PATH = 259  # characters, unless Windows is told to allow more


def check_python(found: tuple, again: str = "--lab"):  # -> str | None
    """The message for a Python that is too old, or None."""
    if tuple(found[:2]) >= OLDEST:
        return None
    newer = "py -3.12" if sys.platform == "win32" else "python3.12"
    return (
        "This course needs Python {}.{} or newer; `{}` is {}.{}.\n"
        "Install one (python.org, your package manager, conda or uv), then: {} start.py {}"
    ).format(OLDEST[0], OLDEST[1], sys.executable, found[0], found[1], newer, again)


def check_machine():  # -> str | None
    """The message for a machine or a Python that torch has no package for, or None."""
    kind = platform.machine().lower()
    if sys.maxsize < 2**32:
        return "torch has no package for a 32-bit Python. Install a 64-bit one from python.org."
    if sys.platform == "win32" and kind == "arm64":
        return "torch has no package for Windows on ARM. Install the 64-bit Python for Intel, which runs there too."
    if sys.platform == "darwin" and kind == "x86_64":
        return (
            "PyTorch ended its packages for Macs with an Intel processor in 2024. Open the notebooks in Colab, or work in a "
            "Linux container (Docker). On a Mac with an Apple processor this is the wrong Python: install one for arm64."
        )
    if sys.platform == "darwin" and int(platform.mac_ver()[0].split(".")[0] or OLDEST_MACOS) < OLDEST_MACOS:
        return "torch and bitsandbytes need macOS {}; this is {}.".format(OLDEST_MACOS, platform.mac_ver()[0])
    return None


def long_paths() -> bool:
    """Does this Windows allow paths of more than 259 characters? True elsewhere."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:  # no such setting: an older Windows
        return False


def check_place(target: str):  # -> str | None
    """The message for a folder in which the packages' files would have too long paths, or None."""
    room = WINDOWS_PATH - LONGEST_FILE - len(os.path.join(target, ""))
    if room >= 0 or long_paths():
        return None
    return (
        "{} is {} characters too long for Windows: packages hold files deep below it.\nMove the folder, for example to "
        "C:\\llm-course, or let Windows use long paths (search for LongPathsEnabled), then run the same command again."
    ).format(ROOT, -room)


def fingerprint() -> str:
    """Changes when the interpreter (first line), the lock file or the package's own metadata (second line) does."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as stream:
            digest.update(stream.read())
    return "{}\n{}\n".format(sys.version.split()[0], digest.hexdigest())


def torch_index():  # -> str | None
    """The index that torch comes from; None for PyPI.

    On Linux PyPI's torch brings gigabytes of CUDA; without an NVIDIA GPU the CPU build does the same work.
    """
    linux = sys.platform.startswith("linux") and platform.machine() == "x86_64"
    without_gpu = linux and shutil.which("nvidia-smi") is None
    return os.environ.get("COURSE_TORCH_INDEX") or (PYTORCH_CPU_INDEX if without_gpu else None)


def locked(package: str) -> str:
    """The lock file's line for a package, as name==version."""
    with open(os.path.join(ROOT, "requirements.lock"), encoding="utf-8") as stream:
        return next(line.split(";")[0].strip() for line in stream if line.startswith(package + "=="))


def install_torch(pip: list, index: str) -> None:
    """Install the locked torch from an index of PyTorch's builds when it can be had; say so and go on when it cannot.

    The CPU build may be in a place that pip already looks at (PIP_FIND_LINKS). Where nothing answers, the lock file's
    ordinary torch is installed next: larger on Linux, and just as good on a CPU.
    """
    wanted = locked("torch")
    print("Installing {} from {}".format(wanted, index), flush=True)
    # A version with the local label +cpu is only ever the CPU build, so the first try cannot bring CUDA by accident.
    install = pip + ["install", "--quiet", "--no-deps"]
    if index == PYTORCH_CPU_INDEX and subprocess.call(install + [wanted + "+cpu"], stdout=NOWHERE, stderr=NOWHERE) == 0:
        return
    install += ["--index-url", index, "--retries", "1", "--timeout", "10", wanted]
    if subprocess.call(install, stdout=NOWHERE, stderr=NOWHERE) != 0:
        print("That index does not answer: installing PyPI's torch", flush=True)


def python_of(target: str) -> str:
    """The Python of an environment. Its other programs hold the folder's name, in an encoding that is not everybody's."""
    place = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    return os.path.join(target, *place)


def make_venv(target: str, afresh: bool) -> None:
    free = shutil.disk_usage(ROOT).free // 10**6
    if afresh and free < DISK_MB:
        sys.exit("The course needs {} MB of disk; {} has {} MB free.".format(DISK_MB, ROOT, free))
    print("Setting up {}: a few minutes, once".format(target), flush=True)
    pip = [python_of(target), "-m", "pip", "--disable-pip-version-check"]
    if afresh:
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", target])
        subprocess.check_call(pip + ["install", "--quiet", locked("pip")])
        index = torch_index()
        if index:
            install_torch(pip, index)
    # pip's own progress is for a person who waits; in a log it is 170 lines of noise
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    subprocess.check_call(pip + ["install"] + quiet + ["-r", "requirements.lock"], cwd=ROOT)
    subprocess.check_call(pip + ["install", "--quiet", "--no-deps", "--editable", "."], cwd=ROOT)
    point_here(target)


def point_here(target: str) -> None:
    """Write the way from the environment to this folder as ".." and so on, in plain ASCII.

    pip writes the folder's name, in UTF-8. Python 3.11 and 3.12 read it in the system's own encoding: on a Chinese Windows
    a folder with a Chinese name is then not found, or Python does not start at all.
    """
    packages = sysconfig.get_path("purelib", "venv", {"base": target, "platbase": target})
    for name in os.listdir(packages):
        if name.endswith("course_utils.pth"):
            with open(os.path.join(packages, name), "w", encoding="ascii") as stream:
                stream.write(os.path.relpath(ROOT, packages) + "\n")


def set_up(target: str, stamp: str, before: str, now: str) -> None:
    try:
        make_venv(target, afresh=before.split("\n")[0] != now.split("\n")[0])
    except subprocess.CalledProcessError as error:
        sys.exit(
            "Setting up failed at: {}\nIts message is above. Without network, set PIP_INDEX_URL to a mirror that you can "
            "reach. Running the same command again continues.".format(" ".join(error.cmd))
        )
    with open(stamp, "w", encoding="utf-8") as stream:
        stream.write(now)


def command(target: str, arguments: list) -> tuple:
    """What the arguments ask for: a command line and the folder to run it in."""
    first, rest = arguments[0], list(arguments[1:])
    if os.path.isdir(os.path.join(ROOT, "chapters")):  # the course itself; students have none
        return [python_of(target), "-c", COURSE, first.lstrip("-")] + rest, ROOT
    if first == "--lab":
        return [python_of(target), "-m", "jupyterlab"] + rest, os.path.join(ROOT, "labs")
    if first == "--test":
        return [python_of(target), "-m", "course_utils.rerun"] + rest, ROOT
    sys.exit("start.py knows --lab and --test, not {}".format(first))


def with_settings(environment) -> dict:
    """The environment in which JupyterLab leaves out nbgrader's buttons to make and hand out assignments."""
    known = environment.get("JUPYTER_CONFIG_PATH", "")
    ours = os.path.join(ROOT, "course_utils", "jupyter")
    return dict(environment, JUPYTER_CONFIG_PATH=ours + os.pathsep + known if known else ours)


def run(line: list, folder: str) -> int:
    """Run a command to its end. Ctrl-C is the command's own: JupyterLab asks whether it should stop."""
    process = subprocess.Popen(line, cwd=folder, env=with_settings(os.environ))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the command decides
            pass


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a folder's name may have letters that this terminal has not
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return
    target = os.path.join(ROOT, ".venv")
    problem = check_python(sys.version_info, " ".join(arguments)) or check_machine() or check_place(target)
    if problem:
        sys.exit(problem)
    stamp = os.path.join(target, "course-stamp")  # written last: a set-up that was cut is not mistaken for a whole one
    before = ""
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as stream:
            before = stream.read()
    now = fingerprint()
    if before != now:
        set_up(target, stamp, before, now)
    if arguments:
        sys.exit(run(*command(target, arguments)))


if __name__ == "__main__":
    main()
