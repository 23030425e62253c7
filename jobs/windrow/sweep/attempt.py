"""An attempt at a trial while it lasts, on the executor: what was measured, what the driver said, its limits."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from time import perf_counter
from typing import TextIO

import psutil  # type: ignore[import-untyped]

from windrow import channel
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

BEAT_SECONDS = 2.0
_SAMPLE_SECONDS = 0.1  # a builder that fills memory takes some 100 MiB in this time
_REPORT_SECONDS = 0.25  # epochs shorter than this are told several at once, where nobody prunes
_PRINTED_CHARACTERS = 10_000  # of a builder's own output, a trial
_MEBIBYTE = 1 << 20


class Attempt:
    """One attempt under way. `stop` is the driver's word, or the attempt's own when its time is over."""

    def __init__(self, spec: TrialSpec) -> None:
        self.spec = spec
        self.epochs: list[Epoch] = []
        self.stop = ""
        self.import_seconds = 0.0
        self.peak = 0.0
        self._start, self._began_at = perf_counter(), time.time()
        self._told, self._told_at = 0, self._start
        self._process = os.getpid()
        self._line = channel.reach(spec.address)

    @property
    def seconds(self) -> float:
        """Wall clock since the attempt began, without the import of TensorFlow."""
        return perf_counter() - self._start - self.import_seconds

    def begin(self) -> None:
        """Tell the driver that the clock runs. `stop` then says if the attempt counts no longer: it must not train."""
        self._say({"event": "began", "worker": _worker()})
        if self.spec.ask_first and self._line is None:
            self.stop = self.stop or Ending.LOST

    def add(self, epoch: Epoch) -> None:
        """Keep an epoch, tell it, and hear whether to go on."""
        self.epochs.append(epoch)
        if self.spec.prune or perf_counter() - self._told_at >= _REPORT_SECONDS:
            self._say(
                {"event": "epochs", "first": self._told + 1, "epochs": list(map(asdict, self.epochs[self._told :]))}
            )
            self._told, self._told_at = len(self.epochs), perf_counter()
        if self.spec.seconds is not None and self.seconds > self.spec.seconds:
            self.stop = self.stop or Ending.TIMEOUT

    def end(self, outcome: Outcome) -> Outcome:
        """Tell the outcome; gives it back. Where the driver can't be reached, it comes with the Spark task's result."""
        if outcome.network is None:
            self._say({"event": "ended", "outcome": outcome.record()})
        return outcome

    def outcome(self, ending: Ending, value: float | None = None, error: str = "") -> Outcome:
        """The record of this attempt."""
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
        )

    def verdict(self) -> Outcome:
        """What the epochs and the driver's word make of it."""
        last = self.epochs[-1]
        if not last.finite:
            error = f"the loss must stay finite; got {last.loss} in epoch {len(self.epochs)}; lower the learning rate"
            return self.outcome(Ending.DIVERGED, error=error)
        if len(self.epochs) < self.spec.epochs and self.stop:
            return self.stopped()
        return self.outcome(Ending.OK, last.metrics()[self.spec.objective])

    def stopped(self) -> Outcome:
        """The record of an attempt that was told to stop."""
        ending = Ending(self.stop)
        errors = {
            Ending.PRUNED: "",
            Ending.LOST: "a trial begins with the driver's consent; it was not to be had: the attempt counts no longer",
        }
        return self.outcome(ending, error=errors.get(ending, self._too_long()))

    def leave_if_forked(self) -> None:
        """End a process that a user's builder forked off: two must not write one result."""
        if os.getpid() != self._process:
            os._exit(1)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Beat, and watch the memory, while the block runs; end the processes that it leaves."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), name="watch", daemon=True)
        before = {child.pid for child in psutil.Process().children(recursive=True)} if _has_children() else set()
        watcher.start()
        try:
            yield
        finally:
            self.leave_if_forked()
            done.set()
            watcher.join(10.0)
            self._sample()
            _end_children(before)

    def _watch(self, done: threading.Event) -> None:
        beat = perf_counter()
        while not done.wait(_SAMPLE_SECONDS):
            self._sample()
            if self.spec.mebibytes is not None and self.peak > self.spec.mebibytes:
                self._end_out_of_memory()
            if perf_counter() - beat >= BEAT_SECONDS:
                self._say({"event": "beat"})
                beat = perf_counter()

    def _sample(self) -> None:
        self.peak = max(self.peak, psutil.Process().memory_info().rss / _MEBIBYTE)

    def _end_out_of_memory(self) -> None:
        """The only memory that is sure to come back is a process'. Spark starts another worker for the next trial."""
        error = (
            f"a trial's worker may have {self.spec.mebibytes} MiB resident (sweep.trial_mebibytes); it had "
            f"{self.peak:.0f}; raise the limit, or make the network or the batch smaller"
        )
        self.end(self.outcome(Ending.OUT_OF_MEMORY, error=error))
        _end_children(set())
        os.kill(os.getpid(), signal.SIGKILL)

    def _too_long(self) -> str:
        return f"a trial may take until it is stopped; it was, after {self.seconds:.1f} s and {len(self.epochs)} epochs"

    def _say(self, content: dict[str, object]) -> None:
        if self._line is None or not self._line.mine:
            return
        try:
            self.stop = self._line.ask({"lease": self.spec.lease, **content}) or self.stop
        except (OSError, EOFError, ValueError):
            self._line = None
            channel.forget(self.spec.address)


@contextmanager
def short_of_words(number: int) -> Iterator[None]:
    """Let a user's code print so much and no more: an executor's log is somebody's disk."""
    kept = sys.stdout, sys.stderr
    budget = [_PRINTED_CHARACTERS]
    sys.stdout = sys.stderr = _Short(kept[1], number, budget)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


class _Short:
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
    """Kill what the trial has started and left running."""
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
    """Whether this process has any; asking psutil reads every process of the machine."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _worker() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"
