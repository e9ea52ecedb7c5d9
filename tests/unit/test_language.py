"""The helper package's messages in the reader's language, and the Chinese font of figures."""

from __future__ import annotations

import ast
import html
import json
import logging
import re
import string
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import ipywidgets as ipw
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import font_manager

from course_utils import data, folders, hardware, lab, language, plots, proxies, tables, words
from course_utils.controls import controls
from course_utils.errors import CourseError
from course_utils.language import t
from course_utils.questions import Question
from courseware.chapters import FOLDERS, ROOT, built, html_of
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


_SENTENCE = re.compile(r"[A-Za-z]{2,}[,:;]? [a-z]{2,}")
_IN_ENGLISH = {
    "__init__.py": {
        "module 'course_utils' has no attribute ": "of an AttributeError, for programs that ask whether a name is there",
        "; it has ": "the same",
        "`is_gradient_checkpointing` is deprecated": "a warning of transformers that is looked for",
    },
    "arguments.py": {"generate(model, tokenizer, prompt, max_new_tokens=…)": "code to type"},
    "lab.py": {": write this function": "what stands in place of a solution, looked for"},
    "plots.py": {"Noto Sans CJK SC part": "the name of a font"},
    "programs.py": {"no source of ": "caught in the same file"},
    "questions.py": {"your answer": "a key of WORDS"},
    "registry.py": {
        "Unsupported global": "what torch says, looked for",
        '")\n  model, tokenizer = load_model(folder)': "code to type",
    },
    "words.py": {"your answer": "a key of WORDS"},
}
_OF_AUTHORS = {"controls.py", "questions.py"}  # what they refuse an author writes into a chapter, and no student changes


def _helper() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "course_utils").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _sentences(tree: ast.Module, errors_too: bool) -> Iterator[str]:
    """Constants that read as a sentence and are no docstring, translated, a pattern or HTML."""
    known: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            known.add(node.value)
        if isinstance(node, ast.Call) and (
            ast.unparse(node.func) in ("t", "N_") or ast.unparse(node.func).startswith("re.")
        ):
            known.update(part for argument in node.args[:1] for part in ast.walk(argument))
        if isinstance(node, ast.Raise) and not errors_too:
            known.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in known:
            code = re.match(r"[^\w\s]*<|\w+-\w+ \w+-\w+$|row wrap$", node.value)
            if _SENTENCE.search(node.value) and not code:
                yield node.value


def test_every_sentence_of_the_helper_is_translated() -> None:
    found = {
        (path.name, text) for path, tree in _helper() for text in _sentences(tree, errors_too=path.name not in _OF_AUTHORS)
    }
    allowed = {(name, text) for name, texts in _IN_ENGLISH.items() for text in texts}
    assert found - allowed == set(), "put it into `t(…)`, or say here why it stays in English"
    assert allowed - found == set()


def test_every_message_gets_the_values_it_has_places_for() -> None:
    wrong = []
    for path, tree in _helper():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "t" or not isinstance(call.args[0], ast.Constant):
                continue
            given = {keyword.arg for keyword in call.keywords}
            fields = {name for _, name, _, _ in string.Formatter().parse(str(call.args[0].value)) if name is not None}
            if None not in given and given != fields:
                wrong.append(f"{path.name}:{call.lineno}: {call.args[0].value}")
    assert wrong == []


