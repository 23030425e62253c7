"""Limit the requests to each host: how many at once, how many per second, and none while the host asks for a pause.

    hosts = Hosts(at_once=4, rate=10, sharing=Sharing())
    async with hosts.of("http://example.com/a.png").turn(patience=20): ...

The limits hold for a whole run without communication between its tasks: all URLs of a host go to one task, which may
use the whole limit. A host that makes up much of the feed would then leave the other tasks idle, so its URLs are spread
over several tasks, and each of them has a share of the limit (see Sharing).

Everything here runs in one event loop, so state changes between two awaits need no lock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from zlib import crc32

from windrow.scoring.fetch import urls

# Each URL of a host that never answers costs a whole deadline; after this many failures its other URLs are skipped.
FAILURES_IN_A_ROW = 10
# Of a host that answers a tenth of its URLs or less, so many in a row are bad luck.
MOST_FAILURES_IN_A_ROW = 100
# From here on the next URL is any that waits: neighbours in a feed, such as the files of a lost folder, fail together.
_DOUBTFUL_FAILURES = 5
# The share of URLs that a host answers is estimated as if so many had failed before: the first answers say little.
_SUPPOSED_FAILURES = 5
LONGEST_WAIT = timedelta(days=30)
_REMEMBERED_HOSTS = 10_000  # a few hundred bytes each; a feed may have millions


class HostUnavailableError(Exception):
    """The host gets no request for this URL in this run. `next_attempt` is the time that the host asked for, if any."""

    def __init__(self, reason: str, next_attempt: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_attempt = next_attempt


@dataclass(frozen=True)
class Sharing:
    """The division of the hosts among the tasks of a run.

    A host belongs to one task, chosen by the checksum of its name. A host in `spread` has too many URLs for one task:
    the host belongs to as many tasks as it may have requests at once, or to all tasks if there are fewer, and these
    tasks divide its limits. A redirect may lead to a host of other tasks. To such a host, a task may make one request
    at a time, at 1 / `tasks` of the rate, so all redirects of a run together at most double the host's rate.

    Attributes:
        tasks: the number of tasks of the run.
        task: the number of this task, from 0.
        spread: the names of the hosts that several tasks share.
    """

    tasks: int = 1
    task: int = 0
    spread: frozenset[str] = frozenset()

    def owners(self, host: str, at_once: int) -> int:
        """Return how many tasks share this host, which may have `at_once` requests at a time."""
        return min(self.tasks, at_once) if host in self.spread else 1

    def share(self, host: str, at_once: int) -> tuple[int, float]:
        """Return this task's part of a host's limits: (requests at once, share of the rate)."""
        owners = self.owners(host, at_once)
        place = (self.task - crc32(host.encode())) % self.tasks
        if place < owners:
            return at_once // owners + (place < at_once % owners), 1 / owners
        return 1, 1 / self.tasks


ALONE = Sharing()


class Hosts:
    """The hosts that a task contacts. To bound memory, the idle hosts that were used least recently are forgotten.

    Args:
        at_once: requests to one host at a time, over all tasks together.
        rate: requests per second to one host, over all tasks together; None for no limit.
        sharing: how the tasks divide the hosts.
    """

    def __init__(self, at_once: int, rate: float | None, sharing: Sharing) -> None:
        self._at_once = at_once
        self._rate = rate
        self._sharing = sharing
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def of(self, url: str) -> Host:
        """Return the host of a normalised URL."""
        name = urls.host(url)
        host = self._hosts.get(name)
        if host is None:
            at_once, part = self._sharing.share(name, self._at_once)
            host = self._hosts[name] = Host(at_once, 1 / (self._rate * part) if self._rate else 0.0, 1 / part)
            self._forget()
        self._hosts.move_to_end(name)
        return host

    @property
    def seconds_left(self) -> float:
        """The least seconds until each URL that waits for its host's turn has had one."""
        return max((host.seconds_left for host in list(self._hosts.values())), default=0.0)

    def _forget(self) -> None:
        """Drop the oldest hosts beyond the limit, but none that is in use."""
        # Called for each new host. Two steps per call let the dictionary shrink again after many hosts were in use.
        for _ in range(2):
            if len(self._hosts) > _REMEMBERED_HOSTS:
                name, oldest = self._hosts.popitem(last=False)
                if oldest.busy:  # a second Host of this name would double its limits
                    self._hosts[name] = oldest


