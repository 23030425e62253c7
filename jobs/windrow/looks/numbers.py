"""Write numbers for plots and pages."""

from __future__ import annotations


def two_digits(value: float) -> str:
    """Return a number with two significant digits, and with an exponent only below 0.0001 and from a million on."""
    return f"{float(f'{value:.2g}'):,g}"
