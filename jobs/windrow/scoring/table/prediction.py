"""A prediction: the row that a URL gets. The table's schema stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from windrow.scoring.fetch.fetcher import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.network.pixels import Decoded

Row = dict[str, Any]

_TIME = pa.timestamp("us", tz="UTC")
_RANKED = pa.struct([("rank", pa.int32()), ("label_id", pa.int32()), ("label", pa.string()), ("score", pa.float32())])

SCHEMA = pa.schema(
    [
        ("url", pa.string()),  # as written in the feed, shortened, without a password
        ("url_key", pa.string()),  # SHA-256 of the normalised URL: one row each and model version
        ("address", pa.string()),  # the normalised URL, which is what is asked; null: as `url`, or nothing to ask
        ("final_url", pa.string()),  # where redirects led
        ("status", pa.string()),  # see status.py
        ("http_status", pa.int32()),
        ("attempt", pa.int32()),  # runs that asked this URL, this one included
        ("next_attempt", _TIME),  # when a passing status is due again; null: never
        ("content_hash", pa.string()),  # SHA-256 of the bytes
        ("etag", pa.string()),  # the server's own mark of the bytes
        ("width", pa.int32()),  # pixels, by the file's header
        ("height", pa.int32()),
        ("top_k", pa.list_(_RANKED)),  # best first, rank from 1
        ("label_id", pa.int32()),
        ("label", pa.string()),
        ("score", pa.float32()),  # probability of `label`, 0 to 1
        ("fetch_ms", pa.float64()),  # all tries and redirects
        ("decode_ms", pa.float64()),
        ("predict_ms", pa.float64()),  # the image's share of its batch; null with decode_ms: see twins.py
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("model_digest", pa.string()),
        ("run_id", pa.string()),
        ("dag_run_id", pa.string()),
        ("scored_at", _TIME),
        ("error", pa.string()),  # the reason, where status is not ok
        ("extra", pa.string()),  # the feed's other columns as a JSON object
    ]
)

_LONGEST_PAUSE_HOURS = 168.0


@dataclass(frozen=True)
class Patience:
    """How many runs ask a URL whose status is passing, and after how many hours the second one may.

    The pause doubles with each attempt, up to a week.
    """

    attempts: int = 5
    hours: float = 6.0

    def next_attempt(self, status: Status, attempt: int, now: datetime) -> datetime | None:
        """When a URL is due again that ended with `status` at its `attempt`-th try; None: never."""
        if not status.passing or attempt >= self.attempts:
            return None
        return now + timedelta(hours=min(self.hours * 2.0 ** (attempt - 1), _LONGEST_PAUSE_HOURS))


@dataclass(frozen=True)
class Stamp:
    """What all rows of a run share."""

    run_id: str
    model_name: str
    model_version: str
    model_digest: str
    dag_run_id: str | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """The model's name and version."""
        return self.model_name, self.model_version


def row(target: Target, fetched: Fetched | None, stamp: Stamp) -> Row:
    """The row of a URL as far as it got before its bytes are looked at. Absent columns become null.

    Args:
        fetched: None where the URL was not asked.
    """
    values: Row = {
        **vars(stamp),
        "url": target.url,
        "url_key": target.url_key,
        "address": None if target.address == target.url else target.address,
        "status": target.status,
        "error": target.error,
        "attempt": target.attempt + 1,
        "extra": target.extra,
    }
    if fetched is not None:
        values |= {
            "status": fetched.status.value,
            "error": fetched.error,
            "final_url": fetched.final_url,
            "http_status": fetched.http_status,
            "fetch_ms": fetched.milliseconds,
            "etag": fetched.etag,
            "next_attempt": fetched.next_attempt,  # as the host wishes; record_batch() decides
            "content_hash": sha256(fetched.content).hexdigest() if fetched.status is Status.OK else None,
        }
    return values


def of_image(decoded: Decoded) -> Row:
    """The columns of an image, or of why there is none."""
    return {
        "status": decoded.status.value,
        "error": decoded.error,
        "width": decoded.width,
        "height": decoded.height,
        "decode_ms": decoded.milliseconds,
    }


def ranked(ids: list[int], scores: list[float], labels: tuple[str, ...]) -> Row:
    """The columns of an image's labels, best first."""
    top = [
        {"rank": rank, "label_id": label_id, "label": labels[label_id], "score": score}
        for rank, (label_id, score) in enumerate(zip(ids, scores, strict=True), start=1)
    ]
    return {"top_k": top, "label_id": top[0]["label_id"], "label": top[0]["label"], "score": top[0]["score"]}


def record_batch(rows: list[Row], patience: Patience) -> pa.RecordBatch:
    """Rows in the table's schema, stamped with the time now and with when they are due again.

    That is when this run's patience says so, or later where the host has asked for a longer pause, of a week at most.
    """
    now = datetime.now(UTC)
    times = ({"scored_at": now, "next_attempt": _next_attempt(values, patience, now)} for values in rows)
    return pa.RecordBatch.from_pylist([{**row, **time} for row, time in zip(rows, times, strict=True)], schema=SCHEMA)


def _next_attempt(values: Row, patience: Patience, now: datetime) -> datetime | None:
    due = patience.next_attempt(Status(values["status"]), values["attempt"], now)
    wished: datetime | None = values.get("next_attempt")
    if due is None or wished is None:
        return due
    return max(due, min(wished, now + timedelta(hours=_LONGEST_PAUSE_HOURS)))


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Columns of a file of the table, batch by batch; one that is younger than the file is null."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    file = pq.ParquetFile(path)
    present = [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=present):
        arrays = [
            batch.column(item.name).cast(item.type) if item.name in present else pa.nulls(batch.num_rows, item.type)
            for item in schema
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
