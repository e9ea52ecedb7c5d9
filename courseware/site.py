"""The course as a static web site: every lecture, its quiz and every student's lab, a search, a bibliography and a glossary.

Built without a network, and needs none to be read: no script or font from elsewhere, formulas as MathML. Here is what Sphinx
reads; `site_pages` and templates/site say how it looks, docs/conf.py holds Sphinx's settings.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from sphinx.application import Sphinx

from . import cards, deck, glossary, landing, predictions, quizzes, slides
from .build import release_tag, translated
from .chapters import ENGLISH, FOLDERS, N_, ROOT, Chapter, ChapterError, built, repository, role, tags, words
from .files import anew
from .mathml import font
from .pages import asks, is_question, without_assets, without_widgets
from .references import FILE, readers
from .release import moved
from .site_pages import TITLE, Course
from .translation import page as other_page

_INDEX = """\
# {start}

```{{toctree}}
:hidden:
{pages}
```
"""
_START = N_("Start")
_REFERENCE = ("glossary", "bibliography", "measurements", "instructors", "deck", "architecture", "CONTRIBUTING")

_COMMANDS = "two-commands"  # a heading of the README
_NOT_ON_A_PAGE = ("colab-link", "colab-setup", "credit")  # the page has buttons, and a line about the deck below
_WORKS = "works"

_BIBLIOGRAPHY = """\
# {title}

{about}

```{{bibliography}}
:all:
:list: bullet
:style: course
```
"""


_WORKS, _ABOUT_WORKS = N_("Bibliography"), N_("Each work with the chapters that list it.")
_SHOW, _HIDE = N_("Show the code"), N_("Hide the code")


def build(out: Path, chapters: list[Chapter], repo: str = "", with_slides: bool = False) -> list[str]:
    """Build the site into a folder; return Sphinx's warnings (none, if all is well).

    Args:
        repo: OWNER/NAME of the repository to which the pages link, if it is not this one: the public one of a private fork.
        with_slides: put each lecture's slides beside the pages, and link to them.

    Raises:
        CourseError: the folder is not empty, and no earlier site stands in it.
        ChapterError: a notebook cannot be read, or `repo` is not OWNER/NAME.
    """
    address = _address(repo)
    others = {language: there for language in FOLDERS if (there := in_language(chapters, language))}
    by_language = {ENGLISH: chapters, **others}
    warnings = []
    with anew(out, "site") as made:
        shown = {language: course(there, address, with_slides, language) for language, there in by_language.items()}
        names = {language: frozenset(_names(there, shown[language])) for language, there in by_language.items()}
        for language, there in by_language.items():
            with tempfile.TemporaryDirectory() as beside:  # Sphinx writes beside what it makes, too
                pages = Path(beside) / "pages"
                warnings += _build(Path(beside) / "source", pages, there, replace(shown[language], pages=names))
                shutil.copytree(pages, made / FOLDERS.get(language, ""), dirs_exist_ok=True)
    return warnings


def in_language(chapters: list[Chapter], language: str) -> list[Chapter]:
    """The chapters whose notebooks are all there in a language."""
    if language == ENGLISH:
        return chapters
    return [
        part
        for part in chapters
        if all(translated(path, language).exists() for path in (part.lecture, part.lab) if path.exists())
    ]


def _names(chapters: list[Chapter], shown: Course) -> list[str]:
    """The pages of the site in a language."""
    notebooks = [path.relative_to(part.root) for part in chapters for path in (part.lecture, part.lab) if path.exists()]
    asked = [card.quiz for card in shown.cards if card.quiz]
    return [*(path.with_suffix("").as_posix() for path in notebooks), *asked, "index", "search", *_REFERENCE]


def _address(repo: str) -> str:
    if not repo:
        return repository()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ChapterError(f"--repo {repo}: write OWNER/NAME, the repository on GitHub to which the pages shall link.")
    return f"https://github.com/{repo}"


def course(chapters: list[Chapter], address: str, with_slides: bool = False, language: str = ENGLISH) -> Course:
    """What all pages in a language share, read from the notebooks."""
    owner, _, name = address.removeprefix("https://github.com/").partition("/")
    folder = "" if name == f"{owner}.github.io" else f"{name}/"
    # students' repositories have no release tags, only a main
    branch = release_tag() if address == repository() else ""
    shown = Course(
        repository=address,
        branch=branch or "main",
        url=f"https://{owner}.github.io/{folder}" + ("" if language == ENGLISH else f"{FOLDERS[language]}/"),
        cards=tuple(cards.card(part, language) for part in chapters),
        slides=frozenset(part.name for part in chapters if with_slides and part.lecture.exists()),
        language=language,
        commands=other_page.anchor(ROOT / "README.md", _COMMANDS, language),
    )
    return replace(shown, hero=landing.hero(shown.cards, landing.stored(chapters, language), language))


def _build(source: Path, out: Path, chapters: list[Chapter], shown: Course) -> list[str]:
    write_source(source, chapters, shown)
    warnings = io.StringIO()
    settings = {"bibtex_bibfiles": [str(source / FILE)], "course": shown, "html_baseurl": shown.url, **_said(shown.language)}
    app = Sphinx(
        source, ROOT / "docs", out, source / ".doctrees", "html", confoverrides=settings, status=None, warning=warnings
    )
    app.build()
    if (copied := out / "_sources").exists():  # Sphinx makes it, though nothing is copied into it
        copied.rmdir()
    write_beside(out, chapters, shown)
    return [line for line in warnings.getvalue().splitlines() if line.strip()]


def _said(language: str) -> Mapping[str, Any]:
    """Sphinx's settings that are words; docs/conf.py has the English ones."""
    if language == ENGLISH:
        return {}
    say = words(language)
    texts = {"project": say(TITLE), "html_title": say(TITLE)}
    return {**texts, "language": language, "nb_code_prompt_show": say(_SHOW), "nb_code_prompt_hide": say(_HIDE)}


