"""SIGKILL of any process of a sweep, then resume: no trial is lost or doubled, and three books agree.

The table says which victim dies after how many settled trials; it is the same on every run. Beside it are kills drawn
at random: WINDROW_CHAOS_KILLS says how many, WINDROW_CHAOS_SEED which; both are printed with each kill.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from harness.jobs import Finished
from harness.waiting import wait_for
from windrow.files import is_locked

KILLS = int(os.environ.get("WINDROW_CHAOS_KILLS", "3"))
SEED = int(os.environ.get("WINDROW_CHAOS_SEED", "1"))
pytestmark = [pytest.mark.faults, pytest.mark.submit, pytest.mark.spark, pytest.mark.mlflow]
LOCAL, CLUSTER = "local[2]", "local-cluster[2,1,1024]"
ENDS_THE_SWEEP = ("driver", "driver JVM", "group")
MOMENTS = (0, 1, 3)
"""Trials that settle from the start of a driver, or from the kill before, until the next kill."""


def killed(driver: Any, study: Any, victim: str, settled: int) -> None:
    """Kill a victim once so many more trials have settled; what was settled by then is kept for later."""
    driver.wait_for_settled(study, settled)
    driver.kill(victim)
    if victim in ENDS_THE_SWEEP:
        driver.wait_until_gone()
        # A dying process closes its files, and with them the study's lock, after it has lost its environment.
        lock = study.folder / "lock"  # absent if the sweep was killed before it began
        wait_for(lambda: not (lock.exists() and is_locked(lock)))
        study.kept.append(study.settled())


def test_a_sweep_whose_group_is_killed_goes_on_in_three_books(
    launch: Callable[..., Any],
    resume: Callable[[Any], Finished],
    new_study: Callable[..., Any],
    check_books: Callable[..., Any],
) -> None:
    study = new_study("group", trials=20)
    killed(launch(study), study, "group", 3)
    assert 3 <= len(study.kept[0]) < 20
    ended = resume(study)
    assert ended.code == 0, ended.output
    assert check_books(study).total() == 20


@pytest.mark.parametrize("turn", range(3))
def test_a_sweep_that_is_killed_three_times_goes_on_each_time(
    launch: Callable[..., Any],
    resume: Callable[[Any], Finished],
    new_study: Callable[..., Any],
    check_books: Callable[..., Any],
    turn: int,
) -> None:
    """Each of three victims at each of three moments, one study a turn."""
    study = new_study(f"table_{turn}", trials=30, seed=turn, pruner=("none", "asha")[turn % 2])
    for number, moment in enumerate(MOMENTS):
        victim = ENDS_THE_SWEEP[(number + turn) % 3]
        killed(launch(study), study, victim, len(study.settled()) + moment)
    assert len(study.kept) == 3
    assert resume(study).code == 0
    assert check_books(study).total() == 30


@pytest.mark.parametrize(
    "victims", [("worker", "executor", "worker"), ("executor", "worker", "executor")], ids="-".join
)
def test_a_sweep_that_loses_a_worker_or_an_executor_needs_no_other_driver(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any], victims: tuple[str, ...]
) -> None:
    study = new_study(f"lost_{victims[0]}", trials=30, pruner="none")
    driver = launch(study, master=CLUSTER)
    for victim, moment in zip(victims, MOMENTS, strict=True):
        killed(driver, study, victim, len(study.settled()) + moment)
    assert driver.wait(280) == 0, driver.tail()
    assert check_books(study) == {"ok": 30}
    driver.wait_until_gone()


class Chaos:
    """Kills drawn from a seed: whom, and after how many more settled trials."""

    def __init__(self, launch: Callable[..., Any]) -> None:
        self.launch = launch
        self.random = random.Random(SEED)
        self.kills: Counter[str] = Counter()
        self.graves: list[Any] = []

    def run(self, study: Any, master: str) -> None:
        """Sweep to the end of the study, with kills on the way while there are some left."""
        driver = self.launch(study, master=master)
        while self.kills.total() < KILLS and self.is_at_work(driver, study, self.random.randrange(8)):
            if self.kill(driver, study) in ENDS_THE_SWEEP:
                driver = self.again(driver, study, master)
        assert driver.wait(280) == 0, f"the sweep went wrong by itself\n{driver.tail()}"
        for dead in (*self.graves, driver):
            dead.wait_until_gone()
        self.graves.clear()

    def is_at_work(self, driver: Any, study: Any, more: int) -> bool:
        """Wait for so many more settled trials and a moment in between; whether the sweep is still at work then."""
        enough = min(len(study.settled()) + more, study.trials)
        while driver.wait(0.05) is None and len(study.settled()) < enough:
            pass
        return driver.wait(self.random.uniform(0.0, 0.5)) is None

    def kill(self, driver: Any, study: Any) -> str:
        """Kill one victim; what it was. Where there is none of the kind drawn, the group is taken."""
        kind = self.random.choice(("worker", "executor", "worker", *ENDS_THE_SWEEP))
        kind = kind if driver.victims().get(kind) else "group"
        driver.kill(kind)
        self.kills[kind] += 1
        print(f"kill {self.kills.total()} of seed {SEED}: {kind} after {len(study.settled())} trials", flush=True)
        return kind

    def again(self, driver: Any, study: Any, master: str) -> Any:
        """Start a sweep again whose driver was killed; every second time while its workers may still live."""
        if self.random.random() < 0.5:
            driver.wait_until_gone()
        else:
            driver.wait_until_gone("driver")
            self.graves.append(driver)
        study.kept.append(study.settled())
        return self.launch(study, master=master)


@pytest.mark.timeout(900 + 120 * KILLS)
def test_no_kill_at_any_moment_loses_or_doubles_a_trial(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    chaos, endings = Chaos(launch), Counter[str]()
    for number, master in enumerate(itertools.cycle((CLUSTER, LOCAL))):
        study = new_study(f"chaos_{number}", seed=number, pruner=("none", "asha")[number // 2 % 2])
        chaos.run(study, master)
        endings += check_books(study)
        if chaos.kills.total() >= KILLS:
            break
    print(f"{dict(chaos.kills)} of seed {SEED}, {endings.total()} trials ({dict(endings)})")
    assert endings["ok"] + endings["pruned"] > 0.8 * endings.total(), endings


@pytest.mark.parametrize("master", ["local[1,4]", "local-cluster[1,1,1024]"])
def test_a_task_that_spark_tries_again_by_itself_begins_no_attempt_twice(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any], master: str
) -> None:
    """A worker dies with some of its trials finished, where Spark lets a task fail four times."""
    study = new_study(f"again_{len(master)}", trials=12, pruner="none")
    driver = launch(study, master=master, WINDROW_FAULTS_DIE="3 6 8")
    assert driver.wait(280) == 0, driver.tail()
    assert check_books(study) == {"ok": 12}
    assert {entry.number: entry.outcome.attempt for entry in study.entries()} == {
        number: 2 if number in (3, 6, 8) else 1 for number in range(12)
    }
