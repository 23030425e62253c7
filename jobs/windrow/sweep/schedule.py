"""Run trials on Spark: a Spark job trains a few trials in one slot, and as many jobs run at once as there are slots.

Each job has tags, so that Spark's own pages show its trials' numbers and it can be cancelled alone. Workers' messages
and the ends of jobs are events in one queue, which one thread handles.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Sequence
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
"""Time from asking a trial to stop until its job is cancelled; Spark kills the worker 2 s later."""
_SILENT_SECONDS = 120.0  # a connected worker sends a heartbeat every 2 s; after so long without one it counts as lost
_TICK_SECONDS = 0.25
_RECOUNT_SECONDS = 5.0
_MOST_THREADS = 10_000
_BARREN_JOBS = 6  # this many jobs in a row that end before a trial began mean that the cluster is broken
_TRIED_AGAIN = "its worker or executor was lost, and Spark began the task again"


class TrialSource(Protocol):
    """Supplies trials and takes their results. Every method is called from the thread that runs the schedule."""

    def next(self, slots: int) -> list[TrialSpec]:
        """Return trials for one of `slots` slots; an empty list if there is nothing to train now."""

    def report(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        """Take a running trial's metrics from epoch `first` on; return why the trial should stop, or ""."""

    def settle(self, outcome: Outcome) -> None:
        """Take an outcome, which may be late or arrive a second time."""

    def give_back(self, lease: str) -> None:
        """Take back a trial that was given to a slot but never began."""

    def tick(self, running: int) -> bool:
        """Return whether the sweep's time is used up. Called often, with the number of trials without an outcome."""


