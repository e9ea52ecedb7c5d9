"""No error goes lost without a word: it is raised again, told, or a comment beside it says why it does not matter."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("course_utils", "courseware", "benchmarks", "chapters", "tests")
SOURCES = [ROOT / "start.py"] + [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def silent(source: str) -> list[int]:
    """Lines of `except` and `suppress` where an error ends, with no word about it in the program or beside it."""
    comments = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    commented = {comment.start[0] for comment in comments}
    above = {comment.start[0] + 1 for comment in comments if comment.line.lstrip().startswith("#")}
    tree, found = ast.parse(source), []
    expected: set[ast.ExceptHandler] = set()  # errors that are asked for: `else` complains where none comes
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(isinstance(part, ast.Raise) for part in node.orelse):
            expected |= set(node.handlers)
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node not in expected and not _tells(node):
            beside = range(node.lineno, (node.body[-1].end_lineno or node.lineno) + 1)
        elif isinstance(node, ast.With) and any(map(_suppresses, node.items)):
            beside = range(node.lineno, node.body[0].lineno)
        else:
            continue
        if node.lineno not in above and not commented & set(beside):
            found.append(node.lineno)
    return sorted(found)


def _tells(handler: ast.ExceptHandler) -> bool:
    """Does it raise, use the error, or have a text to say?"""
    inside = [node for statement in handler.body for node in ast.walk(statement)]
    return any(
        isinstance(node, ast.Raise)
        or (isinstance(node, ast.Name) and node.id == handler.name)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value)
        for node in inside
    )


def _suppresses(item: ast.withitem) -> bool:
    called = item.context_expr.func if isinstance(item.context_expr, ast.Call) else None
    return getattr(called, "attr", getattr(called, "id", "")) == "suppress"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("except OSError:\n    pass", [3]),
        ("except OSError:\n    return ''", [3]),
        ("except OSError:  # it is gone\n    pass", []),
        ("except OSError:\n    pass  # it is gone", []),
        ("# it is gone\nexcept OSError:\n    pass", []),
        ("    more()  # of this\nexcept OSError:\n    pass", [4]),
        ("except OSError as error:\n    print(error)", []),
        ("except OSError as error:\n    pass", [3]),
        ("except OSError:\n    raise", []),
        ("except OSError:\n    why = 'memory'", []),
        ("except ValueError:\n    raise\nexcept OSError:\n    n = 0", [5]),
        ("except ValueError:\n    pass\nelse:\n    raise AssertionError('no error')", []),
        ("except ValueError:\n    pass\nelse:\n    more()", [3]),
    ],
)
def test_what_is_silent(body: str, found: list[int]) -> None:
    assert silent(f"try:\n    work()\n{body}\n") == found
    assert silent("with suppress(OSError):\n    work()\n") == [1]
    assert silent("with contextlib.suppress(OSError):  # it is gone\n    work()\n") == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_error_is_silent(path: Path) -> None:
    assert silent(path.read_text(encoding="utf-8")) == []
