"""The page of a lecture that asks and moves, and the page of its quiz: at three widths, in light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import small_course
from playwright.sync_api import Browser, Page, expect

from courseware import cards, quizzes, site
from courseware.chapters import built

CHECK = Path(__file__).with_name("page_check.js").read_text(encoding="utf-8")
PAGES = ("index", "lectures/10_quantization", "quizzes/10_quantization", "labs/10_quantization")
WIDTHS = (390, 768, 1360)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    assert site.build(folder / "site", [small_course.write(folder)]) == []
    return folder / "site"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_page_is_fit_for_all(pages: Path, browser: Browser, artifacts: Path, width: int, colours: str) -> None:
    """With every answer open, too: it is then that most is in the page."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours, has_touch=width < 700)
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    bad = {}
    for name in PAGES:
        page.goto((pages / f"{name}.html").as_uri())
        page.evaluate("document.querySelectorAll('.course-answer').forEach((answer) => (answer.open = true))")
        found = page.evaluate(CHECK)
        faults = {key: found[key] for key in ("contrast", "nameless", "skipped", "pictures", "wide", "twice") if found[key]}
        if found["titles"] != 1 or found["sideways"] > 0 or len(found["description"]) < 20:
            faults["page"] = [found["titles"], found["sideways"], found["description"]]
        if faults:
            bad[name] = faults
        page.screenshot(path=artifacts / f"small-{name.replace('/', '-')}-{colours}-{width}.png", full_page=True)
        if name.startswith("lectures"):
            asking = page.locator(".cell", has=page.locator(".course-box"))
            assert asking.count() == 4 and asking.locator(".highlight").count() == 0, "its code holds the key"
            assert page.locator(".cell summary", has_text="Show the code").count() == 2
            if width < 480:  # the picture's labels stay legible, so it scrolls in its box, by keyboard too
                expect(page.locator(".course-picture")).to_have_attribute("tabindex", "0")
    page.close()
    assert bad == {}
    assert said == []


def test_a_quiz_has_its_page(pages: Path, page: Page, asked: list[str], picture: Callable[[str], None]) -> None:
    page.goto((pages / "index.html").as_uri())
    expect(page.locator(".card")).to_contain_text("Quiz 10 3 questions")
    page.goto((pages / "labs" / "10_quantization.html").as_uri())
    expect(page.locator("nav.chapters").get_by_role("link", name="Quiz 10")).to_be_visible()
    page.locator(".page-end").get_by_role("link", name="Quiz", exact=True).click()
    expect(page.get_by_role("heading", name="Quiz 10")).to_be_visible()
    for question, right in zip(page.locator(".course-question").all(), (True, False, True), strict=True):
        if question.get_by_role("spinbutton").count():
            question.get_by_role("spinbutton").fill("16")
        else:
            question.get_by_role("radio").nth(int(right)).check()
        question.get_by_role("button", name="Check").click()
    expect(page.get_by_text("Nothing is cut off.")).to_be_visible()
    expect(page.get_by_text("Those are int4's.")).to_be_hidden()
    expect(page.locator(".course-score")).to_have_text("2 of 3 right.")
    picture("site-quiz")
    end = page.locator(".page-end")
    for tools in (page.locator(".middle > .tools"), end):  # the quiz is the end of the lecture's notebook
        expect(tools.get_by_role("link", name="Open in Colab")).to_have_attribute(
            "href", re.compile(r"/lectures/10_\w+\.ipynb$")
        )
        expect(tools.get_by_role("link", name="Download")).to_have_attribute("href", "../lectures/10_quantization.ipynb")
    assert end.locator("a[rel=prev]").get_attribute("href") == "../lectures/10_quantization.html"
    assert end.locator("a[rel=next]").get_attribute("href") == "../labs/10_quantization.html"
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []


def test_a_lecture_without_a_quiz_has_none(tmp_path: Path) -> None:
    chapter = small_course.write(tmp_path)
    assert quizzes.count(quizzes.stored(built(chapter.lecture))) == 3
    assert cards.card(chapter).quiz == "quizzes/10_quantization"
    chapter.lecture.write_text(chapter.lab.read_text(encoding="utf-8"), encoding="utf-8")
    assert cards.card(chapter).quiz == ""


def test_the_first_page_has_something_that_moves(pages: Path, page: Page) -> None:
    page.goto((pages / "index.html").as_uri())
    shown = page.locator(".show")
    expect(shown.get_by_role("button", name="× 10")).to_be_visible()
    before = shown.get_by_role("status").last.inner_text()
    shown.get_by_role("button", name="× 10").press("Enter")
    expect(shown.get_by_role("status").last).not_to_have_text(before)
    expect(shown.locator("figcaption").last).to_contain_text("From lecture 10, Quantization.")
    assert page.locator("script[data-course]").count() == 0  # the site brings it, once
