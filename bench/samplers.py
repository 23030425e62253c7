"""Windrow's samplers on published tables, next to Optuna used directly, with the same seeds and no point by hand.

    var/bench/venv/bin/python bench/samplers.py --runs var/samplers.jsonl

Windrow's points are drawn by windrow.sweep.study, as in a sweep, with a ledger and a journal; Optuna's by its ask and
tell, with an in-memory study. Both get the same seed and, where nothing else is said, one slot. Points that a
constraint excludes cost neither a trial: Windrow draws again, and Optuna is told them as pruned, with set_constraint.

Regret is the share of a table's points that are better than the best so far, in thousandths; for two goals what the
front lacks of the hypervolume of the table's own front (published.py has both).

Each run adds a line to --runs; the same command goes on where an earlier one stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import published
import sampler_tables
from published import Problem
from windrow.experiment.parameters import Value
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling import space
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import open_study
from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler
    from windrow.sweep.ledger import Lease

BUDGETS = (12, 25, 50, 100)
TABLES = (
    *("hpolib/protein_structure", "hpolib/slice_localization"),
    *("hpobench/car", "hpobench/phoneme", "hpobench/vehicle"),
    *("nasbench201/cifar10", "nasbench201/imagenet"),
)


@dataclass(frozen=True)
class Way:
    """A way to search.

    Attributes:
        slots: trials at once.
        kinds: the kinds of search that are run in this way.
        seeds: the most runs on a table.
    """

    tool: str
    sampler: str
    slots: int = 1
    deterministic: bool = False
    kinds: tuple[str, ...] = tuple(published.KINDS)
    seeds: int = 1000

    @property
    def name(self) -> str:
        """As in the tables."""
        more = f", {self.slots} slots" if self.slots > 1 else ", deterministic" if self.deterministic else ""
        return f"{self.tool} {self.sampler}{more}"


ONE_GOAL = ("plain", "condition", "constraint")
PLAIN = ("plain", "goals")
BOTH = ("windrow", "optuna")
WAYS = (
    Way("windrow", "tpe"),
    Way("optuna", "tpe", kinds=("condition", "constraint", "goals, condition")),
    *(Way(tool, "quasi_random", kinds=ONE_GOAL) for tool in BOTH),
    Way("windrow", "random", kinds=PLAIN),
    Way("windrow", "cma_es", kinds=("plain",)),
    *(Way("windrow", "tpe", slots, kinds=("plain",)) for slots in (8, 32)),
    Way("windrow", "tpe", deterministic=True, kinds=("plain",)),
    # Few runs: with the same seed, tpe and random draw the same points as Windrow's, and so does cma_es of numbers.
    *(Way("optuna", sampler, kinds=PLAIN, seeds=4) for sampler in ("tpe", "random")),
    Way("optuna", "cma_es", kinds=("plain",), seeds=4),
)


def main() -> None:
    """Do the runs that --runs lacks, and write the tables."""
    options = parse_args()
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    warnings.simplefilter("ignore")  # that a flag of Optuna's is experimental
    done = {tuple(row[:4]) for row in sampler_tables.rows(options.runs)}
    for table in options.tables:
        for kind in published.kinds(table):
            for way in (way for way in WAYS if kind in way.kinds):
                for seed in range(1, min(options.seeds, way.seeds) + 1):
                    if (table, kind, way.name, seed) not in done:
                        found = run(published.load(table, kind), way, seed)
                        with options.runs.open("a") as lines:
                            lines.write(json.dumps([table, kind, way.name, seed, found]) + "\n")
    sampler_tables.save(options.out, sampler_tables.rows(options.runs), BUDGETS)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=TABLES, metavar="NAME", help="such as hpobench/car")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="runs of each way on each table (20)")
    parser.add_argument("--runs", type=Path, required=True, metavar="FILE", help="a line a run; it is added to")
    parser.add_argument("--out", type=Path, default=sampler_tables.OUT, metavar="FILE")
    return parser.parse_args()


def run(problem: Problem, way: Way, seed: int) -> list[float]:
    """The regrets of a run after each of the BUDGETS."""
    search = by_windrow if way.tool == "windrow" else by_optuna
    results = [problem.result(point) for point in search(problem, way, seed, max(BUDGETS))]
    return [round(problem.regret(results[:budget]), 3) for budget in BUDGETS]


def by_windrow(problem: Problem, way: Way, seed: int, trials: int) -> list[dict[str, Value]]:
    """The points of a study, in the order in which they ended; the trial that began first ends first."""
    page = problem.page(sampler=way.sampler, seed=seed, trials=trials, deterministic=way.deterministic)
    running: deque[Lease] = deque()
    points = []
    with tempfile.TemporaryDirectory() as folder, open_study(Path(folder), page, "published") as study:
        while True:
            while len(running) < way.slots and (lease := study.ask()) is not None:
                running.append(lease)
            if not running:
                return points
            lease = running.popleft()
            points.append(dict(lease.point))
            value, cost = problem.result(lease.point)
            epoch = Epoch(0.0, 0.0, value, value, 0.0, weights=cost)
            study.settle(Outcome(lease.number, lease.attempt, Ending.OK, value, (epoch,), lease=lease.token))


def by_optuna(problem: Problem, way: Way, seed: int, trials: int) -> list[dict[str, Value]]:
    """The points that Optuna draws with its own defaults."""
    import optuna

    directions = ["minimize" if problem.sign > 0 else "maximize", "minimize"]
    goals = 2 if "goals" in problem.kind else 1
    study = optuna.create_study(directions=directions[:goals], sampler=optuna_sampler(way.sampler, seed))
    points: list[dict[str, Value]] = []
    suggest = suggestions(problem)
    while len(points) < trials:
        trial = study.ask()
        point = suggest(trial)
        if excess := problem.excess(point):
            trial.set_constraint("limit", excess)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            points.append(point)
            study.tell(trial, list(problem.result(point)[:goals]))
    return points


def optuna_sampler(name: str, seed: int) -> BaseSampler:
    """Optuna's sampler with its own defaults. Windrow's learning samplers have the same seed, derived from a page's."""
    from optuna import samplers

    derived = seed_of(seed, 0)
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(seed=derived),
        "random": lambda: samplers.RandomSampler(seed=derived),
        "cma_es": lambda: samplers.CmaEsSampler(seed=derived, warn_independent_sampling=False),
        # Without scrambling, every seed would have the same points.
        "quasi_random": lambda: samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
    }
    return makers[name]()


def suggestions(problem: Problem) -> Callable[[Trial], dict[str, Value]]:
    """What an Optuna user writes for the problem's space: a suggestion for each dimension, conditional ones inside."""
    dimensions = problem.space()
    order = space.order(problem.page().space)  # Windrow's: with another order, the same seed has other points

    def suggest(trial: Trial) -> dict[str, Value]:
        point: dict[str, Value] = {}
        for name in order:
            each = dimensions[name]
            if any(point[other] not in values for other, values in each.get("when", {}).items()):
                continue
            if each["type"] == "categorical":
                point[name] = trial.suggest_categorical(name, each["choices"])
            else:
                point[name] = trial.suggest_int(name, each["low"], each["high"])
        return point

    return suggest


if __name__ == "__main__":
    sys.exit(main())
