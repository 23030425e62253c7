"""Parquet's rows: any column next to `url` is carried, and what can't be read names file, group and column."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.feed import arrow_json, feed_marks, formats, parquet_rows
from windrow.scoring.feed.feed_reports import FeedFileError, PieceReport

from .test_arrow_json import YEAR_10000, arrays
from .test_formats import A, B, extras, pieces, read, report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For files that every example writes again."""
    return tmp_path_factory.mktemp("parquet")


@given(array=arrays())
def test_whatever_is_next_to_the_url_costs_no_row(folder: Path, array: pa.Array) -> None:
    path = folder / "feed.parquet"
    addresses = [f"{A}/{place}" for place in range(len(array))]
    try:
        pq.write_table(pa.table({"url": addresses, "value": array}), path)
    except (pa.ArrowException, ValueError):  # Parquet has no such type
        return
    assert [target.url for target in read(path)] == addresses
    assert all(arrow_json._NO_DATE in note.reason for note in report(path).notes)


@pytest.mark.parametrize(
    "url",
    [
        pa.array([A, B, None]),
        pa.array([A, B, None], pa.large_string()),
        pa.array([A, B, None], pa.string_view()),
        pa.array([A.encode(), B.encode(), None], pa.binary()),
        pa.array([A, B, None]).dictionary_encode(),
    ],
    ids=lambda array: str(array.type),
)
def test_a_url_may_be_text_or_bytes_of_any_kind(tmp_path: Path, url: pa.Array) -> None:
    pq.write_table(pa.table({"url": url, "day": pa.array([YEAR_10000, 0, 1], pa.date32())}), tmp_path / "a.parquet")
    assert extras(tmp_path / "a.parquet") == {A: {"day": "10000-01-01"}, B: {"day": "1970-01-01"}}
    assert [found.line for found in report(tmp_path / "a.parquet").examples] == [3]


@pytest.mark.parametrize("wrong", [b"\x25\x00", b"\x25\x04"])
def test_what_a_footer_says_wrongly_of_a_column_costs_the_file_and_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    """The figures of a column do not fit it then: pyarrow ends the process of one that asks for them."""
    monkeypatch.setattr(parquet_rows, "_BATCH_BYTES", 0)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": [A, B, None]}), path)
    content = path.read_bytes()
    assert content.count(b"\x25\x02\x18\x03url") == 1
    path.write_bytes(content.replace(b"\x25\x02\x18\x03url", wrong + b"\x18\x03url"))
    with pytest.raises(FeedFileError, match="row group 1 must be readable; column url: "):
        list(parquet_rows.rows(path, 0, PieceReport()))
    assert list(parquet_rows.first_urls(path, 5)) == []


@given(days=st.lists(st.integers(-700_000, 2_900_000), min_size=1, max_size=5))
def test_sparks_old_timestamps_stay_the_same_dates_before_1677_and_after_2262(folder: Path, days: list[int]) -> None:
    path = folder / "int96.parquet"
    microseconds = pa.array([day * 86_400_000_000 + 1_500_000 for day in days], pa.timestamp("us"))
    table = pa.table({"url": [f"{A}{place}" for place in range(len(days))], "when": microseconds})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    wanted = [f"{np.datetime64(day, 'D')!s} 00:00:01.500000" for day in days]
    assert [json.loads(target.extra or "")["when"] for target in read(path)] == wanted


def test_dates_that_python_has_are_written_as_python_writes_them(tmp_path: Path) -> None:
    when = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
    table = pa.table({"url": [A, B], "when": [when, when + timedelta(microseconds=5)]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [part["when"] for part in extras(tmp_path / "a.parquet").values()] == [  # type: ignore[index]
        str(when),
        str(when + timedelta(microseconds=5)),
    ]


def tear(path: Path, group: int, column: int, share: float = 0.0) -> None:
    """Overwrite a column's bytes in a row group, from a share of them on."""
    facts = pq.ParquetFile(path).metadata.row_group(group).column(column)
    content = bytearray(path.read_bytes())
    start = facts.data_page_offset + int(facts.total_compressed_size * share)
    end = facts.data_page_offset + facts.total_compressed_size
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)


def write_two_groups(path: Path) -> None:
    """Write two row groups of 2,000 rows and three columns"""
    numbers = range(4000)
    table = {"url": [f"{A}{place}" for place in numbers], "note": [f"n{place}" for place in numbers], "n": [*numbers]}
    pq.write_table(
        pa.table(table), path, row_group_size=2000, use_dictionary=False, compression="snappy", data_page_size=4000
    )


def test_a_page_of_urls_that_is_torn_is_a_fault_and_what_is_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_two_groups(path)
    tear(path, group=1, column=0)
    tear(path, group=1, column=1)
    found = feed_marks.news([path], {})
    assert found.refused == []  # its footer is whole
    reports = [PieceReport() for _ in found.pieces]
    rows = [list(formats.targets(piece, each)) for piece, each in zip(found.pieces, reports, strict=True)]
    assert (len(rows[0]), reports[0].fault) == (2000, None)
    fault = reports[1].fault
    assert fault
    assert (fault.file, "row group 2 must be readable; column url" in fault.reason) == (str(path), True)
    assert len(pieces(path)) == 2


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_column_that_is_torn_is_null_with_a_note_and_costs_no_row_and_no_other_column(
    tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "_BATCH_ROWS", 300)
    path = tmp_path / "a.parquet"
    write_two_groups(path)
    tear(path, group=1, column=1, share=share)
    found = extras(path)
    assert list(found) == [f"{A}{place}" for place in range(4000)]
    assert [record["n"] for record in found.values()] == [*range(4000)]  # type: ignore[index]
    notes = [record["note"] for record in found.values()]  # type: ignore[index]
    first = notes.index(None)
    assert notes == [f"n{place}" for place in range(first)] + [None] * (4000 - first)
    (note,) = report(path).notes
    assert note.reason.startswith(
        f"column note: its values are null from row {first + 1:,} on, because it can't be read"
    )
    assert first >= 2000 + 2000 * share - 600


FIXED = pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    "lists",
    [
        pa.array([[1.0, 2.0], None, [3.0, 4.0]], FIXED),
        pa.array([{"a": [1.0, 2.0]}, None, {"a": None}], pa.struct([("a", FIXED)])),
        pa.array([[[1.0, 2.0], None], None, []], pa.list_(FIXED)),
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1.0, 2.0], None, [3.0, 4.0]], FIXED)
        ),
    ],
    ids=lambda array: str(array.type)[:20],
)
@pytest.mark.parametrize("store_schema", [True, False])
def test_lists_of_a_fixed_size_with_nulls_are_carried_as_pyarrow_writes_them(
    tmp_path: Path, lists: pa.Array, store_schema: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "_BATCH_ROWS", 2)
    table = pa.table({"vector": lists, "url": [A, B, f"{B}2"], "n": [1, 2, 3]})
    pq.write_table(pa.concat_tables([table] * 3), tmp_path / "a.parquet", row_group_size=4, store_schema=store_schema)
    values = getattr(lists, "storage", lists).to_pylist()
    found = [json.loads(target.extra or "") for target in read(tmp_path / "a.parquet")]
    assert found == [{"vector": value, "n": place} for place, value in enumerate(values, 1)] * 3
    assert report(tmp_path / "a.parquet").notes == []


