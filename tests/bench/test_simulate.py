"""bench/simulate.py against what can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(0.01, 100)
cost = st.floats(0, 5)


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("simulate")


def list_scheduling(durations: list[float], workers: int) -> float:
    """Greedy: each trial to the worker that is free first."""
    free = [0.0] * workers
    for duration in durations:
        first = free.index(min(free))
        free[first] += duration
    return max(free)


@given(durations=st.lists(seconds, min_size=1, max_size=30), driver=cost, dispatch=cost)
def test_one_worker_takes_the_sum_of_everything(
    bench: ModuleType, durations: list[float], driver: float, dispatch: float
) -> None:
    expected = sum(durations) + len(durations) * (driver + dispatch)
    assert bench.simulate(durations, 1, driver, dispatch) == pytest.approx(expected)


@given(durations=st.lists(seconds, min_size=1, max_size=30), workers=st.integers(1, 8))
def test_without_overhead_it_is_greedy_list_scheduling(bench: ModuleType, durations: list[float], workers: int) -> None:
    assert bench.simulate(durations, workers, 0, 0) == pytest.approx(list_scheduling(durations, workers))


@given(durations=st.lists(seconds, min_size=1, max_size=30), workers=st.integers(1, 8), dispatch=cost)
def test_dispatch_latency_only_lengthens_every_trial(
    bench: ModuleType, durations: list[float], workers: int, dispatch: float
) -> None:
    longer = [duration + dispatch for duration in durations]
    assert bench.simulate(durations, workers, 0, dispatch) == pytest.approx(list_scheduling(longer, workers))


@given(count=st.integers(1, 200), driver=st.floats(0.01, 1))
def test_a_worker_a_trial_leaves_only_the_driver_to_wait_for(bench: ModuleType, count: int, driver: float) -> None:
    assert bench.simulate([3.0] * count, count, driver, 0.5) == pytest.approx(count * driver + 0.5 + 3.0)


def test_a_driver_that_is_slower_than_the_workers_bounds_the_speed_up(bench: ModuleType) -> None:
    rows = bench.curve([1.0] * 10_000, driver=0.1, dispatch=0.0)
    speed_ups = [row["speed_up"] for row in rows]
    assert speed_ups[:3] == pytest.approx([1.0, 2.0, 5.0], rel=0.01)
    assert max(speed_ups) == pytest.approx(1.1 / 0.1, rel=0.01)
    assert rows[-1]["driver_busy"] == "100%"


def test_two_workers_that_ask_at_once_are_served_one_after_the_other(bench: ModuleType) -> None:
    # Worker 1 is served from 0 to 1 and trains until 11; worker 2 from 1 to 2, and trains until 12.
    assert bench.simulate([10.0, 10.0], 2, driver=1.0, dispatch=0.0) == 12.0


def test_more_trials_than_recorded_are_drawn_from_the_recorded_ones(bench: ModuleType) -> None:
    drawn = bench.draw([1.0, 2.0, 3.0], 50)
    assert drawn[:3] == [1.0, 2.0, 3.0]
    assert len(drawn) == 50
    assert set(drawn) == {1.0, 2.0, 3.0}
    assert drawn == bench.draw([1.0, 2.0, 3.0], 50)
    assert bench.draw([1.0, 2.0, 3.0], 2) == [1.0, 2.0]


def test_durations_are_read_from_a_list_or_from_the_result_of_a_sweep(bench: ModuleType, tmp_path: Path) -> None:
    plain, result = tmp_path / "list.json", tmp_path / "sweeps.json"
    plain.write_text("[1, 2.5]")
    result.write_text(
        '{"runs": [{"tool": "ray", "trial_seconds": [9]}, {"tool": "windrow", "trial_seconds": [1, 2]}, '
        '{"tool": "windrow", "error": "late"}]}'
    )
    assert bench.read_durations(plain) == [1.0, 2.5]
    assert bench.read_durations(result) == [1, 2]
