"""The keys of known URLs, and which of those that are due are asked again."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windrow.scoring.feed import known_keys


def hexes(*names: object) -> list[str]:
    return [sha256(str(name).encode()).hexdigest() for name in names]


def test_a_key_is_the_first_half_of_the_digest() -> None:
    column = pa.array(hexes(*range(500)))
    keys = known_keys.of_hex(column)
    assert [bytes(key).ljust(16, b"\0").hex() for key in keys.tolist()] == [text[:32] for text in column.to_pylist()]
    assert known_keys.of_hex(column.slice(7, 3)).tolist() == keys[7:10].tolist()
    assert known_keys.of_hex(column.cast(pa.large_string())).tolist() == keys.tolist()
    assert len(known_keys.of_hex(pa.array([], pa.string()))) == 0


def test_what_is_no_digest_is_no_key() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        known_keys.of_hex(pa.array(["abc"]))


def test_keys_that_end_in_zeros_are_found_and_their_neighbours_are_not() -> None:
    texts = ["ab" * 15 + "00" + "11" * 16, "ab" * 16 + "22" * 16]
    keys = np.sort(known_keys.of_hex(pa.array(texts)))
    asked = known_keys.of_hex(pa.array([texts[0], texts[1], "ab" * 14 + "00" * 2 + "11" * 16, "ff" * 32, "00" * 32]))
    assert known_keys.contains(keys, asked).tolist() == [True, True, False, False, False]
    assert known_keys.contains(keys[:0], asked).tolist() == [False] * 5


def test_only_a_models_rows_are_read_if_it_is_named(tmp_path: Path) -> None:
    versions = ["1", "2", "1"]
    rows = {"url_key": hexes("a", "b", "c"), "model_name": ["m"] * 3, "model_version": versions}
    for number in (1, 2):
        pq.write_table(pa.table(rows), tmp_path / f"{number}.parquet")
        rows = {**rows, "url_key": hexes("d", "e", "f")}
    files = sorted(tmp_path.iterdir())
    asked = known_keys.of_hex(pa.array(hexes(*"abcdefg")))
    assert known_keys.contains(known_keys.read(files), asked).tolist() == [True] * 6 + [False]
    assert known_keys.contains(known_keys.read(files, ("m", "2")), asked).tolist() == [
        letter in "be" for letter in "abcdefg"
    ]
