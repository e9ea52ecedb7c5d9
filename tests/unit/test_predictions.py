"""What the site asks in a lab: as its solution showed it, and in Chinese with the words of the Chinese lab."""

from __future__ import annotations

import re

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from course_utils.assets import lifted
from courseware import predictions
from courseware.build import translated
from courseware.chapters import ENGLISH, Chapter, all_chapters, built, html_of
from courseware.pages import is_question

CHINESE = "zh_CN"
KEY = re.compile(r'data-(?:answer|tolerance)="[^"]*"')
ENGLISH_WORDS = re.compile(r"(?:\b[A-Za-z]{2,}\b[ ,]+){4,}")


def asked(outputs: dict[str, list[NotebookNode]]) -> list[str]:
    return [lifted(html_of(output))[0] for cell in outputs.values() for output in cell if is_question(output)]


IN_CHINESE = [chapter for chapter in all_chapters() if translated(chapter.lab, CHINESE).exists()]


def test_what_is_translated_is_built() -> None:
    catalogues = [chapter for chapter in all_chapters() if chapter.catalogue(CHINESE).exists()]
    assert catalogues and catalogues == IN_CHINESE
    assert all(translated(chapter.lecture, CHINESE).exists() for chapter in catalogues)


@pytest.mark.parametrize("chapter", IN_CHINESE, ids=lambda chapter: chapter.name)
def test_a_lab_s_predictions_in_another_language(chapter: Chapter) -> None:
    english, chinese = built(chapter.lab), built(translated(chapter.lab, CHINESE))
    shown = predictions.shown(built(chapter.solution))
    before = asked(shown)
    assert asked(predictions.translated(shown, english, english, ENGLISH)) == before, "read as it was written"
    after = asked(predictions.translated(shown, english, chinese, CHINESE))
    assert [KEY.findall(html) for html in after] == [KEY.findall(html) for html in before]
    for html in after:
        words = re.sub(r"<code>.*?</code>|<[^>]+>", " ", html)
        assert re.search("[\u4e00-\u9fff]", words) and not ENGLISH_WORDS.search(words), words
    for question in (html for html in after if "course-question" in html):
        name = re.search(r'data-name="([^"]+)"', question)
        answers = [html for html in after if name and f'data-of="{name[1]}"' in html]
        assert bool(answers) != ("data-answer" in question), "each has its answer, with it or later"


def test_a_translation_of_an_older_lab_is_no_error() -> None:
    """The site shows a lab whose Chinese notebook is not built from the source as it is now, and says so."""
    new = new_notebook(cells=[new_code_cell('"""What it does."""\nprint("a")', id="one")])
    old = new_notebook(cells=[new_code_cell('def f():\n    return "b"', id="one")])
    assert predictions.translated({"one": []}, new, old, CHINESE) == {"one": []}
