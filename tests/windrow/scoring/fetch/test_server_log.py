"""What a server's own log says about a run: one request a turn, the host's limits, and no good URL left out."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from harness import predictions
from windrow.scoring.fetch import fetcher as fetching
from windrow.scoring.fetch.fetcher import Fetched, Fetcher
from windrow.scoring.fetch.status import Status

from tests.windrow.scoring.conftest import (
    LOOPBACK,
    Behaviour,
    HostileServer,
    answer,
    grey,
    in_turn,
    redirect,
    reset,
    reset_half_way,
    silence,
)

GOOD = grey(7)
KEPT = f"HTTP/1.1 200 OK\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "RETRY_PAUSES_SECONDS", (0.01, 0.02))


def fetch_all(urls: list[str], **limits: Any) -> dict[str, Fetched]:
    """The outcomes of a run over these URLs, which begin in this order."""
    usual = {"timeout_seconds": 10.0, "host_rate": None, "robots": False, "allow_addresses": LOOPBACK}

    async def ask() -> list[Fetched]:
        async with Fetcher(predictions.policy(**{**usual, **limits})) as fetcher:
            return await asyncio.gather(*map(fetcher.fetch, urls))

    return dict(zip(urls, asyncio.run(ask()), strict=True))


def gaps(server: HostileServer) -> list[float]:
    """Seconds between one request and the next."""
    moments = [moment for moment, _ in server.log]
    return [after - before for before, after in itertools.pairwise(moments)]


def truncated(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")


BROKEN: dict[str, tuple[Behaviour | bytes, Status, int]] = {
    "reset": (reset, Status.BROKEN_RESPONSE, 3),
    "closed": (b"", Status.BROKEN_RESPONSE, 3),
    "truncated": (truncated, Status.BROKEN_RESPONSE, 3),
    "reset half way": (reset_half_way, Status.BROKEN_RESPONSE, 3),
    "500": (answer("500 Oops"), Status.HTTP_UNAVAILABLE, 3),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", Status.BROKEN_RESPONSE, 3),
    "silence": (silence, Status.TIMEOUT, 1),
}


@pytest.mark.parametrize("way", [way for way in BROKEN if way != "silence"])
def test_each_try_is_one_request_and_each_request_waits_its_turn(server: HostileServer, way: str) -> None:
    behaviour, status, tries = BROKEN[way]
    urls = [server.on(f"/{number}", behaviour) for number in range(3)]
    fetched = fetch_all(urls, host_rate=20, host_concurrency=2)
    assert {one.status for one in fetched.values()} == {status}
    assert server.asked == {f"/{number}": tries for number in range(3)}
    # Each is at least a twentieth of a second after the one before, but for the time that a packet takes.
    assert sum(gaps(server)) >= 0.9 * (len(server.log) - 1) / 20


def test_a_connection_that_was_kept_and_then_closed_costs_one_request_more_in_a_turn_of_its_own(
    server: HostileServer,
) -> None:
    def answer_once(connection: socket.socket) -> None:
        connection.sendall(KEPT)
        head = connection.recv(65_536)  # the second request on this connection gets no answer
        if head:
            server.log.append((time.monotonic(), head.split(b" ")[1].decode()))

    urls = [server.on(f"/{number}", answer_once) for number in range(4)]
    fetched = fetch_all(urls, host_rate=20, host_concurrency=1)
    assert {one.status for one in fetched.values()} == {Status.OK}
    seen = Counter(path for _, path in server.log)
    # A second try is on a new connection, so it is answered.
    assert len(seen) == 4
    assert set(seen.values()) == {1, 2}
    assert sum(gaps(server)) >= 0.9 * (len(server.log) - 1) / 20


def test_no_more_requests_are_open_than_the_host_may_have_whatever_fails(server: HostileServer) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def counted(end: Callable[[socket.socket], None]) -> Behaviour:
        def serve(connection: socket.socket) -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1
            end(connection)

        return serve

    good = counted(lambda connection: connection.sendall(answer("200 OK", GOOD)))
    on = counted(lambda connection: connection.sendall(redirect("/good")))
    server.on("/good", good)
    ways = [good, counted(reset), on, counted(truncated)]
    fetch_all([server.on(f"/{number}", ways[number % 4]) for number in range(24)], host_concurrency=3)
    assert most == 3


def test_the_rate_holds_for_requests_that_have_waited_for_a_connection(server: HostileServer) -> None:
    def busy(connection: socket.socket) -> None:
        time.sleep(0.8)
        connection.sendall(answer("200 OK", GOOD))

    # Another host holds all of the task's requests while moments of this one come and go.
    slow = [server.on(f"/slow/{number}", busy).replace("127.0.0.1", "localhost") for number in range(2)]
    urls = [server.file(f"/{number}", GOOD) for number in range(5)]
    fetched = fetch_all([*slow, *urls], host_rate=5, host_concurrency=4, concurrency=2)
    assert {one.status for one in fetched.values()} == {Status.OK}
    moments = [moment for moment, path in server.log if not path.startswith("/slow")]
    assert min(later - first for first, later in zip(moments, moments[2:], strict=False)) >= 0.5 * 2 / 5


def test_the_rate_holds_for_requests_that_have_waited_for_memory(server: HostileServer) -> None:
    urls = [server.file(f"/{number}", GOOD) for number in range(6)]

    async def ask() -> None:
        room = asyncio.Event()  # the network is behind: no download may begin
        policy = predictions.policy(host_rate=20, host_concurrency=4, robots=False, allow_addresses=LOOPBACK)
        async with Fetcher(policy, room) as fetcher:
            fetches = [asyncio.create_task(fetcher.fetch(url)) for url in urls]
            await asyncio.sleep(0.4)
            room.set()
            await asyncio.gather(*fetches)

    asyncio.run(ask())
    assert len(server.log) == 6
    assert sum(gaps(server)) >= 0.9 * 5 * 0.05


@pytest.mark.parametrize("cut", [None, 5, -5], ids=["whole", "its beginning", "without its end"])
@pytest.mark.parametrize("first", ["200 OK", "204 No Content", "404 Not Found"])
def test_what_a_server_sends_unasked_is_no_answer_to_the_next_url(
    server: HostileServer, first: str, cut: int | None
) -> None:
    unasked = KEPT.replace(GOOD, grey(200))

    def serve(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {first}\r\n\r\n".encode()
        connection.sendall(
            KEPT if first == "200 OK" else head if "204" in first else KEPT.replace(b"200 OK", b"404 No")
        )
        time.sleep(0.05)
        connection.sendall(unasked[:cut])
        time.sleep(0.5)  # it stays open

    urls = [server.on("/first", serve), server.file("/second", GOOD)]
    second = fetch_all(urls, host_rate=5, host_concurrency=1)[urls[1]]
    assert (second.status, second.content == GOOD) == (Status.OK, True)
    assert server.asked == {"/first": 1, "/second": 1}


def test_a_url_that_leads_to_a_host_whose_robots_txt_fails_is_asked_once(server: HostileServer, free_port: Any) -> None:
    dead = f"http://localhost:{free_port()}"
    urls = [server.on(f"/{number}", redirect(f"{dead}/{number}")) for number in range(3)]
    fetched = fetch_all(urls, robots=True)
    assert {one.status for one in fetched.values()} == {Status.CONNECT_FAILED}
    assert server.asked == {"/robots.txt": 1, "/0": 1, "/1": 1, "/2": 1}


def test_a_crawl_delay_holds_for_redirects_and_second_tries(server: HostileServer) -> None:
    server.file("/robots.txt", b"User-agent: *\nCrawl-delay: 0.1", "text/plain")
    server.file("/end", GOOD)
    server.on("/hop", redirect("/end"))
    urls = [server.on("/start", redirect("/hop")), server.on("/x", in_turn(answer("500 Oops"), answer("200 OK", GOOD)))]
    fetched = fetch_all(urls, robots=True)
    assert {one.status for one in fetched.values()} == {Status.OK}
    assert server.asked == {"/robots.txt": 1, "/start": 1, "/hop": 1, "/end": 1, "/x": 2}
    images = [moment for moment, path in server.log if path != "/robots.txt"]
    assert images[-1] - images[0] >= 0.9 * 4 * 0.1


@pytest.mark.parametrize("way", BROKEN)
@pytest.mark.parametrize("place", ["first", "among the others", "last"])
def test_the_good_urls_of_a_partly_broken_host_are_all_asked(server: HostileServer, way: str, place: str) -> None:
    behaviour, status, tries = BROKEN[way]
    server.file("/end", GOOD)
    server.on("/hop2", redirect("/end"))
    server.on("/hop1", redirect("/hop2"))
    good = [server.file(f"/good/{number}", GOOD) for number in range(300)]
    broken = [server.on(f"/broken/{number}", behaviour) for number in range(15)]
    moved = [server.on(f"/moved/{number}", redirect("/hop1")) for number in range(20)]
    lost = [server.url(f"/lost/{number}") for number in range(20)]
    around = [*good, *moved, *lost]
    at = {"first": 0, "among the others": 150, "last": len(around)}[place]
    # Only silence needs a short deadline, and good URLs one that a busy machine keeps.
    limits = {"timeout_seconds": 30.0, "read_seconds": 1.0 if way == "silence" else 30.0}
    fetched = fetch_all([*around[:at], *broken, *around[at:]], **limits)
    assert Counter(fetched[url].status for url in [*good, *moved]) == {Status.OK: 320}
    assert Counter(fetched[url].status for url in lost) == {Status.HTTP_ERROR: 20}
    if place != "last":  # where nothing else is left, the last ones may be put off
        assert Counter(fetched[url].status for url in broken) == {status: 15}
        assert {server.asked[f"/broken/{number}"] for number in range(15)} == {tries}


def test_second_tries_do_not_gather_at_the_end(server: HostileServer) -> None:
    for number in range(100):
        server.on(f"/{number}", answer("500 Oops") if number % 10 == 0 else answer("200 OK", GOOD))
    fetch_all([server.url(f"/{number}") for number in range(100)], host_rate=300)
    places: dict[str, list[int]] = {}
    for place, (_, path) in enumerate(server.log):
        places.setdefault(path, []).append(place)
    spans = [each[-1] - each[0] for each in places.values() if len(each) > 1]
    assert len(spans) == 10
    # Two pauses of some hundredths of a second, in which others are asked; not the whole queue.
    assert max(spans) < 60


def test_half_of_a_hosts_urls_may_fail(server: HostileServer) -> None:
    ways = [reset, answer("503 Later"), truncated, b""]
    for number in range(200):
        server.on(f"/{number}", answer("200 OK", GOOD) if number % 2 else ways[number // 2 % 4])
    fetched = fetch_all([server.url(f"/{number}") for number in range(200)])
    assert Counter(one.status for one in fetched.values())[Status.OK] == 100
    assert Status.HOST_UNAVAILABLE not in {one.status for one in fetched.values()}


def test_a_host_that_dies_is_given_up_soon(server: HostileServer) -> None:
    urls = [server.on(f"/{number}", answer("200 OK", GOOD) if number < 100 else b"") for number in range(300)]
    statuses = Counter(one.status for one in fetch_all(urls, host_rate=400).values())
    assert statuses[Status.OK] == 100
    # Those that wait for a second try when it is given up have failed as well.
    assert 10 <= statuses[Status.BROKEN_RESPONSE] <= 50
    assert statuses[Status.HOST_UNAVAILABLE] == 200 - statuses[Status.BROKEN_RESPONSE]


def test_a_redirect_loop_is_no_failure_of_the_host(server: HostileServer) -> None:
    urls = [server.on(f"/loop/{number}", redirect(f"/loop/{number}")) for number in range(30)]
    urls.append(server.file("/good", GOOD))
    statuses = Counter(one.status for one in fetch_all(urls).values())
    assert statuses == {Status.TOO_MANY_REDIRECTS: 30, Status.OK: 1}
