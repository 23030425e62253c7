"""Fetch a published file from the first mirror that has it whole.

    fetch(RemoteFile("train-labels-idx1-ubyte.gz", "65a5...", "sha256", of="contents"), mirrors, folder)

A download that is cut off goes on where it stopped, in this run or the next. Proxies come from the environment.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
# The largest published file has 30 MB: what goes on much longer is something else.
_MAX_BYTES = 200_000_000


@dataclass(frozen=True)
class RemoteFile:
    """A file's name below a mirror's base URL, and the digest that makes any mirror trustworthy.

    `of` says what the digest is of: the file's bytes, or its contents once gunzipped.
    """

    name: str
    digest: str
    algorithm: Literal["sha256", "md5"]
    of: Literal["file", "contents"]


class _MirrorError(Exception):
    """This mirror will not give the file; another may."""


class _CutOffError(Exception):
    """The transfer stopped on the way; asking again may go on."""


def check_mirrors(mirrors: Sequence[str]) -> None:
    """Raises DatasetError for a base URL that is not http or https."""
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


def fetch(remote: RemoteFile, mirrors: Sequence[str], folder: Path, cure: str = _CURE) -> Path:
    """The file in `folder`, downloaded unless it is there already with the right digest.

    Raises:
        DatasetError: a mirror is not http or https.
        DownloadError: no mirror gave it; the message has each one's reason.
        ServiceError: the disk is full.
    """
    check_mirrors(mirrors)
    target = folder / remote.name
    with clear_when_full(folder), locked(folder):
        if _matches(remote, target):
            return target
        reasons = []
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{remote.name}"
            try:
                _fetch_from(url, remote, target)
            except _MirrorError as failure:
                reasons.append(f"  {mirror}: {failure}")
            else:
                print(f"downloaded {remote.name}, {target.stat().st_size:,} bytes, from {mirror}", file=sys.stderr)
                return target
    raise DownloadError(
        f"{remote.name} must come from a mirror; got none of {len(mirrors)}:\n" + "\n".join(reasons) + f"\n{cure}"
    )


def fetch_trusted(url: str, folder: Path, digest: str | None, key: str) -> Path:
    """A file without a published digest, in `folder`: the first download is trusted, and holds from then on.

    Its digest is printed, and kept beside it as NAME.sha256; a file that is there is not asked for again.

    Args:
        url: http or https.
        folder: for this URL alone.
        digest: SHA-256, where the user knows it; then nothing is taken on trust.
        key: of the page, where the digest can be given.

    Raises:
        DownloadError: there is no such file, or it is another one than at first.
        ServiceError: the disk is full.
    """
    mirror, _, name = url.rpartition("/")
    record = folder / f"{name}.sha256"
    if digest is None and not record.exists():
        with clear_when_full(folder), locked(folder):
            digest = _take_on_trust(url, folder / name)
            record.write_text(f"{digest}\n", encoding="ascii")
        print(f"{url} has the SHA-256 {digest}: trusted now, checked from now on; {key} can say it", file=sys.stderr)
    known = digest or record.read_text(encoding="ascii").strip()
    cure = f"connect this machine, mend {key}, or remove {record} to trust what is there now"
    return fetch(RemoteFile(name, known, "sha256", of="file"), [mirror], folder, cure)


def _take_on_trust(url: str, target: Path) -> str:
    """Download a file whole and from its start, whatever is there of it; its SHA-256."""
    part = target.with_name(f".{target.name}.first.part")
    part.unlink(missing_ok=True)
    try:
        _download(url, part)
    except _MirrorError as failure:
        raise DownloadError(f"{url} must give a file; {failure}; connect this machine, or bring the file") from failure
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    part.replace(target)
    return digest


def _fetch_from(url: str, remote: RemoteFile, target: Path) -> None:
    # Not files.replacing: a part stays after a cut, and the next run completes it.
    # Mirrors compress differently: a part belongs to the URL that it came from.
    mark = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = target.with_name(f".{target.name}.{mark}.part")
    resumed = _size(part) > 0
    if not _matches(remote, part):
        _download(url, part)
    if not _matches(remote, part) and resumed:
        # The part was of an older file, or of one that changes: once more from the start.
        part.unlink()
        _download(url, part)
    if not _matches(remote, part):
        part.unlink()
        raise _MirrorError(f"its file has another {remote.algorithm.upper()} than {remote.digest[:16]}...")
    part.replace(target)


def _download(url: str, part: Path) -> None:
    """Complete `part`, going on after cuts as long as each try brings something."""
    for attempt in range(_TRIES):
        before = _size(part)
        try:
            return _append(url, part)
        except _CutOffError as cut:
            reason = str(cut)
            if _size(part) <= before:
                break
        time.sleep(_PAUSE_SECONDS * attempt)
    raise _MirrorError(reason)


def _append(url: str, part: Path) -> None:
    """One request: ask for what `part` lacks, and take what the server gives."""
    start = _size(part)
    try:
        with requests.get(
            url, headers=_headers(start), stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS)
        ) as answer:
            if answer.status_code == 416 and start:
                part.unlink()  # longer than the file is now
                return _append(url, part)
            if answer.status_code not in (200, 206):
                raise _MirrorError(f"{answer.status_code} {answer.reason}")
            goes_on = (
                answer.headers.get("Content-Range", "").startswith(f"bytes {start}-") and answer.status_code == 206
            )
            _save(answer, part, "ab" if goes_on else "wb", start if goes_on else 0)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _CutOffError(_reason(error)) from error


def _headers(start: int) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"windrow/{windrow.__version__}"}
    return {**headers, "Range": f"bytes={start}-"} if start else headers


def _save(answer: requests.Response, part: Path, mode: Literal["ab", "wb"], start: int) -> None:
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    with part.open(mode) as file, _progress() as progress:
        task = progress.add_task(part.name.strip("."), total=total, completed=start)
        # A server may call a .gz file gzip-encoded: decoding it here would change the file.
        for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            start += len(chunk)
            progress.update(task, completed=start)
            if start > _MAX_BYTES:
                raise _MirrorError(f"its file has more than {_MAX_BYTES:,} bytes")


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _matches(remote: RemoteFile, path: Path) -> bool:
    """Whether the file is there and has the digest."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            unzip = remote.of == "contents" and zipped
            return _digest(cast("BinaryIO", gzip.GzipFile(fileobj=file)) if unzip else file, remote) == remote.digest
    except FileNotFoundError:
        return False
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False


def _digest(stream: BinaryIO, remote: RemoteFile) -> str:
    # MD5 is what Fashion-MNIST's authors publish; it shows damage, not malice.
    make: Callable[..., hashlib._Hash] = hashlib.sha256 if remote.algorithm == "sha256" else hashlib.md5
    digest = make(usedforsecurity=False)
    length = 0
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
        length += len(chunk)
        if length > _MAX_BYTES:
            return ""
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    """The first cause in a few words: requests and urllib3 wrap it several times, addresses of objects included."""
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
