"""Feedback pages: what a student reads, what a stranger's notebook cannot do to them, and what it cannot do to the class."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import time
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dying
import nbformat
import pytest
from nbconvert.filters import markdown2html
from PIL import Image
from tiny_class import RIGHT, TINY, WRONG, handed_in

from courseware import build
from courseware.grading import feedback, feedback_page, markdown, page_workers, restore, session, verdict

LAB = nbformat.reads(nbformat.writes(build.student_lab(TINY)), as_version=4)
SHARED = feedback_page.Lab(
    {c.id: c.source for c in LAB.cells if c.cell_type == "markdown"}, ["colab-setup"], "https://example.org/ours"
)


def png(width: int = 2, height: int = 2) -> str:
    """A picture of four pixels that says it has `width` × `height`."""
    made = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(made, "PNG")
    data = bytearray(made.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return base64.b64encode(data).decode()


def about(notebook: dict[str, Any] | nbformat.NotebookNode | None = None, **changes: Any) -> feedback_page.About:
    lines = [
        feedback_page.Line(
            "double", "A lab", 1, 3, {"double-tests": (1, 1), "double-hidden": (0, 2)}, [["hidden", " (KeyError)"]]
        ),
        feedback_page.Line("total", "The second one", 3, 3, {"total-tests": (1, 1), "total-hidden": (2, 2)}),
    ]
    text = json.dumps(notebook) if notebook else nbformat.writes(LAB)
    facts = {"student": "s1", "name": "Ann Lee", "title": "A lab", "score": 4, "most": 6, "lines": lines, "key": "KEY"}
    return feedback_page.About(**{**facts, "notebook": text, **changes})


def with_own(source: str, attachments: Any = None) -> nbformat.NotebookNode:
    """The lab as a student hands it in, with an own Markdown cell, restored."""
    made = handed_in(RIGHT)
    made["cells"].append({"cell_type": "markdown", "id": "mine", "metadata": {}, "source": source})
    if attachments is not None:
        made["cells"][-1]["attachments"] = attachments
    return restore.restore(restore.read(json.dumps(made).encode()), LAB).notebook


HOSTILE = [
    "[x](javascript:alert(1))",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '<a href="java&#115;cript:alert(1)">x</a>',
    '<a href="\tjavascript:alert(1)">x</a>',
    "[x](vbscript:1) [x](data:text/html,<script>1</script>) [x](file:///etc/passwd)",
    "[x](/api/terminals) [x](//evil.example) [x](../x)",
    "<script>alert(1)</script>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<style>body{display:none}</style><link rel=stylesheet href=http://evil.example/x.css>",
    "<form action=http://evil.example><input name=a><button>go</button></form>",
    "<img src=x onerror=alert(1)> <b onclick=alert(1) style='position:fixed'>x</b>",
    "<iframe src=http://evil.example></iframe><object data=x></object><embed src=x><base href=http://evil.example>",
    "<svg onload=alert(1)><a href='javascript:1'>x</a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    r"$\text{<img src=x onerror=alert(1)>}$ $\href{javascript:alert(1)}{x}$ $\style{position:fixed}{x}$ $\class{a}{x}$",
    '![x$y$" onerror="alert(1)](http://evil.example/x.png)',
    '[x](https://a.example/$\\text{"onmouseover="alert(1)}$)',
    "![x](data:image/svg+xml;base64,PHN2Zy8+)",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<textarea><img src=x onerror=alert(1)></textarea><title><img src=x onerror=1></title>",
    "`<img src=x onerror=1>` and\n\n    <script>1</script>\n",
]


def live(page: str) -> list[str]:
    """What a browser would find in a page that should not be there."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            known = tag in markdown._TAGS or tag in ("section", "main") or tag.startswith("m")
            if not known or tag in ("meta", "mglyph"):
                found.append(tag)
            for name, value in attrs:
                value = value or ""
                safe = value.startswith(("http://", "https://", "mailto:", "#", "data:image/png;base64,"))
                if name.startswith("on") or name in ("style", "id", "name", "action", "formaction", "srcdoc"):
                    found.append(f"{tag} {name}")
                if name in ("href", "src") and not safe:
                    found.append(f"{tag} {name}={value}")
                if name == "src" and not value.startswith("data:"):
                    found.append(f"{tag} {name}={value}")

    Reader().feed(page)
    return found


