"""Read the class in a column of a feed."""

from __future__ import annotations

import math


def class_name(value: object) -> str:
    """Return a record's class as text, empty if it has none: NaN is none, and 7.0 is 7.

    In a column of whole numbers with gaps, gaps are NaN and the numbers are floats.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
