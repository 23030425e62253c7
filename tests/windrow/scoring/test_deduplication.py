"""The same bytes behind another URL are computed once in a task."""

from __future__ import annotations

from typing import Any

from windrow.scoring.deduplication import Twins


def row(url: str, content_hash: str, **columns: Any) -> dict[str, Any]:
    return {"url": url, "content_hash": content_hash, "status": "ok", "fetch_ms": 1.0, **columns}


def test_a_twin_of_a_labelled_row_has_its_labels_and_its_own_url_and_download() -> None:
    twins = Twins()
    assert not twins.waits(row("a", "1"))
    computed = {"label": "cat", "score": 0.5, "width": 8, "decode_ms": 2.0, "predict_ms": 3.0}
    assert list(twins.ended(row("a", "1", **computed))) == [row("a", "1", **computed)]
    found = twins.of(row("b", "1", fetch_ms=9.0))
    assert found is not None
    assert (found["url"], found["label"], found["score"], found["width"]) == ("b", "cat", 0.5, 8)
    assert found["fetch_ms"] == 9.0
    assert "decode_ms" not in found
    assert "predict_ms" not in found


def test_twins_of_a_row_that_waits_come_with_it_whatever_became_of_it() -> None:
    twins = Twins()
    assert not twins.waits(row("a", "1"))
    assert twins.waits(row("b", "1"))
    assert twins.waits(row("c", "1"))
    assert not twins.waits(row("d", "2"))
    ended = list(twins.ended(row("a", "1") | {"status": "broken_image", "error": "cut off"}))
    assert [(each["url"], each["status"], each["error"]) for each in ended] == [
        (url, "broken_image", "cut off") for url in "abc"
    ]
    assert twins.of(row("d", "2")) is None


def test_the_one_that_was_not_asked_for_longest_is_forgotten() -> None:
    twins = Twins(largest=2)
    for content_hash in "12":
        list(twins.ended(row("a", content_hash)))
    assert twins.of(row("b", "1")) is not None
    list(twins.ended(row("a", "3")))
    assert twins.of(row("c", "2")) is None
    assert twins.of(row("c", "1")) is not None
