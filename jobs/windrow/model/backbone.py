"""Describe a backbone: a frozen network whose features a head is trained on. Nothing here imports TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from windrow.errors import WindrowError
from windrow.model import canaries
from windrow.model.form import Shape

TOLERANCE = 0.01
"""The largest accepted difference of a canary's value, as a share of the largest value of that canary.

Processors and libraries add in different orders, which changes a value by less than 0.0001. Features are stored as
float16, which is exact to 0.0005.
"""
KEPT = 16
"""Number of values that are recorded per canary image."""


class BackboneFields(TypedDict):
    """A backbone as JSON holds it."""

    name: str
    file: str
    digest: str
    shape: list[int]
    features: int
    canaries: list[list[float]]
    weights: NotRequired[int]


@dataclass(frozen=True)
class Backbone:
    """A frozen network with its file.

    Attributes:
        name: name for people, such as `efficientnet-lite0`.
        file: path of a .keras file. The network takes float32 (n, height, width, 3) in 0..255, has its preprocessing
            inside, and gives float32 (n, features).
        digest: SHA-256 of the source's weights, the layer, and the way of converting them. It is the same on every
            machine, unlike the digest of `file`, which contains times.
        shape: (height, width, 3) of an image.
        features: number of features of an image.
        canaries: per image of canaries.py, what `fingerprint` gives for its features; empty if not recorded.
        weights: number of its weights; 0 if not recorded, as before 2026-11-27.
    """

    name: str
    file: Path
    digest: str
    shape: Shape
    features: int
    canaries: tuple[tuple[float, ...], ...] = ()
    weights: int = 0

    def to_json(self) -> BackboneFields:
        """Return the fields as a dict that JSON can hold."""
        return {
            "name": self.name,
            "file": str(self.file),
            "digest": self.digest,
            "shape": list(self.shape),
            "features": self.features,
            "canaries": [list(values) for values in self.canaries],
            "weights": self.weights,
        }

    @classmethod
    def from_json(cls, fields: BackboneFields) -> Backbone:
        """Return the backbone that `to_json` described."""
        height, width, channels = fields["shape"]
        recorded = tuple(tuple(values) for values in fields["canaries"])
        return cls(
            fields["name"],
            Path(fields["file"]),
            fields["digest"],
            (height, width, channels),
            fields["features"],
            recorded,
            fields.get("weights", 0),
        )


def fingerprint(features: NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    """Return a few numbers per image that change when any feature does: root mean squares of groups of features.

    Args:
        features: (n, features), of any type of float.

    Returns:
        Per image, at most KEPT values, with six decimals.
    """
    squares = np.square(np.asarray(features, np.float64))
    groups = np.array_split(squares, min(KEPT, squares.shape[1]), axis=1)
    roots = np.sqrt(np.stack([group.mean(axis=1) for group in groups], axis=1))
    return tuple(tuple(round(float(value), 6) for value in row) for row in roots)


def check(features: NDArray[Any], backbone: Backbone, host: str) -> None:
    """Compare the features that a worker found for the images of canaries.py with the recorded ones, if there are any.

    Args:
        features: (3, features), of canaries.images(backbone.shape).
        backbone: the backbone with its canaries.
        host: name of the worker's host, for the message.

    Raises:
        WindrowError: a value differs by more than TOLERANCE, or is not a number. The message has the host and image.
    """
    for name, got, wanted in zip(canaries.NAMES, fingerprint(features), backbone.canaries, strict=False):
        found, recorded = np.array(got), np.array(wanted)
        apart = float(np.abs(found - recorded).max() / max(float(recorded.max()), 1e-6))
        if not apart <= TOLERANCE:  # NaN must fail
            raise WindrowError(
                f"every worker's backbone must give the image {name!r} the features that were recorded; on {host} "
                f"they differ by {apart:.4f} of the largest ({TOLERANCE} is allowed); compare that host's processor, "
                "GPU and packages with the others'"
            )
