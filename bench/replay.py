"""Replay pruners on recorded tables: what they spend, and what they lose of the best point.

    python bench/replay.py bench/results/table_digits.jsonl bench/results/table_small_cnn.jsonl

Each replay trains two thirds of a table's points, drawn anew each time, the default configuration first, as a sweep
does. Trials run on two slots and report after each epoch; an epoch takes the processor time that was recorded. Regret
is what the best trial that ended lacks to the best of these points, in points (hundredths of the objective). The
pruners are those of windrow.sweep.sampling.pruners, and others to compare with.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import report
import tables
from scipy.stats import spearmanr
from tables import Table, Training
from windrow.experiment import SweepSection
from windrow.sweep.sampling import pruners

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

SLOTS = 2
Signal = Callable[[Sequence[float], int], float]
"""What a pruner is shown: a function of the curve so far and of the epochs of a whole trial."""


@dataclass(frozen=True)
class Way:
    """A way to prune."""

    name: str
    pruner: Callable[[int], BasePruner]  # of the epochs of a whole trial
    signal: Signal = lambda curve, _: curve[-1]


@dataclass(frozen=True)
class Replay:
    """One replay: epochs of all trials, the processor seconds, and the best value of a trial that ended."""

    epochs: int
    seconds: float
    best: float


def main() -> int:
    """Replay every way on every table, and write the results."""
    options = parse_args()
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    results = {}
    text = ""
    for path in options.tables:
        table = tables.read(path, options.objective)
        found = {"ages": ages(table), "ways": compare(table, options.orders)}
        results[path.stem] = found
        text += shown(path.stem, table, found)
    report.save(options.out, results, text)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE", help="files of record.py")
    parser.add_argument("--orders", type=int, default=40, metavar="N", help="replays of each way (40)")
    parser.add_argument("--objective", metavar="NAME", help="val_accuracy or val_loss (default: the page's)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "replay.json", metavar="FILE")
    return parser.parse_args()


def ways() -> list[Way]:
    """Every way to prune."""
    from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner

    def halving(share: float, factor: int) -> Callable[[int], BasePruner]:
        return lambda epochs: SuccessiveHalvingPruner(
            min_resource=max(1, math.ceil(share * epochs)), reduction_factor=factor
        )

    def hyperband(factor: int) -> Callable[[int], BasePruner]:
        return lambda epochs: HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=factor)

    def median(share: float) -> Callable[[int], BasePruner]:
        return lambda epochs: MedianPruner(n_startup_trials=5, n_warmup_steps=math.ceil(share * epochs) - 1)

    def shipped(name: str) -> Callable[[int], BasePruner]:
        def make(epochs: int) -> BasePruner:
            section = SweepSection.model_validate({"pruner": name, "epochs": epochs})
            return pruners.pruner(section, pruners.first_decision(section))

        return make

    found = [Way(f"sweep.pruner: {name}", shipped(name)) for name in ("none", "asha", "median")]
    found += [Way(f"halving by {factor} from epoch 1", halving(0, factor)) for factor in (2, 3, 4)]
    found += [
        Way(f"halving by {factor} from {share:.0%}", halving(share, factor))
        for share in (0.1, 0.2, 0.25, 0.33, 0.5)
        for factor in (2, 3, 4)
    ]
    found += [Way(f"hyperband, by {factor}", hyperband(factor)) for factor in (3, 4)]
    found += [Way(f"median from {share:.0%}", median(share)) for share in (0.1, 0.25, 0.33, 0.5)]
    found += [
        Way(f"halving by 4 from {share:.0%}, extrapolated", halving(share, 4), extrapolated)
        for share in (0.2, 0.25, 0.33)
    ]
    return found


def extrapolated(curve: Sequence[float], epochs: int) -> float:
    """The value that a power law through the later half of the curve's errors has at the end.

    The error is 1 - accuracy. A curve of less than three values, or one that does not rise, keeps its last value.
    """
    later = curve[len(curve) // 2 :]
    first = len(curve) - len(later) + 1
    errors = [1 - value for value in later]
    if len(later) < 3 or min(errors) <= 0:
        return curve[-1]
    slope = statistics.linear_regression(
        [math.log(first + place) for place in range(len(later))], [math.log(error) for error in errors]
    ).slope
    return 1 - (1 - curve[-1]) * (epochs / len(curve)) ** min(slope, 0.0)


def ages(table: Table) -> list[dict[str, object]]:
    """Rank correlations (Spearman) with the last value: of the value by age, extrapolated, and of short schedules."""
    whole = [training for training in table.full.values() if training.whole and training.point]
    ends = [training.curve[-1] for training in whole]
    best = sorted(whole, key=lambda training: -table.sign * training.curve[-1])[: len(whole) // 3]
    rows: list[dict[str, object]] = []
    for age in sorted({1, *(math.ceil(share * table.epochs) for share in (0.1, 0.2, 0.25, 0.33, 0.5, 0.75))}):
        row: dict[str, object] = {
            "age": age,
            "all": rank([training.curve[age - 1] for training in whole], ends),
            "best third": rank([one.curve[age - 1] for one in best], [one.curve[-1] for one in best]),
        }
        if table.sign == 1:
            row["extrapolated"] = rank([extrapolated(one.curve[:age], table.epochs) for one in whole], ends)
        rows.append(row)
    for epochs, short in table.short.items():
        pairs = [(short[one.point].curve[-1], one.curve[-1]) for one in whole if one.point in short]
        known = {one.point for one in best}
        good = [(short[one.point].curve[-1], one.curve[-1]) for one in whole if one.point in short.keys() & known]
        rows.append(
            {
                "age": f"schedule of {epochs}",
                "all": rank(*zip(*pairs, strict=True)),
                "best third": rank(*zip(*good, strict=True)),
            }
        )
    return rows


def rank(values: Sequence[float], others: Sequence[float]) -> float:
    """Spearman's rank correlation."""
    return round(float(spearmanr(values, others).statistic), 2)


