"""A page of this machine, asked for where a proxy is set."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from course_utils import local_pages
from course_utils.errors import CourseError

NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own settings are put aside, and put back in the end."""
    for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        for spelt in (name, name.lower()):
            monkeypatch.setenv(spelt, "")
            monkeypatch.delenv(spelt)


@pytest.fixture
def page() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_own_pages_need_no_proxy(page: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, NOWHERE)
    with pytest.raises(httpx.ConnectError):
        httpx.get(page)
    local_pages.reach_directly()
    assert httpx.get(page).status_code == 204
    with pytest.raises(httpx.ConnectError):  # and only they
        httpx.get("http://course.invalid")


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_exceptions_that_are_set_stay(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "intranet,localhost")
    local_pages.reach_directly()
    local_pages.reach_directly()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intranet,localhost,127.0.0.1"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("socks5://me:secret@127.0.0.1:1080", "a SOCKS proxy is set (ALL_PROXY=socks5://…@127.0.0.1:1080)"),
        ("sock5://127.0.0.1:1080", "ALL_PROXY=sock5://127.0.0.1:1080 is no address of a proxy"),
    ],
)
def test_a_proxy_that_gradio_cannot_use_is_named(address: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(CourseError) as told:
        local_pages.reach_directly()
    assert says in str(told.value) and "Traceback" not in str(told.value) and "secret" not in str(told.value)
