"""Whether a run's labels and scores are spread as those of the runs before it.

PSI, the population stability index, compares two histograms over the same groups. With the shares p of this run and q
of the earlier ones it is the sum of (p - q) ln(p / q): Jeffreys' divergence, 0 where they are the same. The usual
reading is that of credit scoring, where it comes from (N. Siddiqi, Credit Risk Scorecards, 2006): below 0.1 nothing has
moved, from 0.1 on somewhat, above 0.25 much.

Chance alone moves it: without any drift it is about (1/n + 1/m) times a chi-squared number of (groups - 1) degrees of
freedom, n and m being the images on either side (B. Yurdakul, Statistical Properties of Population Stability Index,
2018). With 200 images, seven times as many before, and 20 groups, chance exceeds 0.25 about once in a thousand runs;
therefore fewer images, and more groups, are not compared. Half an image is added to each group on both sides, so that
one that is empty on one side makes no infinity; what is empty on both is no group.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windrow.scoring.fetch.status import Status

RUNS = 7
"""Earlier runs that are looked back on: a week of nights."""
ENOUGH_IMAGES = 200
"""Labelled images that a run must have to be compared, and to be compared with."""
SOME, MUCH = 0.1, 0.25

_GROUPS = 20
_ADDED = 0.5  # images a group and side

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Drift:
    """How far a run has moved; None where it can't be compared, for the `reason`.

    Attributes:
        labels, scores: the PSI of the labels and of the scores' ten bins.
        runs, images: what it was compared with.
        moved: the label whose share has moved most, with that share before and now.
    """

    labels: float | None = None
    scores: float | None = None
    runs: int = 0
    images: int = 0
    moved: tuple[str, float, float] | None = None
    reason: str = ""

    def figures(self) -> dict[str, Any]:
        """As the run's figures have it."""
        return {
            "psi_labels": None if self.labels is None else round(self.labels, 4),
            "psi_scores": None if self.scores is None else round(self.scores, 4),
            "drift": {"runs": self.runs, "images": self.images, "moved": self.moved, "reason": self.reason},
        }


def compare(now: Figures, before: Iterable[Figures]) -> Drift:
    """A run beside those before it.

    Args:
        now: its figures (figures.measure).
        before: those of earlier runs, newest first. Of them count the newest RUNS with the same model version and
            enough labelled images; none that is older than one that a person accepted in spite of its drift, which
            begins a new normal.
    """
    earlier = _comparable(now, before)
    images = sum(_images(each) for each in earlier)
    if _images(now) < ENOUGH_IMAGES:
        reason = f"fewer than {ENOUGH_IMAGES} labelled images are not compared; this run has {_images(now):,}"
        return Drift(reason=reason)
    if not earlier:
        return Drift(reason=f"no earlier run of this model version has {ENOUGH_IMAGES} labelled images")
    names = _groups(now, earlier)
    old, new = _sum(_by_label(each, names) for each in earlier), _by_label(now, names)
    scores = _sum(each["scores"] for each in earlier)
    moved = _most_moved([*names, "any other"], old, new)
    return Drift(psi(old, new), psi(scores, now["scores"]), len(earlier), images, moved)


def psi(before: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two histograms, counts by the same groups; see the module's text."""
    if len(before) != len(now):
        raise ValueError(f"two histograms must have the same groups; got {len(before)} and {len(now)}")
    pairs = [(q + _ADDED, p + _ADDED) for q, p in zip(before, now, strict=True) if q or p]
    totals = sum(q for q, _ in pairs), sum(p for _, p in pairs)
    shares = [(q / totals[0], p / totals[1]) for q, p in pairs]
    return sum((p - q) * math.log(p / q) for q, p in shares)


def _comparable(now: Figures, before: Iterable[Figures]) -> list[Figures]:
    found: list[Figures] = []
    model = now["model_name"], now["model_version"]
    for each in before:
        if (each["model_name"], each["model_version"]) != model or "scores" not in each:
            continue  # another network's, or of a Windrow that kept no histograms
        if _images(each) >= ENOUGH_IMAGES:
            found.append(each)
        if each.get("drift_accepted") or len(found) == RUNS:
            break
    return found


def _images(figures: Figures) -> int:
    return int(figures["statuses"].get(Status.OK, 0))


def _groups(now: Figures, earlier: Sequence[Figures]) -> list[str]:
    """The labels that are groups of their own, the most frequent ones before and now.

    Only those whose number every run has kept, or that it has not seen at all: all counts are exact.
    """
    sides = [now, *earlier]
    known = {label for each in sides for label in each["labels"]}
    exact = [label for label in known if all(label in each["labels"] or not each["other_labels"] for each in sides)]
    shares = {label: sum(each["labels"].get(label, 0) / _images(each) for each in sides) for label in exact}
    return sorted(exact, key=lambda label: (-shares[label], label))[: _GROUPS - 1]


def _by_label(figures: Figures, names: Sequence[str]) -> list[int]:
    counts = [int(figures["labels"].get(name, 0)) for name in names]
    return [*counts, _images(figures) - sum(counts)]


def _sum(histograms: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*histograms, strict=True)]


def _most_moved(names: Sequence[str], before: Sequence[int], now: Sequence[int]) -> tuple[str, float, float]:
    shares = [(name, q / sum(before), p / sum(now)) for name, q, p in zip(names, before, now, strict=True)]
    name, old, new = max(shares, key=lambda each: abs(each[2] - each[1]))
    return name, round(old, 4), round(new, 4)


def beyond(figures: Figures, gate: float | None) -> str:
    """Which distribution of a run moved by more than the gate and by how much, in words; empty if none did.

    Args:
        figures: the run's, with those of its drift.
        gate: a PSI; None: nothing is beyond it.
    """
    labels, scores = figures.get("psi_labels"), figures.get("psi_scores")
    told = []
    if gate is not None and labels is not None and labels > gate:
        name, old, new = figures["drift"]["moved"]
        told.append(f"the labels moved by {labels:.2f} ({name} most, from {old:.1%} to {new:.1%})")
    if gate is not None and scores is not None and scores > gate:
        told.append(f"the scores moved by {scores:.2f}")
    return " and ".join(told)


def word(value: float) -> str:
    """What a PSI is taken to mean."""
    return "as before" if value < SOME else "moved somewhat" if value <= MUCH else "moved much"
