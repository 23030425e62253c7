"""Whatever a server answers is one outcome of one request: a body within its limit, a redirect, or a status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network

from windrow.scoring.fetch.request import Fetched, FetchPolicy, Redirect, Session
from windrow.scoring.fetch.status import Status

from fuzz.bounds import bounded, lowered

LONGEST = 3000
TOKENS = [
    *(
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 ",
        "HTTP/2 ",
        " 100 ",
        " 204 ",
        " 206 ",
        " 302 ",
        " 304 ",
        " 429 ",
        " 503 ",
        "\r\n\r\n",
    ),
    *(
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "Content-Encoding: gzip\r\n",
        "Location: ",
        "ETag: ",
        "\r\n ",
    ),
    *(
        "Retry-After: ",
        "X-Robots-Tag: noai\r\n",
        "Connection: close\r\n",
        "Upgrade: h2c\r\n",
        "Content-Type: image/png\r\n",
    ),
    *(
        "99999999999999999999",
        "-1",
        "Fri, 27 Nov 2026 20:00:00 GMT",
        "1e9",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "\x1b[31m",
    ),
]
_LOW = {
    "windrow.scoring.fetch.http_client.HEAD_BYTES": 400,
    "windrow.scoring.fetch.request._CHUNK_BYTES": 100,
    "windrow.scoring.fetch.request._SMALL_BYTES": 300,
    "windrow.scoring.fetch.robots.MAX_BYTES": 600,
}
_OK = b"HTTP/1.1 200 OK\r\n"
_MAX_BYTES = 2000


def _seeds() -> Iterator[bytes]:
    yield _OK + b'Content-Length: 5\r\nContent-Type: image/png\r\nETag: "a"\r\n\r\nhello'
    yield _OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"
    yield _OK + b"Connection: close\r\n\r\nto the end"
    yield _OK + b"Content-Length: 9000000000\r\n\r\n"
    yield _OK + b"Content-Length: 5\r\nX-Robots-Tag: googlebot: noindex\r\nX-Robots-Tag: noai\r\n\r\nhello"
    yield b"HTTP/1.1 302 Found\r\nLocation: http://b.example/caf\xe9\r\nContent-Length: 0\r\n\r\n"
    yield b"HTTP/1.1 429 Too Many\r\nRetry-After: Fri, 27 Nov 2026 20:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    yield b"HTTP/1.1 503 \x1b[31m\xff\r\nRetry-After: 99999999999999\r\n\r\n"
    yield b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + b"Content-Length: 1\r\n\r\nx"
    yield b"HTTP/1.0 404 Not Found\nContent-Length: 1\n\nx"
    yield _OK + b"X: " + b"y" * 400 + b"\r\n\r\n"
    yield b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 9 + _OK + b"Content-Length: 0\r\n\r\n"
    yield _OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 450 + b"\r\na\r\n0\r\n\r\n"
    yield _OK + b"Connection: close\r\n\r\n" + b"x" * 700
    yield _OK + b"Content-Length: 2001\r\n\r\n" + b"x" * 2001
    yield from (
        b"",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"<html>",
    )


SEEDS = list(_seeds())


class _Server:
    """A server that answers every request with the same bytes, and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.requests = 0

    async def ask(self) -> list[Fetched | Redirect]:
        """Ask for an image, once more on another connection, and for a robots.txt."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server, Session(_POLICY) as session:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.png"
            return [await session.ask(url), await session.ask(url, again=True), await session.ask(url, image=False)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            writer.write(self._answer)
            await writer.drain()
        writer.close()


_POLICY = FetchPolicy(
    timeout_seconds=20.0,
    connect_seconds=10.0,
    read_seconds=10.0,
    max_bytes=_MAX_BYTES,
    concurrency=2,
    host_concurrency=2,
    host_rate=None,
    robots=True,
    allow_addresses=(ip_network("127.0.0.0/8"),),
    contact=None,
)


def check(data: bytes) -> None:
    """Answer three requests with the bytes; those with an odd length meet low limits."""
    server = _Server(data)
    with lowered(_LOW, len(data) % 2 == 1), bounded(mebibytes=100, seconds=3):
        answers = asyncio.run(server.ask())
    assert server.requests == len(answers), "a request is made once"
    for answer in answers:
        if isinstance(answer, Redirect):
            assert 300 <= answer.http_status < 400
        else:
            _check_outcome(answer)


def _check_outcome(answer: Fetched) -> None:
    assert answer.status in Status
    assert (answer.status is Status.OK) == (answer.error is None), answer
    assert answer.status is Status.OK or not answer.content
    assert answer.status in (Status.OK, Status.TOO_LARGE) or len(answer.content) <= 500 * 1024
    for text in (answer.error, answer.etag):
        (text or "").encode()
        assert (text or "").isprintable(), text
        assert len(text or "") <= 400, text
    if answer.next_attempt is not None:
        answer.next_attempt.isoformat()
