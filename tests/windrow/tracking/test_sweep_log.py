"""A sweep's runs in a real MLflow: live, one a trial, and in line with the ledger after anything."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.waiting import wait_for
from windrow.data.manifest import Manifest
from windrow.errors import TrackingError
from windrow.experiment import Experiment, parse
from windrow.sweep.ledger import Lease
from windrow.sweep.outcomes import RULES, Ending, Outcome
from windrow.sweep.sampling.champion_point import ChampionRecord
from windrow.sweep.seeds import seed_of
from windrow.sweep.spec import facts_of
from windrow.sweep.study import Study, open_study
from windrow.tracking import parent
from windrow.tracking.sweep_log import SweepLog, open_sweep
from windrow.training.loop import Epoch

pytestmark = pytest.mark.mlflow
DATASET = Manifest(
    name="x", source="x", digest="d" * 64, shape=(8, 8, 1), labels=("0", "1"), splits={}, files={}, settings={},
    warnings=("9 test images: few",),
)  # fmt: skip
EPOCHS = tuple(Epoch(1.0 / n, 0.5, 1.0 / n, n / 10, 0.1) for n in range(1, 4))


@pytest.fixture
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Experiment:
    """A page under the test's own name: tests share a server."""
    name = f"t{abs(hash(request.node.name)) % 10**9}"
    (tmp_path / "page.yaml").write_text("a page")
    return parse(f"name: {name}\nspace: {{units: {{type: int, low: 8, high: 99}}}}\nsweep: {{trials: 6}}\n")


@contextmanager
def sweeping(folder: Path, page: Experiment) -> Iterator[tuple[Study, SweepLog]]:
    with open_study(folder / "study", page, "data") as study:
        log = open_sweep(page, folder / "page.yaml", DATASET, study)
        with log:
            yield study, log


def begin(study: Study, log: SweepLog) -> Lease:
    asked = study.ask()
    assert asked is not None
    log.begin(asked, facts_of(study.page, asked.number, asked.point))
    return asked


def ended(asked: Lease, ending: Ending = Ending.OK) -> Outcome:
    value = 0.3 if ending is Ending.OK else None
    return Outcome(asked.number, asked.attempt, ending, value, EPOCHS, 2.0, lease=asked.token, error="why")


def end(study: Study, log: SweepLog, asked: Lease, ending: Ending = Ending.OK) -> None:
    outcome = ended(asked, ending)
    entry = study.settle(outcome)
    log.end(outcome, over=entry is not None and entry.outcome is not None)


def runs(client: Any, log: SweepLog) -> dict[int, Any]:
    query = f"tags.mlflow.parentRunId = '{log.run_id}'"
    found = client.search_runs([log.experiment], query, max_results=100)
    assert len({run.data.tags["windrow.trial"] for run in found}) == len(found), "a trial has two runs"
    return {int(run.data.tags["windrow.trial"]): run for run in found}


def steps(client: Any, run: Any, metric: str = "val_accuracy") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]


def test_a_curve_grows_while_its_trial_trains(client: Any, page: Experiment, tmp_path: Path) -> None:
    with sweeping(tmp_path, page) as (study, log):
        asked = begin(study, log)
        log.epochs(asked.number, 1, EPOCHS[:2])
        wait_for(lambda: len(runs(client, log)) == 1 and len(steps(client, runs(client, log)[0])) == 2)
        assert runs(client, log)[0].info.status == "RUNNING"
        end(study, log, asked)
    run = runs(client, log)[0]
    assert steps(client, run) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert run.info.status == "FINISHED"
    assert study.entries()[0].run_id == run.info.run_id


def test_a_sweep_that_is_killed_while_it_logs_leaves_no_run_that_is_running(
    client: Any, page: Experiment, tmp_path: Path
) -> None:
    with sweeping(tmp_path, page) as (study, log):
        for _ in range(6):
            begin(study, log)
        log.kill()
        known = runs(client, log)
        assert {run.info.status for run in known.values()} <= {"KILLED"}
    assert client.get_run(log.run_id).info.status == "FINISHED"  # as this block was not killed
    assert runs(client, log).keys() == known.keys()


@pytest.mark.parametrize("ending", list(Ending))
def test_a_run_ends_with_the_status_of_its_ending(
    client: Any, page: Experiment, tmp_path: Path, ending: Ending
) -> None:
    with sweeping(tmp_path, page) as (study, log):
        for _ in range(RULES[ending].attempts):
            end(study, log, begin(study, log), ending)
    (run,) = runs(client, log).values()
    assert run.info.status == RULES[ending].status
    assert run.data.tags["windrow.ending"] == ending.value
    assert run.data.tags["windrow.attempt"] == str(RULES[ending].attempts)
    assert run.data.tags["windrow.error"] == "why"


