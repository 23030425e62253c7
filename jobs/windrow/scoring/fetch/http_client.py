"""Open the HTTP client. Every limit of aiohttp is set here and listed in docs/limits.md; none is its default."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from windrow.scoring.fetch.addresses import IpNetwork, guarded_socket

HEAD_BYTES = 64 * 1024
"""The most bytes of an answer before its body: status line and all headers. Browsers take 256 KiB, nginx sends 32.
Also the most bytes in a row that frame a chunked body: extensions of chunks, and headers after the last chunk."""
_TEXT = re.compile(rb"[^\r\n]")
_END = re.compile(rb"\n\r?\n")  # of a head; aiohttp takes a line end without \r
_FIRST_CODE, _FIRST_FINAL_CODE = 100, 200
_SMALLEST_HEADER_BYTES = len(b"a:\r\n")
_READ_BYTES = 256 * 1024  # reading pauses when twice as much of a body waits; less costs time with large images
_KEPT_ALIVE_SECONDS = 4.0  # less than the 5 s after which Apache and Node.js close an idle connection
_KNOWN_NAMES = 1000  # addresses of so many names are kept; 256 requests at once need no more
_KNOWN_SECONDS = 10  # short, so that a host that moves is found again
_NEXT_ADDRESS_SECONDS = 0.25  # from one address of a host to the next, as RFC 8305 advises
_NO_ROUNDING = float("inf")  # aiohttp rounds longer deadlines up to whole seconds


class LongHeadError(aiohttp.ClientError):
    """An answer with more bytes around its body than HEAD_BYTES."""

    def __init__(self) -> None:
        super().__init__(f"status line and headers have at most {HEAD_BYTES:,} bytes; got more")


class NoAnswerError(aiohttp.ClientError):
    """The connection ended before the answer's head was complete. After this error aiohttp repeats no request."""


def open_client(
    *,
    at_once: int,
    allowed: Sequence[IpNetwork],
    connect_seconds: float,
    read_seconds: float,
    headers: Mapping[str, str],
    keeps_connections: bool,
) -> aiohttp.ClientSession:
    """Return a client that connects only to allowed addresses, and sends each request once; to be closed by the caller.

    Args:
        at_once: the most connections in use.
        allowed: networks beyond the public internet that may be connected to.
        connect_seconds: deadline of looking a name up and connecting.
        read_seconds: longest silence while an answer arrives.
        headers: of every request.
        keeps_connections: False to make a new connection for each request.
    """
    connector = _Connector(
        limit=at_once,
        limit_per_host=0,  # a host's turns limit that, see politeness.py
        force_close=not keeps_connections,
        **({"keepalive_timeout": _KEPT_ALIVE_SECONDS} if keeps_connections else {}),
        # The system's rules, whatever packages are installed. 1 name is looked up once for all that wait for it.
        resolver=aiohttp.ThreadedResolver(),
        use_dns_cache=True,
        ttl_dns_cache=_KNOWN_SECONDS,
        dns_cache_max_size=_KNOWN_NAMES,
        happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
        interleave=1,  # IPv6 and IPv4 in turn
        timeout_ceil_threshold=_NO_ROUNDING,
        socket_factory=guarded_socket(allowed),
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(
            total=None, connect=connect_seconds, sock_read=read_seconds, sock_connect=None, ceil_threshold=_NO_ROUNDING
        ),
        headers=headers,
        # Decompressing could let a small response grow without bound; images are compressed already.
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        # A proxy from the environment would connect in our place, past the address guard.
        trust_env=False,
        read_bufsize=_READ_BYTES,
        max_line_size=HEAD_BYTES,
        max_field_size=HEAD_BYTES,
        max_headers=HEAD_BYTES // _SMALLEST_HEADER_BYTES,
        middlewares=(_once,),
    )


