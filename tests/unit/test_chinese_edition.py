"""The Chinese edition beside the English one: pages, cards, slides, the students' folder, the words of site and search."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import nbformat
import pytest

from courseware import alt_text, cards, deck, glossary, pages, release, site_pages, slides
from courseware.chapters import FOLDERS, N_, ROOT, Chapter, ChapterError, built, chapter, words
from courseware.chinese_search import Chinese
from courseware.cli import main
from courseware.site_pages import Course
from courseware.translation import messages, page

CHINESE = "zh_CN"


def test_each_readme_leads_to_the_other_and_the_chinese_one_to_chinese_pages() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert "](README.zh-CN.md)" in english.split("##")[0] and "](README.md)" in chinese.split("##")[0]
    assert "](docs/zh/instructors.md)" in chinese and "](docs/instructors.md)" not in chinese
    for text in (english, chinese):
        assert "张倬胜" in text and "大语言模型基础" in text and "上海交通大学" in text and "动手学大模型" in text


@pytest.mark.parametrize("path", page.sources(), ids=lambda path: path.name)
def test_links_of_translated_pages_lead_somewhere(path: Path) -> None:
    made = page.place(path, CHINESE)
    prose = re.sub(r"^[ ]*```.*?^[ ]*```|`[^`\n]+`", "", made.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for address in re.findall(r"\]\(([^)\s]+)\)", prose):
        if ":" in address:
            continue
        name, _, anchor = address.partition("#")
        target = (made.parent / name).resolve() if name else made
        assert target.exists(), address
        if anchor:
            headings = page._headings(target.read_text(encoding="utf-8"))
            assert anchor in [page.slug(heading) for heading in headings], address


def test_code_in_a_page_is_not_taken_for_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "docs" / "a.md"
    source.parent.mkdir()
    source.write_text("# A\n\n`[x](b.md)` and [b](b.md#a-heading)\n\n```\n[x](b.md)\n```\n", encoding="utf-8")
    (tmp_path / "docs" / "b.md").write_text("## A heading\n", encoding="utf-8")
    monkeypatch.setattr(page, "ROOT", tmp_path)
    # "A heading" has no translation, and b.md stands beside a.md in both languages
    assert page.markdown(source, CHINESE) == source.read_text(encoding="utf-8")
    monkeypatch.setattr(page, "sources", lambda: [source])  # b.md is in English alone
    made = page.markdown(source, CHINESE)
    assert "`[x](b.md)` and [b](../b.md#a-heading)" in made and "\n[x](b.md)\n" in made


def test_a_chapter_without_chinese_notebooks_is_named_in_english() -> None:
    table = pages.chapters_table([chapter("11")], CHINESE)
    assert table.startswith("| | 讲义 | 实验 |")
    assert "lectures/11_lora.ipynb" in table or "lectures/zh/11_lora.ipynb" in table


def test_words_have_their_values() -> None:
    assert words("en")(N_("Chapter {number}"), number=3) == "Chapter 3"
    assert words(CHINESE)("Chapter {number}", number=3) == "第 3 章"
    assert words(CHINESE)("no such message {x}", x=1) == "no such message 1"


def test_templates_are_extracted() -> None:
    found = {message.text for message in messages.of_templates(ROOT / "courseware" / "templates" / "site")}
    assert {"On this page", "Start with chapter {number}"} <= found
    assert any(text.startswith("Open a lab in Colab, or at home with <a") for text in found)


def test_glossary_in_the_order_of_pinyin() -> None:
    text = glossary.page([chapter("10"), chapter("11")], CHINESE)
    terms = re.findall(r"^([\u4e00-\u9fff]\S*) ", text, re.MULTILINE)
    assert text.startswith("# 术语表") and "[第 10 章](lectures/10_quantization.ipynb)" in text
    assert terms.index("低秩") < terms.index("量化") < terms.index("最大绝对值量化")


def test_search_finds_pairs_of_characters() -> None:
    found = Chinese({}).split("用 LoRA 做量化误差")
    assert {"LoRA", "用", "量化", "误差", "化误"} <= set(found) and "量化误" not in found
    assert Chinese({}).stem("LoRA") == "lora"


def test_a_page_knows_itself_in_other_languages() -> None:
    both = {"en": frozenset({"index", "a", "b"}), CHINESE: frozenset({"index", "a"})}
    english = Course("https://github.com/o/n", "main", "https://o.github.io/n/", (), pages=both)
    chinese = Course("https://github.com/o/n", "main", "https://o.github.io/n/zh/", (), language=CHINESE, pages=both)
    wanted = [("en", "https://o.github.io/n/a.html"), ("zh-CN", "https://o.github.io/n/zh/a.html")]
    assert site_pages.alternates(english, "a") == site_pages.alternates(chinese, "a")
    assert site_pages.alternates(english, "a")[:2] == wanted
    assert site_pages.alternates(english, "b") == []  # there is no such page in Chinese
    opens = chinese.opens_in("labs/a")
    assert opens["Colab"] == "https://colab.research.google.com/github/o/n/blob/main/labs/zh/a.ipynb"
    assert opens["ModelScope"] == "https://modelscope.cn/notebook/share/github/o/n/blob/main/labs/zh/a.ipynb"
    assert list(opens) == ["Colab", "Kaggle", "ModelScope"]
    assert opens["Kaggle"].endswith("?src=https://github.com/o/n/blob/main/labs/zh/a.ipynb")
    assert chinese.readme.endswith("/README.zh-CN.md") and english.readme == english.repository


def test_a_card_in_chinese(in_chinese: Chapter) -> None:
    card = cards.card(in_chinese, CHINESE)
    assert (card.number, card.lecture, card.lab) == ("10", "lectures/10_quantization", "labs/10_quantization")
    assert card.able.startswith("学完") and "（quantization）" not in card.able and "*" not in card.able
    assert card.minutes == "90 分钟" and card.hours == "两到三小时"
    assert cards.card(in_chinese).able.startswith("say what quantization changes")


def test_slides_in_chinese(in_chinese: Chapter, tmp_path: Path) -> None:
    path = slides.write(in_chinese, tmp_path / "slides", CHINESE)
    assert path == tmp_path / "slides" / FOLDERS[CHINESE] / "10_quantization.html"
    text = path.read_text(encoding="utf-8")
    assert '<html data-show-code="显示或隐藏代码" lang="zh-CN">' in text and "<summary>代码</summary>" in text
    assert "学完这一讲" in text


def test_a_chinese_notebook_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChapterError, match=r"^lectures/zh/a\.ipynb is missing: `course notebooks a --lang zh_CN` builds it"):
        built(tmp_path / "lectures" / "zh" / "a.ipynb")
    with pytest.raises(ChapterError, match=r"^lectures/a\.ipynb is missing: `course notebooks a` builds it"):
        built(tmp_path / "lectures" / "a.ipynb")


@pytest.fixture
def known(in_chinese: Chapter, monkeypatch: pytest.MonkeyPatch) -> Chapter:
    """Git knows the chapter's Chinese notebooks."""
    made = [release.translated(path, CHINESE) for path in (in_chinese.lecture, in_chinese.lab)]
    tracked = release.tracked
    monkeypatch.setattr(release.build, "all_stale", lambda chapters: [])
    monkeypatch.setattr(release, "_ENOUGH", 0.5)
    monkeypatch.setattr(
        release, "tracked", lambda root, *names: [*tracked(root, *names), *(made if names == (".",) else [])]
    )
    return in_chinese


