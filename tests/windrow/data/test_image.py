"""One image to pixels: every mode, upright, in the asked shape."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from windrow.data.image import to_pixels
from windrow.experiment.rules.network_file import Resize


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


@pytest.mark.parametrize("orientation", [None, 0, 1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_copies_no_pixel_is_another_one(orientation: int | None, mode: str, channels: int) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.effect_noise((90, 60), 80).convert(mode).save(stream, "JPEG", exif=exif)
    copied = ImageOps.exif_transpose(Image.open(stream)).convert("L" if channels == 1 else "RGB")
    expected = np.asarray(copied.resize((20, 30), Image.Resampling.BILINEAR)).reshape(30, 20, channels)
    np.testing.assert_array_equal(to_pixels(Image.open(stream), 30, 20, channels), expected)


def test_transparency_is_laid_over_black() -> None:
    image = Image.new("RGBA", (1, 1), (255, 255, 255, 128))
    assert to_pixels(image, 1, 1, 3).tolist() == [[[128, 128, 128]]]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    assert to_pixels(image, 1, 3, 1)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (256, 256), (97, 640), (5, 3), (1, 1), (2, 90)])
@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 3), ("L", 1)])
def test_a_cropped_image_is_the_centre_of_a_whole_one_with_a_short_side_of_256_224ths(
    size: tuple[int, int], mode: str, channels: int
) -> None:
    """Photographs, grey ones and tiny ones, against Pillow's resize and crop, one after the other.

    The noise stays within 0..255: where Pillow clips it after the first direction depends on which comes first. It also
    rounds after each direction, so a few pixels differ by 2 levels.
    """
    image = Image.effect_noise(size, 20).convert(mode)
    scale = 256 / min(size)
    whole = image.convert("L" if channels == 1 else "RGB").resize(
        (max(256, round(size[0] * scale)), max(256, round(size[1] * scale))), Image.Resampling.BICUBIC
    )
    left, upper = round((whole.width - 224) / 2), round((whole.height - 224) / 2)
    expected = np.asarray(whole.crop((left, upper, left + 224, upper + 224))).reshape(224, 224, channels)
    found = to_pixels(image, 224, 224, channels, "crop")
    difference = np.abs(found.astype(int) - expected)
    assert (difference.max() <= 2, difference.mean() < 0.5) == (True, True)


def test_cropping_a_strip_takes_no_memory_of_its_whole_length() -> None:
    """Resized as a whole, the strip would have 224 x 3,670,016 pixels, of which 224 x 224 are used."""
    strip = Image.fromarray(np.linspace(0, 255, 16_384, dtype=np.uint8)[None])
    pixels = to_pixels(strip, 224, 224, 3, "crop")
    assert pixels.shape == (224, 224, 3)
    assert abs(pixels.mean() - 127.5) < 1


def test_a_cropped_jpeg_much_larger_than_asked_is_decoded_smaller() -> None:
    image = Image.open(io.BytesIO(jpeg((1920, 960))))
    pixels = to_pixels(image, 80, 80, 3, "crop")
    assert image.size == (480, 240)
    whole = Image.open(io.BytesIO(jpeg((1920, 960)))).convert("RGB").resize((182, 91), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(pixels.astype(int), np.asarray(whole.crop((51, 6, 131, 86))).astype(int), atol=3)


def test_a_cut_off_image_raises() -> None:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, "JPEG")
    with pytest.raises(OSError, match="truncated"):
        to_pixels(Image.open(io.BytesIO(stream.getvalue()[:600])), 64, 64, 1)


@pytest.mark.tensorflow
@pytest.mark.parametrize(("resize", "half_pixel_centers"), [("plain", True), ("corner", False)])
@pytest.mark.parametrize("sizes", [((50, 70), (20, 30)), ((11, 7), (20, 30)), ((20, 30), (20, 11)), ((1, 9), (4, 9))])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_others_gets_what_tensorflows_own_resizing_gives(
    resize: Resize, half_pixel_centers: bool, sizes: tuple[tuple[int, int], tuple[int, int]], channels: int
) -> None:
    import tensorflow as tf

    (height, width), wanted = sizes
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    expected = tf.raw_ops.ResizeBilinear(
        images=pixels[None].astype(np.float32), size=wanted, half_pixel_centers=half_pixel_centers
    )
    found = to_pixels(Image.fromarray(pixels if channels == 3 else pixels[..., 0]), *wanted, channels, resize)
    np.testing.assert_allclose(found, expected[0], atol=0.501)


def jpeg(size: tuple[int, int], **options: Any) -> bytes:
    across = np.linspace(0, 255, size[0], dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.stack([np.tile(across, (size[1], 1))] * 3, -1)).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "decoded"), [((959, 479), (959, 479)), ((960, 480), (480, 240)), ((5_000, 1_200), (1_250, 300))]
)
def test_a_jpeg_much_larger_than_asked_is_decoded_smaller(size: tuple[int, int], decoded: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(jpeg(size)))
    pixels = to_pixels(image, 80, 80, 3)
    assert image.size == decoded  # 3 x 80 fits once, twice and four times into the shorter side
    exact = Image.open(io.BytesIO(jpeg(size))).convert("RGB").resize((80, 80), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(pixels, np.asarray(exact), atol=3)


def test_a_jpeg_for_a_network_of_others_is_decoded_whole() -> None:
    image = Image.open(io.BytesIO(jpeg((960, 480))))
    to_pixels(image, 80, 80, 3, "plain")
    assert image.size == (960, 480)


def test_a_draft_of_a_turned_jpeg_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = to_pixels(Image.open(io.BytesIO(jpeg((960, 480), exif=exif))), 80, 40, 1)
    assert pixels.shape == (80, 40, 1)
    assert pixels[0].mean() < 10 < 240 < pixels[-1].mean()
