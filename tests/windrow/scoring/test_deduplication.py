"""The same bytes behind another URL are computed once in a task."""

from __future__ import annotations

from typing import Any

from harness.predictions import row_of
from windrow.scoring.deduplication import Duplicates
from windrow.scoring.table.prediction import Prediction


def row(name: str, content_hash: str, status: str = "ok", **columns: Any) -> Prediction:
    return row_of(f"http://a.example/{name}", status, content_hash=content_hash, **{"fetch_ms": 1.0, **columns})


def test_a_duplicate_of_a_labelled_row_has_its_labels_and_its_own_url_and_download() -> None:
    duplicates = Duplicates()
    assert not duplicates.waits(row("a", "1"))
    computed = {"label": "cat", "score": 0.5, "width": 8, "decode_ms": 2.0, "predict_ms": 3.0}
    assert list(duplicates.finished(row("a", "1", **computed))) == [row("a", "1", **computed)]
    found = duplicates.find(row("b", "1", fetch_ms=9.0))
    assert found is not None
    assert (found.url, found.label, found.score, found.width) == ("http://a.example/b", "cat", 0.5, 8)
    assert found.fetch_ms == 9.0
    assert found.decode_ms is None
    assert found.predict_ms is None


def test_duplicates_of_a_row_that_waits_come_with_it_whatever_became_of_it() -> None:
    duplicates = Duplicates()
    assert not duplicates.waits(row("a", "1"))
    assert duplicates.waits(row("b", "1"))
    assert duplicates.waits(row("c", "1"))
    assert not duplicates.waits(row("d", "2"))
    finished = list(duplicates.finished(row("a", "1", "broken_image", error="cut off")))
    assert [(each.url[-1], each.status, each.error) for each in finished] == [
        (url, "broken_image", "cut off") for url in "abc"
    ]
    assert duplicates.find(row("d", "2")) is None


def test_the_one_that_was_not_asked_for_longest_is_forgotten() -> None:
    duplicates = Duplicates(largest=2)
    for content_hash in "12":
        list(duplicates.finished(row("a", content_hash)))
    assert duplicates.find(row("b", "1")) is not None
    list(duplicates.finished(row("a", "3")))
    assert duplicates.find(row("c", "2")) is None
    assert duplicates.find(row("c", "1")) is not None
