"""What the choices of a quiz do not give away: a key that is the longest one, or the shortest, is found without thinking."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from courseware.chapters import ENGLISH, FOLDERS, Chapter, all_chapters
from courseware.translation import catalogue
from courseware.translation.choices import questions

AT_MOST = 0.45  # of the five to eight questions of a quiz; by chance it is one in three or four, the number of choices
IN_ALL = 0.3  # of the questions of all quizzes


def text_of(node: ast.expr | None) -> str | None:
    """A choice as it is written; None: it is known only when the cell runs."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def asked(chapter: Chapter) -> Iterator[tuple[str, list[str]]]:
    """The key, and the other choices, of each question of a chapter's quiz that has choices."""
    for call in ast.walk(ast.parse(chapter.lecture_source.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "widgets.quiz":
            continue
        for options, answer in questions(call.args[0]):
            if not isinstance(options, ast.Dict):
                continue
            key, choices = text_of(answer), [text_of(choice) for choice in options.keys]
            assert key in choices and None not in choices, f"line {options.lineno}: write key and choices as plain strings"
            yield str(key), [str(choice) for choice in choices if choice != key]


def with_words(chapter: Chapter, language: str) -> list[tuple[str, list[str]]]:
    """The same in a language, without choices between numbers, whose length says nothing."""
    say = catalogue.load(catalogue.path_of(language, chapter.name)).say if language in FOLDERS else str
    found = [(key, others) for key, others in asked(chapter) if not all(map(str.isdigit, (key, *others)))]
    return [(say(key), list(map(say, others))) for key, others in found]


def longest(quiz: list[tuple[str, list[str]]]) -> list[str]:
    return [key for key, others in quiz if len(key) > max(map(len, others))]


def shortest(quiz: list[tuple[str, list[str]]]) -> list[str]:
    return [key for key, others in quiz if len(key) < min(map(len, others))]


@pytest.mark.parametrize("language", [ENGLISH, *FOLDERS])
@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_length_does_not_tell_the_key(chapter: Chapter, language: str) -> None:
    quiz = with_words(chapter, language)
    assert len(quiz) >= 5, "most questions of a quiz have choices"
    for found in (longest(quiz), shortest(quiz)):
        assert len(found) <= AT_MOST * len(quiz), found


@pytest.mark.parametrize("language", [ENGLISH, *FOLDERS])
def test_nor_does_it_in_the_whole_course(language: str) -> None:
    quiz = [question for chapter in all_chapters() for question in with_words(chapter, language)]
    for found in (longest(quiz), shortest(quiz)):
        assert len(found) <= IN_ALL * len(quiz), f"{len(found)} of {len(quiz)}"
