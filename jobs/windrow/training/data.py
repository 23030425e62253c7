"""Turn a split's arrays into tensors. On a CPU, trials read a memory-mapped file in place: none copies the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Eigen's kernels read whole vector registers, which needs this alignment; NumPy gives it to the values of .npy files.
_ALIGNMENT_BYTES = 64
FEATURES_AXES = 3
MAPS_AXES = 5


@dataclass(frozen=True)
class Examples:
    """Images and their labels, int64 (n,).

    `images` is uint8 (n, height, width, channels), or, for a head, float16 (n, views, features): a backbone's features
    of each image and of changed copies of it, the image itself first. For the last blocks of a backbone, it is what
    these take of the same views: float16 or uint8 (n, views, height, width, channels).
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def as_images(features: NDArray[Any]) -> NDArray[Any]:
    """Return features (n, views, features) as images (n * views, 1, 1, features), without a copy; maps likewise."""
    if features.ndim == MAPS_AXES:
        return features.reshape(-1, *features.shape[2:])
    return features.reshape(-1, 1, 1, features.shape[-1])


def joined(training: Examples, validation: Examples) -> Examples:
    """Return the features of training and validation images together; an image with fewer views has its first more.

    A step draws one view of each image, so a validation image, whose only view is the image itself, is that.
    """
    views = training.images.shape[1]
    missing = np.repeat(validation.images[:, :1], views - validation.images.shape[1], axis=1)
    images = np.concatenate([training.images, np.concatenate([validation.images, missing], axis=1)])
    return Examples(images, np.concatenate([training.labels, validation.labels]))


def folded(
    training: Examples, validation: Examples, fold: int, keys: tuple[Examples, Examples]
) -> tuple[Examples, Examples]:
    """Divide the features of training and validation images anew for cross-validation; return both parts.

    Fold 1 is the division as it is. Every further fold validates on as many other images of `training`, in each class
    its share of them, rounded, and trains on all the rest. These folds have no image in common, as long as there are
    enough images; then they begin again, with another order. Equal images stay on one side, and no class leaves the
    training. Only the images decide, so that all networks of a fold are validated on the same ones.

    Args:
        training, validation: what a head learns from, and is validated on.
        fold: number of the fold, from 1.
        keys: the same images, training and validation, with the features by which they are told apart; where they are
            kept squashed and cropped, the same features for both.
    """
    if fold == 1 or not min(len(training), len(validation)):
        return training, validation
    both = joined(training, validation)
    held = _held_out(
        both.labels, len(training), len(validation), fold, [row for part in keys for row in part.images[:, 0]]
    )
    if not held.any():
        return training, validation
    # A fold's validation images have one view, as others do, though images for training have more.
    validated = np.ascontiguousarray(both.images[held, :1])
    return Examples(both.images[~held], both.labels[~held]), Examples(validated, both.labels[held])


def _held_out(
    labels: NDArray[np.int64], count: int, wanted: int, fold: int, keys: Sequence[NDArray[Any]]
) -> NDArray[np.bool_]:
    """Return which images a fold, from 2, validates on, bool (n,); the first `count` are those for training."""
    size = min(wanted, count)
    turn, place = divmod(fold - 2, count // size)
    salt = turn.to_bytes(8, "little")
    names = np.array([blake2b(key.tobytes(), digest_size=16, salt=salt).digest() for key in keys])
    order = np.lexsort((names[:count], labels[:count]))
    # Evenly spaced in an order by class, so each class gets its share; the next fold has the places after these.
    spaced = (np.arange(size) * (count // size) + place) * count // (size * (count // size))
    listed = np.concatenate([order, np.arange(count, len(labels))])
    is_drawn = np.zeros(len(labels), bool)
    is_drawn[spaced] = True
    _, first, group = np.unique(names[listed], return_index=True, return_inverse=True)
    held = np.empty(len(labels), bool)
    held[listed] = is_drawn[first][group]  # equal images follow the first of them
    for label in np.setdiff1d(labels, labels[~held]):
        held[labels == label] = False
    return held


def tensors(examples: Examples) -> tuple[Any, Any]:
    """Return images and labels as tensors, on the GPU if there is one.

    Features become images (n * views, 1, 1, features), and maps (n * views, height, width, channels), all views of an
    image one after the other; labels stay (n,).
    """
    import tensorflow as tf

    images = as_images(examples.images) if examples.images.ndim in (FEATURES_AXES, MAPS_AXES) else examples.images
    images, labels = _shared(images), tf.convert_to_tensor(examples.labels)
    # On a GPU, tf.identity makes the only transfer; on a CPU it would be a needless copy.
    return (tf.identity(images), labels) if tf.config.list_logical_devices("GPU") else (images, labels)


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return weights with which all classes count the same in a loss, float32 (classes,), as scikit-learn's `balanced`.

    The weight of a class is n / (number of classes with images * its images), so the mean over the images is 1. A class
    without images has weight 0, which no image gets.
    """
    present, counts = np.unique(labels, return_counts=True)
    weights = np.zeros(classes, np.float32)
    weights[present] = len(labels) / (len(present) * counts)  # to import scikit-learn would take a second
    return weights


def _shared(array: NDArray[Any]) -> Any:
    """Return a tensor that shares the array's memory; a copy if the array is empty, not contiguous or not aligned."""
    import tensorflow as tf

    if not array.flags.c_contiguous or array.ctypes.data % _ALIGNMENT_BYTES or not array.size:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(np.asarray(_Exportable(array)).__dlpack__())


class _Exportable:
    """A read-only array that DLPack accepts. NumPy would refuse to export it; TensorFlow never writes to its input."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array  # keeps the memory alive as long as the tensor
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}
