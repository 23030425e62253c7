"""Train the winner's repeats further on images, with the last blocks of its backbone, after saying what that takes.

stage = open_stage(spark, page, dataset, folder)     # checks the blocks, before the finalists are trained
final = stage.after(finalists.train(...))
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import UserError
from windrow.plural import counted
from windrow.selection.finalists import Final, Finalist, finalist_of
from windrow.selection.tuning import choice
from windrow.sweep import cluster, schedule, trial
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

_STREAM = 1  # so that the further training draws other batches than the training before it


def open_stage(spark: SparkSession, page: Experiment, dataset: Manifest, folder: Path) -> Stage:
    """Open the stage of a page, and measure in a Spark task what a step of it takes, if the page asks for the stage.

    Args:
        dataset, folder: the prepared data set, and its folder.

    Raises:
        UserError: the backbone has fewer blocks than the page wants.
        DatasetError: the backbone's features or its file are not there.
    """
    section, need = page.promotion.fine_tune, None
    if section is not None:
        cluster.ship_backbone(spark, page, folder)
        task = trained_on(page, dataset, folder).digest, section, page.network.defaults(), len(dataset.labels)
        spark.sparkContext.setJobDescription("measure a step of fine-tuning")
        threads, deterministic = page.sweep.cores, page.sweep.deterministic
        found = spark.sparkContext.parallelize([(*task, threads, deterministic)], 1).mapPartitions(_measure).collect()
        need = found[0]
        if need.error:
            raise UserError(need.error)
    return Stage(spark, page, dataset, folder, need)


def _measure(
    tasks: Iterable[tuple[str, FineTuneSection, dict[str, Value], int, int, bool]],
) -> Iterator[Need]:
    for digest, section, head, classes, threads, deterministic in tasks:
        trial.start_tensorflow(threads, deterministic)
        yield tuning.need(trial.shipped(digest) / trial.BACKBONE, section, head, classes)


@dataclass(frozen=True)
class Stage:
    """The stage of a page; `need` is what it takes on a worker, or None if the page has no such stage."""

    spark: SparkSession
    page: Experiment
    dataset: Manifest
    folder: Path
    need: Need | None

    def after(self, final: Final) -> Final:
        """Train the winner's repeats further, each with its seed, and choose; return `final` without such a stage."""
        section = self.page.promotion.fine_tune
        if section is None or self.need is None:
            return final
        before = final.winner
        slots = cluster.slots(self.spark, self.page.sweep.cores, self.page.sweep.slots)
        size = cluster.ship_backbone(self.spark, self.page, self.folder)
        slots = min(slots, cluster.room_for_networks(self.spark, size))
        print(forecast(self.page, section, self.dataset, before, self.need, slots), file=sys.stderr, flush=True)
        cluster.ship(self.spark, self.folder, self.dataset, "train", "validation")
        features, builder = trained_on(self.page, self.dataset, self.folder), Builder(self.page.network.builder)
        specs = [
            replace(spec_of(self.page, self.dataset, facts, head, section), repeat=repeat.number)
            for repeat in before.good
            for facts in [replace(facts_of(self.page, before.trial.number, before.trial.point), seed=repeat.seed)]
            for head in [trial_spec(self.page, builder, features, before.trial.number, facts, keep_network=True)]
        ]
        outcomes = schedule.run_each(self.spark, min(slots, len(specs)), specs)
        after = finalist_of(self.page, before.trial, outcomes, is_fine_tuned=True)
        chosen = choice.choose(before, after, section, self.page.sweep)
        print(chosen.reason, file=sys.stderr, flush=True)
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


def forecast(
    page: Experiment, section: FineTuneSection, dataset: Manifest, winner: Finalist, need: Need, slots: int
) -> str:
    """Return what the further training of the winner will take, as a sentence for the log.

    Args:
        slots: number of trainings at once.
    """
    seeds = len(winner.good)
    views = int(tuning.parameters(facts_of(page, winner.trial.number, winner.trial.point).parameters, section)["views"])
    images, validation = dataset.splits["train"], dataset.splits["validation"]
    maps = (images + validation) * views
    at_once = min(slots, seeds)
    epochs = section.epochs * (images * need.step_seconds + validation * need.evaluation_seconds)
    if page.promotion.train_on == "all":
        epochs += section.epochs * (images + validation) * (need.step_seconds + need.evaluation_seconds)
    seconds = maps * need.trunk_seconds + -(-seeds // at_once) * epochs
    return (
        f"fine-tuning {winner.name}: {need.first} to {need.last}, {need.weights:,} of {need.all_weights:,} weights; "
        f"{counted(images, 'image')} in {counted(views, 'view')}, {counted(section.epochs, 'epoch')}, "
        f"{counted(seeds, 'seed')}, {at_once} at once; about {max(1, round(seconds / 60))} min by a measured step; "
        f"each process has {need.mebibytes:,.0f} MiB, and reads {maps * need.map_bytes / 2**20:,.0f} MiB of maps"
    )
