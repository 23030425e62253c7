"""Measure how a sweep's time was used, in the figures that every sweep reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from windrow.sweep.outcomes import Outcome


@dataclass
class Clock:
    """Adds up times and counts while a sweep runs. A slot-second is one slot, busy or idle, for one second.

    Attributes:
        slots: slots now.
        jobs: Spark jobs started.
        connected: True once any worker has reached the driver.
        trials: attempts that have ended.
        trial_seconds: time that the attempts took, without importing TensorFlow.
        import_seconds: time that workers took to import TensorFlow, before the sweep began or for attempts.
        fused_trials: attempts that trained in one graph with others.
        fused_gain: the last gain that fused.gain measured, see Outcome; 0 if it was not measured.
    """

    slots: int
    jobs: int = 0
    connected: bool = False
    trials: int = 0
    trial_seconds: float = 0.0
    import_seconds: float = 0.0
    fused_trials: int = 0
    fused_gain: float = 0.0
    _imports_for_attempts: float = 0.0
    _begin: float = field(default_factory=monotonic)
    _end: float = field(default_factory=monotonic)
    _idle_since_start: float = 0.0
    _idle_slots: int = 0
    _absent: float = 0.0

    def grow(self, slots: int) -> None:
        """Raise the number of slots; the new ones count as absent until now."""
        busy = self.slots - self._idle_slots
        self.note(busy)
        self._absent += (slots - self.slots) * (self._end - self._begin)
        self.slots, self._idle_slots = slots, slots - busy

    def start(self) -> None:
        """Note that a job starts: idle time before it does not belong to the idle tail at the sweep's end."""
        self.jobs += 1
        self._idle_since_start = 0.0

    def note(self, busy: int) -> None:
        """Note the number of busy slots."""
        now = monotonic()
        self._idle_since_start += self._idle_slots * (now - self._end)
        self._end, self._idle_slots = now, self.slots - busy

    def add(self, outcome: Outcome) -> None:
        """Count an attempt that has ended."""
        self.trials += 1
        self.trial_seconds += outcome.seconds
        self.import_seconds += outcome.import_seconds
        self._imports_for_attempts += outcome.import_seconds
        self.fused_gain = outcome.gain or self.fused_gain
        if outcome.fused > 1:
            self.fused_trials += 1

    def figures(self, cores: int) -> dict[str, float]:
        """Return the sweep's figures, where each trial used `cores` cores; empty if nothing was trained.

        overhead_seconds_per_trial: slot-seconds spent neither training, nor importing TensorFlow, nor in the idle tail;
            at least 0.
        tensorflow_import_seconds: sum over all workers.
        idle_tail_seconds: slot-seconds without work after the last job started.
        speed_up: training seconds per second of wall clock, which is the gain over one slot that only trains.
        fused_trials, fused_gain: see the attributes.
        """
        span = self._end - self._begin
        if not self.trials or span <= 0:
            return {}
        there = self.slots * span - self._absent
        overhead = there - self._idle_since_start - self.trial_seconds - self._imports_for_attempts
        return {
            "trials_per_hour": round(3600 * self.trials / span, 1),
            "core_seconds_per_trial": round(cores * self.trial_seconds / self.trials, 3),
            "overhead_seconds_per_trial": round(max(0.0, overhead) / self.trials, 3),
            "tensorflow_import_seconds": round(self.import_seconds, 2),
            "idle_tail_seconds": round(self._idle_since_start, 2),
            "speed_up": round(self.trial_seconds / span, 2),
            "fused_trials": float(self.fused_trials),
            "fused_gain": round(self.fused_gain, 2),
        }
