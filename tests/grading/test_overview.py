"""The instructor's page: figures that are right, nothing of a student's that is live, likeness that is no verdict."""

from __future__ import annotations

import random
import time

import pytest

from courseware.grading import overview, similarity
from courseware.grading.overview import Entry

MEAN = """\
def mean(values, axis=None):
    total, count = 0.0, 0
    for value in values:
        if value is None or value != value:
            continue
        total += float(value)
        count += 1
    return total / count if count else 0.0
"""
RENAMED = """\
def mean(xs, axis=None):
    s, n = 0.0, 0  # my own idea
    for x in xs:
        if x is None or x != x:
            continue
        s += float(x)
        n += 1
    return s / n if n else 0.0
"""
OTHER = """\
def mean(values, axis=None):
    kept = [float(v) for v in values if v is not None]
    kept = list(filter(lambda v: not math.isnan(v), kept))
    return sum(kept) / len(kept) if len(kept) > 0 else 0.0
"""
STUB = {"mean": 'def mean(values, axis=None):\n    raise NotImplementedError("exercise mean: write this function")'}


def answers(**sources: str) -> dict[str, dict[str, str]]:
    crowd = {
        f"s{n}": {"mean": f"def mean(values, axis=None):\n    return helper{n}(values, [{n}, {n + 1}])"} for n in range(30)
    }
    return {**crowd, **{who: {"mean": source} for who, source in sources.items()}}


def test_a_copy_with_other_names_is_found() -> None:
    (found,) = similarity.pairs(answers(ann=MEAN, bob=RENAMED, cy=OTHER), STUB)
    assert found.students == ("ann", "bob") and found.figure > 0.95


def test_word_for_word_copies_are_found_however_many() -> None:
    copies = {f"c{n}": MEAN + ("\n" if n % 2 else "") for n in range(25)}
    (found,) = similarity.pairs(answers(**copies), STUB)
    assert len(found.students) == 25 and found.figure == 1 and "character by character" in found.description


def test_what_many_write_says_nothing() -> None:
    many = {f"m{n}": MEAN.replace("total", f"total{n}") for n in range(12)}
    assert similarity.pairs(answers(**many), STUB) == []
    assert (
        similarity.pairs(answers(ann="def mean(v):\n    return sum(v)", bob="def mean(x):\n    return sum(x)"), STUB) == []
    )


@pytest.mark.parametrize(
    ("source", "long"),
    [("def f(:\n  '''", False), ("\0\0", False), ("", False), ("(" * 1000, True), ("x = '''" * 100, True)],
)
def test_what_is_no_python_is_compared_too(source: str, long: bool) -> None:
    """Two that are equal are told when they are long enough to tell something."""
    found = similarity.pairs({"a": {"mean": source}, "b": {"mean": source}}, STUB)
    assert [pair.students for pair in found] == [("a", "b")] * long


def test_a_large_class_takes_seconds() -> None:
    words = ["alpha(x)", "x + 1", "beta(y, 2)", "[z for z in x]", "x[0]", "y.sum()", "not x", "{1: y}", "x @ y", "gamma(x)"]
    choose = random.Random(0)
    many = {
        f"s{n}": {"mean": "def mean(x, y):\n" + "\n".join(f"    v{i} = {choose.choice(words)}" for i in range(40))}
        for n in range(1500)
    }
    started = time.process_time()
    similarity.pairs(many, STUB)
    assert time.process_time() - started < 30


def entry(name: str, score: float | None, **more: object) -> Entry:
    points = score or 0.0
    about = {"exercises": {"mean": (min(points, 3.0), 3.0), "total": (max(0.0, points - 3), 3.0)}, "messages": {}}
    about["answers"] = {"mean": f"def mean(v): return {name!r}"}
    return Entry(name, name, score, 6.0, **{**about, **more})  # type: ignore[arg-type]


def made(*entries: Entry, missing: tuple[str, ...] = ()) -> str:
    return overview.made("Lab", entries, missing, {"mean": "The mean"}, STUB)


def test_figures() -> None:
    page = made(entry("a", 6.0), entry("b", 3.0), entry("c", 0.0, late=True), entry("d", None), missing=("Eve",))
    for text in ("<b>5</b>students", "<b>3</b>graded", "<b>3</b>mean of 6", "<b>3</b>median", "<b>1</b>full marks",
                 "<b>1</b>nothing handed in", "<b>1</b>late", "<b>1</b>without a grade yet"):  # fmt: skip
        assert text in page, text
    assert 'aria-label="students by share of the points: 0 to 10%: 1, 50 to 60%: 1, 90 to 100%: 1"' in page
    assert "The mean" in page and '<td class="number">67%</td><td class="number">2 / 3</td>' in page


def test_common_reasons_and_who_needs_a_look() -> None:
    hidden = [["hidden", ""], ["because", "an empty list"]]
    page = made(
        entry("a", 1.0, messages={"mean": hidden, "total": [["visible", "AssertionError: got 5, not 7"]]}),
        entry("b", 2.0, messages={"mean": hidden, "total": [["visible", "AssertionError: got 6, not 7"]]}),
        entry("c", 2.0, messages={"mean": [["cell", "ran longer than 60 s"]]}, notes=["ran longer than 60 s"]),
        entry("d", 0.0, answers={}, notes=["the file is not a notebook: it is not JSON (from line 1 on)"]),
        entry("e", 3.0, look_again=True),
        entry("f", 3.0, remark="two files may be meant"),
        entry("g", 3.0),
        missing=("Hal",),
    )
    assert page.count("it fails for: an empty list") == 1 and "hidden tests: not passed" not in page
    assert "visible tests: got 5, not 7" in page and "got 6, not 7" not in page  # one kind, twice
    looks = page.partition("Who needs a look")[2].partition("nearly the same")[0]
    assert [name for name in "abcdefg" if f">{name}</a>" in looks] == ["c", "d", "e", "f"]
    assert "Hal" in looks and looks.count("ran longer than 60 s") == 1 and "it is not JSON" in looks


def test_the_lab_as_it_was_given_out_is_called_so() -> None:
    said = {"mean": [["note", "not answered"]], "total": [["note", "not answered"]]}
    assert "<td>nothing was answered</td>" in made(entry("a", 0.0, messages=said, answers={}))


def test_nothing_of_a_stranger_is_live() -> None:
    bad = "<script>alert(1)</script>"
    page = made(
        entry(bad, 1.0, messages={"mean": [["cell", bad]]}, notes=[f"could not be graded {bad}"], remark=bad),
        entry("half \ud800", None),
        missing=(bad,),
    )
    assert "<script" not in page and "default-src 'none'" in page and "feedback/%3Cscript%3E" in page
    page.encode()


def test_a_class_of_nobody() -> None:
    assert "Nobody." in made() and "None." in made(entry("a", 6.0))
