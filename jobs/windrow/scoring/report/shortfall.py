"""Judge whether a run labelled enough of its URLs to be called done.

A run whose URLs nearly all end without a label has a cause that a person should see: an address that the page does not
allow, a host that is down, a feed of another kind. Only URLs that were tried for the first time count, or again because
a key has changed: a run that tries the dead URLs of a month again is no news. Fewer than FEWEST
such URLs are not judged, because chance would decide.
"""

from __future__ import annotations

from windrow.plural import counted
from windrow.scoring.fetch.status import Status
from windrow.scoring.report import text
from windrow.scoring.report.figures import Figures

FEWEST = 20
"""URLs that a run needs to be judged. If half of a feed's URLs can be labelled, fewer than a fifth of 20 are so by
chance in about one run of 800."""

_REASONS = 3


def shortfall(figures: Figures, minimum: float, attempts: int) -> str:
    """Describe a run that labelled a smaller share of its URLs than the page's minimum; else return "".

    Args:
        figures: the run's.
        minimum: scoring.minimum_ok_share, 0 to 1.
        attempts: scoring.attempts, from 1; a failure that may pass is final after the first try if this is 1.
    """
    tried, ok = sum(figures.first_tries.values()), figures.first_tries.get(Status.OK, 0)
    if tried < FEWEST or ok >= minimum * tried:
        return ""
    failed = [(status, number) for status, number in figures.first_tries.items() if status != Status.OK]
    urls = counted(tried, "URL")
    reasons = "; ".join(
        f"{number:,} of {urls} ended as {status}{_decided(status)}" for status, number in failed[:_REASONS]
    )
    most = failed[0][0]
    if Status(most).passing and attempts == 1:
        cure = (
            f"URLs that ended as {most} are not tried again, because scoring.attempts is 1; raise that, and they are "
            "due again, or lower the minimum"
        )
    elif Status(most).passing:
        cure = f"URLs that ended as {most} are tried again by themselves; if that is no help, lower the minimum"
    elif any(text.decided_by(status) for status, _ in failed[:_REASONS]):
        cure = "change that on the page, and its URLs are due again, or lower the minimum"
    else:
        cure = "correct the feed, or lower the minimum"
    return (
        f"at least {minimum:.1%} of a run's URLs must get a label (scoring.minimum_ok_share); got {ok / tried:.1%}: "
        f"{reasons}; the rows are committed; {cure}"
    )


def _decided(status: str) -> str:
    keys = text.decided_by(status)
    return f"; {keys} decided that" if keys else ""
