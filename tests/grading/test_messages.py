"""What students read, in both languages."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from courseware.grading import intake, messages


@pytest.mark.parametrize("key", messages._TABLE)
def test_both_languages_say_the_same_things(key: str) -> None:
    english, chinese = messages._TABLE[key]
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, chinese)]
    assert fields[0] == fields[1]
    assert key == "note" or re.search(r"[\u4e00-\u9fff]", chinese)


@pytest.mark.parametrize("sentence", messages._REASONS)
def test_the_grader_s_reasons_have_a_translation(sentence: str) -> None:
    said = sentence.replace("{}", "7.5")
    assert messages.reason("en", said) == said
    chinese = messages.reason("zh", said)
    assert re.search(r"[\u4e00-\u9fff]", chinese) and chinese.count("7.5") == sentence.count("{}")


def test_what_intake_says_has_a_translation() -> None:
    grading = Path(messages.__file__).parent
    sources = [(grading / f"{name}.py").read_text(encoding="utf-8") for name in ("archive", "uploads", "intake", "restore")]
    found = [text for source in sources for text in re.findall(r'(?:Damaged|Unreadable)\(\s*f?"([^"]+)"', source)]
    found += [text for source in sources for text in re.findall(r'problem = f?"([^"]+)"', source)]
    assert len(found) > 20
    for text in found:
        said = re.sub(r"\{[^}]*\}", "7", text)
        assert re.search(r"[\u4e00-\u9fff]", messages.reason("zh", said)), said
    for kind in set(intake._KINDS.values()):
        said = messages.reason("zh", f"there is no notebook: 作业.x is {kind}; hand in the .ipynb file itself")
        assert said.startswith("没有笔记本：作业.x 是") and kind not in said


def test_python_s_own_messages_stay() -> None:
    assert messages.reason("zh", "IndexError: list index out of range") == "IndexError: list index out of range"


def test_the_kinds_that_fail_are_one_sentence() -> None:
    said = [["hidden", ""], ["because", "zeros"], ["because", "an empty list"]]
    assert messages.sentence(said) == "hidden tests: not passed; it fails for: zeros; an empty list"


def test_of_a_cell_that_failed_no_kinds_of_input_are_said() -> None:
    said = [["cell", "the kernel died"], ["hidden", " (NameError)"], ["because one of", "zeros; an empty list"]]
    assert messages.sentence(said) == "its cell: the kernel died; hidden tests: not passed (NameError)"
    assert "zeros" in messages.sentence(said[1:])


def test_a_test_s_own_sentence_stands_for_itself() -> None:
    said = [["visible", "AssertionError: q: 2 of 3 values differ"], ["cell", "AssertionError"]]
    assert messages.sentence(said) == "visible tests: q: 2 of 3 values differ; its cell: AssertionError"


def test_a_sentence_of_an_exercise() -> None:
    said = [
        ["note", "its cell was split; the parts were joined"],
        ["visible", "ran longer than 6 s"],
        ["hidden", " (KeyError)"],
    ]
    assert messages.sentence(said) == (
        "its cell was split; the parts were joined; visible tests: ran longer than 6 s; hidden tests: not passed (KeyError)"
    )
    chinese = messages.sentence(said, "zh")
    assert "该单元格被拆分" in chinese and "运行超过 6 秒" in chinese and "未通过 (KeyError)" in chinese
