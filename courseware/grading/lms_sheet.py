"""Grades into the very sheet that a learning platform gave out, and feedback as its importer takes it.

    Canvas    the gradebook as CSV: one column an assignment, its id in the title
    Moodle    an assignment's grading worksheet, in any language
    others    any CSV with a column of student ids: 学号, matriculation numbers, logins, mail addresses

A new file is written, in the encoding, with the separators and the decimal sign of the given one; of its cells only grades
are changed. Whom no row or no grade was found for is said.
"""

from __future__ import annotations

import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.errors import CourseError

from ..files import whole
from . import student_names
from .roster import columns
from .spreadsheets import SCIENTIFIC, Table

_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
_CANVAS_TITLE = re.compile(r"^(.*)\s\((\d+)\)$", re.DOTALL)
# lib/gradebook_importer.rb: columns that are no assignments, and rows that are no students
_CANVAS_TOTALS = re.compile(r"(Current|Final) (Score|Points|Grade)|Override (Score|Grade|Status)")
_CANVAS_POSTING = re.compile(r"\s*(Muted|Manual Posting.*)?\s*", re.IGNORECASE | re.DOTALL)
_MOODLE_ID = re.compile(r"(\D*?)\s*(\d+)")
_MOODLE_FOLDER = re.compile(r"(.+?)_(\d+)_(assignsubmission_[a-z]+)")
_TOKEN = re.compile(r"[A-Za-z]{0,4}\d{5,}")  # a student's number within a name
_GRADE_WORDS = re.compile(r"成绩|分数|得分|score|grade|points?|marks?|note|punkte|calificación|voto", re.IGNORECASE)


@dataclass
class Graded:
    """One student's grade, and all by which a sheet may know the student."""

    student: str  # name of the feedback page
    id: str
    name: str
    mail: str
    file: str  # as it was handed in, with the names that the platform gave
    score: float | None  # None: there is no verdict
    most: float
    page: Path | None = None


@dataclass
class Filled:
    """What was written, and what a person should know of it."""

    sheet: Path
    feedback: Path | None
    report: list[str] = field(default_factory=list)


@dataclass
class _Row:
    """A student's row: its place, and what stands in it."""

    index: int
    shown: str
    keys: dict[str, set[str]]  # kind of name → names


@dataclass
class _Sheet:
    """A table understood."""

    kind: str  # "canvas", "moodle" or "plain"
    rows: list[_Row]
    column: int
    title: str
    most: float | None  # points of a full grade in the sheet; None: whatever the lab has
    keep: Callable[[str], bool]  # is this cell not for a grade?


def readable(sheet: Path) -> None:
    """See that there is a table, before a class is graded for it.

    Raises:
        CourseError: there is none.
    """
    _read(sheet)


def fill(sheet: Path, graded: list[Graded], lab: str, title: str, out: Path, column: str = "") -> Filled:
    """Write a copy of a sheet with the grades in it into `out`, and the pages for the platform's importer beside it.

    Args:
        lab: its name, as "10_quantization".
        title: its heading, as "Lab 10 · Quantization".
        column: title or id of the column to fill, where that is not clear.

    Raises:
        CourseError: the file is no table, no column or several may be meant, or nobody in it is among the graded.
    """
    table = _read(sheet)
    read = _understood(sheet, table, graded, lab, title, column)
    pairs, several = _paired(read.rows, graded)
    if not pairs:
        raise CourseError(
            f"{sheet.name}: none of its {len(read.rows)} students is among the {len(graded)} that were graded. Is it of "
            "another class? Students are known by the platform's number in the file's name, by id, mail address and name; "
            "--students LIST.csv tells ids and names of a class."
        )
    target = out / f"{sheet.stem}-filled{sheet.suffix}"
    result = Filled(target, None)
    capped, kept, empty, replaced = [], [], [], []
    for row, entry in pairs:
        cells = table.rows[row.index]
        cells += [""] * (read.column + 1 - len(cells))
        if entry.score is None:
            empty.append(row.shown)
        elif read.keep(cells[read.column]):
            kept.append(f"{row.shown} ({cells[read.column].strip()})")
        else:
            value = entry.score * (read.most / entry.most if read.most and entry.most else 1)
            if read.most and value > read.most:
                capped.append(row.shown)
                value = min(value, read.most) if read.kind == "moodle" else value  # Moodle passes over what is more
            before = _value(cells[read.column])
            if before is not None and abs(before - value) > 0.01:
                replaced.append(f"{row.shown} ({cells[read.column].strip()})")
            cells[read.column] = table.number(value)
    table.write(target)
    shown = [(row, entry) for row, entry in pairs if entry.score is not None]
    result.feedback, without = _feedback(read, table, shown, out)
    taken = {id(entry) for _, entry in pairs}
    rows = {row.index for row, _ in pairs}
    most = next(entry.most for _, entry in pairs)
    filled = len(pairs) - len(kept) - len(empty)
    result.report = [f"{target}: {filled} of {len(read.rows)} students, in the column {read.title}"]
    result.report += (
        [f"{result.feedback}: {len(shown) - len(without)} pages for {read.kind.title()}"] if result.feedback else []
    )
    if read.most and most and abs(read.most - most) > 1e-6:
        result.report.append(f"  the sheet counts to {read.most:g} and the lab to {most:g}: grades are scaled")
    for label, who in (
        ("without a grade yet", empty),
        ("left as they were", kept),
        ("had another grade in the sheet, which is replaced", replaced),
        ("more than the sheet's maximum", capped),
        ("in the sheet, and nothing of theirs was graded", [row.shown for row in read.rows if row.index not in rows]),
        ("graded, and not in the sheet", [g.name or g.student for g in graded if id(g) not in taken]),
        ("more than one may be meant, none was filled in", several),
        ("without a page for the platform: the file handed in no longer has the name that it gave", without),
    ):
        if who:
            result.report.append(f"  {label}: {', '.join(who[:8])}{f' and {len(who) - 8} more' if len(who) > 8 else ''}")
    return result


