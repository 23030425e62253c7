from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from windrow import channel
from windrow.channel import Address, Line
from windrow.data import manifest
from windrow.errors import SparkError, UserError
from windrow.experiment import parameters
from windrow.sweep import cluster, schedule, trial
from windrow.sweep.attempt import RunningAttempt
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch
from windrow.training.networks import Builder

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow]
C_LOOP = "sum(iter(int, 1))"  # for ever, without leaving C and without letting go of Python's lock
DIGITS: list[str] = []
"""Digest of the data set that was sent to the workers."""


@pytest.fixture(scope="module")
def shipped(spark: Any, digits: Path) -> Any:
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import a test
    DIGITS[:] = [manifest.read(digits).digest]
    cluster.ship(spark, digits, manifest.read(digits), "train", "validation")
    return spark


def spec(number: int, body: str | None = None, **changes: Any) -> TrialSpec:
    """A real trial, whose builder runs `body`."""
    builder = Builder("dense") if body is None else Builder("mine.py:build", f"def build(**_):\n    {body}\n", "build")
    values = parameters.defaults(builder.name)
    lease = f"lease {number}"
    known = TrialSpec(number, 1, builder, values, (8, 8, 1), 10, 1, "val_accuracy", 1, lease=lease, dataset=DIGITS[0])
    return replace(known, **changes)


def light(number: int, *acts: str, **changes: Any) -> TrialSpec:
    """A trial without TensorFlow: each act is an epoch (see `play`)."""
    return spec(number, parameters={"acts": " ".join(acts)}, epochs=len(acts) or 1, **changes)


