"""Chapter 1's tables: made by the lab's own cells, a point of each made again; and the table of language models."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from commands import load, one_thread

from course_utils import tables
from courseware.chapters import ROOT


@pytest.fixture(scope="module")
def race() -> ModuleType:
    return load(ROOT / "chapters" / "01_plm_history" / "race.py")


@pytest.mark.notebook
@pytest.mark.second_look
def test_a_point_of_each_table_is_made_again(race: ModuleType) -> None:
    """Floating point differs between machines and training amplifies that: a few hundredths of a nat, a few sentences."""
    with one_thread():
        names = race.lab()
        made = race.race_rows(names, "encoder", race.SHORT, 0.006, 0)
        words = race.worth_row(names, "TF-IDF", 512, 0.0, 0, "test")
        network = race.worth_row(names, "fine-tuned", 64, race.best_worth_rate("fine-tuned"), 0, "test")
    table = tables.load("architecture_race").set_index([*race.RACE_KEYS, "task"])
    for row in made:
        wanted = table.loc[(row["model"], row["steps"], row["rate"], row["seed"], row["task"])]
        assert row["questions"] == wanted.questions
        assert row["exam_nats"] == pytest.approx(wanted.exam_nats, abs=0.1)
    worth = tables.load("pretraining_worth").set_index([*race.WORTH_KEYS])
    for row, tolerance in ((words, 6), (network, 40)):
        assert row["right"] == pytest.approx(worth.loc[tuple(row[key] for key in race.WORTH_KEYS)].right, abs=tolerance)


def test_the_tables_hold_every_run_and_no_other(race: ModuleType) -> None:
    table = tables.load("architecture_race")
    runs = set(table[[*race.RACE_KEYS]].itertuples(index=False, name=None))
    assert runs == {*race.short_runs(table), *race.long_runs(table)}
    table = tables.load("pretraining_worth")
    assert set(table[[*race.WORTH_KEYS]].itertuples(index=False, name=None)) == {*race.worth_runs(table)}


class TestLanguageModels:
    def test_a_source_says_where(self) -> None:
        """Not only which paper: which section, table or page of it."""
        for row in tables.load("language_models").itertuples():
            assert re.search(r"section|table|abstract|appendix|README|note", row.source), row.name

    def test_rows_are_in_order_and_agree_with_themselves(self) -> None:
        table = tables.load("language_models")
        assert list(table["date"]) == sorted(table["date"]) and table["date"].str.fullmatch(r"20\d\d-(0\d|1[0-2])").all()
        assert (table["year"] == table["date"].str[:4].astype(int)).all()
        assert ((table["parameters_billion"] >= 10) == (table["era"] == "large")).all()
        assert not (table["active_billion"] > table["parameters_billion"]).any()

    def test_shapes_give_about_the_parameters_that_are_printed(self) -> None:
        """12 · layers · width², and the embeddings: for the models whose feed-forward layers are four times as wide."""
        for row in tables.load("model_shapes").set_index("name").drop("T5 11B").itertuples():
            layers = row.encoder_layers + row.decoder_layers
            vocabulary = {"BERT large": 30_522, "GPT-1": 40_478}.get(row.Index, 50_257)
            count = (12 * layers * row.width + vocabulary + row.context_tokens) * row.width
            assert count / 1e9 == pytest.approx(row.parameters_billion, rel=0.03), row.Index
