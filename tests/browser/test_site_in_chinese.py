"""The site in two languages: Chinese pages below /zh/, each with the way to its English twin, and a Chinese search."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from courseware import site
from courseware.chapters import Chapter, chapter

PHONE = {"width": 390, "height": 844}
CHECK = Path(__file__).with_name("page_check.js").read_text(encoding="utf-8")
URL = "https://llm-foundations-course.github.io/llm-foundations-course/"


@pytest.fixture(scope="module")
def both(in_chinese: Chapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two chapters; the second has no Chinese notebooks."""
    out = tmp_path_factory.mktemp("web") / "site"
    chapters = [in_chinese, chapter("11")]
    assert site.in_language(chapters, "zh_CN") == [in_chinese]
    assert site.build(out, chapters, with_slides=True) == []
    return out


def test_each_page_names_its_twin(both: Path) -> None:
    for path in both.rglob("*.html"):
        if "_static" in path.parts or "slides" in path.parts:
            continue
        name = path.relative_to(both).as_posix().removeprefix("zh/")
        chinese = path.relative_to(both).parts[0] == "zh"
        text = path.read_text(encoding="utf-8")
        twins = dict(re.findall(r'<link rel="alternate" hreflang="([^"]+)" href="([^"]+)">', text))
        (switch,) = re.findall(r'<a class="switch" hreflang="([^"]+)" lang="[^"]+" href="([^"]+)">', text)
        there = (both / "zh" / name).exists()
        if name != "search.html":
            assert twins == ({"en": URL + name, "zh-CN": f"{URL}zh/{name}", "x-default": URL + name} if there else {})
        assert switch[0] == ("en" if chinese else "zh-CN")
        wanted = both / name if chinese else both / "zh" / (name if there else "index.html")
        assert (path.parent / switch[1]).resolve() == wanted.resolve()


def test_links_of_chinese_pages_lead_somewhere(both: Path) -> None:
    for path in (both / "zh").rglob("*.html"):
        if "_static" in path.parts or "slides" in path.parts:
            continue
        for address in re.findall(r'(?:href|src)="([^"#:]+)(?:#[^"]*)?"', path.read_text(encoding="utf-8")):
            assert (path.parent / address).exists(), f"{path.name}: {address}"
    assert not list((both / "zh").rglob("11_lora*"))
    assert "10_quantization.html" in (both / "zh" / "index.html").read_text(encoding="utf-8")


def test_chinese_pages_are_fit_for_a_phone_and_for_all(both: Path, browser: Browser, picture: Callable[[str], None]) -> None:
    opened = browser.new_page(viewport=PHONE)
    for name in ("index", "lectures/10_quantization", "labs/10_quantization", "glossary", "instructors", "search"):
        opened.goto((both / "zh" / f"{name}.html").as_uri())
        found = opened.evaluate(CHECK)
        assert not [key for key in ("contrast", "nameless", "skipped", "pictures", "wide", "twice") if found[key]], name
        assert (found["language"], found["titles"], found["sideways"] > 0) == ("zh-CN", 1, False), name
    opened.close()


def test_chinese_pages_say_it_in_chinese(both: Path, page: Page, picture: Callable[[str], None]) -> None:
    page.goto((both / "zh" / "index.html").as_uri())
    assert page.locator("h1").inner_text() == "大语言模型基础"
    assert page.locator(".doors h3").all_inner_texts() == ["学生", "教师", "贡献者"]
    assert re.search(r"讲义 10 .*90 分钟", page.locator(".card").inner_text())
    assert "张倬胜" in page.locator(".bottom").inner_text()
    picture("site-chinese")
    page.locator("a.switch").click()
    assert page.locator("h1").inner_text() == "Foundations of large language models"
    assert "张倬胜" in page.locator(".bottom").inner_text()


def test_search_finds_a_chinese_term(both: Path, page: Page) -> None:
    page.goto((both / "zh" / "search.html").as_uri() + "?q=困惑度")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert "10_quantization" in " ".join(
        page.locator("#search-results a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    )
    assert "搜索" in page.locator("#search-results").inner_text()
    page.goto((both / "zh" / "search.html").as_uri() + "?q=困难度")  # its pairs are on no page together
    expect(page.locator("#search-results .search-summary")).to_have_text(re.compile("没有匹配"))  # it has looked
    assert page.locator("#search-results li").count() == 0