def compare(table: Table, orders: int) -> list[dict[str, object]]:
    """A row a way: medians and means over the orders."""
    shuffled = [order(table, seed) for seed in range(orders)]
    rows = []
    for way in ways():
        if way.signal is extrapolated and table.sign < 0:
            continue
        rows.append(row(table, way.name, [replay(table, way, each) for each in shuffled], shuffled))
    for stages in short_stages(table):
        name = f"schedules of {', '.join(map(str, stages))}, then {table.epochs}: the best third goes on"
        rows.append(row(table, name, [by_schedules(table, stages, each) for each in shuffled], shuffled))
    return rows


def row(table: Table, name: str, replays: list[Replay], shuffled: list[list[int]]) -> dict[str, object]:
    """One way's row. Random search's regret is that of the first points trained in full with as many epochs."""
    all_epochs = table.epochs * len(shuffled[0])
    pairs = list(zip(replays, shuffled, strict=True))
    regrets = [regret(table, one.best, points) for one, points in pairs]
    peers = [
        regret(table, best_of(table, points[: max(1, round(one.epochs / table.epochs))]), points)
        for one, points in pairs
    ]
    return {
        "way": name,
        "epochs": f"{statistics.mean(one.epochs for one in replays) / all_epochs:.0%}",
        "seconds": round(statistics.mean(one.seconds for one in replays)),
        "regret": round(statistics.mean(regrets), 2),
        "median": round(statistics.median(regrets), 2),
        "within": f"{sum(value <= 0.05 for value in regrets) / len(regrets):.0%}",
        "random": round(statistics.mean(peers), 2),
    }


