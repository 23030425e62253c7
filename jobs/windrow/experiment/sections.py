"""The sections of an experiment page, each a frozen pydantic model. docs/pages.md is the reference for users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, field_validator, model_validator

from windrow.experiment.airflow import AirflowSection
from windrow.experiment.dimensions import Dimension
from windrow.experiment.network_section import NetworkSection
from windrow.experiment.promotion_section import PromotionSection
from windrow.experiment.scoring import ScoringSection
from windrow.experiment.values import (
    OBJECTIVE_DIRECTIONS,
    Cost,
    Cron,
    Expression,
    Fits,
    Goals,
    PageValue,
    Section,
    WebAddress,
)

BUILT_IN_SOURCES = ("digits", "mnist", "fashion_mnist")
"""The values of dataset.source that are not folders; data.sources.SOURCES loads them."""

Seconds = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]

LARGEST_SEED = 2**32 - 1  # NumPy's limit, which also applies to Optuna's samplers

SLUG = r"^[a-z][a-z0-9_]{0,62}$"

LEARNERS = ("tpe", "gp", "cma_es")
"""The samplers that learn from the results of earlier trials."""

CHAMPION = "champion"
"""The value of sweep.warm_start with which a sweep tries the champion's point."""

_NOT_DECISIVE = {"name", "description", "dataset", "promotion", "scoring", "airflow", "cluster_minutes"}
_NOT_DECISIVE_IN_SWEEP = {
    *("trials", "stop_after", "slots", "cores", "fused", "schedule", "after_drift"),
    *("trial_seconds", "trial_mebibytes", "budget_seconds"),
}
"""The keys, with those in _NOT_DECISIVE, that may change while a study continues. All others identify the study.

The contents of the data set, whose digest is in study.json, identify the study, too; the section dataset does not.
"""

_ADDED_TO_SWEEP = {"sensitivity", "patience", "objectives", "prune_after"}
"""Keys of the sweep that older studies' pages do not have. They count only if set, so that these studies continue."""

_NOT_DECISIVE_IN_NETWORK = {"backbone", "backbone_sha256", "backbone_layer"}
"""The keys of a backbone: the digest of its features takes the place of the data set's digest in study.json."""


class DatasetSection(Section):
    """The source of the labelled images, and their splits."""

    source: str = Field(
        "digits",
        min_length=1,
        description=f"{', '.join(BUILT_IN_SOURCES)}, a folder with four IDX files or one folder of images per class, "
        "or with dataset.label a feed",
    )
    label: str | None = Field(None, min_length=1, description="column with each URL's class, if the source is a feed")
    refuse_usage: tuple[Literal["train-ai"], ...] = Field(
        ("train-ai",), description="uses of a feed's images that hosts may reserve; these images are not trained on"
    )
    validation: float = Field(0.15, gt=0, lt=1, description="share of the training images held out for the search")
    test: float = Field(0.2, gt=0, lt=1, description="share held out for the test, where the source has no test split")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the splits")
    mirrors: tuple[WebAddress, ...] = Field((), description="base URLs to download from instead of the public ones")
    image_size: int | None = Field(None, ge=4, le=1024, description="side in pixels for a folder of images")
    channels: Literal[1, 3] = Field(3, description="1 (grey) or 3 (RGB), for a folder of images")
    fit: Fits = Field(
        "squash",
        description="how a folder's images become squares: squash changes their proportions, crop cuts the ends off; "
        "both, the default for a backbone, lets the search choose",
    )


