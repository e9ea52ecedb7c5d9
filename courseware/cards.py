"""What the site's first page says of each chapter: all of it is read from the built notebooks, nothing is written twice."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import mistune
from nbformat import NotebookNode
from PIL import Image

from .build import translated
from .chapters import ENGLISH, Chapter, built, tags
from .mathml import in_markdown
from .pages import chinese, title
from .quizzes import count, stored

_ABLE = re.compile(r"After this lecture,? you can:?\s+(.+)", re.DOTALL)
_MINUTES = re.compile(r"(?:(?P<lessons>[Tt]wo|[Tt]hree) lessons of )?(?P<minutes>\d+) minutes")
_HOURS = re.compile(r"^Time: ([^.]+)\.", re.MULTILINE)
_TERM_IN_CHINESE = re.compile(r" \((?:[^()]*[;,] )?[^()]*[\u4e00-\u9fff][^()]*\)")
_ENGLISH_TERM = re.compile(r"(\*[^*]+\*)（[^（）]*[A-Za-z][^（）]*）")
_ITEM = re.compile(r"^- ", re.MULTILINE)
_LESSONS = {"two": "2 × ", "three": "3 × "}
_CANDIDATES = 8  # pictures from which one is chosen
_SHARE = 3.2  # of width to height: a card's picture is no wider


@dataclass(frozen=True)
class Card:
    """A chapter as the first page shows it. `lecture`, `lab` and `quiz` are names of pages, "" where there is none."""

    number: str
    title: str
    chinese: str
    question: str  # the line in bold below the lecture's title, as HTML
    able: str  # "draw the three architectures, …", as HTML
    minutes: str  # "60 min", "2 × 50 min"
    hours: str  # of the lab: "two to three hours"
    lecture: str
    lab: str
    lab_title: str
    picture: str  # its file's name below _static/cards
    alt: str
    quiz: str = ""
    questions: int = 0  # of the quiz
    png: bytes = field(default=b"", repr=False)  # the picture itself


def card(chapter: Chapter, language: str = ENGLISH) -> Card:
    """Read a chapter's card from its built notebooks.

    Raises:
        UnreadableError: one that is there cannot be read.
    """
    lab = built(translated(chapter.lab, language))
    lecture = built(translated(chapter.lecture, language)) if chapter.lecture.exists() else None
    name = title(lecture or lab).partition(" · ")[2]
    first = _prose(lecture)[0] if lecture else ""
    bold = re.search(r"^\*\*(.+?)\*\*", first, re.MULTILINE | re.DOTALL)
    chosen = cover(lecture) if lecture else None
    questions = count(stored(lecture)) if lecture else 0
    facts = _facts(chapter) if language == ENGLISH else _facts_in_chinese(chapter, language)
    return Card(
        number=chapter.name[:2],
        title=name,
        chinese=chinese(lecture) if lecture and language == ENGLISH else "",
        question=_html(bold[1]) if bold else "",
        able=_html(facts.able),
        minutes=facts.minutes,
        hours=facts.hours,
        lecture=f"lectures/{chapter.name}" if lecture else "",
        lab=f"labs/{chapter.name}",
        lab_title=title(lab).partition(" · ")[2] or title(lab),
        picture=f"{chapter.name}.png" if chosen else "",
        alt=chosen[1] if chosen else "",
        quiz=f"quizzes/{chapter.name}" if questions else "",
        questions=questions,
        png=chosen[0] if chosen else b"",
    )


class _Facts(NamedTuple):
    able: str
    minutes: str
    hours: str


def _facts(chapter: Chapter) -> _Facts:
    """What the English notebooks say of themselves, by their own words."""
    lecture = built(chapter.lecture) if chapter.lecture.exists() else None
    notes = " ".join(cell.source for cell in lecture.cells if "notes" in tags(cell)) if lecture else ""
    hours = _HOURS.search("\n".join(_prose(built(chapter.lab))))
    return _Facts(able(_prose(lecture)[0]) if lecture else "", _minutes(notes), hours[1] if hours else "")


def _facts_in_chinese(chapter: Chapter, language: str) -> _Facts:
    """The same, in the paragraphs that stand where those of the English stand."""
    promise = ""
    if chapter.lecture.exists():
        blocks = _twin(chapter.lecture, language, _ABLE)
        promise = blocks[0] if blocks else ""
        if len(blocks) > 1 and blocks[1].startswith("- "):  # a blank line may part its items
            promise += f"\n{blocks[1]}"
        promise = _ITEM.sub("", promise)
        promise = "".join(line.strip() for line in _ENGLISH_TERM.sub(r"\1", promise).splitlines())
    time = _twin(chapter.lab, language, _HOURS)
    hours = re.search(r"[：:]\s*([^。；，]+)", time[0]) if time else None
    return _Facts(promise, _facts(chapter).minutes.replace("min", "分钟"), hours[1] if hours else "")


def _twin(path: Path, language: str, pattern: re.Pattern[str]) -> list[str]:
    """A translated notebook's blocks of a cell, from the one on whose English a pattern is found."""
    cells = zip(_prose(built(path)), _prose(built(translated(path, language))), strict=False)
    for source, other in cells:
        for number, block in enumerate(source.split("\n\n")):
            if pattern.search(block + "\n\n- "):  # the promise may be all in the items that follow
                return other.split("\n\n")[number:]
    return []


def able(text: str) -> str:
    """What one can do after a lecture, one sentence, from its first cell: a paragraph, or the items of a list."""
    match = _ABLE.search(text)
    if not match:
        return ""
    first, *others = match[1].strip().split("\n\n")
    if first.startswith("- "):  # a blank line may part its items
        first = " ".join(block for block in (first, *others) if block.startswith("- "))
    sentence = re.sub(r"(?:^|\s+)- ", " ", f" {first}").strip()
    return " ".join(_TERM_IN_CHINESE.sub("", " ".join(sentence.split())).split())


def _prose(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown" and cell.get("id") != "colab-link"]


def _minutes(notes: str) -> str:
    match = _MINUTES.search(notes)
    return f"{_LESSONS.get((match['lessons'] or '').lower(), '')}{match['minutes']} min" if match else ""


def _html(text: str) -> str:
    """A sentence of a notebook as HTML, without the paragraph around it and without stress."""
    made = str(mistune.create_markdown(escape=False)(in_markdown(text.replace("*", ""))))
    return re.sub(r"</?(?:p|a)\b[^>]*>", "", made).strip()


def cover(notebook: NotebookNode) -> tuple[bytes, str] | None:
    """The picture that stands for a lecture, a PNG, and what it shows: of the first ones the most colourful.

    The course draws in black, white and hatching where that is enough, so colour is where several things are compared.
    """
    pictures = [
        (base64.b64decode(output.data["image/png"]), output.metadata.get("image/png", {}).get("alt", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return max(pictures[:_CANDIDATES], key=lambda picture: _colour(picture[0]), default=None)


def _colour(png: bytes) -> float:
    """The share of a picture that is coloured; less for one that is too wide for a card."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    saturation = image.resize((120, max(1, 120 * image.height // image.width))).convert("HSV").getchannel("S").histogram()
    return float(sum(saturation[64:]) / sum(saturation) / max(1.0, image.width / image.height / _SHARE) ** 2)


def thumbnail(png: bytes, width: int = 640) -> bytes:
    """A picture for a card: so many pixels wide, in 64 colours."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    small = image.resize((width, width * image.height // image.width), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    small.quantize(64).save(made, "PNG", optimize=True)
    return made.getvalue()
