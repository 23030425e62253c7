"""docs/pages.md: where a key of the experiment page takes one of a few values, its row lists exactly those.

tests/windrow/test_experiment.py compares the keys themselves, their defaults and their limits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from harness.documents import text_of
from windrow import experiment
from windrow.experiment import Experiment, network_section, parameters, sections
from windrow.experiment.values import Cost
from windrow.scoring.fetch.status import Status

TEXT = text_of("docs/pages.md")
BUILT_IN = {
    "dataset.source": {*sections.BUILT_IN_SOURCES},
    "network.builder": {*parameters.BUILDERS},
    "network.backbone": {*network_section.EMBEDDED},
    "sweep.objectives": {*get_args(Cost)},
}
"""Keys that take a name of ours or something of the user's; the row may name the latter's form."""
USERS_OWN = "FILE.py:FUNCTION"
OTHER_WORDS = {
    *("a", "z"),  # letters of a page's name
    *("target_class", "target_class_string"),  # of ImageNet's label map
    *("text", "dag_id", "run_id", "task_id", "cause", "link"),  # of a web hook's JSON
    "default_pool",  # Airflow's
}
"""Words in the tables that are not of the page."""


def values(annotation: Any) -> set[str]:
    """The values of a type that has only a few, as a page writes them; empty for any other type."""
    if annotation is bool:
        return {"true", "false"}
    if get_origin(annotation) is Literal:
        return {str(value) for value in get_args(annotation)}
    return set().union(*map(values, get_args(annotation))) if type(None) in get_args(annotation) else set()


def fields(section: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a page with its type, dotted."""
    for name, field in section.model_fields.items():  # type: ignore[attr-defined]
        inner = sections.section_of(field.annotation)
        yield from fields(inner, f"{prefix}{name}.") if inner else [(f"{prefix}{name}", field.annotation)]


def choices(parameter: parameters.Parameter) -> set[str]:
    return {"true", "false"} if parameter.kind is bool else {*parameter.choices}


def cells(section: str, key: str) -> list[str]:
    """The cells of a key's row: value, default, meaning."""
    (row,) = re.findall(rf"^\| `{re.escape(key)}` \| (.+) \|$", section, re.MULTILINE)
    return row.split(" | ")  # type: ignore[no-any-return]


def quoted(text: str) -> set[str]:
    return {*re.findall(r"`([^`]+)`", text)}


def part(title: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


KEYS = {key: BUILT_IN.get(key) or values(annotation) for key, annotation in fields(Experiment)}
PARAMETERS = {
    "Parameters of the training loop, for every network": parameters.TRAINING,
    **{f"Parameters of {name}": table for name, table in parameters.BUILDERS.items()},
}
DIMENSIONS = (experiment.FloatDimension, experiment.IntDimension, experiment.CategoricalDimension)
ROWS = [
    *((TEXT, key, listed) for key, listed in KEYS.items() if listed),
    *((part(title), name, choices(each)) for title, table in PARAMETERS.items() for name, each in table.items()),
    (part("space"), "type", set().union(*(values(each.model_fields["type"].annotation) for each in DIMENSIONS))),
    (part("space"), "log", {"true", "false"}),
]
LISTS = [row for row in ROWS if row[2]]


@pytest.mark.parametrize(("section", "key", "listed"), LISTS, ids=[key for _, key, _ in LISTS])
def test_a_row_lists_the_values_of_its_key_and_no_others(section: str, key: str, listed: Collection[str]) -> None:
    assert quoted(cells(section, key)[0]) - {USERS_OWN} == set(listed)


def test_no_row_mentions_a_value_that_no_key_has() -> None:
    """One word in small letters between backticks is a value, a status, a key, or a hyper-parameter."""
    known = {word for key in KEYS for word in key.split(".")} | {word for _, _, listed in LISTS for word in listed}
    known |= {name for table in PARAMETERS.values() for name in table} | set(Status)
    known |= {name for each in DIMENSIONS for name in each.model_fields}
    lines = [line for line in TEXT.splitlines() if line.startswith("| `")]
    words = {word for line in lines for word in quoted(line) if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", word)}
    assert words - known == OTHER_WORDS


def test_the_lists_that_are_compared_are_those_of_the_page() -> None:
    compared = {key: len(listed) for key, listed in KEYS.items() if listed}
    assert {"sweep.sampler": 7, "sweep.pruner": 3, "sweep.fused": 2}.items() <= compared.items()
    assert {"sweep.trials", "space"}.isdisjoint(compared)


def test_a_page_with_a_backbone_gets_the_space_and_the_values_that_are_shown() -> None:
    part = TEXT.partition("### A head on a backbone")[2].partition("\n### ")[0]
    short, whole = re.findall(r"```yaml\n(.*?)```", part, re.S)
    sweep = ["sweep.trials=60", "sweep.epochs=20"]
    assert experiment.parse(whole, sweep) == experiment.parse(short)
