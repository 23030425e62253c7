"""Report a scoring run after its commit: copy the table, log its runs to MLflow, and judge what it labelled.

A run may end with an error after its commit: MLflow or the object store is down, or the process is killed. The rows
are right then, but whoever started the run got no result. So the next run, or Airflow's next try, reports them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from windrow.errors import ShortfallError, TrackingError, WindrowError
from windrow.scoring.publish import copy
from windrow.scoring.report import gallery, text
from windrow.scoring.report.result import CommittedRun, Logged, ScoringResult
from windrow.scoring.report.shortfall import shortfall
from windrow.scoring.table.predictions_table import CommitFigures, PredictionTable

if TYPE_CHECKING:
    from windrow.experiment import Experiment, ScoringSection
    from windrow.model.network import Network


class Tracking(Protocol):
    """The part of windrow.tracking that a run needs. A Protocol, because tracking imports this package."""

    def version(self, page: Experiment) -> tuple[str, str] | None:
        """Return name and version of the registered model that labels now; None for a page's own network."""
        ...

    def pin(self, page: Experiment, scratch: Path) -> Network:
        """Return the network that labels the run's images. Its files may be downloaded to `scratch`."""
        ...

    def log_scoring(self, page: Experiment, run: CommittedRun, note: str, gallery: Path, withheld: bool) -> Logged:
        """Log a run, or update it if it is logged already.

        Args:
            page: the experiment page.
            run: the run; if withheld, with the table's version before it.
            note: the description of the run, in Markdown.
            gallery: the path of the run's gallery.
            withheld: whether the run's rows are withheld.

        Raises:
            TrackingError: the run can't be logged.
        """
        ...


def with_earlier(result: ScoringResult, unreported: Sequence[CommitFigures]) -> ScoringResult:
    """Add to a run's result what earlier tries committed and could not report; return the result.

    A run without rows of its own gets the figures of the newest of these tries, because its result is the one that
    the scheduler gets.

    Args:
        result: the run's.
        unreported: figures of the commits, oldest first.
    """
    if not unreported:
        return result
    runs = [CommittedRun.from_json(values) for values in unreported]
    result = replace(result, earlier_rows=sum(run.figures.rows for run in runs))
    if result.figures is not None:
        return result
    last = runs[-1]
    return replace(
        result,
        model_name=last.figures.model_name,
        model_version=last.figures.model_version,
        counts=last.figures.counts,
        figures=last.figures,
        run_id=last.run_id,
    )


def report(
    page: Experiment,
    scoring: ScoringSection,
    result: ScoringResult,
    tracking: Tracking,
    unreported: Sequence[CommitFigures] = (),
) -> ScoringResult:
    """Publish the table, log its runs and judge the labels; if one of them fails, the others are done all the same.

    Args:
        page: the experiment page.
        scoring: the page's section.
        result: the run's, with what `with_earlier` adds.
        tracking: where the runs are logged.
        unreported: figures of earlier tries' commits, oldest first; each is judged like the run's own.

    Raises:
        PublishError, TrackingError: the rows are committed, but not copied, or not logged.
        ShortfallError: too few URLs of the run, or of an earlier try, got a label.
    """
    folder = Path(result.table)
    failed: list[WindrowError] = []
    try:
        result = replace(result, copy=copy.publish(scoring.publish, folder))
    except WindrowError as error:
        failed.append(error)
    try:
        result = replace(result, logged=_log(page, folder, result.run_id, tracking))
    except WindrowError as error:
        failed.append(error)
    if reasons := _shortfalls(result, unreported, scoring):
        failed.append(ShortfallError("; ".join(reasons)))
    if failed:
        raise type(failed[0])("; ".join(map(str, failed)))
    return result


def _shortfalls(result: ScoringResult, unreported: Sequence[CommitFigures], scoring: ScoringSection) -> list[str]:
    """Return what `shortfall` says of the run and of earlier tries, each sentence once."""
    judged = {run.run_id: run.figures for run in map(CommittedRun.from_json, unreported)}
    if result.figures:
        judged[result.run_id] = result.figures
    reasons = (shortfall(figures, scoring.minimum_ok_share, scoring.attempts) for figures in judged.values())
    return list(dict.fromkeys(filter(None, reasons)))


def _log(page: Experiment, folder: Path, run_id: str, tracking: Tracking) -> Logged | None:
    """Log the table's commits that MLflow does not have yet; return the logged run for `run_id`, if any."""
    table, logged = PredictionTable(folder), None
    try:
        for values in table.untold():
            run = CommittedRun.from_json(values)
            pictures = gallery.place(folder, run.run_id)
            answer = tracking.log_scoring(page, run, text.note(run.figures), pictures, withheld=False)
            logged = answer if run.run_id == run_id else logged
    except TrackingError as error:
        raise TrackingError(
            f"predictions are committed to {folder}, but not logged; the next run logs them: {error}"
        ) from error
    table.told()
    gallery.prune(folder)
    return logged
