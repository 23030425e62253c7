"""Compare the default configuration of heads with others, by cross-validation on photographs, without their test split.

    python bench/head_choices.py --photos /data/hymenoptera,/data/trashnet

Each folder has train/ and test/. prepare_dataset.py and embed_images.py make the features, as for any page with a
backbone; a folder that an earlier run has made is used again. A row is a setting, a column a number of photographs that
heads learn from: 5, 10, or 30 of each class, drawn at random, and tested on up to 600 others; 60 of the first, third,
fifth class and 6 of the others, tested on as many of each class; or all but a fifth, which they are tested on, in turn.
All of them are training and validation images of the page; its test images are never read.
Values are mean accuracies, and below them the standard error of the difference to the first row.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import photos
import report
import windrow_job
from windrow import experiment
from windrow.data import features
from windrow.training import loop, runtime
from windrow.training.data import Examples
from windrow.training.networks import Builder

SETTINGS: dict[str, dict[str, Any]] = {
    "the default": {},
    "batches of 8": {"batch_size": 8},
    "batches of 32": {"batch_size": 32},
    "batches of 128": {"batch_size": 128},
    "256 units": {"units": 256},
    "1,024 units": {"units": 1024},
    "no dropout": {"dropout": 0.0},
    "label smoothing 0.05": {"label_smoothing": 0.05},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "learning rate 3e-3": {"learning_rate": 3e-3},
    "no hidden layer, learning rate 3e-3": {"layers": 0, "dropout": 0.0, "learning_rate": 3e-3},
    "two hidden layers": {"layers": 2},
    "features scaled": {"l2_normalized": True},
    "classes not weighed": {"class_weight": "none"},
    "cropped, not squashed": {"fit": "crop"},
    "15 % fewer images": {"share": 0.85},
}
"""What differs from the default configuration, by the name of the row."""

LOGISTIC = {"logistic regression, squashed": "main", "logistic regression, cropped": "crop"}
"""Rows of scikit-learn's LogisticRegression with its own settings, by the name of the images' files."""

EPOCHS, FOLDS, MOST_TESTED = 20, 5, 600
FREQUENT, RARE = 60, 6
"""Photographs of a class, where some classes are rare."""
Part = tuple[Any, Any]


def main() -> int:
    """Train and test every setting, and write the table."""
    options = parse_args()
    report.use_cores(1)
    machine = report.machine(1)
    runtime.import_tensorflow(1)
    columns: dict[str, dict[str, list[float]]] = {}
    for folder in options.photos:
        page, data = prepared(folder)
        images = {fit: whole(data, fit) for fit in ("main", "crop")}
        for name, parts in sets(images["main"].labels, options.draws):
            columns[f"{folder.name}, {name}"] = measured(page, images, parts)
            print(f"{folder.name}, {name}: done", file=sys.stderr, flush=True)
    names = [*SETTINGS, *LOGISTIC]
    rows = [[name, *(cell(values[name], values["the default"]) for values in columns.values())] for name in names]
    table = report.table(["setting", *columns], rows)
    report.save(options.out, {"machine": machine, "columns": columns}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=photos.paths, metavar="DIR[,DIR...]", help="folders")
    parser.add_argument("--draws", default=8, type=int, help="draws of few images of each class (8)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "head_choices.json", metavar="FILE")
    return parser.parse_args()


def prepared(folder: Path) -> tuple[experiment.Experiment, Path]:
    """Compute a folder's features by the jobs unless they are there; the page, and the data set's folder."""
    home = windrow_job.WORK / "head_choices" / folder.name
    home.mkdir(parents=True, exist_ok=True)
    page = windrow_job.write_page(
        home / "choices.yaml", dataset={"source": str(folder)}, network={"backbone": "lite0"}, sweep={"epochs": EPOCHS}
    )
    data = home / "data"
    if not (data / "features.json").is_file():
        checkout = windrow_job.REPOSITORY
        windrow_job.submit(checkout, "prepare_dataset", home, 2, "--experiment", page, "--out", data)
        windrow_job.submit(checkout, "embed_images", home, 2, "--experiment", page, "--dataset", data)
    return experiment.load_to_train(page), data


def whole(data: Path, fit: Any) -> Examples:
    """All training and validation images of a data set, as themselves."""
    parts = [features.load_split(data, split, fit) for split in ("train", "validation")]
    values = np.concatenate([np.asarray(part[:, :1]) for part, _ in parts])
    return Examples(values, np.concatenate([labels for _, labels in parts]))


def sets(labels: Any, draws: int) -> Iterator[tuple[str, list[Part]]]:
    """The names of the columns, and the images to learn from and those to test on, as indices."""
    everything, classes = np.arange(len(labels)), np.unique(labels)
    for count in (5, 10, 30):
        parts = []
        for draw in range(draws):
            order = np.random.default_rng([count, draw]).permutation(everything)
            chosen = np.concatenate([order[labels[order] == label][:count] for label in classes])
            chosen = np.random.default_rng(draw).permutation(chosen)
            parts.append((chosen, np.setdiff1d(order, chosen, assume_unique=True)[:MOST_TESTED]))
        yield f"{count} a class", parts
    yield f"{FREQUENT} or {RARE} a class", [uneven(labels, draw) for draw in range(draws)]
    order = np.random.default_rng(0).permutation(everything)
    folds = [(np.delete(order, np.s_[fold::FOLDS]), order[fold::FOLDS]) for fold in range(FOLDS)]
    yield f"{len(folds[0][0]):,}", folds


def uneven(labels: Any, draw: int) -> Part:
    """FREQUENT images of every other class and RARE ones of the rest to learn from, and as many of each to test on."""
    order = np.random.default_rng([FREQUENT, draw]).permutation(len(labels))
    by_class = [order[labels[order] == label] for label in np.unique(labels)]
    learned = [part[: RARE if place % 2 else FREQUENT] for place, part in enumerate(by_class)]
    left = [part[len(taken) :] for part, taken in zip(by_class, learned, strict=True)]
    most = min(MOST_TESTED // len(by_class), *map(len, left))
    return np.random.default_rng(draw).permutation(np.concatenate(learned)), np.concatenate(
        [part[:most] for part in left]
    )


def measured(page: experiment.Experiment, images: dict[Any, Examples], parts: list[Part]) -> dict[str, list[float]]:
    """The accuracies of every setting on all parts."""
    found = {
        name: [accuracy(page, images, learned, tested, setting, seed) for seed, (learned, tested) in enumerate(parts)]
        for name, setting in SETTINGS.items()
    }
    for name, fit in LOGISTIC.items():
        values, labels = images[fit].images[:, 0].astype(np.float32), images[fit].labels
        found[name] = [logistic(values[one], labels[one], values[other], labels[other]) for one, other in parts]
    return found


def accuracy(
    page: experiment.Experiment, images: dict[Any, Examples], learned: Any, tested: Any, setting: Any, seed: int
) -> float:
    """The accuracy of a head with these settings."""
    changes = dict(setting)
    learned = learned[: round(changes.pop("share", 1.0) * len(learned))]
    parameters = {**page.network.sized(len(learned)).defaults(), **changes}
    known = images["crop" if parameters.pop("fit") == "crop" else "main"]
    training, validation = (Examples(known.images[part], known.labels[part]) for part in (learned, tested))
    shape, classes = (1, 1, known.images.shape[-1]), len(np.unique(known.labels))
    run = loop.prepare(Builder("head"), parameters, shape, classes, training, validation, EPOCHS, seed)
    *_, last = run.epochs()
    return last.val_accuracy


def logistic(values: Any, labels: Any, tested: Any, truth: Any) -> float:
    """The accuracy of scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return float(LogisticRegression(max_iter=3000).fit(values, labels).score(tested, truth))


def cell(values: list[float], default: list[float]) -> str:
    """A mean, and the standard error of its difference to the default."""
    apart = np.array(values) - np.array(default)
    if not apart.any():
        return f"{np.mean(values):.3f}"
    return f"{np.mean(values):.3f} ± {apart.std(ddof=1) / len(apart) ** 0.5:.3f}"


if __name__ == "__main__":
    sys.exit(main())
