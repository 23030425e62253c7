"""Download a published file from the first mirror that serves it undamaged.

    fetch(RemoteFile("train-labels-idx1-ubyte.gz", "65a5...", of="contents"), mirrors, folder)

An interrupted download continues where it stopped, in this run or the next. Proxies come from the environment.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, Literal, cast

import requests
import urllib3
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

import windrow
from windrow.errors import DatasetError, DownloadError
from windrow.files import clear_when_full, locked

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 15.0
_TRIES = 6
_PAUSE_SECONDS = 0.5
_CHUNK_BYTES = 1 << 16
_REASON_CHARACTERS = 300
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, ValueError)
"""What an answer raises that is no HTTP, or leads to no URL; requests lets some through."""


@dataclass(frozen=True)
class RemoteFile:
    """A file's name below a mirror's base URL, and its SHA-256, so that mirrors need not be trusted.

    `of` says whether the digest is that of the file's bytes, or that of its contents after gunzip.
    """

    name: str
    digest: str
    of: Literal["file", "contents"]


class _MirrorError(Exception):
    """This mirror does not serve the right file; try the next one. The reason may have a server's words in it."""

    def __init__(self, reason: str) -> None:
        clean = "".join(character if character.isprintable() else "\ufffd" for character in reason)
        super().__init__(clean if len(clean) <= _REASON_CHARACTERS else f"{clean[: _REASON_CHARACTERS - 1]}…")


class _CutOffError(Exception):
    """The transfer was interrupted; another request may continue it."""


def check_mirrors(mirrors: Sequence[str]) -> None:
    """Check that every base URL is http or https.

    Raises:
        DatasetError: a URL is neither.
    """
    for mirror in mirrors:
        if not re.match(r"https?://[^/]", mirror, re.IGNORECASE):
            raise DatasetError(
                f"dataset.mirrors takes URLs with http:// or https://; got {mirror!r}; "
                "set dataset.source to use a local folder"
            )


_CURE = (
    "connect this machine, name another mirror in dataset.mirrors, "
    "or bring the files and run with --set dataset.source=FOLDER"
)


def fetch(
    remote: RemoteFile, mirrors: Sequence[str], folder: Path, cure: str = _CURE, *, max_bytes: int | None = None
) -> Path:
    """Download a file unless `folder` has it with the right digest; return its path there.

    Args:
        remote: the file.
        mirrors: base URLs, tried in this order.
        folder: where the file is stored; made if absent.
        cure: the end of the error message if no mirror serves the file: what the user can do.
        max_bytes: largest size of the download, and of a .gz file's contents if those have the digest; None: no limit.

    Raises:
        DatasetError: a mirror is not http or https.
        DownloadError: no mirror served the file; the message has each mirror's reason.
        ServiceError: the disk is full.
    """
    check_mirrors(mirrors)
    target = folder / remote.name
    with clear_when_full(folder), locked(folder):
        if matches(remote, target, max_bytes):
            return target
        reasons = []
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{remote.name}"
            try:
                _fetch_from(url, remote, target, max_bytes)
            except _MirrorError as failure:
                reasons.append(f"  {mirror}: {failure}")
            else:
                print(f"downloaded {remote.name}, {target.stat().st_size:,} bytes, from {mirror}", file=sys.stderr)
                return target
    raise DownloadError(
        f"{remote.name} must come from a mirror; got none of {len(mirrors)}:\n" + "\n".join(reasons) + f"\n{cure}"
    )


def fetch_trusted(url: str, folder: Path, digest: str | None, key: str, *, max_bytes: int | None = None) -> Path:
    """Download a file without a published digest, and return its path. Later downloads are checked against the first.

    Without `digest`, the first download's digest is printed, and written next to the file as NAME.sha256. A file that
    is there with its digest is not downloaded again.

    Args:
        url: http or https.
        folder: a folder for the files of this URL alone.
        digest: SHA-256, if the user knows it, to check the first download as well; None: trust the first download.
        key: the page's key for the digest, for messages.
        max_bytes: largest size of the download; None: no limit.

    Raises:
        DownloadError: the file can't be downloaded, or does not have the digest.
        ServiceError: the disk is full.
    """
    mirror, _, name = url.rpartition("/")
    record = folder / f"{name}.sha256"
    if digest is None and not record.exists():
        with clear_when_full(folder), locked(folder):
            digest = _take_on_trust(url, folder / name, max_bytes)
            record.write_text(f"{digest}\n", encoding="ascii")
        print(f"{url} has the SHA-256 {digest}: trusted now, checked from now on; {key} can say it", file=sys.stderr)
    known = digest or record.read_text(encoding="ascii").strip()
    cure = f"connect this machine, fix {key}, or remove {record} to trust what is there now"
    return fetch(RemoteFile(name, known, of="file"), [mirror], folder, cure, max_bytes=max_bytes)


