"""Log a promotion to MLflow: finalists' runs, a version with the decision and its evidence, figures of the sweep."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.data import shards
from windrow.errors import StudyError
from windrow.model.network import Network
from windrow.selection import common_images, evidence, hints, metrics, near_copies
from windrow.selection.common_images import Rival, between
from windrow.selection.finalists import Final, is_cross_validated, key_of
from windrow.selection.near_copies import NearCopiesOfTest
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.ranking import leading, preferring
from windrow.selection.readout import Readout
from windrow.selection.rule import Decision
from windrow.selection.tuning import gain
from windrow.sweep.spec import facts_of
from windrow.tracking import registry, version_page
from windrow.tracking.models import fetch_model
from windrow.tracking.network_artifact import log_network
from windrow.tracking.promotions import evaluation
from windrow.tracking.promotions.champion import fetch_champion
from windrow.tracking.promotions.finalist_runs import FinalistRuns
from windrow.tracking.record import FOLD_TAG, REVISION_TAG, backbone_tags, fine_tune_tags
from windrow.tracking.server import connect, evaluation_link, run_link, version_link, versions
from windrow.training import networks

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.sweep.study import StudyRecord


def open_promotion(page: Experiment, dataset: Manifest, study: StudyRecord, finalists: Sequence[int]) -> Promotion:
    """Open the promotion of a study's finalists.

    Args:
        finalists: numbers of the finalists' trials.

    Raises:
        StudyError: the study's study.json names no parent run.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    run_id, experiment = study.identity.get("run_id"), study.identity.get("experiment_id")
    if run_id is None or experiment is None:
        raise StudyError(f"a study must have its run in MLflow; {study.folder} has no run there; run sweep.py again")
    return Promotion(client, page, dataset, study.id, str(run_id), str(experiment), key_of(page, finalists))


