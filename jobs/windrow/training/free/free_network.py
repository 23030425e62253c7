"""A built-in network whose sizes are free: one graph, traced once, trains networks of every width.

Tracing takes half a second, and a search draws other widths for nearly every trial. So the graph's variables have
unknown sizes, and each trial brings arrays of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import layers, networks
from windrow.training.dense import AVERAGES
from windrow.training.forward import Forward, crossentropy
from windrow.training.heads.free_head import FreeVariable
from windrow.training.networks import Builder

WIDTHS = ("units", "filters")
"""The hyper-parameters of built-in networks that are sizes of weights, and change no operation."""


class FreeNetwork:
    """The variables of a built-in network, in Keras' order, and its outputs as a function for a graph.

    Attributes:
        trainable_variables: the variables that gradients change.
        losses: penalties of the weights, of which a built-in network has none.
    """

    losses: tuple[()] = ()

    def __init__(
        self, builder: Builder, parameters: Mapping[str, Value], shape: tuple[int, int, int], classes: int
    ) -> None:
        """Make the variables.

        Args:
            builder: a built-in network.
            parameters: the hyper-parameters; those in WIDTHS may change from trial to trial.
            shape: (height, width, channels) of an image.
            classes: number of labels.
        """
        self._builder, self._shape, self._classes = builder, shape, classes
        narrow, wide = ({**parameters, **dict.fromkeys(WIDTHS, size)} for size in (1, 2))
        self._layers = builder.build(narrow, shape, classes)  # only their kinds and order are used
        self._variables, self.trainable_variables = [], []
        for (name, one), (_, two) in zip(self._sizes(narrow), self._sizes(wide), strict=True):
            variable = FreeVariable([size if size == other else None for size, other in zip(one, two, strict=True)])
            self._variables.append(variable)
            if name not in AVERAGES:
                self.trainable_variables.append(variable)

    def begin(self, parameters: Mapping[str, Value], seed: int) -> None:
        """Set the initial weights of a network with these hyper-parameters, drawn from a seed."""
        weights = layers.initial_weights(self._sizes(parameters), seed)
        for variable, array in zip(self._variables, weights, strict=True):
            variable.value.assign(array)

    def get_weights(self) -> list[NDArray[np.float32]]:
        """Return copies of the present weights, in Keras' order."""
        return [variable.value.numpy().copy() for variable in self._variables]

    def forward(self) -> Forward:
        """Return the network's functions for a graph; its outputs are the logits."""
        import tensorflow as tf

        return Forward(self._logits, crossentropy, tf.nn.softmax)

    def _logits(self, images: Any, training: bool, dropout: Any = None, seed: Any = None) -> Any:
        return layers.logits(self._layers, images, training, dropout, seed, self._variables)

    def _sizes(self, parameters: Mapping[str, Value]) -> list[tuple[str, tuple[int, ...]]]:
        return networks.list_weights(self._builder.name, parameters, self._shape, self._classes)
