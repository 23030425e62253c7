"""The figures of a scoring run: a few KiB of JSON, stored in the table's commit, in the job's result and in MLflow.

    figures = Figures.from_json(commit["figures"])
    commit["figures"] = figures.to_json()

Commits of earlier versions of Windrow lack the fields that were added later; those are then empty or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from windrow.model.precision_loss import PrecisionLoss
from windrow.scoring.fetch.status import Status
from windrow.scoring.report.feed_figures import FeedFigures

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STAGES = ("fetch", "decode", "predict")
"""The stages that a URL goes through. The table has a column STAGE_ms for each."""

Json = Mapping[str, Any]
"""An object as the json module reads it."""

Part = TypeVar("Part", bound="DataclassInstance")


@dataclass(frozen=True)
class UrlCounts:
    """Counts of the URLs that a run found, by what it does with them.

    Attributes:
        files_read: files of the feed with something new.
        urls: URLs in the new parts of these files: the sum of new, already_scored and left.
        new: URLs of the feed that get their first row.
        already_scored: URLs of the feed that had a row in the table.
        left: new URLs beyond the run's limit; the next run takes them.
        retried: URLs of the table that were due again.
        rescored: URLs whose newest label was of another model or version, and that this run labels again.
        reopened: those of `retried` that a changed key of the page, or a person, made due before their time.
        records: lines and records in these parts, blank lines excepted: the sum of urls, copies and without_url.
        copies: records whose URL another record in these parts has as well.
        without_url: records without a URL, or that can't be read; they get no row.
    """

    files_read: int = 0
    urls: int = 0
    new: int = 0
    already_scored: int = 0
    left: int = 0
    retried: int = 0
    rescored: int = 0
    reopened: int = 0
    records: int = 0
    copies: int = 0
    without_url: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the counts by name; of those that older commits lack, only the ones that are not 0."""
        return {name: value for name, value in asdict(self).items() if value or name not in _ADDED}

    @property
    def to_do(self) -> int:
        """The number of URLs that get a row in this run."""
        return self.new + self.retried + self.rescored


@dataclass(frozen=True)
class Milliseconds:
    """Milliseconds per URL in a stage: mean, median and 95th percentile of the rows that have a time; None if none."""

    mean: float | None = None
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class HostFailures:
    """A host with failures: `failed` of its `asked` URLs failed, most often with `status`."""

    host: str
    failed: int
    asked: int
    status: str


@dataclass(frozen=True)
class Agreement:
    """The comparison of a run's labels with those of earlier models.

    Attributes:
        compared: URLs that an earlier model had labelled.
        agree: the share of the compared URLs that keep their label; None if no URL was compared.
    """

    compared: int
    agree: float | None


@dataclass(frozen=True)
class Drift:
    """The distance of a run from earlier ones; see drift.py.

    Attributes:
        labels, scores: the PSI of the labels and of the scores' ten bins, to four digits; None if not compared.
        runs, images: the number of earlier runs in the comparison, and of their labelled images.
        moved: the label whose share has moved most, and its share before and now.
        reason: why the run was not compared; empty if it was.
    """

    labels: float | None = None
    scores: float | None = None
    runs: int = 0
    images: int = 0
    moved: tuple[str, float, float] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Truth:
    """A run's labels against the true classes in a column of its feed.

    Attributes:
        column: the column's name.
        images: labelled images whose true class is one of the network's; all figures but the unknown ones are of these.
        right: number of these images whose label is the true class.
        low, high: the 95 % interval of the accuracy, both 0 to 1; None without images.
        baseline: the accuracy of guessing the most frequent true class; None without images.
        macro_f1: mean F1 score (harmonic mean of precision and recall) of the true classes; None without images.
        unknown: labelled images with a true class that the network does not have.
        unknown_names: the most frequent of the classes that the network does not have.
    """

    column: str
    images: int = 0
    right: int = 0
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    macro_f1: float | None = None
    unknown: int = 0
    unknown_names: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float | None:
        """Return the share of the images whose label is right, 0 to 1; None without images."""
        return round(self.right / self.images, 4) if self.images else None


