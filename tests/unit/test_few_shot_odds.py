"""Chapter 6's table of log-odds: made by the lab's own functions, and one prompt scored again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def odds() -> ModuleType:
    return load(ROOT / "chapters" / "06_in_context_learning" / "odds.py")


def test_the_table_holds_every_prompt_and_no_other(odds: ModuleType) -> None:
    table = tables.load("few_shot_odds")
    assert set(table["prompt"]) == {prompt for (prompt,) in odds.RUNS}
    assert (table.groupby("prompt").size() == odds.SENTENCES).all()


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_prompt_is_scored_again(odds: ModuleType) -> None:
    (prompt,) = odds.RUNS[0]
    again = [row["odds"] for row in odds.rows(odds.lab(), prompt)]
    table = tables.load("few_shot_odds")
    assert again == pytest.approx(table.loc[table["prompt"] == prompt, "odds"].tolist(), abs=0.01)
