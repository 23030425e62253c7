"""Describe the features of a prepared data set, as features.json holds them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ConfigDict

from windrow.model.backbone import Backbone


@dataclass(frozen=True)
class FeatureCopies:
    """Test images whose features nearly coincide with those of an image of training or validation.

    Attributes:
        limit: the cosine from which two images count as near copies.
        tests: indices of these images in the test split.
        examples: names of some of them, each with the name of the image that it is most like.
        missing: why they were not looked for; "" if they were.
    """

    limit: float
    tests: tuple[int, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class FeatureSource:
    """What a page says about its backbone: the keys network.backbone, .backbone_sha256 and .backbone_layer."""

    backbone: str
    backbone_sha256: str | None = None
    backbone_layer: str | None = None


@dataclass(frozen=True)
class Features:
    """The features of a prepared data set.

    Attributes:
        source: what the page said about the backbone.
        backbone: the backbone; its file is on the machine that computed the features.
        dataset: digest of the data set.
        digest: SHA-256 that stands for data set, backbone, recipe and number of views; the same on every machine.
        views: number of views of a training image; view 0 is the image.
        shape: (1, 1, features), the shape of an example.
        files: SHA-256 of each file, by its name.
        near_copies: test images that nearly coincide with others.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    source: FeatureSource
    backbone: Backbone
    dataset: str
    digest: str
    views: int
    shape: tuple[int, int, int]
    files: dict[str, str] = field(default_factory=dict)
    near_copies: FeatureCopies = field(default_factory=lambda: FeatureCopies(1.0))
