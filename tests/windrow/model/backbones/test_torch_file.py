"""Weights are read from PyTorch's legacy format; whatever else such a file holds is refused and never run."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.errors import UserError
from windrow.model.backbones import torch_file
from windrow.model.backbones.torch_file import MAGIC, VERSION


class Storage:
    def __init__(self, key: str, kind: str, count: int) -> None:
        self.key, self.kind, self.count = key, kind, count


class Tensor:
    """What a pickle of PyTorch's says about a tensor."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.said = (storage, offset, shape, stride, False, OrderedDict())

    def __reduce__(self) -> Any:
        import torch._utils

        return torch._utils._rebuild_tensor_v2, self.said


class Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        import torch

        if isinstance(value, Storage):
            return "storage", getattr(torch, value.kind), value.key, "cpu", value.count, None
        return None


def pickled(value: object) -> bytes:
    """One pickle, as PyTorch would write it."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils = utils  # type: ignore[attr-defined]
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_: Any) -> None: ...

    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", *["_rebuild_tensor_v2"] * 2
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    stream = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utils)
        Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


HEAD = pickled(MAGIC) + pickled(VERSION) + pickled({"little_endian": True, "type_sizes": {"int": 4}})
WEIGHTS = np.arange(12, dtype="<f4")
TENSORS = OrderedDict(
    whole=Tensor(Storage("7", "FloatStorage", 12), 0, (3, 4), (4, 1)),
    turned=Tensor(Storage("7", "FloatStorage", 12), 2, (2, 3), (1, 3)),
    count=Tensor(Storage("8", "LongStorage", 1), 0, (), ()),
)


def legacy(tensors: object = TENSORS, keys: object = ("8", "7"), values: bytes | None = None) -> bytes:
    written = struct.pack("<qq", 1, 2020) + struct.pack("<q", 12) + WEIGHTS.tobytes() if values is None else values
    return HEAD + pickled(tensors) + pickled(list(keys) if isinstance(keys, tuple) else keys) + written


WHOLE = legacy()


def test_reads_every_tensor_with_its_shape_and_strides() -> None:
    found = torch_file.read(WHOLE)
    assert list(found) == ["whole", "turned", "count"]
    assert found["whole"].tolist() == WEIGHTS.reshape(3, 4).tolist()
    assert found["turned"].tolist() == [[2, 5, 8], [3, 6, 9]]
    assert (found["count"].item(), found["count"].dtype) == (2020, np.int64)


class Calls:
    """An object that, unpickled without care, opens a file for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("place", range(5))
def test_a_pickle_that_calls_a_function_is_refused_and_calls_nothing(place: int, tmp_path: Path) -> None:
    hostile = pickle.dumps(Calls(tmp_path / "written"), protocol=2)
    parts = [pickled(MAGIC), pickled(VERSION), pickled({}), pickled(TENSORS), pickled(["8", "7"])]
    parts[place] = hostile

    with pytest.raises(UserError, match=r"name nothing but tensors; got \w+\.open; don't open this file anywhere"):
        torch_file.read(b"".join(parts))
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("pickled_part", "operation"),
    [
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "STACK_GLOBAL"),
        (b"\x80\x02(ios\nsystem\n.", "INST"),
        (b"\x80\x02]q\x00\x82\x01.", "EXT1"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "BINBYTES8"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "BYTEARRAY8"),
    ],
)
def test_an_operation_that_tensors_do_not_need_is_refused(pickled_part: bytes, operation: str) -> None:
    with pytest.raises(UserError, match=rf"operation {operation}|got expected"):
        torch_file.read(pickled_part)


def test_a_place_in_the_memo_that_would_take_all_memory_is_refused() -> None:
    with pytest.raises(UserError, match="a place in the memo that no tensor needs"):
        torch_file.read(b"\x80\x02]r\xff\xff\xff\x7f.")


@pytest.mark.parametrize("left", [0, 1, 30, len(HEAD), len(WHOLE) - 60, len(WHOLE) - 50, len(WHOLE) - 1])
def test_a_file_that_is_cut_off_is_refused(left: int) -> None:
    with pytest.raises(UserError, match=r"must be a whole one in PyTorch's legacy format; got .*; install the package"):
        torch_file.read(WHOLE[:left])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickled(5) + WHOLE, "another magic number"),
        (legacy([1, 2]), "something else than a dictionary of tensors"),
        (legacy(OrderedDict(a=1)), "something else than a dictionary of tensors"),
        (legacy(keys=("7",)), "other storages"),
        (HEAD + pickled(TENSORS) + b"\x80\2](ctorch\nFloatStorage\nX\1\0\0\x007e.", "other storages"),
        (legacy(values=struct.pack("<qq", 2, 1) + bytes(80)), "another number of values"),
        (WHOLE + b"x", "more bytes"),
        (legacy(OrderedDict(a=Tensor(Storage("7", "HalfStorage", 12), 0, (2,), (1,))), ("7",)), "torch.HalfStorage"),
        (legacy(OrderedDict(a=Tensor(Storage("7", "FloatStorage", -1), 0, (2,), (1,))), ("7",)), "not to a storage"),
        (legacy(OrderedDict(a=Tensor(Storage("7", "FloatStorage", 12), 0, (-2,), (1,))), ("7",)), "not a part"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        torch_file.read(content)


def test_a_tensor_that_reaches_beyond_its_storage_is_refused() -> None:
    storage = Storage("7", "FloatStorage", 12)
    values = struct.pack("<q", 12) + WEIGHTS.tobytes()
    for offset, shape, stride in ((9, (2, 2), (2, 1)), (0, (2,), (12,)), (0, (1 << 20,), (0,)), (12, (1,), (1,))):
        with pytest.raises(UserError, match="reaches beyond its storage"):
            torch_file.read(legacy(OrderedDict(a=Tensor(storage, offset, shape, stride)), ("7",), values))


class Rewritten(Tensor):
    """A tensor whose pickle also writes into the object that it has made, past its checks: the operation BUILD."""

    def __init__(self, tensor: Tensor, written: object) -> None:
        self.said, self.written = tensor.said, written

    def __reduce__(self) -> Any:
        return *super().__reduce__(), self.written


@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize(
    "written",
    [{"shape": (2, 2), "stride": (-8, 8)}, {"offset": -8, "shape": (1,), "stride": (1,)}, {"storage": None}],
    ids=str,
)
def test_a_tensor_that_is_changed_after_its_checks_is_refused(written: dict[str, object], slots: bool) -> None:
    sound = Tensor(Storage("7", "FloatStorage", 12), 0, (2,), (1,))
    tensors = OrderedDict(a=Rewritten(sound, (None, written) if slots else written))
    values = struct.pack("<q", 12) + WEIGHTS.tobytes()
    with pytest.raises(UserError, match=r"attribute"):
        torch_file.read(legacy(tensors, ("7",), values))


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(place: int, written: bytes, removed: int) -> None:
    damaged = WHOLE[:place] + written + WHOLE[place + removed :]
    try:
        found = torch_file.read(damaged)
    except UserError:
        return
    assert all(isinstance(array, np.ndarray) and array.size <= 12 for array in found.values())
