"""The networks that all tools train in the comparisons: Windrow's built-in ones, as a user of Keras writes them."""

from __future__ import annotations

from typing import Any


def build(point: dict[str, Any]) -> Any:
    """Build the Keras network of a point of points.py, from images scaled to 0..1 to ten probabilities."""
    return cnn(point["filters"], point["units"]) if "filters" in point else dense(point["units"])


def dense(units: int) -> Any:
    """Build a network with one hidden layer."""
    from keras import Sequential, layers

    hidden = layers.Dense(units, activation="relu")
    return Sequential([layers.Input((28, 28, 1)), layers.Flatten(), hidden, layers.Dense(10, activation="softmax")])


def cnn(filters: int, units: int) -> Any:
    """Build the default of a page's `cnn`: two blocks of one convolution with batch normalisation, and dropout."""
    from keras import Sequential, layers

    network = Sequential([layers.Input((28, 28, 1))])
    for width in (filters, 2 * filters):
        network.add(layers.Conv2D(width, 3, padding="same", use_bias=False))
        network.add(layers.BatchNormalization(momentum=0.9))
        network.add(layers.Activation("relu"))
        network.add(layers.MaxPooling2D())
    network.add(layers.Flatten())
    network.add(layers.Dense(units, activation="relu"))
    network.add(layers.Dropout(0.25))
    network.add(layers.Dense(10, activation="softmax"))
    return network
