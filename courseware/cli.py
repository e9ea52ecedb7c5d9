"""The command `course`: each subcommand is a function, its options beside it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from course_utils import __version__
from course_utils.console import print_anything
from course_utils.errors import CourseError

from .chapters import ENGLISH, FOLDERS, ROOT, Chapter, ChapterError, all_chapters, chapter, project

_LOCK_HEADER = """\
# The tested set, exact. Written by `course lock` from pyproject.toml; do not edit.
# What torch needs for CUDA (nvidia-*, cuda-*, triton) is left out: each build of torch pins its own.
"""
LOCK_PINS = ["torch==2.13.0"]  # the only place of this version; the lock file is written from it
_BOXES = (
    "box",
    "cgroup",
    "comparator",
    "comparison_process",
    "feedback_page",
    "page_workers",
    "restore",
    "watch",
    "workers",
    "zygote",
)
_LINUX_ONLY = ("courseware/preloaded.py", *(f"courseware/grading/{name}.py" for name in _BOXES))
_NO_GRADING = """\
Grading does not run on Windows: each submission runs in a box (bubblewrap), which Linux alone has. Two ways out:
  WSL      wsl --install; in its Ubuntu: sudo apt install make python3-venv bubblewrap, then as on Linux
  Docker   docker run --rm -it --security-opt seccomp=unconfined --security-opt apparmor=unconfined -v "%cd%":/course
           -w /course python:3.12 sh -c "apt update && apt install -y bubblewrap && make setup && .venv/bin/course grade ..."
           (one line; in PowerShell ${PWD} in place of %cd%)
Lectures, labs, tests, slides, site and release do run here."""


_PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}  # options of another program
_budget = click.Choice(("quick", "full"))
_path = click.Path(path_type=Path)


class _Languages(click.Choice[str]):
    """A language, by its code or by the name of its folder: zh_CN or zh."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        language = str(super().convert(value, param, ctx))
        return {folder: code for code, folder in FOLDERS.items()}.get(language, language)


