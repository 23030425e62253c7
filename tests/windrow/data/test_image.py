"""One image to pixels: every mode, upright, in the asked shape."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from windrow.data.image import FORMATS, to_pixels


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_mode_gives_uint8_of_the_asked_shape(mode: str, channels: int) -> None:
    pixels = to_pixels(Image.new(mode, (7, 5)), 4, 6, channels)
    assert (pixels.shape, pixels.dtype) == ((4, 6, channels), np.uint8)


def test_pixels_are_kept_where_the_size_fits() -> None:
    values = np.arange(35, dtype=np.uint8).reshape(5, 7)
    np.testing.assert_array_equal(to_pixels(Image.fromarray(values), 5, 7, 1)[..., 0], values)


def test_exif_turns_the_image_upright() -> None:
    image = Image.fromarray(np.array([[10, 200]], np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees: left becomes top
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    assert to_pixels(Image.open(stream), 2, 1, 1)[:, 0, 0].tolist() == [10, 200]


def test_transparency_is_laid_over_black() -> None:
    image = Image.new("RGBA", (1, 1), (255, 255, 255, 128))
    assert to_pixels(image, 1, 1, 3).tolist() == [[[128, 128, 128]]]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    assert to_pixels(image, 1, 3, 1)[0, :, 0].tolist() == [0, 128, 255]


def test_a_cut_off_image_raises() -> None:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, "JPEG")
    with pytest.raises(OSError, match="truncated"):
        to_pixels(Image.open(io.BytesIO(stream.getvalue()[:600]), formats=FORMATS), 64, 64, 1)
