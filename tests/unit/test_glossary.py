"""The glossary's file and the chapters say the same; a new term is entered or named as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from courseware import glossary
from courseware.chapters import ChapterError, all_chapters, chapter
from courseware.references import same_term


def test_every_marked_term_is_entered_or_listed_as_none() -> None:
    assert glossary.problems(all_chapters()) == []


def test_entries_are_plain_lines_in_order() -> None:
    entries = glossary.entries()
    assert len(entries) > 100
    names = [same_term(entry.english) for entry in entries]
    assert names == sorted(names) and len(set(names)) == len(names)
    for entry in entries:
        assert entry.meaning.endswith(".") and "\n" not in entry.meaning and 20 < len(entry.meaning) <= 170, entry.english
        assert not entry.meaning.lower().startswith(entry.english.lower()), (
            f"{entry.english}: its meaning begins with its name"
        )


def test_a_difference_is_named(tmp_path: Path) -> None:
    file = tmp_path / "glossary.toml"
    text = glossary.FILE.read_text(encoding="utf-8")
    file.write_text(
        text.replace('en = "KV cache"\nzh = "键值缓存"', 'en = "KV cash"\nzh = "键值缓存"')
        .replace('zh = "困惑度"', 'zh = "复杂度"')
        .replace("no_term = [", 'no_term = ["a nothing",'),
        encoding="utf-8",
    )
    found = "\n".join(glossary.problems(all_chapters(), file))
    assert "marks *KV cache* (键值缓存): enter it in docs/glossary.toml, or list it in no_term" in found
    assert "no chapter marks 'KV cash'" in found and "no_term lists 'a nothing'" in found
    assert "'perplexity' is 复杂度 here and 困惑度 in the chapters" in found


def test_a_term_without_a_mark_names_a_chapter_that_uses_it(tmp_path: Path) -> None:
    file = tmp_path / "glossary.toml"
    text = glossary.FILE.read_text(encoding="utf-8")
    assert 'en = "softmax"\nzh = "softmax 函数"\nchapter = "05"' in text and 'en = "chunk"\nzh = "文本块"\n' in text
    file.write_text(
        text.replace('zh = "softmax 函数"\nchapter = "05"', 'zh = "softmax 函数"\nchapter = "02"')
        .replace('en = "vLLM"', 'en = "vLLMs"')
        .replace('en = "chunk"\n', 'en = "chunk"\nchapter = "07"\n'),
        encoding="utf-8",
    )
    before = glossary.problems(all_chapters())
    assert [said for said in glossary.problems(all_chapters(), file) if said not in before] == [
        "'chunk': 07_retrieval_augmentation marks it, so take its `chapter` out",
        "'softmax': chapter 02 does not use it",
        "'vLLMs': chapter 12 does not use it",
    ]


def test_the_page_has_terms_of_its_chapters_only() -> None:
    page = glossary.page([chapter("03")])
    assert "PPO 近端策略优化\n  Proximal policy optimization" in page and "(lectures/03_rlhf.ipynb)" in page
    assert "BM25" not in page and "Transformer 架构" not in page


def test_an_entry_without_a_meaning_is_named(tmp_path: Path) -> None:
    file = tmp_path / "glossary.toml"
    file.write_text('no_term = []\n[[term]]\nen = "a"\nzh = "甲"\n', encoding="utf-8")
    with pytest.raises(ChapterError, match=r"glossary\.toml cannot be read"):
        glossary.entries(file)
