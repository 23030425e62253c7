"""Import MLflow's functions for a scoring run on first use, because a run without work needs no MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.experiment import Experiment
    from windrow.model.network import Network
    from windrow.scoring.report.result import CommittedRun, Logged


class MLflow:
    """MLflow as a scoring run sees it. The version that labels is looked up once, so it is the same for a whole run."""

    def __init__(self) -> None:
        self._version: tuple[str, str] | None = None

    def version(self, page: Experiment) -> tuple[str, str] | None:
        """Return name and version of the model that labels; None for a page's own network before it is pinned."""
        from windrow.tracking import models

        self._version = self._version or models.current(page)
        return self._version

    def pin(self, page: Experiment, scratch: Path) -> Network:
        """Return the network that labels the images, with its files."""
        from windrow.tracking import models

        network = models.pin(page, scratch, self._version)
        self._version = network.identity
        return network

    def log_scoring(self, page: Experiment, run: CommittedRun, note: str, gallery: Path, withheld: bool) -> Logged:
        """Log a scoring run to MLflow, or update its log; return the id of its MLflow run, and links."""
        from windrow.tracking import scoring_runs

        return scoring_runs.log_scoring(page, run, note, gallery, withheld)
