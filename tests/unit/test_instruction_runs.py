"""Chapter 2's tables of trained models: made by the lab's own functions, and a point of each made again."""

from __future__ import annotations

import contextlib
from types import ModuleType

import pytest
import torch
from commands import load, one_thread

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    return load(ROOT / "chapters" / "02_instruction_tuning" / "runs.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_point_is_made_again(runs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first steps of the training that makes the base model, in fp32: bf16 takes minutes where no hardware has it."""
    monkeypatch.setattr(runs, "in_bf16", contextlib.nullcontext)
    with one_thread():
        _, losses = runs.forget(runs.lab(), 2)
    curve = tables.load("base_to_assistant_loss").set_index(["stage", "step"])["loss_nats"]
    assert losses == pytest.approx(curve.loc[[("base", 1), ("base", 2)]].tolist(), abs=0.05)


def test_training_in_bf16_moves_the_parameters_that_it_multiplies_by(runs: ModuleType) -> None:
    """A cache of autocast would multiply by those of the first step, as long as it lasts."""
    layer = torch.nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    seen = []
    with runs.in_bf16():
        for _ in range(3):
            out = layer(torch.ones(1, 4)).sum()
            optimizer.zero_grad()
            out.backward()
            optimizer.step()
            seen.append(out.item())
    assert seen[0] > seen[1] > seen[2]


def test_the_tables_hold_every_run_and_no_other(runs: ModuleType) -> None:
    answers, losses = (
        set(tables.load(name)[["stage", "seed"]].itertuples(index=False, name=None))
        for name in ("base_to_assistant", "base_to_assistant_loss")
    )
    assert answers == set(runs.ASSISTANT_RUNS) and losses == answers - {("as shipped", 0)}


def test_every_model_was_asked_the_same() -> None:
    prompts = tables.load("base_to_assistant").groupby(["stage", "seed"])["prompt"].apply(list)
    assert all(asked == prompts["base", 0] for asked in prompts)
