"""The command `course`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_utils.console import print_anything

from .chapters import ROOT, Chapter, ChapterError, all_chapters, chapter

_LOCK_HEADER = """\
# The tested set, exact. Written by `course lock` from pyproject.toml; do not edit.
# What torch needs for CUDA (nvidia-*, cuda-*, triton) is left out: each build of torch pins its own.
"""
_LOCK_PINS = ["torch==2.13.0"]
_LINUX_ONLY = ("courseware/grading/box.py", "courseware/grading/warm.py")
_NO_GRADING = """\
Grading does not run on Windows: each submission runs in a box (bubblewrap), which Linux alone has. Two ways out:
  WSL      wsl --install; in its Ubuntu: sudo apt install make python3-venv bubblewrap, then as on Linux
  Docker   docker run --rm -it --security-opt seccomp=unconfined --security-opt apparmor=unconfined -v "%cd%":/course
           -w /course python:3.12 sh -c "apt update && apt install -y bubblewrap && make setup && .venv/bin/course grade ..."
           (one line; in PowerShell ${PWD} in place of %cd%)
Lectures, labs, tests, slides, site and release do run here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    print_anything()
    parser = argparse.ArgumentParser(prog="course", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    lab = commands.add_parser("lab", help="fetch the course model and data, then open JupyterLab in labs/")
    lab.add_argument("jupyter", nargs=argparse.REMAINDER, help="options for jupyter lab, e.g. --no-browser")
    commands.add_parser("fetch", help="fetch the course model and data into the cache")
    test = commands.add_parser("test", help="run every test and every notebook")
    test.add_argument("--budget", choices=("quick", "full"), default="quick")
    test.add_argument("pytest", nargs="*", help="what to run instead of everything, and options for pytest")
    notebooks = commands.add_parser("notebooks", help="build the notebooks whose sources changed")
    notebooks.add_argument("chapters", nargs="*", metavar="CHAPTER", help="e.g. 10 or 10_quantization; default: all")
    notebooks.add_argument("--all", action="store_true", help="also those that did not change")
    notebooks.add_argument("--budget", choices=("quick", "full"), default="full", help="size of the experiments")
    leave = commands.add_parser("drop", help="leave an exercise out of a lab, and list what still uses it")
    leave.add_argument("chapter", help="e.g. 10")
    leave.add_argument("exercise", help="e.g. zero_point")
    grade = commands.add_parser("grade", help="grade a class's submissions of a lab")
    grade.add_argument("lab", help="e.g. 10_quantization")
    grade.add_argument("submitted", type=Path, help="a folder, or the zip that a learning platform gives out")
    grade.add_argument("--out", type=Path, default=Path("graded"), help="where the gradebook goes (default: graded)")
    grade.add_argument("--students", type=Path, metavar="LIST.csv", help="the class: id, name, e-mail")
    grade.add_argument("--pattern", default="", metavar="REGEX", help="whose a file is, by (?P<student_id>…)")
    grade.add_argument("--yes", action="store_true", help="go on where it is not clear who is a student")
    grade.add_argument(
        "--into", type=Path, metavar="SHEET.csv", help="also fill a copy of Canvas', Moodle's or another sheet"
    )
    grade.add_argument("--column", default="", metavar="TITLE", help="which column of that sheet, if that is not clear")
    grade.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the feedback pages")
    grade.add_argument("--workers", type=int, default=0, help="processes (default: one for each CPU core)")
    grade.add_argument("--dask", metavar="ADDRESS", default="", help="scheduler of an existing Dask cluster")
    grade.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE", help="e.g. memory=6GB (limits.toml)")
    grade.add_argument("--unsafe", action="store_true", help="without a box: only for code that you trust")
    small = commands.add_parser("grade-demo", help="make a small class, good ones and bad ones, and grade it")
    small.add_argument("lab", nargs="?", default="10_quantization")
    small.add_argument("--out", type=Path, default=Path("graded-demo"))
    deck = commands.add_parser("slides", help="write lectures as slides: one HTML file each, no network needed")
    deck.add_argument("chapters", nargs="*", metavar="CHAPTER", help="e.g. 10 or 10_quantization; default: all")
    deck.add_argument("--out", type=Path, default=ROOT / "build" / "slides", help="folder (default: build/slides)")
    web = commands.add_parser("site", help="build the web site: lectures, labs, search, bibliography, glossary")
    web.add_argument("chapters", nargs="*", metavar="CHAPTER")
    web.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder (default: build/site)")
    give = commands.add_parser("release", help="write what students get, without solutions and hidden tests")
    give.add_argument("chapters", nargs="*", metavar="CHAPTER", help="those to give out now; default: all")
    give.add_argument("--out", type=Path, help="the students' folder, e.g. a checkout of their repository")
    give.add_argument("--repo", metavar="OWNER/NAME", help="the students' repository on GitHub")
    give.add_argument("--autograder", type=Path, metavar="FILE.tar.gz", help="also pack what a grading machine needs")
    give.add_argument("--gradescope", metavar="LAB", help="instead, pack a lab's autograder for Gradescope into --out")
    cost = commands.add_parser(
        "measure", help="run notebooks one by one; write their time and memory into docs/measurements.md"
    )
    cost.add_argument("chapters", nargs="*", metavar="CHAPTER")
    cost.add_argument("--budget", choices=("quick", "full"), default="full")
    commands.add_parser("check", help="ruff and mypy")
    bench = commands.add_parser("bench", help="run the benchmarks, or one of them")
    bench.add_argument("names", nargs="*", metavar="NAME", help="e.g. load")
    commands.add_parser("lock", help="write requirements.lock anew from pyproject.toml (needs uv)")

    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in ("lab", "test"):
        parser.error(f"unknown option {rest[0]}")
    try:
        if options.command in ("grade", "grade-demo") and sys.platform == "win32":
            raise ChapterError(_NO_GRADING)
        match options.command:
            case "lab":
                return _lab([*options.jupyter, *rest])
            case "fetch":
                print(_fetch(everything=True))
            case "test":
                return _test(options.budget, [*options.pytest, *rest])
            case "notebooks":
                return _notebooks(_chosen(options.chapters), options.budget, options.all)
            case "drop":
                return _drop(chapter(options.chapter), options.exercise)
            case "grade":
                return _grade(options)
            case "grade-demo":
                from .files import output
                from .grading import demo

                earlier = (options.out / "gradebook.db").exists()
                output(options.out, "grade-demo", () if earlier else ("submitted",))
                demo.make(chapter(options.lab), options.out / "submitted")
                return main(["grade", options.lab, str(options.out / "submitted"), "--out", str(options.out)])
            case "slides":
                from . import slides

                chapters = _chosen(options.chapters)
                _tell_stale(chapters, "lectures/")
                for one in chapters:
                    print(slides.write(one, options.out))
            case "site":
                return _site(_chosen(options.chapters), options.out)
            case "release":
                return _release(options)
            case "measure":
                from . import measure

                measure.write(_chosen(options.chapters), options.budget)
            case "check":
                return _check()
            case "bench":
                return _bench(options.names)
            case "lock":
                _lock()
    except Exception as error:
        from course_utils.errors import CourseError

        if not isinstance(error, (ChapterError, CourseError)):
            raise
        print(f"course: {error}", file=sys.stderr)
        return 1
    return 0


def _fetch(everything: bool) -> str:
    """Bring what the notebooks need, so that they run without a network.

    What only some chapters need is left out unless `everything`: a student's lab brings it when it is run. A grading box has
    no network to do so.
    """
    from course_utils import data, weights

    said = [f"course model  {weights.path()}", f"sentences     {data.movie_sentences().num_rows} of movie reviews"]
    if everything:
        said += [f"encoder       {weights.path('minilm')}"]
        said += [f"BIG-bench     {len([data.bigbench(task) for task in data.BIGBENCH_TASKS])} tasks"]
        said += [f"reviews       {data.chinese_reviews().num_rows} in Chinese"]
    return "\n".join(said)


def _run(command: Sequence[str | Path], **options: Any) -> int:
    """Run a command to its end; its exit status. Ctrl-C is the command's own: JupyterLab asks whether it should stop."""
    process = subprocess.Popen(command, **options)
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()


def _lab(jupyter: list[str]) -> int:
    print(_fetch(everything=False))
    # JupyterLab would ask on its first start whether to fetch news from the network: no, in a course.
    settings = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        wanted = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
        settings.write_text(json.dumps(wanted), encoding="utf-8")
    return _run([sys.executable, "-m", "jupyterlab", *jupyter], cwd=ROOT / "labs")


def _test(budget: str, pytest: list[str]) -> int:
    """pytest over the tests, and over every lecture and every solved lab as notebooks (nbval)."""
    _fetch(everything=True)
    notebooks = [p for c in all_chapters() for p in (c.lecture, c.solution) if p.exists()]
    what = pytest or ["tests", *(p.relative_to(ROOT).as_posix() for p in notebooks)]
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=900", "--durations=10"]
    options += ["-p", "courseware.pytest_plugin"]
    workers = _workers()
    options += [f"-n{workers}", "--no-loadscope-reorder"] if workers > 1 else []
    threads = str(max(1, (os.cpu_count() or 1) // workers))  # two processes with all the cores each are slower than one
    environment = {**os.environ, "COURSE_BUDGET": budget, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    environment["PYTHONIOENCODING"] = "utf-8"  # what a test's own programs print is read as UTF-8, on Windows too
    started = time.monotonic()
    status = _run([sys.executable, "-m", "pytest", *options, *what], cwd=ROOT, env=environment)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes at COURSE_BUDGET={budget}")
    return status


def _workers() -> int:
    """Test processes: one for each core, if each has the 6 GB that a notebook may take."""
    import psutil

    return max(1, min(os.cpu_count() or 1, int(psutil.virtual_memory().total / 6e9)))


def _chosen(names: Sequence[str]) -> list[Chapter]:
    """Chapters by name or number; all for no name."""
    return [chapter(name) for name in names] or all_chapters()


def _tell_stale(chapters: list[Chapter], *shown: str) -> None:
    """Pages are made from the committed notebooks: who edits a source should know that the page does not show it."""
    from .build import all_small, all_stale

    for said in filter(lambda said: said.startswith(shown), all_stale(chapters)):
        print(f"course: {said}; the pages show it as it was. `course notebooks` builds it.", file=sys.stderr)
    for said in filter(lambda said: said.startswith(shown), all_small(chapters)):
        print(f"course: {said}; their numbers are on the pages. `course notebooks` runs them in full.", file=sys.stderr)


def _site(chapters: list[Chapter], out: Path) -> int:
    from . import site

    _tell_stale(chapters, "lectures/", "labs/")
    warnings = site.build(out, chapters)
    print("\n".join(warnings), file=sys.stderr, end="\n" if warnings else "")
    print(out / "index.html")
    return int(bool(warnings))


def _release(options: argparse.Namespace) -> int:
    from .release import autograder, release

    if options.gradescope:
        from .grading import gradescope

        lab = chapter(options.gradescope)
        path = (options.out or ROOT / "build" / "gradescope") / f"{lab.name}-gradescope.zip"
        print(f"{path}: {gradescope.pack(lab, path) / 1e6:.1f} MB, with the solution: keep it from students")
        return 0
    if not options.out or not options.repo:
        raise ChapterError("`course release` needs --out, the students' folder, and --repo, their repository on GitHub.")
    written = release(options.out, options.repo, _chosen(options.chapters))
    print(f"{len(written)} files for students in {options.out}; commit and push them as {options.repo}")
    if options.autograder:
        print(f"{options.autograder}: {autograder(options.autograder) / 1e6:.1f} MB, with solutions: keep it from students")
    return 0


def _notebooks(chapters: list[Chapter], budget: str, everything: bool) -> int:
    from . import rules
    from .build import build

    for part in chapters:  # all of them, before the first is run
        rules.refuse(part)
    for part in chapters:
        for said in rules.wanting(part):
            print(f"course: {part.name}: {said}", file=sys.stderr)
    written = [path for part in chapters for path in build(part, budget, everything)]
    print(f"{len(written)} notebooks built" if written else "Every notebook is up to date")
    return 0


def _drop(part: Chapter, exercise: str) -> int:
    from . import rules
    from .drop import drop

    gone = drop(part, exercise)
    print(f"{part.name}: {exercise} is out: {gone.cells} cells ({gone.points} points) and {gone.mutants} wrong solutions")
    print(f"The text of its section stays: {gone.heading}")
    if gone.uses:
        print("\n  ".join([f"These lines of chapters/{part.name} still name it or use what it defined:", *gone.uses]))
    if broken := rules.broken(part):
        print("\n  ".join(["Until these are mended, `course notebooks` builds nothing:", *broken]))
    print(f"Then: course notebooks {part.name}")
    return 0


def _grade(options: argparse.Namespace) -> int:
    import pandas as pd

    from .grading.run import Options, grade_class

    if bad := [text for text in options.limit if "=" not in text]:
        raise ChapterError(f"--limit {bad[0]}: write NAME=VALUE, for example memory=6GB.")
    limits: dict[str, str | int] = dict(text.split("=", 1) for text in options.limit)
    _fetch(everything=True)
    how = Options(
        options.workers, options.dask, options.unsafe, limits,
        students=options.students, pattern=options.pattern, certain=options.yes,
        lang=options.lang, into=options.into, column=options.column,
    )  # fmt: skip
    table = pd.DataFrame(grade_class(options.lab, options.submitted, options.out, how))
    with pd.option_context("display.max_rows", None, "display.max_colwidth", 60, "display.width", 160):
        print(table[["student", "score", "max_score", "percent", "box", "note"]].to_string(index=False))
    print(f"{options.out}/overview.html, grades.csv, gradebook.db, feedback/")
    return 0


def _check() -> int:
    commands = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
    status = max(subprocess.call([sys.executable, "-m", *command], cwd=ROOT) for command in commands)
    return max(status, _check_for_windows())


def _check_for_windows() -> int:
    """mypy as on Windows: nothing but the boxes of grading may use what only Linux and macOS have."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--platform", "win32"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    found = [line for line in done.stdout.splitlines() if " error: " in line and not line.startswith(_LINUX_ONLY)]
    print("\n".join(found) or "As on Windows: no error")
    return int(bool(found))


def _bench(names: list[str]) -> int:
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    if unknown := set(names) - {script.stem for script in scripts}:
        raise ChapterError(f"There is no benchmark {unknown.pop()!r}. There are: {', '.join(s.stem for s in scripts)}.")
    chosen = [script for script in scripts if not names or script.stem in names]
    return max(subprocess.call([sys.executable, script], cwd=ROOT) for script in chosen)


def _lock() -> None:
    """One lock for Linux, macOS and Windows and for Python 3.11 and later."""
    if not shutil.which("uv"):
        raise ChapterError("`course lock` needs uv: pip install uv")
    command = ["uv", "pip", "compile", "pyproject.toml", "--extra", "course", "--universal", "--python-version", "3.11"]
    command += ["--no-header", "--no-annotate", "--quiet", "--constraints", "-"]
    result = subprocess.run(command, cwd=ROOT, input="\n".join(_LOCK_PINS), encoding="utf-8", capture_output=True)
    if result.returncode:
        raise ChapterError(f"uv could not solve the bounds of pyproject.toml:\n{result.stderr}")
    kept = [line for line in result.stdout.splitlines() if not re.match(r"nvidia-|cuda-|triton", line)]
    Path(ROOT / "requirements.lock").write_text(_LOCK_HEADER + "\n".join(kept) + "\n", encoding="utf-8")
    print(f"{len(kept)} packages")


if __name__ == "__main__":
    sys.exit(main())
