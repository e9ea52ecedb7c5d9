"""JupyterLab as `make lab` installs it: in Chinese too, with RISE for live slides and nbgrader's validation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page
from servers import jupyterlab

from courseware import build
from courseware.chapters import Chapter, chapter

ROOT = Path(__file__).resolve().parents[2]
TINY = Chapter(ROOT / "tests" / "grading" / "90_tiny")
WAIT = 90_000  # milliseconds: a busy machine starts a page slowly


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a JupyterLab with a lecture and a small lab, its menus in Chinese; {} is where the page goes."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(chapter("04").lecture, folder / "lecture.ipynb")
    nbformat.write(build.student_lab(TINY), folder / "tiny.ipynb")
    with jupyterlab(folder, {"translation-extension/plugin": {"locale": "zh_CN"}}) as address:
        yield address


def test_menus_in_chinese(chinese: str, page: Page, picture: Callable[[str], None]) -> None:
    page.goto(chinese.format("lab"))
    page.wait_for_selector(".lm-MenuBar-itemLabel", timeout=WAIT)
    page.wait_for_function("document.querySelector('.lm-MenuBar').innerText.includes('文件')", timeout=WAIT)
    picture("jupyterlab-chinese")


def test_a_lecture_as_live_slides(chinese: str, page: Page, picture: Callable[[str], None]) -> None:
    page.goto(chinese.format("rise/lecture.ipynb"))
    page.wait_for_selector(".reveal .slides section.present h1", timeout=WAIT)
    first = page.locator(".reveal .slides section.present").first.inner_text()
    picture("rise")
    page.keyboard.press("Space")
    page.wait_for_function("(old) => document.querySelector('section.present').innerText !== old", arg=first, timeout=WAIT)


def test_validate_says_what_is_missing(chinese: str, page: Page, picture: Callable[[str], None]) -> None:
    page.goto(chinese.format("lab/tree/tiny.ipynb"))
    button = page.locator(
        ".jp-NotebookPanel-toolbar button.validate-button, .jp-NotebookPanel-toolbar .validate-button"
    ).first
    button.wait_for(timeout=WAIT)
    button.click()
    dialog = page.locator(".jp-Dialog, .validate-result, .nbgrader-validate").first
    dialog.wait_for(timeout=WAIT)
    picture("nbgrader-validate")
    assert "This cell waits for exercise double, which is not written yet" in dialog.inner_text()