def test_students_get_chinese_notebooks_where_english_ones_stand(known: Chapter, tmp_path: Path) -> None:
    out = tmp_path / "students"
    release.release(out, "school/labs", [known], CHINESE)
    lab = nbformat.read(out / "labs" / f"{known.name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in lab.cells)
    assert lab.metadata.course.language == CHINESE and "# 实验 10" in text
    assert f"github/school/labs/blob/main/labs/{known.name}.ipynb" in text and "/zh/" not in text
    english = nbformat.read(known.lab, as_version=4)
    assert [cell.id for cell in lab.cells] == [cell.id for cell in english.cells]  # graded by the same cells
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# 大语言模型基础") and "| 10 · " in readme
    assert f"[打开](labs/{known.name}.ipynb)" in readme and "{chapters}" not in readme


def test_what_is_not_there_or_not_translated_is_not_given_out(
    known: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "_ENOUGH", 1.01)
    with pytest.raises(ChapterError, match=r"10_quantization\.po: \d+ of \d+ entries are translated"):
        release.release(tmp_path / "students", "school/labs", [known], CHINESE)
    monkeypatch.setattr(release, "translated", lambda path, language: ROOT / "none" / path.name)
    arguments = ["release", "10", "--out", str(tmp_path / "other"), "--repo", "school/labs", "--lang", CHINESE]
    assert main(arguments) == 1
    assert "is not there: `course notebooks 10_quantization --lang zh_CN` makes it" in capsys.readouterr().err


def test_the_deck_is_mapped_to_sections_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    english, chinese = deck.page(), deck.page(CHINESE)
    assert (
        "| 从GPT-3到ChatGPT | [From GPT-1 to ChatGPT](../lectures/02_instruction_tuning.ipynb#From-GPT-1-to-ChatGPT) |"
        in english
    )
    assert "| Full fine-tuning of GPT-3 175B takes 1.5T of memory | 1.2 TB | Hu et al. 2022, section 4.2 |" in english
    assert chinese.startswith("# 课件逐页对照") and "| 全量微调 GPT-3 175B 要 1.5T 显存 | 1.2 TB |" in chinese
    assert "## 10 · 量化" in chinese  # as the Chinese lecture has it
    wrong = tmp_path / "deck.toml"
    wrong.write_text('[[chapter]]\nname = "10"\nslides = [{ slide = "量化", sections = ["No such"] }]\n', encoding="utf-8")
    monkeypatch.setattr(deck, "FILE", wrong)
    with pytest.raises(ChapterError, match="lecture 10 has no section 'No such'"):
        deck.page()


@pytest.mark.parametrize("language", ["en", CHINESE])
def test_each_link_of_the_deck_leads_to_a_heading(language: str) -> None:
    made = deck.PAGE if language == "en" else page.place(deck.PAGE, language)
    text = made.read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| (\[.+\)) \|$", text, re.MULTILINE)
    assert len(rows) == deck.FILE.read_text(encoding="utf-8").count("slide = ")
    headings: dict[Path, set[str]] = {}
    for name, address in re.findall(r"\[(.+?)\]\(([^()]+)\)(?:; | \|)", text):
        where, _, anchor = address.partition("#")
        target = (made.parent / where).resolve()
        if target not in headings:
            prose = [cell.source for cell in nbformat.read(target, as_version=4).cells if cell.cell_type == "markdown"]
            headings[target] = set(re.findall(r"^#{1,3} (.+)$", "\n".join(prose), re.MULTILINE))
        assert name in headings[target] and unquote(anchor) == name.replace(" ", "-")
    assert len(headings) == len(deck.chapters())


def test_the_site_s_deck_leads_to_the_chapters_that_the_site_has() -> None:
    lecture = chapter("10").lecture
    notebook = nbformat.read(lecture.parent / "zh" / lecture.name, as_version=4)
    text = deck.page(CHINESE, on_site={"10_quantization": deck.headings(notebook)})
    assert text.count("](lectures/10_quantization.ipynb#") > 5 and text.count("](") == text.count("](lectures/10_")


def test_pictures_are_described_in_the_language_of_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    figure, ax = plt.subplots()
    ax.plot([1, 2], label="int8")
    ax.set(title="{误差}", xlabel="位数", ylabel="误差")
    ax.legend()
    assert alt_text.describe(figure) == "{误差}: lines and points, 误差 over 位数; int8."
    monkeypatch.setenv("COURSE_LANG", CHINESE)
    assert alt_text.describe(figure) == "{误差}：线与点，横轴为 位数，纵轴为 误差；int8。"
    plt.close(figure)
