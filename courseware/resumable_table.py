"""Tables of trainings that a lab has no time for: each is made by one command, run by run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from .chapters import read, tags
from .files import whole


def asked_again(doc: str | None) -> bool:
    """Read a command's line: is everything to be made again?"""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="forget what the tables hold")
    return bool(parser.parse_args().again)


def imports(cell: Any) -> bool:
    """Is it the cell with which a lab begins?"""
    return bool(cell.source.startswith("import "))


def lab_names(command: str, names: dict[str, Any], also: Callable[[Any], bool] = lambda cell: False) -> dict[str, Any]:
    """`names`, with what the cells with the tag `ladder` of the lab beside a command's file define, and those of `also`.

    What a table is made by stands in the lab only, so that they cannot disagree. It is of full size, whatever the budget.
    """
    with full_size():
        for cell in read(Path(command).with_name("lab.py")).cells:
            if "ladder" in tags(cell) or also(cell):
                exec(cell.source, names)
    return names


@contextmanager
def full_size() -> Iterator[None]:
    """In it, or in a function that it decorates, `lab.budget` gives the full size."""
    before = os.environ.get("COURSE_BUDGET")
    os.environ["COURSE_BUDGET"] = "full"
    try:
        yield
    finally:
        os.environ.pop("COURSE_BUDGET")
        if before is not None:
            os.environ["COURSE_BUDGET"] = before


def fill(
    path: Path,
    keys: Sequence[str],
    runs: Sequence[tuple[Any, ...]],
    make: Callable[..., list[dict[str, Any]]],
    again: bool = False,
) -> None:
    """Make the runs that a table (CSV) does not hold yet; `make(*run)` gives their rows, in which `keys` tell the run.

    The table is written, in the order of `runs`, after each of them: a command that was cut goes on where it stopped.
    """
    rows: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() and not again else []
    have = {tuple(row[key] for key in keys) for row in rows}
    place = {run: i for i, run in enumerate(runs)}  # what is no longer asked for stays, at the end
    for run in tqdm([run for run in runs if run not in have], desc=path.stem):
        rows += make(*run)
        rows.sort(key=lambda row: place.get(tuple(row[key] for key in keys), len(place)))
        with whole(path) as scratch:
            pd.DataFrame(rows).to_csv(scratch, index=False)