@pytest.mark.parametrize("source", HOSTILE)
def test_nothing_of_a_stranger_is_live(source: str) -> None:
    clean = markdown.rendered(source, {})
    assert live(clean) == []
    assert live(markdown2html(markdown.inert(clean)).replace(' class="tex2jax_ignore mathjax_ignore"', "")) == []


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            "**b** [x](https://a.example) [m](mailto:a@b.c) [h](#x)",
            ["<strong>b</strong>", '"https://a.example"', 'href="#x"'],
        ),
        ("|a|b|\n|-|-|\n|1|2|", ["<table>", "<td>1</td>"]),
        ("$x_i$ and $$\\frac{1}{2}$$", ["<msub>", "<mfrac>", 'display="block"']),
        ("`$x$`\n\n```\n$y$ <b>\n```", ["<code>$x$</code>", "$y$ &lt;b&gt;"]),
        ("~~~\n$z$\n~~~", ["$z$"]),
        ("costs 5$ or 6$", ["costs 5$ or 6$"]),
        ("$\\nonsense{$", ["$\\nonsense{$"]),
        ("x<br>y <sub>1</sub> <details><summary>s</summary>t</details>", ["<br>", "<sub>1</sub>", "<summary>s</summary>"]),
    ],
)
def test_honest_markdown_is_rendered(source: str, shown: list[str]) -> None:
    clean = markdown.rendered(source)
    assert [text for text in shown if text not in clean] == []
    # formgrader reads Markdown into it once more, and may not change it
    assert markdown2html(markdown.inert(clean)).strip() == markdown.inert(clean)


def test_pasted_pictures_are_kept() -> None:
    notebook = with_own("![p](attachment:image.png) ![gone](attachment:x.png)", {"image.png": {"image/png": png()}})
    made = page_workers.made(about(notebook), SHARED, "")
    assert made.page.count("<img ") == 1 and "data:image/png;base64," in made.page and "[gone]" in made.page
    graded = nbformat.reads(made.notebook, as_version=4)
    nbformat.validate(graded)
    assert "data:image/png" in graded.cells[-1].source and "attachments" not in graded.cells[-1]
    assert "attachment:" not in made.page + graded.cells[-1].source


@pytest.mark.parametrize(
    "attachments",
    [
        {"image.png": {"image/png": "no picture"}},
        {"image.png": {"image/svg+xml": "<svg/>"}},
        {"image.png": {"image/png": png(30_000, 30_000)}},
        {"image.png": {"image/png": 5}, "b.png": [], "c.png": {"image/png": ["x", None]}},
        {"image.png": "x"},
        [],
        "x",
    ],
)
def test_what_is_no_picture_is_left_out(attachments: Any) -> None:
    made = page_workers.made(about(with_own("![p](attachment:image.png)", attachments)), SHARED, "")
    assert made.why == "" and "<img " not in made.page and "[p]" in made.page


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"image/png": png()}, ["image/png"]),
        ({"image/png": png() + "\n", "text/plain": "<Figure>"}, ["image/png", "text/plain"]),
        ({"image/png": png(30_000, 30_000), "text/plain": "<Figure>"}, ["text/plain"]),
        ({"image/png": "no picture"}, []),
        ({"image/png": [png()], "image/svg+xml": "<svg/>", "text/html": "<p>"}, []),
    ],
)
def test_pictures_that_a_cell_shows(data: Any, kept: list[str]) -> None:
    outputs: list[nbformat.NotebookNode] = []
    session.add_output(outputs, "display_data", {"data": data})
    assert sorted(mime for output in outputs for mime in output.data) == kept


def test_surrogates_and_control_characters_are_no_text() -> None:
    notebook = json.loads(nbformat.writes(with_own("a\x00b\x1b[31m")))
    notebook["cells"][-1]["source"] = "half \ud800 a character"
    notebook["cells"][4]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x\ud83d\x08y"}]
    made = page_workers.made(about(notebook), SHARED, "note \udcff")
    made.page.encode(), made.notebook.encode()
    assert "\x00" not in made.page and "\x08" not in made.page


