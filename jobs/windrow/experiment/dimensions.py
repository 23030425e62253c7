"""The dimensions of a space: float, int and categorical."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from windrow.experiment.constraints import same
from windrow.experiment.parameters import Value
from windrow.experiment.values import PageValue, Part, Values, no_guessing
from windrow.experiment.wording import shown


def range_mistakes(low: float | None, high: float | None, log: bool, step: float | None) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for each contradiction among the keys of a range. None is an absent key, or a wrong one."""
    if low is not None and high is not None and low > high:
        yield "low", f"must not be above high; got low {low} and high {high}; swap them"
    if log and low is not None and low <= 0:
        yield "low", f"must be above 0 on a log scale; got {low}; raise it, or drop log"
    if log and step is not None:
        yield "step", f"must be absent on a log scale; got {step}; drop step or log"


When = Annotated[
    dict[str, Values],
    Field(description="values of other hyper-parameters at which this one is searched; always if empty"),
]


class _Range(Part):
    """The keys that float and int dimensions have in common."""

    _exact = field_validator("low", "high", "log", "step", mode="before")(no_guessing)

    low: float = Field(allow_inf_nan=False, description="smallest value")
    high: float = Field(allow_inf_nan=False, description="largest value")
    log: bool = Field(False, description="search on a log scale")
    step: float | None = Field(None, gt=0, allow_inf_nan=False, description="distance between legal values")
    when: When = Field(default_factory=dict)

    def fits(self, value: object) -> bool:
        """Return whether a point may have this value."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step else "")

    @model_validator(mode="after")
    def _ordered(self) -> _Range:
        mistakes = [f"{key} {message}" for key, message in range_mistakes(self.low, self.high, self.log, self.step)]
        if mistakes:
            raise ValueError(", and ".join(mistakes))
        return self


class FloatDimension(_Range):
    """A real number between low and high, both inclusive."""

    type: Literal["float"]


class IntDimension(_Range):
    """A whole number between low and high, both inclusive."""

    type: Literal["int"]
    low: int
    high: int
    step: int | None = Field(None, ge=1, description="distance between legal values")

    def fits(self, value: object) -> bool:
        """Return whether a point may have this value: one that the range allows, and a whole number."""
        return super().fits(value) and float(value).is_integer()  # type: ignore[arg-type]


class CategoricalDimension(Part):
    """A choice from a list of values."""

    type: Literal["categorical"]
    choices: tuple[PageValue, ...] = Field(min_length=1, description="the values")
    when: When = Field(default_factory=dict)

    def fits(self, value: object) -> bool:
        """Return whether a value is one of the choices."""
        return any(same(value, choice) for choice in self.choices)

    def __str__(self) -> str:
        return ", ".join(map(shown, self.choices))

    @field_validator("choices")
    @classmethod
    def _no_duplicates(cls, choices: tuple[Value, ...]) -> tuple[Value, ...]:
        seen: set[Value] = set()
        for choice in choices:
            if choice in seen:  # 1, 1.0 and true are equal: the search could not distinguish them
                raise ValueError(f"must not repeat a value; got {choice!r} twice; remove one")
            seen.add(choice)
        return choices


Dimension = Annotated[FloatDimension | IntDimension | CategoricalDimension, Field(discriminator="type")]
DIMENSIONS: dict[str, type[BaseModel]] = {
    "float": FloatDimension,
    "int": IntDimension,
    "categorical": CategoricalDimension,
}
