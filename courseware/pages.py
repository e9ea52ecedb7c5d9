"""What README, slides, site and the students' folder share: titles, pages without controls; and the files beside the
notebooks that are written from the chapters' sources: the README's table, the points that `lab.summary` shows."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.assets import lifted

from . import deck
from .build import colab_url, translated
from .chapters import ENGLISH, FOLDERS, N_, ROOT, Chapter, all_chapters, cells_of, exercises, html_of, read, role, words
from .files import whole
from .translation import page

WIDGET = "application/vnd.jupyter.widget-view+json"
# for what is alive only: an explorer that someone ran and saved, controls of a chapter's own
_LIVE = N_("Live: in JupyterLab or Colab this slide has controls. Run the notebook and move them.")
_LECTURE, _LAB, _NOTEBOOK = N_("lecture"), N_("lab"), N_("notebook")
_QUESTION = re.compile(r'class="course-(?:question|reveal|quiz)\b')
_FOLDERS = ("lectures", "labs")
_BEGIN, _END = "<!-- chapters, written by `course notebooks` -->\n", "<!-- end of chapters -->\n"


def title(notebook: NotebookNode) -> str:
    """The notebook's first heading, without marks."""
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = next((line for line in first.splitlines() if line.startswith("# ")), "")
    return re.sub(r"[*_`]", "", heading).removeprefix("# ")


def without_widgets(notebook: NotebookNode, language: str = ENGLISH) -> NotebookNode:
    """A copy in which a note stands in place of the live controls of a cell: controls need a kernel."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        live = [i for i, output in enumerate(outputs) if WIDGET in output.get("data", {})]
        if live:
            outputs[live[0]] = new_output(
                "display_data", data={"text/html": f'<p class="live">{words(language)(_LIVE)}</p>'}
            )
            cell.outputs = [output for i, output in enumerate(outputs) if i not in live[1:]]
            cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.metadata.pop("widgets", None)
    return notebook


def without_assets(notebook: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """A copy whose outputs hold no style and script of explorers and questions, and their names: the page has each once."""
    notebook = copy.deepcopy(notebook)
    names: dict[str, None] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if html := html_of(output):
                output.data["text/html"], lifted_names = lifted(html)
                names |= dict.fromkeys(lifted_names)
    return notebook, list(names)


def asks(cell: NotebookNode) -> bool:
    """Does a cell do nothing but ask, or answer what was asked? Its code is nothing to read, and holds the key."""
    outputs = cell.get("outputs", [])
    return bool(outputs) and all(map(is_question, outputs))


def is_question(output: NotebookNode) -> bool:
    """Is an output a prediction, the answer to one, or a quiz?"""
    return bool(_QUESTION.search(html_of(output)))


def chinese(notebook: NotebookNode) -> str:
    """A lecture's Chinese title: what stands in brackets behind the bold line below its title; "" if nothing does."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    below = first.strip().split("\n\n")[1:2]
    match = re.fullmatch(r"\*\*.+\*\*\s*[(（](.*[\u4e00-\u9fff].*)[)）]", "".join(below).strip(), re.DOTALL)
    return match[1] if match else ""


def chapters_table(chapters: Sequence[Chapter], language: str = ENGLISH) -> str:
    """The README's table: a row for each chapter. A notebook that is not there in a language is named in English."""
    say = words(language)
    rows = [f"| | {say(_LECTURE)} | {say(_LAB)} |", "|---|---|---|"]
    for part in chapters:
        rows.append(f"| {_name(part, language)} | {' | '.join(_links(part, folder, language) for folder in _FOLDERS)} |")
    return "\n".join(rows) + "\n"


def _name(part: Chapter, language: str) -> str:
    lecture = read(part.lecture_source)
    name = title(lecture)
    if language == ENGLISH:
        return f"{name.replace(' · ', ' ', 1)} {chinese(lecture)}".rstrip()
    from .translation import catalogue  # which the English table does without

    translated = catalogue.load(part.catalogue(language)).say(name)
    return f"{part.name[:2]} {chinese(lecture)}" if translated == name else translated.replace(" · ", " ", 1)


def _links(part: Chapter, folder: str, language: str) -> str:
    say = words(language)
    shown = language if translated(ROOT / folder / f"{part.name}.ipynb", language).exists() else ENGLISH
    place = translated(Path(folder, f"{part.name}.ipynb"), shown).as_posix()
    return f"[{say(_NOTEBOOK)}]({place}) · [Colab]({colab_url(part, folder, shown)})"


def readme(language: str = ENGLISH) -> str:
    """The README with its table as the sources say."""
    source = ROOT / "README.md"
    text = source.read_text(encoding="utf-8") if language == ENGLISH else page.markdown(source, language)
    before, rest = text.split(_BEGIN)
    return before + _BEGIN + chapters_table(all_chapters(), language) + _END + rest.split(_END)[1]


def points() -> str:
    """The points of all labs' visible tests, as JSON: chapter → exercise → points."""
    table: dict[str, dict[str, int]] = {}
    for part in all_chapters():
        notebook = read(part.lab_source)
        table[part.name] = {
            name: sum(tests.points for cell in cells_of(notebook, "tests", name) if (tests := role(cell)))
            for name in exercises(notebook)
        }
    return json.dumps(table, indent=1) + "\n"


def from_sources() -> dict[Path, str]:
    """What stands in each file that is written from the chapters' sources."""
    english = {ROOT / "README.md": readme(), ROOT / "course_utils" / "points.json": points(), deck.PAGE: deck.page()}
    return english | {path: text for language in FOLDERS for path, text in in_language(language).items()}


def in_language(language: str) -> dict[Path, str]:
    """The course's own pages in another language."""
    made = {page.place(path, language): page.markdown(path, language) for path in page.sources()}
    made[page.place(deck.PAGE, language)] = deck.page(language)
    return made | {page.place(ROOT / "README.md", language): readme(language)}


def write_from_sources() -> list[Path]:
    """Write those of them that changed; return their paths."""
    written = []
    for path, text in from_sources().items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with whole(path) as new:
                new.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written
