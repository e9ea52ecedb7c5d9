"""Leave an exercise out of a lab: its cells, its name and its wrong solutions go; what still speaks of it is listed."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from .cell_names import names_of
from .chapters import Chapter, ChapterError, cells_of, exercises, first_lines, read, role
from .files import whole


@dataclass(frozen=True)
class Dropped:
    """What went, the heading it stood under, and each line that uses or names it still: "lab.py:412: …"."""

    cells: int
    points: int
    mutants: int
    heading: str
    uses: list[str]


def drop(chapter: Chapter, exercise: str) -> Dropped:
    """Take an exercise out of a chapter's sources; nothing is built.

    Raises:
        ChapterError: the lab has no such exercise, or no other.
    """
    lab = read(chapter.lab_source)
    known = exercises(lab)
    if exercise not in known:
        raise ChapterError(f"{chapter.name} has no exercise {exercise!r}. It has: {', '.join(known)}.")
    if len(known) == 1:
        raise ChapterError(f"{exercise} is the only exercise of {chapter.name}.")
    parts = [part for cell in lab.cells if (part := role(cell)) and part.exercise == exercise]
    gone = {name for cell in cells_of(lab, "exercise", exercise) for name in names_of(cell.source).makes}
    heading = ""
    for cell in lab.cells[: lab.cells.index(next(cells_of(lab, "exercise", exercise)))]:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [heading])[-1]
    mutants = chapter.folder / "mutants.py"
    changed = {chapter.lab_source: _without_name(_without_cells(chapter.lab_source, exercise), exercise)}
    count = 0
    if mutants.exists():
        count = len(list(cells_of(read(mutants), "mutant", exercise)))
        changed[mutants] = _without_cells(mutants, exercise)
    for path, text in changed.items():
        with whole(path) as scratch:
            scratch.write_text(text, encoding="utf-8", newline="\n")
    uses = [line for path in sorted(chapter.folder.glob("*.py")) for line in _uses(path, {exercise, *gone})]
    return Dropped(len(parts), sum(part.points for part in parts), count, heading, uses)


def _without_cells(path: Path, exercise: str) -> str:
    """The text of a source without an exercise's cells, or its wrong solutions."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    starts = [first - 1 for first in first_lines(text)]
    kept = lines[: starts[0]]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if not re.search(rf'"(exercise|tests|hidden|mutant):{exercise}[":]', lines[start]):
            kept += lines[start:end]
    return "".join(kept)


def _without_name(text: str, exercise: str) -> str:
    """The text of a lab whose lab.start(…, exercises=[…]) does not list the exercise."""
    match = re.search(r"lab\.start\([^)]*?exercises=(\[[^\]]*\])", text)
    if not match or exercise not in ast.literal_eval(match[1]):
        raise ChapterError(f"lab.start(…, exercises=[…]) does not list {exercise}: write the list out, then drop it.")
    name = rf'"{exercise}"'
    shorter = re.sub(rf"{name}\s*,[^\S\n]*\n?[^\S\n]*(?=\S)|,\s*{name}(?=\s*\])", "", match[1], count=1)
    return text[: match.start(1)] + shorter + text[match.end(1) :]


def _uses(path: Path, words: set[str]) -> list[str]:
    pattern = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in sorted(words)))
    numbered = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return [f"{path.name}:{number}: {line.strip()}" for number, line in numbered if pattern.search(line)]
