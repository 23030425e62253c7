"""Keep the graphs of the latest networks in a Python worker, which trains one trial after another.

One graph serves all sizes of a built-in network's layers and batches. A network of the user's is made by the user's
function for each trial; if all but its values is as before, the values go into the cached network and its graphs.
"""

from __future__ import annotations

import gc
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from windrow.experiment.parameters import TRAINING, Value
from windrow.training import forward, graphs
from windrow.training.forward import Forward
from windrow.training.free.free_network import WIDTHS, FreeNetwork
from windrow.training.graphs import EpochPlan, Trainer
from windrow.training.heads.free_head import FreeHead
from windrow.training.networks import HEAD, Builder, Shape, count_weights

KINDS = 8
"""The graphs of so many kinds of networks are cached."""
WEIGHTS = 1 << 24
"""Larger networks are not cached: tracing is a small part of their time, and a cached one takes 3 times its weights."""
OWN_WEIGHTS = 1 << 20
"""The same for networks of the user's, of which each size is a kind."""


@dataclass
class Compiled:
    """A network with its graphs.

    Attributes:
        network: a keras.Model of the user's, or a FreeNetwork or FreeHead.
        trainer: trains it.
        evaluation: evaluates it.
        evaluation_with_f1: the same, with macro-F1.
        lent_to: the run that trains it now.
    """

    network: Any
    trainer: Trainer
    evaluation: Any
    evaluation_with_f1: Any
    lent_to: object = None


cached: OrderedDict[Hashable, Compiled] = OrderedDict()
"""What is cached, the latest last."""


def begin(
    builder: Builder, parameters: Mapping[str, Value], shape: Shape, classes: int, plan: EpochPlan, seed: int
) -> Compiled:
    """Return a network with the initial weights of a trial, and graphs that train it: cached ones, or new ones.

    Args:
        builder: the network.
        parameters: every hyper-parameter of the trial, with every key of parameters.TRAINING.
        shape: (height, width, channels) of an image.
        classes: number of labels.
        plan: the rest of what the graphs depend on.
        seed: seed of the initial weights, and of what a user's layers draw.

    Raises:
        BuilderError, Exception: as for Builder.build.
    """
    if builder.source is not None:
        return _begin_own(builder, parameters, shape, classes, plan, seed)
    compiled = _built_in(builder, parameters, shape, classes, plan)
    if isinstance(compiled.network, FreeHead):
        compiled.network.begin(int(parameters["units"]), seed)
    else:
        compiled.network.begin(parameters, seed)
    compiled.trainer.reset()
    return compiled


def _built_in(
    builder: Builder, parameters: Mapping[str, Value], shape: Shape, classes: int, plan: EpochPlan
) -> Compiled:
    """Return the cached graphs of a built-in network, or make new ones, and cache them unless the network is large."""
    free = {*TRAINING, *WIDTHS, *(("views",) if builder.name == HEAD else ())}
    architecture = {name: value for name, value in parameters.items() if name not in free}
    architecture["dropout"] = bool(parameters["dropout"])
    key = (builder.name, tuple(sorted(architecture.items())), shape, classes, plan)
    is_small = (count_weights(builder.name, parameters, shape, classes) or 0) <= WEIGHTS
    if is_small and key in cached:
        cached.move_to_end(key)
        return cached[key]
    _clear_session(seed=0)
    make = FreeHead if builder.name == HEAD else partial(FreeNetwork, builder)
    network: Any = make(parameters, shape, classes)
    compiled = _compile(network, network.forward(), plan, classes)
    if is_small:
        _keep(key, compiled)
    return compiled


def _begin_own(
    builder: Builder, parameters: Mapping[str, Value], shape: Shape, classes: int, plan: EpochPlan, seed: int
) -> Compiled:
    """Return a user's network and its graphs: cached ones with this network's values if only these have changed."""
    _clear_session(seed)
    with _settings_kept():
        network = builder.build(parameters, shape, classes)
    text = _computation(network) if network.count_params() <= OWN_WEIGHTS else None
    # What a function has got may be in its network in ways that the text does not show.
    given = tuple(sorted((name, value) for name, value in parameters.items() if name not in TRAINING))
    key = (builder, given, shape, classes, plan, text)
    if key not in cached:
        compiled = _compile(network, forward.of_keras(network), plan, classes)
        if text is not None:
            _keep(key, compiled)
        return compiled
    cached.move_to_end(key)
    compiled = cached[key]
    for variable, new in zip(compiled.network.variables, network.variables, strict=True):
        variable.assign(new)
    compiled.trainer.reset()
    return compiled


def _computation(network: Any) -> str | None:
    """Return what a keras.Model computes, but for its values, as text; None if not all of it is Keras' own code."""
    if not all(type(layer).__module__.startswith("keras.") for layer in network._flatten_layers()):
        return None
    text = str(network.to_json())
    own = [name for name in re.findall(r'"module": "([^"]*)"', text) if not name.startswith("keras")]
    return None if own or "__lambda__" in text else text


def _compile(network: Any, forwards: Forward, plan: EpochPlan, classes: int) -> Compiled:
    evaluations = graphs.evaluation(forwards), graphs.evaluation(forwards, classes)  # traced only if they are called
    return Compiled(network, Trainer(network, forwards, plan), *evaluations)


def _keep(key: Hashable, compiled: Compiled) -> None:
    cached[key] = compiled
    while len(cached) > KINDS:
        cached.popitem(last=False)


def _clear_session(seed: int) -> None:
    """Let go of what earlier networks have left behind, and seed what a builder draws."""
    import keras

    # Discarded graphs and functions refer to each other in a cycle that only the garbage collector frees. Keras keeps
    # the names of all layers until its session is cleared.
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    keras.utils.set_random_seed(seed)


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Restore Keras' process-wide settings after a user's function, so that its changes don't reach the next trial."""
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
