"""A part of a file that is put back unchanged gives the file, and a changed one a file that is read to its end."""

from __future__ import annotations

import gzip
import io
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fuzz import layers
from fuzz.targets import decode, feed


def pixels(content: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGBA").tobytes()
    except OSError:
        return None


@pytest.mark.parametrize("seed", range(22))
def test_an_image_whose_part_is_put_back_is_the_image(seed: int) -> None:
    content = decode.SEEDS[seed]
    for number in range(20):
        found = layers.of_image(content, _InPlace(number))
        if found is None:
            assert content[:2] in (b"BM", b"II"), "the only ones without lengths and checksums"
            return
        assert pixels(found[1](found[0])) == pixels(content)


class _InPlace(Random):
    """Chance that leaves each part in its place."""

    def random(self) -> float:
        return 0.5


def test_a_changed_row_of_a_png_is_a_changed_row_of_pixels() -> None:
    rows, whole = layers._pixels(decode.SEEDS[1])
    changed = np.frombuffer(rows, np.uint8).reshape(9, -1).copy()
    changed[3] = 0
    with Image.open(io.BytesIO(whole(changed.tobytes()))) as image:
        assert not np.asarray(image)[3].any() or image.mode == "P"


def test_a_changed_part_of_a_packed_or_converted_feed_is_packed_or_converted_again() -> None:
    for packing, pack in layers.PACKINGS.items():
        found = layers.of_packed(pack(b"a"), Random(0))
        assert found is not None
        assert layers.unpacked(found[1](found[0] + b"b"), packing) == b"ab"
    found = layers.of_packed("a".encode("utf-16"), Random(0))
    assert found is not None
    assert found[1](b"ab").decode("utf-16") == "ab"
    assert layers.of_packed(gzip.compress(b"a")[:6], Random(0)) in (None, (b"", layers.PACKINGS["gzip"]))


def test_a_parquet_file_keeps_the_length_of_its_footer() -> None:
    content = next(seed for seed in feed.SEEDS if seed[1:5] == b"PAR1")
    footers = 0
    for number in range(10):
        found = feed.layer(content, Random(number))
        assert found is not None
        assert found[1](found[0]) == content
        longer = found[1](found[0] + b"xyz")
        assert len(longer) == len(content) + 3
        if longer[-11:-8] == b"xyz":  # the reader of the footer ends with its last field
            footers += 1
            assert pq.read_metadata(io.BytesIO(longer[1:])).num_rows == 3
    assert 0 < footers < 10
