"""Trials on Spark: one Spark job per handful of leases, as many jobs at once as there are slots.

Each job is tagged, so that Spark's own pages show its trials' numbers and it can be cancelled alone. The end of a job
and a worker's message are both events in one queue, handled by one thread.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from windrow.channel import Channel, Message
from windrow.errors import SparkError
from windrow.sweep import cluster, trial
from windrow.sweep.cluster import Body, WorkerLostError
from windrow.sweep.efficiency import Clock
from windrow.sweep.leased_job import Ended, LeasedJob, Report, key_of
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GRACE_SECONDS = 3.0
"""From asking a trial to stop to cancelling its job; Spark kills the worker 2 s later."""
_SILENT_SECONDS = 120.0  # a worker that has connected beats every 2 s; after so long without a message it is lost
_TICK_SECONDS = 0.25
_RECOUNT_SECONDS = 5.0
_MOST_THREADS = 10_000
_BARREN_JOBS = 6  # in a row that ended before a trial began: then the cluster is broken, not the trials
_TRIED_AGAIN = "its worker or executor was lost, and Spark began the task again"


class TrialSource(Protocol):
    """Decides what is trained. Every method is called from the thread that runs the schedule."""

    def next(self, slots: int) -> list[TrialSpec]:
        """Return trials for one slot; empty if there is nothing to train now."""

    def report(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        """Take epochs of a running trial, from number `first`; return why it should stop, or an empty text."""

    def settle(self, outcome: Outcome) -> None:
        """Take an outcome. It may come a second time, or late."""

    def give_back(self, lease: str) -> None:
        """Take back a trial that was handed out and never began."""

    def tick(self, running: int) -> bool:
        """Return True if the running trials should stop because the sweep's time is over; called every tick."""


def run(
    spark: SparkSession,
    count: int,
    source: TrialSource,
    channel: Channel | None = None,
    body: Body = trial.run_all,
    recount: Callable[[], int] | None = None,
) -> Clock:
    """Keep `count` slots busy until the source has nothing more and every outcome is in.

    Without a channel, outcomes come when a job ends, limits hold at the end of an epoch, and nothing is pruned.

    Args:
        recount: returns how many slots there are; called every few seconds. Slots that were lost are waited for, not
            given up.
    """
    return _Schedule(spark, count, source, channel, body, recount).run()


def run_each(spark: SparkSession, count: int, specs: Iterable[TrialSpec]) -> list[Outcome]:
    """Run a known list of trials, each with one attempt; return outcomes in the order in which they ended."""
    listed = _Listed(specs)
    run(spark, count, listed)
    return listed.outcomes


