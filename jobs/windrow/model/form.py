"""Describe how a network's file is read, and the form of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # executors that label images need no pydantic
    from windrow.experiment.precision import Precision
    from windrow.experiment.rules.network_file import Kind, Resize

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Form:
    """The kind of a network's file, and the form of its input.

    Attributes:
        kind: of the file.
        feed: the input: a tensor of a graph, or a name of a SavedModel's.
        fetch: the output, likewise.
        resize: the method that fits images to its shape.
        black: its input for the level 0.
        white: its input for the level 255.
        precision: of its computation; None for that of the file.
    """

    kind: Kind | Literal["openvino"] = "keras"
    feed: str | None = None
    fetch: str | None = None
    resize: Resize = "smooth"
    black: float = 0.0
    white: float = 255.0
    precision: Precision | None = None
