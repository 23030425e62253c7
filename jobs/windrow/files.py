"""Write each file as a whole or not at all, lock what only one process may use at a time, and explain a full disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from windrow.errors import ServiceError, UserError, WindrowError


def check_writable(path: Path) -> None:
    """Make an output file's folder before the work begins, so that a typo in the path does not cost a whole sweep.

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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; the file there replaces `path` when the `with` block ends.

        with replacing(path) as part:
            part.write_bytes(content)

    A reader sees the old file or the whole new one, never a part. After an exception, the old file is unchanged and the
    temporary file is gone. The folder is made if absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a move across file systems is not atomic; the dot hides the file from most globs.
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file as a whole or not at all; return its path."""
    with replacing(path) as part:
        part.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 file as a whole or not at all; return its path."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, values: Mapping[str, Any] | Sequence[Any]) -> Path:
    """Write a JSON file, indented and sorted by key, whole or not at all; return its path."""
    return write_text(path, json_text(values, indent=2) + "\n")


def json_text(values: object, indent: int | None = None, encoding: str = "utf-8") -> str:
    """Return values as JSON, sorted by key; only in ASCII, with escapes, if the encoding lacks one of the characters.

    For example, a file's name may have bytes that are not text in any encoding.
    """
    text = json.dumps(values, indent=indent, sort_keys=True, default=plain, ensure_ascii=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(values, indent=indent, sort_keys=True, default=plain)
    return text


def plain(value: object) -> Any:
    """Convert a value for JSON: NumPy numbers and arrays to numbers and lists, others (paths, dates) to text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextmanager
def locked(folder: Path, name: str = ".lock", *, quiet: bool = False) -> Iterator[None]:
    """Hold a folder's lock during the block, and wait while another process holds the lock.

    A process that ends, or is killed, releases the lock.

    Args:
        folder: the folder; made if absent.
        name: the lock file's name.
        quiet: True to print nothing while waiting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        if not _take(lock):
            if not quiet:
                print(f"waiting for another process that writes to {folder}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_or_refused(path: Path, owner: str, refusal: Callable[[str], WindrowError]) -> Iterator[None]:
    """Hold a lock file that names its owner during the block, or raise at once if another process holds it.

    A process that ends, or is killed, releases the lock.

    Args:
        path: the lock file, in a folder that exists.
        owner: text to write into the file, e.g. "run 17"; process, host and time are added. May be empty.
        refusal: makes the error from the text in the file, which names the other owner.
    """
    with path.open("a+") as lock:  # not "w", which would empty another owner's file
        if not _take(lock):
            lock.seek(0)
            raise refusal(lock.read().strip() or "another process")
        lock.truncate(0)
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        process = f"process {os.getpid()} on {socket.gethostname()}, since {now}"
        lock.write(f"{owner}, {process}" if owner else process)
        lock.flush()
        yield


def is_locked(path: Path) -> bool:
    """Return whether any process holds the lock of a file, which must exist."""
    with path.open("r") as lock:
        try:
            # A shared lock, so that two simultaneous callers do not mistake each other for the owner.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _take(lock: IO[str]) -> bool:
    """Try to lock an open file; return whether that succeeded. The lock ends with the process or on close."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# EFBIG is the error for exceeding a file size limit (ulimit -f).
_FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota used up", errno.EFBIG: "file size limit reached"}


@contextmanager
def clear_when_full(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into a ServiceError with one clear sentence.

    Raises:
        ServiceError: the disk that holds `folder` is full, or a quota or file size limit is reached.
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
    """Return which limit an error reports as reached (disk, quota, file size), or None for any other error.

    Errors from Java and delta-rs carry the system's message instead of an errno, so the message is searched, too.
    """
    number = getattr(error, "errno", None)
    if number is not None:
        return _FULL.get(number)
    message = str(error)
    return next((_FULL[number] for number in (errno.ENOSPC, errno.EDQUOT) if os.strerror(number) in message), None)
