"""Labs in Chinese are graded as those in English: the same ids, the same scores, in one class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tiny_class import RIGHT, TINY, WRONG, chinese, handed_in, needs_box, result_of, scores

from courseware import build
from courseware.grading import restore, verdict

LAB = nbformat.reads(nbformat.writes(build.student_lab(TINY)), as_version=4)
DOUBLE = 'def double(x):\n    """x 的两倍。"""\n    return 2 * x  # 乘以二'


def in_chinese(answers: dict[str, str]) -> dict[str, Any]:
    """The same as JSON."""
    found: dict[str, Any] = json.loads(json.dumps(chinese(TINY, answers)))
    return found


def test_the_chinese_lab_is_chinese_and_has_the_same_cells() -> None:
    english, other = build.student_lab(TINY), build.student_lab(TINY, "zh_CN")
    assert [(cell.id, cell.metadata) for cell in english.cells] == [(cell.id, cell.metadata) for cell in other.cells]
    text = "\n".join(cell.source for cell in other.cells)
    for part in (
        "# 小到不能再小的实验",
        '"""一列浮点数之和',
        '"1 和 2 的两倍是 2 和 4"',
        "的隐藏测试",
        "labs/zh/90_tiny.ipynb",
    ):
        assert part in text
    assert 'os.environ.setdefault("COURSE_LANG", "zh_CN")' in text


def test_what_is_given_is_known_again_in_chinese(prepared: verdict.Lab) -> None:
    data = json.dumps(in_chinese({"double": DOUBLE})).encode()
    restored = restore.restore(restore.read(data), LAB, prepared.translations)
    assert restored.answered == {"double"} and restored.reasons == {"total": "not answered"} and restored.changed == {}
    given = {cell.id: cell.source for cell in LAB.cells}
    changed = {cell.id for cell in restored.notebook.cells if given.get(cell.id) not in (cell.source, None)}
    assert changed == {"double"}


@needs_box
def test_a_mixed_class_gets_the_same_scores(grade: Callable[..., Path]) -> None:
    answers = {"all": {**RIGHT, "double": DOUBLE}, "wrong": {**RIGHT, "double": WRONG}, "none": {}}
    class_ = {f"{name}-en": handed_in(given) for name, given in answers.items()}
    class_ |= {f"{name}-zh": in_chinese(given) for name, given in answers.items()}
    class_["张伟"] = in_chinese(RIGHT)
    out = grade({f"{name}.ipynb": notebook for name, notebook in class_.items()})
    for name in answers:
        assert scores(out, f"{name}-zh") == scores(out, f"{name}-en"), name
        ours, theirs = result_of(out, f"{name}-zh"), result_of(out, f"{name}-en")
        assert (ours["reasons"], ours["note"]) == (theirs["reasons"], theirs["note"])
    assert scores(out, "all-zh") == (3, 3) and scores(out, "张伟") == (3, 3)


@pytest.mark.parametrize("language", ["zh_CN"])
def test_the_key_of_a_lab_knows_its_translations(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = verdict.lab_key(TINY)
    monkeypatch.setattr(type(TINY), "catalogues", lambda chapter: [])
    assert TINY.catalogue(language).exists() and verdict.lab_key(TINY) != before
