"""JPEGs: what decoders pass over is passed over, and what costs a decoder more than its bytes is refused."""

from __future__ import annotations

import contextlib
import re
import struct
import time
import tracemalloc
from typing import Any

import numpy as np
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


@pytest.mark.parametrize("kind", [0xFE, 0xE1, 0xEF, 0xDC])
def test_an_end_mark_inside_a_segment_between_scans_hides_no_scans(kind: int) -> None:
    content = with_scans(1000)
    place = content.rindex(b"\xff\xda")
    hiding = content[:place] + bytes([0xFF, kind]) + b"\0\x04\xff\xd9" + content[place:]
    with pytest.raises(BrokenFileError, match="more than 100 scans"):
        jpeg_file.reduced(hiding)
    plain = encoded(GREY, "JPEG", progressive=True)
    place = plain.rindex(b"\xff\xda")
    np.testing.assert_array_equal(pixels(plain[:place] + b"\xff\xfe\0\x04\xff\xd9" + plain[place:]), pixels(plain))


@pytest.mark.timeout(20)
def test_a_second_scan_where_one_has_all_components_is_not_decoded() -> None:
    plain = encoded(Image.new("L", (4000, 4000)), "JPEG")
    content = plain[:-2] + plain[plain.rindex(b"\xff\xda") : -2] * 300 + plain[-2:]
    begun = time.process_time()
    with contextlib.suppress(OSError):
        pixels(content)
    assert time.process_time() - begun < 2, "300 scans of 16,000,000 pixels were decoded"


def test_segments_between_scans_are_counted_too() -> None:
    plain = encoded(GREY, "JPEG", progressive=True)
    with pytest.raises(BrokenFileError, match="more than 100,000 segments between its scans"):
        jpeg_file.reduced(plain[:-2] + b"\xff\xfe\0\2" * jpeg_file.MOST_SEGMENTS + plain[-2:])


def test_the_scans_of_encoders_and_of_further_pictures_in_the_file_are_no_fault() -> None:
    plain = encoded(GREY, "JPEG", progressive=True)
    assert jpeg_file.reduced(plain).content == plain
    with opened(plain + encoded(GREY, "JPEG", progressive=True) * 50, 1_000_000) as image:
        assert image.convert("L").tobytes()


JUNK = {
    "zeros": b"\0\0\0",
    "other bytes": b"xyz\n",
    "a stuffed byte": b"\xff\0",
    "filling": b"\xff" * 5,
    "a restart": b"\xff\xd3",
    "a segment without length": b"\xff\xe1\0\x01",
    "a comment without length": b"\xff\xfe\0\0",
    "a picture's name": b"\xff\xe1\0\x01Exif\0\0MM",
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("junk", JUNK)
def test_bytes_between_two_segments_cost_no_image(junk: str, progressive: bool) -> None:
    plain = encoded(GREY, "JPEG", progressive=progressive)
    place, starts = 2, [2]
    while plain[place + 1] != 0xDA:
        place += 2 + struct.unpack_from(">H", plain, place + 2)[0]
        starts.append(place)
    for start in starts:
        content = plain[:start] + JUNK[junk] + plain[start:]
        if start > 2 or junk not in ("zeros", "other bytes", "a stuffed byte"):  # a file begins with two marks
            np.testing.assert_array_equal(pixels(content), pixels(plain))


def pixels(content: bytes) -> Any:
    with opened(content, 20_000_000) as image:
        return np.asarray(image)


def test_a_jpeg_without_end_mark_is_compared_in_the_memory_of_one_image() -> None:
    plain = encoded(Image.effect_noise((1600, 1200), 60).convert("RGB"), "JPEG", quality=20)
    jpeg = jpeg_file.reduced(plain[:-2])
    tracemalloc.start()
    assert jpeg_file.completed(jpeg, 1600 * 1200) == plain
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 1600 * 1200 + 2 * len(plain), "the images are held together"


def test_a_cut_jpeg_is_decoded_until_the_first_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    decodings: list[bytes] = []
    digest = jpeg_file._digest
    monkeypatch.setattr(jpeg_file, "_digest", lambda content: (decodings.append(content), digest(content))[1])
    cut = jpeg_file.reduced(encoded(GREY, "JPEG")[:-200])
    assert jpeg_file.completed(cut, 64 * 48) == cut.content
    assert len(decodings) == 2


def test_a_jpeg_without_end_mark_of_too_many_pixels_and_scans_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = jpeg_file.reduced(encoded(GREY, "JPEG", progressive=True)[:-2])
    work = 64 * 48 * len(jpeg.scans)
    monkeypatch.setattr(jpeg_file, "MOST_DECODED", work - 1)
    assert jpeg_file.completed(jpeg, 64 * 48) == jpeg.content
    monkeypatch.setattr(jpeg_file, "MOST_DECODED", work)
    assert jpeg_file.completed(jpeg, 64 * 48) == jpeg.content + jpeg_file.END


@pytest.mark.parametrize("options", [{"restart_marker_blocks": 1}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_where_a_restart_is_due_is_broken(options: dict[str, int], progressive: bool) -> None:
    """Cameras write restarts; a decoder passes over everything up to the mark of the next one."""
    content = encoded(GREY, "JPEG", progressive=progressive, **options)
    start = content.rindex(b"\xff\xda")
    places = [start + found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", content[start:])]
    assert len(places) > 4
    for place in places:
        for cut in (content[:place], content[: place + 1]):
            with pytest.raises(OSError, match="truncated"):
                pixels(cut)
        if not progressive:
            with pytest.raises(BrokenFileError, match="its pixels end before its last row"):
                pixels(content[:place] + jpeg_file.END)
    np.testing.assert_array_equal(pixels(content[:-2]), pixels(content))
