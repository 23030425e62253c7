"""Train the winner's repeats further on images, with the last blocks of its backbone, after saying what that takes.

stage = open_stage(spark, page, dataset, folder, trials)     # checks the blocks, before the finalists are trained
final = stage.after(contest.train(...))
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import UserError
from windrow.plural import counted
from windrow.selection.finalists import Final, Finalist, finalist_of
from windrow.selection.ranking import trainings
from windrow.selection.ranking.memory import largest, network_bytes
from windrow.selection.tuning import choice, map_agreement
from windrow.sweep import cluster, trial
from windrow.sweep.ledger import Entry
from windrow.sweep.seeds import seed_of
from windrow.sweep.spec import FineTuning, TrialFacts, TrialSpec, facts_of, trained_on, trial_spec
from windrow.sweep.tuning import tuning
from windrow.sweep.tuning.tuning import Need
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment, FineTuneSection
    from windrow.experiment.parameters import Value

MOST_MAPS = 32 << 30
"""The most bytes of a backbone's maps, for all images and views, that a host is to keep on its disk."""
_STREAM = 1  # so that the further training draws other batches than the training before it


def open_stage(
    spark: SparkSession, page: Experiment, dataset: Manifest, folder: Path, trials: Sequence[Entry]
) -> Stage:
    """Open the stage of a page, and measure in a Spark task what a step of it takes, if the page asks for the stage.

    Args:
        dataset, folder: the prepared data set, and its folder.
        trials: the finalists and the default configuration; the step is measured with the largest of their heads.

    Raises:
        UserError: the backbone has fewer blocks than the page wants, or the maps would be larger than MOST_MAPS.
        DatasetError: the backbone's features or its file are not there.
    """
    section, need = page.promotion.fine_tune, None
    if section is not None:
        cluster.ship_backbone(spark, page, folder)
        features = trained_on(page, dataset, folder)
        task = features.digest, section, largest(page, features, trials)[0], len(dataset.labels)
        spark.sparkContext.setJobDescription("measure a step of fine-tuning")
        threads, deterministic = page.sweep.cores, page.sweep.deterministic
        found = spark.sparkContext.parallelize([(*task, threads, deterministic)], 1).mapPartitions(_measure).collect()
        need = found[0]
        if need.error:
            raise UserError(need.error)
        check_maps(need, dataset, max(_views(page, trial) for trial in trials))
    return Stage(spark, page, dataset, folder, need)


def _measure(
    tasks: Iterable[tuple[str, FineTuneSection, dict[str, Value], int, int, bool]],
) -> Iterator[Need]:
    for digest, section, head, classes, threads, deterministic in tasks:
        trial.start_tensorflow(threads, deterministic)
        yield tuning.need(trial.shipped(digest) / trial.BACKBONE, section, head, classes)


def check_maps(need: Need, dataset: Manifest, views: int) -> None:
    """Check that the file of all maps, which each host keeps and each epoch reads, is not above MOST_MAPS.

    Args:
        views: the largest number of views among the finalists.

    Raises:
        UserError: it is larger.
    """
    images = dataset.splits["train"] + dataset.splits["validation"]
    if (size := images * views * need.map_bytes) > MOST_MAPS:
        raise UserError(
            f"the maps before the trained blocks must be at most {MOST_MAPS >> 30} GiB for all images and views; got "
            f"{size / 2**30:,.1f} GiB, {counted(images, 'image')} in {counted(views, 'view')} of "
            f"{need.map_bytes >> 10:,} KiB; lower promotion.fine_tune.blocks or views, or take another backbone"
        )


def _views(page: Experiment, trial: Entry) -> int:
    return int(facts_of(page, trial.number, trial.point).parameters["views"])


