"""Collect a few pictures of a run for its gallery: tasks store thumbnails, and the driver chooses among them.

A task stores two kinds of pictures: a sample, which depends on the URLs' keys alone, and the pictures with the lowest
scores. So the driver's choice does not depend on how the run was partitioned. Thumbnails are made in the task, which
has the pixels as the network saw them. They go to small files next to the table, never through Spark.

    TABLE/_windrow/album-RUN/7.jsonl    of task 7: one JSON object per picture, written whole or not at all
"""

from __future__ import annotations

import base64
import heapq
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windrow.data.image_files.opening import opened
from windrow.files import write_text
from windrow.scoring.table.lock import OWN
from windrow.scoring.table.prediction import Prediction, RankedLabel

POOL = 150
"""Expected size of the sample over all tasks."""
UNSURE = 12
"""Pictures with the lowest scores that a task stores."""

LARGEST_SIDE = 128
"""Pixels of a thumbnail's longer side; a smaller picture keeps its size and its pixels."""
_EXAMPLE_LABELS = 12
_LOSSLESS_SIDE = 64
_JPEG_QUALITY = 75
_KEY_DIGITS = 8
_LONGEST_TEXT = 300  # characters
_NO_LABEL: RankedLabel = {"rank": 2, "label_id": -1, "label": "", "score": 0.0}


@dataclass(frozen=True)
class Picture:
    """A labelled image of the gallery. `image` is a data URI. `second` is the second best label; empty if none."""

    url: str
    url_key: str
    label: str
    score: float
    second: str
    second_score: float
    width: int
    height: int
    image: str


@dataclass(frozen=True)
class Album:
    """The folder for the tasks' pictures, and the share of the URLs that is in the sample."""

    folder: str
    share: float

    @property
    def last_key(self) -> str:
        """The largest value of a key's first 8 hexadecimal digits for which the URL is in the sample."""
        return f"{min(int(self.share * 16**_KEY_DIGITS), 16**_KEY_DIGITS - 1):0{_KEY_DIGITS}x}"

    def page(self) -> AlbumPage:
        """Return an empty page, for the pictures of one task."""
        return AlbumPage(self)


@contextmanager
def of_run(table: Path, run_id: str, urls: int) -> Iterator[Album]:
    """Make the album of a run over `urls` URLs. At the end, remove it and any albums that killed runs left behind."""
    try:
        yield Album(str(table / OWN / f"album-{run_id}"), min(1.0, POOL / max(1, urls)))
    finally:
        for folder in (table / OWN).glob("album-*"):
            shutil.rmtree(folder, ignore_errors=True)


class AlbumPage:
    """Collects the pictures of one task while it labels. A row whose picture is not wanted costs two comparisons."""

    def __init__(self, album: Album) -> None:
        self._album = album
        self._last_key = album.last_key
        self._sample: dict[str, Picture] = {}
        self._unsure: list[tuple[float, int, Prediction, NDArray[np.uint8] | bytes]] = []  # a heap; the surest first

    def offer(self, row: Prediction, pixels: NDArray[np.uint8] | bytes) -> None:
        """Add a labelled row's picture if it is in the sample, or if its score is among the lowest so far.

        Args:
            row: a row with labels.
            pixels: the image as uint8 (height, width, channels), or a JPEG file's bytes.
        """
        score = row.score or 0.0
        if row.url_key[:_KEY_DIGITS] <= self._last_key and len(self._sample) < 2 * POOL:
            with suppress(Exception):  # no picture is worth a row
                self._sample[row.url_key] = _picture(row, pixels)
        if len(self._unsure) < UNSURE or score <= -self._unsure[0][0]:
            heapq.heappush(self._unsure, (-score, -int(row.url_key, 16), row, pixels))
            if len(self._unsure) > UNSURE:
                heapq.heappop(self._unsure)

    def write(self, task: int) -> None:
        """Write the task's file, and replace the file of an earlier attempt. A full disk loses pictures, but no row."""
        unsure = {row.url_key: (row, pixels) for *_, row, pixels in self._unsure}
        drawn = []
        for row, pixels in (pair for key, pair in unsure.items() if key not in self._sample):
            with suppress(Exception):
                drawn.append(_picture(row, pixels))
        lines = [json.dumps(asdict(picture)) for picture in (*self._sample.values(), *drawn)]
        folder = Path(self._album.folder)
        if not lines:
            return
        with suppress(OSError):
            write_text(folder / f"{task}.jsonl", "\n".join(lines) + "\n")


def _picture(row: Prediction, pixels: NDArray[np.uint8] | bytes) -> Picture:
    ranking = row.top_k or ()
    second = ranking[1] if len(ranking) > 1 else _NO_LABEL
    uri, width, height = thumbnail(pixels)
    return Picture(
        url=row.url[:_LONGEST_TEXT],
        url_key=row.url_key,
        label=(row.label or "")[:_LONGEST_TEXT],
        score=float(row.score or 0.0),
        second=second["label"][:_LONGEST_TEXT],
        second_score=float(second["score"]),
        width=width,
        height=height,
        image=uri,
    )


def thumbnail(pixels: NDArray[np.uint8] | bytes) -> tuple[str, int, int]:
    """Return a thumbnail as (data URI, width, height). An image of at most 64 pixels a side keeps its exact pixels.

    Args:
        pixels: uint8 (height, width, channels) with 1 or 3 channels, or a valid JPEG file's bytes.
    """
    if isinstance(pixels, bytes):
        with opened(pixels, sys.maxsize) as jpeg:  # its pixels were counted before it was labelled
            image = jpeg.convert("RGB")
    else:
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    kind = "PNG" if max(image.size) <= _LOSSLESS_SIDE else "JPEG"
    content = io.BytesIO()
    image.save(content, kind, quality=_JPEG_QUALITY)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{encoded}", *image.size


@dataclass(frozen=True)
class Chosen:
    """The pictures of a gallery, each in one group only.

    `unsure` is ordered by score, `examples` by label, and `sample` by key.
    """

    unsure: Sequence[Picture] = ()
    examples: Sequence[Picture] = ()
    sample: Sequence[Picture] = ()


def choose(album: Album, most: int = 60) -> Chosen:
    """Choose at most `most` of the pictures that the tasks have stored. The same rows give the same choice.

    First come the pictures with the lowest scores, then up to two examples of each frequent label in the sample. The
    rest of the sample fills the page.
    """
    taken: list[Picture] = []
    pool: dict[str, Picture] = {}
    for picture in _read(album):
        taken = heapq.nsmallest(UNSURE, [*taken, picture], key=lambda each: (each.score, each.url_key))
        if picture.url_key[:_KEY_DIGITS] <= album.last_key:
            pool[picture.url_key] = picture
    for picture in taken:
        pool.pop(picture.url_key, None)
    by_key = [pool[key] for key in sorted(pool)]
    shown = _of_each_label(by_key)
    rest = [picture for picture in by_key if picture not in shown]
    return Chosen(taken, shown, rest[: most - len(taken) - len(shown)])


def _of_each_label(pictures: Sequence[Picture]) -> list[Picture]:
    counts = Counter(picture.label for picture in pictures)
    order = sorted(counts, key=lambda label: (-counts[label], label))[:_EXAMPLE_LABELS]
    listed = [[picture for picture in pictures if picture.label == label][:2] for label in order]
    return [picture for label in sorted(listed, key=lambda each: each[0].label) for picture in label]


def _read(album: Album) -> Iterator[Picture]:
    for path in sorted(Path(album.folder).glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield Picture(**json.loads(line))
