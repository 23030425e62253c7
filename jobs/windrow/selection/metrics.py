"""Compute a network's metrics on the test split: per class, macro-F1, and how far its confidence can be trusted.

All are scikit-learn's, except the weighted mean of its calibration curve, which is the expected calibration error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from windrow.markdown import escaped
from windrow.plural import counted

if TYPE_CHECKING:
    from windrow.selection.readout import Readout

BINS = 15
"""Bins of confidence, as in the source of the expected calibration error."""

MOST_CLASSES = 20
"""With more classes, MLflow gets no metric per class."""

MOST_ROWS = 10
"""With more classes, the table has so many of them, those with the lowest recall."""

_MOST_CONFUSIONS = 5
_LONGEST_NAME = 40  # characters


class ClassFigures(TypedDict):
    """A class on the test split. Recall and F1 are None without test images, precision without predictions.

    `images` counts its test images, `predicted` the test images that were labelled so.
    """

    label: str
    images: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


class MetricFigures(TypedDict):
    """A network's metrics on the test split; `ece` is the expected calibration error, None if unknown."""

    macro_f1: float
    ece: float | None
    classes: list[ClassFigures]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Confidence and accuracy by bin of confidence, for the bins that have images.

    Attributes:
        confidence: mean probability of the predicted label, float (bins,) in 0..1, ascending.
        accuracy: share of images that were classified correctly, float (bins,) in 0..1.
        images: number of images, int (bins,).
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    images: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1: the mean distance between confidence and accuracy over all images.

        Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, equation 3.
        """
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.images))

    @property
    def excess(self) -> float:
        """Mean confidence minus accuracy, -1..1: above 0 if the network is right less often than it says."""
        return float(np.average(self.confidence - self.accuracy, weights=self.images))


def macro_f1(read: Readout) -> float:
    """Return the mean of the classes' F1, 0..1, over the classes that have test images.

    A class that only predictions have, as one added since the champion was trained may be, has no F1 to count. The
    images that were labelled so are missed in their own classes.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(read.truth, read.predicted, labels=np.unique(read.truth), average="macro", zero_division=0))


def calibration(read: Readout) -> Calibration | None:
    """Compare confidence with accuracy in bins of equal width; None if the confidences were not kept."""
    from sklearn.calibration import calibration_curve

    if read.confidence is None:
        return None
    # Sums in float32 may end just above 1, which scikit-learn refuses. A confidence that is NaN counts as 0.
    confidence = np.nan_to_num(read.confidence.astype(np.float64), nan=0.0).clip(0, 1)
    accuracy, mean = calibration_curve(read.hits.astype(int), confidence, n_bins=BINS)
    # scikit-learn returns no counts; these are of the same bins, which include their upper ends.
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence))
    return Calibration(mean, accuracy, counts[counts > 0])


def confusion(read: Readout, classes: int) -> NDArray[np.int64]:
    """Count images by true class (row) and predicted class (column), int64 (classes, classes)."""
    from sklearn.metrics import confusion_matrix

    counted: NDArray[np.int64] = confusion_matrix(read.truth, read.predicted, labels=range(classes))
    return counted


def figures(read: Readout, labels: Sequence[str]) -> MetricFigures:
    """Return the metrics as JSON values; `labels` are the names of all classes, in order."""
    found = calibration(read)
    return {
        "macro_f1": macro_f1(read),
        "ece": None if found is None else found.error,
        "classes": _classes(read, labels),
    }


def _classes(read: Readout, labels: Sequence[str]) -> list[ClassFigures]:
    from sklearn.metrics import precision_recall_fscore_support

    every = range(len(labels))
    precision, recall, f1, images = precision_recall_fscore_support(
        read.truth, read.predicted, labels=every, zero_division=np.nan
    )
    predicted = np.bincount(read.predicted, minlength=len(labels))
    return [
        {
            "label": labels[each],
            "images": int(images[each]),
            "predicted": int(predicted[each]),
            "precision": _known(precision[each]),
            "recall": _known(recall[each]),
            "f1": _known(f1[each]) if images[each] else None,
        }
        for each in every
    ]


def _known(value: float) -> float | None:
    """Return None for what is not defined: the recall of a class without images, the precision of one never given."""
    return None if np.isnan(value) else float(value)


def worst(classes: Iterable[ClassFigures]) -> list[ClassFigures]:
    """Sort the classes that have images, the lowest recall first; of equal ones, the one with more images first."""
    known = [each for each in classes if each["recall"] is not None]
    return sorted(known, key=lambda each: (each["recall"], -each["images"]))


def text(found: MetricFigures, read: Readout) -> str:
    """Describe the challenger's metrics in Markdown: a sentence, a table of the classes, and the largest confusions.

    Args:
        found: what `figures` returned for `read`.
        read: the challenger's predictions on the test split.
    """
    classes = found["classes"]
    shown = classes if len(classes) <= MOST_ROWS else worst(classes)[:MOST_ROWS]
    ece = "" if found["ece"] is None else f", expected calibration error {found['ece']:.4f} ({BINS} bins)"
    which = (
        "" if len(shown) == len(classes) else f" The {len(shown)} of {len(classes):,} classes with the lowest recall:"
    )
    rows = [
        f"| {_cell(each['label'])} | {each['images']:,} | {each['predicted']:,} | "
        f"{_share(each['precision'])} | {_share(each['recall'])} | {_share(each['f1'])} |"
        for each in shown
    ]
    head = ["| class | test images | predicted | precision | recall | F1 |", "|---|---|---|---|---|---|"]
    on = counted(read.images, "test image")
    table = [f"The challenger on {on}: macro-F1 {found['macro_f1']:.4f}{ece}.{which}\n", *head, *rows]
    return "\n".join([*table, *_confusions(classes, confusion(read, len(classes)))])


def _confusions(classes: Sequence[ClassFigures], counts: NDArray[np.int64]) -> list[str]:
    """Return lines of Markdown with the largest confusions, none without an error.

    Of equal ones, the one of the class with fewer images comes first.
    """
    wrong = counts - np.diag(np.diag(counts))
    kinds = [(int(true), int(given)) for true, given in np.argwhere(wrong)]
    kinds.sort(key=lambda kind: (-wrong[kind], classes[kind[0]]["images"]))
    if not kinds:
        return []
    shown = kinds[:_MOST_CONFUSIONS]
    title = "Confusions" if len(shown) == len(kinds) else f"The {len(shown)} largest of {len(kinds):,} confusions"
    names = [_cell(each["label"]) for each in classes]
    return [
        f"\n{title}:\n",
        *(
            f"- {names[true]} taken for {names[given]}: {wrong[true, given]:,} of {classes[true]['images']:,}"
            for true, given in shown
        ),
    ]


def _cell(label: str) -> str:
    short = label if len(label) <= _LONGEST_NAME else f"{label[: _LONGEST_NAME - 1]}…"
    return escaped(short)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
