"""What the plots find and say. That they are readable was looked at; that they are drawn for any study is tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from windrow.atlas import cost, curves, heat_map, importance, marginals, timeline
from windrow.atlas.plot import Missing, Plot, untangle
from windrow.looks import style
from windrow.sweep.outcomes import Ending

Make = Callable[..., Any]

TWO = (
    "{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}, units: {type: int, low: 8, high: 128, log: true}}"
)


def test_the_heat_map_is_of_rate_and_width_where_both_were_searched(study: Make) -> None:
    chosen = heat_map.pair(study(30), ["momentum", "units", "learning_rate"])
    assert chosen is not None
    assert [parameter.name for parameter in chosen] == ["learning_rate", "units"]


def test_else_it_is_of_the_numbers_that_matter_most(study: Make) -> None:
    space = (
        "{dropout: {type: float, low: 0, high: 0.5}, layers: {type: int, low: 1, high: 3}, "
        "weight_decay: {type: float, low: 0, high: 0.1}, activation: {type: categorical, choices: [relu, tanh]}}"
    )
    chosen = heat_map.pair(study(30, space=space), ["activation", "weight_decay", "layers", "dropout"])
    assert chosen is not None
    assert [parameter.name for parameter in chosen] == ["weight_decay", "layers"]


def test_a_cell_has_the_median_over_its_seeds(study: Make) -> None:
    space = (
        "{learning_rate: {type: categorical, choices: [0.001, 0.01]}, units: {type: categorical, choices: [16, 64]}}"
    )
    design = "sampler: sensitivity, sensitivity: {parameters: [learning_rate, units], repeats: 4}"
    luck = iter([0.9, 0.01, 0.02, 0.03] * 20)
    table = study(41, lambda *_: Ending.OK, space, design, lambda _: next(luck))
    x, y = table.parameters
    cells = heat_map.fill(table, x, y)
    assert cells.medians.shape == (2, 2)
    for (row, column), found in np.ndenumerate(cells.medians):
        own = [
            t for t in table.ranked if (t.point["units"], t.point["learning_rate"]) == (y.values[row], x.values[column])
        ]
        assert found == pytest.approx(np.median(table.heights(own)))


def test_the_curves_say_what_they_were_drawn_from(study: Make) -> None:
    drawn = curves.draw_rates(study(60), [])
    assert isinstance(drawn, Plot)
    assert drawn.notes[0] == "Validation, not test: the search does not see the test split."
    assert "are good enough, most of them with a learning rate of" in drawn.title


def test_importance_finds_what_the_error_was_made_of(study: Make) -> None:
    found = importance.evaluate(study(80, ended=lambda *_: Ending.OK))
    assert set(found.order[:2]) == {"learning_rate", "units"}
    for share in (share for shares in found.shares.values() for share in shares.values()):
        assert 0 <= share.low <= share.value <= share.high <= 1
    assert "momentum" not in found.shares["fANOVA"]
    assert "momentum" in found.shares["PED-ANOVA"]


def test_importance_is_the_same_each_time(study: Make) -> None:
    table = study(30)
    assert importance.evaluate(table) == importance.evaluate(table)


def test_importance_of_too_few_or_equal_trials_says_why_there_is_none(study: Make) -> None:
    assert (
        "needs 10 trials that ended ok; this study has 3" in importance.evaluate(study(3, lambda *_: Ending.OK)).unknown
    )
    equal = importance.evaluate(study(30, ended=lambda *_: Ending.OK, value=lambda _: 0.1))
    assert "all are equal" in equal.unknown


def test_the_front_has_what_nothing_else_beats() -> None:
    assert cost.front([3, 1, 2, 2, 5], [1.0, 3.0, 2.0, 1.5, 1.0]) == [1, 3, 0]


def test_weights_are_left_out_where_they_are_not_known(study: Make) -> None:
    space = "{width: {type: int, low: 1, high: 9}, learning_rate: {type: float, low: 1e-3, high: 1}}"
    table = study(
        12,
        lambda *_: Ending.OK,
        f"{space}\nnetwork: {{builder: 'mine.py:build', parameters: {{width: 3}}}}",
        value=lambda _: 0.1,
    )
    drawn = cost.draw_weights(table)
    assert isinstance(drawn, Missing)
    assert "built-in networks" in drawn.reason
    assert isinstance(cost.draw_seconds(table), Plot)


def test_weights_that_were_a_goal_are_known_of_a_users_network_too(study: Make) -> None:
    table = study(
        12,
        lambda *_: Ending.OK,
        "{width: {type: int, low: 1, high: 9}}\nnetwork: {builder: 'mine.py:build', parameters: {width: 3}}",
        sweep="sampler: random, objectives: [val_accuracy, weights]",
        value=lambda point: 0.1 / float(point["width"]),
    )
    assert {trial.weights for trial in table.trials} == {1000}
    assert isinstance(cost.draw_weights(table), Plot)


def test_the_front_of_two_goals_is_drawn_over_the_time_for_an_image(study: Make) -> None:
    table = study(12, lambda *_: Ending.OK, sweep="sampler: random, objectives: [val_accuracy, milliseconds]")
    drawn = cost.draw_milliseconds(table)
    assert isinstance(drawn, Plot)
    assert [trial.milliseconds for trial in table.trials] == [
        float(trial.point["units"]) / 100 for trial in table.trials
    ]
    assert "against time for an image, milliseconds for 12 trials" in drawn.alt
    assert " ms" in drawn.title
    assert {trial.milliseconds for trial in study(3).trials} == {None}


def test_a_worker_keeps_its_slot_and_the_next_one_takes_a_free_one(study: Make) -> None:
    found, cuts = timeline.bars(study(12))
    assert {bar.slot for bar in found} == {0, 1}
    assert len({(bar.slot, bar.trial.worker) for bar in found}) == 2
    assert cuts == []


def test_the_speed_up_is_training_over_wall_clock(study: Make) -> None:
    found, _ = timeline.bars(study(12))
    at, speed_up = timeline.speed_ups(found)
    assert at[-1] == pytest.approx(59.0)
    assert speed_up[-1] == pytest.approx(12 * 9 / 59)


def test_one_trial_on_one_slot_is_written_in_the_singular(study: Make) -> None:
    table = study(1, ended=lambda *_: Ending.OK)
    found, cuts = timeline.bars(table)
    drawn, speed_up = timeline.draw_timeline(table, found, cuts), timeline.draw_speed_up(found)
    assert isinstance(drawn, Plot)
    assert isinstance(speed_up, Plot)
    assert drawn.title == "1 trial on 1 slot in 9 seconds, busy 100 % of it"
    assert drawn.alt.startswith("Timeline of 1 trial on 1 slot. ")
    assert speed_up.title == "1 slot trained 1.00 times as fast as one that does nothing else"


def test_labels_are_spread_in_their_order() -> None:
    moved = style.spread([1.0, 1.01, 5.0, 1.02], 0.5)
    assert np.argsort(moved).tolist() == [0, 1, 3, 2]
    assert np.diff(sorted(moved)).min() >= 0.5 - 1e-9


def test_the_title_of_the_marginals_names_where_the_best_are(study: Make) -> None:
    drawn = marginals.draw_marginals(study(100), ["learning_rate"])
    assert isinstance(drawn, Plot)
    near = float(drawn.title.removeprefix("The best trials have a learning rate near "))
    assert 5e-4 < near < 2e-2, "the least error is at 0.003"


CROWDED = (
    "{kind: {type: categorical, choices: [residual, separable, plain_dense, inception]}, "
    "units: {type: int, low: 1000, high: 9000, log: true}, "
    "batch_size: {type: categorical, choices: [1000, 1001, 1002, 1003, 1004, 1005]}}\n"
    "network: {builder: 'mine.py:build', parameters: {kind: residual, units: 1000}}"
)


def overlaps(figure: Any) -> list[tuple[str, str]]:
    """Labels at ticks that overlap, as the picture is drawn."""
    figure.draw_without_rendering()
    found = []
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        labels = [
            label
            for at, label in ((tick.get_loc(), tick.label1) for tick in axis.get_major_ticks())
            if low <= at <= high and label.get_visible() and label.get_text()
        ]
        turned = [label.get_rotation() for label in labels]
        boxes = [label.get_window_extent() for label in labels]
        found += [
            (one.get_text(), other.get_text())
            for place, one in enumerate(labels)
            for other, box in list(zip(labels, boxes, strict=True))[place + 1 :]
            if not any(turned) and boxes[place].overlaps(box)
        ]
    return found


def test_labels_at_ticks_do_not_overlap(study: Make) -> None:
    drawn = marginals.draw_marginals(study(40, lambda *_: Ending.OK, CROWDED), [])
    assert isinstance(drawn, Plot)
    with style.applied():
        assert overlaps(drawn.figure), "there is nothing to untangle"
        untangle(drawn.figure)
        assert overlaps(drawn.figure) == []
    names = {label.get_text() for axes in drawn.figure.axes for label in axes.get_xticklabels()}
    assert {"residual", "separable", "plain_dense", "inception"} <= names, "a name is left out"
