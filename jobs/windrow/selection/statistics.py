"""Compute confidence intervals, a significance test, and how many images a comparison needs.

Accuracies and macro-F1 are in 0..1; hits are bool (n,), one per image; labels are int64 (n,), 0 or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
Labels = NDArray[np.int64]

LEVEL = 0.95
"""Confidence level of every interval here."""

LEAST_IMAGES = 30
"""A lead on fewer test images is left to a person: a single image then moves an accuracy by more than three
points, and its 95 % interval can be wider than 34 points."""

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


def most_frequent_share(labels: Labels) -> float:
    """Return the share of the most frequent label, at least one, 0..1: the accuracy of always answering with it."""
    return float(np.bincount(labels).max() / len(labels))


def guessed_macro_f1(labels: Labels) -> float:
    """Return the macro-F1 of the best way to guess, 0..1: one divided by the number of classes that occur.

    A guess that does not look at the image and answers with class k in a share q of the cases has, on average, the
    precision p and the recall q in a class with the share p, so its F1 is 2pq / (p + q). The sum over the classes is
    highest where q = p, as the method of Lagrange multipliers shows: then F1 = p, and the mean is 1 / classes. Always
    answering with the most frequent class has less: 2p / (1 + p) / classes.
    """
    return 1 / len(np.unique(labels))


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
    if np.all(difference == difference[0]):  # all resamples are equal, about which scipy would warn
        return Interval(float(difference[0]), float(difference[0]))
    return _bootstrap((difference,), np.mean)


def macro_f1_interval(truth: Labels, predicted: Labels) -> Interval:
    """Return the bootstrap interval of a macro-F1, by resampling images.

    Simulated guesses on 40 to 1,000 images, balanced or with a class of 2 %, have an interval above guessed_macro_f1 in
    at most 2.5 % of the cases, as Wilson's interval has for accuracies.
    """
    if len(truth) == 1:
        value = float(np.equal(truth, predicted)[0])
        return Interval(value, value)
    classes = int(max(truth.max(), predicted.max())) + 1
    return _bootstrap((truth, predicted), lambda true, answer, axis: _macro_f1(true, answer, classes))


def macro_f1_lead(first_truth: Labels, first: Labels, second_truth: Labels, second: Labels) -> Interval:
    """Return the bootstrap interval of the first network's macro-F1 minus the second's, by resampling images.

    Args:
        first_truth, first: true and predicted labels, as the first network numbers the classes.
        second_truth, second: those of the same images, as the second network numbers the classes.
    """
    if len(first_truth) == 1:  # there is only one resample
        difference = float(first[0] == first_truth[0]) - float(second[0] == second_truth[0])
        return Interval(difference, difference)
    labels = (first_truth, first, second_truth, second)
    classes = int(max(each.max() for each in labels)) + 1

    def lead(one_truth: Labels, one: Labels, other_truth: Labels, other: Labels, axis: int) -> NDArray[np.float64]:
        return _macro_f1(one_truth, one, classes) - _macro_f1(other_truth, other, classes)

    return _bootstrap(labels, lead)


def _macro_f1(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.float64]:
    """Return the macro-F1 of each row of labels, (..., n), over the classes that are true labels in the row.

    It is scikit-learn's f1_score with labels=np.unique(truth), which takes one row only.
    """
    true, answers = truth.reshape(-1, truth.shape[-1]), predicted.reshape(-1, truth.shape[-1])
    start = np.arange(len(true))[:, None] * classes

    def count(labels: Labels, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        places = (labels + start).ravel()
        return np.bincount(places, weights, len(true) * classes).reshape(len(true), classes).astype(np.float64)

    images = count(true)
    seen = images + count(answers)
    found = count(true, np.equal(true, answers).ravel().astype(np.float64))
    f1 = np.divide(2 * found, seen, out=np.zeros_like(seen), where=seen > 0)
    mean_f1: NDArray[np.float64] = f1.sum(axis=1) / np.count_nonzero(images, axis=1)
    return mean_f1.reshape(truth.shape[:-1])


def _bootstrap(samples: tuple[NDArray[Any], ...], statistic: Callable[..., Any]) -> Interval:
    """Return the percentile interval of a statistic of paired samples, each (n,), by resampling images."""
    from scipy import stats

    drawn: Any = stats.bootstrap(
        samples,
        statistic,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        vectorized=True,
        paired=len(samples) > 1,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return Interval(float(drawn.confidence_interval.low), float(drawn.confidence_interval.high))


def mean_over_seeds(differences: NDArray[np.float64]) -> tuple[float, Interval]:
    """Return the mean of one difference for each seed, float64 (s,) with s at least 2, and its t interval."""
    return _t_interval(float(differences.mean()), (float(differences.var(ddof=1)) / len(differences), len(differences)))


def mean_over_images_and_seeds(differences: NDArray[np.int8]) -> tuple[float, Interval]:
    """Return the mean difference of two configurations' hits, and its interval for other images and other seeds.

    Images and seeds are crossed random effects, whose variances add up. The part that a seed and an image have only
    together, such as an image at the border that each training decides anew, is in the variance of the images' means as
    well as in that of the seeds' means, so it is taken out of the former. The degrees of freedom are Satterthwaite's,
    "An approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946).

    Args:
        differences: hits of the first minus those of the second, int8 (s, n) in -1..1, with s and n at least 2.
    """
    seeds, images = differences.shape
    mean_all, by_seed, by_image = differences.mean(), differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_image + mean_all
    together = float((rest**2).sum()) / ((seeds - 1) * (images - 1)) / (seeds * images)
    of_images = max(0.0, float(by_image.var(ddof=1)) / images - together)
    of_seeds = max(together, float(by_seed.var(ddof=1)) / seeds)
    return _t_interval(float(mean_all), (of_images, images), (of_seeds, seeds))


def _t_interval(middle: float, *parts: tuple[float, int]) -> tuple[float, Interval]:
    """Return a mean and its interval.

    Args:
        parts: the parts of the mean's variance, each with the number of values that it was estimated from.
    """
    from scipy import stats

    variance = sum(part for part, _ in parts)
    if variance == 0:
        return middle, Interval(middle, middle)
    freedom = variance**2 / sum(part**2 / (count - 1) for part, count in parts)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return middle, Interval(middle - half, middle + half)


def spread(accuracies: Sequence[float]) -> Spread:
    """Return a summary of accuracies, at least one; the deviation of a single one is 0."""
    deviation = stdev(accuracies) if len(accuracies) > 1 else 0.0
    return Spread(len(accuracies), mean(accuracies), median(accuracies), deviation, min(accuracies), max(accuracies))
