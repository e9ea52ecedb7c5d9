"""Chapter 8's table of small models trained with and without a chain: made by the lab's own functions, one made again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    return load(ROOT / "chapters" / "08_chain_of_thought" / "steps.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_model_is_made_again(steps: ModuleType) -> None:
    again = steps.rows(steps.lab(), "chain", 0)
    table = tables.load("chain_steps").query("style == 'chain' and seed == 0")
    assert [row["problems_seen"] for row in again] == table["problems_seen"].tolist()
    # another machine rounds otherwise, and eight hundred steps of training carry that far
    within = [row for row in again if row["steps"] <= 3]
    assert [row["answers_right"] for row in within] == pytest.approx(table["answers_right"].tolist()[:3], abs=0.1)


def test_the_table_holds_every_run_and_no_other(steps: ModuleType) -> None:
    have = set(tables.load("chain_steps")[["style", "seed"]].itertuples(index=False, name=None))
    assert have == set(steps.RUNS)