def write_source(folder: Path, chapters: list[Chapter], shown: Course) -> None:
    """What Sphinx reads: the notebooks without live controls, and pages made from them."""
    names, headings = [], {}
    for part in chapters:
        for path in (part.lecture, part.lab):
            if path.exists():
                target = folder / path.relative_to(part.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                notebook = built(translated(path, shown.language))
                if path == part.lecture:
                    headings[part.name] = deck.headings(notebook)
                if path == part.lab and part.solution.exists():
                    _ask(notebook, part, shown.language)
                notebook = _readable(notebook, shown.language)
                target.write_text(_at(shown, nbformat.writes(notebook)), encoding="utf-8")
                names.append(target.relative_to(folder).with_suffix("").as_posix())
    for part, card in zip(chapters, shown.cards, strict=True):
        if card.quiz:
            target = folder / f"{card.quiz}.md"
            target.parent.mkdir(exist_ok=True)
            quiz = quizzes.stored(built(translated(part.lecture, shown.language)))
            target.write_text(quizzes.page(card, quiz, shown.language), encoding="utf-8")
    say = words(shown.language)
    index = _INDEX.format(start=say(_START), pages="\n".join([*names, *_REFERENCE]))
    (folder / "index.md").write_text(index, encoding="utf-8")
    bibliography = _BIBLIOGRAPHY.format(title=say(_WORKS), about=say(_ABOUT_WORKS))
    (folder / "bibliography.md").write_text(bibliography, encoding="utf-8")
    (folder / FILE).write_text(_works(chapters), encoding="utf-8")
    (folder / "glossary.md").write_text(glossary.page(chapters, shown.language), encoding="utf-8")
    for page in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"):
        shutil.copy(page if shown.language == ENGLISH else other_page.place(page, shown.language), folder / page.name)
    (folder / deck.PAGE.name).write_text(deck.page(shown.language, headings), encoding="utf-8")


def write_beside(out: Path, chapters: list[Chapter], shown: Course) -> None:
    """What lies beside the pages: the notebooks to download, the slides, the cards' pictures, the formulas' font."""
    drawn = "".join(page.read_text(encoding="utf-8") for page in out.rglob("*.html"))
    (out / "_static" / "formulas.woff2").write_bytes(font(drawn))
    pictures = out / "_static" / "cards"
    pictures.mkdir()
    for part, card in zip(chapters, shown.cards, strict=True):
        for path in (part.lecture, part.lab):
            if path.exists():
                text = _at(shown, translated(path, shown.language).read_text(encoding="utf-8"))
                (out / path.relative_to(part.root)).write_text(text, encoding="utf-8", newline="\n")
        if card.picture:
            (pictures / card.picture).write_bytes(cards.thumbnail(card.png))
            (pictures / f"large-{card.picture}").write_bytes(card.png)
        if part.name in shown.slides:
            (out / "slides").mkdir(exist_ok=True)
            (out / "slides" / f"{part.name}.html").write_text(slides.html(part, shown.language), encoding="utf-8")


def _at(shown: Course, text: str) -> str:
    """A notebook's text with the addresses of the repository to which the site links."""
    return text if shown.repository == repository() else moved(text, shown.github)


def _ask(lab: NotebookNode, part: Chapter, language: str) -> None:
    """Give a lab its predictions and their answers, which the solved lab shows; nothing else that it shows."""
    shown = predictions.shown(built(part.solution))
    if language != ENGLISH:
        shown = predictions.translated(shown, built(part.lab), lab, language)
    for cell in lab.cells:
        if cell.cell_type == "code" and role(cell) is None:
            outputs = shown.get(cell.id, [])
            cell.outputs = [output for output in outputs if is_question(output)]
            if cell.outputs != outputs:
                cell.metadata["tags"] = [*tags(cell), _WORKS]  # its code does more than ask


def _readable(notebook: NotebookNode, language: str) -> NotebookNode:
    """A notebook as a page: the page has a button for Colab, notes are for who speaks, and the set-up is folded."""
    notebook, _ = without_assets(without_widgets(notebook, language))  # the layout adds style and script to each page
    notebook.cells = [c for c in notebook.cells if c.get("id") not in _NOT_ON_A_PAGE and "notes" not in tags(c)]
    for cell in notebook.cells:
        if cell.cell_type == "code" and "lab.start(" in cell.source:
            cell.metadata["tags"] = [*tags(cell), "hide-input"]
        if asks(cell) and _WORKS not in tags(cell):
            cell.metadata["tags"] = [tag for tag in tags(cell) if tag != "hide-input"] + ["remove-input"]
        if text := alt_text(cell):
            cell.metadata["mystnb"] = {"image": {"alt": text}}
    return notebook


def alt_text(cell: NotebookNode) -> str:
    """What a cell's pictures show, as the build wrote it beside them."""
    pictures = [o.metadata.get("image/png", {}) for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    return " ".join(picture.get("alt", "") for picture in pictures).strip()


def _works(chapters: list[Chapter]) -> str:
    """The file of works, in which each entry says by whom it is listed; `references.Style` prints it."""
    text = (chapters[0].folder.parent / FILE).read_text(encoding="utf-8")
    for key, names in readers(chapters).items():
        text = text.replace(f"{{{key},\n", f"{{{key},\n  chapters = {{{' '.join(names)}}},\n", 1)
    return text
