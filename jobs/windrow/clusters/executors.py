"""Wait for a cluster's executors, within a limit: a cluster that offers none would keep a job waiting without end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from windrow.errors import SparkError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MINUTES = 30.0
"""How long a job waits if its page does not say: the default of cluster_minutes."""
_WORD_SECONDS = 120.0  # without an executor, after which the job says so
_NO_MORE_SECONDS = 2.0  # without a new executor: then no more are expected
_POLL_SECONDS = 0.1


def await_some(session: SparkSession, minutes: float) -> None:
    """Wait until no more executors register: the executors of a cluster start one by one.

    After two minutes without one, say so. Return at once in local mode and with dynamic allocation.

    Raises:
        SparkError: none has registered within `minutes`.
    """
    if _is_local(session) or is_dynamic(session):
        return
    known, last, limit = 0, time.monotonic(), _Limit(minutes)
    while time.monotonic() - last < _NO_MORE_SECONDS or not known:
        found = _count(session)
        if found > known:
            known, last = found, time.monotonic()
        if limit.is_over(waits=not known):
            raise SparkError(limit.reason)
        time.sleep(_POLL_SECONDS)


@contextmanager
def watched(session: SparkSession, minutes: float) -> Iterator[None]:
    """Stop the session if its jobs wait for `minutes` without any executor, while the `with` block runs.

    That happens if all executors are lost and no others come, or if dynamic allocation gets none. In local mode nothing
    is watched.

    Raises:
        SparkError: the session was stopped; takes the place of the error that this caused in the block.
    """
    if _is_local(session):
        yield
        return
    watch = _Watch(session, minutes)
    watch.start()
    try:
        yield
    except Exception as error:
        if watch.limit.has_passed:
            raise SparkError(watch.limit.reason) from error
        raise
    finally:
        watch.ended.set()


def is_dynamic(session: SparkSession) -> bool:
    """Return whether Spark starts executors while jobs wait for them; it takes "True" and " TRUE " for true as well."""
    return (session.sparkContext.getConf().get("spark.dynamicAllocation.enabled") or "").strip().lower() == "true"


def forget_stopped(session: SparkSession) -> None:
    """Stop a session in Python, too, if `watched` has stopped it, so that this process can open another."""
    java = session.sparkContext._jsc
    if java is not None and java.sc().isStopped():
        session.stop()


class _Limit:
    """The time since there was an executor, or no need of one; says so after two minutes.

    Attributes:
        has_passed: whether the limit is over.
        reason: what to tell the user then.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = minutes * 60, clock
        self._since: float | None = None
        self._has_said = False
        self.has_passed = False
        self.reason = (
            f"the cluster must offer an executor within {minutes:g} min (cluster_minutes); it offered none; free cores "
            "and memory there, ask for fewer (spark.executor.cores, spark.executor.memory), or raise cluster_minutes"
        )

    def is_over(self, *, waits: bool) -> bool:
        """Return whether the limit has passed, given that the job waits for an executor now, or that it does not."""
        now = self._clock()
        self._since = (now if self._since is None else self._since) if waits else None
        waited = 0.0 if self._since is None else now - self._since
        if waited >= _WORD_SECONDS and not self._has_said:
            self._has_said = True
            print(
                f"no executor for {_WORD_SECONDS / 60:.0f} minutes; waiting until the cluster has room, "
                f"{self._seconds / 60:g} min at most (cluster_minutes)",
                file=sys.stderr,
                flush=True,
            )
        self.has_passed = waited >= self._seconds
        return self.has_passed


class _Watch(threading.Thread):
    """Looks now and then whether there are jobs and no executors."""

    def __init__(self, session: SparkSession, minutes: float) -> None:
        super().__init__(name="executors", daemon=True)
        self._session = session
        self._seconds = min(5.0, minutes * 60 / 4)
        self.limit = _Limit(minutes)
        self.ended = threading.Event()

    def run(self) -> None:
        """Look until the session ends, or is stopped here."""
        while not self.ended.wait(self._seconds):
            try:
                waits = not _count(self._session) and bool(
                    self._session.sparkContext.statusTracker().getActiveJobsIds()
                )
                if self.limit.is_over(waits=waits):
                    self._session.sparkContext._jsc.sc().stop()  # Python's own stop would wait for the jobs' thread
                    return
            except Exception:  # noqa: S112  one look failed, or the session has ended, and then the block soon does
                continue


def _is_local(session: SparkSession) -> bool:
    return str(session.sparkContext.master).partition("[")[0] == "local"


def _count(session: SparkSession) -> int:
    """Return the number of registered executors; Spark's status includes the driver."""
    return int(session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1
