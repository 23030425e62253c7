"""The time that pruning saves: the same points trained to the end, and with pruning, on the same data.

    var/bench/venv/bin/python bench/pruning.py --source /data/mnist
    var/bench/venv/bin/python bench/pruning.py --source /data/mnist --trials 8 --epochs 3

MNIST, a dense network of one to three layers, 100 points of Sobol's sequence (so both sweeps have the same), up to 9
epochs. The pruned champion is also looked up in the full sweep: the regret is what it lacks there to the full champion.
"""

from __future__ import annotations

import argparse
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import arguments
import report
import windrow_job

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "units": {"type": "int", "low": 16, "high": 128, "log": True},
    "layers": {"type": "int", "low": 1, "high": 3},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
}


def main() -> int:
    """Run both sweeps, then write the table."""
    options = parse_args()
    report.use_cores(options.slots)
    machine = report.machine(options.slots)
    dataset = windrow_job.prepare(options.windrow, options.source)
    try:
        sweeps = {pruner: sweep(pruner, dataset, options) for pruner in ("none", options.pruner)}
    except windrow_job.JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = compare(*sweeps.values())
    values = {
        "machine": machine,
        "trials": options.trials,
        "epochs": options.epochs,
        "rows": rows,
        "sweeps": sweeps,
    }
    columns = ["sweep", "epochs", "share of epochs", "seconds", "champion", "its accuracy", "trained in full", "regret"]
    keys = ("sweep", "epochs", "share", "seconds", "champion", "accuracy", "in_full", "regret")
    report.save(options.out, values, report.table(columns, [[row[key] for key in keys] for row in rows]))
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = arguments.parser(__doc__, "pruning.json", timeout=3600)
    arguments.add_source(parser)
    parser.add_argument("--pruner", default="asha", help="sweep.pruner of the pruned sweep (default asha)")
    share = "sweep.prune_after of the pruned sweep (default 0.1: from the first of 9 epochs)"
    parser.add_argument("--prune-after", type=float, default=0.1, metavar="SHARE", help=share)
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="points (default 100)")
    parser.add_argument("--epochs", type=int, default=9, metavar="N", help="epochs of a full trial (default 9)")
    return parser.parse_args()


def sweep(pruner: str, dataset: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One sweep in a fresh folder: what its result says, and its trials in the order in which they ended."""
    folder = windrow_job.fresh_folder("pruning", pruner)
    section = {"sampler": "quasi_random", "trials": options.trials, "epochs": options.epochs, "pruner": pruner}
    section["prune_after"] = options.prune_after
    page = windrow_job.write_page(folder / "bench_pruning.yaml", space=SPACE, sweep=section)
    job = ("--experiment", page, "--dataset", dataset, "--study", folder / "study")
    result = windrow_job.submit(options.windrow, "sweep", folder, options.slots, *job, timeout=options.timeout)
    trials = sorted(windrow_job.trials(folder / "study"), key=lambda trial: trial["ended"])
    result.pop("study")  # a folder of this machine; results are kept in git
    return {"pruner": pruner, "result": result, "trials": trials, "curve": best_so_far(trials)}


def best_so_far(trials: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """(epochs spent, best validation accuracy of the trials trained to the end) after each trial, as they ended."""
    spent = accumulate(trial["epochs"] for trial in trials)
    best = accumulate((trial["accuracy"] if trial["complete"] else 0.0 for trial in trials), max)
    return list(zip(spent, best, strict=True))


def compare(full: dict[str, Any], pruned: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a sweep."""
    in_full = {trial["number"]: trial["accuracy"] for trial in full["trials"]}
    all_epochs = sum(trial["epochs"] for trial in full["trials"])
    rows = []
    for sweep_ in (full, pruned):
        result, epochs = sweep_["result"], sum(trial["epochs"] for trial in sweep_["trials"])
        value = in_full.get(result["best_trial"])
        rows.append(
            {
                "sweep": sweep_["pruner"],
                "epochs": epochs,
                "share": f"{epochs / all_epochs:.0%}",
                "seconds": result["seconds"],
                "champion": f"trial {result['best_trial']}",
                "accuracy": round(result["best_value"], 4),
                "in_full": value if value is None else round(value, 4),
                "regret": value if value is None else round(full["result"]["best_value"] - value, 4),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
