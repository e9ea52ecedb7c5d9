"""What a proxy has to do with a fetch that failed: pip, requests and the hub's client each say it in words of their own."""

from __future__ import annotations

import os
import re

from .language import t

_VARIABLES = ("ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_NO_SOCKS = re.compile(r"socksio|Missing dependencies for SOCKS", re.IGNORECASE)
_BAD_ADDRESS = re.compile(r"Unknown scheme for proxy|Unable to determine SOCKS version|Not supported proxy scheme", re.I)
_CUT_OFF = re.compile(
    r"prox|tunnel|refused|tim(ed|e) ?out|unreachable|reset|disconnected|getaddrinfo|name resolution|Name or service|"
    r"Failed to establish|UNEXPECTED_EOF|WRONG_VERSION",
    re.IGNORECASE,
)


def explain(message: str, address: str, configured: str = "") -> str | None:
    """The part of a proxy in a failed fetch and what to do about it, or None where none has a part.

    Args:
        message: the text of the errors.
        address: what was to be fetched; NO_PROXY may leave it out.
        configured: the proxy that the fetching program was given otherwise than by the environment.
    """
    if _NO_SOCKS.search(message):
        variable, shown = _variable(r"socks") or (t("the proxy's setting"), _masked(configured))
        return t(
            "a SOCKS proxy is set ({variable}={shown}), and Python lacks the package that speaks to one.\n"
            "Ways out: remove {variable} and set HTTPS_PROXY to the proxy's HTTP port (most have one), for example "
            'http://127.0.0.1:7890; or remove it, run `pip install pysocks "httpx[socks]"` and set it again. '
            "Then restart the kernel.",
            variable=variable,
            shown=shown,
        )
    if _BAD_ADDRESS.search(message):
        variable, shown = _variable(r"(?!(https?|socks[45]h?)://)") or (t("the proxy's setting"), _masked(configured))
        return t(
            "{variable}={shown} is no address of a proxy that Python understands.\n"
            "Write http://host:port or socks5://host:port there, and restart the kernel.",
            variable=variable,
            shown=shown,
        )
    used = configured or _used(address)
    if not used or not _CUT_OFF.search(message):
        return None
    variable, shown = _variable(rf"{re.escape(used)}$|{re.escape(used.removeprefix('http://'))}$") or (
        t("your proxy's setting"),
        _masked(used),
    )
    if "407" in message:
        what = t("asks for a name and a password: write http://name:password@host:port")
    elif re.search(r"\b403\b", message):
        what = t("forbids this address")
    elif "refused" in message:
        what = t("cannot be reached: nothing listens there")
    else:
        what = t("does not answer, or does not let this through")
    return t(
        "the proxy {shown} ({variable}) {what}.\n"
        "Ways out: start the proxy, or correct {variable}, or remove it where the network works without. "
        "Then restart the kernel.",
        shown=shown,
        variable=variable,
        what=what,
    )


def _variable(value: str) -> tuple[str, str] | None:
    """Name and shown value of the first variable of the environment whose value matches."""
    set_ = ((name, os.environ[name]) for name in _VARIABLES if os.environ.get(name))
    return next(((name, _masked(address)) for name, address in set_ if re.match(value, address)), None)


def _used(address: str) -> str:
    """The proxy that Python's programs take for an address: from the environment, or the system's settings."""
    from requests.utils import get_environ_proxies, select_proxy

    return str(select_proxy(address, get_environ_proxies(address)) or "")


def _masked(proxy: str) -> str:
    """Without its name and password."""
    return re.sub(r"//[^/@]*@", "//…@", proxy)
