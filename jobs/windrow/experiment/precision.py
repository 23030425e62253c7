"""The section scoring.precision: compute a network's labels in fewer bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from windrow.experiment.values import Section

Precision = Literal["bf16", "int8"]
"""The number types that a network may compute in, besides float32."""


class PrecisionSection(Section):
    """A lower precision for the network that labels, on OpenVINO; the run fails unless enough labels stay the same."""

    type: Precision = Field(description="int8 on any processor, bf16 on those that have it")
    images: str = Field(
        min_length=1,
        description="folder of 32 images or more like those of the feed; under WINDROW_HOME if relative",
    )
    same_labels: float = Field(
        0.97,
        gt=0,
        le=1,
        description="least share of images that must keep their label, or the run fails before it fetches",
    )