class _Listed:
    """A source without a choice."""

    def __init__(self, specs: Iterable[TrialSpec]) -> None:
        self._waiting = iter(specs)
        self.outcomes: list[Outcome] = []

    def next(self, slots: int) -> list[TrialSpec]:
        spec = next(self._waiting, None)
        return [] if spec is None else [spec]

    def report(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        return ""

    def settle(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def give_back(self, lease: str) -> None:
        raise AssertionError(f"without a channel nothing is given back; got {lease}")

    def tick(self, running: int) -> bool:
        return False


class _Schedule:
    def __init__(
        self,
        spark: SparkSession,
        count: int,
        source: TrialSource,
        channel: Channel | None,
        body: Body,
        recount: Callable[[], int] | None = None,
    ) -> None:
        self._spark, self._count, self._source, self._body = spark, count, source, body
        self._recount, self._counted = recount, monotonic()
        # One queue for both kinds of events, and one thread that handles them: nothing below needs a lock, and a
        # trial's messages are handled in the order in which they came.
        self._inbox: queue.SimpleQueue[Message | Ended] = channel.inbox if channel else queue.SimpleQueue()
        # A thread per job, for `collect` blocks until the job ends; the pool starts one when it is needed. No limit
        # that matters: a job that waited for a thread would hold leases that no worker has.
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="trial")
        self._jobs: dict[int, LeasedJob] = {}
        self._clock = Clock(count)
        self._barren = 0
        self._patience = max(_BARREN_JOBS, 2 * count)

    def run(self) -> Clock:
        with self._pool:
            try:
                while self._fill():
                    with suppress(queue.Empty):
                        # With a timeout, for time limits pass without an event.
                        self._handle(self._inbox.get(timeout=_TICK_SECONDS))
                    self._enforce()
            except BaseException:
                # Without this, leaving the pool would wait for trials whose outcomes will not be recorded.
                with suppress(Exception):  # the JVM may be what has failed
                    self._spark.sparkContext.cancelAllJobs()
                raise
        return self._clock

    def _fill(self) -> bool:
        """Start jobs while slots are free; return True if any job is running."""
        self._grow()
        while len(self._jobs) < self._count and (specs := self._source.next(self._count)):
            leases = {key_of(spec): self._guarded(spec) for spec in specs}
            job = LeasedJob(self._clock.jobs, leases, monotonic())
            self._jobs[job.number] = job
            self._clock.start()
            self._submit(job)
        self._clock.note(len(self._jobs))
        return bool(self._jobs)

    def _grow(self) -> None:
        """Use executors that came later: a cluster may have been busy, or may have got another worker."""
        if self._recount is None or monotonic() - self._counted < _RECOUNT_SECONDS:
            return
        self._counted = monotonic()
        # Never fewer: an executor that is being replaced is missing for a while, and its jobs wait in Spark's queue.
        if (count := self._recount()) > self._count:
            self._count, self._patience = count, max(_BARREN_JOBS, 2 * count)
            self._clock.grow(count)

    def _guarded(self, spec: TrialSpec) -> TrialSpec:
        """Let a trial train only with the driver's consent, where the connection is known to work.

        Spark tries a task again by itself, also after its driver has died: without consent, that would train a trial
        which the next driver trains as well. A second attempt goes without consent: its worker may be one that can't
        reach the driver, where others can.
        """
        return replace(spec, ask_first=self._clock.connected and spec.address is not None and spec.attempt == 1)

    def _submit(self, job: LeasedJob) -> None:
        from pyspark import inheritable_thread_target

        def work() -> None:
            # This thread touches the job only here, and gives its end to the queue: `job` belongs to the main thread.
            try:
                outcomes = cluster.train(self._spark, job.tag, list(job.waiting.values()), self._body)
                self._inbox.put(Ended(job, outcomes))
            except WorkerLostError as error:
                self._inbox.put(Ended(job, error=str(error)))

        # Spark's job tags and description are those of a JVM thread: PySpark pins one to each such Python thread.
        inheriting = inheritable_thread_target(self._spark)(work)

        def end_in_any_case() -> None:
            # A job whose end never reaches the queue would be waited for without end.
            try:
                inheriting()
            except BaseException as error:  # the JVM is gone: even to clear up after the job fails
                self._inbox.put(Ended(job, fault=error))

        self._pool.submit(end_in_any_case)

    def _handle(self, event: Message | Ended) -> None:
        if isinstance(event, Ended):
            self._end(event)
            return
        # A worker blocks until it is answered, so each path below answers.
        try:
            report = Report.of(event.content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"a worker's message was dropped: {type(error).__name__}: {error}", file=sys.stderr)
            event.answer(Ending.LOST)
        else:
            event.answer(self._receive(report))

    def _receive(self, report: Report) -> str:
        """Act on a worker's report; return why its trial should stop: lost, where its lease counts no longer."""
        lease = report.lease
        job = next((job for job in self._jobs.values() if lease in job.waiting), None)
        if job is None:
            # Settled or given up meanwhile. A worker that has ended has nothing to stop; any other must not go on.
            return "" if report.event == "ended" else Ending.LOST.value
        job.last_message = monotonic()
        self._clock.connected = True
        if report.event == "began":
            if lease in job.began:  # its worker was lost, and Spark tries the task again by itself
                self._settle(job, lease, job.lost(lease, _TRIED_AGAIN))
                return Ending.LOST.value
            job.began[lease] = job.last_message
        elif report.event == "epochs":
            job.epochs.setdefault(lease, []).extend(report.epochs)
            if stop := self._source.report(lease, report.first, report.epochs):
                return stop
        elif report.outcome is not None and report.outcome.number == job.waiting[lease].number:
            self._settle(job, lease, report.outcome)
        return Ending.TIMEOUT.value if lease in job.stop_since else ""

    def _end(self, ended: Ended) -> None:
        """Settle what a Spark job returned. Its other trials are lost if they began, and given back if they did not."""
        if ended.fault is not None:
            raise ended.fault
        job = ended.job
        del self._jobs[job.number]
        self._barren = 0 if job.began or ended.outcomes or not job.waiting else self._barren + 1
        if self._barren >= self._patience:
            raise SparkError(
                f"Spark's workers must be able to begin a trial; {self._barren} jobs in a row ended before one did, "
                f"the last with: {ended.error}; see the executors' logs, then run the sweep again: it goes on"
            )
        # Most outcomes have been reported and settled by now. These are from workers that could not connect, or lost
        # their connection at the end, and those with a network, which is too large for a message.
        for outcome in ended.outcomes:
            if (lease := key_of(outcome)) in job.waiting:
                self._settle(job, lease, outcome)
        for lease in list(job.waiting):
            # Only where workers can report, "has not reported" means "has not begun". A trial that is given back costs
            # no attempt, so one that kills its worker unseen must not be given back: it would come again without end.
            if lease in job.began or not self._clock.connected:
                self._settle(job, lease, job.lost(lease, ended.error))
            else:
                del job.waiting[lease]
                self._source.give_back(lease)

    def _settle(self, job: LeasedJob, lease: str, outcome: Outcome) -> None:
        # Out of the job first, so that a second outcome of the same lease finds no trial.
        del job.waiting[lease]
        self._clock.add(outcome)
        self._source.settle(outcome)

    def _enforce(self) -> None:
        """Ask trials to stop whose time is over, and cancel those that were asked and went on."""
        over, now = self._source.tick(sum(len(job.waiting) for job in self._jobs.values())), monotonic()
        for job in list(self._jobs.values()):
            for lease in list(job.waiting):
                if over or job.is_late(lease, now):
                    # The answer to its next report asks it to stop; one that computes without end sends no report.
                    since = job.stop_since.setdefault(lease, now)
                    if now - since > GRACE_SECONDS and (lease in job.began or job.last_message is None):
                        self._cancel(job, lease, job.timed_out(lease, now, over))
                        break  # the job is being cancelled, and with it whatever is next in its list
            if job.last_message is not None and now - job.last_message > _SILENT_SECONDS and job.waiting:
                # The trial that began is the one that runs; without one, the first of the list is blamed.
                lease = next((lease for lease in job.waiting if lease in job.began), next(iter(job.waiting)))
                self._cancel(job, lease, job.lost(lease, f"its worker was silent for {_SILENT_SECONDS:.0f} s"))

    def _cancel(self, job: LeasedJob, lease: str, outcome: Outcome) -> None:
        """Settle a trial from here and take its worker away. The job's other trials are given back when it ends."""
        # Settled before the cancel: an outcome that the worker still sends in its last moments counts no longer.
        self._settle(job, lease, outcome)
        self._spark.sparkContext.cancelJobsWithTag(job.tag)
