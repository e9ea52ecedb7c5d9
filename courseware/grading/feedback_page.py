"""One student's feedback page, and the same notebook as nbgrader's formgrader may show it.

The page is one file without scripts: first a screen with the name, the score and a line for each exercise, then the notebook
as it ran. It runs on hostile input, so it is made in a worker (page_workers.py); one cell that cannot be shown is shown as
plain text, and `without_notebook` needs nothing of what a student wrote but short strings.
"""

from __future__ import annotations

import contextlib
import html
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .markdown import inert, picture, plain, rendered
from .messages import reason, say, together, translated

_STYLE = Path(__file__).parent.parent / "templates" / "feedback" / "page.css"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
_CELL_SECONDS = 3.0  # of the processor, to read the formatting of one cell
_PAGE_SECONDS = 12.0  # and of all cells of a page
_CELL_TEXT = 200_000  # characters of a cell that are shown
_ANSWER_TEXT = 10_000  # characters of an answer on a page without its notebook
_PROGRAM_TEXT = 60_000  # characters of code that are coloured
_PICTURES = 8_000_000  # bytes of pictures on one page, as base64
_LINES = 25  # of an output that are shown unfolded
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass
class Line:
    """What the page says of one exercise."""

    name: str
    title: str  # of its section in the lab
    earned: float
    most: float
    tests: dict[str, tuple[float, float]] = field(default_factory=dict)  # grade_id → earned and possible points
    messages: list[list[str]] = field(default_factory=list)  # [key of messages.py, text]
    comment: str = ""  # the teacher's


@dataclass
class About:
    """A feedback page's facts, plain data: it goes to a worker."""

    student: str
    name: str  # "" when nobody knows another than `student`
    title: str
    score: float | None  # None: there is no verdict yet
    most: float
    lines: list[Line]
    notes: list[str] = field(default_factory=list)
    file: str = ""
    late: bool = False
    lang: str = "en"
    key: str = ""  # of all that the page follows from; stands at its end
    notebook: str = ""  # as it ran, as JSON


@dataclass
class Lab:
    """What all pages of a class share."""

    cells: dict[str, str]  # the lab's own prose, by cell id
    hidden: list[str] = field(default_factory=list)  # ids of cells that only Colab needs
    address: str = ""  # the repository that students do not know of
    font: str = ""  # for formulas, WOFF2 in base64
    chinese: dict[str, str] = field(default_factory=dict)  # the lab's own cells: in English → in Chinese


def page(about: About, lab: Lab) -> str:
    """The whole page. Raises what a parser raises; takes what time it takes."""
    cells = json.loads(about.notebook)["cells"] if about.notebook else []
    shown = _Notebook(about, lab)
    parts = [shown.cell(cell) for cell in cells if cell.get("id") not in lab.hidden]
    body = f'<section class="notebook"><h2>{_say(about, "notebook")}</h2>{"".join(parts)}</section>' if parts else ""
    return _document(about, lab, body)


def without_notebook(about: About, lab: Lab, why: str) -> str:
    """The page of a student whose notebook cannot be shown: the reason, and the answers as plain text."""
    body = f'<div class="notes"><p>{_say(about, "no page", text=say(about.lang, why))}</p></div>'
    names = {line.name for line in about.lines}
    for cell in json.loads(about.notebook)["cells"] if about.notebook else []:
        name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
        if name in names:
            answer = plain(_clean(_joined(cell["source"])[:_ANSWER_TEXT]))
            body += f'<div class="cell code" id="exercise-{name}">{answer}</div>'
    return _document(about, lab, body)


def for_formgrader(notebook: str, lab: Lab, note: str, key: str) -> str:
    """The notebook as JSON, with a student's prose as HTML that is clean already, and nothing too long for a page."""
    raw, end = json.loads(notebook), _end()
    for cell in raw["cells"]:
        source = _joined(cell.get("source"))
        if cell["cell_type"] == "markdown" and lab.cells.get(cell.get("id")) != source:
            clean, _ = _prose(source, _attached(cell, [0]), end)
            cell["source"] = inert(clean)
            cell.pop("attachments", None)
        elif len(source) > _CELL_TEXT:
            cell["source"] = f"{source[:_CELL_TEXT]}\n…"
    return _noted(raw, note, key)


