"""Find the mistakes in the sensitivity design of a page whose space and network have no mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windrow.experiment.dimensions import Dimension
from windrow.experiment.parameters import Value
from windrow.experiment.wording import Mistake, guess, listed

_KEY = ("sweep", "sensitivity")
_EXAMPLE = "sensitivity: {parameters: [learning_rate, units]}"


def mistakes(
    sweep: Mapping[str, Any], space: Mapping[str, Dimension], defaults: Mapping[str, Value]
) -> Iterator[Mistake]:
    """Yield what `sweep.sensitivity`, valid by itself or absent, contradicts in sampler, space or defaults."""
    section, sampler = sweep.get("sensitivity"), sweep.get("sampler")
    if section is None:
        if sampler == "sensitivity":
            yield _KEY, f"is missing, and the sampler sensitivity needs it; add {_EXAMPLE}"
        return
    if sampler != "sensitivity":
        message = f"must be absent with another sampler; got sampler {sampler or 'tpe'}; take sampler sensitivity"
        yield _KEY, message
    chosen = section["parameters"]
    for index, name in enumerate(chosen):
        key = (*_KEY, "parameters", str(index))
        if name not in space:
            yield key, f"must be a hyper-parameter of the space{guess(name, space)}; they are {listed(space)}"
        elif space[name].when:
            yield key, f"must be searched in every trial; got {name}, which has conditions; drop its when"
    for name in space:
        if name not in chosen and name not in defaults:
            yield _KEY, f"needs a default of {name}, which it keeps; got none; add network.parameters.{name}"
