"""Chapter 4's tables of trained models: made by the lab's own cells, and one point of each made again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load, one_thread

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    return load(ROOT / "chapters" / "04_scaling_emergence" / "ladder.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_point_of_each_table_is_made_again(ladder: ModuleType) -> None:
    """Floating point differs between machines and training amplifies that: a loss may differ by a few hundredths."""
    with one_thread():
        names = ladder.lab()
        text = ladder.scaling_row(names, 24, 1.5e10, 0)
        trial = ladder.tuning_row(names, 16, 0.1, 0.99)
        adder = ladder.emergence_row(names, 8, 2, 0)
    row = tables.load("scaling_ladder").set_index(["width", "budget_flops", "seed"]).loc[24, 1.5e10, 0]
    for key in ("parameters", "tokens", "rate", "beta2"):
        assert text[key] == row[key], key
    assert text["loss_nats"] == pytest.approx(row.loss_nats, abs=0.05)
    row = tables.load("scaling_tuning").set_index(["width", "rate", "beta2"]).loc[16, 0.1, 0.99]
    assert trial["loss_nats"] == pytest.approx(row.loss_nats, abs=0.05)
    row = tables.load("emergence_ladder").set_index(["width", "heads", "seed"]).loc[8, 2, 0]
    assert adder["parameters"] == row.parameters
    assert adder["loss_nats"] == pytest.approx(row.loss_nats, abs=0.1)
    assert adder["digits_right"] == pytest.approx(row.digits_right, abs=0.05)


def test_the_tables_hold_every_run_and_no_other(ladder: ModuleType) -> None:
    have = set(tables.load("scaling_ladder")[["width", "budget_flops", "seed"]].itertuples(index=False, name=None))
    assert have == {(w, c, s) for c, widths in ladder.BUDGETS.items() for s in range(ladder.SEEDS) for w in widths}
    have = set(tables.load("emergence_ladder")[["width", "heads", "seed"]].itertuples(index=False, name=None))
    assert have == set(ladder.ADDERS)
    tuned = tables.load("adder_tuning")[["width", "heads", "rate", "seed"]].itertuples(index=False, name=None)
    assert set(tuned) == set(ladder.ADDERS_TUNED)
    tuning = tables.load("scaling_tuning")
    for width, part in tuning.groupby("width"):
        assert {(r, ladder.BETA2) for r in ladder.RATES} <= set(zip(part["rate"], part["beta2"], strict=True))
        best = part[part["beta2"] == ladder.BETA2].nsmallest(1, "loss_nats")["rate"].iloc[0]
        assert set(part.loc[part["rate"] == best, "beta2"]) == {ladder.BETA2, *ladder.OTHER_BETA2}, width


def test_every_run_has_the_settings_that_its_width_was_tuned_to(ladder: ModuleType) -> None:
    for width, part in tables.load("scaling_ladder").groupby("width"):
        assert set(zip(part["rate"], part["beta2"], strict=True)) == {ladder.tuned(width)}


def test_one_head_and_two_have_the_same_number_of_parameters() -> None:
    adders = tables.load("emergence_ladder")
    assert (adders.groupby("width")["parameters"].nunique() == 1).all()


def test_a_run_spends_its_budget() -> None:
    """To a step: 512 tokens."""
    table = tables.load("scaling_ladder")
    width = table["width"].to_numpy()
    matrices = 2 * (4 * width**2 + 3 * width * (width * 8 // 3)) + 128 * width
    cost = 3 * (2 * matrices + 4 * 2 * 64 * width)
    assert (abs(table["tokens"].to_numpy() - table["budget_flops"].to_numpy() / cost) <= 256).all()
