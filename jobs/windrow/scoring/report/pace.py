"""Find out which of the page's limits for hosts set the pace of a run.

The busiest host's URLs take at least as long as the limits demand: one after another at `scoring.host_rate`, and as
many at once as `scoring.host_concurrency`. If that is at least half of the run's time, more cores or a faster network
would gain little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.experiment import ScoringSection

_MOST = 0.5  # of the run's seconds, which include loading the network


@dataclass(frozen=True)
class BusiestHost:
    """The host with the most URLs of a run: their number, and the sum of their downloads' seconds."""

    urls: int
    fetch_seconds: float


def held_back_by(busiest: BusiestHost | None, seconds: float, scoring: ScoringSection) -> str:
    """Return the key of the page that held a run back; empty if hosts could have been asked much faster.

    Args:
        busiest: the run's host with the most URLs; None if it had none.
        seconds: wall clock of the run.
        scoring: the page's section.
    """
    if busiest is None or seconds <= 0:
        return ""
    least = {
        "scoring.host_rate": (busiest.urls - 1) / scoring.host_rate if scoring.host_rate else 0.0,
        "scoring.host_concurrency": busiest.fetch_seconds / scoring.host_concurrency,
    }
    key = max(least, key=lambda name: least[name])
    return key if least[key] >= _MOST * seconds else ""
