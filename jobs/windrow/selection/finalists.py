"""Choose a study's finalists, describe their trainings, and record what came out; `ranking` trains and ranks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import mean
from typing import TYPE_CHECKING

from windrow.data.splits import StoredFit
from windrow.errors import StudyError
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.seeds import seed_of
from windrow.sweep.spec import TrialSpec, facts_of, stored_fit, trial_spec
from windrow.sweep.study import StudyRecord
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment, FineTuneSection
    from windrow.experiment.parameters import Value
    from windrow.experiment.values import Cost


@dataclass(frozen=True)
class Repeat:
    """The retraining of a finalist with one seed.

    Attributes:
        number: number of the finalist's seed, from 1.
        seed: the seed.
        outcome: how it ended.
        fold: number of the fold that it was validated on; 1 is the data set's own validation split.
    """

    number: int
    seed: int
    outcome: Outcome
    fold: int = 1

    @property
    def network(self) -> bytes:
        """Return the trained network as a .keras file's bytes; empty if there is none."""
        return self.outcome.network or b""


@dataclass(frozen=True)
class Finalist:
    """A trial that was retrained.

    Attributes:
        trial: the trial in the ledger.
        repeats: one repeat per seed, in the order of the seeds.
        good: the repeats that ended ok, best objective first, then in the order of the seeds; in the order of the
            seeds alone where they are cross-validated, because each is then validated on other images.
        is_fine_tuned: whether the last blocks of the backbone were trained further.
        fit: name under which its images are stored, from Manifest.stored.
    """

    trial: Entry
    repeats: tuple[Repeat, ...]
    good: tuple[Repeat, ...]
    is_fine_tuned: bool = False
    fit: StoredFit = "main"

    @property
    def name(self) -> str:
        """Return what the finalist is called among the others: its trial, and whether it is fine-tuned."""
        return f"trial {self.trial.number}{', fine-tuned' if self.is_fine_tuned else ''}"

    @property
    def values(self) -> tuple[float, ...]:
        """Return the objective of every repeat that ended ok, in the order of `good`."""
        return tuple(repeat.outcome.value for repeat in self.good if repeat.outcome.value is not None)

    @property
    def value(self) -> float:
        """Return the mean of the objective over the repeats that ended ok, at least one."""
        return mean(self.values)


@dataclass(frozen=True)
class Lead:
    """How far the best finalist besides the default configuration is ahead of it, with the better `fit`.

    Attributes:
        finalist: the best finalist besides the default configuration.
        pairs: number of seeds whose trainings of both ended ok.
        difference: mean over these seeds of the lead in the objective; above 0 is better.
        error: standard error of `difference`, with the correction of ranking.leading.
        reason: which of the two is taken, and why, as a sentence without the full stop.
        is_clear: whether the lead is larger than its standard error.
    """

    finalist: Finalist
    pairs: int
    difference: float
    error: float
    reason: str
    is_clear: bool


@dataclass(frozen=True)
class Preference:
    """What promotion.prefer: smallest has decided.

    Attributes:
        chosen: the smallest finalist within the tolerance, or the one that would win without the preference.
        is_smaller: whether `chosen` is taken for its size.
        reason: which one is taken, and why, as a sentence without the full stop.
    """

    chosen: Finalist
    is_smaller: bool
    reason: str


@dataclass(frozen=True)
class FineTuned:
    """The best finalist after its further training, and whether it is better than before.

    Attributes:
        finalist: the finalist with its repeats of the further training.
        section: how it was trained.
        pairs: number of seeds whose training and further training both ended ok.
        frozen: mean of the objective over these seeds before the further training, on the same validation images; nan
            without a pair.
        difference: mean over these seeds of what the further training gained in the objective; above 0 is better.
        error: standard error of `difference`; nan for fewer than two seeds.
        reason: why the fine-tuned network is taken, or is not, as a sentence without the full stop.
        is_chosen: whether it is taken.
    """

    finalist: Finalist
    section: FineTuneSection
    pairs: int
    frozen: float
    difference: float
    error: float
    reason: str
    is_chosen: bool


@dataclass(frozen=True)
class Final:
    """The retrained trials of a promotion.

    Attributes:
        ranked: finalists with at least one repeat that ended ok, best mean first; before them the default
            configuration, with the better `fit`, where no lead over it is clear; before all of them the one that is
            taken because it is smaller.
        trained: all finalists and the default configuration, without duplicates.
        default: the default configuration; None if the study was interrupted before its trial had ended.
        fine_tuned: the first of `ranked` after further training; None if the page asks for none.
        lead: how far the best one is ahead of the default configuration; None where the default configuration can't
            win, or fewer than two seeds can be compared.
        preference: what promotion.prefer: smallest has decided; None without it.
    """

    ranked: tuple[Finalist, ...]
    trained: tuple[Finalist, ...]
    default: Finalist | None
    fine_tuned: FineTuned | None = None
    lead: Lead | None = None
    preference: Preference | None = None

    @property
    def winner(self) -> Finalist:
        """Return the first of `ranked`, fine-tuned if that is chosen."""
        return self.fine_tuned.finalist if self.fine_tuned and self.fine_tuned.is_chosen else self.ranked[0]

    @property
    def other_stage(self) -> Finalist | None:
        """Return the winner before or after its further training, the one that was not chosen, if it has a network."""
        if self.fine_tuned is None:
            return None
        other = self.ranked[0] if self.fine_tuned.is_chosen else self.fine_tuned.finalist
        return other if other.good else None


