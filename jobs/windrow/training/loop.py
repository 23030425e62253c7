"""Train a network: a whole epoch runs as one compiled graph, without a Python loop over batches (see bench/epoch.py).

A Python worker trains one trial after another, so the latest graphs are cached (`cached_graphs`). A trial on cached
graphs gives the epochs that it gives in a new process, up to the order in which threads add numbers: its weights,
averages and draws depend on its seed only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import graphs
from windrow.training.cached import cached_graphs
from windrow.training.cached.cached_graphs import Compiled
from windrow.training.data import Examples, class_weights, tensors
from windrow.training.forward import Forward
from windrow.training.free.free_network import FreeNetwork
from windrow.training.graphs import EpochPlan, Trainer, batch_size, compile_evaluation
from windrow.training.heads.free_head import FreeHead
from windrow.training.networks import Builder

__all__ = ["Epoch", "Examples", "Run", "compile_evaluation", "go_on", "prepare"]


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch. Losses are mean cross-entropies in nats; accuracies and macro-F1 are in 0..1.

    `loss` is the loss that was minimised: class weights and label smoothing count in it, and not in `val_loss`.
    `val_macro_f1` is measured only if it is the objective, and the last two only if they are goals.
    """

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    val_macro_f1: float | None = None
    weights: float | None = None
    milliseconds: float | None = None

    @property
    def finite(self) -> bool:
        """True if both losses are finite numbers, so that training may continue."""
        return math.isfinite(self.loss) and math.isfinite(self.val_loss)

    def metrics(self) -> dict[str, float]:
        """Return the metrics that were measured, by the names that MLflow, the ledger and the objective use."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def prepare(
    builder: Builder,
    parameters: Mapping[str, Value],
    shape: tuple[int, int, int],
    classes: int,
    training: Examples,
    validation: Examples,
    epochs: int,
    seed: int,
    macro_f1: bool = False,
) -> Run:
    """Prepare a trial for training; a trial prepared earlier must no longer be trained or saved.

    On the same kind of processor, the same seed gives the same epochs up to the order in which threads add, whatever
    was trained in this process before.

    Args:
        builder: the network.
        parameters: every hyper-parameter of the trial, with every key of parameters.TRAINING.
        shape: (height, width, channels) of an image.
        classes: number of labels.
        training: images and labels to train on.
        validation: images and labels to evaluate on after each epoch.
        epochs: largest number of epochs to train; the learning rate's decay ends there.
        seed: seed of the initial weights, the order of images, dropout and augmentation.
        macro_f1: whether to measure the validation macro-F1 as well.

    Raises:
        BuilderError: a user's file can't be imported, or its function does not return a keras.Model for this shape
            and number of classes.
        Exception: whatever a user's function raises.
    """
    plan = EpochPlan.of(parameters, batch_size(parameters, len(training)) if builder.source is not None else None)
    compiled = cached_graphs.begin(builder, parameters, shape, classes, plan, seed)
    weights = class_weights(training.labels, classes) if plan.weighs else None
    data = tensors(training), tensors(validation)
    build = partial(builder.build, parameters, shape, classes)
    run = Run(compiled, build, parameters, data, epochs, seed, macro_f1, weights)
    compiled.lent_to = run
    return run


def go_on(
    network: Any,
    forwards: Forward,
    parameters: Mapping[str, Value],
    classes: int,
    training: Examples,
    validation: Examples,
    epochs: int,
    seed: int,
    macro_f1: bool = False,
) -> Run:
    """Prepare a network for further training of what is trainable in it, from the weights that it has.

    Args:
        network: a keras.Model.
        forwards: its functions.
        parameters, classes, training, validation, epochs, seed, macro_f1: as for `prepare`.
    """
    batch = batch_size(parameters, len(training))
    plan = EpochPlan.of(parameters, batch)
    evaluations = [graphs.evaluation(forwards, count, batch) for count in (None, classes)]
    compiled = Compiled(network, Trainer(network, forwards, plan), evaluations[0], evaluations[1])
    weights = class_weights(training.labels, classes) if plan.weighs else None
    data = tensors(training), tensors(validation)
    run = Run(compiled, lambda: network, parameters, data, epochs, seed, macro_f1, weights)
    compiled.lent_to = run
    return run


class Run:
    """A trial in training."""

    def __init__(
        self,
        compiled: Compiled,
        build: Callable[[], Any],
        parameters: Mapping[str, Value],
        data: tuple[Any, Any],
        epochs: int,
        seed: int,
        macro_f1: bool,
        weights: NDArray[np.float32] | None,
    ) -> None:
        self._compiled, self._build, self._parameters, self._data = compiled, build, parameters, data
        self._epochs, self._seed, self._weights = epochs, seed, weights
        self._evaluation = compiled.evaluation_with_f1 if macro_f1 else compiled.evaluation

    @property
    def network(self) -> Any:
        """The trial's keras.Model as it is now; a user's is valid until the next prepare(), a built-in one is made."""
        network = self._compiled.network
        if not isinstance(network, FreeNetwork | FreeHead):
            return network
        built = self._build()
        built.set_weights(network.get_weights())
        return built

    def weights(self) -> list[NDArray[np.float32]]:
        """Return copies of the present weights, in Keras' order."""
        return self._compiled.network.get_weights()  # type: ignore[no-any-return]

    def epochs(self) -> Iterator[Epoch]:
        """Train, and yield an Epoch after each epoch; stop iterating to stop training.

        Raises:
            RuntimeError: a trial that was prepared later uses the same graphs.
        """
        _, validation = self._data
        start = perf_counter()
        for loss, accuracy in self._trained():
            val_loss, val_accuracy, *macro_f1 = (float(value) for value in self._evaluation(*validation))
            yield Epoch(loss, accuracy, val_loss, val_accuracy, perf_counter() - start, *macro_f1)
            start = perf_counter()

    def losses(self) -> Iterator[float]:
        """Train as `epochs` does, but evaluate nothing; yield the loss that was minimised after each epoch."""
        return (loss for loss, _ in self._trained())

    def evaluate_first(self, images: int) -> int:
        """Evaluate the first validation images, for timing; return their number, which may be smaller."""
        first = [part[:images] for part in self._data[1]]
        float(self._evaluation(*first)[0])
        return int(first[1].shape[0])

    def _trained(self) -> Iterator[tuple[float, float]]:
        """Train, and yield loss and accuracy after each epoch."""
        for number in range(self._epochs):
            if self._compiled.lent_to is not self:
                raise RuntimeError("a run must end before the next prepare(); got another epoch; iterate the new run")
            yield self._train(self._epochs, number)

    def step_all(self) -> None:
        """Run the training steps of the first epoch, without evaluation, for timing."""
        self._train(1, 0)

    def _train(self, epochs: int, number: int) -> tuple[float, float]:
        trainer = self._compiled.trainer
        return trainer.epoch(self._data[0], self._parameters, epochs, self._seed, number, self._weights)
