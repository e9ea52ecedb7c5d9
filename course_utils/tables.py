"""The course's tables: CSV files with units in the column names and a source for each row."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from .errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd


def names() -> list[str]:
    """Names that `load` takes."""
    folder = files(__package__).joinpath("csv")
    return sorted(entry.name.removesuffix(".csv") for entry in folder.iterdir() if entry.name.endswith(".csv"))


def load(name: str) -> pd.DataFrame:
    """Read a table; the column `source` says where each row is from.

    Raises:
        UnknownNameError: there is no such table.
    """
    import pandas as pd

    if name not in names():
        raise UnknownNameError.of("table", name, names())
    with as_file(files(__package__).joinpath("csv", f"{name}.csv")) as path:
        return pd.read_csv(path)
