"""What a file is shows in its first bytes, and no bytes take long to look at."""

from __future__ import annotations

import time

import pytest
from windrow.data.image_files import content


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"<svg>", "an SVG drawing"),
        (
            b'\xef\xbb\xbf <?xml version="1.0"?>\n<!-- a > b -->\n<!DOCTYPE svg PUBLIC "-//W3C">\n<svg\nid=""',
            "an SVG drawing",
        ),
        (b'<!DOCTYPE svg [\n<!ENTITY a "b">\n]>\n<!-- --><svg xmlns=""', "an SVG drawing"),
        (b"\n<!-- saved -->\n<!DocType HTML>", "a web page"),
        (b"<!-- one --><HTML lang=en>", "a web page"),
        (b"<svgs>", content.TEXT),
        (b"<!-- no end <svg>", content.TEXT),
        (b"<annotation>", content.TEXT),
        (b"<!", content.TEXT),
    ],
)
def test_markup_is_known_by_its_first_tag(head: bytes, kind: str) -> None:
    assert content.kind(head) == kind


def boxes(*brands: bytes) -> bytes:
    return (
        (16 + 4 * len(brands) - 4).to_bytes(4)
        + b"ftyp"
        + brands[0]
        + bytes(4)
        + b"".join(brands[1:])
        + b"\0\0\0\x08free"
    )


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (boxes(b"avif", b"mif1", b"miaf"), "an AVIF image"),
        (boxes(b"mif1", b"mif1", b"avif", b"miaf"), "an AVIF image"),
        (boxes(b"msf1", b"avis"), "an AVIF image"),
        (boxes(b"mif1", b"mif1", b"heic"), "a HEIC image"),
        (boxes(b"hevm"), "a HEIC image"),
        (boxes(b"mif1"), "a HEIC image"),
        (boxes(b"crx ", b"isom"), "a raw photograph"),
        (boxes(b"M4A ", b"isom"), "a sound file"),
        (boxes(b"isom", b"iso2", b"mp41"), "an MP4 or QuickTime video"),
        (b"\xff\xff\xff\xffftyp", "an MP4 or QuickTime video"),
        (b"\0\0\0\0ftypavif", "an MP4 or QuickTime video"),
    ],
)
def test_a_file_in_boxes_is_what_any_of_its_brands_says(head: bytes, kind: str) -> None:
    assert content.kind(head) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"P6\n64 48\n255\n" + b"\xe0" * 99, "a Netpbm image"),
        (b"P3 # a comment\n1 1 255\n1 2 3", "a Netpbm image"),
        (b"P7\nWIDTH 3", "a Netpbm image"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "an image of high dynamic range"),
        (b"/* XPM */\nstatic char", "an X11 image"),
        (b"#define cat_width 16\n", "an X11 image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS"),
        (bytes(128) + b"DICM", "a DICOM image"),
        (b"\xff\xfb\x90\x64", "a sound file"),
        (b"P1 is the first plan\n", content.TEXT),
        (b"#define width 3\n", content.TEXT),
        (b"[InternetShortcut]\r\nURL=http://example.com\r\n", content.TEXT),
        (b"<?xml version='1.0'?><!--" + b" Illustrator" * 200 + b"--><svg xmlns=''>", "an SVG drawing"),
        (b"\n" * 2000 + b"<!doctype html>", "a web page"),
    ],
)
def test_images_that_look_like_text_have_their_kind_and_text_is_text(head: bytes, kind: str) -> None:
    assert content.kind(head) == kind


@pytest.mark.parametrize(
    "part",
    [b"<!-- -->", b"<!---->", b"<!-- ", b"<!>", b"<!DOCTYPE>", b"<?>", b"]>", b"<!----", b" ", b"\n<! >", b"<?xml "],
)
@pytest.mark.parametrize("end", [b"", b"<p>", b"<svg"])
def test_no_text_takes_long_to_look_at(part: bytes, end: bytes) -> None:
    head = (part * 200_000)[: 200_000 - len(end)] + end
    begun = time.process_time()
    content.kind(head)
    assert time.process_time() - begun < 2, "it takes milliseconds where each byte is looked at once"
