"""How far a pass is: tasks count what is done and tell the driver now and then, which prints a line.

    with shown(spark, urls) as address:                 # driver
        ...                                             # stderr: [1,200/5,000] 1,150 ok; 50 failed: 50 timeout; ...
    rows = told(rows, address, task, attempt)           # executor

Counts travel on channel.py's line, from a thread of their own: a driver that is busy or out of reach holds up no row,
and fails no task. Without a line there are no lines, and nothing else changes.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from windrow import channel
from windrow.channel import Address, Message
from windrow.scoring.fetch.status import Status
from windrow.scoring.table.prediction import Row

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TELL_SECONDS = 2.0  # from one word of a task to the next
_PRINT_SECONDS = 15.0  # from one line to the next, as in a sweep
_LAST_WORD_SECONDS = 5.0
_PACE_SECONDS = 1.0  # of less, no pace can be told
_MOST_REASONS = 4


def told(rows: Iterable[Row], address: Address | None, task: int = 0, attempt: int = 0) -> Iterator[Row]:
    """The same rows, counted by status on their way; the driver hears the counts while they pass.

    Args:
        rows: of one task.
        address: of the driver; None: nobody is told.
        task: the partition's number.
        attempt: larger for each try: the counts of a task that runs again begin again.
    """
    if address is None:
        yield from rows
        return
    counts: Counter[str] = Counter()
    over = threading.Event()
    who = {"task": task, "attempt": attempt}
    teller = threading.Thread(target=_tell, args=(address, who, counts, over), name="progress", daemon=True)
    teller.start()
    try:
        for row in rows:
            counts[row["status"]] += 1
            yield row
    finally:
        over.set()
        teller.join(_LAST_WORD_SECONDS)


def _tell(address: Address, who: dict[str, int], counts: Counter[str], over: threading.Event) -> None:
    """Say the counts at once, every few seconds where they changed, and at the end. A line that breaks ends it."""
    line = channel.reach(address)
    if line is None:
        return
    said: dict[str, int] | None = None
    last = False
    with suppress(OSError, EOFError, ValueError):
        while True:
            now = dict(counts)  # in one step: the other thread counts on
            if now != said:
                line.ask({**who, "counts": now})
                said = now
            if last:
                return
            last = over.wait(_TELL_SECONDS)
    channel.forget(address)


@contextmanager
def shown(spark: SparkSession, urls: int) -> Iterator[Address | None]:
    """Print how far a pass of `urls` is, while the block runs; gives the address that its tasks report to.

    None where this machine can't listen: the pass goes on, without lines.
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
    """Hears the tasks' counts until None comes, and prints."""

    def __init__(self, inbox: queue.SimpleQueue[Any], urls: int) -> None:
        super().__init__(name="progress", daemon=True)
        self._inbox = inbox
        self._tally = Tally(urls)

    def run(self) -> None:
        """Answer at once, for a task may wait for it; print the first word, the last one, and some between."""
        printed, printed_at = "", -_PRINT_SECONDS
        message: Message | None
        while (message := self._inbox.get()) is not None:
            message.answer()
            self._tally.hear(message.content)
            if self._tally.done and monotonic() - printed_at >= _PRINT_SECONDS:
                printed, printed_at = self._print(printed), monotonic()
        self._print(printed)

    def _print(self, before: str) -> str:
        line = self._tally.line()
        if self._tally.done and line.partition(";")[0] != before.partition(";")[0]:
            print(line, file=sys.stderr, flush=True)
        return line


class Tally:
    """What all tasks of a pass have said, of `urls` in all."""

    def __init__(self, urls: int) -> None:
        self._urls = urls
        self._tasks: dict[int, tuple[int, Counter[str]]] = {}
        self._begun: float | None = None

    def hear(self, content: dict[str, Any]) -> None:
        """Take a task's counts, in place of those that it or an earlier try of it said before.

        What makes no sense is dropped: a worker can say anything.
        """
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            task, attempt = int(content["task"]), int(content["attempt"])
            counts = Counter({Status(status).value: int(count) for status, count in content["counts"].items()})
            if attempt >= self._tasks.get(task, (attempt, counts))[0]:
                self._tasks[task] = (attempt, counts)
                self._begun = self._begun or monotonic()

    @property
    def counts(self) -> Counter[str]:
        """Rows by status."""
        return sum((counts for _, counts in self._tasks.values()), Counter())

    @property
    def done(self) -> int:
        """Rows."""
        return self.counts.total()

    def line(self) -> str:
        """How far it is, how well, how fast and how long still.

        Seconds count from the first task's first word, which comes before its network is loaded.
        """
        counts = self.counts
        done, ok = counts.total(), counts[Status.OK]
        seconds = monotonic() - (self._begun or monotonic())
        parts = [f"[{done:,}/{self._urls:,}] {ok:,} ok"]
        if failed := _reasons(counts):
            parts.append(f"{done - ok:,} failed: {failed}")
        if seconds >= _PACE_SECONDS:
            parts.append(f"{ok / seconds:.1f} images a second")
        return "; ".join([*parts, *self._time_left(done, seconds)])

    def _time_left(self, done: int, seconds: float) -> list[str]:
        """By the pace so far; empty at the end."""
        if not done or done >= self._urls or seconds < _PACE_SECONDS:
            return []
        left = (self._urls - done) * seconds / done
        return [f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left"]


def _reasons(counts: Counter[str]) -> str:
    """The most frequent failures with their numbers."""
    failures = [(status, count) for status, count in counts.most_common() if status != Status.OK]
    rest = sum(count for _, count in failures[_MOST_REASONS:])
    words = [f"{count:,} {status}" for status, count in failures[:_MOST_REASONS]]
    return ", ".join(words + ([f"{rest:,} other"] if rest else []))
