"""Extract a network and its labels from an archive on the driver; pack a folder, and unpack it on each host."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from windrow.errors import UserError, WindrowError
from windrow.files import clear_when_full, locked

MAX_BYTES = 2_000_000_000
"""The most bytes to extract: a few hundred bytes of an archive can unpack to a full disk."""


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder into one .tar file, which Spark can send; the members are in order of path."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, str(path.relative_to(folder)), recursive=False)


def unpacked(file: Path) -> Path:
    """Unpack a .tar of `pack` next to it, only once, and return the folder; return any other file as it is."""
    if file.suffix != ".tar":
        return file
    folder = file.with_suffix("")
    with locked(file.parent / ".unpacking"):
        if not folder.is_dir():
            aside = file.with_suffix(f".{os.getpid()}")  # not files.replacing: this is a folder
            with tarfile.open(file) as tar:
                tar.extractall(aside, filter="data")
            aside.rename(folder)
    return folder


def extract(archive: Path, member: str, into: Path) -> Path | None:
    """Extract a file or a folder of a .tar, .tar.gz, .tgz or .zip under `into`; return None if the archive lacks it.

    Nothing is written outside `into`, whatever names the archive has.

    Raises:
        UserError: the archive can't be read, or the member is too large or has a name that leads out of `into`.
        ServiceError: the disk is full.
    """
    try:
        with clear_when_full(into):
            _extract(archive, PurePosixPath(member), into)
    except WindrowError:
        raise
    except Exception as error:  # a damaged archive raises almost anything, and so does a packing that is not known
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{archive} must be an archive that can be read; {reason}; bring it again") from error
    found = into / member
    return found if found.exists() else None


def _extract(archive: Path, wanted: PurePosixPath, into: Path) -> None:
    left = MAX_BYTES
    with _opened(archive) as entries:
        for name, size, stream in entries:
            path = PurePosixPath(name)
            if path != wanted and wanted not in path.parents:
                continue
            left -= size
            if left < 0:
                raise UserError(f"{wanted} in {archive} must have at most {MAX_BYTES:,} bytes; got more")
            if ".." in path.parts or path.is_absolute():
                raise UserError(f"names in {archive} must not lead out of it; got {name!r}")
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file)


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[str, int, BinaryIO]]]:
    """Yield the plain files of an archive one after another: name, size and contents."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as pack:
            infos = (info for info in pack.infolist() if not info.is_dir())
            yield ((info.filename, info.file_size, cast("BinaryIO", pack.open(info))) for info in infos)
    else:
        with tarfile.open(archive) as tar:
            files = (info for info in _members(tar) if info.isfile())
            yield ((info.name, info.size, cast("BinaryIO", tar.extractfile(info))) for info in files)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive; one of a negative size would lead back to those before it, for ever."""
    for info in tar:
        if info.size < 0:
            raise tarfile.ReadError(f"its member {info.name!r} has the size {info.size}")
        yield info
