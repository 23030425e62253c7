"""Write a number together with its noun, in messages and captions."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun in the right form: 1 trial, 2 trials, 1,978 trials.

    Args:
        number: at least 0.
        one: the noun for a single thing, or a phrase that begins with it: "URL is".
        many: the same for any other number: "URLs are". By default `one` with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
