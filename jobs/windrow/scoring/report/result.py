"""The result of a scoring run, as the job returns it and as MLflow receives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TypedDict

from windrow.scoring.fetch.status import Status
from windrow.scoring.publish.copy import PublishedCopy
from windrow.scoring.report.feed_figures import FeedFigures
from windrow.scoring.report.figures import Figures, Json, UrlCounts


class Logged(TypedDict):
    """A scoring run in MLflow: the id of its MLflow run, and links to pages by name, empty if MLflow has no pages."""

    run_id: str
    links: dict[str, str]


@dataclass(frozen=True)
class CommittedRun:
    """A scoring run with the folder of its table, and the table's version after the run's commit.

    For a withheld run, which has no commit, `version` is the version that the table had before the run.
    """

    run_id: str
    table: str
    version: int
    figures: Figures

    def to_json(self) -> dict[str, object]:
        """Return the figures, the table, its version and the run's id as JSON values, at one level."""
        return {**self.figures.to_json(), "table": self.table, "table_version": self.version, "scoring": self.run_id}

    @classmethod
    def from_json(cls, values: Json) -> CommittedRun:
        """Read a run from `to_json`, or from PredictionTable.untold."""
        return cls(values["scoring"], values["table"], values["table_version"], Figures.from_json(values))


@dataclass(frozen=True)
class ScoringResult:
    """The result of the job.

    Attributes:
        table, table_version: the table's folder, and its version at the end.
        files: number of files in the feed.
        model_name, model_version: the model that labelled; the version is None if no model was needed.
        counts: the URLs that the run found.
        figures: the run's figures; None if the run added no row.
        run_id: the id of the run that made the rows, as in the table's columns and commit; "" if the run added no row.
        dry_run: whether the URLs were only counted.
        copy: the table's copy in an object store, if there is one.
        logged: the run in MLflow; None if the run added no row.
        earlier_rows: rows that earlier tries committed and could not report. If the run itself added none, its figures
            are those of the newest such try.
        feed_faults: the files of the feed that were refused, and the records without a URL.
        earlier_labels: URLs whose newest label is of another version, by version; None if that was not looked up.
    """

    table: str
    table_version: int
    files: int
    model_name: str
    model_version: str | None = None
    counts: UrlCounts = field(default_factory=UrlCounts)
    figures: Figures | None = None
    run_id: str = ""
    dry_run: bool = False
    copy: PublishedCopy | None = None
    logged: Logged | None = None
    earlier_rows: int = 0
    earlier_labels: Mapping[str, int] | None = None
    feed_faults: FeedFigures = field(default_factory=FeedFigures)

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON values, with the figures and the counts at its top level."""
        figures = self.figures.to_json() if self.figures else {"rows": 0, "statuses": {}, "images_per_second": None}
        figures.pop("other_versions", None)  # the result has it as earlier_labels
        statuses = self.figures.statuses if self.figures else {}
        keys = {name: list(found) for name in statuses if (found := Status(name).deciding_keys)}
        return {
            "table": self.table,
            "files": self.files,
            **figures,
            **asdict(self.counts),
            "files_refused": 0,
            **self.feed_faults.to_json(),
            "deciding_keys": keys,
            "earlier_labels": self.earlier_labels,
            **({"earlier_rows": self.earlier_rows} if self.earlier_rows else {}),
            "model_name": self.model_name,
            "model_version": self.model_version,
            "table_version": self.table_version,
            **({"scoring": self.run_id} if self.run_id else {}),
            **({"dry_run": True} if self.dry_run else (self.logged or {"links": {}})),
            **(self.copy or {}),
        }
