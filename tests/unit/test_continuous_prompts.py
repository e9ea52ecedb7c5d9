"""Chapter 6's table of trained prompts: made by the lab's own functions, and one row made again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def prompts() -> ModuleType:
    return load(ROOT / "chapters" / "06_in_context_learning" / "prompts.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_row_is_made_again(prompts: ModuleType) -> None:
    method, start, seed = prompts.RUNS[0]
    again = prompts.prompt_row(prompts.lab(), method, start, seed)
    row = tables.load("continuous_prompts").set_index(["method", "start", "seed"]).loc[method, start, seed]
    assert again["virtual_tokens"] == row.virtual_tokens
    assert again["accuracy"] == pytest.approx(row.accuracy, abs=0.02)
    assert again["roc_auc"] == pytest.approx(row.roc_auc, abs=0.01)


def test_the_table_holds_every_run_and_no_other(prompts: ModuleType) -> None:
    have = tables.load("continuous_prompts")[["method", "start", "seed"]].itertuples(index=False, name=None)
    assert sorted(have) == sorted(prompts.RUNS)
