"""Define why a file gives no image."""

from __future__ import annotations


class ImageFileError(Exception):
    """A file gives no image; the message is the reason, for the user."""


class NotAnImageError(ImageFileError):
    """A file of another kind, or one whose size can't be read."""


class BrokenFileError(ImageFileError):
    """A file that begins as an image, and is damaged or of a variant that can't be decoded."""


class TooManyPixelsError(ImageFileError):
    """An image with more pixels than are allowed; `size` is (width, height) by the file's header."""

    def __init__(self, message: str, size: tuple[int, int] | None = None) -> None:
        self.size = size
        super().__init__(message)
