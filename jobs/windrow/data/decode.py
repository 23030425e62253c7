"""Decode image files to one array of pixels, in parallel Spark tasks.

Executors open the files by path, so on a cluster the folder must be on a file system that all of them mount.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windrow.data.folder import Files
from windrow.data.image import to_pixels
from windrow.data.image_files.opening import opened
from windrow.errors import DatasetError
from windrow.files import clear_when_full

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from windrow.experiment import DatasetSection
    from windrow.experiment.values import Fits

# Lower than Pillow's own limit, at which it only warns.
MAX_PIXELS = 80_000_000
MAX_BYTES = 500_000_000
"""The largest file: MAX_PIXELS take 320,000,000 bytes without compression."""
# The most bytes of pixels per Spark job: they pass through the driver's JVM, whose memory is 1 GiB by default.
_JOB_BYTES = 1 << 27
_BATCH_BYTES = 1 << 23
_FILTERS: dict[Fits, tuple[Literal["smooth", "crop"], ...]] = {
    "squash": ("smooth",),
    "crop": ("crop",),
    "both": ("smooth", "crop"),
}


@dataclass(frozen=True)
class DecodedFiles:
    """The images that could be decoded, and the reasons for the others.

    Attributes:
        images: uint8 (n, h, w, c), mapped from a scratch file unless empty; squashed where dataset.fit is both.
        cropped: the same images cropped, uint8 (n, h, w, c); None unless dataset.fit is both.
        labels: int64 (n,).
        names: names of their files.
        left_out: reason for each file that could not be decoded, by its name.
    """

    images: NDArray[np.uint8]
    cropped: NDArray[np.uint8] | None
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Format:
    """The format that every image is converted to. If `resize` is false, an image of a different size is an error.

    `fit` is dataset.fit: how an image of another size is resized.
    """

    height: int
    width: int
    channels: int
    resize: bool
    fit: Fits = "squash"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def bytes(self) -> int:
        """Return the number of bytes of an image's pixels, of both of its forms where `fit` is both."""
        return len(self.filters) * self.height * self.width * self.channels

    @property
    def filters(self) -> tuple[Literal["smooth", "crop"], ...]:
        """Return the arguments `resize` of image.to_pixels, one for each form of an image, the squashed one first."""
        return _FILTERS[self.fit]


@dataclass(frozen=True)
class _Opened:
    """The result of opening one file: size and pixels; only the size if it is not as wanted; or a problem.

    Attributes:
        size: (width, height) of the upright image.
    """

    size: tuple[int, int] | None = None
    pixels: bytes | None = None
    problem: str | None = None


def choose_format(files: Files, section: DatasetSection) -> Format:
    """Return the format to convert images to, as the page's dataset section asks for.

    If `image_size` is None, the format has the size of the first image that can be opened, and images of another size
    are an error. Otherwise images are resized to squares with sides of `image_size` pixels.

    Raises:
        DatasetError: no image can be opened.
    """
    if (side := section.image_size) is not None:
        return Format(side, side, section.channels, resize=True, fit=section.fit)
    for path in files.paths:
        try:
            with opened(_content(path), MAX_PIXELS) as image:
                width, height = _upright_size(image)
        except Exception:  # noqa: S112  Pillow raises almost anything; `decode` lists what can't be opened
            continue
        return Format(height, width, section.channels, resize=False)
    raise DatasetError(
        f"{files.root} must hold images that can be opened; got none of {len(files.paths)}; convert them to PNG"
    )


def decode(files: Files, target: Format, scratch: Path, session: SparkSession) -> DecodedFiles:
    """Decode the files in Spark tasks; return the pixels, the labels, and the reasons for files that can't be decoded.

    The pixels are in an unnamed file in `scratch`, which vanishes with the array.

    Raises:
        DatasetError: images differ in size and `target` does not resize.
        ServiceError: the disk of `scratch` is full.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    left_out: dict[str, str] = {}
    kept = []
    with clear_when_full(scratch), tempfile.TemporaryFile(dir=scratch) as file:
        for index, opened in _open_all(files.paths, target, session):
            if opened.pixels is not None:
                file.write(opened.pixels)
                kept.append(index)
            elif opened.size is not None:
                raise DatasetError(_odd_size(files.name(index), opened.size, target))
            else:
                left_out[files.name(index)] = opened.problem or "not known"
        file.flush()
        forms = _map(file, (len(kept), len(target.filters), *target.shape))
    names = tuple(files.name(index) for index in kept)
    images, cropped = forms[:, 0], forms[:, 1] if len(target.filters) > 1 else None
    return DecodedFiles(images, cropped, files.labels[np.array(kept, np.int64)], names, left_out)


def _map(file: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the file, mapped as an array; an empty array for an empty file, which can't be mapped."""
    return np.memmap(file, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)


