"""Pages: what is legal, and the sentence for each mistake."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from windrow import experiment
from windrow.errors import PageError, Problem
from windrow.experiment import SweepSection, parameters, sections

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = sorted((REPOSITORY / "dags" / "experiments").glob("*.yaml"))
REFERENCE = (REPOSITORY / "docs" / "pages.md").read_text(encoding="utf-8")

KEYS = experiment.keys()

PAGE = """\
name: small
space:
  units: {type: int, low: 8, high: 64}
"""


def problems(text: str, *overrides: str) -> list[Problem]:
    """The mistakes of a page, which must have some."""
    with pytest.raises(PageError) as caught:
        experiment.parse(text, overrides)
    assert all(line.startswith("  ") for line in str(caught.value).splitlines()[1:]), "Airflow takes indented lines"
    return caught.value.problems


def sentences(text: str, *overrides: str) -> list[str]:
    return [str(problem) for problem in problems(text, *overrides)]


def dimension(written: str, name: str = "units", builder: str = "dense", sampler: str = "tpe") -> list[str]:
    """The mistakes of a page with one dimension, which stands in line 5."""
    return sentences(
        f"name: a\nnetwork: {{builder: {builder}}}\nsweep: {{sampler: {sampler}}}\nspace:\n  {name}: {written}\n"
    )


def test_there_are_shipped_pages() -> None:
    assert [path.name for path in SHIPPED] == [
        "digits.yaml",
        "fashion_mnist.yaml",
        "imagenet.yaml",
        "mnist.yaml",
        "mnist_dense.yaml",
        "mnist_sensitivity.yaml",
        "photos.yaml",
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_pages_load_and_are_called_as_their_files(path: Path) -> None:
    assert experiment.load(path).name == path.stem


def test_the_smallest_page_has_defaults_for_all_the_rest() -> None:
    page = experiment.parse(PAGE)
    assert page.dataset.source == "digits"
    assert page.network.defaults()["units"] == 64
    assert page.sweep.trials == 12
    assert page.scoring is None
    assert page.champion_uri == "models:/small@champion"


def test_the_pages_values_stand_above_the_networks_defaults() -> None:
    page = experiment.parse(PAGE + "network:\n  parameters: {units: 8}\n")
    assert page.network.defaults() == {**parameters.defaults("dense"), "units": 8}


def test_a_page_may_share_another_model_or_score_with_a_pinned_one() -> None:
    assert experiment.parse(PAGE + "promotion: {model: shared}").champion_uri == "models:/shared@champion"
    pinned = experiment.parse(PAGE + "scoring: {feed: '*.txt', model: 'models:/shared/3'}")
    assert pinned.champion_uri == "models:/shared/3"


def test_loss_is_lowered_and_accuracy_is_raised() -> None:
    assert experiment.parse(PAGE).sweep.direction == "maximize"
    assert experiment.parse(PAGE + "sweep: {objective: val_loss}").sweep.direction == "minimize"
    assert experiment.parse(PAGE + "sweep: {objective: val_macro_f1}").sweep.direction == "maximize"


@pytest.mark.parametrize("name", ["a", ".a", "a" * 255, f".{'a' * 254}"])
def test_a_model_has_a_name_of_255_characters_at_most(name: str) -> None:
    assert experiment.parse(f"{PAGE}promotion: {{model: {name}}}").champion_uri == f"models:/{name}@champion"


@pytest.mark.parametrize("name", ["a" * 256, f".{'a' * 255}"])
def test_a_model_has_no_longer_name(name: str) -> None:
    assert "at most 255 characters" in sentences(f"{PAGE}promotion: {{model: {name}}}")[0]


def test_a_page_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        experiment.parse(PAGE).sweep.trials = 3  # type: ignore[misc]


@pytest.mark.parametrize("number", ["1e-3", "1.5e-3", ".5e-2", "1e+0", "1.0e-3", "0.001"])
def test_numbers_may_have_an_exponent_without_a_point(number: str) -> None:
    page = experiment.parse(f"name: a\nspace: {{learning_rate: {{type: float, low: {number}, high: 2}}}}")
    assert page.model_dump()["space"]["learning_rate"]["low"] == float(number)


def test_a_whole_number_may_have_an_exponent() -> None:
    assert experiment.parse(PAGE + "sweep: {trials: 1e2}").sweep.trials == 100


@pytest.mark.parametrize("section", ["dataset", "network", "sweep", "promotion"])
def test_a_section_with_nothing_under_it_has_its_defaults(section: str) -> None:
    assert experiment.parse(f"{PAGE}{section}:\n") == experiment.parse(PAGE)


def test_a_network_may_have_nothing_under_its_parameters() -> None:
    assert experiment.parse(PAGE + "network:\n  parameters:\n") == experiment.parse(PAGE)


def test_a_scoring_section_with_nothing_under_it_lacks_its_feed() -> None:
    assert sentences(PAGE + "scoring:\n") == ["scoring.feed (line 4): is missing; add it"]


def test_an_empty_schedule_means_none_and_an_absent_one_the_nightly_default() -> None:
    scoring = PAGE + "scoring:\n  feed: '*.txt'\n"
    assert experiment.parse(f"{scoring}  schedule:\n").scoring.schedule is None  # type: ignore[union-attr]
    assert experiment.parse(f"{scoring}  schedule: ''\n").scoring.schedule is None  # type: ignore[union-attr]
    assert experiment.parse(scoring).scoring.schedule == "0 3 * * *"  # type: ignore[union-attr]


@pytest.mark.parametrize("cron", ["* * * * * *", "0 3 * * * 30", "0 3 * *"])
def test_a_schedule_has_five_fields(cron: str) -> None:
    (told,) = sentences(PAGE + f"scoring: {{feed: '*.txt', schedule: '{cron}'}}")
    assert "must be a cron expression" in told
    assert "write minute, hour, day, month and weekday" in told


@pytest.mark.parametrize("networks", ["[127.0.0.0/8]", "[0.0.0.0/0, '::/0']", "[10.1.2.3]", "[]"])
def test_allowed_addresses_are_networks_of_both_kinds(networks: str) -> None:
    page = experiment.parse(PAGE + f"scoring: {{feed: a, allow_addresses: {networks}}}")
    assert page.scoring is not None
    assert len(page.scoring.allow_addresses) == len(yaml.safe_load(networks))


@pytest.mark.parametrize("text", [PAGE.replace("\n", "\r\n"), "\ufeff" + PAGE], ids=["CRLF", "BOM"])
def test_files_from_windows_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.yaml").write_bytes(text.encode())
    assert experiment.load(tmp_path / "page.yaml") == experiment.parse(PAGE)


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    assert sentences(PAGE + "sweep:\n  trails: 8\n") == [
        "sweep.trails (line 5): unknown key; did you mean trials?; "
        "known keys are sampler, trials, stop_after, epochs, patience, objective, objectives, seed, slots, cores, "
        "pruner, prune_after, trial_seconds, trial_mebibytes, budget_seconds, deterministic, generation, fused, "
        "warm_start, points, "
        "sensitivity, schedule, after_drift"
    ]


def test_a_page_that_does_not_score_waits_for_no_drift() -> None:
    (said,) = sentences(PAGE + "sweep: {after_drift: 0.25}\n")
    assert said == (
        "sweep.after_drift (line 4): must be empty on a page that does not score, where nothing can move; got 0.25; "
        "add scoring, or remove it"
    )
    assert experiment.parse(PAGE + "sweep: {after_drift: 0.25}\nscoring: {feed: x}\n").sweep.after_drift == 0.25


def test_an_unknown_section_is_refused() -> None:
    (problem,) = problems(PAGE + "datset: {source: digits}")
    assert (problem.key, problem.line) == ("datset", 4)
    assert problem.message.startswith("unknown key; did you mean dataset?; known keys are name, description, dataset,")


def test_an_unknown_key_of_a_dimension_is_refused() -> None:
    assert dimension("{type: int, low: 8, high: 64, setp: 8}") == [
        "space.units.setp (line 5): unknown key; did you mean step?; known keys are low, high, log, step, when, type"
    ]


def test_nothing_is_guessed_where_nothing_is_close() -> None:
    assert "did you mean" not in sentences(PAGE + "zzz: 1")[0]


def test_a_key_that_stands_twice_is_refused_with_both_lines() -> None:
    assert sentences(PAGE + "sweep:\n  trials: 8\n  trials: 9\n") == [
        "sweep.trials (line 6): must stand once; got another in line 5; remove one"
    ]


def test_a_hyper_parameter_that_stands_twice_is_refused() -> None:
    (sentence,) = sentences(PAGE + "  units: {type: int, low: 1, high: 2}\n")
    assert sentence == "space.units (line 4): must stand once; got another in line 3; remove one"


@pytest.mark.parametrize("key", ["on", "1", "null", "2026-01-01", "<<"])
def test_a_key_that_is_no_text_to_yaml_is_an_unknown_key_in_its_own_line(key: str) -> None:
    (sentence,) = sentences(f"{PAGE}{key}: {{a: 1}}\n")
    assert sentence.startswith(f"{key} (line 4): unknown key; known keys are")


def test_keys_that_are_missing_are_asked_for() -> None:
    assert sentences("description: a\n") == [
        "name: is missing; add name: digits",
        "space: is missing; add at least one hyper-parameter under it, "
        "for example learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}",
    ]


@pytest.mark.parametrize("space", ["space:", "space: {}"])
def test_an_empty_space_is_refused(space: str) -> None:
    assert sentences(f"name: a\n{space}\n") == [
        "space (line 2): needs at least one hyper-parameter; got none; add one, e.g. learning_rate"
    ]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            "{type: int, low: 64, high: 8}",
            "space.units.low (line 5): must not be above high; got low 64 and high 8; swap them",
        ),
        (
            "{type: categorical, choices: []}",
            "space.units.choices (line 5): needs at least one value; got []; add one",
        ),
        (
            "{type: categorical, choices: [[16]]}",
            "space.units.choices.0 (line 5): must be one value: a number, a text, true or false; got [16]",
        ),
        (
            "{type: categorical}",
            "space.units.choices (line 5): is missing; add choices: [16, 32, 64]",
        ),
        (
            "{type: categorical, choices: 8}",
            "space.units.choices (line 5): must be a list; got 8; write [8]",
        ),
        (
            "{type: categorical, choices: [8, 16, 8]}",
            "space.units.choices (line 5): must not repeat a value; got 8 twice; remove one",
        ),
        (
            "{type: categorical, choices: [8, [16]]}",
            "space.units.choices.1 (line 5): must be one value: a number, a text, true or false; got [16]",
        ),
        (
            "{low: 8, high: 64}",
            "space.units.type (line 5): is missing; add type: float, int or categorical",
        ),
        (
            "{type: itn, low: 8, high: 64}",
            "space.units.type (line 5): must be float, int or categorical; got 'itn'; did you mean int?",
        ),
        (
            "[8, 64]",
            "space.units (line 5): must be a range or a list of choices; got [8, 64]; "
            "for example {type: int, low: 32, high: 256}",
        ),
        (
            "{type: int, low: 8}",
            "space.units.high (line 5): is missing; add it",
        ),
        (
            "{type: int, low: 8.5, high: 64}",
            "space.units.low (line 5): must be a whole number; got 8.5",
        ),
        (
            "{type: int, low: 8, high: .inf}",
            "space.units.high (line 5): must be a finite number; got inf",
        ),
        (
            "{type: int, low: 8, high: 64, step: 0}",
            "space.units.step (line 5): must be at least 1; got 0; raise it",
        ),
        (
            "{type: int, low: 8, high: 64, log: 1}",
            "space.units.log (line 5): must be true or false; got 1",
        ),
        (
            "{type: int, low: 8, high: 64, log: true, step: 8}",
            "space.units.step (line 5): must be absent on a log scale; got 8; drop step or log",
        ),
        (
            "{type: float, low: 8, high: 64}",
            "space.units.type (line 5): must be int or categorical for units, a whole number; got 'float'; write int",
        ),
        (
            "{type: int, low: 8, high: 20000}",
            "space.units.high (line 5): must be at most 16384; got 20000",
        ),
        (
            "{type: categorical, choices: [8, 0, x]}",
            "space.units.choices.1 (line 5): must be at least 1; got 0",
        ),
    ],
)
def test_a_dimension_with_a_mistake_gets_its_sentence(written: str, sentence: str) -> None:
    assert dimension(written)[0] == sentence


def test_a_log_scale_from_0_is_refused_once() -> None:
    assert dimension("{type: float, low: 0, high: 1, log: true}", "learning_rate") == [
        "space.learning_rate.low (line 5): must be above 0 on a log scale; got 0; raise it, or drop log"
    ]


@pytest.mark.parametrize(
    ("name", "values"), [("batch_norm", "true, false"), ("activation", "relu, tanh, elu, gelu, selu")]
)
def test_a_range_is_refused_where_the_network_takes_words(name: str, values: str) -> None:
    assert dimension("{type: int, low: 0, high: 1}", name) == [
        f"space.{name}.type (line 5): must be categorical for {name}; got 'int'; list choices of {values}"
    ]


def test_all_mistakes_of_one_dimension_are_told_at_once() -> None:
    assert dimension("{type: int, low: 99999, high: 0, setp: 3, log: sure}") == [
        "space.units.log (line 5): must be true or false; got 'sure'",
        "space.units.setp (line 5): unknown key; did you mean step?; known keys are low, high, log, step, when, type",
        "space.units.low (line 5): must not be above high; got low 99999 and high 0; swap them",
        "space.units.high (line 5): must be at least 1; got 0",
    ]


def test_a_hyper_parameter_that_the_network_does_not_know_is_refused() -> None:
    assert dimension("{type: int, low: 1, high: 2}", "unitss")[0].startswith(
        "space.unitss (line 5): unknown to dense; did you mean units?; known are layers, units, activation,"
    )
    assert "unknown to cnn" in dimension("{type: int, low: 1, high: 2}", "layers", builder="cnn")[0]


def test_a_grid_needs_a_step_for_a_float() -> None:
    assert dimension("{type: float, low: 0, high: 0.5}", "dropout", sampler="grid") == [
        "space.dropout (line 5): must have a step on a grid; got none; add step, list choices, or take another sampler"
    ]


@pytest.mark.parametrize("written", ["{type: float, low: 0.5, high: 0}", "{type: float, low: 0, high: 0.5, stpe: 0.1}"])
def test_a_grid_says_nothing_of_a_dimension_that_is_wrong_anyway(written: str) -> None:
    assert len(dimension(written, "dropout", sampler="grid")) == 1


def test_a_grid_has_a_largest_size() -> None:
    space = "space:\n  units: {type: int, low: 1, high: 10000}\n  layers: {type: int, low: 1, high: 11}\n"
    assert sentences(f"name: a\nsweep: {{sampler: grid}}\n{space}") == [
        "sweep.sampler (line 2): must have at most 100,000 points on a grid; got 110,000; widen the steps, or take tpe"
    ]
    experiment.parse(f"name: a\nsweep: {{sampler: grid}}\n{space}".replace("11}", "10}"))


def test_a_grid_of_tiny_steps_is_counted_not_made() -> None:
    written = "{type: float, low: 0, high: 0.5, step: 1e-300}"
    assert "must have at most 100,000 points" in dimension(written, "dropout", sampler="grid")[0]


CONDITIONAL = """\
name: a
network:
  parameters: {decay: cosine, dropout: 0.2}
