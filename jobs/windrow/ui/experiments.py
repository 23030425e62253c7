"""Which experiments the page offers to a reader: those of whose DAGs he may read one, and that have left something."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from windrow.errors import AbsentError
from windrow.experiment.sections import SLUG

_DAG = re.compile(rf"(?P<kind>train|score)_(?P<name>{SLUG.strip('^$')})")


def name_of(dag_id: str) -> tuple[str, str]:
    """(train or score, the experiment's name) of a DAG.

    Raises:
        AbsentError: it is no DAG of Windrow.
    """
    found = _DAG.fullmatch(dag_id)
    if found is None:
        raise AbsentError("This DAG is none of Windrow's, so there is nothing to show.")
    return found["kind"], found["name"]


def listed(readable: Iterable[str], pages: Iterable[str], home: Path) -> list[dict[str, Any]]:
    """The experiments for a reader, the one first at which something happened last, each with the DAGs he may read.

    Args:
        readable: ids of DAGs.
        pages: names of the experiments whose pages are at hand.
        home: where Windrow keeps what it makes; an experiment without a page here may still have left something there.
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
    """Unix time at which a run of it began, or its table was written to; 0 if there is neither."""
    traces = (home / "runs" / f"train_{name}", home / "tables" / name / "_delta_log")
    return max((trace.stat().st_mtime for trace in traces if trace.is_dir()), default=0.0)