def formgrader_without(notebook: str, note: str, key: str) -> str:
    """The same without any prose of the student's: for a notebook whose prose cannot be read."""
    raw = json.loads(notebook)
    for cell in raw["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = inert(plain(_joined(cell.get("source"))[:2_000]))
            cell.pop("attachments", None)
        cell["source"] = _joined(cell.get("source"))[:_CELL_TEXT]
    return _noted(raw, note, key)


def _noted(raw: dict[str, Any], note: str, key: str) -> str:
    if note:
        text = inert(f"<p><b>About this submission:</b> {html.escape(note)}</p>")
        raw["cells"].insert(0, {"cell_type": "markdown", "id": "grading-note", "metadata": {}, "source": text})
    raw.setdefault("metadata", {}).setdefault("course", {})["shown"] = key
    return json.dumps(raw, ensure_ascii=False).encode("utf-8", "replace").decode()


def _document(about: About, lab: Lab, body: str) -> str:
    name = about.name or about.student
    style = _style()
    if lab.font:
        style += f'@font-face {{ font-family: "Formulas"; src: url(data:font/woff2;base64,{lab.font}) format("woff2"); }}'
    notes = "".join(f"<p>{_text(_capital(reason(about.lang, note)))}</p>" for note in about.notes)
    facts = [
        _say(about, "file", file=_shorter(about.file)) if about.file else "",
        _say(about, "late") if about.late else "",
    ]
    same = about.name in ("", about.student)
    score = _say(about, "no verdict") if about.score is None else f"{_number(about.score)} / {_number(about.most)}"
    full = 100 * (about.score or 0) / about.most if about.most else 0
    lines = "".join(_line(about, line) for line in about.lines) if about.score is not None else ""
    head = f"""\
<h1>{_text(about.title)}</h1>
<p class="who"><strong>{_text(name)}</strong>{"" if same else f" <small>{_text(about.student)}</small>"}</p>
<div class="score"><b>{score}</b><div class="bar"><i style="width:{max(0.0, min(full, 100.0)):.0f}%"></i></div></div>
{f'<div class="notes">{notes}</div>' if notes else ""}
<ol class="lines">{lines}</ol>
<p class="about">{" · ".join(filter(None, facts))}</p>
"""
    lang = {"en": "en", "zh": "zh-Hans"}[about.lang]
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(about.title)} · {_text(name)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<header>{head}</header>\n<main>{body}</main>\n</body>\n</html>\n<!-- {about.key} -->\n"
    )


