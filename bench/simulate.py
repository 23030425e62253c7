"""The needs of many workers: one driver that hands out trials, simulated from measured costs and durations.

    python bench/simulate.py --durations bench/results/sweeps.json --driver-seconds 0.005 --dispatch-seconds 0.09

Each worker that is idle asks the driver. The driver serves one worker at a time, in the order in which they ask, and
is busy for --driver-seconds a trial (ask, record, submit). After --dispatch-seconds more the trial runs; the driver is
free meanwhile. Trials are taken in the order given; more than there are durations are drawn from them, seeded.

With no overhead this is greedy list scheduling; with one worker it is the sum of everything. Standard library only.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def main() -> None:
    """Simulate, then write the table."""
    arguments = parse_args()
    durations = scaled(draw(read_durations(arguments.durations), arguments.trials), arguments.mean)
    rows = curve(durations, arguments.driver_seconds, arguments.dispatch_seconds)
    given = {"driver_seconds": arguments.driver_seconds, "dispatch_seconds": arguments.dispatch_seconds}
    values = {**given, "trials": arguments.trials, "mean_seconds": statistics.mean(durations), "rows": rows}
    columns = ["workers", "seconds", "speed-up", "efficiency", "driver busy"]
    keys = ("workers", "seconds", "speed_up", "efficiency", "driver_busy")
    report.save(arguments.out, values, report.table(columns, [[row[key] for key in keys] for row in rows]))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    durations = "JSON list of a trial's seconds on a worker, or sweeps.py's result, of which Windrow's trials are taken"
    parser.add_argument("--durations", type=Path, required=True, metavar="FILE", help=durations)
    parser.add_argument("--driver-seconds", type=float, required=True, metavar="S", help="driver's time a trial")
    parser.add_argument("--dispatch-seconds", type=float, required=True, metavar="S", help="latency of handing one out")
    parser.add_argument("--trials", type=int, default=10_000, metavar="N", help="trials of the sweep (default 10000)")
    parser.add_argument("--mean", type=float, metavar="S", help="mean seconds a trial (default: as recorded)")
    out = report.RESULTS / "simulate.json"
    parser.add_argument("--out", type=Path, default=out, metavar="FILE", help="JSON to write")
    return parser.parse_args()


def read_durations(path: Path) -> list[float]:
    """Seconds a trial, from either kind of file."""
    found = json.loads(path.read_text())
    if isinstance(found, list):
        return [float(seconds) for seconds in found]
    return [seconds for run in found["runs"] if run["tool"] == "windrow" for seconds in run.get("trial_seconds", ())]


def draw(durations: Sequence[float], count: int) -> list[float]:
    """`count` durations: those recorded, then seeded draws from them."""
    recorded = list(durations[:count])
    return recorded + random.Random(0).choices(durations, k=count - len(recorded))  # noqa: S311  a sample, not a secret


def scaled(durations: Sequence[float], mean: float | None) -> list[float]:
    """Durations with another mean, seconds; as they are without one."""
    factor = 1.0 if mean is None else mean / statistics.mean(durations)
    return [round(seconds * factor, 3) for seconds in durations]


def simulate(durations: Sequence[float], workers: int, driver: float, dispatch: float) -> float:
    """Seconds until the last trial has ended.

    Args:
        durations: seconds that each trial takes on a worker, in the order in which they are handed out.
        workers: trials at once.
        driver: seconds that the driver is busy with a trial.
        dispatch: seconds between the driver's work and the trial's start.
    """
    idle_since = [0.0] * workers
    driver_free = last_end = 0.0
    for duration in durations:
        # Whoever asks later is served later: no trial that starts now can ask before this worker did.
        asked = heapq.heappop(idle_since)
        driver_free = max(driver_free, asked) + driver
        end = driver_free + dispatch + duration
        heapq.heappush(idle_since, end)
        last_end = max(last_end, end)
    return last_end


def curve(durations: Sequence[float], driver: float, dispatch: float) -> list[dict[str, Any]]:
    """A row a number of workers: speed-up over one worker with the same costs, and how busy the driver is."""
    alone = simulate(durations, 1, driver, dispatch)
    rows = []
    for workers in WORKERS:
        seconds = simulate(durations, workers, driver, dispatch)
        rows.append(
            {
                "workers": workers,
                "seconds": round(seconds, 1),
                "speed_up": round(alone / seconds, 2),
                "efficiency": f"{alone / seconds / workers:.0%}",
                "driver_busy": f"{driver * len(durations) / seconds:.0%}",
            }
        )
    return rows


if __name__ == "__main__":
    main()
