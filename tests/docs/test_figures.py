"""The demo's figures in README and docs/ are those that the demo finds.

.ci/run names the summary that its demo has written: WINDROW_SUMMARY=var/demo/digits/summary.json. The last digits
depend on the kind of processor: the README promises the same champion on every machine of one kind. So a machine of
another architecture than the README's compares the counts alone.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import pytest
from harness.documents import REPOSITORY, text_of
from harness.figures import MEASURED_ON, README, told
from windrow.laptop import demo_summary

SUMMARY = os.environ.get("WINDROW_SUMMARY")


@pytest.fixture
def found() -> dict[str, Any]:
    """What a demo of digits has found on this machine."""
    if not SUMMARY:
        pytest.skip("needs the summary of a demo: set WINDROW_SUMMARY to its path, as .ci/run does")
    return dict(json.loads((REPOSITORY / Path(SUMMARY)).read_text()))


@pytest.mark.faults
def test_the_demo_has_found_what_the_readme_shows(found: dict[str, Any]) -> None:
    same = platform.machine() == MEASURED_ON
    compared = README if same else [line for line in README if "accuracy" not in line and "correct" not in line]
    assert [line for line in told(demo_summary.lines(found)) if same or line in compared] == compared


def shown(pattern: str, page: str = "README.md") -> str:
    """The one part of a page that a pattern's group finds, whatever its line breaks."""
    (part,) = set(re.findall(pattern, " ".join(text_of(page).split())))
    return str(part)


def figure(name: str, pattern: str) -> str:
    (line,) = [line for line in README if line.startswith(name)]
    found = re.search(pattern, line)
    assert found is not None, line
    return found[1]


def test_the_text_beside_the_demo_says_the_same_numbers() -> None:
    images = figure("share correct", r"of (\d+)")
    assert shown(r"(\d+) of scikit-learn's 1,797 digits") == images
    assert int(figure("URLs", r"(\d+)")) - int(images) == {"five": 5}[shown(r"The (\w+) broken URLs")]
    assert shown(r"Achieves (0\.\d+) on the 359", "dags/experiments/digits.yaml") == figure(
        "test accuracy", r"(0\.\d+)"
    )
    trials, best, test = figure("trials", r"(\d+)"), figure("best", r"(0\.\d+)"), figure("test accuracy", r"(0\.\d+)")
    rows, right = figure("URLs", r"rows (\d+)"), figure("share correct", r"(\d+) of")
    laptop = shown(r"the laptop's figures: ([^|]+?) \|", "docs/clusters.md")
    assert laptop == f"{trials} trials, best {best}, test {test}, {rows} rows, {right} of {images} right"


def test_the_cluster_is_expected_to_find_what_the_readme_shows() -> None:
    tree = ast.parse(text_of("tests/cluster/test_demo.py"))
    (laptop,) = [
        ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign) and _is(node, "LAPTOP")
    ]
    assert laptop == {
        "trials": int(figure("trials", r"(\d+)")),
        "outcomes": {"ok": int(figure("trials", r"\((\d+) ok\)"))},
        "best_value": float(figure("best val_accuracy", r"(0\.\d+)")),
        "champion_test_accuracy": float(figure("champion", r"(0\.\d+)")),
        "urls": int(figure("URLs", r"(\d+)")),
        "rows": int(figure("URLs", r"rows (\d+)")),
        "labelled": int(figure("URLs", r"labelled (\d+)")),
        "correct": int(figure("share correct", r"(\d+) of")),
    }


def _is(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def test_the_readme_shows_all_that_a_summary_tells() -> None:
    values = demo_summary.figures({}, {}, demo_summary.Champion("1"), demo_summary.judge([], {}, []))
    names = [re.split(r"\s{2,}", line)[0] for line in told(demo_summary.lines(values))]
    assert [re.split(r"\s{2,}", line)[0] for line in README] == names
