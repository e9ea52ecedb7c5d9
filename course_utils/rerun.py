"""Run labs from top to bottom in fresh kernels, as a grader will, and print of each what passes and what fails.

`python start.py --test` in a student's folder. Nothing is written into the notebooks.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .console import print_anything
from .errors import UnknownNameError
from .language import in_any_language, t
from .words import SUMMARY

# an exercise that is not written yet; a model that this machine cannot hold
_EXPECTED = ("Unsolved", "NotImplementedError", "InsufficientHardwareError")


def chosen(folder: Path, names: Sequence[str]) -> list[Path]:
    """The labs of a folder, or those named: "10", "10_quantization", "labs/10_quantization.ipynb".

    Raises:
        UnknownNameError: there is no such lab.
    """
    labs = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    paths = []
    for name in names or labs:
        stem = Path(name).stem
        known = [path for lab, path in labs.items() if stem in (lab, lab.split("_")[0])]
        if not known:
            raise UnknownNameError.of(t("lab"), name, list(labs))
        paths += known
    return paths


def run(path: Path, **environment: str) -> tuple[str, list[str]]:
    """(the lab's own summary, what fails in cells that test nothing) of a notebook; unsolved exercises are no failure."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows may still hold a file of it
        client = NotebookClient(notebook, timeout=None, allow_errors=True, resources={"metadata": {"path": folder}})
        client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]  # no warning about its own connection
        try:
            client.execute(env={**os.environ, **environment})
        except DeadKernelError:
            return t("did not run to its end"), [t("its kernel died: most often too little memory")]
    return _read([cell for cell in notebook.cells if cell.cell_type == "code"])


def _read(code: Sequence[Any]) -> tuple[str, list[str]]:
    summary, failed = t("printed no summary: is its last cell there?"), []
    printed = "|".join(in_any_language(message, r"\d+") for message in SUMMARY)  # a notebook chooses its own language
    not_made: set[str] = set()  # names that a cell would have made, had it not failed
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            if match := re.search(printed, output.get("text", "")):
                summary = match[0].rstrip(".。")
            if output.output_type == "error":
                lacks = re.fullmatch(r"name '(\w+)' is not defined", output.evalue)
                expected = output.ename in _EXPECTED or cell.metadata.get("nbgrader", {}).get("grade")
                if not expected and not (lacks and lacks[1] in not_made):
                    error = f"{output.ename}: {output.evalue.partition(chr(10))[0]}"
                    failed.append(t("code cell {number}: {error}", number=number, error=error))
                not_made |= _assigned(cell.source)
    return summary, failed


def _assigned(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # no Python, as a cell of %%bash: it assigns nothing
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def main(arguments: Sequence[str]) -> int:
    """Run the labs at quick size; 0 if nothing fails but what is not written yet."""
    print_anything()
    status = 0
    try:
        labs = chosen(Path("labs"), arguments)
    except UnknownNameError as error:
        sys.exit(str(error))
    for path in labs:
        print(f"{path.stem}: ", end="", flush=True)
        summary, failed = run(path, COURSE_BUDGET="quick")
        print("\n  ".join([summary, *failed]), flush=True)
        status |= bool(failed)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
