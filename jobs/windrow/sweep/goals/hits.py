"""Keep which validation images a network gets right, one bit for each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.training.data import Examples
from windrow.training.graphs import compile_evaluation


@dataclass(frozen=True)
class Hits:
    """Which images a network classified correctly, in the order of their split.

    Attributes:
        images: number of images.
        bits: one bit for each image, the first one highest, filled up to whole bytes.
    """

    images: int
    bits: bytes = field(repr=False)

    @classmethod
    def pack(cls, right: NDArray[np.bool_]) -> Hits:
        """Pack one value for each image, bool (n,)."""
        return cls(len(right), np.packbits(right).tobytes())

    def unpack(self) -> NDArray[np.bool_]:
        """Return one value for each image, bool (n,)."""
        return np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.images).astype(np.bool_)


def measured(network: Any, validation: Examples) -> Hits:
    """Return which of the validation images, or of their features, a keras.Model gets right."""
    predicted = compile_evaluation(network, validation)()[1]
    return Hits.pack(np.equal(predicted, validation.labels))