class _Connector(aiohttp.TCPConnector):
    """A connector whose connections limit a head as a whole; aiohttp limits each header and their number."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        connection: type[ResponseHandler] = _Connection
        self._factory = functools.partial(connection, loop=self._loop)


class _Connection(ResponseHandler):
    """A connection that ends at a head of more than HEAD_BYTES, or at as many without the end of a head or any body.

    A head's bytes are counted as they arrive: status line and headers, each with its line end, and the empty line.
    It also ends at whatever arrives while no answer is awaited: aiohttp would take that for the next URL's answer.
    """

    _around = 0  # bytes since the last progress
    _content = 0  # bytes of the body so far
    _has_begun = False  # whether the newest piece ended a head
    _is_final = False  # whether the answer's head is complete; after a head with a code of 1xx there is another
    _head = b""  # of a head that is not complete, and all that has arrived after it

    @property
    def _received(self) -> int:
        return self._payload.total_bytes if self._payload is not None else 0

    def set_response_params(self, **params: object) -> None:
        """Begin an answer."""
        self._around, self._content = 0, self._received
        self._is_final, self._head = False, b""
        super().set_response_params(**params)  # type: ignore[arg-type]

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take an answer whose head is complete, or end the connection if the head is too large."""
        self._has_begun = True
        self._is_final = not _FIRST_CODE <= data[0].code < _FIRST_FINAL_CODE
        begin = _TEXT.search(self._head)  # aiohttp skips empty lines before the status line
        end = _END.search(self._head, begin.start() if begin else 0)
        length = end.end() if end else len(self._head)
        self._head = self._head[length:]
        if length > HEAD_BYTES:
            self._end()
        else:
            super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived: a head by itself, so that its answer waits for no body that is broken."""
        start = 0
        while not self._is_final and (end := self._head_end(data, start)) > start:
            self._parse(data[start:end])
            if self._exception is not None:
                return
            start = end
        self._parse(data[start:] if start else data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the answer; one that a reset cuts off is not whole, also where only its end would say its length."""
        if exc is not None and self._payload is not None and not self._payload.is_eof():
            self._break_off(exc)
        super().connection_lost(exc)

    def _head_end(self, data: bytes, start: int) -> int:
        """Return the place in `data`, from `start` on, where a head ends and more bytes follow; 0 if there is none."""
        before = len(self._head)
        text = self._head + data if before else data
        begin = _TEXT.search(text, start)
        end = _END.search(text, max(begin.start(), before - 2), len(text) - 1) if begin else None
        return end.end() - before if end else 0

    def _parse(self, data: bytes) -> None:
        if data and self._is_final and self._payload is not None and self._payload.is_eof():
            self.force_close()
            if self.transport is not None:
                self.transport.close()
            return
        self._has_begun = False
        if not self._is_final:
            self._head += data
        super().data_received(data)
        if self._exception is not None:
            self._break_off(self._exception)
        if self._is_final:
            self._head = b""
        content = self._received
        if self._has_begun or content != self._content or self._reading_paused:
            self._around, self._content = len(self._head), content
        else:
            self._around += len(data)
        if self._around > HEAD_BYTES:
            self._end()

    def _break_off(self, reason: BaseException) -> None:
        """Give what reads the body an error, in place of a wait for the deadline.

        That includes a body that ends in a piece with more bytes than its length says: which of the two is right can't
        be known.
        """
        if self._payload is not None:
            error = aiohttp.ClientPayloadError(str(reason))
            error.__cause__ = reason
            self._payload.set_exception(error)

    def _end(self) -> None:
        """End the connection; what waits for the answer or for its body gets a LongHeadError."""
        if self._exception is not None:
            return
        error = LongHeadError()
        self.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)
        if self.transport is not None:
            self.transport.close()


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request; raise NoAnswerError for the errors after which aiohttp would send it a second time by itself.

    The repetition would be a request without the host's turn.
    """
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError):  # nothing was sent, and aiohttp gives up
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise NoAnswerError(str(error)) from error
