"""docs/testing.md: what it says of markers and limits is what the suite does, and its example is a test."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import budget
from harness.documents import REPOSITORY, blocks, text_of
from harness.jobs import Finished

TEXT = text_of("docs/testing.md")
PROSE = " ".join(TEXT.split())
"""The text whatever its line breaks."""
SETTINGS = tomllib.loads(text_of("pyproject.toml"))["tool"]["pytest"]["ini_options"]


@pytest.mark.spark
def test_the_example_of_a_test_passes(run_job: Callable[..., Finished], page_file: Path, tmp_path: Path) -> None:
    (example,) = blocks("docs/testing.md", "python")
    names: dict[str, Any] = {}
    exec(compile(example.text, "testing.md", "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    test(run_job, page_file, tmp_path)


def test_the_table_has_every_marker_with_its_seconds(request: pytest.FixtureRequest) -> None:
    rows = re.findall(r"^\| (`[a-z`, ]+`) \|[^|]*\| ([\d,]*)(?: s)? *\|$", TEXT, re.MULTILINE)
    shown = {name: seconds.replace(",", "") for names, seconds in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(shown) == {marker.partition(":")[0] for marker in SETTINGS["markers"]}
    conftest = request.config.pluginmanager.get_plugin(str(REPOSITORY / "tests" / "conftest.py"))
    limits = {"unit": SETTINGS["timeout"], **conftest.TIMEOUTS}
    assert {name: seconds for name, seconds in shown.items() if seconds} == {
        name: str(seconds) for name, seconds in limits.items()
    }


def test_the_budget_is_the_suites() -> None:
    found = re.search(r"may start (\d+) spark-submits and (\w+) stack", PROSE)
    assert found is not None
    assert (int(found[1]), found[2]) == (budget.MOST_SUBMITS, {1: "one"}[budget.MOST_STACKS])


def test_the_profiles_have_the_numbers_that_are_told() -> None:
    conftest = text_of("tests/conftest.py")
    for name, examples in re.findall(r"(\w+) examples each in `make test` \(profile `(\w+)`\)", PROSE):
        assert f'register_profile("{examples}", deadline=None, max_examples={name}, derandomize=True)' in conftest
    assert re.search(r"(\d+) in `make test-faults` \(`thorough`", PROSE)[1] in conftest  # type: ignore[index]
