"""The training loop: one compiled graph per epoch instead of a Python loop over batches (bench/epoch.py compares).

A Python worker trains one trial after another, so that the graphs of the last architectures are kept. A trial on kept
graphs gives the very epochs of a trial in a new process: weights, averages and draws depend on its seed only.
"""

from __future__ import annotations

import gc
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from windrow.experiment.parameters import TRAINING, Value
from windrow.training import graphs, layers
from windrow.training.data import Examples, tensors
from windrow.training.graphs import EpochPlan, Trainer, compile_evaluation
from windrow.training.networks import Builder

__all__ = ["Epoch", "Examples", "Run", "compile_evaluation", "prepare"]

_CACHED_ARCHITECTURES = 8
# A large network takes long to train and little to trace: not worth its memory, three times its weights.
_CACHED_WEIGHTS = 1 << 24


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch. Losses are mean cross-entropies in nats, accuracies shares in 0..1."""

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    @property
    def finite(self) -> bool:
        """True if both losses are finite numbers, so that training may continue."""
        return math.isfinite(self.loss) and math.isfinite(self.val_loss)

    def metrics(self) -> dict[str, float]:
        """Return the metrics by the names that MLflow and the objective use."""
        return asdict(self)


@dataclass
class _Compiled:
    network: Any
    trainer: Trainer
    evaluation: Any
    lent_to: Run | None = None


_cached: OrderedDict[Hashable, _Compiled] = OrderedDict()


def prepare(
    builder: Builder,
    parameters: Mapping[str, Value],
    shape: tuple[int, int, int],
    classes: int,
    training: Examples,
    validation: Examples,
    epochs: int,
    seed: int,
) -> Run:
    """Prepare a trial for training; one prepared earlier must no longer be trained or saved.

    The same seed on the same kind of processor gives the same epochs up to the order in which threads add, whatever
    was trained in this process before.

    Args:
        parameters: every hyper-parameter of the trial, with every key of parameters.TRAINING.
        shape: (height, width, channels) of an image.
        classes: number of labels.
        epochs: most epochs that will be trained; the learning rate's decay ends there.
        seed: of the initial weights, the order of images, dropout and augmentation.

    Raises:
        BuilderError: a user's file can't be imported, or its function returns something else than such a network.
        Exception: whatever a user's function raises.
    """
    plan = EpochPlan.of(parameters, len(training))
    if builder.source is None:
        compiled = _compiled(builder, parameters, shape, classes, plan)
        _begin(compiled, parameters, seed)
    else:
        compiled = _compile(builder, parameters, shape, classes, plan, seed)
    run = Run(compiled, parameters, (tensors(training), tensors(validation)), epochs, seed)
    compiled.lent_to = run
    return run


class Run:
    """A trial in training. `network` is the keras.Model, complete after any epoch, until the next prepare()."""

    def __init__(
        self, compiled: _Compiled, parameters: Mapping[str, Value], data: tuple[Any, Any], epochs: int, seed: int
    ) -> None:
        self.network = compiled.network
        self._compiled, self._parameters, self._data = compiled, parameters, data
        self._epochs, self._seed = epochs, seed

    def epochs(self) -> Iterator[Epoch]:
        """Train, one Epoch at a time; stop iterating to stop training.

        Raises:
            RuntimeError: another trial of this architecture was prepared since.
        """
        training, validation = self._data
        for number in range(self._epochs):
            if self._compiled.lent_to is not self:
                raise RuntimeError("a run must end before the next prepare(); got another epoch; iterate the new run")
            start = perf_counter()
            loss, accuracy = self._compiled.trainer.epoch(training, self._parameters, self._epochs, self._seed, number)
            val_loss, val_accuracy = (float(value) for value in self._compiled.evaluation(*validation))
            yield Epoch(loss, accuracy, val_loss, val_accuracy, perf_counter() - start)

    def step_all(self) -> None:
        """Repeat the steps of the first epoch without evaluation, for timing."""
        self._compiled.trainer.epoch(self._data[0], self._parameters, 1, self._seed, 0)


def _compiled(
    builder: Builder,
    parameters: Mapping[str, Value],
    shape: tuple[int, int, int],
    classes: int,
    plan: EpochPlan,
) -> _Compiled:
    """Return the cached graphs of a built-in network, or make and cache new ones."""
    architecture = {name: value for name, value in parameters.items() if name not in TRAINING}
    architecture["dropout"] = bool(parameters["dropout"])
    key = (builder.name, tuple(sorted(architecture.items())), shape, classes, plan)
    if key in _cached:
        _cached.move_to_end(key)
        return _cached[key]
    compiled = _compile(builder, parameters, shape, classes, plan, seed=0)
    if compiled.network.count_params() <= _CACHED_WEIGHTS:
        _cached[key] = compiled
    while len(_cached) > _CACHED_ARCHITECTURES:
        _cached.popitem(last=False)
    return compiled


def _compile(
    builder: Builder,
    parameters: Mapping[str, Value],
    shape: tuple[int, int, int],
    classes: int,
    plan: EpochPlan,
    seed: int,
) -> _Compiled:
    import keras

    # What is not kept is a ring of graphs and functions that only the collector frees; Keras never forgets a name.
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    keras.utils.set_random_seed(seed)
    with _settings_kept():
        network = builder.build(parameters, shape, classes)
    forward = graphs.built_in(network) if builder.source is None else graphs.of_keras(network)
    return _Compiled(network, Trainer(network, forward, plan), graphs.evaluation(forward))


def _begin(compiled: _Compiled, parameters: Mapping[str, Value], seed: int) -> None:
    """Reset cached graphs for a new trial of a built-in network."""
    import keras

    layers.initialize(compiled.network, seed)
    compiled.trainer.reset()
    for layer in compiled.network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = float(parameters["dropout"])  # for whoever loads the saved network; the graph is given it


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Restore Keras' process-wide settings after a user's function: a change must not reach the next trial."""
    import keras
    import tensorflow as tf

    config = keras.config
    before = (config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy())
    try:
        yield
    finally:
        config.set_floatx(before[0])
        config.set_epsilon(before[1])
        config.set_image_data_format(before[2])
        config.set_dtype_policy(before[3])
        tf.config.run_functions_eagerly(False)
