"""A promotion in MLflow: a version with its decision, the aliases, and the figures on the sweep's parent run.

Aliases: champion is what scoring uses; previous is the champion before it; challenger is the newest version that lost.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.errors import StudyError
from windrow.selection.finalists import Finalist, point_text
from windrow.selection.readout import Readout
from windrow.selection.rule import Decision
from windrow.tracking.models import PinnedModel, fetch_model
from windrow.tracking.server import connect, run_link, version_link, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.sweep.study import StudyRecord


def open_promotion(page: Experiment, dataset: Manifest, study: StudyRecord) -> Promotion:
    """Speak about a study's promotion.

    Raises:
        StudyError: the study has no parent run in this MLflow.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    run_id, experiment = study.identity.get("run_id"), study.identity.get("experiment_id")
    if run_id is None or experiment is None:
        raise StudyError(f"a study must have its run in MLflow; {study.folder} has none; run sweep.py again")
    return Promotion(client, page, dataset, study.id, str(run_id), str(experiment))


class Promotion:
    """What is asked of, and told to, MLflow while a challenger is judged."""

    def __init__(
        self, client: MlflowClient, page: Experiment, dataset: Manifest, study_id: str, run_id: str, experiment: str
    ) -> None:
        self._client = client
        self._page = page
        self._dataset = dataset
        self._study_id = study_id
        self._run_id = run_id
        self._experiment = experiment

    def decided(self, finalists: Sequence[int]) -> dict[str, Any] | None:
        """The recorded result for these finalists, if this promotion has been concluded before."""
        key = self._key(finalists)
        for version in self._versions():
            if version.tags.get("windrow.finalists") == key and "windrow.result" in version.tags:
                recorded: dict[str, Any] = json.loads(version.tags["windrow.result"])
                return recorded
        return None

    def champion(self, into: Path) -> PinnedModel | None:
        """The current champion's files; None if there is no champion."""
        from mlflow.exceptions import MlflowException

        try:
            version = self._client.get_model_version_by_alias(self._page.model_name, "champion")
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return fetch_model(f"models:/{self._page.model_name}/{version.version}", into)

    def incomparable(self, champion: PinnedModel | None) -> str:
        """Why the champion's accuracy on this test split would mean nothing; empty if it can be compared."""
        if champion is None:
            return ""
        if champion.shape != self._dataset.shape or champion.labels != self._dataset.labels:
            return f"is made for {champion.shape} images of {len(champion.labels)} labels"
        if champion.tags.get("windrow.dataset.digest") != self._dataset.digest:
            return "was trained on another data set or split, which may hold these test images"
        return ""

    def register(self, winner: Finalist, into: Path) -> PinnedModel:
        """Log and register a finalist's network; the version's files, downloaded again from the registry."""
        self._forget_undecided()
        self._ensure_model()
        source, weights = self._log_network(winner)
        tags = {
            "windrow.study": self._study_id,
            "windrow.trial": str(winner.trial.number),
            "windrow.seed": str(winner.seed),
            "windrow.weights": weights,
            "windrow.dataset.digest": self._dataset.digest,
            f"windrow.{self._page.sweep.objective}": f"{winner.value:.6f}",
            **{key: value for key, value in versions().items() if not key.startswith("airflow")},
        }
        import mlflow

        version = mlflow.register_model(source, self._page.model_name, tags=tags)
        return fetch_model(f"models:/{version.name}/{version.version}", into)

    def conclude(
        self,
        challenger: PinnedModel,
        champion: PinnedModel | None,
        finalists: Sequence[Finalist],
        figures: Mapping[str, Readout],
        decision: Decision,
    ) -> dict[str, Any]:
        """Record the decision on the version and the parent run, and move the aliases; the job's result."""
        name, version = challenger.name, challenger.version
        winner = finalists[0]
        result = {
            "model_name": name,
            "model_version": version,
            "model_digest": challenger.digest,
            "promoted": decision.promoted,
            "reason": decision.reason,
            "trial": winner.trial.number,
            "point": winner.trial.point,
            "objective": self._page.sweep.objective,
            self._page.sweep.objective: winner.value,
            "test_accuracy": figures["challenger"].accuracy,
            "test_loss": figures["challenger"].loss,
            "test_images": figures["challenger"].images,
            "champion_before": champion.version if champion else None,
            "champion_test_accuracy": figures["champion"].accuracy if "champion" in figures else None,
            "links": {**run_link(self._experiment, self._run_id), **version_link(name, version)},
        }
        self._log_figures(result, finalists)
        self._client.update_model_version(name, version, description=_description(result, winner))
        self._move_aliases(version, champion, decision)
        tags = {
            "windrow.test_accuracy": f"{result['test_accuracy']:.6f}",
            "windrow.decision": decision.reason,
            "windrow.finalists": self._key([finalist.trial.number for finalist in finalists]),
            # Last: its presence says that all the others are there.
            "windrow.result": json.dumps(result),
        }
        for key, value in tags.items():
            self._client.set_model_version_tag(name, version, key, value)
        return result

    def _key(self, finalists: Sequence[int]) -> str:
        return f"{','.join(map(str, sorted(finalists)))} over {self._page.promotion.seeds} seeds"

    def _versions(self) -> list[Any]:
        """This study's versions of the model. Tags are read one by one: a search may leave them out."""
        found = self._client.search_model_versions(f"name = '{self._page.model_name}'")
        mine = [version for version in found if version.run_id == self._run_id]
        return [self._client.get_model_version(version.name, version.version) for version in mine]

    def _forget_undecided(self) -> None:
        """A promotion that was cut off leaves a version without a decision; nobody can use it."""
        for version in self._versions():
            if "windrow.result" not in version.tags and "champion" not in version.aliases:
                self._client.delete_model_version(version.name, version.version)

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self._page.model_name, description=self._page.description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log_network(self, winner: Finalist) -> tuple[str, str]:
        """Log the network with signature, requirements and what scoring must know; its address, its weights' digest."""
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the driver only saves the network
        import mlflow
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        from windrow.training.runtime import from_bytes, import_tensorflow, weights_digest

        import_tensorflow(threads=1)

        shape = list(self._dataset.shape)
        packages = ("tensorflow", "keras", "numpy")
        network = from_bytes(winner.network)
        with mlflow.start_run(run_id=self._run_id):
            logged = mlflow.tensorflow.log_model(
                network,
                name="network",
                signature=ModelSignature(
                    Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]),
                    Schema([TensorSpec(np.dtype(np.float32), (-1, len(self._dataset.labels)))]),
                ),
                # Without these MLflow loads the model again in a process of its own to guess them.
                pip_requirements=[f"{package}=={metadata.version(package)}" for package in packages],
                metadata={
                    "windrow": {"shape": shape, "labels": list(self._dataset.labels), "trial": winner.trial.number}
                },
            )
        return str(logged.model_uri), weights_digest(network)

    def _log_figures(self, result: Mapping[str, Any], finalists: Sequence[Finalist]) -> None:
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        figures = {"test_accuracy": result["test_accuracy"], "test_loss": result["test_loss"]}
        metrics = [Metric(key, float(value), now, 0) for key, value in figures.items()]
        tags = [RunTag("windrow.decision", result["reason"]), RunTag("windrow.model_version", result["model_version"])]
        self._client.log_batch(self._run_id, metrics=metrics, tags=tags)
        rows = [
            {"trial": f.trial.number, "point": f.trial.point, "value": f.value, "values": list(f.values)}
            for f in finalists
        ]
        self._client.log_dict(self._run_id, {"objective": result["objective"], "finalists": rows}, "finalists.json")

    def _move_aliases(self, version: str, champion: PinnedModel | None, decision: Decision) -> None:
        name = self._page.model_name
        if not decision.promoted:
            self._client.set_registered_model_alias(name, "challenger", version)
            return
        if champion is not None and champion.version != version:
            self._client.set_registered_model_alias(name, "previous", champion.version)
        self._client.set_registered_model_alias(name, "champion", version)


def _description(result: Mapping[str, Any], winner: Finalist) -> str:
    """What a person reads on the version's page."""
    return (
        f"{result['reason']}.\n\n"
        f"Trial {winner.trial.number}: {point_text(winner.trial.point)}. "
        f"{result['objective']} {winner.value:.4f} over {len(winner.values)} seed(s); "
        f"test accuracy {result['test_accuracy']:.4f} on {result['test_images']} images, read once.\n\n"
        "Input: float32 images (n, height, width, channels) in 0..255. Output: probabilities."
    )
