"""Read the keys of the URLs that have a row, and find out which URLs are among them.

    keys = known_keys.read(table.files())
    known_keys.contains(keys, known_keys.of_hex(batch.column("url_key")))      # one bool per key

A key is the first 16 of the 32 bytes of a url_key: with ten billion known URLs, the chance that a new URL is mistaken
for a known one is 3 in 10^29. Ten million keys take 160 MB. Reading them needs no shuffle, and no large column. They
are sorted, and sent to the executors in a file that every Python worker maps into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Keys = NDArray[np.bytes_]
DTYPE = np.dtype("S16")
_ROWS_A_READ = 1 << 18
_HEX_DIGITS = 64


def of_hex(column: Any) -> Keys:
    """Return the keys of an Arrow array of SHA-256 hex digits without nulls.

    Raises:
        ValueError: a text has not exactly 64 characters.
    """
    texts = pa.array([], pa.string()) if len(column) == 0 else column.cast(pa.string())
    if len(texts) == 0:
        return np.empty(0, DTYPE)
    start, end = np.frombuffer(texts.buffers()[1], np.int32)[[texts.offset, texts.offset + len(texts)]]
    if end - start != _HEX_DIGITS * len(texts):
        raise ValueError(f"a url_key must be {_HEX_DIGITS} hex digits; got another in {texts[0]}...")
    digits = np.frombuffer(texts.buffers()[2], np.uint8)[start:end].reshape(-1, _HEX_DIGITS)[:, : 2 * DTYPE.itemsize]
    nibbles = (digits & 15) + 9 * (digits >> 6)  # 0x30 to 0x39 are 0 to 9, 0x61 to 0x66 are 10 to 15
    packed = np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2])
    return packed.view(DTYPE).ravel()


def read(files: Sequence[Path], model: tuple[str, str] | None = None) -> Keys:
    """Return the sorted keys in Parquet files; if `model` (name, version) is given, only the keys of its rows."""
    columns = ["url_key", *(["model_name", "model_version"] if model else [])]
    keys = np.empty(sum(pq.read_metadata(path).num_rows for path in files), DTYPE)
    filled = 0
    for path in files:
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_A_READ, columns=columns):
            wanted = batch.filter(is_of(batch, model)) if model else batch
            keys[filled : filled + wanted.num_rows] = of_hex(wanted.column("url_key"))
            filled += wanted.num_rows
    keys = keys[:filled]
    keys.sort()
    return keys


def is_of(rows: Any, model: tuple[str, str]) -> Any:
    """Return an Arrow mask of the rows that a model (name, version) labelled."""
    name, version = model
    return pc.and_(pc.equal(rows.column("model_name"), name), pc.equal(rows.column("model_version"), version))


def contains(keys: Keys, asked: Keys) -> NDArray[np.bool_]:
    """Return a mask of the `asked` keys that are among the sorted `keys`."""
    if len(keys) == 0:
        return np.zeros(len(asked), np.bool_)
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    found: NDArray[np.bool_] = keys[places] == asked
    return found
