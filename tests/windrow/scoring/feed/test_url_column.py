"""The column with the URLs is `url` in any capitals, in every format, where one column alone has that name."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windrow.scoring.feed.url_column import url_column

from .test_formats import A, B, extras


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["id", "url"], "url"),
        (["URL", "url", "Url"], "url"),
        (["Url", "id"], "Url"),
        (["id", "\u200burl\xa0"], "\u200burl\xa0"),
        ([" URL\t", "image_url"], " URL\t"),
        (["URL", "Url"], None),
        (["url", " url"], None),
        (["image_url", "urls", "uri", ""], None),
        ([], None),
    ],
)
def test_url_itself_counts_first_and_other_capitals_only_if_they_are_alone(
    names: list[str], wanted: str | None
) -> None:
    assert url_column(names) == wanted


@pytest.mark.parametrize("name", ["URL", "Url", "uRL", " URL"])
def test_a_column_in_other_capitals_is_read_in_every_format(tmp_path: Path, name: str) -> None:
    rows = [{"id": "1", name: A}, {"id": "2", name: B}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text(f"id;{name}\n1;{A}\n2;{B}\n")
    (tmp_path / "b.csv").write_text(f'"id","{name}"\n"1","{A}"\n"id","{name}"\n"2","{B}"\n')
    for path in sorted(tmp_path.iterdir()):
        assert extras(path) == {A: {"id": "1"}, B: {"id": "2"}}, path.name
    (tmp_path / "one.txt").write_text(f"{name}\n{A}\n{B}\n")
    assert extras(tmp_path / "one.txt") == {A: None, B: None}
