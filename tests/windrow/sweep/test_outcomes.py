from __future__ import annotations

import json
from pathlib import Path

import pytest
from windrow.sweep.outcomes import RULES, Ending, Outcome
from windrow.training.loop import Epoch

ARCHITECTURE = Path(__file__).resolve().parents[3] / "docs" / "architecture.md"


def test_every_ending_has_its_rule_and_the_docs_show_it() -> None:
    rows = [line.strip("| ").split(" | ") for line in ARCHITECTURE.read_text().splitlines() if line.startswith("| ")]
    shown = {row[0]: (row[2], row[3], row[4]) for row in rows if row[0] in set(Ending)}
    told = {ending.value: (str(rule.attempts), rule.signal.value, rule.status) for ending, rule in RULES.items()}
    assert set(RULES) == set(Ending)
    assert shown == told


@pytest.mark.parametrize("ending", list(Ending))
def test_an_outcome_survives_json(ending: Ending) -> None:
    epochs = (Epoch(0.1, 0.2, 0.3, 0.4, 0.5), Epoch(float("inf"), 0.2, float("nan"), 0.4, 0.5))
    outcome = Outcome(3, 2, ending, 0.4, epochs, 1.5, 0.5, "ü", "host/1", b"bytes", "lease", 512.0, 4, 1.3)
    again = Outcome.of(json.loads(json.dumps(outcome.record())))
    assert again.network is None
    assert repr(again) == repr(outcome)


@pytest.mark.parametrize("record", [{}, {"ending": "happy", "epochs": []}, {"ending": "ok", "epochs": [{"loss": 1}]}])
def test_what_is_no_outcome_is_refused(record: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        Outcome.of(record)
