"""What every process has that a run starts: it ends with the run."""

from __future__ import annotations

import os
import threading
import time


def end_with(parent: int) -> None:
    """A worker whose run was killed ends itself, and its box with it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
