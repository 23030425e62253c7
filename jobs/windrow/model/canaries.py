"""Canaries: images that every worker labels when it loads a network, to find a worker that labels differently.

When a version is registered, the network's labels for these images are recorded as the reference. For a network from a
file, the labels of a run's first worker are the reference. The driver of a scoring run never runs the network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.errors import WindrowError

NAMES = ("gradient", "noise", "blocks")
TOLERANCE = 0.02
"""The largest accepted difference of a score.

Processors and libraries add in different orders, which mostly changes a score by less than 0.001.
"""
KEPT = 5
"""Number of labels that are recorded per image."""


@dataclass(frozen=True)
class Canary:
    """A network's labels and scores for one canary image, best first."""

    label_ids: tuple[int, ...]
    scores: tuple[float, ...]

    def plain(self) -> dict[str, list[int] | list[float]]:
        """Return the labels and scores as a dict that JSON and YAML can hold."""
        return {"label_ids": list(self.label_ids), "scores": list(self.scores)}

    @classmethod
    def of(cls, label_ids: Sequence[int], scores: Sequence[float]) -> Canary:
        """Return a canary with the first KEPT of a network's labels, and their scores rounded to six decimals."""
        kept = tuple(round(float(score), 6) for score in scores[:KEPT])
        return cls(tuple(int(one) for one in label_ids[:KEPT]), kept)


def images(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the canary images in the order of NAMES, uint8 (3, *shape).

    The images are made with integer arithmetic, so that they are equal on every machine.
    """
    height, width, channels = shape
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    gradient = (x * 255 // max(1, width - 1) + y * 255 // max(1, height - 1)) // 2 + c * 40
    noise = ((y * width + x) * channels + c + 1) * 2654435761 % 2**32 >> 24
    blocks = ((x * 4 // width + y * 4 // height + c) % 2) * 200 + 20
    return np.stack([gradient, noise, blocks]).astype(np.uint8)


def label(images: Sequence[Any], run: Callable[[Any], tuple[Any, Any]]) -> tuple[Canary, ...]:
    """Return the labels of the images, one by one. `run` is the network: image → (label ids, scores), best first."""
    answers = [run(image) for image in images]
    return tuple(Canary.of(np.ravel(ids).tolist(), np.ravel(scores).tolist()) for ids, scores in answers)


def check(found: Sequence[Canary], expected: Sequence[Canary], host: str) -> None:
    """Compare the labels that a network found on a host with the expected labels, if there are any.

    Raises:
        WindrowError: a score differs by more than TOLERANCE, or the best label differs although the expected label
            leads by more than 2 * TOLERANCE. The message has the host, the image, and the difference.
    """
    for name, got, wanted in zip(NAMES, found, expected, strict=False):
        apart = max((abs(a - b) for a, b in zip(got.scores, wanted.scores, strict=False)), default=0.0)
        lead = wanted.scores[0] - (wanted.scores[1] if len(wanted.scores) > 1 else 0.0)
        other = got.label_ids[0] != wanted.label_ids[0] and lead > 2 * TOLERANCE
        if apart > TOLERANCE or other:
            raise WindrowError(
                f"every worker's network must label the image {name!r} as it was labelled before; on "
                f"{host} class {got.label_ids[0]} has {got.scores[0]:.4f} where class "
                f"{wanted.label_ids[0]} had {wanted.scores[0]:.4f} (scores differ by {apart:.4f}, {TOLERANCE} is "
                "allowed); compare that host's processor, GPU and packages with the others'"
            )
