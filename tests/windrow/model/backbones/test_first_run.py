"""What a network makes of drawn images decides whether it can be a backbone; here it is a function of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from windrow.errors import UserError
from windrow.model import canaries
from windrow.model.backbones import first_run

SHAPE = (8, 8, 3)
Images = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Part:
    """A network from images to features, made of the mean of each colour."""

    change: Callable[[Images], Images]
    features: int = 3

    @property
    def output_shape(self) -> tuple[None, int]:
        return None, self.features

    def __call__(self, images: Images, training: bool) -> Images:
        assert not training
        return self.change(images.mean(axis=(1, 2)))


def for_two(means: Images) -> Images:
    return means.reshape(2, 3)


def test_sound_features_are_those_of_the_drawn_images() -> None:
    means = canaries.images(SHAPE).mean(axis=(1, 2))
    np.testing.assert_allclose(first_run.features(Part(lambda means: means), SHAPE, "sound"), means, rtol=1e-6)


@pytest.mark.parametrize("factor", [200.0, 1e-5])
def test_features_that_float16_holds_well_may_be_large_or_small(factor: float) -> None:
    assert first_run.features(Part(lambda means: factor * means), SHAPE, "sound").shape == (3, 3)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(lambda means: 0 * means), "finite features that are not all 0; odd does not; check its weights"),
        (Part(lambda means: means / 0), "finite features that are not all 0; odd does not; check its weights"),
        (Part(lambda means: np.nan * means), "finite features that are not all 0; odd does not; check its weights"),
        (Part(lambda means: 1e4 * means), r"between 0\.0001 and 65,504, .*; odd gives 1\.\d+e\+06; save it with"),
        (Part(lambda means: 1e-8 * means), r"between 0\.0001 and 65,504, .*; odd gives 1\.\d+e-06; save it with"),
        (Part(lambda means: 0 * means + 3), "different images different features; odd does not; check its weights"),
        (
            Part(lambda means: means * np.random.default_rng().random(3)),
            "the same features each time, .*; odd does not",
        ),
        (Part(lambda means: means - means.mean(axis=0)), "whatever other images there are; odd does not; save it"),
        (Part(lambda means: means, 65_537), "at most 65,536 features; odd gives 65,537; let network.backbone_layer be"),
        (Part(for_two), r"any number of images of \(8, 8, 3\); odd fails: .*; save it with keras.Input\(\(8, 8, 3\)\)"),
    ],
    ids=("zeros", "infinite", "nan", "large", "small", "constant", "chance", "batch", "many", "for_two"),
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_network_whose_features_are_of_no_use_is_refused(part: Part, message: str) -> None:
    with pytest.raises(UserError, match=message):
        first_run.features(part, SHAPE, "odd")
