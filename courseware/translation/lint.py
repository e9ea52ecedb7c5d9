"""What is wrong with a translation.

`broken`: what a reader needs is not there any more or is another: fields, inline code, formulas, links, citations, numbers,
the kind of block. `faults`: how it is written: punctuation, spaces, English that is left, names that were translated, terms.
A translator's comment `lint: names, numbers` in an entry switches rules off there, by their names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polib
from markdown_it import MarkdownIt

from . import code_text, literals
from .markdown_blocks import CITATION, CODE, FORMULA, TAG, TARGET, structure, words
from .messages import PROSE
from .terms import Term

HAN = "\u4e00-\u9fff"
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?)(?:[\s-]?(thousand|million|billion|trillion|千|万亿|百万|万|亿)(?![a-z]))?"
)
_SCALE = {
    **{"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12},
    **{"千": 1e3, "万": 1e4, "百万": 1e6, "亿": 1e8, "万亿": 1e12},
}
_WORDS = """
0 no zero none; 1 one ones once a an single first; 2 two twice both pair second half; 3 three third thirds
4 four fourth quarter
5 five fifth; 6 six sixth; 7 seven; 8 eight; 9 nine; 10 ten tenth; 11 eleven; 12 twelve dozen; 13 thirteen; 14 fourteen
15 fifteen; 16 sixteen; 17 seventeen; 18 eighteen; 19 nineteen; 20 twenty; 30 thirty; 50 fifty
100 hundred hundreds hundredth; 1000 thousand; 1000000 million
"""
_SPELT = {
    word: float(line.split()[0]) for line in re.split("[;\n]", _WORDS.strip()) for word in line.split()[1:]
}  # a number that English spells may be digits
# names that Chinese has words for, or that a sentence may do without
_FREE = {"API", "LLM", "LLMS", "AI", "NLP", "US", "TV", "OK", "CONTINUED", "PC", "II"}


@dataclass(frozen=True)
class Problem:
    """A fault of an entry: the rule's name, and a sentence."""

    rule: str
    text: str


def broken(entry: polib.POEntry) -> list[Problem]:
    """Why a translation must not be used."""
    english, chinese = entry.msgid, entry.msgstr
    formatted, prose = code_text.FORMATTED in entry.comment, _is_prose(entry)
    return [problem for problem in _broken(english, chinese, formatted, prose) if problem.rule not in _off(entry)]


def faults(entry: polib.POEntry, terms: Iterable[Term]) -> list[Problem]:
    """What is badly written in it."""
    problems = [*_punctuation(entry), *_english_left(entry), *_names(entry), *_terms(entry, terms)]
    return [problem for problem in problems if problem.rule not in _off(entry)]


def _is_prose(entry: polib.POEntry) -> bool:
    return PROSE in entry.comment.split(", ")


def _off(entry: polib.POEntry) -> set[str]:
    return {rule for line in re.findall(r"lint: ([a-z, ]+)", entry.tcomment) for rule in line.replace(" ", "").split(",")}


def _broken(english: str, chinese: str, formatted: bool, prose: bool) -> Iterator[Problem]:
    if [english[:1].isspace(), english[-1:].isspace()] != [chinese[:1].isspace(), chinese[-1:].isspace()]:
        yield Problem("spaces", "it begins or ends with another space")
    if formatted:
        try:
            theirs = literals.fields(chinese)
        except literals.LiteralError as error:
            yield Problem("fields", str(error))
            return
        yield from _same("fields", literals.fields(english), theirs)
        english, chinese = _without_fields(english), _without_fields(chinese)
    else:
        braces = r"\{[\w.]*(?::[^{}]*)?\}"
        yield from _same("fields", re.findall(braces, english), re.findall(braces, chinese))
    for rule, pattern in (("code", CODE), ("formulas", FORMULA), ("citations", CITATION), ("links", TARGET), ("tags", TAG)):
        if prose or rule == "code":
            yield from _same(rule, set(re.findall(pattern, english)), set(re.findall(pattern, chinese)))
    yield from _numbers(english, chinese)
    if not prose and re.search(FORMULA, chinese) and re.search(f"[{HAN}]", chinese):
        yield Problem("formulas", "matplotlib draws no Chinese in a text with a formula: leave it in English")
    if prose:
        if structure(english) != structure(chinese):
            yield Problem("structure", "it is another kind of block, such as a list where there was a paragraph")
        if _emphases(english) != _emphases(chinese):
            yield Problem(
                "emphasis",
                f"{_emphases(english)} emphases in English, {_emphases(chinese)} here: put punctuation outside of the stars",
            )
    if english.count("\n") != chinese.count("\n") and not prose and "\n" in english.strip("\n"):
        yield Problem("lines", "it has another number of lines")


def _without_fields(text: str) -> str:
    return "".join(" 〈〉 " if field else part for field, part in literals.split(text))


def _same(rule: str, wanted: Iterable[str], given: Iterable[str]) -> Iterator[Problem]:
    lost, new = Counter(wanted) - Counter(given), Counter(given) - Counter(wanted)
    if lost or new:
        parts = [f"{what} {', '.join(sorted(some))}" for what, some in (("lacks", lost), ("has", new)) if some]
        yield Problem(rule, " and ".join(parts))


def _numbers(english: str, chinese: str) -> Iterator[Problem]:
    wanted, given = (Counter(_values(text)) for text in (english, chinese))
    spelt = {_SPELT[word] for word in re.findall(r"[a-z]+", english.lower()) if word in _SPELT}
    new = [value for value in given - wanted if value not in spelt and value not in wanted]
    for what, some in (("lacks", set(wanted) - set(given)), ("has", set(new))):
        if some:
            yield Problem("numbers", f"{what} {', '.join(f'{value:g}' for value in sorted(some))}")


