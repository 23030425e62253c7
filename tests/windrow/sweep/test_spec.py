"""What a trial is trained on and in which steps, as its page and its data set decide."""

from __future__ import annotations

from dataclasses import replace

import pytest
from windrow import experiment
from windrow.data.manifest import Manifest
from windrow.data.splits import StoredFit
from windrow.sweep.spec import facts_of, sized, stored_fit, trial_spec
from windrow.training.networks import Builder

PAGE = "name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\n"
FEATURES = Manifest("photos", "/photos", "d", (1, 1, 4), ("a", "b"), {}, {}, {"fit": "both"})


@pytest.mark.parametrize(("fit", "stored"), [("crop", "crop"), ("squash", "main")])
def test_a_trial_reads_the_images_of_its_fit_and_its_network_knows_nothing_of_it(fit: str, stored: StoredFit) -> None:
    page = experiment.parse(PAGE)
    facts = facts_of(page, 3, {"fit": fit, "dropout": 0.5})
    spec = trial_spec(page, Builder("head"), FEATURES, 3, facts)
    assert facts.parameters["fit"] == fit
    assert (spec.fit, stored_fit(page, facts.parameters)) == (stored, stored)
    assert "fit" not in spec.parameters
    assert spec.parameters["dropout"] == 0.5


def test_the_default_configuration_is_of_squashed_images() -> None:
    page = experiment.parse(PAGE)
    assert stored_fit(page, facts_of(page, 0, {}).parameters) == "main"


def test_a_data_set_of_cropped_images_only_has_them_under_the_only_name() -> None:
    page = experiment.parse(PAGE.replace("photos}", "photos, fit: crop}"))
    assert "fit" not in page.network.defaults()
    assert stored_fit(page, facts_of(page, 0, {}).parameters) == "main"


def test_a_users_function_may_have_a_hyper_parameter_of_that_name() -> None:
    page = experiment.parse(
        "name: a\nnetwork: {builder: 'a.py:f'}\nspace: {fit: {type: categorical, choices: [crop]}}\n"
    )
    facts = facts_of(page, 0, {"fit": "crop"})
    assert trial_spec(page, Builder("a.py:f", "", "f"), FEATURES, 0, facts).parameters["fit"] == "crop"
    assert stored_fit(page, facts.parameters) == "main"


def test_a_trials_batch_size_follows_the_training_images_and_its_own_counts() -> None:
    page = experiment.parse(PAGE)
    for images, wanted in ((30, 4), (1722, 64)):
        known = sized(page, replace(FEATURES, splits={"train": images, "validation": 999}))
        assert facts_of(known, 3, {"dropout": 0.5}).parameters["batch_size"] == wanted
        assert facts_of(known, 3, {"batch_size": 99}).parameters["batch_size"] == 99
        assert known.network.parameters == page.network.parameters
    dense = experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 9}}\n")
    assert facts_of(sized(dense, FEATURES), 0, {}) == facts_of(dense, 0, {})
