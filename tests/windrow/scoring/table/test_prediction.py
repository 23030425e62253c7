"""The columns of the table are the fields of a prediction; what is written is what the fields say."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from harness.predictions import PATIENCE, STAMP, labelled_row, row_of
from windrow.scoring.fetch.request import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target, understand
from windrow.scoring.network.pixels import DecodedImage
from windrow.scoring.table import prediction
from windrow.scoring.table.deciding import DecidingKeys
from windrow.scoring.table.prediction import Prediction

# Tables of earlier versions and their readers rely on these names, types and this order: add at the end of the class.
COLUMNS = """\
url: string
url_key: string
address: string
final_url: string
status: string
http_status: int32
attempt: int32
next_attempt: timestamp[us, tz=UTC]
content_hash: string
etag: string
width: int32
height: int32
top_k: list<item: struct<rank: int32, label_id: int32, label: string, score: float>>
  child 0, item: struct<rank: int32, label_id: int32, label: string, score: float>
      child 0, rank: int32
      child 1, label_id: int32
      child 2, label: string
      child 3, score: float
label_id: int32
label: string
score: float
fetch_ms: double
decode_ms: double
predict_ms: double
model_name: string
model_version: string
model_digest: string
run_id: string
dag_run_id: string
scored_at: timestamp[us, tz=UTC]
error: string
extra: string
decided_by: string
usage: string"""


def test_the_schema_is_the_fields_and_as_it_always_was() -> None:
    assert prediction.SCHEMA.names == [field.name for field in fields(Prediction)]
    assert str(prediction.SCHEMA) == COLUMNS


def test_a_labelled_row_is_written_column_by_column() -> None:
    target = understand(b"HTTP://a.example/a.png#top")
    assert target is not None
    fetched = Fetched(Status.OK, "http://a.example/b.png", 200, b"bytes", milliseconds=12.5, etag='"v1"', usage="{}")
    image = DecodedImage(Status.OK, 16, 12, milliseconds=1.5)
    row = Prediction.of(target, fetched, STAMP).with_image(image).with_labels([2, 0], [0.75, 0.25], "abc", 3.5)
    before = datetime.now(UTC)
    (values,) = prediction.record_batch([row], PATIENCE).to_pylist()
    assert before <= values.pop("scored_at") <= datetime.now(UTC)
    assert values == {
        **{"url": "HTTP://a.example/a.png#top", "url_key": target.url_key, "address": "http://a.example/a.png"},
        **{"final_url": "http://a.example/b.png", "status": "ok", "http_status": 200, "attempt": 1},
        **{"next_attempt": None, "etag": '"v1"', "width": 16, "height": 12, "label_id": 2, "label": "c", "score": 0.75},
        "content_hash": "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9",
        "top_k": [
            {"rank": 1, "label_id": 2, "label": "c", "score": 0.75},
            {"rank": 2, "label_id": 0, "label": "a", "score": 0.25},
        ],
        **{"fetch_ms": 12.5, "decode_ms": 1.5, "predict_ms": 3.5, "error": None, "extra": None, "dag_run_id": None},
        **{"decided_by": None, "usage": "{}"},
        **{"model_name": "model", "model_version": "1", "model_digest": "digest", "run_id": "run"},
    }


def test_a_row_has_the_pages_keys_that_decided_it_once_it_is_final() -> None:
    keys = DecidingKeys({"max_bytes": 1000, "attempts": 5})
    rows = [row_of("http://a.example/1", "too_large"), row_of("http://a.example/2", "timeout")]
    found = prediction.record_batch([*rows, replace(rows[1], attempt=5)], PATIENCE, keys).column("decided_by")
    assert found.to_pylist() == ['{"scoring.max_bytes":1000}', None, '{"scoring.attempts":5}']


def test_a_url_that_is_not_downloaded_has_the_targets_status_and_reason() -> None:
    row = Prediction.of(Target("x", "k", None, "refused_scheme", "no", extra="{}", attempt=2), None, STAMP)
    assert (row.status, row.error, row.attempt, row.extra) == (Status.REFUSED_SCHEME, "no", 3, "{}")
    assert (row.content_hash, row.http_status, row.fetch_ms) == (None, None, None)


def test_rows_of_different_kinds_share_a_batch() -> None:
    rows = [row_of("http://a.example/1", "timeout"), labelled_row("http://a.example/2", [0], [1.0], "a")]
    batch = prediction.record_batch(rows, PATIENCE)
    assert batch.schema == prediction.SCHEMA
    assert batch.column("top_k").null_count == 1
    assert [due is None for due in batch.column("next_attempt").to_pylist()] == [False, True]


def test_a_target_without_a_status_must_be_downloaded() -> None:
    with pytest.raises(ValueError, match="not a valid Status"):
        Prediction.of(Target("x", "k", "http://a.example/x"), None, STAMP)
