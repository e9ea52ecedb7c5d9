"""The web site: built without a warning, every link inside it leads somewhere, it asks for nothing from elsewhere, and each
of its pages can be read on a phone, by keyboard and aloud."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from courseware import references, site, site_pages
from courseware.chapters import all_chapters, repository

PHONE = {"width": 390, "height": 844}
WEIGHT = 120_000  # bytes of styles, scripts and fonts that a page loads
CHECK = Path(__file__).with_name("page_check.js").read_text(encoding="utf-8")
# A page has its other colours a frame after its other width; a button's text may have its own before its background does
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
# printed numbers that run off a phone; figures of several panels that are not as wide as their labels need
CUT = """() => [
  ...[...document.querySelectorAll(".cell_output .highlight pre")]
    .filter((e) => !e.closest(".grid") && e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent.slice(0, 60)),
  ...[...document.querySelectorAll(".picture")].filter((e) =>
    e.querySelector("img").offsetWidth < Number(e.style.getPropertyValue("--legible")) - 1).map((e) => e.innerHTML),
]"""


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
    yield from (page for page in sorted(built.rglob("*.html")) if "_static" not in page.parts)


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


def test_nothing_is_loaded_from_elsewhere_and_little_is(built: Path) -> None:
    for page in pages(built):
        loaded = [address for address, now in Links(page).links if now]
        assert [a for a in loaded if urlsplit(a).scheme in ("http", "https") or a.startswith("//")] == [], page.name
        files = {(page.parent / unquote(urlsplit(a).path)).resolve() for a in loaded if not a.startswith("data:")}
        code = [path for path in files if path.suffix in (".css", ".js", ".woff2")]
        if page.name != "search.html":  # it loads the index of all words
            assert sum(path.stat().st_size for path in code) < WEIGHT, page.name


def test_every_page_is_fit_for_all(built: Path, browser: Browser) -> None:
    """On a phone in light colours and a laptop in dark ones; every fourth page also on a tablet and a light laptop."""
    opened = browser.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    bad = {}
    for i, path in enumerate(pages(built)):
        name = path.relative_to(built)
        opened.set_viewport_size(PHONE)
        opened.goto(path.as_uri())
        more = ((768, "light"), (1360, "light")) if i % 4 == 0 else ()
        for width, colours in ((390, "light"), *more, (1360, "dark")):
            opened.set_viewport_size({"width": width, "height": PHONE["height"]})
            opened.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
            opened.evaluate(TWO_FRAMES)
            found = opened.evaluate(CHECK)
            kinds = ("contrast", "nameless", "skipped", "pictures", "wide", "twice")
            faults = {key: found[key] for key in kinds if found[key]}
            if found["titles"] != 1 or found["sideways"] > 0:
                faults["page"] = [found["titles"], found["sideways"]]
            if not found["title"].split(" – ")[0].strip():
                faults["title"] = found["title"]
            if found["language"] != ("zh-CN" if name.parts[0] == "zh" else "en"):
                faults["language"] = found["language"]
            # a Chinese sign says more
            if not found["social"].startswith("https://") or (
                path.stem != "search" and len(found["description"].encode()) < 20
            ):
                faults["head"] = [found["social"], found["description"]]
            if width == 390 and "lectures" in name.parts and (cut := opened.evaluate(CUT)):
                faults["cut"] = cut
            if faults:
                bad[f"{name.as_posix()} at {width}, {colours}"] = faults
    opened.close()
    assert bad == {}
    assert errors == []


def test_the_first_page_says_what_the_course_is(built: Path, page: Page, picture: Callable[[str], None]) -> None:
    page.goto((built / "index.html").as_uri())
    painted = page.evaluate(
        "new Promise((done) => new PerformanceObserver((list) => done(list.getEntries().at(-1).startTime))"
        ".observe({ type: 'largest-contentful-paint', buffered: true }))"
    )
    assert painted < 2000  # milliseconds
    cards = page.locator(".card")
    chapters = all_chapters()
    assert cards.count() == len(chapters)
    for card, chapter in zip(cards.all(), chapters, strict=True):
        assert card.locator("img").count() == 1, chapter.name
        text = card.inner_text()
        assert "You will be able to " in text and re.search(r"Lecture \d\d .*\d+ min", text) and "hours" in text, (
            chapter.name
        )
        assert "$" not in text and "*" not in text, chapter.name
    assert page.locator(".show :is(img, svg, iframe, canvas)").count() >= 1
    assert page.locator(".doors h3").all_inner_texts() == ["Students", "Instructors", "Contributors"]
    assert page.locator("input[type=search]").count() == 1
    picture("site-start")


def test_menus_open_by_keyboard_and_colours_stay(built: Path, browser: Browser) -> None:
    opened = browser.new_page(viewport=PHONE)
    lecture = built / "lectures" / f"{all_chapters()[0].name}.html"
    opened.goto(lecture.as_uri())
    menu = opened.locator("nav.chapters")
    assert not menu.is_visible()
    opened.locator(".menu-button").focus()
    opened.keyboard.press("Enter")
    assert menu.is_visible() and menu.locator("[aria-current=page]").count() == 1
    opened.keyboard.press("Escape")
    assert not menu.is_visible()
    button = opened.locator("button.colours")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    dark = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    opened.goto((built / "glossary.html").as_uri())
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    opened.close()


def test_without_scripts_a_page_is_whole(built: Path, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    opened = context.new_page()
    opened.goto((built / "lectures" / f"{all_chapters()[0].name}.html").as_uri())
    assert opened.locator("main h1").is_visible() and opened.locator(".page-end a[rel=next]").is_visible()
    assert not opened.locator("button.colours").is_visible()
    opened.locator(".menu-button").click()
    assert opened.locator("nav.chapters").is_visible()
    context.close()


def test_a_page_ends_with_what_comes_next(built: Path, page: Page, picture: Callable[[str], None]) -> None:
    first, second = all_chapters()[:2]
    page.goto((built / "labs" / f"{first.name}.html").as_uri())
    end = page.locator(".page-end")
    assert end.locator("a[rel=next]").get_attribute("href") == f"../lectures/{second.name}.html"
    assert end.locator("a[rel=prev]").get_attribute("href") == f"../lectures/{first.name}.html"
    colab = end.locator("a", has_text="Open in Colab").get_attribute("href") or ""
    assert colab.startswith("https://colab.research.google.com/github/") and colab.endswith(f"/labs/{first.name}.ipynb")
    assert (built / "labs" / f"{first.name}.ipynb").read_bytes() == first.lab.read_bytes()
    assert end.locator("a[download]").get_attribute("href") == f"{first.name}.ipynb"
    report = urlsplit(end.locator("a", has_text="Report an error").get_attribute("href") or "")
    asked = parse_qs(report.query)
    form = (site.ROOT / ".github" / "ISSUE_TEMPLATE" / asked["template"][0]).read_text(encoding="utf-8")
    assert "id: where" in form and f"labs/{first.name}.html" in asked["where"][0]
    end.scroll_into_view_if_needed()
    picture("site-page-end")


def test_search_bibliography_glossary(built: Path, page: Page, asked: list[str], picture: Callable[[str], None]) -> None:
    page.goto((built / "search.html").as_uri() + "?q=calibration")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert page.locator("input[type=search]").count() == 1
    assert page.locator("input[type=search]").input_value() == "calibration"
    page.goto((built / "bibliography.html").as_uri())
    assert page.locator("a[href^='https://arxiv.org/abs/']").count() > 60
    chapters = all_chapters()
    assert page.locator("main li").count() == len(references.works(chapters[0].folder.parent))
    vaswani = page.locator(
        "main li", has_text="A. Vaswani et al. Attention Is All You Need. NeurIPS 2017. arXiv:1706.03762 ("
    )
    assert vaswani.locator("a").evaluate_all("links => links.slice(1).map((link) => link.textContent)") == [
        chapter.name[:2] for chapter in chapters if "vaswani2017attention" in references.listed(chapter)
    ]
    page.goto((built / "glossary.html").as_uri())
    term = page.locator("dt", has_text="困惑度")
    assert term.count() == 1 and term.locator("[lang=zh]").inner_text() == "困惑度"
    assert "equally likely tokens" in page.locator("dt:has-text('困惑度') + dd").inner_text()
    picture("site-glossary")
    page.goto((built / "lectures" / f"{chapters[0].name}.html").as_uri())
    picture("site-lecture")
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []


def test_search_reads_the_text_and_not_the_menus(built: Path) -> None:
    text = (built / "lectures" / f"{all_chapters()[0].name}.html").read_text(encoding="utf-8")
    main = text.split('role="main"')[1].split("</main>")[0]  # what Sphinx's search cuts its snippets from
    assert text.count('role="main"') == 1
    assert not re.search(r"<nav|class=\"button|Open in Colab", main)


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


def test_another_repository(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    chapters = all_chapters()[:1]
    caplog.set_level("INFO")
    assert site.build(tmp_path / "site", chapters, "our-school/llm-labs", with_slides=True) == []
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records if record.name.startswith("fontTools")] == []
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert [folder for folder in (tmp_path / "site").rglob("*") if folder.is_dir() and not any(folder.iterdir())] == []
    name = chapters[0].name
    page = (tmp_path / "site" / "lectures" / f"{name}.html").read_text(encoding="utf-8")
    assert f"colab.research.google.com/github/our-school/llm-labs/blob/main/lectures/{name}.ipynb" in page
    assert f"https://our-school.github.io/llm-labs/lectures/{name}.html" in page
    assert repository() not in page
    assert f'href="../slides/{name}.html"' in page
    assert 'rel="icon"' in (tmp_path / "site" / "slides" / f"{name}.html").read_text(encoding="utf-8").split("<style>")[0]
    notebook = (tmp_path / "site" / "labs" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert repository() not in notebook and "our-school/llm-labs" in notebook
    with pytest.raises(site.ChapterError, match="OWNER/NAME"):
        site.build(tmp_path / "other", chapters, "llm-labs")


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("format  bits\n  int4     4\n  int8     8", True),
        ("a scale for each matrix   8.00 bits   35.3 dB\na row   8.08 bits   42.1 dB\na block   8.50 bits   44.0 dB", True),
        ("fp32: weights 27.0 GB, with the cache 29.1 GB\nint8: weights 7.0 GB\nnf4: weights 4.2 GB", False),
        ("one line   with   gaps", False),
    ],
)
def test_tables_are_told_from_sentences(text: str, grid: bool) -> None:
    assert site_pages.is_grid(text) is grid


def test_the_longest_line_that_our_style_allows_fits_a_laptop(built: Path, page: Page) -> None:
    page.set_viewport_size({"width": 1360, "height": 768})
    page.goto((built / "lectures" / f"{all_chapters()[0].name}.html").as_uri())
    code = page.locator(".highlight pre:visible").first
    line = "x" * 125
    assert code.evaluate("(pre, line) => { pre.textContent = line; return pre.scrollWidth - pre.clientWidth; }", line) <= 1
