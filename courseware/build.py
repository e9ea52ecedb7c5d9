"""chapters/NN_topic/{lecture,lab}.py → lectures/, labs/ and the instructor's solution.

A lecture and a solution are executed; a student's lab is not. Everything but outputs follows from the sources alone, so a
committed notebook can be checked against them without running it (`stale`). A chapter's notebooks are replaced together:
when a cell fails, none is.
"""

from __future__ import annotations

import ast
import copy
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.preprocessors import ClearSolutions

from course_utils import __version__, tables
from course_utils.assets import refreshed

from . import deck
from .cell_names import names_of
from .chapters import (
    ENGLISH,
    FOLDERS,
    N_,
    SLIDE_TAGS,
    Chapter,
    ChapterError,
    Role,
    UnreadableError,
    built,
    cells_of,
    exercises,
    html_of,
    read,
    repository,
    role,
    tags,
    words,
)
from .files import whole
from .grading.failing_cases import marks
from .kernels import Client, Hangs
from .references import expand

_KERNEL = "python3"  # starts without an import, so a module that a notebook uses and does not import is noticed
COLAB_TAG = "colab-setup"

_COLAB_CELL = """\
# {about}
import os
import sys

{language}if "google.colab" in sys.modules or {{"KAGGLE_KERNEL_RUN_TYPE", "MODELSCOPE_ENVIRONMENT"}} & os.environ.keys():
    %pip install --quiet "course_utils @ git+{source}"
"""

# Pictures get a text, and explorers a form that needs no kernel.
_INSTALL = """\
from courseware import alt_text, explorers

alt_text.install()
explorers.install()
"""

_ABOUT_COLAB = N_(
    "In Colab, Kaggle and ModelScope this cell installs the course's helper package (half a minute); elsewhere nothing."
)
# a notebook in another language asks the helper package for its messages in that language
_LANGUAGE_LINE = 'os.environ.setdefault("COURSE_LANG", "{language}")\n'
_OPEN_IN = N_("Open in {place}")
# where a notebook of a public repository opens by its address alone; Colab first
_HOSTS = {
    "Colab": "https://colab.research.google.com/github/{path}",
    "Kaggle": "https://kaggle.com/kernels/welcome?src=https://github.com/{path}",
    "ModelScope": "https://modelscope.cn/notebook/share/github/{path}",
}
_CREDIT = N_(
    "This lecture implements a part of the deck 大语言模型基础 (*Foundations of large language models*) by "
    "[张倬胜 (Zhuosheng Zhang)](https://bcmi.sjtu.edu.cn/home/zhangzs/), 上海交通大学 (Shanghai Jiao Tong University). "
    "His hands-on tutorials are 动手学大模型 ([*Dive into LLMs*](https://github.com/Lordog/dive-into-llms)). "
    "Sentences, code, figures and errors are this course's own."
)
_CREDIT_BEYOND = N_(
    "This lecture goes beyond the deck that the others implement: "
    "大语言模型基础 (*Foundations of large language models*) by "
    "[张倬胜 (Zhuosheng Zhang)](https://bcmi.sjtu.edu.cn/home/zhangzs/), 上海交通大学 (Shanghai Jiao Tong University). "
    "His hands-on tutorials are 动手学大模型 ([*Dive into LLMs*](https://github.com/Lordog/dive-into-llms))."
)
_HIDDEN_CELL = N_(
    "# Hidden tests of `{exercise}` ({points} {noun}) run here when your lab is graded: the same function, other inputs."
)


def plain_lecture(chapter: Chapter) -> NotebookNode:
    """The lecture's source with names for its cells: what is translated."""
    notebook = read(chapter.lecture_source)
    name_cells(notebook)
    return notebook


def lecture(chapter: Chapter, language: str = ENGLISH) -> NotebookNode:
    """The lecture as a notebook with slideshow metadata, not executed."""
    notebook = plain_lecture(chapter)
    _in_language(notebook, chapter, language)
    expand(notebook, chapter)
    for cell in notebook.cells:
        cell.metadata["slideshow"] = {"slide_type": _slide_type(cell)}
    return _finish(notebook, chapter, "lectures", language)


