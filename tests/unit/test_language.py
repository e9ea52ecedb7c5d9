"""The helper package's messages in the reader's language, and the Chinese font of figures."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib import font_manager

from course_utils import lab, language, plots, words
from course_utils.language import t
from course_utils.questions import Question
from courseware.chapters import FOLDERS
from courseware.translation import font, progress

MESSAGE = "Grading adds hidden tests of the same functions."


@pytest.fixture(autouse=True)
def no_language(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COURSE_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "found"),
    [
        ("COURSE_LANG", "zh_CN", "zh_CN"),
        ("COURSE_LANG", "zh", "zh_CN"),
        ("COURSE_LANG", "en", "en"),
        ("COURSE_LANG", "", "en"),
        ("LANG", "zh_CN.UTF-8", "zh_CN"),
        ("LANG", "C.UTF-8", "en"),
        ("LC_ALL", "zh_SG.UTF-8", "zh_CN"),
        ("LANGUAGE", "zh_CN:en", "zh_CN"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked otherwise")
def test_the_language_is_that_of_the_variable_or_the_system(
    variable: str, value: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert language.language() == found


def test_the_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("COURSE_LANG", "en")
    assert t(MESSAGE) == MESSAGE


def test_a_message_in_chinese_and_one_that_has_no_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    assert t(MESSAGE) == "评分时还会对同样的函数运行隐藏测试。"
    assert t("{name} should be {want}, but it is {got}", name="q", want=1, got=2) == "q 应为 1，而它是 2"
    assert t("nobody wrote {this} down", this="{x}") == "nobody wrote {x} down"


def test_a_lab_speaks_chinese(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    lab.start("00_none", exercises=["a"])
    with pytest.raises(lab.Unsolved, match=r"练习 a：请写出这个函数。写好上面的单元格"), lab.test("a"):
        raise NotImplementedError("exercise a: write this function")
    with pytest.raises(lab.Unsolved, match=r"练习 a：还没有写。先让它的公开测试通过"):
        lab.needs("a")
    with lab.test("a"):
        pass
    table = lab.summary()
    assert list(table.columns) == ["通过"] and table.index.name == "练习"
    assert "1 个练习中有 1 个通过公开测试。" in capsys.readouterr().out


def test_importing_reads_no_catalogue() -> None:
    code = "import course_utils.language as l; print(l._catalogue.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "0"


@pytest.mark.parametrize("name", FOLDERS)
def test_what_ships_is_what_the_catalogue_says(name: str) -> None:
    path, text = progress.compiled(name)
    assert path.read_text(encoding="utf-8") == text, f"`course translate {name} course_utils` writes it"
    assert json.loads(text)


def test_the_font_has_what_figures_show_and_is_small() -> None:
    assert font.lacking() == set(), "`course fonts` writes it anew"
    assert plots.CHINESE_FONT.stat().st_size <= 800_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in (plots.CHINESE_FONT.parent / "OFL.txt").read_text(encoding="utf-8")


def test_a_figure_shows_chinese_without_a_font_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in Colab, which has no Chinese font: none of the system's is known, and every missing sign would be an error."""
    ours = [entry for entry in font_manager.fontManager.ttflist if "matplotlib" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", ours)
    with warnings.catch_warnings(), plt.rc_context(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        plots.style()
        figure, ax = plt.subplots()
        ax.plot([-1, 2], label="缩放因子（scale）：−3.5")
        ax.set(title="各种格式的相对舍入误差，“放在一起”看", xlabel="每个权重的位数")
        ax.legend()
        figure.savefig(tmp_path / "figure.png")
        plt.close(figure)
    assert "glyph" not in caplog.text


def test_what_moves_and_asks_speaks_the_reader_s_language(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Question.asked("How many?", None, "GB")
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    assert "<strong>预测：</strong>" in asked.html() and "实际结果" in asked.with_answer(3).revealed()
    assert words.WORDS.keys() <= {key for key in words.WORDS if words.word(key) != words.WORDS[key]}