@dataclass(frozen=True)
class Figures:
    """The figures of a scoring run.

    Attributes:
        rows: number of rows that the run made.
        statuses: rows by status, most frequent first.
        ok_share: share of the rows that have a label; None without rows.
        images_per_second, urls_per_second: labelled images, and rows of any status, per second of wall clock.
        times: milliseconds by stage (STAGES).
        slots: tasks that Spark could run at once.
        ceiling_images_per_second, share_of_ceiling: see measurement.ceiling; None if the network computed no image.
        scores: labelled images by score, in ten bins of equal width from 0 to 1; empty in commits without histograms.
        labels: labelled images by label, for the most frequent labels; `other_labels` counts all other images.
        hosts: the hosts with the most failures, worst first.
        agreement: how the labels agree with those of earlier models; None unless the run has rescored.
        counts: the URLs that the run found.
        precision: what the network lost at a lower precision; None if it was not converted.
        drift: None in commits of versions of Windrow that did not compare runs.
        drift_accepted: whether a person has accepted the rows although they moved beyond the gate.
        first_tries: number of URLs by status, of those that were tried for the first time, or again because a key
            changed; empty in commits that lack it.
        held_back_by: the page's key that accounts for at least half of the run's time; empty without one.
        other_versions: number of URLs whose newest label is of another version, by version; None in commits that
            lack it. Older commits have `earlier_labels` instead, which left out the URLs that the model itself had
            labelled before.
        truth: None unless the page names a column with true classes.
        feed: the pattern of the feed's files; empty in commits that lack it.
        started_at, ended_at: Unix times in seconds at which the run began, and its rows were ready to be committed;
            None in commits that lack them.
        feed_faults: the files that were refused, and the records without a URL.
    """

    rows: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    ok_share: float | None = None
    images_per_second: float | None = None
    urls_per_second: float | None = None
    times: Mapping[str, Milliseconds] = field(default_factory=lambda: dict.fromkeys(STAGES, Milliseconds()))
    slots: int | None = None
    ceiling_images_per_second: float | None = None
    share_of_ceiling: float | None = None
    scores: tuple[int, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    other_labels: int = 0
    hosts: tuple[HostFailures, ...] = ()
    agreement: Agreement | None = None
    counts: UrlCounts = field(default_factory=UrlCounts)
    model_name: str = ""
    model_version: str = ""
    precision: PrecisionLoss | None = None
    drift: Drift | None = None
    drift_accepted: bool = False
    first_tries: Mapping[str, int] = field(default_factory=dict)
    held_back_by: str = ""
    other_versions: Mapping[str, int] | None = None
    truth: Truth | None = None
    feed: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    feed_faults: FeedFigures = field(default_factory=FeedFigures)

    @property
    def ok(self) -> int:
        """The number of labelled images."""
        return self.statuses.get(Status.OK, 0)

    def to_json(self) -> dict[str, object]:
        """Return the figures as a flat JSON object. Only the counts by value, hosts, precision and drift are nested."""
        drift = self.drift
        return {
            **{name: getattr(self, name) for name in _BEFORE_TIMES},
            **{f"{kind}_{stage}_ms": value for stage in STAGES for kind, value in asdict(self.times[stage]).items()},
            **{name: getattr(self, name) for name in _AFTER_TIMES},
            "scores": list(self.scores),
            "labels": dict(self.labels),
            "other_labels": self.other_labels,
            "hosts": [asdict(host) for host in self.hosts],
            **(asdict(self.agreement) if self.agreement else {}),
            **self.counts.to_json(),
            "model_name": self.model_name,
            "model_version": self.model_version,
            "precision": asdict(self.precision) if self.precision else None,
            **(_drift_to_json(drift) if drift else {}),
            **({"drift_accepted": True} if self.drift_accepted else {}),
            **{name: value for name in _LATER if (value := getattr(self, name)) not in ({}, "", None)},
            **({"other_versions": dict(self.other_versions)} if self.other_versions is not None else {}),
            **(_truth_to_json(self.truth) if self.truth else {}),
            **self.feed_faults.to_json(),
        }

    @classmethod
    def from_json(cls, values: Json) -> Figures:
        """Read the figures of a commit, a result or a withheld run. Unknown keys, as of later versions, are ignored."""
        plain = {name: values[name] for name in _PLAIN if name in values}
        times = {stage: Milliseconds(*(values.get(f"{kind}_{stage}_ms") for kind in _KINDS)) for stage in STAGES}
        return cls(
            **plain,
            times=times,
            scores=tuple(values.get("scores", ())),
            hosts=tuple(_read(HostFailures, host) for host in values.get("hosts", ())),
            agreement=_read(Agreement, values) if "compared" in values else None,
            counts=_read(UrlCounts, values),
            precision=_read(PrecisionLoss, values["precision"]) if values.get("precision") else None,
            drift=_drift_from_json(values) if "drift" in values else None,
            truth=_truth_from_json(values["truth"]) if values.get("truth") else None,
            feed_faults=FeedFigures.from_json(values),
        )


_BEFORE_TIMES = ("rows", "statuses", "ok_share", "images_per_second", "urls_per_second")
_AFTER_TIMES = ("slots", "ceiling_images_per_second", "share_of_ceiling")
_AS_THEY_ARE = ("labels", "other_labels", "model_name", "model_version", "drift_accepted")
_LATER = ("first_tries", "held_back_by", "feed", "started_at", "ended_at")
_PLAIN = (*_BEFORE_TIMES, *_AFTER_TIMES, *_AS_THEY_ARE, *_LATER, "other_versions")
_ADDED = ("records", "copies", "without_url")
_KINDS = tuple(each.name for each in fields(Milliseconds))


def _read(record: type[Part], values: Json) -> Part:
    return record(**{each.name: values[each.name] for each in fields(record) if each.name in values})


def _drift_to_json(drift: Drift) -> dict[str, object]:
    values = asdict(drift) | {"moved": list(drift.moved) if drift.moved else None}
    return {"psi_labels": values.pop("labels"), "psi_scores": values.pop("scores"), "drift": values}


def _drift_from_json(values: Json) -> Drift:
    moved = values["drift"].get("moved")
    found = {**values["drift"], "moved": tuple(moved) if moved else None}
    return _read(Drift, found | {"labels": values.get("psi_labels"), "scores": values.get("psi_scores")})


def _truth_to_json(truth: Truth) -> dict[str, object]:
    """Return accuracy and macro_f1 at the top, where people look for them, and all figures under `truth`."""
    values = asdict(truth) | {"unknown_names": list(truth.unknown_names)}
    return {"accuracy": truth.accuracy, "macro_f1": truth.macro_f1, "truth": values}


def _truth_from_json(values: Json) -> Truth:
    return _read(Truth, {**values, "unknown_names": tuple(values.get("unknown_names", ()))})
