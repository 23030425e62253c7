"""Arrow's values as JSON: every type at its borders, none of them by way of Python's own dates and numbers."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.feed import arrow_json

YEAR_10000 = 2932897  # days after 1970-01-01
LEAVES = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")),
    *(pa.timestamp("us", "+05:30"), pa.timestamp("us", "Mars/Phobos")),
    *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.decimal32(9, 2), pa.decimal64(18, 3), pa.decimal128(38, 10), pa.decimal256(76, 20)),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(4)),
    *(pa.month_day_nano_interval(), pa.uuid(), pa.json_()),
]


@st.composite
def arrays(draw: st.DrawFn) -> pa.Array:
    """An array of any type and any bits that are valid for it, with nulls, perhaps sliced."""
    array = draw(st.sampled_from(LEAVES).flatmap(leaves))
    for _ in range(draw(st.integers(0, 2))):
        array = within(draw(st.sampled_from(["list", "large_list", "struct", "dictionary", "map", "ends"])), array)
    start = draw(st.integers(0, max(0, len(array) - 1)))
    return array.slice(start)


def leaves(kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
    if isinstance(kind, pa.BaseExtensionType):
        return leaves(kind.storage_type).map(lambda array: pa.ExtensionArray.from_storage(kind, array))
    if pa.types.is_null(kind):
        return st.integers(1, 3).map(lambda length: pa.nulls(length))
    if pa.types.is_date64(kind):
        days = st.integers(-(10**9), 10**9).map(lambda day: day * 86_400_000) | st.none()
        return st.lists(days, min_size=1, max_size=4).map(lambda found: pa.array(found, pa.int64()).view(kind))
    if pa.types.is_boolean(kind):
        values: st.SearchStrategy[Any] = st.booleans()
    elif pa.types.is_decimal(kind):
        digits = 10**kind.precision - 1
        values = st.integers(-digits, digits).map(lambda number: f"{number}e-{kind.scale}")
        return st.lists(values | st.none(), min_size=1, max_size=4).map(
            lambda found: pa.array([None if each is None else str(each) for each in found], pa.string()).cast(kind)
        )
    elif pa.types.is_floating(kind):
        values = st.floats(width=kind.bit_width)  # type: ignore[arg-type]
        dtype = f"f{kind.bit_width // 8}"
        return st.lists(values, min_size=1, max_size=4).map(lambda found: pa.array(np.array(found, dtype), kind))
    elif pa.types.is_interval(kind):
        values = st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 2, st.integers(-(2**63), 2**63 - 1))
    elif arrow_json._is_text(kind):
        values = st.text(st.characters(codec="utf-8"), max_size=5)
    elif pa.types.is_fixed_size_binary(kind):
        values = st.binary(min_size=kind.byte_width, max_size=kind.byte_width)
    elif arrow_json._is_bytes(kind):
        values = st.binary(max_size=5)
    else:
        bits = kind.bit_width
        unsigned = pa.types.is_unsigned_integer(kind)
        low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        plain = getattr(pa, f"{'u' if unsigned else ''}int{bits}")()
        edges = st.sampled_from([low, high, 0, YEAR_10000]).filter(lambda value: low <= value <= high)
        values = st.integers(low, high) | edges
        return st.lists(values | st.none(), min_size=1, max_size=4).map(lambda found: pa.array(found, plain).view(kind))
    return st.lists(values | st.none(), min_size=1, max_size=4).map(lambda found: pa.array(found, kind))


def within(what: str, array: pa.Array) -> pa.Array:
    """An array whose elements hold those of another."""
    length = len(array)
    if what == "struct":
        return pa.StructArray.from_arrays([array, array], ["a", 'b"'])
    if what == "dictionary" and not pa.types.is_nested(array.type):
        return pa.DictionaryArray.from_arrays(pa.array([0, None, length - 1], pa.int32()), array)
    if what == "ends" and not pa.types.is_nested(array.type) and not pa.types.is_dictionary(array.type):
        try:
            return pa.RunEndEncodedArray.from_arrays(pa.array(range(2, 2 * length + 2, 2), pa.int32()), array)
        except pa.ArrowInvalid:  # it checks what it is given, as times that are not within a day
            return array
    offsets = [0, None, length // 2, length, length]
    if what == "map":
        return pa.MapArray.from_arrays(pa.array([0, 1, length], pa.int32()), pa.array(["k"] * length), array)
    list_of = pa.LargeListArray if what == "large_list" else pa.ListArray
    return list_of.from_arrays(pa.array(offsets, pa.int64() if what == "large_list" else pa.int32()), array)


@given(arrays())
def test_every_value_of_every_type_is_json_and_none_costs_the_column(array: pa.Array) -> None:
    notes: list[str] = []
    found = arrow_json.texts(array, notes)
    assert len(found) == len(array)
    assert set(notes) <= {arrow_json._NO_DATE}
    for text in found:
        json.loads(text)
    nulls = [place for place, value in enumerate(array) if not value.is_valid]
    assert {found[place] for place in nulls} <= {"null"}


UUIDS = pa.array([uuid.UUID(int=7).bytes, None], pa.uuid())


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([YEAR_10000, -719529, None], pa.date32()), ["10000-01-01", "-0001-12-31", None]),
        (pa.array([2**31 - 1, -(2**31)], pa.date32()), ["5881580-07-11", "-5877641-06-23"]),
        (pa.array([-730850, -719530 - 366 * 31], pa.date32()), ["-0031-01-01", "-0032-12-06"]),
        (pa.array([-63_000_000_000, -(2**63)], pa.timestamp("s")), ["-0027-08-11 08:00:00", None]),
        (pa.array([253402300800000], pa.date64()), ["10000-01-01"]),
        (pa.array([10**18, 1_500_000], pa.timestamp("us")), ["33658-09-27 01:46:40", "1970-01-01 00:00:01.500000"]),
        (pa.array([1], pa.timestamp("ns", "Asia/Tokyo")), ["1970-01-01 00:00:00.000000001+00:00"]),
        (pa.array([1], pa.timestamp("s", "Mars/Phobos")), ["1970-01-01 00:00:01+00:00"]),
        (pa.array([5, None], pa.duration("us")), ["5 us", None]),
        (pa.array([-1, 86_399_001], pa.time32("ms")), ["-1 ms", "23:59:59.001"]),
        (pa.array(["1.50", "1e3"]).cast(pa.decimal256(76, 2)), ["1.50", "1000.00"]),
        (pa.array([(1, -2, 3)], pa.month_day_nano_interval()), [{"months": 1, "days": -2, "nanoseconds": 3}]),
        (pa.array([1.5, np.inf, np.nan], pa.float16()), [1.5, None, None]),
        (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
        (pa.array([b"\x00\xff"], pa.binary_view()), ["AP8="]),
        (pa.array([b"caf\xe9", b"caf\xc3\xa9"]).view(pa.string()), ["café", "café"]),
        (UUIDS, ["00000000-0000-0000-0000-000000000007", None]),
        (pa.ListArray.from_arrays([0, 1], UUIDS), [["00000000-0000-0000-0000-000000000007"]]),
        (pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())), [[["k", 1]], None, []]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_value_that_python_or_json_lacks_is_its_text(array: pa.Array, expected: list[object]) -> None:
    assert [json.loads(text) for text in arrow_json.texts(array)] == expected


@pytest.mark.parametrize("place", [-1, 1, 2**31 - 1])
def test_a_dictionary_that_lacks_a_value_is_null_with_a_note(place: int) -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, place, None], pa.int32()), pa.array(["a"]), safe=False)
    notes: list[str] = []
    assert arrow_json.texts(array, notes) == ["null"] * 3
    (note,) = notes
    assert "the file is damaged: a value is not in the column's dictionary" in note
    with pytest.raises(pa.ArrowException):
        arrow_json.strings(array)


def test_a_value_that_is_too_long_is_null_with_a_note() -> None:
    notes: list[str] = []
    assert arrow_json.texts(pa.array([b"x" * (1 << 20) + b"y", b"z"]), notes) == ["null", '"eg=="']
    (note,) = notes
    assert "at most 1,048,576 bytes; longer ones are null" in note


def test_a_struct_with_two_fields_of_one_name_is_null_with_a_note_because_readers_of_json_would_lose_one() -> None:
    notes: list[str] = []
    column = pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"])
    assert arrow_json.texts(column, notes) == ["null", "null"]
    assert "it has two fields of one name" in notes[0]
