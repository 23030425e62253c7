from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from windrow.atlas.table import error_of
from windrow.sweep.outcomes import Ending

Make = Callable[..., Any]


def test_errors_are_percents_and_less_is_better(study: Make) -> None:
    table = study(20)
    assert table.measure == "validation error, %"
    assert table.best is not None
    assert error_of(table.best) == min(error_of(trial) for trial in table.ended(Ending.OK))
    assert table.shown(1.3888) == "1.39 %"


def test_a_loss_stays_a_loss(study: Make) -> None:
    table = study(8, sweep="objective: val_loss", value=lambda point: 0.5 if point["activation"] == "relu" else 0.25)
    assert table.measure == "validation loss, nats"
    assert {error_of(trial) for trial in table.ranked} == {0.5, 0.75}
    assert error_of(table.ranked[0]) == 0.5


def test_macro_f1_is_a_share_as_accuracy_is(study: Make) -> None:
    accuracy, macro_f1 = study(8), study(8, sweep="objective: val_macro_f1, sampler: random")
    assert macro_f1.measure == "validation macro-F1 error, %"
    assert macro_f1.shown(1.3888) == "1.39 %"
    assert [trial.curve for trial in macro_f1.trials] == [trial.curve for trial in accuracy.trials]
    assert [error_of(trial) for trial in macro_f1.trials] == [error_of(trial) for trial in accuracy.trials]


def test_what_differs_is_told_from_what_does_not(study: Make) -> None:
    table = study(
        40,
        ended=lambda *_: Ending.OK,
        space="{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}, units: {type: int, low: 64, high: 64}}",
    )
    assert [parameter.name for parameter in table.parameters] == ["learning_rate"]
    assert table.constant == ("units",)


def test_a_parameter_knows_its_kind(study: Make) -> None:
    found = {parameter.name: parameter for parameter in study(40).parameters}
    assert found["activation"].values == ("relu", "tanh")
    assert not found["activation"].numeric
    assert found["learning_rate"].log
    assert found["momentum"].conditional
    assert not found["momentum"].log
    assert (found["units"].named, found["learning_rate"].named) == ("units", "a learning rate")


def test_numbers_among_choices_are_numbers_and_truths_are_not(study: Make) -> None:
    truths = "batch_norm: {type: categorical, choices: [true, false]}"
    space = f"{{batch_size: {{type: categorical, choices: [128, 16, 32]}}, {truths}}}"
    found = {each.name: each for each in study(40, space=space).parameters}
    assert found["batch_size"].values == (16, 32, 128)
    assert (found["batch_size"].numeric, found["batch_size"].log) == (True, True)
    assert not found["batch_norm"].numeric


def test_a_diverged_curve_ends_before_it_is_no_number(study: Make) -> None:
    table = study(60)
    diverged = table.ended(Ending.DIVERGED)
    assert diverged
    assert {len(trial.curve) for trial in diverged} == {1}
    assert all(trial.error is None for trial in diverged)


def test_an_error_of_nothing_is_drawn_below_the_least_and_said(study: Make) -> None:
    table = study(10, ended=lambda *_: Ending.OK, value=lambda point: 0.0 if point["activation"] == "relu" else 0.02)
    assert table.floor == pytest.approx(1.0)
    assert set(table.heights(table.ranked)) == {1.0, 2.0}
    assert "without any error are drawn at 1 %" in table.floor_note[0]


def test_trials_without_an_end_are_counted(study: Make) -> None:
    assert study(0).waiting == 0
    assert study(2, ended=lambda *_: Ending.LOST).waiting == 1, "a lost trial has a third attempt left"
