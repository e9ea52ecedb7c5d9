"""Lab 10 opened in JupyterLab by a browser: run all cells, move the explorer, see it answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect
from servers import jupyterlab

from courseware.cell_names import needed_for

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page, not only those in sight
}
NOTEBOOKS = {
    "given": ROOT / "labs" / "10_quantization.ipynb",
    "solved": ROOT / "chapters" / "10_quantization" / "solution.ipynb",
}


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab's address, in a folder with copies of the notebooks; {} is where the page goes. Of the solved one there are
    the explorer and what it needs: the whole of it runs elsewhere."""
    folder = tmp_path_factory.mktemp("jupyter")
    for name, path in NOTEBOOKS.items():
        notebook = nbformat.read(path, as_version=4)
        if name == "solved":
            explorer = next(cell for cell in notebook.cells if "scheme=list(SCHEMES)" in cell.source)
            notebook.cells = needed_for(notebook.cells, {explorer.id})
        nbformat.write(notebook, folder / f"{name}.ipynb")
    with jupyterlab(folder, SETTINGS) as address:
        yield address


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_run_all_and_move_the_explorer(page: Page, jupyter: str, picture: Callable[[str], None], name: str) -> None:
    # a workspace of its own: the default one would open the other notebook too, and might run that
    page.goto(jupyter.format(f"lab/workspaces/{name}/tree/{name}.ipynb"))
    notebook = page.locator(".jp-NotebookPanel:visible")
    # cells that are run before there is a kernel are passed over in silence
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    prompts = notebook.locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts.filter(has_text="[*]")).not_to_have_count(0, timeout=60_000)
    # "Run All" reaches the last cell, past what is not solved; between two cells none may be marked as running
    expect(prompts.filter(has_text="[ ]")).to_have_count(0, timeout=300_000)
    expect(prompts.filter(has_text="[*]")).to_have_count(0, timeout=300_000)

    explorer = notebook.locator(".jp-OutputArea-output:has(select)").first
    explorer.scroll_into_view_if_needed()
    shown = explorer.locator(".widget-output, .jupyter-widgets-output-area").last
    for step, scheme in enumerate(("nf4", "int8 absmax")):
        before = shown.inner_html()
        explorer.get_by_label("scheme").select_option(scheme)
        expect(shown.locator("img") if name == "solved" else shown.get_by_text("Nothing to show yet")).to_be_visible()
        page.wait_for_function("([area, old]) => area.innerHTML !== old", arg=[shown.element_handle(), before])
        picture(f"jupyterlab-{name}-{step + 1}")
    if name == "given":
        outputs = notebook.locator(".jp-OutputArea-output")
        assert outputs.filter(has_text="This cell waits for exercise").count() > 0
        assert outputs.filter(has_text="Traceback").count() == 0
