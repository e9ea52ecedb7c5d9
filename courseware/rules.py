"""What a chapter must keep to, checked in its sources in a second, in words.

`course notebooks` refuses what is broken before it runs anything, and says what is wanting; `course test` refuses both.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

from nbformat import NotebookNode

from . import build, cell_names, glossary, references
from .chapters import PLAIN_TAGS, ROLES, ROOT, Chapter, ChapterError, cells_of, exercises, first_lines, read, role, tags
from .grading.verdict import split
from .pages import chinese

EXERCISES = (5, 9)
MUTANTS = 3  # for each exercise
TERMS = 5  # in lecture and lab together
QUIZ = (6, 10)  # questions
CHOICES = 5  # of them with choices
OPTIONS = {"tags", "title", "lines_to_next_cell", "lines_to_end_of_cell_marker"}  # the second and later are jupytext's own
_IN_PROSE = re.compile(r"(?<!it says )\*\*Predict\b|\bmy_guess\b")  # a prediction that nobody can commit to
_FIGURE = re.compile(r"\bplt\.|\bplots\.|\.plot\(")


def broken(chapter: Chapter) -> list[str]:
    """Why a chapter cannot be built, run or graded: one sentence for each fault."""
    sources = [path for path in (chapter.lecture_source, chapter.lab_source, _mutants(chapter)) if path.exists()]
    faults = [fault for path in sources for fault in (*_bad_cells(path), *_bad_calls(path))]
    if faults:
        return faults  # the rest needs sources that can be read
    try:
        build.targets(chapter)
    except ChapterError as error:
        return [str(error)]
    faults += [
        fault for path in (chapter.lecture_source, chapter.lab_source) if path.exists() for fault in _missing_names(path)
    ]
    faults += _hidden_without(chapter)
    faults += _mutants_astray(chapter) if _mutants(chapter).exists() else []
    return faults


def wanting(chapter: Chapter) -> list[str]:
    """What this course asks of a chapter besides, and it has not."""
    exercise_names = exercises(read(chapter.lab_source))
    faults = []
    if not EXERCISES[0] <= (count := len(exercise_names)) <= EXERCISES[1]:
        faults.append(f"lab.py has {_some(count, 'exercise')}; a lab has {EXERCISES[0]} to {EXERCISES[1]}")
    faults += _few_mutants(chapter, exercise_names)
    for path in (chapter.lecture_source, chapter.lab_source):
        if path.exists() and not any(_FIGURE.search(cell.source) for cell in read(path).cells if cell.cell_type == "code"):
            faults.append(f"{path.name} draws no figure; lecture and lab have one each")
    if (terms := len(references.marked_terms([chapter]))) < TERMS:
        introduced = f"{_some(terms, 'term')} with their Chinese, as *calibration* (校准)"
        faults.append(f"lecture and lab introduce {introduced}; {TERMS} are asked for")
    try:
        faults += glossary.missing([chapter])
    except ChapterError as error:
        faults.append(str(error))
    if chapter.lecture_source.exists():
        if not chinese(read(chapter.lecture_source)):
            faults.append("lecture.py has no Chinese title; below the title stands **what it is about** (它的中文名)")
        faults += _quiz(chapter.lecture_source)
    for path in (chapter.lecture_source, chapter.lab_source):
        faults += _predictions_in_prose(path) if path.exists() else []
    return faults + references.unlisted(chapter)


def refuse(chapter: Chapter) -> None:
    """Stop before anything is run.

    Raises:
        ChapterError: the chapter is broken; the message lists each fault.
    """
    if faults := broken(chapter):
        raise ChapterError("\n  ".join([f"chapters/{chapter.name} cannot be built:", *faults]))


def _mutants(chapter: Chapter) -> Path:
    return chapter.folder / "mutants.py"


def _cells(path: Path) -> Iterator[tuple[NotebookNode, Callable[[int], str]]]:
    """Each cell of a source, and what names a line of it: 0 is where the cell begins."""
    cells = read(path).cells
    firsts = first_lines(path.read_text(encoding="utf-8"))
    for i, cell in enumerate(cells):
        first = firsts[i] if len(firsts) == len(cells) else None  # jupytext also takes cells without a mark
        yield cell, partial(_place, path.name, first)


def _place(name: str, first: int | None, line: int = 0) -> str:
    return f"{name}, line {first + line}" if first is not None else name


def _bad_cells(path: Path) -> Iterator[str]:
    """Slips of the pen: code that is not Python, tags and cell options that nobody knows."""
    for cell, at in _cells(path):
        if unknown := set(cell.metadata) - OPTIONS:
            yield f"{at(0)}: a cell has no option {_near(unknown.pop(), OPTIONS)}"
        for tag in tags(cell):
            if tag.split(":")[0] not in ROLES and tag not in PLAIN_TAGS:
                yield f"{at(0)}: there is no tag {_near(tag, {*PLAIN_TAGS, *ROLES})}"
        try:
            role(cell)
        except ChapterError as error:
            yield f"{at(0)}: {error}"
        if cell.cell_type == "code":
            try:
                ast.parse(cell_names.python(cell.source))
            except SyntaxError as error:
                yield f"{at(error.lineno or 0)}: {error.msg}: {(error.text or '').strip()}"


def _near(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word.split(":")[0], known, n=1)
    return f"{word!r}" + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}")


def _bad_calls(path: Path) -> Iterator[str]:
    """Calls of the helper package with a keyword that its function does not have."""
    for cell, at in _cells(path):
        try:
            tree = ast.parse(cell_names.python(cell.source) if cell.cell_type == "code" else "")
        except SyntaxError:
            continue  # said by _bad_cells
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            known = _keywords().get(ast.unparse(call.func))
            for keyword in call.keywords:
                if known is not None and keyword.arg and keyword.arg not in known:
                    yield f"{at(call.lineno)}: {ast.unparse(call.func)}() has no argument {_near(keyword.arg, known)}"


@lru_cache
def _keywords() -> dict[str, set[str]]:
    """`lab.start` → its arguments, for each function of the helper package that takes no others; read, not imported."""
    keywords = {}
    folder = ROOT / "course_utils"
    for path in (*folder.glob("*.py"), *folder.glob("interactives/*.py")):
        module = path.stem if path.parent == folder else path.parent.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not node.args.kwarg:
                known = {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]}
                keywords[f"{module}.{node.name}"] = known
                if path.stem == "models":
                    keywords[node.name] = known  # load_model, generate
    return keywords


def _quiz(path: Path) -> Iterator[str]:
    """What is wrong with a lecture's quiz, as far as its source tells: what code makes is counted when it is built."""
    calls = [node for node in ast.walk(ast.parse(_code(path))) if isinstance(node, ast.Call)]
    quizzes = [call for call in calls if ast.unparse(call.func) == "widgets.quiz"]
    if not quizzes:
        yield "lecture.py asks no quiz; a lecture ends with one: widgets.quiz([…]) under ## Quiz"
    questions = [question for call in quizzes for question in _written(call)]
    if len(quizzes) == 0 or None in questions:
        return
    choices = sum("options" in question for question in questions if question)
    if not (QUIZ[0] <= len(questions) <= QUIZ[1] and choices >= CHOICES):
        asked = f"{_some(len(questions), 'question')}, {choices} with choices"
        yield f"the quiz of lecture.py asks {asked}; it has {QUIZ[0]} to {QUIZ[1]}, at least {CHOICES} with choices"


