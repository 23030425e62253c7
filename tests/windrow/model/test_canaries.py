"""Canaries: the same images everywhere, and what counts as another answer."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from windrow.errors import WindrowError
from windrow.model import canaries
from windrow.model.canaries import Canary


@pytest.mark.parametrize("shape", [(8, 8, 1), (192, 192, 3), (1, 1, 3), (299, 5, 1)])
def test_the_images_fit_the_network_and_differ(shape: tuple[int, int, int]) -> None:
    drawn = canaries.images(shape)
    assert (drawn.shape, drawn.dtype) == ((3, *shape), np.uint8)
    assert len({image.tobytes() for image in drawn}) == 3 or shape[:2] == (1, 1)


def test_the_images_are_the_same_for_ever() -> None:
    drawn = canaries.images((28, 28, 3))
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "1b05e614db56b9f6"


def test_a_canary_keeps_its_first_five_labels_and_survives_being_written() -> None:
    canary = Canary.of([4, 2, 1, 0, 3, 5], np.float32([0.5, 0.2, 0.1, 0.1, 0.06, 0.04]))
    assert canary == Canary((4, 2, 1, 0, 3), (0.5, 0.2, 0.1, 0.1, 0.06))
    assert Canary.of(*canary.plain().values()) == canary


EXPECTED = [Canary((1, 0), (0.9, 0.1)), Canary((0, 1), (0.51, 0.49)), Canary((1,), (0.8,))]


@pytest.mark.parametrize(
    "found",
    [
        EXPECTED,
        [Canary((1, 0), (0.881, 0.119)), *EXPECTED[1:]],
        [EXPECTED[0], Canary((1, 0), (0.505, 0.495)), EXPECTED[2]],  # they were as good as equal
        [Canary((1,), (0.9,)), *EXPECTED[1:]],  # the page keeps one label
    ],
    ids=["same", "near", "tie", "fewer"],
)
def test_what_is_near_is_the_same(found: list[Canary]) -> None:
    canaries.check(found, EXPECTED, "here")
    canaries.check(found, [], "here")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([Canary((1, 0), (0.7, 0.3)), *EXPECTED[1:]], r"'gradient'.* on far class 1 has 0.7000 .*differ by 0.2000"),
        ([Canary((1, 0), (0.875, 0.125)), *EXPECTED[1:]], r"'gradient'.* on far .*differ by 0.0250, 0.02 is allowed"),
        ([*EXPECTED[:2], Canary((0,), (0.8,))], r"'blocks'.* on far class 0 has 0.8000 where class 1 had 0.8000"),
    ],
)
def test_another_answer_is_told_with_the_host_the_image_and_by_how_much(found: list[Canary], told: str) -> None:
    with pytest.raises(WindrowError, match=told):
        canaries.check(found, EXPECTED, "far")
