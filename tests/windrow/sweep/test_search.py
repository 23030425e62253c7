"""What is handed out, when it stops, and what is said: a study on disk, and a log that keeps what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import BuilderError
from windrow.experiment import parse
from windrow.sweep import search as searches
from windrow.sweep.ledger import Lease, Ledger
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.progress import ending
from windrow.sweep.search import Search
from windrow.sweep.seeds import seed_of
from windrow.sweep.spec import TrialFacts, TrialSpec, facts_of, trial_spec
from windrow.sweep.study import open_study
from windrow.training.loop import Epoch
from windrow.training.networks import Builder

TEXT = """
name: a
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  batch_size: {type: categorical, choices: [32, 64, 128]}
"""
EPOCH = Epoch(1.0, 0.5, 1.0, 0.25, 0.1)
DATASET = Manifest(
    name="x", source="x", digest="d", shape=(8, 8, 1), labels=("0", "1"), splits={}, files={}, settings={}
)


class Log:
    """Keeps what a sweep would say to MLflow."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.facts: dict[int, TrialFacts] = {}

    def begin(self, lease: Lease, facts: TrialFacts) -> None:
        self.said.append(("begin", lease.number, lease.attempt))
        self.facts[lease.number] = facts

    def epochs(self, number: int, first: int, epochs: Sequence[Epoch]) -> None:
        self.said.append(("epochs", number, first, len(epochs)))

    def end(self, outcome: Outcome, over: bool) -> None:
        self.said.append(("end", outcome.number, outcome.ending.value, over))

    def progress(self, finished: int, pruned: int, best: Any) -> None:
        self.said.append(("progress", finished, pruned))

    def estimate(self, text: str) -> None:
        self.said.append(("estimate", text))


@contextmanager
def searching(folder: Path, gpu: bool = False, builder: str = "dense", **sweep: Any) -> Iterator[tuple[Search, Log]]:
    page = parse(TEXT, [f"sweep.{key}={value}" for key, value in sweep.items()])
    log: Any = Log()
    with open_study(folder, page, "data") as study:
        yield Search(page, Builder(builder), DATASET, study, log, gpu=gpu), log


def ended(spec: TrialSpec, ending: Ending = Ending.OK, seconds: float = 5.0, **more: Any) -> Outcome:
    value = 0.5 if ending is Ending.OK else None
    return Outcome(spec.number, spec.attempt, ending, value, seconds=seconds, lease=spec.lease, **more)


def test_a_long_trial_is_handed_out_alone(tmp_path: Path) -> None:
    with searching(tmp_path, trials=50, fused="false") as (search, _):
        assert [spec.number for spec in search.next(2)] == [0]
        for _ in range(3):
            (spec,) = search.next(2)
            search.settle(ended(spec, seconds=5.0))
        assert len(search.next(2)) == 1


def test_a_worker_checks_the_files_that_it_is_sent_and_no_others() -> None:
    sent = {f"{split}-{kind}.npy": "d" for split in ("train", "validation") for kind in ("images", "labels")}
    others = dict.fromkeys(["test-images.npy", "test-labels.npy", "train-hashes.npy", "names.json"], "e")
    dataset = replace(DATASET, files=sent | others)
    assert dict(trial_spec(parse(TEXT), Builder("dense"), dataset, 0, TrialFacts({}, 1)).digests) == sent


def test_a_trial_measures_the_second_goal(tmp_path: Path) -> None:
    with searching(tmp_path, trials=3, objectives="[val_accuracy, milliseconds]") as (search, _):
        assert [spec.cost for spec in search.next(1)] == ["milliseconds"]


def test_a_trial_has_a_seed_of_its_own_which_follows_from_the_studys_and_its_number(tmp_path: Path) -> None:
    with searching(tmp_path, trials=3, fused="false", seed=7) as (search, _):
        specs = [search.next(1)[0] for _ in range(3)]
        search.settle(ended(specs[1], Ending.LOST))
        (again,) = search.next(1)
    assert [spec.seed for spec in specs] == [seed_of(7, 0), seed_of(7, 1), seed_of(7, 2)]
    assert len({spec.seed for spec in specs}) == 3
    assert (again.number, again.attempt, again.seed) == (1, 2, specs[1].seed)


def test_a_trial_is_trained_logged_and_logged_again_with_the_same_facts(tmp_path: Path) -> None:
    with searching(tmp_path, trials=3, fused="false", seed=7) as (search, log):
        specs = [search.next(1)[0] for _ in range(3)]
        page, entries = search._page, search._study.entries()
    for spec, entry in zip(specs, entries, strict=True):
        facts = facts_of(page, entry.number, entry.point)  # as the log is brought in line with the ledger
        assert (spec.parameters, spec.seed) == (facts.parameters, facts.seed)
        assert log.facts[spec.number] == facts


