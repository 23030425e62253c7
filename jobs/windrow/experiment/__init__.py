"""The experiment page: one YAML file that says what to search, on what, and what to do with the winner.

    page = load("dags/experiments/digits.yaml", overrides=["sweep.trials=8"])
    page.sweep.trials                     # 8

A page is validated as a whole: `load` raises one PageError that lists every mistake with its key, line, rule, value and
how to fix it. DAG files import this package, so it needs only pydantic, YAML, and croniter where a page has a schedule.
docs/pages.md is the reference for users.
"""

from __future__ import annotations

from windrow.experiment.airflow import AirflowSection
from windrow.experiment.constraints import Constraint
from windrow.experiment.dimensions import CategoricalDimension, Dimension, FloatDimension, IntDimension
from windrow.experiment.network_section import NetworkSection
from windrow.experiment.precision import PrecisionSection
from windrow.experiment.promotion_section import FineTuneSection, PromotionSection
from windrow.experiment.reading import load, load_to_train, parse
from windrow.experiment.scoring import ScoringSection
from windrow.experiment.sections import (
    BUILT_IN_SOURCES,
    OBJECTIVE_DIRECTIONS,
    DatasetSection,
    Experiment,
    SweepSection,
    keys,
)

__all__ = [
    "BUILT_IN_SOURCES",
    "OBJECTIVE_DIRECTIONS",
    "AirflowSection",
    "CategoricalDimension",
    "Constraint",
    "DatasetSection",
    "Dimension",
    "Experiment",
    "FineTuneSection",
    "FloatDimension",
    "IntDimension",
    "NetworkSection",
    "PrecisionSection",
    "PromotionSection",
    "ScoringSection",
    "SweepSection",
    "keys",
    "load",
    "load_to_train",
    "parse",
]
