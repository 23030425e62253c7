from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.sweep.outcomes import RULES, Ending, Outcome
from windrow.training.loop import Epoch

ARCHITECTURE = Path(__file__).resolve().parents[3] / "docs" / "architecture.md"


def test_every_ending_has_its_rule_and_the_docs_show_it() -> None:
    rows = [line.strip("| ").split(" | ") for line in ARCHITECTURE.read_text().splitlines() if line.startswith("| ")]
    shown = {row[0]: (row[2], row[3], row[4]) for row in rows if row[0] in set(Ending)}
    told = {ending.value: (str(rule.attempts), rule.signal.value, rule.status) for ending, rule in RULES.items()}
    assert set(RULES) == set(Ending)
    assert shown == told


@given(st.builds(Outcome, epochs=st.lists(st.builds(Epoch), max_size=3).map(tuple)))
def test_an_outcome_survives_json_but_for_its_network(outcome: Outcome) -> None:
    again = Outcome.of(json.loads(json.dumps(outcome.record())))
    assert again.network is None
    assert repr(again) == repr(outcome)  # which has all but the network, and in which nan equals itself


@pytest.mark.parametrize("record", [{}, {"ending": "happy", "epochs": []}, {"ending": "ok", "epochs": [{"loss": 1}]}])
def test_what_is_no_outcome_is_refused(record: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        Outcome.of(record)
