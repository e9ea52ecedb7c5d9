"""The site's search in Chinese: pairs of neighbouring characters are its words, in the index and in what is asked.

Sphinx's own way needs jieba and its dictionary, and finds nothing without it. A term of the course is two characters or
more, so a page that has all pairs of a question has the term.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sphinx.search import SearchLanguage

_HAN = "\u3400-\u9fff"
_PARTS = re.compile(rf"[{_HAN}]+|[^\W{_HAN}]+")
_SPLIT_QUERY = r"""
function splitQuery(query) {
  return (query.match(/[\u3400-\u9fff]+|(?:(?![\u3400-\u9fff])[\p{L}\p{N}_])+/gu) || []).flatMap((part) =>
    /[\u3400-\u9fff]/.test(part) && part.length > 1 ? [...part].slice(1).map((sign, i) => part[i] + sign) : [part]);
}
"""


class Chinese(SearchLanguage):  # type: ignore[misc]
    """Pairs of Chinese characters, each character alone, and words of letters."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = _SPLIT_QUERY

    def split(self, input: str) -> list[str]:
        words = []
        for part in _PARTS.findall(input):
            words += [*part, *map("".join, pairwise(part))] if re.match(f"[{_HAN}]", part) else [part]
        return words

    def stem(self, word: str) -> str:
        return word.lower()
