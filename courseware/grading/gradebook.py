"""nbgrader's gradebook, the students' feedback pages, and the CSV.

The output folder is an nbgrader course: `nbgrader formgrader` opens it. Each finished submission is written at once, its
result first; all else can be made again from the results, so a run that is cut loses nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import nbformat
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from nbgrader import api, dbutil
from nbgrader.utils import is_grade, is_locked, is_solution
from sqlalchemy import URL, create_engine, inspect, text

from course_utils.errors import CourseError

from ..files import whole
from . import feedback, lms_sheet, overview, spreadsheets
from .autograde import Result
from .intake import Intake
from .page_workers import Press, Printed
from .verdict import Lab

_CONFIG = """\
# Open this folder with nbgrader's formgrader: cd here, then `jupyter lab`, menu Nbgrader → Formgrader.
c = get_config()
c.CourseDirectory.course_id = ""
c.CourseDirectory.root = "."
c.CourseDirectory.submitted_directory = "autograded"  # formgrader counts folders; what was handed in lies elsewhere
c.CourseDirectory.db_url = "sqlite:///gradebook.db"

# Its buttons Autograde, Generate Feedback and Generate would run what students wrote on this machine, without a box, and
# write over what `course grade` has made. They are refused here; Manual Grading is what this folder is for.
from nbgrader.converters import BaseConverter, NbGraderException


def refuse(self):
    message = (
        "Not done, and nothing was changed: this gradebook was made by `course grade`. To grade again, or to bring grades "
        "and comments given by hand into the feedback, run the same `course grade` command again."
    )
    self.log.error(message)
    raise NbGraderException(message)


