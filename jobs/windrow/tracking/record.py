"""Read from MLflow everything that is needed to retrain a registered version, without files of the working tree."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow import experiment
from windrow.data import features
from windrow.errors import UserError
from windrow.experiment import Experiment, FineTuneSection
from windrow.experiment.parameters import Value
from windrow.selection.finalists import Final
from windrow.selection.reproduction import Record
from windrow.sweep.sampling.champion_point import ChampionRecord
from windrow.tracking import registry
from windrow.tracking.models import resolve
from windrow.tracking.server import connect, versions
from windrow.training import networks
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

PAGE_FILE = "page-with-overrides.yaml"
PARAMETERS_TAG = "windrow.parameters"
REVISION_TAG = "windrow.networks.revision"
"""The tag of a version with its networks.revision; versions from before the tag have revision 1."""
BACKBONE_TAG = "windrow.backbone.digest"
"""The tag of a version with the digest of its backbone; versions without a backbone, and older ones, do not have it."""
FINE_TUNE_TAG = "windrow.fine_tune"
"""The tag of a version with how it was trained further after its head, as JSON; others do not have it."""

FOLD_TAG = "windrow.fold"
"""The tag with the fold that the network was validated on; older versions, which do not have it, have fold 1."""

TRAIN_ON_TAG = "windrow.train_on"
"""The tag with the page's promotion.train_on; versions without a backbone, and older ones, do not have it."""

_TAGS = ("windrow.trial", "windrow.seed", "windrow.dataset.digest", "windrow.weights", "windrow.test_accuracy")


def read_record(model: str, version: str) -> Record:
    """Read all that is needed to retrain a version, and return it.

    Raises:
        UserError: there is no such model or version, Windrow did not register it, or its record is incomplete.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    found = resolve(client, f"models:/{model}/{version}")
    tags = dict(found.tags)
    if missing := [tag for tag in _TAGS if tag not in tags]:
        raise _incomplete(found, f"no tag {missing[0]}")
    sweep = client.get_run(found.run_id)
    page = _page(client, found, sweep)
    return Record(
        model=model,
        version=str(found.version),
        page=page,
        builder=_builder(client, found, page),
        parameters=_parameters(client, found, sweep),
        trial=int(tags["windrow.trial"]),
        seed=int(tags["windrow.seed"]),
        dataset_digest=tags["windrow.dataset.digest"],
        weights=tags["windrow.weights"],
        test_accuracy=float(tags["windrow.test_accuracy"]),
        fold=int(tags.get(FOLD_TAG, "1")),
        backbone_digest=tags.get(BACKBONE_TAG),
        packages=_changed(tags, networks.revision(page)),
        fine_tune=FineTuneSection.model_validate_json(tags[FINE_TUNE_TAG]) if FINE_TUNE_TAG in tags else None,
    )


def read_champion(client: MlflowClient, model: str) -> ChampionRecord | None:
    """Read what a model's champion was made of; None if there is none, or, with a printed reason, no whole record."""
    from mlflow.exceptions import MlflowException

    version = registry.aliased(client, model, "champion")
    if version is None:
        return None
    try:
        record = read_record(model, str(version.version))
    except (UserError, MlflowException, OSError) as error:  # the last two: its run or a file was deleted
        print(f"the champion's point is not tried: {error}", file=sys.stderr)
        return None
    return ChampionRecord(model, record.version, record.builder.name, record.parameters)


def backbone_tags(page: Experiment, folder: Path) -> dict[str, str]:
    """Return what a version records of a page with a backbone, whose features are in the data set's folder; or {}."""
    if page.network.backbone is None:
        return {}
    return {BACKBONE_TAG: features.read_for(page, folder).backbone.digest, TRAIN_ON_TAG: page.promotion.train_on}


def fine_tune_tags(final: Final) -> dict[str, str]:
    """Return the tag for a version that was fine-tuned; else none."""
    tuned = final.fine_tuned
    return {FINE_TUNE_TAG: tuned.section.model_dump_json()} if tuned is not None and tuned.is_chosen else {}


def _page(client: MlflowClient, version: ModelVersion, sweep: Run) -> Experiment:
    """Read the page after overrides, with the data set's source from the run.

    The source on the page may be a path relative to the folder in which the sweep was started.
    """
    page = experiment.parse(_text(client, version, PAGE_FILE), name=f"the recorded page of {version.name}")
    if not sweep.inputs.dataset_inputs:
        raise _incomplete(version, "no data set among its sweep's inputs")
    source = json.loads(sweep.inputs.dataset_inputs[0].dataset.source)["source"]
    trained = page.promotion.model_copy(update={"train_on": version.tags.get(TRAIN_ON_TAG, "train")})
    return page.model_copy(update={"dataset": page.dataset.model_copy(update={"source": source}), "promotion": trained})


def _builder(client: MlflowClient, version: ModelVersion, page: Experiment) -> Builder:
    if page.network.function is None:
        return Builder(page.network.builder)
    file, function = page.network.function
    return Builder(page.network.builder, _text(client, version, Path(file).name), function)


def _parameters(client: MlflowClient, version: ModelVersion, sweep: Run) -> dict[str, Value]:
    """Read the hyper-parameters from JSON: MLflow's own parameters are text, which does not distinguish 1 from "1"."""
    trial = version.tags["windrow.trial"]
    mine = f"tags.mlflow.parentRunId = '{sweep.info.run_id}' and tags.windrow.trial = '{trial}'"
    runs = client.search_runs([sweep.info.experiment_id], f"{mine} and tags.windrow.kind = 'trial'")
    if not runs or PARAMETERS_TAG not in runs[0].data.tags:
        raise _incomplete(version, f"no run of trial {trial} with its {PARAMETERS_TAG}")
    parameters: dict[str, Value] = json.loads(runs[0].data.tags[PARAMETERS_TAG])
    return parameters


def _text(client: MlflowClient, version: ModelVersion, name: str) -> str:
    import mlflow

    if name not in {file.path for file in client.list_artifacts(version.run_id)}:
        raise _incomplete(version, f"no artifact {name} on its sweep's run")
    text: str = mlflow.artifacts.load_text(f"runs:/{version.run_id}/{name}")
    return text


def _changed(tags: Mapping[str, str], revision: int) -> dict[str, tuple[str, str]]:
    prefix = "windrow.version."
    now = {key: value for key, value in versions().items() if key.startswith(prefix)}
    changed = {
        key.removeprefix(prefix): (tags[key], value) for key, value in now.items() if key in tags and tags[key] != value
    }
    if (then := tags.get(REVISION_TAG, "1")) != str(revision):
        changed["built-in networks"] = (f"revision {then}", f"revision {revision}")
    return changed


def _incomplete(version: Any, what: str) -> UserError:
    return UserError(
        f"a version must have its whole record to be trained again; {version.name} version {version.version} has "
        f"{what}; take one that this Windrow's promote_best.py registered, or restore what was deleted in MLflow"
    )
