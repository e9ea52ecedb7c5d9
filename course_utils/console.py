"""What is printed outside a notebook."""

from __future__ import annotations

import io
import sys


def print_anything() -> None:
    """Let `print` go on where the terminal or the file it goes to has no such letter: a question mark stands for it.

    On a Chinese Windows a file has no check mark (cp936), on a Western one no Chinese. A notebook's own output has them all.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