def test_short_trials_are_handed_out_in_chunks_that_shrink_towards_the_end(tmp_path: Path) -> None:
    with searching(tmp_path, trials=100, fused="false", sampler="random") as (search, _):
        sizes = []
        while specs := search.next(2):
            sizes.append(len(specs))
            for spec in specs:
                search.settle(ended(spec, seconds=0.05))
        assert sum(sizes) == 100
        assert sizes[0] == 1  # nothing is known yet
        assert max(sizes) > 10
        assert sizes[-1] == 1
        assert sizes[1:] == sorted(sizes[1:], reverse=True)


def test_trials_that_take_next_to_no_time_are_cut_into_a_job_a_slot(tmp_path: Path) -> None:
    with searching(tmp_path, trials=41, fused="false", sampler="random") as (search, _):
        (spec,) = search.next(2)
        search.settle(ended(spec, seconds=0.0))
        assert [len(search.next(2)), len(search.next(2))] == [20, 20]


def test_trials_that_may_be_one_graph_are_handed_out_together_until_it_does_not_pay(tmp_path: Path) -> None:
    with searching(tmp_path, trials=100, fused="true") as (search, _):
        first = search.next(2)
        assert len(first) == 8
        assert all(spec.fused for spec in first)
        for spec in first:
            search.settle(ended(spec, gain=0.9))
        (alone,) = search.next(2)
        assert not alone.fused


@pytest.mark.parametrize(("gpu", "fused", "together"), [
    (False, "null", False), (True, "null", True), (False, "true", True), (True, "false", False),
])  # fmt: skip
def test_no_one_probes_on_a_cpu_unless_the_page_asks_for_it(
    tmp_path: Path, gpu: bool, fused: str, together: bool
) -> None:
    with searching(tmp_path, gpu, trials=100, fused=fused) as (search, _):
        specs = search.next(2)
        assert len(specs) == (8 if together else 1)
        assert {spec.fused for spec in specs} == {together}


@pytest.mark.parametrize(("fused", "together"), [("null", False), ("true", True), ("false", False)])
def test_heads_are_probed_if_the_page_asks_for_it(tmp_path: Path, fused: str, together: bool) -> None:
    with searching(tmp_path, builder="head", trials=100, fused=fused) as (search, _):
        assert {spec.fused for spec in search.next(2)} == {together}


@pytest.mark.parametrize("limit", [{"trial_seconds": 9}, {"trial_mebibytes": 900}, {"deterministic": "true"}])
def test_trials_with_limits_and_deterministic_ones_are_never_one_graph(tmp_path: Path, limit: dict[str, Any]) -> None:
    with searching(tmp_path, trials=100, fused="true", **limit) as (search, _):
        (spec,) = search.next(2)
        assert not spec.fused
        assert (spec.seconds, spec.mebibytes) == (limit.get("trial_seconds"), limit.get("trial_mebibytes"))
        assert spec.deterministic == ("deterministic" in limit)


def test_a_lost_trial_comes_again_alone_and_ends_its_old_lease(tmp_path: Path) -> None:
    with searching(tmp_path, trials=20) as (search, log):
        first, *_ = search.next(2)
        search.settle(ended(first, Ending.LOST))
        again = search.next(2)
        assert [(spec.number, spec.attempt) for spec in again] == [(first.number, 2)]
        assert ("end", first.number, "lost", False) in log.said
        search.settle(ended(first))  # the first attempt was alive after all
        assert not [said for said in log.said if said[:3] == ("end", first.number, "ok")]


def test_the_ledger_knows_before_mlflow_is_told(tmp_path: Path) -> None:
    with searching(tmp_path, trials=2, fused="false") as (search, log):
        (spec,) = search.next(1)

        known: list[Outcome | None] = []

        def end(outcome: Outcome, over: bool) -> None:
            known.append(Ledger(tmp_path, reading=True).entry(outcome.number).outcome)

        log.end = end  # type: ignore[method-assign]
        outcome = ended(spec)
        search.settle(outcome)
        assert known == [outcome]


def test_epochs_go_to_mlflow_and_to_the_pruner(tmp_path: Path) -> None:
    with searching(tmp_path, trials=30, epochs=9, pruner="asha", prune_after=0.1, fused="false") as (search, log):
        answers = []
        for number in range(12):
            (spec,) = search.next(1)
            assert spec.prune
            good = Epoch(1.0, 0.5, 1.0, 0.9 - number / 20, 0.1)
            answers.append(search.report(spec.lease, 1, [good]))
            search.settle(ended(spec))
        assert answers[0] == ""
        assert answers[5:] == ["pruned"] * 7
        assert ("epochs", 0, 1, 1) in log.said


