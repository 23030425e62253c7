from __future__ import annotations

import pytest
from windrow.sweep import efficiency
from windrow.sweep.efficiency import Clock
from windrow.sweep.outcomes import Ending, Outcome


def test_the_figures_of_two_slots_and_three_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slot A: 4 s of trial, 4 s of trial. Slot B: 1 s of import and 5 s of trial, then nothing. 2 s to begin with."""
    now = [100.0]
    monkeypatch.setattr(efficiency, "monotonic", lambda: now[0])
    clock = Clock(slots=2, _begin=100.0, _end=100.0)
    clock.import_seconds += 5.0  # in another worker, before the clock began
    now[0] = 102.0
    clock.start()
    clock.start()
    clock.note(busy=2)
    now[0] = 106.0
    clock.add(Outcome(0, 1, Ending.OK, 0.5, seconds=4.0))
    clock.note(busy=1)
    clock.start()
    clock.note(busy=2)
    now[0] = 108.0
    clock.add(Outcome(1, 1, Ending.OK, 0.5, seconds=5.0, import_seconds=1.0))
    clock.note(busy=1)
    now[0] = 110.0
    clock.add(Outcome(2, 1, Ending.OK, 0.5, seconds=4.0, fused=2, gain=1.2))
    clock.note(busy=0)
    assert clock.figures(cores=3) == {
        "trials_per_hour": 1080.0,  # 3 in 10 s
        "core_seconds_per_trial": 13.0,  # (4 + 5 + 4) x 3 cores / 3
        "overhead_seconds_per_trial": 1.333,  # 20 slot-seconds - 13 - 1 of import - 2 of tail, over 3
        "tensorflow_import_seconds": 6.0,
        "idle_tail_seconds": 2.0,
        "speed_up": 1.3,
        "fused_trials": 1.0,
        "fused_gain": 1.2,
    }


def test_a_sweep_that_had_nothing_to_train_has_no_figures() -> None:
    assert Clock(slots=2).figures(cores=1) == {}


def test_slots_that_came_later_were_not_idle_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot trains from 0 to 10; a second comes at 6 and trains until 10."""
    now = [0.0]
    monkeypatch.setattr(efficiency, "monotonic", lambda: now[0])
    clock = Clock(slots=1, _begin=0.0, _end=0.0)
    clock.start()
    clock.note(busy=1)
    now[0] = 6.0
    clock.grow(2)
    clock.start()
    clock.note(busy=2)
    now[0] = 10.0
    clock.add(Outcome(0, 1, Ending.OK, 0.5, seconds=10.0))
    clock.add(Outcome(1, 1, Ending.OK, 0.5, seconds=4.0))
    clock.note(busy=0)
    figures = clock.figures(cores=1)
    assert clock.slots == 2
    assert (figures["overhead_seconds_per_trial"], figures["idle_tail_seconds"]) == (0.0, 0.0)
    assert figures["speed_up"] == 1.4