def _written(quiz: ast.Call) -> list[set[str | None] | None]:
    """The arguments of each question of a quiz, where they are written down; None for what code makes."""
    if not quiz.args or not isinstance(quiz.args[0], ast.List):
        return [None]
    questions: list[set[str | None] | None] = []
    for element in quiz.args[0].elts:
        if isinstance(element, ast.Call) and ast.unparse(element.func) == "dict":
            names = {keyword.arg for keyword in element.keywords}
        elif isinstance(element, ast.Dict):
            names = {str(key.value) if isinstance(key, ast.Constant) else None for key in element.keys}
        else:
            names = {None}
        questions.append(None if None in names else names)
    return questions


def _code(path: Path) -> str:
    return "\n".join(cell_names.python(cell.source) for cell in read(path).cells if cell.cell_type == "code")


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _predictions_in_prose(path: Path) -> Iterator[str]:
    for cell, at in _cells(path):
        for line, text in enumerate(cell.source.splitlines(), 1):
            if _IN_PROSE.search(text):
                yield f"{at(line)}: a reader can commit to a prediction only where widgets.predict(…) asks for it"


def _missing_names(path: Path) -> Iterator[str]:
    cells = list(_cells(path))
    for gap in cell_names.missing([cell for cell, _ in cells]):
        at = next(at for cell, at in cells if cell is gap.cell)
        yield f"{at(0)}: this cell uses {gap.name}, {gap.why}"


def _hidden_without(chapter: Chapter) -> Iterator[str]:
    """The grader asks each hidden test for what the answer gives, in its own cases and in those of the visible tests.

    It judges outside of the box, where of the cell there is check() only.
    """
    for cell, at in _cells(chapter.lab_source):
        cell_role = role(cell)
        if cell_role and cell_role.kind == "hidden":
            made = cell_names.names_of(cell.source).makes
            for function in ("probe", "visible"):
                if function not in made:
                    yield f"{at(0)}: the hidden test of {cell_role.exercise} has no function {function}()"
            inside, outside = map(cell_names.names_of, split(cell_names.python(cell.source)))
            for name in sorted((outside.needs | outside.later) & inside.makes):
                yield (
                    f"{at(0)}: check() of the hidden test of {cell_role.exercise} uses {name}, which stands beside it; "
                    "the grader calls check() where the rest of the cell is not"
                )


def _mutants_astray(chapter: Chapter) -> Iterator[str]:
    lab = read(chapter.lab_source)
    known = exercises(lab)
    for cell, at in _cells(_mutants(chapter)):
        cell_role = role(cell)
        if cell_role and cell_role.exercise not in known:
            listed = ", ".join(known)
            yield f"{at(0)}: a wrong solution of {cell_role.exercise}, which is none of the lab's exercises: {listed}"
    for gap in cell_names.missing_in_mutants(read(_mutants(chapter)).cells, lab.cells):
        yield f"mutants.py: a wrong solution ({gap.cell.source.splitlines()[0].lstrip('# ')}) uses {gap.name}, {gap.why}"


def _few_mutants(chapter: Chapter, names: list[str]) -> Iterator[str]:
    if not _mutants(chapter).exists():
        yield f"there is no mutants.py: {MUTANTS} known wrong solutions of each exercise, which the tests must reject"
        return
    wrong = read(_mutants(chapter))
    for name in names:
        if (count := len(list(cells_of(wrong, "mutant", name)))) < MUTANTS:
            yield f"mutants.py has {_some(count, 'wrong solution')} of {name}; {MUTANTS} are asked for"
