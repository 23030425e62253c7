"""What `make fuzz` checks for any input holds for those that it starts from."""

from __future__ import annotations

import importlib

import pytest

from fuzz.run import _quoted
from fuzz.targets import INSTRUMENTED

CASES = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name in sorted(INSTRUMENTED)
    for number in range(len(importlib.import_module(f"fuzz.targets.{name}").SEEDS))
]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_seed_keeps_its_targets_promise(name: str, number: int) -> None:
    target = importlib.import_module(f"fuzz.targets.{name}")
    target.check(target.SEEDS[number])


@pytest.mark.parametrize("name", sorted(INSTRUMENTED))
def test_no_seed_is_longer_than_an_input_may_be(name: str) -> None:
    target = importlib.import_module(f"fuzz.targets.{name}")
    assert [seed[:40] for seed in target.SEEDS if len(seed) > target.LONGEST] == []


def test_a_token_is_written_as_the_dictionary_has_it() -> None:
    assert _quoted('a"\\é\n') == '"a\\x22\\x5c\\xc3\\xa9\\x0a"'
