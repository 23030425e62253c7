"""A prediction: the row that one URL gets. The fields of the class Prediction define the schema of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from windrow.scoring.fetch.request import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.network.pixels import DecodedImage
from windrow.scoring.table.deciding import NO_KEYS, DecidingKeys


class RankedLabel(TypedDict):
    """One of the best labels of an image. It is a dictionary, because Arrow makes nested columns from dictionaries."""

    rank: int  # from 1
    label_id: int
    label: str
    score: float


_RANKED = pa.struct([("rank", pa.int32()), ("label_id", pa.int32()), ("label", pa.string()), ("score", pa.float32())])

# A field's Python type, and the type of its column.
_Text = Annotated[str, pa.string()]
_Status = Annotated[Status, pa.string()]
_Integer = Annotated[int, pa.int32()]
_Score = Annotated[float, pa.float32()]
_Milliseconds = Annotated[float, pa.float64()]
_Time = Annotated[datetime, pa.timestamp("us", tz="UTC")]
_Ranking = Annotated[tuple[RankedLabel, ...], pa.list_(_RANKED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row of the predictions table. Each field is a column; None becomes null.

    The pipeline builds a row in steps: `of` after the download, then `with_image` after decoding and `with_labels`
    after the network, which return copies. At the end, `record_batch` sets `scored_at`, `next_attempt` and
    `decided_by`.
    """

    url: _Text  # as written in the feed, shortened, without a password
    url_key: _Text  # SHA-256 of the normalised URL; one row per key and model version
    address: _Text | None = None  # the normalised URL to download; None: same as `url`, or nothing can be downloaded
    final_url: _Text | None = None  # where redirects led
    status: _Status
    http_status: _Integer | None = None
    attempt: _Integer  # runs that tried this URL, this one included
    next_attempt: _Time | None = None  # when a URL with a passing status is due again; None: never
    content_hash: _Text | None = None  # SHA-256 of the bytes
    etag: _Text | None = None  # the ETag header
    width: _Integer | None = None  # pixels, from the file's header
    height: _Integer | None = None
    top_k: _Ranking | None = None  # best first
    label_id: _Integer | None = None
    label: _Text | None = None
    score: _Score | None = None  # probability of `label`, 0 to 1
    fetch_ms: _Milliseconds | None = None  # all tries and redirects
    decode_ms: _Milliseconds | None = None
    predict_ms: _Milliseconds | None = None  # the image's share of its batch; None for a duplicate, like decode_ms
    model_name: _Text
    model_version: _Text
    model_digest: _Text
    run_id: _Text
    dag_run_id: _Text | None = None
    scored_at: _Time | None = None
    error: _Text | None = None  # the reason, if status is not ok
    extra: _Text | None = None  # the feed's other columns as a JSON object
    decided_by: _Text | None = None  # the page's keys that decided the status, with their values, as a JSON object
    usage: _Text | None = None  # the headers on the use of the content, as a JSON object

    @classmethod
    def of(cls, target: Target, fetched: Fetched | None, stamp: Stamp) -> Prediction:
        """Return the row of a URL whose bytes are not decoded yet.

        Args:
            target: the URL; it has a status if it must not be downloaded.
            fetched: the download; None if the URL must not be downloaded.
            stamp: the fields that all rows of the run share.
        """
        ended = fetched or Fetched(Status(target.status or ""), error=target.error)
        return cls(
            url=target.url,
            url_key=target.url_key,
            address=None if target.address == target.url else target.address,
            final_url=ended.final_url,
            status=ended.status,
            http_status=ended.http_status,
            attempt=target.attempt + 1,
            next_attempt=ended.next_attempt,  # what the host asked for
            content_hash=sha256(ended.content).hexdigest() if ended.status is Status.OK else None,
            etag=ended.etag,
            fetch_ms=ended.milliseconds,
            model_name=stamp.model_name,
            model_version=stamp.model_version,
            model_digest=stamp.model_digest,
            run_id=stamp.run_id,
            dag_run_id=stamp.dag_run_id,
            error=ended.error,
            extra=target.extra,
            usage=ended.usage,
        )

    def with_image(self, image: DecodedImage) -> Prediction:
        """Return a copy with the size of the decoded image, or with the reason why decoding failed."""
        return replace(
            self,
            status=image.status,
            error=image.error,
            width=image.width,
            height=image.height,
            decode_ms=image.milliseconds,
        )

    def with_labels(
        self, ids: Sequence[int], scores: Sequence[float], names: Sequence[str], predict_ms: float | None = None
    ) -> Prediction:
        """Return a copy with the network's labels.

        Args:
            ids: the numbers of the best classes, best first.
            scores: the probabilities of these classes.
            names: the names of all classes, by number.
            predict_ms: milliseconds that the network took for the image.
        """
        top: tuple[RankedLabel, ...] = tuple(
            {"rank": rank, "label_id": label_id, "label": names[label_id], "score": score}
            for rank, (label_id, score) in enumerate(zip(ids, scores, strict=True), start=1)
        )
        best = top[0]
        return replace(
            self,
            top_k=top,
            label_id=best["label_id"],
            label=best["label"],
            score=best["score"],
            predict_ms=predict_ms,
        )


