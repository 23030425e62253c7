"""Open a network of backbone and head for further training of the backbone's last blocks and the head."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

from windrow.model import blocks
from windrow.model.blocks import Cut
from windrow.model.composition import backbone_of
from windrow.training import layers, runtime
from windrow.training.forward import Forward, crossentropy


@dataclass(frozen=True)
class UnfrozenNetwork:
    """A network whose last blocks can be trained.

    Attributes:
        whole: the network from images to probabilities, with the same weights as `upper`.
        cut: its backbone in two parts.
        upper: a keras.Model from the backbone's maps to probabilities; its trainable weights are to be trained.
        forward: the functions of `upper`, whose outputs are logits.
    """

    whole: Any
    cut: Cut
    upper: Any
    forward: Forward

    def to_bytes(self) -> bytes:
        """Return the whole network as the bytes of a .keras file, its backbone frozen as that of any other."""
        blocks.freeze(backbone_of(self.whole))
        return runtime.to_bytes(self.whole)


def open_network(content: bytes, count: int) -> UnfrozenNetwork:
    """Open a network for the further training of the last `count` blocks of its backbone, and of its head.

    The backbone is called as for labelling: its dropout drops nothing, and batch normalisation uses what it has
    recorded and learns nothing. Only the head's dropout is active in training.

    Args:
        content: bytes of a .keras file that composition.compose made.
        count: number of blocks.

    Raises:
        UserError: the backbone has fewer blocks.
    """
    import keras
    import tensorflow as tf

    # As for any network (training/loop.py): only the garbage collector frees the graphs of the one before.
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    whole = runtime.from_bytes(content)
    cut = blocks.cut(backbone_of(whole), count)
    features = keras.Input(backbone_of(whole).output_shape[1:])
    x = features
    for layer in whole.layers[2:]:
        x = layer(x)
    head = keras.Model(features, x)
    maps = keras.Input(cut.shape)
    upper = keras.Model(maps, head(features_of(cut, maps)))

    def outputs(maps: Any, training: bool, dropout: Any = None, seed: Any = None) -> Any:
        return layers.logits(head, features_of(cut, maps), training, dropout, seed)

    return UnfrozenNetwork(whole, cut, upper, Forward(outputs, crossentropy, tf.nn.softmax))


def features_of(cut: Cut, maps: Any) -> Any:
    """Return what the top of a cut gives for maps, called as for labelling: the features that the head takes."""
    x = maps
    for part in cut.top:
        x = part(x, training=False)
    return x
