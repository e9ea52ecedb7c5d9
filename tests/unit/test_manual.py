"""Chapter 7's manual and its questions: made by one command, and every question's paragraphs hold what they should."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from commands import load

from course_utils import tables
from courseware.chapters import ROOT

MANUAL = tables.load("manual").fillna("").set_index("id")
QUESTIONS = tables.load("manual_questions").fillna({"bridge": ""})


def letters(text: str) -> str:
    """Letters and digits only, lower case."""
    return re.sub(r"\W|_", "", text).lower()


def whole(paragraph: int) -> str:
    """A paragraph with its headings."""
    return " ".join(MANUAL.loc[paragraph, ["page", "section", "text"]])


@pytest.mark.network
def test_the_manual_is_made_again(tmp_path: Path) -> None:
    command = load(ROOT / "chapters" / "07_retrieval_augmentation" / "manual.py")
    table, command.TABLE = command.TABLE, tmp_path / "manual.csv"
    command.main()
    assert command.TABLE.read_text(encoding="utf-8") == table.read_text(encoding="utf-8")
    notice = "manual.LICENSE.txt"
    assert command.TABLE.with_name(notice).read_text(encoding="utf-8") == table.with_name(notice).read_text(encoding="utf-8")


def test_paragraphs_have_headings_dates_and_sources() -> None:
    assert MANUAL["text"].is_unique and MANUAL["page"].ne("").all()
    assert MANUAL["source"].str.endswith("; BSD-3-Clause").all()
    notes = MANUAL["page"].str.startswith("Release notes")
    assert MANUAL.loc[notes, "date"].str.fullmatch(r"(\w+ )?(\d+ )?\d{4}").all() and MANUAL.loc[~notes, "date"].eq("").all()
    assert not MANUAL["text"].str.contains(r":\w+:`|::|``", regex=True).any()  # no marks are left


@pytest.mark.parametrize("row", list(QUESTIONS.itertuples()), ids=lambda row: row.question)
def test_a_question_is_answered_where_it_says(row: pd.Series) -> None:
    accepted = [letters(option) for option in str(row.accepted).split("|")]
    if row.kind == "one hop":
        assert any(option in letters(MANUAL.loc[int(row.first_id), "text"]) for option in accepted)
        return
    first, second = whole(int(row.first_id)), int(row.second_id)
    assert letters(row.bridge) in letters(first) and letters(row.bridge) in letters(whole(second))
    assert re.search(rf" {re.escape(str(row.accepted))}(\.\d+)?$", MANUAL.loc[second, "page"])
    assert letters(row.bridge) not in letters(row.question)  # else one search would do
