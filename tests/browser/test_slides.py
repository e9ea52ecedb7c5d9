"""Every slide of every lecture on a projector of 1280 × 720: nothing is cut off, too small or missing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from fontTools.ttLib import TTFont
from playwright.sync_api import Page

from courseware import mathml, references, slides
from courseware.chapters import Chapter, all_chapters

SMALLEST = 0.6  # of 24 pixels; a slide that needs less must be split
MEASURE = """() => {
  const slide = Reveal.getCurrentSlide(), box = slide.querySelector(":scope > .fit");
  // folded code has a place, though it is not shown
  const seen = (e) => !e.closest("details:not([open])") || e.closest("summary");
  const boxes = [...box.querySelectorAll("*")].filter(seen).map((e) => e.getBoundingClientRect());
  const edges = boxes.filter((r) => r.width && r.height);
  return {
    title: (slide.querySelector("h1, h2, h3") || {}).innerText || "",
    zoom: Number(slide.dataset.zoom),
    bottom: Math.max(...edges.map((r) => r.bottom)),
    right: Math.max(...edges.map((r) => r.right)),
    broken: [...box.querySelectorAll("img")].filter((i) => !i.complete || !i.naturalWidth || !i.alt).length,
    raw: box.innerText.match(/\\$[^$\\n]+\\$|\\\\frac|\\\\times/g) || [],
  };
}"""


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_no_slide_overflows(
    chapter: Chapter, page: Page, asked: list[str], tmp_path: Path, picture: Callable[[str], None]
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    path = slides.write(chapter, tmp_path)
    page.goto(path.as_uri())
    page.wait_for_function("Reveal.isReady()")
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total >= 10
    assert page.evaluate("[...document.fonts].map((font) => font.status)") == ["loaded"]
    bad = []
    for number in range(1, total + 1):
        found = page.evaluate(MEASURE)
        if found["bottom"] > 720.5 or found["right"] > 1280.5 or found["zoom"] < SMALLEST or found["broken"] or found["raw"]:
            bad.append((number, found))
            picture(f"slide-{chapter.name}-{number}")
        page.evaluate("Reveal.next()")
    assert not bad
    assert not errors
    assert [address for address in asked if not re.match("file:|data:|blob:", address)] == []
    page.evaluate("Reveal.slide(1)")
    picture(f"slides-{chapter.name}")


def test_code_folds_and_comes_back(page: Page, tmp_path: Path) -> None:
    page.goto(slides.write(all_chapters()[0], tmp_path).as_uri())
    page.wait_for_function("Reveal.isReady()")
    while not page.evaluate("Reveal.getCurrentSlide().querySelectorAll('details.code').length"):
        page.evaluate("Reveal.next()")
    before = page.evaluate("Reveal.getCurrentSlide().querySelectorAll('details.code[open]').length")
    page.keyboard.press("c")
    after = page.evaluate("Reveal.getCurrentSlide().querySelectorAll('details.code[open]').length")
    assert (before == 0) != (after == 0)


def test_printed_a_slide_is_a_page_and_whole(page: Page, tmp_path: Path) -> None:
    chapter = next(chapter for chapter in all_chapters() if chapter.name.startswith("10"))
    page.goto(slides.write(chapter, tmp_path).as_uri() + "?print-pdf")
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
    made = slides.html(chapter)
    assert '<aside class="notes">' in made, "a lecture needs notes for who speaks"
    notebook = nbformat.read(chapter.lecture, as_version=4)
    shown = [c for c in notebook.cells if c.metadata.slideshow.slide_type != "skip" and c.cell_type == "code" and c.source]
    assert made.count('<details class="code"') == len(shown)


@pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)
def test_font_holds_every_sign_of_the_formulas(chapter: Chapter) -> None:
    page = "".join(map(mathml.in_markdown, references.prose(chapter)))
    formulas = re.findall("<math.*?</math>", page, re.DOTALL)
    signs = "".join(sign for formula in formulas for sign in ElementTree.fromstring(formula).itertext())
    font = TTFont(io.BytesIO(mathml.font(page)))
    assert set(map(ord, signs)) <= set(font.getBestCmap())
    assert "MATH" in font and ord("𝑊") in font.getBestCmap()
