"""What is kept of a feed's downloads, whatever ends the run that writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from windrow.scoring.fetch.status import Status
from windrow.scoring.labelled.image_store import ImageStore, Try

FIRST = Try(
    "a" * 64, Status.TIMEOUT, "2026-11-28T07:00:00+00:00", 1, error="late", next_attempt="2026-11-28T13:00:00+00:00"
)
SECOND = replace(FIRST, status=Status.OK, ended="2026-11-28T14:00:00+00:00", attempt=2, content_hash="b" * 64)
OTHER = replace(SECOND, key="c" * 64)


def test_the_newest_try_counts_whatever_file_has_it(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.tries_of(0, 0).write_text(SECOND.to_line() + OTHER.to_line())
    store.tries_of(0, 1).write_text(FIRST.to_line())
    assert store.settle() == {FIRST.key: SECOND, OTHER.key: OTHER}
    assert not list(tmp_path.glob("tries/*"))
    assert store.settle() == {FIRST.key: SECOND, OTHER.key: OTHER}


def test_a_line_that_was_half_written_does_not_count(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    for length in range(len(OTHER.to_line())):
        store.tries_of(0, 0).write_text(SECOND.to_line() + OTHER.to_line()[:length])
        found = store.settle()
        assert set(found) in ({SECOND.key}, {SECOND.key, OTHER.key}), length
        (tmp_path / "index.jsonl").unlink()


def test_gathering_that_was_killed_before_its_end_counts_no_try_twice(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    part = store.tries_of(0, 0)
    part.write_text(SECOND.to_line())
    store.settle()
    part.write_text(SECOND.to_line())  # as if it had not been removed
    assert store.settle() == {SECOND.key: SECOND}
    assert (tmp_path / "index.jsonl").read_text() == SECOND.to_line()


def test_each_feed_has_a_store_of_its_own(tmp_path: Path) -> None:
    assert ImageStore.of_feed(tmp_path, "/feeds/a/*").folder != ImageStore.of_feed(tmp_path, "/feeds/b/*").folder
