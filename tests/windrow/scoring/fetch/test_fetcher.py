"""A fetch against a server that misbehaves: whatever it does becomes a status, and in time."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import MISSING, fields
from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any

import pytest
from harness import predictions
from windrow import __version__
from windrow.experiment import ScoringSection
from windrow.scoring.fetch import fetcher as fetching
from windrow.scoring.fetch.fetcher import Fetched, Fetcher, FetchPolicy
from windrow.scoring.fetch.status import Status

from tests.windrow.scoring.conftest import (
    LOOPBACK,
    HostileServer,
    answer,
    drip,
    flood,
    grey,
    in_turn,
    redirect,
    reset,
    reset_half_way,
    silence,
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries: their lengths are no test's but one."""
    monkeypatch.setattr(fetching, "RETRY_PAUSES_SECONDS", (0.01, 0.02))


def fetch(url: str, *, allow: Sequence[IPv4Network] = LOOPBACK, **policy: Any) -> Fetched:
    usual = {"timeout_seconds": 5.0, "host_rate": None, "robots": False, "allow_addresses": tuple(allow)}

    async def ask() -> Fetched:
        async with Fetcher(predictions.policy(**{**usual, **policy})) as fetcher:
            return await fetcher.fetch(url)

    return asyncio.run(ask())


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name resolves to these addresses, without asking anyone."""

    def look_up(host: str, port: int, *_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_an_image_arrives_with_its_bytes_its_time_and_its_url(server: HostileServer) -> None:
    fetched = fetch(server.file("/a.png", grey(7)))
    assert (fetched.status, fetched.http_status, fetched.content) == (Status.OK, 200, grey(7))
    assert fetched.final_url == server.url("/a.png")
    assert (fetched.milliseconds or 0) > 0


def test_it_says_who_asks_and_wants_no_compression(server: HostileServer) -> None:
    fetch(server.file("/a.png", grey(7)), contact="https://example.com/bot")
    head = server.heads["/a.png"]
    assert f"User-Agent: Windrow/{__version__} (+https://example.com/bot)\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
    assert "Cookie" not in head


@pytest.mark.parametrize(
    ("code", "status", "times"),
    [
        (400, Status.HTTP_ERROR, 1),
        (401, Status.HTTP_ERROR, 1),
        (403, Status.HTTP_ERROR, 1),
        (404, Status.HTTP_ERROR, 1),
        (410, Status.HTTP_ERROR, 1),
        (451, Status.HTTP_ERROR, 1),
        (304, Status.HTTP_ERROR, 1),
        (408, Status.HTTP_UNAVAILABLE, 3),
        (425, Status.HTTP_UNAVAILABLE, 3),
        (429, Status.HTTP_UNAVAILABLE, 1),
        (500, Status.HTTP_UNAVAILABLE, 3),
        (503, Status.HTTP_UNAVAILABLE, 3),
    ],
)
def test_an_http_code_is_final_or_passing(server: HostileServer, code: int, status: Status, times: int) -> None:
    fetched = fetch(server.on("/x", answer(f"{code} Whatever", b"" if code == 304 else b"no")))
    assert (fetched.status, fetched.http_status, server.asked["/x"]) == (status, code, times)
    assert str(code) in (fetched.error or "")
    assert status.passing == (status is Status.HTTP_UNAVAILABLE)


def test_a_server_that_stumbles_once_is_asked_again(server: HostileServer) -> None:
    good = answer("200 OK", grey(7))
    fetched = fetch(server.on("/x", in_turn(answer("500 Oops"), good)))
    assert (fetched.status, fetched.content, server.asked["/x"]) == (Status.OK, grey(7), 2)


@pytest.mark.parametrize("behaviour", [drip, silence], ids=["drip", "silence"])
def test_a_slow_server_costs_its_deadline(server: HostileServer, behaviour: Any) -> None:
    fetched = fetch(server.on("/slow", behaviour), timeout_seconds=0.5)
    assert fetched.status is Status.TIMEOUT
    assert "0.5 s" in (fetched.error or "")
    assert server.asked["/slow"] == 1


def test_a_silent_server_costs_the_read_deadline_if_that_is_shorter(server: HostileServer) -> None:
    fetched = fetch(server.on("/x", silence), read_seconds=0.3)
    assert (fetched.status, server.asked["/x"]) == (Status.TIMEOUT, 1)
    assert "0.3 s (scoring.read_seconds)" in (fetched.error or ""), "and not the whole answer's, five seconds"


def test_a_server_that_accepts_and_shakes_no_hand_costs_the_connect_deadline(server: HostileServer) -> None:
    fetched = fetch(f"https://127.0.0.1:{server.port}/x", connect_seconds=0.3)
    assert fetched.status is Status.TIMEOUT
    assert "0.3 s (scoring.connect_seconds)" in (fetched.error or ""), "and not the whole answer's, five seconds"


def test_what_the_answer_says_about_use_is_kept(server: HostileServer) -> None:
    headers = ("Content-Usage: train-ai=n", "TDM-Reservation: 1")
    found = fetch(server.on("/x", answer("200 OK", grey(7), *headers)))
    assert found.usage == '{"content-usage":"train-ai=n","tdm-reservation":"1"}'
    assert fetch(server.file("/y", grey(7))).usage is None


def test_an_etag_is_kept_as_it_stands(server: HostileServer) -> None:
    assert fetch(server.on("/x", answer("200 OK", grey(7), 'ETag: W/"a,b"'))).etag == 'W/"a,b"'
    assert fetch(server.file("/y", grey(7))).etag is None


def test_the_deadline_counts_all_tries_together(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "RETRY_PAUSES_SECONDS", (0.01, 60))
    fetched = fetch(server.on("/x", answer("503 Later")))
    # The second pause would end after it: it is not begun.
    assert (fetched.status, server.asked["/x"]) == (Status.HTTP_UNAVAILABLE, 2)


def test_the_deadline_counts_all_redirects_together(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=3)  # so long does a request take, by a clock that needs no waiting
    monkeypatch.setattr(fetching, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    server.on("/second", redirect(server.file("/end.png", grey(7))))
    assert fetch(server.on("/first", redirect("/second"))).status is Status.TIMEOUT


def test_an_endless_body_ends_at_the_cap(server: HostileServer) -> None:
    fetched = fetch(server.on("/flood", flood), max_bytes=200_000)
    assert (fetched.status, fetched.content) == (Status.TOO_LARGE, b"")
    assert "200,000" in (fetched.error or "")


def test_a_large_body_is_refused_by_its_announcement(server: HostileServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n"
    fetched = fetch(server.on("/x", head), max_bytes=1_000_000)
    assert fetched.status is Status.TOO_LARGE
    assert "5,000,000,000" in (fetched.error or "")


def test_a_body_of_just_the_cap_is_kept(server: HostileServer) -> None:
    assert fetch(server.file("/x", b"x" * 1000), max_bytes=1000).status is Status.OK
    assert fetch(server.file("/y", b"x" * 1001), max_bytes=1000).status is Status.TOO_LARGE


def test_a_length_that_promises_too_much_is_a_broken_response(server: HostileServer) -> None:
    fetched = fetch(server.on("/x", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"))
    assert fetched.status is Status.BROKEN_RESPONSE


def test_a_length_that_promises_too_little_is_a_broken_response(server: HostileServer) -> None:
    fetched = fetch(server.on("/x", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlonger than that"))
    assert (fetched.status, fetched.content) == (Status.BROKEN_RESPONSE, b"")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (reset, "closed the connection"),
        (b"", "closed the connection"),
        (reset_half_way, "the body must arrive whole"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "65,536|65536"),
        (b"HTTP/1.1 99999999999999999999 OK\r\n\r\n", "the answer must be HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(50_000)) + b"\r\n", "65,536"),
    ],
    ids=["reset", "closed", "reset-half-way", "long-header", "code", "many-headers"],
)
def test_what_is_not_http_is_a_broken_response_after_three_tries(
    server: HostileServer, behaviour: Any, reason: str
) -> None:
    fetched = fetch(server.on("/x", behaviour))
    assert fetched.status is Status.BROKEN_RESPONSE
    assert server.asked["/x"] == 3
    assert Status.BROKEN_RESPONSE.passing
    assert len(fetched.error or "") <= 300
    assert re.search(reason, fetched.error or ""), fetched.error


def test_a_gzip_bomb_is_left_packed(server: HostileServer) -> None:
    import gzip

    bomb = gzip.compress(b"\0" * 50_000_000)
    body = answer("200 OK", bomb, "Content-Encoding: gzip", "Content-Type: image/png")
    fetched = fetch(server.on("/bomb", body), max_bytes=1_000_000)
    assert (fetched.status, fetched.content) == (Status.OK, bomb)


def test_redirects_are_followed_and_their_end_is_noted(server: HostileServer) -> None:
    server.file("/end.png", grey(7))
    server.on("/middle", redirect("end.png", "307 Temporary Redirect"))
    fetched = fetch(server.on("/start", redirect(server.url("/middle"))))
    assert (fetched.status, fetched.final_url) == (Status.OK, server.url("/end.png"))


def test_a_cookie_that_a_host_sets_does_not_go_back(server: HostileServer) -> None:
    server.file("/end.png", grey(7))
    fetch(server.on("/start", answer("302 Found", b"", "Location: /end.png", "Set-Cookie: who=you; Path=/")))
    assert server.asked["/end.png"] == 1
    assert "Cookie" not in server.heads["/end.png"]


def test_a_redirect_is_looked_up_in_robots_txt_too(server: HostileServer) -> None:
    server.file("/robots.txt", b"User-agent: *\nDisallow: /private/", "text/plain")
    server.file("/private/a.png", grey(7))
    fetched = fetch(server.on("/start", redirect("/private/a.png")), robots=True)
    assert (fetched.status, server.asked["/private/a.png"]) == (Status.REFUSED_ROBOTS, 0)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_host_whose_robots_txt_can_not_be_read_is_asked_for_nothing(server: HostileServer, code: int) -> None:
    server.on("/robots.txt", answer(f"{code} Whatever"))
    fetched = fetch(server.file("/a.png", grey(7)), robots=True)
    assert (fetched.status, server.asked["/a.png"]) == (Status.ROBOTS_UNAVAILABLE, 0)
    assert fetched.status.passing


def test_a_crawl_delay_beyond_patience_leaves_a_hosts_next_url_for_later(server: HostileServer) -> None:
    server.file("/robots.txt", b"User-agent: *\nCrawl-delay: 600", "text/plain")
    policy = predictions.policy(timeout_seconds=5, host_rate=None, allow_addresses=LOOPBACK)

    async def ask_both() -> list[Status]:
        async with Fetcher(policy) as fetcher:
            return [(await fetcher.fetch(server.file(path, grey(7)))).status for path in ("/a.png", "/b.png")]

    assert asyncio.run(ask_both()) == [Status.OK, Status.HOST_UNAVAILABLE]
    assert server.asked["/b.png"] == 0


def test_a_redirect_loop_ends_after_five_hops(server: HostileServer) -> None:
    fetched = fetch(server.on("/loop", redirect("/loop")))
    assert (fetched.status, server.asked["/loop"]) == (Status.TOO_MANY_REDIRECTS, 6)


@pytest.mark.parametrize(
    ("location", "status"),
    [
        ("file:///etc/passwd", Status.REFUSED_SCHEME),
        ("ftp://127.0.0.1/a.png", Status.REFUSED_SCHEME),
        ("data:image/png;base64,AAAA", Status.REFUSED_SCHEME),
        ("http://user:secret@127.0.0.1/", Status.REFUSED_CREDENTIALS),
        ("http://127.0.0.1:99999/", Status.INVALID_URL),
        ("http://[::1", Status.INVALID_URL),
        ("http://127.256.256.256/", Status.INVALID_URL),
    ],
)
def test_a_redirect_passes_the_same_checks_as_a_feed(server: HostileServer, location: str, status: Status) -> None:
    fetched = fetch(server.on("/x", redirect(location)))
    assert (fetched.status, fetched.http_status) == (status, 302)
    assert "redirected" in (fetched.error or "")
    assert "secret" not in repr(fetched)


@pytest.mark.parametrize("code", ["300 Multiple Choices", "302 Found"])
def test_a_redirect_to_nowhere_is_an_http_error(server: HostileServer, code: str) -> None:
    assert fetch(server.on("/x", answer(code, b"choose"))).status is Status.HTTP_ERROR


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:169.254.169.254]", "[2002:a9fe:a9fe::]", "0.0.0.0"],
)
def test_an_address_is_refused_before_any_connect(connects: list[str], host: str) -> None:
    fetched = fetch(f"http://{host}/latest/meta-data", allow=())
    assert (fetched.status, connects) == (Status.REFUSED_ADDRESS, [])
    assert host.strip("[]") in (fetched.error or "")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("2852039166", Status.INVALID_URL),
        ("0251.0376.0251.0376", Status.INVALID_URL),
        ("127.1", Status.INVALID_URL),
        ("0xa9fea9fe", Status.REFUSED_ADDRESS),
    ],
)
def test_an_odd_spelling_of_an_address_leads_nowhere_even_past_the_feed(
    connects: list[str], host: str, status: Status
) -> None:
    # The feed refuses these already; the system's look-up would turn them into addresses without asking anyone.
    fetched = fetch(f"http://{host}/", allow=())
    assert (fetched.status, connects) == (status, [])


def test_a_name_that_leads_inside_is_refused_before_any_connect(
    monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    resolving(monkeypatch, "10.0.0.5", "fd00::5")
    fetched = fetch("http://innocent.example/", allow=())
    assert (fetched.status, connects) == (Status.REFUSED_ADDRESS, [])


@pytest.mark.parametrize(
    "host",
    [
        *("some-name-.example", "-a.example", "_my_host_.example", "xn--a.example", "a--.b."),
        *("a!b.com", "a,b.example", "a~b.c", "!\"$&'()*+,-;=_`{}~.example"),
    ],
)
def test_a_name_that_the_dns_can_hold_is_asked(
    monkeypatch: pytest.MonkeyPatch, server: HostileServer, host: str
) -> None:
    resolving(monkeypatch, "127.0.0.1")
    server.file("/a.png", grey(7))
    assert fetch(f"http://{host}:{server.port}/a.png").status is Status.OK
    assert f"Host: {host.rstrip('.')}:{server.port}" in server.heads["/a.png"]


def test_of_a_name_with_two_addresses_only_the_allowed_one_is_asked(
    monkeypatch: pytest.MonkeyPatch, server: HostileServer
) -> None:
    resolving(monkeypatch, "::1", "127.0.0.1")
    server.file("/a.png", grey(7))
    assert fetch(f"http://both.example:{server.port}/a.png").status is Status.OK


def test_a_redirect_to_a_refused_address_is_refused_before_any_connect(
    connects: list[str], server: HostileServer
) -> None:
    fetched = fetch(server.on("/x", redirect("http://169.254.169.254/latest/meta-data")))
    assert (fetched.status, connects) == (Status.REFUSED_ADDRESS, ["127.0.0.1"])
    assert fetched.final_url == "http://169.254.169.254/latest/meta-data"


def test_a_name_that_changes_between_look_ups_is_checked_at_each_connect(
    monkeypatch: pytest.MonkeyPatch, connects: list[str], server: HostileServer
) -> None:
    def turn(connection: socket.socket) -> None:
        resolving(monkeypatch, "10.0.0.5")
        connection.sendall(redirect(f"http://other.example:{server.port}/x"))

    resolving(monkeypatch, "127.0.0.1")
    server.on("/x", turn)
    fetched = fetch(f"http://rebinding.example:{server.port}/x")
    assert (fetched.status, connects) == (Status.REFUSED_ADDRESS, ["127.0.0.1"])


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, server: HostileServer) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert fetch(server.file("/a.png", grey(7))).status is Status.OK


def test_a_closed_port_is_a_failed_connection(free_port: Any) -> None:
    fetched = fetch(f"http://127.0.0.1:{free_port()}/")
    assert fetched.status is Status.CONNECT_FAILED
    assert Status.CONNECT_FAILED.passing


def test_a_name_without_an_address_is_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fetched = fetch("http://images.digits.invalid/0.png")
    assert fetched.status is Status.UNRESOLVED_HOST
    assert "Name or service not known" in (fetched.error or "")


def test_as_many_are_asked_at_once_as_a_host_may_be(server: HostileServer) -> None:
    together = threading.Barrier(16, timeout=30)

    def once_all_are_there(connection: socket.socket) -> None:
        together.wait()
        connection.sendall(answer("200 OK", grey(7)))

    async def ask_all() -> list[Fetched]:
        policy = predictions.policy(timeout_seconds=20, host_concurrency=16, host_rate=None, allow_addresses=LOOPBACK)
        async with Fetcher(policy) as fetcher:
            return await asyncio.gather(*(fetcher.fetch(server.on(f"/{n}", once_all_are_there)) for n in range(16)))

    assert {fetched.status for fetched in asyncio.run(ask_all())} == {Status.OK}


def test_the_policy_of_a_page_has_every_limit_of_its_scoring_section() -> None:
    page = ScoringSection(feed="x", timeout_seconds=1.5, host_rate=None, robots=False, contact="me@example.com")
    limits = FetchPolicy.of(page)
    assert (limits.timeout_seconds, limits.host_rate, limits.robots, limits.contact) == (1.5, None, False, page.contact)
    assert (limits.max_bytes, limits.concurrency) == (page.max_bytes, page.concurrency)
    assert not [field.name for field in fields(FetchPolicy) if field.default is not MISSING and field.name != "sharing"]
