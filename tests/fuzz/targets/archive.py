"""Any archive gives the member that is asked for, or none, or is refused; nothing is written outside the folder."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from windrow.errors import UserError
from windrow.scoring.network import unpacking

from fuzz import layers
from fuzz.bounds import bounded, lowered

LONGEST = 6000
SUFFIXES = [".tar.gz", ".zip", ".tgz", ".tar"]
"""What an archive is called by its first byte; the rest is its content."""
_MOST = 1 << 20
TOKENS = [
    *(
        "net/",
        "net/a.pb",
        "net",
        "../",
        "/",
        "./",
        "..",
        "\0",
        "ustar",
        "ustar  ",
        "PK\1\2",
        "PK\3\4",
        "PK\5\6",
        "PK\6\6",
    ),
    *(
        "path=",
        "size=",
        "GNU.sparse.map=",
        "GNU.sparse.size=",
        "linkpath=",
        "hdrcharset=BINARY",
        "\udc80",
        "\udcff",
        "77777777",
    ),
]
_FILES = {"net/a.pb": b"graph", "net/v/b": b"", "net2": b"x"}


def _tar(form: int = tarfile.PAX_FORMAT, mode: str = "w", extra: tarfile.TarInfo | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=form) as target:
        for name, content in _FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
        if extra:
            target.addfile(extra)
    whole = stream.getvalue()
    return whole if mode != "w" else whole[: 1024 - len(whole.rstrip(b"\0")) // -512 * 512]


def _zip(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target:
        for name, content in _FILES.items():
            target.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _seeds() -> Iterator[bytes]:
    link = tarfile.TarInfo("net/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    long = tarfile.TarInfo("net/" + "x" * 120)
    for form, extra in ((tarfile.PAX_FORMAT, long), (tarfile.GNU_FORMAT, long), (tarfile.USTAR_FORMAT, link)):
        yield b"\3" + _tar(form, extra=extra)
    for packing in ("gz", "bz2", "xz"):
        yield b"\0" + _tar(mode=f"w:{packing}", extra=link)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield b"\1" + _zip(method)
    yield from (b"\0", b"\1PK\5\6" + bytes(18), b"\2\x1f\x8b\x08\0")


SEEDS = list(_seeds())


def layer(data: bytes, chance: Random) -> layers.Layer | None:
    """Take the content apart, and leave the first byte."""
    found = layers.of_archive(data[1:], chance)
    return found and (found[0], lambda changed: data[:1] + found[1](changed))


def check(data: bytes) -> None:
    """Extract a folder and a file of it from the bytes."""
    suffix = SUFFIXES[(data[:1] or b"\0")[0] % len(SUFFIXES)]
    for member in ("net", "net/a.pb"):
        with (
            lowered({"windrow.scoring.network.unpacking.MAX_BYTES": _MOST}, True),
            tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder,
        ):
            archive, into = Path(folder) / f"archive{suffix}", Path(folder) / "deep" / "in"
            archive.write_bytes(data[1:])
            _check(archive, member, into)
            assert {each.name for each in Path(folder).iterdir()} <= {archive.name, "deep"}
            assert not into.exists() or [each.name for each in into.parent.iterdir()] == ["in"]


def _check(archive: Path, member: str, into: Path) -> None:
    try:
        with bounded(mebibytes=100, seconds=5):
            found = unpacking.extract(archive, member, into)
    except UserError as error:
        str(error).encode("utf-8", "surrogateescape")
        return
    assert found is None or found == into / member
    written = [Path(place) / name for place, _, names in os.walk(into) for name in names]
    assert all(each.is_file() and not each.is_symlink() for each in written), written
    assert sum(each.stat().st_size for each in written) <= _MOST