def test_errors_speak_chinese(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    with pytest.raises(CourseError, match=r"^任务中没有 'strategy'。你要的是不是 'strategyqa'？已有的是："):
        data.bigbench("strategy")
    with pytest.raises(CourseError, match=r"是空的，没有 config\.json：没有模型保存、复制或解压到这里。$"):
        folders.check(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")
    assert "代理 http://…@127.0.0.1:9（HTTPS_PROXY）无法连接：那里没有程序在监听。" in str(
        proxies.explain("connection refused", "https://pypi.org")
    )
    small = hardware.Hardware(cpu="a CPU", cores=2, ram_free=10**8)
    with pytest.raises(hardware.InsufficientHardwareError) as caught:
        hardware.check(hardware.plan("course", "fp32"), "cpu", small)
    assert "放不下：需要" in str(caught.value) and "解决办法：" in str(caught.value) and "Ways out" not in str(caught.value)
    assert "空闲内存 0.1 GB" in str(small)


def test_a_summary_is_found_in_every_language() -> None:
    pattern = "|".join(language.in_any_language(message, r"\d+") for message in lab.SUMMARY)
    for said in ("1 of 2 exercises pass their visible tests.", "2 个练习中有 1 个通过公开测试。"):
        assert re.search(pattern, said)


def test_importing_reads_no_catalogue() -> None:
    code = "import course_utils.language as l; print(l._catalogue.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "0"


@pytest.mark.parametrize("name", FOLDERS)
def test_what_ships_is_what_the_catalogue_says(name: str) -> None:
    for catalogue, (path, text) in progress.compiled(name).items():
        assert path.read_text(encoding="utf-8") == text, f"`course translate {name} {catalogue}` writes it"
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


def test_a_table_is_shown_in_chinese_and_keeps_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = tables.load("language_models").set_index("name")[["architecture", "active_billion", "source"]].head(3)
    english, keys = frame._repr_html_(), list(frame)
    assert tables.in_language(english, "en") == english
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    shell = InteractiveShell()
    tables.speak(shell)
    for shown in (frame, frame.style.format({"active_billion": "{:.1f}"})):
        made = shell.display_formatter.format(shown)[0]["text/html"]
        assert all(
            word in made
            for word in (">架构<", ">激活参数（十亿）<", ">依据<", ">名称<", ">ELMo<", ">双向 LSTM<", ">编码器<")
        )
        assert ">architecture<" not in made and "arXiv" in made  # a citation is the same in every language
    assert list(frame) == keys


def test_a_word_that_may_be_data_stays() -> None:
    tokens = pd.DataFrame({"name": ["people", "god", "none"], "kind": ["people", "none", "GPT-3"]})
    made = tables.in_language(tokens._repr_html_(), "zh_CN")
    assert made.count(">people<") == 1 and made.count(">人<") == 1 and ">god<" in made and ">类型<" in made
    assert (
        tables.in_language("<p>name</p><table><td>name</td></table>", "zh_CN") == "<p>name</p><table><td>name</td></table>"
    )
    assert tables.in_language(made, "zh_CN") == made


def test_each_word_of_the_list_stands_in_a_table() -> None:
    """A heading in a cell of a lecture's, a label in the name of a row or a column, of a lecture's or a lab's."""
    listed = tomllib.loads((ROOT / "docs" / "tables.toml").read_text(encoding="utf-8"))
    lectures = _cells_of_tables(sorted((ROOT / "lectures").glob("*.ipynb")))
    labs = _cells_of_tables(sorted((ROOT / "chapters").glob("*/solution.ipynb")))
    assert set(listed["headings"]) - {text for _, text in lectures} == set()
    assert set(listed["labels"]) - {text for kind, text in lectures | labs if kind == "th"} == set()


def _cells_of_tables(paths: list[Path]) -> set[tuple[str, str]]:
    cells = [cell for path in paths for page in _pages(path) for cell in re.findall("<(t[hd])[^>]*>([^<]*)", page)]
    return {(kind, html.unescape(text).strip()) for kind, text in cells}


def _pages(path: Path) -> list[str]:
    return [html_of(output) for cell in built(path).cells for output in cell.get("outputs", [])]


def test_a_label_is_translated_where_it_names_a_row_or_a_column_only() -> None:
    rows = ["two, by rule", "known, never right"]
    frame = pd.DataFrame({"prompt": ["instruction", "as above"], "wrong": [1, 2]}, index=rows)
    made = tables.in_language(frame._repr_html_(), "zh_CN")
    assert all(f">{word}<" in made for word in ("提示", "两次，按规则", "已知，从不对", "instruction", "as above"))


def test_menus_are_in_the_reader_s_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each listed choice stands in a menu; a Chinese lecture shows it in Chinese, and sends the picture the same value."""
    listed = tomllib.loads((ROOT / "docs" / "tables.toml").read_text(encoding="utf-8"))["choices"]
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    menus: set[str] = set()
    for path in [*sorted((ROOT / "lectures").glob("*.ipynb")), *sorted((ROOT / "chapters").glob("*/solution.ipynb"))]:
        english = _menu_values(path)
        menus |= set(english)
        chinese = ROOT / "lectures" / "zh" / path.name
        if chinese.exists():
            assert _menu_values(chinese) == [tables.choice(value) for value in english], path.name
    assert [choice for choice in listed if choice not in menus or tables.choice(choice) == choice] == []
    menu = controls({"scheme": ["zero point", "BM25"]}, {})[0]
    assert [menu.shown(value) for value in menu.values] == ["零点", "BM25"] and menu.widget().value == "zero point"
    assert controls({"question": ipw.Text()}, {})[0].label == "问题"


def _menu_values(path: Path) -> list[str]:
    return [html.unescape(value) for page in _pages(path) for value in re.findall("<option[^>]*>([^<]*)", page)]


def test_what_moves_and_asks_speaks_the_reader_s_language(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Question.asked("How many?", None, "GB")
    monkeypatch.setenv("COURSE_LANG", "zh_CN")
    assert "<strong>预测：</strong>" in asked.html() and "实际结果" in asked.with_answer(3).revealed()
    assert words.WORDS.keys() <= {key for key in words.WORDS if words.word(key) != words.WORDS[key]}