def _odd_size(name: str, size: tuple[int, int], target: Format) -> str:
    return (
        f"images must have one size where dataset.image_size is not set; got {target.width} x {target.height} pixels "
        f"and, in {name}, {size[0]} x {size[1]}; set it, e.g. --set dataset.image_size=64"
    )


def _open_all(paths: Sequence[Path], target: Format, session: SparkSession) -> Iterator[tuple[int, _Opened]]:
    """Open every file in Spark tasks, and yield its index and result, in order.

    Each Spark job takes a portion of the files, which bounds the driver's memory.
    """
    import pyarrow as pa

    portion = max(1, _JOB_BYTES // target.bytes)
    schema = "index long, width long, height long, pixels binary, problem string"
    for start in range(0, len(paths), portion):
        # Paths are sent as bytes, because a file's name need not be UTF-8.
        names = [os.fsencode(path) for path in paths[start : start + portion]]
        table = pa.table(
            {"index": pa.array(range(start, start + len(names)), pa.int64()), "path": pa.array(names, pa.binary())}
        )
        frame = session.createDataFrame(table)
        rows = frame.mapInArrow(partial(_open_batches, target=target), schema).toArrow().sort_by("index")
        for batch in rows.to_batches(max_chunksize=max(1, _BATCH_BYTES // target.bytes)):
            yield from map(_from_row, batch.to_pylist())


def _from_row(row: dict[str, Any]) -> tuple[int, _Opened]:
    size = None if row["width"] is None else (row["width"], row["height"])
    return row["index"], _Opened(size, row["pixels"], row["problem"])


def _open_batches(batches: Iterable[pa.RecordBatch], target: Format) -> Iterator[pa.RecordBatch]:
    """Open files on an executor: turn rows (index, path) into rows (index, width, height, pixels, problem).

    A file that can't be opened gives a row with its problem and raises nothing.
    """
    import pyarrow as pa

    rows = max(1, _BATCH_BYTES // target.bytes)
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            opened = [_open(os.fsdecode(path), target) for path in part.column("path").to_pylist()]
            columns = {
                "index": part.column("index"),
                "width": pa.array([one.size[0] if one.size else None for one in opened], pa.int64()),
                "height": pa.array([one.size[1] if one.size else None for one in opened], pa.int64()),
                "pixels": pa.array([one.pixels for one in opened], pa.binary()),
                "problem": pa.array([one.problem for one in opened], pa.string()),
            }
            yield pa.RecordBatch.from_pydict(columns)


def _open(path: str, target: Format) -> _Opened:
    """Decode one file: return size and pixels; only the size if it is wrong and must not be changed; or the problem."""
    try:
        with opened(_content(Path(path)), MAX_PIXELS) as image:
            size = _upright_size(image)
            if not target.resize and size != (target.width, target.height):
                return _Opened(size=size)
            # Pillow decodes the image once, for the first form.
            forms = [to_pixels(image, *target.shape, resize).tobytes() for resize in target.filters]
            return _Opened(size, b"".join(forms))
    except Exception as error:  # one bad file must not fail the task; Pillow's decoders raise almost anything
        return _Opened(problem=_reason(error, path))


def _content(path: Path) -> bytes:
    """Read a file.

    Raises:
        ValueError: it has more than MAX_BYTES bytes.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"a file has at most {MAX_BYTES:,} bytes")
    return content


def _reason(error: Exception, path: str) -> str:
    """Return Pillow's message as text that any encoding can hold, without the path, which is printed next to it."""
    text = (isinstance(error, OSError) and error.strerror) or str(error).replace(repr(path), "").strip()
    return text.encode("utf-8", "backslashreplace").decode() or type(error).__name__


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) after the EXIF orientation is applied."""
    turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size
