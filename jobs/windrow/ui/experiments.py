"""List the experiments that a reader may see: those with a DAG that he may read, and with something to show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from windrow.errors import AbsentError
from windrow.experiment.sections import SLUG

_DAG = re.compile(rf"(?P<kind>train|score)_(?P<name>{SLUG.strip('^$')})")


class ListedExperiment(TypedDict):
    """An experiment with the ids of the DAGs that a reader may read."""

    name: str
    train: str | None
    score: str | None


def name_of(dag_id: str) -> tuple[str, str]:
    """Return (train or score, the experiment's name) of a DAG.

    Raises:
        AbsentError: it is not one of Windrow's DAGs.
    """
    found = _DAG.fullmatch(dag_id)
    if found is None:
        raise AbsentError("This DAG is not one of Windrow's, so this page can't show it.")
    return found["kind"], found["name"]


def listed(readable: Iterable[str], pages: Iterable[str], home: Path) -> list[ListedExperiment]:
    """List a reader's experiments, the last active one first, each with the DAGs that he may read.

    Args:
        readable: ids of DAGs that he may read.
        pages: names of the experiments whose pages exist here.
        home: WINDROW_HOME, where experiments without a page here may still have files.
    """
    known = set(pages)
    found: dict[str, dict[str, str]] = {}
    for dag_id in readable:
        match = _DAG.fullmatch(dag_id)
        if match and (match["name"] in known or _changed_at(home, match["name"])):
            found.setdefault(match["name"], {})[match["kind"]] = dag_id
    order = sorted(found, key=lambda name: (-_changed_at(home, name), name))
    return [{"name": name, "train": found[name].get("train"), "score": found[name].get("score")} for name in order]


def _changed_at(home: Path, name: str) -> float:
    """Return the Unix time of its last run's start or its table's last commit; 0 without either."""
    traces = (home / "runs" / f"train_{name}", home / "tables" / name / "_delta_log")
    return max((trace.stat().st_mtime for trace in traces if trace.is_dir()), default=0.0)
