"""List, read, put and remove objects in a folder of an object store, through fsspec.

An object is stored whole or not at all. Nothing is cached between two calls, because others may write there.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import UserError
from windrow.files import replacing

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""The package that each kind of store needs. Of these, requirements.txt has only s3fs."""


class Store:
    """A folder of a store; names are paths below it."""

    def __init__(self, files: AbstractFileSystem, root: str) -> None:
        self._files = files
        self._root = root

    def sizes(self) -> dict[str, int]:
        """Return every object's size in bytes; empty if the folder does not exist."""
        found = self._files.find(self._root, detail=True)
        names = {path.removeprefix(self._root).lstrip("/"): facts for path, facts in found.items()}
        return {name: int(facts["size"]) for name, facts in names.items() if name and not name.endswith("/")}

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        content: bytes = self._files.cat_file(self._path(name))
        return content

    def put(self, file: Path, name: str) -> None:
        """Upload a file; replace an existing object."""
        self._files.put_file(str(file), self._path(name))

    def put_new(self, file: Path, name: str) -> None:
        """Upload a small file unless the object exists; if two clients write at once, the store decides which is first.

        Raises:
            FileExistsError: the object exists.
        """
        try:
            self._files.pipe_file(self._path(name), file.read_bytes(), mode="create")
        except OSError as error:
            if error.errno == errno.EINVAL:  # s3fs raises this for a 412 that does not say which condition failed
                raise FileExistsError(self._path(name)) from error
            raise

    def remove(self, names: Collection[str]) -> None:
        """Remove objects."""
        if names:
            self._files.rm([self._path(name) for name in names])

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class Folder(Store):
    """A mounted folder. A file is written under a temporary name and then moved, so that no reader sees it grow."""

    def put(self, file: Path, name: str) -> None:
        """Copy a file into the folder; replace an existing file."""
        path = Path(self._path(name))
        with replacing(path) as part:
            shutil.copyfile(file, part)

    def put_new(self, file: Path, name: str) -> None:
        """Copy a small file unless the object exists.

        Raises:
            FileExistsError: the object exists.
        """
        if Path(self._path(name)).exists():
            raise FileExistsError(self._path(name))
        self.put(file, name)


def open_store(url: str) -> Store:
    """Return the store for the folder at a URL, without contacting it.

    Raises:
        UserError: the package for this kind of store is not installed.
    """
    import fsspec

    scheme = url.partition("://")[0]
    try:
        files, root = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        package = PACKAGES.get(scheme, scheme)
        raise UserError(
            f"scoring.publish of {scheme}:// needs the package {package}; it is not installed; "
            f"run .venv/bin/pip install {package}, or publish to s3://"
        ) from error
    return (Folder if scheme == "file" else Store)(files, root.rstrip("/"))
