from __future__ import annotations

import pytest
from windrow.looks.numbers import two_digits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((128, "130"), (99.6, "100"), (100, "100"), (12_345, "12,000"), (0, "0"), (-128, "-130")),
        *((0.00321, "0.0032"), (0.000321, "0.00032"), (0.5, "0.5"), (1.5e-5, "1.5e-05"), (1_500_000, "1.5e+06")),
    ],
)
def test_two_digits_are_written_as_people_write_numbers(value: float, text: str) -> None:
    assert two_digits(value) == text
