"""chapters/NN_topic/{lecture,lab}.py → lectures/, labs/ and the instructor's solution.

A lecture and a solution are executed; a student's lab is not. Everything but outputs follows from the sources alone, so a
committed notebook can be checked against them without running it (`stale`).
"""

from __future__ import annotations

import copy
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.preprocessors import ClearSolutions

from .chapters import Chapter, ChapterError, Role, cells_of, exercises, read, repository, role, tags
from .files import whole
from .grading.cases import marks
from .kernels import Client

SLIDE_TAGS = {"slide": "slide", "subslide": "subslide", "fragment": "fragment", "notes": "notes", "skip": "skip"}
COLAB_TAG = "colab-setup"
CELL_TIMEOUT = 900  # seconds; a cell that takes longer hangs

_COLAB_CELL = """\
# In Google Colab this cell installs the course's helper package (about half a minute). Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "course_utils @ git+{repository}"
"""

_HIDDEN_CELL = """\
# Hidden tests of `{exercise}` ({points} {noun}) run here when your lab is graded: the same function, other inputs."""


def lecture(chapter: Chapter) -> NotebookNode:
    """The lecture as a notebook with slideshow metadata, not executed."""
    notebook = read(chapter.lecture_source)
    _name_cells(notebook)
    for cell in notebook.cells:
        cell.metadata["slideshow"] = {"slide_type": _slide_type(cell)}
        if "hide-input" in tags(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}
    return _finish(notebook, chapter, "lectures")


def solution(chapter: Chapter) -> NotebookNode:
    """The solved lab, without hidden tests, not executed."""
    notebook = _checked_lab(chapter)
    notebook.cells = [cell for cell in notebook.cells if cell not in list(cells_of(notebook, "hidden"))]
    for cell in notebook.cells:
        cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", cell.source, flags=re.MULTILINE).rstrip("\n")
    return _finish(notebook, chapter, None)


def student_lab(chapter: Chapter) -> NotebookNode:
    """The student's notebook: nbgrader metadata, no solution, no hidden test, no output."""
    notebook = _checked_lab(chapter)
    for cell in notebook.cells:
        found = role(cell)
        if found is None:
            continue
        if found.kind == "exercise":
            cell.source = _without_solution(cell, found)
        elif found.kind == "hidden":
            noun = "point" if found.points == 1 else "points"
            cell.source = _HIDDEN_CELL.format(exercise=found.exercise, points=found.points, noun=noun)
        cell.metadata["nbgrader"] = _nbgrader_metadata(found)
        cell.metadata["deletable"] = False
        if found.kind != "exercise":
            cell.metadata["editable"] = False
    _run_past_errors(notebook)
    return _finish(notebook, chapter, "labs")


def _run_past_errors(notebook: NotebookNode) -> None:
    """Let "Run All" reach the end of a lab that is half solved: Jupyter goes on after cells with this tag."""
    first = notebook.cells.index(next(cells_of(notebook, "exercise")))
    for cell in notebook.cells[first:]:
        if cell.cell_type == "code" and "raises-exception" not in tags(cell):
            cell.metadata["tags"] = [*tags(cell), "raises-exception"]


def _without_solution(cell: NotebookNode, found: Role) -> str:
    """nbgrader's own removal of what is between the solution marks, with a stub that names the exercise."""
    stub = f'raise NotImplementedError("exercise {found.exercise}: write this function")'
    remover = ClearSolutions(code_stub={"python": stub}, enforce_metadata=False)
    cleared, _ = remover.preprocess_cell(copy.deepcopy(cell), {"language": "python"}, 0)
    return str(cleared.source)


