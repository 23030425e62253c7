"""List the experiments on the Windrow page: those with a DAG that the reader may read, and a page or files here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from windrow import dag_ids
from windrow.dag_ids import DagId, dag_id
from windrow.errors import AbsentError

_SHOWN = ("train", "score")  # a maintain DAG has nothing to show


class ListedExperiment(TypedDict):
    """An experiment with the ids of the DAGs that a reader may read."""

    name: str
    train: str | None
    score: str | None


def name_of(dag: str) -> tuple[str, str]:
    """Return a DAG's kind (train or score) and its experiment's name.

    Raises:
        AbsentError: the DAG is not a train or score DAG of Windrow's.
    """
    found = _parsed(dag)
    if found is None:
        raise AbsentError("This DAG is not one of Windrow's, so this page can't show it.")
    return found.kind, found.experiment


def _parsed(dag: str) -> DagId | None:
    found = dag_ids.parse(dag)
    return found if found is not None and found.kind in _SHOWN else None


def listed(readable: Iterable[str], pages: Iterable[str], home: Path) -> list[ListedExperiment]:
    """Return a reader's experiments, the last active one first, each with the DAGs that the reader may read.

    Args:
        readable: ids of the DAGs that the reader may read.
        pages: names of the experiments whose pages exist here.
        home: WINDROW_HOME; an experiment whose page is gone is still listed if it has files there.
    """
    known = set(pages)
    found: dict[str, dict[str, str]] = {}
    for dag in readable:
        parts = _parsed(dag)
        if parts and (parts.experiment in known or _changed_at(home, parts.experiment)):
            found.setdefault(parts.experiment, {})[parts.kind] = dag
    order = sorted(found, key=lambda name: (-_changed_at(home, name), name))
    return [{"name": name, "train": found[name].get("train"), "score": found[name].get("score")} for name in order]


def _changed_at(home: Path, name: str) -> float:
    """Return the Unix time of an experiment's last train run or commit to its table; 0 if it has neither."""
    traces = (home / "runs" / dag_id("train", name), home / "tables" / name / "_delta_log")
    return max((trace.stat().st_mtime for trace in traces if trace.is_dir()), default=0.0)
