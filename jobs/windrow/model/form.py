"""Describe how a network's file is read, and the form of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from windrow.data.image import Resize

Precision = Literal["bf16", "int8"]


Shape = tuple[int, int, int]


Kind = Literal["keras", "graph", "saved_model", "openvino"]


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

    kind: Kind = "keras"
    feed: str | None = None
    fetch: str | None = None
    resize: Resize = "smooth"
    black: float = 0.0
    white: float = 255.0
    precision: Precision | None = None
