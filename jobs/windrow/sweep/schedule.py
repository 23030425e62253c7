"""Trials on Spark: one Spark job a handful of leases, as many jobs at once as there are slots.

Each job is tagged, so it is seen by its trials' numbers in Spark's own pages and can be cancelled alone. Everything
that happens, a job's end or a word from a worker, is an event in one queue, handled by one thread.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from windrow.channel import Channel, Message
from windrow.errors import SparkError
from windrow.sweep import cluster, trial
from windrow.sweep.cluster import Body, WorkerLostError
from windrow.sweep.efficiency import Clock
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GRACE_SECONDS = 3.0
"""From asking a trial to stop to cancelling its job; Spark kills the worker 2 s later."""
_SILENT_SECONDS = 120.0  # a worker that has spoken beats every 2 s; one that is silent so long is taken for lost
_START_SECONDS = 120.0  # what a worker that can't speak may take to start and to import TensorFlow
_TICK_SECONDS = 0.25
_RECOUNT_SECONDS = 5.0
_MOST_THREADS = 10_000
_BARREN_JOBS = 6  # in a row that ended before a trial began: then the cluster is broken, not the trials
_TRIED_AGAIN = "its worker or executor was lost, and Spark began the task again"


class Search(Protocol):
    """Who decides what is trained. Every method is called from the thread that runs the schedule."""

    def next(self, slots: int) -> list[TrialSpec]:
        """Trials for one slot; empty if there is nothing to train now."""

    def hear(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        """Epochs of a running trial, from number `first`; why it should stop, or an empty text."""

    def take(self, outcome: Outcome) -> None:
        """An outcome. It may come a second time, or late."""

    def give_back(self, lease: str) -> None:
        """A trial that was handed out and never began."""

    def tick(self, running: int) -> bool:
        """Called a few times a second; whether the running trials should stop because the sweep's time is over."""


@dataclass
class _Job:
    """A Spark job that holds leases. `began` and `epochs` are by lease, `heard` is the last word from its worker."""

    number: int
    waiting: dict[str, TrialSpec]
    submitted: float
    began: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, list[Epoch]] = field(default_factory=dict)
    stop_since: dict[str, float] = field(default_factory=dict)
    heard: float | None = None

    @property
    def tag(self) -> str:
        return f"windrow-{self.number}"


@dataclass(frozen=True)
class _Word:
    """What a worker said of the trial under a lease: its epochs from number `first`, or its outcome."""

    lease: str
    event: str
    first: int
    epochs: list[Epoch]
    outcome: Outcome | None


@dataclass(frozen=True)
class _Ended:
    """A Spark job's end: the outcomes it gave back, why its worker was lost, or the fault that ends the sweep."""

    job: _Job
    outcomes: Sequence[Outcome] = ()
    error: str = ""
    fault: BaseException | None = None


def run(
    spark: SparkSession,
    count: int,
    search: Search,
    channel: Channel | None = None,
    body: Body = trial.run_all,
    recount: Callable[[], int] | None = None,
) -> Clock:
    """Keep `count` slots busy until the search has nothing more and every outcome is in.

    Without a channel, outcomes come when a job ends, limits hold at the end of an epoch, and nothing is pruned.

    Args:
        recount: asked now and then how many slots there are by now; those that were lost are waited for, not given up.
    """
    return _Schedule(spark, count, search, channel, body, recount).run()


def run_each(spark: SparkSession, count: int, specs: Iterable[TrialSpec]) -> list[Outcome]:
    """Run a known list of trials, each with one attempt; outcomes in the order in which they ended."""
    listed = _Listed(specs)
    run(spark, count, listed)
    return listed.outcomes


