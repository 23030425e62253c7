"""What one input may cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bounded(mebibytes: int, seconds: float) -> Iterator[None]:
    """Fail if the block takes more of the processor's seconds, or makes the process larger than ever by so much."""
    memory, began = _peak(), time.process_time()
    yield
    used, grown = time.process_time() - began, _peak() - memory
    assert used <= seconds, f"it took {used:.1f} s of processor time; at most {seconds} are allowed"
    assert grown <= mebibytes, f"it took {grown:.0f} MiB more memory; at most {mebibytes} are allowed"


def _peak() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
