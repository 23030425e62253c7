"""The lines of progress while a promotion trains. That Spark trains all of a list is tested with the job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from windrow.experiment import parameters
from windrow.laptop import watch
from windrow.selection.ranking import trainings
from windrow.selection.ranking.trainings import ListedTrainings
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.networks import Builder

SPEC = TrialSpec(4, 1, Builder("dense"), parameters.defaults("dense"), (8, 8, 1), 10, 1, "val_loss", 1)


def two(what: str = "finalists") -> ListedTrainings:
    return ListedTrainings([replace(SPEC, repeat=repeat) for repeat in (1, 2)], what)


def ended(repeat: int, value: float | None) -> Outcome:
    ending = Ending.DIVERGED if value is None else Ending.OK
    return Outcome(4, 1, ending, value, seconds=1.25, repeat=repeat)


def test_a_list_is_handed_out_one_by_one_and_its_outcomes_are_kept() -> None:
    listed = two()
    assert [spec.repeat for spec in (*listed.next(9), *listed.next(9), *listed.next(9))] == [1, 2]
    listed.settle(ended(2, 0.3))
    assert listed.outcomes == [ended(2, 0.3)]


def test_each_training_that_ends_is_a_line_of_progress_as_make_train_shows_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = two()
    listed.settle(ended(2, 0.31006))
    first = capsys.readouterr().err
    listed.settle(ended(1, None))
    assert first == "[1/2] finalists: trial 4, seed 2: val_loss 0.3101 in 1.2 s; about 0 s left\n"
    assert capsys.readouterr().err == "[2/2] finalists: trial 4, seed 1: val_loss diverged in 1.2 s\n"
    assert watch.progress(["before", first.strip(), "after"]) == first.strip()


def test_a_trial_without_a_seed_of_its_own_is_named_alone(capsys: pytest.CaptureFixture[str]) -> None:
    ListedTrainings([SPEC], "again").settle(ended(0, 0.5))
    assert capsys.readouterr().err == "[1/1] again: trial 4: val_loss 0.5000 in 1.2 s\n"


def test_while_no_training_ends_the_number_of_those_that_run_is_printed_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = two("fine-tuning")
    assert not listed.tick(2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(trainings, "_STATUS_SECONDS", -1.0)
    assert not listed.tick(2)
    assert capsys.readouterr().err == "[0/2] fine-tuning: 2 running\n"
