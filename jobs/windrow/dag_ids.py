"""The ids of Windrow's DAGs: train_NAME, score_NAME and maintain_NAME for the experiment NAME.

    dag_id("train", "digits")      # "train_digits"
    parse("score_digits")          # DagId(kind="score", experiment="digits")

Imports nothing heavy, because DAG files use this module, and Airflow parses them every few seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from windrow.experiment.sections import SLUG

Kind = Literal["train", "score", "maintain"]
KINDS: tuple[Kind, ...] = get_args(Kind)

UNPAUSE = "airflow dags unpause {dag}"
"""Switches on a DAG where Airflow's components run."""

LAPTOP_UNPAUSE = 'make airflow ARGS="dags unpause {dag}"'
"""Switches on a DAG of the laptop's Airflow. A bare `airflow` would read another home, with another database."""

_ID = re.compile(rf"(?P<kind>{'|'.join(KINDS)})_(?P<experiment>{SLUG.strip('^$')})")


@dataclass(frozen=True)
class DagId:
    """The two parts of a DAG's id."""

    kind: Kind
    experiment: str


def dag_id(kind: Kind, experiment: str) -> str:
    """Return the id of an experiment's DAG, such as train_digits for the kind train and the experiment digits."""
    return f"{kind}_{experiment}"


def paused(dags: Sequence[str], command: str = UNPAUSE) -> str:
    """Return a sentence on DAGs that are paused, with the commands that switch them on.

    Args:
        dags: one or more.
        command: the command that switches on one DAG, {dag}; LAPTOP_UNPAUSE on a laptop.
    """
    verb, them = ("is", "it") if len(dags) == 1 else ("are", "them")
    commands = " && ".join(command.format(dag=dag) for dag in dags)
    return f"{' and '.join(dags)} {verb} paused; switch {them} on in Airflow's list of DAGs, or with {commands}"


def parse(text: str) -> DagId | None:
    """Split a DAG's id into kind and experiment; return None if it isn't an id of Windrow's."""
    found = _ID.fullmatch(text)
    return DagId(cast("Kind", found["kind"]), found["experiment"]) if found else None
