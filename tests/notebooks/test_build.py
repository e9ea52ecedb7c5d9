"""Building a small chapter: all of it or none, only what must run, from whatever lies where its notebooks were."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from small_chapter import LECTURE

from course_utils.assets import assets
from courseware import build, explorers, kernels
from courseware.chapters import Chapter, ChapterError

EXPERIMENT = "print(double(21))"

MOVES = """
# %%
import time

import matplotlib.pyplot as plt

from course_utils import widgets


def draw(bits):
    plt.figure(figsize=(5, 3))
    plt.plot([0, bits])
    plt.title("A line")
    plt.xlabel("place")
    plt.ylabel("value")


widgets.explorer(draw, bits=(1, 40, 1), start={"bits": 4})

# %%
draw(21)
plt.show()
print(time.time_ns())
"""


@pytest.fixture(autouse=True)
def preloaded_kernel(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some eighty kernels start here, and what they import is no matter."""
    monkeypatch.setattr(build, "_KERNEL", kernel)


def texts(chapter: Chapter) -> dict[str, str]:
    paths = (chapter.lecture, chapter.lab, chapter.solution)
    return {path.parent.name: path.read_text(encoding="utf-8") for path in paths if path.exists()}


def printed(path: Path) -> list[str]:
    """What each code cell of a built notebook printed."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in code]


def rewrite(chapter: Chapter, old: str, new: str) -> None:
    text = chapter.lab_source.read_text(encoding="utf-8")
    assert old in text
    chapter.lab_source.write_text(text.replace(old, new), encoding="utf-8")


def test_all_notebooks_or_none(light: Chapter) -> None:
    build.build(light)
    before = texts(light)
    light.lecture_source.write_text(LECTURE.replace("print(1)", "print(2)"), encoding="utf-8")
    rewrite(light, EXPERIMENT, "total = 0\nprint(total / 0)")
    with pytest.raises(ChapterError) as caught:
        build.build(light)
    assert texts(light) == before and not list(light.folder.glob("*.partial"))
    assert str(caught.value) == (
        "01_small: the cell doubling-4 failed on its line 2: print(total / 0)\n"
        "ZeroDivisionError: division by zero\n"
        "No notebook of this chapter was replaced."
    )
    rewrite(light, "print(total / 0)", "print(total)")
    assert len(build.build(light)) == 3


def test_a_kernel_that_dies(light: Chapter) -> None:
    rewrite(light, EXPERIMENT, "import os\nos._exit(1)")
    with pytest.raises(ChapterError, match=r"doubling-4 failed: its kernel died, .*memory.*--budget quick"):
        build.build(light)
    assert texts(light) == {}


def test_a_cell_that_only_waits(light: Chapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "STANDS_STILL", 3.0)
    rewrite(light, EXPERIMENT, "import threading\nthreading.Event().wait()")
    with pytest.raises(ChapterError, match="doubling-4 failed: it neither printed nor computed anything for"):
        build.build(light)


def test_small_experiments_are_marked_and_replaced_by_a_full_run(light: Chapter) -> None:
    rewrite(light, EXPERIMENT, "print(lab.budget(full=100, quick=1))")
    build.build(light, budget="quick")
    assert printed(light.solution)[-1] == "1\n"
    assert build.all_small([light]) == [
        "lectures/01_small.ipynb was built with small experiments",
        "01_small/solution.ipynb was built with small experiments",
    ]
    assert build.build(light, budget="quick") == []
    assert build.all_stale([light]) == []
    assert [path.name for path in build.build(light)] == ["01_small.ipynb", "solution.ipynb"]
    assert printed(light.solution)[-1] == "100\n" and build.all_small([light]) == []
    assert build.build(light, budget="quick") == [], "what ran in full need not run again"


class TestExplorers:
    @pytest.fixture
    def moving(self, light: Chapter) -> Chapter:
        light.lecture_source.write_text(LECTURE + MOVES, encoding="utf-8")
        build.build(light)
        return light

    def test_a_stored_picture_is_the_live_one(self, moving: Chapter) -> None:
        """The same bytes, once what the notebook shows has gone the same way."""
        notebook = nbformat.read(moving.lecture, as_version=4)
        *_, explorer, (live, *_) = (cell.outputs for cell in notebook.cells if cell.cell_type == "code")
        assert len(explorer) == 1 and "widgets" not in notebook.metadata
        html = explorer[0].data["text/html"]
        data = json.loads(re.search(r'class="course-data">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
        picture, _, alt = data["frames"][data["controls"][0]["values"].index("21")]
        stored = base64.b64decode(data["pictures"][picture])
        shown, like = explorers.opened(base64.b64decode(live.data["image/png"])), Image.open(io.BytesIO(stored))
        assert stored == explorers.packed(shown, like.size, like)
        assert data["alts"][alt] == live.metadata["image/png"]["alt"]

    def test_of_a_changed_script_nothing_runs(self, moving: Chapter) -> None:
        made = moving.lecture.read_text(encoding="utf-8")
        moving.lecture.write_text(
            re.sub(r'(<script data-course=\\"interactive.js\\">)', r"\1 // old", made), encoding="utf-8"
        )
        assert build.all_stale([moving]) == ["lectures/01_small.ipynb holds an older script of its explorers and questions"]
        assert build.build(moving) == [moving.lecture]
        assert moving.lecture.read_text(encoding="utf-8") == made
        *_, explorer, _ = (c for c in nbformat.read(moving.lecture, as_version=4).cells if c.cell_type == "code")
        assert assets() in explorer.outputs[0].data["text/html"]


class TestOutputsAreKept:
    """An experiment prints a number that differs at each run."""

    @pytest.fixture
    def ran(self, light: Chapter) -> Chapter:
        rewrite(light, EXPERIMENT, "print(time.time_ns())")
        build.build(light)
        return light

    def test_of_a_changed_text_nothing_runs(self, ran: Chapter) -> None:
        before = printed(ran.solution)
        rewrite(ran, "Why?", "Why not?")
        assert ran.solution in build.build(ran) and printed(ran.solution) == before

    @pytest.mark.parametrize(
        "new",
        ["print( time.time_ns() )  # now", "print(lab.budget(full=time.time_ns(), quick=1))"],
        ids=["layout", "what is small"],
    )
    def test_of_code_that_does_the_same_nothing_runs(self, ran: Chapter, new: str) -> None:
        before = printed(ran.solution)
        rewrite(ran, "print(time.time_ns())", new)
        assert ran.solution in build.build(ran) and printed(ran.solution) == before

    def test_of_a_changed_hidden_test_nothing_is_built(self, ran: Chapter) -> None:
        rewrite(ran, "double(0.5)]", "double(0.5), double(7)]")
        assert build.build(ran) == []

    def test_of_a_changed_visible_test_only_the_graded_cells_run(self, ran: Chapter) -> None:
        before = printed(ran.solution)
        rewrite(ran, "    assert double(2) == 4", "    assert double(2) == 4\n    print('twice two')")
        build.build(ran)
        after = printed(ran.solution)
        assert after[:-2] == before[:-2] and after[-1] == before[-1]
        assert after[-2] == "twice two\n" + before[-2]
        counts = [
            cell.execution_count for cell in nbformat.read(ran.solution, as_version=4).cells if cell.cell_type == "code"
        ]
        assert counts == list(range(1, len(counts) + 1))

    def test_a_changed_test_that_fails_stops_the_build(self, ran: Chapter) -> None:
        rewrite(ran, "assert double(2) == 4", "assert double(2) == 5")
        before = texts(ran)
        with pytest.raises(ChapterError, match=r"double-tests failed on its line 2: assert double\(2\) == 5"):
            build.build(ran)
        assert texts(ran) == before

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("return 2 * x", "return x + x"),
            ("print(time.time_ns())", "print(time.time_ns() + 1)"),
        ],
        ids=["solution", "experiment"],
    )
    def test_of_changed_code_everything_runs(self, ran: Chapter, old: str, new: str) -> None:
        before = printed(ran.solution)
        rewrite(ran, old, new)
        build.build(ran)
        assert printed(ran.solution)[-1] != before[-1]

    def test_a_test_whose_names_an_experiment_uses(self, ran: Chapter) -> None:
        before = printed(ran.solution)
        rewrite(ran, "print(time.time_ns())", "print(time.time_ns() + offset)")
        rewrite(ran, "    assert double(2) == 4", "    offset = 0\n    assert double(2) == 4")
        build.build(ran)
        before = printed(ran.solution)
        rewrite(ran, "    offset = 0", "    offset = 1")
        build.build(ran)
        assert printed(ran.solution)[-1] != before[-1]


class TestWhatLiesThere:
    """An instructor saved a notebook from Colab, left a merge half done, or emptied it: it is stale, and built anew."""

    def test_saved_from_colab(self, light: Chapter) -> None:
        build.build(light)
        notebook = json.loads(light.lecture.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            del cell["id"]
        notebook["nbformat_minor"] = 0
        notebook["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
        light.lecture.write_text(json.dumps(notebook), encoding="utf-8")
        assert build.all_stale([light]) == ["lectures/01_small.ipynb differs from its source (first at a-title-0)"]
        assert build.build(light) == [light.lecture] and build.all_stale([light]) == []

    def test_no_notebook(self, light: Chapter) -> None:
        found = {
            "": "is empty",
            "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n": "holds the marks of a merge",
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}': "is no notebook",
            "[]": "is no notebook",
            "<html>": "is no notebook",
        }
        paths = (light.lecture, light.lab, light.solution)
        names = ["lectures/01_small.ipynb", "labs/01_small.ipynb", "chapters/01_small/solution.ipynb"]
        for text, why in found.items():
            for path in paths:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
            assert build.all_stale([light]) == [f"{name} {why}" for name in names]
        assert build.build(light) == list(paths) and build.all_stale([light]) == []


def test_a_translation_takes_the_outputs_of_the_english_where_nothing_shown_is_translated(
    light: Chapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    light.lecture_source.write_text(
        LECTURE.replace("print(1)", 'def one():\n    """A one."""\n\n\nprint("a one", 1)'), "utf-8"
    )
    build.build(light)
    path = light.catalogue("zh_CN")
    path.parent.mkdir(parents=True)
    entry = 'msgid "{}"\nmsgstr "{}"\n\n'
    path.write_text(entry.format("A title", "题目") + entry.format("A one.", "一个一。"), encoding="utf-8")
    ran: list[str] = []
    execute = build.execute
    monkeypatch.setattr(build, "execute", lambda *given: ran.append(given[2]) or execute(*given))
    built = {made.parents[1].name: made for made in build.build(light, language="zh_CN")}
    assert set(built) == {"lectures", "labs"} and ran == []
    assert printed(built["lectures"]) == printed(light.lecture)
    assert "# 题目" in built["lectures"].read_text(encoding="utf-8") and build.all_stale([light]) == []
    path.write_text(path.read_text(encoding="utf-8") + entry.format("a one", "一个"), encoding="utf-8")
    assert build.all_stale([light]) == ["lectures/zh/01_small.ipynb differs from its source (first at a-title-1)"]
    build.build(light, language="zh_CN")
    assert ran == ["zh_CN"] and printed(built["lectures"])[-1] == "一个 1\n"


def test_what_there_is_in_another_language_is_built_with_the_english(light: Chapter) -> None:
    """A typo is mended by one command; nobody gets a translation who has none."""
    english = [path.name for path in build.build(light)]
    assert len(english) == 3 and not build.translated(light.lab, "zh_CN").exists()
    build.build(light, language="zh_CN")
    build.translated(light.lecture, "zh_CN").unlink()  # a translation may have a lab alone
    light.lab_source.write_text(light.lab_source.read_text(encoding="utf-8").replace("Why?", "Why not?"), encoding="utf-8")
    assert len(build.all_stale([light])) == 3
    assert build.build(light) == [light.lab, light.solution, build.translated(light.lab, "zh_CN")]
    assert build.all_stale([light]) == [] and not build.translated(light.lecture, "zh_CN").exists()


def test_a_translation_that_cannot_be_built_leaves_the_english(light: Chapter) -> None:
    path = light.catalogue("zh_CN")
    path.parent.mkdir(parents=True)
    light.lecture_source.write_text(LECTURE.replace("print(1)", 'print("one")'), encoding="utf-8")
    path.write_text('msgid "one"\nmsgstr "一"\n', encoding="utf-8")
    build.build(light)
    build.build(light, language="zh_CN")
    fails = 'import os\nassert os.environ["COURSE_LANG"] == "en"\nprint("one")'
    light.lecture_source.write_text(LECTURE.replace("print(1)", fails), encoding="utf-8")
    with pytest.raises(ChapterError, match="No notebook of this chapter in zh_CN was replaced"):
        build.build(light)
    assert [said.split()[0] for said in build.all_stale([light])] == ["lectures/zh/01_small.ipynb"]
    assert build.build(light, everything=True, language="en") and printed(light.lecture)[-1] == "one\n"
