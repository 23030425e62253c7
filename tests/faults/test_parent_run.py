"""A driver that is killed while it begins the sweep's run in MLflow leaves no run behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.crash import KilledError
from windrow import experiment
from windrow.data import manifest
from windrow.sweep.study import Study, open_study
from windrow.tracking.sweep_log import open_sweep

pytestmark = pytest.mark.mlflow


@pytest.mark.parametrize("moment", ["before the page is logged", "before the study keeps the run"])
def test_a_sweep_has_one_parent_run_wherever_its_first_driver_was_killed(
    moment: str,
    mlflow_server: str,
    digits: Path,
    new_study: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    study = new_study("parent_" + moment.split()[2])
    page, dataset = experiment.load(study.page, []), manifest.read(digits)

    def opened() -> None:
        with open_study(study.folder, page, dataset.digest) as book:
            open_sweep(page, study.page, dataset, book).__enter__().__exit__(None)

    remember = Study.remember

    def killed(*_: object) -> None:
        raise KilledError

    def killed_with_a_run(book: Study, **facts: str) -> None:
        if "run_id" in facts:
            raise KilledError
        remember(book, **facts)

    with monkeypatch.context() as patch:
        if moment == "before the page is logged":
            patch.setattr("windrow.tracking.parent.log_page", killed)
        else:
            patch.setattr(Study, "remember", killed_with_a_run)
        with pytest.raises(KilledError):
            opened()
    opened()
    client = mlflow.MlflowClient(mlflow_server, mlflow_server)
    (parent,) = client.search_runs([client.get_experiment_by_name(study.name).experiment_id])
    assert parent.info.status == "FINISHED"
    assert parent.data.params["sweep.trials"] == "40"
    assert parent.inputs.dataset_inputs
