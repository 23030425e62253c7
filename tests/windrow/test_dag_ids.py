"""A DAG's id is made and read in one place."""

from __future__ import annotations

import pytest
from windrow.dag_ids import KINDS, LAPTOP_UNPAUSE, DagId, dag_id, parse, paused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("experiment", ["digits", "score_digits", "a", "mnist_2", "x" * 63])
def test_what_is_made_is_read_back(kind: str, experiment: str) -> None:
    assert parse(dag_id(kind, experiment)) == DagId(kind, experiment)  # type: ignore[arg-type]


def test_each_paused_dag_has_its_command() -> None:
    assert paused(["a", "b"]).endswith("or with airflow dags unpause a && airflow dags unpause b")
    told = paused(["a", "b"], LAPTOP_UNPAUSE)
    assert told.endswith('or with make airflow ARGS="dags unpause a" && make airflow ARGS="dags unpause b"')


@pytest.mark.parametrize(
    "text", ["", "digits", "train_", "train_Digits", "report_digits", "train_a\n", "train_" + "x" * 64]
)
def test_another_dag_is_none_of_windrows(text: str) -> None:
    assert parse(text) is None
