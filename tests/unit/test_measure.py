"""The page of times and memory: rows of other chapters stay, with the day on which they were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from courseware import measure
from courseware.chapters import chapter

PAGE = """\
# What each notebook costs

## A machine · COURSE_BUDGET=full

Measured 2026-01-02.

| chapter | lecture (s) | (GB) | lab (s) | (GB) |
|---|---|---|---|---|
| 01_plm_history | 24 | 1.2 | 128 | 1.2 |
| 02_instruction_tuning | 39 | 1.2 | 115 | 2.4 |

## Another machine
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of measurements; every notebook takes 7 s and 0.5 GB."""
    page = tmp_path / "measurements.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(measure, "PAGE", page)
    monkeypatch.setattr(measure, "run", lambda path, budget: (7.0, 0.5))
    return page


def test_each_row_keeps_its_day(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "machine", lambda: "A machine")

    def after(day: str, *names: str) -> str:
        monkeypatch.setattr(measure.time, "strftime", lambda form: day)
        measure.write(map(chapter, names), "full")
        return page.read_text(encoding="utf-8")

    text = after("2026-03-04", "03")
    assert "| 01_plm_history | 24 | 1.2 | 128 | 1.2 |" in text and "| 03_rlhf | 7 | 0.5 | 7 | 0.5 |" in text
    assert "\nMeasured 2026-01-02; 03_rlhf on 2026-03-04.\n" in text and text.endswith("\n## Another machine\n")
    text = after("2026-03-05", "02")  # each on its own day: the first is named first
    assert "\nMeasured 2026-01-02; 02_instruction_tuning on 2026-03-05, 03_rlhf on 2026-03-04.\n" in text
    assert "\nMeasured 2026-03-06.\n" in after("2026-03-06", "01", "02", "03")


def test_a_machine_that_is_new(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "machine", lambda: "A third machine")
    measure.write([chapter("03")], "quick")
    text = page.read_text(encoding="utf-8")
    assert text.startswith(PAGE.rstrip()) and "## A third machine · COURSE_BUDGET=quick\n\nMeasured 20" in text