BaseConverter.start = refuse
"""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else writes this output folder meanwhile.

    Raises:
        CourseError: somebody does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CourseError(f"Another run is grading into {folder}. Wait for it, or give another --out.") from None
    try:
        yield
    finally:
        lock.release()


class Book:
    """One output folder. Use as a context manager, while the folder is ours `alone`."""

    def __init__(self, folder: Path, lab: Lab, lang: str = "en", workers: int = 0) -> None:
        self.folder, self.lab, self.lang = folder.resolve(), lab, lang
        self.results = self.folder / "results"
        self.pages = feedback.Pages(lab, self.folder / "prepared")
        self.press = Press(self.pages.shared, workers or os.cpu_count() or 1)
        self.graded: list[lms_sheet.Graded] = []  # of the last table, for sheets and the overview
        self.entries: list[overview.Entry] = []

    def __enter__(self) -> Book:
        for name in ("results", "feedback", "autograded"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        _keep(self.folder / "nbgrader_config.py", _CONFIG)
        self.book = opened(self.folder)
        others = {a.name for a in self.book.assignments} - {self.lab.name}
        if others:
            self.book.close()
            raise CourseError(f"{self.folder} holds the grades of {', '.join(others)}. Give each lab its own --out.")
        self._describe_lab()
        return self

    def __exit__(self, *_: object) -> None:
        self.press.close()
        self.book.close()

    def _describe_lab(self) -> None:
        """The lab's cells, as nbgrader's database wants them; what an older version had and this one has not, goes."""
        book, name = self.book, self.lab.name
        book.update_or_create_assignment(name)
        notebook = book.update_or_create_notebook(name, name)
        source = self.folder / "source" / name / f"{name}.ipynb"  # without it formgrader does not list the lab
        source.parent.mkdir(parents=True, exist_ok=True)
        _keep(source, self.lab.release)
        cells = nbformat.reads(self.lab.release, as_version=4).cells
        wanted = {c.metadata.nbgrader.grade_id for c in cells if "nbgrader" in c.metadata}
        old = [c for c in book.db.query(api.BaseCell).filter_by(notebook_id=notebook.id) if c.name not in wanted]
        for cell in [*old, *[c for c in notebook.source_cells if c.name not in wanted]]:
            for kind in (api.Grade, api.Comment):
                book.db.query(kind).filter_by(cell_id=cell.id).delete()
            book.db.delete(cell)
        book.db.commit()
        for cell in cells:
            if "nbgrader" not in cell.metadata:
                continue
            about = cell.metadata.nbgrader
            if is_grade(cell):
                points = float(about.points)
                book.update_or_create_grade_cell(about.grade_id, name, name, max_score=points, cell_type=cell.cell_type)
            if is_solution(cell):
                book.update_or_create_solution_cell(about.grade_id, name, name)
            book.update_or_create_source_cell(
                about.grade_id, name, name, cell_type=cell.cell_type, locked=is_locked(cell), source=cell.source
            )

    def known(self, student: str) -> Result | None:
        """The result of an earlier run, if there is one."""
        return kept(self.results / f"{student}.json")

    def commit(self, result: Result, about: dict[str, str]) -> None:
        """Write one submission's result, then all that follows from it."""
        result.about, result.file = about, about["file"]
        write(self.results / f"{result.student}.json", json.dumps(asdict(result)))
        self._follow(result)

    def follow(self, result: Result, about: dict[str, str]) -> None:
        """A result of an earlier run, of the same file, which may have another name now, or lie beside others."""
        if result.about == about:
            self._follow(result)
        else:
            self.commit(result, about)

    def follow_renamed(self, keys: dict[str, str]) -> None:
        """A student whose very file comes under another name now is the same student, and grades given by hand go along.

        Args:
            keys: student → key, of all that is handed in now.
        """
        listed = [s.student.id for s in self.book.assignment_submissions(self.lab.name)]
        gone = {old: result for old in listed if old not in keys and (result := self.known(old)) and result.key}
        for new, key in keys.items():
            old = next((old for old, result in gone.items() if result.key == key), None)
            if old is None or self.known(new):
                continue
            result = gone.pop(old)
            result.student = new
            write(self.results / f"{new}.json", json.dumps(asdict(result)))
            if (folder := self.folder / "autograded" / old).is_dir():
                folder.replace(self.folder / "autograded" / new)
            submission = self.book.find_submission(self.lab.name, old)
            submission.student = self.book.update_or_create_student(new)
            self.book.db.commit()
            self.book.remove_student(old)
            for path in (self.results / f"{old}.json", self.folder / "feedback" / f"{old}.html"):
                path.unlink(missing_ok=True)

    def _follow(self, result: Result) -> None:
        """Gradebook, notebook and feedback of a result; what is there already and right is left alone."""
        self._grades(result)
        folder = self.folder / "autograded" / result.student / self.lab.name
        page, notebook = self.folder / "feedback" / f"{result.student}.html", folder / f"{self.lab.name}.ipynb"
        folder.mkdir(parents=True, exist_ok=True)
        _keep(folder / "timestamp.txt", result.timestamp)
        about = self.pages.about(result, self.book.find_submission(self.lab.name, result.student), self.lang)
        if feedback.ends_with(page, about.key) and feedback.ends_with(notebook, about.key):
            return

        def keep(printed: Printed) -> None:
            write(notebook, printed.notebook)
            write(page, printed.page)

        self.press.add(about, "; ".join(feedback.notes(result)), keep)

    def _grades(self, result: Result) -> None:
        book, name = self.book, self.lab.name
        who = {"last_name": result.about.get("name"), "email": result.about.get("mail") or None}
        student = book.db.query(api.Student).filter_by(id=result.student).first() or book.add_student(result.student)
        if (student.last_name, student.email) != tuple(who.values()):
            book.update_or_create_student(result.student, **who)
        with book.db.no_autoflush:
            submission = book.update_or_create_submission(name, result.student)
        timestamp = api.utils.parse_utc(result.timestamp)
        if submission.timestamp != timestamp:
            submission.timestamp = timestamp
        (notebook,) = submission.notebooks
        grades = {g.cell_id: g for g in notebook.grades}
        comments = {c.cell_id: c for c in notebook.comments}
        for cell in notebook.notebook.grade_cells:
            grade = grades.get(cell.id) or api.Grade(cell_id=cell.id, notebook=notebook)
            score = result.scores.get(cell.name, 0.0)
            if grade.auto_score != score:
                grade.auto_score = score
                grade.needs_manual_grade = grade.manual_score is not None  # a person's grade stays, and wants a second look
        for cell in notebook.notebook.solution_cells:
            comment = comments.get(cell.id) or api.Comment(cell_id=cell.id, notebook=notebook)
            comment_text = feedback.quoted(result.reasons.get(cell.name, "")) or None
            if comment.auto_comment != comment_text:
                comment.auto_comment = comment_text
        book.db.commit()

    def table(self, handed_in: Intake) -> list[dict[str, Any]]:
        """One row a student, with manual grades: of all that was ever graded here, and of the class's list.

        Waits until all pages are made.
        """
        self.press.wait()
        rows, self.graded, self.entries = [], [], []
        now = {submission.student for submission in handed_in}
        for submission in sorted(self.book.assignment_submissions(self.lab.name), key=lambda s: s.student.id):
            result = self.known(submission.student.id)
            if result is None:
                continue
            (notebook,) = submission.notebooks
            points = {g.name: g.score for g in notebook.grades}
            row = self._row(result.about) | {"box": result.box}
            if (total := feedback.score(result, submission)) is not None:
                row |= {"score": total, "percent": round(100 * total / submission.max_score, 1)}
                row |= {name: points[f"{name}-tests"] + points[f"{name}-hidden"] for name in self.lab.exercises}
            earlier = "" if result.student in now else "graded earlier; not among what was handed in now"
            notes = [*feedback.notes(result), result.about.get("remark"), earlier]
            rows.append({**row, "note": "; ".join(filter(None, notes)), "student": row["student"] or result.student})
            self._remember(result, notebook, rows[-1], earlier)
        for person in handed_in.missing:
            about = {"id": person.id, "name": person.name}
            rows.append({**self._row(about), "note": "nothing was handed in"})
        return rows

    def _remember(self, result: Result, notebook: Any, row: dict[str, Any], earlier: str) -> None:
        """What sheets and the overview say of a student."""
        about, score = result.about, None if row["score"] == "" else float(row["score"])
        self.graded.append(lms_sheet.Graded(
            result.student, about.get("id", ""), about.get("name", ""), about.get("mail", ""), result.file, score,
            row["max_score"], self.folder / "feedback" / f"{result.student}.html",
        ))  # fmt: skip
        most = {name: float(e.visible_points + e.hidden_points) for name, e in self.lab.exercises.items()}
        self.entries.append(overview.Entry(
            result.student, row["student"], score, row["max_score"], {name: (row[name] or 0.0, most[name]) for name in most},
            feedback.messages_of(result, most), feedback.notes(result),
            "; ".join(filter(None, [about.get("remark"), earlier])),
            bool(about.get("late")), any(grade.needs_manual_grade for grade in notebook.grades),
            self.pages.answers(result.notebook),
        ))  # fmt: skip

    def _row(self, about: dict[str, str]) -> dict[str, Any]:
        """The columns of the table, those of a grade empty."""
        points = sum(e.visible_points + e.hidden_points for e in self.lab.exercises.values())
        return {
            "id": about.get("id", ""), "student": about.get("name", ""), "lab": self.lab.name, "score": "",
            "max_score": float(points), "percent": "", "box": "", **dict.fromkeys(self.lab.exercises, ""),
            "late": about.get("late", ""), "attempt": about.get("attempt", ""), "note": "",
            "file": about.get("file", ""), "other_files": about.get("other_files", ""),
        }  # fmt: skip

    def write_tables(self, rows: list[dict[str, Any]], handed_in: Intake) -> None:
        """What people and programs read: grades.csv, the same as nbgrader exports it, and the overview."""
        write(self.folder / "grades.csv", spreadsheets.for_excel(rows))
        _keep(self.folder / "grades-nbgrader.csv", spreadsheets.as_nbgrader(self.book, self.lab.name))
        missing = [person.name or person.id for person in handed_in.missing]
        page = overview.made(self.pages.title, self.entries, missing, self.pages.sections, self.pages.given)
        _keep(self.folder / "overview.html", page)