class Promotion:
    """The calls to MLflow during a promotion. `key` identifies the finalists, the number of seeds, and fine-tuning."""

    def __init__(
        self,
        client: MlflowClient,
        page: Experiment,
        dataset: Manifest,
        study_id: str,
        run_id: str,
        experiment: str,
        key: str,
    ) -> None:
        self._client, self._page, self._dataset = client, page, dataset
        self._study_id, self._run_id, self._experiment, self._key = study_id, run_id, experiment, key
        tags = {"mlflow.parentRunId": run_id, "windrow.model": page.model_name, "windrow.finalists": key}
        self._runs = FinalistRuns(client, experiment, page, dataset, {**tags, "windrow.study": study_id})

    def alone(self) -> AbstractContextManager[None]:
        """Lock the model during a block, so that one promotion at a time can change it."""
        return registry.alone(self._page.model_name)

    def decided(self) -> PromotionResult | None:
        """Return the recorded result for these finalists; None if this promotion has not been decided before.

        If a promotion was interrupted after its decision, this moves the aliases that had not moved. A result that
        still awaits approval, or whose aliases have not moved, is ignored if the champion has changed since the
        decision. Call this in a block of `alone`.
        """
        for version in self._versions():
            result = registry.recorded(version)
            if result is None or version.tags.get("windrow.finalists") != self._key:
                continue
            waits = result.awaits_approval or not registry.is_settled(version, result)
            if waits and registry.is_stale(self._client, result):
                continue
            result = registry.whole(version, result)
            if not registry.is_settled(version, result):
                registry.settle(self._client, result, version_page.description(result))
            return result
        return None

    def begin(self, final: Final) -> None:
        """Delete what an interrupted promotion has left, and log the finalists' runs."""
        self._forget_undecided()
        self._runs.log(final)

    def rival(self, into: Path, folder: Path) -> Rival | None:
        """Download the current champion's files, and choose the test images that it is compared on.

        Args:
            into: folder for the files.
            folder: the folder of the prepared data set.

        Returns:
            The champion, not read on these images yet; None without a champion.
        """
        champion = fetch_champion(self._client, self._page.model_name, into)
        return None if champion is None else Rival(champion, between(champion, self._dataset, folder))

    def check_champion(self, into: Path, folder: Path) -> None:
        """Fetch and try the champion before the training; print at once why a person will have to decide.

        Args:
            into, folder: as for `rival`.
        """
        rival = self.rival(into, folder)
        if rival is not None and (doubt := rival.common.doubt or rival.common.too_few):
            what = f"version {rival.champion.version}, the champion, {doubt}"
            worse = " or are not better" if rival.common.count and not rival.common.doubt else ""
            print(f"{what}; so a person will be asked, unless the finalists may be guessing{worse}", file=sys.stderr)

    def hints(self, final: Final) -> tuple[str, ...]:
        """Return what may give a better network than the winner's best, by its training before any fine-tuning."""
        return hints.of_training(final.ranked[0].good[0].outcome.epochs, self._page, self._dataset)

    def register(self, final: Final, folder: Path, into: Path) -> Network:
        """Register the winner's best network; return the new version, downloaded from the registry into a folder.

        Args:
            folder: the folder of the prepared data set.
        """
        import mlflow

        registry.ensure_model(self._client, self._page.model_name, self._page.description)
        winner, best = final.winner, final.winner.good[0]
        example = shards.load_split(folder, "validation", winner.fit)[0][:1]
        parameters = facts_of(self._page, winner.trial.number, winner.trial.point).parameters
        source, weights = log_network(
            self._run_id,
            self._page.name,
            best.network,
            self._dataset,
            example,
            winner.trial.number,
            parameters,
            common_images.seen_in(folder),
            winner.fit,
        )
        tags = {
            "windrow.study": self._study_id,
            "windrow.finalists": self._key,
            "windrow.trial": str(winner.trial.number),
            "windrow.seed": str(best.seed),
            FOLD_TAG: str(best.fold),
            "windrow.weights": weights,
            "windrow.dataset.digest": self._dataset.digest,
            **backbone_tags(self._page, folder),
            **fine_tune_tags(final),
            REVISION_TAG: str(networks.revision(self._page)),
            f"windrow.{self._page.sweep.objective}": f"{winner.value:.6f}",
            **{key: value for key, value in versions().items() if not key.startswith("airflow")},
        }
        version = mlflow.register_model(source, self._page.model_name, tags=tags)
        return fetch_model(f"models:/{version.name}/{version.version}", into)

    def conclude(
        self,
        challenger: Network,
        rival: Rival | None,
        final: Final,
        figures: Mapping[str, Readout],
        decision: Decision,
        folder: Path,
    ) -> PromotionResult:
        """Record the decision with its evidence, move the aliases accordingly, and return the job's result.

        Args:
            challenger: the winner's registered version.
            rival: the current champion with its predictions; None without a champion.
            figures: predictions on the test split, by name as for `evidence.rows`.
            folder: the folder of the prepared data set, for pictures of misclassified test images, and near copies.
        """
        near = near_copies.find(self._page, folder, self._dataset)
        rows = evidence.rows(final, figures, rival, near.chosen)
        version = self._client.get_model_version(challenger.name, challenger.version)
        model_id = registry.logged_model(version) or ""
        warnings: list[str] = []
        drawn = self._runs.log_test(final, figures, rows, folder, warnings)
        result = replace(self._result(challenger, rival, final, rows, decision, near, model_id), warnings=warnings)
        read, labels = figures[evidence.CHALLENGER], self._dataset.labels
        evaluation.log_files(self._client, model_id, read, labels, drawn, result)
        self._log_figures(result, read, final, model_id)
        accuracy = f"{result.test_accuracy:.6f}"
        self._client.set_model_version_tag(challenger.name, challenger.version, "windrow.test_accuracy", accuracy)
        registry.record(self._client, result)
        registry.settle(self._client, result, version_page.description(result))
        return result

    def _result(
        self,
        challenger: Network,
        rival: Rival | None,
        final: Final,
        rows: Sequence[evidence.Row],
        decision: Decision,
        near: NearCopiesOfTest,
        model_id: str,
    ) -> PromotionResult:
        winner, read, champion = final.winner, rows[0].readout, rival.champion if rival else None
        figures = {row.name: row.values() for row in rows}
        compared = figures.get(evidence.CHAMPION)
        advice, measured = self.hints(final), metrics.figures(read, self._dataset.labels)
        cross_validated = is_cross_validated(self._page)
        again = evidence.TRAINED_AGAIN if cross_validated else ""
        decided = leading.text(final.lead), preferring.text(final.preference), gain.text(final, rows)
        further = "\n\n".join(filter(None, [again, *decided]))
        return PromotionResult(
            model_name=challenger.name,
            model_version=challenger.version,
            model_digest=challenger.digest,
            decision=decision.ruling,
            promoted=decision.promoted,
            reason=decision.reason,
            approval="" if decision.ruling == "awaiting_approval" else None,
            trial=winner.trial.number,
            point=winner.trial.point,
            objective=self._page.sweep.objective,
            value=winner.value,
            seeds=len(winner.good),
            test_accuracy=read.accuracy,
            test_loss=read.loss,
            test_images=read.images,
            baseline=read.baseline,
            champion_before=champion.version if champion else None,
            champion_test_accuracy=compared["test_accuracy"] if compared else None,
            compared_images=rival.common.count if rival else None,
            champion_recorded_accuracy=champion.accuracy if champion else None,
            champion_recorded_images=champion.images if champion else None,
            figures=figures,
            near_copies=near.figures(),
            metrics=measured,
            hints=advice,
            cross_validated=cross_validated,
            lead=leading.figures(final.lead),
            preference=preferring.figures(final.preference),
            fine_tuning=gain.figures(final),
            evidence=evidence.text(rows, rival, advice, near.warnings_text(self._dataset), measured, further),
            links=run_link(self._experiment, self._run_id)
            | version_link(challenger.name, challenger.version)
            | evaluation_link(self._experiment, model_id),
        )

    def _versions(self) -> list[Any]:
        """Return this study's versions of the model, newest first, each read again because a search may omit tags."""
        found = self._client.search_model_versions(f"name = '{self._page.model_name}'")
        mine = sorted((v for v in found if v.run_id == self._run_id), key=lambda v: -int(v.version))
        return [self._client.get_model_version(version.name, version.version) for version in mine]

    def _forget_undecided(self) -> None:
        """Delete this study's versions without a decision, or with one that did not promote and was never carried out.

        An interrupted promotion leaves such versions. A version whose decision was to promote it stays, because it may
        already have become champion; so does any version with the alias champion or previous.
        """
        for version in self._versions():
            result = registry.recorded(version)
            undecided = result is None or not (result.promoted or registry.is_settled(version, result))
            if undecided and not {"champion", "previous"} & set(version.aliases):
                self._client.delete_model_version(version.name, version.version)

    def _log_figures(self, result: PromotionResult, read: Readout, final: Final, model_id: str) -> None:
        from mlflow.entities import RunTag

        now = int(time.time() * 1000)
        figures = evaluation.figures_of(read, result.metrics)
        evaluation.log_figures(self._client, self._run_id, figures, model_id, self._dataset, now)
        tags = [RunTag("windrow.decision", result.reason), RunTag("windrow.model_version", result.model_version)]
        self._client.log_batch(self._run_id, tags=tags)
        rows = [
            {"trial": f.trial.number, "point": f.trial.point, "value": f.value, "values": list(f.values)}
            for f in final.ranked
        ]
        self._client.log_dict(self._run_id, {"objective": result.objective, "finalists": rows}, "finalists.json")
        self._client.log_text(self._run_id, f"{result.evidence}\n", "evidence.md")