def test_a_trial_is_not_pruned_after_its_last_epoch(tmp_path: Path) -> None:
    with searching(tmp_path, trials=30, epochs=2, pruner="asha", fused="false") as (search, _):
        for number in range(8):
            (spec,) = search.next(1)
            answer = search.report(spec.lease, 2, [Epoch(1.0, 0.5, 1.0, 0.9 - number / 10, 0.1)])
            assert answer == ""
            search.settle(ended(spec))


def test_nothing_is_asked_that_would_not_finish_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(searches, "monotonic", lambda: now[0])
    with searching(tmp_path, trials=50, budget_seconds=60, fused="false") as (search, _):
        for _ in range(5):
            (spec,) = search.next(1)
            now[0] += 10
            search.settle(ended(spec, seconds=10.0))
        assert not search.tick(1)
        assert search.next(1) == []  # 10 s are left, and a trial takes as long
        now[0] += 11
        assert search.tick(1)
        assert search.out_of_time


def test_the_time_budget_is_the_studys_and_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(searches, "monotonic", lambda: now[0])
    with searching(tmp_path, trials=50, budget_seconds=60, fused="false") as (search, _):
        (spec,) = search.next(1)
        now[0] += 55
        search.settle(ended(spec, seconds=8.0))
    now[0] += 10_000  # the time between two sweeps costs nothing
    with searching(tmp_path, trials=50, budget_seconds=60, fused="false") as (search, _):
        assert search.next(1) == []
    with searching(tmp_path, trials=50, budget_seconds=120, fused="false") as (search, _):
        assert len(search.next(1)) == 1


def test_the_line_of_progress_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with searching(tmp_path, trials=3, fused="false") as (search, _):
        for ending in (Ending.OK, Ending.PRUNED, Ending.DIVERGED):
            (spec,) = search.next(1)
            search.settle(ended(spec, ending))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "estimate before the first trial: 3 trials on 1 slot will take a time that is not known until the first epoch",
        "[1/3] trial 0: val_accuracy 0.5000 in 5.0 s; best 0.5000 (trial 0); about 10 s left",
        "[2/3] trial 1: val_accuracy pruned in 5.0 s; best 0.5000 (trial 0); 1 pruned; about 5 s left",
        "[3/3] trial 2: val_accuracy diverged in 5.0 s; best 0.5000 (trial 0); 1 pruned",
    ]


def test_the_time_of_a_sweep_is_estimated_from_epochs_and_then_from_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with searching(tmp_path, trials=12, epochs=10, fused="false") as (search, log):
        (spec,) = search.next(2)
        search.report(spec.lease, 1, [replace(EPOCH, seconds=9.0), replace(EPOCH, seconds=4.0)])
        search.give_back("unknown")
        assert search._time_left(0) == ["about 4 min left"]  # 12 trials of 10 epochs of 4 s on 2 slots
        for number, seconds in enumerate((40.0, 40.0, 40.0, 5.0, 5.0), start=1):
            search.settle(ended(spec, Ending.PRUNED if seconds == 5 else Ending.OK, seconds=seconds))
            assert ("after" in capsys.readouterr().err) == (number == 5)
            (spec,) = search.next(2)
    first, after_five = [said[1] for said in log.said if said[0] == "estimate"]
    assert first == (
        "Before the first trial: 12 trials on 2 slots will take a time that is not known until the first epoch."
    )
    assert after_five.startswith("After 5 trials: 7 trials on 2 slots will take about 2 min, until 20")
    with searching(tmp_path, trials=13, epochs=10, fused="false", stop_after=5) as (search, log):
        search.next(2)
    assert log.said[0][1].startswith(
        "As the study goes on: at most 8 trials on 2 slots will take about 2 min, until 20"
    )


def test_the_last_trials_take_as_long_as_one_however_many_slots_are_free(tmp_path: Path) -> None:
    with searching(tmp_path, trials=6, epochs=10, fused="false") as (search, log):
        for _ in range(5):
            (spec,) = search.next(8)
            search.settle(ended(spec, seconds=60.0))
        assert search._time_left(5) == ["about 60 s left"]
    assert "1 trial on 8 slots will take about 60 s" in log.said[-1][1]


