"""How far apart the points are that several slots get at once, next to points that are drawn one after another.

    var/bench/venv/bin/python bench/batches.py

On published tables, a study of Windrow's sampler tpe has the results
of 30 trials and is then asked for 2, 8 or 32 points: at once, or one after another, each with the results of those
before it. Optuna's sampler without constant_liar is asked at once, too. A point's distance is that to the nearest
other point of its batch: the mean over hyper-parameters of the difference as a share of the range, or 0 and 1 for
equal and different choices. A copy is a point that the batch has before it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import published
import report
from published import Problem
from samplers import suggestions
from windrow.experiment.parameters import Value
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import Study, open_study

if TYPE_CHECKING:
    from windrow.sweep.ledger import Lease

TABLES = ("hpolib/protein_structure", "hpobench/car", "nasbench201/cifar10")
SIZES = (2, 8, 32)
BEFORE = 30
Point = Mapping[str, Value]


def main() -> None:
    """Draw the batches, and write the table."""
    options = parse_args()
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    rows = []
    for table in options.tables:
        problem = published.load(table, "plain")
        for size in SIZES:
            ways = {
                "at once": [windrow(problem, seed, size, at_once=True) for seed in range(options.seeds)],
                "one after another": [windrow(problem, seed, size, at_once=False) for seed in range(options.seeds)],
                "at once, without constant_liar": [without_liar(problem, seed, size) for seed in range(options.seeds)],
            }
            rows += [[table, size, name, *summary(problem, batches)] for name, batches in ways.items()]
    head = ["table", "points", "drawn", "distance, median", "copies in a batch, mean", "regret of the best, median"]
    report.save(options.out, {"rows": rows}, report.table(head, rows))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=TABLES, metavar="NAME", help="such as hpobench/car")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="batches of each kind (20)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "batches.json", metavar="FILE")
    return parser.parse_args()


def windrow(problem: Problem, seed: int, size: int, at_once: bool) -> list[Point]:
    """A batch of a study of Windrow's."""
    page = problem.page(sampler="tpe", seed=seed, trials=BEFORE + size)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        study = stack.enter_context(open_study(Path(folder), page, "published"))
        for _ in range(BEFORE):
            settle(problem, study, ask(study))
        leases = []
        for _ in range(size):
            leases.append(ask(study))
            if not at_once:
                settle(problem, study, leases[-1])
        return [lease.point for lease in leases]


def ask(study: Study) -> Lease:
    """The next trial, which there is."""
    lease = study.ask()
    if lease is None:
        raise RuntimeError("a study must have a point left for each trial of its page; it has none")
    return lease


def settle(problem: Problem, study: Study, lease: Lease) -> None:
    """Record a trial's value in the table."""
    value, _ = problem.result(lease.point)
    study.settle(Outcome(lease.number, lease.attempt, Ending.OK, value, lease=lease.token))


def without_liar(problem: Problem, seed: int, size: int) -> list[Point]:
    """A batch of Optuna's sampler that does not look at running trials."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=seed_of(seed, 0), constant_liar=False)
    study = optuna.create_study(direction="minimize" if problem.sign > 0 else "maximize", sampler=sampler)
    suggest = suggestions(problem)
    for _ in range(BEFORE):
        trial = study.ask()
        study.tell(trial, problem.result(suggest(trial))[0])
    return [suggest(study.ask()) for _ in range(size)]


def summary(problem: Problem, batches: Sequence[Sequence[Point]]) -> list[float]:
    """The median distance of all points, the mean number of copies in a batch, the median regret of a batch's best."""
    apart = [
        min(distance(problem, point, other) for other in (*batch[:place], *batch[place + 1 :]))
        for batch in batches
        for place, point in enumerate(batch)
    ]
    copies = fmean(sum(point in batch[:place] for place, point in enumerate(batch)) for batch in batches)
    best = [problem.regret([problem.result(point) for point in batch]) for batch in batches]
    return [round(median(apart), 3), round(copies, 2), round(median(best), 2)]


def distance(problem: Problem, point: Point, other: Point) -> float:
    """The distance of two points, 0..1."""
    return fmean(
        abs(int(point[name]) - int(other[name])) / (len(choices) - 1)
        if name in problem.numbers
        else float(point[name] != other[name])
        for name, choices in problem.choices.items()
    )


if __name__ == "__main__":
    sys.exit(main())
