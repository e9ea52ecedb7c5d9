"""The bar that every notebook must clear, measured on what is committed: lectures and solved labs with their outputs."""

from __future__ import annotations

import ast
import json
import re
import statistics
from collections.abc import Iterator

import nbformat
import pytest
from nbformat import NotebookNode

from course_utils.assets import lifted
from courseware import quizzes, references, rules
from courseware.alt_text import NO_LABEL, NO_TITLE
from courseware.build import COLAB_TAG, translated
from courseware.cell_names import names_of, python
from courseware.chapters import FOLDERS, ROLES, Chapter, all_chapters, exercises, html_of, read, role, tags
from courseware.explorers import LECTURE_BYTES

CHAPTERS = all_chapters()
EVERY_CHAPTER = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
EXECUTED = pytest.mark.parametrize(
    "path", [p for c in CHAPTERS for p in (c.lecture, c.solution)], ids=lambda path: f"{path.parent.name}/{path.name}"
)
MEDIAN_LINES = 12
GIVEN_LINES = 20
FLAGSHIP_BYTES = 300_000  # of an interactive: its data, and the picture that stands for it without scripts
# a warning of Python's, of a library's logger, or what a progress bar leaves behind
DEBRIS = re.compile(r"\w*Warning:|\bWARNING\b|\d+%\|[█▏▎▍▌▋▊▉# ]*\||\bit/s\b|FloatProgress\(|Traceback \(most recent")
EXPLORER = re.compile(r'<div class="course-explorer".*?class="course-data">(.*?)</script>', re.DOTALL)
ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:root|home|Users|tmp|work|content|private|usr|opt)/|\b[A-Z]:\\\\?\w")


# a device by its name, or float64 made on one that may have none; and where a GPU itself is the subject
DEVICE = re.compile(r"""["'](?:cuda|mps)(?::\d)?["']|\.cuda\(|\.double\(\)\.cpu\(""")
ABOUT_A_GPU = re.compile(r"hardware\.(?:fits|check|plan)\(|load_model\(.*device=\"cuda\"")


def code_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    for cell in notebook.cells:
        if cell.cell_type == "code" and COLAB_TAG not in tags(cell) and cell.source.strip():
            yield cell


def lines_of_code(source: str) -> int:
    """Lines without blank ones, comments and docstrings: these are for reading, and an exercise's docstring is its task."""
    tree = ast.parse("\n".join("pass" if line.lstrip().startswith("%") else line for line in source.splitlines()))
    prose: set[int] = set()
    for node in ast.walk(tree):
        first = node.body[0] if isinstance(node, ast.FunctionDef | ast.ClassDef) else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            prose |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(n not in prose and bool(line.strip()) and not line.lstrip().startswith("#") for n, line in lines)


def functions_and_others(source: str) -> tuple[set[str], set[str]]:
    """The functions and classes that a cell makes, and its other names, for the cells after it."""
    body = ast.parse(python(source)).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return functions, names_of(source).makes - functions


@EVERY_CHAPTER
def test_no_later_cell_takes_the_name_of_a_function_that_a_test_calls(chapter: Chapter) -> None:
    """Hidden tests are asked at the end: by then the function must be what it was beside its exercise."""
    cells = [cell for cell in read(chapter.lab_source).cells if cell.cell_type == "code"]
    tests = "\n".join(cell.source for cell in cells if (found := role(cell)) and found.kind in ("tests", "hidden"))
    called = {node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name)} - functions_and_others(tests)[1]
    defined: set[str] = set()
    for cell in cells:
        functions, names = functions_and_others(cell.source)
        assert not names & defined & called, f"{cell.source.splitlines()[0]} …"
        if not role(cell):
            defined |= functions


def shown(output: NotebookNode) -> str:
    """The text of an output, as a reader sees it."""
    if output.output_type == "stream":
        return str(output.text)
    data = output.get("data", {})
    return "\n".join(str(data[kind]) for kind in ("text/plain", "text/html", "text/markdown") if kind in data)


@EXECUTED
def test_no_cell_names_a_device(path) -> None:  # type: ignore[no-untyped-def]
    """Tensors go where the model is (CONTRIBUTING, "Devices")."""
    lines = [line for cell in code_cells(nbformat.read(path, as_version=4)) for line in cell.source.splitlines()]
    assert not [line for line in lines if DEVICE.search(line) and not ABOUT_A_GPU.search(line)]


@EXECUTED
def test_cells_are_short(path) -> None:  # type: ignore[no-untyped-def]
    cells = list(code_cells(nbformat.read(path, as_version=4)))
    lines = [lines_of_code(cell.source) for cell in cells]
    assert statistics.median(lines) <= MEDIAN_LINES, sorted(zip(lines, (cell.id for cell in cells), strict=True))[-5:]


@EVERY_CHAPTER
def test_long_given_code_is_folded(chapter: Chapter) -> None:
    """Code that a student only runs is no wall to scroll past; exercises and their tests are what he reads."""
    cells = [cell for source in (chapter.lecture_source, chapter.lab_source) for cell in code_cells(read(source))]
    given = [cell for cell in cells if not any(tag.split(":")[0] in ROLES for tag in tags(cell))]
    open_ = [
        cell.source.splitlines()[0]
        for cell in given
        if lines_of_code(cell.source) > GIVEN_LINES and "hide-input" not in tags(cell)
    ]
    assert open_ == [], 'give them the tag "hide-input", or shorten them'


