"""Draw quasi-random points: Sobol's sequence, one axis per dimension, scrambled by the page's seed.

A point depends only on its number in the sequence, the space and the seed, so neither a restart nor the order in which
trials end changes it. If a trial does not search a dimension, the value on that axis is unused.
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
    if number:  # SciPy can't fast-forward by 0
        sequence.fast_forward(number)
    (units,) = sequence.random(1)
    return {name: _at(space[name], float(unit)) for name, unit in zip(names, units, strict=True)}


def _at(dimension: Dimension, unit: float) -> Value:
    """Map `unit` in 0..1 to a value of a dimension; discrete values get equal shares, except on a log scale."""
    if isinstance(dimension, CategoricalDimension) or not (dimension.log or _is_smooth(dimension)):
        count = spaces.count(dimension)
        return spaces.value_at(dimension, min(int(unit * count), count - 1))
    # Extend whole numbers by 0.5 at both ends, or the lowest and highest would be drawn half as often as the others.
    margin = 0.0 if isinstance(dimension, FloatDimension) else 0.5
    low, high = dimension.low - margin, dimension.high + margin
    value = exp(log(low) + unit * (log(high) - log(low))) if dimension.log else low + unit * (high - low)
    value = value if isinstance(dimension, FloatDimension) else round(value)
    return min(max(value, dimension.low), dimension.high)


def _is_smooth(dimension: Dimension) -> bool:
    return isinstance(dimension, FloatDimension) and dimension.step is None
