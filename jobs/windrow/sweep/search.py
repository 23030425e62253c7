"""Pass trials from the study to the schedule, and their results to the ledger, the sampler, the pruner and MLflow."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from windrow.errors import BuilderError
from windrow.experiment.wording import time_left
from windrow.plural import counted
from windrow.sweep.ledger import Entry, Lease
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.progress import plateau
from windrow.sweep.progress.estimate import FIRST_TRIALS, Estimate
from windrow.sweep.progress.plateau import Plateau
from windrow.sweep.spec import TrialFacts, TrialSpec, facts_of, trial_spec
from windrow.sweep.study import Study
from windrow.sweep.trial import WORTHWHILE
from windrow.training import fused
from windrow.training.loop import Epoch
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from windrow.channel import Address
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment

_LEASE_SECONDS = 3.0  # trials that take less together share a Spark job
_JOB_SECONDS = 0.05  # the least overhead of a Spark job (docs/benchmarks.md)
_MOST_LEASES = 32
_TOGETHER = 8  # trials that a worker may train as one graph
_RECENT = 20  # trials from which the next one's duration is estimated
_STATUS_SECONDS = 15.0  # between two lines of progress while no trial ends


class TrialLog(Protocol):
    """Logs a sweep's trials. Methods return at once; `end` is called when the outcome is already in the ledger."""

    def begin(self, lease: Lease, facts: TrialFacts) -> None:
        """Log that an attempt was given to a slot."""

    def epochs(self, number: int, first: int, epochs: Sequence[Epoch]) -> None:
        """Log metrics of the trial `number`, from the epoch `first` on."""

    def end(self, outcome: Outcome, over: bool) -> None:
        """Log how an attempt ended; `over` is True if the trial gets no further attempt."""

    def progress(self, finished: int, pruned: int, best: Entry | None) -> None:
        """Log the sweep's progress."""

    def estimate(self, text: str) -> None:
        """Log an estimate of the sweep's time, as a sentence."""


