"""Whose is which file: the layouts in which platforms and people hand a class's work over.

A platform's own names are unmistakable and are looked for first (`platforms`). What is left is laid out by people: a file
for each student, a folder for each, folders of classes. There the names decide, and where they leave it open, how many of
the notebooks are this lab. What stays open is said, and nobody is guessed away.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from course_utils.errors import CourseError

from . import archive, platforms, student_names
from .lab_match import Sought
from .platforms import Student
from .roster import Roster
from .uploads import File, Folder, Inbox

_LATE = re.compile(
    r"(late|late submissions?|verspätet|verspätete abgaben?|en retard|tard[ií]as?|迟交|补交|逾期)( - .*)?", re.IGNORECASE
)
_HANDED_IN = {  # Teams' two folders with the same students, in the language of the school
    "submitted files", "eingereichte dateien", "fichiers envoyés", "fichiers soumis", "archivos enviados", "file inviati",
    "arquivos enviados", "ingediende bestanden", "已提交的文件", "已提交文件", "提交的文件", "已提交的檔案",
    "提出済みファイル", "제출된 파일", "отправленные файлы",
}  # fmt: skip
_IN_WORK = {
    "working files", "arbeitsdateien", "fichiers de travail", "archivos de trabajo", "file di lavoro",
    "arquivos de trabalho", "werkbestanden", "工作文件", "工作檔案", "作業ファイル", "작업 파일", "рабочие файлы",
}  # fmt: skip
_TEAMS = _HANDED_IN | _IN_WORK
_PARTS = re.compile(r"^(.+?) [-–] (.+)$", re.DOTALL)  # Classroom's "Jane Doe - lab.ipynb", Forms' "lab - Jane Doe.ipynb"
_LISTS = re.compile(  # files about a class, not of a student
    r"\.(csv|tsv|xlsx?|ods|ya?ml|log|db|ini|md|url|lnk)$|^(index|readme|read me|status|grades?|roster|成绩|名单|说明)\b.*"
    r"|^(requirements|comments)\.txt$",
    re.IGNORECASE,
)
_DATA = re.compile(r"\.(json|npz?|pt|bin|safetensors|gguf|pkl|parquet|arrow)$", re.IGNORECASE)  # what a notebook reads
_TOOLS = re.compile(rf"\.(py|txt|png|jpe?g|gif|svg)$|{_DATA.pattern}", re.IGNORECASE)  # and what else may lie beside it
_CLASS = re.compile(r"班|\bclass|\bsection|\bklasse|\bkurs", re.IGNORECASE)  # what a folder of a class is called
_LOOK = 60  # notebooks of one folder, at most, that are opened to see how it is laid out
_FILES = "one file a student"
_FOLDERS = "one folder a student"


@dataclass
class Layout:
    """A class, student by student."""

    students: list[Student]
    doubts: list[str]  # what cannot be told from the names alone


def read(inbox: Inbox, lab: Sought, roster: Roster | None = None, pattern: str = "", certain: bool = False) -> Layout:
    """Whose each file is. Files of nobody are added to the inbox's `ignored`.

    Args:
        pattern: a regular expression with named groups, instead of all that is known here.
        certain: doubts are settled the way that loses nobody.

    Raises:
        CourseError: `pattern` is none, or has no group `student_id`.
    """
    if pattern:
        return Layout(_by_pattern(inbox, pattern), [])
    reader = _Reader(inbox, lab, roster, certain)
    students = [*platforms.take(inbox, lab.name), *reader.students()]
    for student in students:
        for file in student.files:  # in a folder "late", or as ILIAS writes it: "late - lab.ipynb"
            file.late = file.late or any(_LATE.fullmatch(part) for part in file.path)
    _tell_apart(students)
    return Layout(students, reader.doubts)


def _by_pattern(inbox: Inbox, pattern: str) -> list[Student]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise CourseError(f"--pattern is no regular expression: {error}.") from None
    if "student_id" not in compiled.groupindex:
        raise CourseError(f"--pattern {pattern} names no student: write (?P<student_id>…) around what tells students apart.")
    by_id: dict[str, Student] = {}
    for file in inbox.top.walk():
        match = compiled.match("/".join(file.path)) or compiled.match(file.name)
        fields = {key: value or "" for key, value in match.groupdict().items()} if match else {}
        if not fields.get("student_id"):
            inbox.ignored[file.shown] = "does not match --pattern"
            continue
        file.attempt = fields.get("timestamp", "")
        file.order = float(re.sub(r"\D", "", file.attempt)[:14] or 0)
        who = student_names.same(fields["student_id"])
        name = " ".join(filter(None, [fields.get("first_name", ""), fields.get("last_name", "")])) or who
        by_id.setdefault(who, Student(who, name, who, "--pattern")).files.append(file)
    return list(by_id.values())


class _Reader:
    """Folders and files without a platform's names."""

    def __init__(self, inbox: Inbox, lab: Sought, roster: Roster | None, certain: bool) -> None:
        self.inbox, self.lab, self.roster, self.certain = inbox, lab, roster, certain
        self.by_key: dict[tuple[tuple[str, ...], str], Student] = {}
        self.doubts: list[str] = []

    def students(self) -> list[Student]:
        self._people(self.inbox.top)
        return list(self.by_key.values())

    # what names and notebooks say

    def _rest(self, name: str) -> str:
        """What of a name may be a person's: without the lab's own name and the words for homework."""
        if name.casefold() in _TEAMS:
            return ""
        return "".join(word for word in student_names.words(name) if word not in self.lab.words)

    def _knows(self, *texts: str) -> bool:
        return bool(self.roster and self.roster.find(*texts))

    def _holds_work(self, thing: File | Folder) -> bool:
        """Is there this lab, with something written into it?"""
        notebooks = [thing] if isinstance(thing, File) else [file for file in thing.walk() if file.is_notebook][:20]
        return any(self.lab.is_in(file) and not self.lab.is_blank(file) for file in notebooks)

    def _items(self, folder: Folder) -> list[tuple[str, File | Folder]]:
        """Notebooks and folders with what of their names may be a person's; of "group 1" and "group 2" what is in them."""
        items: list[tuple[str, File | Folder]] = [(self._rest(file.stem), file) for file in folder.files if file.is_notebook]
        inner = [kid for kid in folder.folders.values() if any(file.is_notebook for file in kid.walk())]
        counts = Counter(self._rest(kid.name) for kid in inner)
        for kid in inner:
            rest = self._rest(kid.name)
            items += [(rest, kid)] if rest and counts[rest] == 1 else self._items(kid)
        return items

    def _branch(self, folder: Folder) -> Folder:
        """Down through folders that hold one folder and nothing else."""
        while len(folder.folders) == 1 and not any(self._is_work(file) for file in folder.files):
            (folder,) = folder.folders.values()
        return folder

    def _is_whole(self, folder: Folder) -> bool:
        """Is it one student's for certain: the lab under its own or the folder's name, or the folders of the course?"""
        inner = {name.casefold() for name in folder.folders}
        stems = [file.stem for file in folder.files if file.is_notebook and not self.lab.is_blank(file)][:_LOOK]
        own = student_names.same(folder.name) in map(student_names.same, stems) or not all(map(self._rest, stems))
        return own or bool(inner & {"labs", self.lab.name.casefold()})

    def _authors(self, items: list[tuple[str, File | Folder]]) -> tuple[list[str], bool]:
        """Names, none a part of another, under which this lab lies. If no content tells: all names, and False."""
        looked = items[:_LOOK]
        held = [rest for rest, thing in looked if self._holds_work(thing)]
        authors: list[str] = []
        for rest in sorted(held or [rest for rest, _ in looked], key=len):
            if rest and not any(known in rest for known in authors):  # "ann" and "ann2nd" are one person's
                authors.append(rest)
        return authors, bool(held)

    def _kind(self, folder: Folder, common: set[str], series: set[str]) -> str:
        """Of one folder among others, what its names say.

        "student" or "class"; "many", a class unless one student put strangers' names on notebooks; "two" or "one", which may
        be either: so many notebooks of this lab lie in it under people's names.
        """
        if folder.claimed:
            return "class"
        if self._knows(folder.name):
            return "student"
        branch = self._branch(folder)
        items = [(rest, thing) for rest, thing in self._items(branch) if rest not in common]
        if any(self._knows(_called(thing)) for _, thing in items):
            return "class"
        way = [rest for part in branch.path[len(folder.path) :] if (rest := self._rest(part)) and rest not in common]
        whole, (authors, told) = self._is_whole(folder), self._authors(items)
        authors = authors or way[:1]
        if authors and not whole and self._rest(folder.name) in {"", *series}:
            return "class"  # "late", "group 3", "class 2301" beside "class 2302"
        own = student_names.same(folder.name) in {student_names.same(_called(thing)) for _, thing in items}
        if own or not authors or (whole and len(authors) < 3):
            return "student"
        if len(authors) == 1 or (not told and (folder.is_archive or len(authors) == 2)):
            return "one"
        if sum(bool(re.search(r"\d{6}", author)) for author in authors) > 1:  # students' numbers
            return "class"
        return "many" if len(authors) > 2 else "two"

    # who is who

    def _is_work(self, file: File) -> bool:
        return file.is_notebook or not _LISTS.search(file.name)

    def _is_hand_in(self, file: File, among_notebooks: bool, at_top: bool) -> bool:
        """Of a file beside students' work: is it a student's, or what somebody needs for it?"""
        if not self._is_work(file):
            return False
        named = bool(self._rest(file.stem))
        if file.is_notebook:
            given_out = self.lab.name.casefold() in file.stem.casefold() and self.lab.is_blank(file)
            return named or not given_out
        if among_notebooks or at_top:
            return not _DATA.search(file.name)
        return named and not _TOOLS.search(file.name)

    def _people(self, folder: Folder) -> None:
        """Students of a folder that is not one student's own."""
        kids = list(folder.folders.values())
        among = any(file.is_notebook for file in folder.files)
        at_top = folder is self.inbox.top and not kids
        flat = [file for file in folder.files if self._is_hand_in(file, among, at_top)]
        notebooks = [file for file in flat if file.is_notebook]
        theirs = set(flat)
        for file in folder.files:
            if file not in theirs:
                self.inbox.ignored[file.shown] = "is no student's: a list, the lab itself, or a file beside students' work"
        for kid in list(kids):
            if not any(kid.walk()) and not self._rest(kid.name):
                kids.remove(kid)
                self.inbox.ignored["/".join(kid.path)] = "an empty folder"
            elif kid.claimed and not any(self._is_work(file) for file in kid.walk()):
                kids.remove(kid)
                for file in kid.walk():
                    self.inbox.ignored[file.shown] = "is no student's: a list of the platform"
        if len(kids) == 1 and not flat:
            self._only(kids[0])
            return
        self._flat(folder, flat)
        rests = [{rest for rest, _ in self._items(self._branch(kid))} for kid in kids]
        counts = Counter(rest for own_rests in rests for rest in own_rests)
        common = {rest for rest, count in counts.items() if count > 2 and 2 * count > len(kids)}  # "my functions", in each
        series = self._series(kids)
        kinds = {kid: self._kind(kid, common, series) for kid in kids}
        for kid, kind in self._settled(kinds, len(notebooks)).items():
            if kind == "class":
                self._people(kid)
            else:
                self._own(kid, held=kind == "held")

    def _series(self, kids: list[Folder]) -> set[str]:
        """Names that differ in a number only, as classes' do; not "li" and "li2", with one notebook in each."""
        alike: dict[str, list[Folder]] = defaultdict(list)
        for kid in kids:
            alike[self._rest(kid.name)].append(kid)
        return {
            rest
            for rest, several in alike.items()
            if len(several) > 1 and (not rest or any(map(self._is_more_than_one_s, several)))
        }

    def _is_more_than_one_s(self, kid: Folder) -> bool:
        """Do several names stand in it, a student's number, or folders? Of a "class" one name is enough."""
        branch = self._branch(kid)
        rests = {rest for rest, _ in self._items(branch)} - {""}
        if rests and _CLASS.search(kid.name):
            return True
        return branch is not kid or len(rests) > 1 or any(re.search(r"\d{6}", rest) for rest in rests)

    def _settled(self, kinds: dict[Folder, str], flat: int) -> dict[Folder, str]:
        """What the others tell of a folder that may be a student's or a class: "student", "class" or "held".

        Args:
            flat: how many students' notebooks lie beside the folders.
        """
        of = {
            kind: [kid for kid, kid_kind in kinds.items() if kid_kind == kind] for kind in ("student", "many", "two", "one")
        }
        bare = [kid for kid in of["student"] if not any(file.is_notebook for file in kid.walk())]
        firm = flat + len(of["student"]) - len(bare) + (len(of["one"]) if len(of["one"]) > 2 else 0)
        settled = dict(kinds)
        for kid in of["many"]:
            count = len(self._items(self._branch(kid)))
            settled[kid] = "class"
            if firm >= (count if kid.is_archive else 5 * count):  # one student's, as all beside it are
                settled[kid] = "class" if self.certain else "held"
            elif firm and kid.is_archive:
                self._doubt(kid, [])
        for kid in of["two"]:
            settled[kid] = "student" if firm > 2 else "class"  # two versions by one student, where the others have one each
            if 0 < firm <= 2 and (kid.is_archive or firm > 1):
                settled[kid] = "student" if self.certain else "held"
            elif firm == 1 or (not firm and len(of["two"]) == 1 and not of["many"] and "class" not in kinds.values()):
                self._doubt(kid, of["one"])
        classes = "class" in settled.values() and not firm
        if classes and of["one"] and not self.doubts and "class" not in kinds.values():
            self._doubt((of["many"] + of["two"])[0], of["one"])
        settled |= dict.fromkeys(of["one"], "class" if classes else "student")
        alike = {"", *(self._rest(kid.name) for kid, kind in settled.items() if kind == "class")}
        return settled | {kid: "class" for kid in bare + of["one"] if self._rest(kid.name) in alike and any(kid.walk())}

    def _doubt(self, kid: Folder, others: list[Folder]) -> None:
        count = len(self._items(self._branch(kid)))
        beside = f" and {others[0].name} one" if others else ""
        self.doubts.append(f"{kid.name} holds {count} notebooks{beside}: is such a folder one student's, or a class?")

    def _only(self, kid: Folder) -> None:
        """The one folder or archive that all lies in: most likely the class, unless all in it is one student's."""
        branch = self._branch(kid)
        items = self._items(branch)
        if any(self._knows(_called(thing)) for _, thing in items):
            is_class = True
        elif self._knows(kid.name):
            is_class = False
        elif self._is_whole(branch):
            numbered = bool(_number(branch.name)) and not _number(kid.name)  # 学号-姓名, in folders of a course and a class
            is_class = len(self._authors(items)[0]) > 1 or (branch is not kid and (numbered or not self._rest(kid.name)))
        else:
            papers = [file.stem for file in branch.files if self._is_work(file) and not _TOOLS.search(file.name)]
            people = {self._rest(called) for called in (*papers, *(inner.name for inner in branch.folders.values()))}
            people |= {rest for rest, _ in items}  # in "class 1" and "class 2", which tell nobody apart
            is_class = len(people - {""}) > 1 or not self._rest(kid.name)
        if is_class:
            self._people(kid)
        else:
            self._own(kid)

    def _own(self, folder: Folder, held: bool = False) -> None:
        """A folder that is one student's."""
        layout = "Teams" if _TEAMS & {part.casefold() for part in folder.path} else _FOLDERS
        student = self._student(folder.path[:-1], folder.name, layout)
        inner = next((f for name, f in folder.folders.items() if name.casefold() == self.lab.name.casefold()), None)
        files = list((inner or folder).walk())
        for file in files:
            platforms.note_version(file, file.path[len(folder.path) :])
            file.draft = any(part.casefold() in _IN_WORK for part in folder.path)
        student.files += files
        if inner:
            for file in folder.walk():
                if file not in files:
                    self.inbox.ignored[file.shown] = f"lies beside the folder {self.lab.name}"
        if not files:
            student.empty = folder.name
        if held:
            names = [file.shown for file in files if file.is_notebook and self.lab.is_in(file)]
            student.held = "several notebooks of this lab were handed in, and it is not clear which one is yours"
            student.remark = f"not graded: one student's, or several? {', '.join(names[:3])}; --yes takes the newest"

    def _flat(self, folder: Folder, files: list[File]) -> None:
        """Files that are a student's each; a file that is no notebook goes to the notebook of the same name."""
        parted = self._parted(files)
        by_rest: dict[str, Student] = {}
        for file in sorted(files, key=lambda file: not file.is_notebook):
            who, layout = (parted[file], "Google Classroom") if file in parted else (file.stem, _FILES)
            if file.is_notebook:
                lost = not student_names.words(who) and "?" in who
                student = self._student(folder.path, who, layout, lost)
                by_rest.setdefault(self._rest(who), student)
            else:
                known = (_container(folder.path), student_names.same(who)) in self.by_key
                student = (not known and self._rest(who) and by_rest.get(self._rest(who))) or self._student(
                    folder.path, who, layout
                )
            student.files.append(file)

    def _parted(self, files: list[File]) -> dict[File, str]:
        """The person in "Jane Doe - lab.ipynb" or "lab - Jane Doe.ipynb", and then in "Jane Doe - whatever.pdf"."""
        matches = {file: match for file in files if (match := _PARTS.match(file.stem))}
        person_of = {}
        for file, match in matches.items():
            one, other = self._rest(match[1]), self._rest(match[2])
            if bool(one) != bool(other):
                person_of[file] = match[1] if one else match[2]
        first = [file for file, who in person_of.items() if who == matches[file][1]]
        if (
            2 * len(first) > len(matches) and len(first) > 1
        ):  # Classroom's: the person stands first, before any name of a file
            person_of |= {
                file: match[1] for file, match in matches.items() if file not in person_of and self._rest(match[1])
            }
        people = {student_names.same(who) for who in person_of.values()}
        for file, match in matches.items():
            if file not in person_of and student_names.same(match[1]) in people:
                person_of[file] = match[1]
        return person_of

    def _student(self, parents: tuple[str, ...], name: str, layout: str, lost: bool = False) -> Student:
        key = (_container(parents), student_names.same(name))
        if lost and key in self.by_key:  # a name of which nothing but "???" is left stands for any number of people
            key = (key[0], f"{key[1]} ({sum(k[1].startswith(key[1]) for k in self.by_key) + 1})")
        return self.by_key.setdefault(key, Student(key[1], key[1], key[1], layout, place=key[0]))


