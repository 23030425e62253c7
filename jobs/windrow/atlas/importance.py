"""Estimate the importance of hyper-parameters with two of Optuna's evaluators, which may disagree.

The evaluators measure different things. fANOVA: the share of the errors' variance, over all trials that ended ok, that
a random forest attributes to a parameter alone. PED-ANOVA: how much the values of a parameter in the best tenth of the
trials differ from those in all trials. Bootstrap intervals show how far the order of the parameters can be trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from windrow.atlas.plot import Missing, Plot
from windrow.atlas.table import DrawnTrial, TrialTable, error_of
from windrow.looks import style
from windrow.plural import counted
from windrow.sweep.outcomes import Ending
from windrow.sweep.sampling import space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

NAME = "importance"
FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"

_LEAST = 10  # trials; with fewer, the order of the parameters would be noise
_MOST = 300  # trials per evaluation, evenly chosen if there are more: a forest on 2,000 trials takes seconds
_REPEATS = 20
_TREES = 16
_SEED = 0
_INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class Share:
    """A parameter's importance, 0 to 1, with the ends of its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """The importance of a study's hyper-parameters.

    Attributes:
        shares: evaluator → parameter → share. fANOVA has no share for a parameter that some trials did not search.
        trials: number of trials that were evaluated.
        of: number of trials that could have been evaluated.
        unknown: why the shares are missing; else empty.
    """

    shares: dict[str, dict[str, Share]]
    trials: int = 0
    of: int = 0
    unknown: str = ""

    @property
    def order(self) -> list[str]:
        """Return the parameters by the mean of the evaluators' shares, the most important first; [] without shares."""
        known = self.shares.get(PED_ANOVA, {})
        both = {name: [found[name].value for found in self.shares.values() if name in found] for name in known}
        return sorted(both, key=lambda name: -sum(both[name]) / len(both[name]))


def evaluate(table: TrialTable) -> Importance:
    """Run both evaluators on up to 300 trials that ended ok with a point inside the space; return their shares.

    The result has no shares, and says why, if there are too few such trials or all have the same error.
    """
    page = table.page
    defaults = page.network.defaults()
    inside = [trial for trial in table.ended(Ending.OK) if space.contains(page.space, trial.point, defaults)]
    if len(inside) < _LEAST:
        return Importance({}, unknown=f"importance needs {_LEAST} trials that ended ok; this study has {len(inside)}")
    if len({error_of(trial) for trial in inside}) < 2:
        return Importance({}, unknown="importance needs trials with different errors; all are equal here")
    names = [parameter.name for parameter in table.parameters]
    chosen = [inside[int(i)] for i in np.linspace(0, len(inside) - 1, min(_MOST, len(inside)))]
    frozen = [_frozen(table, trial, names) for trial in chosen]
    rng = np.random.default_rng(_SEED)
    samples = [[frozen[i] for i in rng.integers(len(frozen), size=len(frozen))] for _ in range(_REPEATS)]
    everywhere = [name for name in names if all(name in trial.params for trial in frozen)]
    shares = {}
    for evaluator, asked in ((FANOVA, everywhere), (PED_ANOVA, names)):
        whole, *repeats = [_shares(evaluator, sample, asked) for sample in (frozen, *samples)]
        shares[evaluator] = {name: _share(whole[name], [each[name] for each in repeats]) for name in whole}
    return Importance(shares, len(frozen), len(inside))


def _share(value: float, repeats: Sequence[float]) -> Share:
    low, high = np.quantile(repeats, _INTERVAL)
    return Share(value, min(value, float(low)), max(value, float(high)))


def _frozen(table: TrialTable, trial: DrawnTrial, names: Sequence[str]) -> FrozenTrial:
    from optuna.trial import create_trial

    known = space.distributions({name: table.page.space[name] for name in names if name in trial.point})
    return create_trial(value=error_of(trial), params={name: trial.point[name] for name in known}, distributions=known)


