"""Cut a Keras network down to the part that computes features, one row per image."""

from __future__ import annotations

import difflib
import sys
from typing import Any

from windrow.errors import UserError

_SIDES = (1, 4096)
_POOLING = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")


def cut(network: Any, layer: str | None, name: str) -> Any:
    """Return the part of a network from its image to its features, frozen: float32 (n, h, w, 3) to float32 (n, f).

    The features are the output of `layer`. Without a name they are the network's output; for a network that ends in a
    softmax or a sigmoid, the output of its last global pooling layer, because probabilities are poor features. An
    output with height and width is averaged over them, and a line on standard error says so.

    Args:
        network: a Keras network with one input.
        layer: the name of a layer, or None.
        name: the backbone's name, for messages.

    Raises:
        UserError: the network takes something else than square RGB images of one size, there is no such layer, or its
            output is not one row, or one map, of numbers per image.
    """
    import keras

    image = _image(network, name)
    output = _output(network, layer, name)
    if len(output.shape) == 4:
        if tuple(output.shape)[1:3] != (1, 1):
            print(f"{name}: the features are the means over height and width of {_sizes(output)}", file=sys.stderr)
        output = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="windrow_pooling")(output)
    if len(output.shape) != 2 or output.shape[-1] is None:
        raise UserError(
            f"network.backbone must give one row of features per image; {name} gives {_sizes(output)}; "
            f"let network.backbone_layer be one of {_choice(network)}"
        )
    if output.dtype != "float32":
        output = keras.layers.Activation("linear", dtype="float32", name="windrow_float32")(output)
    part = keras.Model(image, output)
    # A frozen batch normalization uses its recorded mean and variance, even in a network that is called for training.
    part.trainable = False
    return part


def _image(network: Any, name: str) -> Any:
    """Return the network's input, if it is one image."""
    inputs = list(getattr(network, "inputs", None) or ())
    if len(inputs) != 1:
        raise UserError(f"network.backbone must take one image; {name} has {len(inputs)} inputs; name another network")
    (image,) = inputs
    sides = tuple(image.shape)[1:]
    if len(sides) != 3 or sides[2] != 3:
        raise UserError(
            f"network.backbone must take images as (height, width, 3), RGB; {name} takes {_sizes(image)}; "
            "name another network"
        )
    if not all(side is not None and _SIDES[0] <= side <= _SIDES[1] for side in sides[:2]):
        raise UserError(
            f"network.backbone must fix the height and width of an image, 1 to 4,096; {name} takes {_sizes(image)}; "
            "save it with keras.Input((224, 224, 3)), or the size that it was trained with"
        )
    if sides[0] != sides[1]:
        raise UserError(
            f"network.backbone must take square images, as they are prepared; {name} takes {_sizes(image)}; "
            "name another network"
        )
    if image.dtype != "float32":
        raise UserError(
            f"network.backbone must take float32 from 0 to 255; {name} takes {image.dtype}; "
            "save it with an input of float32"
        )
    return image


def _output(network: Any, layer: str | None, name: str) -> Any:
    """Return the tensor that holds the features, or their maps."""
    if layer is not None:
        return _tensor_of(network, layer, name)
    if len(network.outputs or ()) == 1 and not _is_classifier(network):
        return network.outputs[0]
    pooling = [one for one in network.layers if type(one).__name__ in _POOLING]
    if not pooling:
        raise UserError(f"network.backbone must give features; {name} {_lack(network)}")
    return _tensor_of(network, pooling[-1].name, name)


def _lack(network: Any) -> str:
    """Return why a network without a global pooling layer has no features, and what to do."""
    import keras

    cure = f"let network.backbone_layer be one of {_choice(network)}"
    count = len(network.outputs or ())
    if count != 1:
        return f"has {count or 'no'} output{'s' if count else ''} and no global pooling layer; {cure}"
    last = network.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return f"ends in a classifier, its inner network {last.name}; save that one by itself, and name its file"
    return f"is a classifier without a global pooling layer; {cure}"


def _is_classifier(network: Any) -> bool:
    """Return whether a network ends in a softmax or a sigmoid, also inside a network that is its last layer."""
    import keras

    last = network.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return len(last.outputs) == 1 and _is_classifier(last)
    ends = (keras.activations.softmax, keras.activations.sigmoid)
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) in ends


def _tensor_of(network: Any, layer: str, name: str) -> Any:
    """Return the output of a layer within the network; a layer that is a network has another output of its own."""
    import keras

    known = {one.name: one for one in network.layers}
    if layer not in known:
        close = difflib.get_close_matches(layer, known, n=3, cutoff=0.3) or list(known)[-3:]
        raise UserError(
            f"network.backbone_layer must be a layer of {name}; got {layer!r}; take one such as {', '.join(close)}"
        )
    for node in reversed(known[layer]._inbound_nodes):
        outputs = list(node.output_tensors)
        if len(outputs) != 1:
            continue
        try:
            keras.Model(network.inputs, outputs[0])
        except ValueError:  # this use of the layer belongs to another network
            continue
        return outputs[0]
    raise UserError(
        f"network.backbone_layer must have one output that follows from the image; {layer!r} of {name} has not; "
        f"take one of {_choice(network)}"
    )


def _choice(network: Any) -> str:
    """Return the names of the last layers that give rows or maps."""
    import keras

    layers = [one for one in network.layers if not isinstance(one, keras.layers.InputLayer)]
    fitting = [one.name for one in layers if len(getattr(_first_output(one), "shape", ())) in (2, 4)]
    return ", ".join(fitting[-5:]) or "none"


def _first_output(layer: Any) -> Any:
    outputs = list(layer._inbound_nodes[0].output_tensors) if layer._inbound_nodes else [None]
    return outputs[0]


def _sizes(tensor: Any) -> str:
    return f"(n, {', '.join('any' if side is None else str(side) for side in tuple(tensor.shape)[1:])})"
