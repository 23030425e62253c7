"""Scaling of a sweep: recorded durations of trials, slept through by 1 to 26 one-core workers of a Spark cluster.

    var/bench/venv/bin/python bench/scaling.py
    var/bench/venv/bin/python bench/scaling.py --workers 1,4,13 --trials 130 --mean 2
    python bench/scaling.py --master spark://spark-master:7077 --workers 13   # docs/clusters.md

Each worker is a Spark executor of local-cluster, or of the cluster that --master names: a JVM and a Python process of
its own. The trials sleep, so that two cores can hold them; everything else is Windrow's own sweep with its ledger,
sampler and MLflow (windrow_replay.py).
The durations are those of a recorded sweep (sweeps.py), drawn with a seed and scaled to --mean seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import arguments
import report
import simulate
import windrow_job


def main() -> int:
    """Measure every number of workers, then write the table."""
    options = parse_args()
    durations = recorded(options)
    file = windrow_job.fresh_folder("scaling") / "durations.json"
    file.write_text(json.dumps(durations))
    rows = [
        measure(options.master or f"local-cluster[{workers},1,512]", workers, file, sum(durations), options.timeout)
        for workers in options.workers
    ]
    spread = {"mean_seconds": statistics.mean(durations), "longest_seconds": max(durations), "sum": sum(durations)}
    values = {"machine": report.machine(2), "trials": len(durations), **spread, "rows": rows}
    keys = ("workers", "seconds", "speed_up", "efficiency", "best_possible")
    table = report.table([key.replace("_", " ") for key in keys], [[row[key] for key in keys] for row in rows])
    report.save(options.out, values, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = arguments.parser(__doc__, "scaling.json", timeout=1800)
    numbers = [1, 2, 4, 8, 13, 26]
    parser.add_argument(
        "--workers", type=lambda text: [int(part) for part in text.split(",")], default=numbers, metavar="N,N,..."
    )
    parser.add_argument("--master", metavar="URL", help="a cluster that has as many workers as --workers says")
    parser.add_argument("--trials", type=int, default=130, metavar="N", help="trials (default 130)")
    parser.add_argument("--mean", type=float, default=2.0, metavar="S", help="mean seconds a trial (default 2)")
    source = report.RESULTS / "sweeps.json"
    parser.add_argument("--durations", type=Path, default=source, metavar="FILE", help="what sweeps.py wrote")
    return parser.parse_args()


def recorded(options: argparse.Namespace) -> list[float]:
    """The recorded durations, as many as asked for and with the mean asked for."""
    return simulate.scaled(simulate.draw(simulate.read_durations(options.durations), options.trials), options.mean)


def measure(master: str, workers: int, durations: Path, total: float, timeout: float) -> dict[str, Any]:
    """One sweep on so many workers; the speed-up is over one worker that does nothing but the trials."""
    folder = windrow_job.fresh_folder("scaling", str(workers))
    result = windrow_job.replay(master, folder, durations, workers, timeout, "--mlflow", "--leases", "1")
    seconds = result["ended"] - result["began"]
    greedy = simulate.simulate(json.loads(durations.read_text()), workers, 0.0, 0.0)
    row = {"workers": workers, "seconds": round(seconds, 1), "speed_up": round(total / seconds, 2)}
    row |= {"efficiency": round(total / seconds / workers, 3), "best_possible": round(total / greedy, 2)}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return {**row, "figures": result["figures"]}


if __name__ == "__main__":
    sys.exit(main())
