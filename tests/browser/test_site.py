"""The web site: built without a warning, every link inside it leads somewhere, and it asks for nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page

from courseware import references, site
from courseware.chapters import all_chapters


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("web") / "site"
    assert site.build(out, all_chapters()) == []
    return out


class Links(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []  # address, is it loaded with the page?
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := values.get(key))}
        for key in ("href", "src"):
            if value := values.get(key):
                loaded = key == "src" or (tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"))
                self.links.append((value, loaded))


def pages(built: Path) -> Iterator[Path]:
    yield from (page for page in sorted(built.rglob("*.html")) if "_static" not in page.parts)  # the theme's own templates


def test_every_internal_link_leads_somewhere(built: Path) -> None:
    parsed = {page: Links(page) for page in pages(built)}
    assert len(parsed) > 2 * len(all_chapters())
    broken, checked = [], 0
    for page, found in parsed.items():
        for address, _ in found.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address == "#":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = parsed[target].anchors if target in parsed else {unquote(parts.fragment)}
            checked += 1
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                broken.append((page.name, address))
    assert checked > 500
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    loaded = {(page.name, address) for page in pages(built) for address, now in Links(page).links if now}
    assert [pair for pair in loaded if urlsplit(pair[1]).scheme in ("http", "https") or pair[1].startswith("//")] == []


def test_search_bibliography_glossary(built: Path, page: Page, asked: list[str], picture: Callable[[str], None]) -> None:
    page.goto((built / "search.html").as_uri() + "?q=calibration")
    page.wait_for_selector("#search-results li", timeout=20_000)
    page.goto((built / "bibliography.html").as_uri())
    assert page.locator("a[href^='https://arxiv.org/abs/']").count() > 60
    chapters = all_chapters()
    assert page.locator("article li").count() == len(references.works(chapters[0].folder.parent))
    vaswani = page.locator(
        "main li", has_text="A. Vaswani et al. Attention Is All You Need. NeurIPS 2017. arXiv:1706.03762 ("
    )
    assert vaswani.locator("a").evaluate_all("links => links.slice(1).map((link) => link.textContent)") == [
        chapter.name[:2] for chapter in chapters if "vaswani2017attention" in references.listed(chapter)
    ]
    page.goto((built / "glossary.html").as_uri())
    assert page.locator("td", has_text="困惑度").count() == 1
    picture("site-glossary")
    lecture = built / "lectures" / f"{all_chapters()[0].name}.html"
    page.goto(lecture.as_uri())
    assert page.locator("a[href*='colab.research.google.com/github/']").count() >= 1
    assert page.locator("a[href$='.ipynb'][download], a[href$='.ipynb']").count() >= 1
    picture("site-lecture")
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []


def test_formulas_are_drawn(built: Path, page: Page, picture: Callable[[str], None]) -> None:
    page.goto((built / "lectures" / "04_scaling_emergence.html").as_uri())
    assert page.locator("math").count() > 5
    prose = page.locator("main p, main li, main td").all_inner_texts()
    assert not any("let the room place GPT-3" in text for text in prose), "notes are for who speaks"
    assert [text for text in prose if re.search(r"\$[^$]+\$|\\frac|\\times", text)] == []
    page.evaluate("document.fonts.ready")
    assert page.evaluate("[...document.fonts].find((font) => font.family.includes('Formulas')).status") == "loaded"
    page.locator("math[display=block]").first.scroll_into_view_if_needed()
    picture("site-formulas")
