"""Write Arrow columns as JSON, value by value, for any type and any value that it can hold.

    texts = arrow_json.texts(batch.column("price"))      # one text per row: '1.5', '"2026-11-24"', 'null', '{"a":1}'

Values are not made Python's own dates, decimals or durations, which hold fewer: Python ends with the year 9999. Dates
and times are text in ISO 8601 with a space, and points in time in UTC; decimals are text; durations are text, a number
with its unit; bytes are base64. NaN and infinity are null.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, repeat
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from windrow.scoring.feed.carried import NESTING, decoded

if TYPE_CHECKING:
    from pyarrow import Array

VALUE_BYTES = 1 << 20
"""The longest text or bytes that are carried, as long as a record of the other formats may be; longer ones are null."""

_NO_DATE = "the smallest number of a date or time is no date, as pandas writes none (NaT); it is null"
_CARRIED = pa.types
_NOT_CARRIED = (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError, NotImplementedError)


def texts(column: Array, notes: list[str] | None = None) -> list[str]:
    """Return the JSON text of each value of a column.

    Args:
        column: an Arrow array of any type.
        notes: gets a sentence for values that are null because they can't be carried.
    """
    try:
        if _CARRIED.is_nested(column.type) and _levels(column.type) >= NESTING:
            raise ValueError(f"a record may have {NESTING} levels at most")
        return _texts(column, [] if notes is None else notes)
    except _NOT_CARRIED as error:
        if notes is not None:
            notes.append(f"its values are null, because type {str(column.type)[:80]} can't be carried: {error}")
        return ["null"] * len(column)


def strings(column: Array) -> list[str | bytes | None]:
    """Return a column's values as text, or as bytes if they are bytes or no valid UTF-8; None for null."""
    kind = column.type
    if _CARRIED.is_dictionary(kind):
        return strings(column.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        return strings(column.storage)
    if _is_text(kind):
        return _strings(column)
    if _is_bytes(kind):
        return list(column.to_pylist())
    return [None if text == "null" else text.strip('"') for text in texts(column)]


def _texts(column: Array, notes: list[str]) -> list[str]:
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return ["null" if value is None else f'"{value}"' for value in column.to_pylist()]
    if isinstance(kind, pa.BaseExtensionType):
        return _texts(column.storage, notes)
    if _CARRIED.is_dictionary(kind):
        values, places = _texts(column.dictionary, notes), column.indices.to_pylist()
        if any(place is not None and not 0 <= place < len(values) for place in places):  # Arrow does not check it
            raise ValueError("the file is damaged: a value is not in the column's dictionary")
        return ["null" if place is None else values[place] for place in places]
    if _CARRIED.is_run_end_encoded(kind):
        return _runs(column, _texts(column.values, notes))
    if _CARRIED.is_null(kind):
        return ["null"] * len(column)
    if _CARRIED.is_boolean(kind):
        return ["null" if value is None else "true" if value else "false" for value in column.to_pylist()]
    if _CARRIED.is_integer(kind):
        return ["null" if value is None else str(value) for value in column.to_pylist()]
    if _CARRIED.is_floating(kind):
        return [_number(value) for value in column.to_pylist()]
    if _is_text(kind):
        return [_quoted(value, notes) for value in _strings(column)]
    if _is_bytes(kind):
        return [_base64(value, notes) for value in column.to_pylist()]
    return _nested(column, notes) if _CARRIED.is_nested(kind) else _of_time(column, notes)


def _levels(kind: pa.DataType) -> int:
    """Return the levels of JSON in a type's values; a map's entries are lists in a list."""
    deepest, left = 0, [(kind, 0)]
    while left:
        each, level = left.pop()
        if isinstance(each, pa.BaseExtensionType):
            each = each.storage_type
        if _CARRIED.is_nested(each):
            deepest = max(deepest, level + 1)
            left += [(each.field(place).type, level + 1) for place in range(each.num_fields)]
    return deepest


def _runs(column: Array, values: Sequence[str]) -> list[str]:
    """Return the text of each value of a run-end encoded array; Arrow decodes those of some types only."""
    ends, found, run = column.run_ends.to_pylist(), [], 0
    for place in range(column.offset, column.offset + len(column)):
        while ends[run] <= place:
            run += 1
        found.append(values[run])
    return found


def _of_time(column: Array, notes: list[str]) -> list[str]:
    kind = column.type
    if _CARRIED.is_date32(kind):
        return _dates(column, pa.int32(), "D", "", notes)
    if _CARRIED.is_date64(kind):
        return _dates(column, pa.int64(), "ms", "", notes, days=True)
    if _CARRIED.is_timestamp(kind):
        return _dates(column, pa.int64(), kind.unit, "+00:00" if kind.tz else "", notes)
    if _CARRIED.is_duration(kind):
        return ["null" if value is None else f'"{value} {kind.unit}"' for value in column.cast(pa.int64()).to_pylist()]
    if _CARRIED.is_time(kind):
        return [_clock(value, kind.unit) for value in _integers(column)]
    if _CARRIED.is_interval(kind):
        names = ("months", "days", "nanoseconds")
        return ["null" if value is None else _object(names, map(str, value)) for value in column.to_pylist()]
    if _CARRIED.is_decimal(kind):
        return ["null" if value is None else f'"{value}"' for value in column.cast(pa.string()).to_pylist()]
    return ["null" if value is None else quoted(value) for value in column.cast(pa.string()).to_pylist()]


def _dates(column: Array, plain: pa.DataType, unit: str, zone: str, notes: list[str], days: bool = False) -> list[str]:
    """Return dates or points in time as text. NumPy's, unlike Python's and Arrow's own, has no first or last year."""
    numbers = column.cast(plain).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    written = np.datetime_as_string(numbers.view(f"M8[{unit}]"), unit="D" if days else None)
    valid, none = column.is_valid().to_pylist(), np.isnat(numbers.view(f"M8[{unit}]")).tolist()
    if any(none) and _NO_DATE not in notes:
        notes.append(_NO_DATE)
    return [
        f'"{_plain_time(text)}{zone}"' if here and not lacks else "null"
        for text, here, lacks in zip(written.tolist(), valid, none, strict=True)
    ]


def _plain_time(text: str) -> str:
    if text.startswith("-"):  # NumPy counts the sign as one of a year's four digits
        year, rest = text[1:].split("-", 1)
        text = f"-{year:0>4}-{rest}"
    head, point, fraction = text.partition(".")
    return f"{head.replace('T', ' ')}{point}{fraction}" if fraction.strip("0") else head.replace("T", " ")


def _integers(column: Array) -> Iterable[int | None]:
    width = pa.int32() if column.type.bit_width == 32 else pa.int64()
    found: list[int | None] = column.cast(width).to_pylist()
    return found


def _clock(value: int | None, unit: str) -> str:
    """Return a time of day as text; a number and its unit if it is not within a day."""
    if value is None:
        return "null"
    ticks = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    seconds, rest = divmod(value, ticks)
    if not 0 <= seconds < 86_400:
        return f'"{value} {unit}"'
    fraction = f".{rest:0{len(str(ticks)) - 1}d}" if rest else ""
    return f'"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"'


def _nested(column: Array, notes: list[str]) -> list[str]:
    kind, valid = column.type, column.is_valid().to_pylist()
    if _CARRIED.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        if len(set(names)) < len(names):
            raise ValueError("it has two fields of one name")
        parts = [_texts(part, notes) for part in column.flatten()]
        rows: Iterable[Sequence[str]] = zip(*parts, strict=True) if parts else repeat((), len(column))
        return [_object(names, row) if here else "null" for here, row in zip(valid, rows, strict=True)]
    if _CARRIED.is_union(kind):
        return [_texts(pa.array([value.value.as_py()]), notes)[0] if value.is_valid else "null" for value in column]
    if _CARRIED.is_map(kind):
        entries = zip(
            _texts(_within(column, column.keys), notes), _texts(_within(column, column.items), notes), strict=True
        )
        inner, lengths = [f"[{key},{value}]" for key, value in entries], _map_lengths(column)
    else:
        inner, lengths = _texts(column.flatten(), notes), pc.list_value_length(column).fill_null(0).to_pylist()
    found, start = [], 0
    for here, length in zip(valid, lengths, strict=True):
        found.append(f"[{','.join(inner[start : start + length])}]" if here else "null")
        start += length if here or _CARRIED.is_map(kind) else 0
    return found


def _map_lengths(column: Array) -> list[int]:
    offsets = column.offsets.to_pylist()
    return [after - before for before, after in pairwise(offsets)]


def _within(column: Array, part: Array) -> Array:
    """Return the part of a map's keys or items that its offsets span."""
    offsets = column.offsets
    return (
        part.slice(offsets[0].as_py(), offsets[-1].as_py() - offsets[0].as_py()) if len(offsets) else part.slice(0, 0)
    )


def _object(names: Sequence[str], values: Iterable[str]) -> str:
    return "{" + ",".join(f"{quoted(name)}:{value}" for name, value in zip(names, values, strict=True)) + "}"


def _number(value: float | None) -> str:
    return "null" if value is None or not math.isfinite(value) else repr(float(value))


def _strings(column: Array) -> list[str | bytes | None]:
    """Return texts; the bytes of the column's values if one is not valid UTF-8."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(pa.large_binary()).to_pylist())


def _quoted(value: str | bytes | None, notes: list[str]) -> str:
    if value is None or len(value) > VALUE_BYTES:
        return _too_long(value, notes)
    return quoted(value if isinstance(value, str) else decoded(value.decode("utf-8", "surrogateescape")))


def _base64(value: bytes | None, notes: list[str]) -> str:
    if value is None or len(value) > VALUE_BYTES:
        return _too_long(value, notes)
    return f'"{base64.b64encode(value).decode()}"'


def _too_long(value: Any, notes: list[str]) -> str:
    sentence = f"a carried value must have at most {VALUE_BYTES:,} bytes; longer ones are null; leave the column out"
    if value is not None and sentence not in notes:
        notes.append(sentence)
    return "null"


def _is_text(kind: pa.DataType) -> bool:
    return bool(_CARRIED.is_string(kind) or _CARRIED.is_large_string(kind) or _CARRIED.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        _CARRIED.is_binary(kind)
        or _CARRIED.is_large_binary(kind)
        or _CARRIED.is_binary_view(kind)
        or _CARRIED.is_fixed_size_binary(kind)
    )
