"""The rules of a chapter, in words and without running it; names that nothing defines; an exercise left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_chapter import LAB, MUTANTS

from courseware import cell_names, pages, rules
from courseware.chapters import Chapter, ChapterError, all_chapters, read
from courseware.drop import drop

EVERY_CHAPTER = pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)


@EVERY_CHAPTER
def test_chapter_keeps_the_rules(chapter: Chapter) -> None:
    assert rules.broken(chapter) == []
    assert rules.wanting(chapter) == []


def change(chapter: Chapter, old: str, new: str, file: str = "lab.py") -> None:
    path = chapter.folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_what_is_wanting(small: Chapter) -> None:
    assert rules.broken(small) == []
    assert rules.wanting(small) == [
        "lab.py has 1 exercise; a lab has 5 to 9",
        "mutants.py has 1 wrong solution of double; 3 are asked for",
        "lecture.py draws no figure; lecture and lab have one each",
        "lab.py draws no figure; lecture and lab have one each",
        "lecture and lab introduce 0 terms with their Chinese, as *calibration* (校准); 5 are asked for",
        "lecture.py has no Chinese title; below the title stands **what it is about** (它的中文名)",
        "lecture.py asks no quiz; a lecture ends with one: widgets.quiz([…]) under ## Quiz",
    ]
    change(
        small,
        "# # A title",
        "# # A title\n#\n# **What twice a number is** (加倍), with a *doubling rule* (翻倍法则)",
        "lecture.py",
    )
    few = 'widgets.quiz([dict(question="?", answer=2), dict(question="?", options={"a": ""}, answer="a")])'
    change(small, "print(1)", few, "lecture.py")
    assert rules.wanting(small)[-2:] == [
        "01_small marks *doubling rule* (翻倍法则): enter it in docs/glossary.toml, or list it in no_term",
        "the quiz of lecture.py asks 2 questions, 1 with choices; it has 6 to 10, at least 5 with choices",
    ]
    change(small, "Why?", "Why?\n#\n# **Predict:** what is twice 21?")
    assert "lab.py, line 5: a reader can commit to a prediction only where widgets.predict(…) asks for it" in rules.wanting(
        small
    )
    (small.folder / "mutants.py").unlink()
    assert "there is no mutants.py: 3 known wrong solutions of each exercise, which the tests must reject" in rules.wanting(
        small
    )


ASKED = 'dict(question="?", options={"a": "", "b": ""}, answer="a"), '
NUMBER = '{"question": "?", "answer": 2}, '


@pytest.mark.parametrize(
    ("quiz", "wanting"),
    [
        (f"[{ASKED * 6}]", ""),
        (f"[{ASKED * 5}]", "5 questions, 5 with choices"),
        (f"[{ASKED * 11}]", "11 questions, 11 with choices"),
        (f"[{ASKED * 4}{NUMBER * 3}]", "7 questions, 4 with choices"),
        (f"[{ASKED}*more]", ""),  # what code makes is counted when it is built
        ("[ask(n) for n in range(7)]", ""),
        ("[ask(1), ask(2)]", ""),
        ('[{"question": "?", **more}]', ""),
        ("more", ""),
    ],
)
def test_questions_of_a_quiz(quiz: str, wanting: str, small: Chapter) -> None:
    change(small, "print(1)", f"widgets.quiz({quiz})", "lecture.py")
    told = [fault for fault in rules.wanting(small) if "quiz" in fault]
    assert told == ([f"the quiz of lecture.py asks {wanting}; it has 6 to 10, at least 5 with choices"] if wanting else [])


@pytest.mark.parametrize(
    ("below", "chinese"),
    [
        ("**How many?** (多少)", "多少"),
        ("**How many?**\n# (多少)", "多少"),
        ("**How *many* of them?**（多少（MT））", "多少（MT）"),
        ("**How many?**", ""),
        ("**How many?**\n#\n# **A count** (计数)", ""),
        ("How many (多少)?", ""),
    ],
)
def test_a_chinese_title(below: str, chinese: str, small: Chapter) -> None:
    change(small, "# # A title", f"# # A title\n#\n# {below}\n#\n# Some more (更多).", "lecture.py")
    assert pages.chinese(read(small.lecture_source)) == chinese


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("return 2 * x", "return 2 *", "line 16: invalid syntax: return 2 *"),
        ('tags=["experiment"]', 'tag=["experiment"]', "line 31: a cell has no option 'tag'; did you mean 'tags'?"),
        ('["experiment"]', '["experiments"]', "line 31: there is no tag 'experiments'; did you mean 'experiment'?"),
        ("exercise:double", "exersise:double", "line 12: there is no tag 'exersise:double'; did you mean 'exercise'?"),
        ("exercises=", "exercise=", "line 7: lab.start() has no argument 'exercise'; did you mean 'exercises'?"),
        (
            "print(double(21))",
            "interactives.bpe(sentence=[])",
            "line 32: interactives.bpe() has no argument 'sentence'; did you mean 'sentences'?",
        ),
        ("tests:double:1", "tests:double", "line 19: Bad tag 'tests:double': write tests:name:points."),
        ("def visible(", "def visibel(", "line 23: the hidden test of double has no function visible()"),
        ("def probe(", "def prob(", "line 23: the hidden test of double has no function probe()"),
        (
            "    return double(2)\n",
            "    return double(2)\n\n\nnear = 1\n\n\ndef check(got, want):\n    assert got - want < near\n",
            "line 23: check() of the hidden test of double uses near, which stands beside it; "
            "the grader calls check() where the rest of the cell is not",
        ),
        ("print(double(21))", "print(half(21))", "line 31: this cell uses half, which nothing defines"),
        ("assert double(2) == 4", "assert double(two) == 4", "line 19: this cell uses two, which nothing defines"),
        ('["double"]', '["duoble"]', "lab.start(…, exercises=[…]) lists ['duoble'], but the tags say ['double']"),
    ],
)
def test_what_is_broken(old: str, new: str, says: str, small: Chapter) -> None:
    change(small, old, new)
    (said,) = rules.broken(small)
    assert said in (f"lab.py, {says}", f"lab.py: {says}")
    with pytest.raises(ChapterError, match="chapters/01_small cannot be built"):
        rules.refuse(small)


def test_graded_cells_run_without_experiments(small: Chapter) -> None:
    change(small, "print(double(21))", "big = double(21)\nprint(big)")
    assert rules.broken(small) == []
    (small.folder / "lab.py").write_text(LAB.replace("double(-1)", "big"), encoding="utf-8")
    change(small, "print(double(21))", "big = double(21)")
    why = "which only an experiment defines, and graded cells run without these"
    assert rules.broken(small) == [f"lab.py, line 23: this cell uses big, {why}"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mutant:double", "mutant:half", ", line 1: a wrong solution of half, which is none of the lab's exercises: double"),
        ("x + 2", "x + two", ": a wrong solution (adds two) uses two, which nothing defines"),
    ],
)
def test_wrong_solutions_astray(old: str, new: str, says: str, small: Chapter) -> None:
    change(small, old, new, "mutants.py")
    assert rules.broken(small) == [f"mutants.py{says}"]


@pytest.mark.parametrize(
    ("source", "makes", "needs", "later"),
    [
        ("x = x + 1", "x", "x", ""),
        ("x = 1\nx += y", "x", "y", ""),
        ("import a.b, c as d\nfrom e import f as g", "a d g", "", ""),
        ("def f(x, y=z):\n    return x + w", "f", "z", "w"),
        ("@wrap\ndef f(): pass", "f", "wrap", ""),
        ("f = lambda x: x + w", "f", "", "w"),
        ("y = [a * b for a in c]", "y", "b c", ""),
        ("for i in n:\n    t = i + k\n    print(t)", "i t", "k n", ""),
        ("class A(B):\n    c = d\n    def e(self): return g", "A", "B d", "g"),
        ("with open(p) as s:\n    print(s.read())", "s", "p", ""),
        ("def f():\n    global n\n    n = m", "f n", "", "m"),
        ("if (n := m) > 1: pass", "n", "m", ""),
        ("%matplotlib inline\n!ls\nx = 1", "x", "", ""),
        ("def f():\n    def g(): return h\n    return g", "f", "", "h"),
    ],
)
def test_names_of_code(source: str, makes: str, needs: str, later: str) -> None:
    found = cell_names.names_of(source)
    builtin = set(dir(__builtins__)) | cell_names.ALWAYS
    assert (found.makes, found.needs - builtin, found.later - builtin) == (
        set(makes.split()),
        set(needs.split()),
        set(later.split()),
    )


class TestDrop:
    @pytest.fixture
    def two(self, small: Chapter) -> Chapter:
        """A lab of two exercises; later cells use the second one."""
        second = LAB[LAB.index('# %% tags=["exercise') : LAB.index('# %% tags=["experiment')].replace("double", "triple")
        uses = "\n# %% [markdown]\n# As `triple` says:\n\n# %%\ndef explorer(x):\n    return triple(x)\n"
        change(small, '# %% tags=["experiment"]', second + '# %% tags=["experiment"]')
        change(small, 'exercises=["double"]', 'exercises=["double", "triple"]')
        path = small.folder / "lab.py"
        path.write_text(path.read_text(encoding="utf-8") + uses, encoding="utf-8")
        both = MUTANTS + MUTANTS.replace("double", "triple")
        (small.folder / "mutants.py").write_text(both, encoding="utf-8")
        assert rules.broken(small) == []
        return small

    def test_what_goes_and_what_still_speaks_of_it(self, two: Chapter) -> None:
        gone = drop(two, "triple")
        assert (gone.cells, gone.points, gone.mutants, gone.heading) == (3, 3, 1, "Doubling")
        assert gone.uses == ["lab.py:35: # As `triple` says:", "lab.py:39: return triple(x)"]
        assert rules.broken(two) == ["lab.py, line 37: this cell uses triple, which nothing defines"]
        text = two.lab_source.read_text(encoding="utf-8")
        assert text.startswith(LAB.rstrip()) and 'exercises=["double"]' in text
        assert (two.folder / "mutants.py").read_text(encoding="utf-8") == MUTANTS

    def test_the_first_one(self, two: Chapter) -> None:
        drop(two, "double")
        assert 'exercises=["triple"]' in two.lab_source.read_text(encoding="utf-8")
        assert rules.broken(two) == ["lab.py, line 31: this cell uses double, which nothing defines"]

    @pytest.mark.parametrize("name", ["a", "b", "c"])
    def test_a_list_over_lines(self, name: str, two: Chapter) -> None:
        from courseware.drop import _without_name

        text = 'lab.start(\n    "01_small",\n    exercises=[\n        "a", "b",\n        "c",\n    ],\n)'
        shorter = _without_name(text, name)
        rest = [other for other in "abc" if other != name]
        assert f'"{name}"' not in shorter and "[" + ", ".join(f'"{r}"' for r in rest) in " ".join(shorter.split()).replace(
            "[ ", "["
        )
        compile(shorter, "lab", "exec")

    def test_there_is_no_such_exercise(self, two: Chapter) -> None:
        with pytest.raises(ChapterError, match=r"01_small has no exercise 'tripel'\. It has: double, triple\."):
            drop(two, "tripel")

    def test_the_only_one(self, small: Chapter) -> None:
        before = small.lab_source.read_text(encoding="utf-8")
        with pytest.raises(ChapterError, match="double is the only exercise"):
            drop(small, "double")
        assert small.lab_source.read_text(encoding="utf-8") == before


def test_an_exercise_of_a_real_lab(tmp_path: Path) -> None:
    """Dropped as the guide says: its explorer is found."""
    real = next(chapter for chapter in all_chapters() if chapter.name == "10_quantization")
    folder = tmp_path / "chapters" / real.name
    folder.mkdir(parents=True)
    for path in real.folder.glob("*.py"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(real.folder.parent / "references.bib", folder.parent)
    copy = Chapter(folder)
    gone = drop(copy, "zero_point")
    assert gone.cells == 3 and gone.mutants >= 3 and any("zero_point_quantize" in line for line in gone.uses)
    assert all("zero_point_" in fault and "which nothing defines" in fault for fault in rules.broken(copy))
    assert rules.broken(copy) and len(read(copy.lab_source).cells) == len(read(real.lab_source).cells) - 3
