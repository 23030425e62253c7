"""The reason in a row's error: it comes first, in one sentence of the user's words, whatever a server does."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from harness import predictions
from windrow.scoring.fetch import fetcher as fetching
from windrow.scoring.fetch import reasons, urls
from windrow.scoring.fetch.fetcher import Fetched, Fetcher
from windrow.scoring.fetch.status import Status

from tests.windrow.scoring.conftest import (
    LOOPBACK,
    Behaviour,
    HostileServer,
    answer,
    drip,
    flood,
    redirect,
    reset,
    reset_half_way,
    silence,
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "RETRY_PAUSES_SECONDS", (0.01, 0.02))


def fetch(url: str, **policy: Any) -> Fetched:
    usual = {"timeout_seconds": 5.0, "host_rate": None, "robots": True, "allow_addresses": LOOPBACK}

    async def ask() -> Fetched:
        async with Fetcher(predictions.policy(**{**usual, **policy})) as fetcher:
            return await fetcher.fetch(url)

    return asyncio.run(ask())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CASES: dict[str, tuple[Behaviour | bytes, Status, str]] = {
    "reset": (reset, Status.BROKEN_RESPONSE, "the server must answer; it closed the connection before it did"),
    "closed": (b"", Status.BROKEN_RESPONSE, "the server must answer; it closed the connection before it did"),
    "half": (reset_half_way, Status.BROKEN_RESPONSE, "the body must arrive whole; "),
    "short": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", Status.BROKEN_RESPONSE, "the body must arrive whole; "),
    "chunks": (CHUNKED + b"zz\r\n", Status.BROKEN_RESPONSE, "the answer must be HTTP; |the body must arrive whole; "),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", Status.BROKEN_RESPONSE, "the answer must be HTTP; "),
    "long line": (
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        Status.BROKEN_RESPONSE,
        "status line and headers have at most 65,536",
    ),
    "head": (
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        Status.BROKEN_RESPONSE,
        "status line and headers have at most 65,536",
    ),
    "silence": (
        silence,
        Status.TIMEOUT,
        r"while reading, the next piece must come within 0\.3 s \(scoring\.read_seconds\)",
    ),
    "drip": (drip, Status.TIMEOUT, r"the whole answer must come within 1 s \(scoring\.timeout_seconds\)"),
    "flood": (flood, Status.TOO_LARGE, "a download has at most 200,000 bytes"),
    "404": (answer("404 Not Found"), Status.HTTP_ERROR, "HTTP 404 Not Found"),
    "503": (answer("503 Later\tplease"), Status.HTTP_UNAVAILABLE, "HTTP 503 Later please"),
    "tag": (answer("200 OK", b"x", "X-Robots-Tag: noai"), Status.REFUSED_ROBOTS, "its X-Robots-Tag says noai"),
    "loop": (redirect("/image"), Status.TOO_MANY_REDIRECTS, "a URL may redirect 5 times"),
    "scheme": (redirect("ftp://a.example/"), Status.REFUSED_SCHEME, "redirected to ftp://a.example/: only http"),
}


def check(fetched: Fetched, status: Status, begins: str) -> None:
    error = fetched.error or ""
    assert fetched.status is status, error
    assert re.match(begins, error), error
    assert not re.search(r"\w(Error|Exception)\b|\n|Errno", error), error
    assert len(error) <= 400


@pytest.mark.parametrize("case", CASES)
def test_the_reason_of_an_image_comes_first(server: HostileServer, case: str) -> None:
    behaviour, status, begins = CASES[case]
    limits = {"read_seconds": 0.3, "timeout_seconds": 1.0, "max_bytes": 200_000}
    check(fetch(server.on("/image", behaviour), **limits), status, begins)


@pytest.mark.parametrize("case", ["reset", "half", "no HTTP", "silence", "503"])
def test_the_reason_of_a_robots_txt_comes_first_and_then_that_it_is_its(server: HostileServer, case: str) -> None:
    behaviour, status, begins = CASES[case]
    server.on("/robots.txt", behaviour)
    fetched = fetch(server.on("/image", answer("200 OK", b"x")), read_seconds=0.3)
    check(fetched, status if status is Status.TIMEOUT else Status.ROBOTS_UNAVAILABLE, begins)
    assert (fetched.error or "").endswith("/robots.txt, which is read first, is not readable")
    assert server.asked["/image"] == 0


def unknown(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_what_is_so_for_any_url_of_a_host_is_said_without_its_robots_txt(
    monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    closed = fetch(f"http://127.0.0.1:{free_port()}/a.png")
    check(closed, Status.CONNECT_FAILED, "the server must take connections; ")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    missing = fetch("http://nobody.invalid/a.png")
    check(missing, Status.UNRESOLVED_HOST, "the host's name has no address; Name or service not known$")
    assert "robots" not in f"{closed.error}{missing.error}"


def test_a_server_without_tls_is_named_so(server: HostileServer) -> None:
    url = server.on("/a", answer("200 OK")).replace("http:", "https:")
    fetched = fetch(url, connect_seconds=0.3)
    check(fetched, Status.TIMEOUT, r"a connection must be made within 0\.3 s \(scoring\.connect_seconds\)")


def test_every_reason_not_to_ask_a_url_begins_with_a_rule() -> None:
    lines = ["a b", "ftp://a.example/", "http://u:p@a.example/", "http://a..b/", "http://a:0/", "http://1.2.3.4.5/"]
    for line in [*lines, "http://[::1%25lo]/", "http://a.example/\x01b", "http://a.example/" + "x" * 9000]:
        target = urls.understand(line.encode())
        assert target is not None
        assert re.match(r"(an?|only) .*\b(must|has|needs|asked)\b.*(; |got)", target.error or ""), target.error


def test_words_of_a_server_are_one_line() -> None:
    assert reasons.clean("  a\r\n\tb \udcff" + "x" * 900).startswith("a b \ufffdx")
    assert len(reasons.clean("x" * 900)) == 300


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b[31mred\x07", "\ufffd[31mred\ufffd"), ("\x9b31m\u202eback", "\ufffd31m\ufffdback")]
)
def test_a_servers_text_is_one_line_that_steers_no_terminal(text: str, shown: str) -> None:
    """Found by make fuzz: the reason of a 503 had the server's escape sequences."""
    assert reasons.clean(text) == shown
