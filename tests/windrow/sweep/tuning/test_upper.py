"""What the training of a backbone's last blocks changes, and what it leaves as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.experiment import FineTuneSection, parameters
from windrow.model.composition import backbone_of
from windrow.sweep.tuning import tuning, upper
from windrow.sweep.tuning.map_files import MapFiles
from windrow.sweep.tuning.upper import UnfrozenNetwork
from windrow.training import loop, runtime

pytestmark = pytest.mark.tensorflow

SECTION = FineTuneSection(blocks=1, epochs=2, learning_rate=0.01)
HEAD = {**parameters.defaults("head"), "layers": 1, "units": 6, "dropout": 0.3, "views": 2, "label_smoothing": 0.1}


def weights(network: Any) -> dict[str, np.ndarray]:
    """The weights of a network and of those inside it, by layer and name."""
    return {"/".join(weight.path.split("/")[-2:]): np.array(weight) for weight in network.weights}


def trained(composed: bytes, images: Callable[[int, int], Any], folder: Path, seed: int = 4) -> UnfrozenNetwork:
    opened = upper.open_network(composed, SECTION.blocks)
    maps = MapFiles(folder, images(70, 0), images(20, 1), 2).of(opened.cut)
    settings = tuning.parameters(HEAD, SECTION)
    for _ in loop.go_on(opened.upper, opened.forward, settings, 3, *maps, SECTION.epochs, seed).epochs():
        pass
    return opened


@pytest.fixture(scope="module")
def tuned(
    composed: bytes, images: Callable[[int, int], Any], tmp_path_factory: pytest.TempPathFactory
) -> UnfrozenNetwork:
    return trained(composed, images, tmp_path_factory.mktemp("maps"))


def test_only_the_last_block_and_the_head_change(composed: bytes, tuned: UnfrozenNetwork) -> None:
    """Batch normalisation of the trained block keeps its averages, too, and its scale and shift."""
    before, after = weights(runtime.from_bytes(composed)), weights(tuned.whole)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    heads = {name for name in before if name.startswith("dense")}
    assert len(heads) == 4
    assert changed == {"block1_conv/kernel", "block1_conv/bias", *heads}


def test_the_training_is_the_same_to_the_bit_for_a_seed(
    composed: bytes, tuned: UnfrozenNetwork, images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    digest = runtime.weights_digest(tuned.whole)
    assert runtime.weights_digest(trained(composed, images, tmp_path).whole) == digest
    assert runtime.weights_digest(trained(composed, images, tmp_path, seed=5).whole) != digest


def test_the_file_labels_as_the_trained_part_does_and_is_frozen_again(
    tuned: UnfrozenNetwork, images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    saved, pixels = runtime.from_bytes(tuned.to_bytes()), images(20, 1)
    assert runtime.weights_digest(saved) == runtime.weights_digest(tuned.whole)
    assert backbone_of(saved).trainable_weights == []
    maps = MapFiles(tmp_path, images(70, 0), pixels, 1).of(tuned.cut)[1].images[:, 0]
    from_maps = np.asarray(tuned.upper(maps.astype(np.float32), training=False))
    np.testing.assert_allclose(np.asarray(saved(pixels.images.astype(np.float32))), from_maps, atol=2e-3)


def test_the_loss_that_is_minimised_falls(composed: bytes, images: Callable[[int, int], Any], tmp_path: Path) -> None:
    opened = upper.open_network(composed, 1)
    maps = MapFiles(tmp_path, images(70, 0), images(40, 1), 2).of(opened.cut)
    settings = tuning.parameters(HEAD, FineTuneSection(learning_rate=0.02))
    found = list(loop.go_on(opened.upper, opened.forward, settings, 3, *maps, 20, 4).epochs())
    assert found[-1].loss < found[0].loss - 0.02


def test_in_training_the_backbone_computes_what_it_computes_when_it_labels(composed: bytes) -> None:
    """Its dropout would drop half, and its batch normalisation would use the batch's mean."""
    import tensorflow as tf

    opened = upper.open_network(composed, 1)
    maps = np.random.default_rng(3).uniform(0, 1, (4, *opened.cut.shape)).astype(np.float32)
    in_training = opened.forward.outputs(maps, True, tf.constant(0.0), tf.constant([0, 0]))
    np.testing.assert_array_equal(np.asarray(in_training), np.asarray(opened.forward.outputs(maps, False)))