def test_a_list_of_a_fixed_size_next_to_a_torn_column_is_carried(tmp_path: Path) -> None:
    numbers = range(2000)
    columns = {"url": [f"{A}{place}" for place in numbers], "note": [f"n{place}" for place in numbers]}
    lists = pa.array([[0.5, 1.5], None] * 1000, FIXED)
    pq.write_table(pa.table({**columns, "vector": lists}), tmp_path / "a.parquet", use_dictionary=False)
    tear(tmp_path / "a.parquet", group=0, column=1)
    found = extras(tmp_path / "a.parquet")
    assert [*found.values()] == [{"note": None, "vector": [0.5, 1.5]}, {"note": None, "vector": None}] * 1000
    (note,) = report(tmp_path / "a.parquet").notes
    assert note.reason.startswith("column note: ")


@pytest.mark.parametrize("column", ["url", "note"])
def test_a_page_whose_checksum_is_wrong_is_not_read(tmp_path: Path, column: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"url": [A, B], "note": ["first-note", "second"]})
    pq.write_table(
        table, path, compression="none", use_dictionary=False, write_page_checksum=True, write_statistics=False
    )
    good = {"url": A, "note": "first-note"}[column].encode()
    path.write_bytes(path.read_bytes().replace(good, good[:-1] + b"x", 1))
    found = PieceReport()
    rows = [target.extra for piece in pieces(path) for target in formats.targets(piece, found)]
    assert rows == (['{"note":null}'] * 2 if column == "note" else [])
    (fault,) = found.notes if column == "note" else [found.fault]
    assert f"column {column}: " in str(fault)
    assert "CRC checksum verification failed" in str(fault)


def test_texts_that_a_file_has_once_for_many_rows_are_read_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 KB of a file would else be gigabytes of memory."""
    monkeypatch.setattr(parquet_rows, "_BATCH_BYTES", 8 << 20)
    text, path = "y" * 100_000, tmp_path / "a.parquet"
    numbers = pa.array([place % 9 == 0 for place in range(600)]).cast(pa.int32())
    table = pa.table(
        {"url": [f"{A}{place}" for place in range(600)], "note": pa.DictionaryArray.from_arrays(numbers, [text, "b"])}
    )
    pq.write_table(table, path, compression="zstd", store_schema=False)
    before, sizes = pa.total_allocated_bytes(), []
    for place, (_, url, extra) in enumerate(parquet_rows.rows(path, 0, PieceReport())):
        assert url == f"{A}{place}"
        assert extra == f'{{"note":"{text if place % 9 else "b"}"}}'
        sizes.append(pa.total_allocated_bytes() - before)
    assert max(sizes) < 32 << 20


@pytest.mark.parametrize("levels", [99, 100, 500])
def test_a_value_of_too_many_levels_is_null_with_a_note(tmp_path: Path, levels: int) -> None:
    """With the record around it, 99 levels are the 100 that a record of JSON may have."""
    nested = pa.array([1])
    for _ in range(levels):
        nested = pa.StructArray.from_arrays([nested], ["a"])
    pq.write_table(pa.table({"url": [A], "deep": nested}), tmp_path / "a.parquet", store_schema=False)
    (target,) = read(tmp_path / "a.parquet")
    if levels < 100:
        assert target.extra == '{"deep":' + '{"a":' * levels + "1" + "}" * (levels + 1)
    else:
        assert target.extra == '{"deep":null}'
        assert "a record may have 100 levels at most" in report(tmp_path / "a.parquet").notes[0].reason


def test_a_value_that_is_too_long_is_null_with_a_note_that_names_its_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": [A, B], "raw": [b"x" * (1 << 20) + b"y", b"z"]}), tmp_path / "a.parquet")
    assert extras(tmp_path / "a.parquet") == {A: {"raw": None}, B: {"raw": "eg=="}}
    (note,) = report(tmp_path / "a.parquet").notes
    assert note.reason.startswith("column raw: a carried value must have at most")
