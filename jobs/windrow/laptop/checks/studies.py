"""Compare the three records of a study: its ledger, Optuna's journal, and its runs in MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import TrackingError, WindrowError
from windrow.laptop import services, stack
from windrow.laptop.checks.finding import Finding
from windrow.paths import home
from windrow.plural import counted

if TYPE_CHECKING:
    from windrow.sweep.audit import SweepRun


def check_studies() -> Iterator[Finding]:
    """Compare the records of each study in WINDROW_HOME/studies, and of the newest study of each train DAG."""
    newest = {path.parents[2]: path for path in sorted(home().glob("runs/*/*/study/study.json"), key=_modified)}
    for path in (*sorted(home().glob("studies/*/study.json")), *(newest[dag] for dag in sorted(newest))):
        yield _compare(path.parent)


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _compare(folder: Path) -> Finding:
    from windrow.sweep import audit, study_folder

    subject = "study " + (
        folder.name if folder.name != "study" else folder.parent.relative_to(home() / "runs").as_posix()
    )
    if study_folder.is_at_work(folder):
        return Finding(subject, "a sweep is running in it; its records are compared when the sweep has ended")
    try:
        books = audit.read_books(folder)
    except WindrowError as error:
        return Finding(subject, "can't be read", str(error))
    sweep_run, agreement = _read_mlflow(books.identity)
    if differing := audit.audit(books, sweep_run):
        more = f" (and {len(differing) - 1:,} more)" if len(differing) > 1 else ""
        return Finding(
            subject, f"its ledger, Optuna's journal and MLflow differ in {len(differing):,}", differing[0] + more
        )
    trials = counted(books.ended, "trial")
    if not books.over:
        trials = f"{books.ended:,} of {counted(books.budget, 'trial')} ended so far"
    return Finding(subject, f"{trials}; {agreement}")


def _read_mlflow(identity: Mapping[str, object]) -> tuple[SweepRun | None, str]:
    """Return a study's MLflow runs, and the text to report if no record differs.

    The runs are None if MLflow can't be reached, or lacks this study's runs.
    """
    from windrow.tracking.runs import read_runs

    two = "ledger and journal agree"
    with _mlflow() as found:
        if not found:
            return None, f"{two}; there are no MLflow runs to compare"
        try:
            sweep_run = read_runs(identity)
        except TrackingError as error:
            return None, f"{two}; MLflow was not compared: {error}"
    return sweep_run, "ledger, journal and MLflow agree" if sweep_run else f"{two}; this MLflow has no run of the study"


@contextmanager
def _mlflow() -> Iterator[bool]:
    """Use the MLflow that the shell names, else the stack's, else the local file; yield whether one of them exists."""
    noted = stack.state().running().get("mlflow")
    if noted is not None and noted.process() is not None and "MLFLOW_TRACKING_URI" not in os.environ:
        os.environ["MLFLOW_TRACKING_URI"] = f"http://{services.LOOPBACK}:{noted.port}"
        try:
            yield True
        finally:
            del os.environ["MLFLOW_TRACKING_URI"]
    else:
        yield "MLFLOW_TRACKING_URI" in os.environ or (home() / "mlflow" / "mlflow.db").is_file()