def _take_on_trust(url: str, target: Path, max_bytes: int | None) -> str:
    """Download a whole file, without continuing an earlier download, to `target`; return its SHA-256."""
    part = target.with_name(f".{target.name}.first.part")
    part.unlink(missing_ok=True)
    try:
        _download(url, part, max_bytes)
    except _MirrorError as failure:
        raise DownloadError(f"{url} must give a file; {failure}; connect this machine, or bring the file") from failure
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    part.replace(target)
    return digest


def _fetch_from(url: str, remote: RemoteFile, target: Path, max_bytes: int | None) -> None:
    # files.replacing would not do: after an interruption the part must stay, for the next run to complete it.
    # The part's name depends on the URL, because mirrors compress the same contents differently.
    mark = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = target.with_name(f".{target.name}.{mark}.part")
    resumed = _size(part) > 0
    if not matches(remote, part, max_bytes):
        _download(url, part, max_bytes)
    if not matches(remote, part, max_bytes) and resumed:
        # The part came from an older file, or from one that changes: start once more from the beginning.
        part.unlink()
        _download(url, part, max_bytes)
    if not matches(remote, part, max_bytes):
        part.unlink()
        raise _MirrorError(f"its file has another SHA-256 than {remote.digest[:16]}...")
    part.replace(target)


def _download(url: str, part: Path, max_bytes: int | None) -> None:
    """Complete `part`; after an interruption, try again, up to six tries in all, as long as each try adds bytes."""
    for attempt in range(_TRIES):
        before = _size(part)
        try:
            return _append(url, part, max_bytes)
        except _CutOffError as cut:
            reason = str(cut)
            if _size(part) <= before:
                break
        time.sleep(_PAUSE_SECONDS * attempt)
    raise _MirrorError(reason)


def _append(url: str, part: Path, max_bytes: int | None) -> None:
    """Send one request for what `part` lacks, and add the response to it.

    Start `part` again if the mirror sends the whole file, or if `part` is longer than the mirror's file.
    """
    start = _size(part)
    try:
        with requests.get(
            url, headers=_headers(start), stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS)
        ) as answer:
            if answer.status_code == 416 and start:
                part.unlink()  # the part is longer than the mirror's file
                return _append(url, part, max_bytes)
            if answer.status_code not in (200, 206):
                raise _MirrorError(f"{answer.status_code} {answer.reason}")
            goes_on = (
                answer.headers.get("Content-Range", "").startswith(f"bytes {start}-") and answer.status_code == 206
            )
            _save(answer, part, start if goes_on else 0, max_bytes)
    except _BROKEN as error:
        raise _CutOffError(_reason(error)) from error


def _headers(start: int) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"windrow/{windrow.__version__}"}
    return {**headers, "Range": f"bytes={start}-"} if start else headers


def _save(answer: requests.Response, part: Path, start: int, max_bytes: int | None) -> None:
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    with part.open("ab" if start else "wb") as file, _progress() as progress:
        task = progress.add_task(part.name.strip("."), total=total, completed=start)
        # Not decoded: a server may declare a .gz file as gzip-encoded, and decoding would then change the file.
        for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            start += len(chunk)
            progress.update(task, completed=start)
            if max_bytes is not None and start > max_bytes:
                raise _MirrorError(f"its file has more than {max_bytes:,} bytes")


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def matches(remote: RemoteFile, path: Path, max_bytes: int | None) -> bool:
    """Return whether the file exists and has the digest; at most `max_bytes` of a gzip file's contents are read."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            unzip = remote.of == "contents" and zipped
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if unzip else file
            return _digest(stream, max_bytes) == remote.digest
    except FileNotFoundError:
        return False
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False


def _digest(stream: BinaryIO, max_bytes: int | None) -> str:
    digest, length = hashlib.sha256(), 0
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
        length += len(chunk)
        if max_bytes is not None and length > max_bytes:
            return ""
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    """Return the root cause in a few words, without the layers and object addresses in the messages of requests."""
    if isinstance(error, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
        return f"no connection within {_CONNECT_SECONDS:g} s"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"no answer within {_READ_SECONDS:g} s"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, urllib3.exceptions.IncompleteRead):
            return "the connection was cut"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}"
