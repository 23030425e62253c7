"""The feed: which files, and that Spark reads any bytes in them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from harness.documents import text_of
from windrow.errors import UserError, WindrowError
from windrow.scoring.feed import feed_marks, known_keys, new_urls
from windrow.scoring.fetch import urls


def test_a_glob_finds_files_in_the_folder_given(tmp_path: Path) -> None:
    folder = tmp_path / "ho[m]e"
    for name in ("deep/er", ".day", "deep/_half"):
        (folder / name).mkdir(parents=True)
    hidden = (".hidden.txt", "_aside.txt", ".day/f.txt", "deep/_half/g.txt", "Thumbs.db", "x.txt.part")
    for name in ("b.txt", "a.txt", "c.csv", *hidden, "deep/d.txt", "deep/er/e.txt"):
        (folder / name).touch()
    assert [path.name for path in new_urls.files("*", folder)] == ["a.txt", "b.txt", "c.csv"]
    assert [path.name for path in new_urls.files("*.txt", folder)] == ["a.txt", "b.txt"]
    assert [path.name for path in new_urls.files("**/*.txt", folder)] == ["a.txt", "b.txt", "d.txt", "e.txt"]
    assert [path.name for path in new_urls.files("*/*.txt", folder)] == ["d.txt"]
    assert [path.name for path in new_urls.files("deep/*", folder)] == ["d.txt"]
    assert [path.name for path in new_urls.files(".day/*", folder)] == ["f.txt"]
    assert [path.name for path in new_urls.files(f"{tmp_path}/ho*/c.*", Path("/"))] == ["c.csv"]


def test_a_name_that_looks_like_a_glob_is_found_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "urls[1].txt").touch()
    assert new_urls.files(str(tmp_path / "urls[1].txt"), Path("/")) == [tmp_path / "urls[1].txt"]


@pytest.mark.parametrize("pattern", ["*.txt", "absent/*.txt", "sub", "**x", "/absent/*", "_*.txt"])
def test_a_glob_without_files_is_an_error_with_a_cure(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "_aside.txt").touch()
    with pytest.raises(UserError, match=r"feed must.*"):
        new_urls.files(pattern, tmp_path)


def test_a_pattern_with_a_date_is_of_one_day_or_of_all() -> None:
    assert new_urls.of_day("feeds/{date}/a-{date}.txt", date(2026, 11, 5)) == "feeds/2026-11-05/a-2026-11-05.txt"
    assert new_urls.of_day("feeds/{date}/*.txt", None) == "feeds/*/*.txt"
    assert new_urls.of_day("feeds/*.txt", None) == "feeds/*.txt"


def test_a_day_that_the_pattern_has_no_place_for_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"needs \{date\} in the feed; got --date 2026-11-05 and 'feeds/\*\.txt'; write"
    ):
        new_urls.of_day("feeds/*.txt", date(2026, 11, 5))


def test_a_folder_is_all_the_files_in_it(tmp_path: Path) -> None:
    for name in ("b.csv", "a.txt", ".hidden.txt", "_aside.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    assert [path.name for path in new_urls.files(str(tmp_path), Path("/"))] == ["a.txt", "b.csv"]


def read(spark: Any, files: list[Path], scratch: Path, known_urls: tuple[str, ...] = ()) -> list[Any]:
    keys = [target.url_key for url in known_urls if (target := urls.understand(url.encode()))]
    sorted_keys = np.sort(known_keys.of_hex(pa.array(keys, pa.string())))
    pieces = feed_marks.news(files, {})[0]
    found, here = new_urls.read(spark, pieces, sorted_keys, scratch), new_urls.read_here(pieces, sorted_keys)
    found.check()
    rows: list[Any] = sorted(found.rows.collect(), key=lambda row: row.url_key)
    assert here.rows.to_pylist() == [row.asDict() for row in rows]
    assert replace(here, rows=None) == replace(found, rows=None)
    assert (found.new, found.known) == (len(rows), len(known_urls))
    return rows


@pytest.mark.spark
def test_any_bytes_in_a_feed_become_one_row_a_url(spark: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a {b}*[c] d"
    folder.mkdir()
    lines = [
        b"\xef\xbb\xbfhttp://example.com/first",
        b"",
        b"   ",
        b"http://example.com/crlf\r",
        b"http://example.com/twice",
        b"http://example.com/twice",
        b"HTTP://EXAMPLE.com:80/twice#again",
        b"http://example.com/caf\xe9",
        b"\xff\xfe\x00\x01",
        b",".join(b"column %d" % number for number in range(10_000)),
        b"http://example.com/" + b"x" * 3_000_000 + b"1",
        b"http://example.com/" + b"x" * 3_000_000 + b"2",
        b"http://example.com/last",
    ]
    (folder / "one[1].txt").write_bytes(b"\n".join(lines))
    (folder / "two.txt").write_bytes(b"http://example.com/twice\nhttp://example.com/old mac\rhttp://example.com/other")
    rows = read(spark, new_urls.files("*.txt", folder), tmp_path)
    assert len({row.url_key for row in rows}) == len(rows)
    assert sorted(row.address for row in rows if row.address) == [
        "http://example.com/caf%E9",
        "http://example.com/crlf",
        "http://example.com/first",
        "http://example.com/last",
        "http://example.com/old%20mac",
        "http://example.com/other",
        "http://example.com/twice",
    ]
    refused = [row for row in rows if row.address is None]
    assert len(refused) == 4
    assert {row.status for row in refused} == {"invalid_url"}
    assert max(len(row.url) for row in refused) == urls.SHOWN_CHARACTERS


def test_an_empty_feed_has_no_urls(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert feed_marks.news([tmp_path / "empty.txt"], {})[0] == []


def test_a_few_lines_are_the_drivers_to_read(tmp_path: Path) -> None:
    (tmp_path / "feed.txt").write_text("http://example.com/\n")
    assert new_urls.are_few(feed_marks.news([tmp_path / "feed.txt"], {})[0])
    (tmp_path / "feed.txt").write_text("http://example.com/\n" * 200_000)
    assert not new_urls.are_few(feed_marks.news([tmp_path / "feed.txt"], {})[0])


def test_of_several_records_of_a_url_the_one_that_sorts_first_counts(tmp_path: Path) -> None:
    records = [("http://example.com/a", 2), ("HTTP://EXAMPLE.COM/a", 3), ("http://example.com/a", 1)]
    lines = [f'{{"url": "{url}", "shop": {shop}}}\n' for url, shop in records]
    (tmp_path / "feed.jsonl").write_text("".join(lines))
    rows = new_urls.read_here(feed_marks.news([tmp_path / "feed.jsonl"], {})[0], np.empty(0, known_keys.DTYPE))
    assert rows.rows.select(["url", "extra"]).to_pylist() == [{"url": "HTTP://EXAMPLE.COM/a", "extra": '{"shop":3}'}]
    (tmp_path / "feed.jsonl").write_text("".join(lines[::2]))
    rows = new_urls.read_here(feed_marks.news([tmp_path / "feed.jsonl"], {})[0], np.empty(0, known_keys.DTYPE))
    assert rows.rows["extra"].to_pylist() == ['{"shop":1}']


@pytest.mark.spark
def test_a_record_with_columns_counts_before_a_bare_line(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("http://example.com/a\nHTTP://EXAMPLE.COM/a\n")
    (tmp_path / "b.csv").write_text("url,shop\nhttp://example.com/a,9\nhttp://example.com/a,7\n")
    rows = read(spark, [tmp_path / "a.txt", tmp_path / "b.csv"], tmp_path)
    assert [(row.url, row.extra) for row in rows] == [("http://example.com/a", '{"shop":"7"}')]


@pytest.mark.spark
def test_the_record_with_the_most_filled_columns_counts_wherever_it_stands(spark: Any, tmp_path: Path) -> None:
    """An empty value sorts before any other, so that it would win."""
    url = "http://example.com/a"
    (tmp_path / "a.txt").write_text(f"{url}\n")
    for records, winner in [
        ([f"{url},,", f"{url},7,"], '{"p":"7","q":""}'),
        ([f"{url},7,", f"{url},,"], '{"p":"7","q":""}'),
        ([f"{url},\\N,1", f"{url},0,0"], '{"p":"0","q":"0"}'),
        ([f"{url}, ,z", f"{url},8,y"], '{"p":"8","q":"y"}'),
        ([f"{url},3,", f"{url},,4"], '{"p":"","q":"4"}'),
        ([f"{url},,", url.replace("http", "HTTP") + ",,"], '{"p":"","q":""}'),
    ]:
        (tmp_path / "b.csv").write_text("\n".join(["url,p,q", *records]) + "\n")
        assert [row.extra for row in read(spark, [tmp_path / "a.txt", tmp_path / "b.csv"], tmp_path)] == [winner]
    (tmp_path / "c.jsonl").write_text(
        f'{{"url":"{url}","p":[],"q":{{}},"r":null}}\n{{"url":"{url}","p":false,"q":0}}\n{{"url":"{url}","p":1}}\n'
    )
    assert [row.extra for row in read(spark, [tmp_path / "c.jsonl"], tmp_path)] == ['{"p":false,"q":0}']


def test_every_record_is_new_known_a_copy_or_without_a_url(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("http://example.com/old\n\nhttp://example.com/a\nhttp://example.com/a\nno url\n")
    (tmp_path / "b.jsonl").write_text('{"url": "http://example.com/a"}\n{"id": 7}\n{"url": ""}\n')
    old = known_keys.of_hex(
        pa.array([target.url_key for line in [b"http://example.com/old"] if (target := urls.understand(line))])
    )
    found = new_urls.read_here(feed_marks.news([tmp_path / "a.txt", tmp_path / "b.jsonl"], {})[0], old)
    found.check()
    assert (found.report.records, found.new, found.known, found.copies, found.report.without_url) == (7, 2, 1, 2, 2)
    with pytest.raises(WindrowError, match="got 7 records, but 1 new, 1 known, 2 copies and 2 without a URL; nothing"):
        replace(found, new=1).check()


def test_records_with_long_columns_are_passed_on_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,096 records of 1 MiB would be 4 GiB in a task's memory, several times."""
    monkeypatch.setattr(new_urls, "_BATCH_CHARACTERS", 300_000)
    record = '{{"url": "http://a/{}", "picture": "{}"}}\n'
    (tmp_path / "a.jsonl").write_text("".join(record.format(place, "y" * 2000) for place in range(400)))
    pieces, _, _ = feed_marks.news([tmp_path / "a.jsonl"], {})
    batches = list(new_urls._understood(pieces, np.empty(0, known_keys.DTYPE)))
    assert sum(batch.num_rows for batch in batches) == 401  # with the report
    assert max(batch.num_rows for batch in batches) <= 192


