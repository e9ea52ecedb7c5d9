"""Chapter 11's table of what was learnt and forgotten: made by the lab's own functions, and runs made again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load, one_thread

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def forgetting() -> ModuleType:
    return load(ROOT / "chapters" / "11_lora" / "forgetting.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_rows_are_made_again(forgetting: ModuleType) -> None:
    """Floating point differs between machines and training amplifies that: a few sentences, a few hundredths of a nat."""
    with one_thread():
        names = forgetting.lab()
        again = [forgetting.forgetting_row(names, *run) for run in (forgetting.RUNS[2], forgetting.RUNS[7])]
    table = tables.load("lora_forgetting").set_index([*forgetting.KEYS])
    for row in again:
        wanted = table.loc[tuple(row[key] for key in forgetting.KEYS)]
        assert row["accuracy"] == pytest.approx(wanted.accuracy, abs=0.03)
        assert row["forgotten_nats"] == pytest.approx(wanted.forgotten_nats, abs=0.02)


def test_the_table_holds_every_run_and_no_other(forgetting: ModuleType) -> None:
    have = tables.load("lora_forgetting")[[*forgetting.KEYS]].itertuples(index=False, name=None)
    assert list(have) == forgetting.RUNS
