"""Open PNGs and JPEGs whose pixels may end early in a file that ends as it should: Pillow makes up what is missing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from windrow.data.image_files import jpeg_file
from windrow.data.image_files.faults import BrokenFileError
from windrow.data.image_files.jpeg_file import ReducedJpeg
from windrow.data.image_files.png_file import ReducedPng

_FILLERS = ((0x5A, 0xC3, 0x01, 0x7E), (0xA5, 0x3C, 0xFE, 0x81))  # levels of up to four channels
_PIECE = 1 << 16  # bytes that the decoder gets at once, as Pillow has them
_GREY = frozenset({127, 128})  # what a JPEG decoder gives where it has no data; CMYK is inverted


class WholePng(PngImageFile):
    """A PNG that can't be decoded if its compressed data end before its last row.

    Pillow leaves such rows as they were. So the last row is filled before decoding. If it stays as it was filled, the
    image is decoded once more with another filler: what stays then, too, was not in the file.
    """

    def __init__(self, png: ReducedPng, filler: tuple[int, ...] = _FILLERS[0]) -> None:
        self._png, self._filler = png, filler
        self._filled: int | tuple[int, ...] = 0
        self._pieces: Iterator[bytes] = iter(())
        super().__init__(io.BytesIO(png.head))

    def load_prepare(self) -> None:
        """Make the image's memory, and fill its last row."""
        super().load_prepare()
        self._pieces = (
            bytes(chunk[start : start + _PIECE]) for chunk in self._png.pixels for start in range(0, len(chunk), _PIECE)
        )
        self.im.paste(self._colour, self._last_row)
        self._filled = self._last_pixel()

    def load_read(self, read_bytes: int) -> bytes:
        """Return the next piece of the compressed data, of at most 65,536 bytes; none after the last one."""
        return next(self._pieces, b"")

    def load_end(self) -> None:
        """Read nothing after the pixels."""
        self.png = None

    def load(self) -> Any:
        """Decode the pixels, and compare the last row with what it was filled with.

        Raises:
            BrokenFileError: the row was not in the file.
            OSError: the pixels can't be decoded.
        """
        is_first, pixels = bool(self.tile), super().load()
        if is_first and self._is_as_filled():
            if self._filler != _FILLERS[0]:
                raise BrokenFileError("its pixels end before its last row")
            with WholePng(self._png, _FILLERS[1]) as again:
                again.load()
        return pixels

    def _is_as_filled(self) -> bool:
        if self._last_pixel() != self._filled:  # decides nearly always
            return False
        row = Image.new(self.mode, (self.width, 1))
        row.im.paste(self._colour, (0, 0, *row.size))
        return self.crop(self._last_row).tobytes() == row.tobytes()

    def _last_pixel(self) -> int | tuple[int, ...]:
        return self.im.getpixel((self.width - 1, self._last_row[1]))  # type: ignore[no-any-return]

    @property
    def _colour(self) -> int | tuple[int, ...]:
        channels = len(self.getbands())
        return self._filler[:channels] if channels > 1 else self._filler[0]

    @property
    def _last_row(self) -> tuple[int, int, int, int]:
        """The box of the row that is decoded last: of an interlaced image, the last one with an odd number."""
        interlaced = bool(self.info.get("interlace")) and self.height > 1
        top = self.height - 1 - (self.height % 2 if interlaced else 0)
        return 0, top, self.width, top + 1


class WholeJpeg(JpegImageFile):
    """A JPEG that can't be decoded if its data end before its last pixel.

    A decoder makes such pixels grey, and says nothing if an end mark follows. So where the last pixel has that grey,
    the file is decoded once more with other bytes before the mark. In a progressive JPEG that ends early, the same
    pixels have less detail, and are not noticed.
    """

    def __init__(self, jpeg: ReducedJpeg) -> None:
        self._jpeg, self._place = jpeg, 0
        super().__init__(io.BytesIO(jpeg.head))
        self._pixels = self.width * self.height

    def load_read(self, read_bytes: int) -> bytes:
        """Return the next bytes of the file, at most as many as asked for; none at its end."""
        if head := super().load_read(read_bytes):
            return head
        start, self._place = self._place, self._place + read_bytes
        return bytes(self._jpeg.pixels[start : self._place])

    def load(self) -> Any:
        """Decode the pixels, and look at the last one.

        Raises:
            BrokenFileError: it was not in the file.
            OSError: the pixels can't be decoded.
        """
        is_first, pixels = bool(self.tile), super().load()
        if is_first:
            last = self.im.getpixel((self.width - 1, self.height - 1))
            if _GREY.issuperset(last if isinstance(last, tuple) else (last,)) and not jpeg_file.is_whole(
                self._jpeg, self._pixels
            ):
                raise BrokenFileError("its pixels end before its last row")
        return pixels