space:
  units: {type: int, low: 8, high: 60}
  layers: {type: int, low: 1, high: 3}
  optimizer: {type: categorical, choices: [sgd, adam]}
  momentum: {type: float, low: 0, high: 0.9, when: {optimizer: sgd}}
"""


def with_when(when: str) -> list[str]:
    """The mistakes of a condition of batch_norm, which stands in line 9."""
    return sentences(f"{CONDITIONAL}  batch_norm: {{type: categorical, choices: [true, false], when: {when}}}\n")


@pytest.mark.parametrize(
    "when",
    [
        *("{optimizer: adam}", "{optimizer: [adam, sgd], layers: [2, 3]}", "{decay: cosine}", "{momentum: 0.9}", "{}"),
        *("{units: 8.0}", "{dropout: [0.2]}"),
    ],
)
def test_a_condition_asks_for_values_that_can_come(when: str) -> None:
    page = experiment.parse(f"{CONDITIONAL}  batch_norm: {{type: categorical, choices: [true], when: {when}}}\n")
    assert page.model_dump(mode="json")["space"]["batch_norm"]["when"].keys() == yaml.safe_load(when).keys()


def test_a_condition_may_ask_for_the_default_of_a_parent_that_is_not_always_searched() -> None:
    text = CONDITIONAL.replace("dropout: 0.2", "momentum: 0.95")  # outside of the range that is searched
    experiment.parse(f"{text}  batch_norm: {{type: categorical, choices: [true], when: {{momentum: 0.95}}}}\n")


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        (
            "{optimizer: adm}",
            "space.batch_norm.when.optimizer (line 9): must be a value that optimizer can take ('sgd', 'adam'); "
            "got 'adm'; did you mean adam?",
        ),
        (
            "{layers: [1, 2, 5]}",
            "space.batch_norm.when.layers.2 (line 9): must be a value that layers can take (1 to 3); got 5",
        ),
        (
            "{layers: true}",
            "space.batch_norm.when.layers (line 9): must be a value that layers can take (1 to 3); got true",
        ),
        (
            "{units: 8.5}",
            "space.batch_norm.when.units (line 9): must be a value that units can take (8 to 60); got 8.5",
        ),
        (
            "{decay: none}",
            "space.batch_norm.when.decay (line 9): must be what decay always is, 'cosine'; got 'none'; "
            "add decay to the space, or drop the condition",
        ),
        (
            "{batch_norm: true}",
            "space.batch_norm.when.batch_norm (line 9): must be another hyper-parameter; got batch_norm itself; "
            "remove it",
        ),
        (
            "{layers: }",
            "space.batch_norm.when.layers (line 9): must be one value: a number, a text, true or false; got nothing; "
            "give a value, or leave the key out",
        ),
        (
            "{layers: []}",
            "space.batch_norm.when.layers (line 9): needs at least one value; got []; add one",
        ),
        (
            "{layers: [{a: 1}]}",
            "space.batch_norm.when.layers.0 (line 9): must be one value: a number, a text, true or false; got {'a': 1}",
        ),
        (
            "optimizer",
            "space.batch_norm.when (line 9): must be names with something under each; got 'optimizer'; "
            "for example {optimizer: sgd}",
        ),
    ],
)
def test_a_condition_with_a_mistake_gets_its_sentence(when: str, sentence: str) -> None:
    assert with_when(when) == [sentence]


def test_a_condition_on_an_unknown_hyper_parameter_lists_the_known_ones() -> None:
    (sentence,) = with_when("{optimzer: sgd}")
    assert sentence.startswith(
        "space.batch_norm.when.optimzer (line 9): unknown hyper-parameter; did you mean optimizer?; "
        "known are units, layers, optimizer, momentum, batch_norm, activation, dropout, "
    )


def test_conditions_in_a_cycle_are_told_once_with_the_way() -> None:
    text = "name: a\nspace:\n" + "".join(
        f"  {name}: {{type: int, low: 1, high: 2, when: {{{parent}: 1}}}}\n"
        for name, parent in (("shift", "units"), ("units", "layers"), ("layers", "batch_size"), ("batch_size", "units"))
    )
    assert sentences(text) == [
        "space.units.when.layers (line 4): must not lead back to units; got units → layers → batch_size → units; "
        "drop one of these conditions"
    ]


def test_two_cycles_are_both_told_and_what_hangs_on_one_is_not() -> None:
    text = """\