def solution(chapter: Chapter) -> NotebookNode:
    """The solved lab, without hidden tests, not executed."""
    notebook = _checked_lab(chapter)
    expand(notebook, chapter)
    notebook.cells = [cell for cell in notebook.cells if cell not in list(cells_of(notebook, "hidden"))]
    for cell in notebook.cells:
        cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", cell.source, flags=re.MULTILINE).rstrip("\n")
    return _finish(notebook, chapter, None)


def plain_lab(chapter: Chapter) -> NotebookNode:
    """The lab's source with names for its cells and without its solutions; hidden tests are there: what is translated."""
    notebook = _checked_lab(chapter)
    for cell in cells_of(notebook, "exercise"):
        cell_role = role(cell)
        assert cell_role is not None
        cell.source = _without_solution(cell, cell_role)
    return notebook


def unseen(chapter: Chapter) -> list[str]:
    """Code that uses a lab's names and that a student does not get: solutions and hidden tests."""
    notebook = read(chapter.lab_source)
    return [cell.source for kind in ("exercise", "hidden") for cell in cells_of(notebook, kind)]


def _in_language(notebook: NotebookNode, chapter: Chapter, language: str, unseen: Iterable[str] = ()) -> None:
    """Write a chapter's translations in place of the English."""
    if language != ENGLISH:
        from .translation import catalogue
        from .translation.notebook import translate

        translate(notebook, catalogue.load(chapter.catalogue(language)), unseen)


def student_lab(chapter: Chapter, language: str = ENGLISH) -> NotebookNode:
    """The student's notebook: nbgrader metadata, no solution, no hidden test, no output."""
    notebook = plain_lab(chapter)
    _in_language(notebook, chapter, language, unseen(chapter))
    expand(notebook, chapter)
    for cell in notebook.cells:
        cell_role = role(cell)
        if cell_role is None:
            continue
        if cell_role.kind == "hidden":
            noun = "point" if cell_role.points == 1 else "points"
            cell.source = words(language)(_HIDDEN_CELL, exercise=cell_role.exercise, points=cell_role.points, noun=noun)
        cell.metadata["nbgrader"] = _nbgrader_metadata(cell_role)
        cell.metadata["deletable"] = False
        if cell_role.kind != "exercise":
            cell.metadata["editable"] = False
    _run_past_errors(notebook)
    return _finish(notebook, chapter, "labs", language)


def meant_to_fail(chapter: Chapter) -> set[str]:
    """Ids of a lab's cells that fail for a lesson. In the student's notebook any cell may, and has the same tag."""
    return {cell.id for cell in solution(chapter).cells if "raises-exception" in tags(cell)}


def _run_past_errors(notebook: NotebookNode) -> None:
    """Let "Run All" reach the end of a lab that is half solved: Jupyter goes on after cells with this tag."""
    first = notebook.cells.index(next(cells_of(notebook, "exercise")))
    for cell in notebook.cells[first:]:
        if cell.cell_type == "code" and "raises-exception" not in tags(cell):
            cell.metadata["tags"] = [*tags(cell), "raises-exception"]


def _without_solution(cell: NotebookNode, cell_role: Role) -> str:
    """nbgrader's own removal of what is between the solution marks, with a stub that names the exercise."""
    stub = f'raise NotImplementedError("exercise {cell_role.exercise}: write this function")'
    remover = ClearSolutions(code_stub={"python": stub}, enforce_metadata=False)
    cleared, _ = remover.preprocess_cell(copy.deepcopy(cell), {"language": "python"}, 0)
    return str(cleared.source)


def _nbgrader_metadata(cell_role: Role) -> dict[str, object]:
    solution_cell = cell_role.kind == "exercise"
    metadata: dict[str, object] = {
        "grade": not solution_cell,
        "grade_id": cell_role.grade_id,
        "locked": not solution_cell,
        "schema_version": 3,
        "solution": solution_cell,
        "task": False,
    }
    if not solution_cell:
        metadata["points"] = cell_role.points
    return metadata


