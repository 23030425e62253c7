"""Find the blocks of a backbone, and cut it before the last of them, so that these can be trained further.

A block is what the names of keras.applications and lite0 call one: block11_expand and block11_project are of one block,
and so are the layers that end in mixed4 of an Inception, in block17_3 of an InceptionResNet, or are of one cell of a
NASNet. A layer without such a name belongs to the block before it, as the last convolution of lite0 does. In a network
without such names each layer with weights is a block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from windrow.errors import UserError
from windrow.plural import counted

_NAMED = re.compile(
    r"(?:^|_)(conv\d+_block\d+|stage_?\d+_x?block_?\d+|block_?\d+[a-z]?|expanded_conv(?:_\d+)?)(?=_|$)", re.IGNORECASE
)
_SEPARABLE = re.compile(r"conv_(?:dw|pw)_(\d+)(?=_|$)")  # MobileNet: conv_dw_3 and conv_pw_3 are block 3
_CELL = re.compile(r"^(?:adjust|normal|reduction|separable_conv)_.*?_((?:stem_|reduce_)?\d+)$")  # NASNet
_LAST = re.compile(r"mixed_?\d+[a-z]?|block(?:35|17|8)_\d+_conv")  # the layer that ends a block of an Inception
_FEWEST = 2  # with one block, the names say nothing


@dataclass(frozen=True)
class Cut:
    """A backbone in two parts, which share its layers.

    Attributes:
        trunk: functions from images to maps, to be called one after the other; none if the maps are the images.
        top: functions from maps to features, to be called one after the other.
        trained: the layers of the last blocks that have weights to train, in order; batch normalisation has none.
        shape: shape of an image's maps, such as (14, 14, 112).
    """

    trunk: tuple[Any, ...]
    top: tuple[Any, ...]
    trained: tuple[Any, ...]
    shape: tuple[int, ...]


def blocks_of(network: Any) -> list[list[Any]]:
    """Return the layers with weights of each block of a keras.Model, blocks and layers in the network's order."""
    layers = list(_leaves(network))
    names = [_block(layer.name) for layer in layers]
    ends = [place for place, layer in enumerate(layers) if _LAST.fullmatch(layer.name)]
    if len(ends) >= _FEWEST:  # before the names: those of an InceptionResNet also name the kind of its blocks, block17
        starts = [0, *(place + 1 for place in ends[:-1])]
    elif len({name for name in names if name}) >= _FEWEST:
        starts = [place for place, name in enumerate(names) if name and name not in names[:place]]
    else:
        starts = [place for place, layer in enumerate(layers) if _learns(layer)]
    found = [[layer for layer in layers[at:end] if _learns(layer)] for at, end in pairwise([*starts, len(layers)])]
    return [block for block in found if block]


def cut(network: Any, blocks: int) -> Cut:
    """Cut a backbone so that its last blocks are in the top, and make only their layers trainable.

    The cut is at the last place before these blocks where a single array passes. Batch normalisation is never
    trainable, so that it uses its recorded mean and variance also in training.

    Args:
        network: a keras.Model of one input and one output. Its layers are changed: only the last blocks' are trainable.
        blocks: the number of blocks to train, at least 1.

    Raises:
        UserError: the network has fewer blocks, or can't be cut there.
    """
    known = blocks_of(network)
    if not known:
        raise UserError(
            f"promotion.fine_tune needs a backbone with weights to train; {network.name} has none but those of "
            "normalisation; take another backbone, or remove promotion.fine_tune"
        )
    if blocks > len(known):
        raise UserError(
            f"promotion.fine_tune.blocks must be at most {len(known)} for {network.name}, which has "
            f"{counted(len(known), 'block')} with weights; got {blocks}; lower it"
        )
    freeze(network)
    trained = [layer for block in known[-blocks:] for layer in block]
    for layer in trained:
        layer.trainable = True
    try:
        trunk, top = _parts(_functional(network), trained[0])
    except Exception as error:  # of Keras, whose sentences do not name the page's key
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"promotion.fine_tune needs a backbone that can be cut before {trained[0].name}, the first layer to train; "
            f"{network.name} can't be: {reason}; change promotion.fine_tune.blocks, or remove promotion.fine_tune"
        ) from error
    return Cut(tuple(trunk), tuple(top), tuple(trained), tuple(top[0].input_shape[1:]))


def freeze(network: Any) -> None:
    """Make nothing of a keras.Model trainable: neither the network as a whole, nor any of its layers."""
    network.trainable = False
    for layer in _leaves(network):
        layer.trainable = False


def _leaves(network: Any) -> Any:
    """Yield the layers of a network in its order, and in place of a network inside it that network's layers."""
    for layer in network.layers:
        if _is_network(layer):
            yield from _leaves(layer)
        else:
            yield layer


def _is_network(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model)


def _functional(network: Any) -> Any:
    """Return the network of inputs, layers and outputs that a keras.Sequential keeps inside, or any other network."""
    return getattr(network, "_functional", None) or network


def _block(name: str) -> str:
    """Return the part of a layer's name that names its block; empty if there is none."""
    if found := _SEPARABLE.search(name) or _CELL.match(name):
        return found[1]
    found = _NAMED.search(name)
    return name[: found.end()] if found else ""


def _learns(layer: Any) -> bool:
    import keras

    return bool(layer.weights) and not isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Normalization))


def _parts(network: Any, first: Any) -> tuple[list[Any], list[Any]]:
    """Return the functions before and after the last place before layer `first` where a single array passes."""
    import keras

    nodes = [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]
    at = next(place for place, node in enumerate(nodes) if first in _inside(node.operation))
    inner = nodes[at].operation
    if inner is not first:
        inner = _functional(inner)
        before, after = nodes[at].input_tensors[0], nodes[at].output_tensors[0]
        trunk, top = _parts(inner, first)
        is_first, is_last = before is network.inputs[0], after is network.outputs[0]
        outer = [] if is_first else [keras.Model(network.inputs[0], before)]
        return [*outer, *trunk], [*top, *([] if is_last else [keras.Model(after, network.outputs[0])])]
    place = next(tensor for end in range(at, 0, -1) if (tensor := _only(nodes, end, network.outputs)) is not None)
    trunk = [] if place is network.inputs[0] else [keras.Model(network.inputs[0], place)]
    return trunk, [keras.Model(place, network.outputs[0])]


def _inside(operation: Any) -> list[Any]:
    return list(_leaves(operation)) if _is_network(operation) else [operation]


def _only(nodes: Sequence[Any], end: int, outputs: Sequence[Any]) -> Any:
    """Return the one tensor that nodes before `end` give and nodes from `end` on need; None if there are several."""
    given = {id(tensor) for node in nodes[:end] for tensor in node.output_tensors}
    needed = [tensor for node in nodes[end:] for tensor in node.input_tensors]
    passing = {id(tensor): tensor for tensor in (*needed, *outputs) if id(tensor) in given}
    return next(iter(passing.values())) if len(passing) == 1 else None