def _shares(name: str, trials: Sequence[FrozenTrial], asked: Sequence[str]) -> dict[str, float]:
    """Return an evaluator's share for each parameter in `asked`.

    The shares add up to 1. A parameter with the same value in all of `trials` gets 0; if all errors are equal, all do.
    """
    import optuna

    varied = [each for each in asked if len({trial.params.get(each) for trial in trials}) > 1]
    found: dict[str, float] = {}
    if varied and len({trial.value for trial in trials}) > 1:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study()
        study.add_trials(trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study, evaluator=_evaluator(name), params=varied)
    return {each: found.get(each, 0.0) for each in asked}


def _evaluator(name: str) -> BaseImportanceEvaluator:
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    return FanovaImportanceEvaluator(n_trees=_TREES, seed=_SEED) if name == FANOVA else PedAnovaImportanceEvaluator()


def draw(table: TrialTable, importance: Importance) -> Plot | Missing:
    """Plot both evaluators' shares with their intervals, one row per parameter."""
    if importance.unknown:
        return Missing(NAME, importance.unknown)
    order = importance.order[::-1]
    figure, axes = style.axes(1.0 + 0.36 * len(order))
    _draw_shares(axes, importance.shares[FANOVA], order, 0.14, style.OK, "o", f"{FANOVA}: variance over all")
    _draw_shares(axes, importance.shares[PED_ANOVA], order, -0.14, style.OTHER, "D", f"{PED_ANOVA}: the best tenth")
    axes.set_yticks(range(len(order)), [name.replace("_", " ") for name in order])
    axes.set_ylim(-0.5, len(order) - 0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of importance, with 90 % bootstrap interval")
    style.key(axes)
    axes.grid(axis="x")
    title = sentence(importance)
    alt = f"Importance of {counted(len(order), 'hyper-parameter')} by {FANOVA} and {PED_ANOVA}. {title}."
    return Plot(NAME, title, figure, alt, _notes(importance))


def sentence(importance: Importance) -> str:
    """Return a sentence: which parameter mattered most, and whether the evaluators agree, if both have shares."""
    first = {}
    for evaluator, shares in importance.shares.items():
        if shares:
            first[evaluator] = max(shares, key=lambda name: shares[name].value)
    tops = {
        evaluator: f"{name.replace('_', ' ')} ({_percent(importance, evaluator, name)})"
        for evaluator, name in first.items()
    }
    if len(set(first.values())) == 1:
        return f"Both evaluators find that {next(iter(tops.values())).partition(' (')[0]} mattered most"
    return "The evaluators disagree: " + ", ".join(f"{evaluator} puts {top} first" for evaluator, top in tops.items())


def _percent(importance: Importance, evaluator: str, name: str) -> str:
    return f"{100 * importance.shares[evaluator][name].value:.0f} %"


def _draw_shares(
    axes: Axes, shares: dict[str, Share], order: Sequence[str], shift: float, colour: str, marker: str, label: str
) -> None:
    rows = [(place + shift, shares[name]) for place, name in enumerate(order) if name in shares]
    at, found = [place for place, _ in rows], [share for _, share in rows]
    axes.hlines(at, [share.low for share in found], [share.high for share in found], color=colour, lw=1.4)
    axes.scatter(
        [share.value for share in found], at, marker=marker, s=22, color=colour, label=label, zorder=3, clip_on=False
    )


def _notes(importance: Importance) -> tuple[str, ...]:
    looked = f"{importance.trials:,} of the {importance.of:,} trials that ended ok and whose points lie in the space"
    notes = [f"From {looked}; {_REPEATS} bootstrap repeats. Pruned and diverged trials have no part in it."]
    left_out = [name for name in importance.shares[PED_ANOVA] if name not in importance.shares[FANOVA]]
    if left_out:
        notes.append(f"{FANOVA} does not know conditional parameters: {', '.join(left_out)}.")
    return tuple(notes)
