"""Draw a network on the test split as PNG files: confusion matrix, misclassified images, reliability of confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.looks import style
from windrow.plural import counted
from windrow.selection import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from windrow.selection.metrics import Calibration
    from windrow.selection.readout import Readout

_MOST_COUNTS = 20  # with more classes, cells show no counts
_MOST_NAMES = 40  # with more classes, not every class is named
_COLUMNS = 6
_CELL = (style.WIDTH / _COLUMNS, 0.95)
"""Width and height of a misclassified image's cell, in inches."""
_NAMES, _GAP = 0.22, 0.08
"""Height of the names at the top of a cell, and the room between two images, in inches."""
_SMALL_EXCESS = 0.005
_LONGEST_NAME = 12  # characters


def draw(read: Readout, images: Any, labels: Sequence[str], warn: Callable[[str], None] = print) -> dict[str, bytes]:
    """Draw every picture of a network; return {file name: content of the PNG}.

    A picture that can't be drawn is left out: the training before it is worth more.

    Args:
        read: the network's predictions on the test split.
        images: the test split's images, uint8 (n, height, width, channels).
        labels: the names of all classes, in order.
        warn: gets a sentence for each picture that can't be drawn.
    """
    draws: dict[str, Callable[[], bytes | None]] = {
        "confusion.png": lambda: confusion(metrics.confusion(read, len(labels)), labels),
        "misclassified.png": lambda: misclassified(images, read.truth, read.predicted, labels),
        "reliability.png": lambda: None if (found := metrics.calibration(read)) is None else reliability(found),
    }
    drawn = {}
    for name, picture in draws.items():
        try:
            content = picture()
        except Exception as error:
            warn(f"{name} is missing, because drawing it failed with {type(error).__name__}: {error}")
            continue
        if content is not None:
            drawn[name] = content
    return drawn


def confusion(counts: Any, labels: Sequence[str]) -> bytes:
    """Return a picture of the confusion matrix.

    Args:
        counts: images by true class (row) and predicted class (column), int (classes, classes).

    Returns:
        A PNG. Mistakes are coloured by their number; the diagonal is not coloured, because it would dominate.
    """
    wrong = counts - np.diag(np.diag(counts))
    with style.applied():
        drawn, axes = style.axes(4.3)
        shown = np.ma.masked_equal(wrong, 0)
        axes.imshow(shown, cmap=style.SEQUENTIAL + "_r", vmin=0, vmax=max(1, wrong.max()))
        axes.plot(*[range(len(labels))] * 2, color=style.HAIRLINE, lw=0 if len(labels) <= _MOST_COUNTS else 1)
        if len(labels) <= _MOST_COUNTS:
            _write_counts(axes, counts, int(wrong.max()))
        _name_classes(axes, labels)
        return style.png(drawn, _confusion_title(counts, wrong, labels))


def _write_counts(axes: Axes, counts: Any, most_wrong: int) -> None:
    size = 8 if len(counts) <= 12 else 5.5
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = row != column and count > 0.5 * most_wrong
            colour = style.PAPER if dark else style.QUIET if row == column else style.INK
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=size, color=colour)


def _name_classes(axes: Axes, labels: Sequence[str]) -> None:
    step = math.ceil(len(labels) / _MOST_NAMES)
    places = list(range(0, len(labels), step))
    names = [_short(labels[place]) for place in places]
    size = 8 if len(places) <= 12 else 6
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true class")


def _confusion_title(counts: Any, wrong: Any, labels: Sequence[str]) -> str:
    images, mistakes = int(counts.sum()), int(wrong.sum())
    if not mistakes:
        return f"{counted(images, 'test image')}, all labelled right"
    row, column = map(int, np.unravel_index(int(wrong.argmax()), wrong.shape))
    often = counted(int(wrong[row, column]), "time")
    return f"{_wrong(images, mistakes)}; most often {_short(labels[row])} as {_short(labels[column])}, {often}"


def _wrong(images: int, mistakes: int) -> str:
    return f"{mistakes:,} of {counted(images, 'test image')} {'is' if mistakes == 1 else 'are'} labelled wrong"


