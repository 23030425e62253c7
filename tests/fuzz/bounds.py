"""What one input may cost, and limits that are small enough for one to reach."""

from __future__ import annotations

import importlib
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from unittest import mock


@contextmanager
def bounded(mebibytes: int, seconds: float) -> Iterator[None]:
    """Fail if the block takes more of the processor's seconds, or makes the process larger than ever by so much."""
    memory, began = _peak(), time.process_time()
    yield
    used, grown = time.process_time() - began, _peak() - memory
    assert used <= seconds, f"it took {used:.1f} s of processor time; at most {seconds} are allowed"
    assert grown <= mebibytes, f"it took {grown:.0f} MiB more memory; at most {mebibytes} are allowed"


@contextmanager
def lowered(limits: Mapping[str, float], applies: bool) -> Iterator[None]:
    """Lower limits of the code, each a name with its module's, if that applies; what is read must have a promise still.

    Real ones need inputs of MiB, which no search gets through.
    """
    with ExitStack() as stack:
        for place, value in limits.items() if applies else ():
            module, _, name = place.rpartition(".")
            stack.enter_context(mock.patch.object(importlib.import_module(module), name, value))
        yield


def _peak() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
