"""How a network's file is read, and how images are fed to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # executors that label images need no pydantic
    from windrow.experiment.precision import Precision
    from windrow.experiment.rules.network_file import Kind, Resize

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Form:
    """How a network's file is read and fed.

    `feed` and `fetch` are tensors of a graph, or names of a SavedModel's input and output. `black` and `white` are what
    it is fed for the levels 0 and 255. `precision` is what it computes in, where that is not as its file says.
    """

    kind: Kind | Literal["openvino"] = "keras"
    feed: str | None = None
    fetch: str | None = None
    resize: Resize = "smooth"
    black: float = 0.0
    white: float = 255.0
    precision: Precision | None = None
