"""Chapter 5's tables: made by the lab's own functions, and a row of each made again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load

from course_utils import tables
from courseware import resumable_table
from courseware.chapters import ROOT

FOLDER = ROOT / "chapters" / "05_hallucination_knowledge"


@pytest.fixture(scope="module")
def sampling() -> ModuleType:
    return load(FOLDER / "sampling.py")


@pytest.fixture(scope="module")
def editing() -> ModuleType:
    return load(FOLDER / "editing.py")


def test_every_question_was_asked_and_every_answer_is_a_text(sampling: ModuleType) -> None:
    table = tables.load("sampled_answers")
    assert table["question"].tolist() == [row["question"] for row in sampling.QUESTIONS]
    samples = table.filter(regex="answer|sample")
    assert samples.shape[1] == 1 + sampling.DRAWS
    assert samples.map(lambda text: isinstance(text, str)).all(axis=None)


def test_every_fact_was_put_in_in_every_way(editing: ModuleType) -> None:
    have = tables.load("fact_edits")[["id", "way"]].itertuples(index=False, name=None)
    assert sorted(have) == sorted(editing.RUNS)


@pytest.mark.notebook
@pytest.mark.second_look
def test_greedy_answers_are_made_again(sampling: ModuleType) -> None:
    table = tables.load("sampled_answers").head(sampling.TOGETHER)
    names = sampling.lab()
    asked = list(table["question"])
    with resumable_table.full_size():
        again = names["ask"](names["model"], names["tokenizer"], asked, length=sampling.LENGTH, examples=names["SHORT"])
    assert again["answer"].tolist() == table["answer"].tolist()
    assert again["confidence"].tolist() == pytest.approx(table["confidence"].tolist(), abs=1e-3)


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_fact_is_given_again(editing: ModuleType) -> None:
    number, way = editing.RUNS[0]
    again = editing.row(editing.lab(), number, way)
    row = tables.load("fact_edits").set_index(["id", "way"]).loc[(number, way)]
    for name in ("efficacy", "generalisation", "specificity", "leak"):
        assert again[name] == pytest.approx(row[name], abs=0.1)