def _read(path: Path) -> Table:
    table = Table.read(path, "--into")
    if len(table.rows) < 2 or max(map(len, table.rows)) < 2:
        raise CourseError(f"--into {path} is no table: it has no two columns that are separated by , ; or tabs.")
    return table


def _understood(path: Path, table: Table, graded: list[Graded], lab: str, title: str, column: str) -> _Sheet:
    header = [cell.strip() for cell in table.rows[0]]
    if len(header) > 2 and (
        ("Student" in header[0] and "ID" in header[1])
        or (header[:2] == ["LastName", "FirstName"] and len(header) > 3 and "ID" in header[2])
    ):
        return _canvas(path, table, lab, title, column)
    first = [match for row in table.rows[1:] if (match := _MOODLE_ID.fullmatch(row[0].strip()))]
    labels = {match[1] for match in first}
    if len(first) == len(table.rows) - 1 and len(labels) == 1 and labels != {""} and (grade := _moodle_grade(table)):
        return _moodle(table, grade)
    return _plain(path, table, graded, lab, title, column)


def _canvas(path: Path, table: Table, lab: str, title: str, column: str) -> _Sheet:
    header = table.rows[0]
    names_first = header[:2] == ["LastName", "FirstName"]
    id_at = 2 if names_first else 1
    points = next((row for row in table.rows[1:] if row and "Points Possible" in row[0]), [])
    assignments = [i for i, cell in enumerate(header) if _CANVAS_TITLE.match(cell) and not _CANVAS_TOTALS.search(cell)]
    open_columns = [i for i in assignments if _is_open(points[i] if i < len(points) else "")]
    closed = [header[i] for i in assignments if i not in open_columns]
    at = _column(path, header, open_columns, lab, title, column, closed)
    rows = []
    for index, row in enumerate(table.rows[1:], 1):
        students = row and "Points Possible" not in row[0] and not all(_CANVAS_POSTING.fullmatch(cell) for cell in row)
        if not students or len(row) <= id_at:
            continue
        shown = f"{row[1]} {row[0]}".strip() if names_first else row[0]
        logins = [row[i] for i, cell in enumerate(header) if i < len(row) and re.match(r"SIS |Integration", cell)]
        keys = {"platform": {row[id_at]}, "id": {row[id_at], *logins}, "mail": set(logins), "name": {shown}}
        rows.append(_Row(index, shown, _keys(keys)))
    most = _value(points[at]) if at < len(points) else None
    keep = re.compile(r"\s*(N/A|EX)\s*", re.IGNORECASE)
    return _Sheet("canvas", rows, at, header[at], most or None, lambda cell: keep.fullmatch(cell) is not None)


def _is_open(cell: str) -> bool:
    """May a grade be written below this cell of the row of possible points? Below "(read only)" none may."""
    return not cell.strip() or _value(cell) is not None


