"""The section `promotion`: when a sweep's winner becomes champion, and how its finalists are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from windrow.experiment.values import Section

MODEL_NAME = r"""^([^/:\s.'"][^/:\s'"]{0,254}|\.[^/:\s.'"][^/:\s'"]{0,253})$"""


class FineTuneSection(Section):
    """The further training of the winner's network: the last blocks of its backbone, and its head."""

    blocks: int = Field(3, ge=1, le=1000, description="last blocks of the backbone that are trained")
    epochs: int = Field(5, ge=1, le=1000, description="passes over the training images")
    learning_rate: float = Field(2e-4, ge=1e-8, le=0.1, description="step size of Adam at the start; falls to 0")


class PromotionSection(Section):
    """The conditions under which a sweep's winner becomes the champion."""

    model: str | None = Field(None, pattern=MODEL_NAME, description="registered model's name; the page's if empty")
    finalists: int = Field(3, ge=1, le=50, description="best trials that are trained again")
    seeds: int = Field(1, ge=1, le=50, description="seeds that each finalist is trained with")
    train_on: Literal["train", "all"] = Field(
        "train",
        description="images that finalists' networks are trained on: those for training, or, with a backbone, all but "
        "the test's, after a training that validates; all is the default for a backbone",
    )
    prefer: Literal["best", "smallest"] = Field(
        "best",
        description="finalist that wins: the best on validation, or the smallest that is worse by no more than the "
        "tolerance",
    )
    tolerance: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="how much worse than the best finalist, in points of the objective, a smaller one may be; 0.002 is "
        "0.2 %; only if the smallest is preferred",
    )
    minimum_improvement: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="test accuracy (macro-F1 if it is the objective) by which a challenger must exceed the champion; "
        "0.01 is one point",
    )
    significant: bool = Field(
        False,
        description="require a significant lead of the challenger: McNemar's exact test below 0.05, or for macro-F1 a "
        "95 % interval above 0",
    )
    approval: bool = Field(False, description="require a person's approval before the challenger becomes champion")
    fine_tune: FineTuneSection | None = Field(
        None, description="further training of the winner on images, with the end of its backbone; none if empty"
    )