name: a
space:
  shift: {type: int, low: 1, high: 2, when: {units: 1, rotation: 1}}
  units: {type: int, low: 1, high: 2, when: {layers: 1}}
  layers: {type: int, low: 1, high: 2, when: {units: 1}}
  rotation: {type: int, low: 1, high: 2, when: {batch_size: 1}}
  batch_size: {type: int, low: 1, high: 2, when: {rotation: 1}}
"""
    assert [problem.key for problem in problems(text)] == ["space.units.when.layers", "space.rotation.when.batch_size"]


@pytest.mark.parametrize("when", ["b{}: 1", "a0: 3", "a{}: 1"])
def test_a_page_with_thousands_of_mistakes_is_told_in_a_text_that_can_be_read(when: str) -> None:
    dims = [f"  a{index}: {{type: int, low: 1, high: 2, when: {{{when.format(index)}}}}}" for index in range(1_000)]
    found = problems("name: a\nnetwork: {builder: 'n.py:f'}\nspace:\n" + "\n".join(dims))
    assert len(found) >= 999
    assert max(len(str(problem)) for problem in found) < 1_000


def test_a_condition_of_a_dimension_with_other_mistakes_is_looked_at_too() -> None:
    text = CONDITIONAL.replace("low: 0, high: 0.9, when: {optimizer: sgd}", "low: 1, high: 0, when: {optimizer: sdg}")
    assert [problem.key for problem in problems(text)] == ["space.momentum.low", "space.momentum.when.optimizer"]


def test_a_parent_with_mistakes_makes_no_second_one() -> None:
    text = CONDITIONAL.replace("choices: [sgd, adam]", "choices: []")
    assert [problem.key for problem in problems(text)] == ["space.optimizer.choices"]


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        (
            "units * layerz <= 99",
            "constraints.0 (line 9): has an unknown hyper-parameter, layerz; did you mean layers?; "
            "known are units, layers, optimizer, momentum, activation, dropout, batch_norm, learning_rate, batch_size, "
            "weight_decay, decay, shift, rotation, zoom, flip, contrast, brightness, class_weight, "
            "label_smoothing",
        ),
        (
            "batch_size <= 99",
            "constraints.0 (line 9): must name a hyper-parameter of the space (units, layers, optimizer, momentum); "
            "got 'batch_size <= 99'",
        ),
        (
            "units * layers",
            "constraints.0 (line 9): must be true or false, and count with numbers only; got 'units * layers'; "
            "compare the result, such as units * layers <= 512",
        ),
        (
            "optimizer < 3",
            "constraints.0 (line 9): must be true or false, and count with numbers only; got 'optimizer < 3'; "
            "compare the result, such as units * layers <= 512",
        ),
        (
            "units <",
            "constraints.0 (line 9): must be an expression such as \"units * layers <= 512\"; got 'units <'",
        ),
        ("3", "constraints.0 (line 9): must be text; got 3; put it in quotes"),
    ],
)
def test_a_constraint_with_a_mistake_gets_its_sentence(constraint: str, sentence: str) -> None:
    assert sentences(f"{CONDITIONAL}constraints: [{constraint}]\n") == [sentence]


def test_each_constraint_has_its_own_line() -> None:
    text = f"{CONDITIONAL}constraints:\n  - units < 3\n  - unit < 3\n  - units.real < 3\n  - units ** units\n"
    assert [(problem.key, problem.line) for problem in problems(text)] == [("constraints.2", 12)]
    text = text.replace("  - units.real < 3\n", "")
    assert [(problem.key, problem.line) for problem in problems(text)] == [("constraints.1", 11), ("constraints.2", 12)]


def test_constraints_are_a_list() -> None:
    assert sentences(f"{CONDITIONAL}constraints: units < 3\n") == [
        "constraints (line 9): must be a list; got 'units < 3'; write [units < 3]"
    ]


def test_a_users_network_needs_a_value_for_a_constraint_where_a_dimension_is_not_searched() -> None:
    text = (
        "name: a\nnetwork: {builder: 'n.py:f'}\nspace:\n  wings: {type: int, low: 0, high: 2}\n"
        "  span: {type: int, low: 1, high: 9, when: {wings: [1, 2]}}\nconstraints: [span * wings < 9]\n"
    )
    assert sentences(text) == [
        "constraints.0 (line 6): must have a value of span where it is not searched; add network.parameters.span"
    ]
    experiment.parse(text, ["network.parameters.span=0"])


@pytest.mark.parametrize(
    ("point", "sentence"),
    [
        (
            "{layers: 2}",
            "sweep.points.0 (line 10): needs a value of units, whose default lies outside the space (8 to 60); got 64; "
            "add units",
        ),
        (
            "{units: 60, layers: 3}",
            "sweep.points.0 (line 10): must keep the constraint units * layers <= 150; got {'units': 60, 'layers': 3}; "
            "change a value",
        ),
        ("{units: 8.5}", "sweep.points.0.units (line 10): must lie in the space (8 to 60); got 8.5"),
        ("{units: '8'}", "sweep.points.0.units (line 10): must lie in the space (8 to 60); got '8'"),
        (
            "{units: 8, momentum: 0.2}",
            "sweep.points.0.momentum (line 10): must be left out where momentum is not searched; got 0.2; "
            "fix the point, or when",
        ),
        (
            "{units: 8, layres: 2}",
            "sweep.points.0.layres (line 10): must be a hyper-parameter of the space; did you mean layers?; "
            "they are units, layers, optimizer, momentum",
        ),
        (
            "{units: [8]}",
            "sweep.points.0.units (line 10): must be one value: a number, a text, true or false; got [8]",
        ),
        ("3", "sweep.points.0 (line 10): must be names with something under each; got 3; for example dropout: 0.2"),
    ],
)
def test_a_point_with_a_mistake_gets_its_sentence(point: str, sentence: str) -> None:
    text = f"{CONDITIONAL}constraints: [units * layers <= 150]\nsweep: {{points: [{point}]}}\n"
    assert sentences(text) == [sentence]


def test_points_in_the_space_are_taken_as_they_are_written() -> None:
    text = "sweep: {points: [{units: 8}, {units: 9, optimizer: sgd, momentum: 0.5}, {units: 10, optimizer: sgd}]}"
    assert [len(point) for point in experiment.parse(CONDITIONAL + text).sweep.points] == [1, 3, 2]


def test_the_mistakes_of_points_are_told_with_those_of_other_sections() -> None:
    told = problems(f"{CONDITIONAL}sweep: {{points: [{{units: 99}}], trials: 0}}\npromotion: {{seeds: 0}}\n")
    assert {problem.key for problem in told} == {"sweep.points.0.units", "sweep.trials", "promotion.seeds"}


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        (
            "{deterministic: true, pruner: asha}",
            "sweep.deterministic (line 4): must be false with a pruner, which depends on what ends first; "
            "got true and asha; drop either",
        ),
        (
            "{pruner: median, epochs: 1}",
            "sweep.pruner (line 4): must be none where a trial has one epoch, so nothing to prune; got 'median'; "
            "raise epochs",
        ),
        *(
            (
                f"{{warm_start: earlier, sampler: {sampler}}}",
                f"sweep.warm_start (line 4): must be empty with a sampler that learns nothing; got sampler {sampler}; "
                "take tpe, gp or cma_es",
            )
            for sampler in ("grid", "quasi_random", "random")
        ),
        *(
            (
                f"{{objectives: {goals}}}",
                "sweep.objectives (line 4): must be two goals, one of val_accuracy, val_loss, val_macro_f1, and "
                f"weights or milliseconds; got {goals}; for example [val_accuracy, weights]",
            )
            for goals in ("['weights']", "['val_accuracy']", "['weights', 'val_loss']", "['val_loss', 'val_accuracy']")
        ),
        (
            "{objectives: [val_loss, weights], objective: val_accuracy}",
            "sweep.objective (line 4): must be the first of objectives, val_loss; got 'val_accuracy'; remove it",
        ),
        (
            "{objectives: [val_accuracy, weights], pruner: median}",
            "sweep.pruner (line 4): must be none or asha with two objectives; got 'median'; take asha",
        ),
        (
            "{objectives: [val_accuracy, weights], sampler: cma_es}",
            "sweep.sampler (line 4): must be one for two objectives; got 'cma_es'; take tpe",
        ),
        (
            "{objectives: [val_accuracy, weights], warm_start: earlier}",
            "sweep.warm_start (line 4): must be empty or champion with two objectives; got 'earlier'; remove it",
        ),
        (
            "{objectives: [val_accuracy, weights], stop_after: 5}",
            "sweep.stop_after (line 4): must be empty with two objectives, which have no best; got 5; remove it",
        ),
        (
            "{objectives: [val_accuracy, milliseconds], deterministic: true}",
            "sweep.deterministic (line 4): must be false with milliseconds, which no two runs measure alike; got true; "
            "take weights",
        ),
        ("{pruner: hyperband}", "sweep.pruner (line 4): must be 'none', 'asha' or 'median'; got 'hyperband'"),
        ("{trial_seconds: 0}", "sweep.trial_seconds (line 4): must be above 0; got 0; raise it"),
        ("{trial_seconds: .inf}", "sweep.trial_seconds (line 4): must be a finite number; got inf"),
        ("{budget_seconds: -1}", "sweep.budget_seconds (line 4): must be above 0; got -1; raise it"),
        ("{trial_mebibytes: 200}", "sweep.trial_mebibytes (line 4): must be at least 256; got 200; raise it"),
        ("{prune_after: 0}", "sweep.prune_after (line 4): must be above 0; got 0; raise it"),
        ("{prune_after: 1}", "sweep.prune_after (line 4): must be below 1; got 1; lower it"),
        ("{generation: 0}", "sweep.generation (line 4): must be at least 1; got 0; raise it"),
        ("{fused: 1}", "sweep.fused (line 4): must be true or false; got 1"),
        ("{warm_start: ''}", "sweep.warm_start (line 4): must not be empty; got ''"),
    ],
)
def test_keys_of_the_sweep_that_do_not_go_together_get_their_sentence(sweep: str, sentence: str) -> None:
    assert sentences(f"{PAGE}sweep: {sweep}\n") == [sentence]


@pytest.mark.parametrize(
    "sweep",
    [
        *("{deterministic: true, trial_seconds: 60, budget_seconds: 600}", "{pruner: asha, epochs: 2}"),
        *("{warm_start: earlier, sampler: gp}", "{warm_start: earlier}", "{pruner: none, epochs: 1}"),
        *("{objectives: [val_loss, weights], deterministic: true}", "{objectives: [val_loss, weights], pruner: asha}"),
        "{objectives: [val_loss, milliseconds], objective: val_loss, warm_start: champion, sampler: gp}",
        *(f"{{warm_start: champion, sampler: {sampler}}}" for sampler in ("grid", "random", "tpe")),
    ],
)
def test_keys_of_the_sweep_that_go_together_are_taken(sweep: str) -> None:
    experiment.parse(f"{PAGE}sweep: {sweep}\n")


def test_the_points_of_a_sensitivity_study_are_given_and_no_champions() -> None:
    text = PAGE + "  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}\n"
    sweep = "{sampler: sensitivity, sensitivity: {parameters: [units, learning_rate]}, warm_start: champion}"
    assert sentences(f"{text}sweep: {sweep}\n") == [
        "sweep.warm_start (line 5): must be empty with the sampler sensitivity, whose points are given; got champion; "
        "remove it"
    ]
    scheduled = sweep.replace("warm_start: champion", "schedule: 0 1 * * *")
    assert not experiment.parse(f"{text}sweep: {scheduled}\n").sweep.tries_champion


def test_the_first_of_two_goals_is_the_objective() -> None:
    page = experiment.parse(f"{PAGE}sweep: {{objectives: [val_loss, weights]}}\n")
    assert (page.sweep.objective, page.sweep.direction, page.sweep.cost) == ("val_loss", "minimize", "weights")
    again = experiment.Experiment.model_validate(page.model_dump(mode="json", exclude={"scoring"}))
    assert again.sweep == page.sweep
    assert experiment.parse(PAGE, ["sweep.objectives=[val_macro_f1, milliseconds]"]).sweep.objective == "val_macro_f1"
    assert experiment.parse(PAGE).sweep.cost is None


@pytest.mark.parametrize(
    ("sweep", "tries"),
    [
        *(("{}", False), ("{warm_start: champion}", True), ("{schedule: 0 1 * * sun}", True)),
        *(("{deterministic: true, schedule: 0 1 * * *}", False), ("{deterministic: true, warm_start: champion}", True)),
        ("{warm_start: earlier, schedule: 0 1 * * *}", False),
    ],
)
def test_a_page_that_trains_by_itself_tries_its_champions_point(sweep: str, tries: bool) -> None:
    assert experiment.parse(f"{PAGE}sweep: {sweep}\n").sweep.tries_champion is tries


def test_a_page_that_trains_after_drift_tries_its_champions_point() -> None:
    text = f"{PAGE}sweep: {{after_drift: 0.25}}\nscoring: {{feed: a}}\n"
    assert experiment.parse(text).sweep.tries_champion
    assert not experiment.parse(text, ["sweep.after_drift=null"]).sweep.tries_champion


def test_a_builder_is_a_known_name_or_a_function_in_a_file() -> None:
    assert sentences(PAGE + "network: {builder: dens}") == [
        "network.builder (line 4): must be dense, cnn, head or FILE.py:FUNCTION; got 'dens'"
    ]
    network = experiment.parse(PAGE + "network: {builder: 'mine/net.py:build'}").network
    assert network.function == ("mine/net.py", "build")


def test_values_outside_the_networks_ranges_are_refused() -> None:
    assert sentences(PAGE + "network:\n  parameters:\n    dropout: 2\n    layers: 1.5\n    activation: rleu\n") == [
        "network.parameters.dropout (line 6): must be at most 0.95; got 2",
        "network.parameters.layers (line 7): must be a whole number; got 1.5",
        "network.parameters.activation (line 8): must be one of relu, tanh, elu, gelu, selu; got 'rleu'",
    ]


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_infinite_values_are_refused(value: str) -> None:
    (sentence,) = sentences(PAGE + f"network: {{parameters: {{units: {value}}}}}")
    assert sentence.startswith("network.parameters.units (line 4): must be a finite number; got ")


def test_a_users_network_may_take_any_name_that_a_function_can_have() -> None:
    network = "network: {builder: 'net.py:build', parameters: {wings: 2, class: 1, 'a b': 2, shape: 3, dropout: 9}}\n"
    assert sentences(PAGE + network) == [
        "network.parameters.class (line 4): must be the name of an argument of net.py:build; got 'class'; rename it",
        "network.parameters.a b (line 4): must be the name of an argument of net.py:build; got 'a b'; rename it",
        "network.parameters.shape (line 4): must not be shape, which every network gets from the data set; rename it",
    ]


def test_the_training_loops_ranges_hold_for_a_users_network_too() -> None:
    network = "network: {builder: 'net.py:build', parameters: {batch_size: 0}}\n"
    assert sentences(PAGE + network) == ["network.parameters.batch_size (line 4): must be at least 1; got 0"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("dataset: {source: ''}", "dataset.source (line 4): must not be empty; got ''"),
        ("dataset: {validation: 1}", "dataset.validation (line 4): must be below 1; got 1; lower it"),
        ("dataset: {test: 0}", "dataset.test (line 4): must be above 0; got 0; raise it"),
        ("dataset: {test: true}", "dataset.test (line 4): must be a number; got true"),
        ("dataset: {test: many}", "dataset.test (line 4): must be a number; got 'many'"),
        ("dataset: {seed: -1}", "dataset.seed (line 4): must be at least 0; got -1; raise it"),
        (
            "dataset: {seed: 4294967296}",
            "dataset.seed (line 4): must be at most 4294967295; got 4294967296; lower it",
        ),
        (
            "dataset: {mirrors: [ftp://a]}",
            "dataset.mirrors.0 (line 4): must be a URL with http:// or https://; got 'ftp://a'; "
            "name a local folder in source",
        ),
        (
            "dataset: {mirrors: 'http://a'}",
            "dataset.mirrors (line 4): must be a list; got 'http://a'; write [http://a]",
        ),
        ("dataset: {channels: 2}", "dataset.channels (line 4): must be 1 or 3; got 2"),
        ("dataset: {image_size: 28.5}", "dataset.image_size (line 4): must be a whole number; got 28.5"),
        ("sweep: {trials: '8'}", "sweep.trials (line 4): must be a whole number; got '8'; leave the quotes out"),
        ("sweep: {trials: true}", "sweep.trials (line 4): must be a whole number; got true"),
        (
            "sweep: {trials: }",
            "sweep.trials (line 4): must be a whole number; got nothing; give a value, or leave the key out",
        ),
        ("sweep: {trials: 1000000}", "sweep.trials (line 4): must be at most 100000; got 1000000; lower it"),
        (
            "sweep: {sampler: gird}",
            "sweep.sampler (line 4): must be 'grid', 'quasi_random', 'random', 'tpe', 'gp', 'cma_es' or 'sensitivity'; "
            "got 'gird'; did you mean grid?",
        ),
        (
            "sweep: {schedule: every night}",
            "sweep.schedule (line 4): must be a cron expression that comes true, such as '0 3 * * *', or empty; "
            "got 'every night'; write minute, hour, day, month and weekday",
        ),
        ("description: 2026", "description (line 4): must be text; got 2026; put it in quotes"),
        ("description: off", "description (line 4): must be text; got false; put it in quotes"),
        ("description: [a]", "description (line 4): must be text; got ['a']"),
        *(
            (
                f"promotion: {{model: {name}}}",
                "promotion.model (line 4): must be a name without '/', ':', quotes and spaces, at most 255 characters, "
                f"and not begin with '..'; got {name!r}",
            )
            for name in ("a/b", "..", "...", "..a", ".")
        ),
        (
            "promotion: 5",
            "promotion (line 4): must be a section with keys under it; got 5; write KEY: VALUE, one a line, "
            "and indent them",
        ),
        (
            "network: {parameters: [1]}",
            "network.parameters (line 4): must be names with something under each; got [1]; for example dropout: 0.2",
        ),
        ("scoring: {feed: ''}", "scoring.feed (line 4): must not be empty; got ''"),
        (
            "scoring: {feed: a, allow_addresses: [127.0.0.1/8]}",
            "scoring.allow_addresses.0 (line 4): must be a network such as 127.0.0.0/8; got '127.0.0.1/8'; "
            "did you mean 127.0.0.0/8?",
        ),
        (
            "scoring: {feed: a, allow_addresses: [home]}",
            "scoring.allow_addresses.0 (line 4): must be a network such as 127.0.0.0/8; got 'home'; write ADDRESS/BITS",
        ),
    ],
)
def test_a_wrong_value_gets_its_sentence(line: str, sentence: str) -> None:
    assert sentences(PAGE + line) == [sentence]


@pytest.mark.parametrize(
    "schedule",
    [
        "61 * * * *",
        "0 3 * *",
        "0 0 30 2 *",
        "@sometimes",
        "0 3 * * * *",
        "0 3 * * * 0 2027",
        "R 3 * * *",
        "5,r(1-9) 3 * * *",
    ],
)
def test_a_schedule_that_never_comes_is_refused(schedule: str) -> None:
    assert "must be a cron expression that comes true" in sentences(PAGE + f"sweep: {{schedule: '{schedule}'}}")[0]


def test_the_letter_r_in_the_name_of_a_day_or_month_is_none_drawn_at_random() -> None:
    assert experiment.parse(PAGE + "sweep: {schedule: '0 3 * mar,APR fri'}").sweep.schedule == "0 3 * mar,APR fri"


@pytest.mark.parametrize("name", ["Bad Name", "1st", "_a", "a" * 64, "a-b", "ä"])
def test_a_name_must_fit_a_dag_and_a_model(name: str) -> None:
    assert sentences(PAGE.replace("small", f"'{name}'")) == [
        "name (line 1): must be lower-case letters, digits and _, starting with a letter, 63 characters at most; "
        f"got '{name}'"
    ]


def test_a_long_value_is_cut_in_the_sentence() -> None:
    (sentence,) = sentences(PAGE + f"sweep: {{trials: {'x' * 500}}}")
    assert len(sentence) < 150


def test_every_mistake_is_told_at_once_in_the_pages_order() -> None:
    text = """\
