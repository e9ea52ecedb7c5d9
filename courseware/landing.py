"""The place at the top of the site's first page: a running interactive, or until there is one a picture of a lecture."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .cards import Card
from .chapters import ENGLISH, N_, words

_BELOW = N_('From lecture {number}, <a href="{page}.html">{title}</a>: {question}')
STILL = "10"  # the chapter whose picture stands there


def hero(cards: Sequence[Card], interactive: str = "", caption: str = "", language: str = ENGLISH) -> str:
    """HTML for that place.

    Args:
        cards: the chapters of the site.
        interactive: self-contained HTML: no network, no kernel. Without it a picture of chapter `STILL` is shown.
        caption: one line of HTML below it.
    """
    if interactive:
        return f"<figure>{interactive}" + (f"<figcaption>{caption}</figcaption></figure>" if caption else "</figure>")
    drawn = [card for card in cards if card.picture]
    card = next((card for card in drawn if card.number == STILL), drawn[0] if drawn else None)
    if not card:
        return ""
    picture = f'<img src="_static/cards/large-{card.picture}" alt="{html.escape(card.alt)}">'
    about = {"number": card.number, "page": card.lecture, "title": html.escape(card.title), "question": card.question}
    below = words(language)(_BELOW, **about)
    return f"<figure>{picture}<figcaption>{below}</figcaption></figure>"
