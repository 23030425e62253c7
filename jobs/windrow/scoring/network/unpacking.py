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

from windrow.errors import UserError
from windrow.files import locked

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
    """
    wanted = PurePosixPath(member)
    left = MAX_BYTES
    try:
        with _opened(archive) as entries:
            for name, size, stream in entries:
                path = PurePosixPath(name)
                if path != wanted and wanted not in path.parents:
                    continue
                left -= size
                if left < 0:
                    raise UserError(f"{member} in {archive} must have at most {MAX_BYTES:,} bytes; got more")
                if ".." in path.parts or path.is_absolute():
                    raise UserError(f"names in {archive} must not lead out of it; got {name!r}")
                target = into / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(stream, file)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{archive} must be an archive that can be read; {error}; bring it again") from error
    found = into / wanted
    return found if found.exists() else None


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[str, int, BinaryIO]]]:
    """Yield the plain files of an archive one after another: name, size and contents."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as pack:
            infos = (info for info in pack.infolist() if not info.is_dir())
            yield ((info.filename, info.file_size, cast("BinaryIO", pack.open(info))) for info in infos)
    else:
        with tarfile.open(archive) as tar:
            yield ((info.name, info.size, cast("BinaryIO", tar.extractfile(info))) for info in tar if info.isfile())