def test_one_strange_cell_costs_its_own_formatting() -> None:
    started = time.process_time()
    notebook = with_own("<b>" * 60_000)
    notebook.cells.append(nbformat.v4.new_markdown_cell("**good**", id="own-9"))
    made = page_workers.made(about(notebook), SHARED, "")
    assert made.why == "" and "<strong>good</strong>" in made.page
    assert "shown as plain text: it took too long" in made.page and "&lt;b&gt;&lt;b&gt;" in made.page
    assert time.process_time() - started < 20
    assert len(made.page) < 3_000_000 and len(made.notebook) < 3_000_000


def test_many_strange_cells_cost_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_page, "_CELL_SECONDS", 0.3)
    monkeypatch.setattr(feedback_page, "_PAGE_SECONDS", 1.0)
    notebook = with_own("x")
    notebook.cells += [nbformat.v4.new_markdown_cell("<b>" * 30_000 + str(n), id=f"own-{n + 5}") for n in range(40)]
    started = time.process_time()
    assert page_workers.made(about(notebook), SHARED, "").why == ""
    assert time.process_time() - started < 8


@pytest.mark.parametrize("source", ["\\begin{a}" * 60_000, "word " * 4_000_000, ">" * 100_000, "$" * 100_001, "[" * 200_000])
def test_long_and_nested_markdown(source: str) -> None:
    made = page_workers.made(about(with_own(source)), SHARED, "")
    assert made.why == "" and len(made.page) < 5_000_000 and len(made.notebook) < 5_000_000


def test_whatever_goes_wrong_leaves_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(feedback_page._Notebook, "cell", broken)
    made = page_workers.made(about(with_own("<script>alert(1)</script>")), SHARED, "note")
    assert made.why == "form" and "Your grade does not depend on it" in made.page and "4 / 6" in made.page
    assert "return 2 * x" in made.page and "<script" not in made.page
    nbformat.validate(nbformat.reads(made.notebook, as_version=4))


class Written(list[page_workers.Printed]):
    def press(self, *jobs: feedback_page.About) -> Written:
        press = page_workers.Press(lambda: SHARED, 2)
        try:
            for job in jobs:
                press.add(job, "", self.append)
            press.wait()
        finally:
            press.close()
        return self


def test_pages_are_made_in_processes_that_may_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_workers, "_serve", dying.dies)
    made = Written().press(about(key="first"), about(key="second"))
    assert [printed.why for printed in made] == ["memory"] * 2  # and not "took too long", which is said after the limit
    assert all("it needed too much memory" in printed.page for printed in made)


def test_a_process_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_workers, "_serve", dying.sleeps)
    monkeypatch.setattr(page_workers, "SECONDS", 3.0)
    (made,) = Written().press(about())
    assert made.why == "took too long"


def test_pages_of_a_class_are_made_side_by_side() -> None:
    made = Written().press(*[about(name=f"student {n}") for n in range(20)])
    assert all(any(f"student {n}<" in printed.page for printed in made) for n in range(20))


def test_an_error_while_writing_is_not_lost() -> None:
    def full(_: page_workers.Printed) -> None:
        raise OSError(28, "No space left on device")

    press = page_workers.Press(lambda: SHARED, 1)
    press.add(about(), "", full)
    with pytest.raises(OSError, match="No space"):
        press.wait()
    press.close()


def test_the_first_screen() -> None:
    said = [
        ["note", "its cell was split; the parts were joined"],
        ["hidden", " (KeyError)"],
        ["because", "an empty <list>"],
    ]
    tests = {"double-tests": (1.0, 1.0), "double-hidden": (0.5, 2.0)}
    first = feedback_page.Line("double", "One", 1.5, 3, tests, said, "Name your <b>variables</b>.")
    made = feedback_page.page(
        about(lines=[first, about().lines[1]], late=True, notes=["graded WITHOUT a box (--unsafe)"]), SHARED
    )
    head = made.partition("<main>")[0]
    for text in (
        "Ann Lee", "s1", "4 / 6", "double", "1.5 / 3", "Its cell was split; the parts were joined",
        "Hidden tests: not passed (KeyError)", "It fails for: an empty &lt;list&gt;",
        "Name your &lt;b&gt;variables&lt;/b&gt;.", "handed in late", "Graded WITHOUT a box", 'href="#exercise-double"',
    ):  # fmt: skip
        assert text in head, text
    assert 'id="exercise-double"' in made and "example.org/ours" not in made and "google.colab" not in made
    below = made.partition("<main>")[2].replace(' id="exercise', ' data-x="exercise')
    assert "default-src 'none'" in made and live(below) == []


