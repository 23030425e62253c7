"""Identify an image by a hash of its pixels, so that it is recognized in other folders and other data sets."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

BYTES = 16

Hashes = NDArray[np.uint8]
"""Hashes of n images, uint8 (n, 16)."""


def of(images: NDArray[np.uint8]) -> Hashes:
    """Hash each image's height, width, channels and pixels with BLAKE2b-128; return uint8 (n, 16).

    Args:
        images: prepared images, uint8 (n, height, width, channels); may be mapped from a file.
    """
    shape = repr(images.shape[1:]).encode()
    found = bytearray()
    for image in images:
        state = blake2b(shape, digest_size=BYTES)
        state.update(np.ascontiguousarray(image).data)
        found += state.digest()
    return np.frombuffer(bytes(found), np.uint8).reshape(len(images), BYTES)


def as_keys(hashes: Hashes) -> list[bytes]:
    """Return each hash as bytes, for sets and dictionaries."""
    return [row.tobytes() for row in hashes]
