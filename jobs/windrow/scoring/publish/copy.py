"""Keep a copy of the predictions table in an object store; the driver updates it after each run.

    with held(folder, run_id):
        check(url, folder)             # before the first download
        ...
        publish(url, folder)           # uploads what the copy lacks, and nothing else

Runs work on the table in the folder; the copy is for readers, and has the same versions. First the data files are
uploaded, then the log's entries in their order. Last, files that the table no longer has are removed from the copy. So
a reader always sees a whole table, and if the driver is killed between two uploads, the next run uploads the rest.

Only the driver contacts the store. The credentials are in its environment (AWS_ACCESS_KEY_ID, AWS_PROFILE,
AWS_ENDPOINT_URL and the like), never on the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from windrow.errors import PublishError, UserError
from windrow.scoring.publish import delta_log
from windrow.scoring.publish.delta_log import DeltaLog
from windrow.scoring.publish.store import Store, open_store

Sizes = Mapping[str, int]
"""The copy's files: size in bytes by path relative to its folder."""


class PublishedCopy(TypedDict):
    """The copy's folder and version, and the number and bytes of the files that were uploaded."""

    published: str
    published_version: int
    uploaded: int
    uploaded_bytes: int


def check(url: str | None, folder: Path) -> None:
    """Check that the copy's folder is empty, or holds a copy of this table.

    A store that does not answer is only reported on stderr: it may answer at the end of the run.

    Args:
        url: the copy's folder; None for no copy.
        folder: the table's folder.

    Raises:
        UserError: the copy's folder holds something else, or a package is not installed.
    """
    if url is None:
        return
    table = delta_log.read(folder)
    try:
        with _asking(url):
            store = open_store(url)
            _agree(table, store, store.sizes(), url)
    except PublishError as error:
        print(f"{error}; scoring continues, and tries again at its end", file=sys.stderr)


def publish(url: str | None, folder: Path) -> PublishedCopy | None:
    """Bring the copy up to date, and return what was uploaded; None if the table has no copy.

    Args:
        url: the copy's folder; None for no copy.
        folder: the table's folder.

    Raises:
        UserError: the copy's folder holds something else, or a package is not installed.
        PublishError: the store does not answer, or refuses the request. The table itself is complete; the next run
            uploads the rest.
    """
    if url is None:
        return None
    table = delta_log.read(folder)
    try:
        with _asking(url):
            store = open_store(url)
            there = store.sizes()
            _agree(table, store, there, url)
        table = _summed_up(folder, there)
        with _asking(url):
            sent = [*_send_data(table, store, there), *_send_log(table, store, there, url)]
            store.remove(_gone(table, there))
    except PublishError as error:
        raise PublishError(
            f"predictions are committed to {folder}, but not published; the next run publishes them: {error}"
        ) from error
    size = sum((folder / name).stat().st_size for name in sent)
    return {"published": url, "published_version": table.version, "uploaded": len(sent), "uploaded_bytes": size}


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Turn any exception but UserError into a PublishError.

    Each store's library raises its own types, without a common base.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise PublishError(
            f"the store of {url} must let the driver write; got {reason}; start it, or give the driver its key"
        ) from error


def _agree(table: DeltaLog, store: Store, there: Sizes, url: str) -> None:
    """Check that the copy's folder is empty, or belongs to this table.

    If the folder has a log, its entries must agree with those of the table's log, and its commits must not be newer.
    Without a log, the folder may hold only data files of the table.

    Raises:
        UserError: the folder holds something else.
    """
    entries = [name for name in there if delta_log.ENTRY.fullmatch(name)]
    if not entries:
        if other := sorted(set(filter(_is_shown, there)) - table.named):
            raise _occupied(url, other[0])
        return
    commits = sorted(name for name in entries if not delta_log.is_checkpoint(name))
    if beyond := [name for name in commits if delta_log.version_of(name) > table.version]:
        raise _occupied(url, beyond[0])
    # An upload that was interrupted early may have left a checkpoint and no commit yet.
    common = [name for name in commits or sorted(entries) if name in table.log]
    if not common:
        raise _occupied(url, min(entries))
    # The first entry has the table's id, the last a run's id and time: tables that differ anywhere differ in one of
    # these two.
    ends = {common[0], common[-1]}
    for name in common:
        file = table.folder / name
        if there[name] != file.stat().st_size or (name in ends and store.read(name) != file.read_bytes()):
            raise _occupied(url, name)


