"""Measure the cost of a trial's network on its worker, before it trains: its weights, or its time for an image."""

from __future__ import annotations

import math
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from windrow.training.networks import count_weights

if TYPE_CHECKING:
    from windrow.sweep.spec import TrialSpec
    from windrow.training.loop import Run

BATCH = 64
"""Images at once for `milliseconds`."""

_REPEATS = 15
_LEAST_SECONDS = 2e-3  # a measurement takes at least this long; shorter calls are repeated within it


def measured(spec: TrialSpec, training: Run) -> dict[str, float]:
    """Return the cost that a specification asks for, by its name in Epoch; {} if it asks for none.

    `weights` is the number of trainable weights, of a head those of the head. `milliseconds` is the wall clock of an
    image: of an evaluation of the first 64 validation images, on the cores of the task and with the network's compiled
    graph, the median of 15 repeats, divided by the number of images.
    """
    if spec.cost is None:
        return {}
    if spec.cost == "milliseconds":
        return {spec.cost: _milliseconds(training)}
    weights = count_weights(spec.builder.name, spec.parameters, spec.shape, spec.classes)
    if weights is None:
        weights = sum(math.prod(each.shape) for each in training.network.trainable_weights)
    return {spec.cost: float(weights)}


def _milliseconds(training: Run) -> float:
    images = training.evaluate_first(BATCH)  # which also compiles the graph
    calls, seconds = 1, _seconds(training, 1)
    while seconds < _LEAST_SECONDS:
        calls *= 2
        seconds = _seconds(training, calls)
    return 1e3 * median(_seconds(training, calls) for _ in range(_REPEATS)) / calls / max(1, images)


def _seconds(training: Run, calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        training.evaluate_first(BATCH)
    return perf_counter() - start