def _checked_lab(chapter: Chapter) -> NotebookNode:
    """The lab's source; an exercise without solution marks, visible or hidden tests is refused."""
    notebook = read(chapter.lab_source)
    names = exercises(notebook)
    where = chapter.lab_source.name
    if len(set(names)) != len(names):
        raise ChapterError(f"{where}: an exercise name is used twice: {names}")
    for name in names:
        for kind in ("tests", "hidden"):
            if not list(cells_of(notebook, kind, name)):
                raise ChapterError(f"{where}: exercise {name} has no cell tagged {kind}:{name}:POINTS")
        (cell,) = cells_of(notebook, "exercise", name)
        if cell.source.count("### BEGIN SOLUTION") < 1:
            raise ChapterError(f"{where}: exercise {name} has no ### BEGIN SOLUTION … ### END SOLUTION")
    for kind in ("tests", "hidden"):
        for cell in cells_of(notebook, kind):
            cell_role = role(cell)
            if cell_role and cell_role.exercise not in names:
                raise ChapterError(f"{where}: {kind}:{cell_role.exercise} belongs to no exercise; there are {names}")
    for cell in cells_of(notebook, "hidden"):
        marks(cell.source)  # or says what is wrong with one
    start = next((cell.source for cell in notebook.cells if "lab.start(" in cell.source), "")
    listed = re.findall(r'"([a-z0-9_]+)"', start.partition("exercises=")[2])
    if listed != names:
        raise ChapterError(f"{where}: lab.start(…, exercises=[…]) lists {listed}, but the tags say {names}")
    name_cells(notebook)  # before anything is left out: a cell has one name in every notebook
    return notebook


def _slide_type(cell: NotebookNode) -> str:
    for tag in tags(cell):
        if tag in SLIDE_TAGS:
            return tag
    if cell.cell_type == "markdown":
        if re.match(r"##? ", cell.source):
            return "slide"
        if cell.source.startswith("### "):
            return "subslide"
    return "-"


def _finish(notebook: NotebookNode, chapter: Chapter, folder: str | None, language: str = ENGLISH) -> NotebookNode:
    """What all notebooks have: folded cells, the set-up cell, links, plain metadata; a lecture names the deck's author."""
    for cell in notebook.cells:
        if "hide-input" in tags(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}
            cell.metadata["cellView"] = "form"  # the same, in Colab
    say = words(language)
    other = language != ENGLISH
    source = _COLAB_CELL.format(
        about=say(_ABOUT_COLAB),
        language=_LANGUAGE_LINE.format(language=language) if other else "",
        source=pip_source(),
    )
    setup = new_code_cell(source, metadata={"tags": [COLAB_TAG]}, id=COLAB_TAG)
    if folder == "lectures":
        setup.metadata["slideshow"] = {"slide_type": "skip"}
    # after the opening prose, so that the first thing on the page is the title
    first_code = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(first_code, setup)
    if folder:
        links = opens_in(repository().removeprefix("https://github.com/"), _committed(chapter, folder, language)).items()
        shown = " · ".join(f"[{say(_OPEN_IN, place=host)}]({address})" for host, address in links)
        link = new_markdown_cell(shown, id="colab-link")
        if folder == "lectures":
            link.metadata["slideshow"] = {"slide_type": "skip"}
        notebook.cells.insert(first_code, link)
    if folder == "lectures":
        credit = new_markdown_cell(say(_CREDIT if chapter.name in deck.chapters() else _CREDIT_BEYOND), id="credit")
        credit.metadata["slideshow"] = {"slide_type": "slide"}
        notebook.cells.append(credit)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "course": {"chapter": chapter.name, **({"language": language} if language != ENGLISH else {})},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def release_tag() -> str:
    """The tag of this version; "" between releases, when the version ends with ".dev0" and there is no tag to pin."""
    return "" if ".dev" in __version__ else f"v{__version__}"


def pip_source() -> str:
    """Where pip finds the helper package: at the release's tag, so an old notebook meets the helper it was made with."""
    return f"{repository()}@{release_tag()}" if release_tag() else repository()


def opens_in(repo: str, place: str, branch: str = "") -> dict[str, str]:
    """The addresses that open a committed notebook elsewhere, as it is in this release; between releases on main."""
    path = f"{repo}/blob/{branch or release_tag() or 'main'}/{place}"
    return {host: url.format(path=path) for host, url in _HOSTS.items()}


def colab_url(chapter: Chapter, folder: str, language: str = ENGLISH) -> str:
    """Address that opens a committed notebook in Colab."""
    return opens_in(repository().removeprefix("https://github.com/"), _committed(chapter, folder, language))["Colab"]


