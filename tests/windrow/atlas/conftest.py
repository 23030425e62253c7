"""Studies as the atlas reads them: real ledgers, with outcomes that nobody had to train for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from windrow.atlas import TrialTable, read
from windrow.experiment import parse
from windrow.experiment.parameters import Value
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import open_study, read_study
from windrow.training.loop import Epoch

SPACE = """
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  units: {type: int, low: 8, high: 128, log: true}
  activation: {type: categorical, choices: [relu, tanh]}
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: float, low: 0.1, high: 0.9, when: {optimizer: sgd}}
  layers: {type: int, low: 1, high: 1}
"""

Ended = Callable[[int, dict[str, Value]], Ending]
Make = Callable[..., TrialTable]


def mixed(number: int, point: dict[str, Value]) -> Ending:
    """High rates diverge, every fifth trial is pruned, and one fails."""
    if float(point["learning_rate"]) > 3e-2:
        return Ending.DIVERGED
    return Ending.FAILED if number == 7 else Ending.PRUNED if number % 5 == 4 else Ending.OK


def error(point: dict[str, Value]) -> float:
    """Share of images that are wrong: least at a rate of 0.003, and falling with the width."""
    return 0.01 + 0.02 * math.log10(float(point["learning_rate"]) / 3e-3) ** 2 + 0.2 / float(point.get("units", 8))


def epochs(point: dict[str, Value], ending: Ending) -> tuple[Epoch, ...]:
    if ending in {Ending.FAILED, Ending.LOST}:
        return ()
    count = 4 if ending is Ending.OK else 2
    good = [Epoch(1 / n, 0.9, 1 / n, 1 - error(point) * (1 + 1 / n), 0.1) for n in range(1, count)]
    last = math.nan if ending is Ending.DIVERGED else 0.1
    every = (*good, Epoch(last, 0.9, last, 1 - error(point), 0.1))
    costs = {"weights": 1000.0, "milliseconds": float(point.get("units", 8)) / 100}  # where the search has two goals
    return tuple(replace(epoch, val_macro_f1=epoch.val_accuracy, **costs) for epoch in every)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a study and read it as a table."""

    def make(
        count: int, ended: Ended = mixed, space: str = SPACE, sweep: str = "sampler: random", value: Any = error
    ) -> TrialTable:
        text = f"name: small\nspace: {space}\nsweep: {{trials: {max(1, count)}, {sweep}}}\n"
        page = parse(text)
        folder = tmp_path_factory.mktemp("studies") / "study"
        with open_study(folder, page, "data") as opened:
            for _ in range(count):
                asked = opened.ask()
                if asked is None:
                    break  # a small space is exhausted
                ending = ended(asked.number, {**page.network.defaults(), **asked.point})
                begin = 1e9 + 10.0 * (asked.number // 2)
                opened.settle(
                    Outcome(
                        asked.number,
                        asked.attempt,
                        ending,
                        1 - value({**page.network.defaults(), **asked.point}) if ending is Ending.OK else None,
                        epochs({**page.network.defaults(), **asked.point}, ending),
                        seconds=9.0,
                        lease=asked.token,
                        worker=f"host/{asked.number % 2}",
                        began_at=begin,
                        ended_at=begin + 9.0,
                    )
                )
        return read(read_study(folder, page, "data"), ((8, 8, 1), 10))

    return make
