"""Damaged notebooks: what a student wrote is found again, and what cannot be found has its reason."""

from __future__ import annotations

import copy
import json
from typing import Any

import nbformat
import pytest
from conftest import RIGHT, TINY, handed_in

from courseware import build
from courseware.grading import restore

LAB = nbformat.reads(nbformat.writes(build.student_lab(TINY)), as_version=4)


def restored(notebook: dict[str, Any] | bytes) -> restore.Restored:
    data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
    return restore.restore(restore.read(data), LAB)


def sources(result: restore.Restored) -> dict[str, str]:
    return {
        c.metadata.nbgrader.grade_id: c.source
        for c in result.notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade_id")
    }


def place(notebook: dict[str, Any], grade_id: str) -> int:
    ids = [c["metadata"].get("nbgrader", {}).get("grade_id") for c in notebook["cells"]]
    return ids.index(grade_id)


def cell(notebook: dict[str, Any], grade_id: str) -> dict[str, Any]:
    return notebook["cells"][place(notebook, grade_id)]


def duplicated(n: dict[str, Any]) -> None:
    n["cells"].insert(place(n, "double"), copy.deepcopy(cell(n, "double")))


def duplicated_with_the_stub(n: dict[str, Any]) -> None:
    stub = copy.deepcopy(cell(n, "double"))
    stub["source"] = next(c.source for c in LAB.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
    n["cells"].append(stub)


def deleted_tests(n: dict[str, Any]) -> None:
    n["cells"] = [c for c in n["cells"] if not c["metadata"].get("nbgrader", {}).get("locked")]


def imports_deleted(n: dict[str, Any]) -> None:
    n["cells"] = [c for c in n["cells"] if c["source"] != "import numpy as np"]


def reversed_order(n: dict[str, Any]) -> None:
    n["cells"].reverse()


def retyped(n: dict[str, Any]) -> None:
    target = cell(n, "double")
    target["cell_type"] = "markdown"
    target.pop("outputs"), target.pop("execution_count")


def split(n: dict[str, Any]) -> None:
    first = cell(n, "double")
    second = copy.deepcopy(first)
    first["source"], second["source"] = RIGHT["double"].split("\n", 1)
    second["id"] = "another"
    n["cells"].insert(place(n, "double") + 1, second)


def metadata_lost(n: dict[str, Any]) -> None:
    n["metadata"] = {}
    for c in n["cells"]:
        c["metadata"] = {}
        c.pop("id")


def colab(n: dict[str, Any]) -> None:
    n["nbformat_minor"] = 0
    n["metadata"] = {"colab": {"provenance": []}, "accelerator": "GPU", "kernelspec": {"name": "python3"}}
    for k, c in enumerate(n["cells"]):
        c.pop("id")
        c["metadata"] |= {"id": f"aBcD{k}", "outputId": "f00"}


def ids_swapped(n: dict[str, Any]) -> None:
    one, other = cell(n, "double"), cell(n, "total")
    one["metadata"], other["metadata"] = other["metadata"], one["metadata"]
    one["id"], other["id"] = other["id"], one["id"]


def edited_tests(n: dict[str, Any]) -> None:
    for c in n["cells"]:
        if c["metadata"].get("nbgrader", {}).get("locked"):
            c["source"] = "print('100 of 100')"


def huge_outputs(n: dict[str, Any]) -> None:
    cell(n, "double")["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 100_000_000}]


def old_format(n: dict[str, Any]) -> None:
    cells = [{**c, "input": c["source"], "language": "python"} for c in n.pop("cells")]
    for c in cells:
        if c["cell_type"] == "code":
            c.pop("source")
    n |= {"nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}


def sources_as_lists(n: dict[str, Any]) -> None:
    for c in n["cells"]:
        c["source"] = c["source"].splitlines(keepends=True)


def junk_among_the_cells(n: dict[str, Any]) -> None:
    n["cells"] += [None, 3, {"cell_type": "code"}, {"cell_type": 7, "source": [1, None], "metadata": []}]
    n["cells"].insert(0, {"cell_type": "code", "source": "", "metadata": {"nbgrader": {"grade_id": ["x"]}}})


def windows_lines(n: dict[str, Any]) -> None:
    for c in n["cells"]:
        c["source"] = c["source"].replace("\n", "\r\n")


DAMAGES = [
    duplicated, duplicated_with_the_stub, deleted_tests, imports_deleted, reversed_order, retyped, split, metadata_lost,
    colab, ids_swapped, edited_tests, huge_outputs, old_format, sources_as_lists, junk_among_the_cells, windows_lines,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_answers_are_found_again(solved: dict[str, Any], damage: Any) -> None:
    damage(solved)
    result = restored(solved)
    found, given = sources(result), {c.metadata.nbgrader.grade_id: c.source for c in LAB.cells if "nbgrader" in c.metadata}
    assert {name: found[name] for name in RIGHT} == RIGHT
    assert {name: text for name, text in found.items() if name not in RIGHT} == {
        name: text for name, text in given.items() if name not in RIGHT
    }
    code = [c.source for c in result.notebook.cells if c.cell_type == "code"]
    assert code.index("import numpy as np") < code.index(RIGHT["double"]) < code.index(given["double-tests"])
    assert result.answered == set(RIGHT)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", "utf-16"])
def test_byte_order_marks(solved: dict[str, Any], mark: bytes | str) -> None:
    text = json.dumps(solved)
    assert restored(text.encode(mark) if isinstance(mark, str) else mark + text.encode()).answered == set(RIGHT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"hello", "not JSON"),
        (b'{"cells": [', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"\x89PNG\r\n\x1a\n\x00", "not JSON"),
        (b"[1]", "not a notebook"),
        (b"{}", "no cells"),
        (b'{"cells": 3}', "no cells"),
        (b"[" * 100_000, "nested"),
        (json.dumps({"cells": [{}] * 5000}).encode(), "5000 cells"),
    ],
)
def test_what_is_no_notebook_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(restore.Unreadable, match=reason):
        restore.read(data)


def test_another_lab(right: dict[str, Any]) -> None:
    other = {"cells": [{"cell_type": "code", "source": "print(1)", "metadata": {}}], "metadata": {}, "nbformat": 4}
    result = restored(other)
    assert not result.answered and all("another lab" in reason for reason in result.reasons.values())


def test_unanswered_and_deleted_exercises_have_reasons() -> None:
    only = handed_in({"total": RIGHT["total"]})
    assert restored(only).reasons == {"double": "not answered"}
    only["cells"] = [c for c in only["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") != "double"]
    result = restored(only)
    assert result.answered == {"total"} and "no cell" in result.reasons["double"]


def test_answered_twice_the_last_counts(solved: dict[str, Any]) -> None:
    again = copy.deepcopy(cell(solved, "double"))
    again["source"] = "def double(x):\n    return x + x"
    solved["cells"].append(again)
    result = restored(solved)
    assert sources(result)["double"] == again["source"] and "more than once" in result.reasons["double"]


def test_a_students_own_cells_stay_where_they_were(solved: dict[str, Any]) -> None:
    helper = {"cell_type": "code", "source": "factor = 2", "metadata": {}, "outputs": [], "execution_count": 1}
    solved["cells"].insert(place(solved, "double"), helper)
    code = [c.source for c in restored(solved).notebook.cells if c.cell_type == "code"]
    assert code.index("import numpy as np") < code.index("factor = 2") < code.index(RIGHT["double"])
