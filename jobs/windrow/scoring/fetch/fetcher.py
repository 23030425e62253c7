"""Download one URL, or return the reason why that failed. Imports neither TensorFlow nor Spark.

    async with Fetcher(FetchPolicy(timeout_seconds=20)) as fetcher:
        fetched = await fetcher.fetch("http://example.com/a.png")

Addresses are checked when a connection is made, so names that resolve to something else a moment later, and redirects,
are checked too. Redirects are followed here, not by aiohttp, for the same reason. Every request waits for its host's
turn: the first one, redirects, retries and robots.txt.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.politeness import Hosts, HostUnavailableError, seconds_until
from windrow.scoring.fetch.request import Fetched, FetchPolicy, Redirect, Session
from windrow.scoring.fetch.robots import Rules, RulesCache
from windrow.scoring.fetch.status import Status

__all__ = ["FetchPolicy", "Fetched", "Fetcher"]

MAX_REDIRECTS = 5
RETRY_PAUSES_SECONDS = (0.2, 0.8)  # plus or minus half, so that many retries do not arrive together
_TOO_MANY_REQUESTS = 429

T = TypeVar("T")


class Fetcher:
    """Downloads URLs within a policy's limits. Use it as an async context manager, inside one event loop.

    A worker process has one Fetcher at a time, for the task that it runs.

    Args:
        policy: the limits.
        room: an event that is set while more downloads may start; None if they always may.
    """

    def __init__(self, policy: FetchPolicy, room: asyncio.Event | None = None) -> None:
        self._policy = policy
        self._session = Session(policy)
        self._hosts = Hosts(policy.host_concurrency, policy.host_rate, policy.sharing)
        self._rules = RulesCache(self._fetch_rules)
        self._at_once = asyncio.Semaphore(policy.concurrency)
        self._room = room or asyncio.Event()
        if room is None:
            self._room.set()

    async def __aenter__(self) -> Fetcher:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rules.close()
        await self._session.__aexit__(kind, error, trace)

    @property
    def seconds_left(self) -> float:
        """The least seconds until each URL that waits for its host's turn has had one. Any thread may ask."""
        return self._hosts.seconds_left

    async def fetch(self, url: str) -> Fetched:
        """Download `url` (normalised, see urls.normalise), with retries, within the total deadline; return the outcome.

        The deadline counts requests and the pauses between tries, not the time that the URL waits in queues here or for
        robots.txt. Whatever a server does becomes a status; only a bug raises.
        """
        clock = _Clock(self._policy.timeout_seconds)
        try:
            fetched = await self._persist(url, clock, image=True)
        except _RulesError as refused:  # the same for the whole run: no second try, and none of the hops before it
            fetched = refused.outcome
        if clock.asked and fetched.status.rule.of_the_host:
            self._hosts.of(fetched.final_url or url).failed()
        return replace(fetched, milliseconds=clock.used * 1000 if clock.asked else None)

    async def _persist(self, url: str, clock: _Clock, *, image: bool) -> Fetched:
        """Download a URL and return the outcome; retry an error that often passes, if the deadline leaves time."""
        fetched = await self._follow(url, clock, image=image)
        for pause in RETRY_PAUSES_SECONDS:
            wait = _pause(fetched, pause)
            if wait is None or wait >= clock.left:
                break
            await clock.pause(wait)
            second = await self._follow(url, clock, image=image, again=True)
            if second.status is Status.HOST_UNAVAILABLE:
                break
            fetched = second
        return fetched

    async def _follow(self, url: str, clock: _Clock, *, image: bool, again: bool = False) -> Fetched:
        """Request a URL, follow redirects, and return the outcome; each hop passes the same checks as the first URL.

        Raises:
            _RulesError: a robots.txt forbids the URL or a hop, or can't be read.
        """
        for hop in range(MAX_REDIRECTS + 1):
            if image and self._policy.robots and (refused := await self._refusal(url)) is not None:
                raise _RulesError(refused)
            answer = await self._ask(url, clock, image=image, again=again, begun=again or hop > 0 or not image)
            if isinstance(answer, Fetched):
                return answer
            try:
                url = urls.redirected(url, answer.location)
            except urls.UrlRefusedError as refused_hop:
                reason = f"redirected to {urls.shown(answer.location)[:200]}: {refused_hop.reason}"
                return Fetched(refused_hop.status, url, answer.http_status, error=reason)
            except ValueError as error:
                return Fetched(
                    Status.INVALID_URL, url, answer.http_status, error=f"redirected to no URL; {error}"[:300]
                )
        reason = f"a URL may redirect {MAX_REDIRECTS} times; it did once more"
        return Fetched(Status.TOO_MANY_REDIRECTS, url, answer.http_status, error=reason)

    async def _ask(self, url: str, clock: _Clock, *, image: bool, again: bool, begun: bool) -> Fetched | Redirect:
        """Wait for the host's turn, then make one request; return its outcome, or the redirect."""
        host = self._hosts.of(url)
        try:
            async with host.turn(self._policy.timeout_seconds, begun=begun, place=self._place):
                answer = await clock.spend(self._session.ask(url, image=image, again=again))
            clock.asked |= not isinstance(answer, Fetched) or answer.status is not Status.REFUSED_ADDRESS
        except HostUnavailableError as error:
            return Fetched(Status.HOST_UNAVAILABLE, url, error=error.reason, next_attempt=error.next_attempt)
        except TimeoutError:
            clock.asked = True
            seconds = self._policy.timeout_seconds
            reason = f"the whole answer must come within {seconds:g} s (scoring.timeout_seconds); it did not"
            return Fetched(Status.TIMEOUT, url, error=reason)
        if image and (isinstance(answer, Redirect) or (answer.http_status and not answer.status.rule.of_the_host)):
            host.answered()
        if isinstance(answer, Fetched) and answer.next_attempt is not None:
            host.pause(answer.next_attempt)
        return answer

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Hold one of the task's requests at a time, from when the buffer has room."""
        async with self._at_once:
            await self._room.wait()
            yield

    async def _refusal(self, url: str) -> Fetched | None:
        """Return a refusal if robots.txt forbids `url`, or can't be read; None if robots.txt allows the URL."""
        rules = await self._rules.of(urls.origin(url))
        if isinstance(rules, Fetched):
            return replace(rules, final_url=url, http_status=None)
        self._hosts.of(url).slow_down(rules.crawl_delay)
        if rules.allow(url):
            return None
        return Fetched(Status.REFUSED_ROBOTS, url, error=f"{urls.origin(url)}/robots.txt forbids it")

    async def _fetch_rules(self, origin: str) -> Rules | Fetched:
        """Download an origin's robots.txt; return its rules, or the reason why they are not known.

        By RFC 9309 a file that does not exist allows everything, and a file that can't be reached forbids everything
        for now. A file counts as absent after too many redirects or an HTTP error, but not after 408, 425, 429 or 5xx.
        """
        url = f"{origin}/robots.txt"
        fetched = await self._persist(url, _Clock(self._policy.timeout_seconds), image=False)
        if fetched.status is Status.OK:
            return Rules(fetched.content)
        if fetched.status in (Status.HTTP_ERROR, Status.TOO_MANY_REDIRECTS):
            return Rules()
        own = fetched.status.rule.no_connection and fetched.final_url == url
        if own and fetched.status is not Status.TIMEOUT:  # so it is for any URL of the host
            return fetched
        reached = fetched.status if own else Status.ROBOTS_UNAVAILABLE
        return replace(fetched, status=reached, error=f"{fetched.error}; {url}, which is read first, is not readable")


