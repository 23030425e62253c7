"""How often a host is asked: so many requests at once, so many a second, and not at all while it says wait.

    hosts = Hosts(at_once=4, rate=10, sharing=Sharing())
    async with hosts.of("http://example.com/a.png").turn(patience=20): ...

The limits are a run's, over all its tasks, with no word between them: a host's URLs go to one task, which has the
whole limit. A host that makes up much of the feed would leave the other tasks idle; its URLs are spread, and each
task has its share of the limit (see Sharing).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from zlib import crc32

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.status import Status

# A host that never answers would cost every URL of its a whole deadline.
FAILURES_IN_A_ROW = 10
LONGEST_WAIT = timedelta(days=30)
_HOSTS_KEPT = 10_000


class HostUnavailableError(Exception):
    """A host is not asked (again) in this run. `next_attempt` is when it wants to be, if it said so."""

    def __init__(self, reason: str, next_attempt: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_attempt = next_attempt


@dataclass(frozen=True)
class Sharing:
    """How the tasks of a run divide the hosts. `spread` are the hosts that one task would have too much of.

    A host belongs to one task, by the checksum of its name; one that is spread to as many as there are, but not to more
    than may ask it at once. Its limits are divided among them. A redirect may lead a task to a host of another task's:
    there it has one request at once and its part of the rate, so all redirects of a run at most double a host's limits.
    """

    tasks: int = 1
    task: int = 0
    spread: frozenset[str] = frozenset()

    def owners(self, host: str, at_once: int) -> int:
        """How many tasks have URLs of this host."""
        return min(self.tasks, at_once) if host in self.spread else 1

    def share(self, host: str, at_once: int) -> tuple[int, float]:
        """(requests at once, part of the rate) that this task has of a host's limits."""
        owners = self.owners(host, at_once)
        place = (self.task - crc32(host.encode())) % self.tasks
        if place < owners:
            return at_once // owners + (place < at_once % owners), 1 / owners
        return 1, 1 / self.tasks


ALONE = Sharing()


class Hosts:
    """The hosts that a task has met. Those not met for long are forgotten, so that millions of them fit.

    Args:
        at_once: requests to one host, of all tasks together.
        rate: requests a second to one host, of all tasks together; None for no limit.
    """

    def __init__(self, at_once: int, rate: float | None, sharing: Sharing) -> None:
        self._at_once = at_once
        self._rate = rate
        self._sharing = sharing
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def of(self, url: str) -> Host:
        """The host of a normalised URL."""
        name = urls.host(url)
        host = self._hosts.get(name)
        if host is None:
            at_once, part = self._sharing.share(name, self._at_once)
            host = self._hosts[name] = Host(at_once, 1 / (self._rate * part) if self._rate else 0.0, 1 / part)
            self._forget()
        self._hosts.move_to_end(name)
        return host

    def _forget(self) -> None:
        """Called for each new host: two steps each time, so that those in use may pile up for a while only."""
        for _ in range(2):
            if len(self._hosts) > _HOSTS_KEPT:
                name, oldest = self._hosts.popitem(last=False)
                if oldest.busy:
                    self._hosts[name] = oldest


class Host:
    """One host's turns in this task. `interval` is the seconds between two, `tasks` how many share the host's rate."""

    def __init__(self, at_once: int, interval: float, tasks: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._interval = interval
        self._tasks = tasks
        self._users = 0
        self._due = 0.0
        self._failures = 0

    @property
    def busy(self) -> bool:
        """Whether somebody has or awaits a turn, or must."""
        return self._users > 0 or self._due > time.monotonic()

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            HostUnavailableError: it has failed too often in this run, or wants a pause of more than `patience` seconds.
        """
        self._users += 1
        try:
            async with self._free:
                while (wait := self._wait(patience)) > 0:
                    await asyncio.sleep(wait)
                self._due = max(self._due, time.monotonic()) + self._interval
                yield
        finally:
            self._users -= 1

    def pause(self, until: datetime) -> None:
        """Give no turn before `until`."""
        self._due = max(self._due, time.monotonic() + seconds_until(until))

    def slow_down(self, crawl_delay: float) -> None:
        """Leave at least so many seconds between two requests of all tasks."""
        self._interval = max(self._interval, min(crawl_delay, LONGEST_WAIT.total_seconds()) * self._tasks)

    def note(self, status: Status) -> None:
        """How asking for a URL ended."""
        if status is not Status.HOST_UNAVAILABLE:
            self._failures = self._failures + 1 if status.rule.of_the_host else 0

    def _wait(self, patience: float) -> float:
        if self._failures >= FAILURES_IN_A_ROW:
            raise HostUnavailableError(f"a host is given up for a run after {self._failures} failures in a row")
        wait = self._due - time.monotonic()
        if wait > patience:
            reason = f"a host may ask for a pause of {patience:g} s; it asks for {wait:,.0f} s"
            raise HostUnavailableError(reason, datetime.now(UTC) + timedelta(seconds=wait))
        return wait


def retry_after(header: str | None) -> datetime | None:
    """When a Retry-After header, in seconds or as a date, wants the next try; None where it says nothing clear.

    At most 30 days from now: what is said by a stranger must not put a URL off for ever.
    """
    text = (header or "").strip()
    now = datetime.now(UTC)
    if text.isascii() and text.isdigit():
        return now + min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date, now), now + LONGEST_WAIT)


def seconds_until(moment: datetime) -> float:
    """Seconds from now, 0 at least."""
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
