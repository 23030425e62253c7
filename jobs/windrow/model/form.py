"""Describe how a network's file is read, and what input the network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # executors that label images need no pydantic
    from windrow.experiment.precision import Precision
    from windrow.experiment.rules.network_file import Kind, Resize

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Form:
    """The kind of a network's file, and what input the network takes.

    Attributes:
        kind: kind of the file.
        feed: name of the input: a tensor of a graph, or an input of a SavedModel.
        fetch: name of the output: a tensor of a graph, or an output of a SavedModel.
        resize: how images get the network's shape: a filter or crop, as for data.image.to_pixels.
        black: input value for pixel level 0.
        white: input value for pixel level 255.
        precision: number type that the network computes in; None: that of the file.
    """

    kind: Kind | Literal["openvino"] = "keras"
    feed: str | None = None
    fetch: str | None = None
    resize: Resize | Literal["crop"] = "smooth"
    black: float = 0.0
    white: float = 255.0
    precision: Precision | None = None