name: My Page
dataset:
  validation: 2
network:
  parameters: {momentum: 3}
space:
  units: {type: int, low: 9, high: 8}
  layers: {type: int, low: 1, high: 99}
  filters: {type: int, low: 1, high: 2}
sweep:
  trails: 8
  epochs: 1
  epochs: 2
  sampler: grid
promotion:
  seeds: 0
scoring:
  schedule: nightly
"""
    assert [(problem.key, problem.line) for problem in problems(text)] == [
        ("name", 1),
        ("dataset.validation", 3),
        ("network.parameters.momentum", 5),
        ("space.units.low", 7),
        ("space.layers.high", 8),
        ("space.filters", 9),
        ("sweep.trails", 11),
        ("sweep.epochs", 13),
        ("promotion.seeds", 16),
        ("scoring.feed", 17),
        ("scoring.schedule", 18),
    ]


def test_the_message_is_headed_by_the_page_and_the_count(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: A\nspace: {}\n")
    with pytest.raises(PageError, match=rf"^{re.escape(str(path))}: 2 mistakes\n  name \(line 1\): ") as caught:
        experiment.load(path)
    assert caught.value.exit_code == 2


def test_a_wrong_builder_hides_no_mistake_and_invents_none() -> None:
    text = "name: a\nnetwork: {builder: dens}\nspace:\n  filters: {type: int, low: 9, high: 8}\n"
    assert [problem.key for problem in problems(text)] == ["network.builder", "space.filters.low"]


def test_a_page_that_is_not_there_is_a_page_error(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="must be a file to read; No such file or directory; check the path"):
        experiment.load(tmp_path / "absent.yaml")
    with pytest.raises(PageError, match="must be a file to read; Is a directory"):
        experiment.load(tmp_path)


def test_a_page_in_another_encoding_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_bytes(b"name: a\ndescription: caf\xe9\n")
    with pytest.raises(PageError, match=r"page \(line 2\): must be UTF-8 text; got byte 0xe9; save it as UTF-8"):
        experiment.load(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_page_may_begin_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_text(PAGE, encoding="utf-8")
    expected = experiment.load(path)
    path.write_text(PAGE, encoding=encoding)
    assert experiment.load(path) == expected


def test_a_page_without_end_is_refused() -> None:
    with pytest.raises(PageError, match="must have at most 100,000 bytes; got more; is it an experiment page"):
        experiment.load("/dev/zero")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "page: must be sections with keys under them; got nothing; start with name: and space:"),
        ("# nothing\n", "page: must be sections with keys under them; got nothing; start with name: and space:"),
        ("- a\n", "page: must be sections with keys under them; got ['a']; start with name: and space:"),
        ("name: a\nsweep:\n\ttrials: 8\n", "page (line 3): must be indented with spaces; got a tab; replace it"),
        ("name: a\n---\nname: b\n", "page (line 2): must be one page; got a second below ---; split the file"),
        (
            "name: a\nspace: {units: {type: int\n",
            "page (line 3): must be YAML; expected ',' or '}', but got the end; "
            "check quotes, brackets, colons and indents up to here",
        ),
        ("name: a\n? [b]\n: c\n", "page (line 2): must have text as keys; remove the brackets"),
        ("name: a\x00\n", "page (line 1): must have no control characters; got U+0000; remove it"),
        (
            "name: a\ndescription: 2026-02-30\n",
            "page (line 2): must be a number or a date that exists; got '2026-02-30'; put text in quotes",
        ),
        (
            "name: a\nsweep: {seed: 1000000000000000000}\n",
            "page (line 2): must be a number of at most 18 digits; got '1000000000000000000'; shorten it",
        ),
        ("name: !!python/name:os.system x\n", "page (line 1): must not use ! tags; got "),
        ('name: "\\ud800"\n', r"page (line 1): must be text that UTF-8 can hold; got '\ud800'; remove the escapes"),
    ],
)
def test_a_file_that_is_no_page_gets_one_sentence(text: str, sentence: str) -> None:
    (told,) = sentences(text)
    assert told.startswith(sentence)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BOMB, "must not use * aliases"),
        ("a: &a [*a]\n", "must not use * aliases"),
        ("[" * 90_000, "must have at most 20 levels"),
        ("- " * 45_000, "must have at most 20 levels"),
        ("{a: " * 20_000, "must have at most 20 levels"),
        ("x: " + "1" * 90_000, "must be a number or a date that exists"),
        ("name: a\nspace: {}\nx: '" + "a" * 90_000, "must be YAML"),
    ],
    ids=["laughs", "loop", "lists", "items", "mappings", "digits", "text"],
)
def test_a_page_that_would_explode_is_refused(text: str, rule: str) -> None:
    assert rule in sentences(text)[0]


def test_overrides_win_over_the_page() -> None:
    page = experiment.parse(PAGE + "sweep: {trials: 3}", ["sweep.trials=8", "name=other", "sweep.trials=9"])
    assert (page.name, page.sweep.trials) == ("other", 9)


def test_an_override_is_read_as_yaml() -> None:
    page = experiment.parse(
        PAGE,
        ["dataset.mirrors=[http://a/, https://b/]", "description=a=b", "sweep.slots=null", "promotion.model='1'"],
    )
    assert page.dataset.mirrors == ("http://a/", "https://b/")
    assert (page.description, page.sweep.slots, page.promotion.model) == ("a=b", None, "1")


def test_overrides_reach_into_the_space_and_the_networks_parameters() -> None:
    overrides = [
        *("space.units.high=16", "space.layers={type: int, low: 1, high: 2}", "network.parameters.dropout=0.5"),
        *("space.dropout.type=float", "space.dropout.low=0", "space.dropout.high=0.5"),
    ]
    page = experiment.parse(PAGE, overrides)
    assert page.model_dump()["space"]["units"]["high"] == 16
    assert list(page.space) == ["units", "layers", "dropout"]
    assert page.network.parameters == {"dropout": 0.5}


def test_an_override_makes_a_section_that_the_page_does_not_have() -> None:
    page = experiment.parse(PAGE, ["scoring.feed='*.txt'"])
    assert page.scoring is not None
    assert page.scoring.feed == "*.txt"
    assert sentences(PAGE, "scoring.top_k=3") == ["scoring.feed: is missing; add it"]


def test_an_override_can_mend_a_page() -> None:
    assert experiment.parse(PAGE + "sweep: {trials: many}", ["sweep.trials=8"]).sweep.trials == 8


def test_a_mistake_of_an_override_is_told_as_one() -> None:
    text = PAGE + "sweep:\n  trials: 8\n  epochs: 0\n"
    assert sentences(text, "sweep.trials=0", "space.units={type: int, low: 2, high: 1}") == [
        "--set sweep.trials: must be at least 1; got 0; raise it",
        "--set space.units.low: must not be above high; got low 2 and high 1; swap them",
        "sweep.epochs (line 6): must be at least 1; got 0; raise it",
    ]


def test_an_unknown_key_of_an_override_is_answered_with_the_closest_one() -> None:
    assert sentences(PAGE, "sweep.trails=8", "trials=8") == [
        f"--set: unknown key {key!r}; did you mean sweep.trials?; docs/pages.md has all keys"
        for key in ("sweep.trails", "trials")
    ]


def test_an_unknown_key_that_is_like_no_other_is_answered_with_what_its_place_has() -> None:
    inside, outside = sentences(PAGE, "promotion.nonsense=1", "nonsense=1")
    assert "; promotion has promotion.model, promotion.finalists, " in inside
    assert "sweep." not in inside
    assert "; sections are name, description, dataset, network, " in outside


@pytest.mark.parametrize(
    "key", ["sweep", "scoring", "space.", "space..low", "network.parameters.a.b", "", " ", "spac.e"]
)
def test_an_override_needs_the_key_of_a_value(key: str) -> None:
    assert sentences(PAGE, f"{key}=1")[0].startswith(f"--set: unknown key {key.strip()!r}")


def test_an_override_without_an_equals_sign_is_refused() -> None:
    assert sentences(PAGE, "sweep.trials") == [
        "--set: must be KEY=VALUE; got 'sweep.trials'; for example sweep.trials=8"
    ]


def test_an_override_that_is_no_yaml_is_refused() -> None:
    assert sentences(PAGE, "description={") == [
        """--set description: must be YAML; got '{'; if it is text, write --set 'description="{"'"""
    ]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("name=\udcff", "--set: must be text that UTF-8 can hold; got 'name=\\udcff'; save it as UTF-8"),
        (
            "description=[\x13",
            "--set description: must be YAML; got '[\\x13'; if it is text, write --set 'description=\"[\\u0013\"'",
        ),
        (
            'description={it\'s "x"',
            "--set description: must be YAML; got '{it\\'s \"x\"'; "
            'if it is text, write --set \'description="{it\'"\'"\'s \\"x\\""\'',
        ),
    ],
)
def test_an_override_that_no_terminal_shows_has_a_message_that_it_shows_and_a_cure_that_can_be_pasted(
    override: str, sentence: str
) -> None:
    assert sentences(PAGE, override) == [sentence]
    if "write --set " in sentence:
        (given,) = shlex.split(sentence.rpartition("write --set ")[2])
        assert experiment.parse(PAGE, [given]).description == override.partition("=")[2]


def test_an_override_inside_something_that_is_no_section_is_refused() -> None:
    told = sentences(PAGE + "sweep: 5\n", "sweep.trials=8")
    assert told[0] == "--set sweep.trials: must be inside a section; got sweep: 5 on the page; fix the page first"


DESIGN = [
    *("space.learning_rate={type: float, low: 1e-4, high: 1e-1, log: true}", "sweep.sampler=sensitivity"),
    "sweep.sensitivity.parameters=[learning_rate, units]",
]


NETWORK_FILE = ["scoring.feed='*.txt'", "scoring.network.file=a.keras", "scoring.network.labels=[a.txt]"]


PRECISION = ["scoring.feed='*.txt'", "scoring.precision.type=int8", "scoring.precision.images=photos"]


FINE_TUNING = [
    *("dataset.source=photos", "dataset.fit=squash", "network.backbone=lite0", "network.builder=head"),
    *("promotion.fine_tune.blocks=3", "promotion.seeds=3"),
]


def with_section(key: str) -> Sequence[str]:
    """What a page needs besides, for a key of a section that is absent by default."""
    if key.startswith("promotion.fine_tune."):
        return FINE_TUNING
    if key.startswith("sweep.sensitivity."):
        return DESIGN
    if key.startswith("scoring.network."):
        return NETWORK_FILE
    if key.startswith("scoring.precision."):
        return PRECISION
    return ["scoring.feed='*.txt'"] if key.startswith("scoring.") else []


@pytest.mark.parametrize("key", [key for key in KEYS if "*" not in key])
def test_every_key_can_be_set_to_its_own_default(key: str) -> None:
    page = experiment.parse(PAGE, with_section(key))
    value: Any = page.model_dump(mode="json", exclude_none=key == "space")
    for part in key.split("."):
        value = value[part]
    written = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    assert experiment.parse(PAGE, [*with_section(key), f"{key}={written}"]) == page


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("{images: photos}", "type (line 4): is missing; add type: int8"),
        ("{type: int8}", "images (line 4): is missing; add it"),
        ("{type: fp8, images: a}", "type (line 4): must be 'bf16' or 'int8'; got 'fp8'"),
        ("{type: int8, images: ''}", "images (line 4): must not be empty; got ''"),
        ("{type: int8, images: a, same_labels: 0}", "same_labels (line 4): must be above 0; got 0; raise it"),
        ("{type: int8, images: a, same_labels: 1.5}", "same_labels (line 4): must be at most 1; got 1.5; lower it"),
    ],
)
def test_a_precision_with_a_mistake_is_one_sentence(written: str, sentence: str) -> None:
    assert sentences(f"{PAGE}scoring: {{feed: a, precision: {written}}}\n") == [f"scoring.precision.{sentence}"]


def test_a_page_labels_with_its_network_as_it_is_unless_it_says_otherwise() -> None:
    assert experiment.parse(PAGE + "scoring: {feed: a}").scoring.precision is None  # type: ignore[union-attr]
    low = experiment.parse(PAGE, PRECISION).scoring.precision  # type: ignore[union-attr]
    assert low is not None
    assert (low.type, low.same_labels) == ("int8", 0.97)


def test_a_text_that_is_too_long_is_one_sentence_of_ours() -> None:
    (sentence,) = sentences(PAGE, f"airflow.pool={'a' * 257}")
    assert sentence.startswith("--set airflow.pool: must have at most 256 characters; got 'aaa")
    assert sentence.endswith("...; shorten it")


def test_the_wildcard_keys_can_be_set() -> None:
    assert [key for key in KEYS if "*" in key] == ["network.parameters.*", "space.*"]
    experiment.parse(PAGE, ["network.parameters.units=8", "space.units={type: int, low: 1, high: 2}"])


def test_a_page_without_a_sensitivity_design_is_the_search_that_it_was_before_there_were_any() -> None:
    assert experiment.parse(PAGE).search_digest() == "75327269cbe4b14d"
    assert experiment.parse(PAGE, DESIGN).search_digest() != experiment.parse(PAGE, DESIGN[:1]).search_digest()


def test_another_number_of_repeats_is_another_search() -> None:
    assert digest(*DESIGN) != digest(*DESIGN, "sweep.sensitivity.repeats=2")


@pytest.mark.parametrize(
    ("design", "sentence"),
    [
        (
            "",
            "sweep.sensitivity (line 7): is missing, and the sampler sensitivity needs it; "
            "add sensitivity: {parameters: [learning_rate, units]}",
        ),
        (
            "sensitivity: {parameters: [units]}",
            "sweep.sensitivity.parameters (line 9): must be two hyper-parameters; got ['units']; "
            "for example [learning_rate, units]",
        ),
        (
            "sensitivity: {parameters: [units, units]}",
            "sweep.sensitivity.parameters (line 9): must be two hyper-parameters; got ['units', 'units']; "
            "for example [learning_rate, units]",
        ),
        (
            "sensitivity: {parameters: [units, layer]}",
            "sweep.sensitivity.parameters.1 (line 9): must be a hyper-parameter of the space; did you mean layers?; "
            "they are units, layers, momentum",
        ),
        (
            "sensitivity: {parameters: [units, momentum]}",
            "sweep.sensitivity.parameters.1 (line 9): must be searched in every trial; got momentum, which has "
            "conditions; drop its when",
        ),
        (
            "sensitivity: {parameters: [units, layers], repeats: 0}",
            "sweep.sensitivity.repeats (line 9): must be at least 1; got 0; raise it",
        ),
        (
            "sensitivity: {parameters: [units, layers], repaets: 2}",
            "sweep.sensitivity.repaets (line 9): unknown key; did you mean repeats?; "
            "known keys are parameters, repeats",
        ),
        ("sensitivity: {repeats: 2}", "sweep.sensitivity.parameters (line 9): is missing; add it"),
    ],
)
def test_a_sensitivity_design_with_a_mistake_gets_its_sentence(design: str, sentence: str) -> None:
    text = (
        "name: a\nspace:\n  units: {type: int, low: 8, high: 64}\n  layers: {type: int, low: 1, high: 3}\n"
        "  momentum: {type: float, low: 0, high: 0.9, when: {layers: 2}}\n# the design\nsweep:\n"
        f"  sampler: sensitivity\n  {design}\n"
    )
    assert sentences(text) == [sentence]


def test_a_sensitivity_design_needs_its_sampler_and_a_default_of_everything_else() -> None:
    assert sentences(PAGE, DESIGN[0], DESIGN[2]) == [
        "sweep.sensitivity: must be absent with another sampler; got sampler tpe; take sampler sensitivity"
    ]
    own = ["network.builder=mine.py:build", "space.depth={type: int, low: 1, high: 3}"]
    assert sentences(PAGE, *DESIGN, *own) == [
        "sweep.sensitivity: needs a default of depth, which it keeps; got none; add network.parameters.depth"
    ]


def digest(*overrides: str) -> str:
    return experiment.parse(PAGE, overrides).search_digest()


def test_the_search_digest_is_the_same_for_ever() -> None:
    assert digest() == "75327269cbe4b14d"


@pytest.mark.parametrize(
    "override",
    [
        *("sweep.trials=99", "sweep.slots=3", "sweep.cores=2", "sweep.schedule=0 1 * * *", "description=else"),
        *("sweep.trial_seconds=60", "sweep.trial_mebibytes=900", "sweep.budget_seconds=60", "sweep.fused=false"),
        *("sweep.generation=4", "sweep.prune_after=0.5", "name=other", "promotion.seeds=5", "scoring.feed='*.txt'"),
    ],
)
def test_what_does_not_change_the_search_does_not_change_its_digest(override: str) -> None:
    assert digest(override) == digest()


@pytest.mark.parametrize(
    "override",
    [
        *("space.units.high=63", "space.units.log=true", "space.layers={type: int, low: 1, high: 2}"),
        *("sweep.sampler=random", "sweep.epochs=11", "sweep.objective=val_loss", "sweep.seed=1"),
        *("sweep.patience=3", "network.parameters.flip=true", "network.parameters.class_weight=balanced"),
        *("network.builder=cnn", "network.parameters.dropout=0.5"),
        *("sweep.pruner=asha", "sweep.deterministic=true", "sweep.warm_start=earlier", "sweep.points=[{units: 8}]"),
        *("sweep.objectives=[val_accuracy, weights]", "sweep.objectives=[val_accuracy, milliseconds]"),
        *("constraints=['units < 60']", "space.units.when={optimizer: adam}"),
    ],
)
def test_what_changes_the_search_changes_its_digest(override: str) -> None:
    assert digest(override) != digest()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        *(("digits", "1108cfb0c3520eb4"), ("fashion_mnist", "bbf7d0edb8568b83"), ("imagenet", "f413eccca7f0374e")),
        *(("mnist", "926c0037c66043fb"), ("mnist_dense", "52a3139fb1ea6caa")),
        ("mnist_sensitivity", "19a36f3518718bd4"),
    ],
)
def test_studies_of_the_pages_of_2026_11_26_continue(page: str, expected: str) -> None:
    """Computed by the version in which a decisive key had to be listed. Change a page's search, and its line here."""
    assert experiment.load(REPOSITORY / "dags" / "experiments" / f"{page}.yaml").search_digest() == expected