def _committed(chapter: Chapter, folder: str, language: str) -> str:
    """Where a built notebook stands in the repository."""
    return translated(Path(folder, f"{chapter.name}.ipynb"), language).as_posix()


def translated(path: Path, language: str) -> Path:
    """Where a built notebook stands in a language: lectures/zh/10_quantization.ipynb."""
    return path if language == ENGLISH else path.parent / FOLDERS[language] / path.name


def name_cells(notebook: NotebookNode) -> None:
    """Ids that survive edits: an exercise's cells by their role, others by their section and place in it."""
    section, place = "start", 0
    seen: set[str] = set()
    for cell in notebook.cells:
        headings = re.findall(r"^#{1,4} +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        if headings:
            section = re.sub(r"[^a-z0-9]+", "-", headings[-1].lower()).strip("-")[:40] or "section"
            place = 0
        cell_role = role(cell)
        name = cell_role.grade_id.replace("_", "-") if cell_role else f"{section}-{place}"
        place += 1
        while name in seen:
            name += "x"
        seen.add(name)
        cell.id = name


def execute(notebook: NotebookNode, budget: str, language: str = ENGLISH) -> NotebookNode:
    """Run all cells in an empty folder; outputs without progress bars. A cell may take as long as it prints or computes.

    Raises:
        ChapterError: a cell failed that is not tagged `raises-exception`, or hangs, or the kernel died.
    """
    notebook = copy.deepcopy(notebook)
    notebook.cells.insert(0, new_code_cell(_INSTALL))
    environment = {**os.environ, "COURSE_BUDGET": budget, "COURSE_LANG": language}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = Client(
            notebook,
            timeout=None,
            kernel_name=_KERNEL,
            resources={"metadata": {"path": folder}},
            store_widget_state=True,
            record_timing=False,
        )
        try:
            client.execute(env=environment)
        except (CellExecutionError, DeadKernelError, Hangs) as error:
            raise ChapterError(
                f"{notebook.metadata.course.chapter}: {_failure(error, client.cell, budget, language)}"
            ) from error
    del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress_bar(output)]
    _count(notebook)
    notebook.metadata.language_info = {"name": "python"}
    if budget != "full":
        notebook.metadata.course["budget"] = budget
    return notebook


def _failure(error: Exception, cell: NotebookNode | None, budget: str, language: str) -> str:
    """Which cell failed, on which of its lines, and what to do."""
    message = f"the cell {cell.id} failed" if cell else "the notebook failed"
    if cell and isinstance(error, CellExecutionError):
        trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
        lines = re.findall(r"line (\d+)", trace.partition("Cell In[")[2])
        source = cell.source.splitlines()
        if lines and int(lines[0]) <= len(source):
            message += f" on its line {lines[0]}: {source[int(lines[0]) - 1].strip()}"
        message += f"\n{error.ename}: {error.evalue}"
    elif isinstance(error, DeadKernelError):
        message += ": its kernel died, most often of too little memory."
        message += " `course notebooks --budget quick` runs smaller experiments." if budget == "full" else ""
    else:
        message += f": it {error}."
    which = "" if language == ENGLISH else f" in {language}"
    return f"{message}\nNo notebook of this chapter{which} was replaced."


