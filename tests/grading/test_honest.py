"""Honest notebooks with habits that once cost points. Each solves both exercises, so each deserves all six points.

They are handed in by one class and graded in one run. What is true of a notebook without a kernel, that all of its code is
found again, stands in test_damaged.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_class import QUICK, RIGHT, TINY, handed_in, needs_box, own_cell, result_of, scores

from courseware.grading import scheduler

pytestmark = needs_box

HELPED = {**RIGHT, "double": "def double(x):\n    return twice(x)"}
IMPORTS = "import numpy as np"


def notebook(*, first: str = "", last: str = "", answers: dict[str, str] | None = None, imports: str = "") -> dict[str, Any]:
    """A solved notebook with an own cell before the answers, one at the end, or another import cell."""
    made = handed_in(answers or RIGHT, before=first)
    for cell in made["cells"]:
        if imports and cell["source"] == IMPORTS:
            cell["source"] = imports
    made["cells"] += [own_cell(last)] if last else []
    return made


SHADOWS = "dict = {}; list = [1]; print = None; len = 3; type = 'x'; _ = 0; exec = None; json = None; names = None; str = 5"
LATE = {  # an own cell at the end
    "builtins reused": SHADOWS,
    "get_ipython reused": "get_ipython = None",
    "the name of the function reused": "total = total([1.0, 2.0])\nprint(total)",
    "a loop over that name": "for total in range(3):\n    pass",
    "another function of that name": "def double(x):\n    '''slow, to compare'''\n    return [2 * v for v in x]",
    "names deleted": "del double, total, np",
    "an import reused": "np = 3",
    "reset": "%reset -f",
    "reset and imports again": "%reset -f\nimport numpy as np",
    "dunder names reused": "__name__ = 'mine'\n__doc__ = 'mine'",
    "exit at the end": "exit()",
    "exit without brackets": "exit",
    "quit at the end": "quit()",
    "shutdown at the end": "get_ipython().kernel.do_shutdown(False)",
    "sys.exit at the end": "import sys\nsys.exit(1)",
    "warnings are errors": "import warnings\nwarnings.simplefilter('error')",
    "another folder": "import os, tempfile\nos.chdir(tempfile.mkdtemp())",
    "the kernel dies at the end": "import os\nos._exit(0)",
    "the kernel dies a little later": "import os, threading\nthreading.Timer(0.05, os._exit, [0]).start()",
    "prints too much": "for i in range(4000): print('x' * 1000)",
}
EARLY = {  # an own cell before the answers
    "exit at the start": "exit()",
    "quit at the start": "quit()",
    "shutdown at the start": "import IPython\nIPython.Application.instance().kernel.do_shutdown(True)",
    "a name that Python has": "dict = {'a': 1}",
    "killed at the start": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "a Colab line and then a helper": "from google.colab import drive\ndrive.mount('/x')\ndef twice(x): return 2 * x",
    "an own file": "from my_helpers import something",
}
HONEST: dict[str, dict[str, Any]] = {
    **{name: notebook(last=source) for name, source in LATE.items()},
    **{name: notebook(first=source) for name, source in EARLY.items()},
    "a helper reused": notebook(answers=HELPED, first="def twice(x):\n    return 2 * x", last="twice = 2"),
    "a helper of a helper deleted": notebook(
        answers=HELPED, first="two = 2\ndef twice(x):\n    return two * x", last="del twice, two"
    ),
    "a name of the lab before the lab uses it": notebook(first="double = 5\ntests = 7\nprobe = check = None"),
    "a Colab line among the imports": notebook(
        imports="from google.colab import drive\ndrive.mount('/x')\nimport numpy as np"
    ),
    "a package that is not here": notebook(imports="import jieba\nimport numpy as np\nimport math"),
    "a magic that is not here": notebook(imports="%matplotlib widget\nimport numpy as np"),
    "a wrapper around the answer": notebook(
        answers={
            **RIGHT,
            "double": "import functools\n@functools.lru_cache\ndef two(): return 2\ndef double(x):\n    return two() * x",
        }
    ),
}

LIMITS = {**QUICK, "cell": "4 s"}  # five cells run into it


def slow() -> dict[str, Any]:
    made = handed_in(RIGHT)
    made["cells"][4:4] = [own_cell(f"import time\nfor epoch in range(600 + {n}):\n    time.sleep(1)") for n in range(5)]
    return made


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("honest")
    (folder / "submitted").mkdir()
    for name, made in {**HONEST, "five slow cells": slow()}.items():
        (folder / "submitted" / f"{name}.ipynb").write_text(json.dumps(made), encoding="utf-8")
    scheduler.grade_class(TINY, folder / "submitted", folder / "graded", scheduler.Options(workers=2, limits=LIMITS))
    yield folder / "graded"


@pytest.mark.parametrize("name", [*HONEST, "five slow cells"])
def test_all_points(graded: Path, name: str) -> None:
    result = result_of(graded, name)
    assert scores(graded, name) == (3, 3), result
    assert result["key"]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("a Colab line among the imports", "`from google.colab import drive` did not run: there is no module google"),
        ("a package that is not here", "`import jieba` did not run: there is no module jieba here"),
        ("a magic that is not here", "`%matplotlib widget` did not run here"),
        ("an own file", "there is no module my_helpers here (a file of yours?"),
        ("five slow cells", "ran longer than 4 s"),
        ("prints too much", "printed more than 2 MB"),
        ("killed at the start", "the kernel died"),
    ],
)
def test_the_note_says_what_was_left_out(graded: Path, name: str, note: str) -> None:
    assert note in result_of(graded, name)["note"]


def test_nothing_is_said_of_what_did_no_harm(graded: Path) -> None:
    for name in ("builtins reused", "exit at the end", "reset", "a helper reused"):
        result = result_of(graded, name)
        assert not result["note"] and not result["reasons"], name
