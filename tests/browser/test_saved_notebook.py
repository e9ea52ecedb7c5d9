"""A built lecture opened in JupyterLab and not run: trusted, it asks and moves; if not, it says why it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import nbformat
import pytest
import small_course
from nbformat.sign import NotebookNotary
from playwright.sync_api import Page, expect
from servers import DATA, jupyterlab

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("jupyter")
    notebook = small_course.lecture()
    for name in ("trusted", "strange"):
        notebook.metadata["name"] = name  # a signature is of all that a notebook holds
        nbformat.write(notebook, folder / f"{name}.ipynb")
    (folder / DATA).mkdir()
    NotebookNotary(data_dir=str(folder / DATA)).sign(nbformat.read(folder / "trusted.ipynb", as_version=4))
    with jupyterlab(folder, SETTINGS) as address:
        yield address


def opened(page: Page, jupyter: str, name: str) -> None:
    page.goto(jupyter.format(f"lab/workspaces/{name}/tree/{name}.ipynb"))
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=120_000)


def test_trusted(page: Page, jupyter: str, picture: Callable[[str], None]) -> None:
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    opened(page, jupyter, "trusted")
    slider = page.locator(".course-explorer").get_by_role("slider", name="bits")
    slider.press("ArrowRight")
    expect(page.get_by_text("32 codes")).to_be_visible()
    picture("jupyterlab-saved-explorer")
    box = page.locator(".course-predict").first
    box.get_by_role("spinbutton").press_sequentially("3.5")  # keys are the box's, and not commands to the notebook
    box.get_by_role("spinbutton").press("Enter")
    expect(box.get_by_text("✓ Right.")).to_be_visible()
    picture("jupyterlab-saved-prediction")
    page.locator(".course-flagship").get_by_role("button", name="× 10").press("Enter")
    expect(page.locator(".course-flagship").get_by_role("status").last).not_to_contain_text("0 of 16 codes changed")
    picture("jupyterlab-saved-interactive")
    assert said == []


def test_not_trusted(page: Page, jupyter: str, picture: Callable[[str], None]) -> None:
    """JupyterLab takes scripts out: the picture stays, and a line says how to move it."""
    opened(page, jupyter, "strange")
    explorer = page.locator(".jp-RenderedHTMLCommon", has_text="Scripts are off here")
    explorer.scroll_into_view_if_needed()
    expect(explorer.get_by_role("img", name="absmax with 4 bits")).to_be_visible()
    picture("jupyterlab-saved-strange")
