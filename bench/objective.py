"""The trial of every tool but Windrow: the same code for each.

A sweep's folder (BENCH_FOLDER) holds sweep.json (points, epochs, batch size, data set), written by points.py's caller.
Each trial appends its own wall-clock stamps to trials.jsonl there, so that no tool has to bring them home.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

Train = Callable[[dict[str, Any]], float]


def fit(number: int) -> float:
    """Trial `number` as users of Keras write it: model.fit on arrays. The last epoch's validation accuracy, 0..1."""
    import keras  # noqa: F401  before the stamp: Windrow's trials begin with it imported, too

    return _stamped(number, _fit)


def graph(number: int) -> float:
    """Trial `number` with a hand-written loop: one tf.function an epoch."""
    import keras  # noqa: F401  as for `fit`
    from graph_loop import train

    return _stamped(number, lambda point: train(point, sweep(), *raw_arrays()))


def empty(number: int) -> float:
    """A trial that does nothing: what remains is the tool's overhead."""
    return _stamped(number, lambda _: 0.5)


@lru_cache(maxsize=1)
def sweep() -> dict[str, Any]:
    """sweep.json: points, epochs, batch_size and dataset."""
    values: dict[str, Any] = json.loads((_folder() / "sweep.json").read_text())
    return values


@lru_cache(maxsize=1)
def raw_arrays() -> tuple[Any, ...]:
    """Train images and labels, validation images and labels: uint8 (n, 28, 28, 1) and int64 (n,). Once a process."""
    import numpy as np

    dataset = Path(sweep()["dataset"])
    return tuple(np.load(dataset / f"{split}-{part}.npy") for split in ("train", "validation") for part in PARTS)


PARTS = ("images", "labels")


@lru_cache(maxsize=1)
def _scaled_arrays() -> tuple[Any, ...]:
    images, labels, held_out, truth = raw_arrays()
    return images.astype("float32") / 255, labels, held_out.astype("float32") / 255, truth


def _fit(point: dict[str, Any]) -> float:
    import keras
    import networks

    keras.backend.clear_session()
    keras.utils.set_random_seed(point["seed"])
    images, labels, held_out, truth = _scaled_arrays()
    network = networks.build(point)
    optimizer = keras.optimizers.Adam(point["learning_rate"])
    network.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(
        *(images, labels, sweep()["batch_size"], sweep()["epochs"]),
        validation_data=(held_out, truth),
        validation_batch_size=512,
        verbose=0,
    )
    return float(history.history["val_accuracy"][-1])


def _stamped(number: int, train: Train) -> float:
    started = time.time()
    accuracy = train(sweep()["points"][number])
    record = {"number": number, "started": started, "ended": time.time(), "accuracy": accuracy, "process": os.getpid()}
    line = f"{json.dumps(record)}\n".encode()
    handle = os.open(_folder() / "trials.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)  # one write, so that lines of several processes don't mix
    finally:
        os.close(handle)
    return accuracy


def _folder() -> Path:
    return Path(os.environ["BENCH_FOLDER"])
