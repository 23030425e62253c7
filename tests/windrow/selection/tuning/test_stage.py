"""What is trained in the second stage of a promotion, and what the log says of it before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import UserError
from windrow.experiment import FineTuneSection, parse
from windrow.selection.finalists import finalist_of
from windrow.selection.tuning import stage
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import FineTuning, TrialFacts, facts_of, trial_spec
from windrow.sweep.tuning.tuning import Need
from windrow.training.networks import Builder

TEXT = """
name: a
dataset: {source: photos, fit: squash}
network: {backbone: lite0, parameters: {views: 2}}
sweep: {epochs: 20, trial_seconds: 9, trial_mebibytes: 900}
promotion: {seeds: 3, train_on: train, fine_tune: {blocks: 2, epochs: 4}}
"""
PAGE, SECTION = parse(TEXT), FineTuneSection(blocks=2, epochs=4)
IMAGES = Manifest("a", "photos", "images", (224, 224, 3), ("x", "y"), {"train": 1000, "validation": 200}, {}, {})
FEATURES = replace(IMAGES, digest="features", shape=(1, 1, 1280))
NEED = Need("block14_expand", "head", 1_000_000, 3_000_000, 0.004, 0.005, 0.001, 2**20, 700.0, room=8)


def test_the_head_is_trained_as_the_finalists_was_and_then_all_on_images_without_the_trials_limits() -> None:
    facts = TrialFacts(facts_of(PAGE, 3, {"learning_rate": 0.002}).parameters, seed=5)
    head = trial_spec(PAGE, Builder("head"), FEATURES, 3, facts, keep_network=True)
    spec = stage.spec_of(PAGE, IMAGES, facts, head, SECTION)
    assert spec.fine_tuning == FineTuning(head, 2)
    assert (head.dataset, head.epochs, head.seed, head.parameters["learning_rate"]) == ("features", 20, 5, 0.002)
    assert (spec.dataset, spec.epochs, spec.shape) == ("images", 4, (224, 224, 3))
    assert (spec.seconds, spec.mebibytes, spec.keep_network) == (None, None, True)
    assert spec.parameters["learning_rate"] == SECTION.learning_rate
    assert spec.seed != head.seed  # other batches than those of the head


def test_the_log_says_before_what_it_will_take() -> None:
    trial = Entry(3, {"learning_rate": 0.002}, 3, Outcome(3, 1, Ending.OK, 0.9))
    outcomes = [Outcome(3, 1, Ending.OK, 0.9, network=b"net", repeat=repeat) for repeat in (1, 2, 3)]
    winner = finalist_of(PAGE, trial, outcomes)
    # 2,400 maps in 9.6 s, and two rounds of 4 epochs of 5.2 s each.
    assert stage.forecast(PAGE, SECTION, IMAGES, winner, NEED, 2) == (
        "fine-tuning trial 3: block14_expand to head, 1,000,000 of 3,000,000 weights; 1,000 images in 2 views, "
        "4 epochs, 3 seeds, 2 at once; about 1 min by a measured step, and before it the training of each seed's head "
        "again; each process has 700 MiB, and each host keeps 2,400 MiB of maps on its disk"
    )
    assert "3 seeds, 1 at once" in stage.forecast(PAGE, SECTION, IMAGES, winner, replace(NEED, room=1), 2)
    everything = parse(TEXT, ["promotion.train_on=all", "promotion.fine_tune.epochs=40"])
    again = stage.forecast(everything, FineTuneSection(epochs=40), IMAGES, winner, NEED, 1)
    assert "3 seeds, 1 at once; about 23 min" in again


def test_maps_that_would_fill_a_disk_are_refused_before_any_training() -> None:
    stage.check_maps(NEED, IMAGES, 8)  # 1,200 images in 8 views of 1 MiB: 9.4 GiB
    with pytest.raises(
        UserError,
        match=r"must be at most 32 GiB for all images and views; got 37.5 GiB, 1,200 images in 8 views of 4,096 KiB; "
        r"lower promotion.fine_tune.blocks or views, or take another backbone",
    ):
        stage.check_maps(replace(NEED, map_bytes=2**22), IMAGES, 8)
