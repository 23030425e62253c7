"""Collect the test figures behind a decision, as values and as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from windrow.data.splits import StoredFit
from windrow.markdown import escaped
from windrow.plural import counted
from windrow.selection import metrics
from windrow.selection.common_images import RegisteredChampion, Rival
from windrow.selection.finalists import Final, Finalist, Repeat
from windrow.selection.metrics import MetricFigures
from windrow.selection.promotion_result import (
    ComparisonFigures,
    IntervalFigures,
    NetworkFigures,
    SpreadFigures,
)
from windrow.selection.readout import Readout
from windrow.selection.statistics import Comparison, Interval, Spread, compare, guessed_macro_f1, spread, wilson

CHALLENGER, CHAMPION = "challenger", "champion"
"""Names of the two registered networks among those that are evaluated."""

COMPARED = "challenger_compared"
"""Name of the challenger's row on the images that the champion is compared on, if these are not all test images."""

WITHOUT_NEAR_COPIES = "challenger_without_near_copies"
"""Name of the challenger's row on the test images that nearly coincide with no image of training or validation."""

FROZEN, FINE_TUNED = "frozen", "fine_tuned"
"""Names of the row of the winner before or after its further training, if it was trained further."""

TRAINED_AGAIN = (
    "Figures on validation are means over the seeds, each of which was validated on other images. Then these networks "
    "were trained again, on the training and validation images together; the first seed's is registered."
)
"""What the evidence says where promotion.train_on is all."""

_LABELS = {COMPARED: CHALLENGER, WITHOUT_NEAR_COPIES: CHALLENGER, FINE_TUNED: "fine-tuned"}
"""What the table calls rows whose name it does not show."""

