"""JPEGs: what costs a decoder more than its bytes is refused."""

from __future__ import annotations

import pytest
from PIL import Image
from windrow.data.image_files import jpeg_file
from windrow.data.image_files.faults import BrokenFileError
from windrow.data.image_files.opening import opened

from tests.windrow.scoring.conftest import encoded

GREY = Image.effect_noise((64, 48), 60)


def with_scans(more: int) -> bytes:
    """A progressive JPEG whose last scan stands there so many times more: a small file that takes long to decode."""
    plain = encoded(GREY, "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * more + plain[-2:]


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(BrokenFileError, match="it has more than 100 scans"):
        jpeg_file.reduced(with_scans(jpeg_file.MOST_SCANS))
    with pytest.raises(BrokenFileError, match="more than 100 scans"), opened(with_scans(1000), 1_000_000):
        pass


def test_the_scans_of_encoders_and_of_further_pictures_in_the_file_are_no_fault() -> None:
    plain = encoded(GREY, "JPEG", progressive=True)
    assert jpeg_file.reduced(plain).content == plain
    with opened(plain + encoded(GREY, "JPEG", progressive=True) * 50, 1_000_000) as image:
        assert image.convert("L").tobytes()
