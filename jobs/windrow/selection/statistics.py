"""Compute confidence intervals and a significance test. Accuracies are in 0..1; hits are bool (n,), one per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]

LEVEL = 0.95
"""Confidence level of every interval here."""

_RESAMPLES = 9_999
_BATCH = 250  # resamples at once: with 10,000 images they take 20 MB
_SEED = 0  # fixed, so that the same hits give the same interval


@dataclass(frozen=True)
class Interval:
    """A confidence interval, from low to high, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images.

    Attributes:
        p: p-value of McNemar's exact two-sided test: the probability of at least this difference by luck alone.
        difference: the first network's accuracy minus the second's.
        interval: confidence interval of the difference.
    """

    p: float
    difference: float
    interval: Interval


@dataclass(frozen=True)
class Spread:
    """Summary of test accuracies over seeds. `deviation` is the sample standard deviation; 0 for a single seed."""

    seeds: int
    mean: float
    median: float
    deviation: float
    low: float
    high: float


def wilson(hits: int, images: int) -> Interval:
    """Return the confidence interval of an accuracy.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), without
    continuity correction; computed by scipy.stats.binomtest.
    """
    from scipy import stats

    interval = stats.binomtest(hits, images).proportion_ci(LEVEL, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def most_frequent_share(labels: NDArray[np.int64]) -> float:
    """Return the share of the most frequent label, 0..1: the accuracy of always answering with it.

    Args:
        labels: int64 (n,), 0 or more, at least one.
    """
    return float(np.bincount(labels).max() / len(labels))


def compare(first: Hits, second: Hits) -> Comparison:
    """Return the comparison of two networks by their hits on the same images, in the same order."""
    difference = first.astype(np.int8) - second.astype(np.int8)
    return Comparison(mcnemar(first, second), float(difference.mean()), bootstrap(difference))


def mcnemar(first: Hits, second: Hits) -> float:
    """Return the two-sided p-value of the hypothesis that both networks are wrong equally often.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), in its exact form: by the hypothesis, of the images that only one network labels correctly,
    each network is expected to have half. This is scipy.stats.binomtest with 0.5.
    """
    from scipy import stats

    first_only, second_only = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    if first_only + second_only == 0:
        return 1.0
    return float(stats.binomtest(first_only, first_only + second_only, 0.5).pvalue)


def bootstrap(difference: NDArray[np.int8]) -> Interval:
    """Return the bootstrap interval of the mean of per-image differences, int8 (n,) in -1..1, by resampling images.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979); the percentile
    method of scipy.stats.bootstrap.
    """
    from scipy import stats

    if np.all(difference == difference[0]):  # all resamples are equal, about which scipy would warn
        return Interval(float(difference[0]), float(difference[0]))
    drawn: Any = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return Interval(float(drawn.confidence_interval.low), float(drawn.confidence_interval.high))


def spread(accuracies: Sequence[float]) -> Spread:
    """Return a summary of accuracies, at least one; the deviation of a single one is 0."""
    deviation = stdev(accuracies) if len(accuracies) > 1 else 0.0
    return Spread(len(accuracies), mean(accuracies), median(accuracies), deviation, min(accuracies), max(accuracies))
