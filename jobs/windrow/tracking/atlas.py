"""Log a study's atlas (its report of plots) to MLflow: files under atlas/ of the sweep's parent run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from windrow.errors import StudyError, TrackingError
from windrow.tracking.server import LoggedRun, connect, run_link

FOLDER = "atlas"


def log_atlas(identity: Mapping[str, object], files: Sequence[Path]) -> LoggedRun:
    """Log the files to the study's parent run, and return the run's id and links.

    Files of the same name from an earlier atlas are replaced.

    Args:
        identity: the content of the study's study.json, with the id of its run.
        files: the atlas' files, the HTML page first.

    Raises:
        StudyError: the study has no run, or its run is not in this MLflow.
        TrackingError: MLflow does not answer, or does not accept the files.
    """
    from mlflow.exceptions import MlflowException

    run_id = identity.get("run_id")
    if not isinstance(run_id, str):
        raise StudyError("an atlas needs its sweep's run; the study has no run in MLflow; run sweep.py first")
    client = connect()
    try:
        run = client.get_run(run_id)
        for file in files:
            client.log_artifact(run_id, str(file), FOLDER)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise StudyError(
                f"an atlas needs its sweep's run; {run_id} is not in this MLflow; "
                "set MLFLOW_TRACKING_URI to the sweep's, or run sweep.py again"
            ) from error
        raise TrackingError(f"MLflow must accept the atlas; it answered: {error.message}; draw it again") from error
    links = run_link(run.info.experiment_id, run_id)
    page = {"atlas": f"{links['mlflow_run']}/artifacts/{FOLDER}/{files[0].name}"} if links else {}
    return {"run_id": run_id, "links": {**links, **page}}
