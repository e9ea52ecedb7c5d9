"""The canary: the reference solution is graded before the class, by the same workers and in the same boxes.

It must get full marks. If it does not, the fault is the grading machine's: a package that is missing, data that a box cannot
read, limits that are too low. Then nobody is graded, and what is wrong is said once, instead of taken from every student.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import nbformat

from course_utils.errors import CourseError

from .. import build
from ..chapters import Chapter
from . import autograde, verdict
from .box import Limits

_MISSING = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'")


def job(source: Chapter, limits: Limits, unsafe: bool, warm: bool) -> autograde.Job:
    """The solved lab as if a student had handed it in."""
    solved = nbformat.writes(build.solution(source)).encode()
    never = "1970-01-01 00:00:00.000000 UTC"
    return autograde.Job("", "the reference solution", never, solved, "", "canary", asdict(limits), unsafe, True, warm)


def judge(result: autograde.Result, lab: verdict.Lab) -> None:
    """See whether the solution got what it should.

    Raises:
        CourseError: it did not; the message names the exercise, the cell and the exception.
    """
    lost = {}
    for name, exercise in lab.exercises.items():
        got, most = (
            result.scores.get(f"{name}-tests", 0.0) + result.scores.get(f"{name}-hidden", 0.0),
            exercise.visible_points + exercise.hidden_points,
        )
        if got < most:
            lost[name] = f"{name} gets {got:g} of {most}"
    if not lost:
        return
    lines = [f"The reference solution of {lab.name} does not get full marks on this machine, so no submission was graded."]
    lines.append(f"  exercises  {', '.join(lost.values())}")
    failed = _failed(result, lab)
    lines += [f"  cell {cell}: {error}" for cell, error in failed[:3]]
    if not failed:
        lines += [f"  {name}: {result.why[name]}".replace("\n", "; ")[:300] for name in list(lost)[:3] if name in result.why]
    if result.note:
        lines.append(f"  {result.note}")
    missing = dict.fromkeys(match[1] for _, error in failed if (match := _MISSING.match(error)))
    if missing:
        lines.append(
            f"Missing where labs are graded: {', '.join(missing)}. `make setup` installs what requirements.lock lists."
        )
    else:
        lines.append("The grading machine is at fault, not the class: put it right, then run the same command again.")
    raise CourseError("\n".join(lines))


def _failed(result: autograde.Result, lab: verdict.Lab) -> list[tuple[str, str]]:
    """Cells that stopped with an error and should not have, with it."""
    errors = []
    for cell in json.loads(result.notebook)["cells"] if result.notebook else []:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error" and cell["id"] not in lab.failing:
                errors.append((cell["id"], f"{output['ename']}: {output['evalue']}"[:300]))
    return errors
