"""Tables that are made run by run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from courseware import resumable_table


def rows_of(letter: str, seed: int) -> list[dict[str, object]]:
    return [{"letter": letter, "seed": seed, "step": step, "value": seed + step} for step in range(2)]


def test_a_cut_command_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, wanted = tmp_path / "table.csv", [("b", 0), ("a", 0), ("b", 1)]
    made: list[tuple[str, int]] = []

    def make(letter: str, seed: int) -> list[dict[str, object]]:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append((letter, seed))
        return rows_of(letter, seed)

    with pytest.raises(KeyboardInterrupt):
        resumable_table.fill(path, ("letter", "seed"), wanted, make)
    assert len(pd.read_csv(path)) == 4
    made[:] = made[:1]  # one more may be made
    resumable_table.fill(path, ("letter", "seed"), wanted, make)
    assert made == [("b", 0), ("b", 1)]
    table = pd.read_csv(path)
    assert list(table[["letter", "seed"]].itertuples(index=False, name=None)) == [run for run in wanted for _ in range(2)]
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_again_forgets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    pd.DataFrame([{"letter": "old", "seed": 0, "step": 0, "value": 0}]).to_csv(path, index=False)
    resumable_table.fill(path, ("letter", "seed"), [("a", 3)], rows_of, again=True)
    assert pd.read_csv(path)["letter"].tolist() == ["a", "a"]