def misclassified(images: Any, truth: Any, predicted: Any, labels: Sequence[str], most: int = 36) -> bytes:
    """Return a picture of the misclassified images, each with "true → predicted".

    Args:
        images: uint8 (n, height, width, channels), grey or RGB.
        truth, predicted: int (n,), indices into `labels`.
        most: the most images to show; of more mistakes, a selection that is evenly spread over the split is shown.

    Returns:
        A PNG.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    wrong = np.flatnonzero(truth != predicted)
    shown = wrong if len(wrong) <= most else wrong[np.linspace(0, len(wrong) - 1, most).astype(int)]
    height = _CELL[1] * max(1, math.ceil(len(shown) / _COLUMNS))
    with style.applied():
        drawn = style.figure(height)
        drawn.set_layout_engine("none")
        # One Axes in inches: with one for each image, Matplotlib takes a second to lay them out.
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        for place, index in enumerate(shown):
            row, column = divmod(place, _COLUMNS)
            corner = column * _CELL[0], row * _CELL[1]
            _show_image(axes, images[index], corner, labels[truth[index]], labels[predicted[index]])
        axes.set(xlim=(0, style.WIDTH), ylim=(height, 0))
        if not len(shown):
            drawn.text(0.5, 0.5, "none", ha="center", va="center", color=style.QUIET)
        return style.png(drawn, _misclassified_title(len(truth), len(wrong), len(shown)))


def _show_image(axes: Axes, image: Any, corner: tuple[float, float], true: str, predicted: str) -> None:
    """Draw an image with its names above, in a cell whose upper left corner is given, in inches from the top."""
    middle, top = corner[0] + _CELL[0] / 2, corner[1] + _NAMES
    text, size = _names(true, predicted)
    axes.text(middle, top - 0.03, text, fontsize=size, ha="center", va="bottom", linespacing=1)
    height, width = image.shape[:2]
    scale = min((_CELL[0] - _GAP) / width, (_CELL[1] - _NAMES - _GAP) / height)
    sides = middle - scale * width / 2, middle + scale * width / 2, top + scale * height, top
    grey = image.shape[-1] == 1
    shown = image[..., 0] if grey else image
    axes.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=255, extent=sides, aspect="auto")


def _names(true: str, predicted: str) -> tuple[str, float]:
    """Return "true → predicted" as it fits into a cell, and its size in points; long names stand on two lines."""
    text = f"{_short(true)} → {_short(predicted)}"
    if len(text) <= 9:
        return text, 8
    return (text if len(text) <= 15 else f"{_short(true)} →\n{_short(predicted)}"), 5.5


def _misclassified_title(images: int, wrong: int, shown: int) -> str:
    if not wrong:
        return f"None of {counted(images, 'test image')} is labelled wrong"
    told = f"{_wrong(images, wrong)}: true → predicted"
    return told if shown == wrong else f"{told}; {shown} of them"


def reliability(found: Calibration) -> bytes:
    """Draw accuracy over confidence, a dot per bin, each with its number of images; return a PNG."""
    with style.applied():
        drawn, axes = style.axes(3.6)
        axes.plot([0, 1], [0, 1], color=style.QUIET, lw=0.8)
        axes.text(0.98, 0.03, "on the line: as often right as it says", ha="right", color=style.QUIET, fontsize=8)
        axes.vlines(found.confidence, found.confidence, found.accuracy, color=style.HAIRLINE, lw=3)
        # A dot's area follows its images, because a bin of two images says little.
        axes.scatter(found.confidence, found.accuracy, 6 + 90 * found.images / found.images.sum(), style.OK, zorder=3)
        for x, y, images in zip(found.confidence, found.accuracy, found.images, strict=True):
            at = (0, 7) if y >= x else (0, -13)
            axes.annotate(f"{images:,}", (x, y), at, textcoords="offset points", ha="center", fontsize=6.5)
        axes.set(xlim=(0, 1.04), ylim=(-0.06, 1.08))
        axes.set_xlabel("confidence: probability of the predicted class")
        axes.set_ylabel("accuracy; numbers are test images")
        return style.png(drawn, _reliability_title(found))


def _reliability_title(found: Calibration) -> str:
    ece, excess = f"expected calibration error {found.error:.3f}", found.excess
    if abs(excess) < _SMALL_EXCESS:
        return f"Confidence is what accuracy is, on average; {ece}"
    return f"Confidence is {abs(excess):.3f} too {'high' if excess > 0 else 'low'} on average; {ece}"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
