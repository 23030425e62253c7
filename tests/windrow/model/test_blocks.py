"""What a block of a backbone is, and that a cut changes nothing but what is trainable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from windrow.errors import UserError
from windrow.model import blocks
from windrow.model.backbones import lite0

pytestmark = pytest.mark.tensorflow

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)


def chain(*names: str) -> Any:
    """Convolutions with these names, one after the other; a name that ends in bn is a batch normalisation."""
    import keras

    keras.utils.set_random_seed(0)
    image = x = keras.Input((16, 16, 3))
    for name in names:
        layer = keras.layers.BatchNormalization if name.endswith("bn") else keras.layers.Conv2D
        x = layer(name=name)(x) if name.endswith("bn") else layer(4, 3, padding="same", name=name)(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))


def names(network: Any) -> list[list[str]]:
    return [[layer.name for layer in block] for block in blocks.blocks_of(network)]


def after(cut: blocks.Cut, images: Any) -> np.ndarray:
    x = images
    for part in (*cut.trunk, *cut.top):
        x = part(x, training=False)
    return np.asarray(x)


@pytest.mark.parametrize(
    "written",
    [
        ("stem", "block0_expand", "block0_project", "block1_expand", "head"),
        ("Conv1", "expanded_conv_depthwise", "expanded_conv_project", "block_1_expand", "Conv_1"),
        ("conv1_conv", "conv2_block1_1_conv", "conv2_block1_2_conv", "conv2_block2_1_conv", "post"),
        ("conv1", "conv_dw_1", "conv_pw_1", "conv_dw_2", "conv_preds"),
        ("stem", "block1a_dwconv", "block1a_project", "block1b_dwconv", "top_conv"),
        ("stem", "net_stage_0_block_0_a", "net_stage_0_block_0_b", "net_stage_0_block_1_a", "last"),
        ("stem_conv1", "reduction_conv_1_stem_1", "separable_conv_1_reduction_left1_stem_1", "normal_conv_1_0", "head"),
        ("stem", "adjust_conv_1_reduce_4", "separable_conv_2_reduction_left1_reduce_4", "adjust_conv_1_5", "head"),
    ],
    ids=lambda each: each[1],
)
def test_blocks_are_what_the_names_call_so_and_what_follows_them_is_of_the_last(written: tuple[str, ...]) -> None:
    assert names(chain(*written)) == [[*written[1:3]], [*written[3:]]]


def test_layers_without_such_names_are_blocks_if_they_have_weights_to_train() -> None:
    assert names(chain("first", "first_bn", "second", "third_bn")) == [["first"], ["second"]]


def test_an_inception_block_ends_where_its_branches_meet() -> None:
    import keras

    image = x = keras.Input((16, 16, 3))
    for number in range(2):
        branches = [keras.layers.Conv2D(2, size, padding="same", name=f"c{number}{size}")(x) for size in (1, 3)]
        x = keras.layers.Concatenate(name=f"mixed{number}")(branches)
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    assert names(network) == [["c01", "c03"], ["c11", "c13"]]
    cut = blocks.cut(network, 1)
    assert cut.shape == (16, 16, 4)
    np.testing.assert_array_equal(after(cut, IMAGES), np.asarray(network(IMAGES, training=False)))


def test_a_block_of_an_inception_resnet_has_its_own_number_and_not_that_of_its_kind() -> None:
    written = ("c1", "block17_1_conv", "c2", "block17_2_conv", "c3", "block8_1_conv", "conv_7b")
    assert names(chain(*written)) == [["c1", "block17_1_conv"], ["c2", "block17_2_conv"], [*written[4:]]]


def test_lite0_has_sixteen_blocks_and_the_last_one_has_the_last_convolution() -> None:
    network = lite0.build(lite0.weights(lite0.file()))
    known = names(network)
    assert len(known) == 16
    assert known[15] == ["block15_expand", "block15_depthwise", "block15_project", "head"]
    assert known[0] == ["block0_depthwise", "block0_project"]
    assert blocks.cut(network, 3).shape == (7, 7, 192)


def residual() -> Any:
    """A network whose second block is added to what it takes, in a network of its own, as keras.applications are."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = x = keras.Input((16, 16, 3))
    for number in range(2):
        entry = layers.Conv2D(4, 1, name=f"block{number}_expand")(x)
        y = layers.BatchNormalization(name=f"block{number}_bn")(
            layers.DepthwiseConv2D(3, padding="same", name=f"block{number}_dw")(entry)
        )
        x = layers.Add()([entry, y])
    network = keras.Model(inner, x, name="inner")
    image = keras.Input((16, 16, 3))
    return keras.Model(image, layers.GlobalAveragePooling2D()(network(layers.Rescaling(1 / 255)(image))))


@pytest.mark.parametrize("count", [1, 2])
def test_both_parts_together_give_what_the_whole_gives(count: int) -> None:
    network = residual()
    cut = blocks.cut(network, count)
    np.testing.assert_array_equal(after(cut, IMAGES), np.asarray(network(IMAGES, training=False)))
    assert cut.shape == ((16, 16, 4) if count == 1 else (16, 16, 3))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("is_whole", [True, False])
def test_layers_in_a_sequential_can_be_cut_too(is_whole: bool, count: int) -> None:
    import keras

    keras.utils.set_random_seed(0)
    convolutions = [keras.layers.Conv2D(4, 3, name=f"block{number}_a") for number in range(2)]
    network = keras.Sequential([keras.Input((16, 16, 3)), *convolutions, keras.layers.GlobalAveragePooling2D()])
    if not is_whole:
        image = keras.Input((16, 16, 3))
        network = keras.Model(image, keras.layers.ReLU()(network(keras.layers.Rescaling(1 / 255)(image))))
    cut = blocks.cut(network, count)
    assert cut.shape == ((14, 14, 4) if count == 1 else (16, 16, 3))
    np.testing.assert_array_equal(after(cut, IMAGES), np.asarray(network(IMAGES, training=False)))


def test_a_network_that_can_not_be_cut_there_is_refused_with_the_key_to_change() -> None:
    import keras

    image = keras.Input((16, 16, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = shared(keras.layers.Conv2D(3, 1, name="between")(shared(image)))
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="twice")
    with pytest.raises(
        UserError, match=r"can be cut before between, .*; twice can't be: .*; change promotion.fine_tune.blocks, or"
    ):
        blocks.cut(network, 1)


def test_a_network_without_weights_has_no_blocks_and_that_is_said() -> None:
    with pytest.raises(
        UserError, match=r"needs a backbone with weights to train; .*; take another backbone, or remove"
    ):
        blocks.cut(chain("first_bn"), 1)


def test_only_the_last_blocks_are_trainable_and_batch_normalisation_never_is() -> None:
    network = residual()
    blocks.cut(network, 2)
    cut = blocks.cut(network, 1)
    trainable = [weight.path for part in cut.top for weight in part.trainable_weights]
    assert [path.split("/")[-2] for path in trainable] == ["block1_expand"] * 2 + ["block1_dw"] * 2
    assert not any(part.trainable_weights for part in cut.trunk)


def test_more_blocks_than_there_are_is_a_mistake_of_the_page() -> None:
    with pytest.raises(
        UserError, match=r"promotion.fine_tune.blocks must be at most 2 for .*, which has 2 blocks .* got 3"
    ):
        blocks.cut(chain("first", "second"), 3)