class _Listed:
    """A search without a choice."""

    def __init__(self, specs: Iterable[TrialSpec]) -> None:
        self._waiting = iter(specs)
        self.outcomes: list[Outcome] = []

    def next(self, slots: int) -> list[TrialSpec]:
        spec = next(self._waiting, None)
        return [] if spec is None else [spec]

    def hear(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        return ""

    def take(self, outcome: Outcome) -> None:
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
        search: Search,
        channel: Channel | None,
        body: Body,
        recount: Callable[[], int] | None = None,
    ) -> None:
        self._spark, self._count, self._search, self._body = spark, count, search, body
        self._recount, self._counted = recount, monotonic()
        self._inbox: queue.SimpleQueue[Message | _Ended] = channel.inbox if channel else queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="trial")  # one is started when it is needed
        self._jobs: dict[int, _Job] = {}
        self._clock = Clock(count)
        self._barren = 0
        self._patience = max(_BARREN_JOBS, 2 * count)

    def run(self) -> Clock:
        with self._pool:
            try:
                while self._fill():
                    with suppress(queue.Empty):
                        self._handle(self._inbox.get(timeout=_TICK_SECONDS))
                    self._enforce()
            except BaseException:
                # Without this, leaving the pool would wait for trials that nobody will hear of.
                with suppress(Exception):  # the JVM may be what has failed
                    self._spark.sparkContext.cancelAllJobs()
                raise
        return self._clock

    def _fill(self) -> bool:
        """Start jobs while slots are free; whether any job is running."""
        self._grow()
        while len(self._jobs) < self._count and (specs := self._search.next(self._count)):
            leases = {spec.lease or f"{spec.number}/{spec.attempt}": self._guarded(spec) for spec in specs}
            job = _Job(self._clock.jobs, leases, monotonic())
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
        if (count := self._recount()) > self._count:
            self._count, self._patience = count, max(_BARREN_JOBS, 2 * count)
            self._clock.grow(count)

    def _guarded(self, spec: TrialSpec) -> TrialSpec:
        """Where the line works, Spark's own second try at a task whose driver has died must not train what is done.

        A second attempt goes without: its worker may be one that can't reach the driver, where others can.
        """
        return replace(spec, ask_first=self._clock.heard and spec.address is not None and spec.attempt == 1)

    def _submit(self, job: _Job) -> None:
        from pyspark import inheritable_thread_target

        def work() -> None:
            try:
                outcomes = cluster.train(self._spark, job.tag, list(job.waiting.values()), self._body)
                self._inbox.put(_Ended(job, outcomes))
            except WorkerLostError as error:
                self._inbox.put(_Ended(job, error=str(error)))

        inheriting = inheritable_thread_target(self._spark)(work)

        def tell_in_any_case() -> None:
            try:
                inheriting()
            except BaseException as error:  # the JVM is gone: even to clear up after the job fails
                self._inbox.put(_Ended(job, fault=error))

        self._pool.submit(tell_in_any_case)

    def _handle(self, event: Message | _Ended) -> None:
        if isinstance(event, _Ended):
            self._end(event)
            return
        try:
            word = _understand(event.content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"a worker's message was dropped: {type(error).__name__}: {error}", file=sys.stderr)
            event.answer(Ending.LOST)
        else:
            event.answer(self._hear(word))

    def _hear(self, word: _Word) -> str:
        """A worker's word; why its trial should stop. A lease that counts no longer is told to stop as lost."""
        lease = word.lease
        job = next((job for job in self._jobs.values() if lease in job.waiting), None)
        if job is None:
            return "" if word.event == "ended" else Ending.LOST.value
        job.heard = monotonic()
        self._clock.heard = True
        if word.event == "began":
            if lease in job.began:  # its worker was lost, and Spark tries the task again by itself
                self._settle(job, lease, _lost(job.waiting[lease], job, lease, _TRIED_AGAIN))
                return Ending.LOST.value
            job.began[lease] = job.heard
        elif word.event == "epochs":
            job.epochs.setdefault(lease, []).extend(word.epochs)
            if stop := self._search.hear(lease, word.first, word.epochs):
                return stop
        elif word.outcome is not None and word.outcome.number == job.waiting[lease].number:
            self._settle(job, lease, word.outcome)
        return Ending.TIMEOUT.value if lease in job.stop_since else ""

    def _end(self, ended: _Ended) -> None:
        """A Spark job is over: what it gave back counts; what it held and did not give back is lost, or never began."""
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
        for outcome in ended.outcomes:
            lease = outcome.lease or f"{outcome.number}/{outcome.attempt}"
            if lease in job.waiting:
                self._settle(job, lease, outcome)
        for lease, spec in list(job.waiting.items()):
            if lease in job.began or not self._clock.heard:
                self._settle(job, lease, _lost(spec, job, lease, ended.error))
            else:
                del job.waiting[lease]
                self._search.give_back(lease)

    def _settle(self, job: _Job, lease: str, outcome: Outcome) -> None:
        del job.waiting[lease]
        self._clock.add(outcome)
        self._search.take(outcome)

    def _enforce(self) -> None:
        """Ask trials to stop whose time is over, and cancel those that were asked and went on."""
        over, now = self._search.tick(sum(len(job.waiting) for job in self._jobs.values())), monotonic()
        for job in list(self._jobs.values()):
            for lease, spec in list(job.waiting.items()):
                if over or _is_late(job, lease, spec, now):
                    since = job.stop_since.setdefault(lease, now)
                    if now - since > GRACE_SECONDS and (lease in job.began or job.heard is None):
                        self._cancel(job, lease, _timeout(spec, job, lease, now, over))
                        break
            if job.heard is not None and now - job.heard > _SILENT_SECONDS and job.waiting:
                lease = next((lease for lease in job.waiting if lease in job.began), next(iter(job.waiting)))
                silent = f"its worker was silent for {_SILENT_SECONDS:.0f} s"
                self._cancel(job, lease, _lost(job.waiting[lease], job, lease, silent))

    def _cancel(self, job: _Job, lease: str, outcome: Outcome) -> None:
        """Settle a trial from here and take its worker away. What else the job held comes back when it has ended."""
        self._settle(job, lease, outcome)
        self._spark.sparkContext.cancelJobsWithTag(job.tag)


