"""The same sweep by Windrow and by its peers, one after another on the same cores: seconds from start to end.

    var/bench/venv/bin/python bench/sweeps.py --source /data/mnist
    var/bench/venv/bin/python bench/sweeps.py --source /data/mnist --tools windrow,ray --trials 4
    var/bench/venv/bin/python bench/sweeps.py --source /data/mnist --tools windrow,optuna --network cnn --trials 12

MNIST, a dense network with one hidden layer or a small CNN, the points of points.py, 3 epochs, batch 128. Each tool is
a process of its own, start-up counted. "Work" is the span from the first trial's start to the last one's end, by their
own stamps; the first import of TensorFlow is before it. With repeats the tools take turns, and a ratio is the median of
the repeats' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import arguments
import points
import report
import windrow_job
from peer import PEERS

SWEEP_TOOLS = ("windrow", *(name for name in PEERS if name not in ("job", "ray_new")))
PAGE = "bench_sweep"
TITLES = {"windrow": "Windrow", **{name: peer.title for name, peer in PEERS.items()}}


def main() -> int:
    """Measure, then write the table; 1 if a tool failed."""
    options = parse_args()
    report.use_cores(options.slots)
    machine = report.machine(options.slots)
    dataset = windrow_job.prepare(options.windrow, options.source)
    runs: list[dict[str, Any]] = []
    for repeat in range(options.repeats):
        for tool in options.tools[:: -1 if repeat % 2 else 1]:  # no tool has the better place each time
            runs.append(measure(tool, repeat, dataset, options))
            said = runs[-1].get("error") or f"{runs[-1]['total']:.1f} s, work {runs[-1]['work']:.1f} s"
            print(f"{tool}: {said}", file=sys.stderr, flush=True)
    rows = summarize(runs)
    asked = {name: getattr(options, name) for name in ("network", "trials", "epochs", "repeats")}
    values = {"machine": machine, **asked, "rows": rows, "runs": runs}
    columns = ["tool", "seconds", "of it work", "times Windrow", "in the work", "trials", "mean val. accuracy", "best"]
    table = report.table(columns, [[row[key] for key in ROW] for row in rows])
    report.save(options.out, values, table)
    return int(any("error" in run for run in runs))


ROW = ("title", "total", "work", "ratio", "work_ratio", "points", "mean", "best")


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = arguments.parser(__doc__, "sweeps.json", timeout=900)
    arguments.add_source(parser)
    arguments.add_tools(parser, SWEEP_TOOLS)
    parser.add_argument("--trials", type=int, default=40, metavar="N", help="trials (default 40)")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="epochs a trial (default 3)")
    parser.add_argument("--network", choices=points.SIZES, default="dense", help="what is trained (default dense)")
    parser.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="times each tool; medians count (default 1)"
    )
    own_points = "let Windrow draw from the same space: for a checkout older than sweep.points"
    parser.add_argument("--own-points", action="store_true", help=own_points)
    return parser.parse_args()


def measure(tool: str, repeat: int, dataset: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One run of one tool, in a folder of its own."""
    folder = windrow_job.fresh_folder("sweeps", tool)
    run = {"tool": tool, "repeat": repeat}
    start = perf_counter()
    try:
        if tool == "windrow":
            run_windrow(folder, dataset, options)
        else:
            run_peer(tool, folder, dataset, options)
    except windrow_job.JobError as error:
        return {**run, "error": str(error)}
    total = perf_counter() - start
    trials = windrow_job.trials(folder / "study") if tool == "windrow" else peer_trials(folder)
    return {
        **run,
        "total": total,
        "work": max(trial["ended"] for trial in trials) - min(trial["started"] for trial in trials),
        "trial_seconds": [round(trial.get("seconds", trial["ended"] - trial["started"]), 3) for trial in trials],
        "accuracies": {trial["number"]: trial["accuracy"] for trial in trials},
    }


def run_windrow(folder: Path, dataset: Path, options: argparse.Namespace) -> None:
    """spark-submit jobs/sweep.py with a page that lists the points."""
    sizes = points.SIZES[options.network]
    first, *rest = (
        {key: point[key] for key in (*sizes, "learning_rate")} for point in points.draw(options.trials, options.network)
    )
    space = {name: {"type": "int", "low": low, "high": high} for name, (low, high) in sizes.items()}
    space |= windrow_job.LEARNING_RATE
    sweep: dict[str, Any] = {"sampler": "quasi_random", "trials": options.trials, "epochs": options.epochs}
    if not options.own_points:
        sweep["points"] = rest
    # A study's trial 0 is the default configuration: made the first point, it costs no trial more.
    network = {"builder": options.network, "parameters": first}
    page = windrow_job.write_page(folder / f"{PAGE}.yaml", network=network, space=space, sweep=sweep)
    job = ("--experiment", page, "--dataset", dataset, "--study", folder / "study")
    windrow_job.submit(options.windrow, "sweep", folder, options.slots, *job, timeout=options.timeout)


def run_peer(tool: str, folder: Path, dataset: Path, options: argparse.Namespace) -> None:
    """peer.py with the points in sweep.json."""
    drawn = points.draw(options.trials, options.network)
    sweep = {"points": drawn, "epochs": options.epochs, "batch_size": 128, "dataset": str(dataset)}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    variables = windrow_job.environment(folder)
    if PEERS[tool].parallel:  # one core a process: what Windrow gives its trials as well
        variables |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    script = Path(__file__).with_name("peer.py")
    command = [sys.executable, str(script), tool, "--count", str(options.trials), "--slots", str(options.slots)]
    windrow_job.run(command, folder / "log", variables, options.timeout)


def peer_trials(folder: Path) -> list[dict[str, Any]]:
    """Read the records that each trial of a peer has written."""
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a tool: medians over its repeats, fastest first; "times Windrow" where Windrow is among them."""
    rows = []
    for tool in dict.fromkeys(run["tool"] for run in runs if "error" not in run):
        own = [run for run in runs if run["tool"] == tool and "error" not in run]
        values = [value for value in own[-1]["accuracies"].values() if value is not None]
        total, work = (round(statistics.median(run[key] for run in own), 1) for key in ("total", "work"))
        mean, best = round(statistics.mean(values), 4), round(max(values), 4)
        row = {"tool": tool, "title": TITLES[tool], "total": total, "work": work}
        row |= {"ratio": ratio(runs, tool, "total"), "work_ratio": ratio(runs, tool, "work")}
        rows.append({**row, "points": len(values), "mean": mean, "best": best})
    return sorted(rows, key=lambda row: row["total"])


def ratio(runs: list[dict[str, Any]], tool: str, key: str) -> float | None:
    """The median, over the repeats, of a tool's seconds relative to Windrow's; None without a repeat that has both."""
    seconds = {(run["tool"], run["repeat"]): run[key] for run in runs if "error" not in run}
    found = [
        own / seconds["windrow", repeat]
        for (name, repeat), own in seconds.items()
        if name == tool and ("windrow", repeat) in seconds
    ]
    return round(statistics.median(found), 2) if found else None


if __name__ == "__main__":
    sys.exit(main())
