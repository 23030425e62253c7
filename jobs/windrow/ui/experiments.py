"""Which experiments the page offers to a reader: those of whose DAGs he may read one, and that have left something."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from windrow import dag_ids
from windrow.dag_ids import DagId, dag_id
from windrow.errors import AbsentError

_SHOWN = ("train", "score")  # a maintain DAG has nothing to show


def name_of(dag: str) -> tuple[str, str]:
    """Return the kind (train or score) and the experiment's name of a DAG.

    Raises:
        AbsentError: it is no DAG of Windrow.
    """
    found = _parsed(dag)
    if found is None:
        raise AbsentError("This DAG is none of Windrow's, so there is nothing to show.")
    return found.kind, found.experiment


def _parsed(dag: str) -> DagId | None:
    found = dag_ids.parse(dag)
    return found if found is not None and found.kind in _SHOWN else None


def listed(readable: Iterable[str], pages: Iterable[str], home: Path) -> list[dict[str, Any]]:
    """The experiments for a reader, the one first at which something happened last, each with the DAGs he may read.

    Args:
        readable: ids of DAGs.
        pages: names of the experiments whose pages are at hand.
        home: where Windrow keeps what it makes; an experiment without a page here may still have left something there.
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
    """Unix time at which a run of it began, or its table was written to; 0 if there is neither."""
    traces = (home / "runs" / dag_id("train", name), home / "tables" / name / "_delta_log")
    return max((trace.stat().st_mtime for trace in traces if trace.is_dir()), default=0.0)
