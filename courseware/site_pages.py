"""The site's pages as Sphinx makes them: what each page is, and boxes in which wide things scroll on a narrow screen.

The templates are in templates/site. `courseware.site` writes what Sphinx reads, and gives a `Course`.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from docutils import nodes
from pybtex.plugin import register_plugin
from sphinx.application import Sphinx

from .build import opens_in, translated
from .cards import Card
from .chapters import ENGLISH, FOLDERS, N_, words
from .chinese_search import Chinese
from .mathml import mathml
from .references import Style

TITLE = N_("Foundations of large language models")
NAMES = {ENGLISH: "English", "zh_CN": "中文"}  # of the languages, in each of them
REPORT = "error-on-a-page.yml"  # the repository's form; `where` is its first field
_HAN = re.compile(r"[\u3400-\u9fff](?:[\u3400-\u9fff\u3001-\u3011\uff01-\uff5e]*[\u3400-\u9fff])?")
_NO_PROSE = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.image)
_CODE = re.compile(r'<div class="highlight"><pre>.*?</pre></div>', re.DOTALL)
_PLAIN = re.compile(r'<span class="(?:n|p|o|w|nn|vm)">([^<]*)</span>')  # tokens that the style prints as text
_POINTS, _DPI, _READABLE = 13, 100, 8.5  # of a figure's labels (course_utils/plots.py); CSS pixels that a label needs
_PITCH = N_(
    "Take a real language model apart, on your own laptop. {count} lectures that run and {count} labs that check "
    "themselves: train it, align it, quantize it, ask it what it does not know."
)
_SENTENCE_ENDS = (".", "?", "!", ":", "。", "？", "！", "：")
_PHONE = 430  # CSS pixels; a figure that is readable there is not made to scroll


@dataclass(frozen=True)
class Course:
    """What all pages in a language share. `url` is where they will be, with a slash at the end."""

    repository: str
    branch: str
    url: str
    cards: tuple[Card, ...]
    slides: frozenset[str] = frozenset()  # names of the chapters whose slides lie in the site's folder `slides`
    hero: str = ""  # HTML of the picture, or of the interactive, at the top of the first page
    language: str = ENGLISH
    pages: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of the site, by language
    commands: str = "#two-commands"  # the README's heading "Two commands"

    @property
    def github(self) -> str:
        """OWNER/NAME."""
        return self.repository.removeprefix("https://github.com/")

    @property
    def readme(self) -> str:
        """Where the README is read."""
        if self.language == ENGLISH:
            return self.repository
        return f"{self.repository}/blob/{self.branch}/README.{tag(self.language)}.md"

    @property
    def pitch(self) -> str:
        """The course in two sentences."""
        return str(words(self.language)(_PITCH, count=len(self.cards)))

    def opens_in(self, page: str) -> dict[str, str]:
        """The addresses that open a page's notebook elsewhere, Colab first."""
        return opens_in(self.github, translated(Path(f"{page}.ipynb"), self.language).as_posix(), self.branch)

    def report(self, page: str, heading: str) -> str:
        """The form for an error on a page, filled in with the page."""
        where = f"{heading}: {self.url}{page}.html"
        return f"{self.repository}/issues/new?{urlencode({'template': REPORT, 'where': where})}"


class Switch(NamedTuple):
    """The link to a page in another language: the language's tag and name, and where it leads."""

    tag: str
    name: str
    href: str


def tag(language: str) -> str:
    """As HTML names a language: zh-CN."""
    return language.replace("_", "-")


def _way(language: str, page: str) -> str:
    """A page's place in the whole site."""
    return f"{FOLDERS[language]}/{page}.html" if language in FOLDERS else f"{page}.html"


def alternates(course: Course, page: str) -> list[tuple[str, str]]:
    """The tags of the languages in which there is a page, and its address in each; none where there is only one."""
    there = [language for language, names in course.pages.items() if page in names]
    if len(there) < 2:
        return []
    home = course.url.removesuffix(f"{FOLDERS[course.language]}/") if course.language in FOLDERS else course.url
    addresses = [(tag(language), home + _way(language, page)) for language in there]
    return [*addresses, ("x-default", home + _way(ENGLISH, page))] if ENGLISH in there else addresses