def test_losses_that_are_no_numbers_are_kept(client: Any, page: Experiment, tmp_path: Path) -> None:
    with sweeping(tmp_path, page) as (study, log):
        asked = begin(study, log)
        outcome = replace(ended(asked, Ending.DIVERGED), epochs=(Epoch(math.nan, 0.1, math.inf, 0.1, 0.1),))
        study.settle(outcome)
        log.end(outcome, over=True)
    (run,) = runs(client, log).values()
    assert math.isnan(run.data.metrics["loss"])


def test_a_driver_that_is_killed_anywhere_leaves_nothing_that_is_not_put_right(
    client: Any, page: Experiment, tmp_path: Path
) -> None:
    """Trial 0 is whole; 1 ended in the ledger alone; 2 was told in part; 3 was running; 4 was never told."""
    with open_study(tmp_path / "study", page, "data") as study:
        log = open_sweep(page, tmp_path / "page.yaml", DATASET, study)
        log._writer.start()
        asked = [begin(study, log) for _ in range(4)]
        end(study, log, asked[0])
        study.settle(ended(asked[1]))
        log.epochs(2, 1, EPOCHS[:2])
        study.settle(ended(asked[2]))
        log.epochs(3, 1, EPOCHS[:1])
        begun = study.ask()
        assert begun is not None
        study.settle(ended(begun))
        log._pending.put(None)
        log._writer.join()  # and no word more: the driver is gone
    with sweeping(tmp_path, page) as (study, log):
        found = runs(client, log)
        assert sorted(found) == [0, 1, 2, 4]
        again = begin(study, log)
        assert (again.number, again.attempt) == (3, 2)
        end(study, log, again)
    found = runs(client, log)
    assert sorted(found) == [0, 1, 2, 3, 4]
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert steps(client, run) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert {entry.run_id for entry in study.entries()} == {run.info.run_id for run in found.values()}
    for entry in study.entries():  # 1 and 4 were logged by the second driver, and have the same facts
        tags = found[entry.number].data.tags
        assert tags["windrow.seed"] == str(seed_of(page.sweep.seed, entry.number))
        assert json.loads(tags["windrow.parameters"]) == {**page.network.defaults(), **entry.point}


def test_the_run_of_an_attempt_that_was_lost_makes_way_for_the_next(
    client: Any, page: Experiment, tmp_path: Path
) -> None:
    with sweeping(tmp_path, page) as (study, log):
        end(study, log, begin(study, log), Ending.LOST)
        end(study, log, begin(study, log))
    (run,) = runs(client, log).values()
    assert (run.data.tags["windrow.attempt"], run.data.tags["windrow.ending"]) == ("2", "ok")


def test_what_was_handed_out_and_not_ended_does_not_look_as_if_it_were_running(
    client: Any, page: Experiment, tmp_path: Path
) -> None:
    def interrupted() -> SweepLog:
        with suppress(KeyboardInterrupt), sweeping(tmp_path, page) as (study, log):
            begin(study, log)
            raise KeyboardInterrupt
        return log

    log = interrupted()
    assert runs(client, log)[0].info.status == "KILLED"
    assert client.get_run(log.run_id).info.status == "FAILED"


