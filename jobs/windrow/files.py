"""Write files whole or not at all, hold locks that end with their process, and explain a full disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from windrow.errors import ServiceError, UserError


def check_writable(path: Path) -> None:
    """Make the folder of an output file now, so that a typing error costs seconds and not a sweep.

    Raises:
        UserError: the folder can't be made or written, or the path is a folder itself.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path} must be a file; got a folder; add a file name")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} must be in a folder that can be made; {error.strerror}; choose another path"
        ) from error
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path} must be in a folder that can be written; got no permission; choose another path")


def write_json(path: Path, values: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write aside, then move: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(values, indent=2, sort_keys=True, default=plain) + "\n", encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def plain(value: object) -> Any:
    """What JSON has for it: NumPy's numbers and arrays as numbers and lists, anything else (paths, dates) as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


# EFBIG is what a file size limit (ulimit -f) gives.
_FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota used up", errno.EFBIG: "file size limit reached"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time in `folder`, which is made if absent; the others wait. A killed holder lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that writes to {folder}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def clear_when_full(folder: Path) -> Iterator[None]:
    """Turn a full disk into one sentence.

    Raises:
        ServiceError: the disk, the quota or the file size limit that `folder` is under is used up.
    """
    try:
        yield
    except OSError as error:
        reason = why_full(error)
        if reason is None:
            raise
        raise ServiceError(
            f"{folder} must have room for the data; got {reason}; free some, or choose another folder"
        ) from error


def why_full(error: Exception) -> str | None:
    """What was used up, if an error says that; Java and delta-rs have no number for it, but the system's words."""
    number = getattr(error, "errno", None)
    if number is not None:
        return _FULL.get(number)
    said = str(error)
    return next((_FULL[number] for number in (errno.ENOSPC, errno.EDQUOT) if os.strerror(number) in said), None)