def test_a_page_with_every_key_has_the_search_digest_of_2026_11_26() -> None:
    assert experiment.parse(FULL).search_digest() == "2881f8ddca251347"
    assert digest("sweep.deterministic=true") == "7e4d7ef2649b67cb"


class LaterSweep(SweepSection):
    """The sweep of a later version, whose author has thought of the search digest or not."""

    curriculum: bool = False


def test_a_new_key_is_part_of_the_search_unless_it_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = experiment.parse(PAGE)
    with_key, with_value = (page.model_copy(update={"sweep": LaterSweep(curriculum=each)}) for each in (False, True))
    assert with_key.search_digest() != with_value.search_digest()
    monkeypatch.setattr(sections, "_NOT_DECISIVE_IN_SWEEP", {*sections._NOT_DECISIVE_IN_SWEEP, "curriculum"})
    assert with_key.search_digest() == with_value.search_digest() == page.search_digest()


def test_a_key_that_was_added_counts_once_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    page = experiment.parse(PAGE)
    before = page.search_digest()
    unset, is_set = (page.model_copy(update={"sweep": LaterSweep(curriculum=each)}) for each in (False, True))
    monkeypatch.setattr(sections, "_ADDED_TO_SWEEP", {*sections._ADDED_TO_SWEEP, "curriculum"})
    assert unset.search_digest() == before != is_set.search_digest()