def test_a_folder_that_is_named_like_a_file_is_listed_unless_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").mkdir()
    (tmp_path / "x.parquet" / "part-0.parquet").touch()
    assert new_urls.files("*", tmp_path) == [tmp_path / "x.parquet"]
    assert new_urls.files("**/*", tmp_path) == [tmp_path / "x.parquet" / "part-0.parquet"]


@pytest.mark.spark
def test_a_known_url_is_counted_and_left_out(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("url,shop\nhttp://example.com/old,1\nhttp://example.com/new,2\n")
    rows = read(spark, [tmp_path / "feed.csv"], tmp_path, ("http://example.com/old",))
    assert [(row.url, row.extra) for row in rows] == [("http://example.com/new", '{"shop":"2"}')]


@pytest.mark.spark
def test_the_recipe_for_a_database_makes_a_feed_of_its_rows(spark: Any, tmp_path: Path) -> None:
    text = text_of("docs/feeds.md")
    recipe = text.split("```python\n", 1)[1].split("```", 1)[0]
    spark._jvm.java.lang.System.setProperty("derby.stream.error.file", str(tmp_path / "derby.log"))
    database = f"jdbc:derby:memory:{tmp_path.name};create=true"
    rows = [("http://example.com/a", 1), ("http://example.com/b", 2), ("ftp://example.com/c", 3)]
    spark.createDataFrame(rows, "image string, id int").write.jdbc(database, "products")
    (tmp_path / "feed").mkdir()
    constants = {
        "DATABASE": database,
        "LOGIN": {},
        "QUERY": 'SELECT "image" AS "url", "id" FROM products WHERE "id" < 3',
        "FEED": tmp_path / "feed",
    }
    for name in constants:
        recipe = re.sub(rf"^{name} = .*\n", "", recipe, flags=re.MULTILINE)
    exec(compile(recipe, "export_urls.py", "exec"), constants)
    found = read(spark, new_urls.files(str(tmp_path / "feed"), Path("/")), tmp_path)
    assert {row.url: row.extra for row in found} == {
        "http://example.com/a": '{"id":1}',
        "http://example.com/b": '{"id":2}',
    }
