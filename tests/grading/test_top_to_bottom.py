"""If a student's notebook passes from top to bottom, it has its points: notebooks damaged at random, with no kernel.

Cells run in this process, beside the asker that a kernel would have, and all the rest is the grader's own. What a notebook
deserves is found by running it as it is.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import io
import json
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from tiny_class import QUICK, RIGHT, TINY, handed_in, own_cell

from courseware.chapters import Chapter
from courseware.grading import autograde, box, comparison_process, demo, execution, in_kernel, verdict, wire
from courseware.grading.session import CellRun

Notebook = dict[str, Any]
Cell = dict[str, Any]
TESTS = {"double": "assert np.allclose(double(", "total": "assert total([1.0"}


class Shell:
    """Runs cells as Jupyter does: an error goes by, and `%reset` and `%%time` are known."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        self.user_ns.clear()
        self.user_ns |= {"__name__": "__main__", "__builtins__": builtins, "get_ipython": lambda: self}

    def run_line_magic(self, name: str, line: str) -> None:
        self.reset() if name == "reset" else None

    def run_cell_magic(self, name: str, line: str, body: str) -> None:
        self.run(body)

    def run(self, source: str) -> None:
        python = TransformerManager().transform_cell(source.replace("lab.start(", "str("))
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(python, "<cell>", "exec"), self.user_ns)

    def cell(self, source: str) -> str:
        self.user_ns.setdefault("get_ipython", lambda: self)
        try:
            self.run(source)
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        return ""