def best(page: Experiment, study: StudyRecord) -> list[Entry]:
    """Return the study's best trials by validation, as many as the page asks for, best first.

    Of a search for two goals, only trials on the front are taken.

    Where the search also chooses between squashed and cropped images, half of them are the best of each: one split of
    validation can't tell which is better, and more of them can.

    Raises:
        StudyError: no trial ended ok.
    """
    ranked = study.ranked() if page.sweep.cost is None else study.front()
    if not ranked:
        counts = ", ".join(f"{count} {ending.value}" for ending, count in study.endings.items()) or "no finished trial"
        raise StudyError(
            f"a promotion needs one trial that ended ok; {study.folder} has {counts}; "
            "fix the errors that the trials' runs in MLflow show, and run sweep.py first"
        )
    ways: dict[object, list[Entry]] = {}
    for trial in ranked:
        ways.setdefault(trial.point.get("fit") if page.dataset.fit == "both" else None, []).append(trial)
    in_turn = [trial for turn in zip_longest(*ways.values()) for trial in turn if trial is not None]
    return sorted(in_turn[: page.promotion.finalists], key=ranked.index)


def default(study: StudyRecord) -> list[Entry]:
    """Return a list of trial 0, which is the default configuration in every study; empty until trial 0 has ended."""
    return [trial for trial in study.finished() if trial.number == 0]


def is_default(page: Experiment, point: Mapping[str, Value], default: Mapping[str, Value]) -> bool:
    """Return whether a point is that of the default configuration, be it with squashed or with cropped images."""
    fit = {"fit": default["fit"]} if page.dataset.fit == "both" and "fit" in default else {}
    return {**point, **fit} == default


def key_of(page: Experiment, finalists: Sequence[int]) -> str:
    """Return a text that identifies a promotion: the finalists' numbers, and how they are trained."""
    promotion = page.promotion
    on = ", on all images" if promotion.train_on == "all" else ""
    tuned = f", fine-tuned by {promotion.fine_tune.model_dump_json()}" if promotion.fine_tune is not None else ""
    small = f", the smallest within {promotion.tolerance:g}" if prefers_smallest(page) else ""
    return f"{','.join(map(str, sorted(finalists)))} over {promotion.seeds} seeds{on}{tuned}{small}"


def specs(
    page: Experiment, builder: Builder, dataset: Manifest, trials: Sequence[Entry], keep_networks: bool = True
) -> list[TrialSpec]:
    """Describe a training for each trial and seed. A trial's first seed is its own, which repeats the trial.

    With promotion.train_on: all, each further seed is validated on another fold, the same for all trials. With
    promotion.prefer: smallest, each network's size is measured, and which images it gets right if these are the same.
    """
    smallest = prefers_smallest(page)
    return [
        replace(
            trial_spec(page, builder, dataset, trial.number, replace(facts, seed=seed), keep_networks),
            repeat=repeat,
            fold=repeat if is_cross_validated(page) else 1,
            cost=size_of(page) if smallest else None,
            keep_hits=smallest and not is_cross_validated(page),
        )
        for trial in trials
        for facts in [facts_of(page, trial.number, trial.point)]
        for repeat, seed in enumerate(seeds(page, trial), start=1)
    ]


def is_cross_validated(page: Experiment) -> bool:
    """Return whether a finalist's repeats are validated on different images: where its networks learn from all."""
    return page.promotion.train_on == "all"


def prefers_smallest(page: Experiment) -> bool:
    """Return whether the smallest finalist within a tolerance of the best one wins."""
    return page.promotion.prefer == "smallest"


def size_of(page: Experiment) -> Cost:
    """Return what makes a network small: the second goal of the search, or else its weights."""
    return page.sweep.cost or "weights"


def seeds(page: Experiment, trial: Entry) -> list[int]:
    """Return the seeds for retraining a trial, its own seed first."""
    own, number = facts_of(page, trial.number, trial.point).seed, trial.number
    return [own, *(seed_of(page.sweep.seed, number, repeat) for repeat in range(1, page.promotion.seeds))]


def finalist_of(page: Experiment, trial: Entry, outcomes: Sequence[Outcome], is_fine_tuned: bool = False) -> Finalist:
    """Return a trial with those of the outcomes that are its own, which may come in any order."""
    sign = -1 if page.sweep.direction == "maximize" else 1
    mine = sorted((outcome for outcome in outcomes if outcome.number == trial.number), key=lambda o: o.repeat)
    known = seeds(page, trial)
    folded = is_cross_validated(page) and not is_fine_tuned
    repeats = tuple(
        Repeat(outcome.repeat, known[outcome.repeat - 1], outcome, outcome.repeat if folded else 1) for outcome in mine
    )
    good = [repeat for repeat in repeats if repeat.outcome.ending is Ending.OK]
    if not is_cross_validated(page):
        good.sort(key=lambda repeat: sign * (repeat.outcome.value or 0.0))
    fit = stored_fit(page, facts_of(page, trial.number, trial.point).parameters)
    return Finalist(trial, repeats, tuple(good), is_fine_tuned, fit)
