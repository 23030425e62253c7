"""Report the progress of a scoring run: tasks count their rows, and the driver prints a line every 15 seconds or so.

    with shown(spark, urls) as address:                     # driver
        ...                                                 # stderr: [1,200/5,000] 1,150 ok; 50 failed: 50 timeout; ...
    rows = reported(rows, address, task, attempt)           # executor

Each task sends its counts over channel.py from a separate thread. So a driver that is busy or out of reach delays no
row and makes no task fail. Without a connection no line is printed, and nothing else changes.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from windrow import channel
from windrow.channel import Address, Message
from windrow.scoring.fetch.status import Status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_REPORT_SECONDS = 2.0  # between two reports of one task
_PRINT_SECONDS = 15.0  # between two printed lines, as in a sweep
_LAST_REPORT_SECONDS = 5.0
_PACE_SECONDS = 1.0  # a pace measured over a shorter time means nothing
_MOST_REASONS = 4
_MOST_SECONDS = 1 << 32  # 136 years: a time that can be printed
_MOST_ROWS = 1 << 40  # of one task: a larger count is none, and could be too large to divide by seconds


class HasStatus(Protocol):
    """A URL that was tried."""

    @property
    def status(self) -> Status:
        """How that ended."""
        ...


Row = TypeVar("Row", bound=HasStatus)


def reported(
    rows: Iterable[Row],
    address: Address | None,
    task: int = 0,
    attempt: int = 0,
    seconds_left: Callable[[], float] = lambda: 0.0,
) -> Iterator[Row]:
    """Yield rows unchanged, and meanwhile report their counts by status to the driver.

    Args:
        rows: the rows of one task.
        address: the driver's address; None to report nothing.
        task: the partition's number.
        attempt: a number that grows with each retry of the task; its counts replace those of earlier attempts.
        seconds_left: gives the least seconds that the task's hosts need for the URLs that wait for them.
    """
    if address is None:
        yield from rows
        return
    counts: Counter[str] = Counter()
    finished = threading.Event()
    sender = {"task": task, "attempt": attempt}
    arguments = (address, sender, counts, seconds_left, finished)
    reporter = threading.Thread(target=_report, args=arguments, name="progress", daemon=True)
    reporter.start()
    try:
        for row in rows:
            counts[row.status] += 1
            yield row
    finally:
        # This also runs if the consumer stops early. The wait is limited, so that a driver out of reach does not delay
        # the task.
        finished.set()
        reporter.join(_LAST_REPORT_SECONDS)


def _report(
    address: Address,
    sender: dict[str, int],
    counts: Counter[str],
    seconds_left: Callable[[], float],
    finished: threading.Event,
) -> None:
    """Send the counts at once, every few seconds if they changed, and at the end; stop if the connection breaks."""
    line = channel.reach(address)
    if line is None:
        return
    sent: dict[str, int] | None = None
    last = False
    with suppress(OSError, EOFError, ValueError):
        while True:
            # dict() copies a Counter in one step under Python's global lock, though the other thread keeps counting.
            current = dict(counts)
            if current != sent:
                line.ask({**sender, "counts": current, "seconds_left": seconds_left()})
                sent = current
            if last:
                return
            last = finished.wait(_REPORT_SECONDS)
    channel.forget(address)


@contextmanager
def shown(spark: SparkSession, urls: int) -> Iterator[Address | None]:
    """Print the progress of a run over `urls` URLs while the block runs; yield the address that tasks report to.

    Yields None if the driver can't listen for its tasks; the run then continues without progress lines.
    """
    try:
        line = channel.open_channel(spark)
    except OSError as error:
        print(f"progress is not shown: the driver can't listen for its tasks: {error}", file=sys.stderr)
        yield None
        return
    with line:
        listener = _Listener(line.inbox, urls)
        listener.start()
        try:
            yield line.address
        finally:
            line.inbox.put(None)
            listener.join()


class _Listener(threading.Thread):
    """Receives the tasks' counts and prints progress lines, until None is put into the inbox."""

    def __init__(self, inbox: queue.SimpleQueue[Any], urls: int) -> None:
        super().__init__(name="progress", daemon=True)
        self._inbox = inbox
        self._tally = Tally(urls)

    def run(self) -> None:
        """Answer each report, and print a line at the first rows, every 15 seconds or so, and at the end.

        A line is left out if no row has come since the line before.
        """
        printed, printed_at = "", -_PRINT_SECONDS
        message: Message | None
        while (message := self._inbox.get()) is not None:
            message.answer()  # first, because the task's thread waits for it
            self._tally.add(message.content)
            if self._tally.done and monotonic() - printed_at >= _PRINT_SECONDS:
                printed, printed_at = self._print(printed), monotonic()
        self._print(printed)

    def _print(self, before: str) -> str:
        line = self._tally.line()
        if self._tally.done and line.partition(";")[0] != before.partition(";")[0]:
            print(line, file=sys.stderr, flush=True)
        return line