def _moodle_grade(table: Table) -> int | None:
    """The column of grades, by its place: left of the maximum, which is the same number in every row.

    Headings are in the teacher's language; what Moodle's own importer knows the columns by is that very language.
    """
    body = table.rows[1:]
    for at in range(min(map(len, body)) - 2, 0, -1):
        most = {_value(row[at + 1]) for row in body}
        limit = most.pop() if len(most) == 1 else None
        if limit and limit > 0:
            values = [row[at].strip() for row in body]
            if all(not text or text == "-" or ((v := _value(text)) is not None and v <= limit) for text in values):
                return at
    return None


def _moodle(table: Table, at: int) -> _Sheet:
    rows = []
    named = at >= 3  # else it is marked blind: number, status, grade
    for index, row in enumerate(table.rows[1:], 1):
        match = _MOODLE_ID.fullmatch(row[0].strip())
        number = match[2] if match else ""
        others = row[2 : at - 1] if named else []
        keys = {"platform": {number}, "id": set(others), "mail": set(others), "name": {row[1]} if named else set()}
        rows.append(_Row(index, row[1] if named else row[0], _keys(keys)))
    return _Sheet("moodle", rows, at, table.rows[0][at], _value(table.rows[1][at + 1]), lambda _: False)


def _plain(path: Path, table: Table, graded: list[Graded], lab: str, title: str, column: str) -> _Sheet:
    """Any table: the column in which most of the graded are found tells the students, the row above them the headings."""
    width = max(map(len, table.rows))
    known = {kind: {key for g in graded for key in _of(g)[kind]} for kind in ("number", "id", "mail", "token", "name")}
    hits_in: dict[tuple[str, int], list[int]] = {}
    for kind, keys in known.items():
        for at in range(width):
            hits = [i for i, row in enumerate(table.rows) if at < len(row) and _cell(kind, row[at]) & keys]
            if hits:
                hits_in[kind, at] = hits
    if not hits_in:
        if any(SCIENTIFIC.fullmatch(cell.strip()) for row in table.rows for cell in row):
            raise CourseError(
                f"{path.name}: Excel has turned long numbers into such as 2.02E+11, and the students' ids are lost. Format "
                "that column as text (or as a number without decimals) in the original, then save it as CSV again."
            )
        raise CourseError(
            f"{path.name}: no column holds the ids, mail addresses or names of the students that were graded. "
            "Give the sheet as your platform exports it; --students LIST.csv tells ids and names of a class."
        )
    kind, at = max(hits_in, key=lambda place: len(hits_in[place]))
    # beside numbers stand names, for those of whom no number is known
    telling = {which: sorted({place for of, place in hits_in if of == which}) for which, _ in hits_in}
    top = _headings(table.rows[: hits_in[kind, at][0]], kind, at)
    header = table.rows[top] if top >= 0 else []
    rows = [
        _Row(i, row[at].strip(), _row_keys(row, telling))
        for i, row in enumerate(table.rows)
        if i > top and at < len(row) and row[at].strip()
    ]
    candidates = [i for i in range(len(header)) if i != at and header[i].strip()]
    if column:
        into = _column(path, header, candidates, lab, title, column)
    else:
        meant = [i for i in candidates if _about(header[i], lab, title)]
        meant = meant or [i for i in candidates if _GRADE_WORDS.search(header[i])]
        if len(meant) > 1:
            raise CourseError(_which(path, [header[i] for i in meant]))
        into = meant[0] if meant else width
    if into == width and header:
        header += [""] * (width - len(header)) + [lab]
    return _Sheet("plain", rows, into, header[into] if into < len(header) else str(into + 1), None, lambda _: False)


def _row_keys(row: list[str], telling: dict[str, list[int]]) -> dict[str, set[str]]:
    """By what a row of any table may be known: what stands in the columns of each kind."""
    return {
        kind: {key for place in places if place < len(row) for key in _cell(kind, row[place])}
        for kind, places in telling.items()
    }


def _headings(above: list[list[str]], kind: str, at: int) -> int:
    """The row of headings among those above the first graded student: others of the class may stand there too.

    -1 where there is none.
    """
    for place in reversed(range(len(above))):
        if {"id", "name", "last", "mail"} & set(columns(above[place])):
            return place
    if kind == "name":
        return min(0, len(above) - 1)
    no_students = [i for i, row in enumerate(above) if at >= len(row) or not re.search(r"@|\d{3}", row[at])]
    return no_students[-1] if no_students else -1


