"""Pages that a notebook serves on its own machine, where the environment names a proxy."""

from __future__ import annotations

import os

from . import proxies
from .errors import CourseError
from .language import t

_HERE = ("localhost", "127.0.0.1")


def reach_directly() -> None:
    """Have pages of this machine asked for without a proxy; call it before `import gradio`.

    Gradio asks its own page whether it is there, and no proxy knows that page. What NO_PROXY holds stays in it.

    Raises:
        CourseError: the proxy's address is one with which `import gradio` fails (SOCKS without its package, a misspelt one).
    """
    import httpx

    known = [host for host in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",") if host]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys([*known, *_HERE]))
    try:
        httpx.Client().close()  # what Gradio makes when it is imported
    except (ImportError, ValueError) as error:
        why = proxies.explain(str(error), "http://127.0.0.1")
        raise CourseError(t("Gradio cannot be used: {why}", why=why or error)) from error
