"""Chapter 7's knowledge base and questions: every sentence is real, every answer stands in its sentence."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd
import pytest

from course_utils import data, tables

SENTENCES = tables.load("knowledge_base")
QUESTIONS = tables.load("retrieval_questions")
BY_ID = SENTENCES.set_index("id")
ANSWERABLE = QUESTIONS[QUESTIONS["kind"] != "none"]


def letters(text: str) -> str:
    """Letters and digits only, lower case: what is left of a sentence however it was cut into tokens."""
    text = re.sub(r"-LSB-.*?-RSB-", "", text)
    text = re.sub(r"-(LRB|RRB|COLON)-", "", text)
    return re.sub(r"\W", "", unicodedata.normalize("NFC", text)).lower()


def stands_in(accepted: str, text: str) -> bool:
    """Do the words of one of the accepted strings stand in the text, next to each other and in order?"""
    spaced = [" ".join(["", *re.findall(r"\w+", part.lower()), ""]) for part in (text, *accepted.split("|"))]
    return any(option in spaced[0] for option in spaced[1:])


def test_every_sentence_is_wikipedias_or_a_sourced_item() -> None:
    rows = [row.split("\nClaim: ")[0].split(": ", 1) for row in data.bigbench("vitaminc_fact_verification")["input"]]
    titles, evidence = ({letters(text) for text in column} for column in zip(*rows, strict=True))
    news = SENTENCES["page"].str.startswith("News of ")
    assert set(SENTENCES[news]["sentence"]) == set(tables.load("factual_items")["statement"].dropna())
    for row in SENTENCES[~news].itertuples():
        assert letters(row.sentence) in evidence, row.sentence
        assert row.revised is None or pd.isna(row.revised) or letters(row.revised) in evidence, row.revised
        assert letters(row.page) in titles and "CC BY-SA 3.0" in row.source
    assert SENTENCES["id"].tolist() == list(range(1, len(SENTENCES) + 1)) and SENTENCES["sentence"].is_unique


def test_there_are_enough_questions_of_each_kind() -> None:
    counts = QUESTIONS["kind"].value_counts()
    assert set(counts.index) == {"page", "revised", "recent", "none"}
    assert len(ANSWERABLE) >= 80 and counts["none"] >= 20 and counts["revised"] >= 10 and counts["recent"] == 12
    assert QUESTIONS["question"].is_unique and QUESTIONS["question"].str.endswith("?").all()


@pytest.mark.parametrize("row", list(ANSWERABLE.itertuples()), ids=lambda row: row.question)
def test_the_answer_stands_in_its_sentence_and_the_sentence_in_the_knowledge_base(row: pd.Series) -> None:
    gold = BY_ID.loc[int(row.sentence_id)]
    assert gold["sentence"] == row.sentence and gold["page"] == row.page
    assert stands_in(row.accepted, row.sentence) and stands_in(row.accepted, row.answer)
    if row.kind == "revised":
        assert stands_in(row.new_accepted, gold["revised"]) and stands_in(row.new_accepted, row.new_answer)
        assert not stands_in(row.accepted, gold["revised"]) and not stands_in(row.new_accepted, row.sentence)


def test_only_the_revised_sentences_have_a_revision() -> None:
    asked = set(QUESTIONS.loc[QUESTIONS["kind"] == "revised", "sentence_id"].astype(int))
    assert set(SENTENCES.loc[SENTENCES["revised"].notna(), "id"]) == asked


def test_recent_questions_are_those_of_the_factual_items() -> None:
    items = tables.load("factual_items")
    items = items[items["kind"] == "recent"].reset_index(drop=True)
    recent = QUESTIONS[QUESTIONS["kind"] == "recent"].reset_index(drop=True)
    for column in ("question", "answer", "accepted"):
        pd.testing.assert_series_equal(recent[column], items[column])
    pd.testing.assert_series_equal(recent["sentence"], items["statement"], check_names=False)


def test_questions_with_no_answer_have_none() -> None:
    none = QUESTIONS[QUESTIONS["kind"] == "none"]
    assert none[["answer", "accepted", "sentence", "sentence_id"]].isna().all().all()
