"""WebPs: what is not well-formed stays as it is, for the decoder to refuse."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image
from windrow.data.image_files import webp_file

from tests.windrow.scoring.conftest import encoded

WHOLE = encoded(Image.fromarray(np.zeros((6, 9, 3), np.uint8)), "WEBP", lossless=True, xmp=b"<x>")


@pytest.mark.parametrize("length", [*range(12, 40), len(WHOLE) - 1])
def test_a_webp_that_is_cut_is_returned_unchanged(length: int) -> None:
    assert webp_file.reduced(WHOLE[:length]) == WHOLE[:length]


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\xb0\x01\0\0WEBPVP8X\nFIFF\xb0\x01\x002",  # found by make fuzz
        WHOLE[:16] + struct.pack("<I", 0) + WHOLE[20:],
        WHOLE[:4] + struct.pack("<I", 10) + WHOLE[8:],
    ],
    ids=["cut", "empty-header", "short-file"],
)
def test_a_webp_with_a_wrong_length_is_returned_unchanged(content: bytes) -> None:
    assert webp_file.reduced(content) == content
    assert webp_file.reduced(WHOLE) != WHOLE
