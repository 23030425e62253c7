"""Read the rows of a Parquet file as (URL, the other columns as JSON), one row group at a time."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.scoring.feed import arrow_json, csv_dialects
from windrow.scoring.feed.feed_reports import FeedFileError, PieceReport, feed_fault
from windrow.scoring.feed.url_column import URL, url_column

if TYPE_CHECKING:
    from pyarrow import RecordBatch

GROUP_BYTES = 8 << 30
"""The most bytes of a row group, unpacked. Spark writes 128 MiB; one task reads a group."""

_FOOTER_BYTES = 100 << 20  # of one text, such as a schema in the metadata
_FOOTER_ITEMS = 1_000_000
_FOOTER_END_BYTES = 8  # its length and PAR1
_MAGIC = b"PAR1"
_ARROW_TYPES = b"ARROW:schema"
_BATCH_ROWS = 4096
_BATCH_BYTES = 64 << 20
_PROBE_BYTES = 64 << 10
_BROKEN = (OSError, ValueError, pa.ArrowException, MemoryError, RuntimeError)  # the last for Parquet's own errors


def opened(path: Path, metadata: pq.FileMetaData | None = None, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a Parquet file. A page whose checksum is wrong can't be read then; by default pyarrow looks at none.

    Spark's old timestamps (INT96) are read in microseconds, which reach 290,000 years: in nanoseconds they would end in
    1677 and 2262, and become other dates beyond that.

    Args:
        path: the file.
        metadata: what to take for its footer; None for its own.
        dictionaries: columns to read as numbers and the texts that these stand for, and only as far as is needed.

    Raises:
        FeedFileError: it is no whole Parquet file, or encrypted.
    """
    try:
        return pq.ParquetFile(
            path,
            coerce_int96_timestamp_unit="us",
            thrift_string_size_limit=_FOOTER_BYTES,
            thrift_container_size_limit=_FOOTER_ITEMS,
            page_checksum_verification=True,
            metadata=metadata,
            read_dictionary=list(dictionaries),
            **({"pre_buffer": False, "buffer_size": _PROBE_BYTES} if dictionaries else {}),
        )
    except _BROKEN as error:
        raise FeedFileError(path, f"a Parquet file must be whole and readable; {error}; write it again") from error


def groups(path: Path) -> list[int]:
    """Return the number of rows of each row group.

    Raises:
        FeedFileError: the file can't be read, has no column url or a column twice, or a row group is too large.
    """
    with opened(path) as file:
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise FeedFileError(path, f"a Parquet file must name a column once; got {twice[:80]!r} twice; rename one")
        if url_column(names) is None:
            shown = ", ".join(names)[:200] or "none"
            raise FeedFileError(path, f"a Parquet file must have a column url; got {shown}; rename one")
        if len(names) > csv_dialects.COLUMNS:
            most = csv_dialects.COLUMNS
            raise FeedFileError(path, f"a Parquet file must have at most {most:,} columns; got {len(names):,}")
        found = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
        if most := max((group.total_byte_size for group in found if group.total_byte_size > GROUP_BYTES), default=0):
            raise FeedFileError(
                path,
                f"a row group must have at most {GROUP_BYTES:,} bytes; got {most:,}; write smaller row groups",
            )
        return [group.num_rows for group in found]


def first_urls(path: Path, count: int) -> Iterator[tuple[int, str | bytes | None]]:
    """Yield (row of the file from 1, URL) of the first rows, up to `count` of them or one that can't be read."""
    row = 1
    with opened(path) as file:
        try:
            for batch in file.iter_batches(count, columns=[_urls_of(file)]):
                for url in arrow_json.strings(batch.column(0))[: count + 1 - row]:
                    yield row, url
                    row += 1
                if row > count:
                    return
        except _BROKEN:
            return


def rows(path: Path, group: int, report: PieceReport) -> Iterator[tuple[int, str | bytes | None, str | None]]:
    """Yield (row of the file from 1, URL, the other columns as JSON or None without any) for each row of a group.

    Args:
        path: the file.
        group: the number of the row group.
        report: gets a note for each column with values that can't be read or carried.

    Raises:
        FeedFileError: the group's column url can't be read.
    """
    noted: dict[str, list[str]] = {}
    with opened(path) as file:
        facts, names = file.metadata.row_group(group), file.schema_arrow.names
        row = 1 + sum(file.metadata.row_group(place).num_rows for place in range(group))
        size = max(facts.total_byte_size // max(1, facts.num_rows), _longest_texts(path, file, group))  # of a row
        wanted = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, size)))
        try:
            for batch in _batches(path, file, group, wanted, row, noted):
                yield from zip(
                    range(row, row + batch.num_rows), *_columns(batch, _urls_of(file), names, noted), strict=True
                )
                row += batch.num_rows
        except _BROKEN as error:
            broken = _broken(file, group, wanted, [_urls_of(file)])
            reason = "; ".join(f"column {name}: {text}" for name, text in broken.items()) or str(error)
            raise FeedFileError(
                path, f"row group {group + 1} must be readable; {reason}; write the file again"
            ) from error
    report.notes += [feed_fault(path, f"column {name}: {text}") for name, texts in noted.items() for text in texts]


