"""Views are drawn in the order in which they are asked for, each from its own image."""

from __future__ import annotations

import numpy as np
import pytest
from windrow.data import hashes
from windrow.data.features import embed_worker, views

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), np.uint8)


def test_each_view_is_drawn_from_its_own_image_and_that_images_hash() -> None:
    asked = [(0, 0), (0, 2), (0, 3), (2, 2), (1, 1), (1, 5), (2, 3), (2, 0)]
    drawn = list(embed_worker.drawn(IMAGES, *zip(*asked, strict=True)))
    keys = [key.tobytes() for key in hashes.of(IMAGES)]
    assert len(drawn) == len(asked)
    for pixels, (index, number) in zip(drawn, asked, strict=True):
        assert (pixels == views.view(IMAGES[index], keys[index], number)).all()


@pytest.mark.parametrize("number", range(views.MOST))
def test_a_view_says_whether_it_depends_on_the_hash(number: int) -> None:
    one, other = (views.view(IMAGES[0], key * 16, number) for key in (b"a", b"b"))
    assert views.depends_on_hash(number) == (one != other).any()