@dataclass(frozen=True)
class Stage:
    """The stage of a page; `need` is what it takes on a worker, or None if the page has no such stage."""

    spark: SparkSession
    page: Experiment
    dataset: Manifest
    folder: Path
    need: Need | None

    def after(self, final: Final) -> Final:
        """Train the winner's repeats further, each with its seed, and choose; return `final` without such a stage.

        Raises:
            StudyError: the fine-tuned network is taken, and gives from pixels other features than from maps.
        """
        section = self.page.promotion.fine_tune
        if section is None or self.need is None:
            return final
        before = final.winner
        slots = cluster.slots(self.spark, self.page.sweep.cores, self.page.sweep.slots)
        features, builder = trained_on(self.page, self.dataset, self.folder), Builder(self.page.network.builder)
        backbone = cluster.ship_backbone(self.spark, self.page, self.folder)
        size = network_bytes(backbone, largest(self.page, features, [before.trial])[1])
        slots = min(slots, cluster.room_for_networks(self.spark, size))
        print(forecast(self.page, section, self.dataset, before, self.need, slots), file=sys.stderr, flush=True)
        cluster.ship(self.spark, self.folder, self.dataset, "train", "validation")
        specs = [
            replace(spec_of(self.page, self.dataset, facts, head, section), repeat=repeat.number)
            for repeat in before.good
            for facts in [replace(facts_of(self.page, before.trial.number, before.trial.point), seed=repeat.seed)]
            for head in [trial_spec(self.page, builder, features, before.trial.number, facts, keep_network=True)]
        ]
        outcomes = trainings.run_each(self.spark, at_once(slots, len(specs), self.need), specs, "fine-tuning")
        after = finalist_of(self.page, before.trial, outcomes, is_fine_tuned=True)
        chosen = choice.choose(before, after, section, self.page.sweep)
        print(chosen.reason, file=sys.stderr, flush=True)
        if chosen.is_chosen:
            network, threads = after.good[0].network, self.page.sweep.cores
            map_agreement.check(self.spark, network, section.blocks, self.folder, threads, after.fit)
        return replace(final, fine_tuned=chosen)


def spec_of(
    page: Experiment, dataset: Manifest, facts: TrialFacts, head: TrialSpec, section: FineTuneSection
) -> TrialSpec:
    """Describe the training of a finalist's network on images, after its head's training.

    The limits sweep.trial_seconds and sweep.trial_mebibytes do not apply: an epoch on images takes many times one on
    features.

    Args:
        dataset: the data set, whose images are trained on.
        facts: the hyper-parameters and the seed of the head.
        head: the training of the head.
    """
    own = TrialFacts(tuning.parameters(facts.parameters, section), seed_of(facts.seed, _STREAM))
    spec = trial_spec(page, head.builder, dataset, head.number, own, keep_network=True)
    return replace(spec, epochs=section.epochs, fine_tuning=FineTuning(head, section.blocks))


def at_once(slots: int, seeds: int, need: Need) -> int:
    """Return the number of trainings at once: no more than one host's memory has room for, as Spark may use only one.

    Args:
        slots: the number that Spark's cores and the driver allow.
        seeds: number of trainings.
    """
    return min(slots, seeds, need.room)


def forecast(
    page: Experiment, section: FineTuneSection, dataset: Manifest, winner: Finalist, need: Need, slots: int
) -> str:
    """Return what the further training of the winner will take, as a sentence for the log.

    Args:
        slots: number of trainings at once that Spark's cores and the driver allow.
    """
    seeds = len(winner.good)
    views = _views(page, winner.trial)
    images, validation = dataset.splits["train"], dataset.splits["validation"]
    maps = (images + validation) * views
    together = at_once(slots, seeds, need)
    epochs = section.epochs * (images * need.step_seconds + validation * need.evaluation_seconds)
    if page.promotion.train_on == "all":
        epochs += section.epochs * (images + validation) * need.step_seconds
    seconds = maps * need.trunk_seconds + -(-seeds // together) * epochs
    minutes = max(1, round(seconds / 60))
    return (
        f"fine-tuning {winner.name}: {need.first} to {need.last}, {need.weights:,} of {need.all_weights:,} weights; "
        f"{counted(images, 'image')} in {counted(views, 'view')}, {counted(section.epochs, 'epoch')}, "
        f"{counted(seeds, 'seed')}, {together} at once; about {minutes} min by a measured step, and "
        f"before it the training of each seed's head again; each process has {need.mebibytes:,.0f} MiB, and each host "
        f"keeps {maps * need.map_bytes / 2**20:,.0f} MiB of maps on its disk"
    )