def test_the_size_of_a_generation_decides_a_deterministic_search() -> None:
    assert digest("sweep.deterministic=true", "sweep.generation=4") != digest("sweep.deterministic=true")


def test_a_pruners_first_decision_decides_a_search_with_a_pruner() -> None:
    assert digest("sweep.pruner=asha", "sweep.prune_after=0.5") != digest("sweep.pruner=asha")


def test_the_order_on_the_page_does_not_change_the_digest() -> None:
    swapped = "space:\n  units: {high: 64, low: 8, type: int}\nname: small\n"
    assert experiment.parse(swapped).search_digest() == digest()


FULL = """\
name: full
description: all of it
dataset: {source: digits, validation: 0.2, test: 0.2, seed: 0, mirrors: [http://a/], image_size: 8, channels: 1}
network: {builder: dense, parameters: {decay: cosine}}
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  dropout: {type: float, low: 0, high: 0.5, step: 0.1, when: {activation: relu, layers: [1, 2]}}
  units: {type: int, low: 8, high: 64, step: 8}
  layers: {type: int, low: 1, high: 3, when: {activation: [relu, tanh]}}
  activation: {type: categorical, choices: [relu, tanh]}
constraints: [units * layers <= 128, "activation in ('relu', 'tanh') or not batch_norm"]
sweep:
  {sampler: tpe, trials: 8, epochs: 2, objective: val_loss, seed: 1, slots: 2, cores: 1, schedule: 0 1 * * *,
   pruner: asha, trial_seconds: 60, trial_mebibytes: 900, budget_seconds: 600, deterministic: false, generation: 4,
   fused: false, warm_start: earlier, points: [{units: 8, dropout: 0.2}, {activation: tanh}]}
promotion: {model: m, finalists: 2, seeds: 2, minimum_improvement: 0.01}
scoring:
  {feed: a, model: 'models:/a/1', schedule: 0 1 * * *, top_k: 2, batch_size: 2, concurrency: 2, timeout_seconds: 1,
   host_concurrency: 2, host_rate: 2, robots: false, connect_seconds: 1, read_seconds: 1,
   max_bytes: 1000, max_pixels: 100, allow_addresses: [10.0.0.0/8], contact: a@example.org}
"""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**19), 10**19),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "grid", "float", "int", "categorical", "cnn", "a.py:f", "http://[", "* * * * *", "1e999"]),
    st.dates(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(SCALARS.filter(lambda key: key != ""), inner, max_size=3)
    ),
    max_leaves=6,
)