def _urls_of(file: pq.ParquetFile) -> str:
    """Return the column with a file's URLs; one that has none is refused before its rows are read."""
    return url_column(file.schema_arrow.names) or URL


def _longest_texts(path: Path, file: pq.ParquetFile, group: int) -> int:
    """Return the bytes of a row whose columns each have the longest text of their dictionary.

    A dictionary has each text once, so that the file's size says nothing about that of its rows: a text of 1 MiB and
    10,000 times its number are a few KB. The columns are those of the schema: asked for what the row group says of a
    column, pyarrow ends the process if that is damaged.
    """
    columns = [file.schema.column(place) for place in range(len(file.schema))]
    names = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    if not names or file.metadata.row_group(group).total_byte_size * _BATCH_ROWS <= _BATCH_BYTES:
        return 0
    try:
        with opened(path, dictionaries=names) as again:
            first = next(again.iter_batches(1, row_groups=[group], columns=names))
            found = [column.dictionary for column in first.columns if pa.types.is_dictionary(column.type)]
            return sum(pc.max(pc.binary_length(texts)).as_py() or 0 for texts in found)
    except (*_BROKEN, StopIteration):
        return 0


def _columns(
    batch: RecordBatch, wanted: str, names: Sequence[str], noted: dict[str, list[str]]
) -> tuple[list[str | bytes | None], list[str] | list[None]]:
    """Return a batch's URLs, of the column `wanted`, and its other columns as JSON; one that it lacks is null."""
    found = arrow_json.strings(batch.column(wanted))
    others = [name for name in names if name != wanted]
    if not others:
        return found, [None] * len(found)
    parts, here = [], set(batch.schema.names)
    for place, name in enumerate(others):
        notes: list[str] = []
        key = f"{'{' if not place else ','}{quoted(name)}:"
        values = arrow_json.texts(batch.column(name), notes) if name in here else ["null"] * len(found)
        parts.append([key + text for text in values])
        if notes:
            known = noted.setdefault(name, [])
            known += [text for text in notes if text not in known]
    return found, ["".join(texts) + "}" for texts in zip(*parts, strict=True)]


def _batches(
    path: Path, file: pq.ParquetFile, group: int, wanted: int, row: int, noted: dict[str, list[str]]
) -> Iterator[RecordBatch]:
    """Yield a row group in batches. Columns that can't be read, but the URLs, are left out from the first fault on."""
    done = 0
    try:
        for batch in file.iter_batches(wanted, row_groups=[group]):
            yield batch
            done += batch.num_rows
    except _BROKEN:
        broken = _broken(file, group, wanted, [name for name in file.schema_arrow.names if name != _urls_of(file)])
        if not broken:
            raise
    else:
        return
    with opened(path, _without_arrow_types(path)) as plain:
        lost = _broken(plain, group, wanted, list(broken))
        for name in lost:
            noted.setdefault(name, []).append(
                f"its values are null from row {row + done:,} on, because it can't be read: {broken[name]}"
            )
        whole = [name for name in file.schema_arrow.names if name not in broken]
        batches = [file.iter_batches(wanted, row_groups=[group], columns=whole)]
        if saved := [name for name in broken if name not in lost]:
            batches.append(plain.iter_batches(wanted, row_groups=[group], columns=saved))
        for parts in zip(*batches, strict=True):
            batch = pa.RecordBatch.from_pydict(
                {name: part.column(name) for part in parts for name in part.schema.names}
            )
            if done < batch.num_rows:
                yield batch.slice(done)
            done = max(0, done - batch.num_rows)


def _without_arrow_types(path: Path) -> pq.FileMetaData:
    """Return a file's metadata without the Arrow types that its writer has kept in it, so that Parquet's own count.

    Arrow writes lists of a fixed size with nulls among them, and can't read them back as such, but as lists.
    """
    with path.open("rb") as file:
        file.seek(-_FOOTER_END_BYTES, os.SEEK_END)
        size = int.from_bytes(file.read(4), "little")
        file.seek(-_FOOTER_END_BYTES - size, os.SEEK_END)
        footer = file.read().replace(_ARROW_TYPES, bytes(len(_ARROW_TYPES)))
    return pq.read_metadata(io.BytesIO(_MAGIC + footer))


def _broken(file: pq.ParquetFile, group: int, wanted: int, names: Sequence[str]) -> dict[str, str]:
    """Read columns of a row group, each by itself; return those that can't be read, with the reason."""
    found = {}
    for name in names:
        try:
            for _ in file.iter_batches(wanted, row_groups=[group], columns=[name]):
                pass
        except _BROKEN as error:
            found[name] = str(error)
    return found