def play(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    """What a worker does for light trials: the same words to the driver, and an act an epoch instead of training."""
    for one in specs:
        attempt = RunningAttempt(one)
        with attempt.watched():
            attempt.begin()
            for act in str(one.parameters["acts"]).split() or ["rest"]:
                if act == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                elif act == "spin":
                    sum(iter(int, 1))
                elif act == "sleep":
                    time.sleep(600)
                elif act == "nap":
                    time.sleep(0.05)
                attempt.add(Epoch(1.0, 0.5, 1.0, 0.5, 0.01))
                if attempt.stop:
                    break
            yield attempt.end(attempt.verdict())


@pytest.fixture(autouse=True)
def grace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """How long a trial that was asked to stop may go on: a second, but for one test that takes the real time."""
    if "real_grace" not in request.fixturenames:
        monkeypatch.setattr(schedule, "GRACE_SECONDS", 1.0)
    return schedule.GRACE_SECONDS


@pytest.fixture
def real_grace() -> None:
    """Name this to have the product's own grace."""


class Listed:
    """A search over a list: hands out `chunk` at a time, keeps what it hears; lost ones are tried again if `again`."""

    def __init__(self, specs: Sequence[TrialSpec], chunk: int = 1, again: int = 0, prune_after: int = 10**9) -> None:
        self.waiting = list(specs)
        self.known = {one.lease: one for one in specs}
        self.chunk, self.again, self.prune_after = chunk, again, prune_after
        self.outcomes: list[Outcome] = []
        self.heard: dict[str, int] = {}
        self.returned: list[str] = []
        self.over = False

    def address(self, address: Address | None) -> None:
        self.waiting = [replace(one, address=address) for one in self.waiting]
        self.known = {one.lease: one for one in self.waiting}

    def next(self, slots: int) -> list[TrialSpec]:
        taken, self.waiting = self.waiting[: self.chunk], self.waiting[self.chunk :]
        return [] if self.over else taken

    def report(self, lease: str, first: int, epochs: Sequence[Epoch]) -> str:
        self.heard[lease] = first + len(epochs) - 1
        return "pruned" if self.heard[lease] >= self.prune_after else ""

    def settle(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.ending is Ending.LOST and self.again:
            self.again -= 1
            self.waiting.insert(0, self.known[outcome.lease])

    def give_back(self, lease: str) -> None:
        self.returned.append(lease)
        self.waiting.append(self.known[lease])

    def tick(self, running: int) -> bool:
        return self.over

    def endings(self) -> dict[int, Ending]:
        return {outcome.number: outcome.ending for outcome in self.outcomes}


def run(spark: Any, search: Listed, slots: int = 2, body: Any = play, line: bool = True) -> Any:
    if not line:
        return schedule.run(spark, slots, search, None, body)
    with channel.open_channel(spark) as line:
        search.address(line.address)
        return schedule.run(spark, slots, search, line, body)


def test_slots_that_come_later_get_trials_too(shipped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_RECOUNT_SECONDS", 0.0)
    search = Listed([light(number, *["nap"] * 20) for number in range(6)])
    counts, running = iter([1, 1, 2, 1]), []
    monkeypatch.setattr(search, "tick", lambda now: bool(running.append(now)))
    with channel.open_channel(shipped) as line:
        search.address(line.address)
        clock = schedule.run(shipped, 1, search, line, play, recount=lambda: next(counts, 2))
    assert (clock.slots, max(running), len(search.outcomes)) == (2, 2, 6)


def test_trials_run_side_by_side_and_all_come_back(shipped: Any) -> None:
    search = Listed([spec(number) for number in range(6)])
    run(shipped, search, body=trial.run_all, line=False)
    assert search.endings() == dict.fromkeys(range(6), Ending.OK)


def test_no_more_networks_come_back_at_once_than_the_drivers_jvm_has_room_for(shipped: Any) -> None:
    heap = int(shipped.sparkContext._jvm.java.lang.Runtime.getRuntime().maxMemory())  # depends on the collector
    assert [cluster.room_for_networks(shipped, heap // (4 * count)) for count in (15, 3, 1)] == [15, 3, 1]
    size = heap // 2
    told = f"must have 4 times the size of a network, {-(-4 * size >> 20):,} MiB; got {heap >> 20:,}; set .* to 3g"
    with pytest.raises(UserError, match=told):
        cluster.room_for_networks(shipped, size)


def test_no_trial_pays_the_import_twice_in_one_worker(shipped: Any) -> None:
    cluster.warm(shipped, 2, 1)
    search = Listed([spec(number) for number in range(4)])
    run(shipped, search, body=trial.run_all, line=False)
    assert [outcome.import_seconds for outcome in search.outcomes] == [0.0] * 4


def test_a_worker_that_is_lost_while_it_warms_up_does_not_end_the_sweep(
    shipped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> float:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(cluster)
    monkeypatch.setattr(cluster, "trial", SimpleNamespace(start_tensorflow=die))
    try:
        assert cluster.warm(shipped, 2, 1) == []
    finally:
        cloudpickle.unregister_pickle_by_value(cluster)


@pytest.mark.parametrize("line", [True, False])
def test_a_trial_that_kills_its_worker_is_lost_and_the_others_go_on(shipped: Any, line: bool) -> None:
    search = Listed([light(0), light(1, "die"), light(2)])
    run(shipped, search, line=line)
    assert search.endings() == {0: Ending.OK, 1: Ending.LOST, 2: Ending.OK}
    assert next(outcome.error for outcome in search.outcomes if outcome.number == 1)


def test_a_lost_trial_can_be_tried_again_at_once(shipped: Any) -> None:
    search = Listed([light(1, "die")], again=2)
    run(shipped, search, slots=1)
    assert [outcome.ending for outcome in search.outcomes] == [Ending.LOST] * 3


def test_a_worker_that_dies_takes_along_the_one_trial_that_it_was_at(shipped: Any) -> None:
    """Of four trials on one lease the first has ended, the second kills, and two never began."""
    search = Listed([light(0), light(1, "nap", "die"), light(2), light(3)], chunk=4)
    run(shipped, search, slots=1)
    assert search.endings() == {0: Ending.OK, 1: Ending.LOST, 2: Ending.OK, 3: Ending.OK}
    assert search.returned == ["lease 2", "lease 3"]
    assert len(search.outcomes) == 4


def hangs(shipped: Any, act: str, grace: float) -> None:
    search = Listed([light(0, act, seconds=1.0), light(1), light(2, "nap", "nap", seconds=100.0)])
    run(shipped, search)
    assert search.endings() == {0: Ending.TIMEOUT, 1: Ending.OK, 2: Ending.OK}
    late = next(outcome for outcome in search.outcomes if outcome.number == 0)
    assert late.seconds > 1.0 + grace, "it is asked first, and may end by itself"
    assert "may take 1 s (sweep.trial_seconds); raise it" in late.error


@pytest.mark.usefixtures("real_grace")
def test_a_trial_that_sleeps_beyond_its_limit_is_stopped_after_the_grace(shipped: Any, grace: float) -> None:
    hangs(shipped, "sleep", grace)


def test_a_trial_that_spins_beyond_its_limit_is_stopped(shipped: Any, grace: float) -> None:
    hangs(shipped, "spin", grace)


def train_the_first(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    """A worker at whom trial 0 is a real one; a second real one would only import TensorFlow again."""
    for one in specs:
        yield from (play if one.number else trial.run_all)([one])


def test_a_real_builder_that_spins_in_c_is_stopped_and_its_slot_is_free_again(shipped: Any) -> None:
    cluster.warm(shipped, 1, 1)
    search = Listed([spec(0, C_LOOP, seconds=2.0), light(1)])
    run(shipped, search, slots=1, body=train_the_first)
    assert search.endings() == {0: Ending.TIMEOUT, 1: Ending.OK}


def test_a_trial_that_is_polite_stops_at_the_end_of_the_epoch_and_keeps_its_worker(shipped: Any) -> None:
    search = Listed([light(0, *["nap"] * 200, seconds=0.5)])
    run(shipped, search, slots=1)
    (outcome,) = search.outcomes
    assert outcome.ending is Ending.TIMEOUT
    assert 0 < len(outcome.epochs) < 200
    assert outcome.worker  # it said so itself


def test_when_the_sweeps_time_is_over_running_trials_are_stopped_and_none_begins(shipped: Any) -> None:
    search = Listed([light(0, *["nap"] * 400), light(1, "spin"), light(2), light(3)])

    def over(_: int) -> bool:
        search.over = search.over or search.heard.get("lease 0", 0) > 3
        return search.over

    search.tick = over  # type: ignore[method-assign]
    run(shipped, search)
    assert search.endings() == {0: Ending.TIMEOUT, 1: Ending.TIMEOUT}
    assert [one.number for one in search.waiting] == []


def test_a_pruned_trial_frees_its_slot(shipped: Any) -> None:
    search = Listed([light(number, *["nap"] * 300, prune=True) for number in range(4)], prune_after=3)
    run(shipped, search)
    assert set(search.endings().values()) == {Ending.PRUNED}
    assert all(3 <= len(outcome.epochs) < 300 for outcome in search.outcomes)


def only_the_first(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    """A worker of a cluster that breaks after trial 0: its tasks end before they say a word."""
    for one in specs:
        if one.number > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from play([one])


def test_a_cluster_that_can_begin_no_trial_ends_the_sweep_and_costs_no_trial(shipped: Any) -> None:
    search = Listed([light(number) for number in range(5)])
    with pytest.raises(SparkError, match=r"must be able to begin a trial; 6 jobs in a row .* run the sweep again"):
        run(shipped, search, slots=1, body=only_the_first)
    assert search.endings() == {0: Ending.OK}
    assert len(search.returned) >= 5


def tells_whether_it_asks(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    for one in specs:
        attempt = RunningAttempt(one)
        attempt.begin()
        yield attempt.end(attempt.outcome(Ending.FAILED, error=f"asks first: {one.ask_first}"))


def test_a_first_attempt_asks_before_it_trains_once_the_line_has_been_seen_to_work(shipped: Any) -> None:
    """Else Spark's own second try at a task of a dead driver would train finished trials again."""
    search = Listed([light(0), light(1), light(2, attempt=2)])
    run(shipped, search, slots=1, body=tells_whether_it_asks)
    told = [outcome.error.removeprefix("asks first: ") for outcome in search.outcomes]
    assert told == ["False", "True", "False"]


def test_epochs_are_heard_while_a_trial_trains(shipped: Any) -> None:
    search = Listed([light(0, *["nap"] * 20, prune=True)])
    seen: list[int] = []
    search.settle = lambda outcome: seen.append(search.heard["lease 0"])  # type: ignore[method-assign]
    run(shipped, search)
    assert seen == [20]


def test_without_a_line_to_the_driver_a_sweep_still_works_without_pruning(shipped: Any) -> None:
    search = Listed([light(number, "nap", "nap", prune=True) for number in range(4)], chunk=2, prune_after=1)
    run(shipped, search, line=False)
    assert set(search.endings().values()) == {Ending.OK}


def test_a_message_that_makes_no_sense_is_dropped_and_the_sweep_goes_on(
    shipped: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Listed([light(number, "nap") for number in range(3)])
    with channel.open_channel(shipped) as line:
        search.address(line.address)

        strange = ({}, {"lease": "lease 0"}, {"lease": "no such", "event": "epochs", "epochs": 3}, {"lease": ["x"]})
        import threading

        def talk() -> None:
            worker = Line(line.address)
            for content in strange:
                worker.ask(content)

        thread = threading.Thread(target=talk)
        thread.start()
        schedule.run(shipped, 2, search, line, play)
        thread.join(10)
    assert set(search.endings().values()) == {Ending.OK}
    assert "a worker's message was dropped" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError("no space left"), KeyError("no space left")])
def test_an_error_while_recording_ends_the_sweep_with_that_error(shipped: Any, error: Exception) -> None:
    search = Listed([light(number) for number in range(3)])

    def settle(_: Outcome) -> None:
        raise error

    search.settle = settle  # type: ignore[method-assign]
    with pytest.raises(type(error), match="no space left"):
        run(shipped, search)


def test_the_clock_says_where_the_time_went(shipped: Any) -> None:
    search = Listed([light(number, *["nap"] * 20) for number in range(4)])
    clock = run(shipped, search)
    figures = clock.figures(cores=1)
    assert clock.trials == 4
    assert clock.connected
    assert 0 < figures["speed_up"] <= 2.0
    assert figures["core_seconds_per_trial"] >= 1.0
    assert figures["trials_per_hour"] > 0
    assert figures["idle_tail_seconds"] >= 0


def test_slots_are_what_the_cores_allow_or_what_the_page_wants(spark: Any) -> None:
    assert cluster.slots(spark, 1, None) == 2
    assert cluster.slots(spark, 2, None) == 1
    assert cluster.slots(spark, 1, 1) == 1
    assert cluster.slots(spark, 1, 50) == 2
    assert cluster.slots(spark, 64, None) == 1
