"""A worker's reports: what is accepted has the types that the driver counts on, whatever a user's code sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from windrow.sweep.leased_job import Report
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training.loop import Epoch

EPOCH = Epoch(1.0, 0.5, 1.0, 0.5, 0.1)
OUTCOME = Outcome(3, 1, Ending.OK, 0.5, (EPOCH,), lease="a")


def ended(**changed: Any) -> dict[str, Any]:
    return {"lease": "a", "event": "ended", "outcome": {**OUTCOME.record(), **changed}}


def epochs(first: Any = 1, **changed: Any) -> dict[str, Any]:
    return {"lease": "a", "event": "epochs", "first": first, "epochs": [{**EPOCH.metrics(), **changed}]}


def test_what_a_worker_sends_is_read_as_it_was() -> None:
    assert Report.of(json.loads(json.dumps(epochs(5)))) == Report("a", "epochs", 5, [EPOCH], None)
    assert Report.of(json.loads(json.dumps(ended()))) == Report("a", "ended", 0, [], OUTCOME)


@pytest.mark.parametrize(
    "content",
    [
        *(ended(seconds="x"), ended(seconds=None), ended(seconds=10**400), ended(error=5), ended(number=1.5)),
        *(
            ended(worker=["host"]),
            ended(fused=10**30),
            ended(value="0.5"),
            ended(value=None),
            ended(value=float("nan")),
        ),
        *(ended(epochs=[{**EPOCH.metrics(), "loss": "low"}]), ended(lease="b"), ended(ending="happy")),
        *(ended(worker="\ud800"), {"lease": "\ud800", "event": "beat"}),
        *(epochs(loss="x"), epochs(val_accuracy=None), epochs(seconds=10**400), epochs(val_macro_f1=[])),
        *(epochs(first="1"), epochs(first=0), epochs(first=2**80), epochs(first=1.0)),
    ],
    ids=lambda content: json.dumps(content)[:200],
)
def test_a_report_with_a_value_that_its_record_does_not_have_is_refused(content: dict[str, Any]) -> None:
    """Found with a target of make fuzz: fields had any type, and the driver failed later, with the sweep."""
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Report.of(content)


def test_a_loss_that_is_no_number_is_a_report_like_any_other() -> None:
    (epoch,) = Report.of(epochs(loss=float("nan"))).epochs
    assert not epoch.finite
