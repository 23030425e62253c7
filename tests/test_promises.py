"""The list of broken promises is in line with the code, with the tests, and with docs/testing.md."""

from __future__ import annotations

import re

import pytest
from harness import promises
from harness.promises import REPOSITORY, Promise

LISTED = promises.read()


def test_the_list_has_at_least_forty_promises_each_once() -> None:
    assert len({one.says for one in LISTED}) == len(LISTED) >= 40


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.says)
def test_what_a_change_replaces_stands_in_its_file_once(one: Promise) -> None:
    assert (REPOSITORY / one.file).read_text().count(one.old) == 1
    assert one.old != one.new


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.says)
def test_the_test_that_notices_is_there(one: Promise) -> None:
    path, _, name = one.caught_by.partition("::")
    assert re.search(
        rf"^ *(async )?def {re.escape(name.partition('[')[0])}\(", (REPOSITORY / path).read_text(), re.MULTILINE
    )


def test_the_table_in_the_docs_is_the_lists() -> None:
    assert promises.table(LISTED) in (REPOSITORY / "docs" / "testing.md").read_text()
