"""SIGKILL of any process of a sweep, at any moment, any number of times; then resume: no trial is lost or doubled."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

KILLS = int(os.environ.get("WINDROW_CHAOS_KILLS", "3"))
SEED = int(os.environ.get("WINDROW_CHAOS_SEED", "1"))
pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.mlflow, pytest.mark.timeout(900 + 120 * KILLS)]
MASTERS = ("local-cluster[2,1,1024]", "local[2]")
ENDS_THE_SWEEP = {"driver", "driver JVM", "group"}


class Chaos:
    """Kills at random moments of a random source, and what came of them."""

    def __init__(self, launch: Callable[..., Any]) -> None:
        self.launch = launch
        self.random = random.Random(SEED)
        self.length = self.training = 0.0
        self.kills: Counter[str] = Counter()
        self.restarts = 0
        self.graves: list[Any] = []
        self.longest_orphan = 0.0

    def measure(self, study: Any) -> None:
        """How long a sweep takes that nobody disturbs: the span that moments are drawn from."""
        driver = self.launch(study, master=MASTERS[0])
        while not study.settled():
            assert driver.wait(0.05) is None, driver.tail()
        trains = time.monotonic()
        assert driver.wait(280) == 0, driver.tail()
        self.length, self.training = time.monotonic() - driver.began, time.monotonic() - trains

    def run(self, study: Any, master: str) -> None:
        """Sweep to the end of the study, with kills on the way while there are some left."""
        driver = self.launch(study, master=master)
        while (code := driver.wait(self.moment(driver, study))) is None:
            if self.kills.total() < KILLS and self.kill(driver) in ENDS_THE_SWEEP:
                driver = self.again(driver, study, master)
        assert code == 0, f"the sweep went wrong by itself, with exit code {code}\n{driver.tail()}"
        for dead in (*self.graves, driver):
            self.bury(dead)
        self.graves.clear()

    def bury(self, dead: Any) -> None:
        """See that nothing of a dead sweep lives on."""
        seconds = dead.wait_until_gone()
        print(f"the last of its processes was gone {seconds:.1f} s later", flush=True)
        self.longest_orphan = max(self.longest_orphan, seconds)

    def moment(self, driver: Any, study: Any) -> float:
        """Seconds until the next kill: anywhere in what is left of an undisturbed run, or while trials are settled.

        Most of a short sweep is its start; without the second kind nearly all kills would hit that.
        """
        if self.random.random() < 0.3:
            return self.random.uniform(0.0, max(2.0, self.length - (time.monotonic() - driver.began)))
        before = len(study.settled())
        while driver.wait(0.05) is None and len(study.settled()) == before:
            pass
        return self.random.uniform(0.0, self.training)

    def kill(self, driver: Any) -> str:
        """Kill one victim; what it was. Where there is none of the kind drawn, another is taken."""
        present = driver.victims()
        costly, cheap = sorted([*(ENDS_THE_SWEEP & set(present)), "group"]), sorted(set(present) - ENDS_THE_SWEEP)
        kind = self.random.choice(cheap if cheap and self.random.random() < 0.6 else costly)
        if kind == "group":
            driver.kill_group()
        else:
            self.random.choice(present[kind]).kill()
        self.kills[kind] += 1
        print(f"kill {self.kills.total()}: {kind} after {time.monotonic() - driver.began:.1f} s", flush=True)
        return kind

    def again(self, driver: Any, study: Any, master: str) -> Any:
        """Start a sweep again whose driver was killed; every second time while its workers may still live."""
        if self.random.random() < 0.5:
            self.bury(driver)
        else:
            driver.wait_until_gone("driver")
            self.graves.append(driver)
        study.kept.append(study.settled())
        self.restarts += 1
        return self.launch(study, master=master)


def test_no_kill_at_any_moment_loses_or_doubles_a_trial(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    begin, chaos, endings = time.monotonic(), Chaos(launch), Counter[str]()
    quiet = new_study("quiet")
    chaos.measure(quiet)
    endings += check_books(quiet)
    for number, master in enumerate(itertools.cycle(MASTERS)):
        study = new_study(f"chaos_{number}", seed=number, pruner=("none", "asha")[number // 2 % 2])
        chaos.run(study, master)
        endings += check_books(study)
        if chaos.kills.total() >= KILLS:
            break
        chaos.run(study, master)  # nothing is left to train; the books are opened, compared and closed
        check_books(study)
    assert endings["ok"] + endings["pruned"] > 0.8 * endings.total(), endings
    print(
        f"{chaos.kills.total()} kills ({', '.join(f'{count} {kind}' for kind, count in chaos.kills.most_common())}), "
        f"{chaos.restarts} restarts, {endings.total()} trials ({dict(endings)}), orphans gone after at most "
        f"{chaos.longest_orphan:.1f} s, an undisturbed sweep takes {chaos.length:.0f} s, "
        f"{time.monotonic() - begin:.0f} s in all"
    )


@pytest.mark.parametrize("master", ["local[1,4]", "local-cluster[1,1,1024]"])
def test_a_task_that_spark_tries_again_by_itself_begins_no_attempt_twice(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any], master: str
) -> None:
    """A worker dies with some of its trials finished, where Spark lets a task fail four times."""
    study = new_study(f"again_{len(master)}", trials=12, pruner="none")
    driver = launch(study, master=master, WINDROW_CHAOS_DIE="3 6 8")
    assert driver.wait(280) == 0, driver.tail()
    assert check_books(study) == {"ok": 12}
    assert {entry.number: entry.outcome.attempt for entry in study.entries()} == {
        number: 2 if number in (3, 6, 8) else 1 for number in range(12)
    }