class SensitivitySection(Section):
    """A design that varies two hyper-parameters only, keeps all others at their defaults, and repeats each point."""

    parameters: tuple[str, ...] = Field(description="the two hyper-parameters of the space that differ among trials")
    repeats: int = Field(3, ge=1, le=100, description="trials of each point; their seeds differ, and nothing else")

    @field_validator("parameters")
    @classmethod
    def _two(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != 2 or len(names) != 2:
            raise ValueError(f"must be two hyper-parameters; got {list(names)}; for example [learning_rate, units]")
        return names


class SweepSection(Section):
    """The search of the space: sampler, trials, limits."""

    sampler: Literal["grid", "quasi_random", "random", "tpe", "gp", "cma_es", "sensitivity"] = Field(
        "tpe",
        description="how points are chosen: grid, quasi_random (Sobol), random, or from results: tpe, gp, cma_es; "
        "sensitivity: Sobol over two hyper-parameters, seeds repeated",
    )
    trials: int = Field(12, ge=1, le=100_000, description="points to train")
    stop_after: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="trials in a row that are not better by more than noise, after which no further trial begins; "
        "all trials if empty",
    )
    epochs: int = Field(10, ge=1, le=10_000, description="passes over the training images per trial")
    patience: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="epochs without a better objective after which a trial ends early; the best epoch's value and "
        "weights count; if empty, every trial trains all epochs, and the last one counts",
    )
    objective: Literal["val_accuracy", "val_loss", "val_macro_f1"] = Field(
        "val_accuracy",
        description="validation metric that is searched for; accuracy and macro-F1 are raised, loss is lowered",
    )
    objectives: Goals = Field(
        None,
        description="two goals: a validation metric, and weights or milliseconds (for an image), which are lowered; "
        "one goal, the objective, if empty",
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the search; each trial's seed derives from it")
    slots: int | None = Field(None, ge=1, description="trials at once; what Spark offers if empty")
    cores: int = Field(1, ge=1, description="cores per trial")
    pruner: Literal["none", "asha", "median"] = Field(
        "none", description="rule that stops poor trials early: none, asha (successive halving) or median"
    )
    prune_after: float = Field(
        0.33,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="share of the epochs that a trial trains before the pruner decides for the first time",
    )
    trial_seconds: Seconds = Field(None, description="wall clock per trial, seconds; no limit if empty")
    trial_mebibytes: int | None = Field(
        None, ge=256, description="resident memory of a trial's process, MiB; TensorFlow itself takes about 500"
    )
    budget_seconds: Seconds = Field(
        None, description="time of the study, all its sweeps together, seconds; no limit if empty"
    )
    deterministic: bool = Field(False, description="the same table bit for bit, whatever the number of workers")
    generation: int = Field(8, ge=1, le=100_000, description="trials asked together in a deterministic sweep")
    fused: bool | None = Field(
        None,
        description="train trials of the same shape as one graph: true where a probe finds it faster, false never; "
        "only where Spark gives each task a GPU if empty",
    )
    warm_start: str | None = Field(
        None,
        min_length=1,
        description="champion: its point is among the first trials, as by default with a schedule or after_drift; or "
        "the folder of an earlier study whose trials the sampler learns from",
    )
    points: tuple[dict[str, PageValue], ...] = Field(
        (), description="points to train right after the default configuration"
    )
    sensitivity: SensitivitySection | None = Field(
        None, description="the two hyper-parameters of the sampler sensitivity"
    )
    schedule: Cron = Field(None, description="cron expression for the train DAG; by hand only if empty")
    after_drift: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="PSI of a scoring run's labels or scores above which the train DAG starts; it never does if empty",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_goal(cls, values: Any) -> Any:
        """Take the first of two goals as the objective, unless that is written, too."""
        goals = values.get("objectives") if isinstance(values, dict) else None
        if isinstance(goals, list | tuple) and goals and isinstance(goals[0], str) and goals[0] in OBJECTIVE_DIRECTIONS:
            return {"objective": goals[0], **values}
        return values

    @property
    def cost(self) -> Cost | None:
        """Return the second goal; None if the search has one goal."""
        return None if self.objectives is None else cast("Cost", self.objectives[1])

    @property
    def direction(self) -> str:
        """Return the direction of the objective in Optuna's terms: maximize or minimize."""
        return OBJECTIVE_DIRECTIONS[self.objective]

    @property
    def tries_champion(self) -> bool:
        """Return whether a new study trains the champion's point among its first trials.

        By default, it does so on a page that trains by itself, unless its results must follow from the page alone.
        """
        if self.warm_start is not None or self.deterministic or self.sampler == "sensitivity":
            return self.warm_start == CHAMPION
        return self.schedule is not None or self.after_drift is not None


class Experiment(Section):
    """A validated experiment page."""

    name: str = Field(pattern=SLUG, description="lower-case letters, digits and _; names the DAGs and the model")
    description: str = Field("", description="what the page achieves, in how long, on what")
    dataset: DatasetSection = DatasetSection()
    network: NetworkSection = NetworkSection()
    space: dict[str, Dimension] = Field(
        default_factory=dict, description="hyper-parameters to search and their ranges; a page without it only scores"
    )
    constraints: tuple[Expression, ...] = Field(
        (), description='conditions that the hyper-parameters of a trial must fulfil, e.g. "units * layers <= 512"'
    )
    sweep: SweepSection = SweepSection()
    promotion: PromotionSection = PromotionSection()
    scoring: ScoringSection | None = None
    airflow: AirflowSection = AirflowSection()
    cluster_minutes: float = Field(
        30.0, gt=0, le=10_080, description="minutes that a job waits for a cluster without executors, then it fails"
    )

    @field_validator("space")
    @classmethod
    def _not_empty(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        if not space:
            raise ValueError("needs at least one hyper-parameter; got none; add one, e.g. learning_rate")
        return space

    @property
    def model_name(self) -> str:
        """Return the registered model's name in MLflow."""
        return self.promotion.model or self.name

    @property
    def trains(self) -> bool:
        """Return whether there is a space to search. A page without a space only scores."""
        return bool(self.space)

    @property
    def champion_uri(self) -> str:
        """Return the URI of the model that scores if scoring.network is not set: scoring.model, or the champion."""
        return (self.scoring and self.scoring.model) or f"models:/{self.model_name}@champion"

    def search_digest(self) -> str:
        """Return a digest that identifies the search: two pages with the same digest may continue the same study.

        Keys that may change while a study continues, such as the number of trials, do not count (_NOT_DECISIVE and
        _NOT_DECISIVE_IN_SWEEP).
        """
        known = type(self.sweep).model_fields
        unset = {name for name in _ADDED_TO_SWEEP if getattr(self.sweep, name) == known[name].default}
        if not self.sweep.deterministic:
            unset.add("generation")
        if self.sweep.pruner == "none":
            unset.add("prune_after")
        sweep = self.sweep.model_dump(mode="json", exclude=_NOT_DECISIVE_IN_SWEEP | unset)
        network = self.network.model_dump(mode="json", exclude=_NOT_DECISIVE_IN_NETWORK)
        parts = {**self.model_dump(mode="json", exclude=_NOT_DECISIVE), "network": network, "sweep": sweep}
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section that a key with this annotation holds; None for a value, or a mapping with free keys."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def keys() -> list[str]:
    """Return every key that `--set` may change, dotted; `*` stands for a hyper-parameter's name."""
    return [*_keys(Experiment, ""), "network.parameters.*", "space.*"]


def optional_sections() -> list[str]:
    """Return every section within a section that may be null, dotted; `--set` may change it as a whole."""
    return [
        f"{name}.{inner}"
        for name, field in Experiment.model_fields.items()
        if (section := section_of(field.annotation)) is not None
        for inner, value in section.model_fields.items()
        if value.default is None and section_of(value.annotation) is not None
    ]


def _keys(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
