"""Make the plan of a scoring run from an experiment page, on the driver, and send the network to every host.

plan = plan_with(spark, page.scoring, models.pin(page, scratch), run_id, scratch)
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from windrow import paths
from windrow.errors import UserError
from windrow.model.network import Network
from windrow.scoring.fetch.fetcher import FetchPolicy
from windrow.scoring.network import low_precision, unpacking
from windrow.scoring.pipeline import ScoringPlan
from windrow.scoring.table.prediction import Patience, Stamp
from windrow.spark import ship_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.experiment import Experiment, ScoringSection


def scoring_section(page: Experiment, name: str) -> ScoringSection:
    """Return the page's scoring section.

    Args:
        page: the page.
        name: the page's name, for the message.

    Raises:
        UserError: the page has no scoring section.
    """
    if page.scoring is None:
        raise UserError(f"{name} needs a scoring section to score images; it has none; add scoring.feed")
    return page.scoring


def plan_with(spark: SparkSession, scoring: ScoringSection, model: Network, run_id: str, scratch: Path) -> ScoringPlan:
    """Make the plan of a run, and send the network to every host, converted first if the page names a precision.

    Raises:
        UserError: the network loses too much at the page's precision, or can't be converted.
    """
    loss = None
    if scoring.precision is not None:
        model, loss = low_precision.lower(model, scoring.precision, paths.home())
    return replace(make_plan(scoring, model, ship(spark, model, scratch), run_id), precision=loss)


def ship(spark: SparkSession, model: Network, scratch: Path) -> str:
    """Send the network's file to every host (a folder as a tar archive); return the name by which executors find it."""
    name, file = f"{model.digest}{model.file.suffix}", model.file
    if model.file.is_dir():
        name, file = f"{model.digest}.tar", scratch / f"{model.digest}.tar"
        unpacking.pack(model.file, file)
    ship_file(spark, file, name)
    return name


def make_plan(scoring: ScoringSection, model: Network, file: str, run_id: str) -> ScoringPlan:
    """Return a plan without cache, album and progress, which the run adds later.

    Args:
        scoring: the page's scoring section.
        model: the network.
        file: the network's file, as `ship` named it.
        run_id: the scoring run's id.
    """
    return ScoringPlan(
        model=replace(model, file=Path(file)),
        stamp=Stamp(
            run_id=run_id,
            model_name=model.name,
            model_version=model.version,
            model_digest=model.digest,
            dag_run_id=os.environ.get("AIRFLOW_CTX_DAG_RUN_ID"),
        ),
        fetch=FetchPolicy.of(scoring),
        top_k=scoring.top_k,
        batch_size=scoring.batch_size,
        max_pixels=scoring.max_pixels,
        patience=Patience(scoring.attempts, scoring.retry_hours),
    )
