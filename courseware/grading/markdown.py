"""A stranger's Markdown as HTML that any browser may show, on a feedback page or in nbgrader's formgrader.

Markdown is rendered first, then the *result* is cleaned: what a link or a tag is, is known only then. What is left has no
script, no style, no form, no address but http(s), mailto and #, and no picture but those that it brings along.
"""

from __future__ import annotations

import base64
import html
import io
import re
import secrets
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import mistune
from bleach.html5lib_shim import Filter
from bleach.sanitizer import Cleaner

from ..mathml import mathml, replaced

_LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=]+")
_PICTURE_BYTES = 2_000_000  # in base64, of one picture
_PIXELS = 20_000_000
_FORMULA = 2_000  # characters; a longer one is shown as it was written
_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "center", "cite", "code", "dd", "del", "details", "div", "dl", "dt", "em", "font",
    "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp",
    "small", "span", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt",
    "u", "ul", "var",
}  # fmt: skip
_NUMBERS = {"ol": ("start",), "td": ("colspan", "rowspan"), "th": ("colspan", "rowspan"), "img": ("width", "height")}


def rendered(source: str, pictures: Mapping[str, str] | None = None) -> str:
    """Markdown as clean HTML; `pictures` (attachment name → data URI) are put where the text names them.

    Raises: whatever a parser makes of hostile text (RecursionError, MemoryError, …); the caller shows the text instead.
    """
    mark = f"formula{secrets.token_hex(8)}n"  # nobody can write it beforehand
    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formulas.append(match[0])
        return f"{mark}{len(formulas) - 1}e"

    made = str(_parser(pictures or {})(replaced(source, keep)))
    cleaner = Cleaner(
        tags=_TAGS,
        attributes=_allowed,
        protocols={"http", "https", "mailto", "data"},  # `_allowed` knows more: data only for pictures
        filters=[lambda source: _Formulas(source, mark, formulas), _Links],
    )
    clean = cleaner.clean(made)
    return re.sub(f"{mark}(\\d+)e", lambda match: _drawn(formulas[int(match[1])]), clean)


def plain(text: str) -> str:
    """Text as HTML that shows it, character by character."""
    return f'<pre class="plain">{html.escape(text)}</pre>'


def inert(page: str) -> str:
    """Clean HTML as the source of a Markdown cell that any renderer leaves as it is: one block, on one line, no formulas."""
    return f'<div class="tex2jax_ignore mathjax_ignore">{page}</div>'.replace("\r", "").replace("\n", "&#10;")


def picture(mime: Any, data: Any) -> str | None:
    """A data URI of a picture (base64), if it is one that a browser can show without harm; only its header is read."""
    from PIL import Image

    if isinstance(data, list):
        data = "".join(part for part in data if isinstance(part, str))
    if mime not in ("image/png", "image/jpeg", "image/gif") or not isinstance(data, str) or len(data) > _PICTURE_BYTES:
        return None
    squeezed = re.sub(r"\s+", "", data)
    try:
        width, height = Image.open(io.BytesIO(base64.b64decode(squeezed)), formats=("PNG", "JPEG", "GIF")).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # no picture
        return None
    return f"data:{mime};base64,{squeezed}" if width * height <= _PIXELS else None


class _Renderer(mistune.HTMLRenderer):
    """mistune's, but pictures come from the notebook only."""

    def __init__(self, pictures: Mapping[str, str]) -> None:
        super().__init__(escape=False)
        self.pictures = pictures

    def image(self, text: str, url: str, title: str | None = None) -> str:
        shown = html.escape(re.sub(r"<[^>]*>", "", text) or url.rpartition(":")[2])
        data = url if url.startswith("data:") else self.pictures.get(url.removeprefix("attachment:"))
        match = re.fullmatch(r"data:(image/\w+);base64,(.+)", data or "", re.DOTALL)
        if match and (data_url := picture(match[1], match[2])):
            return f'<img src="{data_url}" alt="{shown}">'
        if _LINK.match(url):
            return f'<a href="{html.escape(url)}">{shown}</a>'  # a picture from elsewhere tells its owner who looks
        return f"<em>[{shown}]</em>"


def _parser(pictures: Mapping[str, str]) -> Any:
    return mistune.Markdown(_Renderer(pictures), plugins=_plugins())


@lru_cache
def _plugins() -> tuple[Any, ...]:
    return tuple(mistune.plugins.import_plugin(name) for name in ("table", "strikethrough"))


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and _LINK.match(value) is not None
    if name == "src":
        return tag == "img" and _PICTURE.fullmatch(value) is not None
    if name in ("alt", "title"):
        return tag in ("a", "img", "abbr")
    if name == "align":
        return tag in ("td", "th", "p", "div") and value in ("left", "right", "center")
    if name == "color":
        return tag == "font" and re.fullmatch(r"#?\w{1,20}", value) is not None
    return name in _NUMBERS.get(tag, ()) and re.fullmatch(r"\d{1,4}", value) is not None


class _Formulas(Filter):  # type: ignore[misc]
    """Puts a formula's source back where none can be drawn: in attributes and in code."""

    def __init__(self, source: Any, mark: str, formulas: list[str]) -> None:
        super().__init__(source)
        self.mark, self.formulas = mark, formulas

    def __iter__(self) -> Iterator[dict[str, Any]]:
        code = 0
        for token in super().__iter__():
            kind = token["type"]
            if kind in ("StartTag", "EndTag") and token["name"] in ("code", "pre"):
                code += 1 if kind == "StartTag" else -1
            if kind in ("StartTag", "EmptyTag"):
                token["data"] = {name: self._source(value) for name, value in token["data"].items()}
            elif code > 0 and kind in ("Characters", "SpaceCharacters"):
                token["data"] = self._source(token["data"])
            yield token

    def _source(self, text: str) -> str:
        return re.sub(f"{self.mark}(\\d+)e", lambda match: self.formulas[int(match[1])], text)


class _Links(Filter):  # type: ignore[misc]
    """Links tell the place they lead to nothing, and get no hold of the page they came from."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for token in super().__iter__():
            if token["type"] in ("StartTag", "EmptyTag") and (None, "href") in token["data"]:
                token["data"][None, "rel"] = "noopener noreferrer nofollow"
            yield token


@lru_cache(maxsize=1000)
def _drawn(source: str) -> str:
    """A formula as MathML; one that is none as it was written."""
    display = source.startswith("$$")
    try:
        if len(source) > _FORMULA:
            raise ValueError("too long")
        return mathml(source.strip("$"), display)
    except Exception:  # the converter raises what it likes
        return f"<code>{html.escape(source)}</code>"