def opened(folder: Path) -> api.Gradebook:
    """The gradebook of an output folder; a context manager."""
    # not a string: in one a ? in the folder's name would end the file's, and a % begin a code
    url = URL.create("sqlite", database=str(folder / "gradebook.db"), query={"timeout": str(_PATIENCE)})
    _say_its_version(url)
    return api.Gradebook(url)


def _say_its_version(url: URL) -> None:
    """Write into a new gradebook which form it has, or nbgrader starts a program, a second long, to find that out."""
    engine = create_engine(url)
    with engine.begin() as connection:
        if not inspect(connection).get_table_names():
            version = ScriptDirectory(dbutil.ALEMBIC_DIR).get_current_head()
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
    engine.dispose()


def kept(path: Path) -> Result | None:
    """A result that an earlier run has written, if there is one."""
    try:
        result = Result(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or from before a change of its form
        return None
    whole = all(isinstance(value, type(usual)) for value, usual in zip(astuple(result), astuple(_ANY), strict=True))
    return result if whole else None


_PATIENCE = 60  # seconds that another program may keep the gradebook locked
_ANY = Result("", "", "", "", "", "")  # for the types of its fields


def _keep(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write(path, text)


def write(path: Path, text: str) -> None:
    """All of it, or what was there before."""
    with whole(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
