"""What would fail on Windows, seen from here: text in the system's encoding, and calls that only Linux and macOS have."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "start.py"] + [
    path
    for folder in ("course_utils", "courseware", "chapters", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PROGRAM = Path(__file__).with_name("as_on_windows.py")
TEXT_MODE = re.compile(r"[rwax]t?\+?t?")


def without_encoding(source: str) -> list[int]:
    """Lines that read or write text without naming an encoding: the system's own is used, on a Chinese Windows cp936."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(call.lineno for call in calls if _opens_text(call) and not _names_encoding(call))


def _names_encoding(call: ast.Call) -> bool:
    return any(keyword.arg in ("encoding", None) for keyword in call.keywords)  # None: **options


def _opens_text(call: ast.Call) -> bool:
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first, second = (*map(_constant, call.args[:2]), None, None)[:2]
    mode = next((_constant(keyword.value) for keyword in call.keywords if keyword.arg == "mode"), None)
    if name == "read_text":
        return not call.args
    if name == "write_text":
        return len(call.args) < 2
    if name == "open" and not method:
        return bool(TEXT_MODE.fullmatch(str(mode or second or "r")))
    if name == "open":  # Path's: its first argument is a mode. tarfile's, zipfile's and os's first is something else
        return bool(TEXT_MODE.fullmatch(str(mode or first or "r"))) and (not call.args or isinstance(first, str))
    if name in ("NamedTemporaryFile", "TemporaryFile", "fdopen"):
        return bool(TEXT_MODE.fullmatch(str(mode or (second if name == "fdopen" else first) or "b")))
    as_text = {keyword.arg for keyword in call.keywords if _constant(keyword.value) is True}
    return bool(as_text & {"text", "universal_newlines"})  # subprocess


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("p.read_text()", True),
        ("p.read_text(encoding='utf-8')", False),
        ("p.read_text('utf-8')", False),
        ("p.write_text(s)", True),
        ("p.write_text(s, encoding='utf-8')", False),
        ("open(p)", True),
        ("open(p, 'w')", True),
        ("open(p, mode='a')", True),
        ("open(p, 'rb')", False),
        ("p.open()", True),
        ("p.open('w')", True),
        ("p.open('wb')", False),
        ("tarfile.open(p, 'w:gz')", False),
        ("archive.open(member)", False),
        ("os.fdopen(3, 'w+b')", False),
        ("os.fdopen(3, 'w')", True),
        ("tempfile.NamedTemporaryFile()", False),
        ("tempfile.NamedTemporaryFile('w', suffix='.csv')", True),
        ("subprocess.run(c, text=True)", True),
        ("subprocess.run(c, text=True, encoding='utf-8')", False),
        ("subprocess.run(c)", False),
    ],
)
def test_what_names_no_encoding(line: str, found: bool) -> None:
    assert bool(without_encoding(line)) == found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_text_is_utf_8_everywhere(path: Path) -> None:
    assert without_encoding(path.read_text(encoding="utf-8")) == []


@pytest.fixture(scope="module")
def as_on_windows() -> subprocess.CompletedProcess[str]:
    """The course imported without what only Linux and macOS have, asked to grade; it prints into a file in cp936."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "gbk", "PYTHONUTF8": "0"}
    command = [sys.executable, str(PROGRAM), "grade", "10_quantization", "submitted"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="gbk")


def test_every_module_is_imported(as_on_windows: subprocess.CompletedProcess[str]) -> None:
    imported = as_on_windows.stdout.splitlines()
    files = [
        file for folder in ("course_utils", "courseware", "courseware/grading") for file in (ROOT / folder).glob("*.py")
    ]
    written = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    assert {"start", *written} - set(imported) == set(), as_on_windows.stderr


def test_grading_says_where_it_runs(as_on_windows: subprocess.CompletedProcess[str]) -> None:
    assert as_on_windows.returncode == 1
    said = as_on_windows.stderr.splitlines()
    assert any(line.startswith("course: Grading does not run on Windows") for line in said), said
    assert any("WSL" in line for line in said) and any("Docker" in line for line in said)
    assert not any("Traceback" in line for line in said)


def test_a_lab_begins(as_on_windows: subprocess.CompletedProcess[str]) -> None:
    assert "CPU  " in as_on_windows.stdout and "10_quantization · Python" in as_on_windows.stdout
    assert "? absmax: all visible tests pass" in as_on_windows.stdout  # cp936 has no check mark


def test_the_blocker_blocks() -> None:
    """The stand-in itself: a module that needs what Windows has not does not get it."""
    program = (
        "import sys; sys.path.insert(0, 'tests/unit'); import as_on_windows as w; w.THEIRS = ''; w.become_windows()\n"
        "import os; exec(compile('import fcntl', 'x', 'exec'), {'__file__': str(w.ROOT / 'course_utils' / 'x.py')})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert "No module named 'fcntl' on Windows" in done.stderr
