"""Log finalists to MLflow: one run per finalist and seed, a child of the sweep's run, tagged windrow.kind=finalist."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.data import shards
from windrow.selection import evidence, pictures
from windrow.selection.finalists import Final, Finalist, Repeat
from windrow.selection.readout import Readout
from windrow.sweep.outcomes import RULES, best_figure
from windrow.sweep.spec import facts_of
from windrow.tracking.server import epoch_metrics, metrics_at

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment

_BATCH_METRICS = 1000  # MLflow's limit per call


class FinalistRuns:
    """The finalists' runs of one promotion. All have `tags`, by which runs of an interrupted promotion are found."""

    def __init__(
        self, client: MlflowClient, experiment: str, page: Experiment, dataset: Manifest, tags: Mapping[str, str]
    ) -> None:
        self._client, self._experiment = client, experiment
        self._page, self._dataset = page, dataset
        self._tags = {**tags, "windrow.kind": "finalist", "windrow.dataset.digest": dataset.digest}
        self._runs: dict[tuple[str, int], str] = {}

    def log(self, final: Final) -> None:
        """Delete the runs that an interrupted promotion has left, and log one run, with all epochs, per repeat."""
        query = " and ".join(f"tags.{key} = '{value}'" for key, value in self._tags.items())
        for run in self._client.search_runs([self._experiment], query, max_results=5000):
            self._client.delete_run(run.info.run_id)
        for finalist in final.trained:
            for repeat in finalist.repeats:
                self._runs[finalist.name, repeat.number] = self._log(finalist, repeat, {})
        if (tuned := final.fine_tuned) is not None:
            settings = {f"fine_tune.{name}": str(value) for name, value in tuned.section}
            for repeat in tuned.finalist.repeats:
                self._runs[tuned.finalist.name, repeat.number] = self._log(tuned.finalist, repeat, settings)

    def log_test(
        self,
        final: Final,
        figures: Mapping[str, Readout],
        rows: Sequence[evidence.Row],
        folder: Path,
        warnings: list[str],
    ) -> dict[str, bytes]:
        """Log test figures and pictures to the finalists' runs; return the challenger's pictures, PNG files by name.

        A picture that can't be drawn is a warning, on standard error and in `warnings`.

        Args:
            figures: predictions on the test split, by name as for `evidence.rows`.
            folder: the folder of the prepared data set; each picture shows images as the network read them.
        """
        for key, read in evidence.by_repeat(final, figures).items():
            metrics = {"test_accuracy": read.accuracy, "test_loss": read.loss, "test_errors": read.errors}
            self._client.log_batch(self._runs[key], metrics=metrics_at(0, metrics))
        pictured, drawn = {evidence.CHALLENGER: final.winner, "default": final.default}, {}
        for row in rows:
            if (finalist := pictured.get(row.name)) is not None:
                images = shards.load_split(folder, "test", finalist.fit)[0]
                drawn[row.name] = pictures.draw(row.readout, images, self._dataset.labels, warnings.append)
                self._log_files(finalist, finalist.good[0], drawn[row.name])
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return drawn[evidence.CHALLENGER]

    def _log_files(self, finalist: Finalist, repeat: Repeat, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self._client.log_artifacts(self._runs[finalist.name, repeat.number], folder)

    def _log(self, finalist: Finalist, repeat: Repeat, settings: Mapping[str, str]) -> str:
        """Log a repeat as a run, with its hyper-parameters and further settings; return the run's id."""
        from mlflow.entities import Param

        outcome, number = repeat.outcome, finalist.trial.number
        tags = {
            **self._tags,
            "mlflow.runName": f"{finalist.name.replace('trial', 'finalist')}, seed {repeat.number}",
            "windrow.trial": str(number),
            "windrow.repeat": str(repeat.number),
            "windrow.seed": str(repeat.seed),
            "windrow.ending": outcome.ending.value,
            **({"windrow.fine_tuned": "true"} if finalist.is_fine_tuned else {}),
            **({"windrow.error": outcome.error[:4000]} if outcome.error else {}),
        }
        run_id = str(self._client.create_run(self._experiment, tags=tags).info.run_id)
        # At once, so that a promotion that is killed meanwhile leaves no run that MLflow shows as running forever.
        self._client.set_terminated(run_id, RULES[outcome.ending].status)
        parameters = facts_of(self._page, number, finalist.trial.point).parameters
        params = [Param(name, str(value)) for name, value in sorted({**parameters, **settings}.items())]
        metrics = epoch_metrics(1, outcome.epochs)
        metrics += metrics_at(0, {"trial_seconds": outcome.seconds} | best_figure(outcome, self._page.sweep))
        self._client.log_batch(run_id, params=params)
        for start in range(0, len(metrics), _BATCH_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH_METRICS])
        return run_id
