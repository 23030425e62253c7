"""The memory that a promotion's networks need."""

from __future__ import annotations

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import UserError
from windrow.experiment import parse
from windrow.selection.ranking import memory
from windrow.sweep.ledger import Entry


def test_more_networks_than_the_driver_can_hold_are_refused_before_any_is_trained() -> None:
    memory.check_memory(20, 14 << 20, 280 << 20)
    with pytest.raises(UserError, match=r"got 2,500 networks of 14 MiB, and 8,000 MiB are free; lower it"):
        memory.check_memory(2500, 14 << 20, 8000 << 20)


def test_a_network_is_as_large_as_its_backbone_and_the_largest_head_of_the_finalists() -> None:
    page = parse("name: a\ndataset: {source: photos, fit: squash}\nnetwork: {backbone: lite0}")
    features = Manifest("a", "photos", "f", (1, 1, 1280), ("x", "y"), {}, {}, {})
    points = ({"layers": 0}, {"layers": 1, "units": 16384}, {"layers": 1, "units": 64})
    trials = [Entry(number, point, number) for number, point in enumerate(points)]
    parameters, weights = memory.largest(page, features, trials)
    assert parameters["units"] == 16384
    assert weights == 1281 * 16384 + 16385 * 2
    assert memory.network_bytes(14 << 20, weights) >> 20 == 14 + 80
