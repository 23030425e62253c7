"""Format values for messages about a page, and guess what the user meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from itertools import islice
from typing import TypeAlias

from windrow.experiment.parameters import Value

Key: TypeAlias = tuple[str, ...]
"""A key of a page, with the sections that contain it: ("sweep", "trials")."""

Mistake: TypeAlias = tuple[Key, str]
"""A key, and a message with the rule, the value and how to fix it."""


MOST_NAMES = 100
"""The most names to list, or to compare with a misspelt name: a page may have thousands, and as many mistakes."""


def dotted(key: Key) -> str:
    """Return a key in the form that `--set` takes: sweep.trials."""
    return ".".join(part if part.isprintable() else repr(part) for part in key)


def unknown(word: str, known: Iterable[str]) -> str:
    """Return the message about an unknown key: the closest known key, if one is close, and all known keys."""
    return f"unknown key{guess(word, known)}; known keys are {', '.join(known)}"


def guess(word: str, known: Iterable[str]) -> str:
    """Return a clause with the known word that was probably meant; "" if no known word is close."""
    close = difflib.get_close_matches(word, list(islice(known, MOST_NAMES)), n=1, cutoff=0.65)
    return f"; did you mean {close[0]}?" if close else ""


def listed(names: Collection[str]) -> str:
    """Return names, joined with commas; of names beyond the first MOST_NAMES, only their number."""
    more = len(names) - MOST_NAMES
    return ", ".join(islice(names, MOST_NAMES)) + (f" and {more:,} more" if more > 0 else "")


def shown(value: object) -> str:
    """Return a value as it is written on a page, cut to 80 characters; "nothing" for None."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def point_text(point: dict[str, Value]) -> str:
    """Return a point as text for the user: learning_rate=0.0012, units=64."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )


def time_left(seconds: float) -> str:
    """Return the time that a job still takes, for its progress line; in minutes if more than 90 seconds."""
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {max(0.0, seconds):.0f} s left"
