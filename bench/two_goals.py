"""What pruning costs and saves in a search for two goals: a sweep without it, replayed with the rule of sweep.md.

    python jobs/prepare_dataset.py --experiment dags/experiments/digits.yaml --out var/data/digits
    spark-submit --master 'local[2]' jobs/sweep.py --experiment dags/experiments/digits.yaml \\
        --dataset var/data/digits --study var/studies/front \\
        --set 'sweep.objectives=[val_accuracy, weights]' --set sweep.trials=60
    PYTHONPATH=jobs .venv/bin/python bench/two_goals.py var/studies/front

The trials are replayed on two slots, in the order of their numbers and in random orders, epoch by epoch with the
durations of the ledger. The hypervolume is that under the front of validation error and the logarithm of the cost,
bounded by the worst error and the highest cost of the whole sweep, and given as a share of the whole sweep's.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from windrow.experiment import SweepSection
from windrow.sweep.goals.front import cost_of
from windrow.sweep.goals.rungs import Rungs
from windrow.sweep.ledger import Ledger

Point = tuple[float, float]
"""Logarithm of the cost, and validation error or loss; less is better in both."""


@dataclass(frozen=True)
class Curve:
    """A trial that was trained to the end: objective and seconds of each epoch, cost, and error."""

    values: tuple[float, ...]
    seconds: tuple[float, ...]
    cost: float
    error: float

    @property
    def point(self) -> Point:
        """Where the trial ends."""
        return math.log10(self.cost), self.error


def main() -> None:
    """Read the study, replay it, and print a table."""
    options = parse_args()
    curves, sweep = read(options.study)
    whole, epochs = hypervolume([one.point for one in curves], curves), sum(len(one.values) for one in curves)
    if not whole:
        sys.exit("error: the front must dominate an area between the worst cost and error; got too few trials for one")
    print(f"{len(curves)} trials, {epochs} epochs\n")
    print("| first rung, epochs | order | share of the epochs | share of the hypervolume |\n|---|---|---|---|")
    for first in options.first:
        orders = {"as in the sweep": [list(curves)], f"{options.orders} random ones, median (worst)": []}
        draw = random.Random(0)  # noqa: S311  an order, not a secret
        orders[list(orders)[1]] = [draw.sample(curves, len(curves)) for _ in range(options.orders)]
        for name, listed in orders.items():
            runs = [replay(order, sweep, first, options.slots) for order in listed]
            spent = [used / epochs for used, _ in runs]
            kept = [hypervolume([one.point for one in ended], curves) / whole for _, ended in runs]
            shown = [(median(spent), max(spent)), (median(kept), min(kept))]
            cells = [f"{middle:.3f}" + (f" ({worst:.3f})" if len(listed) > 1 else "") for middle, worst in shown]
            print(f"| {first} | {name} | {' | '.join(cells)} |")


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a study for two goals, swept without a pruner")
    parser.add_argument("--first", type=int, nargs="+", default=[1, 3, 6], metavar="N", help="epochs of the first rung")
    parser.add_argument("--orders", type=int, default=50, metavar="N", help="random orders (default 50)")
    parser.add_argument("--slots", type=int, default=2, metavar="N", help="trials at once (default 2)")
    return parser.parse_args()


def read(folder: Path) -> tuple[list[Curve], SweepSection]:
    """Read the trials of a study that ended ok."""
    objective = json.loads((folder / "study.json").read_text(encoding="utf-8"))["objective"]
    ledger = Ledger(folder, reading=True)
    ended = [entry for entry in ledger.entries() if entry.value is not None]
    ledger.close()
    if not ended:
        sys.exit(f"error: the study must have trials that ended ok; got none in {folder}; sweep first")
    longest = max(len(entry.epochs) for entry in ended)
    known = "weights" if ended[0].epochs[-1].weights is not None else "milliseconds"
    sweep = SweepSection(objectives=(objective, known), pruner="asha", epochs=longest)
    curves = [
        Curve(
            tuple(epoch.metrics()[objective] for epoch in entry.epochs),
            tuple(epoch.seconds for epoch in entry.epochs),
            cost_of(entry.epochs, sweep) or 1.0,
            1 - (entry.value or 0.0) if sweep.direction == "maximize" else (entry.value or 0.0),
        )
        for entry in ended
    ]
    return curves, sweep


def replay(order: Sequence[Curve], sweep: SweepSection, first: int, slots: int) -> tuple[int, list[Curve]]:
    """Train curves in an order with pruning; return the number of epochs, and the trials that came to their end."""
    rungs, waiting, ended, epochs = Rungs(sweep, first), list(enumerate(order)), list[Curve](), 0
    busy: list[tuple[float, int, int, Curve]] = []  # when an epoch ends, the trial, the epoch, its curve

    def begin(now: float) -> None:
        if waiting:
            number, curve = waiting.pop(0)
            heapq.heappush(busy, (now + curve.seconds[0], number, 1, curve))

    for _ in range(slots):
        begin(0.0)
    while busy:
        now, number, epoch, curve = heapq.heappop(busy)
        epochs += 1
        stop = epoch < sweep.epochs and rungs.reach(number, epoch, curve.values[epoch - 1], curve.cost)
        if epoch == len(curve.values):
            ended.append(curve)
        if stop or epoch == len(curve.values):
            begin(now)
        else:
            heapq.heappush(busy, (now + curve.seconds[epoch], number, epoch + 1, curve))
    return epochs, ended


def hypervolume(points: Iterable[Point], every: Sequence[Curve]) -> float:
    """Return the area that points dominate, up to the worst of every curve in both goals."""
    worst = max(one.point[0] for one in every), max(one.point[1] for one in every)
    area, height = 0.0, worst[1]
    for cost, error in sorted(points):
        if error < height:
            area += (worst[0] - cost) * (height - error)
            height = error
    return area


if __name__ == "__main__":
    main()
