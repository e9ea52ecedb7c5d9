"""Answers of two students that are nearly the same: a figure for a person to look at, never a verdict.

Answers are compared as sequences of tokens, variables' names and texts left out: a copy with other names is still a copy.
What many have in common says nothing (there are only so many ways to write a short function) and is not counted; nor is what
the lab gave. Word-for-word copies are found apart, however many there are.
"""

from __future__ import annotations

import builtins
import io
import keyword
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

_WORDS = 6  # tokens in a row that are compared
_RARE = 0.1  # of the class; what more have in common says nothing
_HOLDERS = 12  # at most, of one rare sequence
_SHARED = 15  # rare sequences that two must have in common to be named
_FIGURE = 0.8
_VERBATIM = 120  # characters, blanks and the lab's own lines apart, that must be the same
_LONG = 50_000  # characters of an answer that are looked at
_KEPT = {*keyword.kwlist, *dir(builtins)}


@dataclass(frozen=True)
class Pair:
    """Students with nearly the same answers."""

    students: tuple[str, ...]
    figure: float  # 1: the same
    description: str


def pairs(answers: Mapping[str, Mapping[str, str]], given: Mapping[str, str]) -> list[Pair]:
    """Those whose answers are nearly the same, the most alike first.

    Args:
        answers: student → exercise → source.
        given: exercise → what the lab gave.
    """
    verbatim = _verbatim(answers, given)
    stubs = {(name, run) for name, source in given.items() for run in _runs(source)}
    runs_of = {
        student: {(name, run) for name, source in written.items() for run in _runs(source)} - stubs
        for student, written in answers.items()
    }
    holders: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for student, runs in runs_of.items():
        for run in runs:
            holders[run].append(student)
    most = max(2, min(_HOLDERS, round(_RARE * len(answers))))
    size: Counter[str] = Counter()
    shared: Counter[tuple[str, str]] = Counter()
    for students in holders.values():
        if len(students) <= most:
            size.update(students)
            shared.update(combinations(sorted(students), 2))
    together = {frozenset(two) for pair in verbatim for two in combinations(pair.students, 2)}
    alike = []
    for (one, other), count in shared.items():
        figure = count / max(size[one], size[other])
        if count >= _SHARED and figure >= _FIGURE and frozenset((one, other)) not in together:
            alike.append(Pair((one, other), figure, "nearly the same, variables' names apart; few others write so"))
    return [*verbatim, *sorted(alike, key=lambda pair: -pair.figure)]


def _verbatim(answers: Mapping[str, Mapping[str, str]], given: Mapping[str, str]) -> list[Pair]:
    """Students whose answers are the same, character by character."""
    lab = {line.strip() for source in given.values() for line in source.splitlines()}
    groups: dict[str, list[str]] = defaultdict(list)
    for student, written in answers.items():
        lines = (line.strip() for _, source in sorted(written.items()) for line in source[:_LONG].splitlines())
        text = "\n".join(line for line in lines if line and line not in lab)
        if len("".join(text.split())) >= _VERBATIM:
            groups[text].append(student)
    several = [tuple(students) for students in groups.values() if len(students) > 1]
    return [Pair(students, 1.0, "the same, character by character") for students in several]


def _runs(source: str) -> Iterable[tuple[str, ...]]:
    """Sequences of tokens, one beginning at each."""
    tokens = list(_tokens(source[:_LONG]))
    return {tuple(tokens[i : i + _WORDS]) for i in range(max(1, len(tokens) - _WORDS + 1))} if tokens else set()


def _tokens(source: str) -> Iterable[str]:
    """What is written, without comments, texts and variables' names; names of functions and methods that are called stay."""
    try:
        read = [(t.type, t.string) for t in tokenize.generate_tokens(io.StringIO(source).readline)]
    except (tokenize.TokenError, SyntaxError, ValueError):  # no Python: its words and signs
        read = [(tokenize.NAME if text[0].isalpha() else tokenize.OP, text) for text in re.findall(r"\w+|[^\w\s]", source)]
    before = ""
    for place, (kind, text) in enumerate(read):
        if kind == tokenize.NAME:
            called = place + 1 < len(read) and read[place + 1][1] == "("
            yield text if text in _KEPT or before == "." or (called and before != "def") else "x"
        elif kind == tokenize.STRING:
            yield "text"
        elif kind in (tokenize.NUMBER, tokenize.OP):
            yield text
        before = text