def run(
    spark: SparkSession,
    count: int,
    source: TrialSource,
    channel: Channel | None = None,
    body: Body = trial.run_all,
    recount: Callable[[], int] | None = None,
) -> Clock:
    """Keep `count` slots busy until the source has no more trials and every outcome has arrived.

    Returns the Clock, which has the run's times and counts. Without a channel, outcomes arrive when a job ends, and
    nothing is pruned. A worker checks the time limit after each epoch, and the driver cancels a job that takes longer
    than the limits of its trials together.

    Args:
        recount: returns the number of slots that Spark has now; called every few seconds. A larger number is used; a
            smaller one is ignored, because lost executors may be replaced.
    """
    return _Schedule(spark, count, source, channel, body, recount).run()


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
        # trial's messages are handled in the order of their arrival.
        self._inbox: queue.SimpleQueue[Message | Ended] = channel.inbox if channel else queue.SimpleQueue()
        # One thread per job, because `collect` blocks until the job ends; the pool starts threads as needed. The limit
        # is never reached: a job that waited for a thread would hold leases that no worker has.
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
                        # With a timeout, because no event announces that a time limit has passed.
                        self._handle(self._inbox.get(timeout=_TICK_SECONDS))
                    self._enforce()
            except BaseException:
                # Otherwise the pool would wait for trials whose outcomes will not be recorded.
                with suppress(Exception):  # perhaps the JVM has failed
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
        """Raise the number of slots if Spark has more now: a busy cluster may have become free, or been enlarged."""
        if self._recount is None or monotonic() - self._counted < _RECOUNT_SECONDS:
            return
        self._counted = monotonic()
        # Never reduce the count: while a lost executor is being replaced, its jobs wait in Spark's queue.
        if (count := self._recount()) > self._count:
            self._count, self._patience = count, max(_BARREN_JOBS, 2 * count)
            self._clock.grow(count)

    def _guarded(self, spec: TrialSpec) -> TrialSpec:
        """Require the driver's consent before a trial trains, if the connection to the driver is known to work.

        Spark itself retries a task, even after the driver has died. Without consent, the retry would train a trial that
        the next driver trains as well. A second attempt needs no consent, because its worker may be one that can't
        reach the driver although others can.
        """
        return replace(spec, ask_first=self._clock.connected and spec.address is not None and spec.attempt == 1)

    def _submit(self, job: LeasedJob) -> None:
        from pyspark import inheritable_thread_target

        def work() -> None:
            # `job` belongs to the main thread: this thread only reads it here, and reports the end through the queue.
            try:
                outcomes = cluster.train(self._spark, job.tag, list(job.waiting.values()), self._body)
                self._inbox.put(Ended(job, outcomes))
            except WorkerLostError as error:
                self._inbox.put(Ended(job, error=str(error)))

        # Spark keeps job tags and descriptions per JVM thread, and PySpark gives each Python thread a JVM thread of its
        # own. The wrapper hands this thread's properties and tags on to it.
        inheriting = inheritable_thread_target(self._spark)(work)

        def end_in_any_case() -> None:
            # The schedule would wait forever for a job whose end is not put on the queue.
            try:
                inheriting()
            except BaseException as error:  # e.g. the JVM is gone, so that even cleaning up after the job fails
                self._inbox.put(Ended(job, fault=error))

        self._pool.submit(end_in_any_case)

    def _handle(self, event: Message | Ended) -> None:
        if isinstance(event, Ended):
            self._end(event)
            return
        # A worker blocks until it gets an answer, so each path below must answer.
        try:
            report = Report.of(event.content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"a worker's message was dropped: {type(error).__name__}: {error}", file=sys.stderr)
            event.answer(Ending.LOST)
        else:
            event.answer(self._receive(report))

    def _receive(self, report: Report) -> str:
        """Act on a worker's report; return why its trial should stop ("lost" if its lease no longer counts), or ""."""
        lease = report.lease
        job = next((job for job in self._jobs.values() if lease in job.waiting), None)
        if job is None:
            # The trial was settled or given back meanwhile. Unless the worker reports its end, it must stop.
            return "" if report.event == "ended" else Ending.LOST.value
        job.last_message = monotonic()
        self._clock.connected = True
        if report.event == "began":
            if lease in job.began:  # the trial's worker was lost, and Spark itself has started the task again
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
        """Settle the outcomes that a Spark job returned, and all its other trials.

        A trial without an outcome is lost if it began, or if no worker has ever connected; otherwise it is given back.

        Raises:
            SparkError: several jobs in a row have ended before a trial began.
            Exception: the fault with which the job ended.
        """
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
        # Workers have reported most outcomes by now. The rest are from workers that could not connect or lost their
        # connection, or contain a network, which is too large for a message.
        for outcome in ended.outcomes:
            if (lease := key_of(outcome)) in job.waiting:
                self._settle(job, lease, outcome)
        for lease in list(job.waiting):
            # If workers can connect, a trial that has not reported has not begun. Giving a trial back does not
            # count as an attempt, so a trial that kills its worker before it can report must not be given back: it
            # would be tried again forever.
            if lease in job.began or not self._clock.connected:
                self._settle(job, lease, job.lost(lease, ended.error))
            else:
                del job.waiting[lease]
                self._source.give_back(lease)

    def _settle(self, job: LeasedJob, lease: str, outcome: Outcome) -> None:
        # Remove the trial from the job first, so that a second outcome under this lease is ignored.
        del job.waiting[lease]
        self._clock.add(outcome)
        self._source.settle(outcome)

    def _enforce(self) -> None:
        """Ask trials to stop if their time is used up; cancel the jobs of trials that were asked and did not stop."""
        over, now = self._source.tick(sum(len(job.waiting) for job in self._jobs.values())), monotonic()
        for job in list(self._jobs.values()):
            for lease in list(job.waiting):
                if over or job.is_late(lease, now):
                    # The answer to the trial's next report asks it to stop. A trial that hangs sends no report.
                    since = job.stop_since.setdefault(lease, now)
                    if now - since > GRACE_SECONDS and (lease in job.began or job.last_message is None):
                        self._cancel(job, lease, job.timed_out(lease, now, over))
                        break  # the whole job is being cancelled, so its other trials need no check
            if job.last_message is not None and now - job.last_message > _SILENT_SECONDS and job.waiting:
                # Blame the running trial, which is the one that began; if none did, blame the first of the list.
                lease = next((lease for lease in job.waiting if lease in job.began), next(iter(job.waiting)))
                self._cancel(job, lease, job.lost(lease, f"its worker was silent for {_SILENT_SECONDS:.0f} s"))

    def _cancel(self, job: LeasedJob, lease: str, outcome: Outcome) -> None:
        """Settle a trial on the driver and cancel its job, whose end settles or gives back the job's other trials."""
        # Settle before cancelling: an outcome that the worker still sends must no longer count.
        self._settle(job, lease, outcome)
        self._spark.sparkContext.cancelJobsWithTag(job.tag)
