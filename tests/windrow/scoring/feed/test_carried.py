"""Carried values are JSON that says what the feed said."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.feed import carried

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_what_json_holds_comes_back_as_it_was(record: dict[str, object]) -> None:
    text = carried.dump(carried.parse(json.dumps(record)))
    text.encode()
    assert json.loads(text) == record


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1.50", "1.5"),
        ("1e5", "100000.0"),
        ("0.1", "0.1"),
        ("12345678901234567.89", '"12345678901234567.89"'),
        ("1e999", '"1e999"'),
        ("1e-999", '"1e-999"'),
        (f"1e-{'9' * 20}", f'"1e-{"9" * 20}"'),
        (f"0e{'9' * 20}", f'"0e{"9" * 20}"'),
        ("NaN", "null"),
        ("-Infinity", "null"),
        ("1" * 5000, f'"{"1" * 5000}"'),
        (str(2**64), str(2**64)),
    ],
)
def test_a_number_that_a_double_would_change_is_text(number: str, expected: str) -> None:
    assert carried.dump(carried.parse(f'{{"n": {number}}}')) == f'{{"n":{expected}}}'


@pytest.mark.parametrize("depth", [99, 100, 101, 5000])
def test_a_record_is_nested_at_most_100_levels_deep(depth: int) -> None:
    line = '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    if depth <= carried.NESTING:
        assert carried.dump(carried.parse(line)) == line
    else:
        with pytest.raises(carried.RecordError, match="at most 100 levels deep"):
            carried.parse(line)


@pytest.mark.parametrize("inner", ["[" * 200, r"\"[{" * 100, r"\\" + "[{" * 100])
def test_brackets_in_a_text_are_no_levels(inner: str) -> None:
    line = f'{{"a":["{inner}"]}}'
    assert carried.dump(carried.parse(line)) == line


def test_a_key_that_is_there_twice_is_found_in_no_time() -> None:
    pairs = ",".join(f'"{place}": 1' for place in range(50_000))
    started = time.process_time()
    with pytest.raises(carried.RecordError, match="got '49999' twice"):
        carried.parse(f'{{{pairs}, "49999": 2}}')
    assert time.process_time() - started < 2
