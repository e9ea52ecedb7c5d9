"""The grades of several labs in one table: a row for each student, a column for each lab, and what they come to.

Grades come from the gradebooks, so that what was given by hand counts at once, without another `course grade`. Students of
different labs are the same where their id is; with the class's list, where the list says so. Who is not in a lab, has no
grade yet or is there twice is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError

from . import feedback, gradebook, spreadsheets, student_names
from .roster import Roster

_SHOWN = 8  # names in one line
_FIRST = ["id", "student"]


@dataclass(eq=False)
class _Entry:
    """A student in one lab."""

    id: str
    name: str
    student: str  # name of the result
    score: float | None  # None: there is no verdict yet
    late: bool
    file: str


@dataclass(eq=False)
class _Lab:
    """One lab, of all folders that hold it."""

    name: str
    most: float
    weight: float | None = None
    entries: list[_Entry] = field(default_factory=list)


@dataclass(eq=False)
class _Row:
    """A student of the term."""

    id: str
    name: str
    entries: dict[str, list[_Entry]] = field(default_factory=lambda: defaultdict(list))  # lab → what is theirs


def write(graded: Sequence[Path], out: Path, students: Path | None = None, weights: Sequence[str] = ()) -> list[str]:
    """Write the table of a term; returns what a person should know of it, in lines.

    Args:
        graded: folders that `course grade --out` wrote, one for each lab or several for one.
        out: a CSV file.
        students: the class's list: its order, its names, and who of several ids is one student.
        weights: "10=2" or "10_quantization=2"; a lab that none is given for weighs 1. Without any, points are added.

    Raises:
        CourseError: a folder is none of ours, two disagree about a lab, a weight names none, or `out` is somebody's file.
    """
    _may_be_written(out)
    labs = _labs(graded)
    _weigh(labs, weights)
    roster = Roster.read(students) if students else None
    rows = _joined(labs, roster)
    if not rows:
        raise CourseError("Nobody is graded in these folders.")
    out.parent.mkdir(parents=True, exist_ok=True)
    gradebook.write(out, spreadsheets.for_excel([_table_row(row, labs) for row in rows]))
    return [*_report(rows, labs, roster), f"{out}: {len(rows)} students, {len(labs)} labs"]


def _may_be_written(out: Path) -> None:
    """A table of ours may be written anew, and nothing else."""
    if out.is_dir():
        raise CourseError(f"--out {out} is a folder; name a file, for example {out / 'term.csv'}.")
    if out.exists() and not out.read_bytes().startswith(f"\ufeff{','.join(_FIRST)},".encode()):
        raise CourseError(f"--out {out} is there already, and `course term` did not write it. Name another file.")


def _labs(folders: Sequence[Path]) -> list[_Lab]:
    """The labs in the order of their names."""
    by_name: dict[str, _Lab] = {}
    for folder in dict.fromkeys(path.resolve() for path in folders):
        name, most, entries = _graded(folder)
        lab = by_name.setdefault(name, _Lab(name, most))
        if lab.most != most:
            raise CourseError(
                f"{folder} counts {name} to {most:g} points, and another folder to {lab.most:g}: they were graded with "
                "different versions of the lab. Run `course grade` again for both."
            )
        lab.entries += entries
    return [by_name[name] for name in sorted(by_name)]


def _graded(folder: Path) -> tuple[str, float, list[_Entry]]:
    """The lab of one folder, its points, and its students."""
    if not (folder / "gradebook.db").is_file():
        raise CourseError(f"{folder} holds no gradebook.db: name the folders that `course grade … --out` wrote.")
    with gradebook.opened(folder) as grades:
        if len(grades.assignments) != 1:
            raise CourseError(f"{folder}/gradebook.db holds {len(grades.assignments)} labs; `course grade` writes one.")
        (lab,) = grades.assignments
        entries = []
        for submission in grades.assignment_submissions(lab.name):
            result = gradebook.kept(folder / "results" / f"{submission.student.id}.json")
            about = result.about if result else {}
            key, name = submission.student.id, about.get("name") or submission.student.last_name or submission.student.id
            score = submission.score if result is None else feedback.score(result, submission)
            entries.append(
                _Entry(about.get("id") or key, name, key, score, bool(about.get("late")), result.file if result else "")
            )
        return lab.name, float(lab.max_score), entries


def _weigh(labs: list[_Lab], weights: Sequence[str]) -> None:
    for text in weights:
        name, _, number = text.partition("=")
        meant = [lab for lab in labs if name in (lab.name, lab.name.partition("_")[0])]
        try:
            weight = float(number)
        except ValueError:  # refused in the next line
            weight = -1
        if not 0 <= weight < float("inf"):
            raise CourseError(f"--weight {text}: write LAB=NUMBER, for example 10=2.")
        if not meant:
            raise CourseError(f"--weight {text}: there is no such lab. There are: {', '.join(lab.name for lab in labs)}.")
        meant[0].weight = weight
    if weights:
        for lab in labs:
            lab.weight = 1.0 if lab.weight is None else lab.weight
        if not sum(lab.weight or 0 for lab in labs):
            raise CourseError("--weight: all labs weigh 0, so there is no total.")


def _joined(labs: list[_Lab], roster: Roster | None) -> list[_Row]:
    """One row for each student; in the order of the list, then of ids."""
    shared = _shared_ids(labs)
    rows: dict[object, _Row] = {person: _Row(person.id, person.name) for person in roster.people} if roster else {}
    others: dict[object, _Row] = {}
    for lab in labs:
        for entry in lab.entries:
            person = roster.find(entry.id, entry.name, entry.student) if roster else None
            row = rows.get(person) or others.setdefault(_key(entry, shared), _Row(entry.id, entry.name))
            row.entries[lab.name].append(entry)
    return [*rows.values(), *sorted(others.values(), key=lambda row: (row.id, row.name))]


def _key(entry: _Entry, shared: set[str]) -> tuple[str, ...]:
    number = student_names.same(entry.id)
    return (number, student_names.loose(entry.name)) if number in shared else (number,)


def _shared_ids(labs: list[_Lab]) -> set[str]:
    """Ids that stand for several students of one lab, by their names: two platforms may count alike."""
    shared = set()
    for lab in labs:
        called: dict[str, set[str]] = defaultdict(set)
        for entry in lab.entries:
            called[student_names.same(entry.id)].add(student_names.loose(entry.name))
        shared |= {number for number, several in called.items() if len(several) > 1}
    return shared


def _counted(entries: Iterable[_Entry]) -> _Entry | None:
    """What counts of a student's entries in a lab: the best, so that nobody loses points to a second file."""
    return max(entries, key=lambda entry: -1.0 if entry.score is None else entry.score, default=None)


