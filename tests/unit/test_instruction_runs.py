"""Chapter 2's tables of trained models: made by the lab's own functions, and a point of each made again."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from commands import load

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    return load(ROOT / "chapters" / "02_instruction_tuning" / "runs.py")


@pytest.mark.notebook
def test_a_point_of_each_table_is_made_again(runs: ModuleType) -> None:
    """The model as it is shipped, and the first steps of what follows; bf16 rounds differently on other machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names = runs.lab()
        wordings = runs.wording_rows(names, 0, 0)
        _, losses = runs.forget(names, 2)
    finally:
        torch.set_num_threads(threads)
    table = tables.load("instruction_wordings").set_index(["wordings", "seed", "test"])
    for row in wordings:
        assert row["right"] == pytest.approx(table.loc[(0, 0, row["test"]), "right"], abs=6)
    curve = tables.load("base_to_assistant_loss")
    curve = curve[(curve["data"] == "plain text") & (curve["seed"] == 0)].set_index("step")["loss_nats"]
    assert losses == pytest.approx(curve.loc[[1, 2]].tolist(), abs=0.05)


def test_the_tables_hold_every_run_and_no_other(runs: ModuleType) -> None:
    have = set(tables.load("instruction_wordings")[["wordings", "seed"]].itertuples(index=False, name=None))
    assert have == set(runs.WORDING_RUNS)
    for name in ("base_to_assistant", "base_to_assistant_loss"):
        assert set(tables.load(name)["seed"]) == {seed for (seed,) in runs.ASSISTANT_RUNS}


def test_the_model_was_asked_the_same_at_each_stage() -> None:
    told = tables.load("base_to_assistant")
    prompts = told[told["seed"] == 0].groupby("stage")["prompt"].apply(list)
    assert set(prompts.index) == {"as shipped", "base", "tuned"}
    assert all(asked == prompts["base"] for asked in prompts)