def _switch(course: Course, page: str, pathto: Callable[..., str]) -> Switch | None:
    """To the same page in another language, or to its first one."""
    for language, names in course.pages.items():
        if language != course.language:
            up = "../" if course.language in FOLDERS else ""
            target = _way(language, page if page in names else "index")
            return Switch(tag(language), NAMES[language], pathto(up + target, 1))
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's hook: formulas as MathML, works as the notebooks print them, pages as the templates need them."""
    register_plugin("pybtex.style.formatting", "course", Style)
    app.add_config_value("course", None, "env")
    app.add_search_language(Chinese)
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("doctree-resolved", _boxes)
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer: Any, node: nodes.Node) -> None:
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _display(writer: Any, node: nodes.Node) -> None:
    writer.body.append(f'<div class="formula">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def _page(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> str | None:
    """Fill in a page's context; the first page has its own template."""
    course: Course = app.config.course
    first = name == app.config.root_doc
    say = words(course.language)
    heading = re.sub(r"<[^>]+>", "", context.get("title", "")) or say("Search")  # the one page without a source
    card = next((card for card in course.cards if name in (card.lecture, card.lab, card.quiz)), None)
    picture, alt = (card.picture, card.alt) if card and name != card.lab else ("", "")
    notebook = name.startswith(("lectures/", "labs/"))
    chapter = posixpath.basename(name)
    context |= {
        "course": course,
        "t": say,
        "alternates": alternates(course, name) if name != "search" else [],
        "switch": _switch(course, name, context["pathto"]),
        "head_title": app.config.project if first else f"{heading} – {app.config.project}",
        "description": course.pitch if first else description(doctree) if doctree else "",
        "social_picture": f"{course.url}_static/" + (f"cards/large-{picture}" if picture else "social.png"),
        "social_alt": alt,
        "headings": _local(context),
        "report": course.report(name, heading),
        "reference": [(page, app.env.titles[page].astext()) for page in _reference(app)],
        "quiz": context["pathto"](card.quiz) if card and card.quiz and notebook else "",
    }
    # a quiz is the end of its lecture's notebook
    if source := name if notebook else card.lecture if card and name == card.quiz else "":
        file = posixpath.relpath(f"{source}.ipynb", posixpath.dirname(name))
        context |= {"hosts": course.opens_in(source), "notebook": file}
        if name.startswith("lectures/") and chapter in course.slides:
            context["slides"] = context["pathto"](f"slides/{chapter}.html", 1)
    if card and name == card.quiz:  # no table of contents has it
        context |= {turn: _turn(context, app, page) for turn, page in (("prev", card.lecture), ("next", card.lab))}
    if "body" in context:
        context["body"] = _CODE.sub(lambda code: _PLAIN.sub(r"\1", code[0]), context["body"])
    return "landing.html" if first else None


def _turn(context: dict[str, Any], app: Sphinx, page: str) -> dict[str, str]:
    """The link to a page that comes before or after."""
    return {"link": context["pathto"](page), "title": app.env.titles[page].astext()}


def _reference(app: Sphinx) -> Iterator[str]:
    """The pages that are no chapter's, in the order of the first page's table of contents."""
    for page in app.env.toctree_includes.get(app.config.root_doc, []):
        if "/" not in page:
            yield page


def _local(context: dict[str, Any]) -> str:
    """The list of a page's headings, without its title; "" where there is nothing to choose."""
    toc = context.get("toc", "")
    inner = re.search(r"<ul>\s*<li>.*?</a>\s*(<ul>.*</ul>)\s*</li>\s*</ul>", toc, re.DOTALL)
    return inner[1] if inner and inner[1].count("<li>") > 1 else ""


def description(doctree: nodes.document) -> str:
    """A page in one or two lines, for search engines and previews: how its text begins."""
    paragraphs = [
        " ".join(paragraph.astext().split())
        for paragraph in list(doctree.findall(nodes.paragraph))[:4]
        if isinstance(paragraph.parent, nodes.section)
    ]
    beginning = " ".join(text if text.endswith(_SENTENCE_ENDS) else f"{text}." for text in paragraphs)
    return beginning if len(beginning) <= 200 else beginning[:200].rsplit(" ", 1)[0] + " …"


def _boxes(app: Sphinx, doctree: nodes.document, page: str) -> None:
    for picture in list(doctree.findall(nodes.image)):
        _box(picture, "picture", _sizes(Path(app.srcdir, picture["uri"])))
        picture["loading"] = "lazy"
    for table in list(doctree.findall(nodes.table)):
        _box(table, "scroll")
    for block in list(doctree.findall(nodes.literal_block)):
        if "output" in block["classes"] and is_grid(block.astext()):
            _box(block, "grid", {"signs": max(map(len, block.astext().splitlines()))})
    for text in list(doctree.findall(nodes.Text)) if app.config.course.language == ENGLISH else []:
        if _HAN.search(text) and not any(isinstance(above, _NO_PROSE) for above in _above(text)):
            text.parent.replace(text, list(_languages(text)))


def _above(node: nodes.Node) -> Iterator[nodes.Node]:
    while node := node.parent:
        yield node


def _box(node: nodes.Element, name: str, sizes: dict[str, int] | None = None) -> None:
    """Put a box around a node, with numbers that the style sheet reckons with."""
    style = ";".join(f"--{key}:{value}" for key, value in (sizes or {}).items())
    before = f'<div class="{name}"' + (f' style="{style}">' if style else ">")
    node.parent.replace(node, [nodes.raw("", before, format="html"), node, nodes.raw("", "</div>", format="html")])


def _sizes(path: Path) -> dict[str, int]:
    """A picture's size in pixels, and the width at which its labels can be read on a phone; {} if it is no PNG."""
    head = path.read_bytes()[:24]
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return {}
    width, height = struct.unpack(">II", head[16:24])
    legible = round(width * _READABLE / (_POINTS * _DPI / 72))
    return {"width": width, "height": height, "legible": legible if legible > _PHONE else 0}


def is_grid(text: str) -> bool:
    """Is a printed text a table, whose columns a line break would spoil? Other texts may wrap."""
    lines = [line for line in text.splitlines() if line.strip()]
    same = len({len(line) for line in lines}) == 1
    columns = sum(len(re.findall(r"\S {2,}(?=\S)", line)) >= 2 for line in lines)
    return len(lines) >= 3 and (same or columns >= 0.75 * len(lines))


def _languages(text: nodes.Text) -> Iterator[nodes.Node]:
    """A text cut where its language changes; docutils writes the class as `lang`."""
    start = 0
    for chinese in _HAN.finditer(text):
        if chinese.start() > start:
            yield nodes.Text(text[start : chinese.start()])
        yield nodes.inline("", chinese[0], classes=["language-zh"])
        start = chinese.end()
    if start < len(text):
        yield nodes.Text(text[start:])
