"""What the asker remembers, without a kernel: a shell that is only its names."""

from __future__ import annotations

import builtins
import json
import os
import types
from pathlib import Path
from typing import Any

import pytest

from courseware.grading import in_kernel, wire

TOOLS = {"plain": wire.plain, "encode": wire.encode}


class Shell:
    """Runs cells in its names, and tells the asker whose they were."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins, "get_ipython": "it", "In": []}
        self.asker = in_kernel.Asker(types.SimpleNamespace(user_ns=self.user_ns), TOOLS)

    def run(self, source: str, kind: str = "own", exercise: str = "f", names: tuple[str, ...] = ()) -> Shell:
        exec(source, self.user_ns)
        self.asker.after(kind, exercise if kind != "own" else "", list(names))
        return self

    def answer(self, source: str = "def f():\n    return 1", exercise: str = "f") -> Shell:
        return self.run(source, "answer", exercise, (exercise,)).run("", "tests", exercise)

    def ask(self, probe: str = "return f()", exercise: str = "f") -> Any:
        return json.loads(self.asker.ask(exercise, f"def probe():\n    {probe}", "probe"))


@pytest.mark.parametrize(
    "helper",
    [
        "def helper(): return 2\ndef f(): return helper()",
        "def helper(): return 2\ndef f(): return [helper() for _ in (1,)][0]",
        "import functools\ndef helper(): return 2\n@functools.lru_cache\ndef f(): return helper()",
        "import functools\ndef helper(): return 2\ndef g(x): return helper()\nf = functools.partial(g, 1)",
        "class Two:\n    @property\n    def two(self): return 2\ndef f(): return Two().two",
        "class Base:\n    def __call__(self): return two\ntwo = 2\nclass Two(Base): pass\nf = Two()",
        "def outer():\n    def inner(): return two\n    return inner\ntwo = 2\nf = outer()",
        "two = 2\ndef wrapped(g):\n    def inner(): return g()\n    return inner\n@wrapped\ndef f(): return two",
        "list = tuple = None\nmax = 2\ndef f(): return max",
        "two = 2\nways = {'a': [lambda: two]}\ndef f(): return ways['a'][0]()",
        "import numpy\ntwo = 2\nf = numpy.vectorize(lambda: two, otypes=[int])",
        "class Way:\n    pass\nway, two = Way(), 2\nway.go = lambda: two\ndef f(): return way.go()",
    ],
)
def test_a_function_is_judged_with_the_names_that_it_leaned_on(helper: str) -> None:
    shell = Shell()
    shell.run(helper).answer("f = f")
    for name in [n for n in shell.user_ns if n not in ("__builtins__", "get_ipython", "In", "__name__")]:
        shell.run(f"{name} = 'reused'")
    assert shell.ask() == 2


def test_all_names_deleted() -> None:
    shell = Shell().run("import math", "given").run("def two(): return 2").answer("def f(): return two() + math.floor(0.5)")
    shell.user_ns.clear()
    assert shell.ask() == 2


def test_builtins_that_a_student_has_reused_are_not_the_question_s() -> None:
    shell = Shell().answer().run("dict = list = len = print = exec = sorted = json = None\n__name__ = 'mine'")
    assert shell.ask("return [f(), len(list(dict(a=1))), __name__, get_ipython]") == [1, 1, "__main__", "it"]


def test_names_of_the_lab_are_what_its_own_cells_bound_last() -> None:
    shell = Shell().run("words, same, gone = [1], 3, 4", "given").run("words, same = 0, 3").answer()
    shell.run("words = [2]\ndel gone", "given").run("words, same, gone = 'mine', 'mine', 5")
    assert shell.ask("return [words, same, gone]") == [[2], 3, 5]


def test_a_name_that_was_bound_to_the_same_object_before_is_still_the_lab_s() -> None:
    shell = Shell().run("n = 3").run("n = 3", "given", names=("n",)).answer("def f(): return n").run("n = 5")
    assert shell.ask() == 3


def test_a_name_of_the_lab_s_that_a_student_had_covered_before_the_tests() -> None:
    """Their function sees theirs, the question the lab's; what the lab binds later is everybody's."""
    shell = Shell().run("n, m = 1, 1", "given").run("n, m = 3, 3").answer("def f(): return [n, m]")
    shell.run("m = 2", "given").run("n = m = 5")
    assert shell.ask("return [f(), n, m]") == [[3, 2], 1, 2]


def test_tests_alone_say_what_is_judged() -> None:
    """Where no cell is known as the answer."""
    shell = Shell().run("def f(): return 2").run("", "tests", names=("f",)).run("f = 3")
    assert shell.ask() == 2


def test_what_a_lab_wraps_is_judged_wrapped() -> None:
    shell = Shell().answer().run("g = f\nf = lambda: g() + 1", "given")
    assert shell.ask() == 2


def test_tidy_puts_back_what_was_covered_and_says_whether() -> None:
    shell = Shell().run("import math", "given").run("def f(): return 1", "answer")
    assert not shell.asker.tidy("f")
    shell.run("f = 3; list = 4; math = 5; mine = 6")
    assert shell.asker.tidy("f") and not shell.asker.tidy("f")
    assert shell.user_ns["f"]() == 1 and "list" not in shell.user_ns and shell.user_ns["mine"] == 6


def test_questions_do_not_see_each_other(tmp_path: Path) -> None:
    shell = Shell().answer("def f():\n    global left\n    left = 1\n    return 1").answer("def g(): return 2", "g")
    before = dict(shell.run("later = list = 3").user_ns)
    assert shell.ask() == 1 and shell.user_ns == before
    with pytest.raises(NameError):
        shell.ask("return left", "g")
    assert shell.run("def h(): return later", "answer", "h", ("h",)).ask("return h()", "h") == 3


def test_settings_of_the_process_are_those_of_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    shell = (
        Shell()
        .run("import os, torch", "given")
        .answer("def f(): return [torch.ones(1).dtype == torch.float32, os.getcwd()]")
    )
    try:
        shell.run("torch.set_default_dtype(torch.float64)\nos.chdir('/')\nimport warnings\nwarnings.simplefilter('error')")
        assert shell.ask() == [True, str(tmp_path)]
        assert shell.ask("import warnings; warnings.warn('of a student'); return f()")[0] is True
        shell.run("import sys, numpy\nlimit = sys.getrecursionlimit(), numpy.geterr()\nsys.setrecursionlimit(200)")
        shell.run("numpy.seterr(all='raise')")
        assert shell.ask("import sys, numpy; return [sys.getrecursionlimit() > 200, numpy.geterr()['over']]") == [
            True,
            "warn",
        ]
    finally:
        torch.set_default_dtype(torch.float32)
        os.chdir(tmp_path)


@pytest.mark.parametrize(
    "value", ["1j", "[1j]", "{'a': {1, 2}}", "object()", "np.array(['a'])", "np.array([1j])", "np.complex64(1)"]
)
def test_an_answer_that_is_no_plain_data_is_an_error(value: str) -> None:
    shell = Shell().run("import numpy as np", "given").answer()
    with pytest.raises(TypeError, match="not plain data"):
        shell.ask(f"return {value}")