@pytest.mark.parametrize("ending", ["stop_after", "budget_seconds"])
def test_a_study_in_which_no_trial_begins_any_more_gets_no_estimate(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with searching(tmp_path, trials=12, fused="false") as (search, _):
        run_out(search, {}, 4)
        search._study.ledger.spend(100.0)
    capsys.readouterr()
    with searching(tmp_path, trials=12, fused="false", **{ending: 3}) as (search, log):
        assert search.next(2) == []
    assert "estimate" not in capsys.readouterr().err
    assert not log.said


def run_out(search: Search, values: dict[int, float | None], most: int = 1000) -> list[int]:
    """Train all trials that are handed out, one at a time, with these values by number; else 0.5. Their numbers."""
    numbers: list[int] = []
    while len(numbers) < most and (specs := search.next(1)):
        for spec in specs:
            numbers.append(spec.number)
            value = values.get(spec.number, 0.5)
            outcome = ended(spec, Ending.OK if value is not None else Ending.PRUNED)
            search.settle(replace(outcome, value=value))
    return numbers


SIZED = replace(DATASET, splits={"validation": 100})


def test_a_sweep_ends_when_its_last_trials_are_not_better_by_more_than_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise at 0.8 of 100 images is 0.04."""
    values = {0: 0.5, 1: 0.8, 2: 0.83, 3: None, 4: 0.7, 5: 0.83, 6: 0.9}
    with searching(tmp_path, trials=50, stop_after=4, fused="false") as (search, _):
        search._dataset = SIZED
        assert run_out(search, values) == [0, 1, 2, 3, 4, 5]
        assert search._study.identity["trials"] == "6"
        text = ending.result(search._study, SIZED)["stopped"]
    assert text in capsys.readouterr().err
    assert text.startswith(
        "4 trials in a row, the last ones, were not better than trial 1 (0.8000) by more than noise (0.0400)"
    )
    with searching(tmp_path, trials=50, stop_after=4, fused="false") as (search, _):
        search._dataset = SIZED
        assert search.next(1) == []
    with searching(tmp_path, trials=9, stop_after=5, fused="false") as (search, _):
        search._dataset = SIZED
        assert run_out(search, values) == [6, 7, 8]
        assert search._study.identity["trials"] == "9"
        assert ending.result(search._study, SIZED) == {"stopped": "", "front": []}


def test_a_trial_that_still_trains_may_be_the_better_one(tmp_path: Path) -> None:
    with searching(tmp_path, trials=50, stop_after=2, fused="false") as (search, _):
        search._dataset = SIZED
        slow, *others = [search.next(2)[0] for _ in range(4)]
        for spec in others:
            search.settle(ended(spec))
        assert search.next(2) == []
        search.settle(replace(ended(slow), value=0.2))  # a lower number, so trial 1 was better, and two have followed
        assert search.next(2) == []
    with searching(tmp_path / "better", trials=50, stop_after=2, fused="false") as (search, _):
        search._dataset = SIZED
        specs = [search.next(2)[0] for _ in range(4)]
        for spec in (specs[0], specs[1], specs[2]):
            search.settle(ended(spec))
        assert search.next(2) == []
        search.settle(replace(ended(specs[3]), value=0.9))
        assert [spec.number for spec in search.next(2)] == [4]


@pytest.mark.parametrize("order", [1, -1])
def test_a_deterministic_sweep_stops_after_a_whole_generation_whatever_ends_first(tmp_path: Path, order: int) -> None:
    with searching(tmp_path, trials=50, stop_after=3, deterministic="true", generation=3) as (search, _):
        search._dataset = SIZED
        numbers = []
        while specs := [spec for _ in range(3) for spec in search.next(3)]:
            numbers += [spec.number for spec in specs]
            for spec in specs[::order]:
                search.settle(replace(ended(spec), value=0.9 if spec.number == 3 else 0.5))
    assert numbers == list(range(9))


def test_what_one_graph_for_many_gained_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with searching(tmp_path, trials=20) as (search, _):
        spec, *_rest = search.next(2)
        search.settle(ended(spec, fused=8, gain=1.31))
    assert "in 5.0 s (one graph for 8, 1.31 times as fast); best" in capsys.readouterr().err


def test_a_broken_builder_ends_the_sweep_after_one_trial(tmp_path: Path) -> None:
    with searching(tmp_path, trials=9, fused="false") as (search, _):
        (spec,) = search.next(1)
        error = "Traceback ...\nwindrow.errors.BuilderError: mine.py must be importable; NameError: x; fix the file\n"
        with pytest.raises(BuilderError, match=r"^mine\.py must be importable; NameError: x; fix the file$"):
            search.settle(ended(spec, Ending.FAILED, error=error))