_others = _Languages((*FOLDERS, *FOLDERS.values()))
_languages = _Languages((ENGLISH, *_others.choices))
_language = click.option("--lang", type=_languages, default=ENGLISH, help="Language (default: en, the source).")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    print_anything()
    try:
        return course.main(arguments, prog_name="course", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        print("course: stopped", file=sys.stderr)
        return 1


class _Commands(click.Group):
    """A group whose commands say what is wrong in one message."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except CourseError as error:
            if context.params["verbose"]:
                traceback.print_exc()
            print(f"course: {error}", file=sys.stderr)
            return 1


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="course")
@click.option("-v", "--verbose", is_flag=True, help="Show where an error comes from too.")
def course(verbose: bool) -> None:  # its group reads it
    """Build, test, release and grade the course. `course COMMAND --help` says more, with examples."""


@course.command(context_settings=_PASSED_ON)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF JUPYTER LAB]...")
def lab(options: tuple[str, ...]) -> int:
    """Fetch the course model and data, then open JupyterLab in labs/.

    \b
    course lab
    course lab --no-browser --port 8890
    """
    print(_fetch(everything=False))
    # JupyterLab would ask on its first start whether to fetch news from the network: no, in a course.
    settings = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        wanted = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
        settings.write_text(json.dumps(wanted), encoding="utf-8")
    # nbgrader's buttons for authors are not for students; start.py says so too
    ours, theirs = str(ROOT / "course_utils" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")
    paths = dict.fromkeys([ours, *filter(None, theirs.split(os.pathsep))])
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}
    return _run([sys.executable, "-m", "jupyterlab", *options], cwd=ROOT / "labs", env=environment)


@course.command()
def fetch() -> None:
    """Fetch the course model and data into the cache.

    \b
    course fetch
    COURSE_HUB=modelscope course fetch
    """
    print(_fetch(everything=True))


@course.command(context_settings=_PASSED_ON)
@click.option("--budget", type=_budget, default="quick", help="Size of the experiments (default: quick).")
@click.option("--minutes", type=float, help="After so many, leave out second looks (other systems, Chinese), and name them.")
@click.argument("pytest", nargs=-1, type=click.UNPROCESSED, metavar="[TESTS AND OPTIONS OF PYTEST]...")
def test(budget: str, minutes: float | None, pytest: tuple[str, ...]) -> int:
    """Run ruff, mypy, every test, and every lecture and solved lab as notebooks (nbval); or some tests.

    \b
    course test
    course test -k hub
    course test tests/notebooks -k 10_quantization
    course test --budget full
    course test --minutes 60
    """
    from . import preloaded

    _fetch(everything=True)
    notebooks = [p for c in all_chapters() for p in (c.lecture, c.solution) if p.exists()]
    named = any((ROOT / word.partition("::")[0]).exists() for word in pytest)
    what = [*pytest] if named else [*pytest, "tests", *(p.relative_to(ROOT).as_posix() for p in notebooks)]
    options = ["--nbval-lax", "--nbval-cell-timeout=900"]
    started = time.monotonic()
    if minutes is not None:
        options.append(f"--until={time.time() + 60 * minutes:.0f}")
    lint = 0 if pytest else _lint()
    with tempfile.TemporaryDirectory() as kernels:
        options += ["--nbval-kernel-name", preloaded.spec(Path(kernels), "nbval"), "--durations=10"]
        status = max(lint, _pytest([*options, *what], budget, JUPYTER_PATH=kernels))
    if lint:  # half an hour of tests has been printed since
        print("ruff or mypy found errors: see above the tests, or run `course check`", file=sys.stderr)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes at COURSE_BUDGET={budget}")
    return status


@course.command()
def check() -> int:
    """What takes no more than three minutes: ruff, mypy, unit tests, the sources, and whether notebooks are built from them.

    It needs no network, once the model and the data are in the cache.

    \b
    course check
    """
    status = max(_lint(), _stale())
    return max(status, _pytest(["-q", "-m", "not (box or browser or network or notebook)", "tests"], "quick"))


@course.command()
def stale() -> int:
    """Name each notebook that is not built from its source as it is now.

    \b
    course stale
    """
    return _stale()


@course.command()
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
@click.option("--all", "everything", is_flag=True, help="Also those that did not change.")
@click.option("--budget", type=_budget, default="full", help="Size of the experiments (default: full).")
@click.option("--lang", type=_languages, help="This one alone; for the first time, too (default: each that a chapter has).")
def notebooks(chapters: tuple[str, ...], everything: bool, budget: str, lang: str | None) -> None:
    """Build the notebooks whose sources changed, in every language that a chapter has, after a check of an author's rules.

    \b
    course notebooks
    course notebooks 10 --budget quick
    course notebooks 10 --lang zh_CN
    """
    from . import pages, rules
    from .build import build, translated

    chosen = _chosen(chapters)
    for part in chosen:  # all of them, before the first is run
        rules.refuse(part)
    for part in chosen:
        for fault in rules.wanting(part):
            print(f"course: {part.name}: {fault}", file=sys.stderr)
    written: list[Path] = []
    try:
        for part in chosen:
            written += build(part, budget, everything, lang)
    finally:  # also when the next one cannot be built
        others = pages.write_from_sources()
    for language in FOLDERS:
        made = [part for part in chosen if {translated(path, language) for path in (part.lecture, part.lab)} & {*written}]
        _tell_untranslated(language, made, others)
    print(f"{len(written)} notebooks built" if written else "Every notebook is up to date")


@course.command("translate")
@click.argument("language", type=_others)
@click.argument("names", nargs=-1, metavar="[CHAPTER | course_utils | courseware | pages | glossary]...")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail on a translation that is broken.")
def translate_(language: str, names: tuple[str, ...], only_check: bool) -> int:
    """Bring catalogues in locale/ up to what the sources say, translated pages up to the catalogues; print how much is
    translated, and what is wrong.

    \b
    course translate zh_CN
    course translate zh_CN 10
    course translate --check zh_CN
    """
    from . import pages
    from .translation import progress

    sources = progress.sources(*progress.chosen(names))
    if not only_check:
        for path in [*progress.update(language, sources), *pages.write_from_sources()]:
            print(f"{path.relative_to(ROOT).as_posix()} written")
    made = progress.reports(language, sources)
    wrong = [line for report in made for line in (*report.broken, *report.faults)]
    print("\n".join([*wrong, progress.table(made)]))
    return int(only_check and bool(wrong))


@course.command()
def fonts() -> None:
    """Write the Chinese font of figures anew, with every character that a catalogue shows in one.

    \b
    course fonts
    """
    from course_utils.plots import CHINESE_FONT

    from .translation import font

    print(f"{CHINESE_FONT.relative_to(ROOT).as_posix()}: {font.write() / 1e3:.0f} kB")


@course.command()
@click.argument("chapter_name", metavar="CHAPTER")
@click.argument("exercise")
def drop(chapter_name: str, exercise: str) -> None:
    """Leave an exercise out of a lab, and list what still uses it.

    \b
    course drop 10 zero_point
    """
    from . import rules
    from .drop import drop as leave_out

    part = chapter(chapter_name)
    gone = leave_out(part, exercise)
    print(f"{part.name}: {exercise} is out: {gone.cells} cells ({gone.points} points) and {gone.mutants} wrong solutions")
    print(f"The text of its section stays: {gone.heading}")
    if gone.uses:
        print("\n  ".join([f"These lines of chapters/{part.name} still name it or use what it defined:", *gone.uses]))
    if broken := rules.broken(part):
        print("\n  ".join(["Until these are mended, `course notebooks` builds nothing:", *broken]))
    print(f"Then: course notebooks {part.name}")


@course.command()
@click.argument("lab_name", metavar="LAB")
@click.argument("submitted", type=_path)
@click.option("--out", type=_path, default=Path("graded"), help="Where the gradebook goes (default: graded).")
@click.option("--students", type=_path, metavar="LIST.csv", help="The class: id, name, e-mail.")
@click.option("--pattern", default="", metavar="REGEX", help="Whose a file is, by (?P<student_id>…).")
@click.option("--yes", is_flag=True, help="Go on where it is not clear who is a student.")
@click.option("--into", type=_path, metavar="SHEET.csv", help="Also fill a copy of Canvas', Moodle's or another sheet.")
@click.option("--column", default="", metavar="TITLE", help="Which column of that sheet, if that is not clear.")
@click.option("--lang", type=_languages, default=ENGLISH, help="Language of the feedback pages (default: en).")
@click.option("--workers", type=int, default=0, help="Processes (default: one for each CPU core).")
@click.option("--dask", default="", metavar="ADDRESS", help="Scheduler of an existing Dask cluster.")
@click.option("--limit", multiple=True, metavar="NAME=VALUE", help="E.g. memory=6GB; the others stand in limits.toml.")
@click.option("--unsafe", is_flag=True, help="Without a box: only for code that you trust.")
def grade(lab_name: str, submitted: Path, out: Path, limit: tuple[str, ...], **how: Any) -> None:
    """Grade a class's submissions of a lab: a folder, or the zip that a learning platform gives out.

    \b
    course grade 10_quantization submissions.zip
    course grade 10 submitted --students class.csv --into canvas.csv
    course grade 10 submitted --pattern '(?P<student_id>\\d{10})_.*'
    """
    import pandas as pd

    _boxes_only()
    from .grading.scheduler import Options, grade_class

    if bad := [text for text in limit if "=" not in text]:
        raise ChapterError(f"--limit {bad[0]}: write NAME=VALUE, for example memory=6GB.")
    limits: dict[str, str | int] = {name: value for name, value in (text.split("=", 1) for text in limit)}
    _fetch(everything=True)
    how["lang"] = FOLDERS.get(how["lang"], ENGLISH)
    table = pd.DataFrame(grade_class(lab_name, submitted, out, Options(limits=limits, certain=how.pop("yes"), **how)))
    with pd.option_context("display.max_rows", None, "display.max_colwidth", 60, "display.width", 160):
        print(table[["student", "score", "max_score", "percent", "box", "note"]].to_string(index=False))
    print(f"{out}/overview.html, grades.csv, gradebook.db, feedback/")


@course.command("term")
@click.argument("graded", nargs=-1, required=True, type=_path, metavar="GRADED...")
@click.option("--out", type=_path, default=Path("term.csv"), help="The table (default: term.csv).")
@click.option("--students", type=_path, metavar="LIST.csv", help="The class: id, name, e-mail.")
@click.option("--weight", multiple=True, metavar="LAB=NUMBER", help="What a lab counts; without any, points are added.")
def term_(graded: tuple[Path, ...], out: Path, students: Path | None, weight: tuple[str, ...]) -> None:
    """Put the grades of several labs into one table: a row for each student, a column for each lab.

    \b
    course term graded/10 graded/11 --students class.csv --out term.csv
    course term graded/10 graded/11 --weight 10=2
    """
    from .grading import term

    print("\n".join(term.write(graded, out, students, weight)))


@course.command("grade-demo")
@click.argument("lab_name", metavar="[LAB]", default="10_quantization")
@click.option("--out", type=_path, default=Path("graded-demo"), help="Where all of it goes (default: graded-demo).")
def grade_demo(lab_name: str, out: Path) -> int:
    """Make a small class, good ones and bad ones, and grade it.

    \b
    course grade-demo
    course grade-demo 03_rlhf --out /tmp/class
    """
    _boxes_only()
    from .files import output
    from .grading import demo

    output(out, "grade-demo", () if (out / "gradebook.db").exists() else ("submitted",))
    demo.make(chapter(lab_name), out / "submitted")
    return main(["grade", lab_name, str(out / "submitted"), "--out", str(out)])


@course.command("slides")
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
@click.option("--out", type=_path, default=ROOT / "build" / "slides", help="Folder (default: build/slides).")
@_language
def slides_(chapters: tuple[str, ...], out: Path, lang: str) -> None:
    """Write lectures as slides: one HTML file each, no network needed. In Chinese (--lang zh_CN) into the folder zh.

    \b
    course slides
    course slides 10 --lang zh_CN
    """
    from . import slides

    chosen = _chosen(chapters)
    _tell_stale(chosen, "lectures/")
    for part in chosen:
        print(slides.write(part, out, lang))


@course.command("site")
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
@click.option("--out", type=_path, default=ROOT / "build" / "site", help="Folder (default: build/site).")
@click.option("--repo", metavar="OWNER/NAME", default="", help="The repository to which pages link (default: this one).")
@click.option("--slides/--no-slides", default=True, help="Also each lecture's slides (default: yes).")
def site_(chapters: tuple[str, ...], out: Path, repo: str, slides: bool) -> int:
    """Build the web site: lectures, labs, slides, search, bibliography, glossary.

    \b
    course site
    course site 10 --no-slides
    course site --repo our-school/llm-labs     of a private fork: Colab, source and error reports at the public one
    """
    from . import site

    chosen = _chosen(chapters)
    warnings = site.build(out, chosen, repo, slides)
    _tell_stale(chosen, "lectures/", "labs/")
    print("\n".join(warnings), file=sys.stderr, end="\n" if warnings else "")
    print(out / "index.html")
    return int(bool(warnings))


@course.command()
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
@click.option("--out", type=_path, help="The students' folder, e.g. a checkout of their repository.")
@click.option("--repo", metavar="OWNER/NAME", help="The students' repository on GitHub.")
@_language
@click.option("--autograder", type=_path, metavar="FILE.tar.gz", help="Also pack what a grading machine needs.")
@click.option("--gradescope", metavar="LAB", help="Instead, pack a lab's autograder for Gradescope into --out.")
def release(
    chapters: tuple[str, ...], out: Path | None, repo: str, lang: str, autograder: Path | None, gradescope: str
) -> None:
    """Write what students get, without solutions and hidden tests; all chapters, or those to give out now.

    \b
    course release --out ../students --repo our-school/llm-labs
    course release 01 02 --out ../students --repo our-school/llm-labs --autograder grader.tar.gz
    course release 10 --out ../students --repo our-school/llm-labs --lang zh_CN
    course release --gradescope 10
    """
    from . import release as students

    if gradescope:
        from .grading import gradescope as packing

        part = chapter(gradescope)
        path = (out or ROOT / "build" / "gradescope") / f"{part.name}-gradescope.zip"
        print(f"{path}: {packing.pack(part, path, lang) / 1e6:.1f} MB, with the solution: keep it from students")
        return
    if not out or not repo:
        raise ChapterError("`course release` needs --out, the students' folder, and --repo, their repository on GitHub.")
    written = students.release(out, repo, _chosen(chapters), lang)
    print(f"{len(written)} files for students in {out}; commit and push them as {repo}")
    if autograder:
        print(f"{autograder}: {students.autograder(autograder, lang) / 1e6:.1f} MB, with solutions: keep it from students")


@course.command("measure")
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
@click.option("--budget", type=_budget, default="full", help="Size of the experiments (default: full).")
def measure_(chapters: tuple[str, ...], budget: str) -> None:
    """Run notebooks one by one; write their time and memory into docs/measurements.md.

    \b
    course measure
    course measure 10
    """
    from . import measure, pages

    measure.write(_chosen(chapters), budget)
    written = [measure.PAGE, *pages.write_from_sources()]
    for path in written:
        print(f"{path.relative_to(ROOT).as_posix()} written")
    for language in FOLDERS:
        _tell_untranslated(language, [], written)


@course.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def bench(names: tuple[str, ...]) -> int:
    """Run the benchmarks, or those that are named: ratios against a peer, in one run.

    \b
    course bench load
    """
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    if unknown := set(names) - {script.stem for script in scripts}:
        raise ChapterError(f"There is no benchmark {unknown.pop()!r}. There are: {', '.join(s.stem for s in scripts)}.")
    chosen = [script for script in scripts if not names or script.stem in names]
    return max(subprocess.call([sys.executable, script], cwd=ROOT) for script in chosen)


@course.command()
def lock() -> None:
    """Write requirements.lock anew from pyproject.toml: one for all systems and for every Python that the course runs on.

    \b
    course lock
    """
    if not shutil.which("uv"):
        raise ChapterError("`course lock` needs uv: pip install uv")
    command = ["uv", "pip", "compile", "pyproject.toml", "--extra", "course", "--universal"]
    command += ["--python-version", project()["requires-python"].removeprefix(">=")]
    command += ["--no-header", "--no-annotate", "--quiet", "--constraints", "-"]
    result = subprocess.run(command, cwd=ROOT, input="\n".join(LOCK_PINS), encoding="utf-8", capture_output=True)
    if result.returncode:
        raise ChapterError(f"uv could not solve the bounds of pyproject.toml:\n{result.stderr}")
    kept = [line for line in result.stdout.splitlines() if not re.match(r"nvidia-|cuda-|triton", line)]
    Path(ROOT / "requirements.lock").write_text(_LOCK_HEADER + "\n".join(kept) + "\n", encoding="utf-8")
    print(f"{len(kept)} packages")


def _boxes_only() -> None:
    """Refuse to grade where no box can be."""
    if sys.platform == "win32":
        raise ChapterError(_NO_GRADING)


def _pytest(arguments: Sequence[str], budget: str, **variables: str) -> int:
    """Tests, on as many processes as this machine bears."""
    workers = _workers()
    options = ["-p", "courseware.pytest_plugin", *([f"-n{workers}", "--no-loadscope-reorder"] if workers > 1 else [])]
    threads = str(max(1, (os.cpu_count() or 1) // workers))  # two processes with all the cores each are slower than one
    environment = {
        **os.environ,
        **variables,
        "COURSE_BUDGET": budget,
        "COURSE_LANG": ENGLISH,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    environment["PYTHONIOENCODING"] = "utf-8"  # what a test's own programs print is read as UTF-8, on Windows too
    return _run([sys.executable, "-m", "pytest", *options, *arguments], cwd=ROOT, env=environment)


def _fetch(everything: bool) -> str:
    """Bring what the notebooks need, so that they run without a network.

    What only some chapters need is left out unless `everything`: a student's lab brings it when it is run. A grading box has
    no network to do so.
    """
    from course_utils import data, weights

    lines = [f"course model  {weights.path()}", f"sentences     {data.movie_sentences().num_rows} of movie reviews"]
    if everything:
        lines += [f"encoder       {weights.path('minilm')}"]
        lines += [f"BIG-bench     {len([data.bigbench(task) for task in data.BIGBENCH_TASKS])} tasks"]
        lines += [f"reviews       {data.chinese_reviews().num_rows} in Chinese"]
    return "\n".join(lines)


def _run(command: Sequence[str | Path], **options: Any) -> int:
    """Run a command to its end; its exit status. Ctrl-C is the command's own: JupyterLab asks whether it should stop."""
    process = subprocess.Popen(command, **options)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # waits on, as said above
            return process.wait()


def _workers() -> int:
    """Test processes: one for each core, if each has the 6 GB that a notebook may take."""
    import psutil

    memory, limit = psutil.virtual_memory().total, Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():  # a container's; else "max"
        memory = min(memory, int(text))
    return max(1, min(os.cpu_count() or 1, int(memory / 6e9)))


def _chosen(names: Sequence[str]) -> list[Chapter]:
    """Chapters by name or number; all for no name."""
    return [chapter(name) for name in names] or all_chapters()


def _tell_stale(chapters: list[Chapter], *shown: str) -> None:
    """Pages are made from the committed notebooks: who edits a source should know that the page does not show it."""
    from .build import all_small, all_stale

    for reason in filter(lambda reason: reason.startswith(shown), all_stale(chapters)):
        print(f"course: {reason}; the pages show it as it was. `course notebooks` builds it.", file=sys.stderr)
    for reason in filter(lambda reason: reason.startswith(shown), all_small(chapters)):
        print(f"course: {reason}; their numbers are on the pages. `course notebooks` runs them in full.", file=sys.stderr)


def _tell_untranslated(language: str, chapters: list[Chapter], pages: Sequence[Path] = ()) -> None:
    """Who mends a typo in English takes its sentence out of a translation, until somebody confirms that."""
    from .build import translated
    from .translation import page, progress

    sources = progress.sources(chapters, (page.PAGES,) if any(path.suffix == ".md" for path in pages) else ())
    for part in chapters:  # it may have a lab and not yet a lecture
        there = [
            name for name, path in (("lecture", part.lecture), ("lab", part.lab)) if translated(path, language).exists()
        ]
        sources[part.name] = [text for text in sources[part.name] if text.where.partition(":")[0] in there]
    for report in progress.reports(language, sources):
        if missing := report.total - report.done:
            name = report.name[:2] if report.name[:2].isdigit() else report.name
            print(
                f"course: {report.name}: {missing} of {report.total} texts are left in English in its translation. "
                f"`course translate {language} {name}` enters what is missing into locale/{language}/{report.name}.po; "
                "fill it in, then build again.",
                file=sys.stderr,
            )


def _stale() -> int:
    from .build import all_small, all_stale

    reasons = [*all_stale(all_chapters()), *all_small(all_chapters())]
    print("\n".join(reasons) or "Every notebook is up to date")
    if reasons:
        print("`course notebooks` builds them")
    return int(bool(reasons))


def _lint() -> int:
    """ruff; and mypy for this system and, beside it, as on Windows."""
    windows = [sys.executable, "-m", "mypy", "--platform", "win32"]
    windows += ["--cache-dir", ".mypy_cache/win32"]  # mypy takes nothing from a cache that is another platform's
    with subprocess.Popen(windows, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8") as mypy:
        commands = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
        status = max(subprocess.call([sys.executable, "-m", *command], cwd=ROOT) for command in commands)
        errors = _errors_on_windows(mypy.communicate()[0])
    print("\n".join(errors) or "As on Windows: no error")
    return max(status, int(bool(errors) or mypy.returncode > 1))  # 2: mypy itself has stopped, and has said why


def _errors_on_windows(report: str) -> list[str]:
    """Nothing but the boxes of grading and the tests' kernels may use what only Linux and macOS have."""
    return [line for line in report.splitlines() if " error: " in line and not line.startswith(_LINUX_ONLY)]


if __name__ == "__main__":
    sys.exit(main())
