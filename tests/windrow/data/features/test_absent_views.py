"""Portions: every view once, in whole batches, shorter at the end."""

from __future__ import annotations

import numpy as np
import pytest
from windrow.data.features.absent_views import Absent, Portions
from windrow.data.features.embed_worker import BATCH
from windrow.data.splits import Split


def absent(split: Split, count: int) -> Absent:
    names = np.array([f"{split}{number}" for number in range(count)], "S17")
    return Absent(split, np.arange(count), np.zeros(count, np.uint8), names)


def divided(counts: dict[Split, int], slots: int, seconds_a_view: float) -> list[list[Absent]]:
    """All portions, where each takes as long as its views."""
    portions, found = Portions([absent(split, count) for split, count in counts.items()], slots), []
    while taken := portions.take():
        found.append(taken)
        views = sum(map(len, taken))
        portions.note(views, views * seconds_a_view)
    return found


@pytest.mark.parametrize("slots", [1, 2, 7, 64])
@pytest.mark.parametrize("counts", [{"train": 1}, {"train": 206, "validation": 38, "test": 153}, {"train": 20_000}])
def test_portions_have_every_view_once_and_in_order(counts: dict[Split, int], slots: int) -> None:
    found = [part for portion in divided(counts, slots, 0.01) for part in portion]
    keys = np.concatenate([part.keys for part in found])
    assert keys.tolist() == [f"{split}{number}".encode() for split, count in counts.items() for number in range(count)]
    assert all(part.split.encode() == key.rstrip(b"0123456789") for part in found for key in part.keys)


def test_every_portion_but_the_last_is_of_whole_batches_also_where_a_split_ends() -> None:
    sizes = [sum(map(len, portion)) for portion in divided({"train": 206, "validation": 38, "test": 153}, 2, 0.01)]
    assert all(size % BATCH == 0 for size in sizes[:-1])


def test_portions_take_some_seconds_and_less_at_the_end() -> None:
    sizes = [sum(map(len, portion)) for portion in divided({"train": 6000}, 2, 0.01)]
    assert max(sizes) <= 5 / 0.01 + BATCH
    assert sizes[1] > sizes[0], "the first is small, because the pace is not known"
    assert sizes[1:] == sorted(sizes[1:], reverse=True)
    assert sizes[-1] <= 64


@pytest.mark.parametrize(("views", "slots"), [(60, 2), (397, 16)])
def test_few_views_are_shared_by_all_slots(views: int, slots: int) -> None:
    sizes = [sum(map(len, portion)) for portion in divided({"train": views}, slots, 0.01)]
    assert max(sizes) <= views / slots + BATCH


def test_a_slow_backbone_gets_portions_of_seconds_too() -> None:
    sizes = [sum(map(len, portion)) for portion in divided({"train": 6000}, 2, 0.5)]
    assert sizes[1] <= 4 * BATCH
