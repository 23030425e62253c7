"""A split's arrays as tensors. A file mapped into memory is read where it lies: no trial copies the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Eigen's kernels read whole vector registers; NumPy aligns the values of an .npy file to this.
_ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Examples:
    """Images, uint8 (n, height, width, channels), and their labels, int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def tensors(examples: Examples) -> tuple[Any, Any]:
    """Images and labels as TensorFlow has them, on its accelerator if there is one."""
    import tensorflow as tf

    images, labels = _shared(examples.images), tf.convert_to_tensor(examples.labels)
    # On a CPU the identity would be a copy; on a GPU it is the one transfer.
    return (tf.identity(images), labels) if tf.config.list_logical_devices("GPU") else (images, labels)


def _shared(array: NDArray[np.uint8]) -> Any:
    """The array's own memory as a tensor where it is aligned, a copy where it is not."""
    import tensorflow as tf

    if not array.flags.c_contiguous or array.ctypes.data % _ALIGNMENT_BYTES or not array.size:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(np.asarray(_Exportable(array)).__dlpack__())


class _Exportable:
    """An array that DLPack takes: NumPy refuses it a read-only one, and TensorFlow never writes to its input."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array  # keeps the memory alive as long as the tensor
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}
