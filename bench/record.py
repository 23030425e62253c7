"""Record a table of trainings: points of a page's space, each epoch to the end, and under short schedules too.

    python bench/record.py --experiment dags/experiments/digits.yaml --out bench/results/table_digits.jsonl
    python bench/record.py --experiment dags/experiments/mnist.yaml --set dataset.source=/data/mnist \\
        --training 3000 --validation 2000 --points 60 --out bench/results/table_small_cnn.jsonl

The points are those of the sampler quasi_random, none given by hand; point 0 is the default configuration, as in every
sweep. A point is trained once with the page's epochs and once with each of --schedules: there the whole decay of the
learning rate takes fewer epochs. Trials run in this process, on one core, with the trainer that the workers use. The
seed of a point is the same under all schedules. Of a short schedule, the file has the accuracy only.

The file gets a line a training when it has ended. The same command goes on where an earlier one stopped, and more
--points add to it. bench/replay.py reads it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import numpy as np
from windrow import experiment, paths
from windrow.data import sources, splits
from windrow.experiment import Experiment
from windrow.experiment.parameters import Value
from windrow.sweep.sampling import sobol, space
from windrow.sweep.seeds import seed_of
from windrow.training import loop, runtime
from windrow.training.loop import Examples
from windrow.training.networks import Builder

DIGITS = 4  # of accuracies and losses in the file


def main() -> int:
    """Train what the file does not have yet."""
    options = parse_args()
    page = experiment.load_to_train(options.experiment, options.overrides)
    runtime.import_tensorflow(1)
    training, validation, classes = load(page, options.training, options.validation)
    header = {
        "page": page.model_dump(mode="json", include={"name", "network", "space", "constraints", "sweep"}),
        "images": [len(training), len(validation)],
    }
    done = begin(options.out, header)
    start = perf_counter()
    for number, point in points(page, options.points):
        for epochs in (page.sweep.epochs, *options.schedules):
            if (number, epochs) in done:
                continue
            if options.minutes is not None and perf_counter() - start > 60 * options.minutes:
                return 0
            while options.pause is not None and options.pause.exists():
                time.sleep(1)
            row = train(page, number, point, epochs, (training, validation), classes)
            with options.out.open("a") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
            print(f"point {number}, {epochs} epochs: {row['val_accuracy']}, {row['seconds']} s", flush=True)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--experiment", type=Path, required=True, metavar="PAGE", help="the page whose space is recorded")
    add("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="as for jobs/sweep.py")
    add("--points", type=int, default=60, metavar="N", help="points, the default configuration not counted (60)")
    add("--schedules", type=numbers, default=[2, 5, 10], metavar="N[,N...]", help="short schedules, epochs (2,5,10)")
    add("--training", type=int, metavar="N", help="images to train on (default: all of the split)")
    add("--validation", type=int, metavar="N", help="images to validate on (default: all of the split)")
    add("--minutes", type=float, metavar="M", help="begin no training after so many minutes")
    add("--pause", type=Path, metavar="FILE", help="begin no training while this file exists")
    add("--out", type=Path, required=True, metavar="FILE", help="the table, JSON lines")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """The numbers of a list with commas."""
    return [int(part) for part in text.split(",") if part]


def load(page: Experiment, training: int | None, validation: int | None) -> tuple[Examples, Examples, int]:
    """Images to train and to validate on, and the number of classes. A built-in source, or a folder with its files.

    The splits are those of jobs/prepare_dataset.py; their first images are taken, which are in random order.
    """
    section = page.dataset
    source = sources.load(section, paths.home() / "downloads")
    test = section.test if source.test_images is None else None
    drawn = splits.draw(source.train_labels, section.validation, test, section.seed)
    taken = (np.sort(drawn["train"][:training]), np.sort(drawn["validation"][:validation]))
    examples = [Examples(source.train_images[rows], source.train_labels[rows]) for rows in taken]
    return examples[0], examples[1], len(source.labels)


def begin(out: Path, header: dict[str, object]) -> set[tuple[int, int]]:
    """Begin the file, or read what it has: (point, epochs) of its trainings."""
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(header) + "\n")
        return set()
    first, *rows = out.read_text().splitlines()
    if json.loads(first) != json.loads(json.dumps(header)):
        sys.exit(f"error: --out must be a table of the same page and images; got {out} of others; name another file")
    return {(row["point"], row["epochs"]) for row in map(json.loads, rows)}


def points(page: Experiment, count: int) -> Iterator[tuple[int, dict[str, Value]]]:
    """Yield the default configuration as number 0, then `count` points with their numbers in Sobol's sequence."""
    defaults = page.network.defaults()
    yield 0, space.filled(page.space, {}, defaults)
    number = 0
    while count:
        number += 1
        point = space.filled(page.space, sobol.point(page.space, page.sweep.seed, number), defaults)
        if space.allowed(page.constraints, {**defaults, **point}):
            count -= 1
            yield number, point


def train(
    page: Experiment, number: int, point: dict[str, Value], epochs: int, data: tuple[Examples, Examples], classes: int
) -> dict[str, object]:
    """Train a point with the whole schedule in `epochs`; a row of the table. `seconds` is processor time."""
    shape = data[0].images.shape[1:]
    builder = Builder(page.network.builder)
    values = {**page.network.defaults(), **point}
    start = process_time()
    run = loop.prepare(builder, values, shape, classes, *data, epochs, seed_of(page.sweep.seed, number))
    found = []
    for epoch in run.epochs():
        if not epoch.finite:
            break
        found.append(epoch)
    row: dict[str, object] = {
        "point": number,
        "epochs": epochs,
        "seconds": round(process_time() - start, 2),
        "val_accuracy": [round(epoch.val_accuracy, DIGITS) for epoch in found],
    }
    if epochs == page.sweep.epochs:
        row["val_loss"] = [round(epoch.val_loss, DIGITS) for epoch in found]
        row["parameters"] = {name: rounded(value) for name, value in point.items()}
    return row


def rounded(value: Value) -> Value:
    """A value with six digits, as the file has it."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
