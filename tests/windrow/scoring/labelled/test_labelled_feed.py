"""A feed with labels: which URLs it gives, with which class, and which are left out."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windrow.errors import DatasetError
from windrow.scoring.labelled.labelled_feed import LabelledFeed, read

URL = "http://example.com/"


def of_csv(folder: Path, *lines: str, column: str = "kind") -> LabelledFeed:
    path = folder / "feed.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read([path], column)


def labels(feed: LabelledFeed) -> dict[str, str]:
    return {each.url.removeprefix(URL): each.label for each in feed.urls}


def test_each_url_counts_once_with_its_label_in_any_spelling(tmp_path: Path) -> None:
    rows = [f"{URL}a,cat", f"{URL}b,dog", f"{URL}a#top,cat", "HTTP://EXAMPLE.com:80/b,dog"]
    rows += [f"{URL}c,dog", f"{URL}d,cat"]
    feed = of_csv(tmp_path, "url,kind", *rows)
    assert labels(feed) == {"a": "cat", "b": "dog", "c": "dog", "d": "cat"}
    assert (feed.classes, feed.left_out, feed.total) == (("cat", "dog"), {}, 4)


def test_what_can_not_be_trained_on_is_left_out_and_says_why(tmp_path: Path) -> None:
    rows = [f"{URL}a,cat", f"{URL}b,dog", f"{URL}a,dog", f"{URL}c,", "ftp://example.com/d,cat", ",dog"]
    rows += [f"{URL}{number},cat" for number in range(6)]
    feed = of_csv(tmp_path, "url,kind", *rows)
    assert feed.left_out == {
        f"{URL}a": "labels that differ: cat, dog",
        f"{URL}c": "no label in kind",
        "ftp://example.com/d": "refused_scheme: only http and https are asked; got ftp:",
        f"{tmp_path / 'feed.csv'}, line 7": "a record must have a url; got none; it gets no row",
    }
    assert (len(feed.urls), feed.total) == (7, 11)


def test_a_record_with_a_label_counts_before_one_without(tmp_path: Path) -> None:
    feed = of_csv(tmp_path, "url,kind", f"{URL}a,", f"{URL}a,cat", *(f"{URL}{name},dog" for name in "bcd"))
    assert labels(feed) == {"a": "cat", "b": "dog", "c": "dog", "d": "dog"}


def test_records_without_a_url_count_beyond_those_that_are_named(tmp_path: Path) -> None:
    rows = [f"{URL}{number},{number % 2}" for number in range(200)]
    feed = of_csv(tmp_path, "url,kind", *rows, *([",1"] * 30))
    assert (len(feed.left_out), feed.unnamed, feed.total) == (20, 10, 230)


def test_classes_are_named_as_folders_of_classes_are(tmp_path: Path) -> None:
    names = ["10", "2", "a\u0301", "a\u0301"]
    feed = of_csv(tmp_path, "url,kind", *(f"{URL}{place},{name}" for place, name in enumerate(names * 2)))
    assert feed.classes == ("2", "10", "\u00e1")


@pytest.mark.parametrize(
    ("name", "problem"), [("ca\u200bt", "a name that can be printed"), ("cat  food", "which look the same")]
)
def test_a_class_that_can_not_be_told_apart_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    rows = [f"{URL}{number},{'cat food' if number % 2 else name}" for number in range(8)]
    with pytest.raises(DatasetError, match=problem):
        of_csv(tmp_path, "url,kind", *rows)


def test_numbers_of_parquet_and_json_are_classes(tmp_path: Path) -> None:
    urls = [f"{URL}{number}" for number in range(6)]
    pq.write_table(pa.table({"url": urls, "kind": [7.0, 8.0, None, 7.0, 8.0, 7.0]}), tmp_path / "a.parquet")
    lines = [json.dumps({"url": f"{URL}j{number}", "kind": value}) for number, value in enumerate([7, 8.0, [7], True])]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    feed = read([tmp_path / "a.parquet", tmp_path / "b.jsonl"], "kind")
    assert feed.classes == ("7", "8", "True")
    assert labels(feed)["j0"] == "7"
    assert sorted(feed.left_out) == [f"{URL}2", f"{URL}j2"]


def test_a_file_that_is_torn_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": [f"{URL}a"] * 9, "kind": ["cat"] * 9}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:4] + b"\0" * 40 + whole[44:])
    with pytest.raises(DatasetError, match="must be readable"):
        read([tmp_path / "a.parquet"], "kind")
