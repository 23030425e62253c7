"""A sweep in MLflow: one parent run, one child run a trial."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.tracking.server import connect, experiment_id, run_link, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.sweep.outcomes import Outcome
    from windrow.sweep.study import Asked, Study
    from windrow.training.parameters import Value

_BATCH_METRICS = 1000  # MLflow's limit a call


def open_sweep(page: Experiment, path: Path, dataset: Manifest, study: Study) -> SweepLog:
    """The parent run of a study: begun, or opened again where the study goes on."""
    client = connect()
    experiment = experiment_id(client, page)
    run_id = study.identity.get("run_id")
    if run_id is None or not _alive(client, run_id):
        tags = {
            "mlflow.runName": f"sweep {page.name} {study.id[:6]}",
            "windrow.kind": "sweep",
            "windrow.study": study.id,
            "windrow.seed": str(page.sweep.seed),
            "windrow.dataset.digest": dataset.digest,
            **versions(),
        }
        run_id = client.create_run(experiment, tags=tags).info.run_id
        study.remember(run_id=run_id, experiment_id=experiment)
        _log_page(client, run_id, page, path)
        _log_dataset(client, run_id, dataset)
    else:
        _forget_cut_off(client, experiment, run_id)
    return SweepLog(client, experiment, run_id, page, dataset)


def _alive(client: MlflowClient, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


def _forget_cut_off(client: MlflowClient, experiment: str, run_id: str) -> None:
    """Delete the child runs that a killed driver left running: their trials are trained again, in runs of their own."""
    query = f"tags.mlflow.parentRunId = '{run_id}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment], query, max_results=1000):
        client.delete_run(run.info.run_id)


def _log_page(client: MlflowClient, run_id: str, page: Experiment, path: Path) -> None:
    """The search as parameters, the page's file and the page as it was after overrides as artifacts."""
    from mlflow.entities import Param

    values = {f"sweep.{key}": value for key, value in page.sweep.model_dump(exclude_none=True).items()}
    values |= {"network.builder": page.network.builder, "dataset.source": page.dataset.source}
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in values.items()])
    client.log_artifact(run_id, str(path))
    client.log_dict(run_id, page.model_dump(mode="json"), "page-with-overrides.yaml")


def _log_dataset(client: MlflowClient, run_id: str, dataset: Manifest) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow's own column for a digest takes 36 characters; the whole of it is a tag.
    entity = Dataset(
        name=dataset.name,
        digest=dataset.digest[:32],
        source_type="local",
        source=json.dumps({"source": dataset.source}),
        schema=json.dumps({"shape": list(dataset.shape), "labels": len(dataset.labels)}),
        profile=json.dumps(dataset.splits),
    )
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


class SweepLog:
    """A sweep's parent run and one child run a trial; parameters and metrics have the same names in every child."""

    def __init__(self, client: MlflowClient, experiment: str, run_id: str, page: Experiment, dataset: Manifest) -> None:
        self.client = client
        self.experiment = experiment
        self.run_id = run_id
        self._page = page
        self._dataset = dataset

    def begin_trial(self, study: Study, asked: Asked, parameters: Mapping[str, Value], seed: int) -> str:
        """A child run for an attempt; its id. One that a cut-off attempt left is deleted: a trial has one run."""
        from mlflow.entities import Param

        run = self.client.create_run(
            self.experiment,
            tags={
                "mlflow.runName": f"trial {asked.number}",
                "mlflow.parentRunId": self.run_id,
                "windrow.kind": "trial",
                "windrow.study": study.id,
                "windrow.trial": str(asked.number),
                "windrow.attempt": str(asked.attempt),
                "windrow.seed": str(seed),
                "windrow.dataset.digest": self._dataset.digest,
            },
        )
        before = study.note_run(asked, run.info.run_id)
        if before is not None:
            self.client.delete_run(before)
        params = [Param(name, str(value)) for name, value in sorted(parameters.items())]
        self.client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def end_trial(self, run_id: str, outcome: Outcome) -> None:
        """Metrics of every epoch, the ending, and what went wrong."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, number)
            for number, epoch in enumerate(outcome.epochs, start=1)
            for name, value in epoch.metrics().items()
        ]
        figures = {"trial_seconds": outcome.seconds, "tensorflow_import_seconds": outcome.import_seconds}
        metrics += [Metric(name, value, now, 0) for name, value in figures.items()]
        for start in range(0, len(metrics), _BATCH_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + _BATCH_METRICS])
        tags = {
            "windrow.ending": outcome.ending.value,
            "windrow.worker": outcome.worker,
            "windrow.error": outcome.error,
        }
        self.client.log_batch(run_id, tags=[RunTag(key, value[:4000]) for key, value in tags.items() if value])
        self.client.set_terminated(run_id, "FINISHED" if outcome.value is not None else "FAILED")

    def summarize(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The sweep's figures on the parent run; gives back its id and its link."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        figures = {f"trials_{ending}": count for ending, count in result["outcomes"].items()}
        figures |= {"trials": result["trials"], "sweep_seconds": result["seconds"]}
        figures[f"best_{result['objective']}"] = result["best_value"]
        metrics = [Metric(name, float(value), now, 0) for name, value in figures.items()]
        tags = [RunTag("windrow.best_trial", str(result["best_trial"]))]
        self.client.log_batch(self.run_id, metrics=metrics, tags=tags)
        return {"run_id": self.run_id, "links": run_link(self.experiment, self.run_id)}

    def __enter__(self) -> SweepLog:
        self.client.update_run(self.run_id, status="RUNNING")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A sweep that was stopped must not look as if it were running."""
        self.client.set_terminated(self.run_id, "FINISHED" if kind is None else "FAILED")
