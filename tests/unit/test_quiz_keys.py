"""What keys of quizzes and predictions are: not told by the length of a choice, and computed where a number is asked."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from courseware import rules
from courseware.chapters import ENGLISH, FOLDERS, Chapter, all_chapters
from courseware.translation import catalogue
from courseware.translation.choices import questions

AT_MOST = 0.45  # of the five to eight questions of a quiz; by chance it is one in three or four, the number of choices
IN_ALL = 0.3  # of the questions of all quizzes


def text_of(node: ast.expr | None) -> str | None:
    """A choice as it is written, or as `str(36 - 24)` says; None: it is known only when the cell runs."""
    try:
        found = eval(ast.unparse(node), {"__builtins__": {"str": str}}) if node else None
    except NameError:  # it needs what the notebook computes
        return None
    return found if isinstance(found, str) else None


def written(node: ast.expr) -> object:
    """A key that is written down; None: code computes it."""
    try:
        return ast.literal_eval(node)  # type: ignore[no-any-return]
    except ValueError:  # it is computed
        return None


def typed_keys(source: str) -> Iterator[str]:
    """What is revealed after a run and does not come from it, and numbers that are asked for and not computed."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if isinstance(call.func, ast.Attribute) and call.func.attr == "reveal" and call.args:
            given["answer"] = call.args[0]
            found = written(call.args[0]) is not None
        else:
            found = "answer" in given and bool(re.fullmatch(r"[-+.,\d]+ ?%?", str(written(given["answer"]))))
        if found:
            yield f"line {call.lineno}: {ast.unparse(given['answer'])}"


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_numbers_and_outcomes_are_computed(chapter: Chapter) -> None:
    """A key that is typed goes stale when an experiment changes; only what follows from an idea may be written down."""
    for source in (chapter.lecture_source, chapter.lab_source):
        assert list(typed_keys(source.read_text(encoding="utf-8"))) == []


def test_typed_keys() -> None:
    source = 'guess.reveal("low", why="so")\nguess.reveal("low" if x < 1 else "high")\nwidgets.predict("?", answer=-3)\n'
    source += 'dict(question="?", answer="both")\ndict(question="?", answer=str(36 - 24))\ndict(question="?", answer="12")'
    assert sorted(typed_keys(source)) == ["line 1: 'low'", "line 3: -3", "line 6: '12'"]
    choices = [text_of(ast.parse(text, mode="eval").body) for text in ("str(36 - 24)", "str(x)", '"both"')]
    assert choices == ["12", None, "both"]


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
    assert len(quiz) >= rules.CHOICES, "most questions of a quiz have choices, and not between numbers alone"
    for found in (longest(quiz), shortest(quiz)):
        assert len(found) <= AT_MOST * len(quiz), found


@pytest.mark.parametrize("language", [ENGLISH, *FOLDERS])
def test_nor_does_it_in_the_whole_course(language: str) -> None:
    quiz = [question for chapter in all_chapters() for question in with_words(chapter, language)]
    for found in (longest(quiz), shortest(quiz)):
        assert len(found) <= IN_ALL * len(quiz), f"{len(found)} of {len(quiz)}"
