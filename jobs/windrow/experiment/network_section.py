"""The section `network`: what a trial trains, and from which trained network it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from windrow.experiment import head_space, parameters
from windrow.experiment.parameters import Value
from windrow.experiment.rules.network_file import is_web_address
from windrow.experiment.values import DIGEST, PageValue, Section

EMBEDDED = ("lite0",)
"""The backbones that come with Windrow."""

_BACKBONE = re.compile(rf"{'|'.join(EMBEDDED)}|keras:[A-Za-z_]\w*|(?!keras:)[^\r\n]+\.keras")
_BUILDER_FUNCTION = re.compile(r"(?P<file>[^:\r\n]+\.py):(?P<function>[A-Za-z_]\w*)")


class NetworkSection(Section):
    """The network that a trial trains, and the page's values for hyper-parameters that a trial does not search."""

    builder: str = Field("dense", description="dense, cnn, or FILE.py:FUNCTION next to the page; with a backbone, head")
    backbone: str | None = Field(
        None,
        max_length=2000,
        description="trained network whose features a head learns from: lite0, a .keras file (path or URL), or "
        "keras:NAME for a function of keras.applications; none if empty",
    )
    backbone_sha256: str | None = Field(
        None, pattern=DIGEST, description="SHA-256 of the backbone's .keras file; if empty, a URL's first is trusted"
    )
    backbone_layer: str | None = Field(
        None, min_length=1, description="layer whose output is the features; the backbone's last one if empty"
    )
    parameters: dict[str, PageValue] = Field(default_factory=dict, description="values that differ from the defaults")
    # Not a key of the page, and no part of what identifies a search: it follows from the data set, which is one.
    _sized: dict[str, Value] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _head_for_a_backbone(cls, values: Any) -> Any:
        return {"builder": builder_of(values), **values} if isinstance(values, dict) else values

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, backbone: str | None) -> str | None:
        if backbone is not None and not _BACKBONE.fullmatch(re.split(r"[?#]", backbone)[0]):
            raise ValueError(
                f"must be {', '.join(EMBEDDED)}, a .keras file, its URL, or keras:NAME; got {backbone!r}; "
                f"for example {EMBEDDED[0]}"
            )
        return backbone

    @field_validator("builder")
    @classmethod
    def _known_builder(cls, builder: str) -> str:
        if builder not in parameters.BUILDERS and not _BUILDER_FUNCTION.fullmatch(builder):
            raise PydanticCustomError("builder", "not a built-in network, nor FILE.py:FUNCTION")
        return builder

    @property
    def function(self) -> tuple[str, str] | None:
        """Return (file, function) of a user's network, as written on the page; None for a built-in network."""
        match = _BUILDER_FUNCTION.fullmatch(self.builder)
        return (match["file"], match["function"]) if match else None

    @property
    def has_file(self) -> bool:
        """Return whether the backbone is a .keras file of the user's, by path or URL."""
        backbone = self.backbone or ""
        return bool(backbone) and backbone not in EMBEDDED and not backbone.startswith("keras:")

    def at(self, folder: Path) -> NetworkSection:
        """Return the section with the backbone's path made absolute, if it is a relative path, which begins there."""
        if not self.has_file or is_web_address(self.backbone or ""):
            return self
        return self.model_copy(update={"backbone": str(folder / Path(self.backbone or "").expanduser())})

    def defaults(self) -> dict[str, Value]:
        """Return the default configuration: all known parameters' defaults, replaced by the page's values."""
        return {**parameters.defaults(self.builder), **self._sized, **self.parameters}

    def sized(self, images: int) -> NetworkSection:
        """Return the section with the defaults of heads that depend on the number of training images."""
        section = self.model_copy()
        if self.builder == "head":
            section._sized = {"batch_size": head_space.batch_size(images)}
        return section


def builder_of(network: Mapping[str, object]) -> Any:
    """Return the builder of a section as it is written, valid or not: by default, a backbone gets a head."""
    default = NetworkSection.model_fields["builder"].default
    return network.get("builder", default if network.get("backbone") is None else "head")
