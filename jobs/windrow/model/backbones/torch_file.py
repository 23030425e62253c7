"""Read the weights in a file of PyTorch's legacy format, without PyTorch and without running what the file names.

The format is five pickles in a row (magic number, version, description of the machine, tensors, keys of the storages)
and then, per key, a count and the values, all little-endian. A pickle can call any function, so this reader refuses all
but the four names that tensors need.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windrow.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
MAX_BYTES = 1 << 30
"""The largest file that is read; the embedded backbone has 18.8 million bytes."""
_MAX_MEMO = 1 << 20
_ITEM = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
# The operations that a pickle of tensors has. The others make objects of classes, or reserve memory by a number.
_OPERATIONS = frozenset(
    (
        *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
        *("BINUNICODE", "SHORT_BINUNICODE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    )
)


# Named tuples, which have no __dict__: the operation BUILD would write a file's values into one, unchecked.
class _Storage(NamedTuple):
    """A row of values that follows the pickles."""

    key: str
    item: np.dtype[Any]
    values: int


class _View(NamedTuple):
    """A tensor: a part of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows tensors, their storages, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known: Mapping[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("torch", "FloatStorage"): _ITEM["FloatStorage"],
            ("torch", "LongStorage"): _ITEM["LongStorage"],
        }
        if (module, name) not in known:
            raise UserError(
                f"a file of weights must name nothing but tensors; got {module}.{name}; don't open this file anywhere"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, item, key, _location, count, _view = pid
        if kind != "storage" or not isinstance(key, str) or not isinstance(item, np.dtype) or not _natural(count):
            raise ValueError("a reference is not to a storage")
        return _Storage(key, item, count)


def _rebuild(storage: Any, offset: Any, shape: Any, stride: Any, *_others: Any) -> _View:
    """Stand in for torch._utils._rebuild_tensor_v2: note what the tensor is, once its values are read."""
    sides = isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= 8
    if not isinstance(storage, _Storage) or not sides or not all(map(_natural, (offset, *shape, *stride))):
        raise ValueError("a tensor is not a part of a storage")
    return _View(storage, offset, shape, stride)


def _natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES


def read(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors in a file of PyTorch's legacy format by name, float32 or int64.

    Raises:
        UserError: the file is in another format or too large, is cut off, or names anything but tensors.
    """
    if len(content) > MAX_BYTES:
        raise UserError(f"a file of weights must have at most {MAX_BYTES:,} bytes; got {len(content):,}; bring another")
    try:
        return _read(io.BytesIO(content))
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"a file of weights must be a whole one in PyTorch's legacy format; got {reason}; install the package again"
        ) from error


def _read(stream: io.BytesIO) -> dict[str, NDArray[Any]]:
    magic, version, _machine, tensors, keys = (_unpickle(stream) for _ in range(5))
    if magic != MAGIC or version != VERSION:
        raise ValueError("another magic number or version")
    if not isinstance(tensors, OrderedDict) or not all(isinstance(one, _View) for one in tensors.values()):
        raise ValueError("something else than a dictionary of tensors")
    storages = {view.storage.key: view.storage for view in tensors.values()}
    known = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not known or sorted(keys) != sorted(storages):
        raise ValueError("other storages than those of the tensors")
    values = {key: _values(stream, storages[key]) for key in keys}
    if stream.read(1):
        raise ValueError("more bytes than the tensors have")
    return {str(name): _part(view, values[view.storage.key]) for name, view in tensors.items()}


def _unpickle(stream: io.BytesIO) -> Any:
    """Load one pickle, after a look at its operations: some of them reserve memory before anything is refused."""
    start = stream.tell()
    for operation, argument, _place in pickletools.genops(stream):
        if operation.name not in _OPERATIONS:
            raise UserError(
                f"a file of weights must name nothing but tensors; got the operation {operation.name}; "
                "don't open this file anywhere"
            )
        if operation.name == "LONG_BINPUT" and int(argument or 0) > _MAX_MEMO:
            raise ValueError("a place in the memo that no tensor needs")
    end = stream.tell()
    pickled = stream.getbuffer()[start:end]
    return _Unpickler(io.BytesIO(pickled)).load()


def _values(stream: io.BytesIO, storage: _Storage) -> NDArray[Any]:
    (count,) = struct.unpack("<q", stream.read(8))
    if count != storage.values:
        raise ValueError("another number of values than the storage has")
    content = stream.read(count * storage.item.itemsize)
    return np.frombuffer(content, storage.item, count)  # ValueError where the file is cut off


def _part(view: _View, values: NDArray[Any]) -> NDArray[Any]:
    """Return a tensor's values as an array of its own shape, and refuse one that reaches beyond its storage."""
    natural = all(map(_natural, (view.offset, *view.shape, *view.stride)))
    last = sum((side - 1) * stride for side, stride in zip(view.shape, view.stride, strict=True))
    within = natural and 0 <= last < len(values) - view.offset and math.prod(view.shape) <= len(values)
    if not within:
        raise ValueError(f"a tensor that reaches beyond its storage: {view.shape} in strides {view.stride}")
    steps = tuple(stride * values.itemsize for stride in view.stride)
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, steps, writeable=False)