def order(table: Table, seed: int) -> list[int]:
    """The points of a replay: the default configuration, then two thirds of the others, in random order."""
    points = sorted(table.full.keys() - {0})
    drawn = random.Random(seed).sample(points, 2 * len(points) // 3)  # noqa: S311  a sample, not a secret
    return [*({0} & table.full.keys()), *drawn]


def regret(table: Table, value: float, points: Sequence[int]) -> float:
    """What a value lacks to the best of the points, in points of a hundredth."""
    return 100 * table.sign * (best_of(table, points) - value)


def best_of(table: Table, points: Sequence[int]) -> float:
    """The best last value of some points; the worst possible without any that was trained to its end."""
    ends = [table.full[point].curve[-1] for point in points if table.full[point].whole]
    return max(ends, key=lambda value: table.sign * value, default=-table.sign * math.inf)


def replay(table: Table, way: Way, points: Sequence[int]) -> Replay:
    """Train the points on two slots, with a pruner that is asked after each epoch."""
    import optuna

    study = optuna.create_study(direction=table.page.sweep.direction, pruner=way.pruner(table.epochs), study_name="one")
    left = iter(points)
    running: list[tuple[float, int, Training, optuna.Trial, int]] = []  # the end of the epoch, and its number
    tie = count()
    epochs, seconds = 0, 0.0
    best = -table.sign * math.inf

    def start(now: float) -> None:
        if (point := next(left, None)) is not None:
            training = table.full[point]
            heapq.heappush(running, (now + pace(training), next(tie), training, study.ask(), 1))

    for _ in range(SLOTS):
        start(0.0)
    while running:
        now, _, training, trial, age = heapq.heappop(running)
        epochs, seconds = epochs + 1, seconds + pace(training)
        if len(training.curve) < age:  # its loss was infinite
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            start(now)
            continue
        trial.report(way.signal(training.curve[:age], table.epochs), age)
        if age == table.epochs:
            value = training.curve[-1]
            study.tell(trial, value)
            best = max(best, value, key=lambda one: table.sign * one)
            start(now)
        elif trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            start(now)
        else:
            heapq.heappush(running, (now + pace(training), next(tie), training, trial, age + 1))
    return Replay(epochs, seconds, best)


def pace(training: Training) -> float:
    """Processor seconds of an epoch."""
    return training.seconds / max(1, len(training.curve))


def short_stages(table: Table) -> list[tuple[int, ...]]:
    """Rows of short schedules to try: each alone, and the shortest before each."""
    known = [epochs for epochs, trainings in table.short.items() if table.full.keys() <= trainings.keys()]
    return [(epochs,) for epochs in known] + [(known[0], epochs) for epochs in known[1:]]


def by_schedules(table: Table, stages: Sequence[int], points: Sequence[int]) -> Replay:
    """Train all points under the first short schedule, the best third under the next, and so on to the full one."""
    epochs, seconds = 0, 0.0
    for stage in stages:
        trainings = [table.short[stage][point] for point in points]
        epochs += sum(len(training.curve) for training in trainings)
        seconds += sum(training.seconds for training in trainings)
        whole = [training for training in trainings if training.whole]
        whole.sort(key=lambda training: -table.sign * training.curve[-1])
        points = [training.point for training in whole[: math.ceil(len(points) / 3)]]
    full = [table.full[point] for point in points]
    epochs += sum(len(training.curve) for training in full)
    return Replay(epochs, seconds + sum(training.seconds for training in full), best_of(table, points))


def shown(name: str, table: Table, found: dict[str, list[dict[str, object]]]) -> str:
    """A table's results as Markdown."""
    about = f"{len(table.full)} points of {table.epochs} epochs, {table.images[0]:,} images to train on, "
    text = f"\n## {name}: {about}{table.images[1]:,} to validate on\n\n"
    heads = {"ages": ["rank correlation", "all points", "best third", "extrapolated"]}
    heads["ways"] = ["way", "epochs", "seconds", "mean regret", "median", "within 0.05 points", "random search's"]
    for part, columns in heads.items():
        text += report.table(
            columns, [list(each.values()) + [None] * (len(columns) - len(each)) for each in found[part]]
        )
        text += "\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
