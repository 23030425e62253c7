"""Describe what a network loses at a lower precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrecisionLoss:
    """The loss of a network at a lower precision, measured on the page's images (scoring/network/low_precision.py).

    Attributes:
        type: the lower precision.
        runtime: the library that computes in it.
        images: number of images that were compared.
        same_labels: share of the images that keep their label.
        score_change_mean, score_change_max: absolute change of the best label's score.
        accuracy_as_it_is, accuracy: accuracy before and after; None if the images' true classes are not known.
    """

    type: str
    runtime: str
    images: int = 0
    same_labels: float | None = None
    score_change_mean: float | None = None
    score_change_max: float | None = None
    accuracy_as_it_is: float | None = None
    accuracy: float | None = None
