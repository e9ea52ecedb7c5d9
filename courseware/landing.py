"""The place at the top of the site's first page: a running interactive of a lecture, or where it has none its picture."""

from __future__ import annotations

import html
from collections.abc import Sequence

from course_utils.assets import lifted

from .cards import Card
from .chapters import Chapter, built

CHOSEN = "10"  # the chapter whose interactive, or picture, stands there
TRY = "Real weights, and the codes that are stored for them. Press × 10: what does one large weight do to the others?"
_INTERACTIVE = '<div class="course-flagship"'


def stored(chapters: Sequence[Chapter]) -> str:
    """The first interactive of chapter `CHOSEN`, as its lecture's last run stored it, without style and script; or ""."""
    for chapter in chapters:
        if chapter.name.startswith(f"{CHOSEN}_") and chapter.lecture.exists():
            outputs = (output for cell in built(chapter.lecture).cells for output in cell.get("outputs", []))
            shown = (output.get("data", {}).get("text/html", "") for output in outputs)
            return next((lifted(text)[0] for text in shown if _INTERACTIVE in text), "")
    return ""


def hero(cards: Sequence[Card], interactive: str = "") -> str:
    """HTML for that place.

    Args:
        cards: the chapters of the site.
        interactive: self-contained HTML: no network, no kernel. Without it a picture of chapter `CHOSEN` is shown.
    """
    shows = [card for card in cards if card.picture or (interactive and card.number == CHOSEN)]
    card = next((card for card in shows if card.number == CHOSEN), shows[0] if shows else None)
    if not card:
        return ""
    chapter = f'From lecture {card.number}, <a href="{card.lecture}.html">{html.escape(card.title)}</a>'
    shown = interactive or f'<img src="_static/cards/large-{card.picture}" alt="{html.escape(card.alt)}">'
    below = f"{TRY} {chapter}." if interactive else f"{chapter}: {card.question}"
    return f"<figure>{shown}<figcaption>{below}</figcaption></figure>"
