"""Workers that do not do their work; apart, so that their processes import nothing else."""

from __future__ import annotations

import time
from typing import Any


def dies(line: Any, *_: object) -> None:
    line.recv()


def sleeps(*_: object) -> None:
    time.sleep(600)
