from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from windrow.errors import UserError
from windrow.experiment import Dimension, Experiment, IntDimension, parse
from windrow.experiment.parameters import Value
from windrow.sweep.sampling import samplers, sobol, space

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "quasi_random", "tpe")
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def _quiet_optuna() -> Iterator[None]:
    """No line a study on the terminal, and no warning of Optuna's either: a sweep's user could do nothing about it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    optuna.logging.set_verbosity(before)


def page(spaces: str, sampler: str = "random", **sweep: Any) -> Experiment:
    settings = ", ".join(f"{key}: {value}" for key, value in {"sampler": sampler, **sweep}.items())
    return parse(f"name: a\nspace: {spaces}\nsweep: {{{settings}}}\n")


WIDE = (
    "{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}, units: {type: int, low: 16, high: 64, step: 16}, "
    "activation: {type: categorical, choices: [relu, tanh]}}"
)

NESTED = (
    "{momentum: {type: float, low: 0, high: 0.9, when: {optimizer: sgd}}, "
    "dropout: {type: float, low: 0, high: 0.5, step: 0.1, when: {batch_norm: false, optimizer: [adam, sgd]}}, "
    "optimizer: {type: categorical, choices: [adam, sgd]}, "
    "batch_norm: {type: categorical, choices: [true, false], when: {layers: [2, 3]}}, "
    "layers: {type: int, low: 1, high: 3}}"
)


def ask(searched: Experiment, study: optuna.Study) -> dict[str, Value]:
    return space.suggest(study.ask(), searched.space, searched.network.defaults())


def new_study(searched: Experiment, seed: int = 1) -> optuna.Study:
    import optuna

    return optuna.create_study(sampler=samplers.sampler(searched.sweep, searched.space, seed))


def points(searched: Experiment, count: int, seed: int = 1) -> list[dict[str, Value]]:
    """What a search of its own asks for, each trial told before the next is asked."""
    study = new_study(searched, seed)
    asked = []
    for number in range(count):
        asked.append(ask(searched, study))
        study.tell(number, float(len(asked[-1])))
    return asked


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_inside_the_space(sampler: str) -> None:
    for point in points(page(WIDE, sampler), 20):
        assert 1e-4 <= point["learning_rate"] <= 1e-1  # type: ignore[operator]
        assert point["units"] in (16, 32, 48, 64)
        assert point["activation"] in ("relu", "tanh")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_a_dimension_only_where_its_condition_holds(sampler: str) -> None:
    searched = page(NESTED, sampler)
    seen = points(searched, 40)
    for point in seen:
        assert ("momentum" in point) == (point["optimizer"] == "sgd")
        assert ("batch_norm" in point) == (point["layers"] != 1)
        # batch_norm is false by default: where it is not searched, dropout is.
        assert ("dropout" in point) == (point.get("batch_norm", False) is False)
    assert len({frozenset(point) for point in seen}) >= 5, "of the six sets of dimensions that there are"


def test_a_condition_on_a_fixed_hyper_parameter_asks_the_default_configuration() -> None:
    text = "{momentum: {type: float, low: 0, high: 0.9, when: {optimizer: adam}}}"
    searched = page(text)
    assert "momentum" in points(searched, 1)[0]
    sgd = {**searched.network.defaults(), "optimizer": "sgd"}
    assert space.suggest(new_study(searched).ask(), searched.space, sgd) == {}


def test_a_value_that_was_enqueued_comes_as_its_dimensions_type() -> None:
    searched = page(WIDE.replace("low: 1e-4, high: 1e-1, log: true", "low: 0.5, high: 2"))
    study = new_study(searched)
    study.enqueue_trial({"learning_rate": 1, "units": 32.0, "activation": "tanh"})
    point = ask(searched, study)
    assert point == {"learning_rate": 1.0, "units": 32, "activation": "tanh"}
    assert [type(value) for value in point.values()] == [float, int, str]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_gives_the_same_points(sampler: str) -> None:
    assert points(page(NESTED, sampler), 20) == points(page(NESTED, sampler), 20)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_another_seed_gives_other_points(sampler: str) -> None:
    assert points(page(WIDE, sampler), 3) != points(page(WIDE, sampler), 3, seed=2)


def test_quasi_random_points_cover_the_space_before_any_trial_has_finished() -> None:
    searched = page("{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}}", "quasi_random")
    study = new_study(searched)
    rates = [ask(searched, study)["learning_rate"] for _ in range(16)]
    # One Sobol point falls into each sixteenth of the (log) range; sixteen random ones almost never do.
    assert {int((math.log10(float(rate)) + 4) / 3 * 16) for rate in rates} == set(range(16))


def test_quasi_random_points_visit_each_choice_and_step_alike() -> None:
    seen = [sobol.point(page(WIDE).space, 3, number) for number in range(32)]
    assert all(sum(point["units"] == units for point in seen) == 8 for units in (16, 32, 48, 64))
    assert sum(point["activation"] == "relu" for point in seen) == 16


def test_quasi_random_points_depend_on_the_trials_number_and_the_pages_seed_only() -> None:
    searched = page(NESTED, "quasi_random")
    whole = points(searched, 8)
    study = new_study(searched, seed=99)  # as a sweep that goes on makes its sampler anew
    for number in range(8):
        trial = study.ask()
        if number in (3, 6):
            found = space.suggest(trial, searched.space, searched.network.defaults())
            assert found == whole[number]
    assert points(page(NESTED, "quasi_random", seed=1), 8) != whole


def test_the_order_of_dimensions_on_the_page_does_not_move_quasi_random_points() -> None:
    first, second = "{units: {type: int, low: 1, high: 99}", "layers: {type: int, low: 1, high: 9}}"
    turned = page(f"{{{second[:-1]}, {first[1:]}}}").space
    assert sobol.point(page(f"{first}, {second}").space, 0, 5) == sobol.point(turned, 0, 5)


def test_whole_numbers_on_a_log_scale_are_drawn_from_end_to_end() -> None:
    searched = page("{units: {type: int, low: 1, high: 4, log: true}}", "quasi_random")
    assert {sobol.point(searched.space, 0, number)["units"] for number in range(16)} == {1, 2, 3, 4}


def test_a_grid_lists_every_value_from_low_to_high() -> None:
    searched = page(
        "{dropout: {type: float, low: 0.1, high: 0.3, step: 0.1}, units: {type: int, low: 1, high: 6, step: 2}}", "grid"
    )
    assert space.grid_values(searched.space["dropout"]) == [0.1, 0.2, 0.3]
    assert space.grid_values(searched.space["units"]) == [1, 3, 5]
    assert space.last(searched.space["units"]) == 5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_range_that_no_step_ends_is_searched_up_to_its_last_step(sampler: str) -> None:
    searched = page("{dropout: {type: float, low: 0, high: 0.5, step: 0.2}}", sampler)
    assert {point["dropout"] for point in points(searched, 30)} == {0.0, 0.2, 0.4}


def test_a_grid_visits_a_combination_once_whatever_a_dimension_that_is_not_searched_could_be() -> None:
    searched = page(
        "{layers: {type: int, low: 1, high: 2}, optimizer: {type: categorical, choices: [adam, sgd]}, "
        "momentum: {type: categorical, choices: [0.5, 0.9], when: {optimizer: sgd}}}",
        "grid",
    )
    assert space.grid(searched.space, (), searched.network.defaults()) == [
        {"layers": 1, "optimizer": "adam"},
        {"layers": 1, "optimizer": "sgd", "momentum": 0.5},
        {"layers": 1, "optimizer": "sgd", "momentum": 0.9},
        {"layers": 2, "optimizer": "adam"},
        {"layers": 2, "optimizer": "sgd", "momentum": 0.5},
        {"layers": 2, "optimizer": "sgd", "momentum": 0.9},
    ]


def test_a_grid_leaves_out_what_breaks_a_constraint() -> None:
    text = "name: a\nspace: {units: {type: int, low: 1, high: 3}, layers: {type: int, low: 1, high: 3}}\n"
    searched = parse(f"{text}constraints: [units * layers <= 3]")
    left = space.grid(searched.space, searched.constraints, searched.network.defaults())
    assert [tuple(point.values()) for point in left] == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]


def test_a_grid_in_an_order_of_its_own_has_the_same_points() -> None:
    searched = page(NESTED.replace("high: 0.9,", "high: 0.9, step: 0.3,"), "grid")
    defaults = searched.network.defaults()
    plain = space.grid(searched.space, (), defaults)
    mixed = space.grid(searched.space, (), defaults, seed=3)
    assert plain != mixed
    assert mixed == space.grid(searched.space, (), defaults, seed=3)
    assert sorted(map(str, plain)) == sorted(map(str, mixed))


def test_the_points_of_a_grid_can_be_enqueued_as_they_are() -> None:
    searched = page(NESTED.replace("high: 0.9,", "high: 0.9, step: 0.3,"), "grid")
    study = new_study(searched)
    every = space.grid(searched.space, (), searched.network.defaults())
    for point in every:
        study.enqueue_trial(point)
    assert [ask(searched, study) for _ in every] == every


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ({"learning_rate": 0.001, "units": 32, "activation": "relu"}, True),
        ({"learning_rate": 0.5, "units": 32, "activation": "relu"}, False),
        ({"learning_rate": 0.001, "units": 32, "activation": "gelu"}, False),
        ({"learning_rate": 0.001, "units": 40, "activation": "relu"}, False),
        ({"learning_rate": True, "units": 32, "activation": "relu"}, False),
        ({"units": 32, "activation": "relu"}, False),
    ],
)
def test_a_point_outside_the_space_is_told_from_one_inside(point: dict[str, Any], inside: bool) -> None:
    assert space.contains(page(WIDE).space, point) is inside


def test_half_a_unit_is_outside_a_range_of_whole_numbers() -> None:
    assert not space.contains(page("{units: {type: int, low: 8, high: 64}}").space, {"units": 32.5})


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ({"optimizer": "adam", "layers": 1, "dropout": 0.3}, True),
        ({"optimizer": "sgd", "layers": 1, "dropout": 0.3, "momentum": 0.5}, True),
        ({"optimizer": "sgd", "layers": 2, "batch_norm": True, "momentum": 0.5}, True),
        ({"optimizer": "sgd", "layers": 2, "batch_norm": True}, False),
        ({"optimizer": "adam", "layers": 1, "dropout": 0.3, "momentum": 0.5}, False),
        ({"optimizer": "adam", "layers": 2, "batch_norm": True, "dropout": 0.3}, False),
        ({"optimizer": "adam", "layers": 2, "batch_norm": 1}, False),
    ],
)
def test_a_point_has_exactly_the_dimensions_that_are_searched_there(point: dict[str, Any], inside: bool) -> None:
    searched = page(NESTED)
    assert space.contains(searched.space, point, searched.network.defaults()) is inside


def test_a_point_of_the_page_is_filled_with_the_defaults_of_what_is_searched() -> None:
    searched = page(NESTED)
    defaults = searched.network.defaults()
    assert space.filled(searched.space, {"optimizer": "sgd"}, defaults) == {
        **{"optimizer": "sgd", "layers": 1, "momentum": 0.9, "dropout": 0.0},
    }
    assert space.contains(searched.space, space.filled(searched.space, {}, defaults), defaults)


def test_parents_come_before_children_and_else_the_page_decides() -> None:
    assert space.order(page(NESTED).space) == ["optimizer", "layers", "momentum", "batch_norm", "dropout"]
    assert space.order(page(WIDE).space) == ["learning_rate", "units", "activation"]


def test_a_long_chain_of_conditions_is_put_in_order() -> None:
    names = [f"a{index}" for index in range(1_200)]  # beyond what Python would recurse
    chain: dict[str, Dimension] = {
        name: IntDimension(type="int", low=1, high=2, when={parent: (1,)}) for parent, name in pairwise(names)
    }
    reversed_chain = {name: chain[name] for name in reversed(names[1:])}
    assert space.order(reversed_chain) == names[1:]


def test_a_trial_is_allowed_if_it_keeps_every_constraint() -> None:
    searched = parse(f"name: a\nspace: {WIDE}\nconstraints: [units <= 32, learning_rate * units < 1]\n")
    assert space.allowed(searched.constraints, {"units": 32, "learning_rate": 0.01})
    assert not space.allowed(searched.constraints, {"units": 64, "learning_rate": 0.01})
    assert not space.allowed(searched.constraints, {"units": 32, "learning_rate": 0.1})
    assert space.allowed((), {})


@pytest.mark.parametrize(("sampler", "package"), [("gp", "torch"), ("cma_es", "cmaes")])
def test_a_sampler_whose_package_is_missing_says_how_to_get_it(
    sampler: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = page(WIDE, sampler)
    monkeypatch.setattr(samplers, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(UserError) as caught:
        samplers.sampler(searched.sweep, searched.space, 1)
    assert str(caught.value) == (
        f"sweep.sampler: {sampler} needs the package {package}; got an environment without it; "
        f"run pip install {package}, or take sampler tpe"
    )
    assert caught.value.exit_code == 2
    with pytest.raises(UserError):
        samplers.check_installed(searched.sweep)


def test_the_samplers_of_the_lock_need_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda name: None)
    for sampler in (*SAMPLERS, "grid"):
        samplers.check_installed(page(WIDE.replace("log: true", "step: 1e-4"), sampler).sweep)


@pytest.mark.parametrize(("sampler", "package"), [("gp", "torch"), ("cma_es", "cmaes")])
def test_a_sampler_whose_package_is_there_learns_in_a_conditional_space(sampler: str, package: str) -> None:
    pytest.importorskip(package)
    searched = page(NESTED, sampler)
    for point in points(searched, 15):
        assert space.contains(searched.space, point, searched.network.defaults())
    assert points(searched, 12) == points(searched, 12)


@st.composite
def nested_spaces(draw: st.DrawFn) -> Experiment:
    """Two to six dimensions of all kinds; each may hang on some before it, on the page in any order."""
    dims: dict[str, str] = {}
    values: dict[str, list[Any]] = {}
    for name in [f"d{index}" for index in range(draw(st.integers(2, 6)))]:
        parents = draw(st.lists(st.sampled_from(list(values) or ["momentum"]), max_size=2, unique=True))
        choices = {**values, "momentum": [0.9]}
        when = {parent: draw(st.sampled_from([choices[parent], choices[parent][:1]])) for parent in parents}
        written, values[name] = draw(
            st.sampled_from(
                [
                    ("type: categorical, choices: [x, y, true, 3]", ["y", True]),
                    ("type: categorical, choices: [only]", ["only"]),
                    ("type: int, low: -2, high: 2", [-2, 0]),
                    ("type: int, low: 1, high: 100, log: true", [1, 3]),
                    ("type: int, low: 0, high: 10, step: 4", [8, 0]),
                    ("type: float, low: 0.1, high: 0.75, step: 0.1", [0.3, 0.7]),
                ]
            )
        )
        dims[name] = f"{name}: {{{written}, when: {str(when).replace('True', 'true')}}}"
    dims["rate"] = "rate: {type: float, low: 1e-5, high: 1, log: true}"
    order = draw(st.permutations(list(dims)))
    sampler = draw(
        st.sampled_from([*SAMPLERS, *(name for name, package in samplers.EXTRAS.items() if find_spec(package))])
    )
    spaces = ", ".join(dims[name] for name in order)
    return parse(f"name: a\nnetwork: {{builder: 'n.py:f'}}\nspace: {{{spaces}}}\nsweep: {{sampler: {sampler}}}\n")


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(nested_spaces(), st.integers(0, 2**32 - 1))
def test_every_point_of_any_conditional_space_is_complete_legal_and_the_seeds(searched: Experiment, seed: int) -> None:
    defaults = searched.network.defaults()
    seen = points(searched, 14, seed)  # TPE learns from the eleventh on
    for point in seen:
        assert space.complete(searched.space, point, defaults)
        assert space.contains(searched.space, point, defaults)
    assert seen == points(searched, 14, seed)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(nested_spaces())
def test_the_grid_of_any_conditional_space_has_each_legal_point_once(searched: Experiment) -> None:
    dims = {name: dimension for name, dimension in searched.space.items() if name != "rate"}
    assume(math.prod(map(space.count, dims.values())) <= 500)
    defaults = searched.network.defaults()
    every = space.grid(dims, (), defaults)
    assert len({str(sorted(point.items())) for point in every}) == len(every)
    assert all(space.contains(dims, point, defaults) for point in every)
