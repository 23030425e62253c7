"""Waiting for a condition, the one way in all tests: nothing sleeps where it can wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    condition: Callable[[], Found], seconds: float = 60, every: float = 0.05, otherwise: Callable[[], object] = str
) -> Found:
    """Wait until a condition holds, and return what it gave; fail after `seconds`, with what `otherwise` gives.

    The time is a guard against a hang and bounds no behaviour: it is long on purpose.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"it did not happen within {seconds:.0f} s {otherwise()}"
        time.sleep(every)
    return found
