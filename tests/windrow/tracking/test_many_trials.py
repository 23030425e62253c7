"""A sweep of many trials in a real MLflow server: all of it is there, and is read back in a few calls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from windrow.data.manifest import Manifest
from windrow.experiment import parse
from windrow.sweep.ledger import Lease
from windrow.sweep.outcomes import RULES, Ending, Outcome
from windrow.sweep.spec import TrialFacts
from windrow.sweep.study import open_study
from windrow.tracking import runs as tracking_runs
from windrow.tracking.runs import trial_runs
from windrow.tracking.sweep_log import open_sweep
from windrow.training.loop import Epoch

pytestmark = pytest.mark.mlflow

PAGE = """
name: many{0}
space: {{units: {{type: int, low: 1, high: 16384}}}}
sweep: {{sampler: random, trials: {0}, epochs: 2}}
"""
DATASET = Manifest("x", "x", "d" * 64, (8, 8, 1), ("0", "1"), {}, {}, {})
ENDINGS = (Ending.OK, Ending.OK, Ending.PRUNED, Ending.DIVERGED, Ending.TIMEOUT, Ending.FAILED)


def outcome_of(asked: Lease) -> Outcome:
    """What a trial gives: every number of it derives from the trial's."""
    epochs = tuple(Epoch(asked.number, 0.5, asked.number + step, 0.5, 0.1) for step in (1, 2))
    ending = ENDINGS[asked.number % len(ENDINGS)]
    return Outcome(asked.number, 1, ending, 0.5 if ending is Ending.OK else None, epochs, 1.0, lease=asked.token)


@pytest.fixture
def requests_sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Requests to the server by the last word of their path, counted while they pass."""
    import requests

    sent: Counter[str] = Counter()
    send = requests.Session.send

    def counted(session: requests.Session, request: Any, **options: Any) -> Any:
        sent[request.url.partition("?")[0].rpartition("/")[2]] += 1
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", counted)
    return sent


@pytest.mark.parametrize(
    ("trials", "runs_a_page"), [(60, 25), pytest.param(1500, 1000, marks=pytest.mark.faults)], ids=["60", "1500"]
)
def test_a_sweep_of_many_trials_reads_back_whole_and_what_it_asks_does_not_grow_with_its_trials(
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    requests_sent: Counter[str],
    trials: int,
    runs_a_page: int,
) -> None:
    monkeypatch.setattr(tracking_runs, "_RUNS_A_PAGE", runs_a_page)
    (tmp_path / "page.yaml").write_text(text := PAGE.format(trials))
    page = parse(text)
    with open_study(tmp_path / "study", page, "data") as study:
        with open_sweep(page, tmp_path / "page.yaml", DATASET, study) as log:
            while (asked := study.ask()) is not None:
                log.begin(asked, TrialFacts(asked.point, asked.number))
                study.settle(outcome := outcome_of(asked))
                log.end(outcome, over=True)
        told = {entry.number: entry.run_id for entry in study.entries()}
        points = {entry.number: entry.point for entry in study.entries()}
    assert len(told) == trials
    assert requests_sent["create"] == trials + 1 + 1  # a run each, the sweep's run, the experiment
    assert requests_sent["log-batch"] <= 2 * trials + 10

    requests_sent.clear()
    with open_study(tmp_path / "study", page, "data") as study:
        log = open_sweep(page, tmp_path / "page.yaml", DATASET, study)
        assert {entry.number: entry.run_id for entry in study.entries()} == told
    assert requests_sent["create"] == 0
    pages = trials // runs_a_page + 1
    assert requests_sent["search"] <= 1 + pages + 1  # that MLflow answers; the runs; the last page may be an empty one
    assert sum(requests_sent.values()) < 18 + pages

    children = {int(run.data.tags["windrow.trial"]): run for run in trial_runs(log.client, log.experiment, log.run_id)}
    assert {number: run.info.run_id for number, run in children.items()} == told
    for number, run in children.items():
        ending = ENDINGS[number % len(ENDINGS)]
        assert (run.data.tags["windrow.ending"], run.info.status) == (ending.value, RULES[ending].status)
        assert run.data.params == {"units": str(points[number]["units"])}
        assert run.data.metrics["val_loss"] == number + 2
        assert run.info.run_name == f"trial {number}"
