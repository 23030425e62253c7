"""Turn a split's arrays into tensors. On a CPU, trials read a memory-mapped file in place: none copies the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Eigen's kernels read whole vector registers, which needs this alignment; NumPy gives it to the values of .npy files.
_ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Examples:
    """Images, uint8 (n, height, width, channels), and their labels, int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def tensors(examples: Examples) -> tuple[Any, Any]:
    """Return images and labels as tensors, on the GPU if there is one."""
    import tensorflow as tf

    images, labels = _shared(examples.images), tf.convert_to_tensor(examples.labels)
    # On a GPU, tf.identity makes the only transfer; on a CPU it would be a needless copy.
    return (tf.identity(images), labels) if tf.config.list_logical_devices("GPU") else (images, labels)


def _shared(array: NDArray[np.uint8]) -> Any:
    """Return a tensor that shares the array's memory; a copy if the array is empty, not contiguous or not aligned."""
    import tensorflow as tf

    if not array.flags.c_contiguous or array.ctypes.data % _ALIGNMENT_BYTES or not array.size:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(np.asarray(_Exportable(array)).__dlpack__())


class _Exportable:
    """A read-only array that DLPack accepts. NumPy would refuse to export it; TensorFlow never writes to its input."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array  # keeps the memory alive as long as the tensor
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}
