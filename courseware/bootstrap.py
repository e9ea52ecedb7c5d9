"""Make `.venv` from `requirements.lock`, or see at once that it is there. Needs nothing but a Python.

Run by `make` before every command; students have it as `start.py`; `--lab` opens JupyterLab too. The syntax is kept old on
purpose, so that an old Python can read the file far enough to say that it is too old.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = HERE if os.path.exists(os.path.join(HERE, "requirements.lock")) else os.path.dirname(HERE)
OLDEST = (3, 11)
NOWHERE = subprocess.DEVNULL
DISK_MB = 4000  # packages and the model, with room to unpack; measured in the README
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def check_python(found: tuple):  # -> str | None
    """The message for a Python that is too old, or None."""
    if tuple(found[:2]) >= OLDEST:
        return None
    # a student's folder has no Makefile
    again = "python3.12 start.py --lab" if HERE == ROOT else "make lab PYTHON=python3.12"
    return (
        "This course needs Python {}.{} or newer; `{}` is {}.{}.\n"
        "Install one (python.org, your package manager, conda or uv), then: {}"
    ).format(OLDEST[0], OLDEST[1], sys.executable, found[0], found[1], again)


def fingerprint() -> str:
    """Changes when the interpreter (first line), the lock file or the package's own metadata (second line) does."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as stream:
            digest.update(stream.read())
    return "{}\n{}\n".format(sys.version.split()[0], digest.hexdigest())


def wants_cpu_torch() -> bool:
    """On Linux the ordinary torch brings gigabytes of CUDA; without an NVIDIA GPU the CPU build does the same work."""
    return sys.platform.startswith("linux") and platform.machine() == "x86_64" and shutil.which("nvidia-smi") is None


def locked(package: str) -> str:
    """The lock file's line for a package, as name==version."""
    with open(os.path.join(ROOT, "requirements.lock")) as stream:
        return next(line.split(";")[0].strip() for line in stream if line.startswith(package + "=="))


def install_cpu_torch(pip: list) -> None:
    """Install the CPU build of the locked torch when it can be had; say so and go on when it cannot.

    It may be in a place that pip already looks at (PIP_FIND_LINKS), else PyTorch's own index has it. Where neither
    answers, the lock file's ordinary torch is installed next: larger, and just as good.
    """
    wanted = locked("torch")
    print("Installing {} for the CPU (no NVIDIA GPU here)".format(wanted), flush=True)
    # A version with the local label +cpu is only ever the CPU build, so the first try cannot bring CUDA by accident.
    if subprocess.call(pip + ["install", "--quiet", "--no-deps", wanted + "+cpu"], stdout=NOWHERE, stderr=NOWHERE) == 0:
        return
    index = os.environ.get("COURSE_TORCH_INDEX", PYTORCH_CPU_INDEX)
    patience = ["--retries", "1", "--timeout", "10"]
    command = pip + ["install", "--quiet", "--no-deps", "--index-url", index] + patience + [wanted]
    if subprocess.call(command, stdout=NOWHERE, stderr=NOWHERE) != 0:
        print("PyTorch's CPU index does not answer: installing the ordinary torch, which is larger", flush=True)


def python_of(target: str) -> str:
    return os.path.join(target, "Scripts" if os.name == "nt" else "bin", "python")


def make_venv(target: str, afresh: bool) -> None:
    free = shutil.disk_usage(ROOT).free // 10**6
    if afresh and free < DISK_MB:
        sys.exit("The course needs {} MB of disk; {} has {} MB free.".format(DISK_MB, ROOT, free))
    print("Setting up {}: a few minutes, once".format(os.path.relpath(target)), flush=True)
    python = python_of(target)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    if afresh:
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", target])
        subprocess.check_call(pip + ["install", "--quiet", locked("pip")])
        if wants_cpu_torch():
            install_cpu_torch(pip)
    # pip's own progress is for a person who waits; in a log it is 170 lines of noise
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    subprocess.check_call(pip + ["install"] + quiet + ["-r", "requirements.lock"], cwd=ROOT)
    subprocess.check_call(pip + ["install", "--quiet", "--no-deps", "--editable", "."], cwd=ROOT)


def main() -> None:
    problem = check_python(sys.version_info)
    if problem:
        sys.exit(problem)
    target = os.path.join(ROOT, ".venv")
    stamp = os.path.join(target, "course-stamp")  # written last: a set-up that was cut is not mistaken for a whole one
    before = ""
    if os.path.exists(stamp):
        with open(stamp) as stream:
            before = stream.read()
    now = fingerprint()
    if before != now:
        set_up(target, stamp, before, now)
    if "--lab" in sys.argv:
        sys.exit(subprocess.call([python_of(target), "-m", "jupyter", "lab"], cwd=os.path.join(ROOT, "labs")))


def set_up(target: str, stamp: str, before: str, now: str) -> None:
    try:
        make_venv(target, afresh=before.split("\n")[0] != now.split("\n")[0])
    except subprocess.CalledProcessError as error:
        sys.exit(
            "Setting up failed at: {}\nIts message is above. Without network, set PIP_INDEX_URL to a mirror that you can "
            "reach. Running the same command again continues.".format(" ".join(error.cmd))
        )
    with open(stamp, "w") as stream:
        stream.write(now)


if __name__ == "__main__":
    main()
