"""Every sampler and pruner that a page may name has a branch of its own; a new name without one fails here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from windrow.errors import UserError
from windrow.experiment import Experiment, SweepSection, parse
from windrow.experiment.sections import LEARNERS
from windrow.sweep.sampling import pruners, samplers
from windrow.sweep.sampling.optuna_study import OptunaStudy

SAMPLERS = {
    "grid": "RandomSampler",  # its points are listed, and none is drawn
    "sensitivity": "RandomSampler",  # likewise
    "quasi_random": "SobolSampler",
    "random": "RandomSampler",
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cma_es": "CmaEsSampler",
}
PRUNERS = {"none": "NopPruner", "asha": "SuccessiveHalvingPruner", "median": "MedianPruner"}


def names(field: str) -> list[str]:
    """What a page may write for a key of the sweep."""
    return list(get_args(SweepSection.model_fields[field].annotation))


def test_every_name_of_the_page_has_a_branch_and_no_other_has() -> None:
    assert set(samplers.SAMPLERS) == set(names("sampler"))
    assert set(pruners.PRUNERS) == set(names("pruner"))
    assert set(samplers.EXTRAS) | set(LEARNERS) <= set(names("sampler"))


def page(sampler: str = "random", pruner: str = "none") -> Experiment:
    more = ", sensitivity: {parameters: [units, layers]}" if sampler == "sensitivity" else ""
    return parse(
        "name: a\nspace: {units: {type: int, low: 1, high: 3}, layers: {type: int, low: 1, high: 2}}\n"
        f"sweep: {{trials: 7, sampler: {sampler}, pruner: {pruner}{more}}}\n"
    )


@pytest.mark.parametrize("name", names("sampler"))
def test_each_sampler_of_the_page_is_the_one_of_its_name(name: str) -> None:
    section = page(name).sweep
    package = samplers.EXTRAS.get(name)
    if package and find_spec(package) is None:
        with pytest.raises(UserError, match=f"{name} needs the package {package}"):
            samplers.sampler(section, page(name).space, 1)
    else:
        kinds = [kind.__name__ for kind in type(samplers.sampler(section, page(name).space, 1)).__mro__]
        assert SAMPLERS[name] in kinds


def test_a_grid_and_a_design_list_points_of_their_own(tmp_path: Path) -> None:
    drawn = {}
    for name in names("sampler"):
        if name in LEARNERS:  # until they have learned, they draw as random does
            continue
        (tmp_path / name).mkdir()
        opened = OptunaStudy(tmp_path / name, page(name))
        drawn[name] = str([opened.draw(number)[0] for number in range(1, 7)])  # 0 is the default configuration
    assert len(set(drawn.values())) == len(drawn), drawn


@pytest.mark.parametrize("name", names("pruner"))
def test_each_pruner_of_the_page_is_the_one_of_its_name(name: str, tmp_path: Path) -> None:
    opened = OptunaStudy(tmp_path, page(pruner=name))
    assert type(opened._study.pruner).__name__ == PRUNERS[name]