class Session:
    """What `session.Session` is to `Tries`, in this process."""

    spent = 0.0

    def __init__(self, *_: Any) -> None:
        self.shell = Shell()

    def start(self) -> Session:
        self.asker = in_kernel.Asker(self.shell, {"plain": wire.plain, "encode": wire.encode})
        return self

    def run(self, source: str, seconds: float, patient: bool = False) -> CellRun:
        return CellRun(error=self.shell.cell(source))

    def after(self, *arguments: Any) -> None:
        self.asker("after", list(arguments))

    def tidy(self, exercise: str) -> bool:
        return bool(self.asker("tidy", [exercise]))

    def untidy(self) -> None:
        self.asker("untidy", [])

    def ask(self, exercise: str, source: str, function: str, seconds: float) -> Any:
        try:
            return wire.decode(json.loads(self.asker("ask", [exercise, source, function])))
        except BaseException as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None

    def busy(self) -> int:
        return 1

    def settle(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def points(prepared: verdict.Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[[Notebook], dict[str, float]]:
    monkeypatch.setattr(execution, "Session", Session)
    monkeypatch.setattr(comparison_process, "call", lambda function, *arguments: function(*arguments))

    def graded(notebook: Notebook, lab: verdict.Lab = prepared) -> dict[str, float]:
        limits = vars(box.Limits.read(QUICK))
        job = autograde.Job("a", "a.ipynb", "", json.dumps(notebook).encode(), "", "key", limits, unsafe=True)
        scores = autograde.grade(job, lab.dumps()).scores
        return {name: scores[f"{name}-tests"] + scores[f"{name}-hidden"] for name in TESTS}

    return graded


def deserved(notebook: Notebook) -> set[str]:
    """Exercises whose visible tests pass where they stand, with a function that is right."""
    shell, found = Shell(), set()

    def right(name: str) -> bool:
        function = shell.user_ns[name]
        x = np.array([[0.5, -3.0], [7.0, 0.0]])
        if name == "double":
            return bool(np.array_equal(function(x), [[1, -6], [14, 0]]) and x[0, 0] == 0.5)
        return bool(function([]) == 0 and function([2.5, -0.5]) == 2 and function([1e3] * 10) == 1e4)

    for cell in notebook["cells"]:
        said = shell.cell(cell["source"]) if cell["cell_type"] == "code" else "text"
        for name, assertion in TESTS.items():
            with contextlib.suppress(Exception):  # then it is not right
                found |= {name} if not said and assertion in cell["source"] and right(name) else set()
    return found


DOUBLE = [
    "def double(x):\n    return 2 * x",
    "double = lambda x: 2 * x",
    "class Twice:\n    def __call__(self, x):\n        return 2 * x\n\n\ndouble = Twice()",
    "if True:\n    def double(x):\n        return 2 * x",
    "match 1:\n    case 1:\n        def double(x): return 2 * x",
    "import functools, operator\ndouble = functools.partial(operator.mul, 2)",
    "double, triple = (lambda x: 2 * x), (lambda x: 3 * x)",
    "(double := lambda x: 2 * x)",
    "exec('def double(x): return 2 * x')",
    "%%time\ndef double(x):\n    return 2 * x",
    "def double(x):\n    return twice(x)",
]
TOTAL = ["def total(values):\n    return float(sum(values))", "total = lambda v: float(np.sum(v))"]
OF_START = "def total(values):\n    return float(sum(values, START))"
HELPER = "def twice(x):\n    return 2 * x"
WRONG = ["def double(x):\n    return x", "double = lambda x: x * x", "def total(values):\n    return 0.0"]
OWN = [
    "print(1)", "dict = {}", "list = [1]; len = None", "np = 3", "%reset -f", "%reset -f\nimport numpy as np", "double = 5",
    "total = total([1.0, 2.0])", "import numpy as np", "del double", "twice = 3", "assert = 3", "sum = lambda v: 0",
    "raise SystemExit", "def test():\n    assert double(1) == 2\ntest()", "from google.colab import drive", "two = 2",
]  # fmt: skip


class Hand:
    """A hurried student's."""

    def __init__(self, seed: int, chapter: Chapter = TINY) -> None:
        self.random = random.Random(seed)
        answers = {"double": self.random.choice(DOUBLE), "total": self.random.choice(TOTAL)}
        before = HELPER if "twice" in answers["double"] else ""
        if chapter != TINY and self.random.random() < 0.5:
            answers["total"], before = OF_START, f"{before}\nSTART = 0.0"
        if chapter != TINY and self.random.random() < 0.5:
            del answers["double"]
        self.notebook = handed_in(answers, before, chapter)
        self.cells: list[Cell] = self.notebook["cells"]
        self.did = [self._once() for _ in range(self.random.randrange(5))]

    def _once(self) -> str:
        habit = self.random.choice([self.own, self.wrong, self.copy, self.split, self.merge, self.unlabel, self.move,
                                    self.below, self.swap, self.comment, self.edit])  # fmt: skip
        habit()
        return habit.__name__

    def _new(self, source: str, **more: Any) -> None:
        self.cells.insert(self.random.randrange(len(self.cells) + 1), {**own_cell(source), **more})

    def _code(self) -> Cell:
        return self.random.choice([cell for cell in self.cells if cell["cell_type"] == "code"])

    def own(self) -> None:
        self._new(self.random.choice(OWN))

    def wrong(self) -> None:
        kind = self.random.choice(["code", "raw", "markdown"])
        metadata = copy.deepcopy(self._code()["metadata"]) if self.random.random() < 0.5 else {}
        self._new(self.random.choice(WRONG), cell_type=kind, metadata=metadata)

    def copy(self) -> None:
        again = copy.deepcopy(self._code())
        source = self.random.choice([again["source"], *OWN])
        self._new(source, metadata=again["metadata"], id=again["id"] if self.random.random() < 0.5 else "copy")

    def split(self) -> None:
        cell = self._code()
        with contextlib.suppress(SyntaxError):  # then it stays whole
            parts = [ast.unparse(node) for node in ast.parse(cell["source"]).body]
            if len(parts) > 1:
                second = {**copy.deepcopy(cell), "source": "\n".join(parts[1:]), "id": "part"}
                self.cells.insert(self.cells.index(cell) + 1, second)
                cell["source"] = parts[0]

    def merge(self) -> None:
        at = self.random.randrange(len(self.cells) - 1)
        one, two = self.cells[at : at + 2]
        if one["cell_type"] == two["cell_type"] == "code" and "%%" not in one["source"] + two["source"]:
            one["source"] += "\n\n" + two["source"]
            del self.cells[at + 1]

    def unlabel(self) -> None:
        for number, cell in enumerate(self.cells if self.random.random() < 0.5 else [self._code()]):
            cell |= {"metadata": {}, "id": f"new{number}-{len(self.cells)}"}

    def move(self) -> None:
        cell = self.cells.pop(self.random.randrange(len(self.cells)))
        self.cells.insert(self.random.randrange(len(self.cells) + 1), cell)

    def below(self) -> None:
        cell = self._code()
        at = self.cells.index(cell)
        self.cells.insert(at + 1, {**copy.deepcopy(cell), "metadata": {}, "id": f"below{at}"})
        cell["source"] = "# done below"

    def swap(self) -> None:
        one, two = self._code(), self._code()
        for key in ("metadata", "id"):
            one[key], two[key] = two[key], one[key]

    def comment(self) -> None:
        cell = self._code()
        cell["source"] = "# mine\n" + cell["source"] if "%%" not in cell["source"] else cell["source"]

    def edit(self) -> None:
        cell = self._code()
        cell["source"] += self.random.choice(["\nprint('ok')", "\ntwo = 2", f"\n{HELPER}"])


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, 100, 20)], ids=str)
def test_what_passes_has_its_points(points: Callable[[Notebook], dict[str, float]], seeds: range) -> None:
    for seed in seeds:
        hand = Hand(seed)
        wanted, got = deserved(copy.deepcopy(hand.notebook)), points(hand.notebook)
        assert {name for name, earned in got.items() if earned == 3} >= wanted, (seed, hand.did, wanted, got)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Chapter:
    """The tiny lab with a name that a student may take, and between its exercises with cells that need the first, or not."""
    folder = tmp_path_factory.mktemp("longer") / "91_longer"
    folder.mkdir()
    text = TINY.lab_source.read_text(encoding="utf-8")
    text = text.replace("import numpy as np\n", "import numpy as np\n\nSTART = 1.0\n", 1)
    between = "SHOWN = double(np.array([3.0]))\n\n# %%\nTWICE = list(SHOWN) * 2\n\n# %%\nONE_TWO = [1.0, 2.0]\n"
    text = text.replace("# ## The second one\n", f"# ## The second one\n\n# %%\n{between}", 1)
    (folder / "lab.py").write_text(text.replace("total([1.0, 2.0]) == 3", "total([1.0, ONE_TWO[1]]) == 3"), encoding="utf-8")
    return Chapter(folder)