def mappings(value: Any) -> list[dict[Any, Any]]:
    """Every mapping of a page, from the outside in."""
    if not isinstance(value, dict):
        return []
    return [value, *(inner for item in value.values() for inner in mappings(item))]


@st.composite
def mutated_pages(draw: st.DrawFn) -> str:
    """A valid page with one to three keys removed, renamed or given another value."""
    page = copy.deepcopy(yaml.safe_load(FULL))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([place for place in mappings(page) if place] or [{"name": 1}]))
        key = draw(st.sampled_from(list(place)))
        match draw(st.sampled_from(["remove", "rename", "replace"])):
            case "remove":
                del place[key]
            case "rename":
                place[draw(SCALARS)] = place.pop(key)
            case _:
                place[key] = draw(VALUES)
    return yaml.safe_dump(page, allow_unicode=draw(st.booleans()), sort_keys=False)


def check_answer(text: str, *overrides: str) -> None:
    """An Experiment, or sentences in our words."""
    try:
        experiment.parse(text, overrides)
    except PageError as error:
        told = error.problems
    else:
        return
    assert told
    assert len(set(told)) == len(told)
    for problem in told:
        rule = problem.message.partition("got ")[0]
        assert re.search("must|unknown|missing|needs", rule)
        assert not re.search("[Ii]nput|should|valid |tuple|dictionary|is wrong", rule)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated_pages())
