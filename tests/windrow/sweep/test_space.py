from __future__ import annotations

from typing import Any

import pytest
from windrow.experiment import Experiment, parse
from windrow.sweep import space


def page(spaces: str, sampler: str = "random", **sweep: Any) -> Experiment:
    settings = ", ".join(f"{key}: {value}" for key, value in {"sampler": sampler, **sweep}.items())
    return parse(f"name: a\nspace: {spaces}\nsweep: {{{settings}}}\n")


WIDE = (
    "{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}, units: {type: int, low: 16, high: 64, step: 16}, "
    "activation: {type: categorical, choices: [relu, tanh]}}"
)


@pytest.mark.parametrize("sampler", ["random", "quasi_random", "tpe"])
def test_every_sampler_draws_inside_the_space(sampler: str) -> None:
    import optuna

    searched = page(WIDE, sampler)
    study = optuna.create_study(sampler=space.sampler(searched.sweep, searched.space, 1))
    for _ in range(20):
        point = study.ask(space.distributions(searched.space)).params
        assert 1e-4 <= point["learning_rate"] <= 1e-1
        assert point["units"] in (16, 32, 48, 64)
        assert point["activation"] in ("relu", "tanh")


def test_quasi_random_points_cover_the_space_before_any_trial_has_finished() -> None:
    import optuna

    searched = page("{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}}", "quasi_random")
    study = optuna.create_study(sampler=space.sampler(searched.sweep, searched.space, 1))
    points = [study.ask(space.distributions(searched.space)).params["learning_rate"] for _ in range(16)]
    # One Sobol point falls into each sixteenth of the (log) range; sixteen random ones almost never do.
    import math

    assert {int((math.log10(point) + 4) / 3 * 16) for point in points} == set(range(16))


def test_a_grid_lists_every_value_from_low_to_high() -> None:
    searched = page(
        "{dropout: {type: float, low: 0, high: 0.3, step: 0.1}, units: {type: int, low: 1, high: 5, step: 2}}", "grid"
    )
    assert space.grid_values(searched.space["dropout"]) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert space.grid_values(searched.space["units"]) == [1, 3, 5]


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ({"learning_rate": 0.001, "units": 32, "activation": "relu"}, True),
        ({"learning_rate": 0.5, "units": 32, "activation": "relu"}, False),
        ({"learning_rate": 0.001, "units": 32, "activation": "gelu"}, False),
        ({"learning_rate": 0.001, "units": 40, "activation": "relu"}, False),
        ({"units": 32, "activation": "relu"}, False),
    ],
)
def test_a_point_outside_the_space_is_told_from_one_inside(point: dict[str, Any], inside: bool) -> None:
    assert space.contains(page(WIDE).space, point) is inside
