"""Any file of weights is arrays within its bytes or is refused, and what a pickle can call is not called."""

from __future__ import annotations

import codecs
import struct
import sys
from collections.abc import Iterator

import numpy as np
from windrow.errors import UserError
from windrow.model.backbones import torch_file

from fuzz.bounds import bounded

LONGEST = 1500
_ORDERED, _REBUILD = b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"
_FLOATS, _INTEGERS = b"ctorch\nFloatStorage\n", b"ctorch\nLongStorage\n"
TOKENS = [
    token.decode("utf-8", "surrogateescape")
    for token in (
        *(_ORDERED, _REBUILD, _FLOATS, _INTEGERS, b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nopen\n"),
        *(b"X\7\0\0\0storage", b"X\1\0\0\0a", b"cpu", b"\x80\2", b"\x80\4", b"K\1", b"M\0\4", b"J\xff\xff\xff\x7f"),
        *(
            b"\x8a\1\1",
            b"\x88",
            b"\x89",
            b"N",
            b"(",
            b"t",
            b")",
            b"}",
            b"\x85",
            b"\x86",
            b"\x87",
            b"]",
            b"u",
            b"s",
            b"e",
        ),
        *(b"a", b"R", b"b", b"Q", b"q\0", b"h\0", b"r\0\0\1\0", b"j\0\0\1\0", b".", b"0", b"\x93", b"\x94", b"i", b"o"),
        *(b"\x81", b"\x82\1", b"\x95", b"\x8c\2os", b"\x96\xff\xff\xff\x7f\0\0\0\0"),
    )
]
_MAGIC, _VERSION = b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\2M\xe9\3."


def _text(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


def _numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"K" + bytes([value]) for value in values) + b"t"


def _tensor(kind: bytes, key: bytes, values: int, offset: int, shape: bytes, stride: bytes) -> bytes:
    storage = b"(" + _text(b"storage") + kind + _text(key) + _text(b"cpu") + b"K" + bytes([values]) + b"NtQ"
    return _REBUILD + b"(" + storage + b"K" + bytes([offset]) + shape + stride + b"\x89" + _ORDERED + b")RtR"


def _file(tensors: bytes, keys: bytes, values: bytes) -> bytes:
    named = b"\x80\2" + _ORDERED + b")R(" + tensors + b"u."
    return _MAGIC + _VERSION + b"\x80\2}." + named + b"\x80\2](" + keys + b"e." + values


def _seeds() -> Iterator[bytes]:
    floats = struct.pack("<q12f", 12, *range(12))
    whole = _text(b"whole") + _tensor(_FLOATS, b"7", 12, 0, _numbers(3, 4), _numbers(4, 1))
    turned = _text(b"turned") + _tensor(_FLOATS, b"7", 12, 2, _numbers(2, 3), _numbers(1, 3))
    count = _text(b"count") + _tensor(_INTEGERS, b"8", 1, 0, b")", b")")
    yield _file(whole + turned + count, _text(b"8") + _text(b"7"), struct.pack("<qq", 1, 2020) + floats)
    yield _file(whole, _text(b"7"), floats[:-1])
    yield _MAGIC + _VERSION + b"\x80\2cos\nsystem\n" + _text(b"true") + b"\x85R."
    yield from (b"", b"PK\3\4", b"\x80\2]r\xff\xff\xff\x7f.", _MAGIC)


SEEDS = list(_seeds())
_CALLS = ("open", "exec", "compile", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pickle.find_class")


class _Watch:
    """Notes what is called that a pickle could name, while it is on; what watches can't be removed."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        for name in ("raw_unicode_escape", "unicode_escape", "ascii", "latin-1"):
            codecs.lookup(name)  # the first use opens and runs the codec's file
        sys.addaudithook(self._note)

    def _note(self, event: str, _: object) -> None:
        if self.on and event.startswith(_CALLS):
            self.seen.append(event)


_watch: list[_Watch] = []


def check(data: bytes) -> None:
    """Read the bytes as a file of weights."""
    watch = _watch[0] if _watch else _Watch()
    _watch[:] = [watch]
    watch.seen, watch.on = [], True
    try:
        with bounded(mebibytes=50, seconds=3):
            tensors = torch_file.read(data)
    except UserError as error:
        str(error).encode()
        return
    finally:
        watch.on = False
        assert not watch.seen, watch.seen
    for name, values in tensors.items():
        name.encode()
        assert values.dtype in (np.float32, np.int64), values.dtype
        assert values.nbytes <= len(data), (values.shape, len(data))
        assert not values.flags.writeable
        values.sum()
