"""Summarize the demo with figures from Airflow's results, MLflow's registry and the predictions table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from windrow.dag_ids import LAPTOP_UNPAUSE, paused
from windrow.errors import ServiceError
from windrow.plural import counted

OK = "ok"


@dataclass(frozen=True)
class TableRow:
    """The columns of a row of the predictions table that the summary needs."""

    url: str
    status: str
    label: str | None
    model_version: str | None
    scored_at: datetime


@dataclass(frozen=True)
class Champion:
    """The registry's champion; its test accuracy is None unless a promotion recorded it."""

    version: str
    test_accuracy: float | None = None


@dataclass(frozen=True)
class Labels:
    """Counts of the feed's URLs and their labels.

    Attributes:
        urls: URLs in the feed.
        rows: rows for the feed's URLs in the table; of each URL, only rows of its newest model version are counted.
        labelled: URLs with a label.
        reachable: URLs that show an image whose label is known.
        correct: reachable URLs that were labelled with their true label.
        missing: URLs without a row.
        statuses: URLs by status.
    """

    urls: int
    rows: int
    labelled: int
    reachable: int
    correct: int
    missing: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def share_correct(self) -> float:
        """Return the share of reachable URLs that got their true label; 0 without reachable URLs."""
        return self.correct / self.reachable if self.reachable else 0.0

    def figures(self) -> dict[str, object]:
        """Return all counts for the summary's file, with the share of correct labels and the problem, if any."""
        return {**asdict(self), "share_correct": self.share_correct, "problem": self.problem()}

    def problem(self) -> str | None:
        """Return what is wrong with the table; None if it has exactly one row per URL."""
        if self.missing or self.rows != self.urls:
            repeated = self.rows - (self.urls - self.missing)
            found = f"{counted(self.missing, 'URL')} without, {counted(repeated, 'row')} too many"
            return f"the table must have exactly one row per URL; got {found}"
        return None


def judge(rows: Iterable[TableRow], truth: Mapping[str, str], broken: Iterable[str]) -> Labels:
    """Compare the table's rows with the true labels, and return the counts; rows of URLs outside the demo are ignored.

    A URL has one row per model version: the row of the newest version counts.

    Args:
        rows: all rows of the table.
        truth: reachable URL → label.
        broken: the feed's other URLs.
    """
    feed = {*truth, *broken}
    mine = sorted((row for row in rows if row.url in feed), key=lambda row: row.scored_at)
    newest = {row.url: row for row in mine}
    current = sum(row.model_version == newest[row.url].model_version for row in mine)
    labels = {url: row.label for url, row in newest.items() if row.status == OK}
    correct = sum(labels.get(url) == label for url, label in truth.items())
    statuses = Counter(row.status for row in newest.values())
    missing = len(feed) - len(newest)
    return Labels(len(feed), current, len(labels), len(truth), correct, missing, dict(statuses.most_common()))


def read_table(table: str) -> list[TableRow]:
    """Return all rows of the predictions table.

    Raises:
        ServiceError: the table does not exist, or has other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    columns = [column.name for column in fields(TableRow)]
    try:
        # Read file by file: after a read with Arrow's dataset, the process sometimes aborted when it exited.
        names = pa.table(DeltaTable(table).get_add_actions())["path"].to_pylist()
        files = [pq.ParquetFile(Path(table, name)).read(columns) for name in names]
        return [TableRow(**row) for rows in files for row in rows.to_pylist()]
    except (DeltaError, OSError, TypeError, ValueError) as error:
        raise ServiceError(f"{table} must be a table with columns {', '.join(columns)}; got {error}") from error


def read_champion(mlflow: str, model: str) -> Champion | None:
    """Return the champion in the registry of the server at `mlflow`; None without a champion.

    Raises:
        ServiceError: MLflow does not answer.
    """
    address = f"{mlflow}/api/2.0/mlflow/registered-models/alias"
    try:
        answer = requests.get(address, params={"name": model, "alias": "champion"}, timeout=30)
    except requests.RequestException as error:
        raise ServiceError(f"MLflow must answer at {mlflow}; got {type(error).__name__}; run make doctor") from error
    if answer.ok:
        version = answer.json()["model_version"]
        tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
        accuracy = tags.get("windrow.test_accuracy")
        return Champion(str(version["version"]), float(accuracy) if accuracy else None)
    if answer.status_code in (requests.codes.not_found, requests.codes.bad_request):
        return None
    raise ServiceError(
        f"MLflow must return the champion of {model}; got {answer.status_code} from {mlflow}; run make doctor"
    )


def figures(
    sweep: Mapping[str, object], promotion: Mapping[str, object], champion: Champion, labels: Labels | None
) -> dict[str, object]:
    """Return the summary's values, for a file that other programs can read."""
    values: dict[str, object] = {
        "trials": sweep.get("trials"),
        "outcomes": sweep.get("outcomes", {}),
        "objective": sweep.get("objective", "val_accuracy"),
        "best_value": sweep.get("best_value"),
        "test_accuracy": promotion.get("test_accuracy"),
        "promoted": promotion.get("promoted"),
        "reason": promotion.get("reason"),
        "champion_version": champion.version,
        "champion_test_accuracy": champion.test_accuracy,
        "links": addresses(sweep, promotion),
    }
    return values | (labels.figures() if labels else {})


def lines(values: Mapping[str, Any], unpause: str = LAPTOP_UNPAUSE) -> list[str]:
    """Return the summary for the terminal, one fact per line.

    Args:
        values: the result of `figures`, with what the demo adds.
        unpause: the command that switches on a DAG; see dag_ids.
    """
    accuracy = number(values["champion_test_accuracy"])
    facts = [
        ("trials", f"{values['trials']} ({counts(values['outcomes'])})"),
        (f"best {values['objective']}", number(values["best_value"])),
        ("test accuracy", f"{number(values['test_accuracy'])} ({values['reason']})"),
        ("champion", f"version {values['champion_version']}, test accuracy {accuracy}"),
    ]
    if "urls" in values:
        share = f"{values['share_correct']:.1%} ({values['correct']} of {values['reachable']} with an image)"
        facts += [
            ("URLs", f"{values['urls']}, rows {values['rows']}, labelled {values['labelled']}"),
            ("statuses", counts(values["statuses"])),
            ("share correct", share),
        ]
    if values.get("paused"):
        facts.append(("DAGs", paused(values["paused"], unpause)))
    return [f"  {name:18} {value}" for name, value in facts]


def addresses(sweep: Mapping[str, Any], promotion: Mapping[str, Any]) -> dict[str, str]:
    """Return name → address of the sweep's and the version's pages in MLflow, as far as the results have them."""
    pages = {"the sweep": (sweep, "mlflow_run"), "the version": (promotion, "model_version")}
    return {name: found for name, (result, link) in pages.items() if (found := result.get("links", {}).get(link))}


def links(values: Mapping[str, Any], otherwise: str) -> list[str]:
    """Return lines with the addresses of the sweep's and the version's pages in MLflow; `otherwise` without any."""
    found = [f"{address}  {name}" for name, address in values["links"].items()]
    return [f"  {'' if place else 'MLflow':8} {line}" for place, line in enumerate(found or [otherwise])]


def counts(by_name: Mapping[str, int]) -> str:
    """Return counts as text, such as "359 ok, 2 http_error"; "none" without any."""
    return ", ".join(f"{count} {name}" for name, count in by_name.items()) or "none"


def number(value: float | None) -> str:
    """Return a metric with four decimals; "unknown" without one."""
    return "unknown" if value is None else f"{value:.4f}"
