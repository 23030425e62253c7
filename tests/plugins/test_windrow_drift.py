"""The announcement of drift: what starts a training, and what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import windrow_drift
from airflow.sdk.exceptions import AirflowSkipException


def announced(**scoring: Any) -> Any:
    """The extra of the event, at a threshold of 0.25."""
    event = SimpleNamespace(extra=None)
    windrow_drift.announce_drift({"rows": 500, "statuses": {}, **scoring}, 0.25, "asset", {"asset": event})
    return event.extra


@pytest.mark.parametrize("psi", [(0.3, 0.1), (0.1, 0.26), (None, 0.26)])
def test_labels_or_scores_that_have_moved_beyond_the_threshold_are_told(psi: tuple[float | None, float]) -> None:
    figures = dict(zip(("psi_labels", "psi_scores"), psi, strict=True))
    assert announced(**figures) == {"rows": 500, **figures}


def test_a_night_that_has_not_moved_or_was_not_compared_starts_nothing() -> None:
    with pytest.raises(AirflowSkipException, match=r"nothing has moved beyond 0\.25: labels 0\.25, scores 0\.1"):
        announced(psi_labels=0.25, psi_scores=0.1)
    with pytest.raises(AirflowSkipException, match="labels not compared, scores not compared"):
        announced()