def _nbgrader_metadata(found: Role) -> dict[str, object]:
    solution_cell = found.kind == "exercise"
    metadata: dict[str, object] = {
        "grade": not solution_cell,
        "grade_id": found.grade_id,
        "locked": not solution_cell,
        "schema_version": 3,
        "solution": solution_cell,
        "task": False,
    }
    if not solution_cell:
        metadata["points"] = found.points
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
            found = role(cell)
            if found and found.exercise not in names:
                raise ChapterError(f"{where}: {kind}:{found.exercise} belongs to no exercise; there are {names}")
    for cell in cells_of(notebook, "hidden"):
        marks(cell.source)  # or says what is wrong with one
    start = next((cell.source for cell in notebook.cells if "lab.start(" in cell.source), "")
    listed = re.findall(r'"([a-z0-9_]+)"', start.partition("exercises=")[2])
    if listed != names:
        raise ChapterError(f"{where}: lab.start(…, exercises=[…]) lists {listed}, but the tags say {names}")
    _name_cells(notebook)  # before anything is left out: a cell has one name in every notebook
    return notebook


def _slide_type(cell: NotebookNode) -> str:
    for tag in tags(cell):
        if tag in SLIDE_TAGS:
            return SLIDE_TAGS[tag]
    if cell.cell_type == "markdown":
        if re.match(r"##? ", cell.source):
            return "slide"
        if cell.source.startswith("### "):
            return "subslide"
    return "-"


def _finish(notebook: NotebookNode, chapter: Chapter, folder: str | None) -> NotebookNode:
    """What all notebooks have: the Colab cell and link, plain metadata."""
    setup = new_code_cell(_COLAB_CELL.format(repository=repository()), metadata={"tags": [COLAB_TAG]}, id=COLAB_TAG)
    if folder == "lectures":
        setup.metadata["slideshow"] = {"slide_type": "skip"}
    # after the opening prose, so that the first thing on the page is the title
    first_code = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(first_code, setup)
    if folder:
        link = new_markdown_cell(f"[Open in Colab]({colab_url(chapter, folder)})", id="colab-link")
        if folder == "lectures":
            link.metadata["slideshow"] = {"slide_type": "skip"}
        notebook.cells.insert(first_code, link)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "course": {"chapter": chapter.name},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def colab_url(chapter: Chapter, folder: str) -> str:
    """Address that opens a committed notebook in Colab."""
    path = repository().removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{path}/blob/main/{folder}/{chapter.name}.ipynb"


def _name_cells(notebook: NotebookNode) -> None:
    """Ids that survive edits: an exercise's cells by their role, others by their section and place in it."""
    section, place = "start", 0
    seen: set[str] = set()
    for cell in notebook.cells:
        headings = re.findall(r"^#{1,4} +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        if headings:
            section = re.sub(r"[^a-z0-9]+", "-", headings[-1].lower()).strip("-")[:40] or "section"
            place = 0
        found = role(cell)
        name = found.grade_id.replace("_", "-") if found else f"{section}-{place}"
        place += 1
        while name in seen:
            name += "x"
        seen.add(name)
        cell.id = name


def execute(notebook: NotebookNode, budget: str) -> NotebookNode:
    """Run all cells in an empty folder; outputs without progress bars.

    Raises:
        ChapterError: a cell failed that is not tagged `raises-exception`.
    """
    notebook = copy.deepcopy(notebook)
    notebook.cells.insert(0, new_code_cell("from courseware import alt\n\nalt.install()"))  # pictures get a text
    environment = {**os.environ, "COURSE_BUDGET": budget}
    with tempfile.TemporaryDirectory() as folder:
        client = Client(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            store_widget_state=True,
            record_timing=False,
        )
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            raise ChapterError(f"{notebook.metadata.course.chapter}: a cell failed.\n{error}") from error
    del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress_bar(output)]
            if cell.execution_count:
                cell.execution_count -= 1
                for output in cell.outputs:
                    if output.output_type == "execute_result":
                        output.execution_count = cell.execution_count
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def _is_progress_bar(output: NotebookNode) -> bool:
    """tqdm's bars, as text on stderr or as a widget, say nothing once the run is over."""
    text = output.get("text", "") if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
    return bool(re.match(r"\s*(\S.{0,60}: +)?(\d+%\||\d+it \[)", text)) or (
        output.output_type == "stream" and not text.strip()
    )


