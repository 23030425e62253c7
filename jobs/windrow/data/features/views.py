"""Make the views of a training image: the image, its mirror image, and crops drawn from the hash of its pixels.

A view depends on the image's pixels and the view's number only, so it is the same on every machine, and in every data
set that has the image. Pillow resizes with integer arithmetic, which gives the same pixels everywhere. At 224 pixels it
needs 0.55 ms of a core for a crop, and tf.image.crop_and_resize 0.49 ms; a small network needs 12 ms.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windrow.experiment import CategoricalDimension, Experiment

MOST = 8
"""The most views of an image."""
SMALLEST = 0.7
"""The shortest side of a crop, as a share of the image's side."""
RECIPE = f"1: as it is, mirrored, crops of {SMALLEST} to 1 of each side, bilinear"
"""What the views are. Features of another recipe are never mixed with these; change the number with the code."""


def most_views(page: Experiment) -> int:
    """Return the largest number of views that a trial of the page can have; 1 if the page does not name views.

    The page's own value counts where a space searches views, too: the first trial may have it.
    """
    dimension, default = page.space.get("views"), page.network.parameters.get("views", 1)
    if dimension is None:
        return int(default)
    largest = max(map(int, dimension.choices)) if isinstance(dimension, CategoricalDimension) else int(dimension.high)
    return max(largest, int(default))


def depends_on_hash(number: int) -> bool:
    """Return whether the view with this number is drawn from the hash of the image's pixels."""
    return number > 1


def view(image: NDArray[np.uint8], key: bytes, number: int) -> NDArray[np.uint8]:
    """Return a view of an image, uint8 (height, width, 3).

    Args:
        image: prepared image, uint8 (height, width, 3).
        key: the hash of its pixels, from hashes.of; any bytes for a view that does not depend on it.
        number: 0 for the image, 1 for its mirror image, 2 to MOST - 1 for crops, each of which is mirrored by chance.
    """
    if number == 0:
        return image
    if number == 1:
        return image[:, ::-1]
    height, width = image.shape[:2]
    size, left, top, mirrored = _uniform(key, number)
    share = SMALLEST + (1 - SMALLEST) * size
    x, y = left * (1 - share) * width, top * (1 - share) * height
    box = (x, y, x + share * width, y + share * height)
    crop = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box))
    return crop[:, ::-1] if mirrored < 0.5 else crop


def _uniform(key: bytes, number: int) -> list[float]:
    """Draw four numbers from 0 to 1, 1 excluded, from an image's hash and a view's number."""
    drawn = blake2b(key + bytes([number]), digest_size=32).digest()
    return [number / 2.0**53 for number in (np.frombuffer(drawn, "<u8") >> np.uint64(11)).tolist()]
