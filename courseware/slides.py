"""A lecture as slides: one HTML file with reveal.js inside, which needs no network and no kernel."""

from __future__ import annotations

import base64
from pathlib import Path

from nbconvert.exporters import SlidesExporter
from traitlets.config import Config

from course_utils.assets import assets

from .build import translated
from .chapters import ENGLISH, FOLDERS, N_, Chapter, built, words
from .files import output, whole
from .mathml import font, in_markdown
from .pages import asks, title, without_assets, without_widgets
from .quizzes import on_slides

_CODE, _SHOW = N_("code"), N_("Show or hide the code")
TEMPLATES = Path(__file__).with_name("templates")


def html(chapter: Chapter, language: str = ENGLISH) -> str:
    """The slides of a chapter's built lecture.

    Raises:
        UnreadableError: it is not built, or what stands there is no notebook.
    """
    notebook = built(translated(chapter.lecture, language))
    reveal = Path(__file__).parent / "vendored" / "revealjs"
    own = TEMPLATES / "slides"
    say = words(language)
    parts = {
        "title": title(notebook),
        "icon": base64.b64encode((TEMPLATES / "site" / "static" / "logo.svg").read_bytes()).decode(),
        "language": language.replace("_", "-"),
        "code": say(_CODE),
        "show_code": say(_SHOW),
        "reveal_css": (reveal / "reveal.css").read_text(encoding="utf-8"),
        "reveal_js": (reveal / "reveal.js").read_text(encoding="utf-8"),
        "notes_js": (reveal / "notes.js").read_text(encoding="utf-8"),
        "slides_css": (own / "slides.css").read_text(encoding="utf-8"),
        "slides_js": (own / "slides.js").read_text(encoding="utf-8"),
    }
    for name in ("reveal_js", "notes_js"):  # an end tag in a string would end the page's script
        parts[name] = parts[name].replace("</script", "<\\/script")
    exporter = SlidesExporter(
        template_name="slides",
        config=Config({"SlidesExporter": {"extra_template_basedirs": [str(TEMPLATES)]}}),
    )
    notebook, names = without_assets(without_widgets(on_slides(notebook), language))
    parts["interactive"] = assets(*names) if names else ""
    for cell in filter(asks, notebook.cells):
        cell.source = ""
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in prose:
        cell.source = in_markdown(cell.source)
    parts["math_font"] = base64.b64encode(font("".join(cell.source for cell in prose))).decode()
    made, _ = exporter.from_notebook_node(notebook, resources={"course": parts})
    return str(made)


def write(chapter: Chapter, folder: Path, language: str = ENGLISH) -> Path:
    """Write `<chapter>.html` into a folder, in another language into a folder in it; return its path.

    Raises:
        ChapterError: the lecture is not built.
        CourseError: the folder is not one to write slides to.
    """
    name = f"{chapter.name}.html" if language == ENGLISH else f"{FOLDERS[language]}/{chapter.name}.html"
    path = output(folder, "slides", [name]) / name
    path.parent.mkdir(exist_ok=True)
    with whole(path) as scratch:
        scratch.write_text(html(chapter, language), encoding="utf-8")
    return path