_HEAD = (
    "| | test accuracy | 95 % interval | errors | macro-F1 | over seeds: median ± deviation "
    "| challenger ahead by | McNemar p |"
)
_RULE = "|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """A network's figures on the test split.

    Attributes:
        name: challenger, default, champion, frozen, fine_tuned, challenger_compared or challenger_without_near_copies.
        what: the network's trial or version, as text.
        readout: the network's predictions on the test split, or on a part of it.
        interval: Wilson's confidence interval of the accuracy.
        macro_f1: the mean of the classes' F1, 0..1.
        seeds: accuracies over all seeds of the configuration; None for the rows on a part of the images, and champion.
        comparison: the challenger compared with this network; None in the challenger's own rows.
    """

    name: str
    what: str
    readout: Readout = field(repr=False)
    interval: Interval
    macro_f1: float
    seeds: Spread | None
    comparison: Comparison | None

    def values(self) -> NetworkFigures:
        """Return the row as JSON values."""
        read = self.readout
        return {
            "test_accuracy": read.accuracy,
            "test_loss": read.loss if math.isfinite(read.loss) else None,
            "macro_f1": self.macro_f1,
            "errors": read.errors,
            "images": read.images,
            "interval": _interval(self.interval),
            "seeds": _spread(self.seeds) if self.seeds else None,
            "challenger_against_it": _comparison(self.comparison) if self.comparison else None,
        }

    def line(self) -> str:
        """Return the row as a line of the Markdown table."""
        interval = f"{self.interval.low:.4f} to {self.interval.high:.4f}"
        seeds = _over_seeds_text(self.seeds) if self.seeds else ""
        ahead, p = "", ""
        if self.comparison is not None:
            between = self.comparison.interval
            ahead = f"{self.comparison.difference:+.4f} ({between.low:+.4f} to {between.high:+.4f})"
            p = f"{self.comparison.p:.2g}"
        errors = f"{self.readout.errors} of {self.readout.images}"
        cells = (f"{self.readout.accuracy:.4f}", interval, errors, f"{self.macro_f1:.4f}", seeds, ahead, p)
        return f"| {_LABELS.get(self.name, self.name)}, {self.what} | {' | '.join(cells)} |"


def _over_seeds_text(found: Spread) -> str:
    if found.seeds == 1:  # one value has no deviation
        return f"{found.median:.4f} (1)"
    return f"{found.median:.4f} ± {found.deviation:.4f} ({found.seeds})"


def _interval(interval: Interval) -> IntervalFigures:
    return {"low": interval.low, "high": interval.high}


def _spread(found: Spread) -> SpreadFigures:
    return {
        "seeds": found.seeds,
        "mean": found.mean,
        "median": found.median,
        "deviation": found.deviation,
        "low": found.low,
        "high": found.high,
    }


def _comparison(found: Comparison) -> ComparisonFigures:
    return {"p": found.p, "difference": found.difference, "interval": _interval(found.interval)}


def to_read(final: Final) -> dict[str, bytes]:
    """Return the unregistered networks to evaluate, by name.

    They are those of the winner's other seeds, of the winner before or after its further training, and of the default
    configuration, unless that is the winner.
    """
    networks = {_name(final.winner, seed): repeat.network for seed, repeat in _seeds(final.winner) if seed > 1}
    for other in _others(final).values():
        networks |= {_name(other, seed): repeat.network for seed, repeat in _seeds(other)}
    return networks


def fits(final: Final, rival: Rival | None) -> dict[str, StoredFit]:
    """Return the name under which the images of each network are stored, from Manifest.stored, by the network's name.

    The names are CHALLENGER, CHAMPION, and those from `to_read`.
    """
    found = {CHALLENGER: final.winner.fit, CHAMPION: "main" if rival is None else rival.common.fit}
    for finalist in (final.winner, *_others(final).values()):
        found |= {_name(finalist, seed): finalist.fit for seed, _ in _seeds(finalist)}
    return found


def by_repeat(final: Final, figures: Mapping[str, Readout]) -> dict[tuple[str, int], Readout]:
    """Return the test predictions of the networks that were evaluated by (finalist's name, repeat).

    Args:
        figures: predictions by name, with the registered challenger as CHALLENGER and others as `to_read` names them.
    """
    read = {}
    for finalist in (final.winner, *_others(final).values()):
        for place, repeat in _seeds(finalist):
            name = CHALLENGER if finalist is final.winner and place == 1 else _name(finalist, place)
            read[finalist.name, repeat.number] = figures[name]
    return read


def rows(
    final: Final, figures: Mapping[str, Readout], rival: Rival | None, near: NDArray[np.bool_] | None = None
) -> list[Row]:
    """Return a row for the challenger, one for the default configuration, and one for the champion.

    If the winner was trained further, it has a row also as it was before, or as it became if that is not chosen.
    The default configuration has no row if it is the challenger itself or has no network. The champion has no row if it
    was not evaluated. If it is compared on a part of the test split, a row of the challenger on the same images comes
    before it. If some of the test images are near copies, the challenger has a row without them.

    Args:
        figures: predictions by name: the registered challenger as CHALLENGER, and others as `to_read` names them.
        rival: the current champion with its predictions; None without a champion.
        near: whether each test image nearly coincides with an image of training or validation, bool (n,); None if that
            is not known.
    """
    read, winner, challenger = by_repeat(final, figures), final.winner, figures[CHALLENGER]
    found = [_row(CHALLENGER, f"trial {winner.trial.number}", challenger, _over_seeds(winner, read), None)]
    if near is not None and near.any() and not near.all():
        what = f"without {counted(int(np.count_nonzero(near)), 'near copy', 'near copies')}"
        found.append(_row(WITHOUT_NEAR_COPIES, what, challenger.on(~near), None, None))
    for name, other in _others(final).items():
        best = read[other.name, other.good[0].number]
        found.append(_row(name, f"trial {other.trial.number}", best, _over_seeds(other, read), challenger))
    if rival is not None and rival.readout is not None:
        same = rival.same_images(challenger)
        if same.images < challenger.images:
            found.append(_row(COMPARED, f"on the {same.images} images below", same, None, None))
        found.append(_row(CHAMPION, f"version {rival.champion.version}", rival.readout, None, same))
    return found


def table(found: Sequence[Row], rival: Rival | None = None) -> str:
    """Return the rows as a Markdown table, with the champion's recorded figures and those of guessing below them."""
    recorded = [_recorded(rival.champion)] if rival is not None and rival.champion.accuracy is not None else []
    return "\n".join([_HEAD, _RULE, *(row.line() for row in found), *recorded, _guessing(found[0].readout)])


def text(
    found: Sequence[Row],
    rival: Rival | None,
    hints: Sequence[str],
    warnings: str,
    measured: MetricFigures,
    further: str = "",
) -> str:
    """Return the evidence in Markdown: the table, warnings, what may give a better network, and figures by class.

    Args:
        further: TRAINED_AGAIN, the lead over the default configuration, and what further training has gained, in
            Markdown; empty without any.
        warnings: near_copies.NearCopiesOfTest.warnings_text of the data set.
        measured: the metrics of the challenger, whose row is the first.
    """
    listed = "\n".join(f"- {escaped(hint)}" for hint in hints)
    advice = f"What the curves suggest:\n\n{listed}" if listed else ""
    parts = [table(found, rival), further, warnings, advice, metrics.text(measured, found[0].readout)]
    return "\n\n".join(filter(None, parts))


def _recorded(champion: RegisteredChampion) -> str:
    name, accuracy = f"{CHAMPION}, version {champion.version}, as recorded", f"{champion.accuracy:.4f}"
    if not champion.images or champion.accuracy is None:
        return _line(name, accuracy)
    right = round(champion.accuracy * champion.images)
    between = wilson(right, champion.images)
    errors = f"{champion.images - right} of {champion.images}"
    return _line(name, accuracy, f"{between.low:.4f} to {between.high:.4f}", errors)


def _guessing(read: Readout) -> str:
    errors = f"{round((1 - read.baseline) * read.images)} of {read.images}"
    return _line("guessing, at best", f"{read.baseline:.4f}", "", errors, f"{guessed_macro_f1(read.truth):.4f}")


def _line(name: str, *cells: str) -> str:
    """Return a line of the table whose last cells are empty."""
    missing = _HEAD.count("|") - 2 - len(cells)
    return f"| {' | '.join((name, *cells, *[''] * missing))} |"


def _row(name: str, what: str, read: Readout, seeds: Spread | None, challenger: Readout | None) -> Row:
    interval = wilson(read.images - read.errors, read.images)
    comparison = compare(challenger.hits, read.hits) if challenger is not None else None
    return Row(name, what, read, interval, metrics.macro_f1(read), seeds, comparison)


def _over_seeds(finalist: Finalist, read: Mapping[tuple[str, int], Readout]) -> Spread:
    return spread([read[finalist.name, repeat.number].accuracy for repeat in finalist.good])


def _others(final: Final) -> dict[str, Finalist]:
    """Return the finalists with a row of their own after the challenger's, by its name; each has a network."""
    default, other = final.default, final.other_stage
    found = {} if other is None else {FINE_TUNED if other.is_fine_tuned else FROZEN: other}
    # The default may be the winner itself, and then its other stage, too.
    if default is not None and default.good and default not in (final.winner, other):
        found["default"] = default
    return found


def _seeds(finalist: Finalist) -> list[tuple[int, Repeat]]:
    """Return the repeats that ended ok with their place in `Finalist.good`, from 1."""
    return list(enumerate(finalist.good, start=1))


def _name(finalist: Finalist, place: int) -> str:
    return f"{finalist.name}, network {place}"