def test_any_mutation_of_a_page_gives_an_experiment_or_our_sentences(text: str) -> None:
    check_answer(text)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(FULL)),
    st.integers(0, 8),
    st.text(max_size=3) | st.sampled_from(list("{}[]:,&*!|>'\"%@`#-?\t\n")),
)
def test_any_slip_of_the_keyboard_gives_an_experiment_or_our_sentences(start: int, length: int, typed: str) -> None:
    check_answer(FULL[:start] + typed + FULL[start + length :])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(KEYS), st.text(max_size=6), VALUES.map(str))
@example("space.*", "\udcff", "1")
@example("name", "", "\udcff")
@example("description", "", "? ")
@example("sweep.objectives", "", "[False]")
@example("sweep.objectives", "", "[[]]")
def test_any_override_gives_an_experiment_or_our_sentences(key: str, name: str, value: str) -> None:
    check_answer(FULL, f"{key.replace('*', name)}={value}")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
@example("0x_")
@example("1:99999999999999999999")
@example("9999-12-31T23:59:59-23:59")
def test_any_text_at_all_gives_our_sentences(text: str) -> None:
    check_answer(text)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)


def rows(text: str) -> dict[str, list[str]]:
    """First cell, without its quotes → the other cells."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def check_row(cells: list[str], default: object, limits: Sequence[object]) -> None:
    value, written, meaning = cells
    shown = f"[{', '.join(default)}]" if isinstance(default, tuple) else default
    shown = f"{default:g}" if isinstance(default, float) else shown
    assert written == ("empty" if default in (None, (), {}, "") else f"`{str(shown).lower()}`")
    for limit in limits:
        shown = f"{limit:g}" if isinstance(limit, float) else f"{limit:,}" if isinstance(limit, int) else str(limit)
        assert re.search(rf"(?<![\d.]){re.escape(shown)}(?![\d])", value), f"{shown} is not in {value!r}"
    assert meaning


def field_of(key: str) -> Any:
    place: Any = experiment.parse(PAGE, with_section(key))
    *sections, name = key.split(".")
    for section in sections:
        place = getattr(place, section)
    return type(place).model_fields[name]


@pytest.mark.parametrize("key", [key for key in KEYS if "*" not in key and key != "space"])
def test_the_reference_has_every_key_with_its_default_and_limits(key: str) -> None:
    field = field_of(key)
    limits = [getattr(rule, end) for rule in field.metadata for end in ("ge", "gt", "le", "lt") if hasattr(rule, end)]
    cells = rows(REFERENCE)[key]
    if field.is_required():
        assert cells[1] == "required"
    else:
        check_row(cells, field.get_default(call_default_factory=True), limits)


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("of the training loop", parameters.TRAINING),
        *((f"of {name}", table) for name, table in parameters.BUILDERS.items()),
    ],
)
def test_the_reference_has_every_hyper_parameter(title: str, table: dict[str, parameters.Parameter]) -> None:
    section = REFERENCE.partition(f"### Parameters {title}")[2].partition("\n#")[0]
    written = rows(section)
    assert list(written) == list(table)
    for name, parameter in table.items():
        ends = [end for end in (parameter.low, parameter.high) if end is not None]
        limits = [int(end) if end == int(end) else end for end in ends]
        default = parameter.default or (False if parameter.kind is bool else None if parameter.default == "" else "0")
        check_row(written[name], default, [*limits, *parameter.choices])


def test_the_reference_names_every_key_of_a_dimension_and_every_wildcard() -> None:
    section = REFERENCE.partition("\n## space")[2].partition("\n## ")[0]
    names = {*experiment.FloatDimension.model_fields, *experiment.CategoricalDimension.model_fields}
    assert set(rows(section)) == names
    assert all(f"`{key}`" in REFERENCE for key in KEYS if "*" in key)


def test_the_reference_has_no_key_that_pages_do_not_have() -> None:
    assert {key for key in rows(REFERENCE) if "." in key} == {key for key in KEYS if re.fullmatch(r"\w+(\.\w+)+", key)}


@pytest.mark.parametrize("block", blocks("yaml"))
def test_the_examples_of_the_reference_load(block: str) -> None:
    base = {
        key: value for key, value in yaml.safe_load(PAGE).items() if f"{key}:" not in re.findall(r"^\w+:", block, re.M)
    }
    experiment.parse(f"{yaml.safe_dump(base)}\n{block}" if base else block)


def test_the_overrides_of_the_reference_are_legal() -> None:
    commands = re.findall(r"--set (?:'([^']+)'|(\S+=\S+))", REFERENCE)
    overrides = [quoted or bare for quoted, bare in commands]
    assert len(overrides) >= 3
    experiment.parse(PAGE, overrides)


def test_the_mistakes_of_the_reference_are_what_windrow_says() -> None:
    (broken,), (told,) = blocks("yaml broken"), blocks("text")
    with pytest.raises(PageError) as caught:
        experiment.parse(broken)
    assert str(caught.value) == told.rstrip("\n")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("airflow.emails=[ann]", "airflow.emails.0: must be one address such as ann@example.org; got 'ann'"),
        (
            "airflow.score_minutes=60",
            "a late run must be reported to someone; got airflow.score_minutes=60 alone; add airflow",
        ),
    ],
)
def test_an_alert_that_reaches_nobody_is_a_mistake(override: str, sentence: str) -> None:
    with pytest.raises(PageError) as raised:
        experiment.parse(PAGE, [override])
    assert sentence in str(raised.value)
