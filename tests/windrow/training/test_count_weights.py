"""The count without TensorFlow against the networks themselves."""

from __future__ import annotations

from typing import Any

import pytest
from windrow.experiment import parameters
from windrow.training.networks import Builder, count_weights, list_weights


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("builder", "point"),
    [
        ("dense", {}),
        ("dense", {"layers": 3, "units": 17, "batch_norm": True, "dropout": 0.3}),
        ("dense", {"layers": 2, "units": 5}),
        ("head", {}),
        ("head", {"layers": 2, "units": 5, "l2_normalized": True, "dropout": 0.2}),
        ("cnn", {}),
        ("cnn", {"blocks": 3, "convolutions": 2, "filters": 5, "batch_norm": False}),
        ("cnn", {"blocks": 6, "filters": 3, "units": 7}),
    ],
)
@pytest.mark.parametrize("shape", [(8, 8, 1), (13, 5, 3)])
def test_they_are_those_that_keras_makes_and_as_many_as_it_counts(
    builder: str, point: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    whole = {**parameters.defaults(builder), **point}
    network = Builder(builder).build(whole, shape, 7)
    learned = sum(int(weight.shape.num_elements()) for weight in network.trainable_weights)
    assert count_weights(builder, whole, shape, 7) == learned
    listed = [(variable.name, tuple(variable.shape)) for variable in network.weights]
    assert list_weights(builder, whole, shape, 7) == listed


def test_those_of_a_users_function_are_not_known() -> None:
    assert count_weights("mine.py:build", {}, (8, 8, 1), 10) is None
