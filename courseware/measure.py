"""What each notebook costs on this machine: seconds and memory at full size, written into docs/measurements.md."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nbformat.v4 import new_code_cell

from .chapters import ROOT, Chapter, built
from .kernels import Client

PAGE = ROOT / "docs" / "measurements.md"
_PEAK = """\
from courseware.measure import peak

print("peak", peak())"""


def peak() -> int:
    """The most bytes of memory that this process has had."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(path: Path, budget: str) -> tuple[float, float]:
    """Seconds and peak GB of one notebook, its set-up and its model's loading included."""
    notebook = built(path)
    notebook.cells.append(new_code_cell(_PEAK))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = Client(notebook, timeout=None, resources={"metadata": {"path": folder}})
        client.execute(env={**os.environ, "COURSE_BUDGET": budget})
    text = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    return time.monotonic() - started, int(text.split()[-1]) / 1e9


def machine() -> str:
    """The heading under which this machine's numbers stand."""
    import psutil

    from course_utils import hardware

    detected, memory = hardware.detect(), psutil.virtual_memory().total
    return f"{detected.cpu}, {detected.cores} cores, {round(memory / 1e9)} GB, {detected.gpu or 'no GPU'}"


def measure(chapters: Iterable[Chapter], budget: str) -> dict[str, str]:
    """Run the lecture and the solved lab of each chapter, one after another; chapter → its line of the table."""
    lines = {}
    for part in chapters:
        cells = [part.name]
        for path in (part.lecture, part.solution):
            seconds, gigabytes = run(path, budget)
            print(f"{path.relative_to(ROOT)}: {seconds:.0f} s, {gigabytes:.1f} GB", flush=True)
            cells += [f"{seconds:.0f}", f"{gigabytes:.1f}"]
        lines[part.name] = f"| {' | '.join(cells)} |"
    return lines


def write(chapters: Iterable[Chapter], budget: str) -> None:
    """Put the lines into the page, under this machine and size; lines of other chapters stay."""
    heading = f"## {machine()} · COURSE_BUDGET={budget}"
    text = PAGE.read_text(encoding="utf-8")
    older = re.search(rf"{re.escape(heading)}\n.*?(?=\n## |\Z)", text, re.DOTALL)
    lines = {m[1]: m[0] for m in re.finditer(r"^\| (\d\d_\w+) \|.*$", older[0] if older else "", re.MULTILINE)}
    days = _days(older[0], lines) if older else {}
    new = measure(chapters, budget)
    lines |= new
    days |= dict.fromkeys(new, time.strftime("%Y-%m-%d"))
    table = [
        "| chapter | lecture (s) | (GB) | lab (s) | (GB) |",
        "|---|---|---|---|---|",
        *(lines[k] for k in sorted(lines)),
    ]
    section = "\n".join([heading, "", _when(days), "", *table, ""])
    text = text.replace(older[0], section) if older else f"{text.rstrip()}\n\n{section}"
    PAGE.write_text(text.rstrip() + "\n", encoding="utf-8")


def _days(section: str, chapters: Iterable[str]) -> dict[str, str]:
    """When each chapter of a table was measured, as `_when` has said it."""
    said = re.search(r"^Measured (\d{4}-\d\d-\d\d)(.*?)\.$", section, re.MULTILINE | re.DOTALL)
    if not said:
        return {}
    usual, others = str(said[1]), dict(re.findall(r"(\w+) on ([-\d]+)", said[2]))
    return {chapter: others.get(chapter, usual) for chapter in chapters}


def _when(days: dict[str, str]) -> str:
    """The day of most chapters, and of each that was measured on another."""
    usual, _ = Counter(days.values()).most_common(1)[0]
    others = ", ".join(f"{chapter} on {day}" for chapter, day in sorted(days.items()) if day != usual)
    return f"Measured {usual}; {others}." if others else f"Measured {usual}."