def test_an_mlflow_that_fails_in_the_middle_stops_no_trial_and_is_told_what_it_missed_later(
    client: Any, page: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OSError("connection refused")

    with sweeping(tmp_path, page) as (study, log):
        end(study, log, begin(study, log))
        wait_for(lambda: log._pending.empty() and runs(client, log)[0].info.status == "FINISHED")
        with monkeypatch.context() as patch:
            patch.setattr(log.client, "log_batch", away)
            for _ in range(2):
                end(study, log, begin(study, log))
            log._finish()
    with pytest.raises(TrackingError, match=r"it stopped with OSError: connection refused.*run the sweep again"):
        log.summarize({"outcomes": {}})
    with sweeping(tmp_path, page) as (study, log):
        pass
    found = runs(client, log)
    assert sorted(found) == [0, 1, 2]
    assert all(len(steps(client, run)) == 3 for run in found.values())


def test_the_figures_of_the_sweep_are_on_its_run(client: Any, page: Experiment, tmp_path: Path) -> None:
    with sweeping(tmp_path, page) as (study, log):
        end(study, log, begin(study, log))
        log.progress(1, 0, study.best)
    efficiency = {"trials_per_hour": 9.0, "overhead_seconds_per_trial": 0.02}
    result = {"outcomes": {"ok": 1}, "trials": 1, "seconds": 3.5, "best_value": 0.3, "best_trial": 0, "slots": 2}
    result |= {"best_point": {"units": 8}, "baseline": 0.25, "hints": ["add images", "raise sweep.epochs"]}
    log.summarize({**result, "objective": "val_accuracy", "efficiency": efficiency})
    data = client.get_run(log.run_id).data
    assert 0 <= data.metrics.pop("system/cpu_utilization_percentage") <= 100
    assert data.metrics == pytest.approx(
        {"trials": 1, "trials_pruned": 0, "trials_ok": 1, "sweep_seconds": 3.5, "best_val_accuracy": 0.3, **efficiency}
    )
    note, best = data.tags["mlflow.note.content"], runs(client, log)[0].info.run_id
    trial = f"[trial 0](#/experiments/{log.experiment}/runs/{best})"
    assert f"**Best: {trial}, val_accuracy 0.3000** (guessing: 0.2500) at units=8." in note
    assert "What may help: add images; raise sweep.epochs." in note
    assert "1 trial (1 ok) in 4 s on 2 slots" in note
    assert "| units | 8 to 99 |" in note
    assert note.count("- 9 test images: few\n") == 1
    assert "tensorflow 2." in note


def test_a_sweep_that_has_just_begun_says_what_it_searches(client: Any, page: Experiment, tmp_path: Path) -> None:
    with sweeping(tmp_path, page) as (_, log):
        note = client.get_run(log.run_id).data.tags["mlflow.note.content"]
    assert "Searched for the highest val_accuracy with tpe, pruner none: up to 6 trials of 10 epochs, seed 0" in note
    assert note.count("What makes figures on this data set less certain:\n\n- 9 test images: few") == 1


@pytest.mark.parametrize(("cost", "shown"), [("weights", "12,345,678"), ("milliseconds", "1.235e+07")])
def test_the_note_of_a_search_for_two_goals_names_both_and_has_whole_weights(
    client: Any, tmp_path: Path, cost: str, shown: str
) -> None:
    text = f"name: two\nspace: {{units: {{type: int, low: 8, high: 99}}}}\nsweep: {{objectives: [val_loss, {cost}]}}\n"
    (tmp_path / "page.yaml").write_text(text)
    with open_study(tmp_path / "study", parse(text), "data") as study:
        log = open_sweep(study.page, tmp_path / "page.yaml", DATASET, study)
        result = {"outcomes": {"ok": 1}, "trials": 1, "seconds": 3.5, "best_value": 0.3, "best_trial": 0, "slots": 2}
        result |= {"best_point": {"units": 8}, "front": [{"trial": 0, "value": 0.3, "cost": 12_345_678.0}]}
        result["objective"] = "val_loss"
        note = parent.summary(study, DATASET, result, log.experiment, log.run_id, "best")
    assert f"Searched for the lowest val_loss and the fewest {cost} with tpe" in note
    assert f"| 0 | 0.3000 | {shown} |" in note


def test_a_sweep_that_tries_the_champions_point_says_so(client: Any, tmp_path: Path) -> None:
    text = "name: again\nspace: {units: {type: int, low: 8, high: 99}}\nsweep: {warm_start: champion}\n"
    (tmp_path / "page.yaml").write_text(text)
    with open_study(tmp_path / "study", parse(text), "data") as study:
        study.try_champion(ChampionRecord("again", "3", "dense", {"units": 12}))
        run = client.get_run(open_sweep(study.page, tmp_path / "page.yaml", DATASET, study).run_id)
    assert run.data.tags["windrow.tried_champion"] == "3"
    assert (
        "The point of the champion, again version 3, is among the first trials" in run.data.tags["mlflow.note.content"]
    )


CONDITIONAL = """
name: conditional
space:
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: float, low: 0.1, high: 0.9, when: {optimizer: sgd}}
"""


def test_a_hyper_parameter_that_was_not_searched_in_a_trial_is_no_dot_in_a_plot_and_yet_on_record(
    client: Any, tmp_path: Path
) -> None:
    (tmp_path / "page.yaml").write_text(CONDITIONAL)
    with sweeping(tmp_path, parse(CONDITIONAL)) as (study, log):
        asked = study.ask()
        assert asked is not None
        assert asked.point == {"optimizer": "adam"}
        log.begin(asked, facts_of(study.page, asked.number, asked.point))
        end(study, log, asked)
    (run,) = runs(client, log).values()
    assert "momentum" not in run.data.params
    assert run.data.params["optimizer"] == "adam"
    assert json.loads(run.data.tags["windrow.parameters"]) == study.page.network.defaults()