def test_what_is_said_of_the_whole_is_said_once() -> None:
    why = "the file is empty"
    lines = [feedback_page.Line(name, "", 0, 3, {f"{name}-tests": (0, 3)}, [["note", why]]) for name in ("double", "total")]
    head = feedback_page.page(about(lines=lines, notes=[why]), SHARED).partition("<main>")[0]
    assert head.count("The file is empty") == 1 and "given by your teacher" not in head


def test_no_verdict_is_no_zero() -> None:
    head = feedback_page.page(about(score=None, notes=["could not be graded, please look at it: x"]), SHARED).partition(
        "<main>"
    )[0]
    assert "<b>no grade yet</b>" in head and "0 / 6" not in head and "exercise-double" not in head


def test_the_first_screen_in_chinese() -> None:
    said = [["note", "not answered"], ["hidden", ""], ["because", "an empty list"]]
    first = feedback_page.Line("double", "One", 0, 3, {"double-tests": (0, 1), "double-hidden": (0, 2)}, said)
    made = feedback_page.page(about(lines=[first], lang="zh", notes=["the kernel died; printed more than 2 MB"]), SHARED)
    for text in ("未作答", "隐藏测试：未通过", "未通过的情况：an empty list", "内核崩溃", "输出超过 2 MB", "zh-Hans"):
        assert text in made, text


def test_the_lab_s_address_is_not_on_the_page() -> None:
    shared = feedback_page.Lab({"a": "See [the code](https://example.org/ours/tree)"}, [], "https://example.org/ours")
    cell = {"id": "a", "cell_type": "markdown", "source": "See [the code](https://example.org/ours/tree)", "metadata": {}}
    assert "example.org" not in feedback_page.page(about({"cells": [cell]}), shared)


@pytest.mark.parametrize(
    "reason",
    [
        "not answered",
        "<meta http-equiv=refresh content='0;url=http://evil.example'>",
        "![x](attachment:y.png)",
        "[x](javascript:alert(1))",
        "```\n<b>\n````\n<script>1</script>",
        "$$<b>$$ \\begin{a}<b>\\end{a}",
        "&lt;script&gt; <javascript:1>",
        "~~~\n<b>",
    ],
)
def test_a_reason_in_nbgrader_s_own_pages(reason: str) -> None:
    made = markdown2html(feedback.quoted(reason))
    tags = set(re.findall(r"<(\w+)", made)) - {"p", "pre", "code", "div", "span"}
    assert not tags and "href" not in made and "attachment:y.png" not in made.replace("![x](attachment:y.png)", "")


def test_a_file_made_for_a_key(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    assert not feedback.ends_with(path, "KEY")
    path.write_text("x" * 10_000 + page_workers.made(about(), SHARED, "").page, encoding="utf-8")
    assert feedback.ends_with(path, "KEY") and not feedback.ends_with(path, "OTHER")
    path.write_text(page_workers.made(about(), SHARED, "a note").notebook, encoding="utf-8")
    assert feedback.ends_with(path, "KEY")


def test_wrong_answers_stay_as_they_were_written() -> None:
    answered = restore.restore(restore.read(json.dumps(handed_in({"double": WRONG})).encode()), LAB)
    notebook = json.loads(nbformat.writes(answered.notebook))
    made = nbformat.reads(page_workers.made(about(notebook), SHARED, "").notebook, as_version=4)
    assert WRONG in [cell.source for cell in made.cells]


def test_a_chinese_page_shows_the_lab_in_chinese() -> None:
    """Its prose, headings, comments and tests; a student's answer and own cells stay as they are."""
    chinese = verdict._in_language(TINY, "zh_CN")
    pages = feedback.Pages(verdict.Lab("90_tiny", "", nbformat.writes(LAB), chinese=chinese), Path("/nowhere"))
    assert pages.headings["zh"][0] == "小到不能再小的实验" and pages.headings["zh"][1]["total"] == "第二个练习"
    assert pages.title == "A lab as small as a lab can be"
    notebook = with_own("A thought of mine")
    for lang, shown in (("en", "A lab as small as a lab can be"), ("zh", "小到不能再小的实验")):
        made = feedback_page.page(about(notebook, lang=lang), pages.shared())
        prose = made.partition('<section class="notebook">')[2]
        assert shown in prose and "A thought of mine" in prose
        assert ("1 和 2 的两倍" in prose) is (lang == "zh")
