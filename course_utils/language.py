"""The language of the helper package's messages: `COURSE_LANG`, else that of the system; English where there is no other."""

from __future__ import annotations

import json
import locale
import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

ENGLISH, CHINESE = "en", "zh_CN"
_CATALOGUES = Path(__file__).parent / "locale"


def language() -> str:
    """ "en" or "zh_CN": what `COURSE_LANG` names ("zh" and "zh-CN" are Chinese, too), else what the system speaks."""
    name = os.environ.get("COURSE_LANG") or _of_system()
    return CHINESE if name.lower().startswith(("zh", "chinese")) else ENGLISH


def _of_system() -> str:
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if name := os.environ.get(variable):
            return name
    if sys.platform == "win32":
        import ctypes

        return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")
    return ""


def t(message: str, /, **values: Any) -> str:
    """A message in the reader's language, with values in its fields.

    >>> t("{name} should be {want}", name="q", want=3)
    'q should be 3'

    A message without a translation is shown in English.
    """
    name = language()
    text = message if name == ENGLISH else _catalogue(name).get(message, message)
    return text.format(**values) if values else text


@lru_cache
def _catalogue(name: str) -> dict[str, str]:
    """Read when a message is first shown; `course translate` writes the file from locale/."""
    path = _CATALOGUES / f"{name}.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def sentences(*parts: str) -> str:
    """One after another, a space between them, but none after a Chinese stop; empty ones are left out."""
    return re.sub(r"(?<=[。？！]) ", "", " ".join(filter(None, parts)))


def in_any_language(message: str, field: str) -> str:
    """A regular expression of what `t` makes of a message in each language; `field` stands for what is in braces."""
    translations = [message, *(_catalogue(path.stem).get(message, message) for path in sorted(_CATALOGUES.glob("*.json")))]
    return "|".join(re.sub(r"\\\{\w+\\\}", lambda _: field, re.escape(text)) for text in dict.fromkeys(translations))


def N_(message: str) -> str:
    """Marks a message that `t` shows elsewhere, for `course translate` to find."""
    return message
