"""Run one attempt on an executor: measure it, enforce its limits, and report to the driver."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TextIO

import psutil  # type: ignore[import-untyped]

from windrow import channel
from windrow.experiment.values import OBJECTIVE_DIRECTIONS
from windrow.plural import counted
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

BEAT_SECONDS = 2.0
_SAMPLE_SECONDS = 0.1  # a runaway builder allocates about 100 MiB in this time
# Shorter epochs are reported several at a time, unless a pruner needs each: MLflow takes 8 ms of a core per report.
_REPORT_SECONDS = 1.0
_PRINTED_CHARACTERS = 10_000  # most output of a user's code per trial
_MEBIBYTE = 1 << 20


class RunningAttempt:
    """An attempt while it runs on an executor; ledger.Attempt is its entry on the driver.

    Attributes:
        spec: what to train.
        epochs: metrics of the epochs so far.
        best: number of the epoch with the best objective so far, from 1; the first of equal ones; 0 at first.
        stop: the ending with which the attempt must stop before its last epoch; "" to go on. It is set by the
            driver's answers, by the time limit, and if the driver's consent is required but no driver answers.
        import_seconds: time that importing TensorFlow took.
        peak: the largest resident memory so far, in MiB.
    """

    def __init__(self, spec: TrialSpec) -> None:
        self.spec = spec
        self.epochs: list[Epoch] = []
        self.best = 0
        self.stop = ""
        self.import_seconds = 0.0
        self.peak = 0.0
        self._start, self._began_at = perf_counter(), time.time()
        self._reported, self._reported_at = 0, self._start
        self._process = os.getpid()
        self._line = channel.reach(spec.address)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the attempt began, without the import of TensorFlow."""
        return perf_counter() - self._start - self.import_seconds

    def begin(self) -> None:
        """Report that the attempt begins. If `stop` is set afterwards, the attempt must not train."""
        self._report({"event": "began", "worker": _worker()})
        if self.spec.ask_first and self._line is None:
            # No driver answers: this is Spark's own retry of a task after the driver has died.
            self.stop = self.stop or Ending.LOST

    def add(self, epoch: Epoch) -> None:
        """Add an epoch, and report it now or with a later one; the driver's answer or the time limit may set `stop`."""
        if self._is_better(epoch):
            self.best = len(self.epochs) + 1
        self.epochs.append(epoch)
        # A report waits about a millisecond for its answer, which is as long as a whole epoch of a small network.
        if self.spec.prune or perf_counter() - self._reported_at >= _REPORT_SECONDS:
            new = [each.metrics() for each in self.epochs[self._reported :]]
            self._report({"event": "epochs", "first": self._reported + 1, "epochs": new})
            self._reported, self._reported_at = len(self.epochs), perf_counter()
        if self.spec.seconds is not None and self.seconds > self.spec.seconds:
            self.stop = self.stop or Ending.TIMEOUT

    @property
    def over(self) -> bool:
        """True if no further epoch may be trained.

        That is so if all are done, the patience is used up, a loss is not finite, or the attempt must stop.
        """
        return self._complete or bool(self.stop) or not self.epochs[-1].finite

    @property
    def _complete(self) -> bool:
        done, patience = len(self.epochs), self.spec.patience
        return done >= self.spec.epochs or (patience is not None and done - self.best >= patience)

    def _is_better(self, epoch: Epoch) -> bool:
        if not self.best:
            return True
        name = self.spec.objective
        new, best = getattr(epoch, name), getattr(self.epochs[self.best - 1], name)
        return bool(new > best if OBJECTIVE_DIRECTIONS[name] == "maximize" else new < best)

    def end(self, outcome: Outcome) -> Outcome:
        """Report the outcome, unless it contains a network, and return it.

        The Spark task returns the outcome too, in case the report does not arrive.
        """
        if outcome.network is None:  # a network is larger than a message may be
            self._report({"event": "ended", "outcome": outcome.record()})
        return outcome

    def outcome(self, ending: Ending, value: float | None = None, error: str = "") -> Outcome:
        """Return an outcome with this ending and the measurements so far."""
        self._sample()  # the watcher's first sample comes later than the end of a short attempt
        return Outcome(
            self.spec.number,
            self.spec.attempt,
            ending,
            value,
            tuple(self.epochs),
            self.seconds,
            self.import_seconds,
            error,
            _worker(),
            lease=self.spec.lease,
            peak_mebibytes=self.peak,
            began_at=self._began_at,
            ended_at=time.time(),
            repeat=self.spec.repeat,
        )

    def verdict(self) -> Outcome:
        """Return the attempt's outcome, judged by its epochs so far and by `stop`."""
        last = self.epochs[-1]
        if not last.finite:
            error = f"the loss must stay finite; got {last.loss} in epoch {len(self.epochs)}; lower the learning rate"
            return self.outcome(Ending.DIVERGED, error=error)
        if self.stop and not self._complete:
            return self.stopped()
        chosen = last if self.spec.patience is None else self.epochs[self.best - 1]
        return self.outcome(Ending.OK, chosen.metrics()[self.spec.objective])

    def stopped(self) -> Outcome:
        """Return the outcome of an attempt that stops before its last epoch; `stop` is the ending."""
        ending = Ending(self.stop)
        errors = {
            Ending.PRUNED: "",
            Ending.LOST: "a trial begins with the driver's consent; got none: the attempt counts no longer",
        }
        return self.outcome(ending, error=errors.get(ending, self._too_long()))

    def leave_if_forked(self) -> None:
        """Exit if this is a process that a user's builder forked: two processes must not write one result."""
        # Not sys.exit, which would unwind the worker's stack in the fork, up to Spark's own loop.
        if os.getpid() != self._process:
            os._exit(1)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Send heartbeats and enforce the memory limit in the block; then kill processes that the block left running.

        A separate thread sends the heartbeats, so that a worker in a long compilation or epoch does not look lost.
        """
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), name="watch", daemon=True)
        before = {child.pid for child in psutil.Process().children(recursive=True)} if _has_children() else set()
        watcher.start()
        try:
            yield
        finally:
            self.leave_if_forked()
            done.set()
            watcher.join(10.0)  # with a timeout: the thread may be waiting for an answer from a driver that is gone
            self._sample()
            _end_children(before)

    def _watch(self, done: threading.Event) -> None:
        beat = perf_counter()
        while not done.wait(_SAMPLE_SECONDS):
            self._sample()
            if self.spec.mebibytes is not None and self.peak > self.spec.mebibytes:
                self._end_out_of_memory()
            if perf_counter() - beat >= BEAT_SECONDS:
                self._report({"event": "beat"})
                beat = perf_counter()

    def _sample(self) -> None:
        self.peak = max(self.peak, psutil.Process().memory_info().rss / _MEBIBYTE)

    def _end_out_of_memory(self) -> None:
        """Report the outcome and kill this process, because only the end of a process is sure to free its memory.

        Spark starts another worker for the next trial.
        """
        error = (
            f"a trial's worker may have {self.spec.mebibytes} MiB resident (sweep.trial_mebibytes); it had "
            f"{self.peak:.0f}; raise the limit, or make the network or the batch smaller"
        )
        # Report first, because Spark returns nothing from a killed worker. The training thread, which holds the memory,
        # can't be stopped from here. SIGKILL, because a user's code can't catch it.
        self.end(self.outcome(Ending.OUT_OF_MEMORY, error=error))
        _end_children(set())
        os.kill(os.getpid(), signal.SIGKILL)

    def _too_long(self) -> str:
        epochs = counted(len(self.epochs), "epoch")
        return f"a trial may take until it is stopped; it was, after {self.seconds:.1f} s and {epochs}"

    def _report(self, content: dict[str, object]) -> None:
        if self._line is None or not self._line.mine:
            return
        try:
            # An empty answer does not clear an earlier reason to stop.
            self.stop = self._line.ask({"lease": self.spec.lease, **content}) or self.stop
        except (OSError, EOFError, ValueError):
            # The driver is gone, or too busy. The trial continues: its outcome is returned as the Spark task's result.
            self._line = None
            channel.forget(self.spec.address)


@contextmanager
def limited_output(number: int) -> Iterator[None]:
    """Limit what a user's code prints during the block, so that the executor's log does not fill the disk.

    Standard output goes to standard error.
    """
    before = sys.stdout, sys.stderr
    budget = [_PRINTED_CHARACTERS]
    sys.stdout = sys.stderr = _LimitedOutput(before[1], number, budget)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _LimitedOutput:
    def __init__(self, out: TextIO, number: int, budget: list[int]) -> None:
        self._out, self._number, self._budget = out, number, budget

    def write(self, text: str) -> int:
        left = self._budget[0]
        self._budget[0] -= len(text)
        if left > 0:
            self._out.write(text[:left])
            if len(text) > left:
                self._out.write(f"\n(trial {self._number} printed more; it is left out)\n")
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._out, name)


def _end_children(before: set[int]) -> None:
    """Kill the processes that the trial has left running: all descendants of this one, except those in `before`."""
    if not _has_children():
        return
    ended = []
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            if child.pid not in before:
                with suppress(psutil.Error):
                    child.kill()
                    ended.append(child)
    psutil.wait_procs(ended, timeout=3.0)


def _has_children() -> bool:
    """Return whether this process has children. Faster than psutil, which would read every process of the machine."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _worker() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"
