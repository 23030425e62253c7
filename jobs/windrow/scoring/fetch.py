"""One URL downloaded, or the reason why not. Imports neither TensorFlow nor Spark.

    async with Fetcher(FetchPolicy(timeout_seconds=20)) as fetcher:
        fetched = await fetcher.fetch("http://example.com/a.png")

Addresses are checked when a connection is made, so names that resolve to something else a moment later, and redirects,
are checked too. Redirects are followed by hand for the same reason.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from types import TracebackType
from urllib.parse import urljoin

import aiohttp
from yarl import URL

import windrow
from windrow.scoring import status, urls
from windrow.scoring.addresses import Network, RefusedAddressError, guarded_socket
from windrow.scoring.status import Status

MAX_REDIRECTS = 5
RETRY_PAUSES_SECONDS = (0.2, 0.8)
_RETRIED = frozenset({Status.CONNECT_FAILED, Status.BROKEN_RESPONSE, Status.HTTP_UNAVAILABLE})
_TOO_MANY_REQUESTS = 429
_CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class FetchPolicy:
    """How hosts are asked; the page's scoring section says what each value means."""

    timeout_seconds: float = 20.0
    max_bytes: int = 20_000_000
    concurrency: int = 16
    allow_addresses: tuple[Network, ...] = ()
    contact: str | None = None

    @property
    def user_agent(self) -> str:
        """Who asks, and whom to write to about it."""
        return f"Windrow/{windrow.__version__}" + (f" (+{self.contact})" if self.contact else "")


@dataclass(frozen=True)
class Fetched:
    """How a download ended. `content` is empty unless status is ok; `final_url` is the last one that was asked."""

    status: Status
    final_url: str | None = None
    http_status: int | None = None
    content: bytes = b""
    error: str | None = None
    milliseconds: float | None = None


@dataclass(frozen=True)
class _Redirect:
    """An answer that points elsewhere."""

    http_status: int
    location: str


class Fetcher:
    """A session and what it may ask. Use it as an async context manager, inside one event loop."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Fetcher:
        connector = aiohttp.TCPConnector(
            limit=self._policy.concurrency,
            socket_factory=guarded_socket(self._policy.allow_addresses),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Compressed bytes would let a small answer grow without bound; images are compressed already.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._policy.user_agent, "Accept": "image/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            # A proxy from the environment would connect in our place, past the address guard.
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def fetch(self, url: str) -> Fetched:
        """Download `url` (normalised, see urls.normalise), with retries, within the total deadline.

        Whatever the server does becomes a status. Only a bug raises.
        """
        started = time.monotonic()
        seconds = self._policy.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                fetched = await self._persist(url)
        except TimeoutError:
            fetched = Fetched(Status.TIMEOUT, url, error=f"the whole answer must come within {seconds:g} s; it did not")
        return replace(fetched, milliseconds=(time.monotonic() - started) * 1000)

    async def _persist(self, url: str) -> Fetched:
        """Try again where a second try often helps. 429 asks for a longer pause than a run can wait."""
        for pause in RETRY_PAUSES_SECONDS:
            fetched = await self._follow(url)
            if fetched.status not in _RETRIED or fetched.http_status == _TOO_MANY_REQUESTS:
                return fetched
            await asyncio.sleep(pause)
        return await self._follow(url)

    async def _follow(self, url: str) -> Fetched:
        """Ask, and follow redirects; every hop passes the same checks as the first URL."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._ask(url)
            if isinstance(answer, Fetched):
                return answer
            try:
                url = urls.normalise(urljoin(url, answer.location))
            except urls.UrlRefusedError as refused:
                reason = f"redirected to {urls.shown(answer.location)[:200]}: {refused.reason}"
                return Fetched(refused.status, url, answer.http_status, error=reason)
            except ValueError as error:
                return Fetched(
                    Status.INVALID_URL, url, answer.http_status, error=f"redirected to no URL; {error}"[:300]
                )
        reason = f"a URL may redirect {MAX_REDIRECTS} times; it did once more"
        return Fetched(Status.TOO_MANY_REDIRECTS, url, answer.http_status, error=reason)

    async def _ask(self, url: str) -> Fetched | _Redirect:
        """One request. The one place where a host is asked."""
        try:
            async with self._session.get(URL(url, encoded=True), allow_redirects=False) as response:
                location = response.headers.get("Location")
                if 300 <= response.status < 400 and location is not None:
                    return _Redirect(response.status, location)
                return await self._read(response, url)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reached, reason = _explain(error)
            return Fetched(reached, url, error=reason)

    async def _read(self, response: aiohttp.ClientResponse, url: str) -> Fetched:
        """The body, as long as the cap allows."""
        code = response.status
        reached = status.of_http(code)
        if reached is not Status.OK:
            return Fetched(reached, url, code, error=f"HTTP {code} {response.reason or ''}"[:200].strip())
        cap = self._policy.max_bytes
        body = bytearray()
        announced = response.content_length or 0
        if announced <= cap:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > cap:
                    break
        size = max(announced, len(body))
        if size > cap:
            reason = f"a download has at most {cap:,} bytes; got {size:,} or more"
            return Fetched(Status.TOO_LARGE, url, code, error=reason)
        return Fetched(Status.OK, url, code, bytes(body))


def _explain(error: Exception) -> tuple[Status, str]:
    """The status and reason of a request that got no whole answer."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, RefusedAddressError):
        return Status.REFUSED_ADDRESS, f"an address {cause.reason}"
    text = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Status.UNRESOLVED_HOST, f"the host's name has no address; {cause}"[:300]
    if isinstance(error, aiohttp.InvalidURL):
        return Status.INVALID_URL, text
    if isinstance(error, aiohttp.ClientConnectorError):
        return Status.CONNECT_FAILED, text
    return Status.BROKEN_RESPONSE, text
