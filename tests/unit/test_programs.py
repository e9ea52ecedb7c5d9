"""A program made of a notebook's functions runs where the notebook is not."""

from __future__ import annotations

import linecache
import subprocess
import sys
import textwrap
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from course_utils import programs

HEAD = '"""Says something."""\n\nimport json\n\nLIMIT = 3\n'
TAIL = 'if __name__ == "__main__":\n    print(json.dumps(answer(sys.argv[1])))\n'
_cells = count()


def notebook(source: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a notebook holds after a cell with this source; its cells are found as IPython's are."""
    names = names if names is not None else {"__name__": "__main__"}
    cell = f"<cell {next(_cells)}>"
    linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
    exec(compile(source, cell, "exec"), names)
    return names


def answer_of(source: str, text: str, folder: Path) -> str:
    """What the program says that is made of the function `answer`, in a process of its own."""
    written = programs.program(HEAD.replace("import json", "import json\nimport sys"), [notebook(source)["answer"]], TAIL)
    (folder / "app.py").write_text(written, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "app.py", text], cwd=folder, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr + written
    return done.stdout.strip()


CASES = {  # what the cell says, and what the program answers to "banana"
    "module": (
        """
        import re

        def answer(text):
            return re.sub('[aeiou]', '', text)
        """,
        '"bnn"',
    ),
    "member": (
        """
        from re import sub as swap

        def answer(text):
            return swap('a', 'o', text)
        """,
        '"bonono"',
    ),
    "submodule": (
        """
        import xml.etree.ElementTree

        def answer(text):
            return xml.etree.ElementTree.Element(text).tag
        """,
        '"banana"',
    ),
    "alias": (
        """
        import collections.abc as kinds

        def answer(text):
            return isinstance(text, kinds.Sized)
        """,
        "true",
    ),
    "helper": (
        """
        def shorter(text):
            return text[:LIMIT]

        def answer(text):
            return shorter(text)
        """,
        '"ban"',
    ),
    "constants": (
        """
        VOWELS = {'a': 1}
        TIMES = 2

        def answer(text, times=TIMES):
            return times * VOWELS[text[1]]
        """,
        "2",
    ),
    "pattern": (
        """
        import re
        TWO = re.compile('AN', re.I)

        def answer(text):
            return len(TWO.findall(text))
        """,
        "2",
    ),
    "lambda": (
        """
        clean = lambda text: text.upper()

        def answer(text):
            return [clean(c) for c in text][:1]
        """,
        '["B"]',
    ),
    "classes": (
        """
        class One:
            step = 1

        class Two(One):
            step = 2

        def answer(text):
            return Two().step
        """,
        "2",
    ),
    "decorated": (
        """
        import functools
        from dataclasses import dataclass

        @dataclass
        class Word:
            text: str

        @functools.lru_cache
        def long(text):
            return len(text)

        def answer(text):
            return long(Word(text).text)
        """,
        "6",
    ),
    "each_other": (
        """
        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n > 0 and even(n - 1)

        def answer(text):
            return even(len(text))
        """,
        "true",
    ),
    "inner": (
        """
        from math import pi

        def answer(text):
            def inner(x):
                return f'{x * pi:.2f}'
            return inner(1)
        """,
        '"3.14"',
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_functions_use_goes_along(name: str, tmp_path: Path) -> None:
    source, said = CASES[name]
    assert answer_of(textwrap.dedent(source), "banana", tmp_path) == said


def test_the_last_version_of_a_helper_is_taken(tmp_path: Path) -> None:
    names = notebook("class Mark:\n    sign = '?'\n\ndef put():\n    return '?'\n")
    notebook("class Mark:\n    sign = '!'\n\ndef put():\n    return Mark.sign\n", names)
    written = programs.program(HEAD, [notebook("def answer(text):\n    return text + put()\n", names)["answer"]])
    assert "'!'" in written and "'?'" not in written


def test_everything_that_cannot_be_carried_is_named_at_once() -> None:
    source = """
from course_utils import scoring
model = object()

def outer():
    hidden = 3
    def helper(text):
        return hidden
    return helper

helper = outer()

def answer(text):
    display(text)
    return scoring.mean([model, helper(text), nowhere])
"""
    with pytest.raises(programs.NotCarried) as caught:
        programs.program(HEAD, [notebook(source)["answer"]])
    said = str(caught.value)
    for name in ("model", "hidden", "nowhere", "scoring", "display"):
        assert f"`{name}`" in said, said
    assert "`text`" not in said and said.count("\n- ") == 5


def test_the_end_of_the_program_keeps_its_names() -> None:
    names = notebook("def main():\n    return 1\n\ndef answer(text):\n    return main()\n")
    with pytest.raises(programs.NotCarried, match="`main`"):
        programs.program(HEAD, [names["answer"]], "def main():\n    pass\n")


def test_a_name_is_imported_from_its_own_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another module, of a shorter name, has imported it, too: nobody else need have that module."""
    names = notebook("from fractions import Fraction\n\n\ndef answer(text):\n    return str(Fraction(text))\n")
    other = ModuleType("a")
    other.Fraction = names["Fraction"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a", other)
    assert "from fractions import Fraction\n" in programs.program(HEAD, [names["answer"]], TAIL)


def test_imports_stand_among_the_first_in_the_usual_order() -> None:
    source = "import torch\nimport zlib\nfrom dataclasses import field\n\ndef answer(text):\n    return zlib, field, torch\n"
    names = notebook(source)
    head = '"""Says something."""\n\nimport json\nfrom dataclasses import dataclass\n\nLIMIT = 3\n'
    want = ["import json", "import zlib", "from dataclasses import dataclass, field", "", "import torch", "", "LIMIT = 3"]
    assert programs.program(head, [names["answer"]]).splitlines()[:9] == ['"""Says something."""', "", *want]
    assert programs.program("x = 1", [notebook("import zlib\n\ndef answer(text):\n    return zlib\n")["answer"]]).startswith(
        "import zlib\nx = 1\n"
    )
