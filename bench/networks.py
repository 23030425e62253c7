"""The network that all tools train in the comparisons."""

from __future__ import annotations

from typing import Any


def dense(units: int) -> Any:
    """Build a Keras network with one hidden layer, from images scaled to 0..1 to ten probabilities."""
    from keras import Sequential, layers

    hidden = layers.Dense(units, activation="relu")
    return Sequential([layers.Input((28, 28, 1)), layers.Flatten(), hidden, layers.Dense(10, activation="softmax")])