def _arrow_type(annotation: Any) -> pa.DataType:
    """Return the column type in `Annotated[T, type]` or `Annotated[T, type] | None`."""
    annotated = next(part for part in (annotation, *get_args(annotation)) if hasattr(part, "__metadata__"))
    return annotated.__metadata__[0]


SCHEMA = pa.schema(
    [(name, _arrow_type(hint)) for name, hint in get_type_hints(Prediction, include_extras=True).items()]
)
"""The table's schema: a column for each field of Prediction, in the same order."""

_LONGEST_PAUSE_HOURS = 168.0


@dataclass(frozen=True)
class Patience:
    """The rule for trying a URL with a passing status again.

    Attributes:
        attempts: the largest number of runs that try a URL.
        hours: the pause before the second attempt. It doubles with each further attempt, up to a week.
    """

    attempts: int
    hours: float

    def next_attempt(
        self, status: Status, attempt: int, now: datetime, wanted: datetime | None = None
    ) -> datetime | None:
        """Return when a URL is due again after attempt number `attempt`, which ended with `status`; None for never.

        `wanted` is the time that the host asked for. If it is later, it counts, but at most a week from now.
        """
        if not status.passing or attempt >= self.attempts:
            return None
        due = now + timedelta(hours=min(self.hours * 2.0 ** (attempt - 1), _LONGEST_PAUSE_HOURS))
        return due if wanted is None else max(due, min(wanted, now + timedelta(hours=_LONGEST_PAUSE_HOURS)))


@dataclass(frozen=True)
class Stamp:
    """The fields that all rows of a run share."""

    run_id: str
    model_name: str
    model_version: str
    model_digest: str
    dag_run_id: str | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """The model's name and version."""
        return self.model_name, self.model_version


def record_batch(rows: Sequence[Prediction], patience: Patience, keys: DecidingKeys = NO_KEYS) -> pa.RecordBatch:
    """Return rows as Arrow columns; `scored_at` is now, and `next_attempt` the time when a URL is due again.

    A final row has no next attempt. Any other URL is due after the pause of `patience`, or later if its host asked for
    a longer pause, but within a week.

    Args:
        rows: the rows.
        patience: the page's.
        keys: the page's values, which `decided_by` takes; without any, no row remembers a key.
    """
    now = datetime.now(UTC)
    due = [patience.next_attempt(row.status, row.attempt, now, row.next_attempt) for row in rows]
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    columns["scored_at"] = [now] * len(rows)
    columns["next_attempt"] = due
    columns["decided_by"] = [keys.decided_by(row.status, at is None) for row, at in zip(rows, due, strict=True)]
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read columns of one of the table's files in batches. A column that an older file lacks is filled with nulls."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    file = pq.ParquetFile(path)
    present = [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=present):
        arrays = [
            batch.column(item.name).cast(item.type) if item.name in present else pa.nulls(batch.num_rows, item.type)
            for item in schema
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