@pytest.fixture(scope="module")
def longer_lab(longer: Chapter) -> verdict.Lab:
    return verdict._solve(longer)


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, 100, 20)], ids=str)
def test_what_passes_below_what_is_not_solved_has_its_points(
    points: Callable[..., dict[str, float]], longer: Chapter, longer_lab: verdict.Lab, seeds: range
) -> None:
    for seed in seeds:
        hand = Hand(seed, longer)
        wanted, got = deserved(copy.deepcopy(hand.notebook)), points(hand.notebook, longer_lab)
        assert {name for name, earned in got.items() if earned == 3} >= wanted, (seed, hand.did, wanted, got)


def test_what_is_wrong_in_every_order_has_none(points: Callable[[Notebook], dict[str, float]]) -> None:
    wrong = handed_in({"double": WRONG[0], "total": TOTAL[0]}, before=WRONG[1])
    assert points(wrong) == {"double": 0, "total": 3}


def test_what_a_later_cell_changes_in_place_is_judged_as_it_was(points: Callable[[Notebook], dict[str, float]]) -> None:
    helped = {
        "double": "def double(x):\n    return twos[0] * x",
        "total": "def total(values):\n    return sum(map(ONE, values), 0.0)",
    }
    notebook = handed_in(helped, before="twos = [2]\nclass ONE(float):\n    pass")
    notebook["cells"].append(
        {**Hand(0).cells[-1], "source": "twos[0] = 3\nONE.__radd__ = None", "metadata": {}, "id": "late"}
    )
    assert points(notebook) == {"double": 3, "total": 3}


def test_a_name_of_the_lab_s_that_a_changed_cell_has_lost_is_supplied(
    points: Callable[[Notebook], dict[str, float]],
) -> None:
    """As in a notebook that was given out before the lab had a new line."""
    notebook = handed_in({"double": DOUBLE[0], "total": TOTAL[0]})
    imports = next(cell for cell in notebook["cells"] if cell["source"] == "import numpy as np")
    imports["source"] = "import numpy\nimport math"
    assert points(notebook) == {"double": 3, "total": 3}


@pytest.mark.parametrize("place", ["double", "double-tests", "total"])
def test_a_name_of_the_lab_s_that_a_student_has_taken_to_try_something_costs_nothing(
    points: Callable[..., dict[str, float]], longer: Chapter, longer_lab: verdict.Lab, place: str
) -> None:
    """Neither what tests need, nor what a cell between two exercises makes for the second."""
    notebook = demo.notebook(longer, RIGHT)
    at = next(i for i, cell in enumerate(notebook["cells"]) if cell["metadata"].get("nbgrader", {}).get("grade_id") == place)
    notebook["cells"].insert(at + 1, own_cell("np = 3"))
    assert points(notebook, longer_lab) == {"double": 3, "total": 3}


def test_a_line_that_cannot_run_here_is_left_out_of_any_cell_of_the_lab(
    points: Callable[..., dict[str, float]], longer: Chapter, longer_lab: verdict.Lab
) -> None:
    """Also below the first exercise, where an unsolved lab's cells may all fail."""
    notebook = demo.notebook(longer, RIGHT)
    given = next(cell for cell in notebook["cells"] if cell["source"] == "ONE_TWO = [1.0, 2.0]")
    given["source"] = "from google.colab import drive\ntwo = 2.0\nONE_TWO = [1.0, two]"
    assert points(notebook, longer_lab) == {"double": 3, "total": 3}
