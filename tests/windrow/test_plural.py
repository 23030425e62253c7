"""A number and its noun agree, wherever one is written for people: "1 trial", never "1 trials"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from windrow.plural import counted

REPOSITORY = Path(__file__).resolve().parents[2]
NOUNS = (
    *("trials", "slots", "epochs", "seeds", "points", "finalists", "attempts", "jobs", "cores"),
    *("URLs", "hosts", "files", "rows", "runs", "images", "pictures"),
    *("labels", "classes", "weights", "values", "packages", "mistakes"),
)
AT_LEAST_TWO = {
    "jobs/windrow/atlas/curves.py": {"len(table.trials)", "diverged"},  # two are good enough; more than ten diverged
    "jobs/windrow/atlas/importance.py": {"importance.of"},  # ten
    "jobs/windrow/atlas/marginals.py": {"len(best)"},
    "jobs/windrow/atlas/page.py": {"len(trials)", "backbone.weights"},
    "jobs/windrow/data/splits.py": {"splits"},
    "jobs/windrow/laptop/demo.py": {"len(truth)"},
    "jobs/windrow/scoring/network/labels.py": {"classes"},
    "jobs/windrow/scoring/network/low_precision.py": {"report['images']"},
    "jobs/windrow/scoring/report/gallery/tables.py": {"found.images"},
    "jobs/windrow/scoring/report/text.py": {"found.runs"},
    "jobs/windrow/sweep/audit.py": {"RULES[Ending.LOST].attempts"},
    "jobs/windrow/sweep/schedule.py": {"self._barren"},
    "jobs/windrow/data/copies.py": {"len(self.disputed)"},  # two with the same pixels
    "jobs/windrow/data/division.py": {"len(counts[split])"},
    "jobs/windrow/data/manifest.py": {"self.images"},
    "jobs/windrow/laptop/page/new.py": {"found.opened", "found.images", "len(found.classes)"},  # two classes
    "jobs/windrow/selection/evidence.py": {"same.images"},  # thirty
    "jobs/windrow/selection/hints.py": {"classes"},
    "jobs/windrow/selection/metrics.py": {"len(classes)"},
    "jobs/windrow/selection/tuning/stage.py": {"need.all_weights"},
    "jobs/windrow/training/networks.py": {"len(images)"},
}
"""Numbers that are never 1 where they are written."""
NOT_NUMBERS = {
    "jobs/windrow/tracking/parent.py": {"images"},  # a list of numbers
    "jobs/windrow/training/networks.py": {"shape"},
    "jobs/windrow/selection/common_images.py": {"_shape(network.shape)"},
    "jobs/windrow/model/blocks.py": {"counted(len(known), 'block')"},  # the number is of blocks
    "jobs/windrow/selection/finalists.py": {"promotion.seeds"},  # a stored key
}


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1978, "1,978 trials")]
)
def test_a_number_has_the_noun_that_fits(number: int, expected: str) -> None:
    assert counted(number, "trial") == expected


def test_a_noun_may_be_irregular_and_bring_its_verb() -> None:
    assert [counted(number, "class is", "classes are") for number in (1, 10)] == ["1 class is", "10 classes are"]


def plurals(text: str) -> Iterator[str]:
    """The expressions of a source's f-strings that a noun in the plural follows, if they may be whole numbers."""
    for node in ast.walk(ast.parse(text)):
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for value, after in pairwise(parts):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            expression = ast.unparse(value.value)
            rounded = value.format_spec is not None and re.search(r"[efg%]", ast.unparse(value.format_spec)[1:])
            constant = re.fullmatch(r"_?[A-Z_]+", expression)
            follows = re.match(rf" (?:(?!and|or|of|to)[a-z-]+ )?(?:{'|'.join(NOUNS)})\b", str(after.value))
            if follows and not (rounded or constant or "per_second" in expression):
                yield expression


def test_every_number_is_written_with_counted() -> None:
    found = {}
    for room in ("jobs", "plugins", "dags"):
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            if expressions := {*plurals(path.read_text(encoding="utf-8"))}:
                found[path.relative_to(REPOSITORY).as_posix()] = expressions
    known = {file: AT_LEAST_TWO.get(file, set()) | NOT_NUMBERS.get(file, set()) for file in AT_LEAST_TWO | NOT_NUMBERS}
    assert found == known


def test_a_number_that_is_not_is_seen() -> None:
    assert list(plurals("f'{len(found):,} new URLs are left'")) == ["len(found)"]
    assert list(plurals("f'{MOST} URLs, {seconds:.1f} seeds, {a} and URLs, {name} of files'")) == []
