"""Quasi-random points: Sobol's sequence, one axis per dimension, scrambled by the page's seed.

The point of a trial depends on its number and the seed alone, so neither a restart nor the order in which trials end
changes it. A dimension that is not searched leaves its axis unused.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log

from windrow.experiment import CategoricalDimension, Dimension, FloatDimension
from windrow.experiment.parameters import Value
from windrow.sweep.sampling import space as spaces


def point(space: Mapping[str, Dimension], seed: int, number: int) -> dict[str, Value]:
    """Return the point number `number` of the sequence, over all dimensions of the space."""
    from scipy.stats import qmc

    names = sorted(space)  # so that the order on the page does not matter
    sequence = qmc.Sobol(len(names), scramble=True, rng=seed)
    if number:  # SciPy can't go forward by nothing
        sequence.fast_forward(number)
    (units,) = sequence.random(1)
    return {name: _at(space[name], float(unit)) for name, unit in zip(names, units, strict=True)}


def _at(dimension: Dimension, unit: float) -> Value:
    """Return the value at a share, 0 to 1, of a dimension; each value of a list or of steps has the same share."""
    if isinstance(dimension, CategoricalDimension) or not (dimension.log or _is_smooth(dimension)):
        count = spaces.count(dimension)
        return spaces.value_at(dimension, min(int(unit * count), count - 1))
    # Half a step beyond both ends of a whole number, or the ends would come half as often.
    margin = 0.0 if isinstance(dimension, FloatDimension) else 0.5
    low, high = dimension.low - margin, dimension.high + margin
    value = exp(log(low) + unit * (log(high) - log(low))) if dimension.log else low + unit * (high - low)
    value = value if isinstance(dimension, FloatDimension) else round(value)
    return min(max(value, dimension.low), dimension.high)


def _is_smooth(dimension: Dimension) -> bool:
    return isinstance(dimension, FloatDimension) and dimension.step is None
