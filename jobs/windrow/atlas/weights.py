"""How many numbers a built-in network learns, from its hyper-parameters alone: no TensorFlow to count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from windrow.experiment.parameters import Value

Shape = tuple[int, int, int]


def count(builder: str, parameters: Mapping[str, Value], shape: Shape, classes: int) -> int | None:
    """The trainable weights of a network; None for a user's function, which has to be run to know.

    Args:
        parameters: every hyper-parameter of the trial.
        shape: (height, width, channels) of an image.
    """
    known = _BUILT_IN.get(builder)
    return known(parameters, shape, classes) if known else None


def _dense(parameters: Mapping[str, Value], shape: Shape, classes: int) -> int:
    height, width, channels = shape
    inputs, units = height * width * channels, int(parameters["units"])
    # Batch normalisation has a scale and a shift for each unit, in place of the bias.
    own = 2 if parameters["batch_norm"] else 1
    total = 0
    for _ in range(int(parameters["layers"])):
        total += inputs * units + own * units
        inputs = units
    return total + inputs * classes + classes


def _cnn(parameters: Mapping[str, Value], shape: Shape, classes: int) -> int:
    height, width, channels = shape
    own = 2 if parameters["batch_norm"] else 1
    total = 0
    for block in range(int(parameters["blocks"])):
        filters = int(parameters["filters"]) * 2**block
        for _ in range(int(parameters["convolutions"])):
            total += 9 * channels * filters + own * filters
            channels = filters
        if min(height, width) >= 2:
            height, width = height // 2, width // 2
    units = int(parameters["units"])
    return total + height * width * channels * units + units + units * classes + classes


_BUILT_IN: dict[str, Callable[[Mapping[str, Value], Shape, int], int]] = {"dense": _dense, "cnn": _cnn}