def _table_row(row: _Row, labs: list[_Lab]) -> dict[str, Any]:
    counted = {lab.name: _counted(row.entries[lab.name]) for lab in labs}
    points = {name: (entry.score or 0.0) if entry else 0.0 for name, entry in counted.items()}
    scores = {name: points[name] if entry and entry.score is not None else "" for name, entry in counted.items()}
    if any(lab.weight is not None for lab in labs):
        most = 100.0
        share = sum((lab.weight or 0) * points[lab.name] / lab.most for lab in labs if lab.most)
        total = 100 * share / sum(lab.weight or 0 for lab in labs if lab.most)
    else:
        most, total = sum(lab.most for lab in labs), sum(points.values())
    notes = [
        ("nothing handed in", [name for name, entry in counted.items() if entry is None]),
        ("no grade yet", [name for name, entry in counted.items() if entry and entry.score is None]),
        ("twice, the better counts", [lab.name for lab in labs if len(row.entries[lab.name]) > 1]),
    ]
    return {
        "id": row.id, "student": row.name, **scores, "total": round(total, 2), "max_total": most,
        "percent": round(100 * total / most, 1) if most else "",
        "late": "; ".join(name for name, entry in counted.items() if entry and entry.late),
        "note": ". ".join(f"{label}: {', '.join(which)}" for label, which in notes if which),
    }  # fmt: skip


def _report(rows: list[_Row], labs: list[_Lab], roster: Roster | None) -> list[str]:
    """Who is missing where, who is there twice, and who may be one student."""
    lines = []
    for lab in labs:
        weight = "" if lab.weight is None else f", weight {lab.weight:g}"
        lines.append(f"{lab.name}: {len(lab.entries)} handed in, {lab.most:g} points{weight}")
        missing = [row.name for row in rows if not row.entries[lab.name]]
        waiting = [row.name for row in rows if row.entries[lab.name] and _without(row.entries[lab.name])]
        lines += _line("nothing from", missing) + _line("no grade yet, counted as 0", waiting)
        for row in rows:
            if len(several := row.entries[lab.name]) > 1:
                lines += _line(
                    f"{student_names.shown(row.name)} is there {len(several)} times, the best counts", map(_one, several)
                )
    by_name: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_name[student_names.loose(row.name)].append(row)
    alike = [several for several in by_name.values() if len(several) > 1]
    lines += _line("one name, several ids", [f"{group[0].name} ({', '.join(row.id for row in group)})" for group in alike])
    if roster:
        listed: set[tuple[str, str]] = {(person.id, person.name) for person in roster.people}
        lines += _line("not on the list of the class", [row.name for row in rows if (row.id, row.name) not in listed])
    elif alike:
        lines.append("  --students LIST.csv tells which of them is one student")
    return lines


def _one(entry: _Entry) -> str:
    return f"{'no grade yet' if entry.score is None else f'{entry.score:g}'} ({entry.file or entry.student})"


def _without(entries: list[_Entry]) -> bool:
    counted = _counted(entries)
    return counted is not None and counted.score is None


def _line(label: str, listed: Iterable[str]) -> list[str]:
    who = list(listed)
    if not who:
        return []
    more = f" and {len(who) - _SHOWN} more" if len(who) > _SHOWN else ""
    return [f"  {label}: {', '.join(map(student_names.shown, who[:_SHOWN]))}{more}"]
