"""Views of an image: which there are, that they are the same everywhere, and how many a page needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.data import hashes
from windrow.data.features import views
from windrow.experiment import Experiment

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
KEY = hashes.of(IMAGE[None])[0].tobytes()


def test_the_first_views_are_the_image_and_its_mirror_image() -> None:
    assert (views.view(IMAGE, KEY, 0) == IMAGE).all()
    assert (views.view(IMAGE, KEY, 1) == IMAGE[:, ::-1]).all()


@pytest.mark.parametrize("number", range(views.MOST))
def test_a_view_has_the_shape_of_its_image_and_is_the_same_each_time(number: int) -> None:
    found = views.view(IMAGE, KEY, number)
    assert (found.shape, found.dtype) == (IMAGE.shape, np.uint8)
    assert (found == views.view(IMAGE.copy(), KEY, number)).all()


def test_all_views_of_an_image_differ() -> None:
    assert len({views.view(IMAGE, KEY, number).tobytes() for number in range(views.MOST)}) == views.MOST


def test_a_crop_depends_on_the_image_that_it_is_drawn_for() -> None:
    assert (views.view(IMAGE, KEY, 3) != views.view(IMAGE, bytes(16), 3)).any()


@given(st.binary(min_size=16, max_size=16), st.integers(2, views.MOST - 1))
def test_a_crop_is_at_least_seven_tenths_of_each_side_and_inside_the_image(key: bytes, number: int) -> None:
    rows, columns = np.mgrid[:100, :100].astype(np.uint8)
    crop = views.view(np.stack([rows, columns, rows], axis=2), key, number).astype(int)
    for values in (crop[:, 0, 0], crop[0, :, 1]):
        span = abs(int(values[-1]) - int(values[0])) + 1
        assert 68 <= span <= 101
        steps = np.diff(values)
        assert (steps >= 0).all() or (steps <= 0).all()


def test_crops_are_mirrored_by_chance() -> None:
    columns = np.tile(np.arange(20, dtype=np.uint8)[None, :, None], (24, 1, 3))
    mirrored = [views.view(columns, bytes([seed] * 16), 2)[0, 0, 0] > 10 for seed in range(200)]
    assert 70 < sum(mirrored) < 130


def page(**keys: object) -> Experiment:
    return Experiment.model_validate({"name": "photos", **keys})


def test_the_known_crop_is_drawn_on_every_machine() -> None:
    """The cache and its users on other machines rely on it: change RECIPE when this changes."""
    gradient = (np.arange(8 * 8 * 3) % 256).astype(np.uint8).reshape(8, 8, 3)
    assert views.view(gradient, bytes(range(16)), 2)[3, :, 0].tolist() == [70, 72, 74, 77, 79, 81, 84, 86]


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, 1),
        ({"network": {"parameters": {"views": 4}}}, 4),
        ({"space": {"views": {"type": "int", "low": 1, "high": 6}}}, 6),
        ({"space": {"views": {"type": "int", "low": 1, "high": 3}}, "network": {"parameters": {"views": 6}}}, 6),
        ({"space": {"views": {"type": "categorical", "choices": [2, 5, 1]}}}, 5),
        ({"space": {"units": {"type": "int", "low": 1, "high": 6}}, "network": {"parameters": {"views": 2}}}, 2),
    ],
)
def test_a_page_needs_as_many_views_as_a_trial_can_draw(keys: dict[str, object], wanted: int) -> None:
    assert views.most_views(page(**keys)) == wanted