def _occupied(url: str, name: str) -> UserError:
    return UserError(
        f"scoring.publish must be empty or a copy of this table; got {url} with another {name}; "
        "choose another folder, or empty that one"
    )


def _summed_up(folder: Path, there: Sizes) -> DeltaLog:
    """Return the table's log; first add a checkpoint of its newest version if the new commits alone are not enough.

    With the checkpoint, which is uploaded first, readers need no commits. Without it, they could not read the copy if a
    vacuum has removed data files of the versions in between, or if the log no longer has all commits after the copy's
    version, as may happen in a long and old log.
    """
    from deltalake import DeltaTable

    table = delta_log.read(folder)
    begun = max((delta_log.version_of(name) for name in there if delta_log.is_checkpoint(name)), default=-1)
    ahead = [name for name in table.commits if name not in there and delta_log.version_of(name) > begun]
    known = {begun, *(delta_log.version_of(name) for name in there if delta_log.ENTRY.fullmatch(name))}
    if not ahead or (
        delta_log.version_of(ahead[0]) - 1 in known and all(table.adds[name] <= table.data for name in ahead)
    ):
        return table
    if not any(delta_log.is_checkpoint(name) and delta_log.version_of(name) == table.version for name in table.log):
        DeltaTable(str(folder)).create_checkpoint()
    return delta_log.read(folder)


def _send_data(table: DeltaLog, store: Store, there: Sizes) -> Iterator[str]:
    for name in sorted(table.data):
        if there.get(name) != (table.folder / name).stat().st_size:
            store.put(table.folder / name, name)
            yield name


def _send_log(table: DeltaLog, store: Store, there: Sizes, url: str) -> Iterator[str]:
    for name in _in_order(table):
        file = table.folder / name
        if delta_log.is_checkpoint(name):
            if there.get(name) == file.stat().st_size:
                continue
            store.put(file, name)
        else:
            if name in there:
                continue
            _claim(file, store, name, url)
        yield name
    hint = table.folder / delta_log.HINT
    if hint.is_file() and (delta_log.HINT not in there or store.read(delta_log.HINT) != hint.read_bytes()):
        store.put(hint, delta_log.HINT)
        yield delta_log.HINT


def _in_order(table: DeltaLog) -> list[str]:
    """List the log in upload order: a checkpoint of the newest version first, since readers then need no more."""
    newest = [
        name for name in table.log if delta_log.is_checkpoint(name) and delta_log.version_of(name) == table.version
    ]
    return newest + [name for name in table.log if name not in newest]


def _claim(file: Path, store: Store, name: str, url: str) -> None:
    try:
        store.put_new(file, name)
    except FileExistsError:
        # Our own request may have arrived although its response did not.
        if store.read(name) != file.read_bytes():
            raise _occupied(url, name) from None


def _gone(table: DeltaLog, there: Sizes) -> list[str]:
    """List what only the copy still has: data files that were vacuumed, and entries older than the table's log."""
    oldest = delta_log.version_of(table.log[0])
    entries = [name for name in there if delta_log.ENTRY.fullmatch(name) and delta_log.version_of(name) < oldest]
    return sorted(entries) + sorted((table.named - table.data) & there.keys())


def _is_shown(name: str) -> bool:
    """Return False for a temporary file that a killed driver left in a mounted folder; True for any other file."""
    return not name.rpartition("/")[2].startswith(".")
