"""Draw a network's mistakes as PNG files: the confusion matrix, and the misclassified images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.looks import style
from windrow.plural import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_COUNTS = 20  # with more classes, cells show no counts
_MOST_NAMES = 40  # with more classes, not every class is named
_COLUMNS = 6
_LONGEST_NAME = 12  # characters


def confusion(truth: Any, predicted: Any, labels: Sequence[str]) -> bytes:
    """Return a picture of the confusion matrix.

    Args:
        truth, predicted: int (n,), indices into `labels`.

    Returns:
        A PNG. Mistakes are coloured by their number; the diagonal is not coloured, because it would dominate.
    """
    counts = confusion_counts(truth, predicted, len(labels))
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


def confusion_counts(truth: Any, predicted: Any, classes: int) -> Any:
    """Count images by true class (row) and predicted class (column), int (classes, classes)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(truth), np.asarray(predicted)), 1)
    return counts


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
    rows = max(1, math.ceil(len(shown) / _COLUMNS))
    with style.applied():
        drawn = style.figure(0.95 * rows)
        for place, index in enumerate(shown):
            axes = drawn.add_subplot(rows, _COLUMNS, place + 1)
            _show_image(axes, images[index])
            names = f"{_short(labels[truth[index]])} → {_short(labels[predicted[index]])}"
            axes.set_title(names, fontsize=8 if len(names) <= 9 else 5.5, loc="center", pad=2)
        if not len(shown):
            drawn.text(0.5, 0.5, "none", ha="center", va="center", color=style.QUIET)
        return style.png(drawn, _misclassified_title(len(truth), len(wrong), len(shown)))


def _show_image(axes: Axes, image: Any) -> None:
    grey = image.shape[-1] == 1
    axes.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255)
    axes.set_axis_off()


def _misclassified_title(images: int, wrong: int, shown: int) -> str:
    if not wrong:
        return f"None of {counted(images, 'test image')} is labelled wrong"
    told = f"{_wrong(images, wrong)}: true → predicted"
    return told if shown == wrong else f"{told}; {shown} of them"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
