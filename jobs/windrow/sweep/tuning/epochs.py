"""Run the epochs of an attempt: those that are validated, and those on training and validation images after them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from windrow.sweep.attempt import RunningAttempt
from windrow.sweep.goals import measured_cost
from windrow.sweep.outcomes import Outcome
from windrow.training.loop import Run


def run(attempt: RunningAttempt, training: Run) -> tuple[Outcome, list[Any] | None]:
    """Train to the end; return the outcome, and the weights of the best epoch if it is that which counts, else None."""
    spec, best = attempt.spec, None
    known = measured_cost.measured(spec, training)
    for epoch in training.epochs():
        attempt.add(replace(epoch, **known))
        if spec.keep_network and spec.patience is not None and attempt.best == len(attempt.epochs):
            best = training.weights()
        if attempt.over:
            break
    return attempt.verdict(), best


def run_again(attempt: RunningAttempt, training: Run) -> Any:
    """Train on training and validation images for as many epochs as counted before; return the keras.Model.

    Nothing is evaluated, because no image is left to validate on.

    Raises:
        FloatingPointError: a loss, or a weight at the end, is not a finite number.
    """
    count = attempt.spec.epochs if attempt.spec.patience is None else attempt.best
    finite = all(math.isfinite(loss) for loss in islice(training.losses(), count))
    if not finite or not all(np.isfinite(weights).all() for weights in training.weights()):
        raise FloatingPointError("the training on all images, of training and validation, diverged")
    return training.network