def _count(notebook: NotebookNode) -> None:
    """Number the cells that ran, as a run from top to bottom does."""
    ran = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count]
    for number, cell in enumerate(ran, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def _is_progress_bar(output: NotebookNode) -> bool:
    """tqdm's bars, as text on stderr or as a widget, say nothing once the run is over."""
    text = output.get("text", "") if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
    return bool(re.match(r"\s*(\S.{0,60}: +)?(\d+%\||\d+it \[)", text)) or (
        output.output_type == "stream" and not text.strip()
    )


def plain(notebook: NotebookNode) -> list[dict[str, object]]:
    """What must be the same in a committed notebook and in one built now: everything but outputs."""
    return [
        {"id": cell.get("id"), "type": cell.cell_type, "source": cell.source, "metadata": dict(cell.metadata)}
        for cell in notebook.cells
    ]


def targets(chapter: Chapter, language: str = ENGLISH) -> list[tuple[Path, NotebookNode, bool]]:
    """(where it is committed, the notebook built now, is it executed) for each notebook of a chapter.

    The solution is the instructor's, and in English alone.

    Raises:
        ChapterError: a source is missing or cannot be built.
    """
    if chapter.lecture.exists() and not chapter.lecture_source.exists():
        raise ChapterError(
            f"lectures/{chapter.lecture.name} has no source: write chapters/{chapter.name}/lecture.py, or delete it."
        )
    made = [(translated(chapter.lab, language), student_lab(chapter, language), False)]
    if language == ENGLISH:
        made.append((chapter.solution, solution(chapter), True))
    if chapter.lecture_source.exists():
        made.insert(0, (translated(chapter.lecture, language), lecture(chapter, language), True))
    return made


def stale(path: Path, made: NotebookNode, executed: bool) -> str | None:
    """Why the committed notebook is not what its source says, or None."""
    try:
        committed = built(path)
    except UnreadableError as error:
        return error.why
    now, then = plain(made), plain(committed)
    if now != then:
        changed = next((a["id"] for a, b in zip(now, then, strict=False) if a != b), "number of cells")
        return f"differs from its source (first at {changed})"
    code = [cell for cell in committed.cells if cell.cell_type == "code" and cell.source.strip()]
    if executed and not all(cell.execution_count for cell in code):
        return "was not executed to the end"
    if any(refreshed(html) != html for html in map(html_of, _outputs(committed))):
        return "holds an older script of its explorers and questions"
    if not executed and any(cell.outputs for cell in code):
        return "holds outputs, and a student's lab has none"
    return None


def _outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """All outputs of a notebook's cells."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def all_stale(chapters: Iterable[Chapter]) -> list[str]:
    """What is said of each committed notebook that is not what its source says."""
    return [
        f"{path.relative_to(chapter.root).as_posix()} {reason}"
        for chapter in chapters
        for language in (ENGLISH, *FOLDERS)
        for path, made, executed in _there(chapter, language)
        if (reason := stale(path, made, executed))
    ]


def _there(chapter: Chapter, language: str) -> list[tuple[Path, NotebookNode, bool]]:
    """`targets`; in another language than English those that there are: it may have a lab and not yet a lecture."""
    if language == ENGLISH:
        return targets(chapter)
    if not any(translated(path, language).exists() for path in (chapter.lecture, chapter.lab)):
        return []
    return [target for target in targets(chapter, language) if target[0].exists()]


def is_small(path: Path) -> bool:
    """Were the experiments of a built notebook run at `COURSE_BUDGET=quick`?"""
    return "budget" in built(path).metadata.get("course", {})


def all_small(chapters: Iterable[Chapter]) -> list[str]:
    """What is said of each committed notebook that was run with small experiments."""
    paths = [path for chapter in chapters for path in (chapter.lecture, chapter.solution) if path.exists()]
    in_others = [translated(path, language) for path in paths if path.parent.name == "lectures" for language in FOLDERS]
    paths += [path for path in in_others if path.exists()]
    return [f"{path.parent.name}/{path.name} was built with small experiments" for path in paths if is_small(path)]


def _with_outputs_of(
    notebook: NotebookNode, path: Path, budget: str, language: str = ENGLISH, docstrings: bool = True
) -> NotebookNode | None:
    """The notebook with the outputs of the committed one, where no experiment need run again; None where they must.

    A change of prose needs no run. Where only visible tests changed, the lab runs without its experiments, as it
    does when it is graded, and every other output is kept.
    """
    try:
        committed = built(path)
    except UnreadableError:  # not built, or damaged: it is built whole
        return None
    if budget == "full" and is_small(path):
        return None
    then = [cell for cell in committed.cells if cell.cell_type == "code"]
    if not all(cell.execution_count and cell.get("id") for cell in then if cell.source.strip()):  # Colab writes no ids
        return None
    now = [cell for cell in notebook.cells if cell.cell_type == "code"]
    new, gone = _changed_tests(now, then), _changed_tests(then, now)
    pairs = list(zip((c for c in now if c not in new), (c for c in then if c not in gone), strict=False))
    same = len(pairs) == len(now) - len(new) == len(then) - len(gone)
    same = same and all(
        a.source == b.source or _code(a, budget, docstrings) == _code(b, budget, docstrings) for a, b in pairs
    )
    if not same or _give([*new, *gone]) & _take([cell for cell, _ in pairs]):
        return None
    for cell, before in pairs:
        cell.outputs = [output for output in before.outputs if not _is_progress_bar(output)]
        cell.execution_count = before.execution_count
    if new:
        print("  only visible tests changed: the lab runs without its experiments, whose outputs are kept", flush=True)
        ran = copy.deepcopy(notebook)
        ran.cells = [cell for cell in ran.cells if "experiment" not in tags(cell)]
        outputs = {cell.id: cell.outputs for cell in execute(ran, budget, language).cells if cell.cell_type == "code"}
        for cell in new:
            cell.outputs, cell.execution_count = outputs[cell.id], 1
    for output in _outputs(notebook):
        if html := html_of(output):
            output.data["text/html"] = tables.in_language(refreshed(html), language)
    _count(notebook)
    if "widgets" in committed.metadata:
        notebook.metadata.widgets = committed.metadata.widgets
    if is_small(path):
        notebook.metadata.course["budget"] = committed.metadata.course.budget
    return notebook


def _code(cell: NotebookNode, budget: str, docstrings: bool = True) -> str:
    """What a cell runs. The one for Colab does nothing here: where the course moves to another address, nothing need run.

    At full size `lab.budget(full=a, quick=b)` is `a`: a change of what is small needs no run.
    """
    if COLAB_TAG in tags(cell):
        return ""
    if budget != "full" and docstrings:
        return str(cell.source)
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:  # %pip and its like
        return str(cell.source)
    if not docstrings:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Pass()
    return ast.unparse(_FullSize().visit(tree) if budget == "full" else tree)


class _FullSize(ast.NodeTransformer):
    """Puts the size of full experiments in the place of each `lab.budget(full=…, quick=…)`."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.func) == "lab.budget":
            return next((word.value for word in node.keywords if word.arg == "full"), node)
        return node


def _changed_tests(cells: list[NotebookNode], others: list[NotebookNode]) -> list[NotebookNode]:
    """The cells with visible tests that are not among the others."""
    known = {cell.source for cell in others}
    return [cell for cell in cells if (cell_role := role(cell)) and cell_role.kind == "tests" and cell.source not in known]


def _give(cells: list[NotebookNode]) -> set[str]:
    """The names that cells make."""
    return set().union(*(names_of(cell.source).makes for cell in cells))


def _take(cells: list[NotebookNode]) -> set[str]:
    """The names that cells use and do not make themselves."""
    cell_names = [names_of(cell.source) for cell in cells]
    return set().union(*(names.needs | names.later for names in cell_names))


def build(chapter: Chapter, budget: str = "full", everything: bool = False, language: str | None = None) -> list[Path]:
    """Write the notebooks of a chapter whose sources changed, all of a language or, when a cell fails, none; return their
    paths. Without a language: those in English, then those that there are in another.

    Raises:
        ChapterError: a source cannot be built, or a cell failed.
    """
    if language:
        return _build(targets(chapter, language), chapter.root, budget, everything, language)
    return [
        path
        for each in (ENGLISH, *FOLDERS)  # English first: a translation takes outputs of it
        for path in _build(_there(chapter, each), chapter.root, budget, everything, each)
    ]


def _build(
    wanted: Iterable[tuple[Path, NotebookNode, bool]], root: Path, budget: str, everything: bool, language: str
) -> list[Path]:
    made = []
    for path, notebook, executed in wanted:
        reason = "was asked for" if everything else stale(path, notebook, executed)
        if not reason and executed and budget == "full" and is_small(path):
            reason = "was run with small experiments"
        if not reason:
            continue
        print(f"building {path.relative_to(root).as_posix()}: it {reason}", flush=True)
        if executed:
            kept = None if everything else _with_outputs_of(notebook, path, budget, language)
            if language != ENGLISH and not everything and not kept:  # nothing that it shows is translated
                english = path.parents[1] / path.name
                kept = _with_outputs_of(notebook, english, budget, language, docstrings=False)
            notebook = kept or execute(notebook, budget, language)
        made.append((path, notebook))
    with ExitStack() as stack:
        for path, notebook in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, stack.enter_context(whole(path)))
    return [path for path, _ in made]
