"""Windrow's own sweep with trials that sleep; ledger, sampler, scheduler, the line to the driver and MLflow are real.

Run by overhead.py and scaling.py through spark-submit. A trial sleeps as long as the duration of its number says, on a
slot that holds no TensorFlow; everything else is what jobs/sweep.py does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

from windrow import channel, experiment
from windrow.data.manifest import Manifest
from windrow.spark import open_session
from windrow.sweep import schedule, search
from windrow.sweep.attempt import RunningAttempt
from windrow.sweep.outcomes import Outcome
from windrow.sweep.spec import TrialSpec
from windrow.sweep.study import open_study
from windrow.tracking.sweep_log import open_sweep
from windrow.training.loop import Epoch
from windrow.training.networks import Builder

PAGE = """
name: replay
space: {{momentum: {{type: float, low: 0.1, high: 0.9}}}}
sweep: {{trials: {0}, epochs: {1}, sampler: random, fused: false}}
"""


class Silent:
    """A log that says nothing, to measure the sweep without MLflow."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Stamped(search.Search):
    """Notes when the driver has settled each trial (Unix seconds)."""

    ends: list[float]

    def settle(self, outcome: Outcome) -> None:
        """Settle, then note the time."""
        super().settle(outcome)
        self.ends.append(time.time())


def main() -> None:
    """Sweep, and write what was measured."""
    options = parse_args()
    durations: list[float] = json.loads(options.durations.read_text())
    page_file = options.folder / "replay.yaml"
    page_file.write_text(PAGE.format(len(durations), options.epochs))
    page = experiment.load(page_file, [])
    dataset = Manifest(
        name="none",
        source="none",
        digest="0" * 64,
        shape=(8, 8, 1),
        labels=("0", "1"),
        splits={},
        files={},
        settings={},
    )
    search._MOST_LEASES = options.leases
    if options.server:
        os.environ["MLFLOW_TRACKING_URI"] = options.server

    def body(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
        for spec in specs:
            attempt = RunningAttempt(spec)
            with attempt.watched():
                attempt.begin()
                for _ in range(spec.epochs):
                    time.sleep(durations[spec.number] / spec.epochs)
                    attempt.add(Epoch(0.5, 0.5, 0.5, 0.5, durations[spec.number] / spec.epochs))
                outcome = attempt.verdict()
            yield attempt.end(outcome)

    with open_study(options.folder / "study", page, "none") as study, open_session("replay") as spark:
        slots = options.slots
        wait_for_executors(spark, slots)
        with channel.open_channel(spark) as line:
            log: Any = open_sweep(page, page_file, dataset, study) if options.mlflow else Silent()
            if options.mlflow:
                log.__enter__()
            replay = Stamped(page, Builder("dense"), dataset, study, log, line.address)
            replay.ends = []
            warm_up(spark, slots)
            began = time.time()
            clock = schedule.run(spark, slots, replay, line, body)
            if options.mlflow:
                log._finish()
            ended = time.time()
    known = {"began": began, "ended": ended, "ends": replay.ends, "figures": clock.figures(1), "jobs": clock.jobs}
    options.result.write_text(json.dumps(known))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--durations", type=Path, required=True, metavar="FILE", help="JSON list, seconds a trial")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="an empty folder for the study")
    parser.add_argument("--slots", type=int, required=True, metavar="N", help="trials at once")
    parser.add_argument("--leases", type=int, default=32, metavar="N", help="most trials a Spark job (1: one each)")
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="epochs a trial (default 1)")
    parser.add_argument("--mlflow", action="store_true", help="record in MLflow too")
    parser.add_argument("--server", metavar="URL", help="MLflow's server (default: the embedded file)")
    parser.add_argument("--result", type=Path, required=True, metavar="FILE", help="JSON to write")
    return parser.parse_args()


def wait_for_executors(spark: Any, slots: int) -> None:
    """A cluster's executors register one after another; the measurement begins with all of them."""
    if not spark.sparkContext.master.startswith("local["):
        end = time.monotonic() + 300
        while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < slots + 1:
            if time.monotonic() > end:
                raise SystemExit(f"{slots} executors must register within 300 s")
            time.sleep(0.5)


def warm_up(spark: Any, slots: int) -> None:
    """Start every slot's Python worker."""
    spark.sparkContext.parallelize(range(slots), slots).map(lambda _: time.sleep(0.5)).collect()


if __name__ == "__main__":
    main()
