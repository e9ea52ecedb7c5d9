"""What a notebook shows of an error: one line where an exercise is not written yet, the message first where a test fails.

A traceback of twenty lines under each cell that waits for an exercise hides the one that matters. Whatever is not about an
exercise is shown as IPython shows it.
"""

from __future__ import annotations

import ast
import re
import traceback
from types import TracebackType
from typing import Any

from .language import N_, t

_UNWRITTEN = re.compile(r"exercise (\w+): write this function")  # what stands in place of a solution
_BECAUSE = N_("which is not written yet")
_waiting: dict[str, str] = {}  # name that a cell would have defined → the exercise that the cell waits for


def install(shell: Any) -> None:
    """Let `shell`, IPython's, show errors so; None, outside of a notebook, has nothing to install."""
    if shell is not None:
        _waiting.clear()
        shell.set_custom_exc((Exception,), _show)


def _show(
    shell: Any, kind: type[Exception], error: Exception, trace: TracebackType | None, tb_offset: int | None = None
) -> None:
    """What IPython calls with an error of a cell."""
    if exercise := _waits_for(error):
        _waiting.update(dict.fromkeys(_defines(shell), exercise))
        lines = [t("– This cell waits for exercise {exercise}.", exercise=exercise)]
    elif exercise := getattr(error, "exercise", ""):
        lines = _failed(exercise, kind, error, trace)
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
        return
    shell._showtraceback(kind, error, lines)


def _waits_for(error: Exception) -> str:
    """The exercise for lack of which this error came, and what it lacks; "" where it came for another reason."""
    if isinstance(error, NotImplementedError):
        exercise = match[1] if (match := _UNWRITTEN.search(str(error))) else getattr(error, "exercise", "")
        return f"{exercise}, {t(getattr(error, 'because', _BECAUSE))}" if exercise else ""
    if isinstance(error, NameError):
        return _waiting.get(error.name or "", "")
    return ""


def _defines(shell: Any) -> list[str]:
    """Names that the running cell would have defined at its top level."""
    try:
        tree = ast.parse(shell.transform_cell(shell.user_ns["In"][-1]))
    except (SyntaxError, LookupError):  # the error shown is the cell's own
        return []
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return names + [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def _failed(exercise: str, kind: type[Exception], error: Exception, trace: TracebackType | None) -> list[str]:
    """What a visible test says, then the line that asked and, for an error in the exercise itself, the line that raised."""
    message = str(error).strip() or t("this does not hold")
    shown = [f"✗ {exercise}: {message if kind is AssertionError else f'{kind.__name__}: {message}'}"]
    in_cells = [frame for frame in traceback.extract_tb(trace) if frame.line and _is_cell(frame.filename)]
    if in_cells:
        shown.append(t("  the test, line {number}: {line}", number=in_cells[0].lineno, line=in_cells[0].line))
    if in_cells[1:]:
        last = in_cells[-1]
        shown.append(t("  in {name}, line {number}: {line}", name=last.name, number=last.lineno, line=last.line))
    return shown


def _is_cell(filename: str) -> bool:
    return "ipykernel_" in filename or filename.startswith("<ipython-input")
