"""The build on small sources of the test's own: what is refused, what becomes of each tag."""

from __future__ import annotations

import pytest
from small_chapter import LAB

from courseware import build
from courseware.chapters import Chapter, ChapterError, chapter, role


def test_student_cells(small: Chapter) -> None:
    cells = {cell.id: cell for cell in build.student_lab(small).cells}
    opening = ["1-a-lab-0", "colab-link", "colab-setup", "1-a-lab-1"]
    assert list(cells) == [*opening, "doubling-0", "double", "double-tests", "double-hidden", "doubling-4"]
    assert "google.colab" in cells["colab-setup"].source and "[Open in Colab](" in cells["colab-link"].source
    assert 'raise NotImplementedError("exercise double: write this function")' in cells["double"].source
    assert "return 2 * x" not in cells["double"].source and '"""Return twice x."""' in cells["double"].source
    assert cells["double-hidden"].source.startswith("# Hidden tests of `double` (2 points)")
    expected = {"grade": True, "grade_id": "double-tests", "locked": True, "points": 1, "schema_version": 3}
    assert cells["double-tests"].metadata.nbgrader == {**expected, "solution": False, "task": False}
    compile(cells["double"].source, "double", "exec")


def test_the_last_cell_of_a_lecture_names_the_deck_s_author() -> None:
    for number, what in (("12", "implements a part of the deck"), ("13", "goes beyond the deck")):
        last = build.lecture(chapter(number)).cells[-1]
        assert last.id == "credit" and what in last.source
        for name in ("大语言模型基础", "张倬胜", "https://bcmi.sjtu.edu.cn/home/zhangzs/", "上海交通大学", "动手学大模型"):
            assert name in last.source


def test_solution_cells(small: Chapter) -> None:
    cells = {cell.id: cell for cell in build.solution(small).cells}
    assert cells["double"].source == 'def double(x):\n    """Return twice x."""\n    return 2 * x'
    assert set(cells) == {cell.id for cell in build.student_lab(small).cells} - {"double-hidden", "colab-link"}


def test_folded_code(small: Chapter) -> None:
    small.lab_source.write_text(LAB.replace('tags=["experiment"]', 'tags=["experiment", "hide-input"]'), encoding="utf-8")
    for notebook in (build.student_lab(small), build.solution(small), build.lecture(small)):
        folded = [cell for cell in notebook.cells if cell.metadata.get("jupyter") == {"source_hidden": True}]
        assert [cell.source for cell in folded] in (["print(double(21))"], ["print(1)"])


def test_slides(small: Chapter) -> None:
    types = [cell.metadata.slideshow.slide_type for cell in build.lecture(small).cells]
    assert types == ["slide", "skip", "skip", "-", "subslide", "notes", "slide"]


def test_build_writes_what_changed_and_nothing_else(small: Chapter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [path.name for path in build.build(small)] == ["01_small.ipynb", "01_small.ipynb", "solution.ipynb"]
    assert build.build(small) == []
    small.lab_source.write_text(LAB.replace("Why?", "Why not?"), encoding="utf-8")
    assert [path.parent.name for path in build.build(small)] == ["labs", "01_small"]


def test_ids_stay_when_text_changes(small: Chapter) -> None:
    before = [cell.id for cell in build.student_lab(small).cells]
    small.lab_source.write_text(
        LAB.replace("print(double(21))", "print(double(4))").replace("Why?", "Why so?"), encoding="utf-8"
    )
    assert [cell.id for cell in build.student_lab(small).cells] == before


def test_a_cell_that_fails_stops_the_build(small: Chapter) -> None:
    small.lab_source.write_text(LAB.replace("print(double(21))", "print(1 / 0)"), encoding="utf-8")
    with pytest.raises(ChapterError, match="ZeroDivisionError"):
        build.build(small)
    assert not small.solution.exists() and not list(small.folder.glob("*.partial"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tests:double:1", "tests:double", "Bad tag 'tests:double'"),
        ("tests:double:1", "tests:dubble:1", "no cell tagged tests:double:POINTS"),
        ("hidden:double:2", "experiment", "no cell tagged hidden:double"),
        ("### BEGIN SOLUTION", "", "no ### BEGIN SOLUTION"),
        ('exercises=["double"]', 'exercises=["duoble"]', "the tags say"),
        ("exercise:double", "exercise:Double", "Bad tag"),
    ],
)
def test_mistakes_of_an_author(small: Chapter, old: str, new: str, says: str) -> None:
    small.lab_source.write_text(LAB.replace(old, new), encoding="utf-8")
    with pytest.raises(ChapterError, match=says):
        build.student_lab(small)


def test_unknown_chapter() -> None:
    with pytest.raises(ChapterError, match="10_quantization"):
        chapter("99")
    assert chapter("10").name == "10_quantization"


def test_role_of_a_plain_cell(small: Chapter) -> None:
    assert role(build.lecture(small).cells[0]) is None
