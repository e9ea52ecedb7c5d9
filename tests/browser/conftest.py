"""A headless Chromium for tests of what people see, and a folder for pictures of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
# A browser for tests: no sandbox (CI runs as root), and none of its own calls to the network.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PLACES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def executable() -> str:
    """The browser of this machine, or ""."""
    return next(filter(None, map(shutil.which, PLACES)), MACOS if Path(MACOS).exists() else "")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not executable():
        pytest.skip("needs Chromium or Chrome: sudo apt install chromium")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=executable(), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a projector's size."""
    opened = browser.new_page(viewport={"width": 1280, "height": 720})
    yield opened
    opened.close()


@pytest.fixture
def asked(page: Page) -> list[str]:
    """Every address that the page asks for, as it does."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    return addresses


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where pictures go: COURSE_ARTIFACTS, else build/browser."""
    folder = Path(os.environ.get("COURSE_ARTIFACTS", ROOT / "build" / "browser"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def picture(page: Page, artifacts: Path) -> Callable[[str], None]:
    """Keep what the page looks like, under a name."""

    def take(name: str) -> None:
        page.screenshot(path=artifacts / f"{name}.png")

    return take
