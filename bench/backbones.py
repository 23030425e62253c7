"""Backbones compared: time per image on one core, and what a linear classifier makes of their features.

    python bench/backbones.py --backbones lite0,/data/other.keras --photos /data/hymenoptera,/data/trashnet

A folder of photographs has train/CLASS/ and test/CLASS/. The classifier is scikit-learn's logistic regression on
standardized features; five folds of the training photographs choose its penalty, and the test photographs are read
once. No Spark, no sweep: this compares backbones, not Windrow with anything.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import report
from windrow.model.backbones import bring

BATCHES = (1, 16, 64)
FITS = ("crop", "squash")
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
SECONDS = 5.0  # of measuring, per batch size


def main() -> int:
    """Measure each backbone on each folder, then write the table."""
    options = parse_args()
    machine = report.machine(1)
    report.use_cores(1)
    with tempfile.TemporaryDirectory() as home:
        rows = [measure(name, options.photos, Path(home)) for name in options.backbones]
    columns = list(rows[0])
    table = report.table(columns, [[row[column] for column in columns] for row in rows])
    report.save(options.out, {"machine": machine, "rows": rows}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default="lite0", metavar="A,B", help="values of network.backbone (lite0)")
    parser.add_argument("--photos", default="", metavar="DIR,DIR", help="folders with train/ and test/")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "backbones.json", metavar="FILE")
    options = parser.parse_args()
    options.backbones = options.backbones.split(",")
    options.photos = [Path(folder) for folder in options.photos.split(",") if folder]
    return options


def measure(name: str, folders: list[Path], home: Path) -> dict[str, Any]:
    """A row of the table: times in ms per image, and the accuracy on the test photographs of each folder."""
    backbone = bring(name, None, None, home, Path.cwd())
    side = backbone.shape[0]
    runs = {size: traced(backbone.file, size, backbone.shape) for size in BATCHES}
    row: dict[str, Any] = {"backbone": backbone.name, "side": side, "features": backbone.features}
    drawn = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *backbone.shape)).astype(np.uint8)
    for size, run in runs.items():
        row[f"ms, batch {size}"] = round(milliseconds(run, drawn[:size]), 2)
    for folder in folders:
        for fit in FITS:
            row[f"{folder.name}, {fit}"] = round(accuracy(folder, fit, side, runs[16]), 3)
    print(row, file=sys.stderr, flush=True)
    return row


def traced(file: Path, size: int, shape: tuple[int, int, int]) -> Any:
    """The network as a function from `size` images, uint8, to features."""
    import keras
    import tensorflow as tf

    network = keras.saving.load_model(file, compile=False)
    wanted = [tf.TensorSpec((size, *shape), tf.uint8)]
    step = tf.function(lambda x: network(tf.cast(x, tf.float32), training=False), wanted, autograph=False)
    concrete = step.get_concrete_function()
    return lambda images: concrete(tf.constant(images)).numpy()


def milliseconds(run: Any, images: NDArray[np.uint8]) -> float:
    """The median time per image, in ms, after one call for warming up."""
    run(images)
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / len(images) * 1e3


def accuracy(folder: Path, fit: str, side: int, run: Any) -> float:
    """The share of right labels among the test photographs."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (features, labels), (test, wanted) = (embedded(folder / split, fit, side, run) for split in ("train", "test"))
    classifier = LogisticRegressionCV(
        Cs=list(PENALTIES), cv=5, scoring="accuracy", max_iter=2000, l1_ratios=(0,), use_legacy_attributes=False
    )
    return float(make_pipeline(StandardScaler(), classifier).fit(features, labels).score(test, wanted))


def embedded(folder: Path, fit: str, side: int, run: Any) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """The features of a split's photographs, and their classes."""
    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    pixels = [fitted(file, fit, side) for file in files]
    pixels += [pixels[-1]] * (-len(pixels) % 16)
    found = np.concatenate([run(np.stack(pixels[at : at + 16])) for at in range(0, len(pixels), 16)])
    return found[: len(files)], np.array([file.parent.name for file in files])


def fitted(file: Path, fit: str, side: int) -> NDArray[np.uint8]:
    """A photograph as a square: its middle, after the short side became side * 256 / 224, or all of it, squashed."""
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    if fit == "squash":
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    scale = side * 256 / 224 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
