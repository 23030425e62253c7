"""Make one request: the only place that contacts a host. Imports neither TensorFlow nor Spark."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

import windrow
from windrow.scoring.fetch import robots, status, usage
from windrow.scoring.fetch.addresses import IpNetwork
from windrow.scoring.fetch.http_client import open_client
from windrow.scoring.fetch.politeness import ALONE, Sharing, retry_after
from windrow.scoring.fetch.reasons import clean, explain
from windrow.scoring.fetch.status import Status

if TYPE_CHECKING:
    from windrow.experiment import ScoringSection

_CHUNK_BYTES = 65_536
# A body may grow to this size. To grow beyond it, it waits for a part of the memory that all large bodies share.
_SMALL_BYTES = 1024 * 1024
_LARGE_BODIES_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class FetchPolicy:
    """The page's limits for downloads, as they apply to one task.

    Every field but `sharing` is a key of the page's scoring section, where its meaning and its default are defined.
    """

    timeout_seconds: float
    connect_seconds: float
    read_seconds: float
    max_bytes: int
    concurrency: int
    host_concurrency: int
    host_rate: float | None
    robots: bool
    allow_addresses: tuple[IpNetwork, ...]
    contact: str | None
    sharing: Sharing = ALONE

    @classmethod
    def of(cls, section: ScoringSection) -> FetchPolicy:
        """Return the policy that a page's scoring section describes, for a task that shares no host."""
        return cls(**{field.name: getattr(section, field.name) for field in fields(cls) if field.name != "sharing"})

    @property
    def user_agent(self) -> str:
        """The User-Agent header: this program, and the page's contact."""
        return f"{robots.AGENT}/{windrow.__version__}" + (f" (+{self.contact})" if self.contact else "")


@dataclass(frozen=True)
class Fetched:
    """The outcome of a download.

    Attributes:
        status: OK, or the reason why the download failed.
        final_url: the last URL that was requested.
        http_status: the answer's code; None without an answer.
        content: the bytes; empty unless the status is OK.
        error: the reason as a message for the user; None if the status is OK.
        milliseconds: the time of all tries and redirects, which `Fetcher.fetch` sets; None if no host was contacted.
        etag: the ETag header; None without one.
        usage: what the headers say about the use of the content, see usage.py; None if nothing.
        next_attempt: when the host asked to be contacted again; None if it did not ask.
    """

    status: Status
    final_url: str | None = None
    http_status: int | None = None
    content: bytes = b""
    error: str | None = None
    milliseconds: float | None = None
    etag: str | None = None
    usage: str | None = None
    next_attempt: datetime | None = None


@dataclass(frozen=True)
class Redirect:
    """An answer that points to another URL."""

    http_status: int
    location: str


class Session:
    """An aiohttp session that connects only to allowed addresses.

    Use it as an async context manager, inside one event loop.
    """

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._large = _Allowance(_LARGE_BODIES_BYTES)
        self._client: aiohttp.ClientSession
        self._fresh: aiohttp.ClientSession  # a new connection for each request

    async def __aenter__(self) -> Session:
        policy = self._policy
        self._client, self._fresh = (
            open_client(
                at_once=policy.concurrency,
                allowed=policy.allow_addresses,
                connect_seconds=policy.connect_seconds,
                read_seconds=policy.read_seconds,
                headers={"User-Agent": policy.user_agent, "Accept": "image/*", "Accept-Encoding": "identity"},
                keeps_connections=keeps,
            )
            for keeps in (True, False)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        await self._fresh.close()

    async def ask(self, url: str, *, image: bool = True, again: bool = False) -> Fetched | Redirect:
        """Make one request; return its outcome, or the redirect. A network error becomes an outcome.

        Args:
            url: normalised.
            image: False for robots.txt: its body is cut off at a limit, and X-Robots-Tag is ignored.
            again: True for a second try, on a new connection: the server may have closed the ones that were kept.
        """
        headers = None if image else {"Accept": "text/plain, */*;q=0.1"}
        try:
            client = self._fresh if again else self._client
            async with client.get(URL(url, encoded=True), allow_redirects=False, headers=headers) as response:
                location = response.headers.get("Location")
                if 300 <= response.status < 400 and location is not None:
                    return Redirect(response.status, location)
                return _refused(response, url, image and self._policy.robots) or await self._read(response, url, image)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reached, reason = explain(error, self._policy.connect_seconds, self._policy.read_seconds)
            return Fetched(reached, url, error=reason)

    async def _read(self, response: aiohttp.ClientResponse, url: str, image: bool) -> Fetched:
        """Read the body and return the outcome.

        An image beyond the page's size limit is refused, and a robots.txt is cut off at a limit of its own.
        """
        cap = self._policy.max_bytes if image else robots.MAX_BYTES
        announced = response.content_length or 0
        if image and announced > cap:
            return _too_large(url, response.status, cap, announced)
        body = bytearray()
        chunks = response.content.iter_chunked(_CHUNK_BYTES)
        await _fill(body, chunks, min(cap, _SMALL_BYTES))
        if len(body) > _SMALL_BYTES:
            async with self._large.part(announced or cap):
                await _fill(body, chunks, cap)
        if image and len(body) > cap:
            return _too_large(url, response.status, cap, len(body))
        etag = response.headers.get("ETag")
        told = usage.stated(response.headers) if image else None
        return Fetched(Status.OK, url, response.status, bytes(body[:cap]), etag=etag and clean(etag), usage=told)


async def _fill(body: bytearray, chunks: AsyncIterator[bytes], limit: int) -> None:
    """Append chunks to `body` until there are no more, or `body` is larger than `limit`."""
    while len(body) <= limit and (chunk := await anext(chunks, b"")):
        body += chunk


class _Allowance:
    """Memory that large bodies share, in bytes. A body that would need more than all of it takes all of it."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def part(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free, and take them while the block runs."""
        size = min(size, self._size)
        while self._free < size:
            self._freed.clear()
            await self._freed.wait()
        self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._freed.set()


def _refused(response: aiohttp.ClientResponse, url: str, tags: bool) -> Fetched | None:
    """Return a refusal if the status code or a header shows that the body is useless or forbidden; else None."""
    code = response.status
    reached = status.of_http(code)
    if reached is not Status.OK:
        wanted = retry_after(response.headers.get("Retry-After")) if reached is Status.HTTP_UNAVAILABLE else None
        return Fetched(reached, url, code, error=clean(f"HTTP {code} {response.reason or ''}"), next_attempt=wanted)
    directive = robots.forbidden_by(response.headers.getall("X-Robots-Tag", [])) if tags else None
    if directive is not None:
        return Fetched(Status.REFUSED_ROBOTS, url, code, error=f"its X-Robots-Tag says {directive}")
    return None


def _too_large(url: str, code: int, cap: int, size: int) -> Fetched:
    return Fetched(Status.TOO_LARGE, url, code, error=f"a download has at most {cap:,} bytes; got {size:,} or more")
