"""Explorers, predictions, quizzes in a page: by keyboard, by touch, with scripts off, with a policy against inline ones."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import matplotlib.pyplot as plt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from course_utils import plots
from course_utils.assets import STATIC, lifted
from course_utils.controls import controls
from course_utils.questions import Question, quiz
from courseware import explorers

POLICY = "default-src 'none'; img-src data:; script-src 'self' file:; style-src 'self' file:"
WIDTHS = (390, 768, 1360)


def draw(bits: int, scheme: str, grid: bool) -> None:
    _, ax = plt.subplots(figsize=(9, 4))
    ax.plot([0, 1], [0, bits])
    ax.grid(grid)
    ax.set(title=f"{scheme} with {bits} bits", xlabel="value", ylabel="code", ylim=(0, 9))
    print(f"{2**bits} codes")


@pytest.fixture(scope="module")
def parts() -> dict[str, str]:
    """The outputs that the page holds."""
    plots.style()
    specs: dict[str, Any] = {"bits": (2, 8, 1), "scheme": ["absmax", "NF4"], "grid": True}
    measured = Question.asked("Which has the least noise?", ["NF4", "int4"])
    rank = {"question": "Rank?", "options": {"1": "Too few.", "8": "Yes.", "576": "That is all of it."}, "answer": "8"}
    return {
        "explorer": explorers.html(draw, controls(specs, {"bits": 4}), {"bits": [2, 4, 8]}),
        "number": Question.asked("How many GB?", None, "GB").with_answer(3.6, "Half a byte each, and scales.").html(),
        "asked": measured.html(),
        "revealed": measured.with_answer("int4", "Look at the table.").revealed(),
        "quiz": quiz([Question.of(rank), Question.of({"question": "Codes?", "answer": 16})]),
    }


@pytest.fixture(scope="module")
def address(parts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page as the site has it: the script is a file, and the policy forbids any other."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("interactive.js", "interactive.css"):
        (folder / name).write_bytes((STATIC / name).read_bytes())
    body = "\n".join(f'<section id="{name}">{lifted(part)[0]}</section>' for name, part in parts.items())
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>t</title>'
    head += '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="interactive.css">'
    text = (
        f'<!DOCTYPE html><html lang="en"><head>{head}<script src="interactive.js"></script></head><body>{body}</body></html>'
    )
    (folder / "page.html").write_text(text, encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture
def opened(page: Page, address: str) -> Iterator[Page]:
    """The page, which must not complain."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    assert said == []


def shows(page: Page, **values: Any) -> bool:
    """Is the picture in the page the one that `draw` draws of these values?"""
    source = page.locator("#explorer img").get_attribute("src") or ""
    stored = base64.b64decode(source.partition(",")[2])
    like, drawn = Image.open(io.BytesIO(stored)), explorers.frame(draw, values).picture
    return drawn is not None and stored == explorers.packed(drawn, like.size, like)


def test_explorer_by_keyboard(opened: Page) -> None:
    """Each control is reached by Tab and has a name; picture, its text, what was printed and what is spoken follow."""
    image, status, text = (opened.locator(f"#explorer {what}") for what in ("img", ".course-status", ".course-text"))
    expect(image).to_have_attribute("alt", "absmax with 4 bits: lines and points, code over value.")
    opened.keyboard.press("Tab")
    slider = opened.get_by_role("slider", name="bits")
    expect(slider).to_be_focused()
    opened.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "8")
    expect(status).to_have_text("bits: 8, scheme: absmax, grid: on")
    expect(text).to_have_text("256 codes")
    opened.keyboard.press("Tab")
    expect(opened.get_by_role("combobox", name="scheme")).to_be_focused()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Tab")
    expect(opened.get_by_role("checkbox", name="grid")).to_be_focused()
    opened.keyboard.press("Space")
    expect(image).to_have_attribute("alt", "NF4 with 8 bits: lines and points, code over value.")
    assert shows(opened, bits=8, scheme="NF4", grid=False)
    opened.get_by_role("slider").fill("1")
    opened.get_by_role("combobox").select_option("absmax")
    opened.get_by_role("checkbox").check()
    assert shows(opened, bits=4, scheme="absmax", grid=True)
    expect(opened.locator("#explorer .course-static")).to_be_hidden()


def test_a_number_is_committed_to(opened: Page) -> None:
    box = opened.locator("#number")
    box.get_by_role("button").click()
    expect(box.get_by_role("status")).to_have_text("Write a number first.")
    box.get_by_role("spinbutton", name="your answer GB").fill("3.3")
    opened.keyboard.press("Enter")
    expect(box.get_by_role("status")).to_have_text("✓ Right.")
    expect(box.get_by_text("Half a byte each, and scales.")).to_be_visible()
    expect(box.get_by_text("3.6 GB (within 10 % counts as right)")).to_be_visible()
    expect(box.get_by_role("button")).to_be_disabled()


def test_what_was_said_is_compared_after_the_experiment(opened: Page) -> None:
    asked, revealed = opened.locator("#asked"), opened.locator("#revealed")
    expect(revealed.get_by_text("Look at the table.")).to_be_hidden()
    asked.get_by_role("button").click()
    expect(asked.get_by_role("status")).to_have_text("Choose an answer first.")
    opened.keyboard.press("Space")  # the first choice has the focus
    asked.get_by_role("button").click()
    expect(asked.get_by_role("status")).to_have_text("Noted: NF4. The answer comes after the experiment.")
    expect(revealed.get_by_role("status")).to_have_text("You said NF4. ✗ Not this time.")
    expect(revealed.get_by_text("Look at the table.")).to_be_visible()