class Tally:
    """Adds up the tasks' counts of rows by status, for a run over `urls` URLs."""

    def __init__(self, urls: int) -> None:
        self._urls = urls
        self._tasks: dict[int, tuple[int, Counter[str]]] = {}
        self._free_at: dict[int, float] = {}  # by task: when its hosts can have had all URLs that wait, by monotonic()
        self._started: float | None = None

    def add(self, content: dict[str, Any]) -> None:
        """Replace the counts of a task with those in its newest report.

        A late report of an earlier attempt is ignored, and so is malformed content: workers are not trusted.
        """
        with suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError):
            task, attempt = int(content["task"]), int(content["attempt"])
            counts = Counter({Status(status).value: _rows(count) for status, count in content["counts"].items()})
            left = _seconds(float(content.get("seconds_left", 0.0)))
            if attempt >= self._tasks.get(task, (attempt, counts))[0]:
                self._tasks[task] = (attempt, counts)
                self._free_at[task] = monotonic() + left
                self._started = self._started or monotonic()

    @property
    def counts(self) -> Counter[str]:
        """The number of rows by status, over all tasks."""
        return sum((counts for _, counts in self._tasks.values()), Counter())

    @property
    def done(self) -> int:
        """The number of rows so far."""
        return self.counts.total()

    def line(self) -> str:
        """Return a line with the rows so far, the failures, the pace and the time left.

        The pace is measured from the first report of any task, which is sent before that task has loaded its network.
        The time left is that of the pace, or that of the slowest host if it is longer.
        """
        counts = self.counts
        done, ok = counts.total(), counts[Status.OK]
        seconds = monotonic() - (self._started or monotonic())
        parts = [f"[{done:,}/{self._urls:,}] {ok:,} ok"]
        if failed := _reasons(counts):
            parts.append(f"{done - ok:,} failed: {failed}")
        if seconds >= _PACE_SECONDS:
            parts.append(f"{ok / seconds:.1f} images a second")
        return "; ".join([*parts, *self._time_left(done, seconds)])

    def _time_left(self, done: int, seconds: float) -> list[str]:
        """Return the estimated time left as a list of one text; an empty list at the end, or before there is a pace."""
        if not done or done >= self._urls or seconds < _PACE_SECONDS:
            return []
        from windrow.experiment.wording import time_left  # with pydantic: for the driver, not for each Python worker

        hosts = max(self._free_at.values(), default=0.0) - monotonic()
        return [time_left(max((self._urls - done) * seconds / done, hosts))]


def _rows(count: object) -> int:
    if not isinstance(count, int) or not 0 <= count <= _MOST_ROWS:
        raise ValueError(f"a count must be 0 to {_MOST_ROWS:,}; got another")
    return count


def _seconds(left: float) -> float:
    if not abs(left) <= _MOST_SECONDS:  # nor is it one that is not a number
        raise ValueError(f"the time left must be {_MOST_SECONDS:,} s at most; got another")
    return left


def _reasons(counts: Counter[str]) -> str:
    """List the most frequent failures with their counts."""
    failures = [(status, count) for status, count in counts.most_common() if status != Status.OK]
    rest = sum(count for _, count in failures[_MOST_REASONS:])
    parts = [f"{count:,} {status}" for status, count in failures[:_MOST_REASONS]]
    return ", ".join(parts + ([f"{rest:,} other"] if rest else []))