def _column(
    path: Path, header: list[str], open_columns: list[int], lab: str, title: str, column: str, closed: Sequence[str] = ()
) -> int:
    """The one column that is meant, of those that may be filled.

    Args:
        closed: titles of those that may not.
    """
    if column:
        meant = [i for i in open_columns if _is_called(header[i], column)]
        barred = [head for head in closed if _is_called(head, column)]
    else:
        about = {i: _about(header[i], lab, title) for i in open_columns}
        best = max(about.values(), default=0)
        meant = [i for i in open_columns if about[i] == best and best]
        if not best and len(open_columns) == 1 and not re.search(r"\d", _title_and_id(header[open_columns[0]])[0]):
            meant = open_columns  # the only one, unless it is called by another number
        barred = [head for head in closed if _about(head, lab, title) > best]
    if barred:
        raise CourseError(
            f"{path.name}: the column {barred[0]} is read only in the sheet: its platform would not take grades for it. "
            "Open it there and export again, or name another column with --column."
        )
    if len(meant) != 1:
        raise CourseError(_which(path, [header[i] for i in meant or open_columns]))
    return meant[0]


def _is_called(header: str, column: str) -> bool:
    return column.strip() in (header.strip(), *_title_and_id(header))


def _which(path: Path, titles: list[str]) -> str:
    listed = "".join(f"\n  {title}" for title in titles) or " none that may be filled"
    return (
        f"{path.name}: it is not clear which column is meant. Say so with --column and its title or id. There are:{listed}"
    )


def _title_and_id(header: str) -> tuple[str, str]:
    match = _CANVAS_TITLE.match(header.strip())
    return (match[1].strip(), match[2]) if match else (header.strip(), header.strip())


def _about(header: str, lab: str, title: str) -> int:
    """How surely does a heading name the lab: 0 not at all, 1 by its number, 2 by its words, 3 by both or exactly."""
    text = student_names.loose(_title_and_id(header)[0])
    number, _, slug = lab.partition("_")
    if text in (student_names.loose(lab), student_names.loose(title)):
        return 3
    words = student_names.loose(slug) in text if slug else False
    numbered = re.search(rf"(?<!\d)0*{int(number)}(?!\d)", _title_and_id(header)[0]) if number.isdecimal() else None
    return 2 * bool(words) + bool(numbered)


def _value(cell: str) -> float | None:
    text = cell.strip().removesuffix("%")
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None


def _normal(text: str) -> set[str]:
    """A cell as it is compared: numbers also without what spreadsheets put around them or take from them."""
    text = unicodedata.normalize("NFKC", text).strip().removeprefix("'")
    match = re.fullmatch(r'="?(.*?)"?', text)
    text = re.sub(r"(\d)\.0+$", r"\1", match[1] if match else text)
    keys = {student_names.loose(text)}
    if text.isdecimal():
        keys.add(text.lstrip("0"))
    return keys - {""}


def _cell(kind: str, text: str) -> set[str]:
    return _normal(text) | (_spellings(text) if kind == "name" else set())


def _keys(given: dict[str, set[str]]) -> dict[str, set[str]]:
    keys = {kind: {key for text in texts for key in _normal(text)} for kind, texts in given.items()}
    keys["name"] |= {key for text in given.get("name", ()) for key in _spellings(text)}
    return {"token": set(keys["id"]), **keys}


def _spellings(name: str) -> set[str]:
    """A name in the order of a list and of a letter: "Lee, Ann" and "Ann Lee"."""
    last, comma, first = name.partition(",")
    turned = f"{first} {last}" if comma else name
    return {student_names.loose(name), student_names.loose(turned)} - {""}


def _of(graded: Graded) -> dict[str, set[str]]:
    """By what a graded student may stand in a sheet."""
    parts = graded.file.replace("\\", "/").split("/")
    tokens = [token for text in (graded.id, graded.student, graded.name, *parts) for token in _TOKEN.findall(text)]
    keys = _keys({
        "platform": {number for part in parts if (number := _platform_number(part))},
        "id": {graded.id, graded.student},
        "mail": {graded.mail, graded.mail.partition("@")[0]},
        "name": {graded.name, graded.student},
    })  # fmt: skip
    keys["token"] = {key for token in tokens for key in _normal(token)}
    keys["number"] = _normal(graded.id) if re.search(r"\d{4}", graded.id) else set()
    return keys


def _platform_number(part: str) -> str:
    """Moodle's number of the participant, or Canvas' of the user, in a name that it gave."""
    if match := _MOODLE_FOLDER.match(part):
        return match[2]
    pair = _canvas_name(part)
    return pair[0] if pair else ""


