"""Name what kind of file begins with some bytes, whatever the file's name says."""

from __future__ import annotations

import re

from windrow.data.image_files import gif_file, jpeg_file, png_file, webp_file

HEAD_BYTES = 4096
"""Bytes of a file's beginning that its kind is found by: drawings and web pages may begin with comments."""

READ = "PNG, JPEG, GIF, BMP or WebP"
"""The kinds of images that are read, in words."""

TEXT, EMPTY = "text", "empty"

_OTHERS: tuple[tuple[str, bytes], ...] = (
    ("a TIFF image", rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    ("a JPEG 2000 image", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("a JPEG XL image", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("an icon", rb"\0\0[\x01\x02]\0[\x01-\xff]\0"),
    ("a Photoshop file", rb"8BPS"),
    ("a raw photograph", rb"FUJIFILMCCD-RAW|IIU\0|IIRO"),
    ("a JPEG XR image", rb"II\xbc\x01"),
    ("a Netpbm image", rb"P[1-6]\s{1,9}[\d#]|P7\nWIDTH|P[Ff]\n\d"),
    ("an image of high dynamic range", rb"#\?R|v/1\x01"),
    ("an X11 image", rb"/\* XPM \*/|#define \w{1,200}_width\s"),
    ("a FITS image", rb"SIMPLE  = "),
    ("a DICOM image", rb".{128}DICM"),
    ("a QOI image", rb"qoif"),
    ("a DirectDraw surface", rb"DDS "),
    ("an animation of the MNG family", rb"[\x8a\x8b][MJ]NG\r\n\x1a\n"),
    ("an icon", rb"icns"),
    ("a PostScript file", rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("a Windows metafile", rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF"),
    ("a PDF", rb"%PDF-"),
    ("an old Office document", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("a ZIP archive", rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"),
    ("a gzip archive", rb"\x1f\x8b"),
    ("a bzip2 archive", rb"BZh[1-9]"),
    ("an xz archive", rb"\xfd7zXZ\0"),
    ("a Zstandard archive", rb"\x28\xb5\x2f\xfd"),
    ("a 7-Zip archive", rb"7z\xbc\xaf\x27\x1c"),
    ("a RAR archive", rb"Rar!\x1a\x07"),
    ("a tar archive", rb".{257}ustar"),
    ("an MP4 or QuickTime video", rb".{4}(?:moov|mdat|wide)"),
    ("a Matroska or WebM video", rb"\x1a\x45\xdf\xa3"),
    ("an AVI video", rb"RIFF.{4}AVI "),
    ("an MPEG video", rb"\0\0\x01[\xb3\xba]"),
    ("a sound file", rb"RIFF.{4}WAVE|ID3|OggS|fLaC|\xff[\xf2\xf3\xfa\xfb]"),
    ("a NumPy array", rb"\x93NUMPY"),
    ("an HDF5 file", rb"\x89HDF\r\n\x1a\n"),
    ("a Parquet file", rb"PAR1"),
    ("a pointer of Git LFS", rb"version https://git-lfs"),
    ("a Windows shortcut", rb"L\0\0\0\x01\x14\x02\0"),
    ("a program", rb"\x7fELF|MZ.{100}"),
)
_KNOWN = [(kind, re.compile(pattern, re.DOTALL)) for kind, pattern in _OTHERS]
_BRANDS: tuple[tuple[str, frozenset[bytes]], ...] = (
    ("an AVIF image", frozenset((b"avif", b"avis"))),
    ("a HEIC image", frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))),
    ("a JPEG XL image", frozenset((b"jxl ",))),
    ("a HEIC image", frozenset((b"mif1", b"msf1"))),
    ("a raw photograph", frozenset((b"crx ",))),
    ("a sound file", frozenset((b"M4A ", b"M4B "))),
)
"""Kinds of files in boxes, by the brands that their first box lists."""
_PAGE = re.compile(rb"<(?:!doctype )?html\b", re.IGNORECASE)
_DRAWING = re.compile(rb"<svg\b")
_UTF_8_MARK = b"\xef\xbb\xbf"
_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def image_format(head: bytes) -> str | None:
    """Return which image a file begins as, by Pillow's name of the format; None if it is none that is read."""
    if head.startswith(png_file.MARK):
        return "PNG"
    if head.startswith(jpeg_file.MARK):
        return "JPEG"
    if head.startswith(gif_file.MARKS):
        return "GIF"
    if webp_file.is_webp(head):
        return "WEBP"
    return "BMP" if head.startswith(b"BM") and len(head) > 25 and head[15:18] == b"\0\0\0" else None


def kind(head: bytes) -> str:
    """Return in words what a file is that is no image which is read: "a ZIP archive", "text", "empty".

    Args:
        head: the file's first HEAD_BYTES bytes.
    """
    if not head:
        return EMPTY
    if head[4:8] == b"ftyp":
        return _of_boxes(head)
    if found := next((kind for kind, pattern in _KNOWN if pattern.match(head)), None):
        return found
    if found := _markup(head):
        return found
    if head.startswith((b"\xff\xfe", b"\xfe\xff", _UTF_8_MARK)) or not _NO_TEXT.search(head):
        return TEXT
    return "of a kind that is not known"


def _of_boxes(head: bytes) -> str:
    """Return what a file is that begins with a box of brands: the first one may be that of a family, such as mif1."""
    listed = head[8 : min(int.from_bytes(head[:4]), len(head))]
    brands = {listed[place : place + 4] for place in range(0, len(listed), 4)}
    return next((kind for kind, known in _BRANDS if known & brands), "an MP4 or QuickTime video")


def _markup(head: bytes) -> str | None:
    """Return what a file in XML or HTML is by its first tag; None for any other file.

    A loop passes over comments and declarations: a pattern for any number of them would try all ways to divide them.
    """
    place = _past_blanks(head, len(_UTF_8_MARK) if head.startswith(_UTF_8_MARK) else 0)
    while head.startswith((b"<!", b"<?", b"]>"), place) and not _PAGE.match(head, place):
        mark = b"-->" if head.startswith(b"<!--", place) else b">"
        end = head.find(mark, place)
        if end < 0:
            return None
        place = _past_blanks(head, end + len(mark))
    if _PAGE.match(head, place):
        return "a web page"
    return "an SVG drawing" if _DRAWING.match(head, place) else None


def _past_blanks(head: bytes, place: int) -> int:
    while head[place : place + 1].isspace():
        place += 1
    return place
