from __future__ import annotations

import json
from dataclasses import field, make_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.experiment import SweepSection
from windrow.sweep import outcomes
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


def test_an_error_with_bytes_that_are_no_text_can_be_written_and_printed() -> None:
    """Found with a target of make fuzz: a file's name in an error was no UTF-8, and could not be printed."""
    assert Outcome(0, 1, Ending.FAILED, error="no file caf\udce9").error.encode() == b"no file caf\\udce9"


EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 0.1}


def test_a_record_of_a_newer_version_is_read_without_what_this_one_does_not_know() -> None:
    record = {"number": 3, "attempt": 1, "ending": "ok", "value": 0.5, "epochs": [{**EPOCH, "f1": 0.4}], "flops": 9}
    outcome = Outcome.of(record)
    assert (outcome.number, outcome.value, outcome.epochs) == (3, 0.5, (Epoch(**EPOCH),))


def test_a_record_of_an_older_version_gets_the_defaults_of_newer_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = make_dataclass("newer", [("f1", float, field(default=-1.0))], bases=(Epoch,), frozen=True)
    monkeypatch.setattr(outcomes, "Epoch", newer)
    outcome = Outcome.of({"number": 3, "attempt": 1, "ending": "ok", "epochs": [EPOCH, {**EPOCH, "f1": 0.4}]})
    assert [getattr(epoch, "f1") for epoch in outcome.epochs] == [-1.0, 0.4]  # noqa: B009  mypy knows no such field
    assert (outcome.worker, outcome.fused, outcome.lease) == ("", 1, "")


def test_a_record_of_the_ledger_has_the_keys_that_it_always_had() -> None:
    assert set(Outcome(0, 1, Ending.OK, repeat=2).record()) == {
        *("number", "attempt", "ending", "value", "epochs", "seconds", "import_seconds", "error", "worker", "network"),
        *("lease", "peak_mebibytes", "fused", "gain", "began_at", "ended_at"),
    }


def test_an_epochs_record_has_the_macro_f1_only_where_it_was_measured() -> None:
    plain, measured = Epoch(**EPOCH), Epoch(**EPOCH, val_macro_f1=0.25)
    outcome = Outcome(0, 1, Ending.OK, 0.25, (plain, measured))
    assert outcome.record()["epochs"] == [EPOCH, {**EPOCH, "val_macro_f1": 0.25}]
    assert Outcome.of(json.loads(json.dumps(outcome.record()))) == outcome


def test_a_trials_value_is_a_metric_of_its_own_where_it_may_not_be_the_last_epochs() -> None:
    patient = SweepSection(patience=2, objective="val_loss")
    assert outcomes.best_figure(Outcome(0, 1, Ending.OK, 0.5), patient) == {"best_val_loss": 0.5}
    assert outcomes.best_figure(Outcome(0, 1, Ending.PRUNED), patient) == {}
    assert outcomes.best_figure(Outcome(0, 1, Ending.OK, 0.5), SweepSection()) == {}