def _canvas_name(part: str) -> tuple[str, str] | None:
    """User's number and all up to the attachment's, as Canvas reads its own names (app/models/abstract_assignment.rb)."""
    pieces = part.split("_")
    numbers = [i for i, piece in enumerate(pieces) if re.fullmatch(r"\d+", piece)]
    known = [piece for piece in pieces if piece != "LATE"]
    if known[0] == "anon" and len(known) > 3 and known[2].isdecimal():
        return "", "_".join(pieces[: pieces.index(known[2]) + 1])
    if len(numbers) < 2 or numbers[1] == len(pieces) - 1 or numbers[0] == 0 or numbers[1] != numbers[0] + 1:
        return None
    return pieces[numbers[0]], "_".join(pieces[: numbers[1] + 1])


def _paired(rows: list[_Row], graded: list[Graded]) -> tuple[list[tuple[_Row, Graded]], list[str]]:
    """Rows and grades of the same student: by the surest kind of name first, never one of two that may be meant."""
    left_rows, left = list(rows), list(graded)
    about = {id(entry): _of(entry) for entry in graded}
    pairs: list[tuple[_Row, Graded]] = []
    unclear: dict[str, None] = {}
    for kind in ("platform", "id", "mail", "token", "name"):
        meant: dict[int, list[Graded]] = {}
        for entry in left:
            keys = about[id(entry)][kind]
            hits = [row for row in left_rows if row.keys.get(kind, set()) & keys and not _contradict(row, about[id(entry)])]
            if len(hits) == 1:
                meant.setdefault(hits[0].index, []).append(entry)
            elif hits:
                unclear[entry.name or entry.student] = None
        for row in list(left_rows):
            several = meant.get(row.index, [])
            if len(several) == 1:
                pairs.append((row, several[0]))
                left_rows.remove(row)
                left.remove(several[0])
            elif several:
                unclear[row.shown] = None
    done = {entry.name or entry.student for _, entry in pairs} | {row.shown for row, _ in pairs}
    return sorted(pairs, key=lambda pair: pair[0].index), [name for name in unclear if name not in done]


def _contradict(row: _Row, about: dict[str, set[str]]) -> bool:
    """Do both have a number, and not the same one? Then they are two people, whatever they are called."""
    return any(
        (here := row.keys.get(kind)) and (there := about.get(kind)) and not here & there for kind in ("platform", "number")
    )


def _feedback(read: _Sheet, table: Table, pairs: Iterable[tuple[_Row, Graded]], out: Path) -> tuple[Path | None, list[str]]:
    """A zip of pages that the platform's importer takes, and whose pages it could not take."""
    if read.kind == "plain":
        return None, []
    place = {"canvas": _canvas_place, "moodle": _moodle_place}[read.kind]
    files: dict[str, bytes] = {}
    without = []
    for row, entry in pairs:
        name = place(entry, table.rows[row.index], read)
        if name and entry.page and entry.page.exists():
            files[name] = entry.page.read_bytes()
        else:
            without.append(row.shown)
    if not files:
        return None, without
    path = out / f"feedback-for-{read.kind}.zip"
    with whole(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path, without


def _canvas_place(entry: Graded, _: list[str], __: _Sheet) -> str:
    """`name_user_attachment_feedback.html`: Canvas attaches it to the submission that has this attachment."""
    for part in entry.file.replace("\\", "/").split("/"):
        if known := _canvas_name(part):
            return f"{known[1]}_feedback.html"
    return ""


def _moodle_place(entry: Graded, row: list[str], read: _Sheet) -> str:
    """`Full name_participant_assignsubmission_file_/feedback.html`.

    The "_" at the end is what Moodle before 4.1 wants, and later ones take (mod/assign/feedback/file/importziplib.php); one
    in the name would move the number away from where it is looked for.
    """
    for part in entry.file.replace("\\", "/").split("/"):
        if match := _MOODLE_FOLDER.match(part):
            return f"{_moodle_name(match[1])}_{match[2]}_assignsubmission_file_/feedback.html"
    match = _MOODLE_ID.fullmatch(row[0].strip())
    name = row[1] if read.column >= 3 else (match[1] if match else "")
    return f"{_moodle_name(name)}_{match[2]}_assignsubmission_file_/feedback.html" if match else ""


def _moodle_name(name: str) -> str:
    cleaned = re.sub(r'[\x00-\x1f_/\\:*?"<>|]', " ", name).strip(" .~")[:60]
    return cleaned or "student"
