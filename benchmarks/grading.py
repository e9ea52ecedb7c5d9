"""Grading a class: `course grade` against stock `nbgrader autograde`, the same submissions on the same machine.

Both get COURSE_BUDGET=quick and all cores. Ours runs each submission in a box and decides hidden tests outside it; nbgrader
runs them in the student's kernel, as it does. What each part of ours gives is measured on a third of the class.

    course bench grading                          24 submissions, about a quarter of an hour on 2 cores
    python benchmarks/grading.py --submissions 6  a first look
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat

from courseware import build
from courseware.chapters import Chapter, cells_of, chapter, exercises, read, role
from courseware.grading import scheduler, verdict

LAB = "10_quantization"

_HIDDEN = """\
### BEGIN HIDDEN TESTS
{source}

import json
from courseware.grading import comparator, wire
comparator.judge({source!r}, wire.plain(probe()), wire.decode(json.load(open({wants!r}))[{name!r}]))
### END HIDDEN TESTS"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=24)
    count = parser.parse_args().submissions
    os.environ["COURSE_BUDGET"] = "quick"
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    source = chapter(LAB)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = hand_in(source, root / "submitted", count)
        lab = verdict.prepare(source, root)
        theirs = nbgrader(source, lab, root)
        ours = grade(source, root / "submitted", root / "ours", scheduler.Options())
        third = root / "third"
        for name in names[: max(2, count // 3)]:
            (third / name / LAB).mkdir(parents=True)
            (third / name / LAB / f"{LAB}.ipynb").write_bytes(
                (root / "submitted" / name / LAB / f"{LAB}.ipynb").read_bytes()
            )
        parts = {
            "boxes alone, one worker": scheduler.Options(workers=1, skip_experiments=False, warm=False),
            "+ experiments skipped": scheduler.Options(workers=1, warm=False),
            "+ warm start of imports": scheduler.Options(workers=1),
            f"+ {os.cpu_count()} workers": scheduler.Options(),
        }
        rates = {
            name: len(list(third.iterdir())) / grade(source, third, root / name.replace(" ", "-"), options)
            for name, options in parts.items()
        }
    print(f"{count} submissions, {os.cpu_count()} cores           seconds   each   labs a minute")
    for name, seconds in (("nbgrader autograde", theirs), ("course grade", ours)):
        print(f"{name:<34}{seconds:8.0f} {seconds / count:7.1f} {60 * count / seconds:10.2f}")
    print(f"ratio of throughput (wanted: 3 or more)   {theirs / ours:.2f}\n")
    print(f"what each part gives, on {max(2, count // 3)} of them   labs a minute")
    for name, rate in rates.items():
        print(f"{name:<40}{60 * rate:8.2f}")


def hand_in(source: Chapter, folder: Path, count: int) -> list[str]:
    """The solution with one exercise wrong, another one in each submission, in nbgrader's folders."""
    lab = read(source.lab_source)
    ids = [c.id for c in build.student_lab(source).cells if c.metadata.get("nbgrader", {}).get("solution")]
    answers = dict(zip(exercises(lab), [c.source for c in build.solution(source).cells if c.id in ids], strict=True))
    mutants = list(cells_of(read(source.folder / "mutants.py"), "mutant"))
    names = []
    for number in range(count):
        mutant = mutants[number * len(mutants) // count]
        found = role(mutant)
        assert found is not None
        written = {**answers, found.exercise: f"{answers[found.exercise]}\n\n\n{mutant.source}"}
        notebook = build.student_lab(source)
        for cell in notebook.cells:
            cell.source = written.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
        name = f"student-{number:02}"
        (folder / name / LAB).mkdir(parents=True)
        nbformat.write(notebook, folder / name / LAB / f"{LAB}.ipynb")
        names.append(name)
    return names


def nbgrader(source: Chapter, lab: verdict.Lab, root: Path) -> float:
    """Seconds of stock `nbgrader autograde` on root/submitted, hidden tests written nbgrader's way."""
    wants = root / "wants.json"
    wants.write_text(json.dumps({name: exercise.want for name, exercise in lab.exercises.items()}), encoding="utf-8")
    notebook, original = build.student_lab(source), read(source.lab_source)
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        name, _, kind = grade_id.partition("-")
        if kind == "hidden":
            (hidden,) = cells_of(original, "hidden", name)
            cell.source = _HIDDEN.format(source=hidden.source, wants=str(wants), name=name)
        elif grade_id and not kind:
            (exercise,) = cells_of(original, "exercise", name)
            cell.source = exercise.source
    (root / "source" / LAB).mkdir(parents=True)
    nbformat.write(notebook, root / "source" / LAB / f"{LAB}.ipynb")
    program = [sys.executable, "-m", "nbgrader"]
    quiet = {"cwd": root, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*program, "generate_assignment", LAB, "--force"], **quiet)  # type: ignore[call-overload]
    started = time.monotonic()
    subprocess.run([*program, "autograde", LAB, "--ExecutePreprocessor.timeout=600"], **quiet)  # type: ignore[call-overload]
    return time.monotonic() - started


def grade(source: Chapter, submitted: Path, out: Path, options: scheduler.Options) -> float:
    """Seconds of our own, from the first file to the last feedback page."""
    started = time.monotonic()
    with _quiet():
        scheduler.grade_class(source, submitted, out, options)
    return time.monotonic() - started


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    main()
