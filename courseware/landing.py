"""The place at the top of the site's first page: a running interactive of a lecture, or where it has none its picture."""

from __future__ import annotations

import html
from collections.abc import Sequence

from course_utils.assets import lifted

from .build import translated
from .cards import Card
from .chapters import ENGLISH, N_, Chapter, built, html_of, words

CHOSEN = "10"  # the chapter whose interactive, or picture, stands there
_INTERACTIVE = '<div class="course-flagship"'
_TRY = N_(
    "Real weights, and the codes that are stored for them. Press × 10: what does one large weight do to the others? "
    'From lecture {number}, <a href="{page}.html">{title}</a>.'
)
_ASKS = N_('From lecture {number}, <a href="{page}.html">{title}</a>: {question}')


def stored(chapters: Sequence[Chapter], language: str = ENGLISH) -> str:
    """The first interactive of chapter `CHOSEN`, as its lecture's last run stored it, without style and script; or ""."""
    for chapter in chapters:
        if chapter.name.startswith(f"{CHOSEN}_") and chapter.lecture.exists():
            outputs = (o for cell in built(translated(chapter.lecture, language)).cells for o in cell.get("outputs", []))
            shown = map(html_of, outputs)
            return next((lifted(text)[0] for text in shown if _INTERACTIVE in text), "")
    return ""


def hero(cards: Sequence[Card], interactive: str = "", language: str = ENGLISH) -> str:
    """HTML for that place.

    Args:
        cards: the chapters of the site.
        interactive: self-contained HTML: no network, no kernel. Without it a picture of chapter `CHOSEN` is shown.
    """
    shows = [card for card in cards if card.picture or (interactive and card.number == CHOSEN)]
    card = next((card for card in shows if card.number == CHOSEN), shows[0] if shows else None)
    if not card:
        return ""
    say = words(language)
    about = {"number": card.number, "page": card.lecture, "title": html.escape(card.title)}
    if interactive:
        shown, below = interactive, say(_TRY, **about)
    else:
        shown = f'<img src="_static/cards/large-{card.picture}" alt="{html.escape(card.alt)}">'
        below = say(_ASKS, **about, question=card.question)
    return f"<figure>{shown}<figcaption>{below}</figcaption></figure>"
