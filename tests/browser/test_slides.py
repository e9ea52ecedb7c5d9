"""Every slide of every lecture on a projector of 1280 × 720: nothing is cut off, too small or missing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
import small_course
from fontTools.ttLib import TTFont
from playwright.sync_api import Page, expect

from course_utils.controls import controls
from course_utils.questions import Question
from courseware import explorers, mathml, pages, references, slides
from courseware.chapters import ENGLISH, Chapter, all_chapters
from courseware.chapters import chapter as chapter_of

SMALLEST = 0.75  # of 24 pixels; a slide that would need less is cut in two
MEASURE = """() => {
  const slide = Reveal.getCurrentSlide(), box = slide.querySelector(":scope > .fit");
  // folded code has a place, though it is not shown
  const seen = (e) => !e.closest("details:not([open])") || e.closest("summary");
  const boxes = [...box.querySelectorAll("*")].filter(seen).map((e) => e.getBoundingClientRect());
  const edges = boxes.filter((r) => r.width && r.height);
  return {
    title: (slide.querySelector("h1, h2, h3") || {}).innerText || "",
    zoom: Number(slide.dataset.zoom) || null,
    bottom: Math.max(...edges.map((r) => r.bottom)),
    right: Math.max(...edges.map((r) => r.right)),
    broken: [...box.querySelectorAll("img")].filter((i) => !i.complete || !i.naturalWidth || !i.alt).length,
    raw: box.innerText.match(/\\$[^$\\n]+\\$|\\\\frac|\\\\times/g) || [],
  };
}"""

# An interactive draws itself for the width that it got, and the slide is measured again; an answer says a task later that it
# is open.
FITTED = """() => new Promise((done) => {
  let frames = Reveal.getCurrentSlide().querySelector(".course-flagship") ? 3 : 0;
  const look = () => {
    if (frames-- <= 0 && document.documentElement.dataset.fitting === "0") done();
    else requestAnimationFrame(look);
  };
  look();
})"""

# Each slide, and again with each answer on it open. The page goes from one to the next: a word from outside for each step
# takes a fifth of the time.
ALL = f"""async () => {{
  const fitted = {FITTED}, measure = {MEASURE}, found = [];
  for (;;) {{
    await fitted();
    found.push(measure());
    if (Reveal.isLastSlide() && !Reveal.availableFragments().next) return found;
    Reveal.next();
    await new Promise((done) => setTimeout(done));
  }}
}}"""


@cache
def html(chapter: Chapter, language: str) -> str:
    """The slides of a lecture, made once."""
    return slides.html(chapter, language)


def opened(page: Page, text: str, folder: Path) -> None:
    """Open slides, and wait until the first one is laid out."""
    path = folder / "slides.html"
    path.write_text(text, encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_function("Reveal.isReady() && Reveal.getCurrentSlide().dataset.zoom")


def is_bad(slide: dict[str, Any]) -> bool:
    """Does a slide run over its edges, is it too small, lacks it a picture, or is a formula not set?"""
    small = slide["zoom"] is None or slide["zoom"] < SMALLEST
    return slide["bottom"] > 720.5 or slide["right"] > 1280.5 or small or bool(slide["broken"] or slide["raw"])


@pytest.mark.parametrize("language", [ENGLISH, pytest.param("zh_CN", id="zh_CN_again", marks=pytest.mark.second_look)])
@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_no_slide_overflows(
    chapter: Chapter, language: str, page: Page, asked: list[str], tmp_path: Path, picture: Callable[[str], None]
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    opened(page, html(chapter, language), tmp_path)
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total >= 10
    assert page.evaluate("[...document.fonts].map((font) => font.status)") == ["loaded"]
    found = page.evaluate(ALL)
    bad = {number: slide for number, slide in enumerate(found) if is_bad(slide)}
    page.evaluate("Reveal.slide(0)")
    for number in range(max(bad, default=-1) + 1):
        page.evaluate(FITTED)
        if number in bad:
            picture(f"slide-{chapter.name}-{language}-{number}")
        page.evaluate("Reveal.next()")
    assert len(found) >= total and not bad
    assert not errors
    assert [address for address in asked if not re.match("file:|data:|blob:", address)] == []
    page.evaluate("Reveal.slide(1)")
    picture(f"slides-{chapter.name}-{language}")


def test_a_slide_that_holds_too_much_is_cut(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its parts, else between the items of a list or the rows of a table; each part has the heading."""
    long = "A sentence that is long enough to fill a line of a slide, or nearly. " * 3
    rows = "\n".join(f"| row {i} | {i} |" for i in range(60))
    texts = [
        "# A title",
        "## Few\n\n" + long,
        "## Many\n\n" + "\n\n".join([long] * 12),
        "## Items\n\n" + "\n".join(f"{i}. {long}" for i in range(1, 16)),
        f"## Rows\n\n| name | number |\n|---|---|\n{rows}",
    ]
    cells = [nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": "slide"}}) for text in texts]
    monkeypatch.setattr(slides, "built", lambda path: nbformat.v4.new_notebook(cells=cells))
    opened(page, slides.html(all_chapters()[0]), tmp_path)
    shown = []
    for _ in range(page.evaluate("Reveal.getTotalSlides()")):
        found = page.evaluate(MEASURE)
        assert found["zoom"] >= SMALLEST and found["bottom"] <= 720.5
        shown.append(page.evaluate("Reveal.getCurrentSlide().querySelector('.fit').innerText.trim().split('\\n')[0]"))
        page.evaluate("Reveal.next()")
    assert list(dict.fromkeys(shown)) == ["A title", "Few", "Many", "Items", "Rows"]
    assert [shown.count(name) > 1 for name in dict.fromkeys(shown)] == [False, False, True, True, True]
    assert page.locator("thead").count() == shown.count("Rows")
    assert page.locator("ol").evaluate_all("lists => lists[1].start - 1 === lists[0].children.length")
    assert page.locator("tbody tr").count() == 60 and page.locator("ol li").count() == 15


def test_code_folds_and_comes_back(page: Page, tmp_path: Path) -> None:
    opened(page, html(all_chapters()[0], ENGLISH), tmp_path)
    while not page.evaluate("Reveal.getCurrentSlide().querySelectorAll('details.code').length"):
        page.evaluate("Reveal.next()")
    before = page.evaluate("Reveal.getCurrentSlide().querySelectorAll('details.code[open]').length")
    page.keyboard.press("c")
    after = page.evaluate("Reveal.getCurrentSlide().querySelectorAll('details.code[open]').length")
    assert (before == 0) != (after == 0)


@pytest.mark.parametrize(("number", "language"), [("10", ENGLISH), ("09", "zh_CN"), ("11", ENGLISH)])
def test_printed_a_slide_is_a_page_and_whole(number: str, language: str, page: Page, tmp_path: Path) -> None:
    path = tmp_path / "slides.html"
    path.write_text(html(chapter_of(number), language), encoding="utf-8")
    page.goto(path.as_uri() + "?print-pdf")
    page.wait_for_selector(".pdf-page", state="attached", timeout=120_000)
    total = page.evaluate("Reveal.getTotalSlides()")
    cut = page.evaluate(
        """(smallest) => [...document.querySelectorAll(".pdf-page")]
          .map((sheet) => [sheet.getBoundingClientRect().bottom, sheet.querySelector(".fit")])
          .filter(([bottom, box]) => box.getBoundingClientRect().bottom > bottom + 0.5 || box.style.zoom < smallest)
          .map(([, box]) => box.innerText.slice(0, 60))""",
        SMALLEST,
    )
    assert cut == []
    made = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", made)) == total


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_notes_and_every_cell_arrive(chapter: Chapter) -> None:
    made = html(chapter, ENGLISH)
    assert '<aside class="notes">' in made, "a lecture needs notes for who speaks"
    notebook = nbformat.read(chapter.lecture, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source and not pages.asks(c)]
    shown = [c for c in code if c.metadata.slideshow.slide_type != "skip"]
    assert made.count('<details class="code"') == len(shown)


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_font_holds_every_sign_of_the_formulas(chapter: Chapter) -> None:
    page = "".join(map(mathml.in_markdown, references.prose(chapter)))
    formulas = re.findall("<math.*?</math>", page, re.DOTALL)
    signs = "".join(sign for formula in formulas for sign in ElementTree.fromstring(formula).itertext())
    font = TTFont(io.BytesIO(mathml.font(page)))
    assert set(map(ord, signs)) <= set(font.getBestCmap())
    assert "MATH" in font and ord("𝑊") in font.getBestCmap()


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The slides of a lecture with a prediction and an explorer, and their address."""
    question = Question.asked("How many bits?", ["4", "8"]).with_answer("4", "Sixteen levels.")
    cells = [nbformat.v4.new_markdown_cell("# A title"), nbformat.v4.new_markdown_cell("## One")]
    for html in (explorers.html(print_bits, controls({"bits": (1, 9, 1)}, {}), {}), question.html()):
        output = nbformat.v4.new_output("display_data", data={"text/html": html})
        cells.append(nbformat.v4.new_code_cell("pass", outputs=[output]))
    cells.append(nbformat.v4.new_markdown_cell("## Two"))
    for cell, kind in zip(cells, ("slide", "slide", "-", "-", "slide"), strict=True):
        cell.metadata["slideshow"] = {"slide_type": kind}
    monkeypatch.setattr(slides, "built", lambda path: nbformat.v4.new_notebook(cells=cells))
    return slides.write(all_chapters()[0], tmp_path).as_uri()


def print_bits(bits: int) -> None:
    print(f"{bits} bits")


def test_the_lecturer_steps_through_predictions_and_explorers(page: Page, talk: str, picture: Callable[[str], None]) -> None:
    """A step opens the answer, the next one leaves the slide; arrows move a slider that has the focus, not the slides."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(talk)
    page.wait_for_function("Reveal.isReady()")
    page.keyboard.press("ArrowRight")
    slider = page.get_by_role("slider", name="bits")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("6 bits")).to_be_visible()
    page.keyboard.press("Escape")
    why = page.locator(".course-answer p", has_text="Sixteen levels.")
    expect(why).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(why).to_be_visible()
    picture("slides-prediction")
    page.keyboard.press("ArrowLeft")
    expect(why).to_be_hidden()
    page.get_by_role("radio", name="8").check()
    page.get_by_role("button", name="Commit").click()
    expect(why).to_be_visible()
    expect(page.get_by_text("✗ Not this time.")).to_be_visible()
    while page.evaluate("Reveal.getIndices().h") < 2:
        page.keyboard.press("ArrowRight")
    assert said == [] and page.evaluate("document.querySelectorAll('script[data-course]').length") == 1


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The slides of a lecture with all that asks and moves, and their address."""
    folder = tmp_path_factory.mktemp("small")
    return slides.write(small_course.write(folder), folder / "slides").as_uri()


def test_a_question_of_a_quiz_has_a_slide(page: Page, small: str, picture: Callable[[str], None]) -> None:
    page.goto(small)
    page.wait_for_function("Reveal.isReady()")
    assert page.evaluate("Reveal.getTotalSlides()") == 6 + len(small_course.QUIZ) - 1
    page.evaluate("Reveal.slide(4, 1)")
    expect(page.get_by_role("heading", name="Quiz · 2 / 3")).to_be_visible()
    expect(page.locator("section.present:not(.stack) .course-question")).to_have_count(1)
    expect(page.locator("section.present:not(.stack) details.code")).to_have_count(0)  # its code holds the key
    why = page.get_by_text("For all that share its scale.")
    expect(why).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(why).to_be_visible()
    picture("slides-quiz")


def test_what_came_out_is_on_the_next_slide(page: Page, small: str) -> None:
    page.goto(small)
    page.wait_for_function("Reveal.isReady()")
    page.evaluate("Reveal.slide(1, 0)")
    shown = page.locator("section.present:not(.stack)")
    expect(shown.get_by_text("Which has the least noise?")).to_be_visible()
    expect(shown.get_by_text("What came out")).to_have_count(0)
    page.evaluate("Reveal.slide(1, 1)")
    expect(shown.get_by_role("heading", name="Guess")).to_be_visible()
    expect(shown.get_by_text("What came out")).to_be_visible()


def test_an_interactive_has_the_slide_s_width(page: Page, small: str, picture: Callable[[str], None]) -> None:
    page.goto(small)
    page.wait_for_function("Reveal.isReady()")
    page.evaluate("Reveal.slide(3)")
    shown = page.locator(".course-flagship")
    expect(shown.get_by_role("button", name="× 10")).to_be_visible()
    assert (shown.bounding_box() or {"width": 0})["width"] > 1000
    assert page.evaluate(MEASURE)["bottom"] <= 720
    picture("slides-interactive")


def test_on_paper_a_picture_stands_for_what_moves(page: Page, small: str) -> None:
    """With its values in place of controls, every answer open, and not a page more than there are slides."""
    page.goto(small + "?print-pdf")
    page.wait_for_selector(".pdf-page", state="attached", timeout=60_000)
    expect(page.locator("button:visible, input:not([type=radio]):visible, select:visible")).to_have_count(0)
    expect(page.get_by_text("bits: 4, scheme: absmax")).to_be_visible()
    expect(page.locator("img[alt^='absmax with 4 bits']")).to_be_visible()
    expect(page.locator(".fs-live svg[role=img]").first).to_be_visible()
    expect(page.locator(".course-answer:not([open])")).to_have_count(0)
    assert (page.locator(".course-flagship").bounding_box() or {"width": 0})["width"] > 1000
    made = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", made)) == page.evaluate("Reveal.getTotalSlides()")