def _container(parents: Iterable[str]) -> tuple[str, ...]:
    """Where students lie together. An archive and the folder that it was unpacked to are one place, "late" is none."""
    parts: list[str] = []
    for part in parents:
        part = student_names.same(archive.SUFFIX.sub("", part))
        part = "" if part.casefold() in _TEAMS else part
        if not _LATE.fullmatch(part) and parts[-1:] != [part]:
            parts.append(part)
    return tuple(parts)


def _tell_apart(students: list[Student]) -> None:
    """Labels and ids that differ; where two students have one name, the folder they lie in is added."""
    by_name: dict[str, list[Student]] = defaultdict(list)
    for student in students:
        by_name[student.label].append(student)
    for name, several in by_name.items():
        if len(several) > 1:
            for student in several:
                student.label = student.id = f"{name} ({next(reversed(student.place), student.layout)})"
                student.remark = f"the name {name} stands in {len(several)} places and is taken for {len(several)} students"
    taken: Counter[str] = Counter()
    for student in students:
        taken[student.label] += 1
        if taken[student.label] > 1:
            student.label = f"{student.label} ({taken[student.label]})"
    numbers = {student: _number(student.name) for student in students if student.layout in (_FILES, _FOLDERS)}
    counts = Counter(numbers.values())
    for student, number in numbers.items():
        if number and counts[number] == 1 and student.id == student.name:
            student.id = number


def _called(thing: File | Folder) -> str:
    return thing.stem if isinstance(thing, File) else thing.name


def _number(name: str) -> str:
    """The student's number in a name such as 2023001-张伟, if there is one."""
    numbers = re.findall(r"(?<![A-Za-z\d])\d{6,}(?![A-Za-z\d])", name)
    return numbers[0] if len(numbers) == 1 else ""
