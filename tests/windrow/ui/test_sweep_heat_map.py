"""The heat map: every trial is in one cell, the best cell is the darkest, and any two parameters will do."""

from __future__ import annotations

import random
from math import log10
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from windrow.sweep.outcomes import Ending
from windrow.ui import sweep_heat_map
from windrow.ui.ledgers import TrialSummary


def trial(number: int, value: float | None = 0.9, ending: Ending = Ending.OK, **point: Any) -> TrialSummary:
    return TrialSummary(number, point, ending, value)


def cells(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for row in found["cells"] for cell in row if cell]


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.integers(1, 5000), st.booleans()), min_size=1, max_size=60))
def test_every_trial_that_has_ended_is_in_one_cell(drawn: list[tuple[float, int, bool]]) -> None:
    trials = [
        trial(number, 0.5 if ok else None, Ending.OK if ok else Ending.PRUNED, rate=rate, units=units)
        for number, (rate, units, ok) in enumerate(drawn)
    ]
    found = sweep_heat_map.fill(trials, "rate", "units", falls=False, share=True)
    assert sum(cell["ok"] + cell["other"] for cell in cells(found)) == found["trials"] == len(trials)
    assert [len(row) for row in found["cells"]] == [len(found["columns"])] * len(found["rows"])


def test_the_best_cell_is_the_darkest_and_the_poorest_the_palest() -> None:
    rng = random.Random(3)
    trials = []
    for number in range(400):
        rate, units = 10 ** rng.uniform(-4, -1), rng.randint(16, 256)
        trials.append(trial(number, 0.98 - 0.04 * (log10(rate) + 2.5) ** 2, rate=rate, units=units))
    found = cells(sweep_heat_map.fill(trials, "rate", "units", falls=False, share=True))
    ranked = sorted(found, key=lambda cell: cell["median"])
    assert (ranked[-1]["shade"], ranked[0]["shade"]) == (sweep_heat_map.SHADES - 1, 0)
    assert [cell["shade"] for cell in ranked] == sorted(cell["shade"] for cell in ranked)


def test_of_a_loss_less_is_better() -> None:
    trials = [trial(n, 0.1 * (n + 1), a=n, b=1) for n in range(5)]
    found = sweep_heat_map.fill(trials, "a", "b", falls=True, share=False)
    shades = [cell["shade"] for cell in found["cells"][0]]
    assert (shades[0], shades[-1]) == (sweep_heat_map.SHADES - 1, 0)
    assert shades == sorted(shades, reverse=True)


def test_values_without_numbers_have_a_column_each() -> None:
    trials = [trial(0, optimizer="adam", bias=True), trial(1, optimizer="sgd", bias=False)]
    found = sweep_heat_map.fill(trials, "optimizer", "bias", falls=False, share=True)
    assert (found["columns"], found["rows"]) == (("adam", "sgd"), ("False", "True"))
    assert [[bool(cell) for cell in row] for row in found["cells"]] == [[False, True], [True, False]]


def test_numbers_that_were_drawn_by_their_logarithm_get_columns_by_it() -> None:
    axis = sweep_heat_map.axis("rate", [10 ** (-4 + place / 33) for place in range(100)])
    assert axis.edges[1] / axis.edges[0] == axis.edges[-1] / axis.edges[-2]


def test_numbers_that_were_drawn_evenly_get_columns_of_one_width() -> None:
    axis = sweep_heat_map.axis("dropout", [place / 200 for place in range(1, 100)])
    widths = [high - low for low, high in zip(axis.edges, axis.edges[1:], strict=False)]
    assert max(widths) - min(widths) < 1e-9


def test_a_cell_without_an_ok_trial_says_how_many_ended_otherwise() -> None:
    trials = [trial(0, None, Ending.DIVERGED, a=1, b=1), trial(1, None, Ending.FAILED, a=1, b=1), trial(2, a=2, b=1)]
    assert sweep_heat_map.fill(trials, "a", "b", falls=False, share=True)["cells"][0][0] == {
        **{"median": None, "shade": None, "ok": 0, "other": 2}
    }


def test_a_perfect_share_is_no_error() -> None:
    found = sweep_heat_map.fill([trial(0, 1.0, a=1, b=1), trial(1, 0.5, a=2, b=1)], "a", "b", falls=False, share=True)
    assert found["cells"][0][0]["shade"] == sweep_heat_map.SHADES - 1


def test_parameters_that_never_differ_are_not_offered() -> None:
    assert sweep_heat_map.parameters([trial(0, a=1, units=2, same=3), trial(1, a=2, units=4, same=3)]) == ["units", "a"]


def test_ranges_of_hundreds_are_written_without_exponents() -> None:
    found = sweep_heat_map.axis("units", list(range(128, 513, 16)))
    assert (found.labels[0].split(" to ")[0], found.labels[-1].split(" to ")[1]) == ("130", "510")
    assert not [label for label in found.labels if "e" in label]