def _understand(content: dict[str, Any]) -> _Word:
    """A message's content, checked before anything is done with it.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it makes no sense.
    """
    lease, event = str(content["lease"]), content["event"]
    if event not in {"began", "epochs", "beat", "ended"}:
        raise ValueError(f"a word must be began, epochs, beat or ended; got {event!r}")
    epochs = [Epoch(**epoch) for epoch in content["epochs"]] if event == "epochs" else []
    outcome = Outcome.of(content["outcome"]) if event == "ended" else None
    if outcome is not None and outcome.lease != lease:
        raise ValueError(f"an outcome must be of the lease that it came under; got trial {outcome.number}")
    return _Word(lease, event, int(content["first"]) if epochs else 0, epochs, outcome)


def _is_late(job: _Job, lease: str, spec: TrialSpec, now: float) -> bool:
    if spec.seconds is None:
        return False
    if job.heard is None:  # nobody tells when it began
        return now - job.submitted > spec.seconds * len(job.waiting) + _START_SECONDS
    return lease in job.began and now - job.began[lease] > spec.seconds


def _lost(spec: TrialSpec, job: _Job, lease: str, error: str) -> Outcome:
    epochs = tuple(job.epochs.get(lease, ()))
    text = error or "its Spark job ended without an outcome"
    return Outcome(spec.number, spec.attempt, Ending.LOST, epochs=epochs, error=text, lease=spec.lease)


def _timeout(spec: TrialSpec, job: _Job, lease: str, now: float, over: bool) -> Outcome:
    if over:
        error = "the sweep's time (sweep.budget_seconds) is over; give it more, or fewer epochs"
    else:
        error = f"a trial may take {spec.seconds:g} s (sweep.trial_seconds); raise it, or make the network smaller"
    seconds = now - job.began.get(lease, job.submitted)
    epochs = tuple(job.epochs.get(lease, ()))
    return Outcome(
        spec.number, spec.attempt, Ending.TIMEOUT, epochs=epochs, seconds=seconds, error=error, lease=spec.lease
    )
