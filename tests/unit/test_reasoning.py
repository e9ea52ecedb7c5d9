"""Chapter 13's tables of trained models: complete, and one point made again by the lab's own cells."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load, one_thread

from course_utils import data, tables
from course_utils.errors import UnknownNameError
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def rewards() -> ModuleType:
    return load(ROOT / "chapters" / "13_reasoning_rl" / "rewards.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_point_is_made_again(rewards: ModuleType) -> None:
    """The first two rows of a run. Floating point differs between machines, and sampling amplifies that."""
    table = tables.load("reasoning_runs")
    rate = rewards.chosen(tables.load("reasoning_search"))["GRPO"]
    with one_thread():
        rows, _ = rewards.run(rewards.lab(), "GRPO", rate, 0, rewards.WATCH[:2])
    kept = table[(table["method"] == "GRPO") & (table["seed"] == 0)].sort_values("tokens").head(2)
    for row, (_, old) in zip(rows, kept.iterrows(), strict=True):
        assert abs(row["tokens"] - old["tokens"]) < 2_000
        for what, near in (("pass_1", 0.08), ("pass_16", 0.15), ("chains", 0.15), ("entropy", 0.05)):
            assert row[what] == pytest.approx(old[what], abs=near), what


def test_the_tables_hold_every_run_and_no_other(rewards: ModuleType) -> None:
    search = tables.load("reasoning_search")
    assert set(search[["method", "rate", "seed"]].itertuples(index=False, name=None)) == set(rewards.SEARCH)
    rates = rewards.chosen(search)
    rates["GRPO, no clipping"] = rates["GRPO"]
    have = set(tables.load("reasoning_runs")[["method", "rate", "seed"]].itertuples(index=False, name=None))
    assert have == {*rewards.RAW, *((method, rate, seed) for method, rate in rates.items() for seed in rewards.SEEDS)}
    have = set(tables.load("reasoning_controls")[["control", "seed"]].itertuples(index=False, name=None))
    assert have == set(rewards.CONTROL_RUNS)
    hacks = tables.load("reasoning_hacking")
    assert set(hacks[["reward", "beta", "seed"]].itertuples(index=False, name=None)) == set(rewards.HACKS)


def test_every_run_spends_its_tokens(rewards: ModuleType) -> None:
    runs = tables.load("reasoning_runs")
    runs = runs[~runs["method"].str.startswith("base")]
    for key, part in runs.groupby(["method", "seed"]):
        assert len(part) == len(rewards.WATCH), key
        assert 0 <= part["tokens"].max() - rewards.TOKENS < 20_000, key
    for (name, seed), part in tables.load("reasoning_controls").groupby(["control", "seed"]):
        when = rewards.CONTROLS[name].get("when", rewards.WATCH)
        assert len(part) == len(when), (name, seed)
        assert 0 <= part["tokens"].max() - when[-1] < 20_000, (name, seed)


def test_the_shown_models_are_asked_about_every_problem(rewards: ModuleType) -> None:
    problems = tables.load("reasoning_problems")
    for (method, temperature, seed), part in problems.groupby(["method", "temperature", "seed"]):
        assert len(part) == 96 and method in rewards.SHOWN, (method, temperature, seed)
    grpo = problems[problems["method"] == "GRPO"]
    assert set(grpo["temperature"]) == set(rewards.TEMPERATURES) and set(grpo["seed"]) == set(rewards.SEEDS)


def test_counts_of_the_problems_fit_their_shares() -> None:
    problems = tables.load("reasoning_problems")
    assert problems["right"].between(0, problems["samples"]).all()
    off = (problems["vote_1"] - problems["right"] / problems["samples"]).abs()
    assert off.mean() < 0.06  # a vote of one is one text, drawn thirty times


def test_a_checkpoint_that_is_not_there_is_said_by_name() -> None:
    assert sum(tensor.numel() for tensor in data.checkpoint("reasoning_base").values()) > 90_000
    with pytest.raises(UnknownNameError, match="reasoning_base"):
        data.checkpoint("reasoning_bass")
