"""The Chinese font of figures: what is needed of Noto Sans CJK SC, small enough to ship with the helper package.

It has the 3,755 characters of GB 2312's first level, punctuation, and whatever else a catalogue shows in a figure.
Outlines are on a grid of 500 units, half as fine as the original's: a pixel of a figure is about thirty of these.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTCollection, TTFont

from course_utils.plots import CHINESE_FONT, FONTS

from ..chapters import FOLDERS, ChapterError
from ..files import whole
from . import catalogue, code_text, progress

SOURCE = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")  # Debian's fonts-noto-cjk
_FAMILY = "Noto Sans CJK SC"
_LICENSE = "This Font Software is licensed under the SIL Open Font License, Version 1.1. See OFL.txt beside this file."
_GRID = 500
_PUNCTUATION = "、。，．・：；？！“”‘’（）《》〈〉「」『』【】〔〕—…～·％＋－／"
_WANTED = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")  # what the font before it, DejaVu Sans, has not


def wanted() -> set[str]:
    """The characters that figures need."""
    first_level = (
        bytes([row + 0xA0, column + 0xA0]).decode("gb2312")
        for row in range(16, 56)
        for column in range(1, 95 if row < 55 else 90)
    )
    return {*first_level, *_PUNCTUATION, *_shown()}


def _shown() -> set[str]:
    """The Chinese characters of what code shows, in all catalogues."""
    texts = [
        entry.msgstr
        for language in FOLDERS
        for path in (catalogue.LOCALE / language).glob("*.po")
        for entry in catalogue.read(path)
        if catalogue.done(entry) and (path.stem == progress.HELPER or {code_text.SHOWN, code_text.FORMATTED} & _kinds(entry))
    ]
    return set(_WANTED.findall("".join(texts)))


def _kinds(entry: object) -> set[str]:
    return set(getattr(entry, "comment", "").split(", "))


def lacking() -> set[str]:
    """What the font that ships has not, and figures need."""
    if not CHINESE_FONT.exists():
        return wanted()
    with TTFont(CHINESE_FONT, lazy=True) as ours:
        return wanted() - {chr(code) for code in ours.getBestCmap()}


def write() -> int:
    """Write the font from Debian's; return its size in bytes.

    Raises:
        ChapterError: there is no Noto Sans CJK here.
    """
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    if not SOURCE.exists():
        raise ChapterError(f"{SOURCE} is not there: apt install fonts-noto-cjk, then `course fonts`.")
    every = TTCollection(SOURCE, lazy=True)
    original = next(font for font in every.fonts if font["name"].getDebugName(1) == _FAMILY)
    codes = original.getBestCmap()
    known = {ord(sign): codes[ord(sign)] for sign in sorted(wanted()) if ord(sign) in codes}
    CHINESE_FONT.parent.mkdir(exist_ok=True)
    with whole(CHINESE_FONT) as scratch:
        _part(original, known).save(scratch)
    return CHINESE_FONT.stat().st_size


def _part(original: TTFont, known: dict[int, str]) -> TTFont:
    """A font with some of another's characters."""
    grid = _GRID / original["head"].unitsPerEm
    names = [".notdef", *dict.fromkeys(known.values())]
    glyphs = original.getGlyphSet()
    drawn = {}
    for name in names:
        pen = T2CharStringPen(round(glyphs[name].width * grid), glyphs)
        glyphs[name].draw(TransformPen(pen, (grid, 0, 0, grid, 0, 0)))
        drawn[name] = pen.getCharString()
    made = FontBuilder(_GRID, isTTF=False)
    made.setupGlyphOrder(names)
    made.setupCharacterMap(known)
    made.setupCFF(FONTS[1].replace(" ", ""), {"FullName": FONTS[1]}, drawn, {})
    made.setupHorizontalMetrics({name: (round(glyphs[name].width * grid), 0) for name in names})
    made.setupHorizontalHeader(ascent=round(880 * grid), descent=round(-120 * grid))
    copyright_ = original["name"].getDebugName(0)
    made.setupNameTable(
        {"familyName": FONTS[1], "styleName": "Regular", "copyright": copyright_, "licenseDescription": _LICENSE}
    )
    made.setupOS2()
    made.setupPost(keepGlyphNames=False)
    made.font["head"].created = made.font["head"].modified = original["head"].modified  # the same bytes each time
    made.font.recalcTimestamp = False
    return made.font
