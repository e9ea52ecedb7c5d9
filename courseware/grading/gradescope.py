"""A lab for Gradescope: pack its autograder, and what that runs there.

Gradescope unpacks the zip in /autograder/source and runs setup.sh once, as root, to build an image. For each submission a
container of that image runs run_autograder, with what was handed in in /autograder/submission, and reads
/autograder/results/results.json. See courseware/templates/gradescope/.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError

from .. import references
from ..chapters import ENGLISH, ROOT, Chapter
from ..files import tracked, whole
from . import autograde, box, canary, intake, messages, verdict
from .execution import Trouble
from .lab_match import Sought

_TEMPLATES = ROOT / "courseware" / "templates" / "gradescope"
_PROGRAMS = ("setup.sh", "run_autograder")
_COURSE = ("course_utils", "courseware", "locale", "start.py", "pyproject.toml", "requirements.lock")
_VISIBILITY = {"tests": "visible", "hidden": "after_published"}
_OUTPUT = 4_000  # characters of a test's text
_IN_A_BOX = "This submission ran in a bubblewrap box: no network, nothing of the course to read, limits on time and memory."
_AS_ANOTHER = (
    "This container makes no boxes, so the submission ran as a user who owns nothing: it cannot read the solution and the "
    "hidden tests, nor write results, and has limits of time, memory and processes; it is not cut off from the network, and "
    "could send out what it is asked."
)
_NEITHER = (
    "Submissions are strangers' programs. Here is neither bubblewrap nor another user to run them as (that takes root, and "
    "a Python that everybody may read), so none is run."
)


def pack(lab: Chapter, path: Path, language: str = ENGLISH) -> int:
    """Write the autograder of a lab as a zip, solution and hidden tests included; return its size in bytes."""
    from ..translation import page  # what runs in the container does without

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_TEMPLATES.iterdir()):
            entry = zipfile.ZipInfo(file.name)
            entry.external_attr = (stat.S_IFREG | (0o755 if file.name in _PROGRAMS else 0o644)) << 16
            text = page.in_language(file, language) if file.suffix == ".md" else file.read_bytes()
            archive.writestr(entry, text, zipfile.ZIP_DEFLATED)
        archive.writestr("settings.json", json.dumps({"lab": lab.folder.name, "visibility": _VISIBILITY}, indent=1) + "\n")
        for file in tracked(ROOT, *_COURSE):
            archive.write(file, f"course/{file.relative_to(ROOT).as_posix()}")
        for file in (lab.lab_source, lab.lecture_source, lab.folder.parent / references.FILE):  # what names cited works
            if file.exists():
                archive.write(file, f"course/chapters/{file.relative_to(lab.folder.parent).as_posix()}")
    return path.stat().st_size


def prepare(source: Path) -> None:
    """In the image, once: what the solution gives, and its grade as a submission's.

    Raises:
        CourseError: it has not got full marks, or nothing can be run here.
    """
    lab, limits = _lab(source), box.Limits.read()
    prepared = verdict.prepare(lab, source / "prepared")
    result = autograde.grade(canary.job(lab, limits, _fallback(), warm=False), prepared.dumps())
    canary.judge(result, prepared)
    print(f"{lab.name} is ready. {_protection(result)}")


def run(root: Path) -> None:
    """For one submission: grade it, write the results. Where it cannot be graded none are written, and Gradescope says so.

    Raises:
        CourseError: nothing can be run here.
        Trouble: the machine's.
    """
    source = root / "source"
    lab, limits = _lab(source), box.Limits.read()
    prepared = verdict.prepare(lab, source / "prepared")
    with _handed_in(root / "submission") as folder:
        (submission,) = intake.find(folder, Sought.of(lab), limits.submission, pattern="(?P<student_id>submission)/")
        job = canary.job(lab, limits, _fallback(), warm=False)
        job.file, job.problem, job.data = submission.file, submission.problem, b""
        if not job.problem:
            try:
                job.data = submission.read()
            except Exception as error:  # a damaged archive; the reason is the student's to read
                job.problem = str(error) or type(error).__name__
    result = autograde.grade(job, prepared.dumps())
    settings = json.loads((source / "settings.json").read_text(encoding="utf-8"))
    results = root / "results"
    results.mkdir(exist_ok=True)
    with whole(results / "results.json") as scratch:
        scratch.write_text(json.dumps(report(result, prepared, settings["visibility"])), encoding="utf-8")


def report(result: autograde.Result, lab: verdict.Lab, visibility: dict[str, str]) -> dict[str, Any]:
    """The results as Gradescope reads them: two tests for each exercise, and one for the instructor alone."""
    tests = []
    for number, (name, exercise) in enumerate(lab.exercises.items(), 1):
        entries = result.messages.get(name) or ([["note", result.reasons[name]]] if name in result.reasons else [])
        for kind, points in (("tests", exercise.visible_points), ("hidden", exercise.hidden_points)):
            earned = result.scores.get(f"{name}-{kind}", 0.0)
            secret = [entry for entry in entries if entry[0].startswith(("hidden", "because"))]
            shown = secret if kind == "hidden" else [entry for entry in entries if entry not in secret]
            text = (
                ""
                if earned >= points
                else "\n".join(messages.translated("en", *entry) for entry in messages.together(shown))
            )
            tests.append({
                "number": f"{number}.{1 if kind == 'tests' else 2}",
                "name": f"{name}: {'visible' if kind == 'tests' else 'hidden'} tests",
                "score": earned, "max_score": float(points), "status": "passed" if earned >= points else "failed",
                "output": _plain(text), "output_format": "text", "visibility": visibility.get(kind, "hidden"),
            })  # fmt: skip
    why = "\n\n".join(f"{name}\n{text}" for name, text in result.why.items())
    tests.append({
        "number": "0", "name": "for the instructor", "score": 0.0, "max_score": 0.0, "status": "passed",
        "output": _plain(f"{_protection(result)}\n\n{why}"), "output_format": "text", "visibility": "hidden",
    })  # fmt: skip
    notes = [f"Graded: {result.file}", result.note]
    return {
        "score": sum(test["score"] for test in tests), "execution_time": result.seconds, "stdout_visibility": "hidden",
        "output": _plain("\n".join(filter(None, notes))), "output_format": "text", "tests": tests,
    }  # fmt: skip


def _plain(text: str) -> str:
    return text[:_OUTPUT].encode("utf-8", "replace").decode()


def _protection(result: autograde.Result) -> str:
    return _AS_ANOTHER if result.box == "unsafe" else _IN_A_BOX


def _fallback() -> bool:
    """Must a submission run without a box?

    Raises:
        CourseError: then it would run as one who may read and write everything.
    """
    try:
        box.check()
    except box.BoxError:
        if not box.can_leave_root():
            raise CourseError(_NEITHER) from None
        return True
    return False


def _lab(source: Path) -> Chapter:
    settings = json.loads((source / "settings.json").read_text(encoding="utf-8"))
    return Chapter(ROOT / "chapters" / settings["lab"])


@contextlib.contextmanager
def _handed_in(submission: Path) -> Iterator[Path]:
    """A folder in which all that was handed in lies in one folder, as one student's."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(submission, Path(scratch) / "submission", symlinks=True)
        yield Path(scratch)


def main(arguments: list[str]) -> int:
    """`prepare SOURCE` or `run ROOT`; the exit status."""
    try:
        {"prepare": prepare, "run": run}[arguments[0]](Path(arguments[1]))
    except (CourseError, Trouble, OSError) as error:
        print(f"This submission could not be graded, through no fault of its own: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
