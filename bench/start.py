"""Where the time before the first trial goes: Windrow's sweep next to a naive Spark job that imports TensorFlow.

    var/bench/venv/bin/python bench/start.py
    var/bench/venv/bin/python bench/start.py --before ../before --repeats 5

Seconds from spark-submit to the end of each step (start_job.py): a sweep of two trials of one epoch on scikit-learn's
digits, whose steps take milliseconds, so that the end of the first epoch is that of the first steps, and their tracing.
The jobs take turns; a step's seconds are the medians, a difference is the median of the turns' differences.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import arguments
import report
import start_job
import windrow_job

NAIVE, BEFORE, NOW = "naive job", "Windrow before", "Windrow now"
BEGINS, TRAINED, ENDED = "the first trial begins", "the first trial has trained an epoch", "the process has ended"


def main() -> int:
    """Measure in turns, then write the table."""
    options = parse_args()
    report.use_cores(options.slots)
    machine = report.machine(options.slots)
    dataset = windrow_job.prepare(options.windrow, "digits")
    checkouts = {NAIVE: None, **({BEFORE: options.before} if options.before else {}), NOW: options.windrow}
    turns = []
    for turn in range(options.repeats):
        ways = list(checkouts)[:: -1 if turn % 2 else 1]  # no job has the better place each time
        turns.append({way: measure(checkouts[way], dataset, options) for way in ways})
        print(f"turn {turn + 1}: {turns[-1]}", file=sys.stderr, flush=True)
    values = {"machine": machine, "turns": turns, **lead(turns)}
    table = report.table(["step", *checkouts], rows(turns, list(checkouts)))
    said = ", ".join(f"{seconds:+.1f}" for seconds in values["behind"])
    table += f"\nBehind the naive job's TensorFlow: {values['median_behind']:+.1f} s; by turn {said}.\n"
    report.save(options.out, values, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = arguments.parser(__doc__, "start.json", timeout=300)
    parser.add_argument("--before", type=Path, metavar="DIR", help="an older checkout, which gets a column of its own")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns (default 5)")
    return parser.parse_args()


def measure(checkout: Path | None, dataset: Path, options: argparse.Namespace) -> dict[str, float]:
    """Submit the naive job, or a checkout's sweep; seconds from spark-submit to the end of each step."""
    folder = windrow_job.fresh_folder("start", "run")
    stamps, study = folder / "stamps.json", folder / "study"
    job: list[object] = ["--stamps", stamps, "--slots", options.slots]
    if checkout is not None:
        sweep = {"sampler": "quasi_random", "trials": 2, "epochs": 1}
        page = windrow_job.write_page(folder / "bench_start.yaml", space=windrow_job.LEARNING_RATE, sweep=sweep)
        job = ["--stamps", stamps, "--jobs", checkout.absolute() / "jobs", "--experiment", page]
        job += ["--dataset", dataset, "--study", study]
    script = Path(start_job.__file__)
    start = time.time()
    windrow_job.submit_script(f"local[{options.slots}]", script, folder, *job, timeout=options.timeout)
    at = {**json.loads(stamps.read_text()), ENDED: time.time()}
    if checkout is not None:
        trials = windrow_job.trials(study)
        at |= {BEGINS: min(trial["started"] for trial in trials), TRAINED: min(trial["ended"] for trial in trials)}
    return {step: round(moment - start, 2) for step, moment in at.items()}


def rows(turns: list[dict[str, dict[str, float]]], ways: list[str]) -> list[list[Any]]:
    """A row a step, in the order of the last job: its median seconds in each; None where a job has no such step."""
    steps = sorted(turns[0][ways[-1]], key=lambda step: statistics.median(seconds(turns, ways[-1], step)))
    return [
        [step, *(round(statistics.median(known), 1) if (known := seconds(turns, way, step)) else None for way in ways)]
        for step in steps
    ]


def seconds(turns: list[dict[str, dict[str, float]]], way: str, step: str) -> list[float]:
    """A step's seconds in each turn that has it."""
    return [turn[way][step] for turn in turns if step in turn[way]]


def lead(turns: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Seconds from the naive job's TensorFlow to the end of Windrow's first epoch, by turn, and their median."""
    behind = [round(turn[NOW][TRAINED] - turn[NAIVE][start_job.WORKERS], 2) for turn in turns]
    return {"behind": behind, "median_behind": round(statistics.median(behind), 2)}


if __name__ == "__main__":
    sys.exit(main())
