"""The list of a class, as a university or a learning platform exports it, and who on it handed something in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from course_utils.errors import CourseError

from . import student_names
from .spreadsheets import SCIENTIFIC, Table

# headings, as `names.loose` leaves them, in the languages of the platforms that export them
_ID = re.compile(
    r"^(id|sis(user|login)id|student(id|no|nr|number|code)|userid|user(name)?|login(id|name)?|kennung|benutzername|identifier"
    r"|id(number|nummer|code)|(student|matrikel|matriculation|registration|enrol(l)?ment)(nummer|nr|number|no|id)|matricola"
    r"|matrícula|matricule|num(éro|ero)?(étudiant|etudiant|d?identification)?|número(deid(entificación)?)?|codice|nia"
    r"|nombredeusuario|nomdutilisateur|identifiant|netid|eid|orgdefinedid|学号|学籍号|学工号|工号|账号|帐号|用户名|编号|學號"
    r"|学生番号|学籍番号|학번|номер|логин)$"
)
_NAME = re.compile(
    r"^(name|fullname|student(s)?(name)?|displayname|participant|nom(complet)?|nombre(completo)?|nome(completo)?"
    r"|vollständigername|teilnehmer(in)?|姓名|名字|学生姓名|学生|氏名|이름|фио|имя)$"
)
_FIRST = re.compile(r"^(firstname|givenname|vorname|prénom|prenom|nome|nombre|名)$")
_LAST = re.compile(r"^(lastname|surname|familyname|nachname|familienname|nomdefamille|cognome|apellidos?|姓)$")
_MAIL = re.compile(
    r"^(e?mail(s|adresse|address)?|emailaddress|adresse(de)?(courriel|messagerie|email|électronique)|correo(electrónico)?"
    r"|dirección(de)?(correo|email)|courriel|邮箱|电子邮(箱|件)|邮件|メール(アドレス)?)$"
)


@dataclass(eq=False)
class Person:
    """One line of the list."""

    id: str
    name: str
    mail: str = ""
    others: tuple[str, ...] = ()  # more numbers and logins of the same line

    @property
    def numbers(self) -> set[str]:
        """All that stands for the person and for nobody else."""
        texts = {self.id, self.mail, self.mail.partition("@")[0], *self.others}
        return {student_names.loose(text) for text in texts} - {""}


class Roster:
    """A class by id and by name."""

    def __init__(self, people: Iterable[Person]) -> None:
        self.people = list(people)
        self._by_number = self._index((number, p) for p in self.people for number in p.numbers)
        self._by_name = self._index((spelling, p) for p in self.people for spelling in _spellings(p.name))

    @staticmethod
    def _index(pairs: Iterable[tuple[str, Person]]) -> dict[str, Person | None]:
        """What stands for one person only; None for what stands for several."""
        index: dict[str, Person | None] = {}
        for key, person in pairs:
            index[key] = person if index.get(key, person) is person else None
        return index

    @classmethod
    def read(cls, path: Path) -> Roster:
        """A CSV file with a heading, or with columns that need none: numbers, names, addresses.

        Raises:
            CourseError: it cannot be read, or names nobody.
        """
        rows = [row for row in Table.read(path, "--students").rows if any(map(str.strip, row))]
        places: dict[str, list[int]] = {}
        for line, row in enumerate(rows[:5]):  # a title may stand above the heading
            places = columns(row)
            if {"id", "name", "last"} & set(places):
                rows = rows[line + 1 :]
                break
        else:
            places = _guessed(rows)
        people: dict[tuple[str, str], Person] = {}  # who stands in two sections is one student
        for row in rows:
            cells = {kind: [row[i].strip() for i in which if i < len(row)] for kind, which in places.items()}
            name = next(filter(None, cells.get("name", [])), "") or _joined(cells)
            mail = next(filter(None, cells.get("mail", [])), "")
            ids = [_plain(text) for text in cells.get("id", []) if text]
            if lost := next((text for text in ids if SCIENTIFIC.fullmatch(text)), ""):
                raise CourseError(
                    f"--students {path}: Excel has turned long numbers into such as {lost}, and the students' ids are lost. "
                    "Format that column as text in the original, then save it as CSV again."
                )
            if name.casefold() == "points possible" or not (name or ids):  # Canvas's second line
                continue
            person = Person(ids[0] if ids else mail or name, name or ids[0], mail, tuple(ids[1:]))
            people.setdefault((student_names.loose(person.id), student_names.loose(person.name)), person)
        if not people:
            raise CourseError(f"{path} names no student. Its first line should say what is what, e.g. id,name,email.")
        return cls(people.values())

    def unclear(self, *texts: str) -> bool:
        """Does one of these stand for several students of the list?"""
        return any(
            index.get(student_names.loose(text), text) is None
            for index in (self._by_number, self._by_name)
            for text in texts
        )

    def find(self, *texts: str) -> Person | None:
        """Who is meant by an id, a name, or a text that holds one of them.

        None for nobody, for more than one, and where the number is one student's and the name another's.
        """
        by_number = self._only(self._by_number.get(student_names.loose(text)) for text in texts) or self._only(
            self._by_number.get(number) for text in texts for number in _numbers(text)
        )
        spelled = {self._by_name.get(spelling) for text in texts for spelling in _spellings(text)} - {None}
        by_name = spelled or {
            person
            for text in texts
            for name, count in _parts(text)
            if (person := self._by_name.get(name)) and count == len(_words(person.name))
        }
        if by_number and by_name and by_number not in by_name:
            return None
        return by_number or self._only(by_name)

    @staticmethod
    def _only(candidates: Iterable[Person | None]) -> Person | None:
        people = {person for person in candidates if person}
        return people.pop() if len(people) == 1 else None


def _numbers(text: str) -> set[str]:
    """Numbers, logins and addresses that stand in a text by themselves."""
    runs = re.findall(r"(?<![A-Za-z\d])\d{3,}(?![A-Za-z\d])|[\w.+-]+@[\w.-]+\w", text)
    return {student_names.loose(run) for run in (*runs, *re.split(r"[\W_]+", text)) if len(run) > 2}


def _parts(text: str) -> set[tuple[str, int]]:
    """Up to four words of a text that follow one another, as one, and how many they are."""
    words = student_names.words(text)
    spans = ((i, j) for i in range(len(words)) for j in range(i + 1, min(i + 5, len(words) + 1)))
    return {(student_names.loose("".join(words[i:j])), j - i) for i, j in spans}


def columns(heading: list[str]) -> dict[str, list[int]]:
    """Which columns hold ids, names and addresses, by their headings."""
    kinds = {"mail": _MAIL, "id": _ID, "name": _NAME, "last": _LAST, "first": _FIRST}
    places: dict[str, list[int]] = {}
    words = [student_names.loose(cell) for cell in heading]
    with_last = any(_LAST.match(word) for word in words)
    for place, word in enumerate(words):
        matching = [kind for kind, pattern in kinds.items() if pattern.match(word)]
        if with_last and "first" in matching:  # "Nome" is a first name beside a "Cognome"
            matching = ["first"]
        if matching:
            places.setdefault(matching[0], []).append(place)
    return places


def _guessed(rows: list[list[str]]) -> dict[str, list[int]]:
    """Columns of a list without a heading, by what stands in most of their cells."""
    places: dict[str, list[int]] = {}
    for place in range(max(map(len, rows), default=0)):
        cells = [row[place].strip() for row in rows if place < len(row)]
        for kind, pattern in (("mail", r".+@.+"), ("id", r"[A-Za-z]{0,4}\d{3,}\w*"), ("name", r"[^\d@]+")):
            if 2 * sum(bool(re.fullmatch(pattern, cell)) for cell in cells) > len(cells):
                places.setdefault(kind, []).append(place)
                break
    return places if "name" in places or "id" in places else {}


def _joined(cells: dict[str, list[str]]) -> str:
    """First and last name as one; Chinese names, last name first and without a space."""
    first, last = (next(iter(cells.get(kind, [])), "") for kind in ("first", "last"))
    chinese = all("\u3400" <= sign <= "\u9fff" for sign in first + last)
    return f"{last}{first}" if chinese else f"{first} {last}".strip()


def _plain(identifier: str) -> str:
    """Moodle's sheet says "Participant 101" where its files say 101; Excel writes ="0042" to keep zeros, and 42.0."""
    identifier = re.sub(r'^="(.*)"$', r"\1", identifier)
    identifier = re.sub(r"^(\d+)[.,]0+$", r"\1", identifier)
    match = re.fullmatch(
        r"(?:\D+ |[^\W\d_]+/[^\W\d_]+|[^\x00-\x7f\d]{2,})(\d+)", identifier
    )  # "Teilnehmer/in101", "参与者101"
    return match[1] if match else identifier


def _spellings(name: str) -> set[str]:
    """A name as it stands, and with its parts the other way round: platforms write "Lee, Ann", "Ann Lee" and "leeann"."""
    parts = _words(name)
    turned = {"".join(parts), "".join(parts[1:] + parts[:1]), "".join(parts[-1:] + parts[:-1])}
    return {student_names.loose(text) for text in turned} - {""}


def _words(name: str) -> list[str]:
    return [part for part in re.split(r"[\s,，_]+", name) if part]