class _RulesError(Exception):
    """A robots.txt forbids a URL, or can't be read; `outcome` is the URL's."""

    def __init__(self, outcome: Fetched) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


class _Clock:
    """A URL's deadline. Only the time spent in this class's methods counts."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.used = 0.0  # seconds
        self.asked = False  # whether a host was contacted

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self._seconds - self.used)

    async def pause(self, seconds: float) -> None:
        """Sleep; this time counts as well."""
        await asyncio.sleep(seconds)
        self.used += seconds

    async def spend(self, doing: Coroutine[Any, Any, T]) -> T:
        """Await `doing`, at most until the deadline.

        Raises:
            TimeoutError: the deadline has passed.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.left):
                return await doing
        finally:
            self.used += time.monotonic() - started


def _pause(fetched: Fetched, usual: float) -> float | None:
    """Return the seconds until the next try in this run; None without another try.

    A 429 without Retry-After is not retried: such hosts want a longer pause than a run can wait.
    """
    if not fetched.status.rule.retried_now:
        return None
    if fetched.next_attempt is not None:
        return seconds_until(fetched.next_attempt) + usual * random.random()  # noqa: S311
    if fetched.http_status == _TOO_MANY_REQUESTS:
        return None
    return usual * random.uniform(0.5, 1.5)  # noqa: S311
