"""The cost of each tool per trial: trials that do nothing, in warm workers, two at once.

    var/bench/venv/bin/python bench/overhead.py
    var/bench/venv/bin/python bench/overhead.py --tools windrow,job --trials 20

The figure is wall clock a trial: the span from the end of the last warm-up trial to the end of the last trial, by the
trials' own stamps, divided by the trials between. Start-up and the first trials of every worker are not in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import arguments
import report
import windrow_job

TITLES = {
    "windrow": "Windrow, short trials share a job",
    "windrow_mlflow": "Windrow, the same, recorded in MLflow",
    "windrow_single": "Windrow, one Spark job a trial",
    "map": "one task of one Spark job",
    "job": "one Spark job a trial",
    "optuna": "Optuna, two processes, journal file",
    "ray": "Ray Tune, reused actors",
    "ray_new": "Ray Tune, a new actor a trial",
    "keras_tuner": "KerasTuner, two workers",
    "hyperopt": "hyperopt SparkTrials",
    "mlflow": "MlflowSparkStudy",
}
WARM_UP = 10


def main() -> int:
    """Measure, then write the table; 1 if a tool failed."""
    options = parse_args()
    report.use_cores(options.slots)
    machine = report.machine(options.slots)
    runs = [measure(tool, options) for tool in options.tools]
    rows = sorted((run for run in runs if "error" not in run), key=lambda run: run["milliseconds"])
    values = {"machine": machine, "trials": options.trials, "rows": rows, "runs": runs}
    table = report.table(["tool", "ms a trial"], [[row["title"], row["milliseconds"]] for row in rows])
    report.save(options.out, values, table)
    return int(len(rows) < len(runs))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = arguments.parser(__doc__, "overhead.json", timeout=600)
    arguments.add_tools(parser, TITLES)
    parser.add_argument("--trials", type=int, default=100, metavar="N", help=f"trials after {WARM_UP} of warm-up")
    return parser.parse_args()


def measure(tool: str, options: argparse.Namespace) -> dict[str, Any]:
    """One tool in a folder of its own: wall clock per trial in milliseconds, or why it could not be measured."""
    folder = windrow_job.fresh_folder("overhead", tool)
    row: dict[str, Any] = {"tool": tool, "title": TITLES[tool]}
    count = WARM_UP + options.trials
    try:
        measured = windrow if tool.startswith("windrow") else peer
        ends = measured(tool, count, folder, options)
    except windrow_job.JobError as error:
        print(f"{tool}: {error}", file=sys.stderr, flush=True)
        return {**row, "error": str(error)}
    return {**row, "milliseconds": round(1000 * warm_seconds(ends), 1)}


def warm_seconds(ends: list[float]) -> float:
    """Seconds a trial from the stamps at which trials ended (Unix seconds, any order), without the warm-up."""
    after = sorted(ends)[WARM_UP - 1 :]
    return (after[-1] - after[0]) / (len(after) - 1)


def windrow(tool: str, count: int, folder: Path, options: argparse.Namespace) -> list[float]:
    """When each of `count` trials that do nothing was settled, with Windrow's own sweep."""
    durations = folder / "durations.json"
    durations.write_text(json.dumps([0.0] * count))
    more = {"windrow_mlflow": ["--mlflow"], "windrow_single": ["--leases", "1"]}.get(tool, [])
    master = f"local[{options.slots}]"
    ends: list[float] = windrow_job.replay(master, folder, durations, options.slots, options.timeout, *more)["ends"]
    return ends


def peer(tool: str, count: int, folder: Path, options: argparse.Namespace) -> list[float]:
    """When each of `count` trials that do nothing ended, with a peer."""
    (folder / "sweep.json").write_text(json.dumps({"points": [{}] * count}))
    script = Path(__file__).with_name("peer.py")
    command = [sys.executable, str(script), tool, "--trial", "empty", "--count", str(count)]
    command += ["--slots", str(options.slots)]
    windrow_job.run(command, folder / "log", windrow_job.environment(folder), options.timeout)
    return [json.loads(line)["ended"] for line in (folder / "trials.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
