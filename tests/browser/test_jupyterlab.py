"""Lab 10 opened in JupyterLab by a browser: run all cells, move the explorer, see it answer."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from servers import free_port, running

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
    """JupyterLab's address, in a folder with copies of the notebooks; nothing of the user's own settings."""
    folder = tmp_path_factory.mktemp("jupyter")
    for name, notebook in NOTEBOOKS.items():
        shutil.copy(notebook, folder / f"{name}.ipynb")
    for name, values in SETTINGS.items():
        place = folder / ".settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(values))
    own = {
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
        "COURSE_BUDGET": "quick",
    }
    port, token = free_port(), os.urandom(16).hex()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    with running(
        command, r"(http://127\.0\.0\.1:\d+)/lab\?token", folder / ".log", cwd=folder, env={**os.environ, **own}
    ) as address:
        yield f"{address}/lab/tree/{{}}?token={token}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_run_all_and_move_the_explorer(page: Page, jupyter: str, picture: Callable[[str], None], name: str) -> None:
    page.goto(jupyter.format(f"{name}.ipynb"))
    notebook = page.locator(".jp-NotebookPanel:visible")
    expect(notebook.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    prompts = notebook.locator(".jp-CodeCell .jp-InputPrompt")
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
        assert notebook.get_by_text("NotImplementedError").count() > 0