def plain(notebook: NotebookNode) -> list[dict[str, object]]:
    """What must be the same in a committed notebook and in one built now: everything but outputs."""
    return [
        {"id": cell.id, "type": cell.cell_type, "source": cell.source, "metadata": dict(cell.metadata)}
        for cell in notebook.cells
    ]


def targets(chapter: Chapter) -> list[tuple[Path, NotebookNode, bool]]:
    """(where it is committed, the notebook built now, is it executed) for each notebook of a chapter.

    Raises:
        ChapterError: a source is missing or cannot be built.
    """
    if chapter.lecture.exists() and not chapter.lecture_source.exists():
        raise ChapterError(
            f"lectures/{chapter.lecture.name} has no source: write chapters/{chapter.name}/lecture.py, or delete it."
        )
    made = [(chapter.lab, student_lab(chapter), False), (chapter.solution, solution(chapter), True)]
    if chapter.lecture_source.exists():
        made.insert(0, (chapter.lecture, lecture(chapter), True))
    return made


def stale(path: Path, built: NotebookNode, executed: bool) -> str | None:
    """Why the committed notebook is not what its source says, or None."""
    if not path.exists():
        return "is missing"
    committed = nbformat.read(path, as_version=4)
    now, then = plain(built), plain(committed)
    if now != then:
        changed = next((a["id"] for a, b in zip(now, then, strict=False) if a != b), "number of cells")
        return f"differs from its source (first at {changed})"
    code = [cell for cell in committed.cells if cell.cell_type == "code" and cell.source.strip()]
    if executed and not all(cell.execution_count for cell in code):
        return "was not executed to the end"
    if not executed and any(cell.outputs for cell in code):
        return "holds outputs, and a student's lab has none"
    return None


def all_stale(chapters: Iterable[Chapter]) -> list[str]:
    """What is said of each committed notebook that is not what its source says."""
    return [
        f"{path.relative_to(chapter.folder.parents[1])} {reason}"
        for chapter in chapters
        for path, made, executed in targets(chapter)
        if (reason := stale(path, made, executed))
    ]


def _with_outputs_of(notebook: NotebookNode, path: Path) -> bool:
    """Take the outputs from the committed notebook if it ran the very same code: a change of prose needs no new run."""
    if not path.exists():
        return False
    committed = nbformat.read(path, as_version=4)
    ran = [cell for cell in committed.cells if cell.cell_type == "code"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # the cell for Colab does nothing here: where the course moves to another address, no code need run again
    if [COLAB_TAG in tags(cell) or cell.source for cell in ran] != [COLAB_TAG in tags(cell) or cell.source for cell in code]:
        return False
    if not all(cell.execution_count for cell in ran if cell.source.strip()):
        return False
    for cell, before in zip(code, ran, strict=True):
        cell.outputs = [output for output in before.outputs if not _is_progress_bar(output)]
        cell.execution_count = before.execution_count
    if "widgets" in committed.metadata:
        notebook.metadata.widgets = committed.metadata.widgets
    return True


def build(chapter: Chapter, budget: str = "full", everything: bool = False) -> list[Path]:
    """Write the notebooks of a chapter whose sources changed; return their paths."""
    written = []
    for path, notebook, executed in targets(chapter):
        reason = "was asked for" if everything else stale(path, notebook, executed)
        if not reason:
            continue
        print(f"building {path.relative_to(chapter.folder.parents[1])}: it {reason}", flush=True)
        if executed and (everything or not _with_outputs_of(notebook, path)):
            notebook = execute(notebook, budget)
        path.parent.mkdir(exist_ok=True)
        with whole(path) as scratch:
            nbformat.write(notebook, scratch)
        written.append(path)
    return written
