"""An answer that is whole counts; one that breaks off does not, however it does, and is known at once.

Each answer is sent in one piece, and in pieces of which each is read by itself.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from harness import predictions
from windrow.scoring.fetch import fetcher as fetching
from windrow.scoring.fetch.fetcher import Fetched, Fetcher
from windrow.scoring.fetch.status import Status

from tests.windrow.scoring.conftest import LOOPBACK, HostileServer, grey, reset

IMAGE = grey(7)
SIZE = len(IMAGE)
LENGTH = f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_END = b"HTTP/1.0 200 OK\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (SIZE, IMAGE)
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "RETRY_PAUSES_SECONDS", (0.01, 0.02))


def fetch(server: HostileServer, pieces: tuple[bytes, ...], *, apart: bool, is_reset: bool = False) -> Fetched:
    def serve(connection: socket.socket) -> None:
        for piece in pieces if apart else [b"".join(pieces)]:
            connection.sendall(piece)
            time.sleep(0.03)
        if is_reset:
            reset(connection)
        elif apart:
            connection.recv(1)  # it stays open, until the other end closes it

    async def ask() -> Fetched:
        policy: dict[str, Any] = {"robots": False, "host_rate": None, "allow_addresses": LOOPBACK}
        async with Fetcher(predictions.policy(**policy)) as fetcher:
            return await fetcher.fetch(server.on("/a", serve))

    return asyncio.run(ask())


WHOLE = {
    "a newline after the body": (LENGTH, IMAGE + b"\n"),
    "hints before the answer": (HINTS, HINTS, LENGTH, IMAGE),
    "lines without a carriage return": (HINTS.replace(b"\r", b""), LENGTH.replace(b"\r", b""), IMAGE),
    "empty lines before the answer": (b"\r\n\r\n", LENGTH, IMAGE),
    "a head in pieces": (LENGTH[:9], LENGTH[9:-3], LENGTH[-3:-1], LENGTH[-1:] + IMAGE),
}


@pytest.mark.parametrize("apart", [False, True], ids=["one piece", "pieces"])
@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_answer_counts_whatever_is_around_it(server: HostileServer, case: str, apart: bool) -> None:
    fetched = fetch(server, WHOLE[case], apart=apart)
    assert (fetched.status, fetched.content, server.asked["/a"]) == (Status.OK, IMAGE, 1)


MORE = {
    "a blank": b" ",
    "a page": b"<!-- cached -->",
    "half a head": LENGTH[:10] + b"\0",
}


@pytest.mark.parametrize("case", MORE)
def test_more_bytes_than_the_length_says_are_a_broken_response_if_they_come_with_the_body(
    server: HostileServer, case: str
) -> None:
    fetched = fetch(server, (LENGTH, IMAGE + MORE[case]), apart=False)
    assert (fetched.status, server.asked["/a"]) == (Status.BROKEN_RESPONSE, 3)


@pytest.mark.parametrize("case", MORE)
def test_an_image_that_is_whole_counts_if_more_bytes_come_later(server: HostileServer, case: str) -> None:
    fetched = fetch(server, (LENGTH, IMAGE, MORE[case]), apart=True)
    assert (fetched.status, fetched.content, server.asked["/a"]) == (Status.OK, IMAGE, 1)


BROKEN = {
    "a chunk whose size is no number": (CHUNKED, b"%x\r\n" % SIZE + IMAGE[:9], IMAGE[9:] + b"\r\n", b"-1\r\n"),
    "a chunk whose size ends without a carriage return": (CHUNKED, b"%x\n" % SIZE, IMAGE),
    "a chunk that is longer than it says": (CHUNKED, b"3\r\n" + IMAGE),
    "a chunk whose size fits no number": (CHUNKED, b"F" * 17 + b"\r\n"),
}


@pytest.mark.parametrize("apart", [False, True], ids=["one piece", "pieces"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_body_is_known_at_once_and_tried_again(server: HostileServer, case: str, apart: bool) -> None:
    fetched = fetch(server, BROKEN[case], apart=apart)
    assert (fetched.status, server.asked["/a"]) == (Status.BROKEN_RESPONSE, 3)
    assert "chunk" in (fetched.error or "").lower()


CUT = {
    "a length": (LENGTH, IMAGE[:20]),
    "chunks": (CHUNKED, CHUNK),
    "its end alone": (UNTIL_END, IMAGE[:20]),
    "its end alone, and no byte": (UNTIL_END,),
}


@pytest.mark.parametrize("apart", [False, True], ids=["one piece", "pieces"])
@pytest.mark.parametrize("case", CUT)
def test_a_body_that_a_reset_cuts_off_is_not_whole(server: HostileServer, case: str, apart: bool) -> None:
    fetched = fetch(server, CUT[case], apart=apart, is_reset=True)
    assert (fetched.status, server.asked["/a"]) == (Status.BROKEN_RESPONSE, 3)
    assert fetched.error == "the body must arrive whole; Connection reset by peer"