class Host:
    """Makes this task's requests to one host wait for their turns.

    Args:
        at_once: requests of this task to the host at a time.
        interval: seconds between two requests of this task.
        tasks: how many tasks share the host's rate.
    """

    def __init__(self, at_once: int, interval: float, tasks: float) -> None:
        self._free = at_once
        self._begun: deque[asyncio.Future[None]] = deque()  # next hops and second tries that wait
        self._new: deque[asyncio.Future[None]] = deque()  # first requests that wait
        self._was_new = True  # whether the turn that was passed on last was for a first request
        self._interval = interval
        self._tasks = tasks
        self._users = 0
        self._due = 0.0
        self._answers = 0
        self._failures = 0  # before the last answer
        self._in_a_row = 0  # failures since the last answer

    @property
    def busy(self) -> bool:
        """True if a request has or awaits a turn, or if the next turn is in the future."""
        return self._users > 0 or self._due > time.monotonic()

    @property
    def seconds_left(self) -> float:
        """The least seconds until each URL that waits now has had a turn."""
        waiting = len(self._begun) + len(self._new)
        return waiting * self._interval + max(0.0, self._due - time.monotonic()) if waiting else 0.0

    @asynccontextmanager
    async def turn(
        self,
        patience: float,
        *,
        begun: bool = False,
        place: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the block runs.

        Args:
            patience: the longest pause to wait for if the host asks for one, in seconds. The wait for other requests to
                the host is not limited.
            begun: whether the URL has had a turn before, so that this one is for a redirect or a second try. Such
                requests and new URLs come in turn, so that second tries do not gather at the end.
            place: what else a request needs, such as one of the task's connections; waited for, and held with the turn.

        Raises:
            HostUnavailableError: the host failed too often in this run, or wants a longer pause.
        """
        self._users += 1  # before the first await: a host with waiting requests must not be forgotten
        try:
            await self._enter(self._begun if begun else self._new)
            try:
                while True:
                    # Loop: while we sleep, another request may fail, or learn of a longer pause.
                    while (wait := self._wait(patience)) > 0:
                        await asyncio.sleep(wait)
                    async with place():
                        # While we waited for the place, another request may have taken the moment. Of several that
                        # get their places together, one goes now; the others must not hold theirs while they sleep.
                        if self._wait(patience) > 0:
                            continue
                        self._due = time.monotonic() + self._interval
                        yield
                        return
            finally:
                self._leave()
        finally:
            self._users -= 1

    async def _enter(self, queue: deque[asyncio.Future[None]]) -> None:
        """Wait until fewer than `at_once` requests have a turn."""
        if self._free:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                queue.remove(place)
            else:  # the turn was passed on in the same moment
                self._leave()
            raise

    def _leave(self) -> None:
        """Pass the turn on to the next request that waits, or free it."""
        # In turn: the second tries of many failures would be many failures in a row.
        queue = (self._begun or self._new) if self._was_new else (self._new or self._begun)
        if not queue:
            self._free += 1
            return
        self._was_new = queue is self._new
        if queue is self._new and self._in_a_row >= _DOUBTFUL_FAILURES:
            queue.rotate(random.randrange(len(queue)))  # noqa: S311
        queue.popleft().set_result(None)

    def pause(self, until: datetime) -> None:
        """Give no turn before `until`."""
        self._due = max(self._due, time.monotonic() + seconds_until(until))

    def slow_down(self, crawl_delay: float) -> None:
        """Leave at least `crawl_delay` seconds between two requests, over all tasks together."""
        self._interval = max(self._interval, min(crawl_delay, LONGEST_WAIT.total_seconds()) * self._tasks)

    def answered(self) -> None:
        """Note that the host has answered a request for an image, if only with a redirect or a 404."""
        self._answers += 1
        self._failures += self._in_a_row
        self._in_a_row = 0

    def failed(self) -> None:
        """Note that a URL failed by the host's fault, after all its tries."""
        self._in_a_row += 1

    @property
    def _most_in_a_row(self) -> float:
        """Failures in a row after which the host is given up: the more, the smaller the share of URLs that it answers.

        So among 3,000 URLs of which 9 in 10 fail at random, a host is given up by mistake about once in 40 runs, if it
        has answered once; and a host that answers all its URLs and dies is given up after ten failures.
        """
        if not self._answers:
            return FAILURES_IN_A_ROW
        asked = self._answers + self._failures + _SUPPOSED_FAILURES
        return min(FAILURES_IN_A_ROW * asked / self._answers, MOST_FAILURES_IN_A_ROW)

    def _wait(self, patience: float) -> float:
        if self._in_a_row >= self._most_in_a_row:
            raise HostUnavailableError(f"a host is given up for a run after {self._in_a_row} failures in a row")
        wait = self._due - time.monotonic()
        if wait > patience:
            reason = f"a host may ask for a pause of {patience:g} s; it asks for {wait:,.0f} s"
            raise HostUnavailableError(reason, datetime.now(UTC) + timedelta(seconds=wait))
        return wait


def retry_after(header: str | None) -> datetime | None:
    """Return the time of a Retry-After header, which has seconds or a date; None if it is absent or malformed.

    The time is at most 30 days from now: no server may postpone a URL indefinitely.
    """
    text = (header or "").strip()
    now = datetime.now(UTC)
    if text.isascii() and text.isdigit():
        return now + min(timedelta(seconds=int(text.lstrip("0")[:9] or 0)), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date, now), now + LONGEST_WAIT)


def seconds_until(moment: datetime) -> float:
    """Return the seconds from now until `moment`, at least 0."""
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
