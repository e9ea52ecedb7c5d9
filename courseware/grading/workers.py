"""What every process has that a run starts: it ends with the run. A worker imports nothing else of the run's."""

from __future__ import annotations

import os
import sys
import threading
import time

if sys.platform != "win32":
    import resource

MEMORY = 6_000_000_000  # bytes of address space that a worker may have; boxes have limits of their own


def end_with(parent: int) -> None:
    """A worker whose run was killed ends itself, and its box with it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def begin(parent: int) -> None:
    """What a worker begins with. Its memory is limited, for what it reads is a stranger's."""
    most = min(value for value in (*resource.getrlimit(resource.RLIMIT_AS), MEMORY) if value >= 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    end_with(parent)
