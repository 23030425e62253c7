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
