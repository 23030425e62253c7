"""Train a study's finalists with several seeds, and rank them; the first of them is the challenger.

The default configuration is trained, too, as the baseline that the challenger is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from windrow.clusters import free_memory
from windrow.errors import StudyError
from windrow.selection import agreement, finalists
from windrow.selection.finalists import Final, Finalist, finalist_of, is_default
from windrow.selection.ranking import leading, memory, preferring, trainings
from windrow.sweep import cluster
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import trained_on
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.sweep.study import StudyRecord


def entrants(page: Experiment, study: StudyRecord) -> tuple[list[Entry], list[Entry]]:
    """Return the finalists, best first, and a list of the default configuration, which is empty until it has ended.

    Where they are cross-validated, the default configuration with the other `fit` is one of them in any case.

    Raises:
        StudyError: no trial ended ok.
    """
    best, default = finalists.best(page, study), finalists.default(study)
    if default and finalists.is_cross_validated(page):
        others = [trial for trial in study.ranked() if trial.number and is_default(page, trial.point, default[0].point)]
        best = together(best, others)
    return best, default


def train(
    spark: SparkSession,
    page: Experiment,
    builder: Builder,
    dataset: Manifest,
    folder: Path,
    best: Sequence[Entry],
    default: Sequence[Entry],
) -> Final:
    """Train the finalists and the default configuration on Spark, each with all its seeds, and rank them.

    Where they are cross-validated, this comes first and keeps no network; then the first one and the default
    configuration are trained once more, and give networks that learn from all images.

    Args:
        dataset, folder: the prepared data set, and its folder.
        best, default: the result of `entrants`.

    Raises:
        StudyError: none of the finalists has a repeat that ended ok, or the winner's backbone
            gives other features than the stored ones.
        DatasetError: the page has a backbone, and its features or its file are not there.
        UserError: the driver has no room for the networks, or its JVM for one of them.
    """
    dataset = trained_on(page, dataset, folder)
    cluster.ship(spark, folder, dataset, "train", "validation")
    slots = room = cluster.slots(spark, page.sweep.cores, page.sweep.slots)
    trials, validates_first = together(best, default), finalists.is_cross_validated(page)
    if backbone := cluster.ship_backbone(spark, page, folder):
        size = memory.network_bytes(backbone, memory.largest(page, dataset, trials)[1])
        kept = min(2, len(trials)) if validates_first else len(trials)
        kept += page.promotion.fine_tune is not None
        memory.check_memory(kept * page.promotion.seeds, size, free_memory.free_bytes())
        room = min(slots, cluster.room_for_networks(spark, size))

    def run(chosen: Sequence[Entry], keep_networks: bool, what: str) -> list[Outcome]:
        listed = finalists.specs(page, builder, dataset, chosen, keep_networks)
        return trainings.run_each(spark, room if keep_networks else slots, listed, what)

    final = rank(page, best, default, run(trials, not validates_first, "finalists"))
    if validates_first:
        chosen = together([final.winner.trial], default)
        final = with_networks(page, final, run(chosen, keep_networks=True, what="on all images"))
    if page.network.backbone is not None:
        winner = final.winner
        agreement.check(spark, winner.good[0].network, folder, page.sweep.cores, winner.fit)
    return final


def together(first: Sequence[Entry], second: Sequence[Entry]) -> list[Entry]:
    """Return the trials of both lists, each once."""
    return [*first, *(trial for trial in second if trial not in first)]


def rank(page: Experiment, trials: Sequence[Entry], baseline: Sequence[Entry], outcomes: Sequence[Outcome]) -> Final:
    """Return the finalists, ranked by the mean objective of their repeats, and the default configuration.

    Where they are cross-validated, the default configuration is ranked with them. It comes first, with the better
    `fit`, unless the best of the others is clearly ahead of it. With promotion.prefer: smallest, a smaller one may then
    come first.

    Args:
        trials: the finalists.
        baseline: the default configuration, which may also be one of `trials`; may be empty.
        outcomes: outcomes of all repeats, in any order.

    Raises:
        StudyError: none of the finalists has a repeat that ended ok.
    """
    sign = -1 if page.sweep.direction == "maximize" else 1
    every = {trial.number: finalist_of(page, trial, outcomes) for trial in (*trials, *baseline)}
    ranked = list(every.values()) if finalists.is_cross_validated(page) else [every[trial.number] for trial in trials]
    good = [finalist for finalist in ranked if finalist.good]
    if not good:
        errors = "; ".join(f"trial {outcome.number}: {outcome.ending.value}" for outcome in outcomes)
        raise StudyError(f"one finalist must train to the end; got {errors}; look at the errors, then sweep again")
    good.sort(key=lambda finalist: (sign * finalist.value, finalist.trial.number))
    default, best = next((every[trial.number] for trial in baseline), None), good[0]
    lead = preferred = None
    if finalists.is_cross_validated(page) and default is not None:
        known = [one for one in good if is_default(page, one.trial.point, default.trial.point)]
        others = [one for one in good if one not in known]
        share = page.dataset.validation / (1 - page.dataset.validation)
        lead = leading.lead(others[0], known[0], page.sweep, share) if known and others else None
        if lead is not None and not lead.is_clear:
            good = [known[0], *(one for one in good if one is not known[0])]
    if finalists.prefers_smallest(page):
        preferred = preferring.smallest(page, best, good)
        good = [preferred.chosen, *(one for one in good if one is not preferred.chosen)]
    return Final(tuple(good), tuple(every.values()), default, lead=lead, preference=preferred)


def with_networks(page: Experiment, final: Final, outcomes: Sequence[Outcome]) -> Final:
    """Return ranked finalists with the networks of a further training; its figures are those of the ranking.

    Args:
        outcomes: outcomes of all repeats of some of the finalists, the first one among them, in any order.

    Raises:
        StudyError: no repeat of the first one ended ok.
    """
    kept = {(outcome.number, outcome.repeat): outcome for outcome in outcomes}

    def joined(finalist: Finalist) -> Finalist:
        known = [repeat.outcome for repeat in finalist.repeats]
        later = [kept.get((outcome.number, outcome.repeat), outcome) for outcome in known]
        both = [
            replace(before, network=after.network) if after.ending is before.ending is Ending.OK else after
            for before, after in zip(known, later, strict=True)
        ]
        return finalist_of(page, finalist.trial, both)

    trained = {finalist.trial.number: joined(finalist) for finalist in final.trained}
    ranked = tuple(one for finalist in final.ranked if (one := trained[finalist.trial.number]).good)
    if not ranked or ranked[0].trial != final.winner.trial:
        errors = "; ".join(sorted({outcome.error.strip().splitlines()[-1] for outcome in outcomes if outcome.error}))
        raise StudyError(
            f"{final.winner.name} must train to the end on all images, as it did on those for training; got "
            f"{errors or 'no network'}; look at the errors, then sweep again"
        )
    default = None if final.default is None else trained[final.default.trial.number]
    return replace(final, ranked=ranked, trained=tuple(trained.values()), default=default)