def _values(text: str) -> list[float]:
    text = re.sub(f"{CODE}|{FORMULA}|{CITATION}|{TARGET}|{TAG}", " · ", text, flags=re.DOTALL)
    return [float(number.rstrip(",").replace(",", "")) * _SCALE.get(scale, 1) for number, scale in _NUMBER.findall(text)]


_INLINE = MarkdownIt("commonmark")  # to make one takes longer than to use it


def _emphases(text: str) -> int:
    tokens = _INLINE.parseInline(re.sub(FORMULA, "0", text, flags=re.DOTALL))[0].children or []
    return sum(token.type in ("em_open", "strong_open") for token in tokens)


_FIELD = "〇"  # what code fills in may be Chinese or not


def _sentence(entry: polib.POEntry) -> str:
    """The translation with a mark in place of what is no prose."""
    text = entry.msgstr
    if code_text.FORMATTED in entry.comment:
        text = "".join(_FIELD if field else part for field, part in literals.split(text))
    else:
        text = re.sub(r"\{[\w.]*(?::[^{}]*)?\}", _FIELD, text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(f"{CODE}|{FORMULA}|{CITATION}|{TARGET}", "X", re.sub(TAG, "", text), flags=re.DOTALL)


_SIGN = f"[{HAN}）”」]\\s*[,;:?!](?![\\d/])|[{HAN}]\\.(?:\\s|$)|[{HAN}]\\(|\\([^()A-Za-z0-9]*[{HAN}]|[{HAN}]\\)"
_RULES = (  # name, what to do, what is wrong, only in prose
    ("punctuation", "write full-width signs beside Chinese", _SIGN, False),
    ("punctuation", "write full-width brackets beside Chinese", rf"[{HAN}] \(", True),
    (
        "punctuation",
        "no space beside a full-width sign",
        rf"[，。；：？！、（] +[{HAN}\w]|[{HAN}\w] +[，。；：？！、）]",
        False,
    ),
    (
        "spacing",
        "a space between Chinese and Latin letters, digits, code, formulas",
        rf"[{HAN}][A-Za-z0-9]|[A-Za-z0-9%][{HAN}]",
        False,
    ),
    ("spacing", "no space between Chinese characters", rf"[{HAN}] +[{HAN}]", True),
)


def _punctuation(entry: polib.POEntry) -> Iterator[Problem]:
    text = re.sub(r"[*_]", "", _sentence(entry))
    for rule, what, wrong, only_prose in _RULES:
        if (_is_prose(entry) or not only_prose) and (match := re.search(wrong, text)):
            yield Problem(rule, f"{what}: …{_near(text, match)}…")


def _near(text: str, match: re.Match[str]) -> str:
    return text[max(0, match.start() - 8) : match.end() + 8].replace("\n", " ")


def _english_left(entry: polib.POEntry) -> Iterator[Problem]:
    text = re.sub(r"“[^”]*”|\"[^\"]*\"|《[^》]*》|‘[^’]*’|'[^']*'", "", _sentence(entry))
    if match := re.search(r"(?:\b[a-z]{2,}\b[ ,]+){3,}[a-z]{2,}\b", text):
        yield Problem("english", f"English is left: {match[0]}")
    if entry.msgstr == entry.msgid and len(words(entry.msgid)) > 2:
        yield Problem("english", "it is the English")


def _names(entry: polib.POEntry) -> Iterator[Problem]:
    """Names of models, methods and formats, dtypes and the like: a capital inside, or letters beside digits."""
    text = re.sub(f"{CODE}|{FORMULA}|{CITATION}|{TARGET}|{TAG}", " ", entry.msgid, flags=re.DOTALL)
    if code_text.FORMATTED in entry.comment:
        text = _without_fields(text)
    for word in dict.fromkeys(re.findall(r"(?<![\w.-])[A-Za-z][\w.-]*\w(?:\(\))?", text)):
        plain = word.removesuffix("s") if re.search(r"[A-Z]s$|[A-Z].*[A-Z].*s$", word) else word
        letters = re.sub(r"[^A-Za-z]", "", plain)
        named = re.search(r"[A-Z]", plain[1:]) or (re.search(r"[A-Za-z]\d|\d[A-Za-z]", plain))
        hyphened = "-" in plain and not re.search(r"[A-Z].*[A-Z]|\d", plain)
        if named and not hyphened and letters.upper() not in _FREE and plain.lower() not in entry.msgstr.lower():
            yield Problem("names", f"{plain} is a name, and is not there")


def _terms(entry: polib.POEntry, terms: Iterable[Term]) -> Iterator[Problem]:
    english = re.sub(f"{CODE}|{FORMULA}|{TARGET}", " ", entry.msgid, flags=re.DOTALL)
    left = english if _is_prose(entry) else re.sub(r"\([\w, /.]*\)", " ", english)  # without a tensor's shape
    for term in terms:  # the longest first
        if not term.pattern.search(left):
            continue
        left = term.pattern.sub(" ", left)
        if term.strict and not any(chinese.lower() in entry.msgstr.lower() for chinese in term.chinese):
            yield Problem("terms", f"{term.english} is {' or '.join(term.chinese)}")
        for wrong in term.never:
            if wrong in entry.msgstr:
                yield Problem("terms", f"{term.english} is {term.chinese[0]}, not {wrong}")
