"""Chapter 8's tables of drawn chains: made by the lab's own functions."""

from __future__ import annotations

from types import ModuleType

import pandas as pd
import pytest
from commands import load, one_thread

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def chains() -> ModuleType:
    return load(ROOT / "chapters" / "08_chain_of_thought" / "chains.py")


def test_the_tables_hold_eight_chains_for_each_problem(chains: ModuleType) -> None:
    words, digits = tables.load("chain_samples"), tables.load("digit_chains")
    assert {(part,) for part in words["part"]} == set(chains.PARTS) and {(steps,) for steps in digits["steps"]} == set(
        chains.STEPS
    )
    for table, problems in ((words, 30), (digits, 3 * chains.PROBLEMS)):
        assert table.groupby("problem").size().eq(chains.CHAINS).all() and table["problem"].nunique() == problems
        assert table.groupby("problem")[["question", "answer", "steps"]].nunique().eq(1).all(axis=None)


def test_the_free_chains_answer_each_of_the_lab_s_problems_once(chains: ModuleType) -> None:
    free = tables.load("free_chains")
    assert {(style,) for style in free["style"]} == set(chains.STYLES)
    assert (
        free.groupby("style")["question"].nunique().eq(3 * chains.FREE_EACH).all()
        and not free.duplicated(["style", "question"]).any()
    )


def test_the_answers_are_right() -> None:
    for row in tables.load("digit_chains").drop_duplicates("problem").itertuples():
        have, rest = int(row.question[0]), row.question[1:-1]
        for sign, n in zip(rest[::2], map(int, rest[1::2]), strict=True):
            have = {"+": have + n, "-": have - n, "*": have * n}[sign] % 10
        assert have == row.answer


@pytest.mark.notebook
@pytest.mark.second_look
def test_the_beginning_of_a_part_is_made_again(chains: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "LENGTH", 15)  # tokens: the first ones do not depend on how many follow
    with one_thread():
        again = pd.DataFrame(chains.rows(chains.lab(), 0))
    table = tables.load("chain_samples").query("part == 0")
    assert again["question"].tolist() == table["question"].tolist() and again["answer"].tolist() == table["answer"].tolist()
    # another machine rounds otherwise, and a token that is drawn otherwise changes the rest of its chain
    alike = [whole.startswith(begin) for whole, begin in zip(table["text"], again["text"], strict=True)]
    assert sum(alike) / len(alike) > 0.5


@pytest.mark.notebook
@pytest.mark.second_look
def test_the_beginning_of_a_style_is_made_again(chains: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "FREE_LENGTH", 12)  # tokens
    with one_thread():
        again = pd.DataFrame(chains.free_rows(chains.lab(), "chat"))
    table = tables.load("free_chains").query("style == 'chat'")
    assert again["question"].tolist() == table["question"].tolist() and again["answer"].tolist() == table["answer"].tolist()
    alike = [whole.startswith(begin) for whole, begin in zip(table["text"], again["text"], strict=True)]
    assert sum(alike) / len(alike) > 0.5
