"""Pruning decisions follow the rule of docs/sweep.md on curves that were recorded.

recorded_curves.json has the validation accuracy of 18 small convolutional networks after each of 16 epochs: the first
rows of bench/results/table_small_cnn.jsonl.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from windrow.experiment import SweepSection, parse
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling import pruners
from windrow.sweep.sampling.optuna_study import OptunaStudy
from windrow.training.loop import Epoch

CURVES: list[list[float]] = json.loads((Path(__file__).parent / "recorded_curves.json").read_text())
EPOCHS = len(CURVES[0])


@pytest.mark.parametrize(
    ("share", "epochs", "first"),
    [(0.2, 10, 2), (0.2, 20, 4), (0.2, 24, 5), (0.1, 30, 3), (0.2, 2, 1), (0.01, 10, 1), (0.99, 10, 10), (0.5, 3, 2)],
)
def test_the_first_decision_is_after_the_pages_share_of_the_epochs(share: float, epochs: int, first: int) -> None:
    section = SweepSection.model_validate({"prune_after": share, "epochs": epochs})
    assert pruners.first_decision(section) == first


@pytest.mark.parametrize("first", [1, 2, 4])
@pytest.mark.parametrize("slots", [1, 2, 5])
def test_halving_stops_what_is_not_among_the_best_quarter_of_those_that_came_as_far(
    first: int, slots: int, tmp_path: Path
) -> None:
    reached: dict[int, list[float]] = defaultdict(list)
    ends = []
    for _, age, value, stopped in replayed("asha", first, slots, tmp_path):
        expected = False
        if age in {first, 4 * first, 16 * first} and age < EPOCHS:
            reached[age].append(value)
            good = sorted(reached[age], reverse=True)[: max(1, len(reached[age]) // 4)]
            expected = value < good[-1]
        assert stopped == expected, f"{value} after epoch {age}, where {reached[age]} have been"
        if stopped or age == EPOCHS:
            ends.append(age)
    assert len(ends) == len(CURVES)
    assert min(ends) == first
    assert max(ends) == EPOCHS, "the first that comes goes on"


@pytest.mark.parametrize("first", [1, 4])
def test_the_median_stops_nothing_before_its_first_decision_and_none_of_the_first_five(
    first: int, tmp_path: Path
) -> None:
    stops = [(trial, age) for trial, age, _, stopped in replayed("median", first, 1, tmp_path) if stopped]
    assert stops
    assert min(trial for trial, _ in stops) >= 5
    assert min(age for _, age in stops) == first


def replayed(pruner: str, first: int, slots: int, folder: Path) -> Iterator[tuple[int, int, float, bool]]:
    """Report the recorded curves epoch by epoch, as many trials at once as there are slots.

    Yields (number of the trial, age in epochs, value, whether the pruner stops it).
    """
    page = parse(
        "name: a\nspace: {learning_rate: {type: float, low: 1e-4, high: 1e-1}}\n"
        f"sweep: {{trials: {len(CURVES)}, sampler: random, pruner: {pruner}, epochs: {EPOCHS}}}\n"
    )
    study = OptunaStudy(folder, page, prune_from=first)
    waiting = list(enumerate(CURVES))
    running: list[tuple[int, int, Iterator[tuple[int, float]]]] = []
    while waiting or running:
        while waiting and len(running) < slots:
            number, curve = waiting.pop(0)
            running.append((number, study.draw(number)[1], iter(list(enumerate(curve, 1)))))
        for trial in list(running):
            number, optuna_number, epochs = trial
            age, value = next(epochs)
            stopped = age < EPOCHS and study.report(optuna_number, age, value)
            yield number, age, value, stopped
            if stopped or age == EPOCHS:
                study.tell(optuna_number, ended(age, value, stopped))
                running.remove(trial)


def ended(epochs: int, value: float, stopped: bool) -> Outcome:
    """The outcome of a trial, whose last epoch has this validation accuracy."""
    if stopped:
        return Outcome(0, 1, Ending.PRUNED, epochs=(Epoch(1.0, 0.5, 1.0, value, 1.0),) * epochs)
    return Outcome(0, 1, Ending.OK, value)