def test_quiz(opened: Page) -> None:
    """A wrong choice shows its own explanation and the right one's, and no other."""
    first, second = opened.locator("#quiz .course-question").all()
    first.get_by_label("576").check()
    first.get_by_role("button").click()
    expect(first.get_by_role("status")).to_have_text("✗ Not this time.")
    expect(first.get_by_text("That is all of it.")).to_be_visible()
    expect(first.get_by_text("Yes.")).to_be_visible()
    expect(first.get_by_text("Too few.")).to_be_hidden()
    expect(opened.locator(".course-score")).to_be_empty()
    second.get_by_role("spinbutton").fill("16")
    second.get_by_role("button").click()
    expect(opened.locator(".course-score")).to_have_text("1 of 2 right.")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_off_the_page(browser: Browser, address: str, width: int, scheme: Any, artifacts: Path) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 700)
    page.goto(address)
    if scheme == "dark":
        page.evaluate("document.body.style.cssText = 'background: #121212; color: #ddd; color-scheme: dark'")
    if width < 700:
        page.locator(".course-option").first.tap()
        expect(page.get_by_role("radio").first).to_be_checked()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.locator(".course-controls label, .course-option").evaluate_all("e => e.map((x) => x.offsetHeight)")
    assert min(heights) >= 24, "a finger needs as much"
    page.screenshot(path=artifacts / f"interactive-{scheme}-{width}.png", full_page=True)
    page.close()


def test_with_scripts_off(browser: Browser, address: str, artifacts: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#explorer img")).to_have_attribute("alt", "absmax with 4 bits: lines and points, code over value.")
    for text in ("bits: 4, scheme: absmax, grid: on", "16 codes", "Scripts are off here"):
        expect(page.locator("#explorer").get_by_text(text)).to_be_visible()
    expect(page.get_by_role("slider")).to_have_count(0)
    expect(page.get_by_role("button")).to_have_count(0)
    page.locator("#number summary").click()
    expect(page.get_by_text("Half a byte each, and scales.")).to_be_visible()
    page.screenshot(path=artifacts / "interactive-without-scripts.png", full_page=True)
    context.close()


def test_a_saved_notebook_carries_the_script_as_often_as_it_likes(page: Page, parts: dict[str, str], tmp_path: Path) -> None:
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    (tmp_path / "page.html").write_text(
        "<!DOCTYPE html><meta charset='utf-8'>" + "\n".join(parts.values()), encoding="utf-8"
    )
    page.goto((tmp_path / "page.html").as_uri())
    page.get_by_role("slider", name="bits").press("ArrowRight")
    expect(page.locator(".course-status")).to_have_text("bits: 8, scheme: absmax, grid: on")
    page.get_by_role("radio", name="NF4").check()
    page.get_by_role("button", name="Commit").nth(1).click()
    expect(page.get_by_text("You said NF4.")).to_have_count(1)
    assert said == []


def test_in_a_live_notebook_each_answer_knows_what_was_said(page: Page, tmp_path: Path) -> None:
    """Cells run one after the other, each with its own copy of the script: a question, its answer, the next question."""
    (tmp_path / "live.html").write_text("<!DOCTYPE html><title>t</title><body></body>", encoding="utf-8")
    page.goto((tmp_path / "live.html").as_uri())
    for text in ("The first?", "The second?", "The third?"):
        asked = Question.asked(text, ["one", "two"])
        _insert(page, asked.html())
        page.locator(".course-question").last.get_by_label("two").check()
        page.locator(".course-question").last.get_by_role("button").click()
        _insert(page, asked.with_answer("two", "So.").revealed())
        expect(page.locator(".course-reveal").last.get_by_role("status")).to_have_text("You said two. ✓ Right.")


def test_where_each_output_is_a_page_of_its_own(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Colab: outputs are frames of one origin."""
    monkeypatch.setitem(sys.modules, "google.colab", object())
    asked = Question.asked("Which?", ["one", "two"])
    pages = {"/asked": asked.html(), "/revealed": asked.with_answer("one", "So.").revealed()}
    frames = "".join(f'<iframe src="{name}" name="{name[1:]}"></iframe>' for name in ("/asked", "/revealed"))

    def serve(route: Route) -> None:
        body = pages.get(urlsplit(route.request.url).path, frames)
        route.fulfill(body=f"<!DOCTYPE html><meta charset=utf-8><title>t</title>{body}", content_type="text/html")

    page.route("http://outputs.test/**", serve)
    page.goto("http://outputs.test/")
    asks, reveals = page.frame_locator("[name=asked]"), page.frame_locator("[name=revealed]")
    expect(reveals.locator(".course-verdict")).to_have_text("")
    asks.get_by_label("two").check()
    asks.get_by_role("button").click()
    expect(reveals.get_by_role("status")).to_have_text("You said two. ✗ Not this time.")
    page.evaluate("document.body.append(Object.assign(document.createElement('iframe'), {name: 'again', src: '/revealed'}))")
    expect(page.frame_locator("[name=again]").get_by_role("status")).to_have_text("You said two. ✗ Not this time.")


def _insert(page: Page, html: str) -> None:
    """Add an output as a notebook does: its scripts run."""
    page.evaluate(
        "html => document.body.append(document.createRange().createContextualFragment(html))", f"<section>{html}</section>"
    )