class Search:
    """The study as a source of trials for the schedule.

    Args:
        address: the driver's address, to which trials report; None if they do not report.
        gpu: True if Spark gives each task a GPU.

    Attributes:
        out_of_time: True once the sweep's time budget is used up.
    """

    def __init__(
        self,
        page: Experiment,
        builder: Builder,
        dataset: Manifest,
        study: Study,
        log: TrialLog,
        address: Address | None = None,
        gpu: bool = False,
    ) -> None:
        self._page, self._builder, self._dataset = page, builder, dataset
        self._study, self._log, self._address = study, log, address
        # On a CPU, one graph for several dense networks is not faster (docs/benchmarks.md), and for the few heads of a
        # slot hardly (docs/decisions.md): not tried by default.
        self._fused = gpu if page.sweep.fused is None else page.sweep.fused
        self._running: dict[str, Lease] = {}
        self._durations = [trial.seconds for trial in study.finished() if trial.ending is Ending.OK]
        self._estimate = Estimate(page.sweep, [trial.seconds for trial in study.finished()])
        self._gain: float | None = None
        self._plateau: Plateau | None = None
        self._begun, self._stopped, self._looked_at = False, False, -1
        self._spent_before, self._begin = study.ledger.spent_seconds, monotonic()
        self._spent_noted = self._status_at = self._begin
        self._slots = 1
        self.out_of_time = False

    def next(self, slots: int) -> list[TrialSpec]:
        """Return trials for one slot: one, or several that are short or may share a graph.

        The list is empty if no trial is due, or if none would end in time.
        """
        self._slots = slots
        new = not self._may_stop()
        if not self._begun:
            self._begun = True
            self._print_estimate("before the first trial" if not self._estimate.trials else "as the study goes on")
        wanted = self._leases(slots)
        specs: list[TrialSpec] = []
        while len(specs) < wanted and self._in_time(len(specs) + 1) and (lease := self._study.ask(new)) is not None:
            specs.append(self._begin_trial(lease))
            if lease.attempt > 1:
                break  # it may have killed its worker before: let no further trial share its job
        return specs

    def report(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        """Report epochs of a running trial to MLflow and the pruner; return "pruned" if it should stop, else ""."""
        number = self._running[lease].number
        self._log.epochs(number, first, epochs)
        self._estimate.add_epochs(epochs)
        pruned = False
        for index, epoch in enumerate(epochs, start=first):
            if index < self._page.sweep.epochs:  # stopping after the last epoch would save nothing
                pruned = self._study.report(number, index, epoch) or pruned
        return Ending.PRUNED.value if pruned else ""

    def settle(self, outcome: Outcome) -> None:
        """Record an outcome in the ledger, the sampler and MLflow; an outcome whose lease no longer counts is ignored.

        Raises:
            BuilderError: a user's network function can't be used, and no trial has ended ok yet.
            ServiceError: the study's disk is full or can't be written.
        """
        self._running.pop(outcome.lease, None)
        entry = self._study.settle(outcome)
        self._note_spent()
        if entry is None:
            return
        self._log.end(outcome, over=entry.outcome is not None)
        if outcome.ending is Ending.OK:
            self._durations.append(outcome.seconds)
        if outcome.gain:
            self._gain = outcome.gain
        if entry.outcome is not None:
            self._estimate.add(outcome.seconds)
            self._print(f"trial {outcome.number}: {self._result(outcome)} in {outcome.seconds:.1f} s{_graph(outcome)}")
            self._stop_if_builder_is_broken(outcome)
            if self._estimate.trials == FIRST_TRIALS:
                self._print_estimate(f"after {FIRST_TRIALS} trials")

    def give_back(self, lease: str) -> None:
        """Give back to the study a trial that never began, because its job ended early (its worker was lost)."""
        running = self._running.pop(lease, None)
        if running is not None:
            self._study.give_back(running)

    def tick(self, running: int) -> bool:
        """Print the progress if no trial has ended for a while; return True if the time budget is used up."""
        if monotonic() - self._status_at > _STATUS_SECONDS:
            self._print(f"{running} running")
        self.out_of_time = self.out_of_time or self._left() <= 0
        return self.out_of_time

    def _begin_trial(self, lease: Lease) -> TrialSpec:
        sweep = self._page.sweep
        facts = facts_of(self._page, lease.number, lease.point)
        spec = trial_spec(self._page, self._builder, self._dataset, lease.number, facts)
        self._running[lease.token] = lease
        self._log.begin(lease, facts)
        return replace(
            spec,
            attempt=lease.attempt,
            lease=lease.token,
            address=self._address,
            seconds=sweep.trial_seconds,
            mebibytes=sweep.trial_mebibytes,
            prune=sweep.pruner != "none",
            cost=sweep.cost,
            fused=self._may_fuse(),
        )

    def _leases(self, slots: int) -> int:
        """Return how many trials a slot gets at once: several if they are short or may be fused, fewer near the end."""
        wanted, fair = 1, math.ceil(self._study.left / (2 * slots))
        if self._durations:
            seconds = median(self._durations[-_RECENT:])
            wanted = int(_LEASE_SECONDS / max(1e-3, seconds))
            share = (self._study.left + len(self._running)) / slots
            if share * seconds < _JOB_SECONDS:
                fair = math.ceil(share)  # an idle slot at the end costs less than another Spark job
        if self._may_fuse() and fused.key(self._builder, self._page.network.defaults()) is not None:
            wanted = max(wanted, _TOGETHER)
        most = plateau.left(self._plateau, self._page.sweep) or _MOST_LEASES  # later ones may not be needed
        return max(1, min(wanted, fair, most, _MOST_LEASES))

    def _may_fuse(self) -> bool:
        sweep = self._page.sweep
        limited = sweep.trial_seconds is not None or sweep.trial_mebibytes is not None
        alone = sweep.deterministic or limited or sweep.cost is not None
        return self._fused and not alone and (self._gain is None or self._gain >= WORTHWHILE)

    def _left(self) -> float:
        """Return the seconds that are left of the time budget; infinity without a budget."""
        budget = self._page.sweep.budget_seconds
        return math.inf if budget is None else budget - self._spent_before - (monotonic() - self._begin)

    def _in_time(self, trials: int) -> bool:
        """Estimate whether one slot can finish `trials` trials in time, by the third quartile of recent durations."""
        recent = self._durations[-_RECENT:]
        expected = quantiles(recent, n=4)[2] if len(recent) > 1 else sum(recent)
        return not self.out_of_time and self._left() > expected * trials

    def _note_spent(self) -> None:
        now = monotonic()
        self._study.ledger.spend(now - self._spent_noted)
        self._spent_noted = now

    def _result(self, outcome: Outcome) -> str:
        value = outcome.ending.value if outcome.value is None else f"{outcome.value:.4f}"
        return f"{self._page.sweep.objective} {value}"

    def _print(self, event: str) -> None:
        study = self._study
        finished, pruned = study.endings.total(), study.endings[Ending.PRUNED]
        best = f"best {study.best.value:.4f} (trial {study.best.number})" if study.best else "no trial ok yet"
        parts = [event, best, *([f"{pruned} pruned"] if pruned else []), *self._time_left(finished)]
        print(f"[{finished}/{study.budget}] {'; '.join(parts)}", file=sys.stderr, flush=True)
        self._status_at = monotonic()
        self._log.progress(finished, pruned, study.best)

    def _time_left(self, finished: int) -> list[str]:
        """Return the time left as a list of one text: an estimate by the durations so far, at most the time budget.

        The list is empty before the first epoch, and at the end.
        """
        left = self._study.budget - finished if not self._stopped else len(self._running)
        seconds = self._estimate.left(left, self._slots)
        return [] if seconds is None or left <= 0 else [time_left(min(seconds, self._left()))]

    def _print_estimate(self, when: str) -> None:
        """Print and log how long the trials that are left will take, or that this is not known yet."""
        left = self._study.budget - self._study.endings.total()
        if left <= 0 or self._stopped or self._left() <= 0:
            return  # no trial begins
        seconds = self._estimate.left(left, self._slots)
        known = "a time that is not known until the first epoch" if seconds is None else self._duration(seconds)
        most = "at most " if self._page.sweep.stop_after is not None else ""
        text = f"{when}: {most}{counted(left, 'trial')} on {counted(self._slots, 'slot')} will take {known}"
        print(f"estimate {text}", file=sys.stderr, flush=True)
        self._log.estimate(f"{text[0].upper()}{text[1:]}.")

    def _duration(self, seconds: float) -> str:
        """Return an estimate in words: the duration, at most the time budget, and the hour of the end."""
        least = min(seconds, self._left())
        end = datetime.now(UTC) + timedelta(seconds=least)
        return f"{time_left(least).removesuffix(' left')}, until {end:%Y-%m-%d %H:%M} UTC"

    def _may_stop(self) -> bool:
        """Return whether no new trial may begin, because the last ones found nothing better (sweep.stop_after).

        A trial with a lower number that still trains may be better: then new ones begin again.
        """
        study = self._study
        if self._page.sweep.stop_after is None or study.left <= 0 or not study.between_generations:
            return False
        if self._looked_at != (finished := study.endings.total()):
            self._looked_at = finished
            self._plateau = plateau.of_study(study, self._dataset)
        stopped = plateau.left(self._plateau, self._page.sweep) == 0
        if stopped != self._stopped:
            study.remember(trials=str(len(study.ledger) if stopped else study.budget))
            print(
                self._plateau.text if self._plateau and stopped else "a trial was better: the sweep goes on",
                file=sys.stderr,
            )
        self._stopped = stopped
        return stopped

    def _stop_if_builder_is_broken(self, outcome: Outcome) -> None:
        # A file that can't be imported fails in every trial, so stop at the first one. Once a trial has ended ok, the
        # file works, and a failure is due to the trial's point.
        mistake = outcome.error.strip().rpartition("BuilderError: ")
        if outcome.ending is Ending.FAILED and mistake[1] and self._study.best is None:
            raise BuilderError(mistake[2].splitlines()[0])


def _graph(outcome: Outcome) -> str:
    """Describe how much faster a trial was because it trained in one graph with others; empty if it trained alone."""
    return f" (one graph for {outcome.fused}, {outcome.gain:.2f} times as fast)" if outcome.fused > 1 else ""
