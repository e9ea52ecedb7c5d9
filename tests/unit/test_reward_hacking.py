"""Chapter 3's table of trained policies: made by the lab's own cells, and one run of it made again."""

from __future__ import annotations

from types import ModuleType

import pytest
from commands import load, one_thread

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def hacking() -> ModuleType:
    return load(ROOT / "chapters" / "03_rlhf" / "hacking.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_run_is_made_again(hacking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Floating point differs between machines and training amplifies that: the first rounds are close, later ones alike."""
    monkeypatch.setattr(hacking, "ROUNDS", 5)
    monkeypatch.setattr(hacking, "WATCH", (0, 5))
    with one_thread():
        first, later = hacking.rows(hacking.lab(), "PPO", 0.0, 1e-3, 0)
    table = tables.load("reward_hacking").set_index(["method", "beta", "seed", "round"]).sort_index()
    want = table.loc["PPO", 0.0, 0]
    assert first["kl"] == 0 and first["reward"] == pytest.approx(want.loc[0, "reward"], abs=0.1)
    assert later["reward"] == pytest.approx(want.loc[5, "reward"], abs=0.6)
    assert later["reviewers"] == pytest.approx(want.loc[5, "reviewers"], abs=0.15)


def test_the_table_holds_every_run_and_no_other(hacking: ModuleType) -> None:
    have = set(tables.load("reward_hacking")[list(hacking.KEYS)].itertuples(index=False, name=None))
    assert have == set(hacking.RUNS)
