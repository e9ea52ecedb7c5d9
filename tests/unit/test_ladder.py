"""Chapter 4's tables of trained models: made by the lab's own cells, and one point of each made again."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from commands import load

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    return load(ROOT / "chapters" / "04_scaling_emergence" / "ladder.py")


@pytest.mark.notebook
def test_a_point_of_each_table_is_made_again(ladder: ModuleType) -> None:
    """Floating point differs between machines and training amplifies that: a loss may differ by a few hundredths."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names = ladder.lab()
        text = ladder.scaling_row(names, 64, 1e11, 0)
        adder = ladder.emergence_row(names, 8, 60_000, 0)
    finally:
        torch.set_num_threads(threads)
    table = tables.load("scaling_ladder").set_index(["width", "budget_flops", "seed"])
    row = table.loc[64, 1e11, 0]
    assert (text["parameters"], text["tokens"]) == (row.parameters, row.tokens)
    assert text["loss_nats"] == pytest.approx(row.loss_nats, abs=0.05)
    row = tables.load("emergence_ladder").set_index(["width", "seed"]).loc[8, 0]
    assert adder["loss_nats"] == pytest.approx(row.loss_nats, abs=0.1)
    assert adder["digits_right"] == pytest.approx(row.digits_right, abs=0.05)


def test_the_tables_hold_every_run_and_no_other(ladder: ModuleType) -> None:
    have = set(tables.load("scaling_ladder")[["width", "budget_flops", "seed"]].itertuples(index=False, name=None))
    assert have == {(w, c, s) for c, widths in ladder.BUDGETS.items() for s in range(ladder.SEEDS[c]) for w in widths}
    have = set(tables.load("emergence_ladder")[["width", "examples", "seed"]].itertuples(index=False, name=None))
    assert have == set(ladder.ADDERS)
