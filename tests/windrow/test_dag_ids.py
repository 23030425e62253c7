"""A DAG's id is made and read in one place."""

from __future__ import annotations

import pytest
from windrow.dag_ids import KINDS, DagId, dag_id, parse


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("experiment", ["digits", "score_digits", "a", "mnist_2", "x" * 63])
def test_what_is_made_is_read_back(kind: str, experiment: str) -> None:
    assert parse(dag_id(kind, experiment)) == DagId(kind, experiment)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "digits", "train_", "train_Digits", "report_digits", "train_a\n", "train_" + "x" * 64]
)
def test_another_dag_is_none_of_windrows(text: str) -> None:
    assert parse(text) is None