@EVERY_CHAPTER
def test_the_summary_names_every_exercise(chapter: Chapter) -> None:
    """What stands below the solved lab was printed by the lab as it is, with all its exercises."""
    last = [c for c in code_cells(nbformat.read(chapter.solution, as_version=4)) if "lab.summary(" in c.source][-1]
    says = "".join(map(shown, last.outputs))
    assert [name for name in exercises(read(chapter.lab_source)) if name not in says] == []


@EXECUTED
def test_every_figure_says_what_it_shows(path) -> None:  # type: ignore[no-untyped-def]
    """Title, axis labels, and all of it as alternative text: made from the figure itself (courseware/alt_text.py)."""
    figures = 0
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                figures += 1
                text = output.metadata.get("image/png", {}).get("alt", "")
                assert text, f"{cell.id}: a figure without alternative text; `course notebooks --all` writes it"
                assert NO_TITLE not in text and NO_LABEL not in text, f"{cell.id}: {text}"
    assert figures, "lecture and lab draw a figure each"


@EXECUTED
def test_explorers_are_small_and_say_what_they_show(path) -> None:  # type: ignore[no-untyped-def]
    """Each picture that is stored for a reader without a kernel has its text, and all of them fit into a page."""
    explorers = []
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for output in cell.outputs:
            html = html_of(output)
            if 'class="course-flagship' in html:
                assert len(lifted(html)[0].encode()) <= FLAGSHIP_BYTES, cell.id
            if data := EXPLORER.search(html):
                explorers.append(data[0])
                alts = json.loads(data[1])["alts"]
                assert all(alts) or not json.loads(data[1])["pictures"], f"{cell.id}: a picture without alternative text"
                assert not [alt for alt in alts if NO_TITLE in alt or NO_LABEL in alt], f"{cell.id}: {alts}"
    assert sum(map(len, explorers)) <= LECTURE_BYTES, [len(explorer) for explorer in explorers]


@EVERY_CHAPTER
def test_every_prediction_is_told_what_came_out(chapter: Chapter) -> None:
    """An answer finds its question by a name, which changes with the question's words; so both are of the same run."""
    others = [path for language in FOLDERS if (path := translated(chapter.lecture, language)).exists()]
    for path in (chapter.lecture, *others, chapter.solution):
        cells = code_cells(nbformat.read(path, as_version=4))
        shown_html = "".join(html_of(output) for cell in cells for output in cell.outputs)
        answered = re.findall(r'data-of="([^"]+)"', shown_html)
        asked = dict(re.findall(r'course-predict" data-name="([^"]+)" ([^>]*)', shown_html))
        assert sorted(answered) == sorted(name for name, rest in asked.items() if "data-answer" not in rest), path


@EVERY_CHAPTER
def test_a_lecture_ends_with_a_quiz(chapter: Chapter) -> None:
    """Each of its choices has an explanation."""
    quiz = quizzes.stored(nbformat.read(chapter.lecture, as_version=4))
    assert rules.QUIZ[0] <= quizzes.count(quiz) <= rules.QUIZ[1], rules.QUIZ
    assert quiz.count("<li data-option=") == quiz.count('class="course-option"')


@EXECUTED
def test_stored_outputs_are_clean(path) -> None:  # type: ignore[no-untyped-def]
    for cell in code_cells(nbformat.read(path, as_version=4)):
        assert "raises-exception" in tags(cell) or all(output.output_type != "error" for output in cell.outputs), cell.id
        for output in cell.outputs:
            found = DEBRIS.search(shown(output))
            assert not found, f"{cell.id}: {shown(output)[max(0, found.start() - 80) : found.end() + 80]}"


@EXECUTED
def test_no_absolute_paths(path) -> None:  # type: ignore[no-untyped-def]
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        texts = [cell.source, *(shown(output) for output in cell.get("outputs", []))]
        found = next(filter(None, map(ABSOLUTE.search, texts)), None)
        assert not found, f"{cell.id}: {found.string[max(0, found.start() - 60) : found.end() + 60]}"


@EVERY_CHAPTER
def test_every_citation_is_in_the_list(chapter: Chapter) -> None:
    """By key or by hand, in prose or in code: it answers to an item under "Further reading" of the lecture or the lab."""
    assert references.listed(chapter)
    assert references.unlisted(chapter) == []


def test_every_work_is_cited_once_and_can_be_found() -> None:
    assert references.untidy(CHAPTERS) == []


@EVERY_CHAPTER
def test_terms_come_with_their_chinese(chapter: Chapter) -> None:
    assert len(references.marked_terms([chapter])) >= rules.TERMS


def test_lines_of_code() -> None:
    source = '# why\n\ndef f(x):\n    """What\n    it is.\n    """\n    return x  # so\n\n\n%matplotlib inline\nf(1)'
    assert lines_of_code(source) == 4
