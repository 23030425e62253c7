"""Files that share a worker are there, and a file is in one lane at most."""

from __future__ import annotations

import pytest
from harness.jobs import REPOSITORY
from harness.lanes import LANES

BEGINNINGS = [begin for lane in LANES.values() for begin in lane]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_beginning_is_that_of_a_test_file_and_of_no_other_lanes(begin: str) -> None:
    found = [path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "tests").rglob("test_*.py")]
    mine = [path for path in found if path.startswith(begin)]
    assert mine
    assert [sum(path.startswith(other) for other in BEGINNINGS) for path in mine] == [1] * len(mine)
