"""Define the built-in dense network and the head on a backbone: the order of layers is in `logits`, and nowhere else.

The same function builds the keras.Model, lists the weights without importing Keras, and computes a stack of networks
that train as one graph (stacked.py). For each of these uses, it gets another set of operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from windrow.experiment.parameters import Value

AVERAGES = ("moving_mean", "moving_variance")
"""The weights of batch normalisation that are not trained by gradients, by Keras' names."""

AVERAGE_MOMENTUM = 0.9
"""The share of a moving average that each step of a built-in network keeps: 1 % of its initial value after 44 steps.

With Keras' 0.99 that takes 459 steps, more than a small data set has in all, and until then a network that trains well
is measured as if it guessed: on 1,886 photographs, 120 steps gave 0.28 on validation instead of 0.61.
"""


class Operations(Protocol):
    """The operations of the dense network. They map activations of any type to activations of the same type."""

    def scale_to_one(self, x: Any) -> Any:
        """Return `x`, scaled to a mean square of 1 for each image."""

    def multiply(self, x: Any, width: int, bias: bool) -> Any:
        """Return `x` multiplied by a kernel (inputs, width), plus a bias (width,) if `bias`."""

    def normalize(self, x: Any) -> Any:
        """Return `x` after batch normalisation."""

    def activate(self, x: Any, name: str) -> Any:
        """Return `x` after the activation that Keras calls `name`."""

    def drop(self, x: Any) -> Any:
        """Return `x` after dropout, or unchanged without dropout."""


def logits(operations: Operations, x: Any, parameters: Mapping[str, Value], units: int, classes: int) -> Any:
    """Return the logits of a dense network, computed with the given operations.

    Args:
        operations: the operations that compute the layers.
        x: flat images or features, in the form that `operations` takes.
        parameters: hyper-parameters; `layers` and `activation` are read, `batch_norm` and `l2_normalized` if present.
        units: width of the hidden layers.
        classes: number of labels.
    """
    normalized = bool(parameters.get("batch_norm", False))
    if parameters.get("l2_normalized", False):
        x = operations.scale_to_one(x)
    if not parameters["layers"]:
        x = operations.drop(x)
    for _ in range(int(parameters["layers"])):
        x = operations.multiply(x, units, bias=not normalized)  # the normalisation adds its own
        if normalized:
            x = operations.normalize(x)
        x = operations.activate(x, str(parameters["activation"]))
        x = operations.drop(x)
    return operations.multiply(x, classes, bias=True)


def build(parameters: Mapping[str, Value], shape: tuple[int, int, int], classes: int, scale: float = 1 / 255) -> Any:
    """Build the dense network as an untrained keras.Model; see networks.Builder.build. `scale` multiplies its input."""
    from keras import Input, Model, layers

    image = Input(shape)
    flat = layers.Flatten()(image if scale == 1 else layers.Rescaling(scale)(image))
    operations = _KerasLayers(float(parameters["dropout"]))
    return Model(image, layers.Softmax()(logits(operations, flat, parameters, int(parameters["units"]), classes)))


def weights(
    parameters: Mapping[str, Value], units: int, shape: tuple[int, int, int], classes: int
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of the weights of a dense network that is `units` wide, in Keras' order."""
    operations = _WeightList()
    logits(operations, math.prod(shape), parameters, units, classes)
    return operations.found


class _KerasLayers:
    """Adds a Keras layer per operation. Activations are Keras' symbolic tensors."""

    def __init__(self, dropout: float) -> None:
        self._dropout = dropout

    def scale_to_one(self, x: Any) -> Any:
        from keras import layers

        return layers.Rescaling(math.sqrt(x.shape[-1]))(layers.UnitNormalization()(x))

    def multiply(self, x: Any, width: int, bias: bool) -> Any:
        from keras import layers

        return layers.Dense(width, use_bias=bias)(x)

    def normalize(self, x: Any) -> Any:
        from keras import layers

        return layers.BatchNormalization(momentum=AVERAGE_MOMENTUM)(x)

    def activate(self, x: Any, name: str) -> Any:
        from keras import layers

        return layers.Activation(name)(x)

    def drop(self, x: Any) -> Any:
        from keras import layers

        return layers.Dropout(self._dropout)(x) if self._dropout else x


class _WeightList:
    """Lists the weights of each operation. Instead of activations, it takes and returns their number per image."""

    def __init__(self) -> None:
        self.found: list[tuple[str, tuple[int, ...]]] = []

    def scale_to_one(self, x: int) -> int:
        return x

    def multiply(self, x: int, width: int, bias: bool) -> int:
        self.found.append(("kernel", (x, width)))
        if bias:
            self.found.append(("bias", (width,)))
        return width

    def normalize(self, x: int) -> int:
        self.found += [(name, (x,)) for name in ("gamma", "beta", *AVERAGES)]
        return x

    def activate(self, x: int, name: str) -> int:
        return x

    def drop(self, x: int) -> int:
        return x
