"""Compare the labels and scores of a run with those of the runs before it.

PSI, the population stability index, compares two histograms over the same groups. If p is a group's share in this run
and q its share in the earlier runs, PSI is the sum of (p - q) ln(p / q) over the groups: Jeffreys' divergence, 0 for
equal histograms. It is read as in credit scoring, where the index comes from (N. Siddiqi, Credit Risk Scorecards,
2006): below 0.1 nothing has moved, from 0.1 to 0.25 the histogram has moved somewhat, above 0.25 much.

Chance alone moves it. Without any drift, PSI is about (1/n + 1/m) times a chi-squared random number with (groups - 1)
degrees of freedom, where n and m are the numbers of images on the two sides (B. Yurdakul, Statistical Properties of
Population Stability Index, 2018). With 200 images now, seven times as many before, and 20 groups, chance exceeds 0.25
about once in a thousand runs; therefore runs with fewer images are not compared, and there are never more groups. Half
an image is added to each group on both sides, because PSI is infinite if a group is empty on one side only. A group
that is empty on both sides does not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from windrow.scoring.report.figures import Drift, Figures

RUNS = 7
"""Earlier runs to compare with: a week of nightly runs."""
ENOUGH_IMAGES = 200
"""Labelled images that a run needs to be compared, and that an earlier run needs to be compared with."""
SOME, MUCH = 0.1, 0.25

_GROUPS = 20
_ADDED = 0.5  # images per group and side


def compare(now: Figures, before: Iterable[Figures]) -> Drift:
    """Compare a run with those before it, and return its drift.

    Args:
        now: the run's figures.
        before: the figures of earlier runs, newest first. The newest RUNS with the same model version and enough
            labelled images count, but none older than a run that a person accepted in spite of its drift: the labels
            and scores of that run are the new normal.
    """
    earlier = _comparable(now, before)
    images = sum(each.ok for each in earlier)
    if now.ok < ENOUGH_IMAGES:
        reason = f"fewer than {ENOUGH_IMAGES} labelled images are not compared; this run has {now.ok:,}"
        return Drift(reason=reason)
    if not earlier:
        return Drift(reason=f"no earlier run of this model version has {ENOUGH_IMAGES} labelled images")
    names = _groups(now, earlier)
    old, new = _sum(_by_label(each, names) for each in earlier), _by_label(now, names)
    scores = _sum(each.scores for each in earlier)
    moved = _most_moved([*names, "any other"], old, new)
    return Drift(round(psi(old, new), 4), round(psi(scores, now.scores), 4), len(earlier), images, moved)


def psi(before: Sequence[float], now: Sequence[float]) -> float:
    """Return the population stability index (see the module) of two histograms, given as counts of the same groups."""
    if len(before) != len(now):
        raise ValueError(f"two histograms must have the same groups; got {len(before)} and {len(now)}")
    pairs = [(q + _ADDED, p + _ADDED) for q, p in zip(before, now, strict=True) if q or p]
    totals = sum(q for q, _ in pairs), sum(p for _, p in pairs)
    shares = [(q / totals[0], p / totals[1]) for q, p in pairs]
    return sum((p - q) * math.log(p / q) for q, p in shares)


def _comparable(now: Figures, before: Iterable[Figures]) -> list[Figures]:
    found: list[Figures] = []
    for each in before:
        if (each.model_name, each.model_version) != (now.model_name, now.model_version) or not each.scores:
            continue  # a run of another network, or of a version of Windrow that stored no histograms
        if each.ok >= ENOUGH_IMAGES:
            found.append(each)
        if each.drift_accepted or len(found) == RUNS:
            break
    return found


def _groups(now: Figures, earlier: Sequence[Figures]) -> list[str]:
    """Choose the labels that form a group each: the most frequent ones, before and now. All others are one group.

    A label is chosen only if each run either counts it by name or has not seen it at all, so that all counts are exact.
    """
    sides = [now, *earlier]
    known = {label for each in sides for label in each.labels}
    exact = [label for label in known if all(label in each.labels or not each.other_labels for each in sides)]
    shares = {label: sum(each.labels.get(label, 0) / each.ok for each in sides) for label in exact}
    return sorted(exact, key=lambda label: (-shares[label], label))[: _GROUPS - 1]


def _by_label(figures: Figures, names: Sequence[str]) -> list[int]:
    counts = [figures.labels.get(name, 0) for name in names]
    return [*counts, figures.ok - sum(counts)]


def _sum(histograms: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*histograms, strict=True)]


def _most_moved(names: Sequence[str], before: Sequence[int], now: Sequence[int]) -> tuple[str, float, float]:
    shares = [(name, q / sum(before), p / sum(now)) for name, q, p in zip(names, before, now, strict=True)]
    name, old, new = max(shares, key=lambda each: abs(each[2] - each[1]))
    return name, round(old, 4), round(new, 4)


def beyond(found: Drift | None, gate: float | None) -> str:
    """Describe which histograms moved beyond the gate and by how much; return "" if neither did.

    Args:
        found: the run's drift; None if it was not compared.
        gate: the largest PSI that passes; None for no gate.
    """
    if found is None or gate is None:
        return ""
    labels, scores = found.labels, found.scores
    texts = []
    if labels is not None and labels > gate:
        texts.append(f"the labels moved by {labels:.2f}{_example(found)}")
    if scores is not None and scores > gate:
        texts.append(f"the scores moved by {scores:.2f}")
    return " and ".join(texts)


def _example(found: Drift) -> str:
    if found.moved is None:
        return ""
    name, old, new = found.moved
    return f" ({name} most, from {old:.1%} to {new:.1%})"


def reading(value: float) -> str:
    """Say in words how much a histogram with this PSI has moved, by the usual thresholds."""
    return "as before" if value < SOME else "moved somewhat" if value <= MUCH else "moved much"