def _line(about: About, line: Line) -> str:
    state = "good" if line.earned >= line.most else "part" if line.earned > 0 else "none"
    mark = {"good": "✓", "part": "◐", "none": "✗"}[state]
    by_tests = sum(earned for earned, _ in line.tests.values())
    news = [entry for entry in line.messages if entry[0] != "note" or entry[1] not in about.notes]  # what stands above, once
    sentences = [] if state == "good" else [_capital(translated(about.lang, *entry)) for entry in together(news)]
    if state != "good" and not line.messages and by_tests != line.earned:
        sentences = [say(about.lang, "by hand")]
    items = "".join(f"<li>{_text(_shorter(text, 600))}</li>" for text in sentences)
    if line.comment:
        items += f'<li class="teacher">{_text(say(about.lang, "teacher", text=line.comment))}</li>'
    title = f' <span class="title">{_text(line.title)}</span>' if line.title else ""
    return (
        f'<li class="{state}"><span class="mark">{mark}</span>'
        f'<span><a href="#exercise-{line.name}"><code>{_text(line.name)}</code></a>{title}</span>'
        f'<span class="points">{_number(line.earned)} / {_number(line.most)}</span>'
        f"{f'<ul class=messages>{items}</ul>' if items else ''}</li>"
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


class _Notebook:
    """The cells of one page; counts what its pictures weigh."""

    def __init__(self, about: About, lab: Lab) -> None:
        self.about, self.lab = about, lab
        self.weight = [0]
        self.end = _end()
        self.points = {name: both for line in about.lines for name, both in line.tests.items()}
        self.names = {line.name for line in about.lines}

    def cell(self, cell: dict[str, Any]) -> str:
        source = _joined(cell.get("source"))
        name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
        place = f' id="exercise-{name}"' if name in self.names else ""
        if cell.get("cell_type") != "code":
            if self.lab.cells.get(cell.get("id", "")) == source:
                told = self._told(source)
                public = told.replace(self.lab.address, "…") if self.lab.address else told
                return f'<div class="cell prose">{_lab_prose(public)}</div>'
            made, why = _prose(source, _attached(cell, self.weight), self.end)
            return f'<div class="cell prose">{made}{self._plainly(why)}</div>'
        badge = self._badge(name) if name in self.points else ""
        outputs = "".join(self._output(output) for output in cell.get("outputs", []) if isinstance(output, dict))
        if not source.strip() and not outputs and not badge:
            return ""
        return f'<div class="cell code"{place}>{_program(self._told(source))}{badge}{outputs}</div>'

    def _told(self, source: str) -> str:
        """A cell of the lab in the language of the page; a student's own as it is."""
        return self.lab.chinese.get(source, source) if self.about.lang == "zh" else source

    def _plainly(self, why: str) -> str:
        return f'<p class="about">{_say(self.about, "plain cell", text=say(self.about.lang, why))}</p>' if why else ""

    def _badge(self, name: str) -> str:
        earned, most = self.points[name]
        state, mark = ("good", "✓") if earned >= most else ("part", "◐") if earned > 0 else ("none", "✗")
        exercise, _, kind = name.rpartition("-")
        tests = _say(self.about, "visible tests" if kind == "tests" else "hidden tests")
        return (
            f'<p class="badge {state}"><span class="mark">{mark}</span> <code>{_text(exercise)}</code> · {tests} · '
            f'<span class="points">{_number(earned)} / {_number(most)}</span></p>'
        )

    def _output(self, output: dict[str, Any]) -> str:
        kind = output.get("output_type")
        if kind == "stream":
            return self._printed(_joined(output.get("text")), "stderr" if output.get("name") == "stderr" else "")
        if kind == "error":
            trace = "\n".join(map(str, output.get("traceback") or [])) or f"{output.get('ename')}: {output.get('evalue')}"
            return self._printed(trace, "error")
        data = output.get("data") or {}
        for mime in ("image/png", "image/jpeg"):
            data_url = picture(mime, data.get(mime))
            if data_url and _room(self.weight, data_url):
                alt = _shorter(_joined(data.get("text/plain")), 300)
                return f'<div class="out"><img src="{data_url}" alt="{_text(alt)}"></div>'
        return self._printed(_joined(data.get("text/plain")), "")

    def _printed(self, text: str, kind: str) -> str:
        if not text.strip():
            return ""
        text = _ANSI.sub("", text)
        if len(text) > _CELL_TEXT:
            text = f"{text[:_CELL_TEXT]}\n{say(self.about.lang, 'stopped')}"
        lines = text.count("\n") + 1
        made = f"<pre>{_text(text)}</pre>"
        if lines > _LINES and kind != "error":
            made = f"<details><summary>{_say(self.about, 'output', lines=lines)}</summary>{made}</details>"
        return f'<div class="out {kind}">{made}</div>'


def _end() -> float:
    """When the processor's time for a page is used up."""
    return time.process_time() + _PAGE_SECONDS


def _prose(source: str, pictures: dict[str, str], end: float) -> tuple[str, str]:
    """A student's Markdown as HTML; as plain text, with the key of the reason, if it takes too long or cannot be read."""
    source = _clean(source)
    try:
        left = min(_CELL_SECONDS, end - time.process_time())
        if len(source) > _CELL_TEXT or left <= 0:
            raise TimeoutError
        with _alarm(left):
            return rendered(source, pictures), ""
    except TimeoutError:
        why = "took too long"
    except MemoryError:
        why = "memory"
    except Exception:  # whatever the parsers make of hostile text
        why = "form"
    return plain(source if len(source) <= _CELL_TEXT else f"{source[:_CELL_TEXT]}\n…"), why


@lru_cache(maxsize=500)
def _lab_prose(source: str) -> str:
    return rendered(source)


@lru_cache(maxsize=500)
def _program(source: str) -> str:
    """Python with colours; as plain text if it is too long or strange for them."""
    shown = source if len(source) <= _CELL_TEXT else f"{source[:_CELL_TEXT]}\n…"
    if len(shown) <= _PROGRAM_TEXT:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        # whatever the lexer makes of hostile text, or takes too long over: it is shown without colours, below
        with contextlib.suppress(Exception), _alarm(_CELL_SECONDS):
            return f"<pre>{_clean(highlight(shown, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)))}</pre>"
    return f"<pre>{_text(shown)}</pre>"


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """TimeoutError after some time of the processor's, where Python can do that: in the main thread, as in a worker."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _attached(cell: dict[str, Any], weight: list[int]) -> dict[str, str]:
    """The pictures that were pasted into a cell, those that are pictures, as data URIs."""
    data_urls = {}
    for name, kinds in (cell.get("attachments") or {}).items():
        for mime, data in kinds.items() if isinstance(kinds, dict) else ():
            made = picture(mime, data)
            if made and _room(weight, made):
                data_urls[name] = made
    return data_urls


def _room(weight: list[int], made: str) -> bool:
    weight[0] += len(made)
    return weight[0] <= _PICTURES


def _joined(value: Any) -> str:
    return "".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else str(value or "")


def _clean(text: str) -> str:
    return _UNSHOWABLE.sub("�", text)


def _text(text: str) -> str:
    return html.escape(_clean(text))


def _say(about: About, key: str, **values: object) -> str:
    return _text(say(about.lang, key, **values))


def _shorter(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


@lru_cache
def _style() -> str:
    return _STYLE.read_text(encoding="utf-8")
