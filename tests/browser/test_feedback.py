"""Feedback pages and the overview of a class, on a phone and on a desk: all can be read, nothing is asked of the network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page

from courseware import build
from courseware.chapters import chapter
from courseware.grading import feedback, overview, verdict
from courseware.grading import feedback_page as pages

HOSTILE = "<img src=x onerror=\"document.title='run'\"> [x](javascript:document.title='run') $\\text{<b onclick=1>}$"
SAID = [["hidden", " (IndexError)"], ["because", "a tensor of zeros"], ["because", "weights in bfloat16"]]


@pytest.fixture(scope="module")
def shared() -> tuple[pages.Lab, list[nbformat.NotebookNode]]:
    """Lab 10 as pages have it, and its cells."""
    released = nbformat.writes(build.student_lab(chapter("10")))
    lab = verdict.Lab("10_quantization", "", released)
    cells = nbformat.reads(released, as_version=4).cells
    made = feedback.Pages(lab, Path("/nowhere"))
    made._font = lambda _: ""  # type: ignore[method-assign]
    return made.shared(), cells


def write(folder: Path, shared: tuple[pages.Lab, list[nbformat.NotebookNode]], lang: str) -> Path:
    lab, cells = shared
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_markdown_cell(HOSTILE, id="own-0")])
    notebook.cells[5].outputs = [nbformat.v4.new_output("stream", text="0123456789" * 30 + "\n" + "line\n" * 60)]
    lines = []
    for name in (
        "absmax",
        "zero_point",
        "blockwise",
        "mixed_matmul",
        "nf4",
        "int8_linear",
        "token_nll",
        "salient",
        "calibrated",
    ):
        lines.append(pages.Line(name, "A section of the lab", 5, 5, {f"{name}-tests": (2, 2), f"{name}-hidden": (3, 3)}))
    lines[0] = pages.Line("absmax", "Absmax", 2, 5, {"absmax-tests": (2, 2), "absmax-hidden": (0, 3)}, SAID, "Nearly!")
    about = pages.About(
        "2025001", "Núñez, José 张伟", "Lab 10 · Quantization", 37, 40, lines, [], "sub/my lab.ipynb", True, lang, "KEY",
        json.dumps(notebook),
    )  # fmt: skip
    path = folder / f"feedback-{lang}.html"
    path.write_text(pages.page(about, lab), encoding="utf-8")
    return path


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1360, 900)])
def test_a_feedback_page(
    shared: tuple[pages.Lab, list[nbformat.NotebookNode]], tmp_path: Path, page: Page, asked: list[str],
    picture: Callable[[str], None], width: int, height: int, lang: str,
) -> None:  # fmt: skip
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.set_viewport_size({"width": width, "height": height})
    page.goto(write(tmp_path, shared, lang).as_uri())
    picture(f"feedback-{lang}-{width}")
    assert len(asked) == 1 and not logged, (asked, logged)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
    last = page.locator(".lines > li").last.bounding_box()
    assert last and last["y"] + last["height"] < height, "score and exercises fill more than one screen"
    assert page.title() != "run" and page.locator("a[href^='javascript']").count() == 0
    page.get_by_text("x", exact=True).last.click()
    assert page.title() != "run"
    prose = [cell.source for cell in shared[1] if cell.cell_type == "markdown"] + [HOSTILE]
    formulas = sum(len(re.findall(r"\$\$.+?\$\$|\$.+?\$", text, re.DOTALL)) for text in prose)
    assert page.locator("math").count() == formulas > 3 and "$" not in page.locator("main .prose").first.inner_text()
    drawn = page.locator("math").first.bounding_box()
    assert drawn and drawn["width"] > 5 and drawn["height"] > 5
    page.locator(".lines a").first.click()
    assert page.locator("#exercise-absmax").is_visible()


@pytest.mark.parametrize("width", [390, 1360])
def test_the_overview(tmp_path: Path, page: Page, asked: list[str], picture: Callable[[str], None], width: int) -> None:
    names = ["absmax", "zero_point", "a_rather_long_exercise"]
    entries = [
        overview.Entry(
            f"s{n}", "张" * 91 if n == 3 else f"Student {n}", n % 16, 15, {name: (n % 6, 5) for name in names},
            {names[n % 3]: SAID}, ["ran longer than 60 s"] if n % 20 == 3 else [], "", n % 7 == 0, False,
            {"absmax": f"def absmax(x):\n    return {n}"},
        )
        for n in range(60)
    ]  # fmt: skip
    path = tmp_path / "overview.html"
    path.write_text(overview.made("Lab", entries, ["Eve"], dict.fromkeys(names, "A section"), {}), encoding="utf-8")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())
    picture(f"overview-{width}")
    assert len(asked) == 1 and page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg rect").count() == 10 and page.locator(".share").count() == 3
